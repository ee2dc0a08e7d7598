"""Order statistics (median, quantiles) and weighted averages, covariances and correlations.

A quantile lies between two neighbours in sorted order, at a real-valued rank that depends on the method. The rules take
that rank from NumPy itself: the quantile of the ranks 0, 1, ... n - 1 is the rank of the quantile.
"""

from __future__ import annotations

from math import prod
from typing import Any, Callable

import numpy as np

from .. import samples
from ..core import OPS, AnyArray, Axis, DType, Tensor, asarray_like, declare, implements, refuse
from ..core.context import runtime_check
from .conversion import as_operand, in_dtype, without_history
from .reductions import as_rows, axes_of, equal_shares, from_rows

# Order statistics: the elements of given ranks along the last axis


def _order_statistics(x: AnyArray, ranks: Any) -> AnyArray:
    return np.take_along_axis(np.sort(x, axis=-1), ranks, axis=-1)


def _to_those_of_rank(g: AnyArray, values: AnyArray, x: AnyArray) -> AnyArray:
    """The gradient for ``values`` goes to the elements that have them, in equal parts."""
    if g.shape[-1] == 0:
        return np.broadcast_to(g.sum(axis=-1, keepdims=True), x.shape)
    columns = [(..., slice(k, k + 1)) for k in range(g.shape[-1])]
    parts = [g[column] * equal_shares(x == values[column], 0, -1, g.dtype) for column in columns]
    return sum(parts[1:], parts[0])


def _order_statistics_sample(draw: samples.Draw) -> samples.Operands:
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


def _ranks(quantile: Callable[..., AnyArray], x: AnyArray, q: AnyArray | float, axis: Axis, method: str) -> Any:
    """The real-valued ranks of the quantiles, beside the rows of ``x``, and the highest rank that there is."""
    rows = as_rows(x, axis)
    places = asarray_like(np.arange(float(rows.shape[-1])), rows)
    if not _skips_nan(quantile):
        ranks = quantile(places, q, method=method)
        return ranks.reshape((1,) * (rows.ndim - 1) + (prod(ranks.shape),)), rows.shape[-1] - 1
    last = np.maximum((rows == rows).sum(axis=-1, keepdims=True) - 1, 0)
    ranks = quantile(np.where(places <= last, places, np.nan), q, axis=-1, method=method)
    return _quantiles_last(ranks, rows), last


def _skips_nan(quantile: Callable[..., AnyArray]) -> bool:
    return quantile.__name__.startswith("nan")


def _quantiles_last(values: AnyArray, rows: AnyArray) -> AnyArray:
    """``values``, for each quantile and each row, with the quantiles last."""
    kept = rows.shape[:-1]
    count = values.size // max(prod(kept), 1)
    return values.reshape((count, *kept)).transpose((*range(1, rows.ndim), 0))


def _quantile_rule(
    quantile: Callable[..., AnyArray],
    g: AnyArray,
    x: AnyArray,
    q: AnyArray | float,
    axis: Axis,
    method: str,
    keepdims: bool,
) -> AnyArray:
    """(1 - w) to the neighbour below and w to the one above, where w is the fraction in the rank."""
    if x.size == 0:
        return x * 0
    rows = as_rows(x, axis)
    ranks, last = _ranks(quantile, x, q, axis, method)
    below = np.floor(ranks)
    weight = in_dtype(ranks - below, g.dtype)
    g = _quantiles_last(g, rows)
    gradient: Any = None
    for part, rank in ((g * (1 - weight), below), (g * weight, np.minimum(below + 1, last))):
        values = OPS["order_statistics"](rows, rank.astype(np.intp))
        share = _to_those_of_rank(part, values, rows)
        gradient = share if gradient is None else gradient + share
    return in_dtype(from_rows(gradient, x, axis), x.dtype)


def _level_rule(
    quantile: Callable[..., AnyArray],
    whole: float,
    g: AnyArray,
    x: AnyArray,
    q: AnyArray,
    axis: Axis,
    method: str,
    keepdims: bool,
) -> AnyArray:
    """The slope between the neighbours; at an element itself the mean of the slopes on both sides."""
    if x.size == 0 or method not in _SLOPES:
        return q * 0
    rows = in_dtype(as_rows(x, axis), g.dtype)
    ranks, last = _ranks(quantile, x, q, axis, method)
    above, below = np.minimum(np.floor(ranks) + 1, last), np.maximum(np.ceil(ranks) - 1, 0)
    rise = OPS["order_statistics"](rows, above.astype(np.intp)) - OPS["order_statistics"](rows, below.astype(np.intp))
    growth = (last + 1 + _SLOPES[method]) / np.maximum(above - below, 1) / whole
    if method != "linear":  # where the rank is cut off at an end it does not grow
        growth = np.where((ranks > 0) & (ranks < last), growth, 0)
    g = _quantiles_last(g, rows) * rise * growth.astype(g.dtype)
    return in_dtype(g.sum(axis=tuple(range(rows.ndim - 1))).reshape(q.shape), q.dtype)


