"""Reductions over any axes: sums, products, means, extremes.

Each comes as three ops with one gradient rule. ``sum`` takes the axes alone and is quick; ``masked_sum`` takes also
what NumPy calls ``where=``, ``initial=`` and ``dtype=``; ``nansum`` is the latter with NaN masked out.
"""

from __future__ import annotations

import inspect
from math import prod
from typing import Any, Callable, overload

import numpy as np

from .. import samples
from ..core import OPS, AnyArray, Array, Axis, DType, Op, Tensor, asarray_like, declare, implements, refuse
from .conversion import as_gradient, as_operand, imaginary_part, in_dtype, in_single, real_part
from .kinks import quotient, slope_at_kink
from .scans import products_of_others

_NOT_GIVEN = np._NoValue

# Axes


def axes_of(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes that ``axis`` means, in order: None all, an int, or several."""
    if axis is None or ndim == 0:
        return tuple(range(ndim))
    return tuple(sorted(a % ndim for a in (axis if isinstance(axis, (tuple, list)) else (axis,))))


def restored(reduced: AnyArray, x: AnyArray, axis: Axis, keepdims: bool) -> AnyArray:
    """A reduction's result (or its gradient) with the reduced axes put back as axes of length 1."""
    if keepdims or x.ndim == 0:
        return reduced
    if axis is None:
        return reduced.reshape((1,) * x.ndim)
    axes = {a % x.ndim for a in (axis if isinstance(axis, tuple) else (axis,))}
    return reduced.reshape(tuple(1 if a in axes else length for a, length in enumerate(x.shape)))


def as_rows(x: AnyArray, axis: Axis) -> AnyArray:
    """``x`` with the axes to reduce made into one, the last."""
    axes = axes_of(axis, x.ndim)
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    shape = tuple(x.shape[a] for a in kept)
    return x.transpose((*kept, *axes)).reshape((*shape, prod(x.shape[a] for a in axes)))


def from_rows(rows: AnyArray, x: AnyArray, axis: Axis) -> AnyArray:
    """The reverse of :func:`as_rows`, into the shape of ``x``."""
    axes = axes_of(axis, x.ndim)
    order = (*(a for a in range(x.ndim) if a not in axes), *axes)
    places = tuple(order.index(a) for a in range(x.ndim))
    return rows.reshape(tuple(x.shape[a] for a in order)).transpose(places)


def expanded(g: AnyArray, shape: tuple[int, ...]) -> AnyArray:
    """``np.broadcast_to``; for a gradient of one number, as of a loss, without the 3 us that this takes."""
    if type(g) is np.ndarray and g.size == 1:
        spread: Array = np.ndarray(shape, g.dtype, g, 0, (0,) * len(shape))
        return spread
    return np.broadcast_to(g, shape)


FEW = 32
"""Up to so many columns :func:`largest` takes the other way."""


def largest(x: AnyArray, axis: Axis) -> Any:
    """``x.max(axis, keepdims=True)``.

    NumPy goes through short rows one by one: of 128 rows of ten numbers this takes 6.8 us, along the columns of a
    transposed copy 2.1; of 1,024 rows 47 and 5.1.
    """
    if type(x) is np.ndarray and x.ndim == 2 and axis in (1, -1) and x.shape[1] <= FEW < len(x):
        columns: Array = x.T.copy()
        return columns.max(axis=0).reshape(-1, 1)
    return x.max(axis=axis, keepdims=True)


# Masks: True for no mask at all, else an array that broadcasts to x


def _selected(where: AnyArray | bool, values: AnyArray) -> AnyArray:
    return values if where is True else np.where(where, values, 0)


def _count(out: AnyArray, x: AnyArray, where: AnyArray | bool, axis: Axis) -> Any:
    """How many elements of ``x`` went into each of ``out``; with a mask an array, its reduced axes of length 1."""
    if where is True:
        return x.size // max(out.size, 1)
    return np.broadcast_to(where, x.shape).sum(axis=axis, keepdims=True)


def _reciprocal(count: AnyArray | float, dtype: DType, of_none: float) -> AnyArray | float:
    """1 / count, or ``of_none`` where that is not positive; in ``dtype``, as counts would turn float32 into float64."""
    if isinstance(count, (int, float)):
        return 1 / count if count > 0 else of_none
    return np.where(count > 0, 1 / np.where(count > 0, count, 1), of_none).astype(dtype)


def _is_given(initial: object) -> bool:
    return initial is not None and initial is not _NOT_GIVEN


# Rules: each serves a reduction of all elements, a masked one, and one without the NaNs


def _sum_rule(
    g: AnyArray,
    out: AnyArray,
    x: AnyArray,
    where: AnyArray | bool = True,
    *,
    axis: Axis,
    keepdims: bool,
    dtype: DType = None,
    initial: object = None,
) -> AnyArray:
    return as_gradient(expanded(_selected(where, restored(g, x, axis, keepdims)), x.shape), x)


def _prod_rule(
    g: AnyArray,
    out: AnyArray,
    x: AnyArray,
    where: AnyArray | bool = True,
    *,
    axis: Axis,
    keepdims: bool,
    dtype: DType = None,
    initial: object = None,
) -> AnyArray:
    """The product of the others, without a division, so that zeros are exact."""
    factors = in_dtype(x if where is True else np.where(where, x, 1), g.dtype)
    others = from_rows(products_of_others(as_rows(factors, axis)), x, axis)
    if _is_given(initial):
        others = others * initial
    return in_dtype(_selected(where, restored(g, x, axis, keepdims) * others), x.dtype)


def _mean_rule(
    g: AnyArray,
    out: AnyArray,
    x: AnyArray,
    where: AnyArray | bool = True,
    *,
    axis: Axis,
    keepdims: bool,
    dtype: DType = None,
) -> AnyArray:
    share = restored(g, x, axis, keepdims) * _reciprocal(_count(out, x, where, axis), g.dtype, of_none=0)
    return in_dtype(expanded(_selected(where, share), x.shape), x.dtype)


@in_single
def _var_rule(
    g: AnyArray,
    out: AnyArray,
    x: AnyArray,
    where: AnyArray | bool = True,
    *,
    axis: Axis,
    keepdims: bool,
    ddof: float,
    dtype: DType = None,
) -> AnyArray:
    """2 (x - mean) / (n - ddof)."""
    count = _count(out, x, where, axis)
    values = in_dtype(x, np.result_type(x.dtype, g.dtype))
    if where is True:
        mean = values.mean(axis=axis, keepdims=True)
        factor = 2 * _reciprocal(count - ddof, g.dtype, of_none=np.inf)
    else:
        values = np.where(where, values, 0)  # what is left out may be NaN
        mean = values.sum(axis=axis, keepdims=True) * _reciprocal(count, g.dtype, of_none=0)
        factor = 2 * _reciprocal(count - ddof, g.dtype, of_none=np.nan)
    return in_dtype(_selected(where, restored(g, x, axis, keepdims) * ((values - mean) * factor)), x.dtype)


def _are_equal(x: AnyArray, where: AnyArray | bool, axis: Axis) -> AnyArray:
    """Whether the elements along an axis are all the same."""
    if x.dtype.kind == "c":
        return _are_equal(real_part(x), where, axis) & _are_equal(imaginary_part(x), where, axis)
    lowest, highest = (x, x) if where is True else (np.where(where, x, np.inf), np.where(where, x, -np.inf))
    return lowest.min(axis=axis, keepdims=True) >= highest.max(axis=axis, keepdims=True)


def _std_rule(
    g: AnyArray, out: AnyArray, x: AnyArray, where: AnyArray | bool = True, *, axis: Axis, **settings: Any
) -> AnyArray:
    """(x - mean) / ((n - ddof) std); 0 for a constant, also where rounding has left it a deviation."""
    if x.size == 0:
        return _sum_rule(g, out, x, axis=axis, keepdims=settings["keepdims"])
    if (multiple := quotient(g, out)) is not None:
        return _var_rule(multiple * 0.5, out, x, where, axis=axis, **settings)
    constant = (out == 0) | _are_equal(x, where, axis).reshape(out.shape)
    part = g * np.where(constant, 0, 0.5 / np.where(constant, 1, out))
    if (slope := slope_at_kink(g, out, constant)) is not None:
        part = np.where(constant, 0.5 * slope, part)
    return _var_rule(part, out, x, where, axis=axis, **settings)


def equal_shares(chosen: AnyArray, others: AnyArray | int, axis: Axis, dtype: DType) -> AnyArray:
    """1 / k for each of the k elements chosen along ``axis``; ``others`` more hold shares too."""
    return (chosen / np.maximum(chosen.sum(axis=axis, keepdims=True) + others, 1)).astype(dtype)


def _extreme_rule(
    g: AnyArray,
    out: AnyArray,
    x: AnyArray,
    where: AnyArray | bool = True,
    *,
    axis: Axis,
    keepdims: bool,
    initial: object = _NOT_GIVEN,
) -> AnyArray:
    """The gradient goes to the extreme element, in equal parts to all that share the extreme."""
    extreme = restored(out, x, axis, keepdims)
    chosen = x == extreme
    if where is True and not _is_given(initial):
        shares = (chosen / chosen.sum(axis=axis, keepdims=True)).astype(x.dtype)
    else:
        shares = equal_shares(chosen & where, extreme == initial if _is_given(initial) else 0, axis, x.dtype)
    return restored(g, x, axis, keepdims) * shares


def _without_nan(rule: Callable[..., AnyArray]) -> Callable[..., AnyArray]:
    """The rule with NaN masked out, and out of the way of multiplications by 0."""

    def masked(g: AnyArray, out: AnyArray, x: AnyArray, where: AnyArray | bool, **settings: object) -> AnyArray:
        missing = np.isnan(x)
        return rule(g, out, np.where(missing, 0, x), ~missing & where, **settings)

    return masked


# The ops


def _of_axes(name: str) -> Callable[..., AnyArray]:
    """The reduction as the array's own method, which costs less than half of NumPy's function on small arrays."""

    def reduce(x: AnyArray, *, axis: Axis = None, keepdims: bool = False) -> AnyArray:
        reduced: AnyArray = getattr(x, name)(axis=axis, keepdims=keepdims)
        return reduced

    return reduce


def _of_axes_and_freedom(name: str) -> Callable[..., AnyArray]:
    def reduce(x: AnyArray, *, axis: Axis = None, ddof: float = 0, keepdims: bool = False) -> AnyArray:
        reduced: AnyArray = getattr(x, name)(axis=axis, ddof=ddof, keepdims=keepdims)
        return reduced

    return reduce


def _as_total(function: Callable[..., AnyArray]) -> Callable[..., AnyArray]:
    def reduce(
        x: AnyArray,
        where: AnyArray | bool,
        *,
        axis: Axis = None,
        dtype: DType = None,
        initial: object = _NOT_GIVEN,
        keepdims: bool = False,
    ) -> AnyArray:
        return function(x, axis=axis, dtype=dtype, initial=initial, keepdims=keepdims, where=where)

    return reduce


def _as_mean(function: Callable[..., AnyArray]) -> Callable[..., AnyArray]:
    def reduce(
        x: AnyArray, where: AnyArray | bool, *, axis: Axis = None, dtype: DType = None, keepdims: bool = False
    ) -> AnyArray:
        return function(x, axis=axis, dtype=dtype, keepdims=keepdims, where=where)

    return reduce


def _as_variance(function: Callable[..., AnyArray]) -> Callable[..., AnyArray]:
    def reduce(
        x: AnyArray,
        where: AnyArray | bool,
        *,
        axis: Axis = None,
        dtype: DType = None,
        ddof: float = 0,
        keepdims: bool = False,
    ) -> AnyArray:
        return function(x, axis=axis, dtype=dtype, ddof=ddof, keepdims=keepdims, where=where)

    return reduce


def _as_extreme(function: Callable[..., AnyArray]) -> Callable[..., AnyArray]:
    def reduce(
        x: AnyArray, where: AnyArray | bool, *, axis: Axis = None, initial: object = _NOT_GIVEN, keepdims: bool = False
    ) -> AnyArray:
        return function(x, axis=axis, initial=initial, keepdims=keepdims, where=where)

    return reduce


def _as_truth(function: Callable[..., AnyArray]) -> Callable[..., AnyArray]:
    def reduce(x: AnyArray, where: AnyArray | bool, *, axis: Axis = None, keepdims: bool = False) -> AnyArray:
        return function(x, axis=axis, keepdims=keepdims, where=where)

    return reduce


def _freedom_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.distinct(draw, samples.shape(draw, min_length=2))
    along = samples.axis(draw, x.ndim)
    ddof = 0 if along == () or x.ndim == 0 else samples.choice(draw, [0, 1, 0.5])
    return (x,), {"axis": along, "ddof": ddof, "keepdims": bool(draw.integer(0, 1))}


def _masked_sample(*options: str, with_nan: bool = False) -> samples.Sample:
    """Sample of a masked reduction with some of the settings; at least one element is left everywhere."""

    def sample(draw: samples.Draw) -> samples.Operands:
        x = samples.distinct(draw, samples.shape(draw, min_length=1))
        axis = samples.axis(draw, x.ndim)
        kept = tuple(0 if a in axes_of(axis, x.ndim) else slice(None) for a in range(x.ndim))
        settings: dict[str, Any] = {"axis": axis, "keepdims": bool(draw.integer(0, 1))}
        if with_nan:
            missing = np.asarray(samples.reals(draw, x.shape) > 1)
            missing[kept] = False
            x = np.asarray(np.where(missing, np.nan, x))
        if "initial" in options:
            settings["initial"] = samples.choice(draw, [0.25, -9.5, 9.5])
        if "dtype" in options:
            settings["dtype"] = samples.choice(draw, [None, np.dtype(np.float64)])
        if "ddof" in options:
            settings["ddof"] = samples.choice(draw, [0, 0.5])
        if draw.integer(0, 3) == 3:
            return (x, True), settings
        mask = samples.reals(draw, x.shape[draw.integer(0, x.ndim) :]) > 0
        first = np.zeros(x.shape, bool)
        first[kept] = True
        return (x, mask | first if draw.integer(0, 1) or "initial" not in options else mask), settings

    return sample


_ANY = "an array and axes that it has"
_NOT_EMPTY = "an array that is not empty along axes that it has"
_MASKED = "an array, a mask that broadcasts to it, and axes that it has"

for _name, _forward, _rule, _sample, _expects, _complex in (
    ("sum", _of_axes("sum"), _sum_rule, samples.reduction(), _ANY, "direct"),
    ("prod", _of_axes("prod"), _prod_rule, samples.reduction(), _ANY, "holomorphic"),
    ("mean", _of_axes("mean"), _mean_rule, samples.reduction(min_length=1), _ANY, "direct"),
    ("var", _of_axes_and_freedom("var"), _var_rule, _freedom_sample, _ANY, "direct"),
    ("std", _of_axes_and_freedom("std"), _std_rule, _freedom_sample, _ANY, "direct"),
    ("max", _of_axes("max"), _extreme_rule, samples.reduction(min_length=1, unique=True), _NOT_EMPTY, None),
    ("min", _of_axes("min"), _extreme_rule, samples.reduction(min_length=1, unique=True), _NOT_EMPTY, None),
    ("any", _of_axes("any"), None, samples.reduction(), _ANY, None),
    ("all", _of_axes("all"), None, samples.reduction(), _ANY, None),
    ("argmax", _of_axes("argmax"), None, samples.reduction(min_length=1, single_axis=True), _NOT_EMPTY, None),
    ("argmin", _of_axes("argmin"), None, samples.reduction(min_length=1, single_axis=True), _NOT_EMPTY, None),
):
    declare(_name, _forward, _rule, sample=_sample, numpy=getattr(np, _name), expects=_expects, complex_rules=_complex)

for _name, _kind, _rule, _options, _complex in (
    ("sum", _as_total, _sum_rule, ("dtype", "initial"), "direct"),
    ("prod", _as_total, _prod_rule, ("dtype", "initial"), "holomorphic"),
    ("mean", _as_mean, _mean_rule, ("dtype",), "direct"),
    ("var", _as_variance, _var_rule, ("dtype", "ddof"), None),
    ("std", _as_variance, _std_rule, ("dtype", "ddof"), None),
    ("max", _as_extreme, _extreme_rule, ("initial",), None),
    ("min", _as_extreme, _extreme_rule, ("initial",), None),
):
    declare(
        f"masked_{_name}",
        _kind(getattr(np, _name)),
        _rule,
        None,
        sample=_masked_sample(*_options),
        expects=_MASKED,
        complex_rules=_complex,
    )
    declare(
        f"nan{_name}",
        _kind(getattr(np, f"nan{_name}")),
        _without_nan(_rule),
        None,
        sample=_masked_sample(*_options, with_nan=True),
        expects=_MASKED,
    )

for _name in ("any", "all"):
    declare(f"masked_{_name}", _as_truth(getattr(np, _name)), None, None, sample=_masked_sample(), expects=_MASKED)


# NumPy's parameters


def _adapted(function: Callable[..., AnyArray], quick: Op | None, masked: Op) -> Callable[..., AnyArray]:
    """NumPy's parameters for the op that they ask for."""
    name = f"np.{function.__name__}"
    names = list(inspect.signature(function).parameters)

    def call(*args: Any, **kwargs: Any) -> Any:
        given = dict(zip(names, args), **kwargs)
        given = {key: value for key, value in given.items() if value is not _NOT_GIVEN}
        x = given.pop("a")
        refuse(name, out=given.pop("out", None))
        if quick is not None and given.keys() <= quick.settings.keys():
            return quick(x, **given)
        if isinstance(given.get("initial"), Tensor):
            refuse(name, initial=given["initial"])
        if "correction" in given:
            if given.get("ddof"):
                raise ValueError(f"{name}: ddof= and correction= are one setting; pass one of them")
            given["ddof"] = given.pop("correction")
        where = given.pop("where", True)
        if given.get("mean") is not None:
            variance = _variance_about(x, where, skips_nan=quick is None, **given)
            return variance if name.endswith("var") else _root(variance)
        given.pop("mean", None)
        return masked(x, where, **given)

    return call


def _variance_about(
    x: AnyArray,
    where: AnyArray | bool,
    mean: AnyArray,
    axis: Axis = None,
    dtype: DType = None,
    ddof: float = 0,
    keepdims: bool = False,
    *,
    skips_nan: bool,
) -> Any:
    """The variance about a mean that is given and may depend on ``x``."""
    deviation = x - mean
    if skips_nan:
        where = np.logical_and(where, ~np.isnan(x))
    if where is not True:
        where = where.data if isinstance(where, Tensor) else asarray_like(np.asarray(where), x)
        deviation = np.where(where, deviation, 0)  # a NaN left out must not meet a gradient of 0
    squares = np.square(deviation)
    if x.dtype.kind == "c":
        squares = np.square(np.real(deviation)) + np.square(np.imag(deviation))
    total = OPS["masked_sum"](squares, where, axis=axis, dtype=dtype, keepdims=keepdims)
    freedom = _count(total, x, where, axis) - ddof
    if where is True:
        return total / max(freedom, 0)
    freedom = np.where(freedom > 0, freedom, np.nan if skips_nan else 0)
    return (total / freedom.reshape(total.shape)).astype(total.dtype)


def _root(variance: AnyArray) -> AnyArray:
    """The square root, with the derivative 0 at 0."""
    constant = variance == 0
    return np.where(constant, 0, np.sqrt(np.where(constant, 1, variance)))


for _name in ("sum", "prod", "mean", "var", "std", "max", "min", "amax", "amin"):
    _short = _name[-3:] if _name.startswith("am") else _name
    implements(getattr(np, _name), on_complex=OPS[_short].on_complex is not None)(
        _adapted(getattr(np, _name), OPS[_short], OPS[f"masked_{_short}"])
    )
for _name in ("sum", "prod", "mean", "var", "std", "max", "min"):
    implements(getattr(np, f"nan{_name}"))(_adapted(getattr(np, f"nan{_name}"), None, OPS[f"nan{_name}"]))
for _name in ("any", "all"):
    implements(getattr(np, _name), differentiable=False)(
        _adapted(getattr(np, _name), OPS[_name], OPS[f"masked_{_name}"])
    )


@implements(np.ptp)
def _ptp(a: AnyArray, axis: Axis = None, out: object = None, keepdims: object = False) -> AnyArray:
    refuse("np.ptp", out=out)
    keepdims = keepdims is not _NOT_GIVEN and keepdims
    return OPS["max"](a, axis=axis, keepdims=keepdims) - OPS["min"](a, axis=axis, keepdims=keepdims)


# Positions and counts


def _without_nan_sample(draw: samples.Draw) -> samples.Operands:
    (x, _), settings = _masked_sample(with_nan=True)(draw)
    if isinstance(settings["axis"], tuple):
        settings["axis"] = settings["axis"][0] if len(settings["axis"]) == 1 else None
    return (x,), settings


def _position_without_nan(function: Callable[..., AnyArray]) -> Callable[..., AnyArray]:
    def reduce(x: AnyArray, *, axis: Axis = None, keepdims: bool = False) -> AnyArray:
        return function(x, axis=axis, keepdims=keepdims)

    return reduce


for _name, _function in (("nanargmax", np.nanargmax), ("nanargmin", np.nanargmin)):
    declare(
        _name,
        _position_without_nan(_function),
        None,
        sample=_without_nan_sample,
        numpy=_function,
        expects="an array with an element other than NaN along an axis that it has",
    )

declare(
    "count_nonzero",
    lambda x, *, axis=None, keepdims=False: (x != 0).sum(axis=axis, keepdims=keepdims, dtype=np.intp),
    None,
    sample=samples.reduction(),
    numpy=np.count_nonzero,
    expects=_ANY,
)


# The trace


def _trace_rule(g: AnyArray, out: AnyArray, x: AnyArray, offset: int, axis1: int, axis2: int, dtype: DType) -> AnyArray:
    """The gradient on the diagonal, zero elsewhere."""
    rows, columns = axis1 % x.ndim, axis2 % x.ndim
    on_diagonal = asarray_like(np.eye(x.shape[rows], x.shape[columns], offset, dtype=bool), x)
    matrices = np.where(on_diagonal, g[..., None, None], 0)
    order = [*(a for a in range(x.ndim) if a not in (rows, columns)), rows, columns]
    return in_dtype(matrices.transpose(tuple(order.index(a) for a in range(x.ndim))), x.dtype)


def _trace_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw, min_ndim=2))
    first, second = samples.choice(draw, [(a, b) for a in range(x.ndim) for b in range(x.ndim) if a != b])
    axes = {"axis1": first, "axis2": second - x.ndim * draw.integer(0, 1)}
    return (x,), {"offset": draw.integer(-2, 2), **axes, "dtype": samples.choice(draw, [None, np.dtype(np.float64)])}


