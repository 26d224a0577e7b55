"""What goes wrong on the GPU: said by the next call that waits, naming the operation; and the process goes on.

On the emulated device, each in a process of its own, as a kernel that fails takes the device with it.
"""

from __future__ import annotations

import pytest
from gpu import needs_emulation, run

pytestmark = needs_emulation

PROGRAM = """
import gc
import numpy as np
import evolute as ev
from evolute import DeviceError, Tensor, ops
from emulation import library, pending

device = library()
x = Tensor(np.array([1.0, 2.0])).to("GPU")

def said(look):
    try:
        look()
    except DeviceError as error:
        return str(error)
    return "nothing"
"""

FAILED = "an operation on the GPU failed: an illegal memory access was encountered; asked for since the last wait: "
HINT = ". Set EVOLUTE_CUDA_BLOCKING=1 to learn which one it was"
END = ". This process cannot use the GPU any more"


def lines(code: str, **environment: str) -> list[str]:
    result = run(PROGRAM + code, **environment)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout.splitlines()


FAIL_EAGERLY = """
ev.set_context(device_target="GPU")
ev._evolute.synchronize()
device.emulated_fail(2)
y = ops.cos(ops.sin(x))
z = ops.exp(y)
print(pending() > 0)
print(said(LOOK))
"""


@pytest.mark.parametrize(
    "look",
    ["z.asnumpy", "lambda: float(z[0])", "lambda: print(z)", "ev._evolute.synchronize", "lambda: ops.nonzero(z)"],
)
def test_a_kernel_that_fails(look):
    """Nothing is said when it is asked for; whoever waits next is told what has been asked for since the last wait."""
    late, message = lines(FAIL_EAGERLY.replace("LOOK", look), EVOLUTE_EMULATED_DEFER="0")
    assert late == "True"
    assert message.startswith(f"{FAILED}sin, cos, exp")
    assert message.endswith(HINT + END)


def test_the_process_goes_on():
    """Whatever asks the device again is told the same; the CPU works; nothing fails when tensors go away."""
    code = (
        FAIL_EAGERLY.replace("LOOK", "z.asnumpy")
        + """
first = said(z.asnumpy)
for again in (x.asnumpy, lambda: x + 1, lambda: ev.jit(ops.sin)(x), x.__dlpack__, lambda: ops.ones((3,)) + 1,
              lambda: Tensor([1.0, 2.0]), lambda: x[0].item(), lambda: ops.zeros((300, 300)) + x[0],
              ev._evolute.synchronize):
    assert said(again) == first, said(again)
del y, z
gc.collect()
ev.set_context(device_target="CPU")
print(ops.sum(Tensor([1.0, 2.0])).item(), ev.grad(ops.sin)(Tensor(0.0)).item())
"""
    )
    assert lines(code, EVOLUTE_EMULATED_DEFER="0")[2:] == ["3.0 1.0"]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_recorded_function_that_fails(nth):
    """It is one launch: it is named, and what is in it."""
    code = f"""
f = ev.jit(lambda x: ops.matmul(ops.reshape(ops.sin(x) * x, (1, 2)), ops.reshape(ops.cumsum(x), (2, 1))))
for _ in range(5):
    print(f(x).item())
device.emulated_fail({nth})
z = f(x)
print(said(z.asnumpy))
print(said(lambda: f(x)) == said(z.asnumpy))
"""
    *values, message, same = lines(code, EVOLUTE_EMULATED_DEFER="1")
    assert len(set(values)) == 1
    assert message == f"{FAILED}compiled function (fused loop, cumsum, matmul), copy{HINT}{END}"
    assert same == "True"


