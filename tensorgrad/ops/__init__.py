"""Every op, by family; importing a family declares its ops."""

from . import decompositions, einsum, elementwise, indexing, linalg, neural, norms, reductions, shape

__all__ = ["decompositions", "einsum", "elementwise", "indexing", "linalg", "neural", "norms", "reductions", "shape"]
