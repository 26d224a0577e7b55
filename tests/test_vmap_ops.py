"""The batching rule of every operation, against a loop over examples."""

import numpy as np
import pytest
from checks import NAMES, ROWS, nest, random_arrays, samples
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping import check_vmap, loop
from programs import interpret, programs

import evolute as ev
from evolute import Tensor, ops

TABLE = ops.table()
EXAMPLES = 3


def floats(*shape, seed=0):
    """Examples of an operand of floating type."""
    return random_arrays(sum(shape) + 31 * seed, (EXAMPLES, *shape))[0]


def integers(high, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, high, (EXAMPLES, *shape))


def positive_definite(n, seed=0):
    a = floats(n, n, seed=seed)
    return a @ np.swapaxes(a, -1, -2) + n * np.eye(n)


def invertible(n, seed=0):
    return floats(n, n, seed=seed) + n * np.eye(n)


def test_every_operation_has_a_batching_rule():
    assert [row["name"] for row in TABLE if not row["batching"]] == []


# ---- elementwise functions and their derivative kernels -------------------------------------------------------------


def operands(row, shapes, dtype, seed=0):
    values = []
    for i, shape in enumerate(shapes):
        n = EXAMPLES * int(np.prod(shape, dtype=int))
        values.append(samples(row["domain"], n, 0.3 * i + seed).reshape(EXAMPLES, *shape).astype(dtype))
    return values


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_elementwise(row, dtype):
    fn = getattr(ops, row["name"])
    tolerance = {"float32": 2e-6, "float64": 1e-14}[dtype]
    if row["arity"] == 1:
        check_vmap(fn, *operands(row, [(2,)], dtype), rtol=tolerance)
        return
    for shapes in [((2,), (2,)), ((), (2,)), ((2,), (4, 1)), ((4, 2), (2,)), ((), ())]:
        check_vmap(fn, *operands(row, shapes, dtype), rtol=tolerance)


DIFFERENTIABLE = [row for row in ROWS if row["reverse"]]


@pytest.mark.parametrize("row", DIFFERENTIABLE, ids=[row["name"] for row in DIFFERENTIABLE])
@pytest.mark.parametrize("modes", ["r", "f", "rr", "rf", "fr", "ff", "rrr", "fff", "frf"])
def test_elementwise_derivatives(row, modes):
    """Derivatives of examples by all arguments at once, so that the kernels that pair them are met too."""
    fn = getattr(ops, row["name"])
    shapes = [(2,)] if row["arity"] == 1 else [(2,), (3, 1)]
    xs = operands(row, shapes, "float64")
    directions = [Tensor(v) for v in random_arrays(7, *shapes)]

    def derivative(*xs):
        def along(t):
            return ops.sum(fn(*(x + t * v for x, v in zip(xs, directions, strict=True))))

        return nest(along, modes)(Tensor(0.0, ev.float64))

    axes = None if row["arity"] == 1 else [(0, 0), (0, None), (None, 0)]
    check_vmap(derivative, *xs, rtol=1e-9, axes=axes, modes=["eager"] if len(modes) > 2 else ["eager", "jit"])

    def gradient(*xs):
        return ev.grad(fn, tuple(range(len(xs))))(*xs)

    if modes == "r":
        check_vmap(gradient, *xs)


def test_sums_over_broadcast_axes_taken_with_a_kernel():
    """Large enough that the kernel and the sum are one operation when run eagerly."""
    x, b = floats(300, 300), floats(300)

    def gradient(x, b):
        return ev.grad(lambda x, b: ops.sin(x * b), (0, 1))(x, b)

    check_vmap(gradient, x, b, rtol=1e-11, axes=[(0, 0), (0, None), (None, 0)])
    check_vmap(lambda x, b: ev.grad(lambda b: gradient(x, b)[0])(b), x, b, rtol=1e-10, axes=[(0, 0), (None, 0)])


# ---- all other operations -------------------------------------------------------------------------------------------


def inside(x):  # a mask that differs from example to example
    return x > 0


@ev.custom_vjp
def scaled(x, y):
    return ops.sum(x * x * y)


scaled.defvjp(lambda x, y: (scaled(x, y), (x, y)), lambda r, g: (g * 2 * r[0] * r[1], g * r[0] * r[0]))

