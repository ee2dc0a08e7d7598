"""NumPy's functions that move, join, repeat and pad elements, in all the forms that their documentation shows."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.ops.concatenation import array
from tensorgrad.testing import check_call

sliding_window_view = np.lib.stride_tricks.sliding_window_view


def values(*shape):
    """Reals in no order, all of them different."""
    order = np.random.default_rng(len(shape)).permutation(np.prod(shape, dtype=int))
    return np.asarray(order.reshape(shape) / 4 - 1.1)


SCALAR, V, V5, M, T3, T4 = values(), values(4), values(5), values(3, 4), values(2, 3, 4), values(2, 1, 3, 2)
ONE, ROW, COLUMN, EMPTY, FLAT0 = values(1), values(1, 4), values(3, 1), values(0), values(3, 0)
FORTRAN, REVERSED, STRIDED = np.asfortranarray(M), M[::-1, ::-1], values(6, 8)[::2, ::2]
INTEGERS = np.arange(4)

CALLS = {
    "shapes": [
        (np.reshape, M, (2, 6)),
        (np.reshape, M, -1),
        (np.reshape, M, 12),
        (np.reshape, M, [2, -1]),
        (np.reshape, M, np.array([4, 3])),
        (np.reshape, M, (2, -1, 3), "F"),
        (np.reshape, M, -1, "F"),
        (np.reshape, SCALAR, (1, 1), "F"),
        (np.reshape, FLAT0, (0, 7)),
        (np.reshape, FORTRAN, (2, 6)),
        (np.reshape, REVERSED, (6, 2), "F"),
        (np.reshape, STRIDED, (6, 2)),
        (np.reshape, SCALAR, ()),
        (np.ravel, T3),
        (np.ravel, T3, "F"),
        (np.ravel, SCALAR),
        (np.ravel, FORTRAN),
        (np.ravel, FORTRAN, None),
        (np.ravel, M, "f"),
        (np.squeeze, T4),
        (np.squeeze, T4, 1),
        (np.squeeze, T4, (-3,)),
        (np.squeeze, values(1, 1)),
        (np.squeeze, SCALAR),
        (np.expand_dims, V, 0),
        (np.expand_dims, V, (0, -1)),
        (np.expand_dims, M, (1, 3)),
        (np.expand_dims, SCALAR, (0, 1)),
        (np.transpose, T3),
        (np.transpose, T3, (1, -1, 0)),
        (np.transpose, T3, [2, 0, 1]),
        (np.transpose, V, 0),
        (np.transpose, SCALAR),
        (np.permute_dims, T3, (1, 0, 2)),
        (np.matrix_transpose, T3),
        (np.moveaxis, T3, 0, -1),
        (np.moveaxis, T3, [0, 1], [-1, -2]),
        (np.moveaxis, T4, (0, -1), (2, 0)),
        (np.swapaxes, T3, 0, -1),
        (np.swapaxes, V, 0, 0),
        (np.rollaxis, T3, 2),
        (np.rollaxis, T3, -1, 1),
        (np.rollaxis, T4, 1, 4),
        (np.atleast_1d, SCALAR),
        (np.atleast_1d, SCALAR, M, 3.0),
        (np.atleast_2d, V),
        (np.atleast_2d, SCALAR, V, T3),
        (np.atleast_3d, V),
        (np.atleast_3d, SCALAR, M, T3, T4),
        (np.broadcast_to, V, (2, 3, 4)),
        (np.broadcast_to, ONE, 5),
        (np.broadcast_to, SCALAR, ()),
        (np.broadcast_to, COLUMN, (0, 3, 2)),
        (np.broadcast_to, ONE, (0,)),
        (np.broadcast_arrays, ROW, COLUMN),
        (np.broadcast_arrays, M, SCALAR, 2.0, [1, 2, 3, 4]),
        (np.broadcast_arrays, V),
        (np.meshgrid, V, V5),
        (np.meshgrid, V5),
        (np.meshgrid, V, [1, 2], ONE),
        (np.meshgrid, SCALAR, V),
        (np.meshgrid, EMPTY, V),
        (np.meshgrid, M, V),
        (np.copy, M),
        (np.copy, FORTRAN, "F"),
    ],
    "turning": [
        (np.flip, T3),
        (np.flip, T3, 1),
        (np.flip, T3, (0, -1)),
        (np.flip, T3, ()),
        (np.flip, SCALAR),
        (np.fliplr, M),
        (np.fliplr, T3),
        (np.flipud, M),
        (np.flipud, V),
        (np.rot90, M),
        (np.rot90, M, 2),
        (np.rot90, M, -1),
        (np.rot90, M, 7),
        (np.rot90, T3, 1, (1, 2)),
        (np.rot90, T3, 3, (-1, 0)),
        (np.rot90, FLAT0),
        (np.roll, V5, 2),
        (np.roll, V5, -7),
        (np.roll, M, 1),
        (np.roll, M, 5, 0),
        (np.roll, M, -1, -1),
        (np.roll, M, (1, -2), (0, 1)),
        (np.roll, M, (1, 1), (0, 0)),
        (np.roll, M, 2, (1, 0)),
        (np.roll, M, [3, 1], [-1, 0]),
        (np.roll, M, np.array([3, 1]), (0, 1)),
        (np.roll, M, (1, 2), 1),
        (np.roll, EMPTY, 3),
        (np.roll, FLAT0, 1, 1),
        (np.roll, SCALAR, 1),
        (np.roll, V5, np.int8(-128)),
        (np.roll, M, (np.int8(1), np.int8(-128)), (0, 1)),
        (np.rot90, M, np.uint8(3)),
    ],
    "repeating": [
        (np.repeat, M, 2),
        (np.repeat, M, 2, -1),
        (np.repeat, M, 3, 0),
        (np.repeat, M, 0, 1),
        (np.repeat, M, [2], 1),
        (np.repeat, M, np.int64(2), 1),
        (np.repeat, M, np.array(2), 0),
        (np.repeat, M, [1, 0, 3], 0),
        (np.repeat, M, (0, 1, 2, 5), -1),
        (np.repeat, M, np.array([2, 0, 1]), -2),
        (np.repeat, M, np.arange(12)),
        (np.repeat, M, 2.0, 0),
        (np.repeat, M, [1.5, 2, 0], 0),
        (np.repeat, SCALAR, 3),
        (np.repeat, SCALAR, 3, 0),
        (np.repeat, FLAT0, 2, 0),
        (np.repeat, EMPTY, []),
        (np.repeat, REVERSED, 2, -1),
        (np.repeat, FORTRAN, 2),
        (np.tile, V, 2),
        (np.tile, V, (2, 2)),
        (np.tile, V, (2, 1, 2)),
        (np.tile, M, 2),
        (np.tile, M, (2, 1)),
        (np.tile, M, [2, 3]),
        (np.tile, T3, (2,)),
        (np.tile, M, (1, 2, 3, 2)),
        (np.tile, M, np.array([2, 2])),
        (np.tile, M, 1),
        (np.tile, V, np.array([3], np.uint8)),
        (np.tile, M, ()),
        (np.tile, M, (0, 2)),
        (np.tile, SCALAR, 3),
        (np.tile, SCALAR, (2, 2)),
        (np.tile, EMPTY, (2, 2)),
        (np.tile, FORTRAN, (2, 2)),
        (np.resize, M, (2, 3)),
        (np.resize, M, (5, 7)),
        (np.resize, V, 3),
        (np.resize, V, 9),
        (np.resize, V, [2, 3]),
        (np.resize, SCALAR, (2, 2)),
        (np.resize, V, (0, 2)),
        (np.resize, V, ()),
        (sliding_window_view, V5, 3),
        (sliding_window_view, V5, 5),
        (sliding_window_view, V5, 1),
        (sliding_window_view, M, (2, 3)),
        (sliding_window_view, M, 2, 0),
        (sliding_window_view, M, 3, -1),
        (sliding_window_view, M, (2, 2), (0, 0)),
        (sliding_window_view, T3, (2, 2), (2, 1)),
        (sliding_window_view, REVERSED, (2, 2)),
        (sliding_window_view, M, [2, 2], [1, 0]),
    ],
    "diagonals": [
        (np.diag, V),
        (np.diag, V, 2),
        (np.diag, V, -1),
        (np.diag, ONE),
        (np.diag, V, np.uint8(2)),
        (np.diag, M, np.int8(-1)),
        (np.diag, EMPTY),
        (np.diag, EMPTY, 1),
        (np.diag, M),
        (np.diag, M, 1),
        (np.diag, M, -2),
        (np.diag, M, 7),
        (np.diag, M, -7),
        (np.diagonal, M),
        (np.diagonal, T3),
        (np.diagonal, T3, 1, 1, 2),
        (np.diagonal, T3, -1, -1, 0),
        (np.diagonal, T4, 0, 3, 1),
        (np.diagonal, T3, 5),
        (np.diagonal, FLAT0),
        (np.diagonal, T3, np.int8(-1)),
        (np.diagflat, M),
        (np.diagflat, V, -2),
        (np.diagflat, SCALAR, 1),
        (np.tril, M),
        (np.tril, M, 1),
        (np.tril, T3, -1),
        (np.tril, V),
        (np.tril, M, np.int8(-1)),
        (np.triu, M),
        (np.triu, M, 2),
        (np.triu, T3, -5),
        (np.triu, V, 1),
        (np.triu, M, np.int8(1)),
        (np.triu, FLAT0),
        (np.vander, V),
        (np.vander, V, 3),
        (np.vander, V, 6, True),
        (np.vander, V, 1),
        (np.vander, V, 0),
        (np.vander, np.array([0.0, 1.0, -2.0])),
        (np.vander, ONE),
        (np.vander, EMPTY),
    ],
    "concatenation": [
        (np.concatenate, [M, ROW]),
        (np.concatenate, (M, COLUMN), 1),
        (np.concatenate, [M, COLUMN], -1),
        (np.concatenate, [M, SCALAR, V], None),
        (np.concatenate, [M, 2.0, 3], None),
        (np.concatenate, [M], 0),
        (np.concatenate, [V, INTEGERS, [1, 2]]),
        (np.concatenate, [V, EMPTY, V]),
        (np.concatenate, M),
        (np.concat, [V, V]),
        (np.stack, [M, M, FORTRAN]),
        (np.stack, (M, STRIDED), 1),
        (np.stack, [M, M], -1),
        (np.stack, [SCALAR, 2.0, SCALAR]),
        (np.stack, M),
        (np.stack, [V, INTEGERS, [1, 2, 3, 4]], -1),
        (np.hstack, [V, V5]),
        (np.hstack, [M, COLUMN]),
        (np.hstack, (SCALAR, 2.0, V)),
        (np.hstack, T3),
        (np.vstack, [V, V]),
        (np.vstack, [M, V]),
        (np.vstack, (SCALAR, 1.0)),
        (np.vstack, [FLAT0, FLAT0]),
        (np.dstack, [V, V]),
        (np.dstack, [M, M, M]),
        (np.dstack, [T3, M[:2, :3]]),
        (np.dstack, [SCALAR, 2]),
        (np.column_stack, [V, V]),
        (np.column_stack, (values(3), M, [1, 2, 3])),
        (np.column_stack, [SCALAR, 1.0]),
        (np.append, M, V),
        (np.append, M, ROW, 0),
        (np.append, M, COLUMN, -1),
        (np.append, V, 3),
        (np.append, SCALAR, [1.0, 2.0]),
        (np.append, [1, 2], V),
        (np.append, EMPTY, V),
        (np.block, [[M, COLUMN], [ROW, ONE]]),
        (np.block, [V, 1.0, V]),
        (np.block, [[V], [V]]),
        (np.block, [[[SCALAR, 1], [2, SCALAR]], [[3, 4], [SCALAR, 5]]]),
        (np.block, M),
        (np.block, SCALAR),
        (np.block, [T3, T3]),
        (np.block, [[INTEGERS, V], [V, INTEGERS]]),
        (np.insert, V, 1, 9.0),
        (np.insert, V, [1, 3], V[:2]),
        (np.insert, V, [1, 1, 1], values(3)),
        (np.insert, V, -1, [1.0, 2.0]),
        (np.insert, V, 4, SCALAR),
        (np.insert, V, [0, -1], SCALAR),
        (np.insert, V, slice(1, 3), [7.0, 8.0]),
        (np.insert, V, [], 1.0),
        (np.insert, M, 2, V, 0),
        (np.insert, M, [2], V, 0),
        (np.insert, M, 1, values(3), 1),
        (np.insert, M, [0, 2], COLUMN, -1),
        (np.insert, M, [1, 1], values(2, 4), 0),
        (np.insert, M, 1, M[:, :2].T, 1),
        (np.insert, M, 3, SCALAR),
        (np.insert, INTEGERS, 1, V),
        (np.insert, V, np.array([3, 0]), values(2)),
        (np.delete, V, 1),
        (np.delete, V, -1),
        (np.delete, V, [0, 0, -1]),
        (np.delete, V, []),
        (np.delete, V, slice(None, None, -2)),
        (np.delete, V, np.array([True, False, True, False])),
        (np.delete, M, 1, 0),
        (np.delete, M, [0, 3], 1),
        (np.delete, M, slice(1, 3), -1),
        (np.delete, M, [1, 5]),
        (np.delete, SCALAR, []),
    ],
    "splitting": [
        (np.split, V, 2),
        (np.split, M, 3),
        (np.split, M, 2, 1),
        (np.split, V5, [1, 3]),
        (np.split, V5, (3, 1)),
        (np.split, V5, [2, 9, 12]),
        (np.split, V5, [-2]),
        (np.split, V5, []),
        (np.split, T3, np.array([1, 3]), -1),
        (np.array_split, V5, 3),
        (np.array_split, V5, 7),
        (np.array_split, M, 2, -1),
        (np.array_split, M, [1, 1], 0),
        (np.array_split, EMPTY, 2),
        (np.hsplit, V, 2),
        (np.hsplit, M, [1, 2]),
        (np.vsplit, M, 3),
        (np.dsplit, T3, 2),
    ],
    "padding": [
        (np.pad, V, 2),
        (np.pad, V, 0),
        (np.pad, V, (1, 2)),
        (np.pad, V, [(1, 2)]),
        (np.pad, M, 1),
        (np.pad, M, (1, 2)),
        (np.pad, M, ((1,), (2,))),
        (np.pad, M, ((1, 0), (0, 2))),
        (np.pad, M, np.array([[1, 0], [0, 2]])),
        (np.pad, EMPTY, 2),
        (np.pad, FLAT0, ((1, 1), (0, 2))),
        (np.pad, SCALAR, 0),
        (np.pad, SCALAR, 0, "edge"),
        (np.pad, V, 2, "edge"),
        (np.pad, ONE, 3, "edge"),
        (np.pad, FLAT0, ((1, 1), (0, 0)), "edge"),
        (np.pad, M, ((2, 0), (0, 3)), "edge"),
        (np.pad, M, ((7, 2), (1, 9)), "reflect"),
        (np.pad, V, 11, "reflect"),
        (np.pad, ONE, 2, "reflect"),
        (np.pad, values(2), (3, 4), "reflect"),
        (np.pad, M, ((7, 2), (1, 9)), "symmetric"),
        (np.pad, ONE, 5, "symmetric"),
        (np.pad, M, ((7, 2), (1, 9)), "wrap"),
        (np.pad, ONE, 5, "wrap"),
        (np.pad, T3, ((0, 1), (4, 0), (2, 2)), "wrap"),
        (np.pad, REVERSED, 2, "symmetric"),
        (np.pad, V, (2, 3), "linear_ramp"),
        (np.pad, M, 2, "mean"),
        (np.pad, FLAT0, ((2, 0), (0, 0)), "mean"),
        (np.pad, M, ((1, 2), (3, 0)), "maximum"),
        (np.pad, M, ((1, 2), (3, 0)), "minimum"),
        (np.pad, FLAT0, ((2, 0), (0, 0)), "maximum"),
    ],
    "along axes": [
        (np.apply_along_axis, lambda x: x.sum(), 0, M),
        (np.apply_along_axis, lambda x: x * x, -1, M),
        (np.apply_along_axis, lambda x: x[:, None] * x, 1, T3),
        (np.apply_along_axis, lambda x, k: x[:2] * k, 0, T3, 3.0),
        (np.apply_along_axis, lambda x: x[0], 0, V),
        (np.apply_over_axes, np.sum, T3, [0, 2]),
        (np.apply_over_axes, np.sum, T3, -1),
        (np.apply_over_axes, lambda x, axis: x.sum(axis=axis, keepdims=True), T3, (0, 1)),
    ],
}

KEYWORDS = [
    (np.ravel, (M,), {"order": "F"}),
    (np.squeeze, (T4,), {"axis": 1}),
    (np.expand_dims, (V,), {"axis": [0, 2]}),
    (np.transpose, (T3,), {"axes": (2, 0, 1)}),
    (np.moveaxis, (T3,), {"source": 2, "destination": 0}),
    (np.rollaxis, (T3,), {"axis": 2, "start": 1}),
    (np.broadcast_to, (V,), {"shape": (3, 4), "subok": True}),
    (np.meshgrid, (V, V5), {"indexing": "ij"}),
    (np.meshgrid, (V, V5, ONE), {"indexing": "xy", "sparse": True}),
    (np.meshgrid, (V, V5), {"copy": False, "indexing": "ij", "sparse": True}),
    (np.flip, (M,), {"axis": -1}),
    (np.rot90, (M,), {"k": 3, "axes": (1, 0)}),
    (np.roll, (M,), {"shift": 1, "axis": -1}),
    (np.repeat, (M,), {"repeats": 2, "axis": -1}),
    (np.tile, (M,), {"reps": 2}),
    (np.resize, (M,), {"new_shape": (2, 2)}),
    (sliding_window_view, (M,), {"window_shape": 2, "axis": 1}),
    (np.diag, (V,), {"k": 1}),
    (np.diagonal, (T3,), {"axis1": 2, "axis2": 1, "offset": -1}),
    (np.tril, (M,), {"k": -1}),
    (np.vander, (V,), {"N": 3, "increasing": True}),
    (np.concatenate, ([V, V5],), {"axis": None}),
    (np.concatenate, ([V, INTEGERS],), {"dtype": np.float64}),
    (np.append, (M,), {"values": ROW, "axis": 0}),
    (np.insert, (M,), {"obj": 1, "values": V, "axis": 0}),
    (np.delete, (M,), {"obj": 1, "axis": 0}),
    (np.split, (M,), {"indices_or_sections": 2, "axis": 1}),
    (np.pad, (V, 2), {"mode": "constant", "constant_values": 5}),
    (np.pad, (M, 1), {"constant_values": ((1, 2), (3, 4))}),
    (np.pad, (V, 3), {"mode": "reflect", "reflect_type": "odd"}),
    (np.pad, (V, (9, 8)), {"mode": "reflect", "reflect_type": "odd"}),
    (np.pad, (M, ((1, 5), (9, 2))), {"mode": "symmetric", "reflect_type": "odd"}),
    (np.pad, (ONE, 2), {"mode": "reflect", "reflect_type": "odd"}),
    (np.pad, (M, 2), {"mode": "reflect", "reflect_type": "even"}),
    (np.pad, (M, ((1, 2), (3, 0))), {"mode": "linear_ramp", "end_values": ((1, 2), (3, 4))}),
    (np.pad, (M, 2), {"mode": "mean", "stat_length": 2}),
    (np.pad, (M, ((1, 2), (3, 0))), {"mode": "mean", "stat_length": ((1, 2), (3, 9))}),
    (np.pad, (M, ((1, 2), (3, 0))), {"mode": "maximum", "stat_length": ((1, 2), (3, 9))}),
    (np.pad, (M, 2), {"mode": "minimum", "stat_length": [2, 1]}),
    (np.pad, (M, 2), {"mode": "maximum", "stat_length": None}),
]


if hasattr(np, "unstack"):  # NumPy 2.1
    CALLS["new"] = [(np.unstack, T3), (np.unstack, V), (np.unstack, FLAT0), (np.reshape, M, (2, 6))]
    KEYWORDS += [
        (np.unstack, (T3,), {"axis": -2}),
        (np.reshape, (M,), {"shape": (2, 6), "order": "F"}),
        (np.reshape, (M, (2, 6)), {"copy": True}),
    ]


@pytest.mark.parametrize(
    "call", [call for calls in CALLS.values() for call in calls], ids=lambda call: call[0].__name__
)
def test_call(call):
    function, *args = call
    check_call(function, *args)


@pytest.mark.parametrize("function, args, keywords", KEYWORDS)
def test_call_with_keywords(function, args, keywords):
    check_call(function, *args, **keywords)


# Results in other dtypes, which finite differences cannot check


def gradients_and_result(function, *arrays):
    tensors = [tg.Tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
    out = function(*tensors)
    out.backward(np.arange(1.0, out.size + 1).reshape(out.shape).astype(out.dtype))
    return out, [t.grad for t in tensors]


@pytest.mark.parametrize(
    "join",
    [
        lambda x, y: np.concatenate([x, y], dtype=np.float32),
        lambda x, y: np.concatenate([x, y], axis=None, dtype=np.float32),
        lambda x, y: np.hstack([x, y], dtype=np.float32, casting="same_kind"),
        lambda x, y: np.stack([x, y[:4]], dtype=np.float32),
        lambda x, y: np.vstack([x, y[:4]], dtype=np.float32, casting="unsafe"),
    ],
)
def test_joining_to_a_dtype(join):
    out, (first, second) = gradients_and_result(join, V, V5)
    expected = join(V, V5)
    assert out.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(out.data, expected)
    assert first.dtype == second.dtype == np.float64
    np.testing.assert_array_equal(first, [1, 2, 3, 4])
    assert second[:4].tolist() == [5, 6, 7, 8]


def test_dtypes_are_promoted_as_numpy_does():
    single, double, integers = np.ones(2, np.float32), np.ones(2), np.arange(2)
    for join in (
        lambda *arrays: np.concatenate(arrays),
        lambda *arrays: np.concatenate([*arrays, 2.0], axis=None),
        lambda *arrays: np.concatenate([*arrays, True, 3], axis=None),
        lambda *arrays: np.concatenate([*arrays, [2.0]]),
        lambda *arrays: np.stack([*arrays, (1, 2)]),
        lambda *arrays: np.block([*arrays, 2.0]),
        lambda *arrays: np.append(arrays[0], arrays[-1]),
        lambda *arrays: np.append(arrays[0], 2.0),
        lambda *arrays: np.hstack([*arrays, 2.0]),
        lambda *arrays: np.column_stack([*arrays, [1, 2]]),
        lambda *arrays: np.insert(arrays[0], 1, arrays[-1]),
        lambda *arrays: np.vander(arrays[0]),
        lambda *arrays: np.tril(arrays[0]),
    ):
        for arrays in ([single], [single, integers], [single, double], [integers], [integers, single], [integers > 0]):
            assert join(*map(tg.Tensor, arrays)).dtype == join(*arrays).dtype


def test_astype_and_copies():
    x = tg.Tensor(np.ones((2, 3)), requires_grad=True)
    (np.astype(x, np.float32) * np.float32(2)).sum().backward()
    assert x.grad.dtype == np.float64
    assert x.grad.tolist() == [[2.0] * 3] * 2
    assert not np.astype(x, int).requires_grad
    assert not np.shares_memory(np.copy(x), x)


@pytest.mark.parametrize("widths", [{0: 1}, {-1: (2, 0)}, {0: (1, 2), 1: 3}, {}])
@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_pad_by_axis(widths, mode):
    """As in NumPy 2.3, with every NumPy."""
    pairs = [[0, 0], [0, 0]]
    for axis, width in widths.items():
        pairs[axis] = [width, width] if isinstance(width, int) else width
    out, (gradient,) = gradients_and_result(lambda x: np.pad(x, widths, mode), M)
    _, (expected_gradient,) = gradients_and_result(lambda x: np.pad(x, pairs, mode), M)
    np.testing.assert_array_equal(out.data, np.pad(M, pairs, mode))
    np.testing.assert_array_equal(gradient, expected_gradient)


# Gradients known by heart: what is used several times adds up


@pytest.mark.parametrize(
    "function, x, expected",
    [
        (lambda x: np.repeat(x, [2, 0, 1, 3]), V, [2, 0, 1, 3]),
        (lambda x: np.tile(x, (3, 2)), V, [6, 6, 6, 6]),
        (lambda x: np.resize(x, 6), V, [2, 2, 1, 1]),
        (lambda x: np.pad(x, 3, "edge"), V, [4, 1, 1, 4]),
        (lambda x: np.pad(x, (4, 0), "wrap"), V, [2, 2, 2, 2]),
        (lambda x: np.pad(x, (6, 0), "wrap"), V, [2, 2, 3, 3]),
        (lambda x: np.pad(x, 2, "reflect"), V, [1, 3, 3, 1]),
        (lambda x: np.pad(x, 2, "symmetric"), V, [2, 2, 2, 2]),
        (lambda x: np.pad(x, 2, "constant", constant_values=9), V, [1, 1, 1, 1]),
        (lambda x: np.pad(x, (2, 0), "linear_ramp"), V, [1.5, 1, 1, 1]),
        (lambda x: np.pad(x, 1, "maximum"), np.array([1.0, 2.0, 2.0, 0.0]), [1, 2, 2, 1]),
        (lambda x: sliding_window_view(x, 3), V5, [1, 2, 3, 2, 1]),
        (lambda x: np.diag(x, 1), V, [1, 1, 1, 1]),
        (lambda x: np.delete(x, 1), V, [1, 0, 1, 1]),
        (lambda x: np.broadcast_to(x, (3, 4)), V, [3, 3, 3, 3]),
        (lambda x: np.vander(x, 3), np.array([0.0, 1.0]), [1, 3]),
        (lambda x: np.vander(x, 2, True), np.array([0.0, 0.0]), [1, 1]),
    ],
)
def test_gradient_of_the_sum(function, x, expected):
    tensor = tg.Tensor(x, requires_grad=True)
    function(tensor).sum().backward()
    np.testing.assert_allclose(tensor.grad, expected)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_what_is_not_used_gives_nothing_of_its_infinities(bad):
    x = tg.Tensor([[1.0, bad], [2.0, 3.0]], requires_grad=True)
    np.tril(x).sum().backward()
    assert np.tril(x).data.tolist() == [[1.0, 0.0], [2.0, 3.0]]
    assert x.grad.tolist() == [[1.0, 0.0], [1.0, 1.0]]
    y = tg.Tensor([bad, 1.0, 2.0], requires_grad=True)
    np.pad(y, 2, "reflect")[2:].backward(np.array([0.0, 1.0, 2.0, 3.0, 4.0]))
    assert y.grad.tolist() == [4.0, 4.0, 2.0]


# Nested lists


def scalars(*numbers):
    return [tg.Tensor(number, requires_grad=True) for number in numbers]


def test_array_of_scalars():
    a, b = scalars(1.0, 2.0)
    out = array([[a, 3], [b * a, (a)]])
    assert (out.shape, out.data.tolist()) == ((2, 2), [[1.0, 3.0], [2.0, 1.0]])
    (out * np.array([[1.0, 10.0], [100.0, 1000.0]])).sum().backward()
    assert (a.grad, b.grad) == (1201.0, 100.0)


def test_array_is_differentiated_twice_and_keeps_other_elements():
    check_call(lambda x, y: array([x, [1.0, 2.0, *x[:2]], y * x]), V, values(4) * 2)
    check_call(lambda x: array([[x[i] * x[j] for i in range(3)] for j in range(3)]), V)
    check_call(lambda x: array(x), M)


@pytest.mark.parametrize(
    "nested",
    [
        1.0,
        [],
        [[]],
        [[], []],
        [1, 2],
        [1, 2.5],
        [True, False],
        ((1, 2), [3, 4]),
        [[[1.5]]],
        [np.ones(2, np.float32), [1, 2]],
        [[1.5]],
    ],
)
def test_array_of_constants_is_that_of_numpy(nested):
    expected = np.array(nested)
    for given in (nested, [nested, tg.Tensor(expected)]):
        out = array(given)
        reference = np.array(nested if given is nested else [nested, expected])
        assert (out.shape, out.dtype) == (reference.shape, reference.dtype)
        np.testing.assert_array_equal(out.data, reference)
    assert array(nested, dtype=np.float32).dtype == np.float32


def test_array_promotes_as_numpy_does():
    single = tg.Tensor(np.float32(1), requires_grad=True)
    assert array([single, single]).dtype == np.float32
    assert array([single, 1.0]).dtype == np.array([np.float32(1), 1.0]).dtype
    assert array([single, 1]).dtype == np.array([np.float32(1), 1]).dtype
    array([single, 1.0]).sum().backward()
    assert single.grad.dtype == np.float32


def test_array_refuses_ragged_lists():
    with pytest.raises(ValueError, match="array: the parts of a list must be of one shape"):
        array([[tg.Tensor(1.0)], [1.0, 2.0]])


# Answers that are no Tensors


def test_questions_about_shape_and_dtype():
    x = tg.Tensor(T3.astype(np.float32), requires_grad=True)
    assert (np.shape(x), np.ndim(x), np.size(x), np.size(x, 1)) == ((2, 3, 4), 3, 24, 3)
    assert np.result_type(x, 2.0) == np.float32
    assert np.result_type(x, np.float64) == np.result_type(np.float64, x) == np.float64
    assert np.can_cast(x, np.float64)
    assert not np.can_cast(x, np.int64)
    assert np.common_type(x) is np.float32
    assert np.min_scalar_type(x) == np.float32
    assert np.isrealobj(x)
    assert not np.iscomplexobj(x)
    assert np.iterable(x)
    assert not np.iterable(x.sum())
    assert not np.isscalar(x)
    assert np.shares_memory(x, x.reshape(-1))
    assert np.may_share_memory(x, x.data)
    square = x[0, :, :3]
    for function in (np.diag_indices_from, np.tril_indices_from, np.triu_indices_from):
        np.testing.assert_array_equal(function(square), function(square.data))
    np.testing.assert_array_equal(np.tril_indices_from(square, k=-1), np.tril_indices(3, -1))
    np.testing.assert_array_equal(np.ix_(tg.Tensor([0, 2]), [1])[0], [[0], [2]])


def test_arrays_in_a_tensors_likeness_are_constants():
    x = tg.Tensor(M.astype(np.float32), requires_grad=True)
    for function in (np.zeros_like, np.ones_like, np.empty_like, lambda x, **more: np.full_like(x, 3.0, **more)):
        for keywords in ({}, {"dtype": int}, {"shape": (2, 2)}, {"dtype": bool, "order": "F", "shape": 5}):
            made, expected = function(x, **keywords), function(x.data, **keywords)
            assert isinstance(made, tg.Tensor) and not made.requires_grad
            assert (made.shape, made.dtype) == (expected.shape, expected.dtype)


def test_results_are_collected_in_an_array_in_a_tensors_likeness():
    def squares(x):
        collected = np.zeros_like(x)
        for i in range(len(x)):
            collected[i] = x[i] ** 2
        return collected

    check_call(squares, np.array([0.5, -1.5, 2.0]))


@pytest.mark.parametrize("keywords", [{}, {"shape": (2, 3)}, {"shape": (2, 5), "dtype": np.float64}])
def test_full_like_with_a_tensor(keywords):
    for fill in (values(), values(1)):
        template = tg.Tensor(np.ones((3, 1)))
        check_call(lambda value: np.full_like(template, value, **keywords), fill)  # noqa: B023
    assert np.full_like(tg.Tensor([1, 2]), tg.Tensor(2.7, requires_grad=True)).data.tolist() == [2, 2]


def test_printing_and_saving(tmp_path):
    x = tg.Tensor(M, requires_grad=True)
    for function in (np.array_repr, np.array_str, np.array2string):
        assert function(x) == function(M)
    assert np.array2string(x, precision=1) == np.array2string(M, precision=1)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", x, named=x)
    np.savetxt(tmp_path / "x.txt", x)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), M)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npz")["named"], M)
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "x.txt"), M)


# Refused

x = tg.Tensor(M, requires_grad=True)
v = tg.Tensor(V, requires_grad=True)

REFUSED = [
    (lambda: np.reshape(x, (2, 6), order="A"), TypeError, "np.reshape: order= is not differentiated"),
    (lambda: np.ravel(x, order="K"), TypeError, "np.ravel: order="),
    (lambda: np.reshape(x, (5, 5)), ValueError, "reshape got"),
    (lambda: np.squeeze(x, 0), ValueError, "squeeze got"),
    (lambda: np.transpose(x, (0, 0)), ValueError, "transpose got"),
    (lambda: np.moveaxis(x, 5, 0), IndexError, "source: axis 5"),
    (lambda: np.moveaxis(x, [0, 1], 0), ValueError, "same number of elements"),
    (lambda: np.matrix_transpose(v), ValueError, "2"),
    (lambda: np.broadcast_to(x, (3, 5)), ValueError, "broadcast_to got"),
    (lambda: np.broadcast_arrays(x, np.ones(3)), ValueError, "shape mismatch"),
    (lambda: np.meshgrid(v, v, indexing="yx"), ValueError, "meshgrid: indexing"),
    (lambda: np.fliplr(v), ValueError, "fliplr takes"),
    (lambda: np.flipud(v.sum()), ValueError, "flipud takes"),
    (lambda: np.flip(x, 2), IndexError, "flip got"),
    (lambda: np.rot90(v), ValueError, "rot90 got"),
    (lambda: np.rot90(x, 2.5), TypeError, "rot90 got"),
    (lambda: np.rot90(x, 1, (0, 0)), ValueError, "rot90 got"),
    (lambda: np.roll(x, (1, 2, 3), (0, 1)), ValueError, "roll got"),
    (lambda: np.roll(x, 1, 2), IndexError, "roll got"),
    (lambda: np.repeat(x, [1, 2], 0), ValueError, "repeat got"),
    (lambda: np.repeat(x, -1, 0), ValueError, "repeat got"),
    (lambda: np.repeat(x, 2, 2), IndexError, "repeat got"),
    (lambda: np.repeat(v.sum(), 2, 1), IndexError, "axis 1"),
    (lambda: np.tile(x, -1), ValueError, "negative"),
    (lambda: np.tile(x, 1.5), TypeError, "float"),
    (lambda: np.resize(x, (-1, 3)), ValueError, "non-negative"),
    (lambda: sliding_window_view(x, 4, 0), ValueError, "sliding_window_view got"),
    (lambda: sliding_window_view(x, 2), ValueError, "sliding_window_view got"),
    (lambda: sliding_window_view(x, 2, 0, writeable=True), TypeError, "sliding_window_view: writeable="),
    (lambda: np.lib.stride_tricks.as_strided(x, (2, 2)), TypeError, "requires gradients, which an array"),
    (lambda: np.diag(tg.Tensor(T3)), ValueError, "diag takes"),
    (lambda: np.diagonal(v), ValueError, "diagonal takes"),
    (lambda: np.diagonal(x, 0, 1, 1), ValueError, "repeated axis"),
    (lambda: np.tril(v.sum()), ValueError, "unpack"),
    (lambda: np.vander(x), ValueError, "vander takes"),
    (lambda: np.vander(v, -1), ValueError, "negative"),
    (lambda: np.fill_diagonal(x, 1.0), TypeError, r"np\.fill_diagonal .*writes into an array"),
    (lambda: np.copyto(x, 1.0), TypeError, r"np\.copyto .*writes into an array"),
    (lambda: np.full((3,), v.sum()), TypeError, "requires gradients, which an array"),
    (lambda: np.concatenate([x, v]), ValueError, "concatenate got"),
    (lambda: np.concatenate([x, x], out=np.zeros((6, 4))), TypeError, "np.concatenate: out="),
    (lambda: np.concatenate([x, x], dtype=int), TypeError, "not allowed by casting"),
    (lambda: np.concatenate([x, x], dtype=np.float32, casting="safe"), TypeError, "not allowed by casting"),
    (lambda: np.stack([x, v]), ValueError, "stack takes"),
    (lambda: np.stack([v, v], out=np.zeros((2, 4))), TypeError, "np.stack: out="),
    (lambda: np.vstack([x, np.ones(3)]), ValueError, "concatenate got"),
    (lambda: np.block([x, [x]]), ValueError, "depths are mismatched"),
    (lambda: np.block([x, (x,)]), TypeError, "tuple"),
    (lambda: np.block([[x], []]), ValueError, "empty"),
    (lambda: np.append(x, v, 0), ValueError, "concatenate got"),
    (lambda: np.insert(x, 9, 1.0, 0), IndexError, "out of bounds"),
    (lambda: np.insert(x, 1, np.ones(3), 0), ValueError, "broadcast"),
    (lambda: np.delete(x, 9, 0), IndexError, "out of bounds"),
    (lambda: np.split(x, 2, 0), ValueError, "equal division"),
    (lambda: np.split(x, 2, 5), IndexError, "axis 5"),
    (lambda: np.array_split(x, 0), ValueError, "larger than 0"),
    (lambda: np.hsplit(v.sum(), 1), ValueError, "hsplit takes"),
    (lambda: np.vsplit(v, 2), ValueError, "vsplit takes"),
    (lambda: np.dsplit(x, 2), ValueError, "dsplit takes"),
    (lambda: np.pad(x, 1, "empty"), TypeError, "np.pad: mode= is not differentiated"),
    (lambda: np.pad(x, 1, lambda *given: None), TypeError, "np.pad: mode="),
    (lambda: np.pad(x, 1, constant_values=v.sum()), TypeError, "np.pad: constant_values="),
    (lambda: np.pad(x, 1, "linear_ramp", end_values=v.sum()), TypeError, "np.pad: end_values="),
    (lambda: np.pad(x, 1, "nearest"), ValueError, "pad got"),
    (lambda: np.pad(x, -1), ValueError, "negative"),
    (lambda: np.pad(x, 1.5), TypeError, "pad got"),
    (lambda: np.pad(x, ((1, 2), (3, 4), (5, 6))), ValueError, "broadcast"),
    (lambda: np.pad(x, 1, "edge", constant_values=1), ValueError, "unsupported keyword"),
    (lambda: np.pad(x, 1, "maximum", stat_length=0), ValueError, "stat_length of 0"),
    (lambda: np.pad(tg.Tensor(FLAT0), 1, "edge"), ValueError, "empty axis"),
    (lambda: np.trim_zeros(v), TypeError, r"np\.trim_zeros .*depends on values"),
    (lambda: np.apply_along_axis(np.sum, 0, tg.Tensor(FLAT0.T)[:, :0]), ValueError, "apply_along_axis"),
    (lambda: np.apply_over_axes(lambda x, axis: x.sum(), tg.Tensor(T3), 0), ValueError, "apply_over_axes"),
    (lambda: np.array([v, v]), TypeError, "requires gradients, which an array"),
    (lambda: np.ascontiguousarray(x), TypeError, "requires gradients, which an array"),
    (lambda: np.r_[v, v], TypeError, "requires gradients, which an array"),
]
if hasattr(np, "unstack"):
    REFUSED += [
        (lambda: np.reshape(x, (2, 6), copy=False), TypeError, "np.reshape: copy="),
        (lambda: np.unstack(v.sum()), ValueError, "unstack takes"),
    ]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_refused(case):
    call, kind, message = REFUSED[case]
    with pytest.raises(kind, match=message):
        call()


def test_settings_that_are_changed_afterwards_do_not_change_the_history():
    for function, setting in (
        (np.repeat, np.array([1, 2, 0, 1])),
        (np.repeat, [1, 2, 0, 1]),
        (np.roll, [1]),
        (np.pad, [[1, 2]]),
        (np.delete, np.array([1])),
        (np.split, np.array([1])),
    ):
        leaf = tg.Tensor(V, requires_grad=True)
        out = function(leaf, setting, *([0] if function is np.roll else []))
        total = sum((o * o).sum() for o in out) if isinstance(out, list) else (out * out).sum()
        before = tg.gradients(total, [leaf], retain_graph=True)[0].data
        for i in range(len(setting)):
            setting[i] = [0, 0] if isinstance(setting[i], list) else 0
        np.testing.assert_array_equal(tg.gradients(total, [leaf])[0].data, before)
