"""Losses of every kind: what they are given fits or is refused with a remedy that works, and the figures are right."""

import contextlib
import re
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.report import save_curves
from tensorgrad.training import Interrupted, Monitor, TrainingError, evaluate, fit, loop, predict, save_history, step
from tensorgrad.training.objective import LOSSES, objective
from tests.support import CLASSES, HEIGHTS, INPUTS, ROWS, SEVERAL, StopAt, alike, network, same

TASKS = {  # outputs, targets, a measure and what it reaches
    "mse": (1, HEIGHTS, "mae", lambda x: x < 0.2),
    "mae": (1, HEIGHTS[:, None], "r2", lambda x: x > 0.9),
    "huber": (2, np.stack([HEIGHTS, -HEIGHTS], axis=1), "r2", lambda x: x > 0.9),
    "softmax_cross_entropy": (3, CLASSES, "accuracy", lambda x: x > 0.8),
    "kl_divergence": (3, ROWS, "accuracy", lambda x: x > 0.8),
    "binary_cross_entropy_with_logits": (2, SEVERAL, "accuracy", lambda x: x > 0.8),
    "hinge": (1, SEVERAL[:, 0], "accuracy", lambda x: x > 0.8),
}


def fitted(outputs, targets, validation=True, *after, **options):
    model = network(outputs, *after)
    examples = INPUTS, targets
    options = {"epochs": 30, "batch_size": 20, "rng": np.random.default_rng(1), "quiet": True, **options}
    adam = tg.optim.Adam(model.parameters(), lr=0.02)
    return model, fit(model, examples, examples if validation else None, adam, **options)


@pytest.mark.parametrize("loss", TASKS)
def test_losses_by_name_learn_and_their_figures_are_those_of_evaluate(loss):
    outputs, targets, measure, is_reached = TASKS[loss]
    model, history = fitted(outputs, targets, loss=loss, metrics=[measure], monitor=f"validation_{measure}")
    sign = -1 if measure == "mae" else 1
    best = max(history, key=lambda row: (sign * row.measures[f"validation_{measure}"], -row.validation_loss))
    found = evaluate(model, (INPUTS, targets), loss=loss, metrics=[measure])
    assert is_reached(getattr(found, measure)) and is_reached(history[-1].measures[measure])
    assert found == (best.validation_loss, best.measures[f"validation_{measure}"])
    assert predict(model, INPUTS).shape == (90, outputs)


@pytest.mark.parametrize("loss", TASKS)
def test_a_loss_is_the_same_by_name_as_function_with_settings_and_not_compiled(loss):
    outputs, targets, *_ = TASKS[loss]
    function = getattr(nn, loss)
    named = fitted(outputs, targets, loss=loss, epochs=3)
    for options in ({"loss": function}, {"loss": partial(function)}):
        same(fitted(outputs, targets, epochs=3, **options), named)
    alike(fitted(outputs, targets, epochs=3, loss=loss, compiled=False), named)


def test_probabilities_are_trained_on_with_their_own_loss():
    for targets in (CLASSES, ROWS):
        model, _ = fitted(3, targets, True, nn.Softmax(), loss="categorical_cross_entropy")
        assert evaluate(model, (INPUTS, targets), loss="categorical_cross_entropy").accuracy > 0.8


@pytest.mark.parametrize("compiled", [None, False, True])
def test_a_loss_of_ones_own_runs_as_python(compiled):
    calls = []

    def annealed(outputs, targets):
        calls.append(None)
        return np.square(outputs[:, 0] - targets).mean() * (1 + 1 / len(calls))

    one = fitted(1, HEIGHTS, loss=annealed, epochs=2, compiled=compiled, validation=False)
    assert len(calls) == 10
    calls.clear()
    same(fitted(1, HEIGHTS, loss=annealed, epochs=2, compiled=False, validation=False), one)


