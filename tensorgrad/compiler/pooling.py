"""Max pooling compiled by numba: its gradient as one loop, where NumPy takes several passes, and that of one image.

With examples last, the innermost loops run over them, in the first-level cache; the maxima themselves are as quick in
NumPy. Of a single image there is nothing to run over, and NumPy's loops are short. Results are NumPy's to the last bit.
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
    beneath, settings, out = instruction.function, instruction.settings, instruction.out
    function = beneath.function if isinstance(beneath, Beneath) else beneath
    name = {OPS["max_pool"].forward: "max_pool", OPS["max_unpool"].forward: "max_unpool"}.get(function)
    if name is None or len(settings["kernel"]) != 2 or not _divides(settings):
        return None
    images = instruction.operands[0 if name == "max_pool" else 1].shape
    if any(length % k for length, k in zip(images[2:], settings["kernel"])):
        return None
    if any(array.dtype != out.dtype for array in instruction.operands) or out.dtype not in (np.float32, np.float64):
        return None
    if name == "max_unpool" and images[0] >= FEWEST:
        fill = _filling(function, jitted(spread, [(out.dtype, 4)] * 4))
    elif name == "max_pool" and images[0] == 1:
        fill = _filling(function, jitted(largest_of_one, [(out.dtype, 4)] * 2))
    else:
        return None
    return Beneath(fill, beneath.order) if isinstance(beneath, Beneath) else fill


def _filling(function: Callable[..., Any], compiled: Callable[..., None]) -> Callable[..., Any]:
    """What fills ``out`` by a compiled loop on images with their examples last, if it lies so in memory."""

    def fill(*arrays: Any, out: Any, **settings: Any) -> Any:
        place = transposed(out)
        if not place.flags.c_contiguous:
            return function(*arrays, out=out, **settings)
        compiled(*map(examples_last, arrays), place)
        return examples_first(place)

    return fill


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


def largest_of_one(x: Any, out: Any) -> None:
    """The maximum of each window of a single image: of the rows, as wholes, then along them."""
    channels, rows, columns, _ = out.shape
    height, width = x.shape[1] // rows, x.shape[2] // columns
    line = np.empty(x.shape[2], x.dtype)
    for c in range(channels):
        for i in range(rows):
            for k in range(line.size):
                line[k] = x[c, i * height, k, 0]
            for offset in range(1, height):
                for k in range(line.size):
                    one, other = line[k], x[c, i * height + offset, k, 0]
                    line[k] = one if one > other or one != one else other
            for j in range(columns):
                largest = line[j * width]
                for k in range(j * width + 1, (j + 1) * width):
                    largest = largest if largest > line[k] or largest != largest else line[k]
                out[c, i, j, 0] = largest
