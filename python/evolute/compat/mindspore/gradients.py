"""The gradient interface in the signatures of MindSpore 2, where these differ from Evolute's own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import evolute as ev
from evolute import Tensor, _evolute, derivative, jet, nn, transforms

__all__ = [
    "ForwardValueAndGrad",
    "GradOperation",
    "derivative",
    "grad",
    "jacfwd",
    "jacrev",
    "jet",
    "jit",
    "jit_class",
    "jvp",
    "linearize",
    "mutable",
    "value_and_grad",
    "vjp",
]


class GradOperation(transforms.GradOperation):
    """`evolute.ops.GradOperation`, whose cotangent may be given by the key ``sens``."""

    def __call__(self, fn: Callable[..., Any], weights: Any = None) -> Callable[..., Any]:
        """Return the gradient function of `fn`."""
        gradient = super().__call__(fn, weights)
        if not self.sens_param:
            return gradient

        def with_key(*args: Any, sens: Any = None, **kwargs: Any) -> Any:
            return gradient(*args, **kwargs) if sens is None else gradient(*args, sens, **kwargs)

        return with_key


def _aux(values: Any) -> Any:
    """Return one further output as it is, several as a tuple."""
    return values[0] if isinstance(values, tuple) and len(values) == 1 else values


def _positioned(transform: Callable[..., Any]) -> Callable[..., Any]:
    """Give a transform MindSpore's reading of `grad_position`."""

    @functools.wraps(transform)
    def call(fn: Callable[..., Any], grad_position: Any = 0, *args: Any, **options: Any) -> Callable[..., Any]:
        return transform(fn, _position(grad_position), *args, **options)  # type: ignore[no-any-return]

    return call


def _position(position: Any) -> Any:
    """Check a position; a tuple of one stands for its member."""
    for p in position if isinstance(position, tuple) else (position,):
        if isinstance(p, int) and p < 0:
            raise ValueError(f"grad: grad_position counts from 0, got {position!r}")
    return position[0] if isinstance(position, tuple) and len(position) == 1 else position


grad = _positioned(transforms.grad)
value_and_grad = _positioned(transforms.value_and_grad)


def jvp(fn: Callable[..., Any], inputs: Any, v: Any, has_aux: bool = False) -> Any:
    """`evolute.jvp`: (output, derivative), and what comes beside the output if `has_aux`."""
    for what, value in (("inputs", inputs), ("v", v)):
        if not isinstance(value, (Tensor, tuple, list)):
            raise TypeError(f"jvp: {what} must be a tensor, or a tuple or list of them, got {type(value).__name__}")
    result = transforms.jvp(fn, inputs, v, has_aux=has_aux)
    return (*result[:2], _aux(result[2])) if has_aux else result


def vjp(fn: Callable[..., Any], *inputs: Any, weights: Any = None, has_aux: bool = False) -> Any:
    """Value of `fn` and its pullback: (output, function of the cotangents), and what comes beside the output.

    The pullback gives a tuple with one gradient per input; with `weights`, (inputs, weights). The older
    form ``vjp(fn, (x, y), v)``, which gives (output, gradients), is understood where `fn` does not take ((x, y), v).
    """
    if len(inputs) == 2 and isinstance(inputs[0], (tuple, list)) and weights is None:
        try:
            return _vjp(fn, inputs, weights, has_aux)
        except TypeError:
            return transforms.vjp(fn, *inputs, has_aux=has_aux)
    return _vjp(fn, inputs, weights, has_aux)


def _vjp(fn: Callable[..., Any], inputs: tuple[Any, ...], weights: Any, has_aux: bool) -> Any:
    variables = transforms._weights(weights)
    value, pullback = _evolute.vjp(fn, inputs, {}, variables, has_aux)

    def pull(*v: Any) -> Any:
        if not v:
            raise TypeError("vjp: the pullback needs a cotangent for each output")
        by_input, by_weight = pullback(v[0] if len(v) == 1 else v)
        return by_input if weights is None else (by_input, by_weight)

    return (value[0], pull, _aux(value[1:])) if has_aux else (value, pull)


def jacfwd(fn: Callable[..., Any], grad_position: Any = 0, has_aux: bool = False) -> Callable[..., Any]:
    """`evolute.jacfwd`, with what comes beside the output as MindSpore gives it."""
    return _with_aux(ev.jacfwd(fn, _position(grad_position), has_aux), has_aux)


def jacrev(fn: Callable[..., Any], grad_position: Any = 0, has_aux: bool = False) -> Callable[..., Any]:
    """`evolute.jacrev`, with what comes beside the output as MindSpore gives it."""
    return _with_aux(ev.jacrev(fn, _position(grad_position), has_aux), has_aux)


def _with_aux(fn: Callable[..., Any], has_aux: bool) -> Callable[..., Any]:
    if not has_aux:
        return fn

    def call(*args: Any, **kwargs: Any) -> Any:
        result, aux = fn(*args, **kwargs)
        return result, _aux(aux)

    return call


def linearize(fn: Callable[..., Any], inputs: Any) -> tuple[Any, Callable[..., Any]]:
    """Return the value of `fn`, and its derivative there as a function of the tangents."""
    args = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    value, derivative = ev.linearize(fn, *args)
    return value, lambda v: derivative(*(v if isinstance(v, (tuple, list)) else (v,)))


def mutable(input_data: Any, dynamic_len: bool = False) -> Any:
    """Return the data: tensors in it are inputs of recordings anyway."""
    return input_data


def jit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """`evolute.jit`, also as a decorator with options, which have no effect."""
    if function is None:
        return functools.partial(jit, **options)
    return ev.jit(function)


def jit_class(cls: type) -> type:
    """Return the class: recordings see through all of them."""
    return cls


class ForwardValueAndGrad(nn.Cell):
    """Value of a network and its gradients as `GradOperation` gives them, as a cell."""

    def __init__(
        self,
        network: Callable[..., Any],
        weights: Any = None,
        get_all: bool = False,
        get_by_list: bool = False,
        sens_param: bool = False,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.weights = weights
        self.get_by_list, self.sens_param = get_by_list, sens_param
        self.grad = GradOperation(get_all, get_by_list, sens_param)

    def construct(self, *inputs: Any) -> tuple[Any, Any]:
        """Return (value, gradients)."""
        gradient = self.grad(self.network, self.weights) if self.get_by_list else self.grad(self.network)
        return self.network(*(inputs[:-1] if self.sens_param else inputs)), gradient(*inputs)
