"""Several inputs, outputs and targets: containers of arrays go through a training as arrays do."""

import contextlib

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.training import Interrupted, Monitor, TrainingError, evaluate, fit, loop, predict
from tests.support import CLASSES, HEIGHTS, INPUTS, StopAt, same

IMAGES = np.random.default_rng(3).integers(0, 255, (90, 2, 2), dtype=np.uint8)


class TwoHeaded(nn.Module):
    def __init__(self):
        rng = np.random.default_rng(0)
        self.body, self.flatten = nn.Dense(7, 16, rng), nn.Flatten()
        self.heads = {"height": nn.Dense(16, 1, rng), "kind": nn.Dense(16, 3, rng)}

    def forward(self, inputs):
        joined = np.concatenate([inputs["points"], self.flatten(inputs["images"])], axis=1)
        hidden = tg.relu(self.body(joined))
        return {name: head(hidden) for name, head in self.heads.items()}


def both(outputs, targets):
    height = nn.mse(outputs["height"][:, 0], targets["height"])
    return height + tg.softmax_cross_entropy(outputs["kind"], targets["kind"])


def kinds(outputs, targets):
    return outputs["kind"].argmax(axis=1) == targets["kind"]


def scale(inputs):
    return {**inputs, "images": inputs["images"].astype(np.float32) / 255}


def jitter(inputs, rng):
    return {**inputs, "points": inputs["points"] + rng.normal(0, 0.01, inputs["points"].shape).astype(np.float32)}


EXAMPLES = {"points": INPUTS, "images": IMAGES}, {"height": HEIGHTS, "kind": CLASSES}


def fitted(examples=EXAMPLES, **options):
    model = TwoHeaded()
    options = {"epochs": 4, "batch_size": 20, "rng": np.random.default_rng(1), "quiet": True, **options}
    options = {"prepare": scale, "augment": jitter, "loss": both, "metrics": [kinds], **options}
    adam = tg.optim.Adam(model.parameters(), lr=0.02)
    return model, fit(model, examples, examples, adam, **options)


def test_several_inputs_and_outputs_are_learnt():
    model, history = fitted(epochs=40, monitor=Monitor("validation_kinds", mode="max"))
    found = evaluate(model, EXAMPLES, scale, loss=both, metrics=[kinds])
    assert found.kinds > 0.85 and found.kinds == max(row.metrics["validation_kinds"] for row in history)
    outputs = predict(model, EXAMPLES[0], scale)
    assert {name: array.shape for name, array in outputs.items()} == {"height": (90, 1), "kind": (90, 3)}


def test_they_are_resumed_exactly(tmp_path):
    straight = fitted()
    for stop in (2, 7, 11):
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Interrupted):
            patch.setattr(loop, "Interruption", StopAt(stop))
            fitted(folder=tmp_path, resume="auto")
    same(fitted(folder=tmp_path, resume=True), straight)


def test_the_callers_arrays_stay_as_they_are():
    before = INPUTS.copy(), IMAGES.copy()
    fitted(augment=None)
    np.testing.assert_array_equal(INPUTS, before[0])
    np.testing.assert_array_equal(IMAGES, before[1])


@pytest.mark.parametrize(
    "examples, message",
    [
        (({"points": INPUTS, "images": IMAGES[:50]}, EXAMPLES[1]), "inputs of one length, got 90 and 50"),
        ((EXAMPLES[0], {"height": HEIGHTS[:50], "kind": CLASSES}), "a label for each input.* 90 inputs and 50 labels"),
        (({"points": [1.0]}, EXAMPLES[1]), r"two arrays, \(inputs, labels\), got dict and dict; np\.asarray"),
    ],
)
def test_containers_that_do_not_fit_are_refused(examples, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fitted(examples)


def test_losses_of_one_array_say_what_several_need():
    with pytest.raises(
        TypeError,
        match=r"one array of labels for this loss, got dict; give each output its loss in such a container, loss=\{",
    ):
        fitted(loss="mse", metrics=None)


def test_what_is_not_finite_is_found_in_them():
    spoilt = INPUTS.copy()
    spoilt[5, 1] = np.nan
    with pytest.raises(TrainingError, match="training example 5 holds nan at position 1"):
        fitted(({**EXAMPLES[0], "points": spoilt}, EXAMPLES[1]), augment=None)
