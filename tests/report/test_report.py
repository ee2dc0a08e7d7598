"""Pictures, and the page that holds them."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

import tensorgrad as tg
from tensorgrad import report
from tensorgrad.training import Epoch
from tests.support import NASTY


def drawn(path, least=0.01):
    """The picture is there and not empty."""
    pixels = imread(path)
    return pixels.shape[0] > 100 and pixels.std() > least


def test_confusion_and_scores():
    matrix = report.confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 1, 0], [0, 1, 0]])
    scores = report.class_scores(matrix, ["a", "b", "c"])
    assert [(s.precision, s.recall, s.count) for s in scores] == [(1.0, 0.5, 2), (1 / 3, 1.0, 1), (0.0, 0.0, 1)]


INTEGERS = [np.dtype(order + kind) for kind in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8") for order in "<>"]


@given(st.data())
def test_a_confusion_matrix_counts_labels_of_any_integer_type(data):
    classes = data.draw(st.integers(1, 130))
    count = data.draw(st.integers(0, 20))
    wanted = np.zeros((classes, classes), int)
    arrays = []
    for _ in range(2):
        dtype = data.draw(st.sampled_from(INTEGERS))
        values = data.draw(st.lists(st.integers(0, min(classes, 127) - 1), min_size=count, max_size=count))
        arrays.append(np.array(values, dtype))
    for label, guess in zip(*(array.tolist() for array in arrays)):
        wanted[label, guess] += 1
    np.testing.assert_array_equal(report.confusion_matrix(*arrays, classes), wanted)
    np.testing.assert_array_equal(report.confusion_matrix(*arrays, np.uint8(classes)), wanted)


@pytest.mark.parametrize(
    "labels, predicted, error, words",
    [
        ([0, -1], [0, 0], ValueError, "labels must lie in 0..2, got -1"),
        ([0, 1], [0, 3], ValueError, "predicted must lie in 0..2, got 3; leave those out .* pass classes=4"),
        (np.array([2**63], np.uint64), [0], ValueError, "labels must lie in 0..2, got 9223372036854775808"),
        ([0.0], [0], TypeError, r"labels must be integers, got float64; pass labels.astype\(int\)"),
        ([0], np.eye(3)[:1], TypeError, r"pass logits.argmax\(axis=1\)"),
        ([0, 1], [0], ValueError, r"labels of shape \(2,\), predicted of shape \(1,\)"),
    ],
)
def test_what_a_confusion_matrix_refuses(labels, predicted, error, words):
    with pytest.raises(error, match=words):
        report.confusion_matrix(np.asarray(labels), np.asarray(predicted), 3)
    if "pass classes=4" in words:
        assert report.confusion_matrix(np.asarray(labels), np.asarray(predicted), 4).sum() == 2
    if "argmax" in words:
        assert report.confusion_matrix(np.asarray(labels), np.asarray(predicted).argmax(axis=1), 3).sum() == 1


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 28, 28)])
def test_every_picture_is_drawn(tmp_path, shape):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, *shape)).astype(np.uint8), np.arange(30) % 3
    probabilities = rng.dirichlet(np.ones(3), 30)
    report.save_mistakes(images, labels, probabilities, ["a_x", "b", "c"], tmp_path / "mistakes.png")
    report.save_mistakes(images, labels, np.eye(3)[labels], ["a_x", "b", "c"], tmp_path / "none.png")
    report.save_augmentation(images[:4], [images[4:8], images[8:12]], tmp_path / "augmentation.png")
    report.save_weights(rng.standard_normal((int(np.prod(shape)), 20)), shape, tmp_path / "weights.png")
    report.save_confusion(report.confusion_matrix(labels, labels, 3), ["a", "b", "c"], tmp_path / "confusion.png")
    for name in ("mistakes", "augmentation", "weights", "confusion"):
        assert drawn(tmp_path / f"{name}.png"), name


@pytest.mark.parametrize(("count", "rows"), [(0, 1), (7, 2)])
def test_a_gallery_has_no_empty_rows(tmp_path, count, rows):
    rng = np.random.default_rng(0)
    labels = np.zeros(40, int)
    wrong = np.arange(40) < count
    mistakes = np.stack([~wrong, wrong], axis=1) * 0.8 + 0.1
    report.save_mistakes(rng.random((40, 1, 4, 4)), labels, mistakes, ["a", "b"], tmp_path / "mistakes.png")
    report.save_weights(rng.standard_normal((9, 8 * rows - 3)), (1, 3, 3), tmp_path / "weights.png")
    for name, of_a_row in ("mistakes", 7 / 4), ("weights", 7.7 / 6):
        height, width = imread(tmp_path / f"{name}.png").shape[:2]
        assert height / width == pytest.approx(rows * of_a_row / 10, abs=0.01), name


@pytest.fixture
def picture(monkeypatch):
    """What ``save_network`` draws: the texts, and where boxes and lines are in a picture of what size."""
    drawn = {}

    def draw(axes, columns):
        original(axes, columns)
        drawn["texts"] = [text.get_text() for text in axes.texts]
        drawn["size"] = axes.get_xlim()[1], axes.get_ylim()[0]
        drawn["places"] = np.concatenate(
            [artist.get_path().get_extents().get_points() for artist in [*axes.patches, *axes.lines]]
        )

    original = report.diagram._draw
    monkeypatch.setattr(report.diagram, "_draw", draw)
    return drawn


def recurrent(steps):
    """A loss of that many steps with shared parameters, and the names of all leaves, which are held."""
    rng = np.random.default_rng(0)
    leaves = {name: tg.Tensor(rng.standard_normal((2, 2)), requires_grad=True) for name in ("w", "u", "b")}
    state = leaves["start"] = tg.Tensor(np.zeros((2, 2)), requires_grad=True)
    for _ in range(steps):
        state = np.tanh(state @ leaves["w"] + np.ones((2, 2)) @ leaves["u"] + leaves["b"])
    return (state**2).sum() + (leaves["w"] ** 2).sum(), leaves


def test_the_network_is_drawn_from_its_history(tmp_path, picture):
    network = tg.nn.Sequential(tg.nn.Dense(3, 4, weight_l2=0.1), tg.nn.ReLU(), tg.nn.Dropout(0.5), tg.nn.Dense(4, 2))
    loss = tg.softmax_cross_entropy(network(np.ones((1, 3))), [0]) + network.penalty()
    report.save_network(loss, tmp_path / "network.png", {id(p): name for name, p in network.named_parameters()})
    assert drawn(tmp_path / "network.png")
    texts = picture["texts"]
    assert (
        texts.count("dropout") == 1
        and texts.count("0.weight") == 1
        and "3.bias" in texts
        and "4\N{MULTIPLICATION SIGN}2" in texts
    )
    assert "constant" not in texts


def test_leaves_without_a_name_are_parameters_or_constants(tmp_path, picture):
    held = [tg.Tensor(np.ones(3), requires_grad=True), tg.Tensor(np.ones(3))]
    report.save_network((held[0] * held[1]).sum(), tmp_path / "network.png")
    assert picture["texts"].count("parameter") == 1 and picture["texts"].count("constant") == 1


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 4, 30])
def test_every_line_and_box_is_inside_the_picture_and_leaves_are_drawn_once(tmp_path, picture, steps):
    loss, leaves = recurrent(steps)
    report.save_network(loss, tmp_path / "network.png", {id(leaf): name for name, leaf in leaves.items()})
    (left, top), (right, bottom) = picture["places"].min(axis=0), picture["places"].max(axis=0)
    assert left > 0 and top > 0 and right < picture["size"][0] and bottom < picture["size"][1]
    assert sorted(text for text in picture["texts"] if text in leaves) == sorted(leaves)
    assert picture["texts"].count("tanh") == steps


def test_parameters_that_are_gone_are_drawn_once_too(tmp_path, picture):
    loss, _ = recurrent(3)[0], None
    report.save_network(loss, tmp_path / "network.png")
    assert picture["texts"].count("parameter") == 4


@pytest.mark.slow
def test_several_results_are_drawn_together_and_long_chains_in_columns(tmp_path, picture):
    x = tg.Tensor(1.0, requires_grad=True)
    hidden = np.exp(x)
    report.save_network([np.sin(hidden), np.cos(hidden)], tmp_path / "two.png")
    assert picture["texts"].count("exp") == 1 and {"sin", "cos"} < set(picture["texts"])
    for _ in range(400):
        x = np.sin(x)
    report.save_network(x, tmp_path / "long.png")
    width, height = picture["size"]
    assert 0.3 < width / height < 3 and picture["texts"].count("sin") == 400


def test_a_network_that_cannot_be_drawn_is_refused_and_the_remedy_works(tmp_path):
    path = tmp_path / "network.png"

    def loss():
        x = tg.Tensor(np.ones(3), requires_grad=True)
        return (np.exp(x) * x).sum()

    freed = loss()
    freed.backward()
    with pytest.raises(RuntimeError, match=r"freed by an earlier backward; draw before .*retain_graph=True"):
        report.save_network(freed, path)
    with pytest.raises(RuntimeError, match="freed"):
        report.save_network([loss(), freed], path)
    kept = loss()
    kept.backward(retain_graph=True)
    report.save_network(kept, path)
    shared = np.exp(tg.Tensor(1.0, requires_grad=True))
    np.sin(shared).backward()  # which frees what the next one was computed from
    with pytest.raises(RuntimeError, match="freed"):
        report.save_network(np.cos(shared), path)
    with tg.no_grad(), pytest.raises(RuntimeError, match="no history; compute it from parameters"):
        report.save_network(loss(), path)
    for wrong in (np.ones(3), [np.ones(3)], 1.0, None, []):
        with pytest.raises(TypeError, match="pass"):
            report.save_network(wrong, path)
    x = tg.Tensor(1.0, requires_grad=True)
    for _ in range(report.diagram.LARGEST):
        x = x + 1
    with pytest.raises(ValueError, match="draw a part of the network"):
        report.save_network(x, path)


def test_text_is_escaped_and_the_page_needs_nothing_else(tmp_path):
    path = tmp_path / "page.html"
    sections = [("<b>", report.table(["<i>", "n"], [("<script>", 1234), ("x", 0.5)]) + report.preformatted("a < b"))]
    report.save_page(path, "<title>", "sub & title", [("label", "<value>")], sections)
    text = path.read_text()
    assert "<script>" not in text and "&lt;script&gt;" in text and "1,234" in text and "0.500" in text
    assert not re.findall(r"(?:src|href)=\"(?!data:)", text)


@given(st.text(), st.integers(3, 50))
def test_printable_text_is_printable_and_short(text, longest):
    shown = report.printable(text)
    assert shown.isprintable() and (shown == text or not text.isprintable())
    if text.isprintable():
        assert len(report.printable(text, longest)) <= longest
    shown.encode("utf-8")


@pytest.mark.slow
def test_dollars_and_underscores_are_drawn_as_they_stand(tmp_path):
    histories = {f"_{name}": [{"epoch": 1, "validation_loss": 1.0, "validation_accuracy": 0.5}] for name in NASTY}
    report.save_comparison(histories, tmp_path / "compare.png")
    report.save_curves([Epoch(1, 1.0, 0.5, 1.1, 0.4, 0.01, 0.1)], tmp_path / "curves.png", "".join(NASTY))
    x = tg.Tensor(1.0, requires_grad=True)
    for name in NASTY:
        report.save_network(np.exp(x), tmp_path / "network.png", {id(x): name})
    assert all(drawn(path) for path in tmp_path.iterdir())


CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_the_screen_in_a_browser(tmp_path, width):
    rng = np.random.default_rng(0)
    report.save_weights(rng.standard_normal((784, 48)), (1, 28, 28), tmp_path / "weights.png")
    sections = [
        ("Pictures", report.picture(tmp_path / "weights.png", "weights")),
        (
            "Side",
            report.side_by_side(report.table(["a"] * 9, [["long text here"] * 9]), report.preformatted("x" * 300)),
        ),
        (
            "Probe",
            "<p id='probe'></p><script>onload=()=>{probe.textContent='WIDTH '+document.documentElement.scrollWidth"
            "+' OF '+innerWidth+' IMAGES '+[...document.images].filter(i=>i.naturalWidth>0).length}</script>",
        ),
    ]
    report.save_page(tmp_path / "page.html", "title", "subtitle", [("a", "1"), ("b", "2")], sections)
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    more = f"--disable-component-update --disable-sync --window-size={width},900 --user-data-dir={tmp_path / 'profile'}"
    page = f"--virtual-time-budget=3000 --dump-dom file://{tmp_path / 'page.html'}"
    result = subprocess.run([CHROMIUM, *f"{flags} {more} {page}".split()], capture_output=True, text=True, timeout=90)
    wide, inner, images = map(int, re.search(r"WIDTH (\d+) OF (\d+) IMAGES (\d+)", result.stdout).groups())
    assert wide <= inner and images == 1
