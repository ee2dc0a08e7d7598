"""What a run has found: the parts of its report on learning, classes, images and layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tensorgrad as tg

from ..nn import Conv2d, Dense, Module
from ..report import calibration, class_scores, confusion_matrix, confusions, layer_statistics
from ..report.charts import calibration_chart, decimal, learning_charts, percent
from ..report.classes import LARGEST_WRITTEN, confusion_cells
from ..report.tiles import augmented, examples, mistakes, units
from ..training import Epoch, Monitor
from ..training.objective import LOSSES
from .preparation import Prepared
from .results import Result
from .wording import image_shape

PROBED = 256
"""Validation images for which the layers are looked at."""

VARIANTS, AUGMENTED, EXAMPLES, MOST_CONFUSIONS = 6, 6, 10, 12
"""How many are shown."""

MOST_NAMED = 20
"""Dead units that are named."""

SCORES = [
    ("class", False),
    *((name, True) for name in ("precision", "recall", "F1", "test images")),
    ("most often taken for", False),
]
"""Columns of the table of classes, and whether they hold numbers."""


def learning(result: Result) -> dict[str, Any]:
    """Curves, and a table of the epochs."""
    labels = result.prepared.validation[1]
    guessed = LOSSES["softmax_cross_entropy"].guessing(labels) or 0.0
    chance = {"accuracy": float(np.bincount(labels).max() / len(labels)), "loss": guessed}
    monitor = Monitor(result.prepared.options.monitor)
    best = monitor.best(result.history)
    note = (
        "Dashed: the level of chance, which is reached without looking at the images, by always saying the most "
        "frequent class (accuracy) or the frequencies of the classes (loss)."
    )
    return {
        "charts": learning_charts(result.history, monitor, chance),
        "chance_note": note,
        "epochs": {**_epoch_table(result.history), "best": result.history.index(best)},
    }


def _epoch_table(history: list[Epoch]) -> dict[str, Any]:
    known = [name for name in history[0].measures if name not in ("epoch", "learning_rate", "seconds")]
    names = ["epoch", *known, "learning_rate", "seconds"]

    def shown(name: str, value: float) -> str:
        if name in ("epoch", "seconds"):
            return f"{value:.1f}" if name == "seconds" else f"{value:,}"
        return percent(value) if name.endswith("accuracy") else decimal(value)

    headings = [("training " if name in ("loss", "accuracy") else "") + name.replace("_", " ") for name in names]
    return {
        "columns": [(heading, True) for heading in headings],
        "rows": [[shown(name, row.measures[name]) for name in names] for row in history],
    }


def classes(result: Result, names: list[str]) -> dict[str, Any]:
    """How well classes are told apart, how sure the network is, and where it is wrong."""
    dataset, probabilities = result.prepared.dataset, result.probabilities
    matrix = confusion_matrix(dataset.test_labels, probabilities.argmax(axis=1), len(names))
    found = calibration(probabilities, dataset.test_labels)
    wrong = int(matrix.sum() - np.trace(matrix))
    sure = sum(each.count * each.confidence for each in found.bins) / found.count
    facts = [
        ("expected calibration error", percent(found.error)),
        ("probability stated, on average", percent(sure)),
        ("share that is right", percent(result.metrics["test_accuracy"])),
    ]
    shown = mistakes(_visible(dataset.test_images), dataset.test_labels, probabilities, names)
    return {
        "score_columns": SCORES,
        "scores": _score_rows(matrix, names),
        "matrix": confusion_cells(matrix, names) if len(names) <= LARGEST_WRITTEN else [],
        "confusions": confusions(matrix, MOST_CONFUSIONS),
        "calibration": {"chart": calibration_chart(found), "facts": facts},
        "mistakes": shown,
        "mistakes_note": f"{_some(len(shown), wrong)} wrongly classified test images, the most confident ones first.",
    }


def _some(shown: int, count: int) -> str:
    return f"All {count:,}" if shown == count else f"{shown:,} of {count:,}"


def _score_rows(matrix: np.ndarray, names: list[str]) -> list[dict[str, Any]]:
    rows = []
    for i, score in enumerate(class_scores(matrix, names)):
        others = matrix[i].copy()
        others[i] = 0
        said = int(others.argmax())
        taken_for = f"{names[said]} ({others[said]:,})" if others[said] else ""
        figures = {name: getattr(score, name) for name in ("name", "precision", "recall", "f1", "count")}
        rows.append({**figures, "taken_for": taken_for, "wrong": int(others[said])})
    return rows


def images(prepared: Prepared, names: list[str]) -> dict[str, Any]:
    """What the network is trained on."""
    images, labels = prepared.train
    shape = image_shape(prepared.dataset.image_shape)
    note = f"Training images ({shape}), and how many there are of each class without those for validation."
    rows = examples(_visible(images), labels, names[:LARGEST_WRITTEN], EXAMPLES)
    if len(names) > LARGEST_WRITTEN:
        note += f" The first {LARGEST_WRITTEN} classes of {len(names)}."
    return {"examples": rows, "examples_note": note, "augmented": _augmented(prepared)}


def _augmented(prepared: Prepared) -> list[Any]:
    if not prepared.options.augment:
        return []
    images: Any = prepared.train[0]
    images = images[np.linspace(0, len(images) - 1, min(AUGMENTED, len(images)), dtype=int)]
    rng = np.random.default_rng(prepared.options.seed)
    variants = [_visible(prepared.augmentation(images, rng)) for _ in range(VARIANTS)]
    return augmented(_visible(images), variants)


def first_layer(prepared: Prepared) -> dict[str, Any]:
    """The weights of the layer that looks at the images, a picture for each unit."""
    shape = prepared.dataset.image_shape
    first: Any = next((module for module in prepared.model.modules() if _looks_at(module, shape)), None)
    if first is None:
        return {"tiles": [], "note": "There is no dense or convolutional layer that looks at images.", "is_gray": False}
    weight, is_kernel = first.weight.numpy(), isinstance(first, Conv2d)
    images = _visible(weight if is_kernel else weight.T.reshape(-1, *shape))
    word = "kernel" if is_kernel else "unit"
    tiles, noise = units(images, word)
    note = f"The weights of each {word} of the first layer, the strongest first, each on a scale of its own"
    note += "." if images.shape[1] == 1 else "; gray is 0, and what is brighter positive, in red, green and blue."
    if noise == len(images):
        note += " All look like noise, neighbouring weights being hardly alike: a few are shown."
    elif noise:
        note += f" {noise:,} of {len(images):,} look like noise, neighbouring weights being hardly alike: left out."
    left = len(images) - noise - len(tiles)
    note += f" {left:,} weaker ones are not shown." if left > 0 else ""
    note += " They are counted from 0."
    return {"tiles": tiles, "note": note, "is_gray": images.shape[1] == 1}


def _looks_at(module: Module, shape: tuple[int, ...]) -> bool:
    """Whether it is a layer that can take images of that shape, pixel by pixel or flattened."""
    if isinstance(module, Conv2d):
        return module.weight.shape[1] == shape[0]
    return isinstance(module, Dense) and module.weight.shape[0] == math.prod(shape)


def _visible(images: np.ndarray) -> np.ndarray:
    """Images with one channel or three: without opacity, and of other channels the mean."""
    channels = images.shape[1]
    if channels in (1, 3):
        return images
    return images[:, : channels - 1] if channels in (2, 4) else images.mean(axis=1, keepdims=True)


def layers(prepared: Prepared) -> dict[str, Any]:
    """What goes through the layers for some validation images."""
    images, labels = (part[:PROBED] for part in prepared.validation)
    activations, parameters = layer_statistics(prepared.model, prepared.standardisation(images), labels)
    note = (
        f"For {len(labels):,} validation images, with the weights of the best epoch and without dropout. The size of "
        "values and gradients is their root mean square."
    )
    dead = [
        f"Dead units in layer {each.name}, {each.layer}: {len(each.dead):,} of {each.units:,} are 0 for all of these "
        f"images, so that no gradient comes through them. Counted from 0: {_numbers(each.dead)}."
        for each in activations
        if each.dead
    ]
    return {"note": note, "activations": activations, "parameters": parameters, "dead": dead}


def _numbers(units: list[int]) -> str:
    shown = ", ".join(map(str, units[:MOST_NAMED]))
    return shown + (f" and {len(units) - MOST_NAMED:,} more" if len(units) > MOST_NAMED else "")


def graph(prepared: Prepared) -> str:
    """The graph of the loss of two training images, as SVG."""
    images, labels = prepared.standardisation(prepared.train[0][:2]), prepared.train[1][:2]
    modes = [(module, module.rng.bit_generator.state) for module in prepared.model.modules() if hasattr(module, "rng")]
    means = [(x, x.numpy().copy()) for _, x in prepared.model.named_tensors() if not x.requires_grad]  # of batch norm
    with np.errstate(all="ignore"):
        prepared.model.train()
        loss, penalty = tg.softmax_cross_entropy(prepared.model(images), labels), prepared.model.penalty()
        prepared.model.eval()
        loss = loss + penalty if isinstance(penalty, tg.Tensor) else loss
        drawing = tg.draw(loss, prepared.model, {"images": images, "labels": labels}, gradients=True)
    for module, state in modes:
        module.rng.bit_generator.state = state
    for tensor, values in means:
        tensor.data = values
    return drawing.svg
