"""Smooth functions of norms and moduli, at the kink: second derivatives are those of the closed form, or NaN."""

import numpy as np
import pytest

import tensorgrad as tg

norm = np.linalg.norm
EYE = np.eye(2)
CENTRED = np.array([[0.5, -0.5], [-0.5, 0.5]])

SMOOTH = {
    "norm(x)**2": (lambda x: norm(x) ** 2, 2 * EYE),
    "norm squared by np.square": (lambda x: np.square(norm(x)), 2 * EYE),
    "norm squared by np.power": (lambda x: np.power(norm(x), 2), 2 * EYE),
    "norm times norm": (lambda x: norm(x) * norm(x), 2 * EYE),
    "norms taken differently": (lambda x: norm(x) * norm(x, axis=0), 2 * EYE),
    "norm of order 2": (lambda x: norm(x, 2) * np.linalg.vector_norm(x), 2 * EYE),
    "norms of rows": (lambda x: (norm(x.reshape(1, 2), axis=-1) ** 2).sum(), 2 * EYE),
    "norms kept": (lambda x: (norm(x.reshape(1, 2), axis=-1, keepdims=True) ** 2).sum(), 2 * EYE),
    "norm of a matrix": (lambda x: norm(x.reshape(2, 1)) ** 2, 2 * EYE),
    "norm of an expression": (lambda x: norm(3 * x - x) ** 2, 8 * EYE),
    "norm**4": (lambda x: norm(x) ** 4, 0 * EYE),
    "cosh(norm)": (lambda x: np.cosh(norm(x)), EYE),
    "cos(norm)": (lambda x: np.cos(norm(x)), -EYE),
    "pseudo-Huber": (lambda x: np.sqrt(1 + norm(x) ** 2), EYE),
    "Gaussian": (lambda x: np.exp(-(norm(x) ** 2)), -2 * EYE),
    "log(1 + norm**2)": (lambda x: np.log1p(norm(x) ** 2), 2 * EYE),
    "a cubic": (lambda x: x[0] * norm(x) ** 2, 0 * EYE),
    "beside a linear term": (lambda x: norm(x) ** 2 + x.sum(), 2 * EYE),
    "abs(x)**2": (lambda x: (abs(x) ** 2).sum(), 2 * EYE),
    "abs times abs": (lambda x: (np.abs(x) * np.abs(x)).sum(), 2 * EYE),
    "abs @ abs": (lambda x: np.abs(x) @ np.abs(x), 2 * EYE),
    "abs(x)**3": (lambda x: (abs(x) ** 3).sum(), 0 * EYE),
    "fabs": (lambda x: (np.fabs(x) ** 2).sum(), 2 * EYE),
    "modulus of complex numbers": (lambda x: np.abs(x[0] + 1j * x[1]) ** 2, 2 * EYE),
    "norm of complex numbers": (lambda x: norm(x + 1j * x) ** 2, 4 * EYE),
    "hypot": (lambda x: np.hypot(x[0], x[1]) ** 2, 2 * EYE),
    "hypot times hypot": (lambda x: np.hypot(x[0], x[1]) * np.hypot(x[0], x[1]), 2 * EYE),
    "expressions taken twice": (lambda x: norm(x - 0 * x[::-1]) * norm(x - 0 * x[::-1]), 2 * EYE),
    "std**2": (lambda x: np.std(x) ** 2, CENTRED),
    "std by ddof": (lambda x: np.std(x, ddof=1) ** 2, 2 * CENTRED),
    "huber": (lambda x: tg.nn.huber(x, np.zeros(2), reduction="sum"), EYE),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", SMOOTH)
def test_hessians_at_a_kink_are_those_of_the_closed_form(name, dtype):
    f, wanted = SMOOTH[name]
    for x in (np.zeros(2, dtype), np.array([-0.0, 0.0], dtype)):
        np.testing.assert_array_equal(
            tg.grad(f)(x), tg.grad(lambda x: (x * [1, 1]).sum())(x) * (name == "beside a linear term")
        )
        hessian = tg.hessian(f)(x)
        assert hessian.dtype == dtype
        np.testing.assert_allclose(hessian.astype(np.float64), wanted, rtol=1e-3, atol=1e-6)
        vector = np.array([1, -2], dtype)
        np.testing.assert_allclose(tg.hvp(f, x, vector).astype(np.float64), wanted @ vector, rtol=1e-3, atol=1e-6)


def test_std_of_numbers_that_are_equal_but_not_zero():
    x = np.full(3, 0.1)  # of which rounding leaves a deviation
    np.testing.assert_allclose(tg.hessian(lambda x: np.std(x) ** 2)(x), tg.hessian(np.var)(x), atol=1e-12)


def test_some_rows_at_a_kink_and_others_beside_it():
    x = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    for smooth, plain in (
        (lambda x: (norm(x, axis=1) ** 2).sum(), lambda x: (x * x).sum()),
        (lambda x: (norm(x, axis=1) ** 2).sum() ** 2, lambda x: (x * x).sum() ** 2),
        (lambda x: np.exp(-(np.abs(x) ** 2)).prod(), lambda x: np.exp(-(x * x)).prod()),
    ):
        np.testing.assert_allclose(tg.hessian(smooth)(x), tg.hessian(plain)(x), atol=1e-12)


@pytest.mark.parametrize("f", [norm, lambda x: np.abs(x).sum(), lambda x: (np.abs(x) * x).sum()])
def test_a_true_kink_has_second_derivative_0_by_convention(f):
    np.testing.assert_array_equal(tg.hessian(f)(np.zeros(2)), np.zeros((2, 2)))


def test_what_has_no_second_derivative_or_none_that_is_known_is_nan():
    assert np.isnan(tg.hessian(lambda x: np.abs(x).sum() ** 2)(np.zeros(2))).any()
    fourth = tg.hessian(lambda x: tg.hessian(lambda x: np.cosh(norm(x)))(x)[0, 0])(np.zeros(2))
    assert np.isnan(fourth).all()  # not 3, as the derivatives of sinh(r) would make it
    third = tg.jacobian(tg.hessian(lambda x: norm(x) ** 2))(np.zeros(2))
    np.testing.assert_array_equal(third, np.zeros((2, 2, 2)))


def test_a_compiled_second_derivative_at_a_kink_is_that_of_the_plain_one():
    def product(x, v):
        return tg.hvp(lambda x: (np.abs(x) ** 2).sum() + norm(x) ** 2, x, v)

    compiled, v = tg.compile(product), np.array([1.0, 2.0])
    for x in (np.array([1.0, 0.0]), np.zeros(2), np.array([0.0, 3.0])):
        np.testing.assert_array_equal(compiled(x, v), product(x, v))


def test_a_history_that_was_freed_has_no_second_derivative():
    x = tg.Tensor(np.zeros(2), requires_grad=True)
    y = norm(x) ** 2
    np.testing.assert_array_equal(tg.gradients(y * y, x, create_graph=True, retain_graph=False).numpy(), [0, 0])
