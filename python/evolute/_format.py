"""Printing of tensors: ``str`` as NumPy prints the array, ``repr`` with shape, dtype and scientific notation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from evolute._evolute import Tensor, TraceError, set_formatter

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["format_repr", "format_str"]


def format_str(tensor: Tensor) -> str:
    """Text of ``str(tensor)``: that of the NumPy array.

    Examples
    --------
    >>> format_str(Tensor([[1.0, 2.5]]))
    '[[1.  2.5]]'
    """
    try:
        return str(tensor.asnumpy())
    except TraceError:
        return format_repr(tensor)


def format_repr(tensor: Tensor) -> str:
    """Text of ``repr(tensor)``.

    Rows of tensors with several axes start on a line of their own. Long tensors are shortened as NumPy's print options
    say. A tensor that is being recorded has no elements yet, and says so.

    Examples
    --------
    >>> print(format_repr(Tensor([[1.0], [-2.0]])))
    Tensor(shape=[2, 1], dtype=Float32, value=
    [[ 1.00000000e+00],
     [-2.00000000e+00]])
    """
    head = f"Tensor(shape={list(tensor.shape)}, dtype={tensor.dtype}, value="
    try:
        array = tensor.asnumpy()
    except TraceError:
        return f"{head}<traced>)"
    separator = "\n" if array.ndim > 1 and array.size else " "
    return f"{head}{separator}{_elements(array)})"


def _elements(array: NDArray[np.generic]) -> str:
    if array.ndim == 0:
        return str(array)
    return np.array2string(array, separator=", ", formatter={"float_kind": _scientific})


def _scientific(value: np.floating[Any]) -> str:
    return f"{value: 15.8e}"


set_formatter(format_str, format_repr)
