"""Every elementwise function of the op table: values and derivatives of orders 1 to 4 against mpmath, in every mode.

Points and functions come from the table, so that an op added to it is tested from then on; the definitions to compare
with are those of reference.py, and a function without one fails.
"""

from __future__ import annotations

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from checks import NAMES, ROWS, all_modes, as_double, assert_close, check_adjoint, nest, samples
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from reference import BINARY, COMPARE, NUMPY, UNARY, derivatives

import evolute as ev
from evolute import Tensor, ops

UNARY_ROWS = [row for row in ROWS if row["arity"] == 1]
BINARY_ROWS = [row for row in ROWS if row["name"] in BINARY]
DIFFERENTIABLE = [row for row in ROWS if row["reverse"]]

# Relative error of a derivative of each order, of float64 and of float32.
RTOL = {0: 1e-15, 1: 2e-15, 2: 4e-15, 3: 1e-14, 4: 2e-14}
RTOL32 = {0: 1e-6, 1: 2e-6, 2: 4e-6}


def parametrized(rows):
    return pytest.mark.parametrize("row", rows, ids=[row["name"] for row in rows])


def sample_pair(row, n):
    x, y = samples(row["domain"], n), samples(row["domain"], n, shift=0.37)
    assert np.all(x != y)
    return x, y


def test_every_function_has_a_reference():
    known = {**dict.fromkeys(UNARY, 1), **dict.fromkeys([*BINARY, *COMPARE], 2)}
    table = {row["name"]: row["arity"] for row in ROWS}
    missing = sorted(set(table) - set(known))
    assert not missing, (
        f"elementwise.def has functions that tests/reference.py does not define independently: {missing}"
    )
    assert table == known


@pytest.mark.parametrize("order", range(5))
@parametrized(UNARY_ROWS)
def test_unary(row, order):
    x = samples(row["domain"], 16)
    want = derivatives(row["name"], (order,), x)
    for modes in all_modes(order):
        got = nest(getattr(ops, row["name"]), modes)(as_double(x))
        assert got.dtype == ev.float64
        assert_close(got, want, RTOL[order], err_msg=modes)


@pytest.mark.parametrize("order", range(5))
@parametrized(BINARY_ROWS)
def test_binary(row, order):
    """All partial derivatives, in every order of differentiation and combination of modes."""
    x, y = sample_pair(row, 8)
    for positions in itertools.product((0, 1), repeat=order):
        orders = (positions.count(0), positions.count(1))
        want = derivatives(row["name"], orders, x, y)
        for modes in all_modes(order):
            got = nest(getattr(ops, row["name"]), modes, positions)(as_double(x), as_double(y))
            assert_close(got, want, RTOL[order], err_msg=f"{modes} in arguments {positions}")


@pytest.mark.parametrize("order", range(1, 5))
@parametrized(BINARY_ROWS)
def test_binary_in_both_arguments(row, order):
    """Along a line on which both arguments move, with gradients of both taken at once."""
    x, y = sample_pair(row, 8)
    v, w = samples((-1, 1), 8, shift=0.1), samples((-1, 1), 8, shift=0.7)
    terms = [
        math.comb(order, i) * derivatives(row["name"], (order - i, i), x, y) * v ** (order - i) * w**i
        for i in range(order + 1)
    ]
    fn = getattr(ops, row["name"])

    def along_line(t):
        return fn(as_double(x) + t * as_double(v), as_double(y) + t * as_double(w))

    for modes in all_modes(order):
        got = nest(along_line, modes)(as_double(np.zeros(8)))
        np.testing.assert_allclose(
            got.asnumpy(), sum(terms), 0, RTOL[order] * np.abs(terms).sum(0).max(), err_msg=modes
        )


@pytest.mark.parametrize("order", range(3))
@parametrized([row for row in ROWS if row["name"] not in COMPARE])
def test_float32(row, order):
    points = (samples(row["domain"], 16),) if row["arity"] == 1 else sample_pair(row, 8)
    points = [p.astype(np.float32) for p in points]
    for positions in itertools.product(range(row["arity"]), repeat=order):
        orders = tuple(positions.count(i) for i in range(row["arity"]))
        want = derivatives(row["name"], orders, *points)
        for modes in all_modes(order):
            got = nest(getattr(ops, row["name"]), modes, positions)(*map(Tensor, points))
            assert got.dtype == ev.float32
            assert_close(got, want, RTOL32[order], err_msg=f"{modes} in arguments {positions}")


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, -1, -2, 0.0, 1.0, 2.0, 0.5, -0.5, 1.5, 2.5, -1.5])
def test_power_of_a_number(exponent):
    """Powers of a constant exponent, some of which are functions of their own."""
    x = samples((0.3, 2.5), 8)
    for order in range(5):
        falling = np.prod([exponent - i for i in range(order)])
        want = falling * x ** (exponent - order)
        for modes in all_modes(order):
            for power in (lambda t: t**exponent, lambda t: ops.pow(t, exponent)):
                assert_close(nest(power, modes)(as_double(x)), want, 1e-14, err_msg=modes)


