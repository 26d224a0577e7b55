"""Sparsity patterns, colours, and derivatives as sparse matrices."""

import builtins

import numpy as np
import pytest
import scipy.sparse
from checks import as_double
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import interpret, programs

import evolute as ev
from evolute import DTypeError, ShapeError, Tensor, ops


def rosenbrock(x):
    """Extended Rosenbrock function: pairs of variables."""
    return ops.sum(100.0 * (x[1::2] - x[::2] ** 2) ** 2 + (1.0 - x[::2]) ** 2)


def dense(fn, x):
    """Pattern by a dense Jacobian at a few random points."""
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(3):
        at = as_double(rng.uniform(0.5, 1.5, x.shape))
        out = ev.jacobian(fn)(at).asnumpy()
        found = found + (np.reshape(out, (-1, x.size)) != 0)
    return found > 0


@ev.custom_vjp
def own_vjp(x, y):
    return x * y


own_vjp.defvjp(lambda x, y: (own_vjp(x, y), (x, y)), lambda r, g: (g * r[1], g * r[0]))


@ev.custom_jvp
def own_jvp(x, y):
    return x * y


own_jvp.defjvps(lambda t, out, x, y: t * y, lambda t, out, x, y: t * x)


X8 = ops.zeros((8,), ev.float64)
X24 = ops.zeros((2, 3, 4), ev.float64)
W = as_double(np.random.default_rng(1).uniform(-1, 1, (4, 5)))
INDEX = Tensor([[0, 2], [1, 1]])
EXACT = {
    "elementwise": (lambda x: ops.sin(x) * ops.exp(x), X8),
    "neighbours": (lambda x: x[1:] * x[:-1] + x[:-1] ** 2, X8),
    "broadcast": (lambda x: x[0, :, :1] * x[1], X24),
    "where": (lambda x: ops.where(x[:4] > x[4:], x[:4] * 2, x[4:]) * x[:4] + x[4:], X8),
    "transpose": (lambda x: ops.transpose(x, (2, 0, 1)) * as_double(np.ones((4, 2, 3))), X24),
    "concat, flip": (lambda x: ops.concat([ops.flip(x[0], 0), x[1]], 1), X24),
    "gather": (lambda x: ops.gather(x, 1, Tensor(np.array([[[0, 2, 1, 1]], [[2, 2, 0, 1]]]))), X24),
    "index": (lambda x: x[:, INDEX], X24),
    "scatter_set": (lambda x: ops.index_update(x, (0, Tensor([0, 2])), x[1, 1:, :]), X24),
    "scatter_add": (lambda x: ops.index_add(x[0], 0, Tensor([0, 0, 2]), x[1]), X24),
    "sum": (lambda x: ops.sum(x, 1), X24),
    "mean of all": (ops.mean, X24),
    "prod": (lambda x: ops.prod(x, (0, 2)), X24),
    "cumsum": (lambda x: ops.cumsum(x, 1), X24),
    "matmul": (lambda x: x @ W, X24),
    "matmul of itself": (lambda x: x[0] @ x[1].T, X24),
    "transposed matmul": (lambda x: ops.matmul(W.T, x[0].T), X24),
    "diagonal": (lambda x: ops.diagonal(x[:, :2, :2]), X24),
    "diag": (lambda x: ops.diag(x) + ops.diag(x[1:], 1), X8),
    "stop_gradient": (lambda x: ops.stop_gradient(x[::2]) * x[1::2], X8),
    "nothing": (lambda x: ops.stop_gradient(x), X8),
    "constant": (lambda x: ops.ones((3,), ev.float64), X8),
    "checkpoint": (ev.checkpoint(lambda x: x[1:] * x[:-1]), X8),
    "one number": (lambda x: x[2] * 3, X8),
    "scan": ((lambda x: ops.scan(lambda c, y: (c * y[0], (c, y[1])), x[0, 0], x[1])[1][0]), X24),
    "scan's carry": (
        (lambda x: ops.scan(lambda c, y: (c[[1, 0]] * y, None), x[:2], ops.reshape(x[2:6], (2, 2)))[0]),
        X8,
    ),
    "while_loop": (
        (lambda x: ops.while_loop(lambda s: ops.sum(s[0]) < 99.0, lambda s: (s[0] * 2, s[0] + s[1]), (x, x))[1]),
        X8,
    ),
    "custom_vjp": (lambda x: own_vjp(x[::2], x[1::2]), X8),
    "custom_jvp": (ev.checkpoint(lambda x: own_jvp(x[::2], x[1::2])), X8),
}


