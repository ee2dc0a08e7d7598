"""Reductions, scans and statistics: awkward calls, kinks, and what is refused."""

import warnings
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.autodiff import gradients
from tensorgrad.ops.reductions import logsumexp
from tensorgrad.testing import check_call

RNG = np.random.default_rng(0)
A = RNG.permutation(np.linspace(-2, 2, 12)).reshape(3, 4)
B = RNG.permutation(np.linspace(0.5, 2, 24)).reshape(2, 3, 4)
V = np.array([3.0, -1.0, 2.0, 0.5, 1.25])
FORTRAN = np.asfortranarray(A)
STRIDED = np.repeat(A, 2, axis=1)[:, ::2]
MASK = A > -1
COLUMN = np.array([[True], [False], [True]])
NANS = np.where(np.abs(A) > 1.5, np.nan, A)
NANS[:, 0] = np.array([0.3, -0.45, 0.7])
NONE_LEFT = np.array([[np.nan, np.nan], [1.0, 2.0]])
ZERO_D = np.array(1.5)
EMPTY = np.zeros((0, 3))
EMPTY_LAST = np.zeros((2, 0))

FORMS = [
    *[(x, {}) for x in (A, B, V, FORTRAN, STRIDED, ZERO_D, A[::-1, ::2], np.ones((1, 1, 1)))],
    *[(B, {"axis": axis}) for axis in (0, -1, (0, 2), (-1, 0), (2, 1, 0), (), np.int64(1))],
    *[(B, {"axis": axis, "keepdims": True}) for axis in (None, 1, (0, -1), ())],
]
MASKED_FORMS = [
    (A, {"where": MASK}),
    (A, {"where": MASK.tolist(), "axis": 1}),
    (A, {"where": COLUMN, "axis": 0, "keepdims": True}),
    (A, {"where": MASK[0], "axis": (1,)}),
    (A, {"where": True, "axis": 0}),
    (A, {"where": np.True_}),
    (FORTRAN, {"where": MASK, "axis": -1}),
]


def forms_of(*functions):
    calls = []
    for function in functions:
        extreme = function.__name__ in ("max", "min", "amax", "amin", "nanmax", "nanmin")
        initial = {"initial": 0.123} if extreme else {}
        calls += [(function, (x,), keywords) for x, keywords in FORMS]
        calls += [(function, (x,), {**keywords, **initial}) for x, keywords in MASKED_FORMS]
    return calls


def call_id(call):
    function, args, keywords = call
    shapes = ",".join(str(np.shape(x)) if isinstance(x, np.ndarray) else repr(x) for x in args)
    given = ",".join(f"{k}={np.shape(v) if isinstance(v, np.ndarray) else v}" for k, v in keywords.items())
    return f"{function.__name__}-{shapes}-{given}".replace(" ", "").replace("\n", "")


