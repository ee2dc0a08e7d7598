"""Capturing: a function runs once on traced arrays, and what NumPy was asked to do becomes a program."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Callable

import numpy as np

from ..tensor import Tensor, _capture
from .program import Program, Value
from .traced import CaptureError, Recorder, Traced


class Capture(Recorder):
    """One recording. Tensors from outside are found when they are first used, and are as before in the end."""

    def __init__(self) -> None:
        super().__init__()
        self._leaves: dict[int, _Leaf] = {}
        self._watched: set[tuple[int, str]] = set()

    # What the engine asks for while the function runs

    def lift(self, tensor: Tensor) -> Any:
        """What stands for the data of a Tensor."""
        if type(tensor._data) is Traced:
            return tensor._data
        leaf = self._leaves.get(id(tensor)) or self._new_leaf(tensor)
        return leaf.traced if tensor._data is leaf.data else tensor._data

    def _new_leaf(self, tensor: Tensor) -> _Leaf:
        if tensor._record is not None:
            raise CaptureError(
                f"compile: a tensor of shape {tensor.shape} was computed outside the compiled function and still has "
                "its history; compute it inside, or pass tensor.detach()"
            )
        if type(tensor._data) is not np.ndarray:
            raise CaptureError(f"compile: takes NumPy arrays, got a Tensor of {type(tensor._data).__name__}")
        leaf = _Leaf(tensor, len(self._leaves))
        self._leaves[id(tensor)] = leaf
        self.program.leaves.append(tensor)
        value = Value("leaf", tensor.shape, tensor.dtype, leaf.index)
        leaf.traced = self.contiguous(value, tensor._data)
        return leaf

    def contiguous(self, value: Value, example: np.ndarray) -> Traced:
        """A value from outside, in C order: that is what a program works on."""
        traced = Traced(self, value, example)
        if example.flags.c_contiguous:
            return traced
        return self.emit("call", np.ascontiguousarray, (traced,), {}, np.ascontiguousarray(example))

    def gradient(self, tensor: Tensor) -> Any:
        """What stands for the ``.grad`` of a Tensor."""
        self.lift(tensor)
        grad, leaf = tensor.grad, self._leaves.get(id(tensor))
        if leaf is None or type(grad) is Traced or grad is not leaf.grad or leaf.grad_used:
            return leaf.traced_grad if leaf is not None and leaf.grad_used and grad is leaf.grad else grad
        leaf.grad_used = True
        if isinstance(grad, (np.ndarray, np.generic)):
            grad = np.asarray(grad)
            value = Value("gradient", grad.shape, grad.dtype, leaf.index)
            leaf.traced_grad = self.contiguous(value, grad)
            self.program.guards.append(_fits(tensor, grad.shape, grad.dtype, grad.flags.c_contiguous))
            return leaf.traced_grad
        leaf.traced_grad = grad
        self.program.guards.append(lambda: tensor.grad is grad)  # None, or something to be refused
        return grad

    def source(self, function: Callable[[], Any], example: Any) -> Traced:
        """An array that comes from outside anew in every replay, such as random numbers."""
        return self.emit("source", function, (), {}, example)

    def check(self, function: Callable[..., None], arrays: Sequence[Any]) -> None:
        """A check made in every replay, before anything outside is changed."""
        function(*(x.example if isinstance(x, Traced) else x for x in arrays))
        self.emit("check", function, tuple(arrays), {}, np.empty(0))

    def watch(self, owner: Any, attribute: str, value: Any) -> None:
        """The program is for this value of an attribute only."""
        if (id(owner), attribute) not in self._watched:
            self._watched.add((id(owner), attribute))
            self.program.watched.append((owner, attribute, copy.copy(value)))

    def refuse_to_set(self, owner: Any, attribute: str) -> None:
        """For what a replay would leave undone."""
        raise CaptureError(
            f"{type(owner).__name__}.{attribute}: cannot be set inside a compiled function; set it before the call"
        )

    # The recording itself

    def record(self, function: Callable[..., Any], args: Any, settings: Any, leaves: Sequence[Tensor]) -> Program:
        """Run ``function`` and return its program; ``leaves`` are Tensors among the arguments that are lifted first."""
        if _capture.get() is not None:
            raise CaptureError("compile: one capture inside another")
        token = _capture.set(self)
        try:
            for position, tensor in enumerate(leaves):
                self.lift(tensor)
                self.program.argument_leaves[position] = self._leaves[id(tensor)].index
            with np.errstate(all="ignore"):  # the program itself will say it
                result = function(*args, **settings)
            self.program.outputs = self._output(result)
            self._note_effects()
        finally:
            _capture.reset(token)
            for leaf in self._leaves.values():
                leaf.restore()
        return self.program.without_dead_code()

    def _note_effects(self) -> None:
        program = self.program
        for leaf in self._leaves.values():
            tensor = leaf.tensor
            if tensor._data is not leaf.data:
                program.stores.append((leaf.index, _plain(tensor._data)))
            if tensor.grad is not leaf.grad:
                program.gradients.append((leaf.index, _plain(tensor.grad)))
            if tensor._requires_grad:
                program.watched.append((tensor, "_requires_grad", True))

    def _output(self, result: Any) -> Any:
        """The result with Values in the place of traced arrays."""
        if isinstance(result, Traced):
            return result.value
        if isinstance(result, Tensor):
            if result._record is not None and len(result._record) > 1:
                raise CaptureError(
                    "compile: a returned tensor still has its history, which a replay does not have; call backward "
                    "inside the compiled function, return tensor.detach(), or compile under no_grad"
                )
            if id(result) in self._leaves and self._leaves[id(result)].tensor is result:
                return result
            data = _plain(result._data)
            if not isinstance(data, Value):
                return Tensor(data)
            return _TensorOutput((data,), result._record)
        if isinstance(result, (list, tuple)):
            items = [self._output(item) for item in result]
            return type(result)(*items) if hasattr(result, "_fields") else type(result)(items)
        if isinstance(result, dict):
            return {name: self._output(item) for name, item in result.items()}
        return result


class _TensorOutput(tuple):  # type: ignore[type-arg]
    """A returned Tensor: its Value, and its record, which is none or has been freed."""

    record: Any

    def __new__(cls, content: tuple[Value], record: Any) -> _TensorOutput:
        made = super().__new__(cls, content)
        made.record = record
        return made


class _Leaf:
    """A Tensor from outside as it was before the recording."""

    traced: Traced
    traced_grad: Any = None

    def __init__(self, tensor: Tensor, index: int) -> None:
        self.tensor, self.index, self.grad_used = tensor, index, False
        self.data, self.grad, self.order = tensor._data, tensor.grad, tensor._order
        self.owned = tensor._owned

    def restore(self) -> None:
        """Make it as it was."""
        tensor = self.tensor
        tensor._data, tensor.grad, tensor._order, tensor._owned = self.data, self.grad, self.order, self.owned


def _plain(x: Any) -> Any:
    return x.value if isinstance(x, Traced) else x


def _fits(tensor: Tensor, shape: tuple[int, ...], dtype: Any, contiguous: bool) -> Callable[[], bool]:
    def fits() -> bool:
        grad = tensor.grad
        return (
            isinstance(grad, (np.ndarray, np.generic))
            and grad.shape == shape
            and grad.dtype == dtype
            and (grad.flags.c_contiguous or not contiguous)
        )

    return fits


def replayed_output(tree: Any, arrays: dict[int, Any]) -> Any:
    """The result of a replay: copies of the program's arrays in the place of Values."""
    if isinstance(tree, Value):
        return np.array(arrays[id(tree)])
    if isinstance(tree, _TensorOutput):
        tensor = Tensor(np.array(arrays[id(tree[0])]))
        if tree.record is not None:
            tensor._requires_grad, tensor._record = True, tree.record
        return tensor
    if isinstance(tree, (list, tuple)):
        items = [replayed_output(item, arrays) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    if isinstance(tree, dict):
        return {name: replayed_output(item, arrays) for name, item in tree.items()}
    return tree
