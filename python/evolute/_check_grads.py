"""Derivatives of a function against differences of its values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from evolute import _compile, ops
from evolute._evolute import Tensor
from evolute._tree import filled, leaves, mapped
from evolute.jacobians import jacfwd, jacrev
from evolute.taylor import jet

if TYPE_CHECKING:
    from numpy.typing import NDArray

Function = Callable[..., Any]
_JACOBIANS = {"fwd": jacfwd, "rev": jacrev}
# A derivative of order k of a function from p numbers to q has q pᵏ elements; no more than these are looked at.
_MOST_ELEMENTS = 20_000


class GradCheck(NamedTuple):
    """The worst element of one derivative.

    Attributes
    ----------
    mode : str
        Modes, the outermost first, such as "fwd of rev", or "jet", and "compiled" where it was recorded.
    order : int
        Order of the derivative.
    elements : int
        How many were compared.
    where : str
        Which one is the worst.
    got, expected : float
        Its value by that mode, and by differences of the derivative of one order less.
    error : float
        The difference of the two, in units of what is tolerated.
    """

    mode: str
    order: int
    elements: int
    where: str
    got: float
    expected: float
    error: float

    @property
    def passed(self) -> bool:
        """Whether the error is tolerated."""
        return self.error <= 1

    def __str__(self) -> str:
        return (
            f"{'ok  ' if self.passed else 'FAIL'}  order {self.order}  {self.mode:<22}  {self.elements:>6} elements, "
            f"worst {self.where}: {self.got:.9g}, by differences {self.expected:.9g} "
            f"({self.error:.2g} of what is tolerated)"
        )


class GradReport(tuple[GradCheck, ...]):
    """What `check_grads` found, derivative by derivative; prints as a table."""

    __slots__ = ()

    @property
    def worst(self) -> GradCheck:
        """The element with the largest error."""
        return max(self, key=lambda c: c.error)

    def __str__(self) -> str:
        return "\n".join(map(str, self))


class _Restricted:
    """A function of some elements of its arguments, with some elements of its results: both are vectors."""

    def __init__(self, fn: Function, args: tuple[Any, ...], order: int, seed: int) -> None:
        import numpy as np

        self.fn, self.args = fn, args
        self.inputs = [x for x in leaves(args) if isinstance(x, Tensor) and x.dtype.is_floating]
        if not self.inputs:
            raise TypeError("check_grads: no argument is a tensor of floating dtype, so there is nothing to check")
        self.dtype = min((x.dtype for x in self.inputs), key=lambda d: d.itemsize)
        out = fn(*args)
        self.outputs = [y for y in leaves(out) if isinstance(y, Tensor) and y.dtype.is_floating]
        if not self.outputs:
            raise TypeError("check_grads: the function returned no tensor of floating dtype")
        rng = np.random.default_rng(seed)
        n, m = sum(x.size for x in self.inputs), sum(y.size for y in self.outputs)
        most = max(1, int(_MOST_ELEMENTS ** (1 / (order + 1))))
        self.columns = np.sort(rng.choice(n, min(n, most), replace=False))
        self.rows = np.sort(rng.choice(m, min(m, most), replace=False))
        flat = np.concatenate([x.asnumpy().ravel() for x in self.inputs])
        self.start = Tensor(flat[self.columns], self.dtype)

    def __call__(self, t: Tensor) -> Tensor:
        """Return the function's value with elements `t` in the arguments."""
        import numpy as np

        moved, offset = [], 0
        for x in self.inputs:
            here = (self.columns >= offset) & (self.columns < offset + x.size)
            flat = ops.reshape(x, (-1,))
            if here.any():
                at = Tensor(self.columns[here] - offset)
                flat = ops.index_update(flat, at, ops.cast(ops.take(t, Tensor(np.flatnonzero(here))), x.dtype))
            moved.append(ops.reshape(flat, x.shape))
            offset += x.size
        rest = iter(moved)
        args = mapped(lambda a: next(rest) if isinstance(a, Tensor) and a.dtype.is_floating else a, self.args)
        out = [y for y in leaves(self.fn(*args)) if isinstance(y, Tensor) and y.dtype.is_floating]
        vector = ops.concat([ops.cast(ops.reshape(y, (-1,)), self.dtype) for y in out])
        return ops.take(vector, Tensor(self.rows))

    @staticmethod
    def _name(tensors: Sequence[Tensor], element: int, what: str) -> str:
        import numpy as np

        for i, t in enumerate(tensors):
            if element < t.size:
                index = ", ".join(str(k) for k in np.unravel_index(element, t.shape))
                return f"{what}{i if len(tensors) > 1 else ''}{f'[{index}]' if t.ndim else ''}"
            element -= t.size
        raise AssertionError("no such element")

    def where(self, place: Sequence[int], order: int, line: bool) -> str:
        """Say which element of a derivative is meant, by elements of the arguments or along a line."""
        power = {1: "", 2: "²", 3: "³"}.get(order, f"^{order}")
        by = " ".join(f"d {self._name(self.inputs, int(self.columns[i]), 'x')}" for i in place[1:])
        out = self._name(self.outputs, int(self.rows[place[0]]), "out")
        return f"d{power} {out} / {f'dt{power}' if line else by}"

    def along(self, order: int, seed: int) -> Function:
        """Differentiate to an order along a line in a random direction, by Taylor mode; a function of (t,)."""
        import numpy as np

        v = Tensor(np.random.default_rng(seed).uniform(0.5, 1.0, self.start.shape), self.dtype)

        def derivative(t: Tensor) -> Tensor:
            x = self.start + t * v
            if order == 0:
                return self(x)
            return jet(self, x, [v, *[None] * (order - 1)])[1][order - 1]  # type: ignore[no-any-return]

        return derivative


