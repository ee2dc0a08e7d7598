"""Values and gradients over the whole domain of a function, in each precision, against a wider one."""

from fractions import Fraction
from math import erfc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorgrad as tg

DTYPES = (np.float16, np.float32, np.float64)
WIDE = np.longdouble
HAS_WIDER = np.finfo(WIDE).eps < np.finfo(np.float64).eps

np_erfc = np.vectorize(erfc, otypes=[np.float64])


def everywhere(dtype, low=-1.0, high=1.0):
    """Numbers of every size from the smallest to the largest, scaled by ``low`` and ``high``; 0 and 1 among them."""
    limits = np.finfo(dtype)
    sizes = np.concatenate(
        [
            np.logspace(np.log10(limits.tiny), np.log10(limits.max) - 0.1, 60),
            np.linspace(0, 8, 33),
            np.linspace(9, 800, 60),
        ]
    )
    sizes = sizes[sizes < limits.max]
    numbers = np.concatenate([sizes * part for part in (low, high) if part])
    return np.unique(numbers.astype(dtype))


def sigmoid(x):
    power = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, power) / (1 + power)


def sigmoid_slope(x):
    power = np.exp(-np.abs(x))
    return power / (1 + power) ** 2


def sech(x):
    return 2 * np.exp(-np.abs(x)) / (1 + np.exp(-2 * np.abs(x)))


def bell(x):
    return np.exp(-(np.minimum(np.abs(x), 200) ** 2) / 2) / np.sqrt(2 * np.pi)


def inner(x):
    """What stands in the tanh of the approximate gelu, doubled, and its derivative."""
    x = np.clip(x, -300, 300)
    root = np.sqrt(WIDE(8) / WIDE(np.pi))
    return root * (x + WIDE(0.044715) * x**3), root * (1 + 3 * WIDE(0.044715) * x**2)


# function, value and derivative in a wider precision, the signs of its arguments, and what cancels in the derivative
ELEMENTWISE = {
    "sigmoid": (tg.sigmoid, sigmoid, sigmoid_slope),
    "tanh": (np.tanh, np.tanh, lambda x: sech(x) ** 2),
    "softplus": (tg.softplus, lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))), sigmoid),
    "softsign": (tg.softsign, lambda x: x / (1 + np.abs(x)), lambda x: (1 / (1 + np.abs(x))) ** 2),
    "elu": (tg.elu, lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), lambda x: np.exp(np.minimum(x, 0))),
    "silu": (
        tg.silu,
        lambda x: x * sigmoid(x),
        lambda x: sigmoid(x) + x * sigmoid_slope(x),
        lambda x: np.abs(x) * sigmoid_slope(x),
    ),
    "gelu of tanh": (
        lambda x: tg.gelu(x, approximate="tanh"),
        lambda x: x * sigmoid(inner(x)[0]),
        lambda x: sigmoid(inner(x)[0]) + x * sigmoid_slope(inner(x)[0]) * inner(x)[1],
        lambda x: (1 + x * x) ** 2 * sigmoid(inner(x)[0]),
    ),
    "expm1": (np.expm1, np.expm1, np.exp),
    "exp": (np.exp, np.exp, np.exp),
    "arctan": (np.arctan, np.arctan, lambda x: 1 / (1 + x * x)),
    "arcsinh": (np.arcsinh, np.arcsinh, lambda x: 1 / np.hypot(x, 1)),
    "cbrt": (np.cbrt, np.cbrt, lambda x: 1 / (3 * np.cbrt(x) ** 2)),
    "logaddexp": (lambda x: np.logaddexp(x, 0), lambda x: np.logaddexp(x, 0), sigmoid),
    "logaddexp2": (
        lambda x: np.logaddexp2(0, x),
        lambda x: np.logaddexp2(0, x),
        lambda x: sigmoid(x * np.log(WIDE(2))),
    ),
}
POSITIVE = {
    "sqrt": (np.sqrt, np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "log": (np.log, np.log, lambda x: 1 / x),
    "log1p": (np.log1p, np.log1p, lambda x: 1 / (1 + x)),
    "log2": (np.log2, np.log2, lambda x: 1 / (x * np.log(WIDE(2)))),
    "reciprocal": (lambda x: 1 / x, lambda x: 1 / x, lambda x: -1 / x / x),
    "cube": (lambda x: x**3, lambda x: x * x * x, lambda x: 3 * x * x),
    "inverse square": (lambda x: x**-2, lambda x: 1 / x / x, lambda x: -2 / x / x / x),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ELEMENTWISE, *POSITIVE])
