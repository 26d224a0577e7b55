"""Reductions: values against NumPy over all patterns of axes, derivatives against Cauchy's formula, edges."""

from __future__ import annotations

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.special
from checks import all_modes, as_double, assert_close, check_adjoint, check_derivatives, nest, random_arrays
from hypothesis import assume, given
from hypothesis.extra import numpy as hnp

import evolute as ev
from evolute import Tensor, ops

AXES = [None, (), 0, 1, -1, (0, 2), (-1, 0), (1,), (2, 1, 0)]


# ---- references, also for complex arguments -------------------------------------------------------------------------


def absolute(x):
    return x * np.sign(x.real)


def extremum(choose):
    def reference(x, axis=None, keepdims=False):
        axes = tuple(range(x.ndim)) if axis is None else np.atleast_1d(np.array(axis, int)) % max(x.ndim, 1)
        kept = [i for i in range(x.ndim) if i not in axes]
        rows = x.transpose(*kept, *axes).reshape(*(x.shape[i] for i in kept), -1)
        best = np.take_along_axis(rows, choose(rows.real, axis=-1, keepdims=True), -1)
        return best.reshape([1 if i in axes else n for i, n in enumerate(x.shape)] if keepdims else best.shape[:-1])

    return reference


def logsumexp(x, axis=None, keepdims=False):
    return np.log(np.sum(np.exp(x), axis=axis, keepdims=keepdims))


def softmax(x, axis=-1):
    return np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True)


def p_norm(p):
    if p == np.inf:
        return lambda x, axis=None, keepdims=False: extremum(np.argmax)(absolute(x), axis, keepdims)
    if p == -np.inf:
        return lambda x, axis=None, keepdims=False: extremum(np.argmin)(absolute(x), axis, keepdims)
    return lambda x, axis=None, keepdims=False: np.sum(absolute(x) ** p, axis=axis, keepdims=keepdims) ** (1 / p)


REFERENCES = {
    "sum": np.sum,
    "mean": np.mean,
    "prod": np.prod,
    "max": extremum(np.argmax),
    "min": extremum(np.argmin),
    "logsumexp": logsumexp,
    "norm": p_norm(2.0),
}
NUMPY = {
    **{name: getattr(np, name) for name in ("sum", "mean", "prod", "max", "min", "any", "all")},
    "logsumexp": lambda x, **kwargs: np.asarray(logsumexp(x.astype(float), **kwargs)),
}


def spread(shape):
    """Values of both signs in random order, whose magnitudes are 1/2, 1, 3/2 …"""
    n = math.prod(shape)
    rng = np.random.default_rng(n)
    return (rng.choice([-0.5, 0.5], n) * (1 + rng.permutation(n))).reshape(shape)


def any_axes(ndim):
    """None, one axis, or several, counted from either end."""
    if ndim == 0:
        return st.sampled_from([None, ()])
    one = st.integers(-ndim, ndim - 1)
    several = st.lists(one, max_size=ndim, unique_by=lambda a: a % ndim).map(tuple)
    return st.none() | one | several


SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NUMPY)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32, np.int64, np.bool_])
@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value", "ignore:divide by zero")
@given(data=st.data(), shape=SHAPES, keepdims=st.booleans(), flip=st.booleans())
def test_values(name, dtype, data, shape, keepdims, flip):
    if name in ("max", "min"):
        assume(0 not in shape)
    axis = data.draw(any_axes(len(shape)))
    x = np.random.default_rng(1).integers(-2, 3, shape).astype(dtype)
    x = x[..., ::-1].T if flip and shape else x
    want = NUMPY[name](x, axis=axis, keepdims=keepdims)
    got = getattr(ops, name)(Tensor(x), axis, keepdims).asnumpy()
    if dtype is np.float64:
        assert got.dtype == want.dtype
    rtol = 1e-15 if dtype is np.float64 else 1e-6
    # A logarithm near 0 is the difference of larger numbers.
    np.testing.assert_allclose(got, want.astype(got.dtype), rtol, 2 * rtol if name == "logsumexp" else 0)
    assert got.shape == want.shape


