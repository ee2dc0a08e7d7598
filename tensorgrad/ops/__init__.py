"""Every op, by family; importing a family declares its ops."""

from . import elementwise, indexing, linalg, neural, reductions, scans, shape, statistics

__all__ = ["elementwise", "indexing", "linalg", "neural", "reductions", "scans", "shape", "statistics"]
