"""The elementwise primitives, one class for each elementwise function of the extension.

The extension's table is the only place that lists them. The stub beside this module is what type checkers and editors
see of it; after a change of the table, write what `stub` returns to it.
"""

from __future__ import annotations

import textwrap

from evolute import _evolute
from evolute.ops._primitive import Primitive

__all__: list[str] = []

_ARGUMENTS = {1: "x", 2: "x, y"}


def _summary(function: str) -> str:
    text = getattr(_evolute, function).__doc__ or ""
    return str(text.partition("\n\n")[2])


def _define_classes() -> None:
    for class_name, function, arity in _evolute.elementwise_classes():
        body = {
            # A builtin, found on the class, is called without `self`: no Python frame stands between.
            "__call__": staticmethod(getattr(_evolute, function)),
            "__doc__": f"{_summary(function)}\n\n``{class_name}()({_ARGUMENTS[arity]})`` is "
            f"``ops.{function}({_ARGUMENTS[arity]})``.",
            "__module__": "evolute.ops",
        }
        globals()[class_name] = type(class_name, (Primitive,), body)
        __all__.append(class_name)


def stub() -> str:
    """Return the text of the stub beside this module."""
    rows = _evolute.elementwise_classes()
    lines = [
        "# Written by `stub` of the module of this name; do not edit.",
        "# ruff: noqa: D204",
        "from evolute._evolute import Tensor, TensorLike",
        "from evolute.ops._primitive import Primitive",
        "",
        "__all__ = [",
        *(f'    "{class_name}",' for class_name, _, _ in sorted(rows)),
        "]",
    ]
    for class_name, function, arity in rows:
        typed = ", ".join(f"{name}: TensorLike" for name in _ARGUMENTS[arity].split(", "))
        lines += [
            "",
            f"class {class_name}(Primitive):",
            *textwrap.wrap(f'"""{_summary(function)}"""', 116, initial_indent="    ", subsequent_indent="    "),
            f"    def __call__(self, {typed}, /) -> Tensor: ...",
        ]
    return "\n".join(lines)


_define_classes()
