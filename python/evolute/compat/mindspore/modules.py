"""The modules that stand for MindSpore's, and the import hook that finds them."""

from __future__ import annotations

import difflib
import dis
import importlib.util
import sys
import types
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

from evolute.compat.mindspore import names

__all__ = ["install", "uninstall"]

ROOT = "mindspore"


class _Module(types.ModuleType):
    """A module of names from a table, whose errors say what there is instead."""

    def __init__(self, name: str, content: dict[str, Any]) -> None:
        super().__init__(name, f"Evolute in the place of {name}.")
        self.__dict__["_content"] = content
        self.__dict__.update(content)
        self.__dict__["__path__"] = []
        self.__dict__["__all__"] = [key for key in content if not key.startswith("_")]

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system assigns sub-modules; a function with the name of its module, as `initializer`, stays.
        if not (isinstance(value, _Module) and name in self._content):
            super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        full = f"{self.__name__}.{name}"
        if full in names.MODULES:
            return importlib.import_module(full)
        message = f"{full} does not exist in Evolute{_instead(self.__name__, name)}"
        frame = sys._getframe(1)
        # `from m import x` replaces an AttributeError by an error of its own, which says nothing.
        if frame.f_code.co_code[frame.f_lasti] == dis.opmap["IMPORT_FROM"]:
            raise ImportError(message, name=self.__name__)
        raise AttributeError(message, name=name, obj=self)


def _instead(module: str, name: str) -> str:
    if name in names.INSTEAD:
        return f"; {names.INSTEAD[name]}"
    public = [key for key in names.MODULES[module] if not key.startswith("_")]
    here = {key.lower(): key for key in public}
    if name.lower() in here:
        return f"; the nearest is {module}.{here[name.lower()]}"
    for other, content in names.MODULES.items():
        if name in content:
            return f"; {other}.{name} does"
    near = difflib.get_close_matches(name, public, n=3)
    near = near or [here[key] for key in difflib.get_close_matches(name.lower(), here, n=3, cutoff=0.5)]
    return f"; the nearest is {', '.join(f'{module}.{key}' for key in near)}" if near else ""


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == ROOT or fullname.startswith(ROOT + "."):
            if fullname in names.MODULES:
                return importlib.util.spec_from_loader(fullname, self, is_package=True)
            near = difflib.get_close_matches(fullname, names.MODULES, n=3)
            hint = f"; the nearest is {', '.join(near)}" if near else ""
            raise ModuleNotFoundError(f"{fullname} does not exist in Evolute{hint}", name=fullname)
        return None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        return _Module(spec.name, names.MODULES[spec.name])

    def exec_module(self, module: types.ModuleType) -> None:
        """Do nothing: the module has its content."""


_finder = _Finder()


def install() -> None:
    """Make ``import mindspore`` give Evolute, in this process and from now on.

    Raises
    ------
    ImportError
        If MindSpore itself has been imported already.

    Notes
    -----
    Tensors get the methods that MindSpore's have and Evolute's lack, such as `view`.
    """
    if _finder in sys.meta_path:
        return
    if ROOT in sys.modules:
        raise ImportError("compat.mindspore.install: MindSpore itself is imported already; call install() before that")
    sys.meta_path.insert(0, _finder)
    names.add_methods()


def uninstall() -> None:
    """Undo `install`; modules that have been imported stay with those who imported them."""
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, _Module)]:
            del sys.modules[name]
        names.remove_methods()
