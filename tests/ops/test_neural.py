"""Functions of networks: activations, losses, convolution, pooling, normalisation, embedding."""

import math
from functools import partial
from itertools import product

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.ops import convolution
from tensorgrad.ops.activations import normal_cdf
from tensorgrad.testing import check_call
from tests.support import StrictArray

RNG = np.random.default_rng(0)


def reals(*shape):
    """Between 0.1 and 0.9 or -0.9 and -0.1, away from kinks at 0 and at 1, all different."""
    values = np.linspace(0.1, 0.9, math.prod(shape)) * RNG.choice([-1.0, 1.0], math.prod(shape))
    return RNG.permutation(values).reshape(shape)


ACTIVATIONS = {
    "relu": tg.relu,
    "leaky_relu": tg.leaky_relu,
    "elu": tg.elu,
    "selu": tg.selu,
    "gelu": tg.gelu,
    "sigmoid": tg.sigmoid,
    "silu": tg.silu,
    "softplus": tg.softplus,
    "softsign": tg.softsign,
}
over_activations = pytest.mark.parametrize("f", ACTIVATIONS.values(), ids=ACTIVATIONS)


def call(function, *args, **kwargs):
    given = [str(getattr(a, "shape", a)) for a in args] + [f"{name}={value!r}" for name, value in kwargs.items()]
    name = getattr(function, "__name__", None) or function.name
    return pytest.param(function, args, kwargs, id=f"{name}({', '.join(given)})"[:90])


LABELS = np.array([0, 2, 1, 2])
ROWS = np.array([[0.2, 0.5, 0.3], [0.0, 0.0, 1.0], [0.25, 0.25, 0.5], [1.0, 0.0, 0.0]])


def of_probabilities(loss):
    """A loss of logits and of other logits, whose softmax is what it is compared with."""

    def composed(logits, others):
        return loss(logits, tg.softmax(others))

    composed.__name__ = loss.__name__
    return composed


