"""Streams wait for each other where they must, and use no memory but theirs: on the emulated device, where streams are
as late as the orders between them allow, in orders that are drawn from seeds.

The emulation looks at each access to memory: a stream that does not wait for another reads what nobody has written yet,
or memory that has been given away.
"""

from __future__ import annotations

import gc
import queue
import threading

import numpy as np
import pytest
from emulation import late_streams, pending
from gpu import BLOCKING, needs_emulation, on_gpu

import evolute as ev
from evolute import ops

pytestmark = [*needs_emulation, pytest.mark.skipif(BLOCKING, reason="EVOLUTE_CUDA_BLOCKING is set")]

SEEDS = range(12)


@pytest.fixture(autouse=True, params=SEEDS)
def late(request):
    with late_streams(request.param):
        yield
        gc.collect()


class Thread:
    """A thread of its own stream, which does what it is told."""

    def __init__(self):
        self.tasks, self.results = queue.Queue(), queue.Queue()
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        while (task := self.tasks.get()) is not None:
            try:
                self.results.put((task(), None))
            except Exception as error:
                self.results.put((None, error))
            del task

    def __call__(self, task):
        """Run `task` there, and wait for the host's part of it."""
        self.tasks.put(task)
        result, error = self.results.get()
        if error:
            raise error
        return result


@pytest.fixture
def threads():
    made = [Thread() for _ in range(3)]
    yield made
    for t in made:
        t.tasks.put(None)
        t.thread.join()


def test_values_go_from_stream_to_stream(threads):
    first, second, third = threads
    x = first(lambda: ops.sin(on_gpu(np.arange(40.0))) + 1)
    y = second(lambda: x * x)
    z = third(lambda: y - x)
    assert pending() > 0
    want = np.sin(np.arange(40.0)) + 1
    np.testing.assert_allclose(z.asnumpy(), want * want - want, 1e-12)


def test_memory_is_used_again_when_all_have_finished_with_it(threads):
    """What one stream has made and another reads is freed, and goes back to the first, which writes to it at once."""
    first, second, third = threads
    for i in range(4):
        x = [first(lambda i=i: on_gpu(np.full(64, float(i))) + 1)]
        y = second(lambda x=x: x[0] * 3)
        z = third(lambda x=x: x[0] + 0.5)
        x.clear()
        again = first(lambda i=i: on_gpu(np.full(64, -1.0 - i)) * 2)
        np.testing.assert_array_equal(y.asnumpy(), np.full(64, 3.0 * (i + 1)))
        np.testing.assert_array_equal(z.asnumpy(), np.full(64, i + 1.5))
        np.testing.assert_array_equal(again.asnumpy(), np.full(64, -2.0 - 2 * i))


def test_memory_that_another_stream_wrote_goes_back_in_order(threads):
    """Elements are set in place by the stream that does not own the memory."""
    first, second, _ = threads
    x = first(lambda: on_gpu(np.zeros(64)) + 1)

    def change():
        x[3] = 5.0

    second(change)
    first(lambda: x.__setitem__(4, 6.0))
    want = np.ones(64)
    want[3], want[4] = 5, 6
    np.testing.assert_array_equal(x.asnumpy(), want)


def model(x, w):
    return ops.sum(ops.tanh(x @ w) * ops.sin(x)) + ops.sum(w * w)


def test_recordings_follow_their_operands_and_their_threads(threads):
    """Recorded in one thread, replayed in others, thrown away with the work still to come."""
    a, b = np.random.default_rng(0).standard_normal((2, 5, 5))
    want = ev.grad(model, (0, 1))(ev.Tensor(a), ev.Tensor(b))
    f = [ev.jit(ev.grad(model, (0, 1)))]
    x, w = on_gpu(a), on_gpu(b)
    kept = [f[0](x, w) for _ in range(3)]
    for t in threads * 2:
        kept.append(t(lambda: f[0](x, w)))
        kept.append(t(lambda: f[0](x + 0, w + 0)))
    f.clear()
    gc.collect()
    other = [on_gpu(np.full((5, 5), np.nan)) * 2 for _ in range(30)]
    for got in kept:
        for g, h in zip(got, want, strict=True):
            np.testing.assert_allclose(g.asnumpy(), h.asnumpy(), 1e-12, 1e-12)
    del other


def test_constants_of_recordings(threads):
    """A tensor that a recorded function refers to was made on another stream, and goes away with the function."""
    first, second, third = threads
    c = [first(lambda: ops.exp(on_gpu(np.linspace(0, 1, 50))))]
    f = [ev.jit(lambda x, c=c[0]: x * c + 1)]
    c.clear()
    x = on_gpu(np.arange(50.0))
    results = [t(lambda: f[0](x)) for t in (second, second, second, third, third, first)]
    f.clear()
    gc.collect()
    other = [t(lambda: on_gpu(np.full(50, -7.0)) * 2) for t in threads]
    for y in results:
        np.testing.assert_allclose(y.asnumpy(), np.arange(50.0) * np.exp(np.linspace(0, 1, 50)) + 1, 1e-12)
    for y in other:
        np.testing.assert_array_equal(y.asnumpy(), np.full(50, -14.0))


def test_threads_at_once():
    """Recorded functions run without Python's lock: what one asks for comes between what another does."""
    f = ev.jit(lambda x, w: ops.tanh(x @ w) * w + ops.sum(x * w, 0))
    a, b = np.random.default_rng(1).standard_normal((2, 6, 6))
    x, w = on_gpu(a), on_gpu(b)
    want = np.tanh(a @ b) * b + (a * b).sum(0)
    results = queue.Queue()

    def work():
        y = None
        for _ in range(25):
            y = f(x, w)
            y = f(x * 1, w) * 0 + y
        results.put(y)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results.qsize() == 4
    while not results.empty():
        np.testing.assert_allclose(results.get().asnumpy(), want, 1e-12, 1e-12)


def test_transfers():
    """Pinned memory is filled again only when what it held has arrived."""
    rng = np.random.default_rng(2)
    arrays = [rng.standard_normal(n) for n in (3, 700_000, 20, 400_000, 1, 600_000, 7)]
    tensors = [on_gpu(a) for a in arrays] + [on_gpu(a) * 2 for a in arrays]
    for t, a in zip(tensors, [*arrays, *[2 * a for a in arrays]], strict=True):
        np.testing.assert_array_equal(t.asnumpy(), a)
