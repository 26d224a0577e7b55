"""The GPU backend, on the GPU that is there or on the emulated one; skipped where there is neither."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from checks import ROWS, nest, samples
from gpu import EMULATED, needs_gpu, on_gpu, run
from test_vmap_ops import ALL, FLOATING, outputs

import evolute as ev
from evolute import DeviceError, Tensor, ops

pytestmark = needs_gpu


# ---- values come and go ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.bool_, np.int32, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (3, 5), (2, 0, 3), (4, 3, 2)])
def test_round_trip(dtype, shape):
    a = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    t = Tensor(a).to("GPU")
    assert t.device == "GPU:0"
    back = t.to("CPU")
    assert back.device == "CPU"
    for got in (t.asnumpy(), np.asarray(t), back.asnumpy()):
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, a)


@pytest.mark.parametrize("shape", [(3000, 1700), (5_000_000,)])
def test_large_transfers_are_cut_to_pieces(shape):
    a = np.random.default_rng(0).standard_normal(shape, np.float32)
    np.testing.assert_array_equal(Tensor(a).to("GPU").asnumpy(), a)
    if len(shape) == 2:
        np.testing.assert_array_equal(Tensor(a).T.to("GPU").asnumpy(), a.T)
        np.testing.assert_array_equal(Tensor(a).to("GPU").T.asnumpy(), a.T)


def test_views_of_either_side():
    a = np.arange(24.0).reshape(2, 3, 4)
    for view in (lambda t: t[:, ::-1, 1::2], lambda t: t.transpose((2, 0, 1)), lambda t: t[1, :, 0]):
        np.testing.assert_array_equal(view(Tensor(a)).to("GPU").asnumpy(), np.asarray(view(Tensor(a))))
        np.testing.assert_array_equal(view(on_gpu(a)).asnumpy(), np.asarray(view(Tensor(a))))


def test_numbers_and_printing():
    t = on_gpu([1.5])
    assert (float(t), int(on_gpu(3)), bool(on_gpu(True)), t.item()) == (1.5, 3, True, 1.5)
    assert str(on_gpu([1.0, 2.0])) == "[1. 2.]"
    assert (
        repr(on_gpu([1.0, 2.0], np.float32))
        == "Tensor(shape=[2], dtype=Float32, value= [ 1.00000000e+00,  2.00000000e+00])"
    )
    with pytest.raises(BufferError, match="memory of a GPU"):
        memoryview(t)


def test_to_is_differentiable():
    x = Tensor(np.array([1.0, 2.0]))
    g = ev.grad(lambda x: ops.sum(ops.sin(x.to("GPU"))))(x)
    assert g.device == "CPU"
    np.testing.assert_allclose(g.asnumpy(), np.cos([1.0, 2.0]))
    _, t = ev.jvp(lambda x: x.to("GPU") ** 2, x, ops.ones_like(x))
    assert t.device == "GPU:0"


def test_derivatives_stay_on_the_device():
    x = on_gpu([0.5, 1.0, 2.0])
    for transform, want in ((ev.jacfwd, np.diag(np.cos([0.5, 1, 2]))), (ev.jacrev, np.diag(np.cos([0.5, 1, 2])))):
        jacobian = transform(ops.sin)(x)
        assert jacobian.device == "GPU:0"
        np.testing.assert_allclose(jacobian.asnumpy(), want, 1e-14)
        assert transform(lambda x: x[:0])(x).device == transform(ops.sin)(x[:0]).device == "GPU:0"
    hessian = ev.hessian(lambda x: ops.sum(ops.exp(x)))
    for h in (hessian(x), ev.jit(hessian)(x)):
        assert h.device == "GPU:0"
        np.testing.assert_allclose(h.asnumpy(), np.diag(np.exp([0.5, 1, 2])), 1e-14)


def test_examples_move_together():
    x = Tensor(np.array([[1.0, 2.0], [3.0, 4.0]]))
    y = ev.vmap(lambda x: ev.grad(lambda x: ops.sum(x.to("GPU") ** 2).to("CPU"))(x).to("GPU"))(x)
    assert y.device == "GPU:0"
    np.testing.assert_array_equal(y.asnumpy(), [[2, 4], [6, 8]])


# ---- devices of operands ---------------------------------------------------------------------------------------------


def test_examples_have_indices_of_their_own():
    a, i = np.arange(12.0).reshape(3, 4), np.array([[3, 0], [1, 1], [2, 3]])
    picked = ev.vmap(lambda x, i: x[i])(on_gpu(a), on_gpu(i))
    np.testing.assert_array_equal(picked.asnumpy(), np.take_along_axis(a, i, 1))


def test_operands_on_different_devices():
    a, b = on_gpu([1.0, 2.0]), Tensor(np.array([3.0, 4.0])).to("CPU")
    with pytest.raises(DeviceError, match=r"mul: .*Float64\(2,\) on GPU:0 and Float64\(2,\) on CPU; .*`to`"):
        a * b
    with pytest.raises(DeviceError, match=r"matmul: .* different devices"):
        ops.matmul(on_gpu(np.eye(2)), Tensor(np.eye(2)).to("CPU"))
    f = ev.jit(lambda x, y: x * y)
    with pytest.raises(DeviceError, match="different devices"):
        f(a, b)
    assert (a * a).device == "GPU:0"


def test_constants_stand_beside_any():
    x = on_gpu([1.0, 2.0])
    for y in (x * 2, 2 - x, x + ops.ones((2,), np.float64).to("CPU"), x * np.array([3.0, 4.0]), ops.add(x, [1.0, 2.0])):
        assert y.device == "GPU:0"
    np.testing.assert_array_equal((x * ops.full((2,), 3.0).to("CPU")).asnumpy(), [3, 6])
    assert ops.where(x > 1, 0.0, x).asnumpy().tolist() == [1, 0]


def test_indices_follow_what_they_index():
    x = on_gpu(np.arange(12.0).reshape(3, 4))
    a = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(x[[2, 0]].asnumpy(), a[[2, 0]])
    np.testing.assert_array_equal(x[:, np.array([1, -1])].asnumpy(), a[:, [1, -1]])
    np.testing.assert_array_equal(x[x > 4].asnumpy(), a[a > 4])
    x[1, 2] = 100.0
    a[1, 2] = 100
    np.testing.assert_array_equal(x.asnumpy(), a)


def test_sparsity_by_indices():
    """Patterns are found on the host, whatever indices are on the device."""
    where = on_gpu([2, 0])
    pattern = ev.jacobian_sparsity(lambda x: ops.sin(x[where]) * x[:2], on_gpu([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(pattern.toarray(), [[1, 0, 1], [1, 1, 0]])


def test_bad_index():
    with pytest.raises(IndexError, match="gather: index 7 is out of range for axis 0 of length 3"):
        ops.take(on_gpu([1.0, 2.0, 3.0]), on_gpu([0, 7, 1]), 0).asnumpy()
    np.testing.assert_array_equal((on_gpu([1.0]) + 1).asnumpy(), [2])  # and all goes on


# ---- kernels beside those of the CPU ---------------------------------------------------------------------------------

SHAPES = [((), ()), ((1,), (5,)), ((3, 1), (1, 4)), ((17,), (17,)), ((2, 3, 5), (3, 1)), ((4, 8), (8,)), ((0, 3), (3,))]


def inputs(row, shapes, dtype):
    lo, hi = row["domain"]
    return [
        samples((lo, hi), int(np.prod(s)), 0.37 * i).reshape(s).astype(dtype)
        for i, s in enumerate(shapes[: row["arity"]])
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_elementwise(row, dtype):
    """Orders 0 to 2 on both devices, with broadcasting: by the same formulas, up to their functions' last digits."""
    fn = getattr(ops, row["name"])
    tolerance = {np.float32: 1e-5, np.float64: 1e-13}[dtype]
    for shapes in SHAPES:
        arrays = inputs(row, shapes, dtype)
        orders = range(3) if row["reverse"] else range(1)
        for order in orders:
            for modes in ("r" * order, "f" * order):

                def f(*xs, modes=modes):
                    return nest(fn, modes)(*xs)

                want = f(*[Tensor(a).to("CPU") for a in arrays]).to("CPU").asnumpy()
                got = f(*[on_gpu(a) for a in arrays])
                np.testing.assert_allclose(
                    got.asnumpy(), want, tolerance, tolerance * np.abs(want).max(initial=0), err_msg=f"{shapes} {modes}"
                )


