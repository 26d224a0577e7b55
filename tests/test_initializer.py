"""Initial values of parameters."""

import subprocess
import sys

import numpy as np
import pytest

import evolute as ev
from evolute import DTypeError, ShapeError, Tensor, initializer
from evolute.common import initializer as module_function
from evolute.common.initializer import (
    Constant,
    HeNormal,
    HeUniform,
    Identity,
    Initializer,
    Normal,
    Orthogonal,
    TruncatedNormal,
    Uniform,
    XavierNormal,
    XavierUniform,
)

WIDE = (400, 300)


def draw(init, shape=WIDE, dtype=ev.float64):
    return initializer(init, shape, dtype).asnumpy()


@pytest.mark.parametrize(
    ("init", "expected"),
    [
        ("zeros", np.zeros((2, 3))),
        ("Zero", np.zeros((2, 3))),
        ("ones", np.ones((2, 3))),
        (2.5, np.full((2, 3), 2.5)),
        (True, np.ones((2, 3))),
        (Constant(-1), -np.ones((2, 3))),
        ("identity", np.eye(2, 3)),
        (Identity(), np.eye(2, 3)),
        (Tensor(np.arange(6.0).reshape(2, 3)), np.arange(6.0).reshape(2, 3)),
    ],
)
@pytest.mark.parametrize("dtype", [ev.float32, ev.float64, ev.int32])
def test_fixed_values(init, expected, dtype):
    out = initializer(init, (2, 3), dtype)
    assert out.dtype == dtype
    np.testing.assert_array_equal(out.asnumpy(), expected.astype(dtype.numpy))


def test_shapes():
    assert initializer("ones", 3).shape == (3,)
    assert initializer("ones", []).shape == ()
    assert initializer("normal", (0, 2)).shape == (0, 2)
    assert initializer("zeros", np.array([2, 2])).shape == (2, 2)
    assert initializer(Tensor([1.0])).shape == (1,)
    assert module_function is initializer


@pytest.mark.parametrize(
    ("init", "deviation", "bound"),
    [
        (Normal(seed=1), 0.01, None),
        (Normal(2.0, seed=1), 2.0, None),
        (Uniform(seed=1), 0.07 / 3**0.5, 0.07),
        (Uniform(3.0, seed=1), 3**0.5, 3.0),
        (XavierUniform(seed=1), (2 / 700) ** 0.5, (6 / 700) ** 0.5),
        (XavierNormal(2.0, seed=1), 2 * (2 / 700) ** 0.5, None),
        (HeUniform(seed=1), (2 / 300) ** 0.5, (6 / 300) ** 0.5),
        (HeUniform(5**0.5, seed=1), (1 / 900) ** 0.5, (1 / 300) ** 0.5),
        (HeNormal(mode="fan_out", nonlinearity="relu", seed=1), (2 / 400) ** 0.5, None),
        (HeNormal(nonlinearity="tanh", seed=1), 5 / 3 * (1 / 300) ** 0.5, None),
        (TruncatedNormal(seed=1), 0.01 * 0.8796, 0.02),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("dtype", [ev.float32, ev.float64])
def test_moments_and_bounds(init, deviation, bound, dtype):
    values = draw(init, dtype=dtype)
    n = values.size
    assert abs(values.mean()) < 5 * deviation / n**0.5
    assert abs(values.std() / deviation - 1) < 5 / n**0.5
    if bound is not None:
        assert abs(values).max() <= bound * (1 + 1e-6)
        assert abs(values).max() > 0.99 * bound


def test_mean_of_normal():
    assert abs(draw(Normal(0.1, mean=5.0, seed=1)).mean() - 5) < 0.01


def test_one_sided_truncation():
    values = draw(TruncatedNormal(1.0, 10.0, a=0.0, b=3.0, seed=1))
    assert values.min() >= 10
    assert values.max() <= 13


def test_fans_of_kernels():
    bound = (6 / (3 * 5 + 4 * 5)) ** 0.5
    values = draw(XavierUniform(seed=1), (4, 3, 5))
    assert 0.9 * bound < abs(values).max() <= bound


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (3, 2, 2)])
def test_orthogonal(shape):
    m = draw(Orthogonal(2.0, seed=3), shape).reshape(shape[0], -1)
    gram = m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m
    np.testing.assert_allclose(gram, 4 * np.eye(len(gram)), atol=1e-12)


