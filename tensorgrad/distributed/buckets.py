"""Gradients side by side in flat buffers, so that few messages carry many of them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Protocol

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

    Attributes
    ----------
    places
        Where each array is put. One that is there already is not copied.

    >>> import numpy as np
    >>> from tensorgrad.distributed import SingleProcess
    >>> buckets = Buckets(SingleProcess(), [(2,), (3,)], [np.float32, np.float32])
    >>> buckets.sum([np.ones(2, np.float32), None])
    [array([1., 1.], dtype=float32), None]
    """

    def __init__(
        self,
        communicator: Communicator,
        shapes: Sequence[tuple[int, ...]],
        dtypes: Sequence[Any],
        limit: int = BUCKET_BYTES,
    ) -> None:
        self.shapes, self.dtypes = list(shapes), [np.dtype(dtype) for dtype in dtypes]
        sizes = [prod(shape) * dtype.itemsize for shape, dtype in zip(self.shapes, self.dtypes)]
        self.plan = plan(sizes, self.dtypes, limit)
        self._reduction = communicator.reduction([(self._length(i), self.dtypes[i[0]]) for i in self.plan])
        self.places, self._marks = self._views(self._reduction.parts)
        self._totals, self._counts = self._views(self._reduction.totals)

    def _length(self, group: Sequence[int]) -> int:
        return sum(prod(self.shapes[i]) for i in group) + len(group)

    def _views(self, buffers: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Where in the buffers each array is, and of how many ranks there is one."""
        views: dict[int, np.ndarray] = {}
        marks: dict[int, np.ndarray] = {}
        for group, flat in zip(self.plan, buffers):
            start = 0
            for mark, i in enumerate(group, len(flat) - len(group)):
                views[i] = flat[start : start + prod(self.shapes[i])].reshape(self.shapes[i])
                marks[i] = flat[mark : mark + 1]
                start += prod(self.shapes[i])
        return [views[i] for i in range(len(views))], [marks[i] for i in range(len(marks))]

    def sum(self, arrays: Sequence[np.ndarray | None], weight: float | None = None) -> list[np.ndarray | None]:
        """The sums over all ranks, each of this one's arrays times its ``weight``; to be read until the next call."""
        for i, (array, place) in enumerate(zip(arrays, self.places)):
            self._marks[i][...] = array is not None
            if array is None:
                place[...] = 0
            elif array.shape != place.shape:
                raise ValueError(f"array {i} is of shape {place.shape}, got a gradient of shape {array.shape}")
            elif weight is not None:
                np.multiply(array, place.dtype.type(weight), out=place, casting="same_kind")
            elif not _is_at(array, place):
                place[...] = array
        self._reduction.sum()
        return [total if count[0] else None for total, count in zip(self._totals, self._counts)]


class HasGradients(Protocol):
    """What ranks know of an optimiser whose gradients they add up."""

    @property
    def parameters(self) -> Sequence[Any]:
        """The Tensors that it changes."""

    def borrow_gradients(self) -> list[np.ndarray | None]:
        """The gradients of all parameters, to be read at once."""

    def lend_gradients(self, gradients: Sequence[np.ndarray | None]) -> None:
        """Set the gradients of all parameters, to arrays that may be overwritten later."""


class GradientSums:
    """Replaces the gradients of an optimiser's parameters by their sums over ranks, and adds up numbers with them.

    Parameters
    ----------
    communicator
        The ranks.
    optimiser
        Of :mod:`tensorgrad.optim`.
    numbers
        How many numbers go with the gradients, such as a loss.
    """

    def __init__(self, communicator: Communicator, optimiser: HasGradients, numbers: int = 0) -> None:
        self._optimiser = optimiser
        shapes = [parameter.shape for parameter in optimiser.parameters]
        dtypes = [parameter.dtype for parameter in optimiser.parameters]
        self._dtype = np.result_type(np.float32, *dtypes)
        self._buckets = Buckets(communicator, shapes + [()] * numbers, dtypes + [self._dtype] * numbers)

    @property
    def places(self) -> list[tuple[Any, np.ndarray]]:
        """Each parameter, and where its gradients are added up: one that is computed there need not be copied."""
        return list(zip(self._optimiser.parameters, self._buckets.places))

    def __call__(self, *numbers: float, weight: float | None = None) -> list[float]:
        """Add up the gradients and numbers of all ranks, each times its ``weight``; the sums of the numbers."""
        own = self._optimiser.borrow_gradients()
        sums = self._buckets.sum([*own, *(np.asarray(number, self._dtype) for number in numbers)], weight)
        self._optimiser.lend_gradients(sums[: len(own)])
        return [float(np.asarray(total).real) for total in sums[len(own) :]]


def _is_at(array: np.ndarray, place: np.ndarray) -> bool:
    """Whether an array, of the same shape, is in the same memory."""
    one, other = array.__array_interface__, place.__array_interface__
    return one["data"][0] == other["data"][0] and array.dtype == place.dtype and array.strides == place.strides
