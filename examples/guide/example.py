"""What an example is, and when its output is the documented one."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evolute import context

# A number among the elements; the shapes and dtypes before them are matched first, and kept.
TOKEN = re.compile(r"shape=\[[\d, ]*\], dtype=\w+|(-?\d+\.?\d*(?:e[+-]\d+)?)")


def numbers(text: str) -> list[str]:
    """Find the numbers printed in a text."""
    return [number for number in TOKEN.findall(text) if number]


def _form(text: str, padding: str | None) -> str:
    """Replace the numbers, and drop what matches `padding`."""
    form = TOKEN.sub(lambda match: "#" if match[1] else match[0], text)
    return re.sub(padding, "", form) if padding else form


@dataclass(frozen=True)
class Example:
    """An example of the guide.

    Attributes
    ----------
    title : str
        What it shows.
    run : callable
        Runs it; prints its output.
    documented : str
        The output in the guide, with the alignment that NumPy gives it.
    loose : bool
        Whether the guide rounds the numbers or writes them in another way than they are printed.
    """

    title: str
    run: Callable[[], None]
    documented: str
    loose: bool

    def output(self, mode: int) -> str:
        """Run the example in the given mode, and return what it prints."""
        before = context.get_context("mode")
        context.set_context(mode=mode)
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                self.run()
        finally:
            context.set_context(mode=before)
        return printed.getvalue().rstrip("\n")

    def agrees(self, output: str) -> bool:
        """Tell whether `output` has the documented form, and its numbers to 2 units in the last place of float32.

        Where a last digit differs, so may the padding of the others. Where the guide is loose, numbers may differ by
        its rounding too, and neither commas nor spaces count.
        """
        got, wanted = numbers(output), numbers(self.documented)
        padding = r"[\s,]" if self.loose else r"\s+" if [*map(float, got)] != [*map(float, wanted)] else None
        return _form(output, padding) == _form(self.documented, padding) and all(
            abs(float(a) - float(b)) <= 2 * np.spacing(np.float32(abs(float(b)))) + self._rounding(b)
            for a, b in zip(got, wanted, strict=True)
        )

    def _rounding(self, number: str) -> float:
        """Return half a unit of the last digit written, where the guide rounds."""
        return 0.5 * 10.0 ** -len(number.partition(".")[2]) if self.loose else 0.0


EXAMPLES: list[Example] = []


def example(title: str, documented: str, *, loose: bool = False) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Add a function to `EXAMPLES`."""

    def add(run: Callable[[], None]) -> Callable[[], None]:
        EXAMPLES.append(Example(title, run, documented.strip("\n"), loose))
        return run

    return add
