"""The transforms as Python functions: what they take, what they return, in both modes."""

from __future__ import annotations

import functools
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import evolute as ev
from evolute import Parameter, ParameterTuple, Tensor, context, nn, ops

Pair = namedtuple("Pair", "first second")


@pytest.fixture(autouse=True, params=["pynative", "graph"])
def mode(request):
    context.set_context(mode=context.GRAPH_MODE if request.param == "graph" else context.PYNATIVE_MODE)
    yield request.param
    context.set_context(mode=context.PYNATIVE_MODE)


def double(*values: float) -> Tensor:
    return Tensor(values, ev.float64)


def equal(got, want) -> None:
    """Same structure, and the same numbers: tensors stand where `want` has a list or a number."""
    if isinstance(want, (tuple, dict)):
        assert type(got) is type(want)
        assert len(got) == len(want)
        if isinstance(want, dict):
            assert list(got) == list(want)
            got, want = list(got.values()), list(want.values())
        for g, w in zip(got, want, strict=True):
            equal(g, w)
    elif want is None:
        assert got is None
    else:
        assert isinstance(got, Tensor)
        np.testing.assert_allclose(got.asnumpy(), want, rtol=1e-14)


class Affine(nn.Cell):
    """Three parameters, one of which takes no part."""

    def __init__(self):
        super().__init__()
        self.w = Parameter(np.array([2.0, 5.0]), name="w")
        self.idle = Parameter(np.array([1.0]), name="idle")
        self.b = Parameter(np.array([7.0, 7.0]), name="b")

    def construct(self, x, y):
        return x * x * self.w + y * self.b


X, Y = [3.0, 4.0], [10.0, 20.0]
BY_X, BY_Y, BY_W, BY_B = [12.0, 40.0], [7.0, 7.0], [9.0, 16.0], [10.0, 20.0]
SENS = [2.0, -1.0]


def scaled(gradient):
    return (np.array(gradient) * SENS).tolist()


# ---- GradOperation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sens_param", [False, True])
@pytest.mark.parametrize(
    ("get_all", "get_by_list"),
    [(False, False), (True, False), (False, True), (True, True)],
    ids=["first", "all", "list", "both"],
)
def test_grad_operation_results(get_all, get_by_list, sens_param):
    net = Affine()
    times = scaled if sens_param else list
    inputs, parameters = (times(BY_X), times(BY_Y)), (times(BY_W), [0.0], times(BY_B))
    want = {
        (False, False): inputs[0],
        (True, False): inputs,
        (False, True): parameters,
        (True, True): (inputs, parameters),
    }[get_all, get_by_list]
    operation = ops.GradOperation(get_all=get_all, get_by_list=get_by_list, sens_param=sens_param)
    gradient = operation(net, ParameterTuple(net.trainable_params())) if get_by_list else operation(net)
    args = (double(*X), double(*Y)) + ((double(*SENS),) if sens_param else ())
    for _ in range(2):
        equal(gradient(*args), want)
    assert repr(operation) == f"GradOperation(get_all={get_all}, get_by_list={get_by_list}, sens_param={sens_param})"


def test_weights_default_to_the_trainable_parameters_of_the_cell():
    net = Affine()
    net.idle.requires_grad = False
    equal(ops.GradOperation(get_by_list=True)(net)(double(*X), double(*Y)), (BY_W, BY_B))


def test_get_all_of_one_input_is_a_tuple():
    equal(ops.GradOperation(get_all=True)(lambda x: x * x)(double(3.0)), ([6.0],))


@pytest.mark.parametrize("container", [tuple, list, ParameterTuple])
def test_weights_in_any_sequence(container):
    net = Affine()
    equal(ops.GradOperation(get_by_list=True)(net, container([net.b]))(double(*X), double(*Y)), (BY_B,))


def test_one_parameter_twice_among_the_weights_has_its_gradient_twice():
    net = Affine()
    equal(ops.GradOperation(get_by_list=True)(net, (net.w, net.b, net.w))(double(*X), double(*Y)), (BY_W, BY_B, BY_W))


def test_gradient_inside_construct():
    class Gradient(nn.Cell):
        def __init__(self, net):
            super().__init__()
            self.net = net
            self.grad = ops.GradOperation(get_all=True, get_by_list=True)
            self.weights = ParameterTuple(net.trainable_params())

        def construct(self, x, y):
            return self.grad(self.net, self.weights)(x, y)

    cell = Gradient(Affine())
    for _ in range(2):
        equal(cell(double(*X), double(*Y)), ((BY_X, BY_Y), (BY_W, [0.0], BY_B)))


