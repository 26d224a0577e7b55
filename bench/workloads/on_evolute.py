"""The workloads on Evolute. Variants: eager and jit; for Burgers also jit-forward, whatever the case says."""

from __future__ import annotations

from typing import Any

import harness
import numpy as np

import evolute as ev
from evolute import Tensor, ops
from workloads import problems
from workloads.work import Work, expression, importing

PACKAGES = ("evolute", "numpy")

SPECIAL = {
    "pow2.5": lambda x: x**2.5,
    "1/x": lambda x: 1 / x,
}


def set_threads(count: int) -> None:
    if hasattr(ev, "set_num_threads"):
        ev.set_num_threads(count)


def to_numpy(x: Any) -> Any:
    return np.asarray(x)


def function(name: str) -> Any:
    return SPECIAL.get(name) or getattr(ops, name)


def tensors(arrays: Any) -> list[Tensor]:
    return [ev.from_numpy(a) for a in arrays]


def compiled(fn: Any, variant: str) -> Any:
    return fn if variant == "eager" else ev.jit(fn)


# ---- Elementwise functions -------------------------------------------------------------------------------------------


def forward(variant: str, function_name: str, size: int, dtype: str) -> Any:
    fn = compiled(function(function_name), variant)
    args = tensors(problems.operands(function_name, size, dtype))
    return lambda: fn(*args)


def derivative(fn: Any, arity: int, order: int) -> Any:
    """Gradient of the sum of `fn`, and of the sum of that gradient."""
    positions = 0 if arity == 1 else tuple(range(arity))
    first = ev.grad(fn, positions)
    if order == 1:
        return first
    return ev.grad(first, positions)


def grad(variant: str, function_name: str, size: int, dtype: str, order: int) -> Any:
    fn = compiled(derivative(function(function_name), problems.FUNCTIONS[function_name].arity, order), variant)
    args = tensors(problems.operands(function_name, size, dtype))
    return lambda: fn(*args)


def chain(variant: str, size: int) -> Any:
    def f(x: Tensor) -> Tensor:
        wave = ops.exp(-(x**2)) * ops.sin(3 * x) / (1 + x**2)
        return ops.sum(wave + ops.log(1 + x) * ops.sqrt(x))

    fn = compiled(ev.grad(f), variant)
    (x,) = tensors(problems.vectors(size, 1))
    return lambda: fn(x)


def chain_compile(variant: str, size: int) -> Any:
    def make() -> Any:
        return chain("jit", size)

    return Work(make(), harness.first_call(make))


def nested_gradient(order: int) -> Any:
    """Gradient of the sum, `order` times over, of a chain of ten operations."""

    def f(x: Tensor) -> Tensor:
        for _ in range(2):
            x = ops.sin(x)
            x = x * ops.exp(x)
            x = ops.tanh(x)
            x = x / (1.5 + x)
        return x**1.5

    for _ in range(order):
        f = (lambda g: ev.grad(lambda x: ops.sum(g(x))))(f)
    return f


def nested(variant: str, order: int, size: int) -> Any:
    fn = compiled(nested_gradient(order), variant)
    (x,) = tensors(problems.vectors(size, 1, "float64"))
    return lambda: fn(x)


def nested_compile(variant: str, order: int, size: int) -> Any:
    def make() -> Any:
        return nested("jit", order, size)

    return Work(make(), harness.first_call(make))


# ---- Loops -----------------------------------------------------------------------------------------------------------


def loop_linear(w: Tensor, h: Tensor, xs: Tensor) -> Tensor:
    last, all_of_them = ops.scan(lambda h, x: (h * 0.9 + x, h), h, xs)
    return ops.sum(last) + ops.sum(all_of_them)


def loop_ode(w: Tensor, h: Tensor, xs: Tensor) -> Tensor:
    """Heun's method."""

    def step(h: Tensor, x: Tensor) -> Any:
        k1 = ops.sin(h) + x
        k2 = ops.sin(h + 0.05 * k1) + x
        return h + 0.025 * (k1 + k2), None

    return ops.sum(ops.scan(step, h, xs)[0])