@pytest.mark.parametrize("p", [1, 2, 3, 0.5, 1.5, -1, 0, np.inf, -np.inf])
@given(data=st.data(), shape=hnp.array_shapes(min_dims=1, max_dims=3, max_side=4), keepdims=st.booleans())
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_norm_values(p, data, shape, keepdims):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.random.default_rng(2).integers(-2, 3, shape).astype(float)
    got = ops.norm(as_double(x), p, axis, keepdims).asnumpy()
    assert_close(got, np.linalg.norm(x, p, axis, keepdims), 1e-14)


def test_norm_of_everything():
    x = spread((2, 3))
    assert ops.norm(as_double(x)).item() == pytest.approx(np.linalg.norm(x), rel=1e-15)
    assert ops.norm(as_double(x), "fro").item() == pytest.approx(np.linalg.norm(x, "fro"), rel=1e-15)
    with pytest.raises(ValueError, match="ord"):
        ops.norm(as_double(x), "nuc")


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@given(data=st.data(), shape=hnp.array_shapes(min_dims=0, max_dims=3, max_side=5), keepdims=st.booleans())
def test_position_of_the_extremum(name, data, shape, keepdims):
    """The first of equal elements; the first NaN, where there is one."""
    values = st.sampled_from([-1.0, 0.0, -0.0, 1.0, np.inf, -np.inf, np.nan])
    x = data.draw(hnp.arrays(data.draw(st.sampled_from([np.float64, np.float32])), shape, elements=values))
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1)) if shape else None
    got = getattr(ops, name)(Tensor(x), axis, keepdims).asnumpy()
    want = getattr(np, name)(x, axis=axis, keepdims=keepdims)
    np.testing.assert_array_equal(got, want)
    assert got.dtype == np.int64


def test_position_of_the_extremum_of_integers():
    x = np.random.default_rng(3).integers(-3, 3, (5, 7))
    for dtype, axis in itertools.product((np.int32, np.int64, np.bool_), (None, 0, 1)):
        a = x.astype(dtype)
        np.testing.assert_array_equal(ops.argmax(Tensor(a), axis).asnumpy(), np.argmax(a, axis))
        np.testing.assert_array_equal(ops.argmin(Tensor(a), axis).asnumpy(), np.argmin(a, axis))


@pytest.mark.parametrize("name", ["max", "min"])
def test_nan_wins(name):
    x = np.array([[1, np.nan, 2], [3, 4, 5], [np.nan, 0, -1], [2, 2, np.nan]] * 20)
    for axis in (None, 0, 1):
        np.testing.assert_array_equal(getattr(ops, name)(Tensor(x), axis).asnumpy(), getattr(np, name)(x, axis))


@given(data=st.data(), shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5))
def test_cumsum(data, shape):
    dtype = data.draw(st.sampled_from([np.float64, np.float32, np.int32, np.int64, np.bool_]))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    x = np.random.default_rng(4).integers(-3, 4, shape).astype(dtype)
    want = np.cumsum(x, axis)
    np.testing.assert_array_equal(ops.cumsum(Tensor(x), axis).asnumpy(), want)
    want = np.flip(np.cumsum(np.flip(x, axis), axis), axis)
    np.testing.assert_array_equal(ops.cumsum(Tensor(x), axis, reverse=True).asnumpy(), want)


@pytest.mark.parametrize("layout", ["row", "column", "strided", "axis 0", "axis 1", "cumsum"])
def test_error_of_a_long_sum(layout):
    """Rounding errors grow with the logarithm of the number of terms: a plain loop would lose 3 more digits."""
    x = np.random.default_rng(5).random(2**20, np.float32)
    if layout == "strided":
        x = np.repeat(x, 3)[::3]
    grid = x.reshape(1024, 1024)
    cases = {
        "row": lambda: (ops.sum(Tensor(x)), x),
        "column": lambda: (ops.sum(Tensor(grid.T)), x),
        "strided": lambda: (ops.sum(ev.from_numpy(x)), x),
        "axis 0": lambda: (ops.sum(ops.sum(Tensor(grid), 0)), x),
        "axis 1": lambda: (ops.sum(ops.sum(Tensor(grid), 1)), x),
        "cumsum": lambda: (ops.cumsum(Tensor(x))[-1], x),
    }
    got, terms = cases[layout]()
    exact = math.fsum(terms.astype(float))
    assert abs(got.item() - exact) <= 4 * np.finfo(np.float32).eps * exact


