"""Indexing, changes in place, sorting and functions of signals: every argument form that NumPy documents."""

import gc
import operator
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad.testing import check_call
from tests.support import examples

rng = np.random.default_rng(0)
V = rng.permutation(7) * 0.7 - 2.0
M = (rng.permutation(12) * 0.3 - 1.7).reshape(3, 4)
C = (rng.permutation(24) * 0.2 - 2.3).reshape(2, 3, 4)
EMPTY = np.zeros((0, 3))
SCALAR = np.array(1.5)
KNOTS = np.array([-1.0, 0.0, 1.5, 2.0])
HEIGHTS = np.array([1.0, -1.0, 2.0, 0.5])
PLACES = np.array([-1.4, -0.3, 0.7, 1.6, 2.6])


def at(index):
    return lambda x: x[index]


INDICES = [
    (V, 0),
    (V, -1),
    (V, np.int64(2)),
    (V, np.array(2)),
    (V, [0, 0, 3]),
    (V, []),
    (V, [[]]),
    (V, ()),
    (V, None),
    (V, ...),
    (V, (..., None)),
    (V, True),
    (V, False),
    (V, np.True_),
    (V, [True, False] * 3 + [True]),
    (V, V > 0),
    (V, slice(None, None, -2)),
    (V, slice(10, 20)),
    (V, slice(np.int64(1), np.array(4))),
    (V, slice(tg.Tensor(1), tg.Tensor(4))),
    (V, range(3)),
    (V, tg.Tensor(2)),
    (V, tg.Tensor([2, 2, -1])),
    (V, tg.Tensor(V > 0)),
    (V, np.uint8([1, 3])),
    (V, ((0, 1),)),
    (V, np.zeros((0, 2), int)),
    (M, (0, 1)),
    (M, (0,)),
    (M, (slice(None), 1)),
    (M, ([0, 2], [1, 1])),
    (M, ([[0], [2]], [1, 3])),
    (M, (slice(None), [0, 0])),
    (M, ([0, 0], slice(1, None))),
    (M, (None, [0, 1], None, 2)),
    (M, M > 0),
    (M, [True, False, True]),
    (M, ([True, False, True], 1)),
    (M, (slice(None), [True, False, False, True])),
    (M, (tg.Tensor([0, 2]), tg.Tensor(1))),
    (M, np.nonzero(M > 0)),
    (C, (0, slice(None), [1, 1])),
    (C, ([0, 1], slice(None), [1, 1])),
    (C, (slice(None), 0, [1, 1])),
    (C, (..., [[0, 1], [1, 2]])),
    (C, (C > 0)[:, :, 0]),
    (C, (0, M > 0)),
    (C, (slice(None), M[0:3] > 0)),
    (C, (np.array([0, 1])[:, None], [True, False, True])),
    (C, (1, ..., -1)),
    (C, np.ix_([0, 1], [2, 0], [1])),
    (SCALAR, ()),
    (SCALAR, ...),
    (SCALAR, None),
    (SCALAR, True),
    (SCALAR, np.array(False)),
    (EMPTY, slice(None, None, 2)),
    (EMPTY, (slice(None), [0, 0])),
]


@pytest.mark.parametrize("x, index", INDICES, ids=str)
def test_reading(x, index):
    check_call(at(index), x)
    check_call(at(index), np.asfortranarray(x))


@pytest.mark.parametrize("x, index", INDICES, ids=str)
def test_assigning(x, index):
    def assigned(x, value):
        x = x + 0 if isinstance(x, tg.Tensor) else tg.Tensor(x)
        x[index] = value
        return x

    shape = x[tuple(map(plain, index)) if isinstance(index, tuple) else plain(index)].shape
    for value in (np.array(0.25), rng.uniform(-1, 1, shape), rng.uniform(-1, 1, shape[1:])):
        check_call(assigned, x, value)
    with_number = x.copy()
    with_number[tuple(map(plain, index)) if isinstance(index, tuple) else plain(index)] = 7
    tensor = tg.Tensor(x.copy())
    tensor[index] = 7
    np.testing.assert_array_equal(tensor.data, with_number)


@pytest.mark.parametrize(
    "name, args, keywords",
    [
        ("sort", (), {}),
        ("sort", (0,), {"kind": "stable"}),
        ("partition", (1,), {"axis": 0}),
        ("partition", (np.array([0, 2]),), {}),
    ],
)
def test_methods_that_reorder_in_place(name, args, keywords):
    def reordered(x):
        y = x * 2
        assert getattr(y, name)(*args, **keywords) is None
        return y * y

    check_call(reordered, M)
    constant, array = tg.Tensor(M.copy()), M.copy()
    getattr(constant, name)(*args, **keywords)
    getattr(array, name)(*args, **keywords)
    np.testing.assert_array_equal(constant.data, array)
    compiled = tg.compile(lambda x: reordered(tg.Tensor(x)).data, pure=True)
    for x in (M, -M, M[::-1].copy()):
        np.testing.assert_array_equal(compiled(x), reordered(x))


def test_the_method_argpartition():
    np.testing.assert_array_equal(tg.Tensor(M).argpartition(1, axis=0).data, M.argpartition(1, axis=0))


def plain(index):
    if isinstance(index, slice):
        return slice(*(None if i is None else int(i) for i in (index.start, index.stop, index.step)))
    return index.numpy() if isinstance(index, tg.Tensor) else index


