"""Hypothesis strategies of valid operands for an op: needs Hypothesis (the extra ``test``)."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
from hypothesis import strategies as st

from ..core import Op
from ..samples import Shape
from .operands import is_float

RESOLUTION = 1024
Case = tuple[tuple[Any, ...], dict[str, Any]]


class HypothesisDraw:
    """The random choices of :mod:`tensorgrad.samples`, made by Hypothesis so that failures shrink."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self._draw = draw

    def integer(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both included."""
        return int(self._draw(st.integers(low, high)))

    def uniform(self, shape: Shape, low: float, high: float) -> np.ndarray:
        """Values on a fine grid from ``low`` to ``high``."""
        count = int(np.prod(shape, dtype=int))
        steps = self._draw(st.lists(st.integers(0, RESOLUTION), min_size=count, max_size=count))
        return low + (high - low) / RESOLUTION * np.array(steps, dtype=np.float64).reshape(shape)


@st.composite
def cases(draw: Callable[[st.SearchStrategy[Any]], Any], op: Op) -> Case:
    """Strategy of valid ``(operands, settings)`` for an op, from its sample."""
    operands, keywords = op.sample(HypothesisDraw(draw))
    return tuple(np.asarray(x) if isinstance(x, np.generic) else x for x in operands), keywords


@st.composite
def complex_cases(draw: Callable[[st.SearchStrategy[Any]], Any], op: Op) -> Case:
    """The same, with one or more of the real operands turned about the origin, out of the real axis."""
    operands, keywords = draw(cases(op))
    floats = [i for i, x in enumerate(operands) if is_float(x)]
    chosen = draw(st.sets(st.sampled_from(floats), min_size=1)) if floats else ()
    return tuple(_turned(x) if i in chosen else x for i, x in enumerate(operands)), keywords


def _turned(x: np.ndarray) -> np.ndarray:
    angles = np.linspace(0.3, 1.1, x.size).reshape(x.shape)
    return np.asarray(x * np.exp(1j * angles))
