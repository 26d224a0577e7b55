"""The floor: a copy that reads and writes the bytes that the work must, with PyTorch's threads, into the same place."""

from __future__ import annotations

from typing import Any

import torch

from workloads import problems

PACKAGES = ("torch",)


def set_threads(count: int) -> None:
    torch.set_num_threads(count)


def to_numpy(x: Any) -> Any:
    return x.numpy()


def copy(arrays_moved: int, size: int, dtype: str) -> Any:
    """`arrays_moved` counts those read and those written, each of `size` elements; a copy does half of each."""
    source = torch.ones(arrays_moved * size // 2, dtype=getattr(torch, dtype))
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def forward(variant: str, function_name: str, size: int, dtype: str) -> Any:
    return copy(problems.FUNCTIONS[function_name].arity + 1, size, dtype)


def grad(variant: str, function_name: str, size: int, dtype: str, order: int) -> Any:
    """Reads each argument and writes a derivative by each; `passes`: for the function and for each derivative of it.

    The first is all that compiled code has to move. Eager code runs the function, and then what differentiates it: each
    of these passes has its results in memory before the next one begins, whether or not anybody asks for them.
    """
    arity = problems.FUNCTIONS[function_name].arity
    arrays = 2 * arity
    if variant == "passes":
        arrays = (arity + 1) + order * 2 * arity
    return copy(arrays, size, dtype)


def chain(variant: str, size: int) -> Any:
    return copy(2, size, "float32")


WORKLOADS = {"forward": forward, "grad": grad, "chain": chain}
