"""Transforms of Python functions and cells: `GradOperation`, `grad`, `jvp`, `vjp` and `vmap`."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from evolute import _compile, _evolute
from evolute._evolute import Tensor

Positions: TypeAlias = int | Sequence[int]


# ---- derivatives as compiled functions in graph mode ----------------------------------------------------------------


class _Derivatives(dict[Any, _compile.Compiled]):
    """Compiled derivatives of a function, kept in its `__dict__`: `grad(net)(x)` in a loop compiles once.

    They refer to the function. Kept anywhere but on it they would keep it alive.
    """

    def __init__(self, owner: Any = None) -> None:
        super().__init__()
        self.owner = id(owner)

    def __reduce__(self) -> Any:
        return _Derivatives, ()  # a copy of the function compiles its own

    @staticmethod
    def of(owner: Any) -> dict[Any, _compile.Compiled]:
        """Return those of `owner`; for objects without a `__dict__` a new table, forgotten after the call."""
        if isinstance(owner, types.BuiltinFunctionType):
            return _of_builtins.setdefault(owner, {})
        attributes = getattr(owner, "__dict__", None)
        if not isinstance(attributes, dict):
            return {}
        found = attributes.get("_derivatives")
        # functools.wraps copies the attributes of one function to another.
        if not isinstance(found, _Derivatives) or found.owner != id(owner):
            found = attributes["_derivatives"] = _Derivatives(owner)
        return found


_of_builtins: dict[Any, dict[Any, _compile.Compiled]] = {}


def _run(fn: Callable[..., Any], options: tuple[Any, ...], body: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call `body(*args, **kwargs)`, a derivative of `fn`; compiled when graph mode is on and nothing else is going on.

    `options` tells derivatives of one function apart.
    """
    if not _compile.should_compile():
        return body(*args, **kwargs)
    owner: Any = fn
    key: tuple[Any, ...] = options
    if isinstance(fn, types.MethodType):  # made anew each time it is looked up
        owner, key = fn.__self__, (fn.__func__, options)
        if isinstance(owner, type):
            owner, key = fn.__func__, (fn.__self__, options)
    cache = _Derivatives.of(owner)
    if key not in cache:
        cache[key] = _compile.Compiled(body, fn)
    return cache[key](*args, **kwargs)


def _weights(weights: Any) -> tuple[Tensor, ...]:
    if weights is None:
        return ()
    if isinstance(weights, Tensor):
        return (weights,)
    if not isinstance(weights, Iterable):
        raise TypeError(f"grad: weights must be a Parameter or a sequence of them, got {type(weights).__name__}")
    return tuple(weights)


def _positions(position: Any, what: str = "grad") -> tuple[int, ...]:
    if isinstance(position, int) and not isinstance(position, bool):
        return (position,)
    if isinstance(position, (tuple, list)) and position and all(type(p) is int for p in position):
        if len(set(position)) != len(position):
            raise ValueError(f"{what}: grad_position {position} names a position twice")
        return tuple(position)
    raise TypeError(f"{what}: grad_position must be an integer or a tuple of integers, got {position!r}")


def _callable(fn: Any, what: str) -> Callable[..., Any]:
    if not callable(fn):
        raise TypeError(f"{what}: needs a function or a cell, got {type(fn).__name__}")
    return fn  # type: ignore[no-any-return]


# ---- the guide's interface -----------------------------------------------------------------------------------------


