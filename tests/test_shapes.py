"""Operations on shapes: values against NumPy, on operands of any strides; derivatives, which are linear maps too."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from checks import all_modes, as_double, check_adjoint, check_derivatives, nest
from hypothesis import assume, given
from hypothesis.extra import numpy as hnp

import evolute as ev
from evolute import Tensor, ops

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
DTYPES = [np.float64, np.float32, np.int32, np.int64, np.bool_]


@st.composite
def arrays(draw, shapes=SHAPES, dtypes=tuple(DTYPES)):
    """Numbered elements behind a random layout: axes permuted in memory, some reversed."""
    shape = draw(shapes)
    axes = draw(st.permutations(range(len(shape))))
    a = np.empty([shape[i] for i in axes], draw(st.sampled_from(dtypes))).transpose(np.argsort(axes))
    a[...] = (np.arange(math.prod(shape)).reshape(shape) * 7) % 11 - 3
    return a[(..., *(slice(None, None, draw(st.sampled_from([1, -1]))) for _ in shape))]


def axis_of(ndim):
    return st.integers(-ndim, ndim - 1)


def check(fn, reference, *operands):
    """Values like NumPy's, whatever the dtype; and for float64 the derivative, by both modes and their agreement."""
    got = fn(*(ev.from_numpy(a) if i == 0 else Tensor(a) for i, a in enumerate(operands)))
    want = reference(*operands)
    if isinstance(want, list):  # of parts: each is a function of its own
        assert len(got) == len(want)
        for i in range(len(want)):
            check(lambda *xs: fn(*xs)[i], lambda *xs: reference(*xs)[i], *operands)  # noqa: B023
        return
    np.testing.assert_array_equal(got.asnumpy(), np.asarray(want), strict=True)
    if all(a.dtype == np.float64 for a in operands):
        check_adjoint(fn, *operands)
        # These functions are linear: the tangent of the result is the function of the operands' tangents.
        tangents = [np.flip(a) + 1 for a in operands]
        tangent = ev.jvp(fn, tuple(map(as_double, operands)), tuple(map(as_double, tangents)))[1]
        np.testing.assert_array_equal(tangent.asnumpy(), reference(*tangents))


# ---- rearranging ----------------------------------------------------------------------------------------------------


@st.composite
def factorisations(draw, n):
    """A shape of n elements."""
    shape = []
    while n > 1 and len(shape) < 5:
        d = draw(st.sampled_from([d for d in range(1, n + 1) if n % d == 0]))
        shape.append(d)
        n //= d
    return (*shape, n) if n != 1 or draw(st.booleans()) else tuple(shape)


@given(data=st.data(), x=arrays())
def test_reshape(data, x):
    shape = data.draw(factorisations(x.size)) if x.size else data.draw(st.permutations(x.shape))
    check(lambda t: ops.reshape(t, shape), lambda a: a.reshape(shape), x)
    if shape and x.size:
        k = data.draw(st.integers(0, len(shape) - 1))
        unknown = tuple(-1 if i == k else n for i, n in enumerate(shape))
        check(lambda t: t.reshape(unknown), lambda a: a.reshape(unknown), x)
        check(lambda t: t.reshape(*unknown), lambda a: a.reshape(unknown), x)


@given(x=arrays())
def test_flatten(x):
    check(lambda t: t.flatten(), lambda a: a.ravel(), x)
    assert ops.reshape(Tensor(np.zeros((0, 3))), (-1, 3)).shape == (0, 3)


@given(data=st.data(), x=arrays())
def test_transpose(data, x):
    perm = data.draw(st.permutations(range(x.ndim)))
    signed = [p - data.draw(st.sampled_from([0, x.ndim])) for p in perm]
    check(lambda t: ops.transpose(t, signed), lambda a: a.transpose(perm), x)
    check(lambda t: t.transpose(*perm), lambda a: a.transpose(perm), x)
    check(lambda t: t.T, lambda a: a.T, x)
    if x.ndim:
        a, b = data.draw(axis_of(x.ndim)), data.draw(axis_of(x.ndim))
        check(lambda t: ops.swapaxes(t, a, b), lambda y: np.swapaxes(y, a, b), x)
        check(lambda t: ops.moveaxis(t, a, b), lambda y: np.moveaxis(y, a, b), x)


@given(data=st.data(), shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, min_side=0, max_side=3))
def test_broadcast_to(data, shapes):
    x = data.draw(arrays(st.just(shapes.input_shapes[0])))
    shape = shapes.result_shape
    check(lambda t: ops.broadcast_to(t, shape), lambda a: np.broadcast_to(a, shape), x)