CALLS = [
    (np.take, M, 1),
    (np.take, M, [0, 11, 0]),
    (np.take, M, [[0, -1]]),
    (np.take, M, [1, 1], 0),
    (np.take, M, np.array([[1, 1], [0, 3]]), -1),
    (np.take, M, [], 1),
    (np.take, M, 2, 1),
    (np.take, SCALAR, 0),
    (np.take, SCALAR, [0, 0]),
    (np.take, EMPTY, [2, 2], 1),
    (np.take_along_axis, M, np.argsort(M, 1), 1),
    (np.take_along_axis, M, np.array([[0], [0], [-1]]), -1),
    (np.take_along_axis, M, np.array([[0, 2, 1, 1]]), 0),
    (np.take_along_axis, M, np.array([0, 5, 5]), None),
    (np.take_along_axis, M[:, :1], np.zeros((3, 2), int), 1),
    (np.take_along_axis, M[:1], np.array([[0, 1], [2, 3], [1, 1]]), 1),
    (np.take_along_axis, M, np.zeros((3, 0), int), 1),
    (np.compress, [True, False, True], M),
    (np.compress, [0, 1], M, 0),
    (np.compress, np.array([False, True, True]), M, -1),
    (np.compress, [], M, 1),
    (np.extract, M > 0, M),
    (np.extract, [1, 0, 1], V),
    (np.choose, [0, 1, 1, 0], [M, -M]),
    (np.choose, np.array([[0], [1], [0]]), (M, V[:4])),
    (np.choose, 1, [M, V[:4]]),
    (np.choose, [0, 2, 1, 1], M),
    (np.choose, [True, False, True, True], [M, SCALAR]),
    (np.sort, V),
    (np.sort, M),
    (np.sort, M, 0),
    (np.sort, M, None),
    (np.sort, C, -2),
    (np.sort, EMPTY),
    (np.sort, EMPTY, 0),
    (np.sort, np.zeros((3, 0))),
    (np.sort, V[::2]),
    (np.sort, M.T),
    (np.partition, V, 3),
    (np.partition, V, -2),
    (np.partition, V, [1, 4]),
    (np.partition, M, 1, 0),
    (np.partition, M, (0, 2), -1),
    (np.partition, M, 5, None),
    (np.unique, np.array([2.0, 1.0, 3.0])),
    (np.unique, M),
    (np.diff, V),
    (np.diff, V, 2),
    (np.diff, V, 6),
    (np.diff, V, 7),
    (np.diff, V, 9),
    (np.diff, M, 1, 0),
    (np.diff, C, 2, -2),
    (np.diff, EMPTY),
    (np.diff, EMPTY, 1, 0),
    (np.diff, [1, 2, 4], 1, -1, SCALAR),
    (np.diff, [1.0, 2, 4], 1, 0, V),
    (np.ediff1d, V),
    (np.ediff1d, M),
    (np.ediff1d, V[:1]),
    (np.ediff1d, V[:0]),
    (np.ediff1d, SCALAR),
    (np.ediff1d, V, -99.0),
    (np.ediff1d, V, M, SCALAR),
    (np.ediff1d, V, [1, 2], np.array([1, 2])),
    (np.ediff1d, [1.0, 2.0], V, [3]),
    (np.gradient, V),
    (np.gradient, V[:2]),
    (np.gradient, V, 2),
    (np.gradient, V, 0.5),
    (np.gradient, V, SCALAR),
    (np.gradient, V, np.cumsum(np.abs(V) + 0.5)),
    (np.gradient, V, [0, 1, 3, 4, 7, 8, 9]),
    (np.gradient, V, np.arange(7.0)),
    (np.gradient, [1.0, 2.0, 4.0], KNOTS[:3]),
    (np.gradient, M),
    (np.gradient, C),
    (np.gradient, C, 2.0),
    (np.gradient, C, 2.0, SCALAR, np.array([0.0, 1.0, 1.5, 4.0])),
    (np.gradient, M, np.array([0.0, 0.3, 1.0]), 2),
    (np.interp, PLACES, KNOTS, HEIGHTS),
    (np.interp, PLACES.reshape(5, 1), KNOTS, HEIGHTS),
    (np.interp, SCALAR - 0.7, KNOTS, HEIGHTS),
    (np.interp, [0.5, 0.6], KNOTS, HEIGHTS),
    (np.interp, PLACES, [-1, 0, 1, 2], HEIGHTS),
    (np.interp, PLACES, KNOTS, [1, 2, 3, 4]),
    (np.interp, 0.5, KNOTS, HEIGHTS),
    (np.interp, PLACES, KNOTS, HEIGHTS, -1, 5.0),
    (np.interp, PLACES, KNOTS[:1], HEIGHTS[:1]),
    (np.interp, PLACES, KNOTS, HEIGHTS, None, None, 3.7),
    (np.interp, PLACES, KNOTS[::-1].copy(), HEIGHTS, None, None, -3.7),
    (np.interp, PLACES[:0], KNOTS, HEIGHTS),
    *(
        (f, a, v, mode)
        for f in (np.convolve, np.correlate)
        for mode in ("full", "same", "valid")
        for a in (V, V[:4], V[:1])
        for v in (KNOTS, KNOTS[:3], KNOTS[:2])
    ),
    (np.convolve, V, [1, 2]),
    (np.convolve, [1, 2], V),
    (np.convolve, V, SCALAR),
    (np.convolve, V, 2.0),
    (np.convolve, V, V[::-2]),
    (np.correlate, V, [1, 2]),
    (np.correlate, V, V),
    (np.trapezoid, V),
    (np.trapezoid, M),
    (np.trapezoid, C, None, 0.5, 1),
    (np.trapezoid, V, None, SCALAR),
    (np.trapezoid, M, V[:4]),
    (np.trapezoid, M, [0, 1, 3], 1.0, 0),
    (np.trapezoid, M, M * 0.5, 1.0, 0),
    (np.trapezoid, V, M[:, :1] + np.arange(7.0)),
    (np.trapezoid, V[:1]),
    (np.trapezoid, V[:0]),
    (np.unwrap, V * 3),
    (np.unwrap, M * 3),
    (np.unwrap, M * 3, None, 0),
    (np.unwrap, M * 3, 3.35, 0),
    (np.polyval, V, 1.2),
    (np.polyval, V[:3], M),
    (np.polyval, [3, 0, 1], M),
    (np.polyval, V[:1], 2),
    (np.polyval, V[:0], M),
    (np.polyval, KNOTS, [1.0, 2.0]),
    (np.bincount, [0, 3, 3, 1], KNOTS),
    (np.bincount, np.array([0, 3, 3, 1]), KNOTS, 6),
    (np.diff, M),
]

