"""Joining arrays and taking them apart: concatenate, stack, block, insert, split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from .. import samples
from ..core import OPS, AnyArray, Array, Axis, DType, Tensor, declare, implements, plain_index, refuse
from .conversion import as_tensor, moveaxis, plain


def _join_sample(draw: samples.Draw) -> samples.Operands:
    lengths = list(samples.shape(draw, min_ndim=1))
    axis = draw.integer(-len(lengths), len(lengths) - 1)
    parts = []
    for _ in range(draw.integer(1, 3)):
        lengths[axis] = draw.integer(0, 3)
        parts.append(samples.reals(draw, tuple(lengths)))
    return tuple(parts), {"axis": axis}


def _concatenate_rule(g: AnyArray, out: AnyArray, *arrays: AnyArray, axis: int) -> Any:
    """Each operand's own stretch of the gradient."""
    ends = np.cumsum([array.shape[axis] for array in arrays]).tolist()
    stretches = [slice(start, end) for start, end in zip([0, *ends], ends)]
    indices = [tuple([slice(None)] * (axis % out.ndim) + [stretch]) for stretch in stretches]
    return [g[index] for index in indices]


declare(
    "concatenate",
    lambda *arrays, axis=0: np.concatenate(arrays, axis=axis),
    _concatenate_rule,
    sample=_join_sample,
    expects="arrays whose shapes agree except along axis",
    complex_rules="direct",
)


def _cast(arrays: Any, dtype: DType, casting: Any) -> list[AnyArray]:
    """The arrays in the dtype that the result shall have, where ``casting`` allows it."""
    arrays = list(map(as_tensor, arrays))
    target = np.dtype(dtype) if dtype is not None else np.result_type(*(x.dtype for x in arrays))
    for x in arrays:
        if not np.can_cast(x.dtype, target, casting):
            raise TypeError(f"joining {x.dtype} to {target} is not allowed by casting={casting!r}")
    return [x if x.dtype == target else OPS["astype"](x, dtype=target) for x in arrays]


@implements(np.concatenate, on_complex=True)
def _concatenate(
    arrays: Any, axis: Axis = 0, out: object = None, *, dtype: DType = None, casting: Any = "same_kind"
) -> Any:
    refuse("np.concatenate", out=out)
    if axis is None and dtype is None:  # then Python numbers are no arrays, so their type gives way
        dtype = np.result_type(*(x if type(x) in (int, float) else as_tensor(x).dtype for x in arrays))
    if dtype is not None or casting != "same_kind":
        arrays = _cast(arrays, dtype, casting)
    if axis is None:
        return OPS["concatenate"](*map(np.ravel, arrays))
    return OPS["concatenate"](*arrays, axis=axis)


@implements(np.stack, on_complex=True)
def _stack(
    arrays: Any, axis: int = 0, out: object = None, *, dtype: DType = None, casting: Any = "same_kind"
) -> AnyArray:
    refuse("np.stack", out=out)
    arrays = list(arrays)
    shapes = {np.shape(array) for array in arrays}
    if len(shapes) != 1:
        raise ValueError(f"stack takes at least one array, all of one shape; got {sorted(shapes)}")
    expanded = [np.expand_dims(array, axis) for array in arrays]
    return np.concatenate(expanded, axis=axis, dtype=dtype, casting=casting)


@implements(np.vstack, on_complex=True)
def _vstack(tup: Any, *, dtype: DType = None, casting: Any = "same_kind") -> AnyArray:
    return np.concatenate([np.atleast_2d(x) for x in tup], 0, dtype=dtype, casting=casting)


@implements(np.hstack, on_complex=True)
def _hstack(tup: Any, *, dtype: DType = None, casting: Any = "same_kind") -> AnyArray:
    arrays = [np.atleast_1d(x) for x in tup]
    return np.concatenate(arrays, 0 if arrays[0].ndim == 1 else 1, dtype=dtype, casting=casting)


@implements(np.dstack, on_complex=True)
def _dstack(tup: Any) -> AnyArray:
    return np.concatenate([np.atleast_3d(x) for x in tup], 2)


