"""Tables and pictures of the benchmark of speed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.cases import SCALING, STEPS, Case
from benchmarks.frameworks import FRAMEWORKS, OURS, REFERENCE
from benchmarks.recipes import RUNS
from tensorgrad.report.figure import saved_figure

Results = dict[Case, dict[str, list[float]]]
"""Milliseconds by case and framework, one entry per round."""

Runs = list[dict[str, Any]]
"""Whole trainings: network, framework and round, and what :class:`benchmarks.workers.Watching` has noted."""


def table(results: Results) -> str:
    """Median milliseconds and, where the reference took part, the median of its time divided by this one's."""
    lines = [f"| | {' | '.join(map(str, results))} |", f"|---|{'---|' * len(results)}"]
    for name in FRAMEWORKS:
        cells = []
        for of_case in results.values():
            if name not in of_case:
                cells.append("")
                continue
            cell = _short(statistics.median(of_case[name]))
            if REFERENCE in of_case and name != REFERENCE:
                cell += f" ({ratio(of_case, name):.2f}x)"
            cells.append(cell)
        if any(cells):
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ratio(of_case: dict[str, list[float]], name: str, reference: str = REFERENCE) -> float:
    """How many times quicker than the reference: median over the rounds."""
    return statistics.median(theirs / ours for theirs, ours in zip(of_case[reference], of_case[name]))


def against(reference: str, results: Results) -> str:
    """A sentence with the speed of the compiled step relative to that of another framework; nothing without it."""
    ratios = [
        f"{case.network} {ratio(results[case], OURS, reference):.2f}"
        for case in STEPS
        if {reference, OURS} <= results.get(case, {}).keys()
    ]
    return f"Steps of {OURS}, relative to {reference}: {', '.join(ratios)}" if ratios else ""


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.3f} ms" if milliseconds < 1 else f"{milliseconds:.2f} ms"


def table_of_starts(found: dict[str, dict[str, list[float]]]) -> str:
    """Import time, then first step and peak memory for each network."""
    networks = list(found)
    columns = [f"{what} {network}" for network in networks for what in ("first step", "peak memory")]
    lines = [f"| | import | {' | '.join(columns)} |", f"|---|{'---|' * (len(columns) + 1)}"]
    for name in found[networks[0]]:
        cells = [f"{found[networks[0]][name][0]:,.0f} ms"]
        for network in networks:
            if name in found[network]:
                _, first, peak = found[network][name]
                cells += [f"{first:,.0f} ms", f"{peak:,.0f} MB"]
            else:
                cells += ["", ""]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table_of_recordings(found: dict[str, dict[str, list[float]]]) -> str:
    """First, second and ten later steps for each network."""
    networks = list(found)
    columns = [f"{network}: {what}" for network in networks for what in ("step 1", "step 2", "ten later steps")]
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name in found[networks[0]]:
        cells = [_short(milliseconds) for network in networks for milliseconds in found[network][name]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(results: Results, path: Path) -> None:
    """Bars of the speed relative to the reference, a panel for each training step at batch 128."""
    cases = [case for case in STEPS if case in results and REFERENCE in results[case]]
    with saved_figure(path, 9, 4.6) as drawing:
        for axes, case in zip(drawing.subplots(1, len(cases), squeeze=False)[0], cases):
            names = [name for name in FRAMEWORKS if name in results[case]][::-1]
            speeds = [ratio(results[case], name) for name in names]
            colours = ["#c44e52" if name.startswith("tensorgrad") else "#8c9bab" for name in names]
            bars = axes.barh(names, speeds, color=colours)
            labels = axes.bar_label(bars, [f"{speed:.2f}" for speed in speeds], padding=3, fontsize=9)
            for label in labels:  # which the line would strike through
                label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.8})
            axes.set_title(case.network, fontsize=11)
            axes.set_xlim(0, 1.3 * max(speeds))
            axes.axvline(1, color="black", linewidth=0.8, zorder=0.5)
            axes.tick_params(labelsize=9, labelleft=case is cases[0])
            axes.spines[["top", "right"]].set_visible(False)
        drawing.supxlabel(f"steps per second, {REFERENCE} = 1", fontsize=10)