KEYWORDS = [
    (np.take, (M,), {"indices": [14, -3], "mode": "wrap"}),
    (np.take, (M,), {"indices": [7, -3], "mode": "clip", "axis": 1}),
    (np.take, (), {"a": M, "indices": np.array([1]), "axis": -2}),
    (np.take_along_axis, (), {"arr": M, "indices": np.array([[1, 1, 0, 0]]), "axis": 0}),
    (np.compress, (), {"condition": [True], "a": M, "axis": 1}),
    (np.choose, ([-1, 5, 2, 3], [M, -M]), {"mode": "wrap"}),
    (np.choose, ([-1, 5, 2, 3], [M, -M]), {"mode": "clip"}),
    (np.sort, (), {"a": M, "axis": 0, "kind": "stable"}),
    (np.sort, (M,), {"kind": "heapsort"}),
    (np.sort, (M,), {"stable": True}),
    (np.sort, (M,), {"stable": False}),
    (np.partition, (), {"a": M, "kth": 2, "axis": 1, "kind": "introselect"}),
    (np.unique, (M,), {"axis": 0}),
    (np.unique, (M,), {"axis": 1}),
    (np.unique, (V,), {"axis": -1}),
    (np.diff, (), {"a": V, "n": 2, "prepend": 0.0, "append": SCALAR}),
    (np.diff, (M,), {"axis": 0, "prepend": M[:2], "append": 1}),
    (np.diff, (M,), {"prepend": np.zeros((3, 0))}),
    (np.diff, (M,), {"n": 0}),
    (np.ediff1d, (), {"ary": M, "to_begin": V, "to_end": SCALAR}),
    (np.gradient, (V,), {"edge_order": 2}),
    (np.gradient, (V[:3], 0.5), {"edge_order": 2}),
    (np.gradient, (V, np.cumsum(np.abs(V) + 0.5)), {"edge_order": 2}),
    (np.gradient, (KNOTS[:3], np.array([0.0, 1.0, 3.0])), {"edge_order": 2}),
    (np.gradient, (M,), {"axis": 0}),
    (np.gradient, (M,), {"axis": (0,)}),
    (np.gradient, (C, 1.0, 2.0), {"axis": (0, -1)}),
    (np.gradient, (C, SCALAR), {"axis": (2, 1), "edge_order": 2}),
    (np.gradient, (C, np.array([0.0, 2.0, 3.0])), {"axis": 1, "edge_order": 2}),
    (np.interp, (), {"x": PLACES, "xp": KNOTS, "fp": HEIGHTS, "left": 0}),
    (np.interp, (PLACES, KNOTS, HEIGHTS), {"left": 1.0, "right": 2, "period": 2.95}),
    (np.convolve, (), {"a": V, "v": KNOTS, "mode": "same"}),
    (np.correlate, (), {"a": KNOTS, "v": V, "mode": "same"}),
    (np.trapezoid, (), {"y": M, "x": V[:3], "axis": 0}),
    (np.trapezoid, (M,), {"dx": 2, "axis": -2}),
    (np.unwrap, (V * 2,), {"period": 2.45}),
    (np.unwrap, (V * 2,), {"period": 4}),
    (np.unwrap, (), {"p": M * 2, "discont": 5.0, "axis": -1}),
    (np.polyval, (), {"p": V, "x": KNOTS}),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call[0].__name__)
def test_call(call):
    check_call(*call)


@pytest.mark.parametrize("function, args, keywords", KEYWORDS, ids=lambda value: getattr(value, "__name__", ""))
def test_call_by_keyword(function, args, keywords):
    check_call(function, *args, **keywords)


def test_interpolation_beyond_the_ends_by_tensors():
    def interpolated(x, left, right):
        return np.interp(x if isinstance(x, tg.Tensor) else tg.Tensor(x), KNOTS, HEIGHTS, left, right)

    check_call(interpolated, PLACES, np.array(0.5), np.array(-0.5))


def test_no_axes():
    assert np.gradient(tg.Tensor(1.5)) == np.gradient(1.5) == ()
    assert np.gradient(tg.Tensor(M), axis=()) == ()


# What has no gradient has NumPy's values.

POSITIONS = [
    (np.argsort, (M,), {}),
    (np.argsort, (M,), {"axis": None}),
    (np.argsort, (M, 0), {"kind": "stable"}),
    (np.argpartition, (V, 3), {}),
    (np.argpartition, (M, [0, 2]), {"axis": -1}),
    (np.argpartition, (M, 3), {"axis": None}),
    (np.lexsort, ((V, np.round(V)),), {}),
    (np.lexsort, (M,), {}),
    (np.lexsort, ((M, np.round(M)),), {"axis": 0}),
    (np.nonzero, (np.round(M),), {}),
    (np.flatnonzero, (np.round(M),), {}),
    (np.argwhere, (np.round(M),), {}),
    (np.argwhere, (SCALAR,), {}),
    (np.searchsorted, (KNOTS, PLACES), {}),
    (np.searchsorted, (KNOTS, 0.0), {"side": "right"}),
    (np.searchsorted, (V, PLACES), {"sorter": np.argsort(V)}),
    (np.digitize, (PLACES, KNOTS), {}),
    (np.digitize, (PLACES, KNOTS[::-1]), {"right": True}),
    (np.bincount, (np.array([0, 3, 3]),), {"minlength": 5}),
    (np.bincount, (np.array([], int),), {}),
    (np.unique, (np.round(M),), {"return_index": True, "return_inverse": True, "return_counts": True}),
    (np.unique, (np.round(M),), {"return_counts": True, "axis": 1}),
    (np.unique, (np.array([np.nan, 1.0, np.nan]),), {}),
    (np.unique, (np.array([np.nan, 1.0, np.nan]),), {"equal_nan": False, "return_inverse": True}),
    (np.unravel_index, (np.array([5, 0, 3]), (2, 3)), {}),
    (np.unravel_index, (np.array(5), (2, 3)), {"order": "F"}),
    (np.ravel_multi_index, ((np.array([1, 0]), np.array([2, 1])), (2, 3)), {}),
    (np.ravel_multi_index, (np.array([[3, 4], [-2, 9]]), (2, 3)), {"mode": ("clip", "wrap")}),
    (np.ix_, (np.array([0, 2]), np.array([True, False, True])), {}),
    (np.tril_indices_from, (M,), {"k": 1}),
    (np.triu_indices_from, (M,), {}),
    (np.diag_indices_from, (M[:, :3],), {}),
    (np.sort, (np.array([3, 1, 2]),), {}),
    (np.sort, (np.array([True, False]),), {}),
    (np.sort, (np.array([np.nan, -np.inf, 1.0, np.inf]),), {}),
    (np.take, (np.array([3, 1, 2]), [1, 1]), {}),
    (np.diff, (np.array([1, 5, 2]),), {}),
    (np.diff, (np.array([True, False, False]),), {}),
    (np.diff, (np.array([1, 5, 2], np.uint8),), {"prepend": 0}),
    (np.ediff1d, (np.array([1, 5, 2]),), {"to_begin": 9}),
    (np.gradient, (np.array([1, 5, 2, 0]),), {}),
    (np.gradient, (np.array([1, 5, 2], np.float32), np.array([0.0, 1.0, 3.0])), {}),
    (np.interp, (np.array([0, 1]), np.array([0, 2]), np.array([3, 5])), {}),
    (np.interp, (np.array([np.nan, np.inf, -np.inf]), KNOTS, HEIGHTS), {}),
    (np.convolve, (np.array([1, 2]), np.array([True, False, True])), {}),
    (np.trapezoid, (np.array([1, 2, 5]),), {}),
    (np.unwrap, (np.array([0, 1, 2, -1, 0]),), {"period": 4}),
    (np.polyval, (np.array([1, 2]), np.array([3, 4])), {}),
    (np.choose, (np.array([0, 1]), np.array([[1, 2], [3, 4]])), {}),
]


