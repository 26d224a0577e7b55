"""jacfwd, jacrev, jacobian, hessian, hvp: structures, modes, chunks of directions, errors."""

import numpy as np
import pytest
from checks import random_arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping import loop

import evolute as ev
from evolute import DTypeError, ShapeError, Tensor, ops

MODES = [ev.jacfwd, ev.jacrev, ev.jacobian]
TWO = Tensor([1.0, 2.0])
RUNS = [lambda f: f, ev.jit]


def differences(f, x, h=1e-6):
    """Jacobian by central differences."""
    columns = []
    for k in range(x.size):
        e = np.zeros(x.size)
        e[k] = h
        e = e.reshape(x.shape)
        columns.append((f(Tensor(x + e)).asnumpy() - f(Tensor(x - e)).asnumpy()) / (2 * h))
    shape = columns[0].shape if columns else ()
    return np.stack(columns, -1).reshape(*shape, *x.shape)


FUNCTIONS = [
    lambda x: ops.sin(x) * ops.sum(x),
    lambda x: ops.outer(x, ops.exp(x)),
    lambda x: ops.cumsum(ops.flip(x**2), -1),
    lambda x: ops.concat([x[:1] * x[-1:], x, ops.max(x, keepdims=True)], 0),
    lambda x: ops.softmax(ops.matmul(Tensor(np.arange(12.0).reshape(4, 3) / 9), x)),
    lambda x: ops.norm(x),
    lambda x: ops.solve(ops.diag(x) + 3.0, x),
]


@pytest.mark.parametrize("jacobian", MODES)
@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("f", FUNCTIONS)
def test_against_differences(jacobian, run, f):
    x = random_arrays(0, (3,))[0] + 0.2
    np.testing.assert_allclose(run(jacobian(f))(Tensor(x)).asnumpy(), differences(f, x), 1e-7, 1e-8)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("f", FUNCTIONS)
def test_hessians_against_differences_of_gradients(run, f):
    x = random_arrays(1, (3,))[0] + 0.2

    def scalar(x):
        return ops.sum(ops.sin(f(x)))

    want = differences(ev.grad(scalar), x)
    np.testing.assert_allclose(run(ev.hessian(scalar))(Tensor(x)).asnumpy(), want, 1e-6, 1e-7)
    np.testing.assert_allclose(run(ev.jacrev(ev.jacfwd(scalar)))(Tensor(x)).asnumpy(), want, 1e-6, 1e-7)
    v = Tensor([0.3, -1.0, 2.0])
    np.testing.assert_allclose(
        run(lambda x, v: ev.hvp(scalar, x, v))(Tensor(x), v).asnumpy(), want @ v.asnumpy(), 1e-6, 1e-7
    )


@pytest.mark.parametrize("jacobian", MODES)
@given(st.lists(st.integers(0, 3), max_size=2), st.sampled_from(["float32", "float64"]), st.booleans())
@settings(max_examples=20, deadline=None)
def test_shapes(jacobian, shape, dtype, compiled):
    x = Tensor(np.ones(shape, dtype))

    def f(x):
        return ops.stack([x, ops.sin(x) * ops.sum(x)], -1)

    got = (ev.jit if compiled else lambda f: f)(jacobian(f))(x)
    assert got.shape == (*shape, 2, *shape)
    assert got.dtype == x.dtype


@pytest.mark.parametrize("jacobian", MODES)
@pytest.mark.parametrize("run", RUNS)
def test_several_arguments_and_outputs(jacobian, run):
    x, y = map(Tensor, random_arrays(2, (2,), (3,)))

    def f(x, scale, y):
        return {"outer": ops.outer(x, y) * scale, "sum": ops.sum(x * x) * scale}

    j = run(jacobian(f, (0, -1)))(x, 2.0, y)
    assert j["outer"][0].shape == (2, 3, 2)
    assert j["outer"][1].shape == (2, 3, 3)
    np.testing.assert_allclose(j["sum"][0].asnumpy(), 4 * x.asnumpy())
    np.testing.assert_array_equal(j["sum"][1].asnumpy(), np.zeros(3))
    np.testing.assert_allclose(j["outer"][0].asnumpy(), 2 * np.einsum("ik,j->ijk", np.eye(2), y.asnumpy()))
    (single,) = run(jacobian(lambda x, y: (x * y[:2],), 1))(x, y)
    np.testing.assert_allclose(single.asnumpy(), np.diag(x.asnumpy()) @ np.eye(2, 3))


@pytest.mark.parametrize("jacobian", MODES)
def test_structures_as_arguments(jacobian):
    x, y = map(Tensor, random_arrays(3, (2,), (3,)))
    j = jacobian(lambda p, n: ops.outer(p["x"], p["y"][0]) ** n)({"x": x, "y": [y, "label"]}, 2)
    assert j["x"].shape == (2, 3, 2)
    assert j["y"][0].shape == (2, 3, 3)
    assert j["y"][1] is None


@pytest.mark.parametrize("jacobian", MODES)
def test_aux(jacobian):
    x = Tensor([1.0, 2.0])
    j, aux = jacobian(lambda x: (x * x, ops.sum(x), "note"), has_aux=True)(x)
    np.testing.assert_array_equal(j.asnumpy(), [[2, 0], [0, 4]])
    assert aux[0].item() == 3
    assert aux[1] == "note"
    h, (value,) = ev.hessian(lambda x: (ops.sum(x**3), x * 2), has_aux=True)(x)
    np.testing.assert_array_equal(h.asnumpy(), [[6, 0], [0, 12]])
    np.testing.assert_array_equal(value.asnumpy(), [2, 4])


