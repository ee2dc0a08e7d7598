"""Weights of examples and classes, ignored labels and smoothing: as repeating, leaving out, and PyTorch have it."""

import contextlib
from functools import partial
from itertools import product

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.testing import gradcheck
from tensorgrad.training import Interrupted, evaluate, fit, loop, predict
from tests.support import CLASSES, HEIGHTS, INPUTS, SEVERAL, StopAt, alike, network, same

WEIGHTS = np.arange(90) % 3  # a third is left out, a third counts twice
REPEATED = np.repeat(np.arange(90), WEIGHTS)


def fitted(outputs, examples, loss, **options):
    model = network(outputs)
    options = {"epochs": 5, "batch_size": 90, "rng": np.random.default_rng(1), "quiet": True, **options}
    sgd = tg.optim.SGD(model.parameters(), lr=0.1)
    return model, fit(model, examples, options.pop("validation", examples), sgd, loss=loss, **options)


def own(outputs, targets):
    return np.square(outputs[:, 0] - targets)


CASES = [
    ("mse", 1, HEIGHTS),
    ("huber", 1, HEIGHTS),
    ("softmax_cross_entropy", 3, CLASSES),
    (partial(nn.softmax_cross_entropy, weight=[1.0, 2.0, 0.5], label_smoothing=0.1), 3, CLASSES),
    (partial(nn.softmax_cross_entropy, ignore_index=2), 3, CLASSES),
    ("binary_cross_entropy_with_logits", 2, SEVERAL),
    ("hinge", 2, SEVERAL),
    (own, 1, HEIGHTS),
]


@pytest.mark.parametrize("compiled", [None, False])
@pytest.mark.parametrize("loss, outputs, targets", CASES)
def test_a_weight_of_two_is_an_example_twice_and_none_is_an_example_left_out(loss, outputs, targets, compiled):
    options = {"compiled": compiled, "monitor": "validation_loss"}
    weighted = fitted(outputs, (INPUTS, targets, WEIGHTS), loss, **options)
    plain = partial(mean_of, loss) if loss is own else loss
    repeated = fitted(outputs, (INPUTS[REPEATED], targets[REPEATED]), plain, **options)
    alike(weighted, repeated)
    for one, other in zip(weighted[1], repeated[1]):
        assert one.measures.keys() == other.measures.keys()
        for name in one.measures.keys() - {"seconds"}:
            assert one.measures[name] == pytest.approx(other.measures[name], rel=1e-5), name
    found = evaluate(weighted[0], (INPUTS, targets, WEIGHTS), loss=loss)
    assert found.loss == min(row.validation_loss for row in weighted[1])


def each(outputs, targets):
    return np.abs(outputs - targets)[:, 0]


def of_outputs(outputs, targets):
    return np.abs(outputs - targets)


def number(outputs, targets):
    return 7.0


@pytest.mark.parametrize("metric", ["mae", "mse", "r2", each, of_outputs])
def test_metrics_are_means_by_the_weights(metric):
    model, loss = network(1), {"loss": "mse", "metrics": {"found": metric}}
    plain = evaluate(model, (INPUTS[REPEATED], HEIGHTS[REPEATED]), **loss)
    assert evaluate(model, (INPUTS, HEIGHTS, WEIGHTS * 0.3), **loss).found == pytest.approx(plain.found, rel=1e-6)
    assert evaluate(model, (INPUTS, HEIGHTS, WEIGHTS), **loss).found != evaluate(model, (INPUTS, HEIGHTS), **loss).found


def test_a_metric_of_one_number_takes_no_notice_of_weights():
    options = {"loss": "mse", "metrics": [number]}
    assert evaluate(network(1), (INPUTS, HEIGHTS, WEIGHTS), **options).number == pytest.approx(7.0)
    _, (row,) = fitted(1, (INPUTS, HEIGHTS, WEIGHTS), "mse", metrics=[number], epochs=1, batch_size=20)
    assert row.metrics == pytest.approx({"number": 7.0, "validation_number": 7.0})


def test_metrics_of_another_length_cannot_be_weighted():
    with pytest.raises(ValueError, match=r"by_class must give a number for each of 90 examples, .*got shape \(3,\)"):
        evaluate(network(3), (INPUTS, CLASSES, WEIGHTS), metrics={"by_class": lambda outputs, targets: np.ones(3)})


