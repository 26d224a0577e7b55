"""Matrix products of the GPU backend: tiles of all shapes, TF32, and products that fused loops have on their way."""

from __future__ import annotations

import numpy as np
import pytest
from gpu import needs_gpu, on_gpu, run
from hypothesis import given, settings
from hypothesis import strategies as st

import evolute as ev
from evolute import Tensor, ops

pytestmark = needs_gpu


LIES = ("rows", "columns", "gaps", "apart", "backwards")


def strided(a: np.ndarray, lie: str) -> Tensor:
    """`a` on the GPU, its elements by rows, by columns, with gaps between rows, not side by side, or the last first."""
    if lie == "columns":
        return ops.swapaxes(on_gpu(np.swapaxes(a, -1, -2).copy()), -1, -2)
    if lie == "gaps":
        return on_gpu(np.pad(a, [(0, 0)] * (a.ndim - 1) + [(4, 8)]))[..., 4 : 4 + a.shape[-1]]
    if lie == "apart":
        return on_gpu(np.repeat(a, 2, -1))[..., ::2]
    if lie == "backwards":
        return on_gpu(a[..., ::-1].copy())[..., ::-1]
    return on_gpu(a)


# Of each tile, and around its edges: single columns, narrow, tall, medium, large, cut along k, swapped.
SIZES = [
    (1, 1, 1), (3, 5, 7), (260, 17, 1), (1, 17, 260), (300, 33, 4), (300, 40, 3), (130, 16, 16), (129, 20, 9),
    (64, 64, 64), (65, 15, 66), (5, 1000, 3), (70, 600, 40), (2, 9, 200), (130, 3, 129),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mkn", SIZES)
def test_products_of_strided_factors(mkn, dtype):
    m, k, n = mkn
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    want = a.astype(np.float64) @ b
    limit = (k + 2) * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b)).max()
    for lie_a in ("rows", "columns", "gaps", "apart"):
        for lie_b in ("rows", "columns", "gaps"):
            got = ops.matmul(strided(a, lie_a), strided(b, lie_b)).asnumpy()
            np.testing.assert_allclose(got, want, 0, limit, err_msg=f"{lie_a} {lie_b}")


SIDES = st.integers(0, 70) | st.sampled_from([129, 300])
BATCHES = [((), ()), ((3,), ()), ((), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((2, 3), (2, 3)), ((0,), (1,))]


@settings(max_examples=60, deadline=None)
@given(
    mkn=st.tuples(SIDES, SIDES, SIDES),
    batches=st.sampled_from(BATCHES),
    lies=st.tuples(st.sampled_from(LIES), st.sampled_from(LIES)),
    flags=st.tuples(st.booleans(), st.booleans()),
    dtype=st.sampled_from([np.float32, np.float64, np.int32]),
)
def test_products_of_any_shape(mkn, batches, lies, flags, dtype):
    m, k, n = mkn
    rng = np.random.default_rng(7)
    a, b = (
        (rng.standard_normal((*batch, *s)) * 4).astype(dtype)
        for batch, s in zip(batches, ((m, k), (k, n)), strict=True)
    )
    x, y = (
        strided(np.swapaxes(f, -1, -2) if flag else f, lie) for f, lie, flag in zip((a, b), lies, flags, strict=True)
    )
    got = ops.matmul(x, y, *flags).asnumpy()
    want = a @ b
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    limit = 2 * (k + 2) * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b)).max(initial=0) if dtype != np.int32 else 0
    np.testing.assert_allclose(got, want, 0, limit)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mkn", [(16400, 3, 40), (1537, 6, 1400), (1400, 5, 1537), (40, 3, 16400)])