def test_own_losses_are_followed_and_the_librarys_replayed(monkeypatch):
    found = []
    monkeypatch.setattr(step, "compile", lambda step: found.append("followed") or step)
    monkeypatch.setattr(step, "own", lambda step, state: found.append("whole") or step)

    def own(outputs, targets):
        return nn.mse(outputs[:, 0], targets)

    for loss in ("mse", nn.mse, partial(nn.huber, delta=2.0), own, partial(own)):
        fitted(1, HEIGHTS, loss=loss, epochs=1)
    assert found == ["whole", "whole", "whole", "followed", "followed"]


def test_a_loss_of_ones_own_on_the_same_numbers_is_the_librarys():
    def own(outputs, targets):
        return nn.mse(outputs, targets)

    one, other = (fitted(1, HEIGHTS[:, None], loss=loss, epochs=3) for loss in (own, "mse"))
    alike(one, other)


# Without validation


def test_validation_may_be_left_out(tmp_path):
    _, history = fitted(3, CLASSES, validation=False, patience=3, epochs=60)
    assert all(row.validation_loss is row.validation_accuracy is None for row in history)
    assert "validation" not in str(history[-1]) and f"accuracy {history[-1].accuracy:.4f}" in str(history[-1])
    save_history(history, tmp_path / "history.csv")
    header, first, *_ = (tmp_path / "history.csv").read_text().splitlines()
    assert header == "epoch,loss,accuracy,validation_loss,validation_accuracy,learning_rate,seconds"
    assert first.split(",")[3:5] == ["", ""]
    with pytest.raises(ValueError, match=r"monitor must be one of 'accuracy', 'loss', got 'validation_loss'; .*valid"):
        fitted(3, CLASSES, validation=False, monitor="validation_loss")


@pytest.mark.parametrize("validation", [True, False])
def test_the_weights_are_those_of_the_best_loss_where_nothing_else_is_watched(validation):
    kept = []
    model = network(1)
    adam = tg.optim.Adam(model.parameters(), lr=0.3)
    examples = INPUTS, HEIGHTS
    history = fit(
        model,
        examples,
        examples if validation else None,
        adam,
        loss="mse",
        epochs=25,
        batch_size=20,
        rng=np.random.default_rng(0),
        on_epoch=lambda row: kept.append(model.state_dict()),
    )
    losses = [row.validation_loss if validation else row.loss for row in history]
    for name, array in kept[int(np.argmin(losses))].items():
        np.testing.assert_array_equal(model.state_dict()[name], array)


def test_adam_is_what_is_taken_where_no_optimiser_is_given():
    one, other = network(1), network(1)
    options = {"loss": "mse", "epochs": 2, "batch_size": 20}
    fit(one, (INPUTS, HEIGHTS), rng=np.random.default_rng(0), **options)
    adam = tg.optim.Adam(other.parameters())
    fit(other, (INPUTS, HEIGHTS), None, adam, rng=np.random.default_rng(0), **options)
    np.testing.assert_array_equal(predict(one, INPUTS), predict(other, INPUTS))


@pytest.mark.parametrize("metrics, validation, width", [([], False, 500), (["r2"], True, 1000), (None, True, 500)])
def test_curves_show_what_there_is(tmp_path, metrics, validation, width):
    from matplotlib.image import imread

    _, history = fitted(1, HEIGHTS, validation, loss="mse", metrics=metrics, epochs=5)
    save_curves(history, tmp_path / "curves.png", "heights")
    assert imread(tmp_path / "curves.png").shape[1] == width * 1.2


# Metrics


def largest_error(outputs, targets):
    return np.abs(outputs - targets).max()


def test_metrics_are_names_or_functions_and_stand_in_the_history(tmp_path):
    metrics = {"error": "mae", "worst": largest_error}
    model, history = fitted(1, HEIGHTS, loss="mse", metrics=metrics, monitor=Monitor("validation_worst", mode="min"))
    best = min(history, key=lambda row: row.metrics["validation_worst"])
    found = evaluate(model, (INPUTS, HEIGHTS), loss="mse", metrics=metrics)
    assert found == (best.validation_loss, best.metrics["validation_error"], best.metrics["validation_worst"])
    outputs = predict(model, INPUTS)[:, 0]
    assert found.worst == pytest.approx(np.abs(outputs - HEIGHTS).max(), rel=1e-6)
    assert found.error == pytest.approx(np.abs(outputs - HEIGHTS).mean(), rel=1e-6)
    assert found.loss == pytest.approx(np.square(outputs - HEIGHTS).mean(), rel=1e-5)
    save_history(history, tmp_path / "history.csv")
    assert "worst" in (tmp_path / "history.csv").read_text().splitlines()[0] and "validation loss" in str(history[0])


