"""Taylor mode: against mpmath, against nested forward mode, under and over the other transforms."""

import itertools
import math

import mpmath
import numpy as np
import pytest
import reference
from checks import NAMES, ROWS, nest, random_arrays, samples
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import interpret, programs
from test_vmap_ops import FLOATING, SMOOTH, outputs

import evolute as ev
from evolute import Tensor, nn, ops

ONE = Tensor(1.0, ev.float64)


def series(fn, t0, order):
    """Value and derivatives of a function of one number."""
    value, derivatives = ev.jet(fn, t0, [ops.ones_like(t0), *[None] * (order - 1)])
    return [value.item(), *(d.item() for d in derivatives)]


def assert_series(got, want, rtol):
    """Compare coefficients: each may be off by a little of the largest, as rounding errors of all go into it."""
    scale = [1 / math.factorial(k) for k in range(len(want))]
    g, w = np.multiply(got, scale), np.multiply(want, scale)
    assert np.isfinite(w).all()
    np.testing.assert_allclose(g, w, rtol, rtol * np.abs(w).max())


# ---- elementary functions -------------------------------------------------------------------------------------------

UNARY = {row["name"]: reference.UNARY[row["name"]] for row in ROWS if row["reverse"] and row["arity"] == 1}
BINARY = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "pow": lambda x, y: x**y,
    "atan2": lambda x, y: mpmath.atan(x / y),
    "hypot": lambda x, y: mpmath.sqrt(x * x + y * y),
    "maximum": lambda x, y: x if x.real > y.real else y,
    "minimum": lambda x, y: x if x.real < y.real else y,
    "mod": lambda x, y: x - y * math.floor(mpmath.re(x / y)),
}
STEPS = {"sign", "floor", "ceil", "round", "trunc", "floor_div"}


def test_every_smooth_function_has_a_reference():
    smooth = {row["name"] for row in ROWS if row["reverse"]}
    assert smooth == set(UNARY) | set(BINARY)
    assert {row["name"] for row in ROWS} - smooth >= STEPS


def coefficients(fn, at, order):
    """Return derivatives of orders 0 to `order`, from mpmath's Taylor coefficients."""
    with mpmath.workdps(60):
        return [float(c * math.factorial(k)) for k, c in enumerate(mpmath.taylor(fn, mpmath.mpf(at), order))]


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_argument(name):
    for x in samples(ops.table()[name]["domain"], 4, 0.1):
        got = series(getattr(ops, name), Tensor(x), 10)
        want = [abs(x), np.sign(x), *[0] * 9] if name == "abs" else coefficients(UNARY[name], float(x), 10)
        assert_series(got, want, 1e-10)


@pytest.mark.parametrize("moving", ["x", "y", "xy"])
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_arguments(name, moving):
    domain = ops.table()[name]["domain"]
    for x, y in zip(samples(domain, 3, 0.13), samples(domain, 3, 0.4), strict=True):
        dx, dy = 0.5 * ("x" in moving), 0.7 * ("y" in moving)
        got = series(lambda t: getattr(ops, name)(float(x) + dx * t, float(y) + dy * t), Tensor(0.0, ev.float64), 10)  # noqa: B023
        want = coefficients(lambda t: BINARY[name](float(x) + dx * t, float(y) + dy * t), 0, 10)  # noqa: B023
        assert_series(got, want, 1e-10)


@pytest.mark.parametrize("power", [1, 2, 3, 5, -1, -2, 0.5, 2.5, -1.5, 0])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_powers(power, as_tensor):
    def fn(x):
        return x ** (Tensor([float(power)] * 2, ev.float64)[0] if as_tensor else power)

    got = series(fn, Tensor(1.3, ev.float64), 8)
    assert_series(got, coefficients(lambda x: x**power, 1.3, 8), 1e-12)


