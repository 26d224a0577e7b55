"""What cells know of their parameters and sub-cells: registration, names, switches, printing."""

import pytest

from evolute import Parameter, ParameterTuple, Tensor, nn, ops


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


# ---- Registration


def test_parameters_are_named_by_their_path():
    net = nn.SequentialCell(Two(), nn.Dense(2, 2))
    assert [p.name for p in net.trainable_params()] == [
        "0.first.factor",
        "0.second.factor",
        "1.weight",
        "1.bias",
    ]
    assert names(net) == [p.name for p in net.get_parameters()]
    assert list(net.parameters_dict()) == names(net)


def test_a_name_of_ones_own_holds_in_the_cell_itself():
    net = Scale(name="mine")
    assert net.factor.name == "mine"
    assert names(net) == ["factor"]
    Two(net)
    assert net.factor.name == "first.factor"


def test_without_auto_prefix_names_stay():
    class Wrapper(nn.Cell):
        def __init__(self, net):
            super().__init__(auto_prefix=False)
            self.net = net

    net = Scale()
    wrapper = Wrapper(net)
    assert net.factor.name == "factor"
    assert names(wrapper) == ["net.factor"]


def test_shared_parameters_and_cells_count_once():
    scale = Scale()
    net = Two(scale, scale)
    assert names(net) == ["first.factor"]
    assert net.cells() == [scale]
    assert [path for path, _ in net.cells_and_names()] == ["", "first"]

    tied = Two()
    tied.second.factor = tied.first.factor
    assert names(tied) == ["first.factor"]
    assert str(tied(X)) == "[4. 8.]"
    (gradient,) = ops.GradOperation(get_by_list=True)(tied, tied.trainable_params())(X)
    assert str(gradient) == "[12.]"  # d(w² (1 + 2))/dw at 2


def test_the_first_place_names_a_shared_parameter():
    class Net(nn.Cell):
        def __init__(self, net):
            super().__init__()
            self.net = net
            self.derivative = nn.Vjp(net)

        def construct(self, x):
            return self.derivative(x, x)

    net = Net(Scale())
    assert [p.name for p in net.get_parameters()] == ["net.factor"] == names(net)


def test_tuples_and_lists_of_parameters():
    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.scale = Scale()
            self.known = ParameterTuple(self.scale.trainable_params())
            self.more = [Parameter([1.0]), Parameter([2.0])]

        def construct(self, x):
            return self.scale(x) * self.more[0] + self.more[1]

    net = Net()
    assert isinstance(net.more, ParameterTuple)
    assert names(net) == ["scale.factor", "more.0", "more.1"]
    assert [p.name for p in net.trainable_params()] == names(net)
    assert str(net(X)) == "[4. 6.]"
    del net.more
    assert names(net) == ["scale.factor"]


def test_a_list_of_cells_is_refused():
    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.layers = [Scale(), Scale()]

    with pytest.raises(TypeError, match=r"attribute 'layers' is a list of cells.*use nn\.CellList"):
        Net()


def test_two_parameters_of_one_name():
    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.a = Parameter([1.0], name="w")
            self.b = Parameter([1.0], name="w")

    with pytest.raises(ValueError, match="parameters 'a' and 'b' are both named 'w'"):
        Net()

    net = Scale(name="first.factor")
    net.first = Scale()
    with pytest.raises(ValueError, match=r"two parameters are named 'first\.factor', one of them at first\.factor"):
        net.check_names()
    assert names(net) == ["factor", "first.factor"]


def test_attributes_come_and_go():
    net = Two()
    net.extra = Parameter([1.0])
    assert names(net) == ["extra", "first.factor", "second.factor"]
    net.extra = None
    del net.second
    assert names(net) == ["first.factor"]
    assert not hasattr(net, "second")
    net.extra = 5
    net.extra = Scale()
    assert names(net) == ["first.factor", "extra.factor"]
    with pytest.raises(AttributeError):
        del net.nothing


def test_registered_attributes_keep_their_kind():
    net = Two()
    with pytest.raises(TypeError, match="attribute 'first' holds a cell; it cannot become a int"):
        net.first = 3
    with pytest.raises(TypeError, match="attribute 'factor' holds a parameter; it cannot become a float"):
        net.first.factor = 3.0
    assert str(net(X)) == "[ 6. 12.]"


def test_registering_by_name():
    net = nn.Cell()
    net.insert_param_to_cell("w", Parameter([1.0]))
    net.insert_child_to_cell("0", Scale())
    assert names(net) == ["w", "0.factor"]
    with pytest.raises(TypeError, match="needs a Parameter, got a Tensor"):
        net.insert_param_to_cell("v", Tensor([1.0]))
    with pytest.raises(TypeError, match="needs a Cell, got a Parameter"):
        net.insert_child_to_cell("v", Parameter([1.0]))


def test_super_init_may_come_late():
    class Late(nn.Cell):
        def __init__(self):
            self.w = Parameter([2.0])
            super().__init__()

        def construct(self, x):
            return self.w * x

    assert names(Late()) == ["w"]


def test_a_cell_that_holds_itself():
    net = Scale()
    net.me = net
    assert names(net) == ["factor"]
    assert len(list(net.cells_and_names())) == 1


def test_sub_cells():
    net = Two()
    assert net.name_cells() == {"first": net.first, "second": net.second}
    assert [path for path, _ in nn.SequentialCell(net).cells_and_names("top")] == [
        "top",
        "top.0",
        "top.0.first",
        "top.0.second",
    ]


# ---- Switches


def test_set_train_reaches_all_cells():
    net = nn.SequentialCell(Two(), Scale())
    assert not net.training
    assert net.set_train() is net
    assert all(cell.training for _, cell in net.cells_and_names())
    assert not any(cell.training for _, cell in net.set_train(False).cells_and_names())


def test_requires_grad_of_parameters_and_cells():
    net = Two()
    net.first.factor.requires_grad = False
    assert [p.name for p in net.trainable_params()] == ["second.factor"]
    assert [p.name for p in net.untrainable_params()] == ["first.factor"]
    net.second.set_grad(False)
    assert net.trainable_params() == []
    assert not net.second.requires_grad
    net.set_grad()
    assert [p.name for p in net.trainable_params()] == ["second.factor"]
    assert len(net.trainable_params(recurse=False)) == 0


# ---- Printing


def test_repr_is_a_tree():
    net = nn.SequentialCell(
        nn.Dense(2, 3, activation="tanh"), nn.CellList([nn.Softmax(), nn.Dense(3, 1, has_bias=False)])
    )
    assert repr(net) == (
        "SequentialCell<\n"
        "  (0): Dense<\n"
        "    input_channels=2, output_channels=3, has_bias=True\n"
        "    (activation): Tanh<>\n"
        "    >\n"
        "  (1): CellList<\n"
        "    (0): Softmax<axis=-1>\n"
        "    (1): Dense<input_channels=3, output_channels=1, has_bias=False>\n"
        "    >\n"
        "  >"
    )
