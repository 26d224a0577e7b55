"""vmap as users call it: axes and structures, nesting with itself and with derivatives, control flow, errors."""

from typing import NamedTuple

import numpy as np
import pytest
from checks import assert_close, random_arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping import check_vmap
from recording import graph_mode  # noqa: F401

import evolute as ev
from evolute import DTypeError, Parameter, ShapeError, Tensor, TraceError, nn, ops

X = Tensor(np.arange(6.0).reshape(3, 2))
Y = Tensor(np.arange(12.0).reshape(3, 4))


class Pair(NamedTuple):
    a: object
    b: object


# ---- axes and structures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
@pytest.mark.parametrize("out", [0, 1, 2, -1, -2, -3])
def test_examples_lie_along_any_axis(axis, out):
    x = random_arrays(0, (2, 3, 4))[0]
    got = ev.vmap(ops.sin, axis, out)(Tensor(x))
    np.testing.assert_allclose(got.asnumpy(), np.moveaxis(np.sin(x), axis, out), 1e-14)


def test_structures_of_arguments_and_results():
    def fn(tree, scale):
        return {"sum": tree["p"][0] + tree["p"][1] * scale, "pair": Pair(tree["q"].a, [tree["q"].b, None])}

    tree = {"p": (X, X.T), "q": Pair(X, 2.0)}
    axes = ({"p": (0, 1), "q": Pair(1, None)}, None)
    with pytest.raises(ShapeError, match=r"leaf 2.*has 2"):
        ev.vmap(fn, axes)(tree, 3.0)
    axes = ({"p": (0, -1), "q": Pair(None, None)}, None)
    out = ev.vmap(fn, axes, {"sum": 1, "pair": None})(tree, 3.0)
    np.testing.assert_array_equal(out["sum"].asnumpy(), 4 * X.asnumpy().T)
    assert isinstance(out["pair"], Pair)
    np.testing.assert_array_equal(out["pair"].a.asnumpy(), X.asnumpy())
    assert out["pair"].b[1] is None


def test_an_axis_stands_for_a_whole_argument():
    out = ev.vmap(lambda pair, z: pair[0] + pair[1] + z, (0, None))([X, X], Tensor([1.0, 2.0]))
    np.testing.assert_array_equal(out.asnumpy(), 2 * X.asnumpy() + [1, 2])


def test_one_axis_for_all_arguments_and_results():
    a, b = ev.vmap(lambda x, y: (x, ops.sum(y)), 0, 0)(X, Y)
    np.testing.assert_array_equal(a.asnumpy(), X.asnumpy())
    np.testing.assert_array_equal(b.asnumpy(), Y.asnumpy().sum(1))


def test_keyword_arguments_are_mapped_along_axis_0():
    def fn(x, *, y, power):
        assert y.shape == (4,)
        return ops.sum(y) * x**power

    out = ev.vmap(fn)(X, y=Y, power=2)
    np.testing.assert_array_equal(out.asnumpy(), Y.asnumpy().sum(1, keepdims=True) * X.asnumpy() ** 2)


def test_what_is_no_array_passes_through():
    def fn(x, name, flag):
        assert (name, flag) == ("a", None)
        return x

    np.testing.assert_array_equal(ev.vmap(fn)(X, "a", None).asnumpy(), X.asnumpy())


def test_results_that_are_the_same_for_all_examples():
    constant = Tensor([1.0, 2.0])
    repeated, number, kept = ev.vmap(lambda x: (constant, 5.0, constant), 0, (1, 0, None))(X)
    np.testing.assert_array_equal(repeated.asnumpy(), [[1, 1, 1], [2, 2, 2]])
    np.testing.assert_array_equal(number.asnumpy(), [5, 5, 5])
    np.testing.assert_array_equal(kept.asnumpy(), [1, 2])


def test_arrays_of_numpy_are_mapped_too():
    np.testing.assert_array_equal(ev.vmap(lambda x: x * 2)(X.asnumpy()).asnumpy(), 2 * X.asnumpy())


def test_values_inside_have_the_shape_of_one_example():
    seen = []

    def fn(x):
        seen.append((x.shape, x.ndim, x.size, len(x), str(x.dtype)))
        return x

    ev.vmap(fn)(X)
    assert seen == [((2,), 1, 2, 2, "Float64")]
    texts = []
    ev.vmap(lambda x: texts.append(repr(x)) or x)(X)
    assert texts == ["Tensor(shape=[2], dtype=Float64, value=<traced>)"]


# ---- nesting --------------------------------------------------------------------------------------------------------


