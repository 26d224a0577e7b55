"""The workloads on JAX, compiled by `jax.jit`. Every call waits for its result."""

from __future__ import annotations

from typing import Any

import harness
import jax
import jax.numpy as jnp
import numpy as np

from workloads import problems
from workloads.work import Work, expression, importing

PACKAGES = ("jax", "jaxlib", "numpy")

jax.config.update("jax_enable_x64", True)

SPECIAL = {
    "rsqrt": jax.lax.rsqrt,
    "erf": jax.scipy.special.erf,
    "erfc": jax.scipy.special.erfc,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "relu": jax.nn.relu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "silu": jax.nn.silu,
    "asin": jnp.arcsin,
    "acos": jnp.arccos,
    "atan": jnp.arctan,
    "asinh": jnp.arcsinh,
    "acosh": jnp.arccosh,
    "atanh": jnp.arctanh,
    "atan2": jnp.arctan2,
    "sub": jnp.subtract,
    "mul": jnp.multiply,
    "div": jnp.divide,
    "neg": jnp.negative,
    "pow2.5": lambda x: x**2.5,
    "1/x": lambda x: 1 / x,
}


def set_threads(count: int) -> None:
    """XLA takes as many threads as there are CPUs for the process."""


def to_numpy(x: Any) -> Any:
    return np.asarray(x)


def function(name: str) -> Any:
    return SPECIAL.get(name) or getattr(jnp, name)


def arrays(values: Any) -> list[Any]:
    return [jax.device_put(a) for a in values]


def waiting(fn: Any, *args: Any) -> Any:
    return lambda: jax.block_until_ready(fn(*args))


# ---- Elementwise functions -------------------------------------------------------------------------------------------


def forward(variant: str, function_name: str, size: int, dtype: str) -> Any:
    args = arrays(problems.operands(function_name, size, dtype))
    return waiting(jax.jit(function(function_name)), *args)


def derivative(fn: Any, arity: int, order: int) -> Any:
    """Gradient of the sum of `fn`, and of the sum of that gradient."""
    positions = 0 if arity == 1 else tuple(range(arity))
    for _ in range(order):
        fn = jax.grad(summed(fn), positions)
    return fn


def summed(fn: Any) -> Any:
    return lambda *args: sum(jnp.sum(part) for part in jax.tree.leaves(fn(*args)))


def grad(variant: str, function_name: str, size: int, dtype: str, order: int) -> Any:
    fn = jax.jit(derivative(function(function_name), problems.FUNCTIONS[function_name].arity, order))
    args = arrays(problems.operands(function_name, size, dtype))
    return waiting(fn, *args)


def chain(variant: str, size: int) -> Any:
    def f(x: Any) -> Any:
        wave = jnp.exp(-(x**2)) * jnp.sin(3 * x) / (1 + x**2)
        return jnp.sum(wave + jnp.log(1 + x) * jnp.sqrt(x))

    (x,) = arrays(problems.vectors(size, 1))
    return waiting(jax.jit(jax.grad(f)), x)


def chain_compile(variant: str, size: int) -> Any:
    def make() -> Any:
        jax.clear_caches()
        return chain(variant, size)

    return Work(make(), harness.first_call(make))


# ---- Matrix products, small calls ------------------------------------------------------------------------------------


def nested_gradient(order: int) -> Any:
    def f(x: Any) -> Any:
        for _ in range(2):
            x = jnp.sin(x)
            x = x * jnp.exp(x)
            x = jnp.tanh(x)
            x = x / (1.5 + x)
        return x**1.5

    for _ in range(order):
        f = (lambda g: jax.grad(lambda x: jnp.sum(g(x))))(f)
    return f


def nested(variant: str, order: int, size: int) -> Any:
    (x,) = arrays(problems.vectors(size, 1, "float64"))
    return waiting(jax.jit(nested_gradient(order)), x)


def nested_compile(variant: str, order: int, size: int) -> Any:
    def make() -> Any:
        jax.clear_caches()
        return nested(variant, order, size)

    return Work(make(), harness.first_call(make))


def loop_linear(w: Any, h: Any, xs: Any) -> Any:
    last, all_of_them = jax.lax.scan(lambda h, x: (h * 0.9 + x, h), h, xs)
    return jnp.sum(last) + jnp.sum(all_of_them)


