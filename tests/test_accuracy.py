"""Errors of the elementwise functions and their derivatives in ulp, with the kernels of every instruction set.

bench/accuracy.py does the work, here with few points; it says what the bars are.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "bench" / "accuracy.py"
LEVELS = ["v2", "v3", "v4"] if platform.machine() in ("x86_64", "AMD64") else ["native"]


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="the reference needs a long double of 64 bits")
@pytest.mark.parametrize("level", LEVELS)
def test_errors_are_within_the_bars(level):
    command = [sys.executable, str(SCRIPT), "--check", "--points", "3000", "--slow-points", "300"]
    environment = {**os.environ, "EVOLUTE_SIMD": level}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if "this CPU can run" in done.stderr:
        pytest.skip(f"this CPU has no {level}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="the reference needs a long double of 64 bits")
def test_the_table_in_the_docs_is_made_of_the_results(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    spec = importlib.util.spec_from_file_location("accuracy", SCRIPT)
    accuracy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(accuracy)
    results = json.loads(accuracy.RESULTS.read_text())
    assert accuracy.TABLE.read_text() == accuracy.table(results)
    assert set(results["errors"]) == {*accuracy.UNARY, *accuracy.BINARY}
    assert results["points"] >= 1_000_000
    for name, by_dtype in results["errors"].items():
        for dtype, errors in by_dtype.items():
            for order, error in enumerate(errors):
                assert error <= accuracy.bar(name, dtype, order), (name, dtype, order)
