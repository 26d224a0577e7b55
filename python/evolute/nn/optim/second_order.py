"""Optimisers that use exact second derivatives, by products with vectors alone: no matrix is ever formed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from evolute import _evolute, transforms
from evolute._evolute import DTypeError, ShapeError, Tensor, float64, int64, promote
from evolute.nn.cell import Cell
from evolute.nn.functional_call import functional_call, ravel, unravel
from evolute.parameter import Parameter, ParameterTuple

__all__ = ["GaussNewton", "NaturalGradient", "NewtonCG"]


class _Newton(Cell):
    """A step that minimises a quadratic model of the loss by conjugate gradients, as one compiled call."""

    _always_compiled = True

    def __init__(
        self, network: Callable[..., Any], params: Sequence[Parameter] | None, iterations: int, tolerance: float
    ) -> None:
        super().__init__(auto_prefix=False)
        name = type(self).__name__
        if not callable(network):
            raise TypeError(f"{name}: network is a cell or a function, got a {type(network).__name__}")
        if params is None:
            if not isinstance(network, Cell):
                raise TypeError(f"{name}: params are needed beside a function; only a cell says what its own are")
            params = network.trainable_params()
        self.network = network
        self.parameters = ParameterTuple(params)
        if not self.parameters:
            raise ValueError(f"{name}: there are no parameters to change")
        if type(iterations) is not int or iterations < 1:
            raise ValueError(f"{name}: iterations is a positive integer, got {iterations!r}")
        self._check("tolerance", tolerance)
        self.iterations, self.tolerance = iterations, float(tolerance)
        self.global_step = Parameter(Tensor(0, int64), "global_step", requires_grad=False)

    def _check(self, name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise ValueError(f"{type(self).__name__}: {name} is a positive number, got {value!r}")

    def _state(self, name: str, value: float) -> Parameter:
        self._check(name, value)
        return Parameter(Tensor(value, float64), name, requires_grad=False)

    def _vector(self) -> Tensor:
        dtype = self.parameters[0].dtype
        for parameter in self.parameters[1:]:
            dtype = promote(dtype, parameter.dtype)
        return ravel([parameter.value() for parameter in self.parameters], dtype)

    def _call(self, vector: Tensor, inputs: tuple[Any, ...]) -> Any:
        return functional_call(self.network, self.parameters, unravel(vector, self.parameters), *inputs)

    def _number(self, value: Any) -> Tensor:
        name = type(self).__name__
        if not isinstance(value, Tensor):
            raise DTypeError(f"{name}: the network must return the loss, got a {type(value).__name__}")
        if value.size != 1:
            raise ShapeError(f"{name}: the network must return one number, got shape {value.shape}")
        return _evolute.reshape(value, ())

    def _store(self, vector: Tensor) -> None:
        for parameter, value in zip(self.parameters, unravel(vector, self.parameters), strict=True):
            parameter.set_data(value)
        self.global_step.set_data(self.global_step + 1)


def _conjugate_gradients(
    product: Callable[[Tensor], Tensor],
    gradient: Tensor,
    iterations: int,
    tolerance: float,
    radius: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Minimise g·d + ½ d·Ad over |d| ≤ radius (Steihaug, 1983); return d, and how much lower the model is there.

    Without a radius A must be positive definite.
    """

    def unfinished(state: Any) -> Tensor:
        i, _, _, _, size, stop = state
        return _evolute.logical_and(_evolute.less(i, iterations), _evolute.logical_and(size > bound, stop < 1))

    def step(state: Any) -> Any:
        i, d, residual, direction, size, _ = state
        image = product(direction)
        curvature = _evolute.sum(direction * image)
        length = size / curvature
        if radius is None:
            outside = curvature <= 0
            length = _evolute.where(outside, 0.0, length)
        else:
            a, b = _evolute.sum(_evolute.square(direction)), _evolute.sum(d * direction)
            room = _evolute.square(radius) - _evolute.sum(_evolute.square(d))
            to_border = (_evolute.sqrt(_evolute.square(b) + a * room) - b) / a
            outside = _evolute.logical_or(curvature <= 0, length >= to_border)
            length = _evolute.where(outside, to_border, length)
        d = d + length * direction
        residual = residual - length * image
        new_size = _evolute.sum(_evolute.square(residual))
        return i + 1, d, residual, residual + new_size / size * direction, new_size, _evolute.cast(outside, int64)

    size = _evolute.sum(_evolute.square(gradient))
    bound = tolerance**2 * size
    zero = _evolute.zeros((), int64)
    state = zero, _evolute.zeros_like(gradient), -gradient, -gradient, size, zero
    _, d, residual, *_ = _evolute.while_loop(unfinished, step, state)
    # A d = −g − residual.
    return d, 0.5 * _evolute.sum(d * (residual - gradient))


