"""Solutions of equations, differentiable by the implicit function theorem."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from evolute import _evolute, ops
from evolute._evolute import ShapeError, Tensor
from evolute._tree import filled, leaves, mapped, raveled, tensors, unraveler
from evolute.jacobians import jacfwd
from evolute.transforms import jvp, vjp

Function = Callable[..., Any]


def _precision(t: Tensor) -> float:
    return 2.0**-23 if t.dtype.itemsize == 4 else 2.0**-52


def _moving(constants: Sequence[Tensor]) -> list[int]:
    """Positions of the constants that a derivative can be taken by."""
    return [i for i, c in enumerate(constants) if c.dtype.is_floating]


def _among(constants: Sequence[Tensor], places: Sequence[int], values: Sequence[Tensor]) -> list[Tensor]:
    full = list(constants)
    for i, value in zip(places, values, strict=True):
        full[i] = value
    return full


def _checked_like(fn: Function, x: Any, what: str, role: str) -> Function:
    """Return `fn`, whose value must be like `x`."""
    want = [(t.shape, t.dtype) for t in leaves(x)]

    def checked(*args: Any) -> Any:
        out = mapped(lambda leaf: leaf if isinstance(leaf, Tensor) else Tensor(leaf), fn(*args))
        got = [(t.shape, t.dtype) for t in leaves(out)]
        if got != want:
            show = ", ".join(f"{s} of {d}" for s, d in got)
            need = ", ".join(f"{s} of {d}" for s, d in want)
            raise ShapeError(f"{what}: {role} gave {show}, but must give {need}")
        return out

    return checked


def _closed(fn: Function, x: Any) -> tuple[Function, tuple[Tensor, ...], Tensor, Function]:
    """Return `fn` as a function of a vector and constants, the constants, and `x` as a vector and back."""
    unravel = unraveler(x)
    vector = raveled(x)
    closed, constants = _evolute.close_over(lambda v: raveled(fn(unravel(v))), (ops.stop_gradient(vector),))
    return closed, constants, vector, unravel


# ---- linear systems --------------------------------------------------------------------------------------------------


def _cg(matvec: Function, b: Tensor, tol: float, maxiter: int) -> Tensor:
    """Conjugate gradients; the matrix is symmetric and positive definite."""
    goal = (tol * tol) * ops.dot(b, b)

    def goes_on(state: Any) -> Tensor:
        step, _, _, _, rr = state
        return ops.logical_and(rr > goal, step < maxiter)

    def step(state: Any) -> Any:
        k, x, r, p, rr = state
        q = matvec(p)
        alpha = rr / ops.dot(p, q)
        x, r = x + alpha * p, r - alpha * q
        new = ops.dot(r, r)
        return k + 1, x, r, r + (new / rr) * p, new

    start = (Tensor(0), ops.zeros_like(b), b, b, ops.dot(b, b))
    return ops.while_loop(goes_on, step, start)[1]  # type: ignore[no-any-return]


def _gmres(matvec: Function, b: Tensor, tol: float, maxiter: int, restart: int) -> Tensor:
    """GMRES with restarts: Arnoldi with reorthogonalised vectors, rotations kept as one matrix."""
    n, m = b.size, min(restart, b.size)
    tiny = _precision(b)
    zeros = {"basis": (m + 1, n), "rotated": (m, m + 1)}

    def arnoldi(j: Tensor, state: Any) -> Any:
        basis, rows, q = state
        w = matvec(ops.take(basis, j))
        size = ops.norm(w)
        h = basis @ w
        w = w - h @ basis
        again = basis @ w
        w, h = w - again @ basis, h + again
        length = ops.norm(w)
        new = length > 10 * tiny * size  # else the space is whole: what remains is rounding
        length = ops.where(new, length, 0.0 * length)
        basis = ops.index_update(basis, j + 1, ops.where(new, w / ops.where(new, length, 1.0), ops.zeros_like(w)))
        column = q @ ops.index_update(h, j + 1, length)
        a, c = ops.take(column, j), ops.take(column, j + 1)
        rho = ops.hypot(a, c)
        safe = ops.where(rho > 0, rho, 1.0)
        cos, sin = ops.where(rho > 0, a / safe, 1.0), c / safe
        upper, lower = ops.take(q, j), ops.take(q, j + 1)
        q = ops.index_update(q, j, cos * upper + sin * lower)
        q = ops.index_update(q, j + 1, cos * lower - sin * upper)
        column = ops.index_update(ops.index_update(column, j, rho), j + 1, 0.0 * rho)
        return basis, ops.index_update(rows, j, column), q

    def cycle(state: Any) -> Any:
        k, x, r, rr = state
        beta = ops.sqrt(rr)
        basis = ops.index_update(ops.zeros(zeros["basis"], b.dtype), 0, r / beta)
        start = (basis, ops.zeros(zeros["rotated"], b.dtype), ops.eye(m + 1, dtype=b.dtype))
        basis, rows, q = ops.fori_loop(0, m, arnoldi, start)
        upper = rows[:, :m].T
        missing = ops.diagonal(upper) == 0.0
        upper = upper + ops.diag(ops.cast(missing, b.dtype))
        right = ops.where(missing, 0.0, beta * q[:m, 0])
        y = ops.solve_triangular(upper, right, lower=False)
        x = x + y @ basis[:m]
        r = b - matvec(x)
        new = ops.dot(r, r)
        return ops.where(new < rr, k + 1, maxiter), x, r, new  # no progress: rounding is all that is left

    def goes_on(state: Any) -> Tensor:
        return ops.logical_and(state[3] > goal, state[0] < maxiter)

    goal = (tol * tol) * ops.dot(b, b)
    return ops.while_loop(goes_on, cycle, (Tensor(0), ops.zeros_like(b), b, ops.dot(b, b)))[1]  # type: ignore[no-any-return]


class _Solver:
    """How linear systems are solved."""

    def __init__(self, method: Any, tol: float | None, maxiter: int | None, restart: int, symmetric: bool) -> None:
        if method not in ("cg", "gmres") and not callable(method):
            raise ValueError(f"linear_solve: method must be 'cg', 'gmres' or a function, got {method!r}")
        if restart < 1 or (maxiter is not None and maxiter < 1):
            raise ValueError(f"linear_solve: restart and maxiter must be positive, got {restart} and {maxiter}")
        self.method, self.tol, self.maxiter, self.restart = method, tol, maxiter, restart
        self.symmetric = symmetric or method == "cg"

    def run(self, matvec: Function, b: Tensor) -> Tensor:
        tol = 8 * _precision(b) if self.tol is None else self.tol
        if self.method == "cg":
            return _cg(matvec, b, tol, 10 * b.size if self.maxiter is None else self.maxiter)
        if self.method == "gmres":
            return _gmres(matvec, b, tol, b.size if self.maxiter is None else self.maxiter, self.restart)
        return _checked_like(self.method, b, "linear_solve", "the method")(matvec, b)  # type: ignore[no-any-return]

    def solve(self, matvec: Function, constants: Sequence[Tensor], b: Tensor) -> Tensor:
        """Return x with matvec(x, *constants) = b, with derivatives by all constants and b."""
        places = _moving(constants)

        def solution(b: Tensor, *constants: Tensor) -> Tensor:
            fixed = [ops.stop_gradient(c) for c in constants]
            return self.run(lambda x: matvec(x, *fixed), ops.stop_gradient(b))

        def transposed(u: Tensor, *constants: Tensor) -> Tensor:
            return vjp(lambda x: matvec(x, *constants), ops.zeros_like(u), u)[1]  # type: ignore[no-any-return]

        def applied(x: Tensor, constants: Sequence[Tensor]) -> Function:
            return lambda *moving: matvec(x, *_among(constants, places, moving))

        def backward(primals: Any, x: Tensor, _: Any, g: Tensor) -> tuple[Any, ...]:
            constants = primals[1:]
            u = self.solve(matvec if self.symmetric else transposed, constants, g)
            grads: list[Any] = [None] * len(constants)
            if places:
                by = vjp(applied(x, constants), tuple(constants[i] for i in places), -u)[1]
                for i, d in zip(places, by if len(places) > 1 else (by,), strict=True):
                    grads[i] = d
            return (u, *grads)

        def forward(primals: Any, x: Tensor, tangents: Any) -> Tensor:
            constants, right = primals[1:], tangents[0]
            if places:
                along = tuple(tangents[1 + i] for i in places)
                right = right - jvp(applied(x, constants), tuple(constants[i] for i in places), along)[1]
            return self.solve(matvec, constants, right)

        return _evolute.call_with_rule(  # type: ignore[no-any-return]
            solution, (b, *constants), None, backward, forward, False, "linear_solve"
        )


def linear_solve(
    matvec: Function,
    b: Any,
    *,
    method: str | Function = "cg",
    symmetric: bool = False,
    tol: float | None = None,
    maxiter: int | None = None,
    restart: int = 30,
) -> Any:
    """Solution x of matvec(x) = b, for a linear function.

    The matrix is never formed. Derivatives come from the implicit function theorem, in every mode and to every order: a
    derivative of the solution is the solution of another system with the same matrix, or its transpose, and does not
    depend on how many steps it took. `vmap` solves until the last example is done.

    Parameters
    ----------
    matvec : callable
        Linear function of structures like `b`. It may use tensors and parameters from outside, and the solution has
        derivatives by these.
    b : Tensor or structure of tensors
        Right-hand side.
    method : "cg", "gmres" or callable
        Conjugate gradients, for symmetric positive definite matrices; GMRES with restarts for all others; or a function
        of (matvec, b) on vectors, for example a direct solver or one with a preconditioner.
    symmetric : bool
        The matrix is symmetric: its transpose need not be formed. True for "cg".
    tol : float, optional
        The residual to reach, relative to b; by default 8 times the precision of the dtype.
    maxiter : int, optional
        Most steps of "cg" (by default 10 times the number of unknowns), or most restarts of "gmres".
    restart : int
        Steps of "gmres" between restarts: it keeps as many vectors.

    Returns
    -------
    Tensor or structure of tensors
        The solution, like `b`; the best one found if `maxiter` is reached.

    Raises
    ------
    ShapeError
        If matvec gives something unlike `b`.
    TypeError, ValueError
        If `b` is not made of floating tensors, or an option is not one.

    Examples
    --------
    >>> import evolute as ev
    >>> a = ev.Tensor([2.0, 4.0])
    >>> print(ev.linear_solve(lambda x: a * x, ev.Tensor([4.0, 4.0])))
    [2. 1.]
    """
    solver = _Solver(method, tol, maxiter, restart, symmetric)
    if not callable(matvec):
        raise TypeError(f"linear_solve: matvec must be a function, got {type(matvec).__name__}")
    b = filled(b, tensors(b, "linear_solve", "b"))
    closed, constants, vector, unravel = _closed(_checked_like(matvec, b, "linear_solve", "matvec"), b)
    return unravel(solver.solve(closed, constants, vector))


# ---- nonlinear systems -----------------------------------------------------------------------------------------------


def _newton(fn: Function, x0: Tensor, tol: float | None, max_steps: int) -> Tensor:
    small = _precision(x0) ** 0.75 if tol is None else tol  # the step after next would be below the precision

    def goes_on(state: Any) -> Tensor:
        k, x, size = state
        return ops.logical_and(size > small * (1 + ops.norm(x)), k < max_steps)

    def step(state: Any) -> Any:
        k, x, _ = state
        dx = ops.solve(jacfwd(fn)(x), fn(x))
        return k + 1, x - dx, ops.norm(dx)

    return ops.while_loop(goes_on, step, (Tensor(0), x0, ops.full_like(x0[0], float("inf"))))[1]  # type: ignore[no-any-return]


def root(
    fn: Function,
    x0: Any,
    *args: Any,
    solver: Function | None = None,
    linear_solver: str | Function = "dense",
    tol: float | None = None,
    max_steps: int = 50,
) -> Any:
    """Solution x of fn(x, *args) = 0.

    Derivatives by `args`, and by all tensors and parameters that `fn` uses, come from the implicit function theorem,
    in every mode and to every order; they do not depend on the solver, nor on how many steps it took. There are none by
    `x0`.

    Parameters
    ----------
    fn : callable
        Function of a structure like `x0` and of `args`, with a value like `x0`.
    x0 : Tensor or structure of tensors
        Where to start.
    *args : Any
        Further arguments.
    solver : callable, optional
        Function of (f, x0), on vectors, that returns a root of f. By default Newton's method with the whole Jacobian,
        as a loop in the graph.
    linear_solver : "dense", "cg", "gmres" or callable
        How derivatives solve with the Jacobian of `fn`: by its matrix, or as `linear_solve` does, without forming it.
    tol : float, optional
        Newton's method ends with a step this small, relative to x; by default the precision of the dtype to the power
        of 3/4, which leaves no error but rounding.
    max_steps : int
        Most steps of Newton's method.

    Returns
    -------
    Tensor or structure of tensors
        The root, like `x0`; where Newton's method does not converge, its last step.

    Raises
    ------
    ShapeError
        If the value of `fn` is unlike `x0`.
    TypeError, ValueError
        If `x0` is not made of floating tensors, or an option is not one.

    Examples
    --------
    >>> import evolute as ev
    >>> def square_root(a):
    ...     return ev.root(lambda x: x * x - a, ev.Tensor(1.0))
    >>> print(square_root(ev.Tensor(4.0)), ev.grad(square_root)(ev.Tensor(4.0)))
    2.0 0.25
    """
    if not callable(fn):
        raise TypeError(f"root: needs a function, got {type(fn).__name__}")
    if solver is not None and not callable(solver):
        raise TypeError(f"root: solver must be a function of (f, x0), got {type(solver).__name__}")
    krylov = None if linear_solver == "dense" else _Solver(linear_solver, None, None, 30, False)
    x0 = filled(x0, tensors(x0, "root", "x0"))
    residual = _checked_like(lambda x: fn(x, *args), x0, "root", "the function")
    closed, constants, start, unravel = _closed(residual, x0)
    places = _moving(constants)

    def solution(*constants: Tensor) -> Tensor:
        fixed = [ops.stop_gradient(c) for c in constants]

        def f(x: Tensor) -> Any:
            return closed(x, *fixed)

        at = ops.stop_gradient(start)
        if solver is None:
            return _newton(f, at, tol, max_steps)
        return _checked_like(solver, at, "root", "the solver")(f, at)  # type: ignore[no-any-return]

    def forward(constants: Any, x: Tensor, tangents: Any) -> Tensor:
        def moved(*moving: Tensor) -> Any:
            return closed(x, *_among(constants, places, moving))

        along = tuple(tangents[i] for i in places)
        right = -jvp(moved, tuple(constants[i] for i in places), along)[1]
        if krylov is None:
            return ops.solve(jacfwd(lambda x: closed(x, *constants))(x), right)

        def linearized(v: Tensor, x: Tensor, *constants: Tensor) -> Any:
            return jvp(lambda x: closed(x, *constants), x, v)[1]

        return krylov.solve(linearized, (x, *constants), right)

    found = _evolute.call_with_rule(solution, constants, None, None, forward, False, "root")
    return unravel(found)
