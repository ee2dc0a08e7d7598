"""Ranges between Tensors, polynomials, and sets: calls in every form, and what is refused."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.testing import check_call

START, STOP = np.array(0.3), np.array(2.1)
ROW, COLUMN = np.array([0.5, -1.3, 2.0]), np.array([[1.7], [-0.4]])
POSITIVE = np.array([0.4, 1.5, 3.0])
P, Q = np.array([1.5, -2.0, 0.3]), np.array([0.7, 1.1])
X, Y = np.array([-1.0, 0.2, 0.9, 1.7, 2.5]), np.array([0.3, -0.6, 1.2, 0.4, 2.2])
WEIGHTS = np.array([1.0, 0.5, 2.0, 1.5, 0.7])

CALLS = [
    *[
        (np.linspace, arguments, settings)
        for arguments, settings in (
            ((START, STOP), {}),
            ((START, STOP, 5), {}),
            ((START, 3), {"num": 4}),
            ((3.5, STOP, 4), {}),
            ((STOP, START, 4, False), {}),
            ((START, STOP, 1), {}),
            ((START, STOP, 1, False), {}),
            ((START, STOP, 0), {}),
            ((START, STOP, 4, True, True), {}),
            ((START, STOP), {"num": 3, "endpoint": False, "retstep": True}),
            ((ROW, COLUMN, 3), {}),
            ((ROW, COLUMN, 3), {"axis": -1}),
            ((ROW, COLUMN, 3), {"axis": 1, "endpoint": False}),
            ((ROW, [0, 1, 2], 3), {}),
            ((np.array([0, 1, 2]), ROW, 2), {}),
            ((ROW, ROW, 3), {}),
        )
    ],
    (np.logspace, (START, STOP, 4), {}),
    (np.logspace, (ROW, COLUMN, 3), {"axis": -1, "endpoint": False}),
    (np.logspace, (START, STOP, 4), {"base": 2}),
    (np.logspace, (START, STOP), {"num": 3, "base": np.array(1.7)}),
    (np.logspace, (0.0, 2.0, 3), {"base": np.array(1.7)}),
    (np.logspace, (START, ROW, 3), {"base": POSITIVE}),
    (np.logspace, (START, STOP, 3), {"base": POSITIVE, "axis": -1}),
    (np.geomspace, (START, STOP, 4), {}),
    (np.geomspace, (POSITIVE, 9, 4), {"axis": -1}),
    (np.geomspace, (-POSITIVE, np.array([-1.0, -2.0, -0.5]), 3), {}),
    (np.geomspace, (2, POSITIVE, 4, False), {}),
    (np.geomspace, (START, STOP, 1), {}),
    (np.polyadd, (P, Q), {}),
    (np.polyadd, (Q, P), {}),
    (np.polyadd, (P, 2.0), {}),
    (np.polysub, (P, Q), {}),
    (np.polysub, ([1, 2], P), {}),
    (np.polymul, (P, Q), {}),
    (np.polymul, (Q, [2, 1, 3]), {}),
    (np.polyder, (P,), {}),
    (np.polyder, (P, 2), {}),
    (np.polyder, (P, 0), {}),
    (np.polyder, (P, 4), {}),
    (np.polyint, (P,), {}),
    (np.polyint, (P, 2), {}),
    (np.polyint, (P, 2), {"k": 3}),
    (np.polyint, (P, 2, [1.0, 2.0]), {}),
    (np.polyint, (P, 0), {}),
    (np.poly, (P,), {}),
    (np.poly, (np.array([0.0, 0.0]),), {}),
    (np.polyfit, (X, Y, 2), {}),
    (np.polyfit, (X, np.stack([Y, 2 * X * Y], axis=1), 1), {}),
    (np.polyfit, (X, Y, 1), {"w": WEIGHTS}),
    (np.polyfit, (X.tolist(), Y, 0), {}),
    (np.polyfit, (np.arange(5), Y, 1), {"rcond": 1e-10}),
    (np.union1d, (P, Q), {}),
    (np.union1d, (COLUMN, [-0.7, 3.0]), {}),
    (np.setdiff1d, (P, Q), {}),
    (np.setdiff1d, (P, [1]), {"assume_unique": True}),
    (np.setxor1d, (P, Q), {}),
]


def named(case):
    function, args, settings = case
    shapes = [str(getattr(arg, "shape", arg)).replace(" ", "") for arg in args]
    return f"{function.__name__}({', '.join(shapes)}, {settings})"


@pytest.mark.parametrize("case", CALLS, ids=named)
def test_call(case):
    function, args, settings = case
    check_call(function, *args, **settings)


@pytest.mark.parametrize("function", [np.linspace, np.logspace, np.geomspace])
def test_ranges_begin_and_end_where_they_are_told(function):
    for start, stop in ((0.1, 0.7), (1e-300, 1e300), (-0.3, -1.1)):
        if function is np.logspace:
            start, stop = np.sign(start) / 3, np.sign(stop) / 7
        found = function(tg.Tensor(start, requires_grad=True), stop, 7).data
        expected = function(start, stop, 7)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert found[0] == pytest.approx(expected[0], rel=1e-15) and found[-1] == pytest.approx(expected[-1], rel=1e-15)


@pytest.mark.parametrize("num", [0, 1])
def test_there_is_no_step_between_fewer_than_two_numbers(num):
    start = tg.Tensor(np.array([1.0, 2.0]), requires_grad=True)
    values, step = np.linspace(start, 3.0, num, retstep=True)
    assert values.shape == (num, 2) and step.shape == () and np.isnan(step.item()) and not step.requires_grad


@pytest.mark.parametrize("function", [np.linspace, np.logspace, np.geomspace])
def test_ranges_have_numpys_precision(function):
    start = np.float32([1.5])
    assert function(tg.Tensor(start), 3, 4).dtype == function(start, 3, 4).dtype
    assert function(tg.Tensor(start), 3, 4, dtype=float).dtype == np.float64
    assert function(tg.Tensor(start), np.float32([2]), 4).dtype == function(start, np.float32([2]), 4).dtype


# Sets: values with their gradients, and answers without one

SOME, OTHERS = np.array([[3.0, 1.0], [2.0, 1.0]]), np.array([1.0, 5.0, 3.0])


@pytest.mark.parametrize("settings", [{}, {"invert": True}, {"assume_unique": True}, {"kind": "sort"}])
def test_isin(settings):
    expected = np.isin(SOME, OTHERS, **settings)
    for first, second in ((tg.Tensor(SOME, True), OTHERS), (SOME, tg.Tensor(OTHERS)), (tg.Tensor(SOME), [1, 5, 3])):
        found = np.isin(first, second, **settings)
        assert not found.requires_grad
        np.testing.assert_array_equal(found.data, expected, strict=True)


def test_an_element_of_both_sets_has_the_gradient_in_the_first():
    x, y = tg.Tensor(SOME, requires_grad=True), tg.Tensor(OTHERS, requires_grad=True)
    common = np.intersect1d(x, y)
    np.testing.assert_array_equal(common.data, [1, 3])
    (common * [2.0, 5.0]).sum().backward()
    np.testing.assert_array_equal(x.grad, [[5, 2], [0, 0]])
    assert y.grad is None
    found, expected = (np.intersect1d(a, OTHERS, return_indices=True) for a in (tg.Tensor(SOME), SOME))
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one.data, other, strict=True)
    np.testing.assert_array_equal(np.intersect1d(tg.Tensor(np.float32([3, 1])), OTHERS).data, [1.0, 3.0], strict=True)
    np.testing.assert_array_equal(np.setxor1d(x, y).data, np.setxor1d(SOME, OTHERS))
    np.testing.assert_array_equal(np.union1d(x, y).data, np.union1d(SOME, OTHERS))
    np.testing.assert_array_equal(np.setdiff1d(x, y).data, np.setdiff1d(SOME, OTHERS))


@pytest.mark.parametrize("function", [np.unique_all, np.unique_counts, np.unique_inverse])
def test_unique_by_the_names_of_the_array_api(function):
    x = tg.Tensor(SOME, requires_grad=True)
    found, expected = function(x), function(SOME)
    assert type(found) is type(expected)
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(one.data, other, strict=True)
    (found.values * [1.0, 2.0, 3.0]).sum().backward()
    np.testing.assert_array_equal(x.grad, [[3, 1], [2, 0]])


def test_set_operations_are_not_frozen_into_a_compiled_step():
    compiled = tg.compile(lambda x: np.where(np.isin(tg.Tensor(x), OTHERS), 1.0, 0.0).data)
    for x in (SOME, SOME[::-1].copy(), SOME + 1):
        np.testing.assert_array_equal(compiled(x), np.isin(x, OTHERS))


T = tg.Tensor(P, requires_grad=True)


@pytest.mark.parametrize(
    "call, kind, message",
    [
        (lambda: np.linspace(T, 1, 3, dtype=int), TypeError, "np.linspace: dtype="),
        (lambda: np.logspace(T, 1, 3, dtype=int), TypeError, "np.logspace: dtype="),
        (lambda: np.linspace(T, 1, -3), ValueError, "-3"),
        (lambda: np.linspace(T, 1, tg.Tensor(3.5)), TypeError, "integer"),
        (lambda: np.linspace(T, 1j, 3), TypeError, "np.linspace is differentiated for real numbers only"),
        (lambda: np.linspace(T, np.ones(2), 3), ValueError, "broadcast"),
        (lambda: np.geomspace(T, 0.0, 3), ValueError, "geomspace: .* zero"),
        (lambda: np.polymul(T, [0, 1]), ValueError, r"polymul: .* leading zero.* np.convolve"),
        (lambda: np.polyadd(T, np.ones((2, 2))), ValueError, r"polyadd: .* one axis, got shape \(2, 2\)"),
        (lambda: np.polyder(T, -1), ValueError, "polyder: .* not negative, got -1"),
        (lambda: np.polyint(T, 2, [1, 2, 3]), ValueError, r"polyint: .* 2 constants, got 3"),
        (lambda: np.poly(tg.Tensor(np.eye(2))), ValueError, "poly: takes roots"),
        (lambda: np.polyfit(X, tg.Tensor(Y), 1, full=True), TypeError, "polyfit: full="),
        (lambda: np.polyfit(X, tg.Tensor(Y), 1, cov=True), TypeError, "polyfit: cov="),
        (lambda: np.polyfit(X, tg.Tensor(Y[:2]), 1), TypeError, r"polyfit: .* shapes \(5,\) and \(2,\)"),
        (lambda: np.polyfit(X, tg.Tensor(Y), -1), ValueError, "polyfit: .* not negative, got -1"),
        (lambda: np.polyfit(X, tg.Tensor(Y), [0, 2]), TypeError, "polyfit: deg="),
        (lambda: np.polydiv(T, T), TypeError, "polydiv has no gradient rule in tensorgrad; .*remainder"),
        (lambda: np.unique_values(T), TypeError, "unique_values has no gradient rule in tensorgrad; .*np.unique"),
        (lambda: np.isin(T, P, kind="other"), ValueError, "isin got"),
    ],
)
def test_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
