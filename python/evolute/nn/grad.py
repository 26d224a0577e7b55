"""Directional derivatives as cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evolute import transforms
from evolute.nn.cell import Cell

__all__ = ["Jvp", "Vjp"]


class Jvp(Cell):
    """Output of a function and its derivative along tangents, by forward mode.

    It is called with the function's inputs and then ``v``: a tensor for a single input, a tuple with one tangent per
    input otherwise. It returns (output, derivative), both in the structure of the output.

    Parameters
    ----------
    fn : callable
        Function or cell.

    Raises
    ------
    TypeError
        If `fn` cannot be called, or a call lacks inputs or tangents.
    ShapeError
        If a tangent has another shape than its input.

    Examples
    --------
    >>> from evolute import Tensor, nn
    >>> x, y = Tensor([2.0]), Tensor([3.0])
    >>> print(*nn.Jvp(lambda x, y: x * y)(x, y, (Tensor([1.0]), Tensor([0.0]))))
    [6.] [3.]
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__()
        self.fn = _checked(fn, "Jvp")

    def construct(self, *args: Any) -> Any:
        """Return (output, derivative)."""
        inputs, v = _split(args, "Jvp", "tangents")
        return transforms.jvp(self.fn, inputs, v if isinstance(v, tuple) else (v,))


class Vjp(Cell):
    """Output of a function and the product of ``v`` with its Jacobian, by reverse mode.

    It is called with the function's inputs and then ``v``: a tensor for a single output, a tuple with one tensor per
    output otherwise. It returns (output, gradients), where gradients is a tensor for a single input and a tuple
    otherwise.

    Parameters
    ----------
    fn : callable
        Function or cell.

    Raises
    ------
    TypeError
        If `fn` cannot be called, or a call lacks inputs or ``v``.
    ShapeError
        If ``v`` has another shape than the output.

    Examples
    --------
    >>> from evolute import Tensor, nn
    >>> output, gradients = nn.Vjp(lambda x, y: x * y)(Tensor([2.0]), Tensor([3.0]), Tensor([1.0]))
    >>> print(output, *gradients)
    [6.] [3.] [2.]
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__()
        self.fn = _checked(fn, "Vjp")

    def construct(self, *args: Any) -> Any:
        """Return (output, gradients)."""
        inputs, v = _split(args, "Vjp", "cotangents")
        return transforms.vjp(self.fn, inputs, v)


def _checked(fn: object, what: str) -> Callable[..., Any]:
    if not callable(fn):
        raise TypeError(f"{what}: needs a function or a cell, got a {type(fn).__name__}")
    return fn


def _split(args: tuple[Any, ...], what: str, last: str) -> tuple[tuple[Any, ...], Any]:
    if len(args) < 2:
        raise TypeError(f"{what}: is called with the inputs and then the {last}, got {len(args)} argument(s)")
    return args[:-1], args[-1]
