"""Graph mode: when functions are recorded, what makes a recording stale, and what happens when one cannot be made."""

from __future__ import annotations

import functools
import sys
import threading
import types
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar

from evolute import _evolute, context

P = ParamSpec("P")
R = TypeVar("R")

_PACKAGE = __name__.rpartition(".")[0]


class _Thread(threading.local):
    """The cells called by the functions being recorded on this thread, innermost last."""

    def __init__(self) -> None:
        self.noted: list[set[Any]] = []


_thread = _Thread()
# Which compiled functions must forget their recordings when a cell changes.
_watchers: weakref.WeakKeyDictionary[Any, weakref.WeakSet[Compiled]] = weakref.WeakKeyDictionary()


def should_compile() -> bool:
    """Whether a call made now is the outermost one in graph mode."""
    return context.graph_mode() and _evolute.at_top_level()


def note_cell(cell: Any) -> None:
    """Remember that the function being recorded uses `cell`."""
    if _thread.noted:
        _thread.noted[-1].add(cell)


def invalidate(cell: Any) -> None:
    """Forget all recordings that used `cell`: one of its attributes has changed."""
    for compiled in list(_watchers.get(cell, ())):
        compiled.clear()


class Compiled:
    """A function that is recorded once per signature and then replayed by the C++ core.

    Tensors and NumPy arrays in the arguments, at any depth of tuples, lists and dicts, are inputs of the recording.
    Everything else is static: a call with another number, string or object is recorded anew. Parameters that the
    function reads or writes are inputs and outputs of the recording, so that it follows later changes of their values.
    """

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn
        self._core = _evolute.Compiled(fn, self._on_record, _warn_fallback, list(_guards(fn)))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the recording of this signature, making it first if there is none."""
        return self._core(*args, **kwargs)

    def clear(self) -> None:
        """Forget all recordings."""
        self._core.clear()

    @property
    def recorded(self) -> int:
        """Number of signatures recorded."""
        return self._core.recorded

    def describe(self) -> str:
        """Return the recorded graphs as text, one line per operation."""
        return self._core.describe()

    def _on_record(self, begin: bool, cells: Any) -> Any:
        if begin:
            _thread.noted.append(set())
            return None
        for cell in _thread.noted.pop():
            _watchers.setdefault(cell, weakref.WeakSet()).add(self)
        return None


def _guards(fn: Callable[..., Any]) -> Iterator[tuple[Any, str | None, Any]]:
    """Yield the names outside `fn` through which it sees tensors, parameters, cells and other functions' state."""
    from evolute.nn.cell import Cell

    fn = getattr(fn, "__func__", fn)
    fn = fn.func if isinstance(fn, functools.partial) else fn
    if not isinstance(fn, types.FunctionType):
        return
    watched = (_evolute.Tensor, Cell)
    for cell in fn.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        if isinstance(content, watched):
            yield cell, None, content
    for name in fn.__code__.co_names:
        content = fn.__globals__.get(name)
        if isinstance(content, watched):
            yield fn.__globals__, name, content


def _warn_fallback(fn: Callable[..., Any], error: BaseException) -> None:
    """Say once, naming the line, why a function runs eagerly although graph mode was asked for."""
    frame = error.__traceback__
    where = None
    while frame is not None:
        if not frame.tb_frame.f_globals.get("__name__", "").startswith(_PACKAGE):
            where = frame
        frame = frame.tb_next
    name = getattr(fn, "__qualname__", repr(fn))
    line = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else "an unknown line"
    warnings.warn(
        f"{name} runs eagerly: at {line} Python needs the value of a tensor, which is not known while recording. "
        "Express the choice with ops.where, or keep such code outside the compiled function.",
        RuntimeWarning,
        stacklevel=_depth_outside_package(),
    )


def _depth_outside_package() -> int:
    """Return the `stacklevel` that makes a warning point at the first caller outside this package."""
    depth = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        frame = frame.f_back
        depth += 1
    return depth


def jit(fn: Callable[P, R]) -> Callable[P, R]:
    """Compile a function of tensors.

    The function is recorded on its first call with each signature (shapes, dtypes and devices of the tensors, values of
    all other arguments) and replayed from C++ afterwards. If it needs the value of a tensor for Python control flow it
    runs eagerly, with one warning that names the line.

    Parameters
    ----------
    fn : callable
        Function or cell of tensors, in any nesting of tuples, lists and dicts, and of static arguments.

    Returns
    -------
    callable
        A function of the same arguments and results.

    Examples
    --------
    >>> import evolute as ev
    >>> f = ev.jit(lambda x: ev.ops.sum(ev.ops.sin(x) * x))
    >>> f(ev.Tensor([1.0, 2.0])).item()  # doctest: +ELLIPSIS
    2.6600...
    """
    compiled = Compiled(fn)

    @functools.wraps(fn, updated=())
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        result: R = compiled(*args, **kwargs)
        return result

    call.compiled = compiled  # type: ignore[attr-defined]
    return call
