"""Derivatives of operations, to the second order, in reverse and forward mode."""

from __future__ import annotations

from typing import Any

import mindspore as ms
from mindspore import nn, ops

from compat.cases import case, sample

# Function, class, and where its argument comes from.
UNARY = {
    "neg": ("Neg", -2, 2),
    "abs": ("Abs", 0.2, 2),
    "square": ("Square", -2, 2),
    "sqrt": ("Sqrt", 0.5, 2),
    "rsqrt": ("Rsqrt", 0.5, 2),
    "reciprocal": ("Reciprocal", 0.5, 2),
    "exp": ("Exp", -2, 2),
    "expm1": ("Expm1", -1, 1),
    "log": ("Log", 0.5, 3),
    "log1p": ("Log1p", -0.5, 2),
    "sin": ("Sin", -3, 3),
    "cos": ("Cos", -3, 3),
    "tan": ("Tan", -1, 1),
    "asin": ("Asin", -0.8, 0.8),
    "acos": ("ACos", -0.8, 0.8),
    "atan": ("Atan", -2, 2),
    "sinh": ("Sinh", -2, 2),
    "cosh": ("Cosh", -2, 2),
    "tanh": ("Tanh", -2, 2),
    "asinh": ("Asinh", -2, 2),
    "acosh": ("Acosh", 1.5, 3),
    "atanh": ("Atanh", -0.8, 0.8),
    "erf": ("Erf", -2, 2),
    "erfc": ("Erfc", -2, 2),
    "sigmoid": ("Sigmoid", -3, 3),
    "relu": ("ReLU", 0.2, 2),
    "gelu": (None, -2, 2),
    "silu": (None, -2, 2),
    "softplus": ("Softplus", -2, 2),
    "sign": ("Sign", 0.2, 2),
    "floor": ("Floor", 0.2, 0.8),
    "softmax": (None, -1, 1),
    "log_softmax": (None, -1, 1),
}
# Second derivatives that MindSpore 2.10 has on CPUs.
BINARY = {
    "add": ("Add", 0.5, 2),
    "sub": ("Sub", 0.5, 2),
    "mul": ("Mul", 0.5, 2),
    "div": ("Div", 0.5, 2),
    "pow": ("Pow", 0.5, 2),
    "atan2": ("Atan2", 0.5, 2),
    "maximum": ("Maximum", 0.5, 2),
    "minimum": ("Minimum", 0.5, 2),
    "hypot": (None, 0.5, 2),
    "matmul": ("MatMul", 0.5, 2),
}


@case("ops/value", *UNARY)
def value(name: str) -> Any:
    _, low, high = UNARY[name]
    return getattr(ops, name)(sample(low, high))


