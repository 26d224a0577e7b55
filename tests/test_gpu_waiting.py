"""The host waits for the GPU where it must see values, and nowhere else: counted on the emulated device.

Streams are late here: what is asked for runs when somebody waits for it, so that waiting cannot go unnoticed.
"""

from __future__ import annotations

import numpy as np
import pytest
from checks import ROWS, nest
from emulation import DOWNLOADS, UPLOADS, WAITS, count, late_streams, pending
from gpu import BLOCKING, needs_emulation, on_gpu
from test_gpu import OPERATIONS, derivatives, inputs, on_its_device

import evolute as ev
from evolute import Parameter, Tensor, nn, ops

pytestmark = [*needs_emulation, pytest.mark.skipif(BLOCKING, reason="EVOLUTE_CUDA_BLOCKING is set")]


@pytest.fixture(autouse=True)
def late():
    with late_streams(0):
        yield


def waits_in(fn, *args):
    """Return what `fn` gives, and how often it has waited or brought values to the host."""
    before = count(WAITS), count(DOWNLOADS)
    result = fn(*args)
    return result, (count(WAITS) - before[0], count(DOWNLOADS) - before[1])


def check_never_waits(fn, *xs):
    """Eager, and recorded: run, captured, replayed."""
    on_its_device(ev._evolute.synchronize)
    kept = []
    for f in (fn, *[ev.jit(fn)] * 4):
        result, waits = waits_in(on_its_device, f, *xs)
        assert waits == (0, 0), f
        kept.append(result)
    del kept


@pytest.mark.parametrize(("name", "fn", "examples"), OPERATIONS, ids=[name for name, *_ in OPERATIONS])
def test_operations(name, fn, examples):
    """Results, gradients, and derivatives of gradients."""
    if name in ("to_device", "cond", "while_loop"):
        pytest.skip("this one looks at values on the host")
    arrays = [a[0] for a in examples]
    xs = [on_gpu(a) for a in arrays]
    moving = tuple(i for i, a in enumerate(arrays) if a.dtype == np.float64)
    for f in derivatives(fn, moving):
        check_never_waits(f, *xs)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_elementwise_functions(row):
    xs = [on_gpu(a) for a in inputs(row, [(4, 8), (8,)], np.float32)]
    for modes in ("", "r", "f", "rr", "ff")[: 5 if row["reverse"] else 1]:
        check_never_waits(nest(getattr(ops, row["name"]), modes), *xs)


@pytest.mark.parametrize("mode", [ev.GRAPH_MODE, ev.PYNATIVE_MODE], ids=["graph", "pynative"])
@pytest.mark.parametrize("optimizer", [nn.SGD, nn.Adam], ids=lambda o: o.__name__)
def test_training(mode, optimizer):
    """Steps with batches from the host: they are brought to the device behind its back."""
    rng = np.random.default_rng(0)
    batches = [(rng.standard_normal((16, 3), np.float32), rng.standard_normal((16, 1), np.float32)) for _ in range(6)]
    ev.set_context(device_target="GPU", mode=mode)
    try:
        net = nn.SequentialCell(nn.Dense(3, 8, activation="tanh"), nn.Dense(8, 1))
        step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), optimizer(net.trainable_params(), 0.01))
        ev._evolute.synchronize()

        def steps():
            return [step(Tensor(x), Tensor(y)) for x, y in batches]

        losses, waits = waits_in(steps)
        assert waits == (0, 0)
        assert pending() > 0  # what the steps asked for is still to come
        assert all(np.isfinite(loss.item()) for loss in losses)
    finally:
        ev.set_context(device_target="CPU", mode=ev.PYNATIVE_MODE)


def test_exchange():
    x = on_gpu(np.arange(6.0))
    on_its_device(ev._evolute.synchronize)
    for _ in range(3):
        again, waits = waits_in(lambda: ev.from_dlpack(x * 2) + 1)
        assert waits == (0, 0)
    np.testing.assert_array_equal(again.asnumpy(), np.arange(6.0) * 2 + 1)


def test_setting_elements_and_parameters():
    x, w = on_gpu(np.zeros((3, 4))), Parameter(on_gpu([1.0, 2.0]), name="w")

    def change():
        x[1] = 5.0
        x[0, 2] = x[1, 1]
        w.set_data(w * 2)

    assert waits_in(change)[1] == (0, 0)
    np.testing.assert_array_equal(x.asnumpy(), [[0, 0, 5, 0], [5] * 4, [0] * 4])
    np.testing.assert_array_equal(w.asnumpy(), [2, 4])


def test_many_small_transfers_to_the_device():
    """They wait for none of the work before them until 8 MiB are on their way."""
    x = on_gpu(np.ones(3))
    on_its_device(ev._evolute.synchronize)
    uploads = count(UPLOADS)

    def move():
        y = x
        for i in range(200):
            y = y + on_gpu(np.full(3, float(i)))
        return y

    y, waits = waits_in(move)
    assert waits == (0, 0)
    assert count(UPLOADS) - uploads == 200
    np.testing.assert_array_equal(y.asnumpy(), 1 + np.full(3, 199 * 100.0))
    a = np.random.default_rng(1).standard_normal(5_000_000, np.float32)  # 20 MB, through 8 MiB
    b = on_gpu(a)
    np.testing.assert_array_equal(b.asnumpy(), a)


LOOKS = {
    "asnumpy": lambda x: x.asnumpy(),
    "item": lambda x: x[0].item(),
    "float": lambda x: float(x[0]),
    "int": lambda x: int(x[0]),
    "bool": lambda x: bool(x[0] > 0),
    "tolist": lambda x: x.tolist(),
    "str": str,
    "repr": repr,
    "format": lambda x: f"{x[0]:.2f}",
    "np.asarray": np.asarray,
    "to the host": lambda x: x.to("CPU"),
    "nonzero": lambda x: ops.nonzero(x > 1),
    "index by a mask": lambda x: x[x > 1],
    "cond": lambda x: ops.cond(x[0] > 0, lambda x: x + 1, lambda x: x, x),
    "while_loop": lambda x: ops.while_loop(lambda x: ops.all(x < 0), lambda x: x + 1, x),
    "synchronize": lambda x: on_its_device(ev._evolute.synchronize),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_looking_waits(look):
    x = ops.sin(on_gpu([1.0, 2.0])) + 2
    assert pending() > 0
    assert waits_in(look, x)[1][0] > 0
