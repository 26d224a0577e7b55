"""One framework in a process of its own: prepares work and times it, as told by lines of JSON on stdin.

    python bench/worker.py torch 2          (framework, threads)

Each request is answered by one line of JSON on stdout. `peers.py` is the other end. Frameworks so do not share thread
pools, allocators or interpreters, and one that needs another environment is compared like the others.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import harness
from workloads.work import Work, as_work, leaves

THREADS = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "EVOLUTE")


def limit_threads(count: int) -> None:
    """Must run before the framework is imported."""
    for name in THREADS:
        os.environ[f"{name}_NUM_THREADS"] = str(count)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


class Worker:
    def __init__(self, framework: str, threads: int) -> None:
        start = time.perf_counter()
        self.module = importlib.import_module(f"workloads.on_{framework}")
        self.import_seconds = time.perf_counter() - start
        self.module.set_threads(threads)
        self.works: dict[str, Work] = {}

    def info(self) -> Any:
        return {"versions": harness.versions(self.module.PACKAGES), "import_s": round(self.import_seconds, 3)}

    def prepare(self, key: str, workload: str, variant: str, case: dict[str, Any], save: str | None = None) -> Any:
        """Make the work ready and run it once; its results go to the file `save`."""
        make = self.module.WORKLOADS.get(workload)
        if make is None:
            return {"missing": "not written for this framework"}
        try:
            work = as_work(make(variant=variant, **case))
        except NotImplementedError as error:
            return {"missing": str(error)}
        result = work.run()
        if save:
            import numpy as np

            np.savez(save, *(self.module.to_numpy(x) for x in leaves(result)))
        self.works[key] = work
        return {}

    def forget(self) -> None:
        """Drop all work."""
        self.works.clear()

    def calibrate(self, key: str, min_time: float) -> int:
        return harness.Local(self.works[key].timer).calibrate(min_time)

    def sample(self, key: str, repetitions: int) -> float:
        return harness.Local(self.works[key].timer).sample(repetitions)

    def peak(self, key: str, repetitions: int) -> Any:
        """Peak of the resident memory in further runs, and what the framework itself says it needs, in bytes."""
        work = self.works[key]
        reset_peak()
        for _ in range(repetitions):
            work.run()
        return {"resident": peak_bytes(), "stated": work.stated_bytes()}


def reset_peak() -> None:
    """Give back what the allocator of the C library keeps, and start the peak of the resident memory anew."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def main() -> None:
    framework, threads = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a framework prints is not an answer
    limit_threads(threads)

    def answer(content: Any) -> None:
        answers.write(json.dumps(content) + "\n")

    try:
        worker = Worker(framework, threads)
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}"})
        return
    answer({"ok": worker.info()})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer({"ok": getattr(worker, request.pop("do"))(**request)})
        except Exception as error:
            traceback.print_exc()
            answer({"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]})


if __name__ == "__main__":
    main()
