"""The workloads on MindSpore. Variants: graph (`mindspore.jit`) and pynative (eager). Every call waits for its result.

Functions are spelled with `def`: graph mode parses their source and takes few lambdas.
"""

from __future__ import annotations

from typing import Any

import harness
import mindspore as ms
from mindspore import Tensor, ops

from workloads import problems
from workloads.work import Work, importing, leaves

PACKAGES = ("mindspore", "numpy")


def power(x):
    return x**2.5


def inverse(x):
    return 1 / x


SPECIAL = {"pow2.5": power, "1/x": inverse}


def set_threads(count: int) -> None:
    """The number of CPUs bounds the kernels; `dispatch_threads_num` makes small graphs ten times slower."""
    ms.set_context(mode=ms.PYNATIVE_MODE)


def to_numpy(x: Any) -> Any:
    return x.asnumpy()


def tensors(arrays: Any) -> list[Tensor]:
    return [Tensor(a) for a in arrays]


def waiting(fn: Any, variant: str, *args: Any) -> Any:
    run = ms.jit(fn) if variant == "graph" else fn

    def call() -> Any:
        result = run(*args)
        for part in leaves(result):
            part.asnumpy()  # on the CPU this is how to wait
        return result

    return call


def function(name: str) -> Any:
    fn = SPECIAL.get(name) or getattr(ops, name, None)
    if fn is None:
        raise NotImplementedError(f"no {name}")
    return fn


# ---- Elementwise functions -------------------------------------------------------------------------------------------


def forward(variant: str, function_name: str, size: int, dtype: str) -> Any:
    return waiting(function(function_name), variant, *tensors(problems.operands(function_name, size, dtype)))


def grad(variant: str, function_name: str, size: int, dtype: str, order: int) -> Any:
    fn = function(function_name)
    positions = 0 if problems.FUNCTIONS[function_name].arity == 1 else (0, 1)
    for _ in range(order):
        fn = ms.grad(fn, positions)
    return waiting(fn, variant, *tensors(problems.operands(function_name, size, dtype)))


def chain(variant: str, size: int) -> Any:
    def f(x):
        wave = ops.exp(-(x**2)) * ops.sin(3 * x) / (1 + x**2)
        return (wave + ops.log(1 + x) * ops.sqrt(x)).sum()

    return waiting(ms.grad(f), variant, *tensors(problems.vectors(size, 1)))


# ---- Matrix products, small calls ------------------------------------------------------------------------------------


def gemm(variant: str, m: int, k: int, n: int, dtype: str, batch: int | None = None) -> Any:
    return waiting(ops.matmul, variant, *tensors(problems.matrices(m, k, n, dtype, batch)))


def small_mul(variant: str, size: int) -> Any:
    return waiting(ops.mul, variant, *tensors(problems.vectors(size, 2)))


def small_grad(variant: str, size: int) -> Any:
    def f(x, y):
        return (ops.sin(x) * y).sum()

    return waiting(ms.grad(f), variant, *tensors(problems.vectors(size, 2)))


def small_grad2(variant: str, size: int) -> Any:
    return waiting(ms.grad(ms.grad(ops.sin)), variant, *tensors(problems.vectors(size, 1)))


# ---- Training steps --------------------------------------------------------------------------------------------------


def network(params, x):
    for weight, bias in params[:-1]:
        x = ops.tanh(ops.matmul(x, weight) + bias)
    return ops.matmul(x, params[-1][0]) + params[-1][1]


def network_params(widths: Any) -> tuple[Any, ...]:
    return tuple(tuple(tensors(layer)) for layer in problems.mlp(*widths))


def flat(params: Any) -> list[Tensor]:
    return [p for layer in params for p in layer]


def pairs(values):
    return tuple((values[i], values[i + 1]) for i in range(0, len(values), 2))


def burgers_loss(x, t, *values):
    params = pairs(values)

    def u(x, t):
        return network(params, ops.concat((x, t), 1))

    def u_x(x, t):
        return ms.grad(u, 0)(x, t)

    u_t = ms.grad(u, 1)(x, t)
    u_xx = ms.grad(u_x, 0)(x, t)
    residual = u_t + u(x, t) * u_x(x, t) - problems.VISCOSITY * u_xx
    return ops.mean(ops.square(residual))


def burgers_work(variant: str, points: int, residual: str) -> Any:
    if residual != "plain":
        raise NotImplementedError("no nested jvp")
    values = flat(network_params(problems.BURGERS_WIDTHS))
    x, t = tensors(problems.burgers_points(points))
    positions = tuple(range(2, 2 + len(values)))
    return waiting(ms.value_and_grad(burgers_loss, positions), variant, x, t, *values)


def burgers_compile(variant: str, points: int, residual: str) -> Any:
    def make() -> Any:
        return burgers_work("graph", points, residual)

    return Work(make(), harness.first_call(make))


def forces_loss(x, target, *values):
    params = pairs(values)

    def energy(x):
        return network(params, x)

    force = -ms.grad(energy)(x)
    return ops.mean(ops.square(force - target))


def forces(variant: str, batch: int) -> Any:
    values = flat(network_params(problems.FORCES_WIDTHS))
    positions = tuple(range(2, 2 + len(values)))
    return waiting(ms.value_and_grad(forces_loss, positions), variant, *tensors(problems.force_batch(batch)), *values)


WORKLOADS = {
    "forward": forward,
    "grad": grad,
    "chain": chain,
    "gemm": gemm,
    "small_mul": small_mul,
    "small_grad": small_grad,
    "small_grad2": small_grad2,
    "burgers": burgers_work,
    "burgers_compile": burgers_compile,
    "forces": forces,
    "import": lambda variant: importing("mindspore"),
}
