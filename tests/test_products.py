"""Matrix products, dot, outer, einsum: values against NumPy, derivatives in every mode."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from checks import as_double, assert_close, check_adjoint, check_derivatives, random_arrays
from hypothesis import given
from hypothesis.extra import numpy as hnp

import evolute as ev
from evolute import Tensor, ops

FLAGS = list(itertools.product([False, True], repeat=2))


def flipped(x, flag):
    return x.swapaxes(-1, -2) if flag and x.ndim > 1 else x


def matmul(a, b, transpose_a=False, transpose_b=False):
    return np.matmul(flipped(a, transpose_a), flipped(b, transpose_b))


# ---- matmul ---------------------------------------------------------------------------------------------------------

SHAPES = [
    ((3,), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((1, 1), (1, 1)),
    ((5, 2, 3), (3, 4)),
    ((2, 3), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (4, 3, 2)),
    ((1, 2, 3), (5, 3, 4)),
    ((3,), (5, 3, 4)),
    ((5, 2, 3), (3,)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 3)),
    ((0, 2, 3), (3, 2)),
    ((2, 3), (3, 0)),
]


@pytest.mark.parametrize(("transpose_a", "transpose_b"), FLAGS)
@pytest.mark.parametrize(("a", "b"), SHAPES, ids=str)
def test_matmul(a, b, transpose_a, transpose_b):
    """Up to the second derivative; operands that are transposed views, and dense ones."""
    x, y = random_arrays(0, a, b)
    x, y = flipped(x, transpose_a), flipped(y, transpose_b)
    for u, v in ((x, y), (x.copy(), y.copy())):
        check_derivatives(
            lambda s, t: ops.matmul(s, t, transpose_a, transpose_b),
            lambda s, t: matmul(s, t, transpose_a, transpose_b),
            u,
            v,
            order=2,
            rtol=1e-12,
        )


def test_matmul_of_higher_order():
    x, y = random_arrays(1, (2, 2, 3), (3, 3))
    check_derivatives(lambda s, t: ops.matmul(s, t @ t), lambda s, t: s @ (t @ t), x, y, order=4, rtol=1e-11)


@given(data=st.data(), shapes=hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, max_dims=3, max_side=4))
def test_matmul_shapes(data, shapes):
    transpose_a, transpose_b = data.draw(st.sampled_from(FLAGS))
    x, y = random_arrays(2, *shapes.input_shapes)
    x, y = flipped(x, transpose_a), flipped(y, transpose_b)

    def fn(s, t):
        return ops.matmul(s, t, transpose_a, transpose_b)

    want = matmul(x, y, transpose_a, transpose_b)
    assert_close(fn(as_double(x), as_double(y)), want, 1e-14, atol=1e-15)
    check_adjoint(fn, x, y)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 16, 31, 64, 100, 129, 200])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_matmul_sizes(n, dtype):
    """Sizes around those of the kernels' blocks."""
    rng = np.random.default_rng(n)
    eps = np.finfo(dtype).eps
    for m, k in ((n, n), (3, n), (n, 3), (n + 1, 2 * n + 1)):
        a, b = rng.uniform(-1, 1, (m, k)).astype(dtype), rng.uniform(-1, 1, (k, n)).astype(dtype)
        bound = 4 * eps * np.sqrt(k) * np.abs(a).astype(float) @ np.abs(b).astype(float)
        exact = a.astype(float) @ b.astype(float)
        for ta, tb in FLAGS:
            x = np.ascontiguousarray(a.T) if ta else a
            y = np.ascontiguousarray(b.T) if tb else b
            got = ops.matmul(Tensor(x), Tensor(y), ta, tb).asnumpy()
            assert got.dtype == dtype
            assert np.all(np.abs(got - exact) <= bound + eps)
        got = (Tensor(a[::-1]) @ Tensor(b[:, ::-1])).asnumpy()
        assert np.all(np.abs(got - exact[::-1, ::-1]) <= bound[::-1, ::-1] + eps)


LAYOUTS = {
    "dense": lambda x: x,
    "columns": lambda x: np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2),
    "reversed": lambda x: np.ascontiguousarray(x[..., ::-1, ::-1])[..., ::-1, ::-1],
    "gaps": lambda x: np.repeat(np.repeat(x, 2, -1), 3, -2)[..., ::3, ::2],
    "rows alike": lambda x: np.broadcast_to(x[..., :1, :], x.shape),
    "columns alike": lambda x: np.broadcast_to(x[..., :1], x.shape),
    "batch reversed": lambda x: x[::-1] if x.ndim > 2 else x,
}