CALLS = [
    *(
        call(lambda x, f=f: f(x), reals(*shape))
        for f in ACTIVATIONS.values()
        for shape in ((), (0,), (2, 3), (3, 1, 2), (2, 0))
    ),
    call(tg.leaky_relu, reals(2, 3), 0.3),
    call(tg.leaky_relu, reals(4), negative_slope=0),
    call(tg.leaky_relu, reals(4), negative_slope=2.0),
    call(tg.elu, reals(2, 3), 0.3),
    call(tg.elu, reals(2, 3), alpha=-1),
    call(tg.gelu, 5 * reals(2, 3)),
    call(tg.gelu, 5 * reals(2, 3), "tanh"),
    call(tg.gelu, reals(0, 3), approximate="tanh"),
    call(tg.flatten, reals(2, 3, 2)),
    call(tg.flatten, reals(0, 3, 2)),
    call(tg.flatten, reals(4)[:, None][:, :0]),
    call(tg.flatten, reals(2, 3, 2), start=0),
    call(tg.flatten, reals(2, 3, 2), start=2),
    # Losses
    call(tg.softmax_cross_entropy, reals(4, 3), LABELS, 0.1),
    call(tg.softmax_cross_entropy, reals(4, 3), LABELS, label_smoothing=1.0),
    call(tg.softmax_cross_entropy, reals(2, 2, 3), LABELS.reshape(2, 2), label_smoothing=0.3),
    call(of_probabilities(tg.softmax_cross_entropy), reals(4, 3), reals(4, 3)),
    call(of_probabilities(lambda x, y: tg.softmax_cross_entropy(x, y, 0.2)), reals(4, 3), reals(4, 3)),
    call(of_probabilities(nn.kl_divergence), reals(4, 3), reals(4, 3)),
    *(
        call(loss, reals(2, 3), reals(2, 3) + 2, reduction=reduction)
        for loss in (nn.mse, nn.mae, nn.huber)
        for reduction in ("mean", "sum", "none")
    ),
    call(nn.mse, reals(), reals()),
    call(nn.mse, reals(0), reals(0), reduction="sum"),
    call(nn.mse, reals(3), [1, 2, 3]),
    call(nn.mae, [1.0, 2.0], reals(2)),
    call(nn.huber, 4 * reals(10), np.zeros(10), delta=1.3),
    call(nn.hinge, reals(4), [1, -1, 1, -1]),
    call(nn.hinge, 3 * reals(2, 2), np.array([[1, -1], [1, -1]]), reduction="none"),
    call(nn.binary_cross_entropy_with_logits, reals(4), [0, 1, True, 0.25]),
    call(nn.binary_cross_entropy_with_logits, 9 * reals(2, 3), np.array([[0, 1, 1], [0, 0, 1]]), reduction="none"),
    call(lambda x, y: nn.binary_cross_entropy_with_logits(x, tg.sigmoid(y)), reals(4), reals(4)),
    # Convolution
    call(tg.conv, reals(2, 3, 5), reals(2, 3, 2)),
    call(tg.conv, reals(2, 3, 5), reals(2, 3, 2), reals(2)),
    call(tg.conv, reals(1, 1, 5), reals(1, 1, 5), [0.5]),
    call(tg.conv, reals(2, 1, 4, 3), reals(2, 1, 3, 2), padding=1, stride=2),
    call(tg.conv, reals(1, 2, 4, 3), reals(2, 1, 2, 2), reals(2), groups=2),
    call(tg.conv, reals(1, 2, 4, 3), reals(4, 1, 2, 2), groups=2, padding=((0, 1), [2, 0])),
    call(tg.conv, reals(1, 1, 5, 4), reals(1, 1, 2, 3), dilation=(2, 1), padding="same"),
    call(tg.conv, reals(1, 1, 5, 4), reals(1, 1, 3, 2), stride=(2, 3), padding="same"),
    call(tg.conv, reals(1, 1, 5, 4), reals(1, 1, 3, 2), padding="valid"),
    call(tg.conv, reals(1, 1, 6), reals(1, 1, 2), stride=4),
    call(tg.conv, reals(1, 1, 2), reals(1, 1, 2), stride=(3,), padding=[3]),
    call(tg.conv, reals(1, 1, 2, 3, 2), reals(2, 1, 2, 1, 2), stride=(1, 2, 1)),
    call(tg.conv, reals(1, 1, 2, 2, 2, 2), reals(1, 1, 1, 2, 1, 2)),
    call(tg.conv, reals(0, 2, 4), reals(3, 2, 2), reals(3)),
    call(tg.conv, reals(2, 3, 4).transpose(2, 1, 0), reals(2, 3, 2).T),
    call(tg.conv, np.arange(8).reshape(1, 2, 4), reals(1, 2, 2)),
    call(tg.conv, reals(1, 2, 4), np.arange(4).reshape(1, 2, 2)),
    call(tg.conv, [[[1.0, 2.0, 3.0]]], reals(1, 1, 2)),
    call(tg.conv_transpose, reals(2, 3, 4), reals(3, 2, 2)),
    call(tg.conv_transpose, reals(2, 3, 2), reals(3, 2, 2), reals(2), stride=3, output_padding=2),
    call(tg.conv_transpose, reals(1, 2, 3, 2), reals(2, 2, 2, 3), reals(4), stride=2, padding=1, groups=2),
    call(tg.conv_transpose, reals(1, 1, 3, 3), reals(1, 1, 2, 2), dilation=(1, 2), padding=((0, 1), (1, 2))),
    call(tg.conv_transpose, reals(1, 1, 2, 1, 2), reals(1, 1, 2, 2, 1), stride=2, output_padding=(1, 0, 1)),
    call(tg.conv_transpose, reals(0, 2, 3), reals(2, 1, 2)),
    # Pooling
    call(tg.max_pool, reals(2, 2, 5), 2),
    call(tg.max_pool, reals(2, 1, 5), 3, stride=1),
    call(tg.max_pool, reals(1, 2, 4, 5), 2),
    call(tg.max_pool, reals(1, 2, 4, 5), (2, 3), stride=(1, 2)),
    call(tg.max_pool, reals(1, 2, 4, 4), 3, stride=2, padding=1),
    call(tg.max_pool, reals(1, 1, 5, 4), 2, stride=1, dilation=2),
    call(tg.max_pool, reals(1, 1, 5, 5), 3, stride=2, padding="same"),
    call(tg.max_pool, reals(1, 1, 2, 4, 2), 2),
    call(tg.max_pool, reals(1, 1, 3), 1, stride=2),
    call(tg.max_pool, reals(0, 1, 4), 2),
    call(tg.max_pool, reals(4, 2, 2).T, 2),
    call(tg.avg_pool, reals(2, 2, 5), 2),
    call(tg.avg_pool, reals(1, 2, 4, 5), (2, 3), stride=(1, 2)),
    call(tg.avg_pool, reals(1, 2, 4, 4), 3, stride=2, padding=1),
    call(tg.avg_pool, reals(1, 2, 4, 4), 3, stride=2, padding=1, count_include_pad=False),
    call(tg.avg_pool, reals(1, 1, 4, 5), 2, padding=((1, 0), (0, 1)), count_include_pad=False),
    call(tg.avg_pool, reals(1, 1, 2, 4, 2), 2, count_include_pad=False),
    call(tg.avg_pool, reals(0, 1, 4), 2),
    # Normalisation
    call(tg.layer_norm, reals(3, 4), eps=0.1),
    call(tg.layer_norm, reals(3, 4), reals(4), reals(4), eps=0.1),
    call(tg.layer_norm, reals(2, 3, 2), reals(3, 2), None, axis=(1, 2), eps=0.1),
    call(tg.layer_norm, reals(2, 3, 2), axis=[-2, -1], eps=0.1),
    call(tg.layer_norm, reals(2, 3, 2), None, reals(2), axis=0, eps=0.1),
    call(tg.layer_norm, reals(3, 1)),
    call(tg.layer_norm, reals(0, 3)),
    call(tg.batch_norm, reals(4, 2), eps=0.1),
    call(tg.batch_norm, reals(3, 2, 2), reals(2), reals(2), eps=0.1),
    call(tg.batch_norm, reals(2, 2, 2, 2), reals(2), eps=0.1),
    call(tg.batch_norm, reals(1, 2, 4), bias=reals(2), eps=0.1),
    call(tg.batch_norm, reals(1, 3), reals(3), reals(3), mean=reals(3), var=reals(3) ** 2),
    call(tg.batch_norm, reals(2, 2, 2, 1), mean=reals(2), var=[0.5, 1.0], eps=0.0),
    call(tg.group_norm, reals(2, 4), 2, eps=0.1),
    call(tg.group_norm, reals(2, 4, 3), 2, reals(4), reals(4), eps=0.1),
    call(tg.group_norm, reals(2, 2, 2, 2), 2, reals(2), eps=0.1),
    call(tg.group_norm, reals(0, 2, 2), 1),
    call(tg.rms_norm, reals(3, 4), eps=0.1),
    call(tg.rms_norm, reals(3, 4), reals(4), eps=0.1),
    call(tg.rms_norm, reals(2, 3, 2), reals(3, 2), axis=[-2, -1], eps=0.1),
    # Embedding
    call(tg.embedding, [1, 0, 1, 1], reals(3, 2)),
    call(tg.embedding, np.array([[2, 2], [0, 2]], np.uint8), reals(3, 2)),
    call(tg.embedding, 1, reals(3, 2)),
    call(tg.embedding, [], reals(3, 2)),
    call(tg.embedding, [0, 0], reals(3)),
    call(tg.embedding, [0, 1], reals(2, 2, 2)),
]


