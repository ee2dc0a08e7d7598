"""Order statistics (median, quantiles) and weighted averages, covariances and correlations.

A quantile lies between two neighbours in sorted order, at a real-valued rank that depends on the method. The rules take
that rank from NumPy itself: the quantile of the ranks 0, 1, ... n - 1 is the rank of the quantile.
"""

from __future__ import annotations

from math import prod
from typing import Any, Callable

import numpy as np

from .. import samples
from ..tensor import OPS, Tensor, beside, declare, implements, refuse, verified
from .reductions import as_rows, axes_of, equal_shares, from_rows
from .scans import in_dtype

# Order statistics: the elements of given ranks along the last axis


def _order_statistics(x: Any, ranks: Any) -> Any:
    return np.take_along_axis(np.sort(x, axis=-1), ranks, axis=-1)


def _to_those_of_rank(g: Any, values: Any, x: Any) -> Any:
    """The gradient for ``values`` goes to the elements that have them, in equal parts."""
    if g.shape[-1] == 0:
        return np.broadcast_to(g.sum(axis=-1, keepdims=True), x.shape)
    columns = [(..., slice(k, k + 1)) for k in range(g.shape[-1])]
    parts = [g[column] * equal_shares(x == values[column], 0, -1, g.dtype) for column in columns]
    return sum(parts[1:], parts[0])


def _order_statistics_sample(draw: samples.Draw) -> Any:
    x = samples.distinct(draw, samples.shape(draw, min_ndim=1, min_length=1))
    count = draw.integer(0, 3)
    ranks = [draw.integer(0, x.shape[-1] - 1) for _ in range(count)]
    return (x, np.array(ranks, dtype=np.intp).reshape((1,) * (x.ndim - 1) + (count,))), {}


declare(
    "order_statistics",
    _order_statistics,
    lambda g, out, x, ranks: _to_those_of_rank(g, out, x),
    None,
    sample=_order_statistics_sample,
    expects="an array that is not empty and ranks along its last axis",
)

# Quantiles

_SLOPES = {
    "linear": -1,
    "interpolated_inverted_cdf": 0,
    "hazen": 0,
    "weibull": 1,
    "median_unbiased": 1 / 3,
    "normal_unbiased": 1 / 4,
}
"""The methods whose rank grows with q: by n plus this. (Hyndman and Fan 1996: n + 1 - alpha - beta.) Others jump."""


def _ranks(x: Any, q: Any, axis: Any, method: str, skip_nan: bool) -> tuple[Any, Any]:
    """The real-valued ranks of the quantiles, one row for each row of ``x``, and the highest rank that there is."""
    rows = as_rows(x, axis)
    positions = beside(np.arange(float(rows.shape[-1])), rows)
    last: Any = rows.shape[-1] - 1
    if type(q) in (int, float):  # NumPy takes a number in the dtype of floats
        q = beside(np.array(q, x.dtype if x.dtype.kind == "f" else float), rows)
    if skip_nan:
        last = np.maximum((rows == rows).sum(axis=-1, keepdims=True) - 1, 0)
        positions = np.where(positions <= last, positions, np.nan)
        ranks = np.nanquantile(positions, q, axis=-1, method=method)
    else:
        ranks = np.quantile(positions, q, method=method)
    return _quantiles_last(ranks, prod(q.shape), rows.ndim - 1 if skip_nan else 0, rows), last


def _quantiles_last(values: Any, count: int, kept: int, rows: Any) -> Any:
    """``values``, one for each of ``count`` quantiles and each row (or for all), as columns beside the rows."""
    if not kept:
        return values.reshape((1,) * (rows.ndim - 1) + (count,))
    return values.reshape((count, *rows.shape[:-1])).transpose((*range(1, rows.ndim), 0))


