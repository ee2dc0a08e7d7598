"""The notebooks: layers written by hand and expressions give equal numbers, and each notebook is of its text."""

import inspect
import json
import re
import sys

import numpy as np
import pytest

import models
import tensorgrad as tg
from notebooks.handwritten import (
    Activation_ReLU,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Layer_Dense,
    Layer_Dropout,
    Optimizer_Adam,
)
from tensorgrad._optional import MissingExtra
from tests.support import ROOT
from tools import notebooks

TEXTS = pytest.mark.parametrize("text", notebooks.TEXTS, ids=lambda path: path.stem)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((32, 20)).astype(np.float32)
G = RNG.standard_normal((32, 12)).astype(np.float32)
LABELS = RNG.integers(0, 12, 32)


def leaf(array):
    return tg.Tensor(array.copy(), requires_grad=True)


@pytest.mark.parametrize("strength", [0.0, 1e-3])
def test_dense_is_a_product_and_a_sum_to_the_last_bit(strength):
    layer = Layer_Dense(20, 12, RNG, weight_regularizer_l2=strength)
    layer.forward(X)
    layer.backward(G)
    x, weight, bias = leaf(X), leaf(layer.weights), leaf(layer.biases)
    out = x @ weight + bias
    out.backward(G)
    if strength:
        (strength * np.sum(weight**2)).backward()
    pairs = (out.data, layer.output), (x.grad, layer.dinputs), (weight.grad, layer.dweights), (bias.grad, layer.dbiases)
    for found, by_hand in pairs:
        np.testing.assert_array_equal(found, by_hand, strict=True)


def test_relu_is_a_maximum_to_the_last_bit():
    activation = Activation_ReLU()
    inputs = np.where(G > 1, 0, G)  # with zeros, where the derivative is a choice
    activation.forward(inputs)
    activation.backward(G)
    x = leaf(inputs)
    out = np.maximum(x, 0)
    out.backward(G)
    y = leaf(inputs)
    tg.relu(y).backward(G)
    np.testing.assert_array_equal(out.data, activation.output, strict=True)
    np.testing.assert_array_equal(y.grad, activation.dinputs, strict=True)
    np.testing.assert_array_equal(x.grad[inputs != 0], activation.dinputs[inputs != 0])


def test_dropout_is_a_product_to_the_last_bit():
    layer = Layer_Dropout(0.25, np.random.default_rng(0))
    layer.forward(G)
    layer.backward(G)
    x = leaf(G)
    out = x * layer.mask
    out.backward(G)
    np.testing.assert_array_equal(out.data, layer.output, strict=True)
    np.testing.assert_array_equal(x.grad, layer.dinputs, strict=True)
    layer.forward(G, training=False)
    np.testing.assert_array_equal(layer.output, tg.nn.Dropout(0.25).eval()(G))


def test_dropout_drops_as_many_as_the_module():
    layer = Layer_Dropout(0.25, np.random.default_rng(0))
    ones = np.ones((200, 200), np.float32)
    layer.forward(ones)
    dropped = tg.dropout(ones, 0.25, np.random.default_rng(0))
    assert set(np.unique(layer.output)) == set(np.unique(dropped))
    assert abs(layer.output.mean() - 1) < 0.01 and abs(dropped.mean() - 1) < 0.01


def test_softmax_and_cross_entropy_are_the_op_to_the_last_bit_and_the_expression_almost():
    layer = Activation_Softmax_Loss_CategoricalCrossentropy()
    loss_by_hand = layer.forward(3 * G, LABELS)
    layer.backward(LABELS)
    logits = leaf(3 * G)
    loss = tg.softmax_cross_entropy(logits, LABELS)
    loss.backward()
    np.testing.assert_array_equal(logits.grad, layer.dinputs, strict=True)  # 1 / 32 is exact
    np.testing.assert_allclose(loss.item(), loss_by_hand, rtol=1e-6)

    logits = leaf(3 * G)
    shifted = logits - logits.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    loss = -np.log((powers / powers.sum(axis=1, keepdims=True))[np.arange(32), LABELS]).mean()
    loss.backward()
    np.testing.assert_array_equal(loss.data, loss_by_hand)
    np.testing.assert_allclose(logits.grad, layer.dinputs, atol=1e-8)


