"""Primitives that make, arrange and select elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from evolute import _evolute
from evolute._evolute import DType, Tensor, float32
from evolute.ops import _aliases as aliases
from evolute.ops._primitive import Primitive

if TYPE_CHECKING:
    from evolute._evolute import TensorLike

__all__ = [
    "BroadcastTo",
    "Cast",
    "Concat",
    "ExpandDims",
    "Eye",
    "Fill",
    "Flatten",
    "Gather",
    "GatherD",
    "GatherNd",
    "Identity",
    "LinSpace",
    "LogicalNot",
    "Ones",
    "OnesLike",
    "Pad",
    "Reshape",
    "ReverseV2",
    "Select",
    "Shape",
    "Split",
    "Squeeze",
    "Stack",
    "TensorScatterAdd",
    "TensorScatterUpdate",
    "Tile",
    "Transpose",
    "Tril",
    "Triu",
    "Unstack",
    "Zeros",
    "ZerosLike",
]


# ---- Shape


class Reshape(Primitive):
    """The same elements in row-major order in another shape; one entry may be -1."""

    def __call__(self, x: TensorLike, shape: Sequence[int]) -> Tensor:
        return _evolute.reshape(x, shape)


class Flatten(Primitive):
    """The axes after the first made into one."""

    def __call__(self, x: TensorLike) -> Tensor:
        x = aliases.identity(x)
        return _evolute.reshape(x, (x.shape[0], -1))


class Transpose(Primitive):
    """Axes in the order `perm`."""

    def __call__(self, x: TensorLike, perm: Sequence[int]) -> Tensor:
        return _evolute.transpose(x, perm)


class ExpandDims(Primitive):
    """A new axis of length 1 at `axis`."""

    def __call__(self, x: TensorLike, axis: int) -> Tensor:
        return _evolute.expand_dims(x, axis)


class Squeeze(Primitive):
    """The axes of length 1 in `axis` removed, all of them by default."""

    def __init__(self, axis: int | Sequence[int] = ()) -> None:
        self.axis = axis

    def __call__(self, x: TensorLike) -> Tensor:
        return _evolute.squeeze(x, None if self.axis == () else self.axis)


class BroadcastTo(Primitive):
    """x repeated along axes until it has this shape."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape = tuple(shape)

    def __call__(self, x: TensorLike) -> Tensor:
        return _evolute.broadcast_to(x, self.shape)


class Concat(Primitive):
    """Tensors joined along an axis they have."""

    def __init__(self, axis: int = 0) -> None:
        self.axis = axis

    def __call__(self, input_x: Sequence[TensorLike]) -> Tensor:
        return _evolute.concat(input_x, self.axis)


class Stack(Primitive):
    """Tensors of one shape joined along a new axis."""

    def __init__(self, axis: int = 0) -> None:
        self.axis = axis

    def __call__(self, input_x: Sequence[TensorLike]) -> Tensor:
        return _evolute.stack(input_x, self.axis)


class Unstack(Primitive):
    """The slices along an axis, which they do not have."""

    def __init__(self, axis: int = 0) -> None:
        self.axis = axis

    def __call__(self, input_x: TensorLike) -> tuple[Tensor, ...]:
        return tuple(_evolute.moveaxis(input_x, self.axis, 0))


class Split(Primitive):
    """`output_num` equal parts along an axis."""

    def __init__(self, axis: int = 0, output_num: int = 1) -> None:
        self.axis, self.output_num = axis, output_num

    def __call__(self, input_x: TensorLike) -> tuple[Tensor, ...]:
        return tuple(_evolute.split(input_x, self.output_num, self.axis))


class Tile(Primitive):
    """x repeated `multiples[i]` times along axis i."""

    def __call__(self, x: TensorLike, multiples: Sequence[int]) -> Tensor:
        return _evolute.tile(x, multiples)


class Pad(Primitive):
    """Zeros around x: `paddings[i]` is (before, after) for axis i."""

    def __init__(self, paddings: Sequence[Sequence[int]]) -> None:
        self.paddings = tuple(tuple(pair) for pair in paddings)

    def __call__(self, x: TensorLike) -> Tensor:
        return _evolute.pad(x, self.paddings)


