"""Segments of followed events, computed: each by a program that was made of it, where one can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core import Tensor
from ..core.node import Node
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
        given = [_in_c_order(array_of(x)) for x in inputs]
        values = [Value("argument", array.shape, array.dtype, index) for index, array in enumerate(given)]
        capture = Capture()
        self._nodes: list[Node | None] = []
        traced = [Traced(capture, value, array) for value, array in zip(values, given)]
        program = capture.record(self._do, (last.segment(), alive, list(leaves), traced, effects), {}, effects)
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

    def _do(
        self, segment: list[Event], alive: tuple[int, ...], leaves: list[Tensor], inputs: list[Any], effects: bool
    ) -> list[Any]:
        """Do the events, to be recorded: the arrays that are needed."""
        for event in segment:
            for place in event.places:
                if place[0] == TENSOR:
                    inputs[place[2]] = Tensor(inputs[place[2]])
        results: list[Tensor] = []
        for event in segment:
            if event.what is events.check:
                event = _raising(event)
            result = event.do(results, leaves, inputs)
            if event.result is not None:
                results.append(result)
        needed = [results[index] for index in alive]
        nodes = [tensor._node if tensor._requires_grad else None for tensor in needed]
        self._nodes = [None if node is None else node.without_history() for node in nodes]
        if effects and any(tensor._view is not None or _has_history(tensor) for tensor in needed):
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


def _has_history(tensor: Tensor) -> bool:
    return tensor._node is not None and tensor._node.arrays is not None


def array_of(given: object) -> Any:
    """The array of an input."""
    return given._array if type(given) is Tensor else given


def _in_c_order(array: Any) -> Any:
    return array if array.flags.c_contiguous else array.copy()
