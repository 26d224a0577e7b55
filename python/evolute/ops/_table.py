"""The list of operations, for reading and for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

from evolute import _evolute

__all__ = ["OpTable", "table"]

_COLUMNS = ("name", "class", "group", "derivatives", "what it is")


class OpTable(Sequence[Mapping[str, Any]]):
    """The primitives of the engine, a mapping for each; prints as a table.

    A row has the keys ``name``, ``group``, ``summary``, ``formula``, ``reverse`` and ``forward`` (whether it has a
    derivative rule of that kind). Rows of elementwise functions also have ``class_name``, ``arity``, ``operands``
    (``"real"``, ``"number"`` or ``"logical"``) and ``domain`` (a pair of bounds between which tests sample).

    Parameters
    ----------
    rows : sequence of mapping
        The rows.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rows = tuple(rows)

    @overload
    def __getitem__(self, key: int | str) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, key: slice) -> OpTable: ...
    def __getitem__(self, key: int | str | slice) -> Mapping[str, Any] | OpTable:
        """Return the row with this number or name, or a table of some rows."""
        if isinstance(key, str):
            for row in self.rows:
                if row["name"] == key:
                    return row
            raise KeyError(key)
        return OpTable(self.rows[key]) if isinstance(key, slice) else self.rows[key]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self.rows)

    def __repr__(self) -> str:
        cells = [_COLUMNS, *map(_cells, self.rows)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(_COLUMNS))]
        lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join(line.rstrip() for line in lines)


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    modes = " ".join(mode for mode in ("reverse", "forward") if row[mode])
    return row["name"], row.get("class_name", ""), row["group"], modes or "none", row["summary"]


def table() -> OpTable:
    """Return the table of all primitives, out of which the other operations are composed.

    Examples
    --------
    >>> from evolute import ops
    >>> ops.table()["sin"]["class_name"]
    'Sin'
    >>> print(repr(ops.table()[:1]).splitlines()[0].split())
    ['name', 'class', 'group', 'derivatives', 'what', 'it', 'is']
    """
    return OpTable(_evolute.op_table())
