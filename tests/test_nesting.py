"""Derivatives of derivatives: levels are kept apart, all orders of modes agree, graph mode gives what eager does."""

from __future__ import annotations

import itertools

import mpmath
import numpy as np
import pytest
from checks import all_modes, as_double, assert_close, nest
from hypothesis import given
from hypothesis import strategies as st
from programs import interpret, programs

import evolute as ev
from evolute import Tensor, ops

TOLERANCE = {1: 1e-14, 2: 1e-13, 3: 1e-12, 4: 1e-11, 5: 1e-10}


def reverse(f):
    return ev.grad(f)


def forward(f):
    return lambda x: ev.jvp(f, x, ops.ones_like(x))[1]


def forward_by_pullback(f):
    """J v as the derivative of the pullback u ↦ Jᵀ u, applied to v."""

    def derivative(x):
        one = ops.ones_like(x)
        _, pull = ev.vjp(f, x)
        return ev.vjp(pull, one)[1](one)

    return derivative


def recorded(f):
    return ev.jit(ev.grad(f))


MODES = [reverse, forward, forward_by_pullback, recorded]


# ---- perturbation confusion ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", MODES)
@pytest.mark.parametrize("outer", MODES)
@pytest.mark.parametrize("at", [-2.0, 0.0, 3.0])
def test_the_textbook_example(outer, inner, at):
    """d/dx (x · d/dy (x + y)) = 1."""
    assert outer(lambda x: x * inner(lambda y: x + y)(as_double(1.0)))(as_double(at)).item() == 1.0


@pytest.mark.parametrize("inner", MODES)
@pytest.mark.parametrize("outer", MODES)
def test_a_constant_of_the_inner_function_that_varies_in_the_outer(outer, inner):
    # d/dx (x² · d/dy (x y²)) = d/dx 2 x³ y = 6 x² y at y = x taken as a number of its own
    x = as_double(3.0)
    assert outer(lambda x: x * x * inner(lambda y: x * y * y)(as_double(5.0)))(x).item() == 6 * 9 * 5.0
    # ... and at y = x as the same quantity: d/dx 2 x⁴ = 8 x³
    assert outer(lambda x: x * x * inner(lambda y: x * y * y)(x))(x).item() == 8 * 27.0


@pytest.mark.parametrize("modes", list(itertools.product(MODES[:3], repeat=3)))
def test_three_levels_that_all_meet(modes):
    a, b, c = modes
    # d/dx d/dy d/dz x y z · x y² z³ = 2·3·4 x y² z³
    f = a(lambda x: b(lambda y: c(lambda z: x * y * z * x * y**2 * z**3)(as_double(2.0)))(as_double(3.0)))
    assert f(as_double(5.0)).item() == 2 * 5 * 3 * 9 * 4 * 8.0


def test_the_same_name_at_both_levels():
    def f(x):
        return x * ev.grad(lambda x: x * x)(x)

    assert ev.grad(f)(as_double(3.0)).item() == 12.0


def test_a_function_that_differentiates_by_its_closure_only():
    def f(x):
        return ev.grad(lambda y: ops.sin(x))(x)

    assert ev.grad(f)(as_double(1.0)).item() == 0.0


def test_a_parameter_at_two_levels():
    w = ev.Parameter(np.array(3.0), name="w")

    def inner(x):
        return x * x * w * w

    def outer(x):
        by_x, by_w = ev.grad(inner, 0, weights=w)(x)  # 2 x w², 2 x² w
        return by_x * by_w  # 4 x³ w³

    by_x, by_w = ev.grad(outer, 0, weights=w)(as_double(2.0))
    assert by_x.item() == 12 * 4 * 27.0
    assert by_w.item() == 12 * 8 * 9.0
    assert w.asnumpy() == 3.0


# ---- orders 1 to 5 against mpmath ------------------------------------------------------------------------------------


def composed(m, x):
    return m.exp(m.sin(3 * x)) / (1 + x * x) + m.log(2 + x) * m.tanh(x * x - 0.3)


POINTS = [-0.9, 0.2, 1.7]


