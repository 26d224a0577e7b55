"""Losses: one number for the distance of predictions from targets."""

from __future__ import annotations

from evolute import _evolute
from evolute._evolute import Tensor
from evolute.nn.cell import Cell

__all__ = ["L1Loss", "LossBase", "MSELoss"]


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
