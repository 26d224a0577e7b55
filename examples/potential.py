"""Fit a network to energies and forces of a liquid, validate it, and run molecular dynamics with it.

The liquid is made here: 64 atoms of Stillinger and Weber's model of silicon (Phys. Rev. B 31, 5262, 1985), melted by
Langevin dynamics. Units are those of the model: σ, ε and σ √(m/ε). The network sees the surroundings of an atom as 24
numbers that do not change when all are shifted, turned or exchanged: for 8 functions g of the neighbours' distances,
which are learned too, the norms of the moments Σ g, Σ g n and Σ g n⊗n of their directions n. The energy is the sum over
atoms; forces are its derivatives, so that training on them takes derivatives of derivatives, all in one compiled step.

    python examples/potential.py            # two minutes; writes potential.png
    python examples/potential.py --quick    # seconds, for a look at how it runs
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np

import evolute as ev
from evolute import Parameter, Tensor, nn, ops
from evolute.common.initializer import XavierUniform

ATOMS = 64
BOX = (ATOMS / 0.46) ** (1 / 3)  # of the density of the crystal
CUTOFF = 1.8
TEMPERATURE = 0.1  # 2500 K
STEP = 0.01  # 0.77 fs


def neighbours(x: Tensor) -> tuple[Tensor, Tensor]:
    """Map positions (..., n, 3) to directions (..., n, n, 3) and distances (..., n, n), both to the nearest image.

    An atom is its own neighbour at a distance beyond the cutoff.
    """
    d = ops.expand_dims(x, -3) - ops.expand_dims(x, -2)
    d = d - BOX * ops.round(d * (1.0 / BOX))
    squared = ops.sum(d * d, -1) + ops.eye(x.shape[-2], dtype=x.dtype) * 4.0 * CUTOFF**2
    r = ops.sqrt(squared)
    return d / ops.expand_dims(r, -1), r


def damped(r: Tensor, strength: float) -> Tensor:
    """exp(strength / (r − cutoff)) within the cutoff, and 0 beyond, where all derivatives are continuous."""
    inside = r < CUTOFF
    return ops.where(inside, ops.exp(strength / ops.where(inside, r - CUTOFF, -1.0)), 0.0)


def moments(weight: Tensor, n: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Map weights (..., n, p, n) and directions (..., n, n, 3) to Σ w, |Σ w n|² and |Σ w n⊗n|², each (..., n, p)."""
    zeroth = ops.sum(weight, -1)
    first = ops.sum(ops.square(ops.matmul(weight, n)), -1)
    dyads = ops.reshape(ops.expand_dims(n, -1) * ops.expand_dims(n, -2), (*n.shape[:-1], 9))
    second = ops.sum(ops.square(ops.matmul(weight, dyads)), -1)
    return zeroth, first, second


class StillingerWeber(nn.Cell):
    """The model's energy, of pairs and of triplets.

    Σ w_j w_k (cos θ + 1/3)² over the pairs of an atom's neighbours is |Σ w n⊗n|² + 2/3 |Σ w n|² + 1/9 |Σ w|², less the
    terms with j = k, where cos θ = 1, and halved.
    """

    def construct(self, x: Tensor) -> Tensor:
        """Map positions (..., n, 3) to energies (...)."""
        n, r = neighbours(x)
        pairs = 7.049556277 * (0.6022245584 / r**4 - 1.0) * damped(r, 1.0)
        weight = damped(r, 1.2)
        zeroth, first, second = moments(ops.expand_dims(weight, -2), n)
        squares = ops.sum(ops.square(weight), -1)
        around = ops.squeeze(second + (2.0 / 3.0) * first + (1.0 / 9.0) * ops.square(zeroth), -1)
        triplets = 21.0 * 0.5 * (around - (16.0 / 9.0) * squares)
        return 0.5 * ops.sum(pairs, (-2, -1)) + ops.sum(triplets, -1)


