"""SciPy's minimisers on functions of parameters, with compiled exact derivatives.

The ``scipy`` library is needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from evolute import _compile, _evolute
from evolute._evolute import DTypeError, ShapeError, Tensor, float64
from evolute.jacobians import hvp
from evolute.nn.functional_call import functional_call, ravel, unravel
from evolute.parameter import Parameter
from evolute.transforms import value_and_grad

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["minimize"]


def minimize(
    fn: Callable[..., Any],
    parameters: Sequence[Parameter],
    args: Sequence[Any] = (),
    method: str = "L-BFGS-B",
    *,
    callback: Callable[[int, float], Any] | None = None,
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Minimise a function over its parameters with `scipy.optimize.minimize`.

    Value and gradient are one compiled call. Methods that use second derivatives (``"Newton-CG"``, ``"trust-ncg"``,
    ``"trust-krylov"``, ``"trust-constr"``) get exact products with the Hessian, another compiled call.

    Parameters
    ----------
    fn : callable
        Function or cell, of which the value is one number.
    parameters : sequence of Parameter
        What to change. SciPy sees them as one vector of float64; `fn` is computed in their dtypes.
    args : sequence
        Arguments of `fn`.
    method : str
        Method of SciPy.
    callback : callable, optional
        Called after each iteration with its number and the value of `fn`, when the parameters have their new values.
        It ends the minimisation by raising StopIteration.
    tol : float, optional
        Tolerance, as SciPy has it.
    options : mapping, optional
        Options of the method, such as ``{"maxiter": 1000}``.

    Returns
    -------
    scipy.optimize.OptimizeResult
        What SciPy has to say. The parameters have the values found.

    Raises
    ------
    ImportError
        If SciPy is missing.
    ValueError
        If there are no parameters.
    ShapeError, DTypeError
        If the value of `fn` is not one floating number.

    Notes
    -----
    With the library ``threadpoolctl``, SciPy's own linear algebra is kept on one thread, which is faster by far where
    SciPy's threads and Evolute's share the cores.

    Examples
    --------
    >>> from evolute import Parameter, ops
    >>> x = Parameter([-1.0, 2.0], "x")
    >>> def rosenbrock():
    ...     return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
    >>> result = minimize(rosenbrock, [x])
    >>> bool(ops.norm(x - 1.0) < 1e-2)
    True
    """
    try:
        from scipy import optimize
    except ImportError as error:
        raise ImportError("minimize needs SciPy, which is not installed: pip install scipy") from error
    objective = _Objective(fn, tuple(parameters), tuple(args))
    done = 0

    def after(x: NDArray[np.float64], state: Any = None) -> None:
        nonlocal done
        done += 1
        objective.store(x)
        if callback is not None:
            callback(done, objective.last[1] if np.array_equal(objective.last[0], x) else objective.value(x)[0])

    second = {"hessp": objective.product} if method.lower() in _SECOND_ORDER else {}
    with _one_blas_thread():
        result = optimize.minimize(
            objective.value,
            objective.vector(),
            jac=True,
            method=method,
            callback=after,
            tol=tol,
            options=None if options is None else dict(options),
            **second,
        )
    objective.store(result.x)
    return result


def _one_blas_thread() -> AbstractContextManager[Any]:
    """Keep SciPy's BLAS on this thread: on vectors as short as its are, threads of its own only hinder Evolute's."""
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext()
    return threadpool_limits(1, "blas")  # type: ignore[no-any-return]


_SECOND_ORDER = {"newton-cg", "trust-ncg", "trust-krylov", "trust-constr"}


class _Objective:
    """A function of parameters as one of a vector."""

    def __init__(self, fn: Callable[..., Any], parameters: tuple[Parameter, ...], args: tuple[Any, ...]) -> None:
        if not callable(fn):
            raise TypeError(f"minimize: needs a function or a cell, got a {type(fn).__name__}")
        if not parameters:
            raise ValueError("minimize: there are no parameters to change")
        for parameter in parameters:
            if not isinstance(parameter, Parameter):
                raise TypeError(f"minimize: a {type(parameter).__name__} is no Parameter")
        self.fn, self.parameters, self.args = fn, parameters, args
        self.last: tuple[Any, float] = (None, math.nan)
        self._gradient = _compile.Compiled(self._value_and_gradient, fn)
        self._product = _compile.Compiled(self._hessian_product, fn)

    def vector(self) -> NDArray[np.float64]:
        return np.concatenate([p.asnumpy().ravel().astype(np.float64) for p in self.parameters])

    def store(self, x: NDArray[np.float64]) -> None:
        for parameter, value in zip(self.parameters, unravel(Tensor(x), self.parameters), strict=True):
            parameter.set_data(value)

    def value(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        value, gradient = self._gradient(Tensor(x), self.args)
        self.last = x.copy(), float(value.item())
        return self.last[1], np.array(gradient.asnumpy())

    def product(self, x: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array(self._product(Tensor(x), Tensor(np.asarray(v, np.float64)), self.args).asnumpy())

    def _of_values(self, *values: Tensor) -> Any:
        out = functional_call(self.fn, self.parameters, values, *self._inputs)
        if not isinstance(out, Tensor) or not out.dtype.is_floating:
            raise DTypeError(f"minimize: the function must return one floating number, got {out!r}")
        if out.size != 1:
            raise ShapeError(f"minimize: the function must return one number, got shape {out.shape}")
        return _evolute.cast(out, float64)

    def _value_and_gradient(self, x: Tensor, args: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
        self._inputs = args
        values = unravel(x, self.parameters)
        value, gradients = value_and_grad(self._of_values, tuple(range(len(values))))(*values)
        return value, ravel(gradients, float64)

    def _hessian_product(self, x: Tensor, v: Tensor, args: tuple[Any, ...]) -> Tensor:
        self._inputs = args
        product = hvp(self._of_values, tuple(unravel(x, self.parameters)), tuple(unravel(v, self.parameters)))
        return ravel(product if isinstance(product, tuple) else (product,), float64)