def _quantile_sample(with_nan: bool, whole: float = 1) -> samples.Sample:
    def sample(draw: samples.Draw) -> samples.Operands:
        x: AnyArray = samples.distinct(draw, samples.shape(draw, min_length=1))
        axis = samples.axis(draw, x.ndim)
        method = samples.choice(draw, [*_SLOPES, "inverted_cdf", "averaged_inverted_cdf", "lower", "midpoint"])
        length = prod(x.shape[a] for a in axes_of(axis, x.ndim))
        if with_nan and length > 1:
            x, length = _one_nan_in_each_row(x, axis), length - 1
        clear = _levels_between_elements(length, method)
        shape = samples.choice(draw, [(), (2,), (1, 2), (0,)])
        q = np.array([whole * samples.choice(draw, clear) for _ in range(prod(shape))], float).reshape(shape)
        return (x, q), {"axis": axis, "method": method, "keepdims": bool(draw.integer(0, 1))}

    return sample


def _one_nan_in_each_row(x: AnyArray, axis: Axis) -> AnyArray:
    missing = np.zeros(x.shape, bool)
    missing[tuple(-1 if a in axes_of(axis, x.ndim) else slice(None) for a in range(x.ndim))] = True
    return np.where(missing, np.nan, x)


def _levels_between_elements(length: int, method: Any) -> list[float]:
    """Levels around which the quantile is smooth."""
    levels = np.linspace(0.03, 0.97, 48)
    low, high = (np.quantile(np.arange(float(length)), levels + step, method=method) for step in (-0.01, 0.01))
    between = (np.floor(low) == np.floor(high)) & ((low == high) | ((low > 0) & (high < length - 1) & (low % 1 > 0)))
    return [float(level) for level in levels[between]]


def _declare_quantile(name: str, whole: float) -> None:
    """The quantiles at the levels q / whole."""
    quantile = getattr(np, name)

    def forward(x: AnyArray, q: AnyArray, *, axis: Axis = None, method: str = "linear", keepdims: bool = False) -> Any:
        return quantile(x, q, axis=axis, method=method, keepdims=keepdims)

    op = declare(
        name,
        forward,
        lambda g, out, x, q, **settings: _quantile_rule(quantile, g, x, q, **settings),
        lambda g, out, x, q, **settings: _level_rule(quantile, whole, g, x, q, **settings),
        sample=_quantile_sample(_skips_nan(quantile), whole),
        numpy=quantile,
        expects=f"an array that is not empty, levels from 0 to {whole} and a method that np.{name} has",
    )

    @implements(quantile)
    def call(
        a: AnyArray,
        q: AnyArray,
        axis: Axis = None,
        out: object = None,
        overwrite_input: bool = False,
        method: str = "linear",
        keepdims: object = False,
        *,
        weights: object = None,
        interpolation: object = None,
    ) -> AnyArray:
        refuse(f"np.{name}", out=out, weights=weights, interpolation=interpolation)
        axis = tuple(axis) if isinstance(axis, list) else axis
        return op(a, q, axis=axis, method=method, keepdims=keepdims is not np._NoValue and keepdims)


def _declare_median(name: str, quantile: Callable[..., AnyArray]) -> None:
    median = getattr(np, name)

    def forward(x: AnyArray, *, axis: Axis = None, keepdims: bool = False) -> Any:
        return median(x, axis=axis, keepdims=keepdims)

    def rule(g: AnyArray, out: AnyArray, x: AnyArray, axis: Axis, keepdims: bool) -> AnyArray:
        return _quantile_rule(quantile, g, x, 0.5, axis, "linear", keepdims)

    def sample(draw: samples.Draw) -> samples.Operands:
        (x, _), settings = _quantile_sample(_skips_nan(quantile))(draw)
        return (x,), {"axis": settings["axis"], "keepdims": settings["keepdims"]}

    op = declare(name, forward, rule, sample=sample, numpy=median, expects="an array and axes that it has")

    @implements(median)
    def call(
        a: AnyArray, axis: Axis = None, out: object = None, overwrite_input: bool = False, keepdims: object = False
    ) -> AnyArray:
        refuse(f"np.{name}", out=out)
        axis = tuple(axis) if isinstance(axis, list) else axis
        return op(a, axis=axis, keepdims=keepdims is not np._NoValue and keepdims)


for _prefix in ("", "nan"):
    _declare_quantile(f"{_prefix}quantile", 1)
    _declare_quantile(f"{_prefix}percentile", 100)
    _declare_median(f"{_prefix}median", getattr(np, f"{_prefix}quantile"))

# Averages


def _not_zero(total: AnyArray) -> None:
    if not np.all(total):
        raise ZeroDivisionError("np.average: the weights sum to zero, so that there is no average")


