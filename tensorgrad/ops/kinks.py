"""What lies behind a kink: functions such as ``norm(x)**2`` are smooth where the norm itself is not.

The gradient of f(|x|) is x f'(|x|) / |x|. Where x is 0 its value is taken to be 0, but its derivative is f''(0).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from .. import samples
from ..core import AnyArray, Op, Tensor, backward_pass, declare
from ..core.node import Node
from ..core.tensor import as_used, history


def quotient(g: AnyArray, out: AnyArray) -> Any:
    """``g / out``, read off the history of ``g`` where that is a multiple of ``out``; else None, as for arrays.

    The gradient of ``out**2`` is one, so the rule of a function that is not smooth at 0, such as a norm, can be exact
    for its square, which is: at 0 too, and in the derivatives that follow.
    """
    op, operands = (g.creator if isinstance(g, Tensor) else None) or (None, ())
    if op is None or not isinstance(out, Tensor):
        return None
    if _is_same(g, out):
        return np.ones_like(out)
    if op.name == "multiply":
        for factor, other in (operands, operands[::-1]):
            if (part := quotient(factor, out)) is not None:
                return part * other
    elif op.name in ("add", "subtract"):
        parts = [quotient(term, out) for term in operands]
        return None if any(part is None for part in parts) else op(*parts)
    elif op.name in ("negative", "divide") and (part := quotient(operands[0], out)) is not None:
        return op(part, *operands[1:])
    elif op.name == "power" and _is_same(operands[0], out) and type(operands[1]) in (int, float) and operands[1] >= 1:
        return out ** (operands[1] - 1)
    elif op.name == "square" and _is_same(operands[0], out):
        return out
    return None


def slope_at_kink(g: AnyArray, out: AnyArray, at_kink: Any = None) -> Any:
    """What ``g / out`` tends to where both are 0, whatever ``g`` is: the derivative of ``g`` with respect to ``out``.

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
    nodes = _before(history(g))
    twins = {history(out), *(node for node in nodes if _are_same(node, history(out)))}
    try:
        slope = _derivative(g, twins, np.ones(out.shape, out.dtype))
    except RuntimeError:  # the history has been freed on the way, so there is no second derivative
        return None
    if slope is None:
        return None
    if any(node.op is _slope for node in nodes):
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


def _derivative(g: Tensor, twins: Collection[Node], seed: Any) -> Any:
    """The derivative of ``g``, weighted by ``seed`` and added up, with respect to all ``twins`` together."""
    found = backward_pass(history(g), Tensor(seed), twins, retain_graph=True, recorded_as=as_used)
    parts = [part for node, part in found if node in twins]
    return sum(parts[1:], parts[0]) if parts else None


def _before(node: Node) -> set[Node]:
    """The node and all that it was computed from."""
    found, stack = {node}, [node]
    while stack:
        new = {parent for parent in stack.pop().parents if parent is not None and parent not in found}
        found |= new
        stack.extend(new)
    return found


def _is_same(x: AnyArray, out: Tensor) -> bool:
    """Whether ``x`` is ``out``, or was computed in the same way from the same values."""
    return isinstance(x, Tensor) and x.requires_grad and _are_same(history(x), history(out))


def _are_same(first: Node | None, second: Node | None) -> bool:
    pairs = [(first, second)]
    while pairs:
        one, other = pairs.pop()
        if one is other:
            continue
        if one is None or other is None or one.op is None or one.op is not other.op or one.is_freed or other.is_freed:
            return False
        if len(one.parents) != len(other.parents) or not _are_equal(one.settings, other.settings):
            return False
        for p, q, a, b in zip(one.parents, other.parents, one.arrays, other.arrays):
            if (p is None or q is None) and not (p is q and _are_equal(a, b)):
                return False
            pairs.append((p, q))
    return True


def _are_equal(one: Any, other: Any) -> bool:
    """Of constants and settings, which may hold arrays."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_are_equal(value, other[name]) for name, value in one.items())
    if isinstance(one, (tuple, list)):
        return type(one) is type(other) and len(one) == len(other) and all(map(_are_equal, one, other))
    if isinstance(one, np.ndarray):
        return one is other or (isinstance(other, np.ndarray) and np.array_equal(one, other))
    return type(one) is type(other) and bool(one == other)
