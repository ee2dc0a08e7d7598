"""Simpsons characters in colour: two hidden layers."""

from __future__ import annotations

import numpy as np

from tensorgrad.nn import Dense, Dropout, Flatten, ReLU, Sequential


def simpsons_rgb(rng: np.random.Generator, dropout_rng: np.random.Generator | None = None) -> Sequential:
    """Logits of 10 characters from colour images of shape (N, 3, 28, 28).

    ``rng`` draws the initial weights, ``dropout_rng`` the masks of dropout; None: ``rng`` draws them too.
    """
    masks = rng if dropout_rng is None else dropout_rng
    return Sequential(
        Flatten(),
        Dense(3 * 28 * 28, 2048, rng, weight_l2=5e-4),
        ReLU(),
        Dropout(0.1, masks),
        Dense(2048, 512, rng),
        ReLU(),
        Dropout(0.1, masks),
        Dense(512, 10, rng),
    )
