"""Cells made of a row of cells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, overload

from evolute import _compile
from evolute._evolute import Tensor
from evolute.nn.cell import Cell

__all__ = ["CellList", "SequentialCell"]


class _Row(Cell):
    """Numbered sub-cells, used like a list."""

    def __init__(self, *args: Cell | Iterable[Cell] | Mapping[str, Cell], auto_prefix: bool = True) -> None:
        super().__init__(auto_prefix)
        first = args[0] if len(args) == 1 and not isinstance(args[0], Cell) else args
        if isinstance(first, Mapping):
            self._set_named(dict(first))
        elif isinstance(first, Iterable):
            self._set_cells(list(first))
        else:
            raise TypeError(f"{type(self).__name__}: needs cells, got a {type(first).__name__}")

    def _set_named(self, cells: dict[str, Any]) -> None:
        for name, cell in cells.items():
            if not isinstance(cell, Cell):
                raise TypeError(f"{type(self).__name__}: member {name} is a {type(cell).__name__}, not a Cell")
        known = {id(cell) for cell in self._cells.values()}
        for name in list(self._cells):
            delattr(self, name)
        # Named together, as each renaming looks at all parameters.
        auto_prefix, self.__dict__["_auto_prefix"] = self._auto_prefix, False
        for name, cell in cells.items():
            setattr(self, name, cell)
        self.__dict__["_auto_prefix"] = auto_prefix
        if auto_prefix:
            self._name_parameters_of([cell for cell in cells.values() if id(cell) not in known])

    def _members(self) -> list[Cell]:
        # A function that is being recorded may go through the cells without calling this one.
        _compile.note_cell(self)
        return list(self._cells.values())

    def _set_cells(self, cells: list[Any]) -> None:
        self._set_named({str(i): cell for i, cell in enumerate(cells)})

    @overload
    def __getitem__(self, index: int) -> Cell: ...
    @overload
    def __getitem__(self, index: slice) -> _Row: ...
    def __getitem__(self, index: int | slice) -> Cell | _Row:
        cells = self._members()
        # The parameters keep the names they have here.
        return type(self)(cells[index], auto_prefix=False) if isinstance(index, slice) else cells[index]

    def __setitem__(self, index: int, cell: Cell) -> None:
        name = list(self._cells)[index]
        self.insert_child_to_cell(name, cell)

    def __delitem__(self, index: int | slice) -> None:
        cells = self._members()
        del cells[index]
        self._set_cells(cells)

    def __len__(self) -> int:
        return len(self._members())

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._members())

    def append(self, cell: Cell) -> _Row:
        """Add a cell at the end, and return this row."""
        return self.extend([cell])

    def extend(self, cells: Iterable[Cell]) -> _Row:
        """Add cells at the end, and return this row."""
        self._set_cells([*self._members(), *cells])
        return self

    def insert(self, index: int, cell: Cell) -> None:
        """Add a cell before the one at `index`."""
        cells = self._members()
        cells.insert(index, cell)
        self._set_cells(cells)


class SequentialCell(_Row):
    """Cells called one after the other, each with the result of the one before.

    Parameters
    ----------
    *args : Cell, or one iterable of cells, or one mapping of names to cells
        The cells.

    Raises
    ------
    TypeError
        If something else is among them.

    Examples
    --------
    >>> from evolute import Tensor, nn
    >>> net = nn.SequentialCell(nn.Dense(1, 2), nn.Tanh())
    >>> net
    SequentialCell<
      (0): Dense<input_channels=1, output_channels=2, has_bias=True>
      (1): Tanh<>
      >
    >>> net(Tensor([[1.0]])).shape
    (1, 2)
    """

    def construct(self, x: Tensor) -> Tensor:
        """Call the cells in order."""
        for cell in self._cells.values():
            x = cell(x)
        return x


class CellList(_Row):
    """A list of cells, whose parameters are found; it cannot be called.

    Parameters
    ----------
    *args : Cell, or one iterable of cells
        The cells.

    Raises
    ------
    TypeError
        If something else is among them.

    Examples
    --------
    >>> from evolute import nn
    >>> layers = nn.CellList([nn.Dense(2, 2) for _ in range(3)])
    >>> len(layers), len(layers.trainable_params())
    (3, 6)
    """

    def construct(self, *args: Any, **kwargs: Any) -> Any:
        """Raise NotImplementedError: a list does not say how its cells are to be called."""
        raise NotImplementedError("CellList cannot be called; call its members, or use nn.SequentialCell")
