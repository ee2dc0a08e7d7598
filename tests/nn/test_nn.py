"""Modules, layers, losses and penalties."""

import collections
import copy
import dataclasses
import functools
import gc
import pickle
import types
import warnings
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from models import mnist, simpsons, simpsons_rgb
from tensorgrad import nn
from tensorgrad.training import fit


def network(seed=0, **settings):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Dense(4, 8, rng, **settings), nn.ReLU(), nn.Dropout(0.5, rng), nn.Dense(8, 3, rng, **settings)
    )


class Tied(nn.Module):
    def __init__(self):
        self.shared = tg.Tensor(np.ones((2, 2), np.float32), requires_grad=True)
        self.again = self.shared
        self.mean = tg.Tensor(np.zeros(2, np.float32))
        self.blocks = [nn.Dense(2, 2), {"inner": nn.ReLU()}]

    def forward(self, x):
        return self.blocks[0](x @ self.shared)


def test_parameters_are_found_by_attribute_once():
    tied = Tied()
    assert [name for name, _ in tied.named_parameters()] == ["shared", "blocks.0.weight", "blocks.0.bias"]
    assert set(tied.state_dict()) == {"shared", "again", "mean", "blocks.0.weight", "blocks.0.bias"}
    assert len(tied.parameters()) == 3


def test_train_and_eval_reach_every_module():
    tied = Tied()
    assert tied.eval() is tied
    assert not any(module.training for module in tied.modules()) and len(list(tied.modules())) == 3
    tied.train()
    assert all(module.training for module in tied.modules())


def test_dropout_acts_in_training_only():
    model, x = network(), np.ones((2, 4))
    model.eval()
    np.testing.assert_array_equal(model(x).data, model(x).data)
    model.train()
    assert not np.array_equal(model(x).data, model(x).data)


def test_state_dict_round_trip_and_copies():
    one, other = network(0), network(1)
    other.load_state_dict(one.state_dict())
    x = np.ones((2, 4))
    np.testing.assert_array_equal(one.eval()(x).data, other.eval()(x).data)
    one.state_dict()["0.weight"][:] = 0
    assert one.layers[0].weight.data.any()


def test_load_state_dict_is_all_or_nothing():
    model = network()
    before = model.state_dict()
    bad = {**before, "0.weight": before["0.weight"] + 1, "3.bias": np.zeros(7, np.float32)}
    with pytest.raises(
        ValueError, match=r"3.bias is float32 of shape \(7,\), the network needs float32 of shape \(3,\)"
    ):
        model.load_state_dict(bad)
    with pytest.raises(KeyError, match=r"missing: 0.bias, unknown: 'extra'"):
        model.load_state_dict({**{k: v for k, v in before.items() if k != "0.bias"}, "extra": 1})
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_repr_reads_like_the_network():
    assert repr(network(weight_l2=1e-3)) == (
        "Sequential(\n  (0): Dense(4 -> 8, weight_l2=0.001)\n  (1): ReLU()\n  (2): Dropout(0.5)\n"
        "  (3): Dense(8 -> 3, weight_l2=0.001)\n)"
    )


def test_parameters_are_float32_unless_said_otherwise():
    assert {p.dtype for p in network().parameters()} == {np.dtype(np.float32)}
    assert {p.dtype for p in network(dtype=np.float64).parameters()} == {np.dtype(np.float64)}


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_layers_take_arrays_of_any_dtype_and_stay_in_theirs(dtype):
    assert network()(np.ones((2, 4), dtype)).dtype == np.float32


def test_a_tensor_of_another_dtype_is_refused():
    with pytest.raises(TypeError, match=r"Dense\(4 -> 8\): the input is float64, the parameters float32; use x.astype"):
        network()(tg.Tensor(np.ones((2, 4))))


@pytest.mark.parametrize("shape", [(2, 5), (), (4, 2)])
def test_a_wrong_input_shape_is_named(shape):
    with pytest.raises(ValueError, match=r"Dense\(4 -> 8\): the input must have shape \(..., 4\), got"):
        network()(np.ones(shape, np.float32))


def test_dense_takes_any_leading_axes():
    layer = nn.Dense(4, 3, np.random.default_rng(0), dtype=np.float64)
    x = np.random.default_rng(1).standard_normal((2, 5, 4))
    tg.gradcheck(layer, [x], order=2)
    np.testing.assert_allclose(layer(x).data, x @ layer.weight.data + layer.bias.data)
    assert layer(x[0, 0]).shape == (3,)


@pytest.mark.parametrize("arguments", [(0, 3), (3, -1), (3, 2.5)])
def test_sizes_are_checked(arguments):
    with pytest.raises(ValueError, match="positive integer"):
        nn.Dense(*arguments)
    with pytest.raises(ValueError, match="must not be negative"):
        nn.Dense(2, 2, weight_l1=-1)
    with pytest.raises(ValueError, match="0 <= rate < 1"):
        nn.Dropout(1)


def test_penalties_are_the_sums_that_they_say():
    rng = np.random.default_rng(0)
    layer = nn.Dense(3, 2, rng, weight_l1=0.1, weight_l2=0.2, bias_l1=0.3, bias_l2=0.4, dtype=np.float64)
    layer.bias.data = np.array([1.0, -2.0])
    w, b = layer.weight.data, layer.bias.data
    expected = 0.1 * abs(w).sum() + 0.2 * (w**2).sum() + 0.3 * abs(b).sum() + 0.4 * (b**2).sum()
    assert nn.Sequential(layer, nn.ReLU()).penalty().item() == pytest.approx(expected)
    layer.penalty().backward()
    np.testing.assert_allclose(layer.weight.grad, 0.1 * np.sign(w) + 0.4 * w)
    np.testing.assert_allclose(layer.bias.grad, 0.3 * np.sign(b) + 0.8 * b)
    assert nn.Dense(3, 2).penalty() == 0.0


def test_categorical_cross_entropy_of_softmax_is_softmax_cross_entropy():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    for targets in (labels, np.eye(4)[labels]):
        a = nn.categorical_cross_entropy(nn.Softmax()(tg.Tensor(logits)), targets)
        b = nn.softmax_cross_entropy(tg.Tensor(logits), targets)
        assert a.item() == pytest.approx(b.item())
    tg.gradcheck(lambda x: nn.categorical_cross_entropy(tg.softmax(x), labels), [logits], order=2)
    assert np.isfinite(nn.categorical_cross_entropy(np.array([[0.0, 1.0]]), [0]))


