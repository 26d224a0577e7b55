"""Graph mode: when functions are recorded, what makes a recording stale, and what happens when one cannot be made."""

from __future__ import annotations

import functools
import linecache
import os
import pathlib
import re
import sys
import threading
import types
import warnings
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

from evolute import _evolute, _guards, context

P = ParamSpec("P")
R = TypeVar("R")

_PACKAGE = __name__.rpartition(".")[0]


class _Thread(threading.local):
    """What compiled functions are doing on this thread, innermost last."""

    def __init__(self) -> None:
        self.recording: list[tuple[Compiled, set[Any]]] = []  # with the cells called so far
        self.told: list[str] = []  # lines whose warning has been given while the function they stop runs eagerly


_thread = _Thread()
# Which compiled functions must forget their recordings when a cell changes.
_watchers: weakref.WeakKeyDictionary[Any, weakref.WeakSet[Compiled]] = weakref.WeakKeyDictionary()


def should_compile(always: bool = False) -> bool:
    """Whether a call made now is the outermost one, and in graph mode or of something that is `always` compiled."""
    return (always or context.graph_mode()) and _evolute.at_top_level()


def note_cell(cell: Any) -> None:
    """Remember that the function being recorded uses `cell`."""
    if _thread.recording:
        _thread.recording[-1][1].add(cell)


def invalidate(cell: Any) -> None:
    """Forget all recordings that used `cell`: one of its attributes has changed."""
    for compiled in list(_watchers.get(cell, ())):
        # What a function changes while it is being recorded is its own doing.
        if all(compiled is not active for active, _ in _thread.recording):
            compiled.clear()


class Compiled:
    """A function that is recorded once per signature and then replayed by the C++ core.

    Tensors and NumPy arrays in the arguments, at any depth of tuples, lists and dicts, are inputs of the recording.
    Everything else is static: a call with another number, string or object is recorded anew. Parameters that the
    function reads or writes are inputs and outputs of the recording, so that it follows later changes of their values.

    Parameters
    ----------
    fn : callable
        What to record.
    source : callable, optional
        The user's function in it, whose surroundings are watched for changes; `fn` by default.
    passes : sequence of str, optional
        The passes to run on recordings, in this order; by default all of them, as the compiler sees fit.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        source: Callable[..., Any] | None = None,
        passes: Sequence[str] | None = None,
    ) -> None:
        self._fn = fn
        self._source = fn if source is None else source
        self._guards: dict[Any, _guards.Guard] = {}
        self._warned: set[str] = set()
        self._core = _evolute.Compiled(fn, self._on_record, self._on_fallback, passes)

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

    def explain(self) -> str:
        """Say what the recordings do.

        Returns
        -------
        str
            For each recorded signature: the passes and how many operations each left, the graph, the steps with the
            bytes they read and write and their floating-point operations, the memory. Print it.
        """
        return "\n".join(self._core.explain())

    def to_dot(self) -> str:
        """Draw the recordings in the language of Graphviz, one digraph after the other.

        Operations are boxes, arrays are arrows; what runs as one loop, or block of rows by block of rows, is framed.
        """
        return "\n".join(self._core.to_dot())

    def to_svg(self, path: str | os.PathLike[str] | None = None) -> str:
        """Draw the recording as SVG.

        Parameters
        ----------
        path : path, optional
            File to write the drawing to.

        Returns
        -------
        str
            The drawing; with several recorded signatures, that of the last one.

        Raises
        ------
        RuntimeError
            If nothing is recorded yet, or Graphviz's program `dot` is not installed.
        """
        import shutil  # both only here: they take time to import
        import subprocess

        graphs = self._core.to_dot()
        if not graphs:
            raise RuntimeError("to_svg: nothing is recorded yet; call the function first")
        dot = shutil.which("dot")
        if dot is None:
            raise RuntimeError("to_svg: needs dot of Graphviz (https://graphviz.org); to_dot() does not")
        done = subprocess.run([dot, "-Tsvg"], input=graphs[-1], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"to_svg: dot failed: {done.stderr.strip()[:500]}")
        if path is not None:
            pathlib.Path(path).write_text(done.stdout, encoding="utf-8")
        return done.stdout

    def _on_record(self, begin: bool, arguments: list[Any]) -> list[_guards.Guard]:
        if begin:
            _thread.recording.append((self, set()))
            return []
        _, cells = _thread.recording.pop()
        for cell in cells:
            _watchers.setdefault(cell, weakref.WeakSet()).add(self)
        # Taken now and not before, so that what the function itself has just changed does not count.
        earlier = _guards.refreshed(self._guards) if self._core.recorded else {}
        self._guards = earlier | _guards.collect(self._source, arguments, cells)
        return list(self._guards.values())

    def _on_fallback(self, error: BaseException, args: Any, kwargs: Any) -> Any:
        line = _line_of(error)
        if line not in self._warned and line not in _thread.told:
            self._warned.add(line)
            warn(self._source, "runs eagerly, as it cannot be recorded", error)
        _thread.told.append(line)
        try:
            return self._fn(*args, **kwargs)
        finally:
            _thread.told.pop()


def _line_of(error: BaseException) -> str:
    """Return file and line of the code outside this package where `error` was raised."""
    line = "an unknown line"
    trace = error.__traceback__
    while trace is not None:
        if not _is_ours(trace.tb_frame):
            line = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        trace = trace.tb_next
    return line


def _is_ours(frame: types.FrameType) -> bool:
    module = frame.f_globals.get("__name__", "")
    return bool(module == _PACKAGE or module.startswith(_PACKAGE + "."))


#: What to use in place of the Python keyword that a line begins with or contains.
_INSTEAD = {
    "while": "ops.while_loop",
    "for": "ops.fori_loop, or ops.while_loop where the number of steps is not known",
    "if": "ops.cond, or ops.where to choose element by element",
}


def _advice(line: str) -> str:
    """Return what to put in the place of the control flow on a line, `file:number`."""
    name, _, number = line.rpartition(":")
    source = linecache.getline(name, int(number)) if number.isdecimal() else ""
    for keyword, instead in _INSTEAD.items():
        if re.search(rf"\b(el)?{keyword}\b", source.partition("#")[0]):
            return f"; here, use {instead}"
    return ""


def warn(fn: Callable[..., Any], what: str, error: BaseException) -> None:
    """Say that `fn` does `what`, because of `error`, and what to do about it."""
    name = getattr(fn, "__qualname__", None) or type(fn).__name__
    line = _line_of(error)
    warnings.warn(
        f"{name} {what}: at {line}, {error}{_advice(line)}",
        RuntimeWarning,
        stacklevel=_depth_outside_package(),
    )


def _depth_outside_package() -> int:
    """Return the `stacklevel` that makes a warning point at the first caller outside this package."""
    depth = 1
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame):
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
        A function of the same arguments and results. Its methods `explain()`, `to_dot()` and `to_svg()` show what was
        made of the recordings; see `Compiled`.

    Examples
    --------
    >>> import evolute as ev
    >>> f = ev.jit(lambda x: ev.ops.sum(ev.ops.sin(x) * x))
    >>> f(ev.Tensor([1.0, 2.0])).item()  # doctest: +ELLIPSIS
    2.6600...
    """
    if not callable(fn):
        raise TypeError(f"jit: needs a function or a cell, got {type(fn).__name__}")
    compiled = Compiled(fn)

    @functools.wraps(fn, updated=())
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        result: R = compiled(*args, **kwargs)
        return result

    for name in ("explain", "to_dot", "to_svg"):
        setattr(call, name, getattr(compiled, name))
    call.compiled = compiled  # type: ignore[attr-defined]
    return call
