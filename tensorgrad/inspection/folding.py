"""Folding: repeated parts of a graph, such as the steps of a recurrent network, are drawn once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .graph import OPERATION, Vertex

LEAST, SPARED, LONGEST = 3, 8, 300
"""Repeats, and ops spared, from which on repeats are folded; and the most ops of one of them."""


class Fold(NamedTuple):
    """Ops ``start`` to ``start + period * repeats``: the same ``period`` of them, ``repeats`` times over."""

    start: int
    period: int
    repeats: int

    @property
    def stop(self) -> int:
        return self.start + self.period * self.repeats

    @property
    def spared(self) -> int:
        """Ops that need not be shown."""
        return self.period * (self.repeats - 1)


def find_folds(ops: Sequence[Vertex]) -> list[Fold]:
    """The repeats among ops in the order in which they were computed, those that spare most first."""
    repeats = _Repeats(ops)
    folds, ranges = [], [(0, len(ops))]
    while ranges:
        start, stop = ranges.pop()
        best = repeats.best(start, stop)
        if best is not None:
            folds.append(best)
            ranges += [(start, best.start), (best.stop, stop)]
    return folds


class _Repeats:
    """Which ops of a sequence do the same as those some ops later."""

    def __init__(self, ops: Sequence[Vertex]) -> None:
        self._ops = ops
        self._position = {op: i for i, op in enumerate(ops)}
        known: dict[object, int] = {}
        self._looks = np.array([known.setdefault(_looks(op), len(known)) for op in ops])

    def best(self, start: int, stop: int) -> Fold | None:
        """The fold between two positions that spares most."""
        best: Fold | None = None
        for period in range(1, min(LONGEST, (stop - start) // LEAST) + 1):
            if best is not None and best.spared >= stop - start - period:
                break  # longer ones cannot spare more
            alike = self._looks[start : stop - period] == self._looks[start + period : stop]
            for first, last in _stretches(alike):
                if last - first >= (LEAST - 1) * period:
                    fold = self._longest(start + first, start + last, period)
                    if fold is not None and (best is None or fold.spared > best.spared):
                        best = fold
        return best

    def _longest(self, start: int, stop: int, period: int) -> Fold | None:
        """The longest fold of that period in a stretch where each op looks like the one ``period`` later."""
        same = np.array([self._is_same(i, i + period, start) for i in range(start, stop)])
        found = [(last - first, first) for first, last in _stretches(same)]
        length, first = max(found, default=(0, 0))
        repeats = (length + period) // period
        if repeats < LEAST or (repeats - 1) * period < SPARED:
            return None
        spare = (length + period) % period
        places = range(start + first, start + first + spare + 1)
        return Fold(min(places, key=lambda place: (self._crossing(place, period), -place)), period, repeats)

    def _crossing(self, start: int, period: int) -> int:
        """How many lines lead from one repeat to the next, if the repeats start there."""
        second = range(start + period, start + 2 * period)
        sources = {operand for i in second for operand in self._ops[i].operands if operand.kind == OPERATION}
        return sum(start <= self._position[source] < start + period for source in sources)

    def _is_same(self, one: int, other: int, start: int) -> bool:
        """Whether two ops have operands that correspond.

        Those are the same, or as far from each other as the two ops are, or look alike and come before all of this.
        """
        for first, second in zip(self._ops[one].operands, self._ops[other].operands):
            if first.kind != second.kind:
                return False
            if first.kind == OPERATION:
                near, far = self._position[first], self._position[second]
                is_before = max(near, far) < start and self._looks[near] == self._looks[far]
                if far - near not in (0, other - one) and not is_before:
                    return False
            elif first is not second and _content(first) != _content(second):
                return False
        return True


def _looks(op: Vertex) -> object:
    """What two ops have in common that do the same."""
    node = op.node
    assert node is not None and node.op is not None
    settings = {name: repr(value) for name, value in node.settings.items() if name != "index"}
    shapes = tuple((operand.kind, np.shape(operand.array)) for operand in op.operands)
    return node.op.name, op.array.shape, op.array.dtype, shapes, tuple(settings.items())


def _content(leaf: Vertex) -> object:
    """What has to agree of two leaves: shape and dtype; numbers may differ."""
    return leaf.is_number or np.shape(leaf.array), getattr(leaf.array, "dtype", None)


def _stretches(flags: np.ndarray) -> list[tuple[int, int]]:
    """Where flags that are true follow each other: the first of them, and the one behind the last."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist()))
