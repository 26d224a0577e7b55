"""Settings of the whole test suite.

With ``EVOLUTE_TEST_DEVICE=GPU`` all tests run with new tensors on the GPU. ``EVOLUTE_CUDA_PLUGIN`` can name another
plug-in than the one beside the extension: `libevolute_cuda_emulated.so` of the C++ tests runs kernels without a GPU.
"""

import importlib.util
import os
import re
from pathlib import Path

import pytest

if importlib.util.find_spec("hypothesis") is None:
    import without_hypothesis

    without_hypothesis.install()
from hypothesis import HealthCheck, settings

# Where a package is missing, modules that need it are left out, by themselves or by what they import.
MISSING = [name for name in ("mpmath", "scipy") if importlib.util.find_spec(name) is None]
NEED_IT = re.compile(rf"^(import|from) ({'|'.join([*MISSING, 'reference', 'cells', 'burgers'])})\b", re.MULTILINE)
collect_ignore = [p.name for p in Path(__file__).parent.glob("test_*.py") if MISSING and NEED_IT.search(p.read_text())]

DEVICE = os.environ.get("EVOLUTE_TEST_DEVICE", "CPU")

# NumPy's linear algebra is the reference for small matrices, on which its threads only get in each other's way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
if DEVICE != "CPU":  # errors of kernels are then raised by the call that they belong to, as on the CPU
    os.environ.setdefault("EVOLUTE_CUDA_BLOCKING", "1")

# The same examples in every run: a failure is that of the change under test. There is no time limit for one example, as
# machines differ. To look for new examples: pytest --hypothesis-profile=search
SLOW_DATA = [HealthCheck.too_slow]
settings.register_profile(
    "evolute", deadline=None, derandomize=True, database=None, max_examples=50, suppress_health_check=SLOW_DATA
)
settings.register_profile("search", deadline=None, max_examples=2000, suppress_health_check=SLOW_DATA)
settings.load_profile("evolute")


def pytest_configure(config):
    config.addinivalue_line("markers", "host: about the host, where it runs whatever device is tested")
    if DEVICE != "CPU":
        import evolute as ev

        ev.set_context(device_target=DEVICE)


@pytest.fixture(autouse=True)
def _device(request):
    if DEVICE == "CPU":
        yield
        return
    import evolute as ev

    if request.node.get_closest_marker("host"):
        ev.set_context(device_target="CPU")
    yield
    ev.set_context(device_target=DEVICE)  # whatever the test has done
