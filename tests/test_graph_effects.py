"""Graph mode: what recorded functions write, recordings that fail or cannot be made, values that leak, threads."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
from recording import Linear, counted, floats
from recording import graph_mode as graph_mode

import evolute as ev
from evolute import Parameter, Tensor, context, nn, ops

# ---- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("graph_mode")
def test_parameter_values_are_inputs():
    net = Linear()
    x = floats(3.0)
    for value in (1.0, 2.0, 3.0):
        net.w.set_data([value])
        assert net(x).item() == 3 * value
        net.w[0] = value + 1
        assert net(x).item() == 3 * (value + 1)
    assert net.count == 1


def test_writes_happen_after_each_run():
    total = Parameter([0.0], name="total")
    ema = Parameter([10.0], name="ema")

    @ev.jit
    def fn(x):
        total.set_data(total + x)
        seen = total * 1
        ema.set_data(ema * 0.5 + total)  # reads what was just written
        total.set_data(total + 100)
        return seen

    for i, seen in enumerate((1.0, 102.0, 203.0)):
        assert fn(floats(1.0)).item() == seen
        assert total.item() == 101.0 * (i + 1)
    assert ema.item() == ((10 * 0.5 + 1) * 0.5 + 102) * 0.5 + 203


def test_a_training_step_in_one_recording():
    rng = np.random.default_rng(0)
    x = Tensor(rng.standard_normal((20, 3)).astype(np.float32))
    w_true = Tensor(np.array([[1.0], [-2.0], [0.5]], np.float32))
    y = ops.matmul(x, w_true)
    w = Parameter(np.zeros((3, 1), np.float32), name="w")
    loss = counted(lambda x, y: ops.mean((ops.matmul(x, w) - y) ** 2))

    @ev.jit
    def step(x, y):
        value, gradient = ev.value_and_grad(loss[0], None, weights=w)(x, y)
        w.set_data(w - 0.1 * gradient)
        return value

    losses = [step(x, y).item() for _ in range(200)]
    assert len(loss[1]) == 1
    assert losses[-1] < 1e-8 < losses[0]
    np.testing.assert_allclose(w.asnumpy(), w_true.asnumpy(), atol=1e-3)


def test_a_write_that_is_never_read():
    w = Parameter([1.0], name="w")

    @ev.jit
    def fn(x):
        w.set_data(x * 2)

    assert fn(floats(3.0)) is None
    assert fn(floats(4.0)) is None
    assert w.item() == 8.0


def test_a_swap():
    a, b = Parameter([1.0], name="a"), Parameter([2.0], name="b")

    @ev.jit
    def swap():
        old = a * 1
        a.set_data(b.value())
        b.set_data(old)

    for i in range(3):
        swap()
        assert (a.item(), b.item()) == ((2.0, 1.0) if i % 2 == 0 else (1.0, 2.0))


def test_elements_of_a_parameter_set_inside():
    w = Parameter([1.0, 2.0], name="w")

    @ev.jit
    def fn(x):
        w[0] = x * w[1]

    for x, want in ((3.0, [6.0, 2.0]), (5.0, [10.0, 2.0])):
        fn(Tensor(x))
        assert w.asnumpy().tolist() == want


def test_the_shape_of_a_parameter_in_the_recording_is_checked():
    w = Parameter([1.0, 2.0], name="w")
    compiled = ev.jit(lambda x: x * w)
    compiled(floats(1.0))
    with pytest.raises(ev.ShapeError, match="'w'"):
        ev.jit(lambda x: w.set_data(x))(floats(1.0))
    assert w.asnumpy().tolist() == [1.0, 2.0]


# ---- recordings that fail --------------------------------------------------------------------------------------------


class UserError(Exception):
    pass


@pytest.mark.parametrize(
    ("wrap", "want"),
    [
        (ev.jit, 12.0),  # (w + x) x
        (lambda f: ev.jit(ev.jit(f)), 12.0),
        (ev.grad, 7.0),  # w + 2 x
        (lambda f: ev.jit(ev.grad(f)), 7.0),
    ],
)
def test_exceptions_pass_through_and_leave_nothing_behind(wrap, want):
    w = Parameter([1.0], name="w")
    error = UserError("mine")
    fail = True

    def fn(x):
        w.set_data(w + x)
        if fail:
            raise error
        return w * x

    compiled = wrap(fn)
    for _ in range(2):
        with pytest.raises(UserError) as caught:
            compiled(floats(3.0))
        assert caught.value is error
    assert ev._evolute.at_top_level()
    assert w.item() == 1.0
    fail = False
    assert compiled(floats(3.0)).item() == want
    assert ops.sin(floats(0.0)).item() == 0.0


def value_dependent():
    def branch(x):
        return x if x.sum() > 0 else -x  # HERE branch

    def loop(x):
        while x[0] < 10:  # HERE loop
            x = x * 2
        return x

    def number(x):
        return x * float(x[0])  # HERE number

    def array(x):
        return x * Tensor(np.sort(x.asnumpy()))  # HERE array

    def truth(x):
        return x if ops.all(x > 0) else -x  # HERE truth

    def index(x):
        return x[ops.argmax(x)] * [1, 2, 3][int(ops.argmax(x))]  # HERE index

    def mask(x):
        return ops.sum(x[x > 1.5])  # HERE mask

    def listed(x):
        return x * x.tolist()[0]  # HERE listed

    return [branch, loop, number, array, truth, index, mask, listed]


def line_of(marker):
    with open(__file__) as source:
        return next(i for i, line in enumerate(source, 1) if line.rstrip().endswith(marker))


@pytest.mark.parametrize("fn", value_dependent(), ids=lambda f: f.__name__)
def test_functions_that_need_values_run_eagerly_after_one_warning(fn):
    compiled = ev.jit(fn)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for values in ([1.0, 2.0], [3.0, 0.5], [1.0, 2.0, 3.0], [0.25]):
            np.testing.assert_array_equal(compiled(floats(*values)).asnumpy(), fn(floats(*values)).asnumpy())
    assert [w.category for w in caught] == [RuntimeWarning]
    message = str(caught[0].message)
    assert f"{__file__}:{line_of('HERE ' + fn.__name__)}" in message
    assert fn.__name__ in message
    advice = {"loop": "use ops.while_loop", "branch": "use ops.cond", "truth": "use ops.cond"}
    assert advice.get(fn.__name__, "ops.cond") in message
    assert caught[0].filename == __file__


@pytest.mark.usefixtures("graph_mode")
def test_an_outer_cell_that_cannot_be_recorded_warns_once_and_leaves_its_parts_compiled():
    class Inner(nn.Cell):
        def construct(self, x):
            inner_calls.append(None)
            return x * x

    class Outer(nn.Cell):
        def __init__(self):
            super().__init__()
            self.inner = Inner()
            self.steps = Parameter([0.0], name="steps")

        def construct(self, x):
            outer_calls.append(None)
            self.steps.set_data(self.steps + 1)
            y = self.inner(x)
            return y if y > 4 else -y

    inner_calls, outer_calls = [], []
    net = Outer()
    with pytest.warns(RuntimeWarning, match="Outer runs eagerly") as caught:
        got = [net(floats(v)).item() for v in (1.0, 2.0, 3.0, 4.0)]
    assert len(caught) == 1
    assert got == [-1.0, -4.0, 9.0, 16.0]
    assert net.steps.item() == 4.0  # what the attempt wrote was taken back
    assert len(outer_calls) == 5
    assert len(inner_calls) == 2


def test_value_dependent_code_in_a_derivative_of_a_compiled_function():
    def fn(x):
        return x**2 if x > 0 else x**3

    with pytest.warns(RuntimeWarning, match="runs eagerly"):
        assert ev.jit(ev.grad(fn))(Tensor(2.0)).item() == 4.0
    # Inside another transform the function itself runs: there are values, and nothing to warn of.
    assert ev.grad(ev.jit(fn))(Tensor(-2.0)).item() == 12.0


def test_a_warning_turned_into_an_error_leaves_nothing_behind():
    compiled = ev.jit(lambda x: x if x > 0 else -x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning):
            compiled(Tensor(1.0))
    assert ev._evolute.at_top_level()
    assert compiled.compiled.recorded == 0


def test_tensors_changed_in_place():
    buffer = floats(0.0, 0.0)

    @ev.jit
    def outside(x):
        buffer[0] = x
        return buffer * 2

    with pytest.warns(RuntimeWarning, match="cannot be changed in place"):
        first = outside(Tensor(1.0))
    assert first.asnumpy().tolist() == [2.0, 0.0]
    assert buffer.asnumpy().tolist() == [1.0, 0.0]
    assert outside(Tensor(2.0)).asnumpy().tolist() == [4.0, 0.0]
    assert buffer.asnumpy().tolist() == [2.0, 0.0]

    @ev.jit
    def inside(x):
        made = [ops.zeros(2), Tensor(np.zeros(2, np.float32)), x * 1]
        for t in made:
            t[1] = x[0]
        x[0] = 50.0
        return (*made, x)

    for value in (1.0, 2.0):
        x = floats(value, value)
        got = [t.asnumpy().tolist() for t in inside(x)]
        assert got == [[0.0, value], [0.0, value], [value, value], [50.0, value]]


def test_traced_values_that_leak():
    kept = {}

    def fn(x):
        kept["y"] = x * 2
        return kept["y"] * 3

    ev.grad(fn)(floats(5.0))
    assert kept["y"].item() == 10.0
    assert (kept["y"] + 1).item() == 11.0
    assert ev.grad(lambda x: x * kept["y"])(floats(1.0)).item() == 10.0
    ev.jvp(fn, floats(6.0), floats(1.0))
    assert kept["y"].item() == 12.0

    ev.jit(fn)(floats(5.0))
    assert kept["y"].shape == (1,)
    assert "<traced>" in repr(kept["y"])
    w = Parameter([0.0], name="w")
    for use in (
        lambda: kept["y"].item(),
        lambda: kept["y"] + 1,
        lambda: kept["y"].asnumpy(),
        lambda: ev.grad(lambda x: x * kept["y"])(floats(1.0)),
        lambda: ev.jit(lambda x: x * kept["y"])(floats(1.0)),
        lambda: ev.jit(lambda x: x)(kept["y"]) + 1,
        lambda: w.set_data(kept["y"]),
    ):
        with pytest.raises(ev.TraceError, match="record"):
            use()
    assert w.item() == 0.0


# ---- threads ---------------------------------------------------------------------------------------------------------


def in_threads(n, work):
    """Run `work(i)` on n threads at once; raise what any of them raised."""
    errors, start = [], threading.Barrier(n)

    def run(i):
        try:
            start.wait()
            work(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]


@pytest.fixture
def rapid_switches():
    import sys

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("rapid_switches")
@pytest.mark.parametrize("compiled", [False, True])
def test_threads_that_differentiate_by_the_same_parameter(compiled):
    w = Parameter([3.0], name="w")

    def loss(x):
        y = x * w
        for _ in range(10):
            y = y + w * w
        return ops.sum(y)

    gradient = ev.grad(loss, 0, weights=w)

    def work(i):
        own = ev.jit(lambda x: gradient(x)) if compiled else gradient
        for k in range(50):
            x = float(i * 100 + k)
            by_x, by_w = own(floats(x))
            assert by_x.item() == 3.0
            assert by_w.item() == x + 60.0
            if compiled and k % 5 == 0:
                own.compiled.clear()

    in_threads(4, work)
    assert w.item() == 3.0


@pytest.mark.usefixtures("rapid_switches", "graph_mode")
def test_threads_that_share_a_compiled_cell():
    net = nn.SequentialCell(nn.Dense(3, 8, activation="tanh"), nn.Dense(8, 1))
    xs = [Tensor(np.full((n, 3), 0.1 * n, np.float32)) for n in range(1, 9)]
    context.set_context(mode=context.PYNATIVE_MODE)
    want = [net(x).asnumpy() for x in xs]
    context.set_context(mode=context.GRAPH_MODE)

    def work(i):
        for k in range(60):
            j = (i + k) % len(xs)
            np.testing.assert_allclose(net(xs[j]).asnumpy(), want[j], rtol=1e-5)
            if k % 20 == 7:
                net._graph.clear()

    in_threads(4, work)
