"""What ranks send each other: the few messages that training takes, whoever carries them."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from .reduction import Kinds, Reduction

OF_ALL = "_is_of_all_ranks"
"""The attribute of an error that all ranks have raised."""


class RankError(RuntimeError):
    """A rank that raised or did not answer, so that the others cannot go on; the message names it and the cause."""


class Communicator(ABC):
    """One of several processes that train together, and its way to the others.

    All ranks call the same methods in the same order. Arrays that are sent must be C-contiguous.

    Attributes
    ----------
    rank, size
        The number of this process, from 0 on, and how many there are.
    is_deterministic
        Whether sums are added up in the order of the ranks, so that for one number of ranks they are always the same to
        the last bit. Else that is left to who carries the messages.
    threads
        How many BLAS computes with on each rank; None where that is left to its own choice, or the user's.
    calls, bytes, seconds
        Messages so far, the bytes of this rank in them, and the time spent in them, which is mostly waiting.
    """

    def __init__(self, rank: int, size: int, is_deterministic: bool = False) -> None:
        self.rank, self.size, self.is_deterministic = rank, size, is_deterministic
        self.calls, self.bytes, self.seconds = 0, 0, 0.0
        self.is_patient, self.keeps_pace_from = True, 0
        self.threads: int | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which writes and reports for all."""
        return self.rank == 0

    def allreduce(self, buffer: np.ndarray) -> None:
        """Replace an array by the sum of those of all ranks."""
        with self._timed(buffer.nbytes):
            (self._allreduce_in_order if self.is_deterministic else self._allreduce)(buffer)

    def reduction(self, kinds: Kinds) -> Reduction:
        """Arrays of these lengths and dtypes that can be added up many times, as quickly as these ranks can."""
        return Reduction(kinds, self.allreduce)

    def broadcast(self, buffer: np.ndarray) -> None:
        """Replace an array by that of rank 0."""
        with self._timed(buffer.nbytes):
            self._broadcast(buffer)

    def allgather(self, value: Any) -> list[Any]:
        """The small objects of all ranks, in their order; anything that can be pickled."""
        with self._timed(0):
            return self._allgather(value)

    def barrier(self) -> None:
        """Wait for all ranks."""
        self.allgather(None)

    def share(self, value: Any) -> Any:
        """The object of rank 0."""
        return self.allgather(value if self.is_first else None)[0]

    @contextmanager
    def patiently(self, is_patient: bool = True) -> Iterator[None]:
        """Inside, a rank that does not answer may be doing something that takes long, such as to write a file."""
        before, self.is_patient = self.is_patient, is_patient
        try:
            yield
        finally:
            self.is_patient = before

    @contextmanager
    def keeping_pace(self) -> Iterator[None]:
        """Inside, ranks come to each message at about the same time: one that does not is taken for one that hangs."""
        self.keeps_pace_from = self.calls
        with self.patiently(False):
            yield

    @contextmanager
    def _timed(self, size: int) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.calls, self.bytes = self.calls + 1, self.bytes + size
            self.seconds += time.perf_counter() - started

    @abstractmethod
    def _allreduce(self, buffer: np.ndarray) -> None: ...

    @abstractmethod
    def _allreduce_in_order(self, buffer: np.ndarray) -> None: ...

    @abstractmethod
    def _broadcast(self, buffer: np.ndarray) -> None: ...

    @abstractmethod
    def _allgather(self, value: object) -> list[Any]: ...

    def fail(self, error: BaseException) -> None:
        """Told by a rank of an error: returns if all ranks have one, else the job ends with a message that names it."""
        self.mark(error)

    def leave(self) -> None:  # noqa: B027 - where nobody else is there is nothing to do
        """Take leave of the others, all at once: an exit code then is no failure of one of them."""

    def mark(self, error: BaseException) -> None:
        """Note that all ranks raise this error, so that the first one alone has to show it."""
        setattr(error, OF_ALL, True)

    @abstractmethod
    def abort(self, cause: str) -> NoReturn:
        """End all ranks, with a message that names this one and the cause."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(rank {self.rank} of {self.size})"


class SingleProcess(Communicator):
    """One process alone: nothing is sent.

    >>> import numpy as np
    >>> alone, gradient = SingleProcess(), np.ones(2)
    >>> alone.allreduce(gradient)
    >>> gradient, alone.allgather("a")
    (array([1., 1.]), ['a'])
    """

    def __init__(self) -> None:
        super().__init__(0, 1, is_deterministic=True)

    def _allreduce(self, buffer: np.ndarray) -> None: ...

    def _allreduce_in_order(self, buffer: np.ndarray) -> None: ...

    def _broadcast(self, buffer: np.ndarray) -> None: ...

    def _allgather(self, value: object) -> list[Any]:
        return [value]

    def abort(self, cause: str) -> NoReturn:
        raise RankError(cause)


def summed(arrays: list[np.ndarray]) -> np.ndarray:
    """The sum of the arrays of all ranks, in their order."""
    total: np.ndarray = arrays[0].copy()
    for array in arrays[1:]:
        total += array
    return total
