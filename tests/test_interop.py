"""Tensors beside NumPy, other libraries and Python's own protocols."""

from __future__ import annotations

import contextlib
import copy
import gc
import hashlib
import io
import math
import operator
import pickle
import sys
import weakref

import numpy as np
import pytest

import evolute as ev
from evolute import Parameter, Tensor, ops

pytestmark = pytest.mark.host

DTYPES = [np.bool_, np.int32, np.int64, np.float32, np.float64]
SHAPES = [(), (0,), (3,), (2, 3), (2, 1, 3)]


def filled(shape, dtype):
    return (np.arange(np.prod(shape, dtype=int)) - 2).reshape(shape).astype(dtype)


# ---- NumPy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_there_and_back(dtype, shape):
    a = filled(shape, dtype)
    for t in (Tensor(a), ev.from_numpy(a), ev.from_dlpack(a), Tensor(memoryview(a))):
        assert t.shape == shape
        assert t.dtype.numpy == a.dtype
        for b in (t.asnumpy(), np.asarray(t), np.from_dlpack(t), np.array(memoryview(t))):
            assert b.dtype == a.dtype
            np.testing.assert_array_equal(b, a)


def test_what_is_copied_and_what_is_shared():
    a = np.arange(6.0)
    own, shared, exchanged = Tensor(a), ev.from_numpy(a), ev.from_dlpack(a)
    a[0] = 50.0
    assert (own[0].item(), shared[0].item(), exchanged[0].item()) == (0.0, 50.0, 50.0)
    assert not np.shares_memory(own.asnumpy(), a)
    for t in (shared, exchanged):
        assert np.shares_memory(t.asnumpy(), a)
        for view in (t[1:4], t.reshape(2, 3), t.T, ops.broadcast_to(t, (2, 6))):
            assert np.shares_memory(view.asnumpy(), a)
    assert np.shares_memory(Tensor(shared).asnumpy(), a)  # a tensor cannot change: no need to copy


@pytest.mark.parametrize(
    "view", [lambda t: t, lambda t: t.T, lambda t: t[:, 1:], lambda t: ops.broadcast_to(t[0], (4, 3))]
)
def test_asnumpy_is_a_read_only_view_that_keeps_the_memory(view):
    t = view(Tensor(filled((2, 3), np.float64)))
    a = t.asnumpy()
    want = a.copy()
    assert np.shares_memory(a, t.asnumpy())
    with pytest.raises(ValueError, match="read-only"):
        a[0] = 1.0
    with pytest.raises(ValueError, match="WRITEABLE"):
        a.flags.writeable = True
    del t
    gc.collect()
    junk = [Tensor(np.full((2, 3), np.nan)) for _ in range(100)]
    np.testing.assert_array_equal(a, want)
    del junk


def test_array_protocol():
    t = Tensor(filled((2, 3), np.float32))
    assert np.shares_memory(np.asarray(t), t.asnumpy())
    assert np.array(t).flags.writeable
    assert not np.shares_memory(np.array(t), t.asnumpy())
    assert np.asarray(t, np.float64).dtype == np.float64
    assert np.shares_memory(np.array(t, copy=False), t.asnumpy())
    with pytest.raises(ValueError, match="copy"):
        np.array(t, np.float64, copy=False)
    np.testing.assert_array_equal(np.concatenate([t, t]), np.concatenate([t.asnumpy()] * 2))


def test_the_array_behind_from_numpy_lives_as_long_as_the_tensor():
    a = np.arange(1000.0)
    ref = weakref.ref(a)
    t = ev.from_numpy(a)[10:20]
    del a
    gc.collect()
    assert ref() is not None
    assert t[0].item() == 10.0
    del t
    gc.collect()
    assert ref() is None