class ReverseV2(Primitive):
    """Elements in the opposite order along `axis`."""

    def __init__(self, axis: int | Sequence[int]) -> None:
        self.axis = axis

    def __call__(self, x: TensorLike) -> Tensor:
        return _evolute.flip(x, self.axis)


class Tril(Primitive):
    """Lower triangle of matrices, zeros above."""

    def __init__(self, diagonal: int = 0) -> None:
        self.diagonal = diagonal

    def __call__(self, x: TensorLike) -> Tensor:
        return _evolute.tril(x, self.diagonal)


class Triu(Primitive):
    """Upper triangle of matrices, zeros below."""

    def __init__(self, diagonal: int = 0) -> None:
        self.diagonal = diagonal

    def __call__(self, x: TensorLike) -> Tensor:
        return _evolute.triu(x, self.diagonal)


class Shape(Primitive):
    """Length of each axis, as a tuple."""

    def __call__(self, x: Tensor) -> tuple[int, ...]:
        return x.shape


# ---- Indexing and selection


class Gather(Primitive):
    """Slices of x along `axis` at `indices`."""

    def __call__(self, x: TensorLike, indices: TensorLike, axis: int) -> Tensor:
        return _evolute.take(x, indices, axis)


class GatherD(Primitive):
    """out[i, j] = x[index[i, j], j] for `dim` 0, and so on."""

    def __call__(self, x: TensorLike, dim: int, index: TensorLike) -> Tensor:
        return _evolute.gather(x, dim, index)


class GatherNd(Primitive):
    """Slices of x at the positions in the last axis of `indices`."""

    def __call__(self, x: TensorLike, indices: TensorLike) -> Tensor:
        return aliases.gather_nd(x, indices)


class TensorScatterUpdate(Primitive):
    """Copy of x with `updates` at the positions in the last axis of `indices`."""

    def __call__(self, x: TensorLike, indices: TensorLike, updates: TensorLike) -> Tensor:
        return aliases.tensor_scatter_update(x, indices, updates)


class TensorScatterAdd(Primitive):
    """Copy of x with `updates` added at the positions in the last axis of `indices`."""

    def __call__(self, x: TensorLike, indices: TensorLike, updates: TensorLike) -> Tensor:
        return aliases.tensor_scatter_add(x, indices, updates)


class Select(Primitive):
    """Elements of x where `cond` is true, of y elsewhere."""

    def __call__(self, cond: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
        return _evolute.where(cond, x, y)


class LogicalNot(Primitive):
    """Whether x = 0, elementwise."""

    def __call__(self, x: TensorLike) -> Tensor:
        return aliases.logical_not(x)


class Cast(Primitive):
    """x converted to another dtype."""

    def __call__(self, x: TensorLike, dtype: DType) -> Tensor:
        return _evolute.cast(x, dtype)


class Identity(Primitive):
    """x itself."""

    def __call__(self, x: TensorLike) -> Tensor:
        return aliases.identity(x)


# ---- Creation


class ZerosLike(Primitive):
    """Zeros of x's shape and dtype."""

    def __call__(self, x: TensorLike) -> Tensor:
        return _evolute.zeros_like(x)


class OnesLike(Primitive):
    """Ones of x's shape and dtype."""

    def __call__(self, x: TensorLike) -> Tensor:
        return _evolute.ones_like(x)


class Zeros(Primitive):
    """Zeros of a shape and dtype."""

    def __call__(self, shape: int | Sequence[int], type: DType = float32) -> Tensor:
        return _evolute.zeros(shape, type)


class Ones(Primitive):
    """Ones of a shape and dtype."""

    def __call__(self, shape: int | Sequence[int], type: DType = float32) -> Tensor:
        return _evolute.ones(shape, type)


class Fill(Primitive):
    """A constant of a dtype and shape."""

    def __call__(self, type: DType, shape: Sequence[int], value: float) -> Tensor:
        return aliases.fill(type, shape, value)


class Eye(Primitive):
    """Matrix with n rows and m columns, ones on its diagonal."""

    def __call__(self, n: int, m: int, t: DType = float32) -> Tensor:
        return _evolute.eye(n, m, 0, t)


class LinSpace(Primitive):
    """`num` numbers evenly spaced over [start, stop]."""

    def __call__(self, start: float, stop: float, num: int) -> Tensor:
        return _evolute.linspace(float(start), float(stop), num)
