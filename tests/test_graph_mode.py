"""Graph mode: what is recorded when, what makes a recording stale, what happens when there can be none."""

from __future__ import annotations

import copy
import functools
import pickle
import threading
import warnings

import numpy as np
import pytest

import evolute as ev
from evolute import Parameter, Tensor, context, nn, ops


@pytest.fixture
def graph_mode():
    context.set_context(mode=context.GRAPH_MODE)
    yield
    context.set_context(mode=context.PYNATIVE_MODE)


def counted(fn):
    """Return `fn` with a count of its Python calls, out of sight of what the library watches."""
    calls = []

    @functools.wraps(fn)
    def call(*args, **kwargs):
        calls.append(None)
        return fn(*args, **kwargs)

    return call, calls


def floats(*values):
    return Tensor(list(values))


# ---- one recording per signature ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "recordings"),
    [
        ([floats(1.0)], [floats(2.0)], 1),
        ([floats(1.0)], [floats(1.0, 2.0)], 2),  # shape
        ([floats(1.0)], [Tensor([1.0], ev.float64)], 2),  # dtype
        ([floats(1.0)], [np.array([2.0], np.float32)], 1),  # an array is a tensor
        ([floats(1.0), 2], [floats(1.0), 2], 1),  # numbers are static
        ([floats(1.0), 2], [floats(1.0), 3], 2),
        ([floats(1.0), 2], [floats(1.0), 2.0], 2),
        ([floats(1.0), 1], [floats(1.0), True], 2),
        ([floats(1.0), 0.0], [floats(1.0), -0.0], 2),
        ([floats(1.0), float("nan")], [floats(1.0), float("nan")], 1),
        ([floats(1.0), 10**30], [floats(1.0), 10**30], 1),
        ([floats(1.0), np.float64(2.0)], [floats(1.0), np.float64(3.0)], 1),  # NumPy's are arrays
        ([floats(1.0), "a"], [floats(1.0), "a"], 1),
        ([floats(1.0), "a"], [floats(1.0), "b"], 2),
        ([floats(1.0), None], [floats(1.0), 0], 2),
        ([floats(1.0), floats(2.0)], [floats(1.0), (floats(2.0),)], 2),  # structure
        ([[floats(1.0)], 2], [(floats(1.0),), 2], 2),
        ([floats(1.0), {"k": floats(2.0)}], [floats(3.0), {"k": floats(4.0)}], 1),
        ([floats(1.0), {"k": floats(2.0)}], [floats(1.0), {"j": floats(2.0)}], 2),
        ([floats(1.0), {np.int64(1): floats(2.0)}], [floats(1.0), {np.int64(2): floats(2.0)}], 2),
        ([floats(1.0), ops.sin], [floats(1.0), ops.sin], 1),  # other objects: by identity
        ([floats(1.0), ops.sin], [floats(1.0), ops.cos], 2),
    ],
)
def test_signatures(first, second, recordings):
    fn, calls = counted(lambda x, *rest: 0)
    compiled = ev.jit(fn)
    for args in (first, second, first, second):
        assert compiled(*args) == 0
    assert len(calls) == recordings
    assert compiled.compiled.recorded == recordings


def test_keyword_arguments():
    fn, calls = counted(lambda x, *, scale=1.0: x * scale)
    compiled = ev.jit(fn)
    for scale in (floats(2.0), floats(3.0)):
        assert compiled(floats(5.0), scale=scale).item() == 5 * scale.item()
    assert len(calls) == 1
    assert compiled(floats(5.0)).item() == 5.0
    assert len(calls) == 2


@pytest.mark.usefixtures("graph_mode")
def test_a_cell_is_recorded_once_per_signature():
    class Net(nn.Cell):
        def construct(self, x):
            calls.append(None)
            return ops.sin(x)

    calls = []
    net = Net()
    for n in (1, 2, 1, 2, 2):
        x = np.linspace(0, 1, n, dtype=np.float32)
        np.testing.assert_array_equal(net(Tensor(x)).asnumpy(), ops.sin(Tensor(x)).asnumpy())
    assert len(calls) == 2


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize(
    "derivative",
    [
        lambda f, x: ev.grad(f)(x),
        lambda f, x: ops.GradOperation(get_all=True)(f)(x)[0],
        lambda f, x: ev.value_and_grad(f)(x)[1],
        lambda f, x: ev.jvp(f, x, ops.ones_like(x))[1],
        lambda f, x: ev.vjp(f, x, ops.ones_like(x))[1],
        lambda f, x: nn.Jvp(f)(x, ops.ones_like(x))[1],
    ],
)
def test_derivatives_are_recorded_once_though_made_anew(derivative):
    fn, calls = counted(lambda x: x**3)
    for value in (1.0, 2.0, 3.0):
        assert derivative(fn, floats(value)).item() == 3 * value**2
    if derivative.__code__.co_names[0] != "nn":  # a new cell each time
        assert len(calls) == 1


