"""A program as text that people read."""

from __future__ import annotations

from .emit import Executable


def explained(executable: Executable, timed: bool) -> str:
    """A table of the steps: what is called, the shape of the result, its bytes, the time."""
    rows = [("step", "calls", "shape", "dtype", "ms" if timed else "")]
    for index, step in enumerate(executable.steps):
        names = [instruction.name for instruction in step.instructions]
        calls = names[0] if len(names) == 1 else f"run of {len(names)}: {' '.join(names)}"
        out = step.instructions[-1].out
        seconds = f"{1e3 * executable.seconds[index]:.3f}" if timed else ""
        rows.append((str(index), calls, "x".join(map(str, out.shape)) or "0-d", str(out.dtype), seconds))
    widths = [max(len(row[column]) for row in rows) for column in (0, 2, 3, 4)]
    lines = [
        f"{row[0]:>{widths[0]}}  {row[2]:>{widths[1]}}  {row[3]:>{widths[2]}}  {row[4]:>{widths[3]}}  {row[1]}"
        for row in rows
    ]
    memory = executable.memory
    runs = sum(step.is_run and len(step.instructions) > 1 for step in executable.steps)
    summary = (
        f"{len(executable.program.instructions)} instructions in {len(executable.steps)} steps, {runs} of them fused "
        f"runs; {memory.nbytes / 1e6:.2f} MB of buffers, {len(memory.in_place)} arrays written in place"
    )
    return "\n".join([summary, *lines])
