"""Every op, by family; importing a family declares its ops."""

from . import (
    diagonals,
    elementwise,
    indexing,
    joining,
    linalg,
    neural,
    reductions,
    repeating,
    scans,
    shape,
    signals,
    sorting,
    statistics,
)

__all__ = [
    "diagonals",
    "elementwise",
    "indexing",
    "joining",
    "linalg",
    "neural",
    "reductions",
    "repeating",
    "scans",
    "shape",
    "signals",
    "sorting",
    "statistics",
]
