"""Elements chosen by index: reading them, adding to them, assigning to them; and the positions of elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from .. import samples
from ..core import OPS, AnyArray, Axis, asarray_like, declare, implements, plain_index, refuse, refuses, sum_to_shape
from .conversion import as_operand, as_tensor


def _index_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw, min_ndim=1, min_length=1))
    n = len(x)
    options: list[Any] = [
        0,
        -1,
        Ellipsis,
        None,
        slice(None, None, -1),
        slice(1, None, 2),
        slice(0, 0),
        np.array([0, n - 1, 0]),
        [n - 1, 0],
        np.array([[0, -1], [0, 0]]),
        np.arange(n) % 2 == 0,
        x > 0,
        (..., 0),
        (slice(None), None),
        (np.array([0, 0, -1]), ..., np.newaxis),
        np.zeros(0, dtype=int),
        np.array(n - 1),
        True,
        np.array(False),
    ]
    if x.ndim >= 2:
        options += [
            (np.array([0, -1, 0]), np.array([0, 0, 0])),
            (0, slice(None)),
            (slice(None), np.array([0, 0])),
            (np.array([0, 0]), slice(None, None, -1)),
            np.ix_(np.arange(n), np.array([0, -1, 0])),
            (np.arange(n) > 0, 0),
            (0, ..., np.array([0, -1])),
        ]
    return (x,), {"index": samples.choice(draw, options)}


def _is_mask(index: object) -> bool:
    return hasattr(index, "dtype") and index.dtype.kind == "b"


def _selects_once(index: object) -> bool:
    """Whether no element can be selected twice: integers, slices, Ellipsis and None only, or one mask."""
    if _is_mask(index):
        return True
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or isinstance(part, (slice, int, np.integer)) for part in parts)


def _scatter(g: AnyArray, *, index: object, shape: tuple[int, ...]) -> AnyArray:
    """Zeros of ``shape`` with ``g`` added at ``index``; an element selected twice gets both."""
    result = np.zeros_like(g, shape=shape)
    _add_at(result, g, index=index)
    return result


def _add_at(total: AnyArray, g: AnyArray, *, index: Any) -> None:
    """Add ``g`` to an array at ``index``, in place; an element selected twice gets both."""
    if _selects_once(index):
        total[index] += g
    else:
        np.add.at(total, index, g)


def _scatter_sample(draw: samples.Draw) -> samples.Operands:
    (x,), settings = _index_sample(draw)
    return (samples.reals(draw, x[settings["index"]].shape),), {**settings, "shape": x.shape}


declare(
    "getitem",
    lambda x, *, index: x[index],
    lambda g, out, x, index: OPS["scatter"](g, index=index, shape=x.shape),
    sample=_index_sample,
    expects="an array and an index that fits its shape",
    accumulate=_add_at,
    complex_rules="direct",
)
declare(
    "scatter",
    _scatter,
    lambda g, out, x, index, shape: OPS["getitem"](g, index=index),
    sample=_scatter_sample,
    expects="an array of the shape that the index selects",
    opaque=True,
    complex_rules="direct",
)

# Assignment. Of several values for one element the last one stays, and gets the gradient.


def _assigned(x: AnyArray, value: AnyArray, *, index: Any) -> AnyArray:
    """A copy of ``x`` with ``value`` at ``index``."""
    result = np.copy(x)
    result[index] = value
    return result


def _stays(x: AnyArray, *, index: Any) -> Any:
    """For each element that ``index`` selects, whether no later one overwrites it in an assignment to ``x``."""
    last = np.zeros_like(x, shape=x.shape, dtype=np.intp)
    count = np.zeros_like(last[index])
    order = np.cumsum(np.ones_like(count), axis=None).reshape(count.shape)
    last[index] = order
    return last[index] == order


declare("stays", _stays, None, sample=_index_sample, expects="an array and an index that fits its shape", opaque=True)


def _value_rule(g: AnyArray, out: AnyArray, x: AnyArray, value: AnyArray, index: object) -> AnyArray:
    """The gradient at ``index``, summed over what the value was repeated along; leading axes may have been dropped."""
    part = OPS["getitem"](g, index=index)
    if not _selects_once(index):
        part = np.where(OPS["stays"](x, index=index), part, 0)
    return sum_to_shape(part, value.shape[max(value.ndim - part.ndim, 0) :]).reshape(value.shape)


def _assignment_sample(draw: samples.Draw) -> samples.Operands:
    (x,), settings = _index_sample(draw)
    selected = x[settings["index"]].shape
    shapes = [selected, (), selected[1:], (1,) * len(selected)]
    if selected and not _is_mask(settings["index"]):  # NumPy drops further axes but there
        shapes.append((1, 1, *selected))
    shape = samples.choice(draw, shapes)
    return (x, samples.reals(draw, shape)), settings


declare(
    "setitem",
    _assigned,
    lambda g, out, x, value, index: OPS["setitem"](g, 0, index=index),
    _value_rule,
    sample=_assignment_sample,
    expects="an array and a value of the shape that the index selects",
    opaque=True,
    complex_rules="direct",
)


# Functions that write into their argument and return nothing

_IN_PLACE: tuple[tuple[Callable[..., object], str], ...] = (
    (np.put, "x[np.unravel_index(indices, x.shape)] = values"),
    (np.place, "x[mask] = values"),
    (np.putmask, "x[mask] = values[mask]"),
    (np.copyto, "x[...] = values"),
    (np.fill_diagonal, "x[np.diag_indices_from(x)] = values"),
    (np.put_along_axis, "x[np.arange(len(x))[:, None], indices] = values"),
)
for _writer, _instead in _IN_PLACE:
    refuses(_writer, f"it writes into an array: write {_instead} on the Tensor instead, which is recorded")

# Along one axis


def _in_range(indices: AnyArray, length: int, mode: str) -> AnyArray:
    """Indices as ``mode`` of np.take and np.choose has them where they lie outside."""
    if mode == "raise":
        return indices
    if mode not in ("wrap", "clip"):
        raise ValueError(f"take: mode must be 'raise', 'wrap' or 'clip', got {mode!r}")
    return indices % length if mode == "wrap" else np.clip(indices, 0, length - 1)


@implements(np.take, on_complex=True)
def _take(a: AnyArray, indices: AnyArray, axis: int | None = None, out: object = None, mode: str = "raise") -> AnyArray:
    refuse("np.take", out=out)
    a, indices = as_tensor(a), as_operand(indices)
    if axis is None:
        a, axis = a.reshape(-1), 0
    axis = normalize_axis_index(axis, max(a.ndim, 1))
    if indices.dtype.kind == "b" or indices.size == 0:
        indices = indices.astype(np.intp)
    indices = _in_range(indices, a.shape[axis] if a.ndim else 1, mode)
    return (a if a.ndim else a.reshape(1))[(slice(None),) * axis + (indices,)]


def _along_axis_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw, min_ndim=1, min_length=1))
    axis = draw.integer(-x.ndim, x.ndim - 1)
    shape = list(samples.choice(draw, [x.shape, (1,) * x.ndim]))
    shape[axis] = draw.integer(0, 4)
    length = x.shape[axis]
    indices = np.floor(draw.uniform(tuple(shape), -length, length - 0.01)).astype(np.intp)
    return (x, indices), {"axis": axis}


def _index_along(indices: AnyArray, shape: tuple[int, ...], axis: int) -> tuple[Any, ...]:
    """The index of an array of ``shape`` that takes ``indices`` along ``axis``, and every place along the others."""
    places = []
    for other, length in enumerate(shape):
        lengths = [1] * len(shape)
        lengths[other] = length
        places.append(indices if other == axis % len(shape) else np.arange(length).reshape(lengths))
    return tuple(places)


def _scatter_along_axis(g: AnyArray, indices: AnyArray, *, axis: int, shape: tuple[int, ...]) -> AnyArray:
    return _scatter(g, index=_index_along(indices, shape, axis), shape=shape)


def _scatter_along_axis_sample(draw: samples.Draw) -> samples.Operands:
    (x, indices), settings = _along_axis_sample(draw)
    taken = np.take_along_axis(x, indices, **settings)
    return (samples.reals(draw, taken.shape), indices), {**settings, "shape": x.shape}


declare(
    "take_along_axis",
    lambda x, indices, *, axis=-1: np.take_along_axis(x, indices, axis),
    lambda g, out, x, indices, axis: OPS["scatter_along_axis"](g, indices, axis=axis, shape=x.shape),
    None,
    sample=_along_axis_sample,
    expects="an array and integers of as many axes that lie within the length of an axis",
    complex_rules="direct",
)
declare(
    "scatter_along_axis",
    _scatter_along_axis,
    lambda g, out, x, indices, axis, shape: OPS["take_along_axis"](g, indices, axis=axis),
    None,
    sample=_scatter_along_axis_sample,
    expects="an array and the integers that it was taken with",
    opaque=True,
    complex_rules="direct",
)


@implements(np.take_along_axis, on_complex=True)
def _take_along_axis(arr: AnyArray, indices: AnyArray, axis: Axis = -1) -> AnyArray:
    arr, indices = as_tensor(arr), as_operand(indices)
    if axis is None:
        if indices.ndim != 1:
            raise ValueError(f"take_along_axis: with axis=None takes indices of one axis, got shape {indices.shape}")
        return OPS["take_along_axis"](arr.reshape(-1), indices, axis=0)
    return OPS["take_along_axis"](arr, indices, axis=axis)


@implements(np.compress, on_complex=True)
def _compress(condition: AnyArray, a: AnyArray, axis: int | None = None, out: object = None) -> AnyArray:
    refuse("np.compress", out=out)
    condition = as_operand(condition)
    if condition.ndim != 1:
        raise ValueError(f"compress: takes a condition of one axis, got shape {condition.shape}")
    return _take(a, np.flatnonzero(condition), axis=axis)


@implements(np.extract, on_complex=True)
def _extract(condition: AnyArray, arr: AnyArray) -> AnyArray:
    return _take(arr, np.flatnonzero(as_operand(condition)))


def _choose_rule(g: AnyArray, out: AnyArray, a: AnyArray, *choices: AnyArray, mode: str) -> Any:
    chosen = _in_range(a, len(choices), mode)
    return [None, *(np.where(chosen == number, g, 0) for number in range(len(choices)))]


def _choose_sample(draw: samples.Draw) -> samples.Operands:
    shape, *shapes = samples.broadcastable(draw, draw.integer(2, 4))
    mode = samples.choice(draw, ["raise", "wrap", "clip"])
    low, high = (0, len(shapes)) if mode == "raise" else (-5, 6)
    a = np.asarray(np.floor(draw.uniform(shape, low, high - 0.01)).astype(np.intp))
    return (a, *(samples.reals(draw, s) for s in shapes)), {"mode": mode}


declare(
    "choose",
    lambda a, *choices, mode="raise": np.choose(a, choices, mode=mode),
    _choose_rule,
    sample=_choose_sample,
    broadcasts=True,
    expects="integers and the arrays to choose from, whose shapes broadcast together",
)


@implements(np.choose)
def _choose(a: AnyArray, choices: Sequence[AnyArray] | AnyArray, out: object = None, mode: str = "raise") -> AnyArray:
    refuse("np.choose", out=out)
    return OPS["choose"](a, *choices, mode=mode)


# Positions have no gradient. They are ops all the same, so that a compiled step computes them in each call.


def _zeros_sample(draw: samples.Draw) -> samples.Operands:
    return (np.asarray(np.round(samples.reals(draw, samples.shape(draw), -1, 1))),), {}


declare(
    "argwhere",
    lambda a: np.argwhere(a),
    None,
    sample=_zeros_sample,
    numpy=np.argwhere,
    expects="an array",
)


@implements(np.nonzero, differentiable=False)
def _nonzero(a: AnyArray) -> Any:
    if np.ndim(a) == 0:
        raise ValueError("nonzero: takes an array of at least one axis; use np.atleast_1d first")
    places = OPS["argwhere"](a)
    return tuple(places[:, axis] for axis in range(a.ndim))


@implements(np.flatnonzero, differentiable=False)
def _flatnonzero(a: AnyArray) -> AnyArray:
    return np.nonzero(np.ravel(a))[0]


def _searchsorted_sample(draw: samples.Draw) -> samples.Operands:
    a = np.sort(samples.reals(draw, samples.shape(draw, min_ndim=1, max_ndim=1)))
    sorter = samples.choice(draw, [None, np.arange(len(a))])
    v = samples.reals(draw, samples.shape(draw))
    return (a, v), {"side": samples.choice(draw, ["left", "right"]), "sorter": sorter}


def _searched(a: AnyArray, v: AnyArray, *, side: Any = "left", sorter: Any = None) -> AnyArray:
    return np.searchsorted(a, v, side=side, sorter=None if sorter is None else asarray_like(sorter, a))


declare(
    "searchsorted",
    _searched,
    None,
    None,
    sample=_searchsorted_sample,
    expects="a sorted array of one axis and values to find",
)


@implements(np.searchsorted, differentiable=False)
def _searchsorted(a: AnyArray, v: AnyArray, side: str = "left", sorter: object = None) -> AnyArray:
    return OPS["searchsorted"](a, v, side=side, sorter=None if sorter is None else plain_index(as_operand(sorter)))


def _digitize_sample(draw: samples.Draw) -> samples.Operands:
    bins = samples.distinct(draw, (draw.integer(0, 4),))
    return (samples.reals(draw, samples.shape(draw)), np.sort(bins)), {"right": bool(draw.integer(0, 1))}


declare(
    "digitize",
    lambda x, bins, *, right=False: np.digitize(x, bins, right=right),
    None,
    None,
    sample=_digitize_sample,
    numpy=np.digitize,
    expects="an array and monotonic bins of one axis",
)


def _counts_sample(draw: samples.Draw) -> samples.Operands:
    x = np.floor(draw.uniform((draw.integer(0, 5),), 0, 4)).astype(np.intp)
    return (x,), {"minlength": samples.choice(draw, [0, 6])}


def _weighted_counts_sample(draw: samples.Draw) -> samples.Operands:
    (x,), settings = _counts_sample(draw)
    x = np.append(x, 1)  # without any weights NumPy counts in integers
    return (x, samples.reals(draw, x.shape)), settings


declare(
    "bincount",
    lambda x, *, minlength=0: np.bincount(x, minlength=minlength),
    None,
    sample=_counts_sample,
    expects="integers from 0 on one axis",
)
declare(
    "weighted_bincount",
    lambda x, weights, *, minlength=0: np.bincount(x, weights, minlength),
    None,
    lambda g, out, x, weights, minlength: np.take_along_axis(g, x, 0),
    sample=_weighted_counts_sample,
    expects="integers from 0 on one axis and as many weights",
)


@implements(np.bincount)
def _bincount(x: AnyArray, /, weights: object = None, minlength: int = 0) -> AnyArray:
    if weights is None:
        return OPS["bincount"](x, minlength=minlength)
    return OPS["weighted_bincount"](x, weights, minlength=minlength)


for _histogram in (np.histogram, np.histogram2d, np.histogramdd, np.histogram_bin_edges):
    refuses(
        _histogram,
        "its counts have no derivative, though its edges depend on the data: call it on tensor.numpy(), or add up "
        "weights by np.bincount",
    )

declare(
    "unravel_index",
    lambda indices, *, shape, order="C": np.stack(np.unravel_index(indices, shape, order=order)),
    None,
    sample=lambda draw: (
        (np.floor(draw.uniform(samples.shape(draw), 0, 5.99)).astype(np.intp),),
        {"shape": (2, 3), "order": samples.choice(draw, ["C", "F"])},
    ),
    expects="integers below the number of elements of a shape",
)


@implements(np.unravel_index, differentiable=False)
def _unravel_index(indices: AnyArray, shape: object, order: str = "C") -> Any:
    return tuple(OPS["unravel_index"](indices, shape=shape, order=order))


declare(
    "ravel_multi_index",
    lambda *indices, dims, mode="raise", order="C": np.ravel_multi_index(indices, dims, mode=mode, order=order),
    None,
    sample=lambda draw: (
        tuple(np.floor(draw.uniform((3,), 0, 1.99)).astype(np.intp) for _ in range(2)),
        {"dims": (2, 3), "mode": samples.choice(draw, ["raise", "wrap", "clip"]), "order": "F"},
    ),
    expects="integers for each axis of a shape",
)


@implements(np.ravel_multi_index, differentiable=False)
def _ravel_multi_index(multi_index: Any, dims: Any, mode: str = "raise", order: str = "C") -> Any:
    return OPS["ravel_multi_index"](*multi_index, dims=dims, mode=mode, order=order)


@implements(np.ix_, differentiable=False)
def _ix(*args: Any) -> Any:
    sequences = [as_operand(sequence) for sequence in args]
    for sequence in sequences:
        if sequence.ndim != 1:
            raise ValueError(f"ix_: takes sequences of one axis, got shape {sequence.shape}")
    places = [np.flatnonzero(s) if s.dtype.kind == "b" else s for s in sequences]
    return tuple(
        (place if place.size else place.astype(np.intp)).reshape([-1 if a == axis else 1 for a in range(len(places))])
        for axis, place in enumerate(places)
    )


for _function in (np.diag_indices_from, np.tril_indices_from, np.triu_indices_from):
    implements(_function, differentiable=False)(
        lambda arr, *args, _of=_function, **keywords: _of(np.empty(arr.shape), *args, **keywords)
    )
