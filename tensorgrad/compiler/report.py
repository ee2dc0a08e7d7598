"""A program as text that people read, and as notebooks show it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .emit import Executable

HEADER = ("step", "shape", "dtype", "kB", "ms", "calls")


def explained(executable: Executable, timed: bool) -> str:
    """A table of the steps: what is called, on what shape, the bytes of the buffers it fills, the time."""
    rows = [(*HEADER[:4], "ms" if timed else "", "calls"), *_rows(executable, timed)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join([*(f"{cell:>{width}}" for cell, width in zip(row, widths)), row[-1]]) for row in rows]
    return "\n".join([_summary(executable), _costs(executable), *lines])


def as_html(name: str, executables: Sequence[Executable], one_by_one: Iterable[str]) -> str:
    """What has been compiled of a function, a table of steps for each program; and what has not."""
    from .._html import card, folded, preformatted, shown, table  # which notebooks alone need

    parts = []
    for number, executable in enumerate(executables, 1):
        fused = "loops of numba" if executable.fast else "calls of NumPy, without numba"
        rows = [(step, shape, dtype, size, calls) for step, shape, dtype, size, _, calls in _rows(executable, False)]
        steps = table((*HEADER[:4], "calls"), rows, numbers=(0, 1, 3))
        content = f"<div>{shown(f'Fused runs are {fused}; {_costs(executable)}.')}</div>{steps}"
        parts.append(folded(f"program {number}", _summary(executable), content, len(executables) == 1))
    parts += map(preformatted, one_by_one)
    facts = ["nothing compiled yet; call it first, twice in the same way"] if not parts else ["compiled"]
    return card(name, facts, "".join(parts))


def _rows(executable: Executable, timed: bool) -> list[tuple[str, ...]]:
    """The steps as :data:`HEADER` says."""
    rows: list[tuple[str, ...]] = []
    arrays = executable.memory.arrays
    for index, step in enumerate(executable.steps):
        names = [instruction.name for instruction in step.instructions]
        calls = names[0] if len(names) == 1 else f"run of {len(names)}: {' '.join(names)}"
        calls += f" (for {len(step.lanes)} arrays)" if step.lanes else ""
        out = step.instructions[-1].out
        seconds = f"{1e3 * executable.seconds[index]:.3f}" if timed else ""
        held = sum(arrays[i.out].nbytes for i in step.instructions if i.out in arrays)
        shape = "x".join(map(str, step.shape)) or "0-d"
        rows.append((str(index), shape, str(out.dtype), f"{held / 1e3:,.1f}", seconds, calls))
    return rows


def _summary(executable: Executable) -> str:
    memory = executable.memory
    runs = sum(step.is_run and len(step.instructions) > 1 for step in executable.steps)
    return (
        f"{len(executable.program.instructions)} instructions in {len(executable.steps)} steps, {runs} of them fused "
        f"runs; {memory.nbytes / 1e6:.2f} MB of buffers, {len(memory.in_place)} arrays written in place"
    )


def _costs(executable: Executable) -> str:
    """What making the program took."""
    parts = "".join(f", {what} {1e3 * seconds:.1f}" for what, seconds in executable.made_in.items())
    return f"made in ms: recording {1e3 * executable.program.recorded_in:.1f}{parts}"