@pytest.mark.parametrize("power", [1, 2, 3, 5])
def test_powers_of_zero(power):
    zero = Tensor(0.0, ev.float64)
    want = [0.0] * 7
    want[power] = math.factorial(power)
    assert series(lambda x: x**power, zero, 6) == want
    assert series(ev.grad(lambda x: x**power), zero, 5) == [float(w) for w in want[1:]]
    exponents = Tensor([power, power + 1.0], ev.float64)
    _, derivatives = ops.jet(lambda x: x**exponents, zero, [ONE, None, None, None, None, None])
    assert [d[0].item() for d in derivatives] == want[1:]


def test_half_powers_of_zero():
    _, derivatives = ops.jet(lambda x: x**2.5, Tensor(0.0, ev.float64), [ONE, None, None])
    assert [d.item() for d in derivatives] == [0, 0, np.inf]


def test_norm_at_the_origin():
    assert series(lambda t: ops.hypot(t, 2 * t), Tensor(0.0, ev.float64), 4) == [0.0] * 5


def test_float32():
    x = Tensor(np.linspace(-2, 2, 50, dtype=np.float32))
    value, got = ops.derivative(lambda x: ops.tanh(x) * ops.exp(x), x, 5)
    _, want = ops.derivative(lambda x: ops.tanh(x) * ops.exp(x), x.astype(ev.float64), 5)
    assert value.dtype == got.dtype == ev.float32
    np.testing.assert_allclose(got.asnumpy(), want.asnumpy(), 1e-4, 1e-4 * np.abs(want.asnumpy()).max())


# ---- all operations, against nested forward mode -------------------------------------------------------------------


def along_curve(fn, given, t):
    """Weighted sum of fn's outputs where its floating inputs move along parabolas."""
    at = []
    for i, x in enumerate(given):
        v = ops.sin(ops.ones_like(x) * (i + 3.0)) if x.dtype in FLOATING else None
        at.append(x if v is None else x + t * v + t * t * 0.3)
    terms = [ops.sum(y * ops.cos(y)) for y in outputs(fn, *at) if y.dtype in FLOATING]
    return sum(terms[1:], terms[0])


def check_against_nested(fn, order=4, rtol=1e-9, modes=("eager", "jit")):
    """`fn` is a function of one number."""
    zero = Tensor(0.0, ev.float64)
    want = [nest(fn, "f" * k)(zero).item() for k in range(order + 1)]
    for mode in modes:
        run = ev.jit if mode == "jit" else lambda f: f
        got = run(lambda t: ops.jet(fn, t, [ops.ones_like(t), *[None] * (order - 1)]))(zero)
        assert_series([got[0].item(), *(d.item() for d in got[1])], want, rtol)


def tolerance(name):
    return 1e-6 if name == "cast" else 1e-9  # it goes through float32


@pytest.mark.parametrize(("name", "fn", "examples"), SMOOTH, ids=[name for name, *_ in SMOOTH])
def test_operation(name, fn, examples):
    given = [Tensor(a[0]) for a in examples]
    check_against_nested(lambda t: along_curve(fn, given, t), rtol=tolerance(name))


@pytest.mark.parametrize(("name", "fn", "examples"), SMOOTH, ids=[name for name, *_ in SMOOTH])
def test_one_operand_moves(name, fn, examples):
    given = [Tensor(a[0]) for a in examples]
    for i, x in enumerate(given):
        if x.dtype not in FLOATING:
            continue

        def one(y, i=i):
            return fn(*given[:i], y, *given[i + 1 :])

        check_against_nested(lambda t, one=one, x=x: along_curve(one, [x], t), 3, tolerance(name), ["eager"])


@pytest.mark.parametrize(("name", "fn", "examples"), SMOOTH, ids=[name for name, *_ in SMOOTH])
def test_gradient_of_operation_moves(name, fn, examples):
    """Taylor mode over reverse mode: the rules of what is in gradients."""
    given = [Tensor(a[0]) for a in examples]
    check_against_nested(ev.grad(lambda t: along_curve(fn, given, t)), order=2, rtol=1e-8, modes=["eager"])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("modes", ["r", "rr", "rrr"])
