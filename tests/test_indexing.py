"""Reading and writing by index: all of NumPy's rules against NumPy, errors, and derivatives."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from checks import as_double, check_adjoint, check_derivatives
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

import evolute as ev
from evolute import Tensor, ops

SHAPES = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)
DIMS = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4)


def numbered(shape, dtype=np.float64):
    return np.arange(math.prod(shape), dtype=dtype).reshape(shape)


@st.composite
def advanced_keys(draw, shape):
    """Integers, slices, None, Ellipsis, integer arrays that broadcast, and masks, in any mixture."""
    common = draw(hnp.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=3))
    key, axis, masked = [], 0, False
    stop = draw(st.integers(0, len(shape)))
    while axis < stop:
        n = shape[axis]
        kind = draw(st.sampled_from(["slice", "int", "array", "array", "mask", "none"]))
        if kind == "none" and len(key) < 6:
            key.append(None)
            continue
        if kind == "mask" and not masked:
            # A mask counts as arrays of as many elements as it has true ones: other arrays must have one element.
            masked = True
            width = draw(st.integers(1, min(2, stop - axis)))
            key.append(draw(hnp.arrays(bool, shape[axis : axis + width])))
            axis += width
            continue
        if kind == "int":
            key.append(draw(st.integers(-n, n - 1)))
        elif kind == "array" and not any(isinstance(k, np.ndarray) and k.dtype == bool for k in key):
            sides = tuple(draw(st.sampled_from([1, m])) for m in common)
            masked = True
            key.append(
                draw(hnp.arrays(draw(st.sampled_from([np.int32, np.int64])), sides, elements=st.integers(-n, n - 1)))
            )
        else:
            key.append(draw(st.slices(n)))
        axis += 1
    if draw(st.booleans()):
        key.insert(draw(st.integers(0, len(key))) if axis == len(shape) else len(key), Ellipsis)
    return tuple(key) if len(key) != 1 or draw(st.booleans()) else key[0]


def with_arrays_as(convert, key):
    """The same key with something else in place of arrays."""
    parts = [convert(k) if isinstance(k, np.ndarray) else k for k in (key if isinstance(key, tuple) else (key,))]
    return tuple(parts) if isinstance(key, tuple) else parts[0]


def check_key(x, key):
    """Reading, writing and adding at `key`, and the derivatives of all three."""
    want = x[key]
    t = Tensor(x)
    np.testing.assert_array_equal(t[key].asnumpy(), want, strict=True)
    check_adjoint(lambda a: a[key], x)
    tangent = ev.jvp(lambda a: a[key], as_double(x), as_double(x + 1))[1]
    np.testing.assert_array_equal(tangent.asnumpy(), x[key] + 1)

    value = -1.0 - numbered(want.shape)
    set_, added = x.copy(), x.copy()
    set_[key] = value
    np.add.at(added, key, value)
    np.testing.assert_array_equal(ops.index_update(t, key, Tensor(value)).asnumpy(), set_)
    np.testing.assert_array_equal(ops.index_increment(t, key, Tensor(value)).asnumpy(), added)
    for write in (ops.index_update, ops.index_increment):

        def written(a, b, write=write):
            return write(a, key, b)

        check_adjoint(written, x, value)
        # Linear in both together: the tangent of the result is the function of the tangents.
        tangents = as_double(x + 1), as_double(value)
        tangent = ev.jvp(written, (as_double(x), as_double(value)), tangents)[1]
        np.testing.assert_array_equal(tangent.asnumpy(), written(*tangents).asnumpy())


# ---- x[key] ---------------------------------------------------------------------------------------------------------


@given(data=st.data(), shape=SHAPES)
def test_basic_keys(data, shape):
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True, max_dims=6))
    check_key(numbered(shape), key)


@settings(max_examples=200)
@given(data=st.data(), shape=DIMS)
def test_mixed_keys(data, shape):
    key = data.draw(advanced_keys(shape))
    x = numbered(shape)
    check_key(x, key)
    np.testing.assert_array_equal(Tensor(x)[with_arrays_as(Tensor, key)].asnumpy(), x[key])
    lists = with_arrays_as(np.ndarray.tolist, key)
    np.testing.assert_array_equal(Tensor(x)[lists].asnumpy(), x[lists])


@given(data=st.data(), shape=DIMS)
def test_integer_arrays(data, shape):
    key = data.draw(hnp.integer_array_indices(shape))
    check_key(numbered(shape), key)


@given(data=st.data(), shape=SHAPES)
def test_masks(data, shape):
    width = data.draw(st.integers(1, len(shape)))
    mask = data.draw(hnp.arrays(bool, shape[:width]))
    x = numbered(shape)
    check_key(x, mask)
    np.testing.assert_array_equal(Tensor(x)[Tensor(mask)].asnumpy(), x[mask])
    got = ops.nonzero(Tensor(mask))
    want = np.nonzero(mask)
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_array_equal(g.asnumpy(), w, strict=True)


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64, np.bool_])
def test_dtypes_of_elements(dtype):
    x = numbered((3, 4)).astype(dtype)
    for key in (1, (slice(None), 2), ([2, 0], slice(1, 3)), x > 2):
        np.testing.assert_array_equal(Tensor(x)[key].asnumpy(), x[key], strict=True)
        updated = x.copy()
        updated[key] = 1
        np.testing.assert_array_equal(ops.index_update(Tensor(x), key, 1).asnumpy(), updated, strict=True)


def test_kinds_of_integers():
    x = Tensor(numbered((3, 4)))
    for i in (1, np.int64(1), np.int32(1), Tensor(1), np.array(1)):
        np.testing.assert_array_equal(x[i].asnumpy(), x[1].asnumpy(), strict=True)
        np.testing.assert_array_equal(x[0, i].asnumpy(), x[0, 1].asnumpy(), strict=True)
        np.testing.assert_array_equal(x[i, ..., i].asnumpy(), x[1, 1].asnumpy(), strict=True)


def test_separated_arrays_come_first():
    x = numbered((2, 3, 4, 5))
    i, j = np.array([[0, 1]]), np.array([2, 0])
    for key in [
        (i, slice(None), j),
        (slice(None), i, slice(None), j),
        (0, slice(None), j),
        (i, None, j),
        (slice(None), i, 0),
        (slice(None), i, j, ...),
        (slice(None), i, ..., j, 0),  # an ellipsis separates even where it stands for no axis
        (0, slice(None), i, ..., j),
        (0, i),
    ]:
        np.testing.assert_array_equal(Tensor(x)[key].asnumpy(), x[key], strict=True)


def test_iteration_and_length():
    x = numbered((3, 2))
    assert len(Tensor(x)) == 3
    assert [row.tolist() for row in Tensor(x)] == x.tolist()
    with pytest.raises(TypeError, match="0-d"):
        len(Tensor(1.0))
    with pytest.raises(TypeError, match="0-d"):
        iter(Tensor(1.0))


def test_assignment_replaces_the_value():
    x = Tensor(numbered((3, 2)))
    y = x
    alias = x[0]
    x[1, :] = 7.0
    x[2] = Tensor([5.0, 6.0])
    assert y.tolist() == [[0, 1], [7, 7], [5, 6]]
    assert alias.tolist() == [0, 1]

    def fn(t):
        z = t * 1
        z[0] = t[1] * 10
        return z

    assert ev.grad(lambda t: ops.sum(fn(t)))(as_double([1.0, 2.0])).tolist() == [0, 11]


X = numbered((2, 3))


@pytest.mark.parametrize(
    "key",
    [
        2,
        -3,
        2**70,
        -(2**70),
        (0, 3),
        (0, 0, 0),
        (Ellipsis, Ellipsis),
        [0, 2],
        np.array([-3]),
        ([0], [3]),
        1.5,
        "a",
        [0.5],
        np.ones(3, bool),
        np.ones((3, 2), bool),
    ],
    ids=repr,
)
def test_bad_keys(key):
    for access in (lambda: Tensor(X)[key], lambda: ops.index_update(Tensor(X), key, 1.0)):
        with pytest.raises(IndexError):
            access()


def test_index_arrays_that_do_not_broadcast():
    with pytest.raises((ev.ShapeError, IndexError)):
        Tensor(X)[np.array([0, 1]), np.array([0, 1, 2])]


def test_updates_that_do_not_broadcast():
    for fn in (ops.index_update, ops.index_increment):
        with pytest.raises(ev.ShapeError):
            fn(Tensor(X), slice(None), np.ones(2))
    x = Tensor(X)
    with pytest.raises(ev.ShapeError):
        x[0] = np.ones(2)
    np.testing.assert_array_equal(x.asnumpy(), X)


def test_repeated_positions():
    """Of updates that meet, the last stays, and it alone has a derivative; increments add up."""
    x, v, i = as_double([1.0, 2.0, 3.0]), as_double([10.0, 20.0, 30.0, 40.0]), np.array([1, 0, 1, 1])
    assert ops.index_update(x, i, v).tolist() == [20, 40, 3]
    assert ops.index_increment(x, i, v).tolist() == [21, 82, 3]
    gx, gv = ev.grad(lambda a, b: ops.sum(ops.index_update(a, i, b)), (0, 1))(x, v)
    assert gx.tolist() == [0, 0, 1]
    assert gv.tolist() == [0, 1, 0, 1]
    reference = lambda a, b: np.stack([b[1], b[3], a[2]]) ** 3  # noqa: E731
    check_derivatives(lambda a, b: ops.index_update(a, i, b) ** 3, reference, x.asnumpy(), v.asnumpy() / 40, order=3)


def test_second_derivatives_through_indices():
    x = np.random.default_rng(0).uniform(0.5, 1, (3, 4))
    i, mask = np.array([[2, 0, 2]]), np.array([True, False, True])
    for key in (1, (slice(None, None, -2), [0, 0, 3]), (i, slice(1, 3)), (mask, 2), (None, Ellipsis, 1)):
        check_derivatives(lambda a: a[key] ** 3, lambda a: a[key] ** 3, x, order=3)  # noqa: B023


# ---- take, gather, scatter ------------------------------------------------------------------------------------------


@given(data=st.data(), shape=DIMS)
def test_take(data, shape):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    n = shape[axis]
    index = data.draw(
        hnp.arrays(
            np.int64, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3), elements=st.integers(-n, n - 1)
        )
    )
    x = numbered(shape)
    np.testing.assert_array_equal(
        ops.take(Tensor(x), Tensor(index), axis).asnumpy(), np.take(x, index, axis), strict=True
    )
    check_adjoint(lambda a: ops.take(a, Tensor(index), axis), x)


@st.composite
def along_axis(draw):
    """A shape, an axis, and an index that is nowhere longer but along that axis."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    at = axis % len(shape)
    sides = tuple(draw(st.integers(0, 5 if i == at else n)) for i, n in enumerate(shape))
    return shape, axis, draw(hnp.arrays(np.int64, sides, elements=st.integers(-shape[axis], shape[axis] - 1)))


