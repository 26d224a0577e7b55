"""Learning rates that change with the number of steps taken: cells of the step, part of the compiled update."""

from __future__ import annotations

import math

from evolute import _evolute
from evolute._evolute import Tensor, float64
from evolute.nn.cell import Cell

__all__ = [
    "CosineDecayLR",
    "ExponentialDecayLR",
    "InverseDecayLR",
    "LearningRateSchedule",
    "NaturalExpDecayLR",
    "PolynomialDecayLR",
    "WarmUpLR",
]


class LearningRateSchedule(Cell):
    """Base of schedules: subclasses define `construct`, which maps the number of steps taken to a learning rate.

    Examples
    --------
    >>> from evolute import Tensor, nn, ops
    >>> class Halved(nn.LearningRateSchedule):
    ...     def construct(self, global_step):
    ...         return 0.1 * 0.5**global_step
    >>> print(Halved()(Tensor(2)))
    0.025
    """


class _Decay(LearningRateSchedule):
    """A learning rate and a number of steps over which it decays."""

    def __init__(self, learning_rate: float, decay_steps: int, is_stair: bool = False) -> None:
        super().__init__()
        _positive(self, "learning_rate", learning_rate)
        _steps(self, "decay_steps", decay_steps)
        self.learning_rate, self.decay_steps, self.is_stair = learning_rate, decay_steps, is_stair

    def _periods(self, global_step: Tensor) -> Tensor:
        periods = _evolute.cast(global_step, float64) / self.decay_steps
        return _evolute.floor(periods) if self.is_stair else periods


class _RateDecay(_Decay):
    """A decay by a rate."""

    def __init__(self, learning_rate: float, decay_rate: float, decay_steps: int, is_stair: bool = False) -> None:
        super().__init__(learning_rate, decay_steps, is_stair)
        _positive(self, "decay_rate", decay_rate)
        self.decay_rate = decay_rate


class ExponentialDecayLR(_RateDecay):
    """learning_rate · decay_rate^(step / decay_steps).

    Parameters
    ----------
    learning_rate, decay_rate : float
        The first value, and the factor per period.
    decay_steps : int
        Steps of a period.
    is_stair : bool
        Whether the rate changes at the end of each period only.

    Examples
    --------
    >>> from evolute import Tensor, nn
    >>> print(nn.ExponentialDecayLR(0.1, 0.5, 10)(Tensor(20)))
    0.025
    """

    def construct(self, global_step: Tensor) -> Tensor:
        """Return the rate after `global_step` steps."""
        return self.learning_rate * self.decay_rate ** self._periods(global_step)


class NaturalExpDecayLR(_RateDecay):
    """learning_rate · exp(−decay_rate · step), where `is_stair` rounds the step down to whole periods.

    Parameters
    ----------
    learning_rate, decay_rate : float
        The first value, and the rate at which it decays.
    decay_steps : int
        Steps of a period.
    is_stair : bool
        Whether the rate changes at the end of each period only.
    """

    def construct(self, global_step: Tensor) -> Tensor:
        """Return the rate after `global_step` steps."""
        return self.learning_rate * _evolute.exp(-self.decay_rate * self.decay_steps * self._periods(global_step))


class InverseDecayLR(_RateDecay):
    """learning_rate / (1 + decay_rate · step / decay_steps).

    Parameters
    ----------
    learning_rate, decay_rate : float
        The first value, and the rate at which it decays.
    decay_steps : int
        Steps of a period.
    is_stair : bool
        Whether the rate changes at the end of each period only.
    """

    def construct(self, global_step: Tensor) -> Tensor:
        """Return the rate after `global_step` steps."""
        return self.learning_rate / (1.0 + self.decay_rate * self._periods(global_step))


class CosineDecayLR(LearningRateSchedule):
    """From `max_lr` to `min_lr` along half a cosine of `decay_steps` steps, and constant afterwards.

    Parameters
    ----------
    min_lr, max_lr : float
        The last and the first value.
    decay_steps : int
        Steps in between.

    Examples
    --------
    >>> from evolute import Tensor, nn
    >>> print(nn.CosineDecayLR(0.0, 0.5, 10)(Tensor(5)))
    0.25
    """

    def __init__(self, min_lr: float, max_lr: float, decay_steps: int) -> None:
        super().__init__()
        if not 0 <= min_lr < max_lr:
            raise ValueError(f"CosineDecayLR: needs 0 ≤ min_lr < max_lr, got {min_lr!r} and {max_lr!r}")
        _steps(self, "decay_steps", decay_steps)
        self.min_lr, self.max_lr, self.decay_steps = min_lr, max_lr, decay_steps

    def construct(self, global_step: Tensor) -> Tensor:
        """Return the rate after `global_step` steps."""
        part = _evolute.minimum(_evolute.cast(global_step, float64) / self.decay_steps, 1.0)
        return self.min_lr + 0.5 * (self.max_lr - self.min_lr) * (1.0 + _evolute.cos(math.pi * part))


class PolynomialDecayLR(_Decay):
    """From `learning_rate` to `end_learning_rate` as (1 − step / decay_steps)^power, and constant afterwards.

    Parameters
    ----------
    learning_rate, end_learning_rate : float
        The first and the last value.
    decay_steps : int
        Steps in between.
    power : float
        The exponent; 1 is a straight line.
    """

    def __init__(self, learning_rate: float, end_learning_rate: float, decay_steps: int, power: float) -> None:
        super().__init__(learning_rate, decay_steps)
        if not 0 <= end_learning_rate < learning_rate:
            raise ValueError(
                f"PolynomialDecayLR: needs 0 ≤ end_learning_rate < learning_rate, got {end_learning_rate!r} "
                f"and {learning_rate!r}"
            )
        _positive(self, "power", power)
        self.end_learning_rate, self.power = end_learning_rate, power

    def construct(self, global_step: Tensor) -> Tensor:
        """Return the rate after `global_step` steps."""
        part = _evolute.minimum(self._periods(global_step), 1.0)
        return (self.learning_rate - self.end_learning_rate) * (1.0 - part) ** self.power + self.end_learning_rate


class WarmUpLR(LearningRateSchedule):
    """From 0 to `learning_rate` in a straight line of `warmup_steps` steps, and constant afterwards.

    Parameters
    ----------
    learning_rate : float
        The last value.
    warmup_steps : int
        Steps up to it.
    """

    def __init__(self, learning_rate: float, warmup_steps: int) -> None:
        super().__init__()
        _positive(self, "learning_rate", learning_rate)
        _steps(self, "warmup_steps", warmup_steps)
        self.learning_rate, self.warmup_steps = learning_rate, warmup_steps

    def construct(self, global_step: Tensor) -> Tensor:
        """Return the rate after `global_step` steps."""
        return self.learning_rate * _evolute.minimum(_evolute.cast(global_step, float64) / self.warmup_steps, 1.0)


def _positive(owner: Cell, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"{type(owner).__name__}: {name} is a positive number, got {value!r}")


def _steps(owner: Cell, name: str, value: object) -> None:
    if type(value) is not int or value < 1:
        raise ValueError(f"{type(owner).__name__}: {name} is a positive integer, got {value!r}")
