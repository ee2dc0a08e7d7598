"""Networks for images of any shape and any number of classes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ..nn import Dense, Dropout, Flatten, Sequential, convolutional_blocks, dense_blocks


def dense(
    rng: np.random.Generator,
    dropout_rng: np.random.Generator | None = None,
    *,
    image_shape: Sequence[int],
    classes: int,
    hidden: Sequence[int],
    dropout: float = 0.0,
    l2: float = 0.0,
) -> Sequential:
    """Logits of classes from images of shape (N, *image_shape): hidden layers.

    >>> dense(np.random.default_rng(0), image_shape=(1, 8, 8), classes=3, hidden=(16,))
    Sequential(
      (0): Flatten()
      (1): Dense(64 -> 16)
      (2): ReLU()
      (3): Dropout(0)
      (4): Dense(16 -> 3)
    )
    """
    return Sequential(
        Flatten(),
        *dense_blocks(prod(image_shape), hidden, rng, dropout=dropout, dropout_rng=dropout_rng, weight_l2=l2),
        Dense(hidden[-1], classes, rng),
    )


def cnn(
    rng: np.random.Generator,
    dropout_rng: np.random.Generator | None = None,
    *,
    image_shape: Sequence[int],
    classes: int,
    hidden: Sequence[int],
    dropout: float = 0.0,
    l2: float = 0.0,
) -> Sequential:
    """Logits of classes from images of shape (N, *image_shape): blocks of convolution, each of which halves the images.

    >>> cnn(np.random.default_rng(0), image_shape=(1, 8, 8), classes=3, hidden=(16,))
    Sequential(
      (0): Conv2d(1 -> 16, 3x3, padding=same, bias=False)
      (1): BatchNorm2d(16)
      (2): ReLU()
      (3): MaxPool2d(2x2)
      (4): Flatten()
      (5): Dropout(0)
      (6): Dense(256 -> 3)
    )

    Raises
    ------
    ValueError
        If the blocks halve the images to nothing.
    """
    channels, *size = image_shape
    height, width = (side >> len(hidden) for side in size)
    if not height * width:
        raise ValueError(f"{len(hidden)} blocks halve images of {size[0]}x{size[1]} pixels to nothing; take fewer")
    return Sequential(
        *convolutional_blocks(channels, hidden, rng, weight_l2=l2),
        Flatten(),
        Dropout(dropout, rng if dropout_rng is None else dropout_rng),
        Dense(hidden[-1] * height * width, classes, rng, weight_l2=l2),
    )
