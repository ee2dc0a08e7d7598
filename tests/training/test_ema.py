"""EMA: averages by the formula, used for validation and the best weights, and resumed with the rest."""

import contextlib

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.training import EMA, Callback, Interrupted, evaluate, fit, load_checkpoint, loop, predict
from tests.support import StopAt, blobs, same


def network(norm=True, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    between = [nn.BatchNorm1d(16, dtype=dtype)] if norm else []
    return nn.Sequential(nn.Dense(2, 16, rng, dtype=dtype), *between, nn.ReLU(), nn.Dense(16, 3, rng, dtype=dtype))


def fitted(*callbacks, model=None, **options):
    model = network() if model is None else model
    options = {"epochs": 4, "batch_size": 50, "rng": np.random.default_rng(1), "quiet": True, **options}
    adam = tg.optim.Adam(model.parameters(), lr=0.05)
    return model, fit(model, blobs(), blobs(60, 1), adam, callbacks=callbacks, **options)


class Reference(Callback):
    """The averages by the formula, in plain NumPy, and the weights."""

    def __init__(self, decay):
        self.decay, self.count, self.averages, self.kept, self.weights = decay, 0, {}, [], []

    def on_step_end(self, run, loss):
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        for name, array in run.model.state_dict().items():
            before = self.averages.get(name, array)
            self.averages[name] = before + np.asarray(1 - decay).astype(before.dtype) * (array - before)
        self.count += 1

    def on_epoch_end(self, run, row):
        self.kept.append(dict(self.averages))
        self.weights.append(run.model.state_dict())


@pytest.mark.parametrize("decay", [0.0, 0.8, 0.999])
def test_validation_and_the_best_weights_are_of_the_averages(decay, tmp_path):
    reference = Reference(decay)
    model, history = fitted(reference, EMA(decay), folder=tmp_path, monitor="validation_loss")
    for row, averages in zip(history, reference.kept):
        other = network()
        other.load_state_dict(averages)
        assert evaluate(other, blobs(60, 1)) == pytest.approx((row.validation_loss, row.validation_accuracy), rel=1e-6)
    best = min(history, key=lambda row: row.validation_loss).epoch
    saved = load_checkpoint(tmp_path / "best.npz")[0]
    for name, array in reference.kept[best - 1].items():
        np.testing.assert_array_equal(model.state_dict()[name], array)
        np.testing.assert_array_equal(saved[f"model/{name}"], array)
    plain = Reference(decay)
    fitted(plain)
    for one, other in zip(reference.weights, plain.weights):  # the training itself is as without
        assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("compiled", [None, False])
def test_it_is_resumed_to_the_last_bit(compiled, tmp_path):
    straight = fitted(EMA(0.9), compiled=compiled)
    for stop in (2, 8, 9):
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Interrupted):
            patch.setattr(loop, "Interruption", StopAt(stop))
            fitted(EMA(0.9), compiled=compiled, folder=tmp_path, resume="auto")
    ema = EMA(0.9)
    same(fitted(ema, compiled=compiled, folder=tmp_path, resume=True), straight)
    assert ema.updates == 24


def test_it_is_resumed_among_other_callbacks(tmp_path):
    fitted(EMA(0.9), folder=tmp_path, epochs=2)
    straight = fitted(EMA(0.9))
    same(fitted(Reference(0.5), EMA(0.9), folder=tmp_path, resume=True), straight)


def test_a_resume_that_leaves_it_out_says_so(tmp_path):
    fitted(EMA(0.9), folder=tmp_path, epochs=2)
    with pytest.warns(UserWarning, match=r"has the state of a callback EMA .* pass EMA again") as caught:
        fitted(folder=tmp_path, resume=True)
    assert caught[0].filename == loop.__file__.replace("tensorgrad/training/loop.py", "tests/training/test_ema.py")


def test_the_weights_come_back_after_an_error_in_validation():
    class Failing(Callback):
        def on_evaluation_begin(self, run):
            self.weights = run.model.state_dict()
            raise RuntimeError("here")

    failing, reference = Failing(), Reference(0.5)
    model = network()
    with pytest.raises(RuntimeError, match="here"):
        fitted(reference, EMA(0.5), failing, model=model)
    assert all(np.array_equal(failing.weights[name], array) for name, array in reference.averages.items())
    assert not np.array_equal(model[0].weight.data, failing.weights["0.weight"])


@pytest.mark.parametrize("dtype, kept", [(np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64)])
def test_averages_of_half_precision_are_kept_in_single(dtype, kept):
    model, ema = network(norm=False, dtype=dtype), EMA(0.9999)
    for _ in range(3):
        ema.update(model)
        model[0].weight.data = model[0].weight.data + dtype(1)
    average = ema.state_dict()["average/0.weight"]
    assert average.dtype == kept and np.all((average > model[0].weight.data - 2) & (average < model[0].weight.data))
    with ema.applied(model):
        assert model[0].weight.dtype == dtype
        np.testing.assert_array_equal(model[0].weight.data, average.astype(dtype))


def test_before_the_first_update_the_weights_are_as_they_are():
    model = network()
    expected = predict(model, blobs()[0])
    with EMA().applied(model):
        np.testing.assert_array_equal(predict(model, blobs()[0]), expected)


def test_one_object_is_for_one_model():
    ema = EMA()
    fitted(ema)
    with pytest.raises(ValueError, match=r"another model, with .* where this one has .*; make an EMA for each"):
        ema.update(network(norm=False))
    fitted(ema)  # goes on


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_decays_that_do_not_fit_are_refused(decay):
    with pytest.raises(ValueError, match="decay must satisfy 0 <= decay < 1, got"):
        EMA(decay)


@pytest.mark.parametrize(
    "state", [{"updates": 3}, {"updates": "3", "average/a": np.ones(2)}, {"updates": 0, "average/a": np.ones(2)}]
)
def test_a_state_that_no_ema_has_is_refused(state):
    with pytest.raises(ValueError, match="EMA: the state has"):
        EMA().load_state_dict(state)


def test_an_object_that_averaged_an_earlier_training_has_nothing_of_it_in_the_next():
    used = EMA(0.999)
    fitted(used, model=network(seed=5))
    same(fitted(used), fitted(EMA(0.999)))


def test_the_weights_come_back_from_a_block_within_a_block():
    model, ema, within = network(), EMA(0.9), []

    class Applying(Callback):
        def on_evaluation_begin(self, run):
            with ema.applied(run.model):
                within.append(run.model.state_dict())

    plain, applying = Reference(0.9), Reference(0.9)
    fitted(plain, EMA(0.9))
    fitted(applying, ema, Applying(), model=model)
    for one, other in zip(applying.weights, plain.weights):
        assert all(np.array_equal(one[name], other[name]) for name in one)
    weights = model.state_dict()
    with ema.applied(model), ema.applied(model):
        assert all(np.array_equal(model.state_dict()[name], array) for name, array in within[-1].items())
    assert all(np.array_equal(model.state_dict()[name], array) for name, array in weights.items())
