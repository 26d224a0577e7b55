"""Differential operators of functions of points: `laplacian`, `divergence`, `curl`, mixed partial derivatives.

All take a function of one point, a tensor of shape (d,) at one of its positions, and give a function of the same
arguments that also takes many points at once: the points may have leading axes, (…, d), which the results then have in
front. The other arguments are the same for all points. No `vmap` is needed, and the function is written for one point;
a network written for a batch (n, d) serves as well, given `batched=True`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from evolute import _evolute
from evolute._evolute import ShapeError, Tensor
from evolute.taylor import jet
from evolute.transforms import _callable, _run, jvp, vmap

__all__ = ["biharmonic", "curl", "directional_derivative", "divergence", "laplacian", "partial"]

Point = Callable[[Callable[[Tensor], Any], Tensor], Any]


def _at_points(
    what: str, fn: Callable[..., Any], position: int, batched: bool, options: tuple[Any, ...], point: Point
) -> Callable[..., Any]:
    """Return the function that applies `point(function of one point, point)` to all points.

    `options` tells operators of one name apart.
    """
    _callable(fn, what)

    def body(*args: Any, **kwargs: Any) -> Any:
        if not -len(args) <= position < len(args):
            raise ValueError(f"{what}: grad_position {position} is out of range for {len(args)} positional arguments")
        at = position % len(args)
        x = args[at] if isinstance(args[at], Tensor) else Tensor(args[at])
        if x.ndim == 0:
            raise ShapeError(f"{what}: needs points of shape (d,) or (…, d), got a number; reshape it to (1,)")

        def one(x: Tensor) -> Any:
            def of_point(x: Tensor) -> Any:
                if not batched:
                    return fn(*args[:at], x, *args[at + 1 :], **kwargs)
                out = fn(*args[:at], _evolute.expand_dims(x, 0), *args[at + 1 :], **kwargs)
                if not isinstance(out, Tensor) or out.ndim == 0 or out.shape[0] != 1:
                    got = f"shape {out.shape}" if isinstance(out, Tensor) else type(out).__name__
                    raise ShapeError(f"{what}: with batched=True the function must keep the axis of points, got {got}")
                return out[0]

            return point(of_point, x)

        if x.ndim == 1:
            return one(x)
        points, leading = _evolute.reshape(x, (-1, x.shape[-1])), x.shape[:-1]
        results = vmap(one)(points)
        return results if x.ndim == 2 else _evolute.reshape(results, (*leading, *results.shape[1:]))

    def operator(*args: Any, **kwargs: Any) -> Any:
        return _run(fn, (what, position, batched, options), body, args, kwargs)

    return operator


def _unit_vectors(x: Tensor) -> Tensor:
    return _evolute.diag(_evolute.ones_like(x))  # on the device of x


def laplacian(fn: Callable[..., Any], grad_position: int = 0, *, batched: bool = False) -> Callable[..., Any]:
    """Laplacian Δu = Σ ∂²u/∂xᵢ² by a single run of Taylor mode.

    The run carries the derivatives along all d directions, and the sum alone of the second derivatives: about the cost
    of d + 2 runs of `fn`, and memory that grows as d. Reverse mode would take d runs of `hvp`.

    Parameters
    ----------
    fn : callable
        Function of a point of shape (d,), with any result.
    grad_position : int
        Which argument is the point.
    batched : bool
        `fn` takes a batch of points (n, d) instead, and its result has their axis in front.

    Returns
    -------
    callable
        A function of the same arguments, for one point (d,) or many (…, d). It gives a tensor of the shape of `fn`'s
        result, with the leading axes of the points in front.

    Raises
    ------
    ShapeError
        By the function: if the points are a number, or `fn` does not keep the axis of points with `batched`.

    Examples
    --------
    >>> import evolute as ev
    >>> def u(x):
    ...     return x[0] ** 2 * x[1] + x[1] ** 3
    >>> print(ev.laplacian(u)(ev.Tensor([[1.0, 2.0], [0.0, 1.0]])))
    [16.  8.]
    """
    return _at_points("laplacian", fn, grad_position, batched, (), _laplacian)


def _laplacian(u: Callable[[Tensor], Any], x: Tensor) -> Any:
    return _evolute.laplacian(u, x, _unit_vectors(x))[2]


def biharmonic(fn: Callable[..., Any], grad_position: int = 0, *, batched: bool = False) -> Callable[..., Any]:
    """Biharmonic operator Δ²u, the Laplacian of the Laplacian, for about (d + 2)² runs of `fn`.

    Parameters, results and errors are those of `laplacian`.

    Examples
    --------
    >>> import evolute as ev
    >>> print(ev.biharmonic(lambda x: x[0] ** 4 + x[0] ** 2 * x[1] ** 2)(ev.Tensor([1.0, 2.0])))
    32.0
    """
    return _at_points(
        "biharmonic", fn, grad_position, batched, (), lambda u, x: _laplacian(lambda y: _laplacian(u, y), x)
    )


def _jacobian(u: Callable[[Tensor], Any], x: Tensor, what: str, d: int | None = None) -> Tensor:
    """Return the derivatives by each coordinate, along axis 0."""
    derivatives = vmap(lambda v: jvp(u, x, v)[1])(_unit_vectors(x))
    got = derivatives.shape[1:] if isinstance(derivatives, Tensor) else type(derivatives).__name__
    if got != x.shape or (d is not None and x.shape != (d,)):
        needs = f"({d},)" if d else "(d,)"
        raise ShapeError(
            f"{what}: needs a vector field: points and values of shape {needs}, got points of shape {x.shape} and "
            f"values of shape {got}"
        )
    return derivatives  # type: ignore[no-any-return]


def divergence(fn: Callable[..., Any], grad_position: int = 0, *, batched: bool = False) -> Callable[..., Any]:
    """Divergence Σ ∂uᵢ/∂xᵢ of a vector field, for d runs of forward mode at once.

    `fn` maps a point (d,) to a vector (d,); otherwise parameters, results and errors are those of `laplacian`.

    Examples
    --------
    >>> import evolute as ev
    >>> print(ev.divergence(lambda x: x * x[0])(ev.Tensor([[1.0, 2.0], [3.0, 0.0]])))
    [3. 9.]
    """
    return _at_points(
        "divergence", fn, grad_position, batched, (), lambda u, x: _evolute.trace(_jacobian(u, x, "divergence"))
    )


def curl(fn: Callable[..., Any], grad_position: int = 0, *, batched: bool = False) -> Callable[..., Any]:
    """Curl of a vector field of three dimensions, ∇ × u, or of two, ∂u₁/∂x₀ − ∂u₀/∂x₁.

    `fn` maps a point (3,) to a vector (3,), or (2,) to (2,), where the result is a number; otherwise parameters,
    results and errors are those of `laplacian`.

    Examples
    --------
    >>> import evolute as ev
    >>> def field(x):
    ...     return ev.ops.stack([-x[1], x[0], x[2] * x[0]])
    >>> print(ev.curl(field)(ev.Tensor([1.0, 2.0, 3.0])))
    [ 0. -3.  2.]
    """

    def point(u: Callable[[Tensor], Any], x: Tensor) -> Tensor:
        j = _jacobian(u, x, "curl", 2 if x.shape[0] == 2 else 3)
        if x.shape[0] == 2:
            return j[0, 1] - j[1, 0]
        return _evolute.stack([j[1, 2] - j[2, 1], j[2, 0] - j[0, 2], j[0, 1] - j[1, 0]], 0)

    return _at_points("curl", fn, grad_position, batched, (), point)


def _along(u: Callable[[Tensor], Any], x: Tensor, v: Tensor, order: int) -> Any:
    return jet(u, x, [v, *(None,) * (order - 1)])[1][-1]


def directional_derivative(
    fn: Callable[..., Any], order: int = 1, grad_position: int = 0, *, batched: bool = False
) -> Callable[..., Any]:
    """Differentiate to a given order along a direction, dⁿ/dtⁿ u(x + t v) at t = 0, by Taylor mode.

    Parameters
    ----------
    fn : callable
        Function of a point of shape (d,).
    order : int
        Which derivative.
    grad_position : int
        Which argument is the point.
    batched : bool
        `fn` takes a batch of points (n, d) instead.

    Returns
    -------
    callable
        A function of a direction v of shape (d,) and the arguments of `fn`, for one point (d,) or many (…, d).

    Raises
    ------
    ValueError
        If the order is below 1.

    Examples
    --------
    >>> import evolute as ev
    >>> second = ev.directional_derivative(lambda x: x[0] * x[1], 2)
    >>> print(second(ev.Tensor([1.0, 1.0]), ev.Tensor([[3.0, 4.0], [0.0, 1.0]])))
    [2. 2.]
    """
    if type(order) is not int:
        raise TypeError(f"directional_derivative: order must be an integer, got {type(order).__name__}")
    if order < 1:
        raise ValueError(f"directional_derivative: got order {order}; it must be at least 1")
    _callable(fn, "directional_derivative")

    def derivative(v: Any, *args: Any, **kwargs: Any) -> Any:
        direction = v if isinstance(v, Tensor) else Tensor(v)
        at = _at_points(
            "directional_derivative", fn, grad_position, batched, (), lambda u, x: _along(u, x, direction, order)
        )
        return at(*args, **kwargs)

    def operator(*args: Any, **kwargs: Any) -> Any:
        if not args:
            raise TypeError("directional_derivative: needs the direction as first argument")
        return _run(fn, ("directional_derivative", order, grad_position, batched), derivative, args, kwargs)

    return operator


def partial(
    fn: Callable[..., Any], orders: Sequence[int], grad_position: int = 0, *, batched: bool = False
) -> Callable[..., Any]:
    """Mixed partial derivative: `partial(u, (2, 0, 1))` is ∂³u/∂x₀²∂x₂.

    Taylor mode along each coordinate that takes part, one within the other: the cost is the product of the squares of
    the orders, not 2 to the power of their sum.

    Parameters
    ----------
    fn : callable
        Function of a point of shape (d,).
    orders : sequence of int
        How many times to differentiate by each coordinate.
    grad_position : int
        Which argument is the point.
    batched : bool
        `fn` takes a batch of points (n, d) instead.

    Returns
    -------
    callable
        A function of the same arguments, for one point (d,) or many (…, d).

    Raises
    ------
    ValueError
        If an order is negative.
    ShapeError
        By the function: if there are not as many orders as coordinates.

    Examples
    --------
    >>> import evolute as ev
    >>> print(ev.partial(lambda x: x[0] ** 3 * x[1] ** 2, (2, 1))(ev.Tensor([[1.0, 2.0], [2.0, 1.0]])))
    [24. 24.]
    """
    counts = tuple(orders)
    if not all(type(n) is int for n in counts):
        raise TypeError(f"partial: orders must be integers, got {orders!r}")
    if any(n < 0 for n in counts):
        raise ValueError(f"partial: orders must not be negative, got {counts}")

    def point(u: Callable[[Tensor], Any], x: Tensor) -> Any:
        if x.shape != (len(counts),):
            raise ShapeError(
                f"partial: got {len(counts)} orders for points of {x.shape[0]} coordinates; give one for each"
            )
        derivative = u
        for i, n in enumerate(counts):
            if n:
                derivative = _step(derivative, _unit_vectors(x)[i], n)
        return derivative(x)

    return _at_points("partial", fn, grad_position, batched, counts, point)


def _step(u: Callable[[Tensor], Any], v: Tensor, order: int) -> Callable[[Tensor], Any]:
    return lambda x: _along(u, x, v, order)
