#!/usr/bin/env python3
"""Generates the type stubs of what only exists at run time, from the package in this environment.

    .ci/make_stubs.py           writes the stubs
    .ci/make_stubs.py --check   exits 1, showing the difference, if a stub in the tree is not what would be written

They are python/evolute/_evolute.pyi for the extension module, and ops/_elementwise.pyi and ops/_functions.pyi for the
modules that take their contents from its tables.

Needs the package and its `dev` extra. It reads docstrings, whose first line gives what Python cannot tell:

    "sum(axis: int | None = None) -> Tensor\\n\\nText."     function or method, `self` left out (where a function of
                                                        the module serves as method: the first argument is `self`)
    "shape: tuple[int, ...]\\n\\nText."                     attribute; ", settable" after the type if it is

The operators of types written against the C API have no docstrings of their own: SLOTS has their signatures.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import inspect
import re
import subprocess
import sys
import tempfile
import textwrap
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "python" / "evolute"
MODULE = "evolute._evolute"
WARNING = "# Written by .ci/make_stubs.py; do not edit.\n"

#: Names that signatures use and the module does not have. Those that none uses are removed again.
PRELUDE = """
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

TensorLike: typing.TypeAlias = typing.Union["Tensor", ArrayLike]
DTypeLike: typing.TypeAlias = typing.Union["DType", np.dtype[Any], type[Any], str]
"""

BINARY = "add sub mul truediv floordiv mod matmul and or xor"
SLOTS = {
    **{f"__{op}__": "(self, value: TensorLike, /) -> Tensor" for op in BINARY.split()},
    **{f"__r{op}__": "(self, value: TensorLike, /) -> Tensor" for op in BINARY.split()},
    **{f"__{op}__": "(self, value: TensorLike, /) -> Tensor" for op in ("lt", "le", "gt", "ge")},
    **{f"__{op}__": "(self, value: object, /) -> Tensor:  # type: ignore[override]" for op in ("eq", "ne")},
    **{f"__{op}__": "(self) -> Tensor" for op in ("neg", "pos", "abs", "invert")},
    "__pow__": "(self, value: TensorLike, modulus: None = None, /) -> Tensor",
    "__rpow__": "(self, value: TensorLike, modulus: None = None, /) -> Tensor",
    "__bool__": "(self) -> bool",
    "__int__": "(self) -> int",
    "__index__": "(self) -> int",
    "__float__": "(self) -> float",
    "__len__": "(self) -> int",
    "__hash__": "(self) -> int",
    "__iter__": "(self) -> Iterator[Tensor]",
    "__getitem__": "(self, key: Any, /) -> Tensor",
    "__setitem__": "(self, key: Any, value: TensorLike, /) -> None",
}
#: What `object` has with the same signature, or what says nothing to a type checker.
IGNORED = {"__new__", "__init__", "__doc__", "__repr__", "__str__", "__getattribute__", "__setattr__", "__delattr__"}
IGNORED |= {"__module__", "__dict__", "__weakref__", "__getattr__", "__del__", "__buffer__", "__release_buffer__"}
IGNORED |= {"_pybind11_conduit_v1_"}
IGNORED |= {"__delitem__"}  # the other half of the slot of __setitem__, which always raises

IS_BASETYPE = 1 << 10  # Py_TPFLAGS_BASETYPE


def split_doc(doc: str | None) -> tuple[str, str]:
    """First line and the text after it."""
    first, _, text = (doc or "").partition("\n")
    return first.strip(), inspect.cleandoc(text)


def quoted(text: str, indent: int) -> str:
    if not text:
        return " " * indent + "..."
    return textwrap.indent(f'"""{text}"""' if "\n" not in text else f'"""\n{text}\n"""', " " * indent)


def render_callable(name: str, member: object, doc: str | None, where: str) -> str:
    """Function of the module, or member of a class if `where` names one."""
    signature, text = split_doc(doc)
    match = re.fullmatch(rf"{name}\((.*)\) -> (.+)", signature)
    if match is None:
        raise SystemExit(f"{where}.{name}: the docstring does not start with `{name}(...) -> ...`, but `{signature}`")
    arguments, result = match.groups()
    if where != MODULE and getattr(sys.modules[MODULE], name, None) is getattr(member, "__func__", None) is not None:
        arguments = arguments.partition(", ")[2]
    indent, decorator, receiver = 4, "", "self"
    if where == MODULE:
        indent, receiver = 0, ""
    elif isinstance(member, staticmethod):
        decorator, receiver = "@staticmethod\n", ""
    elif isinstance(member, (classmethod, types.ClassMethodDescriptorType)):
        decorator, receiver = "@classmethod\n", "cls"
    arguments = ", ".join(part for part in (receiver, arguments) if part)
    return textwrap.indent(f"{decorator}def {name}({arguments}) -> {result}:\n{quoted(text, 4)}\n", " " * indent)


def render_attribute(name: str, member: object, where: str) -> str:
    declaration, text = split_doc(member.__doc__)
    match = re.fullmatch(rf"{name}: (.+?)(, settable)?", declaration)
    if match is None:
        raise SystemExit(f"{where}.{name}: the docstring does not start with `{name}: type`, but `{declaration}`")
    code = f"    @property\n    def {name}(self) -> {match[1]}:\n{quoted(text, 8)}\n"
    if match[2]:
        code += f"    @{name}.setter\n    def {name}(self, value: {match[1]}) -> None: ...\n"
    return code


def render_slot(name: str, where: str) -> str:
    if name not in SLOTS:
        raise SystemExit(f"{where}.{name}: no signature in SLOTS")
    signature, colon, comment = SLOTS[name].partition(":  #")
    return f"    def {name}{signature}: ...{'  #' if colon else ''}{comment}\n"


def render_member(name: str, member: object, cls: type) -> str:
    where = cls.__name__
    if isinstance(member, (property, types.GetSetDescriptorType, types.MemberDescriptorType)):
        return render_attribute(name, member, where)
    if isinstance(member, types.WrapperDescriptorType):
        return render_slot(name, where)
    if callable(member) or isinstance(member, (staticmethod, classmethod)):
        return render_callable(name, member, getattr(cls, name).__doc__, where)
    return f"    {name}: typing.ClassVar[{type(member).__name__ if member is not None else None}]\n"


def render_type(cls: Any) -> str:
    names = [base.__name__ for base in cls.__bases__]
    bases = ", ".join(name for name in names if name not in ("object", "pybind11_object"))
    code = "" if cls.__flags__ & IS_BASETYPE else "@typing.final\n"
    code += f"class {cls.__name__}({bases}):\n" if bases else f"class {cls.__name__}:\n"
    code += quoted(inspect.cleandoc(cls.__doc__ or ""), 4) + "\n"
    if isinstance(cls.__init__, types.WrapperDescriptorType):  # a C type: the signature stands in its docstring
        if cls.__text_signature__:
            arguments = cls.__text_signature__[1:-1].strip()
            code += f"    def __init__(self{', ' if arguments else ''}{arguments}) -> None: ...\n"
    elif "__init__(" in (cls.__init__.__doc__ or ""):  # otherwise instances cannot be made from Python
        code += render_callable("__init__", cls.__init__, cls.__init__.__doc__, cls.__name__)
    return code + "".join(render_member(k, m, cls) for k, m in vars(cls).items() if k not in IGNORED)


def render_extension() -> str:
    """Stub of the extension module."""
    code = PRELUDE
    for name, value in vars(sys.modules[MODULE]).items():
        if name.startswith("__"):
            continue
        if isinstance(value, type):
            code += render_type(value)
        elif callable(value):
            code += render_callable(name, value, value.__doc__, MODULE)
        else:
            code += f"{name}: {type(value).__name__}\n"
    return code


def render_all(names: list[str]) -> str:
    return f"__all__ = {sorted(names)!r}\n"


def render_elementwise() -> str:
    """Stub of the class-style primitives of elementwise functions."""
    primitives = importlib.import_module("evolute.ops._elementwise")
    code = "from evolute._evolute import Tensor, TensorLike\nfrom evolute.ops._primitive import Primitive\n"
    code += render_all(primitives.__all__)
    for name in primitives.__all__:
        cls = getattr(primitives, name)
        signature, _ = split_doc(cls.__call__.__doc__)
        arguments = signature.partition("(")[2].rpartition(")")[0]
        summary = cls.__doc__.partition("\n")[0]
        code += f"class {name}(Primitive):\n{quoted(summary, 4)}\n"
        code += f"    def __call__(self, {arguments}, /) -> Tensor: ...\n"
    return code


def render_functions() -> str:
    """Stub of the functions that are taken over from the extension module."""
    names = importlib.import_module("evolute.ops._functions").__all__
    return f"from {MODULE} import {', '.join(names)}\n" + render_all(names)


def generate() -> dict[Path, str]:
    """Text of each stub."""
    importlib.import_module(MODULE)
    stubs = {
        PACKAGE / "_evolute.pyi": render_extension(),
        PACKAGE / "ops" / "_elementwise.pyi": render_elementwise(),
        PACKAGE / "ops" / "_functions.pyi": render_functions(),
    }
    with tempfile.TemporaryDirectory() as folder:
        files = {path: Path(folder, path.name) for path in stubs}
        for path, code in stubs.items():
            files[path].write_text(WARNING + code, encoding="utf-8")
        config = ["--config", str(ROOT / "pyproject.toml"), "--quiet"]
        ruff = [sys.executable, "-m", "ruff"]
        subprocess.run([*ruff, "check", *config, "--fix-only", "--select", "I,F401,RUF022", folder], check=True)
        subprocess.run([*ruff, "format", *config, folder], check=True)
        return {path: file.read_text(encoding="utf-8") for path, file in files.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    stale = False
    for path, text in generate().items():
        if not check:
            path.write_text(text, encoding="utf-8")
            continue
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        name = path.relative_to(ROOT).as_posix()
        diff = list(difflib.unified_diff(old.splitlines(True), text.splitlines(True), name, "generated"))
        sys.stdout.writelines(diff)
        if diff:
            print(f"{name} is stale: run .ci/make_stubs.py", file=sys.stderr)
            stale = True
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
