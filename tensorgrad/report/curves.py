"""Loss and accuracy over the epochs, of one run or of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..training import Epoch
from ..training.monitor import Monitor
from .figure import saved_figure
from .text import printable

TRAINING, VALIDATION = "#4477aa", "#ee6677"


def save_curves(history: Sequence[Epoch], path: str | Path, title: str = "") -> None:
    """Draw training and validation loss and accuracy, the best epoch marked, into a PNG file."""
    with saved_figure(path, 10, 4) as figure:
        left, right = figure.subplots(1, 2)
        best = Monitor().best(history)
        _draw(left, history, "loss", "cross-entropy [nats]")
        _draw(right, history, "accuracy", "accuracy")
        for axes, value in ((left, best.validation_loss), (right, best.validation_accuracy)):
            axes.axvline(best.epoch, color="0.6", linestyle=":", zorder=0)
            axes.plot([best.epoch], [value], "o", color=VALIDATION)
        right.set_title(f"best: epoch {best.epoch}, validation accuracy {best.validation_accuracy:.4f}", fontsize=10)
        left.legend(frameon=False)
        figure.suptitle(printable(title, 90), fontsize=11)


def _draw(axes: Any, history: Sequence[Epoch], name: str, label: str) -> None:
    epochs = [row.epoch for row in history]
    marker = "." if len(epochs) < 40 else None
    axes.plot(epochs, [getattr(row, name) for row in history], color=TRAINING, marker=marker, label="training")
    validation = [getattr(row, f"validation_{name}") for row in history]
    axes.plot(epochs, validation, color=VALIDATION, marker=marker, label="validation")
    _dress(axes, label)


def save_comparison(histories: Mapping[str, Sequence[Mapping[str, float]]], path: str | Path) -> None:
    """Draw validation loss and accuracy of several runs, rows of ``history.csv`` by what the legend says of a run.

    Numbers that are not finite leave a gap.
    """
    with saved_figure(path, 10, 4.2 + 0.2 * len(histories)) as figure:
        left, right = figure.subplots(1, 2)
        lines = []
        for i, rows in enumerate(histories.values()):
            style = {"color": f"C{i % 10}", "linestyle": ["-", "--", ":", "-."][i // 10 % 4]}
            marker = "." if len(rows) < 40 else None
            for axes, name in ((left, "validation_loss"), (right, "validation_accuracy")):
                line = axes.plot([row["epoch"] for row in rows], [row[name] for row in rows], marker=marker, **style)
            lines += line
        _dress(left, "validation cross-entropy [nats]")
        _dress(right, "validation accuracy")
        place = {"loc": "outside lower left", "frameon": False, "fontsize": 8.5}
        legend = figure.legend(lines, [str(i) for i in range(len(lines))], **place)
        for text, name in zip(legend.get_texts(), histories):  # as labels, names that begin with _ are left out
            text.set_text(printable(name, 150))


def _dress(axes: Any, label: str) -> None:
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
