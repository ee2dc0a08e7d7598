"""The search for a learning rate: what it finds, what it leaves alone, its picture."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.report import save_rates
from tensorgrad.training import RateSearch, find_learning_rate, fit, training_step
from tests.support import blobs


def network(seed=0):
    rng = np.random.default_rng(seed)
    dropout = nn.Dropout(0.2, np.random.default_rng(5))
    return nn.Sequential(
        nn.Dense(2, 16, rng, weight_l2=1e-3), nn.BatchNorm1d(16), nn.ReLU(), dropout, nn.Dense(16, 3, rng)
    )


def everything(model, optimiser):
    generators = {name: rng.bit_generator.state for name, rng in model.named_generators()}
    return {**model.state_dict(), **optimiser.state_dict(), **generators}


@pytest.mark.parametrize("lr", [1e-2, optim.warm_up(optim.Plateau(1e-2), 3)])
def test_the_model_its_generators_and_the_optimiser_stay_as_they_are(lr):
    model = network()
    optimiser = optim.Adam([{"params": model.parameters()[:2]}, {"params": model.parameters()[2:], "lr": 0.5}], lr=lr)
    training_step(model, optimiser)(*blobs(33))
    model.eval()
    before, gradients = everything(model, optimiser), [p.grad.copy() for p in model.parameters()]
    found = find_learning_rate(model, blobs(), optimiser)
    after = everything(model, optimiser)
    assert before.keys() == after.keys() and not model.training
    for name in before:
        np.testing.assert_equal(before[name], after[name])
    for gradient, parameter in zip(gradients, model.parameters()):
        np.testing.assert_array_equal(gradient, parameter.grad)
    assert optimiser.param_groups[0]["lr"] is lr
    again = find_learning_rate(model, blobs(), optimiser)
    np.testing.assert_array_equal(found.losses, again.losses)


@pytest.mark.parametrize(
    "kind", [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad, optim.Adamax, optim.Lion]
)
def test_training_with_the_rate_that_is_suggested_learns(kind):
    x, y = blobs()
    found = find_learning_rate(model := network(), (x, y), kind(model.parameters()))
    assert found.rates[0] < found.suggestion < found.rates[-1]
    rng = np.random.default_rng(0)
    optimiser = kind(model.parameters(), lr=found.suggestion)
    history = fit(model, (x, y), (x, y), optimiser, epochs=10, batch_size=32, rng=rng, quiet=True)
    assert history[-1].validation_accuracy > 0.85


def test_a_search_is_as_a_training_by_hand_and_keeps_the_ratios_of_groups():
    x, y = blobs(64)
    one, two = (nn.Dense(2, 3, np.random.default_rng(0)) for _ in range(2))
    groups = [{"params": [one.weight], "lr": 0.2}, {"params": [one.bias], "lr": lambda step: 0.1}]
    found = find_learning_rate(
        one, (x, y), optim.SGD(groups), lowest=1e-3, highest=1e-1, steps=3, batch_size=64, rng=np.random.default_rng(1)
    )
    np.testing.assert_allclose(found.rates, [1e-3, 1e-2, 1e-1])
    by_hand = optim.SGD([{"params": [two.weight]}, {"params": [two.bias]}])
    losses = []
    for rate in (1e-3, 1e-2, 1e-1):
        by_hand.param_groups[0]["lr"], by_hand.param_groups[1]["lr"] = rate, rate / 2
        training_step(two, by_hand)(x, y)
        losses.append(tg.softmax_cross_entropy(two(x), y).item())
    np.testing.assert_allclose(found.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(found.smoothed[1], (0.9 * losses[0] + losses[1]) / 1.9, rtol=1e-6)


def test_other_losses_also_negative_ones():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 3))
    y = x @ np.array([[1.0], [2.0], [-1.0]])
    model = nn.Dense(3, 1, rng, dtype=np.float64)
    found = find_learning_rate(model, (x, y), optim.SGD(model.parameters()), loss=nn.mse)
    assert 1e-3 < found.suggestion < 1 and found.smoothed.min() < 0.5 * found.smoothed[0]
    negative = find_learning_rate(model, (x, y), optim.SGD(model.parameters()), loss=lambda a, b: nn.mse(a, b) - 3.0)
    assert len(negative.rates) > 30


def test_the_search_ends_where_the_loss_diverges_with_finite_losses():
    model = nn.Dense(2, 3, np.random.default_rng(0))
    x, y = blobs()
    for highest in (1e3, 1e30):
        found = find_learning_rate(model, (x * 100, y), optim.SGD(model.parameters()), highest=highest)
        assert 3 <= len(found.rates) < 100 and len(found.rates) == len(found.losses) == len(found.smoothed)
        assert np.isfinite(found.losses).all() and np.isfinite(found.smoothed).all()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"lowest": 0.0}, "needs 0 < lowest < highest, got lowest=0.0"),
        ({"lowest": 1.0, "highest": 0.1}, "needs 0 < lowest < highest"),
        ({"steps": 1}, "steps must be an integer of at least 2, got 1"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1"),
        ({"loss": lambda a, b: nn.mse(a, a) + np.nan}, "the loss is nan before the first step; check inputs"),
    ],
)
def test_what_cannot_be_searched_is_refused(settings, message):
    model = nn.Dense(2, 3, np.random.default_rng(0))
    with pytest.raises(ValueError, match=message):
        find_learning_rate(model, blobs(), optim.SGD(model.parameters()), **settings)


@pytest.mark.parametrize("train", [blobs()[0], (blobs()[0],), (np.zeros((0, 2)), np.zeros(0, int))])
def test_what_is_no_pair_of_arrays_is_refused(train):
    model = nn.Dense(2, 3, np.random.default_rng(0))
    with pytest.raises((TypeError, ValueError), match=r"train must (be two arrays|have a label for each input, one)"):
        find_learning_rate(model, train, optim.SGD(model.parameters()))


def test_fewer_examples_than_a_batch_are_one_batch():
    model = network()
    found = find_learning_rate(model, blobs(6), optim.SGD(model.parameters()), steps=5)
    assert len(found.rates) == 5


def test_a_suggestion_where_nothing_is_learnt_is_the_lowest_rate():
    rates = np.geomspace(1e-6, 1.0, 100)
    for losses in (np.linspace(1, 2, 100), np.ones(100)):
        assert RateSearch(rates, losses, losses).suggestion == 1e-6
    assert RateSearch(rates[:2], losses[:2], losses[:2]).suggestion == 1e-6


def test_the_picture(tmp_path):
    pytest.importorskip("matplotlib")
    model = network()
    found = find_learning_rate(model, blobs(), optim.Adam(model.parameters()))
    save_rates(found, tmp_path / "rates.png")
    assert (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")


def test_losses_by_name_weights_and_prepare_are_as_in_fit():
    x, y = blobs(90)
    weights = np.arange(90) % 3
    kept = np.repeat(np.arange(90), weights)
    options = {"loss": "mse", "lowest": 1e-3, "highest": 1e-1, "steps": 5, "batch_size": 90}
    model = nn.Dense(2, 1, np.random.default_rng(0))
    optimiser = optim.SGD(model.parameters())
    found = find_learning_rate(model, (x, y, weights), optimiser, prepare=lambda x: x / 2, **options)
    expected = find_learning_rate(model, (x[kept] / 2, y[kept, None]), optimiser, **options)
    np.testing.assert_allclose(found.losses, expected.losses, rtol=1e-5)
    with pytest.raises(ValueError, match="find_learning_rate: train must have finite labels"):
        find_learning_rate(model, (x, np.full(90, np.inf)), optimiser, loss="mse")


def test_its_steps_are_compiled_once(monkeypatch):
    from tensorgrad.training import step

    made, plain = [], step.own
    monkeypatch.setattr(step, "own", lambda function, state: made.append(plain(function, state)) or made[-1])
    model = nn.Dense(2, 3, np.random.default_rng(0))
    find_learning_rate(model, blobs(90), optim.Adam(model.parameters()), batch_size=30, steps=20)
    assert made[0]._made == 1
