"""Optimisers: cells that change parameters, each update one compiled call."""

from evolute.nn.optim.first_order import SGD, Adam, AdamW, Momentum
from evolute.nn.optim.learning_rate import (
    CosineDecayLR,
    ExponentialDecayLR,
    InverseDecayLR,
    LearningRateSchedule,
    NaturalExpDecayLR,
    PolynomialDecayLR,
    WarmUpLR,
)
from evolute.nn.optim.optimizer import Optimizer
from evolute.nn.optim.second_order import GaussNewton, NaturalGradient, NewtonCG

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineDecayLR",
    "ExponentialDecayLR",
    "GaussNewton",
    "InverseDecayLR",
    "LearningRateSchedule",
    "Momentum",
    "NaturalExpDecayLR",
    "NaturalGradient",
    "NewtonCG",
    "Optimizer",
    "PolynomialDecayLR",
    "WarmUpLR",
]
