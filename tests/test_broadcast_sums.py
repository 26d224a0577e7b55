"""Gradients by large broadcast operands: products and their sums are one pass, with the result of two, to any order."""

import numpy as np
import pytest

import evolute as ev
from evolute import Tensor, ops

ROWS, COLUMNS = 2000, 70  # enough for one pass; a slice of rows is not

FUNCTIONS = {
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "pow": lambda x, y: x**y,
    "hypot": ops.hypot,
    "atan2": ops.atan2,
    "maximum": ops.maximum,
}
SHAPES = {"row": (COLUMNS,), "column": (ROWS, 1), "scalar": (), "single": (1, 1)}


def operands(shape, seed=1):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 2, (ROWS, COLUMNS)), rng.uniform(0.5, 2, shape), rng.normal(size=(ROWS, COLUMNS))


def by_parts(transform, x, y, w, parts=40):
    """Sum over slices of rows of what `transform(f_of_slice)` gives for y; for x the slices side by side."""
    step = ROWS // parts
    results = []
    for i in range(0, ROWS, step):
        rows = slice(i, i + step)
        results.append([np.asarray(r) for r in transform(x[rows], y[rows] if y.shape == (ROWS, 1) else y, w[rows])])
    whole = y.shape == (ROWS, 1)
    return (
        np.concatenate([r[0] for r in results]),
        np.concatenate([r[1] for r in results]) if whole else sum(r[1] for r in results),
    )


# The gradient by what all rows share is no sum over slices of rows any more.
@pytest.mark.parametrize(("shape", "order"), [*((shape, 1) for shape in SHAPES), ("column", 2), ("column", 3)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients(name, shape, order):
    f = FUNCTIONS[name]

    def transform(x, y, w):
        w = Tensor(w)

        def loss(x, y):
            return ops.sum(ops.sin(f(x, y)) * w)

        slope = loss
        for k in range(1, order):  # of the sum of the gradient by x, which is a sum over rows too
            inner = ev.grad(slope, k % 2)
            slope = lambda x, y, inner=inner: ops.sum(ops.cos(inner(x, y)) * w[:, :1])  # noqa: E731
        return ev.grad(slope, (0, 1))(Tensor(x), Tensor(y))

    x, y, w = operands(SHAPES[shape])
    for got, want in zip(transform(x, y, w), by_parts(transform, x, y, w), strict=True):
        np.testing.assert_allclose(got.asnumpy(), want, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_order_and_forward_mode(name):
    """Reverse over reverse, forward over reverse and the compiled function agree."""
    f = FUNCTIONS[name]
    x, y, w = (Tensor(a) for a in operands((COLUMNS,)))
    v = Tensor(np.random.default_rng(5).normal(size=COLUMNS))

    def slope(x, y):
        return ev.grad(lambda x, y: ops.sum(ops.sin(f(x, y)) * w), 1)(x, y)

    reverse = ev.grad(lambda y: ops.sum(slope(x, y) * v))(y)
    _, forward = ev.jvp(lambda y: slope(x, y), y, v)
    compiled = ev.jit(lambda x, y: ev.grad(lambda y: ops.sum(slope(x, y) * v))(y))(x, y)
    np.testing.assert_allclose(forward.asnumpy(), reverse.asnumpy(), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(compiled.asnumpy(), reverse.asnumpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.host
def test_gradients_of_products_with_ones_are_the_operands():
    x, y = Tensor([1.0, 2.0, 3.0]), Tensor([4.0, 5.0, 6.0])
    by_x, by_y = ev.grad(lambda x, y: ops.sum(x * y), (0, 1))(x, y)
    assert np.shares_memory(by_x.asnumpy(), y.asnumpy())
    assert np.shares_memory(by_y.asnumpy(), x.asnumpy())
    assert np.array_equal((x * Tensor(1.0)).asnumpy(), x.asnumpy())
    assert (Tensor([1, 1]) * Tensor([1.5, 2.5])).asnumpy().tolist() == [1.5, 2.5]
