"""Capturing: a function runs once on traced arrays, and what NumPy was asked to do becomes a program."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Callable, Literal, cast
from weakref import ref

import numpy as np

from .._pytree import LEAF, tree_flatten, tree_unflatten
from ..core import Op, Tensor
from ..core.arrays import PRIVATE
from ..core.context import _tracer, generator_like, no_grad, recorded
from ..core.inplace import View
from ..core.node import LeafNode
from .program import Program, TensorOutput, Value
from .traced import Call, CaptureError, Recorder, Traced, example_of


class Capture(Recorder):
    """One recording. Tensors from outside are found when they are first used; others stand in for them.

    ``draws=False`` if running the program is to leave random generators and counters as they are.
    """

    follows: Literal[False] = False

    def __init__(self, draws: bool = True) -> None:
        super().__init__()
        self._draws = draws
        self._stand_ins: dict[int, Tensor] = {}
        self._leaves: dict[int, _Leaf] = {}
        self._wrappers: list[tuple[Tensor, Any]] = []
        self._watched: set[tuple[int, str]] = set()

    # What the engine asks for while the function runs

    def stand_in(self, tensor: Tensor) -> Tensor:
        """For a Tensor from outside another one, on which the function runs; itself for one that was made inside."""
        if type(tensor._array) is Traced or id(tensor) in self._leaves:
            return self._traced(tensor)
        found = self._stand_ins.get(id(tensor))
        if found is None:
            found = self._new_leaf(tensor) if tensor._view is None else self._new_view(tensor._view)
            self._stand_ins[id(tensor)] = found
            self._alive.append(tensor)
        return self._traced(found)

    reading = stand_in

    def original(self, tensor: Tensor) -> Tensor:
        """The Tensor that one stands in for; itself if it does for none."""
        return self._leaves[id(tensor)].tensor if id(tensor) in self._leaves else tensor

    def made(self, tensor: Tensor) -> Tensor:
        """A Tensor made inside, perhaps from an array that is not traced."""
        return self._traced(tensor)

    def _traced(self, tensor: Tensor) -> Tensor:
        if type(tensor._array) is not Traced:
            tensor._array = cast(Any, self.constant(tensor._array))
        return tensor

    def _new_view(self, view: View) -> Tensor:
        """The same view of what stands in for the base."""
        with recorded() if view.is_recorded else no_grad():
            found: Tensor = view.op(view.base, **view.settings)
        return found

    def _new_leaf(self, tensor: Tensor) -> Tensor:
        if tensor._node is not None and tensor._node.op is not None:
            raise CaptureError(
                f"compile: a tensor of shape {tensor.shape} was computed outside the compiled function and still has "
                "its history; compute it inside, or pass tensor.detach()"
            )
        if type(tensor._array) is not np.ndarray:
            raise CaptureError(f"compile: takes NumPy arrays, got a Tensor of {type(tensor._array).__name__}")
        value = Value("leaf", tensor.shape, tensor.dtype, len(self._leaves))
        leaf = _Leaf(tensor, value.index, self.contiguous(value, tensor._array))
        self._leaves[id(leaf.stand_in)] = leaf
        self.program.leaves.append(tensor)
        if tensor.dtype.kind in "fc":
            self.program.guarded.append((tensor, "_requires_grad", tensor._requires_grad))
        return leaf.stand_in

    def contiguous(self, value: Value, example: np.ndarray) -> Traced:
        """A value from outside, in C order: that is what a program works on."""
        traced = Traced(self, value, example)
        if example.flags.c_contiguous:
            return traced
        found: Traced = self.call(np.ascontiguousarray, (traced,), {})
        return found

    def wrapped(self, traced: Traced) -> Tensor:
        """An argument that is a Tensor without gradient, as the function gets it."""
        tensor = Tensor(traced)
        self._wrappers.append((tensor, traced))
        return tensor

    def reading_gradient(self, tensor: Tensor) -> Tensor:
        """The Tensor whose ``.grad`` is read in the place of that of one."""
        tensor = self.stand_in(tensor)
        leaf = self._leaves.get(id(tensor))
        if leaf is None or leaf.grad_is_known:
            return tensor
        leaf.grad_is_known = True
        owner, grad = leaf.tensor, leaf.tensor._grad
        if isinstance(grad, (np.ndarray, np.generic)):
            grad = np.asarray(grad)
            value = Value("gradient", grad.shape, grad.dtype, leaf.index)
            tensor._grad = cast(Any, self.contiguous(value, grad))
            self.program.guards.append(_fits(owner, grad.shape, grad.dtype, grad.flags.c_contiguous))
        else:  # None, or something to be refused
            tensor._grad = grad
            self.program.guards.append(lambda: owner._grad is grad)
        return tensor

    def set_gradient(self, tensor: Tensor, value: Any) -> None:
        """Set ``.grad`` of what stands in for it."""
        tensor = self.stand_in(tensor)
        if (leaf := self._leaves.get(id(tensor))) is not None:
            leaf.grad_is_known = leaf.grad_is_set = True
        tensor._grad, tensor._grad_is_lent = value, False

    def has_gradient(self, tensor: Tensor) -> bool:
        """Whether ``.grad`` is not None."""
        return self.reading_gradient(tensor)._grad is not None

    def io_callback(self, function: Callable[..., Any], example: Callable[[], Any]) -> Traced:
        """An array that comes from outside again in every replay, such as random numbers."""
        return self._drawn(Call("source", function, (), {}), example())

    def compute(self, op: Op, arrays: Sequence[Any], settings: dict[str, Any]) -> Any:
        """What the op's forward function gives: as one instruction if it works on real arrays only."""
        if not op.opaque:
            return op.forward(*arrays, **settings)
        if op.effect is not None:
            example = op.effect(*map(example_of, arrays), **settings)
            return self.emit(Call("source", op.forward, tuple(arrays), settings), example)
        if not any(isinstance(value, np.random.Generator) for value in settings.values()):
            return self.call(op.forward, arrays, settings, "fill" if op.takes_out else "call")
        memo = {id(x): generator_like(x) for x in settings.values() if isinstance(x, np.random.Generator)}
        example = op.forward(*map(example_of, arrays), **copy.deepcopy(settings, memo))
        return self._drawn(Call("source", op.forward, tuple(arrays), settings), example)

    def _drawn(self, call: Call, example: object) -> Traced:
        """What is new in each replay; without draws, as it is this time."""
        return self.emit(call, example) if self._draws else self.constant(np.asarray(example))

    def check(self, function: Callable[..., None], arrays: Sequence[object], now: bool) -> None:
        """A check made in every replay, before anything outside is changed; and now, if what follows relies on it."""
        arrays = [x._current() if isinstance(x, Tensor) else x for x in arrays]
        if now:
            function(*map(example_of, arrays))
        self.emit(Call("check", function, tuple(arrays), {}), np.empty(0))

    def guard(self, owner: object, attribute: str, value: object) -> None:
        """The program is for this value of an attribute only."""
        if (id(owner), attribute) not in self._watched:
            self._watched.add((id(owner), attribute))
            value = copy.copy(value) if isinstance(value, (list, dict)) else value
            self.program.guarded.append((owner, attribute, value))

    def refuse_to_set(self, owner: object, attribute: str) -> None:
        """For what a replay would leave undone."""
        raise CaptureError(
            f"{type(owner).__name__}.{attribute}: cannot be set inside a compiled function; set it before the call"
        )

    def refuse_to_keep(self, owner: object, attribute: str, value: object) -> None:
        """For an attribute that is set to what is computed, which a replay would leave as it is."""
        if isinstance(value, Traced) or (isinstance(value, Tensor) and isinstance(value._array, Traced)):
            raise CaptureError(
                f"{type(owner).__name__}.{attribute}: cannot be set to a tensor of a compiled function, as a replay "
                "would not do it; return the tensor, or assign to the .data of one that is there already"
            )

    def changing_history(self, tensor: Tensor) -> None:
        """For a tensor that would keep a history, which a replay does not have."""
        if id(tensor) in self._leaves or type(tensor._array) is not Traced:
            raise CaptureError(
                f"compile: a tensor of shape {tensor.shape} from outside is given a history, by an assignment or by "
                "requires_grad; change a copy inside (x = x + 0)"
            )

    # The recording itself

    def record(self, function: Callable[..., Any], args: Sequence[Any], settings: Any, effects: bool = True) -> Program:
        """Run ``function`` and return its program; without ``effects`` one that computes the result alone."""
        token = _tracer.set(self)
        try:
            with np.errstate(all="ignore"):  # the program itself will say it
                result = function(*args, **settings)
            leaves, self.program.structure = tree_flatten(result)
            self.program.outputs = [self._output(leaf) for leaf in leaves]
            if effects:
                self._note_effects()
        finally:
            _tracer.reset(token)
            for kept in (self._alive, self._known, self._constants, self._stand_ins, self._leaves, self._wrappers):
                kept.clear()  # else traced arrays and this would keep each other alive
        return self.program.without_dead_code()

    def _note_effects(self) -> None:
        for leaf in self._leaves.values():
            tensor = leaf.stand_in
            if cast(Any, tensor._array) is not leaf.traced:
                self.program.stores.append((leaf.index, _plain(self._traced(tensor)._array)))
            if leaf.grad_is_set:
                self.program.gradients.append((leaf.index, _plain(tensor._grad)))
        for tensor, traced in self._wrappers:
            if tensor._array is not traced or tensor._requires_grad or tensor._grad is not None:
                raise CaptureError(
                    "compile: a Tensor that is an argument is changed inside (.data, .requires_grad or .grad); refer "
                    "to it by name instead of passing it, or pass it with requires_grad=True"
                )

    def _output(self, result: object) -> object:
        """A leaf of the result, as a Value if it is a traced array."""
        if isinstance(result, Traced):
            return result.value
        if isinstance(result, Tensor):
            node = result._node
            if node is not None and node.arrays is not None:
                raise CaptureError(
                    "compile: a returned tensor still has its history, which a replay does not have; call backward "
                    "inside the compiled function, compile the derivative itself, as in tg.compile(tg.grad(f), "
                    "pure=True), return tensor.detach(), or compile under no_grad"
                )
            if type(result._array) is not Traced or id(result) in self._leaves:
                return self.original(result)
            freed = None if result.is_leaf or node is None else node.without_history()
            return TensorOutput(result._array.value, _plain(result._grad), freed, result._requires_grad)
        return result


