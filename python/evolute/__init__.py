"""Automatic differentiation for scientific computing: derivatives of every order, in reverse and forward mode.

The interface is MindSpore's gradient API, with `evolute` in place of `mindspore`; the usual names of scientific users
are beside it.

Examples
--------
>>> import evolute as ev
>>> from evolute import Tensor, ops
>>> def f(x):
...     return ops.sum(x**3)
>>> x = Tensor([1.0, 2.0])
>>> print(ev.grad(f)(x))
[ 3. 12.]
>>> print(ev.hessian(f)(x))
[[ 6.  0.]
 [ 0. 12.]]
"""

from evolute import _format as _format
from evolute import common, context, dtype, nn, ops
from evolute._check_grads import check_grads
from evolute._checkpoint import checkpoint, recompute
from evolute._compile import jit
from evolute._evolute import (
    DeviceError,
    DType,
    DTypeError,
    ShapeError,
    Tensor,
    TraceError,
    UnknownValueError,
    bool_,
    float32,
    float64,
    from_dlpack,
    from_numpy,
    int32,
    int64,
    num_threads,
    set_num_threads,
)
from evolute.common.initializer import initializer
from evolute.context import GRAPH_MODE, PYNATIVE_MODE, get_context, set_context
from evolute.custom import custom_jvp, custom_vjp, linear_transpose, linearize
from evolute.dtype import dtype_to_nptype, dtype_to_pytype, pytype_to_dtype
from evolute.implicit import linear_solve, root
from evolute.jacobians import hessian, hvp, jacfwd, jacobian, jacrev
from evolute.operators import biharmonic, curl, directional_derivative, divergence, laplacian, partial
from evolute.optimize import minimize
from evolute.parameter import Parameter, ParameterTuple
from evolute.serialization import load_checkpoint, load_param_into_net, save_checkpoint
from evolute.sparse import hessian_sparsity, jacobian_sparsity, sparse_hessian, sparse_jacobian
from evolute.taylor import derivative, jet
from evolute.transforms import (
    GradOperation,
    get_grad,
    grad,
    jvp,
    value_and_grad,
    vjp,
    vmap,
)

__version__ = "0.1.0"

ms_function = jit

__all__ = [
    "GRAPH_MODE",
    "PYNATIVE_MODE",
    "DType",
    "DTypeError",
    "DeviceError",
    "GradOperation",
    "Parameter",
    "ParameterTuple",
    "ShapeError",
    "Tensor",
    "TraceError",
    "UnknownValueError",
    "__version__",
    "biharmonic",
    "bool_",
    "check_grads",
    "checkpoint",
    "common",
    "context",
    "curl",
    "custom_jvp",
    "custom_vjp",
    "derivative",
    "directional_derivative",
    "divergence",
    "dtype",
    "dtype_to_nptype",
    "dtype_to_pytype",
    "float32",
    "float64",
    "from_dlpack",
    "from_numpy",
    "get_context",
    "get_grad",
    "grad",
    "hessian",
    "hessian_sparsity",
    "hvp",
    "initializer",
    "int32",
    "int64",
    "jacfwd",
    "jacobian",
    "jacobian_sparsity",
    "jacrev",
    "jet",
    "jit",
    "jvp",
    "laplacian",
    "linear_solve",
    "linear_transpose",
    "linearize",
    "load_checkpoint",
    "load_param_into_net",
    "minimize",
    "ms_function",
    "nn",
    "num_threads",
    "ops",
    "partial",
    "pytype_to_dtype",
    "recompute",
    "root",
    "save_checkpoint",
    "set_context",
    "set_num_threads",
    "sparse_hessian",
    "sparse_jacobian",
    "value_and_grad",
    "vjp",
    "vmap",
]
