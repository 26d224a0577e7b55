"""Every differentiable primitive of the op table, reached through the function that applies it."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from checks import ROWS, as_double, check_derivatives, random_arrays
from reference import BINARY, COMPARE, UNARY

import evolute as ev
from evolute import Tensor, ops

MASK = np.array([[True, False, True], [False, False, True]])
INDEX = np.array([2, 0, 2, 1])


def with_rows_added(base, updates):
    out = base.astype(np.result_type(base, updates))
    np.add.at(out, INDEX, updates)
    return out


def with_rows_set(base, updates):
    out = base.astype(np.result_type(base, updates))
    out[INDEX] = updates
    return out


def well_conditioned(a):
    return a + 2 * np.eye(3)


def cofactors(a):
    return np.linalg.det(a) * np.linalg.inv(a).T


@ev.custom_jvp
def sine(x):
    return ops.sin(x)


sine.defjvps(lambda t, out, x: t * ops.cos(x))

# name: (function of tensors, the same in NumPy for real and complex arrays, shapes of the operands)
CASES = {
    "cast": (lambda x: ops.cast(ops.cast(x, "float32"), "float64"), lambda x: x, [(4,)]),
    "to_device": (lambda x: ops.to_device(x, x.device), lambda x: x, [(4,)]),  # between devices: test_gpu.py
    "where": (lambda x, y: ops.where(Tensor(MASK), x, y), lambda x, y: np.where(MASK, x, y), [(2, 3), (3,)]),
    "sum": (lambda x: ops.sum(x, 0), lambda x: x.sum(0), [(2, 3)]),
    "prod": (lambda x: ops.prod(x, 1), lambda x: x.prod(1), [(2, 3)]),
    "max": (lambda x: ops.max(x, 1), lambda x: x[np.arange(4), x.real.argmax(1)], [(4, 2)]),
    "min": (lambda x: ops.min(x, 1), lambda x: x[np.arange(4), x.real.argmin(1)], [(4, 2)]),
    "cumsum": (lambda x: ops.cumsum(x, 1), lambda x: x.cumsum(1), [(2, 3)]),
    "matmul": (ops.matmul, np.matmul, [(2, 3), (3, 2)]),
    "reshape": (lambda x: ops.reshape(x, (3, 2)), lambda x: x.reshape(3, 2), [(2, 3)]),
    "transpose": (ops.transpose, np.transpose, [(2, 3)]),
    "broadcast_to": (lambda x: ops.broadcast_to(x, (2, 3)), lambda x: x + np.zeros((2, 1)), [(3,)]),
    "concat": (lambda x, y: ops.concat([x, y, x]), lambda x, y: np.concatenate([x, y, x]), [(2,), (3,)]),
    "slice": (lambda x: x[::-2, 1:], lambda x: x[::-2, 1:], [(4, 3)]),
    "unslice": (lambda x: ops.pad(x, [(1, 2)]), lambda x: np.pad(x, [(1, 2)]), [(3,)]),
    "diagonal": (lambda x: ops.diagonal(x, 1), lambda x: x.diagonal(1), [(3, 4)]),
    "diag_embed": (lambda x: ops.diag(x, -1), lambda x: np.diag(x, -1), [(3,)]),
    "gather": (lambda x: x[Tensor(INDEX)], lambda x: x[INDEX], [(3, 2)]),
    "scatter_add": (lambda x, y: ops.index_increment(x, INDEX, y), with_rows_added, [(3, 2), (4, 2)]),
    "scatter_set": (lambda x, y: ops.index_update(x, INDEX, y), with_rows_set, [(3, 2), (4, 2)]),
    "solve": (
        lambda a, b: ops.solve(a + 2 * ops.eye(3), b),
        lambda a, b: np.linalg.solve(well_conditioned(a), b),
        [(3, 3), (3, 2)],
    ),
    "solve_triangular": (
        lambda a, b: ops.solve_triangular(a + 2 * ops.eye(3), b),
        lambda a, b: np.linalg.solve(np.tril(well_conditioned(a)), b),
        [(3, 3), (3, 2)],
    ),
    "cholesky": (
        lambda x: ops.cholesky(ops.diag(x + 2)),
        lambda x: np.diag(np.sqrt(x + 2)),
        [(3,)],
    ),
    "det": (ops.det, np.linalg.det, [(3, 3)]),
    "cofactor": (None, None, []),  # the derivative of det: the orders above the first are its own
    "checkpoint": (ev.checkpoint(lambda x: ops.sin(x) * x), lambda x: np.sin(x) * x, [(3,)]),
    "custom_rule": (lambda x: sine(x) * x, lambda x: np.sin(x) * x, [(3,)]),
    # Outside of recordings the rest runs as Python's own control flow; `checkpoint` records.
    "cond": (
        lambda x: ev.checkpoint(lambda x, p: ops.cond(p, ops.sin, ops.cos, x))(x, Tensor(False)),
        np.cos,
        [(3,)],
    ),
    "scan": (
        lambda x, y: ops.scan(lambda c, k: (ops.sin(c) * k, c), x, y, checkpoint=2)[0],
        lambda x, y: functools.reduce(lambda c, k: np.sin(c) * k, y, x),
        [(2,), (3, 2)],
    ),
    "while_loop": (
        ev.checkpoint(
            lambda x: ops.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, ops.sin(s[1]) * x), (Tensor(0), x))[1]
        ),
        lambda x: np.sin(np.sin(np.sin(x) * x) * x) * x,
        [(3,)],
    ),
    "logabsdet": (
        lambda a: ops.slogdet(a + 2 * ops.eye(3))[1],
        lambda a: np.log(np.linalg.det(well_conditioned(a))),
        [(3, 3)],
    ),
}


def test_every_primitive_has_a_case():
    elementwise = {*UNARY, *BINARY, *COMPARE}
    differentiable = {row["name"] for row in ops.table() if row["reverse"] and row["group"] != "derivative kernel"}
    missing = sorted(differentiable - elementwise - set(CASES))
    assert not missing, f"primitives with derivatives that tests/test_table.py does not test: {missing}"
    assert set(CASES) <= differentiable


def test_rules_come_in_pairs():
    """What one mode can differentiate, the other can; derivative kernels too, so that there is no last order."""
    one_mode = [row["name"] for row in ops.table() if row["reverse"] != row["forward"]]
    assert one_mode == []
    kernels = [row["name"] for row in ops.table() if row["group"] == "derivative kernel" and not row["reverse"]]
    assert kernels == []


@pytest.mark.parametrize("name", [n for n in CASES if n != "cofactor"])
def test_primitive(name):
    """Cubed, so that a derivative of the derivative is not zero; float32 in the middle costs digits."""
    fn, reference, shapes = CASES[name]
    arrays = [x + 0.1 * np.sign(x) for x in random_arrays(3, *shapes)]
    if name == "cast":
        arrays = [x.astype(np.float32).astype(float) for x in arrays]
    check_derivatives(
        lambda *xs: fn(*xs) ** 3,
        lambda *xs: reference(*xs) ** 3,
        *arrays,
        order=3,
        rtol=1e-6 if name == "cast" else 1e-10,
        radius=0.1,
    )


def test_rows():
    for row in ops.table():
        assert row["summary"]
    for row in ROWS:
        lo, hi = row["domain"]
        assert lo < hi
        assert row["operands"] in ("real", "number", "logical")
        fn = getattr(ops, row["name"])
        assert np.isfinite(fn(*[as_double((lo + hi) / 2 + 0.1 * i) for i in range(row["arity"])]).asnumpy()).all()
