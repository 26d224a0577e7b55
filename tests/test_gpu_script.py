"""bench/gpu/run.sh, which has one try on a machine with a GPU: all of its parts, tried on the emulated device."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gpu import needs_emulation

import evolute as ev

ROOT = Path(__file__).parent.parent
PARTS = [
    "there is a GPU",
    "kernels are made at run time",
    "kernel tests",
    "measure",
    "all tests, on the GPU",
    "guide, GRAPH_MODE",
    "guide, PYNATIVE_MODE",
    "memcheck",
    "racecheck",
]

pytestmark = needs_emulation


def run(folder, **environment):
    """Return the exit status and what the summary says of each part."""
    package = str(Path(ev.__file__).parent.parent)
    environment = {
        **os.environ,
        "DRY": "1",
        "BUILT": package,
        "PYTHON": sys.executable,
        "OUT": str(folder),
        **environment,
    }
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_CURRENT_TEST", "EVOLUTE_TEST_DEVICE"):
        environment.pop(name, None)
    result = subprocess.run([ROOT / "bench/gpu/run.sh"], env=environment, capture_output=True, text=True, timeout=500)
    rows = [line.split(" | ") for line in (folder / "summary.md").read_text().splitlines() if " s | " in line]
    assert (folder / "logs.tar.gz").exists()
    return result, {row[0].strip("| "): row[1] for row in rows}


def test_all_parts_run(tmp_path):
    result, parts = run(tmp_path)
    assert parts == dict.fromkeys(PARTS, "passed"), result.stdout
    assert result.returncode == 0
    assert "NOT MET" not in (tmp_path / "measure.md").read_text()


def test_parts_that_fail_are_reported_and_the_others_run(tmp_path):
    result, parts = run(tmp_path, EVOLUTE_EMULATED_DEVICES="0")
    assert result.returncode == 1
    assert list(parts) == PARTS
    assert parts["there is a GPU"] == parts["measure"] == "FAILED (1)"
    assert parts["memcheck"] == "passed"
    assert "there is no CUDA device" in result.stdout


def test_it_says_what_it_needs():
    result = subprocess.run([ROOT / "bench/gpu/run.sh"], env={**os.environ, "OUT": ""}, capture_output=True, text=True)
    assert result.returncode != 0
    assert "OUT: names the folder for the results" in result.stderr
