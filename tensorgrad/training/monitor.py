"""Which epoch is the best, and whether the training still gets better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real

from ..hints import similar_name
from .epoch import VALIDATION, Epoch, usual
from .metrics import Metric
from .objective import Task

_MODES = ("min", "max")


@dataclass(frozen=True)
class Monitor:
    """A measure of :class:`Epoch`, and in which direction it gets better.

    Attributes
    ----------
    measure
        A name in :attr:`Epoch.measures`.
    min_delta
        The measure must get better by more than this for patience to start over.
    mode
        ``"min"`` or ``"max"``; None: losses are better the lower they are, other measures the higher.

    Examples
    --------
    >>> losses = [Epoch(i + 1, 0.0, 0.0, loss, 0.5, 0.0, 0.0) for i, loss in enumerate([3.0, 2.0, 1.99, 1.98])]
    >>> Monitor("validation_loss").best(losses).epoch, Monitor("validation_loss", min_delta=0.1).stalled(losses)
    (4, 2)
    """

    measure: str = "validation_accuracy"
    min_delta: float = 0.0
    mode: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.min_delta, Real) or not 0 <= self.min_delta < float("inf"):
            raise ValueError(f"Monitor: min_delta must be a finite number that is not negative, got {self.min_delta!r}")
        if self.mode not in (None, *_MODES):
            raise ValueError(
                f"Monitor: mode must be 'min' or 'max', or None for that of the measure, got {self.mode!r}"
            )

    def rank(self, row: Epoch) -> tuple[float, float]:
        """Larger is better: the measure first, then a lower validation loss, or loss."""
        return row.rank(self.measure, self.mode)

    def best(self, history: Sequence[Epoch]) -> Epoch:
        """The best epoch by the measure; of equal ones that of the lowest validation loss, then the first."""
        return max(history, key=self.rank)

    def improved(self, history: Sequence[Epoch], since: int = 0) -> int:
        """The position of the epoch in which the measure last got better; ``since`` is what it was before."""
        if not history:
            return since
        latest, best = since, self.rank(history[since])[0]
        for position in range(since + 1, len(history)):
            value = self.rank(history[position])[0]
            if value > best + self.min_delta:
                latest, best = position, value
        return latest

    def stalled(self, history: Sequence[Epoch], since: int = 0) -> int:
        """How many epochs there have been since the measure last got better; the same once more is no better."""
        return max(len(history) - 1 - self.improved(history, since), 0)


def monitor_of(given: str | Monitor | None, task: Task, has_validation: bool) -> Monitor:
    """What :func:`fit` watches: the accuracy where there is one, else the loss; of validation where there is one.

    Raises
    ------
    ValueError
        If there is no such measure, or it is not known in which direction it gets better.
    """
    prefix = VALIDATION if has_validation else ""
    names = (*task.metrics, "loss")
    known = [before + name for before in dict.fromkeys((prefix, "")) for name in names]
    asked = given if isinstance(given, Monitor) else Monitor(usual(known) if given is None else given)
    if asked.measure not in known:
        without = "" if has_validation else "; there are validation_ measures with validation= only"
        raise ValueError(
            f"fit: monitor must be one of {', '.join(map(repr, known))}, got {asked.measure!r}"
            f"{without or similar_name('monitor', asked.measure, known)}"
        )
    return replace(asked, mode=asked.mode or mode_of(asked.measure, task.metrics))


def mode_of(measure: str, metrics: Mapping[str, Metric]) -> str:
    """In which direction a measure gets better.

    Raises
    ------
    ValueError
        If that is not known.
    """
    name = measure[len(VALIDATION) :] if measure.startswith(VALIDATION) else measure
    if name == "loss":
        return "min"
    metric = metrics.get(name)
    if metric is None or metric.is_better_higher is None:
        known = ", ".join(map(repr, ("loss", *metrics)))
        raise ValueError(
            f"monitor={measure!r}: it is not known whether higher or lower is better, as it is of {known}, also with "
            f"{VALIDATION!r} before; or say it, monitor=Monitor({measure!r}, mode='max') or Monitor({measure!r}, "
            "mode='min')"
        )
    return "max" if metric.is_better_higher else "min"
