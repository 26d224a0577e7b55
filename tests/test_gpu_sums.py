"""Sums within the kernels of the GPU backend that compute what is summed, beside the CPU's results."""

from __future__ import annotations

import numpy as np
import pytest
from checks import ROWS
from gpu import needs_gpu, on_gpu
from test_gpu import compiled_and_interpreted, inputs

import evolute as ev
from evolute import Tensor, ops

pytestmark = needs_gpu

DTYPES = [np.float32, np.float64]
UNARY = [row for row in ROWS if row["arity"] == 1 and row["reverse"]]
BINARY = [row for row in ROWS if row["arity"] == 2 and row["reverse"]]


def agree(fn, arrays, dtype, message=""):
    """What `fn` gives on both devices, up to rounding that grows with the number of terms."""
    want = fn(*[Tensor(a).to("CPU") for a in arrays])
    got = fn(*[on_gpu(a) for a in arrays])
    tolerance = {np.float32: 3e-5, np.float64: 1e-12}[dtype]
    for g, w in zip(got, want, strict=True):
        a, b = g.asnumpy(), w.asnumpy()
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, 10 * tolerance, tolerance * np.abs(b).max(), err_msg=message)
    return got


# ---- sums of cotangents over broadcast axes: eager, from 2¹⁶ elements on ---------------------------------------------