def _differences(fn: Function, x: Tensor) -> NDArray[Any]:
    """Jacobian of a function of a vector by central differences of order 4; the last axis is that of x."""
    import numpy as np

    at = x.asnumpy().astype(np.float64)
    step = float(np.finfo(x.asnumpy().dtype).eps) ** 0.2
    columns = []
    for i in range(x.size):
        h = step * max(1.0, abs(at[i]))
        values = []
        for k in (-2, -1, 1, 2):
            moved = at.copy()
            moved[i] += k * h
            values.append(fn(Tensor(moved, x.dtype)).asnumpy().astype(np.float64))
        columns.append((8 * (values[2] - values[1]) - (values[3] - values[0])) / (12 * h))
    return np.stack(columns, -1) if columns else np.zeros((*fn(x).shape, 0))


def _worst(got: NDArray[Any], want: NDArray[Any], atol: float, rtol: float) -> tuple[tuple[int, ...], float]:
    import numpy as np

    # Not finite in the same way is right, too.
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    error = np.where(
        same, 0.0, np.abs(np.where(same, 0.0, got - np.where(same, 0.0, want))) / (atol + rtol * np.abs(want))
    )
    error = np.where(np.isnan(error), np.inf, error)
    place = np.unravel_index(int(np.argmax(error)), error.shape)
    return tuple(map(int, place)), float(error[place])