BINARY = [operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("op", [*BINARY, operator.matmul, *COMPARISONS], ids=lambda f: f.__name__)
def test_operators_beside_arrays(op):
    a, b = np.array([[1.5, 2.0], [3.0, 4.5]]), np.array([[2.0, 2.0], [1.0, 4.5]])
    want = op(a, b)
    for got in (op(a, Tensor(b)), op(Tensor(a), b), op(Tensor(a), Tensor(b)), op(Tensor(a), b.tolist())):
        assert isinstance(got, Tensor)
        assert got.dtype.numpy == want.dtype
        np.testing.assert_allclose(got.asnumpy(), want, rtol=1e-15)


@pytest.mark.parametrize("op", [*BINARY, *COMPARISONS], ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "scalar",
    [2, 2.5, True, np.float64(2.5), np.float32(2.5), np.int64(2), np.int32(2), np.bool_(True), np.array(2.5)],
    ids=repr,
)
def test_operators_beside_scalars(op, scalar):
    a = np.array([1.5, 4.0], np.float32)
    for got, want in ((op(Tensor(a), scalar), op(a, scalar)), (op(scalar, Tensor(a)), op(scalar, a))):
        assert isinstance(got, Tensor)
        np.testing.assert_allclose(got.asnumpy(), want, rtol=1e-6)


@pytest.mark.parametrize(
    ("tensor", "scalar", "result"),
    [
        (ev.float32, 2.0, ev.float32),
        (ev.float32, np.float64(2.0), ev.float32),  # a Python float by inheritance
        (ev.float64, np.float32(2.0), ev.float64),
        (ev.float32, np.array(2.0), ev.float64),
        (ev.float32, np.int64(2), ev.float32),
        (ev.int32, 2, ev.int32),
        (ev.int32, np.int64(2), ev.int64),
        (ev.int64, 2.0, ev.float32),
    ],
)
def test_dtypes_beside_scalars(tensor, scalar, result):
    t = Tensor([1, 2], tensor)
    assert (t * scalar).dtype == result
    assert (scalar * t).dtype == result


# ---- buffers and DLPack ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_memoryview(dtype):
    a = filled((2, 3), dtype)
    for t, b in ((Tensor(a), a), (Tensor(a).T, a.T)):
        view = memoryview(t)
        assert (view.shape, view.readonly, view.itemsize) == (b.shape, True, b.itemsize)
        assert view.tolist() == b.tolist()
        assert view.c_contiguous == b.flags.c_contiguous
        assert bytes(t) == b.tobytes()
        del t
        assert view.tolist() == b.tolist()
    assert hashlib.md5(Tensor(a)).digest() == hashlib.md5(a).digest()
    with pytest.raises(BufferError, match="contiguous"):
        hashlib.md5(Tensor(a).T)
    with pytest.raises((BufferError, TypeError)):
        io.BytesIO(bytes(100)).readinto(Tensor(a))


def test_dlpack_exports():
    a = filled((2, 3), np.float64)
    t = Tensor(a)
    assert t.__dlpack_device__() == (1, 0)
    assert np.shares_memory(np.from_dlpack(t), t.asnumpy())
    assert not np.from_dlpack(t).flags.writeable
    assert np.shares_memory(np.from_dlpack(t.T), t.asnumpy())
    own = np.from_dlpack(t, copy=True)
    assert own.flags.writeable
    assert not np.shares_memory(own, t.asnumpy())
    with pytest.raises(BufferError, match="cannot be exported to another"):
        t.__dlpack__(dl_device=(2, 0))
    view = np.from_dlpack(t)
    del t
    gc.collect()
    np.testing.assert_array_equal(view, a)


def test_dlpack_imports():
    a = filled((2, 3), np.float64)
    for b in (a, a.T, a[:, ::2], a[::-1], a[:0]):
        t = ev.from_dlpack(b)
        np.testing.assert_array_equal(t.asnumpy(), b)
        np.testing.assert_array_equal(ops.exp(t).asnumpy(), ops.exp(Tensor(b)).asnumpy())
    capsule = Tensor(a).__dlpack__()
    np.testing.assert_array_equal(ev.from_dlpack(capsule).asnumpy(), a)
    with pytest.raises(ValueError, match="consumed"):
        ev.from_dlpack(capsule)
    with pytest.raises(ev.DTypeError, match="16 bits"):
        ev.from_dlpack(np.zeros(2, np.float16))


def test_capsules_nobody_takes_are_freed():
    before = ev._evolute.memory_stats()["live_bytes"]
    for version in (None, (1, 0)):
        t = Tensor(np.zeros(100_000))
        capsule = t.__dlpack__(max_version=version)
        del t
        assert ev._evolute.memory_stats()["live_bytes"] >= before + 800_000
        del capsule
        assert ev._evolute.memory_stats()["live_bytes"] < before + 800_000


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "bool"])
def test_torch(dtype):
    torch = pytest.importorskip("torch")
    a = filled((2, 3), dtype)
    source = torch.from_numpy(a.copy())
    for tensor in (source, source.T, source[:, 1:]):
        t = ev.from_dlpack(tensor)
        np.testing.assert_array_equal(t.asnumpy(), tensor.numpy())
        assert np.shares_memory(t.asnumpy(), source.numpy())
    t = Tensor(a)
    for tensor in (t, t.T):
        back = torch.from_dlpack(tensor)
        np.testing.assert_array_equal(back.numpy(), tensor.asnumpy())
        assert back.data_ptr() == tensor.asnumpy().ctypes.data
    kept = torch.from_dlpack(Tensor(a) * 1 if dtype != "bool" else Tensor(a))
    gc.collect()
    np.testing.assert_array_equal(kept.numpy(), a)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_jax(dtype):
    jax = pytest.importorskip("jax")
    a = filled((2, 3), dtype)
    np.testing.assert_array_equal(ev.from_dlpack(jax.numpy.asarray(a)).asnumpy(), a)
    np.testing.assert_array_equal(np.asarray(jax.numpy.from_dlpack(Tensor(a))), a)


