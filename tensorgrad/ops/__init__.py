"""Every op, by family; importing a family declares its ops."""

from . import (
    choices,
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
    ufunc_methods,
)

__all__ = [
    "choices",
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
    "ufunc_methods",
]
