"""Transforms of functions: gradients, directional derivatives, Jacobians, and functions of many examples."""

from evolute.jacobians import hessian, hvp, jacfwd, jacobian, jacrev
from evolute.taylor import derivative, jet
from evolute.transforms import GradOperation, get_grad, grad, jvp, value_and_grad, vjp, vmap

__all__ = [
    "GradOperation",
    "derivative",
    "get_grad",
    "grad",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jet",
    "jvp",
    "value_and_grad",
    "vjp",
    "vmap",
]