# Leading, trailing, middle, several and all axes; missing ones and such of length 1; sizes that divide by nothing;
# both operands summed, over the same axes and others; results of one tile and of many.
BROADCAST = [
    ((1001, 67), (67,)), ((1001, 67), (1001, 1)), ((1001, 67), ()), ((1001, 67), (1, 1)), ((513, 1), (1, 129)),
    ((65539,), ()), ((70001, 3), (3,)), ((70001, 1), (1, 3)), ((2, 40000), (2, 1)), ((2, 40000), (40000,)),
    ((41, 31, 53), (31, 1)), ((41, 31, 53), (41, 1, 53)), ((41, 1, 53), (1, 31, 1)), ((41, 1, 53), (1, 31, 53)),
    ((5, 7, 11, 13, 17), (7, 1, 13, 1)), ((5, 7, 1, 13, 17), (7, 11, 1, 17)), ((64, 16, 128), (16, 128)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shapes", BROADCAST, ids=str)
def test_layouts(shapes, dtype):
    rng = np.random.default_rng(1)
    x, y = (rng.uniform(0.5, 2, s).astype(dtype) for s in shapes)
    w = rng.normal(size=np.broadcast_shapes(*shapes)).astype(dtype)
    for f in (ops.mul, ops.hypot):
        for wanted in ((0, 1), (0,), (1,)):
            agree(ev.grad(lambda x, y, w, f=f: ops.sum(f(x, y) * w), wanted), (x, y, w), dtype, f"{f} {wanted}")


@pytest.mark.parametrize("dtype", DTYPES)
def test_strided_operands(dtype):
    rng = np.random.default_rng(2)
    x = rng.uniform(0.5, 2, (300, 700)).astype(dtype)
    y = rng.uniform(0.5, 2, (350, 2)).astype(dtype)
    w = rng.normal(size=(700, 150)).astype(dtype)
    views = [
        lambda x, y, w: (x[1::2, ::2], y[:, 1], w.T[:, :350]),
        lambda x, y, w: (x[:, ::-2][:150], y[::-1, :1].T, w.T[:, ::2]),
        lambda x, y, w: (x.T[1:], y[:1, :1], ops.concat((w, w), 1)[1:]),
    ]
    for view in views:

        def loss(x, y, w, view=view):
            x, y, w = view(x, y, w)
            return ops.sum(x / y * w)

        agree(ev.grad(loss, (0, 1, 2)), (x, y, w), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", BINARY, ids=lambda row: row["name"])
def test_functions_of_two_arguments(row, dtype):
    """Gradients, and gradients of gradients: the kernels dx, dy, vjp and vjp2, with one, two or no results summed."""
    fn = getattr(ops, row["name"])
    for shapes in (((1031, 64), (64,)), ((1031, 1), (1031, 67))):
        x, y = inputs(row, shapes, dtype)
        w = np.random.default_rng(3).normal(size=(1031, max(s[-1] for s in shapes))).astype(dtype)

        def loss(x, y, w):
            return ops.sum(ops.sin(fn(x, y)) * w)

        def second(x, y, w):
            def slope(x, y):
                by_x, by_y = ev.grad(loss, (0, 1))(x, y, w)
                return ops.mean(by_x * ops.cos(x)) + ops.mean(by_y * ops.sin(y))

            return ev.grad(slope, (0, 1))(x, y)

        for f in (ev.grad(loss, (0, 1)), ev.grad(loss, (0,)), ev.grad(loss, (1,)), second):
            agree(f, (x, y, w), dtype, str(shapes))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", UNARY, ids=lambda row: row["name"])
def test_functions_of_one_argument(row, dtype):
    """Many directions at one point: the reverse rule of g f′(r) sums over the directions, in the kernel d1.vjp."""
    fn = getattr(ops, row["name"])
    (x,) = inputs(row, ((67,),), dtype)
    rng = np.random.default_rng(4)
    t, w = (rng.normal(size=(1001, 67)).astype(dtype) for _ in range(2))

    def slopes(x, t, w):
        return ops.sum(ev.vmap(lambda t: ev.jvp(fn, x, t)[1])(t) * w)

    agree(ev.grad(slopes, (0, 1)), (x, t, w), dtype)


def test_equal_operands_give_equal_bits():
    rng = np.random.default_rng(5)
    for shapes in (((3001, 67), (67,)), ((3001, 67), (3001, 1)), ((300_001,), ()), ((41, 71, 53), (41, 1, 53))):
        x, y = (on_gpu(rng.uniform(0.5, 2, s), np.float32) for s in shapes)
        gradient = ev.grad(lambda x, y: ops.sum(ops.sin(x / y)), (0, 1))
        for f in (gradient, ev.jit(gradient)):
            assert len({b"".join(r.asnumpy().tobytes() for r in f(x, y)) for _ in range(4)}) == 1


@pytest.mark.parametrize("n", [1, 7, 300_000])
def test_sums_are_accurate(n):
    """Terms are added in short runs: the error of a sum of n float32 does not grow with n."""
    x = np.random.default_rng(6).uniform(0, 1, (n, 3)).astype(np.float32)
    want = (2.0 * x.astype(np.float64)).sum(0)
    got = ev.grad(lambda x, y: ops.sum(x * y * 2), 1)(on_gpu(x), on_gpu(np.ones(3, np.float32)))
    np.testing.assert_allclose(got.asnumpy(), want, 1e-6)
    got = ev.jit(lambda x: ops.sum(x * 2, 0))(on_gpu(x))
    np.testing.assert_allclose(got.asnumpy(), want, 1e-6)


# ---- graph mode: sums of what a loop computes ------------------------------------------------------------------------

SUMS = [
    ((7,), (0,)), ((1, 5), (1,)), ((5, 1), (0,)), ((33, 65), (0,)), ((33, 65), (1,)), ((33, 65), (0, 1)),
    ((3, 1000), (1,)), ((1000, 3), (0,)), ((1000, 3), (1,)), ((9, 10, 11), (1,)), ((9, 10, 11), (0, 2)),
    ((8, 12, 16), (0, 1)), ((8, 12, 16), (1, 2)), ((4, 5, 6, 7), (0, 2)), ((4, 5, 6, 7), (1, 3)), ((5000,), (0,)),
    ((257, 1, 64), (0, 1)), ((40_000, 4), (0,)),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axes"), SUMS, ids=str)
def test_sums_in_loops(shape, axes, dtype):
    rng = np.random.default_rng(7)
    x = rng.uniform(0.5, 1.5, shape).astype(dtype)
    row = rng.normal(size=shape[-1:]).astype(dtype)
    column = rng.normal(size=(*shape[:-1], 1)).astype(dtype)

    def f(x, row, column):
        y = ops.tanh(x * row) + ops.where(x > column, x, 0.5)
        z = ops.sin(y) * column
        return y, ops.sum(z, axes), ops.sum(y, axes) * 2, ops.sum(z), ops.sum(z * z, axes[:-1] or axes)

    for arrays in ((x, row, column), (np.asfortranarray(x), row, column)):
        agree(lambda *xs: ev.jit(f)(*xs), arrays, dtype)


def test_results_of_sums_may_be_read_at_once():
    """What reads a sum is in another loop, whatever its shape, and a sum does not take the place of an operand."""
    rng = np.random.default_rng(8)
    x, b = rng.normal(size=(50, 6)), rng.normal(size=6)

    def f(x, b):
        for _ in range(3):
            y = ops.tanh(x + b)
            b = ops.sum(y * y, 0) / 50 + b
            x = y / (1 + ops.sum(ops.exp(y), 1, True)) * ops.mean(y)
        return x, b

    jitted = ev.jit(f)
    for _ in range(4):
        for g, w in zip(jitted(on_gpu(x), on_gpu(b)), f(Tensor(x).to("CPU"), Tensor(b).to("CPU")), strict=True):
            np.testing.assert_allclose(g.asnumpy(), w.asnumpy(), 1e-12, 1e-13)


def test_what_is_summed_is_computed_where_it_is_summed():
    """A training step has no sums of its own beside those in loops, and says so."""

    def loss(x, w, b, v):
        return ops.mean(ops.square(ops.tanh(x @ w + b) @ v))

    rng = np.random.default_rng(9)
    arrays = [rng.normal(size=s) for s in ((20, 3), (3, 8), (8,), (8, 1))]
    f = ev.jit(ev.grad(loss, (1, 2, 3)))
    f(*[on_gpu(a) for a in arrays])
    steps = f.explain().partition("steps (")[2].splitlines()
    loops = [line for line in steps if "loop of" in line and " sum" in line]
    assert loops
    assert not any(line.split()[1].startswith("sum") for line in steps if line.strip())


def test_loops_of_control_flow():
    x = np.random.default_rng(10).normal(size=(30, 4))

    def f(x):
        def body(carry, _):
            s, x = carry
            y = ops.sin(x + s)
            return (ops.mean(y, 0), y * 0.5), ops.sum(y * y)

        return ev.ops.scan(body, (ops.zeros((4,), np.float64) + 0 * x[0], x), None, 5)

    for run_it in (f, ev.jit(f)):
        (s, y), squares = run_it(on_gpu(x))
        (s0, y0), squares0 = f(Tensor(x).to("CPU"))
        for g, w in ((s, s0), (y, y0), (squares, squares0)):
            np.testing.assert_allclose(g.asnumpy(), w.to("CPU").asnumpy(), 1e-12, 1e-13)


PROGRAM = """
import numpy as np, evolute as ev
from evolute import Tensor, ops

def together(x, y, w):
    z = ops.tanh(x * y) * w
    return z, ops.sum(z, 0), ops.sum(ops.where(z > 0, z, y)), ops.sum(z * z, 1)

eager = ev.grad(lambda x, y, w: ops.sum(ops.hypot(x, y) * w), (0, 1))
for dtype in ("float32", "float64"):
    for fn, recorded, shapes in (
        (together, ev.jit(together), ((129, 64), (64,))), (together, ev.jit(together), ((129, 5), (129, 1))),
        (eager, eager, ((1025, 64), (64,))), (eager, eager, ((1025, 67), (1025, 1))), (eager, eager, ((65541,), (1,))),
        (eager, eager, ((41, 1, 53), (1, 31, 1))), (eager, eager, ((7, 3, 11, 31, 16), (3, 1, 31, 1))),
    ):
        rng = np.random.default_rng(0)
        arrays = [rng.uniform(0.5, 1.5, s).astype(dtype) for s in (*shapes, np.broadcast_shapes(*shapes))]
        want = fn(*[Tensor(a) for a in arrays])
        got = recorded(*[Tensor(a).to("GPU") for a in arrays])
        for g, w in zip(got, want):
            w = w.asnumpy()
            limit = 3e-5 if dtype == "float32" else 1e-12
            np.testing.assert_allclose(g.asnumpy(), w, limit, limit * np.abs(w).max())
print("same")
"""


def test_kernels_made_at_run_time(tmp_path):
    """Sources of loops with sums compile and give what the interpreter gives, which gives what the CPU gives."""
    sources = compiled_and_interpreted(PROGRAM, tmp_path)
    assert sum("sum_tiles<" in source for source in sources) >= 12
    assert any("load_pack<" in source and "sum_tiles<" in source for source in sources)
