"""`linearize` and `linear_transpose`."""

import numpy as np
import pytest
from checks import as_double, random_arrays

import evolute as ev
from evolute import DTypeError, ShapeError, Tensor, ops


def network(params, x):
    w, b = params["w"], params["b"]
    hidden = ops.tanh(x @ w + b)
    return {"out": ops.sin(hidden) / (2 + hidden * hidden), "norm": (ops.norm(hidden), None)}


def point():
    w, b, x = random_arrays(0, (3, 4), (4,), (5, 3))
    dw, db, dx = random_arrays(1, (3, 4), (4,), (5, 3))
    primals = {"w": as_double(w), "b": as_double(b)}, as_double(x)
    tangents = {"w": as_double(dw), "b": as_double(db)}, as_double(dx)
    return primals, tangents


def assert_same(got, want, rtol=1e-13):
    np.testing.assert_allclose(got["out"].asnumpy(), want["out"].asnumpy(), rtol=rtol, atol=1e-14)
    np.testing.assert_allclose(got["norm"][0].asnumpy(), want["norm"][0].asnumpy(), rtol=rtol, atol=1e-14)
    assert got["norm"][1] is want["norm"][1] is None


def test_agrees_with_jvp():
    primals, tangents = point()
    value, f_jvp = ev.linearize(network, *primals)
    assert_same(value, network(*primals))
    want = ev.jvp(network, primals, tangents)[1]
    for _ in range(2):
        assert_same(f_jvp(*tangents), want)
    zero = f_jvp({"w": None, "b": tangents[0]["b"]}, None)
    assert_same(zero, ev.jvp(network, primals, ({"w": None, "b": tangents[0]["b"]}, None))[1])


def test_runs_the_function_once_with_values():
    calls = []

    def f(x):
        calls.append(x)
        return x * 3 if x.item() > 0 else x * 5

    value, f_jvp = ev.linearize(f, as_double(-2.0))
    assert value.item() == -10
    assert [f_jvp(as_double(v)).item() for v in (1.0, 2.0)] == [5, 10]
    assert len(calls) == 1


def test_replays_linear_operations_alone():
    """The factors of derivatives are constants of what is replayed: no sine, no tanh, no product of two primals."""
    x = as_double([0.3, 0.5])
    _, f_jvp = ev.linearize(lambda x: ops.sin(x) * ops.tanh(x) * ops.exp(ops.sin(x)), x)
    recorded = ev.jit(lambda t: f_jvp(t))
    recorded(x)
    graph = recorded.explain()
    for name in ("sin", "tanh", "exp", "d1"):
        assert f" {name}" not in graph.split("passes")[-1].replace("sin.d1", "d1") or name == "none", graph
    assert "mul" in graph


def test_under_every_transform():
    x, t = as_double([0.3, 0.5]), as_double([1.0, -2.0])

    def f(x):
        return ops.sin(x) * x

    _, f_jvp = ev.linearize(f, x)
    want = ev.jvp(f, x, t)[1]

    def same(got, want=want):
        np.testing.assert_allclose(got.asnumpy(), want.asnumpy(), rtol=1e-14)

    same(ev.jit(f_jvp)(t))
    same(ev.vmap(f_jvp)(ops.stack([t, t]))[1])
    same(ev.jvp(f_jvp, t, t)[1])
    same(ev.grad(f_jvp)(t), ev.grad(f)(x))
    assert not ev.hessian(lambda t: ops.sum(f_jvp(t)))(t).asnumpy().any()


def test_inside_of_other_transforms():
    x, t = as_double([0.3, 0.5]), as_double([1.0, -2.0])

    def f(x):
        return ops.exp(ops.sin(x)) * x

    def along(x, t):
        value, f_jvp = ev.linearize(f, x)
        return ops.sum(value * f_jvp(t) + f_jvp(value))

    def reference(x, t):
        value, tangent = ev.jvp(f, x, t)
        return ops.sum(value * tangent + ev.jvp(f, x, value)[1])

    for transform in (ev.grad, ev.hessian, lambda f: ev.grad(f, 1), lambda f: ev.hessian(f, (0, 1))):
        for compile_ in (lambda f: f, ev.jit):
            got, want = compile_(transform(along))(x, t), transform(reference)(x, t)
            for g, w in zip(np.ravel(_flat(got)), np.ravel(_flat(want)), strict=True):
                np.testing.assert_allclose(g, w, rtol=1e-12)
    xs = ops.stack([x, t])
    np.testing.assert_allclose(ev.vmap(along)(xs, xs).asnumpy(), [along(x, x).item(), along(t, t).item()], rtol=1e-13)


def _flat(out):
    return np.concatenate([_flat(o) for o in out]) if isinstance(out, tuple) else out.asnumpy().ravel()


def test_nested():
    x = as_double(0.7)
    _, slope = ev.linearize(lambda x: ev.linearize(ops.sin, x)[1](as_double(1.0)), x)
    assert slope(as_double(1.0)).item() == pytest.approx(-np.sin(0.7), rel=1e-14)


