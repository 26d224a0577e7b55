"""Transforms of functions: gradients and directional derivatives."""

from evolute.transforms import GradOperation, get_grad, grad, hessian, jacfwd, jacrev, jvp, value_and_grad, vjp

__all__ = ["GradOperation", "get_grad", "grad", "hessian", "jacfwd", "jacrev", "jvp", "value_and_grad", "vjp"]
