"""Second derivatives, by differentiating twice."""
# ruff: noqa: RET504 (the code is the guide's)

import numpy as np

import evolute.nn as nn
import evolute.ops as ops
from evolute import Tensor
from evolute import dtype as mstype
from guide.example import example


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
