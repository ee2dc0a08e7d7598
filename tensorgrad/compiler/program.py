"""The program that a step becomes: values, instructions, and what the program does to the world outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any, Callable

import numpy as np

from ..core import Tensor

ELEMENTWISE = ("ufunc", "select", "cast")
"""Kinds of instructions whose result has in each place what its operands have there; these can be fused."""

EFFECTS = ("source", "check")
"""Kinds that are kept, and kept in order, whether or not their result is used."""


@dataclass(eq=False)
class Value:
    """An array of the program.

    Attributes
    ----------
    kind
        ``argument``, ``leaf`` (the data of a Tensor from outside), ``gradient`` (the ``.grad`` that such a Tensor had
        before), ``constant``, or ``result`` of an instruction.
    index
        Which argument or leaf.
    instruction
        Which one computes it.
    contiguous
        Whether its elements lie in C order without gaps; all do but some views.
    array
        Of a constant.
    root
        The value whose memory this one shares: itself, unless it is a view.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    index: int = -1
    instruction: Instruction | None = None
    contiguous: bool = True
    array: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.root = self

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of its elements."""
        return self.size * self.dtype.itemsize


@dataclass(eq=False)
class Instruction:
    """One call of a NumPy function (or, of kind ``source`` or ``check``, of a function with effects).

    Attributes
    ----------
    kind
        ``ufunc``, ``select`` (np.where), ``cast``, ``reduce``, ``matmul``, ``view``, ``call``, ``source``, ``check``.
    operands
        Values and constants.
    settings
        Keywords, such as ``axis``.
    out
        The result.
    values
        The operands that are not constants.
    is_total
        Whether it sums all elements of an array: a run can do that on the way.
    run_shape
        The shape of the run that it can be part of.
    """

    kind: str
    function: Callable[..., Any]
    operands: tuple[Any, ...]
    settings: dict[str, Any]
    out: Value

    def __post_init__(self) -> None:
        self.values = tuple(operand for operand in self.operands if isinstance(operand, Value))
        self.out.instruction = self
        if self.kind == "view":
            self.out.root = self.values[0].root
        self.is_total = self.kind == "reduce" and self.function is np.add and self._sums_everything()
        self.run_shape = self.out.shape if self.kind in ELEMENTWISE else self.values[0].shape if self.is_total else None

    @property
    def name(self) -> str:
        """What is called."""
        function = _unwrapped(self.function)
        owner = getattr(function, "__self__", None)
        name: str = getattr(function, "__name__", type(function).__name__)
        return f"{owner.__name__}.{name}" if isinstance(owner, np.ufunc) else name

    def _sums_everything(self) -> bool:
        out, operand = self.out, self.operands[0]
        one_dtype = isinstance(operand, Value) and operand.dtype == out.dtype and out.dtype.kind == "f"
        return one_dtype and out.size == 1 < operand.size


@dataclass(eq=False)
class Program:
    """Instructions in order, and what they are for.

    Attributes
    ----------
    leaves
        Tensors from outside: parameters, state.
    stores, gradients
        What becomes the data, and the ``.grad``, of a leaf in the end: position of the leaf and a Value or constant.
    outputs
        What is returned: a tree with Values in it.
    watched
        The program may be used as long as these attributes have these values: owner, name, value.
    guards
        And as long as these functions are true.
    outside
        And as long as these names stand for what they did.
    recorded_in
        Seconds that the recording took.
    """

    instructions: list[Instruction]
    leaves: list[Tensor]
    stores: list[tuple[int, Any]] = field(default_factory=list)
    gradients: list[tuple[int, Any]] = field(default_factory=list)
    outputs: Any = None
    watched: list[tuple[Any, str, Any]] = field(default_factory=list)
    guards: list[Callable[[], bool]] = field(default_factory=list)
    outside: list[Any] = field(default_factory=list)
    recorded_in: float = 0.0

    def results(self) -> Iterator[Value]:
        """All values that have to be there in the end."""
        for _, value in (*self.stores, *self.gradients):
            if isinstance(value, Value):
                yield value
        yield from values_in(self.outputs)

    def without_dead_code(self) -> Program:
        """Itself, without the instructions whose result nobody uses."""
        needed = set(self.results())
        kept = []
        for instruction in reversed(self.instructions):
            if instruction.kind in EFFECTS or instruction.out in needed:
                kept.append(instruction)
                needed.update(instruction.values)
        self.instructions = kept[::-1]
        return self

    def difference(self, other: Program) -> str | None:
        """What differs between two recordings of the same step, in words; None if nothing does."""
        if len(self.instructions) != len(other.instructions):
            return f"{len(self.instructions)} instructions, then {len(other.instructions)}"
        if len(self.leaves) != len(other.leaves):
            return f"{len(self.leaves)} tensors from outside, then {len(other.leaves)}"
        for leaf, again in zip(self.leaves, other.leaves):
            if leaf is not again:
                return f"a tensor of shape {leaf.shape} from outside"
        numbers: dict[Value, tuple[Any, ...]] = {}
        for position, (one, two) in enumerate(zip(self.instructions, other.instructions)):
            if one.kind != two.kind or code(one.function) is not code(two.function):
                return f"{one.name}, then {two.name}"
            pairs = [*zip(one.operands, two.operands), *_pairs(one.settings, two.settings)]
            if len(one.operands) != len(two.operands) or not all(_same(a, b, numbers) for a, b in pairs):
                return f"an operand of {one.name}"
            numbers[one.out] = numbers[two.out] = ("result", position)
        for what in ("stores", "gradients", "outputs"):
            if not _same(getattr(self, what), getattr(other, what), numbers):
                return f"what it {'returns' if what == 'outputs' else 'assigns'}"
        return None


class TensorOutput(tuple):  # type: ignore[type-arg]
    """A returned Tensor: the Values of its data and its gradient, and its node, if that is one of a freed history."""

    node: Any
    requires_grad: bool

    def __new__(cls, content: tuple[Any, Any], node: Any, requires_grad: bool) -> TensorOutput:
        made = super().__new__(cls, content)
        made.node, made.requires_grad = node, requires_grad
        return made


def values_in(tree: Any) -> Iterator[Value]:
    """The Values in nested containers."""
    if isinstance(tree, Value):
        yield tree
    elif isinstance(tree, (list, tuple)):
        for item in tree:
            yield from values_in(item)
    elif isinstance(tree, dict):
        yield from values_in(list(tree.values()))


def _pairs(one: dict[str, Any], two: dict[str, Any]) -> list[tuple[Any, Any]]:
    return [(one, two)] if one.keys() != two.keys() else [(one[name], two[name]) for name in one]


def _unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    return function.func if isinstance(function, partial) else function


def code(function: Callable[..., Any]) -> Any:
    """What tells functions apart that may be made anew in each recording."""
    function = _unwrapped(function)
    return getattr(function, "__code__", function if not hasattr(function, "__self__") else type(function))


def _same(one: Any, two: Any, numbers: dict[Value, tuple[Any, ...]]) -> bool:
    if isinstance(one, Value) and isinstance(two, Value):
        if one.array is not None and two.array is not None:
            return _same(one.array, two.array, numbers)
        first = numbers.get(one, (one.kind, one.index))
        return bool(first == numbers.get(two, (two.kind, two.index)))
    if isinstance(one, (tuple, list)) and isinstance(two, (tuple, list)):
        return len(one) == len(two) and all(_same(a, b, numbers) for a, b in zip(one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_same(value, two[name], numbers) for name, value in one.items())
    if isinstance(one, (np.random.Generator, Tensor)) or isinstance(two, (np.random.Generator, Tensor)):
        return one is two
    if isinstance(one, (np.ndarray, np.generic)) or isinstance(two, (np.ndarray, np.generic)):
        if isinstance(one, Value) or isinstance(two, Value):
            return False
        one, two = np.asarray(one), np.asarray(two)
        return bool(one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes())
    if callable(one) and callable(two):
        return code(one) is code(two)
    return type(one) is type(two) and bool(one == two or one != one)


def typed(instruction: Instruction, constant: Any) -> Any:
    """A Python number as a 0-d array of the dtype that NumPy would give it beside the other operands."""
    if instruction.kind == "ufunc" and type(constant) in (int, float, bool, complex):
        position = next(i for i, x in enumerate(instruction.operands) if x is constant)
        try:
            return np.array(constant, loop_dtypes(instruction)[position])
        except OverflowError:  # compared with a number beyond its dtype, which NumPy knows how to do
            return constant
    if instruction.kind == "select" and type(constant) in (int, float, bool, complex):
        return np.array(constant, instruction.out.dtype)
    return constant


def loop_dtypes(instruction: Instruction) -> tuple[np.dtype[Any], ...]:
    """The dtypes in which an instruction's ufunc computes: one for each operand, then that of the result."""
    return resolved_dtypes(instruction.function, instruction.operands)


def resolved_dtypes(ufunc: Any, operands: Any) -> tuple[np.dtype[Any], ...]:
    """The dtypes in which a ufunc computes with these operands; Python numbers are weak."""
    kinds = [x.dtype if hasattr(x, "dtype") else np.result_type(x) if type(x) is bool else type(x) for x in operands]
    found: tuple[np.dtype[Any], ...] = ufunc.resolve_dtypes((*kinds, None))
    return found
