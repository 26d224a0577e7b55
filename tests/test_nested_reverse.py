"""Reverse mode over reverse mode, recorded: sweeps that push tangents forward instead, where that gives the same.

Eager mode always pulls back, so it is what recorded derivatives are compared with.
"""

from __future__ import annotations

import re

import mpmath
import numpy as np
import pytest
from checks import as_double, assert_close, nest, random_arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import interpret, programs

import evolute as ev
from evolute import ops

X = as_double(np.linspace(-0.8, 0.9, 12))
WEIGHTS = [as_double(0.6 * w) for w in random_arrays(1, (2, 5), (5, 5), (5, 1))]


def chain(x, m=ops):
    for _ in range(2):
        x = m.sin(x) * m.exp(-x * x / 2)
        x = m.tanh(x) / (1.5 + x * x) + 0.3 * x
    return (x * x + 1) ** 1.5


def network(x):
    for w in WEIGHTS[:-1]:
        x = ops.tanh(ops.matmul(x, w) + 0.1)
    return ops.matmul(x, WEIGHTS[-1])


def summed(f, order):
    """Gradient of a sum, `order` times over."""
    for _ in range(order):
        f = (lambda g: ev.grad(lambda *args: ops.sum(g(*args))))(f)
    return f


def first_column(f, order):
    """Derivatives by the first column of a matrix of points."""
    for _ in range(order):
        f = (lambda g: lambda x: ev.grad(lambda z: ops.sum(g(z)))(x)[:, :1])(f)
    return f


def both_inputs(f, order):
    for _ in range(order):
        f = (lambda g: lambda x, t: ops.GradOperation(get_all=True)(g)(x, t)[0])(f)
    return f


def alternating(f, order):
    return nest(f, ("rf" * order)[:order])


def recorded_operations(f, *args):
    """How many operations are recorded, before any pass."""
    f = ev.jit(f)
    f(*args)
    return int(re.findall(r"(\d+) → ", f.explain())[0])


COLUMN = as_double(np.linspace(-0.8, 0.9, 7).reshape(7, 1))
TIMES = as_double(np.linspace(0, 1, 7).reshape(7, 1))
POINTS = ops.concat([COLUMN, TIMES], 1)


def of_column(x):
    return network(ops.concat([x, ops.square(x)], 1))


def of_both(x, t):
    return network(ops.concat([x, t], 1))


NESTS = {
    "elementwise": (lambda k: nest(chain, "r" * k), (X,)),
    "sums": (lambda k: summed(chain, k), (X,)),
    "means": (lambda k: summed(lambda x: ops.mean(chain(x)), k), (X,)),
    "one number": (lambda k: nest(lambda x: ops.sum(ops.cumsum(chain(x * X[:3]), 0)), "r" * k), (as_double(0.4),)),
    "network of one column": (lambda k: nest(of_column, "r" * k), (COLUMN,)),
    "network of two columns, by one": (lambda k: nest(of_both, "r" * k), (COLUMN, TIMES)),
    "network of two columns, by both": (lambda k: both_inputs(of_both, k), (COLUMN, TIMES)),
    "network of a matrix": (lambda k: first_column(network, k), (POINTS,)),
    "rows that mix": (lambda k: summed(lambda x: ops.sum(ops.softmax(chain(x), 0) * ops.cumsum(x, 0)), k), (X,)),
    "alternating modes": (lambda k: alternating(chain, k), (X,)),
}


# ---- growth ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NESTS)
def test_operations_grow_polynomially(name):
    """Pulled back one over the other, derivatives of order 8 have some 3⁷ times as many operations as the first."""
    make, args = NESTS[name]
    fourth, eighth = (recorded_operations(make(k), *args) for k in (4, 8))
    assert eighth < 2**4.2 * fourth  # less than k^4.2 between orders 4 and 8; pulled back, 3⁴


@pytest.mark.parametrize("name", NESTS)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_against_the_plain_sweep(name, order):
    make, args = NESTS[name]
    f = make(order)
    assert_close(ev.jit(f)(*args).asnumpy(), f(*args).asnumpy(), 1e-9, 1e-11)


@pytest.mark.parametrize("order", range(1, 9))
def test_against_mpmath_and_forward_mode(order):
    points = [-0.7, 0.1, 0.6]

    def f(x, m=ops):
        return m.exp(m.sin(2 * x)) / (2 + x * x)

    with mpmath.workdps(60):
        want = [float(mpmath.diff(lambda x: f(x, mpmath), mpmath.mpf(x), order)) for x in points]
    x = as_double(points)
    forward = ev.jit(nest(f, "f" * order))(x).asnumpy()
    for g in (nest(f, "r" * order), summed(f, order), alternating(f, order)):
        got = ev.jit(g)(x).asnumpy()
        assert_close(got, want, 1e-10)
        assert_close(got, forward, 1e-11)