@pytest.mark.parametrize("compile_", [lambda f: f, ev.jit], ids=["eager", "jit"])
def test_control_flow(compile_):
    def f(x):
        carry, ys = ops.scan(lambda c, y: (ops.sin(c) * y, c * y), x, as_double([[1.0, 1.5], [0.2, 0.3]]))
        carry = ops.while_loop(lambda c: ops.sum(c) < 10.0, lambda c: 2 * c + 1, carry)
        carry = ops.cond(ops.sum(carry) > 0, ops.exp, ops.sin, 0.1 * carry)
        return ev.checkpoint(ops.sin)(carry) + ops.sum(ys, 0)

    x, t = as_double([0.3, 0.5]), as_double([1.0, -2.0])
    value, tangent = compile_(lambda x, t: (lambda v, j: (v, j(t)))(*ev.linearize(f, x)))(x, t)
    want_value, want = ev.jvp(f, x, t)
    np.testing.assert_allclose(value.asnumpy(), want_value.asnumpy(), rtol=1e-14)
    np.testing.assert_allclose(tangent.asnumpy(), want.asnumpy(), rtol=1e-13)


def test_linearize_errors():
    with pytest.raises(TypeError, match="linearize: needs a function or a cell, got int"):
        ev.linearize(3, as_double(1.0))
    with pytest.raises(DTypeError, match="linearize: cannot differentiate with respect to an input of type Int32"):
        ev.linearize(ops.sin, Tensor(3, ev.int32))
    _, f_jvp = ev.linearize(ops.sin, as_double([1.0, 2.0]))
    with pytest.raises(ValueError, match="linearize: got 2 tangents, but needs 1"):
        f_jvp(as_double([1.0, 2.0]), as_double([1.0, 2.0]))
    with pytest.raises(ShapeError, match=r"linearize: a tangent has shape \(3,\), but must have shape \(2,\)"):
        f_jvp(as_double([1.0, 2.0, 3.0]))


# ---- transposes


A = as_double(random_arrays(2, (3, 4))[0])


def linear(p):
    return {"y": A @ p[0] + ops.flip(p[1], 0), "z": ops.sum(p[1]) * 2}


def test_linear_transpose():
    like = (as_double(np.ones(4)), as_double(np.ones(3)))
    transposed = ev.linear_transpose(linear, like)
    u, v = (as_double(a) for a in random_arrays(3, (3,), ()))
    (got,) = transposed({"y": u, "z": v})
    np.testing.assert_allclose(got[0].asnumpy(), A.asnumpy().T @ u.asnumpy(), rtol=1e-14)
    np.testing.assert_allclose(got[1].asnumpy(), u.asnumpy()[::-1] + 2 * v.item(), rtol=1e-14)
    (got,) = transposed({"y": u, "z": None})
    np.testing.assert_allclose(got[1].asnumpy(), u.asnumpy()[::-1], rtol=1e-14)


def test_transpose_of_a_linearized_function_and_twice():
    x = as_double([0.3, 0.5])
    _, f_jvp = ev.linearize(lambda x: ops.sin(x) * ops.sum(x), x)
    t = as_double([1.0, -2.0])
    transposed = ev.linear_transpose(f_jvp, x)
    (got,) = transposed(t)
    np.testing.assert_allclose(got.asnumpy(), ev.vjp(lambda x: ops.sin(x) * ops.sum(x), x, t)[1].asnumpy(), rtol=1e-13)
    (back,) = ev.linear_transpose(lambda t: transposed(t)[0], x)(t)
    np.testing.assert_allclose(back.asnumpy(), f_jvp(t).asnumpy(), rtol=1e-13)


def test_transpose_under_transforms():
    u = as_double(np.arange(3.0))

    def pulled(a, u):
        return ops.sum(ops.square(ev.linear_transpose(lambda x: ops.sin(a) @ x, ops.zeros((4,), ev.float64))(u)[0]))

    def reference(a, u):
        return ops.sum(ops.square(u @ ops.sin(a)))

    for compile_ in (lambda f: f, ev.jit):
        for transform in (lambda f: f, ev.grad, lambda f: ev.grad(f, 1), lambda f: ev.hessian(f, 1)):
            got, want = compile_(transform(pulled))(A, u), transform(reference)(A, u)
            np.testing.assert_allclose(got.asnumpy(), want.asnumpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("fn", "why"),
    [
        (lambda x: x * x, "its derivative depends on where it is taken"),
        (lambda x: x + 1, "it is not zero at zero"),
        (ops.relu, "its derivative depends on where it is taken"),
        (ev.checkpoint(lambda x: x * ops.sum(x)), "its derivative depends on where it is taken"),
        (lambda x: x > 0, "an output is of no floating dtype"),
    ],
)
def test_what_is_not_linear_is_refused(fn, why):
    with pytest.raises(ValueError, match=f"linear_transpose: the function is not linear: {why}"):
        ev.linear_transpose(fn, as_double([0.0, 1.0]))


def test_transposing_what_control_flow_takes_through_a_view():
    f = ev.jacobian(lambda x: ops.reshape(ev.checkpoint(lambda t: ops.sin(ops.sin(t)))(x[0]), (1,)))
    x = as_double([0.3])
    derivative = ev.linearize(f, x)[1]
    (got,) = ev.linear_transpose(derivative, x)(ops.ones((1, 1), ev.float64))
    assert abs(got.item() - derivative(ops.ones_like(x)).item()) < 1e-14
