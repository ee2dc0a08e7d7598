"""Digits and characters, in gray or colour: a convolutional network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorgrad.nn import Dense, Dropout, Flatten, Sequential, convolutional_blocks

SIDE = 28
"""Height and width of the images."""


def cnn(
    rng: np.random.Generator,
    dropout_rng: np.random.Generator | None = None,
    *,
    in_channels: int = 1,
    hidden: Sequence[int] = (32, 64),
    dropout: float = 0.3,
    l2: float = 0.0,
) -> Sequential:
    """Logits of 10 classes from images of shape (N, in_channels, 28, 28).

    Parameters
    ----------
    rng, dropout_rng
        Draw the initial weights, and the masks of dropout; None: ``rng`` draws them too.
    in_channels
        1 for gray images, 3 for RGB.
    hidden
        Channels that each block of convolution, normalisation, ReLU and pooling puts out, which halves the images.
    dropout
        Rate of the dropout before the last layer.
    l2
        Strength of the L2 penalty of all kernels and weights.

    Examples
    --------
    >>> cnn(np.random.default_rng(0))
    Sequential(
      (0): Conv2d(1 -> 32, 3x3, padding=same, bias=False)
      (1): BatchNorm2d(32)
      (2): ReLU()
      (3): MaxPool2d(2x2)
      (4): Conv2d(32 -> 64, 3x3, padding=same, bias=False)
      (5): BatchNorm2d(64)
      (6): ReLU()
      (7): MaxPool2d(2x2)
      (8): Flatten()
      (9): Dropout(0.3)
      (10): Dense(3136 -> 10)
    )
    """
    side = SIDE >> len(hidden)
    return Sequential(
        *convolutional_blocks(in_channels, hidden, rng, weight_l2=l2),
        Flatten(),
        Dropout(dropout, rng if dropout_rng is None else dropout_rng),
        Dense(hidden[-1] * side * side, 10, rng, weight_l2=l2),
    )
