"""Solve Burgers' equation with a network (PINN), and compare with the reference solution.

    u_t + u u_x = ν u_xx,  −1 ≤ x ≤ 1,  0 ≤ t ≤ 1,  u(x, 0) = −sin πx,  u(±1, t) = 0,  ν = 0.01/π

u = −sin πx + t (1 − x²) (N(x, t) − N(−x, t)) has the initial and boundary values and is odd, as the solution is,
whatever the network N is; so points with x ≥ 0 will do. What is minimised is the mean of (w r)², with the residual r of
the equation and weights w = 1/(1 + |u_x|/10), lest the shock outweigh all else. Points are drawn anew now and then,
more of them where the residual is large. Adam begins, L-BFGS finishes.

    python examples/burgers.py            # half a minute; writes burgers.png
    python examples/burgers.py --quick    # seconds, for a look at how it runs
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
from scipy.io import loadmat

import evolute as ev
from evolute import Tensor, nn, ops
from evolute.common.initializer import XavierUniform

DATA = Path(__file__).parent / "data" / "burgers" / "burgers_shock.mat"
VISCOSITY = 0.01 / math.pi


def reference() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x (256), t (100) and u (256, 100)."""
    content = loadmat(DATA)
    return content["x"].ravel(), content["t"].ravel(), content["usol"]


def grid() -> tuple[Tensor, Tensor, np.ndarray]:
    """Return the points of the reference solution, each (25600, 1), and its values, (25600,)."""
    x, t, u = reference()
    xs, ts = np.meshgrid(x, t, indexing="ij")
    return Tensor(xs.reshape(-1, 1)), Tensor(ts.reshape(-1, 1)), u.ravel()


def network(width: int = 16, depth: int = 4, seed: int = 0) -> nn.SequentialCell:
    """Make a network of two inputs, `depth` hidden layers of tanh, and one output, in float64."""
    widths = [2, *[width] * depth]
    layers: list[nn.Cell] = []
    for i in range(depth):
        init = XavierUniform(seed=seed + i)
        layers.append(nn.Dense(widths[i], widths[i + 1], init, "zeros", activation="tanh", dtype=ev.float64))
    layers.append(nn.Dense(width, 1, XavierUniform(seed=seed + depth), "zeros", dtype=ev.float64))
    return nn.SequentialCell(layers)


class Solution(nn.Cell):
    """u(x, t), of a network that leaves the initial and boundary values as they are."""

    def __init__(self, net: nn.Cell) -> None:
        super().__init__()
        self.net = net

    def construct(self, x: Tensor, t: Tensor) -> Tensor:
        """Map points, each (n, 1), to values, (n, 1)."""
        odd = self.net(ops.concat([x, t], 1)) - self.net(ops.concat([-x, t], 1))
        return -ops.sin(math.pi * x) + t * (1.0 - x * x) * odd


class Residual(nn.Cell):
    """What is left of the equation, and u_x."""

    def __init__(self, solution: nn.Cell, viscosity: float | Tensor = VISCOSITY) -> None:
        super().__init__()
        self.solution = solution
        self.viscosity = viscosity

    def construct(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Map points, each (n, 1), to residuals and slopes, each (n, 1)."""
        one = ops.ones_like(x)

        def along_x(x: Tensor) -> tuple[Tensor, Tensor]:
            return ev.jvp(lambda x: self.solution(x, t), x, one)

        (u, u_x), (_, u_xx) = ev.jvp(along_x, x, one)
        _, u_t = ev.jvp(lambda t: self.solution(x, t), t, one)
        return u_t + u * u_x - self.viscosity * u_xx, u_x


class Loss(nn.Cell):
    """Mean of the squares of the weighted residuals."""

    def __init__(self, residual: Residual) -> None:
        super().__init__()
        self.residual = residual

    def construct(self, x: Tensor, t: Tensor, weight: Tensor) -> Tensor:
        """Return the loss on points and their weights, each (n, 1)."""
        return ops.mean(ops.square(weight * self.residual(x, t)[0]))


class Points:
    """Collocation points with x ≥ 0, of which there are more where the residual is large."""

    def __init__(self, residual: Residual, count: int, seed: int = 0) -> None:
        self.residual = ev.jit(residual)
        self.count = count
        self.random = np.random.default_rng(seed)

    def draw(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return x, t and the weights, each (count, 1)."""
        x, t = self.random.random((2, 4 * self.count, 1))
        r, u_x = (result.asnumpy() for result in self.residual(Tensor(x), Tensor(t)))
        weight = 1.0 / (1.0 + 0.1 * abs(u_x))
        density = abs(weight * r).ravel()
        density = density / density.mean() + 1.0
        chosen = self.random.choice(len(x), self.count, replace=False, p=density / density.sum())
        return Tensor(x[chosen]), Tensor(t[chosen]), Tensor(weight[chosen])


class Training:
    """The training, with the error as it goes."""

    def __init__(self, count: int) -> None:
        self.solution = Solution(network())
        residual = Residual(self.solution)
        self.loss = Loss(residual)
        self.points = Points(residual, count)
        self.predict = ev.jit(self.solution)
        self.grid = grid()
        self.started = time.perf_counter()
        self.history: list[tuple[float, float]] = []  # seconds, error

    def error(self) -> float:
        """Return the error relative to the reference solution, in the L2 norm."""
        x, t, u = self.grid
        return float(np.linalg.norm(self.predict(x, t).asnumpy().ravel() - u) / np.linalg.norm(u))

    def report(self, steps: int, loss: float) -> str:
        """Note the error, and say what it is."""
        self.history.append((time.perf_counter() - self.started, self.error()))
        return f"loss {loss:.1e}, error {self.history[-1][1]:.1e}"

    def adam(self, steps: int, every: int) -> None:
        """Take steps of Adam, with new points after every so many."""
        rate = nn.CosineDecayLR(1e-5, 5e-3, steps)
        step = nn.TrainOneStepCell(self.loss, nn.Adam(self.solution.trainable_params(), rate))
        batches = (batch for _ in range(0, steps, every) for batch in [self.points.draw()] * every)
        nn.fit(step, batches, progress="Adam", total=steps, report=self.report, every=every)

    def lbfgs(self, rounds: int, steps: int) -> None:
        """Take rounds of L-BFGS, each on new points."""
        from tqdm import tqdm

        options = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": 50, "ftol": 0.0, "gtol": 0.0}
        with tqdm(total=rounds * steps, desc="L-BFGS", mininterval=0.2) as bar:

            def after(done: int, loss: float) -> None:
                bar.update()
                if done % 100 == 0:
                    bar.set_postfix_str(self.report(done, loss), refresh=False)

            for _ in range(rounds):
                batch = self.points.draw()
                result = ev.minimize(
                    self.loss, self.solution.trainable_params(), batch, callback=after, options=options
                )
                self.report(result.nit, result.fun)


def draw(training: Training, path: Path) -> None:
    """Write a picture of the solution, its error, and the error against time."""
    import matplotlib.pyplot as plt

    x, t, u = reference()
    found = training.predict(*training.grid[:2]).asnumpy().reshape(u.shape)
    figure, axes = plt.subplots(1, 3, figsize=(14, 3.8), constrained_layout=True)
    image = axes[0].pcolormesh(t, x, found, cmap="RdBu_r", shading="gouraud")
    axes[0].set(title="u(x, t) of the network", xlabel="t", ylabel="x")
    figure.colorbar(image, ax=axes[0])
    for time_index, colour in ((25, "tab:blue"), (50, "tab:orange"), (99, "tab:green")):
        axes[1].plot(x, u[:, time_index], color=colour, label=f"t = {t[time_index]:.2f}")
        axes[1].plot(x, found[:, time_index], "k--", linewidth=1)
    axes[1].set(title="reference (colours) and network (dashes)", xlabel="x", ylabel="u")
    axes[1].legend()
    seconds, errors = zip(*training.history, strict=True)
    axes[2].semilogy(seconds, errors)
    axes[2].axhline(1e-3, color="grey", linestyle=":")
    axes[2].set(title="relative L2 error", xlabel="seconds")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description="Solve Burgers' equation with a network.")
    parser.add_argument("--quick", action="store_true", help="a few steps on few points")
    parser.add_argument("--output", type=Path, default=Path("burgers.png"), help="picture to write")
    options = parser.parse_args()
    training = Training(128 if options.quick else 2048)
    if options.quick:
        training.adam(100, 50)
        training.lbfgs(2, 100)
    else:
        training.adam(1000, 250)
        training.lbfgs(8, 1000)
    print(f"relative L2 error {training.error():.2e} after {training.history[-1][0]:.0f} s")
    draw(training, options.output)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
