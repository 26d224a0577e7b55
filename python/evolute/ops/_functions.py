"""The operations of the extension, without what else it exports.

Whatever function the extension gains is an operation here too. The stub beside this module is what type checkers and
editors see of it; `.ci/make_stubs.py` writes it.
"""

from __future__ import annotations

import types

from evolute import _evolute

_OTHERS = {
    "as_dtype",
    "at_top_level",
    "call_with_rule",
    "checkpoint_call",
    "close_over",
    "color",
    "elementwise_classes",
    "from_dlpack",
    "from_numpy",
    "gradient",
    "laplacian",
    "is_recording",
    "jacobian",
    "jacobian_sparsity",
    "jet",
    "jvp",
    "linear_transpose",
    "linearize",
    "memory_stats",
    "num_threads",
    "op_table",
    "promote",
    "release_cached_memory",
    "reset_peak_memory",
    "set_default_device",
    "set_formatter",
    "set_matmul_allow_tf32",
    "set_num_threads",
    "synchronize",
    "vjp",
    "vmap",
}

__all__: list[str] = sorted(
    name
    for name, value in vars(_evolute).items()
    if isinstance(value, types.BuiltinFunctionType) and not name.startswith("_") and name not in _OTHERS
)


globals().update({name: getattr(_evolute, name) for name in __all__})
