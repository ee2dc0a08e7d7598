"""Flat arrays that are added up over ranks: by messages, or in memory that the ranks of a machine share."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import numpy as np

SHARED = Path("/dev/shm")
"""Where files are memory that several processes can have in common; without it, all is sent."""

_PAGE = 4096
"""Arrays and what each rank adds up begin at multiples of so many bytes, so that no two ranks write near each other."""

Kinds = Sequence["tuple[int, np.dtype]"]
"""Of each array its length and dtype."""


class Reduction:
    """Arrays that each rank fills, and their sums over all ranks; here each is sent, and its sum takes its place.

    Attributes
    ----------
    parts
        To be filled by this rank before :meth:`sum`.
    totals
        What :meth:`sum` leaves; read-only where the ranks share them. They last until the next call.
    """

    def __init__(self, kinds: Kinds, allreduce: Callable[[np.ndarray], None]) -> None:
        self.parts = [np.zeros(length, dtype) for length, dtype in kinds]
        self.totals = self.parts
        self._allreduce = allreduce

    def sum(self) -> None:
        """Add up the parts of all ranks."""
        for part in self.parts:
            self._allreduce(part)


class SharedReduction(Reduction):
    """The same in memory that the ranks of a machine share: each adds up a piece, and all read all of it.

    Nothing is copied from one rank to another, and each sum is there once for all of them. Numbers are added in the
    order of the ranks. Where there are several machines, each rank sends its piece to those at its place on the others.

    Parameters
    ----------
    kinds
        Of each array its length and dtype.
    memory
        What the ranks share, of :func:`bytes_for` bytes.
    rank, size
        The place of this one among those of its machine, and how many they are: two or more.
    barrier
        Waits for the ranks of the machine.
    timed
        Gives a context that counts a message of so many bytes.
    allreduce
        Adds up an array over the ranks at this place on all machines; None where there is one machine.
    """

    def __init__(
        self,
        kinds: Kinds,
        memory: Any,
        rank: int,
        size: int,
        barrier: Callable[[], None],
        timed: Callable[[int], AbstractContextManager[None]],
        allreduce: Callable[[np.ndarray], None] | None = None,
    ) -> None:
        *self._of_ranks, sums = (_arrays(kinds, memory, place) for place in range(size + 1))
        self.parts, self._sums = self._of_ranks[rank], sums
        self.totals = [_read_only(array) for array in sums]
        self._pieces = [_piece(length, dtype, rank, size) for length, dtype in kinds]
        self._barrier, self._timed, self._across = barrier, timed, allreduce

    def sum(self) -> None:
        with self._timed(sum(part.nbytes for part in self.parts)):
            self._sum_pieces()

    def _sum_pieces(self) -> None:
        self._barrier()  # all parts are filled, and nobody reads the sums of before any more
        for i, piece in enumerate(self._pieces):
            first, *others = (arrays[i][piece] for arrays in self._of_ranks)
            total = self._sums[i][piece]
            for other in others:
                np.add(first, other, out=total)
                first = total
            if self._across is not None:
                self._across(total)
        self._barrier()


def bytes_for(kinds: Kinds, size: int) -> int:
    """How many bytes the ranks of a machine share, for their parts and the sums."""
    return (size + 1) * sum(_padded(length * dtype.itemsize) for length, dtype in kinds)


def shared_file() -> str:
    """The name of a new file, of no bytes yet, that can be memory; empty where there is none.

    To be deleted as soon as all have opened it: whatever ends them then, nothing stays behind.
    """
    if not SHARED.is_dir() or not hasattr(os, "posix_fallocate"):
        return ""
    try:
        descriptor, name = tempfile.mkstemp(prefix="tensorgrad-", dir=SHARED)
    except OSError:
        return ""
    os.close(descriptor)
    return name


def opened(name: str) -> IO[bytes] | None:
    """A file of this machine; None if there is no such file, as in a container of one's own."""
    try:
        return open(name, "r+b")
    except OSError:
        return None


def mapped(file: IO[bytes], count: int) -> mmap.mmap | None:
    """So many bytes of a file, which is closed, as memory; None where there is not so much. All may ask for it."""
    with file:
        try:
            os.posix_fallocate(file.fileno(), 0, count)  # else a lack of it would end the process at a write
            return mmap.mmap(file.fileno(), count)
        except (OSError, ValueError):
            return None


def _arrays(kinds: Kinds, memory: Any, place: int) -> list[np.ndarray]:
    start = place * bytes_for(kinds, 0)
    found: list[np.ndarray] = []
    for length, dtype in kinds:
        found.append(np.frombuffer(memory, dtype, length, start))
        start += _padded(length * dtype.itemsize)
    return found


def _read_only(array: np.ndarray) -> np.ndarray:
    view: np.ndarray = array.view()
    view.flags.writeable = False
    return view


def _piece(length: int, dtype: np.dtype, rank: int, size: int) -> slice:
    """What one of the ranks adds up."""
    step = _padded(-(-length // size) * dtype.itemsize) // dtype.itemsize
    return slice(rank * step, min(length, (rank + 1) * step))


def _padded(count: int) -> int:
    return -(-count // _PAGE) * _PAGE