@pytest.mark.parametrize("function, args, kwargs", CALLS)
def test_call(function, args, kwargs):
    check_call(function, *args, **kwargs)


# The same numbers compiled, and on arrays of other libraries


@pytest.mark.slow
@pytest.mark.parametrize("fast", [False, None])
def test_compiled_equals_plain(fast):
    for case in CALLS:
        function, args, kwargs = case.values
        floats = [a for a in args if isinstance(a, np.ndarray) and a.dtype.kind == "f"]

        def step(*floats, function=function, args=args, kwargs=kwargs):
            given = iter(tg.Tensor(x, requires_grad=True) for x in floats)
            operands = [next(given) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in args]
            out = function(*operands, **kwargs)
            wanted = [x for x in operands if isinstance(x, tg.Tensor)]
            return [out.data, *(g.data for g in tg.gradients((out * out).sum(), wanted))]

        compiled = tg.compile(step, fast=fast, pure=True)
        for arrays in (floats, [np.flip(x).copy() for x in floats], floats):
            for one, other in zip(step(*arrays), compiled(*arrays)):
                if fast is False:
                    np.testing.assert_array_equal(one, other, err_msg=str(case.id))
                else:
                    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13, err_msg=str(case.id))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: tg.gelu(x) + tg.silu(x) + tg.selu(x) + tg.gelu(x, "tanh"),
        lambda x: tg.max_pool(x, 2, padding=1) + tg.avg_pool(x, 2, padding=1, count_include_pad=False) ** 2,
        lambda x: tg.conv(x, tg.conv_transpose(x, x[:, :, 1:3], stride=2)[..., :3], x[:, 0, 0], padding=1),
        lambda x: tg.batch_norm(x, x[0, :, 0], eps=0.1) + tg.layer_norm(x, eps=0.1),
        lambda x: nn.mse(x, x * x) + nn.huber(x, x * x) + nn.binary_cross_entropy_with_logits(x, tg.sigmoid(x)),
    ],
)
def test_on_strict_arrays(function):
    x = reals(2, 2, 4)
    results = []
    for kind in (np.asarray, StrictArray):
        tensor = tg.Tensor(kind(x), requires_grad=True)
        gradient = tg.gradients(function(tensor).sum(), tensor, create_graph=True)
        results.append((gradient.data, tg.gradients((gradient * gradient).sum(), tensor).data))
    for plain, strict in zip(*results):
        np.testing.assert_array_equal(plain, strict.values)


def test_hessian_and_jacobian():
    x, w = reals(1, 1, 4), reals(1, 1, 2)
    rows = np.array([[w[0, 0, 0] if j == i else w[0, 0, 1] if j == i + 1 else 0 for j in range(4)] for i in range(3)])
    np.testing.assert_allclose(tg.jacobian(lambda x: tg.conv(x, w))(x).reshape(3, 4), rows)
    hessian = tg.hessian(lambda x: (tg.conv(x, w) ** 2).sum())(x).reshape(4, 4)
    np.testing.assert_allclose(hessian, 2 * rows.T @ rows)
    for function in (lambda x: tg.max_pool(tg.conv_transpose(x, w), 2), lambda x: tg.batch_norm(x, eps=0.1)):
        found = tg.jacobian(function)(x)
        direction = reals(*x.shape)
        _, along = tg.jvp(function, (x,), (direction,))
        np.testing.assert_allclose(np.tensordot(found, direction, 3), along, atol=1e-12)


# Integers, numbers, small dtypes


@over_activations
def test_activations_of_integers_and_numbers(f):
    values = np.array([-128, -3, 0, 5, 127])
    exact = np.array([f(float(v)) for v in values])
    for dtype in (np.int8, np.int64, np.float64):
        np.testing.assert_allclose(f(values.astype(dtype)), exact, rtol=1e-12, err_msg=str(dtype))
        np.testing.assert_allclose(f(tg.Tensor(values.astype(dtype))).data, exact, rtol=1e-12, err_msg=str(dtype))
    np.testing.assert_allclose(f(values[2:].astype(np.uint8)), exact[2:], rtol=1e-12)
    np.testing.assert_allclose(f(values.tolist()), exact, rtol=1e-12)
    for dtype in (np.float16, np.float32):
        found = f(values.astype(dtype))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, exact, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("f", [*ACTIVATIONS.values(), lambda x: tg.gelu(x, "tanh")])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_are_finite_everywhere_without_a_warning(f, dtype):
    x = tg.Tensor(np.array([-1e4, -800, -90, -1e-30, 0, 1e-30, 90, 800, 1e4], dtype), requires_grad=True)
    out = f(x)
    first = tg.gradients(out.sum(), x, create_graph=True)
    assert np.isfinite(out.data).all() and np.isfinite(first.data).all()
    if first.requires_grad:
        assert np.isfinite(tg.gradients(first.sum(), x).data).all()


