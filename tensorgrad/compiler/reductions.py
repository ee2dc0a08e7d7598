"""Reductions of small arrays along one axis, compiled by numba: NumPy spends microseconds on preparing each.

Sums are added up in NumPy's own order, so that results are the same to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from .kernels import jitted
from .program import Instruction

LARGEST = 65536
"""Elements up to which these are quicker."""

PAIRWISE = 128
"""NumPy adds longer rows in two halves, so as to round less; these are left to it."""


@dataclass(frozen=True)
class Reduction:
    """A compiled function ``function(matrix, result)`` and the shapes that it takes."""

    function: Callable[..., None]
    shapes: tuple[tuple[int, ...], tuple[int, ...]]


def find(instruction: Instruction) -> Reduction | None:
    """The function for a reduction along the last or the first axis; None where there is none."""
    x, out, axis = instruction.operands[0], instruction.out, instruction.settings["axis"]
    if not x.contiguous or not 0 < x.size <= LARGEST or x.dtype != out.dtype or x.dtype.kind != "f" or not x.shape:
        return None
    if axis is None and len(x.shape) == 1:
        axis = 0
    name = "sum" if instruction.function is np.add else "max" if instruction.function is np.maximum else None
    if name is None or not isinstance(axis, int) or x.dtype.itemsize not in (4, 8):
        return None
    length = x.shape[axis]
    is_column = x.size == length  # which NumPy adds up as a row
    if is_column or axis == len(x.shape) - 1:
        if name == "sum" and length > PAIRWISE:
            return None
        return Reduction(_compiled(f"{name}_rows", x.dtype), ((x.size // length, length), (x.size // length,)))
    if axis == 0:
        return Reduction(_compiled(f"{name}_columns", x.dtype), ((length, x.size // length), (x.size // length,)))
    return None


def sum_rows(x: Any, out: Any) -> None:
    """Up to seven one after the other; from eight on in eight partial sums, as NumPy does."""
    rows, length = x.shape
    eights = length - length % 8
    zero = x.dtype.type(0)
    for i in range(rows):
        if length < 8:
            total = zero
            for j in range(length):
                total += x[i, j]
        else:
            a, b, c, d = x[i, 0], x[i, 1], x[i, 2], x[i, 3]
            e, f, g, h = x[i, 4], x[i, 5], x[i, 6], x[i, 7]
            for j in range(8, eights, 8):
                a += x[i, j]
                b += x[i, j + 1]
                c += x[i, j + 2]
                d += x[i, j + 3]
                e += x[i, j + 4]
                f += x[i, j + 5]
                g += x[i, j + 6]
                h += x[i, j + 7]
            total = zero + (((a + b) + (c + d)) + ((e + f) + (g + h)))
            for j in range(eights, length):
                total += x[i, j]
        out[i] = total


def sum_columns(x: Any, out: Any) -> None:
    """Row after row."""
    out[:] = 0
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[j] += x[i, j]


def max_rows(x: Any, out: Any) -> None:
    """The largest of each row, NaN where there is one."""
    for i in range(x.shape[0]):
        largest = x[i, 0]
        for j in range(1, x.shape[1]):
            if not (largest >= x[i, j] or largest != largest):
                largest = x[i, j]
        out[i] = largest


def max_columns(x: Any, out: Any) -> None:
    """The largest of each column, NaN where there is one."""
    out[:] = x[0]
    for i in range(1, x.shape[0]):
        for j in range(x.shape[1]):
            if not (out[j] >= x[i, j] or out[j] != out[j]):
                out[j] = x[i, j]


def _compiled(name: str, dtype: np.dtype) -> Callable[..., None]:
    return jitted(globals()[name], [(dtype, 2), (dtype, 1)])