def test_every_layer_has_the_numeric_gradient_in_its_parameters():
    model = network(dtype=np.float64, weight_l1=0.01, weight_l2=0.1, bias_l2=0.1).eval()
    x = np.random.default_rng(3).standard_normal((5, 4))
    names = [name for name, _ in model.named_parameters()]

    def loss(*parameters):
        layers = {"0": model.layers[0], "3": model.layers[3]}
        for name, tensor in zip(names, parameters):
            setattr(layers[name[0]], name[2:], tensor)
        return nn.softmax_cross_entropy(model(x), [0, 1, 2, 1, 0]) + model.penalty()

    tg.gradcheck(loss, [p.data + 0.01 for p in model.parameters()], order=2)


def test_sequential_takes_functions_and_refuses_lists():
    model = nn.Sequential(nn.Dense(2, 3), np.tanh, nn.ReLU())
    assert model(np.ones((1, 2))).shape == (1, 3) and "(1): tanh" in repr(model) and len(model.parameters()) == 2
    with pytest.raises(TypeError, match="layer 0 is a list, not a module or function; pass the layers one by one"):
        nn.Sequential([nn.Dense(2, 3)])


class Odd(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Dense(2, 2, np.random.default_rng(0), weight_l2=1.0))
        self.scale = tg.Tensor(np.float32(2), requires_grad=True)
        self.back = self
        self.layers[0].parent = self

    def forward(self, x):
        self.last = super().forward(x) * self.scale
        return self.last


def test_odd_modules():
    odd = Odd()
    odd(np.ones((1, 2)))
    assert set(odd.state_dict()) == {"scale", "0.weight", "0.bias"} and len(odd.parameters()) == 3
    layer = odd.layers[0]
    assert nn.Sequential(layer, layer).penalty().item() == layer.penalty().item()
    clash = nn.Module()
    clash.both = {1: tg.Tensor([1.0]), "1": tg.Tensor([2.0])}
    with pytest.raises(ValueError, match="same dotted name"):
        clash.state_dict()


def test_a_copied_network_is_independent():
    one = network()
    other = copy.deepcopy(one)
    other.layers[0].weight.data -= 1
    assert not np.array_equal(one.layers[0].weight.data, other.layers[0].weight.data)


@pytest.mark.parametrize(
    "make, pixels, count", [(mnist, 784, 407_050), (simpsons, 784, 407_050), (simpsons_rgb, 2352, 5_873_162)]
)
def test_the_models(make, pixels, count):
    model = make(np.random.default_rng(0))
    assert sum(p.size for p in model.parameters()) == count
    assert model(np.zeros((2, pixels), np.float32)).shape == (2, 10)
    assert model.penalty().item() > 0
    assert "Dropout(0.1)" in repr(model)


# Images: convolution, pooling, normalisation


def bars(count, seed):
    """8 x 8 images of a noisy bar somewhere: 0 lies, 1 stands, 2 falls, 3 rises."""
    rng = np.random.default_rng(seed)
    i, j = np.indices((8, 8))
    labels = rng.integers(0, 4, count)
    place = rng.integers(0, 8, (count, 1, 1))
    across = np.array([i, j, i - j, i + j])[labels]
    images = (across % 8 == place) + rng.normal(0, 0.3, (count, 8, 8))
    return images[:, None].astype(np.float32), labels


def convolutional(seed=0):
    rng = np.random.default_rng(seed)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, rng, padding="same", weight_l2=1e-4),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, rng, padding=1),
        nn.LeakyReLU(0.1),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1, rng),
        nn.Dense(64, 4, rng),
    )


def trained(epochs, compiled=True, folder=None, resume=False):
    model = convolutional()
    optimiser = tg.optim.Adam(model.parameters(), lr=1e-2)
    settings = {"rng": np.random.default_rng(1), "quiet": True, "folder": folder, "resume": resume}
    history = fit(
        model, bars(500, 0), bars(200, 1), optimiser, epochs=epochs, batch_size=50, compiled=compiled, **settings
    )
    return model, optimiser, history


def assert_same_state(one, other):
    for part, counterpart in zip(one[:2], other[:2]):
        state = counterpart.state_dict()
        for name, value in part.state_dict().items():
            np.testing.assert_array_equal(value, state[name], err_msg=name)


@pytest.mark.slow
def test_a_convolutional_network_learns():
    model, _, history = trained(5)
    assert history[-1].validation_accuracy > 0.9
    assert set(model.state_dict()) >= {"1.running_mean", "1.running_var", "1.weight", "0.bias"}
    assert len(model.parameters()) == 8 and not np.array_equal(model.state_dict()["1.running_var"], np.ones(8))


@pytest.mark.slow
def test_a_convolutional_network_is_the_same_compiled(monkeypatch):
    monkeypatch.setenv("TENSORGRAD_FAST", "0")
    plain, compiled = trained(1, compiled=False), trained(1, compiled=True)
    assert_same_state(plain, compiled)
    assert [row.loss for row in plain[2]] == [row.loss for row in compiled[2]]


@pytest.mark.slow
def test_a_network_with_batch_norm_resumes_bit_for_bit(tmp_path):
    straight = trained(3)
    trained(2, folder=tmp_path)
    assert_same_state(trained(3, folder=tmp_path, resume=True), straight)


@pytest.mark.parametrize(
    "shape, layer",
    [
        ((6, 3), nn.BatchNorm1d(3)),
        ((4, 3, 5), nn.BatchNorm1d(3)),
        ((4, 3, 2, 2), nn.BatchNorm2d(3)),
        ((2, 3, 2, 1, 2), nn.BatchNorm3d(3)),
    ],
)
def test_batch_norm_keeps_running_statistics(shape, layer):
    rng = np.random.default_rng(0)
    axes = (0, *range(2, len(shape)))
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(3):
        x = rng.normal(2, 3, shape).astype(np.float32)
        out = layer(x)
        np.testing.assert_allclose(out.data.mean(axis=axes), np.zeros(3), atol=1e-5)
        np.testing.assert_allclose(out.data.std(axis=axes), np.ones(3), atol=1e-3)
        mean, var = 0.9 * mean + 0.1 * x.mean(axis=axes), 0.9 * var + 0.1 * x.var(axis=axes, ddof=1)
        np.testing.assert_allclose(layer.running_mean.data, mean, rtol=1e-5)
        np.testing.assert_allclose(layer.running_var.data, var, rtol=1e-5)
    x, spread = rng.normal(2, 3, shape), (slice(None),) + (None,) * (len(shape) - 2)
    expected = (x - mean[spread]) / np.sqrt(var[spread] + 1e-5)
    np.testing.assert_allclose(layer.eval()(x).data, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer.running_mean.data, mean, rtol=1e-5)
    assert layer(x[:1]).shape == x[:1].shape and not layer.running_mean.requires_grad