declare(
    "trace",
    lambda x, *, offset=0, axis1=0, axis2=1, dtype=None: x.trace(offset, axis1, axis2, dtype),
    _trace_rule,
    sample=_trace_sample,
    numpy=np.trace,
    expects="an array and two of its axes",
    complex_rules="direct",
)

# The logarithm of a sum of exponentials


@in_single
def _logsumexp(x: AnyArray, *, axis: Axis = None, keepdims: bool = False) -> AnyArray:
    """Shifted by the maximum, so that no exponential overflows; -inf where nothing is added up."""
    if x.size == 0:
        return x.sum(axis=axis, keepdims=keepdims) - np.inf
    highest = largest(x, axis)
    shift = np.where(np.isinf(highest), 0, highest)
    total = np.exp(x - shift).sum(axis=axis, keepdims=keepdims)
    nothing = total == 0
    return np.where(nothing, -np.inf, np.log(np.where(nothing, 1, total)) + shift.reshape(total.shape))


@in_single
def _logsumexp_rule(g: AnyArray, out: AnyArray, x: AnyArray, axis: Axis, keepdims: bool) -> AnyArray:
    """The softmax; 0 where all is -inf, and in equal parts to those that are +inf."""
    out = restored(out, x, axis, keepdims)
    infinite = np.isinf(out)
    powers = np.exp(np.where(infinite, -np.inf, x) - np.where(infinite, 0, out))
    powers = np.where(infinite, x == np.inf, powers)
    total = powers.sum(axis=axis, keepdims=True)  # 1 but for rounding, which is large where out is
    return restored(g, x, axis, keepdims) * (powers / np.where(total == 0, 1, total))


_logsumexp_op = declare("logsumexp", _logsumexp, _logsumexp_rule, sample=samples.reduction(min_length=1), expects=_ANY)


@overload
def logsumexp(x: Tensor, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
@overload
def logsumexp(x: Array, axis: Axis = None, keepdims: bool = False) -> Any: ...
def logsumexp(x: AnyArray, axis: Axis = None, keepdims: bool = False) -> AnyArray:
    """log(sum(exp(x))) over ``axis``, without overflow or underflow on the way.

    Parameters
    ----------
    x
        Tensor or array of any shape.
    axis
        The axes summed over: None for all, an int or a tuple.
    keepdims
        Leave them in place with length 1.

    Returns
    -------
    Tensor or array
        -inf where every element is -inf, or where there is none; the gradient is the softmax, there 0.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> x = tg.Tensor([[1000.0, 1000.0], [-np.inf, 0.0]], requires_grad=True)
    >>> y = tg.logsumexp(x, axis=1)
    >>> y.numpy()
    array([1000.69314718,    0.        ])
    >>> y.sum().backward()
    >>> x.grad
    array([[0.5, 0.5],
           [0. , 1. ]])
    """
    return _logsumexp_op(as_operand(x), axis=axis, keepdims=keepdims)