CASES = {
    "where": [
        (lambda c, x, y: ops.where(inside(c), x, y), floats(2), floats(3, 2), floats(1)),
        (lambda c, x: ops.where(inside(c), x, 0.0), floats(), floats(2)),
    ],
    "cast": [(lambda x: ops.cast(x, ev.int64), 5 * floats(2)), (lambda x: ops.cast(x, ev.float32) * 2, floats(2))],
    "to_device": [(lambda x: x.to("CPU") * 2, floats(2))],  # where tests run on a GPU
    "stop_gradient": [(lambda x: x * ops.stop_gradient(x), floats(2))],
    "iota": [(lambda x: x * ops.arange(3), floats(3))],
    "linspace": [(lambda x: x + ops.linspace(0, 1, 3), floats(3))],
    "uniform": [(lambda x: x + ops.uniform((2,), 7), floats(2))],
    "standard_normal": [(lambda x: x + ops.standard_normal((2,), 7), floats(2))],
    "sum": [
        (lambda x: ops.sum(x, 1), floats(2, 3)),
        (lambda x: ops.sum(x, (0, -1), keepdims=True), floats(2, 3, 4)),
        (ops.sum, floats(2, 3)),
        (ops.mean, floats(2, 3)),
    ],
    "prod": [(lambda x: ops.prod(x, 0), floats(3, 2)), (ops.prod, floats(5))],
    "max": [(lambda x: ops.max(x, -1), floats(2, 3)), (ops.max, floats(2, 3))],
    "min": [(lambda x: ops.min(x, 0, keepdims=True), floats(2, 3))],
    "any": [(lambda x: ops.any(x > 0.5, 0), floats(2, 3))],
    "all": [(lambda x: ops.all(x < 0.5), floats(2))],
    "argmax": [(lambda x: ops.argmax(x, 1), floats(2, 5)), (ops.argmax, floats(2, 3))],
    "argmin": [(lambda x: ops.argmin(x, 0, keepdims=True), floats(3, 2))],
    "cumsum": [(lambda x: ops.cumsum(x, 1), floats(2, 3)), (lambda x: ops.cumsum(x, 0, reverse=True), floats(3))],
    "matmul": [
        (ops.matmul, floats(2, 4), floats(4, 3)),
        (lambda a, b: ops.matmul(a, b, transpose_a=True), floats(4, 2), floats(4, 3)),
        (lambda a, b: ops.matmul(a, b, transpose_b=True), floats(2, 4), floats(3, 4)),
        (lambda a, b: ops.matmul(a, b, transpose_a=True, transpose_b=True), floats(4, 2), floats(3, 4)),
        (ops.matmul, floats(4), floats(4, 3)),
        (ops.matmul, floats(2, 4), floats(4)),
        (ops.matmul, floats(4), floats(4)),
        (lambda a, b: ops.matmul(a, b, transpose_a=True), floats(1, 3), floats(1, 2)),
        (lambda a, b: ops.matmul(a, b, transpose_b=True), floats(3, 1), floats(2, 1)),
        (ops.matmul, floats(5, 2, 4), floats(4, 3)),
        (ops.matmul, floats(2, 4), floats(5, 4, 3)),
        (ops.matmul, floats(5, 1, 2, 4), floats(2, 4, 3)),
        (ops.matmul, floats(2, 0), floats(0, 3)),
        (ops.dot, floats(4), floats(5, 4, 3)),
        (lambda a, b: ops.einsum("ij,kj->ik", a, b), floats(2, 4), floats(3, 4)),
        (lambda a, b: ops.einsum("i,ijk->kj", a, b), floats(2), floats(2, 4, 3)),
    ],
    "reshape": [(lambda x: ops.reshape(x, (3, -1)), floats(2, 3)), (lambda x: x.flatten(), floats(2, 3))],
    "transpose": [(lambda x: x.T, floats(2, 3)), (lambda x: ops.transpose(x, (1, 2, 0)), floats(2, 3, 4))],
    "broadcast_to": [
        (lambda x: ops.broadcast_to(x, (4, 2, 3)), floats(2, 1)),
        (lambda x: ops.broadcast_to(x, (2, 3)), floats()),
    ],
    "slice": [
        (lambda x: x[1:, ::-2], floats(3, 4)),
        (lambda x: x[-1], floats(3)),
        (lambda x: ops.flip(x, 0), floats(3)),
    ],
    "unslice": [
        (lambda x: ops.pad(x, ((1, 2), (0, 1))), floats(2, 3)),
        (lambda x: ops.pad(x, 1, value=2.0), floats(2)),
    ],
    "concat": [
        (lambda x, y: ops.concat([x, y, x], 1), floats(2, 3), floats(2, 1)),
        (lambda x, y: ops.stack([x, y], -1), floats(2), floats(2)),
    ],
    "diagonal": [(lambda x: ops.diagonal(x, 1), floats(3, 4)), (lambda x: ops.diagonal(x, -1, 2, 0), floats(3, 2, 4))],
    "diag_embed": [(ops.diag, floats(3)), (lambda x: ops.diag_embed(x, -1), floats(2, 3))],
    "gather": [
        (lambda x, i: x[i], floats(5, 2), integers(5, 3)),
        (lambda x, i: x[:, i], floats(2, 5), integers(5, 2, 2)),
        (lambda x, i, j: x[i, :, j], floats(5, 2, 4), integers(5, 3), integers(4, 2, 1)),
        (lambda x, i: ops.take(x, i, 1), floats(2, 5), integers(5)),
        (lambda x, i: ops.gather(x, 0, i), floats(4, 2), integers(4, 3, 2)),
    ],
    "scatter_add": [
        (lambda x, i, y: ops.index_increment(x, i, y), floats(5, 2), integers(3, 4), floats(4, 2)),
        (lambda x, i, y: ops.scatter_add(x, 1, i, y), floats(2, 5), integers(3, 2, 4), floats(2, 4)),
        (lambda x, i, y: ops.index_add(x, 0, i, y), floats(5), integers(2, 4), floats(4)),
    ],
    "scatter_set": [
        (lambda x, i, y: ops.index_update(x, i, y), floats(5, 2), integers(3, 4), floats(4, 2)),
        (lambda x, i, j, y: ops.index_update(x, (i, j), y), floats(3, 4), integers(3, 5), integers(2, 5), floats(5)),
        (lambda x, y: ops.index_update(x, 1, y), floats(3, 2), floats(2)),
    ],
    "cholesky": [(ops.cholesky, positive_definite(3))],
    "solve": [
        (ops.solve, invertible(3), floats(3, 2)),
        (ops.solve, invertible(3), floats(3)),
        (ops.solve, invertible(3), floats(4, 3, 2)),
        (ops.inv, invertible(2)),
    ],
    "solve_triangular": [
        (ops.solve_triangular, invertible(3), floats(3, 2)),
        (lambda a, b: ops.solve_triangular(a, b, lower=False, transpose=True), invertible(3), floats(3)),
    ],
    "det": [(ops.det, invertible(3)), (ops.det, invertible(4))],
    "cofactor": [(ev.grad(ops.det), invertible(3)), (ev.grad(ops.det), invertible(5))],
    "logabsdet": [(ops.slogdet, invertible(3))],
    "cond": [
        (lambda p, x: ops.cond(p > 0, lambda x: x * x, lambda x: ops.sum(x) - x, x), floats(), floats(2)),
        (lambda p, x: ops.cond(p > 0, lambda: (x, 1.0), lambda: (p * x, 2.0)), floats(), floats(2)),
    ],
    "while_loop": [
        (
            lambda x, y: ops.while_loop(
                lambda s: ops.sum(s[0]) < 5, lambda s: (s[0] * 1.5 + y, s[1] + 1), (ops.abs(x) + 0.1, 0)
            ),
            floats(2),
            np.abs(floats(2)),
        ),
        (lambda x: ops.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * x), (0, x))[1], floats(2)),
        (lambda n, x: ops.fori_loop(0, n, lambda i, s: s * x + i, x), integers(4), floats(2)),
    ],
    "scan": [
        (
            lambda c, xs, k: ops.scan(lambda c, x: (c * x + k, ops.sin(c)), c, xs, checkpoint=2),
            floats(2),
            floats(5, 2),
            floats(),
        ),
        (lambda c: ops.scan(lambda c, _: (c * c, c), c, length=3, reverse=True, checkpoint=1), floats(2)),
        (lambda x: ops.fori_loop(1, 4, lambda i, s: s * x + i, x), floats(2)),
    ],
    "custom_rule": [
        (lambda x, y: ev.grad(lambda x: scaled(x, y))(x), floats(2), floats(2)),
        (lambda x, y: ev.jvp(lambda x: scaled(x, y), x, y)[1], floats(2), floats(2)),
        (lambda x, y: ev.checkpoint(lambda x: scaled(x, y))(x), floats(2), floats(2)),
    ],
    "checkpoint": [(lambda x, y: ev.checkpoint(lambda x: (ops.sin(x) * y, y * 2))(x), floats(2), floats(2))],
}
OTHERS = [row["name"] for row in TABLE if "class_name" not in row and row["group"] != "derivative kernel"]
ALL = [(name, case[0], case[1:]) for name, cases in CASES.items() for case in cases]
IDS = [name for name, *_ in ALL]


