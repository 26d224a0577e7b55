"""Operations as functions: all those of the extension, and MindSpore's names for some of them.

Examples
--------
>>> from evolute import Tensor
>>> from evolute.ops import functional as F
>>> F.reduce_sum(Tensor([[1.0, 2.0], [3.0, 4.0]]), 0)
Tensor(shape=[2], dtype=Float32, value= [ 4.00000000e+00,  6.00000000e+00])
"""

from evolute.jacobians import hessian as hessian
from evolute.jacobians import hvp as hvp
from evolute.jacobians import jacfwd as jacfwd
from evolute.jacobians import jacobian as jacobian
from evolute.jacobians import jacrev as jacrev
from evolute.ops._aliases import *  # noqa: F403
from evolute.ops._clip import *  # noqa: F403
from evolute.ops._functions import *  # noqa: F403
from evolute.taylor import derivative as derivative
from evolute.taylor import jet as jet
from evolute.transforms import get_grad as get_grad
from evolute.transforms import grad as grad
from evolute.transforms import jvp as jvp
from evolute.transforms import value_and_grad as value_and_grad
from evolute.transforms import vjp as vjp
from evolute.transforms import vmap as vmap
