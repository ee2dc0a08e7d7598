"""Capturing: a function runs once on traced arrays, and what NumPy was asked to do becomes a program."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Callable

import numpy as np

from .._pytree import LEAF, tree_flatten, tree_unflatten
from ..core import Tensor
from ..core.context import _capture
from ..core.node import clock
from .program import Program, TensorOutput, Value
from .traced import CaptureError, Recorder, Traced


class Capture(Recorder):
    """One recording. Tensors from outside are found when they are first used, and are as before in the end."""

    def __init__(self) -> None:
        super().__init__()
        self._leaves: dict[int, _Leaf] = {}
        self._wrappers: list[tuple[Tensor, Any]] = []
        self._watched: set[tuple[int, str]] = set()
        self._started = next(clock)

    # What the engine asks for while the function runs

    def lift(self, tensor: Tensor) -> Any:
        """What stands for the data of a Tensor."""
        if type(tensor._array) is Traced:
            return tensor._array
        leaf = self._leaves.get(id(tensor))
        if leaf is None:
            if self._is_made_inside(tensor):  # from arrays that are not traced
                tensor._array = self.constant(tensor._array)
                return tensor._array
            self._check_leaf(tensor)
            leaf = self._new_leaf(tensor)
        return leaf.traced if tensor._array is leaf.data else self.constant(tensor._array)

    def _is_made_inside(self, tensor: Tensor) -> bool:
        return tensor._node is not None and tensor._node.order > self._started

    def _check_leaf(self, tensor: Tensor) -> None:
        if tensor._node is not None and tensor._node.op is not None:
            raise CaptureError(
                f"compile: a tensor of shape {tensor.shape} was computed outside the compiled function and still has "
                "its history; compute it inside, or pass tensor.detach()"
            )
        if type(tensor._array) is not np.ndarray:
            raise CaptureError(f"compile: takes NumPy arrays, got a Tensor of {type(tensor._array).__name__}")

    def _new_leaf(self, tensor: Tensor) -> _Leaf:
        leaf = self._leaves[id(tensor)] = _Leaf(tensor, len(self._leaves))
        self.program.leaves.append(tensor)
        value = Value("leaf", tensor.shape, tensor.dtype, leaf.index)
        leaf.traced = self.contiguous(value, tensor._array)
        if tensor.dtype.kind in "fc":
            self.program.watched.append((tensor, "_requires_grad", tensor._requires_grad))
        return leaf

    def contiguous(self, value: Value, example: np.ndarray) -> Traced:
        """A value from outside, in C order: that is what a program works on."""
        traced = Traced(self, value, example)
        if example.flags.c_contiguous:
            return traced
        return self.emit("call", np.ascontiguousarray, (traced,), {}, np.ascontiguousarray(example))

    def wrapped(self, traced: Traced) -> Tensor:
        """An argument that is a Tensor without gradient, as the function gets it."""
        tensor = Tensor(traced)
        self._wrappers.append((tensor, traced))
        return tensor

    def gradient(self, tensor: Tensor) -> Any:
        """What stands for the ``.grad`` of a Tensor."""
        self.lift(tensor)
        leaf = self._leaves.get(id(tensor))
        if leaf is None or leaf.grad_is_known:
            return tensor._grad
        leaf.grad_is_known = True
        grad = leaf.grad
        if isinstance(grad, (np.ndarray, np.generic)):
            grad = np.asarray(grad)
            value = Value("gradient", grad.shape, grad.dtype, leaf.index)
            tensor._grad = self.contiguous(value, grad)
            self.program.guards.append(_fits(tensor, grad.shape, grad.dtype, grad.flags.c_contiguous))
        else:  # None, or something to be refused
            self.program.guards.append(lambda: tensor._grad is grad)
        return tensor._grad

    def set_gradient(self, tensor: Tensor) -> None:
        """Called before ``.grad`` is set."""
        self.lift(tensor)
        if (leaf := self._leaves.get(id(tensor))) is not None:
            leaf.grad_is_known = leaf.grad_is_set = True

    def source(self, function: Callable[..., Any], example: Any, arrays: Sequence[Any] = (), **settings: Any) -> Traced:
        """An array that comes from outside anew in every replay, such as random numbers."""
        return self.emit("source", function, tuple(arrays), settings, example)

    def opaque(self, function: Callable[..., Any], arrays: Sequence[Any], settings: dict[str, Any]) -> Any:
        """The forward function of an op that works on real arrays only."""
        if not any(isinstance(value, np.random.Generator) for value in settings.values()):
            return self.call(function, arrays, settings)
        examples = [x.example if isinstance(x, Traced) else x for x in arrays]
        return self.source(function, function(*examples, **copy.deepcopy(settings)), arrays, **settings)

    def check(self, function: Callable[..., None], arrays: Sequence[Any], now: bool) -> None:
        """A check made in every replay, before anything outside is changed; and now, if what follows relies on it."""
        if now:
            function(*(x.example if isinstance(x, Traced) else x for x in arrays))
        self.emit("check", function, tuple(arrays), {}, np.empty(0))

    def watch(self, owner: Any, attribute: str, value: Any) -> None:
        """The program is for this value of an attribute only."""
        if (id(owner), attribute) not in self._watched:
            self._watched.add((id(owner), attribute))
            value = copy.copy(value) if isinstance(value, (list, dict)) else value
            self.program.watched.append((owner, attribute, value))

    def refuse_to_set(self, owner: Any, attribute: str) -> None:
        """For what a replay would leave undone."""
        raise CaptureError(
            f"{type(owner).__name__}.{attribute}: cannot be set inside a compiled function; set it before the call"
        )

    def refuse_to_keep(self, owner: Any, attribute: str, value: Any) -> None:
        """For an attribute that is set to what is computed, which a replay would leave as it is."""
        if isinstance(value, Traced) or (isinstance(value, Tensor) and isinstance(value._array, Traced)):
            raise CaptureError(
                f"{type(owner).__name__}.{attribute}: cannot be set to a tensor of a compiled function, as a replay "
                "would not do it; return the tensor, or assign to the .data of one that is there already"
            )

    def refuse_if_outside(self, tensor: Tensor) -> None:
        """For a tensor that would keep a history, which a replay does not have."""
        if id(tensor) in self._leaves:
            raise CaptureError(
                f"compile: a tensor of shape {tensor.shape} from outside is given a history by an assignment; change a "
                "copy inside (x = x + 0)"
            )

    # The recording itself

    def record(self, function: Callable[..., Any], args: Any, settings: Any) -> Program:
        """Run ``function`` and return its program."""
        token = _capture.set(self)
        try:
            with np.errstate(all="ignore"):  # the program itself will say it
                result = function(*args, **settings)
            leaves, structure = tree_flatten(result)
            self.program.outputs = (structure, [self._output(leaf) for leaf in leaves])
            self._note_effects()
        finally:
            _capture.reset(token)
            for leaf in self._leaves.values():
                leaf.restore()
        return self.program.without_dead_code()

    def _note_effects(self) -> None:
        for leaf in self._leaves.values():
            tensor = leaf.tensor
            if tensor._array is not leaf.data:
                self.program.stores.append((leaf.index, _plain(self.lift(tensor))))
            if leaf.grad_is_set:
                self.program.gradients.append((leaf.index, _plain(tensor._grad)))
        for tensor, traced in self._wrappers:
            if tensor._array is not traced or tensor._requires_grad or tensor._grad is not None:
                raise CaptureError(
                    "compile: a Tensor that is an argument is changed inside (.data, .requires_grad or .grad); refer "
                    "to it by name instead of passing it, or pass it with requires_grad=True"
                )

    def _output(self, result: Any) -> Any:
        """A leaf of the result, as a Value if it is a traced array."""
        if isinstance(result, Traced):
            return result.value
        if isinstance(result, Tensor):
            node = result._node
            if node is not None and node.arrays is not None:
                raise CaptureError(
                    "compile: a returned tensor still has its history, which a replay does not have; call backward "
                    "inside the compiled function, compile the derivative itself, as in tg.compile(tg.grad(f)), return "
                    "tensor.detach(), or compile under no_grad"
                )
            if id(result) in self._leaves or not (self._is_made_inside(result) or type(result._array) is Traced):
                return result
            data, grad = self.lift(result).value, _plain(result._grad)
            return TensorOutput((data, grad), None if result.is_leaf else node, result._requires_grad)
        return result


class _Leaf:
    """A Tensor from outside as it was before the recording."""

    traced: Traced

    def __init__(self, tensor: Tensor, index: int) -> None:
        self.tensor, self.index = tensor, index
        self.grad_is_known = self.grad_is_set = False
        self.data, self.grad, self.memory = tensor._array, tensor._grad, tensor._memory
        self.grad_is_lent = getattr(tensor, "_grad_is_lent", False)
        self.node, self.order = tensor._node, tensor._node.order if tensor._node is not None else 0

    def restore(self) -> None:
        """Make it as it was."""
        tensor = self.tensor
        tensor._array, tensor._grad, tensor._memory, tensor._node = self.data, self.grad, self.memory, self.node
        tensor._grad_is_lent = self.grad_is_lent
        if tensor._node is not None:
            tensor._node.order = self.order


def _plain(x: Any) -> Any:
    return x.value if isinstance(x, Traced) else x


def _fits(tensor: Tensor, shape: tuple[int, ...], dtype: Any, contiguous: bool) -> Callable[[], bool]:
    def fits() -> bool:
        grad = tensor._grad
        return (
            isinstance(grad, (np.ndarray, np.generic))
            and grad.shape == shape
            and grad.dtype == dtype
            and (grad.flags.c_contiguous or not contiguous)
        )

    return fits


def replayed_output(outputs: Any, arrays: dict[Value, Any]) -> Any:
    """The result of a replay: copies of the program's arrays in the place of Values."""
    structure, leaves = outputs
    if structure is LEAF:  # as most often
        return _replayed_leaf(leaves[0], arrays)
    return tree_unflatten(structure, [_replayed_leaf(leaf, arrays) for leaf in leaves])


def _replayed_leaf(leaf: Any, arrays: dict[Value, Any]) -> Any:
    if isinstance(leaf, Value):
        return np.array(arrays[leaf])
    if isinstance(leaf, TensorOutput):
        tensor = Tensor(arrays[leaf[0]])
        if leaf.requires_grad:
            tensor.requires_grad = True
        if leaf.node is not None:
            tensor._node = leaf.node
        tensor._grad = _replayed_leaf(leaf[1], arrays)
        return tensor
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf
