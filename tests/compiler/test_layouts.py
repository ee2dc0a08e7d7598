"""Programs keep the order of axes in memory, as NumPy's elementwise functions do."""

import tracemalloc
from itertools import permutations

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.compiler import kernels, pooling
from tensorgrad.compiler.layouts import inverse, order_of
from tensorgrad.core import OPS
from tensorgrad.ops import convolution

RNG = np.random.default_rng(0)
ORDERS = list(permutations(range(3)))
FAST = [False, *([True] if kernels.numba() else [])]


@pytest.mark.parametrize("order", ORDERS)
def test_the_order_of_axes(order):
    x = np.zeros((4, 5, 6)).transpose(order)
    assert (order_of(x) or (0, 1, 2)) == inverse(order)
    assert x.transpose(order_of(x) or (0, 1, 2)).flags.c_contiguous
    assert order_of(x[:, ::2]) is None and order_of(np.broadcast_to(np.zeros(3), (2, 3))) is None


def of_elements(x, row, y):
    """Elementwise functions, with operands that broadcast and in other orders, and reductions along all axes."""
    a = np.maximum(x * row + 1, 0) - y
    b = np.where(a > 0.5, a, row)
    c = (b > x).astype(np.float32) * b + a[0]
    totals = [c.sum(), *(c.sum(axis=axis) for axis in (0, 1, -1, (0, 2), (1, 2)))]
    return [a, b, c, *totals, c.max(axis=1, keepdims=True), c.mean(axis=(0, 2), keepdims=True), c.reshape(-1)]


@pytest.mark.parametrize("fast", FAST)
@pytest.mark.parametrize("order", ORDERS)
def test_what_is_computed_is_what_python_computes(order, fast):
    x = RNG.standard_normal((3, 4, 5)).astype(np.float32)
    row, y = RNG.standard_normal((2, 3, 4, 5)).astype(np.float32).transpose(0, *(1 + a for a in order))
    row = row[:1, :, :1].copy()

    def function(x, row, y):
        return of_elements(x.transpose(order), row, y)

    compiled = tg.compile(function, fast=fast, pure=True)
    for _ in range(3):
        for one, other in zip(function(x, row, y), compiled(x, row, y)):
            assert one.shape == other.shape and one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def network(rng=0):
    """The small network of the benchmark."""
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, rng, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, rng, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dense(32 * 7 * 7, 64, rng), nn.ReLU(), nn.Dense(64, 10, rng)),
    )


def training_step():
    model = network()
    optimiser = tg.optim.Adam(model.parameters(), 1e-3)

    def step(x, y):
        optimiser.zero_grad()
        loss = tg.softmax_cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        return loss.detach()

    return model, step


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 1, 2), (2, 2, 1), (1, 1, 2), (1, 3, 2)])
def test_axes_of_length_one_may_be_anywhere_in_the_order(shape):
    x = np.linspace(1.0, 2.0, 12)[: int(np.prod(shape))].reshape(shape)
    orders = list(permutations(range(3)))

    def function(x):
        lying = [np.exp(x.transpose(order)).transpose(inverse(order)) for order in orders]
        return [0.5 * (one / other + one) for one in lying for other in lying]

    for one, other in zip(function(x), tg.compile(function, pure=True, fast=False)(x)):
        np.testing.assert_array_equal(one, other)


def test_a_matrix_alone_in_its_batch_is_decomposed_in_a_compiled_function():
    def function(matrices):
        x = tg.Tensor(matrices, requires_grad=True)
        u, s, vh = np.linalg.svd(x)
        return tg.gradients((u * 2 + vh).sum() + (s * s).sum(), x).data

    matrices = np.array([[[2.1, 0.1], [0.1, 3.1]]])
    np.testing.assert_allclose(tg.compile(function, pure=True, fast=False)(matrices), function(matrices), rtol=1e-12)


