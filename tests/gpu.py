"""What tests of the GPU share: whether there is one, or an emulated one, tensors on it, and programs of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evolute import DeviceError, Tensor, ops

try:
    ops.zeros((1,)).to("GPU")
    MISSING = ""
except DeviceError as error:
    MISSING = str(error)
EMULATED = "emulated" in os.environ.get("EVOLUTE_CUDA_PLUGIN", "")
BLOCKING = os.environ.get("EVOLUTE_CUDA_BLOCKING", "0") not in ("", "0")

# New tensors are on the host in these tests, so that they can say what is on which device.
needs_gpu = [pytest.mark.host, pytest.mark.skipif(bool(MISSING), reason=MISSING)]
needs_emulation = [pytest.mark.host, pytest.mark.skipif(bool(MISSING) or not EMULATED, reason="for the emulated GPU")]


def on_gpu(a, dtype=None) -> Tensor:
    return Tensor(np.asarray(a, dtype)).to("GPU")


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program of its own, with nothing of the device in its environment but what is named."""
    inherited = {k: v for k, v in os.environ.items() if k != "EVOLUTE_CUDA_BLOCKING"}
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [inherited.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**inherited, "PYTHONPATH": path, **environment},
        timeout=300,
    )
