"""Reductions over any axes: sums, means, extremes."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from .. import samples
from ..tensor import declare


def _restored(reduced: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """A reduction's result (or its gradient) with the reduced axes put back as axes of length 1."""
    if keepdims or x.ndim == 0:
        return reduced
    if axis is None:
        return reduced.reshape((1,) * x.ndim)
    axes = {a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))}
    return reduced.reshape(tuple(1 if a in axes else length for a, length in enumerate(x.shape)))


def _reduced_count(out: Any, x: Any) -> int:
    """How many elements of ``x`` went into each element of ``out``."""
    return x.size // max(out.size, 1)  # type: ignore[no-any-return]


def _sum_rule(g: Any, out: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    return np.broadcast_to(_restored(g, x, axis, keepdims), x.shape)


def _mean_rule(g: Any, out: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    return np.broadcast_to(_restored(g * (1 / max(_reduced_count(out, x), 1)), x, axis, keepdims), x.shape)


def _var_rule(g: Any, out: Any, x: Any, axis: Any, ddof: int, keepdims: bool) -> Any:
    """2 (x - mean) / (n - ddof)."""
    centred = x - x.mean(axis=axis, keepdims=True)
    freedom = _reduced_count(out, x) - ddof
    return _restored(g, x, axis, keepdims) * (centred * (2 / freedom if freedom > 0 else np.inf))


def _extreme_rule(g: Any, out: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """The gradient goes to the extreme element, in equal parts to all that share the extreme."""
    chosen = x == _restored(out, x, axis, keepdims)
    return _restored(g, x, axis, keepdims) * (chosen / chosen.sum(axis=axis, keepdims=True)).astype(x.dtype)


def _var_sample(draw: samples.Draw) -> Any:
    x = samples.reals(draw, samples.shape(draw, min_length=2))
    ddof = draw.integer(0, 1) if x.ndim else 0
    along = samples.axis(draw, x.ndim)
    if along == ():
        ddof = 0
    return (x,), {"axis": along, "ddof": ddof, "keepdims": bool(draw.integer(0, 1))}


def _method(name: str) -> Callable[..., Any]:
    """The reduction as the array's own method, which costs less than half of NumPy's function on small arrays."""

    def reduce(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return getattr(x, name)(axis=axis, keepdims=keepdims)

    return reduce


_NOT_EMPTY = samples.reduction(min_length=1)
_NO_TIES = samples.reduction(min_length=1, unique=True)
_ONE_AXIS = samples.reduction(min_length=1, single_axis=True)

for _name, _rule, _sample, _expects in (
    ("sum", _sum_rule, samples.reduction(), "an array and axes that it has"),
    ("mean", _mean_rule, _NOT_EMPTY, "an array and axes that it has"),
    ("max", _extreme_rule, _NO_TIES, "an array that is not empty along axes that it has"),
    ("min", _extreme_rule, _NO_TIES, "an array that is not empty along axes that it has"),
    ("any", None, samples.reduction(), "an array and axes that it has"),
    ("all", None, samples.reduction(), "an array and axes that it has"),
    ("argmax", None, _ONE_AXIS, "an array that is not empty along an axis that it has"),
    ("argmin", None, _ONE_AXIS, "an array that is not empty along an axis that it has"),
):
    declare(_name, _method(_name), _rule, sample=_sample, numpy=getattr(np, _name), expects=_expects)

declare(
    "var",
    lambda x, *, axis=None, ddof=0, keepdims=False: x.var(axis=axis, ddof=ddof, keepdims=keepdims),
    _var_rule,
    sample=_var_sample,
    numpy=np.var,
    expects="an array and axes that it has",
)
