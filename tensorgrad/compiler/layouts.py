"""The order of axes in memory: NumPy's elementwise functions keep it, and so do programs.

A program works on arrays in C order. One that lies otherwise, such as the images that a convolution gives, is a
transposed view of such an array; what is done to each element of the view is done to the array beneath.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Optional

import numpy as np

Order = Optional[tuple[int, ...]]
"""Axes from the outermost in memory to the innermost; None for C order, and for arrays that have gaps."""


def order_of(array: np.ndarray) -> Order:
    """The order of the axes of an array in memory.

    >>> order_of(np.zeros((2, 3, 4))), order_of(np.zeros((3, 4, 2)).transpose(2, 0, 1))
    (None, (1, 2, 0))
    """
    if array.flags.c_contiguous:
        return None
    order = tuple(sorted(range(array.ndim), key=lambda axis: -array.strides[axis]))
    return order if array.transpose(order).flags.c_contiguous else None


def inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that undoes one."""
    return tuple(map(order.index, range(len(order))))


def beneath(x: Any, order: tuple[int, ...]) -> Any:
    """An operand as it broadcasts to arrays with their axes in this order; numbers, and what is no array, as is."""
    ndim = getattr(x, "ndim", 0)
    if ndim == 0:
        return x
    return (x.reshape((1,) * (len(order) - ndim) + x.shape) if ndim < len(order) else x).transpose(order)


@dataclass(frozen=True)
class Beneath:
    """A function whose result lies in this order, giving the array in C order."""

    function: Callable[..., Any]
    order: tuple[int, ...]

    @property
    def __name__(self) -> str:
        return self.function.__name__

    def __call__(self, *args: Any, **settings: Any) -> Any:
        if "out" in settings:
            settings["out"] = settings["out"].transpose(inverse(self.order))
        return self.function(*args, **settings).transpose(self.order)