def test_exponential_of_a_number():
    x = samples((-2, 2), 8)
    for order in range(5):
        want = np.log(3) ** order * 3**x
        for modes in all_modes(order):
            assert_close(nest(lambda t: 3.0**t, modes)(as_double(x)), want, 1e-14, err_msg=modes)


@pytest.mark.parametrize("name", COMPARE)
def test_comparisons(name):
    fn = getattr(ops, name)
    values = [-2.0, -1.0, -0.0, 0.0, 1.0, 2.0, np.inf, -np.inf, np.nan]
    x, y = map(np.array, zip(*itertools.product(values, values), strict=True))
    for dtype in (np.float64, np.float32):
        got = fn(Tensor(x.astype(dtype)), Tensor(y.astype(dtype)))
        assert got.dtype == ev.bool_
        np.testing.assert_array_equal(got.asnumpy(), COMPARE[name](x, y))
    for dtype in (np.int32, np.int64, bool):
        i, j = (np.nan_to_num(a, posinf=7, neginf=-7).astype(dtype) for a in (x, y))
        np.testing.assert_array_equal(fn(Tensor(i), Tensor(j)).asnumpy(), COMPARE[name](i, j))


@pytest.mark.parametrize("name", COMPARE)
def test_comparisons_stop_derivatives(name):
    """A boolean has no derivative; what follows it gets none from before it."""
    fn = getattr(ops, name)
    x, y = as_double([1.0, 2.0]), as_double([2.0, 2.0])
    with pytest.raises(ev.DTypeError):
        ev.grad(fn)(x, y)
    np.testing.assert_array_equal(
        ev.grad(lambda a: ops.cast(fn(a, y), ev.float64) * a)(x), ops.cast(fn(x, y), ev.float64)
    )
    assert ev.jvp(lambda a: fn(a, y), x, x)[1].asnumpy().tolist() == [0, 0]


# ---- shapes ---------------------------------------------------------------------------------------------------------

SHAPES = hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=4, min_side=0, max_side=4)


def points_of(row, shape, shift=0.0):
    return samples(row["domain"], int(np.prod(shape)), shift).reshape(shape)


@parametrized(BINARY_ROWS)
@settings(max_examples=15)
@given(shapes=SHAPES)
def test_broadcasting(row, shapes):
    fn = getattr(ops, row["name"])
    x, y = points_of(row, shapes.input_shapes[0]), points_of(row, shapes.input_shapes[1], 0.37)
    got = fn(as_double(x), as_double(y)).asnumpy()
    shape = np.broadcast_shapes(x.shape, y.shape)
    flat = fn(as_double(np.broadcast_to(x, shape).ravel()), as_double(np.broadcast_to(y, shape).ravel()))
    np.testing.assert_array_equal(got, flat.asnumpy().reshape(shape))


NUMPY_FUNCTIONS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "less": np.less}


@pytest.mark.parametrize("name", NUMPY_FUNCTIONS)
@given(shapes=SHAPES, data=st.data())
def test_broadcasting_like_numpy(name, shapes, data):
    """Exact functions, on operands with any strides."""
    arrays = []
    for shape in shapes.input_shapes[:2]:
        axes = data.draw(st.permutations(range(len(shape))))
        a = np.empty([shape[i] for i in axes]).transpose(np.argsort(axes))
        a[...] = np.random.default_rng(a.size).integers(1, 9, shape)
        arrays.append(a[(slice(None, None, data.draw(st.sampled_from([1, -1]))),) * len(shape)])
    got = getattr(ops, name)(*map(Tensor, arrays)).asnumpy()
    want = NUMPY_FUNCTIONS[name](*arrays)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


@given(shapes=SHAPES)
def test_where(shapes):
    rng = np.random.default_rng(0)
    mask, x, y = rng.random(shapes.input_shapes[0]) < 0.5, *(rng.random(s) for s in shapes.input_shapes[1:])
    got = ops.where(Tensor(mask), as_double(x), as_double(y)).asnumpy()
    np.testing.assert_array_equal(got, np.where(mask, x, y))
    check_adjoint(lambda a, b: ops.where(Tensor(mask), a, b), x, y)


@parametrized(DIFFERENTIABLE)
@settings(max_examples=10)
@given(shapes=SHAPES)
def test_adjoint(row, shapes):
    points = [points_of(row, s, 0.37 * i) for i, s in enumerate(shapes.input_shapes[: row["arity"]])]
    check_adjoint(getattr(ops, row["name"]), *points)


