"""Dropout: elements set to zero at random."""

from __future__ import annotations

from math import prod
from typing import Any, overload

import numpy as np

from .. import samples
from ..core import AnyArray, Array, Tensor, asarray_like, declare
from ..core.context import draw_with, following
from ..distributed.share import axis_of_examples, of_all_ranks
from .random import check_generator

_OF_64_BITS = (np.random.PCG64, np.random.PCG64DXSM, np.random.SFC64, np.random.Philox)
"""Generators whose raw numbers are random in all of their 64 bits: the same as those of ``integers``, and quicker."""


def _with_mask(draw: samples.Draw) -> samples.Operands:
    shape = samples.shape(draw)
    return (samples.reals(draw, shape), samples.reals(draw, shape)), {}


_dropped = declare(
    "dropout",
    lambda x, mask: x * mask,
    lambda g, out, x, mask: g * mask,
    None,
    sample=_with_mask,
    expects="a real array and a mask of its shape",
)


def _random_words(x: AnyArray, rate: float, rng: np.random.Generator) -> tuple[Any, int]:
    """A random number below 65,536 for each element, and that below which the element is kept.

    Each element takes 16 random bits, seven times cheaper than a float; the probability is thus a multiple
    of 2^-16, and the scale is exactly its inverse, so that the mean stays exactly 1.
    """
    kept, own, axis = max(1, round((1 - rate) * 65536)), x.shape, axis_of_examples()

    def words(rng: np.random.Generator) -> AnyArray:
        shape, rows = of_all_ranks("dropout", own, axis)
        size = prod(shape)
        count = -(-size // 4)
        if isinstance(rng.bit_generator, _OF_64_BITS):
            raw = rng.bit_generator.random_raw(count)
        else:
            raw = rng.integers(0, 2**64 - 1, size=count, dtype=np.uint64, endpoint=True)
        raw.flags.writeable = False
        mine: np.ndarray = raw.view(np.uint16)[:size].reshape(shape)[rows]
        return np.ascontiguousarray(mine) if axis else mine

    return draw_with(rng, words), kept


def _masked(x: AnyArray, words: AnyArray, kept: int) -> AnyArray:
    """``x`` where the random words are below ``kept``, scaled, and 0 elsewhere."""
    mask = (words < kept) * x.dtype.type(65536 / kept)
    if type(mask) is np.ndarray:
        mask.flags.writeable = False  # nobody writes into it, so the history needs no copy
    return _dropped(x, mask)


@overload
def dropout(x: Tensor, rate: float, rng: np.random.Generator) -> Tensor: ...
@overload
def dropout(x: Array, rate: float, rng: np.random.Generator) -> Any: ...
def dropout(x: AnyArray, rate: float, rng: np.random.Generator) -> AnyArray:
    """Zero each element with probability ``rate`` and scale the others by 1 / (1 - rate) (inverted dropout).

    Parameters
    ----------
    x
        Floating Tensor or array of any shape.
    rate
        Probability of dropping, 0 <= rate < 1, to a resolution of 2^-16.
    rng
        NumPy random generator that draws the mask.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.dropout(np.ones(6), 0.5, np.random.default_rng(3))
    array([0., 0., 2., 2., 0., 2.])
    """
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: rate must satisfy 0 <= rate < 1, got {rate}")
    check_generator("dropout", rng)
    if np.dtype(x.dtype).kind != "f":
        raise TypeError(f"dropout: takes floats, got {x.dtype}; use x.astype(np.float32)")
    words, kept = _random_words(x, rate, rng)
    if type(x) is Tensor and (tracer := following()) is not None:
        dropped: Tensor = tracer.follow(_masked, (x, words), {"kept": kept})
        return dropped
    return _masked(x, asarray_like(words, x), kept)
