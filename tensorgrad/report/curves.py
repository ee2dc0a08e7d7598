"""Loss and accuracy over the epochs, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..extras import require
from ..files import replacing
from ..training import Epoch

TRAINING, VALIDATION = "#4477aa", "#ee6677"


def save_curves(history: Sequence[Epoch], path: str | Path, title: str = "") -> None:
    """Draw training and validation loss and accuracy, the best epoch marked, into a PNG file.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    figure = require("matplotlib.figure", "drawing the curves").Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row.epoch for row in history]
    best = max(history, key=lambda row: row.validation_accuracy)
    _draw(left, epochs, [row.loss for row in history], [row.validation_loss for row in history], "cross-entropy [nats]")
    accuracies = [row.accuracy for row in history], [row.validation_accuracy for row in history]
    _draw(right, epochs, *accuracies, "accuracy")
    right.axvline(best.epoch, color="0.6", linestyle=":", zorder=0)
    right.plot([best.epoch], [best.validation_accuracy], "o", color=VALIDATION)
    right.set_title(f"best validation accuracy {best.validation_accuracy:.4f} in epoch {best.epoch}", fontsize=10)
    left.legend(frameon=False)
    figure.suptitle(title)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _draw(axes: Any, epochs: list[int], training: list[float], validation: list[float], label: str) -> None:
    marker = "." if len(epochs) < 40 else None
    axes.plot(epochs, training, color=TRAINING, marker=marker, label="training (dropout active)")
    axes.plot(epochs, validation, color=VALIDATION, marker=marker, label="validation")
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