class GradOperation:
    """Higher-order function that generates the gradient function of a function or cell.

    Parameters
    ----------
    get_all : bool
        Differentiate with respect to all inputs instead of the first; the result is then a tuple, with None for inputs
        that are no numbers of floating kind.
    get_by_list : bool
        Differentiate with respect to the parameters given beside the function; the result is then a tuple with one
        gradient per parameter. With `get_all` the result is ((inputs...), (parameters...)).
    sens_param : bool
        Take the cotangent of the output as a further, last argument: a tensor of the output's shape, or a tuple of them
        for several outputs. Without it the gradient is that of the sum of all outputs.

    Examples
    --------
    >>> import evolute as ev
    >>> gradient = ev.ops.GradOperation(get_all=True)(lambda x, y: x * y)
    >>> print(*gradient(ev.Tensor([2.0]), ev.Tensor([3.0])))
    [3.] [2.]
    """

    def __init__(self, get_all: bool = False, get_by_list: bool = False, sens_param: bool = False) -> None:
        for name, value in (("get_all", get_all), ("get_by_list", get_by_list), ("sens_param", sens_param)):
            if not isinstance(value, bool):
                raise TypeError(f"GradOperation: {name} must be a bool, got {type(value).__name__}")
        self.get_all = get_all
        self.get_by_list = get_by_list
        self.sens_param = sens_param

    def __repr__(self) -> str:
        return f"GradOperation(get_all={self.get_all}, get_by_list={self.get_by_list}, sens_param={self.sens_param})"

    def __call__(self, fn: Callable[..., Any], weights: Any = None) -> Callable[..., Any]:
        """Return the gradient function of `fn`.

        Parameters
        ----------
        fn : callable
            Function or cell.
        weights : ParameterTuple, optional
            Parameters to differentiate with respect to; needed with `get_by_list`.
            The trainable parameters of the cell by default.
        """
        _callable(fn, "GradOperation")
        variables: tuple[Tensor, ...] = ()
        if self.get_by_list:
            if weights is None:
                if not hasattr(fn, "trainable_params"):
                    raise TypeError("GradOperation: get_by_list needs the parameters as second argument")
                weights = fn.trainable_params()
            variables = _weights(weights)
        options = ("GradOperation", self.get_all, self.get_by_list, self.sens_param, tuple(map(id, variables)))

        def body(*args: Any, **kwargs: Any) -> Any:
            sens = None
            if self.sens_param:
                if not args:
                    raise TypeError("GradOperation: sens_param needs the cotangent as last argument")
                *inputs, sens = args
                args = tuple(inputs)
            if not args and not self.get_by_list:
                raise TypeError("GradOperation: the gradient function needs at least one input")
            positions = None if self.get_all else () if self.get_by_list else (0,)
            _, by_input, by_weight = _evolute.gradient(
                fn, args, kwargs, positions, variables, sens, False, "GradOperation"
            )
            if self.get_all and self.get_by_list:
                return by_input, by_weight
            if self.get_by_list:
                return by_weight
            return by_input if self.get_all else by_input[0]

        def gradient(*args: Any, **kwargs: Any) -> Any:
            return _run(fn, options, body, args, kwargs)

        return gradient


def grad(
    fn: Callable[..., Any],
    grad_position: Positions | None = 0,
    weights: Any = None,
    has_aux: bool = False,
    return_ids: bool = False,
    sens_param: bool = False,
) -> Callable[..., Any]:
    """Gradient function of `fn`.

    Parameters
    ----------
    fn : callable
        Function or cell. Several outputs are summed.
    grad_position : int, tuple of int or None
        Positional inputs to differentiate with respect to; None for weights only.
    weights : Parameter, ParameterTuple or list of Parameter, optional
        Parameters to differentiate with respect to as well. (A bool in this place is `sens_param`, which came third in
        earlier versions of MindSpore.)
    has_aux : bool
        `fn` returns (output, aux...): only the output is differentiated, and the result is (gradient, (aux...)).
    return_ids : bool
        Give pairs (position, gradient) and (parameter's name, gradient) in place of the gradients, for `get_grad`.
    sens_param : bool
        Take the cotangent of the output as a further, last argument (a tuple for several outputs), or as the keyword
        argument `sens`.

    Returns
    -------
    callable
        A function of `fn`'s arguments. It gives a tensor for one position, a tuple for several, and
        (inputs, weights) when weights are given too.

    Examples
    --------
    >>> import evolute as ev
    >>> print(ev.grad(lambda x: x**3)(ev.Tensor([2.0])))
    [12.]
    """
    value_and = value_and_grad(fn, grad_position, weights, has_aux, return_ids, sens_param)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, result = value_and(*args, **kwargs)
        return (result, value[1:]) if has_aux else result

    return gradient


