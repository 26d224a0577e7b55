"""Graph passes, each alone: what it changes, and that random programs compute the same before and after."""

from __future__ import annotations

import re
from collections import Counter

import numpy as np
import pytest
from checks import as_double, assert_close, nest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from programs import interpret, programs, three_rows

import evolute as ev
from evolute import Tensor, ops
from evolute._compile import Compiled

how_it_runs_on_a_cpu = pytest.mark.host  # row blocks, say, are for its caches

PASSES = [
    "diagonals",
    "fold_constants",
    "simplify",
    "cancel",
    "contract",
    "collapse",
    "join",
    "share_factors",
    "rematerialise",
    "block_rows",
    "accumulate",
]


def compiled(fn, passes, *args):
    """Compile with the passes named, and run; gives the result and how often each operation is in the graph."""
    function = Compiled(fn, passes=passes)
    result = function(*args)
    graph = function.explain().partition("graph:\n")[2].partition("steps (")[0]
    return result, Counter(re.findall(r"= ([\w.]+)", graph.replace("= constant", "")))


def floats(*shape, seed=0, dtype=np.float64):
    return Tensor(np.random.default_rng(seed).uniform(0.2, 1.5, shape).astype(dtype))


def check(fn, passes, *args, rtol=1e-13):
    """Like `compiled`, after comparing with what eager mode gives."""
    got, operations = compiled(fn, passes, *args)
    assert_close(got.asnumpy(), fn(*args).asnumpy(), rtol)
    return operations


# ---- one by one ------------------------------------------------------------------------------------------------------


def test_dead_code_and_common_subexpressions():
    """These need no pass: recording, and every replay, shares equal operations and drops what nobody wants."""

    def f(x):
        ops.exp(x)  # nobody wants it
        return ops.sin(x) * ops.cos(x + 1) + ops.sin(x) * ops.cos(x + 1)

    operations = check(f, [], floats(3))
    assert operations == {"sin": 1, "cos": 1, "mul": 1, "add": 2}


def test_operations_that_differ_in_parameters_are_not_shared():
    def f(x):
        return ops.sum(x, axis=0) + ops.sum(x, axis=1) + ops.sum(x.T, axis=1)

    assert check(f, [], floats(3, 3))["sum"] == 3


def test_equal_constants_are_one():
    def f(x):
        return ops.ones((3,), ev.float64) * ops.sin(x) + ops.ones((3,), ev.float64) * ops.sin(x)

    assert check(f, ["fold_constants"], floats(3)) == {"sin": 1, "mul": 1, "add": 1}


def test_constants_are_folded_up_to_a_size():
    table = Tensor(np.arange(6.0).reshape(2, 3))
    operations = check(lambda x: x * ops.exp(ops.sum(table, axis=0)), ["fold_constants"], floats(3))
    assert operations == {"mul": 1}
    large = Tensor(np.arange(1e5))
    assert check(lambda x: x * ops.exp(large), ["fold_constants"], floats(1))["exp"] == 1
    uniform = ops.ones((10**6,))
    assert check(lambda x: x * ops.exp(uniform), ["fold_constants"], floats(1))["exp"] == 0


