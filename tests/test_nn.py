"""The cells that come with the library: rows, layers, losses and derivatives, in both modes."""

import numpy as np
import pytest

import evolute as ev
from evolute import Parameter, ParameterTuple, ShapeError, Tensor, nn, ops
from evolute.common.initializer import Normal

pytestmark = pytest.mark.usefixtures("mode")


@pytest.fixture(params=[ev.GRAPH_MODE, ev.PYNATIVE_MODE], ids=["graph", "pynative"])
def mode(request):
    ev.set_context(mode=request.param)
    yield request.param
    ev.set_context(mode=ev.PYNATIVE_MODE)


class Scale(nn.Cell):
    def __init__(self, factor=2.0):
        super().__init__()
        self.factor = Parameter([factor])

    def construct(self, x):
        return self.factor * x


def names(cell):
    return [path for path, _ in cell.parameters_and_names()]


X = Tensor([1.0, 2.0])


# ---- Rows of cells


def test_sequential_cell():
    a, b, c = Scale(2.0), Scale(3.0), Scale(5.0)
    net = nn.SequentialCell([a, b])
    assert str(net(X)) == "[ 6. 12.]"
    assert net.append(c) is net
    assert str(net(X)) == "[30. 60.]"
    assert (len(net), net[0], net[-1], list(net)) == (3, a, c, [a, b, c])
    assert str(net[1:](X)) == "[15. 30.]"
    assert [p.name for p in net.get_parameters()] == ["0.factor", "1.factor", "2.factor"]
    net[1] = Scale(1.0)
    del net[0]
    assert str(net(X)) == "[ 5. 10.]"
    assert names(net) == ["0.factor", "1.factor"]
    net.insert(0, a)
    assert net[0] is a
    assert str(net(X)) == "[10. 20.]"


def test_sequential_cell_of_named_cells():
    net = nn.SequentialCell({"up": Scale(2.0), "down": Scale(0.5)})
    assert names(net) == ["up.factor", "down.factor"]
    assert net.up is net[0]
    assert str(net(X)) == "[1. 2.]"


def test_cell_list():
    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.layers = nn.CellList([Scale(2.0), Scale(3.0)])

        def construct(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    net = Net()
    assert str(net(X)) == "[ 6. 12.]"
    net.layers.extend([Scale(0.5)])
    assert str(net(X)) == "[3. 6.]"
    assert names(net) == ["layers.0.factor", "layers.1.factor", "layers.2.factor"]


def test_rows_take_cells_only():
    with pytest.raises(TypeError, match="SequentialCell: member 1 is a function, not a Cell"):
        nn.SequentialCell(Scale(), lambda x: x)
    with pytest.raises(TypeError, match="CellList: needs cells, got a int"):
        nn.CellList(3)
    row = nn.CellList([Scale()])
    with pytest.raises(TypeError, match="member 1 is a int"):
        row.append(3)
    assert len(row) == 1


def test_many_cells_are_named_quickly():
    row = nn.CellList([nn.Dense(1, 1) for _ in range(1000)])
    assert row[999].weight.name == "999.weight"


# ---- Layers


def test_dense():
    rng = np.random.default_rng(0)
    w, b, x = (rng.normal(size=shape) for shape in [(4, 3), (4,), (2, 5, 3)])
    net = nn.Dense(3, 4, Tensor(w), Tensor(b), activation="tanh", dtype=ev.float64)
    np.testing.assert_allclose(net(Tensor(x)).asnumpy(), np.tanh(x @ w.T + b), rtol=1e-12)
    np.testing.assert_allclose(net(Tensor(x[0, 0])).asnumpy(), np.tanh(w @ x[0, 0] + b), rtol=1e-12)
    assert [(p.name, p.shape) for p in net.trainable_params()] == [("weight", (4, 3)), ("bias", (4,))]


def test_dense_options():
    assert names(nn.Dense(2, 2, has_bias=False)) == ["weight"]
    assert nn.Dense(2, 2, dtype=ev.float64).weight.dtype == ev.float64
    assert abs(nn.Dense(100, 100).weight.asnumpy()).max() <= 0.1
    np.testing.assert_array_equal(
        nn.Dense(3, 3, Normal(seed=1)).weight.asnumpy(), nn.Dense(3, 3, Normal(seed=1)).weight.asnumpy()
    )
    assert str(nn.Dense(2, 1, "ones", 1, activation=ops.Neg())(X)) == "[-4.]"


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((0, 1), ValueError, "in_channels is a positive integer, got 0"),
        ((1, 2.0), ValueError, "out_channels is a positive integer, got 2.0"),
        ((1, 2, "nothing"), ValueError, "no initialiser is named 'nothing'"),
        ((1, 2, Tensor([1.0])), ShapeError, r"has shape \(1,\), but \(2, 1\) is wanted"),
        ((1, 2, None, None, True, "nothing"), ValueError, "activation: none is named 'nothing'; there are tanh"),
        ((1, 2, None, None, True, 3), TypeError, "activation: needs a name, a cell or another callable, got a int"),
    ],
)
def test_bad_dense(args, error, message):
    with pytest.raises(error, match=message):
        nn.Dense(*args)


