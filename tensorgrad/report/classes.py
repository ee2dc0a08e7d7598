"""How well each class is told from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path

import numpy as np

from .figure import saved_figure
from .text import printable

LONGEST_NAME = 24
"""Characters of a class name that a picture shows."""

LARGEST_WRITTEN = 40
"""Classes up to which a confusion matrix is labelled and its counts are written."""


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts with the true class along the first axis and the predicted one along the second.

    Parameters
    ----------
    labels, predicted
        Arrays of the same shape of integers of any dtype, from 0 to ``classes - 1``.
    classes
        The number of classes.

    Returns
    -------
    ndarray
        Integers of shape (classes, classes).

    Raises
    ------
    TypeError
        If labels are not integers.
    ValueError
        If the shapes differ, or a label is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    classes = index(classes)
    labels, predicted = _class_numbers("labels", labels, classes), _class_numbers("predicted", predicted, classes)
    if labels.shape != predicted.shape:
        raise ValueError(
            f"confusion_matrix: labels of shape {labels.shape}, predicted of shape {predicted.shape}; "
            "each label needs one prediction"
        )
    return np.bincount(np.ravel(labels * classes + predicted), minlength=classes**2).reshape(classes, classes)


def _class_numbers(name: str, values: np.ndarray, classes: int) -> np.ndarray:
    """``values`` in the platform's integers, whose range is wide enough for the product of two class numbers."""
    values = np.asarray(values)
    if values.dtype.kind not in "iu":
        remedy = "logits.argmax(axis=1)" if values.ndim > 1 else f"{name}.astype(int)"
        raise TypeError(f"confusion_matrix: {name} must be integers, got {values.dtype}; pass {remedy}")
    wrong = (values < 0) | (values >= classes)
    if wrong.any():
        raise ValueError(
            f"confusion_matrix: {name} must lie in 0..{classes - 1}, got {values[wrong][0]}; leave those out that "
            f"have no class, or pass classes={max(int(values.max()) + 1, classes)}"
        )
    return values.astype(np.intp)


@dataclass(frozen=True)
class ClassScore:
    """Precision (right among those predicted) and recall (found among those that are) of one class."""

    name: str
    precision: float
    recall: float
    count: int


def class_scores(matrix: np.ndarray, names: Sequence[str]) -> list[ClassScore]:
    """Scores of every class, from a confusion matrix; 0 where nothing was predicted or is there."""
    right = np.diag(matrix)
    precision = right / np.maximum(matrix.sum(axis=0), 1)
    recall = right / np.maximum(matrix.sum(axis=1), 1)
    return [
        ClassScore(name, float(precision[i]), float(recall[i]), int(matrix[i].sum())) for i, name in enumerate(names)
    ]


def save_confusion(matrix: np.ndarray, names: Sequence[str], path: str | Path) -> None:
    """Draw a confusion matrix, coloured by the share of each true class, into a PNG file."""
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    labels = [printable(name, LONGEST_NAME) for name in names]
    side = 4 + 0.3 * min(max(len(labels), 3), LARGEST_WRITTEN)
    with saved_figure(path, side + 0.5, side) as figure:
        axes = figure.subplots()
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.argwhere(matrix) if len(labels) <= LARGEST_WRITTEN else ():
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, matrix[row, column], ha="center", va="center", fontsize=8, color=colour)
        if len(labels) <= LARGEST_WRITTEN:
            axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", fontsize=8)
            axes.set_yticks(range(len(labels)), labels, fontsize=8)
        axes.set(xlabel="predicted", ylabel="true")