CALLS = [
    *forms_of(np.sum, np.prod, np.mean, np.max, np.min, np.amax, np.amin, np.var, np.std),
    *forms_of(np.nansum, np.nanprod, np.nanmean, np.nanmax, np.nanmin, np.nanvar, np.nanstd),
    *[
        (function, (NANS,), keywords)
        for function in (np.nansum, np.nanprod, np.nanmean, np.nanmax, np.nanmin, np.nanvar, np.nanstd)
        for keywords in ({}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, 1)})
    ],
    *[(function, (NANS,), {"axis": 1}) for function in (np.nancumsum, np.nancumprod)],
    *[(function, (NANS,), {}) for function in (np.nancumsum, np.nancumprod)],
    *[
        (function, (NANS,), {"axis": axis, "where": ~np.isnan(NANS)})
        for function in (np.sum, np.prod, np.mean, np.var, np.std)
        for axis in (None, 1)
    ],
    (np.max, (NANS,), {"axis": 1, "where": ~np.isnan(NANS), "initial": -9.0}),
    # positional settings, in NumPy's order
    (np.sum, (A, 0, None, None, True), {}),
    (np.sum, (A, 0, np.float64, None, True, 2.5, MASK), {}),
    (np.sum, (), {"a": A, "axis": 1}),
    (np.prod, (A, 1, None, None, False, -2.0), {}),
    (np.mean, (A, 1, None, None, True), {}),
    (np.max, (A, 1, None, True), {}),
    (np.max, (A, 1, None, False, 0.123, MASK), {}),
    (np.min, (A,), {"axis": 0, "initial": -5.0}),
    (np.var, (A, 1, None, None, 1, True), {}),
    (np.nansum, (NANS, 1, None, None, True), {}),
    (np.nanmax, (NANS, 0, None, True), {}),
    # initial and dtype
    (np.sum, (A,), {"initial": 10}),
    (np.sum, (A,), {"initial": None}),
    (np.sum, (EMPTY,), {"initial": np.float32(2), "axis": 0}),
    (np.prod, (EMPTY,), {"initial": 3.0, "axis": 0}),
    (np.max, (EMPTY,), {"initial": -1.0, "axis": 0}),
    (np.max, (A,), {"initial": None}),
    (np.max, (A,), {"initial": -np.inf, "where": MASK}),
    (np.min, (A,), {"initial": np.inf, "where": COLUMN, "axis": 0}),
    (np.nanmax, (NANS,), {"initial": -np.inf, "where": COLUMN, "axis": 0}),
    (np.max, (A,), {"initial": 99.0}),
    (np.sum, (A,), {"dtype": "f8"}),
    (np.mean, (A,), {"dtype": np.float64, "axis": 0}),
    (np.prod, (A,), {"dtype": float, "axis": 1}),
    (np.var, (A,), {"dtype": np.float64, "axis": 1, "where": MASK}),
    (np.std, (A,), {"dtype": np.float64, "axis": 0, "ddof": 1}),
    (np.nanmean, (NANS,), {"dtype": np.float64, "axis": 0}),
    # zero-size arrays
    *[(f, (x,), {"axis": n}) for f in (np.sum, np.prod) for x in (EMPTY, EMPTY_LAST) for n in (None, 0, 1, -1)],
    *[(f, (EMPTY,), {"axis": 1}) for f in (np.mean, np.max, np.min, np.var, np.std, np.ptp, np.median)],
    *[(f, (EMPTY_LAST,), {}) for f in (np.cumsum, np.cumprod, np.nancumsum)],
    (np.cumprod, (EMPTY,), {"axis": 1}),
    (np.nansum, (EMPTY,), {}),
    # freedom
    (np.var, (A,), {"ddof": 1, "axis": 0}),
    (np.var, (A,), {"correction": 1, "axis": 0}),
    (np.std, (A,), {"correction": 0.5, "axis": 0}),
    (np.std, (A,), {"ddof": 2, "axis": (0, 1), "keepdims": True}),
    (np.nanvar, (NANS,), {"ddof": 1, "axis": 1}),
    (np.nanstd, (NANS,), {"correction": 1}),
    (np.var, (A,), {"axis": 0, "mean": A.mean(axis=0, keepdims=True)}),
    (np.var, (A,), {"axis": 1, "mean": A.sum(axis=1, keepdims=True), "ddof": 1}),
    (np.std, (A,), {"axis": 1, "mean": np.zeros((3, 1)), "keepdims": True}),
    (np.std, (A,), {"axis": 0, "mean": A[:1] + 0.7, "where": COLUMN}),
    (np.var, (A,), {"mean": 0.25}),
    (np.nanvar, (NANS,), {"mean": 0.25, "ddof": 1}),
    (np.nanstd, (NANS,), {"mean": 0.25, "where": COLUMN, "keepdims": True}),
    *[(f, (NANS,), {"axis": 1, "mean": 0.25, "where": ~np.isnan(NANS)}) for f in (np.var, np.std)],
    # zeros in products
    (np.prod, (np.array([0.0, 2.0, 3.0]),), {}),
    (np.prod, (np.array([0.0, 2.0, 0.0]),), {}),
    (np.prod, (np.zeros((3, 3)),), {"axis": 1}),
    (np.prod, (np.array([[0.0, 2.0], [0.0, 0.0], [1.0, -3.0]]),), {"axis": 0}),
    (np.prod, (np.array([0.0, 2.0, 0.0]),), {"where": np.array([True, True, False])}),
    (np.cumprod, (np.array([2.0, 0.0, 3.0, 0.0, 5.0]),), {}),
    (np.cumprod, (np.array([[0.0, 2.0], [0.0, 0.0], [1.0, -3.0]]),), {"axis": 0}),
    # spread
    *[(np.ptp, (x,), keywords) for x, keywords in FORMS],
    (np.ptp, (A, 1, None, True), {}),
    # scans
    *[(f, (x,), {}) for f in (np.cumsum, np.cumprod) for x in (A, B, V, ZERO_D, FORTRAN, STRIDED)],
    *[(f, (B,), {"axis": n}) for f in (np.cumsum, np.cumprod) for n in (0, 1, -1, -3)],
    *[(f, (A, 1, np.float64), {}) for f in (np.cumsum, np.cumprod, np.nancumsum, np.nancumprod)],
    *[(f, (np.ones((3, 1)),), {"axis": 1}) for f in (np.cumsum, np.cumprod)],
    # trace
    *[(np.trace, (A,), {"offset": n}) for n in (0, 1, -2, 3, 9)],
    (np.trace, (B,), {}),
    (np.trace, (B, 1, 2, 0), {}),
    (np.trace, (B,), {"axis1": -1, "axis2": 1, "offset": -1}),
    (np.trace, (B,), {"axis1": 0, "axis2": -1, "dtype": float}),
    (np.trace, (EMPTY,), {}),
    # logsumexp, here against itself on arrays
    *[(logsumexp, (x,), keywords) for x, keywords in FORMS],
    # averages
    *[(np.average, (x,), keywords) for x, keywords in FORMS],
    (np.average, (A,), {"weights": B[0]}),
    (np.average, (A, 1, B[0, 0]), {}),
    (np.average, (A,), {"axis": 0, "weights": [0.2, 0.3, 1]}),
    (np.average, (A,), {"axis": -1, "weights": B[0, 0], "keepdims": True}),
    (np.average, (A,), {"axis": 0, "weights": B[0, :, 0], "returned": True}),
    (np.average, (A,), {"axis": 1, "returned": True}),
    (np.average, (A, None, None, True), {}),
    (np.average, (B,), {"axis": (0, 2), "weights": B}),
    (np.average, (B,), {"axis": (2, 0), "weights": B[:, 0].T, "returned": True}),
    (np.average, ([[1, 2], [3, 4]],), {"axis": 0, "weights": np.array([0.25, 0.5])}),
    (np.average, (A.tolist(),), {"axis": 0, "weights": np.array([0.25, 0.5, 2.0])}),
    (np.average, (A,), {"axis": 0, "weights": np.array([1, 0, 2])}),
    # medians and quantiles
    *[(f, (x,), keywords) for f in (np.median, np.nanmedian) for x, keywords in FORMS],
    (np.median, (V, 0, None, False, True), {}),
    (np.median, (B,), {"axis": [0, 1]}),
    (np.nanmedian, (NANS,), {}),
    (np.nanmedian, (NANS,), {"axis": 0}),
    (np.nanmedian, (NANS,), {"axis": -1, "keepdims": True}),
    *[(f, (x, 0.3), keywords) for f in (np.quantile, np.nanquantile) for x, keywords in FORMS],
    *[(f, (x, 37), keywords) for f in (np.percentile, np.nanpercentile) for x, keywords in FORMS],
    *[
        (np.quantile, (V, q), {"method": method})
        for method in (
            *("inverted_cdf", "averaged_inverted_cdf", "closest_observation", "interpolated_inverted_cdf", "hazen"),
            *("weibull", "linear", "median_unbiased", "normal_unbiased", "lower", "higher", "midpoint", "nearest"),
        )
        for q in (0.0, 0.13, 0.4, 0.52, 0.97, 1.0)
    ],
    *[
        (np.nanquantile, (NANS, np.array([0.13, 0.62])), {"method": method, "axis": 1})
        for method in ("linear", "hazen", "weibull", "lower", "inverted_cdf")
    ],
    (np.quantile, (B, [0.1, 0.9]), {"axis": (0, 2)}),
    (np.quantile, (B, [[0.1], [0.9]]), {"axis": 1, "keepdims": True}),
    (np.quantile, (B, np.array([[0.15, 0.3], [0.42, 0.87]])), {"axis": 0}),
    (np.quantile, (B, np.array([[0.15, 0.3], [0.42, 0.87]])), {"axis": (-1, 0), "keepdims": True}),
    (np.quantile, (V, np.array(0.3)), {}),
    (np.quantile, (V, np.zeros(0)), {}),
    (np.quantile, (V, np.array([0.3, 0.3, 0.6])), {}),
    (np.quantile, ([1, 5, 2], np.array([0.3, 0.6])), {}),
    (np.quantile, (np.array([4, 1, 2]), np.array([0.3, 0.6])), {}),
    (np.quantile, (np.array([7.0]), np.array([0.3, 0.6])), {}),
    (np.quantile, (V, 0.3, None, None, False, "linear", True), {}),
    (np.percentile, (B, np.array([15.0, 61.0])), {"axis": 1}),
    (np.percentile, (B, [15, 61]), {"axis": (0, 1)}),
    (np.percentile, (B, (0, 50, 100)), {"axis": (0, 1), "method": "nearest"}),
    (np.nanquantile, (NANS, [0.1, 0.6]), {"axis": 0, "keepdims": True}),
    (np.nanpercentile, (NANS, np.array([10.0, 60.0])), {"axis": 1}),
    (np.nanpercentile, (NANS, 30), {"axis": (0, 1), "method": "median_unbiased"}),
    # covariances
    *[(f, (x,), {}) for f in (np.cov, np.corrcoef) for x in (A, FORTRAN, V, A[::-1, 1:])],
    *[(f, (A, B[0]), {}) for f in (np.cov, np.corrcoef)],
    *[(f, (V, V[::-1] ** 2), {}) for f in (np.cov, np.corrcoef)],
    *[(f, (A, B[0], False), {}) for f in (np.cov, np.corrcoef)],
    (np.cov, (A,), {"rowvar": False, "bias": True}),
    (np.cov, (A[:, :1],), {"rowvar": False, "y": B[0, :, 1:2]}),
    (np.cov, (np.array([[1.0, 2.0, 4.0]]),), {"rowvar": False, "bias": True}),
    (np.cov, (A,), {"ddof": 0}),
    (np.cov, (A,), {"ddof": 2, "bias": True}),
    (np.cov, (A,), {"fweights": [1, 2, 1, 3]}),
    (np.cov, (A,), {"aweights": np.array([0.2, 1.0, 0.7, 0.4])}),
    (np.cov, (A,), {"fweights": np.array([1, 2, 0, 3]), "aweights": np.array([0.2, 1.0, 0.7, 0.4])}),
    (np.cov, (A, A[0] ** 2), {"aweights": np.array([0.2, 1.0, 0.7, 0.4]), "ddof": 0}),
    (np.cov, (A,), {"dtype": np.float64}),
    (np.corrcoef, (A,), {"rowvar": False, "dtype": float}),
    (np.cov, (np.zeros((0, 3)),), {}),
]
if hasattr(np, "cumulative_sum"):
    CALLS += [
        (function, (x,), keywords)
        for function in (np.cumulative_sum, np.cumulative_prod)
        for x, keywords in (
            (V, {}),
            (V, {"include_initial": True}),
            (A, {"axis": 1, "include_initial": True}),
            (B, {"axis": -2, "include_initial": True, "dtype": float}),
            (B, {"axis": 0}),
        )
    ]