# ---- what must be pulled back ----------------------------------------------------------------------------------------

MIXING = {
    "a sum over rows": lambda x: x * ops.sum(ops.sin(x), axis=0),
    "a mean over rows, broadcast": lambda x: ops.tanh(x - ops.mean(x, axis=0, keepdims=True)),
    "gathered rows": lambda x: x[[2, 0, 1, 1]] * ops.sin(x),
    "reversed rows": lambda x: ops.flip(x, 0) * ops.exp(x),
    "a transpose": lambda x: ops.matmul(x, ops.sin(x).T),
    "rows beside columns": lambda x: x[:, :1] * ops.sin(x[:, :1].T),
    "a traced weight": lambda x: ops.matmul(as_double(np.arange(16.0).reshape(4, 4)), ops.sin(x)),
    "a weight made of the input": lambda x: ops.tanh(ops.matmul(x, x.T)),
    "a sum along the rows and back": lambda x: ops.cumsum(x, 0) ** 3,
    "shifted rows": lambda x: ops.concat([x[1:], x[:1]]) * x**2,
}


@pytest.mark.parametrize("name", MIXING)
@pytest.mark.parametrize("shape", [(4, 1), (4,), (4, 4)])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_rows_that_mix(name, shape, order):
    f = MIXING[name]
    if len(shape) == 1:
        f = (lambda g: lambda x: g(x.reshape(4, 1)))(f)
    x = as_double(np.linspace(-0.7, 0.8, int(np.prod(shape))).reshape(shape))
    for make in (lambda f: nest(f, "r" * order), lambda f: summed(lambda x: f(x) * ops.sin(ops.sum(x)), order)):
        g = make(f)
        assert_close(ev.jit(g)(x).asnumpy(), g(x).asnumpy(), 1e-10, 1e-10)


def test_one_number_for_all_rows():
    x = as_double([0.3])

    def f(x):
        return ops.sin(x * as_double(np.arange(5.0).reshape(5, 1))) * x

    for order in (1, 2, 3):
        g = nest(f, "r" * order)
        assert_close(ev.jit(g)(x).asnumpy(), g(x).asnumpy(), 1e-11)


SHAPES = [(3, 3), (3, 1), (9,), (3,), ()]


@settings(max_examples=60)
@given(program=programs, shape=st.sampled_from(SHAPES), order=st.integers(2, 3), weighted=st.booleans())
def test_random_programs(program, shape, order, weighted):
    """Programs that mix rows, broadcast the input, and use it in several places."""
    start = as_double(np.linspace(-0.8, 0.9, 9).reshape(3, 3)[:, [2, 0, 1]])
    x = as_double(np.linspace(-0.7, 0.8, int(np.prod(shape))).reshape(shape))

    def f(x):
        z = x.reshape(3, 3) if x.size == 9 else x
        y = interpret(program, start * z)
        return y * ops.sin(start + z) if weighted else y

    g = summed(f, order)
    assert_close(ev.jit(g)(x).asnumpy(), g(x).asnumpy(), 1e-9, 1e-9)


# ---- the Jacobian of a gradient is symmetric, where it is a gradient ------------------------------------------------


def mixing(z):
    return ops.sum(ops.softmax(ops.sin(z), 0) * ops.cumsum(z, 0) * z)


def outer(x, y):
    return ops.sum(ops.sin(x * ops.cumsum(y, 0)))


def gradient_made_within(x, mapped):
    """Make the first gradient under a transform that the second depends on, and keep it beyond that."""
    kept = []

    def along(t):
        first, second = ev.grad(lambda a, b: outer(a, b) + t * ops.sum(b), (0, 1))(ops.sin(x), x)
        kept.append(first)
        return ops.sum(second) * t

    slope = ops.sum(ev.vmap(along)(X[:3])) if mapped else ev.grad(along)(as_double(0.7))
    return kept[0] + slope


