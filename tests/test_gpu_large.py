"""Arrays of more than 2³² elements on the GPU: where launches are cut, and offsets need 64 bits.

On the emulated device there is memory only for what is touched, and of a kernel with many blocks five run, the first
and the last among them: all their accesses are checked, and tests look at results that they compute.
"""

from __future__ import annotations

import pytest
from gpu import EMULATED, needs_gpu, run

pytestmark = needs_gpu

# Arrays are zeros but for marks. The first block of a kernel comes to FAR, as grids have at
# most 2²⁰ blocks, in which each thread takes a power of two of neighbours. Spaces that do not merge to one axis are cut
# into parts of as many whole rows as 2³¹ allows: PARTS begin with them.
PROGRAM = """
import numpy as np
import evolute as ev
from evolute import Tensor, ops

ROWS, COLUMNS = 70_000, 70_001
SIZE, FAR = ROWS * COLUMNS, 1 << 32
PARTS = [i * (((1 << 31) - 1) // COLUMNS) for i in range(3)]
LAST = (ROWS - 1, COLUMNS - 1)

def gpu(a, dtype=None):
    return Tensor(np.asarray(a, dtype)).to("GPU")

def there(flat):
    return divmod(flat, COLUMNS)

def marked(*places):
    "2 at the first place, 3 at the next one, ...: cotangent of an array of which they are taken"
    rows, columns = (gpu(i) for i in zip(*places))
    zeros = ops.zeros((ROWS, COLUMNS)).to("GPU")
    return ev.vjp(lambda x: x[rows, columns], zeros)[1](gpu(np.arange(2, 2 + len(places)), np.float32))

def same(got, want):
    got = got.item()
    assert got == want or abs(got - want) <= 1e-5 * abs(want), (got, want)

row = gpu(np.arange(1.0, COLUMNS + 1), np.float32)
"""

