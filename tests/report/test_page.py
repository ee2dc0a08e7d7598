"""What the page of a run is made of: charts, calibration, small pictures, what goes through the layers."""

import base64
import configparser
import io
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import tensorgrad as tg
from tensorgrad import report
from tensorgrad._optional import MissingExtra
from tensorgrad.report import charts, tiles
from tensorgrad.report.scales import Scale
from tensorgrad.training import Epoch, Monitor
from tests.support import ROOT

measures = st.floats() | st.floats(0, 1) | st.floats(1e-9, 1e9)
epochs = st.tuples(measures, st.floats(0, 1), measures, st.floats(0, 1), st.floats(0, 10))


@given(st.lists(epochs, min_size=1, max_size=60), st.floats(0, 10))
def test_charts_of_any_history_are_inside_their_frame(rows, chance):
    history = [Epoch(i + 1, *row, 1.0) for i, row in enumerate(rows)]
    drawn = charts.learning_charts(history, Monitor("validation_accuracy"), {"loss": chance, "accuracy": 0.5})
    assert [chart.title.split()[0] for chart in drawn] == ["Loss", "Accuracy", "Learning"]
    for chart, names in zip(drawn, (("loss", "validation_loss"), ("accuracy", "validation_accuracy"), ())):
        places = [place for curve in chart.curves for part in curve.parts for point in part for place in point]
        places += [place for place, _ in [*chart.x_ticks, *chart.y_ticks]] + [chart.marked]
        assert all(-0.01 <= place <= 100.01 for place in places)
        assert len(chart.y_ticks) >= 2 and chart.x_ticks and all(part for curve in chart.curves for part in curve.parts)
        assert sum(band.width for band in chart.bands) == pytest.approx(100)
        for curve, name in zip(chart.curves, names):
            finite = sum(abs(getattr(row, name)) < charts.HUGE for row in history)
            assert sum(map(len, curve.parts)) == finite


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.booleans())
def test_ticks_are_round_few_and_inside(low, size, may_be_log):
    scale = Scale.over([low, low + size], may_be_log)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 14 and ticks == sorted(set(ticks))
    assert all(-1e-6 <= scale.place(tick) <= 1 + 1e-6 for tick in ticks)


def test_many_epochs_are_thinned_where_values_are_shown_and_drawn_whole():
    history = [Epoch(i + 1, 1.0 / (i + 1), 0.5, 1.0, 0.5, 0.1, 1.0) for i in range(2000)]
    loss = charts.learning_charts(history, Monitor("validation_accuracy"))[0]
    assert len(loss.bands) <= charts.MOST_BANDS and len(loss.curves[0].parts[0]) == 2000


@given(st.integers(1, 80), st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_the_calibration_error_is_that_of_its_formula(count, classes, seed):
    rng = np.random.default_rng(seed)
    probabilities, labels = rng.dirichlet(np.ones(classes), count), rng.integers(0, classes, count)
    found = report.calibration(probabilities, labels)
    stated, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    wanted = 0.0
    for low in np.arange(10) / 10:
        inside = (stated > low) & (stated <= low + 0.1)
        wanted += abs(right[inside].sum() - stated[inside].sum()) / count
    assert found.error == pytest.approx(wanted, abs=1e-6) and found.count == count
    sure = report.calibration(np.eye(classes)[labels], labels)
    assert sure.error == 0 and [each.accuracy for each in sure.bins] == [1.0]


def decoded(source):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition("base64,")[2]))))


