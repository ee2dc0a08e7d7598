"""What the notebooks share: data, pictures, and two ways of writing a layer side by side.

Two environment variables choose. ``DATA_DIR`` is a folder that holds ``mnist/`` and ``simpsons-mnist/``, or ``small``
for the digits of scikit-learn and faces drawn by a program. With ``PICTURES=free`` images of data sets under a
restrictive licence aren't shown.
"""

from __future__ import annotations

import html
import inspect
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from IPython.display import Image, Markdown

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # a notebook runs in its own folder, and imports models from the one above

from tensorgrad.data import Augmentation, Dataset, draw_faces, load_mnist, load_simpsons  # noqa: E402
from tensorgrad.data.mnist import bundled_digits  # noqa: E402
from tensorgrad.report import (  # noqa: E402
    class_scores,
    confusion_matrix,
    most_confident_mistakes,
    save_augmentation,
    save_confusion,
    save_curves,
    save_weights,
)
from tensorgrad.report.figure import saved_figure  # noqa: E402

DATA_DIR = os.environ.get("DATA_DIR")


def digits() -> Dataset:
    """MNIST, or where there is none the digits of scikit-learn."""
    if DATA_DIR == "small":
        return bundled_digits()
    return load_mnist(Path(DATA_DIR) / "mnist" if DATA_DIR else None)


def characters(channels: int) -> Dataset:
    """The Simpsons in gray (1 channel) or colour (3), or where there are none faces drawn by a program."""
    if DATA_DIR == "small":
        return draw_faces(channels, per_class=40)
    folder = Path(DATA_DIR) / "simpsons-mnist" / ("grayscale" if channels == 1 else "rgb") if DATA_DIR else None
    return load_simpsons(folder, channels=channels)


BY_SURNAME = ("charles_montgomery_burns", "principal_skinner")


def name(data: Dataset, label: int) -> str:
    """The name of a class, short enough for a caption."""
    words = data.classes[label].split("_")
    return words[-1] if data.classes[label] in BY_SURNAME else words[0]


# Code and numbers


class Beside:
    """A layer written by hand beside the expressions that replace it, or above them where the page is narrow."""

    def __init__(self, by_hand: object, *expressions: object) -> None:
        self.sources = [
            "\n\n\n".join(inspect.getsource(each).strip() for each in side) for side in ((by_hand,), expressions)
        ]

    def __repr__(self) -> str:
        return "\n\n".join(self.sources)

    def _repr_html_(self) -> str:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import PythonLexer

        style = (
            "padding:.7em;margin:0;overflow-x:auto;font:12px/1.45 monospace;white-space:pre;"
            "background:#f7f7f7;color:#222"
        )
        blocks = [
            f'<div style="flex:1 1 {width}em;min-width:0"><b>{title}</b>'
            + highlight(source, PythonLexer(), HtmlFormatter(noclasses=True, prestyles=style))
            + "</div>"
            for title, source, width in zip(("by hand", "as a tensor expression"), self.sources, (31, 22))
        ]
        return '<div style="display:flex;flex-wrap:wrap;gap:1em;text-align:left">' + "".join(blocks) + "</div>"


beside = Beside


def compared(**pairs: tuple[object, object]) -> Markdown:
    """A table of what both ways give: the same to the last bit, or how far apart."""
    rows = ["| largest number | by hand | as an expression | |", "|:--|--:|--:|:--|"]
    for key, pair in pairs.items():
        one, other = (np.asarray(value) for value in pair)
        if one.shape != other.shape:
            raise ValueError(f"{key}: shapes {one.shape} and {other.shape}")
        difference = np.abs(one - other).max() / max(np.abs(one).max(), np.finfo(one.dtype).tiny)
        verdict = "equal to the last bit" if np.array_equal(one, other) else f"differ by {difference:.0e}, relatively"
        shown = [f"{each.ravel()[np.abs(one).argmax()]:.7g}" for each in (one, other)]
        rows.append(f"| {html.escape(key.replace('_', ' '))} | {shown[0]} | {shown[1]} | {verdict} |")
    return Markdown("\n".join(rows))


# Pictures


