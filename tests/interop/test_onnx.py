"""ONNX files: what is exported computes the same elsewhere, with any batch, and comes back as a network."""

import copy
import pickle
import sys
from functools import partial

import numpy as np
import pytest

import models
import tensorgrad as tg
from tensorgrad import nn
from tensorgrad._optional import MissingExtra
from tensorgrad._pytree import tree_flatten
from tensorgrad.interop import onnx
from tensorgrad.training import CheckpointError

library = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

RNG = np.random.default_rng(0)
ROWS = RNG.standard_normal((3, 4, 6)).astype(np.float32)
ABOVE = np.abs(ROWS) + 0.5
SMALL = np.clip(ROWS, -0.9, 0.9)
IMAGES = RNG.standard_normal((2, 4, 9, 8)).astype(np.float32)
VOLUMES = RNG.standard_normal((2, 2, 5, 4, 6)).astype(np.float32)
TOKENS = RNG.integers(0, 11, (3, 4))
DIGITS = RNG.standard_normal((2, 1, 28, 28)).astype(np.float32)
COLOURS = RNG.standard_normal((2, 3, 28, 28)).astype(np.float32)


def like(example, size):
    """Other examples of the same kind."""
    rows = np.resize(RNG.permutation(example.reshape(-1)), (size, *example.shape[1:]))
    return (rows * RNG.uniform(0.9, 1.1, rows.shape)).astype(example.dtype) if rows.dtype.kind == "f" else rows


def run(path, *inputs):
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {given.name: x for given, x in zip(session.get_inputs(), inputs)})


def arrays(results):
    results, _ = tree_flatten(results)
    return [x.numpy() if isinstance(x, tg.Tensor) else x for x in results]


def round_trip(model, path, *examples, tolerance=1e-5, sizes=(1, 4)):
    """Export, and compare with onnxruntime and with what is read back, for batches of several sizes."""
    onnx.export(model, path, *examples)
    library.checker.check_model(library.load(path), full_check=True)
    read = onnx.load(path)
    if isinstance(model, nn.Module):
        model.eval()
    for size in sizes:
        inputs = [like(example, size) for example in examples]
        expected = arrays(model(*map(tg.Tensor, inputs)))
        for found in (run(path, *inputs), arrays(read(*inputs))):
            assert len(found) == len(expected)
            for x, y in zip(found, expected):
                assert x.dtype == y.dtype
                np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)
    return read


def operators(path):
    return [node.op_type for node in library.load(path).graph.node if node.op_type != "Constant"]


# Layers

LAYERS = [
    (nn.Dense(6, 3, 0), ROWS),
    (nn.Embedding(11, 5, 0), TOKENS),
    (nn.Flatten(), ROWS),
    (nn.Dropout(0.5, 0), ROWS),
    (nn.GaussianNoise(0.5, 0), ROWS),
    (nn.Sequential(nn.Dense(6, 3, 0), np.tanh, nn.Dense(3, 2, 0)), ROWS),
    *((layer(), ROWS) for layer in (nn.ReLU, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softsign, nn.Tanh)),
    (nn.LeakyReLU(0.2), ROWS),
    (nn.ELU(0.7), ROWS),
    *((nn.GELU(kind), ROWS) for kind in ("none", "tanh")),
    *((nn.Softmax(axis), ROWS) for axis in (-1, 1)),
    (nn.LayerNorm(6), ROWS),
    (nn.LayerNorm((4, 6)), ROWS),
    (nn.BatchNorm1d(4), ROWS),
    (nn.BatchNorm2d(4, eps=0.1), IMAGES),
    (nn.BatchNorm3d(2), VOLUMES),
    (nn.Conv1d(4, 6, 3, 0, stride=2, padding=[(2, 1)], dilation=2, groups=2), ROWS),
    (nn.Conv2d(4, 2, (3, 2), 0, stride=(1, 2), padding="same"), IMAGES),
    (nn.Conv2d(4, 2, 3, 0, bias=False), IMAGES),
    (nn.Conv3d(2, 3, 2, 0), VOLUMES),
    (nn.MaxPool1d(3, 2, 1), ROWS),
    (nn.MaxPool2d(2), IMAGES),
    (nn.MaxPool3d(2, 1), VOLUMES),
    (nn.AvgPool1d(3, 1, 1), ROWS),
    (nn.AvgPool2d(3, 2, 1, count_include_pad=False), IMAGES),
    (nn.AvgPool3d(2), VOLUMES),
    (nn.GroupNorm(2, 4), IMAGES),
    (nn.RMSNorm(6), ROWS),
    (nn.Residual(nn.Dense(6, 6, 0)), ROWS),
    (nn.MultiHeadAttention(6, 2, 0), ROWS),
    (nn.MultiHeadAttention(6, 3, 0, causal=True, bias=False, dropout=0.5), ROWS),
    (nn.RNNCell(6, 3, 0, nonlinearity="relu"), ROWS[:, 0]),
    (nn.GRUCell(6, 3, 0), ROWS[:, 0]),
    (nn.LSTMCell(6, 3, 0), ROWS[:, 0]),
    (nn.RNN(6, 3, 1, 0), ROWS),
    (nn.GRU(6, 3, 2, 0, dropout=0.5, return_sequences=False), ROWS),
    (nn.LSTM(6, 3, 2, 0, bidirectional=True), ROWS),
]


