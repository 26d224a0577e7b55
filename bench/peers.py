"""The parent's end of `worker.py`: one process per framework, started when first needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

WORKER = Path(__file__).parent / "worker.py"


class PeerError(RuntimeError):
    """A framework that is not there, or failed at its work (`key`, where that was prepared)."""

    key: str | None = None


def interpreter(framework: str) -> str:
    """Return the Python that has `framework`: `BENCH_PYTHON_<FRAMEWORK>` in the environment, or this one."""
    return os.environ.get(f"BENCH_PYTHON_{framework.upper()}", sys.executable)


class Process:
    """A framework at work with a number of threads."""

    def __init__(self, framework: str, threads: int) -> None:
        self.name = framework
        self.child = subprocess.Popen(
            [interpreter(framework), str(WORKER), framework, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL,
            text=True,
        )
        self.info = self._answer()

    def ask(self, do: str, **arguments: Any) -> Any:
        assert self.child.stdin is not None
        try:
            self.child.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self.child.stdin.flush()
        except BrokenPipeError:  # there is no answer then
            pass
        return self._answer()

    def close(self) -> None:
        if self.child.stdin:
            self.child.stdin.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()

    def _answer(self) -> Any:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise PeerError(f"the process ended with status {self.child.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer["ok"]


class Peers:
    """Processes by framework and number of threads. A framework that does not start is remembered as missing."""

    def __init__(self) -> None:
        self.processes: dict[tuple[str, int], Process] = {}
        self.missing: dict[str, str] = {}

    def get(self, framework: str, threads: int) -> Process:
        key = framework, threads
        if framework in self.missing:
            raise PeerError(self.missing[framework])
        if key not in self.processes:
            try:
                self.processes[key] = Process(framework, threads)
            except (PeerError, OSError) as error:
                self.missing[framework] = str(error)
                raise PeerError(str(error)) from error
        return self.processes[key]

    def drop(self, framework: str, threads: int) -> None:
        """End a process; the next use starts a fresh one."""
        process = self.processes.pop((framework, threads), None)
        if process:
            process.close()

    def forget_if_dead(self, framework: str, threads: int) -> None:
        process = self.processes.get((framework, threads))
        if process and process.child.poll() is not None:
            del self.processes[framework, threads]

    def versions(self) -> dict[str, Any]:
        return {framework: process.info for (framework, _), process in sorted(self.processes.items())}

    def close(self) -> None:
        for process in self.processes.values():
            process.close()
        self.processes.clear()


class Remote:
    """Work that was prepared in a process, for `harness.interleave`."""

    def __init__(self, process: Process, key: str) -> None:
        self.process = process
        self.key = key

    def calibrate(self, min_time: float) -> int:
        return int(self._ask("calibrate", min_time=min_time))

    def sample(self, repetitions: int) -> float:
        return float(self._ask("sample", repetitions=repetitions))

    def _ask(self, do: str, **arguments: Any) -> Any:
        try:
            return self.process.ask(do, key=self.key, **arguments)
        except PeerError as error:
            error.key = self.key
            raise
