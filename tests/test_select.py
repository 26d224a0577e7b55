"""Choosing and stopping: where, clip, stop_gradient."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from checks import all_modes, as_double, check_derivatives, nest
from hypothesis import given
from hypothesis.extra import numpy as hnp

import evolute as ev
from evolute import Tensor, ops

# ---- where ----------------------------------------------------------------------------------------------------------


def test_where_derivatives():
    mask = np.array([[True, False, True], [False, False, True]])
    x, y = np.random.default_rng(0).uniform(0.5, 1, (2, 2, 3))

    def fn(a, b):
        return ops.where(Tensor(mask), a * b, b**3)

    check_derivatives(fn, lambda a, b: np.where(mask, a * b, b**3), x, y, order=4, rtol=1e-10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_chosen_does_not_matter(bad):
    mask = Tensor([True, False])
    x, y = as_double([2.0, bad]), as_double([bad, 3.0])
    for order in range(4):
        for modes in all_modes(order):
            for position, want in ((0, [[8, 0], [12, 0], [12, 0], [6, 0]]), (1, [[8, 27], [0, 27], [0, 18], [0, 6]])):
                got = nest(lambda a, b: ops.where(mask, a, b) ** 3, modes, (position,) * order)(x, y).asnumpy()
                np.testing.assert_array_equal(got, [8, 27] if order == 0 else want[order], err_msg=modes)


def test_guarded_function():
    """The two-sided guard: neither values nor derivatives of the branch that is not taken come through."""

    def safe_log(x):
        positive = x > 0
        return ops.where(positive, ops.log(ops.where(positive, x, 1.0)), 0.0)

    for modes in all_modes(2):
        np.testing.assert_array_equal(nest(safe_log, modes)(as_double([2.0, 0.0, -1.0])).asnumpy(), [-0.25, 0, 0])


def test_where_of_numbers():
    assert ops.where(Tensor([True, False]), 1, 0).tolist() == [1, 0]
    assert ops.where(Tensor([2, 0]), [1.0, 2.0], 5.0).tolist() == [1.0, 5.0]  # any condition counts as not 0
    got = ev.grad(lambda x: ops.where(x > 1, x, 0.0))(as_double([0.5, 2.0]))
    assert got.tolist() == [0, 1]


# ---- clip -----------------------------------------------------------------------------------------------------------


@given(
    x=hnp.arrays(np.float64, hnp.array_shapes(max_dims=2, max_side=3), elements=st.floats(-2, 2) | st.just(np.nan)),
    lo=st.none() | st.floats(-1, 1),
    hi=st.none() | st.floats(-1, 1),
)
def test_clip(x, lo, hi):
    got = ops.clip(Tensor(x), lo, hi).asnumpy()
    np.testing.assert_array_equal(got, np.clip(x, lo, hi))
    inside = (x >= (-np.inf if lo is None else lo)) & (np.minimum(x, x) <= (np.inf if hi is None else hi))
    if lo is None or hi is None or lo <= hi:
        for mode in "rf":
            got = nest(lambda t: ops.clip(t, lo, hi), mode)(Tensor(x)).asnumpy()
            np.testing.assert_array_equal(got, inside | np.isnan(x))


def test_clip_passes_derivatives_to_its_bounds():
    x, lo, hi = as_double([-2.0, 0.0, 2.0]), as_double([-1.0, -1.0, -1.0]), as_double([1.0, 1.0, 1.0])
    for position, want in enumerate([[0, 1, 0], [1, 0, 0], [0, 0, 1]]):
        for mode in "rf":
            assert nest(ops.clip, mode, (position,))(x, lo, hi).tolist() == want


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float32])
def test_clip_keeps_the_dtype(dtype):
    x = np.array([-5, 0, 5], dtype)
    got = ops.clip(Tensor(x), -1, 2).asnumpy()
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, [-1, 0, 2])


# ---- stop_gradient --------------------------------------------------------------------------------------------------


def test_stop_gradient_stops_in_every_mode():
    x = as_double([0.5, 2.0])
    for order in (1, 2, 3):
        for modes in all_modes(order):
            assert nest(ops.stop_gradient, modes)(x).tolist() == [0, 0]
            # x² · stop(x): the second factor counts as a constant, at every level.
            got = nest(lambda t: t**2 * ops.stop_gradient(t), modes)(x).asnumpy()
            np.testing.assert_array_equal(got, [2 * x.asnumpy() ** 2, 2 * x.asnumpy(), 0 * x.asnumpy()][order - 1])


def test_stop_gradient_between_levels():
    """A derivative that is stopped is a constant to the outer derivative; one taken of a stopped value is not."""
    x = as_double(1.5)
    for outer in "rf":
        for inner in "rf":
            stopped = nest(lambda t: ops.stop_gradient(nest(lambda s: s**3, inner)(t)) * t, outer)(x)  # noqa: B023
            assert stopped.item() == 3 * 1.5**2
            inside = nest(lambda t: nest(lambda s: s**2 * t, inner)(ops.stop_gradient(t)), outer)(x)  # noqa: B023
            assert inside.item() == 2 * 1.5
            other = nest(lambda t: nest(lambda s: ops.stop_gradient(s) * t, inner)(t), outer)(x)  # noqa: B023
            assert other.item() == 0


def test_stop_gradient_keeps_the_value():
    for dtype in (np.float32, np.int32, np.bool_):
        x = Tensor(np.array([0, 1], dtype))
        assert ops.stop_gradient(x).dtype == x.dtype
        assert ops.stop_gradient(x).tolist() == x.tolist()