def test_second_order_through_cells():
    class Gradient(nn.Cell):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def construct(self, x):
            return ops.GradOperation()(self.net)(x)

    class Cube(nn.Cell):
        def construct(self, x):
            return x**3

    equal(Gradient(Gradient(Cube()))(double(2.0, 3.0)), [12.0, 18.0])


def test_second_derivatives_by_scaled_gradients():
    def gradients(x, y):
        return ops.GradOperation(get_all=True)(lambda x, y: x * x * y)(x, y)

    second = ops.GradOperation(get_all=True, sens_param=True)(gradients)
    one, zero = double(1.0), double(0.0)
    equal(second(double(4.0), double(5.0), (one, zero)), ([10.0], [8.0]))
    equal(second(double(4.0), double(5.0), (zero, one)), ([8.0], [0.0]))


def test_a_parameter_shared_by_cells_counts_once():
    class Layer(nn.Cell):
        def __init__(self, w):
            super().__init__()
            self.w = w

        def construct(self, x):
            return x * self.w

    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            w = Parameter(np.array([3.0]), name="w")
            self.one, self.two = Layer(w), Layer(w)

        def construct(self, x):
            return self.two(self.one(x))

    net = Net()
    assert len(net.trainable_params()) == 1
    equal(ops.GradOperation(get_by_list=True)(net, net.trainable_params())(double(5.0)), ([30.0],))


# ---- what can be differentiated --------------------------------------------------------------------------------------


class Scale:
    def __init__(self, factor):
        self.factor = factor

    def method(self, x, power=2):
        return self.factor * x**power

    @staticmethod
    def static(x):
        return x * x

    @classmethod
    def of_class(cls, x):
        return x * x

    def __call__(self, x):
        return self.factor * x


def square_plus(y, x):
    return x * x + y


@pytest.mark.parametrize(
    ("fn", "want"),
    [
        (lambda x: x * x, [6.0]),
        (Scale(4.0).method, [24.0]),
        (Scale.static, [6.0]),
        (Scale.of_class, [6.0]),
        (Scale(4.0), [4.0]),
        (functools.partial(square_plus, 1.0), [6.0]),
        (functools.partial(Scale(4.0).method, power=3), [108.0]),
        (ops.square, [6.0]),
        (ops.Square(), [6.0]),
        (nn.Tanh(), 1 - np.tanh([3.0]) ** 2),
        (ev.grad(lambda x: x**3), [18.0]),
        (ev.jit(lambda x: x * x), [6.0]),
        (functools.lru_cache(lambda x: x * x), [6.0]),
    ],
)
def test_callables(fn, want):
    for _ in range(2):
        equal(ev.grad(fn)(double(3.0)), want)


def test_keyword_and_other_arguments():
    def fn(x, n, name, *, scale, flag=True):
        assert (n, name, flag) == (3, "cube", False)
        return scale * x**n

    gradient = ev.grad(fn)
    equal(gradient(double(2.0), 3, "cube", scale=double(5.0), flag=False), [60.0])
    equal(gradient(double(2.0), 3, "cube", scale=4, flag=False), [48.0])


def test_positions():
    def fn(x, y, z):
        return x * y + z * z

    args = double(2.0), double(3.0), double(4.0)
    equal(ev.grad(fn, 1)(*args), [2.0])
    equal(ev.grad(fn, -1)(*args), [8.0])
    equal(ev.grad(fn, (2, 0))(*args), ([8.0], [3.0]))
    equal(ev.grad(fn, [1])(*args), ([2.0],))
    equal(ev.grad(fn, (-3, -1))(*args), ([3.0], [8.0]))


def test_structures_of_inputs():
    def fn(arguments):
        return arguments["a"][0] * arguments["a"][1] + arguments["b"].first * arguments["b"].second * arguments["n"]

    arguments = {"a": [double(2.0), double(3.0)], "b": Pair(double(4.0), double(5.0)), "n": 2}
    got = ev.grad(fn)(arguments)
    assert type(got) is dict
    assert type(got["a"]) is list
    assert type(got["b"]) is Pair
    assert got["n"] is None
    equal((*got["a"], *got["b"]), ([3.0], [2.0], [10.0], [8.0]))


