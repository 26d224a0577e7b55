"""Forward and reverse derivatives by `nn.Jvp` and `nn.Vjp`, and the functions `grad`, `jvp` and `vjp`."""
# ruff: noqa: RET504 (the code is the guide's)

import numpy as np

import evolute.nn as nn
import evolute.ops as ops
from evolute import Tensor
from evolute import dtype as mstype
from evolute.ops import grad, jvp, vjp
from guide.example import example


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
