"""Polynomials of the vectorised math functions (csrc/cpu/simd/math_*.h): minimax fits by Remez' algorithm.

    python bench/minimax.py             every table
    python bench/minimax.py sin atan    those whose name contains a word

prints C++ arrays, lowest power first, as they stand in the headers, each with the error of the polynomial with the
coefficients as rounded, as a power of two. Needs mpmath.
"""

import itertools
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


def alternating(error, n):
    """Where the error is largest in each run of one sign; the n largest whose signs still alternate, or None."""
    peaks = []
    for i, e in enumerate(error):
        if peaks and (e > 0) == (error[peaks[-1]] > 0):
            if abs(e) > abs(error[peaks[-1]]):
                peaks[-1] = i
        else:
            peaks.append(i)
    while len(peaks) > n:  # an end goes alone, an inner one with a neighbour
        size = [abs(error[i]) for i in peaks]
        least = size.index(min(size)) if len(peaks) > n + 1 else 0 if size[0] < size[-1] else len(peaks) - 1
        peaks.pop(least)
        if 0 < least < len(peaks):
            peaks.pop(least - 1 if size[least - 1] < size[least + 1] else least)
    return peaks if len(peaks) == n else None


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
        at = alternating(error, n)
        if at is None or max(map(abs, error)) <= abs(level) * (1 + mpf(10) ** -6):
            break
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
    return fit_points(t, [f(x) for x in t], [abs(mpf(weight(x))) for x in t], degree, dtype, exact)


def fit_points(t, target, w, degree, dtype, exact=None):
    rest, scaled = list(target), list(w)
    out = []
    for k in range(degree + 1):
        if exact is not None and k < len(exact):
            c = exact[k]
        else:
            c = round_to(solve_remez(t, rest, scaled, degree - k)[0], dtype)
        out.append(c)
        rest = [(r - c) / x for r, x in zip(rest, t, strict=False)]
        scaled = [s * abs(x) for s, x in zip(scaled, t, strict=False)]
    error = max(abs(v * (y - mpmath.polyval(out[::-1], x))) for x, y, v in zip(t, target, w, strict=False))
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


def cotangent(s):
    """(1 − r cot r)/r² of s = r²: smoother than the tangent, as its poles are at ±π and not ±π/2."""
    r = mp.sqrt(s)
    return (1 - r * mp.cot(r)) / s


table("kCotF", "float", cotangent, 4, 0, QUARTER**2, lambda s: s / (1 - s * cotangent(s)))
table("kCotD", "double", cotangent, 8, 0, QUARTER**2, lambda s: s / (1 - s * cotangent(s)))
constants("kHalfPiF", "float", lambda: parts(mp.pi / 2, 24, 12, 24))
constants("kPiD", "double", lambda: parts(mp.pi, 53, 53, 53))
constants("kHalfPiD", "double", lambda: parts(mp.pi / 2, 53, 29, 53))


def words_of_inverse_pi():
    with mp.workprec(1500):
        bits = int(mp.floor(2 ** (64 * 20) / mp.pi))
    return [bits >> 64 * (20 - i) & (2**64 - 1) for i in range(21)]


constants("kInvPiBits", "std::uint64_t", words_of_inverse_pi)


def literal(v):
    """A hexadecimal literal without the zeros at the end."""
    digits, exponent = v.hex().split("p")
    return f"{digits.rstrip('0').rstrip('.')}p{exponent}"


# ---- asin, acos, atan ------------------------------------------------------------------------------------------------

table("kAsinF", "float", odd_excess(mp.asin), 4, 0, mpf("0.2501"), odd_weight(mp.asin))
table("kAsinD", "double", odd_excess(mp.asin), 11, 0, mpf("0.2501"), odd_weight(mp.asin))
table("kAtanF", "float", odd_excess(mp.atan), 8, 0, mpf("1.0001"), odd_weight(mp.atan))
table("kAtanD", "double", odd_excess(mp.atan), 11, 0, mpf("0.2501"), odd_weight(mp.atan))
constants("kQuarterPiF", "float", lambda: parts(mp.pi / 4, 22, 24))
constants("kQuarterPiD", "double", lambda: parts(mp.pi / 4, 51, 53))