def test_a_compiled_step_follows_changed_settings_of_batch_norm():
    layer = nn.BatchNorm1d(2)
    step = tg.compile(lambda x: layer(x).detach())
    x = np.array([[1.0, 2.0], [3.0, 6.0]], np.float32)
    for _ in range(3):
        step(x)
    layer.momentum = 1.0
    step(x)
    np.testing.assert_allclose(layer.running_mean.data, [2, 4], rtol=1e-6)
    layer.eval()
    np.testing.assert_allclose(step(x).data, layer(x).data, rtol=1e-6)


@pytest.mark.parametrize(
    "layer, shape, expected",
    [
        (nn.Conv1d(2, 4, 3, stride=2), (5, 2, 9), (5, 4, 4)),
        (nn.Conv2d(2, 4, (3, 1), padding=(1, 0), bias=False), (5, 2, 4, 5), (5, 4, 4, 5)),
        (nn.Conv2d(2, 4, 3, groups=2, dilation=2), (5, 2, 6, 7), (5, 4, 2, 3)),
        (nn.Conv3d(1, 2, 2), (5, 1, 3, 4, 5), (5, 2, 2, 3, 4)),
        (nn.MaxPool1d(2), (5, 2, 9), (5, 2, 4)),
        (nn.MaxPool2d(3, 2, 1), (5, 2, 9, 8), (5, 2, 5, 4)),
        (nn.MaxPool3d(2), (5, 2, 4, 4, 2), (5, 2, 2, 2, 1)),
        (nn.AvgPool1d(2), (5, 2, 9), (5, 2, 4)),
        (nn.AvgPool2d((2, 3), count_include_pad=False), (5, 2, 4, 6), (5, 2, 2, 2)),
        (nn.AvgPool3d(2, stride=1), (5, 2, 4, 4, 2), (5, 2, 3, 3, 1)),
        (nn.LayerNorm((3, 2)), (5, 3, 2), (5, 3, 2)),
        (nn.LayerNorm(2, bias=False), (5, 3, 2), (5, 3, 2)),
        (nn.RMSNorm((3, 2)), (5, 3, 2), (5, 3, 2)),
        (nn.GroupNorm(2, 4), (5, 4, 3, 2), (5, 4, 3, 2)),
        (nn.Dense(3, 2, bias=False), (5, 3), (5, 2)),
        (nn.Flatten(), (5, 3, 2), (5, 6)),
        (nn.GELU("tanh"), (5, 3), (5, 3)),
        *((activation(), (5, 3), (5, 3)) for activation in (nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Sigmoid)),
        *((activation(), (5, 3), (5, 3)) for activation in (nn.LeakyReLU, nn.Softplus, nn.Softsign, nn.Tanh)),
        (nn.Softmax(axis=1), (5, 3, 2), (5, 3, 2)),
    ],
    ids=lambda value: repr(value),
)
def test_shapes_and_dtypes_of_layers(layer, shape, expected):
    x = tg.Tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32), requires_grad=True)
    out = layer(x)
    assert out.shape == expected and out.dtype == np.float32
    out.sum().backward()
    assert x.grad.dtype == np.float32
    assert all(p.grad is not None and p.grad.dtype == np.float32 for p in layer.parameters())


@pytest.mark.parametrize(
    "f, message",
    [
        (lambda: nn.Conv2d(0, 1, 3), "Conv2d: in_channels must be a positive integer, got 0"),
        (lambda: nn.Conv2d(1, 1, (3, 3, 3)), "kernel_size must be an integer of at least 1, or one for each of the 2"),
        (lambda: nn.Conv2d(3, 4, 3, groups=2), "3 -> 4 channels cannot be divided into 2 groups"),
        (lambda: nn.Conv1d(1, 1, 3, bias=False, bias_l2=1.0), "need a bias"),
        (lambda: nn.Conv2d(1, 1, 3, weight_l2=-1), "Conv2d: weight_l2 must not be negative"),
        (
            lambda: nn.Conv2d(1, 8, 3)(np.zeros((5, 28, 28))),
            r"Conv2d\(1 -> 8, 3x3\): the input must have shape",
        ),
        (lambda: nn.Conv2d(1, 8, 3)(np.zeros((5, 2, 9, 9))), r"\(examples, 1, height, width\), got \(5, 2, 9, 9\)"),
        (lambda: nn.MaxPool2d(2)(np.zeros((5, 28, 28))), r"MaxPool2d\(2x2\): the input must have shape"),
        (lambda: nn.AvgPool2d(0), "AvgPool2d: kernel_size must be"),
        (
            lambda: nn.BatchNorm2d(3)(np.zeros((5, 3))),
            r"the input must have shape \(examples, 3\) and",
        ),
        (lambda: nn.BatchNorm1d(3)(np.zeros((5, 4))), r"BatchNorm1d\(3\): the input"),
        (lambda: nn.BatchNorm1d(3)(np.zeros((1, 3))), "at most one element for each channel"),
        (lambda: nn.BatchNorm1d(3, momentum=2), "momentum must lie in 0..1"),
        (lambda: nn.LayerNorm(3)(np.zeros((5, 4))), r"LayerNorm\(3\): the input must have shape \(..., 3\), got"),
        (lambda: nn.LayerNorm(()), "normalized_shape must be a positive integer"),
        (lambda: nn.RMSNorm(3)(np.zeros((5, 4))), r"RMSNorm\(3\): the input must have shape \(..., 3\), got"),
        (lambda: nn.RMSNorm(3, eps=-1), "RMSNorm: eps must not be negative"),
        (lambda: nn.GroupNorm(3, 4), "GroupNorm: num_groups must divide num_channels"),
        (lambda: nn.GroupNorm(2, 4)(np.zeros((5, 3))), r"GroupNorm\(2, 4\): the input must have shape \(examples, 4, "),
        (lambda: nn.Dense(3, 2, bias=False, bias_l1=1.0), "Dense: bias_l1 and bias_l2 need a bias"),
        (
            lambda: nn.Dense(3, 2, weight_init="kaiming_normal"),
            "got 'kaiming_normal', which is 'he_normal' here",
        ),
        (lambda: nn.Dense(3, 2, bias_init="none"), "Dense: bias_init must be one of he_normal, .* got 'none'$"),
        (
            lambda: nn.Dense(3, 2, weight_init=lambda shape, rng: np.ones(2)),
            r"real numbers of shape \(3, 2\), got shape",
        ),
        (lambda: nn.Dense(3, 2, bias_init="orthogonal"), "need a shape of two axes or more"),
        (lambda: nn.Embedding(3, 0), "Embedding: embedding_dim must be a positive integer"),
        (lambda: nn.GELU("fast"), "approximate must be"),
    ],
)
def test_layers_refuse(f, message):
    with pytest.raises(ValueError, match=message):
        f()