def positions(index, axis):
    grid = list(np.indices(index.shape))
    grid[axis] = index
    return tuple(grid)


@given(case=along_axis())
def test_gather(case):
    shape, axis, index = case
    x = numbered(shape)
    got = ops.gather(Tensor(x), axis, Tensor(index))
    np.testing.assert_array_equal(got.asnumpy(), x[positions(index, axis)], strict=True)
    check_adjoint(lambda a: ops.gather(a, axis, Tensor(index)), x)


@given(case=along_axis(), data=st.data())
def test_scatter_add(case, data):
    shape, axis, index = case
    x = numbered(shape)
    src = numbered(tuple(n + data.draw(st.integers(0, 1)) for n in index.shape)) - 3
    used = src[tuple(map(slice, index.shape))]
    want = x.copy()
    np.add.at(want, positions(index, axis), used)
    np.testing.assert_array_equal(
        ops.scatter_add(Tensor(x), axis, Tensor(index), Tensor(src)).asnumpy(), want, strict=True
    )
    check_adjoint(lambda a, b: ops.scatter_add(a, axis, Tensor(index), b), x, src)


@given(data=st.data(), shape=DIMS)
def test_index_add(data, shape):
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    at, n = axis % len(shape), shape[axis]
    index = data.draw(hnp.arrays(np.int64, st.integers(0, 4), elements=st.integers(-n, n - 1)))
    x = numbered(shape)
    src = numbered((*shape[:at], len(index), *shape[at + 1 :])) - 3
    want = x.copy()
    np.add.at(want, (*[slice(None)] * at, index), src)
    np.testing.assert_array_equal(
        ops.index_add(Tensor(x), axis, Tensor(index), Tensor(src)).asnumpy(), want, strict=True
    )
    check_adjoint(lambda a, b: ops.index_add(a, axis, Tensor(index), b), x, src)