@implements(np.column_stack, on_complex=True)
def _column_stack(tup: Any) -> AnyArray:
    return np.concatenate([x if np.ndim(x) >= 2 else np.atleast_2d(x).T for x in tup], 1)


@implements(np.append, on_complex=True)
def _append(arr: AnyArray, values: AnyArray, axis: int | None = None) -> AnyArray:
    if axis is None:
        arr, values, axis = np.ravel(arr), np.ravel(values), 0
    return np.concatenate([arr, values], axis)


@implements(np.block, on_complex=True)
def _block(arrays: object) -> AnyArray:
    """Innermost lists are joined along the last axis, the lists around them along the one before, and so on."""

    def shapes(nested: Any) -> Any:
        if isinstance(nested, (list, tuple)):
            return type(nested)([shapes(part) for part in nested])
        return np.broadcast_to(False, np.shape(nested))

    def depth(nested: object) -> int:
        return 1 + depth(nested[0]) if isinstance(nested, list) else 0

    ndim = np.block(shapes(arrays)).ndim  # NumPy's own check of the nesting

    def joined(nested: object, axis: int) -> AnyArray:
        if isinstance(nested, list):
            return np.concatenate([joined(part, axis + 1) for part in nested], axis)
        x = as_tensor(nested)
        return x.reshape((1,) * (ndim - x.ndim) + x.shape)

    return np.copy(joined(arrays, -depth(arrays)))


def array(nested: object, dtype: DType = None) -> Tensor:
    """``np.array`` for nested lists of Tensors, arrays and numbers: one Tensor, recorded.

    Parameters
    ----------
    nested
        Lists (or tuples) of equal length within each level.
    dtype
        Of the result. Default: what NumPy promotes the elements to; a Python float counts as float64.

    Returns
    -------
    Tensor
        Gradients flow back to every Tensor in ``nested``.

    Raises
    ------
    ValueError
        If the lists are ragged.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> angle = tg.Tensor(0.0, requires_grad=True)
    >>> rotation = tg.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    >>> (rotation @ np.array([1.0, 0.0])).sum().backward()
    >>> angle.grad
    array(1.)
    """
    shape, parts = _flattened(nested)
    joined = np.concatenate([np.ravel(part) for part in parts]) if parts else np.array([])
    result = as_tensor(joined).reshape(shape)
    return result if dtype is None else result.astype(dtype)


def _flattened(nested: Any) -> tuple[tuple[int, ...], list[Any]]:
    """The shape of nested lists, and what they hold, one after the other."""
    if not isinstance(nested, (list, tuple)):
        return np.shape(nested), [nested]
    inner = [_flattened(part) for part in nested]
    shapes = {shape for shape, _ in inner} or {()}
    if len(shapes) != 1:
        raise ValueError(f"array: the parts of a list must be of one shape, got {sorted(shapes)}")
    return (len(nested), *shapes.pop()), [part for _, parts in inner for part in parts]


# Taking apart


def _split(ary: AnyArray, sections: object, axis: int, divide: Callable[..., Sequence[Array]]) -> list[AnyArray]:
    """NumPy divides the numbers of the positions; each piece is a stretch of them."""
    axis = normalize_axis_index(axis, np.ndim(ary))
    ary = as_tensor(ary)
    pieces = divide(np.arange(ary.shape[axis]), plain(sections))
    stretches = [slice(int(piece[0]), int(piece[-1]) + 1) if len(piece) else slice(0, 0) for piece in pieces]
    indices = [(*[slice(None)] * axis, stretch) for stretch in stretches]
    return [ary[index] for index in indices]


@implements(np.split, on_complex=True)
def _split_evenly(ary: AnyArray, indices_or_sections: object, axis: int = 0) -> list[AnyArray]:
    return _split(ary, indices_or_sections, axis, np.split)


@implements(np.array_split, on_complex=True)
def _array_split(ary: AnyArray, indices_or_sections: object, axis: int = 0) -> list[AnyArray]:
    return _split(ary, indices_or_sections, axis, np.array_split)