@given(data=st.data(), x=arrays(hnp.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=2)))
def test_squeeze_and_expand_dims(data, x):
    check(lambda t: ops.squeeze(t), lambda a: a.squeeze(), x)
    ones = [i for i in range(x.ndim) if x.shape[i] == 1]
    if ones:
        axes = tuple(data.draw(st.lists(st.sampled_from(ones), unique=True)))
        check(lambda t: ops.squeeze(t, axes), lambda a: a.squeeze(axes), x)
        check(lambda t: ops.squeeze(t, ones[0] - x.ndim), lambda a: a.squeeze(ones[0]), x)
    axis = data.draw(st.integers(-x.ndim - 1, x.ndim))
    check(lambda t: ops.expand_dims(t, axis), lambda a: np.expand_dims(a, axis), x)


@given(data=st.data(), x=arrays(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3)))
def test_flip_and_roll(data, x):
    axes = data.draw(st.none() | axis_of(x.ndim) | st.lists(axis_of(x.ndim), unique_by=lambda a: a % x.ndim))
    axes = tuple(axes) if isinstance(axes, list) else axes
    check(lambda t: ops.flip(t, axes), lambda a: np.flip(a, axes), x)
    if axes is None or isinstance(axes, int):
        shift = data.draw(st.integers(-7, 7))
    else:
        shift = tuple(data.draw(st.lists(st.integers(-7, 7), min_size=len(axes), max_size=len(axes))))
    check(lambda t: ops.roll(t, shift, axes), lambda a: np.roll(a, shift, axes), x)


# ---- joining and repeating ------------------------------------------------------------------------------------------


@given(data=st.data(), shape=hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3), n=st.integers(1, 4))
def test_concat(data, shape, n):
    axis = data.draw(axis_of(len(shape)))
    dtype = data.draw(st.sampled_from(DTYPES))
    lengths = [data.draw(st.integers(0, 3)) for _ in range(n)]
    shapes = [tuple(m if i == axis % len(shape) else k for i, k in enumerate(shape)) for m in lengths]
    xs = [data.draw(arrays(st.just(s), (dtype,))) for s in shapes]
    check(lambda *ts: ops.concat(ts, axis), lambda *a: np.concatenate(a, axis), *xs)


@given(data=st.data(), shape=SHAPES, n=st.integers(1, 3))
def test_stack(data, shape, n):
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    dtype = data.draw(st.sampled_from(DTYPES))
    xs = [data.draw(arrays(st.just(shape), (dtype,))) for _ in range(n)]
    check(lambda *ts: ops.stack(ts, axis), lambda *a: np.stack(a, axis), *xs)


@given(data=st.data(), x=arrays(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6)))
def test_split(data, x):
    axis = data.draw(axis_of(x.ndim))
    indices = sorted(data.draw(st.lists(st.integers(0, 7), max_size=3)))
    check(lambda t: ops.split(t, indices, axis), lambda a: np.split(a, indices, axis), x)
    parts = data.draw(st.integers(1, 6))
    if x.shape[axis] % parts:
        with pytest.raises(ev.ShapeError, match="split"):
            ops.split(Tensor(x), parts, axis)
    else:
        check(lambda t: ops.split(t, parts, axis), lambda a: np.split(a, parts, axis), x)


def test_derivative_of_split():
    x = np.arange(6.0)
    check_derivatives(lambda t: ops.split(t, [1, 3])[1] ** 2, lambda a: a[1:3] ** 2, x)
    check_derivatives(lambda t: sum(p * p for p in ops.split(t, 3)), lambda a: (a.reshape(3, 2) ** 2).sum(0), x)


@given(data=st.data(), x=arrays(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)))
def test_tile(data, x):
    repeats = tuple(data.draw(st.lists(st.integers(0, 3), max_size=4)))
    check(lambda t: ops.tile(t, repeats), lambda a: np.tile(a, repeats), x)
    check(lambda t: ops.tile(t, 2), lambda a: np.tile(a, 2), x)


def test_tile_along_many_axes():
    x = np.arange(64.0).reshape((2,) * 6)
    check(lambda t: ops.tile(t, (2,) * 6), lambda a: np.tile(a, (2,) * 6), x)
    check(lambda t: ops.tile(t, (1, 3, 1, 2, 2, 2)), lambda a: np.tile(a, (1, 3, 1, 2, 2, 2)), x)


@given(data=st.data(), x=arrays(hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=3)))
def test_pad(data, x):
    width = [(data.draw(st.integers(0, 2)), data.draw(st.integers(0, 2))) for _ in range(x.ndim)]
    check(lambda t: ops.pad(t, width), lambda a: np.pad(a, width), x)
    value = data.draw(st.sampled_from([1, -2]))
    want = np.pad(x, width, constant_values=value)
    np.testing.assert_array_equal(ops.pad(Tensor(x), width, value).asnumpy(), want)
    check(lambda t: ops.pad(t, 1), lambda a: np.pad(a, 1), x)
    assert ops.pad(as_double(2.0), []).item() == 2


