"""DLPack between streams: tensors go to and come from others who work on the GPU, without copies and without waiting.

The others are fakes on the emulated device that follow the conventions of torch, CuPy and JAX. Streams are late there,
in orders drawn from seeds: an order that is missing gives wrong numbers, or a read of memory that is not written yet.
"""

from __future__ import annotations

import ctypes
import gc
from typing import ClassVar

import numpy as np
import pytest
from emulation import ALLOCATIONS, WAITS, count, late_streams, library, pending
from gpu import BLOCKING, EMULATED, needs_emulation, needs_gpu, on_gpu

import evolute as ev
from evolute import DeviceError, DTypeError, ops

LEGACY, PER_THREAD, NO_ORDER = 1, 2, -1
N = 48


class DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class Plain(ctypes.Structure):
    name = b"dltensor"
    _fields_ = [("tensor", DLTensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


class Versioned(ctypes.Structure):
    name = b"dltensor_versioned"
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", DLTensor),
    ]


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
api = ctypes.pythonapi
for function, result, arguments in (
    (api.PyCapsule_New, ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]),
    (api.PyCapsule_GetName, ctypes.c_char_p, [ctypes.py_object]),
    (api.PyCapsule_GetPointer, ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]),
    (api.PyCapsule_SetName, ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]),
):
    function.restype, function.argtypes = result, arguments


# ---- others ----------------------------------------------------------------------------------------------------------


class Taken:
    """A tensor of ours that somebody else has, until `free`: he has renamed its capsule, and calls its deleter once."""

    def __init__(self, capsule):
        name = api.PyCapsule_GetName(capsule)
        kind = {k.name: k for k in (Plain, Versioned)}[name]
        self.used = b"used_" + name  # the capsule keeps no copy of it
        self.managed = kind.from_address(api.PyCapsule_GetPointer(capsule, name))
        api.PyCapsule_SetName(capsule, self.used)
        self.capsule = capsule
        self.pointer = self.managed.tensor.data + self.managed.tensor.byte_offset

    def free(self):
        DELETER(self.managed.deleter)(ctypes.addressof(self.managed))


class Peer:
    """Works on a stream of his own, or on one of CUDA's default streams."""

    def __init__(self, stream=None):
        self.device = library()
        self.stream = stream or self.device.emulated_stream()

    def take(self, source, **options):
        return Taken(source.__dlpack__(**options))

    def new(self, value=None):
        """float32 memory of his own, of N elements."""
        pointer = self.device.emulated_malloc(4 * N)
        if value is not None:
            self.fill(pointer, value)
        return pointer

    def fill(self, pointer, value):
        self.device.emulated_write(self.stream, pointer, N, value)

    def copy(self, pointer):
        """Copies float32 memory to his own: the copy is asked for, and has not run yet."""
        to = self.new()
        self.device.emulated_copy(self.stream, to, pointer, 4 * N)
        return to

    def values(self, pointer):
        result = np.empty(N, np.float32)
        self.device.emulated_copy(self.stream, result.ctypes.data, pointer, 4 * N)
        self.device.emulated_synchronize(self.stream)
        return result


class Array:
    """What a peer offers: float32 memory that his stream has been asked to write."""

    all: ClassVar = []  # consumers have pointers into them, and call their deleters when they like

    def __init__(self, peer, pointer, kind=Versioned, device=0, code=2, bits=32, shape=(N,), strides=None, offset=0):
        self.peer, self.kind, self.asked, self.freed = peer, kind, [], 0
        Array.all.append(self)
        # What managers keep alive until their deleters are called.
        self.dims = (ctypes.c_int64 * len(shape))(*shape), (ctypes.c_int64 * len(shape))(*(strides or shape))
        tensor = DLTensor(pointer - offset, 2, device, len(shape), code, bits, 1, self.dims[0], None, offset)
        if strides:
            tensor.strides = self.dims[1]
        self.deleter = DELETER(self.free)
        deleter = ctypes.cast(self.deleter, ctypes.c_void_p)
        self.managed = Plain(tensor, None, deleter) if kind is Plain else Versioned(1, 0, None, deleter, 0, tensor)

    def free(self, _):
        self.freed += 1

    def __dlpack_device__(self):
        return (2, self.managed.tensor.device_id)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        assert isinstance(stream, int), "consumers on CUDA name their stream"
        assert stream != 0, "0 is ambiguous"
        self.asked.append(stream)
        if stream not in (NO_ORDER, self.peer.stream):
            self.peer.device.emulated_order(stream, self.peer.stream)
        return api.PyCapsule_New(ctypes.addressof(self.managed), self.kind.name, None)


class OldArray(Array):
    """Of a library from before DLPack 1.0."""

    def __dlpack__(self, stream=None):
        return super().__dlpack__(stream=stream)


def look_for_what_is_done():
    """Memory of others goes back when we look whether we are done with it: with each allocation."""
    on_gpu([0.0])


# ---- streams ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=range(8))
def late(request):
    with late_streams(request.param):
        yield
        gc.collect()


