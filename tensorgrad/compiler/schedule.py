"""The order of a program's steps: elementwise instructions of one shape are gathered into runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from heapq import heappop, heappush
from math import prod
from typing import Any, Callable, Union

from .multi_tensor import Bundle, Column, bundles
from .program import EFFECTS, ELEMENTWISE, Instruction, Program, Value

Node = Union[Instruction, Bundle]

LONGEST_RUN = 100
"""Instructions of a run: a longer one is not quicker, and takes long to compile."""

MOST_TRIED = 100
"""Instructions that are tried before a run is taken to be complete."""


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

    @cached_property
    def represented(self) -> list[Instruction]:
        """The instructions of the program."""
        return [instruction for lane in self.lanes for instruction in lane] or self.instructions

    def lane_of(self, instruction: Instruction) -> list[Instruction]:
        """The instructions of the program that are done one after the other with this one."""
        return self._lane_of.get(instruction, self.instructions)

    @cached_property
    def _lane_of(self) -> dict[Instruction, list[Instruction]]:
        return {instruction: lane for lane in self.lanes for instruction in lane}

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

    @cached_property
    def leaf_reads(self) -> dict[int, list[tuple[Instruction, Value]]]:
        """For each leaf that is read the instructions of the program, and how they see it."""
        found: dict[int, list[tuple[Instruction, Value]]] = {}
        for instruction in self.represented:
            for value in instruction.values:
                if value.root.kind == "leaf":
                    found.setdefault(value.root.index, []).append((instruction, value))
        return found

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
    computed at any time, ends in the run that adds it, and needs no memory of its own. What has side effects
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
    ready = _Ready(able, position)
    for node in nodes:
        if not waiting[node]:
            ready.add(node)
    steps: list[Step] = []

    def done(node: Node) -> None:
        for source in sources[node]:
            waiting[source].discard(node)
            if not waiting[source]:
                ready.add(source)

    while (latest := ready.latest()) is not None:
        node = latest
        done(node)
        if isinstance(node, Bundle):
            steps.append(Step(node.instructions, node.lanes, node.columns))
            continue
        run = _Run(node)
        while node in able and len(run.instructions) < LONGEST_RUN and (chosen := ready.joining(run)) is not None:
            run.add(chosen)
            done(chosen)
        steps.append(Step(run.instructions[::-1]))
    return steps[::-1]


class _Ready:
    """The nodes that may come next, as seen from the end."""

    def __init__(self, able: set[Instruction], position: dict[Node, int]) -> None:
        self._able, self._position = able, position
        self._latest: list[tuple[bool, bool, int, Node]] = []
        self._of_shape: dict[Any, list[tuple[int, Instruction]]] = {}
        self._added: set[Node] = set()
        self._taken: set[Node] = set()

    def add(self, node: Node) -> None:
        """To be taken once."""
        if node in self._added:
            return
        self._added.add(node)
        # bundles come last, so that nothing reads the old data after them, which they thus replace in place; then
        # numbers, so that a sum that only they need can be part of a later pass over its operand
        lateness = isinstance(node, Bundle), node.out.size == 1
        heappush(self._latest, (not lateness[0], not lateness[1], -self._position[node], node))
        if node in self._able:
            heappush(self._of_shape.setdefault(node.run_shape, []), (-self._position[node], node))

    def latest(self) -> Node | None:
        """Take the one that should come last; None if there is none."""
        while self._latest:
            node = heappop(self._latest)[-1]
            if node not in self._taken:
                self._taken.add(node)
                return node
        return None

    def joining(self, run: _Run) -> Instruction | None:
        """Take the last one that can be done in the same pass; None if there is none."""
        candidates = self._of_shape.get(run.shape, [])
        others: list[tuple[int, Instruction]] = []
        chosen = None
        while candidates and chosen is None and len(others) < MOST_TRIED:
            entry = heappop(candidates)
            if entry[-1] in self._taken:
                continue
            if run.fits(entry[-1]):
                chosen = entry[-1]
                self._taken.add(chosen)
            else:
                others.append(entry)
        for entry in others:
            heappush(candidates, entry)
        return chosen


class _Run:
    """Instructions that are gathered from the end."""

    def __init__(self, last: Instruction) -> None:
        self.shape, self.instructions = last.run_shape, [last]
        self._read: set[Value] = {value.root for value in last.values}
        self._seen_otherwise: set[Value] = {value.root for value in last.values if value.root is not value}

    def add(self, instruction: Instruction) -> None:
        """Before all others."""
        self.instructions.append(instruction)
        self._read.update(value.root for value in instruction.values)
        self._seen_otherwise.update(value.root for value in instruction.values if value.root is not value)

    def fits(self, candidate: Instruction) -> bool:
        """Whether it can be done in the same pass: same shape, its result used there element by element."""
        operand = candidate.operands[0]
        if candidate.is_total and (operand.root is not operand or candidate.out in self._read):
            return False
        return candidate.out not in self._seen_otherwise


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
        needed = _needed_by(checks[-1], found)
        for node in nodes:
            if (isinstance(node, Bundle) or node.out in stored) and node not in needed:
                found[node].append(checks[-1])
    return {node: list(dict.fromkeys(sources)) for node, sources in found.items()}


def _needed_by(node: Node, sources: dict[Node, list[Node]]) -> set[Node]:
    """The node, and all that come before it."""
    stack, visited = [node], {node}
    while stack:
        for source in sources[stack.pop()]:
            if source not in visited:
                visited.add(source)
                stack.append(source)
    return visited