class _Leaf:
    """A Tensor from outside, and the one that stands in for it."""

    def __init__(self, tensor: Tensor, index: int, traced: Traced) -> None:
        self.tensor, self.index, self.traced = tensor, index, traced
        self.grad_is_known = self.grad_is_set = False
        self.stand_in = Tensor.__new__(Tensor)
        self.stand_in._array, self.stand_in._memory = cast(Any, traced), PRIVATE
        self.stand_in._grad = self.stand_in._view = None
        self.stand_in._requires_grad = tensor._requires_grad
        self.stand_in._node = LeafNode(ref(self.stand_in) if tensor._requires_grad else None)


def _plain(x: object) -> Any:
    return x.value if isinstance(x, Traced) else x


def _fits(tensor: Tensor, shape: tuple[int, ...], dtype: np.dtype, contiguous: bool) -> Callable[[], bool]:
    def fits() -> bool:
        grad = tensor._grad
        return (
            isinstance(grad, (np.ndarray, np.generic))
            and grad.shape == shape
            and grad.dtype == dtype
            and (grad.flags.c_contiguous or not contiguous)
        )

    return fits


def replayed_output(program: Program, arrays: dict[Value, np.ndarray]) -> Any:
    """The result of a replay: copies of the program's arrays in the place of Values."""
    if program.structure is LEAF:  # as most often
        return _replayed_leaf(program.outputs[0], arrays)
    return tree_unflatten(program.structure, [_replayed_leaf(leaf, arrays) for leaf in program.outputs])


def _replayed_leaf(leaf: object, arrays: dict[Value, np.ndarray]) -> Any:
    if isinstance(leaf, Value):
        return np.array(arrays[leaf])
    if isinstance(leaf, TensorOutput):
        tensor = Tensor(arrays[leaf.data])
        if leaf.requires_grad:
            tensor.requires_grad = True
        if leaf.node is not None:
            tensor._node = leaf.node
        tensor._grad = _replayed_leaf(leaf.grad, arrays)
        return tensor
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf
