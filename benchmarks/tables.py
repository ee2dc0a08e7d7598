"""Tables and pictures of the benchmark of speed."""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks.cases import SCALING, STEPS, Case
from benchmarks.frameworks import FRAMEWORKS, OURS, REFERENCE
from tensorgrad.report.figure import saved_figure

Results = dict[Case, dict[str, list[float]]]
"""Milliseconds by case and framework, one entry per round."""


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
            first, peak = found[network].get(name, [float("nan")] * 3)[1:]
            cells += [f"{first:,.0f} ms", f"{peak:,.0f} MB"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table_of_recordings(found: dict[str, dict[str, list[float]]]) -> str:
    """First, second and next ten steps for each network."""
    networks = list(found)
    columns = [f"{network}: {what}" for network in networks for what in ("step 1", "step 2", "steps 3 to 12")]
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name in found[networks[0]]:
        cells = [_short(milliseconds) for network in networks for milliseconds in found[network][name]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(results: Results, path: Path) -> None:
    """Bars of the speed relative to the reference, a panel for each training step at batch 128."""
    cases = [case for case in STEPS if case in results and REFERENCE in results[case]]
    with saved_figure(path, 12, 4.2) as drawing:
        for axes, case in zip(drawing.subplots(1, len(cases), squeeze=False)[0], cases):
            names = [name for name in FRAMEWORKS if name in results[case]][::-1]
            speeds = [ratio(results[case], name) for name in names]
            colours = ["#c44e52" if name.startswith("tensorgrad") else "#8c9bab" for name in names]
            bars = axes.barh(names, speeds, color=colours)
            axes.bar_label(bars, [f"{speed:.2f}" for speed in speeds], padding=3, fontsize=8)
            axes.set_title(case.network, fontsize=10)
            axes.set_xlim(0, 1.18 * max(speeds))
            axes.axvline(1, color="black", linewidth=0.6)
            axes.tick_params(labelsize=8, labelleft=case is cases[0])
            axes.set_xlabel(f"steps per second, {REFERENCE} = 1", fontsize=8)


def draw_scaling(results: Results, path: Path) -> None:
    """Lines of the time of a step against batch size, width and depth."""
    with saved_figure(path, 12, 3.8) as drawing:
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