@implements(np.average, on_complex=True)
def _average(
    a: AnyArray, axis: Axis = None, weights: Any = None, returned: bool = False, *, keepdims: Any = np._NoValue
) -> Any:
    a, axis = as_operand(a), tuple(axis) if isinstance(axis, list) else axis
    keepdims = keepdims is not np._NoValue and keepdims
    if weights is None:
        average = np.mean(a, axis=axis, keepdims=keepdims)
        total: Any = a.size / average.size if average.size else 0.0
    else:
        weights = _fitting_weights(as_operand(weights), a, axis)
        exact = (float,) if a.dtype.kind in "iub" else ()
        dtype = np.result_type(a.dtype, weights.dtype, *exact)
        total = np.sum(weights, axis=axis, dtype=dtype, keepdims=keepdims)
        runtime_check(_not_zero, without_history(total))
        products = in_dtype(a, dtype) * in_dtype(weights, dtype)
        average = np.sum(products, axis=axis, keepdims=keepdims) / total
    if not returned:
        return average
    if not isinstance(total, Tensor):
        total = Tensor(np.full_like(average.data, total) if np.ndim(total) == 0 else total)
    return average, np.copy(np.broadcast_to(total, average.shape))


def _fitting_weights(weights: AnyArray, a: AnyArray, axis: Axis) -> AnyArray:
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
    m: AnyArray,
    y: AnyArray | None = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: DType = None,
) -> Any:
    if ddof is not None and ddof != int(ddof):
        raise ValueError(f"np.cov: takes an integer ddof, got {ddof}")
    parts = [_variables("m", m, columns=not rowvar, one_row_too=_ONE_ROW_IS_TRANSPOSED)]
    if y is not None:
        parts.append(_variables("y", y, columns=not rowvar))
    if dtype is None:
        dtype = np.result_type(*(part.dtype for part in parts), float)
    x = np.concatenate([in_dtype(part, dtype) for part in parts], axis=0)
    ddof = (0 if bias else 1) if ddof is None else int(ddof)
    counts, importance = _weights("fweights", fweights, x), _weights("aweights", aweights, x)
    if counts is not None:
        runtime_check(_whole, without_history(counts))
    if counts is None and importance is None:
        weights: Any = None
        mean = np.mean(x, axis=1, keepdims=True)
        freedom = max(x.shape[1] - ddof, 0)
        scale = 1 / freedom if freedom else np.inf
    else:
        weights = importance if counts is None else counts if importance is None else counts * importance
        total = weights.sum()
        runtime_check(_not_zero, without_history(total))
        mean = np.sum(x * weights, axis=1, keepdims=True) / total
        used = 1 if importance is None else (weights * importance).sum() / total
        scale = 1 / np.maximum(total - ddof * used, 0)
    centred = in_dtype(x - mean, x.dtype)
    return np.squeeze(centred @ np.transpose(centred if weights is None else centred * weights) * scale)


_ONE_ROW_IS_TRANSPOSED = np.cov(np.eye(1, 2), rowvar=False, bias=True).ndim == 2
"""Whether ``rowvar=False`` applies to an array of one row; it depends on NumPy's version, and never does to ``y``."""


def _variables(name: str, x: AnyArray, columns: bool, one_row_too: bool = False) -> AnyArray:
    """The variables in rows, the observations in columns."""
    x = as_operand(x)
    if x.ndim > 2:
        raise ValueError(f"np.cov: takes {name} of at most 2 axes, got {x.ndim}")
    if x.ndim < 2:
        return np.reshape(x, (1, -1))
    return np.transpose(x) if columns and (one_row_too or x.shape[0] != 1) else x


def _weights(name: str, weights: AnyArray, x: AnyArray) -> AnyArray:
    if weights is None:
        return None
    weights = as_operand(weights)
    if weights.ndim != 1 or weights.shape[0] != x.shape[1]:
        raise RuntimeError(
            f"np.cov: takes {name} of shape ({x.shape[1]},), one for each observation, got {weights.shape}"
        )

    def check(values: AnyArray) -> None:
        if (values < 0).any():
            raise ValueError(f"np.cov: takes {name} that are not negative")

    runtime_check(check, without_history(weights))
    return in_dtype(weights, np.dtype(float))


def _whole(values: AnyArray) -> None:
    if (values != np.rint(values)).any():
        raise TypeError("np.cov: takes whole numbers as fweights, as they are counts")


@implements(np.corrcoef)
def _corrcoef(
    x: AnyArray,
    y: AnyArray | None = None,
    rowvar: bool = True,
    bias: object = np._NoValue,
    ddof: object = np._NoValue,
    *,
    dtype: DType = None,
) -> AnyArray:
    refuse("np.corrcoef", bias=bias, ddof=ddof)
    covariance = np.cov(x, y, rowvar, dtype=dtype)
    if covariance.ndim == 0:
        return covariance / covariance
    diagonal = np.arange(covariance.shape[0])
    deviation = np.sqrt(covariance[diagonal, diagonal])
    return np.clip(covariance / deviation[:, None] / deviation[None, :], -1, 1)
