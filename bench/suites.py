"""What is compared with whom: the suites of `compare.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from workloads.problems import FUNCTIONS

MILLION = 1_000_000
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}


@dataclass(frozen=True)
class Peer:
    """A framework in one of its ways to do the work, at a number of threads (None: that of the run)."""

    framework: str
    variant: str = "eager"
    threads: int | None = None

    @property
    def name(self) -> str:
        """Framework, and what differs from how it is used by default."""
        default = {"jax": "jit", "mindspore": "graph"}.get(self.framework, "eager")
        parts = [self.framework] if self.variant == default else [self.framework, self.variant]
        if self.threads:
            parts.append(f"{self.threads}t")
        return "-".join(parts)


EVOLUTE = Peer("evolute")
EVOLUTE_JIT = Peer("evolute", "jit")
EVOLUTE_SPARSE = Peer("evolute", "sparse")
TORCH = Peer("torch")
TORCH_FUNC = Peer("torch", "func")
TORCH_COMPILE = Peer("torch", "compile")
JAX = Peer("jax", "jit")
JAX_VMAP = Peer("jax", "vmap")
FOLX = Peer("jax", "folx")
NUMPY = Peer("numpy")
COPY = Peer("copy")
COPY_PASSES = Peer("copy", "passes")
MINDSPORE = Peer("mindspore", "graph")
MINDSPORE_EAGER = Peer("mindspore", "pynative")


@dataclass(frozen=True)
class Case:
    """One workload with its sizes. The first peer is what ratios are taken to."""

    name: str
    workload: str
    arguments: dict[str, Any]
    peers: tuple[Peer, ...]
    rtol: float = 1e-4  # how far the peers' results may be apart, as a part of the largest element
    flops: float | None = None


@dataclass(frozen=True)
class Suite:
    name: str
    title: str
    cases: Callable[[], Iterator[Case]]
    metric: str = "time"  # or "memory"
    note: str = field(default="")


# ---- Elementwise functions -------------------------------------------------------------------------------------------


def forward() -> Iterator[Case]:
    for dtype in TOLERANCE:
        for name in FUNCTIONS:
            arguments = {"function_name": name, "size": MILLION, "dtype": dtype}
            yield Case(f"{name} {dtype}", "forward", arguments, (EVOLUTE, TORCH, JAX, NUMPY, COPY), TOLERANCE[dtype])


def eager_derivatives(order: int) -> Callable[[], Iterator[Case]]:
    def cases() -> Iterator[Case]:
        for dtype in TOLERANCE:
            for name, function in FUNCTIONS.items():
                if function.orders < order:
                    continue
                arguments = {"function_name": name, "size": MILLION, "dtype": dtype, "order": order}
                peers = (EVOLUTE, TORCH, JAX, MINDSPORE_EAGER, COPY, COPY_PASSES)
                yield Case(f"{name} {dtype}", "grad", arguments, peers, 5 * TOLERANCE[dtype])

    return cases


def compiled_second() -> Iterator[Case]:
    for name, function in FUNCTIONS.items():
        if function.orders == 2:
            arguments = {"function_name": name, "size": MILLION, "dtype": "float32", "order": 2}
            yield Case(name, "grad", arguments, (EVOLUTE_JIT, JAX, TORCH, MINDSPORE, COPY), 1e-4)


def chain() -> Iterator[Case]:
    peers = (EVOLUTE_JIT, EVOLUTE, JAX, TORCH, TORCH_COMPILE, MINDSPORE, COPY)
    yield Case("gradient", "chain", {"size": MILLION}, peers, 2e-5)


# ---- Matrix products and small calls ---------------------------------------------------------------------------------

SHAPES = (
    (16, 16, 16),
    (64, 64, 64),
    (256, 256, 256),
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (10000, 64, 64),
    (64, 10000, 64),
    (10000, 20, 20),
    (4096, 24, 64),
    (10000, 2, 64),
)
BATCHES = ((10000, 3, 3, 3), (1000, 8, 8, 8), (100, 64, 64, 64), (32, 256, 64, 64))


def gemm() -> Iterator[Case]:
    for dtype, rtol in (("float32", 1e-5), ("float64", 1e-13)):
        for m, k, n in SHAPES:
            name = f"{m}×{k}·{k}×{n} {dtype}"
            arguments = {"m": m, "k": k, "n": n, "dtype": dtype}
            yield Case(name, "gemm", arguments, (EVOLUTE, TORCH, NUMPY, JAX), rtol, flops=2.0 * m * k * n)
        for batch, m, k, n in BATCHES:
            name = f"{batch} of {m}×{k}·{k}×{n} {dtype}"
            arguments = {"m": m, "k": k, "n": n, "dtype": dtype, "batch": batch}
            yield Case(name, "gemm", arguments, (EVOLUTE, TORCH, NUMPY, JAX), rtol, flops=2.0 * batch * m * k * n)


def overhead() -> Iterator[Case]:
    size = {"size": 4}
    yield Case("x*y", "small_mul", size, (EVOLUTE, TORCH, NUMPY, JAX, MINDSPORE_EAGER))
    eager = (EVOLUTE, TORCH, TORCH_FUNC, JAX, MINDSPORE, MINDSPORE_EAGER)
    yield Case("gradient of (sin(x)*y).sum()", "small_grad", size, eager)
    yield Case("second derivative of sin", "small_grad2", size, eager)
    compiled = (EVOLUTE_JIT, JAX, TORCH, MINDSPORE)
    yield Case("gradient of (sin(x)*y).sum(), compiled", "small_grad", size, compiled)
    yield Case("second derivative of sin, compiled", "small_grad2", size, compiled)


def importing() -> Iterator[Case]:
    yield Case("import", "import", {}, (EVOLUTE, NUMPY, TORCH, JAX, MINDSPORE))


def threads() -> Iterator[Case]:
    """Work that computes more than it moves, on one thread and on two."""

    def peers(*frameworks: str) -> tuple[Peer, ...]:
        return tuple(Peer(f, "jit" if f == "jax" else "eager", n) for f in frameworks for n in (2, 1))

    for dtype in TOLERANCE:
        for name in ("sin", "tan", "cosh", "tanh", "erf", "pow"):
            arguments = {"function_name": name, "size": MILLION, "dtype": dtype}
            yield Case(f"{name} {dtype}", "forward", arguments, peers("evolute", "torch", "jax"), TOLERANCE[dtype])
    for m, k, n in ((1024, 1024, 1024), (10000, 64, 64), (64, 10000, 64)):
        arguments = {"m": m, "k": k, "n": n, "dtype": "float32"}
        yield Case(f"{m}×{k}·{k}×{n}", "gemm", arguments, peers("evolute", "torch", "numpy"), 1e-5, 2.0 * m * k * n)


# ---- Programs --------------------------------------------------------------------------------------------------------


def burgers() -> Iterator[Case]:
    for residual in ("plain", "forward"):
        plain = residual == "plain"
        more = (Peer("evolute", "jit-forward"), JAX_VMAP, MINDSPORE) if plain else ()
        peers = (EVOLUTE_JIT, EVOLUTE, JAX, TORCH, *more)
        arguments = {"points": 10_000, "residual": residual}
        yield Case(residual, "burgers", arguments, peers, 1e-3)


def forces() -> Iterator[Case]:
    peers = (EVOLUTE_JIT, EVOLUTE, JAX, TORCH, MINDSPORE)
    yield Case("step", "forces", {"batch": 4096}, peers, 1e-4)


def rosenbrock() -> Iterator[Case]:
    yield Case("Hessian", "hessian", {"size": 500}, (EVOLUTE_JIT, EVOLUTE, JAX, TORCH), 1e-12)
    yield Case("Hessian-vector product", "hvp", {"size": 500}, (EVOLUTE_JIT, EVOLUTE, JAX, TORCH, TORCH_FUNC), 1e-12)


def sparse() -> Iterator[Case]:
    """Hessians of independent pairs of variables: by two products with vectors, and whole."""
    for size in (2_000, 20_000, 100_000):
        peers = (EVOLUTE_SPARSE, EVOLUTE_JIT, EVOLUTE, JAX) if size == 2_000 else (EVOLUTE_SPARSE,)
        yield Case(f"n = {size}", "pairs_hessian", {"size": size}, peers, 1e-11)


def control() -> Iterator[Case]:
    """Loops of many small steps."""
    for body in ("linear", "ode", "rnn"):
        for width in (4, 16, 64):
            for gradient in (False, True):
                arguments = {"body": body, "width": width, "steps": 1000, "gradient": gradient}
                name = f"{body}, {width} wide{', gradient' if gradient else ''}"
                yield Case(name, "loop", arguments, (EVOLUTE_JIT, JAX), 1e-4)


def growth() -> Iterator[Case]:
    """Gradients of gradients. JAX takes a minute to compile the sixth order, and ever longer after that."""
    for workload in ("nested", "nested_compile"):
        for order in range(1, 9):
            peers = (EVOLUTE_JIT, JAX) if order <= 4 else (EVOLUTE_JIT,)
            what = ", first call" if workload == "nested_compile" else ""
            yield Case(f"order {order}{what}", workload, {"order": order, "size": 64}, peers, 1e-8)


def batch() -> Iterator[Case]:
    for points in (1_000, 10_000, 100_000, MILLION):
        peers = (EVOLUTE_JIT, JAX) if points < MILLION else (EVOLUTE_JIT,)
        yield Case(f"{points} points", "burgers", {"points": points, "residual": "plain"}, peers, 1e-3)


def example_gradients() -> Iterator[Case]:
    yield Case("MLP", "example_gradients", {"batch": 1024}, (EVOLUTE_JIT, EVOLUTE, JAX, TORCH_FUNC), 1e-4)


def taylor() -> Iterator[Case]:
    """One derivative of high order. Its rounding errors grow with the order, and single precision is what is used."""
    for order in range(1, 11):
        peers = (EVOLUTE_JIT, JAX) if order <= 8 else (EVOLUTE_JIT,)
        yield Case(f"order {order}", "high_derivative", {"points": 10_000, "order": order}, peers, 1e-3)


def laplacian() -> Iterator[Case]:
    for dimensions in (10, 100):
        for width in (64, 256):
            arguments = {"points": 1000, "dimensions": dimensions, "width": width}
            name = f"{dimensions} dimensions, {width} wide"
            yield Case(name, "laplacian", arguments, (EVOLUTE_JIT, EVOLUTE, FOLX, JAX), 1e-4)


def compile_time() -> Iterator[Case]:
    arguments = {"points": 10_000, "residual": "plain"}
    yield Case("Burgers step", "burgers_compile", arguments, (EVOLUTE_JIT, JAX, JAX_VMAP, MINDSPORE), 1e-3)
    arguments = {"points": 8, "residual": "plain"}
    yield Case("Burgers step, 8 points", "burgers_compile", arguments, (EVOLUTE_JIT, JAX, JAX_VMAP, MINDSPORE), 1e-3)
    peers = (EVOLUTE_JIT, JAX, TORCH_COMPILE)
    yield Case("gradient of the chain, 8 elements", "chain_compile", {"size": 8}, peers, 1e-5)


def memory() -> Iterator[Case]:
    for residual in ("plain", "forward"):
        jax = (JAX, JAX_VMAP) if residual == "plain" else (JAX,)
        arguments = {"points": 100_000, "residual": residual}
        yield Case(f"Burgers step, {residual}", "burgers", arguments, (EVOLUTE_JIT, EVOLUTE, *jax, TORCH), 1e-3)


SUITES = {
    suite.name: suite
    for suite in (
        Suite("forward", "Elementwise functions of 10⁶ elements", forward),
        Suite("grad1", "First derivatives of 10⁶ elements, eager", eager_derivatives(1)),
        Suite("grad2", "Second derivatives of 10⁶ elements, eager", eager_derivatives(2)),
        Suite("compiled2", "Second derivatives of 10⁶ float32 elements, compiled", compiled_second),
        Suite("chain", "Gradient of exp(−x²) sin(3x)/(1+x²) + log(1+x) √x, 10⁶ float32 elements", chain),
        Suite("gemm", "Matrix products", gemm),
        Suite("overhead", "Calls from Python on 4 elements", overhead),
        Suite("import", "Import of the library in a new process", importing),
        Suite("threads", "One thread and two", threads),
        Suite("burgers", "Burgers PINN step, MLP 2-64-64-64-64-1, 10⁴ points", burgers),
        Suite("batch", "Burgers PINN step, MLP 2-64-64-64-64-1, by the number of points", batch),
        Suite("growth", "Gradients of gradients of ten operations on 64 numbers, by their order", growth),
        Suite("control", "Loops of 1000 steps", control),
        Suite("forces", "Force-matching step, MLP 24-64-64-1, batch 4096", forces),
        Suite("rosenbrock", "Second derivatives of Rosenbrock's function, n = 500, float64", rosenbrock),
        Suite("sparse", "Hessian of the extended Rosenbrock function, float64: sparse, and whole", sparse),
        Suite("examples", "Gradient of each of 1,024 examples, MLP 24-64-64-1, float32", example_gradients),
        Suite("taylor", "Derivative of a network at 10⁴ points by its order, MLP 1-64-64-64-1 tanh, float32", taylor),
        Suite("laplacian", "Laplacian of a network at 10³ points, four layers, tanh, float32", laplacian),
        Suite("compile_time", "First call of a compiled function: recording, compiling and one run", compile_time),
        Suite(
            "memory",
            "Peak memory of the Burgers step, 10⁵ points",
            memory,
            metric="memory",
            note="resident memory at its peak beyond that of the same step on 10³ points",
        ),
    )
}
