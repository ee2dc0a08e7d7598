"""What a training over several processes agrees on; all that :func:`fit` knows of ranks."""

from __future__ import annotations

import os
import pickle
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Callable
from zlib import crc32

import numpy as np

from ..distributed import Communicator, GradientSums, RankError, Share, current, share_of
from ..distributed.share import check_count
from ..optim import Optimiser
from .epoch import Epoch
from .interruption import Interrupted


class Ranks:
    """The processes that train one model together; where there is one alone, it agrees with itself.

    All call the same methods in the same order.
    """

    def __init__(self, communicator: Communicator) -> None:
        self._ranks = communicator
        self.rank, self.size = communicator.rank, communicator.size
        self._began, self._waited_before = time.perf_counter(), communicator.seconds

    @property
    def is_first(self) -> bool:
        """Whether this one writes and reports."""
        return self.rank == 0

    # Batches

    def check(self, count: int, batch_size: int) -> None:
        """Raise unless every rank has an example in each batch of an epoch of ``count``."""
        if self.size > 1:
            check_count("fit", min(batch_size, count, count % batch_size or batch_size), self.size)

    def share(self, count: int) -> Share | None:
        """What this rank has of a batch; None where it has all of it."""
        return None if self.size == 1 else share_of(count, self.rank, self.size)

    def divided(self, indices: np.ndarray) -> list[np.ndarray]:
        """The examples of each rank."""
        return [indices[share_of(len(indices), rank, self.size).rows] for rank in range(self.size)]

    def own_generator(self, rng: np.random.Generator) -> np.random.Generator:
        """What this rank draws with for its part of a batch; on all ranks ``rng`` moves along alike."""
        if self.size == 1:
            return rng
        return np.random.default_rng([int(rng.integers(2**63)), self.rank])

    # What all come to

    def any(self, answer: bool) -> bool:
        """Whether one of them says so."""
        return answer if self.size == 1 else self.sums([float(answer)])[0] > 0

    def sums(self, numbers: Sequence[float]) -> list[float]:
        """The sums over the ranks."""
        if self.size == 1 or not numbers:
            return list(numbers)
        buffer = np.array(numbers, np.float64)
        self._ranks.allreduce(buffer)
        found: list[float] = buffer.tolist()
        return found

    def totals(self, names: Sequence[str], found: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        """Of each metric the sum over all, and of how many."""
        if self.size == 1:
            return dict(found)
        flat = self.sums([number for name in names for number in found.get(name, (0.0, 0.0))])
        return {name: (flat[2 * i], flat[2 * i + 1]) for i, name in enumerate(names)}

    def of_first(self, value: Any) -> Any:
        """What the first one has."""
        if self.size == 1:
            return value
        with self._ranks.patiently():
            return self._ranks.share(value)

    def first(self, function: Callable[[], Any]) -> Any:
        """What a function gives on the first one, where alone it is called; or its error, on all of them."""
        if self.size == 1:
            return function()
        result = error = None
        if self.is_first:
            try:
                result = function()
            except Exception as raised:
                error = raised
        with self._ranks.patiently():
            result, told = self._ranks.share((result, None if error is None else _portable(error)))
        if told is not None:
            raise told if error is None else error
        return result

    def in_turn(self, function: Callable[[], Any]) -> Any:
        """What a function gives on each, after the first one has called it: it may have made files for the others."""
        if self.size == 1:
            return function()
        found = []
        self.first(lambda: found.append(function()))
        return found[0] if found else function()

    def wait_for_first(self) -> None:
        """Until the first one has come as far."""
        with self._ranks.patiently():
            self._ranks.barrier()

    def figures(self) -> dict[str, Any] | None:
        """How many there are, their threads, and for each the seconds spent computing and waiting; None where alone."""
        if self.size == 1:
            return None
        waited = self._ranks.seconds - self._waited_before
        seconds = self._ranks.allgather((time.perf_counter() - self._began - waited, waited))
        computing, waiting = ([round(each, 2) for each in column] for column in zip(*seconds))
        figures = {"count": self.size, "threads": self._ranks.threads}
        return {**figures, "seconds_computing": computing, "seconds_waiting": waiting}

    @property
    def threads(self) -> str:
        """With how many each of them computes, in words."""
        count = self._ranks.threads
        return "threads as the environment says" if count is None else f"{count} thread{'s' * (count > 1)} each"

    def processes(self) -> str:
        """Which process each of them is, to be found where one of them ends."""
        found = self._ranks.allgather((socket.gethostname(), os.getpid()))
        return ", ".join(f"rank {rank} process {pid} on {host}" for rank, (host, pid) in enumerate(found))

    def concatenated(self, part: Any, join: Callable[[list[Any]], Any]) -> Any:
        """The parts of all, joined."""
        with self._ranks.patiently():
            return join(self._ranks.allgather(part))

    def patient_any(self, answer: bool) -> bool:
        """:meth:`any`, after something that may take one of them longer."""
        with self._ranks.patiently():
            return self.any(answer)

    def row(self, row: Epoch) -> Epoch:
        """The figures of an epoch as the first one has them, so that all decide alike."""
        found: Epoch = self.of_first(row)
        return found

    def diagnosis(self, text: str, weight: int) -> str:
        """Of what each has found, that which weighs most, with its rank."""
        if self.size == 1:
            return text
        found = self._ranks.allgather((weight, text))
        rank = max(range(self.size), key=lambda rank: found[rank][0])
        return f"on rank {rank}, {found[rank][1]}"

    def compare(self, arrays: Callable[[], Mapping[str, np.ndarray]], step: int) -> None:
        """Raise unless all have the same numbers, to the last bit."""
        if self.size == 1:
            return
        checksums = self._ranks.allgather({name: _checksum(array) for name, array in arrays().items()})
        for rank, found in enumerate(checksums):
            different = [name for name in checksums[0] if found.get(name) != checksums[0][name]]
            if different:
                raise RankError(
                    f"fit: after step {step} rank {rank} has another {different[0]} than rank 0; let all ranks do the "
                    "same in callbacks and in the network, without random numbers of their own, or pass "
                    "deterministic=True"
                )

    # Errors

    @contextmanager
    def failing_together(self) -> Iterator[None]:
        """An error of one of them ends all, and its message names the rank; of all of them it is raised as it is."""
        try:
            yield
        except Interrupted as error:
            self._ranks.mark(error)  # as they have agreed on it
            raise
        except BaseException as error:
            if self.size > 1:
                self._ranks.fail(error)
            raise

    def check_alike(self, optimiser: Optimiser, *numbers: Mapping[str, object]) -> None:
        """Raise unless all have been given the same numbers, and optimisers whose gradients are added up once."""
        if self.size == 1:
            return
        if optimiser.before_step is not None:
            raise ValueError(
                "fit: adds up the gradients of all ranks itself; leave out tg.distributed.synchronise(optimiser)"
            )
        facts = {name: number for part in numbers for name, number in part.items()}
        facts["parameters"] = [parameter.shape for parameter in optimiser.parameters]
        facts["optimiser"] = type(optimiser).__name__
        facts["learning rate"] = optimiser.learning_rates
        facts["optimiser's settings"] = [group.settings for group in optimiser.param_groups]
        everywhere = self._ranks.allgather(facts)
        for rank, found in enumerate(everywhere):
            for name in facts:
                first, here = everywhere[0].get(name), found.get(name)
                if first != here:
                    raise ValueError(
                        f"fit: {name}: {first} on rank 0, {here} on rank {rank}; give all ranks the same, of which "
                        "each takes its share"
                    )

    def gradient_sums(self, optimiser: Optimiser) -> GradientSums:
        """What adds up the gradients of an optimiser's parameters, and the losses that they are of."""
        return GradientSums(self._ranks, optimiser, numbers=1)


@contextmanager
def together(is_deterministic: bool) -> Iterator[Ranks]:
    """The ranks of this process; errors inside are those of all."""
    communicator = current()
    before = communicator.is_deterministic
    communicator.is_deterministic = is_deterministic or before
    ranks = Ranks(communicator)
    try:
        with communicator.keeping_pace(), ranks.failing_together():
            yield ranks
    finally:
        communicator.is_deterministic = before


def _checksum(array: np.ndarray) -> int:
    """What differs if arrays do, by accident: of five checksums and hashes in Python the quickest."""
    return crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def _portable(error: Exception) -> Exception:
    """An error that can be sent."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
