"""Whole Jacobians and Hessians, and products of Hessians with vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evolute import _evolute
from evolute._evolute import DTypeError, ShapeError, Tensor
from evolute.transforms import Positions, _callable, _positions, _run, grad


def _jacobian(fn: Callable[..., Any], grad_position: Positions, has_aux: bool, mode: str, what: str) -> Any:
    _callable(fn, what)
    positions = _positions(grad_position, what)
    single = isinstance(grad_position, int)

    def body(*args: Any, **kwargs: Any) -> Any:
        result, aux = _evolute.jacobian(fn, args, kwargs, positions, single, mode, has_aux, what)
        return (result, aux) if has_aux else result

    def jacobian(*args: Any, **kwargs: Any) -> Any:
        return _run(fn, (what, positions, single, has_aux), body, args, kwargs)

    return jacobian


def jacfwd(fn: Callable[..., Any], grad_position: Positions = 0, has_aux: bool = False) -> Callable[..., Any]:
    """Jacobian by forward mode: one run of `fn` along all unit vectors of an argument at once.

    Cheaper than `jacrev` where the arguments have fewer elements than the outputs. As many unit vectors go at once as
    keep them and the derivatives along them within 64 MiB, so that memory is bounded.

    Parameters
    ----------
    fn : callable
        Function or cell, of tensors or structures of them.
    grad_position : int or tuple of int
        Positional arguments to differentiate with respect to.
    has_aux : bool
        `fn` returns (output, aux...): only the output is differentiated, and the result is (Jacobian, (aux...)).

    Returns
    -------
    callable
        A function of the same arguments. It gives a tensor of shape (*output.shape, *argument.shape); for several
        positions a tuple with one entry for each, and for structures of tensors, the structure of the output with the
        structure of the argument in each place.

    Raises
    ------
    DTypeError
        By the function: if an argument or an output is not of floating dtype.
    ValueError
        By the function: if a position is out of range.

    Examples
    --------
    >>> import evolute as ev
    >>> print(ev.jacfwd(lambda x: x * x)(ev.Tensor([1.0, 2.0])))
    [[2. 0.]
     [0. 4.]]
    """
    return _jacobian(fn, grad_position, has_aux, "forward", "jacfwd")  # type: ignore[no-any-return]


def jacrev(fn: Callable[..., Any], grad_position: Positions = 0, has_aux: bool = False) -> Callable[..., Any]:
    """Jacobian by reverse mode: one run of `fn`, and one sweep back from all unit vectors of an output at once.

    Cheaper than `jacfwd` where the outputs have fewer elements than the arguments. Parameters, results, errors and the
    bound on memory are those of `jacfwd`.

    Examples
    --------
    >>> import evolute as ev
    >>> by_x, by_y = ev.jacrev(lambda x, y: x * y, (0, 1))(ev.Tensor([1.0, 2.0]), ev.Tensor([3.0, 4.0]))
    >>> print(by_x)
    [[3. 0.]
     [0. 4.]]
    """
    return _jacobian(fn, grad_position, has_aux, "reverse", "jacrev")  # type: ignore[no-any-return]


def jacobian(fn: Callable[..., Any], grad_position: Positions = 0, has_aux: bool = False) -> Callable[..., Any]:
    """Jacobian by whichever of `jacfwd` and `jacrev` has fewer unit vectors to follow.

    Examples
    --------
    >>> import evolute as ev
    >>> print(ev.jacobian(ev.ops.sum)(ev.Tensor([1.0, 2.0])))
    [1. 1.]
    """
    return _jacobian(fn, grad_position, has_aux, "", "jacobian")  # type: ignore[no-any-return]


def _scalar(fn: Callable[..., Any], what: str, has_aux: bool = False) -> Callable[..., Any]:
    """Return `fn`, which must give one number (and more, with `has_aux`)."""

    def scalar(*args: Any, **kwargs: Any) -> Any:
        out = fn(*args, **kwargs)
        value = out[0] if has_aux and isinstance(out, tuple) and out else out
        if not isinstance(value, Tensor):
            raise DTypeError(f"{what}: the function must return one tensor, got {type(value).__name__}")
        if value.size != 1:
            raise ShapeError(f"{what}: needs a function with one number as value, got shape {value.shape}")
        return out

    return scalar


def hessian(fn: Callable[..., Any], grad_position: Positions = 0, has_aux: bool = False) -> Callable[..., Any]:
    """Hessian of a scalar function, forward over reverse.

    Parameters
    ----------
    fn : callable
        Function or cell whose value is one number.
    grad_position : int or tuple of int
        Positional arguments to differentiate with respect to, twice.
    has_aux : bool
        `fn` returns (value, aux...): the result is (Hessian, (aux...)).

    Returns
    -------
    callable
        A function of the same arguments. It gives a tensor of shape (*argument.shape, *argument.shape); for several
        positions a tuple of tuples, of which element [i][j] is the derivative by argument i and by argument j.

    Raises
    ------
    ShapeError, DTypeError
        By the function: if the value is not one floating number.

    Examples
    --------
    >>> import evolute as ev
    >>> print(ev.hessian(lambda x: ev.ops.sum(x**3))(ev.Tensor([1.0, 2.0])))
    [[ 6.  0.]
     [ 0. 12.]]
    """
    _callable(fn, "hessian")
    positions = _positions(grad_position, "hessian")
    single = isinstance(grad_position, int)
    gradient = grad(_scalar(fn, "hessian", has_aux), grad_position, has_aux=has_aux)

    def body(*args: Any, **kwargs: Any) -> Any:
        def first(*args: Any, **kwargs: Any) -> Any:
            out = gradient(*args, **kwargs)
            return (out[0], *out[1]) if has_aux else out

        result, aux = _evolute.jacobian(first, args, kwargs, positions, single, "forward", has_aux, "hessian")
        return (result, aux) if has_aux else result

    def second(*args: Any, **kwargs: Any) -> Any:
        return _run(fn, ("hessian", positions, single, has_aux), body, args, kwargs)

    return second


def hvp(fn: Callable[..., Any], inputs: Any, v: Any) -> Any:
    """Product of the Hessian of a scalar function with a vector, for about the cost of two gradients.

    Parameters
    ----------
    fn : callable
        Function or cell whose value is one number.
    inputs : Tensor or tuple
        Its arguments.
    v : Tensor or tuple
        One direction per input, of its shape.

    Returns
    -------
    Tensor or tuple
        The derivative of the gradient along v: a tensor for a single input, else a tuple.

    Raises
    ------
    ShapeError, DTypeError
        If the value of `fn` is not one floating number, or v is not like the inputs.

    Examples
    --------
    >>> import evolute as ev
    >>> print(ev.hvp(lambda x: ev.ops.sum(x**3), ev.Tensor([1.0, 2.0]), ev.Tensor([1.0, 1.0])))
    [ 6. 12.]
    """
    _callable(fn, "hvp")
    args = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    tangents = tuple(v) if isinstance(v, (tuple, list)) and isinstance(inputs, (tuple, list)) else (v,)
    several = len(args) > 1
    gradient = grad(_scalar(fn, "hvp"), tuple(range(len(args))) if several else 0)

    def body(args: Any, tangents: Any) -> Any:
        return _evolute.jvp(gradient, args, tangents, {}, False)[1]

    return _run(fn, ("hvp", several), body, (args, tangents), {})