class GaussNewton(_Newton):
    """Levenberg–Marquardt steps for least squares: (JᵀJ + damping) d = −Jᵀr, by conjugate gradients.

    It is called with the network's arguments, changes the parameters, and returns the loss ½ Σ r² before the step. A
    step that does not lower the loss is not taken, and the damping grows; it shrinks the more, the better the step was
    foretold (Nielsen, 1999). One call is one compiled plan.

    Parameters
    ----------
    network : Cell or callable
        Gives the residuals r: a tensor, or a tuple of them.
    params : sequence of Parameter, optional
        What to change; the cell's trainable parameters by default.
    damping : float
        The first damping.
    iterations : int
        Products with JᵀJ per step at most.
    tolerance : float
        Residual of the linear equations, relative to |Jᵀr|, at which they count as solved.

    Attributes
    ----------
    damping : Parameter
        The present damping, float64.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Examples
    --------
    >>> from evolute import Parameter, Tensor, nn
    >>> w = Parameter(Tensor([0.0, 0.0]), "w")
    >>> t = Tensor([0.0, 1.0, 2.0])
    >>> step = nn.GaussNewton(lambda y: w[0] + w[1] * t - y, [w], damping=1e-6)
    >>> losses = [step(Tensor([1.0, 3.0, 5.0])).item() for _ in range(3)]
    >>> losses[0], losses[-1] < 1e-9
    (17.5, True)
    """

    def __init__(
        self,
        network: Callable[..., Any],
        params: Sequence[Parameter] | None = None,
        damping: float = 1e-3,
        iterations: int = 100,
        tolerance: float = 1e-3,
    ) -> None:
        super().__init__(network, params, iterations, tolerance)
        self.damping = self._state("damping", damping)
        self.growth = self._state("growth", 2.0)

    def _residuals(self, vector: Tensor, inputs: tuple[Any, ...]) -> Tensor:
        out = self._call(vector, inputs)
        parts = out if isinstance(out, (tuple, list)) else (out,)
        for part in parts:
            if not isinstance(part, Tensor) or not part.dtype.is_floating:
                raise DTypeError(f"GaussNewton: the network must return floating tensors of residuals, got {part!r}")
        return ravel(parts, vector.dtype)

    def construct(self, *inputs: Any) -> Tensor:
        """Take one step, and return the loss before it."""
        vector = self._vector()
        damping = _evolute.cast(self.damping, vector.dtype)

        def residuals(v: Tensor) -> Tensor:
            return self._residuals(v, inputs)

        def product(v: Tensor) -> Tensor:
            _, image = transforms.jvp(residuals, vector, v)
            return transforms.vjp(residuals, vector, image)[1] + damping * v  # type: ignore[no-any-return]

        r, pullback = transforms.vjp(residuals, vector)
        loss = 0.5 * _evolute.sum(_evolute.square(r))
        d, lower = _conjugate_gradients(product, pullback(r), self.iterations, self.tolerance)
        new = vector + d
        new_loss = 0.5 * _evolute.sum(_evolute.square(residuals(new)))
        # The model without the damping is lower still.
        lower = lower + 0.5 * damping * _evolute.sum(_evolute.square(d))
        gain = _evolute.cast((loss - new_loss) / lower, float64)
        better = new_loss < loss  # false for NaN
        shrink = _evolute.maximum(1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3)
        self.damping.set_data(self.damping * _evolute.where(better, shrink, self.growth))
        self.growth.set_data(_evolute.where(better, 2.0, 2.0 * self.growth))
        self._store(_evolute.where(better, new, vector))
        return loss


