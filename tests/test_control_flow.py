"""Branches and loops: eager and recorded, values and derivatives, nesting, what bodies refer to, and errors."""

from __future__ import annotations

import gc
import itertools
import signal
import warnings
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
from checks import all_modes, as_double, assert_close, nest

import evolute as ev
from evolute import Parameter, Tensor, ops

W = as_double([[0.3, 0.2], [0.1, -0.4]])
X0 = as_double([0.1, 0.2])
XS = as_double(np.arange(14.0).reshape(7, 2) / 10)


def recorded(fn, *args):
    """Result of the compiled function, which must not run eagerly."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return ev.jit(fn)(*args)


def assert_same(got, want, rtol=1e-11):
    if isinstance(want, (tuple, list)):
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=True):
            assert_same(g, w, rtol)
    else:
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got.asnumpy(), want.asnumpy(), rtol=rtol, atol=1e-12)


def network(scan):
    """Return a scalar function of initial state, weights and inputs, as a loop of the given kind."""

    def fn(x0, w, xs):
        def step(c, x):
            c = ops.tanh(c @ w + x)
            return c, ops.sum(c * c)

        c, ys = scan(step, x0, xs)
        return ops.sum(c) + ops.sum(ys * ys)

    return fn


def unrolled(f, init, xs, reverse=False):
    ys, order = [], range(len(xs))
    for i in reversed(order) if reverse else order:
        init, y = f(init, xs[i])
        ys.append(y)
    return init, ops.stack(ys[::-1] if reverse else ys)


# ---- scan ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("checkpoint", [None, 1, 2, 3, 7, 100])
def test_scan_agrees_with_the_unrolled_loop(checkpoint, reverse):
    fn = network(lambda f, c, xs: ops.scan(f, c, xs, reverse=reverse, checkpoint=checkpoint))
    plain = network(lambda f, c, xs: unrolled(f, c, xs, reverse))
    args = X0, W, XS
    assert_same(fn(*args), plain(*args))
    assert_same(recorded(fn, *args), plain(*args))
    for f in (lambda f: ev.grad(f, (0, 1, 2)), lambda f: lambda *a: ev.jvp(f, a, (X0, W, XS))):
        assert_same(f(fn)(*args), f(plain)(*args))
        assert_same(recorded(f(fn), *args), f(plain)(*args))

    def third(fn):
        def first(*a):
            return sum(ops.sum(g * g) for g in ev.grad(fn, (0, 1, 2))(*a))

        def second(*a):
            return sum(ops.sum(g * g) for g in ev.grad(first, (0, 1, 2))(*a))

        return ev.grad(second, (0, 1, 2))

    assert_same(recorded(third(fn), *args), third(plain)(*args), rtol=1e-9)


@pytest.mark.parametrize("modes", [m for n in (1, 2, 3) for m in all_modes(n)])
def test_derivatives_of_all_orders_and_modes(modes):
    def fn(x):
        def step(c, k):
            return (ops.sin(c[0] * x) + k * c[1], c[1] * c[0]), c[0] * c[1]

        (a, b), ys = ops.scan(step, (x, x * x), as_double([0.5, -0.2, 0.9, 0.1, 0.3]), checkpoint=2)
        return a * b + ops.sum(ys, 0)

    def plain(x):
        a, b, total = x, x * x, 0.0
        for k in (0.5, -0.2, 0.9, 0.1, 0.3):
            a, b, y = ops.sin(a * x) + k * b, b * a, a * b
            total = total + y
        return a * b + total

    x = as_double(0.7)
    want = nest(plain, modes)(x)
    assert_same(nest(fn, modes)(x), want)
    assert_same(recorded(nest(fn, modes), x), want)


def test_derivatives_against_mpmath():
    def fn(x):
        return ops.fori_loop(0, 6, lambda i, c: ops.sin(c) * (x + i), x)

    def reference(x):
        c = x
        for i in range(6):
            c = mpmath.sin(c) * (x + i)
        return c

    x = as_double(0.4)
    with mpmath.workdps(40):
        for order in (1, 2, 3):
            want = float(mpmath.diff(reference, mpmath.mpf(x.item()), order))
            for modes in ("r" * order, "f" * order):
                assert recorded(nest(fn, modes), x).item() == pytest.approx(want, rel=1e-10)


@pytest.mark.parametrize("dtype", [ev.float32, ev.float64])
def test_dtypes(dtype):
    fn = network(ops.scan)
    args = tuple(Tensor(a.asnumpy(), dtype) for a in (X0, W, XS))
    got = recorded(ev.grad(fn, (0, 1, 2)), *args)
    assert all(g.dtype == dtype for g in got)
    assert_same(got, ev.grad(fn, (0, 1, 2))(*args), rtol=1e-5)


class Pair(NamedTuple):
    a: Tensor
    b: Tensor


def test_structures():
    def fn(x):
        def step(c, xs):
            pair, extra = c["pair"], c["extra"]
            y = {"y": pair.a * xs[0], "none": None}
            return {"pair": Pair(pair.b, pair.a + xs[1]["k"]), "extra": [extra[0] + 1, None]}, y

        init = {"pair": Pair(x, x * 2), "extra": [Tensor(0, ev.int64), None]}
        return ops.scan(step, init, (XS, {"k": XS * 3}))

    for run in (fn, ev.jit(fn)):
        carry, ys = run(X0)
        assert isinstance(carry["pair"], Pair)
        assert carry["extra"][0].item() == 7
        assert carry["extra"][1] is None
        assert ys["none"] is None
        assert ys["y"].shape == (7, 2)


def test_scan_without_xs():
    def fn(x):
        return ops.scan(lambda c, x: (c * 2, None), x, length=5)

    for run in (fn, ev.jit(fn)):
        carry, ys = run(X0)
        assert ys is None
        assert_same(carry, X0 * 32)


@pytest.mark.parametrize("wrap", [lambda f: f, ev.jit])
def test_scan_of_no_steps(wrap):
    def fn(c, xs):
        return ops.scan(lambda c, x: (c + x, (c * x, ops.sum(x))), c, xs)

    carry, (y, s) = wrap(fn)(X0, XS[:0])
    assert_same(carry, X0)
    assert y.shape == (0, 2)
    assert s.shape == (0,)
    gradient = wrap(ev.grad(lambda c, xs: ops.sum(fn(c, xs)[0]), (0, 1)))(X0, XS[:0])
    assert_same(gradient[0], X0 * 0 + 1)
    assert gradient[1].shape == (0, 2)


def test_steps_of_a_recorded_scan_do_not_run_python():
    calls = []

    def step(c, x):
        calls.append(None)
        return c + x, c

    fn = ev.jit(lambda c, xs: ops.scan(step, c, xs))
    fn(X0, XS)
    fn(X0 + 1, XS)
    assert len(calls) == 1


# ---- while_loop and fori_loop ----------------------------------------------------------------------------------------


def newton(x):
    """Return the square root of x, by a number of steps that depends on x."""
    return ops.while_loop(lambda r: ops.abs(r * r - x) > 1e-13 * x, lambda r: (r + x / r) / 2, x)


@pytest.mark.parametrize("modes", [m for n in (1, 2, 3) for m in all_modes(n)])
def test_while_loop_derivatives(modes):
    want = {1: 0.5 * 3**-0.5, 2: -0.25 * 3**-1.5, 3: 0.375 * 3**-2.5}[len(modes)]
    for run in (nest(newton, modes), ev.jit(nest(newton, modes))):
        assert run(as_double(3.0)).item() == pytest.approx(want, rel=1e-9)


def test_the_number_of_steps_is_known_at_run_time():
    fn = ev.jit(lambda x, n: ops.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * x), (Tensor(0), x)))
    for n in (0, 1, 5):
        i, y = fn(as_double(2.0), Tensor(n))
        assert (i.item(), y.item()) == (n, 2.0 ** (n + 1))
    assert fn.compiled.recorded == 1


def test_while_loop_with_coupled_states_and_closures():
    a = Parameter(np.array([0.9, 1.1]), name="a")

    def fn(x, k):
        def body(s):
            u, v, n = s
            return u * 1.3 + ops.sin(u) * v, v * a + k, n + 1

        u, v, n = ops.while_loop(lambda s: ops.sum(s[0]) < 50.0 + ops.sum(k), body, (x, ops.cos(x), Tensor(0)))
        return ops.sum(u * u * v) + n

    x, k = as_double([1.0, 2.0]), as_double([0.1, 0.2])

    def energy(x, k):
        return sum(ops.sum(g * g) for g in ev.grad(fn, (0, 1))(x, k))

    for f in (fn, ev.grad(fn, (0, 1)), ev.grad(energy, (0, 1)), ev.hessian(fn)):
        assert_same(recorded(f, x, k), f(x, k), rtol=1e-9)
    by_weight = ev.grad(fn, None, weights=a)
    assert_same(recorded(by_weight, x, k), by_weight(x, k))


@pytest.mark.parametrize("bounds", [(0, 4), (-2, 3), (3, 3), (5, 2)])
def test_fori_loop(bounds):
    def plain(x):
        c = x
        for i in range(*bounds):
            c = c * x + i
        return c

    def dynamic(x, lower, upper):
        return ops.fori_loop(lower, upper, lambda i, c: c * x + i, x)

    x = as_double([0.5, 2.0])

    def static(x):
        return dynamic(x, *bounds)

    limits = tuple(Tensor(b) for b in bounds)
    for f in (lambda f: f, ev.grad):
        assert_same(f(static)(x), f(plain)(x))
        assert_same(recorded(f(static), x), f(plain)(x))
        assert_same(f(dynamic)(x, *limits), f(plain)(x))
        assert_same(recorded(f(dynamic), x, *limits), f(plain)(x))


def test_the_index_picks_elements():
    def fn(x):
        return ops.fori_loop(0, 3, lambda i, c: c + x[i] * x[i], as_double(0.0))

    x = as_double([1.0, 2.0, 3.0])
    assert recorded(fn, x).item() == fn(x).item() == 14.0
    assert_same(recorded(ev.grad(fn), x), x * 2)


# ---- cond ------------------------------------------------------------------------------------------------------------


def test_cond_runs_one_branch():
    def fn(x):
        return ops.cond(ops.sum(x) > 0, lambda x: ops.sin(x), lambda x: x * x, x)

    compiled = ev.jit(fn)
    for x in (X0, -X0):
        assert_same(compiled(x), fn(x))
        for modes in ("r", "f", "rr", "rf", "fr", "ff", "rrr", "fff"):
            assert_same(recorded(nest(fn, modes), x), nest(fn, modes)(x))
    assert compiled.compiled.recorded == 1


@pytest.mark.parametrize("wrap", [lambda f: f, ev.jit])
def test_the_branch_not_taken_does_not_disturb_derivatives(wrap):
    def fn(x):
        return ops.cond(x > 0, lambda: ops.log(x) * ops.sqrt(x), lambda: x * 2)

    assert wrap(ev.grad(fn))(as_double(0.0)).item() == 2.0
    assert wrap(ev.grad(ev.grad(fn)))(as_double(-1.0)).item() == 0.0


def test_branches_may_refer_to_different_values():
    a, b = Parameter(2.0, name="a"), Parameter(3.0, name="b")

    def fn(x):
        return ops.cond(x > 0, lambda x: a * x, lambda x: b * b * x, x)

    for x, want in ((1.0, (1.0, 0.0)), (-1.0, (0.0, -6.0))):
        for run in (ev.grad(fn, None, weights=(a, b)), ev.jit(ev.grad(fn, None, weights=(a, b)))):
            assert tuple(g.item() for g in run(Tensor(x))) == want


def test_a_known_predicate_is_a_python_branch():
    calls = []

    def branch(x):
        calls.append(None)
        return x

    fn = ev.jit(lambda x: ops.cond(True, branch, lambda x: branch(x[:1]), x))
    assert_same(fn(X0), X0)
    assert len(calls) == 1


# ---- nesting ---------------------------------------------------------------------------------------------------------


def nested():
    def scan_in_scan(x):
        def inner(c, k):
            return (ops.sin(c) * k + x, c)

        def outer(c, k):
            return (lambda r: (r[0] * k, ops.sum(r[1])))(ops.scan(inner, c, XS[:, 0] * k))

        c, ys = ops.scan(outer, x, as_double([0.5, 1.5, 0.7]), checkpoint=2)
        return c + ops.sum(ys)

    def cond_in_scan(x):
        def step(c, k):
            c = ops.cond(c > k, lambda c: ops.sin(c) * x, lambda c: c * c + x, c)
            return c, c

        c, ys = ops.scan(step, x, as_double([0.1, 0.9, 0.3, 0.7, 0.2]))
        return c * ops.sum(ys)

    def while_in_cond(x):
        def loop(x):
            return ops.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + x, ops.sin(s[1]) + x * s[1]), (x, x))[1]

        return ops.cond(x > 0.5, loop, lambda x: x * x, x)

    def cond_in_while(x):
        def step(c):
            return ops.cond(c > 1.5, lambda c: c * 1.5 + x, lambda c: c + ops.cos(x * c), c)

        return ops.while_loop(lambda c: c < 8, step, x)

    def while_in_scan(x):
        def step(c, k):
            c = ops.while_loop(lambda c: c < k * 4, lambda c: c * c + x + 0.5, c)
            return ops.sin(c) * x, c

        c, ys = ops.scan(step, x, as_double([1.0, 0.5, 2.0]))
        return c + ops.sum(ys * ys)

    def gradient_in_scan(x):
        def step(c, k):
            return (ev.grad(lambda c: ops.sin(c * x) * k)(c), None)

        return ops.scan(step, x, as_double([1.0, 0.5, 2.0]))[0]

    return [scan_in_scan, cond_in_scan, while_in_cond, cond_in_while, while_in_scan, gradient_in_scan]


@pytest.mark.parametrize("fn", nested(), ids=lambda f: f.__name__)
@pytest.mark.parametrize("x", [0.3, 0.7])
def test_nested_control_flow(fn, x):
    x = as_double(x)
    assert_same(recorded(fn, x), fn(x))
    for modes in [m for n in (1, 2) for m in all_modes(n)] + ["rrr", "rfr", "fff"]:
        assert_same(recorded(nest(fn, modes), x), nest(fn, modes)(x), rtol=1e-9)


def test_derivatives_against_differences():
    fn = network(lambda f, c, xs: ops.scan(f, c, xs, checkpoint=2))
    gradient = recorded(ev.grad(fn, 1), X0, W, XS).asnumpy()
    h = 1e-6
    for i, j in itertools.product(range(2), repeat=2):
        d = np.zeros((2, 2))
        d[i, j] = h
        above, below = (fn(X0, W + s * d, XS).item() for s in (1, -1))
        assert gradient[i, j] == pytest.approx((above - below) / (2 * h), rel=1e-7)


# ---- what bodies refer to --------------------------------------------------------------------------------------------


def test_traced_values_and_parameters_in_bodies():
    w = Parameter(W.asnumpy(), name="w")

    def fn(x):
        y = ops.sin(x)
        return ops.sum(ops.scan(lambda c, k: (ops.tanh(c @ w) * y + k, None), x, XS)[0])

    for run in (lambda f: f, ev.jit):
        gradient = run(ev.grad(fn, 0, weights=w))
        assert_same(gradient(X0), ev.grad(lambda x: fn(x), 0, weights=w)(X0))
    compiled = ev.jit(fn)
    before = compiled(X0).item()
    w.set_data(w * 2)
    assert compiled(X0).item() == pytest.approx(fn(X0).item())
    assert compiled(X0).item() != before


@pytest.mark.parametrize("wrap", [lambda f: f, ev.jit])
def test_parameters_written_in_bodies(wrap):
    count, total = Parameter(0.0, name="count"), Parameter(np.zeros(2), name="total")

    def step(c, x):
        count.set_data(count + 1)
        total.set_data(total + c * count)
        return c + x, total * 1

    def scan(x):
        c, ys = ops.scan(step, x, XS)
        return ops.sum(c * ys) + ops.sum(total)

    def loop(x):
        def body(x):
            count.set_data(count + 1)
            return x * 2

        return ops.while_loop(lambda x: count < 4, body, x)

    def branch(x):
        def add_to(parameter, k):
            parameter.set_data(parameter + k)

        ops.cond(ops.sum(x) > 0, lambda: add_to(count, 5), lambda: add_to(total, 7))
        return x * count

    run = wrap(scan)
    for k in (1, 2):
        count.set_data(0.0)
        total.set_data(np.zeros(2))
        value = run(X0).item()
        assert count.item() == 7.0
        states = np.cumsum(np.vstack([X0.asnumpy(), XS.asnumpy()]), 0)
        totals = np.cumsum(states[:-1] * np.arange(1, 8)[:, None], 0)
        np.testing.assert_allclose(total.asnumpy(), totals[-1])
        assert value == pytest.approx((states[-1] * totals).sum() + totals[-1].sum()), k
    count.set_data(0.0)
    total.set_data(np.zeros(2))
    gradient = wrap(ev.grad(scan))(X0).asnumpy()
    assert count.item() == 7.0
    with_difference = []
    for d in (1e-6, -1e-6):
        count.set_data(0.0)
        total.set_data(np.zeros(2))
        with_difference.append(scan(X0 + as_double([d, 0.0])).item())
    assert gradient[0] == pytest.approx((with_difference[0] - with_difference[1]) / 2e-6, rel=1e-6)

    count.set_data(0.0)
    assert_same(wrap(loop)(X0), X0 * 16)
    assert count.item() == 4.0

    run = wrap(branch)
    total.set_data(np.zeros(2))
    count.set_data(1.0)
    assert_same(run(X0), X0 * 6)
    assert_same(run(-X0), X0 * -6)
    assert total.tolist() == [7.0, 7.0]


def test_a_failing_body_changes_nothing():
    w = Parameter(1.0, name="w")

    def step(c, x):
        w.set_data(w + 1)
        raise RuntimeError("stop")

    for run in (ev.jit(lambda x: ops.scan(step, x, XS)), lambda x: ev.grad(lambda x: ops.scan(step, x, XS)[0])(x)):
        with pytest.raises(RuntimeError, match="stop"):
            run(X0)
        assert ev._evolute.at_top_level()
        assert w.item() == 1.0
        assert ops.sin(Tensor(0.0)).item() == 0.0


# ---- memory ----------------------------------------------------------------------------------------------------------


def peak_in_values(fn, x):
    """Peak of memory in units of the size of x, over a run that is not the first."""
    fn(x)
    ev._evolute.release_cached_memory()
    ev._evolute.reset_peak_memory()
    before = ev._evolute.memory_stats()["live_bytes"]
    fn(x)
    return (ev._evolute.memory_stats()["peak_bytes"] - before) / (x.size * 4)


@pytest.mark.parametrize("wrap", [ev.jit, lambda f: f], ids=["recorded", "eager"])
def test_memory_of_reverse_scan_grows_with_the_root_of_its_length(wrap):
    x = Tensor(np.linspace(0, 1, 100_000, dtype=np.float32))
    for n in (64, 256, 1024):
        k = None if wrap is ev.jit else int(n**0.5)

        def fn(x, n=n, k=k):
            return ops.sum(ops.fori_loop(0, n, lambda i, c: ops.sin(c) * 1.01, x, checkpoint=k))

        assert peak_in_values(wrap(ev.grad(fn)), x) < 3 * n**0.5 + 10


def test_recordings_of_control_flow_leave_no_memory_behind():
    def leak(transform):
        def fn(x):
            return network(lambda f, c, xs: ops.scan(f, c, xs, checkpoint=3))(x, W, XS) + newton(ops.sum(x))

        recorded(transform(fn), X0)
        gc.collect()
        return ev._evolute.memory_stats()["live_bytes"]

    for transform in (ev.grad, ev.hessian):
        leak(transform)
        assert leak(transform) == leak(transform)


# ---- loops that are too long -----------------------------------------------------------------------------------------


class Alarm(Exception):
    pass


@pytest.mark.parametrize("derivative", [False, True])
def test_endless_loops_can_be_interrupted(derivative):
    """A compiled loop runs without the interpreter, and asks it now and then for signals."""

    def ring(*_):
        raise Alarm

    def endless(x):
        return ops.while_loop(lambda s: s[0] < 2.0, lambda s: (ops.sin(s[0]), s[1] * 0.5), (x, x))[1]

    f = ev.jit((lambda x: ev.jvp(endless, x, x)[1]) if derivative else endless)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        with pytest.raises(Alarm):
            f(as_double(0.5))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert f(as_double(3.0)).item() == 3.0  # what was interrupted left nothing behind


@pytest.mark.parametrize("read", ["carry", "outputs", "second carry", "all"])
def test_loops_of_which_only_some_is_read(read):
    """What nobody reads is not computed; what is read stays as it was."""
    xs = as_double(np.linspace(-1, 1, 24).reshape(8, 3))

    def loop(x, w):
        def step(carry, x):
            a, b, c = carry
            return (ops.sin(a * w) + x, b * 0.5 + a, c + 1.0), (a * x, b)

        (a, b, c), (y, z) = ops.scan(step, (x, 2 * x, 0 * x), xs)
        parts = {"carry": a, "outputs": y * y, "second carry": b * b, "all": a + b * c + ops.sum(y * z, 0)}
        return ops.sum(parts[read])

    x, w = as_double([0.3, -0.2, 0.5]), as_double([1.1, 0.7, 0.9])
    for f in (loop, ev.grad(loop, (0, 1)), lambda x, w: ev.grad(lambda x: ops.sum(ev.grad(loop, 1)(x, w)))(x)):
        for got, want in zip(as_tuple(ev.jit(f)(x, w)), as_tuple(f(x, w)), strict=True):
            assert_close(got.asnumpy(), want.asnumpy(), 1e-12)


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


def test_a_loop_behind_a_linear_body_is_not_run():
    """The gradient of a linear recurrence reads no carry, so that the forward loop goes."""

    def loop(x):
        return ops.sum(ops.scan(lambda c, _: (0.9 * c, None), x, length=50)[0])

    f = ev.jit(ev.grad(loop))
    x = as_double([1.0, 2.0])
    assert_close(f(x).asnumpy(), np.full(2, 0.9**50), 1e-14)
    assert f.explain().partition("graph:\n")[2].partition("steps (")[0].count("scan[") == 1