def _splits_along(function: str, axis: int, min_ndim: int) -> Callable[..., list[Any]]:
    def split(ary: AnyArray, indices_or_sections: object) -> list[AnyArray]:
        if np.ndim(ary) < min_ndim:
            raise ValueError(f"{function} takes an array of at least {min_ndim} dimension(s), got {np.ndim(ary)}")
        return _split(ary, indices_or_sections, min(axis, np.ndim(ary) - 1), np.split)

    return split


implements(np.hsplit, on_complex=True)(_splits_along("hsplit", axis=1, min_ndim=1))
implements(np.vsplit, on_complex=True)(_splits_along("vsplit", axis=0, min_ndim=2))
implements(np.dsplit, on_complex=True)(_splits_along("dsplit", axis=2, min_ndim=3))


def _unstack(x: AnyArray, /, *, axis: int = 0) -> tuple[Any, ...]:
    if x.ndim == 0:
        raise ValueError("unstack takes an array of at least one dimension, got shape ()")
    return tuple(moveaxis(x, axis, 0))


if hasattr(np, "unstack"):  # new in NumPy 2.1
    implements(np.unstack, on_complex=True)(_unstack)


# Putting in and leaving out


def taken(function: Callable[..., AnyArray], *arrays: AnyArray) -> AnyArray:
    """``function(*arrays)``, which only moves elements, as elements taken from all arrays in a row.

    Which ones is found by moving their numbers: ``function`` is called on arrays of positions instead.
    """
    tensors = list(map(as_tensor, arrays))
    ends = np.cumsum([x.size for x in tensors]).tolist()
    numbers = [np.arange(end - x.size, end).reshape(x.shape) for x, end in zip(tensors, ends)]
    row: AnyArray = np.concatenate(tensors, axis=None) if len(tensors) > 1 else np.ravel(tensors[0])
    return OPS["getitem"](row, index=function(*numbers))


@implements(np.delete, on_complex=True)
def _delete(arr: AnyArray, obj: Any, axis: int | None = None) -> AnyArray:
    where = plain_index(obj) if isinstance(obj, Tensor) else obj
    return taken(lambda numbers: np.delete(numbers, where, axis), arr)


@implements(np.insert, on_complex=True)
def _insert(arr: AnyArray, obj: Any, values: AnyArray, axis: int | None = None) -> AnyArray:
    where = plain_index(obj) if isinstance(obj, Tensor) else obj
    arr = as_tensor(arr)
    values = OPS["astype"](as_tensor(values), dtype=arr.dtype)
    return taken(lambda numbers, new: np.insert(numbers, where, new, axis), arr, values)


# Functions along axes


@implements(np.apply_along_axis)
def _apply_along_axis(
    func1d: Callable[..., AnyArray], axis: int, arr: AnyArray, *args: object, **kwargs: object
) -> AnyArray:
    axis = normalize_axis_index(axis, arr.ndim)
    lanes = moveaxis(arr, axis, -1)
    if 0 in lanes.shape[:-1]:
        raise ValueError(f"apply_along_axis: nothing to apply the function to in shape {arr.shape}, axis {axis}")
    results = [array(func1d(lanes[index], *args, **kwargs)) for index in np.ndindex(lanes.shape[:-1])]
    first = results[0]
    stacked = np.stack([result.astype(first.dtype) for result in results])
    applied = stacked.reshape(lanes.shape[:-1] + first.shape)
    return moveaxis(applied, range(lanes.ndim - 1, applied.ndim), range(axis, axis + first.ndim))


@implements(np.apply_over_axes)
def _apply_over_axes(func: Callable[..., AnyArray], a: AnyArray, axes: Axis) -> AnyArray:
    result = a
    for axis in np.ravel(plain(axes)).tolist():
        axis = normalize_axis_index(axis, a.ndim)
        applied = func(result, axis)
        if applied.ndim != a.ndim:
            applied = np.expand_dims(applied, axis)
        if applied.ndim != a.ndim:
            raise ValueError("apply_over_axes: the function must return an array of as many axes, or of one less")
        result = applied
    return result
