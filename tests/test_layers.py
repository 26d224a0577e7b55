"""The checks of CI on layers and on the kernels' symbols: that this tree passes, and that they can fail."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


check = load("check_layers").check
mixable = load("check_simd_symbols").mixable

GOOD = {
    "csrc/include/evolute/export.h": "#pragma once\n",
    "csrc/include/evolute/tensor.h": '#include <vector>\n#include "evolute/export.h"\n',
    "csrc/include/evolute/ops.h": "#include <evolute/tensor.h>\n",
    "csrc/include/evolute/evolute.h": '#include "evolute/ops.h"\n',
    "csrc/core/buffer.h": '#include "evolute/tensor.h"\n/*\n#include "ops/rules.h"\n*/\n',
    "csrc/math/formulas.h": '#include "core/buffer.h"\n',
    "csrc/cpu/simd/loop.cpp": '#include "../kernels.h"\n#define SELF "cpu/simd/loop.cpp"\n#include SELF\n',
    "csrc/cpu/kernels.h": '#include "math/formulas.h"\n',
    "csrc/cuda/kernels.cu": '#include "math/formulas.h"\n#include <cuda_runtime.h>\n',
    "csrc/ops/rules.h": '#include "cpu/kernels.h"\n// #include "graph/plan.h"\n',
    "csrc/graph/plan.h": '#include "ops/rules.h"\n',
    "csrc/python/module.cpp": "#include <pybind11/pybind11.h>\n#include <evolute/evolute.h>\n",
    "python/evolute/__init__.py": "pass\n" * 600,
    "python/evolute/_evolute.pyi": "x: int\n" * 5000,
}


def errors_with(tmp_path, changes):
    for name, text in {**GOOD, **changes}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return check(tmp_path)


def test_this_tree_passes():
    assert check(ROOT) == []


def test_good_tree_passes(tmp_path):
    assert errors_with(tmp_path, {}) == []


def test_empty_tree_fails(tmp_path):
    assert len(check(tmp_path)) == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("csrc/core/buffer.cpp", '#include "ops/rules.h"\n', "layer core includes"),
        ("csrc/core/buffer.cpp", '\n#  include "../ops/rules.h"\n', "buffer.cpp:2: layer core includes"),
        ("csrc/core/buffer.cpp", "#include <evolute/ops.h>\n", "layer core includes"),
        ("csrc/cpu/gemm.cpp", '#include "graph/plan.h"\n', "layer cpu includes"),
        ("csrc/cuda/gemm.cu", '#include "cpu/kernels.h"\n', "layer cuda includes"),
        ("csrc/cpu/gemm.cpp", '#include "../cuda/kernels.cu"\n', "layer cpu includes"),
        ("csrc/graph/plan.cpp", '#include "evolute/evolute.h"\n', "of layer umbrella"),
        ("csrc/core/buffer.cpp", '#define RULES "ops/rules.h"\n#include RULES\n', "layer core includes"),
        ("csrc/core/buffer.cpp", "#include RULES\n", "cannot tell what RULES includes"),
        ("csrc/core/buffer.cpp", '#include "core/gone.h"\n', "no file"),
        ("csrc/core/buffer.cpp", "#include <evolute/gone.h>\n", "no file"),
        ("csrc/graph/plan.cpp", "#include <Python.h>\n", "for csrc/python alone"),
        ("csrc/include/evolute/ops.h", '#include "core/buffer.h"\n', "not installed"),
        ("csrc/include/evolute/unlisted.h", "", "belongs to no layer"),
        ("csrc/include/other/ops.h", "", "belongs to no layer"),
        ("csrc/vulkan/kernels.cpp", "", "belongs to no layer"),
        ("csrc/loose.cpp", "", "belongs to no layer"),
        ("csrc/ops/long.cpp", "//\n" * 601, "601 lines"),
        ("python/evolute/long.py", "pass\n" * 601, "601 lines"),
    ],
)
def test_each_rule_can_fail(tmp_path, name, text, message):
    errors = errors_with(tmp_path, {name: text})
    assert len(errors) == 1
    assert message in errors[0]


@pytest.mark.parametrize(
    ("symbol", "is_apart"),
    [
        ("evolute::cpu::simd_kernels_v3 D 0 10", True),
        ("evolute::cpu::v3::loop(float const*, float*) T 0 4a", True),
        ("void std::vector<evolute::v3::Step>::push_back(evolute::v3::Step const&) W 0 4a", True),
        ("evolute::cpu::simd_kernels_v2 D 0 10", False),
        ("evolute::cpu::loop(float const*, float*) T 0 4a", False),
        ("int const& std::min<int>(int const&, int const&) W 0 18", False),
        ("evolute::table u 0 8", False),
        ("evolute::cpu::v32::loop() W 0 4a", False),
    ],
)
def test_symbols_of_kernels_name_their_level(symbol, is_apart):
    name = symbol.rsplit(" ", 3)[0]
    assert mixable(symbol + "\n", "v3") == ([] if is_apart else [name])
