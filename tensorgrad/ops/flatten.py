"""Flatten: the axes of each example as one."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np


def flatten(x: Any, start: int = 1) -> Any:
    """``x`` with all axes from ``start`` on made into one: rows of features from images.

    >>> import numpy as np, tensorgrad as tg
    >>> tg.flatten(np.zeros((5, 2, 3, 3))).shape
    (5, 18)
    """
    x = x if hasattr(x, "shape") else np.asarray(x)
    if not 0 <= start < x.ndim:
        raise ValueError(f"flatten: start must be one of the axes 0..{x.ndim - 1} of shape {x.shape}, got {start}")
    return x.reshape((*x.shape[:start], prod(x.shape[start:])))
