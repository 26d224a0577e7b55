"""Initial values of parameters.

Every random initialiser takes a seed, and the same seed gives the same values on every machine. Without a seed it draws
from a stream that is the same in every run of a program: the n-th draw without a seed uses the n-th of a fixed sequence
of seeds. So a program that is run again starts from the same weights, and giving one layer a seed changes, beside that
layer, those that are made after it.

Examples
--------
>>> from evolute.common.initializer import XavierUniform, initializer
>>> from evolute import dtype as mstype
>>> initializer("ones", [3])
Tensor(shape=[3], dtype=Float32, value= [ 1.00000000e+00,  1.00000000e+00,  1.00000000e+00])
>>> a = initializer(XavierUniform(seed=7), (2, 2), mstype.float64)
>>> b = initializer("XavierUniform", (2, 2), mstype.float64, seed=7)
>>> bool((a == b).all())
True
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from evolute import _evolute
from evolute._evolute import DType, DTypeError, ShapeError, Tensor, float32

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Constant",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "Normal",
    "One",
    "Orthogonal",
    "TruncatedNormal",
    "Uniform",
    "XavierNormal",
    "XavierUniform",
    "Zero",
    "initializer",
]

Shape = Sequence[int]

_MASK = 2**64 - 1
_draws = itertools.count(1)


def _mixed(n: int) -> int:
    # SplitMix64: neighbouring n give unrelated seeds.
    z = (n * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def _is_seed(seed: object) -> bool:
    return seed is None or (isinstance(seed, int) and 0 <= seed <= _MASK)


class Initializer:
    """Base of the initialisers: an object that makes a tensor of a given shape and dtype.

    Subclasses define `sample`.
    """

    def __call__(self, shape: Shape, dtype: DType = float32) -> Tensor:
        """Return a tensor of this shape and dtype."""
        return self.sample(tuple(shape), dtype)

    def sample(self, shape: tuple[int, ...], dtype: DType) -> Tensor:
        """Make the tensor; called with a shape that is a tuple."""
        raise NotImplementedError(f"{type(self).__name__} has no method sample(shape, dtype)")


class Constant(Initializer):
    """Every element is `value`."""

    def __init__(self, value: float) -> None:
        self.value = value

    def sample(self, shape: tuple[int, ...], dtype: DType) -> Tensor:  # noqa: D102
        return Tensor(np.full(shape, self.value, dtype.numpy))


class Zero(Constant):
    """Every element is 0."""

    def __init__(self) -> None:
        super().__init__(0)


class One(Constant):
    """Every element is 1."""

    def __init__(self) -> None:
        super().__init__(1)


class Identity(Initializer):
    """Ones on the diagonal of a matrix, zeros elsewhere."""

    def sample(self, shape: tuple[int, ...], dtype: DType) -> Tensor:  # noqa: D102
        if len(shape) != 2:
            raise ShapeError(f"Identity: needs a shape of two axes, got {shape}")
        return Tensor(np.eye(*shape, dtype=dtype.numpy))


class _Random(Initializer):
    def __init__(self, seed: int | None = None) -> None:
        if not _is_seed(seed):
            raise ValueError(f"{type(self).__name__}: seed is an integer from 0 to 2**64 - 1, got {seed!r}")
        self.seed = seed

    def __call__(self, shape: Shape, dtype: DType = float32) -> Tensor:
        if not dtype.is_floating:
            raise DTypeError(f"{type(self).__name__}: random values need float32 or float64, got {dtype}")
        return super().__call__(shape, dtype)

    def _seed(self) -> int:
        return _mixed(next(_draws)) if self.seed is None else self.seed

    def _symmetric(self, shape: tuple[int, ...], dtype: DType, bound: float) -> Tensor:
        """Uniform on [-bound, bound)."""
        return (_evolute.uniform(shape, self._seed(), dtype) * 2.0 - 1.0) * bound


class Normal(_Random):
    """Normal distribution with standard deviation `sigma` about `mean`."""

    def __init__(self, sigma: float = 0.01, mean: float = 0.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.sigma, self.mean = sigma, mean

    def sample(self, shape: tuple[int, ...], dtype: DType) -> Tensor:  # noqa: D102
        return _evolute.standard_normal(shape, self._seed(), dtype) * self.sigma + self.mean


class Uniform(_Random):
    """Uniform distribution on [-scale, scale)."""

    def __init__(self, scale: float = 0.07, seed: int | None = None) -> None:
        super().__init__(seed)
        self.scale = scale

    def sample(self, shape: tuple[int, ...], dtype: DType) -> Tensor:  # noqa: D102
        return self._symmetric(shape, dtype, self.scale)


class TruncatedNormal(_Random):
    """Normal distribution with `mean` and `sigma`, without what lies outside `a` to `b` standard deviations."""

    def __init__(
        self, sigma: float = 0.01, mean: float = 0.0, a: float = -2.0, b: float = 2.0, seed: int | None = None
    ) -> None:
        super().__init__(seed)
        # Outside this range so few draws are kept that rejection does not end in reasonable time.
        if not a < b or b < -3 or a > 3 or b - a < 1e-2:
            raise ValueError(f"TruncatedNormal: a and b must leave a range of 0.01 or more within ±3, got {a} and {b}")
        self.sigma, self.mean, self.a, self.b = sigma, mean, a, b

    def sample(self, shape: tuple[int, ...], dtype: DType) -> Tensor:  # noqa: D102
        seed = self._seed()
        values: NDArray[np.floating[Any]] = np.array(_evolute.standard_normal(shape, seed, dtype).asnumpy())
        outside = (values < self.a) | (values > self.b)
        attempt = 0
        while missing := int(np.count_nonzero(outside)):
            attempt += 1
            fresh_seed = (seed + _mixed(attempt)) & _MASK
            values[outside] = _evolute.standard_normal((missing,), fresh_seed, dtype).asnumpy()
            outside = (values < self.a) | (values > self.b)
        return Tensor(values) * self.sigma + self.mean


class XavierUniform(_Random):
    """Uniform distribution that keeps the variance of signals and gradients, by Glorot and Bengio.

    Its bound is ``gain * sqrt(6 / (fan_in + fan_out))``.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def sample(self, shape: tuple[int, ...], dtype: DType) -> Tensor:  # noqa: D102
        return self._symmetric(shape, dtype, self.gain * math.sqrt(6.0 / sum(_fans(shape, self))))


