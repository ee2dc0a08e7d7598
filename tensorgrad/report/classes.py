"""How well each class is told from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .figure import saved_figure


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts with the true class along the first axis and the predicted one along the second.

    >>> import numpy as np
    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)
    array([[1, 1],
           [0, 1]])
    """
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


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
    with saved_figure(path, 7.5, 6.5) as figure:
        axes = figure.subplots()
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(matrix.shape):
            if matrix[row, column]:
                colour = "white" if share[row, column] > 0.5 else "black"
                axes.text(column, row, matrix[row, column], ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
        axes.set(xlabel="predicted", ylabel="true")
