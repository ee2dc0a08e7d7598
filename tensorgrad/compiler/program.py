"""The program that a step becomes: values, instructions, and its side effects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import prod
from typing import Any, Callable

import numpy as np

from .._pytree import LEAF, Structure
from ..core import Tensor
from ..core.node import Node

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
    dtype: np.dtype
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
        ``ufunc``, ``select`` (np.where), ``cast``, ``reduce``, ``matmul``, ``view``, ``call``, ``fill`` (a call that
        takes ``out=``), ``source``, ``check``.
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
    may_overwrite
        Whether its result may take the place of an operand.
    """

    kind: str
    function: Callable[..., Any]
    operands: tuple[Any, ...]
    settings: dict[str, Any]
    out: Value

    def __post_init__(self) -> None:
        self.values = tuple([operand for operand in self.operands if type(operand) is Value])
        self.out.instruction = self
        if self.kind == "view":
            self.out.root = self.values[0].root
        self.is_total = self.kind == "reduce" and self.function is np.add and self._sums_everything()
        self.run_shape = self.out.shape if self.kind in ELEMENTWISE else self.values[0].shape if self.is_total else None
        self.may_overwrite = self.kind == "ufunc" and self.function is not np.sign  # ten times as slow in place

    @property
    def name(self) -> str:
        """What is called."""
        function = self.function.func if isinstance(self.function, partial) else self.function
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
        The leaves of what is returned: Values, Tensors as :class:`TensorOutput`, and what is the same in each call.
    structure
        The containers that they are in.
    guarded
        The program may be used as long as these attributes have these values: owner, name, value.
    guards
        And as long as these functions are true.
    recorded_in
        Seconds that the recording took.
    """

    instructions: list[Instruction]
    leaves: list[Tensor]
    stores: list[tuple[int, Any]] = field(default_factory=list)
    gradients: list[tuple[int, Any]] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    structure: Structure = LEAF
    guarded: list[tuple[Any, str, Any]] = field(default_factory=list)
    guards: list[Callable[[], bool]] = field(default_factory=list)
    recorded_in: float = 0.0

    def results(self) -> Iterator[Value]:
        """All values that have to be there in the end."""
        for _, value in (*self.stores, *self.gradients):
            if isinstance(value, Value):
                yield value
        yield from values_of(self.outputs)

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


@dataclass(eq=False)
class TensorOutput:
    """A returned Tensor: its data, its gradient or None, and its node, if that is one of a freed history."""

    data: Value
    grad: Any
    node: Node | None
    requires_grad: bool


def values_of(outputs: Iterable[Any]) -> Iterator[Value]:
    """The Values of what is returned."""
    for output in outputs:
        parts = (output.data, output.grad) if isinstance(output, TensorOutput) else (output,)
        yield from (part for part in parts if isinstance(part, Value))


def typed(instruction: Instruction, constant: object) -> Any:
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


def loop_dtypes(instruction: Instruction) -> tuple[np.dtype, ...]:
    """The dtypes in which an instruction's ufunc computes: one for each operand, then that of the result."""
    return resolved_dtypes(instruction.function, instruction.operands)


def resolved_dtypes(ufunc: Any, operands: Any) -> tuple[np.dtype, ...]:
    """The dtypes in which a ufunc computes with these operands; Python numbers are weak."""
    kinds: Any = [_BOOL if type(x) is bool else getattr(x, "dtype", type(x)) for x in operands]
    return _resolved(ufunc, *kinds)


@lru_cache(maxsize=1024)
def _resolved(ufunc: Any, *kinds: Any) -> tuple[np.dtype, ...]:
    found: tuple[np.dtype, ...] = ufunc.resolve_dtypes((*kinds, None))
    return found


_BOOL = np.dtype(bool)


@lru_cache(maxsize=64)
def name_of(dtype: np.dtype) -> str:
    """The name of a dtype, which NumPy puts together each time."""
    name: str = dtype.name
    return name
