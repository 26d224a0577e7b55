"""Functions of parameters, for what is to be differentiated by them in forward mode or more than once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from evolute import _evolute
from evolute._evolute import DType, Tensor
from evolute.parameter import Parameter

__all__ = ["functional_call"]


def functional_call(
    fn: Callable[..., Any], parameters: Sequence[Parameter], values: Sequence[Tensor], *args: Any, **kwargs: Any
) -> Any:
    """Call `fn` with other values in its parameters; afterwards they are as before.

    As a function of the values it can be differentiated in any mode and to any order.

    Parameters
    ----------
    fn : callable
        Function or cell.
    parameters : sequence of Parameter
        Which parameters.
    values : sequence of Tensor
        One value for each, of its shape and dtype.
    *args, **kwargs
        Arguments of `fn`.

    Raises
    ------
    ValueError
        If their numbers differ.
    ShapeError, DTypeError
        If a value does not fit its parameter.

    Examples
    --------
    >>> import evolute as ev
    >>> from evolute import Parameter, Tensor, nn
    >>> w = Parameter([2.0], "w")
    >>> def of_w(value):
    ...     return nn.functional_call(lambda x: w**3 * x, [w], [value], 5.0)
    >>> print(*ev.jvp(of_w, Tensor([1.0]), Tensor([1.0])), w.value())
    [5.] [15.] [2.]
    """
    if len(parameters) != len(values):
        raise ValueError(f"functional_call: got {len(values)} values for {len(parameters)} parameters")
    before = [parameter.value() for parameter in parameters]
    try:
        for parameter, value in zip(parameters, values, strict=True):
            parameter.set_data(value)
        return fn(*args, **kwargs)
    finally:
        for parameter, value in zip(parameters, before, strict=True):
            parameter.set_data(value)


def ravel(values: Sequence[Tensor], dtype: DType) -> Tensor:
    """All elements as one vector."""
    return _evolute.concat([_evolute.cast(_evolute.reshape(value, (-1,)), dtype) for value in values])


def unravel(vector: Tensor, parameters: Sequence[Parameter]) -> list[Tensor]:
    """Cut a vector into values for parameters."""
    values, start = [], 0
    for parameter in parameters:
        part = _evolute.reshape(vector[start : start + parameter.size], parameter.shape)
        values.append(_evolute.cast(part, parameter.dtype))
        start += parameter.size
    return values
