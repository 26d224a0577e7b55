"""Find the viscosity of Burgers' equation from noisy samples of its solution.

The network, the equation and the points are those of `burgers.py`. The viscosity is a parameter beside the weights, and
the samples' squared errors are added to the loss. It begins at ten times what it is.

    python examples/burgers_inverse.py            # a minute; writes burgers_inverse.png
    python examples/burgers_inverse.py --quick    # seconds, for a look at how it runs
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from burgers import VISCOSITY, Points, Residual, Solution, grid, network
from tqdm import tqdm

import evolute as ev
from evolute import Parameter, Tensor, nn, ops


class Unknown(nn.Cell):
    """The residual of Burgers' equation with a viscosity that is learned, as its logarithm."""

    def __init__(self, solution: Solution, start: float) -> None:
        super().__init__()
        self.log_viscosity = Parameter(Tensor(math.log(start), ev.float64))
        self.residual = Residual(solution)

    def construct(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Map points to residuals and slopes."""
        self.residual.viscosity = ops.exp(self.log_viscosity)
        return self.residual(x, t)


class Misfit(nn.Cell):
    """Squared errors of the samples and of the equation."""

    def __init__(self, solution: Solution, unknown: Unknown) -> None:
        super().__init__()
        self.solution = solution
        self.unknown = unknown

    def construct(self, points: tuple[Tensor, ...], samples: tuple[Tensor, ...]) -> Tensor:
        """Return the loss on points (x, t, weight) and samples (x, t, u), each (n, 1)."""
        (x, t, weight), (sample_x, sample_t, u) = points, samples
        equation = ops.mean(ops.square(weight * self.unknown(x, t)[0]))
        return equation + ops.mean(ops.square(self.solution(sample_x, sample_t) - u))


def draw_samples(count: int, noise: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, t and u with normal noise, each (count, 1), at random points of the reference solution."""
    random = np.random.default_rng(seed)
    x, t, u = grid()
    chosen = random.choice(u.size, count, replace=False)
    noisy = u[chosen] + noise * u.std() * random.standard_normal(count)
    return Tensor(x.asnumpy()[chosen]), Tensor(t.asnumpy()[chosen]), Tensor(noisy.reshape(-1, 1))


def picture(history: list[float], path: Path) -> None:
    """Draw the viscosity as it was found."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.8), constrained_layout=True)
    axes.semilogy(history, label="found")
    axes.axhline(VISCOSITY, color="grey", linestyle=":", label="0.01/π")
    axes.set(xlabel="iterations / 10", ylabel="viscosity", title="viscosity from noisy samples")
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description="Find the viscosity of Burgers' equation from noisy samples.")
    parser.add_argument("--quick", action="store_true", help="a few steps on few points")
    parser.add_argument("--noise", type=float, default=0.01, help="standard deviation, relative to that of u")
    parser.add_argument("--samples", type=int, default=2000, help="number of samples")
    parser.add_argument("--output", type=Path, default=Path("burgers_inverse.png"), help="picture to write")
    options = parser.parse_args()

    solution = Solution(network(width=20, seed=10))
    unknown = Unknown(solution, 10.0 * VISCOSITY)
    misfit = Misfit(solution, unknown)
    points = Points(unknown, 128 if options.quick else 2048)
    samples = draw_samples(options.samples, options.noise, seed=1)
    parameters = misfit.trainable_params()

    history: list[float] = []

    def note() -> str:
        history.append(math.exp(unknown.log_viscosity.item()))
        return f"viscosity {history[-1]:.6f}"

    adam, rounds, steps = (100, 1, 100) if options.quick else (1000, 5, 600)
    step = nn.TrainOneStepCell(misfit, nn.Adam(parameters, nn.CosineDecayLR(1e-5, 5e-3, adam)))
    batches = (batch for _ in range(2) for batch in [(points.draw(), samples)] * (adam // 2))
    nn.fit(step, batches, progress="Adam", total=adam, report=lambda steps, loss: note(), every=10)
    with tqdm(total=rounds * steps, desc="L-BFGS", mininterval=0.2) as bar:

        def after(done: int, loss: float) -> None:
            bar.update()
            if done % 10 == 0:
                bar.set_postfix_str(note(), refresh=False)

        for _ in range(rounds):
            limits = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": 50, "ftol": 0.0, "gtol": 0.0}
            ev.minimize(misfit, parameters, (points.draw(), samples), callback=after, options=limits)
    note()
    print(f"viscosity {history[-1]:.6f}, in truth {VISCOSITY:.6f}: {100 * (history[-1] / VISCOSITY - 1):+.2f} %")
    picture(history, options.output)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
