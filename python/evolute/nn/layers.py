"""Layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from evolute import _evolute
from evolute._evolute import DType, ShapeError, Tensor, float32
from evolute.common.initializer import HeUniform, Initializer, Uniform, initializer
from evolute.nn.activation import get_activation
from evolute.nn.cell import Cell
from evolute.parameter import Parameter

__all__ = ["Dense", "Flatten", "Identity"]


class Dense(Cell):
    """Fully connected layer: activation(x @ weight.T + bias).

    Parameters
    ----------
    in_channels, out_channels : int
        Lengths of the last axis of the input and of the output.
    weight_init : str, number, Tensor or Initializer, optional
        Initial weight, of shape (out_channels, in_channels); uniform on ±1/√in_channels by default.
    bias_init : str, number, Tensor or Initializer, optional
        Initial bias, of shape (out_channels,); uniform on ±1/√in_channels by default.
    has_bias : bool
        Whether there is a bias.
    activation : str, Cell or callable, optional
        What is applied to the result, none by default.
    dtype : DType
        Element type of the parameters.

    Raises
    ------
    ValueError
        If a number of channels is not positive, or a name is unknown.
    ShapeError
        If an initial value has another shape.

    Examples
    --------
    >>> from evolute import Tensor, nn
    >>> layer = nn.Dense(2, 1, weight_init="ones", bias_init=0.5)
    >>> print(layer(Tensor([[1.0, 2.0]])))
    [[3.5]]
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        weight_init: str | float | Tensor | Initializer | None = None,
        bias_init: str | float | Tensor | Initializer | None = None,
        has_bias: bool = True,
        activation: str | Callable[[Tensor], Any] | None = None,
        dtype: DType = float32,
    ) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if type(value) is not int or value < 1:
                raise ValueError(f"Dense: {name} is a positive integer, got {value!r}")
        self.in_channels, self.out_channels, self.has_bias = in_channels, out_channels, has_bias
        if weight_init is None:
            weight_init = HeUniform(math.sqrt(5.0))
        self.weight = Parameter(initializer(weight_init, (out_channels, in_channels), dtype), "weight")
        self.bias: Parameter | None = None
        if has_bias:
            if bias_init is None:
                bias_init = Uniform(1.0 / math.sqrt(in_channels))
            self.bias = Parameter(initializer(bias_init, (out_channels,), dtype), "bias")
        self.activation = get_activation(activation)

    def construct(self, x: Tensor) -> Tensor:
        """Map x of shape (..., in_channels) to shape (..., out_channels)."""
        if x.ndim == 0 or x.shape[-1] != self.in_channels:
            raise ShapeError(f"Dense: the last axis of x has in_channels = {self.in_channels} elements, got {x.shape}")
        y = _evolute.matmul(x, self.weight, False, True)
        if self.bias is not None:
            y = y + self.bias
        return y if self.activation is None else self.activation(y)

    def extend_repr(self) -> str:  # noqa: D102
        text = f"input_channels={self.in_channels}, output_channels={self.out_channels}, has_bias={self.has_bias}"
        # A cell is listed with the sub-cells.
        if self.activation is not None and not isinstance(self.activation, Cell):
            text += f", activation={self.activation!r}"
        return text


class Flatten(Cell):
    """Makes the axes after the first into one."""

    def construct(self, x: Tensor) -> Tensor:
        """Map x of shape (n, ...) to shape (n, m)."""
        if x.ndim == 0:
            raise ShapeError("Flatten: x has one axis or more, got a 0-d tensor")
        return _evolute.reshape(x, (x.shape[0], math.prod(x.shape[1:])))


class Identity(Cell):
    """Returns what it is given."""

    def construct(self, x: Tensor) -> Tensor:
        """Return x."""
        return x
