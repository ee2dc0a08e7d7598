"""Gradients side by side in flat buffers, so that few messages carry many of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from .communicator import Communicator

BUCKET_BYTES = 8 * 2**20
"""The most that one message carries, unless one array alone is larger."""


def plan(sizes: Sequence[int], kinds: Sequence[Any] | None = None, limit: int = BUCKET_BYTES) -> list[list[int]]:
    """Which arrays share a bucket, given their bytes: successive ones of one kind, up to ``limit`` together.

    The last array comes first, as the backward pass has its gradient first.

    >>> plan([4, 4, 100, 8], limit=16)
    [[3], [2], [1, 0]]
    >>> plan([4, 4, 4], ["f", "d", "f"])
    [[2, 0], [1]]
    """
    kinds = [None] * len(sizes) if kinds is None else kinds
    found: list[list[int]] = []
    for kind in dict.fromkeys(reversed(kinds)):
        taken = limit + 1
        for i in reversed([i for i, each in enumerate(kinds) if each == kind]):
            if taken + sizes[i] > limit:
                found.append([])
                taken = 0
            found[-1].append(i)
            taken += sizes[i]
    return found


class Buckets:
    """Flat buffers for arrays of these shapes and dtypes, which are summed over ranks in place of them.

    An array that is None on this rank counts as zeros; one that is None on all ranks stays None.

    >>> import numpy as np
    >>> from tensorgrad.distributed import SingleProcess
    >>> buckets = Buckets([(2,), (3,)], [np.float32, np.float32])
    >>> buckets.sum(SingleProcess(), [np.ones(2, np.float32), None])
    [array([1., 1.], dtype=float32), None]
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any], limit: int = BUCKET_BYTES) -> None:
        self.shapes, self.dtypes = list(shapes), [np.dtype(dtype) for dtype in dtypes]
        sizes = [prod(shape) * dtype.itemsize for shape, dtype in zip(self.shapes, self.dtypes)]
        self.plan = plan(sizes, self.dtypes, limit)
        self._flat = [np.empty(self._length(group), self.dtypes[group[0]]) for group in self.plan]
        self._views: dict[int, np.ndarray] = {}
        self._marks: dict[int, np.ndarray] = {}
        for group, flat in zip(self.plan, self._flat):
            end, start = len(flat) - len(group), 0
            for mark, i in enumerate(group, end):
                self._views[i] = flat[start : start + prod(self.shapes[i])].reshape(self.shapes[i])
                self._marks[i] = flat[mark : mark + 1]  # of how many ranks there is one
                start += prod(self.shapes[i])

    def _length(self, group: Sequence[int]) -> int:
        return sum(prod(self.shapes[i]) for i in group) + len(group)

    def sum(self, communicator: Communicator, arrays: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
        """The sums over all ranks; they live in the buffers, until the next call."""
        for group, flat in zip(self.plan, self._flat):
            for i in group:
                array = arrays[i]
                self._views[i][...] = 0 if array is None else array
                self._marks[i][...] = array is not None
            communicator.allreduce(flat)
        return [self._views[i] if self._marks[i][0] else None for i in range(len(self.shapes))]