@pytest.mark.parametrize("fast", FAST)
def test_a_convolutional_step_moves_nothing_between_layers(fast):
    """Guards the speed: no copies into another order, no separate passes, few steps, no large arrays allocated."""
    _, step = training_step()
    compiled = tg.compile(step, fast=fast, pure=True)
    x, y = RNG.standard_normal((16, 1, 28, 28)).astype(np.float32), RNG.integers(0, 10, 16)
    for _ in range(3):
        compiled(x, y)
    (executable,) = compiled._executables()
    names = [instruction.name for step in executable.steps for instruction in step.instructions]
    assert "ascontiguousarray" not in names
    assert sum(name in ("_conv", "_conv_transpose", "_conv_weight") for name in names) == 5
    assert len(executable.steps) <= 42
    tracemalloc.start()
    try:
        compiled(x, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    columns = 4 * 16 * 9 * 14 * 14 * 16  # of the second convolution, the largest array that is made
    assert peak < 1.3 * columns + 2**17


def test_a_step_without_compiling_keeps_to_its_memory():
    """What the history holds, and two matrices of windows: far from a copy of all windows for each layer."""
    _, step = training_step()
    x, y = RNG.standard_normal((16, 1, 28, 28)).astype(np.float32), RNG.integers(0, 10, 16)
    step(x, y)
    tracemalloc.start()
    try:
        step(x, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 9_000_000


@pytest.mark.parametrize("function", [tg.max_pool, tg.avg_pool])
def test_pooling_does_not_copy_its_windows(function):
    x = tg.Tensor(RNG.standard_normal((4, 8, 32, 32)).astype(np.float32), requires_grad=True)
    tracemalloc.start()
    try:
        function(x, 5, stride=1, padding=2).sum().backward()  # 25 elements in each window
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * x.data.nbytes


def test_the_matrix_of_windows_keeps_to_its_limit(monkeypatch):
    made = []
    columns = convolution._Shapes.columns
    monkeypatch.setattr(convolution._Shapes, "columns", lambda *args: made.append(columns(*args)) or made[-1])
    monkeypatch.setattr(convolution, "MOST_ELEMENTS", 5000)
    x, w = RNG.standard_normal((40, 2, 9, 9)), RNG.standard_normal((3, 2, 3, 3))
    y = tg.conv(x, w, padding=1)
    assert len(made) > 1 and max(part.size for part in made) <= 5000
    monkeypatch.setattr(convolution, "MOST_ELEMENTS", 2**21)
    np.testing.assert_allclose(tg.conv(x, w, padding=1), y, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kernel", [(2, 2), (3, 1), (1, 2), (2, 4)])
@pytest.mark.parametrize("examples", [1, 2, 7])
def test_compiled_pooling_gives_what_numpy_gives(examples, kernel, dtype):
    if not kernels.numba():
        pytest.skip("needs numba")
    shape = (3, 2 * kernel[0], 3 * kernel[1], examples)
    settings = {"kernel": kernel, "stride": kernel, "dilation": (1, 1), "padding": ((0, 0), (0, 0))}
    for values in ([0.0, 1.0, 2.0], [np.nan, 1.0, -1.0], [-np.inf, -np.inf, np.inf, 3.0], [-0.0, 0.0]):
        x = RNG.choice(np.array(values, dtype), shape)
        g = RNG.standard_normal((3, 2, 3, examples)).astype(dtype)
        images, gradient = x.transpose(3, 0, 1, 2), g.transpose(3, 0, 1, 2)
        expected = OPS["max_pool"].forward(images, **settings)
        found, spread = expected.transpose(1, 2, 3, 0).copy(), np.empty_like(x)
        pooling.spread(g, x, found, spread)
        np.testing.assert_array_equal(
            spread.transpose(3, 0, 1, 2), OPS["max_unpool"].forward(gradient, images, expected, **settings)
        )
        if examples == 1:
            largest = np.empty_like(found)
            pooling.largest_of_one(x, largest)
            np.testing.assert_array_equal(largest.view(f"u{largest.itemsize}"), found.view(f"u{found.itemsize}"))


@pytest.mark.parametrize("fast", FAST)
@pytest.mark.parametrize("settings", [{}, {"stride": 1}, {"padding": 1}, {"dilation": 2}])
@pytest.mark.parametrize("shape", [(5, 2, 8, 6), (1, 1, 8, 6), (3, 2, 7, 9), (4, 2, 8), (2, 1, 4, 6, 4)])
def test_pooling_of_all_kinds_is_the_same_compiled(shape, settings, fast):
    x = RNG.integers(-2, 3, shape).astype(np.float32)  # many ties

    def function(x):
        pooled = tg.max_pool(np.tanh(x), 2, **settings)
        return pooled, tg.gradients((pooled * pooled).sum(), x)

    compiled = tg.compile(function, fast=fast)
    for _ in range(3):
        x = tg.Tensor(RNG.integers(-2, 3, shape).astype(np.float32), requires_grad=True)
        for one, other in zip(function(x), compiled(x)):
            np.testing.assert_array_equal(one.data, other.data)