@pytest.mark.parametrize(
    ("cell", "function"),
    [
        (nn.Tanh(), np.tanh),
        (nn.Sin(), np.sin),
        (nn.ReLU(), lambda x: np.maximum(x, 0)),
        (nn.LeakyReLU(), lambda x: np.where(x > 0, x, 0.2 * x)),
        (nn.Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
        (nn.SiLU(), lambda x: x / (1 + np.exp(-x))),
        (nn.Softplus(), lambda x: np.log1p(np.exp(x))),
        (nn.GELU(approximate=True), lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))),
        (nn.Softmax(), lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
        (nn.LogSoftmax(0), lambda x: x - np.log(np.exp(x).sum(0))),
        (nn.Flatten(), lambda x: x.reshape(2, -1)),
        (nn.Identity(), lambda x: x),
    ],
    ids=lambda value: type(value).__name__,
)
def test_cells_without_parameters(cell, function):
    x = np.array([[-1.5, 0.3, 2.0], [0.1, -0.2, 0.0]])
    np.testing.assert_allclose(cell(Tensor(x)).asnumpy(), function(x), rtol=1e-13)


def test_gelu_and_its_approximation_are_close():
    x = Tensor(np.linspace(-4, 4, 33))
    np.testing.assert_allclose(nn.GELU()(x).asnumpy(), nn.GELU(True)(x).asnumpy(), atol=1e-3)


@pytest.mark.parametrize(("reduction", "mse", "l1"), [("mean", 2.5, 1.5), ("sum", 5.0, 3.0), ("none", [1, 4], [1, 2])])
def test_losses(reduction, mse, l1):
    a, b = Tensor([1.0, 2.0]), Tensor([2.0, 4.0])
    np.testing.assert_array_equal(nn.MSELoss(reduction)(a, b).asnumpy(), mse)
    np.testing.assert_array_equal(nn.L1Loss(reduction)(a, b).asnumpy(), l1)


def test_bad_reduction():
    with pytest.raises(ValueError, match="MSELoss: reduction is 'mean', 'sum' or 'none', got 'max'"):
        nn.MSELoss("max")


# ---- Derivatives as cells


def test_jvp_and_vjp_cells():
    def f(x, y):
        return x * y, x + y

    x, y, one, zero = Tensor([2.0]), Tensor([3.0]), Tensor([1.0]), Tensor([0.0])
    value, derivative = nn.Jvp(f)(x, y, (one, zero))
    assert [str(t) for t in (*value, *derivative)] == ["[6.]", "[5.]", "[3.]", "[1.]"]
    value, gradients = nn.Vjp(f)(x, y, (one, one))
    assert [str(t) for t in (*value, *gradients)] == ["[6.]", "[5.]", "[4.]", "[3.]"]


def test_jvp_and_vjp_cells_of_one_input():
    square = nn.Jvp(lambda x: x * x)
    for v in (Tensor([1.0]), (Tensor([1.0]),)):
        assert [str(t) for t in square(Tensor([3.0]), v)] == ["[9.]", "[6.]"]
    assert [str(t) for t in nn.Vjp(lambda x: x * x)(Tensor([3.0]), Tensor([1.0]))] == ["[9.]", "[6.]"]


@pytest.mark.parametrize("kind", [nn.Jvp, nn.Vjp])
def test_bad_derivative_cells(kind):
    with pytest.raises(TypeError, match=f"{kind.__name__}: needs a function or a cell, got a int"):
        kind(3)
    with pytest.raises(TypeError, match=f"{kind.__name__}: is called with the inputs and then the"):
        kind(Scale())(X)
    with pytest.raises(ShapeError):
        kind(Scale())(X, Tensor([1.0, 2.0, 3.0]))


def test_training_lowers_the_loss():
    net = nn.SequentialCell(
        nn.Dense(1, 16, Normal(1.0, seed=1), activation="tanh"), nn.Dense(16, 1, Normal(0.1, seed=2))
    )
    loss = nn.MSELoss()
    x = Tensor(np.linspace(-1, 1, 32, dtype=np.float32).reshape(32, 1))
    y = ops.sin(x * 3.0)
    weights = ParameterTuple(net.trainable_params())

    def forward(x, y):
        return loss(net(x), y)

    class Step(nn.Cell):
        def __init__(self):
            super().__init__()
            self.net = net
            self.rate = 0.1

        def construct(self, x, y):
            value, gradients = ev.value_and_grad(forward, None, weights=weights)(x, y)
            for weight, gradient in zip(weights, gradients, strict=True):
                ops.assign_sub(weight, gradient * self.rate)
            return value

    step = Step()
    losses = [step(x, y).item() for _ in range(200)]
    assert losses[-1] < 0.1 * losses[0]
