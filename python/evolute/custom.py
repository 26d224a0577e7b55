"""Functions with derivative rules of their own, and functions that are linear."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any, cast

from evolute import _evolute

Function = Callable[..., Any]


def _callable(fn: Any, what: str) -> Function:
    if not callable(fn):
        raise TypeError(f"{what}: needs a function or a cell, got {type(fn).__name__}")
    return fn  # type: ignore[no-any-return]


def _number_of_arguments(fn: Function) -> int:
    """Return how many positional arguments a call has, once those with defaults are there; 0 if it cannot be told."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return 0
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


class _Ruled:
    """A function whose derivative is given by rules.

    Parameters
    ----------
    fn : callable
        Function or cell.
    nondiff_argnums : sequence of int
        Positions of arguments that are no inputs of the rules, but handed to them as they are, before all others.
    """

    __name__: str
    _kind: str
    _define: str
    _watched = ("_fn", "_forward", "_backward", "_rule")  # what recordings depend on

    def __init__(self, fn: Function, nondiff_argnums: Sequence[int] = ()) -> None:
        self._fn = _callable(fn, self._kind)
        if not all(type(i) is int and i >= 0 for i in nondiff_argnums):
            raise TypeError(f"{self._kind}: nondiff_argnums must be positions, got {nondiff_argnums!r}")
        self._static = tuple(sorted(set(nondiff_argnums)))
        self._n_args = _number_of_arguments(self._fn)
        functools.update_wrapper(cast(Function, self), fn, updated=())

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind to an instance, as functions do."""
        return self if instance is None else types.MethodType(cast(Function, self), instance)

    def _split(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return the static arguments, and all others."""
        if kwargs or len(args) < self._n_args:
            bound = inspect.signature(self._fn).bind(*args, **kwargs)
            bound.apply_defaults()
            if bound.kwargs:
                raise TypeError(
                    f"{self._kind}: {self.__name__} was called with keyword-only arguments {list(bound.kwargs)}; "
                    "rules know positional arguments alone"
                )
            args = bound.args
        if self._static and self._static[-1] >= len(args):
            raise ValueError(
                f"{self._kind}: nondiff_argnums has {self._static[-1]}, but {self.__name__} was called with "
                f"{len(args)} arguments"
            )
        return tuple(args[i] for i in self._static), tuple(a for i, a in enumerate(args) if i not in self._static)

    def _merged(self, static: tuple[Any, ...]) -> Function:
        """Return the function of all other arguments."""
        return self._fn if not static else functools.partial(self._call_merged, self._fn, static)

    def _call_merged(self, fn: Function, static: tuple[Any, ...], *args: Any) -> Any:
        rest, given = iter(args), iter(static)
        n = len(args) + len(static)
        return fn(*(next(given) if i in self._static else next(rest) for i in range(n)))

    def _undefined(self) -> TypeError:
        return TypeError(
            f"{self._kind}: {self.__name__} has no rule yet; define it with {self.__name__}.{self._define}"
        )