# All other operations, as test_vmap_ops.py has them. What some create is where the context says.
OPERATIONS = [(name, fn, examples) for name, fn, examples in ALL if name != "to_device"]
OPERATIONS.append(("to_device", lambda x: (x.to("CPU") * 2).to(x.device), ALL[0][2][:1]))


def on_its_device(fn, *xs):
    before = ev.get_context("device_target")
    ev.set_context(device_target="GPU")
    try:
        return fn(*xs)
    finally:
        ev.set_context(device_target=before)


def weighted(fn, *xs):
    """One number that depends on all results of floating dtype."""
    return sum((ops.sum(y * ops.cos(y)) for y in outputs(fn, *xs) if y.dtype in FLOATING), ops.sum(xs[0]) * 0.0)


def derivatives(fn, moving):
    """Return the function, its gradient by the arguments `moving`, and a derivative of that."""

    def first(*xs):
        return ev.grad(lambda *xs: weighted(fn, *xs), moving)(*xs)

    def second(*xs):
        tangents = tuple(ops.ones_like(x) if i in moving else None for i, x in enumerate(xs))
        return ev.jvp(first, xs, tangents)[1]

    return [lambda *xs: outputs(fn, *xs), first, second][: 3 if moving else 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "fn", "examples"), OPERATIONS, ids=[name for name, *_ in OPERATIONS])
