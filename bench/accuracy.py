"""Error of the elementwise functions and their derivatives, in units in the last place (ulp).

    python bench/accuracy.py                          every function, float32 and float64: some minutes
    python bench/accuracy.py exp 'a*' --dtype float32 some
    python bench/accuracy.py --every --orders 0       every float32 value of the unary functions: an hour
    python bench/accuracy.py --points 4000 --check    fails where an error is beyond its bar, as the tests want it
    python bench/accuracy.py --write v3 v4            writes bench/results/accuracy.json and, from it, docs/accuracy.md

An error is |computed − exact| over the distance of the floating-point numbers around the exact value. `exact` is
computed in float64 for float32, and in x87's long double (so x86 is needed) or by mpmath for float64; before use it is
compared with mpmath. EVOLUTE_SIMD chooses the instruction set.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf
from wide import BINARY, TERMS, UNARY, Array, Wide

import evolute as ev
from evolute import Tensor, ops

ROOT = Path(__file__).resolve().parent.parent
RESULTS, TABLE = ROOT / "bench" / "results" / "accuracy.json", ROOT / "docs" / "accuracy.md"
sys.path.insert(0, str(ROOT / "tests"))
import reference  # noqa: E402 (the definitions that the tests use)

CHUNK = 1 << 17
SLOW = {"erf", "erfc", "gelu"}  # whose float64 reference is mpmath's
np.seterr(all="ignore")
DOMAINS = {row["name"]: row["domain"] for row in ops.table() if "domain" in row}

# Bars in ulp: of values by dtype, of derivatives.
LEANED_ON = ["exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "atanh", "pow", "sqrt", "div", "mul", "square"]
C_LIBRARY = os.environ.get("EVOLUTE_SIMD") == "v2"  # which the baseline calls


def bar(name: str, dtype: str, order: int) -> float:
    if C_LIBRARY:
        return 4 if order == 0 else np.inf
    if order == 0 and name in LEANED_ON:
        return {"float32": 1, "float64": 2}[dtype]
    return 4


# ---- Points ----------------------------------------------------------------------------------------------------------


def special(t: type) -> Array:
    """Zeros, infinities, NaN, the ends of the normal and subnormal numbers, and what is next to a power of two."""
    info = np.finfo(t)
    ends = np.array([0, 1, info.max, info.tiny, info.smallest_subnormal, info.eps, np.inf, np.nan], t)
    powers = np.ldexp(t(1), np.arange(info.minexp - info.nmant, info.maxexp)).astype(t)
    near = [np.nextafter(powers, t(0)), powers, np.nextafter(powers, t(np.inf))]
    # Multiples of ln 2 and π/2, as near as they come: where arguments are reduced, and near zeros of the functions.
    factors = np.concatenate([np.arange(1, 1200), np.ldexp(1.0, np.arange(12, 60))])
    multiples = [k * factors for k in (np.log(2), np.pi / 2)]
    multiples = [np.asarray(m, t) + d * np.spacing(np.asarray(m, t)) for m in multiples for d in (-1, 0, 1)]
    x = np.concatenate([ends, *near, *multiples])
    return np.concatenate([x, -x])


def sample(t: type, n: int, domain: tuple[float, float], rng: np.random.Generator) -> Array:
    """`n` points: a third in the domain that tests use, a third of any magnitude up to 2⁷⁰, the rest any at all."""
    integer = np.dtype(f"u{np.dtype(t).itemsize}").type
    inside = rng.uniform(*domain, n // 3)
    magnitudes = np.ldexp(rng.uniform(1, 2, n // 3), rng.integers(-60, 70, n // 3)) * rng.choice([-1, 1], n // 3)
    anything = rng.integers(0, np.iinfo(integer).max, n - 2 * (n // 3), integer, endpoint=True).view(t)
    return np.concatenate([inside.astype(t), magnitudes.astype(t), anything])


def unary_points(name: str, t: type, n: int, every: bool) -> Iterator[Array]:
    if every and t is np.float32:
        for first in range(0, 1 << 32, CHUNK):
            yield np.arange(first, first + CHUNK, dtype=np.uint32).view(t)
        return
    rng = np.random.default_rng(1)
    yield special(t)
    for first in range(0, n, CHUNK):
        yield sample(t, min(CHUNK, n - first), DOMAINS[name], rng)


def binary_points(name: str, t: type, n: int) -> Iterator[tuple[Array, Array]]:
    rng = np.random.default_rng(2)
    edges = special(t)[::40]
    yield tuple(a.ravel() for a in np.meshgrid(edges, edges))
    for first in range(0, n, CHUNK):
        m = min(CHUNK, n - first)
        x, y = (rng.permutation(sample(t, m, DOMAINS[name], rng)) for _ in range(2))
        if name == "pow":  # half of the exponents such that the result neither overflows nor underflows
            size = np.log(float(np.finfo(t).max)) * rng.uniform(-1.05, 1.05, m)
            fit = (size / np.log(np.abs(x.astype(np.float64)))).astype(t)
            y = np.where(rng.random(m) < 0.5, np.where(x < 0, np.round(fit), fit), y)
        yield x, y


# ---- Errors ----------------------------------------------------------------------------------------------------------


def ulps(got: Array, want: Array, terms: Array | None = None, signs: bool = True) -> Array:
    """Errors of `got` in ulp of `want`, or of `terms`; inf for a wrong special value or sign of zero."""
    info = np.finfo(got.dtype)
    size = np.abs(want) if terms is None else np.maximum(np.abs(want), terms)
    exponent = np.clip(np.frexp(np.where(np.isfinite(size), size, 0))[1] - 1, info.minexp, info.maxexp - 1)
    unit = np.ldexp(want.dtype.type(1), exponent - info.nmant)
    largest = np.ldexp(want.dtype.type(1), info.maxexp - 1) * 2  # what inf stands for, if the exact value is finite
    error = np.abs(np.where(np.isinf(got), np.copysign(largest, got), got.astype(want.dtype)) - want) / unit
    rounded = want.astype(got.dtype)
    same = (got == rounded) & ((got != 0) | (np.signbit(got) == np.signbit(rounded)) | (not signs))
    wrong = np.isnan(error) | (np.isinf(want) & ~same) | ((got == 0) & (rounded == 0) & ~same)
    return np.where((same & np.isinf(got)) | (np.isnan(got) & np.isnan(want)), 0, np.where(wrong, np.inf, error))


def differentiated(name: str, part: str) -> Callable[..., Array]:
    """The function, or its derivative in the arguments that `part` names, on NumPy arrays."""
    fn = getattr(ops, name)
    for position in ["xy".index(p) for p in part]:
        fn = ev.grad(fn, position)
    return lambda *args: fn(*map(Tensor, args)).asnumpy()


PARTS = {1: ["", "x", "xx"], 2: ["", "x", "y", "xx", "xy", "yy"]}


class Worst:
    """The largest error, and where."""

    def __init__(self) -> None:
        self.error, self.point = 0.0, ()

    def see(self, errors: Array, points: tuple[Array, ...]) -> None:
        i = int(np.argmax(errors))
        if errors[i] > self.error:
            self.error, self.point = float(errors[i]), tuple(p[i].item() for p in points)


def measure(name: str, t: type, index: int, points: Iterator[tuple[Array, ...]], quick: bool = False) -> Worst:
    """Largest error of entry `index` of the table of references; with `quick`, 0 where no error exceeds half an ulp."""
    arity = 1 if name in UNARY else 2
    table = UNARY[name] if arity == 1 else BINARY[name]
    fn, worst = differentiated(name, PARTS[arity][index]), Worst()
    for args in points:
        inner = tuple(a.astype(np.float64 if t is np.float32 else Wide) for a in args)
        got, want = fn(*args), table[index](*inner)
        if quick:  # what is rounded correctly is within half an ulp, and need not be looked at
            rounded = want.astype(t)
            look = (got.view(np.uint32) != rounded.view(np.uint32)) & ~(np.isnan(got) & np.isnan(rounded))
            got, want, args, inner = got[look], want[look], tuple(a[look] for a in args), tuple(a[look] for a in inner)
            if not got.size:
                continue
        terms = TERMS[name, index](*inner) if (name, index) in TERMS else None
        errors = ulps(got, want, terms, signs=index == 0)
        if index:
            errors[~inside(t, want, table[0](*inner), inner)] = 0
        worst.see(errors, args)
    return worst


def inside(t: type, want: Array, value: Array, args: tuple[Array, ...]) -> Array:
    """Where a derivative counts: in the domain; with two arguments, where they and the value are normal or 0."""
    good = ~np.isnan(want) & np.isfinite(value) & np.all(np.isfinite(args), axis=0)
    if len(args) == 2:
        info = np.finfo(t)
        for a in (value, *args):
            good &= (a == 0) | ((np.abs(a) >= info.tiny) & (np.abs(a) <= info.max))
    return good


def verify(name: str) -> None:
    """The references agree with the definitions in tests/reference.py."""
    rng = np.random.default_rng(3)
    definitions, table = (reference.UNARY, UNARY) if name in UNARY else (reference.BINARY, BINARY)
    arity = 1 if name in UNARY else 2
    args = rng.uniform(*DOMAINS[name], (arity, 12))
    for index, exact in enumerate(table[name]):
        orders = tuple(PARTS[arity][index].count(c) for c in "xy"[:arity])
        terms = TERMS[name, index](*args.astype(Wide)) if (name, index) in TERMS else np.zeros(args.shape[1])
        for *point, size, got in zip(*args, terms, exact(*args.astype(Wide)), strict=True):
            with mpmath.workdps(50):
                at = tuple(map(mpf, point))
                want = mpmath.diff(definitions[name], at, orders) if any(orders) else definitions[name](*at)
                off = abs(mpf(float(got)) + mpf(float(got - Wide(float(got)))) - want)
            if off > max(abs(want), float(size)) * 2**-58 + 2**-100:
                raise SystemExit(f"the reference of derivative {orders} of {name} is wrong at {point}: {got}")


# ---- Report ----------------------------------------------------------------------------------------------------------


def run(options: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    """Largest errors by function and dtype, one for each order."""
    results: dict[str, dict[str, list[float]]] = {}
    failed = False
    for name in [*UNARY, *BINARY]:
        if not any(fnmatch.fnmatch(name, pattern) for pattern in options.names):
            continue
        verify(name)
        arity = 1 if name in UNARY else 2
        for dtype in options.dtype:
            t = np.dtype(dtype).type
            slow = name in SLOW and dtype == "float64"
            worst: dict[int, Worst] = {}
            for index in range(len(UNARY[name] if arity == 1 else BINARY[name])):
                order = len(PARTS[arity][index])
                if order not in options.orders:
                    continue
                n = options.points if order == 0 else min(options.points, options.derivative_points)
                n = min(n, options.slow_points) if slow else n
                if arity == 1:
                    points = ((x,) for x in unary_points(name, t, n, options.every))
                else:
                    points = binary_points(name, t, n)
                found = measure(name, t, index, points, quick=options.every and t is np.float32 and index == 0)
                limit = bar(name, dtype, order)
                if found.error > limit or not options.check:
                    where = ", ".join(f"{p!r} = {p.hex()}" for p in found.point)
                    mark = "  over the bar" if found.error > limit else ""
                    failed = failed or found.error > limit
                    label = f"{name} {PARTS[arity][index]}"
                    print(f"{label:12} {dtype} order {order}: {found.error:8.3f} ulp at {where}{mark}", flush=True)
                if order not in worst or found.error > worst[order].error:
                    worst[order] = found
            results.setdefault(name, {})[dtype] = [worst[o].error for o in sorted(worst)]
    if options.check and failed:
        raise SystemExit(1)
    return results


def write(levels: list[str], options: argparse.Namespace) -> None:
    """Measure with each instruction set; write the worst errors, and the table of them."""
    worst: dict[str, dict[str, list[float]]] = {}
    counts = {key: getattr(options, key) for key in ("points", "derivative_points", "slow_points")}
    arguments = [text for key, n in counts.items() for text in ("--" + key.replace("_", "-"), str(n))]
    for level in levels:
        text = subprocess.run(
            [sys.executable, __file__, *arguments, "--json"],
            env={**os.environ, "EVOLUTE_SIMD": level},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
        for name, by_dtype in json.loads(text.splitlines()[-1]).items():
            for dtype, errors in by_dtype.items():
                old = worst.setdefault(name, {}).setdefault(dtype, errors)
                worst[name][dtype] = [round(max(pair), 3) for pair in zip(old, errors, strict=True)]
    results = {"levels": levels, **counts, "errors": worst}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    TABLE.write_text(table(results))


def table(results: dict[str, Any]) -> str:
    """docs/accuracy.md"""
    tight = ", ".join(f"`{name}`" for name in LEANED_ON)
    paragraphs = [
        f"""Largest error found, in units in the last place (ulp), of each function and its first and second
        derivatives (of two arguments: the worst of the partial ones). 0.5 is the best there can be. Made by
        `bench/accuracy.py` with the kernels for {" and ".join(results["levels"])}, whichever is worse, against
        long double and mpmath.""",
        f"""Points: {results["points"]:,} of each function and dtype, {results["derivative_points"]:,} of each
        derivative; {results["slow_points"]:,} where the reference is mpmath (erf, erfc, gelu in float64). A third
        are from the usual domain, a third of any magnitude up to 2⁷⁰, a third any bit pattern; and zeros,
        infinities, the ends of the normal and subnormal numbers, neighbours of powers of two and of multiples of
        ln 2 and π/2.""",
        f"""The bars that tests hold: 1 ulp in float32 and 2 in float64 for {tight}; 4 for all others and
        for derivatives, wherever they are well-conditioned. That leaves out terms that cancel near a zero of the
        derivative (`sech2`″, `silu`, `gelu`, ∂²`pow`/∂x∂y: there the unit is that of the terms), a subnormal
        factor of `silu` and `gelu` far to the left, and derivatives of functions of two arguments where an
        argument or the value is subnormal. The v2 baseline has no fused multiply-add: it calls the C library,
        within 4 ulp by value.""",
    ]
    lines = ["# Accuracy of the elementwise functions", ""]
    for text in paragraphs:
        lines += [*textwrap.wrap(" ".join(text.split()), 118, break_on_hyphens=False), ""]
    lines += ["| function | float32 | ′ | ″ | float64 | ′ | ″ |", "|---|--:|--:|--:|--:|--:|--:|"]
    for name, by_dtype in results["errors"].items():
        cells = [f"{e:.2f}" for d in ("float32", "float64") for e in (by_dtype[d] + [np.nan] * 3)[:3]]
        lines.append(f"| {name} | {' | '.join(c.replace('nan', '') for c in cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["*"], help="functions, with wildcards")
    parser.add_argument("--dtype", nargs="+", default=["float32", "float64"])
    parser.add_argument("--orders", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--points", type=int, default=1_200_000, help="of each function")
    parser.add_argument("--derivative-points", type=int, default=200_000, help="at most, of each derivative")
    parser.add_argument("--slow-points", type=int, default=1_000_000, help="at most, where the reference is mpmath")
    parser.add_argument("--every", action="store_true", help="every float32 value")
    parser.add_argument("--check", action="store_true", help="print what is over its bar and fail")
    parser.add_argument("--json", action="store_true", help="print the results as the last line")
    parser.add_argument("--write", nargs="+", metavar="LEVEL", help="write docs/accuracy.md, the worst of these levels")
    options = parser.parse_args()
    if options.write:
        write(options.write, options)
        return
    results = run(options)
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