def test_every_operation_has_a_case():
    assert sorted(CASES) == sorted(OTHERS)


@pytest.mark.parametrize(("name", "fn", "examples"), ALL, ids=IDS)
def test_operation(name, fn, examples):
    check_vmap(fn, *examples, rtol=1e-11, everywhere=len(examples) < 3)


@pytest.mark.parametrize(("name", "fn", "examples"), ALL, ids=IDS)
def test_operation_in_float32(name, fn, examples):
    narrow = [a.astype("float32") if a.dtype == np.float64 else a for a in examples]
    check_vmap(fn, *narrow, rtol=2e-3 if name in ("cholesky", "solve", "cofactor") else 2e-5)


FLOATING = (ev.float32, ev.float64)


def outputs(fn, *xs):
    out = fn(*xs)
    return out if isinstance(out, tuple) else (out,)


def is_smooth(fn, examples):
    """Whether some output is of floating type and there are elements to differentiate by."""
    given = [Tensor(a[0]) for a in examples]
    return all(x.size for x in given) and any(y.dtype in FLOATING for y in outputs(fn, *given))


SMOOTH = [(name, fn, examples) for name, fn, examples in ALL if is_smooth(fn, examples)]


def directional(fn, modes, seed=3):
    """Derivative of fn's outputs, weighted, along random directions of its floating inputs."""

    def derivative(*xs):
        moving = [ops.sin(ops.ones_like(x) * (i + seed)) if x.dtype == ev.float64 else None for i, x in enumerate(xs)]

        def along(t):
            at = [x if v is None else x + t * v for x, v in zip(xs, moving, strict=True)]
            terms = [ops.sum(y * ops.cos(y)) for y in outputs(fn, *at) if y.dtype in FLOATING]
            return sum(terms[1:], terms[0])

        return nest(along, modes)(Tensor(0.0, ev.float64))

    return derivative


