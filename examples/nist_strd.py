"""Certified nonlinear regression: the 27 NIST problems, to the last certified digits.

NIST's Statistical Reference Datasets give, for 27 least-squares problems, the parameters to 11 digits and two starting
points, the first usually far away. Every start is solved the same way, in float64, with derivatives from Evolute:

1. Levenberg-Marquardt (MINPACK, through SciPy) with the exact Jacobian, variables scaled by its columns, until it can
   improve no more. It works by comparing sums of squares. Near the solution these are flat: parameters that differ in
   the eighth digit have the same sum in float64. Often 8 digits are reached, sometimes only 6.
2. Newton's method on the gradient of the sum of squares, with the exact Hessian. Where the sum is flat its gradient
   still crosses zero at an angle, and the remaining digits arrive in a few steps.

No start is treated specially: one method, one setting, and neither the certified values nor the other start are used.

Run ``python nist_strd.py``, or ``python nist_strd.py --problem MGH17 --problem ENSO``.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import least_squares

import evolute as ev
from evolute import Tensor, ops

Array = NDArray[np.float64]
ArrayFunction = Callable[[Array], Array]
Model = Callable[[Tensor, Tensor], Tensor]

DATA = Path(__file__).resolve().parent / "data" / "nist_strd"
CERTIFIED_DIGITS = 11  # NIST prints that many; closer agreement cannot be seen
GOAL = 8

# ---- The models, written as NIST states them: parameters b, predictors x

MODELS: dict[str, Model] = {}


def describes(*problems: str) -> Callable[[Model], Model]:
    """Register a function as the model of the named problems."""

    def register(model: Model) -> Model:
        MODELS.update(dict.fromkeys(problems, model))
        return model

    return register


@describes("Misra1a", "BoxBOD")
def saturation(b: Tensor, x: Tensor) -> Tensor:
    return b[0] * (1 - ops.exp(-b[1] * x))


@describes("Misra1b")
def misra1b(b: Tensor, x: Tensor) -> Tensor:
    return b[0] * (1 - (1 + b[1] * x / 2) ** -2)


@describes("Misra1c")
def misra1c(b: Tensor, x: Tensor) -> Tensor:
    return b[0] * (1 - (1 + 2 * b[1] * x) ** -0.5)


@describes("Misra1d")
def misra1d(b: Tensor, x: Tensor) -> Tensor:
    return b[0] * b[1] * x * (1 + b[1] * x) ** -1


@describes("Chwirut1", "Chwirut2")
def chwirut(b: Tensor, x: Tensor) -> Tensor:
    return ops.exp(-b[0] * x) / (b[1] + b[2] * x)


@describes("Lanczos1", "Lanczos2", "Lanczos3")
def lanczos(b: Tensor, x: Tensor) -> Tensor:
    return b[0] * ops.exp(-b[1] * x) + b[2] * ops.exp(-b[3] * x) + b[4] * ops.exp(-b[5] * x)


@describes("Gauss1", "Gauss2", "Gauss3")
def gauss(b: Tensor, x: Tensor) -> Tensor:
    first = b[2] * ops.exp(-((x - b[3]) ** 2) / b[4] ** 2)
    second = b[5] * ops.exp(-((x - b[6]) ** 2) / b[7] ** 2)
    return b[0] * ops.exp(-b[1] * x) + first + second


@describes("DanWood")
def danwood(b: Tensor, x: Tensor) -> Tensor:
    return b[0] * x ** b[1]


@describes("Kirby2")
def kirby2(b: Tensor, x: Tensor) -> Tensor:
    return (b[0] + b[1] * x + b[2] * x**2) / (1 + b[3] * x + b[4] * x**2)


@describes("Hahn1", "Thurber")
def cubic_over_cubic(b: Tensor, x: Tensor) -> Tensor:
    return (b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3) / (1 + b[4] * x + b[5] * x**2 + b[6] * x**3)


@describes("Nelson")
def nelson(b: Tensor, x: Tensor) -> Tensor:
    return b[0] - b[1] * x[0] * ops.exp(-b[2] * x[1])


@describes("MGH09")
def mgh09(b: Tensor, x: Tensor) -> Tensor:
    return b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3])


@describes("MGH10")
def mgh10(b: Tensor, x: Tensor) -> Tensor:
    return b[0] * ops.exp(b[1] / (x + b[2]))


@describes("MGH17")
def mgh17(b: Tensor, x: Tensor) -> Tensor:
    return b[0] + b[1] * ops.exp(-x * b[3]) + b[2] * ops.exp(-x * b[4])


@describes("ENSO")
def enso(b: Tensor, x: Tensor) -> Tensor:
    turn = 2 * np.pi * x
    year = b[1] * ops.cos(turn / 12) + b[2] * ops.sin(turn / 12)
    el_nino = b[4] * ops.cos(turn / b[3]) + b[5] * ops.sin(turn / b[3])
    southern = b[7] * ops.cos(turn / b[6]) + b[8] * ops.sin(turn / b[6])
    return b[0] + year + el_nino + southern


@describes("Roszman1")
def roszman1(b: Tensor, x: Tensor) -> Tensor:
    return b[0] - b[1] * x - ops.atan(b[2] / (x - b[3])) / np.pi


@describes("Rat42")
def rat42(b: Tensor, x: Tensor) -> Tensor:
    return b[0] / (1 + ops.exp(b[1] - b[2] * x))


@describes("Rat43")
def rat43(b: Tensor, x: Tensor) -> Tensor:
    return b[0] / (1 + ops.exp(b[1] - b[2] * x)) ** (1 / b[3])


@describes("Eckerle4")
def eckerle4(b: Tensor, x: Tensor) -> Tensor:
    return b[0] / b[1] * ops.exp(-0.5 * ((x - b[2]) / b[1]) ** 2)


@describes("Bennett5")
def bennett5(b: Tensor, x: Tensor) -> Tensor:
    return b[0] * (b[1] + x) ** (-1 / b[2])


# ---- The problems


@dataclass(frozen=True, eq=False)
class Problem:
    """One data set with its model, its two starts (rows) and what NIST certifies about the solution."""

    name: str
    level: str
    model: Model
    x: Array
    y: Array
    starts: Array
    certified: Array
    deviation: Array
    rss: float


def load(path: Path) -> Problem:
    """Read one NIST file; its header names the lines that hold the data."""
    text = path.read_text()
    lines = text.splitlines()
    table = np.array([row.split() for row in re.findall(r"^ *b\d+ =(.*)$", text, re.MULTILINE)], dtype=float)
    first, last = map(int, re.findall(r"Data +\(lines +(\d+) to +(\d+)\)", text)[0])
    y, *x = np.loadtxt(lines[first - 1 : last], unpack=True)
    return Problem(
        name=path.stem,
        level=re.findall(r"(\w+) Level of Difficulty", text)[0],
        model=MODELS[path.stem],
        x=np.stack(x) if len(x) > 1 else x[0],
        y=np.log(y) if "log[y] =" in text else y,
        starts=table[:, :2].T,
        certified=table[:, 2],
        deviation=table[:, 3],
        rss=float(re.findall(r"Residual Sum of Squares: +(\S+)", text)[0]),
    )


def load_all() -> list[Problem]:
    """Read all 27 problems, in alphabetical order."""
    return [load(path) for path in sorted(DATA.glob("*.dat"))]


# ---- The solver


@functools.cache
def derivatives(problem: Problem) -> tuple[ArrayFunction, ArrayFunction, ArrayFunction]:
    """Compile the residuals, their Jacobian, and the Hessian of half their sum of squares, NumPy in and out."""
    x, y = Tensor(problem.x), Tensor(problem.y)

    def residual(b: Tensor) -> Tensor:
        return problem.model(b, x) - y

    def half_rss(b: Tensor) -> Tensor:
        return 0.5 * ops.sum(ops.square(residual(b)))

    def compiled(function: Callable[[Tensor], Tensor]) -> ArrayFunction:
        fast = ev.jit(function)
        return lambda b: fast(Tensor(b)).asnumpy()

    return compiled(residual), compiled(ev.jacfwd(residual)), compiled(ev.hessian(half_rss))


@dataclass(frozen=True)
class Fit:
    """Where one start led: the parameters after each stage and what it took."""

    parameters: Array
    before_newton: Array
    rss: float
    evaluations: tuple[int, int, int]  # of residuals, Jacobians, Hessians
    seconds: float


def solve(problem: Problem, start: int) -> Fit:
    """Fit a problem from one of its starts.

    Parameters
    ----------
    problem : Problem
        The data set.
    start : int
        1 or 2, as NIST counts.

    Returns
    -------
    Fit
        The solution. Its time includes compiling when the problem is solved for the first time.
    """
    begin = time.perf_counter()
    residual, jacobian, hessian = derivatives(problem)

    def finite_residual(b: Array) -> Array:
        # A step so wild that the model overflows must look bad, not undefined, to be rejected.
        return np.nan_to_num(residual(b), nan=1e100, posinf=1e100, neginf=-1e100)

    tight = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15, "max_nfev": 5000}
    lm = least_squares(finite_residual, problem.starts[start - 1], jacobian, method="lm", x_scale="jac", **tight)
    b, steps = newton(lm.x, residual, jacobian, hessian)

    return Fit(
        parameters=b,
        before_newton=lm.x,
        rss=float(np.sum(residual(b) ** 2)),
        evaluations=(lm.nfev + steps + 1, lm.njev + steps, steps),
        seconds=time.perf_counter() - begin,
    )


@np.errstate(divide="ignore", invalid="ignore")  # a parameter without influence has scale 0, and ends the iteration
def newton(
    b: Array, residual: ArrayFunction, jacobian: ArrayFunction, hessian: ArrayFunction, max_steps: int = 20
) -> tuple[Array, int]:
    """Drive the gradient of the sum of squares to zero by full Newton steps, as far as rounding allows.

    The parameters of one problem may differ by 8 orders of magnitude, so steps are taken and measured in variables
    scaled by the columns of the Jacobian. Each must be less than half the one before, the first less than 1 % of the
    parameters: where Newton's method is to be trusted it converges much faster, except at the rounding floor.

    Returns
    -------
    tuple of ndarray and int
        The parameters and the number of Hessians computed. Where the Hessian is not positive definite, the
        parameters are returned as they are.
    """
    allowed, hessians = 0.01, 0
    while hessians < max_steps:
        jac = jacobian(b)
        scale = np.linalg.norm(jac, axis=0)
        gradient = jac.T @ residual(b) / scale
        hessians += 1
        try:
            factor = cho_factor(hessian(b) / np.outer(scale, scale))
        except ValueError:  # not finite or, as a LinAlgError, not positive definite
            break
        step = -cho_solve(factor, gradient)
        size = float(np.linalg.norm(step) / np.linalg.norm(b * scale))
        if not size < allowed:
            break
        b, allowed = b + step / scale, size / 2
    return b, hessians


def standard_deviations(problem: Problem, b: Array) -> Array:
    """Estimate the standard deviations of the fitted parameters: those of the linearised model, as NIST does."""
    residual, jacobian, _ = derivatives(problem)
    r = residual(b)
    triangle = np.linalg.qr(jacobian(b), mode="r")  # not from J^T J, which would cost half the digits
    spread: Array = np.linalg.norm(np.linalg.inv(triangle), axis=1)
    return spread * np.sqrt(r @ r / (r.size - b.size))


def digits(value: Array | float, certified: Array | float) -> float:
    """Return the number of leading decimal digits on which all values agree with the certified ones."""
    error = np.max(np.abs(value - certified) / np.abs(certified))
    return float(-np.log10(max(error, 10.0**-CERTIFIED_DIGITS)))


# ---- The report


def plot(path: str, rows: Sequence[tuple[str, float, float]]) -> None:
    """Draw the digits before and after Newton's steps, one line per start."""
    from matplotlib.figure import Figure

    names, before, after = zip(*rows, strict=True)
    figure = Figure(figsize=(7, 1 + 0.2 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.hlines(names, before, after, color="0.75")
    axes.plot(before, names, "o", label="Levenberg-Marquardt")
    axes.plot(after, names, "o", label="then Newton, exact Hessian")
    axes.axvline(CERTIFIED_DIGITS, color="0.5", linestyle=":")
    axes.set(xlabel="correct digits of the worst parameter (11 are certified)")
    axes.invert_yaxis()
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Solve the chosen problems from both starts, print a table, and return 1 if any start crashed."""
    problems = {problem.name: problem for problem in load_all()}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problem", action="append", choices=problems, metavar="NAME", help="only this (repeatable)")
    parser.add_argument("--plot", metavar="FILE", help="draw the digits reached (needs matplotlib)")
    options = parser.parse_args(arguments)

    print("                         correct digits      evaluations")
    print("problem   level   start     LM  Newton     r     J    H        ms   (start 1 includes compiling)")
    rows: list[tuple[str, float, float]] = []
    crashed: list[str] = []
    for problem in (problems[name] for name in options.problem or problems):
        for start in (1, 2):
            label = f"{problem.name:9} {problem.level:7} {start:5}"
            try:
                fit = solve(problem, start)
            except Exception as error:
                crashed.append(f"{problem.name}/{start}")
                print(f"{label}   crashed: {type(error).__name__}: {error}", flush=True)
                continue
            before, after = (digits(b, problem.certified) for b in (fit.before_newton, fit.parameters))
            rows.append((f"{problem.name}/{start}", before, after))
            r, j, h = fit.evaluations
            print(f"{label}  {before:5.1f}   {after:5.1f} {r:5} {j:5} {h:4} {1e3 * fit.seconds:9.1f}", flush=True)

    missed = [name for name, _, after in rows if not after >= GOAL]
    total = len(rows) + len(crashed)
    print(f"\n{len(rows) - len(missed)} of {total} starts reach {GOAL} certified digits or more", end="")
    print(f"; the worst has {min(after for _, _, after in rows):.1f}." if rows else ".")
    if missed:
        print("Not reached by this local method:", ", ".join(missed))
    if crashed:
        print("Crashed:", ", ".join(crashed))
    if options.plot and rows:
        plot(options.plot, rows)
    return 1 if crashed else 0


if __name__ == "__main__":
    sys.exit(main())
