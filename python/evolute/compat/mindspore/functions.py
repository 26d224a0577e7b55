"""Operations in the signatures of MindSpore 2, where these differ from Evolute's own."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

import evolute as ev
from evolute import Tensor, nn
from evolute import ops as _ops

Axis = int | Sequence[int] | None


def _axis(axis: Any) -> Any:
    return None if isinstance(axis, (tuple, list)) and not axis else tuple(axis) if isinstance(axis, list) else axis


# ---- Reductions


def sum(input: Any, dim: Axis = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum over `dim`."""
    return _ops.sum(input if dtype is None else _ops.cast(input, dtype), _axis(dim), keepdim)


def mean(x: Any, axis: Axis = None, keep_dims: bool = False) -> Tensor:
    """Arithmetic mean over `axis`."""
    return _ops.mean(x, _axis(axis), keep_dims)


def prod(input: Any, axis: Axis = None, keep_dims: bool = False, dtype: Any = None) -> Tensor:
    """Product over `axis`."""
    return _ops.prod(input if dtype is None else _ops.cast(input, dtype), _axis(axis), keep_dims)


def amax(input: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Largest element over `axis`."""
    return _ops.max(input, _axis(axis), keepdims)


def amin(input: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Smallest element over `axis`."""
    return _ops.min(input, _axis(axis), keepdims)


def max(input: Any, axis: int | None = None, keepdims: bool = False) -> tuple[Tensor, Tensor]:
    """Largest elements along an axis, and where they are."""
    if axis is None:
        return _ops.max(input), ev.Tensor(0, ev.int64)
    return _ops.max(input, axis, keepdims), _ops.argmax(input, axis, keepdims)


def min(input: Any, axis: int | None = None, keepdims: bool = False) -> tuple[Tensor, Tensor]:
    """Smallest elements along an axis, and where they are."""
    if axis is None:
        return _ops.min(input), ev.Tensor(0, ev.int64)
    return _ops.min(input, axis, keepdims), _ops.argmin(input, axis, keepdims)


def argmax(input: Any, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the largest element."""
    return _ops.argmax(input, dim, keepdim)


def any(input: Any, axis: Axis = None, keep_dims: bool = False) -> Tensor:
    """Whether any element is not 0."""
    return _ops.any(input, _axis(axis), keep_dims)


def all(input: Any, axis: Axis = None, keep_dims: bool = False) -> Tensor:
    """Whether all elements are not 0."""
    return _ops.all(input, _axis(axis), keep_dims)


def logsumexp(input: Any, dim: Any, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) over `dim`."""
    return _ops.logsumexp(input, _axis(dim), keepdim)


def cumsum(x: Any, axis: int, dtype: Any = None) -> Tensor:
    """Cumulative sum along an axis."""
    return _ops.cumsum(x if dtype is None else _ops.cast(x, dtype), axis)


def norm(A: Any, ord: Any = None, dim: Axis = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Vector norm over `dim`."""
    return _ops.norm(A if dtype is None else _ops.cast(A, dtype), ord, _axis(dim), keepdim)


def var(input: Any, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """Variance over `axis`."""
    centred: Tensor = input - _ops.mean(input, _axis(axis), True)
    squares = _ops.sum(_ops.square(centred), _axis(axis), keepdims)
    count = centred.size // builtins.max(squares.size, 1) - int(ddof)
    return _ops.mul(squares, 1.0 / count)


def std(input: Any, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Tensor:
    """Return the standard deviation over `axis`."""
    return _ops.sqrt(var(input, axis, ddof, keepdims))


def softmax(input: Any, axis: int = -1, *, dtype: Any = None) -> Tensor:
    """exp(x) / sum(exp(x)) along an axis."""
    return _ops.softmax(input if dtype is None else _ops.cast(input, dtype), axis)


# ---- Elementwise


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """Return x Φ(x)."""
    return nn.GELU(approximate == "tanh").construct(input)


def softplus(input: Any, beta: float = 1, threshold: float = 20) -> Tensor:
    """log(1 + exp(beta x)) / beta."""
    return _ops.softplus(input * beta) * (1.0 / beta) if beta != 1 else _ops.softplus(input)


def leaky_relu(input: Any, alpha: float = 0.2) -> Tensor:
    """X where it is positive, alpha x elsewhere."""
    return _ops.where(input > 0, input, input * alpha)


def elu(input_x: Any, alpha: float = 1.0) -> Tensor:
    """X where it is positive, alpha (exp(x) − 1) elsewhere."""
    return _ops.where(input_x > 0, input_x, alpha * _ops.expm1(_ops.minimum(input_x, 0.0)))


def clip(input: Any, min: Any = None, max: Any = None) -> Tensor:
    """Limits x to [min, max]."""
    return _ops.clip(input, min, max)


def masked_fill(input_x: Any, mask: Any, value: Any) -> Tensor:
    """Return x with `value` where `mask` is true."""
    return _ops.where(mask, value, input_x)


def isnan(input: Any) -> Tensor:
    """Whether x is no number."""
    return _ops.not_equal(input, input)


def isfinite(input: Any) -> Tensor:
    """Whether x is neither infinite nor no number."""
    return _ops.equal(input - input, 0)


# ---- Structure


def split(tensor: Any, split_size_or_sections: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """Parts of one length, the last one perhaps shorter, or of the lengths given."""
    length = tensor.shape[axis]
    size = split_size_or_sections
    lengths = list(range(size, length, size)) if isinstance(size, int) else []
    if not isinstance(size, int):
        end = 0
        for part in size[:-1]:
            end += part
            lengths.append(end)
    return tuple(_ops.split(tensor, lengths, axis))


def chunk(input: Any, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """At most so many parts of one length, the last one perhaps shorter."""
    return split(input, -(-input.shape[axis] // chunks), axis)


def unstack(input_x: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """Slices along an axis."""
    return _ops.Unstack(axis)(input_x)


def gather(input_params: Any, input_indices: Any, axis: int, batch_dims: int = 0) -> Tensor:
    """Slices along an axis."""
    if batch_dims:
        raise NotImplementedError("ops.gather: batch_dims is not supported; use ops.gather_elements")
    return _ops.take(input_params, input_indices, axis)


def gather_elements(input: Any, dim: int, index: Any) -> Tensor:
    """out[i, j] = x[index[i, j], j] for axis 0, and so on."""
    return _ops.gather(input, dim, index)


def index_select(input: Any, axis: int, index: Any) -> Tensor:
    """Slices along an axis."""
    return _ops.take(input, index, axis)


def flip(input: Any, dims: Any) -> Tensor:
    """Reverses the order along axes."""
    return _ops.flip(input, dims)


def roll(input: Any, shifts: Any, dims: Any = None) -> Tensor:
    """Shifts elements cyclically."""
    return _ops.roll(input, shifts, dims)


def pad(input_x: Any, padding: Any, mode: str = "constant", value: Any = None) -> Tensor:
    """Add elements around the last axes: (before, after) of the last one, then of the one before it."""
    if mode != "constant":
        raise NotImplementedError(f"ops.pad: only mode 'constant' is supported, got {mode!r}")
    pairs = [(padding[i], padding[i + 1]) for i in range(0, len(padding), 2)][::-1]
    widths = [(0, 0)] * (input_x.ndim - len(pairs)) + pairs
    return _ops.pad(input_x, widths, 0.0 if value is None else value)


def tril(input: Any, diagonal: int = 0) -> Tensor:
    """Lower triangle."""
    return _ops.tril(input, diagonal)


def triu(input: Any, diagonal: int = 0) -> Tensor:
    """Upper triangle."""
    return _ops.triu(input, diagonal)


def flatten(input: Any, order: str = "C", *, start_dim: int = 1, end_dim: int = -1) -> Tensor:
    """Make axes into one."""
    x = input if input.ndim else _ops.reshape(input, (1,))
    start, end = start_dim % builtins.max(x.ndim, 1), end_dim % x.ndim
    if end <= start:
        return x
    return _ops.reshape(x, (*x.shape[:start], -1, *x.shape[end + 1 :]))


def permute(input: Any, axis: Any, *more: int) -> Tensor:
    """Permutes the axes."""
    return _ops.transpose(input, (axis, *more) if isinstance(axis, int) else axis)


def meshgrid(*inputs: Any, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Coordinates of a grid."""
    arrays = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], (tuple, list)) else inputs
    order = list(range(len(arrays)))
    if indexing == "xy" and len(arrays) > 1:
        order[:2] = [1, 0]
    shape = [arrays[i].size for i in order]
    return tuple(
        _ops.broadcast_to(_ops.reshape(x, [-1 if order[k] == i else 1 for k in range(len(order))]), shape)
        for i, x in enumerate(arrays)
    )


# ---- Making tensors


def arange(start: Any = 0, end: Any = None, step: Any = 1, *, dtype: Any = None) -> Tensor:
    """Numbers from start up to, not including, end."""
    return _ops.arange(start, end, step, dtype)


def linspace(start: Any, end: Any, steps: int) -> Tensor:
    """Numbers evenly spaced."""
    return _ops.linspace(float(start), float(end), steps)


def full(size: Any, fill_value: Any, *, dtype: Any = None) -> Tensor:
    """Return a constant."""
    return _ops.full(size, fill_value, dtype)


def ones_like(input: Any, *, dtype: Any = None) -> Tensor:
    """Ones of x's shape."""
    return _ops.ones_like(input if dtype is None else _ops.cast(input, dtype))


def zeros_like(input: Any, *, dtype: Any = None) -> Tensor:
    """Zeros of x's shape."""
    return _ops.zeros_like(input if dtype is None else _ops.cast(input, dtype))


def full_like(input: Any, fill_value: Any, *, dtype: Any = None) -> Tensor:
    """Return a constant of x's shape."""
    return _ops.full_like(input if dtype is None else _ops.cast(input, dtype), fill_value)


def eye(n: int, m: int | None = None, dtype: Any = None) -> Tensor:
    """Ones on the diagonal."""
    return _ops.eye(n, m, 0, dtype)


# ---- Losses


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Squared differences."""
    return nn.MSELoss(reduction).construct(input, target)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Absolute differences."""
    return nn.L1Loss(reduction).construct(input, target)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """Square and absolute differences."""
    return nn.HuberLoss(reduction, delta).construct(input, target)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """−log of the probability of the label."""
    return nn.CrossEntropyLoss(weight, ignore_index, reduction, label_smoothing).construct(input, target)


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """Beta x + alpha a b."""
    return _ops.add(beta * input, alpha * _ops.matmul(mat1, mat2))


def numel(input: Any) -> int:
    """Return the number of elements."""
    return int(input.size)


#: MindSpore's name → Evolute's, where the signatures agree.
RENAMED = {
    "bmm": "matmul",
    "cat": "concat",
    "concatenate": "concat",
    "ger": "outer",
    "gt": "greater",
    "ge": "greater_equal",
    "inverse": "inv",
    "le": "less_equal",
    "lt": "less",
    "eq": "equal",
    "ne": "not_equal",
    "multiply": "mul",
    "subtract": "sub",
    "divide": "div",
    "true_divide": "div",
    "negative": "neg",
    "absolute": "abs",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "movedim": "moveaxis",
    "swapdims": "swapaxes",
    "unsqueeze": "expand_dims",
    "tensor_pow": "pow",
    "tensor_add": "add",
    "tensor_sub": "sub",
    "tensor_mul": "mul",
    "tensor_div": "div",
    "matrix_determinant": "det",
    "matrix_inverse": "inv",
    "floor_mod": "mod",
    "remainder": "mod",
}