def test_operation(name, fn, examples, dtype):
    """Orders 0 to 2 on both devices, eager and recorded."""
    arrays = [a[0].astype(dtype) if a.dtype == np.float64 else a[0] for a in examples]
    tolerance = {
        np.float32: 2e-3 if name in ("cholesky", "solve", "cofactor", "logabsdet") else 1e-4,
        np.float64: 1e-10,
    }
    moving = tuple(i for i, a in enumerate(arrays) if a.dtype == dtype)
    for f in derivatives(fn, moving):
        want = f(*[Tensor(a).to("CPU") for a in arrays])
        for way in (f, ev.jit(f)):
            for g, w in zip(on_its_device(way, *[on_gpu(a) for a in arrays]), want, strict=True):
                a, b = g.asnumpy(), w.to("CPU").asnumpy()
                limit = tolerance[dtype]
                np.testing.assert_allclose(a, b, limit, limit * np.abs(b).max(initial=0) if b.dtype == dtype else 0)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all"])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((5,), None), ((3000,), None), ((70000,), None), ((37, 41), 0), ((37, 41), 1), ((2, 3, 4, 5), (1, 3)),
        ((2, 3, 4, 5), (0, 2)), ((6, 50, 7), 1), ((1, 9000), 1), ((9000, 1), 0), ((3, 5000), 0),
        ((5000, 3), 0), ((64, 64), 0),
    ],
)  # fmt: skip
def test_reductions(name, shape, axes):
    fn = getattr(ops, name)
    for dtype in (np.float64, np.float32, np.int32, np.int64):
        a = (np.random.default_rng(1).standard_normal(shape) * 3 + (0.5 if name == "prod" else 0)).astype(dtype)
        if name == "prod":
            a = np.where(np.abs(a) < 0.5, 1, np.sign(a)).astype(dtype)
        want = fn(Tensor(a).to("CPU"), axes)
        got = fn(on_gpu(a), axes)
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got.asnumpy(), want.asnumpy(), 1e-5 if dtype == np.float32 else 1e-12, 1e-4)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [((1,), 0), ((40_000,), 0), ((3, 9000), 1), ((9000, 3), 0), ((9000, 40), 0), ((5000, 7), 1), ((3, 5, 300, 4), 2)],
)
def test_positions_of_extrema(name, shape, axis, dtype):
    """The first of equal ones, of which there are some in other parts of the axis; of NaN the first too."""
    a = np.random.default_rng(3).integers(-50, 50, shape).astype(dtype)
    want = getattr(np, name)(a, axis)
    for x in (a, np.asfortranarray(a)):
        np.testing.assert_array_equal(getattr(ops, name)(on_gpu(x), axis).asnumpy(), want)
    if dtype != np.int32:
        a[np.random.default_rng(4).random(shape) < 3 / shape[axis]] = np.nan
        np.testing.assert_array_equal(getattr(ops, name)(on_gpu(a), axis).asnumpy(), getattr(np, name)(a, axis))