def test_penalties_of_convolution_and_embedding():
    layer = nn.Conv1d(1, 2, 3, np.random.default_rng(0), weight_l1=0.1, weight_l2=0.2, bias_l2=0.3, dtype=np.float64)
    layer.bias.data = np.array([1.0, 2.0])
    w = layer.weight.data
    assert layer.penalty().item() == pytest.approx(0.1 * abs(w).sum() + 0.2 * (w**2).sum() + 0.3 * 5)
    table = nn.Embedding(4, 2, np.random.default_rng(0), weight_l2=0.5)
    assert table.penalty().item() == pytest.approx(0.5 * (table.weight.data**2).sum())
    assert nn.Conv1d(1, 2, 3, bias=False).penalty() == 0.0


def test_convolution_starts_from_the_variance_of_its_fan_in():
    weight = nn.Conv2d(16, 64, 3, np.random.default_rng(0), groups=2).weight.data
    assert weight.std() == pytest.approx(np.sqrt(2 / (8 * 9)), rel=0.05)


INITS = {
    "he_normal": 2 / 18,
    "he_uniform": 2 / 18,
    "xavier_normal": 2 / (18 + 360),
    "xavier_uniform": 2 / (18 + 360),
    "lecun_normal": 1 / 18,
    "lecun_uniform": 1 / 18,
    "normal": 1,
    "zeros": 0,
    "ones": 0,
    "orthogonal": 1 / 40,
}
"""The variance of the initial weights of a convolution of 2 to 40 channels and kernels of 3 x 3."""


@pytest.mark.parametrize("name", nn.INITIALISERS)
def test_initial_weights_have_the_variance_of_their_name(name):
    weight = nn.Conv2d(2, 40, 3, 0, weight_init=name).weight.data
    assert weight.dtype == np.float32 and weight.var() == pytest.approx(INITS[name], rel=0.12)
    if "uniform" in name:
        assert abs(weight).max() <= np.sqrt(3 * INITS[name]) * (1 + 1e-6)
    if name == "orthogonal":
        rows = weight.reshape(40, 18)
        np.testing.assert_allclose(rows.T @ rows, np.eye(18), atol=1e-6)


def test_every_layer_with_weights_takes_initialisers():
    def drawn(shape, rng):
        return rng.uniform(1, 2, shape)

    settings = {"weight_init": drawn, "bias_init": "ones", "rng": 3}
    layers = [nn.Dense(4, 2, **settings), nn.Conv1d(4, 2, 3, **settings), nn.LayerNorm(4, **settings)]
    layers += [nn.BatchNorm1d(4, **settings), nn.GroupNorm(2, 4, **settings)]
    layers += [nn.RMSNorm(4, weight_init=drawn, rng=3), nn.Embedding(4, 2, weight_init=drawn, rng=3)]
    for layer in layers:
        weight = drawn(layer.weight.shape, np.random.default_rng(3)).astype(np.float32)
        assert np.array_equal(layer.weight.data, weight) and layer.weight.requires_grad
        assert not hasattr(layer, "bias") or layer.bias is None or (layer.bias.data == 1).all()


@pytest.mark.parametrize("wrong", [nn.ReLU, 0.02, None])
def test_an_initialiser_is_a_name_or_a_function(wrong):
    with pytest.raises(TypeError, match=r"must be a name such as 'xavier_uniform', or a function such as lambda"):
        nn.Dense(3, 2, weight_init=wrong)
    nn.Dense(3, 2, weight_init="xavier_uniform")
    weight = nn.Dense(300, 20, 0, weight_init=lambda shape, rng: rng.normal(0, 0.02, shape)).weight.data
    assert weight.std() == pytest.approx(0.02, rel=0.05)


def test_a_dense_layer_without_bias():
    layer = nn.Dense(3, 2, 0, bias=False)
    x = np.ones((4, 3), np.float32)
    assert layer.bias is None and [name for name, _ in layer.named_parameters()] == ["weight"]
    assert np.array_equal(layer(x).data, x @ layer.weight.data)


def test_reprs_of_layers_say_what_differs_from_the_defaults():
    assert repr(nn.Conv2d(2, 4, (3, 1), stride=2, groups=2, bias=False, weight_l2=0.1)) == (
        "Conv2d(2 -> 4, 3x1, stride=2, groups=2, bias=False, weight_l2=0.1)"
    )
    assert repr(nn.MaxPool2d(3, 2, 1)) == "MaxPool2d(3x3, stride=(2, 2), padding=1)"
    assert repr(nn.BatchNorm2d(8, momentum=0.2)) == "BatchNorm2d(8, momentum=0.2)"
    assert repr(nn.LeakyReLU()) + repr(nn.GELU()) + repr(nn.Softmax()) == "LeakyReLU(0.01)GELU()Softmax()"
    assert repr(nn.LayerNorm((2, 3))) == "LayerNorm(2, 3)"
    assert repr(nn.Dense(2, 3, bias=False)) == "Dense(2 -> 3, bias=False)"
    assert repr(nn.RMSNorm(4)) + repr(nn.GroupNorm(2, 4)) == "RMSNorm(4)GroupNorm(2, 4)"


def test_numpy_scalars_as_settings_keep_float32():
    for optimiser in (
        lambda w: tg.optim.SGD([w], np.float64(0.1), momentum=np.float64(0.9)),
        lambda w: tg.optim.Adam([w], betas=(np.float64(0.9), np.float64(0.99)), eps=np.float64(1e-8)),
    ):
        weight = tg.Tensor(np.ones(3, np.float32), requires_grad=True)
        loss = tg.nn.l2_penalty(weight, np.float64(0.1)) + tg.nn.l1_penalty(weight, np.array(0.1))
        assert loss.dtype == np.float32
        loss.backward()
        optimiser(weight).step()
        assert weight.dtype == np.float32


def test_probabilities_as_labels_do_not_widen_the_loss():
    logits = tg.Tensor(np.ones((2, 2), np.float32), requires_grad=True)
    for loss in (tg.softmax_cross_entropy, tg.nn.categorical_cross_entropy):
        predictions = logits * 0.5 if loss is tg.nn.categorical_cross_entropy else logits
        assert loss(predictions, np.full((2, 2), 0.5)).dtype == np.float32
        assert loss(predictions, [[0.5, 0.5], [1.0, 0.0]]).dtype == np.float32