def value_and_grad(
    fn: Callable[..., Any],
    grad_position: Positions | None = 0,
    weights: Any = None,
    has_aux: bool = False,
    return_ids: bool = False,
    sens_param: bool = False,
) -> Callable[..., Any]:
    """Like `grad`, but the function returns (value of `fn`, gradient).

    Examples
    --------
    >>> import evolute as ev
    >>> value, slope = ev.value_and_grad(lambda x: x * x)(ev.Tensor(3.0))
    >>> print(value, slope)
    9.0 6.0
    """
    _callable(fn, "grad")
    if isinstance(weights, bool):
        weights, sens_param = None, weights
    if grad_position is None and weights is None:
        raise ValueError("grad: grad_position and weights cannot both be None")
    positions = () if grad_position is None else _positions(grad_position)
    single = isinstance(grad_position, int)
    variables = _weights(weights)
    one_weight = isinstance(weights, Tensor)
    ids = positions, tuple(getattr(v, "name", None) for v in variables)
    options = ("grad", single, positions, sens_param, has_aux, return_ids, one_weight, tuple(map(id, variables)))

    def body(*args: Any, **kwargs: Any) -> Any:
        sens = None
        if sens_param and "sens" in kwargs:
            sens = kwargs.pop("sens")
        elif sens_param:
            if not args:
                raise TypeError("grad: sens_param needs the cotangent as last argument")
            *inputs, sens = args
            args = tuple(inputs)
        value, by_input, by_weight = _evolute.gradient(fn, args, kwargs, positions, variables, sens, has_aux)
        parts: list[tuple[Any, ...]] = [by_input, by_weight]
        if return_ids:
            parts = [tuple(zip(names, part, strict=True)) for names, part in zip(ids, parts, strict=True)]
        inputs_part = parts[0][0] if single else parts[0]
        weights_part = parts[1][0] if one_weight else parts[1]
        if weights is None:
            return value, inputs_part
        return value, (weights_part if grad_position is None else (inputs_part, weights_part))

    def gradient(*args: Any, **kwargs: Any) -> Any:
        return _run(fn, options, body, args, kwargs)

    return gradient


def get_grad(gradients: Any, identifier: Any) -> Any:
    """Pick one gradient out of those that `grad` returns with `return_ids`.

    Parameters
    ----------
    gradients : tuple or dict
        Pairs (position or name, gradient), or tuples of them. Pairs (parameter, gradient) will do too.
    identifier : int, Parameter or str
        The position of an input, a parameter, or a parameter's name.

    Raises
    ------
    KeyError
        If there is no gradient for it.

    Examples
    --------
    >>> import evolute as ev
    >>> gradients = ev.grad(lambda x, y: x * y, (0, 1), return_ids=True)(ev.Tensor([2.0]), ev.Tensor([3.0]))
    >>> print(ev.get_grad(gradients, 1))
    [2.]
    """
    name = getattr(identifier, "name", identifier)
    pending = [gradients]
    while pending:
        here = pending.pop()
        if isinstance(here, dict):
            pending.extend(here.items())
        elif not isinstance(here, (tuple, list)):
            continue
        elif len(here) == 2 and isinstance(here[0], (int, str, Tensor)):
            if here[0] is identifier or getattr(here[0], "name", here[0]) == name:
                return here[1]
        else:
            pending.extend(here)
    raise KeyError(f"get_grad: no gradient for {name!r}")


def _aux(value: tuple[Any, ...]) -> Any:
    """Return what a function gave beside its output; a tuple if it is more than one thing."""
    return value[1] if len(value) == 2 else value[1:]


def jvp(fn: Callable[..., Any], inputs: Any, v: Any, *, has_aux: bool = False) -> Any:
    """Value of `fn` and its derivative along `v`, by forward mode.

    Parameters
    ----------
    fn : callable
        Function or cell.
    inputs : Tensor or tuple
        Its arguments.
    v : Tensor or tuple
        One tangent per input, of its shape.
    has_aux : bool
        `fn` returns (output, aux...): only the output is differentiated.

    Returns
    -------
    tuple
        (fn(*inputs), J · v), in the structure of the output; with `has_aux` (output, J · v, aux), where aux is a tuple
        if there are several.

    Examples
    --------
    >>> import evolute as ev
    >>> print(*ev.jvp(lambda x: x**3, ev.Tensor([2.0]), ev.Tensor([1.0])))
    [8.] [12.]
    """
    _callable(fn, "jvp")
    args = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    tangents = tuple(v) if isinstance(v, (tuple, list)) and isinstance(inputs, (tuple, list)) else (v,)

    def body(args: Any, tangents: Any) -> Any:
        value, derivative = _evolute.jvp(fn, args, tangents, {}, has_aux)
        return (value[0], derivative, _aux(value)) if has_aux else (value, derivative)

    return _run(fn, ("jvp", has_aux), body, (args, tangents), {})


