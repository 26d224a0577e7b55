"""Long chains, deep nesting, and what is left behind: nothing."""

from __future__ import annotations

import gc
import sys
import tracemalloc
import weakref

import numpy as np
import pytest

import evolute as ev
from evolute import Parameter, Tensor, context, nn, ops


def live_bytes() -> int:
    return ev._evolute.memory_stats()["live_bytes"]


def resident_bytes() -> int:
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * 4096


def growth(work, repeats: int) -> tuple[int, int]:
    """Bytes of tensors and of Python objects that `repeats` calls leave behind, after as many calls to warm up."""
    for _ in range(repeats):
        work()
    gc.collect()
    before = live_bytes()
    tracemalloc.start()
    try:
        start = tracemalloc.get_traced_memory()[0]
        for _ in range(repeats):
            work()
        gc.collect()
        return live_bytes() - before, tracemalloc.get_traced_memory()[0] - start
    finally:
        tracemalloc.stop()


# ---- long chains -----------------------------------------------------------------------------------------------------


def chain(n):
    def fn(x):
        for _ in range(n):
            x = ops.sin(x)
        return x

    return fn


def sines(x, n):
    """Value and first two derivatives of n nested sines, in floating point."""
    value, first, second = x, 1.0, 0.0
    for _ in range(n):
        s, c = np.sin(value), np.cos(value)
        value, first, second = s, c * first, c * second - s * first**2
    return value, first, second


def test_a_chain_of_a_million_nodes():
    n, x = 1_000_000, Tensor(1.0, ev.float64)
    before = live_bytes()
    value, slope = ev.value_and_grad(chain(n))(x)
    want = sines(1.0, n)
    np.testing.assert_allclose([value.item(), slope.item()], want[:2], rtol=1e-9)
    del value, slope
    assert live_bytes() - before < 10_000


def test_a_chain_of_a_million_nodes_that_is_dropped():
    kept = []

    def fn(x):
        y = chain(300_000)(x)
        kept.append(y)
        raise KeyError("stop")

    before = live_bytes()
    with pytest.raises(KeyError):
        ev.grad(fn)(Tensor(1.0))
    # The last value leaked: it is usable, and does not keep the other values alive.
    assert 0 < kept[0].item() < 0.01
    assert live_bytes() - before < 10_000


def test_a_million_nodes_forward():
    n, x = 1_000_000, Tensor(1.0, ev.float64)
    value, slope = ev.jvp(chain(n), x, ops.ones_like(x))
    np.testing.assert_allclose([value.item(), slope.item()], sines(1.0, n)[:2], rtol=1e-9)


@pytest.mark.parametrize("modes", ["rr", "fr", "rf"])
def test_a_long_chain_at_second_order(modes):
    n, x = 100_000, Tensor(1.0, ev.float64)
    f = chain(n)
    for mode in reversed(modes):
        f = ev.grad(f) if mode == "r" else (lambda g: lambda x: ev.jvp(g, x, ops.ones_like(x))[1])(f)
    np.testing.assert_allclose(f(x).item(), sines(1.0, n)[2], rtol=1e-8)


def test_a_long_recorded_chain():
    n, x = 100_000, Tensor(1.0, ev.float64)
    compiled = ev.jit(ev.value_and_grad(chain(n)))
    for _ in range(2):
        value, slope = compiled(x)
        np.testing.assert_allclose([value.item(), slope.item()], sines(1.0, n)[:2], rtol=1e-9)
    compiled.compiled.clear()


def test_one_value_used_very_often():
    n, x = 300_000, Tensor(2.0, ev.float64)

    def fn(x):
        y = x
        for _ in range(n):
            y = y + x
        return y

    assert ev.grad(fn)(x).item() == n + 1


# ---- depth and repetition --------------------------------------------------------------------------------------------


def nested(depth):
    """d/dx of (x + d/dx of (x + ...)): each level calls the next inside its own."""

    def fn(x):
        return x * x if depth == 0 else x + ops.sum(ev.grad(nested(depth - 1))(x))

    return fn