def test_half_precision_is_normalised_without_overflow():
    x = np.array([[300, 400, -500.0]], np.float16)
    np.testing.assert_allclose(tg.layer_norm(x), tg.layer_norm(x.astype(np.float64)), rtol=2e-3)


def test_activations_of_numbers():
    assert tg.logsumexp(2.5) == 2.5
    assert tg.softmax(2.0) == 1.0


def test_running_means_move_once_where_the_layer_is_recomputed():
    x = np.random.default_rng(0).standard_normal((6, 2)).astype(np.float32)
    plain, again = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    checkpointed = tg.checkpoint(lambda x: np.tanh(again(x)))
    for loss in (np.tanh(plain(x)).sum(), checkpointed(x).sum()):
        loss.backward()
    for name, tensor in plain.named_tensors():
        np.testing.assert_array_equal(dict(again.named_tensors())[name].data, tensor.data)
    np.testing.assert_allclose(again.weight.grad, plain.weight.grad, rtol=1e-6)


def test_strengths_of_penalties_are_attributes():
    layer = nn.Dense(2, 2, np.random.default_rng(0), weight_l2=0.5)
    step = tg.compile(lambda: layer.penalty().detach())
    squares = float((layer.weight.data**2).sum())
    assert step().item() == step().item() == pytest.approx(0.5 * squares)
    layer.weight_l2 = 5.0
    assert layer.penalty().item() == step().item() == pytest.approx(5 * squares)
    assert repr(layer) == "Dense(2 -> 2, weight_l2=5)"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: nn.Dense(3, 2, 0.5), r"rng must be a NumPy generator, such as .*, an integer .*, or None, got 0\.5"),
        (lambda: nn.Embedding(3, 2, rng=np.random.PCG64(0)), "rng must be a NumPy generator"),
        (lambda: nn.Dropout(0.5, True), "rng must be a NumPy generator"),
        (lambda: nn.Dropout(0.5, -1), "non-negative"),
        (lambda: nn.GaussianNoise(-1.0), r"GaussianNoise: scale must not be negative, got -1\.0"),
        (lambda: nn.GaussianNoise(1.0)(np.ones(3, np.uint8)), r"GaussianNoise\(1\): takes floats, got uint8; use x\.a"),
        (lambda: nn.Sequential(nn.Dense(2, 2), nn.ReLU), "layer 1 is the class ReLU"),
        (lambda: tg.optim.SGD(nn.ReLU().parameters()), "made with requires_grad=True"),
        (lambda: tg.optim.Adam(nn.Dense(2, 2).parameters(), lr="0.1"), "lr must be a number .* got '0.1'"),
        (lambda: nn.Dense(2, 2).load_state_dict("w.npz"), r"such as np\.load\(path\), got str"),
    ],
)
def test_mistakes_are_explained(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_the_penalty_of_a_shared_layer_counts_once():
    shared = nn.Dense(2, 2, np.random.default_rng(0), weight_l2=0.5)
    once = shared.penalty().item()
    inner = nn.Sequential(shared)
    inner.above = nn.Sequential(inner)
    for network in (nn.Sequential(shared), nn.Sequential(shared, shared), nn.Sequential(shared, nn.Sequential(inner))):
        assert network.penalty().item() == once

    class Doubled(nn.Module):
        def __init__(self):
            self.layer = shared

        def penalty(self):
            return 2 * super().penalty()

    assert nn.Sequential(Doubled()).penalty().item() == 2 * once


# What belongs to a module, wherever it is held


@dataclasses.dataclass
class Pair:
    first: object
    second: object = 3


@dataclasses.dataclass(frozen=True)
class Frozen:
    only: object


@dataclasses.dataclass
class Record:
    __slots__ = ("value",)
    value: object


Named = collections.namedtuple("Named", "number item")


def as_object(value, shape):
    array = np.empty(shape, object)
    array[(-1,) * len(shape)] = value
    return array


def in_function(value):
    return lambda x: (value, x)


HOLDERS = {
    "list": lambda v: [None, v],
    "tuple": lambda v: (v, "text"),
    "dict": lambda v: {"key": v, 2: 3.0},
    "dict values": lambda v: {"key": v}.values(),
    "default dict": lambda v: collections.defaultdict(list, key=v),
    "ordered dict": lambda v: collections.OrderedDict(key=v),
    "user dict": lambda v: collections.UserDict(key=v),
    "user list": lambda v: collections.UserList([v]),
    "chain map": lambda v: collections.ChainMap({}, {"key": v}),
    "mapping proxy": lambda v: types.MappingProxyType({"key": v}),
    "named tuple": lambda v: Named(1, v),
    "deque": lambda v: collections.deque([1, v]),
    "dataclass": Pair,
    "frozen dataclass": Frozen,
    "dataclass with slots": Record,
    "namespace": lambda v: types.SimpleNamespace(value=v),
    "array": lambda v: as_object(v, (2, 2)),
    "0-d array": lambda v: as_object(v, ()),
    "partial": lambda v: functools.partial(max, v),
    "partial by keyword": lambda v: functools.partial(max, key=v),
    "bound method": lambda v: types.MethodType(print, v),
    "closure": in_function,
    "default": lambda v: lambda x, value=v: x,
    "keyword default": lambda v: lambda x, *, value=v: x,
    "cached": lambda v: functools.lru_cache(maxsize=None)(in_function(v)),
    "checkpoint": lambda v: tg.checkpoint(in_function(v)),
    "nested function": lambda v: in_function(in_function(v)),
    "module": lambda v: Holding(v),
}
HASHABLE = {
    name: HOLDERS[name] for name in ("tuple", "named tuple", "frozen dataclass", "partial", "closure", "module")
}


class Holding(nn.Module):
    def __init__(self, value):
        self.value = value


class Slotted(nn.Module):
    __slots__ = ("__hidden", "value")

    def __init__(self, value):
        self.value, self.__hidden = value, [nn.Dense(2, 1)]


def assert_whole(module, layers, tensors=()):
    """The parameters, modes and state of a module are those of the layers and tensors that are somewhere inside it."""
    expected = {id(p) for layer in layers for p in layer.parameters()} | {id(tensor) for tensor in tensors}
    assert {id(p) for p in module.parameters()} == expected
    module.eval()
    assert not any(layer.training for layer in layers)
    assert module.penalty() == 0.0 or module.penalty().item() == pytest.approx(sum(x.penalty().item() for x in layers))
    state = {name: array + 1 for name, array in module.state_dict().items()}
    module.load_state_dict(state)
    assert {name: array.tolist() for name, array in module.state_dict().items()} == {
        name: array.tolist() for name, array in state.items()
    }


@settings(deadline=None)
@given(st.lists(st.sampled_from(list(HOLDERS)), max_size=4), st.booleans())
def test_layers_and_tensors_are_found_in_containers_of_any_kind_and_depth(kinds, is_layer):
    held = nn.Dense(2, 2, weight_l2=0.5) if is_layer else tg.Tensor(np.ones(2), requires_grad=True)
    value = held
    for kind in kinds:
        value = HOLDERS[kind](value)
    module = Holding(value)
    assert_whole(module, *(([held], []) if is_layer else ([], [held])))
    assert [name for name, _ in Holding(value).named_tensors()] == [name for name, _ in module.named_tensors()]


@given(
    st.lists(st.sampled_from(list(HASHABLE)), max_size=3), st.permutations(range(4)), st.sampled_from([set, frozenset])
)
def test_modules_in_a_set_are_in_the_order_in_which_they_were_made(kinds, order, kind):
    layers = [nn.Dense(1, 1) for _ in range(4)]
    values = layers
    for name in kinds:
        values = [HASHABLE[name](value) for value in values]
    module = Holding(kind(values[i] for i in order) | {"text", 3})
    assert [id(p) for p in module.parameters()] == [id(p) for layer in layers for p in layer.parameters()]
    assert pickle.loads(pickle.dumps(layers[0]))._made == layers[0]._made


def test_tensors_in_a_set_have_no_order():
    tensors = [tg.Tensor([1.0], requires_grad=True) for _ in range(2)]
    assert Holding({tensors[0]}).parameters() == tensors[:1]
    with pytest.raises(TypeError, match=r"value is a set of several tensors .* hold them in a list or a dict"):
        Holding(set(tensors)).parameters()
    assert len(Holding(tensors).parameters()) == 2


def test_layers_in_slots_and_class_attributes_are_found():
    layer = nn.Dense(2, 2)
    slotted = Slotted({"a": layer})
    names = [name for name, _ in slotted.named_parameters()]
    assert sorted(names) == [
        *("_Slotted__hidden.0.bias", "_Slotted__hidden.0.weight", "value.a.bias", "value.a.weight")
    ]

    class Common(nn.Module):
        layer = nn.Dense(2, 2)
        pair = (3, nn.Dense(2, 2))

    class Own(Common):
        def __init__(self):
            self.layer = nn.Dense(3, 3)

    assert len(Common().parameters()) == 4
    assert [p.shape for p in Own().parameters()] == [(3, 3), (3,), (2, 2), (2,)]


GLOBAL_LAYER = nn.Dense(2, 2, np.random.default_rng(0))
GLOBAL_LAYERS = [nn.Dense(2, 2, np.random.default_rng(0))]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda layer: lambda x: layer(x),
        lambda layer: lambda x, layer=layer: layer(x),
        lambda layer: layer.forward,
        lambda layer: layer.__call__,
        functools.partial,
        lambda layer: functools.partial(lambda inner, x: inner(x), layer),
        lambda layer: functools.partial(lambda x, inner: inner(x), inner=layer),
        tg.checkpoint,
        lambda layer: (lambda f: lambda x: f(x))(lambda x: layer(x)),
        lambda layer: Holding(layer).value,
    ],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_layers_inside_functions_are_trained(wrap, compiled):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 2)).astype(np.float32), rng.integers(0, 2, 40)
    layer = nn.Dense(2, 2, rng)
    before = layer.weight.data.copy()
    model = nn.Sequential(wrap(layer), nn.Dense(2, 2, rng))
    optimiser = tg.optim.Adam(model.parameters(), lr=0.1)
    fit(model, (x, y), (x, y), optimiser, epochs=1, batch_size=10, rng=rng, quiet=True, compiled=compiled)
    assert not np.array_equal(layer.weight.data, before)


