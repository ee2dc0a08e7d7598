"""The report of a run: pictures, and the page that shows them."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np

import tensorgrad as tg
from experiments.runner.command import parser
from experiments.runner.experiment import Run
from tensorgrad.nn import Dense
from tensorgrad.report import (
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

VARIANTS = 5
NOT_REPEATED = ("help", "config", "resume", "quiet")
"""Options that the command to repeat a run leaves out: how it was started and what it printed."""

REPEAT = "To change some of the options, pass settings.json of this folder as --config, and those behind it."


def write_report(run: Run, probabilities: np.ndarray) -> None:
    """Draw all pictures into the run's folder and write ``report.html``, which holds them."""
    out, dataset = run.options.out, run.dataset
    labels, names = dataset.test_labels, dataset.classes
    matrix = confusion_matrix(labels, probabilities.argmax(axis=1), len(names))
    save_curves(run.history, out / "curves.png", f"{run.experiment.name}: {dataset.name}")
    save_confusion(matrix, names, out / "confusion.png")
    save_mistakes(dataset.test_images, labels, probabilities, names, out / "mistakes.png")
    first = next(module for module in run.model.modules() if isinstance(module, Dense))
    save_weights(first.weight.numpy(), dataset.image_shape, out / "weights.png")
    _draw_network(run, out / "network.png")
    sections = _sections(run, out, matrix)
    if run.options.augment:
        _draw_augmentation(run, out / "augmentation.png")
        sections.insert(-3, ("Augmentation", picture(out / "augmentation.png", "training images and changed versions")))
    metrics = run.metrics
    tiles = [
        ("test accuracy", f"{metrics['test_accuracy']:.4f}"),
        ("validation accuracy", f"{metrics['validation_accuracy']:.4f}"),
        ("best epoch", f"{metrics['best_epoch']} of {metrics['epochs']}"),
        ("parameters", f"{metrics['parameters']:,}"),
        ("training", f"{metrics['seconds']:.1f} s"),
    ]
    note = f"{metrics['stopped']} before its end; " if metrics["stopped"] else ""
    subtitle = f"{note}data: {dataset.name}; the best epoch on validation images is the one tested"
    save_page(out / "report.html", f"tensorgrad: {run.experiment.name}", subtitle, tiles, sections)


def _sections(run: Run, out: Path, matrix: np.ndarray) -> list[tuple[str, str]]:
    scores = class_scores(matrix, run.dataset.classes)
    score_rows = [(s.name, s.precision, s.recall, s.count) for s in scores]
    parameters = [(name, "x".join(map(str, p.shape)), p.size) for name, p in run.model.named_parameters()]
    environment = [(name, str(value)) for name, value in run.metrics["environment"].items()]
    hidden = ("image_ranges",)  # for predictions, nothing to read
    settings = [(name, _shown(v)) for name, v in run.settings.items() if v is not None and name not in hidden]
    phases = [(name, seconds) for name, seconds in run.seconds.items()]
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
            preformatted(repr(run.model))
            + table(["parameter", "shape", "numbers"], parameters)
            + picture(out / "network.png", "graph of one training step"),
        ),
        ("Settings and environment", side_by_side(table(["setting", ""], settings), table(["", ""], environment))),
        ("Time", table(["phase", "seconds"], phases)),
        ("To repeat the run", preformatted(_command(run)) + note(REPEAT)),
    ]


def _shown(value: Any) -> str:
    """A setting as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _command(run: Run) -> str:
    """The command that repeats the run: all options in full, so that it holds wherever the folder is moved to."""
    values = {**vars(run.options), "epochs": run.epochs, "out": Path(f"{os.path.abspath(run.options.out)}-again")}
    parts = ["python", "-m", f"experiments.{run.experiment.name}"]
    for action in parser(run.experiment)._actions:
        value = values.get(action.dest)
        if action.dest in NOT_REPEATED or value is None:
            continue
        if action.nargs != 0:
            text = os.path.abspath(value) if isinstance(value, Path) else str(value)
            parts += (
                [f"{action.option_strings[0]}={text}"] if text.startswith("-") else [action.option_strings[0], text]
            )
        elif value:
            parts.append(action.option_strings[0])
        elif len(action.option_strings) > 1:  # the other one is --no-...
            parts.append(action.option_strings[-1])
    return " ".join(map(_quoted, parts))


def _quoted(part: str) -> str:
    """An argument for the shell; what cannot be seen is written as its bytes, as bash and zsh read it."""
    return shlex.quote(part) if part.isprintable() else f"$'{''.join(map(_escaped, part))}'"


def _escaped(character: str) -> str:
    if character.isprintable() and character not in "'\\":
        return character
    is_byte = "\udc80" <= character <= "\udcff"  # of a name that is not UTF-8
    encoded = character.encode("utf-8", "surrogateescape" if is_byte else "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in encoded)


def _draw_network(run: Run, path: Path) -> None:
    """The graph of the loss of a few training images."""
    inputs = tg.Tensor(run.standardisation(run.train[0][:2]), requires_grad=True)
    modes = [(module, module.rng.bit_generator.state) for module in run.model.modules() if hasattr(module, "rng")]
    run.model.train()
    loss = tg.softmax_cross_entropy(run.model(inputs), run.train[1][:2]) + run.model.penalty()
    run.model.eval()
    for module, state in modes:
        module.rng.bit_generator.state = state
    names = {id(parameter): name for name, parameter in run.model.named_parameters()}
    save_network(loss, path, {**names, id(inputs): "inputs"})


def _draw_augmentation(run: Run, path: Path) -> None:
    images: Any = run.train[0][np.linspace(0, len(run.train[0]) - 1, 12, dtype=int)]
    rng = np.random.default_rng(run.options.seed)
    save_augmentation(images, [run.augmentation(images, rng) for _ in range(VARIANTS)], path)
