"""Training: a network with its loss, and a step of an optimiser as one compiled call."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from evolute import transforms
from evolute._evolute import DTypeError, ShapeError, Tensor
from evolute.nn.cell import Cell
from evolute.nn.optim.optimizer import Optimizer
from evolute.ops._clip import clip_by_global_norm

__all__ = ["TrainOneStepCell", "WithLossCell", "fit"]


class WithLossCell(Cell):
    """Loss of a network's prediction: loss_fn(backbone(data), label).

    Parameters
    ----------
    backbone : Cell
        The network.
    loss_fn : callable
        Function or cell of the prediction and the label.

    Examples
    --------
    >>> from evolute import Tensor, nn
    >>> net = nn.WithLossCell(nn.Dense(2, 1, weight_init="ones", has_bias=False), nn.MSELoss())
    >>> print(net(Tensor([[1.0, 2.0]]), Tensor([[5.0]])))
    4.0
    """

    def __init__(self, backbone: Callable[..., Any], loss_fn: Callable[..., Any]) -> None:
        super().__init__(auto_prefix=False)
        for name, value in (("backbone", backbone), ("loss_fn", loss_fn)):
            if not callable(value):
                raise TypeError(f"WithLossCell: {name} is a cell or a function, got a {type(value).__name__}")
        self._backbone = backbone
        self._loss_fn = loss_fn

    @property
    def backbone_network(self) -> Callable[..., Any]:
        """The network."""
        return self._backbone

    def construct(self, data: Any, label: Any) -> Any:
        """Return the loss."""
        return self._loss_fn(self._backbone(data), label)


class TrainOneStepCell(Cell):
    """One step of training, optimiser included, as one compiled call.

    It is called with the network's arguments, changes the parameters of the optimiser, and returns the loss before the
    step. It is compiled whatever the execution mode is; a network that cannot be recorded runs eagerly, with one
    warning that says why.

    Parameters
    ----------
    network : Cell or callable
        Gives the loss, one number.
    optimizer : Optimizer
        What changes the parameters.
    sens : float
        Factor of the gradients.
    clip_norm : float, optional
        Scale the gradients down to this norm, all taken together, where theirs is larger.

    Raises
    ------
    TypeError
        If `network` cannot be called or `optimizer` is none.
    ShapeError, DTypeError
        By the step: if the network does not give one floating number.

    Examples
    --------
    >>> from evolute import Tensor, nn
    >>> net = nn.Dense(2, 1, weight_init="ones", has_bias=False)
    >>> step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), nn.SGD(net.trainable_params(), 0.1))
    >>> print(step(Tensor([[1.0, 2.0]]), Tensor([[5.0]])))
    4.0
    >>> print(step(Tensor([[1.0, 2.0]]), Tensor([[5.0]])))
    0.0
    """

    _always_compiled = True

    def __init__(
        self,
        network: Callable[..., Any],
        optimizer: Optimizer,
        sens: float = 1.0,
        *,
        clip_norm: float | None = None,
    ) -> None:
        super().__init__(auto_prefix=False)
        if not callable(network):
            raise TypeError(f"TrainOneStepCell: network is a cell or a function, got a {type(network).__name__}")
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"TrainOneStepCell: optimizer is an Optimizer, got a {type(optimizer).__name__}")
        self.network = network
        self.optimizer = optimizer
        self.sens, self.clip_norm = float(sens), clip_norm

    def construct(self, *inputs: Any, **kwargs: Any) -> Tensor:
        """Take one step, and return the loss before it."""
        weights = self.optimizer.parameters
        loss, gradients = transforms.value_and_grad(_loss(self.network), None, weights=weights)(*inputs, **kwargs)
        if self.sens != 1.0:
            gradients = tuple(gradient * self.sens for gradient in gradients)
        if self.clip_norm is not None:
            gradients = clip_by_global_norm(gradients, self.clip_norm)
        self.optimizer(gradients)
        return loss  # type: ignore[no-any-return]


def _loss(network: Callable[..., Any]) -> Callable[..., Tensor]:
    """Return `network`, whose value must be one number."""

    def loss(*inputs: Any, **kwargs: Any) -> Tensor:
        value = network(*inputs, **kwargs)
        if not isinstance(value, Tensor):
            raise DTypeError(f"TrainOneStepCell: the network must return the loss, got a {type(value).__name__}")
        if value.size != 1:
            raise ShapeError(
                f"TrainOneStepCell: the network must return one number, got shape {value.shape}; take the mean or the "
                "sum of the losses"
            )
        return value

    return loss


def fit(
    step: Callable[..., Tensor],
    batches: Iterable[Any],
    *,
    progress: bool | str = True,
    total: int | None = None,
    report: Callable[[int, float], str | None] | None = None,
    every: int = 100,
) -> list[float]:
    """Take a step for each batch, with a progress bar, and return the losses.

    Parameters
    ----------
    step : callable
        Takes a batch and returns the loss, such as `TrainOneStepCell`.
    batches : iterable
        Arguments of the steps: a tuple has several, anything else is one.
    progress : bool or str
        Whether to draw the bar, and what to write before it. Without the library ``tqdm`` there is none.
    total : int, optional
        Number of batches, where `batches` has no length.
    report : callable, optional
        Called with the number of steps taken and the loss after every `every`-th step; what it returns is
        written after the bar in the place of the loss.
    every : int
        How many steps apart reports are.

    Returns
    -------
    list of float
        The loss of each step.

    Examples
    --------
    >>> from evolute import Tensor, nn
    >>> net = nn.Dense(1, 1, weight_init="ones", has_bias=False)
    >>> step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), nn.SGD(net.trainable_params(), 0.25))
    >>> nn.fit(step, [(Tensor([[1.0]]), Tensor([[3.0]]))] * 3, progress=False)
    [4.0, 1.0, 0.25]
    """
    if every < 1:
        raise ValueError(f"fit: every is a positive integer, got {every!r}")
    bar = _bar(batches, progress, total)
    losses: list[float] = []
    for batch in bar:
        loss = float((step(*batch) if isinstance(batch, tuple) else step(batch)).item())
        losses.append(loss)
        if len(losses) % every == 0:
            text = None if report is None else report(len(losses), loss)
            if hasattr(bar, "set_postfix_str"):
                bar.set_postfix_str(f"loss {loss:.3e}" if text is None else text, refresh=False)
    return losses


def _bar(batches: Iterable[Any], progress: bool | str, total: int | None) -> Any:
    if progress is False:
        return batches
    try:
        from tqdm import tqdm
    except ImportError:
        return batches
    return tqdm(batches, desc=progress if isinstance(progress, str) else None, total=total, mininterval=0.2)
