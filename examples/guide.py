"""The examples of MindSpore's gradient guide, in its order, with `evolute` in place of `mindspore`.

Each example is a function that prints what the guide's code prints; `Example.documented` is what the guide says that
is. The guide repeats its classes from one example to the next; here those that stay the same stand once.

`quickstart.py` runs them all and shows both texts. The tests hold the numbers.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import evolute.nn as nn
import evolute.ops as ops
from evolute import Parameter, ParameterTuple, Tensor, context
from evolute import dtype as mstype
from evolute.ops import grad, jvp, stop_gradient, vjp

# A number among the elements; the shapes and dtypes before them are matched first, and kept.
TOKEN = re.compile(r"shape=\[[\d, ]*\], dtype=\w+|(-?\d+\.?\d*(?:e[+-]\d+)?)")


def numbers(text: str) -> list[str]:
    """The numbers printed in a text."""
    return [number for number in TOKEN.findall(text) if number]


@dataclass(frozen=True)
class Example:
    """An example of the guide.

    Attributes
    ----------
    title : str
        What it shows.
    run : callable
        Runs it; prints its output.
    documented : str
        The output in the guide, with the alignment that NumPy gives it.
    loose : bool
        Whether the guide rounds the numbers or writes them in another way than they are printed.
    """

    title: str
    run: Callable[[], None]
    documented: str
    loose: bool

    def output(self, mode: int) -> str:
        """What the example prints in the given mode."""
        before = context.get_context("mode")
        context.set_context(mode=mode, device_target="CPU")
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                self.run()
        finally:
            context.set_context(mode=before)
        return printed.getvalue().rstrip("\n")

    def agrees(self, output: str) -> bool:
        """Whether `output` has the documented form, and its numbers to 2 units in the last place of float32.

        Where the guide is loose, numbers may differ by its rounding too, and neither commas nor spaces count.
        """
        return self._form(output) == self._form(self.documented) and all(
            abs(float(got) - float(wanted)) <= 2 * np.spacing(np.float32(abs(float(wanted)))) + self._rounding(wanted)
            for got, wanted in zip(numbers(output), numbers(self.documented), strict=True)
        )

    def _form(self, text: str) -> str:
        """The text without its numbers."""
        form = TOKEN.sub(lambda match: "#" if match[1] else match[0], text)
        return re.sub(r"[\s,]", "", form) if self.loose else form

    def _rounding(self, number: str) -> float:
        """Half a unit of the last digit written, where the guide rounds."""
        return 0.5 * 10.0 ** -len(number.partition(".")[2]) if self.loose else 0.0


EXAMPLES: list[Example] = []


def example(title: str, documented: str, *, loose: bool = False) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Add a function to `EXAMPLES`."""

    def add(run: Callable[[], None]) -> Callable[[], None]:
        EXAMPLES.append(Example(title, run, documented.strip("\n"), loose))
        return run

    return add


# ---- First order

MATRIX_X = Tensor([[0.8, 0.6, 0.2], [1.8, 1.3, 1.1]], dtype=mstype.float32)
MATRIX_Y = Tensor([[0.11, 3.3, 1.1], [1.1, 0.2, 1.4], [1.1, 2.2, 0.3]], dtype=mstype.float32)


class MatMulNet(nn.Cell):
    """Matrix product with a weight."""

    def __init__(self):
        super().__init__()
        self.matmul = ops.MatMul()
        self.z = Parameter(Tensor(np.array([1.0], np.float32)), name="z")

    def construct(self, x, y):
        """Compute the output."""
        x = x * self.z
        out = self.matmul(x, y)
        return out


class GradNetWrtX(nn.Cell):
    """Gradient of a network with respect to its first input."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.grad_op = ops.GradOperation()

    def construct(self, x, y):
        """Compute the gradient."""
        gradient_function = self.grad_op(self.net)
        return gradient_function(x, y)


@example(
    "GradOperation: derivative with respect to an input",
    """
[[4.5099998 2.7       3.6000001]
 [4.5099998 2.7       3.6000001]]