def test_products_of_many_tiles(mkn, dtype):
    """Enough of them for the tall and the large ones, and for patches that are cut off."""
    m, k, n = mkn
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
    got = ops.matmul(on_gpu(a), on_gpu(b)).asnumpy()
    np.testing.assert_allclose(got, a.astype(np.float64) @ b, 0, 40 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize(
    "shapes",
    [((0, 3), (3, 4)), ((4, 3), (3, 0)), ((5, 0), (0, 4)), ((0, 0), (0, 0)), ((0, 4, 3), (3, 5)), ((2, 4, 0), (0, 5))],
)
def test_products_of_nothing(shapes, dtype):
    a, b = (np.zeros(s, dtype) for s in shapes)
    for x in (on_gpu(a), ops.swapaxes(on_gpu(np.swapaxes(a, -1, -2).copy()), -1, -2)):
        got = ops.matmul(x, on_gpu(b)).asnumpy()
        np.testing.assert_array_equal(got, a @ b, strict=True)


def test_equal_factors_give_equal_bits():
    """Also where the sum is cut: its parts are added in a fixed order."""
    rng = np.random.default_rng(6)
    for m, k, n in ((40, 9000, 50), (40, 9000, 1), (300, 20, 200)):
        x, y = (on_gpu(rng.standard_normal(s), np.float32) for s in ((m, k), (k, n)))
        assert len({ops.matmul(x, y).asnumpy().tobytes() for _ in range(4)}) == 1


# ---- TF32 ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tf32():
    ev.set_context(matmul_allow_tf32=True)
    yield
    ev.set_context(matmul_allow_tf32=False)


def to_tf32(a: np.ndarray) -> np.ndarray:
    """Rounded to 10 bits of mantissa, ties away from zero, as the hardware's conversion does."""
    bits = a.astype(np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + (1 << 12)) & 0xFFFFE000).astype(np.uint32).view(np.float32).astype(np.float64)


@pytest.mark.parametrize(
    "mkn", [(64, 64, 64), (65, 17, 70), (100, 8, 17), (40, 700, 40), (1537, 9, 1400), (17, 5, 300)]
)
def test_tf32_rounds_factors(tf32, mkn):
    m, k, n = mkn
    rng = np.random.default_rng(2)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((m, k), (k, n)))
    got = ops.matmul(on_gpu(a), on_gpu(b)).asnumpy()
    size = (np.abs(a) @ np.abs(b)).max()
    np.testing.assert_allclose(got, to_tf32(a) @ to_tf32(b), 0, (k + 4) * 2.0**-24 * size)
    exact = a.astype(np.float64) @ b
    assert 2.0**-16 < np.abs(got - exact).max() / size < 2.0**-10  # it has rounded, and no more than that
    np.testing.assert_array_equal(ops.matmul(on_gpu(a.T.copy()).T, on_gpu(b.T.copy()).T).asnumpy(), got)


def test_tf32_is_for_float32_on_request():
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((40, 30)), rng.standard_normal((30, 50))
    product = lambda dtype: ops.matmul(on_gpu(a, dtype), on_gpu(b, dtype)).asnumpy()  # noqa: E731
    plain = product(np.float32), product(np.float64)
    assert ev.get_context("matmul_allow_tf32") is False
    ev.set_context(matmul_allow_tf32=True)
    try:
        assert ev.get_context("matmul_allow_tf32") is True
        assert np.abs(product(np.float32) - plain[0]).max() > 1e-5
        np.testing.assert_array_equal(product(np.float64), plain[1])
        x, y = Tensor(a.astype(np.float32)).to("CPU"), Tensor(b.astype(np.float32)).to("CPU")
        on_cpu = ops.matmul(x, y).asnumpy()
    finally:
        ev.set_context(matmul_allow_tf32=False)
    np.testing.assert_array_equal(ops.matmul(x, y).asnumpy(), on_cpu)
    np.testing.assert_array_equal(product(np.float32), plain[0])
    for wrong in (1, "True", None):
        with pytest.raises(ValueError, match="set_context: matmul_allow_tf32 is True or False"):
            ev.set_context(matmul_allow_tf32=wrong)


def test_tf32_of_special_values(tf32):
    a = np.full((32, 32), 1.0, np.float32)
    a[0, 0], a[1, 1], a[2, 2] = np.inf, np.nan, -np.inf
    got = ops.matmul(on_gpu(a), on_gpu(np.eye(32, dtype=np.float32)[:, :20] + 1)).asnumpy()
    assert np.isposinf(got[0]).all()
    assert np.isnan(got[1]).all()
    assert np.isneginf(got[2]).all()
    assert np.isfinite(got[3:]).all()


def test_tf32_of_derivatives(tf32):
    """The gradient's products round their own factors."""
    rng = np.random.default_rng(4)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((40, 24), (24, 32)))
    g = (rng.standard_normal((40, 32))).astype(np.float32)
    loss = lambda x, w: ops.sum(ops.matmul(x, w) * on_gpu(g))  # noqa: E731
    dx, dw = ev.grad(loss, (0, 1))(on_gpu(x), on_gpu(w))
    np.testing.assert_allclose(dx.asnumpy(), to_tf32(g) @ to_tf32(w).T, 0, 1e-4)
    np.testing.assert_allclose(dw.asnumpy(), to_tf32(x).T @ to_tf32(g), 0, 1e-4)


