"""How well each class is told from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path

import numpy as np

from .figure import saved_figure
from .text import printable

LONGEST_NAME, LONGEST_WORDS = 24, 60
"""Characters of a class name that a picture shows, and a page."""

SMALL_WORDS = ("and", "of", "the")

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

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        return 2 * self.precision * self.recall / ((self.precision + self.recall) or 1)


def class_scores(matrix: np.ndarray, names: Sequence[str]) -> list[ClassScore]:
    """Scores of every class, from a confusion matrix; 0 where nothing was predicted or is there."""
    right = np.diag(matrix)
    precision = right / np.maximum(matrix.sum(axis=0), 1)
    recall = right / np.maximum(matrix.sum(axis=1), 1)
    return [
        ClassScore(name, float(precision[i]), float(recall[i]), int(matrix[i].sum())) for i, name in enumerate(names)
    ]


def confusions(matrix: np.ndarray, count: int) -> list[tuple[int, int, int]]:
    """The classes most often taken for others: the true one, the predicted one, and how often.

    >>> confusions(np.array([[5, 2], [3, 9]]), 8)
    [(1, 0, 3), (0, 1, 2)]
    """
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:count]
    pairs = zip(*(places.tolist() for places in np.unravel_index(order, wrong.shape)))
    return [(is_, said, int(wrong[is_, said])) for is_, said in pairs if wrong[is_, said]]


@dataclass(frozen=True)
class Cell:
    """A count of a confusion matrix: how deep its colour is, from 0 to 1, and what it says in words."""

    count: int
    is_right: bool
    depth: float
    text: str


def confusion_cells(matrix: np.ndarray, names: Sequence[str]) -> list[list[Cell]]:
    """A confusion matrix for the page: coloured by the share of the true class, mistakes more strongly."""
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    depth = np.where(np.eye(len(matrix), dtype=bool), share, 0.1 + 0.9 * np.sqrt(share))
    return [
        [Cell(n, i == j, float(depth[i, j]), f"is {names[i]}, said {names[j]}: {n:,}") for j, n in enumerate(row)]
        for i, row in enumerate(matrix.tolist())
    ]


def class_words(names: Sequence[str]) -> list[str]:
    """Names of classes as people write them, as far as they can still be told apart.

    >>> class_words(["krusty_the_clown", "5", "T-shirt", ""])
    ['Krusty the Clown', '5', 'T-shirt', '(no name)']
    >>> class_words(["a_b", "A B"])
    ['a_b', 'A B']
    """
    found = [_in_words(name) for name in names]
    chosen = [word if found.count(word) == 1 else name or "(no name)" for word, name in zip(found, names)]
    return [printable(name, LONGEST_WORDS) for name in chosen]


def _in_words(name: str) -> str:
    words = name.replace("_", " ").split()
    if "_" not in name or not words:
        return name or "(no name)"
    if name.islower():
        words = [word if i and word in SMALL_WORDS else word.capitalize() for i, word in enumerate(words)]
    return " ".join(words)


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