def mean_of(loss, outputs, targets):
    return loss(outputs, targets).mean()


@pytest.mark.filterwarnings("ignore::tensorgrad.training.DivergenceWarning")  # of the first batch, which is small
@pytest.mark.parametrize("loss, outputs, targets", CASES)
def test_the_loss_of_an_epoch_is_that_of_all_examples_whatever_the_batches(loss, outputs, targets):
    model, examples = network(outputs), (INPUTS, targets, WEIGHTS)
    sgd = tg.optim.SGD(model.parameters(), lr=0.0)
    options = {"epochs": 1, "batch_size": 7, "rng": np.random.default_rng(0)}
    (row,) = fit(model, examples, examples, sgd, loss=loss, **options)
    assert row.loss == pytest.approx(row.validation_loss, rel=1e-5)


def test_ignored_labels_are_as_if_they_were_not_there():
    holed = np.where(np.arange(90) % 4 == 0, 255, CLASSES)
    kept = holed != 255
    loss = partial(nn.softmax_cross_entropy, ignore_index=255)
    one = fitted(3, (INPUTS, holed), loss)
    other = fitted(3, (INPUTS[kept], CLASSES[kept]), "softmax_cross_entropy")
    alike(one, other)
    assert [row.accuracy for row in one[1]] == pytest.approx([row.accuracy for row in other[1]])
    with pytest.raises(ValueError, match=r"labels in 0\.\.2.*got 255"):
        fitted(3, (INPUTS, holed), "softmax_cross_entropy")
    with pytest.raises(ValueError, match="must have a label that is not ignored, got 255 alone"):
        fitted(3, (INPUTS, np.full(90, 255)), loss)


def test_weights_of_classes_bring_out_a_rare_one():
    rng = np.random.default_rng(0)
    labels = (np.arange(600) < 30).astype(int)
    inputs = (rng.standard_normal((600, 3)) + labels[:, None]).astype(np.float32)
    counts = np.bincount(labels)
    found = []
    for loss in ("softmax_cross_entropy", partial(nn.softmax_cross_entropy, weight=600 / (2 * counts))):
        model, _ = fitted(2, (inputs, labels), loss, epochs=60)
        found.append((predict(model, inputs).argmax(axis=1) == 1)[labels == 1].mean())
    assert found[0] < 0.5 < found[1]