def test_reductions_are_the_same_each_time():
    x = on_gpu(np.random.default_rng(2).standard_normal(100_001, np.float32))
    assert len({ops.sum(x).item() for _ in range(3)}) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize(
    "mkn",
    [
        (1, 1, 1),
        (3, 5, 7),
        (64, 64, 64),
        (65, 17, 66),
        (130, 3, 129),
        (5, 1000, 3),
        (100, 1, 16),
        (33, 600, 40),
        (2, 9, 200),
    ],
)
def test_products(mkn, dtype):
    m, k, n = mkn
    rng = np.random.default_rng(3)
    for ta in (False, True):
        for tb in (False, True):
            a = (rng.standard_normal((k, m) if ta else (m, k)) * 4).astype(dtype)
            b = (rng.standard_normal((n, k) if tb else (k, n)) * 4).astype(dtype)
            want = (a.T if ta else a) @ (b.T if tb else b)
            got = ops.matmul(on_gpu(a).T if ta else on_gpu(a), on_gpu(b).T if tb else on_gpu(b)).asnumpy()
            np.testing.assert_allclose(got, want, 1e-5 if dtype == np.float32 else 1e-12, 1e-5 * k)


@pytest.mark.parametrize(
    "shapes", [((3, 4, 5), (3, 5, 6)), ((2, 1, 4, 5), (3, 5, 2)), ((4, 5), (7, 5, 3)), ((7, 4, 5), (5, 3))]
)
def test_batched_products(shapes):
    rng = np.random.default_rng(4)
    a, b = (rng.standard_normal(s) for s in shapes)
    np.testing.assert_allclose(ops.matmul(on_gpu(a), on_gpu(b)).asnumpy(), a @ b, 1e-12, 1e-12)


def test_running_sums():
    rng = np.random.default_rng(5)
    for shape, axis in [((7,), 0), ((1000,), 0), ((20000,), 0), ((3, 300), 1), ((300, 3), 0), ((2, 9000), 1)]:
        a = rng.standard_normal(shape)
        np.testing.assert_allclose(ops.cumsum(on_gpu(a), axis).asnumpy(), np.cumsum(a, axis), 1e-9, 1e-9)


def test_positions():
    a = np.random.default_rng(6).standard_normal((97, 103)) > 0.3
    for got, want in zip(ops.nonzero(on_gpu(a)), np.nonzero(a), strict=True):
        np.testing.assert_array_equal(got.asnumpy(), want)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_numbers_are_those_of_the_cpu(dtype):
    for fn in (ops.uniform, ops.standard_normal):
        got = on_its_device(fn, (1001,), 42, dtype)
        want = fn((1001,), 42, dtype).asnumpy()
        np.testing.assert_allclose(got.asnumpy(), want, 1e-6 if dtype == "float32" else 1e-12, 1e-12)


@pytest.mark.parametrize("n", [1, 2, 5, 33])
def test_linear_algebra(n):
    rng = np.random.default_rng(7)
    a = rng.standard_normal((3, n, n)) + 2 * np.eye(n)
    b = rng.standard_normal((3, n, 4))
    spd = a @ a.transpose(0, 2, 1) + n * np.eye(n)
    np.testing.assert_allclose(ops.cholesky(on_gpu(spd)).asnumpy(), np.linalg.cholesky(spd), 1e-9, 1e-9)
    np.testing.assert_allclose(ops.solve(on_gpu(a), on_gpu(b)).asnumpy(), np.linalg.solve(a, b), 1e-8, 1e-9)
    np.testing.assert_allclose(ops.solve(on_gpu(a[0]), on_gpu(b)).asnumpy(), np.linalg.solve(a[0], b), 1e-8, 1e-9)
    np.testing.assert_allclose(ops.det(on_gpu(a)).asnumpy(), np.linalg.det(a), 1e-9)
    lower = np.tril(a)
    for transpose in (False, True):
        want = np.linalg.solve(lower.transpose(0, 2, 1) if transpose else lower, b)
        got = ops.solve_triangular(on_gpu(lower), on_gpu(b), True, transpose).asnumpy()
        np.testing.assert_allclose(got, want, 1e-7, 1e-8)
    assert np.isnan(ops.cholesky(on_gpu(-np.eye(n))).asnumpy()[0, 0])


# ---- graph mode ------------------------------------------------------------------------------------------------------


