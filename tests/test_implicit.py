"""Roots and solutions of linear systems: values, and derivatives by the implicit function theorem."""

import numpy as np
import pytest
from checks import all_modes, as_double, nest
from mapping import check_vmap

import evolute as ev
from evolute import Parameter, ShapeError, Tensor, ops

rng = np.random.default_rng(0)
N = 6
GENERAL = as_double(rng.uniform(-1, 1, (N, N)) + 4 * np.eye(N))
SPD = as_double(GENERAL.asnumpy() @ GENERAL.asnumpy().T / N)
B = as_double(rng.uniform(-1, 1, N))
DENSE = {
    "cg": (SPD, {"method": "cg"}),
    "gmres": (GENERAL, {"method": "gmres"}),
    "restarted": (GENERAL, {"method": "gmres", "restart": 3}),
    "function": (GENERAL, {"method": lambda matvec, b: ops.solve(ev.jacfwd(matvec)(b), b)}),
}


@pytest.fixture(params=DENSE, ids=str)
def system(request):
    a, options = DENSE[request.param]
    return a, lambda a, b: ev.linear_solve(lambda x: a @ x, b, **options)


def same(got, want, rtol=1e-10):
    got, want = got.asnumpy(), want.asnumpy()
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol * np.abs(want).max(initial=0))


# ---- linear systems


def test_solution(system):
    a, solve = system
    same(solve(a, B), ops.solve(a, B))
    same(ev.jit(solve)(a, B), ops.solve(a, B))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_the_solution(system, order):
    a, solve = system
    d = as_double(rng.uniform(-1, 1, (N, N)))
    d = d + d.T  # keeps symmetric matrices symmetric

    def along(f):
        return lambda t: ops.sum(f(a + t * d, B * (1 + t * t) + t) * B)

    t = as_double(0.1)
    for modes in all_modes(order):
        want = nest(along(ops.solve), modes)(t)
        same(nest(along(solve), modes)(t), want, 1e-8)
        if order < 3:
            same(ev.jit(nest(along(solve), modes))(t), want, 1e-8)


def test_gradients_by_matrix_and_right_hand_side(system):
    a, solve = system
    got, want = (ev.grad(lambda a, b, f=f: ops.sum(ops.sin(f(a, b))), (0, 1))(a, B) for f in (solve, ops.solve))
    same(got[1], want[1])
    g, w = got[0].asnumpy(), want[0].asnumpy()
    same(as_double(g), as_double(w))


def test_mapped(system):
    a, solve = system
    scale = np.linspace(1, 2, 3)
    matrices = a.asnumpy() * scale[:, None, None]
    right = rng.uniform(-1, 1, (3, N))
    check_vmap(solve, matrices, right, rtol=1e-9)
    check_vmap(ev.grad(lambda a, b: ops.sum(ops.square(solve(a, b))), (0, 1)), matrices, right, rtol=1e-9)


def test_structures_and_parameters():
    w = Parameter(as_double(2.0), name="w")
    b = {"u": as_double([1.0, 2.0]), "v": (as_double(3.0),)}

    def solve(b):
        return ev.linear_solve(lambda x: {"u": w * x["u"] + x["v"][0], "v": (5 * x["v"][0],)}, b, method="gmres")

    x = solve(b)
    np.testing.assert_allclose(x["v"][0].item(), 0.6, rtol=1e-14)
    np.testing.assert_allclose(x["u"].asnumpy(), [0.2, 0.7], rtol=1e-13)
    by_b, by_w = ev.grad(lambda b: ops.sum(solve(b)["u"]), 0, weights=w)(b)
    np.testing.assert_allclose(by_w.item(), -0.45, rtol=1e-12)
    np.testing.assert_allclose(by_b["u"].asnumpy(), [0.5, 0.5], rtol=1e-12)
    np.testing.assert_allclose(by_b["v"][0].item(), -0.2, rtol=1e-12)


def test_float32():
    x = ev.linear_solve(lambda x: ops.cast(SPD, ev.float32) @ x, ops.cast(B, ev.float32))
    assert x.dtype == ev.float32
    np.testing.assert_allclose(x.asnumpy(), ops.solve(SPD, B).asnumpy(), rtol=2e-4, atol=2e-5)


def test_zero_right_hand_side_and_one_unknown():
    for method in ("cg", "gmres"):
        assert ev.linear_solve(lambda x: SPD @ x, ops.zeros_like(B), method=method).tolist() == [0] * N
        assert ev.linear_solve(lambda x: 4 * x, as_double(2.0), method=method).item() == 0.5


def test_gmres_on_a_space_that_is_soon_whole():
    """Two different eigenvalues: two steps find the solution, and further vectors are zero."""
    d = as_double([1.0, 1.0, 3.0, 3.0, 1.0, 3.0])
    x = ev.linear_solve(lambda x: d * x, B, method="gmres")
    same(x, B / d, 1e-14)


def test_in_a_loop_in_the_graph():
    def final(f):
        return lambda b: ops.sum(ops.scan(lambda c, _: (ops.sin(f(c)), None), b, length=3)[0])

    def solve(b):
        return ev.linear_solve(lambda x: SPD @ x, b)

    for compile_ in (lambda f: f, ev.jit):
        for derivative in (ev.grad, ev.hessian):
            want = derivative(final(lambda b: ops.solve(SPD, b)))(B)
            same(compile_(derivative(final(solve)))(B), want, 1e-8)