class Potential(nn.Cell):
    """A network's energy: the sum over atoms of a function of their surroundings."""

    SHELLS = 8
    BUMPS = 12

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        centres = np.linspace(0.9, CUTOFF, self.BUMPS)
        # At first shells that reach more and less far.
        rates = np.linspace(0.0, 8.0, self.SHELLS).reshape(-1, 1)
        self.mix = Parameter(np.exp(-rates * (centres - centres[0])).astype(np.float32))
        self.centres = Tensor(centres.reshape(-1, 1).astype(np.float32))
        self.sharpness = float(0.5 / (centres[1] - centres[0]) ** 2)
        size = self.BUMPS + 2 * self.SHELLS
        self.mean: Tensor = Tensor(np.zeros(size, np.float32))
        self.whiten: Tensor = Tensor(np.eye(size, dtype=np.float32))
        self.linear = nn.Dense(size, 1, "zeros", "zeros")
        widths = (size, 64, 64)
        hidden = [
            nn.Dense(a, b, XavierUniform(seed=seed + a + b), "zeros", activation="tanh")
            for a, b in itertools.pairwise(widths)
        ]
        self.net = nn.SequentialCell([*hidden, nn.Dense(64, 1, XavierUniform(seed=seed), "zeros")])
        self.shift = 0.0

    def describe(self, x: Tensor) -> Tensor:
        """Map positions (..., n, 3) to descriptors (..., n, 24)."""
        n, r = neighbours(x)
        bumps = ops.exp(-self.sharpness * ops.square(ops.expand_dims(r, -2) - self.centres))
        bumps = bumps * ops.expand_dims(damped(r, 0.1), -2)
        _, first, second = moments(ops.matmul(self.mix, bumps), n)
        return ops.concat([ops.sum(bumps, -1), first, second], -1)

    def standardise(self, x: np.ndarray, energies: np.ndarray) -> None:
        """Make the descriptors of these frames uncorrelated and of variance 1, and the energy begin at their mean."""
        found = ev.jit(self.describe)(Tensor(x)).asnumpy().reshape(-1, self.mean.size)
        self.mean = Tensor(found.mean(0))
        variances, axes = np.linalg.eigh(np.cov(found.astype(np.float64).T))
        axes /= np.sqrt(variances + 1e-6 * variances.max())
        self.whiten = Tensor(axes.astype(np.float32))
        self.shift = float(energies.mean() / x.shape[-2])

    def construct(self, x: Tensor) -> Tensor:
        """Map positions (..., n, 3) to energies (...)."""
        described = (self.describe(x) - self.mean) @ self.whiten
        each = self.net(described) + self.linear(described)
        return ops.sum(ops.squeeze(each, -1) + self.shift, -1)


class ForceLoss(nn.Cell):
    """Squared errors of forces, and of energies per atom."""

    def __init__(self, potential: nn.Cell) -> None:
        super().__init__()
        self.potential = potential

    def construct(self, x: Tensor, energies: Tensor, forces: Tensor) -> Tensor:
        """Compare with frames: positions and forces (b, n, 3), energies (b,)."""
        found, slopes = ev.value_and_grad(self.potential)(x)
        return ops.mean(ops.square(slopes + forces)) + ops.mean(ops.square((found - energies) / ATOMS**0.5))


# ---- Molecular dynamics ----------------------------------------------------------------------------------------------