@parametrized([row for row in DIFFERENTIABLE if row["arity"] == 2])
@settings(max_examples=5)
@given(shapes=SHAPES)
def test_adjoint_of_a_derivative(row, shapes):
    """The derivative kernels broadcast three operands."""
    fn = getattr(ops, row["name"])
    x, y, v = (points_of(row, s, 0.37 * i) for i, s in enumerate(shapes.input_shapes))

    def tangent(x, y, v):
        return ev.jvp(lambda z: fn(z, y), x, v * ops.ones_like(x))[1] + ev.jvp(lambda z: fn(x, z), y, y)[1]

    if np.broadcast_shapes(x.shape, v.shape) == x.shape:
        check_adjoint(tangent, x, y, v)


# ---- kernels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@parametrized([row for row in ROWS if row["name"] in NUMPY])
def test_long_arrays(row, dtype):
    """The same values whether elements come in vectors, in what is left over behind them, or with gaps between."""
    n = 1003
    points = [samples(row["domain"], n, 0.37 * i).astype(dtype) for i in range(row["arity"])]
    fn = getattr(ops, row["name"])
    got = fn(*map(Tensor, points)).asnumpy()
    assert got.dtype == dtype
    want = NUMPY[row["name"]](*(p.astype(np.float64) for p in points))
    assert_close(got, want, 2e-15 if dtype is np.float64 else 5e-7)
    with_gaps = [ev.from_numpy(np.repeat(p, 3)[::3]) for p in points]
    backwards = [ev.from_numpy(p[::-1]) for p in points]
    np.testing.assert_array_equal(fn(*with_gaps).asnumpy(), got)
    np.testing.assert_array_equal(fn(*backwards).asnumpy(), got[::-1])
    for size in (1, 2, 3, 7, 17):
        np.testing.assert_array_equal(fn(*(Tensor(p[-size:]) for p in points)).asnumpy(), got[-size:])
    if row["arity"] == 2:
        x, y = points
        for a, b in ((x[:1], y), (x, y[:1])):
            full = fn(*map(Tensor, np.broadcast_arrays(a, b))).asnumpy()
            np.testing.assert_array_equal(fn(Tensor(a), Tensor(b)).asnumpy(), full)


@pytest.mark.parametrize("order", [1, 2])
@parametrized(DIFFERENTIABLE)
def test_derivatives_of_long_arrays(row, order):
    points = [samples(row["domain"], 1003, 0.37 * i) for i in range(row["arity"])]
    fn = getattr(ops, row["name"])
    for position in range(row["arity"]):
        for modes in all_modes(order):
            derivative = nest(fn, modes, (position,) * order)
            got = derivative(*map(as_double, points)).asnumpy()
            few = [derivative(*(as_double(p[i : i + 3]) for p in points)).asnumpy() for i in range(0, 1003, 3)]
            np.testing.assert_array_equal(got, np.concatenate(few))


# ---- spellings ------------------------------------------------------------------------------------------------------


@parametrized(ROWS)
def test_class_style(row):
    points = [points_of(row, (5,), 0.37 * i) for i in range(row["arity"])]
    primitive, fn = getattr(ops, row["class_name"])(), getattr(ops, row["name"])
    tensors = list(map(as_double, points))
    np.testing.assert_array_equal(primitive(*tensors).asnumpy(), fn(*tensors).asnumpy())
    with pytest.raises(TypeError):
        fn(*tensors, tensors[0])


def test_operators():
    x, y = as_double([1.5, -2.5, 3.0]), as_double([2.0, 0.5, 3.0])
    a, b = x.asnumpy(), y.asnumpy()
    pairs = [
        (x + y, a + b),
        (x - y, a - b),
        (x * y, a * b),
        (x / y, a / b),
        (x // y, a // b),
        (x % y, a % b),
        (abs(x) ** y, abs(a) ** b),
        (-x, -a),
        (+x, a),
        (2 - x, 2 - a),
        (2 / x, 2 / a),
        (2**x, 2**a),
        (2.5 // x, 2.5 // a),
        (2.5 % x, 2.5 % a),
        (x == y, a == b),
        (x != y, a != b),
        (x < y, a < b),
        (x <= y, a <= b),
        (x > y, a > b),
        (x >= y, a >= b),
        (1.5 < x, a > 1.5),  # noqa: SIM300
        ((x > 0) & (y > 1), (a > 0) & (b > 1)),
        ((x > 0) | (y > 1), (a > 0) | (b > 1)),
        ((x > 0) ^ (y > 1), (a > 0) ^ (b > 1)),
        (~(x > 0), ~(a > 0)),
    ]
    for got, want in pairs:
        np.testing.assert_allclose(got.asnumpy(), want, rtol=1e-15)
        assert got.asnumpy().dtype == want.dtype
    assert len(NAMES) == len(set(NAMES))
