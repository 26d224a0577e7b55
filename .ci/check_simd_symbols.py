#!/usr/bin/env python3
"""Holds the kernels that are compiled once per instruction set apart: exits 1 and names symbols that could mix them.

A linker keeps one copy of each inline function, template instance and inline variable, whichever object it meets
first. If an object of csrc/cpu/simd compiled for AVX-512 exports such a copy of, say, std::min, the whole library may
end up calling it, and crash on a CPU without AVX-512. So whatever these objects export must have the name of their
level in its name; then no other object can mean it.

Usage: check_simd_symbols.py BUILD_DIR
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def mixable(listing: str, level: str) -> list[str]:
    """Symbols in the output of `nm --extern-only --defined-only --demangle --format=posix` that lack `level`."""
    own = re.compile(rf"(?<![A-Za-z0-9]){level}(?![A-Za-z0-9])")
    # A line is: name, type, value, size; demangled names have spaces.
    names = [match[1] for line in listing.splitlines() if (match := re.match(r"(.+?) [A-Za-z]( [0-9a-f]*)*$", line))]
    return [name for name in names if not own.search(name)]


def check(build: Path) -> list[str]:
    """All errors of the objects in a build folder."""
    objects = sorted(build.rglob("evolute_simd_*.dir/**/*.o"))
    if not objects:
        return [f"{build}: no objects of csrc/cpu/simd"]
    errors = []
    for path in objects:
        folder = next(part for part in path.parts if part.startswith("evolute_simd_"))
        level = folder.removeprefix("evolute_simd_").removesuffix(".dir")
        command = ["nm", "--extern-only", "--defined-only", "--demangle", "--format=posix", str(path)]
        listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        if not listing.strip():
            errors.append(f"{path}: exports nothing")
        errors += [
            f"{path}: exports {name}, which says not that it is of level {level}" for name in mixable(listing, level)
        ]
    return errors


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    errors = check(Path(sys.argv[1]))
    print("\n".join(errors) or "SIMD levels are apart", file=sys.stderr if errors else sys.stdout)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