class custom_vjp(_Ruled):
    """Give a function a reverse rule of its own; use it as a decorator, and set the rule by `defvjp`.

    The rule takes part in every transform. It is made of operations, so that it is differentiated for higher orders;
    forward mode uses its transpose, for which the rule must be linear in the cotangents.

    Parameters
    ----------
    fn : callable
        Function or cell of tensors, or structures of them. Everything else in its arguments is static.
    nondiff_argnums : sequence of int
        Positions of arguments that the rule gets as they are, before all others, and gives no gradients for.

    Raises
    ------
    TypeError
        By a call: if there is no rule.
    TraceError
        When a derivative is taken: if the function uses a tensor or parameter from outside by which a derivative is
        being taken. Pass it as an argument.

    Examples
    --------
    >>> import evolute as ev
    >>> @ev.custom_vjp
    ... def clipped(x):
    ...     return x
    >>> clipped.defvjp(lambda x: (x, None), lambda _, g: (ev.ops.clip(g, -1.0, 1.0),))
    >>> print(ev.grad(lambda x: 5 * clipped(x))(ev.Tensor(2.0)))
    1.0
    """

    _kind, _define = "custom_vjp", "defvjp(forward, backward)"

    def __init__(self, fn: Function, nondiff_argnums: Sequence[int] = ()) -> None:
        super().__init__(fn, nondiff_argnums)
        self._forward: Function | None = None
        self._backward: Function | None = None

    def defvjp(self, forward: Function, backward: Function) -> None:
        """Set the rule.

        Parameters
        ----------
        forward : callable
            Takes the arguments of the function; returns (output, residuals), where residuals is any structure of
            tensors and static values that `backward` needs.
        backward : callable
            Takes (residuals, cotangents), the latter in the structure of the output; returns a tuple with a gradient
            for each argument, in its structure; None stands for zero.
        """
        self._forward, self._backward = _callable(forward, "defvjp"), _callable(backward, "defvjp")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        if self._forward is None or self._backward is None:
            raise self._undefined()
        static, rest = self._split(args, kwargs)
        forward, backward = self._forward, self._backward
        if static:
            forward = functools.partial(self._call_merged, forward, static)

        def rule(_: Any, __: Any, residuals: Any, cotangents: Any) -> Any:
            return backward(*static, residuals, cotangents)

        return _evolute.call_with_rule(self._merged(static), rest, forward, rule, None, False, self._kind)


class custom_jvp(_Ruled):
    """Give a function a forward rule of its own; use it as a decorator, and set the rule by `defjvp` or `defjvps`.

    The rule takes part in every transform. It is made of operations, so that it is differentiated for higher orders;
    reverse mode uses its transpose, for which the rule must be linear in the tangents.

    Parameters
    ----------
    fn : callable
        Function or cell of tensors, or structures of them. Everything else in its arguments is static.
    nondiff_argnums : sequence of int
        Positions of arguments that the rule gets as they are, before all others, and gets no tangents for.

    Raises
    ------
    TypeError
        By a call: if there is no rule.
    TraceError
        When a derivative is taken: if the function uses a tensor or parameter from outside by which a derivative is
        being taken. Pass it as an argument.

    Examples
    --------
    >>> import evolute as ev
    >>> from evolute import ops
    >>> @ev.custom_jvp
    ... def log1pexp(x):
    ...     return ops.log(1.0 + ops.exp(x))
    >>> @log1pexp.defjvp
    ... def rule(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return log1pexp(x), t * (1.0 - 1.0 / (1.0 + ops.exp(x)))
    >>> print(ev.grad(log1pexp)(ev.Tensor(100.0)))
    1.0
    """

    _kind, _define = "custom_jvp", "defjvp(rule)"

    def __init__(self, fn: Function, nondiff_argnums: Sequence[int] = ()) -> None:
        super().__init__(fn, nondiff_argnums)
        self._rule: Function | None = None

    def defjvp(self, rule: Function) -> Function:
        """Set the rule; returns it, so that this can be a decorator.

        Parameters
        ----------
        rule : callable
            Takes (primals, tangents), tuples with an entry for each argument; tangents of static values are None.
            Returns (output, tangent of the output), both in the structure of the output.
        """
        _callable(rule, "defjvp")

        def tangent(static: tuple[Any, ...], primals: Any, _: Any, tangents: Any) -> Any:
            both = rule(*static, primals, tangents)
            if not isinstance(both, tuple) or len(both) != 2:
                raise ValueError(
                    f"custom_jvp: the rule of {self.__name__} must return a pair (output, tangent), got "
                    f"{type(both).__name__}"
                )
            return both[1]

        self._rule = tangent
        return rule

    def defjvps(self, *rules: Function | None) -> None:
        """Set a rule for each argument, for functions with one output.

        Parameters
        ----------
        *rules : callable or None
            Rule i takes (tangent of argument i, output, *arguments), and returns what that adds to the tangent of the
            output. None stands for zero.
        """
        for rule in rules:
            if rule is not None:
                _callable(rule, "defjvps")

        def tangent(static: tuple[Any, ...], primals: Any, out: Any, tangents: Any) -> Any:
            if static:
                raise TypeError("custom_jvp: defjvps does not go with nondiff_argnums; use defjvp")
            if len(rules) != len(primals):
                raise ValueError(
                    f"custom_jvp: {self.__name__} has {len(rules)} rules, but was called with {len(primals)} arguments"
                )
            terms = [
                r(t, out, *primals) for r, t in zip(rules, tangents, strict=True) if r is not None and t is not None
            ]
            return sum(terms[1:], terms[0]) if terms else None

        self._rule = tangent

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        if self._rule is None:
            raise self._undefined()
        static, rest = self._split(args, kwargs)
        rule = functools.partial(self._rule, static)
        return _evolute.call_with_rule(self._merged(static), rest, None, None, rule, False, self._kind)


