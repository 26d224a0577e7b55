"""Cells: calling them, what follows changes, and copies, in both modes."""

import copy
import gc
import pickle
import warnings
import weakref

import numpy as np
import pytest

import evolute as ev
from evolute import Parameter, ShapeError, Tensor, nn, ops

pytestmark = pytest.mark.usefixtures("mode")


@pytest.fixture(params=[ev.GRAPH_MODE, ev.PYNATIVE_MODE], ids=["graph", "pynative"])
def mode(request):
    ev.set_context(mode=request.param)
    yield request.param
    ev.set_context(mode=ev.PYNATIVE_MODE)


class Scale(nn.Cell):
    def __init__(self, factor=2.0, name=None):
        super().__init__()
        self.factor = Parameter([factor], name=name)

    def construct(self, x):
        return self.factor * x


class Two(nn.Cell):
    def __init__(self, first=None, second=None):
        super().__init__()
        self.first = first or Scale(2.0)
        self.second = second or Scale(3.0)

    def construct(self, x):
        return self.second(self.first(x))


def names(cell):
    return [path for path, _ in cell.parameters_and_names()]


X = Tensor([1.0, 2.0])


# ---- Calling


def test_call_runs_construct():
    assert str(Two()(X)) == "[ 6. 12.]"


def test_keyword_and_static_arguments():
    class Net(nn.Cell):
        def construct(self, x, *, times=1, negate=False):
            return -x * times if negate else x * times

    net = Net()
    assert str(net(X, times=3)) == "[3. 6.]"
    assert str(net(X, times=4)) == "[4. 8.]"
    assert str(net(X, negate=True)) == "[-1. -2.]"


def test_structured_inputs_and_outputs():
    class Net(nn.Cell):
        def construct(self, pair, named):
            return {"sum": pair[0] + pair[1]}, (named["x"] * 2, None, "text")

    out, (doubled, nothing, text) = Net()((X, X), {"x": X})
    assert (str(out["sum"]), str(doubled), nothing, text) == ("[2. 4.]", "[2. 4.]", None, "text")


def test_cell_without_construct():
    class Empty(nn.Cell):
        pass

    with pytest.raises(NotImplementedError, match=r"cell Empty has no method construct; define construct\(self"):
        Empty()(X)
    with pytest.raises(NotImplementedError, match="CellList cannot be called"):
        nn.CellList([Scale()])(X)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, r"cell Two: construct\(x\): missing a required argument: 'x'"),
        ((X, X), {}, r"cell Two: construct\(x\): too many positional arguments"),
        ((X,), {"y": X}, r"cell Two: construct\(x\): got an unexpected keyword argument 'y'"),
    ],
)
def test_wrong_arguments_name_the_cell(args, kwargs, message):
    with pytest.raises(TypeError, match=message):
        Two()(*args, **kwargs)


def test_wrong_arguments_of_a_cell_inside():
    class Outer(nn.Cell):
        def __init__(self):
            super().__init__()
            self.inner = Scale()

        def construct(self, x):
            return self.inner(x, x)

    with pytest.raises(TypeError, match="cell Scale: construct"):
        Outer()(X)


def test_type_errors_of_construct_pass_through():
    class Net(nn.Cell):
        def construct(self, x):
            return x + object()

    with pytest.raises(TypeError, match="unsupported operand"):
        Net()(X)


def test_a_failed_call_leaves_the_cell_usable():
    net = nn.Dense(2, 1, "ones", "zeros")
    with pytest.raises(ShapeError, match=r"in_channels = 2 elements, got \(3,\)"):
        net(Tensor([1.0, 2.0, 3.0]))
    assert str(net(X)) == "[3.]"


# ---- What follows changes of a cell


def test_new_values_are_seen():
    net = Two()
    assert str(net(X)) == "[ 6. 12.]"
    net.first.factor.set_data([5.0])
    assert str(net(X)) == "[15. 30.]"


def test_assigning_a_tensor_sets_the_parameter():
    net = Scale()
    parameter = net.factor
    assert str(net(X)) == "[2. 4.]"
    net.factor = Tensor([7.0])
    assert net.factor is parameter
    assert str(net(X)) == "[ 7. 14.]"
    with pytest.raises(ShapeError):
        net.factor = Tensor([7.0, 8.0])
    assert str(net(X)) == "[ 7. 14.]"


