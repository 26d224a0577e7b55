"""What the modules that stand for MindSpore's hold."""

from __future__ import annotations

import importlib
import itertools
import types
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import evolute as ev
from evolute import DType, Tensor, nn, ops
from evolute import context as ev_context
from evolute import dtype as mstype
from evolute.common import initializer as initializer_function  # the function, not the module
from evolute.compat.mindspore import functions, gradients, layers
from evolute.ops import _elementwise, _structural, primitives

__all__ = ["INSTEAD", "MODULES", "add_methods", "remove_methods"]

initializers: Any = importlib.import_module("evolute.common.initializer")

# Settings of MindSpore that have no counterpart here and change no result.
_IGNORED = {
    "ascend_config", "auto_tune_mode", "check_bprop", "compile_cache_path", "debug_level", "deterministic",
    "device_id", "enable_compile_cache", "enable_dump", "enable_graph_kernel", "enable_profiling",
    "enable_reduce_precision", "env_config_path", "grad_for_scalar", "graph_kernel_flags",
    "inter_op_parallel_num", "jit_config", "jit_level", "jit_syntax_level", "max_call_depth", "max_device_memory",
    "memory_optimize_level", "mempool_block_size", "op_timeout", "precompile_only", "print_file_path",
    "pynative_synchronize", "reserve_class_name_in_scope", "runtime_num_threads", "save_graphs", "save_graphs_path",
    "variable_memory_max_size",
}  # fmt: skip


def set_context(**settings: Any) -> None:
    """Change settings; those without a counterpart are ignored, and a device that is not there becomes the CPU."""
    kept = {key: value for key, value in settings.items() if key not in _IGNORED and key != "gpu_config"}
    if "matmul_allow_tf32" in settings.get("gpu_config", {}):  # its other entries are about convolutions
        kept["matmul_allow_tf32"] = settings["gpu_config"]["matmul_allow_tf32"]
    try:
        ev_context.set_context(**kept)
    except ev.DeviceError as error:
        warnings.warn(f"{error}; running on the CPU", RuntimeWarning, stacklevel=2)
        ev_context.set_context(**{**kept, "device_target": "CPU"})


def set_device(device_target: str, device_id: int | None = None) -> None:
    """Choose the device; one that is not there becomes the CPU."""
    set_context(device_target=device_target)


def set_seed(seed: Any) -> None:
    """Make initial values and NumPy's random numbers those of a seed; they are not those of MindSpore."""
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"set_seed: seed is an integer that is not negative, got {seed!r}")
    np.random.seed(seed)  # noqa: NPY002 (as MindSpore does)
    initializers._draws = itertools.count(seed * 1_000_003 + 1)


def _public(module: Any) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }


def _present(owner: Any, *candidates: str) -> dict[str, Any]:
    """Those of the names that `owner` has: what one version of Evolute has and another lacks."""
    return {name: getattr(owner, name) for name in candidates if hasattr(owner, name)}


def _functions() -> dict[str, Any]:
    """Build `mindspore.ops`: the functions and classes of Evolute, MindSpore's other names, and other signatures."""
    found = _public(ops)
    found.pop("Primitive", None)
    found.update({theirs: getattr(ops, ours) for theirs, ours in functions.RENAMED.items()})
    own = [n for n, f in vars(functions).items() if isinstance(f, types.FunctionType) and not n.startswith("_")]
    found.update({name: getattr(functions, name) for name in own})
    found["clamp"] = functions.clip
    found["gather_d"] = found["take_along_axis"] = functions.gather_elements
    found["Primitive"] = ops.Primitive
    found["ACos"] = ops.Acos
    found.update(_transforms())
    return found


def _transforms() -> dict[str, Any]:
    own = {name: getattr(gradients, name) for name in gradients.__all__ if name[0].islower()}
    for name in ("jit", "jit_class", "mutable"):
        own.pop(name)
    own["GradOperation"] = gradients.GradOperation
    own.update({"get_grad": ev.get_grad, "vmap": ev.vmap})
    own.update(_present(ev, "custom_vjp", "custom_jvp", "checkpoint", "recompute", "linearize"))
    own["linearize"] = gradients.linearize
    own.update(_present(ops, "custom_vjp", "custom_jvp"))
    return own


def _layers() -> dict[str, Any]:
    found = _public(nn)
    found.update({name: getattr(layers, name) for name in layers.__all__})
    found["ForwardValueAndGrad"] = gradients.ForwardValueAndGrad
    return found


def _dtypes() -> dict[str, Any]:
    own = {name: getattr(mstype, name) for name in mstype.__all__ if name != "DType"}
    aliases = {"int_": mstype.int64, "float_": mstype.float32, "double": mstype.float64, "Type": mstype.DType}
    return own | aliases


def _context() -> dict[str, Any]:
    return {
        "GRAPH_MODE": ev.GRAPH_MODE,
        "PYNATIVE_MODE": ev.PYNATIVE_MODE,
        "get_context": ev.get_context,
        "set_context": set_context,
    }


def _compiler() -> dict[str, Any]:
    return {
        "jit": gradients.jit,
        "ms_function": gradients.jit,
        "jit_class": gradients.jit_class,
        "ms_class": gradients.jit_class,
        "set_seed": set_seed,
        "mutable": gradients.mutable,
    }


def _numpy() -> dict[str, Any]:
    """Build `mindspore.numpy`: Evolute's functions, which follow NumPy anyway."""
    own = {name: getattr(ops, name) for name in ops._functions.__all__}
    classes = {"array": Tensor, "asarray": Tensor, "pi": np.pi, "inf": np.inf, "nan": np.nan}
    return own | classes | _dtypes()


