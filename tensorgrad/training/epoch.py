"""The figures of one epoch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

VALIDATION = "validation_"
"""What names of measures of the validation examples begin with."""


@dataclass(frozen=True)
class Epoch:
    """Figures of one pass over the training data; losses without penalties; the rate its last step took.

    Attributes
    ----------
    epoch
        From 1 on.
    loss, accuracy
        Means over the epoch's batches; no accuracy where the loss is not one of classes.
    validation_loss, validation_accuracy
        Of all validation examples at the end of the epoch; None without validation.
    metrics
        All other metrics by name, those of validation as ``validation_`` and the name.
    """

    epoch: int
    loss: float
    accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    learning_rate: float
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def measures(self) -> dict[str, float]:
        """All that was measured, by name: losses, accuracies and other metrics, and rate and seconds.

        >>> Epoch(1, 0.5, None, 0.6, None, 0.1, 2.0, {"mae": 0.3, "validation_mae": 0.4}).measures["validation_mae"]
        0.4
        """
        given: dict[str, Any] = {name: value for name, value in vars(self).items() if name != "metrics"}
        return {name: value for name, value in {**given, **self.metrics}.items() if value is not None}

    def rank(self, measure: str | None = None, mode: str | None = None) -> tuple[float, float]:
        """Larger is better: the measure first, then a lower validation loss, or loss.

        Without ``measure`` that which ``fit`` watches; losses are better the lower, unless ``mode`` is ``"max"``.

        >>> history = [Epoch(1, 0.5, 0.8, 0.6, 0.7, 0.1, 2.0), Epoch(2, 0.4, 0.9, 0.5, 0.7, 0.1, 2.0)]
        >>> max(history, key=Epoch.rank).epoch
        2
        """
        measures = self.measures
        measure = usual(measures) if measure is None else measure
        is_lower_better = measure.endswith("loss") if mode is None else mode == "min"
        value = float(measures[measure])
        return (-value if is_lower_better else value), -measures.get("validation_loss", self.loss)

    def __str__(self) -> str:
        measures = self.measures
        parts = [f"epoch {measures.pop('epoch'):3d}"]
        seconds, _ = measures.pop("seconds"), measures.pop("learning_rate")
        for prefix in ("", "validation_"):
            names = [name for name in measures if name.startswith("validation_") is bool(prefix)]
            names.sort(key=lambda name: (not name.endswith("loss"), not name.endswith("accuracy")))
            shown = [f"{name[len(prefix) :].replace('_', ' ')} {measures[name]:.4f}" for name in names]
            parts += ["validation " * bool(prefix) + "  ".join(shown)] if shown else []
        return "  ".join([*parts, f"{seconds:.1f} s"])


def usual(measures: Iterable[str]) -> str:
    """What is watched where nothing else is asked for.

    >>> usual(["loss", "accuracy", "validation_loss"])
    'validation_loss'
    """
    known = set(measures)
    prefix = VALIDATION if f"{VALIDATION}loss" in known else ""
    return f"{prefix}accuracy" if f"{prefix}accuracy" in known else f"{prefix}loss"
