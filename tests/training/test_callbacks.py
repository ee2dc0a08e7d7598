"""Callbacks: when they are called, how they stop a training, and that their state is part of it."""

import contextlib
import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.training import EMA, Callback, CSVHistory, EarlyStopping, Interrupted, fit, loop
from tests.support import StopAt, blobs, same


def fitted(*callbacks, **options):
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Dense(2, 16, rng), nn.ReLU(), nn.Dense(16, 3, rng))
    options = {"epochs": 3, "batch_size": 100, "rng": np.random.default_rng(1), "quiet": True, **options}
    adam = tg.optim.Adam(model.parameters(), lr=1e-2)
    return model, fit(model, blobs(), blobs(60, 1), adam, callbacks=callbacks, **options)


class Noting(Callback):
    def __init__(self):
        self.seen = []

    def on_train_begin(self, run):
        self.seen.append(("begin", run.epoch, run.step))

    def on_step_end(self, run, loss):
        self.seen.append(("step", run.epoch, run.step))

    def on_epoch_end(self, run, row):
        assert run.history[-1] is row and run.best in run.history and run.epochs == 3
        self.seen.append(("epoch", row.epoch, run.step))

    def on_train_end(self, run):
        self.seen.append(("end", len(run.history), run.step))


def test_callbacks_are_told_of_every_step_and_epoch():
    noting, plain = Noting(), fitted()
    same(fitted(noting), plain)
    steps = [[("step", epoch, 3 * epoch - 2 + i) for i in range(3)] for epoch in (1, 2, 3)]
    epochs = [event for epoch in (1, 2, 3) for event in (*steps[epoch - 1], ("epoch", epoch, 3 * epoch))]
    assert noting.seen == [("begin", 1, 0), *epochs, ("end", 3, 9)]


class StopsAt(Callback):
    def __init__(self, moment, step=0):
        self.moment, self.step = moment, step

    def on_train_begin(self, run):
        return self.moment == "begin"

    def on_step_end(self, run, loss):
        return np.bool_(self.moment == "step" and run.step == self.step)

    def on_epoch_end(self, run, row):
        return self.moment == "epoch" and run.step == self.step


@pytest.mark.parametrize(
    "moment, step, epochs", [("begin", 0, 0), ("step", 1, 0), ("step", 3, 1), ("step", 5, 1), ("epoch", 6, 2)]
)
def test_a_callback_stops_the_training_which_can_be_resumed(moment, step, epochs, tmp_path):
    noting = Noting()
    model, history = fitted(StopsAt(moment, step), noting, folder=tmp_path)
    if (moment, step) != ("step", 3):  # the last of an epoch is no stop half way
        assert len(history) == epochs and noting.seen[-1] == ("end", epochs, step)
    assert not any(module.training for module in model.modules())
    same(fitted(folder=tmp_path, resume=True), fitted())


class Averages(Callback):
    """Keeps arrays and numbers, and changes the learning rate by them."""

    def __init__(self):
        self.mean, self.count = np.zeros(1), 0

    def on_step_end(self, run, loss):
        self.mean, self.count = self.mean * 0.9 + 0.1 * loss, self.count + 1
        run.optimiser.lr = 0.01 / (1 + float(self.mean[0])) / self.count

    def state_dict(self):
        return {"mean": self.mean, "count": self.count, "rate": None}

    def load_state_dict(self, state):
        self.mean, self.count = state["mean"], state["count"]


class Restoring(Averages):
    def on_train_begin(self, run):
        if self.count:
            run.optimiser.lr = 0.01 / (1 + float(self.mean[0])) / self.count


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=3))
def test_the_state_of_callbacks_is_resumed_with_the_rest(tmp_path_factory, stops):
    folder, straight, callback = tmp_path_factory.mktemp("run"), Restoring(), Restoring()
    expected = fitted(straight)
    for stop in stops:
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Interrupted):
            patch.setattr(loop, "Interruption", StopAt(stop))
            fitted(Restoring(), folder=folder, resume="auto")
    same(fitted(callback, folder=folder, resume="auto"), expected)
    assert callback.mean == straight.mean and callback.count == straight.count == 9


def test_early_stopping_is_what_patience_does():
    one = fitted(epochs=40, patience=2, monitor="validation_loss")
    other = fitted(EarlyStopping("validation_loss", 2), epochs=40, monitor="validation_loss")
    same(one, other)
    assert len(one[1]) < 40


def test_the_history_is_written_after_each_epoch(tmp_path):
    _, history = fitted(CSVHistory(tmp_path / "history.csv"), StopsAt("epoch", 6))
    read = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert [float(row["loss"]) for row in read] == [row.loss for row in history] and len(read) == 2


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: fitted(lambda row: None), r"derived from tensorgrad\.training\.Callback, got <function.*on_epoch="),
        (lambda: fitted(Callback), r"must be objects of classes derived"),
        (lambda: fitted(EarlyStopping("mae", 2)), "monitor must be one of 'epoch', 'loss', 'accuracy'.*got 'mae'"),
        (lambda: EarlyStopping("worst", 2), r"Monitor\('worst', mode='max'\) or Monitor\('worst', mode='min'\)"),
        (lambda: EarlyStopping("val_loss", 2), "as it is of 'loss', .*, also with 'validation_' before"),
        (lambda: EarlyStopping("loss", 0), "patience must be an integer of at least 1, got 0"),
    ],
)
def test_callbacks_that_do_not_fit_are_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_a_single_callback_needs_no_list():
    noting = Noting()
    rng = np.random.default_rng(0)
    model = nn.Dense(2, 3, rng)
    fit(model, blobs(), epochs=3, batch_size=100, rng=rng, callbacks=noting)
    assert noting.seen[-1] == ("end", 3, 9)


def test_numbers_of_numpy_are_saved_and_what_json_cannot_hold_is_refused(tmp_path):
    class Keeping(Callback):
        def __init__(self, kept):
            self.kept = kept

        def state_dict(self):
            return {"kept": self.kept}

        def load_state_dict(self, state):
            self.kept = state["kept"]

    fitted(Keeping([np.float32(0.1), np.int64(3), np.bool_(True)]), folder=tmp_path)
    again = Keeping(None)
    fitted(again, folder=tmp_path, resume=True)
    assert again.kept == [float(np.float32(0.1)), 3, True]
    with pytest.raises(TypeError, match=r"must be what JSON can hold, got \{1, 2\}; make it of numbers, text, lists"):
        fitted(Keeping({1, 2}), folder=tmp_path / "other")


@pytest.mark.parametrize(
    "callbacks, message", [(EMA, "got .*EMA'>; make one of the class"), (print, "is for on_epoch=")]
)
def test_a_class_or_a_function_is_no_callback(callbacks, message):
    for some in (callbacks, [callbacks]):
        with pytest.raises(TypeError, match=message):
            fit(nn.Dense(2, 3), blobs(), epochs=1, batch_size=10, rng=np.random.default_rng(0), callbacks=some)


def test_a_method_for_a_moment_that_there_is_not_is_named():
    class OfAnother(Callback):
        def on_epoch_begin(self, run):
            pass

    with pytest.raises(TypeError, match=r"OfAnother has a method on_epoch_begin, which is never called; .*on_step_end"):
        fitted(OfAnother())
    OfAnother.before_epoch = OfAnother.on_epoch_begin
    del OfAnother.on_epoch_begin
    fitted(OfAnother())