@pytest.mark.parametrize("modes", ["r", "f", "rr", "rf", "fr", "frf"])
@pytest.mark.parametrize(("name", "fn", "examples"), SMOOTH, ids=[name for name, *_ in SMOOTH])
def test_derivatives_of_operations(name, fn, examples, modes):
    axes = [(0,) * len(examples)]
    if len(examples) > 1:
        axes += [(0, *[None] * (len(examples) - 1)), (*[None] * (len(examples) - 1), 0)]
    check_vmap(
        directional(fn, modes), *examples, rtol=1e-8, axes=axes, modes=["eager", "jit"] if len(modes) < 3 else ["eager"]
    )


# ---- shapes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "fn", "examples"), ALL, ids=IDS)
def test_one_example(name, fn, examples):
    check_vmap(fn, *(a[:1] for a in examples), rtol=1e-11, axes=[(0,) * len(examples)])


@pytest.mark.parametrize(("name", "fn", "examples"), ALL, ids=IDS)
def test_no_examples(name, fn, examples):
    """Shapes and dtypes are those of one example; functions with values of their own are never run for nothing."""
    one = fn(*(Tensor(a[0]) for a in examples))
    for run in (lambda f: f, ev.jit):
        got = run(ev.vmap(fn))(*(Tensor(a[:0]) for a in examples))
        for g, o in zip(
            got if isinstance(got, tuple) else (got,), one if isinstance(one, tuple) else (one,), strict=True
        ):
            assert g.shape == (0, *o.shape)
            assert g.dtype == o.dtype


@st.composite
def broadcastable(draw):
    """Shapes of three operands that broadcast against each other, and which of them are mapped."""
    full = draw(st.lists(st.integers(0, 3), max_size=3))
    shapes = []
    for _ in range(3):
        kept = full[draw(st.integers(0, len(full))) :]
        shapes.append(tuple(1 if draw(st.booleans()) else n for n in kept))
    mapped = draw(st.lists(st.booleans(), min_size=3, max_size=3).filter(any))
    return draw(st.sampled_from([1, 2, 3])), shapes, mapped


@given(broadcastable())
@settings(max_examples=60, deadline=None)
def test_broadcasting(case):
    n, shapes, mapped = case
    arrays = random_arrays(len(shapes[0]), *((n, *s) for s in shapes))
    axes = tuple(0 if m else None for m in mapped)

    def fn(x, y, z):
        return ops.where(x > 0, x * y - z, ops.hypot(y, z))

    check_vmap(fn, *arrays, axes=[axes], rtol=1e-13)
    check_vmap(ev.grad(fn, (0, 1, 2)), *arrays, axes=[axes], rtol=1e-12, modes=["eager"])


@given(programs, st.sampled_from(["", "r", "f", "rf"]))
@settings(max_examples=40, deadline=None)
def test_random_programs(program, modes):
    x = random_arrays(len(program), (2, 3, 3))[0]
    directions = Tensor(random_arrays(1, (3, 3))[0])

    def fn(x):
        if not modes:
            return interpret(program, x)
        return nest(lambda t: ops.sum(interpret(program, x + t * directions)), modes)(Tensor(0.0, ev.float64))

    check_vmap(fn, x, axes=[(0,)], rtol=1e-9)


def test_programs_run_once_however_many_examples():
    calls = []

    def fn(x):
        calls.append(x.shape)
        return ops.sin(x)

    ev.vmap(fn)(Tensor(np.zeros((100, 2))))
    assert calls == [(2,)]
    assert loop(fn, [np.zeros((1, 2))], [0])[0].shape == (1, 2)