@pytest.mark.parametrize("function, args, keywords", POSITIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_values(function, args, keywords):
    expected = function(*args, **keywords)

    def as_tensors(value):
        if isinstance(value, (list, tuple)) and any(isinstance(part, np.ndarray) for part in value):
            return type(value)(map(as_tensors, value))
        return tg.Tensor(value, requires_grad=value.dtype.kind == "f") if isinstance(value, np.ndarray) else value

    found = function(*map(as_tensors, args), **keywords)
    several = isinstance(expected, tuple)
    assert isinstance(found, tuple) == several
    expected, found = (expected, found) if several else ([expected], [found])
    assert len(expected) == len(found)
    for one, other in zip(expected, found):
        other = other.data if isinstance(other, tg.Tensor) else other
        np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12)
        assert other.dtype == np.asarray(one).dtype


# Chosen derivatives

KINKS = [
    ("ties stay in order", lambda x: np.sort(x) * [1, 2, 3], [2.0, 1.0, 2.0], [2, 1, 3]),
    ("unique: the first", lambda x: np.unique(x), [2.0, 1.0, 2.0], [1, 1, 0]),
    ("interp at a knot: to the right", lambda x: np.interp(x, [0, 1, 2], [0, 1, 5]), [0.0, 1.0], [1, 4]),
    ("interp at the last knot: to the left", lambda x: np.interp(x, [0, 1, 2], [0, 1, 5]), [2.0], [4]),
    ("interp beyond the ends", lambda x: np.interp(x, [0, 1], [0, 1]), [-1.0, np.inf], [0, 0]),
    ("interp of infinity", lambda fp: np.interp([np.inf, 0.5], [0, 1], fp), [0.0, 1.0], [0.5, 1.5]),
    ("interp with two equal knots", lambda x: np.interp(x, [0, 1, 1], [0, 1, 5]), [1.0], [0]),
    ("an element taken twice", lambda x: x[[0, 0]] * [1, 2], [1.0, 1.0], [3, 0]),
]


@pytest.mark.parametrize("f, value, expected", [kink[1:] for kink in KINKS], ids=[kink[0] for kink in KINKS])
def test_kinks(f, value, expected):
    x = tg.Tensor(value, requires_grad=True)
    f(x).sum().backward()
    np.testing.assert_array_equal(x.grad, expected)


REFUSED = [
    (lambda x: np.put(x, [0], 1), TypeError, r"np\.put .*writes into an array.*unravel_index"),
    (lambda x: np.place(x, x > 0, 1), TypeError, r"np\.place .*writes.*x\[mask\] = values"),
    (lambda x: np.putmask(x, x > 0, 1), TypeError, r"np\.putmask .*writes"),
    (lambda x: np.copyto(x, 1), TypeError, r"x\[\.\.\.\] = values"),
    (lambda x: np.copyto(np.zeros((3, 4)), x), TypeError, r"x\[\.\.\.\] = values"),
    (lambda x: np.fill_diagonal(x, 1), TypeError, "diag_indices_from"),
    (lambda x: np.put_along_axis(x, np.zeros((3, 1), int), 1, 1), TypeError, r"np.arange\(len\(x\)\)"),
    (lambda x: np.add.at(x, [0], 1), TypeError, r"np\.add\.at"),
    (lambda x: np.sort_complex(x), TypeError, "np.sort_complex"),
    (lambda x: np.sort(x, order="a"), TypeError, "np.sort: order="),
    (lambda x: np.sort(x, kind="bubble"), ValueError, "sort: kind must be"),
    (lambda x: np.sort(x, kind="stable", stable=True), ValueError, "kind= or stable="),
    (lambda x: np.sort(x.sum()), (ValueError, IndexError), "axis"),
    (lambda x: np.partition(x, 4), ValueError, "partition_order got"),
    (lambda x: np.take(x, [0], out=np.zeros(1)), TypeError, "np.take: out="),
    (lambda x: np.take(x, [12]), IndexError, "out of bounds"),
    (lambda x: np.take(x, [0], mode="around"), ValueError, "mode must be"),
    (lambda x: np.take(x, [0.5]), IndexError, "getitem got"),
    (lambda x: np.choose(np.array([0, 3, 0, 0]), list(x)), ValueError, "choose got"),
    (lambda x: np.compress([[True]], x), ValueError, "condition of one axis"),
    (lambda x: np.diff(x, -1), ValueError, "n must not be negative"),
    (lambda x: np.diff(x.sum()), ValueError, "at least one axis"),
    (lambda x: np.ediff1d(np.arange(3), to_end=x), TypeError, "cannot be cast"),
    (lambda x: np.gradient(x, 1.0, 2.0, 3.0), TypeError, "one for each of 2 axes"),
    (lambda x: np.gradient(x, [1.0, 2.0], axis=0), ValueError, "3 coordinates for axis 0"),
    (lambda x: np.gradient(x, edge_order=3), ValueError, "edge_order must be 1 or 2"),
    (lambda x: np.gradient(x[:1]), ValueError, "at least 2 elements"),
    (lambda x: np.interp(0.5, x, x), ValueError, "interp: takes xp and fp of one axis"),
    (lambda x: np.interp(0.5, x[0, :0], x[0, :0]), ValueError, "not empty"),
    (lambda x: np.interp(x, [0, 1], [0, 1], period=0), ValueError, "period must not be 0"),
    (lambda x: np.interp(x, [0, 1], [0, 1], period=x.sum()), TypeError, "np.interp: period="),
    (lambda x: np.unwrap(x, period=x.sum()), TypeError, "np.unwrap: period="),
    (lambda x: np.convolve(x, x), ValueError, "convolve: takes arrays of one axis"),
    (lambda x: np.convolve(x[0], x[0, :0]), ValueError, "not empty"),
    (lambda x: np.correlate(x[0], x[0], mode="half"), ValueError, "correlate: mode must be"),
    (lambda x: np.roots(x[0]), TypeError, "np.roots"),
    (lambda x: np.histogram(x), TypeError, "np.histogram has no gradient rule.*np.bincount"),
    (lambda x: x[x], TypeError, "index: this tensor requires gradients"),
    (lambda x: x[tg.Tensor([0.5])], IndexError, "getitem got"),
    (lambda x: x[5], IndexError, "out of bounds"),
    (lambda x: x["a"], IndexError, "getitem got"),
    (lambda x: x.__setitem__(0, 1), TypeError, r"leaf that requires gradients.*x = x \+ 0"),
    (lambda x: x.__iadd__(1), TypeError, "leaf that requires gradients"),
    (lambda x: x[0].__setitem__(1, 2.0), TypeError, r"assignment: .* view of a leaf that requires.*y = x\[i\] \+ 0"),
    (lambda x: x.T.__iadd__(1), TypeError, r"add in place: .* view of a leaf.*inside tensorgrad\.no_grad"),
    (lambda x: np.broadcast_to(x + 0, (2, 3, 4)).__iadd__(1), ValueError, "read-only.*change a copy"),
    (lambda x: x.sort(), TypeError, "sort: a leaf that requires gradients"),
    (lambda x: (x + 0).sort(axis=None), TypeError, r"sort: takes an axis, got None"),
    (lambda x: (x + 0).__setitem__(0, [1, 2]), ValueError, "setitem got"),
    (lambda x: (x + 0).__setitem__((0, 0), [x[0, 0]]), TypeError, "np.asarray: this tensor requires"),
    (lambda x: (x[0] + 0).__iadd__(x), ValueError, r"add in place: the result has shape \(3, 4\)"),
    (lambda x: tg.Tensor([1, 2]).__itruediv__(2), TypeError, "divide in place: the result is float64"),
    (lambda x: tg.Tensor([1, 2]).__setitem__(0, x[0, 0]), TypeError, "would lose the gradient"),
    (lambda x: np.add(x, 1, out=x), TypeError, "np.add: out="),
]