def test_layers_among_global_variables_of_a_function_are_found():
    model = nn.Sequential(lambda x: GLOBAL_LAYERS[0](GLOBAL_LAYER(x)))
    assert {id(p) for p in model.parameters()} == {
        id(p) for layer in (GLOBAL_LAYER, *GLOBAL_LAYERS) for p in layer.parameters()
    }


def beside_global_layers(x):
    return np.tanh(x)


def by_another_function(x):
    return through_global_layer(x)


def through_global_layer(x):
    return GLOBAL_LAYER(x)


def test_a_function_beside_global_layers_is_taken_as_it_is_and_one_that_leads_to_them_far_off_is_noticed():
    assert not nn.Sequential(beside_global_layers, by_another_function).parameters()
    assert not calls(nn.Sequential(beside_global_layers))
    assert "Sequential: uses Dense(2 -> 2), which is not found in it" in calls(nn.Sequential(by_another_function))[0]


def test_names_of_what_is_held_in_plain_sight_do_not_change():
    layer, other = nn.Dense(2, 2), nn.Dense(2, 2)

    class Both(nn.Module):
        def __init__(self):
            self.call = lambda x: layer(other(x))
            self.also = {layer}
            self.layers = [layer, (layer,)]
            self.step = self.run
            self.rng = [np.random.default_rng(0)]
            self.draw = self.rng[0].normal

        def run(self, x):
            return self.call(x)

    model = Both()
    names = [name for name, _ in model.named_tensors()]
    assert names == [
        *("layers.0.weight", "layers.0.bias", "layers.1.0.weight", "layers.1.0.bias"),
        *("call.other.weight", "call.other.bias"),
    ]
    assert [name for name, _ in model.named_generators()] == ["rng.0"]
    assert len(model.parameters()) == 4


def test_cycles_of_modules_and_containers_come_to_an_end():
    inner = nn.Dense(2, 2)
    model = Holding([inner])
    model.value.append(model.value)
    model.value.append({"self": model, "set": {inner}})
    inner.parent, inner.function = model, lambda x: model(x)
    box = as_object(None, (1,))
    box[0] = box
    inner.box = box

    def again(x):
        return again(x), inner

    inner.again = again
    assert_whole(model, [inner])
    assert [name for name, _ in model.named_parameters()] == ["value.0.weight", "value.0.bias"]


def test_a_weak_reference_owns_nothing():
    layer = nn.Dense(2, 2)
    assert not Holding(weakref.ref(layer)).parameters()


class Block:
    def __init__(self, layer):
        self.layer = layer

    def __call__(self, x):
        return self.layer(x)

    def apply(self, x):
        return self.layer(x)


