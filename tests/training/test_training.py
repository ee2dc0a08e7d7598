"""The loop: it learns, it counts right, it stops where it must."""

import contextlib
import csv
import os
import re
import shutil
import signal
import warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models
import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.report import save_curves
from tensorgrad.training import (
    CheckpointError,
    DivergenceWarning,
    Epoch,
    Interrupted,
    TrainingError,
    evaluate,
    find_learning_rate,
    fit,
    load_checkpoint,
    loop,
    predict,
    save_history,
    training_step,
)
from tensorgrad.training import step as step_module
from tensorgrad.training.monitor import Monitor
from tensorgrad.training.session import Session
from tests.support import StopAt, blobs, examples


def network(seed=0):
    rng = np.random.default_rng(seed)
    return nn.Sequential(nn.Dense(2, 16, rng, weight_l2=1e-4), nn.ReLU(), nn.Dropout(0.1, rng), nn.Dense(16, 3, rng))


def train(seed=0, epochs=8, **settings):
    model = network(seed)
    optimiser = tg.optim.Adam(model.parameters(), lr=settings.pop("lr", 1e-2))
    rng = np.random.default_rng(seed)
    return model, fit(model, blobs(), blobs(60, 1), optimiser, epochs=epochs, batch_size=32, rng=rng, **settings)


def test_it_learns_and_reports_each_epoch():
    seen = []
    model, history = train(on_epoch=seen.append)
    assert seen == history and [row.epoch for row in history] == list(range(1, 9))
    assert history[-1].validation_accuracy > 0.9 and history[-1].loss < history[0].loss
    assert evaluate(model, blobs(60, 1)) == (history[-1].validation_loss, history[-1].validation_accuracy)


def test_the_same_seed_gives_the_same_weights():
    (one, _), (other, _), (third, _) = train(0), train(0), train(1)
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(array, other.state_dict()[name])
    assert not np.array_equal(one.state_dict()["0.weight"], third.state_dict()["0.weight"])


def test_evaluation_has_no_dropout_no_penalty_and_leaves_the_mode_alone():
    model, examples = network(), blobs(2500)
    model.train()
    loss, accuracy = evaluate(model, examples)
    assert model.training and all(layer.training for layer in model.layers)
    with tg.no_grad():
        logits = model.eval()(examples[0])
    assert loss == pytest.approx(tg.softmax_cross_entropy(logits, examples[1]).item(), rel=1e-6)
    assert accuracy == (logits.data.argmax(axis=1) == examples[1]).mean()
    np.testing.assert_allclose(predict(model, examples[0]), logits.data, rtol=1e-5)


def test_a_loss_that_is_no_longer_finite_stops_the_training():
    inputs, labels = blobs()
    inputs[7] = np.nan
    model = network()
    optimiser = tg.optim.SGD(model.parameters())
    with pytest.raises(
        TrainingError,
        match=r"the loss became nan in step \d+ \(epoch 1/1\): the inputs are not finite: training example 7 holds nan",
    ):
        fit(model, (inputs, labels), blobs(), optimiser, epochs=1, batch_size=32, rng=np.random.default_rng(0))


def test_no_progress_bar_where_nobody_watches(capfd):
    train(epochs=1)
    assert capfd.readouterr() == ("", "")


def rows(count=3):
    return [Epoch(i + 1, 1 / (i + 1), 0.5 + 0.1 * i, 1.1 / (i + 1), 0.4 + 0.1 * i, 1e-3, 2.0) for i in range(count)]


def test_history_as_csv(tmp_path):
    save_history(rows(), tmp_path / "history.csv")
    read = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert [float(row["loss"]) for row in read] == [row.loss for row in rows()]
    assert "epoch   1  loss 1.0000" in str(rows()[0])


@pytest.mark.parametrize("count", [1, 3, 60])
def test_curves_are_a_picture(tmp_path, count):
    from matplotlib.image import imread

    save_curves(rows(count), tmp_path / "curves.png", "title")
    picture = imread(tmp_path / "curves.png")
    assert picture.shape[:2] == (480, 1200) and picture.std() > 0.01
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_a_state_that_is_not_finite_is_not_saved_over_a_good_one(tmp_path):
    model = nn.Sequential(nn.Dense(2, 3, np.random.default_rng(0)), nn.BatchNorm1d(3))
    optimiser = tg.optim.Adam(model.parameters())
    session = Session(model, optimiser, np.random.default_rng(0), tmp_path)
    session.save()
    good = (tmp_path / "last.npz").read_bytes()
    for tensor in (model.layers[0].weight, model.layers[1].running_var, optimiser.state["second_moment"][0]):
        before = tensor.data.copy()
        tensor.data = np.full_like(before, np.inf)
        session.save()
        assert (tmp_path / "last.npz").read_bytes() == good
        tensor.data = before
    session.progress.step = 1
    session.save()
    assert (tmp_path / "last.npz").read_bytes() != good


