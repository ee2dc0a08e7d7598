"""Rounding and other step functions, such as ``floor``, ``sign`` and ``heaviside``: results without a gradient."""

from __future__ import annotations

from typing import Callable

import numpy as np

from .. import samples
from ..core import AnyArray, declare, implements, refuse

# Steps: constant but for their jumps, so that no gradient flows. heaviside has one in its value at 0.

for _step in (np.sign, np.floor, np.ceil, np.rint, np.trunc, np.spacing):
    declare(_step.__name__, _step, None, sample=samples.unary(avoid=[-2, -1, 0, 1, 2]))
declare(
    "heaviside",
    np.heaviside,
    None,
    lambda g, out, x, value: g * (x == 0),
    sample=lambda draw: (
        tuple(np.round(samples.reals(draw, shape)) for shape in samples.broadcastable(draw, 2)),
        {},
    ),
)


def _step_sample(draw: samples.Draw) -> samples.Operands:
    return (samples.reals(draw, samples.shape(draw), avoid=[n / 2 for n in range(-4, 5)]),), {}


def _of_one(function: Callable[..., AnyArray]) -> Callable[..., AnyArray]:
    """A function as one of a single operand, whatever parameters it has."""
    return lambda x: function(x)


for _function in (np.fix, np.isposinf, np.isneginf):
    declare(_function.__name__, _of_one(_function), None, sample=_step_sample, numpy=_function, expects="a real array")
declare(
    "round",
    lambda x, *, decimals=0: np.round(x, decimals),
    None,
    sample=_step_sample,
    numpy=np.round,
    expects="a real array",
)


@implements(np.around, differentiable=False)
def _around(a: AnyArray, decimals: int = 0, out: object = None) -> AnyArray:
    refuse("np.around", out=out)
    return np.round(a, decimals)
