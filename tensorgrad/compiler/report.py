"""A program as text that people read."""

from __future__ import annotations

from .emit import Executable


def explained(executable: Executable, timed: bool) -> str:
    """A table of the steps: what is called, on what shape, the bytes of the buffers it fills, the time."""
    memory = executable.memory
    rows = [("step", "calls", "shape", "dtype", "kB", "ms" if timed else "")]
    for index, step in enumerate(executable.steps):
        names = [instruction.name for instruction in step.instructions]
        calls = names[0] if len(names) == 1 else f"run of {len(names)}: {' '.join(names)}"
        calls += f" (for {len(step.lanes)} arrays)" if step.lanes else ""
        out = step.instructions[-1].out
        seconds = f"{1e3 * executable.seconds[index]:.3f}" if timed else ""
        held = sum(memory.arrays[i.out].nbytes for i in step.instructions if i.out in memory.arrays)
        shape = "x".join(map(str, step.shape)) or "0-d"
        rows.append((str(index), calls, shape, str(out.dtype), f"{held / 1e3:,.1f}", seconds))
    widths = [max(len(row[column]) for row in rows) for column in (0, 2, 3, 4, 5)]
    lines = []
    for step_number, calls, *cells in rows:
        columns = [f"{cell:>{width}}" for cell, width in zip((step_number, *cells), widths)]
        lines.append("  ".join([*columns, calls]))
    runs = sum(step.is_run and len(step.instructions) > 1 for step in executable.steps)
    summary = (
        f"{len(executable.program.instructions)} instructions in {len(executable.steps)} steps, {runs} of them fused "
        f"runs; {memory.nbytes / 1e6:.2f} MB of buffers, {len(memory.in_place)} arrays written in place"
    )
    parts = "".join(f", {what} {1e3 * seconds:.1f}" for what, seconds in executable.made_in.items())
    costs = f"made in ms: recording {1e3 * executable.program.recorded_in:.1f}{parts}"
    return "\n".join([summary, costs, *lines])
