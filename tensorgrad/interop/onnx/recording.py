"""Recording a network as a list of steps: its forward pass is run twice, with batches of different sizes.

What is alike in both runs belongs to the network; a length that differs is one of the batch, if it is a multiple of its
size; anything else that differs depends on values in a way that was not recorded, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Callable, Literal, NamedTuple, Union

import numpy as np

from ..._pytree import tree_flatten
from ...core import Op, Tensor, describe
from ...core.context import _tracer, no_grad, runtime_check
from ...nn import Module


class ExportError(ValueError):
    """A network that cannot be exported; one sentence with the reason and what to do."""


class Batch(NamedTuple):
    """A length that depends on the size of the batch: what it is in both runs, and if it is a multiple, of what."""

    first: int
    second: int
    times: int | None


Length = Union[int, Batch]


@dataclass(eq=False)
class Value:
    """What steps work on and give.

    Attributes
    ----------
    shape, dtype
        Those in the first run, with a :class:`Batch` for each length that differed in the second.
    kind
        ``"input"``, ``"result"`` of a step, ``"parameter"`` of the network or ``"constant"``.
    name
        Of an input or parameter.
    array
        Of a parameter or constant. A constant that is repeated along the batch has length 1 there.
    trained
        Whether it is a parameter with a gradient.
    step
        What gave it.
    """

    shape: tuple[Length, ...]
    dtype: np.dtype
    kind: str
    name: str = ""
    array: Any = None
    trained: bool = False
    step: Step | None = None


@dataclass(eq=False)
class Step:
    """An op with what it was applied to: values, and numbers of Python's; settings with those left out filled in."""

    op: str
    operands: list[Any]
    settings: dict[str, Any]
    result: Value


@dataclass
class Program:
    """The steps of a network in the order in which they were done, each result used or not."""

    inputs: list[Value]
    steps: list[Step]
    outputs: list[Value]


def record(model: Callable[..., Any], examples: Sequence[Any], names: Sequence[str]) -> Program:
    """What a network, or a function of Tensors, does with inputs like ``examples``, in evaluation mode.

    The first axis of the inputs is the batch.
    """
    rng = np.random.default_rng(0)
    size = examples[0].shape[0]
    others = [_longer(example, rng) if example.shape[:1] == (size,) else example for example in examples]
    with evaluating(model), np.errstate(all="ignore"):
        first = _run(model, examples, "")
        second = _run(model, others, f" and a batch of {size + 1} examples, though it does for {size}")
    return _Merged(first, second, (size, size + 1), model, names).program()


@contextmanager
def evaluating(model: object) -> Iterator[None]:
    """Switch a network to evaluation mode inside; afterwards each of its modules is as it was."""
    modules = list(model.modules()) if isinstance(model, Module) else []
    modes = [module.training for module in modules]
    try:
        for module in modules:
            module.training = False
        yield
    finally:
        for module, mode in zip(modules, modes):
            module.training = mode