def test_long_columns():
    """Many rows: the error of each column stays that of a pairwise sum."""
    x = np.random.default_rng(6).random((2**17, 3), np.float32)
    np.testing.assert_allclose(ops.sum(Tensor(x), 0).asnumpy(), x.astype(float).sum(0), rtol=5e-7)


def test_sums_of_integers_are_exact():
    x = np.full(1000, 2**31 - 1, np.int32)
    assert ops.sum(Tensor(x)).item() == 1000 * (2**31 - 1)
    assert ops.sum(Tensor(np.ones(300, bool))).item() == 300
    assert ops.sum(Tensor(np.array([2**63 - 1, 1]))).item() == -(2**63)  # modulo 2^64, as in NumPy


# ---- derivatives ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("name", REFERENCES)
def test_derivatives(name, axis, keepdims):
    x = spread((2, 3, 4)) / (8 if name in ("logsumexp", "prod") else 1)
    check_derivatives(
        lambda t: getattr(ops, name)(t, axis=axis, keepdims=keepdims),
        lambda a: REFERENCES[name](a, axis=axis, keepdims=keepdims),
        x,
        rtol=1e-10,
        radius=0.1,
    )


@pytest.mark.parametrize("name", REFERENCES)
def test_derivatives_of_higher_order(name):
    x = spread((2, 3)) / (8 if name == "logsumexp" else 1)
    reference = REFERENCES[name]
    check_derivatives(
        lambda t: getattr(ops, name)(t, axis=1), lambda a: reference(a, axis=1), x, order=4, rtol=1e-9, radius=0.1
    )


@pytest.mark.parametrize("p", [1, 2, 3, 0.5, 1.5, -1, np.inf, -np.inf])
def test_derivatives_of_norms(p):
    x = spread((2, 3))
    check_derivatives(
        lambda t: ops.norm(t, p, axis=1), lambda a: p_norm(p)(a, axis=1), x, order=3, rtol=1e-9, radius=0.05
    )


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_derivatives_of_softmax(axis):
    x = spread((2, 3)) / 4
    check_derivatives(lambda t: ops.softmax(t, axis), lambda a: softmax(a, axis), x, order=4, rtol=1e-9)
    check_derivatives(lambda t: ops.log_softmax(t, axis), lambda a: np.log(softmax(a, axis)), x, order=4, rtol=1e-9)


