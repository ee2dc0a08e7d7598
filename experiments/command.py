"""What every training script does: read the options, train, report. The heavy imports wait until they are needed."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Experiment:
    """A configuration: which data, which network, and the recipe's defaults."""

    name: str
    purpose: str
    data_help: str
    image_shape: tuple[int, ...]
    load: Callable[[Any], Any]
    network: Callable[[Any], Any]
    epochs: int
    lr: float


def main(experiment: Experiment, arguments: list[str] | None = None) -> int:
    """Run the script; returns its exit code: 0, or 2 with one sentence on what is wrong."""
    options = parser(experiment).parse_args(arguments)
    from tensorgrad.data import DataError
    from tensorgrad.extras import MissingExtra
    from tensorgrad.training import TrainingError

    try:
        run(experiment, options)
    except (DataError, MissingExtra, TrainingError) as error:
        return _failed(experiment, str(error))
    except OSError as error:
        return _failed(experiment, f"{error.filename or 'input/output'}: {error.strerror or error}")
    return 0


def _failed(experiment: Experiment, sentence: str) -> int:
    print(f"experiments.{experiment.name}: error: {sentence}", file=sys.stderr)
    return 2


def parser(experiment: Experiment) -> argparse.ArgumentParser:
    """The command-line options, the same for every experiment."""
    result = argparse.ArgumentParser(
        prog=f"python -m experiments.{experiment.name}",
        description=experiment.purpose,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    result.add_argument("--data-dir", type=Path, metavar="DIR", help=experiment.data_help, default=argparse.SUPPRESS)
    result.add_argument(
        "--epochs",
        type=_positive_int,
        metavar="N",
        help=f"passes over the data (default: {experiment.epochs}, or as many as make {LEAST_STEPS} steps)",
        default=argparse.SUPPRESS,
    )
    result.add_argument("--batch-size", type=_positive_int, default=128, metavar="N", help="images in a step")
    result.add_argument("--lr", type=_positive, default=experiment.lr, metavar="X", help="learning rate at the start")
    result.add_argument("--seed", type=_seed, default=0, metavar="N", help="of weights, order, dropout and split")
    result.add_argument(
        "--out", type=Path, default=Path("runs") / experiment.name, metavar="DIR", help="for the results"
    )
    result.set_defaults(data_dir=None, epochs=None)
    return result


def _positive_int(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be positive and finite, got {text}")
    return value


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {value}")
    return value


VALIDATION_FRACTION = 0.1
LEAST_STEPS = 600
"""By default a small set is passed over more often: that many steps are needed to learn anything."""


def run(experiment: Experiment, options: argparse.Namespace) -> None:
    """Load, split, train, test, and write the results to the output folder."""
    import numpy as np

    from tensorgrad.data import DataError, as_inputs, stratified_split
    from tensorgrad.optim import Adam, cosine_decay
    from tensorgrad.report import save_curves
    from tensorgrad.training import evaluate, fit, save_history

    started = time.perf_counter()
    _prepare_folder(options.out)
    dataset = experiment.load(options.data_dir)
    if dataset.train_images.shape[1:] != experiment.image_shape:
        raise DataError(
            f"{dataset.name}: images of shape {dataset.train_images.shape[1:]}, "
            f"the network takes {experiment.image_shape}; resize them"
        )
    rng = np.random.default_rng(options.seed)
    kept, held_out = stratified_split(dataset.train_labels, VALIDATION_FRACTION, rng)
    train = dataset.train_images[kept], dataset.train_labels[kept]
    validation = dataset.train_images[held_out], dataset.train_labels[held_out]
    model = experiment.network(rng)
    steps_per_epoch = -(-len(kept) // options.batch_size)
    epochs = options.epochs or max(experiment.epochs, -(-LEAST_STEPS // steps_per_epoch))
    optimiser = Adam(model.parameters(), lr=cosine_decay(options.lr, epochs * steps_per_epoch))
    count = sum(parameter.size for parameter in model.parameters())
    sizes = f"{len(kept)} training, {len(held_out)} validation, {len(dataset.test_labels)} test images"
    print(f"data: {dataset.name}, {sizes}")
    print(f"network of {count:,} parameters: {model!r}")

    history = fit(
        model,
        train,
        validation,
        optimiser,
        epochs=epochs,
        batch_size=options.batch_size,
        rng=rng,
        prepare=as_inputs,
        on_epoch=lambda epoch: print(epoch, flush=True),
    )
    test_loss, test_accuracy = evaluate(model, (dataset.test_images, dataset.test_labels), as_inputs)

    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    metrics = {
        "test_accuracy": test_accuracy,
        "test_loss": test_loss,
        "validation_accuracy": history[-1].validation_accuracy,
        "dataset": dataset.name,
        "epochs": epochs,
        "seconds": round(time.perf_counter() - started, 2),
        "seed": options.seed,
        "parameters": count,
        "settings": settings,
        "environment": {"python": platform.python_version(), "numpy": np.__version__, "cpus": os.cpu_count()},
    }
    save_history(history, options.out / "history.csv")
    save_curves(history, options.out / "curves.png", f"{experiment.name}: {dataset.name}")
    _save_json(metrics, options.out / "metrics.json")
    print(f"results in {options.out}: metrics.json, history.csv, curves.png")
    print(f"test accuracy {test_accuracy:.4f}")


def _prepare_folder(folder: Path) -> None:
    """Make the folder and try it out now, rather than after the training."""
    from tensorgrad.files import replacing

    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / ".writable") as temporary:
        temporary.write_text("")
    (folder / ".writable").unlink()


def _save_json(content: dict[str, Any], path: Path) -> None:
    from tensorgrad.files import replacing

    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
