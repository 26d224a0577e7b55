#!/usr/bin/env python3
"""Holds CUDA in its plug-in: exits 1 if anything else refers to it, or the plug-in to what it should bring.

The library and the extension module must load where no part of CUDA is installed, and the plug-in wherever a driver
is: the runtime is linked into it, and what it takes from the core it gets by a table (csrc/core/plugin.h).

Usage: check_cuda_symbols.py BUILD_DIR
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CUDA = re.compile(r"^_*(cuda|cu[A-Z]|nvrtc|cublas)")


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def undefined(path: Path) -> list[str]:
    """Names that a shared object or archive takes from elsewhere."""
    dynamic = [] if path.suffix == ".a" else ["--dynamic"]
    listing = output("nm", "--undefined-only", "--format=posix", *dynamic, str(path))
    return [line.split()[0] for line in listing.splitlines() if " U" in line]


def exported(path: Path) -> list[str]:
    return [line.split()[0] for line in output("nm", "-D", "--defined-only", "--format=posix", str(path)).splitlines()]


def needed(path: Path) -> list[str]:
    return re.findall(r"\(NEEDED\).*\[(.*?)\]", output("readelf", "-d", str(path)))


def check(build: Path) -> list[str]:
    """All errors of the libraries in a build folder."""
    plugin = build / "libevolute_cuda.so"
    libraries = [*build.glob("libevolute.a"), *build.glob("libevolute.so"), *build.glob("_evolute*.so")]
    if not libraries:
        return [f"{build}: no library to check"]
    errors = []
    for path in libraries:
        errors += [f"{path}: refers to {name}" for name in undefined(path) if CUDA.match(name)]
        if path.suffix == ".so":
            errors += [f"{path}: needs {name}" for name in needed(path) if re.match("lib(cuda|nv|cublas)", name)]
    if plugin.exists():
        errors += [f"{plugin}: needs {name}" for name in needed(plugin) if re.match("lib(cuda|nv|cublas)", name)]
        names = exported(plugin)
        if "evolute_plugin" not in names:
            errors.append(f"{plugin}: does not export its entry point")
        errors += [f"{plugin}: exports {name}, beside its entry point" for name in names if name != "evolute_plugin"]
    return errors


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    errors = check(Path(sys.argv[1]))
    print("\n".join(errors) or "CUDA is in the plug-in alone", file=sys.stderr if errors else sys.stdout)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
