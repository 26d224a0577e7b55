"""The elementwise primitives, one class for each elementwise function of the extension.

The extension's table is the only place that lists them. The stub beside this module is what type checkers and editors
see of it; `.ci/make_stubs.py` writes it.
"""

from __future__ import annotations

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


_define_classes()
