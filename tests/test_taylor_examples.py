"""The examples of Taylor mode: orbits by series, and eigenfunctions by a loss of Laplacians."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import evolute as ev
from evolute import Tensor

pytest.importorskip("scipy")


def import_example(name: str) -> ModuleType:
    """Import an example from its path: examples are not a package."""
    path = Path(__file__).resolve().parents[1] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


orbits = import_example("orbits")
quantum = import_example("quantum")


def test_derivatives_of_a_known_solution():
    """cos t, −sin t and their derivatives."""
    got = [d.tolist() for d in orbits.derivatives(orbits.oscillator, Tensor([1.0, 0.0], ev.float64), 8)]
    want = [[0, -1], [-1, 0], [0, 1], [1, 0]] * 2
    assert got == want


def test_the_oscillator_returns():
    states = orbits.integrate(orbits.oscillator, np.array([1.0, 0.0]), 2 * math.pi / 7, 70)
    t = np.arange(71) * 2 * math.pi / 7
    np.testing.assert_allclose(states, np.stack([np.cos(t), -np.sin(t)], 1), atol=1e-13)


def test_kepler_keeps_energy_and_momentum():
    start = orbits.ellipse(0.6)
    states = orbits.integrate(orbits.kepler, start, 2 * math.pi / 120, 360)
    assert orbits.drift(orbits.kepler_energy(states)).max() < 1e-13
    momentum = states[:, 0] * states[:, 3] - states[:, 1] * states[:, 2]
    np.testing.assert_allclose(momentum, momentum[0], 1e-13)
    np.testing.assert_allclose(states[-1], start, atol=1e-11)


def test_the_order_is_that_of_the_series():
    """Halving the step divides the error of a step of order p by 2^(p + 1)."""
    start = orbits.ellipse(0.3)
    fine = orbits.integrate(orbits.kepler, start, 0.05, 4)[-1]
    errors = [np.abs(orbits.integrate(orbits.kepler, start, 0.2 / n, n, order=4)[-1] - fine).max() for n in (1, 2)]
    assert 2**3.3 < errors[0] / errors[1] < 2**4.7


def test_orbits_write_their_picture(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert orbits.main(["--orbits", "2", "--plot", str(tmp_path / "orbits.png")]) == 0
    assert (tmp_path / "orbits.png").stat().st_size > 10_000
    assert "energy drifts by" in capsys.readouterr().out


def test_reference_energies():
    """Of two oscillators that are not coupled, known exactly."""
    coupled = quantum.potential
    try:
        quantum.potential = lambda x, y: 0.5 * (x * x + 2 * y * y)
        energies = quantum.reference(32)
    finally:
        quantum.potential = coupled
    root = math.sqrt(2)
    np.testing.assert_allclose(
        energies, sorted([(1 + root) / 2, (3 + root) / 2, (1 + 3 * root) / 2, (5 + root) / 2]), 1e-6
    )


def test_gradient_of_the_loss():
    rng = np.random.default_rng(1)
    x, weight = quantum.grid(12)
    flat, v, points = quantum.initial(), rng.standard_normal(quantum.initial().size), Tensor(x)
    gradient = ev.jit(ev.grad(lambda flat: quantum.loss(flat, points, weight)))(Tensor(flat)).asnumpy()
    h = 1e-5
    ends = [quantum.loss(Tensor(flat + s * h * v), points, weight).item() for s in (1, -1)]
    np.testing.assert_allclose(gradient @ v, (ends[0] - ends[1]) / (2 * h), 1e-5)


def test_energies_are_bounds_and_come_down(tmp_path, capsys):
    exact = quantum.reference()
    value, flat, _ = quantum.solve(60)
    energies, vectors = quantum.states(flat)
    assert (energies > exact - 1e-6).all()
    np.testing.assert_allclose(energies, exact, 0.03)
    np.testing.assert_allclose(value, energies.sum(), 1e-8)
    pytest.importorskip("matplotlib")
    quantum.plot(str(tmp_path / "quantum.png"), flat, energies, vectors)
    assert (tmp_path / "quantum.png").stat().st_size > 10_000
