"""Newton-type against first-order optimisers: loss against seconds for one network that solves a differential equation.

The equation is −u″ = f on (0, 1) with u(0) = u(1) = 0 and the solution sin 2πx + sin 8πx / 4; the network is written as
x (1 − x) N(x), and the loss is half the mean of the squared residuals at 256 points, in units of (2π)². Gauss–Newton
with Levenberg's damping, Newton-CG, natural gradient, L-BFGS, Adam and momentum start from the same weights and have
the same time each.

    python examples/newton.py            # a minute and a half; writes newton.png
    python examples/newton.py --quick    # seconds, for a look at how it runs
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import evolute as ev
from evolute import Tensor, nn, ops
from evolute.common.initializer import XavierUniform

COUNT = 256


def exact(x: np.ndarray) -> np.ndarray:
    return np.sin(2 * np.pi * x) + np.sin(8 * np.pi * x) / 4


class Poisson(nn.Cell):
    """The residual −u″ − f at n points in units of (2π)² √n, so that the sum of the squares is a mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = (1, width, width)
        layers = [
            nn.Dense(a, b, XavierUniform(seed=i), "zeros", activation="tanh", dtype=ev.float64)
            for i, (a, b) in enumerate(itertools.pairwise(sizes))
        ]
        layers.append(nn.Dense(width, 1, XavierUniform(seed=2), "zeros", dtype=ev.float64))
        self.net = nn.SequentialCell(layers)

    def solution(self, x: Tensor) -> Tensor:
        """Map points (n, 1) to u, (n, 1)."""
        return x * (1.0 - x) * self.net(4.0 * x - 2.0)

    def construct(self, x: Tensor) -> Tensor:
        """Map points (n, 1) to residuals, (n, 1)."""
        one = ops.ones_like(x)
        _, second = ev.jvp(lambda x: ev.jvp(self.solution, x, one)[1], x, one)
        a, b = 2.0 * math.pi, 8.0 * math.pi
        f = a**2 * ops.sin(a * x) + 0.25 * b**2 * ops.sin(b * x)
        return (-second - f) * (1.0 / (a**2 * math.sqrt(x.shape[0])))


class HalfSquares(nn.Cell):
    """Half the sum of the squares of a cell's output."""

    def __init__(self, cell: nn.Cell) -> None:
        super().__init__()
        self.cell = cell

    def construct(self, *inputs: Tensor) -> Tensor:
        """Return the number."""
        return 0.5 * ops.sum(ops.square(self.cell(*inputs)))


def half_squares(out: Tensor, target: Tensor) -> Tensor:
    return 0.5 * ops.sum(ops.square(out - target))


def runs(width: int, x: Tensor) -> dict[str, Callable[[], Callable[[], Tensor]]]:
    """Return for each optimiser a function that makes a network and gives a function that takes a step."""

    def newton(make: Callable[..., nn.Cell]) -> Callable[[], Callable[[], Tensor]]:
        def begin() -> Callable[[], Tensor]:
            step = make(Poisson(width))
            return lambda: step(x)

        return begin

    def natural() -> Callable[[], Tensor]:
        step = nn.NaturalGradient(Poisson(width), half_squares, learning_rate=0.5, damping=1e-4)
        zero = ops.zeros(x.shape, ev.float64)
        return lambda: step(x, zero)

    def first_order(make: Callable[..., nn.Optimizer]) -> Callable[[], Callable[[], Tensor]]:
        def begin() -> Callable[[], Tensor]:
            loss = HalfSquares(Poisson(width))
            step = nn.TrainOneStepCell(loss, make(loss.trainable_params()))
            return lambda: step(x)

        return begin

    return {
        "Gauss–Newton": newton(lambda cell: nn.GaussNewton(cell, damping=1e-2, iterations=400)),
        "Newton-CG": newton(lambda cell: nn.NewtonCG(HalfSquares(cell), iterations=200)),
        "natural gradient": natural,
        "Adam": first_order(lambda p: nn.Adam(p, 5e-3)),
        "momentum": first_order(lambda p: nn.Momentum(p, 1e-3, 0.9)),
    }


def race(begin: Callable[[], Callable[[], Tensor]], budget: float) -> tuple[list[float], list[float]]:
    """Take steps for so many seconds, after one that compiles; return the times and the losses before each step."""
    step = begin()
    losses, seconds = [float(step().item())], [0.0]
    started = time.perf_counter()
    while seconds[-1] < budget:
        losses.append(float(step().item()))
        seconds.append(time.perf_counter() - started)
    return seconds, losses


def race_lbfgs(width: int, x: Tensor, budget: float) -> tuple[list[float], list[float]]:
    """Minimise with L-BFGS of SciPy for so many seconds."""
    loss = HalfSquares(Poisson(width))
    seconds, losses = [0.0], [float(loss(x).item())]
    ev.minimize(loss, loss.trainable_params(), (x,), options={"maxiter": 1})  # compiles
    started = time.perf_counter()

    def after(done: int, value: float) -> None:
        seconds.append(time.perf_counter() - started)
        losses.append(value)
        if seconds[-1] > budget:
            raise StopIteration

    options = {"maxiter": 10**6, "maxfun": 10**6, "maxcor": 50, "ftol": 0.0, "gtol": 0.0}
    ev.minimize(loss, loss.trainable_params(), (x,), callback=after, options=options)
    return seconds, losses


def picture(results: dict[str, tuple[list[float], list[float]]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), constrained_layout=True)
    for name, (seconds, losses) in results.items():
        axes.semilogy(seconds, np.minimum.accumulate(losses), label=name)
    axes.set(xlabel="seconds", ylabel="smallest loss so far", title="−u″ = f by a network of two hidden layers")
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description="Newton-type against first-order optimisers.")
    parser.add_argument("--quick", action="store_true", help="a second for each")
    parser.add_argument("--output", type=Path, default=Path("newton.png"), help="picture to write")
    options = parser.parse_args()
    budget, width = (0.3, 8) if options.quick else (12.0, 24)
    x = Tensor((np.arange(COUNT) + 0.5).reshape(-1, 1) / COUNT)
    results = {name: race(begin, budget) for name, begin in runs(width, x).items()}
    results["L-BFGS"] = race_lbfgs(width, x, budget)
    for name, (seconds, losses) in results.items():
        print(f"{name:>17}: {len(losses):6d} steps in {seconds[-1]:4.1f} s, loss {losses[0]:.1e} → {min(losses):.1e}")
    picture(results, options.output)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
