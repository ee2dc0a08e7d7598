"""The loop: it learns, it counts right, it stops where it must."""

import csv

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.report import save_curves
from tensorgrad.training import CheckpointError, Epoch, TrainingError, evaluate, fit, predict, save_history
from tensorgrad.training.session import Session


def blobs(count=300, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    return (rng.standard_normal((count, 2)) + 4 * np.eye(3)[labels][:, :2]).astype(np.float32), labels


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
        TrainingError, match=r"the loss became nan in step \d+ \(epoch 1/1\): the inputs are not finite"
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
        ({"rng": 0}, "rng must be a NumPy generator"),
        ({"validation": None}, r"validation must be two arrays, \(inputs, labels\), got NoneType"),
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
