"""Which part of a batch this rank has, where all ranks together have one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from .current import current


@dataclass(frozen=True)
class Share:
    """The examples ``start`` to ``stop`` of ``total``.

    Attributes
    ----------
    is_mean
        Whether the loss of this rank is a mean over its examples, still to be weighted by their number; else it is
        this rank's part of the loss of all.
    axis
        Along which the examples are in what random numbers are drawn for.
    """

    start: int
    stop: int
    total: int
    is_mean: bool = False
    axis: int = 0

    @property
    def count(self) -> int:
        """How many they are."""
        return self.stop - self.start

    @property
    def rows(self) -> slice:
        """To take them out of an array of all."""
        return slice(self.start, self.stop)


_share: ContextVar[Share | None] = ContextVar("share", default=None)


def share_of(count: int, rank: int, size: int) -> Share:
    """What a rank has of ``count`` examples: successive ones, as many as the others have or one more or less.

    >>> [share_of(10, rank, 3).rows for rank in range(3)]
    [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
    """
    return Share(count * rank // size, count * (rank + 1) // size, count)


def shared() -> Share | None:
    """The share of this rank in the batch at hand; None where it has all of it."""
    return _share.get()


@contextmanager
def sharing(share: Share | None) -> Iterator[None]:
    """Inside, inputs are this part of a batch."""
    token = _share.set(share)
    try:
        yield
    finally:
        _share.reset(token)


@contextmanager
def global_batch(count: int) -> Iterator[slice]:
    """Inside, the ranks compute with one batch of ``count`` examples, of which this one takes those of the slice.

    Batch normalisation has the statistics of all of it, dropout and noise are drawn as one process draws them, and a
    step of an optimiser that is synchronised (:func:`synchronise`) is that of a loss that is the mean over all of it.

    Raises
    ------
    ValueError
        If there are fewer examples than ranks.

    Examples
    --------
    >>> with global_batch(64) as mine:  # in one process
    ...     mine
    slice(0, 64, None)
    """
    ranks = current()
    check_count("global_batch", count, ranks.size)
    share = replace(share_of(count, ranks.rank, ranks.size), is_mean=True)
    with sharing(share if ranks.size > 1 else None):
        yield share.rows


def check_count(function: str, count: int, size: int) -> None:
    """Raise unless each of ``size`` ranks gets an example."""
    if count < size:
        raise ValueError(
            f"{function}: a batch of {count} examples cannot be shared by {size} ranks; take larger batches or fewer "
            "ranks, or leave a smaller last batch out"
        )


@contextmanager
def examples_along(axis: int) -> Iterator[None]:
    """Inside, random numbers are drawn for arrays that have the examples along this axis."""
    share = shared()
    with sharing(None if share is None else replace(share, axis=axis)):
        yield


def axis_of_examples() -> int:
    """What :func:`of_all_ranks` takes, to be asked for before the numbers are drawn."""
    share = shared()
    return 0 if share is None else share.axis


def of_all_ranks(function: str, shape: tuple[int, ...], axis: int) -> tuple[tuple[int, ...], Any]:
    """The shape of an array of all examples, given that of one of this rank's, and which part of it this rank has.

    There may be several entries for each example along the axis.
    """
    share = shared()
    if share is None or not shape:
        return shape, ...
    length = shape[axis]
    if length % share.count:
        raise ValueError(
            f"{function}: over several ranks, random numbers are drawn for examples along the first axis, got shape "
            f"{shape} with {share.count} examples on this rank; bring the axis of the examples to the front"
        )
    each = length // share.count
    whole = (*shape[:axis], share.total * each, *shape[axis + 1 :])
    return whole, (slice(None),) * axis + (slice(share.start * each, share.stop * each),)
