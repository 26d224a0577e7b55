"""What a workload gives to be measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import harness


class Work:
    """Something to run: by default a function that is called again and again.

    Parameters
    ----------
    run : callable
        Does the work once, to its end, and returns the results that are compared: arrays in tuples, lists and dicts.
    timer : harness.Timer, optional
        How to time it, if not by calling `run`.
    stated_bytes : callable, optional
        Returns the memory the framework itself says the work needs at its peak, or None.
    """

    def __init__(
        self,
        run: Callable[[], Any],
        timer: harness.Timer | None = None,
        stated_bytes: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.run = run
        self.timer = timer or harness.loop(run)
        self.stated_bytes = stated_bytes


def as_work(work: Work | Callable[[], Any]) -> Work:
    return work if isinstance(work, Work) else Work(work)


def expression(code: str, **names: Any) -> Work:
    """Time an expression without the call of a function around it."""
    return Work(lambda: eval(code, dict(names)), harness.statement(code, names))


def leaves(tree: Any) -> Iterator[Any]:
    """Visit the arrays in a result, dicts by their sorted keys."""
    if isinstance(tree, (tuple, list)):
        for part in tree:
            yield from leaves(part)
    elif isinstance(tree, dict):
        for key in sorted(tree):
            yield from leaves(tree[key])
    else:
        yield tree