@pytest.mark.parametrize("call, kind, message", REFUSED)
def test_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call(tg.Tensor(M, requires_grad=True))


def test_partition_arranges_as_numpy_does():
    values, weights = rng.permutation(400) * 0.1, rng.uniform(1, 2, 400)
    x = tg.Tensor(values, requires_grad=True)
    out = np.partition(x, 137)
    np.testing.assert_array_equal(out.data, np.partition(values, 137))
    (out * weights).sum().backward()
    np.testing.assert_array_equal(x.grad[np.argsort(values)], weights[np.argsort(out.data)])


# Changes in place


def weights():
    return [tg.Tensor(rng.uniform(0.5, 1.5, 3), requires_grad=True) for _ in range(2)]


def test_what_was_computed_before_a_change_keeps_its_gradient():
    w, _ = weights()
    x = w * 3
    y = x * 2
    x[0] = 5
    z = x * x
    x += y
    (x * y * z).sum().backward()
    a = w.data
    expected = 3 * a * np.where([True, False, False], 0, 1)  # x after the assignment, where it depends on w
    value, slope = np.where([True, False, False], 5, 3 * a), np.where([True, False, False], 0, 3)
    u, du = value + 6 * a, slope + 6
    v, dv = 6 * a, 6
    t, dt = value**2, 2 * value * slope
    assert expected.shape == (3,)
    np.testing.assert_allclose(w.grad, du * v * t + u * dv * t + u * v * dt)


def test_assigning_a_tensor_to_itself_and_to_parts_of_itself():
    w, _ = weights()
    x = w * 2
    x[:] = x
    x[0] = x[1] * x[2]
    x[::-1] = x
    x *= x
    x.sum().backward()
    _, b, c = w.data
    np.testing.assert_allclose(w.grad, [0, 32 * b * c**2 + 8 * b, 32 * b**2 * c + 8 * c])


def test_a_constant_that_is_given_a_gradient():
    w, _ = weights()
    array = np.zeros((2, 3))
    x = tg.Tensor(array)
    before = x * w
    x[1] = w
    assert x.requires_grad and not array.any()
    x[1, 0] += 1
    (before + x * x).sum().backward()
    np.testing.assert_allclose(w.grad, 2 * w.data + [2, 0, 0])


def test_a_constant_stays_one():
    w, _ = weights()
    array = np.ones(3)
    x = tg.Tensor(array)
    y = x * w
    x[0] = 7
    x += 1
    x[tg.Tensor([1, 1])] += 1
    assert x.data.tolist() == [8, 3, 2] and array.tolist() == [1, 1, 1] and not x.requires_grad
    y.sum().backward()
    np.testing.assert_array_equal(w.grad, [1, 1, 1])


def test_an_array_of_states_filled_in_a_loop():
    w, v = weights()
    states = tg.Tensor(np.zeros((20, 3)))
    states[0] = w
    for t in range(1, 20):
        states[t] = np.tanh(states[t - 1] * v)
    loss = (states * states).sum()
    first = tg.gradients(loss, [w, v], create_graph=True)
    again = [w]
    for _ in range(1, 20):
        again.append(np.tanh(again[-1] * v))
    expected = tg.gradients((np.stack(again) ** 2).sum(), [w, v], create_graph=True)
    for one, other in zip(first, expected):
        np.testing.assert_allclose(one.data, other.data)
    second = tg.gradients((first[0] * first[1]).sum(), [w, v])
    for one, other in zip(second, tg.gradients((expected[0] * expected[1]).sum(), [w, v])):
        np.testing.assert_allclose(one.data, other.data)


def test_a_leaf_is_changed_without_recording_only():
    w, _ = weights()
    before = w.data.copy()
    with tg.no_grad():
        w -= 0.5
        w[0] = 9
    assert w.data.tolist() == [9, *(before[1:] - 0.5)] and w.requires_grad
    loss = (w * w).sum()
    loss.backward()
    np.testing.assert_array_equal(w.grad, 2 * w.data)
    x = w * 2
    with tg.no_grad(), pytest.raises(RuntimeError, match=r"result of recorded ops .*x = x\.detach\(\)"):
        x[0] = 1
    with tg.no_grad():
        x = x.detach()
        x[0] = 1
    assert x.data[0] == 1
    y = w * w
    with tg.no_grad():
        w *= 2
    with pytest.raises(RuntimeError, match="an operand of multiply was changed"):
        y.sum().backward()


