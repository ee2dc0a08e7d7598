"""Scans along an axis: cumulative sums and products, linear recurrences. All are exact where elements are zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import samples
from ..tensor import OPS, declare, implements, refuse
from .operands import as_gradient, in_dtype


def _part(axis: int, ndim: int, part: Any) -> Any:
    """The index that takes ``part`` of one axis and all of the others."""
    return (slice(None),) * (axis % ndim) + (part,)


def backwards(x: Any, axis: int) -> Any:
    """``x`` in reverse order along ``axis``."""
    return x[_part(axis, x.ndim, slice(None, None, -1))]


def _delayed(x: Any, axis: int, first: float) -> Any:
    """``x`` one place later along ``axis``: ``first``, x_0, x_1, ... without the last."""
    start = np.full_like(x[_part(axis, x.ndim, slice(0, 1))], first)
    return np.concatenate([start, x[_part(axis, x.ndim, slice(0, -1))]], axis=axis)


# Sums


def _scan_sample(draw: samples.Draw) -> Any:
    x = samples.reals(draw, samples.shape(draw))
    axes = [None, *range(-x.ndim, x.ndim)]
    return (x,), {"axis": samples.choice(draw, axes), "dtype": samples.choice(draw, [None, np.dtype(np.float64)])}


def _cumsum_rule(g: Any, out: Any, x: Any, axis: Any, dtype: Any) -> Any:
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
)


# Products, and the recurrence r_k = a_k r_{k-1} + b_k that their gradients are


def _recurrence(a: Any, b: Any, *, axis: int = -1) -> Any:
    """r_k = a_k r_{k-1} + b_k along ``axis``, from r_{-1} = 0.

    Step by step: a scan by halves would multiply elements of ``a`` by each other first, and so overflow, or make NaN of
    infinity times 0, where no r_k is that large.
    """
    result = np.zeros_like(b, dtype=np.result_type(a.dtype, b.dtype))
    last: Any = 0
    for k in range(b.shape[axis]):
        index = _part(axis, b.ndim, k)
        last = a[index] * last + b[index]
        result[index] = last
    return result


def _adjoint(g: Any, a: Any, axis: int) -> Any:
    """The gradient for b: s_k = g_k + a_{k+1} s_{k+1}, the recurrence run backwards. That for a is s_k r_{k-1}."""
    following = _delayed(backwards(a, axis), axis, 0)
    return backwards(OPS["linear_recurrence"](following, backwards(g, axis), axis=axis), axis)


def _recurrence_sample(draw: samples.Draw) -> Any:
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
)


def _cumprod_rule(g: Any, out: Any, x: Any, axis: Any, dtype: Any) -> Any:
    """The product is the recurrence y_k = x_k y_{k-1} from y_{-1} = 1. Nothing is divided by, so zeros are exact."""
    factors, along = (x.reshape(-1), 0) if axis is None else (x, axis)
    factors = in_dtype(factors.reshape(out.shape), g.dtype)
    return as_gradient((_adjoint(g, factors, along) * _delayed(out, along, 1)).reshape(x.shape), x)


declare(
    "cumprod",
    lambda x, *, axis=None, dtype=None: x.cumprod(axis=axis, dtype=dtype),
    _cumprod_rule,
    sample=_scan_sample,
    numpy=np.cumprod,
    expects="an array and one of its axes",
)

# For each element the product of all others along the last axis: of those before it and of those after it


def _before(x: Any) -> Any:
    return _delayed(x, -1, 1)


def _after(x: Any) -> Any:
    return _delayed(backwards(x, -1), -1, 1)


def _products_of_others(x: Any) -> Any:
    """Where a product might overflow on the way, or underflow, it is built up with exponents of its own."""
    if x.dtype.kind == "f" and np.abs(np.frexp(x)[1]).sum(axis=-1).max(initial=0) >= np.finfo(x.dtype).maxexp - 2:
        return _scaled_products(_before(x), backwards(_after(x), -1)).astype(x.dtype)
    return np.cumprod(_before(x), axis=-1) * backwards(np.cumprod(_after(x), axis=-1), -1)


def _scaled_products(before: Any, after: Any) -> Any:
    """The products of the factors up to each place and from it on, with their exponents kept apart as integers."""
    fractions, exponents = zip(_scaled_scan(before), _scaled_scan(after[..., ::-1]))
    exponent = exponents[0] + exponents[1][..., ::-1]
    return np.ldexp(fractions[0] * fractions[1][..., ::-1], np.clip(exponent, -9999, 9999).astype(np.int32))


def _scaled_scan(factors: Any) -> tuple[Any, Any]:
    """Running products as fractions of a size near 1 and powers of two."""
    fractions, exponents = np.frexp(factors.astype(np.result_type(factors, np.float32)))
    exponents = exponents.astype(np.int64)
    for k in range(1, factors.shape[-1]):
        fractions[..., k], carry = np.frexp(fractions[..., k - 1] * fractions[..., k])
        exponents[..., k] += exponents[..., k - 1] + carry
    return fractions, exponents


def _products_of_others_rule(g: Any, out: Any, x: Any) -> Any:
    """Through the products before and after, each by the rule of a cumulative product."""
    before, after = np.cumprod(_before(x), axis=-1), np.cumprod(_after(x), axis=-1)
    by_before = _cumprod_rule(g * backwards(after, -1), before, _before(x), axis=-1, dtype=None)
    by_after = _cumprod_rule(backwards(g * before, -1), after, _after(x), axis=-1, dtype=None)
    return _hastened(by_before) + backwards(_hastened(by_after), -1)


def _hastened(g: Any) -> Any:
    """One place earlier along the last axis, with 0 in the last: what :func:`_delayed` does, reversed."""
    return np.concatenate([g[..., 1:], np.zeros_like(g[..., :1])], axis=-1)


declare(
    "products_of_others",
    _products_of_others,
    _products_of_others_rule,
    sample=lambda draw: ((samples.reals(draw, samples.shape(draw, min_ndim=1)),), {}),
    expects="an array of one axis at least",
    opaque=True,
)

# NumPy's other names for them


@implements(np.nancumsum)
def _nancumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    refuse("np.nancumsum", out=out)
    return OPS["cumsum"](_filled(a, 0), axis=axis, dtype=dtype)


@implements(np.nancumprod)
def _nancumprod(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    refuse("np.nancumprod", out=out)
    return OPS["cumprod"](_filled(a, 1), axis=axis, dtype=dtype)


def _filled(x: Any, value: int) -> Any:
    """``x`` with ``value`` in the place of NaN; only floats have any."""
    return np.where(np.isnan(x), value, x) if x.dtype.kind == "f" else x


def _cumulative(name: str, scan: str, first: int) -> Any:
    def cumulative(
        x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False
    ) -> Any:
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
        implements(getattr(np, _name))(_cumulative(_name, _scan, _first))