# ---- linear functions ------------------------------------------------------------------------------------------------


def linearize(fn: Function, *primals: Any) -> tuple[Any, Function]:
    """Value of a function, and its derivative there as a function of tangents.

    `fn` runs once. The derivative repeats the operations on tangents alone, compiled where nothing else goes on:
    everything that depends on the primals has been computed. Use it where one derivative is needed along many
    directions, one after the other, as in Newton-Krylov methods; for all directions at once there is `jacfwd`.

    Parameters
    ----------
    fn : callable
        Function or cell.
    *primals : Tensor or structure of tensors
        Its arguments, all of floating dtype.

    Returns
    -------
    tuple
        (fn(*primals), f_jvp): f_jvp takes a tangent per argument, in its structure and of its shapes, and gives the
        tangent of the output. It works under every transform.

    Raises
    ------
    DTypeError
        If a primal is not of floating dtype.

    Examples
    --------
    >>> import evolute as ev
    >>> value, f_jvp = ev.linearize(lambda x: x**3, ev.Tensor([2.0]))
    >>> print(value, f_jvp(ev.Tensor([1.0])), f_jvp(ev.Tensor([2.0])))
    [8.] [12.] [24.]
    """
    return _evolute.linearize(_callable(fn, "linearize"), primals)


def linear_transpose(fn: Function, *primals: Any) -> Function:
    """Transpose of a linear function.

    Parameters
    ----------
    fn : callable
        A function that is linear in all of its arguments together.
    *primals : Tensor or structure of tensors
        Arguments like those of `fn`. Only shapes and dtypes count.

    Returns
    -------
    callable
        A function of a cotangent in the structure of the output. It gives a tuple with one entry per argument.

    Raises
    ------
    ValueError
        If `fn` is not linear.
    DTypeError
        If a primal is not of floating dtype.

    Examples
    --------
    >>> import evolute as ev
    >>> a = ev.Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> (x,) = ev.linear_transpose(lambda x: a @ x, ev.Tensor([0.0, 0.0]))(ev.Tensor([1.0, 0.0]))
    >>> print(x)
    [1. 2.]
    """
    return _evolute.linear_transpose(_callable(fn, "linear_transpose"), primals)


# ---- hooks on gradients ----------------------------------------------------------------------------------------------


def gradient_hook(hook: Function, value: Any, what: str, reached: Callable[[], None] | None = None) -> Any:
    """Return `value` as it is, but with its cotangent replaced by what `hook` makes of it, unless that is None.

    `hook` gets the cotangent in the structure of `value`. `reached` is called if a derivative of it is being taken.
    """

    def keep(value: Any) -> Any:
        if reached is not None:
            reached()
        return value, ()

    def backward(_: Any, __: Any, ___: Any, cotangent: Any) -> tuple[Any]:
        new = hook(cotangent)
        return (cotangent if new is None else new,)

    return _evolute.call_with_rule(lambda x: x, (value,), keep, backward, None, False, what)


__all__ = ["custom_jvp", "custom_vjp", "gradient_hook", "linear_transpose", "linearize"]
