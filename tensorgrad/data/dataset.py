"""Dataset: images with labels, checked once, so that training can rely on them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from .layout import wrong_layout


class DataError(ValueError):
    """Data that is missing, damaged or not what was expected; the message is one sentence with the remedy."""


@dataclass(frozen=True)
class Dataset:
    """Training and test images with integer labels.

    Attributes
    ----------
    name
        Name of the data set, shown and saved with the results.
    classes
        Names of the classes; a label is an index into them.
    train_images, test_images
        Arrays of shape (N, C, H, W), that is examples, channels, height and width: bytes or floats, values 0..255.
        Gray images have one channel.
    train_labels, test_labels
        Integer arrays of shape (N,).

    Raises
    ------
    DataError
        If shapes, dtypes or values do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> digits, labels = np.zeros((4, 28, 28), np.uint8), np.array([0, 1, 1, 0])
    >>> Dataset("made up", ("zero", "one"), digits[:, None], labels, digits[:2, None], labels[:2]).image_shape
    (1, 28, 28)
    """

    name: str
    classes: tuple[str, ...]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image: (channels, height, width)."""
        return self.train_images.shape[1:]

    def fingerprint(self) -> str:
        """A checksum of all images and labels."""
        digest = hashlib.blake2b(digest_size=16)
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def shortened(self, per_class: int) -> Dataset:
        """The first few examples of each class only."""
        parts = {}
        for part in ("train", "test"):
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            firsts = [np.flatnonzero(labels == label)[:per_class] for label in range(len(self.classes))]
            chosen = np.sort(np.concatenate(firsts))
            parts.update({f"{part}_images": images[chosen], f"{part}_labels": labels[chosen]})
        return replace(self, **parts)

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
        if problem := wrong_layout(images.shape):
            raise DataError(f"{where}: {problem}")
        if len(images) == 0:
            raise DataError(f"{where}: expected at least one image, got an array of shape {images.shape}")
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


@dataclass(frozen=True)
class Standardisation:
    """From pixels to a network's inputs: float32 of the same shape, ``(images - mean) / deviation`` in each channel.

    Attributes
    ----------
    mean, deviation
        One number for each channel. Those that :meth:`of` finds give its images the mean 0 and the standard deviation 1
        in each channel.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.array([[[[0, 255]]], [[[255, 0]]]], np.uint8)
    >>> standardise = Standardisation.of(images)
    >>> standardise
    Standardisation(mean=(127.5,), deviation=(127.5,))
    >>> standardise(images)[0]
    array([[[-1.,  1.]]], dtype=float32)
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, images: np.ndarray) -> Standardisation:
        """Mean and population standard deviation of each channel, over all pixels of images of shape (N, C, H, W).

        They are added up in float64. The deviation is at least 0.001, so that a constant channel becomes 0.

        Raises
        ------
        ValueError
            If the images are of another shape.
        """
        if problem := wrong_layout(images.shape):
            raise ValueError(f"Standardisation: {problem}")
        channels = images.shape[1]
        total, squares, count = np.zeros(channels), np.zeros(channels), images.size / channels
        for start in range(0, len(images), 1000):  # a thousand at a time: all at once would take eight times the memory
            pixels = images[start : start + 1000].astype(np.float64)
            total += pixels.sum(axis=(0, 2, 3))
            squares += (pixels**2).sum(axis=(0, 2, 3))
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 1e-6))
        return cls(tuple(mean.tolist()), tuple(deviation.tolist()))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """``images`` of shape (N, C, H, W), standardised, as float32.

        Raises
        ------
        ValueError
            If they are of another shape, or have another number of channels.
        """
        if problem := wrong_layout(images.shape):
            raise ValueError(f"Standardisation: {problem}")
        if images.shape[1] != len(self.mean):
            raise ValueError(
                f"Standardisation: its mean is of {len(self.mean)} channel(s), the images of shape {images.shape} have "
                f"{images.shape[1]}; make one of them with Standardisation.of(images)"
            )
        result = images.astype(np.float32)
        result -= np.array(self.mean, np.float32)[:, None, None]
        result /= np.array(self.deviation, np.float32)[:, None, None]
        return result


def stratified_split(labels: np.ndarray, fraction: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices of two parts, the second holding ``fraction`` of every class, at least one of each; both in order.

    >>> import numpy as np
    >>> kept, held_out = stratified_split(np.array([0, 0, 1, 1, 1, 1]), 0.5, np.random.default_rng(0))
    >>> len(kept), len(held_out)
    (3, 3)

    Raises
    ------
    ValueError
        If the fraction is not between 0 and 1.
    DataError
        If there are no labels, or a class has fewer than two examples.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"stratified_split: fraction must lie between 0 and 1, got {fraction!r}")
    labels = np.asarray(labels)
    if labels.ndim != 1 or not len(labels):
        raise DataError(f"stratified_split: expected at least one label, of shape (count,), got {labels.shape}")
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
