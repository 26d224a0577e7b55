"""Polynomials of the vectorised math functions (csrc/cpu/simd/math_*.h): minimax fits by Remez' algorithm.

    python bench/minimax.py             every table
    python bench/minimax.py sin atan    those whose name contains a word

prints C++ arrays, lowest power first, as they stand in the headers, each with the error of the polynomial with the
coefficients as rounded, as a power of two. Needs mpmath.
"""

import sys
from collections.abc import Callable

import mpmath
import numpy as np
from mpmath import mp, mpf

mp.dps = 60
POINTS = 700  # of the grid that stands for the interval; the error between its points is (n / POINTS)² larger at most

Function = Callable[[mpf], mpf]
TABLES = {}


# ---- Fitting ---------------------------------------------------------------------------------------------------------


def solve_remez(t, f, w, degree):
    """Coefficients c of the polynomial that makes the largest |w (f − Σ c_k tᵏ)| over the points t least."""
    n = degree + 2
    unit, heaviest = max(map(abs, t)), max(w)
    t, w = [x / unit for x in t], [x / heaviest for x in w]  # else the equations are badly scaled
    at = [round(i * (len(t) - 1) / (n - 1)) for i in range(n)]
    for _ in range(60):
        rows = [[w[i] * t[i] ** k for k in range(degree + 1)] + [(-1) ** j] for j, i in enumerate(at)]
        *c, level = mpmath.lu_solve(mpmath.matrix(rows), mpmath.matrix([w[i] * f[i] for i in at]))
        error = [w[i] * (f[i] - mpmath.polyval(c[::-1], t[i])) for i in range(len(t))]
        # The largest error of each run of one sign; then the best n of them in a row.
        peaks = []
        for i, e in enumerate(error):
            if peaks and (e > 0) == (error[peaks[-1]] > 0):
                if abs(e) > abs(error[peaks[-1]]):
                    peaks[-1] = i
            else:
                peaks.append(i)
        if len(peaks) < n or max(map(abs, error)) <= abs(level) * (1 + mpf(10) ** -6):
            break
        while len(peaks) > n:  # the signs must go on alternating: an end goes alone, an inner one with a neighbour
            size = [abs(error[i]) for i in peaks]
            least = size.index(min(size)) if len(peaks) > n + 1 else 0 if size[0] < size[-1] else len(peaks) - 1
            peaks.pop(least)
            if 0 < least < len(peaks):
                peaks.pop(least - 1 if size[least - 1] < size[least + 1] else least)
        at = peaks
    return [x / unit**k for k, x in enumerate(c)]


def round_to(x, dtype):
    return float(np.float32(float(x))) if dtype == "float" else float(x)


def fit(f: Function, degree: int, lo, hi, weight: Function = lambda t: mpf(1), dtype: str = "double", exact=None):
    """Coefficients in `dtype` of a polynomial near f on [lo, hi], and the largest of |weight · error|.

    The lowest power is rounded first and the others are fitted anew to what is left: so each rounding is made up for by
    the powers above it. `exact` prescribes the first coefficients.
    """
    lo, hi = mpf(lo), mpf(hi)
    t = [(lo + hi) / 2 - (hi - lo) / 2 * mp.cos(mp.pi * (j + mpf(1) / 2) / POINTS) for j in range(POINTS)]
    target, rest = [f(x) for x in t], []
    w = [abs(mpf(weight(x))) for x in t]
    rest, scaled = list(target), list(w)
    out = []
    for k in range(degree + 1):
        if exact is not None and k < len(exact):
            c = exact[k]
        else:
            c = round_to(solve_remez(t, rest, scaled, degree - k)[0], dtype)
        out.append(c)
        rest = [(r - c) / x for r, x in zip(rest, t)]
        scaled = [s * abs(x) for s, x in zip(scaled, t)]
    error = max(abs(v * (y - mpmath.polyval(out[::-1], x))) for x, y, v in zip(t, target, w))
    return out, error


def table(name: str, dtype: str, *args, **kwargs):
    """A table to print: fit(*args) under this name in the C++ header."""
    TABLES[name] = lambda: (dtype, *fit(*args, dtype=dtype, **kwargs))


def parts(x, *bits):
    """x as a sum of numbers of these many bits each, rounded down."""
    out = []
    for b in bits:
        scale = mpf(2) ** (b - 1 - mp.floor(mp.log(x, 2)))
        out.append(float(mp.floor(x * scale) / scale))
        x -= out[-1]
    return out


