"""The NIST regression example must reach the certified digits from every start."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("scipy")

# Observations and parameters of each problem, as NIST's index of the collection lists them.
SIZES = {
    "Bennett5": (154, 3),
    "BoxBOD": (6, 2),
    "Chwirut1": (214, 3),
    "Chwirut2": (54, 3),
    "DanWood": (6, 2),
    "ENSO": (168, 9),
    "Eckerle4": (35, 3),
    "Gauss1": (250, 8),
    "Gauss2": (250, 8),
    "Gauss3": (250, 8),
    "Hahn1": (236, 7),
    "Kirby2": (151, 5),
    "Lanczos1": (24, 6),
    "Lanczos2": (24, 6),
    "Lanczos3": (24, 6),
    "MGH09": (11, 4),
    "MGH10": (16, 3),
    "MGH17": (33, 5),
    "Misra1a": (14, 2),
    "Misra1b": (14, 2),
    "Misra1c": (14, 2),
    "Misra1d": (14, 2),
    "Nelson": (128, 3),
    "Rat42": (9, 3),
    "Rat43": (15, 4),
    "Roszman1": (25, 4),
    "Thurber": (37, 7),
}


def import_example() -> ModuleType:
    """Import the example from its path: examples are not a package."""
    path = Path(__file__).resolve().parents[1] / "examples" / "nist_strd.py"
    spec = importlib.util.spec_from_file_location("nist_strd", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


nist = import_example()
PROBLEMS = {problem.name: problem for problem in nist.load_all()}


def test_all_problems_are_there() -> None:
    assert set(PROBLEMS) == set(SIZES) == set(nist.MODELS)


@pytest.mark.parametrize("name", SIZES)
def test_parsing(name: str) -> None:
    problem = PROBLEMS[name]
    observations, parameters = SIZES[name]
    assert problem.y.shape == (observations,)
    assert problem.x.shape == ((2, observations) if name == "Nelson" else (observations,))
    assert problem.starts.shape == (2, parameters)
    assert problem.certified.shape == problem.deviation.shape == (parameters,)
    assert problem.level in {"Lower", "Average", "Higher"}
    for values in (problem.x, problem.y, problem.starts, problem.certified, problem.deviation):
        assert values.dtype == np.float64
        assert np.isfinite(values).all()


@pytest.mark.parametrize("name", SIZES)
def test_model_at_certified_parameters(name: str) -> None:
    """The model and the data are the right ones: at the certified parameters they give the certified sum."""
    if name == "Lanczos1":
        pytest.skip("its sum of squares, 1e-25, is decided by the digits that NIST rounded off the parameters")
    problem = PROBLEMS[name]
    residual, _, _ = nist.derivatives(problem)
    r = residual(problem.certified)
    assert r.dtype == np.float64
    np.testing.assert_allclose(r @ r, problem.rss, rtol=1e-8)


@pytest.mark.filterwarnings("error")  # an overflow in a rejected step is no news for the user
@pytest.mark.parametrize("start", [1, 2])
@pytest.mark.parametrize("name", SIZES)
def test_certified_digits(name: str, start: int) -> None:
    problem = PROBLEMS[name]
    fit = nist.solve(problem, start)
    assert nist.digits(fit.parameters, problem.certified) >= 9
    assert fit.seconds < 30
    if name != "Lanczos1":  # fits to 1e-14, the rounding of the data: sum and deviations have no exact digits
        assert nist.digits(fit.rss, problem.rss) >= 8
        assert nist.digits(nist.standard_deviations(problem, fit.parameters), problem.deviation) >= 7


def test_digits() -> None:
    certified = np.array([1.0, -200.0])
    assert nist.digits(certified, certified) == 11
    assert nist.digits(certified * [1, 1 + 1e-6], certified) == pytest.approx(6)
    assert nist.digits(-certified, certified) == pytest.approx(np.log10(0.5))
    assert np.isnan(nist.digits(certified * np.nan, certified))


def test_newton_stops_where_it_cannot_help() -> None:
    """Far from a solution, or where the Hessian is indefinite, the parameters come back unchanged."""
    functions = nist.derivatives(PROBLEMS["Eckerle4"])
    far = PROBLEMS["Eckerle4"].starts[0]
    b, hessians = nist.newton(far, *functions)
    np.testing.assert_array_equal(b, far)
    assert hessians == 1


def test_command_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # the data are found from anywhere
    begin = time.perf_counter()
    assert nist.main(["--problem", "DanWood", "--problem", "Misra1a"]) == 0
    assert time.perf_counter() - begin < 60
    out = capsys.readouterr().out
    assert "DanWood" in out
    assert "Misra1a" in out
    assert "BoxBOD" not in out
    assert "4 of 4 starts reach" in out


def test_crash_is_reported(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(problem: object, start: int) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(nist, "solve", broken)
    assert nist.main(["--problem", "DanWood"]) == 1
    assert "boom" in capsys.readouterr().out
