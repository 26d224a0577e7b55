"""References for accuracy.py: elementwise functions and their derivatives, in the precision of their arguments.

They may lose a few units in the last place of long double, of which 2048 make one of float64; so nothing may cancel.
What long double does badly is left to mpmath.
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np
import scipy.special
from mpmath import mpf

Array = np.ndarray
Function = Callable[..., Array]
Wide = np.longdouble

PI = Wide(np.pi) + Wide("1.2246467991473531772e-16")


def exactly(approximate: Function, exact: Callable[[mpf], mpf]) -> Function:
    """A function: in float64 as NumPy or SciPy has it, in long double by mpmath."""

    def value(x: Array) -> Array:
        if x.dtype != Wide:
            return approximate(x)
        out = approximate(x.astype(np.float64)).astype(Wide)
        with mpmath.workprec(200):
            for i in np.flatnonzero(np.isfinite(x) & (x != 0) & (np.abs(x) < 50)):  # beyond, SciPy's 0, 1 or 2 will do
                m, exponent = mpmath.frexp(exact(mpf(float(x[i]))))
                head = float(m)
                out[i] = np.ldexp(Wide(head) + Wide(float(m - head)), exponent)
        return out

    return value


erf = exactly(scipy.special.erf, mpmath.erf)
erfc = exactly(scipy.special.erfc, mpmath.erfc)
normal_cdf = exactly(scipy.special.ndtr, lambda x: mpmath.erfc(-x / mpmath.sqrt(2)) / 2)


def exp_square(factor: float, x: Array) -> Array:
    """exp(factor x²) with x² in two parts, as its rounding error would be magnified."""
    square = x * x
    if x.dtype != Wide:
        return np.exp(factor * square)  # squares of float32 are exact
    head = x.astype(np.float32).astype(Wide)
    tail = x - head
    low = head * head - square + 2 * head * tail + tail * tail
    return np.exp(factor * square) * np.where(square < 1e30, 1 + factor * low, 1)


def sech2(x: Array) -> Array:
    e = np.exp(-2 * np.abs(x))
    return 4 * e / (1 + e) ** 2


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def density(x: Array) -> Array:
    """Of the normal distribution."""
    return exp_square(-0.5, x) / np.sqrt(2 * PI).astype(x.dtype)


def bell(x: Array) -> Array:
    """Derivative of the error function."""
    return 2 * exp_square(-1, x) / np.sqrt(PI).astype(x.dtype)


def span(x: Array) -> Array:
    return (1 - x) * (1 + x)


def excess(x: Array) -> Array:
    return (x - 1) * (x + 1)


# f, f', f''.
UNARY: dict[str, tuple[Function, Function, Function]] = {
    "square": (lambda x: x * x, lambda x: 2 * x, lambda x: 2 + 0 * x),
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(np.abs(x)), lambda x: -0.25 / (x * np.sqrt(x))),
    "rsqrt": (lambda x: 1 / np.sqrt(x), lambda x: -0.5 / (x * np.sqrt(x)), lambda x: 0.75 / (x * x * np.sqrt(x))),
    "reciprocal": (lambda x: 1 / x, lambda x: -1 / (x * x), lambda x: 2 / (x * x * x)),
    "exp": (np.exp, np.exp, np.exp),
    "expm1": (np.expm1, np.exp, np.exp),
    "log": (np.log, lambda x: 1 / x, lambda x: -1 / (x * x)),
    "log1p": (np.log1p, lambda x: 1 / (1 + x), lambda x: -1 / (1 + x) ** 2),
    "sin": (np.sin, np.cos, lambda x: -np.sin(x)),
    "cos": (np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x)),
    "tan": (np.tan, lambda x: 1 / np.cos(x) ** 2, lambda x: 2 * np.tan(x) / np.cos(x) ** 2),
    "asin": (np.arcsin, lambda x: 1 / np.sqrt(span(x)), lambda x: x / (span(x) * np.sqrt(span(x)))),
    "acos": (np.arccos, lambda x: -1 / np.sqrt(span(x)), lambda x: -x / (span(x) * np.sqrt(span(x)))),
    "atan": (np.arctan, lambda x: 1 / (1 + x * x), lambda x: -2 * (x / (1 + x * x)) / (1 + x * x)),
    "sinh": (np.sinh, np.cosh, np.sinh),
    "cosh": (np.cosh, np.sinh, np.cosh),
    "tanh": (np.tanh, sech2, lambda x: -2 * np.tanh(x) * sech2(x)),
    "sech2": (sech2, lambda x: -2 * np.tanh(x) * sech2(x), lambda x: 2 * sech2(x) * (2 - 3 * sech2(x))),
    "asinh": (np.arcsinh, lambda x: 1 / np.hypot(1, x), lambda x: -x / np.hypot(1, x) ** 3),
    "acosh": (np.arccosh, lambda x: 1 / np.sqrt(excess(x)), lambda x: -x / (excess(x) * np.sqrt(excess(x)))),
    "atanh": (np.arctanh, lambda x: 1 / span(x), lambda x: 2 * x / span(x) ** 2),
    "erf": (erf, bell, lambda x: -2 * x * bell(x)),
    "erfc": (erfc, lambda x: -bell(x), lambda x: 2 * x * bell(x)),
    "sigmoid": (
        sigmoid,
        lambda x: sigmoid(x) * sigmoid(-x),
        lambda x: -sigmoid(x) * sigmoid(-x) * np.tanh(x / 2),
    ),
    "softplus": (
        lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
        sigmoid,
        lambda x: sigmoid(x) * sigmoid(-x),
    ),
    "gelu": (
        lambda x: x * normal_cdf(x),
        lambda x: normal_cdf(x) + x * density(x),
        lambda x: density(x) * (2 - x * x),
    ),
    "silu": (
        lambda x: x * sigmoid(x),
        lambda x: sigmoid(x) * (1 + x * sigmoid(-x)),
        lambda x: sigmoid(x) * sigmoid(-x) * (2 - x * np.tanh(x / 2)),
    ),
}


def radius(x: Array, y: Array) -> Array:
    return np.hypot(x, y)


# f, f_x, f_y, f_xx, f_xy, f_yy; some have a value only.
BINARY: dict[str, tuple[Function, ...]] = {
    "div": (
        lambda x, y: x / y,
        lambda x, y: 1 / y + 0 * x,
        lambda x, y: -x / (y * y),
        lambda x, y: 0 * x * y,
        lambda x, y: -1 / (y * y) + 0 * x,
        lambda x, y: 2 * x / (y * y * y),
    ),
    "pow": (
        np.power,
        lambda x, y: y * np.power(x, y) / x,
        lambda x, y: np.power(x, y) * np.log(x),
        lambda x, y: y * (y - 1) * np.power(x, y) / (x * x),
        lambda x, y: np.power(x, y) / x * (1 + y * np.log(x)),
        lambda x, y: np.power(x, y) * np.log(x) ** 2,
    ),
    "atan2": (
        np.arctan2,
        lambda x, y: y / radius(x, y) ** 2,
        lambda x, y: -x / radius(x, y) ** 2,
        lambda x, y: -2 * x * y / radius(x, y) ** 4,
        lambda x, y: (x - y) * (x + y) / radius(x, y) ** 4,
        lambda x, y: 2 * x * y / radius(x, y) ** 4,
    ),
    "hypot": (
        np.hypot,
        lambda x, y: x / radius(x, y),
        lambda x, y: y / radius(x, y),
        lambda x, y: y * y / radius(x, y) ** 3,
        lambda x, y: -x * y / radius(x, y) ** 3,
        lambda x, y: x * x / radius(x, y) ** 3,
    ),
    "mod": (np.mod,),
}

# Where terms cancel, or a factor may be subnormal: what the rounding errors are proportional to. By name and order.
TERMS: dict[tuple[str, int], Function] = {
    ("sech2", 2): lambda x: 4 * sech2(x),
    ("silu", 0): lambda x: subnormal_factor(x),
    ("silu", 1): lambda x: sigmoid(x) * (1 + np.abs(x) * sigmoid(-x)) + subnormal_factor(x),
    ("silu", 2): lambda x: sigmoid(x) * sigmoid(-x) * (2 + np.abs(x)) + subnormal_factor(x),
    ("gelu", 0): lambda x: subnormal_factor(x),
    ("gelu", 1): lambda x: normal_cdf(x) + np.abs(x) * density(x) + subnormal_factor(x),
    ("gelu", 2): lambda x: density(x) * (2 + x * x) + subnormal_factor(x * x),
    ("pow", 4): lambda x, y: np.power(x, y) / x * (1 + np.abs(y * np.log(x))),
    ("atan2", 4): lambda x, y: 1 / radius(x, y) ** 2,
}


def subnormal_factor(x: Array) -> Array:
    """x times the smallest normal number: the rounding error of a subnormal number is as large as that of this one."""
    return np.abs(x) * np.finfo(np.float64 if x.dtype == Wide else np.float32).tiny
