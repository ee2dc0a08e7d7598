"""Einstein summation: one op for all of its forms, whose gradient is an Einstein summation again."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from math import prod
from string import ascii_letters, ascii_lowercase, ascii_uppercase
from typing import Any

import numpy as np

from .. import samples
from ..tensor import beside, declare, implements, refuse
from .operands import as_operand

# The op's subscripts are letters only: "ij,jk->ik". The ellipsis, the implied output and the form of integer lists are
# written out in these before it is called.


def _einsum_rule(g: Any, out: Any, *operands: Any, subscripts: str, optimize: Any) -> Any:
    """For each operand the sum over everything else: the result's gradient and the other operands, multiplied."""
    inputs, output = subscripts.split("->")
    labels = [output, *inputs.split(",")]
    gradients = []
    for position, x in enumerate(operands, 1):
        others = labels[:position] + labels[position + 1 :]
        values = [g, *operands[: position - 1], *operands[position:]]
        gradients.append(_gradient_of_one(x, labels[position], values, others, bool(optimize)))
    return gradients


def _gradient_of_one(x: Any, own: str, values: Sequence[Any], others: Sequence[str], optimize: bool) -> Any:
    """The product of ``values``, summed to the labels ``own`` of the operand ``x``.

    A label of length 1 in ``x`` has been repeated along those of the others, so it is summed over; one that nobody else
    has was summed over alone, so its gradient is repeated; and of a repeated label only the diagonal was read.
    """
    shared = set(chain.from_iterable(others))
    kept = "".join(label for label in dict.fromkeys(own) if label in shared and x.shape[own.index(label)] != 1)
    g = einsum(*values, subscripts=f"{','.join(others)}->{kept}", optimize=optimize)
    lengths = dict(zip(kept, g.shape))
    first = [own.index(label) == axis for axis, label in enumerate(own)]
    g = g.reshape(tuple(lengths.get(label, 1) if is_first else 1 for label, is_first in zip(own, first)))
    if not all(first):
        g = np.where(beside(_on_the_diagonal(own, x.shape), g), g, 0)
    return np.broadcast_to(g, x.shape)


def _on_the_diagonal(labels: str, shape: tuple[int, ...]) -> np.ndarray:
    """Whether the indices of all axes with the same label agree; of length 1 along an axis whose label is its own."""
    indices = dict(enumerate(np.ogrid[tuple(map(slice, shape))]))
    mask = np.ones((1,) * len(labels), bool)
    for axis, label in enumerate(labels):
        if (first := labels.index(label)) != axis:
            mask = mask & (indices[first] == indices[axis])
    return mask


def _einsum_sample(draw: samples.Draw) -> Any:
    subscripts = samples.choice(
        draw,
        [
            *("ij,jk->ik", "i->i", "ij->ji", "ij->", "i,i->", "i,j->ij", ",i->i", "ij,j->i", "ij->j", "bij,bjk->bik"),
            *("ii->i", "ii->", "iij->ji", "ii,i->", "iji,jj->j", "ij,ij,ij->i", "ij,jk,kl->il", "i,j,k->kji", "->"),
        ],
    )
    inputs = subscripts.split("->")[0].split(",")
    length = {label: draw.integer(0 if draw.integer(0, 3) == 3 else 1, 3) for label in "bijkl"}
    shapes = []
    for own in inputs:
        stretched = {label: 1 if draw.integer(0, 4) == 4 else length[label] for label in own}
        shapes.append(tuple(stretched[label] for label in own))
    optimize = bool(draw.integer(0, 1))
    return tuple(samples.reals(draw, shape) for shape in shapes), {"subscripts": subscripts, "optimize": optimize}


SMALL = 20_000
"""Multiplications up to which NumPy's loop over all indices is quicker than to plan pairs of products."""


def _contracted(*operands: Any, subscripts: str, optimize: Any = False) -> Any:
    """``np.einsum``; large sums of products are done pair by pair, as products of matrices where they are some.

    All at once, n operands take as many multiplications as all of their labels' lengths give together.
    """
    if optimize is False and len(operands) > 1:
        optimize = _order_of_pairs(subscripts, tuple(x.shape for x in operands))
    return np.einsum(subscripts, *operands, optimize=optimize)


