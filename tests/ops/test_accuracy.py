"""Values and gradients over the whole domain, against references of more digits; second order at kinks of the first."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tests.support import examples

L = np.longdouble


def value_and_slope(f, x):
    t = tg.Tensor(x, requires_grad=True)
    y = f(t)
    return y.data, tg.gradients(y, t, np.ones_like(y.data)).data


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def slope_of_sigmoid(x):
    return sigmoid(x) * sigmoid(-x)


def slope_of_gelu_tanh(x):
    u = np.sqrt(2 / L(np.pi)) * (x + L("0.044715") * x**3)
    slope = np.sqrt(2 / L(np.pi)) * (1 + 3 * L("0.044715") * x**2)
    return sigmoid(2 * u) + 2 * x * slope_of_sigmoid(2 * u) * slope


CURVES = {
    "sigmoid": (tg.sigmoid, sigmoid, slope_of_sigmoid),
    "tanh": (np.tanh, np.tanh, lambda x: 4 * slope_of_sigmoid(2 * x)),
    "softplus": (tg.softplus, lambda x: np.log1p(np.exp(-abs(x))) + np.maximum(x, 0), sigmoid),
    "log sigmoid": (
        lambda x: -tg.softplus(-x),
        lambda x: -np.log1p(np.exp(-abs(x))) + np.minimum(x, 0),
        lambda x: sigmoid(-x),
    ),
    "silu": (tg.silu, lambda x: x * sigmoid(x), lambda x: sigmoid(x) + x * slope_of_sigmoid(x)),
    "softsign": (tg.softsign, lambda x: x / (1 + abs(x)), lambda x: 1 / (1 + abs(x)) ** 2),
    "gelu by tanh": (
        lambda x: tg.gelu(x, approximate="tanh"),
        lambda x: x * sigmoid(2 * np.sqrt(2 / L(np.pi)) * (x + L("0.044715") * x**3)),
        slope_of_gelu_tanh,
    ),
    "arctan": (np.arctan, np.arctan, lambda x: 1 / (1 + x * x)),
    "log1p of exp": (lambda x: np.logaddexp(x, 0), lambda x: np.log1p(np.exp(-abs(x))) + np.maximum(x, 0), sigmoid),
}


@pytest.mark.parametrize("name", CURVES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_curves_keep_their_digits_in_the_tails(name, dtype):
    f, value, slope = CURVES[name]
    limits = np.finfo(dtype)
    x = np.concatenate([[0], sign_pairs(np.geomspace(1e-3, {2: 8, 4: 80, 8: 300}[limits.dtype.itemsize], 60))]).astype(
        dtype
    )
    found = value_and_slope(f, x)
    with np.errstate(over="ignore"):
        references = value(x.astype(L)), slope(x.astype(L))
    for got, reference in zip(found, references):
        assert got.dtype == dtype
        # where the curve crosses 0 an absolute error remains, as it does in x itself
        scale = np.maximum(np.abs(reference), np.abs(x).astype(L) * float(limits.eps) * (abs(reference) > limits.eps))
        representable = np.abs(reference) > float(limits.tiny) * 64
        error = np.abs(got.astype(L) - reference)[representable] / scale[representable]
        assert error.max() < 1000 * float(limits.eps) * (1 if dtype != np.float16 else 4), (
            name,
            x[representable][error.argmax()],
        )


def sign_pairs(x):
    return np.concatenate([-x[::-1], x])


WIDE = {
    "logsumexp": (lambda x: tg.logsumexp(x), lambda x: np.log(np.exp(x - x.max()).sum()) + x.max()),
    "softmax": (lambda x: tg.softmax(x), lambda x: np.exp(x - x.max()) / np.exp(x - x.max()).sum()),
    "log_softmax": (lambda x: tg.log_softmax(x), lambda x: x - x.max() - np.log(np.exp(x - x.max()).sum())),
    "mean": (np.mean, np.mean),
    "cross-entropy": (
        lambda x: tg.softmax_cross_entropy(x[None], np.array([3])),
        lambda x: np.log(np.exp(x - x.max()).sum()) + x.max() - x[3],
    ),
}


@pytest.mark.parametrize("name", WIDE)
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_wide_axes_in_half_and_single_precision(name, dtype):
    f, reference = WIDE[name]
    x = (np.random.default_rng(0).standard_normal(70_000) * 0.5).astype(dtype)
    found, slope = value_and_slope(f, x)
    expected, exact = value_and_slope(f, x.astype(np.float64))
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(expected, reference(x.astype(np.float64)), rtol=1e-12)
    np.testing.assert_allclose(found.astype(float), expected, rtol=4 * eps, atol=eps / 100)
    if name != "softmax":  # whose gradient, for ones, is 0
        np.testing.assert_allclose(slope.astype(float), exact, rtol=40 * eps, atol=20 * eps)


MAGNITUDES = st.lists(
    st.one_of(st.just(0.0), st.floats(-300, 300).map(lambda e: 10.0**e), st.floats(-2, 2)), min_size=1, max_size=9
)


@settings(max_examples=examples(200), deadline=None)
@given(MAGNITUDES, st.sampled_from([np.float32, np.float64]))
def test_the_gradient_of_a_product_is_exact_for_zeros_and_any_magnitudes(values, dtype):
    with np.errstate(all="ignore"):
        x = np.array(values).astype(dtype)
        x = x[np.isfinite(x)]
        found = tg.grad(np.prod)(x) if x.size else x
    for k, part in enumerate(found):
        exact = Fraction(1)
        for i, factor in enumerate(x.tolist()):
            exact *= 1 if i == k else Fraction(factor)
        limits = np.finfo(dtype)
        if exact == 0:
            assert part == 0
        elif abs(exact) > Fraction(float(limits.max)):
            assert np.isinf(part) or abs(part) > 0.99 * float(limits.max)
        elif abs(exact) > Fraction(float(limits.tiny)):
            assert abs(Fraction(float(part)) / exact - 1) < 20 * Fraction(float(limits.eps))


def test_products_with_zeros_at_second_order():
    x = np.array([1e13, 0, 0, 1e13, 2.0], np.float32)
    hessian = tg.hessian(np.prod)(x)
    expected = np.zeros((5, 5))
    expected[1, 2] = expected[2, 1] = 2e26
    np.testing.assert_allclose(hessian, expected, rtol=1e-6)


@pytest.mark.parametrize("exponent", [-8, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 3.0, 2.5])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_whole_powers(exponent, dtype):
    x = sign_pairs(np.geomspace(0.05, 3, 50)).astype(dtype)
    x = np.abs(x) if exponent == 2.5 else x
    with np.errstate(all="ignore"):
        for f in (lambda t: t**exponent, lambda t: np.power(t, exponent)):
            found, slope = value_and_slope(f, x)
            for got, reference in ((found, x.astype(L) ** exponent), (slope, exponent * x.astype(L) ** (exponent - 1))):
                fits = (np.abs(reference) < float(np.finfo(dtype).max)) & (
                    np.abs(reference) > float(np.finfo(dtype).tiny)
                )
                error = np.abs(got.astype(L) / np.where(reference == 0, 1, reference) - 1)[fits]
                assert got.dtype == dtype and (not error.size or error.max() < 5 * float(np.finfo(dtype).eps))


SMOOTH = {
    "norm ** 2": (lambda x: np.linalg.norm(x) ** 2, 2 * np.eye(2)),
    "norm * norm": (lambda x: np.linalg.norm(x) * np.linalg.norm(x), 2 * np.eye(2)),
    "square of a norm": (lambda x: 3 * np.square(np.linalg.norm(x)), 6 * np.eye(2)),
    "power of a norm": (lambda x: np.power(np.linalg.norm(x), 2.0) / 2, np.eye(2)),
    "norm ** 4": (lambda x: np.linalg.norm(x) ** 4, np.zeros((2, 2))),
    "norms of rows": (lambda x: (np.linalg.norm(x.reshape(1, 2), axis=1) ** 2).sum(), 2 * np.eye(2)),
    "abs ** 2": (lambda x: (np.abs(x) ** 2).sum(), 2 * np.eye(2)),
    "mean of abs * abs": (lambda x: np.mean(np.abs(x) * np.abs(x)), np.eye(2)),
    "fabs ** 2": (lambda x: (np.fabs(x) ** 2).sum(), 2 * np.eye(2)),
    "hypot ** 2": (lambda x: np.hypot(x[0], x[1]) ** 2, 2 * np.eye(2)),
    "std ** 2": (lambda x: np.std(x) ** 2, np.array([[0.5, -0.5], [-0.5, 0.5]])),
    "exp(-norm ** 2)": (lambda x: np.exp(-(np.linalg.norm(x) ** 2)), -2 * np.eye(2)),
    "modulus ** 2": (lambda x: (np.abs(x * (1 + 1j)) ** 2).sum(), 4 * np.eye(2)),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_squares_of_what_has_a_kink_are_smooth(name):
    f, expected = SMOOTH[name]
    zero = np.zeros(2)
    np.testing.assert_allclose(tg.hessian(f)(zero), expected, atol=1e-12)
    np.testing.assert_allclose(tg.compile(tg.hessian(f), pure=True)(zero), expected, atol=1e-12)
    tg.gradcheck(f, [np.array([0.3, -0.4])], order=2)


def test_a_distance_squared_has_a_mixed_derivative():
    mixed = tg.jacobian(lambda b: tg.grad(lambda a: np.exp(-np.linalg.norm(a - b) * np.linalg.norm(a - b)))(np.ones(2)))
    np.testing.assert_allclose(mixed(np.ones(2)), 2 * np.eye(2), atol=1e-12)


ELEMENTWISE = {
    "log of cos": lambda a: a * np.log(np.cos(a)),
    "sqrt": lambda a: np.sqrt(a - 7.5),
    "quotient": lambda a: a / (a - 7),
    "several outputs": lambda a: np.concatenate([np.log(a - 7.5), 2 * a, np.sqrt(a)]),
    "sums of rows": lambda a: np.log(a[:, None] * np.ones((3, 2)) - 7.5).sum(axis=1),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_rows_of_a_jacobian_without_part_in_what_is_not_a_number_are_numbers(name):
    f = ELEMENTWISE[name]
    with np.errstate(all="ignore"):
        jacobian = tg.jacobian(f)(np.array([6.0, 7.0, 8.0]))
        each = np.stack([tg.grad(lambda a, i=i: f(a)[i], 0)(np.array([6.0, 7.0, 8.0])) for i in range(len(jacobian))])
    off_diagonal = ~np.tile(np.eye(3, dtype=bool), (len(jacobian) // 3, 1))
    assert (jacobian[off_diagonal] == 0).all()
    np.testing.assert_allclose(jacobian[~off_diagonal], each[~off_diagonal])


INDEXED = {
    "getitem": lambda w, y: w[y],
    "take": lambda w, y: np.take(w, y, axis=0),
    "take_along_axis": lambda w, y: np.take_along_axis(w, y[:, None], 1),
    "cross-entropy": lambda w, y: tg.softmax_cross_entropy(w, y),
    "smoothed cross-entropy": lambda w, y: tg.softmax_cross_entropy(w, y, 0.1),
    "labels as a Tensor": lambda w, y: tg.softmax_cross_entropy(w, tg.Tensor(y)),
    "embedding": lambda w, y: tg.embedding(y, w),
    "choose": lambda w, y: np.choose(y, w[:, :3]),
}


@pytest.mark.parametrize("name", INDEXED)
@pytest.mark.parametrize("dtype", [">i8", ">i4", ">i2", ">u2", "<i8", "<u4"])
def test_integers_of_any_byte_order(name, dtype):
    gradients = []
    for labels in (np.array([2, 0, 1]), np.array([2, 0, 1], dtype)):
        w = tg.Tensor(np.arange(12.0).reshape(3, 4), requires_grad=True)
        gradients.append(tg.gradients(INDEXED[name](w, labels).sum(), w).data)
    np.testing.assert_array_equal(*gradients)


@pytest.mark.parametrize("dtype", [">f2", ">f4", ">f8", ">c8", ">c16"])
def test_floats_of_the_other_byte_order(dtype):
    array = np.arange(1, 7).reshape(2, 3).astype(dtype)
    tensor = tg.Tensor(array, requires_grad=True)
    assert tensor.dtype.isnative and tensor.dtype == array.dtype.newbyteorder("=")
    np.abs(np.exp(tensor * 0.1) @ array.T).sum().backward()
    assert tensor.grad.dtype == tensor.dtype and np.isfinite(tensor.grad).all()
