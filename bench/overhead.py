"""What a call from Python costs: operations and derivatives on 4 elements, and importing the library.

    pip install torch jax          # the peers; those that are missing are left out
    python bench/overhead.py       # prints a table, writes bench/results/overhead.json
    python bench/overhead.py --check    # ... and fails if a bar is missed

All libraries run in one process and take turns in rounds (see `harness.py`), on one thread. Times are medians over the
rounds, with half the distance of the quartiles; ratios are medians of the ratios within a round.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from harness import (
    RESULTS,
    Local,
    Result,
    interleave,
    machine,
    revision,
    seconds,
    statement,
    table,
    versions,
    write_json,
)

VALUES = np.array([0.3, -1.2, 2.0, 0.7], np.float32)
FACTORS = np.array([1.5, 0.2, -0.4, 1.1], np.float32)

PRODUCT, GRADIENT, SECOND, IMPORT = "x*y", "gradient of (sin(x)*y).sum()", "second derivative of sin", "import"
# At most this many times the peer's time, or this many seconds.
BARS = [(PRODUCT, "torch", 0.5), (GRADIENT, "torch", 0.33), (IMPORT, None, 0.120)]


# ---- The same work for each library: expressions, and the names in them ----------------------------------------------


def on_evolute() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    import evolute as ev
    from evolute import ops

    x, y = ev.Tensor(VALUES), ev.Tensor(FACTORS)

    def f(x, y):
        return ops.sum(ops.sin(x) * y)

    def derivative(f):
        return ev.grad(f)

    gradient, second = ev.grad(f, (0, 1)), derivative(derivative(ops.sin))
    yield "evolute", PRODUCT, "x * y", {"x": x, "y": y}
    yield "evolute", GRADIENT, "g(x, y)", {"g": gradient, "x": x, "y": y}
    yield "evolute", SECOND, "g(x)", {"g": second, "x": x}
    yield "evolute jit", GRADIENT, "g(x, y)", {"g": ev.jit(gradient), "x": x, "y": y}
    yield "evolute jit", SECOND, "g(x)", {"g": ev.jit(second), "x": x}


def on_numpy() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    yield "numpy", PRODUCT, "x * y", {"x": VALUES, "y": FACTORS}


def on_torch() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    import torch

    torch.set_num_threads(1)
    x, y = torch.from_numpy(VALUES.copy()), torch.from_numpy(FACTORS.copy())
    tx, ty = x.clone().requires_grad_(), y.clone().requires_grad_()

    def gradient(x, y):
        return torch.autograd.grad((torch.sin(x) * y).sum(), (x, y))

    def second(x):
        (first,) = torch.autograd.grad(torch.sin(x).sum(), x, create_graph=True)
        return torch.autograd.grad(first.sum(), x)[0]

    yield "torch", PRODUCT, "x * y", {"x": x, "y": y}
    yield "torch", GRADIENT, "g(x, y)", {"g": gradient, "x": tx, "y": ty}
    yield "torch", SECOND, "g(x)", {"g": second, "x": tx}


def on_jax() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import jax
    import jax.numpy as jnp

    x, y = jnp.asarray(VALUES), jnp.asarray(FACTORS)
    gradient = jax.jit(jax.grad(lambda x, y: (jnp.sin(x) * y).sum(), (0, 1)))
    second = jax.jit(jax.grad(lambda x: jax.grad(lambda x: jnp.sin(x).sum())(x).sum()))
    yield "jax jit", PRODUCT, "x * y", {"x": x, "y": y}
    yield "jax jit", GRADIENT, "g(x, y)", {"g": gradient, "x": x, "y": y}
    yield "jax jit", SECOND, "g(x)", {"g": second, "x": x}


LIBRARIES = {"evolute": on_evolute, "numpy": on_numpy, "torch": on_torch, "jax": on_jax}


def available() -> list[str]:
    return [name for name in LIBRARIES if importlib.util.find_spec(name)]


# ---- Measuring -------------------------------------------------------------------------------------------------------


def measure_calls(rounds: int) -> dict[str, Result]:
    work: dict[str, dict[str, Local]] = {}
    values: dict[str, list[np.ndarray]] = {}
    for library in available():
        for column, name, code, names in LIBRARIES[library]():
            work.setdefault(name, {})[column] = Local(statement(code, names))
            result = eval(code, dict(names))
            values.setdefault(name, []).append(np.array([np.asarray(as_array(r)) for r in tuple_of(result)]))
    for name, results in values.items():
        for other in results[1:]:
            np.testing.assert_allclose(other, results[0], rtol=1e-5, err_msg=name)
    return {name: interleave(peers, "evolute", rounds, min_time=5e-3) for name, peers in work.items()}


def tuple_of(result: Any) -> tuple[Any, ...]:
    return tuple(result) if isinstance(result, (tuple, list)) else (result,)


def as_array(result: Any) -> Any:
    return result.detach().numpy() if hasattr(result, "detach") else result


class Import:
    """Importing a library in a Python of its own."""

    def __init__(self, library: str) -> None:
        self.code = f"import time; t = time.perf_counter(); import {library}; print(time.perf_counter() - t)"

    def calibrate(self, min_time: float) -> int:
        self.sample(1)  # compiles bytecode, fills the cache of files
        return 1

    def sample(self, repetitions: int) -> float:
        # As installed packages are: with their bytecode.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(
            [sys.executable, "-c", self.code], env=environment, capture_output=True, text=True, check=True
        )
        return float(done.stdout)


# ---- Reporting -------------------------------------------------------------------------------------------------------


def print_results(results: dict[str, Result]) -> None:
    columns = list(dict.fromkeys(column for result in results.values() for column in result.stats))
    rows = []
    for name, result in results.items():
        times, ratios = [name], ["  of evolute's"]
        for column in columns:
            stats = result.stats.get(column)
            ratio = result.ratio(column)
            times.append(f"{seconds(stats.median)} ±{50 * stats.spread:.0f}%" if stats else "")
            ratios.append(f"×{ratio.median:.2f}" if ratio else "")
        rows += [times, ratios]
    print(table(["on 4 elements", *columns], rows))


def check_bars(results: dict[str, Result]) -> list[dict[str, Any]]:
    """Compare with the bars whose peer is there; print and return what came out."""
    outcome = []
    for name, peer, limit in BARS:
        result = results[name]
        if peer is None:
            value, text = result.stats["evolute"].median, f"{name}: {seconds(result.stats['evolute'].median)}"
            text += f", at most {seconds(limit)}"
        elif ratio := result.ratio("evolute", peer):
            value, text = ratio.median, f"{name}: {ratio.median:.2f} of {peer}'s time, at most {limit}"
        else:
            continue
        print(f"{'met   ' if value <= limit else 'MISSED'}  {text}")
        outcome.append({"work": name, "peer": peer, "limit": limit, "value": value, "met": value <= limit})
    return outcome


def as_json(result: Result) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for column, stats in result.stats.items():
        ratio = result.ratio("evolute", column)
        content[column] = {
            "median_s": stats.median,
            "quartiles_s": list(stats.quartiles),
            "rounds": len(stats.samples),
            "evolute_over_this": ratio.as_json() if ratio else None,
        }
    return content


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=25, help="rounds of each measurement")
    parser.add_argument("--imports", type=int, default=9, help="rounds of importing")
    parser.add_argument("--output", type=Path, default=RESULTS / "overhead.json")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a bar is missed")
    options = parser.parse_args()

    # Before anything is imported here, so that the processes of the imports have the machine to themselves.
    imports = interleave({name: Import(name) for name in available()}, "evolute", options.imports)
    results = measure_calls(options.rounds)
    results[IMPORT] = imports
    print_results(results)
    bars = check_bars(results)
    content = {
        "machine": machine(),
        "versions": versions(["evolute", *available()]),
        "revision": revision(),
        "results": {name: as_json(result) for name, result in results.items()},
        "bars": bars,
    }
    write_json(options.output, content)
    return int(options.check and not all(bar["met"] for bar in bars))


if __name__ == "__main__":
    sys.exit(main())
