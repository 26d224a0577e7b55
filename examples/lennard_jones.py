"""A Lennard-Jones cluster: forces, relaxation, and vibrations from the exact Hessian.

Atoms with mass 1 attract and repel each other with the energy 4 (r^-12 - r^-6) per pair, in units of the depth of the
well and of the distance where it crosses zero. The energy is all that is written down here:

1. Its gradient, the negative of the forces, relaxes the cluster from many random starts (L-BFGS, through SciPy), and
   the lowest is kept.
2. Newton's method with the exact Hessian takes that to rounding error. The six directions in which a cluster moves or
   turns as a whole cost no energy, so the steps come from the other eigenvectors alone.
3. The square roots of the eigenvalues of the Hessian are the frequencies of the vibrations. A symmetric cluster has
   several of each: for the icosahedron of 13 atoms they come in groups of 1, 3, 4 and 5.

Run ``python lennard_jones.py``, or ``python lennard_jones.py --atoms 7 --plot cluster.png``.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

import evolute as ev
from evolute import Tensor, ops

Array = NDArray[np.float64]

#: The lowest energies known (Hoare and Pal 1971; Northby 1987), by the number of atoms.
LOWEST = {
    2: -1.0,
    3: -3.0,
    4: -6.0,
    5: -9.103852,
    6: -12.712062,
    7: -16.505384,
    8: -19.821489,
    9: -24.113360,
    10: -28.422532,
    11: -32.765970,
    12: -37.967600,
    13: -44.326801,
}
RIGID = 6  # directions that cost nothing: three to move in, three to turn about


def energy(positions: Tensor) -> Tensor:
    """Energy of a cluster; positions have shape (atoms, 3)."""
    first, second = np.triu_indices(positions.shape[0], 1)
    apart = ops.take(positions, Tensor(first)) - ops.take(positions, Tensor(second))
    attraction = ops.sum(apart * apart, 1) ** -3
    return 4 * ops.sum(attraction * attraction - attraction)


value_and_gradient = ev.jit(ev.value_and_grad(energy))
hessian = ev.jit(ev.hessian(energy))


@dataclass(frozen=True)
class Cluster:
    """A relaxed cluster.

    Attributes
    ----------
    positions : ndarray
        Of shape (atoms, 3).
    energy : float
        At these positions.
    largest_force : float
        The largest component of any force that is left.
    eigenvalues : ndarray
        Of the Hessian, in increasing order.
    """

    positions: Array
    energy: float
    largest_force: float
    eigenvalues: Array

    @property
    def frequencies(self) -> Array:
        """Of the vibrations, in increasing order: 3 atoms - 6, or 1 for a pair."""
        rigid = 5 if len(self.positions) == 2 else RIGID
        return np.sqrt(self.eigenvalues[rigid:])


def relax(positions: Array) -> tuple[Array, float]:
    """Follow the forces downhill to about six digits."""
    shape = positions.shape

    def objective(x: Array) -> tuple[float, Array]:
        value, gradient = value_and_gradient(Tensor(x.reshape(shape)))
        return value.item(), gradient.asnumpy().ravel()

    found = minimize(objective, positions.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 2000})
    return found.x.reshape(shape), float(found.fun)


def polish(positions: Array, steps: int = 8) -> Cluster:
    """Take a relaxed cluster to rounding error by Newton's method."""
    n = positions.size
    for _ in range(steps):
        _, gradient = value_and_gradient(Tensor(positions))
        values, vectors = np.linalg.eigh(hessian(Tensor(positions)).asnumpy().reshape(n, n))
        stiff = values > 1e-4 * values[-1]
        along = vectors[:, stiff].T @ gradient.asnumpy().ravel()
        step = vectors[:, stiff] @ (along / values[stiff])
        positions = positions - step.reshape(positions.shape)
        if np.abs(step).max() < 1e-14:
            break
    lowest, gradient = value_and_gradient(Tensor(positions))
    values = np.linalg.eigvalsh(hessian(Tensor(positions)).asnumpy().reshape(n, n))
    return Cluster(positions, lowest.item(), float(np.abs(gradient.asnumpy()).max()), values)


def search(atoms: int, starts: int, seed: int = 0) -> Cluster:
    """Relax from random starts, and polish the lowest."""
    rng = np.random.default_rng(seed)
    radius = 0.7 * atoms ** (1 / 3)
    relaxed = [relax(rng.uniform(-radius, radius, (atoms, 3))) for _ in range(starts)]
    return polish(min(relaxed, key=lambda r: r[1])[0])


def levels(frequencies: Array) -> list[tuple[float, int]]:
    """Frequencies that are equal to seven digits, and how many there are of each."""
    groups = np.split(frequencies, np.flatnonzero(np.diff(frequencies) > 1e-7 * frequencies[-1]) + 1)
    return [(float(np.mean(group)), len(group)) for group in groups]


def plot(path: str, cluster: Cluster) -> None:
    """Draw the cluster, with lines between neighbours, and its vibrations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    atoms = figure.add_subplot(1, 2, 1, projection="3d")
    x = cluster.positions - cluster.positions.mean(0)
    for a, b in itertools.combinations(x, 2):
        if np.linalg.norm(a - b) < 1.3:
            atoms.plot(*np.stack([a, b], 1), color="0.7", zorder=1)
    atoms.scatter(*x.T, s=200, depthshade=True)
    atoms.set_axis_off()
    atoms.set_aspect("equal")
    atoms.set_title(f"{len(x)} atoms, energy {cluster.energy:.6f}")
    spectrum = figure.add_subplot(1, 2, 2)
    where, count = zip(*levels(cluster.frequencies), strict=True)
    spectrum.stem(where, count, basefmt=" ")
    spectrum.set(xlabel="frequency", ylabel="vibrations", ylim=(0, None), title="from the exact Hessian")
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Find and describe the cluster; return 1 if it is not the lowest one known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, default=13, choices=LOWEST, metavar="N", help="2 to 13 (default 13)")
    parser.add_argument("--starts", type=int, default=100, help="random starts (default 100)")
    parser.add_argument("--plot", metavar="FILE", help="draw the cluster and its vibrations (needs matplotlib)")
    options = parser.parse_args(arguments)

    cluster = search(options.atoms, options.starts)
    known = LOWEST[options.atoms]
    print(f"energy         {cluster.energy:.6f}, lowest known {known:.6f}")
    print(f"largest force  {cluster.largest_force:.1e}")
    rigid = cluster.eigenvalues[: len(cluster.eigenvalues) - len(cluster.frequencies)]
    softest = cluster.frequencies[0] ** 2
    print(f"rigid motions  eigenvalues up to {np.abs(rigid).max():.1e}, where vibrations begin at {softest:.1f}")
    found = (f"{f:.4f}" + (f" (x{n})" if n > 1 else "") for f, n in levels(cluster.frequencies))
    print("frequencies   ", ", ".join(found))
    if options.plot:
        plot(options.plot, cluster)
    return 0 if abs(cluster.energy - known) < 1e-6 else 1


if __name__ == "__main__":
    sys.exit(main())
