"""Operations on tensors, as functions (`sin`) and as objects (`Sin`), and transforms of functions.

`table` lists the operations that have derivative rules of their own.

Examples
--------
>>> from evolute import Tensor, ops
>>> x = Tensor([0.0, 1.0])
>>> bool((ops.Sin()(x) == ops.sin(x)).all())
True
"""

from evolute.ops import composite as composite
from evolute.ops import functional as functional
from evolute.ops import operations as operations
from evolute.ops._primitive import Primitive as Primitive
from evolute.ops._table import OpTable as OpTable
from evolute.ops._table import table as table
from evolute.ops.composite import *  # noqa: F403
from evolute.ops.functional import *  # noqa: F403
from evolute.ops.operations import *  # noqa: F403
