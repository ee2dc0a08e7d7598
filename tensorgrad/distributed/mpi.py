"""Ranks that are processes of MPI, by mpi4py; none of them waits for ever for one that has failed."""

from __future__ import annotations

import os
import pickle
import sys
import time
from functools import cached_property, partial
from typing import Any, NoReturn

import numpy as np

from .._optional import require
from .blas import cores, limit, threads_of
from .communicator import OF_ALL, Communicator
from .launch import launched
from .reduction import Kinds, Reduction, SharedReduction, bytes_for, mapped, shared_file

PATIENCE = 7.0
"""Seconds for which the others wait in the middle of ``fit``, before a rank is taken for one that hangs."""

PATIENCE_AT_FIRST = 120.0
"""The same before its first messages have come, as functions are compiled."""

PATIENCE_WITH_FILES = 600.0
"""The same while one of them writes files or evaluates, and in loops of one's own."""

ON_PURPOSE = "where one takes longer on purpose, set TENSORGRAD_PATIENCE to more seconds"

FIRST = 20
"""How many messages are the first ones."""

SLOWER = 5
"""How many times the longest time between two messages so far is waited for in any case; of the first ones twice."""

_LATE, _FAILED = 1, 2
_SPIN, _NAP, _GRACE = 2e-4, 5e-5, 1.0
_give_way = getattr(os, "sched_yield", lambda: None)


