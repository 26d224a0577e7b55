#!/usr/bin/env python3
"""Generates python/evolute/_evolute.pyi from the extension module in this environment.

    .ci/make_stubs.py           writes the stub
    .ci/make_stubs.py --check   exits 1, showing the difference, if the stub in the tree is not what would be written

Needs the package and its `dev` extra. Functions and pybind11 classes go through pybind11-stubgen. Types written against
the C API, which it does not know, are rendered here. Both read docstrings, whose first line gives what Python cannot
tell:

    "sum(axis: int | None = None) -> Tensor\\n\\nText."     function or method, `self` left out
    "shape: tuple[int, ...]\\n\\nText."                     attribute; ", settable" after the type if it is

The operators have no docstrings of their own: SLOTS has their signatures.
"""

from __future__ import annotations

import argparse
import ast
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

ROOT = Path(__file__).parent.parent
MODULE = "evolute._evolute"
STUB = ROOT / "python" / "evolute" / "_evolute.pyi"

#: Names that signatures use and the module does not have.
PRELUDE = """
import collections.abc
import numpy.typing
TensorLike: typing.TypeAlias = typing.Union["Tensor", numpy.typing.ArrayLike]
"""
PRELUDE_NAMES = "^TensorLike$"

BINARY = "add sub mul truediv floordiv mod pow matmul and or xor lshift rshift"
SLOTS = {
    **{f"__{op}__": "(self, value: TensorLike, /) -> Tensor" for op in BINARY.split()},
    **{f"__r{op}__": "(self, value: TensorLike, /) -> Tensor" for op in BINARY.split()},
    **{f"__{op}__": "(self, value: TensorLike, /) -> Tensor" for op in ("lt", "le", "gt", "ge")},
    **{f"__{op}__": "(self, value: object, /) -> Tensor:  # type: ignore[override]" for op in ("eq", "ne")},
    **{f"__{op}__": "(self) -> Tensor" for op in ("neg", "pos", "abs", "invert")},
    "__bool__": "(self) -> bool",
    "__int__": "(self) -> int",
    "__index__": "(self) -> int",
    "__float__": "(self) -> float",
    "__len__": "(self) -> int",
    "__hash__": "(self) -> int",
    "__iter__": "(self) -> collections.abc.Iterator[Tensor]",
    "__contains__": "(self, value: object, /) -> bool",
    "__getitem__": "(self, key: typing.Any, /) -> Tensor",
    "__setitem__": "(self, key: typing.Any, value: TensorLike, /) -> None",
    "__delitem__": "(self, key: typing.Any, /) -> None",
    "__call__": "(self, *args: typing.Any, **kwargs: typing.Any) -> typing.Any",
}
#: What `object` has with the same signature, or what says nothing to a type checker.
IGNORED = {"__new__", "__init__", "__doc__", "__repr__", "__str__", "__getattribute__", "__setattr__", "__delattr__"}
IGNORED |= {"__module__", "__dict__", "__weakref__", "__getattr__", "__del__", "__buffer__", "__release_buffer__"}

IS_BASETYPE = 1 << 10  # Py_TPFLAGS_BASETYPE


def is_c_type(value: object) -> bool:
    """Whether `value` is a class that pybind11-stubgen does not understand."""
    return type(value) is type and value.__module__ == MODULE and not issubclass(value, BaseException)


def split_doc(doc: str | None) -> tuple[str, str]:
    """First line and the text after it."""
    first, _, text = (doc or "").partition("\n")
    return first.strip(), inspect.cleandoc(text)


def quoted(text: str, indent: int = 8) -> str:
    return textwrap.indent(f'"""{text}"""' if "\n" not in text else f'"""\n{text}\n"""', " " * indent)


def render_callable(name: str, member: object, doc: str | None, where: str) -> str:
    signature, text = split_doc(doc)
    match = re.fullmatch(rf"{name}\((.*)\) -> (.+)", signature)
    if match is None:
        raise SystemExit(f"{where}.{name}: the docstring does not start with `{name}(...) -> ...`, but `{signature}`")
    arguments, result = match.groups()
    decorator, receiver = "", "self"
    if isinstance(member, staticmethod):
        decorator, receiver = "    @staticmethod\n", ""
    elif isinstance(member, (classmethod, types.ClassMethodDescriptorType)):
        decorator, receiver = "    @classmethod\n", "cls"
    arguments = ", ".join(part for part in (receiver, arguments) if part)
    return f"{decorator}    def {name}({arguments}) -> {result}:\n{quoted(text or '...')}\n"


