"""Hooks of cells and gradients, and cells with a bprop."""

import copy

import numpy as np
import pytest
from checks import as_double

import evolute as ev
from evolute import DTypeError, Parameter, Tensor, nn, ops

X, Y = as_double([1.0, 2.0]), as_double([3.0, 5.0])


class Product(nn.Cell):
    def __init__(self):
        super().__init__()
        self.w = Parameter(as_double([2.0, 4.0]), name="w")

    def construct(self, x, y, power=1):
        return self.w * x * y**power


class OwnRule(nn.Cell):
    """Gradients ten times, and hundred times, what they are."""

    def construct(self, x, y, scale=1.0):
        return x * y * scale

    def bprop(self, x, y, scale, out, dout):
        return 10 * dout * y * scale, 100 * dout * out / y, None


@pytest.fixture(params=["eager", "jit", "graph mode"])
def run(request):
    if request.param == "graph mode":
        ev.set_context(mode=ev.GRAPH_MODE)
    yield ev.jit if request.param == "jit" else lambda f: f
    ev.set_context(mode=ev.PYNATIVE_MODE)


# ---- bprop


def test_bprop(run):
    cell = OwnRule()
    assert cell(X, Y).tolist() == [3, 10]
    by_x, by_y = run(ev.grad(cell, (0, 1)))(X, Y)
    assert by_x.tolist() == [30, 50]
    assert by_y.tolist() == [100, 200]
    by_x, by_y = run(ev.grad(lambda x, y: cell(y=y, scale=3.0, x=x), (0, 1)))(X, Y)
    assert by_x.tolist() == [90, 150]
    assert by_y.tolist() == [300, 600]


def test_bprop_in_other_modes_and_orders(run):
    cell = OwnRule()
    assert run(lambda x, y: ev.jvp(lambda x: cell(x, y), x, x)[1])(X, Y).tolist() == [30, 100]
    # d/dx of 100 out / y: the output has the rule's derivative too
    mixed = run(ev.grad(lambda x, y: ops.sum(ev.grad(cell, 1)(x, y))))(X, Y)
    np.testing.assert_allclose(mixed.asnumpy(), [1000, 1000], rtol=1e-14)
    assert run(ev.vmap(ev.grad(cell)))(X, Y).tolist() == [30, 50]


def test_bprop_of_one_input_may_give_a_tensor():
    class Cell(nn.Cell):
        def construct(self, x):
            return 2 * x, x

        def bprop(self, x, out, dout):
            assert len(out) == len(dout) == 2
            return dout[0] * 20 + dout[1]

    assert ev.grad(Cell())(X).tolist() == [21, 21]


def test_parameters_of_a_cell_with_bprop_get_no_gradient():
    class Cell(nn.Cell):
        def __init__(self):
            super().__init__()
            self.w = Parameter(as_double([2.0, 4.0]), name="w")

        def construct(self, x):
            return self.w * x

        def bprop(self, x, out, dout):
            return (self.w * dout,)

    cell = Cell()
    by_x, by_w = ev.grad(cell, 0, weights=cell.trainable_params())(X)
    assert by_x.tolist() == [2, 4]
    assert by_w[0].tolist() == [0, 0]


def test_bprop_errors():
    class Cell(nn.Cell):
        def construct(self, x, y):
            return x * y

        def bprop(self, x, y, out, dout):
            return (dout,)

    with pytest.raises(
        ValueError, match="cell Cell: bprop: the backward rule must return a tuple with one gradient for"
    ):
        ev.grad(Cell())(X, Y)
    with pytest.raises(TypeError, match="missing a required argument: 'y'"):
        Cell()(X)


# ---- hooks on what goes forward


def test_forward_hooks():
    cell = Product()
    calls = []
    pre = cell.register_forward_pre_hook(lambda c, args: calls.append((c, len(args))))
    double = cell.register_forward_pre_hook(lambda c, args: (2 * args[0], *args[1:]))
    kw = cell.register_forward_pre_hook(lambda c, args, kwargs: (args, {"power": 2}), with_kwargs=True)
    post = cell.register_forward_hook(lambda c, args, out: out + 1)
    seen = cell.register_forward_hook(lambda c, args, kwargs, out: calls.append(kwargs), with_kwargs=True, prepend=True)
    assert cell(X, Y).tolist() == [37, 401]
    assert calls == [(cell, 2), {"power": 2}]
    assert ev.grad(lambda x: ops.sum(cell(x, Y)))(X).tolist() == [36, 200]
    for handle in (pre, double, kw, post, seen):
        handle.remove()
        handle.remove()
    assert cell(X, Y).tolist() == [6, 40]
    only = cell.register_forward_pre_hook(lambda c, args: 0 * args[0])
    with pytest.raises(TypeError, match="'y'"):
        cell(X, Y)
    only.remove()