def draw_scaling(results: Results, path: Path) -> None:
    """Lines of the time of a step against batch size, width and depth."""
    with saved_figure(path, 10, 3.6) as drawing:
        for axes, (what, cases) in zip(drawing.subplots(1, len(SCALING)), SCALING.items()):
            values = {
                "batch": [case.batch for case in cases],
                "width": [int(case.network.split("-")[1]) for case in cases],
                "depth": [case.network.count("-") for case in cases],
            }[what]
            for name in results[cases[0]]:
                times = [statistics.median(results[case][name]) for case in cases]
                axes.plot(values, times, marker="o", label=name, color="#c44e52" if name == OURS else "#8c9bab")
            axes.set_xlabel({"batch": "batch size", "width": "width of the hidden layer", "depth": "layers"}[what])
            axes.set_xlim(0), axes.set_ylim(0)
            axes.grid(alpha=0.3)
        drawing.axes[0].set_ylabel("ms a step")
        drawing.axes[0].legend(fontsize=8)


# Whole trainings

MEASURES: dict[str, Callable[[dict[str, Any], float], float]] = {
    "process start to test accuracy": lambda run, _: run["ends"][-1],
    "first epoch": lambda run, _: run["epochs"][0],
    "second epoch": lambda run, _: second_epoch(run),
    "last epoch": lambda run, _: run["epochs"][-1],
    "last / second epoch": lambda run, _: slowdown(run),
    "to a test accuracy of": lambda run, accuracy: seconds_to(accuracy, run),
    "peak memory": lambda run, _: run["memory"],
    "test accuracy": lambda run, _: run["accuracies"][-1],
}


def second_epoch(run: dict[str, Any]) -> float:
    """Seconds of the first epoch in which nothing is compiled."""
    seconds: float = run["epochs"][min(1, len(run["epochs"]) - 1)]
    return seconds


def slowdown(run: dict[str, Any]) -> float:
    """The last epoch's seconds in those of the first one after compilation."""
    return float(run["epochs"][-1]) / second_epoch(run)


def seconds_to(accuracy: float, run: dict[str, Any]) -> float:
    """From the start of the process until the first test with that accuracy; NaN where there is none."""
    return next((end for end, reached in zip(run["ends"], run["accuracies"]) if reached >= accuracy), math.nan)


