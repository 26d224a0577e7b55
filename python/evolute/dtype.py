"""Element types: ``from evolute import dtype as mstype``.

Five element types exist: `bool_`, `int32`, `int64`, `float32` and `float64`.

Examples
--------
>>> from evolute import dtype as mstype
>>> mstype.float32, mstype.bool_
(Float32, Bool)
>>> mstype.dtype_to_nptype(mstype.float64)
<class 'numpy.float64'>
>>> mstype.pytype_to_dtype(int)
Int64
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evolute._evolute import DType, as_dtype, bool_, float32, float64, int32, int64

__all__ = [
    "DType",
    "as_dtype",
    "bool_",
    "dtype_to_nptype",
    "dtype_to_pytype",
    "float32",
    "float64",
    "int32",
    "int64",
    "pytype_to_dtype",
]


def dtype_to_nptype(type_: DType) -> type[np.generic]:
    """Return the NumPy scalar type of an element type.

    Parameters
    ----------
    type_ : DType
        Element type, or anything that `as_dtype` takes.

    Raises
    ------
    DTypeError
        If `type_` names no element type.

    Examples
    --------
    >>> dtype_to_nptype(int32)
    <class 'numpy.int32'>
    """
    scalar: type[np.generic] = as_dtype(type_).numpy.type
    return scalar


def dtype_to_pytype(type_: DType) -> type[bool | int | float]:
    """Return the Python type of the elements of an element type: `bool`, `int` or `float`.

    Raises
    ------
    DTypeError
        If `type_` names no element type.

    Examples
    --------
    >>> dtype_to_pytype(float32)
    <class 'float'>
    """
    kind = as_dtype(type_).numpy.kind
    return bool if kind == "b" else int if kind == "i" else float


def pytype_to_dtype(obj: Any) -> DType:
    """Return the element type that a Python or NumPy type becomes; `float` becomes float32.

    Raises
    ------
    DTypeError
        If there is none.

    Examples
    --------
    >>> import numpy as np
    >>> pytype_to_dtype(bool), pytype_to_dtype(np.float64)
    (Bool, Float64)
    """
    return as_dtype(obj)
