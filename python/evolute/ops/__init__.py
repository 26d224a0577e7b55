"""Operations on tensors, as functions (`sin`) and as objects (`Sin`), and transforms of functions.

`table` lists the operations that have derivative rules of their own.

Examples
--------
>>> from evolute import Tensor, ops
>>> x = Tensor([0.0, 1.0])
>>> bool((ops.Sin()(x) == ops.sin(x)).all())
True
"""

from evolute.ops import composite, functional, operations
from evolute.ops._primitive import Primitive
from evolute.ops._table import OpTable, table
from evolute.ops.composite import *
from evolute.ops.functional import *
from evolute.ops.operations import *