def loop_rnn(w: Tensor, h: Tensor, xs: Tensor) -> Tensor:
    def step(h: Tensor, x: Tensor) -> Any:
        h = ops.tanh(h @ w + x)
        return h, h

    return ops.sum(ops.square(ops.scan(step, h, xs)[1]))


LOOPS = {"linear": loop_linear, "ode": loop_ode, "rnn": loop_rnn}


def loop(variant: str, body: str, width: int, steps: int, gradient: bool) -> Any:
    w, h, xs = tensors(problems.recurrence(width, steps))
    fn = LOOPS[body]
    fn = compiled(ev.grad(fn, 0 if body == "rnn" else 1) if gradient else fn, variant)
    return lambda: fn(w, h, xs)


# ---- Matrix products, small calls ------------------------------------------------------------------------------------


def gemm(variant: str, m: int, k: int, n: int, dtype: str, batch: int | None = None) -> Any:
    a, b = tensors(problems.matrices(m, k, n, dtype, batch))
    return expression("matmul(a, b)", matmul=ops.matmul, a=a, b=b)


def small_mul(variant: str, size: int) -> Any:
    x, y = tensors(problems.vectors(size, 2))
    return expression("x * y", x=x, y=y)


def small_grad(variant: str, size: int) -> Any:
    x, y = tensors(problems.vectors(size, 2))
    fn = compiled(ev.grad(lambda x, y: ops.sum(ops.sin(x) * y)), variant)
    return expression("fn(x, y)", fn=fn, x=x, y=y)


def small_grad2(variant: str, size: int) -> Any:
    (x,) = tensors(problems.vectors(size, 1))
    fn = compiled(ev.grad(ev.grad(ops.sin)), variant)
    return expression("fn(x)", fn=fn, x=x)


# ---- Training steps --------------------------------------------------------------------------------------------------


def network(params: Any, x: Tensor) -> Tensor:
    *hidden, (w, b) = params
    for weight, bias in hidden:
        x = ops.tanh(x @ weight + bias)
    return x @ w + b


def network_params(widths: Any) -> tuple[Any, ...]:
    return tuple(tuple(tensors(layer)) for layer in problems.mlp(*widths))


def burgers_residual(params: Any, x: Tensor, t: Tensor) -> Tensor:
    """Derivatives by nested reverse mode, as it is written in papers."""

    def u(x: Tensor, t: Tensor) -> Tensor:
        return network(params, ops.concat([x, t], 1))

    u_x = ev.grad(u, 0)
    u_t = ev.grad(u, 1)
    u_xx = ev.grad(u_x, 0)
    return u_t(x, t) + u(x, t) * u_x(x, t) - problems.VISCOSITY * u_xx(x, t)


def burgers_residual_forward(params: Any, x: Tensor, t: Tensor) -> Tensor:
    """Derivatives by forward mode over forward mode."""
    one = ops.ones_like(x)

    def u(x: Tensor, t: Tensor) -> Tensor:
        return network(params, ops.concat([x, t], 1))

    def along_x(x: Tensor) -> Any:
        return ev.jvp(lambda x: u(x, t), x, one)

    (value, u_x), (_, u_xx) = ev.jvp(along_x, x, one)
    _, u_t = ev.jvp(lambda t: u(x, t), t, one)
    return u_t + value * u_x - problems.VISCOSITY * u_xx


RESIDUALS = {"plain": burgers_residual, "forward": burgers_residual_forward}


def burgers_step(variant: str, residual: str) -> Any:
    def loss(params: Any, x: Tensor, t: Tensor) -> Tensor:
        return ops.mean(ops.square(RESIDUALS[residual](params, x, t)))

    return compiled(ev.value_and_grad(loss), variant)


def burgers(variant: str, points: int, residual: str) -> Any:
    variant, _, instead = variant.partition("-")
    residual = instead or residual
    params = network_params(problems.BURGERS_WIDTHS)
    x, t = tensors(problems.burgers_points(points))
    step = burgers_step(variant, residual)

    def stated_bytes() -> int:
        ev._evolute.reset_peak_memory()
        step(params, x, t)
        return int(ev._evolute.memory_stats()["peak_bytes"])

    return Work(lambda: step(params, x, t), stated_bytes=stated_bytes)


