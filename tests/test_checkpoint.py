"""checkpoint: the same values and derivatives, in less memory."""

from __future__ import annotations

import numpy as np
import pytest
from checks import all_modes, as_double, nest

import evolute as ev
from evolute import Parameter, Tensor, nn, ops

X = as_double([0.3, -0.8])


@pytest.mark.parametrize("modes", [m for n in (1, 2, 3) for m in all_modes(n)])
@pytest.mark.parametrize("wrap", [lambda f: f, ev.jit], ids=["eager", "recorded"])
def test_derivatives(modes, wrap):
    y = as_double(0.6)

    def build(mark):
        inner = mark(lambda x: ops.sin(x * x) * y)
        outer = mark(lambda x, z: (inner(x) * z, {"s": ops.exp(inner(z))}))

        def fn(x):
            z = ops.cos(x)
            a, b = outer(x, z=z)
            return a * b["s"] + x * z

        return fn

    want = nest(build(lambda f: f), modes)(X).asnumpy()
    np.testing.assert_allclose(wrap(nest(build(ev.checkpoint), modes))(X).asnumpy(), want, rtol=1e-12)


@pytest.mark.parametrize("wrap", [lambda f: f, ev.jit], ids=["eager", "recorded"])
def test_closures_and_parameters(wrap):
    w = Parameter(np.array([0.5, 2.0]), name="w")
    steps = Parameter(0.0, name="steps")

    def fn(x, mark):
        y = ops.sin(x)

        def body(z):
            steps.set_data(steps + 1)
            return ops.tanh(z * w * y)

        return ops.sum(mark(body)(x * x))

    want = ev.grad(lambda x: fn(x, lambda f: f), 0, weights=w)(X)
    steps.set_data(0.0)
    got = wrap(ev.grad(lambda x: fn(x, ev.checkpoint), 0, weights=w))(X)
    assert steps.item() == 1.0
    for g, v in zip(got, want, strict=True):
        np.testing.assert_allclose(g.asnumpy(), v.asnumpy(), rtol=1e-13)


def test_cells():
    class Block(nn.Cell):
        def __init__(self):
            super().__init__()
            self.dense = nn.Dense(2, 2)

        def construct(self, x):
            return ops.tanh(self.dense(x))

    block = Block()
    x = Tensor([[0.1, 0.2]])

    def plain(x):
        return ops.sum(block(block(x)))

    saved = ev.checkpoint(block)

    def marked(x):
        return ops.sum(saved(saved(x)))

    weights = block.trainable_params()
    want = ev.grad(plain, 0, weights=weights)(x)
    for run in (ev.grad(marked, 0, weights=weights), ev.jit(ev.grad(marked, 0, weights=weights))):
        got = run(x)
        for g, v in zip([got[0], *got[1]], [want[0], *want[1]], strict=True):
            np.testing.assert_allclose(g.asnumpy(), v.asnumpy(), rtol=1e-5, atol=1e-7)


def test_it_composes_with_control_flow():
    step = ev.checkpoint(lambda c, k: (ops.sin(c) * k, c))

    def fn(x):
        return ops.sum(ops.scan(step, x, as_double([0.5, 1.5, 0.7]))[0])

    inside = ev.checkpoint(lambda x: ops.while_loop(lambda c: ops.sum(c) < 9, lambda c: c * c + 1, x))
    for f in (fn, lambda x: ops.sum(inside(x))):
        for transform in (ev.grad, ev.hessian, lambda f: ev.grad(lambda x: ops.sum(ev.grad(f)(x) ** 2))):
            np.testing.assert_allclose(ev.jit(transform(f))(X).asnumpy(), transform(f)(X).asnumpy(), rtol=1e-12)


def test_without_derivatives_the_function_runs_as_it_is():
    values = []
    ev.checkpoint(lambda x: values.append(x.item()))(Tensor(2.0))
    assert values == [2.0]


def test_a_function_that_needs_values_runs_without_checkpointing():
    def fn(x):
        return x * 2 if x > 0 else -x

    saved = ev.checkpoint(fn)
    with pytest.warns(RuntimeWarning, match=r"fn runs without checkpointing.*use ops\.cond") as caught:
        assert [ev.grad(saved)(Tensor(v)).item() for v in (1.0, -1.0)] == [2.0, -1.0]
    assert len(caught) == 1
    assert ev.recompute is ev.checkpoint


def test_errors():
    with pytest.raises(TypeError, match="checkpoint: needs a function"):
        ev.checkpoint(3)
    with pytest.raises(ev.DTypeError, match="the result of the function must be made of tensors"):
        ev.grad(ev.checkpoint(lambda x: "result"))(Tensor(1.0))
    assert ev._evolute.at_top_level()


@pytest.mark.parametrize("wrap", [lambda f: f, ev.jit], ids=["eager", "recorded"])
def test_memory_of_a_deep_chain_grows_with_the_root_of_its_depth(wrap):
    x = Tensor(np.linspace(0, 1, 100_000, dtype=np.float32))

    def chain(x, steps):
        for _ in range(steps):
            x = ops.sin(x) * 1.01
        return x

    def peak(fn):
        ev._evolute.release_cached_memory()
        ev._evolute.reset_peak_memory()
        before = ev._evolute.memory_stats()["live_bytes"]
        result = wrap(ev.grad(fn))(x)
        return (ev._evolute.memory_stats()["peak_bytes"] - before) / (4 * x.size), result

    def segmented(x, n):
        root = int(n**0.5)
        segment = ev.checkpoint(lambda x: chain(x, root))
        for _ in range(root):
            x = segment(x)
        return ops.sum(x)

    for n in (64, 256, 1024):
        used, got = peak(lambda x, n=n: segmented(x, n))
        assert used < 3 * n**0.5 + 10
        if n == 64:
            plain, want = peak(lambda x, n=n: ops.sum(chain(x, n)))
            np.testing.assert_allclose(got.asnumpy(), want.asnumpy(), rtol=1e-5)
            assert used < plain / 2
