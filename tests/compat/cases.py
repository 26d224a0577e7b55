"""What both MindSpore and Evolute run: small gradient scripts, each of which returns its results.

`mindspore` is MindSpore in `record.py` and its stand-in in `test_compat.py`. Results are tensors, numbers, strings and
None, in tuples, lists and dicts; a case that ends with an exception has its type as result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mindspore as ms
import numpy as np

CASES: dict[str, Callable[[Any], Any]] = {}


def case(name: str, *keys: Any) -> Callable[..., Any]:
    """Add a function to the cases; with `keys`, one case for each, which is the function's argument."""

    def add(fn: Callable[..., Any]) -> Callable[..., Any]:
        for key in keys or (None,):
            full = name if key is None else f"{name}/{key}"
            if full in CASES:
                raise ValueError(f"two cases are named {full}")
            CASES[full] = fn if key is None else (lambda key=key: fn(key))
        return fn

    return add


def vector(*values: float) -> Any:
    return ms.Tensor(np.array(values, np.float32))


def sample(low: float, high: float, shape: tuple[int, ...] = (2, 3), seed: int = 0) -> Any:
    return ms.Tensor(np.random.RandomState(seed).uniform(low, high, shape).astype(np.float32))
