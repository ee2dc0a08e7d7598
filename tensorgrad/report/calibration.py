"""Whether a network is right as often as it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Bin:
    """The predictions whose probability is above ``low`` and at most ``high``."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Predictions in bins by the probability that was stated for the predicted class; empty bins are left out."""

    bins: list[Bin]

    @property
    def count(self) -> int:
        """How many predictions there are."""
        return sum(each.count for each in self.bins)

    @property
    def error(self) -> float:
        """The expected calibration error: the mean of how far probability and share of right ones are apart.

        See Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3.
        """
        return sum(each.count * abs(each.accuracy - each.confidence) for each in self.bins) / max(self.count, 1)


def calibration(probabilities: np.ndarray, labels: np.ndarray, bins: int = 10) -> Calibration:
    """How often predictions are right, by their probability.

    Parameters
    ----------
    probabilities, labels
        Of shape (N, classes) and (N,).
    bins
        Intervals of equal width from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> found = calibration(np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]]), np.array([0, 1, 1]))
    >>> [(round(each.high, 1), each.count, each.accuracy) for each in found.bins], round(found.error, 3)
    ([(0.7, 1, 0.0), (0.8, 1, 1.0), (0.9, 1, 1.0)], 0.333)
    """
    stated, right = probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(np.round(stated * bins, 9)).astype(int) - 1, 0, bins - 1)
    found = []
    for i in range(bins):
        inside = place == i
        if count := int(inside.sum()):
            means = float(stated[inside].mean()), float(right[inside].mean())
            found.append(Bin(i / bins, (i + 1) / bins, count, *means))
    return Calibration(found)