def loop_ode(w: Any, h: Any, xs: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        k1 = jnp.sin(h) + x
        k2 = jnp.sin(h + 0.05 * k1) + x
        return h + 0.025 * (k1 + k2), None

    return jnp.sum(jax.lax.scan(step, h, xs)[0])


def loop_rnn(w: Any, h: Any, xs: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = jnp.tanh(h @ w + x)
        return h, h

    return jnp.sum(jnp.square(jax.lax.scan(step, h, xs)[1]))


LOOPS = {"linear": loop_linear, "ode": loop_ode, "rnn": loop_rnn}


def loop(variant: str, body: str, width: int, steps: int, gradient: bool) -> Any:
    w, h, xs = arrays(problems.recurrence(width, steps))
    fn = LOOPS[body]
    fn = jax.jit(jax.grad(fn, 0 if body == "rnn" else 1) if gradient else fn)
    return waiting(fn, w, h, xs)


def gemm(variant: str, m: int, k: int, n: int, dtype: str, batch: int | None = None) -> Any:
    a, b = arrays(problems.matrices(m, k, n, dtype, batch))
    return expression("matmul(a, b).block_until_ready()", matmul=jax.jit(jnp.matmul), a=a, b=b)


def small_mul(variant: str, size: int) -> Any:
    x, y = arrays(problems.vectors(size, 2))
    return expression("(x * y).block_until_ready()", x=x, y=y)


def small_grad(variant: str, size: int) -> Any:
    x, y = arrays(problems.vectors(size, 2))
    fn = jax.jit(jax.grad(lambda x, y: jnp.sum(jnp.sin(x) * y)))
    return expression("fn(x, y).block_until_ready()", fn=fn, x=x, y=y)


def small_grad2(variant: str, size: int) -> Any:
    (x,) = arrays(problems.vectors(size, 1))
    return expression("fn(x).block_until_ready()", fn=jax.jit(derivative(jnp.sin, 1, 2)), x=x)


# ---- Training steps --------------------------------------------------------------------------------------------------


def network(params: Any, x: Any) -> Any:
    *hidden, (w, b) = params
    for weight, bias in hidden:
        x = jnp.tanh(x @ weight + bias)
    return x @ w + b


def network_params(widths: Any) -> list[Any]:
    return [arrays(layer) for layer in problems.mlp(*widths)]


def burgers_residual_points(params: Any, x: Any, t: Any) -> Any:
    """A scalar function of a point, differentiated and mapped over the points: JAX's own style."""

    def u(x: Any, t: Any) -> Any:
        return network(params, jnp.stack([x, t]))[0]

    def residual(x: Any, t: Any) -> Any:
        u_x = jax.grad(u, 0)
        return jax.grad(u, 1)(x, t) + u(x, t) * u_x(x, t) - problems.VISCOSITY * jax.grad(u_x, 0)(x, t)

    return jax.vmap(residual)(x[:, 0], t[:, 0])


def burgers_residual(params: Any, x: Any, t: Any) -> Any:
    """A function of all points, whose sum is differentiated."""

    def u(x: Any, t: Any) -> Any:
        return network(params, jnp.concatenate([x, t], 1))

    u_x = jax.grad(summed(u), 0)
    u_t = jax.grad(summed(u), 1)
    u_xx = jax.grad(summed(u_x), 0)
    return u_t(x, t) + u(x, t) * u_x(x, t) - problems.VISCOSITY * u_xx(x, t)


def burgers_residual_forward(params: Any, x: Any, t: Any) -> Any:
    one = jnp.ones_like(x)

    def u(x: Any, t: Any) -> Any:
        return network(params, jnp.concatenate([x, t], 1))

    def along_x(x: Any) -> Any:
        return jax.jvp(lambda x: u(x, t), (x,), (one,))

    (value, u_x), (_, u_xx) = jax.jvp(along_x, (x,), (one,))
    _, u_t = jax.jvp(lambda t: u(x, t), (t,), (one,))
    return u_t + value * u_x - problems.VISCOSITY * u_xx


def burgers_step(variant: str, residual: str) -> Any:
    fn = burgers_residual_points if variant == "vmap" else burgers_residual
    if residual == "forward":
        fn = burgers_residual_forward
    return jax.jit(jax.value_and_grad(lambda params, x, t: jnp.mean(jnp.square(fn(params, x, t)))))


def burgers(variant: str, points: int, residual: str) -> Any:
    params = network_params(problems.BURGERS_WIDTHS)
    x, t = arrays(problems.burgers_points(points))
    step = burgers_step(variant, residual)

    def stated_bytes() -> int:
        memory = step.lower(params, x, t).compile().memory_analysis()
        return int(memory.argument_size_in_bytes + memory.temp_size_in_bytes + memory.output_size_in_bytes)

    return Work(waiting(step, params, x, t), stated_bytes=stated_bytes)


def burgers_compile(variant: str, points: int, residual: str) -> Any:
    params = network_params(problems.BURGERS_WIDTHS)
    x, t = arrays(problems.burgers_points(points))

    def make() -> Any:
        jax.clear_caches()
        return waiting(burgers_step(variant, residual), params, x, t)

    return Work(make(), harness.first_call(make))


def forces(variant: str, batch: int) -> Any:
    params = network_params(problems.FORCES_WIDTHS)
    x, target = arrays(problems.force_batch(batch))

    def loss(params: Any, x: Any, target: Any) -> Any:
        force = -jax.grad(lambda x: jnp.sum(network(params, x)))(x)
        return jnp.mean(jnp.square(force - target))

    return waiting(jax.jit(jax.value_and_grad(loss)), params, x, target)


def high_derivative(variant: str, points: int, order: int) -> Any:
    from jax.experimental.jet import jet

    params = network_params(problems.TAYLOR_WIDTHS)
    (x,) = arrays((problems.points(points, 1),))

    def fn(params: Any, x: Any) -> Any:
        series = [jnp.ones_like(x)] + [jnp.zeros_like(x)] * (order - 1)
        return jet(lambda x: network(params, x), (x,), (series,))[1][-1]

    return waiting(jax.jit(fn), params, x)


def laplacian(variant: str, points: int, dimensions: int, width: int) -> Any:
    params = network_params(problems.laplacian_widths(dimensions, width))
    (x,) = arrays((problems.points(points, dimensions),))

    def of_point(params: Any, x: Any) -> Any:
        def u(x: Any) -> Any:
            return network(params, x)[0]

        if variant == "folx":
            import folx

            return folx.forward_laplacian(u)(x).laplacian
        return jnp.trace(jax.hessian(u)(x))

    return waiting(jax.jit(jax.vmap(of_point, (None, 0))), params, x)


def example_gradients(variant: str, batch: int) -> Any:
    params = network_params(problems.EXAMPLES_WIDTHS)
    x, y = arrays(problems.examples(batch))

    def loss(params: Any, x: Any, y: Any) -> Any:
        return jnp.square(network(params, x)[0] - y)

    return waiting(jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0))), params, x, y)