def _table() -> dict[str, dict[str, Any]]:
    tensors = {
        "Tensor": Tensor,
        "Parameter": ev.Parameter,
        "ParameterTuple": ev.ParameterTuple,
        "tensor": Tensor,
    }
    saving = _present(ev, "save_checkpoint", "load_checkpoint", "load_param_into_net")
    init = {name: getattr(initializers, name) for name in initializers.__all__}
    top = tensors | _dtypes() | _context() | _compiler() | saving | _transforms()
    top |= {"set_device": set_device, "__version__": "2.10.0", "dtype_to_nptype": ev.dtype_to_nptype}
    common = tensors | _dtypes() | _compiler() | {"initializer": initializer_function} | init
    functional, layered = _functions(), _layers()
    operators = {
        name: value
        for module in (_elementwise, _structural, primitives)
        for name, value in _public(module).items()
        if isinstance(value, type)
    } | {"ACos": ops.Acos}
    learning = {name: value for name, value in layered.items() if name.endswith("LR") or "Schedule" in name}
    modules = {
        "mindspore": top,
        "mindspore.dtype": _dtypes(),
        "mindspore.context": _context(),
        "mindspore.numpy": _numpy(),
        "mindspore.common": common,
        "mindspore.common.api": _compiler(),
        "mindspore.common.dtype": _dtypes(),
        "mindspore.common.initializer": init,
        "mindspore.common.mutable": {"mutable": gradients.mutable},
        "mindspore.common.parameter": tensors,
        "mindspore.common.seed": {"set_seed": set_seed},
        "mindspore.common.tensor": {"Tensor": Tensor},
        "mindspore.graph": _compiler(),
        "mindspore.graph.api": _compiler(),
        "mindspore.nn": layered,
        "mindspore.nn.cell": {"Cell": nn.Cell},
        "mindspore.nn.grad": {"Jvp": nn.Jvp, "Vjp": nn.Vjp},
        "mindspore.nn.layer": layered,
        "mindspore.nn.loss": layered,
        "mindspore.nn.loss.loss": layered,
        "mindspore.nn.optim": layered,
        "mindspore.nn.learning_rate_schedule": learning,
        "mindspore.nn.wrap": layered,
        "mindspore.nn.wrap.cell_wrapper": layered,
        "mindspore.ops": functional,
        "mindspore.ops.composite": functional,
        "mindspore.ops.function": functional,
        "mindspore.ops.functional": functional,
        "mindspore.ops.operations": operators,
        "mindspore.ops.primitive": {"Primitive": ops.Primitive},
        "mindspore.train": saving,
        "mindspore.train.serialization": saving,
        "mindspore.experimental": {},
        "mindspore.experimental.optim": {"Adam": nn.Adam, "AdamW": nn.AdamW, "SGD": nn.SGD},
    }
    modules["mindspore.common"].pop("Identity", None)
    return modules


MODULES = _table()

#: What there is in the place of names that have no near neighbour by spelling.
INSTEAD = {
    "float16": "Evolute computes in float32 and float64; use mindspore.float32",
    "bfloat16": "Evolute computes in float32 and float64; use mindspore.float32",
    "half": "Evolute computes in float32 and float64; use mindspore.float32",
    "complex64": "there are no complex numbers; compute with real and imaginary parts",
    "complex128": "there are no complex numbers; compute with real and imaginary parts",
    "int8": "use mindspore.int32",
    "uint8": "use mindspore.int32",
    "int16": "use mindspore.int32",
    "Model": "write the loop: nn.TrainOneStepCell is a step, evolute.nn.fit a loop with a progress bar",
    "dataset": "batches are tuples of tensors from any Python iterable",
    "HyperMap": "use a loop or a comprehension, which is recorded as it runs",
    "Map": "use a loop or a comprehension, which is recorded as it runs",
    "MultitypeFuncGraph": "use a Python function with isinstance",
    "Custom": "write it with the operations of mindspore.ops, or give a cell a method bprop",
}

#: Methods that tensors had before, by name; None where they had none.
_before: dict[str, Callable[..., Any] | None] = {}
_to_device = Tensor.to


def _to(self: Tensor, where: Any) -> Tensor:
    """Convert to a dtype, as in MindSpore, or move to a device."""
    return self.astype(where) if isinstance(where, DType) else _to_device(self, where)


def _methods() -> dict[str, Callable[..., Any]]:
    f = functions
    return {
        "view": lambda self, *shape: self.reshape(*shape),
        "permute": lambda self, *axes: f.permute(self, *axes),
        "masked_fill": f.masked_fill,
        "var": f.var,
        "std": f.std,
        "amax": f.amax,
        "amin": f.amin,
        "clamp": f.clip,
        "unsqueeze": ops.expand_dims,
        "to": _to,
        "float": lambda self: self.astype(mstype.float32),
        "numel": f.numel,
        "gather": f.gather_elements,
        "tril": f.tril,
        "triu": f.triu,
        "copy": lambda self: Tensor(self),
        "dim": lambda self: self.ndim,
        "addmm": f.addmm,
        "inverse": ops.inv,
        "leaky_relu": f.leaky_relu,
        "numpy": lambda self: self.asnumpy(),
    }


def add_methods() -> None:
    """Give tensors the methods of MindSpore's that they lack, and `to` a second meaning."""
    for name, method in _methods().items():
        if name == "to" or not hasattr(Tensor, name):
            _before.setdefault(name, vars(Tensor).get(name))
            setattr(Tensor, name, method)


def remove_methods() -> None:
    """Take these methods away again."""
    while _before:
        name, method = _before.popitem()
        if method is None:
            delattr(Tensor, name)
        else:
            setattr(Tensor, name, method)