def test_nesting_as_deep_as_python_goes():
    assert nested(0)(Tensor(3.0)).item() == 9.0
    assert ev.grad(nested(1))(Tensor(3.0)).item() == 3.0  # d/dx (x + 2 x)
    assert ev.grad(nested(4))(Tensor(3.0)).item() == 1.0
    before = live_bytes()
    deep = Tensor(1.0)
    reached = []

    def descend(x):
        reached.append(None)
        return ev.grad(descend)(x)

    for _ in range(3):
        with pytest.raises(RecursionError):
            descend(deep)
        assert ev._evolute.at_top_level()
    assert len(reached) > 300
    assert ev.grad(lambda x: x * x)(deep).item() == 2.0
    gc.collect()
    assert live_bytes() - before < 1_000


def test_ten_thousand_calls_leave_nothing():
    w = Parameter([2.0], name="w")
    x = Tensor([3.0])

    def work():
        ev.grad(ev.grad(lambda x: ops.sum(x**3 * w)))(x)
        ev.grad(lambda x: ops.sum(x * w), 0, weights=w)(x)
        ev.jvp(ev.grad(lambda x: x**3), x, x)
        ev.vjp(lambda x: ev.jvp(ops.sin, x, x)[1], x)[1](x)

    tensors, objects = growth(work, 2_500)  # four calls each
    assert tensors <= 256
    assert objects < 20_000


def test_memory_of_the_process_stays():
    x = Tensor(np.ones(100, np.float32))
    second = ev.grad(lambda x: ops.sum(ev.grad(lambda x: ops.sum(ops.sin(x) * x))(x)))

    def work():
        for _ in range(2_000):
            second(x)
        gc.collect()

    work()
    before = resident_bytes()
    for _ in range(4):
        work()
    assert resident_bytes() - before < 4 << 20


class UserError(Exception):
    pass


def failing():
    x, w = Tensor(np.ones(1000, np.float32)), Parameter(np.ones(1000, np.float32), name="w")

    def fn(x):
        y = ops.sin(x) * w
        w.set_data(y)
        raise UserError

    def shapes(x):
        return ops.sin(x) + Tensor([1.0, 2.0])

    return [
        (lambda: ev.grad(fn, 0, weights=w)(x), UserError),
        (lambda: ev.grad(ev.grad(fn))(x), UserError),
        (lambda: ev.jvp(fn, x, x), UserError),
        (lambda: ev.vjp(fn, x), UserError),
        (lambda: ev.jit(fn)(x), UserError),
        (lambda: ev.jit(ev.grad(fn))(x), UserError),
        (lambda: ev.grad(shapes)(x), ev.ShapeError),
        (lambda: ev.jit(shapes)(x), ev.ShapeError),
        (lambda: ev.grad(ops.sin, sens_param=True)(x, Tensor([1.0, 2.0])), ev.ShapeError),
        (lambda: ev.vjp(ops.sin, x)[1](Tensor([1.0, 2.0])), ev.ShapeError),
        (lambda: ev.jvp(ops.sin, x, Tensor([1.0, 2.0])), ev.ShapeError),
    ]


@pytest.mark.parametrize("case", range(11))
def test_exceptions_leave_nothing(case):
    call, error = failing()[case]

    def work():
        with pytest.raises(error):
            call()

    tensors, objects = growth(work, 100)
    assert tensors <= 256
    assert objects < 20_000


@pytest.mark.filterwarnings("ignore:.*runs eagerly.*:RuntimeWarning")
def test_compiled_functions_come_and_go():
    x = Tensor(np.ones(100, np.float32))
    w = Parameter(np.ones(100, np.float32), name="w")
    constant = Tensor(np.ones(100, np.float32))

    def work():
        compiled = ev.jit(lambda x: ops.sin(x) * w + constant)
        compiled(x)
        compiled(x[:1])
        ev.jit(ev.grad(lambda x: ops.sum(x * w)))(x)
        ev.jit(lambda x: x if x[0] > 0 else -x)(x)

    tensors, objects = growth(work, 100)
    assert tensors <= 256
    assert objects < 50_000