""",
)
def input_gradient():
    output = GradNetWrtX(MatMulNet())(MATRIX_X, MATRIX_Y)
    print(output)


@example(
    "GradOperation(get_by_list=True): derivative with respect to the weights",
    "(Tensor(shape=[1], dtype=Float32, value= [ 2.15359993e+01]),)",
)
def weight_gradient():
    class GradNetWrtWeights(nn.Cell):
        def __init__(self, net):
            super().__init__()
            self.net = net
            self.params = ParameterTuple(net.trainable_params())
            self.grad_op = ops.GradOperation(get_by_list=True)

        def construct(self, x, y):
            gradient_function = self.grad_op(self.net, self.params)
            return gradient_function(x, y)

    output = GradNetWrtWeights(MatMulNet())(MATRIX_X, MATRIX_Y)
    print(output)


@example(
    "GradOperation(sens_param=True): scaled outputs",
    """
[[2.211 0.51  1.49 ]
 [5.588 2.68  4.07 ]]
""",
)
def scaled_gradient():
    class ScaledGradNet(nn.Cell):
        def __init__(self, net):
            super().__init__()
            self.net = net
            self.grad_op = ops.GradOperation(sens_param=True)
            self.grad_wrt_output = Tensor([[0.1, 0.6, 0.2], [0.8, 1.3, 1.1]], dtype=mstype.float32)

        def construct(self, x, y):
            gradient_function = self.grad_op(self.net)
            return gradient_function(x, y, self.grad_wrt_output)

    output = ScaledGradNet(MatMulNet())(MATRIX_X, MATRIX_Y)
    print(output)


@example(
    "Derivative of a single output",
    """
[[0.11 1.1  1.1 ]
 [0.   0.   0.  ]]
""",
)
def single_output():
    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.matmul = ops.MatMul()
            self.z = Parameter(Tensor(np.array([1.0], np.float32)), name="z")

        def construct(self, x, y):
            x = x * self.z
            out = self.matmul(x, y)
            return out[0][0]

    output = GradNetWrtX(Net())(MATRIX_X, MATRIX_Y)
    print(output)


# ---- Stopping gradients


@example(
    "stop_gradient: one of two equal terms",
    """
[[4.5, 2.7, 3.6],
 [4.5, 2.7, 3.6]]
""",
    loose=True,
)
def stopped_gradient():
    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.matmul = ops.MatMul()

        def construct(self, x, y):
            out1 = self.matmul(x, y)
            out2 = self.matmul(x, y)
            out2 = stop_gradient(out2)
            out = out1 + out2
            return out

    output = GradNetWrtX(Net())(MATRIX_X, MATRIX_Y)
    print(output)


@example(
    "... and without stop_gradient",
    """
[[9.0, 5.4, 7.2],
 [9.0, 5.4, 7.2]]
