"""Pictures, and the page that holds them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread

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
    report.save_augmentation(images[:4], [images[4:8], images[8:12]], tmp_path / "augmentation.png")
    report.save_weights(rng.standard_normal((int(np.prod(shape)), 20)), shape, tmp_path / "weights.png")
    report.save_confusion(report.confusion_matrix(labels, labels, 3), ["a", "b", "c"], tmp_path / "confusion.png")
    for name in ("augmentation", "weights", "confusion"):
        assert drawn(tmp_path / f"{name}.png"), name


@pytest.mark.parametrize("rows", [1, 2])
def test_a_gallery_has_no_empty_rows(tmp_path, rows):
    weights = np.random.default_rng(0).standard_normal((9, 8 * rows - 3))
    report.save_weights(weights, (1, 3, 3), tmp_path / "weights.png")
    height, width = imread(tmp_path / "weights.png").shape[:2]
    assert height / width == pytest.approx(rows * 7.7 / 60, abs=0.01)


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
    assert all(drawn(path) for path in tmp_path.iterdir())