@case("ops/class", *(name for name, (cls, _, _) in UNARY.items() if cls))
def by_class(name: str) -> Any:
    cls, low, high = UNARY[name]
    op = getattr(ops, cls)()

    class Net(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.op = op

        def construct(self, x):
            return self.op(x)

    return ops.GradOperation()(Net())(sample(low, high))


@case("ops/grad", *UNARY)
def first(name: str) -> Any:
    _, low, high = UNARY[name]
    op = getattr(ops, name)

    def fn(x):
        return ops.sin(op(x))

    return ms.grad(fn)(sample(low, high))


@case("ops/grad of grad", *(name for name in UNARY if name not in ("floor", "sign")))
def second(name: str) -> Any:
    _, low, high = UNARY[name]
    op = getattr(ops, name)

    def fn(x):
        return ops.sin(op(x))

    return ms.grad(ms.grad(fn))(sample(low, high))


@case("ops/jvp", *(name for name in UNARY if name not in ("floor", "sign")))
def forward(name: str) -> Any:
    _, low, high = UNARY[name]
    return ms.jvp(getattr(ops, name), sample(low, high), sample(-1, 1, seed=1))


@case("ops/binary", *BINARY)
def binary(name: str) -> Any:
    _, low, high = BINARY[name]
    shapes = ((2, 3), (3, 2)) if name == "matmul" else ((2, 3), (2, 3))
    x, y = (sample(low, high, shape, i) for i, shape in enumerate(shapes))
    return ms.value_and_grad(getattr(ops, name), (0, 1))(x, y)


@case("ops/binary class", *(name for name, (cls, _, _) in BINARY.items() if cls))
def binary_class(name: str) -> Any:
    cls, low, high = BINARY[name]
    shapes = ((2, 3), (3, 2)) if name == "matmul" else ((2, 3), (2, 3))
    x, y = (sample(low, high, shape, i) for i, shape in enumerate(shapes))
    op = getattr(ops, cls)()

    class Net(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.op = op

        def construct(self, x, y):
            return self.op(x, y)

    return ops.GradOperation(get_all=True)(Net())(x, y)


@case("ops/binary second", "mul", "div", "pow", "matmul")
def binary_second(name: str) -> Any:
    _, low, high = BINARY[name]
    shapes = ((2, 3), (3, 2)) if name == "matmul" else ((2, 3), (2, 3))
    x, y = (sample(low, high, shape, i) for i, shape in enumerate(shapes))
    op = getattr(ops, name)

    def fn(x, y):
        return ops.sin(op(x, y))

    return ms.grad(ms.grad(fn, 0), 1)(x, y)


@case("ops/broadcast", "add", "sub", "mul", "div", "pow", "maximum")
def broadcast(name: str) -> Any:
    _, low, high = BINARY[name]
    x, y = sample(low, high, (2, 3)), sample(low, high, (3,), 1)
    return ms.grad(getattr(ops, name), (0, 1))(x, y)


REDUCTIONS = {
    "sum": lambda x: ops.sum(x),
    "sum of an axis": lambda x: ops.sum(x, 1),
    "sum kept": lambda x: ops.sum(x, 0, True),
    "mean": lambda x: ops.mean(x),
    "mean of an axis": lambda x: ops.mean(x, 1),
    "mean kept": lambda x: ops.mean(x, 1, True),
    "prod": lambda x: ops.prod(x),
    "prod of an axis": lambda x: ops.prod(x, 1),
    "reduce_sum": lambda x: ops.ReduceSum()(x),
    "reduce_sum kept": lambda x: ops.ReduceSum(True)(x, 1),
    "reduce_mean": lambda x: ops.ReduceMean()(x, (0, 1)),
    "reduce_max": lambda x: ops.ReduceMax()(x, 1),
    "reduce_min": lambda x: ops.ReduceMin()(x, 0),
    "max": lambda x: ops.max(x, 1)[0],
    "min": lambda x: ops.min(x, 1)[0],
    "amax": lambda x: ops.amax(x, 1),
    "logsumexp": lambda x: ops.logsumexp(x, 1),
    "cumsum": lambda x: ops.cumsum(x, 1),
    "norm": lambda x: ops.norm(x),
    "norm of an axis": lambda x: ops.norm(x, 2, 1),
    "var": lambda x: ops.var(x, 1),
    "std": lambda x: ops.std(x, 1),
    "method sum": lambda x: x.sum(),
    "method mean": lambda x: x.mean(1),
    "method max": lambda x: x.max(),
}


@case("ops/reduction", *REDUCTIONS)
def reduction(name: str) -> Any:
    return ms.value_and_grad(REDUCTIONS[name])(sample(0.5, 2))


STRUCTURE = {
    "reshape": lambda x: ops.reshape(x, (3, 2)),
    "method reshape": lambda x: x.reshape(3, 2),
    "view": lambda x: x.view(3, 2),
    "transpose": lambda x: ops.transpose(x, (1, 0)),
    "T": lambda x: x.T,
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "expand_dims": lambda x: ops.expand_dims(x, 1),
    "squeeze": lambda x: ops.squeeze(ops.expand_dims(x, 1)),
    "concat": lambda x: ops.concat((x, x * x), 1),
    "cat": lambda x: ops.cat([x, x], 0),
    "stack": lambda x: ops.stack([x, x * 2], 1),
    "split": lambda x: ops.split(x, 1, 1)[1],
    "split by sizes": lambda x: ops.split(x, [1, 2], 1)[1],
    "Split": lambda x: ops.Split(1, 3)(x)[0],
    "chunk": lambda x: ops.chunk(x, 2, 0)[1],
    "unstack": lambda x: ops.unstack(x, 0)[1],
    "tile": lambda x: ops.tile(x, (2, 1)),
    "broadcast_to": lambda x: ops.broadcast_to(x, (4, 2, 3)),
    "gather": lambda x: ops.gather(x, ms.Tensor([2, 0]), 1),
    "gather_elements": lambda x: ops.gather_elements(x, 1, ms.Tensor([[2, 0], [1, 1]])),
    "index": lambda x: x[1],
    "slice": lambda x: x[:, 1:],
    "two indices": lambda x: x[0][1],
    "where": lambda x: ops.where(x > 0, x, x * 3),
    "select": lambda x: ops.select(x > 0, x, -x),
    "masked_fill": lambda x: ops.masked_fill(x, x > 0, 5.0),
    "clip": lambda x: ops.clip(x, -0.5, 0.5),
    "clamp": lambda x: ops.clamp(x, min=0.0),
    "clip_by_value": lambda x: ops.clip_by_value(x, -0.5, 0.5),
    "flip": lambda x: ops.flip(x, (0,)),
    "roll": lambda x: ops.roll(x, 1, 1),
    "pad": lambda x: ops.pad(x, (1, 2)),
    "tril": lambda x: ops.tril(x),
    "triu": lambda x: ops.triu(x, 1),
    "diag": lambda x: ops.diag(x[0]),
    "cast": lambda x: ops.cast(x, ms.float64),
    "astype": lambda x: x.astype(ms.float32),
    "einsum": lambda x: ops.matmul(x, x.T),
    "outer": lambda x: ops.outer(x[0], x[1]),
    "permute": lambda x: ops.permute(x, (1, 0)),
    "flatten": lambda x: ops.flatten(x),
    "leaky_relu": lambda x: ops.leaky_relu(x, 0.1),
    "elu": lambda x: ops.elu(x),
    "bmm": lambda x: ops.bmm(ops.expand_dims(x, 0), ops.expand_dims(x.T, 0)),
}


@case("ops/structure", *STRUCTURE)
def structure(name: str) -> Any:
    op = STRUCTURE[name]
    return ms.value_and_grad(lambda x: ops.sin(op(x)))(sample(-1, 1))


LINALG = {
    "inverse": ops.inverse,
    "MatrixInverse": lambda x: ops.MatrixInverse()(x),
    "det": ops.det,
    "cholesky": ops.cholesky,
    "matmul of vectors": lambda x: ops.matmul(x[0], x[1]),
    "operator": lambda x: x @ x,
}


@case("ops/linalg", *LINALG)
def linalg(name: str) -> Any:
    a = sample(-1, 1, (3, 3))
    spd = ops.matmul(a, a.T) + ops.eye(3, 3, ms.float32)
    return ms.value_and_grad(LINALG[name])(spd)