""",
    loose=True,
)
def unstopped_gradient():
    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.matmul = ops.MatMul()

        def construct(self, x, y):
            out1 = self.matmul(x, y)
            out2 = self.matmul(x, y)
            out = out1 + out2
            return out

    output = GradNetWrtX(Net())(MATRIX_X, MATRIX_Y)
    print(output)


# ---- Higher orders


class Grad(nn.Cell):
    """Gradient of a network of one input."""

    def __init__(self, network):
        super().__init__()
        self.grad = ops.GradOperation(sens_param=False)
        self.network = network

    def construct(self, x):
        """Compute the gradient."""
        gout = self.grad(self.network)(x)
        return gout


@example("Second derivative, single input and output", "[-0.841471]")
def second_derivative_of_sin():
    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.sin = ops.Sin()

        def construct(self, x):
            out = self.sin(x)
            return out

    net = Net()
    firstgrad = Grad(net)  # first order
    secondgrad = Grad(firstgrad)  # second order
    x_train = Tensor(np.array([1.0], dtype=np.float32))
    output = secondgrad(x_train)
    print(output)


@example("Second derivative, single input, several outputs", "[2. 2. 2.]")
def second_derivative_of_square():
    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.mul = ops.Mul()

        def construct(self, x):
            out = self.mul(x, x)
            return out

    net = Net()
    firstgrad = Grad(net)  # first order
    secondgrad = Grad(firstgrad)  # second order
    x = Tensor([0.1, 0.2, 0.3], dtype=mstype.float32)
    output = secondgrad(x)
    print(output)


@example("Second derivatives, several inputs and outputs: dxdx, dxdy, dydx, dydy", "[10] [8.] [8.] [0.]", loose=True)
def mixed_second_derivatives():
    class Net(nn.Cell):
        def __init__(self):
            super().__init__()
            self.mul = ops.Mul()

        def construct(self, x, y):
            x_square = self.mul(x, x)
            x_square_y = self.mul(x_square, y)
            return x_square_y

    class GradAll(nn.Cell):
        def __init__(self, network):
            super().__init__()
            self.grad = ops.GradOperation(get_all=True, sens_param=False)
            self.network = network

        def construct(self, x, y):
            gout = self.grad(self.network)(x, y)  # return dx, dy
            return gout

    class GradSec(nn.Cell):
        def __init__(self, network):
            super().__init__()
            self.grad = ops.GradOperation(get_all=True, sens_param=True)
            self.network = network
            self.sens1 = Tensor(np.array([1]).astype("float32"))
            self.sens2 = Tensor(np.array([0]).astype("float32"))

        def construct(self, x, y):
            dxdx, dxdy = self.grad(self.network)(x, y, (self.sens1, self.sens2))
            dydx, dydy = self.grad(self.network)(x, y, (self.sens2, self.sens1))
            return dxdx, dxdy, dydx, dydy

    net = Net()
    firstgrad = GradAll(net)  # first order
    secondgrad = GradSec(firstgrad)  # second order
    x_train = Tensor(np.array([4], dtype=np.float32))
    y_train = Tensor(np.array([5], dtype=np.float32))
    dxdx, dxdy, dydx, dydy = secondgrad(x_train, y_train)
    print(dxdx, dxdy, dydx, dydy)


# ---- Jvp and Vjp


class SinCosNet(nn.Cell):
    """sin x + cos y."""

    def __init__(self):
        super().__init__()
        self.sin = ops.Sin()
        self.cos = ops.Cos()

    def construct(self, x, y):
        """Compute the output."""
        a = self.sin(x)
        b = self.cos(y)
        out = a + b
        return out


VECTOR_X = Tensor([0.8, 0.6, 0.2], dtype=mstype.float32)
VECTOR_Y = Tensor([0.7, 0.4, 0.3], dtype=mstype.float32)
VECTOR_V = Tensor([1, 1, 1], dtype=mstype.float32)


@example(
    "nn.Jvp: output and forward derivative",
    "(Tensor(shape=[3], dtype=Float32, value= [ 1.48219836e+00,  1.48570347e+00,  1.15400589e+00]), "
    "Tensor(shape=[3], dtype=Float32, value= [ 5.24890423e-02,  4.35917288e-01,  6.84546351e-01]))",
)
def forward_derivative():
    class GradNet(nn.Cell):
        def __init__(self, net):
            super().__init__()
            self.net = net
            self.grad_op = nn.Jvp(net)

        def construct(self, x, y, v):
            output = self.grad_op(x, y, (v, v))
            return output

    output = GradNet(SinCosNet())(VECTOR_X, VECTOR_Y, VECTOR_V)
    print(output)


@example(
    "nn.Vjp: output and reverse derivatives",
    "(Tensor(shape=[3], dtype=Float32, value= [ 1.48219836e+00,  1.48570347e+00,  1.15400589e+00]), "
    "(Tensor(shape=[3], dtype=Float32, value= [ 6.96706712e-01,  8.25335622e-01,  9.80066597e-01]), "
    "Tensor(shape=[3], dtype=Float32, value= [-6.44217670e-01, -3.89418334e-01, -2.95520216e-01])))",
)
def reverse_derivative():
    class GradNet(nn.Cell):
        def __init__(self, net):
            super().__init__()
            self.net = net
            self.grad_op = nn.Vjp(net)

        def construct(self, x, y, v):
            output = self.grad_op(x, y, v)
            return output

    output = GradNet(SinCosNet())(VECTOR_X, VECTOR_Y, VECTOR_V)
    print(output)


# ---- Functions instead of objects

SQUARE_X = Tensor(np.array([[1, 2], [3, 4]]).astype(np.float32))
SQUARE_Y = Tensor(np.array([[-2, 3], [-1, 2]]).astype(np.float32))
SQUARE_Z = Tensor(np.array([[0, 3], [5, -1]]).astype(np.float32))


@example(
    "grad(grad_position=(1, 2)): chosen inputs",
    """