def test_figures_of_the_training_are_means_over_the_examples():
    model = network(1)
    sgd = tg.optim.SGD(model.parameters(), lr=0.0)
    options = {"batch_size": 32, "rng": np.random.default_rng(0), "loss": "mse", "metrics": ["mae"]}
    (row,) = fit(model, (INPUTS, HEIGHTS), None, sgd, epochs=1, **options)
    expected = evaluate(model, (INPUTS, HEIGHTS), loss="mse", metrics=["mae"])
    assert (row.loss, row.metrics["mae"]) == pytest.approx(expected, rel=1e-5)


def test_r2_is_that_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    targets = np.stack([HEIGHTS, np.full(90, 2.0)], axis=1)
    for outputs in (targets + np.random.default_rng(0).standard_normal(targets.shape), targets * 1.0):
        found = evaluate(nn.Sequential(lambda x: x), (outputs, targets), loss="mse", metrics=["r2"])
        assert found.r2 == pytest.approx(sklearn.r2_score(targets, outputs))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"metrics": ["f1"]}, r"metrics must be of 'accuracy', 'mae', 'mse', 'r2', or functions.*got 'f1'"),
        ({"metrics": 3}, "metrics must be names or functions"),
        ({"metrics": [lambda y, t: 0.0]}, r"names that are their own, got '<lambda>'; name them in a dict, metrics="),
        ({"metrics": {"loss": "mae"}}, "names that are their own, got 'loss'"),
        ({"metrics": [lambda y, t: "much"]}, "metrics need names"),
        ({"metrics": {"a": lambda y, t: "much"}}, "metrics: a must give real numbers"),
        (
            {"metrics": {"a": lambda y, t: y[:, 0] - t}},
            r"a gives shape \(20, 20\) of outputs .*\(20, 1\) and targets .*\(20, 1\); .*reshape\(targets\.shape\)",
        ),
        ({"metrics": {"worst": largest_error}, "monitor": "worst"}, r"monitor=Monitor\('worst', mode='max'\)"),
        ({"monitor": "accuracy"}, "monitor must be one of 'validation_loss', 'loss', got 'accuracy'"),
        (lambda: {"monitor": Monitor("loss", mode="least")}, "mode must be 'min' or 'max'"),
        ({"loss": "MSE"}, "loss must be one of 'softmax_cross_entropy', .*'mse', .*got 'MSE'"),
        ({"loss": None}, "loss must be a name or a function"),
        ({"loss": lambda y, t: 0.0}, "loss must be a Tensor, computed from the outputs, got float"),
        ({"loss": lambda y, t: np.square(y[:, 0] - t)}, r"loss must be one number, got shape \(20,\); .*losses.mean"),
    ],
)
def test_losses_and_metrics_that_do_not_fit_are_refused(options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fitted(1, HEIGHTS, **{"loss": "mse", "epochs": 1, **(options() if callable(options) else options)})


def test_an_accuracy_of_numbers_is_none_that_anybody_means():
    with pytest.raises(ValueError, match=r"'accuracy' is for losses of classes; .*'r2'"):
        fitted(1, HEIGHTS, loss="mse", metrics=["accuracy"])
    fitted(1, HEIGHTS, loss="mse", metrics=["r2"])


# Labels of every kind

TWO = (INPUTS[:, 0] > 0).astype(int)
LABELS = {
    "binary_cross_entropy_with_logits": [
        TWO,
        TWO.astype(bool),
        TWO.astype(np.float16),
        TWO[:, None],
        TWO.astype(">i4"),
        TWO * 2 - 1,
        TWO + 1,
        np.array(["no", "yes"])[TWO],
        np.array(["no", "yes"], object)[TWO],
        TWO.astype(object),
        TWO.astype(str),
        TWO * 1j + TWO,
        TWO[:, None, None],
    ],
    "hinge": [TWO * 2 - 1, TWO.astype(bool), TWO, TWO.astype(float), np.array(["no", "yes"])[TWO]],
    "mse": [HEIGHTS, HEIGHTS.astype(str), HEIGHTS.astype(object), HEIGHTS[:, None, None], CLASSES, HEIGHTS + 0j],
    "kl_divergence": [ROWS, ROWS * 3, CLASSES],
}


def followed(message, labels):
    """The labels, after doing what an error says."""
    scope = {"np": np, "labels": labels}
    if (found := re.search(r"classes, labels = np\.unique\(labels, return_inverse=True\)", message)) is not None:
        exec(found.group(), scope)
        return scope["labels"]
    found = re.search(r"(?:take|convert them,) (.*?labels.*?)(?: if that.*)?$", message)
    return eval(found.group(1), scope)


@pytest.mark.parametrize("loss, labels", [(loss, labels) for loss in LABELS for labels in LABELS[loss]])
def test_labels_are_mapped_or_refused_with_a_remedy_that_works(loss, labels):
    outputs = 3 if loss == "kl_divergence" else 1
    for _ in range(3):
        model = network(outputs)
        adam = tg.optim.Adam(model.parameters(), lr=0.02)
        try:
            options = {"loss": loss, "epochs": 30, "batch_size": 20, "rng": np.random.default_rng(0)}
            history = fit(model, (INPUTS, labels), None, adam, **options)
            break
        except (TypeError, ValueError) as error:
            assert adam.steps == 0
            labels = followed(str(error), labels)
    assert history[-1].accuracy is None or history[-1].accuracy > 0.8
    assert history[-1].loss < 0.7 * history[0].loss


def test_missing_labels_are_left_out_as_the_error_says():
    several = SEVERAL.astype(float)
    several[4, 1] = np.nan
    holed = np.where(np.arange(90) == 7, np.nan, HEIGHTS)
    infinite = np.where(np.arange(90) == 7, np.inf, HEIGHTS)
    cases = [("mse", 1, holed), ("mse", 1, infinite), ("binary_cross_entropy_with_logits", 2, several)]
    for loss, outputs, labels in cases:
        with pytest.raises(ValueError, match=r"leave those examples out, (keep = .*)") as caught:
            fitted(outputs, labels, loss=loss)
        scope = {"np": np, "labels": labels}
        exec(str(caught.value).split("out, ")[1], scope)
        assert scope["keep"].sum() == 89
        inputs, labels = INPUTS[scope["keep"]], labels[scope["keep"]]
        fit(network(outputs), (inputs, labels), loss=loss, epochs=1, batch_size=20, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    "loss, outputs, labels, remedy, right",
    [
        ("mse", 3, HEIGHTS, "give its last layer 1 output", 1),
        ("mse", 3, HEIGHTS[:, None], "give its last layer 1 output", 1),
        ("binary_cross_entropy_with_logits", 1, SEVERAL, "give its last layer 2 outputs", 2),
        ("kl_divergence", 2, ROWS, "give its last layer 3 outputs", 3),
    ],
)
def test_outputs_that_do_not_fit_are_refused_with_their_number(loss, outputs, labels, remedy, right):
    with pytest.raises(ValueError, match=rf"a label for each output of the network.*; {remedy}"):
        fitted(outputs, labels, loss=loss)
    with pytest.raises(ValueError, match=rf"evaluate: examples must have .*; {remedy}"):
        evaluate(network(outputs), (INPUTS, labels), loss=loss)
    fitted(right, labels, loss=loss, epochs=1)


def test_more_than_two_classes_are_not_binary():
    with pytest.raises(ValueError, match=r"of more classes than two take loss='softmax_cross_entropy'"):
        fitted(1, CLASSES, loss="binary_cross_entropy_with_logits")


def test_what_is_not_finite_is_found_with_every_loss():
    spoilt = INPUTS.copy()
    spoilt[5, 1] = np.nan
    model = network(1)
    options = {"loss": "mse", "epochs": 1, "batch_size": 20, "rng": np.random.default_rng(0)}
    with pytest.raises(TrainingError, match="training example 5 holds nan at position 1"):
        fit(model, (spoilt, HEIGHTS), **options)
    with pytest.raises(TrainingError, match="validation example 5 holds nan at position 1"):
        fit(model, (INPUTS, HEIGHTS), (spoilt, HEIGHTS), **options)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_of_guessing_is_that_of_the_best_constant(loss):
    made = objective("fit", loss)
    outputs, targets = {**TASKS, "categorical_cross_entropy": (3, ROWS)}[loss][:2]
    targets = made.takes("fit", "train", targets)
    if loss == "categorical_cross_entropy":
        constant = np.broadcast_to(ROWS.mean(axis=0), ROWS.shape)
        assert made.guess(targets) == pytest.approx(float(made(constant, targets)), rel=1e-6)
        return
    rng, found = np.random.default_rng(0), []
    for _ in range(30):
        constant = np.broadcast_to(rng.standard_normal(outputs) * 2, (90, outputs)).copy()
        found.append(float(made(constant, targets)))
    assert made.guess(targets) <= min(found) * (1 + 1e-6) or loss in ("mae", "huber", "kl_divergence", "hinge")
    assert made.guess(targets) > 0


# Resuming


def own_loss(made, outputs, targets):
    return made(outputs, targets) * 1.0


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(
    st.sampled_from(sorted(TASKS)), st.lists(st.integers(1, 16), min_size=1, max_size=2), st.booleans(), st.booleans()
)
def test_resumed_equals_never_interrupted_with_every_loss(tmp_path_factory, loss, stops, validation, is_own):
    outputs, targets, measure, _ = TASKS[loss]
    if is_own:  # followed, so that the first step after resuming is not compiled
        made = objective("fit", loss)
        loss, targets = partial(own_loss, made), made.takes("fit", "train", targets)
    options = {"loss": loss, "metrics": [measure], "epochs": 4, "validation": validation}
    straight = fitted(outputs, targets, **options)
    folder = tmp_path_factory.mktemp("run")
    for stop in stops:
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Interrupted):
            patch.setattr(loop, "Interruption", StopAt(stop))
            fitted(outputs, targets, folder=folder, resume="auto", **options)
    same(fitted(outputs, targets, folder=folder, resume="auto", **options), straight)