def render_attribute(name: str, member: object, where: str) -> str:
    declaration, text = split_doc(member.__doc__)
    match = re.fullmatch(rf"{name}: (.+?)(, settable)?", declaration)
    if match is None:
        raise SystemExit(f"{where}.{name}: the docstring does not start with `{name}: type`, but `{declaration}`")
    code = f"    @property\n    def {name}(self) -> {match[1]}:\n{quoted(text or '...')}\n"
    if match[2]:
        code += f"    @{name}.setter\n    def {name}(self, value: {match[1]}) -> None: ...\n"
    return code


def render_type(cls: type) -> str:
    """Stub of a type that was written against the C API."""
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base is not object)
    code = "" if cls.__flags__ & IS_BASETYPE else "@typing.final\n"
    code += f"class {cls.__name__}({bases}):\n" if bases else f"class {cls.__name__}:\n"
    code += quoted(inspect.cleandoc(cls.__doc__ or "..."), 4) + "\n"
    if cls.__text_signature__:
        arguments = cls.__text_signature__[1:-1].strip()
        code += f"    def __init__(self{', ' if arguments else ''}{arguments}) -> None: ...\n"
    for name, member in vars(cls).items():
        if name in IGNORED:
            continue
        if isinstance(member, (types.GetSetDescriptorType, types.MemberDescriptorType)):
            code += render_attribute(name, member, cls.__name__)
        elif isinstance(member, types.WrapperDescriptorType):
            if name not in SLOTS:
                raise SystemExit(f"{cls.__name__}.{name}: no signature in SLOTS")
            signature, colon, comment = SLOTS[name].partition(":  #")
            code += f"    def {name}{signature}: ...{'  #' if colon else ''}{comment}\n"
        elif member is None:
            code += f"    {name}: typing.ClassVar[None]  # type: ignore[assignment]\n"
        elif callable(member) or isinstance(member, (staticmethod, classmethod)):
            code += render_callable(name, member, getattr(cls, name).__doc__, cls.__name__)
        else:
            code += f"    {name}: typing.ClassVar[{type(member).__name__}]\n"
    return code


def generate() -> str:
    """The stub's text."""
    module = importlib.import_module(MODULE)
    with tempfile.TemporaryDirectory() as folder:
        c_types = {name: value for name, value in vars(module).items() if is_c_type(value)}
        command = [sys.executable, "-m", "pybind11_stubgen", MODULE, "--output-dir", folder, "--exit-code"]
        command += ["--numpy-array-remove-parameters", "--ignore-unresolved-names", PRELUDE_NAMES]
        # What it cannot read in a C type is rendered anew below, so it may not fail over that.
        command += ["--ignore-invalid-expressions", ".*"] if c_types else []
        subprocess.run(command, check=True, cwd=folder)
        stub = Path(folder, *MODULE.split(".")).with_suffix(".pyi")

        lines = stub.read_text(encoding="utf-8").splitlines()
        nodes = ast.parse("\n".join(lines)).body
        for node in reversed(nodes):
            if isinstance(node, ast.ClassDef) and node.name in c_types:
                start = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
                lines[start : node.end_lineno] = render_type(c_types[node.name]).splitlines()
        imports = [i for i, node in enumerate(nodes) if isinstance(node, (ast.Import, ast.ImportFrom))]
        after_imports = nodes[imports[-1]].end_lineno if imports else 0
        lines[after_imports:after_imports] = ["import typing", *PRELUDE.splitlines()]
        stub.write_text("\n".join(lines) + "\n", encoding="utf-8")

        config = ["--config", str(ROOT / "pyproject.toml"), "--quiet"]
        ruff = [sys.executable, "-m", "ruff"]
        subprocess.run([*ruff, "check", *config, "--fix-only", "--select", "I,F401,F811", str(stub)], check=True)
        subprocess.run([*ruff, "format", *config, str(stub)], check=True)
        return stub.read_text(encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    text = generate()
    if not parser.parse_args().check:
        STUB.write_text(text, encoding="utf-8")
        return 0
    old = STUB.read_text(encoding="utf-8") if STUB.exists() else ""
    diff = list(difflib.unified_diff(old.splitlines(True), text.splitlines(True), "in the tree", "generated"))
    sys.stdout.writelines(diff)
    if diff:
        print(f"{STUB.relative_to(ROOT)} is stale: run .ci/make_stubs.py", file=sys.stderr)
    return 1 if diff else 0


if __name__ == "__main__":
    sys.exit(main())
