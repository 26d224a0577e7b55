"""What the other modules build on: tensors, parameters and their initial values."""

from evolute import dtype
from evolute._evolute import Tensor
from evolute.common.initializer import initializer
from evolute.parameter import Parameter, ParameterTuple

__all__ = ["Parameter", "ParameterTuple", "Tensor", "dtype", "initializer"]