@pytest.mark.slow
@pytest.mark.parametrize("call", CALLS, ids=call_id)
def test_awkward_calls(call):
    function, args, keywords = call
    check_call(function, *args, **keywords)


# The same values as NumPy to the last bit, where NumPy does it in one call


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint16, np.int64, bool])
@pytest.mark.parametrize(
    "name",
    [
        *("sum", "prod", "mean", "var", "std", "max", "min", "any", "all", "count_nonzero", "median", "average"),
        *("nansum", "nanprod", "nanmean", "nanvar", "nanstd", "nanmax", "nanmin", "nanmedian", "cumsum", "cumprod"),
        *("nancumsum", "nancumprod", "argmax", "argmin", "nanargmax", "nanargmin", "trace", "cov", "corrcoef"),
    ],
)
def test_values_and_dtypes_are_those_of_numpy(name, dtype):
    function = getattr(np, name)
    x = (np.random.default_rng(1).random((40, 50)) * 3).astype(dtype)
    calls = [{}] if name in ("trace", "cov", "corrcoef") else [{}, {"axis": 0}, {"axis": -1}]
    if name in ("sum", "prod", "mean", "var", "std", "any", "all", "nansum", "nanprod", "nanmean", "nanvar"):
        calls += [{"where": np.arange(2000).reshape(40, 50) % 3 > 0, "axis": axis} for axis in (None, 0, 1)]
    if name in ("sum", "prod", "nansum", "nanprod"):
        calls += [{"initial": 3, "axis": 1}, {"dtype": np.float32}]
    if name in ("max", "min", "nanmax", "nanmin"):
        calls += [{"where": x > 1, "axis": 1, "initial": 1}]
    if name in ("mean", "var", "std"):
        calls += [{"dtype": np.float32, "axis": 1}]
    for keywords in calls:
        with np.errstate(all="ignore"):
            expected = function(x, **keywords)
            found = function(tg.Tensor(x), **keywords)
        assert isinstance(found, tg.Tensor)
        np.testing.assert_array_equal(found.data, expected, strict=isinstance(expected, np.ndarray))
        assert found.dtype == np.asarray(expected).dtype