@pytest.mark.parametrize(
    "change, message",
    [
        ({"epochs": "2"}, "epochs must be an integer of at least 1, got '2'"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"rng": "0"}, r"fit: rng must be a NumPy generator, .* an integer .* got '0'; or RandomStreams"),
        ({"rng": -1}, "fit: .*non-negative"),
        ({"validation": 3}, r"validation must be two arrays, \(inputs, labels\), got int"),
        ({"train": ([[1.0]], [0])}, r"train must be two arrays, \(inputs, labels\), got list and list"),
        ({"train": (blobs()[0], blobs()[1][:50])}, "train must have a label for each input.* 300 inputs and 50 labels"),
        ({"train": (blobs()[0][:0], blobs()[1][:0])}, "train must have a label for each input, one at least"),
        ({"max_norm": -1.0}, "fit: max_norm must be positive and finite, got -1.0"),
        ({"max_norm": float("nan")}, "fit: max_norm must be positive and finite, got nan"),
        ({"patience": 0}, "patience must be an integer of at least 1, got 0"),
        ({"resume": True}, "resume=True needs the folder="),
        ({"train": (blobs()[0], np.eye(10)[blobs()[1]])}, r"train must have integer labels, got float64 .*argmax"),
        ({"validation": (blobs()[0], blobs()[1] * 1.0)}, "validation must have integer labels, got float64"),
        ({"optimiser": tg.optim.Adam(network().parameters())}, "4 of the optimiser's 4 parameters are not the model's"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_trained(change, message):
    model = network()
    given = {"train": blobs(), "validation": blobs(60, 1), "optimiser": tg.optim.Adam(model.parameters())}
    given |= {"epochs": 1, "batch_size": 32, "rng": np.random.default_rng(0), **change}
    with pytest.raises((TypeError, ValueError), match=message):
        fit(model, given.pop("train"), given.pop("validation"), given.pop("optimiser"), **given)


@pytest.mark.slow
def test_a_model_and_examples_are_enough():
    model = network()
    history = fit(model, blobs())
    assert len(history) == 10 and history[-1].loss < history[0].loss and evaluate(model, blobs()).accuracy > 0.5
    assert fit(network(), blobs())[-1].loss != fit(network(), blobs())[-1].loss  # another order of the examples
    assert fit(network(), blobs(), rng=3)[-1].loss == fit(network(), blobs(), rng=3)[-1].loss


@pytest.mark.parametrize("name", tg.optim.OPTIMISERS)
def test_an_optimiser_by_name_as_class_and_as_one_that_is_made_is_the_same(name):
    kind = tg.optim.OPTIMISERS[name]
    models = [network() for _ in range(4)]
    for model, optimiser in zip(models, (name, kind, partial(kind), kind(models[3].parameters()))):
        fit(model, blobs(), optimiser=optimiser, epochs=2, rng=0)
    for model in models[1:]:
        same_weights(models[0], model)
    found = find_learning_rate(network(), blobs(), name, steps=5)
    assert found.rates.size == find_learning_rate(network(), blobs(), kind, steps=5).rates.size


def test_a_training_without_a_seed_is_resumed_as_it_would_have_gone_on(tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(loop, "Interruption", StopAt(4))
        fit(network(), blobs(), folder=tmp_path / "one", epochs=2)
    (tmp_path / "two").mkdir()
    shutil.copy(tmp_path / "one" / "last.npz", tmp_path / "two")
    models = [network(), network()]
    for name, model in zip(("one", "two"), models):
        fit(model, blobs(), folder=tmp_path / name, resume=True, epochs=2)
    same_weights(*models)


def test_the_folder_may_be_text(tmp_path):
    train(epochs=1, folder=str(tmp_path))
    assert (tmp_path / "last.npz").exists()


def test_the_folder_is_made(tmp_path):
    train(epochs=1, folder=tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder" / "last.npz").exists()
    with pytest.raises(CheckpointError, match=r"last\.npz: cannot be made"):
        train(epochs=1, folder=tmp_path / "new" / "folder" / "last.npz")


def test_layers_may_be_frozen_after_the_optimiser_was_made():
    model = network()
    optimiser = tg.optim.Adam(model.parameters())
    frozen = model.parameters()[0]
    frozen.requires_grad = False
    before = frozen.data.copy()
    fit(model, blobs(), blobs(60, 1), optimiser, epochs=1, batch_size=32, rng=np.random.default_rng(0), quiet=True)
    np.testing.assert_array_equal(frozen.data, before)


def test_generators_in_containers_are_resumed(tmp_path):
    class Noisy(nn.Module):
        def __init__(self):
            rng = np.random.default_rng(0)
            self.dense, self.rngs = nn.Dense(2, 4, rng), {"a": [np.random.default_rng(5)]}

        def forward(self, x):
            return self.dense(tg.dropout(x, 0.5, self.rngs["a"][0]) if self.training else x)

    def trained(epochs, **options):
        model, rng = Noisy(), np.random.default_rng(0)
        optimiser = tg.optim.Adam(model.parameters())
        fit(model, blobs(), blobs(60, 1), optimiser, epochs=epochs, batch_size=32, rng=rng, quiet=True, **options)
        return model.state_dict()

    trained(1, folder=tmp_path)
    resumed, straight = trained(3, folder=tmp_path, resume=True), trained(3)
    for name, value in straight.items():
        np.testing.assert_array_equal(resumed[name], value)


def fitted(model, train=None, validation=None, optimiser=None, **options):
    """Of :func:`fit` with few epochs, the history."""
    options = {"epochs": 2, "batch_size": 32, "rng": np.random.default_rng(0), "quiet": True, **options}
    optimiser = optimiser or tg.optim.Adam(model.parameters(), lr=1e-2)
    return fit(model, train or blobs(), validation or blobs(60, 1), optimiser, **options)


def same_weights(one, other):
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, array in one.state_dict().items():
        np.testing.assert_array_equal(array, other.state_dict()[name], err_msg=name)


# What is compiled


class Counting(nn.Module):
    """Changes with the number of its calls, as in annealing."""

    def __init__(self):
        self.inner, self.calls = network(), 0

    def forward(self, x):
        self.calls += 1
        return self.inner(x) * (1.0 + 1.0 / self.calls)


class AskingForTypes(nn.Module):
    """Scales plain arrays, which a compiled step has none of."""

    def __init__(self):
        self.inner = network()

    def forward(self, x):
        return self.inner(x / 4 if isinstance(x, np.ndarray) else x)


class CountingDense(nn.Dense):
    def __init__(self):
        super().__init__(2, 3, np.random.default_rng(0))
        self.calls = 0

    def penalty(self):
        self.calls += 1
        return tg.nn.l2_penalty(self.weight, 1.0 / self.calls)


def counting_function():
    calls = []

    def function(x):
        calls.append(None)
        return x * (1.0 + 1.0 / len(calls))

    return nn.Sequential(network(), function)


def overridden():
    model, calls = network(), []
    forward = model.forward

    def counting(x):
        calls.append(None)
        return forward(x) * (1.0 + 1.0 / len(calls))

    model.forward = counting
    return model


class CountingSGD(tg.optim.SGD):
    calls = 0

    def step(self):
        self.calls += 1
        for parameter in self.parameters:
            parameter.grad = parameter.grad / self.calls
        super().step()


@pytest.mark.parametrize(
    "make", [Counting, AskingForTypes, CountingDense, counting_function, overridden, lambda: nn.Sequential(Counting())]
)
def test_what_a_model_does_in_python_is_not_frozen(make):
    trained = []
    for options in ({}, {"compiled": False}):
        trained.append(make())
        fitted(trained[-1], **options)
    same_weights(*trained)


def test_what_an_optimiser_does_in_python_is_not_frozen():
    trained = []
    for options in ({}, {"compiled": False}):
        trained.append(network())
        fitted(trained[-1], optimiser=CountingSGD(trained[-1].parameters(), lr=0.1), **options)
    same_weights(*trained)


def compiles(monkeypatch, model, **options):
    """How the step is compiled: as a whole, following what Python does, or not at all."""
    found = []
    monkeypatch.setattr(step_module, "compile", lambda step: found.append("followed") or step)
    monkeypatch.setattr(step_module, "own", lambda step, state: found.append("whole") or step)
    inputs = np.zeros((4, model.parameters()[0].shape[0]), np.float32)
    fitted(model, (inputs, np.arange(4) % 2), (inputs, np.arange(4) % 2), epochs=1, **options)
    return found


@pytest.mark.slow
def test_networks_of_the_library_are_compiled_as_a_whole_and_others_followed(monkeypatch):
    for make in (models.mnist, models.simpsons):
        assert compiles(monkeypatch, make(np.random.default_rng(0))) == ["whole"]
        assert compiles(monkeypatch, make(np.random.default_rng(0)), compiled=False) == []
    assert compiles(monkeypatch, nn.Sequential(nn.Dense(2, 4), np.tanh, tg.relu, nn.Dense(4, 2))) == ["whole"]
    for function in (lambda x: x, tg.checkpoint(lambda x: x), partial(np.multiply, 2.0)):
        for options in ({}, {"compiled": True}):
            assert compiles(monkeypatch, nn.Sequential(nn.Dense(2, 2), function), **options) == ["followed"]


# Parameters that are left out


HIDDEN = tg.Tensor(np.ones((2, 4), np.float32), requires_grad=True)


class Hiding(nn.Module):
    """Computes with a tensor that is none of its own."""

    def __init__(self):
        self.dense = nn.Dense(4, 3, np.random.default_rng(2))

    def forward(self, x):
        return self.dense(np.tanh(x @ HIDDEN))


@pytest.mark.parametrize("compiled", [False, True])
def test_a_parameter_that_is_not_optimised_is_named(compiled):
    model = network()
    with pytest.warns(UserWarning, match=r"not among the optimiser's parameters.* 0\.weight; make") as caught:
        fitted(model, optimiser=tg.optim.SGD(model.parameters()[1:]), compiled=compiled)
    assert len(caught) == 1 and caught[0].filename == __file__
    model.layers[0].weight.requires_grad = False  # as the warning says
    fitted(model, optimiser=tg.optim.SGD(model.parameters()), compiled=compiled)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_tensor_that_the_model_does_not_hold_is_noticed(compiled):
    model = Hiding()
    with pytest.warns(UserWarning, match=r"not found by model\.parameters\(\).*\(2, 4\).*attributes of a Module"):
        fitted(model, compiled=compiled)
    model.hidden = HIDDEN  # as the warning says
    fitted(model, compiled=compiled)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_parameter_without_a_part_in_the_loss_is_named_once(compiled):
    model = network()
    model.unused = nn.Dense(2, 2)
    with pytest.warns(UserWarning, match=r"no gradient in a whole epoch.*: unused\.weight, unused\.bias;") as caught:
        fitted(model, epochs=3, compiled=compiled)
    assert len(caught) == 1
    del model.unused
    fitted(model, compiled=compiled)


@pytest.mark.parametrize("idle", ["frozen", "unused"])
def test_a_step_with_parameters_that_are_not_updated_is_not_recorded_again_and_again(idle):
    model = network()
    model.unused = nn.Dense(2, 2)
    optimiser = tg.optim.Adam(model.parameters())
    if idle == "frozen":
        for layer in (model.unused, model[0]):
            layer.weight.requires_grad = layer.bias.requires_grad = False
    step = tg.compile(training_step(model, optimiser))
    for _ in range(30):
        step(*blobs(32))
    assert step._made <= 2 and optimiser._compiled_step._made <= 2


def test_a_layer_that_is_used_now_and_then_is_no_matter():
    class Sometimes(nn.Module):
        def __init__(self):
            self.always, self.sometimes, self.calls = nn.Dense(2, 3), nn.Dense(2, 3), 0

        def forward(self, x):
            self.calls += 1
            return self.always(x) + self.sometimes(x) if self.calls % 3 == 0 else self.always(x)

    fitted(Sometimes())


def test_nothing_to_train_is_one_sentence():
    model = network()
    optimiser = tg.optim.SGD(model.parameters())
    for parameter in model.parameters():
        parameter.requires_grad = False
    with pytest.raises(ValueError, match=r"all parameters of the optimiser are frozen.*set requires_grad = True"):
        fitted(model, optimiser=optimiser)
    for parameter in optimiser.parameters:
        parameter.requires_grad = True
    fitted(model, optimiser=optimiser)
    model = nn.Sequential(nn.Dense(2, 3), lambda x: x.detach())
    with pytest.raises(ValueError, match="the loss depends on none of the optimiser's parameters"):
        fitted(model)


# The last batch


def normalised():
    rng = np.random.default_rng(0)
    return nn.Sequential(nn.Dense(2, 8, rng), nn.BatchNorm1d(8), nn.ReLU(), nn.Dense(8, 3, rng))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("count, size", [(101, 10), (101, 100), (3, 2)])
def test_batch_norm_leaves_out_a_last_batch_of_one(count, size, compiled):
    model = normalised()
    optimiser = tg.optim.Adam(model.parameters())
    history = fitted(model, blobs(count), optimiser=optimiser, epochs=3, batch_size=size, compiled=compiled)
    assert optimiser.steps == 3 * (count // size) and all(row.accuracy <= 1 for row in history)
    fresh = tg.optim.Adam(model.parameters())
    with pytest.raises(ValueError, match=f"{count} examples in batches of {size} leave a last batch of one"):
        fitted(model, blobs(count), optimiser=fresh, batch_size=size, drop_last=False)
    assert fresh.steps == 0


@settings(max_examples=examples(30), deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([None, False, True]))
def test_drop_last_leaves_out_what_makes_no_whole_batch(count, size, drop_last):
    model, seen = network(), []
    optimiser = tg.optim.SGD(model.parameters(), lr=0.0)
    options = {"batch_size": size, "drop_last": drop_last, "compiled": False, "epochs": 1}

    def augment(inputs, rng):
        seen.append(len(inputs))
        return inputs

    if drop_last and count < size:
        with pytest.raises(ValueError, match="drop_last=True leaves nothing to train on"):
            fitted(model, blobs(count), optimiser=optimiser, **options)
        return
    model.layers[2].rate = 0.0
    (row,) = fitted(model, blobs(count), optimiser=optimiser, augment=augment, **options)
    whole = [size] * (count // size)
    assert seen == (whole if drop_last else whole + [count % size] * (count % size > 0))
    if not drop_last:
        assert (row.loss, row.accuracy) == pytest.approx(evaluate(model, blobs(count)), rel=1e-5)


# Afterwards


def test_the_model_is_in_evaluation_mode_whatever_ended_the_training():
    def interrupt(row):
        os.kill(os.getpid(), signal.SIGTERM)

    def fail(row):
        raise KeyError

    for on_epoch, error in ((None, None), (interrupt, Interrupted), (fail, KeyError)):
        model = network()
        with contextlib.nullcontext() if error is None else pytest.raises(error):
            fitted(model, on_epoch=on_epoch)
        assert not any(module.training for module in model.modules())
        np.testing.assert_array_equal(model(blobs()[0]).numpy(), predict(model, blobs()[0]))


def test_checkpoints_of_an_earlier_training_are_kept(tmp_path):
    fitted(network(), folder=tmp_path)
    earlier = {name: (tmp_path / name).read_bytes() for name in ("best.npz", "last.npz")}
    for number in (1, 2):
        with pytest.warns(UserWarning, match=rf"which become best-{number}\.npz and last-{number}\.npz when this"):
            fitted(network(number), folder=tmp_path)
        for name, content in earlier.items():
            assert (tmp_path / name.replace(".", "-1.")).read_bytes() == content
    fitted(network(), folder=tmp_path, resume=True)
    names = [f"{name}{number}.npz" for name in ("best", "last") for number in ("-1", "-2", "")]
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    load_checkpoint(tmp_path / "best-2.npz")


def test_the_warning_of_earlier_checkpoints_comes_first_and_points_at_the_call(tmp_path):
    fitted(network(), folder=tmp_path)
    epochs = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(network(1), blobs(), blobs(), folder=tmp_path, quiet=True, on_epoch=lambda row: epochs.append(len(caught)))
    assert epochs == [1] * 10 and [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(network(), blobs(), blobs(), folder=tmp_path, quiet=True, resume=True)


def test_a_training_without_the_measure_that_is_watched_is_not_resumed_and_the_remedy_works(tmp_path):
    fit(network(), blobs(), folder=tmp_path, epochs=1, quiet=True)
    resumed = partial(fit, network(), blobs(), blobs(), folder=tmp_path, epochs=2, quiet=True, resume=True)
    with pytest.raises(CheckpointError, match=r"without validation_accuracy, which .* monitor='accuracy', or"):
        resumed()
    assert len(resumed(monitor="accuracy")) == 2


def test_checkpoints_stay_where_they_are_until_there_are_others(tmp_path):
    fitted(network(), folder=tmp_path)
    foreseen = pytest.warns(UserWarning, match=r"which become best-1\.npz and last-1\.npz when this one writes")
    with foreseen, pytest.raises(ValueError, match=r"labels in 0\.\.2"):
        fitted(network(), (blobs()[0], blobs()[1] + 1), folder=tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["best.npz", "last.npz"]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("lr", [1e-2, tg.optim.step_decay(1e-2, 15), tg.optim.inverse_time_decay(1e-2, 0.1)])
def test_a_finished_training_goes_on_as_if_it_had_been_longer(tmp_path, lr, compiled):
    def trained(epochs, **options):
        model = network()
        return model, fitted(
            model, optimiser=tg.optim.Adam(model.parameters(), lr=lr), epochs=epochs, compiled=compiled, **options
        )

    straight, history = trained(5)
    for epochs in (2, 3, 5):
        model, found = trained(epochs, folder=tmp_path, resume="auto")
    same_weights(model, straight)
    assert [vars(row) | {"seconds": 0} for row in found] == [vars(row) | {"seconds": 0} for row in history]


def test_the_rate_of_an_epoch_is_that_of_its_last_step():
    model, taken = network(), []
    optimiser = tg.optim.SGD(model.parameters(), lr=tg.optim.cosine_decay(0.1, 20))
    step = optimiser.step
    optimiser.step = lambda: (taken.append(optimiser.learning_rate), step())
    history = fitted(model, optimiser=optimiser)
    assert len(taken) == 20 and [row.learning_rate for row in history] == [taken[9], taken[19]]


# Divergence


@pytest.mark.parametrize("lr", [10, 1e3, 1e6])
def test_a_training_that_diverged_is_said(lr):
    model = network()
    with pytest.warns(DivergenceWarning, match=r"the training diverged: its loss is .*; lower the learning") as caught:
        history = fitted(model, optimiser=tg.optim.Adam(model.parameters(), lr=lr))
    assert caught[0].message.history == history and caught[0].filename == __file__


@pytest.mark.parametrize("count, epochs", [(20, 1), (20, 2), (20, 8), (20, 16), (40, 1), (40, 8)])
def test_divergence_shows_after_few_steps_and_where_few_examples_are_learnt_by_heart(count, epochs):
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Dense(2, 16, rng), nn.ReLU(), nn.Dense(16, 3, rng))
    adam = tg.optim.Adam(model.parameters(), lr=1e3)
    with pytest.warns(DivergenceWarning, match="the training diverged"):
        fitted(model, blobs(count), optimiser=adam, epochs=epochs, batch_size=20, rng=0)


def test_divergence_is_told_after_resuming_too(tmp_path):
    model = network()
    optimiser = tg.optim.Adam(model.parameters(), lr=1e-3)
    fitted(model, optimiser=optimiser, folder=tmp_path)
    optimiser.lr = 1e5
    with pytest.warns(DivergenceWarning):
        fitted(model, optimiser=optimiser, folder=tmp_path, resume=True, epochs=3)


def test_healthy_trainings_are_not_called_diverged():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((60, 20)).astype(np.float32), rng.integers(0, 3, 60)
    unseen = rng.standard_normal((60, 20)).astype(np.float32), rng.integers(0, 3, 60)
    wide = nn.Sequential(nn.Dense(20, 64, rng), nn.ReLU(), nn.Dense(64, 3, rng))
    history = fitted(wide, noise, unseen, epochs=60)
    assert history[-1].loss < 0.1 and history[-1].validation_loss > 2.5  # learnt by heart
    inputs, labels = blobs()
    fitted(network(), (inputs * 1000, labels), (inputs * 1000, labels))  # large losses at first
    fitted(nn.Dense(2, 3, rng), (inputs * 0, labels), epochs=1, batch_size=5)  # nothing to learn
    shifted = inputs, inputs[:, 0] + 1e3  # validation of numbers unlike those of the training
    fitted(nn.Dense(2, 1, rng), (inputs, inputs[:, 0]), shifted, loss="mse")
    rare = (np.arange(300) == 7).astype(int)
    fitted(nn.Dense(2, 2, rng), (inputs, rare), (inputs, rare), epochs=1)


# Which epoch is the best, and when it ends


MEASURES = ("validation_accuracy", "validation_loss", "accuracy", "loss")


def scan(history, measure, min_delta):
    """The best epoch and the epochs since an improvement, step by step."""
    sign = 1 if measure.endswith("accuracy") else -1
    best = reference = history[0]
    waited = 0
    for row in history[1:]:
        gain = sign * getattr(row, measure)
        if (gain, -row.validation_loss) > (sign * getattr(best, measure), -best.validation_loss):
            best = row
        if gain > sign * getattr(reference, measure) + min_delta:
            reference, waited = row, 0
        else:
            waited += 1
    return best, waited


MEASURED = st.tuples(*[st.sampled_from([0.1, 0.2, 0.25, 0.5, 0.9])] * 4)


@given(st.lists(MEASURED, min_size=1, max_size=12), st.sampled_from(MEASURES), st.sampled_from([0.0, 0.1, 0.3]))
def test_the_best_epoch_and_patience(rows, measure, min_delta):
    history = [Epoch(i + 1, *row, 1e-3, 1.0) for i, row in enumerate(rows)]
    monitor = Monitor(measure, min_delta)
    best, waited = scan(history, measure, min_delta)
    assert monitor.best(history) is best and monitor.stalled(history) == waited
    latest = 0  # looked at one epoch after the other, as patience does
    for length in range(1, len(history) + 1):
        latest = monitor.improved(history[:length], latest)
    assert monitor.stalled(history, latest) == waited


@pytest.mark.parametrize("measure", MEASURES)
def test_the_weights_are_those_of_the_best_epoch_by_what_is_watched(measure, tmp_path):
    model, kept = network(), []
    optimiser = tg.optim.Adam(model.parameters(), lr=0.5)
    examples = {"train": blobs(40), "validation": blobs(30, 1)}
    options = {"monitor": measure, "patience": 4, "epochs": 40, "on_epoch": lambda row: kept.append(model.state_dict())}
    history = fitted(model, optimiser=optimiser, folder=tmp_path, **examples, **options)
    best, waited = scan(history, measure, 0.0)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, kept[best.epoch - 1][name])
    assert waited == 4 or len(history) == 40
    assert load_checkpoint(tmp_path / "best.npz")[1]["best"]["epoch"] == best.epoch


def test_to_keep_the_best_weights_moves_no_array_of_a_compiled_step():
    model, places = network(), []

    class Places(tg.training.Callback):
        def on_epoch_end(self, run, row):
            places.append([parameter._array.ctypes.data for parameter in model.parameters()])

    fitted(model, epochs=5, callbacks=[Places()])
    assert places[1:] == places[:1] * 4


def test_a_least_improvement_ends_it_earlier():
    monitors = [Monitor("validation_loss", least) for least in (0.0, 0.1)]
    histories = [fitted(network(), epochs=40, monitor=monitor, patience=3) for monitor in monitors]
    assert len(histories[1]) < len(histories[0])


@pytest.mark.parametrize("answer, epochs", [(True, 2), (np.True_, 2), (False, 4), (None, 4), ("no", 4)])
def test_on_epoch_stops_the_training_by_returning_true(answer, epochs, tmp_path):
    def on_epoch(row):
        return answer if row.epoch == 2 else None

    model = network()
    assert len(fitted(model, epochs=4, on_epoch=on_epoch, folder=tmp_path)) == epochs
    straight = network()
    fitted(straight, epochs=4)
    resumed = network()
    assert len(fitted(resumed, epochs=4, folder=tmp_path, resume=True)) == 4
    same_weights(resumed, straight)


def test_one_validation_example_is_enough():
    inputs, labels = blobs()
    history = fitted(network(), validation=(inputs[:1], labels[:1]), epochs=12, patience=3)
    assert len(history) >= 4


# Data that do not fit


def test_the_callers_arrays_stay_as_they_are():
    def prepare(inputs):
        inputs -= inputs.mean()
        inputs *= 0.5
        return inputs

    def augment(inputs, rng):
        inputs += rng.standard_normal(inputs.shape).astype(np.float32)
        return inputs

    (inputs, labels), (others, other_labels) = blobs(), blobs(60, 1)
    before, before_others = inputs.copy(), others.copy()
    model = network()
    fitted(model, (inputs, labels), (others, other_labels), prepare=prepare, augment=augment)
    predict(model, inputs, prepare)
    evaluate(model, (others, other_labels), prepare)
    np.testing.assert_array_equal(inputs, before)
    np.testing.assert_array_equal(others, before_others)
    inputs[7] = np.nan
    with pytest.raises(TrainingError, match="training example"):
        fitted(network(), (inputs, labels), prepare=prepare)
    np.testing.assert_array_equal(inputs[:7], before[:7])


def followed(message, labels):
    """The labels, after doing what an error says."""
    found = re.search(r"labels\.\w+\([^;]*?\)(?=;|,|$)|labels\[\.\.\., 0\]", message)
    scope = {"np": np, "labels": labels}
    if "labels = labels.astype(str)" in message:
        exec("labels = labels.astype(str)", scope)
    if "classes, labels = np.unique(labels, return_inverse=True)" in message:
        exec("classes, labels = np.unique(labels, return_inverse=True)", scope)
        return scope["labels"]
    return eval(found.group(), scope)


CLASSES = np.arange(300) % 3
LABELS = {
    "bytes": CLASSES.astype(np.uint8),
    "unsigned": CLASSES.astype(np.uint64),
    "other byte order": CLASSES.astype(">i4"),
    "other byte order, unsigned": CLASSES.astype(">u2"),
    "read-only": np.broadcast_to(CLASSES, (1, 300))[0],
    "every other": np.repeat(CLASSES, 2)[::2],
    "text": np.array(list("abc"))[CLASSES],
    "bytes as text": np.array([b"a", b"b", b"c"])[CLASSES],
    "floats": CLASSES.astype(np.float32),
    "half precision": CLASSES.astype(np.float16),
    "floats of one column": CLASSES.astype(float)[:, None],
    "truth values": CLASSES > 1,
    "truth values of one column": CLASSES[:, None] > 1,
    "one column": CLASSES[:, None],
    "one-hot": np.eye(3)[CLASSES],
    "one-hot integers": np.eye(3, dtype=int)[CLASSES],
    "one-hot truth values": np.eye(3, dtype=bool)[CLASSES],
    "probabilities": np.eye(3)[CLASSES] * 0.8 + 0.2 / 3,
    "negative": CLASSES - 1,
    "from one on": CLASSES + 1,
    "with a gap": CLASSES * 10,
    "objects": CLASSES.astype(object),
    "objects, text": np.array(list("abc"), object)[CLASSES],
    "objects, mixed": np.array(["a", 1, None], object)[CLASSES],
    "dates": np.datetime64("2024-01-01") + CLASSES,
    "durations": CLASSES.astype("m8[s]"),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_are_right_or_refused_with_a_remedy_that_works(case):
    inputs, labels = blobs()[0], LABELS[case]
    for _ in range(4):
        model = network()
        optimiser = tg.optim.Adam(model.parameters(), lr=1e-2)
        try:
            history = fitted(model, (inputs, labels), (inputs, labels), optimiser)
            break
        except (TypeError, ValueError) as error:
            assert optimiser.steps == 0
            labels = followed(str(error), labels)
    assert len({(int(label), int(given)) for label, given in zip(labels, CLASSES)}) == 3  # class for class
    assert evaluate(model, (inputs, labels))[1] == Monitor().best(history).validation_accuracy


def test_numbers_to_be_predicted_and_missing_labels_are_told_from_classes():
    inputs = blobs()[0]
    for labels in (inputs[:, 0], inputs[:, 0] * 1j, np.where(np.arange(300) > 7, np.inf, 0.0)):
        with pytest.raises(TypeError, match="to predict numbers, take loss='mse'"):
            fitted(network(), (inputs, labels))
    labels = CLASSES.astype(float)
    labels[5] = np.nan
    with pytest.raises(TypeError, match=r"some are NaN: .*keep = ~np\.isnan\(labels\)"):
        fitted(network(), (inputs, labels))
    keep = ~np.isnan(labels)
    fitted(network(), (inputs[keep], labels[keep].astype(int)))


def test_more_classes_than_outputs_are_named_before_the_first_step():
    inputs, labels = blobs()
    labels[123] = 3
    for train, validation, name in (((inputs, labels), blobs(), "train"), (blobs(), (inputs, labels), "validation")):
        model = network()
        optimiser = tg.optim.Adam(model.parameters())
        with pytest.raises(
            ValueError, match=f"{name} must have labels in 0..2.*got 3 at position 123.*layer 4 outputs"
        ):
            fitted(model, train, validation, optimiser, batch_size=1)
        assert optimiser.steps == 0
    with pytest.raises(ValueError, match=r"examples must have labels in 0\.\.2.*got 3 at position 123"):
        evaluate(network(), (inputs, labels))
    fitted(nn.Dense(2, 4), (inputs, labels))  # as the error says


def test_a_label_for_each_element_of_a_sequence_counts_as_one():
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((60, 5, 2)).astype(np.float32)
    labels = (inputs[..., 0] > 0).astype(int)
    model = nn.Dense(2, 2, rng)
    optimiser = tg.optim.Adam(model.parameters(), lr=0.1)
    history = fitted(model, (inputs, labels), (inputs, labels), optimiser, epochs=20)
    best = Monitor().best(history)
    assert 0.8 < best.accuracy <= 1 and evaluate(model, (inputs, labels))[1] == best.validation_accuracy


def test_what_is_not_finite_is_named_with_example_and_position():
    inputs, labels = blobs()
    inputs[7, 1] = -np.inf
    with np.errstate(all="ignore"):
        with pytest.raises(TrainingError, match="training example 7 holds -inf at position 1; clean the data"):
            fitted(network(), (inputs, labels))
        with pytest.raises(
            TrainingError, match=r"validation loss became nan after step 10 .*validation example 7 holds"
        ):
            fitted(network(), validation=(inputs, labels))
        with pytest.raises(
            TrainingError, match=r"augment= or prepare= makes nan at position 0 of training example \d+"
        ):
            fitted(network(), prepare=lambda x: x * np.array([np.nan, 1], np.float32))
    many = blobs(2500)
    many[0][2100, 0] = np.nan
    with pytest.raises(TrainingError, match="validation example 2100 holds nan at position 0"):
        fitted(network(), validation=many)


@pytest.mark.parametrize("kind", [object, str, "S8"])
def test_inputs_that_are_no_numbers_are_refused_with_a_remedy(kind):
    inputs, labels = blobs()
    for call in (lambda x: fitted(network(), (x, labels)), lambda x: predict(network(), x)):
        with pytest.raises(TypeError, match=r"inputs must be numbers, got .*inputs\.astype\(np\.float32\)"):
            call(inputs.astype(kind))
        call(inputs.astype(kind).astype(np.float32))
    words = np.array(["a", "b"] * 150)
    with pytest.raises(TypeError, match=r"inputs must be numbers, got <U1.*turn text and other objects into numbers"):
        fitted(network(), (words, labels))
    numbered = {
        "augment": lambda x, rng: x,
        "prepare": lambda x: np.stack([x == "a", x == "b"], axis=1).astype(np.float32),
    }
    fitted(network(), (words, labels), (words, labels), **numbered)


@pytest.mark.parametrize("kind", [">f4", ">f8", np.float64, np.uint8, ">i2", bool])
def test_inputs_of_any_number_type_are_trained_on(kind):
    inputs = np.clip(blobs()[0].astype(int), 0, 5).astype(kind)
    one, other = network(), network()
    fitted(one, (inputs, CLASSES), (inputs, CLASSES))
    fitted(other, (inputs.astype(np.float32), CLASSES), (inputs.astype(np.float32), CLASSES))
    same_weights(one, other)


@pytest.mark.parametrize(
    "output",
    [lambda x: (x, x), lambda x: None, lambda x: x.sum(), lambda x: np.argmax(x, axis=1), lambda x: x.detach().numpy()],
)
def test_a_network_that_gives_no_logits_is_refused(output):
    with pytest.raises(
        (TypeError, ValueError),
        match=r"fit: (the network (must give|gives) logits|train must have a label for each row of logits)",
    ):
        fitted(nn.Sequential(network(), output))


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"validation": (blobs()[0], blobs()[1][:, None])},
            r"validation must have a label for each .*labels\[\.\.\., 0\]",
        ),
        ({"train": (np.ma.masked_array(blobs()[0]), CLASSES)}, r"must have plain inputs.*inputs\.filled\(0\)"),
        ({"train": (blobs()[0], np.ma.masked_array(CLASSES, CLASSES > 1))}, r"must have plain labels.*labels\.data"),
        ({"monitor": "val_loss"}, "monitor must be one of 'validation_accuracy', 'validation_loss'"),
        ({"accumulate": 0}, "accumulate must be an integer of at least 1, got 0"),
        ({"optimiser": "adaam"}, "fit: optimiser must be one of 'adam', 'adamw', .*'lion', got 'adaam'"),
        ({"optimiser": 0.1}, r"fit: optimiser must be a name such as 'adam', .* such as tensorgrad.optim.SGD.*got 0.1"),
        ({"optimiser": lambda parameters: 3}, "fit: optimiser must be a name .* a function of parameters .*, got 3"),
        ({"prepare": None}, "prepare must be a function, got NoneType"),
        ({"augment": 3}, "augment must be a function, got int"),
        ({"on_epoch": []}, "on_epoch must be a function, got list"),
        ({"prepare": lambda x: None}, "prepare= gives None; let it return the inputs"),
        ({"augment": lambda x, rng: None}, "augment= gives None; let it return the inputs"),
        ({"prepare": lambda x: x[:3]}, "prepare= gives 3 inputs for 32 examples"),
        ({"resume": "yes"}, "resume must be True, False or 'auto', got 'yes'"),
        ({"validation": (blobs()[0][:0], blobs()[1][:0])}, "validation must have a label for each input, one at least"),
        ({"train": (blobs()[0], np.zeros((300, 0), int))}, r"300 labels of shape \(300, 0\)"),
    ],
)
def test_other_arguments_that_do_not_fit(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fitted(network(), **change)


def test_a_network_without_parameters_is_one_sentence():
    class Fixed(nn.Module):
        def __init__(self, weight):
            self.weight = weight

        def forward(self, x):
            return x @ self.weight

    with pytest.raises(ValueError, match=r"fit: Fixed has no parameters to train; .* with requires_grad = True"):
        fit(Fixed(np.ones((2, 3))), blobs())
    fit(Fixed(tg.Tensor(np.ones((2, 3)), requires_grad=True)), blobs(), epochs=1)


def test_a_function_is_no_model():
    optimiser = tg.optim.Adam(network().parameters())
    with pytest.raises(TypeError, match="model must be a Module, got function; a function becomes one in Sequential"):
        fitted(lambda x: x, optimiser=optimiser)