def of_network(network: str, runs: Runs) -> dict[str, list[dict[str, Any]]]:
    """The runs of a network by framework."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        if run["network"] == network:
            found.setdefault(run["framework"], []).append(run)
    return {name: found[name] for name in FRAMEWORKS if name in found}


def table_of_runs(network: str, runs: Runs) -> str:
    """Medians over the rounds: a row for each measure, a column for each framework."""
    found, accuracy = of_network(network, runs), RUNS[network].accuracy
    epochs = len(next(iter(found.values()))[0]["epochs"])
    rounds = max(map(len, found.values()))
    head = f"{network}, {epochs} epoch{'s' if epochs > 1 else ''}, {rounds} round{'s' if rounds > 1 else ''}"
    lines = [f"| {head} | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    for measure, value in MEASURES.items():
        cells = []
        for name, of_framework in found.items():
            cell = _measured(measure, statistics.median(value(run, accuracy) for run in of_framework))
            if measure == next(iter(MEASURES)) and OURS in found and name != OURS:
                cell += f" ({total_ratio(found, name):.2f}x ours)"
            cells.append(cell)
        lines.append(f"| {measure}{f' {accuracy}' if measure.endswith(' of') else ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def summary_of_runs(runs: Runs) -> str:
    """Of each framework and network the seconds from start to end, and the test accuracy; medians over the rounds."""
    networks = {network: of_network(network, runs) for network in dict.fromkeys(run["network"] for run in runs)}
    lines = [f"| seconds, accuracy | {' | '.join(networks)} |", f"|---|{'---|' * len(networks)}"]
    for name in dict.fromkeys(run["framework"] for run in runs):
        cells = []
        for found in networks.values():
            ends, accuracies = ([run[what][-1] for run in found.get(name, [])] for what in ("ends", "accuracies"))
            cells.append(f"{statistics.median(ends):.1f} s, {statistics.median(accuracies):.3f}" if ends else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def total_ratio(found: dict[str, list[dict[str, Any]]], name: str) -> float:
    """How many times as long as with tensorgrad a training takes with another framework: median over the rounds."""
    return statistics.median(theirs["ends"][-1] / ours["ends"][-1] for theirs, ours in zip(found[name], found[OURS]))


def table_of_optimisers(found: Runs) -> str:
    """A row for each optimiser; for each network and way a column with its steps, and where numbers are subnormal."""
    columns = list(dict.fromkeys((row["network"], row["framework"]) for row in found))
    rows: dict[tuple[str, ...], Runs] = {}
    for row in found:
        rows.setdefault((row["optimiser"], row["network"], row["framework"]), []).append(row)
    cells = {key: _steps_of(same) for key, same in rows.items()}
    titles = [f"{network}, {'numba' if name == OURS else 'NumPy'}" for network, name in columns]
    lines = [f"| last / second epoch | {' | '.join(titles)} |", f"|---|{'---|' * len(columns)}"]
    for optimiser in dict.fromkeys(row["optimiser"] for row in found):
        of_optimiser = " | ".join(cells.get((optimiser, *column), "") for column in columns)
        lines.append(f"| {optimiser} | {of_optimiser} |")
    subnormal, numbers = (sum(row[what] for row in found) for what in ("subnormal", "numbers"))
    lines += ["", f"{subnormal:,} of {numbers:,} weights and numbers of state are subnormal in the end."]
    return "\n".join(lines)


def _steps_of(rows: Runs) -> str:
    """How many times as long a step of the last epoch takes as one of the second, and that in milliseconds; medians."""
    ratio = statistics.median(row["steps"][-1] / row["steps"][1] for row in rows)
    return f"{ratio:.2f} ({_short(statistics.median(row['steps'][1] for row in rows))})"


def _measured(measure: str, value: float) -> str:
    if math.isnan(value):
        return "not reached"
    if measure == "peak memory":
        return f"{value:,.0f} MB"
    if measure == "test accuracy":
        return f"{value:.4f}"
    return f"{value:.2f}" if "/" in measure else f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"


COLOURS = ["#e8a0a2", "#c44e52", "#4c72b0", "#8fb0de", "#55a868", "#8c9bab", "#937860", "#da8bc3"]


def draw_runs(runs: Runs, path: Path) -> None:
    """Test accuracy against seconds from the start of the process, a panel for each network."""
    networks = [network for network in RUNS if of_network(network, runs)]
    names = [name for name in FRAMEWORKS if any(run["framework"] == name for run in runs)]
    with saved_figure(path, 1 + 4.4 * len(networks), 4.6) as drawing:
        panels = drawing.subplots(1, len(networks), squeeze=False)[0]
        lines = {}
        for axes, network in zip(panels, networks):
            found = of_network(network, runs)
            for name, of_framework in found.items():
                run = sorted(of_framework, key=lambda run: run["ends"][-1])[len(of_framework) // 2]
                colour = COLOURS[names.index(name) % len(COLOURS)]
                errors = [100 * (1 - accuracy) for accuracy in run["accuracies"]]
                (lines[name],) = axes.plot(run["ends"], errors, color=colour, marker=".", markersize=4, linewidth=1.4)
            axes.axhline(100 * (1 - RUNS[network].accuracy), color="0.6", linestyle=":", linewidth=1, zorder=0)
            _dress_runs(axes, network)
        panels[0].set_ylabel("test accuracy [%]")
        drawing.legend(lines.values(), lines.keys(), loc="outside lower center", ncols=3, frameon=False, fontsize=9)


def _dress_runs(axes: Any, network: str) -> None:
    """Logarithmic axes; on the vertical one the share that is wrong, named by the share that is right."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set(xscale="log", yscale="log")
    axes.invert_yaxis()
    names = {axes.xaxis: lambda seconds, _: f"{seconds:g}", axes.yaxis: lambda wrong, _: f"{100 - wrong:g}"}
    for axis, name in names.items():
        axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
        axis.set_major_formatter(FuncFormatter(name))
        axis.set_minor_formatter(NullFormatter())
    axes.set_title(network, fontsize=10)
    axes.set_xlabel("seconds since the start of the process")
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
