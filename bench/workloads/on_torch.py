"""The workloads on PyTorch. Variants: eager, func (torch.func) and compile (torch.compile, where it takes the work)."""

from __future__ import annotations

from typing import Any

import harness
import torch

from workloads import problems
from workloads.work import Work, expression, importing

PACKAGES = ("torch", "numpy")

SPECIAL = {
    "gelu": torch.nn.functional.gelu,
    "silu": torch.nn.functional.silu,
    "softplus": torch.nn.functional.softplus,
    "pow2.5": lambda x: x**2.5,
    "1/x": lambda x: 1 / x,
}
backward = torch.autograd.grad


def set_threads(count: int) -> None:
    torch.set_num_threads(count)


def to_numpy(x: Any) -> Any:
    return x.detach().numpy()


def function(name: str) -> Any:
    return SPECIAL.get(name) or getattr(torch, name)


def tensors(arrays: Any, requires_grad: bool = False) -> list[torch.Tensor]:
    return [torch.from_numpy(a).requires_grad_(requires_grad) for a in arrays]


def refuse(variant: str, *known: str) -> None:
    if variant not in known:
        raise NotImplementedError(f"no variant {variant}")


# ---- Elementwise functions -------------------------------------------------------------------------------------------


def forward(variant: str, function_name: str, size: int, dtype: str) -> Any:
    fn = function(function_name)
    args = tensors(problems.operands(function_name, size, dtype))
    return lambda: fn(*args)


def grad(variant: str, function_name: str, size: int, dtype: str, order: int) -> Any:
    fn = function(function_name)
    args = tensors(problems.operands(function_name, size, dtype), requires_grad=True)
    one = torch.ones((), dtype=args[0].dtype).expand_as(args[0])  # as fast as torch takes its cotangent

    def first() -> Any:
        return backward(fn(*args), args, one)

    def second() -> Any:
        slopes = backward(fn(*args), args, one, create_graph=True)
        return backward(slopes, args, [one] * len(args))

    return first if order == 1 else second


def chain(variant: str, size: int) -> Any:
    def f(x: torch.Tensor) -> torch.Tensor:
        wave = torch.exp(-(x**2)) * torch.sin(3 * x) / (1 + x**2)
        return torch.sum(wave + torch.log(1 + x) * torch.sqrt(x))

    refuse(variant, "eager", "compile")
    fn = torch.compile(f) if variant == "compile" else f
    (x,) = tensors(problems.vectors(size, 1), requires_grad=True)
    return lambda: backward(fn(x), x)


# ---- Matrix products, small calls ------------------------------------------------------------------------------------


def gemm(variant: str, m: int, k: int, n: int, dtype: str, batch: int | None = None) -> Any:
    a, b = tensors(problems.matrices(m, k, n, dtype, batch))
    return expression("matmul(a, b)", matmul=torch.matmul, a=a, b=b)


def small_mul(variant: str, size: int) -> Any:
    x, y = tensors(problems.vectors(size, 2))
    return expression("x * y", x=x, y=y)


def small_grad(variant: str, size: int) -> Any:
    x, y = tensors(problems.vectors(size, 2))
    if variant == "func":
        fn = torch.func.grad(lambda x, y: (torch.sin(x) * y).sum())
        return expression("fn(x, y)", fn=fn, x=x, y=y)
    x.requires_grad_()
    return expression("backward((sin(x) * y).sum(), x)", backward=backward, sin=torch.sin, x=x, y=y)


def small_grad2(variant: str, size: int) -> Any:
    (x,) = tensors(problems.vectors(size, 1))
    if variant == "func":
        first = torch.func.grad(lambda x: torch.sin(x).sum())
        fn = torch.func.grad(lambda x: first(x).sum())
        return expression("fn(x)", fn=fn, x=x)
    one = torch.ones_like(x)
    x.requires_grad_()

    def second() -> Any:
        (slope,) = backward(torch.sin(x), x, one, create_graph=True)
        return backward(slope, x, one)

    return second


# ---- Training steps --------------------------------------------------------------------------------------------------


def network(params: Any, x: torch.Tensor) -> torch.Tensor:
    *hidden, (w, b) = params
    for weight, bias in hidden:
        x = torch.tanh(torch.addmm(bias, x, weight))
    return torch.addmm(b, x, w)