@pytest.mark.parametrize(
    ("fn", "want"),
    [
        (lambda x: x + 0, {}),
        (lambda x: 1 * x / 1, {}),
        (lambda x: ops.neg(ops.neg(x)), {}),
        (lambda x: x - (-x), {"add": 1}),
        (lambda x: (-x) * (-x), {"mul": 1}),
        (lambda x: 2 * (3 * (x * 4)), {"mul": 1}),
        (lambda x: ops.pow(x, Tensor(2.0, ev.float64)), {"square": 1}),
        (lambda x: ops.pow(x, Tensor(1.0, ev.float64)), {}),
        (lambda x: x.T.T, {}),
        (lambda x: ops.transpose(ops.transpose(x, (1, 0)), (1, 0)) * 2, {"mul": 1}),
        (lambda x: x.reshape(-1).reshape(3, 2), {"reshape": 1}),
        (lambda x: ops.matmul(x.T, x), {"matmul": 1}),
        (lambda x: ops.matmul(x, x.T), {"matmul": 1}),
        (lambda x: ops.broadcast_to(x, (5, 2, 3)) * ops.ones((5, 1, 1), ev.float64), {"broadcast_to": 1}),
        (lambda x: ops.cast(x, ev.float64) + ops.stop_gradient(x), {"add": 1}),
        (lambda x: -(3 * x), {"mul": 1}),
        (lambda x: -(x - ops.sin(x)), {"sin": 1, "sub": 1}),
        (lambda x: (2 * x) * (3 * ops.sin(x)), {"sin": 1, "mul": 2}),
        (lambda x: ops.cos(-x) + ops.abs(-x) * ops.square(-x), {"cos": 1, "abs": 1, "square": 1, "mul": 1, "add": 1}),
        (lambda x: x**0.5, {"sqrt": 1}),
        (lambda x: x**1.5, {"sqrt": 1, "mul": 1}),
        (lambda x: x**2.5, {"square": 1, "sqrt": 1, "mul": 1}),
        (lambda x: x**3, {"square": 1, "mul": 1}),
        (lambda x: x**4, {"square": 1, "mul": 1}),
        (lambda x: x**-1, {"reciprocal": 1}),
        (lambda x: x**0, {}),
        (lambda x: ev.grad(lambda x: ops.sum(x**2.5))(x), {"sqrt": 1, "mul": 2}),
        (ev.grad(ev.grad(lambda x: ops.sum(x**2.5))), {"sqrt": 1, "mul": 1}),
        (ev.grad(ev.grad(lambda x: ops.sum(ops.exp(x)))), {"exp": 1}),
    ],
)
def test_algebraic_identities(fn, want):
    operations = check(fn, ["fold_constants", "simplify", "fold_constants", "simplify"], floats(2, 3))
    assert operations == want


def test_powers_keep_special_values():
    x = Tensor(np.array([np.nan, -np.inf, -2.0, -0.0, 0.0, 1e-300, 1.0, 1e200, np.inf]))
    for e in (0.5, 1.5, 2.5, 3.5, 3, 4, -1):
        for order in range(3):
            f = nest(lambda x, e=e: x**e, "r" * order)
            got, want = Compiled(f)(x).asnumpy(), f(x).asnumpy()
            root = (e % 1 != 0) & (x.asnumpy() == -np.inf)  # NaN of a root
            np.testing.assert_allclose(got[~root], want[~root], rtol=1e-15)


@pytest.mark.parametrize(
    ("fn", "want"),
    [
        (lambda x: ops.sum(ops.broadcast_to(x, (5, 2, 3)), axis=0), {"mul": 1}),
        (lambda x: ops.sum(ops.broadcast_to(x, (5, 2, 3))), {"sum": 1, "mul": 1}),
        (lambda x: ops.broadcast_to(ops.sum(x, axis=1, keepdims=True), (2, 3)).sum(), {"sum": 2, "mul": 1}),
        (lambda x: ops.sum(ops.sum(x, axis=1), axis=0), {"sum": 1}),
        (lambda x: ops.sum(-x, axis=0), {"sum": 1, "neg": 1}),
        (lambda x: ops.sum(3 * x, axis=0), {"sum": 1, "mul": 1}),
        (lambda x: ops.sum(x * ops.sum(x, axis=1, keepdims=True), axis=1), {"sum": 1, "mul": 1}),
        (lambda x: ops.max(ops.broadcast_to(x, (5, 2, 3)), axis=0), {}),
        (lambda x: ops.min(ops.broadcast_to(x, (5, 2, 3)), axis=(0, 1)), {"min": 1}),
        (lambda x: ops.matmul(ops.ones((4, 2), ev.float64), x), {"sum": 1, "mul": 1, "broadcast_to": 1}),
        (lambda x: ops.matmul(x, ops.ones((3, 4), ev.float64)), {"sum": 1, "mul": 1, "broadcast_to": 1}),
        (lambda x: ops.matmul(ops.broadcast_to(ops.sin(x[:1]), (4, 3)), x.T), {"matmul": 1, "broadcast_to": 1}),
        (lambda x: ops.matmul(x, ops.broadcast_to(ops.sin(x[0, :2]), (3, 2))), {"sum": 1, "mul": 1}),
        (lambda x: ops.matmul(ops.broadcast_to(ops.sin(x[:, :1]), (2, 5)), ops.ones((5, 3), ev.float64) * 2), None),
        (lambda x: ops.matmul(x.T, Tensor(np.tile([[1.0, 0.0]], (2, 1)))), {"sum": 1, "mul": 1}),
    ],
)
def test_cancellation(fn, want):
    passes = ["fold_constants", "simplify", "cancel", "fold_constants", "simplify", "cancel"]
    operations = check(fn, passes, floats(2, 3))
    if want is None:
        assert operations["matmul"] == 0
    else:
        assert {k: n for k, n in operations.items() if k not in ("reshape", "slice", "sin", "transpose")} == want