def test_compiled_functions_follow_the_setting():
    """Run, captured and replayed under either setting, in turns."""
    rng = np.random.default_rng(5)
    x, w = (on_gpu(rng.standard_normal(s), np.float32) for s in ((40, 24), (24, 32)))
    f = ev.jit(lambda x, w: ops.matmul(x, w) * 2.0)
    seen: dict[bool, np.ndarray] = {}
    try:
        for allow in (False, True) * 5:
            ev.set_context(matmul_allow_tf32=allow)
            got = f(x, w).asnumpy()
            np.testing.assert_array_equal(got, seen.setdefault(allow, got))
            np.testing.assert_array_equal(got, 2 * ops.matmul(x, w).asnumpy())
    finally:
        ev.set_context(matmul_allow_tf32=False)
    assert np.abs(seen[True] - seen[False]).max() > 1e-5


# ---- products in fused loops -----------------------------------------------------------------------------------------
#
# Their kernels are made at run time, in processes of their own where the emulation is to make them.

PROGRAM = """
import gc, numpy as np, evolute as ev
from evolute import Tensor, ops

def gpu(a): return Tensor(a).to("GPU")
def cpu(a): return Tensor(a).to("CPU")
rng = np.random.default_rng(0)

def check(fn, *arrays, fused=None, tolerance=None, runs=4):
    f = ev.jit(fn)
    for _ in range(runs):  # run, run again, captured, replayed; operands move
        arrays = [a + np.asarray(0.25, a.dtype) for a in arrays]
        want, got = fn(*map(cpu, arrays)), f(*map(gpu, arrays))
        many = isinstance(want, (tuple, list))
        for g, w in zip(got if many else [got], want if many else [want], strict=True):
            g, w = g.asnumpy(), w.asnumpy()
            limit = (tolerance or (2e-5 if w.dtype == np.float32 else 1e-12)) * max(np.abs(w).max(initial=0), 1)
            np.testing.assert_allclose(g, w, 0, limit)
        del got
        gc.collect()
    steps = f.explain().partition("steps (")[2]
    loops = [s for s in steps.splitlines() if "loop of" in s and "matmul" in s]
    assert fused is None or len(loops) == fused, steps

def array(*shape, dtype=np.float32): return rng.uniform(-1, 1, shape).astype(dtype)
"""