class MPICommunicator(Communicator):
    """A rank of MPI; see :func:`tensorgrad.distributed.current`.

    Parameters
    ----------
    ranks
        A communicator of mpi4py, such as ``MPI.COMM_WORLD``.
    is_deterministic
        As for :class:`Communicator`.
    """

    def __init__(self, ranks: Any, is_deterministic: bool = False) -> None:
        super().__init__(ranks.Get_rank(), ranks.Get_size(), is_deterministic)
        self._mpi = require("mpi4py.MPI", "training over ranks")
        self._ranks, self._notes = ranks.Dup(), ranks.Dup()
        self._left_at, self._longest, self._longest_at_first = time.perf_counter(), 0.0, 0.0
        self.patience: float | None = float(os.environ.get("TENSORGRAD_PATIENCE", 0)) or None

    @classmethod
    def of_world(cls) -> MPICommunicator:
        """Of all processes that the launcher has started."""
        mpi = require("mpi4py.MPI", "training over several processes, as mpiexec has started them,")
        if mpi.COMM_WORLD.Get_size() != launched():
            raise RuntimeError(
                f"the launcher has started {launched()} processes, but mpi4py sees {mpi.COMM_WORLD.Get_size()}: they "
                "are of different MPIs; take the mpiexec of the MPI that mpi4py was installed with, such as that of "
                f"{mpi.Get_library_version().split(chr(10))[0].strip()}"
            )
        ranks = cls(mpi.COMM_WORLD)
        sys.excepthook = partial(ranks._say_once, sys.excepthook)
        ranks._share_cores()
        return ranks

    def _share_cores(self) -> None:
        """Divide the cores of each node among the ranks there."""
        self.threads = threads_of(self._node.allgather(cores()), os.environ)
        problem = None if self.threads is None else limit(self.threads)
        if problem and self.is_first:
            sys.stderr.write(f"{problem}\n")

    @cached_property
    def _node(self) -> Any:
        """The ranks of this machine."""
        return self._ranks.Split_type(self._mpi.COMM_TYPE_SHARED)

    @cached_property
    def _across(self) -> Any:
        """The ranks at this one's place on all machines; None where some have fewer than others."""
        sizes = self._allgather(self._node.Get_size())
        return self._ranks.Split(self._node.Get_rank(), self.rank) if len(set(sizes)) == 1 else None

    def reduction(self, kinds: Kinds) -> Reduction:
        """In memory that the ranks of a machine share, where they can have so much; else by messages.

        By messages as well where the order of the ranks counts and there are several machines.
        """
        rank, size, ranks_across = self._node.Get_rank(), self._node.Get_size(), self._across  # asked for by all
        if size == 1 or ranks_across is None or (self.is_deterministic and size < self.size):
            return super().reduction(kinds)
        memory = self._shared_memory(bytes_for(kinds, size))
        if memory is None:
            return super().reduction(kinds)
        across = self._sum_across if size < self.size else None
        return SharedReduction(kinds, memory, rank, size, self._barrier_of_node, self._timed, across)

    def _shared_memory(self, count: int) -> Any:
        """So many bytes that the ranks of this machine have in common; None where one of all ranks cannot have them."""
        is_first = self._node.Get_rank() == 0
        name = self._node.bcast(shared_file(count) if is_first else None)
        memory = mapped(name, count)
        is_everywhere = all(self._allgather(memory is not None))
        if is_first and name:
            os.unlink(name)
        return memory if is_everywhere else None

    def _sum_across(self, buffer: np.ndarray) -> None:
        self._wait(self._across.Iallreduce(self._mpi.IN_PLACE, buffer))

    def _barrier_of_node(self) -> None:
        self._wait(self._node.Ibarrier())

    def _say_once(self, say: Any, kind: Any, error: Any, trace: Any) -> None:
        """What becomes of an error that nobody has caught: one of the ranks says it, and no other waits for ever."""
        if not getattr(error, OF_ALL, False) and not self._agrees_to_fail():
            say(kind, error, trace)
            self.abort(f"{kind.__name__}: {error}")
        elif self.is_first:
            say(kind, error, trace)

    # Messages

    def _allreduce(self, buffer: np.ndarray) -> None:
        self._wait(self._ranks.Iallreduce(self._mpi.IN_PLACE, buffer))

    def _allreduce_in_order(self, buffer: np.ndarray) -> None:
        """Each rank adds up a part of the arrays, in the order of the ranks, and all get all parts."""
        flat, length = buffer.reshape(-1), -(-buffer.size // self.size)
        padded = np.zeros(length * self.size, buffer.dtype)
        padded[: flat.size] = flat
        parts = np.empty((self.size, length), buffer.dtype)
        self._wait(self._ranks.Ialltoall(padded, parts))
        for part in parts[1:]:
            parts[0] += part
        self._wait(self._ranks.Iallgather(parts[0], padded))
        flat[:] = padded[: flat.size]

    def _broadcast(self, buffer: np.ndarray) -> None:
        self._wait(self._ranks.Ibcast(buffer, 0))

    def _allgather(self, value: Any) -> list[Any]:
        sent = np.frombuffer(pickle.dumps(value), np.uint8)
        lengths = np.empty(self.size, np.int64)
        self._wait(self._ranks.Iallgather(np.array([len(sent)]), lengths))
        ends = np.cumsum(lengths)
        received = np.empty(ends[-1], np.uint8)
        self._wait(self._ranks.Iallgatherv(sent, [received, lengths, ends - lengths, self._mpi.BYTE]))
        return [pickle.loads(received[end - length : end].tobytes()) for end, length in zip(ends, lengths)]

    # Waiting, and what ends it

    def _wait(self, request: Any) -> None:
        """Until all have sent theirs; in Python, so that signals and ranks that hang are noticed."""
        started = time.perf_counter()
        self._note_pace(started - self._left_at)
        while not request.Test():
            waited = time.perf_counter() - started
            if waited > _SPIN:
                time.sleep(_NAP)
            else:
                _give_way()  # as there may be more ranks than cores
            if waited > self._limit():
                self._end_for_others(waited)
        self._left_at = time.perf_counter()

    def _limit(self) -> float:
        if self.patience is not None:
            return self.patience
        if self.is_patient:
            return PATIENCE_WITH_FILES
        if self._is_at_first:
            return PATIENCE_AT_FIRST
        return max(PATIENCE, SLOWER * self._longest, 2 * self._longest_at_first)

    @property
    def _is_at_first(self) -> bool:
        return self.calls - self.keeps_pace_from <= FIRST

    def _note_pace(self, seconds: float) -> None:
        """What this rank has spent between two messages."""
        if self.is_patient:
            return
        if self._is_at_first:
            self._longest_at_first = max(self._longest_at_first, seconds)
        else:
            self._longest = max(self._longest, seconds)

    def _end_for_others(self, waited: float) -> NoReturn:
        """End all, with the names of the ranks that are not waiting; the first of those that wait says it."""
        waiting = self._all_that_note(_LATE)
        if min(waiting) < self.rank:
            time.sleep(3 * _GRACE)
        missing = sorted(set(range(self.size)) - waiting)
        names = f"rank {', '.join(map(str, missing))}" if missing else "a message"
        self._end(f"{names} of {self.size}: has not answered for {waited:.0f} s; all ranks end; {ON_PURPOSE}")

    def fail(self, error: BaseException) -> None:
        if not getattr(error, OF_ALL, False) and not self._agrees_to_fail():
            self.abort(f"{type(error).__name__}: {error}")
        super().fail(error)

    def _agrees_to_fail(self) -> bool:
        """Whether all ranks fail now; if not, the first that does goes on to end the job, while the others wait."""
        failed = self._all_that_note(_FAILED)
        if len(failed) < self.size and min(failed) < self.rank:
            time.sleep(3 * _GRACE)
        return len(failed) == self.size

    def leave(self) -> None:
        self._mpi.Finalize()

    def abort(self, cause: str) -> NoReturn:
        self._end(f"rank {self.rank} of {self.size}: {cause}; all ranks end")

    def _end(self, message: str) -> NoReturn:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.write(2, f"{message}\n".encode(errors="backslashreplace"))  # also where nothing else is to be said
        self._ranks.Abort(1)
        os._exit(1)

    def _all_that_note(self, tag: int) -> set[int]:
        """Tell all others, without waiting for them; the ranks that tell the same within a moment."""
        for rank in range(self.size):
            if rank != self.rank:
                self._notes.Isend(np.empty(0, np.uint8), rank, tag).Free()
        until, found = time.perf_counter() + _GRACE, {self.rank}
        while len(found) < self.size and time.perf_counter() < until:
            time.sleep(0.01)
            found |= self._noted(tag)
        return found

    def _noted(self, tag: int) -> set[int]:
        """The ranks that have told so since the last call."""
        found, status = set(), self._mpi.Status()
        while self._notes.Iprobe(self._mpi.ANY_SOURCE, tag, status):
            self._notes.Recv(np.empty(0, np.uint8), status.Get_source(), tag)
            found.add(status.Get_source())
        return found
