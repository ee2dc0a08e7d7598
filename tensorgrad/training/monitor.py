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
        What the measure must improve by, for patience to begin anew; of equal accuracies the one with the lower
        validation loss counts as better where it is 0.

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
        value = float(getattr(row, self.measure))
        return (value if self.measure.endswith("accuracy") else -value), -row.validation_loss

    def best(self, history: Sequence[Epoch]) -> Epoch:
        """The best epoch, the first of equal ones."""
        return max(history, key=self.rank)

    def stalled(self, history: Sequence[Epoch]) -> int:
        """How many epochs there have been since the latest improvement."""
        latest = 0
        for i, row in enumerate(history):
            if self._improves(row, history[latest]):
                latest = i
        return len(history) - 1 - latest if history else 0

    def _improves(self, row: Epoch, earlier: Epoch) -> bool:
        if not self.min_delta:
            return self.rank(row) > self.rank(earlier)
        return self.rank(row)[0] > self.rank(earlier)[0] + self.min_delta
