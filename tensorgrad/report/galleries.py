"""Pictures of pictures: augmented images, weights. Images are arrays of shape (channels, height, width)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .figure import saved_figure


def most_confident_mistakes(probabilities: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of the wrong predictions, those with the highest probability first.

    >>> import numpy as np
    >>> most_confident_mistakes(np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8]]), np.array([1, 0, 1]), 5)
    array([0, 1])
    """
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    return wrong[np.argsort(-confidence[wrong], kind="stable")][:count]


def save_augmentation(images: np.ndarray, variants: Sequence[np.ndarray], path: str | Path) -> None:
    """Draw each image in the top row and its augmented variants below, into a PNG file.

    All are arrays of shape (N, C, H, W), values 0..255, gray or RGB.
    """
    rows = [images, *variants]
    with saved_figure(path, 10, 10 / len(images) * len(rows) + 0.3) as figure:
        grid = figure.subplots(len(rows), len(images), squeeze=False)
        for row, line in zip(rows, grid):
            for image, axes in zip(row, line):
                _show(axes, image)
                axes.axis("off")
        figure.suptitle("top row: as they are; below: what the network is trained on", fontsize=9)


def save_weights(weight: np.ndarray, image_shape: tuple[int, ...], path: str | Path, count: int = 48) -> None:
    """Draw the incoming weights of the ``count`` strongest units of the first layer as images, into a PNG file.

    Gray images are shown from blue (negative) to red (positive), colour ones around gray, each unit on its own scale.
    ``weight`` has a row for each number of a flattened image, which is of ``image_shape``, (channels, height, width).
    """
    strongest = np.argsort(-np.square(weight).sum(axis=0))[:count]
    rows = max(1, -(-len(strongest) // 8))
    with saved_figure(path, 10, 7.7 * rows / 6) as figure:
        for axes in (grid := figure.subplots(rows, 8, squeeze=False)).flat:
            axes.axis("off")
        for axes, unit in zip(grid.flat, strongest):
            image = _channels_last(weight[:, unit].reshape(image_shape))
            largest = max(float(np.abs(image).max()), 1e-12)
            if image.ndim == 2:
                axes.imshow(image, cmap="RdBu_r", vmin=-largest, vmax=largest)
            else:
                axes.imshow(0.5 + 0.5 * image / largest)


def _show(axes: Any, image: np.ndarray) -> None:
    axes.imshow(_channels_last(image).clip(0, 255).astype(np.uint8), cmap="gray", vmin=0, vmax=255)


def _channels_last(image: np.ndarray) -> np.ndarray:
    """An image of shape (1, height, width) or (3, height, width) as matplotlib takes it."""
    if image.ndim != 3 or len(image) not in (1, 3):
        raise ValueError(
            f"images must have the shape (channels, height, width), with 1 channel or 3 (RGB), got {image.shape}; draw "
            "the channels of others one by one, images[:, i : i + 1]"
        )
    return image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)