def test_replaced_parameters_cells_and_attributes_are_seen():
    net = Two()
    net(X)
    net.first.factor = Parameter([10.0])
    assert str(net(X)) == "[30. 60.]"
    net.second = Scale(1.0)
    assert str(net(X)) == "[10. 20.]"
    net.second = nn.Tanh()
    np.testing.assert_allclose(net(X).asnumpy(), np.tanh([10.0, 20.0]), rtol=1e-6)

    class Power(nn.Cell):
        def __init__(self):
            super().__init__()
            self.n = 2

        def construct(self, x):
            return x**self.n

    power = Power()
    assert str(power(X)) == "[1. 4.]"
    power.n = 3
    assert str(power(X)) == "[1. 8.]"


def test_switching_training_is_seen():
    class Net(nn.Cell):
        def construct(self, x):
            return x * 2 if self.training else x

    net = Net()
    assert str(net(X)) == "[1. 2.]"
    assert str(net.set_train()(X)) == "[2. 4.]"
    assert str(net.set_train(False)(X)) == "[1. 2.]"


def test_parameters_written_by_construct():
    class Counter(nn.Cell):
        def __init__(self):
            super().__init__()
            self.count = Parameter([0.0], requires_grad=False)
            self.total = Parameter([0.0], requires_grad=False)

        def construct(self, x):
            self.count = self.count + 1
            ops.assign_add(self.total, x)
            return self.count * 10

    net = Counter()
    outputs = [str(net(Tensor([float(i)]))) for i in range(4)]
    assert outputs == ["[10.]", "[20.]", "[30.]", "[40.]"]
    assert str(net.count.value()) == "[4.]"
    assert str(net.total.value()) == "[6.]"


def test_value_dependent_control_flow_warns_once_in_graph_mode(mode):
    class Net(nn.Cell):
        def construct(self, x):
            if x.sum() > 0:
                return x
            return -x

    net = Net()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        outputs = [str(net(Tensor([v]))) for v in (1.0, -2.0, 3.0)]
    assert outputs == ["[1.]", "[2.]", "[3.]"]
    assert len(caught) == (1 if mode == ev.GRAPH_MODE else 0)


def test_gradients_follow_changes():
    net = Two()
    gradient = ops.GradOperation(get_by_list=True)(net, net.trainable_params())
    assert [str(g) for g in gradient(X)] == ["[9.]", "[6.]"]
    net.first.factor.set_data([1.0])
    assert [str(g) for g in gradient(X)] == ["[9.]", "[3.]"]


def test_freezing_is_seen():
    class Gradients(nn.Cell):
        def __init__(self, net):
            super().__init__()
            self.net = net
            self.grad = ops.GradOperation(get_by_list=True)

        def construct(self, x):
            return self.grad(self.net)(x)

    net = Two()
    gradients = Gradients(net)
    assert [str(g) for g in gradients(X)] == ["[9.]", "[6.]"]
    net.first.factor.requires_grad = False
    assert [str(g) for g in gradients(X)] == ["[6.]"]
    net.first.factor.requires_grad = True
    net.second.set_grad(False)
    assert [str(g) for g in gradients(X)] == ["[9.]"]


# ---- Copies and memory


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_have_parameters_of_their_own(duplicate):
    net = nn.SequentialCell(nn.Dense(2, 2, "ones", "zeros"), nn.Dense(2, 1, "ones", "zeros"))
    net[1].weight.set_data([[1.0, 2.0]])
    before = str(net(X))
    other = duplicate(net)
    assert names(other) == names(net)
    assert [p.name for p in other.get_parameters()] == names(net)
    assert str(other(X)) == before
    net[0].weight.set_data([[5.0, 5.0], [5.0, 5.0]])
    assert str(other(X)) == before
    assert str(net(X)) != before


def test_copies_of_tuples_hold_the_copied_parameters():
    net = Two()
    net.both = net.trainable_params()
    other = copy.deepcopy(net)
    assert other.both[0] is other.first.factor is not net.first.factor
    assert names(other) == names(net)


def test_a_shallow_copy_shares_parameters_and_registers_for_itself():
    net = Two()
    other = copy.copy(net)
    assert other.first is net.first
    other.extra = Parameter([1.0])
    assert "extra" in names(other)
    assert "extra" not in names(net)


def test_a_dropped_cell_is_freed():
    net = Two()
    net(X)
    ref = weakref.ref(net)
    del net
    gc.collect()
    assert ref() is None
