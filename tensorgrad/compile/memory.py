"""Where the arrays of a program live: buffers that are shared by values whose lifetimes do not overlap."""

from __future__ import annotations

import numpy as np

from .program import Instruction, Program, Value
from .schedule import Step

DYNAMIC = ("call", "source")
"""Kinds whose results are made by the function itself, at an address that differs from replay to replay."""

ALIGNMENT = 64


class Memory:
    """Decides, for every value that outlives its step, which array holds it.

    Attributes
    ----------
    arrays
        Buffers by the identity of their value.
    in_place
        For values that are computed right into the data of a leaf: the position of the leaf.
    """

    def __init__(self, program: Program, steps: list[Step]) -> None:
        self.program, self.steps = program, steps
        self.arrays: dict[int, np.ndarray] = {}
        self.in_place: dict[int, int] = {}
        self.nbytes = 0
        self._free: list[np.ndarray] = []
        self._blocks: dict[int, np.ndarray] = {}
        self.last_use = self._last_uses()
        self._store_in_place()
        self._allocate()

    def outlives(self, value: Value, step: int) -> bool:
        """Whether a value is needed after the step that computes it."""
        return self.last_use.get(id(value), -1) > step

    def _last_uses(self) -> dict[int, int]:
        last: dict[int, int] = {}
        for index, step in enumerate(self.steps):
            for instruction in step.instructions:
                for value in instruction.values:
                    last[id(value.root)] = index
        for value in self.program.results():
            last[id(value.root)] = len(self.steps)
        return last

    def _store_in_place(self) -> None:
        """New data of a leaf goes right into its array where nothing reads the old data afterwards."""
        position = {id(i.out): n for n, step in enumerate(self.steps) for i in step.instructions}
        stores = [(leaf, value) for leaf, value in self.program.stores if isinstance(value, Value)]
        needed = {value.root.index for value in self.program.results() if value.root.kind == "leaf"}
        for leaf, value in stores:
            if value.root is not value or value.instruction is None or value.instruction.kind in DYNAMIC:
                continue
            once = sum(other is value for _, other in stores) == 1
            if once and leaf not in needed and self._is_last(leaf, value.instruction, position[id(value)]):
                self.in_place[id(value)] = leaf

    def _is_last(self, leaf: int, writer: Instruction, index: int) -> bool:
        """Whether nothing reads a leaf once ``writer``, in the step of that index, has written to it."""
        if any(v.root.kind == "leaf" and v.root.index == leaf for s in self.steps[index + 1 :] for v in s.values()):
            return False
        step = self.steps[index]
        reads = [
            (instruction, value)
            for instruction in step.instructions
            for value in instruction.values
            if value.root.kind == "leaf" and value.root.index == leaf
        ]
        if not step.is_run:
            return not reads
        # only a ufunc reads an element before it writes it
        before = step.instructions[: step.instructions.index(writer) + (writer.kind == "ufunc")]
        return all(reader in before and value.kind == "leaf" and value.shape == step.shape for reader, value in reads)

    def _allocate(self) -> None:
        kept = {id(value.root) for _, value in self.program.gradients if isinstance(value, Value)}
        dying: dict[int, list[Value]] = {}
        for index, step in enumerate(self.steps):
            for instruction in step.instructions:
                out = instruction.out
                if instruction.kind in (*DYNAMIC, "check") or id(out) in self.in_place:
                    continue
                if step.is_run and not self.outlives(out, index):
                    continue
                given = self._given_up(step, index, instruction, dying) if step.is_run else None
                if given is None:
                    self._place(out)
                else:
                    dying[index].remove(given)
                    self._blocks[id(out)], self.arrays[id(out)] = self._blocks.pop(id(given)), self.arrays[id(given)]
                if id(out) not in kept:
                    dying.setdefault(self.last_use.get(id(out), index), []).append(out)
            for value in dying.pop(index, ()):
                self._free.append(self._blocks.pop(id(value)))

    def _given_up(self, step: Step, index: int, writer: Instruction, dying: dict[int, list[Value]]) -> Value | None:
        """An operand of a run that is not needed any more once ``writer`` has its result, which can take its place."""
        later = step.instructions[step.instructions.index(writer) + (writer.kind == "ufunc") :]
        for value in dying.get(index, ()):
            if value.shape == writer.out.shape and value.dtype == writer.out.dtype and value.shape == step.shape:
                readers = [i for i in step.instructions for v in i.values if v.root is value]
                directly = all(v is value for i in readers for v in i.values if v.root is value)
                if readers and directly and not any(reader in later for reader in readers):
                    return value
        return None

    def _place(self, value: Value) -> None:
        needed = max(value.nbytes, 1)
        fitting = [block for block in self._free if needed <= block.nbytes <= 4 * needed + 4096]
        if fitting:
            block = min(fitting, key=lambda candidate: candidate.nbytes)
            self._free = [other for other in self._free if other is not block]
        else:
            block = _aligned(needed)
            self.nbytes += needed
        self._blocks[id(value)] = block
        self.arrays[id(value)] = block[: value.nbytes].view(value.dtype).reshape(value.shape)


def _aligned(nbytes: int) -> np.ndarray:
    """Bytes that start at a multiple of a cache line."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes]
