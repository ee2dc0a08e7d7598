"""Weights to and from PyTorch: the same numbers, and the same results where it is installed."""

import sys

import numpy as np
import pytest

import models
import tensorgrad as tg
from tensorgrad import nn
from tensorgrad._optional import MissingExtra
from tensorgrad.interop import pytorch, safetensors
from tensorgrad.training import CheckpointError


def convolutional(seed):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, seed, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dense(4 * 14 * 14, 10, seed),
        nn.LayerNorm(10),
    )


def network(name, seed):
    return convolutional(seed) if name == "convolutional" else getattr(models, name)(np.random.default_rng(seed))


def same_state(one, other):
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


NAMES = ["mnist", "convolutional", pytest.param("simpsons_rgb", marks=pytest.mark.deep)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [None, ".safetensors"])
def test_networks_come_back_without_pytorch(name, suffix, tmp_path):
    one, other = network(name, 0), network(name, 1)
    state = pytorch.state_dict(one)
    assert all(array.flags.c_contiguous for array in state.values())
    if suffix is None:
        pytorch.load_state_dict(other, state)
    else:
        pytorch.save(one, tmp_path / f"a{suffix}")
        pytorch.load(other, tmp_path / f"a{suffix}")
        assert safetensors.load(tmp_path / f"a{suffix}")[0].keys() == state.keys()
    same_state(one.state_dict(), other.state_dict())


def test_the_layout_is_pytorch_s():
    state = pytorch.state_dict(convolutional(0))
    assert list(state)[:7] == [
        *("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked")
    ]
    assert state["5.weight"].shape == (10, 784) and state["1.num_batches_tracked"].shape == ()


def test_a_layer_by_itself_and_tensors_of_a_user(tmp_path):
    class Both(nn.Module):
        def __init__(self):
            self.inner = [nn.Dense(3, 2, 0), nn.Dense(2, 2, 1)]
            self.matrix = tg.Tensor(np.ones((2, 5)), requires_grad=True)

    state = pytorch.state_dict(Both())
    assert {name: array.shape for name, array in state.items()} == {
        "inner.0.weight": (2, 3),
        "inner.0.bias": (2,),
        "inner.1.weight": (2, 2),
        "inner.1.bias": (2,),
        "matrix": (2, 5),
    }
    assert pytorch.state_dict(nn.Dense(3, 2)).keys() == {"weight", "bias"}


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda state: state.pop("bias"), "missing: bias"),
        (lambda state: state.update(more=np.ones(2)), "unknown: 'more'"),
        (lambda state: state.update(weight=np.ones((3, 2))), r"weight is float64 of shape \(3, 2\), .* \(2, 3\)"),
        (lambda state: state.update(weight=np.ones((2, 3), int)), "weight is int64"),
    ],
)
def test_weights_of_another_network_are_refused_and_leave_it_alone(change, reason, tmp_path):
    layer = nn.Dense(3, 2, 0)
    before, state = layer.state_dict(), pytorch.state_dict(nn.Dense(3, 2, 1))
    change(state)
    with pytest.raises((KeyError, ValueError), match=reason):
        pytorch.load_state_dict(layer, state)
    safetensors.save(tmp_path / "a.safetensors", state)
    with pytest.raises(CheckpointError, match="of another network") as error:
        pytorch.load(layer, tmp_path / "a.safetensors")
    assert "\n" not in str(error.value)
    same_state(before, layer.state_dict())


def test_what_is_no_array_is_named():
    with pytest.raises(TypeError, match="holds arrays or tensors, got list"):
        pytorch.load_state_dict(nn.Dense(1, 1), {"weight": [[1.0]], "bias": [1.0]})


def test_without_the_library_one_sentence_names_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    for function in (pytorch.save, pytorch.load):
        with pytest.raises(MissingExtra, match=r"A PyTorch file needs torch .*pip install torch"):
            function(nn.Dense(3, 2), tmp_path / "a.pt")


# Beside PyTorch


def torch_network(torch, name):
    torch.manual_seed(0)
    if name == "mnist":
        parts = (torch.nn.Flatten(), torch.nn.Linear(784, 512), torch.nn.ReLU(), torch.nn.Dropout(0.1))
        return torch.nn.Sequential(*parts, torch.nn.Linear(512, 10))
    if name == "simpsons_rgb":
        parts = [torch.nn.Flatten(), torch.nn.Linear(2352, 2048), torch.nn.ReLU(), torch.nn.Dropout(0.1)]
        parts += [torch.nn.Linear(2048, 512), torch.nn.ReLU(), torch.nn.Dropout(0.1)]
        return torch.nn.Sequential(*parts, torch.nn.Linear(512, 10))
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(784, 10),
        torch.nn.LayerNorm(10),
    )


