"""Linear algebra: the matrix product of any rank."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import samples
from ..tensor import declare


def _matmul_left(g: Any, out: Any, x: Any, y: Any) -> Any:
    """g yᵀ; a vector on the right makes it an outer product, one on the left a row."""
    if y.ndim == 1:
        return np.expand_dims(g, -1) * y
    if x.ndim == 1:
        return (np.expand_dims(g, -2) @ np.swapaxes(y, -1, -2)).squeeze(axis=-2)
    return g @ (y.T if y.ndim == 2 else np.swapaxes(y, -1, -2))


def _matmul_right(g: Any, out: Any, x: Any, y: Any) -> Any:
    """xᵀ g, likewise."""
    if x.ndim == 1:
        return np.expand_dims(x, -1) * np.expand_dims(g, -2) if y.ndim > 1 else g * x
    if y.ndim == 1:
        return (np.swapaxes(x, -1, -2) @ np.expand_dims(g, -1)).squeeze(axis=-1)
    return (x.T if x.ndim == 2 else np.swapaxes(x, -1, -2)) @ g


def _matmul_sample(draw: samples.Draw) -> Any:
    n, k, m = (draw.integer(0, 3) for _ in range(3))
    left, right = samples.broadcastable(draw, 2)
    kind = draw.integer(0, 3)
    first = (k,) if kind in (1, 3) else (*left[-2:], n, k)
    second = (k,) if kind in (2, 3) else (*right[-2:], k, m)
    return (samples.reals(draw, first), samples.reals(draw, second)), {}


declare(
    "matmul",
    np.matmul,
    _matmul_left,
    _matmul_right,
    sample=_matmul_sample,
    broadcasts=True,
    expects="operands of shapes (..., n, k) and (..., k, m), or vectors of length k",
)