def test_adam_is_the_optimiser_but_for_rounding():
    layer = Layer_Dense(20, 12, RNG)
    weight, bias = leaf(layer.weights), leaf(layer.biases)
    by_hand, optimiser = Optimizer_Adam(learning_rate=0.01), tg.optim.Adam([weight, bias], lr=0.01)
    for _ in range(20):
        layer.dweights = weight.grad = RNG.standard_normal((20, 12)).astype(np.float32)
        layer.dbiases = bias.grad = RNG.standard_normal(12).astype(np.float32)
        by_hand.pre_update_params()
        by_hand.update_params(layer)
        optimiser.step()
    np.testing.assert_allclose(weight.data, layer.weights, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(bias.data, layer.biases, rtol=1e-5, atol=1e-7)


def test_every_hand_written_layer_passes_a_numeric_check():
    """What is written by hand may be wrong: its derivative is compared with differences."""
    x, eps = X.astype(np.float64), 1e-6
    direction = RNG.standard_normal(x.shape)
    labels = LABELS % 12
    for layer in (Layer_Dense(20, 12, RNG), Activation_ReLU()):
        softmax = Activation_Softmax_Loss_CategoricalCrossentropy()

        def loss(inputs, layer=layer, softmax=softmax):
            layer.forward(inputs)
            return softmax.forward(layer.output, labels)

        slope = (loss(x + eps * direction) - loss(x - eps * direction)) / (2 * eps)
        loss(x)
        softmax.backward(labels)
        layer.backward(softmax.dinputs)
        assert np.sum(layer.dinputs * direction) == pytest.approx(slope, rel=1e-5)


# The notebooks


def cells(notebook):
    """Kind and source of each cell of a notebook in its file."""
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def test_there_is_one_for_each_experiment():
    names = ("Handwritten_detection", "Simpson", "Simpson_rgb")
    assert [path.stem for path in notebooks.TEXTS] == [f"Neural_Network_NumPy_{name}" for name in names]


@TEXTS
def test_a_notebook_is_of_its_text(text):
    pytest.importorskip("jupytext")
    built = json.loads(text.with_suffix(".ipynb").read_text())
    remedy = f"run python -m tools.notebooks --data-dir DIR {text.stem}"
    assert cells(built) == [(cell.cell_type, cell.source) for cell in notebooks.read(text).cells], remedy


@TEXTS
def test_a_notebook_was_run_on_the_real_data_and_keeps_no_restricted_image(text):
    built = text.with_suffix(".ipynb").read_text()
    assert len(built) < 1_000_000
    outputs = [output for cell in json.loads(built)["cells"] for output in cell.get("outputs", ())]
    printed = "".join("".join(output.get("text", ())) for output in outputs)
    assert ("10000, 1, 28, 28" if "Handwritten" in text.stem else "2000, ") in printed
    assert not [output for output in outputs if output["output_type"] == "error"]
    if "Simpson" in text.stem:
        shown = [
            source for kind, source in cells(json.loads(built)) if re.search(r"lesson\.(examples|mistakes)", source)
        ]
        assert len(shown) == 2 and built.count("the repository shows none") == 2
    assert str(ROOT) not in built and "/work" not in built


@TEXTS
def test_the_sources_that_a_notebook_has_printed_are_those_of_today(text):
    for cell in json.loads(text.with_suffix(".ipynb").read_text())["cells"]:
        for name in re.findall(r"print\(inspect\.getsource\(models\.(\w+)\)\)", "".join(cell["source"])):
            printed = "".join("".join(output.get("text", ())) for output in cell["outputs"])
            assert inspect.getsource(getattr(models, name)) in printed, f"run python -m tools.notebooks {text.stem}"


@TEXTS
def test_a_notebook_shows_each_layer_beside_its_expression_and_folds_its_solution(text):
    source = text.read_text()
    for name in ("Layer_Dense", "Activation_ReLU", "Layer_Dropout", "Optimizer_Adam"):
        assert f"beside({name}, " in source
    assert "beside(Activation_Softmax_Loss_CategoricalCrossentropy, " in source
    assert source.count("# <details>") == source.count("# </details>") == source.count("## Exercise") == 1


@pytest.mark.deep
@TEXTS
def test_a_notebook_runs_on_small_data_with_its_solution(text):
    for library in ("jupytext", "nbclient", "ipykernel"):
        pytest.importorskip(library)
    notebook = notebooks.read(text)
    found = notebooks.solutions(notebook)
    assert len(found) == 1
    notebook.cells.append(notebooks.code_cell(found[0]))
    notebooks.execute(notebook, "small")
    assert notebook.cells[-1].outputs


def test_new_text_keeps_the_outputs_and_new_code_asks_for_a_run():
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("jupytext")
    built = notebooks.TEXTS[0].with_suffix(".ipynb")
    notebook = notebooks.read(notebooks.TEXTS[0])
    notebook.cells[0].source += " And more."
    notebooks.keep_outputs(notebook, built)
    outputs = [cell.get("outputs") for cell in nbformat.read(built, as_version=4).cells]
    assert [cell.get("outputs") for cell in notebook.cells] == outputs
    next(cell for cell in notebook.cells if cell.cell_type == "code").source += "\n1 + 1"
    with pytest.raises(SystemExit, match=r"Handwritten_detection: the code has changed; run it again, with --data-dir"):
        notebooks.keep_outputs(notebook, built)


def test_building_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "jupytext", None)
    with pytest.raises(MissingExtra, match=r"building notebooks needs jupytext .* pip install jupytext"):
        notebooks.read(notebooks.TEXTS[0])
