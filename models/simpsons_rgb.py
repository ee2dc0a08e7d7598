"""Simpsons characters in colour: two hidden layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorgrad.nn import Dense, Flatten, Sequential, dense_blocks


def simpsons_rgb(
    rng: np.random.Generator,
    dropout_rng: np.random.Generator | None = None,
    *,
    hidden: Sequence[int] = (2048, 512),
    dropout: float = 0.1,
    l2: float = 5e-4,
) -> Sequential:
    """Logits of 10 characters from colour images of shape (N, 3, 28, 28).

    ``rng`` draws the initial weights, ``dropout_rng`` the masks of dropout; None: ``rng`` draws them too. ``hidden``
    are the widths of the hidden layers, which have dropout, ``l2`` is the penalty of the first one's weights.

    >>> simpsons_rgb(np.random.default_rng(0))
    Sequential(
      (0): Flatten()
      (1): Dense(2352 -> 2048, weight_l2=0.0005)
      (2): ReLU()
      (3): Dropout(0.1)
      (4): Dense(2048 -> 512)
      (5): ReLU()
      (6): Dropout(0.1)
      (7): Dense(512 -> 10)
    )
    """
    return Sequential(
        Flatten(),
        *dense_blocks(3 * 28 * 28, hidden, rng, dropout=dropout, dropout_rng=dropout_rng, weight_l2=l2),
        Dense(hidden[-1], 10, rng),
    )