def test_higher_derivatives_of_gather_and_scatter():
    x, y = np.random.default_rng(1).uniform(0.5, 1, (2, 3, 3))
    index = np.array([[2, 0, 2], [0, 0, 1]])

    def scattered(a, b):
        out = np.array(a, complex)
        np.add.at(out, positions(index, 0), b[:2])
        return out**3

    check_derivatives(lambda a, b: ops.scatter_add(a, 0, Tensor(index), b) ** 3, scattered, x, y, order=3)
    gathered = lambda a: np.take_along_axis(a, index, 0) ** 3  # noqa: E731
    check_derivatives(lambda a: ops.gather(a, 0, Tensor(index)) ** 3, gathered, x, order=3)


@pytest.mark.parametrize(
    ("name", "args", "error"),
    [
        ("take", (X, [2]), IndexError),
        ("take", (X, [-3]), IndexError),
        ("take", (X, [0.5]), ev.DTypeError),
        ("take", (X, [0], 2), IndexError),
        ("gather", (X, 0, [[2, 0, 0]]), IndexError),
        ("gather", (X, 1, [[0], [0], [0]]), ev.ShapeError),
        ("gather", (X, 0, [0]), ev.ShapeError),
        ("scatter_add", (X, 0, [[2]], X), IndexError),
        ("scatter_add", (X, 0, [[0, 0, 0]] * 3, X), ev.ShapeError),
        ("index_add", (X, 0, [2], X[:1]), IndexError),
        ("index_add", (X, 0, [0, 1, 0], X), ev.ShapeError),
        ("index_add", (X, 0, [[0, 1]], X), ev.ShapeError),
        ("nonzero", (np.float64(1),), ev.ShapeError),
    ],
)
def test_errors(name, args, error):
    with pytest.raises(error):
        getattr(ops, name)(*args)