def test_linear_solve_errors():
    with pytest.raises(ValueError, match="linear_solve: method must be 'cg', 'gmres' or a function, got 'lu'"):
        ev.linear_solve(lambda x: x, B, method="lu")
    with pytest.raises(ValueError, match="restart and maxiter must be positive"):
        ev.linear_solve(lambda x: x, B, maxiter=0)
    with pytest.raises(TypeError, match="matvec must be a function, got Tensor"):
        ev.linear_solve(SPD, B)
    with pytest.raises(TypeError, match="b must be made of tensors of floating dtype, got a tensor of dtype Int32"):
        ev.linear_solve(lambda x: x, Tensor([1, 2], ev.int32))
    with pytest.raises(
        ShapeError, match=r"linear_solve: matvec gave \(5,\) of Float64, but must give \(6,\) of Float64"
    ):
        ev.linear_solve(lambda x: x[1:], B)


# ---- roots


def equations(x, a):
    return ops.stack([x[0] ** 2 + x[1] ** 2 - a[0], ops.exp(x[0]) - a[1] * x[1]])


A0, START = as_double([2.0, 1.5]), as_double([1.0, 1.0])
ROOTS = {
    "dense": {},
    "gmres": {"linear_solver": "gmres"},
    "solver": {"solver": lambda f, x: ops.fori_loop(0, 40, lambda _, x: x - ops.solve(ev.jacrev(f)(x), f(x)), x)},
}


@pytest.fixture(params=ROOTS, ids=str)
def find(request):
    return lambda a: ev.root(equations, START, a, **ROOTS[request.param])


def newton_unrolled(a):
    x = START
    for _ in range(12):  # each step after convergence doubles the orders of derivatives that are right
        x = x - ops.solve(ev.jacfwd(equations)(x, a), equations(x, a))
    return x


def test_root(find):
    x = find(A0)
    assert np.abs(equations(x, A0).asnumpy()).max() < 1e-14
    same(ev.jit(find)(A0), x, 1e-13)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_a_root(find, order):
    d = as_double([1.0, -0.5])
    t = as_double(0.05)

    def along(f):
        return lambda t: ops.sum(ops.sin(f(A0 + t * d)))

    for modes in all_modes(order):
        want = nest(along(newton_unrolled), modes)(t)
        same(nest(along(find), modes)(t), want, 1e-8)
    same(ev.jit(nest(along(find), "r" * order))(t), nest(along(newton_unrolled), "f" * order)(t), 1e-8)


def test_roots_mapped(find):
    a = np.stack([[2.0, 1.5], [3.0, 1.2], [2.5, 2.0]])
    check_vmap(find, a, rtol=1e-9)
    check_vmap(ev.jacrev(find), a, rtol=1e-9)


def test_no_derivative_by_the_start():
    assert not ev.grad(lambda x0: ops.sum(ev.root(equations, x0, A0)))(START).asnumpy().any()


def test_scalar_structure_and_closure():
    scale = Parameter(as_double(3.0), name="scale")

    def f(x, shift):
        return {"a": x["a"] * x["a"] - scale, "b": [x["b"][0] - shift * x["a"]]}

    def solve(shift):
        return ev.root(f, {"a": as_double(1.0), "b": [as_double(1.0)]}, shift)

    x = solve(as_double(2.0))
    assert x["a"].item() == pytest.approx(3**0.5, rel=1e-15)
    assert x["b"][0].item() == pytest.approx(2 * 3**0.5, rel=1e-15)
    by_shift, by_scale = ev.grad(lambda s: solve(s)["b"][0], 0, weights=scale)(as_double(2.0))
    assert by_shift.item() == pytest.approx(3**0.5, rel=1e-14)
    assert by_scale.item() == pytest.approx(1 / 3**0.5, rel=1e-14)


def test_root_errors():
    with pytest.raises(TypeError, match="root: needs a function, got int"):
        ev.root(3, START)
    with pytest.raises(TypeError, match=r"root: solver must be a function of \(f, x0\), got str"):
        ev.root(equations, START, A0, solver="newton")
    with pytest.raises(ValueError, match="method must be 'cg', 'gmres' or a function, got 'lu'"):
        ev.root(equations, START, A0, linear_solver="lu")
    with pytest.raises(ShapeError, match=r"root: the function gave \(\) of Float64, but must give \(2,\) of Float64"):
        ev.root(lambda x: x[0], START)
    with pytest.raises(TypeError, match="x0 must be made of tensors of floating dtype, got a str"):
        ev.root(equations, "x", A0)


@pytest.mark.parametrize("compile_", [lambda f: f, ev.jit], ids=["eager", "jit"])
def test_implicit_euler_in_a_scan(compile_):
    """Each step starts at the last one, a value of the loop, and solves a system with another."""

    def final(x, a):
        def step(c, _):
            return ev.root(lambda y: y - c + 0.1 * a * y**3, c), None

        return ops.sum(ops.scan(step, x, length=4)[0])

    def unrolled(x, a):
        for _ in range(4):
            y = x
            for _ in range(12):
                y = y - (y - x + 0.1 * a * y**3) / (1 + 0.3 * a * y**2)
            x = y
        return ops.sum(x)

    x, a = as_double([1.0, 0.5]), as_double(2.0)
    for derivative in (lambda f: f, lambda f: ev.grad(f, 1), ev.hessian, lambda f: ev.grad(ev.grad(f, 1), 1)):
        same(compile_(derivative(final))(x, a), derivative(unrolled)(x, a), 1e-9)
    h = ev.sparse_hessian(final)
    assert h.sparsity(x, a).shape == (2, 2)
    same(as_double(h(x, a).toarray()), ev.hessian(unrolled)(x, a), 1e-9)
