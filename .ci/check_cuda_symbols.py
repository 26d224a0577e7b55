#!/usr/bin/env python3
"""Holds CUDA in its plug-in: exits 1 if anything else refers to it, or the plug-in to what it should bring.

The library and the extension module must load where no part of CUDA is installed, and the plug-in wherever a driver
is: the runtime is linked into it, and what it takes from the core it gets by a table (csrc/core/plugin.h). It has code
for the GPUs it is meant for, and PTX, from which drivers make code for later ones.

Usage: check_cuda_symbols.py BUILD_DIR
"""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

GPUS = {"sm_80", "sm_90", "compute_90"}
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


def kernels(path: Path) -> set[str]:
    """What a plug-in has code for: "sm_90", or "compute_90" for PTX."""
    data, found = path.read_bytes(), set()
    for match in re.finditer(rb"\x50\xed\x55\xba\x01\x00", data):  # a container: magic, version, header, size
        at, header, size = match.start(), *struct.unpack_from("<HQ", data, match.start() + 6)
        at += header
        end = at + size
        while at < end:  # its parts: kind (1: PTX, 2: code), version, header, size, …; the GPU at 28
            kind, _, header, size = struct.unpack_from("<HHIQ", data, at)
            found.add(("compute_" if kind == 1 else "sm_") + str(struct.unpack_from("<I", data, at + 28)[0]))
            at += header + size
    return found


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
        errors += [f"{plugin}: has no kernels for {gpu}" for gpu in sorted(GPUS - kernels(plugin))]
    return errors


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    errors = check(Path(sys.argv[1]))
    print("\n".join(errors) or "CUDA is in the plug-in alone", file=sys.stderr if errors else sys.stdout)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