def test_structures_of_outputs():
    def fn(x):
        return {"y": (x * x, [x**3]), "z": Pair(x, None)}

    x = double(2.0)
    equal(ev.grad(fn)(x), [4.0 + 12.0 + 1.0])
    value, slope = ev.jvp(fn, x, double(1.0))
    assert type(value["z"]) is Pair
    equal((value["y"][0], value["y"][1][0], value["z"].first), ([4.0], [8.0], [2.0]))
    equal((slope["y"][0], slope["y"][1][0], slope["z"].first), ([4.0], [12.0], [1.0]))
    assert value["z"].second is None
    sens = {"y": (double(1.0), [double(0.0)]), "z": Pair(double(10.0), None)}
    equal(ev.vjp(fn, x, sens)[1], [14.0])


def test_ordered_dict_keeps_its_type():
    value, _ = ev.value_and_grad(lambda x: OrderedDict(b=x, a=x * x))(double(2.0))
    assert isinstance(value, OrderedDict)
    assert list(value) == ["b", "a"]


def test_several_outputs_are_summed_or_scaled_one_by_one():
    def fn(x):
        return x * x, ops.sum(x), x**3

    x = double(1.0, 2.0)
    equal(ev.grad(fn)(x), [2 + 1 + 3.0, 4 + 1 + 12.0])
    sens = double(1.0, 10.0), Tensor(100.0, ev.float64), double(0.0, 1000.0)
    equal(ev.grad(fn, sens_param=True)(x, sens), [2 + 100.0, 40 + 100 + 12000.0])


def test_outputs_that_do_not_depend_on_the_input():
    x = double(1.0, 2.0)
    constant = double(5.0)
    equal(ev.grad(lambda x: constant)(x), [0.0, 0.0])
    equal(ev.grad(lambda x: (constant, x))(x), [1.0, 1.0])
    equal(ev.grad(lambda x: 3.0)(x), [0.0, 0.0])
    equal(ev.jvp(lambda x: constant, x, x), ([5.0], [0.0]))
    equal(ev.grad(lambda x: x)(x), [1.0, 1.0])
    equal(ev.grad(lambda x: (x, x))(x), [2.0, 2.0])


def test_a_parameter_as_output():
    w = Parameter(np.array([2.0, 3.0]), name="w")
    equal(ev.grad(lambda x: w, None, weights=w)(double(1.0)), [1.0, 1.0])
    equal(ev.grad(lambda x: (w, w * x), None, weights=w)(double(5.0)), [6.0, 6.0])

    def write(x):
        w.set_data(w * x)
        return w

    equal(ev.grad(write)(double(5.0)), [5.0])
    equal(ev.jvp(write, double(7.0), double(1.0))[1], [10.0, 15.0])
    equal(w.value(), [70.0, 105.0])


def test_integer_outputs_beside_floating_ones_have_no_derivative():
    x = double(3.0, 1.0)
    equal(ev.grad(lambda x: (x * x, ops.argmax(x), x > 2))(x), [6.0, 2.0])


def test_python_numbers_and_arrays_as_inputs():
    assert ev.grad(lambda x: x * x)(3.0).item() == 6.0
    got = ev.grad(lambda x: ops.sum(x * x))(np.array([1.0, 2.0]))
    assert got.dtype == ev.float64
    equal(got, [2.0, 4.0])


def test_stop_gradient():
    def fn(x, y):
        return x * y + ops.stop_gradient(x * y)

    x, y = double(3.0), double(5.0)
    equal(ev.grad(fn, (0, 1))(x, y), ([5.0], [3.0]))
    equal(ev.jvp(fn, (x, y), (double(1.0), double(0.0))), ([30.0], [5.0]))
    equal(ev.grad(ev.grad(lambda x: x * x * ops.stop_gradient(x)))(x), [6.0])


# ---- value_and_grad, weights, has_aux, return_ids --------------------------------------------------------------------


def test_value_and_grad():
    net = Affine()
    x, y = double(*X), double(*Y)
    value = np.array(X) ** 2 * [2, 5] + np.array(Y) * 7
    equal(ev.value_and_grad(net)(x, y), (value, BY_X))
    equal(ev.value_and_grad(net, (0, 1))(x, y), (value, (BY_X, BY_Y)))
    equal(ev.value_and_grad(net, None, weights=[net.w, net.idle])(x, y), (value, (BY_W, [0.0])))
    equal(ev.value_and_grad(net, None, weights=net.w)(x, y), (value, BY_W))
    equal(ev.value_and_grad(net, 1, weights=(net.b,))(x, y), (value, (BY_Y, (BY_B,))))
    equal(ev.value_and_grad(net, 0, True)(x, y, double(*SENS)), (value, scaled(BY_X)))