@pytest.mark.parametrize(
    ("fn", "shapes"),
    [
        (lambda a, b: ops.sum(a[:, :, None] * b[None], axis=1), [(4, 5), (5, 6)]),
        (lambda a, b: ops.sum(a[:, None, :] * b[None], axis=2), [(4, 5), (6, 5)]),
        (lambda a, b: ops.sum(a[:, :, None] * b[:, None, :], axis=0), [(4, 5), (4, 6)]),
        (lambda a, b: ops.sum(a * b), [(4, 5), (4, 5)]),
        (lambda a, b: ops.sum(a[:, :, None, :] * b[:, None], axis=-1), [(3, 4, 5), (3, 6, 5)]),  # batched
        (lambda a, b: ops.sum(a[:, None, :, None] * b[None, :, None, :], axis=(2, 3)), [(4, 5), (6, 7)]),
    ],
)
def test_sums_of_broadcast_products(fn, shapes):
    args = [floats(*s, seed=i) for i, s in enumerate(shapes)]
    before = check(fn, ["simplify"], *args)
    assert before["matmul"] == 0
    operations = check(fn, ["simplify", "contract"], *args)
    if fn(*args).ndim == 2 and len(shapes[0]) == 2 and args[0].shape[-1] * args[1].shape[-1] == 35:
        assert operations["matmul"] == 0  # each operand is summed by itself: no contraction
    else:
        assert (operations["matmul"], operations["mul"]) == (1, 0)


def test_products_that_are_wanted_themselves_stay():
    def f(a, b):
        product = a[:, :, None] * b[None]
        return ops.sum(product, axis=1) + ops.max(product)

    assert check(f, ["simplify", "contract"], floats(4, 5), floats(5, 6))["matmul"] == 0


def test_sweeps_that_were_traced_one_by_one_become_one():
    """Three derivatives of one network, each by a sweep of its own, and the gradient of their sum."""

    def net(w, x):
        return ops.matmul(ops.tanh(ops.matmul(x, w)), w)

    def loss(w, x):
        first = ev.grad(lambda x: ops.sum(net(w, x)))(x)
        again = ev.grad(lambda x: ops.sum(net(w, x)))(x)
        return ops.sum(first**2) + ops.sum(ops.sin(again)) + ops.sum(net(w, x))

    args = floats(4, 4, seed=1), floats(6, 4, seed=2)
    before = check(ev.grad(loss), [], *args)
    after = check(ev.grad(loss), ["collapse"], *args)
    assert after["matmul"] < before["matmul"]


def test_collapse_of_linear_streams():
    def f(a, b, w):
        return ops.matmul(ops.matmul(a, w), w) + ops.matmul(ops.matmul(ops.sin(b), w), w)

    args = floats(5, 4, seed=1), floats(5, 4, seed=2), floats(4, 4, seed=3)
    assert check(f, ["collapse"], *args)["matmul"] == 2

    def g(a, b, w):  # the first product is wanted by itself
        first = ops.matmul(a, w)
        return ops.concat([first + ops.matmul(b, w), first])

    assert check(g, ["collapse"], *args)["matmul"] == 2


