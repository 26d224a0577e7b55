"""Nested structures of tensors: tuples, lists and dicts, with anything else as leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from evolute import ops
from evolute._evolute import Tensor


def leaves(structure: Any) -> Iterator[Any]:
    """Yield the leaves, in order."""
    if isinstance(structure, (tuple, list)):
        for item in structure:
            yield from leaves(item)
    elif isinstance(structure, dict):
        for item in structure.values():
            yield from leaves(item)
    else:
        yield structure


def mapped(fn: Callable[[Any], Any], structure: Any) -> Any:
    """Return the same structure of `fn(leaf)`."""
    if isinstance(structure, tuple):
        items = [mapped(fn, item) for item in structure]
        return type(structure)(*items) if hasattr(structure, "_fields") else tuple(items)
    if isinstance(structure, list):
        return [mapped(fn, item) for item in structure]
    if isinstance(structure, dict):
        return {key: mapped(fn, item) for key, item in structure.items()}
    return fn(structure)


def filled(structure: Any, items: Sequence[Any]) -> Any:
    """Return the same structure of other leaves, given in order."""
    rest = iter(items)
    return mapped(lambda _: next(rest), structure)


def tensors(structure: Any, what: str, role: str) -> list[Tensor]:
    """Return the leaves, which must be floating tensors, or numbers or arrays that become such.

    Raises
    ------
    TypeError
        If a leaf is something else; `what` begins the message, and `role` says what the structure is.
    """
    found: list[Tensor] = []
    for leaf in leaves(structure):
        try:
            t: Tensor | None = leaf if isinstance(leaf, Tensor) else Tensor(leaf)
        except (TypeError, ValueError):
            t = None
        if t is None or not t.dtype.is_floating:
            kind = f"a tensor of dtype {leaf.dtype}" if isinstance(leaf, Tensor) else f"a {type(leaf).__name__}"
            raise TypeError(f"{what}: {role} must be made of tensors of floating dtype, got {kind}")
        found.append(t)
    if not found:
        raise TypeError(f"{what}: {role} has no tensors")
    return found


def raveled(structure: Any) -> Tensor:
    """Return all tensors of a structure as one vector."""
    parts = [ops.reshape(t, (-1,)) for t in leaves(structure)]
    return parts[0] if len(parts) == 1 else ops.concat(parts)


def unraveler(structure: Any) -> Callable[[Tensor], Any]:
    """Return the function from vectors to structures that undoes `raveled`."""
    shapes = [(t.shape, t.size, t.dtype) for t in leaves(structure)]

    def unravel(vector: Tensor) -> Any:
        items, at = [], 0
        for shape, size, dtype in shapes:
            items.append(ops.cast(ops.reshape(vector[at : at + size], shape), dtype))
            at += size
        return filled(structure, items)

    return unravel
