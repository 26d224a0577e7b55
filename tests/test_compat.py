"""MindSpore programs on Evolute: the recorded cases, the import hook, and the guide's examples with their imports."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import evolute as ev
from evolute.compat import mindspore as compat_mindspore

TESTS = Path(__file__).parent
RECORDED = json.loads((TESTS / "compat" / "reference.json").read_text())
MODES = {"graph": ev.GRAPH_MODE, "pynative": ev.PYNATIVE_MODE}

sys.path.insert(0, str(TESTS))
compat_mindspore.install()
for part in ("ops", "grad", "cells"):
    importlib.import_module(f"compat.cases_{part}")
from compat.cases import CASES  # noqa: E402
from compat.differences import DIFFERENCES  # noqa: E402
from compat.results import describe  # noqa: E402

mindspore = importlib.import_module("mindspore")
compat_mindspore.uninstall()

ON_HOST = {"tensors/printed/context": pytest.mark.host}  # prints the device


@pytest.fixture(autouse=True)
def installed():
    compat_mindspore.install()
    yield
    compat_mindspore.uninstall()
    ev.set_context(mode=ev.PYNATIVE_MODE)


def failed(result):
    return isinstance(result, dict) and set(result) == {"error"}


def wanted(name, mode):
    """Return what MindSpore gave; where it compiles a case in one of its modes only, what it gave in that one."""
    result = RECORDED["results"][name]
    both = result if isinstance(result, dict) and set(result) == set(MODES) else dict.fromkeys(MODES, result)
    here, there = both[mode], both["pynative" if mode == "graph" else "graph"]
    return there if failed(here) else here


def same(a, b):
    if isinstance(a, float) or isinstance(b, float):
        return isinstance(a, (int, float)) and isinstance(b, (int, float)) and abs(a - b) <= 2e-5 * max(1.0, abs(b))
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of control flow on values, which runs eagerly
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [pytest.param(name, marks=ON_HOST.get(name, ())) for name in CASES])
def test_case(name, mode):
    mindspore.set_context(mode=MODES[mode])
    result = describe(CASES[name])
    expected = wanted(name, mode)
    if name.startswith("errors/"):
        assert failed(result), result
    if name not in DIFFERENCES:
        assert same(result, expected), f"{result}\n--- MindSpore:\n{expected}"


@pytest.mark.parametrize("name", DIFFERENCES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_listed_differences_are_differences(name):
    results = []
    for mode in MODES:
        mindspore.set_context(mode=MODES[mode])
        results.append(same(describe(CASES[name]), wanted(name, mode)))
    assert not all(results)


def test_the_cases_are_those_that_were_recorded():
    assert set(CASES) == set(RECORDED["results"])
    assert len(CASES) >= 500
    values = [name for name in CASES if not failed(wanted(name, "graph")) and name not in DIFFERENCES]
    assert len(values) >= 450
    # What MindSpore makes of a case may be an error only where that is the point, or is listed.
    errors = {name for name in CASES if failed(wanted(name, "graph"))}
    assert {name for name in errors if not name.startswith("errors/")} <= set(DIFFERENCES)


def test_the_comparison_can_fail():
    tensor = {"tensor": "float32", "shape": [1], "values": [1.0]}
    assert same(tensor, {**tensor, "values": [1.00001]})
    for other in (
        {**tensor, "values": [1.0001]},
        {**tensor, "values": [1.0, 1.0]},
        {**tensor, "shape": [1, 1]},
        {**tensor, "tensor": "float64"},
        {"tuple": [tensor]},
        {"error": "TypeError"},
        None,
    ):
        assert not same(tensor, other)
    assert not same({"tuple": [tensor]}, {"list": [tensor]})


def test_tf32_is_among_the_settings_of_a_gpu():
    for allow in (True, False):
        mindspore.set_context(gpu_config={"conv_allow_tf32": True, "matmul_allow_tf32": allow})
        assert ev.get_context("matmul_allow_tf32") is allow
    mindspore.set_context(gpu_config={"conv_allow_tf32": True})
    assert ev.get_context("matmul_allow_tf32") is False


# ---- The import hook


def run(*arguments, folder=None):
    return subprocess.run(
        [sys.executable, "-m", "evolute.compat.mindspore", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=folder,
    )


SCRIPT = """
import sys
import mindspore.nn as nn
import mindspore.context as context
from mindspore import Tensor, Parameter, ParameterTuple, dtype as mstype
from mindspore.ops import functional as F, composite as C, operations as P
from mindspore.common.initializer import initializer, Normal
from mindspore.common.api import ms_function
from mindspore.common import dtype
import mindspore.common.initializer as init
import mindspore as ms

@ms_function
def f(x):
    return F.reduce_sum(P.Sin()(x))

