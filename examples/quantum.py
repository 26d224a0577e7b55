"""Bound states of a small quantum system, by a loss made of Laplacians.

Two coupled anharmonic oscillators, H = −½ Δ + V with V = ½ (x² + 2 y²) + ½ x² y². Four functions ψ₁, …, ψ₄, the outputs
of one network times a Gaussian, span a space; the trace of H within it is never below the sum of the four lowest
energies (Ky Fan), and is minimised:

    loss = trace(S⁻¹ A)   with   S_ij = ∫ ψ_i ψ_j,   A_ij = ∫ ψ_i H ψ_j

Each evaluation takes Δψ at all points of a grid in one run of `laplacian`, and its gradient by all weights goes back
through that and through the linear solve. At the end the eigenvectors of (A, S) tell the four states apart, and their
energies are compared with those of a matrix on a fine grid.

Run ``python quantum.py``; it prints the energies and writes a picture.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.optimize import minimize

import evolute as ev
from evolute import Tensor, ops

Array = NDArray[np.float64]

STATES = 4
WIDTHS = (2, 24, 24, STATES)
EXTENT, POINTS = 5.5, 36  # the grid for integrals: a square, and points along each side


def potential(x: Any, y: Any) -> Any:
    return 0.5 * (x * x + 2 * y * y) + 0.5 * (x * x) * (y * y)


# ---- The network


def unpack(flat: Tensor) -> list[tuple[Tensor, Tensor]]:
    layers, at = [], 0
    for n, m in itertools.pairwise(WIDTHS):
        w, b = flat[at : at + n * m], flat[at + n * m : at + n * m + m]
        layers.append((ops.reshape(w, (n, m)), b))
        at += n * m + m
    return layers


def initial(seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    parts = []
    for n, m in itertools.pairwise(WIDTHS):
        parts += [rng.standard_normal(n * m) / math.sqrt(n), 0.3 * rng.standard_normal(m)]
    return np.concatenate(parts)


def wave(flat: Tensor, x: Tensor) -> Tensor:
    """All functions at a point (2,)."""
    *hidden, (w, b) = unpack(flat)
    h = x
    for weight, bias in hidden:
        h = ops.tanh(h @ weight + bias)
    return (h @ w + b) * ops.exp(-0.4 * ops.sum(x * x))


# ---- The variational problem


def grid(points: int = POINTS) -> tuple[Array, float]:
    """Points (n², 2) and the weight of each: the trapezoidal rule, which converges fast for what decays."""
    side = np.linspace(-EXTENT, EXTENT, points)
    x, y = np.meshgrid(side, side, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], 1), float((side[1] - side[0]) ** 2)


def matrices(flat: Tensor, x: Tensor, weight: float) -> tuple[Tensor, Tensor]:
    """S and A."""
    psi = ev.vmap(lambda x: wave(flat, x))(x)
    h_psi = -0.5 * ev.laplacian(lambda x: wave(flat, x))(x) + potential(x[:, :1], x[:, 1:]) * psi
    return weight * psi.T @ psi, weight * psi.T @ h_psi


def loss(flat: Tensor, x: Tensor, weight: float) -> Tensor:
    s, a = matrices(flat, x, weight)
    return ops.trace(ops.solve(s, a))


def solve(steps: int = 400) -> tuple[float, Array, int]:
    """Minimise the loss; return it, the weights, and the number of evaluations."""
    x, weight = grid()
    points = Tensor(x)
    step = ev.jit(ev.value_and_grad(lambda flat: loss(flat, points, weight)))

    def value_and_gradient(flat: Array) -> tuple[float, Array]:
        value, gradient = step(Tensor(flat))
        return value.item(), gradient.asnumpy()

    found = minimize(
        value_and_gradient, initial(), jac=True, method="L-BFGS-B", options={"maxiter": steps, "maxcor": 30}
    )
    return found.fun, found.x, found.nfev


def states(flat: Array) -> tuple[Array, Array]:
    """Energies in order, and the eigenvectors that mix the network's outputs."""
    x, weight = grid()
    s, a = (m.asnumpy() for m in matrices(Tensor(flat), Tensor(x), weight))
    return eigh((a + a.T) / 2, s)


def reference(points: int = 40) -> Array:
    """Compute the lowest energies from a matrix: sinc functions on a grid, exact to many digits."""
    side = np.linspace(-EXTENT - 0.5, EXTENT + 0.5, points)
    h, i = side[1] - side[0], np.arange(points)
    gap = i[:, None] - i[None, :]
    with np.errstate(divide="ignore"):
        kinetic = np.where(gap == 0, math.pi**2 / 3, 2.0 * (-1.0) ** gap / gap.astype(float) ** 2) / (2 * h * h)
    x, y = np.meshgrid(side, side, indexing="ij")
    one = np.eye(points)
    hamiltonian = np.kron(kinetic, one) + np.kron(one, kinetic) + np.diag(potential(x, y).ravel())
    return eigh(hamiltonian, eigvals_only=True, subset_by_index=[0, STATES - 1])


def plot(path: str, flat: Array, energies: Array, vectors: Array) -> None:
    from matplotlib.figure import Figure

    x, _ = grid(81)
    psi = ev.vmap(lambda x: wave(Tensor(flat), x))(Tensor(x)).asnumpy() @ vectors
    figure = Figure(figsize=(11, 3), layout="constrained")
    for axes, values, energy in zip(figure.subplots(1, STATES), psi.T, energies, strict=True):
        most = np.abs(values).max()
        axes.imshow(
            values.reshape(81, 81).T, origin="lower", extent=[-EXTENT, EXTENT] * 2, cmap="RdBu", vmin=-most, vmax=most
        )
        axes.set(title=f"E = {energy:.4f}", xlabel="x", ylabel="y", xlim=(-4, 4), ylim=(-4, 4))
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Minimise, print the energies beside those of the matrix, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400, help="of L-BFGS")
    parser.add_argument("--plot", metavar="FILE", default="quantum.png", help="the picture (needs matplotlib)")
    options = parser.parse_args(arguments)
    _, flat, evaluations = solve(options.steps)
    energies, vectors = states(flat)
    print(f"{evaluations} evaluations\nstate  energy     exact      error")
    for i, (energy, exact) in enumerate(zip(energies, reference(), strict=True)):
        print(f"{i:5}  {energy:.6f}   {exact:.6f}   {energy - exact:.1e}")
    if options.plot:
        plot(options.plot, flat, energies, vectors)
        print("picture:", options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