@pytest.mark.parametrize("order", TOLERANCE)
def test_mixed_modes_against_mpmath(order):
    with mpmath.workdps(40):
        want = [float(mpmath.diff(lambda x: composed(mpmath, x), mpmath.mpf(x), order)) for x in POINTS]
    choices = (
        all_modes(order) if order < 4 else ["r" * order, "f" * order, "rf" * 3, "fr" * 3, "ffrrr", "rrrff", "rfffr"]
    )
    for modes in dict.fromkeys(m[:order] for m in choices):
        got = nest(lambda x: composed(ops, x), modes)(as_double(POINTS))
        assert_close(got.asnumpy(), want, TOLERANCE[order], err_msg=modes)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_recorded_derivatives_against_mpmath(order):
    with mpmath.workdps(40):
        want = [float(mpmath.diff(lambda x: composed(mpmath, x), mpmath.mpf(x), order)) for x in POINTS]
    for modes in all_modes(order):
        got = ev.jit(nest(lambda x: composed(ops, x), modes))(as_double(POINTS))
        assert_close(got.asnumpy(), want, TOLERANCE[order], err_msg=modes)


def test_mixed_partial_derivatives_of_several_variables():
    def f(x, y, z):
        return ops.sin(x * y) * ops.exp(z * x) + y / z

    with mpmath.workdps(30):
        reference = mpmath.diff(
            lambda x, y, z: mpmath.sin(x * y) * mpmath.exp(z * x) + y / z, (0.3, 0.7, 1.1), (2, 1, 1)
        )
    args = [as_double(v) for v in (0.3, 0.7, 1.1)]
    for positions in set(itertools.permutations((0, 0, 1, 2))):
        for modes in ("rrrr", "ffff", "rfrf", "ffrr"):
            assert_close(
                nest(f, modes, positions)(*args).item(), float(reference), 1e-11, err_msg=f"{modes} {positions}"
            )


# ---- random programs -------------------------------------------------------------------------------------------------

X0 = np.linspace(-0.8, 0.9, 9).reshape(3, 3)[:, [2, 0, 1]]
V0 = np.cos(np.arange(9.0)).reshape(3, 3)


@given(programs)
def test_eager_and_recorded_programs_agree(program):
    def loss(x):
        return ops.sum(interpret(program, x))

    x = as_double(X0)
    assert_close(ev.jit(loss)(x).asnumpy(), loss(x).asnumpy(), 1e-13, 1e-14)
    gradient = ev.grad(loss)
    assert_close(ev.jit(gradient)(x).asnumpy(), gradient(x).asnumpy(), 1e-12, 1e-13)

    def curvature(x):
        return ev.jvp(gradient, x, as_double(V0))[1]

    assert_close(ev.jit(curvature)(x).asnumpy(), curvature(x).asnumpy(), 1e-11, 1e-12)


@given(programs)
def test_forward_and_reverse_agree_on_programs(program):
    """Directional derivatives of orders 1 to 3 of a scalar function, by every order of modes at order 2."""

    def along(t):
        return ops.sum(interpret(program, as_double(X0) + t * as_double(V0)))

    zero = as_double(0.0)
    for order, modes in ((1, ["f"]), (2, ["ff", "rf", "fr"]), (3, ["fff", "frf"])):
        want = nest(along, "r" * order)(zero).item()
        for m in modes:
            got = nest(along, m)(zero).item()
            assert got == pytest.approx(want, rel=1e-9, abs=1e-9), m


@given(programs, st.integers(0, 2**32 - 1))
def test_pullbacks_are_the_transpose_of_tangent_maps(program, seed):
    rng = np.random.default_rng(seed)
    u, v = as_double(rng.standard_normal((3, 3))), as_double(rng.standard_normal((3, 3)))

    def f(x):
        return interpret(program, x)

    x = as_double(X0)
    _, tangent = ev.jvp(f, x, v)
    _, cotangent = ev.vjp(f, x, u)
    assert ops.sum(u * tangent).item() == pytest.approx(ops.sum(v * cotangent).item(), rel=1e-10, abs=1e-11)


def test_one_operation_recorded_is_bitwise_the_same():
    x = Tensor(np.linspace(-2, 2, 1001, dtype=np.float32))
    for f in (ops.sin, ops.tanh, ops.exp, ops.sigmoid, ops.square, lambda x: x * x, lambda x: x / (x + 3)):
        assert ev.jit(f)(x).asnumpy().tobytes() == f(x).asnumpy().tobytes()