def test_dtype_and_shape_stay():
    x = tg.Tensor(np.ones(3, np.float32), requires_grad=True) * 1
    x += np.ones(3)
    x[0] = np.float64(0.1)
    x /= 3
    x **= 2
    x @= np.eye(3)
    assert x.dtype == np.float32 and x.shape == (3,)
    n = tg.Tensor([1, 6])
    n //= 2
    n[0] = 2.9
    n |= 4
    n ^= 1
    n &= 7
    n %= 5
    assert n.data.tolist() == [2, 1]
    y = tg.Tensor([1.5, 2.5], requires_grad=True) * 1
    y //= 1
    assert not y.requires_grad


def test_a_change_after_the_history_is_freed():
    w, _ = weights()
    x = w * 2
    x.sum().backward()
    x[0] = 1
    with pytest.raises(RuntimeError, match="freed"):
        x.sum().backward()


def test_the_creator_of_an_earlier_result():
    w, _ = weights()
    x = w * 2
    y = x * 3
    x[0] = 1
    assert y.creator[1][0] is not x and y.creator[1][0].creator[1][0] is w


def test_gradients_with_respect_to_what_was_changed():
    w, _ = weights()
    x = w * 2
    x[0] = 5
    np.testing.assert_array_equal(tg.gradients((x * x).sum(), x).data, 2 * x.data)
    y = (x * x).sum()
    x[1] = 5
    with pytest.raises(RuntimeError, match="made or changed after the output"):
        tg.gradients(y, x)


def test_of_several_values_for_one_element_the_last_gets_the_gradient():
    w, v = weights()
    x = w * 1
    x[[0, 0, 1]] = v
    x.sum().backward()
    assert w.grad.tolist() == [0, 0, 1] and v.grad.tolist() == [0, 1, 1]


def test_changes_in_place_make_no_reference_cycle():
    w, _ = weights()
    x = tg.Tensor(np.zeros(3))
    y = x * w
    x[0] = y[0]
    x[1:] = x[:2] * w[1:]
    x *= x
    x += np.tanh(x) * y
    gone = [weakref.ref(tensor) for tensor in (x, y)]
    gc.disable()
    try:
        del x, y
        assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()


@pytest.mark.slow
def test_many_changes_in_place():
    w, _ = weights()
    x = w * 1
    for _ in range(20_000):
        x[0] = x[1]
    x.sum().backward()
    del x
    assert w.grad.tolist() == [0, 2, 1]


NAMES = st.integers(0, 3)
PART = st.sampled_from([0, -1, slice(1, None), slice(None, None, -1), [0, 2], [1, 1], [True, False, True], ...])
INSTRUCTIONS = st.one_of(
    st.tuples(st.just("compute"), NAMES, NAMES, NAMES),
    st.tuples(st.just("alias"), NAMES, NAMES),
    st.tuples(st.just("turn"), NAMES, NAMES),
    st.tuples(st.just("assign"), NAMES, NAMES, PART),
    st.tuples(st.just("assign number"), NAMES, NAMES, PART),
    st.tuples(st.just("add in place"), NAMES, NAMES),
    st.tuples(st.just("multiply in place"), NAMES, NAMES),
    st.tuples(st.just("add to a part"), NAMES, NAMES, PART),
)


def changed(kind, x, value, part):
    """The value of ``x`` after a change, as a new tensor."""
    if kind == "add in place":
        return x + value
    if kind == "multiply in place":
        return x * value
    index = np.array(part) if isinstance(part, list) else part
    return tg.OPS["setitem"](x, x[part] + value if kind == "add to a part" else value, index=index)


def run(program, w, v, in_place):
    """The loss of a program of changes: made in place, or with cells that are given new values."""
    cells = [w * 2, v * w, tg.Tensor(np.array([0.3, -0.2, 0.1])), np.tanh(v)]
    names = [0, 1, 2, 3]
    objects = list(cells)
    used = []
    for kind, target, source, *rest in program:
        x = objects[target] if in_place else cells[names[target]]
        y = objects[source] if in_place else cells[names[source]]
        new = None
        if kind == "compute":
            other = objects[rest[0]] if in_place else cells[names[rest[0]]]
            new = np.tanh(y * other + y)
            used.append(y * other)
        elif kind == "alias":
            objects[target] = y
            names[target] = names[source]
        elif kind == "turn":
            new = y[::-1] * 1
        else:
            part = rest[0] if rest else None
            value = 0.5 if kind == "assign number" else y[part] if part is not None else y
            if in_place:
                if kind.startswith("assign"):
                    x[part] = value
                elif kind == "add in place":
                    x += value
                elif kind == "multiply in place":
                    x *= value
                else:
                    x[part] += value
                assert x is objects[target]
            else:
                cells[names[target]] = changed(kind, x, value, part)
        if new is not None:
            cells.append(new)
            names[target] = len(cells) - 1
            objects[target] = new
    last = objects if in_place else [cells[name] for name in names]
    return sum(((x * x * (i + 1)).sum() for i, x in enumerate([*last, *used])), tg.Tensor(0.0))


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(INSTRUCTIONS, max_size=12))
def test_programs_with_changes_in_place(program):
    data = [np.array([0.5, -0.3, 0.2]), np.array([0.1, 0.4, -0.6])]
    found = []
    for in_place in (True, False):
        w, v = (tg.Tensor(array, requires_grad=True) for array in data)
        loss = run(program, w, v, in_place)
        results = [loss.data]
        if loss.requires_grad:
            plain = tg.gradients(loss, [w, v], retain_graph=True)
            first = tg.gradients(loss, [w, v], create_graph=True)
            results += [g.data for g in plain + first]
            product = (first[0] * first[1]).sum() + first[0].sum() + first[1].sum()
            if product.requires_grad:
                results += [g.data for g in tg.gradients(product, [w, v])]
            run(program, w, v, in_place).backward()
            results += [w.grad if w.grad is not None else 0, v.grad if v.grad is not None else 0]
        found.append(results)
    assert len(found[0]) == len(found[1])
    for one, other in zip(*found):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