def _quantile_rule(
    g: Any, out: Any, x: Any, q: Any, axis: Any, method: str, keepdims: bool, skip_nan: bool = False
) -> Any:
    """(1 - w) to the neighbour below and w to the one above, where w is the fraction in the rank."""
    if x.size == 0:
        return np.zeros_like(x)
    rows = as_rows(x, axis)
    ranks, last = _ranks(x, q, axis, method, skip_nan)
    below = np.floor(ranks)
    weight = in_dtype(ranks - below, g.dtype)
    g = _quantiles_last(g, prod(np.shape(q)), rows.ndim - 1, rows)
    gradient: Any = None
    for part, rank in ((g * (1 - weight), below), (g * weight, np.minimum(below + 1, last))):
        values = OPS["order_statistics"](rows, rank.astype(np.intp))
        share = _to_those_of_rank(part, values, rows)
        gradient = share if gradient is None else gradient + share
    return in_dtype(from_rows(gradient, x, axis), x.dtype)


def _level_rule(
    g: Any, out: Any, x: Any, q: Any, axis: Any, method: str, keepdims: bool, skip_nan: bool = False
) -> Any:
    """The slope between the neighbours; at an element itself the mean of the slopes on both sides."""
    if x.size == 0 or method not in _SLOPES:
        return q * 0
    rows = in_dtype(as_rows(x, axis), g.dtype)
    ranks, last = _ranks(x, q, axis, method, skip_nan)
    above, below = np.minimum(np.floor(ranks) + 1, last), np.maximum(np.ceil(ranks) - 1, 0)
    rise = OPS["order_statistics"](rows, above.astype(np.intp)) - OPS["order_statistics"](rows, below.astype(np.intp))
    growth = (last + 1 + _SLOPES[method]) / np.maximum(above - below, 1)
    if method != "linear":  # where the rank is cut off at an end it does not grow
        growth = np.where((ranks > 0) & (ranks < last), growth, 0)
    g = _quantiles_last(g, prod(q.shape), rows.ndim - 1, rows) * rise * growth.astype(g.dtype)
    return in_dtype(g.sum(axis=tuple(range(rows.ndim - 1))).reshape(q.shape), q.dtype)


def _quantile_sample(with_nan: bool) -> samples.Sample:
    def sample(draw: samples.Draw) -> Any:
        x = samples.distinct(draw, samples.shape(draw, min_length=1))
        axis = samples.axis(draw, x.ndim)
        method = samples.choice(draw, [*_SLOPES, "inverted_cdf", "averaged_inverted_cdf", "lower", "midpoint"])
        length = prod(x.shape[a] for a in axes_of(axis, x.ndim))
        if with_nan and length > 1:
            x, length = _one_nan_in_each_row(x, axis), length - 1
        clear = _levels_between_elements(length, method)
        shape = samples.choice(draw, [(), (2,), (1, 2), (0,)])
        q = np.array([samples.choice(draw, clear) for _ in range(prod(shape))], float).reshape(shape)
        return (x, q), {"axis": axis, "method": method, "keepdims": bool(draw.integer(0, 1))}

    return sample


def _one_nan_in_each_row(x: Any, axis: Any) -> Any:
    missing = np.zeros(x.shape, bool)
    missing[tuple(-1 if a in axes_of(axis, x.ndim) else slice(None) for a in range(x.ndim))] = True
    return np.where(missing, np.nan, x)


def _levels_between_elements(length: int, method: str) -> list[float]:
    """Levels around which the quantile is smooth."""
    levels = np.linspace(0.03, 0.97, 48)
    low, high = (np.quantile(np.arange(float(length)), levels + step, method=method) for step in (-0.01, 0.01))
    between = (np.floor(low) == np.floor(high)) & ((low == high) | ((low > 0) & (high < length - 1) & (low % 1 > 0)))
    return [float(level) for level in levels[between]]


def _declare_quantile(name: str, skip_nan: bool) -> None:
    function = getattr(np, name)

    def forward(x: Any, q: Any, *, axis: Any = None, method: str = "linear", keepdims: bool = False) -> Any:
        return function(x, q, axis=axis, method=method, keepdims=keepdims)

    declare(
        name,
        forward,
        lambda g, out, x, q, **settings: _quantile_rule(g, out, x, q, **settings, skip_nan=skip_nan),
        lambda g, out, x, q, **settings: _level_rule(g, out, x, q, **settings, skip_nan=skip_nan),
        sample=_quantile_sample(skip_nan),
        numpy=function,
        expects="an array that is not empty, levels from 0 to 1 and a method that np.quantile has",
    )


