"""Differential operators: against nested derivatives, for one point and many, eager and recorded, in training."""

import numpy as np
import pytest
from checks import nest, random_arrays
from hypothesis import given, settings
from programs import interpret, programs

import evolute as ev
from evolute import Tensor, nn, ops

RUNS = pytest.mark.parametrize("run", [lambda f: f, ev.jit], ids=["eager", "jit"])


def u(x):
    """Some function of a point of any dimension."""
    return ops.sin(x[0]) * ops.exp(0.3 * ops.sum(x)) + ops.sum(x**3) * ops.tanh(x[-1])


def points(*shape, seed=0):
    return Tensor(random_arrays(seed, shape)[0])


def trace_of_hessian(fn, x):
    return ops.trace(ev.hessian(fn)(x)).item()


@RUNS
@pytest.mark.parametrize("d", [1, 2, 5])
def test_laplacian(run, d):
    x = points(4, d)
    want = [trace_of_hessian(u, x[i]) for i in range(4)]
    np.testing.assert_allclose(run(ev.laplacian(u))(x).asnumpy(), want, 1e-12)
    np.testing.assert_allclose(run(ev.laplacian(u))(x[0]).item(), want[0], 1e-12)
    boxes = run(ev.laplacian(u))(ops.reshape(x, (2, 2, d)))
    np.testing.assert_allclose(boxes.asnumpy(), np.reshape(want, (2, 2)), 1e-12)


@RUNS
def test_laplacian_of_several_values(run):
    def field(x):
        return ops.stack([u(x), x[0] * x[1], ops.ones((), ev.float64)])

    x = points(3, 2)
    got = run(ev.laplacian(field))(x).asnumpy()
    np.testing.assert_allclose(got[:, 0], [trace_of_hessian(u, x[i]) for i in range(3)], 1e-12)
    assert (got[:, 1:] == 0).all()


@given(programs)
@settings(max_examples=30, deadline=None)
def test_laplacian_of_random_programs(program):
    def fn(x):
        return ops.sum(interpret(program, ops.reshape(x, (3, 3))))

    x = points(9, seed=len(program))
    want = trace_of_hessian(fn, x)
    scale = np.abs(ev.hessian(fn)(x).asnumpy()).max()
    assert abs(ev.laplacian(fn)(x).item() - want) <= 1e-10 * max(scale, 1)


def controlled(x):
    """Loops, a branch, a checkpoint and a system of equations."""
    y = ops.fori_loop(0, 3, lambda i, s: ops.sin(s) * x + 0.1 * s, x)
    z = ops.cond(ops.sum(x) > 0, lambda x: x * x, ops.sin, x)
    w = ops.while_loop(lambda s: ops.sum(s * s) < 4, lambda s: s * 1.5 + 0.1 * x, 0.1 + x * x)
    a = 3 * ops.eye(2, dtype=ev.float64) + ops.outer(x, x)
    return ops.sum(y * z * w) + ops.sum(ev.checkpoint(ops.tanh)(ops.solve(a, x))) + ops.max(x * x) * ops.det(a)


@RUNS
def test_laplacian_of_control_flow(run):
    x = points(3, 2)
    want = [trace_of_hessian(controlled, x[i]) for i in range(3)]
    got = [run(ev.laplacian(controlled))(x[i]).item() for i in range(3)]
    np.testing.assert_allclose(got, want, 1e-10)
    np.testing.assert_allclose(run(ev.laplacian(controlled))(x).asnumpy(), want, 1e-10)


def network(d, width=6, out=1):
    rng = np.random.default_rng(d)
    return nn.SequentialCell(
        nn.Dense(d, width, weight_init=Tensor(rng.standard_normal((width, d)).astype("f4"))),
        nn.Tanh(),
        nn.Dense(width, width, weight_init=Tensor(rng.standard_normal((width, width)).astype("f4") / 2)),
        nn.Tanh(),
        nn.Dense(width, out, weight_init=Tensor(rng.standard_normal((out, width)).astype("f4"))),
    )


