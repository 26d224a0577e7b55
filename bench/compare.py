"""Compare Evolute with its peers: the same work on each, their results checked, then timed in turns.

    python bench/compare.py                     every suite
    python bench/compare.py grad2 burgers       some
    python bench/compare.py --quick forward     few rounds: to see whether it works, not for figures
    python bench/compare.py --check forward     no timing at all: whether all get the same results
    python bench/compare.py --match 'sin*' --peers torch,jax grad2

prints a table with the bars that are met and missed, and writes `results/<suite>.json` and `results/<suite>.png`.
README.md says how to install the peers.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import harness
import numpy as np
import report
from peers import PeerError, Peers, Remote
from suites import SUITES, Case, Peer, Suite


@dataclass
class Options:
    rounds: int
    min_time: float
    threads: int
    match: str
    peers: set[str]
    results: Path
    plot: bool


@dataclass
class Outcome:
    """What came of a case: times of those whose result was right, and why the others have none."""

    case: Case
    result: harness.Result = field(default_factory=harness.Result)
    wrong: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    stated: dict[str, int] = field(default_factory=dict)


# ---- Checking --------------------------------------------------------------------------------------------------------


def read(path: Path) -> list[np.ndarray]:
    with np.load(path) as saved:
        return [saved[f"arr_{i}"] for i in range(len(saved.files))]


def deviation(mine: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> float:
    """Largest distance of an element, as a part of the largest element of its array; infinite where form differs."""
    if len(mine) != len(reference):
        return np.inf
    worst = 0.0
    for a, b in zip(mine, reference, strict=True):
        if a.size != b.size or a.dtype != b.dtype or not np.array_equal(np.isfinite(a), np.isfinite(b)):
            return np.inf
        a, b = a.reshape(-1).astype(float), b.reshape(-1).astype(float)
        finite = np.isfinite(b)
        if finite.any():
            scale = np.abs(b[finite]).max() or 1.0
            worst = max(worst, float(np.abs(a - b)[finite].max() / scale))
    return worst


def disagreements(results: dict[str, list[np.ndarray]], rtol: float) -> dict[str, str]:
    """Name those whose result differs from that of most others; without a majority, all that differ from anyone."""
    distance = {(a, b): deviation(results[a], results[b]) for a in results for b in results if a != b}
    friends = {a: sum(distance[a, b] <= rtol for b in results if b != a) for a in results}
    wrong = {}
    for a in results:
        others = [b for b in results if b != a and distance[a, b] > rtol]
        if any(friends[b] >= friends[a] for b in others):
            wrong[a] = f"differs from {', '.join(others)} by {min(distance[a, b] for b in others):.1e} of the largest"
    return wrong


# ---- Running ---------------------------------------------------------------------------------------------------------


def prepare(case: Case, peers: Peers, options: Options, outcome: Outcome) -> dict[str, Remote]:
    """Make the work ready on every peer, and keep those whose results agree."""
    ready, results = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for peer in wanted(case, options):
            path = Path(folder) / f"{peer.name}.npz"
            threads = peer.threads or options.threads
            try:
                process = peers.get(peer.framework, threads)
                answer = process.ask(
                    "prepare",
                    key=peer.name,
                    workload=case.workload,
                    variant=peer.variant,
                    case=case.arguments,
                    save=str(path) if peer.framework != "copy" else None,
                )
            except PeerError as error:
                outcome.missing[peer.name] = str(error)
                peers.forget_if_dead(peer.framework, threads)
                continue
            if "missing" in answer:
                outcome.missing[peer.name] = answer["missing"]
                continue
            ready[peer.name] = Remote(process, peer.name)
            if path.exists():
                results[peer.name] = read(path)
    outcome.wrong = disagreements(results, case.rtol)
    return {name: remote for name, remote in ready.items() if name not in outcome.wrong}


def wanted(case: Case, options: Options) -> list[Peer]:
    return [p for p in case.peers if not options.peers or p.framework in options.peers | {"evolute"}]


def run_time(case: Case, peers: Peers, options: Options) -> Outcome:
    outcome = Outcome(case)
    ready = prepare(case, peers, options, outcome)
    while True:
        try:
            outcome.result = harness.interleave(ready, case.peers[0].name, options.rounds, options.min_time)
            break
        except PeerError as error:  # go on without it
            outcome.missing[str(error.key)] = str(error)
            del ready[str(error.key)]
    for process in peers.processes.values():
        process.ask("forget")
    return outcome


def run_memory(case: Case, peers: Peers, options: Options) -> Outcome:
    """Bytes instead of seconds: each sample in a fresh process, and so for a small problem, which is taken off."""
    outcome = Outcome(case)
    outcome.result.base = case.peers[0].name
    prepare(case, peers, options, outcome)
    small = Case(case.name, case.workload, case.arguments | {"points": 1000}, case.peers)
    for peer in wanted(case, options):
        if peer.name in outcome.wrong or peer.name in outcome.missing:
            continue
        peaks = []
        for problem in (small, case):
            peers.drop(peer.framework, options.threads)
            process = peers.get(peer.framework, options.threads)
            process.ask("prepare", key="it", workload=case.workload, variant=peer.variant, case=problem.arguments)
            peaks.append(process.ask("peak", key="it", repetitions=3))
        outcome.result.stats[peer.name] = harness.Stats([float(peaks[1]["resident"] - peaks[0]["resident"])])
        if peaks[1]["stated"] is not None:
            outcome.stated[peer.name] = peaks[1]["stated"]
    return outcome


def check(suite: Suite, peers: Peers, options: Options) -> bool:
    """Compare the results of all peers, and time nothing."""
    good = True
    for case in suite.cases():
        if fnmatchcase(case.name, options.match):
            outcome = Outcome(case)
            ready = prepare(case, peers, options, outcome)
            for process in peers.processes.values():
                process.ask("forget")
            reasons = [f"WRONG {name}: {why}" for name, why in outcome.wrong.items()]
            reasons += [f"{name}: {why}" for name, why in outcome.missing.items()]
            print(f"{suite.name}: {case.name}: {', '.join(ready)} agree", *reasons, sep="\n    ", flush=True)
            good = good and case.peers[0].name in ready and not outcome.wrong
    return good


def run(suite: Suite, peers: Peers, options: Options) -> bool:
    """Run a suite, print and write what came of it; whether it is free of wrong results and missed bars."""
    print(f"\n{suite.title}", flush=True)
    start = time.perf_counter()
    machine = harness.machine()
    run_case = run_memory if suite.metric == "memory" else run_time
    outcomes = []
    for case in suite.cases():
        if fnmatchcase(case.name, options.match):
            outcomes.append(run_case(case, peers, options))
            report.progress(outcomes[-1])
    report.clear_progress()
    print(report.tabulate(suite, outcomes))
    content = {
        "suite": suite.name,
        "title": suite.title,
        "metric": suite.metric,
        "note": suite.note,
        "threads": options.threads,
        "rounds": options.rounds,
        "min_time_s": options.min_time,
        "clock": os.environ.get("BENCH_CLOCK", "wall"),
        "took_s": round(time.perf_counter() - start, 1),
        "machine": machine | {"load_average_after": harness.machine()["load_average"]},
        "revision": harness.revision(),
        "peers": peers.versions(),
        "cases": [report.as_json(suite, outcome) for outcome in outcomes],
    }
    harness.write_json(options.results / f"{suite.name}.json", content)
    if options.plot:
        report.draw(content, options.results / f"{suite.name}.png")
    return all(report.passes(suite, outcome) for outcome in outcomes)


def parse(arguments: Sequence[str] | None) -> tuple[list[Suite], Options]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(SUITES)}; all by default")
    parser.add_argument("--rounds", type=int, default=harness.ROUNDS)
    parser.add_argument("--min-time", type=float, default=harness.MIN_TIME, help="seconds of one measurement")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="time of the CPUs; with --threads 1, for busy machines")
    parser.add_argument("--match", default="*", help="pattern of the cases to run")
    parser.add_argument("--peers", default="", help="frameworks to compare with, by commas; all by default")
    parser.add_argument("--results", type=Path, default=harness.RESULTS, help="where to write")
    parser.add_argument("--quick", action="store_true", help="three rounds")
    parser.add_argument("--check", action="store_true", help="compare results only; writes nothing")
    parser.add_argument("--no-plot", action="store_true")
    given = parser.parse_args(arguments)
    unknown = [name for name in given.suites if name not in SUITES]
    if unknown:
        parser.error(f"no suite {', '.join(unknown)}; there are {', '.join(SUITES)}")
    if given.cpu_time:
        os.environ["BENCH_CLOCK"] = "cpu"  # for the workers
    options = Options(
        rounds=0 if given.check else 3 if given.quick else given.rounds,
        min_time=given.min_time,
        threads=given.threads,
        match=given.match,
        peers=set(filter(None, given.peers.split(","))),
        results=given.results,
        plot=not given.no_plot,
    )
    return [SUITES[name] for name in given.suites or SUITES], options


def main(arguments: Sequence[str] | None = None) -> int:
    suites, options = parse(arguments)
    peers = Peers()
    good = True
    try:
        for suite in suites:
            good = (run if options.rounds else check)(suite, peers, options) and good
    finally:
        peers.close()
    for framework, reason in peers.missing.items():
        print(f"not measured: {framework}: {reason}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