@pytest.mark.parametrize("held", [nn.Dense(2, 2), tg.Tensor([1.0], requires_grad=True), [nn.Dense(2, 2)]])
@pytest.mark.parametrize("wrap", [lambda block: block, lambda block: block.apply])
def test_sequential_refuses_objects_that_hide_layers(held, wrap):
    with pytest.raises(TypeError, match=r"layer 1 is of the class Block, which is not a Module.*; derive Block from"):
        nn.Sequential(nn.ReLU(), wrap(Block(held)))
    remedy = type("Derived", (Block, nn.Module), {})
    assert nn.Sequential(nn.ReLU(), wrap(remedy(held))).parameters()
    assert nn.Sequential(Block(nn.ReLU()))(np.ones((1, 2))).shape == (1, 2)


class Calling(nn.Module):
    """Calls a layer to which it holds a weak reference only."""

    def __init__(self, layer):
        self.layer = weakref.ref(layer)

    def forward(self, x):
        return self.layer()(x)


def calls(model, count=2):
    """The warnings in some calls."""
    x = np.ones((3, 2), np.float32)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(count):
            model(x)
    return [str(warning.message) for warning in caught]


def test_a_module_that_is_called_but_not_found_is_named_once():
    layer = nn.Dense(2, 2)
    model = Calling(layer)
    with tg.no_grad():
        assert not calls(model)
    (message,) = calls(nn.Sequential(model, nn.ReLU()))
    assert message.startswith("Sequential: uses Dense(2 -> 2), which is not found in it")
    assert "assign it to an attribute" in message and "with tg.no_grad():" in message
    layer(np.ones((1, 2)))
    (message,) = calls(Calling(layer))  # also if the layer was called before
    assert message.startswith("Calling: uses Dense(2 -> 2)")

    class Making(nn.Module):
        def forward(self, x):
            return nn.Dense(2, 2)(x)

    assert len(calls(Making(), 1)) == 1


def test_modules_that_need_no_training_or_are_known_are_called_in_peace():
    layer, frozen = nn.Dense(2, 2), nn.Dense(2, 2)
    for parameter in frozen.parameters():
        parameter.requires_grad = False
    known = Calling(layer)
    known.also = [layer]  # the remedy
    assert not calls(known) and not calls(Calling(frozen)) and not calls(nn.Sequential(Calling(layer), layer))

    class Teacher(nn.Module):
        def forward(self, x):
            with tg.no_grad():
                return layer(x)

    class Given(nn.Module):
        def forward(self, x, inner=layer):
            return inner(x)

    assert (
        not calls(Teacher()) and not calls(lambda x: Given()(x, layer)) and not calls(lambda x: Given()(x, inner=layer))
    )

    class Late(nn.Module):
        def forward(self, x):
            self.layer = getattr(self, "layer", None) or nn.Dense(x.shape[-1], 2)
            return self.layer(x)

    assert not calls(nn.Sequential(Late()))
    outer = nn.Sequential(layer, Calling(layer))
    assert not calls(outer, 3) and outer.layers[1]._was_called


@pytest.mark.slow
def test_the_first_call_leaves_nothing_behind():
    model = nn.Sequential(nn.Dense(2, 2), nn.ReLU())
    with pytest.raises(ValueError, match="must have shape"):
        model(np.ones((1, 5), np.float32))
    reference = weakref.ref(model)
    model(np.ones((1, 2), np.float32))
    del model
    gc.collect()
    assert reference() is None
    assert pickle.loads(pickle.dumps(nn.Sequential(nn.ReLU())))(np.ones(2)).shape == (2,)


# Randomness


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: nn.Dense(3, 2, rng),
        lambda rng: nn.Embedding(3, 2, rng),
        lambda rng: nn.Conv2d(1, 2, 3, rng),
        lambda rng: nn.Dropout(0.5, rng),
        lambda rng: nn.GaussianNoise(0.5, rng),
    ],
)
@pytest.mark.parametrize("seed", [0, np.int64(7)])
def test_an_integer_seeds_the_generator_of_a_layer(make, seed):
    seeded, generated = make(seed), make(np.random.default_rng(seed))
    assert_same_state([seeded, seeded], [generated, generated])
    for (_, one), (_, other) in zip(seeded.named_generators(), generated.named_generators()):
        assert one.bit_generator.state == other.bit_generator.state


@pytest.mark.parametrize("compiled", [False, True])
def test_gaussian_noise_is_that_of_numpy_in_training_only(compiled):
    scale = tg.Tensor(np.array([0.5, 2.0], np.float32), requires_grad=True)
    layer = nn.GaussianNoise(scale, rng=3)
    x = tg.Tensor(np.ones((4, 2), np.float32), requires_grad=True)

    def step(x):
        layer.zero_grad()
        out = layer(x)
        out.sum().backward()
        return out.detach()

    step, rng = tg.compile(step) if compiled else step, np.random.default_rng(3)
    for _ in range(3):
        noise = rng.standard_normal((4, 2), dtype=np.float32)
        np.testing.assert_allclose(step(x).data, 1 + scale.data * noise, rtol=1e-6)
        np.testing.assert_allclose(scale.grad, noise.sum(axis=0), rtol=1e-5)
    assert layer.eval()(x) is x
    assert repr(layer) == "GaussianNoise(float32 of shape (2,))" and repr(nn.GaussianNoise(0.5)) == "GaussianNoise(0.5)"
    assert layer.parameters() == [scale]


def test_a_network_with_noise_resumes_bit_for_bit(tmp_path):
    def run(epochs, folder=None, resume=False):
        rng = np.random.default_rng(0)
        model = nn.Sequential(nn.GaussianNoise(0.1, 1), nn.Dense(2, 2, rng))
        optimiser = tg.optim.SGD(model.parameters(), lr=0.1)
        x, y = rng.standard_normal((20, 2)).astype(np.float32), rng.integers(0, 2, 20)
        settings = {"batch_size": 5, "rng": rng, "quiet": True, "folder": folder, "resume": resume}
        fit(model, (x, y), (x, y), optimiser, epochs=epochs, **settings)
        return model, optimiser

    run(1, tmp_path)
    assert_same_state(run(3, tmp_path, resume=True), run(3))


