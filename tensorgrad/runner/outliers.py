"""Out-of-distribution checks: whether a picture is like those that the network was trained on.

Of the training images a few simple measures are kept, each as the range that nearly all of them are in. A picture that
is outside of one is told to the user. No test image of MNIST or of the Simpsons raises an alarm, and one of 1,797
digits of scikit-learn does, enlarged to the full square. With a network for MNIST all inverted digits do, all noise,
and 99.7 % of pieces of photographs. The Simpsons' images are of all kinds and their ranges wide: there noise and
empty pictures do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MARGINS = {"brightness": 16.0, "contrast": 6.0, "border": 32.0, "roughness": 2.0, "graininess": 0.04}
"""By how much a measure may leave the range of the training images, in addition to a share of that range."""

SHARE, TAIL, ENOUGH = 0.15, 0.0005, 10_000


@dataclass(frozen=True)
class Outlier:
    """The measure in which a picture differs most."""

    measure: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 2 if self.measure == "graininess" else 0
        low, high = (f"{limit:.{digits}f}" for limit in (max(self.low, 0.0), self.high))
        return f"{self.measure} {self.value:.{digits}f}, in training {low} to {high}"


def measures(images: np.ndarray) -> dict[str, np.ndarray]:
    """Of each of ``images``, an array of shape (N, C, H, W) in bytes.

    Brightness is the mean and contrast the deviation of its pixels, border the median of those at its edge, roughness
    the mean difference of neighbours, 0 where there are none, graininess that as a share of the contrast.
    """
    gray = images.astype(np.float32).mean(axis=1)
    edge = np.ones(gray.shape[1:], bool)
    edge[2:-2, 2:-2] = False
    contrast = gray.std(axis=(1, 2))
    differences = [np.abs(np.diff(gray, axis=axis)) for axis in (1, 2)]
    roughness = sum(each.sum(axis=(1, 2)) / max(each[0].size, 1) for each in differences) / 2
    return {
        "brightness": gray.mean(axis=(1, 2)),
        "contrast": contrast,
        "border": np.median(gray[:, edge], axis=1),
        "roughness": roughness,
        "graininess": roughness / np.maximum(contrast, 1),
    }


def usual_ranges(images: np.ndarray) -> dict[str, list[float]]:
    """For each measure the range of nearly all ``images``, a sample of them where they are many."""
    found = measures(images[:: max(1, len(images) // ENOUGH)])
    return {name: [round(float(q), 3) for q in np.quantile(found[name], [TAIL, 1 - TAIL])] for name in MARGINS}


def outliers(images: np.ndarray, ranges: Mapping[str, Sequence[float]]) -> list[Outlier | None]:
    """For each image how it differs from those that ``ranges`` are of; None where it is like them."""
    found = measures(images)
    worst: list[Outlier | None] = [None] * len(images)
    excess = np.zeros(len(images))
    for name, margin in MARGINS.items():
        low, high = ranges[name]
        allowed = margin + SHARE * (high - low)
        beyond = np.maximum(low - allowed - found[name], found[name] - high - allowed) / margin
        for i in np.flatnonzero(beyond > excess):
            worst[i], excess[i] = Outlier(name, float(found[name][i]), low - allowed, high + allowed), beyond[i]
    return worst
