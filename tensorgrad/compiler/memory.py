"""Where the arrays of a program live: buffers that are shared by values whose lifetimes do not overlap."""

from __future__ import annotations

from bisect import bisect, insort
from collections import Counter
from collections.abc import Sequence, Set
from functools import partial
from itertools import accumulate
from typing import Any
from weakref import ref

import numpy as np

from ..core import Tensor
from .multi_tensor import Column
from .program import Instruction, Program, Value
from .schedule import Step

DYNAMIC = ("call", "source")
"""Kinds whose results are made by the function itself, at an address that differs from replay to replay."""

ALIGNMENT = 64


class Workspace:
    """The memory that all programs of one function work in; they are never run at the same time.

    Attributes
    ----------
    blocks
        Buffers of what is not needed after a call.
    """

    def __init__(self) -> None:
        self.blocks: list[np.ndarray] = []
        self._gradients: dict[Any, tuple[list[ref[Tensor]], np.ndarray]] = {}  # as long as the leaves are there

    def gradients(self, leaves: Sequence[Tensor], nbytes: int) -> np.ndarray:
        """The buffer for the gradients of these leaves, which stay there until the next call."""
        key = (*map(id, leaves), nbytes)
        if key not in self._gradients:
            self.keep_gradients(leaves, _aligned(nbytes))
        return self._gradients[key][1]

    def keep_gradients(self, leaves: Sequence[Tensor], buffer: np.ndarray) -> None:
        """Let these bytes be the buffer for the gradients of these leaves."""
        key = (*map(id, leaves), buffer.nbytes)
        forget = partial(_forget, ref(self), key)
        self._gradients[key] = [ref(leaf, forget) for leaf in leaves], buffer


def _forget(workspace: ref[Workspace], key: object, _: object) -> None:
    if (found := workspace()) is not None:
        found._gradients.pop(key, None)