def drawn(save, *args, width: int = 800, **settings) -> Image:
    """What a function of ``tensorgrad.report`` saves, as a picture in the notebook."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        save(*args, path, **settings)
        return Image(data=path.read_bytes(), width=width)


def may_be_shown(data: Dataset) -> bool:
    """Whether images of the data may be shown: all of them, or where ``PICTURES=free`` those of free data sets."""
    return os.environ.get("PICTURES") != "free" or data.name.startswith(("MNIST", "scikit-learn", "synthetic"))


HIDDEN = (
    "*Here are images of the data set when you run this. Its licence (CC BY-NC-SA) is not this project's, so the copy "
    "in the repository shows none.*"
)


def save_gallery(images: np.ndarray, captions: list[str], path: Path, columns: int = 10) -> None:
    """Images of shape (N, C, H, W) in rows, each below its caption."""
    rows = -(-len(images) // columns)
    with saved_figure(path, 10, rows * (10 / columns + 0.16 * (1 + max(c.count("\n") for c in captions)))) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.axis("off")
        for axes, image, caption in zip(grid.flat, images, captions):
            pixels = np.moveaxis(image, 0, -1).clip(0, 255).astype(np.uint8)
            axes.imshow(pixels[..., 0] if len(image) == 1 else pixels, cmap="gray", vmin=0, vmax=255)
            axes.set_title(caption, fontsize=9, pad=3)


def examples(data: Dataset, per_class: int = 2) -> Image | Markdown:
    """The first images of each class."""
    if not may_be_shown(data):
        return Markdown(HIDDEN)
    count = len(data.classes)
    chosen = [np.flatnonzero(data.train_labels == label)[i] for i in range(per_class) for label in range(count)]
    captions = [name(data, data.train_labels[i]) for i in chosen]
    return drawn(save_gallery_of(count), data.train_images[chosen], captions)


def save_gallery_of(columns: int):
    """:func:`save_gallery` with that many columns."""
    return lambda images, captions, path: save_gallery(images, captions, path, columns)


def averages(data: Dataset) -> Image:
    """The mean image of each class."""
    means = [data.train_images[data.train_labels == label].mean(axis=0) for label in range(len(data.classes))]
    return drawn(save_gallery_of(len(means)), np.stack(means), [name(data, label) for label in range(len(means))])


def curves(history) -> Image:
    """Loss and accuracy over the epochs."""
    return drawn(save_curves, history)


def augmented(data: Dataset, augmentation: Augmentation, rng: np.random.Generator) -> Image:
    """A few images, and what training makes of them; of faces drawn by a program if the data may not be shown."""
    shown = data if may_be_shown(data) else draw_faces(data.image_shape[0], per_class=2)
    images = shown.train_images[np.linspace(0, len(shown.train_images) - 1, 8).astype(int)]
    return drawn(save_augmentation, images, [augmentation(images, rng) for _ in range(3)])


def weights(layer, data: Dataset) -> Image:
    """What the strongest units of the first layer look for."""
    return drawn(save_weights, layer.weight.data, data.image_shape)


def mistakes(data: Dataset, probabilities: np.ndarray, count: int = 20) -> Image | Markdown:
    """The most confident mistakes among the test images, as pictures, or else as a table."""
    chosen, predicted = most_confident_mistakes(probabilities, data.test_labels, count), probabilities.argmax(axis=1)
    if not len(chosen):
        return Markdown("*No mistakes.*")
    if may_be_shown(data):
        said = [f"said {name(data, predicted[i])},\nis {name(data, data.test_labels[i])}" for i in chosen]
        return drawn(save_gallery_of(10), data.test_images[chosen], said)
    rows = ["| said | is | how sure it was |", "|:--|:--|--:|"]
    for i in chosen[: count // 2]:
        said, true = name(data, predicted[i]), name(data, data.test_labels[i])
        rows.append(f"| {said} | {true} | {probabilities[i].max():.1%} |")
    return Markdown("\n".join([HIDDEN, "", *rows]))


def confusions(data: Dataset, probabilities: np.ndarray) -> Image:
    """How often each class is taken for each other."""
    matrix = confusion_matrix(data.test_labels, probabilities.argmax(axis=1), len(data.classes))
    return drawn(save_confusion, matrix, [name(data, label) for label in range(len(data.classes))], width=560)


def scores(data: Dataset, probabilities: np.ndarray) -> Markdown:
    """Precision and recall of each class, as a table."""
    matrix = confusion_matrix(data.test_labels, probabilities.argmax(axis=1), len(data.classes))
    rows = ["| class | precision | recall | test images | most often taken for |", "|:--|--:|--:|--:|:--|"]
    for label, score in enumerate(class_scores(matrix, [name(data, i) for i in range(len(matrix))])):
        wrong = matrix[label].copy()
        wrong[label] = 0
        other = f"{name(data, wrong.argmax())} ({wrong.max()})" if wrong.any() else ""
        rows.append(f"| {score.name} | {score.precision:.2f} | {score.recall:.2f} | {score.count} | {other} |")
    return Markdown("\n".join(rows))
