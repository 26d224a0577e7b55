"""The problems, without a framework: functions and where they are sampled, sizes, and the same data for everyone."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Function:
    """An elementwise function and the interval its arguments are drawn from."""

    low: float
    high: float
    arity: int = 1
    orders: int = 2  # derivatives that are not zero everywhere: 0, 1 or 2 of them


FUNCTIONS: dict[str, Function] = {
    # sign and powers
    "neg": Function(-3, 3, orders=1),
    "abs": Function(-3, 3, orders=1),
    "square": Function(-3, 3),
    "sqrt": Function(0.1, 4),
    "rsqrt": Function(0.1, 4),
    "reciprocal": Function(0.2, 3),
    # exponentials and logarithms
    "exp": Function(-3, 3),
    "expm1": Function(-3, 3),
    "log": Function(0.1, 5),
    "log1p": Function(-0.8, 4),
    # circular functions
    "sin": Function(-6, 6),
    "cos": Function(-6, 6),
    "tan": Function(-1.4, 1.4),
    "asin": Function(-0.9, 0.9),
    "acos": Function(-0.9, 0.9),
    "atan": Function(-4, 4),
    # hyperbolic functions
    "sinh": Function(-3, 3),
    "cosh": Function(-3, 3),
    "tanh": Function(-3, 3),
    "asinh": Function(-4, 4),
    "acosh": Function(1.2, 5),
    "atanh": Function(-0.9, 0.9),
    # error function and activations
    "erf": Function(-2.5, 2.5),
    "erfc": Function(-2.5, 2.5),
    "sigmoid": Function(-4, 4),
    "softplus": Function(-4, 4),
    "relu": Function(-3, 3, orders=1),
    "gelu": Function(-3, 3),
    "silu": Function(-4, 4),
    # rounding
    "sign": Function(-3, 3, orders=0),
    "floor": Function(-3, 3, orders=0),
    "ceil": Function(-3, 3, orders=0),
    "round": Function(-3, 3, orders=0),
    "trunc": Function(-3, 3, orders=0),
    # arithmetic, one argument: x^2.5 and 1/x as users write them
    "pow2.5": Function(0.3, 2.5),
    "1/x": Function(0.3, 3),
    # arithmetic, two arguments
    "add": Function(-3, 3, arity=2, orders=1),
    "sub": Function(-3, 3, arity=2, orders=1),
    "mul": Function(-3, 3, arity=2),
    "div": Function(0.3, 3, arity=2),
    "pow": Function(0.3, 2.5, arity=2),
    "atan2": Function(0.3, 3, arity=2),
    "hypot": Function(0.3, 3, arity=2),
    "maximum": Function(-3, 3, arity=2, orders=1),
    "minimum": Function(-3, 3, arity=2, orders=1),
}


def random(seed: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(seed.encode()))


def operands(function: str, size: int, dtype: str) -> list[Array]:
    """Arguments of an elementwise function."""
    f = FUNCTIONS[function]
    rng = random(function)
    return [rng.uniform(f.low, f.high, size).astype(dtype) for _ in range(f.arity)]


def vectors(size: int, count: int, dtype: str = "float32", low: float = 0.1, high: float = 2.0) -> list[Array]:
    rng = random("vectors")
    return [rng.uniform(low, high, size).astype(dtype) for _ in range(count)]


def matrices(m: int, k: int, n: int, dtype: str, batch: int | None) -> tuple[Array, Array]:
    """Operands of an (m, k) × (k, n) product, or of a batch of them."""
    rng = random("matrices")
    axes = () if batch is None else (batch,)
    return rng.standard_normal((*axes, m, k)).astype(dtype), rng.standard_normal((*axes, k, n)).astype(dtype)


def mlp(*widths: int) -> list[tuple[Array, Array]]:
    """Weights (in, out) and biases of a network, float32."""
    rng = random("mlp")
    pairs = itertools.pairwise(widths)
    return [
        ((rng.standard_normal((n, m)) / np.sqrt(n)).astype("float32"), 0.1 * rng.standard_normal(m).astype("float32"))
        for n, m in pairs
    ]


def recurrence(width: int, steps: int) -> list[Array]:
    """Weights (width, width), a state (1, width) and inputs (steps, 1, width), float32."""
    rng = random("recurrence")
    shapes = ((width, width), (1, width), (steps, 1, width))
    scales = (1 / np.sqrt(width), 1.0, 0.1)
    return [(c * rng.standard_normal(s)).astype("float32") for c, s in zip(scales, shapes, strict=True)]


# ---- u_t + u u_x = ν u_xx --------------------------------------------------------------------------------------------

BURGERS_WIDTHS = (2, 64, 64, 64, 64, 1)
VISCOSITY = 0.01 / np.pi


def burgers_points(points: int) -> tuple[Array, Array]:
    """Collocation points: x in [−1, 1] and t in [0, 1], each (points, 1)."""
    rng = random("burgers")
    x = rng.uniform(-1, 1, (points, 1)).astype("float32")
    t = rng.uniform(0, 1, (points, 1)).astype("float32")
    return x, t


# ---- Force matching --------------------------------------------------------------------------------------------------

FORCES_WIDTHS = (24, 64, 64, 1)


def force_batch(batch: int) -> tuple[Array, Array]:
    """Return descriptors and the forces to match, each (batch, 24)."""
    rng = random("forces")
    shape = batch, FORCES_WIDTHS[0]
    return rng.standard_normal(shape).astype("float32"), rng.standard_normal(shape).astype("float32")


# ---- High derivatives and Laplacians ---------------------------------------------------------------------------------

TAYLOR_WIDTHS = (1, 64, 64, 64, 1)


def laplacian_widths(dimensions: int, width: int) -> tuple[int, ...]:
    return dimensions, width, width, width, 1


def points(count: int, dimensions: int) -> Array:
    """Points of the cube [−1, 1]ᵈ, (count, dimensions)."""
    return random("points").uniform(-1, 1, (count, dimensions)).astype("float32")


# ---- Gradients of each example ---------------------------------------------------------------------------------------

EXAMPLES_WIDTHS = (24, 64, 64, 1)


def examples(batch: int) -> tuple[Array, Array]:
    """Return inputs (batch, 24) and targets (batch,)."""
    rng = random("examples")
    return rng.standard_normal((batch, EXAMPLES_WIDTHS[0])).astype("float32"), rng.standard_normal(batch).astype(
        "float32"
    )
