"""Layers, losses and optimisers in the signatures of MindSpore 2, where these differ from Evolute's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evolute import Tensor, nn, ops
from evolute import dtype as mstype
from evolute.nn.optim.optimizer import Optimizer, Rate
from evolute.parameter import Parameter

__all__ = [
    "ELU",
    "GELU",
    "SGD",
    "Adam",
    "AdamWeightDecay",
    "LayerNorm",
    "Momentum",
    "SmoothL1Loss",
    "SoftmaxCrossEntropyWithLogits",
    "TrainOneStepCell",
]


class GELU(nn.GELU):
    """X Φ(x), by default with the approximation of Φ by tanh."""

    def __init__(self, approximate: bool = True) -> None:
        super().__init__(approximate)


class ELU(nn.Cell):
    """X where it is positive, alpha (exp(x) − 1) elsewhere."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def construct(self, x: Tensor) -> Tensor:
        """Apply it to each element."""
        return ops.where(x > 0, x, self.alpha * ops.expm1(ops.minimum(x, 0.0)))


class LayerNorm(nn.LayerNorm):
    """`evolute.nn.LayerNorm`, whose axes are the last ones."""

    def __init__(
        self,
        normalized_shape: Any,
        begin_norm_axis: int = -1,
        begin_params_axis: int = -1,
        gamma_init: Any = "ones",
        beta_init: Any = "zeros",
        epsilon: float = 1e-7,
        dtype: Any = mstype.float32,
    ) -> None:
        super().__init__(normalized_shape, gamma_init, beta_init, epsilon, dtype)


class SmoothL1Loss(nn.LossBase):
    """Half the squared difference over beta within beta, the absolute one less beta/2 beyond."""

    def __init__(self, beta: float = 1.0, reduction: str = "none") -> None:
        super().__init__(reduction)
        self.beta = float(beta)

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare predictions with targets."""
        difference = logits - labels
        inner = ops.clip(difference, -self.beta, self.beta)
        return self.get_loss(inner * (difference - 0.5 * inner) / self.beta)


class SoftmaxCrossEntropyWithLogits(nn.LossBase):
    """−log of the probability that softmax(logits) gives to the label."""

    def __init__(self, sparse: bool = False, reduction: str = "none") -> None:
        super().__init__(reduction)
        self.sparse = sparse

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare logits with labels: integers if `sparse`, probabilities otherwise."""
        wanted = labels if self.sparse else ops.cast(labels, logits.dtype)
        return self.get_loss(nn.CrossEntropyLoss(reduction="none").construct(logits, wanted))


class _Scaled:
    """MindSpore's `loss_scale`: gradients are divided by it before they are used."""

    _loss_scale = 1.0

    def construct(self, gradients: Any) -> Any:
        """Change the parameters."""
        if self._loss_scale != 1.0:
            gradients = tuple(gradient * (1.0 / self._loss_scale) for gradient in gradients)
        return super().construct(gradients)  # type: ignore[misc]


class SGD(_Scaled, nn.SGD):
    """`evolute.nn.SGD`, with MindSpore's `loss_scale`."""

    def __init__(
        self,
        params: Any,
        learning_rate: Rate = 0.1,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        loss_scale: float = 1.0,
    ) -> None:
        super().__init__(params, learning_rate, momentum, dampening, weight_decay, nesterov)
        self._loss_scale = float(loss_scale)


class Momentum(_Scaled, nn.Momentum):
    """`evolute.nn.Momentum`, with MindSpore's order of arguments."""

    def __init__(
        self,
        params: Any,
        learning_rate: Rate,
        momentum: float,
        weight_decay: float = 0.0,
        loss_scale: float = 1.0,
        use_nesterov: bool = False,
    ) -> None:
        super().__init__(params, learning_rate, momentum, weight_decay, use_nesterov)
        self._loss_scale = float(loss_scale)


class Adam(_Scaled, nn.Adam):
    """`evolute.nn.Adam`, with MindSpore's order of arguments."""

    def __init__(
        self,
        params: Any,
        learning_rate: Rate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        use_locking: bool = False,
        use_nesterov: bool = False,
        weight_decay: float = 0.0,
        loss_scale: float = 1.0,
        use_amsgrad: bool = False,
    ) -> None:
        if use_nesterov:
            raise NotImplementedError("nn.Adam: use_nesterov is not supported")
        super().__init__(params, learning_rate, beta1, beta2, eps, weight_decay, use_amsgrad)
        self._loss_scale = float(loss_scale)


class AdamWeightDecay(Optimizer):
    """Adam without bias correction, whose weight decay is no part of the gradient."""

    def __init__(
        self,
        params: Any,
        learning_rate: Rate = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, learning_rate, weight_decay)
        self.beta1, self.beta2, self.eps = float(beta1), float(beta2), float(eps)
        self.moment1 = self.state("moment1")
        self.moment2 = self.state("moment2")

    def update(self, i: int, parameter: Parameter, gradient: Tensor, rate: Tensor, decay: float, shared: Any) -> None:
        """Change parameter number `i`."""
        m = self.beta1 * self.moment1[i] + (1.0 - self.beta1) * gradient
        v = self.beta2 * self.moment2[i] + (1.0 - self.beta2) * ops.square(gradient)
        self.moment1[i].set_data(m)
        self.moment2[i].set_data(v)
        step = m / (ops.sqrt(v) + self.eps) + decay * parameter
        parameter.set_data(parameter - ops.cast(rate, parameter.dtype) * step)


class TrainOneStepCell(nn.TrainOneStepCell):
    """`evolute.nn.TrainOneStepCell`, with the attributes that subclasses use."""

    def __init__(self, network: Callable[..., Any], optimizer: Optimizer, sens: float | None = None) -> None:
        super().__init__(network, optimizer, 1.0 if sens is None else sens)
        self.weights = self.optimizer.parameters
        self.grad = ops.GradOperation(get_by_list=True)