def settled(model, example):
    """The layer with running statistics, weights and biases that are not those it starts from."""
    rng = np.random.default_rng(1)
    for name, tensor in model.named_tensors():
        tensor.data = (np.abs if "var" in name else np.asarray)(rng.standard_normal(tensor.shape) + 0.1).astype("f4")
    return model


@pytest.mark.parametrize("model, example", LAYERS, ids=lambda x: repr(x) if isinstance(x, nn.Module) else "")
def test_every_layer_comes_through(model, example, tmp_path):
    round_trip(settled(model, example), tmp_path / "a.onnx", example)


def test_every_layer_is_among_them():
    kinds = {kind for model, _ in LAYERS for kind in map(type, [model, *model.modules()])}
    layers = {
        kind for name in nn.__all__ if isinstance(kind := getattr(nn, name), type) and issubclass(kind, nn.Module)
    }
    assert layers - {nn.Module} <= kinds


# Ops

W = tg.Tensor(RNG.standard_normal((6, 6)).astype(np.float32))
KERNEL = tg.Tensor(RNG.standard_normal((4, 3, 3, 2)).astype(np.float32))
ROW = np.linspace(-1, 1, 6, dtype=np.float32)
BIAS = tg.Tensor(np.ones(3, np.float32))
GRU, LSTM = nn.GRU(6, 3, 1, 0), nn.LSTM(6, 3, 1, 0)