def test_tiles_show_the_pictures_and_say_what_they_are():
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 7)).astype(np.uint8)
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]])
    wrong = tiles.mistakes(images, np.array([1, 1, 0, 1]), probabilities, ["five", "three"])
    assert [tile.caption for tile in wrong] == ["said five, is three", "said three, is five"]
    np.testing.assert_array_equal(decoded(wrong[0].source), images[0].transpose(1, 2, 0))
    assert tiles.mistakes(images, np.array([0, 1, 1, 1]), probabilities, ["five", "three"]) == []
    rows = tiles.examples(images[:, :1], np.array([1, 1, 0, 1]), ["five", "three", "none"], 2)
    assert [(name, count, len(shown)) for name, count, shown in rows] == [
        ("five", 1, 1),
        ("three", 3, 2),
        ("none", 0, 0),
    ]
    np.testing.assert_array_equal(decoded(rows[1][2][1].source), images[1, 0])
    with pytest.raises(ValueError, match=r"1 or 3 of them, got \(2, 5, 7\)"):
        tiles.pixels(np.zeros((2, 5, 7)))


def test_weights_are_in_the_order_of_their_strength_without_noise():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((20, 1, 12, 12))
    waves = np.sin(np.arange(12) / 2) * np.ones((3, 1, 12, 1)) * np.array([1.0, 3.0, 2.0])[:, None, None, None]
    shown, left_out = tiles.units(np.concatenate([noise, waves]))
    assert [tile.caption for tile in shown] == ["unit 21", "unit 22", "unit 20"] and left_out == 20
    shown, left_out = tiles.units(noise)
    assert len(shown) == tiles.FEW_UNITS and left_out == 20
    shown, left_out = tiles.units(np.concatenate([noise[:, :, :3, :3]] * 3), "kernel")
    assert len(shown) == tiles.MOST_UNITS and left_out == 0 and shown[0].caption.startswith("kernel ")
    red, blue = decoded(tiles.units(np.array([[[[1.0, -1.0]]]]))[0][0].source)[0]
    assert tuple(red) == tiles.POSITIVE and tuple(blue) == tiles.NEGATIVE


def test_dead_units_are_named_and_nothing_of_the_network_changes():
    rng = np.random.default_rng(0)
    network = tg.nn.Sequential(
        tg.nn.Conv2d(1, 3, 3, rng, padding=1),
        tg.nn.BatchNorm2d(3),
        tg.nn.ReLU(),
        tg.nn.Flatten(),
        tg.nn.Dropout(0.5, rng),
    )
    network = tg.nn.Sequential(network, tg.nn.Dense(48, 5, rng), tg.nn.ReLU(), tg.nn.Dense(5, 2, rng))
    before = {name: tensor.numpy().copy() for name, tensor in network.named_tensors()}
    norm = next(module for module in network.modules() if isinstance(module, tg.nn.BatchNorm2d))
    norm.bias.data[1] = before["0.1.bias"][1] = -100.0
    state = rng.bit_generator.state
    images, labels = np.random.default_rng(1).standard_normal((8, 1, 4, 4)).astype(np.float32), np.arange(8) % 2
    outputs, parameters = report.layer_statistics(network, images, labels)
    dead = {each.name: each.dead for each in outputs if each.dead is not None}
    assert dead["0.2"] == [1] and set(dead) == {"0.2", "2"}
    assert next(each.shape for each in outputs if each.name == "0.0") == (3, 4, 4)
    assert rng.bit_generator.state == state and network.training and "forward" not in vars(norm)
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, tensor in network.named_tensors():
        np.testing.assert_array_equal(tensor.numpy(), before[name])
    network.eval()
    loss = tg.softmax_cross_entropy(network(images), labels)
    loss.backward()
    for each, (name, parameter) in zip(parameters, network.named_parameters()):
        wanted = np.sqrt(np.mean(np.square(parameter.grad)))
        assert each.name == name and each.gradient == pytest.approx(wanted, rel=1e-4, abs=1e-9)


def test_without_jinja_one_sentence_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match=r"the report needs jinja2 .*; install it with: pip install jinja2"):
        report.save_page(tmp_path / "page.html", {})


def test_the_templates_are_in_the_distribution():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    folder, pattern = ROOT / "tensorgrad" / "report", settings["options.package_data"]["tensorgrad.report"]
    beside = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert beside and sorted(beside) == sorted(folder.glob(pattern))