# ---- erf, erfc -------------------------------------------------------------------------------------------------------


def solve_rational(t, f, w, m, n):
    """Coefficients of polynomials P, Q of degrees m, n, Q(0) = 1, that bring the largest |w (f − P/Q)| near its least.

    The equations P − f Q = ± error Q/w are solved with Q on the right taken from the solution before.
    """
    at = [round(i * (len(t) - 1) / (m + n + 1)) for i in range(m + n + 2)]
    unit, best = max(t), None
    t, q_at = [x / unit for x in t], [mpf(1)] * len(t)
    for exchanges in range(20):
        for _ in range(3 if exchanges else 8):
            v = [w[i] / q_at[i] for i in at]
            rows = [
                [
                    *(v[j] * t[i] ** k for k in range(m + 1)),
                    *(-v[j] * f[i] * t[i] ** k for k in range(1, n + 1)),
                    (-1) ** j,
                ]
                for j, i in enumerate(at)
            ]
            *c, level = mpmath.lu_solve(mpmath.matrix(rows), mpmath.matrix([v[j] * f[i] for j, i in enumerate(at)]))
            p, q = c[: m + 1], [mpf(1), *c[m + 1 :]]
            q_at = [mpmath.polyval(q[::-1], x) for x in t]
        error = [v * (y - mpmath.polyval(p[::-1], x) / d) for x, y, v, d in zip(t, f, w, q_at, strict=False)]
        worst = max(map(abs, error))
        if best is None or worst < best[0]:
            best = worst, [c / unit**k for k, c in enumerate(p)], [c / unit**k for k, c in enumerate(q)]
        at = alternating(error, m + n + 2)
        if at is None or worst <= abs(level) * (1 + mpf(10) ** -4):
            break
    return best[1:]


def rational_erfc(dtype, m, n, middle, furthest):
    """P and Q with erfc(a) = exp(−a²)/(√π a + P(a)/Q(a)). The points lie as dense as the error changes its sign."""
    end = (mpf(furthest) - middle) / (mpf(furthest) + middle)
    u = [(end - 1) / 2 - (end + 1) / 2 * mp.cos(mp.pi * (j + mpf(1) / 2) / POINTS) for j in range(POINTS)]
    a = [middle * (1 + x) / (1 - x) for x in u]
    with mp.workdps(80):
        y = [mp.exp(x * x) * mp.erfc(x) for x in a]
        f = [1 / v - mp.sqrt(mp.pi) * x for x, v in zip(a, y, strict=False)]
        q = [round_to(c, dtype) for c in solve_rational(a, f, y, m, n)[1]]
        q_at = [mpmath.polyval(q[::-1], x) for x in a]
        target, weight = [v * d for v, d in zip(f, q_at, strict=False)], [v / d for v, d in zip(y, q_at, strict=False)]
    p, error = fit_points(a, target, weight, m, dtype, [1.0])
    return p, q, error


for suffix, args in ("F", ("float", 4, 5, 3, 10.4)), ("D", ("double", 9, 10, 4, 27.6)):
    TABLES["kErfcP" + suffix] = lambda args=args: (args[0], *(rational_erfc(*args)[i] for i in (0, 2)))
    TABLES["kErfcQ" + suffix] = lambda args=args: (args[0], *(rational_erfc(*args)[i] for i in (1, 2)))


def erf_excess(s):
    """erf(a)/a − 1 of s = a²."""
    return mp.erf(mp.sqrt(s)) / mp.sqrt(s) - 1


for suffix, dtype, degree in ("F", "float", 6), ("D", "double", 12):
    table("kErf" + suffix, dtype, erf_excess, degree, 0, 1, lambda s: mp.sqrt(s) / mp.erf(mp.sqrt(s)))
# (Φ(x) − ½)/x of x²/2, where |x| ≤ ½
table("kNormalF", "float", lambda s: mp.erf(mp.sqrt(s)) / mp.sqrt(8 * s), 3, 0, mpf(1) / 8)
table("kNormalD", "double", lambda s: mp.erf(mp.sqrt(s)) / mp.sqrt(8 * s), 7, 0, mpf(1) / 8)


