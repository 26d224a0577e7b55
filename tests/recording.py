"""What the tests of graph mode share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import pytest

from evolute import Parameter, Tensor, context, nn


@pytest.fixture
def graph_mode() -> Iterator[None]:
    context.set_context(mode=context.GRAPH_MODE)
    yield
    context.set_context(mode=context.PYNATIVE_MODE)


def counted(fn: Callable) -> tuple[Callable, list]:
    """Return `fn` with a count of its Python calls, out of sight of what the library watches."""
    calls = []

    @functools.wraps(fn)
    def call(*args, **kwargs):
        calls.append(None)
        return fn(*args, **kwargs)

    return call, calls


def floats(*values: float) -> Tensor:
    return Tensor(list(values))


class Linear(nn.Cell):
    def __init__(self):
        super().__init__()
        self.w = Parameter([2.0], name="w")
        self.shift = floats(0.0)
        self.power = 1
        self.count = 0

    def construct(self, x):
        self.__dict__["count"] += 1
        return (x * self.w + self.shift) ** self.power
