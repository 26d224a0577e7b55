"""Primitives that calculate and take attributes; the elementwise ones are in `_elementwise`."""
# ruff: noqa: D102 (the class says what its __call__ does)

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, TypeVar

from evolute import _evolute
from evolute._evolute import DType, Tensor, int32
from evolute.ops import _aliases as aliases
from evolute.ops._elementwise import Add, Div, GeLU, Mod, Reciprocal
from evolute.ops._primitive import Primitive
from evolute.parameter import Parameter

if TYPE_CHECKING:
    from evolute._evolute import TensorLike

P = TypeVar("P", bound=Parameter)
Axis = int | Sequence[int] | None

__all__ = [
    "AddN",
    "Argmax",
    "Argmin",
    "Assign",
    "AssignAdd",
    "AssignSub",
    "BatchMatMul",
    "Cholesky",
    "CumSum",
    "Einsum",
    "FloorMod",
    "Gelu",
    "Inv",
    "LogMatrixDeterminant",
    "LogSoftmax",
    "MatMul",
    "MatrixDeterminant",
    "MatrixInverse",
    "RealDiv",
    "ReduceAll",
    "ReduceAny",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "Softmax",
    "TensorAdd",
]

# Other names for elementwise primitives.
RealDiv = Div
FloorMod = Mod
TensorAdd = Add
Inv = Reciprocal
Gelu = GeLU


# ---- Products


class MatMul(Primitive):
    """Matrix product; the flags transpose the last two axes of an operand."""

    def __init__(self, transpose_a: bool = False, transpose_b: bool = False) -> None:
        self.transpose_a, self.transpose_b = transpose_a, transpose_b

    def __call__(self, x: TensorLike, y: TensorLike) -> Tensor:
        return _evolute.matmul(x, y, self.transpose_a, self.transpose_b)


class BatchMatMul(MatMul):
    """Matrix product over the last two axes; the others are batch axes."""


class Einsum(Primitive):
    """Einstein summation, in NumPy's notation; called with a sequence of tensors."""

    def __init__(self, equation: str) -> None:
        self.equation = equation

    def __call__(self, x: Sequence[TensorLike]) -> Tensor:
        return _evolute.einsum(self.equation, *x)


# ---- Reductions


class _Reduction(Primitive):
    _function: ClassVar[staticmethod[[TensorLike, Axis, bool], Tensor]]

    def __init__(self, keep_dims: bool = False) -> None:
        self.keep_dims = keep_dims

    def __call__(self, x: TensorLike, axis: Axis = ()) -> Tensor:
        return type(self)._function(x, axis, self.keep_dims)


class ReduceSum(_Reduction):
    """Sum over `axis`, over all axes by default."""

    _function = staticmethod(aliases.reduce_sum)


class ReduceMean(_Reduction):
    """Arithmetic mean over `axis`, over all axes by default."""

    _function = staticmethod(aliases.reduce_mean)


class ReduceProd(_Reduction):
    """Product over `axis`, over all axes by default."""

    _function = staticmethod(aliases.reduce_prod)


class ReduceMax(_Reduction):
    """Largest element over `axis`, over all axes by default."""

    _function = staticmethod(aliases.reduce_max)


class ReduceMin(_Reduction):
    """Smallest element over `axis`, over all axes by default."""

    _function = staticmethod(aliases.reduce_min)


class ReduceAll(_Reduction):
    """Whether all elements over `axis` are not 0, over all axes by default."""

    _function = staticmethod(aliases.reduce_all)


class ReduceAny(_Reduction):
    """Whether any element over `axis` is not 0, over all axes by default."""

    _function = staticmethod(aliases.reduce_any)


class Argmax(Primitive):
    """Index of the largest element along an axis."""

    def __init__(self, axis: int = -1, output_type: DType = int32) -> None:
        self.axis, self.output_type = axis, output_type

    def __call__(self, x: TensorLike) -> Tensor:
        return _evolute.argmax(x, self.axis).astype(self.output_type)


class Argmin(Primitive):
    """Index of the smallest element along an axis."""

    def __init__(self, axis: int = -1, output_type: DType = int32) -> None:
        self.axis, self.output_type = axis, output_type

    def __call__(self, x: TensorLike) -> Tensor:
        return _evolute.argmin(x, self.axis).astype(self.output_type)


class CumSum(Primitive):
    """Running sum along an axis; `exclusive` leaves each element out of its own sum."""

    def __init__(self, exclusive: bool = False, reverse: bool = False) -> None:
        self.exclusive, self.reverse = exclusive, reverse

    def __call__(self, x: TensorLike, axis: int) -> Tensor:
        total = _evolute.cumsum(x, axis, self.reverse)
        return total - x if self.exclusive else total


class Softmax(Primitive):
    """exp(x) divided by its sum along an axis."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def __call__(self, x: TensorLike) -> Tensor:
        return _evolute.softmax(x, self.axis)


class LogSoftmax(Primitive):
    """Logarithm of the softmax along an axis."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def __call__(self, x: TensorLike) -> Tensor:
        return _evolute.log_softmax(x, self.axis)


class AddN(Primitive):
    """Sum of several tensors, elementwise."""

    def __call__(self, x: Sequence[TensorLike]) -> Tensor:
        return aliases.addn(x)


# ---- Linear algebra


class Cholesky(Primitive):
    """Lower Cholesky factor of symmetric positive definite matrices."""

    def __call__(self, x: TensorLike) -> Tensor:
        return _evolute.cholesky(x)


class MatrixInverse(Primitive):
    """Inverse of each matrix."""

    def __call__(self, x: TensorLike) -> Tensor:
        return _evolute.inv(x)


class MatrixDeterminant(Primitive):
    """Determinant of each matrix."""

    def __call__(self, x: TensorLike) -> Tensor:
        return _evolute.det(x)


class LogMatrixDeterminant(Primitive):
    """Sign of the determinant of each matrix, and logarithm of its absolute value."""

    def __call__(self, x: TensorLike) -> tuple[Tensor, Tensor]:
        return _evolute.slogdet(x)


# ---- Parameters


class Assign(Primitive):
    """Replaces the value of a parameter; see `evolute.ops.assign`."""

    def __call__(self, variable: P, value: TensorLike) -> P:
        return aliases.assign(variable, value)


class AssignAdd(Primitive):
    """Adds to a parameter."""

    def __call__(self, variable: P, value: TensorLike) -> P:
        return aliases.assign_add(variable, value)


class AssignSub(Primitive):
    """Subtracts from a parameter."""

    def __call__(self, variable: P, value: TensorLike) -> P:
        return aliases.assign_sub(variable, value)
