"""What lies behind a kink: functions such as ``norm(x)**2`` are smooth where the norm itself is not."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import samples
from ..tensor import Op, Tensor, declare, sweep


def slope_at_kink(g: Any, out: Any, at_kink: Any = None) -> Any:
    """What ``g / out`` tends to where ``out``, the modulus of some x, is 0: the derivative of ``g`` with respect to it.

    The gradient of f(|x|) is x f'(|x|) / |x|. At 0 its value is taken to be 0, but its derivative is f''(0), and not 0.
    ``g`` is that f'(|x|), and has been recorded where a second derivative is possible.

    Parameters
    ----------
    g, out
        As a rule is given them.
    at_kink
        Where the kink is, a Tensor. Default: where ``out`` is 0.

    Returns
    -------
    Tensor or None
        Of the shape of ``out``; None where no second derivative is possible, or nothing is 0. NaN where it is not
        known: where ``g`` depends on other elements of ``out`` than its own, as in ``abs(x).sum()**2``, which has no
        second derivative there, and in fourth derivatives.
    """
    if not (isinstance(g, Tensor) and g.requires_grad and isinstance(out, Tensor)):
        return None
    at_kink = out.data == 0 if at_kink is None else at_kink.data
    if isinstance(at_kink, (np.ndarray, np.generic)) and not at_kink.any():
        return None
    history = _history(g)
    twins = [out, *(tensor for tensor in history if tensor is not out and _are_alike(tensor, out))]
    try:
        slope = _derivative(g, twins, np.ones(out.shape, out.dtype))
    except RuntimeError:  # the history has been freed on the way, so there is no second derivative to be had
        return None
    if slope is None:
        return None
    if any(_op_of(tensor) is _slope for tensor in history):
        return slope * np.nan
    if out.size == 1:
        return _slope(slope)
    seed = (1 + np.arange(out.size) / out.size).reshape(out.shape).astype(out.dtype)
    other = _derivative(g, twins, seed) / seed
    own = np.abs(other - slope) <= np.sqrt(np.finfo(out.dtype).eps) * np.abs(slope)
    return _slope(np.where(own, slope, np.nan).astype(out.dtype))


_slope: Op = declare("slope_at_kink", lambda slope: +slope, lambda g, out, slope: _slope(g), sample=samples.unary())
"""The slope itself. Its name in a history tells that a slope was differentiated, which leads no further: at 0 g'(r) is
the limit of g(r) / r, but the second derivatives of the two differ."""


def _history(g: Tensor) -> list[Tensor]:
    """``g`` and all results that it was computed from."""
    found, stack, met = [], [g], set()
    while stack:
        tensor = stack.pop()
        if tensor._order in met or (creator := tensor.creator) is None:
            continue
        met.add(tensor._order)
        found.append(tensor)
        stack.extend(operand for operand in creator[1] if isinstance(operand, Tensor) and operand.requires_grad)
    return found


def _are_alike(first: Any, second: Any) -> bool:
    """Whether two operands were computed by the same expression: the norm of one vector may be taken twice."""
    pairs = [(first, second)]
    while pairs:
        one, other = pairs.pop()
        if one is other:
            continue
        if not (isinstance(one, Tensor) and isinstance(other, Tensor)):
            if isinstance(one, Tensor) or isinstance(other, Tensor) or not _are_equal(one, other):
                return False
            continue
        if _op_of(one) is None or _op_of(one) is not _op_of(other):
            return False
        (_, operands, _, settings), (_, others, _, set_otherwise) = one._record or (), other._record or ()
        if len(operands) != len(others) or not _are_equal(settings, set_otherwise):
            return False
        pairs.extend(zip(operands, others))
    return True


def _are_equal(one: Any, other: Any) -> bool:
    """Of constants and settings, which may hold arrays."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_are_equal(value, other[name]) for name, value in one.items())
    if isinstance(one, (tuple, list)):
        return type(one) is type(other) and len(one) == len(other) and all(map(_are_equal, one, other))
    return (
        np.array_equal(one, other) if isinstance(one, np.ndarray) else bool(type(one) is type(other) and one == other)
    )


def _op_of(tensor: Tensor) -> Any:
    creator = tensor.creator
    return None if creator is None else creator[0]


def _derivative(g: Tensor, twins: list[Tensor], seed: Any) -> Any:
    """The derivative of ``g``, weighted by ``seed`` and added up, with respect to all ``twins`` together."""
    orders = {tensor._order for tensor in twins}
    parts = [
        part
        for tensor, part in sweep(g, Tensor(seed), twins, retain_graph=True, create_graph=True)
        if tensor._order in orders
    ]
    return sum(parts[1:], parts[0]) if parts else None