@pytest.mark.parametrize("name", EXACT)
def test_patterns_are_exact_element_by_element(name):
    fn, x = EXACT[name]
    if name == "where":  # depends on which is larger; both count
        pattern = ev.jacobian_sparsity(fn, x).toarray()
        assert (pattern >= dense(fn, x)).all()
        assert pattern.sum() == 8
        return
    np.testing.assert_array_equal(ev.jacobian_sparsity(fn, x).toarray(), dense(fn, x))


LOOSE = {
    "solve": (lambda x: ops.solve(ops.eye(3, dtype=ev.float64) + x[0, :, :3], x[1]), X24),
    "cond": (lambda x: ops.cond(ops.sum(x) > 0, lambda x: x, lambda x: ops.flip(x, 0), x), X8),
    "linear_solve": (lambda x: ev.linear_solve(lambda v: 2.0 * v, x), X8),
    "root": (lambda x: ev.root(lambda y: y**3 - x, ops.ones_like(x)), X8),
}


@pytest.mark.parametrize("name", LOOSE)
def test_other_patterns_contain_what_is_there(name):
    fn, x = LOOSE[name]
    assert (ev.jacobian_sparsity(fn, x).toarray() >= dense(fn, x)).all()


def test_hessian_patterns_of_products_have_no_diagonal():
    a = ops.ones((3,))
    for f, want in (
        (lambda x: x[0] * x[1], [[0, 1, 0], [1, 0, 0], [0, 0, 0]]),
        (lambda x: x[0] / x[1], [[0, 1, 0], [1, 1, 0], [0, 0, 0]]),
        (lambda x: ops.sum(x[0] * x[1:] ** 2), [[0, 1, 1], [1, 1, 0], [1, 0, 1]]),
        (lambda x: ops.sum(ops.sin(x[:2]) * x[2]), [[1, 0, 1], [0, 1, 1], [1, 1, 0]]),
    ):
        np.testing.assert_array_equal(ev.hessian_sparsity(f, a).toarray(), np.array(want, bool))


def test_hessians_through_loops_and_rules():
    """The pattern comes from the recorded gradient: loops back, and rules in loops."""
    x = as_double(np.linspace(0.5, 1.2, 8))

    def chain(x):
        return ops.sum(ops.scan(lambda c, y: (c * c[[1, 0]] + y, ops.sin(c)), x[:2], ops.reshape(x[2:], (3, 2)))[1])

    def ruled(x):
        return ops.sum(ops.scan(lambda c, y: (c + own_vjp(y, y), None), 0 * x[:2], ops.reshape(x, (4, 2)))[0])

    for f in (chain, ruled, lambda x: ops.sum(ev.checkpoint(own_jvp)(x[1:], ops.sin(x[:-1])))):
        h = ev.sparse_hessian(f)
        np.testing.assert_allclose(h(x).toarray(), ev.hessian(f)(x).asnumpy(), rtol=1e-12, atol=1e-13)
    assert ev.sparse_hessian(ruled).directions(x) == 1