def vjp(fn: Callable[..., Any], inputs: Any, v: Any = None, *, weights: Any = None, has_aux: bool = False) -> Any:
    """Value of `fn` and the product of `v` with its Jacobian, by reverse mode.

    Parameters
    ----------
    fn : callable
        Function or cell.
    inputs : Tensor or tuple
        Its arguments.
    v : Tensor or tuple, optional
        One cotangent per output, of its shape. Without it the second result is a function of `v`, which may be called
        any number of times.
    weights : Parameter, ParameterTuple or list of Parameter, optional
        Parameters to differentiate with respect to as well.
    has_aux : bool
        `fn` returns (output, aux...): only the output is differentiated.

    Returns
    -------
    tuple
        (fn(*inputs), gradients): a tensor for a single input, else a tuple; with `weights` a pair of the gradients by
        inputs and by weights. With `has_aux` (output, gradients, aux), where aux is a tuple if there are several.

    Examples
    --------
    >>> import evolute as ev
    >>> value, pullback = ev.vjp(lambda x: x**3, ev.Tensor([2.0]))
    >>> print(value, pullback(ev.Tensor([1.0])))
    [8.] [12.]
    """
    _callable(fn, "vjp")
    args = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    several, one_weight = len(args) > 1, isinstance(weights, Tensor)
    variables = _weights(weights)

    def result(by_input: Any, by_weight: Any) -> Any:
        by_input = by_input if several else by_input[0]
        return by_input if weights is None else (by_input, by_weight[0] if one_weight else by_weight)

    if v is None:
        value, pullback = _evolute.vjp(fn, args, {}, variables, has_aux)

        def pull(*v: Any) -> Any:
            if not v:
                raise TypeError("vjp: the pullback needs a cotangent for each output")
            return result(*pullback(v[0] if len(v) == 1 else v))

        return (value[0], pull, _aux(value)) if has_aux else (value, pull)

    def body(args: Any, v: Any) -> Any:
        value, *gradients = _evolute.gradient(fn, args, {}, range(len(args)), variables, v, has_aux, "vjp")
        return (value[0], result(*gradients), _aux(value)) if has_aux else (value, result(*gradients))

    options = ("vjp", several, has_aux, weights is None, one_weight, tuple(map(id, variables)))
    return _run(fn, options, body, (args, v), {})


# ---- many examples at once ------------------------------------------------------------------------------------------


def vmap(fn: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """Map `fn`, written for one example, over an axis of its arguments.

    `fn` runs once, on values that stand for all examples, and every operation in it works on all of them. It nests with
    itself and with derivatives in any order, eager and in graph mode; `vmap(grad(loss), (None, 0, 0))` gives the
    gradient of each example.

    Parameters
    ----------
    fn : callable
        Function or cell. Parameters, and tensors from outside, are the same for all examples.
    in_axes : int, None, or tuple with one entry per argument
        Axis along which the examples lie, counted from the end if negative; None for what is the same for all. An entry
        stands for all tensors of its argument, or has the argument's structure. Arrays among keyword arguments are
        mapped along axis 0.
    out_axes : int, None, or structure of these
        Axis along which the results are stacked. Results that do not depend on mapped arguments are repeated, or with
        None returned as they are.

    Returns
    -------
    callable
        A function of the same arguments with an axis more.

    Raises
    ------
    ShapeError
        By the function: if the numbers of examples differ.
    ValueError
        By the function: if nothing is mapped, an axis does not exist, the structures differ, or out_axes is None for
        a result that differs from example to example.
    TraceError
        By the function: if `fn` asks for the value of a tensor, or writes a value per example to a parameter.

    Notes
    -----
    Control flow by `ops.cond` and `ops.while_loop` may differ from example to example: both branches are then run for
    all of them, and loops until the last one has ended. Random numbers are the same for all; to have them differ, draw
    them outside, and map over them.

    Examples
    --------
    >>> import evolute as ev
    >>> def distance(x, y):
    ...     return ev.ops.norm(x - y)
    >>> x = ev.Tensor([[0.0, 0.0], [3.0, 4.0]])
    >>> print(ev.vmap(distance, (0, None))(x, ev.Tensor([0.0, 0.0])))
    [0. 5.]
    >>> print(ev.vmap(ev.vmap(distance, (None, 0)), (0, None))(x, x))  # all pairs
    [[0. 5.]
     [5. 0.]]
    """
    _callable(fn, "vmap")

    def body(*args: Any, **kwargs: Any) -> Any:
        return _evolute.vmap(fn, args, kwargs, in_axes, out_axes)

    def mapped(*args: Any, **kwargs: Any) -> Any:
        return _run(fn, ("vmap", repr(in_axes), repr(out_axes)), body, args, kwargs)

    return mapped
