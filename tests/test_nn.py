"""Modules, layers, losses and penalties."""

import copy

import numpy as np
import pytest

import tensorgrad as tg
from models import mnist, simpsons, simpsons_rgb
from tensorgrad import nn


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
    with pytest.raises(KeyError, match=r"missing: 0.bias, unknown: extra"):
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
    for given in (labels, np.eye(4)[labels]):
        a = nn.categorical_cross_entropy(nn.Softmax()(tg.Tensor(logits)), given)
        b = nn.softmax_cross_entropy(tg.Tensor(logits), given)
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
