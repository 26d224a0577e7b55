#!/usr/bin/env python3
"""Writes docs/operations.md: what each operation has, as far as it is tested.

A cell says yes if the op table has a rule for it, and `tests/cells.py` names a test of that rule for this operation.

Usage: make_operations.py [--check]   (with the package importable; --check: exit 1 if the file is not up to date)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOC = ROOT / "docs" / "operations.md"
sys.path.insert(0, str(ROOT / "tests"))

Row = Mapping[str, Any]

#: Column → whether the op table has what the column is about.
RULES: dict[str, Callable[[Row], bool]] = {
    "reverse": lambda row: row["reverse"],
    "forward": lambda row: row["forward"],
    "second order": lambda row: row["reverse"] and row["forward"],
    "jet": lambda row: row["taylor"],
    "vmap": lambda row: row["batching"],
    "CPU": lambda row: True,
    "CUDA": lambda row: True,
}
OF_DERIVATIVES = ("reverse", "forward", "second order", "jet")

HEAD = """# Operations

Written by `.ci/make_operations.py` from the op table and the tests: yes means that the operation has it, and that there
is a test of just that; 0, that the derivative is zero wherever there is one, in every mode; –, that it is not there
yet. "Second order" stands for all orders: the rules are made of operations. CUDA is tested on a GPU or, so far always,
on an emulation of one (gpu.md). Everything else in `evolute.ops` is composed of these.
"""


def cells(row: Row) -> list[str]:
    """Return the cells of one operation."""
    from cells import TESTED

    result = []
    for column, has in RULES.items():
        if has(row):
            result.append("yes" if row["name"] in TESTED[column] else "–")
        else:
            result.append("0" if column in OF_DERIVATIVES and not row["reverse"] else "–")
    return result


def document() -> str:
    """Return the whole page."""
    from evolute import ops

    rows = [row for row in ops.table() if row["group"] != "derivative kernel"]
    lines = [HEAD]
    for group in dict.fromkeys(row["group"] for row in rows):
        lines += [f"## {group[0].upper()}{group[1:]}", ""]
        lines += [f"| | {' | '.join(RULES)} |", f"| --- |{' --- |' * len(RULES)}"]
        for row in rows:
            if row["group"] == group:
                lines.append(f"| `{row['name']}` | {' | '.join(cells(row))} |")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 if the page is not up to date")
    if parser.parse_args().check:
        if DOC.read_text(encoding="utf-8") == document():
            return 0
        print(f"{DOC.relative_to(ROOT)} is not up to date; run .ci/make_operations.py", file=sys.stderr)
        return 1
    DOC.write_text(document(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
