"""Norms of vectors and matrices, of every order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from .. import samples
from ..core import OPS, AnyArray, Axis, declare, implements
from .conversion import as_operand, imaginary_part, in_single, real_part
from .decompositions import check_matrices
from .kinks import quotient, slope_at_kink
from .reductions import restored

squared_norm = declare(
    "squared_norm",
    lambda x, factor: np.square(x).sum() * factor,
    lambda g, out, x, factor: x * (2 * factor * g),
    None,
    sample=lambda draw: ((samples.reals(draw, samples.shape(draw)), 0.5 + draw.integer(0, 2)), {}),
    expects="a real array and a number",
)
"""The sum of all squares, times a number."""


def _squares(x: AnyArray) -> AnyArray:
    return np.square(real_part(x)) + np.square(imaginary_part(x)) if x.dtype.kind == "c" else x * x


@in_single
def _norm(x: AnyArray, *, order: float = 2.0, axis: Axis = None, keepdims: bool = False) -> Any:
    if order == 2:
        return np.sqrt(_squares(x).sum(axis=axis, keepdims=keepdims))
    powers = np.power(np.abs(x), order)
    return np.power(powers.sum(axis=axis, keepdims=keepdims), 1 / order)


def _norm_rule(g: AnyArray, out: AnyArray, x: AnyArray, order: float, axis: Axis, keepdims: bool) -> AnyArray:
    if order != 2:
        return _norm_gradient(g, out, x, None, order=order, axis=axis, keepdims=keepdims)
    if (multiple := quotient(g, out)) is not None:
        return x * restored(multiple, x, axis, keepdims)
    return _norm_gradient(g, out, x, slope_at_kink(g, out), order=order, axis=axis, keepdims=keepdims)


@in_single
def _norm_gradient(
    g: AnyArray, out: AnyArray, x: AnyArray, slope: Any, order: float, axis: Axis, keepdims: bool
) -> AnyArray:
    """x |x|^(p-2) norm^(1-p), and 0 where the norm or the element is 0, or the norm overflows.

    In an infinite norm only infinite elements count, as 1 or -1 each, and they share its gradient; but in that of order
    2 theirs is NaN, as this would triple the time of the one norm that is often differentiated.
    """
    g, out = restored(g, x, axis, keepdims), restored(out, x, axis, keepdims)
    if x.dtype.kind != "c" and order != 2:
        infinite, overflown = np.isinf(x), np.isinf(out)
        count = infinite.sum(axis=axis, keepdims=True).astype(x.dtype)
        x = np.where(overflown, np.clip(x, -1, 1) * infinite, x)
        out = np.where(overflown, (count > 0) * np.power(np.maximum(count, 1), 1 / order), out)
    flat = (out == 0) | np.isinf(out)
    if order != 2:  # powers that overflow would be multiplied by 0
        x = np.where(flat, 0, x)
    if order == 2:
        powers = x
    elif order > 0 and order % 2 == 0:  # a polynomial, with all of its derivatives at 0
        powers = x * np.power(_squares(x), order / 2 - 1) if x.dtype.kind == "c" else np.power(x, order - 1)
    elif x.dtype.kind == "c":
        powers = np.where(x == 0, 0, x) * np.power(np.where(x == 0, 1, np.abs(x)), order - 2)
    else:
        powers = np.sign(x) * np.power(np.where(x == 0, 1, np.abs(x)), order - 1)
    factor = g * np.where(flat, 0, np.power(np.where(flat, 1, out), 1 - order))
    return powers * (factor if slope is None else np.where(out == 0, restored(slope, x, axis, keepdims), factor))


def _norm_sample(draw: samples.Draw) -> samples.Operands:
    shape = samples.shape(draw, min_length=1)
    settings = {"axis": samples.axis(draw, len(shape)), "keepdims": bool(draw.integer(0, 1))}
    return (samples.reals(draw, shape, avoid=[0]),), {
        "order": samples.choice(draw, [2.0, 3.0, 4.0, 1.5, 0.5, -1.0, -2.5]),
        **settings,
    }


declare(
    "norm",
    _norm,
    _norm_rule,
    sample=_norm_sample,
    expects="a floating array and axes that it has",
    complex_rules="direct",
)


def _vector_norm(x: AnyArray, order: Any, axis: tuple[int, ...] | None, keepdims: bool) -> Any:
    if isinstance(order, str):
        raise ValueError(f"norm: {order!r} is not an order for vectors")
    order = 2.0 if order is None else float(order)
    if order == np.inf:
        return np.abs(x).max(axis=axis, keepdims=keepdims, initial=0)
    if order == -np.inf:
        return np.abs(x).min(axis=axis, keepdims=keepdims)
    if order == 0:
        return (x != 0).astype(np.finfo(x.dtype).dtype).sum(axis=axis, keepdims=keepdims)
    if order == 1:
        return np.abs(x).sum(axis=axis, keepdims=keepdims)
    return _norm_of_order(x, order, axis, keepdims)


def _norm_of_order(x: AnyArray, order: float, axes: tuple[int, ...] | None, keepdims: bool) -> AnyArray:
    """The op, with one way of writing all axes: so the rule knows the same norm again."""
    return OPS["norm"](x, order=order, axis=None if axes is None or len(axes) == x.ndim else axes, keepdims=keepdims)


def _matrix_norm(x: AnyArray, order: object, axes: tuple[int, ...], keepdims: bool) -> Any:
    rows, columns = axes
    if order in (None, "fro", "f"):
        return _norm_of_order(x, 2.0, axes, keepdims)
    if order in (1, -1, np.inf, -np.inf):
        summed, rest = (rows, columns) if abs(order) == 1 else (columns, rows)
        sums = np.abs(x).sum(axis=summed, keepdims=True)
        extreme = sums.max(axis=rest, keepdims=True, initial=0) if order > 0 else sums.min(axis=rest, keepdims=True)
        return extreme if keepdims else extreme.squeeze(axis=axes)
    if order not in (2, -2, "nuc"):
        raise ValueError(f"norm: {order!r} is not an order for matrices")
    matrices = np.transpose(x, (*(axis for axis in range(x.ndim) if axis not in axes), *axes))
    s = np.abs(np.linalg.svdvals(matrices))  # its derivative at a singular value of zero is 0, as for other norms
    norm = s.sum(axis=-1) if order == "nuc" else s.max(axis=-1, initial=0) if order == 2 else s.min(axis=-1)
    return np.expand_dims(norm, tuple(sorted(axes))) if keepdims else norm


def _floating(x: AnyArray) -> AnyArray:
    x = as_operand(x)
    return x if x.dtype.kind in "fc" else x.astype(np.float64)


@implements(np.linalg.norm, on_complex=True)
def _norm_call(x: AnyArray, ord: object = None, axis: Axis = None, keepdims: bool = False) -> Any:
    x, keepdims = _floating(x), bool(keepdims)
    if axis is None and (ord is None or (ord in ("f", "fro") and x.ndim == 2)):
        return OPS["norm"](x, keepdims=keepdims)
    axes = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim)
    if len(axes) == 1:
        return _vector_norm(x, ord, axes, keepdims)
    if len(axes) == 2:
        return _matrix_norm(x, ord, axes, keepdims)
    raise ValueError(f"norm of an order takes vectors or matrices, that is one axis or two; got {len(axes)}")


@implements(np.linalg.vector_norm, on_complex=True)
def _vector_norm_call(x: AnyArray, /, *, axis: Axis = None, keepdims: bool = False, ord: object = 2) -> Any:
    x = _floating(x)
    return _vector_norm(x, ord, None if axis is None else normalize_axis_tuple(axis, x.ndim), bool(keepdims))


@implements(np.linalg.matrix_norm, on_complex=True)
def _matrix_norm_call(x: AnyArray, /, *, keepdims: bool = False, ord: object = "fro") -> Any:
    x = _floating(x)
    check_matrices("matrix_norm", x)
    return _matrix_norm(x, ord, (x.ndim - 2, x.ndim - 1), bool(keepdims))


@implements(np.linalg.cond)
def _cond(x: AnyArray, p: object = None) -> AnyArray:
    """The norm times that of the inverse; infinite where a singular matrix makes it 0 / 0."""
    check_matrices("cond", x)
    if 0 in x.shape[-2:]:
        raise np.linalg.LinAlgError(f"cond takes matrices that are not empty, got shape {x.shape}")
    if p in (None, 2, -2):
        s = np.linalg.svdvals(x)
        largest, smallest = s[..., 0], s[..., -1]
        with np.errstate(divide="ignore", invalid="ignore"):
            condition = smallest / largest if p == -2 else largest / smallest
    else:
        x = _floating(x)
        axes = (x.ndim - 2, x.ndim - 1)
        condition = _matrix_norm(x, p, axes, False) * _matrix_norm(np.linalg.inv(x), p, axes, False)
    return np.where(np.isnan(condition) & ~np.isnan(x).any(axis=(-2, -1)), np.inf, condition)