def _declare_median(name: str, skip_nan: bool) -> None:
    function = getattr(np, name)

    def forward(x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        return function(x, axis=axis, keepdims=keepdims)

    def rule(g: Any, out: Any, x: Any, axis: Any, keepdims: bool) -> Any:
        return _quantile_rule(g, out, x, 0.5, axis, "linear", keepdims, skip_nan)

    def sample(draw: samples.Draw) -> Any:
        (x, _), settings = _quantile_sample(skip_nan)(draw)
        return (x,), {"axis": settings["axis"], "keepdims": settings["keepdims"]}

    declare(name, forward, rule, sample=sample, numpy=function, expects="an array and axes that it has")


for _prefix in ("", "nan"):
    _declare_quantile(f"{_prefix}quantile", skip_nan=bool(_prefix))
    _declare_median(f"{_prefix}median", skip_nan=bool(_prefix))


def _quantile_call(name: str, op: str, per: int) -> Callable[..., Any]:
    def quantile(
        a: Any,
        q: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: Any = False,
        *,
        weights: Any = None,
        interpolation: Any = None,
    ) -> Any:
        refuse(name, out=out, weights=weights, interpolation=interpolation)
        a = _with_dtype(a)
        if per != 1:
            q = _with_dtype(q) if isinstance(q, (list, tuple)) else q
            q = np.true_divide(q, a.dtype.type(per) if a.dtype.kind == "f" else per)
        axis = tuple(axis) if isinstance(axis, list) else axis
        keepdims = keepdims is not np._NoValue and keepdims
        return OPS[op](a, q, axis=axis, method=method, keepdims=keepdims)

    return quantile


def _with_dtype(x: Any) -> Any:
    return x if hasattr(x, "dtype") else np.asarray(x)


def _median_call(name: str) -> Callable[..., Any]:
    def median(
        a: Any, axis: Any = None, out: Any = None, overwrite_input: bool = False, keepdims: Any = False
    ) -> Any:
        refuse(f"np.{name}", out=out)
        axis = tuple(axis) if isinstance(axis, list) else axis
        return OPS[name](a, axis=axis, keepdims=keepdims is not np._NoValue and keepdims)

    return median


for _prefix in ("", "nan"):
    implements(getattr(np, f"{_prefix}median"))(_median_call(f"{_prefix}median"))
    for _name, _per in (("quantile", 1), ("percentile", 100)):
        implements(getattr(np, f"{_prefix}{_name}"))(
            _quantile_call(f"np.{_prefix}{_name}", f"{_prefix}quantile", _per)
        )

# Averages


def _not_zero(total: Any) -> None:
    if not np.all(total):
        raise ZeroDivisionError("np.average: the weights sum to zero, by which nothing can be divided")


@implements(np.average)
def _average(
    a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = np._NoValue
) -> Any:
    a = _with_dtype(a)
    keepdims = keepdims is not np._NoValue and keepdims
    if weights is None:
        average = np.mean(a, axis=axis, keepdims=keepdims)
        total: Any = a.size / average.size if average.size else 0.0
    else:
        weights = _fitting_weights(_with_dtype(weights), a, axis)
        exact = (float,) if a.dtype.kind in "iub" else ()
        dtype = np.result_type(a.dtype, weights.dtype, *exact)
        total = np.sum(weights, axis=axis, dtype=dtype, keepdims=keepdims)
        verified(_not_zero, _data(total))
        products = in_dtype(a, dtype) * in_dtype(weights, dtype)
        average = np.sum(products, axis=axis, keepdims=keepdims) / total
    if not returned:
        return average
    if not isinstance(total, Tensor):
        total = Tensor(np.full_like(average.data, total) if np.ndim(total) == 0 else total)
    return average, np.broadcast_to(total, average.shape)


def _data(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def _fitting_weights(weights: Any, a: Any, axis: Any) -> Any:
    """Weights of the shape of ``a``, or of the axes averaged over, as an array that broadcasts to ``a``."""
    if weights.shape == a.shape:
        return weights
    if axis is None:
        raise TypeError(f"np.average: weights of shape {weights.shape} for an array of shape {a.shape} need axis=")
    axes = tuple(n % a.ndim for n in (axis if isinstance(axis, tuple) else (axis,)))
    expected = tuple(a.shape[n] for n in axes)
    if weights.shape != expected:
        raise ValueError(
            f"np.average: takes weights of the shape of the array, {a.shape}, or of its axes {axes}, {expected}; "
            f"got {weights.shape}"
        )
    weights = np.transpose(weights, tuple(int(n) for n in np.argsort(axes)))
    return np.reshape(weights, tuple(length if n in axes else 1 for n, length in enumerate(a.shape)))


# Covariances


@implements(np.cov)
def _cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    if ddof is not None and ddof != int(ddof):
        raise ValueError(f"np.cov: takes an integer ddof, got {ddof}")
    parts = [_observations("m", m, rowvar)]
    if y is not None:
        parts.append(_observations("y", y, rowvar))
    if dtype is None:
        dtype = np.result_type(*(part.dtype for part in parts), float)
    parts = [in_dtype(part, dtype) for part in parts]
    x = np.concatenate(parts, axis=0) if len(parts) > 1 else parts[0]
    if y is None and x.shape[0] == 0:
        raise ValueError("np.cov: takes at least one variable")
    weights = _checked_weights("fweights", fweights, x)
    if weights is not None:
        verified(_whole, _data(weights))
    importance = _checked_weights("aweights", aweights, x)
    if importance is not None:
        weights = importance if weights is None else weights * importance
    ddof = (0 if bias else 1) if ddof is None else int(ddof)
    if weights is None:
        mean: Any = np.mean(x, axis=1, keepdims=True)
        freedom: Any = max(x.shape[1] - ddof, 0)
    else:
        total = weights.sum()
        verified(_not_zero, _data(total))
        mean = np.sum(x * in_dtype(weights, dtype), axis=1, keepdims=True) / in_dtype(total, dtype)
        used = total if importance is None else (weights * importance).sum() / total
        freedom = np.maximum(total - ddof * used if importance is not None else total - ddof, 0)
    centred = x - mean
    weighted = centred if weights is None else centred * in_dtype(weights, dtype)
    products = centred @ np.transpose(weighted)
    if isinstance(freedom, int):
        return np.squeeze(products * (1 / freedom if freedom else np.inf))
    return np.squeeze(products * in_dtype(1 / freedom, dtype))


def _observations(name: str, x: Any, rowvar: bool) -> Any:
    """The variables in rows, the observations in columns."""
    x = _with_dtype(x)
    if x.ndim > 2:
        raise ValueError(f"np.cov: takes {name} of at most 2 axes, got {x.ndim}")
    if x.ndim < 2:
        return np.reshape(x, (1, -1))
    return x if rowvar else np.transpose(x)


def _checked_weights(name: str, weights: Any, x: Any) -> Any:
    if weights is None:
        return None
    weights = _with_dtype(weights)
    if weights.ndim != 1 or weights.shape[0] != x.shape[1]:
        kind = RuntimeError
        raise kind(f"np.cov: takes {name} of shape ({x.shape[1]},), one for each observation, got {weights.shape}")

    def check(values: Any) -> None:
        if (values < 0).any():
            raise ValueError(f"np.cov: takes {name} that are not negative")

    verified(check, _data(weights))
    return weights if weights.dtype.kind == "f" else weights.astype(float)


def _whole(values: Any) -> None:
    if (values != np.rint(values)).any():
        raise TypeError("np.cov: takes whole numbers as fweights, as they are counts")


@implements(np.corrcoef)
def _corrcoef(
    x: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: Any = np._NoValue,
    ddof: Any = np._NoValue,
    *,
    dtype: Any = None,
) -> Any:
    refuse("np.corrcoef", bias=bias, ddof=ddof)
    covariance = np.cov(x, y, rowvar, dtype=dtype)
    if covariance.ndim == 0:
        return covariance / covariance
    diagonal = np.arange(covariance.shape[0])
    deviation = np.sqrt(covariance[diagonal, diagonal])
    return np.clip(covariance / deviation[:, None] / deviation[None, :], -1, 1)