@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives_of_cumsum(reverse):
    def reference(a):
        return np.flip(np.cumsum(np.flip(a, 1), 1), 1) ** 2 if reverse else np.cumsum(a, 1) ** 2

    check_derivatives(lambda t: ops.cumsum(t, 1, reverse) ** 2, reference, *random_arrays(0, (2, 5)))


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8])
def test_product_with_zeros(n, zeros):
    x = np.linspace(0.5, 1.5, n)
    x[:: max(n // max(zeros, 1), 1)][:zeros] = 0
    check_derivatives(ops.prod, np.prod, x, order=4, rtol=1e-10)


SUMMED = ["sum", "mean", "prod", "max", "min", "logsumexp", "norm"]


@pytest.mark.parametrize("name", SUMMED)
@given(data=st.data(), shape=SHAPES, keepdims=st.booleans())
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_adjoint(name, data, shape, keepdims):
    axis = data.draw(any_axes(len(shape)))
    reduced = range(len(shape)) if axis is None else np.atleast_1d(np.array(axis, int)) % max(len(shape), 1)
    assume(name not in ("max", "min", "mean", "logsumexp") or all(shape[i] for i in reduced))
    check_adjoint(
        lambda t: getattr(ops, name)(t, axis=axis, keepdims=keepdims), spread(shape) * (2 / max(math.prod(shape), 1))
    )


@given(data=st.data(), shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
def test_adjoint_along_an_axis(data, shape):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    for fn in (ops.cumsum, ops.softmax, ops.log_softmax):
        check_adjoint(lambda t: fn(t, axis), spread(shape) / 8)  # noqa: B023


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_ties_share_the_derivative():
    x = as_double([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    third = 1 / 3
    for fn, want in ((ops.max, [[0, 0.5, 0.5], [third] * 3]), (ops.min, [[1, 0, 0], [third] * 3])):
        np.testing.assert_array_equal(ev.grad(lambda t: ops.sum(fn(t, 1)))(x).asnumpy(), want)  # noqa: B023
        v = as_double([[1.0, 2.0, 4.0], [1.0, 2.0, 6.0]])
        tangent = ev.jvp(lambda t: fn(t, 1), x, v)[1].asnumpy()  # noqa: B023
        np.testing.assert_allclose(tangent, (np.array(want) * v.asnumpy()).sum(1), rtol=1e-15)


@pytest.mark.parametrize("p", [1, 2, 3, 1.5, 0.5, np.inf])
def test_norm_of_zero_has_derivative_zero(p):
    """So that a vector that happens to vanish does not spoil the gradient with NaN."""
    x = as_double([[0.0, 0.0], [3.0, 4.0]])
    for order in range(1, 5):
        for modes in all_modes(order):

            def fn(t):
                return ops.sum(ops.norm(t * x, p, axis=1))

            got = nest(fn, modes)(as_double(1.0)).item()
            want = np.linalg.norm([3, 4], p) if order == 1 else 0  # homogeneous of degree 1
            assert got == pytest.approx(want, rel=1e-12, abs=1e-10), modes
    np.testing.assert_array_equal(ev.grad(lambda t: ops.sum(ops.norm(t, p, axis=1)))(x).asnumpy()[0], [0, 0])


def test_norm_with_zero_elements():
    for p in (1.5, 2, 3):
        got = ev.grad(lambda t: ops.norm(t, p))(as_double([0.0, 2.0]))  # noqa: B023
        np.testing.assert_allclose(got.asnumpy(), [0, 1], rtol=1e-15)


def test_logsumexp_of_large_values():
    x = np.array(
        [[1000.0, 1000.5], [-1000.0, -1001.0], [0.0, 800.0], [-np.inf, 3.0], [-np.inf, -np.inf], [np.inf, 1.0]]
    )
    np.testing.assert_allclose(ops.logsumexp(as_double(x), 1).asnumpy(), scipy.special.logsumexp(x, 1), rtol=1e-15)
    finite = x[:4]
    want = scipy.special.softmax(finite, 1)
    np.testing.assert_allclose(
        ev.grad(lambda t: ops.sum(ops.logsumexp(t, 1)))(as_double(finite)).asnumpy(), want, rtol=1e-14
    )
    np.testing.assert_allclose(ops.softmax(as_double(finite)).asnumpy(), want, rtol=1e-14)
    np.testing.assert_allclose(
        ops.log_softmax(as_double(finite)).asnumpy(), scipy.special.log_softmax(finite, 1), rtol=1e-15
    )
    x, p = finite[:3], want[:3]
    variance = (p * (x - (p * x).sum(1, keepdims=True)) ** 2).sum(1)
    for modes in all_modes(2):
        got = nest(lambda t: ops.sum(ops.logsumexp(t * as_double(x), 1)), modes)(as_double(1.0)).item()
        assert got == pytest.approx(variance.sum(), rel=1e-8)  # a difference of squares of 1000


def test_nothing_to_reduce():
    empty = Tensor(np.zeros((0, 3)))
    assert ops.sum(empty).item() == 0
    assert ops.prod(empty, 0).tolist() == [1, 1, 1]
    assert ops.logsumexp(empty, 0).tolist() == [-np.inf] * 3
    assert ops.any(empty).item() is False
    assert ops.all(empty).item() is True
    assert ops.norm(empty, axis=0).tolist() == [0, 0, 0]
    assert ops.max(empty, 1).shape == (0,)
    for fn in (ops.max, ops.min, ops.argmax, ops.argmin):
        with pytest.raises(ev.ShapeError, match=r"no elements"):
            fn(empty, 0)


@pytest.mark.parametrize("name", [*SUMMED, "any", "all", "argmax", "argmin", "cumsum", "softmax", "log_softmax"])
def test_bad_axes(name):
    fn = getattr(ops, name)
    x = as_double(np.ones((2, 3)))
    for axis in (2, -3):
        with pytest.raises(IndexError, match="axis"):
            fn(x, axis=axis)
    if name in SUMMED:
        with pytest.raises(ValueError, match="twice"):
            fn(x, axis=(0, -2))


def test_methods():
    x = as_double(spread((2, 3)))
    for name in [*SUMMED, "any", "all", "argmax", "argmin", "cumsum"]:
        np.testing.assert_array_equal(getattr(x, name)(axis=1).asnumpy(), getattr(ops, name)(x, axis=1).asnumpy())
