"""Simpsons characters in colour: two hidden layers."""

import numpy as np

from tensorgrad.nn import Dense, Dropout, ReLU, Sequential


def simpsons_rgb(rng: np.random.Generator) -> Sequential:
    """Logits of 10 characters from rows of 28 * 28 * 3 colour values."""
    return Sequential(
        Dense(28 * 28 * 3, 2048, rng, weight_l2=5e-4),
        ReLU(),
        Dropout(0.1, rng),
        Dense(2048, 512, rng),
        ReLU(),
        Dropout(0.1, rng),
        Dense(512, 10, rng),
    )
