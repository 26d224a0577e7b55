"""Errors of control flow, eager and recorded: what they name, and that they leave nothing behind."""

from __future__ import annotations

import numpy as np
import pytest
from checks import as_double

import evolute as ev
from evolute import Parameter, Tensor, ops

X0 = as_double([0.1, 0.2])
XS = as_double(np.arange(14.0).reshape(7, 2) / 10)


def errors():
    def positive(x):
        return ops.sum(x) > 0

    def same(x):
        return x

    return {
        "cond: the predicate has shape": (ev.ShapeError, lambda x: ops.cond(x > 0, same, same, x)),
        "cond: the predicate has dtype": (ev.DTypeError, lambda x: ops.cond(ops.sum(x), same, same, x)),
        "while_loop: the result of cond_fun has shape": (
            ev.ShapeError,
            lambda x: ops.while_loop(lambda x: x > 0, same, x),
        ),
        "while_loop: the result of cond_fun must be a boolean, not str": (
            ev.DTypeError,
            lambda x: ops.while_loop(lambda x: "yes", same, x),
        ),
        "while_loop: the result of body_fun has shape": (
            ev.ShapeError,
            lambda x: ops.while_loop(positive, lambda x: ops.sum(x), x),
        ),
        "while_loop: the result of body_fun has dtype": (
            ev.DTypeError,
            lambda x: ops.while_loop(positive, lambda x: ops.cast(x, ev.float32), x),
        ),
        "while_loop: the result of body_fun must have the structure": (
            ValueError,
            lambda x: ops.while_loop(positive, lambda x: (x, x), x),
        ),
        "scan: the carry that f returns has shape": (
            ev.ShapeError,
            lambda x: ops.scan(lambda c, x: (c[:1], None), x, XS),
        ),
        "scan: the carry that f returns must have the structure": (
            ValueError,
            lambda x: ops.scan(lambda c, x: ([c], None), x, XS),
        ),
        "scan: f must return a pair": (ValueError, lambda x: ops.scan(lambda c, x: c, x, XS)),
        "scan: the output of f must be made of tensors": (
            ev.DTypeError,
            lambda x: ops.scan(lambda c, x: (c, "y"), x, XS),
        ),
        "scan: tensor 1 of xs has shape": (
            ev.ShapeError,
            lambda x: ops.scan(lambda c, x: (c, None), x, (XS, XS[1:])),
        ),
        "scan: tensor 0 of xs is a scalar": (
            ev.ShapeError,
            lambda x: ops.scan(lambda c, x: (c, None), x, Tensor(1.0)),
        ),
        "scan: there are no xs": (ValueError, lambda x: ops.scan(lambda c, x: (c, None), x)),
        "scan: checkpoint is 0": (ValueError, lambda x: ops.scan(lambda c, x: (c, None), x, XS, checkpoint=0)),
        "scan: init must be made of tensors": (ev.DTypeError, lambda x: ops.scan(lambda c, x: (c, None), "c", XS)),
        "fori_loop: the result of body_fun has shape": (
            ev.ShapeError,
            lambda x: ops.fori_loop(0, 3, lambda i, x: ops.sum(x), x),
        ),
        "fori_loop: a bound must be an integer": (ev.DTypeError, lambda x: ops.fori_loop(0, 2.5, lambda i, x: x, x)),
        "fori_loop: a bound has dtype": (
            ev.DTypeError,
            lambda x: ops.fori_loop(0, ops.sum(x), lambda i, x: x, x),
        ),
    }


@pytest.mark.parametrize("message", errors())
@pytest.mark.parametrize("wrap", [lambda f: f, ev.jit], ids=["eager", "recorded"])
def test_errors(message, wrap):
    kind, fn = errors()[message]
    with pytest.raises(kind) as caught:
        wrap(fn)(X0)
    assert message in str(caught.value)
    assert ev._evolute.at_top_level()


@pytest.mark.parametrize(
    ("false_fn", "kind", "message"),
    [
        (lambda x: ops.sum(x), ev.ShapeError, "the result of false_fn has shape (), but must have shape (2,), as that"),
        (
            lambda x: ops.cast(x, ev.float32),
            ev.DTypeError,
            "the result of false_fn has dtype Float32, but must have Float64",
        ),
        (lambda x: (x, x), ValueError, "the result of false_fn must have the structure"),
        (lambda x: None, ValueError, "the result of false_fn must have the structure"),
    ],
)
def test_branches_that_differ(false_fn, kind, message):
    with pytest.raises(kind) as caught:
        ev.jit(lambda x: ops.cond(ops.sum(x) > 0, lambda x: x, false_fn, x))(X0)
    assert message in str(caught.value)


def test_a_condition_that_writes():
    w = Parameter(0.0, name="w")

    def condition(x):
        w.set_data(w + 1)
        return w < 3

    with pytest.raises(ev.TraceError, match="the condition writes the variable 'w'"):
        ev.jit(lambda x: ops.while_loop(condition, lambda x: x * 2, x))(X0)


def test_a_value_that_leaves_its_body():
    kept = []
    with pytest.raises(ev.TraceError, match="has outlived that recording"):
        ev.jit(lambda x: ops.scan(lambda c, k: (kept.append(c), (c, None))[1], x, XS)[0] + kept[0])(X0)


def test_bodies_that_need_values_make_the_call_eager():
    @ev.jit
    def fn(x):
        return ops.scan(lambda c, k: (c + k if c[0] > 0 else c - k, None), x, XS)[0]

    with pytest.warns(RuntimeWarning, match=r"use ops\.cond"):
        got = fn(X0)
    np.testing.assert_allclose(got.asnumpy(), X0.asnumpy() + XS.asnumpy().sum(0))
