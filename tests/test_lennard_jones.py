"""The Lennard-Jones example: energies as published, and vibrations against closed forms and differences."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import evolute as ev
from evolute import Tensor

pytest.importorskip("scipy")


def import_example():
    path = Path(__file__).resolve().parents[1] / "examples" / "lennard_jones.py"
    spec = importlib.util.spec_from_file_location("lennard_jones", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


lj = import_example()


@pytest.mark.parametrize("atoms", [4, 5, 7])
def test_lowest_energies(atoms):
    cluster = lj.search(atoms, 12)
    assert abs(cluster.energy - lj.LOWEST[atoms]) < 1e-6
    assert cluster.largest_force < 1e-12
    assert np.abs(cluster.eigenvalues[: lj.RIGID]).max() < 1e-10
    assert cluster.eigenvalues[lj.RIGID] > 1


def test_pair_vibrates_as_its_well_says():
    """The curvature at the minimum 2^(1/6) is 72 / 2^(1/3); both atoms move, so ω² is twice that."""
    cluster = lj.search(2, 4)
    assert cluster.energy == pytest.approx(-1, abs=1e-14)
    curvature = 72 / 2 ** (1 / 3)
    np.testing.assert_allclose(cluster.frequencies, [np.sqrt(2 * curvature)], rtol=1e-12)


def test_icosahedron_vibrates_in_groups_of_its_symmetry():
    golden = (1 + 5**0.5) / 2
    corners = [(0, a, b * golden) for a in (-1, 1) for b in (-1, 1)]
    ico = np.array([np.roll(c, k) for k in range(3) for c in corners] + [(0, 0, 0)], float)
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, ico.shape)
    cluster = lj.polish(lj.relax(0.58 * ico + noise)[0])
    assert cluster.energy == pytest.approx(lj.LOWEST[13], abs=1e-6)
    groups = lj.levels(cluster.frequencies)
    assert sum(n for _, n in groups) == 33
    assert {n for _, n in groups} <= {1, 3, 4, 5}
    assert [n for _, n in groups].count(1) == 1  # one breathes


def test_hessian_against_differences_of_forces():
    x = np.random.default_rng(1).uniform(-1.5, 1.5, (5, 3)) * 1.2
    gradient = ev.grad(lj.energy)
    h = 1e-5
    columns = [
        (gradient(Tensor(x + e)).asnumpy() - gradient(Tensor(x - e)).asnumpy()).ravel() / (2 * h)
        for e in h * np.eye(15).reshape(15, 5, 3)
    ]
    exact = lj.hessian(Tensor(x)).asnumpy().reshape(15, 15)
    np.testing.assert_allclose(exact, np.stack(columns, 1), rtol=1e-4, atol=1e-6 * np.abs(exact).max())


def test_program(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "cluster.png"
    assert lj.main(["--atoms", "6", "--starts", "10", "--plot", str(picture)]) == 0
    assert picture.stat().st_size > 10_000
    out = capsys.readouterr().out
    assert "energy         -12.712062, lowest known -12.712062" in out
    assert "frequencies" in out
