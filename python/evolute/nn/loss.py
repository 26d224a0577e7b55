"""Losses: one number for the distance of predictions from targets."""

from __future__ import annotations

from evolute import _evolute
from evolute._evolute import ShapeError, Tensor
from evolute.nn.cell import Cell

__all__ = ["CrossEntropyLoss", "HuberLoss", "L1Loss", "LossBase", "MSELoss"]


class LossBase(Cell):
    """Base of losses, which reduces them to a number.

    Parameters
    ----------
    reduction : str
        ``"mean"`` or ``"sum"`` of the elements, or ``"none"`` for the elements themselves.

    Raises
    ------
    ValueError
        If `reduction` is none of these.
    """

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"{type(self).__name__}: reduction is 'mean', 'sum' or 'none', got {reduction!r}")
        self.reduction = reduction

    def get_loss(self, x: Tensor) -> Tensor:
        """Reduce x as the loss was told to."""
        if self.reduction == "mean":
            return _evolute.mean(x)
        return _evolute.sum(x) if self.reduction == "sum" else x

    def extend_repr(self) -> str:  # noqa: D102
        return f"reduction={self.reduction!r}"


class MSELoss(LossBase):
    """Squared differences of predictions and targets.

    Parameters
    ----------
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.

    Examples
    --------
    >>> from evolute import Tensor, nn
    >>> print(nn.MSELoss()(Tensor([1.0, 2.0]), Tensor([1.0, 4.0])))
    2.0
    """

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare predictions with targets, whose shapes broadcast."""
        return self.get_loss(_evolute.square(logits - labels))


class L1Loss(LossBase):
    """Absolute differences of predictions and targets.

    Parameters
    ----------
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.

    Examples
    --------
    >>> from evolute import Tensor, nn
    >>> print(nn.L1Loss("sum")(Tensor([1.0, 2.0]), Tensor([1.0, 4.0])))
    2.0
    """

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare predictions with targets, whose shapes broadcast."""
        return self.get_loss(_evolute.abs(logits - labels))


class HuberLoss(LossBase):
    """Half the squared difference where it is within `delta`, delta · (|difference| − delta/2) beyond.

    Parameters
    ----------
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.
    delta : float
        Where the square goes over into a straight line.

    Raises
    ------
    ValueError
        If `delta` is not positive.

    Examples
    --------
    >>> from evolute import Tensor, nn
    >>> print(nn.HuberLoss("none")(Tensor([0.5, 3.0]), Tensor([0.0, 0.0])))
    [0.125 2.5  ]
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction)
        if not delta > 0:
            raise ValueError(f"HuberLoss: delta is positive, got {delta!r}")
        self.delta = float(delta)

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare predictions with targets, whose shapes broadcast."""
        difference = logits - labels
        # With the part of the difference that is within delta, one formula serves both.
        inner = _evolute.clip(difference, -self.delta, self.delta)
        return self.get_loss(inner * (difference - 0.5 * inner))

    def extend_repr(self) -> str:  # noqa: D102
        return f"{super().extend_repr()}, delta={self.delta}"


class CrossEntropyLoss(LossBase):
    """−log of the probability that softmax(logits) gives to the label.

    Parameters
    ----------
    weight : Tensor, optional
        Weight of each class; the mean is then weighted.
    ignore_index : int
        Label of examples that do not count.
    reduction : str
        ``"mean"``, ``"sum"`` or ``"none"``.
    label_smoothing : float
        How much of the label's probability is spread over all classes.

    Raises
    ------
    ValueError
        If `label_smoothing` is not in [0, 1].

    Examples
    --------
    >>> from evolute import Tensor, nn
    >>> print(nn.CrossEntropyLoss()(Tensor([[0.0, 0.0], [0.0, 0.0]]), Tensor([0, 1])))
    0.6931472
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ValueError(f"CrossEntropyLoss: label_smoothing is within [0, 1], got {label_smoothing!r}")
        self.weight, self.ignore_index, self.label_smoothing = weight, ignore_index, float(label_smoothing)

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compare logits of shape (n, classes) with n integer labels, or with probabilities of the logits' shape."""
        if logits.ndim != 2:
            raise ShapeError(f"CrossEntropyLoss: logits have shape (n, classes), got {logits.shape}")
        logp = _evolute.log_softmax(logits, -1)
        if labels.dtype.is_floating:
            return self._by_probabilities(logp, labels)
        if labels.shape != logits.shape[:1]:
            raise ShapeError(
                f"CrossEntropyLoss: needs one label per row of logits, got {labels.shape} for {logits.shape}"
            )
        counts = _evolute.not_equal(labels, self.ignore_index)
        index = _evolute.where(counts, labels, 0)
        weight = _evolute.cast(counts, logits.dtype)
        if self.weight is not None:
            weight = weight * _evolute.take(self.weight, index)
        picked = _evolute.squeeze(_evolute.gather(logp, 1, _evolute.expand_dims(index, 1)), 1)
        loss = -weight * picked
        if self.label_smoothing:
            classes = logits.shape[1]
            spread = logp if self.weight is None else logp * self.weight
            spread = -_evolute.sum(spread, 1) * _evolute.cast(counts, logits.dtype)
            loss = (1.0 - self.label_smoothing) * loss + (self.label_smoothing / classes) * spread
        if self.reduction == "mean":
            return _evolute.sum(loss) / _evolute.sum(weight)
        return self.get_loss(loss)

    def _by_probabilities(self, logp: Tensor, labels: Tensor) -> Tensor:
        if labels.shape != logp.shape:
            raise ShapeError(f"CrossEntropyLoss: probabilities have the logits' shape {logp.shape}, got {labels.shape}")
        if self.label_smoothing:
            labels = labels * (1.0 - self.label_smoothing) + self.label_smoothing / logp.shape[1]
        if self.weight is not None:
            logp = logp * self.weight
        return self.get_loss(-_evolute.sum(labels * logp, 1))