# ---- diagonals ------------------------------------------------------------------------------------------------------


@given(data=st.data(), x=arrays(hnp.array_shapes(min_dims=2, max_dims=4, min_side=0, max_side=4)), k=st.integers(-5, 5))
def test_diagonals(data, x, k):
    a, b = data.draw(st.permutations(range(x.ndim)))[:2]
    check(lambda t: ops.diagonal(t, k, a, b - x.ndim), lambda y: np.diagonal(y, k, a, b), x)
    check(lambda t: ops.tril(t, k), lambda y: np.tril(y, k), x)
    check(lambda t: ops.triu(t, k), lambda y: np.triu(y, k), x)
    numbers = x if x.dtype != np.int32 and x.dtype != np.bool_ else x.astype(np.int64)
    check(lambda t: ops.trace(t, k), lambda y: np.trace(y, k), numbers)
    if x.ndim == 2:
        check(lambda t: ops.diag(t, k), lambda y: np.diag(y, k), x)
    vector = x.reshape(-1)
    check(lambda t: ops.diag(t, k), lambda y: np.diag(y, k), vector)
    rows = x.reshape(x.shape[0], math.prod(x.shape[1:]))
    check(
        lambda t: ops.diag_embed(t, k),
        lambda y: (
            np.stack([np.diag(r, k) for r in y]) if len(y) else np.zeros((0, *[y.shape[1] + abs(k)] * 2), y.dtype)
        ),
        rows,
    )


# ---- creation -------------------------------------------------------------------------------------------------------


@given(n=st.integers(0, 5), m=st.none() | st.integers(0, 5), k=st.integers(-6, 6))
def test_eye(n, m, k):
    np.testing.assert_array_equal(ops.eye(n, m, k).asnumpy(), np.eye(n, m, k, np.float32), strict=True)
    np.testing.assert_array_equal(ops.eye(n, m, k, ev.int64).asnumpy(), np.eye(n, m, k, np.int64), strict=True)


@pytest.mark.parametrize("shape", [(), 3, (2, 0), (2, 3)], ids=str)
def test_constants(shape):
    for dtype in DTYPES:
        np.testing.assert_array_equal(ops.zeros(shape, dtype).asnumpy(), np.zeros(shape, dtype), strict=True)
        np.testing.assert_array_equal(ops.ones(shape, dtype).asnumpy(), np.ones(shape, dtype), strict=True)
        np.testing.assert_array_equal(ops.full(shape, 1, dtype).asnumpy(), np.full(shape, 1, dtype), strict=True)
        x = Tensor(np.ones(shape, dtype))
        assert ops.zeros_like(x).dtype == ops.full_like(x, 1).dtype == x.dtype
        assert ops.zeros_like(x).shape == ops.ones_like(x).shape == ops.full_like(x, 3).shape == x.shape
    assert ops.zeros(shape).dtype == ops.ones(shape).dtype == ops.full(shape, 0.5).dtype == ev.float32
    assert ops.full(shape, 2).dtype == ev.int64


@pytest.mark.parametrize(
    "args",
    [(5,), (0,), (-3,), (2, 7), (7, 2), (7, 2, -2), (0, 1, 0.1), (1, 0, -0.25), (0.5, 3), (2, 2), (0, 10, 3)],
    ids=str,
)
def test_arange(args):
    want = np.arange(*args)
    got = ops.arange(*args)
    assert got.dtype == (ev.int64 if want.dtype == np.int64 else ev.float32)
    np.testing.assert_array_equal(got.asnumpy(), want.astype(got.asnumpy().dtype))
    np.testing.assert_array_equal(ops.arange(*args, dtype=ev.float64).asnumpy(), want)


def test_linspace():
    for n in (0, 1, 2, 5, 50):
        np.testing.assert_allclose(ops.linspace(-1, 2, n, ev.float64).asnumpy(), np.linspace(-1, 2, n), rtol=1e-15)
    assert ops.linspace(0, 0.1, 11)[-1].item() == np.float32(0.1)
    assert ops.linspace(0, 1).shape == (50,)
    assert ops.linspace(-1e308, 1e308, 3, ev.float64).tolist() == [-1e308, 0, 1e308]


# ---- limits and errors ----------------------------------------------------------------------------------------------