@pytest.mark.parametrize("function", [np.ptp, np.quantile, np.percentile])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int16])
def test_values_of_spread_and_quantiles_are_those_of_numpy(function, dtype):
    x = (np.random.default_rng(1).random((40, 50)) * 90).astype(dtype)
    for args in [(None,), (0,), (1,)] if function is np.ptp else [(0.3,), ([0.2, 0.7],), (np.float64(0.3), 0), (1, 1)]:
        found, expected = function(tg.Tensor(x), *args), function(x, *args)
        np.testing.assert_array_equal(found.data, expected)
        assert found.dtype == np.asarray(expected).dtype


@pytest.mark.parametrize("function", [np.sum, np.prod, np.mean, np.max, np.var, np.std, np.any, np.nansum, np.nanmin])
def test_a_mask_may_be_a_tensor(function):
    initial = {"initial": -3.0} if function in (np.max, np.nanmin) else {}
    found = []
    for mask in (MASK, tg.Tensor(MASK), tg.Tensor(A) > -1):
        x = tg.Tensor(A, requires_grad=True)
        out = function(x, axis=1, where=mask, **initial)
        found.append([out.data, *(g.data for g in (gradients(out.sum(), [x]) if out.requires_grad else ()))])
    for other in found[1:]:
        for one, two in zip(found[0], other):
            np.testing.assert_array_equal(one, two)