CASES = {
    "elementwise": """
y = ops.exp(marked(there(FAR), (0, 0)))
same(y[there(FAR)], np.exp(2))
same(y[0, 0], np.exp(3))
""",
    "elementwise, broadcast": """
y = marked(*[(i, 0) for i in PARTS], LAST) + row
for k, i in enumerate(PARTS):
    same(y[i, 0], k + 3)
same(y[LAST], 5 + COLUMNS)
""",
    "elementwise, from the end": """
same((marked(there(SIZE - 1 - FAR))[::-1, ::-1] * 2)[there(FAR)], 4)
""",
    "where": """
x = marked(there(FAR))
same(ops.where(x > 0, x, -1.0)[there(FAR)], 2)
""",
    "loops": """
y = ev.jit(lambda x, y: ops.exp(x) * y + 1)(marked(*[(i, 0) for i in PARTS]), row)
for k, i in enumerate(PARTS):
    same(y[i, 0], np.exp(k + 2) + 1)
""",
    "sums in loops": """
x = marked((0, 0), LAST)
same(ev.jit(lambda x, y: ops.sum(x * x * y, 0))(x, row)[-1], 9 * COLUMNS)
same(ev.jit(lambda x, y: ops.sum(x * x * y, 1))(x, row)[-1], 9 * COLUMNS)
same(ev.jit(lambda x, y: ops.sum(x * x * y))(x, row), 4 + 9 * COLUMNS)
same(ev.jit(lambda x: ops.sum(x * x))(x), 13)
""",
    "cotangents of broadcast operands": """
x = marked((0, 0), LAST)
same(ev.vjp(lambda y: x * y, row)[1](x)[-1], 9)
""",
    "copies": """
same(marked(there(FAR)).astype(ev.float64)[there(FAR)], 2)
same((marked(there(FAR)) > 0).astype(ev.int32)[there(FAR)], 1)
same(ops.reshape(ops.broadcast_to(row, (ROWS, COLUMNS)), (SIZE,))[PARTS[2] * COLUMNS], 1)
x = marked((0, 0), LAST)
same(ops.concat([x[: ROWS // 2], x[ROWS // 2 :]], 0)[LAST], 3)
""",
    "transposition": """
tile = 4 << 20  # the first block comes to it
i, j = tile // -(-ROWS // 32) * 32, tile % -(-ROWS // 32) * 32
same(ops.reshape(marked((j, i)).T, (SIZE,))[i * ROWS + j], 2)
""",
    "reductions": """
x = marked((0, 0), LAST)
same(ops.sum(x, 0)[-1], 3)
same(ops.sum(x, 1)[-1], 3)
same(ops.sum(x), 5)
same(ops.max(x), 3)
same(ops.argmax(x, 0)[-1], ROWS - 1)
same(ops.argmax(x, 1)[-1], COLUMNS - 1)
""",
    # Two axes that do not merge: the longest of them is cut in two until a launch can take it.
    "reductions in parts": """
x = marked((ROWS - 1, COLUMNS - 2), LAST)[:, :-1]
same(ops.sum(x), 2)
same(ops.max(x[None]), 2)
same(ops.min(-x[None]), -2)
same(ops.sum(x[:, None].T), 2)
""",
    "running sums": """
x = marked((0, 0), LAST)
same(ops.cumsum(x, 0)[LAST], 3)
same(ops.cumsum(x, 1)[LAST], 3)
same(ops.cumsum(ops.reshape(x, (SIZE,)), 0)[-1], 5)
""",
    "gather": """
small, index = np.random.default_rng(0).standard_normal((5, COLUMNS)).astype(np.float32), np.arange(ROWS) % 5
i, j = there(FAR)
same(ops.take(gpu(small), gpu(index), 0)[i, j], small[index[i], j])
same(ops.take(marked(LAST), gpu([ROWS - 1]), 0)[0, -1], 2)
same(ops.take(marked(LAST), gpu([COLUMNS - 1]), 1)[-1, 0], 2)
same(marked(LAST, there(FAR))[gpu([ROWS - 1, there(FAR)[0]]), gpu([-1, there(FAR)[1]])][1], 3)
""",
    "scatter": """
i, j = there(FAR)
index = gpu(np.arange(ROWS) % 5)
same(ops.index_add(ops.zeros((5, COLUMNS)).to("GPU"), 0, index, marked((i, j)))[i % 5, j], 2)
same(ops.index_add(marked(LAST), 0, gpu([ROWS - 1]), row[None])[LAST], 2 + COLUMNS)
same(marked(LAST, LAST)[LAST], 5)
""",
    "positions": """
rows, columns = ops.nonzero(marked((0, 0), there(FAR)) > 0)
assert rows.tolist() == [0, there(FAR)[0]]
assert columns.tolist() == [0, there(FAR)[1]]
""",
    "numbers from nothing": """
ev.set_context(device_target="GPU")
same(ops.arange(SIZE)[FAR], FAR)
same(ops.linspace(0.0, SIZE - 1, SIZE)[FAR], FAR)
for dtype in (ev.float32, ev.float64):
    for draw in (ops.uniform, ops.standard_normal):
        x = draw((SIZE,), 1, dtype=dtype)
        assert x[FAR].item() not in (0, x[0].item())
""",
    "softmax": """
for fn in (ops.softmax, ops.log_softmax, ops.logsumexp):
    for f in (lambda x: fn(x, -1), ev.jit(lambda x: fn(x, -1))):
        y, pullback = ev.vjp(f, marked(LAST))
        pullback(y)
        ev._evolute.synchronize()
if not SAMPLED:
    same(ops.sum(ops.softmax(marked(LAST), -1)), ROWS)
""",
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_large(case):
    result = run(
        f"{PROGRAM}\nSAMPLED = {EMULATED}\n{case}",
        EVOLUTE_EMULATED_SAMPLE="5",
        EVOLUTE_EMULATED_BYTES=str(250 << 30),
        EVOLUTE_CUDA_CACHE="0",
    )
    assert result.returncode == 0, result.stderr
