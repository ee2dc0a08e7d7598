"""Keeping what decays, such as weights and moments, out of the subnormal numbers, which processors are slow with.

A state that is multiplied by 0.9 in each step reaches, in 800 steps, the numbers below the smallest normal one
(1.2e-38 in float32), and there it stays: 0.9 times the smallest is rounded to the smallest. A matrix product with a
few per cent of such numbers takes many times as long.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np


def without_subnormals(x: Any) -> Any:
    """``x`` with its tiniest values rounded to 0 or to normal numbers: ``(x + offset) - offset``.

    The offset is 1.3e-26 in float32 and 1.3e-287 in float64. Values below it become multiples of 7.7e-34 (1.5e-303);
    between it and 2e-19 (1e-271) they may change in their last bit, and larger ones do not change at all. What is left
    other than 0 is so far from the subnormal numbers that its product with a learning rate is normal, too.

    float16 is left alone: its normal numbers begin at 6e-5, among ordinary weights and updates, and NumPy computes with
    it in float32, where none of its numbers is subnormal.

    >>> import numpy as np
    >>> without_subnormals(np.array([-1e-40, 1e-34, 1e-30, 0.1], np.float32)).tolist()
    [0.0, 0.0, 9.999428271258529e-31, 0.10000000149011612]
    """
    if x.dtype.kind != "f" or x.dtype.itemsize < 4:
        return x
    offset = _offset(x.dtype)
    return (x + offset) - offset


def least(dtype: np.dtype) -> float:
    """The smallest positive number that :func:`without_subnormals` gives."""
    return float(_offset(dtype) * np.finfo(dtype).eps / 2)


@cache
def _offset(dtype: np.dtype) -> Any:
    """A power of two, below which numbers are 2**16 times the smallest normal one apart."""
    info = np.finfo(dtype)
    return 2**17 * info.tiny / info.eps
