"""What Evolute must reach: one table. A figure below its bar is a failure, whoever is to blame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

FORWARD_TWICE = ("sinh", "cosh", "atanh", "asinh", "acosh", "erf")


@dataclass(frozen=True)
class Bar:
    """A bound on the cases of a suite whose names match a pattern.

    Parameters
    ----------
    suite, cases : str
        The suite, and a pattern of case names.
    peer : str, optional
        Who to compare with: `faster` is the least ratio time(peer) / time(base).
    base : str, optional
        Whose time is meant; the first peer of the case by default.
    faster : float, optional
        How many times as fast as `peer` it must be. Below 1 it may be slower.
    seconds : float, optional
        The most time it may take.
    """

    suite: str
    cases: str
    peer: str | None = None
    faster: float | None = None
    seconds: float | None = None
    base: str | None = None

    def text(self) -> str:
        if self.seconds is not None:
            return f"≤ {self.seconds * 1e6:g} µs" if self.seconds < 1e-3 else f"≤ {self.seconds * 1e3:g} ms"
        return f"≥ {self.faster:.3g}× {self.peer}"


def each(suite: str, cases: tuple[str, ...], peer: str, faster: float) -> list[Bar]:
    return [Bar(suite, case, peer, faster) for case in cases]


GEMM_LEVEL = ("256×256*", "1024×1024*", "2048×2048*")
GEMM_NETWORK = ("10000×64·*", "64×10000*", "10000×20·*", "4096×24*")
GEMM_SMALL = ("64×64·64×64*", "16×16*")

BARS = [
    # forward: the first bar that matches counts, for each peer
    *each("forward", tuple(f"{name} *" for name in FORWARD_TWICE), "torch", 2.0),
    Bar("forward", "*", "torch", faster=1.0),
    Bar("grad1", "*", "torch", faster=2.0),
    Bar("grad2", "*", "torch", faster=3.0),
    Bar("grad2", "*", "copy-passes", faster=1 / 2),
    *each("gemm", GEMM_LEVEL, "torch", 0.9),
    *each("gemm", GEMM_NETWORK, "torch", 1.1),
    *each("gemm", GEMM_SMALL, "torch", 1.5),
    Bar("overhead", "x[*]y", seconds=0.30e-6),
    Bar("overhead", "x[*]y", "numpy", faster=1 / 1.15),
    Bar("overhead", "gradient of (sin(x)[*]y).sum()", seconds=5e-6),
    Bar("overhead", "second derivative of sin", seconds=8e-6),
    Bar("overhead", "second derivative of sin, compiled", seconds=1.5e-6),
    Bar("import", "*", seconds=0.1),
    Bar("threads", "*", "evolute-1t", faster=1.8),
    *each("compiled2", ("sin", "cos", "tan"), "jax", 4.0),
    *each("compiled2", ("sinh",), "jax", 1.5),
    Bar("compiled2", "*", "jax", faster=1.0),
    Bar("compiled2", "*", "copy", faster=1 / 1.5),
    Bar("chain", "*", "jax", faster=2.0),
    Bar("burgers", "plain", "evolute-jit-forward", faster=1 / 1.2),
    Bar("burgers", "*", "jax", faster=3.0),
    Bar("burgers", "*", "jax-vmap", faster=3.0),
    Bar("burgers", "*", "torch", faster=3.0),
    Bar("forces", "*", "jax", faster=1.5),
    Bar("forces", "*", "torch", faster=1.5),
    Bar("rosenbrock", "Hessian", "jax", faster=1.0),
    Bar("sparse", "n = 2000", "evolute-jit", faster=100.0),
    Bar("examples", "MLP", "torch-func", faster=2.0),
    Bar("taylor", "order 6", "jax", faster=3.0),
    Bar("laplacian", "*", "jax-folx", faster=1.0),
    Bar("laplacian", "*", "jax", faster=1.0),
    Bar("rosenbrock", "Hessian-vector product", seconds=12e-6),
    Bar("compile_time", "Burgers step, 8 points", seconds=30e-3),
    Bar("memory", "*", "jax", faster=1.0),
    Bar("memory", "*", "jax-vmap", faster=1.0),
]


def bars_of(suite: str, case: str) -> Iterator[Bar]:
    """Bars of a case; of several that name the same peer the first."""
    seen = set()
    for bar in BARS:
        if bar.suite == suite and fnmatchcase(case, bar.cases) and bar.peer not in seen:
            seen.add(bar.peer)
            yield bar
