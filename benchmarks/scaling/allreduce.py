"""How ranks add up their arrays, message by message, and how long that takes: a simulator of Allreduce.

An algorithm is a list of rounds, in each of which a rank sends at most one message and receives at most one. A message
of ``n`` bytes begins when both are ready and takes ``latency + n / bandwidth`` seconds; adding it up takes
``n / adding``. The algorithms, and the seconds that each takes when all ranks begin at once, are those of Thakur,
Rabenseifner and Gropp, "Optimization of collective communication operations in MPICH", 2005; libraries of MPI choose
among them by size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np


class Network(NamedTuple):
    """What links the ranks.

    Attributes
    ----------
    name
        Of the interconnect.
    latency
        Seconds that a message takes, however short.
    bandwidth
        Bytes that a rank sends a second, while it receives as many.
    adding
        Bytes that a rank adds up a second.
    """

    name: str
    latency: float
    bandwidth: float
    adding: float = math.inf


class Round(NamedTuple):
    """Messages at the same time: their ranks, the elements from ``starts`` to ``stops``, whether they are added up."""

    sources: np.ndarray
    targets: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    adds: bool


class Cost(NamedTuple):
    """Of an Allreduce: messages one after the other, and what is sent and added up, in units of the whole array."""

    messages: int
    sent: float
    added: float

    def seconds(self, size: int, network: Network) -> float:
        """Of an array of ``size`` bytes."""
        return self.messages * network.latency + size * (self.sent / network.bandwidth + self.added / network.adding)


# Algorithms


def ring(ranks: int, count: int) -> Iterator[Round]:
    """Parts of the array pass from each rank to the next, once around to be added up, once more to be handed out."""
    edges, rank = _edges(count, ranks), np.arange(ranks)
    for step in range(2 * (ranks - 1)):
        part = (rank - step) % ranks
        yield Round(rank, (rank + 1) % ranks, edges[part], edges[part + 1], step < ranks - 1)


def tree(ranks: int, count: int) -> Iterator[Round]:
    """Sums of pairs, then of pairs of pairs, up to rank 0, and the same way back: a binomial tree."""
    distances = [2**level for level in range((ranks - 1).bit_length())]
    for distance in distances:
        sources = np.arange(distance, ranks, 2 * distance)
        yield _whole(sources, sources - distance, count, adds=True)
    for distance in reversed(distances):
        targets = np.arange(distance, ranks, 2 * distance)
        yield _whole(targets - distance, targets, count, adds=False)


def doubling(ranks: int, count: int) -> Iterator[Round]:
    """Each rank exchanges all it has with the one at distance 1, then 2, 4 and so on: recursive doubling."""

    def exchange(members: np.ndarray) -> Iterator[Round]:
        i = np.arange(len(members))
        for level in range(len(members).bit_length() - 1):
            yield _whole(members, members[i ^ 2**level], count, adds=True)

    return _among_a_power_of_two(ranks, count, exchange)


def halving(ranks: int, count: int) -> Iterator[Round]:
    """Each rank exchanges a half, then a quarter and so on, and the sums come back likewise: Rabenseifner's."""

    def exchange(members: np.ndarray) -> Iterator[Round]:
        i, edges = np.arange(len(members)), _edges(count, len(members))
        distances = [2**level for level in range(len(members).bit_length() - 1)]
        for distance in reversed(distances):
            partner = i ^ distance
            first = partner & -distance  # of the parts that the partner goes on with
            yield Round(members, members[partner], edges[first], edges[first + distance], True)
        for distance in distances:
            first = i & -distance
            yield Round(members, members[i ^ distance], edges[first], edges[first + distance], False)

    return _among_a_power_of_two(ranks, count, exchange)


ALGORITHMS: dict[str, Callable[[int, int], Iterator[Round]]] = {
    "ring": ring,
    "tree": tree,
    "recursive doubling": doubling,
    "halving and doubling": halving,
}