def pairwise(x, y):
    return ops.sum(ops.sin(x * y)) + x[0] * y[1] ** 2


def all_pairs(f):
    return ev.vmap(ev.vmap(f, (None, 0)), (0, None))


@pytest.mark.parametrize("run", [lambda f: f, ev.jit])
def test_nested(run):
    a, b = random_arrays(1, (3, 2), (4, 2))
    got = run(all_pairs(pairwise))(Tensor(a), Tensor(b)).asnumpy()
    want = [[pairwise(Tensor(x), Tensor(y)).item() for y in b] for x in a]
    np.testing.assert_allclose(got, want, 1e-13)


@pytest.mark.parametrize("run", [lambda f: f, ev.jit])
def test_gradients_within_and_without(run):
    a, b = map(Tensor, random_arrays(2, (3, 2), (4, 2)))
    inner = run(all_pairs(ev.grad(pairwise)))(a, b).asnumpy()
    outer = run(ev.grad(lambda a, b: ops.sum(all_pairs(pairwise)(a, b))))(a, b).asnumpy()
    assert inner.shape == (3, 4, 2)
    np.testing.assert_allclose(inner.sum(1), outer, 1e-12)
    between = run(ev.vmap(ev.grad(lambda x, b: ops.sum(ev.vmap(pairwise, (None, 0))(x, b))), (0, None)))(a, b)
    np.testing.assert_allclose(between.asnumpy(), outer, 1e-12)