def network_params(widths: Any) -> list[Any]:
    return [tensors(layer, requires_grad=True) for layer in problems.mlp(*widths)]


def burgers_residual(params: Any, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    one = torch.ones_like(x)
    u = network(params, torch.cat([x, t], 1))
    u_x, u_t = backward(u, (x, t), one, create_graph=True)
    (u_xx,) = backward(u_x, x, one, create_graph=True)
    return u_t + u * u_x - problems.VISCOSITY * u_xx


def burgers_residual_forward(params: Any, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    one = torch.ones_like(x)

    def u(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return network(params, torch.cat([x, t], 1))

    def along_x(x: torch.Tensor) -> Any:
        return torch.func.jvp(lambda x: u(x, t), (x,), (one,))

    (value, u_x), (_, u_xx) = torch.func.jvp(along_x, (x,), (one,))
    _, u_t = torch.func.jvp(lambda t: u(x, t), (t,), (one,))
    return u_t + value * u_x - problems.VISCOSITY * u_xx


def burgers(variant: str, points: int, residual: str) -> Any:
    params = network_params(problems.BURGERS_WIDTHS)
    x, t = tensors(problems.burgers_points(points))
    if residual == "forward":
        fn = burgers_residual_forward
    else:
        fn = burgers_residual
        x.requires_grad_()
        t.requires_grad_()
    flat = [p for layer in params for p in layer]

    def step() -> Any:
        loss = torch.mean(torch.square(fn(params, x, t)))
        return loss, backward(loss, flat)

    return step


def forces(variant: str, batch: int) -> Any:
    params = network_params(problems.FORCES_WIDTHS)
    x, target = tensors(problems.force_batch(batch))
    x.requires_grad_()
    # The bias of the energy has no part in its derivative by x.
    flat = [p for layer in params for p in layer]

    def step() -> Any:
        (slope,) = backward(network(params, x).sum(), x, create_graph=True)
        loss = torch.mean(torch.square(-slope - target))
        return loss, backward(loss, flat, materialize_grads=True)

    return step


def example_gradients(variant: str, batch: int) -> Any:
    refuse(variant, "func")
    params = [tensors(layer) for layer in problems.mlp(*problems.EXAMPLES_WIDTHS)]
    x, y = tensors(problems.examples(batch))

    def loss(params: Any, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        *hidden, (w, b) = params
        for weight, bias in hidden:
            x = torch.tanh(x @ weight + bias)
        return torch.square((x @ w + b)[0] - y)

    fn = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))
    return lambda: fn(params, x, y)


# ---- Optimisation ----------------------------------------------------------------------------------------------------


def rosenbrock(x: torch.Tensor) -> torch.Tensor:
    return torch.sum(100 * torch.square(x[1:] - torch.square(x[:-1])) + torch.square(1 - x[:-1]))


def hessian(variant: str, size: int) -> Any:
    (x,) = tensors(problems.vectors(size, 1, "float64"))
    fn = torch.func.hessian(rosenbrock)
    return lambda: fn(x)


def hvp(variant: str, size: int) -> Any:
    x, v = tensors(problems.vectors(size, 2, "float64"))
    if variant == "func":
        slope = torch.func.grad(rosenbrock)
        return lambda: torch.func.jvp(slope, (x,), (v,))[1]
    x.requires_grad_()

    def reverse() -> Any:
        (slope,) = backward(rosenbrock(x), x, create_graph=True)
        return backward(slope, x, v)

    return reverse


def chain_compile(variant: str, size: int) -> Any:
    """First call of the compiled gradient of the elementwise chain: second derivatives torch.compile refuses."""

    def make() -> Any:
        torch.compiler.reset()
        return chain("compile", size)

    return Work(make(), harness.first_call(make))


WORKLOADS = {
    "forward": forward,
    "grad": grad,
    "chain": chain,
    "gemm": gemm,
    "small_mul": small_mul,
    "small_grad": small_grad,
    "small_grad2": small_grad2,
    "burgers": burgers,
    "chain_compile": chain_compile,
    "forces": forces,
    "example_gradients": example_gradients,
    "hessian": hessian,
    "hvp": hvp,
    "import": lambda variant: importing("torch"),
}
