"""Loss and accuracy over the epochs, of one run or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..training import Epoch, Monitor
from ..training.epoch import usual
from .figure import saved_figure
from .text import printable

TRAINING, VALIDATION = "#4477aa", "#ee6677"


def save_curves(
    history: Sequence[Epoch], path: str | Path, title: str = "", monitor: Monitor | str | None = None
) -> None:
    """Draw training and validation loss, and the accuracy or else the first metric, into a PNG file.

    The best epoch is marked: that which ``monitor`` chose, as in ``fit``; None: that of the best accuracy, or else
    loss, of validation where there is one.
    """
    measures = history[0].measures
    watched = monitor if isinstance(monitor, Monitor) else Monitor(monitor or usual(measures))
    measure, best = watched.measure, watched.best(history)
    names = ["loss", *(name for name in ("accuracy", *history[0].metrics) if name in measures)][:2]
    with saved_figure(path, 5 * len(names), 4) as figure:
        panels = figure.subplots(1, len(names), squeeze=False)[0]
        for axes, name in zip(panels, names):
            label = "cross-entropy [nats]" if name == "loss" and "accuracy" in measures else name
            _draw(axes, history, name, label)
            axes.axvline(best.epoch, color="0.6", linestyle=":", zorder=0)
            shown = f"validation_{name}" if f"validation_{name}" in measures else name
            color = TRAINING if shown == name else VALIDATION
            axes.plot([best.epoch], [best.measures[shown]], "o", color=color)
        found = f"{measure.replace('_', ' ')} {best.measures[measure]:.4f}"
        panels[-1].set_title(f"best: epoch {best.epoch}, {found}", fontsize=10)
        panels[0].legend(frameon=False)
        figure.suptitle(printable(title, 90), fontsize=11)


def _draw(axes: Any, history: Sequence[Epoch], name: str, label: str) -> None:
    epochs = [row.epoch for row in history]
    marker = "." if len(epochs) < 40 else None
    for measure, color, kind in ((name, TRAINING, "training"), (f"validation_{name}", VALIDATION, "validation")):
        if measure in history[0].measures:
            axes.plot(epochs, [row.measures[measure] for row in history], color=color, marker=marker, label=kind)
    _dress(axes, label)


def save_comparison(
    histories: Mapping[str, Sequence[Mapping[str, float]]],
    path: str | Path,
    data: Mapping[str, str] | None = None,
) -> None:
    """Draw validation loss and accuracy of several runs, rows of ``history.csv`` by what the legend says of a run.

    Numbers that are not finite leave a gap. ``data`` has what each run was trained on: each set of data has a row of
    panels.
    """
    groups = dict.fromkeys((data or {}).get(name, "") for name in histories)
    with saved_figure(path, 10, 4 * len(groups) + 0.2 + 0.2 * len(histories)) as figure:
        panels = dict(zip(groups, figure.subplots(len(groups), 2, squeeze=False)))
        lines = []
        for i, (run, rows) in enumerate(histories.items()):
            style = {"color": f"C{i % 10}", "linestyle": ["-", "--", ":", "-."][i // 10 % 4]}
            marker = "." if len(rows) < 40 else None
            for axes, name in zip(panels[(data or {}).get(run, "")], ("validation_loss", "validation_accuracy")):
                line = axes.plot([row["epoch"] for row in rows], [row[name] for row in rows], marker=marker, **style)
            lines += line
        for title, (left, right) in panels.items():
            _dress(left, "validation cross-entropy [nats]")
            _dress(right, "validation accuracy")
            if len(groups) > 1:
                left.set_title(printable(title, 60), loc="left", fontsize=10)
        place = {"loc": "outside lower left", "frameon": False, "fontsize": 8.5}
        legend = figure.legend(lines, [str(i) for i in range(len(lines))], **place)
        for text, name in zip(legend.get_texts(), histories):  # as labels, names that begin with _ are left out
            text.set_text(printable(name, 150))


def _dress(axes: Any, label: str) -> None:
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
