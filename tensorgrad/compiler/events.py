"""What a compiled function does, as a tree of events: a path from the root for each sequence that there has been.

An event is a call of an op, a backward pass, a ``.grad`` that is forgotten, or a step of this library such as an
optimiser's. The events between two moments at which values are needed are a *segment*; within it, what the events
work on is told apart by its place: the result of an earlier event, a Tensor or array from outside, a Python number.
"""

from __future__ import annotations

import math
from types import FunctionType
from typing import Any, Callable, NoReturn, Union

import numpy as np

from ..core import Op, Tensor
from ..core.context import _recording, runtime_check
from ..core.node import Node

RESULT, LEAF, TENSOR, ARRAY, NUMBER, VALUE = range(6)
"""Kinds of operands: of an earlier event; a Tensor that may be changed; one that is not; an array; a Python number
whatever its value; a value such as None or a number."""

Place = Union[tuple[Any, ...], list[Any]]
"""The kind of an operand, and what it is: a result; the position of a leaf, its kind, and the Tensor and array that it
was in the last call; shape, position and dtype of an input; a value."""


class Pending:
    """Stands for the array of a result that has not been computed: its shape and dtype are known."""

    __slots__ = ("dtype", "index", "itemsize", "nbytes", "ndim", "shape", "size")
    base = None

    def __init__(self, index: int, array: np.ndarray) -> None:
        self.index, self.shape, self.dtype, self.ndim = index, array.shape, array.dtype, array.ndim
        self.size, self.nbytes, self.itemsize = array.size, array.nbytes, array.itemsize

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return int(self.shape[0])

    def __array__(self, dtype: object = None, copy: object = None) -> NoReturn:
        raise RuntimeError(
            "compile: a tensor of a compiled function is used by another thread before its value has been computed; "
            "read it in the function first (tensor.data)"
        )


class Event:
    """One event, and those that have come after it.

    Attributes
    ----------
    before
        The event that it comes after; None for the root of the tree, and the first of a segment comes after a ``cut``.
    what
        An op, or what else is done: see :meth:`do`.
    places
        What it works on.
    settings, recording
        Keyword arguments, and whether ops were recorded.
    gradients
        For each leaf whose ``.grad`` counts what it was before: see :func:`kind_of_gradient`.
    leaves_with_gradients
        The leaves whose ``.grad`` it changes, and to what.
    result
        What stands for the array of its result, if it has one.
    runs
        How to compute the segment that ends here, by the results that are needed: tried once so far, or something to
        call.
    """

    __slots__ = (
        *("after", "before", "gives", "gradients", "index", "is_view", "node", "places", "recording", "requires_grad"),
        *("result", "runs", "settings", "what"),
    )

    def __init__(self, what: Any, before: Event | None, places: tuple[Place, ...] = (), settings: Any = None) -> None:
        self.what, self.before, self.places, self.settings = what, before, places, settings or {}
        self.recording = _recording.get()
        self.after: list[Event] = []
        self.runs: dict[tuple[Any, ...], Any] = {}
        self.gradients: dict[int, object] = {}
        self.gives: dict[int, object] = {}
        self.result: Pending | None = None
        self.node: Node | None = None
        self.requires_grad = self.is_view = False

    def give(self, index: int, tensor: Tensor) -> None:
        """Note the result that it had, and its position among those of the segment."""
        self.result, self.requires_grad = Pending(index, tensor._array), tensor._requires_grad
        self.is_view = tensor._view is not None
        self.node = _HistoryToCome(self.what) if self.requires_grad else None

    def do(self, results: list[Any], leaves: list[Tensor], inputs: list[Any]) -> Any:
        """Do it: with the results of the events before, the leaves and the inputs of the segment."""
        operands = [_operand(place, results, leaves, inputs) for place in self.places]
        token = _recording.set(self.recording)
        try:
            return self.what(*operands, **self.settings)
        finally:
            _recording.reset(token)

    @property
    def name(self) -> str:
        """What is done."""
        return str(getattr(self.what, "name", getattr(self.what, "__name__", self.what)))

    def segment(self) -> list[Event]:
        """The events since the last cut, to this one."""
        found: list[Event] = []
        event: Event | None = self
        while event is not None and event.what is not cut:
            found.append(event)
            event = event.before
        return found[::-1]


class _HistoryToCome(Node):
    """The node of a result that has not been computed: it shows that there is a history."""

    __slots__ = ()

    def __init__(self, op: Op | None) -> None:
        self.op, self.sequence_nr = op, 0


def cut() -> None:
    """What ends a segment."""


def backward(tensor: Tensor, retain_graph: bool) -> None:
    """What :meth:`tensorgrad.Tensor.backward` does."""
    tensor.backward(retain_graph=retain_graph)


def forget_gradients(*tensors: Tensor) -> None:
    """What ``tensor.grad = None`` does."""
    for tensor in tensors:
        tensor.grad = None


def check(*tensors: Any, function: Callable[..., None]) -> None:
    """What :func:`tensorgrad.core.context.runtime_check` does, where nothing relies on it."""
    runtime_check(function, *tensors, now=False)


def _operand(place: Place, results: list[Any], leaves: list[Tensor], inputs: list[Any]) -> Any:
    kind, which = place[:2]
    if kind == RESULT:
        return results[which.index]
    if kind == LEAF:
        return leaves[which]
    return which if kind == VALUE else inputs[place[2]]


def kind_of_gradient(gradient: object) -> object:
    """Equal for gradients with which the same is done: the dtype and layout of an array, or the object that it is."""
    if type(gradient) is np.ndarray:
        return gradient.dtype, gradient.shape, gradient.flags.c_contiguous
    return gradient


def is_same(one: Any, other: Any) -> bool:
    """Whether settings, or Python values, are of the same types and values, signs of zeros included."""
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other):
        return False
    if kind is float:
        return bool(one == other and (one != 0 or math.copysign(1, one) == math.copysign(1, other)))
    if kind is tuple:
        return len(one) == len(other) and all(map(is_same, one, other))
    if kind is slice:
        return is_same((one.start, one.stop, one.step), (other.start, other.stop, other.step))
    if kind is complex:
        return is_same((one.real, one.imag), (other.real, other.imag))
    if kind is dict:
        return one.keys() == other.keys() and all(map(is_same, one.values(), map(other.get, one)))
    return kind in _COMPARED and bool(one == other)


def can_be_compared(value: object) -> bool:
    """Whether :func:`is_same` can tell it from others that are equal."""
    if type(value) is tuple:
        return all(map(can_be_compared, value))
    if type(value) is slice:
        return can_be_compared((value.start, value.stop, value.step))
    return value is None or type(value) in _COMPARED or isinstance(value, (float, complex, type, FunctionType))


_COMPARED = frozenset((int, bool, str, *(type(np.dtype(c)) for c in "?bBhHiIlLqQefdgFDG")))
