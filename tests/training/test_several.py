"""Several outputs, each with a loss by name: as the sum that one would write, with weights, metrics and resuming."""

import contextlib
from functools import partial

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.training import Interrupted, Monitor, evaluate, find_learning_rate, fit, loop, predict
from tests.support import CLASSES, HEIGHTS, INPUTS, SEVERAL, StopAt, alike, same

TARGETS = {"height": HEIGHTS, "kind": CLASSES, "tags": SEVERAL}
WEIGHTS = np.arange(90) % 3
LOSSES = {"height": (0.5, "mse"), "kind": "softmax_cross_entropy", "tags": "binary_cross_entropy_with_logits"}


def written(outputs, targets):
    height = nn.mse(outputs["height"][:, 0], targets["height"])
    kind = nn.softmax_cross_entropy(outputs["kind"], targets["kind"])
    return 0.5 * height + kind + nn.binary_cross_entropy_with_logits(outputs["tags"], targets["tags"])


class Heads(nn.Module):
    def __init__(self, kind):
        rng = np.random.default_rng(0)
        self.kind, self.body = kind, nn.Dense(3, 16, rng)
        self.heads = {"height": nn.Dense(16, 1, rng), "kind": nn.Dense(16, 3, rng), "tags": nn.Dense(16, 2, rng)}

    def forward(self, inputs):
        hidden = tg.relu(self.body(inputs))
        found = {name: head(hidden) for name, head in self.heads.items()}
        return found if self.kind is dict else self.kind(found.values())


def fitted(loss=LOSSES, targets=TARGETS, kind=dict, weights=None, **options):
    model = Heads(kind)
    options = {"epochs": 4, "batch_size": 20, "rng": np.random.default_rng(1), "quiet": True, **options}
    examples = (INPUTS, targets) if weights is None else (INPUTS, targets, weights)
    adam = tg.optim.Adam(model.parameters(), lr=0.02)
    return model, fit(model, examples, examples, adam, loss=loss, **options)


@pytest.mark.parametrize("compiled", [None, False])
def test_the_loss_is_the_weighted_sum_of_them(compiled):
    found, expected = fitted(compiled=compiled), fitted(written, compiled=compiled)
    alike(found, expected)
    for one, other in zip(found[1], expected[1]):
        assert (one.loss, one.validation_loss) == pytest.approx((other.loss, other.validation_loss), rel=1e-5)


@pytest.mark.parametrize("kind", [tuple, list])
def test_outputs_in_a_tuple_or_list_are_as_those_in_a_dict(kind):
    found = fitted(kind(LOSSES.values()), kind(TARGETS.values()), kind, metrics=(["mae"], None, []))
    same((found[0], []), (fitted()[0], []))
    row = found[1][-1].metrics
    assert {name for name in row if "validation" not in name} == {
        *("output0_loss", "output0_mae", "output1_loss", "output1_accuracy", "output2_loss")
    }


def test_each_has_its_loss_and_metrics_by_its_name():
    monitor = Monitor("validation_height_mae")
    model, history = fitted(metrics={"height": ["mae", "r2"], "kind": None}, epochs=30, monitor=monitor)
    found = evaluate(model, (INPUTS, TARGETS), loss=LOSSES, metrics={"height": ["mae", "r2"], "kind": None})
    assert found._fields == (
        *("loss", "height_loss", "height_mae", "height_r2", "kind_loss", "kind_accuracy", "tags_loss"),
    )
    assert found.loss == pytest.approx(0.5 * found.height_loss + found.kind_loss + found.tags_loss, rel=1e-6)
    assert found.height_r2 > 0.9 and found.height_mae == min(r.metrics["validation_height_mae"] for r in history)
    row = history[-1]
    assert row.loss == pytest.approx(
        0.5 * row.metrics["height_loss"] + row.metrics["kind_loss"] + row.metrics["tags_loss"], rel=1e-5
    )
    assert found.kind_accuracy == np.mean(predict(model, INPUTS)["kind"].argmax(axis=1) == CLASSES)


def test_metrics_of_all_outputs_together_are_functions():
    def right(outputs, targets):
        return (outputs["kind"].argmax(axis=1) == targets["kind"]) & (np.abs(outputs["height"][:, 0]) < 9)

    _, history = fitted(metrics=[right], monitor=Monitor("validation_right", mode="max"))
    assert 0 < history[-1].metrics["right"] <= 1 and "kind_accuracy" not in history[-1].metrics