# ---- cycles ----------------------------------------------------------------------------------------------------------


class Net(nn.Cell):
    def __init__(self):
        super().__init__()
        self.dense = nn.Dense(3, 2, activation="tanh")
        self.scale = Parameter([1.0], name="scale")

    def construct(self, x):
        return self.dense(x) * self.scale


@pytest.fixture
def graph_mode():
    context.set_context(mode=context.GRAPH_MODE)
    yield
    context.set_context(mode=context.PYNATIVE_MODE)


@pytest.mark.usefixtures("graph_mode")
def test_cells_and_their_recordings_are_collected():
    x = Tensor(np.ones((4, 3), np.float32))

    def use():
        net = Net()
        net(x)
        ev.grad(net, None, weights=net.trainable_params())(x)
        ops.GradOperation(get_all=True)(net)(x)
        ev.jit(lambda x: net(x))(x)
        return [weakref.ref(o) for o in (net, net.dense, net.scale, net.dense.weight, net._graph)]

    before = live_bytes()
    refs = use()
    gc.collect()
    assert [r() for r in refs] == [None] * len(refs)
    assert live_bytes() - before < 1_000


@pytest.mark.usefixtures("graph_mode")
def test_functions_and_their_derivatives_are_collected():
    def use():
        def fn(x):
            return x * x

        ev.grad(fn)(Tensor(1.0))
        ev.jvp(fn, Tensor(1.0), Tensor(1.0))
        return weakref.ref(fn)

    ref = use()
    gc.collect()
    assert ref() is None


class Holder:
    pass


def test_compiled_functions_that_refer_to_themselves_are_collected():
    def use():
        holder = Holder()
        holder.w = Parameter([1.0], name="w")
        holder.compiled = ev.jit(lambda x: (x * holder.w, holder))
        holder.static = ev.jit(lambda x, h: x * h.w)
        x = Tensor([2.0])
        holder.compiled(x)
        holder.static(x, holder)
        holder.pullback = ev.vjp(lambda x: x * holder.w, x)[1]
        return weakref.ref(holder)

    ref = use()
    gc.collect()
    assert ref() is None


def test_a_leaked_value_does_not_keep_the_tape():
    kept = []

    def fn(x):
        y = ops.sin(x)
        kept.append(y)
        for _ in range(100):
            y = ops.sin(y)
        return ops.sum(y)

    x = Tensor(np.ones(10_000))
    before = live_bytes()
    ev.grad(fn)(x)
    assert live_bytes() - before < 100_000  # the one value, not a hundred


def test_python_objects_are_tracked_only_where_they_can_be_in_cycles():
    assert not gc.is_tracked(Tensor([1.0]))  # refers to no Python object
    assert gc.is_tracked(Parameter([1.0]))
    assert gc.is_tracked(ev.jit(ops.sin).compiled._core)


def test_immediate_release_without_the_collector():
    gc.disable()
    try:
        x = Tensor(np.ones(100_000))
        before = live_bytes()
        for _ in range(3):
            value, pull = ev.vjp(lambda x: ops.sin(ops.sin(x)), x)
            pull(value)
            ev.grad(lambda x: ops.sum(ops.sin(x)))(x)
            del value, pull
        assert live_bytes() - before < 10_000
    finally:
        gc.enable()


def test_deep_structures():
    depth = sys.getrecursionlimit() // 4
    nest = Tensor(2.0)
    for _ in range(depth):
        nest = [nest]
    got = ev.grad(lambda nest: ops.square(unwrap(nest)))(nest)
    assert unwrap(got).item() == 4.0


def unwrap(o):
    while isinstance(o, list):
        o = o[0]
    return o
