"""Random numbers: NumPy's own, differentiable in their bounds, drawn again in every call, compiled or not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import samples
from tensorgrad.core.context import generator_like
from tensorgrad.testing import check_call

DISTRIBUTIONS = {
    "normal": (tg.random.normal, lambda low, width: (low, width)),
    "uniform": (tg.random.uniform, lambda low, width: (low, low + width)),
}


class Draw:
    """Random choices of Hypothesis, as samples ask for them."""

    def __init__(self, data):
        self.data = data

    def integer(self, low, high):
        return self.data.draw(st.integers(low, high))

    def uniform(self, shape, low, high):
        return np.random.default_rng(self.integer(0, 99)).uniform(low, high, shape)


@pytest.mark.parametrize("name", list(DISTRIBUTIONS))
@settings(deadline=None)
@given(st.data())
def test_values_gradients_and_dtypes(name, data):
    function, bounds = DISTRIBUTIONS[name]
    draw = Draw(data)
    first, second = samples.broadcastable(draw, 2)
    arrays = bounds(samples.reals(draw, first), samples.reals(draw, second, 0.1, 3.0))
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    size = data.draw(st.sampled_from([None, shape, (2, *shape)]))

    def of_same_noise(*bounds):  # that of float64 and that of float32 differ
        dtype = np.result_type(*(bound.dtype for bound in bounds))
        noise = function(np.zeros(()), np.ones(()), size or shape, rng=np.random.default_rng(5), dtype=dtype)
        return function(*bounds, size, rng=np.random.default_rng(5)), noise

    def call(*bounds):
        return function(*bounds, size, rng=np.random.default_rng(5))

    np.testing.assert_array_equal(call(*arrays), getattr(np.random.default_rng(5), name)(*arrays, size))
    tg.gradcheck(call, list(arrays), order=2)
    singles = [tg.Tensor(array.astype(np.float32), requires_grad=True) for array in arrays]
    out, noise = of_same_noise(*singles)
    first, second = (single.data for single in singles)
    expected = first + (second if name == "normal" else second - first) * noise
    np.testing.assert_allclose(out.data, expected, rtol=1e-6, strict=True)
    out.sum().backward()
    assert all(single.grad.dtype == np.float32 and single.grad.shape == single.shape for single in singles)


@pytest.mark.parametrize("name", list(DISTRIBUTIONS))
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("kind", [lambda x: x, tg.Tensor, lambda x: tg.Tensor(x, requires_grad=True)])
def test_the_dtype_is_that_of_the_bounds_unless_another_is_asked_for(name, dtype, kind):
    function, rng = DISTRIBUTIONS[name][0], np.random.default_rng(0)
    bound = kind(np.ones(3, dtype))
    for out in (function(0, bound, rng=rng), function(0.0, bound, (2, 3), rng=rng)):
        assert out.dtype == dtype and isinstance(out, tg.Tensor) == isinstance(bound, tg.Tensor)
    assert function(0.0, bound, rng=rng, dtype=np.float32).dtype == np.float32
    assert function(rng=rng, size=2, dtype=dtype).dtype == dtype
    assert function(np.zeros(2, np.int8), 1, rng=rng).dtype == np.float64
    assert function([0, 1], 2, rng=rng).shape == (2,) and function(size=0, rng=rng).shape == (0,)


def test_moments():
    rng = np.random.default_rng(0)
    for dtype in (np.float16, np.float32, np.float64):
        values = np.float64(tg.random.normal(3.0, 2.0, 40_000, rng=rng, dtype=dtype))
        assert values.mean() == pytest.approx(3, abs=0.05) and values.std() == pytest.approx(2, rel=0.02)
        values = np.float64(tg.random.uniform(-1.0, 3.0, 40_000, rng=rng, dtype=dtype))
        assert values.mean() == pytest.approx(1, abs=0.03) and -1 <= values.min() < -0.99 < 2.99 < values.max() <= 3


def test_compiled_functions_draw_what_plain_ones_do():
    def loss(low, high, rng):
        drawn = tg.random.normal(low, high, (4, 3), rng=rng) * tg.random.uniform(low, high, rng=rng)
        return (drawn + tg.random.permutation(drawn, axis=1, rng=rng) * tg.random.permutation(3, rng=rng)).sum()

    def step(rng):
        def run(low, high):
            low.zero_grad()
            high.zero_grad()
            value = loss(low, high, rng)
            value.backward()
            return value.detach()

        return run

    low = tg.Tensor(np.array([-1.0, 0, 1], np.float32), requires_grad=True)
    high = tg.Tensor(np.float32(2), requires_grad=True)
    one, other = np.random.default_rng(0), np.random.default_rng(0)
    plain, compiled = step(one), tg.compile(step(other), pure=True)
    values = []
    for _ in range(4):
        values.append(plain(low, high).item())
        gradients = [low.grad.copy(), high.grad.copy()]
        assert compiled(low, high).item() == pytest.approx(values[-1], rel=1e-5)
        for expected, tensor in zip(gradients, (low, high)):
            np.testing.assert_allclose(tensor.grad, expected, rtol=1e-5)
    assert len(set(values)) == 4 and one.bit_generator.state == other.bit_generator.state


def test_a_checkpointed_function_draws_once():
    gradients, states = [], []
    for wrap in (lambda f: f, tg.checkpoint):
        rng, x = np.random.default_rng(0), tg.Tensor(np.ones(3), requires_grad=True)
        wrap(lambda x, rng=rng: (x * tg.random.normal(size=3, rng=rng)) ** 2)(x).sum().backward()
        gradients.append(x.grad)
        states.append(rng.bit_generator.state)
    np.testing.assert_array_equal(*gradients)
    assert states[0] == states[1]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_permutations_are_those_of_numpy_and_differentiable(axis):
    x = np.arange(12.0).reshape(3, 4)

    def call(x):
        return tg.random.permutation(x, axis, rng=np.random.default_rng(1))

    np.testing.assert_array_equal(call(x), np.random.default_rng(1).permutation(x, axis=axis))
    check_call(call, x)


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: tg.random.normal(rng=0), TypeError, r"random\.normal: rng must be .* made once outside .* got 0"),
        (lambda: tg.random.uniform(rng=None), TypeError, r"random\.uniform: rng must be a NumPy generator"),
        (lambda: tg.random.permutation(3, rng=1), TypeError, r"random\.permutation: rng must be a NumPy generator"),
        (lambda: tg.dropout(np.ones(3), 0.5, 0), TypeError, r"dropout: rng must be a NumPy generator"),
        (lambda: tg.random.normal(0, [1, -2], rng=RNG), ValueError, r"scale must not be negative, got -2\.0"),
        (
            lambda: tg.random.uniform(2, tg.Tensor([1.0]), rng=RNG),
            ValueError,
            r"high must not be below low, .* = -1\.0",
        ),
        (lambda: tg.random.normal(1j, rng=RNG), TypeError, r"random\.normal: loc must be real"),
        (lambda: tg.random.normal(np.ones(2, complex), rng=RNG), TypeError, r"loc must be real, got complex128"),
        (lambda: tg.random.normal(size=2, rng=RNG, dtype=int), TypeError, r"dtype must be a floating one"),
        (
            lambda: tg.random.normal(np.ones(3), size=(3, 2), rng=RNG),
            ValueError,
            r"loc and scale of shapes \(3,\) and \(\) must .* size \(3, 2\)",
        ),
        (
            lambda: tg.random.normal(np.ones((2, 3)), size=3, rng=RNG),
            ValueError,
            r"must broadcast to the size \(3,\)",
        ),
    ],
)
def test_mistakes_are_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_compiled_function_checks_the_bounds_in_every_call():
    draw = tg.compile(lambda scale: tg.random.normal(0.0, scale, rng=RNG), pure=True)
    for _ in range(3):
        draw(np.ones(2))
    state = RNG.bit_generator.state
    with pytest.raises(ValueError, match="scale must not be negative"):
        draw(-np.ones(2))
    assert RNG.bit_generator.state == state


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.MT19937, np.random.Philox])
def test_a_generator_like_another_draws_the_same_and_leaves_it_alone(kind):
    rng = np.random.Generator(kind(3))
    rng.integers(0, 5, 3, dtype=np.uint32)  # half of what the bits give is kept for the next draw
    like = generator_like(rng)
    drawn = like.integers(0, 1000, 9, dtype=np.uint32), like.standard_normal(5)
    for one, other in zip(drawn, (rng.integers(0, 1000, 9, dtype=np.uint32), rng.standard_normal(5))):
        np.testing.assert_array_equal(one, other)
