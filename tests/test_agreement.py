"""All transforms agree with each other, on random programs, at orders 1 to 4."""

import numpy as np
import pytest
from checks import all_modes, along, as_double, nest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import interpret, programs

import evolute as ev
from evolute import ops

rng = np.random.default_rng(0)
X, V = (as_double(rng.uniform(-1, 1, (3, 3))) for _ in range(2))
T = as_double(0.1)


def by_linearize(f):
    return lambda t: ev.linearize(f, t)[1](ops.ones_like(t))


def by_transpose(f):
    return lambda t: ev.linear_transpose(ev.linearize(f, t)[1], t)(ops.ones_like(t))[0]


def by_vmap(f):
    """One example of two, differentiated and mapped."""
    return lambda t: ev.vmap(ev.grad(f))(ops.stack([t, 2 * t]))[0]


def under_vmap(f):
    """A function that is mapped first, and differentiated then."""
    return lambda t: ev.grad(lambda t: ev.vmap(f)(ops.stack([t, 2 * ops.stop_gradient(t)]))[0])(t)


def by_custom_vjp(f):
    own = ev.custom_vjp(f)
    own.defvjp(lambda t: (own(t), t), lambda t, g: (g * along(f, "f")(t),))
    return ev.grad(own)


def by_custom_jvp(f):
    own = ev.custom_jvp(f)
    own.defjvps(lambda d, out, t: d * ev.grad(f)(t))
    return along(own, "f")


def by_checkpoint(f):
    return ev.grad(ev.checkpoint(f))


def by_scan(f):
    return ev.grad(
        lambda t: ops.scan(lambda c, k: (c + k * f(t), None), 0 * t, as_double([0.25, 0.75]), checkpoint=1)[0]
    )


def by_jacobian(f):
    return lambda t: ev.jacobian(lambda x: ops.reshape(f(x[0]), (1,)))(ops.reshape(t, (1,)))[0, 0]


def by_jet(f):
    """The first derivative of three that are computed together."""
    return lambda t: ev.jet(f, t, [ops.ones_like(t), None, ops.ones_like(t)])[1][0]


def by_hook(f):
    return ev.grad(lambda t: f(ops.InsertGradientOf(lambda g: g)(t)))


WAYS = {
    "reverse": ev.grad,
    "forward": lambda f: along(f, "f"),
    **{
        way.__name__: way
        for way in (
            *(by_linearize, by_transpose, by_vmap, under_vmap, by_custom_vjp, by_custom_jvp, by_checkpoint, by_scan),
            *(by_jacobian, by_jet, by_hook),
        )
    },
}


def on_line(program):
    return lambda t: ops.sum(interpret(program, X + t * V))


def close(got, want, scale, what):
    assert abs(got.item() - want) <= 1e-9 * (scale + abs(want)), f"{what}: {got.item()!r}, expected {want!r}"


@settings(max_examples=30, deadline=None)
@given(programs, st.lists(st.sampled_from(sorted(WAYS)), min_size=4, max_size=4))
def test_nested_ways(program, ways):
    f = g = on_line(program)
    scale = 1.0
    for k, way in enumerate(ways):
        want = nest(f, "f" * (k + 1))(T).item()
        scale = max(scale, abs(want))
        g = WAYS[way](g)
        close(g(T), want, scale, ways[: k + 1])


@settings(max_examples=15, deadline=None)
@given(programs, st.lists(st.sampled_from(sorted(WAYS)), min_size=3, max_size=3))
def test_nested_ways_recorded(program, ways):
    f = g = on_line(program)
    for k, way in enumerate(ways):
        want = nest(f, "f" * (k + 1))(T).item()
        g = WAYS[way](g)
        close(ev.jit(g)(T), want, max(1.0, abs(want)), ways[: k + 1])


@settings(max_examples=8, deadline=None)
@given(programs)
def test_all_nestings_of_both_modes(program):
    f = on_line(program)
    scale = 1.0
    for order in range(1, 5):
        want = nest(f, "f" * order)(T).item()
        scale = max(scale, abs(want))
        for modes in all_modes(order):
            close(nest(f, modes)(T), want, scale, modes)


@settings(max_examples=15, deadline=None)
@given(programs)
def test_orders_taken_at_once(program):
    """Taylor mode of order 4 beside nested derivatives."""
    f = on_line(program)
    _, derivatives = ev.jet(f, T, [ops.ones_like(T), None, None, None])
    scale = 1.0
    for order, got in enumerate(derivatives, 1):
        want = nest(f, "f" * order)(T).item()
        scale = max(scale, abs(want))
        close(got, want, scale, order)


@pytest.mark.parametrize("way", WAYS)
def test_each_way_against_an_exact_value(way):
    g = ops.sin
    exact = [np.cos, lambda t: -np.sin(t), lambda t: -np.cos(t), np.sin]
    for k in range(4):
        g = WAYS[way](g)
        close(g(T), exact[k](0.1), 1.0, (way, k + 1))
