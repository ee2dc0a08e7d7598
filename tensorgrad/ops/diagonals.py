"""Diagonals and triangles of matrices."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from .. import samples
from ..core import OPS, AnyArray, Tensor, asarray_like, declare, implements
from .conversion import as_tensor, moveaxis


def _diagonal_index(rows: int, columns: int, offset: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the elements of a diagonal are; none, where ``offset`` leaves the matrix."""
    offset = index(offset)  # a Python integer, whose negative is right
    first = max(-offset, 0)
    row = np.arange(first, max(first, min(rows, columns - offset)))
    return row, row + offset


def _diagonal_rule(g: AnyArray, out: AnyArray, x: AnyArray, offset: int) -> AnyArray:
    return OPS["scatter"](g, index=(..., *_diagonal_index(x.shape[-2], x.shape[-1], offset)), shape=x.shape)


declare(
    "diagonal",
    lambda x, *, offset=0: np.diagonal(x, offset, -2, -1),
    _diagonal_rule,
    sample=lambda draw: (
        (samples.reals(draw, samples.shape(draw, min_ndim=2)),),
        {"offset": draw.integer(-2, 2)},
    ),
    expects="an array of at least two dimensions",
    complex_rules="direct",
)


@implements(np.diagonal, on_complex=True)
def _diagonal(a: AnyArray, offset: int = 0, axis1: int = 0, axis2: int = 1) -> AnyArray:
    if a.ndim < 2:
        raise ValueError(f"diagonal takes an array of at least two dimensions, got shape {a.shape}")
    return OPS["diagonal"](moveaxis(a, (axis1, axis2), (-2, -1)), offset=index(offset))


@implements(np.diag, on_complex=True)
def _diag(v: AnyArray, k: int = 0) -> AnyArray:
    if v.ndim == 2:
        return np.diagonal(v, k)
    if v.ndim != 1:
        raise ValueError(f"diag takes a vector or a matrix, got shape {v.shape}")
    n = v.size + abs(index(k))
    return OPS["scatter"](v, index=_diagonal_index(n, n, k), shape=(n, n))


@implements(np.diagflat, on_complex=True)
def _diagflat(v: AnyArray, k: int = 0) -> AnyArray:
    return np.diag(np.ravel(v), k)


def _lower(m: Tensor, k: int) -> np.ndarray:
    """On and below diagonal ``k``; a vector stands for equal rows."""
    rows, columns = m.shape[-2:] if m.ndim > 1 else 2 * m.shape
    return np.tri(rows, columns, index(k), dtype=bool)


def _where(mask: np.ndarray, m: Tensor) -> AnyArray:
    """``m`` where ``mask`` says so, else 0 (not a product, which would make NaN of 0 times infinity)."""
    data = m.numpy()
    return np.where(asarray_like(mask, data), m, np.zeros_like(data, shape=()))


@implements(np.tril, on_complex=True)
def _tril(m: Tensor, k: int = 0) -> AnyArray:
    return _where(_lower(m, k), m)


@implements(np.triu, on_complex=True)
def _triu(m: Tensor, k: int = 0) -> AnyArray:
    return _where(~_lower(m, index(k) - 1), m)


@implements(np.vander, on_complex=True)
def _vander(x: AnyArray, N: Any = None, increasing: bool = False) -> AnyArray:
    """The powers as products of the one before and ``x``, whose derivatives are right at 0 as well."""
    if x.ndim != 1:
        raise ValueError(f"vander takes a vector, got shape {x.shape}")
    count = len(x) if N is None else N
    if count < 0:
        raise ValueError(f"vander: the number of columns cannot be negative, got N={N}")
    x = x.astype(np.promote_types(x.dtype, int))
    powers = [as_tensor(np.ones_like(x))]
    while len(powers) < count:
        powers.append(powers[-1] * x)
    columns = np.stack(powers[:: 1 if increasing else -1], axis=1)
    return columns[:, :count]