@pytest.mark.parametrize("run", [lambda f: f, ev.jit])
def test_forward_mode_within_and_without(run):
    x, v = map(Tensor, random_arrays(3, (3, 2), (3, 2)))

    def f(x):
        return ops.prod(ops.exp(x)) * x

    inner = run(ev.vmap(lambda x, v: ev.jvp(f, x, v)[1]))(x, v).asnumpy()
    outer = run(lambda x, v: ev.jvp(ev.vmap(f), x, v)[1])(x, v).asnumpy()
    shared = run(ev.vmap(lambda v: ev.jvp(f, x[1], v)[1]))(v).asnumpy()
    want = np.stack([ev.jvp(f, x[i], v[i])[1].asnumpy() for i in range(3)])
    np.testing.assert_allclose(inner, want, 1e-12)
    np.testing.assert_allclose(outer, want, 1e-12)
    np.testing.assert_allclose(shared, [ev.jvp(f, x[1], v[i])[1].asnumpy() for i in range(3)], 1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_order(order):
    def derivative(f, n):
        return f if n == 0 else derivative(ev.grad(f), n - 1)

    check_vmap(derivative(lambda x: ops.tanh(x) * x**3, order), random_arrays(4, (5,))[0], rtol=1e-11)


def test_grad_operation_and_pullbacks():
    weights = Tensor(random_arrays(5, (3, 2))[0])
    gradient = ev.ops.GradOperation(sens_param=True)(lambda x: x**3)
    np.testing.assert_allclose(ev.vmap(gradient)(X, weights).asnumpy(), 3 * X.asnumpy() ** 2 * weights.asnumpy(), 1e-14)
    _, pullback = ev.vjp(lambda x: x**3, X[0])
    np.testing.assert_allclose(ev.vmap(pullback)(weights).asnumpy(), 3 * X.asnumpy()[0] ** 2 * weights.asnumpy(), 1e-14)


@given(st.permutations(["vmap", "grad", "jvp"]), st.booleans())
@settings(max_examples=12, deadline=None)
def test_any_order_of_transforms(order, compiled):
    x = random_arrays(6, (2, 3))[0]

    def wrapped(f, kinds):
        for kind in reversed(kinds):
            f = {
                "vmap": lambda g: ev.vmap(g),
                "grad": lambda g: ev.grad(lambda x: ops.sum(g(x))),
                "jvp": lambda g: lambda x: ev.jvp(g, x, ops.ones_like(x))[1],
            }[kind](f)
        return f

    got = wrapped(lambda x: ops.sin(x) * x, order)
    got = (ev.jit(got) if compiled else got)(Tensor(x)).asnumpy()
    np.testing.assert_allclose(got, 2 * np.cos(x) - x * np.sin(x), 1e-12)


# ---- gradients of each example --------------------------------------------------------------------------------------


class Net(nn.Cell):
    def __init__(self):
        super().__init__()
        self.w = Parameter(random_arrays(7, (2, 4))[0], name="w")
        self.b = Parameter(np.zeros(4), name="b")

    def construct(self, x):
        return ops.tanh(x @ self.w + self.b)


def loss_of(net):
    return lambda x, y: ops.sum((net(x) - y) ** 2)


@pytest.mark.parametrize("run", [lambda f: f, ev.jit])
def test_gradients_of_each_example_by_parameters(run):
    net = Net()
    per_example = run(ev.vmap(ev.grad(loss_of(net), None, weights=net.trainable_params())))(X, Y)
    for got, parameter in zip(per_example, net.trainable_params(), strict=True):
        assert got.shape == (3, *parameter.shape)
    for i in range(3):
        want = ev.grad(loss_of(net), None, weights=net.trainable_params())(X[i], Y[i])
        for got, w in zip(per_example, want, strict=True):
            np.testing.assert_allclose(got.asnumpy()[i], w.asnumpy(), 1e-12)


@pytest.mark.parametrize("run", [lambda f: f, ev.jit])
def test_gradients_of_each_example_by_arguments(run):
    w, b = map(Tensor, random_arrays(8, (2, 4), (4,)))

    def loss(params, x, y):
        return ops.sum((ops.tanh(x @ params[0] + params[1]) - y) ** 2)

    gw, gb = run(ev.vmap(ev.grad(loss), (None, 0, 0)))((w, b), X, Y)
    total = ev.grad(lambda p: ops.sum(ev.vmap(loss, (None, 0, 0))(p, X, Y)))((w, b))
    np.testing.assert_allclose(gw.asnumpy().sum(0), total[0].asnumpy(), 1e-12)
    np.testing.assert_allclose(gb.asnumpy().sum(0), total[1].asnumpy(), 1e-12)


def test_the_sum_of_gradients_of_examples_is_one_product():
    """Compiled, the sum over examples of outer products is a matrix product, and they are never made."""
    w = Tensor(random_arrays(9, (2, 4))[0])

    def step(w, x, y):
        each = ev.vmap(ev.grad(lambda w, x, y: ops.sum((x @ w - y) ** 2)), (None, 0, 0))(w, x, y)
        return ops.sum(each, 0)

    compiled = ev.jit(step)
    np.testing.assert_allclose(compiled(w, X, Y).asnumpy(), step(w, X, Y).asnumpy(), 1e-12)
    assert "(3, 2, 4)" not in compiled.explain()


def test_cells_and_graph_mode(graph_mode):  # noqa: F811
    net = Net()
    np.testing.assert_allclose(ev.vmap(net)(X).asnumpy(), net(X).asnumpy(), 1e-13)
    first = ev.vmap(ev.grad(loss_of(net)))(X, Y).asnumpy()
    np.testing.assert_allclose(first, np.stack([ev.grad(loss_of(net))(X[i], Y[i]).asnumpy() for i in range(3)]), 1e-12)


# ---- parameters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [lambda f: f, ev.jit])
def test_parameters_are_written_the_same_for_all(run):
    p = Parameter([1.0], name="p")

    def fn(x):
        p.set_data(p * 2)
        return x + p

    np.testing.assert_array_equal(run(ev.vmap(fn))(Tensor([[1.0], [2.0]])).asnumpy(), [[3], [4]])
    assert p.asnumpy() == 2


@pytest.mark.parametrize("run", [lambda f: f, ev.jit])
@pytest.mark.parametrize("inner", [lambda f: f, ev.grad])
def test_parameters_cannot_hold_a_value_per_example(run, inner):
    p = Parameter([1.0], name="p")

    def fn(x):
        p.set_data(x * 2)
        return ops.sum(x + p)

    with pytest.raises(TraceError, match=r"'p' cannot be set inside vmap to a value per example"):
        run(ev.vmap(inner(fn)))(Tensor([[1.0], [2.0]]))
    assert p.asnumpy() == 1


def test_random_numbers_are_the_same_for_all():
    out = ev.vmap(lambda x: x * 0 + ops.uniform((2,), 3))(X).asnumpy()
    assert (out == out[0]).all()
    drawn = ops.uniform((3, 2), 3)
    np.testing.assert_array_equal(ev.vmap(lambda x, u: u, (0, 0))(X, drawn).asnumpy(), drawn.asnumpy())


# ---- control flow ---------------------------------------------------------------------------------------------------


def test_the_branch_not_taken_does_not_disturb_gradients():
    def fn(x):
        return ops.cond(x > 0, lambda x: ops.log(x), lambda x: x * 3, x)

    x = Tensor([2.0, -1.0, 0.0])
    for run in (lambda f: f, ev.jit):
        np.testing.assert_allclose(run(ev.vmap(ev.grad(fn)))(x).asnumpy(), [0.5, 3, 3])


def test_a_condition_that_is_the_same_for_all_runs_one_branch():
    calls = []

    def taken(x):
        calls.append("taken")
        return x

    def other(x):
        calls.append("other")
        return x

    ev.vmap(lambda x, p: ops.cond(p > 0, taken, other, x), (0, None))(X, Tensor(1.0))
    assert calls == ["taken"]


def test_loops_become_loops_per_example_when_they_part():
    """The first steps are taken together; then the condition begins to differ."""

    def fn(x):
        return ops.while_loop(
            lambda s: ops.logical_and(s[0] < 10, s[1] < 20), lambda s: (s[0] + 1, s[1] + s[0] * x), (0.0, x * 0)
        )

    check_vmap(fn, np.array([0.0, 1.0, 5.0]))


@pytest.mark.parametrize("modes", ["eager", "jit"])
def test_derivatives_of_loops_of_different_length(modes):
    def fn(x):
        return ops.while_loop(lambda s: s < 10, lambda s: s * x + ops.sin(s), x)

    for f in (ev.grad(fn), ev.grad(ev.grad(fn)), lambda x: ev.jvp(ev.grad(fn), x, ops.ones_like(x))[1]):
        check_vmap(f, np.array([1.5, 3.0, 12.0, 2.0]), rtol=1e-9, modes=[modes])
    x = np.array([1.5, 3.0, 12.0, 2.0])
    run = ev.jit if modes == "jit" else lambda f: f
    got = run(ev.grad(lambda x: ops.sum(ev.vmap(fn)(x))))(Tensor(x)).asnumpy()
    np.testing.assert_allclose(got, [ev.grad(fn)(Tensor(v)).item() for v in x], 1e-9)


def test_control_flow_nests():
    def fn(n, x):
        def body(i, s):
            return ops.cond(s > 3, lambda s: s - x, lambda s: ops.while_loop(lambda t: t < i, lambda t: t + x, s), s)

        return ops.fori_loop(0, n, body, x * 0)

    n, x = np.array([0, 3, 6]), np.array([0.5, 0.7, 1.5])
    check_vmap(fn, n, x)
    check_vmap(lambda n, x: ev.grad(fn, 1)(n, x), n, x, rtol=1e-11)


def test_loops_with_written_parameters():
    count = Parameter(0.0, name="count")

    def fn(x):
        def body(s):
            count.set_data(count + 1)
            return s * 2

        return ops.while_loop(lambda s: s < 4, body, x)

    same = ev.jit(ev.vmap(lambda y, x: y + fn(x), (0, None)))
    np.testing.assert_array_equal(same(Tensor([0.0, 1.0]), Tensor(1.0)).asnumpy(), [4, 5])
    assert count.asnumpy() == 2
    with pytest.raises(TraceError, match="'count' cannot be set inside vmap"):
        ev.jit(ev.vmap(fn))(Tensor([1.0, 2.0]))


# ---- sharing --------------------------------------------------------------------------------------------------------


def recorded(fn, x):
    """Return how many operations a recording of fn has before the passes."""
    compiled = ev._compile.Compiled(fn, passes=[])
    compiled(x)
    lines = compiled.explain().splitlines()
    return sum(line.startswith("%") and " = " in line and not line.endswith("constant") for line in lines)


def test_recordings_have_as_many_operations_as_those_of_one_example():
    def chain(x):
        for _ in range(5):
            x = ops.sin(x) * 0.9 + x
        return x

    def forward(f, order):
        return f if order == 0 else forward(lambda x: ev.jvp(f, x, ops.ones_like(x))[1], order - 1)

    def reverse(f, order):
        return f if order == 0 else reverse(ev.grad(f), order - 1)

    for f in (forward(chain, 2), forward(chain, 8), reverse(chain, 4)):
        assert recorded(ev.vmap(f), Tensor([0.1, 0.2])) == recorded(f, Tensor(0.1))


def test_first_derivatives_by_several_inputs_are_one_sweep():
    """Tangents are pushed, one per input, only where derivatives nest."""

    def gradient(f):
        return lambda x: sum(ev.grad(f, (0, 1, 2))(x, 2 * x, 3 * x))

    def fn(x, y, z):
        return ops.sin(x * y * z) * ops.exp(y)

    plain, x = recorded(gradient(fn), Tensor(0.1)), Tensor([0.1, 0.2])
    assert recorded(ev.vmap(gradient(fn)), x) == plain
    assert recorded(gradient(ev.vmap(fn)), x) == plain


# ---- errors ---------------------------------------------------------------------------------------------------------


def identity(x):
    return x


@pytest.mark.parametrize(
    ("error", "match", "call"),
    [
        (TypeError, "vmap: needs a function or a cell, got int", lambda: ev.vmap(3)),
        (ShapeError, r"axis 0 of argument 0, of shape \(3, 2\), has 3 examples, but axis 1 of argument 1.* has 4",
         lambda: ev.vmap(ops.add, (0, 1))(X, Y)),
        (ValueError, "no input is mapped", lambda: ev.vmap(identity, None)(X)),
        (ValueError, "no input is mapped", lambda: ev.vmap(lambda: X)()),
        (ValueError, r"axis 2 for argument 0, which has shape \(3, 2\)", lambda: ev.vmap(identity, 2)(X)),
        (ValueError, r"axis -3 for argument 0", lambda: ev.vmap(identity, -3)(X)),
        (ValueError, r"axis 0 for argument 0, which has shape \(\)", lambda: ev.vmap(identity)(Tensor(1.0))),
        (ValueError, r"argument 1, which is a number \(float\); give None", lambda: ev.vmap(ops.add)(X, 1.0)),
        (ValueError, "in_axes has 1 entries for 2", lambda: ev.vmap(ops.add, (0,))(X, X)),
        (ValueError, "in_axes must have the structure", lambda: ev.vmap(identity, ((0, 0),))((X, X, X))),
        (DTypeError, "in_axes must be an integer, None, or a tuple", lambda: ev.vmap(identity, "a")(X)),
        (DTypeError, "in_axes must be made of integers and None, got str", lambda: ev.vmap(identity, ("a",))(X)),
        (DTypeError, "in_axes must be made of integers and None, got bool", lambda: ev.vmap(identity, (True,))(X)),
        (ValueError, r"out_axes is None for the output, of shape \(2,\)", lambda: ev.vmap(identity, 0, None)(X)),
        (ValueError, r"out_axes has axis 2 for the output, which has shape \(2,\)", lambda: ev.vmap(identity, 0, 2)(X)),
        (ValueError, "out_axes has axis -3 for output 1", lambda: ev.vmap(lambda x: (x, x), 0, (0, -3))(X)),
        (ValueError, "out_axes must have the structure", lambda: ev.vmap(lambda x: (x, x), 0, (0,))(X)),
        (DTypeError, "out_axes must be made of", lambda: ev.vmap(identity, 0, "a")(X)),
        (DTypeError, "must return tensors .* not str", lambda: ev.vmap(lambda x: "a")(X)),
        (TraceError, "inside vmap has a value per example", lambda: ev.vmap(lambda x: x * float(x[0]))(X)),
        (TraceError, "inside vmap has a value per example", lambda: ev.vmap(lambda x: x if x[0] > 0 else -x)(X)),
        (TraceError, "inside vmap has a value per example", lambda: ev.vmap(lambda x: x[x > 0])(X)),
        (TraceError, "inside vmap has a value per example", lambda: ev.grad(ev.vmap(lambda x: x.asnumpy()))(X)),
        # Errors of operations speak of one example.
        (ShapeError, r"matmul: shapes \(2,\) and \(4,\)", lambda: ev.vmap(ops.matmul)(X, Y)),
        (ShapeError, r"add: .*\(2,\) and \(4,\)", lambda: ev.vmap(ops.add)(X, Y)),
        (IndexError, "axis 1 is out of range for a tensor of 1 axis", lambda: ev.vmap(lambda x: ops.sum(x, 1))(X)),
        (ShapeError, "at most 8 axes", lambda: ev.vmap(lambda x: ops.broadcast_to(x, (1,) * 7 + (2,)))(X)),
    ],
)  # fmt: skip
def test_errors(error, match, call):
    with pytest.raises(error, match=match):
        call()
    assert ev._evolute.at_top_level()


def test_values_cannot_outlive_vmap():
    kept = []
    ev.vmap(lambda x: kept.append(x) or x)(X)
    with pytest.raises(TraceError, match=r"made inside vmap, .* has outlived it"):
        kept[0] + 1
    with pytest.raises(TraceError, match="inside vmap"):
        kept[0].asnumpy()
    with pytest.raises(TraceError, match="outlived"):
        ev.vmap(lambda x: kept[0])(X)


def test_an_error_inside_leaves_everything_as_it_was():
    p = Parameter([1.0], name="p")

    def fn(x):
        p.set_data(p * 2)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        ev.vmap(fn)(X)
    assert p.asnumpy() == 1
    assert_close(ev.vmap(identity)(X).asnumpy(), X.asnumpy(), 0)
