"""Activation functions as cells."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from evolute import _evolute
from evolute._evolute import Tensor
from evolute.nn.cell import Cell

__all__ = [
    "GELU",
    "LeakyReLU",
    "LogSoftmax",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Sin",
    "Softmax",
    "Softplus",
    "Tanh",
    "get_activation",
]


class Tanh(Cell):
    """Hyperbolic tangent."""

    def construct(self, x: Tensor) -> Tensor:
        """Apply it to each element."""
        return _evolute.tanh(x)


class Sin(Cell):
    """Sine; networks of it are smooth and have no vanishing derivatives of high order."""

    def construct(self, x: Tensor) -> Tensor:
        """Apply it to each element."""
        return _evolute.sin(x)


class ReLU(Cell):
    """max(x, 0); its derivative at 0 is 0."""

    def construct(self, x: Tensor) -> Tensor:
        """Apply it to each element."""
        return _evolute.relu(x)


class LeakyReLU(Cell):
    """X where it is positive, `alpha` times x elsewhere."""

    def __init__(self, alpha: float = 0.2) -> None:
        super().__init__()
        self.alpha = alpha

    def construct(self, x: Tensor) -> Tensor:
        """Apply it to each element."""
        return _evolute.where(x > 0, x, x * self.alpha)

    def extend_repr(self) -> str:  # noqa: D102
        return f"alpha={self.alpha}"


class GELU(Cell):
    """X Φ(x), with the normal distribution function Φ.

    Parameters
    ----------
    approximate : bool
        Use the approximation of Φ by tanh.
    """

    def __init__(self, approximate: bool = False) -> None:
        super().__init__()
        self.approximate = approximate

    def construct(self, x: Tensor) -> Tensor:
        """Apply it to each element."""
        if not self.approximate:
            return _evolute.gelu(x)
        return x * 0.5 * (1.0 + _evolute.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))

    def extend_repr(self) -> str:  # noqa: D102
        return f"approximate={self.approximate}"


class SiLU(Cell):
    """x/(1 + e⁻ˣ)."""

    def construct(self, x: Tensor) -> Tensor:
        """Apply it to each element."""
        return _evolute.silu(x)


class Sigmoid(Cell):
    """1/(1 + e⁻ˣ)."""

    def construct(self, x: Tensor) -> Tensor:
        """Apply it to each element."""
        return _evolute.sigmoid(x)


class Softplus(Cell):
    """log(1 + eˣ)."""

    def construct(self, x: Tensor) -> Tensor:
        """Apply it to each element."""
        return _evolute.softplus(x)


class Softmax(Cell):
    """exp(x) divided by its sum along an axis."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def construct(self, x: Tensor) -> Tensor:
        """Apply it along the axis."""
        return _evolute.softmax(x, self.axis)

    def extend_repr(self) -> str:  # noqa: D102
        return f"axis={self.axis}"


class LogSoftmax(Cell):
    """Logarithm of the softmax along an axis."""

    def __init__(self, axis: int = -1) -> None:
        super().__init__()
        self.axis = axis

    def construct(self, x: Tensor) -> Tensor:
        """Apply it along the axis."""
        return _evolute.log_softmax(x, self.axis)

    def extend_repr(self) -> str:  # noqa: D102
        return f"axis={self.axis}"


_NAMED: dict[str, type[Cell]] = {
    "tanh": Tanh,
    "sin": Sin,
    "relu": ReLU,
    "leakyrelu": LeakyReLU,
    "gelu": GELU,
    "silu": SiLU,
    "sigmoid": Sigmoid,
    "softplus": Softplus,
    "softmax": Softmax,
    "logsoftmax": LogSoftmax,
}


def get_activation(name: str | Callable[[Tensor], Any] | None) -> Callable[[Tensor], Any] | None:
    """Return the activation with this name; callables and None are returned as they are.

    Raises
    ------
    ValueError
        If there is none of this name.
    TypeError
        If `name` is something else.

    Examples
    --------
    >>> get_activation("tanh")
    Tanh<>
    """
    if isinstance(name, str):
        if name not in _NAMED:
            raise ValueError(f"activation: none is named {name!r}; there are {', '.join(_NAMED)}")
        return _NAMED[name]()
    if name is None or callable(name):
        return name
    raise TypeError(f"activation: needs a name, a cell or another callable, got a {type(name).__name__}")
