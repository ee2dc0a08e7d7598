"""Comparisons, logic, tests such as ``isnan``, and the bits of integers: results without a gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import samples
from ..core import AnyArray, declare, implements
from .conversion import without_history

# Comparisons, logic and tests. They are ops, so that what depends on them is recorded.

for _compare in (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal):
    declare(_compare.__name__, _compare, None, None, sample=samples.binary())
for _logic in (np.logical_and, np.logical_or, np.logical_xor):
    declare(_logic.__name__, _logic, None, None, sample=samples.binary())
for _test in (np.logical_not, np.isnan, np.isinf, np.isfinite, np.signbit):
    declare(_test.__name__, _test, None, sample=samples.unary(avoid=[0]))


def _close_sample(draw: samples.Draw) -> samples.Operands:
    operands, _ = samples.apart(draw)
    return operands, {"rtol": 1e-5, "atol": samples.choice(draw, [1e-8, 0.52]), "equal_nan": bool(draw.integer(0, 1))}


declare(
    "isclose",
    lambda a, b, *, rtol=1e-5, atol=1e-8, equal_nan=False: np.isclose(
        a, b, without_history(rtol), without_history(atol), equal_nan
    ),
    None,
    None,
    sample=_close_sample,
    numpy=np.isclose,
    broadcasts=True,
)


@implements(np.allclose, differentiable=False)
def _allclose(a: AnyArray, b: AnyArray, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: bool = False) -> bool:
    return bool(np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan).all())


@implements(np.array_equal, differentiable=False)
def _array_equal(a1: AnyArray, a2: AnyArray, equal_nan: bool = False) -> bool:
    return np.array_equal(without_history(a1), without_history(a2), equal_nan=equal_nan)


@implements(np.array_equiv, differentiable=False)
def _array_equiv(a1: AnyArray, a2: AnyArray) -> bool:
    return np.array_equiv(without_history(a1), without_history(a2))


# Integers and their bits

for _bits in (np.bitwise_and, np.bitwise_or, np.bitwise_xor, np.gcd, np.lcm):
    declare(_bits.__name__, _bits, None, None, sample=samples.integers(2))
for _bits_of_one in (np.invert, np.bitwise_count):
    declare(_bits_of_one.__name__, _bits_of_one, None, sample=samples.integers(1))


def _shift_sample(draw: samples.Draw) -> samples.Operands:
    (number, places), settings = samples.integers(2)(draw)
    return (number, np.abs(places)), settings


for _shift in (np.left_shift, np.right_shift):
    declare(_shift.__name__, _shift, None, None, sample=_shift_sample)
