"""Every op, by family; importing a family declares its ops."""

from . import complex, elementwise, fft, indexing, linalg, neural, reductions, shape

__all__ = ["complex", "elementwise", "fft", "indexing", "linalg", "neural", "reductions", "shape"]