def _among_a_power_of_two(ranks: int, count: int, exchange: Callable[[np.ndarray], Iterator[Round]]) -> Iterator[Round]:
    """As many ranks as there are beyond a power of two give theirs to a neighbour first, and get the sum from it."""
    beyond = ranks - 2 ** (ranks.bit_length() - 1)
    givers = np.arange(0, 2 * beyond, 2)
    if beyond:
        yield _whole(givers, givers + 1, count, adds=True)
    yield from exchange(np.concatenate([givers + 1, np.arange(2 * beyond, ranks)]))
    if beyond:
        yield _whole(givers + 1, givers, count, adds=False)


def _whole(sources: np.ndarray, targets: np.ndarray, count: int, adds: bool) -> Round:
    return Round(sources, targets, np.zeros_like(sources), np.full_like(sources, count), adds)


def _edges(count: int, parts: int) -> np.ndarray:
    """Where each of the parts begins, and the end of the last."""
    return np.arange(parts + 1) * count // parts


# What they do and take


def simulate(
    algorithm: str,
    clocks: np.ndarray,
    network: Network,
    size: int,
    values: np.ndarray | None = None,
) -> np.ndarray:
    """When each rank has the sum, if it begins by its clock.

    Parameters
    ----------
    algorithm
        One of ``ALGORITHMS``.
    clocks
        For each rank the time, in seconds, at which it comes with its array.
    network
        What a message takes.
    size
        Bytes of the array.
    values
        Shape (ranks, elements): the array of each rank, replaced by the sum; None where only the time matters.

    Examples
    --------
    >>> values = np.array([[1, 2], [10, 20], [100, 200]])
    >>> simulate("ring", np.zeros(3), Network("", latency=1, bandwidth=8), size=16, values=values)
    array([8., 8., 8.])
    >>> values.tolist()
    [[111, 222], [111, 222], [111, 222]]
    """
    count = size if values is None else values.shape[1]
    clocks = np.array(clocks, float)
    for sources, targets, starts, stops, adds in ALGORITHMS[algorithm](len(clocks), count):
        sizes = (stops - starts) * (size / max(count, 1))
        sent = np.maximum(clocks[sources], clocks[targets]) + network.latency + sizes / network.bandwidth
        received = sent + (sizes / network.adding if adds else 0)
        np.maximum.at(clocks, sources, sent)
        np.maximum.at(clocks, targets, received)
        if values is not None:
            _deliver(values, sources, targets, starts, stops, adds)
    return clocks


def _deliver(
    values: np.ndarray, sources: np.ndarray, targets: np.ndarray, starts: np.ndarray, stops: np.ndarray, adds: bool
) -> None:
    parts = list(map(slice, starts, stops))
    messages = [values[source, part].copy() for source, part in zip(sources, parts)]
    for target, part, message in zip(targets, parts, messages):
        values[target, part] = values[target, part] + message if adds else message


def cost(algorithm: str, ranks: int) -> Cost:
    """Of an Allreduce that all ranks begin at once.

    >>> cost("ring", 4)
    Cost(messages=6, sent=1.5, added=0.75)
    """
    levels = ranks.bit_length() - 1
    power, beyond = 2**levels, int(ranks != 2**levels)
    return {
        "ring": Cost(2 * (ranks - 1), 2 * (ranks - 1) / ranks, (ranks - 1) / ranks),
        "tree": Cost(2 * (levels + beyond), 2 * (levels + beyond), levels + beyond),
        "recursive doubling": Cost(levels + 2 * beyond, levels + 2 * beyond, levels + beyond),
        "halving and doubling": Cost(
            2 * levels + 2 * beyond, 2 * (power - 1) / power + 2 * beyond, (power - 1) / power + beyond
        ),
    }[algorithm]


def quickest(ranks: int, size: int, network: Network) -> str:
    """The algorithm that takes the least time for an array of ``size`` bytes.

    >>> ethernet = Network("", 25e-6, 1e9)
    >>> [quickest(48, size, ethernet) for size in (8, 10**6, 10**8)]
    ['recursive doubling', 'halving and doubling', 'ring']
    """
    return min(ALGORITHMS, key=lambda name: cost(name, ranks).seconds(size, network))