def near_exact(g: Function, x, dtype):
    """A number in `dtype` near x at which g is very near one too (Gal, Computing elementary functions, 1986)."""
    best, off = None, mpf(1)
    for step in range(1000 if x else 1):
        c = round_to(mp.floor(x * 2**20) / 2**20 + step * mpf(2) ** -21, dtype)
        y = g(mpf(c))
        if c == 0 or abs(round_to(y, dtype) / y - 1) < off:
            best, off = c, abs(round_to(y, dtype) / y - 1) if c else 0
    return best


def pieces(name: str, dtype: str, g: Function, edges: list, degree: int):
    """Polynomials of x − c between the edges, relative to g: a row of the c, then one of each power's coefficients."""

    def make():
        columns, worst = [], mpf(0)
        for lo, hi in itertools.pairwise(edges):
            c = near_exact(g, (lo + hi) / 2 if lo else mpf(0), dtype)

            def shifted(t: mpf, c: mpf = c) -> mpf:
                return g(c + t)

            first = [round_to(g(mpf(c)), dtype)]
            p, error = fit(shifted, degree, lo - c, hi - c, lambda t, f=shifted: 1 / f(t), dtype, first)
            columns.append([c, *p])
            worst = max(worst, error)
        return dtype, [row[k] for k in range(degree + 2) for row in columns], worst

    TABLES[name] = make


# Piece number round(x (4 − x/4)) or, of 32 for float, round(8 x).
pieces("kErfTableD", "double", mp.erf, [mpf(0)] + [8 - 2 * mp.sqrt(mpf(15.5) - i) for i in range(16)], 11)
pieces("kErfTableF", "float", mp.erf, [mpf(0)] + [(i + mpf(0.5)) / 8 for i in range(32)], 5)

# Piece number round(x 23/4).
pieces(
    "kTailTableF",
    "float",
    lambda x: mp.erfc(x / mp.sqrt(2)) / 2,
    [mpf(0)] + [(i + mpf(0.5)) * 4 / 23 for i in range(32)],
    6,
)

# ---- exp, log and what is made of them -------------------------------------------------------------------------------

R = mp.log(2) / 2 * mpf("1.0005")  # exp reduces to [-R, R]; a margin for rounding
M = mp.sqrt(0.5) - 1, mp.sqrt(2) - 1  # log to 1 + M
TANH = {"F": mpf("0.9375"), "D": mpf("0.5625")}  # where tanh turns from a polynomial to exp

for suffix, dtype, degrees in ("F", "float", (4, 2, 2, 8, 6, 5, 2)), ("D", "double", (9, 5, 5, 20, 10, 10, 6)):
    d = iter(degrees)
    # (eʳ − 1 − r)/r², relative to eʳ − 1; of s = r²: (sinh r/r − 1)/r² and (cosh r − 1)/r².
    table("kExpm1" + suffix, dtype, lambda r: (mp.expm1(r) - r) / r**2, next(d), -R, R, lambda r: r**2 / mp.expm1(r))
    table("kSinh" + suffix, dtype, odd_excess(mp.sinh), next(d), 0, R**2, odd_weight(mp.sinh))
    table("kCosh" + suffix, dtype, lambda s: (mp.cosh(mp.sqrt(s)) - 1) / s, next(d), 0, R**2, lambda s: s)
    # (log(1 + f) − f)/f² relative to log(1 + f); of s = a²: (tanh a/a − 1)/a², (atanh a/a − 1)/a².
    table("kLog1p" + suffix, dtype, lambda f: (mp.log1p(f) - f) / f**2, next(d), *M, lambda f: f**2 / mp.log1p(f))
    table("kTanh" + suffix, dtype, odd_excess(mp.tanh), next(d), 0, TANH[suffix] ** 2, odd_weight(mp.tanh))
    table("kAtanh" + suffix, dtype, odd_excess(mp.atanh), next(d), 0, mpf("0.3334") ** 2, odd_weight(mp.atanh))
    # The same without its first term, 1/3, on the interval of pow; relative to atanh.
    table(
        "kPow" + suffix,
        dtype,
        lambda s: (odd_excess(mp.atanh)(s) - mpf(1) / 3) / s,
        next(d),
        0,
        (M[1] / (M[1] + 2)) ** 2,
        lambda s: s**2,
    )


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