# What a first training with data of one's own meets


def test_frames_and_series_are_taken_as_arrays():
    pandas = pytest.importorskip("pandas")
    frame, series = pandas.DataFrame(INPUTS), pandas.Series(HEIGHTS)
    options = {"loss": "mse", "epochs": 2, "validation": False}
    one = fitted(1, HEIGHTS, **options)
    model = network(1)
    adam = tg.optim.Adam(model.parameters(), lr=0.02)
    settings = {"epochs": 2, "batch_size": 20, "rng": np.random.default_rng(1), "quiet": True}
    weights = pandas.Series(np.ones(90))
    history = fit(model, (frame, series, weights), None, adam, loss="mse", **settings)
    alike((model, history), one)
    assert evaluate(model, (frame, series), loss="mse") == evaluate(model, (INPUTS, HEIGHTS), loss="mse")
    np.testing.assert_array_equal(predict(model, frame), predict(model, INPUTS))


@pytest.mark.parametrize("compiled", [None, False])
def test_a_loss_that_compares_all_with_all_is_warned_of(compiled):
    def wrong(outputs, targets):
        return np.square(outputs - targets).mean()

    def right(outputs, targets):
        pairs = outputs[:, 0] - outputs  # each with each other, which is meant
        return np.square(outputs[:, 0] - targets).mean() + 1e-3 * np.square(pairs).mean()

    fitted(1, HEIGHTS, loss=right, epochs=1, compiled=compiled)
    with pytest.warns(UserWarning, match=r"each output with each target.* \(20, 1\) .*\(20,\); take outputs\[:, 0\]"):
        fitted(1, HEIGHTS, loss=wrong, epochs=1, compiled=compiled)


