"""Steps of several batches: as of one batch of all their examples, whatever the loss, and resumed to the last bit."""

import contextlib
from functools import partial

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.data import Loader
from tensorgrad.training import Callback, Interrupted, fit, loop, step
from tests.support import CLASSES, HEIGHTS, INPUTS, StopAt, same

WEIGHTS = np.random.default_rng(4).random(90)
HOLED = np.where(np.arange(90) % 3, CLASSES, 9)


def mean(outputs, targets):
    return np.square(outputs[:, 0] - targets).mean()


def each(outputs, targets):
    return np.square(outputs[:, 0] - targets)


CASES = [
    ("mse", 1, (INPUTS, HEIGHTS)),
    ("mse", 1, (INPUTS, HEIGHTS, WEIGHTS)),
    (mean, 1, (INPUTS, HEIGHTS)),
    (each, 1, (INPUTS, HEIGHTS, WEIGHTS)),
    (partial(nn.softmax_cross_entropy, weight=[1.0, 2.0, 0.5], ignore_index=9), 3, (INPUTS, HOLED)),
    (partial(nn.softmax_cross_entropy, weight=[1.0, 2.0, 0.5], ignore_index=9), 3, (INPUTS, HOLED, WEIGHTS)),
]


class StepLosses(Callback):
    def __init__(self):
        self.losses = []

    def on_step_end(self, run, loss):
        self.losses.append(loss)


def fitted(outputs, examples, loss, batch_size=7, accumulate=3, **options):
    rng, steps = np.random.default_rng(0), StepLosses()
    hidden = nn.Dense(3, 16, rng, dtype=np.float64, weight_l2=1e-2, bias_l1=1e-3)
    model = nn.Sequential(hidden, nn.ReLU(), nn.Dense(16, outputs, rng, dtype=np.float64))
    options = {"epochs": 3, "rng": np.random.default_rng(1), "quiet": True, "max_norm": 1.0, **options}
    options = {"batch_size": batch_size, "accumulate": accumulate, "loss": loss, "callbacks": steps, **options}
    adam = tg.optim.Adam(model.parameters(), lr=tg.optim.cosine_decay(0.02, 15))
    return model, fit(model, examples, examples, adam, **options), steps.losses, adam.steps


@pytest.mark.parametrize("compiled", [None, False])
@pytest.mark.parametrize("loss, outputs, examples", CASES)
def test_the_step_is_that_of_one_batch_of_all_examples(loss, outputs, examples, compiled):
    found = fitted(outputs, examples, loss, compiled=compiled)  # the last step has 6 examples, in a batch of its own
    expected = fitted(outputs, examples, loss, batch_size=21, accumulate=1, compiled=compiled)
    assert found[3] == expected[3] == 15
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-9)
    for name, array in found[0].state_dict().items():
        np.testing.assert_allclose(array, expected[0].state_dict()[name], rtol=1e-9, atol=1e-12)
    for one, other in zip(found[1], expected[1]):
        assert (one.loss, one.validation_loss) == pytest.approx((other.loss, other.validation_loss), rel=1e-9)


@pytest.mark.parametrize("batch_size, accumulate", [(10, 9), (10, 50), (20, 2), (90, 2)])
def test_a_last_step_of_fewer_batches_is_a_mean_of_its_own_examples(batch_size, accumulate):
    found = fitted(1, (INPUTS, HEIGHTS), "mse", batch_size, accumulate)
    expected = fitted(1, (INPUTS, HEIGHTS), "mse", min(batch_size * accumulate, 90), 1)
    assert found[3] == expected[3]
    for name, array in found[0].state_dict().items():
        np.testing.assert_allclose(array, expected[0].state_dict()[name], rtol=1e-9, atol=1e-12)


def test_of_batches_whose_labels_are_all_ignored_nothing_is_learnt():
    labels = np.full(90, 9)
    labels[:80] = CLASSES[:80]
    loss = partial(nn.softmax_cross_entropy, ignore_index=9)
    _, history, losses, _ = fitted(3, (INPUTS, labels), loss, batch_size=2, accumulate=2)
    assert np.isfinite(losses).all() and history[-1].loss < history[0].loss


@pytest.mark.parametrize("compiled", [None, False])
def test_it_is_resumed_to_the_last_bit(compiled, tmp_path):
    options = {"compiled": compiled, "augment": lambda x, rng: x + rng.normal(0, 0.1, x.shape).astype(np.float32)}
    straight = fitted(1, (INPUTS, HEIGHTS), "mse", **options)
    for stop in (2, 5, 7):
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Interrupted):
            patch.setattr(loop, "Interruption", StopAt(stop))
            fitted(1, (INPUTS, HEIGHTS), "mse", folder=tmp_path, resume="auto", **options)
    same(fitted(1, (INPUTS, HEIGHTS), "mse", folder=tmp_path, resume=True, **options)[:2], straight[:2])


def test_batches_of_a_loader_are_added_up_as_those_of_an_array():
    options = {"augment": lambda x, rng: x + rng.normal(0, 0.1, x.shape).astype(np.float32), "epochs": 2}
    model, history, losses, _ = fitted(1, (INPUTS, HEIGHTS), "mse", **options)
    loader = Loader(INPUTS, HEIGHTS, workers=2)
    other, again, found, _ = fitted(1, loader, "mse", **options)
    same((model, history), (other, again))
    assert losses == found


def test_few_programs_are_made(monkeypatch):
    made, plain = [], step.own
    monkeypatch.setattr(step, "own", lambda function, state: made.append(plain(function, state)) or made[-1])
    fitted(1, (INPUTS, HEIGHTS), "mse", batch_size=5, epochs=5)
    assert made[0]._made == 3  # of the first, of those in between, and of the last batch of a step
