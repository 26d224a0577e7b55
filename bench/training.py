"""Time to a given error: the training of `examples/burgers.py` in Evolute, PyTorch and JAX, from the same weights.

    peers/bin/python bench/training.py                      # three rounds, then the plot: four minutes
    peers/bin/python bench/training.py --plot               # the plot alone
    peers/bin/python bench/training.py --only jax           # one of them, in this process

Adam, then rounds of L-BFGS of SciPy, in float64 and on two threads, until the error relative to the reference solution
is 1e-3. The clock stands still while the error is measured; compiling counts. Each framework is used as its users do:
Evolute and JAX compile whole steps, PyTorch runs eagerly (`torch.compile` has no second derivatives). Writes
results/training.json and .png.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import harness
import numpy as np

HERE = Path(__file__).parent
DATA = HERE.parent / "examples" / "data" / "burgers" / "burgers_shock.mat"
VISCOSITY = 0.01 / math.pi
WIDTHS = (2, 16, 16, 16, 16, 1)
COUNT, ADAM_STEPS, ADAM_EVERY, ROUND, ROUNDS = 2048, 1000, 250, 1000, 12
GOAL = 1e-3
NAMES = ("evolute", "torch", "jax")

Arrays = tuple[np.ndarray, ...]


def reference() -> Arrays:
    from scipy.io import loadmat

    content = loadmat(DATA)
    x, t = np.meshgrid(content["x"].ravel(), content["t"].ravel(), indexing="ij")
    return x.reshape(-1, 1), t.reshape(-1, 1), content["usol"].ravel()


def weights() -> list[np.ndarray]:
    """Weights (inputs, outputs) and biases, one after the other."""
    random = np.random.default_rng(1)
    arrays = []
    for a, b in itertools.pairwise(WIDTHS):
        arrays += [random.uniform(-1, 1, (a, b)) * math.sqrt(6 / (a + b)), np.zeros(b)]
    return arrays


def rate(step: int) -> float:
    return 1e-5 + 0.5 * (5e-3 - 1e-5) * (1 + math.cos(math.pi * step / ADAM_STEPS))


def joined(arrays: Any) -> np.ndarray:
    return np.concatenate([np.asarray(a, np.float64).ravel() for a in arrays])


# ---- The three of them: adam(points, steps), lbfgs(points, options, callback), residual(x, t), predict(x, t) ---------


class OnEvolute:
    def __init__(self) -> None:
        import evolute as ev
        from evolute import Parameter, Tensor, nn, ops

        self.ev, self.nn, self.tensor = ev, nn, Tensor
        self.parameters = [Parameter(w, f"p{i}") for i, w in enumerate(weights())]

        def network(x: Any, t: Any) -> Any:
            h = ops.concat([x, t], 1)
            for i in range(0, len(self.parameters), 2):
                h = h @ self.parameters[i] + self.parameters[i + 1]
                if i + 2 < len(self.parameters):
                    h = ops.tanh(h)
            return h

        def u(x: Any, t: Any) -> Any:
            return -ops.sin(math.pi * x) + t * (1.0 - x * x) * (network(x, t) - network(-x, t))

        def residual(x: Any, t: Any) -> Any:
            one = ops.ones_like(x)
            (value, u_x), (_, u_xx) = ev.jvp(lambda x: ev.jvp(lambda x: u(x, t), x, one), x, one)
            _, u_t = ev.jvp(lambda t: u(x, t), t, one)
            return u_t + value * u_x - VISCOSITY * u_xx, u_x

        self.loss = lambda x, t, w: ops.mean(ops.square(w * residual(x, t)[0]))
        self.compiled_residual, self.compiled_u = ev.jit(residual), ev.jit(u)
        optimizer = nn.Adam(self.parameters, [rate(i) for i in range(ADAM_STEPS)])
        self.step = nn.TrainOneStepCell(self.loss, optimizer)

    def adam(self, points: Arrays, steps: int) -> None:
        batch = [self.tensor(a) for a in points]
        for _ in range(steps):
            self.step(*batch)

    def lbfgs(self, points: Arrays, options: dict[str, Any], callback: Any) -> None:
        batch = [self.tensor(a) for a in points]
        self.ev.minimize(self.loss, self.parameters, batch, callback=lambda n, _: callback(n), options=options)

    def residual(self, x: np.ndarray, t: np.ndarray) -> Arrays:
        return tuple(a.asnumpy() for a in self.compiled_residual(self.tensor(x), self.tensor(t)))

    def predict(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        return self.compiled_u(self.tensor(x), self.tensor(t)).asnumpy()


class OnTorch:
    def __init__(self) -> None:
        import torch

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        torch.set_default_dtype(torch.float64)
        self.torch = torch
        self.parameters = [torch.tensor(w, requires_grad=True) for w in weights()]
        self.optimizer = torch.optim.Adam(self.parameters, lr=rate(0))
        self.steps = 0

    def network(self, x: Any, t: Any) -> Any:
        torch = self.torch
        h = torch.cat([x, t], 1)
        for i in range(0, len(self.parameters), 2):
            h = torch.addmm(self.parameters[i + 1], h, self.parameters[i])
            if i + 2 < len(self.parameters):
                h = torch.tanh(h)
        return h

    def u(self, x: Any, t: Any) -> Any:
        return -self.torch.sin(math.pi * x) + t * (1.0 - x * x) * (self.network(x, t) - self.network(-x, t))

    def residual_of(self, x: Any, t: Any) -> Any:
        grad, one = self.torch.autograd.grad, self.torch.ones_like(x)
        u = self.u(x, t)
        u_x, u_t = grad(u, (x, t), one, create_graph=True)
        (u_xx,) = grad(u_x, x, one, create_graph=True)
        return u_t + u * u_x - VISCOSITY * u_xx, u_x

    def tensors(self, points: Arrays) -> list[Any]:
        return [self.torch.tensor(a, requires_grad=i < 2) for i, a in enumerate(points)]

    def loss(self, x: Any, t: Any, w: Any) -> Any:
        return self.torch.mean(self.torch.square(w * self.residual_of(x, t)[0]))

    def adam(self, points: Arrays, steps: int) -> None:
        batch = self.tensors(points)
        for _ in range(steps):
            self.optimizer.param_groups[0]["lr"] = rate(self.steps)
            self.optimizer.zero_grad()
            self.loss(*batch).backward(inputs=self.parameters)
            self.optimizer.step()
            self.steps += 1

    def lbfgs(self, points: Arrays, options: dict[str, Any], callback: Any) -> None:
        batch = self.tensors(points)

        def value(vector: np.ndarray) -> tuple[float, np.ndarray]:
            self.store(vector)
            loss = self.loss(*batch)
            gradients = self.torch.autograd.grad(loss, self.parameters)
            return loss.item(), joined(g.numpy() for g in gradients)

        self.store(minimized(value, joined(p.detach().numpy() for p in self.parameters), options, callback, self.store))

    def store(self, vector: np.ndarray) -> None:
        start = 0
        with self.torch.no_grad():
            for p in self.parameters:
                p.copy_(self.torch.from_numpy(vector[start : start + p.numel()].reshape(p.shape)))
                start += p.numel()

    def residual(self, x: np.ndarray, t: np.ndarray) -> Arrays:
        return tuple(a.detach().numpy() for a in self.residual_of(*self.tensors((x, t))))

    def predict(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        with self.torch.no_grad():
            return self.u(self.torch.tensor(x), self.torch.tensor(t)).numpy()


class OnJax:
    def __init__(self) -> None:
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        self.jnp = jnp
        self.parameters = [jnp.asarray(w) for w in weights()]
        self.state = [[jnp.zeros_like(p) for p in self.parameters] for _ in range(2)]
        self.steps = 0

        def network(parameters: Any, x: Any, t: Any) -> Any:
            h = jnp.concatenate([x, t], 1)
            for i in range(0, len(parameters), 2):
                h = h @ parameters[i] + parameters[i + 1]
                if i + 2 < len(parameters):
                    h = jnp.tanh(h)
            return h

        def u(parameters: Any, x: Any, t: Any) -> Any:
            return -jnp.sin(math.pi * x) + t * (1.0 - x * x) * (network(parameters, x, t) - network(parameters, -x, t))

        def residual(parameters: Any, x: Any, t: Any) -> Any:
            one = jnp.ones_like(x)

            def along_x(x: Any) -> Any:
                return jax.jvp(lambda x: u(parameters, x, t), (x,), (one,))

            (value, u_x), (_, u_xx) = jax.jvp(along_x, (x,), (one,))
            _, u_t = jax.jvp(lambda t: u(parameters, x, t), (t,), (one,))
            return u_t + value * u_x - VISCOSITY * u_xx, u_x

        def loss(parameters: Any, x: Any, t: Any, w: Any) -> Any:
            return jnp.mean(jnp.square(w * residual(parameters, x, t)[0]))

        def step(parameters: Any, m: Any, v: Any, n: Any, learning_rate: Any, batch: Any) -> Any:
            gradients = jax.grad(loss)(parameters, *batch)
            m = [0.9 * a + 0.1 * g for a, g in zip(m, gradients, strict=True)]
            v = [0.999 * a + 0.001 * g**2 for a, g in zip(v, gradients, strict=True)]
            scale = learning_rate / (1 - 0.9**n)
            root = jnp.sqrt(1 - 0.999**n)
            new = [p - scale * a / (jnp.sqrt(b) / root + 1e-8) for p, a, b in zip(parameters, m, v, strict=True)]
            return new, m, v

        def of_vector(vector: Any, *batch: Any) -> Any:
            return loss(self.split(vector), *batch)

        self.step = jax.jit(step)
        self.value = jax.jit(jax.value_and_grad(of_vector))
        self.compiled_residual, self.compiled_u = jax.jit(residual), jax.jit(u)

    def split(self, vector: Any) -> list[Any]:
        parts, start = [], 0
        for p in self.parameters:
            parts.append(vector[start : start + p.size].reshape(p.shape))
            start += p.size
        return parts

    def adam(self, points: Arrays, steps: int) -> None:
        batch = [self.jnp.asarray(a) for a in points]
        for _ in range(steps):
            self.steps += 1
            n, learning_rate = float(self.steps), rate(self.steps - 1)
            self.parameters, *self.state = self.step(self.parameters, *self.state, n, learning_rate, batch)

    def lbfgs(self, points: Arrays, options: dict[str, Any], callback: Any) -> None:
        batch = [self.jnp.asarray(a) for a in points]

        def value(vector: np.ndarray) -> tuple[float, np.ndarray]:
            loss, gradient = self.value(vector, *batch)
            return float(loss), np.asarray(gradient, np.float64)

        self.store(minimized(value, joined(self.parameters), options, callback, self.store))

    def store(self, vector: np.ndarray) -> None:
        self.parameters = self.split(self.jnp.asarray(vector))

    def residual(self, x: np.ndarray, t: np.ndarray) -> Arrays:
        return tuple(np.asarray(a) for a in self.compiled_residual(self.parameters, x, t))

    def predict(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        return np.asarray(self.compiled_u(self.parameters, x, t))


def minimized(value: Any, start: np.ndarray, options: dict[str, Any], callback: Any, store: Any) -> np.ndarray:
    from scipy.optimize import minimize

    done = 0

    def after(vector: np.ndarray) -> None:
        nonlocal done
        done += 1
        if done % 100 == 0:
            store(vector)
        callback(done)

    return minimize(value, start, jac=True, method="L-BFGS-B", callback=after, options=options).x


# ---- The training ----------------------------------------------------------------------------------------------------


class Reached(Exception):
    """The error is small enough."""


def train(name: str) -> dict[str, Any]:
    x, t, u = reference()
    random = np.random.default_rng(0)
    paused, started = 0.0, time.perf_counter()
    work = {"evolute": OnEvolute, "torch": OnTorch, "jax": OnJax}[name]()
    history: list[tuple[float, float]] = []

    def points() -> Arrays:
        x, t = random.random((2, 4 * COUNT, 1))
        r, u_x = work.residual(x, t)
        weight = 1.0 / (1.0 + 0.1 * abs(u_x))
        density = abs(weight * r).ravel()
        density = density / density.mean() + 1.0
        chosen = random.choice(len(x), COUNT, replace=False, p=density / density.sum())
        return x[chosen], t[chosen], weight[chosen]

    def note() -> None:
        nonlocal paused
        here = time.perf_counter()
        error = float(np.linalg.norm(work.predict(x, t).ravel() - u) / np.linalg.norm(u))
        history.append((here - started - paused, error))
        paused += time.perf_counter() - here

    def after(done: int) -> None:
        if done % 100 == 0:
            note()
            if history[-1][1] <= GOAL:
                raise Reached

    for _ in range(ADAM_STEPS // ADAM_EVERY):
        work.adam(points(), ADAM_EVERY)
        note()
    options = {"maxiter": ROUND, "maxfun": 2 * ROUND, "maxcor": 50, "ftol": 0.0, "gtol": 0.0}
    try:
        for _ in range(ROUNDS):
            work.lbfgs(points(), options, after)
    except Reached:
        pass
    return {"seconds": [s for s, _ in history], "errors": [e for _, e in history]}


def plot(rounds: list[dict[str, Any]], path: Path) -> None:
    """Draw the round of median time of each."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), constrained_layout=True)
    for name in NAMES:
        result = sorted((r[name] for r in rounds), key=lambda r: r["seconds"][-1])[len(rounds) // 2]
        axes.semilogy(result["seconds"], result["errors"], label=f"{name}: {result['seconds'][-1]:.0f} s")
    axes.axhline(GOAL, color="grey", linestyle=":")
    axes.set(xlabel="seconds", ylabel="relative L2 error", title="Burgers' equation: Adam, then L-BFGS, to 1e-3")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=NAMES, help="train in this process, and print the result")
    parser.add_argument("--rounds", type=int, default=3, help="how often each trains, one after the other")
    parser.add_argument("--plot", action="store_true", help="draw the results that there are")
    parser.add_argument("--output", type=Path, default=HERE / "results")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(train(options.only)))
        return
    file = options.output / "training.json"
    if not options.plot:
        content = {
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": harness.machine(),
            "versions": harness.versions(["evolute", "torch", "jax", "jaxlib", "numpy", "scipy"]),
            "revision": harness.revision(),
            "rounds": [{name: in_process(name) for name in NAMES} for _ in range(options.rounds)],
        }
        harness.write_json(file, content)
    plot(json.loads(file.read_text())["rounds"], file.with_suffix(".png"))


def in_process(name: str) -> dict[str, Any]:
    """Train in a process of its own."""
    # SciPy's own threads would be in the way of all of them.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--only", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{name}: error {result['errors'][-1]:.2e} after {result['seconds'][-1]:.1f} s", flush=True)
    return result


if __name__ == "__main__":
    main()
