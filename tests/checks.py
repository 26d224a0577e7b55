"""What tests of derivatives share: nested modes, sample points, derivatives of NumPy functions by Cauchy's formula."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

import evolute as ev
from evolute import Tensor, ops

ROWS = [row for row in ops.table() if "class_name" in row]  # the elementwise functions
NAMES = [row["name"] for row in ROWS]


def along(fn: Callable, mode: str, position: int = 0) -> Callable:
    """Derivative of an elementwise function in one argument, by reverse ("r") or forward ("f") mode."""
    if mode == "r":
        return ev.grad(fn, position)

    def derivative(*args):
        x = args[position]
        return ev.jvp(lambda z: fn(*args[:position], z, *args[position + 1 :]), x, ops.ones_like(x))[1]

    return derivative


def nest(fn: Callable, modes: str, positions: Sequence[int] | None = None) -> Callable:
    """Derivative of order `len(modes)`. Like "reverse over forward", "rf" has the outer mode first."""
    for mode, position in zip(reversed(modes), positions or (0,) * len(modes), strict=True):
        fn = along(fn, mode, position)
    return fn


def all_modes(order: int) -> list[str]:
    return ["".join(m) for m in itertools.product("rf", repeat=order)]


def samples(domain: tuple[float, float], n: int, shift: float = 0.0) -> np.ndarray:
    """`n` points spread evenly, in no particular order, over the inside of an interval."""
    golden = (5**0.5 - 1) / 2
    lo, hi = domain
    return lo + (hi - lo) * ((np.arange(n) + 0.5 + shift) * golden % 1)


def random_arrays(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1, 1, shape) for shape in shapes]


def as_double(a) -> Tensor:
    return Tensor(np.asarray(a, np.float64))


def assert_close(got, want, rtol: float, atol: float = 0.0, err_msg: str = "") -> None:
    """`assert_allclose` that also compares shapes, and is lenient on elements small beside the largest.

    Where a derivative passes through zero, its terms cancel, and rounding bounds only the absolute error: a twentieth
    of `rtol` times the largest finite element is allowed.
    """
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{err_msg}: shape {got.shape}, expected {want.shape}"
    finite = np.abs(want[np.isfinite(want)])
    np.testing.assert_allclose(
        got, want, rtol, atol + rtol / 20 * (finite.max() if finite.size else 0), err_msg=err_msg
    )


# ---- functions of several tensors -----------------------------------------------------------------------------------


def taylor(fn: Callable, inputs: Sequence[np.ndarray], directions: Sequence[np.ndarray], order: int, radius: float):
    """Derivatives of t ↦ fn(x + t v) at 0, of orders 0 to `order`, by Cauchy's formula on a circle, and their errors.

    `fn` is analytic and written in NumPy operations that accept complex numbers. With 32 points the error is rounding,
    unless `radius` comes close to the radius of convergence.
    """
    n = 32
    circle = radius * np.exp(2j * np.pi * np.arange(n) / n)
    values = np.stack([fn(*(x + t * v for x, v in zip(inputs, directions, strict=True))) for t in circle])
    coefficients = np.fft.fft(values, axis=0) / n
    scale = [math.factorial(k) / radius**k for k in range(order + 1)]
    rounding = 1e-15 * np.abs(values).max(initial=0)
    return [((coefficients[k] * scale[k]).real, rounding * scale[k]) for k in range(order + 1)]


def active_sets(n: int) -> Iterator[tuple[int, ...]]:
    for k in range(1, n + 1):
        yield from itertools.combinations(range(n), k)


def check_derivatives(
    fn: Callable,
    reference: Callable,
    *inputs: np.ndarray,
    order: int = 2,
    rtol: float = 1e-11,
    radius: float = 0.25,
    directions: Sequence[np.ndarray] | None = None,
) -> None:
    """Check values of `fn`, and directional derivatives up to `order` in every combination of modes.

    A random direction v for the inputs and a random weight u for the outputs make one function of one number,
    u · fn(x + t v): its derivatives depend on all of the Jacobian, and of the higher derivatives. Each subset of the
    inputs moves in turn, while the others are plain constants.
    """
    fixed = [as_double(x) for x in inputs]
    value = fn(*fixed)
    want = np.asarray(reference(*inputs)).real
    assert_close(value.asnumpy(), want, rtol, atol=1e-3 * rtol)
    rng = np.random.default_rng(want.size)
    u = as_double(rng.uniform(0.5, 1.5, value.shape))
    directions = directions or [rng.uniform(-1, 1, np.shape(x)) for x in inputs]
    for moving in active_sets(len(inputs)):
        steps = [v if i in moving else np.zeros_like(v) for i, v in enumerate(directions)]
        expected = taylor(reference, inputs, steps, order, radius)

        def weighted(t, moving=moving):
            moved = [
                x + t * as_double(v) if i in moving else x
                for i, (x, v) in enumerate(zip(fixed, directions, strict=True))
            ]
            return ops.sum(u * fn(*moved))

        for k in range(1, order + 1):
            terms, error = expected[k]
            exact = np.sum(u.asnumpy() * terms)
            tolerance = rtol * np.sum(u.asnumpy() * np.abs(terms)) + error * value.size
            for modes in all_modes(k):
                got = nest(weighted, modes)(as_double(0.0)).item()
                assert abs(got - exact) <= tolerance, (
                    f"d^{k} by {modes} of inputs {moving}: {got!r}, expected {exact!r}"
                )


def check_adjoint(fn: Callable, *inputs: np.ndarray, seed: int = 0, rtol: float = 1e-12) -> None:
    """⟨u, J v⟩ = ⟨Jᵀ u, v⟩; gradients have the shapes and dtypes of the inputs, tangents those of the output."""
    rng = np.random.default_rng(seed)

    def like(a):
        return rng.uniform(-1, 1, a.shape)

    xs = tuple(as_double(x) for x in inputs)
    vs = [like(x) for x in inputs]
    value, tangent = ev.jvp(fn, xs, tuple(map(as_double, vs)))
    assert tangent.shape == value.shape
    assert tangent.dtype == value.dtype
    u = like(value)
    _, gradients = ev.vjp(fn, xs, as_double(u))
    gradients = gradients if len(xs) > 1 else (gradients,)
    for x, g in zip(xs, gradients, strict=True):
        assert g.shape == x.shape
        assert g.dtype == x.dtype
    forward = u * tangent.asnumpy()
    reverse = [g.asnumpy() * v for g, v in zip(gradients, vs, strict=True)]
    size = np.abs(forward).sum() + sum(np.abs(r).sum() for r in reverse)
    assert np.isfinite(size)
    assert abs(forward.sum() - sum(r.sum() for r in reverse)) <= rtol * max(size, 1e-300)