# How libraries ask: torch with its current stream, and 1 for the default one; CuPy likewise, with all options; older
# ones without a version, or with no stream at all, which means the legacy default stream.
CONSUMERS = {
    "torch": (None, {"max_version": (1, 0)}),
    "torch, default stream": (LEGACY, {"stream": LEGACY, "max_version": (1, 0)}),
    "cupy": (None, {"max_version": (1, 1), "dl_device": None, "copy": None}),
    "per-thread stream": (PER_THREAD, {"stream": PER_THREAD}),
    "jax": (None, {}),
    "none named": (LEGACY, {"stream": None}),
}


@pytest.mark.skipif(BLOCKING, reason="EVOLUTE_CUDA_BLOCKING is set")
class TestOrder:
    pytestmark = needs_emulation

    @pytest.fixture(params=CONSUMERS.values(), ids=CONSUMERS)
    def consumer(self, request):
        stream, options = request.param
        peer = Peer(stream)
        return peer, {"stream": peer.stream, **options}

    def test_out(self, late, consumer):
        """What we have been asked for comes before what he does with it."""
        peer, options = consumer
        a = np.linspace(0, 1, N, dtype=np.float32)
        y = ops.exp(on_gpu(a)) + 1
        before = count(WAITS)
        taken = peer.take(y, **options)
        copied = peer.copy(taken.pointer)
        assert count(WAITS) == before
        assert pending() > 0
        np.testing.assert_allclose(peer.values(copied), np.exp(a) + 1, 1e-6)
        taken.free()

    def test_back(self, late, consumer):
        """What he has been asked for comes before we use the memory again."""
        peer, options = consumer
        for i in range(3):
            y = on_gpu(np.full(N, i + 1, np.float32)) * 2
            taken = peer.take(y, **options)
            del y
            copied = peer.copy(taken.pointer)
            taken.free()
            again = on_gpu(np.full(N, -1, np.float32)) * 3
            np.testing.assert_array_equal(peer.values(copied), np.full(N, 2 * (i + 1)))
            np.testing.assert_array_equal(again.asnumpy(), np.full(N, -3))

    @pytest.mark.parametrize("stream", [None, LEGACY, PER_THREAD])
    @pytest.mark.parametrize("offer", [Array, OldArray])
    @pytest.mark.parametrize("kind", [Plain, Versioned])
    def test_in(self, late, stream, offer, kind):
        """What he has been asked for comes before what we do with it; he gets it back when we are done with it."""
        peer = Peer(stream)
        array = offer(peer, peer.new(3.0), kind)
        before = count(WAITS)
        x = ev.from_dlpack(array)
        y = x * 2
        assert (x.device, x.shape, len(array.asked)) == ("GPU:0", (N,), 1)
        assert count(WAITS) == before
        del x
        look_for_what_is_done()
        assert array.freed == (0 if pending() else 1)
        np.testing.assert_array_equal(y.asnumpy(), np.full(N, 6))
        look_for_what_is_done()
        assert array.freed == 1

    def test_he_writes_when_he_gets_it_back(self, late):
        peer = Peer()

        class Reused(Array):
            def free(self, _):
                super().free(_)
                peer.fill(self.managed.tensor.data, float("nan"))

        array = Reused(peer, peer.new(3.0))
        y = ev.from_dlpack(array) * 2
        for _ in range(3):
            y = y + 1
        np.testing.assert_array_equal(y.asnumpy(), np.full(N, 9))
        look_for_what_is_done()
        assert array.freed == 1

    def test_recorded_functions_use_what_others_made(self, late):
        peer = Peer()
        f = ev.jit(lambda x: ops.sin(x) * x)
        for i in range(5):
            pointer = peer.new(float(i))
            y = f(ev.from_dlpack(Array(peer, pointer)))
            np.testing.assert_allclose(y.asnumpy(), np.full(N, np.sin(i) * i), 1e-6)

    def test_no_order(self, late):
        """-1: he sees to the order himself."""
        y = on_gpu(np.ones(N, np.float32)) * 5
        before = pending()
        peer = Peer()
        taken = peer.take(y, stream=NO_ORDER)
        assert pending() == before
        y.asnumpy()
        np.testing.assert_array_equal(peer.values(taken.pointer), np.full(N, 5))
        before = pending()
        taken.free()
        assert pending() == before


# ---- memory ----------------------------------------------------------------------------------------------------------


