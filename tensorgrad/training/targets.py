"""Targets as a loss takes them: mapped where what is meant is plain, else refused with a remedy that works."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Tensor, describe

_NUMBERED = "classes, labels = np.unique(labels, return_inverse=True)"
_BEFORE = "(before the examples are split)"
_REGRESSION = "this loss is for classes: to predict numbers, take loss='mse'"
_FEW_CLASSES = 20
"""Whole floats over a longer range are rather numbers than classes."""

_ROWS = 1e-2
"""How far the sum of probabilities may be from 1."""


# What each kind of loss takes


def classes(function: str, name: str, labels: np.ndarray) -> np.ndarray:
    """Integers from 0 on; truth values are taken for 0 and 1."""
    if labels.dtype.kind == "b" and not _are_one_hot(labels):
        return labels.astype(np.int64)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{function}: {name} must have integer labels, got {describe(labels)}; {_as_integers(labels)}")
    if (lowest := labels.min()) < 0:
        raise ValueError(
            f"{function}: {name} must have labels from 0 on, got {lowest} {position(labels == lowest)}; to number the "
            f"classes, {_NUMBERED} {_BEFORE}"
        )
    return labels


def probabilities(function: str, name: str, labels: np.ndarray) -> np.ndarray:
    """Truth values, 0 and 1, or numbers in between."""
    labels = _real(function, name, labels)
    wrong = ~((labels >= 0) & (labels <= 1))
    if not wrong.any():
        return labels
    found = np.unique(labels)
    remedy = f"of two classes take the second as 1, {_NUMBERED} {_BEFORE}"
    if np.array_equal(found, [-1, 1]):
        remedy = "of -1 and 1 take labels > 0"
    elif len(found) > 2:
        remedy = "of more classes than two take loss='softmax_cross_entropy' and an output for each class"
    raise ValueError(f"{function}: {name} must have labels in 0..1, got {labels[wrong][0]} {position(wrong)}; {remedy}")


def signs(function: str, name: str, labels: np.ndarray) -> np.ndarray:
    """-1 and 1; truth values are taken for them."""
    if labels.dtype.kind == "b":
        return labels.astype(np.int8) * 2 - 1
    labels = _real(function, name, labels)
    wrong = np.abs(labels) != 1
    if wrong.any():
        positive = "labels == 1" if ((labels == 0) | (labels == 1)).all() else "labels > 0"
        raise ValueError(
            f"{function}: {name} must have labels -1 and 1, or truth values, got {labels[wrong][0]} {position(wrong)}; "
            f"take {positive} if that is what is meant"
        )
    return labels


def numbers(function: str, name: str, labels: np.ndarray) -> np.ndarray:
    """Any finite real numbers."""
    labels = _real(function, name, labels)
    if labels.dtype.kind == "f" and not (finite := np.isfinite(labels)).all():
        raise ValueError(
            f"{function}: {name} must have finite labels, got {labels[~finite][0]} {position(~finite)}; leave those "
            f"examples out, {_keep('np.isfinite(labels)', 'all', labels)}"
        )
    return labels


def distributions(function: str, name: str, labels: np.ndarray) -> np.ndarray:
    """Rows of probabilities, one for each class."""
    labels = _real(function, name, labels)
    if labels.dtype.kind != "f":
        remedy = "of integers from 0 on take np.eye(labels.max() + 1)[labels]" if labels.ndim == 1 else "take floats"
        raise TypeError(f"{function}: {name} must have rows of probabilities, got {describe(labels)}; {remedy}")
    if labels.ndim < 2 or not (labels.min() >= 0 and np.abs(labels.sum(axis=-1) - 1).max() <= _ROWS):
        raise ValueError(
            f"{function}: {name} must have rows of probabilities that are not negative and sum to 1, got "
            f"{describe(labels)}; of rows that are not negative take labels / labels.sum(axis=-1, keepdims=True)"
        )
    return labels


def classes_or_distributions(function: str, name: str, labels: np.ndarray) -> np.ndarray:
    """Integers from 0 on, or rows of probabilities."""
    is_rows = labels.dtype.kind == "f" and labels.ndim > 1
    return (distributions if is_rows else classes)(function, name, labels)


# What fits the outputs of a network


def aligned(outputs: Any, targets: Any) -> Any:
    """Targets with a last axis of length 1, where the outputs have one: (n,) are compared with (n, 1) one by one."""
    is_missing = outputs.ndim == targets.ndim + 1 and outputs.shape[-1] == 1
    return targets[..., None] if is_missing else targets


def check_floats(function: str, outputs: object, expected: str) -> None:
    """Raise unless a network gives floats, one row an example."""
    if not isinstance(outputs, (Tensor, np.ndarray)) or not outputs.ndim or outputs.dtype.kind != "f":
        came = describe(outputs) if hasattr(outputs, "dtype") else type(outputs).__name__
        raise TypeError(f"{function}: the network must give {expected}, got {came}")


def check_classes(function: str, name: str, logits: Any, labels: np.ndarray) -> None:
    """Raise unless a network that gives ``logits`` has a class for each of ``labels``, be they of more examples."""
    check_floats(function, logits, "logits, floats of shape (examples, classes)")
    outputs = logits.shape[-1]
    if labels.ndim != logits.ndim - 1:
        if labels.ndim == logits.ndim and labels.shape[-1] == 1:
            remedy = "take labels[..., 0]"
        elif labels.ndim == logits.ndim and (labels.sum(axis=-1) == 1).all():
            remedy = "of rows with a one for the class take labels.argmax(axis=-1)"
        elif labels.shape[1:] == logits.shape[1:] and labels.max() == 1:
            remedy = "for several labels at once take loss='binary_cross_entropy_with_logits'"
        else:
            remedy = "make the network's output, or the labels, fit"
        raise ValueError(
            f"{function}: {name} must have a label for each row of logits, which are of shape {logits.shape}, got "
            f"labels of shape {labels.shape}; {remedy}"
        )
    if (highest := labels.max()) >= outputs:
        binary = ", or take loss='binary_cross_entropy_with_logits'" if outputs == highest == 1 else ""
        raise ValueError(
            f"{function}: {name} must have labels in 0..{outputs - 1}, as the network gives {outputs} "
            f"logit{'s' * (outputs > 1)}, got {highest} {position(labels == highest)}; give its last layer "
            f"{int(highest) + 1} outputs{binary}, or number the classes from 0 on, {_NUMBERED} {_BEFORE}"
        )


def check_same_shape(function: str, name: str, outputs: Any, labels: np.ndarray) -> None:
    """Raise unless a network gives a number for each of ``labels``, be they of more examples."""
    check_floats(function, outputs, "floats, one row an example")
    wanted = aligned(outputs, labels).shape[1:]
    if (outputs.ndim, outputs.shape[1:]) == (len(wanted) + 1, wanted):
        return
    remedy = "make the network's output, or the labels, fit"
    if labels.ndim == outputs.ndim == 2:
        remedy = f"give its last layer {labels.shape[-1]} output{'s' * (labels.shape[-1] > 1)}"
    elif labels.ndim == 1 and outputs.ndim == 2:
        remedy = "give its last layer 1 output (for classes, take loss='softmax_cross_entropy')"
    elif labels.ndim == outputs.ndim + 1 and labels.shape[-1] == 1:
        remedy = "take labels[..., 0]"
    raise ValueError(
        f"{function}: {name} must have a label for each output of the network, which are of shape {outputs.shape}, got "
        f"labels of shape {labels.shape}; {remedy}"
    )


def check_classes_or_same_shape(function: str, name: str, outputs: object, labels: np.ndarray) -> None:
    (check_same_shape if labels.dtype.kind == "f" else check_classes)(function, name, outputs, labels)


def position(wrong: np.ndarray) -> str:
    found = tuple(int(i) for i in np.unravel_index(wrong.argmax(), wrong.shape))
    return f"at position {found[0] if len(found) == 1 else found}"


# Remedies, each of which works as it stands


def _real(function: str, name: str, labels: np.ndarray) -> np.ndarray:
    """Labels that are real numbers or truth values, not NaN."""
    if labels.dtype.kind not in "biuf":
        raise TypeError(
            f"{function}: {name} must have numbers as labels, got {describe(labels)}; {_as_numbers(labels)}"
        )
    if labels.dtype.kind == "f" and (missing := np.isnan(labels)).any():
        raise ValueError(
            f"{function}: {name} must have a number for each label, got NaN {position(missing)}; leave those examples "
            f"out, {_keep('~np.isnan(labels)', 'any', labels)}"
        )
    return labels


def _keep(condition: str, reduction: str, labels: np.ndarray) -> str:
    return f"keep = {condition}" + ("" if labels.ndim == 1 else f".{reduction}(axis={tuple(range(1, labels.ndim))})")


def _as_numbers(labels: np.ndarray) -> str:
    if labels.dtype.kind == "c":
        return "take labels.real"
    if labels.dtype.kind in "Mm":
        return f"take labels.astype(int), or number the classes, {_NUMBERED} {_BEFORE}"
    try:
        labels.astype(float)
    except (TypeError, ValueError):
        return _number_classes(labels)
    return "convert them, labels.astype(float)"


def _as_integers(labels: np.ndarray) -> str:
    """How to make integer labels of these."""
    kind = labels.dtype.kind
    if kind in "bf":
        if np.isnan(labels).any():
            return f"some are NaN: leave those examples out, {_keep('~np.isnan(labels)', 'any', labels)}"
        if _are_one_hot(labels):
            return "of rows with a one for the class, or probabilities, take labels.argmax(axis=-1)"
        if not ((labels == np.floor(labels)).all() and np.isfinite(labels).all()):
            return _REGRESSION
        several = kind == "f" and labels.max() - labels.min() >= _FEW_CLASSES
        return f"{_REGRESSION}; or convert them, labels.astype(int)" if several else "convert them, labels.astype(int)"
    return _REGRESSION if kind == "c" else _number_classes(labels)


def _are_one_hot(labels: np.ndarray) -> bool:
    """Whether these are rows with a one for the class, or of probabilities."""
    return labels.ndim > 1 and labels.shape[-1] > 1 and bool((np.abs(labels.sum(axis=-1) - 1) < _ROWS).all())


def _number_classes(labels: np.ndarray) -> str:
    if labels.dtype.kind == "O":
        try:
            np.unique(labels)
        except TypeError:  # not to be sorted
            return f"labels = labels.astype(str), then {_NUMBERED} {_BEFORE}"
    return f"number the classes, {_NUMBERED} {_BEFORE}"
