"""Sums over the ranks of a training; in one process the identity."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import samples
from ..core import AnyArray, Array, Op, declare
from ..distributed import current, shared


def _sum(x: Array) -> Any:
    ranks = current()
    if ranks.size == 1:
        return np.positive(x)
    if not isinstance(x, (np.ndarray, np.generic)):
        raise TypeError(f"messages are of NumPy's arrays, not of {type(x).__name__}")
    total = np.array(x, order="C")
    ranks.allreduce(total)
    return total


def _sum_rule(g: AnyArray, out: AnyArray, x: AnyArray) -> AnyArray:
    """What each rank has changes the losses of all, of which the mean is by the numbers of their examples."""
    share = shared()
    if share is None or not share.is_mean:
        return sum_over_ranks(g)
    return sum_over_ranks(g * share.count) / share.count


sum_over_ranks: Op = declare(
    "sum_over_ranks",
    _sum,
    _sum_rule,
    sample=samples.unary(),
    expects="an array of the same shape on all ranks",
    effect=lambda x: np.array(x, order="C"),
)
