"""Augmentation of training images: random changes that keep the label, a whole batch at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .layout import wrong_layout


@dataclass(frozen=True)
class Augmentation:
    """Random changes of images, by at most these amounts; 0 (or False): none.

    Flip, shift, rotation and zoom are one affine map per image, with bilinear interpolation and repeated borders.

    Attributes
    ----------
    flip
        Whether to mirror images horizontally, each with probability 1/2.
    shift
        Largest shift in pixels, along each axis.
    rotation
        Largest rotation in degrees.
    zoom
        Largest relative change of size: 0.1 is from 0.9 to 1.1 times.
    brightness, contrast
        Largest relative change of the pixel values, and of their distance from the image's mean.
    cutout
        Side in pixels of a square that is filled with the image's mean.

    Raises
    ------
    ValueError
        If a number is negative or not finite, zoom is not below 1, brightness or contrast are above 1, or cutout is not
        an integer.
    """

    flip: bool = False
    shift: float = 0.0
    rotation: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    cutout: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            largest = {"flip": 1, "zoom": 1, "brightness": 1, "contrast": 1}.get(name, math.inf)
            if not 0 <= value <= largest or math.isinf(value) or (name == "zoom" and value == 1):
                limit = (
                    "be finite" if largest == math.inf else f"be {'below' if name == 'zoom' else 'at most'} {largest}"
                )
                raise ValueError(f"Augmentation: {name} must not be negative and must {limit}, got {value!r}")
        if self.cutout != int(self.cutout):
            raise ValueError(f"Augmentation: cutout must be a whole number of pixels, got {self.cutout!r}")

    def __call__(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Randomly changed copies of images of shape (N, C, H, W), values 0..255, as float32.

        All channels of an image are changed alike, with random numbers that do not depend on how many there are.

        Raises
        ------
        TypeError, ValueError
            If they are not an array of that shape, or ``rng`` is not a generator.
        """
        _check(images, rng)
        if not images.size:
            return images.astype(np.float32)
        changed = self._moved(images, rng)
        if self.brightness or self.contrast:
            changed = self._relit(changed, rng)
        if self.cutout:
            self._cut(changed, rng)
        return changed

    def _moved(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        count, _, height, width = images.shape
        mirrored = np.less(rng.random(count), 0.5 if self.flip else 0.0)
        if not (self.rotation or self.zoom or self.shift % 1):
            return self._moved_by_whole_pixels(images, mirrored, rng)
        angle = np.deg2rad(rng.uniform(-self.rotation, self.rotation, count))
        scale = 1 / rng.uniform(1 - self.zoom, 1 + self.zoom, count)
        down, right = rng.uniform(-self.shift, self.shift, (2, count))
        cosine, sine = (np.cos(angle) * scale).astype(np.float32), (np.sin(angle) * scale).astype(np.float32)
        sign = np.where(mirrored, np.float32(-1), np.float32(1))
        y = np.arange(height, dtype=np.float32) - (height - 1) / 2
        x = np.arange(width, dtype=np.float32) - (width - 1) / 2
        y, x = y[None, :, None], x[None, None, :]

        def each(values: np.ndarray) -> np.ndarray:
            return values.astype(np.float32)[:, None, None]

        from_y = each(cosine) * y - each(sine) * x + each((height - 1) / 2 - down)
        from_x = each(sign) * (each(sine) * y + each(cosine) * x) + each((width - 1) / 2 - right)
        return _sampled(images, from_y, from_x)

    def _moved_by_whole_pixels(self, images: np.ndarray, mirrored: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Flip and whole shifts need no interpolation: pixels are copied as they are."""
        count, _, height, width = images.shape
        down, right = rng.integers(-int(self.shift), int(self.shift), (2, count), endpoint=True)
        rows = np.clip(np.arange(height) - down[:, None], 0, height - 1)
        columns = np.clip(np.arange(width) - right[:, None], 0, width - 1)
        columns = np.where(mirrored[:, None], width - 1 - columns, columns)
        return _pixels(images, rows[:, :, None] * width + columns[:, None, :]).astype(np.float32, copy=False)

    def _relit(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        shape = (len(images), 1, 1, 1)
        light = rng.uniform(1 - self.brightness, 1 + self.brightness, shape).astype(np.float32)
        spread = rng.uniform(1 - self.contrast, 1 + self.contrast, shape).astype(np.float32)
        mean = images.mean(axis=(1, 2, 3), keepdims=True)
        changed: np.ndarray = ((images - mean) * spread + mean) * light
        return changed.clip(0, 255)

    def _cut(self, images: np.ndarray, rng: np.random.Generator) -> None:
        count, _, height, width = images.shape
        top = rng.integers(-self.cutout + 1, height, (count, 1))
        left = rng.integers(-self.cutout + 1, width, (count, 1))
        rows, columns = np.arange(height), np.arange(width)
        in_rows = (rows >= top) & (rows < top + self.cutout)
        in_columns = (columns >= left) & (columns < left + self.cutout)
        square = in_rows[:, :, None] & in_columns[:, None, :]
        np.copyto(images, images.mean(axis=(2, 3), keepdims=True), where=square[:, None])


def _check(images: object, rng: object) -> None:
    if not isinstance(images, np.ndarray):
        raise TypeError(
            f"Augmentation: takes an array of images, got {type(images).__name__}; np.stack makes one of many"
        )
    if problem := wrong_layout(images.shape):
        raise ValueError(f"Augmentation: {problem}")
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"Augmentation: takes a NumPy generator, such as np.random.default_rng(0), got {rng!r}")


def _pixels(images: np.ndarray, index: np.ndarray) -> np.ndarray:
    """In each channel of each image the pixels at its own ``index``, an array (N, h, w) of row * width + column.

    All channels share one array of positions, which is several times faster than to index with one for every pixel.
    """
    count, channels, height, width = images.shape
    flat, plane = images.reshape(-1), height * width
    positions = np.int32 if flat.size < 2**31 else np.int64  # the smaller is the faster
    first = (np.arange(count, dtype=positions) * positions(channels * plane))[:, None, None] + index
    found = np.empty((count, channels, *index.shape[1:]), images.dtype)
    for channel in range(channels):
        found[:, channel] = flat[first + positions(channel * plane)]
    return found


def _sampled(images: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Bilinear values of each image at its own (y, x) of shape (N, h, w), the border repeated."""
    height, width = images.shape[2:]
    y, x = y.clip(0, height - 1), x.clip(0, width - 1)
    top = np.minimum(y.astype(np.int32), max(0, height - 2))
    left = np.minimum(x.astype(np.int32), max(0, width - 2))
    below, beside = (y - top.astype(np.float32))[:, None], (x - left.astype(np.float32))[:, None]
    first = top * width + left
    right, down = int(width > 1), width if height > 1 else 0  # where there is only one, it is its own neighbour
    upper = _pixels(images, first) * (1 - beside) + _pixels(images, first + right) * beside
    lower = _pixels(images, first + down) * (1 - beside) + _pixels(images, first + down + right) * beside
    result: np.ndarray = upper * (1 - below) + lower * below
    return result.astype(np.float32, copy=False)
