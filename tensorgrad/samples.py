"""How to draw valid operands for an op: the ``sample`` that every declaration carries.

A sample is a function ``sample(draw) -> (operands, settings)``. It asks ``draw`` for integers and for arrays of
reals, nothing else, so that any source of randomness can stand behind it; the tests put Hypothesis there, which
shrinks a failing case to its smallest form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, Protocol, TypeVar

import numpy as np

T = TypeVar("T")
Shape = tuple[int, ...]
Operands = tuple[tuple[Any, ...], dict[str, Any]]
Sample = Callable[["Draw"], Operands]

MARGIN = 0.05
"""Distance that :func:`reals` keeps from kinks and poles, wider than the steps of the numeric check."""


class Draw(Protocol):
    """A source of random choices."""

    def integer(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both included."""

    def uniform(self, shape: Shape, low: float, high: float) -> np.ndarray:
        """A float64 array of values from ``low`` to ``high``."""


def choice(draw: Draw, options: Sequence[T]) -> T:
    """One of the options; the first is the simplest."""
    return options[draw.integer(0, len(options) - 1)]


def shape(draw: Draw, min_ndim: int = 0, max_ndim: int = 3, min_length: int = 0) -> Shape:
    """A small shape, zero-size and 0-d ones among them unless excluded."""
    ndim = choice(draw, [n for n in (2, 1, 3, 0, 2, 3) if min_ndim <= n <= max_ndim])
    return tuple(choice(draw, [n for n in (2, 3, 1, 2, 3, 2, 3, 0) if n >= min_length]) for _ in range(ndim))


def reals(draw: Draw, shape: Shape, low: float = -2.0, high: float = 2.0, avoid: Sequence[float] = ()) -> np.ndarray:
    """Reals from ``low`` to ``high`` that keep :data:`MARGIN` away from every value in ``avoid``."""
    values = draw.uniform(shape, low, high)
    for kink in avoid:
        close = np.abs(values - kink) < MARGIN
        values = np.where(close, kink + np.where(values < kink, -MARGIN, MARGIN), values)
    return np.asarray(values)


def distinct(draw: Draw, shape: Shape) -> np.ndarray:
    """Reals in random order that all differ by more than :data:`MARGIN`: no ties for max and min."""
    order = np.argsort(np.argsort(draw.uniform(shape, -1, 1), axis=None))
    return np.asarray((order.reshape(shape) - order.size / 2) * 4 * MARGIN)


def broadcastable(draw: Draw, count: int) -> list[Shape]:
    """Shapes that broadcast together in every way: missing axes, axes of length 1, 0-d and zero-size."""
    full = shape(draw)
    shapes = []
    for _ in range(count):
        kept = full[max(0, draw.integer(0, 2 * len(full)) - len(full)) :]  # all axes half of the time
        shapes.append(tuple(1 if draw.integer(0, 3) == 3 else length for length in kept))
    return shapes


def axis(draw: Draw, ndim: int) -> Any:
    """None, one axis counted from either end, or a tuple of axes."""
    kind = draw.integer(0, 2) if ndim else 0
    if kind == 0:
        return None
    if kind == 1:
        return draw.integer(-ndim, ndim - 1)
    return tuple(a - ndim * draw.integer(0, 1) for a in range(ndim) if draw.integer(0, 1))


def unary(low: float = -2.0, high: float = 2.0, avoid: Sequence[float] = ()) -> Sample:
    """Sample of an elementwise op of one operand."""
    return lambda draw: ((reals(draw, shape(draw), low, high, avoid),), {})


def binary(low: float = -2.0, high: float = 2.0, avoid: Sequence[float] = ()) -> Sample:
    """Sample of an elementwise op of two operands; ``low``, ``high`` and ``avoid`` are those of the second."""

    def sample(draw: Draw) -> Operands:
        first, second = broadcastable(draw, 2)
        return (reals(draw, first), reals(draw, second, low, high, avoid)), {}

    return sample


def positive_base(draw: Draw) -> Operands:
    """Sample of a power: a positive base and any exponent."""
    first, second = broadcastable(draw, 2)
    return (reals(draw, first, 0.3, 2.0), reals(draw, second)), {}


def apart(draw: Draw) -> Operands:
    """Sample of two operands that are nowhere equal."""
    first, second = broadcastable(draw, 2)
    return (between_tenths(draw, first), np.round(reals(draw, second), 1)), {}


def between_tenths(draw: Draw, shape: Shape, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Reals that keep :data:`MARGIN` away from every multiple of 0.1."""
    return np.asarray(np.round(reals(draw, shape, low, high), 1) + 0.05)


def integers(operands: int) -> Sample:
    """Sample of a bitwise op: integers that broadcast together."""

    def sample(draw: Draw) -> Operands:
        return tuple(reals(draw, s, -9, 9).astype(np.int64) for s in broadcastable(draw, operands)), {}

    return sample


def reduction(min_length: int = 0, unique: bool = False, single_axis: bool = False) -> Sample:
    """Sample of a reduction with ``axis`` and ``keepdims``."""

    def sample(draw: Draw) -> Operands:
        lengths = shape(draw, min_length=min_length)
        x = distinct(draw, lengths) if unique else reals(draw, lengths)
        along = axis(draw, x.ndim)
        if single_axis and isinstance(along, tuple):
            along = along[0] if along else None
        return (x,), {"axis": along, "keepdims": bool(draw.integer(0, 1))}

    return sample