BY_NUMPY = {
    **{
        name: (getattr(np, name), ROWS) for name in ("negative", "positive", "absolute", "fabs", "exp", "sign", "floor")
    },
    **{name: (getattr(np, name), ROWS) for name in ("ceil", "rint", "sin", "cos", "tan", "arctan", "sinh", "cosh")},
    **{name: (getattr(np, name), ROWS) for name in ("tanh", "arcsinh", "square", "exp2", "expm1")},
    **{name: (getattr(np, name), ROWS) for name in ("isnan", "isinf", "isfinite", "logical_not")},
    **{name: (getattr(np, name), ABOVE) for name in ("log", "sqrt", "reciprocal", "log1p", "log2", "log10")},
    **{name: (getattr(np, name), SMALL) for name in ("arcsin", "arccos", "arctanh")},
    "arccosh": (lambda x: np.arccosh(x + 1), ABOVE),
    **{name: (partial(lambda f, x: f(x, ROW), getattr(np, name)), ROWS) for name in ("add", "subtract", "multiply")},
    **{name: (partial(lambda f, x: f(ROW, x), getattr(np, name)), ROWS) for name in ("maximum", "minimum")},
    **{name: (partial(lambda f, x: f(x, 1.5), getattr(np, name)), ROWS) for name in ("equal", "not_equal", "less")},
    **{name: (partial(lambda f, x: f(0, x), getattr(np, name)), ROWS) for name in ("less_equal", "greater")},
    "greater_equal": (lambda x: np.greater_equal(x, x[:, ::-1]), ROWS),
    **{
        name: (partial(lambda f, x: f(x > 0, x < 1), getattr(np, name)), ROWS)
        for name in ("logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor")
    },
    "invert": (lambda x: ~(x > 0), ROWS),
    "divide": (lambda x: 2 / x / 3, ABOVE),
    "power": (lambda x: x**3 + x**0.5 + 2**x, ABOVE),
    "float_power": (lambda x: np.float_power(x, 2), ABOVE),
    "remainder": (lambda x: x % 0.7, ROWS),
    "floor_divide": (lambda x: x // 0.7, ROWS),
    "round": (np.round, ROWS),
    "astype": (lambda x: (x * 3).astype(np.int32).astype(np.float64), ROWS),
    "where": (lambda x: np.where(x > 0, x, -1), ROWS),
    "clip": (lambda x: np.clip(x, -0.5, None) + np.clip(x, 0, ROW + 1), ROWS),
    "relu": (tg.relu, ROWS),
    "sigmoid": (tg.sigmoid, ROWS),
    "softplus": (tg.softplus, ROWS),
    "softsign": (tg.softsign, ROWS),
    "leaky_relu": (tg.leaky_relu, ROWS),
    "elu": (tg.elu, ROWS),
    "gated": (tg.silu, ROWS),
    "normal_cdf": (tg.gelu, ROWS),
    "softmax": (partial(tg.softmax, axis=1), ROWS),
    "log_softmax": (partial(tg.log_softmax, axis=-1), ROWS),
    "matmul": (lambda x: x @ W @ np.swapaxes(x, 1, 2) @ x[:, :, 0, None], ROWS),
    "affine": (
        lambda x: tg.OPS["affine"](x, W, ROW) + tg.OPS["affine"](x[0], W, ROW) + tg.OPS["affine"](x[0, 0], W, 1),
        ROWS,
    ),
    "dense": (lambda x: np.tanh(x[:, 0] @ W + ROW), ROWS),
    "concatenate": (lambda x: np.concatenate([x, x[:, 1:2], ROWS[:1, :1] + 0 * x[:, :1]], axis=1), ROWS),
    "stack": (lambda x: np.stack([x[:, 0], x[:, 1]], axis=-1), ROWS),
    "sum": (lambda x: x.sum(axis=(1, 2)) + x.sum(axis=2, keepdims=True).sum(axis=1)[:, 0], ROWS),
    "mean": (lambda x: x.mean(axis=-1) - x.mean(), ROWS),
    "prod": (lambda x: x.prod(axis=1), ROWS),
    "max": (lambda x: x.max(axis=1, keepdims=True) - x.min(axis=0), ROWS),
    "min": (lambda x: x.min(axis=(-1, 1)), ROWS),
    "var": (lambda x: x.var(axis=1, ddof=1) + x.var(axis=2).mean(), ROWS),
    "std": (lambda x: x.std(axis=(1, 2), keepdims=True), ROWS),
    "logsumexp": (lambda x: tg.logsumexp(x, axis=1), ROWS),
    "any": (lambda x: np.any(x > 1, axis=1), ROWS),
    "all": (lambda x: np.all(x > -1, axis=(1, 2)), ROWS),
    "argmax": (lambda x: np.argmax(x, axis=1), ROWS),
    "argmin": (lambda x: np.argmin(x, axis=-1, keepdims=True), ROWS),
    "norm": (lambda x: np.linalg.norm(x, axis=-1) + np.linalg.norm(x, 1, axis=2), ROWS),
    "squared_norm": (lambda x: tg.OPS["squared_norm"](x, 0.01), ROWS),
    "cumsum": (lambda x: np.cumsum(x, axis=1), ROWS),
    "standardise": (lambda x: tg.layer_norm(x, axis=(1, 2)), ROWS),
    "layer_norm": (lambda x: tg.layer_norm(x, ROW, ROW), ROWS),
    "batch_norm": (
        lambda x: tg.batch_norm(x, np.ones(4, "f4"), None, mean=np.zeros(4, "f4"), var=np.ones(4, "f4")),
        ROWS,
    ),
    "reshape": (lambda x: x.reshape(len(x), -1) * x.reshape(-1, 24)[:, :1], ROWS),
    "reshape over the batch": (lambda x: (x.reshape(-1, 6) @ W).reshape(len(x), 2, 2, 6), ROWS),
    "reshape of other axes": (lambda x: x.reshape(len(x), 2, 12).reshape(len(x) * 2, 12), ROWS),
    "without the last": (lambda x: x[:-1].sum(axis=0) + x[1:].reshape(-1, 24).sum(axis=0)[0], ROWS),
    "between all pairs": (lambda x: ((x[:, None] - x[None]) ** 2).reshape(-1, 24).sum(axis=-1), ROWS),
    "broadcast_to": (lambda x: np.broadcast_to(x[:, None], (len(x), 2, 4, 6)), ROWS),
    "transpose": (lambda x: np.transpose(x, (0, -1, 1)) + x.T.T.mT, ROWS),
    "swapaxes": (lambda x: np.swapaxes(x, 1, -1), ROWS),
    "squeeze": (lambda x: np.squeeze(x[:, :1], axis=1), ROWS),
    "expand_dims": (lambda x: np.expand_dims(x, (1, -1)), ROWS),
    "flip": (lambda x: np.flip(x, axis=(1, 2)), ROWS),
    "pad": (lambda x: np.pad(x, ((0, 0), (1, 2), (0, 1)), constant_values=2), ROWS),
    "pad with edges": (lambda x: np.pad(x, ((0, 0), (1, 1), (1, 0)), "edge"), ROWS),
    "repeat": (lambda x: np.repeat(x, 2, axis=1), ROWS),
    "tile": (lambda x: np.tile(x, (1, 2, 1)), ROWS),
    "getitem": (lambda x: x[:, 1:, ::-1][:, -1, None, 1:-1:2], ROWS),
    "getitem of rows": (lambda x: x[:, [2, 0, 0]] + x[..., np.array([[0, -1], [1, 1]])].sum(axis=-1)[:, :3, :1], ROWS),
    "getitem of all": (lambda x: x[0 : len(x)], ROWS),
    "split": (lambda x: np.split(x, 2, axis=1)[1], ROWS),
    "take": (lambda x: np.take(x, [1, 2], axis=-1), ROWS),
    "take_along_axis": (lambda x: np.take_along_axis(x, np.argmax(x, axis=-1, keepdims=True), axis=-1), ROWS[:, 0]),
    "einsum": (lambda x: np.einsum("nij,jk->nik", x, W), ROWS),
    "conv": (lambda x: tg.conv(x, W.reshape(9, 4)[:4].reshape(4, 4, 1), stride=2), ROWS),
    "biased_conv": (lambda x: tg.conv(x, np.ones((3, 4, 2), np.float32), BIAS), ROWS),
    "conv_transpose": (lambda x: tg.conv_transpose(x, KERNEL, stride=2, output_padding=1, padding=1), IMAGES),
    "biased_conv_transpose": (lambda x: tg.conv_transpose(x, KERNEL, BIAS, dilation=2), IMAGES),
    "max_pool": (lambda x: tg.max_pool(x, 2, stride=1, dilation=2), IMAGES),
    "avg_pool": (lambda x: tg.avg_pool(x, (2, 3), padding=1), IMAGES),
    "initial state": (lambda x: np.tanh(np.zeros((len(x), 6), np.float32) @ W + x[:, 0]), ROWS),
    "initial Tensor": (lambda x: x[:, 0] + tg.Tensor(np.ones((x.shape[0], 6), np.float32)), ROWS),
    "rnn_tanh": (nn.RNN(6, 3, 1, 0), ROWS),
    "rnn_relu": (nn.RNN(6, 3, 1, 0, nonlinearity="relu", bias=False), ROWS),
    "gru": (lambda x: GRU(x, mask=np.arange(4) < [[3]] * len(x), return_state=True), ROWS),
    "lstm": (lambda x: LSTM(x, (x[None, :, 0, :3], x[None, :, 1, 3:]), mask=x[:, :, 0] > 0, return_state=True), ROWS),
    "detached": (lambda x: x.detach() * 2 + x, ROWS),
    "rows by position": (lambda x: W[np.argmax(x, axis=1)] + W[np.argmax(x.detach(), axis=1).numpy()], ROWS),
    "zeros": (lambda x: np.zeros_like(x) + x, ROWS),
}


@pytest.mark.parametrize("function, example", BY_NUMPY.values(), ids=BY_NUMPY)
def test_every_op_comes_through(function, example, tmp_path):
    round_trip(function, tmp_path / "a.onnx", example)


def test_every_op_that_can_be_exported_is_among_them():
    assert onnx.RULES.keys() <= BY_NUMPY.keys()
    assert set(onnx.RULES) - set(tg.OPS) == {
        *("dense", "batch_norm", "layer_norm", "biased_conv", "biased_conv_transpose")
    }


def test_several_inputs_and_outputs(tmp_path):
    def forward(first, tokens):
        same = first * 2
        return {"sum": same + tokens[:, :, None], "pair": (same, same, first, np.ones(2, np.float32))}

    onnx.export(forward, tmp_path / "a.onnx", ROWS, TOKENS)
    inputs = like(ROWS, 5), like(TOKENS, 5)
    found, read = run(tmp_path / "a.onnx", *inputs), onnx.load(tmp_path / "a.onnx")
    assert [x.name for x in read.inputs] == ["first", "tokens"]
    expected = [inputs[0] * 2 + inputs[1][:, :, None], inputs[0] * 2, inputs[0] * 2, inputs[0], np.ones(2)]
    for results in (found, arrays(read(*inputs))):
        for x, y in zip(results, expected):
            np.testing.assert_allclose(x, y, rtol=1e-6)


# Networks


def convolutional(seed=0):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, seed, padding="same", bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25, seed),
        nn.Flatten(),
        nn.Dense(4 * 14 * 14, 10, seed),
    )