@settings(max_examples=60, deadline=None)
@given(programs)
def test_random_programs(program):
    rng = np.random.default_rng(0)
    x = as_double(rng.uniform(-1, 1, (3, 3)))
    want = np.reshape(ev.jacrev(lambda x: interpret(program, x))(x).asnumpy(), (9, 9))
    pattern = ev.jacobian_sparsity(lambda x: interpret(program, x), x).toarray()
    assert (pattern >= (want != 0)).all()
    got = ev.sparse_jacobian(lambda x: interpret(program, x))(x).toarray()
    np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)
    hessian = np.reshape(ev.hessian(lambda x: ops.sum(interpret(program, x)))(x).asnumpy(), (9, 9))
    got = ev.sparse_hessian(lambda x: ops.sum(interpret(program, x)))(x).toarray()
    np.testing.assert_allclose(got, hessian, rtol=1e-9, atol=1e-11)


# ---- colours


@st.composite
def patterns(draw, symmetric=False):
    n, m = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    if symmetric:
        m = n
    a = np.array(draw(st.lists(st.booleans(), min_size=n * m, max_size=n * m))).reshape(n, m)
    return a | a.T if symmetric else a


@given(patterns())
def test_column_colours_tell_all_elements(pattern):
    values = np.where(pattern, np.arange(1.0, pattern.size + 1).reshape(pattern.shape), 0)
    a = as_double(values)
    got = ev.sparse_jacobian(lambda x: a @ x, sparsity=scipy.sparse.csr_array(pattern))(
        ops.zeros((a.shape[1],), ev.float64)
    )
    np.testing.assert_array_equal(got.toarray(), values)


@given(patterns(symmetric=True))
def test_star_colours_tell_all_elements(pattern):
    values = np.where(pattern, np.arange(1.0, pattern.size + 1).reshape(pattern.shape), 0)
    values = np.tril(values) + np.tril(values, -1).T
    a = as_double(values)
    h = ev.sparse_hessian(lambda x: 0.5 * ops.sum(x * (a @ x)), sparsity=scipy.sparse.csr_array(pattern))
    np.testing.assert_allclose(h(as_double(np.ones(len(values)))).toarray(), values, rtol=1e-13)


def test_few_directions_where_the_pattern_allows():
    n = 200
    x = as_double(np.linspace(0.5, 1.5, n))
    cases = {
        rosenbrock: 2,
        lambda x: ops.sum(x[1:] ** 2 * x[:-1]): 3,  # tridiagonal
        lambda x: ops.sum(x[0] * x**2): 2,  # arrow
        lambda x: ops.sum(x**3): 1,  # diagonal
    }
    for f, most in cases.items():
        h = ev.sparse_hessian(f)
        assert h.directions(x) <= most
        np.testing.assert_allclose(h(x).toarray(), ev.hessian(f)(x).asnumpy(), rtol=1e-12, atol=1e-12)
    wide = ev.sparse_jacobian(lambda x: ops.stack([ops.sum(x[:100]), ops.sum(x[100:] ** 2)]))
    assert wide.directions(x) == 1  # by rows
    np.testing.assert_allclose(wide(x).toarray()[1, 100:], 2 * x.asnumpy()[100:])
    tall = ev.sparse_jacobian(lambda x: ops.concat([x, x * x]))
    assert tall.directions(x) == 1