print(C.GradOperation()(f)(Tensor([0.0], mstype.float32)), sys.argv[1:], __name__)
print(ms.nn is nn, dtype.float32 is mstype.float32, initializer("ones", [1], ms.float32))
"""


def test_a_script_runs_as_it_is(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = run(script, "a", "--b")
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["[1.] ['a', '--b'] __main__", "True True [1.]"]
    as_module = run("-m", "script", "c", folder=tmp_path)
    assert as_module.stdout.splitlines()[0] == "[1.] ['c'] __main__"
    assert "usage:" in run().stderr


def test_a_script_imports_its_neighbours(tmp_path):
    (tmp_path / "net.py").write_text("import mindspore.nn as nn\nNet = nn.Tanh\n")
    (tmp_path / "main.py").write_text("from net import Net\nprint(Net())\n")
    assert run(tmp_path / "main.py").stdout == "Tanh<>\n"


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (
            "from mindspore.ops import Sine",
            ImportError,
            r"mindspore.ops.Sine does not exist in Evolute; the nearest is .*Sin",
        ),
        ("import mindspore; mindspore.ops.matmull", AttributeError, "the nearest is mindspore.ops.matmul"),
        ("import mindspore; mindspore.Dense", AttributeError, "mindspore.nn.Dense does"),
        ("from mindspore import float16", ImportError, "use mindspore.float32"),
        ("from mindspore.train import Model", ImportError, "nn.TrainOneStepCell is a step"),
        (
            "import mindspore.nnn",
            ModuleNotFoundError,
            "mindspore.nnn does not exist in Evolute; the nearest is mindspore.nn",
        ),
        ("import mindspore.communication", ModuleNotFoundError, "does not exist in Evolute"),
        ("import mindspore; mindspore.nn.Sin().what", AttributeError, "what"),
    ],
)
def test_what_is_missing_says_so(code, error, message):
    with pytest.raises(error, match=message):
        exec(code, {})


def test_hasattr_of_what_is_missing():
    assert not hasattr(mindspore, "float16")
    assert not hasattr(mindspore.ops, "Sine")
    assert getattr(mindspore.ops, "Sine", None) is None


def test_installing_twice_and_taking_it_away():
    compat_mindspore.install()
    assert ev.Tensor([[1.0, 2.0]]).view(2).shape == (2,)
    assert ev.Tensor([1.5]).to(ev.float64).dtype == ev.float64
    assert ev.Tensor([1.5]).to("CPU").dtype == ev.float32
    compat_mindspore.uninstall()
    assert not hasattr(ev.Tensor, "view")
    assert "mindspore" not in sys.modules
    with pytest.raises(ModuleNotFoundError, match="No module named 'mindspore'"):
        importlib.import_module("mindspore")


def test_a_device_that_is_not_there_is_replaced_with_a_warning():
    with pytest.warns(RuntimeWarning, match="running on the CPU"):
        mindspore.set_context(mode=mindspore.GRAPH_MODE, device_target="Ascend", device_id=3, save_graphs=True)
    assert mindspore.get_context("device_target") == "CPU"
    assert mindspore.get_context("mode") == mindspore.GRAPH_MODE
    with pytest.raises(ValueError, match="no setting 'speed'"):
        mindspore.set_context(speed=3)


def test_seeds_repeat_initial_values():
    def weights():
        mindspore.set_seed(7)
        return mindspore.nn.Dense(3, 4).weight.asnumpy()

    np.testing.assert_array_equal(weights(), weights())
    mindspore.set_seed(8)
    assert (mindspore.nn.Dense(3, 4).weight.asnumpy() != weights()).any()


def test_both_signatures_of_vjp():
    x, y, v = (ev.Tensor([value]) for value in (2.0, 3.0, 1.0))
    net = type("Net", (mindspore.nn.Cell,), {"construct": lambda self, x, y: x**3 + y})()
    value, (by_x, by_y) = mindspore.vjp(net, (x, y), v)  # that of the guide
    assert (value.item(), by_x.item(), by_y.item()) == (11.0, 12.0, 1.0)
    value, pullback = mindspore.vjp(net, x, y)
    assert (value.item(), *(g.item() for g in pullback(v))) == (11.0, 12.0, 1.0)
    value, pullback = mindspore.vjp(lambda pair, z: pair[0] * pair[1] * z, (x, y), v)
    assert value.item() == 6.0
    assert pullback(v)[1].item() == 6.0


# ---- The guide


@pytest.mark.parametrize("mode", ["GRAPH_MODE", "PYNATIVE_MODE"])
def test_the_guides_examples_run_with_their_original_imports(mode, tmp_path):
    """The programs of `examples/guide`, with `mindspore` back in the place of `evolute`, each printing its output."""
    folder = TESTS.parent / "examples" / "guide"
    package = tmp_path / "guide"
    package.mkdir()
    for file in folder.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        if file.name != "example.py":  # that one is not the guide's
            text = text.replace("evolute", "mindspore")
            assert "mindspore" in text or file.name == "__init__.py"
        (package / file.name).write_text(text, encoding="utf-8")
    (tmp_path / "main.py").write_text(
        "import guide\nfrom mindspore import context\n"
        "for example in guide.EXAMPLES:\n"
        f"    output = example.output(context.{mode})\n"
        "    print(example.agrees(output), example.title)\n"
    )
    done = run(tmp_path / "main.py")
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 15
    assert all(line.startswith("True ") for line in lines), done.stdout