def network(name):
    if name == "convolutional":
        model = convolutional()
        for _ in range(3):
            model(RNG.standard_normal((8, 1, 28, 28)).astype(np.float32) + 1)
        return model, DIGITS
    return getattr(models, name)(np.random.default_rng(0)), COLOURS if "rgb" in name else DIGITS


@pytest.mark.parametrize(
    "name",
    ["mnist", "convolutional", *(pytest.param(n, marks=pytest.mark.deep) for n in models.__all__ if n != "mnist")],
)
def test_networks_come_through_with_the_names_of_their_weights(name, tmp_path):
    model, example = network(name)
    read = round_trip(model, tmp_path / "a.onnx", example)
    state, found = model.state_dict(), read.state_dict()
    assert state.keys() == found.keys()
    for key, array in state.items():
        np.testing.assert_array_equal(array, found[key])
    assert {n for n, _ in read.named_parameters()} == {n for n, _ in model.named_parameters()}
    again = round_trip(read, tmp_path / "b.onnx", example)
    assert operators(tmp_path / "a.onnx") == operators(tmp_path / "b.onnx")
    assert again.state_dict().keys() == state.keys()


def test_a_layer_is_one_operator(tmp_path):
    model, example = network("convolutional")
    onnx.export(model, tmp_path / "a.onnx", example)
    assert operators(tmp_path / "a.onnx") == ["Conv", "BatchNormalization", "Relu", "MaxPool", "Reshape", "Gemm"]
    opset = library.load(tmp_path / "a.onnx").opset_import
    assert [(entry.domain, entry.version) for entry in opset] == [("", onnx.OPSET)]