@pytest.mark.parametrize("run", RUNS)
def test_blocks_of_hessians(run):
    x, y = map(Tensor, random_arrays(4, (2,), (3,)))

    def f(x, y):
        return ops.sum(ops.outer(x, y) ** 3)

    h = run(ev.hessian(f, (0, 1)))(x, y)
    both = ev.hessian(lambda z: f(z[:2], z[2:]))(ops.concat([x, y])).asnumpy()
    for i, rows in enumerate((slice(0, 2), slice(2, 5))):
        for j, cols in enumerate((slice(0, 2), slice(2, 5))):
            np.testing.assert_allclose(h[i][j].asnumpy(), both[rows, cols], 1e-12)
    by_x, by_y = ev.hvp(f, (x, y), (x, y))
    z = np.concatenate([x.asnumpy(), y.asnumpy()])
    np.testing.assert_allclose(np.concatenate([by_x.asnumpy(), by_y.asnumpy()]), both @ z, 1e-12)


@pytest.mark.parametrize("jacobian", [*MODES, ev.hessian])
def test_the_function_runs_once(jacobian):
    calls = []

    def f(x):
        calls.append(x.shape)
        return ops.sum(x**2)

    jacobian(f)(Tensor(np.ones(50)))
    assert calls == [(50,)] * (2 if jacobian is ev.jacobian and len(calls) == 2 else 1)


@pytest.mark.parametrize("jacobian", MODES)
def test_mapped_jacobians(jacobian):
    x = random_arrays(5, (4, 3))[0]
    f = jacobian(lambda x: ops.sin(x) * ops.sum(x))
    for run in RUNS:
        got = run(ev.vmap(f))(Tensor(x)).asnumpy()
        np.testing.assert_allclose(got, loop(f, [x], [0])[0], 1e-13)
    nested = ev.jacfwd(ev.vmap(lambda x: x**2))(Tensor(x)).asnumpy()
    assert nested.shape == (4, 3, 4, 3)
    np.testing.assert_allclose(nested.reshape(12, 12), np.diag(2 * x.ravel()), 1e-14)


@pytest.mark.parametrize("jacobian", MODES)
def test_directions_go_in_chunks_within_bounded_memory(jacobian):
    """8 MiB for a direction and what it leads to: eight at a time, where all twenty would be 160 MiB."""
    n, m = (20, 1 << 20) if jacobian is ev.jacfwd else (1 << 20, 20)
    x = Tensor(np.linspace(0.1, 1.0, n))
    if jacobian is ev.jacfwd:
        weights = Tensor(np.linspace(0.0, 1.0, m))

        def f(x):
            return weights * ops.sum(x * x)

        want = np.outer(weights.asnumpy(), 2 * x.asnumpy())
    else:

        def f(x):
            return ops.stack([ops.sum(x) * k for k in range(m)])

        want = np.repeat(np.arange(float(m))[:, None], n, 1)
    ev._evolute.reset_peak_memory()
    before = ev._evolute.memory_stats()["live_bytes"]
    got = jacobian(f)(x)
    peak = ev._evolute.memory_stats()["peak_bytes"] - before
    np.testing.assert_allclose(got.asnumpy(), want, 1e-12)
    assert peak < 2 * got.size * 8 + 4 * (64 << 20)


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (TypeError, "jacobian: needs a function", lambda: ev.jacobian(3)),
        (TypeError, "jacrev: grad_position", lambda: ev.jacrev(ops.sin, "a")),
        (ValueError, "jacfwd: grad_position .* twice", lambda: ev.jacfwd(ops.sin, (0, 0))),
        (ValueError, "jacrev: grad_position 2 is out of range", lambda: ev.jacrev(ops.sin, 2)(Tensor([1.0]))),
        (DTypeError, "jacfwd: cannot differentiate .* Int64", lambda: ev.jacfwd(ops.sin)(Tensor([1]))),
        (DTypeError, "jacrev: the function's output is Bool", lambda: ev.jacrev(lambda x: x > 0)(Tensor([1.0]))),
        (DTypeError, "jacfwd: the function's output is Int64", lambda: ev.jacfwd(ops.argmax)(Tensor([1.0]))),
        (DTypeError, "jacobian: .* not str", lambda: ev.jacobian(lambda x: "a")(Tensor([1.0]))),
        (ValueError, "jacrev: with has_aux", lambda: ev.jacrev(ops.sin, has_aux=True)(Tensor([1.0]))),
        (
            ShapeError,
            r"hvp: needs a function with one number",
            lambda: ev.hvp(ops.sin, Tensor([1.0, 2.0]), Tensor([1.0, 2.0])),
        ),
        (ShapeError, "a tangent has shape", lambda: ev.hvp(ops.sum, TWO, Tensor([1.0]))),
        (DTypeError, "hessian: the function must return one tensor", lambda: ev.hessian(lambda x: 1.0)(Tensor([1.0]))),
    ],
)
def test_errors(error, match, call):
    with pytest.raises(error, match=match):
        call()
