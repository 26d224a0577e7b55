"""The emulated CUDA device, seen from outside: how often the host waits, late streams, and failures.

Usable in processes whose ``EVOLUTE_CUDA_PLUGIN`` is the emulated plug-in (`tests/cuda/emulation/runtime.cpp`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

PLUGIN = os.environ.get("EVOLUTE_CUDA_PLUGIN", "")
AT_ONCE = -1
WAITS, UPLOADS, DOWNLOADS, LAUNCHES, ALLOCATIONS = range(5)  # as in runtime.cpp


def library() -> ctypes.CDLL:
    """Return the plug-in; it has been loaded by evolute, or is by this."""
    lib = ctypes.CDLL(PLUGIN)
    pointer, size = ctypes.c_void_p, ctypes.c_int64
    for name, result, arguments in (
        ("count", ctypes.c_longlong, [ctypes.c_int]),
        ("defer", None, [ctypes.c_int]),
        ("pending", ctypes.c_longlong, []),
        ("fail", None, [ctypes.c_longlong]),
        ("refuse", None, [ctypes.c_longlong]),
        ("malloc", pointer, [ctypes.c_size_t]),
        ("stream", pointer, []),
        ("write", None, [pointer, pointer, size, ctypes.c_float]),
        ("copy", None, [pointer, pointer, pointer, ctypes.c_size_t]),
        ("order", None, [pointer, pointer]),
        ("synchronize", None, [pointer]),
    ):
        function = getattr(lib, f"emulated_{name}")
        function.restype, function.argtypes = result, arguments
    return lib


def count(what: int) -> int:
    return int(library().emulated_count(what))


def pending() -> int:
    """Return how many pieces of work have been asked for and have not run."""
    return int(library().emulated_pending())


@contextlib.contextmanager
def late_streams(seed: int) -> Iterator[None]:
    """Let work run when it is waited for, in an order of this seed that streams and events allow."""
    defer = library().emulated_defer
    defer(seed)
    try:
        yield
    finally:
        defer(AT_ONCE)
