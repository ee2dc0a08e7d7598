"""Every op, by family; importing a family declares its ops."""

from . import diagonals, elementwise, indexing, joining, linalg, neural, reductions, repeating, shape, signals, sorting

__all__ = [
    "diagonals",
    "elementwise",
    "indexing",
    "joining",
    "linalg",
    "neural",
    "reductions",
    "repeating",
    "shape",
    "signals",
    "sorting",
]
