"""Reading elements by any NumPy index, and its reverse: adding into an array of zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import samples
from ..tensor import OPS, declare


def _index_sample(draw: samples.Draw) -> Any:
    x = samples.reals(draw, samples.shape(draw, min_ndim=1, min_length=1))
    n = len(x)
    options: list[Any] = [
        0,
        -1,
        Ellipsis,
        None,
        slice(None, None, -1),
        slice(1, None, 2),
        slice(0, 0),
        np.array([0, n - 1, 0]),
        [n - 1, 0],
        np.array([[0, -1], [0, 0]]),
        np.arange(n) % 2 == 0,
        x > 0,
        (..., 0),
        (slice(None), None),
        (np.array([0, 0, -1]), ..., np.newaxis),
        np.zeros(0, dtype=int),
    ]
    if x.ndim >= 2:
        options += [
            (np.array([0, -1, 0]), np.array([0, 0, 0])),
            (0, slice(None)),
            (slice(None), np.array([0, 0])),
            (np.array([0, 0]), slice(None, None, -1)),
            np.ix_(np.arange(n), np.array([0, -1, 0])),
        ]
    return (x,), {"index": samples.choice(draw, options)}


def _selects_once(index: Any) -> bool:
    """Whether no element can be selected twice: integers, slices, Ellipsis and None only, or one mask."""
    if isinstance(index, np.ndarray) and index.dtype == bool:
        return True
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is Ellipsis or (isinstance(part, (slice, int, np.integer)) and not isinstance(part, bool))
        for part in parts
    )


def _scatter(g: Any, *, index: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of ``shape`` with ``g`` added at ``index``; an element selected twice gets both."""
    result = np.zeros_like(g, shape=shape)
    if _selects_once(index):
        result[index] = g
    else:
        np.add.at(result, index, g)
    return result


def _scatter_sample(draw: samples.Draw) -> Any:
    (x,), settings = _index_sample(draw)
    return (samples.reals(draw, x[settings["index"]].shape),), {**settings, "shape": x.shape}


declare(
    "getitem",
    lambda x, *, index: x[index],
    lambda g, out, x, index: OPS["scatter"](g, index=index, shape=x.shape),
    sample=_index_sample,
    expects="an array and an index that fits its shape",
)
declare(
    "scatter",
    _scatter,
    lambda g, out, x, index, shape: g[index],
    sample=_scatter_sample,
    expects="an array of the shape that the index selects",
    opaque=True,
)
