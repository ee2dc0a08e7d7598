"""The results of a training."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

import tensorgrad as tg

from ..training import Epoch, Monitor, predict
from .preparation import Prepared
from .training import Trained


@dataclass(frozen=True)
class Result:
    """A tested network: the probabilities that it gives the test images' classes, and the figures to be kept."""

    prepared: Prepared
    history: list[Epoch]
    probabilities: np.ndarray
    metrics: dict[str, Any]


def assess(prepared: Prepared, trained: Trained) -> Result:
    """Test the network of the best epoch."""
    dataset, history = prepared.dataset, trained.history
    logits = predict(prepared.model, dataset.test_images, prepared.standardisation)
    best = Monitor(prepared.options.monitor).best(history)
    metrics = {
        "experiment": prepared.experiment.name,
        "test_accuracy": float((logits.argmax(axis=1) == dataset.test_labels).mean()),
        "test_loss": float(tg.softmax_cross_entropy(logits, dataset.test_labels)),
        "validation_accuracy": best.validation_accuracy,
        "best_epoch": best.epoch,
        "dataset": dataset.name,
        "epochs": len(history),
        "seconds": round(sum(row.seconds for row in history), 2),
        "seed": prepared.options.seed,
        "parameters": prepared.parameters,
        "stopped": None if trained.stopped is None else str(trained.stopped),
        "diverged": trained.diverged is not None,
        **({} if trained.ranks is None else {"ranks": trained.ranks}),
        "date": datetime.now().strftime("%Y-%m-%d %H:%M"),
        "settings": prepared.settings,
        "environment": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "tensorgrad": tg.__version__,
            "cpus": os.cpu_count(),
            "machine": platform.machine(),
        },
    }
    return Result(prepared, history, tg.softmax(logits), metrics)
