"""What a recording depends on beside its arguments: all that a function sees through closures, globals and objects."""

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

from evolute._evolute import Tensor

#: (closure cell, None, content), (dict or list, key, item) or (dict or list, None, length).
Guard: TypeAlias = tuple[Any, Any, Any]

_PACKAGE = __name__.rpartition(".")[0]
# Names bound to these are taken to stay as they are, and what they contain is not looked at.
_FIXED = (type, types.ModuleType)
_LEAVES = (Tensor, bool, int, float, str, types.BuiltinFunctionType, *_FIXED)
# A function that reaches more than this is watched as far as that.
_LIMIT = 4096


class _Names(NamedTuple):
    globals: frozenset[str]
    attributes: frozenset[str]


_names_of: weakref.WeakKeyDictionary[types.CodeType, _Names] = weakref.WeakKeyDictionary()


def _names(code: types.CodeType) -> _Names:
    """Return the global names and the attributes that a function reads, itself or in functions inside it."""
    known = _names_of.get(code)
    if known is None:
        import dis

        read = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
        attributes = set(code.co_names)
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                inner = _names(constant)
                read |= inner.globals
                attributes |= inner.attributes
        known = _names_of[code] = _Names(frozenset(read), frozenset(attributes))
    return known


def collect(fn: Any, arguments: Iterable[Any], cells: Iterable[Any]) -> dict[Any, Guard]:
    """Return, by place, what a function depends on that was called with `arguments` and has called `cells`."""
    walk = _Walk()
    walk.visit(fn, frozenset())
    for argument in arguments:
        walk.visit(argument, walk.attributes)
    for cell in cells:
        walk.visit(cell, frozenset())
    return walk.found


def refreshed(guards: dict[Any, Guard]) -> dict[Any, Guard]:
    """Return the guards with what stands in their places now, less those whose place is gone."""
    result: dict[Any, Guard] = {}
    for place, (holder, key, _) in guards.items():
        try:
            if isinstance(holder, types.CellType):
                now = holder.cell_contents
            else:
                now = len(holder) if key is None else holder[key]
        except (ValueError, LookupError):
            continue
        result[place] = (holder, key, now)
    return result


class _Walk:
    def __init__(self) -> None:
        self.found: dict[Any, Guard] = {}
        self.attributes: frozenset[str] = frozenset()  # read by any function met so far
        self._seen: dict[Any, Any] = {}  # keeps what it has seen alive, so that an id stands for one object

    def _first_time(self, *key: Any) -> bool:
        place = tuple(map(id, key))
        if place in self._seen or len(self.found) > _LIMIT:
            return False
        self._seen[place] = key
        return True

    def _guard(self, holder: Any, key: Any, item: Any) -> None:
        if not isinstance(item, _FIXED):
            self.found[id(holder), key] = (holder, key, item)

    def visit(self, o: Any, attributes: frozenset[str]) -> None:
        """Go on through `o`, of which code reads the given attributes."""
        if o is None or isinstance(o, _LEAVES):
            return
        if isinstance(o, types.FunctionType):
            self._function(o)
        elif isinstance(o, types.MethodType):
            self.visit(o.__self__, attributes | {o.__name__})
            if isinstance(o.__func__, types.FunctionType):
                self._function(o.__func__, o.__self__)
        elif isinstance(o, functools.partial):
            self.visit(o.func, attributes)
            for part in (*o.args, *o.keywords.values()):
                self.visit(part, self.attributes)
        elif type(o) in (list, dict):
            if self._first_time(o):
                self.found[id(o), None] = (o, None, len(o))
                for key, item in o.items() if isinstance(o, dict) else enumerate(o):
                    self._guard(o, key, item)
                    self.visit(item, attributes)
        elif isinstance(o, tuple):
            if self._first_time(o):
                for item in o:
                    self.visit(item, attributes)
        else:
            self._instance(o, attributes)

    def _function(self, f: types.FunctionType, owner: Any = None) -> None:
        if not self._first_time(f, owner):
            return
        names = _names(f.__code__)
        self.attributes |= names.attributes
        ours = _is_ours(f)
        for cell in f.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:  # not bound yet
                continue
            if not ours:
                self._guard(cell, None, content)
            self.visit(content, names.attributes)
        if not ours:
            for name in names.globals & f.__globals__.keys():
                self._guard(f.__globals__, name, f.__globals__[name])
                self.visit(f.__globals__[name], names.attributes)
        for default in (*(f.__defaults__ or ()), *(f.__kwdefaults__ or {}).values()):
            self.visit(default, names.attributes)
        if wrapped := getattr(f, "__wrapped__", None):
            self.visit(wrapped, names.attributes)
        if owner is not None:
            self._instance(owner, names.attributes)

    def _instance(self, o: Any, attributes: frozenset[str]) -> None:
        own = getattr(o, "__dict__", None)
        if not isinstance(own, dict) or not self._first_time(o, attributes):
            return
        # Cells say themselves when an attribute is assigned; the library's other objects do not change.
        watch = not _is_ours(type(o)) and not hasattr(o, "construct")
        parts = getattr(type(o), "_watched", ())  # functions with rules say what they call
        for name in attributes | {"construct", "__call__", *parts}:
            if name in own:
                if watch or name in parts:
                    self._guard(own, name, own[name])
                self.visit(own[name], attributes)
            elif isinstance(method := getattr(type(o), name, None), types.FunctionType) and not _is_ours(method):
                self._function(method, o)


def _is_ours(o: Any) -> bool:
    module = o.__module__ or ""
    return module == _PACKAGE or module.startswith(_PACKAGE + ".")
