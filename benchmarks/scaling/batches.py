"""What large global batches do to accuracy: digits, trained for as many epochs with each."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.frameworks import TensorGrad
from benchmarks.recipes import Recipe, sizes_of
from benchmarks.runs import arrays_of
from tensorgrad.data import load_mnist
from tensorgrad.optim import SGD, cosine_decay, warm_up
from tensorgrad.training import TrainingError, fit

NETWORK, EPOCHS, BATCH, RATE, MOMENTUM = "784-512-10", 5, 128, 0.02, 0.9


class Training(NamedTuple):
    """A global batch, whether the learning rate is scaled with it, and whether it is warmed up in the first epoch."""

    batch: int
    scales: bool = False
    warms: bool = False


TRAININGS = [
    Training(BATCH),
    *(Training(batch, *how) for batch in (1024, 8192) for how in ((False, False), (True, False), (True, True))),
]


def accuracies(data_dir: Path | None, epochs: int = EPOCHS) -> list[dict[str, Any]]:
    """Test accuracy after each of the trainings, which do not depend on the number of ranks."""
    arrays = arrays_of(load_mnist(None if data_dir is None else data_dir / "mnist"))
    train, test = (
        (
            ((arrays[f"{part}_images"].astype(np.float32) - arrays["mean"]) / arrays["deviation"]).reshape(-1, 28 * 28),
            arrays[f"{part}_labels"],
        )
        for part in ("train", "test")
    )
    found = []
    for training in TRAININGS:
        accuracy = _accuracy(training, train, test, epochs)
        print(f"{datetime.datetime.now():%H:%M:%S} {training}: {accuracy}", file=sys.stderr, flush=True)
        found.append({**training._asdict(), "accuracy": accuracy})
    return found


def _accuracy(training: Training, train: Any, test: Any, epochs: int) -> float | None:
    """After the last epoch; None where the loss became infinite."""
    model = TensorGrad(compiled=True, fast=True).model(sizes_of(NETWORK), Recipe(0.1, 0.0))
    steps = -(-len(train[1]) // training.batch)
    rate = cosine_decay(RATE * training.batch / BATCH if training.scales else RATE, epochs * steps)
    optimiser = SGD(model.parameters(), lr=warm_up(rate, steps) if training.warms else rate, momentum=MOMENTUM)
    try:
        history = fit(model, train, test, optimiser, epochs=epochs, batch_size=training.batch, rng=0, quiet=True)
    except TrainingError:
        return None
    return history[-1].validation_accuracy
