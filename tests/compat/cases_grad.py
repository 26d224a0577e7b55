"""The gradient interface: what is differentiated with respect to what, and the structures that come back."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from compat.cases import case, vector

BOOLS = (False, True)


def weighted() -> Any:
    class Net(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.w = ms.Parameter(vector(2.0, 3.0), name="w")
            self.b = ms.Parameter(vector(1.0, -1.0), name="b")

        def construct(self, x, y):
            return x * x * self.w + y * self.b

    return Net()


def pair() -> tuple[Any, Any]:
    return vector(1.0, 2.0), vector(3.0, 5.0)


# ---- GradOperation

FLAGS = [f"all={a} list={b} sens={s}" for a in BOOLS for b in BOOLS for s in BOOLS]


def flags(text: str) -> dict[str, bool]:
    names = {"all": "get_all", "list": "get_by_list", "sens": "sens_param"}
    return {names[part.split("=")[0]]: part.endswith("True") for part in text.split()}


@case("GradOperation/cell", *FLAGS)
def grad_operation(key: str) -> Any:
    options = flags(key)
    net = weighted()
    weights = ms.ParameterTuple(net.trainable_params())
    op = ops.GradOperation(**options)
    gradient = op(net, weights) if options["get_by_list"] else op(net)
    args = [*pair()]
    if options["sens_param"]:
        args.append(vector(10.0, 100.0))
    return gradient(*args)


@case("GradOperation/within a cell", *FLAGS)
def grad_operation_in_cell(key: str) -> Any:
    options = flags(key)

    class GradNet(nn.Cell):
        def __init__(self, net) -> None:
            super().__init__()
            self.net = net
            self.params = ms.ParameterTuple(net.trainable_params())
            self.op = ops.GradOperation(**options)
            self.sens = vector(10.0, 100.0)
            self.by_list = options["get_by_list"]
            self.with_sens = options["sens_param"]

        def construct(self, x, y):
            gradient = self.op(self.net, self.params) if self.by_list else self.op(self.net)
            if self.with_sens:
                return gradient(x, y, self.sens)
            return gradient(x, y)

    return GradNet(weighted())(*pair())


@case("GradOperation/function", *(f"all={a} list=False sens={s}" for a in BOOLS for s in BOOLS))
def grad_operation_of_function(key: str) -> Any:
    options = flags(key)
    args = [*pair()]
    if options["sens_param"]:
        args.append(vector(10.0, 100.0))
    return ops.GradOperation(**options)(lambda x, y: x * x * y)(*args)


@case("GradOperation/one input", *(f"all={a} list=False sens=False" for a in BOOLS))
def grad_operation_one_input(key: str) -> Any:
    return ops.GradOperation(**flags(key))(lambda x: x**3)(vector(1.0, 2.0))


@case("GradOperation/two outputs", *(f"all={a} list=False sens={s}" for a in BOOLS for s in BOOLS))
def grad_operation_two_outputs(key: str) -> Any:
    options = flags(key)
    args: list[Any] = [*pair()]
    if options["sens_param"]:
        args.append((vector(10.0, 100.0), vector(1.0, 2.0)))
    return ops.GradOperation(**options)(lambda x, y: (x * x, x * y))(*args)


@case("GradOperation/second order")
def second_order() -> Any:
    class Net(nn.Cell):
        def construct(self, x, y):
            return x * x * y

    class Grad(nn.Cell):
        def __init__(self, network) -> None:
            super().__init__()
            self.grad = ops.GradOperation(get_all=True, sens_param=False)
            self.network = network

        def construct(self, x, y):
            return self.grad(self.network)(x, y)

    class GradSec(nn.Cell):
        def __init__(self, network) -> None:
            super().__init__()
            self.grad = ops.GradOperation(get_all=True, sens_param=True)
            self.network = network
            self.sens1 = vector(1.0)
            self.sens2 = vector(0.0)

        def construct(self, x, y):
            dxdx, dxdy = self.grad(self.network)(x, y, (self.sens1, self.sens2))
            dydx, dydy = self.grad(self.network)(x, y, (self.sens2, self.sens1))
            return dxdx, dxdy, dydx, dydy

    return GradSec(Grad(Net()))(vector(4.0), vector(5.0))


@case("GradOperation/third order")
def third_order() -> Any:
    fn = lambda x: ops.sin(x) * x  # noqa: E731
    for _ in range(3):
        fn = ops.GradOperation()(fn)
    return fn(vector(0.5, 1.0))


@case("GradOperation/sens by key")
def sens_by_key() -> Any:
    return ops.GradOperation(sens_param=True)(lambda x: x * x)(vector(1.0, 2.0), sens=vector(10.0, 20.0))


@case("GradOperation/weights from a list")
def weights_from_list() -> Any:
    net = weighted()
    return ops.GradOperation(get_by_list=True)(net, net.trainable_params())(*pair())


@case("GradOperation/one of the weights")
def one_weight() -> Any:
    net = weighted()
    return ops.GradOperation(get_by_list=True)(net, ms.ParameterTuple([net.b]))(*pair())


@case("GradOperation/unused input")
def unused() -> Any:
    return ops.GradOperation(get_all=True)(lambda x, y: x * 2)(*pair())


@case("GradOperation/integer input")
def integer_input() -> Any:
    return ops.GradOperation(get_all=True)(lambda x, i: x * i)(vector(1.0, 2.0), ms.Tensor([3, 4]))


# ---- grad and value_and_grad

POSITIONS = {"0": 0, "1": 1, "(0,)": (0,), "(0, 1)": (0, 1), "(1, 0)": (1, 0), "None": None}


@case("grad/position", *(p for p in POSITIONS if p != "None"))
def grad_position(key: str) -> Any:
    return ms.grad(square_times, POSITIONS[key])(*pair())


@case("value_and_grad/position", *(p for p in POSITIONS if p != "None"))
def value_and_grad_position(key: str) -> Any:
    return ms.value_and_grad(lambda x, y: x * x * y, POSITIONS[key])(*pair())


@case("grad/weights", *POSITIONS)
def grad_weights(key: str) -> Any:
    net = weighted()
    return ms.grad(net, POSITIONS[key], ms.ParameterTuple(net.trainable_params()))(*pair())


@case("value_and_grad/weights", *POSITIONS)
def value_and_grad_weights(key: str) -> Any:
    net = weighted()
    return ms.value_and_grad(net, POSITIONS[key], net.trainable_params())(*pair())


@case("grad/one parameter as weights", *POSITIONS)
def grad_one_parameter(key: str) -> Any:
    net = weighted()
    return ms.grad(net, POSITIONS[key], weights=net.w)(*pair())


@case("grad/ids", *POSITIONS)
def grad_ids(key: str) -> Any:
    net = weighted()
    return ms.grad(net, POSITIONS[key], net.trainable_params(), return_ids=True)(*pair())


@case("grad/ids without weights", "0", "1", "(0,)", "(0, 1)")
def grad_ids_only(key: str) -> Any:
    return ms.grad(lambda x, y: x * x * y, POSITIONS[key], return_ids=True)(*pair())


@case("value_and_grad/ids", "0", "(0, 1)", "None")
def value_and_grad_ids(key: str) -> Any:
    net = weighted()
    return ms.value_and_grad(net, POSITIONS[key], net.trainable_params(), return_ids=True)(*pair())


@case("get_grad", "position", "parameter", "only positions", "one position")
def get_grad(key: str) -> Any:
    net = weighted()
    if key == "one position":
        return ms.get_grad(ms.grad(net, 1, return_ids=True)(*pair()), 1)
    if key == "only positions":
        return ms.get_grad(ms.grad(net, (0, 1), return_ids=True)(*pair()), 1)
    gradients = ms.grad(net, (0, 1), net.trainable_params(), return_ids=True)(*pair())
    return ms.get_grad(gradients, 1 if key == "position" else net.b)


def one_more(x, y):
    return x * y, x + y


def two_more(x, y):
    return x * y, x + y, x - y


def a_tuple_more(x, y):
    return x * y, (x + y, x - y)


AUX = {"one": one_more, "two": two_more, "tuple": a_tuple_more}


@case("grad/aux", *AUX)
def grad_aux(key: str) -> Any:
    return ms.grad(AUX[key], (0, 1), has_aux=True)(*pair())


@case("value_and_grad/aux", *AUX)
def value_and_grad_aux(key: str) -> Any:
    return ms.value_and_grad(AUX[key], 0, has_aux=True)(*pair())


@case("value_and_grad/aux with weights")
def aux_with_weights() -> Any:
    net = weighted()

    def forward(x, y):
        out = net(x, y)
        return out.sum(), out

    return ms.value_and_grad(forward, None, net.trainable_params(), has_aux=True)(*pair())


@case("grad/two outputs", "0", "(0, 1)")
def grad_two_outputs(key: str) -> Any:
    return ms.grad(lambda x, y: (x * x, x * y), POSITIONS[key])(*pair())


@case("value_and_grad/two outputs", "0", "(0, 1)")
def value_and_grad_two_outputs(key: str) -> Any:
    return ms.value_and_grad(lambda x, y: (x * x, x * y), POSITIONS[key])(*pair())


@case("grad/sens", "one", "two")
def grad_sens(key: str) -> Any:
    if key == "one":
        return ms.grad(lambda x, y: x * x * y, (0, 1), sens_param=True)(*pair(), vector(10.0, 100.0))
    sens = vector(10.0, 100.0), vector(1.0, 2.0)
    return ms.grad(lambda x, y: (x * x, x * y), (0, 1), sens_param=True)(*pair(), sens)


@case("grad/nested", "00", "01", "10", "11")
def nested(key: str) -> Any:
    fn = lambda x, y: x**3 * y**2  # noqa: E731
    return ms.grad(ms.grad(fn, int(key[0])), int(key[1]))(*pair())


@case("grad/of a grad in the function")
def grad_inside() -> Any:
    def fn(x):
        return x * ms.grad(lambda z: z**3)(x)

    return ms.grad(fn)(vector(1.0, 2.0))


@case("grad/training step")
def training_step() -> Any:
    net = weighted()
    x, y = pair()

    def forward(x, y):
        return ops.square(net(x, y) - 1.0).mean()

    step = ms.value_and_grad(forward, None, net.trainable_params())
    losses = []
    for _ in range(3):
        loss, gradients = step(x, y)
        losses.append(loss)
        for parameter, gradient in zip(net.trainable_params(), gradients):  # noqa: B905
            ops.assign(parameter, parameter - 0.01 * gradient)
    return losses, [p.asnumpy() for p in net.trainable_params()]


@case("grad/list of weights of the cell")
def weights_are_a_list() -> Any:
    net = weighted()
    params = net.trainable_params()
    return [type(params).__name__, [p.name for p in params], [p.shape for p in params]]


@case("grad/keyword arguments")
def keyword_arguments() -> Any:
    return ms.grad(lambda x, scale=2.0: x * x * scale)(vector(1.0, 2.0), scale=5.0)


@case("grad/static arguments", "number", "bool", "string", "none", "list of numbers")
def static_arguments(key: str) -> Any:
    def fn(x, option):
        if key == "bool":
            return x * x if option else x
        if key == "string":
            return x * x if option == "square" else x
        if key == "none":
            return x * x if option is None else x
        if key == "list of numbers":
            return x * option[0] * x * option[1]
        return x * x * option

    option = {"number": 3.0, "bool": True, "string": "square", "none": None, "list of numbers": [2.0, 3.0]}[key]
    return ms.grad(fn)(vector(1.0, 2.0), option)


@case("grad/structured arguments", "tuple", "list", "dict", "mutable tuple", "mutable list", "mutable dict")
def structured_arguments(key: str) -> Any:
    x, y = pair()

    def fn(z):
        if "dict" in key:
            return z["a"] * z["a"] * z["b"]
        return z[0] * z[0] * z[1]

    argument: Any = {"a": x, "b": y} if "dict" in key else [x, y] if "list" in key else (x, y)
    if "mutable" in key:
        argument = ms.mutable(argument)
    return ms.grad(fn)(argument)


@case("grad/second argument is a tuple")
def tuple_second() -> Any:
    x, y = pair()
    return ms.grad(lambda a, b: a * b[0] + b[1])(x, (y, x))


@case("grad/of float64")
def of_float64() -> Any:
    return ms.grad(lambda x: ops.exp(x) * x)(ms.Tensor(np.array([0.5, 1.0])))


@case("grad/of a number in a tensor")
def of_number() -> Any:
    return ms.value_and_grad(lambda x: x**3)(ms.Tensor(2.0, ms.float32))


@case("grad/stop_gradient", "all", "one factor", "by ops")
def stop(key: str) -> Any:
    stop_gradient = ops.stop_gradient

    def fn(x):
        if key == "all":
            return stop_gradient(x * x)
        if key == "by ops":
            return x * ops.functional.stop_gradient(x)
        return x * stop_gradient(x)

    return ms.grad(fn)(vector(1.0, 2.0))


@case("grad/decorated with jit", "function", "gradient", "nested")
def jitted(key: str) -> Any:
    @ms.jit
    def fn(x):
        return ops.sin(x) * x

    if key == "function":
        return ms.grad(fn)(vector(1.0, 2.0))
    if key == "gradient":

        @ms.jit
        def gradient(x):
            return ms.grad(cube)(x)

        return gradient(vector(1.0, 2.0))

    @ms.jit
    def outer(x):
        return ms.grad(fn)(x) + ms.grad(ms.grad(fn))(x)

    return outer(vector(1.0, 2.0))


# ---- jvp, vjp and Jacobians


def cube(x):
    return x**3


def cube_and_sum(x, y):
    return x**3 + y


def product(x, y):
    return x * y


def square(x, y):
    return x * x


def row(x, y):
    return x[0] * y


def two_outputs(x, y):
    return x * x, x * y


def slope(x, y):
    return ms.grad(square_times)(x, y)


def square_times(x, y):
    return x * x * y


@case("jvp", "one", "two", "two outputs", "aux", "list", "mixed")
def jvp(key: str) -> Any:
    x, y = pair()
    v = vector(1.0, 10.0)
    if key == "one":
        return ms.jvp(cube, x, v)
    if key == "two":
        return ms.jvp(cube_and_sum, (x, y), (v, v))
    if key == "two outputs":
        return ms.jvp(one_more, (x, y), (v, v))
    if key == "aux":
        return ms.jvp(one_more, (x, y), (v, v), has_aux=True)
    if key == "list":
        return ms.jvp(cube_and_sum, [x, y], [v, v])
    return ms.jvp(slope, (x, y), (v, v))


@case("vjp", "one", "two", "two outputs", "aux", "weights", "twice", "one tuple of v")
def vjp(key: str) -> Any:
    x, y = pair()
    v = vector(1.0, 10.0)
    if key == "one":
        out, fn = ms.vjp(cube, x)
        return out, fn(v)
    if key == "two":
        out, fn = ms.vjp(cube_and_sum, x, y)
        return out, fn(v)
    if key in ("two outputs", "one tuple of v"):
        out, fn = ms.vjp(one_more, x, y)
        return out, fn((v, v)) if key == "one tuple of v" else fn(v, v)
    if key == "aux":
        out, fn, aux = ms.vjp(one_more, x, y, has_aux=True)
        return out, fn(v), aux
    if key == "weights":
        net = weighted()
        out, fn = ms.vjp(net, x, y, weights=net.trainable_params())
        return out, fn(v)
    out, fn = ms.vjp(cube, x)
    return out, fn(v), fn(2 * v)


JACOBIANS = {
    "one": (square, 0),
    "matrix": (row, 0),
    "two positions": (product, (0, 1)),
    "position 1": (product, 1),
    "one in a tuple": (product, (0,)),
    "two outputs": (two_outputs, 0),
    "two outputs, two positions": (two_outputs, (0, 1)),
}


@case("jacfwd", *JACOBIANS)
def jacfwd(key: str) -> Any:
    fn, position = JACOBIANS[key]
    return ms.jacfwd(fn, position)(*pair())


@case("jacrev", *JACOBIANS)
def jacrev(key: str) -> Any:
    fn, position = JACOBIANS[key]
    return ms.jacrev(fn, position)(*pair())


@case("jacobian/aux", "jacfwd", "jacrev")
def jacobian_aux(key: str) -> Any:
    return getattr(ms, key)(one_more, 0, has_aux=True)(*pair())


def cubes(x):
    return (x**3).sum()


@case("jacobian/of a jacobian", "fwd of rev", "rev of fwd", "rev of rev")
def hessian(key: str) -> Any:
    outer, inner = (getattr(ms, f"jac{name}") for name in (key[:3], key[-3:]))
    return outer(inner(cubes))(vector(1.0, 2.0))


def sine(x):
    return ops.sin(x) * 2


@case("vmap", "one", "two", "second axis", "of grad")
def vmap(key: str) -> Any:
    x = ms.Tensor(np.arange(6, dtype=np.float32).reshape(2, 3))
    y = vector(1.0, 2.0, 3.0)
    if key == "one":
        return ms.vmap(sine)(x)
    if key == "two":
        return ms.vmap(product, (0, None))(x, y)
    if key == "second axis":
        return ms.vmap(cube, 1, 1)(x)
    return ms.vmap(ms.grad(cubes))(x)


@case("jet and derivative", "jet", "derivative", "derivative 3", "jet of two")
def taylor(key: str) -> Any:
    jet, derivative = ops.jet, ops.derivative

    class Net(nn.Cell):
        def construct(self, x):
            return ops.sin(x) * x

    class Two(nn.Cell):
        def construct(self, x, y):
            return ops.sin(x) * y

    x = vector(0.5, 1.0)
    if key == "jet":
        return jet(Net(), x, ms.Tensor(np.array([[1, 1], [0, 0], [0, 0]], np.float32)))
    if key == "jet of two":
        series = ms.Tensor(np.array([[1, 1], [0, 0]], np.float32))
        return jet(Two(), (x, 2 * x), (series, series))
    return derivative(Net(), x, 3 if key.endswith("3") else 1)


@case("linearize")
def linearize() -> Any:
    x, y = pair()
    out, fn = ops.functional.linearize(square_times, (x, y))
    return out, fn((vector(1.0, 10.0), vector(2.0, 20.0)))
