"""The report of a run: pictures, and the page that shows them."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import tensorgrad as tg

from ..nn import Conv2d, Dense
from ..report import (
    class_scores,
    confusion_matrix,
    note,
    picture,
    preformatted,
    save_augmentation,
    save_confusion,
    save_curves,
    save_mistakes,
    save_network,
    save_page,
    save_weights,
    side_by_side,
    table,
)
from .preparation import Prepared
from .results import Result

VARIANTS = 5
NOT_REPEATED = ("config", "resume", "quiet")
"""Options that the command to repeat a run leaves out."""

REPEAT = "To change some of the options, pass settings.json of this folder as --config, and those behind it."


def write_report(result: Result, seconds: dict[str, float]) -> None:
    """Draw all pictures into the run's folder and write ``report.html``, which holds them.

    ``seconds`` says how long each phase of the run took.
    """
    prepared, metrics = result.prepared, result.metrics
    out, dataset = prepared.options.out, prepared.dataset
    name = dataset.name if prepared.experiment.takes_any else prepared.experiment.name
    matrix = confusion_matrix(dataset.test_labels, result.probabilities.argmax(axis=1), len(dataset.classes))
    _draw(result, matrix)
    tiles = [
        ("test accuracy", f"{metrics['test_accuracy']:.4f}"),
        ("validation accuracy", f"{metrics['validation_accuracy']:.4f}"),
        ("best epoch", f"{metrics['best_epoch']} of {metrics['epochs']}"),
        ("parameters", f"{metrics['parameters']:,}"),
        ("training", f"{metrics['seconds']:.1f} s"),
    ]
    diverged = "the training diverged, its losses are far above those that it began with; "
    note = diverged if metrics.get("diverged") else ""
    note += f"{metrics['stopped']} before its end; " if metrics["stopped"] else ""
    subtitle = f"{note}data: {dataset.name}; the best epoch on validation images is the one tested"
    sections = [*_findings(result, matrix), *_circumstances(result, seconds)]
    save_page(out / "report.html", f"tensorgrad: {name}", subtitle, tiles, sections)


def _draw(result: Result, matrix: np.ndarray) -> None:
    """All pictures of a run."""
    prepared = result.prepared
    out, dataset, names = prepared.options.out, prepared.dataset, prepared.dataset.classes
    experiment = prepared.experiment
    title = dataset.name if experiment.takes_any else f"{experiment.name}: {dataset.name}"
    save_curves(result.history, out / "curves.png", title, prepared.options.monitor)
    save_confusion(matrix, names, out / "confusion.png")
    save_mistakes(_visible(dataset.test_images), dataset.test_labels, result.probabilities, names, out / "mistakes.png")
    save_weights(*_first_weights(prepared), out / "weights.png")
    _draw_network(prepared, out / "network.png")
    if prepared.options.augment:
        _draw_augmentation(prepared, out / "augmentation.png")


def _first_weights(prepared: Prepared) -> tuple[np.ndarray, tuple[int, ...]]:
    """The weights of the first layer that has any, a column for each unit, and of what shape the image is of a unit."""
    first: Any = next(module for module in prepared.model.modules() if isinstance(module, (Dense, Conv2d)))
    weight = first.weight.numpy()
    shape = prepared.dataset.image_shape
    images = _visible(weight if isinstance(first, Conv2d) else weight.T.reshape(-1, *shape))
    return images.reshape(len(images), -1).T, images.shape[1:]


def _visible(images: np.ndarray) -> np.ndarray:
    """Images with one channel or three: without opacity, and of other channels the mean."""
    channels = images.shape[1]
    if channels in (1, 3):
        return images
    return images[:, : channels - 1] if channels in (2, 4) else images.mean(axis=1, keepdims=True)


def _findings(result: Result, matrix: np.ndarray) -> list[tuple[str, str]]:
    """Sections on what the network has learnt."""
    prepared = result.prepared
    out = prepared.options.out
    score_rows = [(s.name, s.precision, s.recall, s.count) for s in class_scores(matrix, prepared.dataset.classes)]
    parameters = [(name, "x".join(map(str, p.shape)), p.size) for name, p in prepared.model.named_parameters()]
    return [
        ("Learning", picture(out / "curves.png", "loss and accuracy over the epochs")),
        (
            "Classes",
            side_by_side(
                picture(out / "confusion.png", "confusion matrix of the test images"),
                table(["class", "precision", "recall", "images"], score_rows),
            ),
        ),
        ("The most confident mistakes", picture(out / "mistakes.png", "test images classified wrongly")),
        ("What the first layer looks for", picture(out / "weights.png", "weights of the first layer as images")),
        (
            "Network",
            preformatted(repr(prepared.model))
            + table(["parameter", "shape", "numbers"], parameters)
            + picture(out / "network.png", "graph of one training step"),
        ),
    ]


def _circumstances(result: Result, seconds: dict[str, float]) -> list[tuple[str, str]]:
    """Sections on how the run was made, and how to make it again."""
    prepared = result.prepared
    environment = [(name, str(value)) for name, value in result.metrics["environment"].items()]
    hidden = ("image_ranges",)  # for predictions, nothing to read
    settings = [(name, _shown(v)) for name, v in prepared.settings.items() if v is not None and name not in hidden]
    sections = [
        ("Settings and environment", side_by_side(table(["setting", ""], settings), table(["", ""], environment))),
        ("Time", table(["phase", "seconds"], list(seconds.items()))),
        ("To repeat the run", preformatted(_command(prepared)) + note(REPEAT)),
    ]
    if prepared.options.augment:
        changed = picture(prepared.options.out / "augmentation.png", "training images and changed versions")
        sections.insert(0, ("Augmentation", changed))
    return sections


def _shown(value: Any) -> str:
    """A setting as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _command(prepared: Prepared) -> str:
    """The command that repeats the run, into a folder next to its own, without options that do not affect results."""
    again = replace(prepared.options, out=Path(f"{os.path.abspath(prepared.options.out)}-again"))
    parts = ["python", "-m", prepared.experiment.module]
    return " ".join(map(_quoted, [*parts, *again.as_arguments(*NOT_REPEATED)]))