class TestMemory:
    pytestmark = needs_emulation

    def test_nothing_is_copied(self):
        peer = Peer()
        pointer = peer.new(1.0)
        x = ev.from_dlpack(Array(peer, pointer))
        assert peer.take(x).pointer == pointer
        assert peer.take(x[5:]).pointer == pointer + 20
        y = x * 2
        assert peer.take(y).pointer == peer.take(ev.from_dlpack(y)).pointer

    @pytest.mark.parametrize(
        ("version", "kind"), [(None, Plain), ((0, 8), Plain), ((1, 0), Versioned), ((1, 3), Versioned)]
    )
    def test_what_is_exported(self, version, kind):
        x = on_gpu(np.arange(24.0, dtype=np.float32).reshape(4, 6))
        for view, strides in ((x, (6, 1)), (x.T, (1, 6)), (x[1:, ::2], (6, 2))):
            capsule = view.__dlpack__(max_version=version)
            assert api.PyCapsule_GetName(capsule) == kind.name
            taken = Taken(capsule)
            t = taken.managed.tensor
            assert (t.device_type, t.device_id, t.code, t.bits, t.lanes) == (2, 0, 2, 32, 1)
            assert (tuple(t.shape[:2]), tuple(t.strides[:2])) == (view.shape, strides)
            if kind is Versioned:
                assert (taken.managed.major, taken.managed.flags) == (1, 1)  # read-only
            taken.free()

    def test_a_copy_may_be_written_to(self):
        peer = Peer()
        x = on_gpu(np.ones(N, np.float32)) * 2
        taken = peer.take(x, stream=peer.stream, max_version=(1, 0), copy=True)
        assert taken.managed.flags == 2  # a copy, not read-only
        peer.fill(taken.pointer, 7.0)
        np.testing.assert_array_equal(peer.values(taken.pointer), np.full(N, 7))
        np.testing.assert_array_equal(x.asnumpy(), np.full(N, 2))
        taken.free()

    def test_strides_and_offsets(self):
        peer = Peer()
        pointer = peer.new(0.0)
        peer.device.emulated_write(peer.stream, pointer + 4 * 7, 1, 5.0)
        x = ev.from_dlpack(Array(peer, pointer + 4, shape=(3, 2), strides=(1, 4), offset=4))
        want = np.zeros((3, 2))
        want[2, 1] = 5
        np.testing.assert_array_equal(x.asnumpy(), want)

    @pytest.mark.parametrize("version", [None, (1, 0)])
    def test_memory_lives_as_long_as_somebody_has_it(self, version):
        side = 1100 if version else 1000  # more than a slab: each block is CUDA's own
        ones = ops.ones((side, side)).to("GPU") * 1
        capsule = (ones * 2).__dlpack__(max_version=version)
        x, y = ones * 3, ev.from_dlpack(capsule)
        assert (float(y[-1, -1]), float(x[0, 0])) == (2, 3)
        with pytest.raises(ValueError, match="consumed"):
            ev.from_dlpack(capsule)
        y = ops.sin(y)
        del y, x
        ev._evolute.synchronize()
        before = count(ALLOCATIONS)
        for _ in range(4):  # capsules that nobody takes
            (ones * 2).__dlpack__(max_version=version)
        assert count(ALLOCATIONS) == before
        kept = [(ones * 2).__dlpack__(max_version=version) for _ in range(9)]
        assert count(ALLOCATIONS) > before
        del kept

    @pytest.mark.parametrize(
        ("wrong", "error", "message"),
        [
            ({"device": 1}, DeviceError, r"DLPack device \(2, 1\)"),
            ({"bits": 16}, DTypeError, "16 bits"),
            ({"code": 5, "bits": 64}, DTypeError, "type code 5"),
        ],
    )
    def test_what_cannot_be_taken_is_given_back(self, wrong, error, message):
        peer = Peer()
        array = Array(peer, peer.new(1.0), **wrong)
        with pytest.raises(error, match=message):
            ev.from_dlpack(array)
        look_for_what_is_done()
        assert array.freed == 1

    def test_another_version_is_given_back(self):
        peer = Peer()
        array = Array(peer, peer.new(1.0))
        array.managed.major = 2
        with pytest.raises(ValueError, match=r"DLPack 2\.0; evolute reads version 1"):
            ev.from_dlpack(array)
        assert array.freed == 1

    def test_what_cannot_be_asked_for(self):
        x = on_gpu(np.ones(N, np.float32))
        for stream in (0, -2):
            with pytest.raises(ValueError, match=f"no stream {stream}; give a handle"):
                x.__dlpack__(stream=stream)
        with pytest.raises(BufferError, match="by a copy only"):
            x.__dlpack__(dl_device=(1, 0), copy=False)
        with pytest.raises(BufferError, match=r"device \(2, 0\)"):
            x.__dlpack__(dl_device=(2, 1))


# ---- on a GPU --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(EMULATED, reason="torch would need a GPU")
class TestTorch:
    pytestmark = needs_gpu

    def test_streams(self):
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("torch sees no GPU")
        for stream in (torch.cuda.default_stream(), torch.cuda.Stream()):
            with torch.cuda.stream(stream):
                for i in range(20):
                    a = torch.full((4_000_000,), float(i), device="cuda")
                    for _ in range(10):
                        a = a + 1
                    x = ev.from_dlpack(a)
                    del a
                    y = torch.from_dlpack(x * 2)
                    del x
                    z = y + 1
                    del y
                    np.testing.assert_array_equal(z[::100_003].cpu().numpy(), 2 * (i + 10.0) + 1)
