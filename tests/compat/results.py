"""Results of the cases as JSON: structure, shapes, dtypes, and numbers of seven digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def describe(fn: Callable[[], Any]) -> Any:
    """Run a case, and describe its result or the exception it ends with."""
    try:
        return described(fn())
    except Exception as error:
        builtin = next(cls for cls in type(error).__mro__ if cls.__module__ == "builtins")
        return {"error": builtin.__name__}


def described(x: Any) -> Any:
    if isinstance(x, (tuple, list)) and not hasattr(x, "asnumpy"):
        kind = "list" if isinstance(x, list) else "tuple"
        return {kind: [described(item) for item in x]}
    if isinstance(x, dict):
        return {"dict": {str(key): described(value) for key, value in x.items()}}
    if x is None or isinstance(x, (bool, int, str)):
        return x
    if isinstance(x, float):
        return rounded(x)
    array = x.asnumpy() if hasattr(x, "asnumpy") else x
    if not isinstance(array, np.ndarray):
        return {"type": type(x).__name__}
    kind = "array" if array is x else "tensor"
    values = [rounded(v) if array.dtype.kind == "f" else v for v in array.ravel().tolist()]
    return {kind: str(array.dtype), "shape": list(array.shape), "values": values}


def rounded(value: float) -> Any:
    # Of no more digits than float32 has; JSON has no infinities.
    return float(f"{value:.7g}") if np.isfinite(value) else str(value)