# ---- Optimisation ----------------------------------------------------------------------------------------------------


def rosenbrock(x: Any) -> Any:
    return jnp.sum(100 * jnp.square(x[1:] - jnp.square(x[:-1])) + jnp.square(1 - x[:-1]))


def hessian(variant: str, size: int) -> Any:
    (x,) = arrays(problems.vectors(size, 1, "float64"))
    return waiting(jax.jit(jax.hessian(rosenbrock)), x)


def hvp(variant: str, size: int) -> Any:
    x, v = arrays(problems.vectors(size, 2, "float64"))
    fn = jax.jit(lambda x, v: jax.jvp(jax.grad(rosenbrock), (x,), (v,))[1])
    return expression("fn(x, v).block_until_ready()", fn=fn, x=x, v=v)


def pairs(x: Any) -> Any:
    return jnp.sum(100 * (x[1::2] - x[::2] ** 2) ** 2 + (1 - x[::2]) ** 2)


def pairs_hessian(variant: str, size: int) -> Any:
    x, v = arrays(problems.vectors(size, 2, "float64"))
    fn = jax.jit(jax.hessian(pairs))
    return Work(lambda: fn(x) @ v, harness.loop(lambda: fn(x).block_until_ready()))


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
    "import": lambda variant: importing("jax"),
}
