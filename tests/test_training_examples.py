"""The examples of training: that each runs and writes its picture, and that what they compute is what they say."""

import itertools
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import evolute as ev
from evolute import Tensor, ops

pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")

FOLDER = Path(__file__).parent.parent / "examples"
sys.path.insert(0, str(FOLDER))

import burgers  # noqa: E402
import newton  # noqa: E402
import potential  # noqa: E402


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("burgers", r"relative L2 error \d\.\d\de-\d\d after \d+ s"),
        ("burgers_inverse", r"viscosity 0\.\d+, in truth 0\.003183"),
        ("potential", r"held-out frames: force RMSE \d\.\d+, .* % of their size"),
        ("newton", r"Gauss–Newton: +\d+ steps"),
    ],
)
def test_example_runs_and_draws(name, says, tmp_path):
    picture = tmp_path / "picture.png"
    run = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", "--quick", "--output", picture],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "MPLBACKEND": "Agg"},
    )
    assert run.returncode == 0, run.stderr
    assert re.search(says, run.stdout), run.stdout
    assert f"wrote {picture}" in run.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "Warning" not in run.stderr, run.stderr


# ---- Burgers


def test_the_residual_is_that_of_the_equation():
    solution = burgers.Solution(burgers.network(width=6, depth=2))
    residual = burgers.Residual(solution, 0.05)
    random = np.random.default_rng(0)
    x, t = random.uniform(0.1, 0.9, (2, 5, 1))

    def u(x, t):
        return solution(Tensor(x), Tensor(t)).asnumpy()

    h = 1e-4
    u_x = (u(x + h, t) - u(x - h, t)) / (2 * h)
    u_xx = (u(x + h, t) - 2 * u(x, t) + u(x - h, t)) / h**2
    u_t = (u(x, t + h) - u(x, t - h)) / (2 * h)
    r, slope = residual(Tensor(x), Tensor(t))
    np.testing.assert_allclose(slope.asnumpy(), u_x, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(r.asnumpy(), u_t + u(x, t) * u_x - 0.05 * u_xx, rtol=1e-4, atol=1e-5)


def test_the_ansatz_has_the_initial_and_boundary_values_and_is_odd():
    solution = burgers.Solution(burgers.network(width=6, depth=2))
    x = np.linspace(-1, 1, 9).reshape(-1, 1)
    start = solution(Tensor(x), Tensor(0 * x)).asnumpy()
    np.testing.assert_allclose(start, -np.sin(np.pi * x), atol=1e-15)
    ends = solution(Tensor([[1.0], [-1.0]], ev.float64), Tensor([[0.7], [0.7]], ev.float64)).asnumpy()
    np.testing.assert_allclose(ends, 0.0, atol=1e-15)
    t = np.full_like(x, 0.6)
    both = solution(Tensor(x), Tensor(t)).asnumpy(), solution(Tensor(-x), Tensor(t)).asnumpy()
    np.testing.assert_allclose(both[0], -both[1], atol=1e-15)


def test_the_reference_solves_the_equation():
    x, t, u = burgers.reference()
    assert (x.size, t.size, u.shape) == (256, 100, (256, 100))
    u_t, u_x = np.gradient(u, t, axis=1), np.gradient(u, x, axis=0)
    r = u_t + u * u_x - burgers.VISCOSITY * np.gradient(u_x, x, axis=0)
    smooth = (abs(x) > 0.3) & (abs(x) < 0.95)
    assert abs(r[smooth, 1:-1]).max() < 0.02


# ---- The potential


def triple_sum(x):
    """Stillinger and Weber's energy, written as in their paper."""
    n, a = len(x), potential.CUTOFF
    d = x[None] - x[:, None]
    d -= potential.BOX * np.round(d / potential.BOX)
    r = np.sqrt((d**2).sum(-1))
    total = 0.0
    for i, j in itertools.combinations(range(n), 2):
        if r[i, j] < a:
            total += 7.049556277 * (0.6022245584 / r[i, j] ** 4 - 1) * math.exp(1 / (r[i, j] - a))
    for i in range(n):
        near = [j for j in range(n) if j != i and r[i, j] < a]
        for j, k in itertools.combinations(near, 2):
            cosine = d[i, j] @ d[i, k] / (r[i, j] * r[i, k])
            total += 21 * math.exp(1.2 / (r[i, j] - a) + 1.2 / (r[i, k] - a)) * (cosine + 1 / 3) ** 2
    return total


def liquid():
    random = np.random.default_rng(5)
    return potential.crystal() + 0.1 * random.standard_normal((potential.ATOMS, 3))


def test_the_model_is_stillingers_and_webers():
    energy = potential.StillingerWeber()
    assert energy(Tensor(potential.crystal())).item() / potential.ATOMS == pytest.approx(-2.0, abs=2e-3)
    x = liquid()
    assert energy(Tensor(x)).item() == pytest.approx(triple_sum(x), rel=1e-12)


@pytest.mark.parametrize("make", [potential.StillingerWeber, potential.Potential])
def test_energies_do_not_change_when_all_is_moved_or_exchanged(make):
    energy = make()
    x = liquid().astype(np.float32 if make is potential.Potential else np.float64)
    shifted = x + np.array([0.3, -2.0, 7.0], x.dtype)
    exchanged = x[np.random.default_rng(0).permutation(len(x))]
    turned = x[:, [1, 2, 0]] * np.array([1, -1, 1], x.dtype)  # a symmetry of the box
    here = energy(Tensor(x)).item()
    for other in (shifted, exchanged, turned):
        assert energy(Tensor(other)).item() == pytest.approx(here, rel=1e-5)


def test_forces_are_the_slopes_of_the_energy():
    energy, x, h = potential.StillingerWeber(), liquid(), 1e-5
    slopes = ev.grad(energy)(Tensor(x)).asnumpy()
    np.testing.assert_allclose(slopes.sum(0), 0.0, atol=1e-10)
    for i, c in ((0, 0), (17, 1), (63, 2)):
        there, back = x.copy(), x.copy()
        there[i, c] += h
        back[i, c] -= h
        difference = (energy(Tensor(there)).item() - energy(Tensor(back)).item()) / (2 * h)
        assert slopes[i, c] == pytest.approx(difference, rel=1e-5, abs=1e-6)


def test_dynamics_keep_the_energy():
    random = np.random.default_rng(1)
    velocities = 0.2 * random.standard_normal((potential.ATOMS, 3))
    dynamics = potential.Dynamics(potential.StillingerWeber(), potential.crystal(), velocities)
    totals = dynamics.constant_energy(200)
    kinetic = 0.5 * (velocities**2).sum()
    assert totals[0] == pytest.approx(-2.0 * potential.ATOMS + kinetic, rel=1e-3)
    assert np.ptp(totals) < 1e-3 * kinetic


def test_langevin_dynamics_reach_their_temperature():
    random = np.random.default_rng(2)
    dynamics = potential.Dynamics(potential.StillingerWeber(), potential.crystal(), np.zeros((potential.ATOMS, 3)))
    kinetic = []
    dynamics.constant_temperature(500, random, 0.05)
    for _ in range(40):
        dynamics.constant_temperature(25, random, 0.05)
        kinetic.append((dynamics.v.asnumpy() ** 2).mean())
    assert np.mean(kinetic) == pytest.approx(0.05, rel=0.1)


# ---- Newton


def test_the_exact_solution_has_no_residual():
    class Exact(newton.Poisson):
        def solution(self, x):
            return ops.sin(2 * math.pi * x) + 0.25 * ops.sin(8 * math.pi * x)

    x = np.linspace(0, 1, 7).reshape(-1, 1)
    np.testing.assert_allclose(Exact(4)(Tensor(x)).asnumpy(), 0.0, atol=1e-12)
    np.testing.assert_allclose(Exact(4).solution(Tensor(x)).asnumpy(), newton.exact(x), atol=1e-14)


def test_gauss_newton_beats_adam_on_the_same_number_of_steps():
    x = Tensor((np.arange(64) + 0.5).reshape(-1, 1) / 64)
    begin = newton.runs(24, x)
    smallest = {}
    for name in ("Gauss–Newton", "Adam"):
        step = begin[name]()
        smallest[name] = min(step().item() for _ in range(100))
    assert smallest["Gauss–Newton"] < 0.1 * smallest["Adam"]