def burgers_compile(variant: str, points: int, residual: str) -> Any:
    params = network_params(problems.BURGERS_WIDTHS)
    x, t = tensors(problems.burgers_points(points))

    def make() -> Any:
        step = burgers_step("jit", residual)
        return lambda: step(params, x, t)

    return Work(make(), harness.first_call(make))


def forces(variant: str, batch: int) -> Any:
    params = network_params(problems.FORCES_WIDTHS)
    x, target = tensors(problems.force_batch(batch))

    def loss(params: Any, x: Tensor, target: Tensor) -> Tensor:
        force = -ev.grad(lambda x: network(params, x))(x)
        return ops.mean(ops.square(force - target))

    step = compiled(ev.value_and_grad(loss), variant)
    return lambda: step(params, x, target)


def high_derivative(variant: str, points: int, order: int) -> Any:
    params = network_params(problems.TAYLOR_WIDTHS)
    x = Tensor(problems.points(points, 1))
    fn = compiled(lambda params, x: ops.derivative(lambda x: network(params, x), x, order)[1], variant)
    return lambda: fn(params, x)


def laplacian(variant: str, points: int, dimensions: int, width: int) -> Any:
    params = network_params(problems.laplacian_widths(dimensions, width))
    x = Tensor(problems.points(points, dimensions))
    fn = compiled(lambda params, x: ev.laplacian(lambda x: network(params, x)[0])(x), variant)
    return lambda: fn(params, x)


def example_gradients(variant: str, batch: int) -> Any:
    params = network_params(problems.EXAMPLES_WIDTHS)
    x, y = tensors(problems.examples(batch))

    def loss(params: Any, x: Tensor, y: Tensor) -> Tensor:
        return ops.square(network(params, x)[0] - y)

    fn = compiled(ev.vmap(ev.grad(loss), (None, 0, 0)), variant)
    return lambda: fn(params, x, y)


# ---- Optimisation ----------------------------------------------------------------------------------------------------


def rosenbrock(x: Tensor) -> Tensor:
    return ops.sum(100 * ops.square(x[1:] - ops.square(x[:-1])) + ops.square(1 - x[:-1]))


def hessian(variant: str, size: int) -> Any:
    (x,) = tensors(problems.vectors(size, 1, "float64"))
    fn = compiled(ev.hessian(rosenbrock), variant)
    return lambda: fn(x)


def hvp(variant: str, size: int) -> Any:
    x, v = tensors(problems.vectors(size, 2, "float64"))
    fn = compiled(lambda x, v: ev.jvp(ev.grad(rosenbrock), x, v)[1], variant)
    return expression("fn(x, v)", fn=fn, x=x, v=v)


def pairs(x: Tensor) -> Tensor:
    """The extended Rosenbrock function: independent pairs of variables."""
    return ops.sum(100 * ops.square(x[1::2] - ops.square(x[::2])) + ops.square(1 - x[::2]))


def pairs_hessian(variant: str, size: int) -> Any:
    x, v = tensors(problems.vectors(size, 2, "float64"))
    fn = ev.sparse_hessian(pairs) if variant == "sparse" else compiled(ev.hessian(pairs), variant)

    def product() -> Any:
        matrix = fn(x)
        return (matrix if variant == "sparse" else matrix.asnumpy()) @ v.asnumpy()

    return Work(product, harness.loop(lambda: fn(x)))


WORKLOADS = {
    "forward": forward,
    "grad": grad,
    "chain": chain,
    "chain_compile": chain_compile,
    "nested": nested,
    "nested_compile": nested_compile,
    "loop": loop,
    "gemm": gemm,
    "small_mul": small_mul,
    "small_grad": small_grad,
    "small_grad2": small_grad2,
    "burgers": burgers,
    "burgers_compile": burgers_compile,
    "forces": forces,
    "high_derivative": high_derivative,
    "laplacian": laplacian,
    "example_gradients": example_gradients,
    "hessian": hessian,
    "hvp": hvp,
    "pairs_hessian": pairs_hessian,
    "import": lambda variant: importing("evolute"),
}
