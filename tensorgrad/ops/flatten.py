"""Flatten: the axes of each example as one."""

from __future__ import annotations

from math import prod
from typing import Any, overload

import numpy as np

from ..core import AnyArray, Array, Tensor


@overload
def flatten(x: Tensor, start: int = 1) -> Tensor: ...
@overload
def flatten(x: Array, start: int = 1) -> Any: ...
def flatten(x: AnyArray, start: int = 1) -> AnyArray:
    """``x`` with all axes from ``start`` on made into one: rows of features from images.

    >>> import numpy as np, tensorgrad as tg
    >>> tg.flatten(np.zeros((5, 2, 3, 3))).shape
    (5, 18)
    """
    x = x if hasattr(x, "shape") else np.asarray(x)
    if not 0 <= start < x.ndim:
        raise ValueError(f"flatten: start must be one of the axes 0..{x.ndim - 1} of shape {x.shape}, got {start}")
    return x.reshape((*x.shape[:start], prod(x.shape[start:])))
