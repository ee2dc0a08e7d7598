"""Simpsons characters in gray: one hidden layer."""

import numpy as np

from tensorgrad.nn import Dense, Dropout, ReLU, Sequential


def simpsons(rng: np.random.Generator) -> Sequential:
    """Logits of 10 characters from rows of 28 * 28 gray values."""
    return Sequential(
        Dense(28 * 28, 512, rng, weight_l2=1e-3),
        ReLU(),
        Dropout(0.1, rng),
        Dense(512, 10, rng),
    )
