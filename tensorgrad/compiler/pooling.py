"""Max pooling and its gradient as one loop each, compiled by numba: NumPy takes several passes over the images.

With examples last, the innermost loops run over them, in the first-level cache. Results are NumPy's to the last bit.
"""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from ..core import OPS
from ..ops.windows import examples_first, examples_last, transposed
from .kernels import jitted
from .layouts import Beneath
from .program import Instruction


def find(instruction: Instruction) -> Callable[..., Any] | None:
    """A function that fills its result as the instruction's does; None where there is none.

    For windows over two spatial axes, which do not overlap and leave no element out.
    """
    beneath, settings = instruction.function, instruction.settings
    function = beneath.function if isinstance(beneath, Beneath) else beneath
    kernels: dict[Any, Callable[..., None]] = {OPS["max_pool"].forward: largest, OPS["max_unpool"].forward: spread}
    kernel = kernels.get(function)
    if kernel is None or len(settings["kernel"]) != 2 or not _divides(settings):
        return None
    images = instruction.values[-1 if kernel is largest else 1]
    if any(length % k for length, k in zip(images.shape[2:], settings["kernel"])):
        return None
    dtypes = {value.dtype for value in (*instruction.values, instruction.out)}
    if len(dtypes) > 1 or not dtypes <= {np.dtype(np.float32), np.dtype(np.float64)}:
        return None
    compiled = jitted(kernel, [(images.dtype, 4)] * (len(instruction.values) + 1))

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


def largest(x: Any, out: Any) -> None:
    """The largest element of each window, NaN where there is one; all of shape (channels, height, width, examples)."""
    channels, rows, columns, examples = out.shape
    height, width = x.shape[1] // rows, x.shape[2] // columns
    for c in range(channels):
        for i in range(rows):
            for j in range(columns):
                out[c, i, j] = x[c, i * height, j * width]
                for offset in range(1, height * width):
                    row, column = i * height + offset // width, j * width + offset % width
                    for n in range(examples):
                        one, other = out[c, i, j, n], x[c, row, column, n]
                        out[c, i, j, n] = one if one > other or one != one else other


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