# ---- Python's protocols ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, *(lambda t, p=p: pickle.loads(pickle.dumps(t, p)) for p in range(6))]
)
def test_pickle_and_copy(duplicate):
    for dtype in DTYPES:
        for t in (Tensor(filled((2, 3), dtype)), Tensor(filled((2, 3), dtype)).T, Tensor(filled((), dtype))):
            other = duplicate(t)
            assert type(other) is Tensor
            assert other.dtype == t.dtype
            np.testing.assert_array_equal(other.asnumpy(), t.asnumpy())
            other[...] = 0
            assert not np.shares_memory(other.asnumpy(), t.asnumpy())
    assert duplicate(ev.float64) == ev.float64
    w = Parameter([1.0, 2.0], name="w", requires_grad=False)
    other = duplicate(w)
    assert type(other) is Parameter
    assert (other.name, other.requires_grad) == ("w", False)
    other.set_data([3.0, 4.0])
    assert w.asnumpy().tolist() == [1.0, 2.0]


def test_deepcopy_keeps_sharing():
    t = Tensor([1.0])
    one, two = copy.deepcopy([t, t])
    assert one is two
    assert one is not t


def test_conversions_to_python_numbers():
    assert (float(Tensor(1.5)), float(Tensor([[2.5]]))) == (1.5, 2.5)
    assert (int(Tensor(2.9)), int(Tensor(-2.9)), int(Tensor(2**62 + 1)), int(Tensor(True))) == (2, -2, 2**62 + 1, 1)
    assert (complex(Tensor(1.5)), math.sqrt(Tensor(4.0))) == (1.5, 2.0)
    assert [bool(Tensor(v)) for v in (0.0, -0.0, 0.5, float("nan"), 0, 3, False, True)] == [False, False] + [
        True
    ] * 2 + [False, True] * 2
    assert bool(Tensor([[0.0]])) is False
    assert operator.index(Tensor(3)) == 3
    assert ([10, 20, 30][Tensor(1)], list(range(Tensor(3)))) == (20, [0, 1, 2])
    assert (f"{Tensor(1.23456):.2f}", f"{Tensor(5):03d}", f"{Tensor([1.0, 2.0])}") == ("1.23", "005", "[1. 2.]")
    for value, kind in ((1.5, float), (3, int), (True, bool)):
        assert type(Tensor(value).item()) is kind
        assert type(Tensor([value]).tolist()[0]) is kind
    with pytest.raises(OverflowError):
        int(Tensor(float("inf")))


def test_sequences():
    t = Tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert len(t) == 3
    assert [row.tolist() for row in t] == t.tolist()
    assert [row.tolist() for row in reversed(t)] == t.tolist()[::-1]
    _, b, _ = t
    assert b.tolist() == [3.0, 4.0]
    assert sum(t).tolist() == [9.0, 12.0]
    assert max(Tensor([1.0, 3.0, 2.0])).item() == 3.0
    assert 3.0 in Tensor([1.0, 3.0])
    assert 4.0 not in Tensor([1.0, 3.0])
    assert list(Tensor(np.zeros((0, 2)))) == []
    got = ev.grad(lambda x: sum(row[0] * row[1] for row in x))(t)
    assert got.tolist() == [[2.0, 1.0], [4.0, 3.0], [6.0, 5.0]]


def test_identity_and_hashing():
    x, y = Tensor([1.0, 2.0]), Tensor([1.0, 2.0])
    assert {x: "x", y: "y"}[x] == "x"
    assert len({x, y, x}) == 2
    assert x in [y, x][1:]
    assert hash(x) == hash(x)
    assert (x == None, x != None) == (False, True)  # noqa: E711
    assert (x == "a") is False
    assert (x == object()) is False
    w = Parameter([1.0], name="w")
    before = hash(w)
    w.set_data([2.0])
    assert hash(w) == before