def test_limits_of_activations():
    x = np.array([-1e4, 1e4])
    np.testing.assert_array_equal(tg.sigmoid(x), [0, 1])
    np.testing.assert_array_equal(tg.softplus(x), [0, 1e4])
    for f in (tg.gelu, tg.silu, lambda x: tg.gelu(x, "tanh")):
        np.testing.assert_array_equal(f(x), [-0.0, 1e4])
        np.testing.assert_array_equal(f(np.array([-np.inf, np.inf], np.float32)), [-0.0, np.inf])
    np.testing.assert_allclose(tg.sigmoid(-40.0), math.exp(-40), rtol=1e-14)
    np.testing.assert_allclose(tg.softplus(-40.0), math.exp(-40), rtol=1e-14)
    assert np.isnan(np.array([f(np.nan) for f in ACTIVATIONS.values()])).all()


def test_the_normal_distribution_function_has_all_digits():
    x = np.concatenate([np.linspace(-8, 8, 4001), [0.46875 * math.sqrt(2), -4 * math.sqrt(2), 4 * math.sqrt(2)]])
    exact = np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x])
    np.testing.assert_allclose(normal_cdf(x), exact, rtol=2e-14)
    np.testing.assert_allclose(normal_cdf(x.astype(np.float32)), exact, rtol=3e-5, atol=1e-7)
    np.testing.assert_array_equal(normal_cdf(np.array([-np.inf, -1e300, 0, 1e300, np.inf])), [0, 0, 0.5, 1, 1])


# Kinks: chosen values


KINKS = [
    (tg.relu, [0.0], [0.0]),
    (lambda x: tg.leaky_relu(x, 0.1), [0.0], [0.1]),
    (lambda x: tg.elu(x, 0.5), [0.0], [0.5]),
    (tg.softsign, [0.0], [1.0]),
    (tg.gelu, [0.0], [0.5]),
    (tg.silu, [0.0], [0.5]),
    (lambda x: nn.mae(x, [1.0, 1.0], "sum"), [1.0, 2.0], [0.0, 1.0]),
    (lambda x: nn.huber(x, [0.0, 0.0, 0.0], 1.0, "sum"), [1.0, -1.0, 0.0], [1.0, -1.0, 0.0]),
    (lambda x: nn.hinge(x, [1, -1], "sum"), [1.0, -1.0], [0.0, 0.0]),
    (lambda x: tg.max_pool(x.reshape(1, 1, -1), 3), [2.0, 2.0, 1.0], [0.5, 0.5, 0.0]),
    (lambda x: tg.max_pool(x.reshape(1, 1, -1), 2, stride=1), [2.0, 2.0, 2.0], [0.5, 1.0, 0.5]),
    (lambda x: tg.max_pool(x.reshape(1, 1, -1), 2, padding=1), [-3.0, -4.0], [1.0, 1.0]),
    (lambda x: tg.layer_norm(x, eps=0.25) * np.array([1.0, 2.0]), [3.0, 3.0], [-1.0, 1.0]),
]


@pytest.mark.parametrize("f, values, expected", KINKS)
def test_kinks(f, values, expected):
    x = tg.Tensor(values, requires_grad=True)
    f(x).sum().backward()
    np.testing.assert_allclose(x.grad, expected, rtol=1e-12)


def test_second_derivatives_at_kinks():
    for f, expected in ((tg.elu, 1.0), (tg.softsign, 0.0), (tg.relu, 0.0), (tg.gelu, math.sqrt(2 / math.pi))):
        assert tg.hessian(lambda x, f=f: f(x))(np.float64(0.0)) == pytest.approx(expected)


# Refused


