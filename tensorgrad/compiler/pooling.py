"""The gradient of max pooling as one loop, compiled by numba: NumPy takes several passes over the images.

With examples last, the innermost loops run over them, in the first-level cache. Results are NumPy's to the last bit.
The maxima themselves are as quick in NumPy.
"""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from ..core import OPS
from ..ops.windows import examples_first, examples_last, transposed
from .kernels import jitted
from .layouts import Beneath
from .program import Instruction

FEWEST = 4
"""Examples from which on the loop is quicker; of 16 images of 28 x 28 it takes 0.12 ms for 4 and NumPy 0.16."""


def find(instruction: Instruction) -> Callable[..., Any] | None:
    """A function that fills its result as the instruction's does; None where there is none.

    For windows over two spatial axes, which do not overlap and leave no element out.
    """
    beneath, settings = instruction.function, instruction.settings
    function = beneath.function if isinstance(beneath, Beneath) else beneath
    if function is not OPS["max_unpool"].forward or len(settings["kernel"]) != 2 or not _divides(settings):
        return None
    out, images = instruction.out, instruction.operands[1].shape
    if images[0] < FEWEST or any(length % k for length, k in zip(images[2:], settings["kernel"])):
        return None
    if any(array.dtype != out.dtype for array in instruction.operands) or out.dtype not in (np.float32, np.float64):
        return None
    compiled = jitted(spread, [(out.dtype, 4)] * 4)

    def fill(*arrays: Any, out: Any, **settings: Any) -> Any:
        place = transposed(out)
        if not place.flags.c_contiguous:
            return function(*arrays, out=out, **settings)
        compiled(*map(examples_last, arrays), place)
        return examples_first(place)

    return Beneath(fill, beneath.order) if isinstance(beneath, Beneath) else fill


def _divides(settings: dict[str, Any]) -> bool:
    """Whether windows lie side by side, without gaps and padding."""
    apart = settings["stride"] == settings["kernel"] and set(settings["dilation"]) == {1}
    return apart and not any(map(any, settings["padding"]))


def spread(g: Any, x: Any, largest: Any, out: Any) -> None:
    """The gradient of each window in equal parts to those of its elements that are the largest."""
    channels, rows, columns, examples = g.shape
    height, width = x.shape[1] // rows, x.shape[2] // columns
    share = np.empty(examples, g.dtype)
    for c in range(channels):
        for i in range(rows):
            for j in range(columns):
                share[:] = 0
                for offset in range(height * width):
                    row, column = i * height + offset // width, j * width + offset % width
                    for n in range(examples):
                        share[n] += x[c, row, column, n] == largest[c, i, j, n]
                for n in range(examples):
                    share[n] = g[c, i, j, n] / max(share[n], g.dtype.type(1))
                for offset in range(height * width):
                    row, column = i * height + offset // width, j * width + offset % width
                    for n in range(examples):
                        out[c, row, column, n] = share[n] * (x[c, row, column, n] == largest[c, i, j, n])
