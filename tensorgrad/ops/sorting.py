"""Sorting: which element comes where is found without gradient, then the elements are taken from there.

Of equal elements the one that comes first in the array comes first in the result, and its gradient goes with it.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, Callable

import numpy as np

from .. import samples
from ..core import OPS, AnyArray, declare, implements, refuse, refuses
from .conversion import as_tensor, in_dtype


def _one_axis(draw: samples.Draw) -> tuple[np.ndarray, Any]:
    x = samples.distinct(draw, samples.shape(draw, min_ndim=1))
    return x, samples.choice(draw, [None, -1, 0, x.ndim - 1, -x.ndim])


def _argsort_sample(draw: samples.Draw) -> samples.Operands:
    x, axis = _one_axis(draw)
    kind: dict[str, Any] = samples.choice(draw, [{}, {"kind": "mergesort"}, {"stable": True}])
    return (x,), {"axis": axis, **kind}


declare(
    "argsort",
    lambda a, *, axis=-1, kind=None, stable=None: np.argsort(a, axis=axis, kind=kind, stable=stable),
    None,
    sample=_argsort_sample,
    numpy=np.argsort,
    expects="an array and an axis that it has",
)


@implements(np.sort)
def _sort(
    a: AnyArray, axis: int | None = -1, kind: object = None, order: object = None, *, stable: object = None
) -> AnyArray:
    refuse("np.sort", order=order)
    if kind is not None and stable is not None:
        raise ValueError("sort: takes kind= or stable=, not both")
    if kind not in (None, "quicksort", "heapsort", "mergesort", "stable"):
        raise ValueError(f"sort: kind must be 'quicksort', 'heapsort', 'mergesort' or 'stable', got {kind!r}")
    return _taken(a, OPS["argsort"](a, axis=axis, stable=True), axis)


def _taken(x: AnyArray, indices: AnyArray, axis: int | None) -> AnyArray:
    """The elements at ``indices`` along an axis; None: of the flattened array."""
    if axis is None:
        return OPS["take_along_axis"](x.reshape(-1), indices, axis=0)
    return OPS["take_along_axis"](x, indices, axis=axis)


def _partition_order(a: AnyArray, *, kth: Any, axis: int | None = -1) -> AnyArray:
    """Where each element of ``np.partition`` comes from: the place of the one of equal rank.

    np.argpartition may arrange the elements on either side of ``kth`` in another way.
    """
    if axis is None:
        a, axis = a.reshape(-1), 0
    ranks = np.argsort(np.argsort(np.partition(a, kth, axis=axis), axis=axis, stable=True), axis=axis, stable=True)
    return np.take_along_axis(np.argsort(a, axis=axis, stable=True), ranks, axis)


def _partition_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.distinct(draw, samples.shape(draw, min_ndim=1, min_length=1))
    axis = samples.choice(draw, [None, -1, 0])
    last = (x.size if axis is None else x.shape[axis]) - 1
    return (x,), {"axis": axis, "kth": samples.choice(draw, [0, last, -1, (0, last)])}


for _name, _function, _numpy in (
    ("partition_order", _partition_order, None),
    ("argpartition", lambda a, *, kth, axis=-1: np.argpartition(a, kth, axis=axis), None),
):
    declare(
        _name,
        _function,
        None,
        sample=_partition_sample,
        expects="an array and places along an axis that it has",
    )


def _places(kth: Any) -> Any:
    """One place or several, as NumPy takes them."""
    return operator.index(kth) if np.ndim(kth) == 0 else tuple(operator.index(place) for place in kth)


@implements(np.partition)
def _partition(
    a: AnyArray, kth: object, axis: int | None = -1, kind: str = "introselect", order: object = None
) -> AnyArray:
    refuse("np.partition", order=order, kind=None if kind == "introselect" else kind)
    return _taken(a, OPS["partition_order"](a, kth=_places(kth), axis=axis), axis)


@implements(np.argpartition, differentiable=False)
def _argpartition(
    a: AnyArray, kth: object, axis: int | None = -1, kind: str = "introselect", order: object = None
) -> AnyArray:
    refuse("np.argpartition", order=order, kind=None if kind == "introselect" else kind)
    return OPS["argpartition"](a, kth=_places(kth), axis=axis)


def _lexsort_sample(draw: samples.Draw) -> samples.Operands:
    lengths = samples.shape(draw, min_ndim=1)
    keys = tuple(np.round(samples.reals(draw, lengths)) for _ in range(draw.integer(1, 3)))
    return keys, {"axis": draw.integer(-len(lengths), len(lengths) - 1)}


declare(
    "lexsort",
    lambda *keys, axis=-1: np.lexsort(keys, axis=axis),
    None,
    sample=_lexsort_sample,
    expects="arrays of one shape, the last of which is sorted by first, and an axis",
)


@implements(np.lexsort, differentiable=False)
def _lexsort(keys: Sequence[AnyArray] | AnyArray, axis: int = -1) -> AnyArray:
    return OPS["lexsort"](*keys, axis=axis)


# Unique elements are taken from where each first occurs.

_PARTS = ("values", "index", "inverse", "counts")


def _unique_part(a: AnyArray, *, part: str, axis: int | None = None, equal_nan: bool = True) -> AnyArray:
    """One of the further results of ``np.unique``."""
    found = np.unique(a, return_index=True, return_inverse=True, return_counts=True, axis=axis, equal_nan=equal_nan)
    return found[_PARTS.index(part)]


def _unique_sample(draw: samples.Draw) -> samples.Operands:
    x = np.round(samples.reals(draw, samples.shape(draw, min_ndim=1, min_length=1), -1, 1))
    return (x,), {"axis": samples.choice(draw, [None, 0, -1]), "part": samples.choice(draw, _PARTS[1:])}


declare("unique_part", _unique_part, None, sample=_unique_sample, expects="an array and an axis that it has")


@implements(np.unique)
def _unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    **keywords: object,
) -> Any:
    if not keywords.pop("sorted", True):
        refuse("np.unique", sorted=False)
    refuse("np.unique", **keywords)
    asked = {"index": return_index, "inverse": return_inverse, "counts": return_counts}
    found = {
        part: OPS["unique_part"](ar, part=part, axis=axis, equal_nan=equal_nan)
        for part, wanted in asked.items()
        if wanted or part == "index"
    }
    values = np.take(ar, found["index"], axis=axis)
    results = (values, *(found[part] for part, wanted in asked.items() if wanted))
    return results if len(results) > 1 else values


_of_array_api: tuple[tuple[Callable[..., Any], tuple[str, ...]], ...] = (
    (np.unique_all, _PARTS),
    (np.unique_counts, ("values", "counts")),
    (np.unique_inverse, ("values", "inverse")),
)


def _unique_results(function: Callable[..., Any], parts: tuple[str, ...]) -> Callable[..., AnyArray]:
    """A function of the array API, which gives some of the results of ``np.unique`` in a named tuple."""
    results = type(function(np.zeros(1)))

    def unique(x: AnyArray, /) -> Any:
        found = dict(zip(_PARTS, _unique(x, True, True, True, equal_nan=False)))
        found["inverse"] = found["inverse"].reshape(x.shape)
        return results(*(found[part] for part in parts))

    return unique


for _asked, _parts in _of_array_api:
    implements(_asked)(_unique_results(_asked, _parts))
refuses(np.unique_values, "the order of its result is not defined: use np.unique, which sorts")

# Sets. What both have is taken from the first.


def _isin_sample(draw: samples.Draw) -> samples.Operands:
    element, test = (np.round(samples.reals(draw, samples.shape(draw))) for _ in range(2))
    return (np.asarray(element), np.asarray(test)), {"invert": bool(draw.integer(0, 1))}


declare(
    "isin",
    lambda element, test_elements, *, assume_unique=False, invert=False, kind=None: np.isin(
        element, test_elements, assume_unique=assume_unique, invert=invert, kind=kind
    ),
    None,
    None,
    sample=_isin_sample,
    numpy=np.isin,
    expects="two arrays",
)


@implements(np.union1d)
def _union1d(ar1: AnyArray, ar2: AnyArray) -> AnyArray:
    return np.unique(np.concatenate([np.ravel(ar1), np.ravel(ar2)]))


@implements(np.setdiff1d)
def _setdiff1d(ar1: AnyArray, ar2: AnyArray, assume_unique: bool = False) -> Any:
    ar1 = np.ravel(ar1) if assume_unique else np.unique(ar1)
    return ar1[OPS["isin"](ar1, ar2, invert=True)]


@implements(np.intersect1d)
def _intersect1d(ar1: AnyArray, ar2: AnyArray, assume_unique: bool = False, return_indices: bool = False) -> Any:
    (first, at_first), (second, at_second) = (_unique(as_tensor(ar), return_index=True) for ar in (ar1, ar2))
    of_first, of_second = OPS["isin"](first, second), OPS["isin"](second, first)
    common = in_dtype(first[of_first], np.result_type(first.dtype, second.dtype))
    return (common, at_first[of_first], at_second[of_second]) if return_indices else common


@implements(np.setxor1d)
def _setxor1d(ar1: AnyArray, ar2: AnyArray, assume_unique: bool = False) -> AnyArray:
    return np.sort(np.concatenate([_setdiff1d(as_tensor(ar1), ar2), _setdiff1d(as_tensor(ar2), ar1)]))
