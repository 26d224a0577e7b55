"""The pass that computes matrices with few diagonals on these alone."""

import numpy as np
import pytest
from checks import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from test_passes import compiled, floats

import evolute as ev
from evolute import Tensor, ops

N = 40  # matrices of less than 32 rows and columns are left alone


def banded(*offsets, n=N, seed=0):
    """A matrix with the diagonals, as a program makes it."""
    parts = [ops.diag(floats(n - abs(k), seed=seed + k + n), k) for k in offsets]
    return sum(parts[1:], parts[0])


def check(fn, *args, rtol=1e-13):
    """Compare with eager mode; gives how often each operation is in the graph after the pass."""
    got, operations = compiled(fn, ["diagonals"], *args)
    assert_close(got.asnumpy(), fn(*args).asnumpy(), rtol)
    return operations


X, W, V = floats(N), floats(N, N, seed=1), floats(N, 1, seed=2)

STEPS = {
    "columns": lambda m: m * X[: m.shape[-1]],
    "rows": lambda m: V[: m.shape[-2]] * m,
    "elements": lambda m: W[: m.shape[-2], : m.shape[-1]] * m,
    "quotient": lambda m: m / W[: m.shape[-2], : m.shape[-1]],
    "number": lambda m: 3.0 * m,
    "negative": lambda m: -m,
    "difference": lambda m: m - 2 * m,
    "neighbours": lambda m: ops.pad(m[1:, :-1], ((0, 1), (1, 0))) + m,
    "corner": lambda m: m[: max(m.shape[-2] - 2, 1), 3:] if m.shape[-1] > 5 else m,
    "transpose": lambda m: m.T,
    "window": lambda m: ops.pad(m, ((2, 0), (0, 1)))[1:-1, :-1] if m.shape[-2] > 3 else m,
    "choice": lambda m: ops.where(X[: m.shape[-1]] > 0.7, m, 0.0),
    "concat": lambda m: ops.concat([m[:, 1:], m[:, :1]], 1),
    "concat rows": lambda m: ops.concat([m[1:], ops.zeros_like(m[:1])], 0),
    "precision": lambda m: ops.cast(ops.cast(m, ev.float32), ev.float64),
    "derivative": lambda m: ev.vjp(ops.sin, X[: m.shape[-1]] + 0 * m, m)[1],
    "step 2": lambda m: m[::2],
    "flip": lambda m: ops.flip(m, 0),
    "stack": lambda m: ops.stack([m, m])[1],
    "columns of W": lambda m: ops.matmul(W[:, : m.shape[-2]], m),
    "rows of W": lambda m: ops.matmul(m, W[: m.shape[-1]]),
    "transposed product": lambda m: ops.matmul(m, W[:, : m.shape[-2]], transpose_a=True, transpose_b=True),
    "column": lambda m: ops.matmul(m, X[: m.shape[-1]])[:, None] * W[: m.shape[-2], : m.shape[-1]],
    "diagonal": lambda m: ops.diag(ops.diagonal(m, 1)),
    "sum over rows": lambda m: ops.sum(m, 0) * m,
    "sum over columns": lambda m: ops.sum(m, 1, keepdims=True) * m,
    "sum": lambda m: ops.sum(m) * m,
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("offsets", [(0,), (3,), (-2,), (-1, 0, 1), (-39, 5, 39)])
def test_step(name, offsets):
    check(lambda x: STEPS[name](banded(*offsets) * x), X, rtol=1e-12 if name != "precision" else 1e-6)


@given(st.lists(st.sampled_from(sorted(STEPS)), max_size=5), st.sampled_from([(0,), (-1, 1), (2, 0)]))
@settings(max_examples=150, deadline=None)
def test_random_programs(steps, offsets):
    def fn(x):
        m = banded(*offsets) * x
        for name in steps:
            m = STEPS[name](m)
        return m

    check(fn, X, rtol=1e-10 if "precision" not in steps else 1e-5)


@pytest.mark.parametrize(
    "name",
    ["columns", "rows", "elements", "quotient", "number", "difference", "neighbours", "transpose", "window", "choice",
     "concat", "concat rows"],
)  # fmt: skip
def test_diagonals_stay_diagonals(name):
    """One matrix is made, at the end."""
    assert check(lambda x: STEPS[name](banded(0, 1) * x), X)["diag_embed"] == 1


def test_batches_of_matrices():
    def fn(v, x):
        return ops.pad((ops.diag_embed(v, 1) * x)[:, 1:, :-1], ((0, 0), (1, 0), (0, 1)))

    assert check(fn, floats(3, N), floats(3, 1, N + 1))["diag_embed"] == 1
    assert check(lambda v: ops.transpose(ops.diag_embed(v), (1, 0, 2)), floats(3, N))["diag_embed"] == 1


def test_unit_vectors_pick_rows():
    """The Jacobian of a product is the matrix, and nothing is multiplied."""
    jacobian = ev.jit(ev.jacfwd(lambda x: ops.matmul(W, x)))
    np.testing.assert_array_equal(jacobian(X).asnumpy(), W.asnumpy())
    assert "matmul" not in jacobian.explain()


def test_hessians_of_chains_are_as_many_diagonals_as_neighbours():
    def chain(x):
        return ops.sum(ops.sin(x[1:] * x[:-1]) + ops.exp(x[1:]) * ops.square(x[:-1]))

    hessian = ev.jit(ev.hessian(chain))
    np.testing.assert_allclose(hessian(X).asnumpy(), ev.hessian(chain)(X).asnumpy(), 1e-12, 1e-14)
    assert "diag_embed[(-1, 0, 1), 40, 40]" in hessian.explain()
    assert f"({N}, {N - 1})" not in hessian.explain()


def test_zeros_stay_zero_whatever_they_meet():
    x = Tensor(np.where(np.arange(N) == 3, np.inf, 1.0))
    j = ev.jit(ev.jacfwd(lambda x: x * x))(x).asnumpy()
    assert j[3, 3] == np.inf
    assert np.isfinite(j).sum() == N * N - 1


def test_many_diagonals_are_a_matrix():
    def fn(x):
        return sum((ops.diag(x[k:], k) for k in range(1, 12)), ops.diag(x))

    operations = check(fn, X)
    assert operations["diag_embed"] > 1


def test_small_matrices_are_left_alone():
    assert compiled(lambda x: ops.diag(x) * x, ["diagonals"], floats(4))[1] == {"diag_embed": 1, "mul": 1}
