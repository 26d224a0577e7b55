"""Which operations are tested for what: the cells of docs/operations.md, which `.ci/make_operations.py` writes.

Each name is that of a case of a test which fails if the operation does not do what its column says.
"""

from __future__ import annotations

import test_gpu
import test_table
import test_taylor
import test_vmap_ops
from checks import ROWS

_ELEMENTWISE = {row["name"] for row in ROWS}
_SMOOTH = {row["name"] for row in ROWS if row["reverse"]}
#: test_table.py: every differentiable operation, in every combination of both modes to order 3, against NumPy.
#: test_elementwise.py: every elementwise function, the same against mpmath.
_DERIVATIVES = _SMOOTH | set(test_table.CASES)

TESTED = {
    "reverse": _DERIVATIVES,
    "forward": _DERIVATIVES,
    "second order": _DERIVATIVES,
    # test_taylor.py: functions against mpmath to order 10, the others against nested forward mode to order 4
    "jet": {*test_taylor.UNARY, *test_taylor.BINARY, *(name for name, *_ in test_taylor.SMOOTH)} & _DERIVATIVES,
    "vmap": _ELEMENTWISE | set(test_vmap_ops.CASES),  # test_vmap_ops.py, against a loop over examples
    "CPU": _ELEMENTWISE | set(test_vmap_ops.CASES),
    # test_gpu.py: values and both derivatives beside those of the CPU, on a GPU or on the emulation
    "CUDA": _ELEMENTWISE | {name for name, *_ in test_gpu.OPERATIONS},
}
