"""Handwritten digits: one hidden layer."""

from __future__ import annotations

import numpy as np

from tensorgrad.nn import Dense, Dropout, Flatten, ReLU, Sequential


def mnist(rng: np.random.Generator, dropout_rng: np.random.Generator | None = None) -> Sequential:
    """Logits of 10 digits from gray images of shape (N, 1, 28, 28).

    ``rng`` draws the initial weights, ``dropout_rng`` the masks of dropout; None: ``rng`` draws them too.
    """
    masks = rng if dropout_rng is None else dropout_rng
    return Sequential(
        Flatten(),
        Dense(28 * 28, 512, rng, weight_l2=1e-4),
        ReLU(),
        Dropout(0.1, masks),
        Dense(512, 10, rng),
    )