@pytest.mark.slow
def test_a_network_that_was_read_trains_as_the_one_that_was_written(tmp_path):
    model, _ = network("convolutional")
    layers = list(model)
    model = nn.Sequential(*layers[:4], *layers[5:])  # without dropout
    onnx.export(model, tmp_path / "a.onnx", DIGITS)
    read = onnx.load(tmp_path / "a.onnx")
    x, y = RNG.standard_normal((8, 1, 28, 28)).astype(np.float32), RNG.integers(0, 10, 8)
    losses = []
    for trained in (model.train(), read.train()):
        adam = tg.optim.Adam(trained.parameters(), lr=0.01)

        @tg.compile
        def step(x, y, trained=trained, adam=adam):
            loss = nn.softmax_cross_entropy(trained(x), y)
            adam.zero_grad()
            loss.backward()
            adam.step()
            return loss

        losses.append([step(x, y).item() for _ in range(5)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    assert losses[0][-1] < losses[0][0]
    for key, array in model.state_dict().items():
        np.testing.assert_allclose(array, read.state_dict()[key], rtol=1e-3, atol=1e-4)


def test_exporting_leaves_the_network_as_it_was(tmp_path):
    model, example = network("convolutional")
    model[4].eval()
    modes, state = [module.training for module in model.modules()], model.state_dict()
    rng = copy.deepcopy(model[4].rng)
    onnx.export(model, tmp_path / "a.onnx", example)
    assert [module.training for module in model.modules()] == modes
    assert model[4].rng.random() == rng.random()
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[key])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_description_comes_back_and_a_network_can_be_copied_and_pickled(tmp_path):
    onnx.export(nn.Dense(3, 2, 0), tmp_path / "a.onnx", np.ones((1, 3)), description={"classes": ["ä", 1]})
    read = onnx.load(tmp_path / "a.onnx")
    assert read.description == {"classes": ["ä", 1]}
    x = np.ones((2, 3), np.float32)
    for other in (copy.deepcopy(read), pickle.loads(pickle.dumps(read))):
        np.testing.assert_array_equal(other(x).numpy(), read(x).numpy())
    assert repr(read) == "Network(x: float32[None, 3], 1 operators, 2 parameters)"


def test_what_requires_no_gradient_is_no_parameter_afterwards(tmp_path):
    class Scaled(nn.Module):
        def __init__(self):
            self.factor, self.slope = tg.Tensor(np.float32(3)), tg.Tensor(np.float32(2), requires_grad=True)
            self.shift = tg.Tensor(np.ones(6, np.float32))

        def forward(self, x):
            return x * self.factor * self.slope + self.shift

    read = round_trip(Scaled(), tmp_path / "a.onnx", ROWS)
    assert [name for name, _ in read.named_parameters()] == ["slope"]
    assert read.state_dict().keys() == {"factor", "slope", "shift"}


def test_half_and_double_precision(tmp_path):
    for dtype, tolerance in ((np.float16, 5e-3), (np.float64, 1e-12)):
        model = nn.Sequential(nn.Dense(6, 5, 0, dtype=dtype), nn.Tanh(), nn.Dense(5, 2, 0, dtype=dtype))
        read = round_trip(model, tmp_path / "a.onnx", ROWS[:, 0].astype(dtype), tolerance=tolerance)
        assert read.inputs[0].dtype == dtype


def test_compiled_functions_and_gradients_of_a_network_that_records_them_come_through(tmp_path):
    model = nn.Dense(6, 3, 0)
    round_trip(tg.compile(lambda x: np.tanh(model(x))), tmp_path / "a.onnx", ROWS)
    round_trip(tg.checkpoint(lambda x: np.tanh(model(x))), tmp_path / "a.onnx", ROWS)


def test_bytes_and_truth_values_are_inputs_too(tmp_path):
    images, mask = RNG.integers(0, 256, (2, 3, 4)).astype(np.uint8), np.array([True, False])
    model = nn.Dense(12, 3, 0)
    forward = lambda x, mask: model(x.reshape(len(x), -1).astype(np.float32) / 255) * mask[:, None]  # noqa: E731
    round_trip(forward, tmp_path / "a.onnx", images, mask)


# What cannot be exported


class Changing(nn.Module):
    def forward(self, x):
        result = np.zeros_like(x)
        result[:, 0] = x[:, 0]
        return result


REFUSED = {
    "the op 'argsort'": lambda x: np.sort(x, axis=1),
    "the op 'linear_recurrence'": lambda x: tg.OPS["linear_recurrence"](x, x),
    "changes a tensor in place \\(assignment": Changing(),
    "looks at the values of a tensor": lambda x: x if x.sum() > 1e9 else -x,
    "bitwise_and can be exported for booleans only": lambda x: x.astype(np.int32) & 3,
    "draws random numbers": lambda x: x + tg.random.normal(size=x.shape, rng=np.random.default_rng(0)),
    "an operand of multiply depends": lambda x: x * float(x.mean()),
    "ONNX has no such operator for these dtypes": lambda x: (x > 0) < (x > 1),
    "an operand of divide depends": lambda x: x.sum(axis=0) / len(x),
    "an operand of add depends": lambda x: x + np.cumsum(x.numpy(), axis=1),
    "does not do the same": lambda x: np.concatenate([row[None] for row in x]),
    "a boolean index": lambda x: x[:, np.arange(4) > 1],
    "an index of several arrays": lambda x: x[:, [0, 1], [1, 2]],
    "pad with mode='wrap'": lambda x: np.pad(x, ((0, 0), (1, 0), (0, 0)), "wrap"),
    "a slice whose ends depend": lambda x: x[: len(x) - 1],
    "var with ddof=1 over the batch": lambda x: x.var(axis=0, ddof=1),
    "forward must return a Tensor": lambda x: None,
    "fails for float32 of shape \\(4, 4, 6\\).*though it does for 3": lambda x: x.reshape(3, 24),
    "fails for float32 of shape \\(3, 4, 6\\)": lambda x: x @ x,
    "not a multiple of the batch": lambda x: np.broadcast_to(x[:1], (len(x) - 1, 4, 6)),
    "complex64 has no counterpart": lambda x: x.astype(np.complex64),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_exported_is_refused_by_name_and_writes_nothing(reason, tmp_path):
    with pytest.raises(onnx.ExportError, match=reason) as error:
        onnx.export(REFUSED[reason], tmp_path / "a.onnx", ROWS)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


REMEDIES = {
    "looks at the values of a tensor": lambda x: np.where(x.sum() > 1e9, x, -x),
    "an operand of divide depends": lambda x: x.mean(axis=0),
    "an index of several arrays": lambda x: x[:, [0, 1]][:, :, [1, 2]],
    "a slice whose ends depend": lambda x: x[:-1],
    "changes a tensor in place \\(assignment": lambda x: np.concatenate([x[:, :1], 0 * x[:, 1:]], axis=1),
    "an operand of multiply depends": lambda x: x * x.mean(),
}


@pytest.mark.parametrize("reason", REMEDIES)
def test_the_remedy_works(reason, tmp_path):
    assert reason in REFUSED
    round_trip(REMEDIES[reason], tmp_path / "a.onnx", ROWS, sizes=(2, 5))


def test_values_are_missed_at_an_example_of_zeros_too(tmp_path):
    with pytest.raises(onnx.ExportError, match="an operand of multiply depends"):
        onnx.export(lambda x: x * x.numpy().mean(), tmp_path / "a.onnx", np.zeros((1, 3)))


def test_weights_that_no_file_can_hold_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tensorgrad.interop.onnx.writing._LARGEST", 100)
    with pytest.raises(onnx.ExportError, match=r"save them with model.save instead"):
        onnx.export(nn.Dense(6, 6), tmp_path / "a.onnx", ROWS)
    assert not list(tmp_path.iterdir())


def test_every_other_op_is_refused_by_name(tmp_path):
    others = sorted(tg.OPS.keys() - onnx.RULES.keys())
    assert "argsort" in others and "svd" in others and len(others) > 50


@pytest.mark.parametrize(
    "examples, reason",
    [((), "takes an example for each input"), ((np.float32(3),), "first axis is a batch"), ((["a"],), "of numbers")],
)
def test_examples_that_are_none(examples, reason, tmp_path):
    with pytest.raises(TypeError, match=reason):
        onnx.export(nn.Dense(3, 2), tmp_path / "a.onnx", *examples)


# Files of others


def model_of(nodes, inputs, outputs, initializers=(), opset=17):
    helper = library.helper
    described = [
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in values] for values in (inputs, outputs)
    ]
    tensors = [library.numpy_helper.from_array(array, name) for name, array in initializers]
    graph = helper.make_graph(nodes, "g", *described, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def node(operator, inputs, outputs, **attributes):
    return library.helper.make_node(operator, inputs, outputs, **attributes)


def test_files_of_other_libraries_and_older_versions(tmp_path):
    weight, shift = RNG.standard_normal((5, 6)).astype(np.float32), np.ones(5, np.float32)
    nodes = [
        node("Gemm", ["x", "w", "b"], ["y"], transB=1, alpha=0.5),
        node("Dropout", ["y"], ["z"]),
        node("ReduceMean", ["z"], ["m"], axes=[1], keepdims=1),
        node("Sub", ["z", "m"], ["c"]),
        node("Clip", ["c", "", "one"], ["d"]),
        node("Split", ["d", "two"], ["e", "f"], axis=1),
        node("Concat", ["f", "e"], ["g"], axis=-1),
        node("PRelu", ["g", "slope"], ["out"]),
    ]
    initializers = [("w", weight), ("b", shift), ("one", np.float32(1).reshape(())), ("two", np.array([2, 3]))]
    initializers.append(("slope", np.full(5, 0.25, np.float32)))
    model = model_of(nodes, [("x", ["n", 6])], [("out", ["n", 5])], initializers)
    library.save(model, tmp_path / "a.onnx")
    x = like(ROWS[:, 0], 4)
    read = onnx.load(tmp_path / "a.onnx")
    np.testing.assert_allclose(arrays(read(x))[0], run(tmp_path / "a.onnx", x)[0], rtol=1e-5, atol=1e-6)
    assert {name for name, _ in read.named_parameters()} == {"w", "b", "slope"}


IMAGE_NODES = [
    node("Conv", ["x", "w"], ["y"], auto_pad="SAME_UPPER", strides=[2, 2]),
    node("InstanceNormalization", ["y", "b", "b"], ["z"]),
    node("AveragePool", ["z"], ["a"], kernel_shape=[2, 2], strides=[1, 1]),
    node("GlobalMaxPool", ["a"], ["m"]),
    node("GlobalAveragePool", ["a"], ["n"]),
    node("Sum", ["m", "n", "m"], ["s"]),
    node("Flatten", ["s"], ["out"]),
]


def test_images_of_other_libraries(tmp_path):
    initializers = [("w", RNG.standard_normal((3, 4, 3, 3)).astype(np.float32)), ("b", np.ones(3, np.float32))]
    library.save(model_of(IMAGE_NODES, [("x", ["n", 4, 9, 8])], [("out", ["n", 3])], initializers), tmp_path / "a.onnx")
    x = like(IMAGES, 3)
    found = arrays(onnx.load(tmp_path / "a.onnx")(x))[0]
    np.testing.assert_allclose(found, run(tmp_path / "a.onnx", x)[0], rtol=1e-4, atol=1e-5)


def test_inputs_that_do_not_fit_are_named(tmp_path):
    onnx.export(nn.Dense(6, 3, 0), tmp_path / "a.onnx", ROWS[:, 0])
    read = onnx.load(tmp_path / "a.onnx")
    with pytest.raises(ValueError, match=r"x must have shape \(any, 6\), got \(2, 5\)"):
        read(np.ones((2, 5), np.float32))
    with pytest.raises(TypeError, match=r"takes 1 input\(s\) \(x\), got 2"):
        read(ROWS, ROWS)


def external(location="../../../etc/passwd", **entries):
    model = model_of([node("Add", ["x", "w"], ["y"])], [("x", [2])], [("y", [2])], [("w", np.ones(2, np.float32))])
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = library.TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return model


def test_weights_in_a_file_beside_are_read_and_no_others(tmp_path):
    path, data = tmp_path / "a.onnx", tmp_path / "a.onnx.data"
    data.write_bytes(b"0000" + np.array([3, 4], np.float32).tobytes())
    path.write_bytes(external(data.name, offset=4, length=8).SerializeToString())
    np.testing.assert_array_equal(onnx.load(path)(np.ones(2, np.float32)).numpy(), [4, 5])
    twice = external(data.name, offset=4)
    twice.graph.initializer.add().CopyFrom(twice.graph.initializer[0])
    twice.graph.initializer[1].name = "more"
    path.write_bytes(twice.SerializeToString())
    with pytest.raises(CheckpointError, match="its weights are cut off"):  # two arrays from the bytes of one
        onnx.load(path)
    (tmp_path / "link").symlink_to(data)
    (tmp_path / "folder").mkdir()
    for location, entries, reason in (
        (str(data), {}, "files of its own folder are read alone"),
        ("link", {}, "files of its own folder are read alone"),
        ("", {}, "files of its own folder are read alone"),
        ("none", {}, "put both files into one folder"),
        ("folder", {}, "it is a folder"),
        (data.name, {"offset": 8}, "its weights are cut off"),
        (data.name, {"offset": -4}, "its weights are cut off"),
        (data.name, {"length": 2**62}, "its weights are cut off"),
        (data.name, {"offset": "x"}, "not an ONNX file, or damaged"),
    ):
        path.write_bytes(external(location, **entries).SerializeToString())
        with pytest.raises(CheckpointError, match=reason):
            onnx.load(path)


def enormous():
    model = model_of([node("Add", ["x", "w"], ["y"])], [("x", [2])], [("y", [2])], [("w", np.ones(2, np.float32))])
    model.graph.initializer[0].dims[:] = [2**40, 2**20]
    return model


HOSTILE = {
    "empty": (lambda: b"", "holds no network"),
    "text": (lambda: b"hello, this is no protobuf", "not an ONNX file"),
    "external data": (external, "files of its own folder are read alone"),
    "a shape beyond its bytes": (enormous, "not an ONNX file, or damaged"),
    "an unknown operator": (
        lambda: model_of([node("Loopy", ["x"], ["y"])], [("x", [2])], [("y", [2])]),
        "it has the operator 'Loopy'",
    ),
    "an old opset": (
        lambda: model_of([node("Relu", ["x"], ["y"])], [("x", [2])], [("y", [2])], opset=9),
        "it is of opset 9, and 13 to 21 are read",
    ),
    "a name that nothing gives": (
        lambda: model_of([node("Relu", ["nothing"], ["y"])], [("x", [2])], [("y", [2])]),
        "not an ONNX file, or damaged",
    ),
    "a batch normalisation of odd weights": (
        lambda: model_of(
            [node("BatchNormalization", ["x", "a", "b", "b", "b"], ["y"])],
            [("x", [2, 3])],
            [("y", [2, 3])],
            [("a", np.ones(2, np.float32)), ("b", np.ones(3, np.float32))],
        ),
        "its batch normalisation has weights of",
    ),
}


@pytest.mark.parametrize("make, reason", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_one_sentence(make, reason, tmp_path):
    content = make()
    path = tmp_path / "a.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    with pytest.raises(CheckpointError, match=reason) as error:
        onnx.load(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_a_damaged_file_is_one_sentence_or_a_network(tmp_path):
    path, rng = tmp_path / "a.onnx", np.random.default_rng(0)
    onnx.export(nn.Dense(3, 2, 0), path, np.ones((1, 3)))
    good = path.read_bytes()
    for _ in range(50):
        content = bytearray(good)
        content[rng.integers(len(content))] = rng.integers(256)
        path.write_bytes(content[: rng.integers(len(content)) if rng.random() < 0.3 else None])
        try:
            onnx.load(path)
        except CheckpointError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("name", ["nothing.onnx", "folder.onnx"])
def test_a_path_that_is_no_file(name, tmp_path):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(CheckpointError, match=r"no such file|it is a folder"):
        onnx.load(tmp_path / name)


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be saved"):
        onnx.export(nn.Dense(3, 2), tmp_path / "none" / "a.onnx", np.ones((1, 3)))
    with pytest.raises(TypeError, match="must be what JSON can hold"):
        onnx.export(nn.Dense(3, 2), tmp_path / "a.onnx", np.ones((1, 3)), description={"x": object()})


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_estimator_is_exported_with_all_that_it_does(tmp_path, dtype):
    sklearn = pytest.importorskip("tensorgrad.interop.sklearn")
    x = 5 + 3 * np.random.default_rng(0).standard_normal((40, 4)).astype(dtype)
    texts, own = np.array(list("abc"))[np.arange(40) % 3], nn.Sequential(nn.Dense(4, 1, 0), np.tanh)
    path = tmp_path / "a.onnx"
    for estimator, y in (
        (sklearn.TensorgradClassifier(epochs=2, random_state=0), texts),
        (sklearn.TensorgradClassifier(epochs=2, standardise=False, random_state=0), texts),
        (sklearn.TensorgradRegressor(epochs=2, random_state=0), 1e3 * x[:, 0]),
        (sklearn.TensorgradRegressor(epochs=2, random_state=0), 1e3 * x[:, :2]),
        (sklearn.TensorgradRegressor(epochs=2, module=own), x[:, :1]),
    ):
        estimator.fit(x, y)
        onnx.export(estimator, path, x[:1])
        (found,) = run(path, x.astype(np.float32 if estimator.module is own else dtype))
        expected = getattr(estimator, "predict_proba", estimator.predict)(x)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_what_is_no_network_and_other_endings_are_refused(tmp_path):
    with pytest.raises(TypeError, match=r"model must be a Module, .* estimator .*, got list; .*pipeline\[-1\]"):
        onnx.export([nn.Dense(3, 2)], tmp_path / "a.onnx", np.ones((1, 3)))
    for name in ("a", "a.pt", "onnx"):
        with pytest.raises(ValueError, match=rf"export: the path must end in \.onnx, got '.*{name}'"):
            onnx.export(nn.Dense(3, 2), tmp_path / name, np.ones((1, 3)))
    assert not list(tmp_path.iterdir())
    onnx.export(nn.Dense(3, 2), tmp_path / "A.ONNX", np.ones((1, 3)))


def test_without_the_library_one_sentence_names_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r"Exporting to ONNX needs onnx .*pip install onnx"):
        onnx.export(nn.Dense(3, 2), tmp_path / "a.onnx", np.ones((1, 3)))
    with pytest.raises(MissingExtra, match=r"Reading an ONNX file needs onnx .*pip install onnx"):
        onnx.load(tmp_path / "a.onnx")
