"""Functions of sampled signals: differences, interpolation, integration, convolution."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from .. import samples
from ..core import OPS, AnyArray, Axis, Tensor, asarray_like, declare, implements, refuse
from .conversion import as_operand, conjugate


def _along(ndim: int, axis: int, part: slice | int) -> tuple[Any, ...]:
    """The index that selects ``part`` along ``axis``."""
    index: list[Any] = [slice(None)] * ndim
    index[axis] = part
    return tuple(index)


def _steps(x: AnyArray, axis: int) -> AnyArray:
    """Each element along an axis minus the one before it; of booleans, whether they differ."""
    later, earlier = x[_along(x.ndim, axis, slice(1, None))], x[_along(x.ndim, axis, slice(None, -1))]
    return later != earlier if x.dtype.kind == "b" else later - earlier


# Differences


@implements(np.diff, on_complex=True)
def _diff(
    a: AnyArray, n: int = 1, axis: int = -1, prepend: object = np._NoValue, append: object = np._NoValue
) -> AnyArray:
    if n == 0:
        return a
    if n < 0:
        raise ValueError(f"diff: n must not be negative, got {n}")
    a = as_operand(a)
    if a.ndim == 0:
        raise ValueError("diff: takes an array of at least one axis, got a 0-d one")
    axis = normalize_axis_index(axis, a.ndim)
    ends = []
    for end in (prepend, append):
        if end is not np._NoValue:
            end = asarray_like(end, a) if isinstance(end, np.ndarray) else as_operand(end)
            end = np.broadcast_to(end, (*a.shape[:axis], 1, *a.shape[axis + 1 :])) if end.ndim == 0 else end
        ends.append([] if end is np._NoValue else [end])
    x = np.concatenate([*ends[0], a, *ends[1]], axis=axis) if ends != [[], []] else a
    for _ in range(n):
        x = _steps(x, axis)
    return x


@implements(np.ediff1d, on_complex=True)
def _ediff1d(ary: AnyArray, to_end: object = None, to_begin: object = None) -> AnyArray:
    x = as_operand(ary).reshape(-1)
    parts = [x[1:] - x[:-1]]
    for name, end, place in (("to_begin", to_begin, 0), ("to_end", to_end, 2)):
        if end is not None:
            end = as_operand(end).reshape(-1)
            if not np.can_cast(end.dtype, x.dtype, "same_kind"):
                raise TypeError(f"ediff1d: {name} is {end.dtype}, which cannot be cast to the {x.dtype} of the array")
            parts.insert(place, end.astype(x.dtype))
    return np.concatenate(parts)


def _coordinate_gradient(f: Any, x: AnyArray, axis: int, edge_order: int) -> AnyArray:
    """Derivative along an axis by central differences of second order; ``x`` is the spacing or the coordinates.

    With steps h before and k after a point, f' = (h^2 f(x+k) + (k^2 - h^2) f(x) - k^2 f(x-h)) / (h k (h + k)), as for
    NumPy; at an edge the difference, or the derivative of the parabola through the three nearest points.
    """

    def at(part: slice | int) -> Any:
        return f[_along(f.ndim, axis, part)]

    inner = at(slice(2, None)), at(slice(1, -1)), at(slice(None, -2))
    first, second, third = (at(slice(k, k + 1)) for k in range(3))
    last, last_but_one, last_but_two = (at(slice(-k, -k + 1 or None)) for k in (1, 2, 3))
    if x.ndim == 0:
        middle = (inner[0] - inner[2]) / (2 * x)
        start, end = x, x
        after_start, before_end = x, x
    else:
        step = (x[1:] - x[:-1]).reshape([-1 if a == axis else 1 for a in range(f.ndim)])

        def step_at(part: slice | int) -> AnyArray:
            return step[_along(f.ndim, axis, part)]

        h, k = step_at(slice(None, -1)), step_at(slice(1, None))
        middle = inner[0] * (h / (k * (h + k))) + inner[1] * ((k - h) / (h * k)) - inner[2] * (k / (h * (h + k)))
        start, after_start = step_at(slice(0, 1)), step_at(slice(1, 2))
        end, before_end = step_at(slice(-1, None)), step_at(slice(-2, -1))
    edges = [(second - first) / start, (last - last_but_one) / end]
    if edge_order == 2:
        edges = [
            _parabola_slope(first, second, third, start, after_start),
            -_parabola_slope(last, last_but_one, last_but_two, end, before_end),
        ]
    return np.concatenate([edges[0], middle, edges[1]], axis=axis)


def _parabola_slope(f0: Any, f1: Any, f2: AnyArray, h: AnyArray, k: Any) -> Any:
    """Slope at its first point of the parabola through three points with steps ``h`` and ``k`` between them."""
    return -f0 * ((2 * h + k) / (h * (h + k))) + f1 * ((h + k) / (h * k)) - f2 * (h / (k * (h + k)))


@implements(np.gradient, on_complex=True)
def _gradient(f: object, *varargs: Any, axis: Axis = None, edge_order: int = 1) -> Any:
    f = as_operand(f)
    axes = tuple(range(f.ndim)) if axis is None else normalize_axis_tuple(axis, f.ndim)
    spacings = [as_operand(spacing) for spacing in varargs or (1.0,)]
    if len(spacings) == 1 and spacings[0].ndim == 0:
        spacings *= len(axes)
    if len(spacings) != len(axes):
        raise TypeError(f"gradient: takes one spacing, or one for each of {len(axes)} axes; got {len(varargs)}")
    if edge_order not in (1, 2):
        raise ValueError(f"gradient: edge_order must be 1 or 2, got {edge_order}")
    dtype = f.dtype if f.dtype.kind in "fc" else np.dtype(np.float64)
    results = []
    for along, spacing in zip(axes, spacings):
        length = f.shape[along]
        if spacing.ndim > 1 or (spacing.ndim == 1 and spacing.shape[0] != length):
            raise ValueError(
                f"gradient: takes a number or {length} coordinates for axis {along}, got shape {spacing.shape}"
            )
        if length < edge_order + 1:
            raise ValueError(f"gradient: needs at least {edge_order + 1} elements along axis {along}, got {length}")
        if spacing.dtype.kind not in "fc":
            spacing = spacing.astype(np.float64)
        values = f if f.dtype.kind in "fc" else f.astype(np.float64)
        results.append(_coordinate_gradient(values, spacing, along, edge_order).astype(dtype))
    return results[0] if len(results) == 1 else tuple(results)


# Integrals


@implements(np.trapezoid, on_complex=True)
def _trapezoid(y: AnyArray, x: AnyArray | None = None, dx: object = 1.0, axis: int = -1) -> Any:
    y = as_operand(y)
    if x is None:
        step = dx
    else:
        x = as_operand(x)
        lengths = [1] * y.ndim
        lengths[axis] = -1
        step = np.diff(x).reshape(lengths) if x.ndim == 1 else np.diff(x, axis=axis)
    pairs = y[_along(y.ndim, axis, slice(1, None))] + y[_along(y.ndim, axis, slice(None, -1))]
    return (step * pairs / 2.0).sum(axis=axis)


# Angles


def _unwrap_sample(draw: samples.Draw) -> samples.Operands:
    p = np.round(samples.reals(draw, samples.shape(draw, min_ndim=1), -6, 6), 1)
    settings = samples.choice(draw, [{}, {"discont": 4.05}, {"period": 2.7}, {"discont": 3.55, "axis": 0}])
    return (p,), settings


declare(
    "unwrap",
    lambda p, *, discont=None, axis=-1, period=2 * np.pi: np.unwrap(p, discont, axis, period=period),
    lambda g, out, p, discont, axis, period: g,
    sample=_unwrap_sample,
    expects="angles, an array of at least one axis",
)


@implements(np.unwrap)
def _unwrap(p: AnyArray, discont: object = None, axis: int = -1, *, period: object = 2 * np.pi) -> AnyArray:
    for name, value in (("discont", discont), ("period", period)):
        if isinstance(value, Tensor):
            refuse("np.unwrap", **{name: value})
    return OPS["unwrap"](p, discont=discont, axis=axis, period=period)


# Interpolation


@implements(np.interp)
def _interp(x: AnyArray, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """At a knot the slope is that of the interval to the right; at the last knot, to the left; beyond the ends 0."""
    if isinstance(period, Tensor):
        refuse("np.interp", period=period)
    x, xp, fp = ((value if isinstance(value, Tensor) else Tensor(value)).astype(np.float64) for value in (x, xp, fp))
    if xp.ndim != 1 or fp.ndim != 1 or xp.shape != fp.shape or not xp.size:
        raise ValueError(
            f"interp: takes xp and fp of one axis, equally long and not empty; got shapes {xp.shape} and {fp.shape}"
        )
    if period is not None:
        if period == 0:
            raise ValueError("interp: period must not be 0")
        period, left, right = abs(period), None, None
        x, xp = x % period, xp % period
        order = np.argsort(xp)
        xp, fp = np.take(xp, order), np.take(fp, order)
        xp = np.concatenate([xp[-1:] - period, xp, xp[:1] + period])
        fp = np.concatenate([fp[-1:], fp, fp[:1]])
    below, above = x < xp[0], x > xp[-1]
    x = np.where(below | above, xp[0], x)
    knot = np.clip(np.searchsorted(xp, x, side="right") - 1, 0, xp.size - 1)
    if xp.size == 1:
        inside = np.take(fp, knot) + 0 * x
    else:
        interval = np.clip(knot, 0, xp.size - 2)
        run, rise = np.take(xp[1:] - xp[:-1], interval), np.take(fp[1:] - fp[:-1], interval)
        slope = np.where(run == 0, 0, rise / np.where(run == 0, 1, run))
        inside = np.take(fp, knot) + slope * (x - np.take(xp, knot))
    inside = np.where(below, fp[0] if left is None else left, inside)
    return np.where(above, fp[-1] if right is None else right, inside)


# Convolution


def _valid_place(n: int, m: int, mode: str) -> tuple[int, int]:
    """Where the result of a mode begins in the full convolution of ``n`` and ``m`` elements, and its length."""
    long, short = max(n, m), min(n, m)
    if mode == "full":
        return 0, n + m - 1
    return ((short - 1) // 2, long) if mode == "same" else (short - 1, long - short + 1)


def _convolve_rule(g: AnyArray, a: AnyArray, v: AnyArray, mode: str) -> AnyArray:
    """The gradient for ``a``: correlation of g, padded to the full convolution, with v."""
    n, m = a.shape[0], v.shape[0]
    start, length = _valid_place(n, m, mode)
    before, after = np.zeros_like(g, shape=start), np.zeros_like(g, shape=n + m - 1 - start - length)
    padded = np.concatenate([before, g, after]) if mode != "full" else g
    return OPS["convolve"](padded, v[::-1], mode="valid")


def _convolve_sample(draw: samples.Draw) -> samples.Operands:
    a, v = (samples.reals(draw, (draw.integer(1, 5),)) for _ in range(2))
    return (a, v), {"mode": samples.choice(draw, ["full", "same", "valid"])}


declare(
    "convolve",
    lambda a, v, *, mode="full": np.convolve(a, v, mode),
    lambda g, out, a, v, mode: _convolve_rule(g, a, v, mode),
    lambda g, out, a, v, mode: _convolve_rule(g, v, a, mode),
    sample=_convolve_sample,
    expects="two arrays of one axis that are not empty, and a mode 'full', 'same' or 'valid'",
    complex_rules="holomorphic",
)


def _signal(x: AnyArray, function: str) -> AnyArray:
    x = as_operand(x)
    if x.ndim > 1 or not x.size:
        raise ValueError(f"{function}: takes arrays of one axis that are not empty, got shape {x.shape}")
    return x.reshape(-1)


def _mode(mode: object, function: str) -> str:
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"{function}: mode must be 'full', 'same' or 'valid', got {mode!r}")
    return str(mode)


@implements(np.convolve, on_complex=True)
def _convolve(a: AnyArray, v: AnyArray, mode: str = "full") -> AnyArray:
    return OPS["convolve"](_signal(a, "convolve"), _signal(v, "convolve"), mode=_mode(mode, "convolve"))


@implements(np.correlate, on_complex=True)
def _correlate(a: AnyArray, v: AnyArray, mode: str = "valid") -> AnyArray:
    a, v, mode = _signal(a, "correlate"), conjugate(_signal(v, "correlate")), _mode(mode, "correlate")
    if v.size > a.size:  # NumPy exchanges the two and turns the result round
        return OPS["convolve"](v, a[::-1], mode=mode)[::-1]
    return OPS["convolve"](a, v[::-1], mode=mode)
