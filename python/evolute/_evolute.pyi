# Written by .ci/make_stubs.py; do not edit.

import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

TensorLike: typing.TypeAlias = typing.Union["Tensor", ArrayLike]
DTypeLike: typing.TypeAlias = typing.Union["DType", np.dtype[Any], type[Any], str]

class ShapeError(ValueError):
    """Shapes that do not fit."""

class DTypeError(TypeError):
    """Element types that do not fit."""

class DeviceError(RuntimeError):
    """A device that is missing or unfit."""

class TraceError(RuntimeError):
    """A traced value used where it has no meaning."""

class UnknownValueError(TraceError):
    """A value asked for while a function is being recorded."""

class DType:
    """Element type of a tensor: bool_, int32, int64, float32 or float64."""
    def __eq__(self, other: object, /) -> bool:
        """Whether both are the same element type."""
    def __hash__(self) -> int: ...
    def __reduce__(self) -> Any:
        """Support for pickle and copy."""
    @property
    def itemsize(self) -> int:
        """Bytes per element."""
    @property
    def is_floating(self) -> bool:
        """Whether it is float32 or float64."""
    @property
    def numpy(self) -> np.dtype[Any]:
        """The same element type in NumPy."""

bool_: DType
int32: DType
int64: DType
float32: DType
float64: DType

def set_default_device(name: str) -> None:
    """Where new tensors go. Throws DeviceError if the device is missing."""

def synchronize() -> None:
    """Waits for the work of this thread on the default device, and raises what went wrong."""

def as_dtype(dtype: object) -> DType:
    """The DType of a NumPy dtype, a name or a Python type."""

def promote(a: DType, b: DType) -> DType:
    """The type two operands meet in."""

def from_numpy(array: NDArray[Any]) -> Tensor:
    """A tensor that shares the array's memory; do not write to the array while it lives."""

def from_dlpack(source: object) -> Tensor:
    """A tensor that shares the memory of any object with __dlpack__."""