@RUNS
def test_functions_of_batches(run):
    net = network(3)
    x = Tensor(random_arrays(1, (5, 3))[0].astype("f4"))
    want = run(ev.laplacian(lambda x: net(ops.reshape(x, (1, 3)))[0]))(x)
    got = run(ev.laplacian(net, batched=True))(x)
    assert got.shape == (5, 1)
    np.testing.assert_allclose(got.asnumpy(), want.asnumpy(), 1e-5, 1e-5)
    with pytest.raises(ev.ShapeError, match="must keep the axis of points"):
        ev.laplacian(lambda x: ops.sum(x), batched=True)(x)


@RUNS
def test_losses_on_laplacians_train(run):
    weights = [Tensor(a) for a in random_arrays(3, (3, 6), (6, 6), (6, 1))]
    x = points(5, 3)

    def predict(weights, x):
        for w in weights[:-1]:
            x = ops.tanh(x @ w)
        return (x @ weights[-1])[0]

    def loss(operator):
        return lambda *weights: ops.sum(operator(lambda x: predict(weights, x))(x) ** 2)

    def by_hessian(fn):
        return ev.vmap(lambda x: ops.trace(ev.hessian(fn)(x)))

    want = ev.grad(loss(by_hessian), (0, 1, 2))(*weights)
    got = run(ev.grad(loss(ev.laplacian), (0, 1, 2)))(*weights)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g.asnumpy(), w.asnumpy(), 1e-10, 1e-10 * np.abs(w.asnumpy()).max())


@RUNS
def test_other_arguments(run):
    def fn(a, x, power=2):
        return a * ops.sum(x**power)

    x = points(4, 3)
    got = run(ev.laplacian(fn, 1))(Tensor(2.0, ev.float64), x, power=2)
    np.testing.assert_allclose(got.asnumpy(), [12.0] * 4, 1e-14)
    per_point = run(ev.vmap(ev.laplacian(fn, 1)))(Tensor([1.0, 2.0, 3.0, 4.0], ev.float64), x)
    np.testing.assert_allclose(per_point.asnumpy(), [6.0, 12.0, 18.0, 24.0], 1e-14)


def test_memory_grows_as_the_dimension():
    """What is alive at once, with many points."""

    def peak(d):
        w1, w2 = (Tensor(a.astype("f4")) for a in random_arrays(0, (d, 32), (32, 1)))
        fn = ev.jit(ev.laplacian(lambda x: (ops.tanh(x @ w1) @ w2)[0]))
        x = Tensor(random_arrays(1, (500, d))[0].astype("f4"))
        fn(x)
        ev._evolute.release_cached_memory()
        ev._evolute.reset_peak_memory()
        before = ev._evolute.memory_stats()["live_bytes"]
        fn(x)
        return ev._evolute.memory_stats()["peak_bytes"] - before

    assert peak(80) < 10 * max(peak(10), 1 << 20)


# ---- the others -----------------------------------------------------------------------------------------------------


@RUNS
def test_biharmonic(run):
    def fn(x):
        return ops.sum(x**4) + x[0] ** 2 * x[1] ** 2 * x[2] + ops.exp(x[0] - x[1])

    x = points(3, 3)
    a = x.asnumpy()
    want = 24.0 * 3 + 8 * a[:, 2] + 4 * np.exp(a[:, 0] - a[:, 1])
    np.testing.assert_allclose(run(ev.biharmonic(fn))(x).asnumpy(), want, 1e-12)


@RUNS
def test_divergence_and_curl(run):
    def field(x):
        return ops.stack([x[0] * x[1], ops.sin(x[2]) * x[0], x[2] ** 2 * x[1]])

    x = points(4, 3)
    a, b, c = x.asnumpy().T
    np.testing.assert_allclose(run(ev.divergence(field))(x).asnumpy(), b + 2 * c * b, 1e-13)
    want = np.stack([c**2 - np.cos(c) * a, 0 * a, np.sin(c) - a], 1)
    np.testing.assert_allclose(run(ev.curl(field))(x).asnumpy(), want, 1e-13, 1e-15)
    plane = run(ev.curl(lambda x: ops.stack([-(x[1] ** 2), x[0] * x[1]])))(points(4, 2)).asnumpy()
    np.testing.assert_allclose(plane, 3 * points(4, 2).asnumpy()[:, 1], 1e-13)


