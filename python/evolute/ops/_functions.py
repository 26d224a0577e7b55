"""The operations of the extension, without what else it exports.

Whatever function the extension gains is an operation here too. The stub beside this module is what type checkers and
editors see of it; after a change of the extension's functions, write what `stub` returns to it.
"""

from __future__ import annotations

import types

from evolute import _evolute

_OTHERS = {
    "as_dtype",
    "at_top_level",
    "elementwise_classes",
    "from_dlpack",
    "from_numpy",
    "gradient",
    "is_recording",
    "jvp",
    "memory_stats",
    "op_table",
    "promote",
    "release_cached_memory",
    "reset_peak_memory",
    "set_formatter",
    "vjp",
}

__all__: list[str] = sorted(
    name
    for name, value in vars(_evolute).items()
    if isinstance(value, types.BuiltinFunctionType) and not name.startswith("_") and name not in _OTHERS
)


def stub() -> str:
    """Return the text of the stub beside this module."""
    lines = [
        "# Written by `stub` of the module of this name; do not edit.",
        "from evolute._evolute import (",
        *(f"    {name}," for name in __all__),
        ")",
        "",
        "__all__ = [",
        *(f'    "{name}",' for name in __all__),
        "]",
    ]
    return "\n".join(lines)


globals().update({name: getattr(_evolute, name) for name in __all__})
