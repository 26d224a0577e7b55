"""What tests of the GPU share: whether there is one, or an emulated one, and tensors on it."""

from __future__ import annotations

import os

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