@RUNS
def test_identities(run):
    """The curl of a gradient and the divergence of a curl are zero; the divergence of a gradient is the Laplacian."""
    x = points(4, 3)
    zero = run(ev.curl(ev.grad(u)))(x).asnumpy()
    assert np.abs(zero).max() < 1e-13

    def field(x):
        return ops.sin(x * x[::-1]) * x[1]

    assert np.abs(run(ev.divergence(ev.curl(field)))(x).asnumpy()).max() < 1e-13
    np.testing.assert_allclose(
        run(ev.divergence(ev.grad(u)))(x).asnumpy(), run(ev.laplacian(u))(x).asnumpy(), 1e-11, 1e-12
    )


@RUNS
@pytest.mark.parametrize("orders", [(0, 0, 0), (1, 0, 0), (2, 0, 1), (1, 1, 1), (0, 3, 2)])
def test_partial(run, orders):
    def of_numbers(a, b, c):
        return ops.sin(a * b) * ops.exp(c * b) + a**3 * c**2 * b**4

    x = points(3, 3)
    positions = [i for i, n in enumerate(orders) for _ in range(n)]
    want = [nest(of_numbers, "f" * len(positions), positions)(*row).item() for row in (x[0], x[1], x[2])]
    got = run(ev.partial(lambda x: of_numbers(x[0], x[1], x[2]), orders))(x)
    np.testing.assert_allclose(got.asnumpy(), want, 1e-11)


@RUNS
@pytest.mark.parametrize("order", [1, 2, 5])
def test_directional_derivative(run, order):
    x, v = points(3, 2), points(2, seed=1)
    want = [nest(lambda t, i=i: u(x[i] + t * v), "f" * order)(Tensor(0.0, ev.float64)).item() for i in range(3)]
    np.testing.assert_allclose(run(ev.directional_derivative(u, order))(v, x).asnumpy(), want, 1e-10)


def test_graph_mode():
    x = points(4, 2)
    operators = [ev.laplacian(u), ev.partial(u, (2, 0)), ev.partial(u, (0, 2)), ev.directional_derivative(u, 2)]
    args = [(x,), (x,), (x,), (x[0], x)]
    want = [op(*a).asnumpy() for op, a in zip(operators, args, strict=True)]
    ev.set_context(mode=ev.GRAPH_MODE)
    try:
        for op, a, w in zip(operators, args, want, strict=True):
            np.testing.assert_allclose(op(*a).asnumpy(), w, 1e-12)
    finally:
        ev.set_context(mode=ev.PYNATIVE_MODE)


def test_errors():
    x = Tensor([1.0, 2.0])
    with pytest.raises(ev.ShapeError, match="got a number"):
        ev.laplacian(u)(Tensor(1.0))
    with pytest.raises(ValueError, match="out of range for 1 positional"):
        ev.laplacian(u, 1)(x)
    with pytest.raises(ev.ShapeError, match="needs a vector field"):
        ev.divergence(u)(x)
    with pytest.raises(ev.ShapeError, match="needs a vector field"):
        ev.curl(lambda x: x)(Tensor([1.0, 2.0, 3.0, 4.0]))
    with pytest.raises(ev.ShapeError, match="2 orders for points of 3 coordinates"):
        ev.partial(u, (1, 0))(Tensor([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match="must not be negative"):
        ev.partial(u, (1, -1))
    with pytest.raises(TypeError, match="must be integers"):
        ev.partial(u, (1, 0.5))
    with pytest.raises(ValueError, match="at least 1"):
        ev.directional_derivative(u, 0)
    with pytest.raises(TypeError, match="needs a function"):
        ev.laplacian(3)
    with pytest.raises(ev.DTypeError, match="Int64"):
        ev.laplacian(ops.sum)(Tensor([1, 2]))
