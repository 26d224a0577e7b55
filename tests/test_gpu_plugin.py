"""The CUDA plug-in is loaded by the first call that asks for a GPU, and says what is missing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from emulation import PLUGIN
from gpu import needs_emulation, run

import evolute as ev

MAPPED = """
import evolute as ev
from evolute import Tensor, nn, ops

def loaded():
    with open("/proc/self/maps") as maps:
        return "cuda" in maps.read()
"""


@pytest.fixture(params=["named", "beside the extension"])
def package(request, tmp_path):
    """An environment in which the plug-in is there, by EVOLUTE_CUDA_PLUGIN or as it is installed."""
    if request.param == "named":
        return {}
    here = Path(ev.__file__).parent
    shutil.copytree(here, tmp_path / "evolute", symlinks=False, ignore=shutil.ignore_patterns("libevolute_cuda*"))
    shutil.copy(PLUGIN, tmp_path / "evolute" / "libevolute_cuda.so")
    return {"EVOLUTE_CUDA_PLUGIN": "", "PYTHONPATH": str(tmp_path)}


class TestLoading:
    pytestmark = needs_emulation

    def test_work_on_the_cpu_does_not_load_it(self, package):
        code = """
import numpy as np
x = Tensor(np.ones((4, 4), np.float32))
ev.set_context(device_target="CPU", mode=ev.GRAPH_MODE)
print(ev.jit(ev.grad(lambda x: ops.sum(ops.sin(x) @ x)))(x).to("CPU").asnumpy().shape, x.device)
np.from_dlpack(x), ev.from_dlpack(np.ones(3)), x.__dlpack_device__(), repr(x), ev._evolute.synchronize()
ev._evolute.release_cached_memory()
net = nn.Dense(4, 1)
nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), nn.Adam(net.trainable_params()))(x, x[:, :1])
try:
    ev.set_context(device_target="Ascend")
except ev.DeviceError:
    pass
print(loaded())
"""
        result = run(MAPPED + code, **package)
        assert result.stdout == "(4, 4) CPU\nFalse\n", result.stderr

    @pytest.mark.parametrize(
        "ask",
        [
            "ev.set_context(device_target='GPU')",
            "ev.Tensor([1.0]).to('GPU')",
            "ops.ones((2,)).to('GPU')",
        ],
    )
    def test_asking_for_a_gpu_loads_it(self, package, ask):
        result = run(f"{MAPPED}\nprint(loaded())\n{ask}\nprint(loaded())", **package)
        assert result.stdout == "False\nTrue\n", result.stderr


ASKS = {"ev.set_context(device_target='GPU')": "set_context: device_target='GPU' is not available: ",
        "ev.Tensor([1.0, 2.0]).to('GPU')": ""}  # fmt: skip


def refusal(ask: str, **environment: str) -> str:
    """Return the text of the DeviceError, and see that work goes on on the CPU, and that asking again says the same."""
    code = f"""
import evolute as ev
def said():
    try:
        {ask}
    except ev.DeviceError as error:
        return str(error)
first = said()
assert said() == first
assert ev.get_context("device_target") == "CPU"
assert (ev.Tensor([1.0]) + 1).item() == 2
print(first)
"""
    result = run(code, **environment)
    assert result.returncode == 0, result.stderr
    return result.stdout.rstrip("\n")


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """Libraries that are no plug-in of this version."""
    folder = tmp_path_factory.mktemp("plugins")
    compiler = shutil.which("c++") or shutil.which("cc")
    if not compiler:
        pytest.skip("there is no compiler")
    (folder / "other.cpp").write_text("int x;")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "other.so", folder / "other.cpp"], check=True)
    (folder / "broken.so").write_text("not a library")
    return folder


@pytest.mark.parametrize("ask", ASKS)
def test_no_plugin(ask):
    said = refusal(ask, EVOLUTE_CUDA_PLUGIN="/nowhere/x.so")
    reason = "this build of evolute has no CUDA backend (there is no /nowhere/x.so); build it where nvcc is, with "
    assert said.startswith(ASKS[ask] + reason + "EVOLUTE_CUDA=ON")


@pytest.mark.parametrize("ask", ASKS)
def test_no_plugin_at_all(ask, strangers):
    said = refusal(ask, EVOLUTE_CUDA_PLUGIN=str(strangers / "other.so"))
    assert f"the CUDA backend cannot be loaded: {strangers / 'other.so'} is no plug-in of evolute" in said
    said = refusal(ask, EVOLUTE_CUDA_PLUGIN=str(strangers / "broken.so"))
    assert f"the CUDA backend cannot be loaded: {strangers / 'broken.so'}: " in said


DRIVER = [
    ({"EVOLUTE_EMULATED_DRIVER": "0"}, "no CUDA driver is installed (libcuda.so.1 is missing)"),
    ({"EVOLUTE_EMULATED_DRIVER": "11040"}, "the CUDA driver is too old: it is for CUDA 11.4; install a newer one"),
    ({"EVOLUTE_EMULATED_DEVICES": "0"}, "there is no CUDA device"),
    (
        {"EVOLUTE_EMULATED_MAJOR": "7"},
        "the CUDA device emulated has compute capability 7.0; the kernels need 8.0 or newer",
    ),
]


class TestDriver:
    pytestmark = needs_emulation

    @pytest.mark.parametrize("ask", ASKS)
    @pytest.mark.parametrize(("environment", "reason"), DRIVER)
    def test_what_is_missing(self, ask, environment, reason):
        assert refusal(ask, **environment).startswith(ASKS[ask] + reason)

    def test_a_plugin_of_another_version(self, tmp_path):
        """The version is a string in the plug-in, which is changed here."""
        version = ev.__version__.encode()
        plugin = tmp_path / "libevolute_cuda_emulated.so"
        text = Path(PLUGIN).read_bytes()
        other = b"9" + version[1:]
        assert version + b"\0" in text
        plugin.write_bytes(text.replace(version + b"\0", other + b"\0"))
        said = refusal("ev.set_context(device_target='GPU')", EVOLUTE_CUDA_PLUGIN=str(plugin))
        reason = f"the CUDA backend is of version {other.decode()}, evolute of {version.decode()}; build them together"
        assert reason in said

    def test_what_was_missing_may_come(self):
        code = """
import os
import evolute as ev
os.environ["EVOLUTE_EMULATED_DEVICES"] = "0"
try:
    ev.set_context(device_target="GPU")
except ev.DeviceError as error:
    print(error)
os.environ["EVOLUTE_EMULATED_DEVICES"] = "1"
ev.set_context(device_target="GPU")
print(ev.ops.ones((2,)).device)
"""
        first, last = run(code).stdout.splitlines()
        assert "there is no CUDA device" in first
        assert last == "GPU:0"
