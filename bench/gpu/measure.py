"""Evolute on a GPU beside torch (eager, CUDA graphs) and jax, in one process, in turns.

    python bench/gpu/measure.py FOLDER --seconds 120

Writes `measure.json` and `measure.md` to the folder, after every case anew, so that what has been measured is there
however it ends. Exit status: 0 if every case ran and met its bar. `--tiny` is for trying the script without a GPU:
small sizes, on whatever device there is, no bars.

A measurement repeats the work until it lasts 20 ms, and waits for the device once at its end. Peers take turns; the
figures are medians of the rounds. Work of the same name is that of `bench/workloads`, with its data on the GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # or jax takes most of the memory for itself
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")  # float32 as it is, as torch does by default
sys.path.insert(0, str(Path(__file__).parent.parent))

import harness
from workloads.work import Work, as_work

import evolute as ev
from evolute import Tensor, ops

ROUNDS, MIN_TIME = 7, 20e-3


# ---- Frameworks ------------------------------------------------------------------------------------------------------


class Evolute:
    name = "evolute"

    def __init__(self, tiny: bool) -> None:
        from workloads import on_evolute

        ev.set_context(device_target="GPU")
        on_evolute.tensors = lambda arrays: [ev.from_numpy(a).to("GPU") for a in arrays]
        self.workloads = on_evolute.WORKLOADS

    def wait(self) -> None:
        ev._evolute.synchronize()


class Torch:
    name = "torch"

    def __init__(self, tiny: bool) -> None:
        import torch
        from workloads import on_torch

        self.torch = torch
        self.there = torch.cuda.is_available()
        if not self.there and not tiny:
            raise RuntimeError("torch sees no GPU")
        self.device = "cuda" if self.there else "cpu"
        on_torch.tensors = lambda arrays, requires_grad=False: [
            torch.from_numpy(a).to(self.device).requires_grad_(requires_grad) for a in arrays
        ]
        self.workloads = on_torch.WORKLOADS

    def wait(self) -> None:
        if self.there:
            self.torch.cuda.synchronize()

    def captured(self, run: Callable[[], Any]) -> Callable[[], Any]:
        """Return a replay of `run` by a CUDA graph."""
        if not self.there:
            raise NotImplementedError("CUDA graphs need a GPU")
        torch = self.torch
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            results = run()

        def replay() -> Any:
            graph.replay()
            return results

        return replay


class Jax:
    name = "jax"

    def __init__(self, tiny: bool) -> None:
        import jax
        from workloads import on_jax

        if jax.default_backend() == "cpu" and not tiny:
            raise RuntimeError("jax sees no GPU")
        self.jax = jax
        on_jax.waiting = lambda fn, *args: lambda: fn(*args)
        self.workloads = on_jax.WORKLOADS

    def wait(self) -> None:
        (self.jax.numpy.zeros(()) + 1).block_until_ready()  # the device works in order


# ---- Cases -----------------------------------------------------------------------------------------------------------


@dataclass
class Case:
    """What is measured. `peers`: name → (framework, how to make the work)."""

    name: str
    peers: dict[str, tuple[str, Callable[[Any], Any]]]
    bars: dict[str, float] = field(default_factory=dict)  # how many times as fast as a peer it is to be
    bytes: float = 0  # that must be moved
    flops: float = 0
    least: float = 0  # part of the bandwidth of a copy


def workload(name: str, variant: str, **arguments: Any) -> Callable[[Any], Any]:
    return lambda framework: framework.workloads[name](variant=variant, **arguments)


def captured(name: str, **arguments: Any) -> Callable[[Any], Any]:
    return lambda torch: torch.captured(as_work(torch.workloads[name](variant="eager", **arguments)).run)


def on_evolute(make: Callable[[], Callable[[], Any]]) -> dict[str, tuple[str, Callable[[Any], Any]]]:
    return {"evolute": ("evolute", lambda _: make())}


def copy(n: int) -> Case:
    def by_torch(framework: Any) -> Callable[[], Any]:
        x = framework.torch.rand(n, device=framework.device)
        y = framework.torch.empty_like(x)
        return lambda: y.copy_(x)

    def by_evolute() -> Callable[[], Any]:
        x = ops.uniform((n,), 1)
        return lambda: ops.neg(x)

    return Case("copy", {"torch": ("torch", by_torch), **on_evolute(by_evolute)}, bytes=8 * n)


def elementwise(n: int) -> Iterator[Case]:
    """Functions and derivatives, each one pass: what must be moved is the operands and the results."""
    functions = {"sin": ops.sin, "exp": ops.exp, "tanh": ops.tanh, "log1p": ops.log1p}
    for name, fn in functions.items():
        for order, what in enumerate(("", "′", "″")):

            def make(fn: Any = fn, order: int = order) -> Callable[[], Any]:
                x = ops.uniform((n,), 1)
                f = fn
                for _ in range(order):
                    f = ev.grad(f)
                f = ev.jit(f)
                return lambda: f(x)

            yield Case(f"{name}{what}, {n} elements", on_evolute(make), bytes=8 * n, least=0.9)

    def product() -> Callable[[], Any]:
        x, y = ops.uniform((n,), 1), ops.uniform((n,), 2)
        return lambda: x * y

    def gradients() -> Callable[[], Any]:
        x, y = ops.uniform((n,), 1), ops.uniform((n,), 2)
        f = ev.jit(ev.grad(lambda x, y: ops.sum(ops.sin(x) * y), (0, 1)))
        return lambda: f(x, y)

    yield Case(f"x y, {n} elements", on_evolute(product), bytes=12 * n, least=0.9)
    yield Case(f"gradients of sin(x) y, {n} elements", on_evolute(gradients), bytes=16 * n, least=0.9)


def reductions(n: int) -> Iterator[Case]:
    side = int(n**0.5)

    def make(fn: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> Callable[[], Callable[[], Any]]:
        def prepared() -> Callable[[], Any]:
            x = ops.uniform(shape, 1)
            return lambda: fn(x)

        return prepared

    for name, fn, shape in (
        ("sum", ops.sum, (n,)),
        ("max", ops.max, (n,)),
        ("sum of rows", lambda x: ops.sum(x, 1), (side, side)),
        ("sum of columns", lambda x: ops.sum(x, 0), (side, side)),
        ("sum of columns, narrow", lambda x: ops.sum(x, 0), (n // 64, 64)),
    ):
        yield Case(f"{name}, {shape}", on_evolute(make(fn, shape)), bytes=4 * n, least=0.85)


def sums_in_kernels(n: int) -> Iterator[Case]:
    """Gradients by broadcast operands, and a loop's result summed: what is summed is not to be moved."""
    side = int(n**0.5)

    def gradients(shape: tuple[int, ...], other: tuple[int, ...]) -> Callable[[], Callable[[], Any]]:
        def prepared() -> Callable[[], Any]:
            x, y, g = ops.uniform(shape, 1), ops.uniform(other, 2), ops.uniform(shape, 3)
            pullback = ev.vjp(lambda x, y: x * y, (x, y))[1]
            return lambda: pullback(g)

        return prepared

    def loop(fn: Callable[[Tensor, Tensor], Tensor]) -> Callable[[], Callable[[], Any]]:
        def prepared() -> Callable[[], Any]:
            x, y, f = ops.uniform((n // 64, 64), 1), ops.uniform((64,), 2), ev.jit(fn)
            return lambda: f(x, y)

        return prepared

    for what, shape, other in (
        ("a row", (n // 64, 64), (64,)),
        ("a long row", (side, side), (side,)),
        ("a column", (side, side), (side, 1)),
        ("a number", (n,), ()),
    ):
        yield Case(
            f"gradients of x y, y {what} beside {shape}", on_evolute(gradients(shape, other)), bytes=12 * n, least=0.85
        )
    for name, fn in (
        ("sum over rows of tanh(x + y)", lambda x, y: ops.sum(ops.tanh(x + y), 0)),
        ("mean of (x - y)²", lambda x, y: ops.mean(ops.square(x - y))),
    ):
        yield Case(f"{name}, {(n // 64, 64)}", on_evolute(loop(fn)), bytes=4 * n, least=0.85)


PRODUCTS = [
    (4096, 4096, 4096, "float32", 0.85),
    (2048, 2048, 2048, "float64", 0.0),
    (100_000, 64, 64, "float32", 1.2),
    (64, 100_000, 64, "float32", 1.2),
    (100_000, 2, 64, "float32", 1.2),
    (100_000, 64, 1, "float32", 1.2),
]


def products(scale: int) -> Iterator[Case]:
    for *sizes, dtype, bar in PRODUCTS:
        m, k, n = (max(s // scale, 1) for s in sizes)
        arguments = {"m": m, "k": k, "n": n, "dtype": dtype}
        yield Case(
            f"product {m}×{k} · {k}×{n} {dtype}",
            {
                "evolute": ("evolute", workload("gemm", "eager", **arguments)),
                "torch": ("torch", workload("gemm", "eager", **arguments)),
                "jax": ("jax", workload("gemm", "jit", **arguments)),
            },
            {"torch": bar} if bar else {},
            flops=2 * m * k * n,
        )


def tensor_cores(scale: int) -> Case:
    """A product of float32 that may round to TF32; whoever allows it takes that back at once."""
    n = 4096 // scale

    def by_evolute(_: Any) -> Callable[[], Any]:
        x, y = ops.uniform((n, n), 1), ops.uniform((n, n), 2)

        def run() -> None:
            ev.set_context(matmul_allow_tf32=True)
            ops.matmul(x, y)
            ev.set_context(matmul_allow_tf32=False)

        return run

    def by_torch(framework: Any) -> Callable[[], Any]:
        torch = framework.torch
        x, y = (torch.rand(n, n, device=framework.device) for _ in range(2))

        def run() -> None:
            torch.backends.cuda.matmul.allow_tf32 = True
            torch.matmul(x, y)
            torch.backends.cuda.matmul.allow_tf32 = False

        return run

    peers = {"evolute": ("evolute", by_evolute), "torch": ("torch", by_torch)}
    return Case(f"product {n}×{n} · {n}×{n}, TF32", peers, flops=2 * n**3)


def layers(scale: int) -> Iterator[Case]:
    """tanh(x w + b): as one kernel, and with the product as a step of its own (`apart`)."""
    for rows, k, n in ((100_000, 64, 64), (100_000, 2, 64), (4096, 1024, 1024)):
        m = rows // scale

        def operands(m: int = m, k: int = k, n: int = n) -> list[Tensor]:
            return [ops.uniform(s, i) for i, s in enumerate([(m, k), (k, n), (n,)])]

        def fused(_: Any, operands: Any = operands) -> Callable[[], Any]:
            x, w, b = operands()
            f = ev.jit(lambda x, w, b: ops.tanh(x @ w + b))
            return lambda: f(x, w, b)

        def apart(_: Any, operands: Any = operands) -> Callable[[], Any]:
            x, w, b = operands()
            f, g = ev.jit(lambda x, w: x @ w), ev.jit(lambda y, b: ops.tanh(y + b))
            return lambda: g(f(x, w), b)

        def by_torch(framework: Any, m: int = m, k: int = k, n: int = n) -> Callable[[], Any]:
            torch = framework.torch
            x, w, b = (torch.rand(*s, device=framework.device) for s in ((m, k), (k, n), (n,)))
            return lambda: torch.tanh(torch.addmm(b, x, w))

        def by_jax(framework: Any, m: int = m, k: int = k, n: int = n) -> Callable[[], Any]:
            jnp = framework.jax.numpy
            x, w, b = (jnp.full(s, 0.5, jnp.float32) for s in ((m, k), (k, n), (n,)))
            f = framework.jax.jit(lambda x, w, b: jnp.tanh(x @ w + b))
            return lambda: f(x, w, b)

        yield Case(
            f"layer {m}×{k} · {k}×{n}, bias, tanh",
            {
                "evolute": ("evolute", fused),
                "apart": ("evolute", apart),
                "torch": ("torch", by_torch),
                "jax": ("jax", by_jax),
            },
            bytes=4 * (m * k + k * n + m * n),
            flops=2 * m * k * n,
        )


def steps(scale: int) -> Iterator[Case]:
    def case(name: str, work: str, bars: dict[str, float], **arguments: Any) -> Case:
        return Case(
            name,
            {
                "evolute": ("evolute", workload(work, "jit", **arguments)),
                "torch": ("torch", workload(work, "eager", **arguments)),
                "torch-graph": ("torch", captured(work, **arguments)),
                "jax": ("jax", workload(work, "jit", **arguments)),
            },
            bars,
        )

    small, points, batch = 10_000 // scale, 100_000 // scale, 10_000 // scale
    yield case(f"second derivative of sin, {small} elements", "small_grad2", {"torch": 3}, size=small)
    bars = {"torch-graph": 2, "jax": 1.5}
    yield case(f"Burgers step, {points} points", "burgers", bars, points=points, residual="plain")
    yield case(f"Burgers step, forward mode, {points} points", "burgers", {}, points=points, residual="forward")
    yield case(f"force matching, {batch} rows", "forces", {}, batch=batch)
    yield Case(
        "x y, 4 elements",
        {
            "evolute": ("evolute", workload("small_mul", "eager", size=4)),
            "torch": ("torch", workload("small_mul", "eager", size=4)),
            "jax": ("jax", workload("small_mul", "jit", size=4)),
        },
    )


# ---- Measuring -------------------------------------------------------------------------------------------------------


class Bench:
    def __init__(self, folder: Path, seconds: float, tiny: bool) -> None:
        self.folder, self.tiny = folder, tiny
        self.end = time.perf_counter() + seconds
        self.frameworks: dict[str, Any] = {}
        self.missing: dict[str, str] = {}
        self.results: list[dict[str, Any]] = []
        self.copy_rate = 0.0  # bytes per second
        for make in (Evolute, Torch, Jax):
            try:
                self.frameworks[make.name] = make(tiny)
            except Exception as error:
                self.missing[make.name] = f"{type(error).__name__}: {error}".splitlines()[0]

    def sample(self, framework: Any, work: Work, repetitions: int) -> float:
        start = time.perf_counter()
        work.timer(repetitions)
        framework.wait()
        return (time.perf_counter() - start) / repetitions

    def measure(self, case: Case) -> None:
        result: dict[str, Any] = {"name": case.name, "seconds": {}, "missing": {}, "bars": []}
        self.results.append(result)
        if time.perf_counter() > self.end:
            result["missing"] = dict.fromkeys(case.peers, "no time left")
            self.write()
            return
        works: dict[str, tuple[Any, Work, int]] = {}
        for peer, (name, make) in case.peers.items():
            if name not in self.frameworks:
                result["missing"][peer] = self.missing[name]
                continue
            try:
                framework, work = self.frameworks[name], as_work(make(self.frameworks[name]))
                for _ in range(4):  # compiled, run, captured, replayed
                    work.run()
                self.sample(framework, work, 1)
                repetitions, t = 1, MIN_TIME
                while not self.tiny and (t := self.sample(framework, work, repetitions)) * repetitions < MIN_TIME / 4:
                    repetitions *= 4
                works[peer] = framework, work, max(1, round(MIN_TIME / t))
            except Exception as error:
                traceback.print_exc()
                result["missing"][peer] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        samples: dict[str, list[float]] = {peer: [] for peer in works}
        for _ in range(1 if self.tiny else ROUNDS):
            for peer, (framework, work, repetitions) in works.items():
                samples[peer].append(self.sample(framework, work, repetitions))
        result["seconds"] = {peer: statistics.median(s) for peer, s in samples.items()}
        result["samples"] = samples
        self.judge(case, result)
        self.write()

    def judge(self, case: Case, result: dict[str, Any]) -> None:
        seconds = result["seconds"]
        if case.name == "copy" and seconds:
            self.copy_rate = case.bytes / min(seconds.values())
        own = seconds.get("evolute")
        if not own:
            return
        if case.bytes:
            result["bandwidth"] = case.bytes / own
            if case.least and self.copy_rate:
                result["bars"].append(("of the copy's bandwidth", case.bytes / own / self.copy_rate, case.least))
        if case.flops:
            result["rate"] = case.flops / own
        for peer, bar in case.bars.items():
            if peer in seconds:
                result["bars"].append((f"times as fast as {peer}", seconds[peer] / own, bar))

    @property
    def passed(self) -> bool:
        complete = all("evolute" in r["seconds"] for r in self.results)
        return complete and (self.tiny or all(got >= bar for r in self.results for _, got, bar in r["bars"]))

    def write(self) -> None:
        device = "tiny sizes, no bars" if self.tiny else "one GPU"
        content = {"device": device, "copy_bytes_per_s": self.copy_rate, "missing": self.missing, "cases": self.results}
        content["versions"] = harness.versions([*self.frameworks, "numpy"])
        (self.folder / "measure.json").write_text(json.dumps(content, indent=1) + "\n")
        (self.folder / "measure.md").write_text(self.table())

    def table(self) -> str:
        peers = ("torch", "torch-graph", "jax", "apart")
        lines = [
            f"A copy moves {self.copy_rate / 1e12:.2f} TB/s. Peers: their time / Evolute's. {self.missing or ''}",
            "",
            "| | Evolute | " + " | ".join(peers) + " | TB/s | TFLOP/s | bars |",
            "|---|--:|" + "--:|" * len(peers) + "--:|--:|---|",
        ]
        for r in self.results:
            own = r["seconds"].get("evolute")
            row = [r["name"], duration(own) if own else "– " + r["missing"].get("evolute", "")]
            row += [f"{r['seconds'][p] / own:.2f}" if own and p in r["seconds"] else "–" for p in peers]
            row.append(f"{r['bandwidth'] / 1e12:.2f}" if "bandwidth" in r else "")
            row.append(f"{r['rate'] / 1e12:.1f}" if "rate" in r else "")
            row.append("; ".join(verdict(*bar) for bar in r["bars"]) if not self.tiny else "")
            lines.append("| " + " | ".join(row) + " |")
        return "\n".join(lines) + "\n"


def duration(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.2f} µs"


def verdict(what: str, got: float, bar: float) -> str:
    return f"{'met' if got >= bar else 'NOT MET'}: {got:.2f} {what}, {bar} wanted"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=120, help="when to stop starting cases")
    parser.add_argument("--tiny", action="store_true", help="small sizes and no bars, to try the script without a GPU")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments.folder, arguments.seconds, arguments.tiny)
    n, scale = (1 << 12, 1000) if arguments.tiny else (1 << 28, 1)
    # First what the bars speak of in few words, then what takes long.
    cases = [
        copy(n),
        *steps(scale),
        *products(scale),
        tensor_cores(scale),
        *layers(scale),
        *reductions(n),
        *sums_in_kernels(n),
        *elementwise(n),
    ]
    for case in cases:
        try:
            bench.measure(case)
        except Exception as error:  # in the middle of a sample: the others are measured all the same
            traceback.print_exc()
            bench.results[-1]["missing"]["evolute"] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            bench.write()
        last = bench.results[-1]
        print(case.name, {p: duration(t) for p, t in last["seconds"].items()}, last["missing"] or "", flush=True)
    print(bench.table())
    return 0 if bench.passed else 1


if __name__ == "__main__":
    sys.exit(main())
