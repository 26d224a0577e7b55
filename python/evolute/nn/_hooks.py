"""Hooks of cells, and cells with reverse rules of their own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evolute import _evolute
from evolute._evolute import Tensor
from evolute.custom import gradient_hook

if TYPE_CHECKING:
    from evolute.nn.cell import Cell

Hook = Callable[..., Any]


class HookHandle:
    """What registering a hook returns: removes the hook again.

    Parameters
    ----------
    hooks : dict
        Where the hook is.
    changed : callable
        What to call when it is removed.
    """

    def __init__(self, hooks: dict[HookHandle, tuple[Hook, bool]], changed: Callable[[], None]) -> None:
        self._hooks, self._changed = hooks, changed

    def remove(self) -> None:
        """Remove the hook; again, nothing happens."""
        if self._hooks.pop(self, None) is not None:
            self._changed()


class Hooks:
    """The hooks of one cell, by kind and in order."""

    def __init__(self) -> None:
        self.kinds: dict[str, dict[HookHandle, tuple[Hook, bool]]] = {
            kind: {} for kind in ("forward_pre", "forward", "backward_pre", "backward")
        }

    def add(self, kind: str, hook: Hook, with_kwargs: bool, prepend: bool, changed: Callable[[], None]) -> HookHandle:
        if not callable(hook):
            raise TypeError(f"register_{kind}_hook: needs a function, got {type(hook).__name__}")
        hooks = self.kinds[kind]
        handle = HookHandle(hooks, changed)
        earlier = dict(hooks) if prepend else {}
        if prepend:
            hooks.clear()
        hooks[handle] = (hook, with_kwargs)
        hooks.update(earlier)
        changed()
        return handle

    def of(self, kind: str) -> list[tuple[Hook, bool]]:
        return list(self.kinds[kind].values())


def run(cell: Cell, hooks: Hooks | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the cell's `construct`, with its hooks and by its `bprop`."""
    if hooks is None:
        return _construct(cell, args, kwargs)
    for hook, with_kwargs in hooks.of("forward_pre"):
        new = hook(cell, args, kwargs) if with_kwargs else hook(cell, args)
        if new is not None and with_kwargs:
            args, kwargs = new
        elif new is not None:
            args = new if isinstance(new, tuple) else (new,)
    backward = _Backward(cell, hooks) if hooks.of("backward_pre") or hooks.of("backward") else None
    if backward:
        args = backward.watch_inputs(args)
    out = _construct(cell, args, kwargs)
    for hook, with_kwargs in hooks.of("forward"):
        new = hook(cell, args, kwargs, out) if with_kwargs else hook(cell, args, out)
        out = out if new is None else new
    return backward.watch_output(out) if backward else out


class _Backward:
    """One run of a cell with hooks on its gradients: that of the output comes first, those of the inputs after it."""

    def __init__(self, cell: Cell, hooks: Hooks) -> None:
        self.cell, self.hooks = cell, hooks
        self.inputs_reached = False
        self.grad_output: tuple[Any, ...] = ()

    def watch_inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        tensors = tuple(a for a in args if isinstance(a, Tensor))

        def reached() -> None:
            self.inputs_reached = True

        watched = iter(gradient_hook(self._inputs, tensors, "register_backward_hook", reached))
        return tuple(next(watched) if isinstance(a, Tensor) else a for a in args)

    def _inputs(self, gradients: tuple[Any, ...]) -> Any:
        for hook, _ in self.hooks.of("backward"):
            new = hook(self.cell, gradients, self.grad_output)
            if new is not None:
                gradients = new if isinstance(new, tuple) else (new,)
        return gradients

    def watch_output(self, out: Any) -> Any:
        def hook(gradient: Any) -> Any:
            several = isinstance(gradient, tuple)
            gradients = gradient if several else (gradient,)
            for pre, _ in self.hooks.of("backward_pre"):
                new = pre(self.cell, gradients)
                if new is not None:
                    gradients = new if isinstance(new, tuple) else (new,)
            self.grad_output = gradients
            if not self.inputs_reached:  # no derivative is taken by the inputs: the parameters alone are reached
                for backward, _ in self.hooks.of("backward"):
                    backward(self.cell, (), gradients)
            return gradients if several else gradients[0]

        return gradient_hook(hook, out, "register_backward_hook")


def _construct(cell: Cell, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    bprop = getattr(cell, "bprop", None)
    if bprop is None:
        return cell.construct(*args, **kwargs)
    signature = inspect.signature(cell.construct)
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    if bound.kwargs:
        raise TypeError(
            f"cell {type(cell).__name__}: has a bprop, which knows positional arguments alone, and was called with "
            f"the keyword-only arguments {list(bound.kwargs)}"
        )

    def backward(inputs: tuple[Any, ...], out: Any, _: Any, dout: Any) -> Any:
        return bprop(*inputs, out, dout)

    name = f"cell {type(cell).__name__}: bprop"
    return _evolute.call_with_rule(cell.construct, bound.args, None, backward, None, True, name)