def test_pynative_mode_records_nothing():
    fn, calls = counted(lambda x: x)
    for _ in range(3):
        ev.grad(fn)(floats(1.0))
    assert len(calls) == 3


def test_nested_compiled_functions_are_part_of_the_outer_recording():
    inner, inner_calls = counted(lambda x: x * x)
    inner = ev.jit(inner)
    outer, outer_calls = counted(lambda x: inner(x) + inner(2 * x))
    outer = ev.jit(outer)
    for _ in range(3):
        assert outer(floats(3.0)).item() == 45.0
    assert (len(outer_calls), len(inner_calls)) == (1, 2)
    assert inner.compiled.recorded == 0


@pytest.mark.parametrize(
    "derivative",
    [
        lambda f: ev.grad(ev.jit(f)),
        lambda f: ev.jit(ev.grad(f)),
        lambda f: ev.jit(ev.grad(ev.jit(f))),
        lambda f: lambda x: ev.jvp(ev.jit(f), x, ops.ones_like(x))[1],
        lambda f: ev.jit(lambda x: ev.jit(ev.grad(f))(x)),
    ],
)
def test_compiled_functions_in_transforms_and_transforms_in_compiled_functions(derivative):
    assert derivative(lambda x: x**3)(floats(2.0)).item() == 12.0
    assert derivative(derivative(lambda x: x**3))(floats(2.0)).item() == 12.0


def test_side_effects_happen_while_recording_only():
    seen = []

    def fn(x):
        seen.append(x)
        return x * 2

    compiled = ev.jit(fn)
    for i in range(4):
        assert compiled(floats(float(i))).item() == 2.0 * i
    assert len(seen) == 1


def test_constants_and_arguments_as_results():
    constant = floats(7.0)
    marker = object()
    compiled = ev.jit(lambda x: (x, constant, constant + 1, 3, "s", marker, None, {"k": [x]}))
    for value in (1.0, 2.0):
        out = compiled(floats(value))
        assert [t.item() for t in out[:3]] == [value, 7.0, 8.0]
        assert out[3:5] == (3, "s")
        assert out[5] is marker
        assert out[6] is None
        assert out[7]["k"][0].item() == value
    out[7]["k"].append("changed by the caller")
    assert len(compiled(floats(1.0))[7]["k"]) == 1


def test_a_parameter_as_result_is_the_parameter():
    w = Parameter([1.0], name="w")
    compiled = ev.jit(lambda x: (w, w + x))
    for _ in range(2):
        got, _ = compiled(floats(1.0))
        assert got is w


# ---- what makes a recording stale ---------------------------------------------------------------------------------------------


class Linear(nn.Cell):
    def __init__(self):
        super().__init__()
        self.w = Parameter([2.0], name="w")
        self.shift = floats(0.0)
        self.power = 1
        self.count = 0

    def construct(self, x):
        self.__dict__["count"] += 1
        return (x * self.w + self.shift) ** self.power


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize(
    ("change", "want"),
    [
        (lambda net: setattr(net, "w", Parameter([5.0], name="v")), 15.0),
        (lambda net: setattr(net, "shift", floats(1.0)), 7.0),
        (lambda net: setattr(net, "power", 2), 36.0),
    ],
)
@pytest.mark.parametrize("call", [lambda net, x: net(x), lambda net, x: ev.value_and_grad(net)(x)[0]])
def test_a_changed_attribute_of_a_cell(call, change, want):
    class Outer(nn.Cell):
        def __init__(self):
            super().__init__()
            self.inner = Linear()

        def construct(self, x):
            return self.inner(x)

    outer, x = Outer(), floats(3.0)
    assert [call(outer, x).item() for _ in range(3)] == [6.0] * 3
    change(outer.inner)
    assert [call(outer, x).item() for _ in range(3)] == [want] * 3
    assert outer.inner.count == 2


@pytest.mark.usefixtures("graph_mode")
def test_an_attribute_set_while_recording_is_no_change():
    class Net(nn.Cell):
        def construct(self, x):
            calls.append(None)
            self.last_shape = x.shape
            return x * 2

    calls = []
    net = Net()
    for n in (1, 2, 1, 2, 1, 2):
        net(Tensor(np.ones(n, np.float32)))
    assert len(calls) == 2


GLOBAL = Parameter([2.0], name="global")
NUMBER = 2.0
helper = ops.sin


