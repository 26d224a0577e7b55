"""Two ways to write the vector kernels beside each other: Vec with polynomials of our own, and xsimd.

    pip download pythran --no-deps && unzip pythran-*.whl 'pythran/xsimd/*'   # a wheel that brings xsimd's headers
    python bench/vector_layer.py --xsimd pythran

Each candidate is one translation unit of the same loops over sin, exp, log, tanh and pow, float and double, compiled
once per instruction set. Measured are the CPU time per element of 16384 elements (one thread, medians of
alternating rounds), the largest error on random points, results at the ends of the range, the CPU time of
compiling, and the size of the code. The reference is float64 for float and x87's long double for double, whose
functions err by less than 0.001 ulp of a double: good enough for two decimals, and why x86 is needed.
"""

from __future__ import annotations

import argparse
import ctypes
import re
import resource
import statistics
import subprocess
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = ("sin", "exp", "log", "tanh", "pow")
TYPES: dict[str, tuple[Any, Any]] = {"float": (np.float32, np.float64), "double": (np.float64, np.longdouble)}
NEEDS = {"v3": {"avx2", "fma"}, "v4": {"avx512f"}}
COMMON = ["-std=c++20", "-O3", "-fPIC", "-fno-math-errno", "-fno-trapping-math", "-w"]
LEVELS = {
    "v3": ["-march=x86-64-v3", "-DEV_SIMD_LEVEL=v3"],
    "v4": ["-march=x86-64-v4", "-DEV_SIMD_LEVEL=v4", "-mprefer-vector-width=512"],
}
LENGTH = 16384  # elements that are timed
EDGE_BAR = 4.0  # ulp beyond which a result at the ends of the range counts as wrong

VEC = """
#include "cpu/simd/math.h"
template <class T> using Value = evolute::math::Vec<T>;
template <class T> constexpr long lanes = Value<T>::lanes;
template <class T> inline Value<T> load(const T* p) { return Value<T>::load(p); }
template <class T> inline void store(Value<T> v, T* p) { v.store(p); }
"""
XSIMD = """
#include <xsimd/xsimd.hpp>
template <class T> using Value = xsimd::batch<T>;
template <class T> constexpr long lanes = Value<T>::size;
template <class T> inline Value<T> load(const T* p) { return Value<T>::load_unaligned(p); }
template <class T> inline void store(Value<T> v, T* p) { v.store_unaligned(p); }
"""
LOOP = """
extern "C" void %(function)s_%(type)s(const %(type)s* x, const %(type)s* y, %(type)s* out, long n, long repetitions) {
  for (; repetitions > 0; --repetitions) {
    for (long k = 0; k < n; k += lanes<%(type)s>) store<%(type)s>(%(function)s(%(arguments)s), out + k);
    asm volatile("" ::: "memory");
  }
}
"""


@dataclass
class Candidate:
    """A way to write vector kernels, and the options that it is compiled with beside the common ones."""

    prelude: str
    options: list[str]

    def source(self) -> str:
        loops = [
            LOOP % {"function": f, "type": t, "arguments": "load(x + k)" + ", load(y + k)" * (f == "pow")}
            for f in FUNCTIONS
            for t in TYPES
        ]
        return self.prelude + "".join(loops)


# ---- Compiling -------------------------------------------------------------------------------------------------------


