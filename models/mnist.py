"""Handwritten digits: one hidden layer."""

import numpy as np

from tensorgrad.nn import Dense, Dropout, ReLU, Sequential


def mnist(rng: np.random.Generator) -> Sequential:
    """Logits of 10 digits from rows of 28 * 28 gray values."""
    return Sequential(
        Dense(28 * 28, 512, rng, weight_l2=1e-4),
        ReLU(),
        Dropout(0.1, rng),
        Dense(512, 10, rng),
    )