RANDOM = [
    "normal",
    "uniform",
    "TruncatedNormal",
    "XavierUniform",
    "xavier_normal",
    "HeUniform",
    "HeNormal",
    "orthogonal",
]


@pytest.mark.parametrize("name", RANDOM)
def test_seeds(name):
    a, b, c = (initializer(name, (8, 8), ev.float64, seed=s).asnumpy() for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_seed_of_the_object_and_of_the_function():
    by_name = initializer("XavierUniform", WIDE, ev.float64, seed=5)
    np.testing.assert_array_equal(draw(XavierUniform(seed=5)), by_name.asnumpy())


def test_unseeded_draws_differ_within_a_run_and_agree_between_runs():
    assert (draw("normal", (8,)) != draw("normal", (8,))).any()
    code = "import evolute as ev; print(ev.nn.Dense(3, 2).weight.value(), ev.initializer('normal', 3))"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout


def test_an_initializer_of_ones_own():
    class Ramp(Initializer):
        def sample(self, shape, dtype):
            return Tensor(np.arange(np.prod(shape)).reshape(shape), dtype)

    assert str(initializer(Ramp(), (3,), ev.float64)) == "[0. 1. 2.]"
    with pytest.raises(NotImplementedError, match="Initializer has no method sample"):
        initializer(Initializer(), (3,))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: initializer("norm", 3), ValueError, "no initialiser is named 'norm'; there are zeros"),
        (lambda: initializer("ones"), ValueError, "shape is missing"),
        (lambda: initializer("ones", (2, -1)), ValueError, "not negative"),
        (lambda: initializer("ones", (2, 1.5)), ValueError, "made of integers"),
        (lambda: initializer([1.0], 1), TypeError, "got a list"),
        (lambda: initializer("ones", 3, seed=1), ValueError, "'ones' takes no seed"),
        (lambda: initializer(Tensor([1.0]), seed=1), ValueError, "a tensor takes no seed"),
        (lambda: initializer(Normal(), 3, seed=1), ValueError, "a Normal takes no seed"),
        (lambda: initializer("normal", 3, seed=-1), ValueError, "Normal: seed is an integer"),
        (lambda: Normal(seed=1.5), ValueError, "Normal: seed is an integer"),
        (lambda: initializer(Tensor([1.0]), 2), ShapeError, r"has shape \(1,\), but \(2,\) is wanted"),
        (lambda: initializer("XavierUniform", 3), ShapeError, "XavierUniform: needs a shape of two axes"),
        (lambda: initializer("HeNormal", (3, 0)), ShapeError, "HeNormal: needs"),
        (lambda: initializer("orthogonal", (3,)), ShapeError, "Orthogonal: needs"),
        (lambda: initializer("identity", (3,)), ShapeError, "Identity: needs"),
        (lambda: initializer("normal", 3, ev.int32), DTypeError, "Normal: random values need float32 or float64"),
        (lambda: HeUniform(mode="fan"), ValueError, "HeUniform: mode is 'fan_in' or 'fan_out'"),
        (lambda: HeNormal(nonlinearity="sine"), ValueError, "HeNormal: nonlinearity is one of"),
        (lambda: TruncatedNormal(a=1.0, b=1.0), ValueError, "TruncatedNormal: a and b"),
        (lambda: TruncatedNormal(a=5.0, b=6.0), ValueError, "TruncatedNormal: a and b"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