class XavierNormal(_Random):
    """Normal distribution of standard deviation ``gain * sqrt(2 / (fan_in + fan_out))``, by Glorot and Bengio."""

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def sample(self, shape: tuple[int, ...], dtype: DType) -> Tensor:  # noqa: D102
        sigma = self.gain * math.sqrt(2.0 / sum(_fans(shape, self)))
        return _evolute.standard_normal(shape, self._seed(), dtype) * sigma


class _He(_Random):
    def __init__(
        self,
        negative_slope: float = 0.0,
        mode: str = "fan_in",
        nonlinearity: str = "leaky_relu",
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        gains = {
            "leaky_relu": math.sqrt(2.0 / (1.0 + negative_slope**2)),
            "relu": math.sqrt(2.0),
            "tanh": 5.0 / 3.0,
            "sigmoid": 1.0,
            "linear": 1.0,
        }
        if mode not in ("fan_in", "fan_out"):
            raise ValueError(f"{type(self).__name__}: mode is 'fan_in' or 'fan_out', got {mode!r}")
        if nonlinearity not in gains:
            raise ValueError(f"{type(self).__name__}: nonlinearity is one of {list(gains)}, got {nonlinearity!r}")
        self.gain, self.mode = gains[nonlinearity], mode

    def _sigma(self, shape: tuple[int, ...]) -> float:
        fan_in, fan_out = _fans(shape, self)
        return self.gain / math.sqrt(fan_in if self.mode == "fan_in" else fan_out)


class HeUniform(_He):
    """Uniform distribution of variance ``gain**2 / fan``, by He et al.; bound ``gain * sqrt(3 / fan)``."""

    def sample(self, shape: tuple[int, ...], dtype: DType) -> Tensor:  # noqa: D102
        return self._symmetric(shape, dtype, math.sqrt(3.0) * self._sigma(shape))


class HeNormal(_He):
    """Normal distribution of variance ``gain**2 / fan``, by He et al."""

    def sample(self, shape: tuple[int, ...], dtype: DType) -> Tensor:  # noqa: D102
        return _evolute.standard_normal(shape, self._seed(), dtype) * self._sigma(shape)


class Orthogonal(_Random):
    """Matrix with orthonormal rows or columns, whichever are fewer, times `gain`; further axes count as columns."""

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = gain

    def sample(self, shape: tuple[int, ...], dtype: DType) -> Tensor:  # noqa: D102
        _fans(shape, self)
        rows, columns = shape[0], math.prod(shape[1:])
        size = (max(rows, columns), min(rows, columns))
        q, r = np.linalg.qr(_evolute.standard_normal(size, self._seed(), _evolute.float64).asnumpy())
        # Without the signs, the factorisation's own convention would show in the distribution.
        q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
        return Tensor((self.gain * (q if rows >= columns else q.T)).reshape(shape).astype(dtype.numpy))


_NAMED: dict[str, type[Initializer]] = {
    "zeros": Zero,
    "zero": Zero,
    "ones": One,
    "one": One,
    "identity": Identity,
    "normal": Normal,
    "uniform": Uniform,
    "truncatednormal": TruncatedNormal,
    "xavieruniform": XavierUniform,
    "xaviernormal": XavierNormal,
    "heuniform": HeUniform,
    "henormal": HeNormal,
    "orthogonal": Orthogonal,
}


def initializer(
    init: str | float | Tensor | Initializer,
    shape: Shape | int | None = None,
    dtype: DType = float32,
    seed: int | None = None,
) -> Tensor:
    """Return a tensor of initial values.

    Parameters
    ----------
    init : str or number or Tensor or Initializer
        Name of an initialiser (``"zeros"``, ``"ones"``, ``"normal"``, ``"uniform"``, ``"TruncatedNormal"``,
        ``"XavierUniform"``, ``"XavierNormal"``, ``"HeUniform"``, ``"HeNormal"``, ``"orthogonal"``, ``"identity"``;
        case and underscores do not matter), the value of all elements, the values themselves, or an initialiser.
    shape : int or sequence of int, optional
        Shape of the tensor; may be left out if `init` is a tensor.
    dtype : DType
        Element type.
    seed : int, optional
        Seed of the random draw. Without one the draw comes from the default stream described in this module.

    Raises
    ------
    TypeError, ValueError
        If `init`, `shape` or `seed` is none of the above, or `seed` is given for something that is not drawn by name.
    ShapeError
        If `shape` does not fit the initialiser.
    DTypeError
        If a random initialiser is asked for integers.

    Examples
    --------
    >>> initializer(2, [2, 1])
    Tensor(shape=[2, 1], dtype=Float32, value=
    [[ 2.00000000e+00],
     [ 2.00000000e+00]])
    >>> initializer("zero", 2, seed=1)
    Traceback (most recent call last):
        ...
    ValueError: initializer: 'zero' takes no seed
    """
    dtype = _evolute.as_dtype(dtype)
    if isinstance(init, Tensor):
        if shape is not None and _checked_shape(shape) != init.shape:
            raise ShapeError(f"initializer: the tensor has shape {init.shape}, but {_checked_shape(shape)} is wanted")
        _refuse_seed(seed, "a tensor")
        return Tensor(init, dtype)
    if shape is None:
        raise ValueError("initializer: shape is missing")
    shape = _checked_shape(shape)
    if isinstance(init, str):
        make = _NAMED.get(init.lower().replace("_", ""))
        if make is None:
            raise ValueError(f"initializer: no initialiser is named {init!r}; there are {', '.join(_NAMED)}")
        if issubclass(make, _Random):
            return make(seed=seed)(shape, dtype)
        _refuse_seed(seed, repr(init))
        return make()(shape, dtype)
    _refuse_seed(seed, f"a {type(init).__name__}")
    return _as_initializer(init)(shape, dtype)


def _as_initializer(init: object) -> Initializer:
    if isinstance(init, Initializer):
        return init
    if isinstance(init, (int, float)):
        return Constant(init)
    raise TypeError(f"initializer: init is a name, a number, a tensor or an Initializer, got a {type(init).__name__}")


def _refuse_seed(seed: int | None, what: str) -> None:
    if seed is not None:
        raise ValueError(f"initializer: {what} takes no seed")


def _checked_shape(shape: Any) -> tuple[int, ...]:
    lengths = (shape,) if isinstance(shape, int) else tuple(shape)
    if not all(isinstance(n, (int, np.integer)) and n >= 0 for n in lengths):
        raise ValueError(f"initializer: shape is made of integers that are not negative, got {shape!r}")
    return tuple(int(n) for n in lengths)


def _fans(shape: tuple[int, ...], user: Initializer) -> tuple[int, int]:
    """Numbers of inputs and outputs of one unit, for a weight of shape (out, in, ...)."""
    if len(shape) < 2 or 0 in shape:
        raise ShapeError(f"{type(user).__name__}: needs a shape of two axes or more, none of them 0, got {shape}")
    receptive = math.prod(shape[2:])
    return shape[1] * receptive, shape[0] * receptive
