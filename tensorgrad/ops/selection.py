"""Selecting between elements: ``where``, ``select``, ``maximum``, ``clip``."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from .. import samples
from ..core import OPS, AnyArray, declare, implements, plain_index, refuse
from ..core.context import runtime_check
from .conversion import as_operand, as_tensor, in_dtype, without_history

# Extremes: where both sides are equal each gets half of the gradient. Where one is NaN, so is the result of maximum and
# minimum, and each gets all of it: that nothing is known is not to look like no influence. fmax and fmin choose.


def _chosen(g: AnyArray, out: AnyArray, x: AnyArray, y: AnyArray) -> AnyArray:
    """The gradient for the first operand: all of it where y was not chosen, half of it at a tie."""
    chosen = g * (y != out)
    return np.where(x == y, 0.5 * g, chosen)


for _extreme in (np.maximum, np.minimum, np.fmax, np.fmin):
    declare(_extreme.__name__, _extreme, _chosen, lambda g, out, x, y: _chosen(g, out, y, x), sample=samples.apart)

# Where


def _choice_sample(draw: samples.Draw) -> samples.Operands:
    mask, first, second = samples.broadcastable(draw, 3)
    return (samples.reals(draw, mask) > 0, samples.reals(draw, first), samples.reals(draw, second)), {}


declare(
    "where",
    lambda condition, x, y: np.where(condition, x, y),
    None,
    lambda g, out, condition, x, y: np.where(condition, g, 0),
    lambda g, out, condition, x, y: np.where(condition, 0, g),
    sample=_choice_sample,
    broadcasts=True,
    expects="a condition and two operands whose shapes broadcast together",
    complex_rules="direct",
)


@implements(np.where, on_complex=True)
def _where(condition: Any, *choices: AnyArray) -> Any:
    if not choices:
        return np.where(condition.numpy())  # positions, for indexing
    if len(choices) != 2:
        raise ValueError("np.where takes a condition alone, or a condition and both x and y")
    return OPS["where"](condition, *choices)


@implements(np.select, on_complex=True)
def _select(condlist: Any, choicelist: Any, default: Any = 0) -> AnyArray:
    """The choice of the first condition that holds."""
    conditions = [as_operand(condition) for condition in condlist]
    choices = [choice if type(choice) in (int, float) else as_operand(choice) for choice in (*choicelist, default)]
    if len(conditions) != len(choices) - 1:
        raise ValueError(f"np.select takes as many choices as conditions, got {len(choices) - 1} and {len(conditions)}")
    if not conditions:
        raise ValueError("np.select takes at least one condition")
    for position, condition in enumerate(conditions):
        if condition.dtype != bool:
            raise TypeError(f"np.select takes conditions of dtype bool, got {condition.dtype} at {position}")
    dtype = np.result_type(*(getattr(choice, "dtype", choice) for choice in choices))
    *choices, result = (in_dtype(as_operand(choice), dtype) for choice in choices)
    for condition, choice in zip(reversed(conditions), reversed(choices)):
        result = np.where(condition, choice, result)
    return result


def _masks(condlist: Any, x: AnyArray) -> list[AnyArray]:
    """The conditions of np.piecewise as boolean arrays; a single one may stand without a list."""
    alone = not isinstance(condlist, (list, tuple)) and np.ndim(condlist) <= x.ndim
    alone = alone or (x.ndim != 0 and np.ndim(condlist[0]) == 0)
    masks = (as_operand(without_history(mask)) for mask in ([condlist] if alone else condlist))
    return [plain_index(in_dtype(mask, np.dtype(bool))) for mask in masks]


def _check_nowhere(mask: AnyArray) -> None:
    if mask.any():
        raise ValueError(
            "np.piecewise: a condition holds that held nowhere when the function was compiled; choose with np.where"
        )


@implements(np.piecewise)
def _piecewise(x: AnyArray, condlist: Any, funclist: Any, *args: object, **kw: Any) -> AnyArray:
    """Each function is called with the elements for which its condition holds, so none meets another's domain."""
    x, functions = as_operand(x), list(funclist)
    masks = _masks(condlist, x)
    if len(masks) == len(functions) - 1:
        masks.append(~reduce(np.logical_or, masks))
    elif len(masks) != len(functions):
        raise ValueError(
            f"np.piecewise takes {len(masks)} or {len(masks) + 1} functions for {len(masks)} condition(s), "
            f"got {len(functions)}"
        )
    result: AnyArray = as_tensor(np.zeros_like(x))
    for mask, function in zip(masks, functions):
        elements = x[mask]
        if elements.size == 0:
            runtime_check(_check_nowhere, mask)
            continue
        value = function(elements, *args, **kw) if callable(function) else function
        values = in_dtype(as_operand(value), x.dtype)
        piece = OPS["scatter"](np.broadcast_to(values, elements.shape), index=mask, shape=x.shape)
        result = np.where(mask, piece, result)
    return result


# Bounds


def _clip_sample(draw: samples.Draw) -> samples.Operands:
    first, second = samples.broadcastable(draw, 2)
    low = np.round(samples.reals(draw, second, -1.5, 0.0), 1)
    return (samples.between_tenths(draw, first), low, np.asarray(low + 1.0)), {}


# At a bound, or if NaN, x has all of the gradient. A lower bound above the upper one gives the upper, as in NumPy.
declare(
    "clip",
    lambda x, low, high: np.clip(x, low, high),
    lambda g, out, x, low, high: np.where((x < low) | (x > high), 0, g),
    lambda g, out, x, low, high: np.where((x < low) & (low <= high), g, 0),
    lambda g, out, x, low, high: np.where((x > high) | (low > high), g, 0),
    sample=_clip_sample,
    broadcasts=True,
    expects="x, lower and upper bound whose shapes broadcast together",
)


def _range(dtype: np.dtype) -> Any:
    """The least and the greatest number of a dtype."""
    if dtype.kind == "b":
        return False, True
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    return (limits.min, limits.max) if limits else (-np.inf, np.inf)


@implements(np.clip)
def _clip(
    a: AnyArray,
    a_min: Any = np._NoValue,
    a_max: Any = np._NoValue,
    out: object = None,
    *,
    min: Any = np._NoValue,
    max: Any = np._NoValue,
    **keywords: object,
) -> AnyArray:
    refuse("np.clip", out=out, **keywords)
    if any(old is not np._NoValue for old in (a_min, a_max)):
        if any(new is not np._NoValue for new in (min, max)):
            raise ValueError("np.clip takes bounds as a_min and a_max or as min and max, not both")
        min, max = a_min, a_max
    a = as_operand(a)
    low, high = (None if bound is np._NoValue else bound for bound in (min, max))
    if low is None and high is None:
        return np.where(True, a, a)
    bounds = [bound if type(bound) in (int, float) else as_operand(bound) for bound in (low, high) if bound is not None]
    least, greatest = _range(np.result_type(a.dtype, *(getattr(bound, "dtype", bound) for bound in bounds)))
    return OPS["clip"](a, least if low is None else low, greatest if high is None else high)


@implements(np.nan_to_num)
def _nan_to_num(
    x: AnyArray, copy: bool = True, nan: object = 0.0, posinf: object = None, neginf: object = None
) -> AnyArray:
    refuse("np.nan_to_num", copy=None if copy else copy)
    if x.dtype.kind != "f":
        return x
    limits = np.finfo(x.dtype)
    result = np.where(np.isnan(x), in_dtype(as_operand(nan), x.dtype), x)
    result = np.where(x == np.inf, in_dtype(as_operand(limits.max if posinf is None else posinf), x.dtype), result)
    return np.where(x == -np.inf, in_dtype(as_operand(limits.min if neginf is None else neginf), x.dtype), result)