def uses_globals(x):
    return helper(x) * GLOBAL * NUMBER


@pytest.mark.parametrize(
    ("name", "value"),
    [("GLOBAL", Parameter([3.0], name="other")), ("GLOBAL", floats(4.0)), ("NUMBER", 5.0), ("helper", lambda x: x)],
)
@pytest.mark.parametrize("make", [lambda f: f, lambda f: lambda x: f(x), ev.grad, lambda f: functools.partial(f)])
def test_a_global_name_that_means_something_else(monkeypatch, make, name, value):
    fn, calls = counted(uses_globals)
    compiled, eager = ev.jit(make(fn)), make(uses_globals)
    x = floats(1.0)
    compiled(x)
    monkeypatch.setitem(globals(), name, value)
    for _ in range(2):
        assert compiled(x).item() == pytest.approx(eager(x).item())
    assert len(calls) == 2


def test_names_bound_after_decoration():
    @ev.jit
    def fn(x):
        return x * w

    w = floats(2.0)
    assert fn(floats(3.0)).item() == 6.0
    w = floats(5.0)
    assert fn(floats(3.0)).item() == 15.0


class Plain:
    def __init__(self):
        self.w = floats(2.0)
        self.layers = [floats(1.0), {"bias": floats(0.0)}]

    def method(self, x):
        return x * self.w * self.layers[0] + self.layers[1]["bias"]


@pytest.mark.parametrize("through", ["method", "closure", "partial", "argument"])
@pytest.mark.parametrize(
    ("change", "want"),
    [
        (lambda o: setattr(o, "w", floats(5.0)), 15.0),
        (lambda o: o.layers.__setitem__(0, floats(2.0)), 12.0),
        (lambda o: o.layers[1].__setitem__("bias", floats(1.0)), 7.0),
        (lambda o: o.w.__setitem__(0, 7.0), 21.0),  # in place
    ],
)
def test_objects_and_containers_outside(through, change, want):
    o = Plain()
    fn = {
        "method": o.method,
        "closure": lambda x: o.method(x),
        "partial": functools.partial(lambda o, x: o.method(x), o),
        "argument": lambda x, o: o.method(x),
    }[through]
    compiled = ev.jit(fn)
    if through == "argument":
        compiled = functools.partial(compiled, o=o)
    assert [compiled(floats(3.0)).item() for _ in range(2)] == [6.0] * 2
    change(o)
    assert [compiled(floats(3.0)).item() for _ in range(2)] == [want] * 2


def test_the_variable_of_a_loop_is_not_watched_by_its_name_as_attribute():
    """A global that shares its name with an attribute used in the function has nothing to do with it."""
    fn, calls = counted(lambda o, x: x * o.w)
    compiled = ev.jit(functools.partial(fn, Plain()))
    for w in range(3):
        globals()["w"] = w
        compiled(floats(1.0))
    del globals()["w"]
    assert len(calls) == 1


def test_wrapped_functions_do_not_share_recordings():
    context.set_context(mode=context.GRAPH_MODE)
    try:

        def one(x):
            return x * x

        assert ev.grad(one)(floats(3.0)).item() == 6.0
        two = functools.wraps(one)(lambda x: x * 5)
        assert ev.grad(two)(floats(3.0)).item() == 5.0
    finally:
        context.set_context(mode=context.PYNATIVE_MODE)


@pytest.mark.usefixtures("graph_mode")
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_of_cells_record_for_themselves(duplicate):
    net = Linear()
    x = floats(3.0)
    assert net(x).item() == 6.0
    assert ev.grad(net)(x).item() == 2.0
    other = duplicate(net)
    other.power = 2
    if duplicate is not copy.copy:
        other.w.set_data([3.0])
    want = 36.0 if duplicate is copy.copy else 81.0
    for _ in range(2):
        assert net(x).item() == 6.0
        assert other(x).item() == want
        assert ev.grad(net)(x).item() == 2.0
        assert ev.grad(other)(x).item() == (24.0 if duplicate is copy.copy else 54.0)


# ---- parameters ---------------------------------------------------------------------------------------------------------------


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


# ---- recordings that fail -----------------------------------------------------------------------------------------------------


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
    if wrap is not ev.grad:  # run eagerly, what was done before the error stays done
        assert w.item() == 1.0
    w.set_data([1.0])
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
    assert "ops.where" in message
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
        for value in (1.0, 2.0):
            assert outside(Tensor(value)).asnumpy().tolist() == [2 * value, 0.0]
            assert buffer.asnumpy().tolist() == [value, 0.0]

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


# ---- threads --------------------------------------------------------------------------------------------------------------------


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
