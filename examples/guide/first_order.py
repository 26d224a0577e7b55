"""First derivatives by `GradOperation`, and stopping them."""
# ruff: noqa: RET504 (the code is the guide's)

import numpy as np

import evolute.nn as nn
import evolute.ops as ops
from evolute import Parameter, ParameterTuple, Tensor
from evolute import dtype as mstype
from evolute.ops import stop_gradient
from guide.example import example

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