def test_weak_references():
    t = Tensor([1.0])
    events = []
    ref = weakref.ref(t, events.append)
    keys = weakref.WeakKeyDictionary({t: 1})
    assert ref() is t
    del t
    assert ref() is None
    assert len(events) == 1
    assert len(keys) == 0


def test_subclasses_with_attributes():
    class Named(Tensor):
        def __init__(self, data, name):
            self.name = name

    t = Named([1.0, 2.0], "n")
    assert t.name == "n"
    assert type(t + 1) is Tensor
    t.self = t  # a cycle
    ref = weakref.ref(t)
    del t
    gc.collect()
    assert ref() is None
    with pytest.raises(AttributeError):
        Tensor([1.0]).name = "none"


def test_reference_counts_of_operands_and_results():
    x, y, key, number = Tensor([1.0, 2.0]), Tensor([3.0, 4.0]), slice(0, 1), 1234.5
    objects = [x, y, key, number, Tensor, None, NotImplemented]

    def work():
        for _ in range(1000):
            x + y, y - number, number * x, -x, x @ y, x < y, x[key], x[0], x == None, x != "s", abs(x)  # noqa: E711
            (
                float(x[0]),
                x.shape,
                x.dtype,
                x.T,
                x.item if False else x.size,
                ops.sin(x),
                ops.add(x, number),
                list(x),
                repr(x),
            )
            memoryview(x), x.asnumpy(), np.asarray(x), x.__dlpack__(), x**2, ops.sum(x, axis=0), Tensor(x), hash(x)
            for bad in (
                lambda: x + "s",
                lambda: x + Tensor([1.0, 2.0, 3.0]),
                lambda: x[7],
                lambda: float(x),
                lambda: x[None, "a"],
            ):
                with contextlib.suppress(TypeError, ValueError, IndexError):
                    bad()
            x[0] = 1.0

    work()
    gc.collect()
    before = [sys.getrefcount(o) for o in objects]
    work()
    gc.collect()
    after = [sys.getrefcount(o) for o in objects]
    assert all(abs(b - a) < 100 for a, b in zip(before, after, strict=True)), (before, after)


# ---- assignment to elements ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        0,
        -1,
        slice(1, None),
        slice(None, None, -2),
        (slice(None), 1),
        (..., 0),
        [0, 2],
        ([0, 1], [1, 0]),
        (None, 1),
        np.array([True, False, True]),
    ],
    ids=str,
)
@pytest.mark.parametrize("value", [7, 2.5, "row"], ids=str)
def test_elements_can_be_set(key, value):
    a = filled((3, 2), np.float64)
    t = Tensor(a)
    if isinstance(value, str):
        value = 5.0 + np.arange(a[key].shape[-1])
    a[key] = value
    t[key] = value
    np.testing.assert_array_equal(t.asnumpy(), a)


def test_assignment_changes_the_object_and_no_view_of_it():
    t = Tensor([1.0, 2.0, 3.0])
    same, view, array = t, t[:2], t.asnumpy()
    total = ops.sum(t)
    t[0] = 50.0
    assert same.tolist() == [50.0, 2.0, 3.0]
    assert view.tolist() == [1.0, 2.0]
    assert array.tolist() == [1.0, 2.0, 3.0]
    assert total.item() == 6.0
    t[1:] += 1.0
    assert t.tolist() == [50.0, 3.0, 4.0]
    integers = Tensor([1, 2])
    integers[0] = 7.9  # as NumPy does: converted to the tensor's dtype
    assert integers.tolist() == [7, 2]


def test_assignment_is_differentiable():
    def fn(x, v):
        x[0] = v * v
        return ops.sum(x * x)

    x, v = Tensor([1.0, 2.0]), Tensor(3.0)
    by_x, by_v = ev.grad(fn, (0, 1))(x, v)
    assert (by_x.tolist(), by_v.item()) == ([0.0, 4.0], 4 * 27.0)
    assert x.tolist() == [1.0, 2.0]  # the function had a value of its own
    assert ev.jvp(fn, (x, v), (ops.zeros(2), Tensor(1.0)))[1].item() == 4 * 27.0


def test_a_shared_array_is_not_written_to():
    a = np.arange(3.0)
    t = ev.from_numpy(a)
    t[0] = 9.0
    assert a[0] == 0.0
    assert t[0].item() == 9.0