class Memory:
    """Decides, for every value that outlives its step, which array holds it.

    Attributes
    ----------
    arrays
        Buffers of values.
    in_place
        For values that are computed right into the data of a leaf: the position of the leaf.
    side_by_side
        For whole columns of a bundle: the positions of the leaves whose data they are.
    lent
        For values whose buffer becomes the ``.grad`` of a leaf: the position of the leaf.
    nbytes
        Of the buffers that it has added to the workspace.
    """

    def __init__(self, program: Program, steps: list[Step], workspace: Workspace) -> None:
        self.program, self.steps, self._workspace = program, steps, workspace
        self.arrays: dict[Value, np.ndarray] = {}
        self.in_place: dict[Value, int] = {}
        self.side_by_side: dict[Value, tuple[int, ...]] = {}
        self.nbytes = 0
        self._free = sorted((block.nbytes, id(block), block) for block in workspace.blocks)
        self._blocks: dict[Value, np.ndarray] = {}
        self.last_use = self._last_uses()
        self._store_in_place()
        self._lay_side_by_side()
        self._column_of = self._columns()
        read = (*program.results(), *(v for i in program.instructions for v in i.values))
        self._old_gradients = {value.root.index for value in read if value.root.kind == "gradient"}
        self.lent = self._lent()
        self._allocate()

    def outlives(self, value: Value, step: int) -> bool:
        """Whether a value is needed after the step that computes it."""
        return self.last_use.get(value, -1) > step

    def _last_uses(self) -> dict[Value, int]:
        last: dict[Value, int] = {}
        for index, step in enumerate(self.steps):
            for value in step.reads():
                last[value.root] = index
        for value in self.program.results():
            last[value.root] = len(self.steps)
        return last

    def _store_in_place(self) -> None:
        """New data of a leaf goes right into its array where nothing reads the old data afterwards."""
        position = {i.out: n for n, step in enumerate(self.steps) for i in step.represented}
        stores = [(leaf, value) for leaf, value in self.program.stores if isinstance(value, Value)]
        times = Counter(value for _, value in stores)
        last_read = {leaf: n for n, step in enumerate(self.steps) for leaf in step.leaf_reads}
        needed = {value.root.index for value in self.program.results() if value.root.kind == "leaf"}
        for leaf, value in stores:
            if value.root is not value or value.instruction is None or value.instruction.kind in DYNAMIC:
                continue
            is_last = last_read.get(leaf, -1) <= position[value] and self._is_last(
                leaf, value.instruction, position[value]
            )
            if times[value] == 1 and leaf not in needed and is_last:
                self.in_place[value] = leaf

    def _is_last(self, leaf: int, writer: Instruction, index: int) -> bool:
        """Whether nothing in the step of that index reads a leaf once ``writer`` has written to it."""
        step = self.steps[index]
        reads = step.leaf_reads.get(leaf, [])
        if not step.is_run:
            return not reads
        # only a ufunc reads an element before it writes it
        lane, shape = step.lane_of(writer), writer.run_shape
        before = lane[: lane.index(writer) + (writer.kind == "ufunc")]
        return all(reader in before and value.kind == "leaf" and value.shape == shape for reader, value in reads)

    def _lay_side_by_side(self) -> None:
        """Columns of leaves: of those that a bundle computes in place, in all of its lanes or in none."""
        columns = [column for step in self.steps for column in step.columns]
        for column in columns:
            leaves = tuple(self.in_place[part] for part in column.parts if part in self.in_place)
            if len(leaves) == len(column.parts):
                self.side_by_side[column.whole] = leaves
            elif column.given:
                for part in column.parts:
                    self.in_place.pop(part, None)
        known = set(self.side_by_side.values())
        for column in columns:
            positions = tuple(part.index for part in column.parts if part.kind == "leaf")
            if positions in known:
                self.side_by_side[column.whole] = positions

    def _columns(self) -> dict[Value, Column]:
        """The columns that are buffers, for each of their parts: what bundles give and, where it can be, take.

        What they take is copied together where the program does not make it, or makes it for two bundles.
        """
        found: dict[Value, Column] = {}
        for index, step in enumerate(self.steps):
            for column in step.columns:
                kept = column.whole not in self.side_by_side and any(self.outlives(x, index) for x in column.parts)
                if column.given and kept:
                    found.update(dict.fromkeys(column.parts, column))
        for column in (column for step in self.steps for column in step.columns if not column.given):
            parts = set(column.parts)
            makers = [part.instruction for part in column.parts if part.root is part and part.instruction is not None]
            made = len(makers) == len(parts) == len(column.parts) and all(i.kind not in DYNAMIC for i in makers)
            if made and parts.isdisjoint({*found, *self.in_place}):
                found.update(dict.fromkeys(parts, column))
        return found

    def _lent(self) -> dict[Value, int]:
        """The gradients that stay in their buffers; a leaf that shares one with another gets a copy."""
        lent: dict[Value, int] = {}
        if any(leaf in self._old_gradients for leaf, _ in self.program.gradients):
            return lent
        for leaf, value in self.program.gradients:
            is_own = isinstance(value, Value) and value.root is value and value.kind == "result"
            if is_own and value not in self.in_place:
                lent.setdefault(value, leaf)
        return lent

    def _allocate(self) -> None:
        """Give each value that outlives its step a buffer; gradients, and what they take the place of, their own."""
        kept = {value: self.program.leaves[leaf] for value, leaf in self.lent.items()}
        plan = self._plan(kept.keys())
        leaves = {value: [leaf] for value, leaf in kept.items()}
        columns = {column.whole: column for column in self._column_of.values()}
        for whole, column in columns.items():
            leaves[whole] = [kept[part] for part in column.parts if part in kept]
        for what, value, given in reversed(plan):
            if what == "take":
                leaves[given] = leaves.get(value, [])
        for what, value, given in plan:
            if what == "take":
                self._blocks[value], self.arrays[value] = self._blocks.pop(given), self.arrays[given]
            elif what == "place":
                self._place(value, leaves.get(value, []))
                if value in columns:
                    self.arrays.update(zip(columns[value].parts, columns[value].cut(self.arrays[value])))
            elif not leaves.get(value):
                block = self._blocks.pop(value)
                insort(self._free, (block.nbytes, id(block), block))

    def _plan(self, kept: Set[Value]) -> list[tuple[str, Value, Value]]:
        """In their order: ("place", value, value) where a buffer is needed, ("take", value, other) where it can be that
        of another value, ("free", value, value) where it is needed no more."""
        plan: list[tuple[str, Value, Value]] = []
        planned: set[Value] = set()
        dying: dict[int, list[Value]] = {}
        for index, step in enumerate(self.steps):
            for instruction in step.represented:
                out = instruction.out
                if instruction.kind in (*DYNAMIC, "check") or out in self.in_place:
                    continue
                if (column := self._column_of.get(out)) is not None:
                    if column.whole not in planned:
                        planned.add(column.whole)
                        plan.append(("place", column.whole, column.whole))
                        if kept.isdisjoint(column.parts):
                            last = max(self.last_use.get(part, index) for part in column.parts)
                            dying.setdefault(last, []).append(column.whole)
                    continue
                if step.is_run and not self.outlives(out, index):
                    continue
                given = self._given_up(step, index, instruction, dying) if step.is_run else None
                if given is None:
                    plan.append(("place", out, out))
                else:
                    dying[index].remove(given)
                    plan.append(("take", out, given))
                if out not in kept:
                    dying.setdefault(self.last_use.get(out, index), []).append(out)
            plan += [("free", value, value) for value in dying.pop(index, ())]
        return plan

    def _given_up(self, step: Step, index: int, writer: Instruction, dying: dict[int, list[Value]]) -> Value | None:
        """An operand of a run that is not needed any more once ``writer`` has its result, which can take its place."""
        later = step.instructions[step.instructions.index(writer) + writer.may_overwrite :]
        for value in dying.get(index, ()):
            if value.shape == writer.out.shape and value.dtype == writer.out.dtype and value.shape == step.shape:
                readers = [i for i in step.instructions for v in i.values if v.root is value]
                directly = all(v is value for i in readers for v in i.values if v.root is value)
                if readers and directly and not any(reader in later for reader in readers):
                    return value
        return None

    def _place(self, value: Value, leaves: list[Tensor]) -> None:
        """Give it a buffer: one that is free, or if it is the gradient of leaves one that nothing else is put into."""
        needed = max(value.nbytes, 1)
        smallest = bisect(self._free, (needed,))
        if leaves:  # those of the call before may lie in the workspace
            block = _aligned(needed) if self._old_gradients else self._workspace.gradients(leaves, needed)
        elif smallest < len(self._free) and self._free[smallest][0] <= 4 * needed + 4096:
            block = self._free.pop(smallest)[-1]
        else:
            block = _aligned(needed)
            self._workspace.blocks.append(block)
            self.nbytes += needed
        self._blocks[value] = block
        self.arrays[value] = block[: value.nbytes].view(value.dtype).reshape(value.shape)


def side_by_side(tensors: Sequence[Tensor]) -> np.ndarray:
    """The data of tensors of one dtype as one array, of which it becomes a part each, if it is not that already."""
    arrays = [tensor._array for tensor in tensors]
    block: Any = arrays[0].base
    start = _address(arrays[0])
    ends = list(accumulate(array.nbytes for array in arrays))
    if any(a.base is not block or block is None or _address(a) + a.nbytes != start + e for a, e in zip(arrays, ends)):
        block = _aligned(ends[-1])
        start = _address(block)
        for tensor, array, end in zip(tensors, arrays, ends):
            tensor._array = block[end - array.nbytes : end].view(array.dtype).reshape(array.shape)
            tensor._array[...] = array
    offset = start - _address(block)
    whole: np.ndarray = block[offset : offset + ends[-1]].view(arrays[0].dtype)
    return whole


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _aligned(nbytes: int) -> np.ndarray:
    """Bytes that start at a multiple of a cache line."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -_address(raw) % ALIGNMENT
    return raw[start : start + nbytes]