def _quoted(part: str) -> str:
    """An argument for the shell; what cannot be seen is written as its bytes, as bash and zsh read it."""
    return shlex.quote(part) if part.isprintable() else f"$'{''.join(map(_escaped, part))}'"


def _escaped(character: str) -> str:
    if character.isprintable() and character not in "'\\":
        return character
    is_byte = "\udc80" <= character <= "\udcff"  # of a name that is not UTF-8
    encoded = character.encode("utf-8", "surrogateescape" if is_byte else "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in encoded)


def _draw_network(prepared: Prepared, path: Path) -> None:
    """The graph of the loss of a few training images."""
    inputs = tg.Tensor(prepared.standardisation(prepared.train[0][:2]), requires_grad=True)
    modes = [(module, module.rng.bit_generator.state) for module in prepared.model.modules() if hasattr(module, "rng")]
    prepared.model.train()
    loss = tg.softmax_cross_entropy(prepared.model(inputs), prepared.train[1][:2]) + prepared.model.penalty()
    prepared.model.eval()
    for module, state in modes:
        module.rng.bit_generator.state = state
    names = {id(parameter): name for name, parameter in prepared.model.named_parameters()}
    save_network(loss, path, {**names, id(inputs): "inputs"})


def _draw_augmentation(prepared: Prepared, path: Path) -> None:
    images: Any = prepared.train[0][np.linspace(0, len(prepared.train[0]) - 1, 12, dtype=int)]
    rng = np.random.default_rng(prepared.options.seed)
    variants = [_visible(prepared.augmentation(images, rng)) for _ in range(VARIANTS)]
    save_augmentation(_visible(images), variants, path)
