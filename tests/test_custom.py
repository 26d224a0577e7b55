"""Derivative rules of the user's: in every mode, at every order, under every transform."""

import itertools

import numpy as np
import pytest
from checks import all_modes, as_double, nest
from mapping import check_vmap

import evolute as ev
from evolute import DTypeError, Parameter, ShapeError, Tensor, TraceError, nn, ops

X = as_double([0.3, -0.7, 1.2])


@ev.custom_vjp
def by_vjp(x, y):
    return ops.sin(x) * y


by_vjp.defvjp(lambda x, y: (by_vjp(x, y), (x, y)), lambda r, g: (g * ops.cos(r[0]) * r[1], g * ops.sin(r[0])))


@ev.custom_jvp
def by_jvp(x, y):
    return ops.sin(x) * y


@by_jvp.defjvp
def _(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    return by_jvp(x, y), ops.cos(x) * y * dx + ops.sin(x) * dy


@ev.custom_jvp
def by_jvps(x, y):
    return ops.sin(x) * y


by_jvps.defjvps(lambda t, out, x, y: t * ops.cos(x) * y, lambda t, out, x, y: t * ops.sin(x))


def plain(x, y):
    return ops.sin(x) * y


RULED = [by_vjp, by_jvp, by_jvps]


@pytest.fixture(params=RULED, ids=["vjp", "jvp", "jvps"])
def ruled(request):
    return request.param


# ---- right rules: what they give agrees with what the operations give


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_all_modes_and_orders(ruled, order):
    for modes in all_modes(order):
        for positions in itertools.product([0, 1], repeat=order):
            args = X, as_double([0.5, 2.0, -1.0])
            got = nest(ruled, modes, positions)(*args)
            want = nest(plain, modes, positions)(*args)
            np.testing.assert_allclose(got.asnumpy(), want.asnumpy(), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_recorded(ruled, order):
    args = X, as_double([0.5, 2.0, -1.0])
    for modes in all_modes(order):
        got = ev.jit(nest(ruled, modes))(*args)
        np.testing.assert_allclose(got.asnumpy(), nest(plain, modes)(*args).asnumpy(), rtol=1e-13, atol=1e-14)


def test_mapped(ruled):
    rng = np.random.default_rng(0)
    examples = rng.uniform(-1, 1, (4, 3)), rng.uniform(-1, 1, (4, 3))
    check_vmap(ruled, *examples)
    check_vmap(ev.grad(ruled, (0, 1)), *examples)
    check_vmap(ev.grad(lambda x, y: ev.grad(ruled)(x, y), (0, 1)), *examples)
    check_vmap(lambda x, y: ev.jvp(ruled, (x, y), (y, x))[1], *examples)


def test_derivative_of_a_mapped_function_sums_over_examples(ruled):
    w = as_double([0.5, 2.0, -1.0])
    xs = as_double(np.random.default_rng(1).uniform(-1, 1, (4, 3)))

    def loss(f):
        return lambda w, xs: ops.sum(ops.square(ev.vmap(f, (0, None))(xs, w)))

    for derivative in (ev.grad, ev.hessian, lambda f: ev.grad(lambda w, xs: ops.sum(ops.sin(ev.grad(f)(w, xs))))):
        got, want = derivative(loss(ruled))(w, xs), derivative(loss(plain))(w, xs)
        np.testing.assert_allclose(got.asnumpy(), want.asnumpy(), rtol=1e-13)


@pytest.mark.parametrize("compile_", [lambda f: f, ev.jit], ids=["eager", "jit"])
def test_in_control_flow(ruled, compile_):
    def loss(f):
        def run(x):
            carry, _ = ops.scan(lambda c, y: (f(c, y), None), x, as_double([[1.0, 1.5, 0.5], [0.2, 0.3, 0.9]]))
            carry = ops.cond(ops.sum(carry) > 0, lambda c: f(c, c), lambda c: -f(c, c), carry)
            carry = ops.while_loop(lambda c: ops.sum(c) > 1e3, lambda c: f(c, c), carry)
            return ops.sum(ev.checkpoint(lambda c: f(c, x))(carry))

        return run

    for derivative in (ev.grad, ev.hessian, lambda f: ev.hessian(lambda x: ev.hvp(f, x, x)[0])):
        got = compile_(derivative(loss(ruled)))(X)
        np.testing.assert_allclose(got.asnumpy(), derivative(loss(plain))(X).asnumpy(), rtol=1e-11, atol=1e-12)


# ---- rules that say something else: it is they that count


@ev.custom_vjp
def tripled_slope(x):
    return x * x


tripled_slope.defvjp(lambda x: (x * x, x), lambda x, g: (g * 6 * x,))


def test_the_rule_counts_in_both_modes():
    for compile_ in (lambda f: f, ev.jit):
        assert compile_(ev.grad(tripled_slope))(as_double(2.0)).item() == 12
        assert compile_(ev.grad(ev.grad(tripled_slope)))(as_double(2.0)).item() == 6
        assert compile_(lambda x: ev.jvp(tripled_slope, x, as_double(1.0))[1])(as_double(2.0)).item() == 12
        assert compile_(ev.vmap(ev.grad(tripled_slope)))(as_double([2.0, 3.0])).tolist() == [12, 18]


@pytest.mark.parametrize("compile_", [lambda f: f, ev.jit], ids=["eager", "jit"])
def test_what_is_no_gradient_has_no_symmetric_derivative(compile_):
    """While recording, sweeps of sweeps push gradients forward, as their Jacobian is symmetric; these are none."""

    @ev.custom_vjp
    def f(x):
        return ops.sum(x)

    f.defvjp(lambda x: (ops.sum(x), x), lambda x, g: (g * ops.stack([x[1] * x[1], x[0]]),))

    def through_scan(x):
        return ops.sum(ops.scan(lambda c, _: (c + f(x), None), as_double(0.0), length=2)[0])

    x, u = as_double([2.0, 3.0]), as_double([1.0, 10.0])
    for fn, scale in ((f, 1), (through_scan, 2), (ev.checkpoint(f), 1)):
        pulled = compile_(ev.grad(lambda x, fn=fn: ops.sum(ev.grad(fn)(x) * u)))(x)
        assert pulled.tolist() == [10 * scale, 6 * scale]
        pushed = compile_(lambda x, fn=fn: ev.jvp(ev.grad(fn), x, u)[1])(x)
        assert pushed.tolist() == [60 * scale, 1 * scale]


def test_values_come_from_the_function_and_see_python_control_flow():
    @ev.custom_vjp
    def f(x):
        return x * 2 if x.item() > 0 else x * 3

    f.defvjp(lambda x: (f(x), x.item() > 0), lambda positive, g: (g * 20 if positive else g * 30,))
    assert [ev.grad(f)(as_double(v)).item() for v in (1.0, -1.0)] == [20, 30]


def test_the_rule_runs_once_per_sweep():
    calls = []

    @ev.custom_vjp
    def f(x):
        calls.append("f")
        return x * 2

    def forward(x):
        calls.append("forward")
        return x * 2, None

    def backward(_, g):
        calls.append("backward")
        return (g * 2,)

    f.defvjp(forward, backward)
    f(X)
    assert calls == ["f"]
    ev.grad(f)(X)
    assert calls == ["f", "forward", "backward"]
    _, pullback = ev.vjp(f, X)
    pullback(X)
    pullback(X)
    assert calls[3:] == ["forward", "backward", "backward"]


# ---- structures and static values


def test_structures_and_static_arguments():
    @ev.custom_vjp
    def f(params, power, options=None):
        return {"y": params["a"] ** power, "n": [params["b"][0] * 2]}

    def forward(params, power, options=None):
        return f(params, power, options), (params["a"], power, "text")

    def backward(residuals, g):
        a, power, text = residuals
        assert text == "text"
        return {"a": g["y"] * power * a ** (power - 1), "b": (g["n"][0] * 2,)}, None, None

    f.defvjp(forward, backward)
    params = {"a": as_double(3.0), "b": (as_double(1.0),)}
    for call in (f, lambda p, n: f(p, power=n), lambda p, n: f(options=None, params=p, power=n)):
        gradient = ev.grad(lambda p, call=call: call(p, 3)["y"] + call(p, 3)["n"][0])(params)
        assert gradient["a"].item() == 27
        assert gradient["b"][0].item() == 2


@pytest.mark.parametrize("compile_", [lambda f: f, ev.jit], ids=["eager", "jit"])
def test_nondiff_argnums(compile_):
    def power(n, x, mode):
        assert mode == "mode"
        return x**n

    by_reverse = ev.custom_vjp(power, nondiff_argnums=(0, 2))
    by_reverse.defvjp(lambda n, x, mode: (by_reverse(n, x, mode), x), lambda n, mode, x, g: (g * n * x ** (n - 1),))
    by_forward = ev.custom_jvp(power, nondiff_argnums=(0, 2))

    @by_forward.defjvp
    def _(n, mode, primals, tangents):
        (x,), (t,) = primals, tangents
        return by_forward(n, x, mode), t * n * x ** (n - 1)

    for f in (by_reverse, by_forward):
        assert compile_(ev.grad(lambda x, f=f: f(3, x, "mode")))(as_double(2.0)).item() == 12
        assert compile_(ev.grad(ev.grad(lambda x, f=f: f(3, x, "mode"))))(as_double(2.0)).item() == 12


def test_methods():
    class Scaled:
        def __init__(self, factor):
            self.factor = factor

        @ev.custom_vjp
        def __call__(self, x):
            return self.factor * x

    Scaled.__call__.defvjp(lambda self, x: (self.factor * x, self.factor), lambda k, g: (None, 100 * k * g))
    assert ev.grad(Scaled(3.0))(as_double(1.0)).item() == 300


def test_integers_and_none_among_arguments_and_results():
    @ev.custom_jvp
    def f(x, i):
        return x * i, i + 1, None

    @f.defjvp
    def _(primals, tangents):
        (x, i), (t, none) = primals, tangents
        assert none is None
        return f(x, i), (t * i, None, None)

    i = Tensor(3, ev.int32)
    assert ev.grad(lambda x: f(x, i)[0])(as_double(2.0)).item() == 3
    assert ev.jvp(lambda x: f(x, i)[0], as_double(2.0), as_double(1.0))[1].item() == 3


def test_jit_follows_a_new_rule():
    f = ev.custom_vjp(lambda x: x)
    f.defvjp(lambda x: (x, None), lambda _, g: (2 * g,))
    slope = ev.jit(ev.grad(f))
    assert slope(as_double(1.0)).item() == 2
    f.defvjp(lambda x: (x, None), lambda _, g: (3 * g,))
    assert slope(as_double(1.0)).item() == 3


def test_float32_stays():
    x = Tensor([1.0, 2.0])
    for f in RULED:
        assert all(g.dtype == ev.float32 for g in ev.grad(f, (0, 1))(x, x))
        assert ev.jvp(f, (x, x), (x, x))[1].dtype == ev.float32


# ---- bad input


def test_errors_say_what_to_do():
    f = ev.custom_vjp(lambda x: 2 * x)
    with pytest.raises(TypeError, match="custom_vjp: <lambda> has no rule yet"):
        f(X)
    with pytest.raises(TypeError, match="needs a function or a cell, got int"):
        ev.custom_vjp(3)
    with pytest.raises(TypeError, match="needs a function or a cell, got None"):
        f.defvjp(lambda x: (x, None), None)
    with pytest.raises(TypeError, match="nondiff_argnums must be positions"):
        ev.custom_vjp(lambda x: x, nondiff_argnums=("x",))
    g = ev.custom_vjp(lambda x: x, nondiff_argnums=(1,))
    g.defvjp(lambda x: (x, None), lambda _, g: (g,))
    with pytest.raises(ValueError, match="nondiff_argnums has 1, but <lambda> was called with 1 arguments"):
        g(X)

    f.defvjp(lambda x: 2 * x, lambda r, g: (g,))
    with pytest.raises(
        ValueError, match=r"the forward function must return a pair \(output, residuals\), got .*Tensor"
    ):
        ev.grad(f)(X)
    f.defvjp(lambda x: (2 * x, None), lambda r, g: (g, g))
    with pytest.raises(ValueError, match=r"a tuple with one gradient for each of the 1 arguments.*got a tuple of 2"):
        ev.grad(f)(X)
    f.defvjp(lambda x: (2 * x, None), lambda r, g: (ops.sum(g),))
    with pytest.raises(ShapeError, match=r"custom_vjp: a gradient that the rule gives has shape \(\), but must have"):
        ev.grad(f)(X)
    f.defvjp(lambda x: (2 * x, None), lambda r, g: ("g",))
    with pytest.raises(DTypeError, match=r"a gradient must be a tensor of shape \(3,\) or None, got str"):
        ev.grad(f)(X)

    h = ev.custom_jvp(lambda x: 2 * x)
    h.defjvp(lambda primals, tangents: tangents[0])
    with pytest.raises(ValueError, match=r"must return a pair \(output, tangent\), got Tensor"):
        ev.grad(h)(X)
    h.defjvps(None, None)
    with pytest.raises(ValueError, match="has 2 rules, but was called with 1 arguments"):
        ev.grad(h)(X)
    h.defjvps(None)
    assert ev.grad(h)(X).tolist() == [0, 0, 0]


def test_what_is_differentiated_must_be_an_argument():
    f = ev.custom_vjp(lambda x: x)
    f.defvjp(lambda x: (x, None), lambda _, g: (g,))

    def outer(w):
        inner = ev.custom_vjp(lambda x: w * x)
        inner.defvjp(lambda x: (w * x, None), lambda _, g: (g,))
        return ops.sum(inner(w * X))

    with pytest.raises(TraceError, match="custom_vjp: the function uses a tensor or parameter from outside"):
        ev.grad(outer)(as_double(2.0))
    assert ev.grad(lambda x: ops.sum(f(x)))(X).tolist() == [1, 1, 1]


def test_memory_is_freed():
    import gc
    import weakref

    class Mark:
        pass

    mark = Mark()
    alive = weakref.ref(mark)
    f = ev.custom_vjp(lambda x, m: 2 * x)
    f.defvjp(lambda x, m: (2 * x, m), lambda m, g: (2 * g, None))
    ev.grad(f)(X, mark)
    ev.jit(ev.grad(lambda x, f=f, m=mark: f(x, m)))(X)
    value, pull = ev.vjp(lambda x, m=mark: f(x, m), X)
    del mark, pull, value
    gc.collect()
    assert alive() is None


def test_cells_and_parameters_as_arguments():
    w = Parameter(as_double([2.0]), name="w")
    f = ev.custom_vjp(lambda w, x: w * x)
    f.defvjp(lambda w, x: (w * x, (w, x)), lambda r, g: (10 * g * r[1], g * r[0]))

    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.w = w

        def construct(self, x):
            return f(self.w, x)

    net = Net()
    gradients = ev.grad(net, 0, weights=net.trainable_params())(as_double([3.0]))
    assert gradients[0].tolist() == [2]
    assert gradients[1][0].tolist() == [30]
