"""Gradient rules in the words of a textbook: what each operand of an op gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Op
from .names import in_brackets, op_name
from .summaries import shape

FORMULAS: dict[str, tuple[str, ...]] = {
    "absolute": ("g * np.sign({x})",),
    "add": ("g", "g"),
    "arctan": ("g / (1 + {x}**2)",),
    "cos": ("g * -np.sin({x})",),
    "cosh": ("g * np.sinh({x})",),
    "divide": ("g / {y}", "g * -{x} / {y}**2"),
    "exp": ("g * {out}",),
    "expm1": ("g * ({out} + 1)",),
    "log": ("g / {x}",),
    "log10": ("g / ({x} * np.log(10))",),
    "log1p": ("g / (1 + {x})",),
    "log2": ("g / ({x} * np.log(2))",),
    "multiply": ("g * {y}", "g * {x}"),
    "negative": ("-g",),
    "positive": ("g",),
    "power": ("g * {y} * {x} ** ({y} - 1)", "g * {out} * np.log({x})"),
    "reciprocal": ("g * -{out}**2",),
    "relu": ("g * ({x} > 0)",),
    "reshape": ("g.reshape({x}.shape)",),
    "sigmoid": ("g * {out} * (1 - {out})",),
    "sin": ("g * np.cos({x})",),
    "sinh": ("g * np.cosh({x})",),
    "softplus": ("g / (1 + np.exp(-{x}))",),
    "sqrt": ("g / (2 * {out})",),
    "square": ("g * 2 * {x}",),
    "squared_norm": ("g * 2 * {y} * {x}",),
    "subtract": ("g", "-g"),
    "tan": ("g * (1 + {out}**2)",),
    "tanh": ("g * (1 - {out}**2)",),
}
"""Python expressions of the gradient ``g`` of the result ``{out}`` and the operands ``{x}`` and ``{y}``.

The tests compute with them, and compare with the rules.
"""

MATRICES = ("g @ {y}.T", "{x}.T @ g", "g")
"""What the operands of a product of two matrices get, and what is added to it."""

WORDS: dict[str, tuple[str, ...]] = {
    "affine": (
        "the product of g and {y}, transposed",
        "the product of {x}, transposed, and g",
        "g, summed over its rows",
    ),
    "astype": ("g, as {x}'s dtype",),
    "avg_pool": ("g, shared equally by the elements of each window",),
    "broadcast_to": ("g, summed over the copies",),
    "clip": ("g where {x} was inside the bounds, else 0",) * 3,
    "concatenate": ("the part of g that belongs to {x}",),
    "conv": ("g, convolved with the kernels {y} turned around", "the products of g with the windows of {x}, summed"),
    "dropout": ("g * {y}, which is 0 where an element was dropped",),
    "embedding": ("g, added up in the rows that were looked up",),
    "expand_dims": ("g in the shape of {x}",),
    "getitem": ("g at the places that were read, 0 elsewhere",),
    "matmul": ("the product of g and {y}, transposed", "the product of {x}, transposed, and g"),
    "max": ("g where {x} has its maximum, else 0",),
    "max_pool": ("g at the largest element of each window, else 0",),
    "maximum": ("g where {x} is larger, else 0", "g where {y} is larger, else 0"),
    "mean": ("g / n at each of the n elements averaged",),
    "min": ("g where {x} has its minimum, else 0",),
    "minimum": ("g where {x} is smaller, else 0", "g where {y} is smaller, else 0"),
    "setitem": ("g, 0 at the places that were overwritten", "g at the places that were written"),
    "softmax_cross_entropy": ("g * (softmax({x}) - what the labels say) / number of rows",),
    "log_softmax": ("g - softmax({x}) * the sum of g",),
    "logsumexp": ("g * softmax({x})",),
    "softmax": ("{out} * (g - the sum of g * {out})",),
    "squeeze": ("g in the shape of {x}",),
    "sum": ("g at each of the elements summed",),
    "swapaxes": ("g with its axes swapped back",),
    "transpose": ("g with its axes in the order of {x}",),
    "where": ("", "g where the condition holds, else 0", "g where the condition does not hold, else 0"),
}
"""The same in prose, where there is no short expression."""

OPERANDS = ("x", "y", "z")


def formula(
    op: Op, position: int, arrays: Sequence[Any], names: Sequence[str], out: str, given: tuple[int, ...] | None = None
) -> str:
    """What an operand gets, with the operands and the result called by their names.

    Parameters
    ----------
    op, position, arrays
        The op, which operand, and all of them.
    names, out
        What the operands and the result are called.
    given
        The shape of what the rule gave, which is summed to that of the operand if it was broadcast.

    Examples
    --------
    >>> import tensorgrad as tg
    >>> formula(tg.OPS["multiply"], 0, (np.ones(3), 2.0), ("w", "2.0"), "y")
    'g * 2.0'
    >>> formula(tg.OPS["add"], 1, (np.ones((4, 3)), np.ones(3)), ("x", "b"), "y", (4, 3))
    'g, summed to (3,) as b was broadcast'
    """
    words = _words(op, position, arrays, names, out)
    if given is None or given == arrays[position].shape:
        return words
    return f"{words}, summed to {shape(arrays[position].shape)} as {names[position]} was broadcast"


def _words(op: Op, position: int, arrays: Sequence[Any], names: Sequence[str], out: str) -> str:
    templates = FORMULAS.get(op.name, WORDS.get(op.name, ()))
    if op.name in ("matmul", "affine") and all(np.ndim(array) == 2 for array in arrays[:2]):
        templates = MATRICES
    if op.arity is None and len(templates) == 1:
        return templates[0].format(x=names[position])
    if op.arity is None or position >= len(templates):
        return f"what the gradient rule of {op_name(op)} gives"
    return templates[position].format(**dict(zip(OPERANDS, map(in_brackets, names))), out=out)
