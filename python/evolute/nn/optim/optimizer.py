"""The base class of optimisers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from evolute import _evolute
from evolute._evolute import DTypeError, ShapeError, Tensor, float64, int64
from evolute.nn.cell import Cell
from evolute.nn.optim.learning_rate import LearningRateSchedule
from evolute.parameter import Parameter, ParameterTuple

__all__ = ["Optimizer"]

Rate: TypeAlias = "float | Tensor | Sequence[float] | LearningRateSchedule"


class Optimizer(Cell):
    """Changes parameters by their gradients.

    It is called with one gradient per parameter. The call is compiled, whatever the execution mode is. Within a
    `TrainOneStepCell` it is a part of the compiled step.

    Subclasses define `update`.

    Parameters
    ----------
    params : sequence of Parameter, or sequence of dicts
        What to change. A dict is a group with ``"params"`` and, if they differ from the optimiser's, ``"lr"`` and
        ``"weight_decay"``.
    learning_rate : float, 0-d Tensor, sequence of float, or LearningRateSchedule
        The learning rate. One number can be set anew between steps (``optimizer.learning_rate = 1e-4``) without
        compiling again. A sequence has the rate of each step, of which the last one stays.
    weight_decay : float
        What times the parameter is added to its gradient.

    Attributes
    ----------
    parameters : ParameterTuple
        What it changes.
    global_step : Parameter
        Number of steps taken, int64.

    Raises
    ------
    TypeError
        If something else than parameters is among them, or the learning rate is none of the above.
    ValueError
        If there are no parameters, one stands there twice, or a number is negative.
    """

    _always_compiled = True

    def __init__(self, params: Iterable[Any], learning_rate: Rate, weight_decay: float = 0.0) -> None:
        super().__init__(auto_prefix=False)
        self._check_positive("weight_decay", weight_decay, or_zero=True)
        groups = self._groups(params, weight_decay)
        members = [parameter for parameters, _, _ in groups for parameter in parameters]
        if len({id(parameter) for parameter in members}) != len(members):
            raise ValueError(f"{type(self).__name__}: a parameter stands among the parameters twice")
        if not members:
            raise ValueError(f"{type(self).__name__}: there are no parameters to change")
        for parameter in members:
            if not parameter.dtype.is_floating:
                raise DTypeError(f"{type(self).__name__}: {parameter.name!r} has dtype {parameter.dtype}, not a float")
        self.parameters = ParameterTuple(members)
        self.global_step = Parameter(Tensor(0, int64), "global_step", requires_grad=False)
        self._set_rate("learning_rate", learning_rate)
        self._rate_of: list[str] = []
        self._decay_of: list[float] = []
        for i, (parameters, rate, decay) in enumerate(groups):
            name = "learning_rate"
            if rate is not None:
                name = f"learning_rate_{i}"
                self._set_rate(name, rate)
            self._rate_of += [name] * len(parameters)
            self._decay_of += [decay] * len(parameters)

    def _groups(self, params: Any, weight_decay: float) -> list[tuple[list[Parameter], Any, float]]:
        if isinstance(params, (Tensor, Cell, Mapping)) or not isinstance(params, Iterable):
            raise TypeError(
                f"{type(self).__name__}: needs a sequence of parameters, as net.trainable_params() gives it, "
                f"got a {type(params).__name__}"
            )
        entries = list(params)
        if not any(isinstance(entry, Mapping) for entry in entries):
            entries = [{"params": entries}]
        groups = []
        for entry in entries:
            unknown = set(entry) - {"params", "lr", "weight_decay"} if isinstance(entry, Mapping) else {"?"}
            if unknown or "params" not in entry:
                raise TypeError(
                    f"{type(self).__name__}: a group is a dict with 'params' and perhaps 'lr' and 'weight_decay', "
                    f"got {entry!r}"
                )
            parameters = list(entry["params"])
            for parameter in parameters:
                if not isinstance(parameter, Parameter):
                    raise TypeError(f"{type(self).__name__}: a {type(parameter).__name__} is no Parameter")
            decay = entry.get("weight_decay", weight_decay)
            self._check_positive("weight_decay", decay, or_zero=True)
            groups.append((parameters, entry.get("lr"), float(decay)))
        return groups

    def _check_positive(self, name: str, value: Any, or_zero: bool = False, below: float = float("inf")) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError(f"{type(self).__name__}: {name} is a number, got a {type(value).__name__}")
        if not (value > 0 or (or_zero and value == 0)) or value >= below:
            raise ValueError(
                f"{type(self).__name__}: {name} is {'not negative' if or_zero else 'positive'}"
                f"{'' if below == float('inf') else f' and below {below}'}, got {value!r}"
            )

    def _set_rate(self, name: str, rate: Any) -> None:
        if isinstance(rate, LearningRateSchedule):
            setattr(self, name, rate)
            return
        if isinstance(rate, (int, float)):
            self._check_positive(name, rate, or_zero=True)
        elif isinstance(rate, (Cell, str)) or not isinstance(rate, (Tensor, Iterable)):
            raise TypeError(
                f"{type(self).__name__}: {name} is a number, a sequence of numbers or a LearningRateSchedule, "
                f"got a {type(rate).__name__}"
            )
        values = Tensor(rate if isinstance(rate, (int, float, Tensor)) else list(rate), float64)
        if values.ndim > 1 or values.size == 0:
            raise ShapeError(f"{type(self).__name__}: {name} is a number or a sequence, got shape {values.shape}")
        setattr(self, name, Parameter(values, name, requires_grad=False))

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("learning_rate") and name in self._params and isinstance(value, (int, float)):
            self._check_positive(name, value, or_zero=True)
            self._params[name].set_data(_evolute.full(self._params[name].shape, value, float64))
        else:
            super().__setattr__(name, value)

    def state(self, prefix: str) -> ParameterTuple:
        """Return a new parameter of zeros for each parameter, to keep what the optimiser has to remember of it."""
        return ParameterTuple(
            Parameter(_evolute.zeros(p.shape, p.dtype), f"{prefix}.{i}.{p.name}", requires_grad=False)
            for i, p in enumerate(self.parameters)
        )

    def get_lr(self) -> Tensor:
        """Return the learning rate of the next step, float64."""
        return self._rate("learning_rate", self.global_step)

    def _rate(self, name: str, steps: Tensor) -> Tensor:
        rate = getattr(self, name)
        if isinstance(rate, LearningRateSchedule):
            return _evolute.cast(rate(steps), float64)
        return rate if rate.ndim == 0 else _evolute.take(rate, _evolute.minimum(steps, rate.size - 1))

    def construct(self, gradients: Sequence[Tensor]) -> Tensor:
        """Change the parameters.

        Parameters
        ----------
        gradients : sequence of Tensor
            One per parameter, of its shape and dtype.

        Returns
        -------
        Tensor
            The number of steps taken, int64.

        Raises
        ------
        ValueError
            If their number differs from that of the parameters.
        ShapeError, DTypeError
            If a gradient has another shape or dtype than its parameter.
        """
        gradients = (gradients,) if isinstance(gradients, Tensor) else tuple(gradients)
        self._check(gradients)
        before = self.global_step.value()
        rates = {name: self._rate(name, before) for name in dict.fromkeys(self._rate_of)}
        steps = before + 1
        shared = self.prepare(steps)
        for i, (parameter, gradient) in enumerate(zip(self.parameters, gradients, strict=True)):
            self.update(i, parameter, gradient, rates[self._rate_of[i]], self._decay_of[i], shared)
        self.global_step.set_data(steps)
        return steps

    def prepare(self, steps: Tensor) -> Any:
        """Compute what all parameters share in step number `steps`; passed on to `update`."""
        return None

    def update(self, i: int, parameter: Parameter, gradient: Tensor, rate: Tensor, decay: float, shared: Any) -> None:
        """Change parameter number `i`.

        Parameters
        ----------
        i : int
            Which one it is.
        parameter : Parameter
            The parameter.
        gradient : Tensor
            Its gradient.
        rate : Tensor
            Learning rate, 0-d, float64.
        decay : float
            Weight decay.
        shared
            What `prepare` has returned.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method update(i, parameter, gradient, …)")

    def _check(self, gradients: tuple[Tensor, ...]) -> None:
        if len(gradients) != len(self.parameters):
            raise ValueError(
                f"{type(self).__name__}: needs a gradient for each of {len(self.parameters)} parameters, "
                f"got {len(gradients)}"
            )
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            what = f"{type(self).__name__}: the gradient of {parameter.name!r}"
            if not isinstance(gradient, Tensor):
                raise TypeError(f"{what} is a {type(gradient).__name__}, not a Tensor")
            if gradient.shape != parameter.shape:
                raise ShapeError(f"{what} has shape {gradient.shape}, the parameter {parameter.shape}")
            if gradient.dtype != parameter.dtype:
                raise DTypeError(f"{what} has dtype {gradient.dtype}, the parameter {parameter.dtype}")