(Tensor(shape=[2, 2], dtype=Float32, value=
[[ 0.00000000e+00,  6.00000000e+00],
 [ 1.50000000e+01, -4.00000000e+00]]), Tensor(shape=[2, 2], dtype=Float32, value=
[[-2.00000000e+00,  6.00000000e+00],
 [-3.00000000e+00,  8.00000000e+00]]))
""",
)
def functional_grad():
    class Net(nn.Cell):
        def construct(self, x, y, z):
            return x * y * z

    net = Net()
    output = grad(net, grad_position=(1, 2))(SQUARE_X, SQUARE_Y, SQUARE_Z)
    print(output)


@example(
    "grad(sens_param=True): scaled outputs",
    """
(Tensor(shape=[2, 2], dtype=Float32, value=
[[ 4.00000000e+00,  3.60000000e+01],
 [ 2.60000000e+01,  0.00000000e+00]]), Tensor(shape=[2, 2], dtype=Float32, value=
[[ 2.00000000e+00,  3.60000000e+01],
 [ 1.40000000e+01,  6.00000000e+00]]))
""",
)
def functional_grad_with_scale():
    class Net(nn.Cell):
        def construct(self, x, y, z):
            return x**2 + y**2 + z**2, x * y * z

    v = Tensor(np.array([[-1, 3], [2, 1]]).astype(np.float32))
    net = Net()
    output = grad(net, grad_position=(1, 2), sens_param=True)(SQUARE_X, SQUARE_Y, SQUARE_Z, (v, v))
    print(output)


class CubeNet(nn.Cell):
    """x³ + y."""

    def construct(self, x, y):
        """Compute the output."""
        return x**3 + y


@example(
    "jvp: output and forward derivative",
    """
(Tensor(shape=[2, 2], dtype=Float32, value=
[[ 2.00000000e+00,  1.00000000e+01],
 [ 3.00000000e+01,  6.80000000e+01]]), Tensor(shape=[2, 2], dtype=Float32, value=
[[ 4.00000000e+00,  1.30000000e+01],
 [ 2.80000000e+01,  4.90000000e+01]]))
""",
)
def functional_jvp():
    x = Tensor(np.array([[1, 2], [3, 4]]).astype(np.float32))
    y = Tensor(np.array([[1, 2], [3, 4]]).astype(np.float32))
    v = Tensor(np.array([[1, 1], [1, 1]]).astype(np.float32))
    output = jvp(CubeNet(), (x, y), (v, v))
    print(output)


@example(
    "vjp: output and reverse derivatives",
    """
(Tensor(shape=[2, 2], dtype=Float32, value=
[[ 2.00000000e+00,  1.00000000e+01],
 [ 3.00000000e+01,  6.80000000e+01]]), (Tensor(shape=[2, 2], dtype=Float32, value=
[[ 3.00000000e+00,  1.20000000e+01],
 [ 2.70000000e+01,  4.80000000e+01]]), Tensor(shape=[2, 2], dtype=Float32, value=
[[ 1.00000000e+00,  1.00000000e+00],
 [ 1.00000000e+00,  1.00000000e+00]])))
""",
)
def functional_vjp():
    x = Tensor(np.array([[1, 2], [3, 4]]).astype(np.float32))
    y = Tensor(np.array([[1, 2], [3, 4]]).astype(np.float32))
    v = Tensor(np.array([[1, 1], [1, 1]]).astype(np.float32))
    output = vjp(CubeNet(), (x, y), v)
    print(output)