def step(x, w):
    return ops.sum(ops.tanh(x @ w) * ops.sin(x)[:, :1] + ops.where(x > 0, x, 0.5)[:, :1])


def test_recorded_runs_follow_their_operands():
    """A compiled function runs, runs again, is captured, and replayed; with other values in the same places."""
    f = ev.jit(ev.value_and_grad(step, (0, 1)))
    rng = np.random.default_rng(8)
    for _ in range(8):
        x, w = rng.standard_normal((6, 4)), rng.standard_normal((4, 4))
        want = ev.value_and_grad(step, (0, 1))(Tensor(x).to("CPU"), Tensor(w).to("CPU"))
        got = f(on_gpu(x), on_gpu(w))
        np.testing.assert_allclose(got[0].asnumpy(), want[0].asnumpy(), 1e-12)
        for g, h in zip(got[1], want[1], strict=True):
            np.testing.assert_allclose(g.asnumpy(), h.asnumpy(), 1e-12, 1e-12)
        del got, x, w
        gc.collect()


def test_results_of_replays_are_tensors_of_their_own():
    f = ev.jit(lambda x: (x * 2, (x + 1).T, x.T))
    kept = [f(on_gpu(np.full((2, 3), float(i)))) for i in range(6)]
    for i, (a, b, c) in enumerate(kept):
        np.testing.assert_array_equal(a.asnumpy(), np.full((2, 3), 2.0 * i))
        np.testing.assert_array_equal(b.asnumpy(), np.full((3, 2), i + 1.0))
        np.testing.assert_array_equal(c.asnumpy(), np.full((3, 2), float(i)))


def test_replays_of_constants_and_strides():
    f = ev.jit(lambda x, y: ops.sin(x) * y + ops.sum(x, 0))
    a = np.arange(12.0).reshape(3, 4)
    for i in range(4):
        for x in (a, a.T.copy().T, a[::-1]):
            t = Tensor(x).to("GPU")
            np.testing.assert_allclose(f(t, t * i).asnumpy(), np.sin(x) * x * i + x.sum(0), 1e-12, 1e-12)
        np.testing.assert_allclose(
            f(on_gpu(a), ops.full((3, 4), float(i), np.float64)).asnumpy(), np.sin(a) * i + a.sum(0), 1e-12
        )


def test_training_step_in_graph_mode():
    w = ev.Parameter(on_gpu([1.0, 2.0]), name="w")
    x = on_gpu([3.0, -1.0])

    @ev.jit
    def train(x):
        g = ev.grad(lambda v: ops.sum((v * x) ** 2))(w)
        w.set_data(w - 0.01 * g)
        return ops.sum(w)

    want = np.array([1.0, 2.0])
    for _ in range(7):
        want = want - 0.01 * 2 * want * np.array([9.0, 1.0])
        np.testing.assert_allclose(train(x).item(), want.sum(), 1e-12)
    np.testing.assert_allclose(w.asnumpy(), want, 1e-12)


PROGRAM = """
import numpy as np, evolute as ev
from evolute import Tensor, ops

def f(x, b, c):
    y = ops.exp(-(x**2)) * ops.sin(3 * x + b) / (1 + x**2) + ops.where(x > c, ops.tanh(x), x**2.5)
    return ops.sum(y * ops.cast(x > 0, x.dtype))

for dtype in ("float32", "float64"):
    for shape in ((7,), (64,), (3, 8), (5, 3)):
        a = np.random.default_rng(0).uniform(0.2, 1.5, shape).astype(dtype)
        args = (a, a[..., :1] / 2, np.asarray(0.7, dtype))
        order2 = lambda *xs: ev.grad(lambda *ys: ops.sum(ev.grad(f)(*ys)), (0, 1))(*xs)
        want = order2(*[Tensor(x) for x in args])
        got = ev.jit(order2)(*[Tensor(x).to("GPU") for x in args])
        for g, w in zip(got, want):
            np.testing.assert_allclose(g.asnumpy(), w.asnumpy(), 1e-4 if dtype == "float32" else 1e-11, 1e-5)
print("same")
"""


