"""Every op, by family; importing a family declares its ops."""

from . import (
    activations,
    convolution,
    dropout,
    elementwise,
    embedding,
    flatten,
    indexing,
    linalg,
    losses,
    normalisation,
    pooling,
    reductions,
    shape,
    windows,
)

__all__ = [
    "activations",
    "convolution",
    "dropout",
    "elementwise",
    "embedding",
    "flatten",
    "indexing",
    "linalg",
    "losses",
    "normalisation",
    "pooling",
    "reductions",
    "shape",
    "windows",
]
