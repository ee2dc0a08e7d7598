"""Following a function: Python runs, and what it asks of Tensors is compared with what it asked for in earlier calls.

As long as the two agree nothing is computed: results are Tensors whose arrays are pending. Where a value is needed, and
in the end, the segment so far is computed, by a program that was made of it. What is new is done at
once, as without compiling, and noted for the next call.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import partial
from typing import Any, Callable, Literal
from weakref import ref

import numpy as np

from ..core import OPS, Op, Tensor
from ..core.arrays import PRIVATE, READ_ONLY, SHARED, snapshot
from ..core.context import Hook, _recording, _tracer
from ..core.node import LeafNode
from . import events
from .events import ARRAY, LEAF, NUMBER, RESULT, TENSOR, VALUE, Event, Pending, Place, can_be_compared, is_same

BY_VALUES = frozenset(
    (
        *("inv", "solve", "pinv", "det", "cofactors", "cofactors_along", "slogdet", "cholesky", "eigh", "svd", "qr"),
        *("matrix_rank", "take_along_axis", "scatter_along_axis", "choose", "argwhere", "searchsorted", "digitize"),
        *("bincount", "weighted_bincount", "unravel_index", "ravel_multi_index", "repeat", "unique_part", "isin"),
        *("undefined_where", "lexsort", "nanargmax", "nanargmin"),
    )
)
"""Ops that are computed at once: whether they raise an error, or the shape of their result, depends on values."""

ARITHMETIC = frozenset(("add", "subtract", "multiply", "divide"))
"""Ops in which a Python number may be another one in each call."""

MOST_READ = 2
"""Values that are read of a segment, each computed by itself, before it ends."""

MOST_COURSES = 32
"""Events that are kept as what may come after another."""

LARGEST_NUMBER = 1e30
"""Of those that may be another one in each call, so that single precision has it."""


class Following:
    """One call of a compiled function, as the tracer that it runs under.

    Attributes
    ----------
    new_events
        How many events were new.

    Parameters
    ----------
    root
        Of the tree of what it has done in earlier calls.
    run
        ``run(event, alive, leaves, inputs, effects)`` computes the segment that ends with an event: arrays and nodes
        for those results that are ``alive``, or None if the events have to be done one by one.
    """

    follows: Literal[True] = True

    def __init__(self, root: Event, run: Callable[..., Any]) -> None:
        self._at, self._run, self.new_events = root, run, 0
        self._begin()

    def _begin(self) -> None:
        """A segment begins."""
        self._start = self._at
        self._observing = False
        self._results: list[ref[Tensor]] = []
        self._leaves: list[Tensor] = []
        self._slots: dict[int, int] = {}
        self._inputs: list[Any] = []
        self._read: dict[int, Tensor] = {}
        self._copied: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._known: dict[int, Any] = {}
        self._gradients: dict[int, object] = {}
        self._observed: dict[int, tuple[ref[Tensor], Pending]] = {}
        self._undo: list[tuple[Event, Callable[[], None]]] = []

    # What the function does

    def follow(
        self,
        what: Any,
        operands: tuple[Any, ...],
        settings: dict[str, Any],
        changed: int = 0,
        undo: Callable[[], None] | None = None,
    ) -> Any:
        """Apply an op or another function to Tensors; it changes the first ``changed`` ones in place."""
        recording = _recording.get()
        for event in self._at.after:
            is_same_call = event.what is what or (type(what) is not Op and event.what == what)
            if is_same_call and event.recording is recording and self._fits(event, operands, settings):
                break
        else:
            return self._do_new(what, operands, settings, changed, undo)
        if self._observing:
            return self._observe(event, operands, settings)
        self._at = event
        if undo is not None:
            self._undo.append((event, undo))
        is_to_be_done = bool(event.gradients) and self._shows_gradients(event)
        if event.gives:
            self._gradients.update(event.gives)
        if is_to_be_done:
            self.cut()
        if event.result is None:
            return None
        out: Any = _new_tensor(Tensor)
        out._array, out._grad, out._view, out._memory = event.result, None, None, READ_ONLY
        out._requires_grad, out._node = event.requires_grad, event.node
        self._results.append(ref(out))
        return out

    def _fits(self, event: Event, operands: tuple[Any, ...], settings: dict[str, Any]) -> bool:
        """Whether it is this event again; if so, its leaves and inputs are noted."""
        places, inputs, leaves = event.places, len(self._inputs), len(self._leaves)
        slots, noted, read = self._slots, self._leaves, self._read
        if len(operands) == len(places) and (not (settings or event.settings) or is_same(settings, event.settings)):
            for operand, place in zip(operands, places):
                kind = place[0]
                if kind == RESULT:
                    if type(operand) is not Tensor:
                        break
                    if (self._pending(operand) if self._observing else operand._array) is not place[1]:
                        break
                elif kind == LEAF:
                    slot = slots.get(id(operand))
                    if slot is None:
                        if place[1] < len(noted) or (read and id(operand) in read):
                            break
                        is_known = operand is place[3] and operand._array is place[4] and operand._memory is PRIVATE
                        is_known = is_known and operand._requires_grad is place[2][2]
                        if not (is_known or _is_leaf_again(operand, place)):
                            break
                        slots[id(operand)] = place[1]
                        noted.append(operand)
                    elif slot != place[1]:
                        break
                elif kind == VALUE:
                    if operand is not place[1] and not is_same(operand, place[1]):
                        break
                elif not self._is_input(operand, place) or (event.is_view and self._inputs[-1] is not operand):
                    break
            else:
                if not event.gradients or self._has_gradients(event.gradients):
                    return True
        self._forget(inputs, leaves)
        return False

    def _is_input(self, operand: Any, place: Place) -> bool:
        kind, shape, _, dtype = place
        given: Any
        if kind == NUMBER:
            if type(operand) not in (int, float) or not -LARGEST_NUMBER < operand < LARGEST_NUMBER:
                return False
            given = np.array(operand, dtype)
        elif kind == TENSOR:
            if type(operand) is not Tensor or operand._array.shape != shape or operand._array.dtype != dtype:
                return False
            given = self._given(operand)
            if given is None:
                return False
            self._read[id(operand)] = operand
        else:
            given = self._array(operand)
            if given is None or given.shape != shape or given.dtype != dtype:
                return False
        self._inputs.append(given)
        return True

    def _has_gradients(self, expected: dict[int, object]) -> bool:
        """Whether the ``.grad`` of the leaves are such as they were."""
        for slot, kind in expected.items():
            now = self._gradients[slot] if slot in self._gradients else _gradient(self._leaves[slot])
            if now is not kind and (type(now) is not tuple or type(kind) is not tuple or now != kind):
                return False
        return True

    def _shows_gradients(self, event: Event) -> bool:
        """Whether arrays that others may write into are ``.grad`` of its leaves; of a backward pass, copies will do."""
        seen = [self._leaves[slot] for slot in event.gradients if slot not in self._gradients]
        seen = [leaf for leaf in seen if leaf._grad is not None and not getattr(leaf, "_grad_is_lent", False)]
        if seen and event.what is events.backward:
            for leaf in seen:
                leaf._grad = copy(leaf._grad)
            return False
        return bool(seen)

    def _forget(self, inputs: int, leaves: int) -> None:
        del self._inputs[inputs:]
        for leaf in self._leaves[leaves:]:
            del self._slots[id(leaf)]
        del self._leaves[leaves:]

    def _do_new(self, what: Any, operands: Any, settings: Any, changed: int, undo: Callable[[], None] | None) -> Any:
        """Something that has not come here before: done at once, and noted where it can be followed."""
        if Tensor not in map(type, operands):
            return eagerly(what, operands, settings)
        if changed and any(id(tensor) in self._read for tensor in operands[:changed]):
            self.cut()
        inputs, leaves = len(self._inputs), len(self._leaves)
        places = self._places(what, operands, settings, changed)
        if places is None:
            self._forget(inputs, leaves)
            return self.at_once(partial(what, **settings), *operands)
        self._do_pending()
        event = Event(what, self._at, places, settings)
        try:
            result = self._observe(event, operands, settings)
        except BaseException:
            self._forget(inputs, leaves)
            raise
        if event.is_view and any(place[0] == TENSOR for place in places) and self._inputs[-1] is not operands[0]:
            before: Any = self._at.before
            before.after.remove(event)  # a view of what somebody else writes into
            self._at = before
            self.cut()
        return result

    def _observe(self, event: Event, operands: object, settings: object) -> Any:
        """Do it at once, and note what it has given."""
        counts = type(event.what) is not Op
        before = [(leaf._grad, _gradient(leaf)) for leaf in self._leaves] if counts else []
        result = eagerly(event.what, operands, settings)
        if event not in self._at.after:
            slots = [slot for slot, (gradient, _) in enumerate(before) if self._leaves[slot]._grad is not gradient]
            if event.what is events.forget_gradients:
                event.gives = {place[1]: None for place in event.places}
            else:
                event.gives = {slot: _gradient(self._leaves[slot]) for slot in slots}
                counting = slots if event.what is events.backward else [p[1] for p in event.places if p[0] == LEAF]
                event.gradients = {slot: before[slot][1] for slot in counting} if counts and result is None else {}
            if result is not None:
                event.give(len(self._results), result)
            self.new_events += 1
            self._at.after.insert(0, event)
            del self._at.after[MOST_COURSES:]
        self._at = event
        if event.result is not None:
            self._results.append(ref(result))
            self._observed[id(result)] = (self._results[-1], event.result)
        return result

    def _places(self, what: Any, operands: Sequence[Any], settings: Any, changed: int) -> tuple[Place, ...] | None:
        if not _can_be_followed(what, operands) or not all(map(can_be_compared, settings.values())):
            return None
        if isinstance(_recording.get(), Hook):
            return None
        found = []
        for position, operand in enumerate(operands):
            place = self._place(operand, position < changed)
            if place is None:
                return None
            found.append(place)
        numbers = [i for i, p in enumerate(found) if p[0] == VALUE and type(p[1]) in (int, float)]
        if len(numbers) == 1 and len(found) == 2 and getattr(what, "name", "") in ARITHMETIC:
            other = operands[1 - numbers[0]]
            if other.dtype in _SINGLE_OR_DOUBLE and any(
                self._differs_in_number(e, what, found) for e in self._at.after
            ):
                found[numbers[0]] = self._number(found[numbers[0]][1], other.dtype) or found[numbers[0]]
        return tuple(found)

    def _differs_in_number(self, event: Event, what: object, places: list[Place]) -> bool:
        if event.what is not what or len(event.places) != len(places):
            return False
        pairs = zip(event.places, places)
        return all(a[0] == b[0] and (a[0] == VALUE or a[:2] == b[:2]) for a, b in pairs)

    def _number(self, number: float, dtype: np.dtype) -> Place | None:
        if not -LARGEST_NUMBER < number < LARGEST_NUMBER:
            return None
        self._inputs.append(np.array(number, dtype))
        return NUMBER, (), len(self._inputs) - 1, dtype

    def _place(self, operand: object, changes: bool) -> Place | None:
        """What an operand is, so that it can be told in the next call; None if it cannot."""
        if type(operand) is Tensor:
            pending = self._pending(operand)
            if pending is not None:
                return RESULT, pending
            slot = self._slots.get(id(operand))
            if slot is not None:
                return [LEAF, slot, _kind_of(operand), None, None]
            if (operand._requires_grad or changes) and _is_leaf(operand):
                self._slots[id(operand)] = len(self._leaves)
                self._leaves.append(operand)
                return [LEAF, len(self._leaves) - 1, _kind_of(operand), None, None]
            given = None if changes else self._given(operand)
            if given is None:
                return None
            self._read[id(operand)] = operand
            self._inputs.append(given)
            return TENSOR, operand.shape, len(self._inputs) - 1, operand.dtype
        if (array := self._array(operand)) is not None:
            self._inputs.append(array)
            return ARRAY, array.shape, len(self._inputs) - 1, array.dtype
        return (VALUE, operand) if can_be_compared(operand) else None

    def _given(self, tensor: Tensor) -> Tensor | None:
        """A Tensor from outside that is not changed, as it is now; None if its history counts."""
        array, node = tensor._array, tensor._node
        if type(array) is not np.ndarray or tensor._view is not None or (node is not None and node.op is not None):
            return None
        if tensor._memory is not SHARED:
            return None if tensor._requires_grad else tensor
        if tensor._requires_grad and _recording.get():
            return None
        now: Any = _new_tensor(Tensor)
        now._array, now._memory, now._requires_grad = snapshot(array), PRIVATE, False
        now._grad, now._view, now._node = None, None, LeafNode()
        return now  # type: ignore[no-any-return]

    def _array(self, operand: object) -> Any:
        """The values of an operand now, as an array; None for what is no array of numbers, list or tuple."""
        if type(operand) is not np.ndarray:
            if not isinstance(operand, (np.generic, list, tuple)):
                return None
            try:
                operand = np.array(operand)
            except (TypeError, ValueError):
                return None
        if operand.dtype.kind not in "fiubc" or not operand.dtype.isnative:
            return None
        if operand.flags.writeable and id(operand) not in self._copied:
            copied = operand.copy(order="K")
            self._copied[id(operand)] = operand, copied
            return copied
        return snapshot(operand)

    def _pending(self, tensor: Tensor) -> Pending | None:
        """What stands for it, if it is a result of this segment."""
        if self._observing:
            known = self._observed.get(id(tensor))
            return known[1] if known is not None and known[0]() is tensor else None
        return tensor._array if type(tensor._array) is Pending else None

    # Where values are needed

    def cut(self) -> None:
        """End the segment: everything so far has been done, as if each thing had been done at once."""
        if self._at is self._start:
            return
        try:
            if not self._observing:
                self._compute()
        finally:
            self._end()

    def _end(self) -> None:
        for event in self._at.after:
            if event.what is events.cut:
                break
        else:
            event = Event(events.cut, self._at)
            self.new_events += 1
            self._at.after.append(event)
        self._at = event
        self._begin()

    def _compute(self) -> None:
        alive = tuple([i for i, result in enumerate(self._results) if result() is not None])
        token = _tracer.set(None)
        try:
            found = self._run(self._at, alive, self._leaves, self._inputs)
            if found is None:
                self._do_one_by_one()
            else:
                for index, (array, node) in zip(alive, found):
                    tensor = self._results[index]()
                    if tensor is not None:
                        tensor._array, tensor._node = self._known.get(index, array), node
        finally:
            _tracer.reset(token)

    def _do_pending(self) -> None:
        """Do what is pending one by one: from now on in this segment nothing is."""
        if self._observing:
            return
        try:
            eagerly(self._do_one_by_one, (), {})
        except BaseException:
            self._end()
            raise
        self._gradients.clear()
        self._observing = True

    def _do_one_by_one(self) -> None:
        results: list[Any] = []
        done = set()
        try:
            for event in self._at.segment():
                value = event.do(results, self._leaves, self._inputs)
                done.add(event)
                if event.result is not None:
                    tensor = self._results[len(results)]()
                    if tensor is not None:
                        _become(tensor, value)
                        self._observed[id(tensor)] = (self._results[len(results)], event.result)
                        value = tensor
                    results.append(value)
        except BaseException:
            for event, undo in reversed(self._undo):
                if event not in done:
                    undo()
            raise

    # What the engine asks for

    def at_once(self, function: Callable[..., Any], *args: object) -> Any:
        """``function(*args)``, after everything before it has been done, and not followed."""
        self.cut()
        return eagerly(function, args, {})

    def stand_in(self, tensor: Tensor) -> Tensor:
        """The Tensor itself, once it is what it would be without compiling."""
        root = tensor if tensor._view is None else tensor._view.root
        for x in (tensor, root):
            if id(x) in self._slots or id(x) in self._read or self._pending(x) is not None:
                self.cut()
        return tensor

    def reading(self, tensor: Tensor) -> Tensor:
        """The Tensor itself, or one with its value alone, where the history that leads to it is still to be used."""
        pending = self._pending(tensor)
        if pending is None or not self._keeps_history(pending.index):
            return self.stand_in(tensor)
        if self._observing:
            self._known[pending.index] = None
            return tensor
        if pending.index not in self._known:
            token = _tracer.set(None)
            try:
                found = self._run(self._at, (pending.index,), self._leaves, self._inputs, False)
            finally:
                _tracer.reset(token)
            if found is None:
                return self.stand_in(tensor)
            ((self._known[pending.index], _),) = found
        value: Any = _new_tensor(Tensor)
        value._array, value._view = self._known[pending.index], None
        return value  # type: ignore[no-any-return]

    def _keeps_history(self, index: int) -> bool:
        """Whether to go on with the segment after a value has been read: a backward pass is yet to come."""
        if index not in self._known and len(self._known) >= MOST_READ:
            return False
        tensors = (result() for result in self._results)
        if not any(tensor is not None and tensor._requires_grad for tensor in tensors):
            return False
        return all(event.what is not events.backward for event in self._at.segment())

    def original(self, tensor: Tensor) -> Tensor:
        """Itself."""
        return tensor

    def made(self, tensor: Tensor) -> Tensor:
        """Itself."""
        return tensor

    def changing_history(self, tensor: Tensor) -> None:
        """``.requires_grad`` is about to be set."""
        self.stand_in(tensor)

    def reading_gradient(self, tensor: Tensor) -> Tensor:
        """``.grad`` is about to be read."""
        return self.stand_in(tensor)

    def set_gradient(self, tensor: Tensor, value: Any) -> None:
        """Set ``.grad``."""
        if value is None and (id(tensor) in self._slots or (_is_leaf(tensor) and id(tensor) not in self._read)):
            self.follow(events.forget_gradients, (tensor,), {}, changed=1)
        else:
            self.stand_in(tensor)
            tensor._grad, tensor._grad_is_lent = value, False

    def forget_gradients(self, tensors: Sequence[Tensor]) -> None:
        """Set ``.grad`` of all to None."""
        self.follow(events.forget_gradients, tuple(tensors), {}, changed=len(tensors))

    def has_gradient(self, tensor: Tensor) -> bool:
        """Whether ``.grad`` is not None."""
        slot = self._slots.get(id(tensor), -1)
        return self._gradients.get(slot, tensor._grad) is not None

    def backward(self, tensor: Tensor, gradient: object, retain_graph: bool) -> None:
        """Note the backward pass, or do it."""
        if gradient is not None or not tensor._requires_grad or self._pending(tensor) is None:
            self.at_once(tensor.backward, gradient, retain_graph)
        else:
            self.follow(events.backward, (tensor,), {"retain_graph": retain_graph})

    def io_callback(self, function: Callable[..., Any], example: Callable[[], Any]) -> Any:
        """An array from Python, now."""
        return function()

    def check(self, function: Callable[..., None], arrays: Sequence[object], now: bool) -> None:
        """Check at once what is known, or has to be."""
        pending = [x for x in arrays if type(x) is Tensor and self._pending(x) is not None]
        if pending and not now:
            self.follow(events.check, tuple(arrays), {"function": function})
        else:
            function(*(x._current() if type(x) is Tensor else x for x in arrays))

    def guard(self, owner: object, attribute: str, value: object) -> None:
        """Nothing is to be done: Python reads it in each call."""

    def refuse_to_set(self, owner: object, attribute: str) -> None:
        """Nothing is refused."""

    def refuse_to_keep(self, owner: object, attribute: str, value: object) -> None:
        """Nothing is refused."""


def eagerly(what: Any, operands: Any, settings: Any) -> Any:
    """Call it as without compiling."""
    token = _tracer.set(None)
    try:
        return what(*operands, **settings)
    finally:
        _tracer.reset(token)


def _become(tensor: Tensor, other: Tensor) -> None:
    tensor._array, tensor._memory, tensor._node = other._array, other._memory, other._node
    tensor._view, tensor._requires_grad = other._view, other._requires_grad
    tensor._grad, tensor._grad_is_lent = other._grad, False


def _is_leaf(tensor: Tensor) -> bool:
    """Whether it is an array that only the library writes into, and that was not computed by what is recorded."""
    node = tensor._node
    return (
        tensor._view is None
        and type(tensor._array) is np.ndarray
        and tensor._memory is not SHARED
        and (node is None or node.op is None)
    )


def _is_leaf_again(tensor: Any, place: Any) -> bool:
    """Whether it is a leaf of the same kind; it is then noted for the next call."""
    if type(tensor) is not Tensor or not _is_leaf(tensor) or _kind_of(tensor) != place[2]:
        return False
    place[3:] = tensor, tensor._array
    return True


def _kind_of(tensor: Tensor) -> tuple[object, ...]:
    array = tensor._array
    return array.shape, array.dtype, tensor._requires_grad, array.flags.c_contiguous


def _gradient(tensor: Tensor) -> object:
    return events.kind_of_gradient(tensor._grad)


_followed: dict[Op, bool] = {}


def _can_be_followed(what: object, operands: Sequence[Any]) -> bool:
    """Whether it is of this library, and neither its errors nor the shape of its result depend on values."""
    if type(what) is not Op:
        return True
    if what not in _followed:
        functions = [f for f in (what.forward, *what.rules) if f is not None and not isinstance(f, np.ufunc)]
        own = all(str(getattr(f, "__module__", "")).partition(".")[0] == _OWN for f in functions)
        _followed[what] = own and what.name not in BY_VALUES and OPS.get(what.name) is what
    if what.name == "power":  # which integers to negative ones have not
        return _followed[what] and all(getattr(x, "dtype", _FLOAT).kind in "fc" for x in operands)
    return _followed[what]


_FLOAT = np.dtype(float)
_SINGLE_OR_DOUBLE = (np.dtype(np.float32), np.dtype(np.float64))
_OWN = __name__.partition(".")[0]
_new_tensor = Tensor.__new__
