"""What tests of vmap share: the loop that it stands for, and every way to map the operands of a function."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from checks import assert_close

import evolute as ev
from evolute import Tensor

Array = np.ndarray[Any, Any]


def loop(fn: Callable, arrays: Sequence[Array], in_axes: Sequence[int | None]) -> list[Array]:
    """Results of `fn` for one example after the other, stacked: an array per output."""
    (n,) = {a.shape[axis] for a, axis in zip(arrays, in_axes, strict=True) if axis is not None}
    rows = []
    for i in range(n):
        one = [a if axis is None else np.take(a, i, axis) for a, axis in zip(arrays, in_axes, strict=True)]
        out = fn(*map(Tensor, one))
        rows.append(out if isinstance(out, tuple) else (out,))
    return [np.stack([r.asnumpy() for r in column]) for column in zip(*rows, strict=True)]


def moved(a: Array, axis: int | None) -> Array:
    """Put the examples along another axis; without one, take the first of them."""
    return a[0] if axis is None else np.moveaxis(a, 0, axis)


def placements(arrays: Sequence[Array], *, everywhere: bool = False) -> Iterator[tuple[int | None, ...]]:
    """Every subset of operands mapped, along axis 0, and the last one otherwise; `everywhere`: along all axes."""
    for mapped in itertools.product([False, True], repeat=len(arrays)):
        if not any(mapped):
            continue
        yield tuple(0 if m else None for m in mapped)
        yield tuple(-1 if m else None for m in mapped)
        if everywhere:
            choices = [range(a.ndim) if m else [None] for a, m in zip(arrays, mapped, strict=True)]
            yield from itertools.product(*choices)


def check_vmap(
    fn: Callable,
    *examples: Array,
    rtol: float = 1e-12,
    modes: Sequence[str] = ("eager", "jit"),
    axes: Sequence[tuple[int | None, ...]] | None = None,
    everywhere: bool = False,
) -> None:
    """Compare vmap of `fn` with the loop; `examples` have one example of an operand per element of axis 0."""
    for in_axes in axes or list(dict.fromkeys(placements(examples, everywhere=everywhere))):
        arrays = [moved(a, axis) for a, axis in zip(examples, in_axes, strict=True)]
        expected = loop(fn, arrays, in_axes)
        mapped = ev.vmap(fn, in_axes)
        for mode in modes:
            got = (mapped if mode == "eager" else ev.jit(mapped))(*map(Tensor, arrays))
            for g, e in zip(got if isinstance(got, tuple) else (got,), expected, strict=True):
                assert g.asnumpy().dtype == e.dtype
                assert_close(g.asnumpy(), e, rtol, atol=rtol, err_msg=f"{mode}, in_axes {in_axes}")