def test_collapse_keeps_apart_what_ends_in_different_results():
    def f(a, b, w):
        return ops.concat([ops.matmul(a, w), ops.matmul(b, w)])

    assert check(f, ["collapse"], floats(5, 4), floats(5, 4, seed=1), floats(4, 4))["matmul"] == 2


def test_the_laplacian_is_carried_as_one_stream():
    """Σᵢ ∂²u/∂xᵢ²: the sum of the second derivatives goes through the last layers once, not once for each i."""
    w1, w2, w3 = floats(3, 8, seed=1), floats(8, 8, seed=2), floats(8, 1, seed=3)
    basis = [Tensor(np.eye(3)[i : i + 1]) for i in range(3)]

    def u(x):
        return ops.matmul(ops.tanh(ops.matmul(ops.tanh(ops.matmul(x, w1)), w2)), w3)

    def laplacian(x):
        total = None
        for e in basis:
            v = ops.broadcast_to(e, x.shape)
            second = ev.jvp(lambda x, v=v: ev.jvp(u, x, v)[1], x, v)[1]
            total = second if total is None else total + second
        return total

    x = floats(5, 3, seed=4)
    before = check(laplacian, ["fold_constants", "simplify"], x, rtol=1e-12)
    after = check(laplacian, ["fold_constants", "simplify", "collapse"], x, rtol=1e-12)
    assert before["matmul"] - after["matmul"] >= 4


JOINED = {
    # Rows that fill the whole, in any order.
    "whole": (lambda x: ops.sin(x[2]) * x[0] + ops.cos(x[1]), 0, 1),
    "columns": (lambda x: ops.sum(ops.sin(x[:, :1])) + ops.sum(ops.exp(x[:, 1:])), 0, 1),
    # A row is missing.
    "gap": (lambda x: ops.sin(x[0]) * ops.cos(x[2]), 2, 0),
    "part": (lambda x: ops.sin(x[1]) * ops.cos(x[2]), 1, 1),
    # What overlaps is added.
    "overlap": (lambda x: ops.sin(x[:2]) * ops.cos(x[1:]), 2, 0),
    # Along one axis, then along the other.
    "quarters": (
        lambda x: ops.sin(x[:1, :1]) * ops.sum(ops.cos(x[1:, :1])) + x[:1, 1:] * ops.sum(x[1:, 1:] ** 2),
        0,
        3,
    ),
    # Every second element.
    "steps": (lambda x: ops.sin(x[:, ::2]) * ops.cos(x[:, 1::2]), 2, 0),
    # Other terms stay.
    "others": (
        lambda x: ops.sum(x * x) + ops.sum(ops.sin(x[0]) * x[1]) + ops.sum(ops.cos(x[2])) + ops.sum(ops.exp(x)),
        0,
        1,
    ),
}


@pytest.mark.parametrize("name", JOINED)
def test_windows_of_one_array_are_joined(name):
    f, windows, joined = JOINED[name]
    operations = check(ev.grad(lambda x: ops.sum(f(x))), ["join"], floats(3, 4))
    assert (operations["unslice"], operations["concat"]) == (windows, joined)


def test_windows_that_touch_out_of_line_are_not_joined():
    def f(x):
        return ops.pad(ops.sin(x), ((0, 1), (0, 2))) + ops.pad(ops.cos(x), ((1, 0), (2, 0)))

    operations = check(f, ["join"], floats(2, 2))
    assert (operations["unslice"], operations["concat"]) == (2, 0)


def test_sums_that_others_read_are_not_taken_apart():
    def f(x):
        a, b, c = (ops.pad(ops.sin(x * k), ((i, 2 - i), (0, 0))) for i, k in enumerate((1.0, 2.0, 3.0)))
        both = a + b
        return ops.exp(both) + (both + c)

    operations = check(f, ["join"], floats(1, 4))
    assert (operations["unslice"], operations["concat"]) == (1, 2)


