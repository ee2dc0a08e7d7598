"""The training loop, and the evaluation of a classifier."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..data import batches
from ..extras import require
from ..nn import Module, softmax_cross_entropy
from ..optim import Optimiser
from ..tensor import Tensor, no_grad
from .history import Epoch

Examples = tuple[np.ndarray, np.ndarray]
"""Inputs and labels, one entry per example along the first axis."""

EVALUATION_BATCH = 1000


class TrainingError(RuntimeError):
    """Training that cannot go on; the message says where and what to change."""


def fit(
    model: Module,
    train: Examples,
    validation: Examples,
    optimiser: Optimiser,
    *,
    epochs: int,
    batch_size: int,
    rng: np.random.Generator,
    prepare: Callable[[np.ndarray], Any] = np.asarray,
    on_epoch: Callable[[Epoch], Any] | None = None,
) -> list[Epoch]:
    """Train a classifier by minimising softmax cross-entropy plus the model's penalties.

    Parameters
    ----------
    model
        Gives logits of shape (batch, classes).
    train, validation
        ``(inputs, integer labels)``.
    optimiser
        Over the model's parameters.
    epochs, batch_size
        Passes over the training data, and examples in a step.
    rng
        Draws the order of the examples.
    prepare
        Applied to each batch of inputs, such as scaling bytes to floats.
    on_epoch
        Called with each finished :class:`Epoch`.

    Returns
    -------
    list of Epoch
        Losses and accuracies; those of training are means over the epoch, dropout active.

    Raises
    ------
    TrainingError
        If the loss is no longer finite.
    """
    history: list[Epoch] = []
    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        rate = optimiser.learning_rate
        model.train()
        loss, accuracy = _train_epoch(model, train, optimiser, batch_size, rng, prepare, f"epoch {epoch}/{epochs}")
        validation_loss, validation_accuracy = evaluate(model, validation, prepare)
        seconds = time.perf_counter() - started
        history.append(Epoch(epoch, loss, accuracy, validation_loss, validation_accuracy, rate, seconds))
        if on_epoch is not None:
            on_epoch(history[-1])
    return history


def _train_epoch(
    model: Module,
    train: Examples,
    optimiser: Optimiser,
    batch_size: int,
    rng: np.random.Generator,
    prepare: Callable[[np.ndarray], Any],
    title: str,
) -> tuple[float, float]:
    """Mean loss and accuracy over one pass, with a progress bar where a person is watching."""
    count, total_loss, correct = 0, 0.0, 0
    with require("tqdm", "the progress bar").tqdm(
        total=len(train[1]), desc=title, unit="img", disable=None, leave=False
    ) as bar:
        for inputs, labels in batches(*train, batch_size, rng):
            loss, logits = train_step(model, optimiser, prepare(inputs), labels)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss became {loss} in step {optimiser.steps} ({title}); lower the learning rate, "
                    "or look for extreme values in the data"
                )
            count += len(labels)
            total_loss += loss * len(labels)
            correct += int((logits.argmax(axis=-1) == labels).sum())
            bar.update(len(labels))
            bar.set_postfix(loss=f"{total_loss / count:.4f}", accuracy=f"{correct / count:.4f}", refresh=False)
    return total_loss / count, correct / count


def train_step(model: Module, optimiser: Optimiser, inputs: Any, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """One update; returns the batch's cross-entropy, without penalties, and its logits."""
    optimiser.zero_grad()
    logits = model(inputs)
    loss = softmax_cross_entropy(logits, labels)
    total: Tensor = loss + model.penalty()
    total.backward()
    optimiser.step()
    return loss.item(), logits.numpy()


@no_grad()
def predict(model: Module, inputs: np.ndarray, prepare: Callable[[np.ndarray], Any] = np.asarray) -> np.ndarray:
    """Logits of all inputs, in evaluation mode, a limited number at a time; the mode is restored afterwards."""
    training = model.training
    model.eval()
    try:
        parts = [
            model(prepare(inputs[start : start + EVALUATION_BATCH])).numpy()
            for start in range(0, len(inputs), EVALUATION_BATCH)
        ]
    finally:
        model.train(training)
    return np.concatenate(parts)


def evaluate(
    model: Module, examples: Examples, prepare: Callable[[np.ndarray], Any] = np.asarray
) -> tuple[float, float]:
    """Mean cross-entropy in nats, without penalties, and accuracy, in evaluation mode."""
    inputs, labels = examples
    logits = predict(model, inputs, prepare)
    return float(softmax_cross_entropy(logits, labels)), float((logits.argmax(axis=-1) == labels).mean())
