"""What decays in training never reaches the subnormal numbers, and is right down to where they begin."""

from inspect import isabstract

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.compiler import kernels
from tensorgrad.subnormals import least, without_subnormals

DTYPES = [np.float16, np.float32, np.float64]
STEPS = {"eager": False, "NumPy": "0", **({"numba": "1"} if kernels.numba() else {})}
"""Ways to do a step: op by op, or compiled without kernels and with them."""


class OfAUser(optim.Optimiser):
    """One of a user's: what holds for all optimisers is not their business."""

    slots = ("momentum", "extra")

    def _scalars(self, rate, count):
        return (rate,)

    def _update(self, numbers, value, gradient, momentum, extra):
        momentum = 0.5 * momentum + gradient
        return value - numbers[0, ...] * value, momentum, 0.9 * extra + 1e-3 * (gradient * gradient)


EVERYTHING = {
    optim.SGD: {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1},
    optim.Adam: {"weight_decay": 0.1},
    optim.AdamW: {"weight_decay": 0.1},
    optim.RMSprop: {"alpha": 0.9, "momentum": 0.9, "centered": True, "weight_decay": 0.1},
    optim.Adagrad: {"weight_decay": 0.1},
    optim.Adamax: {"weight_decay": 0.1},
    optim.Lion: {"weight_decay": 0.1},
}
"""For each class of optimiser settings with which it does all that it can do."""


def all_optimisers(kind=optim.Optimiser):
    """Every class of optimiser of the library, and those of a user's in this file."""
    for subclass in kind.__subclasses__():
        if not isabstract(subclass) and subclass.__module__.startswith((__name__, "tensorgrad.")):
            yield subclass
        yield from all_optimisers(subclass)


def cases():
    """All of them as they are, with all that they can do, and with momentum of another kind."""
    for kind in all_optimisers():
        yield pytest.param(kind, {}, id=kind.__name__)
        if EVERYTHING.get(kind):
            yield pytest.param(kind, EVERYTHING[kind], id=f"{kind.__name__}-everything")
    yield pytest.param(optim.SGD, {"momentum": 0.9}, id="SGD-momentum")
    yield pytest.param(optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, id="SGD-nesterov")


def test_every_optimiser_has_settings_with_which_it_does_all_that_it_can_do():
    assert {kind for kind in all_optimisers() if kind.__module__ != __name__} == set(EVERYTHING)


def arrays_of(optimiser):
    return [t.data for t in (*optimiser.parameters, *(t for tensors in optimiser.state.values() for t in tensors))]


def subnormal(array):
    return int(((array != 0) & (np.abs(array) < np.finfo(array.dtype).tiny)).sum())


def a_step_of(optimiser, how, monkeypatch):
    monkeypatch.setenv("TENSORGRAD_FAST", STEPS[how] or "0")
    return optimiser.step if STEPS[how] else optimiser._step


def edge(dtype):
    """Values around the smallest normal number of what the dtype is computed in, and ordinary ones."""
    info = np.finfo(np.float32 if dtype == np.float16 else dtype)
    small = float(info.tiny) * np.array([1e-6, 1e-3, 0.3, 1.0, 3.0, 1e3, 1e7, 1e12])
    return np.concatenate([small, -small, [0.0, 1.0, -2.0, 0.5]])


