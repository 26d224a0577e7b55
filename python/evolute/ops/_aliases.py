"""MindSpore's names for operations, and operations on parameters.

They stand apart from `evolute.ops.functional`, where names such as `sum` are those of operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from evolute import _evolute
from evolute._evolute import DType, Tensor
from evolute.parameter import Parameter

if TYPE_CHECKING:
    from evolute._evolute import TensorLike

P = TypeVar("P", bound=Parameter)
Axis = int | Sequence[int] | None

__all__ = [
    "addn",
    "assign",
    "assign_add",
    "assign_sub",
    "batch_matmul",
    "clip_by_value",
    "fill",
    "gather_nd",
    "identity",
    "logical_not",
    "rank",
    "reduce_all",
    "reduce_any",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_prod",
    "reduce_sum",
    "select",
    "shape",
    "size",
    "tensor_scatter_add",
    "tensor_scatter_update",
]


def _axes(axis: Axis) -> Axis:
    # MindSpore writes "all axes" as an empty tuple.
    return None if isinstance(axis, (tuple, list)) and not axis else axis


def reduce_sum(x: TensorLike, axis: Axis = (), keep_dims: bool = False) -> Tensor:
    """Sum over `axis`; ``()`` stands for all axes."""
    return _evolute.sum(x, _axes(axis), keep_dims)


def reduce_mean(x: TensorLike, axis: Axis = (), keep_dims: bool = False) -> Tensor:
    """Arithmetic mean over `axis`; ``()`` stands for all axes."""
    return _evolute.mean(x, _axes(axis), keep_dims)


def reduce_prod(x: TensorLike, axis: Axis = (), keep_dims: bool = False) -> Tensor:
    """Product over `axis`; ``()`` stands for all axes."""
    return _evolute.prod(x, _axes(axis), keep_dims)


def reduce_max(x: TensorLike, axis: Axis = (), keep_dims: bool = False) -> Tensor:
    """Largest element over `axis`; ``()`` stands for all axes."""
    return _evolute.max(x, _axes(axis), keep_dims)


def reduce_min(x: TensorLike, axis: Axis = (), keep_dims: bool = False) -> Tensor:
    """Smallest element over `axis`; ``()`` stands for all axes."""
    return _evolute.min(x, _axes(axis), keep_dims)


def reduce_all(x: TensorLike, axis: Axis = (), keep_dims: bool = False) -> Tensor:
    """Whether all elements over `axis` are not 0; ``()`` stands for all axes."""
    return _evolute.all(x, _axes(axis), keep_dims)


def reduce_any(x: TensorLike, axis: Axis = (), keep_dims: bool = False) -> Tensor:
    """Whether any element over `axis` is not 0; ``()`` stands for all axes."""
    return _evolute.any(x, _axes(axis), keep_dims)


def batch_matmul(x: TensorLike, y: TensorLike, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """Matrix product over the last two axes; the others are batch axes."""
    return _evolute.matmul(x, y, transpose_a, transpose_b)


def addn(x: Sequence[TensorLike]) -> Tensor:
    """Sum of several tensors, elementwise.

    Raises
    ------
    ValueError
        If there are none.
    """
    if len(x) == 0:
        raise ValueError("addn: needs one tensor or more")
    total = Tensor(x[0])
    for term in x[1:]:
        total = total + term
    return total


def clip_by_value(
    x: TensorLike, clip_value_min: TensorLike | None = None, clip_value_max: TensorLike | None = None
) -> Tensor:
    """Limits x to [clip_value_min, clip_value_max]; None is no bound."""
    return _evolute.clip(x, clip_value_min, clip_value_max)


def select(cond: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
    """Elements of x where `cond` is true, of y elsewhere."""
    return _evolute.where(cond, x, y)


def logical_not(x: TensorLike) -> Tensor:
    """Whether x = 0, elementwise."""
    return _evolute.equal(x, 0)


def identity(x: TensorLike) -> Tensor:
    """Return x as a tensor."""
    return x if type(x) is Tensor else Tensor(x)


def fill(type: DType, shape: Sequence[int], value: float) -> Tensor:
    """Tensor of dtype `type` with `value` everywhere."""
    return _evolute.full(shape, value, type)


def shape(x: Tensor) -> tuple[int, ...]:
    """Return the length of each axis of x."""
    return x.shape


def rank(x: Tensor) -> int:
    """Return the number of axes of x."""
    return x.ndim


def size(x: Tensor) -> int:
    """Return the number of elements of x."""
    return x.size


def _coordinates(indices: TensorLike) -> tuple[Tensor, ...]:
    positions = identity(indices)
    return tuple(positions[..., i] for i in range(positions.shape[-1]))


def gather_nd(x: TensorLike, indices: TensorLike) -> Tensor:
    """Slices of x at the positions in the last axis of `indices`.

    Examples
    --------
    >>> gather_nd(Tensor([[1.0, 2.0], [3.0, 4.0]]), [[0, 1], [1, 0]])
    Tensor(shape=[2], dtype=Float32, value= [ 2.00000000e+00,  3.00000000e+00])
    """
    return identity(x)[_coordinates(indices)]


def tensor_scatter_update(x: TensorLike, indices: TensorLike, updates: TensorLike) -> Tensor:
    """Copy of x with `updates` at the positions in the last axis of `indices`."""
    return _evolute.index_update(x, _coordinates(indices), updates)


def tensor_scatter_add(x: TensorLike, indices: TensorLike, updates: TensorLike) -> Tensor:
    """Copy of x with `updates` added at the positions in the last axis of `indices`; repeated positions add up."""
    return _evolute.index_increment(x, _coordinates(indices), updates)


def assign(variable: P, value: TensorLike) -> P:
    """Replace the value of a parameter, and return it.

    In a compiled function the parameter changes at the end of each call; later reads within the call give the new
    value.

    Raises
    ------
    ShapeError, DTypeError
        If shape or dtype differ from the parameter's.

    Examples
    --------
    >>> assign(Parameter([1.0], "w"), [2.0]).value()
    Tensor(shape=[1], dtype=Float32, value= [ 2.00000000e+00])
    """
    return variable.set_data(value)


def assign_add(variable: P, value: TensorLike) -> P:
    """Add `value` to a parameter, and return it."""
    return variable.set_data(variable + value)


def assign_sub(variable: P, value: TensorLike) -> P:
    """Subtract `value` from a parameter, and return it."""
    return variable.set_data(variable - value)
