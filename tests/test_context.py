"""Settings of the process."""

import os
import subprocess
import sys

import pytest

import evolute as ev
from evolute import DeviceError, context


@pytest.fixture(autouse=True)
def settings_restored():
    before = {key: context.get_context(key) for key in ("mode", "device_target")}
    yield
    context.set_context(**before)


def test_defaults():
    code = "import evolute as ev; print(ev.get_context('mode') == ev.PYNATIVE_MODE, ev.get_context('device_target'))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "True CPU\n"


def test_modes_have_mindspores_numbers():
    assert (context.GRAPH_MODE, context.PYNATIVE_MODE) == (0, 1)


def test_settings_change_one_by_one():
    context.set_context(mode=context.GRAPH_MODE, device_target="CPU")
    assert context.get_context("mode") == context.GRAPH_MODE
    context.set_context(device_target="CPU")
    assert context.get_context("mode") == context.GRAPH_MODE
    ev.set_context(mode=context.PYNATIVE_MODE)
    assert ev.get_context("mode") == context.PYNATIVE_MODE
    context.set_context()
    assert ev.get_context("mode") == context.PYNATIVE_MODE


def test_missing_devices():
    """A GPU may be there: what is said where it is not, test_gpu.py tests."""
    before = context.get_context("device_target")
    with pytest.raises(DeviceError, match=r"'Ascend' is not available: .*backend.*; use device_target='CPU'"):
        context.set_context(mode=context.GRAPH_MODE, device_target="Ascend")
    assert context.get_context("mode") == context.PYNATIVE_MODE
    assert context.get_context("device_target") == before
    assert issubclass(DeviceError, RuntimeError)


def test_a_build_without_cuda():
    code = "import evolute as ev; ev.set_context(device_target='GPU')"
    environment = {**os.environ, "EVOLUTE_CUDA_PLUGIN": "/nowhere/plugin.so"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (
        "DeviceError: set_context: device_target='GPU' is not available: this build of evolute has no CUDA backend"
        in (result.stderr)
    )
    assert result.stderr.rstrip().endswith("use device_target='CPU', which runs the same programs")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": 2}, r"GRAPH_MODE \(0\), context.PYNATIVE_MODE \(1\), got 2"),
        ({"mode": True}, "got True"),
        ({"mode": "graph"}, "got 'graph'"),
        ({"mode": None}, "got None"),
        ({"device_target": "TPU"}, "'CPU', 'GPU', 'Ascend', got 'TPU'"),
        ({"device_target": "cpu"}, "got 'cpu'"),
        ({"device_target": ["CPU"]}, "device_target"),
        ({"devise_target": "CPU"}, "no setting 'devise_target'; there are 'mode', 'device_target'"),
    ],
)
def test_bad_settings_change_nothing(settings, message):
    with pytest.raises(ValueError, match=message):
        context.set_context(**{"mode": context.GRAPH_MODE, **settings})
    assert context.get_context("mode") == context.PYNATIVE_MODE


def test_bad_key_of_get_context():
    with pytest.raises(ValueError, match="no setting 'device'; there are 'mode', 'device_target'"):
        context.get_context("device")
