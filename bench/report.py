"""What `compare.py` prints and writes: tables, JSON, plots."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import harness
from bars import Bar, bars_of

COLOURS = {
    "torch": "#d55e00",
    "jax": "#0072b2",
    "mindspore": "#009e73",
    "numpy": "#999999",
    "copy": "#444444",
    "evolute": "#cc79a7",
}


# ---- Judging ---------------------------------------------------------------------------------------------------------


def value_of(bar: Bar, outcome: Any) -> float | None:
    """Return what the bar bounds: a ratio or seconds; None if it was not measured."""
    if bar.seconds is not None:
        stats = outcome.result.stats.get(outcome.result.base)
        return stats.median if stats else None
    ratio = outcome.result.ratio(bar.peer)
    return ratio.median if ratio else None


def met(bar: Bar, value: float | None) -> bool | None:
    if value is None:
        return None
    return value <= bar.seconds if bar.seconds is not None else value >= bar.faster


def verdicts(suite: Any, outcome: Any) -> list[tuple[Bar, float | None, bool | None]]:
    """Return every bar of the case with its value and whether it is met. A peer that is not there bars nothing."""
    found = []
    names = {peer.name for peer in outcome.case.peers}
    for bar in bars_of(suite.name, outcome.case.name):
        if bar.peer and bar.peer not in names:
            continue
        value = value_of(bar, outcome)
        found.append((bar, value, met(bar, value)))
    return found


def passes(suite: Any, outcome: Any) -> bool:
    return outcome.result.base in outcome.result.stats and all(
        good is not False for *_, good in verdicts(suite, outcome)
    )


# ---- Table -----------------------------------------------------------------------------------------------------------


def amount(value: float, metric: str) -> str:
    return f"{value / 2**20:.1f} MiB" if metric == "memory" else harness.seconds(value)


def percent(quartiles: tuple[float, float], median: float) -> str:
    """Half the distance of the quartiles."""
    return f"±{50 * (quartiles[1] - quartiles[0]) / median:.0f}%" if median else ""


def tabulate(suite: Any, outcomes: list[Any]) -> str:
    """One row per case: the time of the first peer, what the others take relative to it, and the bars."""
    names = list(dict.fromkeys(peer.name for outcome in outcomes for peer in outcome.case.peers))
    bases = {outcome.result.base for outcome in outcomes}
    names = [name for name in names if any(name in o.result.stats and o.result.base != name for o in outcomes)]
    rates = any(outcome.case.flops for outcome in outcomes)
    base = bases.pop() if len(bases) == 1 else "first"
    header = ["case", base, *(["GFLOP/s"] if rates else []), *(f"{name}/{base}" for name in names)]
    body = [row(suite, outcome, names, rates) for outcome in outcomes]
    text = [harness.table([*header, "bars"], body)] if body else ["no case"]
    reasons: dict[str, list[str]] = {}
    for outcome in outcomes:
        for name, reason in (outcome.wrong | outcome.missing).items():
            kind = "WRONG" if name in outcome.wrong else "not measured"
            reasons.setdefault(f"{kind}: {name}: {reason}", []).append(outcome.case.name)
    text += [f"{reason} ({', '.join(cases)})" for reason, cases in reasons.items()]
    all_bars = [good for outcome in outcomes for *_, good in verdicts(suite, outcome)]
    unknown = f", {all_bars.count(None)} not measured" if None in all_bars else ""
    text.append(f"bars: {all_bars.count(True)} met, {all_bars.count(False)} missed{unknown}")
    return "\n".join(text)


def row(suite: Any, outcome: Any, names: list[str], rates: bool) -> list[str]:
    own = outcome.result.stats.get(outcome.result.base)
    if own:
        spread = "" if suite.metric == "memory" else " " + percent(own.quartiles, own.median)
        cells = [outcome.case.name, amount(own.median, suite.metric) + spread]
    else:
        cells = [outcome.case.name, why_not(outcome, outcome.result.base)]
    if rates:
        cells.append(f"{outcome.case.flops / own.median / 1e9:.0f}" if own and outcome.case.flops else "")
    for name in names:
        ratio = outcome.result.ratio(name)
        if name == outcome.result.base:
            cells.append("")
        elif ratio:
            spread = "" if suite.metric == "memory" else f" {percent(ratio.quartiles, ratio.median)}"
            cells.append(f"{ratio.median:.2f}{spread}")
        else:
            alone = outcome.result.stats.get(name)
            cells.append(amount(alone.median, suite.metric) if alone else why_not(outcome, name))
    cells.append(judgement(verdicts(suite, outcome)))
    return cells


def why_not(outcome: Any, name: str) -> str:
    return "WRONG" if name in outcome.wrong else "–"


def judgement(judged: list[tuple[Bar, float | None, bool | None]]) -> str:
    """Name the bars that are missed or could not be tried; if there is none, ok."""
    parts = [f"MISS {bar.text()}" for bar, _, good in judged if good is False]
    parts += [f"? {bar.text()}" for bar, _, good in judged if good is None]
    return ", ".join(parts) or ("ok" if judged else "")


def progress(outcome: Any) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{outcome.case.name}", end="", file=sys.stderr, flush=True)


def clear_progress() -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


# ---- JSON ------------------------------------------------------------------------------------------------------------


def as_json(suite: Any, outcome: Any) -> dict[str, Any]:
    result = outcome.result
    unit = "bytes" if suite.metric == "memory" else "seconds"
    peers = {}
    for name, stats in result.stats.items():
        ratio = result.ratio(name)
        peers[name] = {unit: stats.as_json()} | ({"ratio": ratio.as_json()} if ratio else {})
        if name in outcome.stated:
            peers[name]["stated_bytes"] = outcome.stated[name]
        if outcome.case.flops:
            peers[name]["gflops"] = outcome.case.flops / stats.median / 1e9
    bars = [{"bar": bar.text(), "value": value, "met": good} for bar, value, good in verdicts(suite, outcome)]
    return {
        "case": outcome.case.name,
        "workload": outcome.case.workload,
        "arguments": outcome.case.arguments,
        "base": result.base,
        "peers": peers,
        "wrong": outcome.wrong,
        "not_measured": outcome.missing,
        "bars": bars,
    }


# ---- Plot ------------------------------------------------------------------------------------------------------------


def draw(content: dict[str, Any], path: Path) -> None:
    """Horizontal bars, one group per case: what each peer takes relative to the first. Ticks are the bars to pass."""
    try:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        print("no plot: matplotlib is not installed")
        return
    panels = panels_of(content["cases"])
    if not panels:
        return
    names = list(dict.fromkeys(name for case in content["cases"] for name in others(case)))
    tallest = max(len(cases) for cases in panels.values())
    height = 1.5 + tallest * (0.13 * max(len(names), 1) + 0.12)
    figure, axes = plt.subplots(1, len(panels), figsize=(4.0 + 5.0 * len(panels), height), squeeze=False)
    for axis, (title, cases) in zip(axes[0], panels.items(), strict=True):
        draw_panel(axis, cases, names, content["metric"])
        axis.set_title(title, fontsize=9)
    handles, labels = axes[0][0].get_legend_handles_labels()
    top = 1 - 0.6 / height
    figure.suptitle(content["title"], fontsize=11, y=1 - 0.12 / height, va="top")
    if handles:
        figure.legend(handles, labels, loc="upper center", bbox_to_anchor=(0.5, 1 - 0.36 / height), ncols=8, fontsize=8)
    figure.text(0.01, 0.1 / height, footer(content), fontsize=7)
    figure.tight_layout(rect=(0, 0.25 / height, 1, top))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def footer(content: dict[str, Any]) -> str:
    """Machine, threads, and the version of each peer."""
    parts = [content["machine"]["cpu"], f"{content['threads']} threads"]
    for framework, info in content["peers"].items():
        if framework in info["versions"]:
            parts.append(f"{framework} {info['versions'][framework]}")
    return ", ".join(parts)


def panels_of(cases: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Cases that have bars to draw, by dtype where names end with one."""
    panels: dict[str, list[dict[str, Any]]] = {}
    for case in cases:
        if others(case):
            tail = case["case"].rpartition(" ")[2]
            panels.setdefault(tail if tail in ("float32", "float64") else "", []).append(case)
    return panels