class NewtonCG(_Newton):
    """Newton's method by conjugate gradients within a trust region (Steihaug, 1983).

    Products with the Hessian are exact. Directions of negative curvature are followed to the border of the region. It
    is called with the network's arguments, changes the parameters, and returns the loss before the step; a step that
    does not lower the loss is not taken. One call is one compiled plan.

    Parameters
    ----------
    network : Cell or callable
        Gives the loss, one number.
    params : sequence of Parameter, optional
        What to change; the cell's trainable parameters by default.
    radius : float
        The first radius of the trust region.
    iterations : int
        Products with the Hessian per step at most.
    tolerance : float
        Gradient of the model, relative to that at its start, at which it counts as minimal.

    Attributes
    ----------
    radius : Parameter
        The present radius, float64.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.
    ShapeError, DTypeError
        By the step: if the network does not give one floating number.

    Examples
    --------
    >>> from evolute import Parameter, nn
    >>> x = Parameter([-1.0, 2.0], "x")
    >>> def rosenbrock():
    ...     return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
    >>> step = nn.NewtonCG(rosenbrock, [x])
    >>> losses = [step().item() for _ in range(30)]
    >>> losses[-1] < 1e-8
    True
    """

    def __init__(
        self,
        network: Callable[..., Any],
        params: Sequence[Parameter] | None = None,
        radius: float = 1.0,
        iterations: int = 100,
        tolerance: float = 1e-2,
    ) -> None:
        super().__init__(network, params, iterations, tolerance)
        self.radius = self._state("radius", radius)

    def construct(self, *inputs: Any) -> Tensor:
        """Take one step, and return the loss before it."""
        vector = self._vector()
        radius = _evolute.cast(self.radius, vector.dtype)

        def value(v: Tensor) -> Tensor:
            return self._number(self._call(v, inputs))

        def product(v: Tensor) -> Tensor:
            return transforms.jvp(transforms.grad(value), vector, v)[1]  # type: ignore[no-any-return]

        loss, gradient = transforms.value_and_grad(value)(vector)
        d, lower = _conjugate_gradients(product, gradient, self.iterations, self.tolerance, radius)
        new_loss = value(vector + d)
        gain = _evolute.cast((loss - new_loss) / lower, float64)
        length = _evolute.cast(_evolute.norm(d), float64)
        better = new_loss < loss  # false for NaN
        at_border = length > 0.9 * self.radius
        wider = _evolute.where(_evolute.logical_and(gain > 0.75, at_border), 2.0 * self.radius, self.radius)
        narrower = 0.25 * _evolute.minimum(length, self.radius)
        self.radius.set_data(_evolute.where(_evolute.logical_and(better, gain > 0.25), wider, narrower))
        self._store(_evolute.where(better, vector + d, vector))
        return loss  # type: ignore[no-any-return]


class NaturalGradient(_Newton):
    """Natural gradient: w ← w − rate · (F + damping)⁻¹ g, by conjugate gradients.

    F = Jᵀ H J, with the Jacobian J of the network and the Hessian H of the loss by the network's output. Where the loss
    is a negative logarithm of a probability of the exponential family, such as cross-entropy and squared errors, F is
    Fisher's information. It is called with the data and the labels, changes the parameters, and returns the loss before
    the step. One call is one compiled plan.

    Parameters
    ----------
    network : Cell or callable
        Gives the predictions for the data.
    loss_fn : callable
        Loss of predictions and labels, one number, convex in the predictions.
    params : sequence of Parameter, optional
        What to change; the cell's trainable parameters by default.
    learning_rate : float
        The rate.
    damping : float
        Added to F.
    iterations : int
        Products with F per step at most.
    tolerance : float
        Residual of the linear equations, relative to |g|, at which they count as solved.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.
    ShapeError, DTypeError
        By the step: if the loss is not one floating number.

    Examples
    --------
    >>> from evolute import Tensor, nn
    >>> net = nn.Dense(1, 1, weight_init="zeros", bias_init="zeros")
    >>> step = nn.NaturalGradient(net, nn.MSELoss(), damping=1e-6)
    >>> x = Tensor([[0.0], [1.0], [2.0]])
    >>> losses = [step(x, 2.0 * x + 1.0).item() for _ in range(3)]
    >>> losses[-1] < 1e-9
    True
    """

    def __init__(
        self,
        network: Callable[..., Any],
        loss_fn: Callable[..., Any],
        params: Sequence[Parameter] | None = None,
        learning_rate: float = 1.0,
        damping: float = 1e-3,
        iterations: int = 50,
        tolerance: float = 1e-3,
    ) -> None:
        super().__init__(network, params, iterations, tolerance)
        if not callable(loss_fn):
            raise TypeError(f"NaturalGradient: loss_fn is a cell or a function, got a {type(loss_fn).__name__}")
        self.loss_fn = loss_fn
        self.learning_rate = self._state("learning_rate", learning_rate)
        self.damping = self._state("damping", damping)

    def construct(self, data: Any, label: Any) -> Tensor:
        """Take one step, and return the loss before it."""
        vector = self._vector()
        damping, rate = (_evolute.cast(p, vector.dtype) for p in (self.damping, self.learning_rate))

        def predictions(v: Tensor) -> Any:
            return self._call(v, (data,))

        def loss_of(out: Any) -> Tensor:
            return self._number(self.loss_fn(out, label))

        out, pullback = transforms.vjp(predictions, vector)
        loss, slope = transforms.value_and_grad(loss_of)(out)

        def product(v: Tensor) -> Tensor:
            _, image = transforms.jvp(predictions, vector, v)
            _, curved = transforms.jvp(transforms.grad(loss_of), out, image)
            return transforms.vjp(predictions, vector, curved)[1] + damping * v  # type: ignore[no-any-return]

        d, _ = _conjugate_gradients(product, pullback(slope), self.iterations, self.tolerance)
        self._store(vector + rate * d)
        return loss  # type: ignore[no-any-return]