def test_float32_in_another_dtype():
    x = tg.Tensor(A.astype(np.float32), requires_grad=True)
    for function in (np.sum, np.prod, np.mean, np.var, np.std, np.cumsum, np.cumprod, np.nansum, np.nanvar):
        out = function(x, axis=1, dtype=np.float64)
        assert out.dtype == np.float64
        (found,) = gradients(out.sum(), [x])
        wide = tg.Tensor(A, requires_grad=True)
        (expected,) = gradients(function(wide, axis=1).sum(), [wide])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found.data, expected.data, rtol=1e-5, atol=1e-6)


def test_the_input_is_never_overwritten():
    x = V.copy()
    for function, args in ((np.median, ()), (np.quantile, (0.3,)), (np.nanmedian, ()), (np.percentile, ([5, 50],))):
        function(tg.Tensor(x, requires_grad=True), *args, overwrite_input=True)
        np.testing.assert_array_equal(x, V)


@pytest.mark.parametrize("keywords", [{}, {"aweights": [0.2, 1.0, 0.7, 0.4]}, {"fweights": [1, 2, 3, 1]}])
def test_covariance_in_float32(keywords):
    x = A.astype(np.float32)
    found, expected = (np.cov(y, dtype=np.float32, **keywords) for y in (tg.Tensor(x), x))
    np.testing.assert_allclose(found.data, expected, rtol=1e-6)
    assert found.dtype == expected.dtype


def test_what_has_no_derivative():
    x = tg.Tensor(A, requires_grad=True)
    for name, keywords in [
        ("any", {}),
        ("all", {"axis": 0, "where": MASK}),
        ("any", {"axis": (0, 1), "keepdims": True}),
        ("argmax", {}),
        ("argmin", {"axis": -1, "keepdims": True}),
        ("nanargmax", {"axis": 0}),
        ("nanargmin", {"keepdims": True}),
        ("count_nonzero", {}),
        ("count_nonzero", {"axis": (0, 1), "keepdims": True}),
        ("count_nonzero", {"axis": ()}),
        ("sum", {"dtype": int}),
        ("cumsum", {"dtype": np.int32, "axis": 0}),
    ]:
        out = getattr(np, name)(x, **keywords)
        assert isinstance(out, tg.Tensor) and not out.requires_grad
        expected = getattr(np, name)(A, **keywords)
        np.testing.assert_array_equal(out.data, expected)
        assert out.dtype == np.asarray(expected).dtype


# Kinks and poles: chosen values, written down

