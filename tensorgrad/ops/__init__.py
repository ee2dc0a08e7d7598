"""Every op, by family; importing a family declares its ops."""

from . import (
    decompositions,
    diagonals,
    einsum,
    elementwise,
    indexing,
    joining,
    linalg,
    neural,
    norms,
    reductions,
    repeating,
    scans,
    shape,
    signals,
    sorting,
    statistics,
)

__all__ = [
    "decompositions",
    "diagonals",
    "einsum",
    "elementwise",
    "indexing",
    "joining",
    "linalg",
    "neural",
    "norms",
    "reductions",
    "repeating",
    "scans",
    "shape",
    "signals",
    "sorting",
    "statistics",
]