def others(case: dict[str, Any]) -> list[str]:
    return [name for name, peer in case["peers"].items() if name != case["base"] and "ratio" in peer]


def draw_panel(axis: Any, cases: list[dict[str, Any]], names: list[str], metric: str) -> None:
    thickness = 0.84 / max(len(names), 1)
    extent = [0.8, 1.25]
    for i, name in enumerate(names):
        framework, _, variant = name.partition("-")
        places, ratios = [], []
        for j, case in enumerate(cases):
            if name in others(case):
                places.append(j + (i - (len(names) - 1) / 2) * thickness)
                ratios.append(case["peers"][name]["ratio"]["median"])
        colour, pale = COLOURS.get(framework, "#56b4e9"), 0.55 if variant else 1.0
        axis.barh(places, [r - 1 for r in ratios], thickness * 0.9, left=1, color=colour, alpha=pale, label=name)
        for place, ratio in zip(places, ratios, strict=True):
            text, side = (f"{ratio:.2g}" if ratio < 100 else f"{ratio:.0f}"), 1 if ratio >= 1 else -1
            axis.text(ratio * 1.04**side, place, text, ha="left" if side > 0 else "right", va="center", fontsize=6)
        extent += ratios
        draw_bounds(axis, cases, name, (i - (len(names) - 1) / 2) * thickness, thickness)
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_xscale("log")
    room = (max(extent) / min(extent)) ** 0.07  # for the figures
    axis.set_xlim(min(extent) / room, max(extent) * room)
    what = "memory" if metric == "memory" else "time"
    axis.set_xlabel(f"{what} relative to Evolute's; right of 1: Evolute needs less", fontsize=8)
    labels = [f"{short(case)}\n{own_amount(case, metric)}" for case in cases]
    axis.set_yticks(range(len(cases)), labels, fontsize=7)
    axis.tick_params(axis="x", labelsize=7)
    axis.set_ylim(len(cases) - 0.5, -0.5)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.grid(axis="x", which="both", alpha=0.2)


def draw_bounds(axis: Any, cases: list[dict[str, Any]], name: str, offset: float, thickness: float) -> None:
    for j, case in enumerate(cases):
        for bar in case["bars"]:
            bound, _, peer = bar["bar"].removeprefix("≥ ").partition("× ")
            if peer == name:
                place = j + offset
                axis.plot(
                    [float(bound)] * 2, [place - thickness / 2, place + thickness / 2], color="red", linewidth=1.5
                )


def short(case: dict[str, Any]) -> str:
    head, _, tail = case["case"].rpartition(" ")
    return head if tail in ("float32", "float64") else case["case"]


def own_amount(case: dict[str, Any], metric: str) -> str:
    own = case["peers"].get(case["base"])
    return amount(own["bytes" if metric == "memory" else "seconds"]["median_s"], metric) if own else ""