NAN, INF = np.nan, np.inf
KINKS = {
    "ptp, ties on both sides": (np.ptp, [3.0, 1.0, 3.0, 1.0], [0.5, -0.5, 0.5, -0.5]),
    "ptp of a constant": (np.ptp, [2.0, 2.0], [0.0, 0.0]),
    "max of nothing larger than initial": (lambda x: np.max(x, initial=5.0), [1.0, 2.0], [0.0, 0.0]),
    "max, a tie with initial": (lambda x: np.max(x, initial=2.0), [1.0, 2.0], [0.0, 0.5]),
    "min, ties under a mask": (
        lambda x: np.min(x, initial=9.0, where=[True, True, False, True]),
        [1.0, 1.0, 1.0, 4.0],
        [0.5, 0.5, 0.0, 0.0],
    ),
    "max of infinities": (np.max, [INF, INF, 0.0], [0.5, 0.5, 0.0]),
    "nanmax, ties": (np.nanmax, [NAN, 2.0, 2.0, 1.0], [0.0, 0.5, 0.5, 0.0]),
    "std of a constant": (np.std, [3.0, 3.0, 3.0], [0.0, 0.0, 0.0]),
    "std of a constant that rounding changes": (np.std, [0.1, 0.1, 0.1], [0.0, 0.0, 0.0]),
    "std of a masked constant": (
        lambda x: np.std(x, where=[True, True, True, False]),
        [0.1, 0.1, 0.1, 2.0],
        [0.0, 0.0, 0.0, 0.0],
    ),
    "std of one element": (np.std, [3.0], [0.0]),
    "std of a number": (np.std, 3.0, 0.0),
    "std about a mean": (lambda x: np.std(x, mean=3.0), [3.0, 3.0], [0.0, 0.0]),
    "nanstd of a constant": (np.nanstd, [0.1, NAN, 0.1, 0.1], [0.0, 0.0, 0.0, 0.0]),
    "prod, one zero": (np.prod, [0.0, 2.0, 3.0], [6.0, 0.0, 0.0]),
    "prod, two zeros": (np.prod, [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]),
    "prod of a zero": (np.prod, [0.0], [1.0]),
    "cumprod, zeros": (np.cumprod, [2.0, 0.0, 3.0, 0.0], [1.0, 8.0, 0.0, 0.0]),
    "nanprod, a zero": (np.nanprod, [0.0, NAN, 3.0], [3.0, 0.0, 0.0]),
    "median, odd": (np.median, [3.0, 1.0, 2.0], [0.0, 0.0, 1.0]),
    "median, even": (np.median, [3.0, 1.0, 2.0, 9.0], [0.5, 0.0, 0.5, 0.0]),
    "median, ties": (np.median, [2.0, 2.0, 1.0, 3.0, 2.0], [1 / 3, 1 / 3, 0.0, 0.0, 1 / 3]),
    "median, even with ties": (np.median, [2.0, 2.0, 1.0, 3.0], [0.5, 0.5, 0.0, 0.0]),
    "quantile 1, ties": (lambda x: np.quantile(x, 1.0), [2.0, 2.0, 1.0], [0.5, 0.5, 0.0]),
    "level at an element": (lambda q: np.quantile([1.0, 2.0, 6.0], q), 0.5, 5.0),
    "level at the ends": (lambda q: np.quantile([1.0, 2.0, 6.0], q), [0.0, 1.0], [2.0, 8.0]),
    "level that is cut off": (lambda q: np.quantile([1.0, 2.0, 6.0], q, method="weibull"), [0.1, 0.9], [0.0, 0.0]),
    "level of a method that jumps": (lambda q: np.quantile([1.0, 2.0], q, method="lower"), 0.3, 0.0),
    "nanmedian, even": (np.nanmedian, [3.0, NAN, 2.0], [0.5, 0.0, 0.5]),
    "logsumexp of nothing but -inf": (logsumexp, [-INF, -INF], [0.0, 0.0]),
    "logsumexp with -inf": (logsumexp, [-INF, 0.0], [0.0, 1.0]),
    "logsumexp with +inf": (logsumexp, [INF, 0.0, -INF], [1.0, 0.0, 0.0]),
    "logsumexp of huge values": (logsumexp, [1e300, 1e300, -1e300], [0.5, 0.5, 0.0]),
    "logsumexp where rounding is large": (logsumexp, [1e17, 1e17], [0.5, 0.5]),
    "sum of nothing": (lambda x: np.sum(x, where=False), [1.0, 2.0], [0.0, 0.0]),
}