def test_eight_axes():
    x = np.arange(256.0).reshape((2,) * 8)
    perm = (7, 0, 6, 1, 5, 2, 4, 3)
    check(lambda t: ops.transpose(t, perm), lambda a: a.transpose(perm), x)
    check(lambda t: ops.reshape(t, (16, 16)), lambda a: a.reshape(16, 16), x)
    check(lambda t: ops.sum(ops.flip(t, (1, 3)), (0, 7)), lambda a: np.flip(a, (1, 3)).sum((0, 7)), x)
    for too_many in (lambda t: ops.expand_dims(t, 0), lambda t: ops.stack([t]), ops.diag_embed):
        with pytest.raises(ev.ShapeError, match="8"):
            too_many(Tensor(x))


X = np.ones((2, 3))
NAMES_IN_ERRORS = {"zeros": "full", "ones": "full"}


@pytest.mark.parametrize(
    ("name", "args", "error"),
    [
        ("reshape", (X, (4,)), ev.ShapeError),
        ("reshape", (X, (-1, -1)), ev.ShapeError),
        ("reshape", (X, (-2, 3)), ev.ShapeError),
        ("reshape", (X, (-1, 4)), ev.ShapeError),
        ("reshape", (np.ones((0, 3)), (-1, 0)), ev.ShapeError),
        ("transpose", (X, (0,)), ValueError),
        ("transpose", (X, (0, 0)), ValueError),
        ("transpose", (X, (0, 2)), IndexError),
        ("swapaxes", (X, 0, 2), IndexError),
        ("broadcast_to", (X, (3, 3)), ev.ShapeError),
        ("broadcast_to", (X, (3,)), ev.ShapeError),
        ("squeeze", (X, 0), ev.ShapeError),
        ("expand_dims", (X, 3), IndexError),
        ("concat", ([],), ValueError),
        ("concat", ([X, np.ones((2, 2))],), ev.ShapeError),
        ("concat", ([X, np.ones(3)],), ev.ShapeError),
        ("stack", ([X, np.ones((2, 2))],), ev.ShapeError),
        ("split", (X, 0), ValueError),
        ("split", (X, 2, 1), ev.ShapeError),
        ("tile", (X, (-1,)), ValueError),
        ("roll", (X, (1, 2), 0), ValueError),
        ("pad", (X, [(1, 1)]), ev.ShapeError),
        ("pad", (X, [(1, 1), (-1, 0)]), ValueError),
        ("diagonal", (np.ones(3),), ev.ShapeError),
        ("diagonal", (X, 0, 1, 1), ValueError),
        ("diag", (np.ones((2, 2, 2)),), ev.ShapeError),
        ("zeros", ((-1,),), ValueError),
        ("zeros", ((2**40, 2**40),), ValueError),
        ("arange", (0, 1, 0), ValueError),
        ("add", (X, np.ones((2, 2))), ev.ShapeError),
    ],
)
def test_errors(name, args, error):
    with pytest.raises(error, match=f"{NAMES_IN_ERRORS.get(name, name)}: .* "):
        getattr(ops, name)(*args)


def test_higher_derivatives_pass_through():
    """A chain of all of them is linear: its square has the derivatives of a square."""
    x = as_double(np.arange(1.0, 7.0).reshape(2, 3))

    def rearranged(t):
        t = ops.stack([t, ops.flip(t, 1)], 1).transpose(2, 0, 1)
        t = ops.concat([ops.roll(t, 1, 0), ops.pad(t, [(0, 1), (0, 0), (1, 0)])[:, :, 1:]], 0)
        t = ops.tile(ops.broadcast_to(ops.expand_dims(ops.squeeze(t[None], 0), 0), (2, 7, 2, 2)), (1, 1, 2, 1))
        return ops.sum(ops.tril(ops.diagonal(t, 0, 2, 3) ** 2)) + ops.sum(ops.split(t, 2, 2)[0] ** 2)

    square = rearranged(x).item()
    for order, want in enumerate((2 * square, 2 * square, 0.0), start=1):
        for modes in all_modes(order):
            assert nest(lambda s: rearranged(s * x), modes)(as_double(1.0)).item() == pytest.approx(want, rel=1e-14)


@given(x=arrays(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4), (np.float64,)))
def test_views_share_memory_until_they_cannot(x):
    """Results are the same whether a view is read through strides or copied."""
    assume(x.ndim >= 2)
    t = ev.from_numpy(x)
    view = ops.flip(ops.transpose(t), 0)[1:]
    copy = Tensor(np.ascontiguousarray(view.asnumpy()))
    np.testing.assert_array_equal(ops.sin(view).asnumpy(), ops.sin(copy).asnumpy())
    np.testing.assert_array_equal(ops.sum(view, 0).asnumpy(), ops.sum(copy, 0).asnumpy())
    np.testing.assert_array_equal(ops.reshape(view, (-1,)).asnumpy(), ops.reshape(copy, (-1,)).asnumpy())
