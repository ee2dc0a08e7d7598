"""The order of a program's steps: elementwise instructions of one shape are gathered into runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any, Callable, Union

from .lanes import Bundle, Column, bundles
from .program import EFFECTS, ELEMENTWISE, Instruction, Program, Value

Node = Union[Instruction, Bundle]


@dataclass(eq=False)
class Step:
    """Instructions that are done together: a run of elementwise ones, or a single one of another kind.

    Attributes
    ----------
    instructions
        What is done.
    lanes, columns
        Of a bundle: the instructions of the program that it stands for, and what they work on.
    """

    instructions: list[Instruction]
    lanes: list[list[Instruction]] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)

    @property
    def represented(self) -> list[Instruction]:
        """The instructions of the program."""
        return [instruction for lane in self.lanes for instruction in lane] or self.instructions

    def lane_of(self, instruction: Instruction) -> list[Instruction]:
        """The instructions of the program that are done one after the other with this one."""
        return next((lane for lane in self.lanes if instruction in lane), self.instructions)

    @property
    def is_run(self) -> bool:
        """Whether it consists of elementwise instructions, and sums of what they give."""
        return len(self.instructions) > 1 or self.instructions[0].kind in ELEMENTWISE

    def values(self) -> Iterator[Value]:
        """The operands that are not constants."""
        return (value for instruction in self.instructions for value in instruction.values)

    def reads(self) -> Iterator[Value]:
        """The same, of the program's instructions."""
        return (value for instruction in self.represented for value in instruction.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the results; of the operand of a sum."""
        instruction = self.instructions[0]
        return instruction.run_shape or instruction.out.shape

    @property
    def size(self) -> int:
        """Number of elements of that shape."""
        return prod(self.shape)


def schedule(program: Program, fusable: Callable[[Instruction], bool] = lambda instruction: True) -> list[Step]:
    """Steps in an order in which everything is computed before it is used, each as late as possible.

    Built from the end: whatever is used by later steps only may come next. So a gradient of a penalty, which could be
    computed at any time, ends in the run that adds it, and needs no memory of its own. What changes the world outside
    (parameters stored in place) comes after all checks. Instructions that are not ``fusable`` are steps of their own.
    """
    instructions = [instruction for instruction in program.instructions if instruction.kind != "view"]
    able = {instruction for instruction in instructions if instruction.run_shape is not None and fusable(instruction)}
    bundle_of = {i: bundle for bundle in bundles(program, able) for lane in bundle.lanes for i in lane}
    position = {bundle_of.get(i, i): index for index, i in enumerate(instructions)}  # of a bundle: of its last
    nodes: list[Node] = list(dict.fromkeys(bundle_of.get(i, i) for i in instructions))
    sources = _sources(program, nodes, bundle_of)
    waiting: dict[Node, set[Node]] = {node: set() for node in nodes}  # those that must come after it
    for node in nodes:
        for source in sources[node]:
            waiting[source].add(node)
    ready = [node for node in nodes if not waiting[node]]
    steps: list[Step] = []

    def done(node: Node) -> None:
        ready.remove(node)
        for source in sources[node]:
            waiting[source].discard(node)
            if not waiting[source] and source not in ready:
                ready.append(source)

    def lateness(node: Node) -> tuple[bool, bool, int]:
        # bundles come last, so that nothing reads the old data after them, which they thus replace in place; then
        # numbers, so that a sum that only they need can be part of a later pass over its operand
        return isinstance(node, Bundle), node.out.size == 1, position[node]

    while ready:
        node = max(ready, key=lateness)
        done(node)
        if isinstance(node, Bundle):
            steps.append(Step(node.instructions, node.lanes, node.columns))
            continue
        run = [node]
        while node in able:
            fitting = [i for i in ready if i in able and _joins(i, run)]
            if not fitting:
                break
            chosen = max(fitting, key=position.__getitem__)
            run.append(chosen)
            done(chosen)
        steps.append(Step(run[::-1]))
    return steps[::-1]


def _sources(program: Program, nodes: list[Node], bundle_of: dict[Instruction, Bundle]) -> dict[Node, list[Node]]:
    """For each node those that must come before it."""
    stored = {value.root for _, value in program.stores if isinstance(value, Value)}
    effects: list[Node] = []
    found: dict[Node, list[Node]] = {}
    for node in nodes:
        made_by = (value.root.instruction for value in node.values)
        before = [bundle_of.get(i, i) for i in made_by if i is not None]
        if node.kind in EFFECTS:
            before += effects[-1:]
            effects.append(node)
        found[node] = [source for source in before if source is not node]
    checks = [node for node in effects if node.kind == "check"]
    if checks:
        for node in nodes:
            changes = isinstance(node, Bundle) or node.out in stored
            if changes and not _precedes(node, checks[-1], found):
                found[node].append(checks[-1])
    return {node: list(dict.fromkeys(sources)) for node, sources in found.items()}


def _precedes(node: Node, other: Node, sources: dict[Node, list[Node]]) -> bool:
    """Whether ``other`` needs ``node``."""
    stack: list[Any] = [other]
    seen: set[Node] = set()
    while stack:
        current = stack.pop()
        if current is node:
            return True
        if current not in seen:
            seen.add(current)
            stack.extend(sources[current])
    return False


def _uses(run: list[Instruction], value: Value) -> bool:
    return any(operand.root is value for node in run for operand in node.values)


def _joins(candidate: Instruction, run: list[Instruction]) -> bool:
    """Whether an instruction can be done in the same pass: same shape, its result used there element by element."""
    if candidate.run_shape != run[0].run_shape:
        return False
    if candidate.is_total and (candidate.operands[0].root is not candidate.operands[0] or _uses(run, candidate.out)):
        return False
    return all(value.root is not candidate.out or value is candidate.out for node in run for value in node.values)
