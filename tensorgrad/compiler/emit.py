"""The program as Python text: one line for each call, on buffers that exist already."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from math import prod
from types import CodeType
from typing import Any, Callable

import numpy as np

from ..core import Tensor
from ..core.arrays import PRIVATE
from ..core.node import sequence_nrs
from ..ops.reductions import FEW
from . import pooling, reductions
from .capture import replayed_output
from .kernels import Kernel, compiled, fusable, supported
from .memory import DYNAMIC, Memory, Workspace, side_by_side
from .multi_tensor import Column
from .program import Instruction, Program, Value, name_of, typed, values_of
from .schedule import Step, schedule
from .traced import CaptureError

BLOCK = 32768
"""Elements of a run done at a time, so that what passes between its instructions stays in the cache: on 5.87 M
parameters this takes Adam from 19 to 11 ms."""

EXTREMES = (np.maximum, np.minimum)
"""NumPy takes the result of these as ``out=`` only, while by position is quicker for the others. They are quick only
between two arrays, and along the columns of a matrix."""

FILLED = 8192
"""Elements up to which a number is made an array of the whole shape, not of the last axis, for the sake of these."""


class Executable:
    """A program that can be run: ``executable(arguments)``.

    Attributes
    ----------
    source
        The Python text.
    steps, memory
        What is done together, and where the arrays live: in a workspace that several programs may share.
    seconds
        Of each step, in the last call with ``timed=True``.
    made_in
        Seconds that its making took, by what was made.
    """

    def __init__(
        self,
        program: Program,
        arguments: Sequence[Value],
        fast: bool = False,
        workspace: Workspace | None = None,
        sums_as_numpy: bool = False,
    ) -> None:
        self.program, self.arguments = program, list(arguments)
        self.fast, self.sums_as_numpy = fast, sums_as_numpy
        self.made_in: dict[str, float] = {}
        with self._noted("order"):
            fuses = _fusable_but_sums if sums_as_numpy else fusable
            self.steps = schedule(program, fuses) if fast else schedule(program)
        with self._noted("buffers"):
            self.memory = Memory(program, self.steps, workspace or Workspace())
        self.seconds = [0.0] * len(self.steps)
        self._space: dict[str, Any] = {
            "copyto": np.copyto,
            "asarray": np.asarray,
            "array": np.array,
            "clock": time.perf_counter,
            "tick": sequence_nrs,
            "seconds": self.seconds,
            "bind": self._bind,
        }
        self._names: dict[Value, str] = {}
        self._constants: list[Any] = []
        self._static: dict[str, Callable[[], Any]] = {}  # variables that are made again when a leaf gets another array
        self._scratch: list[np.ndarray] = []
        self._columns: dict[tuple[int, ...], np.ndarray] = {}  # by the positions of the leaves whose data they are
        self._written: set[int] = set()  # the arrays that own the memory that a replay writes to for others to see
        self.fits = self._fits()
        self._views: dict[Value, list[Instruction]] = {}
        for instruction in program.instructions:
            if instruction.kind == "view":
                self._views.setdefault(instruction.out.root, []).append(instruction)
        with self._noted("text and kernels"):
            self.source = self._emit()
        self._timed: Callable[..., Any] | None = None
        with self._noted("Python's compiler"):
            self._run = self._compiled(self.source)
        if not program.leaves:
            self._bind()

    def __call__(self, arguments: Sequence[np.ndarray], timed: bool = False) -> Any:
        arguments = [array.copy() if id(_owner(array)) in self._written else array for array in arguments]
        if timed:
            if self._timed is None:
                self._timed = self._compiled(self._with_clock())
            return self._timed(*arguments)
        return self._run(*arguments)

    def with_memory_of_its_own(self) -> Executable:
        """The same, in a workspace that no other program shares."""
        return Executable(self.program, self.arguments, self.fast, None, self.sums_as_numpy)

    def take_leaves(self, tensors: Sequence[Tensor]) -> None:
        """Let other Tensors, of the same shapes and dtypes, be the leaves from now on."""
        for tensor in self.program.leaves:  # whose gradients may lie in the buffers
            if getattr(tensor, "_grad_is_lent", False):
                tensor._grad, tensor._grad_is_lent = tensor._grad.copy(), False  # type: ignore[union-attr]
        self.program.leaves[:] = tensors
        for index, tensor in enumerate(tensors):
            if self._space[f"P{index}"] is not tensor:
                self._space[f"P{index}"], self._space[f"p{index}"] = tensor, None
        if self.program.stores:
            self._space["changed"] = [tensors[leaf] for leaf, _ in self.program.stores]

    @contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.made_in[what] = time.perf_counter() - started

    def _compiled(self, source: str) -> Callable[..., Any]:
        exec(_code(source), self._space)
        run: Callable[..., Any] = self._space["run"]
        return run

    def _with_clock(self) -> str:
        lines = []
        for line in self.source.splitlines():
            if line.startswith("    # step "):
                step = line.split()[2]
                lines.append(f"    now = clock(); seconds[last] += now; seconds[{step}] = -now; last = {step}")
            lines.append(line)
            if line.startswith("def run"):
                lines.append("    last = 0; seconds[0] = 0.0")
            if line.startswith("    # effects"):
                lines.append("    seconds[last] += clock()")
        return "\n".join(lines) + "\n"

    def _fits(self) -> Callable[[], bool]:
        """Whether the program may be used in the present state of what it depends on, as one expression."""
        conditions = []
        for owner, attribute, value in self.program.guarded:
            conditions.append(f"{self._constant(owner)}.{attribute} == {self._constant(value)}")
        conditions += [f"{self._constant(guard)}()" for guard in self.program.guards]
        exec(_code(f"def fits():\n    return {' and '.join(conditions) or 'True'}\n"), self._space)
        fits: Callable[[], bool] = self._space["fits"]
        return fits

    # Names

    def _constant(self, value: object) -> str:
        self._constants.append(value)
        name = f"c{len(self._constants) - 1}"
        self._space[name] = value
        return name

    def _is_static(self, value: Value) -> bool:
        """Whether the value has the same address in each replay, as long as no leaf gets another array."""
        root = value.root
        return root.kind in ("leaf", "constant") or root in self.memory.arrays or root in self.memory.in_place

    def _bind(self) -> None:
        stored = {leaf for leaf, _ in self.program.stores}
        for index, tensor in enumerate(self.program.leaves):
            if index in stored and not (tensor._memory is PRIVATE and tensor._array.flags.c_contiguous):
                tensor._set_array(tensor._array.copy())
        leaves = self.program.leaves
        for positions in dict.fromkeys(self.memory.side_by_side.values()):
            self._columns[positions] = side_by_side([leaves[position] for position in positions])
        for index, tensor in enumerate(self.program.leaves):
            self._space[f"p{index}"] = tensor._array
        self._note_written()
        for name, make in self._static.items():
            self._space[name] = make()

    def _note_written(self) -> None:
        gradients = [value for _, value in self.program.gradients if isinstance(value, Value)]
        owners = [_owner(self.memory.arrays[value]) for value in gradients if value in self.memory.arrays]
        self._written = set(map(id, owners))
        for value in {v for i in self.program.instructions for v in i.values}:
            if value.array is not None and id(_owner(value.array)) in self._written:
                raise CaptureError(
                    f"compile: an array of shape {value.shape} from outside is the .grad of a tensor that is assigned "
                    "to; use tensor.grad inside, or a copy of the array"
                )

    # Text

    def _emit(self) -> str:
        program = self.program
        lines = []
        for index, tensor in enumerate(program.leaves):
            self._space[f"P{index}"], self._space[f"p{index}"] = tensor, None
        changed = " or ".join(f"P{i}._array is not p{i}" for i in range(len(program.leaves)))
        if changed:
            lines += [f"if {changed}:", "    bind()"]
        lines += self._values_from_outside()
        for index, step in enumerate(self.steps):
            lines.append(f"# step {index} {', '.join(i.name for i in step.instructions)}")
            lines += self._run_lines(index, step) if step.is_run else self._single(step.instructions[0])
            for instruction in step.represented:
                lines += self._views_of(instruction.out)
        lines.append("# effects")
        lines += self._effects()
        parameters = ", ".join(f"a{value.index}" for value in self.arguments)
        return f"def run({parameters}):\n" + "\n".join(f"    {line}" for line in lines) + "\n"

    def _values_from_outside(self) -> list[str]:
        lines = []
        used = (v for i in self.program.instructions for v in i.values)
        for root in dict.fromkeys(v.root for v in (*used, *self.program.results())):
            if root.kind == "result":
                continue
            prefix = {"argument": "a", "leaf": "p", "gradient": "g"}.get(root.kind)
            self._names[root] = f"{prefix}{root.index}" if prefix else self._constant(root.array)
            if root.kind == "gradient":
                lines.append(f"g{root.index} = asarray(P{root.index}._grad)")
            lines += self._views_of(root)
        return lines

    def _views_of(self, root: Value) -> list[str]:
        """Lines for the views of a value that is made again in each replay; views of others are bound once."""
        lines = []
        for instruction in self._views.pop(root, ()):
            name = self._names[instruction.out] = f"v{len(self._names)}"
            if self._is_static(instruction.values[0]):
                self._static[name] = partial(self._view, instruction)
                continue
            operands = [self._names[x] if isinstance(x, Value) else self._constant(x) for x in instruction.operands]
            lines.append(f"{name} = {self._call_text(instruction, operands)}")
        return lines

    def _view(self, instruction: Instruction) -> Any:
        """The result of an instruction on what is there before a replay."""
        operands = [self._array(x) if isinstance(x, Value) else x for x in instruction.operands]
        return instruction.function(*operands, **instruction.settings)

    def _array(self, value: Value) -> Any:
        return self._space[self._names[value]]

    def _reshaped(self, value: Value, shape: tuple[int, ...]) -> Any:
        return self._array(value).reshape(shape)

    def _call_text(self, instruction: Instruction, operands: list[str], function: object = None) -> str:
        settings = [f"{name}={self._constant(value)}" for name, value in instruction.settings.items()]
        return f"{self._constant(function or instruction.function)}({', '.join([*operands, *settings])})"

    def _declare(self, value: Value) -> str:
        """The name of a result: its buffer, the leaf that it is computed into, or a variable."""
        leaf = self.memory.in_place.get(value)
        array = self.memory.arrays.get(value)
        name = f"r{len(self._names)}" if leaf is None and array is None else f"b{len(self._names)}"
        if leaf is not None:
            name = f"p{leaf}"
        elif array is not None:
            self._space[name] = array
        self._names[value] = name
        return name

    def _operand(self, instruction: Instruction, operand: object, shape: tuple[int, ...] = ()) -> str:
        """The name of an operand, for a run over arrays of that shape."""
        if isinstance(operand, Value):
            return self._names[operand]
        constant = typed(instruction, operand)
        if instruction.function in EXTREMES and np.ndim(constant) == 0 and len(shape) > 1:
            # 0.9 us instead of 2.1 for 4,096 elements, 5 instead of 23 for 65,536
            constant = np.full(shape if prod(shape) <= FILLED else shape[-1:], constant)
        return self._constant(constant)

    def _single(self, instruction: Instruction) -> list[str]:
        operands = [self._operand(instruction, x) for x in instruction.operands]
        if instruction.kind == "check":
            return [self._call_text(instruction, operands)]
        out = self._declare(instruction.out)
        if instruction.kind in DYNAMIC:
            shape, check = self._constant(instruction.out.shape), self._constant(_unexpected_shape)
            return [
                f"{out} = asarray({self._call_text(instruction, operands)}, order='C')",
                f"if {out}.shape != {shape}:",
                f"    raise {check}({instruction.name!r}, {shape}, {out}.shape)",
            ]
        if instruction.kind == "fill":
            quicker = pooling.find(instruction) if self.fast else None
            return [self._call_text(instruction, [*operands, f"out={out}"], quicker)]
        if instruction.kind == "reduce" and self.fast and (kernel := reductions.find(instruction)) is not None:
            shapes = [self._constant(shape) for shape in kernel.shapes]
            return [
                f"{self._constant(kernel.function)}({operands[0]}.reshape({shapes[0]}), {out}.reshape({shapes[1]}))"
            ]
        if instruction.kind == "reduce":
            function = self._constant(instruction.function.reduce)  # type: ignore[attr-defined]
            axis = self._constant(instruction.settings["axis"])
            if _has_short_rows(instruction):
                columns = self._constant(np.empty(instruction.values[0].shape[::-1], instruction.out.dtype))
                return [f"copyto({columns}, {operands[0]}.T)", f"{function}({columns}, 0, None, {out})"]
            return [f"{function}({operands[0]}, {axis}, None, {out})"]
        return [f"{self._constant(instruction.function)}({operands[0]}, {operands[1]}, {out})"]

    # Runs

    def _run_lines(self, index: int, step: Step) -> list[str]:
        """A run: in one piece if it is small, else block by block."""
        lines = [line for column in step.columns for line in self._column_lines(column)]
        for instruction in step.represented:
            if self._escapes(instruction.out):
                self._declare(instruction.out)
        if self.fast and supported(step):
            return lines + self._kernel_lines(index, step)
        if step.size <= 2 * BLOCK or len(step.instructions) == 1:
            return lines + self._elementwise(step, self._temporaries(step, f"t{index}_"), step.shape)
        return self._blocks(index, step)

    def _column_lines(self, column: Column) -> list[str]:
        """Name an array of all lanes; lines that copy it together, where the lanes do not lie side by side."""
        whole, name = column.whole, f"w{len(self._names)}"
        leaves, buffer = self.memory.side_by_side.get(whole), self.memory.arrays.get(whole)
        if leaves is None and buffer is None and column.given:
            return []  # nobody but the bundle needs it
        self._names[whole] = name
        if leaves is not None:
            self._static[name] = partial(self._columns.__getitem__, leaves)
            return []
        if buffer is not None:
            self._space[name] = buffer
            return []
        together = self._space[name] = np.empty(whole.shape, whole.dtype)
        return [
            f"copyto({self._constant(piece)}, {self._names[part]})"
            for piece, part in zip(column.cut(together), column.parts)
        ]

    def _escapes(self, value: Value) -> bool:
        memory = self.memory
        return value in memory.arrays or value in memory.in_place or value in memory.side_by_side

    def _elementwise(self, step: Step, names: dict[Any, str], shape: tuple[int, ...]) -> list[str]:
        """One line for each instruction; ``names`` come before the usual ones."""
        lines = []
        for instruction in step.instructions:
            operands = [names.get(x) or self._operand(instruction, x, shape) for x in instruction.operands]
            out = names.get(instruction.out) or self._names[instruction.out]
            if instruction.is_total:
                total = names.get(("total", instruction.out)) or self._total(instruction.out, out)
                lines.append(f"{self._constant(np.add.reduce)}({operands[0]}, None, None, {total})")
            elif instruction.kind == "select":
                lines += [f"copyto({out}, {operands[2]})", f"copyto({out}, {operands[1]}, where={operands[0]})"]
            elif instruction.kind == "cast":
                lines.append(f"{out}[...] = {operands[0]}")
            else:
                keyword = "out=" if instruction.function in EXTREMES else ""
                function = self._function(instruction.function)
                lines.append(f"{function}({', '.join(operands)}, {keyword}{out})")
        return lines

    def _total(self, value: Value, name: str) -> str:
        """The buffer of a sum of everything as a 0-d array, whatever axes it keeps."""
        self._space[f"{name}_total"] = self.memory.arrays[value].reshape(())
        return f"{name}_total"

    def _function(self, function: Any) -> str:
        name = f"np_{function.__name__}"
        if self._space.setdefault(name, function) is not function:
            return self._constant(function)
        return name

    def _temporaries(self, step: Step, prefix: str) -> dict[Any, str]:
        """Scratch arrays for what does not outlive the run; each is taken again as soon as it is free."""
        slots = self._slots(step)
        names = {}
        for value, slot in slots:
            name = f"{prefix}{slot}_{name_of(value.dtype)}"
            self._space[name] = self._scratch_array(slot, step.shape, value.dtype)
            names[value] = name
        return names

    def _slots(self, step: Step) -> list[tuple[Value, int]]:
        last: dict[Value, int] = {}
        for position, instruction in enumerate(step.instructions):
            for value in instruction.values:
                last[value] = position
        slots: list[tuple[Value, int]] = []
        busy: dict[int, tuple[int, Any]] = {}  # slot -> the instruction after which it is free, and the dtype in it
        for position, instruction in enumerate(step.instructions):
            if self._escapes(instruction.out):
                continue
            dtype = instruction.out.dtype
            taken = set()
            for slot, (end, held) in busy.items():  # the result of a ufunc may take the place of an operand
                if end > position or (end == position and not (instruction.may_overwrite and held == dtype)):
                    taken.add(slot)
            slot = next(s for s in range(len(step.instructions)) if s not in taken)
            busy[slot] = max(last.get(instruction.out, position), position), dtype
            slots.append((instruction.out, slot))
        return slots

    def _scratch_array(self, slot: int, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        needed = prod(shape) * dtype.itemsize
        while len(self._scratch) <= slot:
            self._scratch.append(np.empty(BLOCK * 8, np.uint8))
        if self._scratch[slot].nbytes < needed:
            self._scratch[slot] = np.empty(needed, np.uint8)
        return self._scratch[slot][:needed].view(dtype).reshape(shape)

    def _blocks(self, index: int, step: Step) -> list[str]:
        """A loop over blocks; the slices of arrays that stay where they are have been cut in advance."""
        everything = dict.fromkeys((*step.values(), *(i.out for i in step.instructions)))
        temporary = dict(self._slots(step))
        totals = [instruction.out for instruction in step.instructions if instruction.is_total]
        for value in totals:
            del everything[value]
        flat = all((v.shape == step.shape and v.contiguous) or not v.shape for v in everything)
        values = [v for v in everything if _goes_along(v.shape, step.shape)]
        shape = (step.size,) if flat else step.shape
        rows = max(1, BLOCK * shape[0] // step.size)
        starts = range(0, shape[0], rows)
        loop: dict[Any, str] = {}
        cut, static = [], []
        for number, value in enumerate(values):
            name = loop[value] = f"x{number}"
            if value in temporary or self._is_static(value):
                static.append((name, value))
            else:
                cut.append(f"    {name} = {self._names[value]}{'.reshape(-1)' if flat else ''}[i:j]")

        partial_sums = [np.empty(len(starts), value.dtype) for value in totals]
        for number, value in enumerate(totals):
            loop["total", value] = f"s{number}"

        def slices() -> list[tuple[Any, ...]]:
            rest = shape[1:]
            found = []
            for block, start in enumerate(starts):
                end = min(start + rows, shape[0])
                row: list[Any] = [start, end] if cut else []
                for _, value in static:
                    if value in temporary:
                        array = self._scratch_array(temporary[value], (rows, *rest), value.dtype)
                        row.append(array[: end - start])
                    else:
                        array = self._array(value)
                        row.append((array.reshape(-1) if flat else array)[start:end])
                row += [sums[block : block + 1].reshape(()) for sums in partial_sums]
                found.append(tuple(row))
            return found

        self._static[f"k{index}"] = slices
        targets = [*(["i", "j"] if cut else []), *(name for name, _ in static), *(f"s{n}" for n in range(len(totals)))]
        body = self._elementwise(step, loop, (1, *shape[1:]))
        lines = [f"for {', '.join(targets)}, in k{index}:", *cut, *(f"    {line}" for line in body)]
        for value, sums in zip(totals, partial_sums):
            name, reduce = self._names[value], self._constant(np.add.reduce)
            lines.append(f"{reduce}({self._constant(sums)}, None, None, {self._total(value, name)})")
        return lines

    def _kernel_lines(self, index: int, step: Step) -> list[str]:
        """A run as one call of a kernel."""
        kernel = Kernel(step, self._escapes, self._place_of)
        operands = []
        for number, (value, shape) in enumerate(kernel.arrays):
            name = self._names[value]
            if shape != value.shape:
                if self._is_static(value):
                    name = f"k{index}_{number}"
                    self._static[name] = partial(self._reshaped, value, shape)
                else:
                    name += f".reshape({self._constant(shape)})"
            operands.append(name)
        function = compiled(kernel.source, [(value.dtype, len(shape)) for value, shape in kernel.arrays])
        return [f"{self._constant(function)}({', '.join(operands)})"]

    def _place_of(self, value: Value) -> Any:
        """Equal for values that are the same memory, where one is computed into the place of the other."""
        if (leaves := self.memory.side_by_side.get(value)) is not None:
            return "leaves", leaves
        if value.kind == "leaf" or value in self.memory.in_place:
            return "leaf", self.memory.in_place.get(value, value.index)
        array = self.memory.arrays.get(value)
        return value if array is None else array.__array_interface__["data"][0]

    # The end

    def _effects(self) -> list[str]:
        program = self.program
        lines = []
        shown = dict.fromkeys(values_of(program.outputs))
        pairs = ", ".join(f"{self._constant(value)}: {self._names[value]}" for value in shown)
        self._space["output"] = partial(replayed_output, program)
        lines.append(f"result = output({{{pairs}}})")
        for leaf, value in program.gradients:
            name = self._names[value] if isinstance(value, Value) else self._constant(value)
            is_lent = isinstance(value, Value) and self.memory.lent.get(value) == leaf
            given = name if value is None or is_lent else f"array({name})"
            lines.append(f"P{leaf}._grad, P{leaf}._grad_is_lent = {given}, {is_lent}")
        late = []
        for leaf, value in program.stores:
            if isinstance(value, Value) and value in self.memory.in_place:
                pass
            elif isinstance(value, Value):
                lines.append(f"n{leaf} = {self._names[value]}" + (".copy()" if value.root.kind == "leaf" else ""))
                late.append(f"copyto(p{leaf}, n{leaf})")
            else:
                late.append(f"copyto(p{leaf}, {self._constant(value)})")
        if program.stores:
            self._space["changed"] = [program.leaves[leaf] for leaf, _ in program.stores]
            late += ["for tensor in changed:", "    tensor._node.sequence_nr = next(tick)"]
        return [*lines, *late, "return result"]


@lru_cache(maxsize=256)
def _code(source: str) -> CodeType:
    """Programs of networks that are alike have the same text."""
    return compile(source, "<compiled step>", "exec")


def _fusable_but_sums(instruction: Instruction) -> bool:
    return not instruction.is_total and fusable(instruction)


def _has_short_rows(instruction: Instruction) -> bool:
    """Whether it looks for the largest or smallest of each of many short rows; see :func:`largest`."""
    x = instruction.operands[0]
    extreme = instruction.function in (np.maximum, np.minimum)
    return extreme and len(x.shape) == 2 and instruction.settings["axis"] == 1 and x.shape[1] <= FEW < x.shape[0]


def _owner(array: np.ndarray) -> Any:
    """The array that the memory belongs to."""
    return array if array.base is None else array.base


def _unexpected_shape(name: str, expected: tuple[int, ...], came: tuple[int, ...]) -> CaptureError:
    return CaptureError(
        f"{name}: gave shape {expected} when the function was compiled and now {came}; in a compiled function shapes "
        "cannot depend on values: instead of picking or assigning elements by a mask write np.where(mask, value, x)"
    )


def _goes_along(shape: tuple[int, ...], run: tuple[int, ...]) -> bool:
    """Whether an operand of that shape is cut along the first axis together with the run; others are repeated."""
    return len(shape) == len(run) and shape[0] == run[0]
