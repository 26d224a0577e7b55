"""Fused loops over operands that lie in any way: broadcast along any axes, transposed, cut out, reversed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import evolute as ev
from evolute import Tensor, ops

LENGTHS = st.sampled_from([1, 2, 3, 5, 20, 70, 300])


@st.composite
def layouts(draw):
    """A shape, and for each of three operands: its axes in memory, and how each axis is cut out of a longer one."""
    shape = draw(st.lists(LENGTHS, min_size=1, max_size=4).filter(lambda shape: math.prod(shape) <= 100_000))
    cuts = st.sampled_from(["all", "one", "from", "step", "reverse"])
    operand = st.tuples(st.permutations(range(len(shape))), st.lists(cuts, min_size=len(shape), max_size=len(shape)))
    return shape, draw(st.lists(operand, min_size=3, max_size=3))


def source(shape, order, cuts, seed):
    """The array in memory."""
    lengths = []
    for axis in order:
        n, cut = shape[axis], cuts[axis]
        lengths.append({"one": 1, "from": n + 3, "step": 2 * n}.get(cut, n))
    return np.random.default_rng(seed).uniform(0.5, 1.5, lengths)


def view(a, shape, order, cuts):
    """The operand, by indexing that NumPy and the engine have in common."""
    a = a.transpose(*(order.index(axis) for axis in range(len(shape))))
    index = {"from": slice(3, None), "step": slice(None, None, 2), "reverse": slice(None, None, -1)}
    return a[tuple(index.get(cut, slice(None)) for cut in cuts)]


@settings(max_examples=150)
@given(layouts())
def test_any_layout(case):
    shape, operands = case
    arrays = [source(shape, *o, seed) for seed, o in enumerate(operands)]

    def f(*xs):
        x, y, z = (view(a, shape, *o) for a, o in zip(xs, operands, strict=True))
        return x * y + z * x, x - z

    got = ev.jit(f)(*map(Tensor, arrays))
    for g, want in zip(got, f(*arrays), strict=True):
        np.testing.assert_array_equal(g.asnumpy(), want)


@pytest.mark.parametrize("shape", [(0, 5, 3), (4, 0, 3), (4, 5, 0)])
def test_nothing_to_do(shape):
    f = ev.jit(lambda x, y: (x + y) * y)
    assert f(ops.ones(shape), ops.ones((shape[0], 1, shape[2]))).shape == shape


def test_rows_far_apart():
    """Beyond what a block can keep in the cache."""
    x = np.random.default_rng(0).uniform(0.5, 1.5, (300, 2000))
    f = lambda x, y: (x + y.transpose(1, 0)) * x  # noqa: E731
    np.testing.assert_array_equal(ev.jit(f)(Tensor(x), Tensor(x.T.copy())).asnumpy(), f(x, x.T.copy()))
