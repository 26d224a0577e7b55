"""Taylor mode: derivatives of high order along a curve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evolute import _evolute
from evolute._evolute import DType, ShapeError, Tensor, float32
from evolute.transforms import _callable, _run


def _coefficients(series: Any, name: str) -> tuple[Any, ...]:
    """Split one input's series into its derivatives of order 1, 2, …."""
    if isinstance(series, (tuple, list)):
        return tuple(series)
    if series is None:
        return ()
    if not isinstance(series, Tensor):
        series = Tensor(series)
    if series.ndim == 0:
        raise ShapeError(f"jet: the series of {name} is a number; its first axis must run over the orders")
    return tuple(series[k] for k in range(series.shape[0]))


def jet(fn: Callable[..., Any], primals: Any, series: Any) -> tuple[Any, Any]:
    """Differentiate `fn` along a curve, to every order up to K, by Taylor mode.

    The inputs move along a curve x(t), given by its value and its derivatives at t = 0; the results are the value of
    fn(x(t)) and its derivatives there. The cost grows as K², where nested `grad` or `jvp` would take 2ᴷ.

    Parameters
    ----------
    fn : callable
        Function or cell, of tensors or structures of them.
    primals : Tensor or tuple
        Its arguments.
    series : Tensor, sequence, or tuple with one of these per argument
        Derivatives x', x'', … of each argument: either stacked along a new first axis, or a sequence of K entries of
        the argument's structure. None stands for zero, and costs less than zeros do.

    Returns
    -------
    tuple
        (fn(*primals), derivatives). Derivatives are stacked along a new first axis where all series were tensors, in
        each tensor of the output's structure; else they are a list of K results.

    Raises
    ------
    ShapeError
        If a derivative does not have the shape of its input.
    ValueError
        If there are no derivatives, or not one series per argument.

    Notes
    -----
    Derivatives are not divided by factorials, as in MindSpore and JAX. See Griewank and Walther, *Evaluating
    Derivatives*, chapter 13, for the recurrences.

    Examples
    --------
    >>> import evolute as ev
    >>> value, derivatives = ev.jet(ev.ops.sin, ev.Tensor(0.0), [ev.Tensor(1.0), None, None])
    >>> print(value, *derivatives)
    0.0 1.0 -0.0 -1.0
    """
    _callable(fn, "jet")
    several = isinstance(primals, (tuple, list))
    args = tuple(primals) if several else (primals,)
    given = tuple(series) if several and isinstance(series, (tuple, list)) else (series,)
    if len(given) != len(args):
        raise ValueError(f"jet: got {len(given)} series for {len(args)} inputs; give one for each")
    stacked = all(isinstance(s, Tensor) for s in given)
    curves = [_coefficients(s, f"input {i}" if several else "the input") for i, s in enumerate(given)]
    order = max(map(len, curves))
    if order == 0:
        raise ValueError("jet: got no derivatives of any input; there must be at least those of order 1")
    padded = tuple(c + (None,) * (order - len(c)) for c in curves)

    def body(args: Any, padded: Any) -> Any:
        value, derivatives = _evolute.jet(fn, args, padded, {}, order, False, "jet")
        return value, _stacked(derivatives) if stacked else derivatives

    return _run(fn, ("jet", order, stacked), body, (args, padded), {})  # type: ignore[no-any-return]


def _stacked(results: list[Any]) -> Any:
    """Stack the tensors in equal places of results of one structure."""
    first = results[0]
    if isinstance(first, Tensor):
        return _evolute.stack(results, 0)
    if isinstance(first, dict):
        return {key: _stacked([r[key] for r in results]) for key in first}
    if isinstance(first, (tuple, list)):
        parts = [_stacked(list(column)) for column in zip(*results, strict=True)]
        return type(first)(parts) if type(first) in (tuple, list) else type(first)(*parts)
    return None


def derivative(fn: Callable[..., Any], primals: Any, order: int) -> tuple[Any, Any]:
    """Differentiate `fn` to a given order, by Taylor mode.

    All elements of all inputs move alike: fn⁽ⁿ⁾(x) of an elementwise function, or of one that treats rows of single
    numbers alike, such as a network at many points of a line. See `jet` for the cost and for curves of other kinds.

    Parameters
    ----------
    fn : callable
        Function or cell.
    primals : Tensor or tuple
        Its arguments. Integers become float32.
    order : int
        Which derivative.

    Returns
    -------
    tuple
        (fn(*primals), derivative), in the structure of the output.

    Raises
    ------
    TypeError
        If the order is no integer.
    ValueError
        If it is below 1.

    Examples
    --------
    >>> import evolute as ev
    >>> value, third = ev.ops.derivative(lambda x: x**4, ev.Tensor([1.0, 2.0]), 3)
    >>> print(value, third)
    [ 1. 16.] [24. 48.]
    """
    _callable(fn, "derivative")
    if type(order) is not int:
        raise TypeError(f"derivative: order must be an integer, got {type(order).__name__}")
    if order < 1:
        raise ValueError(f"derivative: got order {order}; it must be at least 1")
    args = tuple(primals) if isinstance(primals, (tuple, list)) else (primals,)

    def body(*args: Any) -> Any:
        moving = tuple(_floating(x) for x in args)
        seeds = tuple((_evolute.ones_like(x), *(None,) * (order - 1)) for x in moving)
        value, derivatives = _evolute.jet(fn, moving, seeds, {}, order, True, "derivative")
        return value, derivatives[0]

    return _run(fn, ("derivative", order), body, args, {})  # type: ignore[no-any-return]


def _floating(x: Any) -> Tensor:
    x = x if isinstance(x, Tensor) else Tensor(x)
    kinds: tuple[DType, ...] = (_evolute.int32, _evolute.int64)
    return _evolute.cast(x, float32) if x.dtype in kinds else x
