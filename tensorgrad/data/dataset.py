"""Dataset: images with labels, checked once, so that training can rely on them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


class DataError(ValueError):
    """Data that is missing, damaged or not what was expected; the message is one sentence with the remedy."""


@dataclass(frozen=True)
class Dataset:
    """Training and test images with integer labels.

    Attributes
    ----------
    name
        What it is, for people: shown and saved with the results.
    classes
        Name of each class; a label is an index into it.
    train_images, test_images
        Arrays of shape (count, height, width) or (count, height, width, channels), values 0..255.
    train_labels, test_labels
        Integer arrays of shape (count,).

    Raises
    ------
    DataError
        If shapes, dtypes or values do not fit together.
    """

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            self._check(part, getattr(self, f"{part}_images"), getattr(self, f"{part}_labels"))
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise DataError(
                f"{self.name}: training images have shape {self.train_images.shape[1:]}, "
                f"test images {self.test_images.shape[1:]}; they must be alike"
            )

    def _check(self, part: str, images: np.ndarray, labels: np.ndarray) -> None:
        where = f"{self.name}, {part} set"
        if images.ndim not in (3, 4) or len(images) == 0:
            raise DataError(f"{where}: expected images of shape (count, height, width[, channels]), got {images.shape}")
        if labels.shape != (len(images),):
            raise DataError(
                f"{where}: {len(images)} images but labels of shape {labels.shape}; each image needs one label"
            )
        if labels.dtype.kind not in "iu":
            raise DataError(f"{where}: labels must be integers, got {labels.dtype}")
        wrong = np.flatnonzero((labels < 0) | (labels >= len(self.classes)))
        if wrong.size:
            raise DataError(
                f"{where}: labels must lie in 0..{len(self.classes) - 1}, got {labels[wrong[0]]} at position {wrong[0]}"
            )
        if images.dtype != np.uint8:
            if images.dtype.kind != "f":
                raise DataError(f"{where}: images must be bytes or floats, got {images.dtype}")
            broken = np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(axis=1))
            if broken.size:
                raise DataError(
                    f"{where}: {broken.size} images hold NaN or infinity, the first at position {broken[0]}"
                )
            if images.min() < 0 or images.max() > 255:
                raise DataError(f"{where}: pixels must lie in 0..255, got {images.min():g}..{images.max():g}")


def as_inputs(images: np.ndarray) -> np.ndarray:
    """Images as rows of a network's input: float32 of shape (count, pixels), values 0..1.

    >>> import numpy as np
    >>> as_inputs(np.full((2, 1, 2), 255, np.uint8))
    array([[1., 1.],
           [1., 1.]], dtype=float32)
    """
    rows: np.ndarray = images.reshape(len(images), -1) * np.float32(1 / 255)
    return rows


def stratified_split(labels: np.ndarray, fraction: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of two parts, the second holding ``fraction`` of every class, at least one of each; both in order.

    >>> import numpy as np
    >>> kept, held_out = stratified_split(np.array([0, 0, 1, 1, 1, 1]), 0.5, np.random.default_rng(0))
    >>> len(kept), len(held_out)
    (3, 3)

    Raises
    ------
    DataError
        If a class has fewer than two examples.
    """
    held_out = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise DataError(
                f"class {label} has one example only, too few to train and to validate on; add some or remove it"
            )
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held_out.append(rng.permutation(members)[:count])
    second = np.sort(np.concatenate(held_out))
    return np.setdiff1d(np.arange(len(labels)), second), second