@pytest.mark.parametrize(
    "loss, layer, outputs, targets",
    [
        ("softmax_cross_entropy", nn.Softmax(), 3, CLASSES),
        (partial(tg.softmax_cross_entropy, label_smoothing=0.1), nn.Softmax(), 3, CLASSES),
        ("binary_cross_entropy_with_logits", nn.Sigmoid(), 2, SEVERAL),
    ],
)
def test_probabilities_for_a_loss_of_logits_are_warned_of(loss, layer, outputs, targets):
    model = network(outputs, layer)
    options = {"epochs": 1, "batch_size": 20, "rng": np.random.default_rng(1), "quiet": True}
    with pytest.warns(UserWarning, match=f"ends with {type(layer).__name__}.*takes logits.*; leave that layer out"):
        fit(model, (INPUTS, targets), loss=loss, **options)
    fit(network(outputs), (INPUTS, targets), loss=loss, **options)


@pytest.mark.parametrize(
    "weight, message",
    [
        ([1.0, 2.0], "weight must be 3 numbers, one for each class, not negative, got float64 of shape"),
        ({0: 1.0, 1: 2.0, 2: 1.0}, r"one for each class in their order, got {0: .*take \[weight\[label\] for label in"),
        ([[1.0, 2.0, 1.0]], "weight must be 3 numbers"),
    ],
)
def test_weights_of_classes_that_do_not_fit_are_refused(weight, message):
    with pytest.raises((TypeError, ValueError), match=message):
        fitted(3, CLASSES, loss=partial(tg.softmax_cross_entropy, weight=weight), epochs=1)