class Tensor:
    """
    Immutable n-dimensional array that transforms can differentiate.

    Parameters
    ----------
    input_data : array_like
        NumPy arrays keep their dtype and are copied; lists of floats become float32, of integers int64.
    dtype : DType, optional
        Element type to convert to.
    """
    def __init__(self, input_data: TensorLike, dtype: DTypeLike | None = None) -> None: ...
    def __hash__(self) -> int: ...
    def __lt__(self, value: TensorLike, /) -> Tensor: ...
    def __le__(self, value: TensorLike, /) -> Tensor: ...
    def __eq__(self, value: object, /) -> Tensor: ...  # type: ignore[override]
    def __ne__(self, value: object, /) -> Tensor: ...  # type: ignore[override]
    def __gt__(self, value: TensorLike, /) -> Tensor: ...
    def __ge__(self, value: TensorLike, /) -> Tensor: ...
    def __iter__(self) -> Iterator[Tensor]: ...
    def __add__(self, value: TensorLike, /) -> Tensor: ...
    def __radd__(self, value: TensorLike, /) -> Tensor: ...
    def __sub__(self, value: TensorLike, /) -> Tensor: ...
    def __rsub__(self, value: TensorLike, /) -> Tensor: ...
    def __mul__(self, value: TensorLike, /) -> Tensor: ...
    def __rmul__(self, value: TensorLike, /) -> Tensor: ...
    def __mod__(self, value: TensorLike, /) -> Tensor: ...
    def __rmod__(self, value: TensorLike, /) -> Tensor: ...
    def __pow__(self, value: TensorLike, modulus: None = None, /) -> Tensor: ...
    def __rpow__(self, value: TensorLike, modulus: None = None, /) -> Tensor: ...
    def __neg__(self) -> Tensor: ...
    def __pos__(self) -> Tensor: ...
    def __abs__(self) -> Tensor: ...
    def __bool__(self) -> bool: ...
    def __invert__(self) -> Tensor: ...
    def __and__(self, value: TensorLike, /) -> Tensor: ...
    def __rand__(self, value: TensorLike, /) -> Tensor: ...
    def __xor__(self, value: TensorLike, /) -> Tensor: ...
    def __rxor__(self, value: TensorLike, /) -> Tensor: ...
    def __or__(self, value: TensorLike, /) -> Tensor: ...
    def __ror__(self, value: TensorLike, /) -> Tensor: ...
    def __int__(self) -> int: ...
    def __float__(self) -> float: ...
    def __floordiv__(self, value: TensorLike, /) -> Tensor: ...
    def __rfloordiv__(self, value: TensorLike, /) -> Tensor: ...
    def __truediv__(self, value: TensorLike, /) -> Tensor: ...
    def __rtruediv__(self, value: TensorLike, /) -> Tensor: ...
    def __index__(self) -> int: ...
    def __matmul__(self, value: TensorLike, /) -> Tensor: ...
    def __rmatmul__(self, value: TensorLike, /) -> Tensor: ...
    def __len__(self) -> int: ...
    def __getitem__(self, key: Any, /) -> Tensor: ...
    def __setitem__(self, key: Any, value: TensorLike, /) -> None: ...
    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis, as a tuple."""
    @property
    def dtype(self) -> DType:
        """Element type."""
    @property
    def device(self) -> str:
        """Where the elements are: 'CPU' or 'GPU:0'."""
    @property
    def ndim(self) -> int:
        """Number of axes."""
    @property
    def size(self) -> int:
        """Number of elements."""
    @property
    def itemsize(self) -> int:
        """Bytes per element."""
    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
    @property
    def T(self) -> Tensor:
        """The tensor with its axes reversed."""
    @property
    def _variable_id(self) -> int | None:
        """Identity of the variable behind a parameter, or None."""
    __array_ufunc__: typing.ClassVar[None]
    def neg(self) -> Tensor:
        """-x, elementwise."""
    def abs(self) -> Tensor:
        """|x|; derivative 0 at 0, elementwise."""
    def square(self) -> Tensor:
        """x², elementwise."""
    def sqrt(self) -> Tensor:
        """square root; derivative inf at 0, elementwise."""
    def rsqrt(self) -> Tensor:
        """1/√x, elementwise."""
    def reciprocal(self) -> Tensor:
        """1/x, elementwise."""
    def exp(self) -> Tensor:
        """eˣ, elementwise."""
    def expm1(self) -> Tensor:
        """eˣ − 1, accurate near 0, elementwise."""
    def log(self) -> Tensor:
        """natural logarithm, elementwise."""
    def log1p(self) -> Tensor:
        """log(1 + x), accurate near 0, elementwise."""
    def sin(self) -> Tensor:
        """sine of x in radians, elementwise."""
    def cos(self) -> Tensor:
        """cosine of x in radians, elementwise."""
    def tan(self) -> Tensor:
        """tangent of x in radians, elementwise."""
    def asin(self) -> Tensor:
        """inverse sine, in radians, elementwise."""
    def acos(self) -> Tensor:
        """inverse cosine, in radians, elementwise."""
    def atan(self) -> Tensor:
        """inverse tangent, in radians, elementwise."""
    def sinh(self) -> Tensor:
        """hyperbolic sine, elementwise."""
    def cosh(self) -> Tensor:
        """hyperbolic cosine, elementwise."""
    def tanh(self) -> Tensor:
        """hyperbolic tangent, elementwise."""
    def sech2(self) -> Tensor:
        """1/cosh²x = 1 − tanh²x, accurate for large x, elementwise."""
    def asinh(self) -> Tensor:
        """inverse hyperbolic sine, elementwise."""
    def acosh(self) -> Tensor:
        """inverse hyperbolic cosine, elementwise."""
    def atanh(self) -> Tensor:
        """inverse hyperbolic tangent, elementwise."""
    def erf(self) -> Tensor:
        """error function, elementwise."""
    def erfc(self) -> Tensor:
        """1 − erf(x), accurate for large x, elementwise."""
    def sigmoid(self) -> Tensor:
        """1/(1 + e⁻ˣ), elementwise."""
    def softplus(self) -> Tensor:
        """log(1 + eˣ), elementwise."""
    def relu(self) -> Tensor:
        """max(x, 0); derivative 0 at 0, elementwise."""
    def gelu(self) -> Tensor:
        """x Φ(x) with the normal distribution function Φ, elementwise."""
    def silu(self) -> Tensor:
        """x/(1 + e⁻ˣ), elementwise."""
    def sign(self) -> Tensor:
        """−1, 0 or 1, elementwise."""
    def floor(self) -> Tensor:
        """largest integer not above x, elementwise."""
    def ceil(self) -> Tensor:
        """smallest integer not below x, elementwise."""
    def round(self) -> Tensor:
        """nearest integer, halves to even, elementwise."""
    def trunc(self) -> Tensor:
        """x without its fraction, elementwise."""
    def add(self, y: TensorLike) -> Tensor:
        """x + y, elementwise."""
    def sub(self, y: TensorLike) -> Tensor:
        """x − y, elementwise."""
    def mul(self, y: TensorLike) -> Tensor:
        """x · y, elementwise."""
    def div(self, y: TensorLike) -> Tensor:
        """x / y, elementwise."""
    def pow(self, y: TensorLike) -> Tensor:
        """xʸ; right at x = 0, elementwise."""
    def atan2(self, y: TensorLike) -> Tensor:
        """angle of the point (y, x), in radians, elementwise."""
    def hypot(self, y: TensorLike) -> Tensor:
        """√(x² + y²) without overflow; derivatives 0 at the origin, elementwise."""
    def maximum(self, y: TensorLike) -> Tensor:
        """the larger; ties share the derivative, elementwise."""
    def minimum(self, y: TensorLike) -> Tensor:
        """the smaller; ties share the derivative, elementwise."""
    def floor_div(self, y: TensorLike) -> Tensor:
        """⌊x / y⌋, elementwise."""
    def mod(self, y: TensorLike) -> Tensor:
        """x − y ⌊x / y⌋, of the sign of y, elementwise."""
    def equal(self, y: TensorLike) -> Tensor:
        """x = y, elementwise."""
    def not_equal(self, y: TensorLike) -> Tensor:
        """x ≠ y, elementwise."""
    def less(self, y: TensorLike) -> Tensor:
        """x < y, elementwise."""
    def less_equal(self, y: TensorLike) -> Tensor:
        """x ≤ y, elementwise."""
    def greater(self, y: TensorLike) -> Tensor:
        """x > y, elementwise."""
    def greater_equal(self, y: TensorLike) -> Tensor:
        """x ≥ y, elementwise."""
    def logical_and(self, y: TensorLike) -> Tensor:
        """both are not 0, elementwise."""
    def logical_or(self, y: TensorLike) -> Tensor:
        """one is not 0, elementwise."""
    def logical_xor(self, y: TensorLike) -> Tensor:
        """just one is not 0, elementwise."""
    def sum(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """Sum over `axis` (all axes by default). Integers and booleans add up as int64."""
    def mean(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """Arithmetic mean over `axis`."""
    def prod(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """Product over `axis`; its derivative is right also where elements are 0."""
    def max(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """Largest element over `axis`; ties share the derivative."""
    def min(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """Smallest element over `axis`; ties share the derivative."""
    def any(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """Whether any element over `axis` is not 0."""
    def all(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """Whether all elements over `axis` are not 0."""
    def logsumexp(self, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
        """log(sum(exp(x))) over `axis` without overflow."""
    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Index of the first largest element along `axis` (of the flattened tensor by default)."""
    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Index of the first smallest element along `axis` (of the flattened tensor by default)."""
    def cumsum(self, axis: int = 0, reverse: bool = False) -> Tensor:
        """Cumulative sum along `axis`."""
    def norm(
        self, ord: float | str | None = None, axis: int | Sequence[int] | None = None, keepdims: bool = False
    ) -> Tensor:
        """Vector p-norm over `axis`, 2 by default; derivative 0 where all elements are 0."""
    def softmax(self, axis: int = -1) -> Tensor:
        """exp(x) / sum(exp(x)) along `axis`."""
    def log_softmax(self, axis: int = -1) -> Tensor:
        """log(softmax(x)) along `axis`, without overflow."""
    def matmul(self, b: TensorLike, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
        """Matrix product over the last two axes, batch axes broadcast; the flags transpose an operand's last two axes."""
    def dot(self, b: TensorLike) -> Tensor:
        """NumPy's dot: inner product of vectors, product of matrices."""
    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """The same elements in row-major order in another shape; one entry may be -1."""
    def transpose(self, *axes: int | Sequence[int]) -> Tensor:
        """Permutes the axes; reverses them by default."""
    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """Exchanges two axes."""
    def moveaxis(self, source: int, destination: int) -> Tensor:
        """Moves one axis to another place."""
    def broadcast_to(self, shape: Sequence[int]) -> Tensor:
        """Repeats x along new axes and axes of length 1, without a copy."""
    def squeeze(self, axis: int | Sequence[int] | None = None) -> Tensor:
        """Removes axes of length 1."""
    def expand_dims(self, axis: int) -> Tensor:
        """Inserts an axis of length 1."""
    def flatten(self) -> Tensor:
        """The elements in one axis."""
    def split(self, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
        """Equal parts, or parts that end before each index."""
    def tile(self, repeats: int | Sequence[int]) -> Tensor:
        """Repeats x along each axis."""
    def flip(self, axis: int | Sequence[int] | None = None) -> Tensor:
        """Reverses the order along `axis` (all axes by default)."""
    def roll(self, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Tensor:
        """Shifts elements cyclically along `axis` (of the flattened tensor by default)."""
    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        """Diagonal of each matrix; its axis comes last."""
    def trace(self, offset: int = 0) -> Tensor:
        """Sum of the diagonal of a matrix."""
    def take(self, indices: TensorLike, axis: int = 0) -> Tensor:
        """Slices of x along `axis` at `indices` (NumPy's take)."""
    def clip(self, lo: TensorLike | None = None, hi: TensorLike | None = None) -> Tensor:
        """Limits x to [lo, hi]."""
    def to(self, device: str) -> Tensor:
        """The tensor on a device, 'CPU' or 'GPU'; itself if it is there. Raises DeviceError if the device is missing."""
    def astype(self, dtype: DTypeLike) -> Tensor:
        """The tensor converted to another dtype."""
    def asnumpy(self) -> NDArray[Any]:
        """The values as a read-only NumPy array that shares the tensor's memory."""
    def item(self) -> float | int | bool:
        """The single element as a Python number."""
    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The values as a NumPy array."""
    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: Any = None,
        copy: bool | None = None,
    ) -> Any:
        """The tensor as a DLPack capsule that shares its memory."""
    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack device type and index."""
    def __format__(self, spec: str) -> str:
        """The text of the tensor; a single element takes the formats of its number."""
    def __reduce__(self) -> Any:
        """Support for pickle and copy."""
    def _bind_variable(self, name: str) -> None:
        """Turns this object into a variable."""
    def _rename_variable(self, name: str) -> None:
        """Renames the variable."""
    def _set_variable(self, value: TensorLike) -> None:
        """Replaces the variable's value."""
    def _value(self) -> Tensor:
        """The current value as a plain tensor."""

def set_formatter(str: Callable[[Tensor], str], repr: Callable[[Tensor], str]) -> None:
    """Sets the functions that print a tensor for str() and repr()."""

def neg(x: TensorLike) -> Tensor:
    """-x, elementwise."""

def abs(x: TensorLike) -> Tensor:
    """|x|; derivative 0 at 0, elementwise."""

def square(x: TensorLike) -> Tensor:
    """x², elementwise."""

def sqrt(x: TensorLike) -> Tensor:
    """square root; derivative inf at 0, elementwise."""

def rsqrt(x: TensorLike) -> Tensor:
    """1/√x, elementwise."""

def reciprocal(x: TensorLike) -> Tensor:
    """1/x, elementwise."""

def exp(x: TensorLike) -> Tensor:
    """eˣ, elementwise."""

def expm1(x: TensorLike) -> Tensor:
    """eˣ − 1, accurate near 0, elementwise."""

def log(x: TensorLike) -> Tensor:
    """natural logarithm, elementwise."""

def log1p(x: TensorLike) -> Tensor:
    """log(1 + x), accurate near 0, elementwise."""

def sin(x: TensorLike) -> Tensor:
    """sine of x in radians, elementwise."""

def cos(x: TensorLike) -> Tensor:
    """cosine of x in radians, elementwise."""

def tan(x: TensorLike) -> Tensor:
    """tangent of x in radians, elementwise."""

def asin(x: TensorLike) -> Tensor:
    """inverse sine, in radians, elementwise."""

def acos(x: TensorLike) -> Tensor:
    """inverse cosine, in radians, elementwise."""

def atan(x: TensorLike) -> Tensor:
    """inverse tangent, in radians, elementwise."""

def sinh(x: TensorLike) -> Tensor:
    """hyperbolic sine, elementwise."""

def cosh(x: TensorLike) -> Tensor:
    """hyperbolic cosine, elementwise."""

def tanh(x: TensorLike) -> Tensor:
    """hyperbolic tangent, elementwise."""

def sech2(x: TensorLike) -> Tensor:
    """1/cosh²x = 1 − tanh²x, accurate for large x, elementwise."""

def asinh(x: TensorLike) -> Tensor:
    """inverse hyperbolic sine, elementwise."""

def acosh(x: TensorLike) -> Tensor:
    """inverse hyperbolic cosine, elementwise."""

def atanh(x: TensorLike) -> Tensor:
    """inverse hyperbolic tangent, elementwise."""

def erf(x: TensorLike) -> Tensor:
    """error function, elementwise."""

def erfc(x: TensorLike) -> Tensor:
    """1 − erf(x), accurate for large x, elementwise."""

def sigmoid(x: TensorLike) -> Tensor:
    """1/(1 + e⁻ˣ), elementwise."""

def softplus(x: TensorLike) -> Tensor:
    """log(1 + eˣ), elementwise."""

def relu(x: TensorLike) -> Tensor:
    """max(x, 0); derivative 0 at 0, elementwise."""

def gelu(x: TensorLike) -> Tensor:
    """x Φ(x) with the normal distribution function Φ, elementwise."""

def silu(x: TensorLike) -> Tensor:
    """x/(1 + e⁻ˣ), elementwise."""

def sign(x: TensorLike) -> Tensor:
    """−1, 0 or 1, elementwise."""

def floor(x: TensorLike) -> Tensor:
    """largest integer not above x, elementwise."""

def ceil(x: TensorLike) -> Tensor:
    """smallest integer not below x, elementwise."""

def round(x: TensorLike) -> Tensor:
    """nearest integer, halves to even, elementwise."""

def trunc(x: TensorLike) -> Tensor:
    """x without its fraction, elementwise."""

def add(x: TensorLike, y: TensorLike) -> Tensor:
    """x + y, elementwise."""

def sub(x: TensorLike, y: TensorLike) -> Tensor:
    """x − y, elementwise."""

def mul(x: TensorLike, y: TensorLike) -> Tensor:
    """x · y, elementwise."""

def div(x: TensorLike, y: TensorLike) -> Tensor:
    """x / y, elementwise."""

def pow(x: TensorLike, y: TensorLike) -> Tensor:
    """xʸ; right at x = 0, elementwise."""

def atan2(x: TensorLike, y: TensorLike) -> Tensor:
    """angle of the point (y, x), in radians, elementwise."""

def hypot(x: TensorLike, y: TensorLike) -> Tensor:
    """√(x² + y²) without overflow; derivatives 0 at the origin, elementwise."""

def maximum(x: TensorLike, y: TensorLike) -> Tensor:
    """the larger; ties share the derivative, elementwise."""

def minimum(x: TensorLike, y: TensorLike) -> Tensor:
    """the smaller; ties share the derivative, elementwise."""

def floor_div(x: TensorLike, y: TensorLike) -> Tensor:
    """⌊x / y⌋, elementwise."""

def mod(x: TensorLike, y: TensorLike) -> Tensor:
    """x − y ⌊x / y⌋, of the sign of y, elementwise."""

def equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x = y, elementwise."""

def not_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x ≠ y, elementwise."""

def less(x: TensorLike, y: TensorLike) -> Tensor:
    """x < y, elementwise."""

def less_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x ≤ y, elementwise."""

def greater(x: TensorLike, y: TensorLike) -> Tensor:
    """x > y, elementwise."""

def greater_equal(x: TensorLike, y: TensorLike) -> Tensor:
    """x ≥ y, elementwise."""

def logical_and(x: TensorLike, y: TensorLike) -> Tensor:
    """both are not 0, elementwise."""

def logical_or(x: TensorLike, y: TensorLike) -> Tensor:
    """one is not 0, elementwise."""

def logical_xor(x: TensorLike, y: TensorLike) -> Tensor:
    """just one is not 0, elementwise."""

def sum(x: TensorLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """Sum over `axis` (all axes by default). Integers and booleans add up as int64."""

def mean(x: TensorLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """Arithmetic mean over `axis`."""

def prod(x: TensorLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """Product over `axis`; its derivative is right also where elements are 0."""

def max(x: TensorLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """Largest element over `axis`; ties share the derivative."""

def min(x: TensorLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """Smallest element over `axis`; ties share the derivative."""

def any(x: TensorLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """Whether any element over `axis` is not 0."""

def all(x: TensorLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """Whether all elements over `axis` are not 0."""

def logsumexp(x: TensorLike, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over `axis` without overflow."""

def argmax(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the first largest element along `axis` (of the flattened tensor by default)."""

def argmin(x: TensorLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Index of the first smallest element along `axis` (of the flattened tensor by default)."""

def cumsum(x: TensorLike, axis: int = 0, reverse: bool = False) -> Tensor:
    """Cumulative sum along `axis`."""

def norm(
    x: TensorLike, ord: float | str | None = None, axis: int | Sequence[int] | None = None, keepdims: bool = False
) -> Tensor:
    """Vector p-norm over `axis`, 2 by default; derivative 0 where all elements are 0."""

def softmax(x: TensorLike, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along `axis`."""

def log_softmax(x: TensorLike, axis: int = -1) -> Tensor:
    """log(softmax(x)) along `axis`, without overflow."""

def matmul(a: TensorLike, b: TensorLike, transpose_a: bool = False, transpose_b: bool = False) -> Tensor:
    """Matrix product over the last two axes, batch axes broadcast; the flags transpose an operand's last two axes."""

def dot(a: TensorLike, b: TensorLike) -> Tensor:
    """NumPy's dot: inner product of vectors, product of matrices."""

def outer(a: TensorLike, b: TensorLike) -> Tensor:
    """Outer product of two flattened tensors."""

def einsum(equation: str, *operands: TensorLike) -> Tensor:
    """Einstein summation, in NumPy's notation."""

def reshape(x: TensorLike, shape: int | Sequence[int]) -> Tensor:
    """The same elements in row-major order in another shape; one entry may be -1."""

def transpose(x: TensorLike, axes: Sequence[int] | None = None) -> Tensor:
    """Permutes the axes; reverses them by default."""

def swapaxes(x: TensorLike, axis1: int, axis2: int) -> Tensor:
    """Exchanges two axes."""

def moveaxis(x: TensorLike, source: int, destination: int) -> Tensor:
    """Moves one axis to another place."""

def broadcast_to(x: TensorLike, shape: Sequence[int]) -> Tensor:
    """Repeats x along new axes and axes of length 1, without a copy."""

def squeeze(x: TensorLike, axis: int | Sequence[int] | None = None) -> Tensor:
    """Removes axes of length 1."""

def expand_dims(x: TensorLike, axis: int) -> Tensor:
    """Inserts an axis of length 1."""

def concat(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Joins tensors along an axis they have."""

def stack(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Joins tensors of one shape along a new axis."""

def split(x: TensorLike, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """Equal parts, or parts that end before each index."""

def tile(x: TensorLike, repeats: int | Sequence[int]) -> Tensor:
    """Repeats x along each axis."""

def flip(x: TensorLike, axis: int | Sequence[int] | None = None) -> Tensor:
    """Reverses the order along `axis` (all axes by default)."""

def roll(x: TensorLike, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Tensor:
    """Shifts elements cyclically along `axis` (of the flattened tensor by default)."""

def pad(x: TensorLike, pad_width: int | Sequence[Sequence[int]], value: float = 0.0) -> Tensor:
    """Adds pad_width[i] = (before, after) elements of `value` around axis i."""

def diagonal(x: TensorLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Diagonal of each matrix; its axis comes last."""

def diag(x: TensorLike, offset: int = 0) -> Tensor:
    """A matrix with a vector on its diagonal, or the diagonal of a matrix."""

def diag_embed(x: TensorLike, offset: int = 0) -> Tensor:
    """Matrices with the last axis of x on their diagonal."""

def trace(x: TensorLike, offset: int = 0) -> Tensor:
    """Sum of the diagonal of a matrix."""

def tril(x: TensorLike, offset: int = 0) -> Tensor:
    """Lower triangle of each matrix, zeros above."""

def triu(x: TensorLike, offset: int = 0) -> Tensor:
    """Upper triangle of each matrix, zeros below."""

def take(x: TensorLike, indices: TensorLike, axis: int = 0) -> Tensor:
    """Slices of x along `axis` at `indices` (NumPy's take)."""

def gather(x: TensorLike, axis: int, index: TensorLike) -> Tensor:
    """out[i, j] = x[index[i, j], j] for axis 0, and so on (NumPy's take_along_axis)."""

def scatter_add(x: TensorLike, axis: int, index: TensorLike, src: TensorLike) -> Tensor:
    """A copy of x with src[i, j] added at [index[i, j], j] for axis 0, and so on."""

def index_add(x: TensorLike, axis: int, index: TensorLike, src: TensorLike) -> Tensor:
    """A copy of x with slice i of src along `axis` added to slice index[i]."""

def index_update(x: TensorLike, key: Any, value: TensorLike) -> Tensor:
    """A copy of x with x[key] = value."""

def index_increment(x: TensorLike, key: Any, value: TensorLike) -> Tensor:
    """A copy of x with x[key] += value; repeated indices add up."""

def nonzero(x: TensorLike) -> tuple[Tensor, ...]:
    """Indices of the elements that are not 0, one int64 vector per axis."""

def where(cond: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
    """cond ? x : y, elementwise."""

def clip(x: TensorLike, lo: TensorLike | None = None, hi: TensorLike | None = None) -> Tensor:
    """Limits x to [lo, hi]."""

def cast(x: TensorLike, dtype: DTypeLike) -> Tensor:
    """x converted to another dtype."""

def to_device(x: TensorLike, device: str) -> Tensor:
    """x on a device, 'CPU' or 'GPU'; itself if it is there."""

def stop_gradient(x: TensorLike) -> Tensor:
    """x, with derivative zero in every mode."""

def zeros(shape: int | Sequence[int], dtype: DTypeLike | None = None) -> Tensor:
    """Zeros; float32 by default."""

def ones(shape: int | Sequence[int], dtype: DTypeLike | None = None) -> Tensor:
    """Ones; float32 by default."""

def full(shape: int | Sequence[int], value: float, dtype: DTypeLike | None = None) -> Tensor:
    """A constant; float32 by default for a float, int64 for an integer."""

def zeros_like(x: TensorLike) -> Tensor:
    """Zeros of x's shape and dtype."""

def ones_like(x: TensorLike) -> Tensor:
    """Ones of x's shape and dtype."""

def full_like(x: TensorLike, value: float) -> Tensor:
    """A constant of x's shape and dtype."""

def arange(start: float, stop: float | None = None, step: float = 1, dtype: DTypeLike | None = None) -> Tensor:
    """Numbers from start (0 when only one is given) up to, not including, stop; int64 if all are integers."""

def linspace(start: float, stop: float, num: int = 50, dtype: DTypeLike | None = None) -> Tensor:
    """`num` numbers evenly spaced over [start, stop]."""

def eye(n: int, m: int | None = None, offset: int = 0, dtype: DTypeLike | None = None) -> Tensor:
    """Ones on a diagonal, zeros elsewhere."""

def uniform(shape: int | Sequence[int], seed: int, dtype: DTypeLike | None = None) -> Tensor:
    """Uniform random numbers on [0, 1) (Philox4x32-10); the same seed gives the same numbers."""

def standard_normal(shape: int | Sequence[int], seed: int, dtype: DTypeLike | None = None) -> Tensor:
    """Standard normal random numbers (Philox4x32-10); the same seed gives the same numbers."""

def cholesky(a: TensorLike) -> Tensor:
    """Lower Cholesky factor of symmetric positive definite matrices."""

def solve_triangular(
    a: TensorLike, b: TensorLike, lower: bool = True, transpose: bool = False, unit_diagonal: bool = False
) -> Tensor:
    """Solves a x = b (aᵀ x = b with `transpose`) for triangular a."""

def solve(a: TensorLike, b: TensorLike) -> Tensor:
    """Solves a x = b by LU factorisation."""

def inv(a: TensorLike) -> Tensor:
    """Inverse of each matrix."""

def det(a: TensorLike) -> Tensor:
    """Determinant of each matrix."""

def slogdet(a: TensorLike) -> tuple[Tensor, Tensor]:
    """Sign of the determinant and log of its absolute value."""

def elementwise_classes() -> list[tuple[str, str, int]]:
    """Class name, function name and arity of each elementwise function."""

def op_table() -> list[dict[str, Any]]:
    """Every primitive, with what is known of it."""

def memory_stats() -> dict[str, int]:
    """Bytes in use, cached for reuse, and in use at most since the last reset."""

def num_threads() -> int:
    """
    Return how many threads a computation may use, the caller's included.

    At first it is what the environment variable `EVOLUTE_NUM_THREADS` says, or else the number of CPUs the process
    may use.

    Raises
    ------
    ValueError
        If that variable is not a positive integer.
    """

def set_matmul_allow_tf32(allow: bool) -> None:
    """Let products of float32 matrices on a GPU round their operands."""

def set_num_threads(n: int) -> None:
    """
    Let computations use up to `n` threads, the caller's included.

    Results do not depend on it. Small work stays on the caller's thread anyway, and so does work in a second
    thread while the first computes.

    Parameters
    ----------
    n : int
        1 keeps all work on the caller's thread.

    Raises
    ------
    ValueError
        Unless `n` is positive.
    """

def reset_peak_memory() -> None:
    """Starts a new count of peak_bytes."""

def release_cached_memory() -> None:
    """Returns cached blocks to the system."""

def gradient(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    positions: Sequence[int] | None,
    variables: tuple[Tensor, ...],
    sens: Any,
    has_aux: bool,
    what: str = "grad",
) -> tuple[Any, tuple[Any, ...], tuple[Tensor, ...]]:
    """Value of fn and the gradients of its summed outputs, or of their product with `sens`. Without positions: by all arguments that are numbers. `what` begins the messages of errors."""

def vjp(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], variables: tuple[Tensor, ...], has_aux: bool
) -> tuple[Any, Callable[[Any], tuple[tuple[Any, ...], tuple[Tensor, ...]]]]:
    """Value of fn and its pullback, which may be called many times."""

def jvp(
    fn: Callable[..., Any], args: tuple[Any, ...], tangents: tuple[Any, ...], kwargs: dict[str, Any], has_aux: bool
) -> tuple[Any, Any]:
    """Value of fn and its derivative along the tangents."""

def jet(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    series: tuple[tuple[Any, ...], ...],
    kwargs: dict[str, Any],
    order: int,
    highest: bool,
    what: str,
) -> tuple[Any, list[Any]]:
    """Value of fn and its derivatives along curves, of all orders or the highest alone."""

def laplacian(fn: Callable[[Tensor], Any], x: Tensor, directions: Tensor) -> tuple[Any, Any, Any]:
    """Value of fn, its derivatives along directions, and the sum of its second derivatives along them."""

def jacobian(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    positions: Sequence[int],
    single: bool,
    mode: str,
    has_aux: bool,
    what: str,
) -> tuple[Any, Any]:
    """Jacobian of fn, and what it returns beside the output. `mode` is 'forward', 'reverse' or '' for the cheaper."""

def vmap(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], in_axes: Any, out_axes: Any) -> Any:
    """fn on many examples at once, which lie along the axes given."""

class Compiled:
    """A function recorded once per signature and replayed without the interpreter."""
    def __init__(
        self,
        fn: Callable[..., Any],
        on_record: Callable[[bool, list[Any]], list[tuple[Any, Any, Any]]],
        on_fallback: Callable[[BaseException, tuple[Any, ...], dict[str, Any]], Any],
        passes: Sequence[str] | None = None,
    ) -> None:
        """
        on_record(True, []) is called before fn is recorded and on_record(False, static arguments) after it; the latter returns what the recording depends on: (closure cell, None, content), (dict or list, key, item) or (dict or list, None, length).
        on_fallback(error, args, kwargs) runs a function that cannot be recorded.
        passes: names of those to run; all by default.
        """
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def clear(self) -> None:
        """Forgets all recorded graphs."""
    @property
    def recorded(self) -> int:
        """Number of signatures known."""
    def explain(self) -> list[str]:
        """Of each recording: the passes, the graph, the steps and the memory."""
    def to_dot(self) -> list[str]:
        """Drawings of the recordings in the language of Graphviz."""

def at_top_level() -> bool:
    """True when no transform and no recording is active on this thread."""

def is_recording() -> bool:
    """True while a graph is being recorded on this thread."""

def cond(pred: TensorLike, true_fn: Callable[..., Any], false_fn: Callable[..., Any], *operands: Any) -> Any:
    """
    true_fn(*operands) or false_fn(*operands), as a boolean scalar says.

    Both must give the same structure of tensors of the same shapes and dtypes. In graph mode both are recorded and one is run. The functions may use tensors and parameters from outside.
    """

def while_loop(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any) -> Any:
    """
    Applies body_fun to init_val again and again while cond_fun of it, a boolean scalar, is true.

    The state is a structure of tensors that keeps its shapes and dtypes. In graph mode the number of steps is known when it is run. Reverse mode keeps the states of all steps; where the number of steps is known, `scan` and `fori_loop` need less memory.
    """

def fori_loop(
    lower: TensorLike,
    upper: TensorLike,
    body_fun: Callable[[Tensor, Any], Any],
    init_val: Any,
    checkpoint: int | None = None,
) -> Any:
    """
    Applies state = body_fun(i, state) for i from lower to upper - 1, an int64 scalar.

    Bounds that are Python integers make it a `scan`, which `checkpoint` is for; tensors make it a `while_loop`.
    """

def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    checkpoint: int | None = None,
) -> tuple[Any, Any]:
    """
    Applies carry, y = f(carry, x) to the elements x of the first axis of xs; gives the last carry and the ys, stacked.

    Without xs there are `length` steps, with x None. The carry keeps its structure, shapes and dtypes. `checkpoint=k` makes reverse mode keep the carry before every k-th step only, and compute the others anew. In graph mode the default is to keep all of them up to 1 MiB, and every √length-th beyond; otherwise it is to keep everything, and with `checkpoint` f is recorded as in graph mode.
    """

def checkpoint_call(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """fn(*args, **kwargs), of which reverse mode keeps the arguments alone."""

def call_with_rule(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    keep: Callable[..., Any] | None,
    backward: Callable[..., Any] | None,
    forward: Callable[..., Any] | None,
    lenient: bool,
    what: str,
) -> Any:
    """fn(*args) with its own derivative rules: keep(*args) -> (out, residuals) and backward(primals, out, residuals, cotangents), or forward(primals, out, tangents), or both."""

def linearize(fn: Callable[..., Any], primals: tuple[Any, ...]) -> tuple[Any, Callable[..., Any]]:
    """Value of fn and its derivative as a function of tangents."""

def linear_transpose(fn: Callable[..., Any], primals: tuple[Any, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """The transpose of a linear function."""

def close_over(fn: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
    """fn, recorded, as a function of its arguments and of what it uses from outside."""

def jacobian_sparsity(fn: Callable[[Tensor], Tensor], x: Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
    """Where each row of the pattern begins, and its columns."""

def color(
    start: NDArray[Any], columns: NDArray[Any], n_columns: int, symmetric: bool
) -> tuple[NDArray[Any], NDArray[Any]]:
    """A colour for each column, and where each element shows in the products."""
