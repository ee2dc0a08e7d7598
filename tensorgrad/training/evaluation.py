"""What a trained network makes of examples."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from ..core import Tensor
from ..core.context import no_grad
from ..nn import Module, softmax_cross_entropy
from .examples import Examples, check_count, check_logits, check_numbers, checked_examples, part_of

EVALUATION_BATCH = 1000


@no_grad()
def predict(model: Module, inputs: np.ndarray, prepare: Callable[[np.ndarray], Any] = np.asarray) -> np.ndarray:
    """Logits of all inputs, in evaluation mode, a limited number at a time; the mode is restored afterwards.

    ``prepare`` gets copies, and may write into them.
    """
    if not len(inputs):
        raise ValueError("predict: takes one input at least, got none")
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    parts = []
    try:
        for start in range(0, len(inputs), EVALUATION_BATCH):
            part = part_of(inputs, start, EVALUATION_BATCH)
            count = len(part)
            prepared = prepare(part)
            check_count("predict", "prepare", prepared, count)
            check_numbers("predict", prepared)
            logits = model(prepared)
            parts.append(logits.numpy() if isinstance(logits, Tensor) else np.asarray(logits))
    finally:
        for module, training in modes:
            module.training = training
    return np.concatenate(parts)


def evaluate(
    model: Module, examples: Examples, prepare: Callable[[np.ndarray], Any] = np.asarray
) -> tuple[float, float]:
    """Mean cross-entropy in nats, without penalties, and accuracy, in evaluation mode."""
    inputs, labels = checked_examples("evaluate", "examples", examples)
    logits = predict(model, inputs, prepare)
    check_logits("evaluate", "examples", logits, labels)
    return float(softmax_cross_entropy(logits, labels)), float((logits.argmax(axis=-1) == labels).mean())