@lru_cache(maxsize=1024)
def _order_of_pairs(subscripts: str, shapes: tuple[tuple[int, ...], ...]) -> Any:
    """The order of contraction for operands of these shapes; False where there is nothing to gain."""
    lengths: dict[str, int] = {}
    for own, shape in zip(subscripts.split("->")[0].split(","), shapes):
        for label, length in zip(own, shape):
            lengths[label] = max(lengths.get(label, 1), length)
    if prod(lengths.values()) <= SMALL or (len(shapes) == 2 and not set(lengths) - set(subscripts.split("->")[1])):
        return False
    hollow = [np.broadcast_to(np.zeros(()), shape) for shape in shapes]
    try:
        return np.einsum_path(subscripts, *hollow, optimize="greedy")[0]
    except ValueError:  # which NumPy says itself of the operands
        return False


einsum = declare(
    "einsum",
    _contracted,
    _einsum_rule,
    sample=_einsum_sample,
    expects="arrays of as many axes as their subscripts have letters, axes of the same letter being of one length",
)


@implements(np.einsum)
def _einsum(*operands: Any, out: Any = None, optimize: Any = False, **keywords: Any) -> Any:
    defaults = {"dtype": None, "order": "K", "casting": "safe"}
    refuse(
        "np.einsum", out=out, **{name: v for name, v in keywords.items() if name not in defaults or v != defaults[name]}
    )
    subscripts, arrays = _explicit(operands)
    return einsum(*arrays, subscripts=subscripts, optimize=optimize)


@implements(np.einsum_path, differentiable=False)
def _einsum_path(*operands: Any, **keywords: Any) -> Any:
    return np.einsum_path(*(np.broadcast_to(0.0, x.shape) if hasattr(x, "shape") else x for x in operands), **keywords)


def _explicit(operands: Sequence[Any]) -> tuple[str, list[Any]]:
    """The subscripts of a call, in letters alone and with an output, and its arrays."""
    if operands and isinstance(operands[0], str):
        subscripts, arrays = operands[0].replace(" ", ""), list(operands[1:])
    else:
        count = len(operands) // 2
        subscripts = ",".join(map(_in_letters, operands[1 : 2 * count : 2]))
        subscripts += f"->{_in_letters(operands[-1])}" if len(operands) % 2 else ""
        arrays = list(operands[: 2 * count : 2])
    arrays = list(map(as_operand, arrays))
    given, arrow, output = subscripts.partition("->")
    inputs = given.split(",")
    if len(inputs) != len(arrays):
        raise ValueError(f"einsum: {subscripts!r} is for {len(inputs)} operand(s), got {len(arrays)}")
    if not arrow:  # the labels that occur once, in the order of the alphabet
        once = sorted(label for label in set(given) if label.isalpha() and given.count(label) == 1)
        output = ("..." if "..." in given else "") + "".join(once)
    ranks = [max(0, x.ndim - len(own) + 3) if "..." in own else 0 for own, x in zip(inputs, arrays)]
    free = "".join(letter for letter in ascii_letters if letter not in subscripts)[: max(ranks)]
    if free and "..." not in output:
        raise ValueError(f"einsum: the output of {subscripts!r} has no '...' for the axes that the operands have there")
    named = [own.replace("...", free[len(free) - rank :]) for own, rank in zip(inputs, ranks)]
    return f"{','.join(named)}->{output.replace('...', free)}", arrays


def _in_letters(labels: Any) -> str:
    """Integer labels as letters in the same order; ``Ellipsis`` as three dots."""
    letters = ascii_uppercase + ascii_lowercase
    if any(label is not Ellipsis and not 0 <= label < len(letters) for label in labels):
        raise ValueError(f"einsum: integer labels must lie in 0..{len(letters) - 1}, got {list(labels)}")
    return "".join("..." if label is Ellipsis else letters[label] for label in labels)
