"""Small tensors that are changed in the same way are changed together.

An optimiser does the same to every parameter; for a bias of ten numbers each call of NumPy costs more than its work.
So instructions that are alike, one *lane* for each tensor, are bundled: they are done once, on arrays in which those of
the lanes lie side by side. Parameters and their state are laid out so for good, and gradients are computed right into
their places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np

from .program import Instruction, Program, Value

SMALL = 8192
"""Elements up to which an array is bundled with others."""

LARGEST = 32768
"""Elements of a bundle: it is done in one piece."""


@dataclass(eq=False)
class Column:
    """What the lanes have at one place of their instructions: a value in each, and ``whole``, all of them as one.

    ``given`` if the bundle computes it, else it comes from elsewhere.
    """

    whole: Value
    parts: list[Value]
    given: bool

    def cut(self, whole: np.ndarray) -> list[np.ndarray]:
        """The parts of an array that is the whole column."""
        ends = accumulate(part.size for part in self.parts)
        return [whole[end - part.size : end].reshape(part.shape) for end, part in zip(ends, self.parts)]


@dataclass(eq=False)
class Bundle:
    """Instructions on whole columns, and the lanes that they stand for; a node of the schedule like an instruction."""

    instructions: list[Instruction]
    lanes: list[list[Instruction]]
    columns: list[Column]
    out: Value = field(init=False)
    kind: str = "bundle"
    run_shape: None = None

    def __post_init__(self) -> None:
        self.out = self.instructions[-1].out

    @property
    def values(self) -> Iterator[Value]:
        """The operands of all lanes."""
        return (value for lane in self.lanes for instruction in lane for value in instruction.values)


@dataclass(eq=False)
class _Lane:
    """Instructions on arrays of one shape, in order; ``parts`` in the order in which they come up."""

    instructions: list[Instruction]
    parts: list[Value] = field(default_factory=list)
    signature: Any = None

    @property
    def size(self) -> int:
        return self.instructions[0].out.size


def bundles(program: Program, able: set[Instruction]) -> list[Bundle]:
    """The bundles that can be made of a program's instructions, of those that are ``able`` to be fused."""
    alike: dict[Any, list[_Lane]] = {}
    for lane in _lanes(program, able):
        if _describe(lane):
            alike.setdefault(lane.signature, []).append(lane)
    found: list[Bundle] = []
    for lanes in alike.values():
        chosen: list[_Lane] = []
        room = LARGEST
        for lane in sorted(lanes, key=lambda lane: lane.size):
            if lane.size <= room:
                room -= lane.size
                chosen.append(lane)
        chosen.reverse()  # the largest first, whose lengths keep the others aligned
        if len(chosen) > 1 and _independent(chosen, found, program):
            found.append(_bundle(chosen))
    return found


def _lanes(program: Program, able: set[Instruction]) -> list[_Lane]:
    """For each tensor that is assigned to the elementwise instructions that give its new value, from what is kept."""
    stored = [value for _, value in program.stores if isinstance(value, Value)]
    kept = set(program.results()).difference(stored)
    position = {instruction: number for number, instruction in enumerate(program.instructions)}
    lane_of: dict[Instruction, dict[Instruction, None]] = {}
    for value in stored:
        lane = dict.fromkeys(_leading_to(value, kept, able))
        for other in {id(lane_of[key]): lane_of[key] for key in lane if key in lane_of}.values():
            lane.update(other)
        lane_of.update(dict.fromkeys(lane, lane))
    lanes = {id(lane): lane for lane in lane_of.values()}.values()
    return [_Lane(sorted(lane, key=position.__getitem__)) for lane in lanes]


def _leading_to(value: Value, kept: set[Value], able: set[Instruction]) -> Iterator[Instruction]:
    """The instructions of the shape of ``value`` that it is computed by, as far as the values that are ``kept``."""
    stack, visited = [value] if 1 < value.size <= SMALL else [], set()
    while stack:
        instruction = stack.pop().instruction
        if instruction is None or instruction in visited or instruction not in able or instruction.kind != "ufunc":
            continue
        if instruction.out.shape == value.shape and instruction.out not in kept:
            visited.add(instruction)
            yield instruction
            stack += instruction.values


def _describe(lane: _Lane) -> bool:
    """Find the lane's parts and its signature, the same for lanes that are alike; False if it cannot be bundled."""
    shape, calls = lane.instructions[0].out.shape, []
    numbers: dict[Value, int] = {}
    for instruction in lane.instructions:
        if instruction.out.shape != shape:
            return False
        terms: list[Any] = []
        for operand in (*instruction.operands, instruction.out):
            if type(operand) is not Value:
                if isinstance(operand, (list, tuple)) or getattr(operand, "shape", None):
                    return False
                is_number = isinstance(operand, (bool, int, float, np.generic))
                terms.append((type(operand), repr(operand) if is_number else id(operand)))
            elif operand.shape == shape:
                terms.append((numbers.setdefault(operand, len(numbers)), operand.kind, operand.dtype))
            elif operand.shape:
                return False
            else:
                terms.append(operand)
        calls.append((instruction.function, tuple(terms)))
    lane.signature, lane.parts = tuple(calls), list(numbers)
    return True


def _independent(lanes: list[_Lane], bundles: list[Bundle], program: Program) -> bool:
    """Whether no lane, and no check, needs what another lane gives; nor by way of the other bundles."""
    own = {instruction for lane in lanes for instruction in lane.instructions}
    given = {instruction.out for lane in lanes for instruction in lane.instructions}
    operands = (value for lane in lanes for instruction in lane.instructions for value in instruction.values)
    outside = [value for value in operands if value not in given]
    checks = [i for i in program.instructions if i.kind == "check"]
    return not own & _needed([*outside, *(value for check in checks for value in check.values)], bundles)


def _needed(values: Iterable[Value], bundles: list[Bundle]) -> set[Instruction]:
    """The instructions that the values are computed by; of a bundle all, as they are done together."""
    bundle_of = {i: bundle for bundle in bundles for lane in bundle.lanes for i in lane}
    stack, visited = [value.instruction for value in values], set()
    while stack:
        instruction = stack.pop()
        if instruction is not None and instruction not in visited:
            visited.add(instruction)
            read = bundle_of.get(instruction, instruction).values
            stack += [value.instruction for value in read]
    return visited


def _bundle(lanes: list[_Lane]) -> Bundle:
    length = sum(lane.size for lane in lanes)
    parts = [list(values) for values in zip(*(lane.parts for lane in lanes))]
    given = {instruction.out for instruction in lanes[0].instructions}
    columns = [Column(Value("result", (length,), v[0].dtype), v, v[0] in given) for v in parts]
    whole = {column.parts[0]: column.whole for column in columns}
    instructions = []
    for instruction in lanes[0].instructions:
        operands = tuple(whole.get(x, x) for x in instruction.operands)
        instructions.append(Instruction("ufunc", instruction.function, operands, {}, whole[instruction.out]))
    return Bundle(instructions, [lane.instructions for lane in lanes], columns)
