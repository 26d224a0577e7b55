"""Graph mode: what is recorded when, and what makes a recording stale."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import weakref
from collections import OrderedDict

import numpy as np
import pytest
from recording import Linear, counted, floats
from recording import graph_mode as graph_mode

import evolute as ev
from evolute import Parameter, Tensor, context, nn, ops

# ---- one recording per signature -------------------------------------------------------------------------------------


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
        ([floats(1.0), slice(1, None)], [floats(1.0), slice(1, None)], 1),
        ([floats(1.0), slice(1, None)], [floats(1.0), slice(2, None)], 2),
        ([floats(1.0), 1j, b"ab", range(3)], [floats(1.0), 1j, b"ab", range(3)], 1),
        ([floats(1.0), range(3)], [floats(1.0), range(4)], 2),
        ([floats(1.0), floats(1.0).dtype], [floats(1.0), floats(2.0).dtype], 1),
        ([floats(1.0), ev.float32], [floats(1.0), ev.float64], 2),
        ([floats(1.0), "\udc80"], [floats(1.0), "a"], 2),
        ([floats(1.0), {}], [floats(1.0), OrderedDict()], 2),
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


def test_static_arguments_are_not_kept_alive():
    compiled = ev.jit(lambda net, x: x * net.w)
    refs = []
    for i in range(5):
        net = Plain()
        net.w = floats(float(i))
        assert compiled(net, floats(1.0)).item() == i
        refs.append(weakref.ref(net))
        del net
        gc.collect()
    assert [r() for r in refs] == [None] * 5
    assert compiled.compiled.recorded <= 2


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


# ---- what makes a recording stale ------------------------------------------------------------------------------------


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
def test_an_attribute_that_stays_as_it_was():
    net, x = Linear(), floats(3.0)
    for _ in range(3):
        assert net(x).item() == 6.0
        net.set_train(False)
        net.set_grad(True)
        net.power = 1
        net.shift = net.shift
        net.w = floats(2.0)  # a new value of the parameter
    assert net.count == 1
    net.set_train(True)
    net(x)
    assert net.count == 2


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


# ---- what a recording computes ---------------------------------------------------------------------------------------

SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -2.0, 3e38, 1e-38, -1e-45, 7.5], np.float32)
IDENTITIES = [
    lambda x: x * 0,
    lambda x: x - x,
    lambda x: x / x,
    lambda x: x**0 + x**1 + x**2,
    lambda x: 0 - (x + 0),
    lambda x: ops.neg(-(x * -1)) / -1,
    lambda x: x * 1e30 * 1e30,
    lambda x: x * 1e-30 * 1e-30,
    lambda x: 2 * (3 * x),
    lambda x: -x + x,
    lambda x: ops.zeros_like(x) * x,
    lambda x: ops.ones((2, 1)) * x + ops.zeros((2, 1)),
    lambda x: ops.sum(ops.broadcast_to(x, (3, *x.shape)), axis=0),
    lambda x: ops.cast(x > 0, "int32") / 1,
    lambda x: ops.cast(x > 0, "int32") * 1.0,
    lambda x: (x > 0) * 1,
    lambda x: x * Tensor(1.0, ev.float64),
    lambda x: x[:0] * 1 + 0,
    lambda x: ops.broadcast_to(x, (2, *x.shape)).T.T.reshape(-1, 1),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fn", IDENTITIES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_simplifications_keep_special_values_shapes_and_dtypes(fn, dtype):
    x = Tensor(SPECIAL.astype(dtype))
    derivable = fn(x).dtype in (ev.float32, ev.float64)
    for f in (fn, ev.grad(fn), ev.grad(ev.grad(fn))) if derivable and fn(x).size else (fn,):
        try:
            want = f(x)
        except ev.DTypeError:  # the derivative of what does not depend on x
            continue
        got = ev.jit(f)(x)
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
        np.testing.assert_allclose(got.asnumpy(), want.asnumpy(), rtol=1e-6 if dtype == np.float32 else 1e-14)
