"""What a workload gives to be measured."""

from __future__ import annotations

import os
import subprocess
import sys
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


def importing(package: str) -> Work:
    """Import a package in a new process of this interpreter."""
    code = f"import time; start = time.perf_counter(); import {package}; print(time.perf_counter() - start)"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}

    def run() -> float:
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return float(done.stdout.split()[-1])

    def nothing_to_compare() -> tuple[()]:
        run()
        return ()

    return Work(nothing_to_compare, lambda repetitions: sum(run() for _ in range(repetitions)))


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
