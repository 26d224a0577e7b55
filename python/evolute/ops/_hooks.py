"""Primitives that see, and may replace, the gradient of what goes through them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evolute.ops._primitive import Primitive

__all__ = ["HookBackward", "InsertGradientOf"]


class HookBackward(Primitive):
    """Returns its inputs, and calls a function with a tuple of their gradients when reverse mode comes by.

    Parameters
    ----------
    hook_fn : callable
        Takes the tuple of gradients; what it returns, unless None, takes their place: a tensor or a tuple. In graph
        mode it runs when the gradient is recorded.
    cell_id : str
        Unused.

    Raises
    ------
    TypeError
        If `hook_fn` is not a function.

    Examples
    --------
    >>> import evolute as ev
    >>> seen = []
    >>> hook = ev.ops.HookBackward(seen.append)
    >>> print(ev.grad(lambda x: 3 * hook(x))(ev.Tensor(1.0)), seen[0][0])
    3.0 3.0
    """

    def __init__(self, hook_fn: Callable[..., Any], cell_id: str = "") -> None:
        if not callable(hook_fn):
            raise TypeError(f"HookBackward: hook_fn must be a function, got {type(hook_fn).__name__}")
        self.hook_fn = hook_fn
        self.cell_id = cell_id

    def __call__(self, *inputs: Any) -> Any:
        from evolute.custom import gradient_hook  # that uses operations

        def hook(gradients: tuple[Any, ...]) -> Any:
            new = self.hook_fn(gradients)
            return new if new is None or isinstance(new, tuple) else (new,)

        out = gradient_hook(hook, inputs, self.name)
        return out[0] if len(inputs) == 1 else out


class InsertGradientOf(Primitive):
    """Returns its input, and replaces its gradient by what a function makes of it.

    Parameters
    ----------
    f : callable
        Takes a gradient and returns one.

    Raises
    ------
    TypeError
        If `f` is not a function.

    Examples
    --------
    >>> import evolute as ev
    >>> clip = ev.ops.InsertGradientOf(lambda g: ev.ops.clip(g, -1.0, 1.0))
    >>> print(ev.grad(lambda x: 3 * clip(x))(ev.Tensor(1.0)))
    1.0
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        if not callable(f):
            raise TypeError(f"InsertGradientOf: f must be a function, got {type(f).__name__}")
        self.f = f

    def __call__(self, input_x: Any) -> Any:
        from evolute.custom import gradient_hook  # that uses operations

        return gradient_hook(self.f, input_x, self.name)