@given(
    sizes=st.tuples(*[st.sampled_from([1, 2, 3, 4, 5, 8, 13, 16, 17, 33, 65])] * 3),
    batch=st.sampled_from(
        [((), ()), ((3,), (3,)), ((4, 1), (3,)), ((2, 3), (3,)), ((1,), (2, 5)), ((2, 1, 2), (3, 1))]
    ),
    layouts=st.tuples(*[st.sampled_from(sorted(LAYOUTS))] * 2),
    dtype=st.sampled_from([np.float32, np.float64, np.int32]),
    flags=st.sampled_from(FLAGS),
)
def test_matmul_layouts(sizes, batch, layouts, dtype, flags):
    """Views of every kind, batches that broadcast in part: exact, since sums of small integers are."""
    m, k, n = sizes
    rng = np.random.default_rng(m + k + n)
    a, b = (rng.integers(-3, 4, (*s, *shape)).astype(dtype) for s, shape in zip(batch, ((m, k), (k, n)), strict=True))
    a, b = LAYOUTS[layouts[0]](a), LAYOUTS[layouts[1]](b)
    got = ops.matmul(ev.from_numpy(flipped(a, flags[0])), ev.from_numpy(flipped(b, flags[1])), *flags)
    np.testing.assert_array_equal(got.asnumpy(), a @ b)


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.bool_])
def test_matmul_of_integers(dtype):
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 5, (2, 3, 4)).astype(dtype), rng.integers(-4, 5, (4, 2)).astype(dtype)
    want = a.astype(np.int64) @ b.astype(np.int64)
    got = ops.matmul(Tensor(a), Tensor(b)).asnumpy()
    assert got.dtype == (np.int64 if dtype is np.bool_ else dtype)
    np.testing.assert_array_equal(got, want)


def test_matmul_lets_nan_and_infinity_through():
    a = np.array([[1.0, np.inf], [np.nan, 0.0]])
    b = np.array([[0.0, 1.0], [1.0, 0.0]])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(ops.matmul(as_double(a), as_double(b)).asnumpy(), a @ b)


@pytest.mark.parametrize(
    ("a", "b", "ta", "tb"),
    [
        ((2, 3), (2, 3), False, False),
        ((3,), (2,), False, False),
        ((2, 3), (3, 4), True, False),
        ((2, 3, 4), (3, 4, 5), False, False),
    ],
)
def test_matmul_errors(a, b, ta, tb):
    with pytest.raises(ev.ShapeError, match=r"matmul.*\("):
        ops.matmul(as_double(np.ones(a)), as_double(np.ones(b)), ta, tb)


def test_matmul_of_scalars():
    with pytest.raises(ev.ShapeError, match="use mul"):
        ops.matmul(as_double(1.0), as_double(np.ones((2, 2))))


# ---- dot, outer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((), ()),
        ((), (2, 3)),
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 2)),
        ((2, 3), (3, 4)),
        ((2, 3), (4, 3, 2)),
        ((3,), (4, 3, 2)),
        ((2, 1, 3), (2, 4, 3, 2)),
    ],
    ids=str,
)
def test_dot(a, b):
    x, y = random_arrays(4, a, b)
    check_derivatives(ops.dot, np.dot, x, y, rtol=1e-12)


@pytest.mark.parametrize(("a", "b"), [((), ()), ((3,), (2,)), ((2, 2), (3,)), ((0,), (2,))], ids=str)
def test_outer(a, b):
    x, y = random_arrays(5, a, b)
    check_derivatives(ops.outer, np.outer, x, y, rtol=1e-12)


def test_dot_errors():
    with pytest.raises(ev.ShapeError, match="dot"):
        ops.dot(as_double(np.ones((2, 3))), as_double(np.ones((2, 3))))


# ---- einsum ---------------------------------------------------------------------------------------------------------

EQUATIONS = [
    "i->i",
    "ij->ji",
    "ij->j",
    "ij->",
    "ij",
    "ba",
    "ii->i",
    "ii",
    "iij->j",
    "iji->ij",
    "ijk->kji",
    "...i->...",
    "i...->...i",
    "i,i->i",
    "i,i",
    "i,j->ij",
    "i,j->ji",
    "ij,jk->ik",
    "ij,jk",
    "ij,kj->ik",
    "ji,jk->ik",
    "ij,jk->ki",
    "ij,j->i",
    "ij,ij->",
    "ij,ji->",
    "ij,ij->ij",
    "bij,bjk->bik",
    "bij,bjk->bki",
    "bij,jk->bik",
    "ij,bjk->ibk",
    "bij,bij->b",
    "...ij,...jk->...ik",
    "...ij,jk->...ik",
    "...,...->...",
    "ij,->ij",
    "ii,ij->j",
    "ijk,jil->kl",
    "i,ij,j->",
    "ij,jk,kl->il",
    "ij,jk,kl->li",
    "i,i,i->i",
    "ij,ik,il->jkl",
    "a,b,c,d->dcba",
    "ab,bc,cd,da->",
    "abc,bcd,cda->ad",
    "ijkl,klmn->ijmn",
    "ij , jk -> ik",
]
LENGTHS = {c: 2 + i % 2 for i, c in enumerate("abcdijklmn")}


