"""The package as a whole: what it exports, its documentation's examples, and how fast it is imported."""

import doctest
import importlib
import math
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import evolute as ev
from evolute import dtype as mstype

# The extension and the plug-in for CUDA, which lies beside it where there is nvcc, are not written in Python.
COMPILED = ("evolute._evolute", "evolute.libevolute_cuda")
MODULES = ["evolute"] + [m.name for m in pkgutil.walk_packages(ev.__path__, "evolute.") if m.name not in COMPILED]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_the_documentation(name):
    flags = doctest.ELLIPSIS | doctest.IGNORE_EXCEPTION_DETAIL
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=flags)
    ev.set_context(mode=ev.PYNATIVE_MODE)
    assert failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_exports_exist(name):
    module = importlib.import_module(name)
    exported = getattr(module, "__all__", [])
    assert len(set(exported)) == len(exported)
    for export in exported:
        assert hasattr(module, export)


def test_version_is_that_of_the_project():
    project = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    assert ev.__version__ == re.search(r'^version = "(.*)"$', project, re.MULTILINE)[1]


def test_example_of_the_readme():
    text = (Path(__file__).parent.parent / "README.md").read_text()
    code = re.search(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[1]
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    x, y = 1.0, 2.0
    hessian = [[-math.sin(x) * y**2, math.cos(x) * 2 * y], [math.cos(x) * 2 * y, 2 * math.sin(x)]]
    numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", run.stdout)]
    expected = [math.cos(x) * y**2, 2 * math.sin(x) * y, *hessian[0], *hessian[1], *hessian[0], *hessian[1]]
    np.testing.assert_allclose(numbers, expected, rtol=1e-7)


def test_errors_are_of_the_documented_kinds():
    assert issubclass(ev.ShapeError, ValueError)
    assert issubclass(ev.DTypeError, TypeError)
    assert issubclass(ev.DeviceError, RuntimeError)
    assert issubclass(ev.TraceError, RuntimeError)
    assert issubclass(ev.UnknownValueError, ev.TraceError)


def test_dtypes_convert():
    for t, np_type, py_type in [
        (mstype.bool_, np.bool_, bool),
        (mstype.int32, np.int32, int),
        (mstype.int64, np.int64, int),
        (mstype.float32, np.float32, float),
        (mstype.float64, np.float64, float),
    ]:
        assert mstype.dtype_to_nptype(t) is np_type
        assert mstype.dtype_to_pytype(t) is py_type
        assert mstype.pytype_to_dtype(np_type) == t
    assert mstype.pytype_to_dtype(float) == mstype.float32
    with pytest.raises(ev.DTypeError, match="complex"):
        mstype.pytype_to_dtype(complex)


def test_import_brings_no_heavy_modules():
    code = "import sys, numpy; before = set(sys.modules); import evolute; print(*(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"asyncio", "dataclasses", "importlib.metadata", "numpy.typing", "safetensors", "typing_extensions"}
    assert not heavy & set(run.stdout.split())