@pytest.mark.parametrize("how", STEPS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind, settings", cases())
def test_no_parameter_and_no_state_becomes_subnormal(kind, settings, dtype, how, monkeypatch):
    values = edge(dtype)
    with np.errstate(under="ignore"):
        p, bias = (tg.Tensor(values.astype(dtype), requires_grad=True) for _ in range(2))
    optimiser = kind([p, bias], lr=1e-2, **settings)
    for slot, tensors in optimiser.state.items():
        decayed = np.abs(values)  # as after a thousand steps
        if slot == "mean":  # never larger than the root of the mean square
            decayed[decayed > 1e-10] = 0
        for tensor in tensors:
            tensor.data = decayed.astype(tensor.dtype)
    step = a_step_of(optimiser, how, monkeypatch)
    seen = set()
    for t in range(400):
        p.grad = (edge(dtype) * (t % 3)).astype(np.float32 if dtype == np.float16 else dtype)
        bias.grad = np.zeros_like(bias.data)
        with np.errstate(under="ignore"):
            step()
        seen |= {subnormal(array) for array in arrays_of(optimiser) if array.dtype != np.float16}
    assert seen == ({0} if optimiser.state or dtype != np.float16 else set())
    assert all(np.isfinite(array).all() for array in arrays_of(optimiser))


@pytest.mark.parametrize("how", STEPS)
def test_a_penalised_weight_without_input_decays_to_a_standstill(how, monkeypatch):
    """Over a whole training: the gradient is that of the penalty alone."""
    weight = tg.Tensor(np.linspace(-0.1, 0.1, 60, dtype=np.float32), requires_grad=True)
    optimiser = optim.Adam([weight], lr=optim.cosine_decay(1e-2, 3000))
    step = a_step_of(optimiser, how, monkeypatch)
    for _ in range(3000):
        weight.grad = weight.data * np.float32(1e-3)
        step()
        assert not any(map(subnormal, arrays_of(optimiser)))
    assert np.abs(weight.data).max() < 1e-10


@pytest.mark.parametrize("kind, settings", cases())
@pytest.mark.parametrize("dtype", DTYPES)
def test_eager_and_compiled_steps_agree_to_the_last_bit_down_to_the_edge(kind, settings, dtype, monkeypatch):
    results = []
    for how in STEPS:
        with np.errstate(under="ignore"):
            p = tg.Tensor(edge(dtype).astype(dtype), requires_grad=True)
            q = tg.Tensor(np.resize(edge(dtype), (300, 150)).astype(dtype), requires_grad=True)
        optimiser = kind([p, q], lr=1e-2, **settings)
        step = a_step_of(optimiser, how, monkeypatch)
        for t in range(20):
            for x in (p, q):
                x.grad = (np.resize(edge(dtype), x.shape) * (t % 3)).astype(
                    np.float32 if dtype == np.float16 else dtype
                )
            with np.errstate(under="ignore"):
                step()
        results.append([array.copy() for array in arrays_of(optimiser)])
    for other in results[1:]:
        for one, two in zip(results[0], other):
            np.testing.assert_array_equal(one.view(f"u{one.itemsize}"), two.view(f"u{two.itemsize}"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(st.data())
def test_rounding_is_as_documented(dtype, data):
    width = np.dtype(dtype).itemsize * 8
    x = dtype(data.draw(st.floats(width=width, allow_nan=False)))
    y = without_subnormals(np.array([x], dtype))[0]
    info = np.finfo(dtype)
    assert y == 0 or abs(y) >= least(np.dtype(dtype)) > 1e4 * info.tiny
    if abs(x) >= {32: 2e-19, 64: 1e-271}[width]:
        assert y == x
    elif np.isfinite(x):
        assert abs(y - x) <= max(2 * least(np.dtype(dtype)), info.eps * abs(x))
    assert without_subnormals(np.array([y], dtype))[0] == y or abs(x) < {32: 2e-19, 64: 1e-271}[width]


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinite_and_nan_values_stay(dtype):
    x = np.array([np.inf, -np.inf, np.nan], dtype)
    np.testing.assert_array_equal(without_subnormals(x), x)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_running_means_of_channels_that_are_dead_do_not_become_subnormal(dtype):
    layer = nn.BatchNorm1d(3, dtype=dtype)
    layer(np.random.default_rng(0).standard_normal((8, 3)).astype(dtype))
    step = tg.compile(lambda x: layer(x).numpy().sum())
    for call in (layer, step):
        for _ in range(4000):
            call(np.zeros((8, 3), dtype))
            assert not subnormal(layer.running_mean.data) and not subnormal(layer.running_var.data)


STEADY = {
    optim.Adam: 3.0,
    optim.RMSprop: 10.0,
    optim.Adagrad: 1.0,
    optim.Adamax: 1.0,
}
"""By how much a step is larger than the rate at most, where all gradients are the same."""


@pytest.mark.parametrize("eps", [1e-8, 1e-16, 1e-30, 1e-44])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("gradient", [0.0, 1e-38, 1e-25, 1e-20, 1e-18, 1e-15, 1e-10, 1.0])
@pytest.mark.parametrize("kind", STEADY)
def test_no_step_is_larger_than_the_rate_says_whatever_is_rounded_to_zero(kind, eps, dtype, gradient):
    """Where the square of a gradient becomes 0, eps alone is left in the denominator."""
    x = tg.Tensor(np.zeros(3, dtype), requires_grad=True)
    optimiser = kind([x], lr=1e-2, eps=eps)
    for _ in range(30):
        x.grad = np.full(3, gradient)
        before = x.data.astype(np.float64)
        optimiser.step()
        assert np.isfinite(x.data).all() and np.abs(x.data - before).max() <= 1e-2 * STEADY[kind] * (1 + 1e-2)