def test_factors_of_derivative_kernels_are_shared():
    def f(x):
        return ev.grad(ev.grad(lambda x: ops.sum(ops.tanh(x))))(x) + ev.grad(lambda x: ops.sum(ops.tanh(x)))(x)

    operations = check(f, ["share_factors"], floats(7))
    assert [name for name in operations if name.startswith("tanh")] == ["tanh.jet2"]
    assert operations["tanh.jet2"] == 1


def test_partial_derivatives_are_computed_together():
    for fn in (ops.pow, ops.hypot, ops.atan2):

        def f(x, y, fn=fn):
            g = ev.grad(lambda x, y: ops.sum(fn(x, y)), (0, 1))
            h = [ev.grad(lambda x, y, i=i: ops.sum(g(x, y)[i]), (0, 1))(x, y) for i in range(2)]
            return ops.stack([fn(x, y), *g(x, y), *h[0], *h[1]])

        def by_x(x, y, fn=fn):
            g = ev.grad(lambda x: ops.sum(fn(x, y)))
            return ops.stack([fn(x, y), g(x), ev.grad(lambda x: ops.sum(g(x)))(x)])

        args = np.linspace(0.5, 2, 7), np.linspace(1, 3, 7)
        name = fn.__name__
        assert check(f, ["share_factors"], *map(Tensor, args))[f"{name}.jet2"] == 1
        assert check(by_x, ["share_factors"], *map(Tensor, args))[f"{name}.jet2x"] == 1


def test_a_single_derivative_kernel_stays():
    assert check(ev.grad(lambda x: ops.sum(ops.tanh(x))), ["share_factors"], floats(7))["tanh.d1"] == 1


def test_products_are_added_up_in_place():
    def f(a, b, w, c):
        return ops.matmul(a, w) + ops.matmul(b, w.T) + ops.matmul(a.T, b, transpose_a=True), c + ops.matmul(b, a)

    args = [floats(5, 5, seed=i) for i in range(4)]
    function = Compiled(f, passes=["simplify", "accumulate"])
    for got, want in zip(function(*args), f(*args), strict=True):
        assert_close(got.asnumpy(), want.asnumpy(), 1e-13)
    text = function.explain()
    assert text.count("= matmul_add") == 3
    assert text.count("= matmul[") == 1
    assert " 0 B of intermediates" in text
    assert_close(args[3].asnumpy(), floats(5, 5, seed=3).asnumpy(), 0)  # an operand of the call stays as it is


def test_products_that_others_read_or_loops_take_are_not_added_in_place():
    def f(a, b):
        product = ops.matmul(a, b)
        return product + ops.matmul(b, a), product, ops.tanh(ops.matmul(a, a) + ops.sin(a))

    args = floats(5, 5), floats(5, 5, seed=1)
    function = Compiled(f, passes=["accumulate"])
    for got, want in zip(function(*args), f(*args), strict=True):
        assert_close(got.asnumpy(), want.asnumpy(), 1e-13)
    assert function.explain().count("= matmul_add") == 1


def standardised(x):
    centred = x - ops.mean(x, axis=0)
    return centred / ops.sqrt(ops.mean(centred * centred, axis=0))


@how_it_runs_on_a_cpu
def test_what_is_cheap_is_computed_again_after_a_reduction():
    x = floats(2000, 100)
    before = check(standardised, [], x)
    after = check(standardised, ["rematerialise"], x)
    assert after - before == {"sub": 1}  # x − mean, for the variance and for the result
    assert check(standardised, ["rematerialise"], floats(200, 100)) == before  # the cache keeps small arrays

    function = Compiled(standardised, passes=["rematerialise", "block_rows"])
    assert_close(function(x).asnumpy(), standardised(x).asnumpy(), 1e-12)
    assert float(re.search(r"of results, ([\d.]+) KiB of intermediates", function.explain())[1]) < 8