PARTS = {
    "layers": """
for dtype in (np.float32, np.float64):
    check(lambda x, w, b: ops.tanh(x @ w + b), array(67, 20, dtype=dtype), array(20, 40, dtype=dtype),
          array(40, dtype=dtype), fused=1)
check(lambda x, w: ops.relu(ops.matmul(x, w, True, True)), array(20, 67), array(40, 20), fused=1)
check(lambda x, w, b: ops.exp(x @ w) * b, array(30, 5), array(5, 90), array(30, 1), fused=1)
check(lambda x, w: ops.sin(x @ w), array(90, 5), array(5, 1), fused=1)
check(lambda x, w: ops.sin(x @ w), array(1, 5), array(5, 90), fused=1)
check(lambda x, w, b: ops.sin(x @ w + b), array(130, 5), array(5, 12), array(12), fused=1)
""",
    "operands": """
def many(x, w, b, h):
    y = x @ w
    s = ops.where(h > 0, y * b, 2.0)
    return s, ops.tanh(y) * h.T.T, y * y + ops.cast(h > y, y.dtype)
check(many, array(33, 7), array(7, 44), array(44), array(33, 44), fused=1)
check(many, array(9, 7), array(7, 70), array(9, 1), array(9, 70), fused=1)
check(lambda x, w, h: ops.tanh(x @ w) * h[::2, 1:], array(33, 7), array(7, 43), array(66, 44), fused=1)
check(lambda x, w, h: ops.tanh(x @ w) * h.T, array(33, 7), array(7, 44), array(44, 33), fused=1)
check(lambda x, w: ops.tanh(x @ w) * ops.full((33, 44), 2.0) + ops.ones((44,)), array(33, 7), array(7, 44), fused=1)
""",
    "batches": """
check(lambda x, w: ops.tanh(x @ w), array(3, 20, 5), array(3, 5, 30), fused=1)
check(lambda x, w, b: ops.tanh(x @ w) + b, array(2, 1, 20, 5), array(3, 5, 30), array(3, 1, 30), fused=1)
check(lambda x, w, b: ops.tanh(x @ w) * b, array(4, 5), array(3, 5, 30), array(3, 4, 30), fused=1)
check(lambda x, w, b: ops.tanh(ops.matmul(x, w, True)) * b, array(3, 5, 4), array(5, 30), array(3, 4, 30), fused=1)
check(ev.vmap(lambda x, w: ops.tanh(w @ x)), array(6, 5), array(6, 8, 5))
""",
    "chains": """
def two(x, v, u, w, b): return ops.tanh(x @ v + u @ w + b)
check(two, array(40, 6), array(6, 20), array(40, 7), array(7, 20), array(20), fused=1)
def network(x, *w):
    for v in w[:-1]: x = ops.tanh(x @ v)
    return x @ w[-1]
def loss(x, *w): return ops.mean(network(x, *w) ** 2)
weights = [array(2, 20), array(20, 24), array(24, 1)]
check(network, array(50, 2), *weights, fused=2)
check(ev.grad(loss, (1, 2, 3)), array(50, 2), *weights)
slope = lambda x, *w: ops.sum(ev.grad(lambda x: ops.sum(network(x, *w)))(x) ** 2)
check(ev.grad(slope, (1, 2, 3)), *(a.astype(np.float64) for a in (array(50, 2), *weights)))
check(lambda x, *w: ev.jvp(lambda x: network(x, *w), x, ops.ones_like(x))[1], array(50, 2), *weights)
""",
    "alone": """
check(lambda x, w: ops.tanh(x @ w), array(40, 3000), array(3000, 20), tolerance=1e-4)  # cut along k, by itself
check(lambda x, w: (lambda y: (ops.tanh(y), y))(x @ w), array(40, 6), array(6, 20), fused=0)  # wanted as it is
check(lambda x, w: (lambda y: ops.sin(y) * ops.sum(y))(x @ w), array(40, 6), array(6, 20), fused=0)
check(lambda x, w, h: ops.tanh((x @ w) * h), array(1, 6), array(6, 20), array(30, 20), fused=0)  # is broadcast
check(lambda x, w: ops.tanh(x @ w), array(0, 6), array(6, 20))
check(lambda x, w: ops.tanh(x @ w), array(4, 0), array(0, 20))
check(lambda x, w: ops.sum(ops.tanh(x @ w), 0), array(70, 6), array(6, 20), fused=1)  # the sum is left to itself
def several(x, w): return (lambda h: (h, ops.sum(h, 0), ops.mean(h * h)))(ops.tanh(x @ w))
check(several, array(70, 6), array(6, 20), fused=1)
for k in (6, 3000):
    check(lambda x, v, u, w: x @ v + u @ w, *(array(*s) for s in ((40, k), (k, 20)) * 2), tolerance=1e-4)
def steps(x, w): return ops.scan(lambda h, _: (ops.tanh(h @ w), None), x, None, 3)[0]
check(steps, array(30, 12), array(12, 12))
""",
    "tf32": """
ev.set_context(matmul_allow_tf32=True)
f = ev.jit(lambda x, w, b: ops.tanh(x @ w + b))
for m, k, n in ((70, 20, 40), (40, 9, 70), (1537, 3, 1400)):
    x, w, b = array(m, k), array(k, n), array(n)
    for _ in range(3):
        want = np.tanh(ops.matmul(gpu(x), gpu(w)).asnumpy() + b)
        got = f(gpu(x), gpu(w), gpu(b)).asnumpy()
        np.testing.assert_allclose(got, want, 0, 1e-6)
    assert np.abs(got - np.tanh(x @ w + b)).max() > 1e-5
""",
}


@pytest.mark.parametrize("part", PARTS)
def test_products_in_loops(part):
    code = PROGRAM + PARTS[part] + "\nprint('same')\n"
    done = run(code, EVOLUTE_CUDA_COMPILER="1", EVOLUTE_EMULATED_COMPILER="1")
    if "NVRTC (libnvrtc.so) is not there" in done.stderr:
        pytest.skip("there is no NVRTC")
    assert done.stdout == "same\n", done.stderr


def test_products_without_a_compiler():
    """They stay steps of their own."""
    code = PROGRAM + "check(lambda x, w, b: ops.tanh(x @ w + b), array(67, 20), array(20, 40), array(40), fused=0)"
    done = run(code, EVOLUTE_CUDA_COMPILER="0")
    assert done.returncode == 0, done.stderr