class Dynamics:
    """Velocity Verlet with an energy, many steps per compiled call; masses are 1."""

    def __init__(self, energy: Callable[[Tensor], Tensor], x: np.ndarray, v: np.ndarray) -> None:
        force = ev.value_and_grad(energy)
        self.x, self.v = Tensor(x), Tensor(v)

        def run(x: Tensor, v: Tensor, friction: Tensor, kicks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            def step(state: tuple[Tensor, ...], kick: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
                x, v, slope = state
                v = v - 0.5 * STEP * slope
                x = x + STEP * v
                potential, slope = force(x)
                v = v - 0.5 * STEP * slope
                total = potential + 0.5 * ops.sum(ops.square(v))
                return (x, friction * v + kick, slope), total

            (x, v, _), totals = ops.scan(step, (x, v, force(x)[1]), kicks)
            return x, v, totals

        self.run = ev.jit(run)

    def constant_energy(self, steps: int) -> np.ndarray:
        """Take steps; return the total energy after each."""
        kicks = Tensor(np.zeros((steps, *self.x.shape), self.x.dtype.numpy))
        self.x, self.v, totals = self.run(self.x, self.v, Tensor(1.0, self.x.dtype), kicks)
        return totals.asnumpy()

    def constant_temperature(self, steps: int, random: np.random.Generator, temperature: float) -> None:
        """Take steps of Langevin dynamics."""
        kept = np.exp(-STEP)
        kicks = np.sqrt(temperature * (1.0 - kept**2)) * random.standard_normal((steps, *self.x.shape))
        kicks = kicks.astype(self.x.dtype.numpy)
        self.x, self.v, _ = self.run(self.x, self.v, Tensor(kept, self.x.dtype), Tensor(kicks))


def crystal() -> np.ndarray:
    """Return the positions of the diamond lattice, (64, 3)."""
    face = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
    cell = np.concatenate([face, face + 0.25])
    return np.concatenate([cell + shift for shift in itertools.product((0, 1), repeat=3)]) * (BOX / 2)


def melt(frames: int, between: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return positions, energies and forces of frames of the liquid, and leave out the crystal and its melting."""
    energy = StillingerWeber()
    dynamics = Dynamics(energy, crystal(), 0.3 * random.standard_normal((ATOMS, 3)))
    dynamics.constant_temperature(1500, random, 3.0 * TEMPERATURE)
    dynamics.constant_temperature(1500, random, TEMPERATURE)
    positions = []
    for _ in range(frames):
        dynamics.constant_temperature(between, random, TEMPERATURE)
        positions.append(dynamics.x.asnumpy())
    x = np.array(positions)
    values, slopes = ev.jit(ev.value_and_grad(energy))(Tensor(x))
    return x, values.asnumpy(), -slopes.asnumpy()


# ---- Training --------------------------------------------------------------------------------------------------------


def fit(potential: Potential, data: tuple[np.ndarray, ...], steps: int, random: np.random.Generator) -> list[float]:
    """Train on frames, and return the losses."""
    x, energies, forces = (a.astype(np.float32) for a in data)
    potential.standardise(x, energies)
    optimizer = nn.Adam(potential.trainable_params(), nn.CosineDecayLR(1e-5, 5e-3, steps))
    step = nn.TrainOneStepCell(ForceLoss(potential), optimizer)

    def batches() -> object:
        for _ in range(steps):
            chosen = random.choice(len(x), min(8, len(x)), replace=False)
            yield Tensor(x[chosen]), Tensor(energies[chosen]), Tensor(forces[chosen])

    return nn.fit(step, batches(), progress="training", total=steps, every=20)  # type: ignore[arg-type]


def picture(
    path: Path, losses: list[float], forces: tuple[np.ndarray, np.ndarray], totals: dict[str, np.ndarray]
) -> None:
    """Draw the loss, the forces on frames that were held out, and the energy along the dynamics."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(14, 3.8), constrained_layout=True)
    axes[0].semilogy(losses, linewidth=0.5)
    axes[0].set(title="training loss", xlabel="step")
    axes[1].plot(*(f.ravel() for f in forces), ".", markersize=1)
    axes[1].axline((0, 0), slope=1, color="grey", linewidth=0.5)
    axes[1].set(title="held-out forces", xlabel="model", ylabel="network")
    for name, energies in totals.items():
        axes[2].plot(STEP * np.arange(len(energies)), (energies - energies[0]) / ATOMS, linewidth=0.7, label=name)
    axes[2].set(title="change of the total energy per atom", xlabel="time")
    axes[2].legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit a network to forces of a liquid, and run it.")
    parser.add_argument("--quick", action="store_true", help="few frames, few steps")
    parser.add_argument("--output", type=Path, default=Path("potential.png"), help="picture to write")
    options = parser.parse_args()
    frames, steps, run = (12, 40, 50) if options.quick else (250, 4000, 4000)
    random = np.random.default_rng(0)

    data = melt(frames, 10 if options.quick else 40, random)
    held_out = max(2, frames // 5)
    potential = Potential()
    losses = fit(potential, tuple(a[:-held_out] for a in data), steps, random)

    x, energies, forces = (a[-held_out:] for a in data)
    found, slopes = (a.asnumpy() for a in ev.jit(ev.value_and_grad(potential))(Tensor(x.astype(np.float32))))
    force_error = np.sqrt(np.mean((slopes + forces) ** 2))
    energy_error = np.sqrt(np.mean((found - energies) ** 2)) / ATOMS
    print(f"held-out frames: force RMSE {force_error:.4f}, {100 * force_error / forces.std():.1f} % of their size")
    print(f"                 energy RMSE {energy_error:.5f} per atom (spread {energies.std() / ATOMS:.5f})")

    velocities = np.sqrt(TEMPERATURE) * random.standard_normal((ATOMS, 3))
    velocities -= velocities.mean(0)
    totals = {}
    for name, energy, dtype in (("model", StillingerWeber(), np.float64), ("network", potential, np.float32)):
        totals[name] = Dynamics(energy, x[-1].astype(dtype), velocities.astype(dtype)).constant_energy(run)
        drift = np.polyfit(STEP * np.arange(run), totals[name] / ATOMS, 1)[0]
        print(
            f"{name:>8}: energy drifts by {drift:+.1e} per atom and unit of time, fluctuates by "
            f"{np.std(totals[name]) / ATOMS:.1e}"
        )
    picture(options.output, losses, (forces, -slopes), totals)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