def operands_of(equation, ellipsis=(2, 3), seed=6):
    terms = equation.replace(" ", "").split("->")[0].split(",")
    shapes = []
    for term in terms:
        left, dots, right = term.partition("...")
        shapes.append((*(LENGTHS[c] for c in left), *(ellipsis if dots else ()), *(LENGTHS[c] for c in right)))
    return random_arrays(seed, *shapes)


def check_einsum(equation, *arrays):
    check_derivatives(
        lambda *xs: ops.einsum(equation, *xs), lambda *xs: np.einsum(equation, *xs), *arrays, order=2, rtol=1e-12
    )


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einsum(equation):
    check_einsum(equation, *operands_of(equation))


@given(data=st.data())
def test_generated_einsum(data):
    """Any number of operands and indices, in any order, repeated or not; lengths of 0 and 1; broadcasting of 1."""
    letters = "abcde"[: data.draw(st.integers(1, 5))]
    length = {c: data.draw(st.integers(0, 3)) for c in letters}
    terms = data.draw(st.lists(st.lists(st.sampled_from(letters), max_size=4), min_size=1, max_size=4))
    used = sorted({c for term in terms for c in term})
    output = data.draw(st.permutations(used).flatmap(lambda p: st.integers(0, len(p)).map(lambda n: p[:n])))
    equation = ",".join("".join(t) for t in terms)
    if data.draw(st.booleans()):
        equation += "->" + "".join(output)
    arrays = random_arrays(7, *[tuple(length[c] for c in term) for term in terms])
    got = ops.einsum(equation, *map(as_double, arrays))
    assert_close(got, np.einsum(equation, *arrays), 1e-13, atol=1e-14)
    check_adjoint(lambda *xs: ops.einsum(equation, *xs), *arrays)


def test_einsum_broadcasts_axes_of_length_one():
    check_einsum("ij,jk->ik", *random_arrays(8, (2, 1), (3, 2)))
    check_einsum("i,i->i", *random_arrays(8, (1,), (3,)))
    check_einsum("...i,i", *random_arrays(8, (1, 2), (2,)))
    check_einsum("...ij,...jk->...ik", *random_arrays(8, (4, 1, 2, 3), (5, 3, 2)))


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64])
def test_einsum_dtypes(dtype):
    x, y = np.arange(6).reshape(2, 3).astype(dtype), np.arange(12).reshape(3, 4).astype(dtype)
    got = ops.einsum("ij,jk->k", Tensor(x), Tensor(y)).asnumpy()
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, np.einsum("ij,jk->k", x, y))


@pytest.mark.parametrize(
    ("equation", "shapes", "message"),
    [
        ("ij,jk->ik", [(2, 3), (4, 2)], "'j'"),
        ("ij->i", [(2,)], "term 0"),
        ("ij", [(2, 3), (3, 4)], "2 operands"),
        ("ij->ii", [(2, 2)], "twice"),
        ("ij->k", [(2, 2)], "'k'"),
        ("i$->i", [(2, 2)], "unexpected"),
        ("...i->i", [(2, 2)], "output needs"),
        ("ii", [(2, 3)], "diagonal"),
    ],
)
def test_einsum_errors(equation, shapes, message):
    with pytest.raises(ValueError, match=message):
        ops.einsum(equation, *(as_double(np.ones(s)) for s in shapes))


def test_einsum_needs_an_operand():
    with pytest.raises((ValueError, TypeError)):
        ops.einsum("i->i")


def test_products_that_are_broadcast_are_not_accumulated():
    rng = np.random.default_rng(0)
    a, b, c, d = (Tensor(rng.standard_normal(s)) for s in ((5, 4), (4, 3), (1, 2), (2, 3)))

    def fn(a, b, c, d):
        return a @ b + c @ d

    np.testing.assert_allclose(ev.jit(fn)(a, b, c, d).asnumpy(), fn(a, b, c, d).asnumpy(), 1e-14)