def test_what_is_dear_or_wanted_is_not_computed_again():
    x = floats(2000, 100)

    def dear(x):
        y = ops.exp(x)
        return y / ops.sum(y)

    assert check(dear, ["rematerialise"], x)["exp"] == 1

    def wanted(x):
        y = 2 * x
        return ops.concat([y / ops.sum(y), y])

    assert check(wanted, ["rematerialise"], x)["mul"] == 2

    def of_two_arrays(x):  # both would be read in place of one
        y = x * ops.sin(x)
        return y / ops.sum(y)

    assert check(of_two_arrays, ["rematerialise"], x)["mul"] == 1


@settings(max_examples=30)
@given(program=programs)
def test_random_programs_computed_again(program):
    """As random programs before and after a pass, on arrays large enough for this one."""
    assume(all(fn is not three_rows for fn, *_ in program))
    x = as_double(np.sin(np.arange(400.0 * 400)).reshape(400, 400))

    def loss(x):
        y = interpret(program, x)
        return ops.sum(y * (y - ops.mean(y, axis=0)) / (2 + ops.sum(ops.square(y))))

    for fn in (loss, ev.grad(loss)):
        for passes in (["rematerialise"], ["simplify", "rematerialise", "block_rows", "accumulate"]):
            got = Compiled(fn, passes=passes)(x)
            assert_close(got.asnumpy(), fn(x).asnumpy(), 1e-10, 1e-10)


def test_cheap_factors_are_not_shared():
    f = ev.grad(ev.grad(lambda x: ops.sum(ops.reciprocal(x))))
    operations = check(f, ["share_factors", "fold_constants", "simplify"], floats(7))
    assert operations == {"reciprocal": 1, "reciprocal.d1": 1, "reciprocal.d2": 1}


# ---- row blocks ------------------------------------------------------------------------------------------------------


def mlp(x, w1, b1, w2):
    return ops.matmul(ops.tanh(ops.matmul(x, w1) + b1), w2)


@how_it_runs_on_a_cpu
@pytest.mark.parametrize("rows", [4096, 5003, 10001])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_network_runs_in_row_blocks(rows, dtype):
    args = [floats(*s, seed=i, dtype=dtype) for i, s in enumerate([(rows, 3), (3, 32), (32,), (32, 2)])]

    def step(x, w1, b1, w2):
        def loss(w1, b1, w2):
            u = mlp(x, w1, b1, w2)
            u_x = ev.grad(lambda x: ops.sum(mlp(x, w1, b1, w2)))(x)
            return ops.mean(u * u) + ops.mean(u_x**2)

        return ev.value_and_grad(loss, (0, 1, 2))(w1, b1, w2)

    function = Compiled(step)
    value, grads = function(*args)
    assert "row_blocks" in function.explain()
    want, want_grads = step(*args)
    tolerance = 2e-5 if dtype == np.float32 else 1e-13
    for got, expected in zip([value, *grads], [want, *want_grads], strict=True):
        assert_close(got.asnumpy(), expected.asnumpy(), tolerance)
    again, _ = function(*args)
    assert again.asnumpy().tobytes() == value.asnumpy().tobytes()


@how_it_runs_on_a_cpu
def test_row_blocks_give_the_same_bits_for_any_number_of_threads():
    x, w = floats(30011, 20, dtype=np.float32), floats(20, 20, seed=1, dtype=np.float32)
    gradient = Compiled(ev.grad(lambda w: ops.sum(ops.sin(ops.matmul(ops.tanh(ops.matmul(x, w)), w)))))
    threads = ev.num_threads()
    results = set()
    try:
        for n in (1, 2, 3, 5, 8):
            ev.set_num_threads(n)
            results.add(gradient(w).asnumpy().tobytes())
    finally:
        ev.set_num_threads(threads)
    assert "row_blocks" in gradient.explain()
    assert len(results) == 1


def test_wide_layers_stay_out_of_row_blocks():
    """Every block would read all weights, and update as many gradients, for a few rows."""

    def loss(x, w1, w2):
        return ops.sum(ops.tanh(ops.matmul(ops.tanh(ops.matmul(x, w1)), w2)))

    step = Compiled(ev.grad(loss, (1, 2)))
    step(*(floats(*s, dtype=np.float32) for s in [(512, 16), (16, 1024), (1024, 1024)]))
    assert "row_blocks" not in step.explain()


