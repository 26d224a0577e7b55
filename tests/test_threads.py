"""Threads of kernels: how many, results that do not depend on it, and living beside fork and other threads."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import evolute as ev
from evolute import Tensor, ops
from evolute import _evolute as extension

ROWS, COLUMNS = 400, 500


@pytest.fixture(autouse=True)
def _restore():
    before = ev.num_threads()
    yield
    ev.set_num_threads(before)


def slopes(x, w):
    return ev.grad(lambda x, w: ops.sum(ops.tanh(ops.matmul(x, w)) * ops.exp(x)), (0, 1))(x, w)


def operands():
    rng = np.random.default_rng(3)
    return Tensor(rng.normal(size=(ROWS, COLUMNS))), Tensor(rng.normal(size=(COLUMNS, COLUMNS)))


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout.strip(), done.stderr


def test_number_of_threads():
    ev.set_num_threads(3)
    assert ev.num_threads() == 3
    ev.set_num_threads(n=1)
    assert ev.num_threads() == 1


@pytest.mark.parametrize("bad", [0, -1])
def test_bad_number(bad):
    with pytest.raises(ValueError, match=f"set_num_threads: needs a positive number, got {bad}"):
        ev.set_num_threads(bad)


@pytest.mark.parametrize("bad", [1.5, "2", None, 2**40])
def test_not_a_number(bad):
    with pytest.raises(TypeError):
        ev.set_num_threads(bad)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs an affinity mask")
def test_default_is_the_affinity_mask():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import evolute; print(evolute.num_threads())"
    )
    assert run(code, EVOLUTE_NUM_THREADS="")[:2] == (0, "1")


def test_environment_variable():
    code = "import evolute; print(evolute.num_threads())"
    assert run(code, EVOLUTE_NUM_THREADS="5")[:2] == (0, "5")
    status, _, error = run(code, EVOLUTE_NUM_THREADS="many")
    assert status == 1
    assert "ValueError: EVOLUTE_NUM_THREADS=many: must be a positive integer" in error


def test_results_do_not_depend_on_threads():
    x, w = operands()
    ev.set_num_threads(1)
    expected = [g.asnumpy() for g in slopes(x, w)]
    for n in (2, 3):
        ev.set_num_threads(n)
        for got, want in zip(slopes(x, w), expected, strict=True):
            assert np.array_equal(got.asnumpy(), want)


def test_several_python_threads():
    ev.set_num_threads(3)
    x, w = operands()
    compiled = ev.jit(slopes)
    expected = slopes(x, w)[0].asnumpy()
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda i: (compiled if i % 2 else slopes)(x, w)[0].asnumpy(), range(16)):
            assert np.allclose(got, expected, rtol=1e-12)


def result_of_fork(work):
    """What `work()` gives in a forked process, which has a minute for it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, repr(work()).encode())
        finally:
            os._exit(0)
    os.close(write)
    killer = threading.Timer(60, os.kill, (child, 9))
    killer.start()
    with os.fdopen(read) as pipe:
        text = pipe.read()
    killer.cancel()
    os.waitpid(child, 0)
    return text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_fork():
    ev.set_num_threads(3)
    x, w = operands()

    def work():
        return float(slopes(x, w)[0].sum())

    expected = repr(work())  # the pool is warm, its threads still spin
    assert result_of_fork(work) == expected
    assert result_of_fork(lambda: result_of_fork(work)) == repr(expected)
    assert repr(work()) == expected


@pytest.mark.host  # a fork has no GPU
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_fork_while_another_thread_computes():
    ev.set_num_threads(3)
    x, w = operands()
    compiled = ev.jit(lambda x, w: slopes(x, w)[0].sum())
    expected = repr(float(compiled(x, w)))
    stop = threading.Event()

    def compute():  # without the interpreter lock
        while not stop.is_set():
            compiled(x, w)

    other = threading.Thread(target=compute)
    other.start()
    try:
        for _ in range(10):
            assert result_of_fork(lambda: float(compiled(x, w))) == expected
    finally:
        stop.set()
        other.join()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the dynamic section")
def test_no_openmp_runtime():
    listing = subprocess.run(["ldd", extension.__file__], capture_output=True, text=True, check=True).stdout
    assert not [line for line in listing.splitlines() if "omp" in line or "tbb" in line]
