"""The picture of a search for a learning rate."""

from __future__ import annotations

from pathlib import Path

from ..training import RateSearch
from .curves import TRAINING, VALIDATION
from .figure import saved_figure


def save_rates(found: RateSearch, path: str | Path) -> None:
    """Draw the losses of a :func:`~tensorgrad.training.find_learning_rate` over the rates into a PNG file."""
    with saved_figure(path, 7, 4) as figure:
        axes = figure.subplots()
        axes.plot(found.rates, found.losses, ".", color=TRAINING, alpha=0.4, label="loss of a batch")
        axes.plot(found.rates, found.smoothed, color=TRAINING, label="mean of the latest")
        axes.axvline(found.suggestion, color=VALIDATION, linestyle="--", label=f"steepest: {found.suggestion:.2g}")
        low, first = min(found.losses.min(), found.smoothed.min()), found.smoothed[0]
        high = min(found.smoothed.max(), first + 0.5 * (first - low)) if first > low else found.smoothed.max()
        axes.set(xscale="log", xlabel="learning rate", ylabel="training loss")
        axes.set_ylim(low - 0.05 * (high - low), high + 0.2 * (high - low))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