def test_large():
    n = 100_000
    x = as_double(np.random.default_rng(0).uniform(-1, 1, n))
    h = ev.sparse_hessian(rosenbrock)(x)
    assert h.shape == (n, n)
    assert h.nnz == 2 * n
    a, b = x.asnumpy()[::2], x.asnumpy()[1::2]
    np.testing.assert_allclose(h.diagonal()[::2], 1200 * a * a - 400 * b + 2, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(h.diagonal()[1::2], 200)
    np.testing.assert_allclose(h.diagonal(1)[::2], -400 * a, rtol=1e-13)


# ---- surface


def test_values_under_transforms():
    x = as_double([0.3, 0.5, -0.2, 0.7])
    h = ev.sparse_hessian(rosenbrock)

    def trace(x):
        return ops.sum(h.values(x) ** 2)

    def reference(x):
        return ops.sum(ev.hessian(rosenbrock)(x) ** 2)

    for transform in (lambda f: f, ev.grad, ev.jit, lambda f: ev.jit(ev.grad(f)), lambda f: ev.jit(ev.hessian(f))):
        np.testing.assert_allclose(transform(trace)(x).asnumpy(), transform(reference)(x).asnumpy(), rtol=1e-11)
    xs = ops.stack([x, 2 * x])
    np.testing.assert_allclose(ev.vmap(trace)(xs).asnumpy()[1], reference(2 * x).item(), rtol=1e-12)


def test_matrix_arguments_positions_and_dtypes():
    x, k = Tensor([[1.0, 2.0], [3.0, 4.0]]), Tensor([2.0, 3.0])
    j = ev.sparse_jacobian(lambda k, x: (x * x).T * k, 1)(k, x)
    assert j.dtype == np.float32
    np.testing.assert_allclose(j.toarray(), np.reshape(ev.jacfwd(lambda x: (x * x).T * k)(x).asnumpy(), (4, 4)))
    assert isinstance(j, scipy.sparse.csr_array)
    h = ev.sparse_hessian(lambda x, n: ops.sum(x**n))
    np.testing.assert_allclose(h(k, 3).diagonal(), 6 * k.asnumpy())
    np.testing.assert_allclose(h(k, 2).diagonal(), [2, 2])
    empty = ev.sparse_jacobian(lambda x: x)(ops.zeros((0,)))
    assert empty.shape == (0, 0)


def test_results_may_be_changed():
    h, x = ev.sparse_hessian(rosenbrock), as_double([0.0, 0.5, -0.2, 0.7])
    want = h(x).toarray()
    found = h(x)
    found.data *= 2
    found.eliminate_zeros()
    pattern = h.sparsity(x)
    pattern.indices[:] = 0
    np.testing.assert_array_equal(h(x).toarray(), want)


def test_errors(monkeypatch):
    x = as_double([1.0, 2.0])
    with pytest.raises(TypeError, match="sparse_jacobian: needs a function or a cell, got int"):
        ev.sparse_jacobian(3)
    with pytest.raises(ValueError, match="sparse_jacobian: grad_position 1 is out of range for 1 positional"):
        ev.sparse_jacobian(lambda x: x, 1)(x)
    with pytest.raises(TypeError, match="jacobian_sparsity: argument 0 must be a tensor, got list"):
        ev.jacobian_sparsity(lambda x: x, [x])
    with pytest.raises(DTypeError, match="jacobian_sparsity: argument 0 has dtype Int32; convert it"):
        ev.jacobian_sparsity(lambda x: x, Tensor([1], ev.int32))
    with pytest.raises(DTypeError, match=r"jacobian_sparsity: the function must return one tensor .*, got a tuple"):
        ev.jacobian_sparsity(lambda x: (x, x), x)
    with pytest.raises(
        ShapeError, match=r"hessian_sparsity: needs a function with one number as value, got shape \(2,\)"
    ):
        ev.hessian_sparsity(lambda x: x, x)
    with pytest.raises(ShapeError, match=r"the sparsity has shape \(2, 3\), but argument 0 has 2 elements"):
        ev.sparse_jacobian(lambda x: x, sparsity=np.ones((2, 3)))(x)
    with pytest.raises(ValueError, match="the sparsity must be symmetric"):
        ev.sparse_hessian(ops.sum, sparsity=np.array([[1, 1], [0, 1]]))(x)

    whole = builtins.__import__

    def without_scipy(name, *args, **kwargs):
        if name.startswith("scipy"):
            raise ImportError(name)
        return whole(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(ImportError, match="needs SciPy for sparse matrices; install it with `pip install scipy`"):
        ev.sparse_hessian(ops.sum)(x)