def test_elementwise_functions_are_accurate_over_their_whole_domain(name, dtype):
    function, value, derivative, *cancelled = (ELEMENTWISE | POSITIVE)[name]
    if dtype is np.float64 and not HAS_WIDER:
        pytest.skip("needs a long double that is wider than double")
    x = everywhere(dtype, low=0 if name in POSITIVE else -1)
    x = x[x > 0] if name in POSITIVE else x
    with np.errstate(all="ignore"):
        out = tg.Tensor(x, requires_grad=True)
        got = function(out)
        got.backward(np.ones_like(x))
        wide = x.astype(WIDE)
        scale = cancelled[0](wide) if cancelled else 0
        gated = np.abs(wide) * np.finfo(dtype).tiny if cancelled else 0  # the gate may be subnormal
        assert_accurate(got.numpy(), value(wide), dtype, gated)
        assert_accurate(out.grad, derivative(wide), dtype, scale + gated)


def assert_accurate(got, wanted, dtype, scale=0, units=32):
    """Within some units in the last place of ``wanted`` or ``scale``, or of the smallest normal number."""
    assert got.dtype == dtype
    limits = np.finfo(dtype)
    rounded = wanted.astype(dtype)
    allowed = units * limits.eps * (np.abs(wanted) + scale) + units * limits.smallest_subnormal
    wrong = ~((got == rounded) | (np.abs(got - wanted) <= allowed) | (np.isnan(got) & np.isnan(rounded)))
    near_the_top = (np.abs(wanted) > limits.max * 0.99) & ~np.isfinite(got)
    wrong &= ~near_the_top
    assert not wrong.any(), (np.argwhere(wrong)[:3], got[wrong][:3], wanted[wrong][:3])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_error_function_keeps_its_tails(dtype):
    x = everywhere(dtype)
    x = x[np.abs(x) < 30]
    wide = x.astype(np.float64)
    cdf = 0.5 * np_erfc(-wide * np.sqrt(0.5))
    variable = tg.Tensor(x, requires_grad=True)
    out = tg.gelu(variable)
    out.backward(np.ones_like(x))
    assert_accurate(out.numpy(), wide * cdf, dtype, units=128)
    assert_accurate(variable.grad, cdf + wide * bell(wide), dtype, np.abs(wide) * bell(wide), units=128)


# Reductions over wide axes and numbers of every size

MANY = 70_000
X = np.random.default_rng(0).standard_normal(MANY)


def softmax(x):
    powers = np.exp(x - x.max())
    return powers / powers.sum()