def test_the_remedies_for_a_last_batch_of_one_work():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((101, 3)).astype(np.float32), rng.integers(0, 2, 101)
    model = nn.Sequential(nn.Dense(3, 4, rng), nn.BatchNorm1d(4), nn.Dense(4, 2, rng))
    with pytest.raises(
        ValueError, match=r"leave it out \(drop_last\) or choose a batch size that leaves no remainder of 1"
    ):
        model(x[100:])
    for size, count in ((10, 100), (11, 101)):  # without the last one, and with a remainder of 2
        for start in range(0, count, size):
            assert model(x[start : start + size]).shape[1] == 2
    assert model.eval()(x[100:]).shape == (1, 2)
    mean, var = np.zeros(4, np.float32), np.ones(4, np.float32)
    assert tg.batch_norm(np.ones((1, 4), np.float32), mean=mean, var=var).shape == (1, 4)
    optimiser = tg.optim.SGD(model.parameters(), 0.1)
    fit(model, (x, y), (x, y), optimiser, epochs=1, batch_size=11, rng=rng, quiet=True)


# Copies, states and odd attributes

EVERY_LAYER = [
    *(nn.Dense(2, 2, weight_l2=0.5), nn.Embedding(3, 2), nn.Dropout(0.5), nn.GaussianNoise(0.5), nn.Flatten()),
    *(nn.Conv1d(1, 1, 2), nn.Conv2d(1, 1, 2), nn.Conv3d(1, 1, 2), nn.MaxPool2d(2), nn.AvgPool2d(2)),
    *(nn.BatchNorm1d(2), nn.BatchNorm2d(2), nn.BatchNorm3d(2), nn.LayerNorm(2), nn.RMSNorm(2), nn.GroupNorm(1, 2)),
    *(nn.ELU(), nn.GELU(), nn.LeakyReLU(), nn.ReLU(), nn.SELU(), nn.Sigmoid(), nn.SiLU()),
    *(nn.Softmax(), nn.Softplus(), nn.Softsign(), nn.Tanh(), nn.Sequential(nn.Dense(2, 2), np.tanh)),
    *(
        nn.RNN(2, 2),
        nn.LSTM(2, 2, 2, bidirectional=True, dropout=0.5),
        nn.GRU(2, 2),
        nn.LSTMCell(2, 2),
        nn.GRUCell(2, 2),
    ),
    *(nn.MultiHeadAttention(2, 1, dropout=0.5), nn.Residual(nn.Dense(2, 2), shortcut=nn.Dense(2, 2))),
    Holding({"deque": collections.deque([nn.Dense(2, 2)]), "set": {nn.Dense(2, 2), nn.Dense(2, 2)}}),
    Slotted(nn.Dense(2, 2)),
]


@pytest.mark.parametrize("layer", EVERY_LAYER, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_are_equal_and_independent(layer, copied):
    other = copied(nn.Sequential(layer, layer))
    assert other[0] is other[1] is not layer  # sharing is kept
    assert repr(other[0]) == repr(layer)
    before, state = layer.state_dict(), other[0].state_dict()
    assert list(state) == list(before) and all(np.array_equal(state[name], before[name]) for name in before)
    for (name, one), (_, twin) in zip(layer.named_generators(), other[0].named_generators()):
        assert one is not twin and one.bit_generator.state == twin.bit_generator.state, name
    for tensor in other.parameters():
        tensor.data += 1
    assert all(np.array_equal(array, before[name]) for name, array in layer.state_dict().items())
    other.eval()
    assert layer.training


def test_a_shared_layer_is_loaded_from_equal_arrays_only():
    layer = nn.Dense(2, 2)
    shared, apart = nn.Sequential(layer, layer), nn.Sequential(nn.Dense(2, 2), nn.Dense(2, 2))
    apart.load_state_dict(shared.state_dict())
    assert_same_state([shared, shared], [apart, apart])
    apart[1].bias.data += 1
    before = shared.state_dict()
    with pytest.raises(
        ValueError, match=r"0\.bias and 1\.bias are one tensor of this network, but differ in the state"
    ):
        shared.load_state_dict(apart.state_dict())
    assert all(np.array_equal(array, before[name]) for name, array in shared.state_dict().items())
    layer.weight.data[0, 0] = np.nan
    shared.load_state_dict(shared.state_dict())


def test_a_state_of_tensors_or_with_odd_keys():
    one, other = nn.Dense(2, 2), nn.Dense(2, 2)
    other.load_state_dict(dict(one.named_tensors()))
    assert_same_state([one, one], [other, other])
    other.weight.data += 1
    assert not np.array_equal(one.weight.data, other.weight.data)
    with pytest.raises(KeyError, match="missing: bias, weight, unknown: 'x', 0"):
        other.load_state_dict({0: one.weight, "x": one.bias})


@pytest.mark.parametrize("name", ["train", "eval", "parameters", "modules", "state_dict", "training", "_members"])
@pytest.mark.parametrize("value", [nn.ReLU(), tg.Tensor([1.0])])
def test_an_attribute_does_not_hide_a_method(name, value):
    with pytest.raises(
        AttributeError, match=f"Module: an attribute named '{name}' would hide what Module has .* such as"
    ):
        setattr(nn.Module(), name, value)
    setattr(nn.Module(), name.strip("_") + "_layer", value)  # the remedy
    delegating = nn.Module()
    delegating.forward = nn.Dense(2, 3)
    assert delegating(np.ones((1, 2))).shape == (1, 3) and len(delegating.parameters()) == 2


def test_an_empty_network_and_empty_batches():
    empty, x = nn.Sequential(), tg.Tensor(np.ones((0, 2), np.float32))
    assert empty(x) is x and len(empty) == 0 and list(empty) == [] and repr(empty) == "Sequential()"
    model = nn.Sequential(nn.Dense(2, 3), nn.LayerNorm(3), nn.Dropout(0.5), nn.GaussianNoise(), nn.Dense(3, 1))
    out = model(x)
    out.sum().backward()
    assert out.shape == (0, 1) and all(not p.grad.any() for p in model.parameters())


def test_modules_that_are_dataclasses():
    @dataclasses.dataclass
    class Both(nn.Module):
        first: nn.Module
        second: nn.Module

        def forward(self, x):
            return self.second(self.first(x))

    model = nn.Sequential(Both(nn.Dense(2, 3), nn.ReLU()))
    assert len(model.parameters()) == 2 and not calls(model) and not model.eval()[0].first.training


@pytest.mark.slow
def test_walks_through_a_network_leave_nothing_to_the_garbage_collector():
    """Each step of a training walks: what it leaves would be there until the collector runs."""
    network = nn.Sequential(
        nn.Dense(4, 3, 0, weight_l2=0.1), nn.ReLU(), nn.Sequential(nn.Dense(3, 2, 0), nn.Dropout(0.1, 0))
    )
    network.penalty()
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            network.penalty(), network.parameters(), list(network.named_generators()), network.state_dict()
            network.train(), network.eval(), list(network.modules()), repr(network), network(np.ones((2, 4)))
        assert gc.collect() == 0
    finally:
        gc.enable()