def test_has_aux():
    def fn(x):
        return ops.sum(x * x), x * 10, "label", {"n": x + 1}

    x = double(1.0, 2.0)
    gradient, aux = ev.grad(fn, has_aux=True)(x)
    equal(gradient, [2.0, 4.0])
    assert aux[1] == "label"
    equal((aux[0], aux[2]), ([10.0, 20.0], {"n": [2.0, 3.0]}))
    value, gradient = ev.value_and_grad(fn, has_aux=True)(x)
    equal(value[0], 5.0)
    equal(gradient, [2.0, 4.0])
    value, slope, aux = ev.jvp(fn, x, double(1.0, 0.0), has_aux=True)
    equal((value, slope, aux[0]), (5.0, 2.0, [10.0, 20.0]))
    value, gradient, aux = ev.vjp(fn, x, Tensor(1.0, ev.float64), has_aux=True)
    equal((value, gradient, aux[0]), (5.0, [2.0, 4.0], [10.0, 20.0]))
    value, pull, aux = ev.vjp(fn, x, has_aux=True)
    equal((value, pull(Tensor(2.0, ev.float64)), aux[0]), (5.0, [4.0, 8.0], [10.0, 20.0]))


def test_one_aux_of_jvp_and_vjp_is_itself():
    def fn(x):
        return ops.sum(x * x), x * 10

    x = double(1.0, 2.0)
    equal(ev.jvp(fn, x, double(1.0, 0.0), has_aux=True), (5.0, 2.0, [10.0, 20.0]))
    equal(ev.vjp(fn, x, Tensor(1.0, ev.float64), has_aux=True), (5.0, [2.0, 4.0], [10.0, 20.0]))
    assert ev.vjp(fn, x, has_aux=True)[2].tolist() == [10.0, 20.0]


def test_vjp_by_weights():
    net = Affine()
    x, y = double(*X), double(*Y)
    sens = ops.ones_like(net(x, y))
    for weights, want in (((net.w, net.b), (BY_W, BY_B)), (net.w, BY_W)):
        _, (inputs, by_weight) = ev.vjp(net, (x, y), sens, weights=weights)
        equal(inputs, (BY_X, BY_Y))
        equal(by_weight, want)
        _, pull = ev.vjp(net, (x, y), weights=weights)
        equal(pull(sens)[1], want)


def test_sens_by_position_and_by_name():
    f, x = (lambda x: x * x), double(1.0, 2.0)
    sens = double(10.0, 100.0)
    for gradient in (ev.grad(f, sens_param=True), ev.grad(f, 0, True), ev.value_and_grad(f, 0, True)):
        for result in (gradient(x, sens), gradient(x, sens=sens)):
            equal(result[1] if isinstance(result, tuple) else result, [20.0, 400.0])


def test_get_grad_by_position_parameter_and_name():
    net = Affine()
    x, y = double(*X), double(*Y)
    gradients = ev.grad(net, (0, 1), weights=(net.w, net.b), return_ids=True)(x, y)
    assert [i for i, _ in gradients[0]] == [0, 1]
    assert [i for i, _ in gradients[1]] == ["w", "b"]
    equal([ev.get_grad(gradients, i) for i in (0, 1, net.w, "b")].__iter__().__next__(), BY_X)
    equal(ev.get_grad(gradients, 1), BY_Y)
    equal(ev.get_grad(gradients, net.w), BY_W)
    equal(ev.get_grad(gradients, "b"), BY_B)
    equal(ev.get_grad(ev.grad(net, 1, return_ids=True)(x, y), 1), BY_Y)
    with pytest.raises(KeyError, match="idle"):
        ev.get_grad(gradients, net.idle)


def test_a_parameter_may_be_written_inside():
    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.w = Parameter(np.array([2.0]), name="w")
            self.seen = Parameter(np.array([0.0]), name="seen", requires_grad=False)

        def construct(self, x):
            y = x * self.w
            self.seen.set_data(self.seen + y)
            return y * self.seen

    net = Net()
    for i in range(1, 4):
        # y (s + y) with s = 6 (i - 1): derivative s + 2 y by y
        equal(
            ev.value_and_grad(net, 0, weights=net.w)(double(3.0)),
            ([36.0 * i], ([2 * (6.0 * i + 6)], [3 * (6.0 * i + 6)])),
        )
        equal(net.seen.value(), [6.0 * i])


# ---- jvp and vjp -----------------------------------------------------------------------------------------------------


