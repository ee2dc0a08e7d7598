"""Functions that use elements several times: repeat, tile, resize, windows, pad. Their rules add up what comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index
from numpy.lib.stride_tricks import sliding_window_view

from .. import samples
from ..core import OPS, AnyArray, Axis, Tensor, asarray_like, declare, implements, refuse
from .conversion import as_tensor, hollow, moveaxis, plain


def _numbered(x: AnyArray) -> AnyArray:
    """The numbers of the elements of ``x``, in its shape: where NumPy moves them shows where elements come from."""
    return np.arange(x.size).reshape(x.shape)


def _added_up(g: AnyArray, x: AnyArray, sources: AnyArray) -> AnyArray:
    """For each element of ``x``, the sum of ``g`` over all places that have come from it."""
    return OPS["scatter"](g.reshape(-1), index=sources.reshape(-1), shape=(x.size,)).reshape(x.shape)


def _repeat_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw, min_ndim=1))
    axis = draw.integer(-x.ndim, x.ndim - 1)
    counts = [draw.integer(0, 3) for _ in range(x.shape[axis])]
    return (x,), {"repeats": samples.choice(draw, [draw.integer(0, 3), counts, [2]]), "axis": axis}


def _repeat_rule(g: AnyArray, out: AnyArray, x: AnyArray, repeats: Any, axis: int) -> AnyArray:
    if np.ndim(repeats):
        return _added_up(g, x, np.repeat(_numbered(x), repeats, axis))
    after = axis % x.ndim + 1
    return g.reshape((*x.shape[:after], int(repeats), *x.shape[after:])).sum(axis=after)


declare(
    "repeat",
    lambda x, *, repeats, axis: x.repeat(repeats, axis=axis),
    _repeat_rule,
    sample=_repeat_sample,
    numpy=np.repeat,
    expects="an array, numbers of repetitions and an axis that it has",
    complex_rules="direct",
)


@implements(np.repeat, on_complex=True)
def _repeat(a: AnyArray, repeats: object, axis: int | None = None) -> AnyArray:
    if axis is None or (np.ndim(a) == 0 and normalize_axis_index(axis, 1) == 0):
        a, axis = np.ravel(a), 0
    return OPS["repeat"](a, repeats=plain(repeats), axis=axis)


@implements(np.tile, on_complex=True)
def _tile(A: AnyArray, reps: Any) -> AnyArray:
    """Each axis of length n is repeated as a whole: a new axis before it, broadcast, and both made one."""
    reps = np.ravel(plain(reps)).tolist()
    ndim = max(len(reps), np.ndim(A))
    shape = (1,) * (ndim - np.ndim(A)) + np.shape(A)
    reps = [1] * (ndim - len(reps)) + reps
    apart = [length for n in shape for length in (1, n)]
    tiled = [length for rep, n in zip(reps, shape) for length in (rep, n)]
    return np.copy(np.broadcast_to(np.reshape(A, apart), tiled)).reshape([rep * n for rep, n in zip(reps, shape)])


@implements(np.resize, on_complex=True)
def _resize(a: AnyArray, new_shape: object) -> Any:
    shape = np.resize(hollow(a), plain(new_shape)).shape
    size = int(np.prod(shape))
    if a.size == 0:  # filled with zeros, as there is nothing to repeat
        return as_tensor(np.zeros_like(a, shape=shape))
    return np.tile(np.ravel(a), -(-size // a.size))[:size].reshape(shape)


def _window_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw, min_ndim=1, min_length=1))
    if draw.integer(0, 1):
        return (x,), {"window_shape": tuple(draw.integer(1, n) for n in x.shape), "axis": None}
    axis = draw.integer(-x.ndim, x.ndim - 1)
    return (x,), {"window_shape": draw.integer(1, x.shape[axis]), "axis": axis}


def _window_rule(g: AnyArray, out: AnyArray, x: AnyArray, window_shape: Any, axis: Axis) -> AnyArray:
    """Windows overlap: an element adds up what comes from all that it is in."""
    return _added_up(g, x, sliding_window_view(_numbered(x), window_shape, axis))


declare(
    "sliding_window_view",
    lambda x, *, window_shape, axis=None: sliding_window_view(x, window_shape, axis),
    _window_rule,
    sample=_window_sample,
    numpy=sliding_window_view,
    expects="an array, and windows no longer than the axes that they slide along",
)


# Padding


def _pairs(widths: object, ndim: int) -> list[list[Any]]:
    """What goes before and after each axis, from all forms that ``np.pad`` knows."""
    if isinstance(widths, dict):
        pairs = [[0, 0] for _ in range(ndim)]
        for axis, width in widths.items():
            pairs[normalize_axis_index(axis, ndim)] = np.broadcast_to(width, 2).tolist()
        return pairs
    both: list[list[Any]] = np.broadcast_to(np.asarray(plain(widths)), (ndim, 2)).tolist()
    return both


def _pad_sample(draw: samples.Draw) -> samples.Operands:
    mode, options = samples.choice(
        draw,
        [
            ("constant", {}),
            ("edge", {}),
            ("wrap", {}),
            ("reflect", {}),
            ("symmetric", {}),
            ("reflect", {"reflect_type": "odd"}),
            ("symmetric", {"reflect_type": "odd"}),
            ("mean", {}),
            ("mean", {"stat_length": ((1, 2),)}),
            ("linear_ramp", {}),
            ("linear_ramp", {"end_values": 0.5}),
            ("constant", {"constant_values": ((1.5, -1.0),)}),
        ],
    )
    x = samples.reals(draw, samples.shape(draw, min_ndim=1, min_length=0 if mode == "constant" else 1))
    widths = [[draw.integer(0, 7), draw.integer(0, 3)] for _ in range(x.ndim)]
    return (x,), {"pad_width": widths, "mode": mode, "options": options}


def _pad_rule(g: AnyArray, out: AnyArray, x: AnyArray, pad_width: Any, mode: Any, options: Any) -> AnyArray:
    if mode == "constant":
        return g[tuple(slice(before, before + n) for (before, _), n in zip(pad_width, x.shape))]
    if mode in ("edge", "wrap") or (mode in ("reflect", "symmetric") and options.get("reflect_type") != "odd"):
        return _added_up(g, x, np.pad(_numbered(x), pad_width, mode, **options))
    for axis, widths in enumerate(pad_width):
        weights = asarray_like(_pad_weights(x, axis, widths, mode, options), x)
        g = moveaxis(moveaxis(g, axis, -1) @ weights, -1, axis)
    return g


def _pad_weights(x: AnyArray, axis: int, widths: Any, mode: Any, options: Any) -> AnyArray:
    """How much of each element along an axis goes into each place: the modes left are linear, so pad unit vectors."""
    options = {name: value for name, value in options.items() if name != "end_values"}
    if options.get("stat_length") is not None:
        options["stat_length"] = (_pairs(options["stat_length"], x.ndim)[axis],)
    return np.pad(np.eye(x.shape[axis], dtype=x.dtype), (widths, (0, 0)), mode, **options)


declare(
    "pad",
    lambda x, *, pad_width, mode, options: np.pad(x, pad_width, mode, **options),
    _pad_rule,
    sample=_pad_sample,
    expects="an array, widths before and after each axis, and a mode that suits them",
    complex_rules="direct",
)


@implements(np.pad, on_complex=True)
def _pad(array: AnyArray, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> AnyArray:
    if callable(mode) or mode == "empty":
        refuse("np.pad", mode=mode)
    refuse("np.pad", **{name: value for name, value in kwargs.items() if isinstance(value, Tensor)})
    options = {name: plain(value) for name, value in kwargs.items()}
    if array.ndim == 0:
        np.pad(hollow(array), pad_width, mode, **options)  # NumPy's own checks
        return np.copy(array)
    widths = _pairs(pad_width, array.ndim)
    if mode in _STATISTICS and array.dtype.kind in "fc":
        np.pad(hollow(array), widths, mode, **options)
        return _pad_with_statistic(array, widths, mode, options.get("stat_length"))
    return OPS["pad"](array, pad_width=widths, mode=mode, options=options)


_STATISTICS: dict[str, Any] = {"maximum": np.max, "minimum": np.min, "median": np.median}
"""The modes that are not linear; ``np.pad`` as a composition for these."""


def _pad_with_statistic(x: AnyArray, pad_width: Any, mode: str, stat_length: Any) -> AnyArray:
    for axis, (widths, lengths) in enumerate(zip(pad_width, _pairs(stat_length, x.ndim))):
        n = x.shape[axis]
        first, last = (n if length is None else min(n, length) for length in lengths)
        parts = [x]
        for side, (width, stretch) in enumerate(zip(widths, (slice(0, first), slice(n - last, n)))):
            if width:
                index = (*[slice(None)] * axis, stretch)
                statistic = _STATISTICS[mode](x[index], axis=axis, keepdims=True)
                parts.insert(side * len(parts), np.repeat(statistic, width, axis))
        x = np.concatenate(parts, axis) if len(parts) > 1 else x
    return x
