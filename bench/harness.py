"""Fair timing: peers take turns in rounds, and the figures are medians with their spread.

    result = interleave({"evolute": Local(loop(lambda: f(x))), "torch": Local(loop(lambda: g(x)))})
    print(seconds(result.stats["evolute"].median), result.ratio("torch").median)

Each peer is warmed up and gets as many repetitions as make one measurement last `min_time`; then every round measures
each peer once, in order, so that drift of the machine falls on all of them alike. Ratios are formed within a round, and
the median is that of the ratios.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
import timeit
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

Timer = Callable[[int], float]

MIN_TIME = 5e-3  # seconds that one measurement lasts at least: waking threads must not count
ROUNDS = 11
RESULTS = Path(__file__).parent / "results"

# On a machine that others use too, CPU time on one thread still tells something: BENCH_CLOCK=cpu.
clock = time.process_time if os.environ.get("BENCH_CLOCK") == "cpu" else time.perf_counter


# ---- Timers ----------------------------------------------------------------------------------------------------------


def loop(fn: Callable[[], Any]) -> Timer:
    """Timer of a function. The call itself costs some 30 ns; see `statement` where that counts."""

    def timer(repetitions: int) -> float:
        turns = itertools.repeat(None, repetitions)
        start = clock()
        for _ in turns:
            fn()
        return clock() - start

    return timer


def statement(code: str, names: Mapping[str, Any]) -> Timer:
    """Timer of an expression over `names`, without the cost of calling a function."""
    # timeit switches the garbage collector off, users do not.
    return timeit.Timer(code, "import gc; gc.enable()", clock, globals=dict(names)).timeit


def first_call(make: Callable[[], Callable[[], Any]]) -> Timer:
    """Timer of the first call of functions that `make` makes, each time a new one; making it is not timed."""

    def timer(repetitions: int) -> float:
        total = 0.0
        for _ in range(repetitions):
            fn = make()
            start = clock()
            fn()
            total += clock() - start
        return total

    return timer


def quiesce(limit: float = 0.5, nap: float = 1e-3) -> None:
    """Wait until the other threads of this process sleep: thread pools spin for a while after their work.

    The CPU time of the process does not tell: what threads on other CPUs use is added to it at ticks of the system's
    clock, up to 10 ms late.
    """
    deadline = time.perf_counter() + limit
    quiet = 0
    while quiet < 3 and time.perf_counter() < deadline:
        time.sleep(nap)
        quiet = 0 if _others_run() else quiet + 1


def _others_run() -> bool:
    """Tell whether another thread of this process runs or waits for a CPU (Linux; elsewhere the answer is no)."""
    tasks = Path("/proc/self/task")
    if not tasks.is_dir():
        return False
    own = str(threading.get_native_id())
    for task in tasks.iterdir():
        if task.name == own:
            continue
        try:
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:  # it has ended
            continue
        if state == "R":
            return True
    return False


# ---- Measuring -------------------------------------------------------------------------------------------------------


@dataclass
class Stats:
    """Seconds per repetition, one sample per round."""

    samples: list[float]
    repetitions: int = 1

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def quartiles(self) -> tuple[float, float]:
        return quartiles(self.samples)

    @property
    def spread(self) -> float:
        """Distance of the quartiles as a part of the median."""
        low, high = self.quartiles
        return (high - low) / self.median if self.median else 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "median_s": self.median,
            "quartiles_s": list(self.quartiles),
            "repetitions": self.repetitions,
            "samples_s": self.samples,
        }


@dataclass
class Ratio:
    """How many times as long a peer takes as the base, round by round."""

    median: float
    quartiles: tuple[float, float]

    def as_json(self) -> dict[str, Any]:
        return {"median": self.median, "quartiles": list(self.quartiles)}


@dataclass
class Result:
    """What one workload took on each peer."""

    stats: dict[str, Stats] = field(default_factory=dict)
    base: str | None = None

    def ratio(self, peer: str, base: str | None = None) -> Ratio | None:
        base = self.base if base is None else base
        if base not in self.stats or peer not in self.stats:
            return None
        pairs = zip(self.stats[peer].samples, self.stats[base].samples, strict=True)
        ratios = [mine / theirs for mine, theirs in pairs]
        return Ratio(statistics.median(ratios), quartiles(ratios))


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high


class Peer(Protocol):
    """What `interleave` measures: `Local` here, or work in another process."""

    def calibrate(self, min_time: float) -> int:
        """Warm up, and return the repetitions that last `min_time`."""

    def sample(self, repetitions: int) -> float:
        """Return seconds per repetition."""


class Local:
    """Work in this process."""

    def __init__(self, timer: Timer) -> None:
        self.timer = timer

    def calibrate(self, min_time: float) -> int:
        self.timer(1)
        quiesce()  # some libraries start threads that spin for a while without any work
        repetitions = 1
        while (elapsed := self.timer(repetitions)) < min_time:
            grow = 1.2 * min_time / max(elapsed, 1e-9)
            repetitions = max(repetitions + 1, round(repetitions * min(grow, 100.0)))
        quiesce()
        return repetitions

    def sample(self, repetitions: int) -> float:
        self.timer(max(2, repetitions // 4))  # fetch the data and wake the threads
        elapsed = self.timer(repetitions)
        quiesce()
        return elapsed / repetitions


def interleave(
    peers: Mapping[str, Peer], base: str | None = None, rounds: int = ROUNDS, min_time: float = MIN_TIME
) -> Result:
    """Measure every peer once per round. `base` is what ratios are taken to: the first peer by default."""
    repetitions = {name: peer.calibrate(min_time) for name, peer in peers.items()}
    result = Result({name: Stats([], repetitions[name]) for name in peers}, base or next(iter(peers), None))
    for _ in range(rounds):
        for name, peer in peers.items():
            result.stats[name].samples.append(peer.sample(repetitions[name]))
    return result


# ---- Saying where and with what --------------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    """Return what the figures depend on besides the libraries."""
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    return {
        "cpu": _cpu_model(),
        "architecture": platform.machine(),
        "simd": [flag for flag in ("avx2", "fma", "avx512f") if flag in _cpu_flags()],
        "cpus": len(cpus),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load_average": round(os.getloadavg()[0], 2),
        "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of the installed ones among `packages`, and of Python."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            if version := getattr(sys.modules.get(package), "__version__", None):
                found[package] = version  # imported from its source tree
    return found


def revision() -> str | None:
    """Return the commit the benchmarks stand in, with `-dirty` if files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        out = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return out.stdout.strip()


def _cpu_model() -> str:
    return _cpu_field("model name") or platform.processor() or "unknown"


def _cpu_flags() -> set[str]:
    return set((_cpu_field("flags") or "").split())


def _cpu_field(name: str) -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


# ---- Writing ---------------------------------------------------------------------------------------------------------


def seconds(value: float) -> str:
    """Print a time with three significant digits and a fitting unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= scale:
            return f"{value / scale:.3g} {unit}" if value / scale < 1000 else f"{value / scale:.0f} {unit}"
    return f"{value / 1e-9:.3g} ns"


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Return aligned columns: the first to the left, the others to the right."""
    lines = [list(header), *(list(row) for row in body)]
    widths = [max(len(row[i]) for row in lines) for i in range(len(header))]
    text = []
    for row in lines:
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        text.append("  ".join(cells).rstrip())
    text.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(text)
