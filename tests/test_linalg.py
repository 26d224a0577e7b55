"""Dense linear algebra: values against NumPy and SciPy, derivatives in every mode, singular matrices, errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
from checks import all_modes, as_double, assert_close, check_adjoint, check_derivatives, nest, random_arrays

import evolute as ev
from evolute import Tensor, ops

TRIANGULAR = list(itertools.product([True, False], repeat=3))  # lower, transpose, unit_diagonal


def regular(n, batch=(), seed=0):
    """Matrices whose determinants stay away from 0 when all their elements move a little."""
    return np.random.default_rng(seed).uniform(-1, 1, (*batch, n, n)) / np.sqrt(max(n, 1)) + 1.5 * np.eye(n)


def definite(n, batch=(), seed=0):
    a = regular(n, batch, seed)
    return a @ a.swapaxes(-1, -2)


def symmetric(a):
    return (a + np.swapaxes(a, -1, -2)) / 2


# ---- references, also for complex arguments -------------------------------------------------------------------------


def cholesky(a):
    """L with L Lᵀ the symmetric part of a; analytic, so without conjugates."""
    a, low = symmetric(a), np.zeros(a.shape, complex)
    for j in range(a.shape[-1]):
        low[..., j, j] = np.sqrt(a[..., j, j] - (low[..., j, :j] ** 2).sum(-1))
        for i in range(j + 1, a.shape[-1]):
            low[..., i, j] = (a[..., i, j] - (low[..., i, :j] * low[..., j, :j]).sum(-1)) / low[..., j, j]
    return low


def log_abs_det(a):
    d = np.linalg.det(a)
    return np.log(d * np.sign(d.real))


def triangular(lower=True, transpose=False, unit_diagonal=False):
    def solve(a, b):
        k = -1 if unit_diagonal else 0
        t = np.tril(a, k) if lower else np.triu(a, -k)
        t = t + np.eye(a.shape[-1]) if unit_diagonal else t
        return np.linalg.solve(t.swapaxes(-1, -2) if transpose else t, b)

    return solve


def minors(a):
    """Matrix of cofactors by its definition."""
    n = a.shape[-1]
    without = [np.delete(np.arange(n), i) for i in range(n)]
    return np.array(
        [[(-1) ** (i + j) * np.linalg.det(a[np.ix_(without[i], without[j])]) for j in range(n)] for i in range(n)]
    )


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 16, 33, 64, 100])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("batch", [(), (2, 3)], ids=str)
def test_values(n, dtype, batch):
    a, s = regular(n, batch).astype(dtype), definite(n, batch).astype(dtype)
    b, v = (x.astype(dtype) for x in random_arrays(1, (*batch, n, 3), (n,)))
    rtol, atol = (1e-12, 1e-13) if dtype is np.float64 else (2e-4, 2e-5)
    operands = [(a, b, v), (np.asarray(a[..., ::-1].swapaxes(-1, -2)), b[..., ::-1], v[::-1])]
    for x, y, z in operands:
        t = ev.from_numpy(x)
        for got, want in [
            (ops.solve(t, ev.from_numpy(y)), np.linalg.solve(x, y)),
            (ops.solve(t, ev.from_numpy(z)), np.linalg.solve(x, z)),
            (ops.inv(t), np.linalg.inv(x)),
            (ops.det(t), np.linalg.det(x)),
            (ops.slogdet(t)[0], np.linalg.slogdet(x)[0]),
            (ops.slogdet(t)[1], np.linalg.slogdet(x)[1]),
        ]:
            assert got.dtype == t.dtype
            assert_close(got, want, rtol, atol * max(1, np.abs(want).max(initial=0)))
    assert_close(ops.cholesky(Tensor(s)), np.linalg.cholesky(s), rtol, atol)


@pytest.mark.parametrize(("lower", "transpose", "unit_diagonal"), TRIANGULAR)
@pytest.mark.parametrize("n", [1, 2, 5, 33, 64])
def test_triangular_values(n, lower, transpose, unit_diagonal):
    a = regular(n) + 2 * np.eye(n)
    a = a if not unit_diagonal else a / n
    for b in random_arrays(2, (n,), (n, 1), (n, 130)):
        want = scipy.linalg.solve_triangular(a, b, int(transpose), lower, unit_diagonal)
        got = ops.solve_triangular(as_double(a), as_double(b), lower, transpose, unit_diagonal)
        assert_close(got, want, 1e-13)
        # The other triangle is not read.
        other = np.where(np.tri(n, k=0 if lower else -1).astype(bool) == lower, a, np.nan)
        got = ops.solve_triangular(as_double(other), as_double(b), lower, transpose, unit_diagonal)
        assert_close(got, want, 1e-13)


def test_cholesky_reads_the_lower_triangle():
    s = definite(4)
    got = ops.cholesky(as_double(np.where(np.tri(4, dtype=bool), s, np.nan)))
    assert_close(got, np.linalg.cholesky(s), 1e-14)


def test_cholesky_of_what_is_not_positive_definite():
    s = np.stack([np.eye(2), [[1.0, 2.0], [2.0, 1.0]], np.zeros((2, 2)), [[np.nan, 0], [0, 1]]])
    got = ops.cholesky(as_double(s)).asnumpy()
    np.testing.assert_array_equal(got[0], np.eye(2))
    assert np.isnan(got[1:][..., np.tri(2, dtype=bool)]).all()


@pytest.mark.parametrize(("a", "b"), [((1,), (4,)), ((3, 1), (1, 4)), ((2, 3), (3,)), ((), (2,)), ((2,), ())], ids=str)
def test_batches_broadcast(a, b):
    x, y = regular(3, a), random_arrays(3, (*b, 3, 2))[0]
    for fn, reference in ((ops.solve, np.linalg.solve), (ops.solve_triangular, triangular())):
        assert_close(fn(as_double(x), as_double(y)), reference(x, y), 1e-13)
        check_derivatives(fn, reference, x, y, order=2, rtol=1e-11, radius=0.1)
        check_adjoint(fn, x, y)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers_become_float32(dtype):
    a = np.array([[2, 1], [1, 3]], dtype)
    for got, want in [
        (ops.inv(Tensor(a)), np.linalg.inv(a)),
        (ops.solve(Tensor(a), Tensor(a)), np.eye(2)),
        (ops.det(Tensor(a)), np.float64(5)),
        (ops.cholesky(Tensor(a)), np.linalg.cholesky(a)),
    ]:
        assert got.dtype == ev.float32
        assert_close(got, want, 1e-6, 1e-6)


def test_determinants_beyond_the_range_of_numbers():
    """Neither log |det| nor its sign overflow; det does only where it must."""
    for scale in (1e200, -1e200, 1e-200, -1e-200):
        a = np.diag([scale, 2.0, 3 * scale, -1.0, 0.5])
        sign, log = ops.slogdet(as_double(a))
        assert sign.item() == -1
        assert log.item() == pytest.approx(2 * np.log(abs(scale)) + np.log(3), rel=1e-15)
    balanced = np.diag([1e200, 1e-200, 1e250, 1e-250, 3.0])
    assert ops.det(as_double(balanced)).item() == pytest.approx(3, rel=1e-13)
    assert ops.slogdet(as_double(np.zeros((2, 2))))[0].item() == 0
    assert ops.slogdet(as_double(np.zeros((2, 2))))[1].item() == -np.inf
    assert np.isnan(ops.det(as_double([[np.nan, 1], [1, 1]])).item())


def test_solving_a_badly_scaled_system():
    """Pivoting: without it all digits are lost here."""
    a, b = np.array([[1e-20, 1.0], [1.0, 1.0]]), np.array([1.0, 2.0])
    assert_close(ops.solve(as_double(a), as_double(b)), np.linalg.solve(a, b), 1e-15)
    hilbert = scipy.linalg.hilbert(8)
    x = ops.solve(as_double(hilbert), as_double(hilbert.sum(1))).asnumpy()
    np.testing.assert_allclose(hilbert @ x, hilbert.sum(1), rtol=1e-14)


# ---- derivatives ----------------------------------------------------------------------------------------------------

UNARY = {
    "cholesky": (ops.cholesky, cholesky),
    "inv": (ops.inv, np.linalg.inv),
    "det": (ops.det, np.linalg.det),
    "slogdet": (lambda a: ops.slogdet(a)[1], log_abs_det),
}


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize(("n", "batch"), [(1, ()), (2, ()), (3, ()), (4, ()), (6, ()), (3, (2,)), (2, (2, 3))], ids=str)
def test_derivatives(name, n, batch):
    fn, reference = UNARY[name]
    a = definite(n, batch) if name == "cholesky" else regular(n, batch)
    check_derivatives(fn, reference, a, order=2, rtol=1e-11, radius=0.1)


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_derivatives_of_higher_order(name, n):
    fn, reference = UNARY[name]
    a = definite(n, seed=1) if name == "cholesky" else regular(n, seed=1)
    check_derivatives(fn, reference, a, order=4, rtol=1e-9, radius=0.1)


@pytest.mark.parametrize("columns", [None, 1, 2])
@pytest.mark.parametrize("n", [1, 3])
def test_derivatives_of_solve(n, columns):
    a, b = regular(n), random_arrays(4, (n,) if columns is None else (n, columns))[0]
    check_derivatives(ops.solve, np.linalg.solve, a, b, order=4, rtol=1e-9, radius=0.1)


@pytest.mark.parametrize(("lower", "transpose", "unit_diagonal"), TRIANGULAR)
def test_derivatives_of_triangular_solve(lower, transpose, unit_diagonal):
    a, b = regular(3) + 1, random_arrays(5, (3, 2))[0]
    flags = (lower, transpose, unit_diagonal)
    check_derivatives(
        lambda x, y: ops.solve_triangular(x, y, *flags), triangular(*flags), a, b, order=3, rtol=1e-10, radius=0.1
    )


def test_gradient_of_cholesky_is_symmetric():
    """A counts as symmetric: each off-diagonal pair shares its derivative."""
    g = ev.grad(lambda a: ops.sum(ops.cholesky(a) ** 3))(as_double(definite(4))).asnumpy()
    np.testing.assert_allclose(g, g.T, rtol=1e-14)
    # Along a symmetric direction it is the derivative of the factor.
    a, v = definite(3), symmetric(random_arrays(6, (3, 3))[0])
    tangent = ev.jvp(ops.cholesky, as_double(a), as_double(v))[1].asnumpy()
    low = np.linalg.cholesky(a)
    np.testing.assert_allclose(tangent @ low.T + low @ tangent.T, v, atol=1e-14)


def test_sign_of_the_determinant_is_flat():
    a = as_double(regular(3))
    assert not ev.grad(lambda x: ops.slogdet(x)[0])(a).asnumpy().any()
    assert ev.jvp(lambda x: ops.slogdet(x)[0], a, a)[1].item() == 0


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("deficit", [0, 1, 2])
def test_gradient_of_det_at_singular_matrices(n, deficit):
    """The cofactors, of which only those of rank n − 1 and above do not vanish."""
    rank = max(n - deficit, 0)
    x, y = random_arrays(7, (n, rank), (rank, n))
    a = x @ y
    assert_close(ev.grad(ops.det)(as_double(a)), minors(a), 1e-12, atol=1e-14)
    v = random_arrays(8, (n, n))[0]
    assert ev.jvp(ops.det, as_double(a), as_double(v))[1].item() == pytest.approx((minors(a) * v).sum(), abs=1e-13)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_higher_derivatives_of_det_at_singular_matrices(n, rank):
    """Up to 3 x 3 the determinant is differentiated as the polynomial it is."""
    x, y = random_arrays(9, (n, min(rank, n)), (min(rank, n), n))
    check_derivatives(ops.det, np.linalg.det, x @ y, order=4, rtol=1e-12, radius=1.0)


def test_composition():
    """log det of a Gram matrix by three routes, which share all derivatives."""
    x = as_double(random_arrays(10, (3, 3))[0] + np.eye(3))
    routes = [
        lambda a: ops.slogdet(a @ a.T)[1],
        lambda a: 2 * ops.sum(ops.log(ops.diagonal(ops.cholesky(a @ a.T)))),
        lambda a: ops.log(ops.det(a) ** 2),
    ]
    v = as_double(random_arrays(11, (3, 3))[0])
    for order in range(4):
        for modes in all_modes(order):
            values = [nest(lambda t: route(x + t * v), modes)(as_double(0.0)).item() for route in routes]  # noqa: B023
            np.testing.assert_allclose(values, values[0], rtol=1e-11, err_msg=modes)


# ---- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cholesky", "inv", "det", "slogdet"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 2)], ids=str)
def test_matrices_must_be_square(name, shape):
    with pytest.raises(ev.ShapeError, match="square"):
        getattr(ops, name)(as_double(np.ones(shape)))


@pytest.mark.parametrize(
    ("a", "b"), [((2, 3), (2,)), ((3, 3), (2,)), ((3, 3), (2, 3)), ((2, 3, 3), (3, 3, 1)), ((3, 3), ())]
)
def test_systems_must_fit(a, b):
    for fn in (ops.solve, ops.solve_triangular):
        with pytest.raises(ev.ShapeError, match="solve"):
            fn(as_double(np.ones(a)), as_double(np.ones(b)))
