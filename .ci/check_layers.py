#!/usr/bin/env python3
"""Holds the source tree to its layers: exits 1 and names every include that breaks them.

A layer of csrc/ includes itself and the layers before it in RANK; two layers of one rank do not know each other. Public
headers lie together in csrc/include/evolute, so PUBLIC says which layer each belongs to; they include only each other,
for an embedding program has nothing else. Python.h and pybind11 stay in csrc/python. Files stay short.

Usage: check_layers.py [ROOT]
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

#: Layer → rank. The umbrella header is for those who use the library: bindings, tests and examples.
RANK = {
    "core": 0,
    "math": 1,
    "cpu": 2,
    "cuda": 2,
    "ops": 3,
    "autodiff": 4,
    "graph": 5,
    "umbrella": 6,
    "python": 7,
}

#: Public header → layer. A header that is not here is an error: say where it belongs.
PUBLIC = {
    "export.h": "core",
    "error.h": "core",
    "ref.h": "core",
    "dtype.h": "core",
    "shape.h": "core",
    "device.h": "core",
    "tensor.h": "core",
    "precision.h": "core",
    "threads.h": "core",
    "elementwise.def": "math",
    "ops.h": "ops",
    "linalg.h": "ops",
    "autodiff.h": "autodiff",
    "graph.h": "graph",
    "control.h": "graph",
    "linear.h": "graph",
    "sparsity.h": "graph",
    "evolute.h": "umbrella",
}

MAX_LINES = 600
SUFFIXES = {".c", ".cc", ".cpp", ".h", ".hpp", ".inc", ".def", ".cu", ".cuh", ".py", ".pyi"}
GENERATED = {"python/evolute/_evolute.pyi"}

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*(?:include|include_next|import)[ \t]*(?:"([^"]+)"|<([^>]+)>|(\w+))', re.MULTILINE)
#: A file name in a macro, which some other file includes through the macro: as good as an include where it stands.
MACRO_FILE = re.compile(r'^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+"([^"]+\.\w+)"[ \t]*$', re.MULTILINE)
PYTHON_HEADER = re.compile(r"^(Python\.h|pybind11/|numpy/)")


def layer_of(path: Path, csrc: Path) -> str | None:
    """Layer of a file of csrc/, or None if the tables above do not know it."""
    parts = path.relative_to(csrc).parts
    if parts[0] == "include":
        return PUBLIC.get("/".join(parts[2:])) if parts[1] == "evolute" else None
    return parts[0] if len(parts) > 1 and parts[0] in RANK and parts[0] != "umbrella" else None


def resolve(name: str, source: Path, csrc: Path) -> Path | None:
    """File that `#include "name"` in `source` means, or None if it is none of csrc/."""
    for folder in (source.parent, csrc, csrc / "include"):
        path = Path(folder, name).resolve()
        if path.is_file() and path.is_relative_to(csrc):
            return path
    return None


def sources(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix in SUFFIXES)


def check_includes(csrc: Path) -> list[str]:
    """Errors of every file under `csrc`, each as `path:line: what is wrong`."""
    errors = []
    text = {}
    for path in sources(csrc):  # comments go, their line breaks stay
        raw = path.read_text(encoding="utf-8")
        text[path] = COMMENT.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), raw)
    macros = {m[1] for code in text.values() for m in MACRO_FILE.finditer(code)}

    for path, code in text.items():
        where = path.relative_to(csrc.parent)
        layer = layer_of(path, csrc)
        if layer is None:
            errors.append(f"{where}: belongs to no layer; list it in .ci/check_layers.py")
            continue
        is_public = path.is_relative_to(csrc / "include")

        found = [(m.start(), m[1], m[2], m[3]) for m in INCLUDE.finditer(code)]
        found += [(m.start(), m[2], None, None) for m in MACRO_FILE.finditer(code)]
        for start, quoted, angled, macro in sorted(found, key=lambda item: item[0]):
            line = f"{where}:{code.count(chr(10), 0, start) + 1}"
            if macro is not None:
                if macro not in macros:
                    errors.append(f"{line}: cannot tell what {macro} includes")
                continue
            name = quoted or angled or ""
            if PYTHON_HEADER.match(name):
                if layer != "python":
                    errors.append(f"{line}: <{name}> is for csrc/python alone")
                continue
            target = resolve(name, path, csrc)
            if target is None:
                if quoted or name.startswith("evolute/"):
                    errors.append(f'{line}: no file "{name}" in csrc')
                continue
            target_layer = layer_of(target, csrc)
            if target_layer is None:
                continue  # reported as a file above
            if target_layer != layer and RANK[target_layer] >= RANK[layer]:
                errors.append(f'{line}: layer {layer} includes "{name}" of layer {target_layer}')
            if is_public and not target.is_relative_to(csrc / "include"):
                errors.append(f'{line}: a public header includes "{name}", which is not installed')
    return errors


def check_lengths(root: Path) -> list[str]:
    errors = []
    for path in sources(root / "csrc") + sources(root / "python"):
        where = path.relative_to(root).as_posix()
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > MAX_LINES and where not in GENERATED:
            errors.append(f"{where}: {lines} lines; a file has at most {MAX_LINES}")
    return errors


def check(root: Path) -> list[str]:
    """All errors of the source tree at `root`."""
    root = root.resolve()
    csrc = root / "csrc"
    if not sources(csrc):
        return [f"{csrc}: no sources to check"]
    return check_includes(csrc) + check_lengths(root)


def main() -> int:
    errors = check(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent)
    print("\n".join(errors) or "layers hold", file=sys.stderr if errors else sys.stdout)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
