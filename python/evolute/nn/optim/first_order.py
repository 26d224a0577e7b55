"""Optimisers that use first derivatives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from evolute import _evolute
from evolute._evolute import Tensor, float64
from evolute.nn.optim.optimizer import Optimizer, Rate
from evolute.parameter import Parameter

__all__ = ["SGD", "Adam", "AdamW", "Momentum"]


class SGD(Optimizer):
    """Gradient descent: w ← w − rate · (g + weight_decay · w), perhaps with momentum.

    With momentum, v ← momentum · v + (1 − dampening) · g takes the place of g; in the first step v = g. With
    `nesterov` it is g + momentum · v.

    Parameters
    ----------
    params, learning_rate, weight_decay
        See `Optimizer`.
    momentum : float
        How much of v is kept.
    dampening : float
        How much of the gradient is left out of v.
    nesterov : bool
        Whether to look ahead; needs momentum, and no dampening.

    Raises
    ------
    ValueError
        If a number is out of its range, or `nesterov` lacks what it needs.

    Examples
    --------
    >>> from evolute import Parameter, Tensor, nn
    >>> w = Parameter([1.0], "w")
    >>> steps = nn.SGD([w], 0.5)([Tensor([0.5])])
    >>> print(w.value())
    [0.75]
    """

    def __init__(
        self,
        params: Iterable[Any],
        learning_rate: Rate = 0.1,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(params, learning_rate, weight_decay)
        self._check_positive("momentum", momentum, or_zero=True)
        self._check_positive("dampening", dampening, or_zero=True)
        if nesterov and (momentum == 0 or dampening != 0):
            raise ValueError(f"{type(self).__name__}: nesterov needs momentum above 0 and no dampening")
        self.momentum, self.dampening, self.nesterov = float(momentum), float(dampening), bool(nesterov)
        if momentum:
            self.accum = self.state("accum")

    def prepare(self, steps: Tensor) -> Any:
        """Return whether this is the first step, if that makes a difference."""
        return _evolute.equal(steps, 1) if self.dampening else None

    def update(self, i: int, parameter: Parameter, gradient: Tensor, rate: Tensor, decay: float, shared: Any) -> None:
        """Change parameter number `i`."""
        if decay:
            gradient = gradient + decay * parameter
        if self.momentum:
            kept = self.momentum * self.accum[i]
            velocity = kept + (1.0 - self.dampening) * gradient
            if shared is not None:
                velocity = _evolute.where(shared, gradient, velocity)
            self.accum[i].set_data(velocity)
            gradient = gradient + self.momentum * velocity if self.nesterov else velocity
        parameter.set_data(parameter - _evolute.cast(rate, parameter.dtype) * gradient)


class Momentum(SGD):
    """Gradient descent with momentum: v ← momentum · v + g, w ← w − rate · v.

    Parameters
    ----------
    params, learning_rate, weight_decay
        See `Optimizer`.
    momentum : float
        How much of v is kept.
    use_nesterov : bool
        Whether to look ahead: g + momentum · v in the place of v.

    Examples
    --------
    >>> from evolute import Parameter, Tensor, nn
    >>> w = Parameter([1.0], "w")
    >>> optimizer = nn.Momentum([w], 0.5, momentum=0.5)
    >>> steps = [optimizer([Tensor([0.5])]) for _ in range(2)]
    >>> print(w.value())
    [0.375]
    """

    def __init__(
        self,
        params: Iterable[Any],
        learning_rate: Rate,
        momentum: float,
        weight_decay: float = 0.0,
        use_nesterov: bool = False,
    ) -> None:
        super().__init__(params, learning_rate, momentum, 0.0, weight_decay, use_nesterov)


class Adam(Optimizer):
    """Steps of the size of the learning rate, by running means of gradients and their squares (Kingma and Ba, 2015).

    m ← beta1 · m + (1 − beta1) · g, v ← beta2 · v + (1 − beta2) · g²,
    w ← w − rate · m/(1 − beta1ᵗ) / (√(v/(1 − beta2ᵗ)) + eps) in step t.

    Parameters
    ----------
    params, learning_rate
        See `Optimizer`.
    beta1, beta2 : float
        How much of the means is kept.
    eps : float
        Keeps the denominator from 0.
    weight_decay : float
        What times the parameter is added to its gradient.
    use_amsgrad : bool
        Whether to divide by the largest v so far.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    >>> from evolute import Parameter, Tensor, nn
    >>> w = Parameter([1.0], "w")
    >>> steps = nn.Adam([w], 0.25)([Tensor([3.0])])
    >>> print(w.value())
    [0.75]
    """

    _decoupled = False

    def __init__(
        self,
        params: Iterable[Any],
        learning_rate: Rate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        use_amsgrad: bool = False,
    ) -> None:
        super().__init__(params, learning_rate, weight_decay)
        self._check_positive("beta1", beta1, or_zero=True, below=1.0)
        self._check_positive("beta2", beta2, or_zero=True, below=1.0)
        self._check_positive("eps", eps)
        self.beta1, self.beta2, self.eps, self.use_amsgrad = float(beta1), float(beta2), float(eps), bool(use_amsgrad)
        self.moment1 = self.state("moment1")
        self.moment2 = self.state("moment2")
        if use_amsgrad:
            self.largest = self.state("largest")

    def prepare(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the means are short of after so many steps: 1 − beta1ᵗ, and the root of 1 − beta2ᵗ."""
        t = _evolute.cast(steps, float64)
        return 1.0 - self.beta1**t, _evolute.sqrt(1.0 - self.beta2**t)

    def update(self, i: int, parameter: Parameter, gradient: Tensor, rate: Tensor, decay: float, shared: Any) -> None:
        """Change parameter number `i`."""
        weight = parameter.value()
        dtype = weight.dtype
        if decay and not self._decoupled:
            gradient = gradient + decay * weight
        m = self.beta1 * self.moment1[i] + (1.0 - self.beta1) * gradient
        v = self.beta2 * self.moment2[i] + (1.0 - self.beta2) * _evolute.square(gradient)
        self.moment1[i].set_data(m)
        self.moment2[i].set_data(v)
        if self.use_amsgrad:
            v = _evolute.maximum(self.largest[i], v)
            self.largest[i].set_data(v)
        first, root = shared
        # As factors, so that what is of each element is one square root and one division.
        scale = _evolute.cast(rate * root / first, dtype)
        step = scale * m / (_evolute.sqrt(v) + _evolute.cast(root * self.eps, dtype))
        if decay and self._decoupled:
            weight = weight * _evolute.cast(1.0 - rate * decay, dtype)
        parameter.set_data(weight - step)


class AdamW(Adam):
    """Adam whose weight decay is no part of the gradient (Loshchilov and Hutter, 2019).

    Before each step w ← (1 − rate · weight_decay) · w.

    Parameters
    ----------
    params, learning_rate, beta1, beta2, eps, use_amsgrad
        See `Adam`.
    weight_decay : float
        What part of the parameter decays, in units of the learning rate.

    Examples
    --------
    >>> from evolute import Parameter, Tensor, nn
    >>> w = Parameter([1.0], "w")
    >>> steps = nn.AdamW([w], 0.25, weight_decay=1.0)([Tensor([3.0])])
    >>> print(w.value())
    [0.5]
    """

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        learning_rate: Rate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        use_amsgrad: bool = False,
    ) -> None:
        super().__init__(params, learning_rate, beta1, beta2, eps, weight_decay, use_amsgrad)