# Compiled


def compiled_agrees(function, *calls):
    """Compiled, a function gives the same for each of the calls' arguments."""
    step = tg.compile(function, fast=False, pure=True)
    for args in (*calls, *calls):
        for one, other in zip(step(*args), function(*args)):
            np.testing.assert_array_equal(
                one.data if isinstance(one, tg.Tensor) else one, getattr(other, "data", other)
            )


def test_indices_are_computed_anew_in_a_replay():
    w = tg.Tensor(np.arange(12.0).reshape(3, 4), requires_grad=True)

    def step(i, x):
        i = tg.Tensor(i)
        y = w[i] * x + np.take(w, i + 1, axis=0) + w[i[0], 1] + np.take_along_axis(w[:2], i[:, None], 1).sum()
        z = np.sort(y, axis=0) * np.array([[1.0], [2.0]])
        return z.detach(), *tg.gradients((z * z).sum(), [w])

    compiled_agrees(
        step, (np.array([0, 1]), np.ones(4)), (np.array([1, 0]), np.arange(4.0)), (np.array([1, 1]), -np.ones(4))
    )


def test_changes_in_place_in_a_replay():
    w = tg.Tensor(np.arange(1.0, 4.0), requires_grad=True)

    def step(i, x):
        y = w * x
        before = y * y
        y[i] = x[0] * w[2]
        y[0] += before[1]
        y *= 2
        y[0:2][1] = 3.0
        row = y.reshape(3, 1)[2]
        row += x[1]
        new = tg.Tensor(np.zeros(3))
        new[1:] = y[:2]
        new[i] += 1
        loss = (y * before * new).sum()
        return loss.detach(), *tg.gradients(loss, [w])

    compiled_agrees(step, (np.array(0), np.ones(3)), (np.array(2), np.arange(3.0)), (np.array(1), -np.ones(3)))


def test_a_constant_from_outside_is_changed_by_each_replay():
    states = [tg.Tensor(np.zeros(3)), tg.Tensor(np.zeros(3))]

    def change(state, x):
        state[0] = x[1]
        state += x
        state[1:] *= 2
        return state * 1

    compiled = tg.compile(lambda x: change(states[0], x), fast=False, pure=True)
    for x in (np.ones(3), np.arange(3.0), -np.ones(3), np.ones(3)):
        np.testing.assert_array_equal(compiled(x).data, change(states[1], x).data)
        np.testing.assert_array_equal(states[0].data, states[1].data)


def test_refused_in_a_compiled_function():
    w, state = tg.Tensor(np.ones(3), requires_grad=True), tg.Tensor(np.zeros(3))

    def keeps_history(x):
        state[0] = w[0] * x[0]

    def of_an_argument(x):
        x[0] = w[0]

    def leaf(x):
        w[0] = 1.0

    for function, argument, kind, message in (
        (keeps_history, np.ones(3), tg.CaptureError, "is given a history"),
        (of_an_argument, tg.Tensor(np.ones(3)), tg.CaptureError, "argument is changed inside"),
        (leaf, np.ones(3), TypeError, "leaf that requires gradients"),
        (lambda x: w[x.astype(int)[0] : 2].detach(), np.ones(3), tg.CaptureError, "index"),
    ):
        with pytest.raises(kind, match=message):
            tg.compile(function, pure=True)(argument)
        assert not state.requires_grad and state.data.tolist() == [0, 0, 0] and state.creator is None


def held(x):
    row = x[0]
    row += 1


def iterated(x):
    for row in x:
        row /= row.sum()


def turned(x):
    y = x.T
    y *= 2


def flattened(x):
    y = np.ravel(x)
    y **= 2


def diagonal(x):
    y = np.einsum("ii->i", x)
    y += 1


def in_a_function(x):
    def centre(row):
        row -= row.mean()

    centre(x[0])


def in_an_attribute(x):
    holder = SimpleNamespace(row=x[0])
    holder.row += 1


def in_a_list(x):
    rows = [x[0], x[1]]
    rows[0] += 1


def of_parts(x):
    a, b = np.split(x, [1])
    b -= a


def through_a_function(x):
    operator.iadd(x[0], 1)


def copied(x):
    y = x.flatten()
    y += 1
    y = x[[0, 1]]
    y -= 1


def of_a_view_of_a_view(x):
    y = x[1:].T[::-1]
    y[0, 1] = 5
    y[1] *= y[0]
    x[2] += y[2, 1]
    y += x[0, :3].reshape(3, 1)


def sorted_in_part(x):
    x[::-1, 1].sort()
    x[0].partition(1)


VIEWS = [held, iterated, turned, flattened, diagonal, in_a_function, in_an_attribute, in_a_list, of_parts]
VIEWS += [through_a_function, copied, of_a_view_of_a_view, sorted_in_part]


@pytest.mark.parametrize("change", VIEWS)
def test_a_view_is_changed_as_in_numpy(change):
    start = rng.permutation(np.arange(1.0, 10)).reshape(3, 3)
    expected = start.copy()
    change(expected)
    constant = tg.Tensor(start)
    change(constant)
    np.testing.assert_allclose(constant.data, expected)

    def f(x):
        x = x * 1
        change(x)
        return x * x

    assert tg.gradcheck(f, [start])
    w = tg.Tensor(start, requires_grad=True)
    with tg.no_grad():
        change(w)
    np.testing.assert_allclose(w.data, expected)


VIEWING = {
    "item": lambda x, part: x[part],
    "turned": lambda x, part: x.T,
    "flat": lambda x, part: x.reshape(-1),
    "deeper": lambda x, part: x[None],
}
VIEW_PROGRAMS = st.lists(
    st.one_of(
        st.tuples(st.just("view"), NAMES, NAMES, st.sampled_from(sorted(VIEWING)), PART),
        st.tuples(st.just("assign"), NAMES, NAMES, PART),
        st.tuples(st.just("add"), NAMES, NAMES),
        st.tuples(st.just("add to a part"), NAMES, NAMES, PART),
        st.tuples(st.just("use"), NAMES),
    ),
    min_size=1,
    max_size=10,
)