@pytest.mark.parametrize(
    "weights, message",
    [
        (np.ones(80), r"a number as weight for each of 90 inputs, \(inputs, labels, weights\), got float64"),
        (np.ones((90, 1)), "a number as weight for each of 90 inputs"),
        (np.array(["1"] * 90), "a number as weight for each of 90 inputs"),
        (np.zeros(90), "finite and not negative, one of them positive, got 0.0 to 0.0"),
        (np.arange(90.0) - 1, "got -1.0 to 88.0"),
        (np.full(90, np.nan), "weights that are finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        fitted(1, (INPUTS, HEIGHTS, weights), "mse")


def test_a_loss_of_ones_own_gives_one_for_each_example_where_they_have_weights():
    with pytest.raises(ValueError, match=r"a number for each of 90 examples, got shape \(\); leave out the mean"):
        fitted(1, (INPUTS, HEIGHTS, WEIGHTS), partial(mean_of, own))
    fitted(1, (INPUTS, HEIGHTS, WEIGHTS), own)


def test_weights_are_resumed_with_the_rest(tmp_path):
    examples, loss = (INPUTS, CLASSES, WEIGHTS), partial(nn.softmax_cross_entropy, weight=[1.0, 2.0, 0.5])
    options = {"epochs": 4, "batch_size": 20, "validation": None}
    straight = fitted(3, examples, loss, **options)
    for stop in (3, 9):
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Interrupted):
            patch.setattr(loop, "Interruption", StopAt(stop))
            fitted(3, examples, loss, folder=tmp_path, resume="auto", **options)
    same(fitted(3, examples, loss, folder=tmp_path, resume=True, **options), straight)


# The losses themselves

LOGITS = np.random.default_rng(0).standard_normal((6, 4, 3))
LABELS = np.random.default_rng(1).integers(0, 3, (6, 4))


@pytest.mark.parametrize(
    "smoothing, weight, ignored, reduction",
    product([0.0, 0.2], [None, [0.5, 2.0, 1.0]], [None, 1], ["mean", "sum", "none"]),
)
def test_cross_entropy_is_pytorchs(smoothing, weight, ignored, reduction):
    torch = pytest.importorskip("torch")

    def loss(logits):
        settings = {"weight": weight, "ignore_index": ignored, "reduction": reduction}
        return tg.softmax_cross_entropy(logits, LABELS, smoothing, **settings)

    theirs = torch.tensor(LOGITS, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(
        theirs.reshape(-1, 3),
        torch.tensor(LABELS.ravel()),
        weight=None if weight is None else torch.tensor(weight, dtype=torch.float64),
        ignore_index=-100 if ignored is None else ignored,
        label_smoothing=smoothing,
        reduction=reduction,
    )
    expected.sum().backward()
    ours = tg.Tensor(LOGITS, requires_grad=True)
    found = loss(ours)
    np.sum(found).backward()
    assert found.shape == (() if reduction != "none" else (6, 4))
    np.testing.assert_allclose(found.numpy().ravel(), expected.detach().numpy().ravel(), rtol=1e-12)
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-9, atol=1e-14)
    gradcheck(loss, LOGITS)
    compiled = tg.compile(loss)
    for _ in range(3):
        np.testing.assert_allclose(compiled(tg.Tensor(LOGITS)).numpy(), found.numpy(), rtol=1e-12)


def test_binary_cross_entropy_is_pytorchs():
    torch = pytest.importorskip("torch")
    labels = (LOGITS > 0.3).astype(float)
    for weight in (None, 3.0, [1.0, 2.0, 0.5]):
        given = None if weight is None else torch.tensor(weight, dtype=torch.float64)
        expected = torch.nn.functional.binary_cross_entropy_with_logits(
            torch.tensor(LOGITS), torch.tensor(labels), pos_weight=given
        )
        found = nn.binary_cross_entropy_with_logits(tg.Tensor(LOGITS), labels, pos_weight=weight)
        assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    smoothed = nn.binary_cross_entropy_with_logits(tg.Tensor(LOGITS), labels, label_smoothing=0.2)
    assert smoothed.item() == nn.binary_cross_entropy_with_logits(tg.Tensor(LOGITS), labels * 0.8 + 0.1).item()


ROWS = np.random.default_rng(2).dirichlet(np.ones(3), (6, 4))


@pytest.mark.parametrize(
    "loss, predictions, targets",
    [
        (nn.softmax_cross_entropy, LOGITS, LABELS),
        (nn.softmax_cross_entropy, LOGITS, ROWS),
        (nn.categorical_cross_entropy, ROWS, LABELS),
        (nn.kl_divergence, LOGITS, ROWS),
        (nn.binary_cross_entropy_with_logits, LOGITS, ROWS),
        (nn.mse, LOGITS, ROWS),
        (nn.mae, LOGITS, ROWS),
        (nn.huber, LOGITS, ROWS),
        (nn.hinge, LOGITS, np.sign(LOGITS)),
    ],
)
def test_every_loss_can_be_a_mean_a_sum_or_each(loss, predictions, targets):
    predictions = tg.Tensor(predictions)
    each = loss(predictions, targets, reduction="none").numpy()
    assert each.shape in ((6, 4), (6, 4, 3))
    assert loss(predictions, targets).item() == pytest.approx(each.mean(), rel=1e-12)
    assert loss(predictions, targets, reduction="sum").item() == pytest.approx(each.sum(), rel=1e-12)
    with pytest.raises(ValueError, match=r"reduction must be 'mean', 'sum' or 'none', got 'average'"):
        loss(predictions, targets, reduction="average")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"weight": [1.0, 2.0]}, r"weight must be 3 numbers, .*got float64 of shape \(2,\)"),
        ({"weight": [1.0, -2.0, 1.0]}, r"not negative, got \[1\.0, -2\.0, 1\.0\]"),
    ],
)
def test_weights_of_classes_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        nn.softmax_cross_entropy(LOGITS, LABELS, **settings)
    with pytest.raises(TypeError, match="ignore_index is for integer labels, got float64"):
        nn.softmax_cross_entropy(LOGITS, ROWS, ignore_index=0)


def test_a_mean_of_ignored_labels_alone_is_zero():
    logits = tg.Tensor(LOGITS, requires_grad=True)
    loss = nn.softmax_cross_entropy(logits, np.full((6, 4), -1), ignore_index=-1)
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()