@pytest.mark.parametrize("name", KINKS)
def test_kinks(name):
    function, values, expected = KINKS[name]
    x = tg.Tensor(np.array(values), requires_grad=True)
    with quiet():
        out = function(x)
        (first,) = gradients(out.sum(), [x], create_graph=True)
        np.testing.assert_allclose(first.data, expected, rtol=1e-12, atol=1e-15)
        if first.requires_grad:
            (second,) = gradients((first * first).sum(), [x])
            assert np.isfinite(second.data).all()


@contextmanager
def quiet():
    """Rules divide by nothing at a kink: warnings stay errors, except NumPy's own of the forward pass."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Degrees of freedom|Mean of empty|All-NaN")
        yield


@pytest.mark.parametrize("values", [[0.0, 2.0, 3.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0]])
def test_second_derivatives_of_products_with_zeros(values):
    x = tg.Tensor(values, requires_grad=True)
    (first,) = gradients(np.prod(x), [x], create_graph=True)
    for i in range(len(values)):
        (row,) = gradients(first[i], [x], retain_graph=True)
        for j in range(len(values)):
            others = [value for k, value in enumerate(values) if k not in (i, j)]
            assert row.data[j] == (0 if i == j else np.prod(others))


def test_slices_with_nothing_in_them():
    x = tg.Tensor(NONE_LEFT, requires_grad=True)
    for function in (np.nanmean, np.nanmax, np.nanmin, np.nanmedian, np.nanvar, np.nanstd):
        with quiet():
            expected = function(NONE_LEFT, axis=1)
            out = function(x, axis=1)
        np.testing.assert_array_equal(out.data, expected)
        (gradient,) = gradients(out, [x], np.ones(2))
        np.testing.assert_array_equal(gradient.data[0], [0, 0])
        assert np.isfinite(gradient.data).all()
    with quiet():
        out = np.nanquantile(x, [0.1, 0.6], axis=1)
    (gradient,) = gradients(out, [x], np.ones((2, 2)))
    np.testing.assert_allclose(gradient.data, [[0, 0], [1.3, 0.7]])


@pytest.mark.parametrize("function", [np.var, np.std])
def test_more_constraints_than_elements(function):
    for values, ddof in (([1.0, 2.0], 2), ([1.0, 2.0], 5), ([3.0], 1)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = function(values, ddof=ddof)
            x = tg.Tensor(values, requires_grad=True)
            out = function(x, ddof=ddof)
            np.testing.assert_array_equal(out.data, expected)
            (gradient,) = gradients(out, [x])
        assert not np.isfinite(gradient.data).any()


def test_mean_of_float16():
    x = np.full(4096, 100, np.float16)  # the sum would be infinite in float16
    tensor = tg.Tensor(x, requires_grad=True)
    out = tensor.mean()
    assert out.dtype == np.float16 and out.item() == 100
    out.backward()
    np.testing.assert_array_equal(tensor.grad, np.full(4096, 1 / 4096, np.float16))


def test_logsumexp_is_the_logarithm_of_the_sum():
    for axis in (None, 0, -1, (0, 2), ()):
        np.testing.assert_allclose(logsumexp(B, axis=axis), np.log(np.exp(B).sum(axis=axis)))
    np.testing.assert_allclose(logsumexp(np.array([1000.0, 1000.0])), 1000 + np.log(2))
    assert logsumexp(np.zeros((0,))) == -np.inf
    assert logsumexp(np.array([[-np.inf, -np.inf]]), axis=1, keepdims=True).tolist() == [[-np.inf]]
    assert logsumexp(tg.Tensor(np.ones(2, np.float16))).dtype == np.float16
    assert np.isnan(logsumexp(np.array([np.nan, 0.0])))
    empty = tg.Tensor(np.zeros((2, 0)), requires_grad=True)
    out = logsumexp(empty, axis=1)
    assert out.data.tolist() == [-np.inf, -np.inf]
    assert gradients(out.sum(), [empty])[0].shape == (2, 0)


def test_zero_size_results_can_be_differentiated_twice():
    for function in (np.median, lambda x, axis: np.quantile(x, 0.5, axis=axis), np.std, np.prod, np.cumprod):
        x = tg.Tensor(EMPTY, requires_grad=True)
        out = function(x, axis=1)
        (gradient,) = gradients(out.sum(), [x], create_graph=True)
        assert gradient.shape == x.shape


def test_masked_reductions_compile():
    @partial(tg.compile, pure=True)
    def step(x, mask):
        x = tg.Tensor(x, requires_grad=True)
        out = np.sum(x * x, axis=1, where=mask) + np.std(x, axis=1) + np.max(x, axis=1, initial=0, where=mask)
        out = out + np.median(x, axis=1) + np.nanmean(x, axis=1) + np.prod(x, axis=1) + np.cumsum(x, axis=1)[:, -1]
        return out, *gradients(out.sum(), [x])

    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, mask = rng.standard_normal((3, 4)), rng.random((3, 4)) > 0.5
        found = step(x, mask)
        tensor = tg.Tensor(x, requires_grad=True)
        out = np.sum(tensor * tensor, axis=1, where=mask) + np.std(tensor, axis=1)
        out = out + np.max(tensor, axis=1, initial=0, where=mask) + np.median(tensor, axis=1)
        out = out + np.nanmean(tensor, axis=1) + np.prod(tensor, axis=1) + np.cumsum(tensor, axis=1)[:, -1]
        np.testing.assert_allclose(found[0].data, out.data, rtol=1e-12)
        np.testing.assert_allclose(found[1].data, gradients(out.sum(), [tensor])[0].data, rtol=1e-12)


# What is refused

REFUSED = [
    (lambda x: np.sum(x, out=np.zeros(())), TypeError, r"np\.sum: out="),
    (lambda x: np.sum(x, initial=tg.Tensor(1.0, requires_grad=True)), TypeError, r"np\.sum: initial="),
    (lambda x: np.max(x, 0, np.zeros(())), TypeError, r"np\.max: out="),
    (lambda x: np.ptp(x, out=np.zeros(())), TypeError, r"np\.ptp: out="),
    (lambda x: np.cumsum(x, out=np.zeros(3)), TypeError, r"np\.cumsum: out="),
    (lambda x: np.nancumprod(x, out=np.zeros(3)), TypeError, r"np\.nancumprod: out="),
    (lambda x: np.median(x, out=np.zeros(())), TypeError, r"np\.median: out="),
    (lambda x: np.quantile(x, 0.5, method="inverted_cdf", weights=[1, 1, 1]), TypeError, r"np\.quantile: weights="),
    (lambda x: np.nanpercentile(x, 5, method="inverted_cdf", weights=x), TypeError, r"np\.nanpercentile: weights="),
    (lambda x: np.quantile(x, 1.5), ValueError, "quantile got"),
    (lambda x: np.quantile(x, 0.5, method="best"), ValueError, "quantile got"),
    (lambda x: np.sum(x, axis=3), (ValueError, IndexError), "sum got"),
    (lambda x: np.prod(x, axis=(0, 0)), ValueError, "prod got"),
    (lambda x: np.max(x, where=[True, False, True]), ValueError, "masked_max got"),
    (lambda x: np.sum(x, where=[1, 0, 1]), TypeError, "masked_sum got"),
    (lambda x: np.sum(x, where=np.ones((2, 3), bool)), ValueError, "masked_sum got"),
    (lambda x: np.max(x[:0]), ValueError, "max got"),
    (lambda x: np.var(x, ddof=1, correction=1), ValueError, "ddof= and correction="),
    (lambda x: np.trace(x), ValueError, "trace got"),
    (lambda x: np.average(x, weights=[1, 0, -1]), ZeroDivisionError, "sum to zero"),
    (lambda x: np.average(x, weights=[1, 0]), TypeError, "axis="),
    (lambda x: np.average(x, axis=0, weights=[1, 0]), ValueError, "np.average"),
    (lambda x: np.cov(x, ddof=0.5), ValueError, "ddof"),
    (lambda x: np.cov(x, fweights=[0.5, 1, 1]), TypeError, "fweights"),
    (lambda x: np.cov(x, aweights=[-0.5, 1, 1]), ValueError, "aweights"),
    (lambda x: np.cov(x, aweights=[1, 1]), RuntimeError, "aweights"),
    (lambda x: np.cov(x.reshape(1, 1, 3)), ValueError, "at most 2 axes"),
    (lambda x: np.histogram(x), TypeError, "np.histogram"),
]


@pytest.mark.parametrize("call, error, message", REFUSED)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(tg.Tensor([1.0, 2.0, 3.0], requires_grad=True))
