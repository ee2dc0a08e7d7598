"""The tables and the picture of training over ranks, and the page that holds them."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.scaling.measure import BATCH
from benchmarks.scaling.model import layers
from benchmarks.scaling.predictions import NETWORKS, PER_RANK, SHARED
from tensorgrad.report.figure import saved_figure

Results = dict[str, Any]
"""``measured``, ``machine``, and what :func:`benchmarks.scaling.predictions.derived` makes of them."""

COLOURS = ["#c44e52", "#4c72b0", "#55a868"]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return (
        "\n".join(f"| {' | '.join(line)} |" for line in lines).replace("| --- ", "|---").replace("---|---", "---|---")
    )


def threads_or_ranks(results: Results) -> str:
    """One process with all threads beside two ranks with one each."""
    rows = []
    for name, (one, threads, ranks) in ((name, each.values()) for name, each in results["threads or ranks"].items()):
        cells = [f"{1e3 * seconds:.3g} ms" for seconds in (one, threads, ranks)]
        rows.append([name, *cells, f"{one / threads:.2f}x", f"{one / ranks:.2f}x", f"{threads / ranks:.2f}x"])
    cores = results["measured"]["cores"]
    head = ["step of 128", "1 process, 1 thread", f"1 process, {cores} threads", "2 ranks, 1 thread each"]
    return table([*head, "threads bring", "ranks bring", "ranks instead of threads"], rows)


def constants(results: Results) -> str:
    """Of the model."""
    rows = []
    for name in results["workloads"]["1"]:
        for cores, of_all in results["workloads"].items():
            of_one = of_all[name]
            cells = [
                _microseconds(of_one["per_example"]),
                *(f"{1e3 * of_one[i]:.2g} ms" for i in ("per_pass", "update")),
            ]
            values = sum(layer.values for layer in layers(name))
            rows.append([name, cores, *cells, f"{values:,}", f"{4 * values / 1e6:.3g} MB"])
    head = ["network", "cores", "an example", "a pass besides", "update", "parameters", "sent a step"]
    links = [
        [each["name"], _microseconds(each["latency"]), f"{each['bandwidth'] / 1e9:.3g} GB/s"]
        for each in results["messages"].values()
    ]
    return f"{table(head, rows)}\n\n{table(['messages', 'latency', 'bandwidth'], links)}"


def _microseconds(seconds: float) -> str:
    return f"{1e6 * seconds:,.{0 if seconds >= 1e-4 else 1}f} us"


def checks(results: Results) -> str:
    """What the model says beside what was measured, and a sentence on its errors."""
    rows, errors = [], []
    for check in results["checks"]:
        if check["setting"].startswith("1 ") and check["batch"] != BATCH:
            continue  # what the line goes through
        error = check["predicted"] / check["measured"] - 1
        cells = [f"{1e3 * check[what]:.3g} ms" for what in ("measured", "predicted")]
        waits = [f"{1e3 * check[f'{what}_messages']:.2g} ms" for what in ("measured", "predicted")]
        if check["setting"].startswith("1 "):
            waits = ["", ""]
        else:
            errors.append(abs(error))
        rows.append(
            [check["network"], check["setting"], str(check["batch"]), *cells, f"{round(100 * error):+d} %", *waits]
        )
    head = ["network", "ranks x threads", "global batch", "measured", "model", "error", "messages", "model"]
    sentence = (
        f"Over ranks the model is wrong by {100 * statistics.median(errors):.0f} % in the median and by "
        f"{100 * max(errors):.0f} % at most."
    )
    return f"{table(head, rows)}\n\n{sentence}"


def weak(results: Results) -> str:
    """Efficiency with as many examples on each rank however many there are."""
    return _of_ranks(results, "weak", f"{PER_RANK} examples a rank", lambda share: f"{100 * share:.0f} %")


def strong(results: Results) -> str:
    """Speedup with as many examples on all ranks together however many there are."""
    return _of_ranks(results, "strong", f"{SHARED:,} examples on all ranks", lambda times: f"{times:.3g}x")


def _of_ranks(results: Results, kind: str, what: str, shown: Callable[[float], str]) -> str:
    rows = [
        [name, link, *map(shown, values)]
        for name, of_links in results["scaling"][kind].items()
        for link, values in of_links.items()
    ]
    return table([what, "link", *map("{:,} ranks".format, results["scaling"]["ranks"])], rows)


def remedies(results: Results) -> str:
    """What sending otherwise brings, with 64 ranks."""
    first = next(iter(results["remedies"].values()))
    columns = [(name, link) for name, of_links in first.items() for link in of_links if link != NETWORKS[-1].name]
    rows = [
        [what, *(f"{100 * of_all[name][link]:.0f} %" for name, link in columns)]
        for what, of_all in results["remedies"].items()
    ]
    return table(["64 ranks", *(f"{name}, {link.split(' E')[0]}" for name, link in columns)], rows)


def batches(results: Results) -> str:
    """What large batches do to accuracy."""
    found = {tuple(row.values())[:3]: row["accuracy"] for row in results["accuracies"]}
    first = min((batch for batch, *_ in found), default=0)
    rows = []
    for batch in dict.fromkeys(batch for batch, *_ in found):
        reached = [found.get((batch, *how), math.nan) for how in ((False, False), (True, False), (True, True))]
        cells = ["diverges" if each is None else "" if math.isnan(each) else f"{100 * each:.1f} %" for each in reached]
        rows.append([f"{batch:,}", f"{batch / first:g}", *cells])
    return table(["global batch", "as many times as at first", "rate as it was", "rate scaled", "and warmed up"], rows)


def published(results: Results) -> str:
    """A run that others have reported."""
    found = results["published"]
    return (
        f"The model gives {100 * found['overlapping']:.0f} % if messages overlap with the backward pass and "
        f"{100 * found['afterwards']:.0f} % if they follow it."
    )


def machine(results: Results) -> str:
    """Where and when it was measured."""
    return f"{results['machine']}:"


SECTIONS: dict[str, Callable[[Results], str]] = {
    function.__name__.replace("_", " "): function
    for function in (machine, threads_or_ranks, constants, checks, weak, strong, batches, remedies, published)
}


def text(results: Results) -> str:
    """All sections."""
    return "\n\n".join(function(results) for function in SECTIONS.values()) + "\n"


def rewritten(page: str, results: Results) -> str:
    """A page with the sections between its marks: from ``<!-- weak -->`` to ``<!-- end -->``.

    >>> rewritten("a <!-- published -->old<!-- end --> b", {"published": {"overlapping": 1, "afterwards": 0.8}})
    'a <!-- published -->\\n\\nThe model gives 100 % if messages ... 80 % if they follow it.\\n\\n<!-- end --> b'
    """

    def section(match: re.Match[str]) -> str:
        return f"<!-- {match[1]} -->\n\n{SECTIONS[match[1]](results)}\n\n<!-- end -->"

    return re.sub(rf"<!-- ({'|'.join(SECTIONS)}) -->.*?<!-- end -->", section, page, flags=re.DOTALL)


def draw(results: Results, path: Path) -> None:
    """Efficiency of weak scaling above, speedup of strong scaling below, a column for each network."""
    found, ranks = results["scaling"], results["scaling"]["ranks"]
    with saved_figure(path, 12, 7) as drawing:
        panels = drawing.subplots(2, len(found["weak"]), sharex=True, sharey="row")
        for axes, (name, of_links) in zip(panels[0], found["weak"].items()):
            for colour, (link, values) in zip(COLOURS, of_links.items()):
                axes.plot(ranks, [100 * value for value in values], marker="o", color=colour, label=link)
            axes.set_title(name, fontsize=11)
            axes.set_ylim(0, 105)
        for axes, of_links in zip(panels[1], found["strong"].values()):
            axes.plot(ranks, ranks, color="0.6", linestyle=":", label="as many times as ranks")
            for colour, values in zip(COLOURS, of_links.values()):
                axes.plot(ranks, values, marker="o", color=colour)
            axes.set_yscale("log", base=2)
            axes.set_xlabel("ranks")
        for axes in panels.flat:
            _dress(axes, ranks)
        panels[0][0].set_ylabel(f"efficiency [%]\n{PER_RANK} examples a rank")
        panels[1][0].set_ylabel(f"speedup\n{SHARED:,} examples on all ranks")
        handles, labels = panels[0][0].get_legend_handles_labels()
        ideal = panels[1][0].get_lines()[0]
        drawing.legend(
            [*handles, ideal], [*labels, "ideal speedup"], loc="outside lower center", ncols=4, frameon=False
        )


def _dress(axes: Any, ranks: Sequence[int]) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    axes.set_xscale("log", base=2)
    axes.set_xticks(ranks, [f"{count:,}" for count in ranks], fontsize=8)
    axes.xaxis.set_minor_locator(NullLocator())
    if axes.get_yscale() == "log":
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
