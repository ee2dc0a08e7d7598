"""Initial values of parameters."""

from __future__ import annotations

from typing import Any

import numpy as np


def generator(rng: Any) -> np.random.Generator:
    """``rng`` itself, one seeded with it where it is an integer, or a fresh one for None.

    Raises
    ------
    TypeError
        If it is something else.
    ValueError
        If the integer is negative.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is None or (isinstance(rng, (int, np.integer)) and not isinstance(rng, bool)):
        return np.random.default_rng(rng)
    raise TypeError(
        f"rng must be a NumPy generator, such as np.random.default_rng(0), an integer to seed one, or None, got {rng!r}"
    )


def he_normal(
    shape: tuple[int, ...],
    rng: np.random.Generator | int | None = None,
    dtype: Any = np.float32,
    fan_in: int | None = None,
) -> np.ndarray:
    """Normal values of variance 2 / fan-in (He et al. 2015, equation 10), the fan-in by default being the first axis.

    >>> import numpy as np
    >>> he_normal((2, 3), np.random.default_rng(0)).shape
    (2, 3)
    """
    values: np.ndarray = generator(rng).standard_normal(shape) * np.sqrt(2.0 / (shape[0] if fan_in is None else fan_in))
    return values.astype(dtype)
