"""Segments of followed events, computed: each by a program that was made of it, where one can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Tensor
from ..core.node import LeafNode
from . import events
from .capture import Capture
from .emit import Executable
from .events import TENSOR, Event
from .memory import Workspace
from .program import Value
from .traced import CaptureError, Traced


class CheckFailed(Exception):
    """A check has failed, before anything was changed."""


class Segment:
    """What computes the events since a cut: ``segment(leaves, inputs)`` gives what is needed, as pairs (array, node).

    Without ``effects`` it computes results alone, and the events are still to be done. For ``sums_as_numpy`` see
    :class:`Compiled`.

    Raises
    ------
    CheckFailed
        When called, with nothing changed: the events are to be done one by one.
    """

    def __init__(
        self,
        last: Event,
        alive: tuple[int, ...],
        leaves: Sequence[Tensor],
        inputs: Sequence[Any],
        fast: bool,
        workspace: Workspace,
        effects: bool,
        sums_as_numpy: bool = False,
    ) -> None:
        given = [array_of(x) for x in inputs]
        values = [Value("argument", array.shape, array.dtype, index) for index, array in enumerate(given)]
        capture = Capture()
        again = _Again(capture, last.segment(), alive, values, given, effects)
        program = capture.record(again, (leaves,), {}, effects)
        self._nodes = again.nodes
        self.executable = Executable(program, values, fast, workspace, sums_as_numpy)
        self._shares_gradients = True
        slots = {id(leaf): slot for slot, leaf in enumerate(leaves)}
        self._slots = [slots[id(tensor)] for tensor in program.leaves]
        self._leaves = tuple(map(id, leaves))

    def __call__(self, leaves: Sequence[Tensor], inputs: Sequence[Any]) -> Any:
        given = tuple(map(id, leaves))
        if given != self._leaves:
            if self._shares_gradients:  # with programs that go on to work for the leaves of before
                self._shares_gradients, self.executable = False, self.executable.with_memory_of_its_own()
            self.executable.take_leaves([leaves[slot] for slot in self._slots])
            self._leaves = given
        arrays = self.executable([_in_c_order(array_of(x)) for x in inputs])
        return zip(arrays, self._nodes)


_NO_NODE = LeafNode()


class _Again:
    """The events of a segment as a function of the leaves that a program can be recorded of."""

    def __init__(
        self,
        capture: Capture,
        segment: list[Event],
        alive: tuple[int, ...],
        values: list[Value],
        given: list[np.ndarray],
        effects: bool,
    ) -> None:
        self._capture, self._segment, self._alive = capture, segment, alive
        self._values, self._given, self._effects = values, given, effects
        self.nodes: list[Any] = []  # of histories that have been freed

    def __call__(self, leaves: Sequence[Tensor]) -> list[Any]:
        inputs: list[Any] = [Traced(self._capture, v, _in_c_order(a)) for v, a in zip(self._values, self._given)]
        for event in self._segment:
            for place in event.places:
                if place[0] == TENSOR:
                    inputs[place[2]] = Tensor(inputs[place[2]])
        results: list[Any] = []
        for event in self._segment:
            if event.what is events.check:
                event = _raising(event)
            result = event.do(results, list(leaves), inputs)
            if event.result is not None:
                results.append(result)
        needed = [results[index] for index in self._alive]
        self.nodes = [tensor._node.without_history() if tensor._requires_grad else None for tensor in needed]
        if self._effects and any(
            tensor._view is not None or (tensor._node or _NO_NODE).arrays is not None for tensor in needed
        ):
            raise CaptureError("a result is needed with its history, or as a view of another one")
        return [tensor._array for tensor in needed]


def _raising(event: Event) -> Event:
    """The same check, which raises :class:`CheckFailed`."""
    function = event.settings["function"]

    def checked(*arrays: Any) -> None:
        try:
            function(*arrays)
        except Exception as error:
            raise CheckFailed from error

    again = Event(events.check, event.before, event.places, {"function": checked})
    again.recording = event.recording
    return again


def array_of(given: Any) -> Any:
    """The array of an input."""
    return given._array if type(given) is Tensor else given


def _in_c_order(array: Any) -> Any:
    return array if array.flags.c_contiguous else array.copy()
