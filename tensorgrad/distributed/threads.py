"""Ranks that are threads of one process: for tests, where no MPI is needed."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Sequence
from typing import Any, Callable, NoReturn

import numpy as np

from .communicator import Communicator, RankError, summed
from .current import using
from .reduction import Kinds, Reduction, SharedReduction, bytes_for

PATIENCE = 30.0
"""Seconds after which a rank that does not come is taken for one that hangs."""


class _Board:
    """Where the threads of a group leave what they send."""

    def __init__(self, size: int, patience: float | None) -> None:
        self.slots: list[Any] = [None] * size
        self.is_here = [False] * size
        self.barrier = threading.Barrier(size)
        self.patience = patience
        self.cause = ""

    def end(self, cause: str) -> None:
        """Let all ranks fail; the first cause counts."""
        self.cause = self.cause or cause
        self.barrier.abort()


class ThreadCommunicator(Communicator):
    """A rank that is a thread; :func:`run_ranks` makes them."""

    def __init__(self, rank: int, board: _Board, is_deterministic: bool = False) -> None:
        super().__init__(rank, len(board.slots), is_deterministic)
        self._board = board

    def _wait(self) -> None:
        board = self._board
        board.is_here[self.rank] = True
        try:
            board.barrier.wait(board.patience)
        except threading.BrokenBarrierError:
            late = next((rank for rank, is_here in enumerate(board.is_here) if not is_here), None)
            board.end(f"rank {late} of {self.size}: has not answered for {board.patience:g} s")
            raise RankError(board.cause) from None
        board.is_here[self.rank] = False

    def end(self, cause: str) -> None:
        """Let none of the others wait for this one."""
        self._board.end(cause)

    def _allgather(self, value: object) -> list[Any]:
        return [pickle.loads(each) for each in self._exchanged(pickle.dumps(value))]

    def _exchanged(self, value: object) -> list[Any]:
        self._board.slots[self.rank] = value
        self._wait()
        found = list(self._board.slots)
        self._wait()
        return found

    def _allreduce(self, buffer: np.ndarray) -> None:
        buffer[...] = summed(self._exchanged(buffer.copy()))

    _allreduce_in_order = _allreduce

    def reduction(self, kinds: Kinds) -> Reduction:
        if self.size == 1:
            return super().reduction(kinds)
        memory = self._exchanged(bytearray(bytes_for(kinds, self.size)) if self.is_first else None)[0]
        return SharedReduction(kinds, memory, self.rank, self.size, self._wait, self._timed)

    def _broadcast(self, buffer: np.ndarray) -> None:
        buffer[...] = self._exchanged(buffer.copy())[0]

    def abort(self, cause: str) -> NoReturn:
        self._board.end(f"rank {self.rank} of {self.size}: {cause}")
        raise RankError(self._board.cause)


def thread_ranks(size: int) -> list[ThreadCommunicator]:
    """The ranks of as many threads, which wait for each other however long it takes."""
    board = _Board(size, None)
    return [ThreadCommunicator(rank, board) for rank in range(size)]


def run_ranks(
    size: int, function: Callable[..., Any], *args: Any, is_deterministic: bool = False, patience: float = PATIENCE
) -> list[Any]:
    """Call a function in as many threads, each a rank of its own; what they return, in the order of the ranks.

    In the function, :func:`current` gives the rank. It stands in for ``mpiexec -n``, without any speed.

    Raises
    ------
    RankError
        If one of them raises, with that as the cause, or does not come for ``patience`` seconds while others wait.

    Examples
    --------
    >>> import numpy as np
    >>> from tensorgrad.distributed import current
    >>> def total():
    ...     rank, buffer = current(), np.ones(2)
    ...     rank.allreduce(buffer)
    ...     return rank.rank, buffer
    >>> run_ranks(3, total)
    [(0, array([3., 3.])), (1, array([3., 3.])), (2, array([3., 3.]))]
    """
    board = _Board(size, patience)
    results: list[Any] = [None] * size
    errors: list[BaseException | None] = [None] * size

    def run(rank: int) -> None:
        try:
            with using(ThreadCommunicator(rank, board, is_deterministic)):
                results[rank] = function(*args)
        except BaseException as error:  # told to whoever has called
            errors[rank] = error
            board.end(f"rank {rank} of {size}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=run, args=(rank,), name=f"rank-{rank}", daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    _join(threads, board)
    if any(errors):
        first = next((error for error in errors if error is not None and not isinstance(error, RankError)), None)
        raise RankError(board.cause) from first
    return results


def _join(threads: Sequence[threading.Thread], board: _Board) -> None:
    """Wait for all of them; once one has failed no longer for one that hangs."""
    while any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(0.05 if board.cause else 1.0)
        if board.cause:
            for thread in threads:
                thread.join(1.0)
            return
