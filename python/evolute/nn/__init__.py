"""Cells: functions with parameters, and the layers, losses and derivatives that come as cells.

Examples
--------
>>> from evolute import Tensor, nn
>>> net = nn.SequentialCell(nn.Dense(2, 8, activation="tanh"), nn.Dense(8, 1))
>>> net(Tensor([[0.5, -1.0]])).shape
(1, 1)
>>> [parameter.name for parameter in net.trainable_params()]
['0.weight', '0.bias', '1.weight', '1.bias']
"""

from evolute.nn.activation import (
    GELU,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Sin,
    Softmax,
    Softplus,
    Tanh,
    get_activation,
)
from evolute.nn.cell import Cell
from evolute.nn.container import CellList, SequentialCell
from evolute.nn.functional_call import functional_call
from evolute.nn.grad import Jvp, Vjp
from evolute.nn.layers import Dense, Flatten, FourierFeatures, Identity, LayerNorm
from evolute.nn.loss import CrossEntropyLoss, HuberLoss, L1Loss, LossBase, MSELoss
from evolute.nn.optim import (
    SGD,
    Adam,
    AdamW,
    CosineDecayLR,
    ExponentialDecayLR,
    GaussNewton,
    InverseDecayLR,
    LearningRateSchedule,
    Momentum,
    NaturalExpDecayLR,
    NaturalGradient,
    NewtonCG,
    Optimizer,
    PolynomialDecayLR,
    WarmUpLR,
)
from evolute.nn.train import TrainOneStepCell, WithLossCell, fit

__all__ = [
    "GELU",
    "SGD",
    "Adam",
    "AdamW",
    "Cell",
    "CellList",
    "CosineDecayLR",
    "CrossEntropyLoss",
    "Dense",
    "ExponentialDecayLR",
    "Flatten",
    "FourierFeatures",
    "GaussNewton",
    "HuberLoss",
    "Identity",
    "InverseDecayLR",
    "Jvp",
    "L1Loss",
    "LayerNorm",
    "LeakyReLU",
    "LearningRateSchedule",
    "LogSoftmax",
    "LossBase",
    "MSELoss",
    "Momentum",
    "NaturalExpDecayLR",
    "NaturalGradient",
    "NewtonCG",
    "Optimizer",
    "PolynomialDecayLR",
    "ReLU",
    "SequentialCell",
    "SiLU",
    "Sigmoid",
    "Sin",
    "Softmax",
    "Softplus",
    "Tanh",
    "TrainOneStepCell",
    "Vjp",
    "WarmUpLR",
    "WithLossCell",
    "fit",
    "functional_call",
    "get_activation",
]