@how_it_runs_on_a_cpu
@pytest.mark.parametrize("rows", [300, 20011, 70000])
def test_sums_over_rows_that_are_read_by_other_sums(rows):
    """Each sum starts from what earlier blocks gave, wherever in a chain of additions it is wanted."""
    x, w = floats(rows, 8), floats(8, 8, seed=1)

    def f(w):
        y = ops.tanh(ops.matmul(x, w))
        first = ops.matmul(x.T, y)
        second = first + ops.matmul(y.T, ops.sin(y))
        third = second + first + ops.matmul(y.T, ops.exp(y)) + ops.matmul(ops.cos(y).T, x)
        return first, third, ops.sum(y, axis=0), ops.sum(y, axis=0) + ops.sum(ops.cos(y), axis=0)

    function = Compiled(f)
    for _ in range(2):
        for got, want in zip(function(w), f(w), strict=True):
            assert_close(got.asnumpy(), want.asnumpy(), 1e-12)
    assert ("row_blocks" in function.explain()) == (rows > 300)


@how_it_runs_on_a_cpu
def test_results_by_rows_views_and_phases():
    """Outputs by rows, views of them, and rows that wait for a sum over all rows."""
    x = floats(9000, 20)

    def f(x):
        centred = x - ops.mean(x, axis=0)
        scaled = centred / ops.sqrt(ops.mean(centred * centred, axis=0))
        return ops.tanh(scaled), scaled.T, scaled[:, 3], ops.sum(scaled, axis=1), ops.max(x, axis=1)

    function = Compiled(f)
    results = function(x)
    assert function.explain().count("row_blocks") >= 2
    for got, want in zip(results, f(x), strict=True):
        assert_close(got.asnumpy(), want.asnumpy(), 1e-13)


ROW_UNARY = [ops.sin, ops.tanh, ops.square, ops.neg, ops.relu]
ROW_BINARY = [ops.add, ops.sub, ops.mul, lambda a, b: ops.where(a > b, a, b * 0.5), ops.maximum]
ROW_SHAPING = [
    lambda a: a + ops.sum(a, axis=1, keepdims=True),
    lambda a: a * ops.mean(a, axis=0),
    lambda a: ops.softmax(a, 1),
    lambda a: ops.concat([a[:, 1:], a[:, :1]], axis=1),
    lambda a: ops.flip(a, 1),
    lambda a: ops.cumsum(a, 1),
    lambda a: a.reshape(-1, 2, 2).transpose(0, 2, 1).reshape(-1, 4),
    lambda a: ops.matmul(a, as_double(np.cos(np.arange(16.0)).reshape(4, 4))),
    lambda a: ops.matmul(a, ops.matmul(a.T, a) / 6000),
    lambda a: a[::-1],
    lambda a: a * ops.max(a, axis=1, keepdims=True),
]
row_programs = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(ROW_UNARY), st.integers(0, 9)),
        st.tuples(st.sampled_from(ROW_SHAPING), st.integers(0, 9)),
        st.tuples(st.sampled_from(ROW_BINARY), st.integers(0, 9), st.integers(0, 9)),
    ),
    min_size=3,
    max_size=8,
)


@settings(max_examples=30)
@given(row_programs, st.sampled_from([6000, 6001, 7013]))
def test_random_programs_in_row_blocks(program, rows):
    x = as_double(np.sin(np.arange(4.0 * rows)).reshape(rows, 4))

    def f(x):
        return interpret(program, x)

    def loss(x):
        return ops.sum(f(x))

    for fn in (f, loss, ev.grad(loss)):
        got = Compiled(fn, passes=["block_rows"])(x)
        assert_close(got.asnumpy(), fn(x).asnumpy(), 1e-11, 1e-11)


# ---- all passes on random programs -----------------------------------------------------------------------------------

