"""Random programs: what hypothesis makes of them is the same for every test that runs them in two ways."""

from __future__ import annotations

from hypothesis import strategies as st

from evolute import ops

UNARY = [ops.sin, ops.cos, ops.tanh, ops.exp, ops.square, ops.sigmoid, ops.softplus, ops.neg, ops.atan, lambda x: x**3]
BINARY = [
    ops.add,
    ops.sub,
    ops.mul,
    ops.hypot,
    lambda a, b: a / (2 + b * b),
    lambda a, b: ops.matmul(a, ops.tanh(b)),
    lambda a, b: ops.where(a > b, a, b * 0.5),
    ops.maximum,
]


def three_rows(a):
    """Exchange three rows; the other functions take any number."""
    return a[[1, 2, 0]]


SHAPING = [
    lambda a: a.T,
    lambda a: a + ops.sum(a, axis=0),
    lambda a: a * ops.mean(a, axis=1, keepdims=True),
    lambda a: ops.concat([a[1:], a[:1]]),
    lambda a: ops.flip(a, 1),
    lambda a: ops.cumsum(a, 1),
    lambda a: ops.softmax(a, 0),
    three_rows,
    lambda a: ops.stop_gradient(a) * a,
]

steps = st.one_of(
    st.tuples(st.sampled_from(UNARY), st.integers(0, 9)),
    st.tuples(st.sampled_from(SHAPING), st.integers(0, 9)),
    st.tuples(st.sampled_from(BINARY), st.integers(0, 9), st.integers(0, 9)),
)
programs = st.lists(steps, min_size=2, max_size=8)


def interpret(program, x):
    """Run a program: each step applies a function to earlier values. The result is bounded, so orders stay tame."""
    values = [x, ops.sin(x) + 0.3]
    for fn, *operands in program:
        # tanh keeps towers of exponentials and products from overflowing
        values.append(ops.tanh(0.5 * fn(*(values[i % len(values)] for i in operands))))
    return values[-1] * values[len(values) // 2]