def test_hooks_come_and_go_in_graph_mode():
    ev.set_context(mode=ev.GRAPH_MODE)
    try:
        cell = Product()
        assert cell(X, Y).tolist() == [6, 40]
        handle = cell.register_forward_hook(lambda c, args, out: -out)
        assert cell(X, Y).tolist() == [-6, -40]
        handle.remove()
        assert cell(X, Y).tolist() == [6, 40]
    finally:
        ev.set_context(mode=ev.PYNATIVE_MODE)


# ---- hooks on gradients


def test_backward_hooks_see_gradients():
    cell = Product()
    seen = []
    cell.register_backward_hook(lambda c, grad_input, grad_output: seen.append((c, grad_input, grad_output)))
    cell.register_backward_pre_hook(lambda c, grad_output: seen.append(grad_output))
    by_x, by_w = ev.grad(lambda x, y: 3 * cell(x, y), 0, weights=cell.w)(X, Y)
    assert by_x.tolist() == [18, 60]
    assert by_w.tolist() == [9, 30]
    (pre,), (owner, grad_input, grad_output) = seen
    assert owner is cell
    assert pre.tolist() == grad_output[0].tolist() == [3, 3]
    assert [g.tolist() for g in grad_input] == [[18, 60], [6, 24]]
    seen.clear()
    cell(X, Y)
    assert not seen


def test_backward_hooks_replace_gradients(run):
    cell = Product()
    handle = cell.register_backward_hook(lambda c, grad_input, grad_output: (10 * grad_input[0], None))
    by_x, by_y = run(ev.grad(lambda x, y: cell(x, y), (0, 1)))(X, Y)
    assert by_x.tolist() == [60, 200]
    assert by_y.tolist() == [0, 0]
    handle.remove()
    cell.register_backward_pre_hook(lambda c, grad_output: 5 * grad_output[0])
    assert run(ev.grad(lambda x, y: cell(x, y)))(X, Y).tolist() == [30, 100]


def test_backward_hooks_where_parameters_alone_are_differentiated():
    cell = Product()
    seen = []
    cell.register_backward_hook(lambda c, grad_input, grad_output: seen.append((grad_input, grad_output[0].tolist())))
    ev.grad(cell, None, weights=cell.trainable_params())(X, Y)
    assert seen == [((), [1, 1])]


def test_several_outputs_and_no_tensor_inputs():
    class Cell(nn.Cell):
        def construct(self, x, name, n):
            assert name == "name"
            return x * n, x + n

    cell = Cell()
    seen = []
    cell.register_backward_hook(lambda c, i, o: seen.append((len(i), len(o))))
    assert ev.grad(lambda x: cell(x, "name", 3))(X).tolist() == [4, 4]
    assert seen == [(1, 2)]


def test_hooked_cells_can_be_copied():
    cell = Product()
    cell.register_forward_hook(lambda c, args, out: -out)
    assert copy.deepcopy(cell)(X, Y).tolist() == [-6, -40]


def test_hook_errors():
    for kind in ("forward_pre", "forward", "backward_pre", "backward"):
        with pytest.raises(TypeError, match=f"register_{kind}_hook: needs a function, got int"):
            getattr(Product(), f"register_{kind}_hook")(3)
    with pytest.raises(TypeError, match="HookBackward: hook_fn must be a function, got int"):
        ops.HookBackward(3)
    with pytest.raises(TypeError, match="InsertGradientOf: f must be a function, got None"):
        ops.InsertGradientOf(None)
    with pytest.raises(DTypeError, match="HookBackward: a gradient must be a tensor"):
        ev.grad(lambda x: ops.HookBackward(lambda g: "g")(x))(X)


def test_rules_that_are_not_linear_are_pulled_back(run):
    """One number in, so that nested derivatives would rather be pushed forward while recording."""
    clip = ops.InsertGradientOf(lambda g: ops.clip(g, -1.0, 1.0))

    def f(x):
        return clip(x) ** 3

    def in_scan(x):
        return ops.scan(lambda c, _: (c + f(x), None), 0.0 * x, length=1)[0]

    for fn in (f, in_scan):
        for at, slope, curvature in ((2.0, 1.0, 0.0), (0.125, 0.046875, 0.75)):
            x = as_double(at)
            assert run(ev.grad(fn))(x).item() == slope
            assert run(ev.grad(ev.grad(fn)))(x).item() == curvature
            assert run(lambda x, fn=fn: ev.jvp(ev.grad(fn), x, as_double(1.0))[1])(x).item() == curvature


def test_primitives(run):
    seen = []

    def f(x, y):
        z = ops.HookBackward(lambda g: seen.append(g))(x * y)
        a, b = ops.HookBackward(lambda g: (2 * g[0], g[1]))(z, y)
        return ops.InsertGradientOf(lambda g: ops.clip(g, 0.0, 4.0))(a * b)

    by_x, by_y = run(ops.GradOperation(get_all=True)(f))(X, Y)
    np.testing.assert_allclose(by_x.asnumpy(), 2 * Y.asnumpy() ** 2)
    np.testing.assert_allclose(by_y.asnumpy(), 3 * (X * Y).asnumpy())
    assert len(seen) == 1
    assert f(Tensor(2.0), Tensor(3.0)).item() == 18
