"""`check_grads`: that it passes what is right, and names the element that is wrong."""

import numpy as np
import pytest
from checks import as_double
from hypothesis import given, settings
from programs import interpret, programs

import evolute as ev
from evolute import Tensor, nn, ops

X = as_double([0.5, -0.3, 1.2])


def test_report():
    report = ev.check_grads(lambda x, y: {"a": ops.sin(x) * y, "b": [ops.sum(x)]}, (X, X + 1.0), order=3)
    assert [c.order for c in report] == [1] * 6 + [2] * 10 + [3] * 18
    assert {c.mode for c in report if c.order == 2} == {
        f"{mode}{suffix}"
        for mode in ("fwd of fwd", "fwd of rev", "rev of fwd", "rev of rev", "jet")
        for suffix in ("", " compiled")
    }
    assert all(c.passed and c.error < 0.1 for c in report)
    assert report[0].elements == 4 * 6
    lines = str(report).splitlines()
    assert len(lines) == len(report)
    assert all(line.startswith("ok") for line in lines)
    assert report.worst.error == max(c.error for c in report)


def test_one_mode_and_static_arguments():
    report = ev.check_grads(lambda x, n, i: x**n + i, (np.array([1.0, 2.0]), 3, Tensor(2)), 2, "rev", compiled=False)
    assert [c.mode for c in report] == ["rev", "rev of rev"]


def test_wrong_rules_are_found():
    f = ev.custom_vjp(lambda x, y: ops.sin(x) * y)
    f.defvjp(
        lambda x, y: (ops.sin(x) * y, (x, y)),
        lambda r, g: (g * ops.cos(r[0]) * r[1] * Tensor([1.0, 1.0, 1.01]), g * ops.sin(r[0])),
    )
    with pytest.raises(AssertionError) as error:
        ev.check_grads(f, (X, X), order=1)
    first, *table = str(error.value).splitlines()
    assert "gives d out[2] / d x0[2] = " in first
    assert "but differences give" in first
    assert any(line.startswith("FAIL  order 1  rev") for line in table)


def test_a_wrong_second_derivative_is_found():
    f = ev.custom_jvp(lambda x: x * x * x)
    f.defjvps(lambda t, out, x: t * 3 * ops.stop_gradient(x) * x)
    with pytest.raises(AssertionError, match=r"gives d² out\[\d\] / d x\[\d\] d x\[\d\] = "):
        ev.check_grads(f, X, order=2)
    ev.check_grads(f, X, order=1)


def test_a_wrong_derivative_is_found_along_a_line():
    f = ev.custom_jvp(lambda x: x * x * x)
    f.defjvps(lambda t, out, x: t * 3 * ops.stop_gradient(x) * x)
    with pytest.raises(AssertionError, match=r"jet gives d² out\[\d\] / dt² = .*but differences give"):
        ev.check_grads(f, X, order=2, modes="jet", compiled=False)
    assert [c.mode for c in ev.check_grads(ops.sin, X, order=4, modes="jet", compiled=False)] == ["jet"] * 4


def test_float32_and_large_arguments():
    rng = np.random.default_rng(0)
    net = nn.SequentialCell(nn.Dense(20, 16, activation="tanh"), nn.Dense(16, 3))
    report = ev.check_grads(net, Tensor(rng.uniform(-1, 1, (30, 20)).astype(np.float32)), order=2)
    assert max(c.elements for c in report) <= 20_000
    assert report.worst.passed


def test_empty_arguments_have_no_elements():
    assert all(c.elements == 0 for c in ev.check_grads(ops.sin, ops.zeros((0,), ev.float64), compiled=False))


@settings(max_examples=15, deadline=None)
@given(programs)
def test_random_programs(program):
    x = as_double(np.random.default_rng(1).uniform(-1, 1, (3, 3)))
    if any(fn is ops.maximum or getattr(fn, "__name__", "") == "<lambda>" for fn, *_ in program):
        return  # not all of these are smooth
    ev.check_grads(lambda x: ops.sum(interpret(program, x), 0), x, order=2, compiled=False, rtol=1e-5)


def test_errors():
    with pytest.raises(TypeError, match="check_grads: needs a function or a cell, got int"):
        ev.check_grads(3, X)
    with pytest.raises(TypeError, match="no argument is a tensor of floating dtype"):
        ev.check_grads(ops.sin, Tensor([1, 2]))
    with pytest.raises(TypeError, match="the function returned no tensor of floating dtype"):
        ev.check_grads(lambda x: x > 0, X)
    with pytest.raises(ValueError, match=r"modes must be of 'fwd', 'rev' and 'jet', got \('taylor',\)"):
        ev.check_grads(ops.sin, X, modes="taylor")
    with pytest.raises(ValueError, match="order must be a positive integer, got 0"):
        ev.check_grads(ops.sin, X, order=0)
