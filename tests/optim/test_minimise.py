"""Minimising as a whole: SciPy's search on Tensors."""

import sys

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad._optional import MissingExtra
from tensorgrad.optim import minimise
from tests.support import blobs

pytest.importorskip("scipy")


def rosenbrock(x, y):
    return lambda: 100 * (y - x**2) ** 2 + (1 - x) ** 2


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "CG"])
@pytest.mark.parametrize("wrap", [lambda f: f, tg.compile])
def test_a_known_minimum_is_found(method, wrap):
    x, y = (tg.Tensor(start, requires_grad=True) for start in (-1.2, 1.0))
    found = minimise(wrap(rosenbrock(x, y)), [x, y], method=method, tolerance=1e-8)
    assert found.converged and 0 <= found.loss < 1e-9 and 10 < found.iterations <= found.evaluations
    assert (x.item(), y.item()) == (pytest.approx(1, abs=1e-4), pytest.approx(1, abs=1e-4))
    assert x.grad is None and x.dtype == np.float64 and found.loss == rosenbrock(x, y)().item()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_least_squares_and_the_parameters_of_a_model_in_their_dtypes(dtype):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((50, 3)).astype(dtype)
    targets = (inputs @ rng.standard_normal((3, 2)) + 0.1 * rng.standard_normal((50, 2))).astype(dtype)
    model = nn.Dense(3, 2, rng, dtype=dtype)
    array = model.weight.data
    before = array.copy()
    minimise(lambda: nn.mse(model(inputs), targets), model.parameters())
    expected = np.linalg.lstsq(np.hstack([inputs, np.ones((50, 1))]).astype(np.float64), targets, rcond=None)[0]
    np.testing.assert_allclose(np.vstack([model.weight.data, model.bias.data[None]]), expected, atol=2e-4)
    assert {p.dtype for p in model.parameters()} == {np.dtype(dtype)}
    np.testing.assert_array_equal(array, before)


def test_softmax_regression_as_scikit_learn_has_it():
    linear = pytest.importorskip("sklearn.linear_model")
    x, y = blobs(200)
    model = nn.Dense(2, 3, np.random.default_rng(0), dtype=np.float64)
    x = x.astype(np.float64)
    penalty = 0.5 / len(x)
    minimise(
        lambda: tg.softmax_cross_entropy(model(x), y) + penalty * np.square(model.weight).sum(),
        model.parameters(),
        tolerance=1e-9,
        ftol=0.0,
    )
    peer = linear.LogisticRegression(tol=1e-10, max_iter=1000).fit(x, y)
    np.testing.assert_allclose(model.weight.data.T, peer.coef_, atol=1e-5)


def test_an_interrupted_search_leaves_the_best_point():
    x = tg.Tensor([3.0, -2.0], requires_grad=True)
    seen = []

    def loss():
        seen.append((np.square(x.data - 1).sum() ** 2, x.data.copy()))
        if len(seen) == 4:
            raise KeyboardInterrupt
        return np.square(x - 1).sum() ** 2

    with pytest.raises(KeyboardInterrupt):
        minimise(loss, [x])
    np.testing.assert_array_equal(x.data, min(seen[:3], key=lambda pair: pair[0])[1])


def test_the_number_of_steps_and_options_of_the_method():
    x, y = (tg.Tensor(start, requires_grad=True) for start in (-1.2, 1.0))
    found = minimise(rosenbrock(x, y), [x, y], max_iterations=3, maxcor=2)
    assert not found.converged and found.iterations == 3 and "ITERATIONS" in found.message.upper()


def test_inside_no_grad_as_well():
    x = tg.Tensor([3.0], requires_grad=True)
    with tg.no_grad():
        assert minimise(lambda: ((x - 2) ** 2).sum(), [x]).converged
    assert x.item() == pytest.approx(2)


@pytest.mark.parametrize(
    "make, error, message",
    [
        (
            lambda x: minimise(lambda: x * 2, [x]),
            TypeError,
            r"loss\(\) must give a Tensor with one real .* got fl",
        ),
        (lambda x: minimise(lambda: 1.0, [x]), TypeError, r"loss\(\) must give a Tensor with one real number, got 1.0"),
        (lambda x: minimise(lambda: x.sum() * np.inf, [x]), ValueError, "the loss is inf at the start"),
        (
            lambda x: minimise(lambda: x.sum(), [x], method="Newton"),
            ValueError,
            "one of L-BFGS-B, BFGS, CG, got",
        ),
        (lambda x: minimise(lambda: x.sum(), []), ValueError, "minimise: got no parameters"),
        (lambda x: minimise(lambda: x.sum(), [x * 2]), TypeError, "minimise: parameter 0 is a result of ops"),
    ],
)
def test_what_cannot_be_minimised_is_refused(make, error, message):
    x = tg.Tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(error, match=message):
        make(x)
    assert x.data.tolist() == [1.0, 2.0]


def test_without_scipy_one_sentence_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    x = tg.Tensor([1.0], requires_grad=True)
    with pytest.raises(MissingExtra, match=r"minimise needs scipy .* pip install scipy"):
        minimise(lambda: x.sum(), [x])
