"""Ranks whose messages take time on a clock of their own: what a network would cost, without the network."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from benchmarks.scaling.allreduce import Network, quickest, simulate
from tensorgrad.distributed import Communicator


class SimulatedRank(Communicator):
    """A rank of another communicator, whose arrays are added up message by message as over a network.

    Attributes
    ----------
    clock
        Seconds so far, of messages and of what :meth:`work` was told.

    Examples
    --------
    >>> from tensorgrad.distributed import current, run_ranks
    >>> def total():
    ...     rank = SimulatedRank(current(), Network("1 kB/s", latency=1.0, bandwidth=1e3), algorithm="ring")
    ...     rank.work(10.0 * rank.rank)
    ...     array = np.full(250, rank.rank + 1.0, np.float32)
    ...     rank.allreduce(array)
    ...     return array[0].item(), rank.clock
    >>> run_ranks(2, total)
    [(3.0, 13.0), (3.0, 13.0)]
    """

    def __init__(self, within: Communicator, network: Network, algorithm: str | None = None) -> None:
        super().__init__(within.rank, within.size, within.is_deterministic)
        self._within, self._network, self._algorithm = within, network, algorithm
        self.clock = 0.0

    def work(self, seconds: float) -> None:
        """Let the rank compute for some seconds."""
        self.clock += seconds

    def _allreduce(self, buffer: np.ndarray) -> None:
        found = self._within.allgather((buffer.reshape(-1).copy(), self.clock))
        sums = None
        if self.is_first:  # computes it for all
            values = np.stack([array for array, _ in found])
            name = self._algorithm or quickest(self.size, buffer.nbytes, self._network)
            clocks = np.array([clock for _, clock in found])
            sums = values, simulate(name, clocks, self._network, buffer.nbytes, values)
        values, clocks = self._within.share(sums)
        buffer.reshape(-1)[:] = values[self.rank]
        self.clock = float(clocks[self.rank])

    _allreduce_in_order = _allreduce

    def _broadcast(self, buffer: np.ndarray) -> None:
        self._within.broadcast(buffer)

    def _allgather(self, value: Any) -> list[Any]:
        return self._within.allgather(value)

    def abort(self, cause: str) -> NoReturn:
        self._within.abort(cause)
