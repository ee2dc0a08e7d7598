"""Scans along an axis: cumulative sums and products, linear recurrences. All are exact where elements are zero."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from .. import samples
from ..core import OPS, AnyArray, DType, declare, implements, refuse
from .conversion import as_gradient, in_dtype, in_single


def _part(axis: int, ndim: int, part: slice | int) -> Any:
    """The index that takes ``part`` of one axis and all of the others."""
    return (slice(None),) * (axis % ndim) + (part,)


def backwards(x: AnyArray, axis: int) -> AnyArray:
    """``x`` in reverse order along ``axis``."""
    return x[_part(axis, x.ndim, slice(None, None, -1))]


def _delayed(x: AnyArray, axis: int, first: float) -> AnyArray:
    """``x`` one place later along ``axis``: ``first``, x_0, x_1, ... without the last."""
    start = np.full_like(x[_part(axis, x.ndim, slice(0, 1))], first)
    return np.concatenate([start, x[_part(axis, x.ndim, slice(0, -1))]], axis=axis)


# Sums


def _scan_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw))
    axes = [None, *range(-x.ndim, x.ndim)]
    return (x,), {"axis": samples.choice(draw, axes), "dtype": samples.choice(draw, [None, np.dtype(np.float64)])}


@in_single
def _cumsum_rule(g: AnyArray, out: AnyArray, x: AnyArray, axis: int | None, dtype: DType) -> AnyArray:
    """Each element is in the sums from its own place on."""
    along = 0 if axis is None else axis
    return as_gradient(backwards(np.cumsum(backwards(g, along), axis=along), along).reshape(x.shape), x)


declare(
    "cumsum",
    lambda x, *, axis=None, dtype=None: x.cumsum(axis=axis, dtype=dtype),
    _cumsum_rule,
    sample=_scan_sample,
    numpy=np.cumsum,
    expects="an array and one of its axes",
    complex_rules="direct",
)


# Products, and the recurrence r_k = a_k r_{k-1} + b_k that their gradients are


def _recurrence(a: AnyArray, b: AnyArray, *, axis: int = -1) -> AnyArray:
    """r_k = a_k r_{k-1} + b_k along ``axis``, from r_{-1} = 0.

    Step by step: a scan by halves would multiply elements of ``a`` by each other first, and so overflow, or make NaN of
    infinity times 0, where no r_k is that large.
    """
    result = np.zeros_like(b, dtype=np.result_type(a.dtype, b.dtype))
    last: Any = 0
    for k in range(b.shape[axis]):
        index = _part(axis, b.ndim, k)
        last = a[index] * np.where(a[index] == 0, 0, last) + b[index]  # 0 times what has overflown is 0
        result[index] = last
    return result


def _adjoint(g: AnyArray, a: AnyArray, axis: int) -> AnyArray:
    """The gradient for b: s_k = g_k + a_{k+1} s_{k+1}, the recurrence run backwards. That for a is s_k r_{k-1}."""
    following = _delayed(backwards(a, axis), axis, 0)
    return backwards(OPS["linear_recurrence"](following, backwards(g, axis), axis=axis), axis)


def _recurrence_sample(draw: samples.Draw) -> samples.Operands:
    lengths = samples.shape(draw, min_ndim=1)
    axis = draw.integer(-len(lengths), len(lengths) - 1)
    return (samples.reals(draw, lengths), samples.reals(draw, lengths)), {"axis": axis}


declare(
    "linear_recurrence",
    _recurrence,
    lambda g, out, a, b, axis: as_gradient(_adjoint(g, a, axis) * _delayed(out, axis, 0), a),
    lambda g, out, a, b, axis: as_gradient(_adjoint(g, a, axis), b),
    sample=_recurrence_sample,
    expects="two arrays of one shape and one of their axes",
    opaque=True,
    complex_rules="holomorphic",
)


def _cumprod_rule(g: AnyArray, out: AnyArray, x: AnyArray, axis: int | None, dtype: DType) -> AnyArray:
    """The product is the recurrence y_k = x_k y_{k-1} from y_{-1} = 1. Nothing is divided by, so zeros are exact."""
    factors, along = (x.reshape(-1), 0) if axis is None else (x, axis)
    factors = in_dtype(factors.reshape(out.shape), g.dtype)
    previous = _delayed(out, along, 1)
    following = _adjoint(g, factors, along)
    if following.dtype.kind == x.dtype.kind == "f":  # what has overflown is finite in truth: times 0 it is 0, not NaN
        most = np.finfo(following.dtype).max
        overflown = (previous == 0) & np.isinf(following) & ~np.isinf(x).any()
        following = np.where(overflown, np.clip(following, -most, most), following)
    return as_gradient((following * previous).reshape(x.shape), x)


declare(
    "cumprod",
    lambda x, *, axis=None, dtype=None: x.cumprod(axis=axis, dtype=dtype),
    _cumprod_rule,
    sample=_scan_sample,
    numpy=np.cumprod,
    expects="an array and one of its axes",
    complex_rules="holomorphic",
)

# Products of all but one, which are the gradient of a product


def _before_and_after(x: AnyArray) -> tuple[AnyArray, AnyArray]:
    """For each element the product of those before it along the last axis, and of those after it."""
    before = np.cumprod(_delayed(x, -1, 1), axis=-1)
    after = backwards(np.cumprod(_delayed(backwards(x, -1), -1, 1), axis=-1), -1)
    return before, after


def _products_of_others(x: AnyArray) -> AnyArray:
    """Without a division, so that zeros are exact; again, with scaled numbers, where a part may be out of range."""
    with np.errstate(over="ignore", invalid="ignore"):
        before, after = _before_and_after(x)
        products = before * after
    if x.dtype.kind == "f" and np.isfinite(x).all() and not (np.isfinite(products) & (products != 0)).all():
        return _products_of_scaled_others(x)
    return products


def _products_of_scaled_others(x: AnyArray) -> AnyArray:
    """The mantissas, from 0.7 to 1.4, are multiplied, the exponents added, and zeros counted."""
    is_zero = x == 0
    mantissas, exponents = np.frexp(np.where(is_zero, 1, x).astype(np.result_type(x.dtype, np.float64)))
    small = np.abs(mantissas) < sqrt(0.5)
    before, after = _before_and_after(np.where(small, 2 * mantissas, mantissas))
    exponents = exponents - small
    with np.errstate(over="ignore"):
        products = np.ldexp(before * after, exponents.sum(axis=-1, keepdims=True) - exponents).astype(x.dtype)
    return np.where(is_zero.sum(axis=-1, keepdims=True) - is_zero > 0, 0, products)


def _products_of_others_rule(g: AnyArray, out: AnyArray, x: AnyArray) -> AnyArray:
    """Through the products before and after, which are cumulative products without the last or the first element."""
    before, after = _before_and_after(x)
    delayed, following = _delayed(x, -1, 1), _delayed(backwards(x, -1), -1, 1)
    by_before = _cumprod_rule(g * after, before, delayed, axis=-1, dtype=None)
    by_after = _cumprod_rule(backwards(g * before, -1), backwards(after, -1), following, axis=-1, dtype=None)
    return backwards(_delayed(backwards(by_before, -1), -1, 0), -1) + _delayed(backwards(by_after, -1), -1, 0)


def _last_axis_sample(draw: samples.Draw) -> samples.Operands:
    return (samples.reals(draw, samples.shape(draw, min_ndim=1)),), {}


products_of_others = declare(
    "products_of_others",
    _products_of_others,
    _products_of_others_rule,
    sample=_last_axis_sample,
    expects="an array of at least one axis",
    opaque=True,
    complex_rules="holomorphic",
)
"""For each element the product of all others along the last axis."""

# NumPy's other names for them


@implements(np.nancumsum)
def _nancumsum(a: AnyArray, axis: int | None = None, dtype: object = None, out: object = None) -> AnyArray:
    refuse("np.nancumsum", out=out)
    return OPS["cumsum"](_filled(a, 0), axis=axis, dtype=dtype)


@implements(np.nancumprod)
def _nancumprod(a: AnyArray, axis: int | None = None, dtype: object = None, out: object = None) -> AnyArray:
    refuse("np.nancumprod", out=out)
    return OPS["cumprod"](_filled(a, 1), axis=axis, dtype=dtype)


def _filled(x: AnyArray, value: int) -> AnyArray:
    """``x`` with NaN replaced by ``value``; only floats have any."""
    return np.where(np.isnan(x), value, x) if x.dtype.kind == "f" else x


def _cumulative(name: str, scan: str, first: int) -> Any:
    def cumulative(
        x: AnyArray,
        /,
        *,
        axis: int | None = None,
        dtype: object = None,
        out: object = None,
        include_initial: bool = False,
    ) -> AnyArray:
        refuse(f"np.{name}", out=out)
        if x.ndim > 1 and axis is None:
            raise ValueError(f"np.{name}: an array of {x.ndim} axes needs axis=, one of them")
        result = OPS[scan](x, axis=axis, dtype=dtype)
        if not include_initial:
            return result
        along = 0 if axis is None else axis
        shape = tuple(1 if a == along % result.ndim else length for a, length in enumerate(result.shape))
        return np.concatenate([np.full_like(result, first, shape=shape), result], axis=along)

    return cumulative


for _name, _scan, _first in (("cumulative_sum", "cumsum", 0), ("cumulative_prod", "cumprod", 1)):
    if hasattr(np, _name):  # since NumPy 2.1
        implements(getattr(np, _name), on_complex=True)(_cumulative(_name, _scan, _first))