OTHERS = {
    "a derivative in between": lambda x: gradient_made_within(x, False),
    "examples in between": lambda x: gradient_made_within(x, True),
    "the input also beside the gradient": lambda x: ev.grad(lambda z: outer(z, x))(x),
    "the input also in what is made beside": lambda x: (lambda y: ev.grad(lambda z: outer(z, y) + mixing(z))(x))(
        ops.sin(x)
    ),
    "the gradient at another point": lambda x: ev.grad(mixing)(ops.cumsum(ops.sin(x), 0)),
    "cotangents of the input": lambda x: ev.vjp(lambda z: ops.cumsum(z**3, 0), x, ops.sin(x))[1],
    "constant cotangents": lambda x: ev.vjp(lambda z: ops.cumsum(z**3, 0), x, X[:4])[1],
    "powers of gradients": lambda x: ev.grad(mixing)(x) ** 2 * x,
    "gradients by two inputs": lambda x: ops.concat(ev.grad(outer, (0, 1))(ops.sin(x), x), 0),
    "the same input twice": lambda x: ops.concat(ev.grad(outer, (0, 1))(x, x), 0),
    "a product": lambda x: ops.concat(ev.grad(lambda a, b: ops.sum(a * b), (0, 1))(x, x * x), 0),
    "forward mode between": lambda x: ev.jvp(ev.grad(mixing), x, ops.cos(x))[1],
    "stopped gradients": lambda x: ev.grad(lambda z: mixing(z * ops.stop_gradient(ops.sin(z))))(x),
    "many gradients of one function": lambda x: ev.jacrev(lambda z: ops.cumsum(ops.sin(z) * z, 0))(x),
    "ties": lambda x: ev.grad(lambda z: ops.sum(ops.maximum(z, 0.3) * ops.max(z) * ops.relu(z)))(x),
    "a loop": lambda x: ev.grad(lambda z: ops.sum(ops.fori_loop(0, 3, lambda i, c: ops.sin(c) * ops.cumsum(c, 0), z)))(
        x
    ),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_functions_of_gradients(name, order):
    x = as_double([0.4, -0.2, 0.9, 0.3])
    g = summed(lambda x: ops.sum(OTHERS[name](x) * ops.sin(ops.sum(x))), order)
    assert_close(ev.jit(g)(x).asnumpy(), g(x).asnumpy(), 1e-10, 1e-10)


@pytest.mark.parametrize("name", OTHERS)
def test_jacobians_of_gradients(name):
    """Column by column and row by row: differences would show which of the two is meant."""
    x = as_double([0.4, -0.2, 0.9, 0.3])
    g = ev.jacrev(OTHERS[name])
    assert_close(ev.jit(g)(x).asnumpy(), ev.jacfwd(OTHERS[name])(x).asnumpy(), 1e-11, 1e-11)
    assert_close(ev.jit(g)(x).asnumpy(), g(x).asnumpy(), 1e-11, 1e-11)


LINEAR_ALGEBRA = {
    "det": ops.det,
    "inverse": lambda a: ops.inv(a),
    "cholesky": lambda a: ops.cholesky(ops.matmul(a, a.T) + 2 * ops.eye(3, dtype=ev.float64)),
    "cholesky of the input": lambda a: ops.cholesky(a),
    "solve": lambda a: ops.solve(a, ops.sin(a)),
    "prod": lambda a: ops.prod(a, 0),
    "diagonal": lambda a: ops.diagonal(ops.matmul(a, a)),
}


@pytest.mark.parametrize("name", LINEAR_ALGEBRA)
def test_gradients_through_linear_algebra(name):
    f = LINEAR_ALGEBRA[name]
    a = as_double([[2.0, 0.3, -0.1], [0.3, 1.5, 0.2], [-0.1, 0.2, 1.8]])
    for order in (2, 3):
        g = summed(lambda a: ops.sin(f(a)), order)
        assert_close(ev.jit(g)(a).asnumpy(), g(a).asnumpy(), 1e-10, 1e-10)
    g = ev.jacrev(ev.grad(lambda a: ops.sum(ops.sin(f(a)) ** 2)))
    assert_close(ev.jit(g)(a).asnumpy(), g(a).asnumpy(), 1e-10, 1e-10)


def test_parameter_gradients_of_nested_derivatives():
    """As in a physics-informed network: derivatives by the points, then the gradient by the weights."""

    def loss(weights, x, t):
        def u(x, t):
            return ops.matmul(ops.tanh(ops.matmul(ops.concat([x, t], 1), weights[0])), weights[1])

        u_x, u_t = ev.grad(u, (0, 1))(x, t)
        u_xxx = nest(u, "rrr")(x, t)
        return ops.mean(ops.square(u_t + 6 * u(x, t) * u_x + u_xxx))

    weights = tuple(as_double(w) for w in random_arrays(4, (2, 6), (6, 1)))
    step = ev.grad(loss)
    for got, want in zip(ev.jit(step)(weights, COLUMN, TIMES), step(weights, COLUMN, TIMES), strict=True):
        assert_close(got.asnumpy(), want.asnumpy(), 1e-11)