def compile_object(compiler: str, options: list[str], source: Path, target: Path) -> float:
    """Return the CPU time that it took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([compiler, *COMMON, *options, "-c", str(source), "-o", str(target)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def sizes(compiler: str, target: Path) -> tuple[dict[str, int], Path]:
    """Link the object, and return the bytes of its code, of its constants, and of both as a wheel packs them."""
    library = target.with_suffix(".so")
    subprocess.run([compiler, "-shared", "-s", str(target), "-o", str(library)], check=True)
    text = constants = 0
    listing = subprocess.run(["size", "-A", str(target)], capture_output=True, text=True, check=True).stdout
    for name, size in re.findall(r"^(\.\S+)\s+(\d+)", listing, re.MULTILINE):
        text += int(size) * name.startswith(".text")
        constants += int(size) * name.startswith(".rodata")
    return {"text": text, "rodata": constants, "deflated": len(zlib.compress(library.read_bytes(), 9))}, library


# ---- Calling ---------------------------------------------------------------------------------------------------------


def kernel(library: ctypes.CDLL, function: str, type_: str) -> Callable[[Array, Array, Array, int], None]:
    call = getattr(library, f"{function}_{type_}")
    call.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_long] * 2
    call.restype = None
    return lambda x, y, out, repetitions: call(x.ctypes.data, y.ctypes.data, out.ctypes.data, x.size, repetitions)


def timer(run: Callable[[Array, Array, Array, int], None], x: Array, y: Array) -> harness.Timer:
    out = np.empty_like(x)

    def measure(repetitions: int) -> float:
        start = time.process_time()
        run(x, y, out, repetitions)
        return time.process_time() - start

    return measure


def evaluate(run: Callable[[Array, Array, Array, int], None], x: Array, y: Array) -> Array:
    """Pad to whole vectors with ones, and return as many results as there are points."""
    full = -(-x.size // 16) * 16
    a, b = np.ones(full, x.dtype), np.ones(full, x.dtype)
    a[: x.size], b[: y.size] = x, y
    out = np.empty_like(a)
    run(a, b, out, 1)
    return out[: x.size]


# ---- Points and errors -----------------------------------------------------------------------------------------------


def points(function: str, dtype: Any, n: int) -> tuple[Array, Array]:
    """Return arguments whose results are normal numbers."""
    rng = np.random.default_rng(7)
    end = 87.0 if dtype is np.float32 else 708.0
    x = {
        "sin": lambda: rng.uniform(-100, 100, n),
        "exp": lambda: rng.uniform(-end, end, n),
        "log": lambda: 10 ** rng.uniform(-30, 30, n),
        "tanh": lambda: rng.uniform(-10, 10, n),
        "pow": lambda: 10 ** rng.uniform(-3, 3, n),
    }[function]()
    return x.astype(dtype), rng.uniform(-10, 10, n).astype(dtype)


def edges(function: str, dtype: Any) -> tuple[Array, Array]:
    """Return special values, the ends of the range, and what lies just inside."""
    info = np.finfo(dtype)
    tiny = info.smallest_subnormal
    x = [0.0, -0.0, np.inf, -np.inf, np.nan, tiny, -tiny, 1000 * tiny, info.tiny, info.max, -info.max, -1.0, 1.0]
    if function == "exp":
        x += [-87.5, -95.0, -103.0, 88.5] if dtype is np.float32 else [-708.5, -720.0, -744.0, 709.5]
    elif function == "sin":
        x += [1e4, 1e5, 1e7, 1e9, 1e15, 1e22]
    elif function == "pow":
        powers = [0.0, -0.0, 1.0, 2.0, 3.0, -1.0, 0.5, np.inf, -np.inf, np.nan]
        pairs = [(a, b) for a in [*x, -2.0, 0.5] for b in powers]
        low = 140.0 if dtype is np.float32 else 1060.0  # subnormal powers of 2
        pairs += [(2.0, -low), (0.5, low), (1 + float(info.eps), 1 / float(info.eps)), (-3.0, 13.0)]
        return np.array([p[0] for p in pairs], dtype), np.array([p[1] for p in pairs], dtype)
    return np.array(x, dtype), np.zeros(len(x), dtype)


def reference(function: str, x: Array, y: Array, wide: Any) -> Array:
    with np.errstate(all="ignore"):
        a, b = x.astype(wide), y.astype(wide)
        return np.asarray(np.power(a, b) if function == "pow" else getattr(np, function)(a))


def ulps(got: Array, want: Array) -> Array:
    """Return errors in ulp; inf where one is not finite, or a zero has the wrong sign, and the other differs."""
    with np.errstate(all="ignore"):
        rounded = want.astype(got.dtype)
        error = np.abs(got - want) / np.spacing(np.abs(rounded))
        exact = (got == rounded) & ((got != 0) | (np.signbit(got) == np.signbit(rounded)))
        special = ~np.isfinite(got) | ~np.isfinite(rounded) | ((got == 0) & (rounded == 0))
        special_error = np.where(exact | (np.isnan(got) & np.isnan(rounded)), 0.0, np.inf)
        return np.asarray(np.where(special, special_error, error))


def wrong_edges(run: Callable[[Array, Array, Array, int], None], function: str, dtype: Any, wide: Any) -> list[str]:
    x, y = edges(function, dtype)
    got, want = evaluate(run, x, y), reference(function, x, y, wide)
    bad = np.flatnonzero(ulps(got, want) > EDGE_BAR)
    name = "{}({:.6g}, {:.6g})" if function == "pow" else "{}({:.6g})"
    return [f"{name.format(function, x[i], y[i])} = {got[i]:.9g}, not {want[i].astype(dtype):.9g}" for i in bad]


# ---- Measuring -------------------------------------------------------------------------------------------------------


def build(
    candidates: dict[str, Candidate], level: str, compiler: str, folder: Path, turns: int
) -> tuple[dict[str, Any], dict[str, ctypes.CDLL]]:
    """Compile all candidates in turns, and load them."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(turns):
        for name, candidate in candidates.items():
            source = folder / f"{name}-{level}.cpp"
            source.write_text(candidate.source())
            options = LEVELS[level] + candidate.options
            times[name].append(compile_object(compiler, options, source, source.with_suffix(".o")))
    facts, libraries = {}, {}
    for name in candidates:
        size, library = sizes(compiler, folder / f"{name}-{level}.o")
        facts[name] = {"compile_cpu_s": round(statistics.median(times[name]), 3), "bytes": size}
        libraries[name] = ctypes.CDLL(str(library))
    return facts, libraries


