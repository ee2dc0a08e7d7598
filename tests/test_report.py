"""The pictures and the page of a run."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.image import imread

import tensorgrad as tg
from tensorgrad import report


def drawn(path, least=0.01):
    """The picture is there and not empty."""
    pixels = imread(path)
    return pixels.shape[0] > 100 and pixels.std() > least


def test_confusion_and_scores():
    matrix = report.confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1]), 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 1, 0], [0, 1, 0]])
    scores = report.class_scores(matrix, ["a", "b", "c"])
    assert [(s.precision, s.recall, s.count) for s in scores] == [(1.0, 0.5, 2), (1 / 3, 1.0, 1), (0.0, 0.0, 1)]


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
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


def test_the_network_is_drawn_from_its_history(tmp_path):
    network = tg.nn.Sequential(tg.nn.Dense(3, 4, weight_l2=0.1), tg.nn.ReLU(), tg.nn.Dense(4, 2))
    loss = tg.softmax_cross_entropy(network(np.ones((1, 3))), [0]) + network.penalty()
    names = {id(p): name for name, p in network.named_parameters()}
    report.save_network(loss, tmp_path / "network.png", names)
    assert drawn(tmp_path / "network.png")


def test_text_is_escaped_and_the_page_needs_nothing_else(tmp_path):
    path = tmp_path / "page.html"
    sections = [("<b>", report.table(["<i>", "n"], [("<script>", 1234), ("x", 0.5)]) + report.preformatted("a < b"))]
    report.save_page(path, "<title>", "sub & title", [("label", "<value>")], sections)
    text = path.read_text()
    assert "<script>" not in text and "&lt;script&gt;" in text and "1,234" in text and "0.500" in text
    assert not re.findall(r"(?:src|href)=\"(?!data:)", text)


CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_the_screen_in_a_browser(tmp_path, width):
    rng = np.random.default_rng(0)
    report.save_weights(rng.standard_normal((784, 48)), (28, 28), tmp_path / "weights.png")
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
