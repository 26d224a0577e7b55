"""Functions whose intermediates are computed anew for derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from evolute import _compile, _evolute
from evolute._evolute import UnknownValueError

P = ParamSpec("P")
R = TypeVar("R")


def checkpoint(fn: Callable[P, R]) -> Callable[P, R]:
    """Make a function keep nothing for derivatives but its arguments, and run once more when they are taken.

    A chain of n operations, cut into about √n functions made by `checkpoint`, takes memory for √n values instead of n.
    The second run repeats the recorded operations, not `fn` itself: random numbers are the same, and parameters are
    written once.

    Parameters
    ----------
    fn : callable
        Function or cell that returns tensors, in any nesting of tuples, lists and dicts. It may use tensors and
        parameters from outside. If it needs the value of a tensor for Python control flow it runs as it is, with one
        warning that names the line.

    Returns
    -------
    callable
        A function of the same arguments and results.

    Examples
    --------
    >>> import evolute as ev
    >>> f = ev.checkpoint(lambda x: ev.ops.sin(ev.ops.exp(x)))
    >>> print(ev.grad(f)(ev.Tensor(0.0)))
    0.5403023
    """
    if not callable(fn):
        raise TypeError(f"checkpoint: needs a function or a cell, got {type(fn).__name__}")
    warned = False

    @functools.wraps(fn, updated=())
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal warned
        if _evolute.at_top_level():  # nobody takes derivatives
            return fn(*args, **kwargs)
        try:
            result: R = _evolute.checkpoint_call(fn, args, kwargs)
        except UnknownValueError as error:
            if _evolute.is_recording():  # for the compiled function to deal with
                raise
            if not warned:
                warned = True
                _compile.warn(fn, "runs without checkpointing, as it cannot be recorded", error)
            return fn(*args, **kwargs)
        return result

    return call


recompute = checkpoint