@pytest.mark.parametrize("metric", ["mae", "mse", "r2"])
def test_metrics_of_numbers_are_refused_for_classes(metric):
    with pytest.raises(ValueError, match=f"'{metric}' is for losses of numbers; of classes, measure 'accuracy'"):
        fitted(3, CLASSES, metrics=[metric], epochs=1)


def test_whole_floats_over_a_long_range_are_rather_numbers():
    with pytest.raises(TypeError, match=r"to predict numbers, take loss='mse'; or convert them, labels\.astype\(int\)"):
        fitted(3, np.round(HEIGHTS * 50), epochs=1)
    with pytest.raises(TypeError, match=r"float64 of shape \(90,\); convert them, labels\.astype\(int\)"):
        fitted(3, CLASSES * 1.0, epochs=1)


def test_examples_that_are_no_pair_say_so():
    with pytest.raises(TypeError, match=r"two arrays, \(inputs, labels\), got ndarray; pass them as a pair"):
        fit(network(3), INPUTS, CLASSES, epochs=1, batch_size=20, rng=np.random.default_rng(0))


@pytest.mark.parametrize("metric", ["mae", "mse", "r2"])
def test_metrics_by_name_are_the_same_with_a_loss_of_ones_own(metric):
    def own(outputs, targets):
        return np.square(outputs[:, 0] - targets).mean()

    model = network(1)
    expected = evaluate(model, (INPUTS, HEIGHTS), loss="mse", metrics={"found": metric}).found
    assert evaluate(model, (INPUTS, HEIGHTS), loss=own, metrics={"found": metric}).found == expected


def test_the_accuracy_of_one_output_is_the_same_with_a_loss_of_ones_own():
    def own(outputs, targets):
        return nn.binary_cross_entropy_with_logits(outputs[:, 0], targets)

    model, examples = network(1), (INPUTS, SEVERAL[:, 0])
    expected = evaluate(model, examples, loss="binary_cross_entropy_with_logits").accuracy
    assert evaluate(model, examples, loss=own, metrics=["accuracy"]).accuracy == expected
