"""Operations as functions: all those of the extension, and MindSpore's names for some of them.

Examples
--------
>>> from evolute import Tensor
>>> from evolute.ops import functional as F
>>> F.reduce_sum(Tensor([[1.0, 2.0], [3.0, 4.0]]), 0)
Tensor(shape=[2], dtype=Float32, value= [ 4.00000000e+00,  6.00000000e+00])
"""
# ruff: noqa: A001, F403, F405

from evolute._evolute import *
from evolute.ops._functional import (
    addn,
    assign,
    assign_add,
    assign_sub,
    batch_matmul,
    clip_by_value,
    fill,
    gather_nd,
    identity,
    logical_not,
    rank,
    reduce_all,
    reduce_any,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_sum,
    select,
    shape,
    size,
    tensor_scatter_add,
    tensor_scatter_update,
)
from evolute.transforms import get_grad, grad, hessian, jacfwd, jacrev, jvp, value_and_grad, vjp

# What the extension exports beside operations.
del Compiled, DType, DTypeError, DeviceError, ShapeError, Tensor, TraceError, UnknownValueError
del as_dtype, at_top_level, bool_, elementwise_classes, float32, float64, gradient, int32, int64, is_recording
del memory_stats, op_table, promote, release_cached_memory, reset_peak_memory, set_formatter
