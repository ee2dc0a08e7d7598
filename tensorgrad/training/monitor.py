"""Which epoch is the best, and whether the training still gets better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

from .history import Epoch

MEASURES = ("validation_accuracy", "validation_loss", "accuracy", "loss")


@dataclass(frozen=True)
class Monitor:
    """A measure of :class:`Epoch`: the higher an accuracy the better, the lower a loss.

    Attributes
    ----------
    measure
        One of ``MEASURES``.
    min_delta
        The measure must get better by more than this for patience to start over.

    Examples
    --------
    >>> losses = [Epoch(i + 1, 0.0, 0.0, loss, 0.5, 0.0, 0.0) for i, loss in enumerate([3.0, 2.0, 1.99, 1.98])]
    >>> Monitor("validation_loss").best(losses).epoch, Monitor("validation_loss", min_delta=0.1).stalled(losses)
    (4, 2)
    """

    measure: str = "validation_accuracy"
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.measure not in MEASURES:
            raise ValueError(f"fit: monitor must be one of {', '.join(map(repr, MEASURES))}, got {self.measure!r}")
        if not isinstance(self.min_delta, Real) or not 0 <= self.min_delta < float("inf"):
            raise ValueError(f"fit: min_delta must be a finite number that is not negative, got {self.min_delta!r}")

    def rank(self, row: Epoch) -> tuple[float, float]:
        """Larger is better."""
        return row.rank(self.measure)

    def best(self, history: Sequence[Epoch]) -> Epoch:
        """The best epoch by the measure; of equal ones that of the lowest validation loss, then the first."""
        return max(history, key=self.rank)

    def stalled(self, history: Sequence[Epoch]) -> int:
        """How many epochs there have been since the measure last got better; the same once more is no better."""
        values = [self.rank(row)[0] for row in history]
        latest = 0
        for i, value in enumerate(values):
            if value > values[latest] + self.min_delta:
                latest = i
        return len(values) - 1 - latest if values else 0