def check_grads(
    fn: Function,
    args: Any,
    order: int = 2,
    modes: str | Sequence[str] = ("fwd", "rev", "jet"),
    *,
    compiled: bool = True,
    atol: float | None = None,
    rtol: float | None = None,
    seed: int = 0,
) -> GradReport:
    """Compare derivatives of a function with differences of its values, in every combination of modes.

    Derivatives of order k, by all nestings of k of the modes "fwd" and "rev", are compared element by element with
    central differences of the derivatives of order k - 1. Of large arguments and results some elements are looked at,
    chosen at random. Taylor mode, "jet", gives derivatives along a line in a random direction, compared likewise.

    Parameters
    ----------
    fn : callable
        Function or cell, smooth where it is looked at: within 1e-3 of the arguments in float64, 0.1 in float32.
    args : Tensor or tuple
        Its arguments. Floating tensors in them, at any depth, are differentiated by.
    order : int
        The highest order to check.
    modes : str or sequence of str
        Of "fwd", "rev" and "jet".
    compiled : bool
        Check each derivative as `jit` records it, too.
    atol, rtol : float, optional
        What is tolerated: atol + rtol |expected|. By default 1e-6 both in float64, and 1e-2 in float32.
    seed : int
        For the choice of elements.

    Returns
    -------
    GradReport
        A line for each derivative, with its worst element.

    Raises
    ------
    AssertionError
        If an error is larger than tolerated: the message says which element is the worst, and has the whole report.
    TypeError, ValueError
        If there is nothing to differentiate, or an option is not one.

    Examples
    --------
    >>> import evolute as ev
    >>> report = ev.check_grads(lambda x: ev.ops.sin(x) * x, ev.Tensor([0.5, 1.0], ev.float64), order=2)
    >>> [check.mode for check in report]  # doctest: +ELLIPSIS
    ['fwd', 'fwd compiled', 'rev', 'rev compiled', 'jet', 'jet compiled', 'fwd of fwd', ...
    >>> report.worst.passed
    True
    """
    if not callable(fn):
        raise TypeError(f"check_grads: needs a function or a cell, got {type(fn).__name__}")
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    if not modes or not set(modes) <= {*_JACOBIANS, "jet"}:
        raise ValueError(f"check_grads: modes must be of 'fwd', 'rev' and 'jet', got {modes!r}")
    if type(order) is not int or order < 1:
        raise ValueError(f"check_grads: order must be a positive integer, got {order!r}")
    args = tuple(args) if isinstance(args, (tuple, list)) else (args,)
    args = filled(args, [x if isinstance(x, Tensor) or not _is_array(x) else Tensor(x) for x in leaves(args)])
    f = _Restricted(fn, args, order, seed)
    usual = 1e-6 if f.dtype.itemsize == 8 else 1e-2
    atol, rtol = usual if atol is None else atol, usual if rtol is None else rtol

    checks: list[GradCheck] = []

    def check(name: str, order: int, g: Function, x: Tensor, want: NDArray[Any]) -> None:
        for run, suffix in [(g, "")] + ([(_compile.jit(g), " compiled")] if compiled else []):
            got = run(x).asnumpy().reshape(want.shape)
            place, error = _worst(got, want, atol, rtol) if got.size else ((), 0.0)
            at = ("none", 0.0, 0.0)
            if got.size:
                at = (f.where(place, order, name == "jet"), float(got[place]), float(want[place]))
            checks.append(GradCheck(name + suffix, order, got.size, *at, error))

    nestable = [m for m in modes if m != "jet"]
    lower: dict[tuple[str, ...], Function] = {(): f}
    for k in range(1, order + 1):
        expected = {nested: _differences(g, f.start) for nested, g in lower.items()} if nestable else {}
        above: dict[tuple[str, ...], Function] = {}
        for nested in itertools.product(nestable, repeat=k):
            above[nested] = _JACOBIANS[nested[0]](lower[nested[1:]])
            check(" of ".join(nested), k, above[nested], f.start, expected[nested[1:]])
        lower = above
        if "jet" in modes and f.start.size:
            t = Tensor([0.0], f.dtype)
            check("jet", k, f.along(k, seed), t, _differences(f.along(k - 1, seed), t))
    report = GradReport(checks)
    if not report.worst.passed:
        w = report.worst
        raise AssertionError(
            f"check_grads: {w.mode} gives {w.where} = {w.got:.9g}, but differences give {w.expected:.9g}\n{report}"
        )
    return report


def _is_array(x: Any) -> bool:
    return isinstance(x, float) or hasattr(x, "__array__")