X0 = as_double(np.linspace(-0.8, 0.9, 9).reshape(3, 3)[:, [2, 0, 1]])


@pytest.mark.parametrize("name", PASSES)
@settings(max_examples=20)
@given(program=programs)
def test_random_programs_before_and_after(name, program):
    def loss(x):
        return ops.sum(interpret(program, x))

    for fn, rtol in ((loss, 1e-13), (ev.grad(loss), 1e-12), (ev.grad(lambda x: ops.sum(ev.grad(loss)(x) ** 2)), 1e-10)):
        for passes in ([name], ["simplify", name]):
            got = Compiled(fn, passes=passes)(X0)
            assert_close(got.asnumpy(), fn(X0).asnumpy(), rtol, rtol)


@pytest.mark.parametrize("order", [4, 8])
def test_nested_forward_derivatives_grow_polynomially(order):
    """Traced one by one, a derivative of order k has some 3ᵏ operations; equal ones are shared as they are recorded."""

    def chain(x):
        for _ in range(5):
            x = ops.sin(x) * 1.1
        return x

    f = nest(chain, "f" * order)
    x = as_double([0.3, 0.4])
    got, operations = compiled(f, [], x)
    assert operations.total() < 12 * order**3
    if order == 4:
        assert_close(got.asnumpy(), f(x).asnumpy(), 1e-11)


def test_unknown_passes_are_refused():
    with pytest.raises(ValueError, match="no pass is named inline; there are trim_loops, diagonals, fold_constants"):
        Compiled(lambda x: x, passes=["inline"])(floats(1))


# ---- what the compiler tells -----------------------------------------------------------------------------------------


@how_it_runs_on_a_cpu
def test_explain():
    f = ev.jit(lambda x, w: ops.sum(ops.tanh(ops.matmul(x, w) + 1)))
    assert f.explain() == ""
    f(floats(8, 3), floats(3, 5))
    text = f.explain()
    assert re.search(r"matmul\[0, 0\].*240 flop", text)  # 2 · 8 · 3 · 5
    assert re.search(r"loop of 2: add tanh", text)
    assert re.search(r"memory: 312 B of operands, 8 B of results", text)  # (24 + 15) · 8
    f(floats(4, 3), floats(3, 5))
    assert f.explain().count("memory:") == 2


def test_drawings(tmp_path, monkeypatch):
    f = ev.jit(lambda x: ops.sum(ops.tanh(x) * x))
    with pytest.raises(RuntimeError, match="nothing is recorded"):
        f.to_svg()
    f(floats(8))
    dot = f.to_dot()
    assert dot.startswith("digraph {")
    assert dot.count('label="tanh"') == 1
    assert "Float64(8,)" in dot
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="Graphviz"):
        f.to_svg()
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\nexec /bin/cat\n")  # stands in for Graphviz, which test machines may lack
    program.chmod(0o755)
    assert f.to_svg(tmp_path / "graph.svg") == dot
    assert (tmp_path / "graph.svg").read_text() == dot


# ---- memory ----------------------------------------------------------------------------------------------------------


def intermediates(f):
    return float(re.search(r"of results, ([\d.]+) KiB of intermediates", f.explain())[1])


def test_results_take_the_place_of_operands_that_nobody_reads_any_more():
    w = floats(64, 64)
    f = Compiled(lambda x: ops.sum(ops.sin(ops.matmul(x, w))))
    x = floats(64, 64, seed=1)
    assert_close(f(x).asnumpy(), ops.sum(ops.sin(ops.matmul(x, w))).asnumpy(), 1e-13)
    assert intermediates(f) == 32  # one matrix of 64² doubles: the sine is written over the product

    def g(x):  # the loop still needs the product when it has its first result
        y = ops.matmul(x, w)
        return ops.max(ops.sin(y) * ops.cos(y + ops.sin(y))), ops.min(ops.sin(y))

    h = Compiled(g)
    for got, want in zip(h(x), g(x), strict=True):
        assert_close(got.asnumpy(), want.asnumpy(), 1e-13)