def compiled_and_interpreted(program, folder):
    """Run a program that prints "same" with kernels made at run time, and with the interpreter. Returns the sources."""
    environment = {"EVOLUTE_CUDA_COMPILER": "1", "EVOLUTE_EMULATED_COMPILER": "1"}
    compiled = run(program, **environment, EVOLUTE_CUDA_SOURCES=str(folder))
    if "NVRTC (libnvrtc.so) is not there" in compiled.stderr:
        pytest.skip("there is no NVRTC")
    assert compiled.stdout == "same\n", compiled.stderr
    interpreted = run(program, EVOLUTE_CUDA_COMPILER="0")
    assert interpreted.stdout == "same\n", interpreted.stderr
    return [path.read_text() for path in folder.glob("fused-*.cu")]


def test_kernels_made_at_run_time(tmp_path):
    """Sources of fused loops compile and give what the interpreter gives, which gives what the CPU gives."""
    assert len(compiled_and_interpreted(PROGRAM, tmp_path)) >= 4


# ---- threads and exchange --------------------------------------------------------------------------------------------


def test_threads_have_streams_that_wait_for_each_other():
    x = on_gpu(np.ones(1000))
    results = {}

    def work(i):
        y = x
        for _ in range(20):
            y = y * 1.01 + i
        results[i] = y

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    total = sum((results[i] for i in range(4)), x)
    want = np.ones(1000)
    for i in range(4):
        y = np.ones(1000)
        for _ in range(20):
            y = y * 1.01 + i
        want = want + y
    np.testing.assert_allclose(total.asnumpy(), want, 1e-12)


def test_dlpack_to_itself():
    t = on_gpu(np.arange(6.0).reshape(2, 3))
    assert t.__dlpack_device__() == (2, 0)
    again = ev.from_dlpack(t)
    assert again.device == "GPU:0"
    np.testing.assert_array_equal((again.T + 1).asnumpy(), t.asnumpy().T + 1)
    np.testing.assert_array_equal(ev.from_dlpack(t.__dlpack__(stream=-1)).asnumpy(), t.asnumpy())
    np.testing.assert_array_equal(ev.from_dlpack(t.__dlpack__(dl_device=(1, 0))).asnumpy(), t.asnumpy())
    assert ev.from_dlpack(t.__dlpack__(dl_device=(1, 0))).device == "CPU"
    with pytest.raises(BufferError, match=r"device \(2, 0\)"):
        t.__dlpack__(dl_device=(2, 1))
    ones = ev.from_dlpack(ops.ones((3,)).to("GPU"))  # a constant gets memory when somebody wants to see it
    np.testing.assert_array_equal(ones.asnumpy(), [1, 1, 1])


# ---- what is missing is said -----------------------------------------------------------------------------------------

ASK = "import evolute as ev; ev.set_context(device_target='GPU')"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {"EVOLUTE_CUDA_PLUGIN": "/nowhere/x.so"},
            "this build of evolute has no CUDA backend (there is no /nowhere/x.so)",
        ),
        ({"EVOLUTE_EMULATED_DRIVER": "0"}, "no CUDA driver is installed"),
        ({"EVOLUTE_EMULATED_DEVICES": "0"}, "there is no CUDA device"),
        ({"EVOLUTE_EMULATED_MAJOR": "7"}, "has compute capability 7.0; the kernels need 8.0 or newer"),
    ],
)
def test_device_errors(environment, message):
    if "EVOLUTE_CUDA_PLUGIN" not in environment and not EMULATED:
        pytest.skip("there is a GPU")
    result = run(ASK, **environment)
    assert result.returncode == 1
    assert "DeviceError: set_context: device_target='GPU' is not available: " in result.stderr
    assert message in result.stderr


@pytest.mark.skipif(not EMULATED, reason="for a device of known size")
def test_out_of_memory():
    code = """
import numpy as np, evolute as ev
x = ev.Tensor(np.zeros(1000, np.float32)).to("GPU")
try:
    y = x.reshape((1000, 1)) + ev.Tensor(np.zeros(5000, np.float32)).to("GPU")
except ev.DeviceError as error:
    print(error)
print((x + 1).asnumpy().sum())
"""
    result = run(code, EVOLUTE_EMULATED_BYTES=str(8 << 20))
    lines = result.stdout.splitlines()
    assert lines[0].startswith("the GPU is out of memory: asked for 19.1 MiB, free are "), result.stderr
    assert " of 8.0 MiB, and tensors of this process hold " in lines[0]
    assert lines[1] == "1000.0"
