"""Layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from evolute import _evolute
from evolute._evolute import DType, ShapeError, Tensor, float32
from evolute.common.initializer import HeUniform, Initializer, Normal, Uniform, initializer
from evolute.nn.activation import get_activation
from evolute.nn.cell import Cell
from evolute.parameter import Parameter

__all__ = ["Dense", "Flatten", "FourierFeatures", "Identity", "LayerNorm"]


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


class FourierFeatures(Cell):
    """Sines and cosines of random projections: [cos 2πBᵀx, sin 2πBᵀx] (Tancik et al., 2020).

    Put before a network of coordinates, it lets the network learn fine detail that it would learn last otherwise.

    Parameters
    ----------
    in_channels : int
        Length of the last axis of the input.
    num_features : int
        Number of projections; the last axis of the output has twice as many elements.
    sigma : float
        Standard deviation of the frequencies in B: the finer the detail, the larger.
    seed : int, optional
        Seed of the frequencies, for the same ones in every run whatever is drawn before.
    dtype : DType
        Element type.

    Attributes
    ----------
    frequencies : Parameter
        B, of shape (in_channels, num_features); it is not trained.

    Raises
    ------
    ValueError
        If a number is not positive.

    Examples
    --------
    >>> from evolute import Tensor, nn
    >>> nn.FourierFeatures(2, 8, sigma=3.0, seed=1)(Tensor([[0.5, -1.0]])).shape
    (1, 16)
    """

    def __init__(
        self, in_channels: int, num_features: int, sigma: float = 1.0, seed: int | None = None, dtype: DType = float32
    ) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("num_features", num_features)):
            if type(value) is not int or value < 1:
                raise ValueError(f"FourierFeatures: {name} is a positive integer, got {value!r}")
        if not sigma > 0:
            raise ValueError(f"FourierFeatures: sigma is positive, got {sigma!r}")
        self.in_channels, self.num_features, self.sigma = in_channels, num_features, sigma
        drawn = Normal(sigma, seed=seed)((in_channels, num_features), dtype)
        self.frequencies = Parameter(drawn, "frequencies", requires_grad=False)

    def construct(self, x: Tensor) -> Tensor:
        """Map x of shape (..., in_channels) to shape (..., 2 num_features)."""
        if x.ndim == 0 or x.shape[-1] != self.in_channels:
            raise ShapeError(
                f"FourierFeatures: the last axis of x has in_channels = {self.in_channels} elements, got {x.shape}"
            )
        angle = _evolute.matmul(x, 2.0 * math.pi * self.frequencies)
        return _evolute.concat([_evolute.cos(angle), _evolute.sin(angle)], -1)

    def extend_repr(self) -> str:  # noqa: D102
        return f"in_channels={self.in_channels}, num_features={self.num_features}, sigma={self.sigma}"


class LayerNorm(Cell):
    """Each example less its mean and divided by its standard deviation, times gamma, plus beta.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Lengths of the last axes, which are those of one example.
    gamma_init, beta_init : str, number, Tensor or Initializer
        Initial gamma and beta.
    epsilon : float
        Added to the variance.
    dtype : DType
        Element type of the parameters.

    Raises
    ------
    ValueError
        If a length is not positive.

    Examples
    --------
    >>> from evolute import Tensor, nn
    >>> print(nn.LayerNorm(2)(Tensor([[1.0, 3.0], [2.0, -2.0]])))
    [[-1.  1.]
     [ 1. -1.]]
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        gamma_init: str | float | Tensor | Initializer = "ones",
        beta_init: str | float | Tensor | Initializer = "zeros",
        epsilon: float = 1e-7,
        dtype: DType = float32,
    ) -> None:
        super().__init__()
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        if not shape or not all(type(n) is int and n > 0 for n in shape):
            raise ValueError(f"LayerNorm: normalized_shape is made of positive integers, got {normalized_shape!r}")
        self.normalized_shape, self.epsilon = shape, float(epsilon)
        self.gamma = Parameter(initializer(gamma_init, shape, dtype), "gamma")
        self.beta = Parameter(initializer(beta_init, shape, dtype), "beta")

    def construct(self, x: Tensor) -> Tensor:
        """Normalise x of shape (..., *normalized_shape)."""
        shape = self.normalized_shape
        if x.shape[x.ndim - len(shape) :] != shape or x.ndim < len(shape):
            raise ShapeError(f"LayerNorm: the last axes of x have shape {shape}, got {x.shape}")
        axes = tuple(range(-len(shape), 0))
        centred = x - _evolute.mean(x, axes, True)
        variance = _evolute.mean(_evolute.square(centred), axes, True)
        return centred / _evolute.sqrt(variance + self.epsilon) * self.gamma + self.beta

    def extend_repr(self) -> str:  # noqa: D102
        return f"normalized_shape={self.normalized_shape}, epsilon={self.epsilon}"