def constants(name: str, dtype: str, values: Callable[[], list]):
    """A table of other numbers; of integers, as words of 64 bits."""
    TABLES[name] = lambda: (dtype, values(), None)


# ---- sin, cos, tan ---------------------------------------------------------------------------------------------------
# Variable s = r². Errors relative to the function.


def odd_excess(g):
    """(g(r)/r − 1)/r² as a function of s = r², for odd g with g'(0) = 1."""
    return lambda s: (g(mp.sqrt(s)) / mp.sqrt(s) - 1) / s


def odd_weight(g):
    """Makes an error of odd_excess(g) relative to g."""
    return lambda s: s * mp.sqrt(s) / g(mp.sqrt(s))


QUARTER, HALF = mp.pi / 4 * mpf("1.0005"), mp.pi / 2 * mpf("1.0005")  # the reduction rounds; a margin for it

table("kSinF", "float", odd_excess(mp.sin), 2, 0, QUARTER**2, odd_weight(mp.sin))
table("kCosF", "float", lambda s: (mp.cos(mp.sqrt(s)) - 1 + s / 2) / s**2, 2, 0, QUARTER**2, lambda s: s**2)
table("kSinD", "double", odd_excess(mp.sin), 7, 0, HALF**2, odd_weight(mp.sin))
table("kTanF", "float", odd_excess(mp.tan), 5, 0, QUARTER**2, odd_weight(mp.tan))
table("kTanD", "double", odd_excess(mp.tan), 14, 0, QUARTER**2, odd_weight(mp.tan))
constants("kHalfPiF", "float", lambda: parts(mp.pi / 2, 24, 12, 24))
constants("kPiD", "double", lambda: parts(mp.pi, 53, 53, 53))
constants("kHalfPiD", "double", lambda: parts(mp.pi / 2, 53, 24, 53))


def words_of_inverse_pi():
    with mp.workprec(1500):
        bits = int(mp.floor(2 ** (64 * 20) / mp.pi))
    return [bits >> 64 * (20 - i) & (2**64 - 1) for i in range(21)]


constants("kInvPiBits", "std::uint64_t", words_of_inverse_pi)


def literal(v):
    """A hexadecimal literal without the zeros at the end."""
    digits, exponent = v.hex().split("p")
    return f"{digits.rstrip('0').rstrip('.')}p{exponent}"

# ---- exp, log and what is made of them -------------------------------------------------------------------------------

R = mp.log(2) / 2 * mpf("1.0005")  # exp reduces to [-R, R]; a margin for rounding

for suffix, dtype, degrees in ("F", "float", (4, 2, 2, 8, 4, 5)), ("D", "double", (9, 5, 5, 20, 10, 10)):
    d = iter(degrees)
    # (eʳ − 1 − r)/r², relative to eʳ − 1; of s = r²: (sinh r/r − 1)/r² and (cosh r − 1)/r².
    table("kExpm1" + suffix, dtype, lambda r: (mp.expm1(r) - r) / r**2, next(d), -R, R, lambda r: r**2 / mp.expm1(r))
    table("kSinh" + suffix, dtype, odd_excess(mp.sinh), next(d), 0, R**2, odd_weight(mp.sinh))
    table("kCosh" + suffix, dtype, lambda s: (mp.cosh(mp.sqrt(s)) - 1) / s, next(d), 0, R**2, lambda s: s)
    # (log(1 + f) − f)/f² relative to log(1 + f); of s = a²: (tanh a/a − 1)/a², (atanh a/a − 1)/a².
    table("kLog1p" + suffix, dtype, lambda f: (mp.log1p(f) - f) / f**2, next(d), -0.25, 0.5, lambda f: f**2 / mp.log1p(f))
    table("kTanh" + suffix, dtype, odd_excess(mp.tanh), next(d), 0, 0.5625**2, odd_weight(mp.tanh))
    table("kAtanh" + suffix, dtype, odd_excess(mp.atanh), next(d), 0, mpf("0.3334") ** 2, odd_weight(mp.atanh))


def main():
    words = sys.argv[1:]
    for name, make in TABLES.items():
        if words and not any(w.lower() in name.lower() for w in words):
            continue
        dtype, values, error = make()
        suffix = "f" if dtype == "float" else ""
        note = f"  // error 2^{float(mp.log(error, 2)):.1f}" if error else ""
        print(f"constexpr {dtype} {name}[] = {{{note}")
        for v in values:
            print(f"    {v:#018x}," if isinstance(v, int) else f"    {literal(v)}{suffix},")
        print("};", flush=True)


if __name__ == "__main__":
    main()
