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
from ..core import AnyArray, asarray_like, declare, implements, refuse
from .conversion import as_operand

# The op's subscripts are letters only: "ij,jk->ik". The ellipsis, the implied output and the form of integer lists are
# written out in these before it is called.


def _einsum_rule(g: AnyArray, out: AnyArray, *operands: AnyArray, subscripts: str, optimize: object) -> Any:
    """For each operand the sum over everything else: the result's gradient and the other operands, multiplied."""
    inputs, output = subscripts.split("->")
    labels = [output, *inputs.split(",")]
    gradients = []
    for position, x in enumerate(operands, 1):
        others = labels[:position] + labels[position + 1 :]
        values = [g, *operands[: position - 1], *operands[position:]]
        gradients.append(_gradient_of_one(x, labels[position], values, others))
    return gradients


def _gradient_of_one(x: AnyArray, own: str, values: Sequence[Any], others: Sequence[str]) -> AnyArray:
    """The product of ``values``, summed to the labels ``own`` of the operand ``x``.

    A label of length 1 in ``x`` has been repeated along those of the others, so it is summed over; one that nobody else
    has was summed over alone, so its gradient is repeated; and of a repeated label only the diagonal was read.
    """
    shared = set(chain.from_iterable(others))
    kept = "".join(label for label in dict.fromkeys(own) if label in shared and x.shape[own.index(label)] != 1)
    g = _contracted(f"{','.join(others)}->{kept}", list(values))
    lengths = dict(zip(kept, g.shape))
    first = [own.index(label) == axis for axis, label in enumerate(own)]
    g = g.reshape(tuple(lengths.get(label, 1) if is_first else 1 for label, is_first in zip(own, first)))
    if not all(first):
        g = np.where(asarray_like(_on_the_diagonal(own, x.shape), g), g, 0)
    return np.broadcast_to(g, x.shape)


def _on_the_diagonal(labels: str, shape: tuple[int, ...]) -> np.ndarray:
    """Whether the indices of all axes with the same label agree; of length 1 along an axis whose label is its own."""
    indices = dict(enumerate(np.ogrid[tuple(map(slice, shape))]))
    mask = np.ones((1,) * len(labels), bool)
    for axis, label in enumerate(labels):
        if (first := labels.index(label)) != axis:
            mask = mask & (indices[first] == indices[axis])
    return mask


def _einsum_sample(draw: samples.Draw) -> samples.Operands:
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


einsum = declare(
    "einsum",
    lambda *operands, subscripts, optimize=False: np.einsum(subscripts, *operands, optimize=optimize),
    _einsum_rule,
    sample=_einsum_sample,
    expects="arrays of as many axes as their subscripts have letters, axes of the same letter being of one length",
    complex_rules="holomorphic",
)


# Several operands are contracted two by two, in the order of least work, each pair as an op of its own: so the backward
# pass is as cheap as the forward pass.

LEAST_FOR_BLAS = 2**15
"""Multiplications from which a matrix product pays for arranging the axes."""


def _contracted(subscripts: str, arrays: list[Any], optimize: object = False) -> Any:
    """The sum of products, in the order that ``optimize`` names; False: NumPy's greedy one."""
    order = tuple(optimize) if isinstance(optimize, (list, tuple)) else optimize
    for places, step, by_blas in _plan(subscripts, tuple(x.shape for x in arrays), order):
        operands = [arrays.pop(place) for place in places]
        arrays.append(einsum(*operands, subscripts=step, optimize=by_blas))
    return arrays[0]


@lru_cache(maxsize=1024)
def _plan(
    subscripts: str, shapes: tuple[tuple[int, ...], ...], optimize: object
) -> tuple[tuple[tuple[int, ...], str, bool], ...]:
    """Which operands to take out of the list, one after the other, to contract them, and by which subscripts.

    Each result is put at the end of the list. The last part says whether that is a large matrix product.
    """
    inputs, output = subscripts.split("->")
    labels = inputs.split(",")
    lengths: dict[str, int] = {}
    for label, length in zip("".join(labels), chain.from_iterable(shapes)):
        lengths[label] = max(length, lengths.get(label, 1))
    steps = []
    for places in _path(subscripts, shapes, optimize):
        places = tuple(sorted(places, reverse=True))
        taken = [labels.pop(place) for place in places]
        needed = set("".join(labels) + output)
        kept = output if not labels else "".join(n for n in dict.fromkeys("".join(taken)) if n in needed)
        steps.append((places, f"{','.join(taken)}->{kept}", _is_large_product(taken, kept, lengths)))
        labels.append(kept)
    return tuple(steps)


def _path(subscripts: str, shapes: tuple[tuple[int, ...], ...], optimize: Any) -> Sequence[tuple[int, ...]]:
    if len(shapes) < 3:
        return [tuple(range(len(shapes)))]
    order = list(optimize) if isinstance(optimize, tuple) else optimize or "greedy"
    path: Sequence[tuple[int, ...]] = np.einsum_path(
        subscripts, *(np.broadcast_to(0.0, shape) for shape in shapes), optimize=order
    )[0][1:]
    return path


def _is_large_product(taken: list[str], kept: str, lengths: dict[str, int]) -> bool:
    """Whether two operands are multiplied like matrices: both have labels of their own, and some are summed over."""
    if len(taken) != 2:
        return False
    first, second = map(set, taken)
    is_product = first - second and second - first and (first & second) - set(kept)
    return bool(is_product) and prod(lengths[label] for label in first | second) >= LEAST_FOR_BLAS


@implements(np.einsum, on_complex=True)
def _einsum(*operands: object, out: object = None, optimize: object = False, **keywords: object) -> Any:
    defaults = {"dtype": None, "order": "K", "casting": "safe"}
    refuse(
        "np.einsum", out=out, **{name: v for name, v in keywords.items() if name not in defaults or v != defaults[name]}
    )
    subscripts, arrays = _explicit(operands)
    return _contracted(subscripts, arrays, optimize)


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


def _in_letters(labels: AnyArray) -> str:
    """Integer labels as letters in the same order; ``Ellipsis`` as three dots."""
    letters = ascii_uppercase + ascii_lowercase
    if any(label is not Ellipsis and not 0 <= label < len(letters) for label in labels):
        raise ValueError(f"einsum: integer labels must lie in 0..{len(letters) - 1}, got {list(labels)}")
    return "".join("..." if label is Ellipsis else letters[label] for label in labels)