def measure(libraries: dict[str, ctypes.CDLL], function: str, type_: str, n: int, rounds: int) -> dict[str, Any]:
    dtype, wide = TYPES[type_]
    x, y = points(function, dtype, n)
    want = reference(function, x, y, wide)
    kernels = {name: kernel(library, function, type_) for name, library in libraries.items()}
    peers = {name: harness.Local(timer(run, x[:LENGTH].copy(), y[:LENGTH].copy())) for name, run in kernels.items()}
    timed = harness.interleave(peers, "vec", rounds)
    row: dict[str, Any] = {}
    for name, run in kernels.items():
        row[name] = {
            "ns_per_element": round(timed.stats[name].median / LENGTH * 1e9, 4),
            "max_ulp": round(float(ulps(evaluate(run, x, y), want).max()), 3),
            "edges_wrong": wrong_edges(run, function, dtype, wide),
        }
    ratio = timed.ratio("xsimd")
    row["edges"] = edges(function, dtype)[0].size
    row["time_ratio"] = ratio.as_json() if ratio else None
    return row


def xsimd_version(headers: Path) -> str:
    text = (headers / "xsimd" / "config" / "xsimd_config.hpp").read_text()
    return ".".join(re.findall(r"#define XSIMD_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", text))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--xsimd", type=Path, required=True, help="folder in which xsimd/xsimd.hpp lies")
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=harness.ROUNDS)
    parser.add_argument("--compilations", type=int, default=3)
    parser.add_argument("--output", type=Path, default=harness.RESULTS / "vector_layer.json")
    options = parser.parse_args()

    # Vec says itself where to fuse, as in the build; xsimd gets the compiler's default, which fuses.
    candidates = {
        "vec": Candidate(VEC, ["-ffp-contract=off", f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc' / 'include'}"]),
        "xsimd": Candidate(XSIMD, [f"-I{options.xsimd}"]),
    }
    machine = harness.machine()
    version = subprocess.run([options.compiler, "--version"], capture_output=True, text=True, check=True).stdout
    report: dict[str, Any] = {
        "machine": machine,
        "revision": harness.revision(),
        "versions": harness.versions(["numpy"])
        | {"xsimd": xsimd_version(options.xsimd), "compiler": version.splitlines()[0]},
        "options": COMMON,
        "elements": LENGTH,
        "points": options.points,
        "levels": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        for level in LEVELS:
            if not set(machine["simd"]) >= NEEDS[level]:
                print(f"{level}: this machine does not have it")
                continue
            facts, libraries = build(candidates, level, options.compiler, Path(folder), options.compilations)
            functions = {
                f"{function} {type_}": measure(libraries, function, type_, options.points, options.rounds)
                for function in FUNCTIONS
                for type_ in TYPES
            }
            report["levels"][level] = {"build": facts, "functions": functions}
    harness.write_json(options.output, report)
    show(report)


def show(report: dict[str, Any]) -> None:
    names = ("vec", "xsimd")
    for level, found in report["levels"].items():
        rows = [
            [
                function,
                *(f"{row[name]['ns_per_element']:.2f}" for name in names),
                f"{row['time_ratio']['median']:.2f}",
                *(f"{row[name]['max_ulp']:.2f}" for name in names),
                *(f"{len(row[name]['edges_wrong'])}/{row['edges']}" for name in names),
            ]
            for function, row in found["functions"].items()
        ]
        header = ["ns", "xsimd ns", "xsimd / vec", "ulp", "xsimd ulp", "edges wrong", "xsimd"]
        print(f"\n{harness.table([level, *header], rows)}")
        for name in names:
            build = found["build"][name]
            size = ", ".join(f"{kind} {count / 1024:.1f} KiB" for kind, count in build["bytes"].items())
            print(f"{name}: compiled in {build['compile_cpu_s']:.2f} s of CPU time; {size}")


if __name__ == "__main__":
    main()
