"""Elementwise functions where formulas break: zeros, ties, infinities, NaN, ends of domains, large arguments."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from checks import ROWS, all_modes, as_double, assert_close, nest
from reference import BINARY, MANY_DIGITS, NUMPY, UNARY, derivatives

import evolute as ev
from evolute import Tensor, ops

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -2.0, 3.0, -2.5, np.inf, -np.inf, np.nan, 1e300, -1e300, 1e-300]
INTEGERS = [-(2**31), -7, -3, -1, 0, 1, 2, 5, 2**31 - 1]
OPERANDS = {row["name"]: row["operands"] for row in ROWS}
SMOOTH = [name for name in UNARY if name not in ("sign", "floor", "ceil", "round", "trunc")]


def pairs(values, dtype):
    return [np.array(column).astype(dtype) for column in zip(*itertools.product(values, values), strict=True)]


def quietly(fn, *args):
    with np.errstate(all="ignore"):
        return fn(*args)


def assert_same_values(got, want, rtol):
    np.testing.assert_allclose(got, want, rtol=rtol, atol=0)
    ordered = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got)[ordered], np.signbit(want)[ordered], err_msg="signs of zeros")


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", NUMPY)
def test_special_values(name, dtype):
    operands = [np.array(SPECIAL, np.float64)] if name in UNARY else pairs(SPECIAL, np.float64)
    operands = [quietly(o.astype, dtype) for o in operands]
    want = quietly(NUMPY[name], *operands)
    got = getattr(ops, name)(*map(Tensor, operands)).asnumpy()
    assert got.dtype == dtype
    assert_same_values(got, want, rtol=1e-15 if dtype is np.float64 else 1e-6)


@pytest.mark.parametrize(
    "name", ["exp", "expm1", "log1p", "softplus", "sigmoid", "erfc", "sinh", "cosh", "tanh", "sech2"]
)
def test_limits_of_float32(name):
    """No overflow before the result overflows, no underflow before it underflows."""
    x = np.array([-200, -104, -103, -88.7, -88, -20, -0.9, 20, 88, 88.7, 88.8, 89, 104, 200], np.float32)
    x = x[x > -1] if name == "log1p" else x
    want = quietly(derivatives(name, (0,), x, digits=MANY_DIGITS).astype, np.float32)
    np.testing.assert_allclose(getattr(ops, name)(Tensor(x)).asnumpy(), want, rtol=2e-6, atol=3e-45)


@pytest.mark.parametrize("name", [n for n in SMOOTH if n not in ("log", "sqrt", "rsqrt", "acosh", "reciprocal")])
def test_tiny_arguments(name):
    """Functions that vanish at 0 keep all their digits there."""
    x = np.array([1e-3, -1e-3, 1e-8, -1e-8, 1e-20, -1e-20, 1e-300, -1e-300])
    want = derivatives(name, (0,), x, digits=MANY_DIGITS)
    np.testing.assert_allclose(getattr(ops, name)(as_double(x)).asnumpy(), want, rtol=1e-15)


def magnitudes(dtype, n, limit):
    """Numbers of both signs, half of them of the size that functions are used with, half of any size."""
    rng = np.random.default_rng(n)
    edge = np.log10(limit)
    exponents = np.concatenate([rng.uniform(-6, 3, n), rng.uniform(-edge, edge, n)])
    return (rng.choice([-1, 1], 2 * n) * 10**exponents).astype(dtype)


def assert_accurate(name, got, want, x, rtol):
    if name == "gelu":  # far to the left it multiplies the rounding of its argument by x²
        got = want + (got - want) / (1 + np.clip(x, -100, 0) ** 2)
    np.testing.assert_allclose(got, want, rtol, 2 * np.finfo(x.dtype).tiny)


@pytest.mark.parametrize("name", UNARY)
def test_whole_range_of_float64(name):
    x = magnitudes(np.float64, 100, 1e8 if name in ("erf", "erfc", "gelu") else 1e300)
    x = x[np.isfinite(quietly(NUMPY[name], x))]
    assert x.size > 20
    want = derivatives(name, (0,), x)
    assert_accurate(name, getattr(ops, name)(Tensor(x)).asnumpy(), want, x, 1e-15)


@pytest.mark.parametrize("name", NUMPY)
def test_whole_range_of_float32(name):
    x = magnitudes(np.float32, 5000, 1e37)
    operands = [x] if name in UNARY else [x, np.roll(x, 1)]
    # Quotients that are rounded have no digits left where the quotient is large.
    operands = [np.clip(o, -50, 50) for o in operands] if name in ("floor_div", "mod") else operands
    want = quietly(NUMPY[name], *(o.astype(np.float64) for o in operands))
    want = quietly(want.astype, np.float32)
    got = getattr(ops, name)(*map(Tensor, operands)).asnumpy()
    assert_accurate(name, got, want, operands[0], 4e-7)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, bool])
@pytest.mark.parametrize("name", NUMPY)
def test_integers(name, dtype):
    """Functions of numbers stay with integers (booleans count as int32); functions of real analysis give float32."""
    values = INTEGERS if dtype is not np.int64 else [*INTEGERS, -(2**63), 2**63 - 1]
    if name == "pow":
        values = [-3, -1, 0, 1, 2, 5]
    operands = [np.array(values).astype(dtype)] if name in UNARY else pairs(values, dtype)
    got = getattr(ops, name)(*map(Tensor, operands)).asnumpy()
    if OPERANDS[name] == "real":
        floats = [Tensor(o.astype(np.float32)) for o in operands]
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, getattr(ops, name)(*floats).asnumpy())
        return
    operands = [o.astype(np.int32) if dtype is bool else o for o in operands]
    assert got.dtype == operands[0].dtype
    if name == "pow":
        # NumPy raises; here as for fractions: the result is rounded towards 0, and a zero base gives 0.
        want = [
            b ** abs(e) if e >= 0 or abs(b) == 1 else 0 for b, e in zip(*(o.tolist() for o in operands), strict=True)
        ]
    else:
        want = quietly(NUMPY[name], *operands)
    np.testing.assert_array_equal(got, want)


# ---- derivatives ----------------------------------------------------------------------------------------------------


def derivatives_at(fn, x, order, positions=None, *others):
    """Derivatives of one order in all modes, which must agree."""
    results = [
        nest(fn, modes, positions)(as_double(x), *map(as_double, others)).asnumpy() for modes in all_modes(order)
    ]
    for r in results[1:]:
        np.testing.assert_allclose(r, results[0], rtol=1e-13, atol=1e-300)
    return results[0]


KINKS = [
    ("abs", 0.0, [0, 0, 0, 0]),
    ("abs", -0.0, [0, 0, 0, 0]),
    ("relu", 0.0, [0, 0, 0, 0]),
    ("relu", -0.0, [0, 0, 0, 0]),
    ("sign", 0.0, [0, 0, 0, 0]),
    ("floor", 1.0, [0, 0, 0, 0]),
    ("round", 0.5, [0, 0, 0, 0]),
    ("square", 0.0, [0, 2, 0, 0]),
    ("sqrt", 0.0, [np.inf, -np.inf, np.inf, -np.inf]),
    ("sqrt", -0.0, [np.inf, -np.inf]),
    ("rsqrt", 0.0, [-np.inf, np.inf, -np.inf, np.inf]),
    ("reciprocal", 0.0, [-np.inf, np.inf, -np.inf, np.inf]),
    ("log", 0.0, [np.inf, -np.inf, np.inf, -np.inf]),
    ("log1p", -1.0, [np.inf, -np.inf, np.inf, -np.inf]),
    ("asin", 1.0, [np.inf, np.inf]),
    ("asin", -1.0, [np.inf, -np.inf]),
    ("acos", 1.0, [-np.inf, -np.inf]),
    ("acosh", 1.0, [np.inf, -np.inf]),
    ("atanh", 1.0, [np.inf, np.inf, np.inf]),
    ("atanh", -1.0, [np.inf, -np.inf, np.inf]),
]


@pytest.mark.parametrize(("name", "x", "expected"), KINKS)
def test_kinks_and_poles(name, x, expected):
    for order, want in enumerate(expected, start=1):
        assert derivatives_at(getattr(ops, name), x, order) == want


POWERS = {
    "operator": lambda p: lambda x: x**p,
    "function": lambda p: lambda x: ops.pow(x, p),
    "tensor": lambda p: lambda x: ops.pow(x, as_double(p)),
}


def power_rule(x, p, order):
    """d^n/dx^n x^p = p (p−1) … (p−n+1) x^(p−n), where 0 times anything is 0."""
    factor = np.prod([p - i for i in range(order)])
    with np.errstate(divide="ignore"):
        return factor * np.float64(x) ** (p - order) if factor else 0.0


@pytest.mark.parametrize("spelling", POWERS)
@pytest.mark.parametrize("p", [0, 1, 2, 3, 4, 0.0, 1.0, 2.0, 2.5, 0.5, 1.5, -1, -0.5])
def test_power_of_zero(p, spelling):
    for order in range(1, 5):
        assert derivatives_at(POWERS[spelling](p), 0.0, order) == power_rule(0.0, p, order)


@pytest.mark.parametrize("spelling", POWERS)
@pytest.mark.parametrize("p", [-2, -1, 0, 1, 2, 3, 5])
def test_power_of_a_negative_number(p, spelling):
    for order in range(1, 5):
        got = derivatives_at(POWERS[spelling](p), -2.0, order)
        np.testing.assert_allclose(got, power_rule(-2.0, p, order), rtol=1e-14)


@pytest.mark.parametrize("order", range(1, 5))
def test_power_at_integer_exponents(order):
    """Where factors y and y − 1 of the derivatives in x vanish, but their derivatives in y do not."""
    x, y = np.repeat([0.5, 2.0], 4), np.tile([0.0, 1.0, 2.0, 3.0], 2)
    for positions in itertools.product((0, 1), repeat=order):
        want = derivatives("pow", (positions.count(0), positions.count(1)), x, y)
        for modes in all_modes(order):
            got = nest(ops.pow, modes, positions)(as_double(x), as_double(y))
            assert_close(got, want, 2e-14, err_msg=f"{modes} in arguments {positions}")


@pytest.mark.parametrize("y", [1.5, 2.0, 2.5, 3.0])
def test_zero_to_a_variable_power(y):
    """0^y is 0 for all y > 0, hence flat in y; so are its derivatives in x that exist."""
    for positions in [(1,), (1, 1), (0, 1), (1, 0)]:
        for modes in all_modes(len(positions)):
            assert nest(ops.pow, modes, positions)(as_double(0.0), as_double(y)).item() == 0


def test_zero_to_the_power_zero():
    assert ops.pow(as_double(0.0), as_double(0.0)).item() == 1
    assert ev.grad(ops.pow, 1)(as_double(0.0), as_double(0.0)).item() == -np.inf


@pytest.mark.parametrize(("name", "at_tie"), [("maximum", 0.5), ("minimum", 0.5)])
def test_ties_share(name, at_tie):
    fn = getattr(ops, name)
    x, y = as_double([1.0, 2.0, 3.0]), as_double([2.0, 2.0, 2.0])
    first = np.array([0, at_tie, 1]) if name == "maximum" else np.array([1, at_tie, 0])
    for mode in "rf":
        np.testing.assert_array_equal(nest(fn, mode, (0,))(x, y).asnumpy(), first)
        np.testing.assert_array_equal(nest(fn, mode, (1,))(x, y).asnumpy(), 1 - first)
        np.testing.assert_array_equal(nest(lambda t: fn(t, t), mode)(x).asnumpy(), [1, 1, 1])
    for modes in all_modes(2):
        np.testing.assert_array_equal(nest(fn, modes)(x, y).asnumpy(), [0, 0, 0])


def test_hypot_at_the_origin():
    for positions in [(0,), (1,), (0, 0), (0, 1), (1, 0), (1, 1)]:
        assert derivatives_at(ops.hypot, 0.0, len(positions), positions, 0.0) == 0


@pytest.mark.parametrize("name", ["asin", "acos", "atanh"])
@pytest.mark.parametrize("order", range(5))
def test_near_the_ends_of_the_domain(name, order):
    x = np.concatenate([s * (1 - 0.5 ** np.arange(4, 53, 6)) for s in (1, -1)])
    want = derivatives(name, (order,), x, digits=MANY_DIGITS)
    np.testing.assert_allclose(derivatives_at(getattr(ops, name), x, order), want, rtol=3e-15 * 4**order)


@pytest.mark.parametrize(("name", "start"), [("acosh", 1.0), ("log1p", -1.0), ("log", 0.0), ("sqrt", 0.0)])
@pytest.mark.parametrize("order", range(3))
def test_near_the_start_of_the_domain(name, start, order):
    x = start + 0.5 ** np.arange(4, 50, 5)
    want = derivatives(name, (order,), x, digits=MANY_DIGITS)
    np.testing.assert_allclose(derivatives_at(getattr(ops, name), x, order), want, rtol=1e-14)


POSITIVE = ("log", "log1p", "sqrt", "rsqrt", "acosh")
LARGE = [50, 300, 700, 710, 1e4, 1e30]
HUGE = {0: [1e160, 1e300], 1: [1e160, 1e300], 2: [1e160, 1e200], 3: [], 4: []}  # by order; squares overflow there
FAR = {"erf": np.sign, "erfc": lambda x: 1 - np.sign(x), "gelu": lambda x: np.maximum(x, 0)}  # which mpmath is slow for


@pytest.mark.parametrize("name", [n for n in SMOOTH if n not in ("asin", "acos", "atanh", *FAR)])
@pytest.mark.parametrize("order", range(5))
def test_large_arguments(name, order):
    """Derivatives neither overflow nor turn into NaN on the way to a value that is finite, or zero."""
    x = np.array([20, *LARGE, *HUGE[order]])
    x = x if name in POSITIVE else np.concatenate([x, -x])
    got = derivatives_at(getattr(ops, name), x, order)
    # Results below the normal numbers have fewer digits, and products that lead there may come to 0.
    np.testing.assert_allclose(got, derivatives(name, (order,), x, digits=MANY_DIGITS), rtol=2e-13, atol=1e-300)


@pytest.mark.parametrize("name", FAR)
@pytest.mark.parametrize("order", range(5))
def test_large_arguments_of_the_error_function(name, order):
    fn = getattr(ops, name)
    near = np.array([6.0, -6.0, 20.0, -20.0])
    want = derivatives(name, (order,), near, digits=MANY_DIGITS)
    np.testing.assert_allclose(derivatives_at(fn, near, order), want, rtol=2e-13, atol=1e-300)
    x = np.array(LARGE + HUGE[order])
    x = np.concatenate([x, -x])
    slope = np.where(x > 0, 1, 0) if name == "gelu" else np.zeros_like(x)
    want = (FAR[name](x), slope, 0 * x, 0 * x, 0 * x)[order]
    np.testing.assert_allclose(derivatives_at(fn, x, order), want, rtol=1e-15, atol=1e-300)


@pytest.mark.parametrize("name", ["hypot", "atan2", "div"])
@pytest.mark.parametrize("scale", [1e300, 1e-300, 1e160, 1e-160])
def test_large_and_small_pairs(name, scale):
    x, y = scale * np.array([1.0, 0.7, -0.3]), scale * np.array([1.0, -0.2, 0.9])
    unit = x / scale, y / scale
    # Homogeneous functions: derivatives of order n scale with power (degree − n).
    degree = 1 if name == "hypot" else 0
    fn = getattr(ops, name)
    assert_close(fn(as_double(x), as_double(y)), derivatives(name, (0, 0), *unit) * scale**degree, 2e-15)
    for positions in [(0,), (1,)]:
        want = derivatives(name, (1 - positions[0], positions[0]), *unit) * scale ** (degree - 1)
        for mode in "rf":
            assert_close(nest(fn, mode, positions)(as_double(x), as_double(y)), want, 2e-15)
    if name != "hypot":
        return
    for positions in itertools.product((0, 1), repeat=2):
        want = derivatives(name, (positions.count(0), positions.count(1)), *unit) / scale
        for modes in all_modes(2):
            assert_close(nest(fn, modes, positions)(as_double(x), as_double(y)), want, 4e-15)


@pytest.mark.parametrize(
    "name", ["tanh", "sigmoid", "softplus", "erf", "erfc", "atan", "exp", "expm1", "log", "log1p", "asinh", "sqrt"]
)
def test_derivatives_at_infinity(name):
    limits = {"sigmoid": (0, 0), "softplus": (0, 1), "exp": (0, np.inf), "expm1": (0, np.inf)}
    low, high = limits.get(name, (0, 0))
    got = derivatives_at(getattr(ops, name), [-np.inf, np.inf], 1)
    assert got[1] == high
    if name not in ("log", "log1p", "sqrt"):
        assert got[0] == low


@pytest.mark.parametrize("name", [n for n in SMOOTH if n not in ("neg", "relu")])
def test_nan_flows(name):
    """Through values and through all derivatives that are not constant."""
    for order in range(1 if name in ("abs", "square") else 2):
        assert np.isnan(derivatives_at(getattr(ops, name), np.nan, order))


@pytest.mark.parametrize("name", [n for n in BINARY if n not in ("pow", "floor_div")])
def test_nan_flows_from_either_side(name):
    fn = getattr(ops, name)
    assert np.isnan(fn(as_double(np.nan), as_double(1.0)).item())
    assert np.isnan(fn(as_double(1.0), as_double(np.nan)).item())


@pytest.mark.parametrize("name", ["logical_and", "logical_or", "logical_xor"])
@pytest.mark.parametrize(
    "dtypes", [("float32", "float32"), ("float64", "bool"), ("float64", "int32"), ("int64", "int64")]
)
def test_logic_takes_what_is_not_0_for_true(name, dtypes):
    values = np.array([0.0, -0.0, 5e-324, np.nan, np.inf, 2, -1] * 5)
    with np.errstate(invalid="ignore"):
        x, y = (v.astype(t) for v, t in zip((values[:, None], values[::-1]), dtypes, strict=True))
    got = getattr(ops, name)(Tensor(x), Tensor(y))
    np.testing.assert_array_equal(got.asnumpy(), getattr(np, name)(x, y), strict=True)
