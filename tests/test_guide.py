"""The examples of the gradient guide, in both modes: documented numbers, printed text, and what the guide says."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import evolute as ev
from evolute import Tensor, nn, ops

FOLDER = Path(__file__).parent.parent / "examples"
MODES = [pytest.param(ev.GRAPH_MODE, id="graph"), pytest.param(ev.PYNATIVE_MODE, id="pynative")]


sys.path.insert(0, str(FOLDER))
guide = importlib.import_module("guide")
first_order, higher_order = guide.first_order, guide.higher_order


@pytest.fixture
def mode(request):
    ev.set_context(mode=request.param)
    yield request.param
    ev.set_context(mode=ev.PYNATIVE_MODE)


@pytest.mark.parametrize("mode", [ev.GRAPH_MODE, ev.PYNATIVE_MODE], ids=["graph", "pynative"])
@pytest.mark.parametrize("example", guide.EXAMPLES, ids=lambda example: example.run.__name__)
def test_example(example, mode):
    output = example.output(mode)
    assert example.agrees(output), f"{output}\n--- documented:\n{example.documented}"
    same_values = [float(n) for n in guide.numbers(output)] == [float(n) for n in guide.numbers(example.documented)]
    if same_values and not example.loose:
        assert output == example.documented


def test_most_outputs_are_the_documented_text():
    same = [example for example in guide.EXAMPLES if example.output(ev.GRAPH_MODE) == example.documented]
    assert len(same) >= 8  # one more without fused multiply-add, which changes the last digit of a sum of products


def test_all_examples_of_the_guide_are_there():
    assert len(guide.EXAMPLES) == 15


@pytest.mark.parametrize(
    ("documented", "output", "loose", "agrees"),
    [
        ("[1.5 2.]", "[1.5 2.]", False, True),
        ("[1.5 2.]", "[1.5 2.0000002]", False, True),
        ("[1.5 2.]", "[1.5 2.000001]", False, False),
        ("[1.5 2.]", "[1.5 nan]", False, False),
        ("[1.5 2.]", "[1.5 2. 2.]", False, False),
        ("[1.5 2.]", "([1.5 2.])", False, False),
        ("[1.5 2.]", "[1.5  2.]", False, False),
        ("[1.5, 2.0]", "[1.5  2.01]", True, True),
        ("[1.5, 2.0]", "[1.5  2.06]", True, False),
        ("shape=[2], dtype=Float32, value= [ 1.5]", "shape=[2], dtype=Float64, value= [ 1.5]", False, False),
        ("shape=[2], dtype=Float32, value= [ 1.5]", "shape=[3], dtype=Float32, value= [ 1.5]", False, False),
    ],
)
def test_the_comparison_can_fail(documented, output, loose, agrees):
    assert guide.Example("", print, documented, loose).agrees(output) is agrees


@pytest.mark.parametrize("mode", MODES, indirect=True)
def test_get_all_gives_both_inputs(mode):
    # "To differentiate with respect to x and y, set GradOperation(get_all=True)."
    class GradNet(nn.Cell):
        def __init__(self, net):
            super().__init__()
            self.net = net
            self.grad_op = ops.GradOperation(get_all=True)

        def construct(self, x, y):
            return self.grad_op(self.net)(x, y)

    x, y = first_order.MATRIX_X.asnumpy(), first_order.MATRIX_Y.asnumpy()
    dx, dy = GradNet(first_order.MatMulNet())(first_order.MATRIX_X, first_order.MATRIX_Y)
    np.testing.assert_allclose(dx.asnumpy(), np.ones((2, 3)) @ y.T, rtol=1e-6)
    np.testing.assert_allclose(dy.asnumpy(), x.T @ np.ones((2, 3)), rtol=1e-6)


@pytest.mark.parametrize("mode", MODES, indirect=True)
def test_single_output_by_scaling_as_by_indexing(mode):
    # "Set the scale of that place to 1 and the others to 0; or change the network."
    first = Tensor(np.array([[1, 0, 0], [0, 0, 0]], np.float32))
    scaled = ops.GradOperation(sens_param=True)(first_order.MatMulNet())(
        first_order.MATRIX_X, first_order.MATRIX_Y, first
    )
    np.testing.assert_allclose(scaled.asnumpy(), [[0.11, 1.1, 1.1], [0, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("mode", MODES, indirect=True)
@pytest.mark.parametrize(
    ("name", "second"),
    [
        ("Log", lambda x: -1 / x**2),
        ("Square", lambda x: 2 + 0 * x),
        ("Exp", np.exp),
        ("Neg", lambda x: 0 * x),
        ("Sin", lambda x: -np.sin(x)),
        ("Cos", lambda x: -np.cos(x)),
        ("Tan", lambda x: 2 * np.tan(x) / np.cos(x) ** 2),
        ("Sinh", np.sinh),
        ("Cosh", np.cosh),
        ("Atanh", lambda x: 2 * x / (1 - x**2) ** 2),
    ],
)
def test_second_order_of_the_operators_the_guide_lists(name, second, mode):
    values = np.array([0.2, 0.5, 0.7])
    derivative = higher_order.Grad(higher_order.Grad(getattr(ops, name)()))
    np.testing.assert_allclose(derivative(Tensor(values)).asnumpy(), second(values), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("mode", MODES, indirect=True)
@pytest.mark.parametrize(
    ("name", "dxdx", "dxdy", "dydy"),
    [
        (
            "Pow",
            lambda x, y: y * (y - 1) * x ** (y - 2),
            lambda x, y: x ** (y - 1) * (1 + y * np.log(x)),
            lambda x, y: x**y * np.log(x) ** 2,
        ),
        ("Mul", lambda x, y: 0 * x, lambda x, y: 1 + 0 * x, lambda x, y: 0 * x),
        ("Div", lambda x, y: 0 * x, lambda x, y: -1 / y**2, lambda x, y: 2 * x / y**3),
    ],
)
def test_mixed_second_order_of_the_operators_the_guide_lists(name, dxdx, dxdy, dydy, mode):
    a, b = np.array([0.5, 1.5, 2.0]), np.array([2.5, 0.7, 3.0])
    x, y = Tensor(a), Tensor(b)
    one, zero = Tensor(np.ones(3)), Tensor(np.zeros(3))
    first = ops.GradOperation(get_all=True)(getattr(ops, name)())
    second = ops.GradOperation(get_all=True, sens_param=True)(first)
    xx, xy = second(x, y, (one, zero))
    yx, yy = second(x, y, (zero, one))
    np.testing.assert_allclose(xx.asnumpy(), dxdx(a, b), rtol=1e-13)
    np.testing.assert_allclose(xy.asnumpy(), dxdy(a, b), rtol=1e-13)
    np.testing.assert_allclose(yx.asnumpy(), dxdy(a, b), rtol=1e-13)
    np.testing.assert_allclose(yy.asnumpy(), dydy(a, b), rtol=1e-13)


def test_quickstart_runs_and_says_that_all_agree():
    run = subprocess.run(
        [sys.executable, FOLDER / "quickstart.py"], capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "15 of 15 examples agree" in run.stdout
    assert run.stderr == ""
