"""Run every example of MindSpore's gradient guide, and show its output beside the one that the guide documents.

The examples are in the folder ``guide``. Each runs in graph mode, where it is recorded and replayed, and in pynative
mode, where every operation runs when Python reaches it. Exits with status 1 if an output is not the documented one.

Run ``python quickstart.py``.
"""

from __future__ import annotations

import sys
from itertools import zip_longest

from guide import EXAMPLES, Example

import evolute as ev

WIDTH = 100


def beside(columns: dict[str, str]) -> str:
    """Put texts under their titles: in columns if they are narrow, else one after the other."""
    # Tuples of tensors read better with a line for each.
    blocks = [[title, *text.replace("), ", "),\n ").splitlines()] for title, text in columns.items()]
    widths = [max(map(len, block)) for block in blocks]
    if sum(widths) + 4 * len(widths) <= WIDTH:
        rows = zip_longest(*blocks, fillvalue="")
        return "\n".join("    ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join("\n".join([block[0], *("  " + line for line in block[1:])]) for block in blocks)


def indented(text: str) -> str:
    """Move the text four columns to the right."""
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())


def show(number: int, example: Example) -> bool:
    """Run an example in both modes, print what came, and tell whether it is what the guide says."""
    graph, pynative = (example.output(mode) for mode in (ev.GRAPH_MODE, ev.PYNATIVE_MODE))
    columns = {"Guide": example.documented}
    if graph == pynative:
        columns["Evolute, both modes"] = graph
    else:
        columns |= {"Evolute, graph mode": graph, "Evolute, pynative mode": pynative}
    agree = example.agrees(graph) and example.agrees(pynative)
    verdict = "agree" if agree else "DIFFER"
    if example.loose:
        verdict += " (the guide writes these numbers loosely)"
    print(f"{number:2}. {example.title}\n\n{indented(beside(columns))}\n\n    {verdict}\n")
    return agree


def main() -> int:
    """Run all examples and return the exit status."""
    print(f"Evolute {ev.__version__}: the examples of MindSpore's gradient guide\n")
    results = [show(number, example) for number, example in enumerate(EXAMPLES, start=1)]
    print(f"{sum(results)} of {len(results)} examples agree with the guide in both modes (float32, to 2 ulp)")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