X, W = np.zeros((2, 4, 6)), np.zeros((2, 4, 3))
REFUSED = [
    (lambda: tg.gelu(X, "fast"), ValueError, "approximate must be 'none' or 'tanh', got 'fast'"),
    (lambda: tg.softmax_cross_entropy(np.zeros((2, 3)), [0, 1], 1.5), ValueError, r"label_smoothing must lie in 0..1"),
    (lambda: tg.softmax_cross_entropy(np.zeros((2, 3)), [0, 3], 0.1), ValueError, r"labels must lie in 0..2"),
    (lambda: nn.mse(np.zeros((3, 1)), np.zeros(3)), ValueError, r"the shape \(3, 1\) of the predictions, got \(3,\)"),
    (lambda: nn.mae([1.0], [1.0, 2.0]), ValueError, r"mae: targets must have the shape \(1,\)"),
    (lambda: nn.huber([1.0], [1.0], delta=0), ValueError, "delta must be positive, got 0"),
    (lambda: nn.mse([1.0], [1.0], "avg"), ValueError, "reduction must be 'mean', 'sum' or 'none', got 'avg'"),
    (lambda: nn.mse([], []), ValueError, "no mean"),
    (lambda: nn.hinge([1.0], [0]), ValueError, "labels must be -1 or 1, got 0"),
    (lambda: nn.binary_cross_entropy_with_logits([1.0], [2]), ValueError, r"labels must lie in 0..1, got 2"),
    (lambda: nn.binary_cross_entropy_with_logits([1.0], [np.nan]), ValueError, r"labels must lie in 0..1, got nan"),
    (lambda: nn.kl_divergence(np.zeros((1, 2)), [1]), TypeError, r"takes probabilities of shape \(1, 2\)"),
    (lambda: tg.conv(X[0], W), ValueError, r"takes images \(examples, channels, \*spatial\)"),
    (lambda: tg.conv(X, W[..., None]), ValueError, "a weight of as many axes"),
    (lambda: tg.conv(X, W[:, :3]), ValueError, r"4 channels in 1 group\(s\) take a weight"),
    (lambda: tg.conv(X, W[:, :2], groups=3), ValueError, r"4 channels in 3 group\(s\)"),
    (lambda: tg.conv(X, np.zeros((3, 2, 3)), groups=2), ValueError, "3 out_channels cannot be divided into 2 groups"),
    (lambda: tg.conv(X, W, groups=0), ValueError, "groups must be an integer of at least 1"),
    (lambda: tg.conv(X, W, stride=0), ValueError, "stride must be an integer of at least 1"),
    (lambda: tg.conv(X, W, stride=1.5), ValueError, "stride must be an integer"),
    (lambda: tg.conv(X, W, stride=(1, 1)), ValueError, r"one for each of the 1 spatial axes, got \(1, 1\)"),
    (lambda: tg.conv(X, W, dilation=-1), ValueError, "dilation must be"),
    (lambda: tg.conv(X, W, padding=-1), ValueError, "padding must be an integer of at least 0"),
    (lambda: tg.conv(X, W, padding="full"), ValueError, "padding must be 'same', 'valid' or integers, got 'full'"),
    (lambda: tg.conv(X, W, dilation=3), ValueError, "stretches over 7 elements does not fit an axis of 6"),
    (lambda: tg.conv(X, W, np.zeros(3)), ValueError, r"the bias must have shape \(2,\), got \(3,\)"),
    (lambda: tg.conv_transpose(X, W), ValueError, r"4 channels in 1 group\(s\) take a weight of shape \(4, "),
    (lambda: tg.conv_transpose(X, W.swapaxes(0, 1), padding="same"), ValueError, "padding must be given in integers"),
    (lambda: tg.conv_transpose(X, W.swapaxes(0, 1), output_padding=1), ValueError, "smaller than the stride"),
    (lambda: tg.conv_transpose(X, W.swapaxes(0, 1), padding=4), ValueError, "nothing is left"),
    (lambda: tg.max_pool(np.zeros((2, 3)), 2), ValueError, r"takes images of shape"),
    (lambda: tg.max_pool(X, 7), ValueError, "stretches over 7 elements does not fit an axis of 6"),
    (lambda: tg.max_pool(X, 2, padding=2), ValueError, "nothing but padding"),
    (lambda: tg.max_pool(np.zeros((1, 1, 1)), 2, padding=1, dilation=2), ValueError, "nothing but padding"),
    (lambda: tg.avg_pool(X, 0), ValueError, "avg_pool: kernel_size must be"),
    (lambda: tg.layer_norm([1, 2]), TypeError, "layer_norm: takes floats, got int64"),
    (lambda: tg.batch_norm(np.zeros(3)), ValueError, "takes x of shape"),
    (lambda: tg.group_norm(np.zeros(3), 1), ValueError, "group_norm: takes x of shape"),
    (lambda: tg.group_norm(X, 3), ValueError, "group_norm: 4 channels cannot be divided into 3 groups"),
    (lambda: tg.group_norm(X, 2, np.zeros(3)), ValueError, r"group_norm: weight must have shape \(4,\), got \(3,\)"),
    (lambda: tg.rms_norm([1, 2]), TypeError, "rms_norm: takes floats, got int64"),
    (lambda: tg.batch_norm(np.zeros((1, 3))), ValueError, "at most one element for each channel"),
    (lambda: tg.batch_norm(np.zeros((0, 3))), ValueError, "at most one element for each channel"),
    (lambda: tg.batch_norm(X, mean=np.zeros(4)), ValueError, "both mean= and var=, or neither"),
    (lambda: tg.batch_norm(X, np.zeros(3)), ValueError, r"weight must have shape \(4,\), got \(3,\)"),
    (lambda: tg.embedding([0, 3], np.zeros((3, 2))), IndexError, "indices must lie in 0..2 for 3 rows, got 3"),
    (lambda: tg.embedding([0, -1], np.zeros((3, 2))), IndexError, "got -1"),
    (lambda: tg.embedding([0.0], np.zeros((3, 2))), TypeError, "takes integer indices, got float64"),
    (lambda: tg.embedding([True], np.zeros((3, 2))), TypeError, "takes integer indices, got bool"),
    (lambda: tg.embedding(0, np.float64(3)), ValueError, "0-d"),
    (lambda: tg.flatten(np.zeros(3)), ValueError, r"start must be one of the axes"),
]


@pytest.mark.parametrize("f, kind, message", REFUSED)
def test_refused(f, kind, message):
    with pytest.raises(kind, match=message):
        f()


# Convolution and pooling, by their definitions


def naive_windows(x, kernel, stride, dilation, padding, fill=0.0):
    """Every window, by a loop: its index, and its elements of shape (examples, channels, *kernel)."""
    x = np.pad(x, ((0, 0), (0, 0), *padding), constant_values=fill)
    counts = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation)]
    for i in product(*map(range, counts)):
        where = tuple(slice(s * j, s * j + d * (k - 1) + 1, d) for j, s, d, k in zip(i, stride, dilation, kernel))
        yield i, x[(slice(None), slice(None), *where)]


