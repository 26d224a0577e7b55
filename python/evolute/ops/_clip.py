"""Limits on the size of gradients."""

from __future__ import annotations

from collections.abc import Sequence

from evolute import _evolute
from evolute._evolute import Tensor

__all__ = ["clip_by_global_norm", "clip_by_norm", "global_norm"]


def global_norm(x: Sequence[Tensor]) -> Tensor:
    """Root of the sum of the squares of all elements of all tensors.

    Raises
    ------
    ValueError
        If there are no tensors.

    Examples
    --------
    >>> print(global_norm([Tensor([3.0]), Tensor([[4.0]])]))
    5.0
    """
    if len(x) == 0:
        raise ValueError("global_norm: needs one tensor or more")
    total = _evolute.sum(_evolute.square(x[0]))
    for tensor in x[1:]:
        total = total + _evolute.sum(_evolute.square(tensor))
    return _evolute.sqrt(total)


def _factor(norm: Tensor, limit: float, what: str) -> Tensor:
    if not limit > 0:
        raise ValueError(f"{what}: the norm to clip to is positive, got {limit!r}")
    return limit / _evolute.maximum(norm, limit)


def clip_by_global_norm(x: Sequence[Tensor], clip_norm: float = 1.0) -> tuple[Tensor, ...]:
    """Scale tensors by one factor, so that their norm, all taken together, is `clip_norm` at most.

    Raises
    ------
    ValueError
        If there are no tensors, or `clip_norm` is not positive.

    Examples
    --------
    >>> print(*clip_by_global_norm([Tensor([3.0]), Tensor([4.0])], 2.5))
    [1.5] [2.]
    """
    factor = _factor(global_norm(x), clip_norm, "clip_by_global_norm")
    return tuple(tensor * _evolute.cast(factor, tensor.dtype) for tensor in x)


def clip_by_norm(x: Tensor, max_norm: float) -> Tensor:
    """Scale a tensor so that its norm is `max_norm` at most.

    Raises
    ------
    ValueError
        If `max_norm` is not positive.

    Examples
    --------
    >>> print(clip_by_norm(Tensor([3.0, 4.0]), 2.5))
    [1.5 2. ]
    """
    return x * _factor(_evolute.norm(x), max_norm, "clip_by_norm")