def test_weights_of_examples_and_ignored_labels_are_heeded_in_each():
    ignoring = {**LOSSES, "kind": partial(nn.softmax_cross_entropy, ignore_index=2)}
    weighted = fitted(ignoring, weights=WEIGHTS, batch_size=90)
    repeats = np.repeat(np.arange(90), WEIGHTS)
    targets = {name: array[repeats] for name, array in TARGETS.items()}
    model = Heads(dict)
    adam = tg.optim.Adam(model.parameters(), lr=0.02)
    options = {"epochs": 4, "batch_size": 90, "rng": np.random.default_rng(1), "quiet": True}
    examples = INPUTS[repeats], targets
    history = fit(model, examples, examples, adam, loss=ignoring, **options)
    alike(weighted, (model, history))
    for one, other in zip(weighted[1], history):
        assert one.measures.keys() == other.measures.keys()
        for name in one.measures.keys() - {"seconds"}:
            assert one.measures[name] == pytest.approx(other.measures[name], rel=1e-4), name


def test_steps_of_several_batches_are_exact_for_each():
    ignoring = {**LOSSES, "kind": partial(nn.softmax_cross_entropy, ignore_index=2, weight=[1.0, 3.0, 1.0])}
    found = fitted(ignoring, batch_size=7, accumulate=4)
    alike(found, fitted(ignoring, batch_size=28))


def test_it_is_resumed_to_the_last_bit(tmp_path):
    straight = fitted(accumulate=2)
    for stop in (2, 5):
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Interrupted):
            patch.setattr(loop, "Interruption", StopAt(stop))
            fitted(accumulate=2, folder=tmp_path, resume="auto")
    same(fitted(accumulate=2, folder=tmp_path, resume=True), straight)


def test_containers_in_containers():
    class Nested(Heads):
        def forward(self, inputs):
            found = super().forward(inputs)
            return {"numbers": (found["height"],), "rest": {"kind": found["kind"], "tags": found["tags"]}}

    model = Nested(dict)
    loss = {"numbers": (LOSSES["height"],), "rest": {"kind": LOSSES["kind"], "tags": LOSSES["tags"]}}
    targets = {"numbers": (HEIGHTS,), "rest": {"kind": CLASSES, "tags": SEVERAL}}
    options = {"epochs": 4, "batch_size": 20, "rng": np.random.default_rng(1), "quiet": True, "loss": loss}
    adam = tg.optim.Adam(model.parameters(), lr=0.02)
    history = fit(model, (INPUTS, targets), (INPUTS, targets), adam, accumulate=2, **options)
    alike((model, history), fitted(accumulate=2))
    assert {"numbers_output0_loss", "rest_kind_accuracy"} <= history[0].metrics.keys()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"loss": {}}, "loss must have a loss for each output, got {}"),
        ({"loss": {**LOSSES, "tags": "mee"}}, "loss must be one of .*got 'mee'"),
        ({"loss": {**LOSSES, "tags": (-1, "mse")}}, "the weight of a loss must be finite and not negative, got -1"),
        ({"loss": {"a b": "mse"}}, "need names that metrics can begin with, such as 'height', got 'a b'"),
        (
            {"loss": {"height": "mse"}},
            "train must have targets in a dict with 'height', as .* got a dict with 'height', ",
        ),
        ({"targets": HEIGHTS}, "train must have targets in a dict with .*got ndarray; give each its loss"),
        ({"kind": tuple}, "the network must give outputs in a dict with .*got tuple of 3; give each its loss"),
        ({"loss": ("mse", "mse")}, "train must have targets in a tuple of 2.* got a dict with"),
        (
            {"targets": {**TARGETS, "kind": CLASSES.astype(str)}},
            r"train, output 'kind', must have integer labels, .*return_inverse=True",
        ),
        ({"targets": {**TARGETS, "kind": CLASSES + 5}}, r"train, output 'kind', must have labels in 0\.\.2"),
        ({"metrics": ["mae"]}, r"here 'mae'; give each output its own, as in metrics={'height': \['mae'\]}"),
        ({"metrics": {"error": "mae"}}, "metrics by name are of one output, here 'error'"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fitted(**options)


def test_more_outputs_than_losses_are_allowed_in_a_dict():
    loss, targets = ({name: of[name] for name in ("height", "kind")} for of in (LOSSES, TARGETS))
    with pytest.warns(UserWarning, match=r"no gradient in a whole epoch.*heads\.tags"):
        fitted(loss, targets)


def test_the_rate_is_found_for_several_outputs():
    model = Heads(dict)
    adam = tg.optim.Adam(model.parameters())
    found = find_learning_rate(model, (INPUTS, TARGETS), adam, loss=LOSSES, batch_size=20)
    assert 1e-4 < found.suggestion < 1