@pytest.mark.parametrize(
    ("nth", "name", "call"),
    [
        (1, "sin", "ops.sin(x)"),
        (2, "cos", "ops.cos(ops.sin(x))"),
        (3, "compiled function (fused loop, cumsum)", "ops.cos(ops.sin(x)), f(x)"),
    ],
)
def test_blocking_names_the_operation(nth, name, call):
    """With EVOLUTE_CUDA_BLOCKING=1; a recorded function is one of them."""
    code = f"""
f = ev.jit(lambda x: ops.cumsum(ops.sin(x) * x))
for _ in range(5):
    f(x)
device.emulated_fail({nth})
print(said(lambda: ({call})))
"""
    assert lines(code, EVOLUTE_EMULATED_DEFER="0", EVOLUTE_CUDA_BLOCKING="1") == [FAILED + name + END]


def test_a_launch_that_is_refused():
    """The call that asked for it says so; nothing else is touched."""
    code = """
y = ops.cos(ops.sin(x))
device.emulated_refuse(2)
print(said(lambda: ops.cos(ops.sin(x))))
print(np.allclose(ops.exp(y).asnumpy(), np.exp(np.cos(np.sin([1.0, 2.0])))))
device.emulated_refuse(1)
f = ev.jit(lambda x: ops.sin(x) * x)
print(said(lambda: f(x)))
print(np.allclose(f(x).asnumpy(), np.sin([1.0, 2.0]) * [1.0, 2.0]))
"""
    for seed in ("-1", "0"):
        assert lines(code, EVOLUTE_EMULATED_DEFER=seed) == [
            "cos: CUDA refused it: too many resources requested for launch",
            "True",
            "fused loop: CUDA refused it: too many resources requested for launch",
            "True",
        ]


def test_a_launch_that_is_refused_while_it_is_recorded():
    """Nothing of the recording runs; the function can be called again."""
    code = """
f = ev.jit(lambda x: ops.cumsum(ops.sin(x) * x))
w = f(x)
del w
device.emulated_refuse(2)
print(said(lambda: f(x)))
for _ in range(4):
    print(np.allclose(f(x).asnumpy(), np.cumsum(np.sin([1.0, 2.0]) * [1.0, 2.0])))
"""
    refused, *fine = lines(code, EVOLUTE_EMULATED_DEFER="0")
    assert refused == "cumsum: CUDA refused it: too many resources requested for launch"
    assert fine == ["True"] * 4


def test_bad_indices_are_said_at_the_next_wait():
    code = """
y = ops.take(x, Tensor([0, 5]).to("GPU"), 0) + 1
z = ops.sin(y)
for look in (z.asnumpy, x.asnumpy):
    try:
        print(look())
    except IndexError as error:
        print(error)
"""
    assert lines(code, EVOLUTE_EMULATED_DEFER="0") == [
        "gather: index 5 is out of range for axis 0 of length 2",
        "[1. 2.]",
    ]


OUT_OF_MEMORY = """
x = ev.Tensor(np.zeros(1000, np.float32)).to("GPU")
big = ev.Tensor(np.zeros(5000, np.float32)).to("GPU")
message = said(lambda: x.reshape((1000, 1)) + big)
print(message)
print((x + 1).asnumpy().sum())
f = ev.jit(lambda x, b: ops.sum(x.reshape((1000, 1)) @ b.reshape((1, 5000))))
print(said(lambda: f(x, big)) == message)
"""


def test_out_of_memory():
    """What was asked for, and what is free; everything else works as before."""
    for seed in ("-1", "0"):
        message, rest, again = lines(OUT_OF_MEMORY, EVOLUTE_EMULATED_BYTES=str(8 << 20), EVOLUTE_EMULATED_DEFER=seed)
        assert message.startswith("the GPU is out of memory: asked for 19.1 MiB, free are ")
        assert " of 8.0 MiB, and tensors of this process hold 0." in message
        assert (rest, again) == ("1000.0", "True")


def test_cached_memory_is_given_back_before_there_is_too_little():
    code = """
for n in (300_000, 500_000, 700_000, 900_000, 1_100_000):
    y = ev.Tensor(np.ones(n, np.float32)).to("GPU") * 2
    print(y.asnumpy().sum() == 2 * n)
    del y
"""
    assert lines(code, EVOLUTE_EMULATED_BYTES=str(12 << 20), EVOLUTE_EMULATED_DEFER="0") == ["True"] * 5
