"""Which operations are tested for what: the cells of docs/operations.md, which `.ci/make_operations.py` writes.

Each name is that of a case of a test which fails if the operation does not do what its column says.
"""

from __future__ import annotations

import test_table
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
    "jet": set(),
    "vmap": _ELEMENTWISE | set(test_vmap_ops.CASES),  # test_vmap_ops.py, against a loop over examples
    "CPU": _ELEMENTWISE | set(test_vmap_ops.CASES),
    "CUDA": set(),
}
