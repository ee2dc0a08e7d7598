"""Simpsons characters in gray: one hidden layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tensorgrad.nn import Dense, Flatten, Sequential, dense_blocks


def simpsons(
    rng: np.random.Generator,
    dropout_rng: np.random.Generator | None = None,
    *,
    hidden: Sequence[int] = (512,),
    dropout: float = 0.1,
    l2: float = 1e-3,
) -> Sequential:
    """Logits of 10 characters from gray images of shape (N, 1, 28, 28).

    ``rng`` draws the initial weights, ``dropout_rng`` the masks of dropout; None: ``rng`` draws them too. ``hidden``
    are the widths of the hidden layers, which have dropout, ``l2`` is the penalty of the first one's weights.

    >>> simpsons(np.random.default_rng(0))
    Sequential(
      (0): Flatten()
      (1): Dense(784 -> 512, weight_l2=0.001)
      (2): ReLU()
      (3): Dropout(0.1)
      (4): Dense(512 -> 10)
    )
    """
    return Sequential(
        Flatten(),
        *dense_blocks(28 * 28, hidden, rng, dropout=dropout, dropout_rng=dropout_rng, weight_l2=l2),
        Dense(hidden[-1], 10, rng),
    )
