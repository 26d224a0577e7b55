"""Definitions of the elementwise functions that share nothing with the library: mpmath, at any precision.

`derivative` differentiates them numerically with digits to spare, so that no derivative formula is written twice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import mpmath
import numpy as np
import scipy.special
from mpmath import mp, mpf

DIGITS = 40  # what is left after the differences is far beyond a double
MANY_DIGITS = 400  # for large arguments, where exponentials differ from their limits only far behind the point


def _round_half_even(x):
    nearest = mpmath.floor(x + mpf(1) / 2)
    return nearest - 1 if nearest - x == mpf(1) / 2 and nearest % 2 == 1 else nearest


# Functions of one argument with derivatives of every order at the points where tests sample them.
UNARY: dict[str, Callable] = {
    "neg": lambda x: -x,
    "abs": lambda x: x if x > 0 else -x,
    "square": lambda x: x**2,
    "sqrt": mpmath.sqrt,
    "rsqrt": lambda x: x ** (-mpf(1) / 2),
    "reciprocal": lambda x: 1 / x,
    "exp": mpmath.exp,
    "expm1": mpmath.expm1,
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "asin": mpmath.asin,
    "acos": mpmath.acos,
    "atan": mpmath.atan,
    "sinh": mpmath.sinh,
    "cosh": mpmath.cosh,
    "tanh": mpmath.tanh,
    "sech2": lambda x: mpmath.sech(x) ** 2,
    "asinh": mpmath.asinh,
    "acosh": mpmath.acosh,
    "atanh": mpmath.atanh,
    "erf": mpmath.erf,
    "erfc": mpmath.erfc,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "relu": lambda x: x if x > 0 else mpf(0),
    "gelu": lambda x: x * mpmath.erfc(-x / mpmath.sqrt(2)) / 2,
    "silu": lambda x: x / (1 + mpmath.exp(-x)),
    "sign": mpmath.sign,
    "floor": mpmath.floor,
    "ceil": mpmath.ceil,
    "round": _round_half_even,
    "trunc": lambda x: mpmath.floor(x) if x > 0 else mpmath.ceil(x),
}

# The same of two arguments.
BINARY: dict[str, Callable] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "pow": mpmath.power,
    "atan2": mpmath.atan2,
    "hypot": lambda x, y: mpmath.sqrt(x * x + y * y),
    "maximum": lambda x, y: x if x > y else y,
    "minimum": lambda x, y: x if x < y else y,
    "floor_div": lambda x, y: mpmath.floor(x / y),
    "mod": lambda x, y: x - y * mpmath.floor(x / y),
}

# Functions with a boolean result.
COMPARE: dict[str, Callable] = {
    "equal": np.equal,
    "not_equal": np.not_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}


# What NumPy and SciPy compute, for zeros with a sign, infinities and NaN.
NUMPY: dict[str, Callable] = {
    "neg": np.negative,
    "abs": np.abs,
    "square": np.square,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": np.reciprocal,
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "sech2": lambda x: 1 / np.cosh(x) ** 2,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    "sigmoid": scipy.special.expit,
    "softplus": lambda x: np.logaddexp(x.dtype.type(0), x),
    "relu": lambda x: np.maximum(x, x.dtype.type(0)) + x.dtype.type(0),  # +0 for −0
    "gelu": lambda x: x * scipy.special.ndtr(x),
    "silu": lambda x: x * scipy.special.expit(x),
    "sign": lambda x: np.where(x == 0, x, np.sign(x)),  # −0 stays
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "trunc": np.trunc,
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "atan2": np.arctan2,
    "hypot": np.hypot,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "floor_div": np.floor_divide,
    "mod": np.mod,
}


@functools.cache
def derivative(name: str, orders: tuple[int, ...], point: tuple[float, ...], digits: int = DIGITS) -> float:
    """Partial derivative of `orders[i]` in argument i at `point`, rounded to double."""
    fn = UNARY[name] if len(point) == 1 else BINARY[name]
    with mp.workdps(digits):
        x = tuple(mpf(p) for p in point)
        if sum(orders) == 0:
            return float(fn(*x))
        slope = mpmath.diff(fn, x[0], orders[0]) if len(x) == 1 else mpmath.diff(fn, x, orders)
        return float(mpmath.chop(slope, tol=mpf(10) ** (10 - digits)))


def derivatives(name: str, orders: tuple[int, ...], *points: np.ndarray, digits: int = DIGITS) -> np.ndarray:
    """`derivative` for arrays of points."""
    return np.array([derivative(name, orders, tuple(map(float, p)), digits) for p in zip(*points, strict=True)])