@pytest.mark.parametrize("seed", range(20))
def test_convolution_and_pooling_are_what_they_say(seed):
    rng = np.random.default_rng(seed)
    n, groups = rng.integers(1, 4), int(rng.integers(1, 3))
    kernel, stride, dilation = (tuple(int(v) for v in rng.integers(1, 4, n)) for _ in range(3))
    padding = tuple((int(a), int(b)) for a, b in rng.integers(0, 3, (n, 2)))
    spatial = [d * (k - 1) + 1 + int(rng.integers(0, 4)) for k, d in zip(kernel, dilation)]
    x = rng.standard_normal((2, 2 * groups, *spatial))
    w, b = rng.standard_normal((3 * groups, 2, *kernel)), rng.standard_normal(3 * groups)
    y = tg.conv(x, w, b, stride=stride, dilation=dilation, padding=padding, groups=groups)
    for i, window in naive_windows(x, kernel, stride, dilation, padding):
        for group in range(groups):
            own = slice(3 * group, 3 * group + 3)
            axes = tuple(range(1, n + 2))
            expected = np.tensordot(window[:, 2 * group : 2 * group + 2], w[own], (axes, axes)) + b[own]
            np.testing.assert_allclose(y[(slice(None), own, *i)], expected, atol=1e-12)
    assert y.shape[2:] == tuple(j + 1 for j in i)
    rest = tuple(
        (m + low + high - d * (k - 1) - 1) % s
        for m, (low, high), d, k, s in zip(spatial, padding, dilation, kernel, stride)
    )
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    back = tg.conv_transpose(y, w, output_padding=rest, **settings)
    assert back.shape == x.shape
    assert (y * tg.conv(x, w, **settings)).sum() == pytest.approx((x * back).sum())
    inside = tuple((min(a, k // 2), min(b, k // 2)) for (a, b), k in zip(padding, kernel))
    if dilation == (1,) * n or not any(map(any, inside)):
        largest = tg.max_pool(x, kernel, stride=stride, dilation=dilation, padding=inside)
        for i, window in naive_windows(x, kernel, stride, dilation, inside, -np.inf):
            np.testing.assert_array_equal(largest[(..., *i)], window.max(axis=tuple(range(2, n + 2))))
        assert largest.shape[2:] == tuple(j + 1 for j in i)
    means = tg.avg_pool(x, kernel, stride=stride, padding=inside, count_include_pad=False)
    zeros = tg.avg_pool(x, kernel, stride=stride, padding=inside)
    for i, window in naive_windows(x, kernel, stride, (1,) * n, inside, np.nan):
        np.testing.assert_allclose(means[(..., *i)], np.nanmean(window, axis=tuple(range(2, n + 2))), atol=1e-12)
        expected = np.nan_to_num(window).mean(axis=tuple(range(2, n + 2)))
        np.testing.assert_allclose(zeros[(..., *i)], expected, atol=1e-12)
    assert means.shape[2:] == tuple(j + 1 for j in i)


@pytest.mark.parametrize("length, kernel, stride", product((1, 4, 5), (1, 2, 3, 4), (1, 2, 3)))
def test_same_padding_gives_a_window_for_each_stride(length, kernel, stride):
    x = np.ones((1, 1, length))
    assert tg.conv(x, np.ones((1, 1, kernel)), stride=stride, padding="same").shape[2] == -(-length // stride)
    assert tg.max_pool(x, kernel, stride=stride, padding="same").shape[2] == -(-length // stride)


@pytest.mark.parametrize("limit", [1, 50, 10**9])
def test_examples_done_in_blocks_give_the_same(limit, monkeypatch):
    x, w = reals(5, 2, 4, 4), reals(4, 1, 2, 2)
    whole = tg.conv(x, w, groups=2)
    monkeypatch.setattr(convolution, "MOST_ELEMENTS", limit)
    np.testing.assert_allclose(tg.conv(x, w, groups=2), whole, rtol=1e-13)
    check_call(tg.conv, reals(3, 2, 3), reals(2, 1, 2), groups=2)
    check_call(tg.conv_transpose, reals(3, 2, 3), reals(2, 1, 2), groups=2)


def test_pooling_of_integers_and_float32():
    x = np.array([[[3, -5, -7, -9]]])
    np.testing.assert_array_equal(tg.max_pool(x, 2, padding=1), [[[3, -5, -9]]])
    assert tg.max_pool(x, 2).dtype == x.dtype and tg.avg_pool(x, 2).dtype == np.float64
    np.testing.assert_array_equal(tg.max_pool(x > 0, 2, padding=1), [[[True, False, False]]])
    np.testing.assert_array_equal(tg.avg_pool(x > 0, 4), [[[0.25]]])
    np.testing.assert_array_equal(tg.avg_pool(np.full((1, 1, 2), 100, np.int8), 2), [[[100.0]]])
    np.testing.assert_array_equal(tg.avg_pool(np.full((1, 1, 2), 60_000, np.float16), 2), np.float16([[[60_000]]]))
    for include in (True, False):
        pooled = tg.avg_pool(x.astype(np.float32), 2, padding=1, count_include_pad=include)
        assert pooled.dtype == np.float32
    np.testing.assert_array_equal(tg.max_pool(np.array([[[1.0, np.nan, 2.0, -np.inf]]]), 2), [[[np.nan, 2.0]]])


def test_embedding_takes_integer_tensors_and_checks_a_compiled_step():
    weight = tg.Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    np.testing.assert_array_equal(tg.embedding(tg.Tensor([2, 2]), weight).data, [[4, 5], [4, 5]])

    @partial(tg.compile, pure=True)
    def step(indices):
        weight.grad = None
        tg.embedding(indices, weight).sum().backward()
        return weight.grad

    np.testing.assert_array_equal(step(np.array([0, 2, 0])), [[2, 2], [0, 0], [1, 1]])
    np.testing.assert_array_equal(step(np.array([1, 1, 1])), [[0, 0], [3, 3], [0, 0]])
    with pytest.raises(IndexError, match="got 3"):
        step(np.array([1, 3, 1]))


TABLE = np.arange(9.0).reshape(3, 3)


@pytest.mark.parametrize("kind", [np.asarray, tg.Tensor], ids=["array", "Tensor"])
@pytest.mark.parametrize(
    "function",
    [
        lambda indices: tg.embedding(indices, TABLE),
        lambda indices: tg.embedding(indices, TABLE.tolist()),
        lambda indices: tg.softmax_cross_entropy(TABLE, indices),
        lambda indices: tg.softmax_cross_entropy(TABLE, indices, label_smoothing=0.1),
        lambda indices: tg.softmax_cross_entropy(tg.Tensor(TABLE), indices, label_smoothing=0.1),
        lambda indices: nn.categorical_cross_entropy(TABLE + 1, indices),
    ],
    ids=["embedding", "embedding of a list", "cross-entropy", "smoothed", "smoothed, of a Tensor", "of probabilities"],
)
def test_compiled_indices_of_a_plain_table(function, kind):
    compiled = tg.compile(lambda indices: function(indices) * tg.Tensor(2.0))
    for indices in ([0, 2, 1], [1, 1, 0], [0, 2, 1]):
        indices = kind(np.array(indices))
        np.testing.assert_array_equal(compiled(indices), function(indices) * 2.0)


def test_label_smoothing_is_the_cross_entropy_of_smoothed_rows():
    logits = reals(4, 3).astype(np.float32)
    rows = (0.9 * np.eye(3)[LABELS] + 0.1 / 3).astype(np.float32)
    loss = tg.softmax_cross_entropy(logits, LABELS, label_smoothing=0.1)
    assert loss.dtype == np.float32 and loss == pytest.approx(tg.softmax_cross_entropy(logits, rows))


def test_settings_that_are_numpy_numbers_do_not_promote():
    x, half = np.ones((2, 2), np.float32), np.float64(0.5)
    for out in (
        tg.leaky_relu(x, half),
        tg.elu(x, half),
        tg.softmax_cross_entropy(x, [0, 1], half),
        nn.huber(x, 2 * x, half),
        tg.batch_norm(x, eps=half),
        tg.layer_norm(x, eps=half),
    ):
        assert out.dtype == np.float32
    slope = tg.Tensor(0.5, requires_grad=True)
    with pytest.raises(TypeError, match="requires gradients"):
        tg.leaky_relu(x, slope)


def test_losses_of_huge_logits():
    logits = tg.Tensor([1e4, -1e4, 1e4, -1e4], requires_grad=True)
    loss = nn.binary_cross_entropy_with_logits(logits, [1, 0, 0, 1], reduction="none")
    np.testing.assert_array_equal(loss.data, [0, 0, 1e4, 1e4])
    loss.sum().backward()
    np.testing.assert_array_equal(logits.grad, [0, 0, 1, -1])
    assert nn.kl_divergence(np.array([[0.0, -1e4]]), np.array([[1.0, 0.0]])) == 0


def test_targets_are_taken_in_the_dtype_of_the_predictions():
    predictions = tg.Tensor(np.ones(2, np.float32), requires_grad=True)
    for loss in (nn.mse, nn.mae, nn.huber, nn.hinge, nn.binary_cross_entropy_with_logits):
        for targets in ([1, 1], np.ones(2), np.ones(2, int), tg.Tensor([1, 1])):
            assert loss(predictions, targets).dtype == np.float32


# PyTorch, where it is installed: values, first and second derivatives


def torch_functions():
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    return torch, {
        "leaky_relu": (lambda x: tg.leaky_relu(x, 0.2), lambda x: f.leaky_relu(x, 0.2), [(3, 4)]),
        "elu": (lambda x: tg.elu(x, 0.7), lambda x: f.elu(x, 0.7), [(3, 4)]),
        "selu": (tg.selu, f.selu, [(3, 4)]),
        "gelu": (tg.gelu, f.gelu, [(3, 4)]),
        "gelu tanh": (lambda x: tg.gelu(x, "tanh"), lambda x: f.gelu(x, approximate="tanh"), [(3, 4)]),
        "sigmoid": (tg.sigmoid, torch.sigmoid, [(3, 4)]),
        "silu": (tg.silu, f.silu, [(3, 4)]),
        "softplus": (tg.softplus, f.softplus, [(3, 4)]),
        "softsign": (tg.softsign, f.softsign, [(3, 4)]),
        "log_softmax": (tg.log_softmax, lambda x: f.log_softmax(x, -1), [(3, 4)]),
        "conv1d": (
            lambda x, w, b: tg.conv(x, w, b, stride=2, padding=1, dilation=2, groups=2),
            lambda x, w, b: f.conv1d(x, w, b, stride=2, padding=1, dilation=2, groups=2),
            [(2, 4, 9), (6, 2, 3), (6,)],
        ),
        "conv2d": (
            lambda x, w, b: tg.conv(x, w, b, stride=(2, 1), padding=(1, 0)),
            lambda x, w, b: f.conv2d(x, w, b, stride=(2, 1), padding=(1, 0)),
            [(2, 3, 6, 5), (4, 3, 3, 2), (4,)],
        ),
        "conv2d same": (
            lambda x, w: tg.conv(x, w, padding="same", dilation=2),
            lambda x, w: f.conv2d(x, w, padding="same", dilation=2),
            [(2, 1, 5, 5), (2, 1, 2, 3)],
        ),
        "conv3d": (
            lambda x, w: tg.conv(x, w, padding=1),
            lambda x, w: f.conv3d(x, w, padding=1),
            [(1, 2, 3, 4, 3), (2, 2, 2, 3, 1)],
        ),
        "conv_transpose2d": (
            lambda x, w, b: tg.conv_transpose(
                x, w, b, stride=2, padding=1, output_padding=1, groups=2, dilation=(1, 2)
            ),
            lambda x, w, b: f.conv_transpose2d(x, w, b, 2, 1, 1, 2, (1, 2)),
            [(2, 4, 3, 4), (4, 2, 3, 2), (4,)],
        ),
        "max_pool2d": (
            lambda x: tg.max_pool(x, 3, stride=2, padding=1),
            lambda x: f.max_pool2d(x, 3, 2, 1),
            [(2, 2, 6, 7)],
        ),
        "max_pool3d": (lambda x: tg.max_pool(x, 2), lambda x: f.max_pool3d(x, 2), [(1, 2, 4, 5, 2)]),
        "avg_pool2d": (
            lambda x: tg.avg_pool(x, 3, stride=2, padding=1),
            lambda x: f.avg_pool2d(x, 3, 2, 1),
            [(2, 2, 6, 7)],
        ),
        "avg_pool2d without padding": (
            lambda x: tg.avg_pool(x, 3, stride=2, padding=1, count_include_pad=False),
            lambda x: f.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
            [(2, 2, 6, 7)],
        ),
        "batch_norm": (
            lambda x, w, b: tg.batch_norm(x, w, b),
            lambda x, w, b: f.batch_norm(x, None, None, w, b, training=True),
            [(4, 3, 5), (3,), (3,)],
        ),
        "layer_norm": (
            lambda x, w, b: tg.layer_norm(x, w, b, axis=(-2, -1)),
            lambda x, w, b: f.layer_norm(x, (3, 5), w, b),
            [(4, 3, 5), (3, 5), (3, 5)],
        ),
        "group_norm": (
            lambda x, w, b: tg.group_norm(x, 3, w, b),
            lambda x, w, b: f.group_norm(x, 3, w, b),
            [(4, 6, 5), (6,), (6,)],
        ),
        "rms_norm": (
            lambda x, w: tg.rms_norm(x, w, axis=(-2, -1)),
            lambda x, w: f.rms_norm(x, (3, 5), w, 1e-6),
            [(4, 3, 5), (3, 5)],
        ),
        "embedding": (
            lambda w: tg.embedding([[1, 1], [0, 3]], w) ** 2,
            lambda w: f.embedding(torch.tensor([[1, 1], [0, 3]]), w) ** 2,
            [(4, 3)],
        ),
        "cross_entropy": (
            lambda x: tg.softmax_cross_entropy(x, LABELS, 0.1),
            lambda x: f.cross_entropy(x, torch.tensor(LABELS), label_smoothing=0.1),
            [(4, 3)],
        ),
        "mse": (nn.mse, f.mse_loss, [(4, 3), (4, 3)]),
        "mae": (nn.mae, f.l1_loss, [(4, 3), (4, 3)]),
        "huber": (lambda x, y: nn.huber(x, y, 0.3), lambda x, y: f.huber_loss(x, y, delta=0.3), [(4, 3), (4, 3)]),
        "binary_cross_entropy_with_logits": (
            lambda x, y: nn.binary_cross_entropy_with_logits(x, tg.sigmoid(y)),
            lambda x, y: f.binary_cross_entropy_with_logits(x, torch.sigmoid(y)),
            [(4, 3), (4, 3)],
        ),
        "kl_divergence": (
            lambda x, y: nn.kl_divergence(x, tg.softmax(y)),
            lambda x, y: f.kl_div(f.log_softmax(x, -1), torch.softmax(y, -1), reduction="batchmean"),
            [(4, 3), (4, 3)],
        ),
    }


@pytest.mark.slow
@pytest.mark.parity
def test_agreement_with_pytorch():
    torch, functions = torch_functions()
    rng = np.random.default_rng(1)
    for name, (ours, theirs, shapes) in functions.items():
        arrays = [rng.standard_normal(shape) for shape in shapes]
        tensors = [tg.Tensor(x, requires_grad=True) for x in arrays]
        others = [torch.tensor(x, requires_grad=True) for x in arrays]
        out, other = ours(*tensors), theirs(*others)
        seed = rng.standard_normal(out.shape)
        first = tg.gradients((out * seed).sum(), tensors, create_graph=True)
        expected = torch.autograd.grad((other * torch.tensor(seed)).sum(), others, create_graph=True)
        close(name, [out, *first], [other, *expected])
        seeds = [rng.standard_normal(shape) for shape in shapes]
        total = sum((g * g * s).sum() for g, s in zip(first, seeds))
        total_other = sum((g * g * torch.tensor(s)).sum() for g, s in zip(expected, seeds))
        if total.requires_grad and total_other.requires_grad:
            second = tg.gradients(total, tensors)
            expected = torch.autograd.grad(total_other, others, allow_unused=True, materialize_grads=True)
            close(f"{name}, second order", second, expected)


def close(name, found, expected):
    for one, other in zip(found, expected):
        np.testing.assert_allclose(one.data, other.detach().numpy(), rtol=1e-10, atol=1e-10, err_msg=name)
