"""Cells: parameters, names, nesting, control flow, custom backward functions; layers, losses and optimisers."""

from __future__ import annotations

from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn, ops

from compat.cases import case, sample, vector


def scale(value: float = 2.0) -> Any:
    class Scale(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.factor = ms.Parameter(vector(value), name="factor")

        def construct(self, x):
            return self.factor * x * x

    return Scale()


# ---- Parameters and their names


@case("cells/names", "flat", "nested", "list", "sequence", "shared", "twice")
def names(key: str) -> Any:
    class Net(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            if key == "flat":
                self.w = ms.Parameter(vector(1.0), name="w")
                self.v = ms.Parameter(vector(1.0))
            elif key == "list":
                self.layers = nn.CellList([scale(), scale()])
            elif key == "sequence":
                self.layers = nn.SequentialCell(scale(), nn.Tanh(), scale())
            elif key == "shared":
                self.a = scale()
                self.b = self.a
            else:
                self.a = scale()
                self.b = scale() if key == "twice" else nn.Dense(1, 1, has_bias=False)

        def construct(self, x):
            return x

    net = Net()
    return [[p.name for p in net.trainable_params()], [name for name, _ in net.parameters_and_names()]]


@case("cells/requires_grad", "parameter", "set_grad", "untrainable")
def requires_grad(key: str) -> Any:
    net = nn.SequentialCell(scale(), scale())
    if key == "parameter":
        next(iter(net.get_parameters())).requires_grad = False
    elif key == "set_grad":
        net[0].set_grad(False)
    else:
        next(iter(net.get_parameters())).requires_grad = False
        return [p.name for p in net.untrainable_params()]
    return [p.name for p in net.trainable_params()]


@case("cells/gradient of nested cells", "list", "shared", "parameter of both")
def nested(key: str) -> Any:
    class Net(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.a = scale()
            self.b = self.a if key == "shared" else scale(3.0)
            if key == "parameter of both":
                self.b.factor = self.a.factor
            self.layers = nn.CellList([self.a, self.b])

        def construct(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    net = Net()
    return ms.grad(net, 0, net.trainable_params())(vector(1.0, 2.0))


@case("cells/assign", "Assign", "ops.assign", "set_data", "assign_add", "in construct")
def assign(key: str) -> Any:
    parameter = ms.Parameter(vector(1.0, 2.0), name="p")
    if key == "Assign":
        ops.Assign()(parameter, vector(3.0, 4.0))
    elif key == "ops.assign":
        ops.assign(parameter, vector(3.0, 4.0))
    elif key == "set_data":
        parameter.set_data(vector(3.0, 4.0))
    elif key == "assign_add":
        ops.assign_add(parameter, vector(3.0, 4.0))
    else:

        class Counter(nn.Cell):
            def __init__(self) -> None:
                super().__init__()
                self.count = ms.Parameter(vector(0.0), name="count")

            def construct(self, x):
                self.count = self.count + 1.0
                return x * self.count

        net = Counter()
        return [net(vector(5.0)), net(vector(5.0)), net.count.asnumpy()]
    return parameter.asnumpy()


@case("cells/parameters_dict")
def parameters_dict() -> Any:
    net = nn.SequentialCell(scale(), scale(3.0))
    return {name: p.asnumpy() for name, p in net.parameters_dict().items()}


@case("cells/load_param_into_net")
def load() -> Any:
    net = scale()
    ms.load_param_into_net(net, {"factor": ms.Parameter(vector(7.0), name="factor")})
    return net(vector(2.0))


# ---- Control flow


@case("cells/control flow", "for", "if on a constant", "while on a number", "enumerate", "zip", "comprehension")
def control_flow(key: str) -> Any:
    class Net(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.flag = True
            self.weights = [1.0, 2.0, 3.0]

        def construct(self, x):
            if key == "for":
                for i in range(3):
                    x = x * x + i
            elif key == "if on a constant":
                x = x * x if self.flag else x
            elif key == "while on a number":
                n = 0
                while n < 3:
                    x = ops.sin(x)
                    n = n + 1
            elif key == "enumerate":
                for i, w in enumerate(self.weights):
                    x = x * w + i
            elif key == "zip":
                for a, b in zip(self.weights, self.weights):  # noqa: B905
                    x = x * a * b
            else:
                x = sum([x * w for w in self.weights])
            return x

    return ms.grad(Net())(vector(0.5, 1.0))


@case("cells/control flow on values", "if", "while", "if of the other sign")
def control_flow_on_values(key: str) -> Any:
    class Net(nn.Cell):
        def construct(self, x):
            if key == "while":
                while x.sum() < 10:
                    x = x * 2
                return x * x
            if x.sum() > 0:
                return x * x
            return -x

    x = vector(0.5, 1.0)
    return ms.grad(Net())(-x if key == "if of the other sign" else x)


# ---- Backward functions of one's own


@case("cells/bprop", "one input", "two inputs", "with weights", "nested")
def bprop(key: str) -> Any:
    class Net(nn.Cell):
        def construct(self, x):
            return x * x

        def bprop(self, x, out, dout):
            return (dout * 100.0 + out,)

    class Two(nn.Cell):
        def construct(self, x, y):
            return x * y

        def bprop(self, x, y, out, dout):
            return dout * y * 10.0, dout * x

    x, y = vector(1.0, 2.0), vector(3.0, 5.0)
    if key == "one input":
        return ms.grad(Net())(x)
    if key == "two inputs":
        return ms.grad(Two(), (0, 1))(x, y)

    class Outer(nn.Cell):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Net()
            self.w = ms.Parameter(vector(2.0), name="w")

        def construct(self, x):
            return self.w * self.inner(x * 2.0)

    net = Outer()
    return ms.grad(net, 0, net.trainable_params())(x) if key == "with weights" else ms.grad(net)(x)


# ---- Layers


LAYERS = {
    "Dense": lambda: nn.Dense(3, 2, weight_init="ones", bias_init="zeros"),
    "Dense with activation": lambda: nn.Dense(3, 2, "ones", "ones", activation="tanh"),
    "Dense without bias": lambda: nn.Dense(3, 2, weight_init="ones", has_bias=False),
    "Dense of tensors": lambda: nn.Dense(3, 2, sample(-1, 1, (2, 3), 7), sample(-1, 1, (2,), 8)),
    "Tanh": lambda: nn.Tanh(),
    "Sigmoid": lambda: nn.Sigmoid(),
    "ReLU": lambda: nn.ReLU(),
    "GELU": lambda: nn.GELU(approximate=False),
    "GELU approximate": lambda: nn.GELU(),
    "SiLU": lambda: nn.SiLU(),
    "LeakyReLU": lambda: nn.LeakyReLU(0.1),
    "ELU": lambda: nn.ELU(),
    "Softmax": lambda: nn.Softmax(),
    "LogSoftmax": lambda: nn.LogSoftmax(),
    "LayerNorm": lambda: nn.LayerNorm((3,)),
    "LayerNorm of values": lambda: nn.LayerNorm((3,), 1, 1, sample(1, 2, (3,)), "ones", 1e-3),
    "Flatten": lambda: nn.Flatten(),
    "Identity": lambda: nn.Identity(),
    "SequentialCell": lambda: nn.SequentialCell([nn.Dense(3, 2, "ones", "zeros"), nn.Tanh()]),
    "get_activation": lambda: nn.get_activation("tanh"),
}


@case("nn/layer", *LAYERS)
def layer(key: str) -> Any:
    net = LAYERS[key]()
    x = sample(-1, 1, (4, 3))
    return net(x), ms.grad(lambda x: ops.sin(net(x)), 0)(x)


LOSSES = {
    "MSELoss": lambda: nn.MSELoss(),
    "MSELoss sum": lambda: nn.MSELoss(reduction="sum"),
    "MSELoss none": lambda: nn.MSELoss(reduction="none"),
    "L1Loss": lambda: nn.L1Loss(),
    "L1Loss sum": lambda: nn.L1Loss("sum"),
    "HuberLoss": lambda: nn.HuberLoss(),
    "HuberLoss of delta": lambda: nn.HuberLoss("sum", 0.3),
    "SmoothL1Loss": lambda: nn.SmoothL1Loss(),
    "SmoothL1Loss of beta": lambda: nn.SmoothL1Loss(0.5, "mean"),
    "mse_loss": lambda: ops.mse_loss,
    "l1_loss": lambda: ops.l1_loss,
    "huber_loss": lambda: ops.huber_loss,
}


@case("nn/loss", *LOSSES)
def loss(key: str) -> Any:
    fn = LOSSES[key]()
    return ms.value_and_grad(lambda x, y: fn(x, y), (0, 1))(sample(-2, 2), sample(-1, 1, seed=1))


CROSS_ENTROPY = {
    "CrossEntropyLoss": lambda: nn.CrossEntropyLoss(),
    "CrossEntropyLoss sum": lambda: nn.CrossEntropyLoss(reduction="sum"),
    "CrossEntropyLoss smooth": lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
    "CrossEntropyLoss weights": lambda: nn.CrossEntropyLoss(vector(1.0, 2.0, 3.0)),
    "SoftmaxCrossEntropyWithLogits": lambda: nn.SoftmaxCrossEntropyWithLogits(sparse=True, reduction="mean"),
    "cross_entropy": lambda: ops.cross_entropy,
}


@case("nn/cross-entropy", *CROSS_ENTROPY)
def cross_entropy(key: str) -> Any:
    fn = CROSS_ENTROPY[key]()
    labels = ms.Tensor(np.array([0, 2, 1, 1], np.int32))
    return ms.value_and_grad(lambda x: fn(x, labels))(sample(-2, 2, (4, 3)))


# ---- Training

OPTIMISERS = {
    "SGD": lambda p: nn.SGD(p, 0.1),
    "SGD with momentum": lambda p: nn.SGD(p, 0.1, 0.9),
    "SGD with decay": lambda p: nn.SGD(p, learning_rate=0.1, weight_decay=0.1),
    "Momentum": lambda p: nn.Momentum(p, 0.1, 0.9),
    "Momentum nesterov": lambda p: nn.Momentum(p, 0.1, 0.9, use_nesterov=True),
    "Momentum with decay": lambda p: nn.Momentum(p, 0.1, 0.9, 0.1),
    "Adam": lambda p: nn.Adam(p, 0.1),
    "Adam with decay": lambda p: nn.Adam(p, learning_rate=0.1, weight_decay=0.1),
    "Adam of betas": lambda p: nn.Adam(p, 0.1, 0.8, 0.9),
    "a list of rates": lambda p: nn.SGD(p, [0.3, 0.2, 0.1, 0.05]),
    "ExponentialDecayLR": lambda p: nn.SGD(p, nn.ExponentialDecayLR(0.3, 0.5, 2)),
    "CosineDecayLR": lambda p: nn.SGD(p, nn.CosineDecayLR(0.01, 0.3, 4)),
    "PolynomialDecayLR": lambda p: nn.SGD(p, nn.PolynomialDecayLR(0.3, 0.01, 4, 0.5)),
    "WarmUpLR": lambda p: nn.SGD(p, nn.WarmUpLR(0.3, 3)),
    "InverseDecayLR": lambda p: nn.SGD(p, nn.InverseDecayLR(0.3, 0.5, 2)),
    "NaturalExpDecayLR": lambda p: nn.SGD(p, nn.NaturalExpDecayLR(0.3, 0.5, 2, True)),
    "groups": lambda p: nn.SGD([{"params": p[:1], "lr": 0.3}, {"params": p[1:]}], 0.1),
}


def regression() -> tuple[Any, Any]:
    net = nn.Dense(3, 2, sample(-1, 1, (2, 3), 7), sample(-1, 1, (2,), 8))
    return net, nn.WithLossCell(net, nn.MSELoss())


@case("nn/optimiser", *OPTIMISERS)
def optimiser(key: str) -> Any:
    net, _ = regression()
    x, y = sample(-1, 1, (4, 3)), sample(-1, 1, (4, 2), 1)
    opt = OPTIMISERS[key](net.trainable_params())
    step = ms.value_and_grad(lambda x, y: nn.MSELoss()(net(x), y), None, opt.parameters)
    for _ in range(3):
        _, gradients = step(x, y)
        opt(gradients)
    return [p.asnumpy() for p in net.trainable_params()]


@case("nn/TrainOneStepCell", "Adam", "Momentum", "SGD")
def train_one_step(key: str) -> Any:
    net, loss = regression()
    x, y = sample(-1, 1, (4, 3)), sample(-1, 1, (4, 2), 1)
    step = nn.TrainOneStepCell(loss, OPTIMISERS[key](net.trainable_params()))
    step.set_train()
    return [step(x, y) for _ in range(4)], [p.asnumpy() for p in net.trainable_params()]


@case("nn/ForwardValueAndGrad", "list", "all", "both")
def forward_value_and_grad(key: str) -> Any:
    net, loss = regression()
    x, y = sample(-1, 1, (4, 3)), sample(-1, 1, (4, 2), 1)
    return nn.ForwardValueAndGrad(
        loss, ms.ParameterTuple(net.trainable_params()), get_all=key != "list", get_by_list=key != "all"
    )(x, y)


@case("ops/clip gradients", "by_global_norm", "by_norm", "by_value")
def clip(key: str) -> Any:
    x = [vector(3.0, 4.0), vector(12.0)]
    if key == "by_global_norm":
        return ops.clip_by_global_norm(tuple(x), 1.0)
    if key == "by_norm":
        return ops.clip_by_norm(x[0], 1.0)
    return ops.clip_by_value(x[0], -3.5, 3.5)


# ---- Printing, dtypes, and what scripts ask of tensors

PRINTED = {
    "tensor": lambda: str(vector(1.0, 2.5)),
    "tensor repr": lambda: repr(vector(1.0, 2.5)),
    "matrix repr": lambda: repr(ms.Tensor(np.array([[1, 2], [3, 4]], np.float32))),
    "integers": lambda: repr(ms.Tensor([1, 2])),
    "number": lambda: str(ms.Tensor(2.5, ms.float32)),
    "tuple": lambda: str((vector(1.0), vector(2.0))),
    "parameter": lambda: str(ms.Parameter(vector(1.0), name="w")),
    "dtype": lambda: str(ms.float32),
    "dtype of a tensor": lambda: str(ms.Tensor([1.0]).dtype),
    "dtype of float64": lambda: str(ms.Tensor(np.array([1.0])).dtype),
    "dtype of integers": lambda: str(ms.Tensor([1]).dtype),
    "dtype of bools": lambda: str((vector(1.0) > 0).dtype),
    "shape": lambda: str(ms.Tensor([[1.0, 2.0]]).shape),
    "size": lambda: str([ms.Tensor([[1.0, 2.0]]).size, ms.Tensor([[1.0, 2.0]]).ndim]),
    "item": lambda: str(vector(1.5)[0].item()),
    "asnumpy": lambda: str(vector(1.5).asnumpy().dtype),
    "promotion": lambda: str((ms.Tensor([1]) * vector(1.5)).dtype),
    "promotion of numbers": lambda: str((ms.Tensor([1]) * 1.5).dtype),
    "integer division": lambda: str(ms.Tensor([3]) / ms.Tensor([2])),
    "context": lambda: str(ms.get_context("device_target")),
    "grad mode": lambda: str(ms.context.GRAPH_MODE) + str(ms.PYNATIVE_MODE),
}


@case("tensors/printed", *PRINTED)
def printed(key: str) -> Any:
    return PRINTED[key]()


# ---- Errors

ERRORS = {
    "grad of no function": lambda: ms.grad(3)(vector(1.0)),
    "grad without anything": lambda: ms.grad(lambda x: x, None),
    "position out of range": lambda: ms.grad(lambda x: x, 3)(vector(1.0)),
    "position twice": lambda: ms.grad(lambda x, y: x * y, (0, 0)),
    "position of the wrong type": lambda: ms.grad(lambda x: x, "x"),
    "negative position": lambda: ms.grad(lambda x: x, -1),
    "flag of the wrong type": lambda: ops.GradOperation(get_all=1),
    "jvp with too few tangents": lambda: ms.jvp(lambda x, y: x * y, (vector(1.0),) * 2, (vector(1.0),)),
    "jvp of numbers": lambda: ms.jvp(lambda x: x, 1.0, 1.0),
    "aux of one output": lambda: ms.grad(lambda x: x, has_aux=True)(vector(1.0)),
    "shapes of matmul": lambda: ops.matmul(ms.Tensor([[1.0, 2.0]]), ms.Tensor([[1.0, 2.0]])),
    "shapes of add": lambda: ops.add(vector(1.0, 2.0), vector(1.0, 2.0, 3.0)),
    "parameter without a tensor": lambda: ms.ParameterTuple([1]),
    "cell without construct": lambda: nn.Cell()(vector(1.0)),
    "dense of no channels": lambda: nn.Dense(0, 1),
    "unknown reduction": lambda: nn.MSELoss("product"),
    "unknown mode": lambda: ms.set_context(mode=7),
    "optimiser without parameters": lambda: nn.SGD([], 0.1),
    "negative rate": lambda: nn.SGD([ms.Parameter(vector(1.0), name="p")], -0.1),
    "set_data of another shape": lambda: ms.Parameter(vector(1.0)).set_data(vector(1.0, 2.0)),
    "get_grad of nothing": lambda: ms.get_grad(ms.grad(lambda x: x, return_ids=True)(vector(1.0)), 5),
}


@case("errors", *ERRORS)
def errors(key: str) -> Any:
    return ERRORS[key]()