def test_derivatives_of_functions_move(name, modes):
    """Derivative kernels of both orders, and those that give several derivatives at once."""
    row = ops.table()[name]
    if not row["reverse"]:
        return
    operands = [Tensor(samples(row["domain"], 3, 0.2 * i + 0.05)) for i in range(row["arity"])]

    def fn(t):
        return ops.sum(getattr(ops, name)(*(x + (0.1 + 0.2 * i) * t for i, x in enumerate(operands))))

    check_against_nested(nest(fn, modes), order=3, modes=["eager"])
    check_against_nested(nest(fn, modes), order=2, modes=["jit"])


# ---- with other transforms ------------------------------------------------------------------------------------------


@given(programs, st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_random_programs(program, order):
    x, v = (Tensor(a) for a in random_arrays(len(program), (3, 3), (3, 3)))

    def fn(t):
        return ops.sum(interpret(program, x + t * v))

    zero = Tensor(0.0, ev.float64)
    got = series(fn, zero, order)
    for mode in "fr":
        assert_series(got, [nest(fn, mode * k)(zero).item() for k in range(order + 1)], 1e-9)


@given(programs)
@settings(max_examples=20, deadline=None)
def test_random_programs_in_reverse(program):
    """Gradients of a third derivative, eager and recorded."""
    x, v = (Tensor(a) for a in random_arrays(len(program), (3, 3), (3, 3)))

    def third(x):
        return ops.jet(lambda t: ops.sum(interpret(program, x + t * v)), Tensor(0.0, ev.float64), [ONE, None, None])[1][
            2
        ]

    def nested(x):
        return nest(lambda t: ops.sum(interpret(program, x + t * v)), "fff")(Tensor(0.0, ev.float64))

    want = ev.grad(nested)(x).asnumpy()
    scale = max(np.abs(want).max(), 1)
    for run in (lambda f: f, ev.jit):
        np.testing.assert_allclose(run(ev.grad(third))(x).asnumpy(), want, 1e-8, 1e-8 * scale)


def network(seed=0, width=8):
    rng = np.random.default_rng(seed)
    sizes = [1, width, width, 1]
    return [Tensor(rng.standard_normal(s) / s[0] ** 0.5) for s in itertools.pairwise(sizes)]


def predict(weights, x):
    for w in weights[:-1]:
        x = ops.tanh(x @ w)
    return x @ weights[-1]


def test_networks_train_on_high_derivatives():
    weights, x = network(), Tensor(np.linspace(-1, 1, 7)[:, None])

    def loss(by_taylor, *weights):
        def fn(x):
            return predict(weights, x)

        if by_taylor:
            value, fourth = ops.derivative(fn, x, 4)
        else:
            value, fourth = fn(x), nest(fn, "ffff")(x)
        return ops.mean((fourth + value) ** 2)

    positions = tuple(range(1, len(weights) + 1))
    want = ev.grad(loss, positions)(False, *weights)
    for run in (lambda f: f, ev.jit):
        got = run(ev.grad(loss, positions))(True, *weights)
        for g, w in zip(got, want, strict=True):
            np.testing.assert_allclose(g.asnumpy(), w.asnumpy(), 1e-9, 1e-9 * np.abs(w.asnumpy()).max())


@pytest.mark.parametrize("run", [lambda f: f, ev.jit], ids=["eager", "jit"])
def test_under_and_over_vmap(run):
    weights, x = network(), Tensor(np.linspace(-1, 1, 5))

    def third(x):
        return ops.derivative(lambda x: predict(weights, ops.reshape(x, (1, 1)))[0, 0], x, 3)[1]

    want = [third(x[i]).item() for i in range(5)]
    np.testing.assert_allclose(run(ev.vmap(third))(x).asnumpy(), want, 1e-12)

    def all_at_once(x):
        return ev.vmap(lambda x: predict(weights, ops.reshape(x, (1, 1)))[0, 0])(x)

    np.testing.assert_allclose(run(lambda x: ops.derivative(all_at_once, x, 3)[1])(x).asnumpy(), want, 1e-12)


def test_nested_in_itself():
    def mixed(x, y):
        return ops.derivative(lambda x: ops.derivative(lambda y: ops.exp(x * y) * ops.sin(y), y, 2)[1], x, 3)[1]

    x, y = Tensor(0.3, ev.float64), Tensor(0.7, ev.float64)
    want = nest(lambda x, y: ops.exp(x * y) * ops.sin(y), "fffff", (0, 0, 0, 1, 1))(x, y)
    np.testing.assert_allclose(mixed(x, y).item(), want.item(), 1e-12)


def test_cost_grows_polynomially():
    """Operations recorded: nested modes would double them with each order."""

    def steps(order):
        fn = ev.jit(lambda x: ops.derivative(lambda x: ops.exp(ops.sin(ops.tanh(x)) / (1 + x * x)), x, order)[1])
        fn(Tensor([0.3, 0.4]))
        return int(fn.explain().split("fold_constants")[1].split()[0])

    few, many = steps(6), steps(12)
    assert many < 4.5 * few


def test_linear_solves_do_not_double():
    def fn(t):
        a = Tensor(np.eye(3) * 3) + t * Tensor(np.arange(9.0).reshape(3, 3) / 9)
        return ops.sum(ops.solve(a, Tensor(np.ones(3))) * ops.sin(t + 1)) + ops.det(a) + ops.sum(ops.cholesky(a @ a.T))

    assert len(series(fn, Tensor(0.1, ev.float64), 12)) == 13


def test_structures_and_constants():
    def fn(point, scale):
        return {"sum": point["x"] + point["y"] * scale, "constant": ops.ones((2,)) * 3}

    point = {"x": Tensor([1.0, 2.0]), "y": Tensor([3.0, 4.0])}
    tangent = {"x": Tensor([1.0, 0.0]), "y": Tensor([0.0, 1.0])}
    value, derivatives = ev.jet(fn, (point, Tensor(2.0)), ([tangent, None], [None]))
    assert value["sum"].tolist() == [7.0, 10.0]
    assert derivatives[0]["sum"].tolist() == [1.0, 2.0]
    assert derivatives[1]["sum"].tolist() == [0.0, 0.0]
    assert derivatives[0]["constant"].tolist() == [0.0, 0.0]


def test_documented_example_of_the_guide():
    """MindSpore's documentation of `jet` and `derivative`."""

    class Net(nn.Cell):
        def construct(self, x):
            return ops.exp(ops.sin(x))

    x = Tensor([[1, 2], [3, 4]], ev.float32)
    directions = Tensor([[[1, 1], [1, 1]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]], ev.float32)
    value, derivatives = ops.jet(Net(), x, directions)
    np.testing.assert_allclose(value.asnumpy(), [[2.319777, 2.4825778], [1.1515628, 0.4691642]], 1e-6)
    third = [[-4.0515366, 3.6724353], [0.5053504, -0.52061415]]
    assert derivatives.shape == (3, 2, 2)
    np.testing.assert_allclose(derivatives[2].asnumpy(), third, 1e-5)
    np.testing.assert_allclose(ops.derivative(Net(), Tensor([[1, 2], [3, 4]]), 3)[1].asnumpy(), third, 1e-5)


def test_errors():
    x = Tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="no derivatives"):
        ops.jet(ops.sin, x, [])
    with pytest.raises(ValueError, match="2 series for 1 inputs"):
        ops.jet(ops.sin, (x,), ([x], [x]))
    with pytest.raises(ev.ShapeError, match=r"has shape \[3\]|has shape \(3,\)"):
        ops.jet(ops.sin, x, [Tensor([1.0, 2.0, 3.0])])
    with pytest.raises(ev.ShapeError, match="first axis must run over the orders"):
        ops.jet(ops.sin, x, Tensor(1.0))
    with pytest.raises(ev.DTypeError, match="Int64"):
        ops.jet(ops.square, Tensor([1, 2]), [Tensor([1.0, 1.0])])
    with pytest.raises(ValueError, match="at least 1"):
        ops.derivative(ops.sin, x, 0)
    with pytest.raises(TypeError, match="must be an integer"):
        ops.derivative(ops.sin, x, 1.5)
    with pytest.raises(TypeError, match="needs a function"):
        ops.jet(3, x, [x])