def test_jvp():
    def fn(x, y):
        return x**3 + y

    x, y, v = double(1.0, 2.0), double(5.0, 6.0), double(1.0, 1.0)
    equal(ev.jvp(fn, (x, y), (v, v)), ([6.0, 14.0], [4.0, 13.0]))
    equal(ops.jvp(lambda x: (x, x * x), x, v), (([1.0, 2.0], [1.0, 4.0]), ([1.0, 1.0], [2.0, 4.0])))
    equal(nn.Jvp(fn)(x, y, (v, v)), ([6.0, 14.0], [4.0, 13.0]))
    equal(nn.Jvp(lambda x: x * x)(x, v), ([1.0, 4.0], [2.0, 4.0]))


def test_jvp_of_structured_inputs_and_missing_tangents():
    def fn(p, x):
        return p["w"] * x + p["b"]

    p = {"w": double(3.0), "b": double(1.0)}
    t = {"w": double(1.0), "b": double(10.0)}
    equal(ev.jvp(fn, (p, double(2.0)), (t, double(0.0))), ([7.0], [12.0]))
    equal(ev.jvp(fn, (p, double(2.0)), ({"w": None, "b": double(10.0)}, None)), ([7.0], [10.0]))


def test_vjp():
    def fn(x, y):
        return x**3 + y, x * y

    x, y = double(1.0, 2.0), double(5.0, 6.0)
    one, zero = double(1.0, 1.0), double(0.0, 0.0)
    value = [6.0, 14.0], [5.0, 12.0]
    equal(ev.vjp(fn, (x, y), (one, zero)), (value, ([3.0, 12.0], [1.0, 1.0])))
    equal(nn.Vjp(fn)(x, y, (zero, one)), (value, ([5.0, 6.0], [1.0, 2.0])))
    equal(nn.Vjp(lambda x: x * x)(x, one), ([1.0, 4.0], [2.0, 4.0]))
    equal(ops.vjp(lambda x: x * x, x, one), ([1.0, 4.0], [2.0, 4.0]))


def test_a_pullback_may_be_called_many_times():
    value, pull = ev.vjp(lambda x, y: (x * y, x), (double(2.0), double(3.0)))
    equal(value, ([6.0], [2.0]))
    one, zero = double(1.0), double(0.0)
    for _ in range(2):
        equal(pull((one, zero)), ([3.0], [2.0]))
        equal(pull(zero, one), ([1.0], [0.0]))
    # The pullback is linear in its argument, and can itself be differentiated.
    equal(ev.grad(lambda v: ops.sum(ops.square(pull((v, zero))[0])))(double(5.0)), [90.0])


def test_a_pullback_made_inside_a_gradient():
    def fn(x):
        value, pull = ev.vjp(lambda z: z**3, x)
        return value * pull(ops.ones_like(x))  # x³ · 3x²

    equal(ev.grad(fn)(double(2.0)), [15.0 * 16])


# ---- Jacobians -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jacobian", [ev.jacfwd, ev.jacrev])
def test_jacobians(jacobian):
    a = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    x = double(1.0, 2.0, 3.0)
    equal(jacobian(lambda x: ops.matmul(Tensor(a), x * x))(x), a * 2 * x.asnumpy())
    equal(jacobian(lambda y, x: y * ops.sum(x * x), 1)(2.0, x), 4 * x.asnumpy())
    got = jacobian(lambda m: ops.matmul(m, m))(Tensor(np.array([[1.0, 2.0], [3.0, 4.0]])))
    m, eye = np.array([[1.0, 2.0], [3.0, 4.0]]), np.eye(2)
    equal(got, np.einsum("ik,lj->ijkl", eye, m) + np.einsum("ik,lj->ijkl", m, eye))
    equal(jacobian(lambda x: x * x)(Tensor(3.0, ev.float64)), 6.0)
    assert jacobian(lambda x: x * x)(Tensor(np.zeros((2, 0)))).shape == (2, 0, 2, 0)
    assert jacobian(lambda x: x[:0])(x).shape == (0, 3)


def test_hessian():
    def rosenbrock(x):
        return ops.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    from scipy.optimize import rosen_hess

    x = np.array([1.3, 0.7, 0.8, 1.9, 1.2])
    equal(ev.hessian(rosenbrock)(Tensor(x)), rosen_hess(x))
    equal(ev.jacrev(ev.grad(rosenbrock))(Tensor(x)), rosen_hess(x))
    equal(ev.jacfwd(ev.jacfwd(rosenbrock))(Tensor(x)), rosen_hess(x))
