"""The workloads on NumPy (with SciPy's functions, where installed): no derivatives, but a measure for the rest."""

from __future__ import annotations

from typing import Any

import numpy as np

from workloads import problems
from workloads.work import expression, importing

try:
    from scipy import special
except ImportError:
    special = None

PACKAGES = ("numpy", "scipy")

SPECIAL = {
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "neg": np.negative,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "atan2": np.arctan2,
    "pow2.5": lambda x: x**2.5,
    "1/x": lambda x: 1 / x,
    **({"erf": special.erf, "erfc": special.erfc, "sigmoid": special.expit} if special else {}),
}


def set_threads(count: int) -> None:
    """Elementwise functions run on one thread; the matrix product heeds OPENBLAS_NUM_THREADS."""


def to_numpy(x: Any) -> Any:
    return x


def forward(variant: str, function_name: str, size: int, dtype: str) -> Any:
    fn = SPECIAL.get(function_name) or getattr(np, function_name, None)
    if fn is None:
        raise NotImplementedError(f"no {function_name}")
    args = problems.operands(function_name, size, dtype)
    return lambda: fn(*args)


def gemm(variant: str, m: int, k: int, n: int, dtype: str, batch: int | None = None) -> Any:
    a, b = problems.matrices(m, k, n, dtype, batch)
    return expression("matmul(a, b)", matmul=np.matmul, a=a, b=b)


def small_mul(variant: str, size: int) -> Any:
    x, y = problems.vectors(size, 2)
    return expression("x * y", x=x, y=y)


WORKLOADS = {
    "forward": forward,
    "gemm": gemm,
    "small_mul": small_mul,
    "import": lambda variant: importing("numpy"),
}