def shape_of(name):
    return (4, 3 if name == "simpsons_rgb" else 1, 28, 28)


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("suffix", [None, ".pt", ".safetensors"])
@pytest.mark.parametrize("name", NAMES)
def test_networks_give_the_same_results_both_ways(name, suffix, tmp_path):
    torch = pytest.importorskip("torch")
    theirs, ours = torch_network(torch, name), network(name, 0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape_of(name)).astype(np.float32)
    theirs(torch.from_numpy(x) + 1)  # for running statistics
    theirs.eval()
    ours.eval()

    def same():
        np.testing.assert_allclose(ours(x).numpy(), theirs(torch.from_numpy(x)).detach().numpy(), rtol=1e-5, atol=1e-5)

    if suffix is None:
        pytorch.load_state_dict(ours, theirs.state_dict())
    else:
        path = tmp_path / f"theirs{suffix}"
        if suffix == ".pt":
            torch.save({"epoch": 3, "state_dict": theirs.state_dict()}, path)
        else:
            safetensors.save(path, {key: value.numpy() for key, value in theirs.state_dict().items()})
        pytorch.load(ours, path)
    same()
    for tensor in (tensor for _, tensor in ours.named_tensors()):
        tensor.data = (tensor.data * (1 + 0.1 * rng.random(tensor.shape))).astype(tensor.dtype)
    if suffix == ".pt":
        pytorch.save(ours, tmp_path / "ours.pt")
        theirs.load_state_dict(torch.load(tmp_path / "ours.pt", weights_only=True))
    else:
        theirs.load_state_dict({key: torch.from_numpy(value) for key, value in pytorch.state_dict(ours).items()})
    same()


def layers(torch):
    linear = {"bias": False, "batch_first": True}
    return [
        (nn.LSTM(6, 4, 2, 0, bidirectional=True), torch.nn.LSTM(6, 4, 2, bidirectional=True, batch_first=True)),
        (nn.GRU(6, 4, 1, 0), torch.nn.GRU(6, 4, batch_first=True)),
        (nn.RNN(6, 4, 1, 0, nonlinearity="relu", bias=False), torch.nn.RNN(6, 4, nonlinearity="relu", **linear)),
        (nn.MultiHeadAttention(6, 2, 0), torch.nn.MultiheadAttention(6, 2, batch_first=True)),
        (nn.MultiHeadAttention(6, 2, 0, bias=False), torch.nn.MultiheadAttention(6, 2, **linear)),
        (nn.GroupNorm(1, 5), torch.nn.GroupNorm(1, 5)),
        (nn.Embedding(7, 5, 0), torch.nn.Embedding(7, 5)),
    ]


@pytest.mark.slow
@pytest.mark.parity
@pytest.mark.parametrize("which", range(7))
def test_layers_give_the_same_results_both_ways(which):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    (ours, theirs), rng = layers(torch)[which], np.random.default_rng(0)
    x = rng.standard_normal((3, 5, 6)).astype(np.float32)
    x = rng.integers(0, 7, (3, 5)) if isinstance(ours, nn.Embedding) else x
    pytorch.load_state_dict(ours, theirs.state_dict())
    state = pytorch.state_dict(ours)
    assert state.keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        np.testing.assert_array_equal(state[name], tensor.numpy())
    expected = theirs(*[torch.from_numpy(x)] * (3 if isinstance(ours, nn.MultiHeadAttention) else 1))
    expected = expected[0] if isinstance(expected, tuple) else expected
    np.testing.assert_allclose(ours(x).numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_attention_with_keys_of_another_width_and_cells():
    layer = nn.Sequential(nn.MultiHeadAttention(6, 2, 0, kdim=4, vdim=4))
    state = pytorch.state_dict(layer)
    assert {name: array.shape for name, array in state.items()} == {
        "0.q_proj_weight": (6, 6),
        "0.k_proj_weight": (6, 4),
        "0.v_proj_weight": (6, 4),
        "0.in_proj_bias": (18,),
        "0.out_proj.weight": (6, 6),
        "0.out_proj.bias": (6,),
    }
    other = nn.Sequential(nn.MultiHeadAttention(6, 2, 1, kdim=4, vdim=4))
    pytorch.load_state_dict(other, state)
    same_state(layer.state_dict(), other.state_dict())
    assert pytorch.state_dict(nn.LSTMCell(3, 2))["weight_ih"].shape == (8, 3)


@pytest.mark.slow
@pytest.mark.parity
def test_files_that_hold_other_things_are_refused_and_run_no_code(tmp_path):
    torch = pytest.importorskip("torch")
    layer, path = nn.Dense(3, 2, 0), tmp_path / "a.pt"
    before = layer.state_dict()
    contents = [torch.nn.Linear(3, 2), [1, 2], {"epoch": 3}, {1: torch.ones(2)}, Harmful(tmp_path / "harm")]
    for content in contents:
        torch.save(content, path)
        with pytest.raises(CheckpointError) as error:
            pytorch.load(layer, path)
        assert "\n" not in str(error.value) and len(str(error.value)) < 600
    for content in (b"", b"abc", b"PK\x03\x04" + bytes(60), path.read_bytes()[:200]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            pytorch.load(layer, path)
    with pytest.raises(CheckpointError, match="no such file"):
        pytorch.load(layer, tmp_path / "none.pt")
    assert not (tmp_path / "harm").exists()
    same_state(before, layer.state_dict())
    torch.save({"weight": torch.ones(2, 3).bfloat16(), "bias": torch.zeros(2)}, path)
    pytorch.load(layer, path)
    assert (layer.weight.data == 1).all()


class Harmful:
    """Writes a file where it is unpickled by somebody who trusts it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")