def _longer(example: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Other values in the same range, and one row more."""
    rows = np.concatenate([example, example[:1]])
    shuffled: np.ndarray = rng.permutation(rows.reshape(-1)).reshape(rows.shape)
    if shuffled.dtype.kind != "f":
        return shuffled
    factors = rng.uniform(0.7, 1, shuffled.shape)
    return np.where(shuffled == 0, factors / 2, shuffled * factors).astype(example.dtype)


# One run


@dataclass
class _Run:
    """A forward pass, in the places of its inputs, leaves and results: ``("input", 0)``, ``("step", 3)``."""

    inputs: list[Tensor]
    steps: list[tuple[Op, list[Any], dict[str, Any]]] = field(default_factory=list)
    arrays: list[np.ndarray] = field(default_factory=list)
    read: list[_Place] = field(default_factory=list)
    converted: list[_Place] = field(default_factory=list)
    outputs: list[_Place] = field(default_factory=list)

    def array(self, place: _Place) -> np.ndarray:
        """What was there."""
        if place.leaf is not None:
            return _array(place.leaf)
        return self.arrays[place.position] if place.kind == "step" else self.inputs[place.position].numpy()


class _Place(NamedTuple):
    kind: str
    position: int
    leaf: Any = None


_NUMBERS = (bool, int, float, complex)


class _Recorder:
    """Records every op, and runs it as usual."""

    follows: Literal[True] = True

    def __init__(self, inputs: list[Tensor]) -> None:
        self.run = _Run(inputs)
        self._places = {id(tensor): _Place("input", i) for i, tensor in enumerate(inputs)}
        self._kept: list[Any] = []

    def place(self, operand: Any) -> Any:
        """Where an operand is from; numbers are themselves."""
        if type(operand) in _NUMBERS:
            return operand
        self._kept.append(operand)  # so that no other object gets its id
        return self._places.setdefault(id(operand), _Place("leaf", -1, operand))

    def follow(
        self, what: Callable[..., Any], operands: Any, settings: Any, changed: int = 0, undo: object = None
    ) -> Any:
        """Do an op, and note it."""
        with _unrecorded():
            result = what(*operands, **settings)
            array = _array(result)
        if isinstance(what, Op):
            self.run.steps.append((what, [self.place(x) for x in operands], {**what.settings, **settings}))
            self.run.arrays.append(array)
            self._kept.append(result)
            self._places[id(result)] = _Place("step", len(self.run.steps) - 1)
        else:
            for operand in operands:
                if isinstance(operand, Tensor):
                    self.stand_in(operand)
        return result

    def stand_in(self, tensor: Tensor) -> Tensor:
        """Note that the array of a tensor is asked for."""
        with _unrecorded():
            tensor.numpy()  # which may look at it once more
        self.run.read.append(self.place(tensor))
        return tensor

    reading_gradient = stand_in

    def reading(self, tensor: Tensor) -> Tensor:
        """Note that a tensor is made an array, a number or a boolean."""
        self.run.converted.append(self.place(tensor))
        return self.stand_in(tensor)

    def original(self, tensor: Tensor) -> Tensor:
        return tensor

    made = original

    def check(self, function: Callable[..., None], arrays: Sequence[object], now: bool) -> None:
        with _unrecorded():
            runtime_check(function, *arrays)

    def io_callback(self, function: Callable[..., Any], example: Callable[[], Any]) -> Any:
        raise ExportError(
            "export: forward draws random numbers in evaluation mode, which ONNX files of this library do not; draw "
            "them only where self.training is true"
        )

    def at_once(self, function: Callable[..., Any], *args: Any) -> Any:
        raise ExportError(
            f"export: forward changes a tensor in place ({args[-1]}), which is not recorded as an op; compute a new "
            "one instead, as with np.where or np.concatenate"
        )

    def backward(self, *args: object) -> None:
        raise ExportError("export: forward does a backward pass, which cannot be exported; leave it to the training")

    def has_gradient(self, tensor: Tensor) -> bool:
        return False

    def cut(self) -> None:
        """Nothing is deferred."""

    def _ignore(self, *args: object) -> None:
        """What modules keep and set is their own business."""

    set_gradient = changing_history = guard = refuse_to_set = refuse_to_keep = forget_gradients = _ignore


@contextmanager
def _unrecorded() -> Iterator[None]:
    token = _tracer.set(None)
    try:
        yield
    finally:
        _tracer.reset(token)


def _run(model: Callable[..., Any], examples: Sequence[np.ndarray], more: str) -> _Run:
    recorder = _Recorder([Tensor(example) for example in examples])
    token = _tracer.set(recorder)
    try:
        with no_grad():
            result = model(*recorder.run.inputs)
    except ExportError:
        raise
    except Exception as error:
        shapes = ", ".join(map(describe, examples))
        raise ExportError(f"export: forward fails for {shapes}{more}: {error}") from error
    finally:
        _tracer.reset(token)
    leaves, _ = tree_flatten(result)
    if not leaves or not all(isinstance(leaf, (Tensor, np.ndarray)) for leaf in leaves):
        raise ExportError(
            f"export: forward must return a Tensor, or containers of Tensors, got {type(result).__name__}"
        )
    recorder.run.outputs = [recorder.place(leaf) for leaf in leaves]
    return recorder.run


# Two runs as one program


class _Merged:
    """What two runs have in common."""

    def __init__(self, first: _Run, second: _Run, sizes: tuple[int, int], model: Any, names: Sequence[str]) -> None:
        self.first, self.second, self.sizes = first, second, sizes
        self._named: dict[int, tuple[str, Tensor]] = {}
        for name, tensor in model.named_tensors() if isinstance(model, Module) else ():
            self._named.setdefault(id(tensor), (name, tensor))
        self._leaves: dict[tuple[int, int], Value] = {}
        self._found: set[_Place] = set()
        pairs = zip(names, first.inputs, second.inputs)
        self.inputs = [
            Value(self._shape(x.shape, y.shape, f"input {name}"), x.dtype, "input", name) for name, x, y in pairs
        ]
        self.steps: list[Step] = []

    def program(self) -> Program:
        """The program, or an error that names what depends on the batch in a way that cannot be exported."""
        for one, other in zip(self.first.steps, self.second.steps):
            self._merge(one, other)
        if len(self.first.steps) != len(self.second.steps):
            raise self._differs(f"{len(self.first.steps)} ops for one and {len(self.second.steps)} for the other")
        outputs = [
            self._operand(one, other, "its result") for one, other in zip(self.first.outputs, self.second.outputs)
        ]
        for place in self.first.converted:
            if place.kind != "leaf" and place not in self._found:
                raise ExportError(
                    "export: forward looks at the values of a tensor, as bool(tensor), tensor.item() and print(tensor) "
                    "do, on which a file cannot depend; choose by element with np.where, or leave it out"
                )
        return Program(self.inputs, self.steps, outputs)

    def _merge(self, one: Any, other: Any) -> None:
        (op, operands, settings), (other_op, other_operands, other_settings) = one, other
        if op.name != other_op.name or len(operands) != len(other_operands):
            raise self._differs(f"{op.name} for one and {other_op.name} for the other")
        position = len(self.steps)
        x, y = self.first.arrays[position], self.second.arrays[position]
        result = Value(self._shape(x.shape, y.shape, op.name), x.dtype, "result")
        step = Step(
            op.name,
            [self._operand(a, b, f"an operand of {op.name}") for a, b in zip(operands, other_operands)],
            {key: self._setting(a, other_settings[key], f"{op.name}: {key}=") for key, a in settings.items()},
            result,
        )
        result.step = step
        self.steps.append(step)

    def _operand(self, one: object, other: object, what: str) -> Any:
        if not isinstance(one, _Place) or not isinstance(other, _Place):
            if type(one) is type(other) and (one == other or one != one):
                return one
            raise self._depends(what)
        if one.kind != other.kind or one.position != other.position:
            raise self._differs(f"another origin of {what}")
        if one.kind == "input":
            return self.inputs[one.position]
        return self.steps[one.position].result if one.kind == "step" else self._leaf(one.leaf, other.leaf, what)

    def _leaf(self, one: Any, other: Any, what: str) -> Value:
        key = id(one), id(other)
        if key not in self._leaves:
            if one is other and (named := self._named.get(id(one))):
                array = one.numpy()
                trained = named[1].requires_grad
                self._leaves[key] = Value(array.shape, array.dtype, "parameter", named[0], array, trained)
            else:
                self._leaves[key] = self._constant(_array(one), _array(other), what)
        return self._leaves[key]

    def _constant(self, one: np.ndarray, other: np.ndarray, what: str) -> Value:
        """Both alike; or what was read of a tensor; or rows that are all the same, repeated along the batch."""
        if _same(one, other):
            return Value(one.shape, one.dtype, "constant", "", one)
        if (found := self._read(one, other)) is not None:
            return found
        if one.ndim == other.ndim and one.dtype == other.dtype:
            shape = self._shape(one.shape, other.shape, what)
            along = tuple(slice(0, 1) if isinstance(length, Batch) else slice(None) for length in shape)
            row = one[along]
            if row.size and (one == row).all() and _same(np.broadcast_to(row, other.shape), other):
                return Value(shape, one.dtype, "constant", "", row)
        raise self._depends(what)

    def _read(self, one: np.ndarray, other: np.ndarray) -> Value | None:
        """The value that was read of a tensor, if both arrays are what was read there."""
        found = None
        for a, b in zip(self.first.read, self.second.read):
            is_there = a.kind == b.kind != "leaf" and a.position == b.position
            if is_there and _same(self.first.array(a), one) and _same(self.second.array(b), other):
                self._found.add(a)
                if a.kind == "input":
                    found = self.inputs[a.position]
                elif a.position < len(self.steps):
                    found = self.steps[a.position].result
        return found

    def _setting(self, one: Any, other: Any, what: str) -> Any:
        if type(one) is not type(other):
            raise self._depends(what)
        if isinstance(one, (tuple, list)) and len(one) == len(other):
            parts = [self._setting(a, b, what) for a, b in zip(one, other)]
            return tuple(parts) if isinstance(one, tuple) else parts
        if isinstance(one, dict) and one.keys() == other.keys():
            return {key: self._setting(value, other[key], what) for key, value in one.items()}
        if isinstance(one, slice):
            ends = zip((one.start, one.stop, one.step), (other.start, other.stop, other.step))
            return slice(*(self._setting(a, b, what) for a, b in ends))
        if isinstance(one, np.ndarray):
            found = self._constant(one, other, what)
            return found.array if found.kind == "constant" and found.array.shape == one.shape else found
        if type(one) is int and one != other:
            return self._length(one, other)
        if one is other or one == other or one != one:
            return one
        raise self._depends(what)

    def _shape(self, one: tuple[int, ...], other: tuple[int, ...], what: str) -> tuple[Length, ...]:
        if len(one) != len(other):
            raise self._differs(f"another number of axes of {what}")
        return tuple(a if a == b else self._length(a, b) for a, b in zip(one, other))

    def _length(self, one: int, other: int) -> Batch:
        times = one // self.sizes[0]
        is_multiple = (one, other) == (times * self.sizes[0], times * self.sizes[1])
        return Batch(one, other, times if is_multiple else None)

    def _differs(self, what: str) -> ExportError:
        return ExportError(
            f"export: forward does not do the same for batches of {self.sizes[0]} and of {self.sizes[1]} examples: "
            f"{what}; write it without loops and choices that depend on the size or the values of its input"
        )

    def _depends(self, what: str) -> ExportError:
        return ExportError(
            f"export: {what} depends on the size of the batch or the values of the input in a way that is not "
            "recorded; compute it with NumPy functions of Tensors, not of tensor.numpy(), float(tensor) or len(tensor)"
        )


def _array(leaf: object) -> np.ndarray:
    return np.asarray(leaf.numpy() if isinstance(leaf, Tensor) else leaf)


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