def run_views(program, a, b):
    """The loss of a program of views and changes, of arrays as of Tensors; other shapes than broadcast are left out."""
    objects = [a * 2, b * a, np.tanh(b), a + b]
    total = 0.0
    for kind, target, *rest in program:
        x = objects[target]
        part = rest[-1] if rest and not isinstance(rest[-1], int) else None
        part = np.array(part) if isinstance(part, list) else part
        if part is not None and not x.ndim:
            continue
        try:
            if kind == "view":
                objects[target] = VIEWING[rest[1]](objects[rest[0]], part)
            elif kind == "use":
                total = total + (x * x).sum() * (1 + target)
            else:
                value = objects[rest[0]].mean() if np.size(objects[rest[0]]) != np.size(x) else 0.5
                if kind == "assign":
                    x[part] = value
                elif kind == "add to a part":
                    x[part] += value
                elif x.ndim:
                    x += value
        except IndexError:
            continue
    return total + sum(((x * x).sum() * (0.3 * i + 0.1) for i, x in enumerate(objects)), 0.0)


@settings(max_examples=examples(300), deadline=None)
@given(VIEW_PROGRAMS)
def test_programs_of_views(program):
    a, b = np.linspace(-0.6, 0.7, 9).reshape(3, 3), np.linspace(0.9, -0.4, 9).reshape(3, 3)
    t, u = tg.Tensor(a, requires_grad=True), tg.Tensor(b, requires_grad=True)
    loss = run_views(program, t, u)
    np.testing.assert_allclose(loss.item(), run_views(program, a, b), rtol=1e-12)
    np.testing.assert_allclose(run_views(program, tg.Tensor(a), tg.Tensor(b)).item(), loss.item(), rtol=1e-12)
    found = tg.gradients(loss, [t, u])
    direction = np.cos(np.arange(9.0)).reshape(3, 3)
    step = 1e-5 * direction
    for g, (plus, minus) in zip(found, [((a + step, b), (a - step, b)), ((a, b + step), (a, b - step))]):
        slope = (run_views(program, *plus) - run_views(program, *minus)) / 2e-5
        np.testing.assert_allclose((g.data * direction).sum(), slope, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_items_are_changed_in_place_wherever_the_tensor_is():
    def change(x):
        holder, listed, i = SimpleNamespace(x=x), {"x": x}, 1
        holder.x[0] += 1
        listed["x"][i, 1:] *= x[0, 0]
        x[2, ...] -= x[i]
        x[[0, 2]] /= 2
        x[0:2] **= 2
        return x * 1

    check_call(lambda x: change(x * 1.0), np.arange(1.0, 10).reshape(3, 3) + 0.5)


def array_index(x):
    row = x[0, :]
    x[np.array([1, 2]), :] = row


def array_of_no_axes(x):
    row = x[np.array(1)]
    row += 1
    x[np.array([0, 2])] = row


def true_is_not_one(x):
    row = x[1, :]
    x[True, :] = row


@pytest.mark.parametrize("change", [array_index, array_of_no_axes, true_is_not_one])
def test_assigning_a_view_elsewhere(change):
    start = np.arange(9.0).reshape(3, 3)
    expected, found = start.copy(), tg.Tensor(start)
    change(expected)
    change(found)
    np.testing.assert_array_equal(found.data, expected)


def test_an_item_read_without_gradient_is_a_constant_when_it_is_assigned():
    def f(x):
        y = x * 2
        with tg.no_grad():
            row = y[0]
        y[0] = row
        return (y * y).sum()

    np.testing.assert_array_equal(tg.grad(f)(np.ones((2, 2))), [[0, 0], [8, 8]])


@pytest.mark.parametrize("shift", [operator.ilshift, operator.irshift])
def test_shifts_in_place(shift):
    expected = np.arange(1, 7).reshape(2, 3)
    found = tg.Tensor(expected)
    shift(expected[0], 1)
    shift(found[0], 1)
    np.testing.assert_array_equal(found.data, expected)


def columns_in_order(x, y):
    x = x.T * 2
    for i in range(3):
        x.T.reshape(-1)[i] = i
    return x


def mixed(x, y):
    x = x.T * 2
    x += y
    x.reshape(-1)[0] = 100
    return x


def sorted_columns(x, y):
    x = x.T * 2
    x.sort(axis=0)
    x.ravel()[0] = 100
    x[:, 0].sort()
    x.T.ravel()[1] = 200
    return x


@pytest.mark.parametrize("change", [columns_in_order, mixed, sorted_columns])
def test_a_change_in_place_leaves_the_order_in_memory(change):
    """On which depends whether ``reshape`` gives a view or a copy."""
    x, y = np.arange(9.0).reshape(3, 3), np.ones((3, 3))
    expected = change(x, y)
    np.testing.assert_array_equal(change(tg.Tensor(x), tg.Tensor(y)).data, expected)
    np.testing.assert_array_equal(change(tg.Tensor(x, requires_grad=True), y).data, expected)


def test_views_made_without_recording():
    w, y = tg.Tensor(np.ones(3), requires_grad=True), tg.Tensor(2.0, requires_grad=True)
    x, constant = w * 2, tg.Tensor(np.ones(3))
    with tg.no_grad():
        part, of_constant = x[:2], constant[:2]
    with pytest.raises(RuntimeError, match=r"made inside no_grad.*make the view outside"):
        part += 1
    x[:2] += 1  # the remedy
    of_constant *= y
    assert tg.gradients(of_constant.sum() + constant.sum() + x.sum(), [w, y])[1].item() == 4


@pytest.mark.parametrize(
    "view", [np.diagonal, np.diag, lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, 0), lambda x: x[None]]
)
def test_views_that_numpy_makes_read_only_see_changes(view):
    x = tg.Tensor(np.arange(9.0).reshape(3, 3))
    seen = view(x)
    x *= 2
    np.testing.assert_array_equal(seen.data, view(np.arange(9.0).reshape(3, 3) * 2))
    if not view(np.ones((3, 3))).flags.writeable:
        with pytest.raises(ValueError, match="read-only, as in NumPy; change a copy"):
            seen += 1
        seen = seen + 0
        seen += 1


def test_copies_in_a_compiled_function_are_copies():
    w = tg.Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)

    def swapped():
        x = w * 1
        x[0], x[1] = x[1].copy(), x[0].copy()
        y = x.flatten()
        z = np.copy(x)
        x[0] = 0.0
        return x.detach(), y.detach(), z.detach()

    compiled = tg.compile(swapped, pure=True)
    for _ in range(3):
        for found, expected in zip(compiled(), swapped()):
            np.testing.assert_array_equal(found.data, expected.data)