LABEL = 5
REDUCTIONS = {
    "logsumexp": (tg.logsumexp, lambda x: np.log(np.exp(x).sum()), softmax),
    "sum of log_softmax": (
        lambda x: tg.log_softmax(x)[:4].sum(),
        None,
        lambda x: (np.arange(MANY) < 4) - 4 * softmax(x),
    ),
    "an element of softmax": (
        lambda x: 100 * tg.softmax(x)[LABEL],
        lambda x: 100 * softmax(x)[LABEL],
        lambda x: 100 * softmax(x)[LABEL] * ((np.arange(MANY) == LABEL) - softmax(x)),
    ),
    "cross entropy": (
        lambda x: tg.softmax_cross_entropy(x.reshape(1, -1), np.array([LABEL])),
        lambda x: np.log(np.exp(x).sum()) - x[LABEL],
        lambda x: softmax(x) - (np.arange(MANY) == LABEL),
    ),
    "norm": (np.linalg.norm, np.linalg.norm, lambda x: x / np.linalg.norm(x)),
    "mean": (np.mean, None, lambda x: np.full(MANY, 1 / MANY)),
    "var": (lambda x: 100 * np.var(x), lambda x: 100 * np.var(x), lambda x: 200 * (x - x.mean()) / MANY),
    "std": (lambda x: 100 * np.std(x), lambda x: 100 * np.std(x), lambda x: 100 * (x - x.mean()) / MANY / np.std(x)),
    "max": (np.max, np.max, lambda x: x == x.max()),
    "sum of cumsum": (lambda x: np.cumsum(x)[-1], None, np.ones_like),
    "sum of a row added to many": (
        lambda x: (x[:1] + np.zeros(5000, x.dtype)).sum(),
        None,
        lambda x: 5000.0 * (np.arange(MANY) < 1),
    ),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_of_wide_axes_are_accurate(name, dtype):
    function, value, derivative = REDUCTIONS[name]
    if dtype is np.float16 and name in ("var", "std"):
        pytest.skip("the value is NumPy's, which overflows")
    x = X.astype(dtype)
    wide = x.astype(np.float64)
    got, gradient = tg.value_and_grad(function)(x)
    assert gradient.dtype == dtype
    if value is not None:
        assert got.dtype == dtype
        np.testing.assert_allclose(float(got), value(wide), rtol=64 * np.finfo(dtype).eps)
    wanted = derivative(wide).astype(np.float64)
    atol = 4 * float(np.finfo(dtype).smallest_subnormal)
    if name in ("var", "std"):  # an element beside the mean
        atol += 4 * np.finfo(dtype).eps * np.abs(wanted).max()
    np.testing.assert_allclose(gradient.astype(np.float64), wanted, rtol=64 * np.finfo(dtype).eps, atol=atol)


def product_of_others(x, place):
    product = Fraction(1)
    for position, number in enumerate(x):
        product *= 1 if position == place else Fraction(float(number))
    try:
        return float(product)
    except OverflowError:
        return np.inf if product > 0 else -np.inf


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_the_gradient_of_a_product_is_that_of_exact_arithmetic(dtype, data):
    """Zeros among huge and tiny numbers too, of which partial products overflow or underflow."""
    limits = np.finfo(dtype)
    exponents = data.draw(st.lists(st.none() | st.integers(limits.minexp, limits.maxexp - 1), min_size=1, max_size=8))
    x = np.array([0.0 if e is None else (-1) ** (e % 3) * 2.0**e for e in exponents]).astype(dtype)
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        gradient = tg.grad(np.prod)(x)
        wanted = np.array([product_of_others(x, place) for place in range(len(x))]).astype(dtype)
    subnormal = np.abs(wanted) < limits.tiny
    np.testing.assert_array_equal(np.where(subnormal, 0, gradient), np.where(subnormal, 0, wanted))
    assert (np.abs(gradient[subnormal]) < limits.tiny).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_annihilates_what_overflows_in_the_gradient_of_cumprod(dtype):
    huge = np.finfo(dtype).max / 2
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(
            tg.grad(lambda x: np.cumprod(x).sum())(np.array([huge, 0, huge, huge], dtype)), [1, np.inf, 0, 0]
        )
        np.testing.assert_array_equal(
            tg.grad(lambda x: np.cumprod(x).sum())(np.array([0, 5, huge, huge], dtype)), [np.inf, 0, 0, 0]
        )


LOSSES = {
    "binary cross-entropy, label 1": (
        lambda x: tg.nn.binary_cross_entropy_with_logits(x, np.ones_like(x.numpy()), "sum"),
        lambda x: -sigmoid(-x),
    ),
    "binary cross-entropy, label 0": (
        lambda x: tg.nn.binary_cross_entropy_with_logits(x, np.zeros_like(x.numpy()), "sum"),
        sigmoid,
    ),
    "huber": (lambda x: tg.nn.huber(x, np.zeros_like(x.numpy()), 1.0, "sum"), lambda x: np.clip(x, -1, 1)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_losses_are_accurate_over_their_whole_domain(name, dtype):
    function, derivative = LOSSES[name]
    x = everywhere(dtype)
    with np.errstate(all="ignore"):
        gradient = tg.grad(function)(x)
        assert_accurate(gradient, derivative(x.astype(WIDE)), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_higher_derivatives_of_sigmoid_and_tanh_keep_their_tails(dtype):
    x = np.array([-6.0, -1e-3, 0.0, 1e-3, 2.0, 6.0], dtype)
    second = tg.elementwise_grad(tg.elementwise_grad(tg.sigmoid))(x)
    wide = x.astype(WIDE)
    assert_accurate(second, -sigmoid_slope(wide) * np.tanh(wide / 2), dtype)
    second = tg.elementwise_grad(tg.elementwise_grad(np.tanh))(x)
    assert_accurate(second, -2 * sech(wide) ** 2 * np.tanh(wide), dtype)
    third = tg.grad(tg.grad(tg.grad(tg.sigmoid)))(np.float64(0.0))
    assert third == -1 / 8


sizes = st.tuples(st.sampled_from([-1.0, 1.0]), st.floats(-40.0, 40.0)).map(lambda drawn: drawn[0] * 10 ** drawn[1])


@pytest.mark.parametrize("modulus", [np.hypot, lambda x, y: np.abs(x + 1j * y)], ids=["hypot", "abs"])
@given(x=sizes, y=sizes)
def test_higher_derivatives_of_a_modulus_are_accurate_however_unlike_its_parts_are(modulus, x, y):
    """The differences in the textbook's formulas, 1 / r - x^2 / r^3, leave nothing where one part is much larger."""
    cosine, sine, r = x / np.hypot(x, y), y / np.hypot(x, y), np.hypot(x, y)
    point = [tg.Tensor(x, requires_grad=True), tg.Tensor(y, requires_grad=True)]
    by_x, by_y = tg.gradients(modulus(*point), point, create_graph=True)
    by_xx, by_xy = tg.gradients(by_x, point, create_graph=True)
    by_xxx = tg.gradients(by_xx, point[0], create_graph=True)
    found = [by_xx, by_xy, tg.gradients(by_y, point[1]), by_xxx]
    expected = [sine * sine / r, -cosine * sine / r, cosine * cosine / r, -3 * cosine * sine / r * sine / r]
    np.testing.assert_allclose([part.item() for part in found], expected, rtol=1e-14)


# Powers: NumPy's own is slow where the base is negative

BASES = np.array([-np.inf, -30.0, -1.5, -1.0, -0.3, -0.0, 0.0, 0.2, 1.0, 1.7, 40.0, np.inf, np.nan])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("exponent", [*range(-7, 8), -1.0, 0.0, 3.0, -0.5, 0.25, 1.5, np.inf, -np.inf, np.nan, 40, -41])
def test_powers_are_those_of_numpy_within_two_units(exponent, dtype):
    """Signs of zero, infinities and NaN too."""
    x = BASES.astype(dtype)
    with np.errstate(all="ignore"):
        got, wanted = (tg.Tensor(x) ** exponent).numpy(), x**exponent
    assert got.dtype == dtype
    np.testing.assert_array_equal(np.signbit(got[~np.isnan(got)]), np.signbit(wanted[~np.isnan(wanted)]))
    special = ~np.isfinite(wanted) | (wanted == 0)
    np.testing.assert_array_equal(got[special], wanted[special])
    usual = ~special & (np.abs(wanted) >= np.finfo(dtype).tiny)
    units = np.abs(got[usual].astype(WIDE) - wanted[usual]) / np.spacing(np.abs(wanted[usual]))
    assert (units <= 2.5).all()


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 4, 5, -1, -2, -3, 3.0, np.float64(3), np.int64(3), np.float32(-3)])
def test_whole_powers_of_negative_numbers_never_reach_numpys_slow_loop(exponent, monkeypatch):
    x = np.array([-2.0, -1.0, 3.0])
    bases = []

    def power(x, y, slow=np.power):
        bases.append(np.min(x))
        return slow(x, y)

    monkeypatch.setattr("tensorgrad.ops.elementwise.np.power", power)
    for function in (lambda x: (x**exponent).sum(), lambda x: tg.OPS["power"](x, exponent).sum()):
        gradient = tg.grad(function)(x)
        np.testing.assert_allclose(gradient, exponent * x ** (exponent - 1), rtol=1e-15)
        second = tg.grad(lambda x, f=function: tg.grad(f)(x).sum())(x)
        np.testing.assert_allclose(second, exponent * (exponent - 1) * x ** (exponent - 2.0), rtol=1e-15)
    assert all(base >= 0 for base in bases)
