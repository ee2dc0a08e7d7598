"""Inputs and labels as a user gives them: right, or refused in one sentence before anything is computed."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ..core import Tensor, describe

Examples = tuple[np.ndarray, np.ndarray]
"""Inputs and labels, one entry per example along the first axis."""

_NUMBERED = "classes, labels = np.unique(labels, return_inverse=True)"
_REGRESSION = (
    "these losses are for classes: to predict numbers, write the loop of a few lines yourself, with a loss such as "
    "tensorgrad.nn.mse"
)


def checked_examples(function: str, name: str, examples: object) -> Examples:
    """The pair of arrays that ``examples`` are, labels in the machine's byte order.

    Raises
    ------
    TypeError, ValueError
        If they are no two arrays of one length, or the labels are no integers from 0 on; with a remedy that fits.
    """
    pair: Any = examples if isinstance(examples, (tuple, list)) and len(examples) == 2 else (None, None)
    if not all(isinstance(part, np.ndarray) and part.ndim for part in pair):
        came = type(examples).__name__ if pair[0] is None else " and ".join(type(part).__name__ for part in pair)
        raise TypeError(
            f"{function}: {name} must be two arrays, (inputs, labels), got {came}; np.asarray makes them of tables "
            "and lists"
        )
    inputs, labels = pair
    for kind, part in (("inputs", inputs), ("labels", labels)):
        if isinstance(part, np.ma.MaskedArray):
            raise TypeError(
                f"{function}: {name} must have plain {kind}, got a masked array; fill it, {kind}.filled(0), or leave "
                f"the masked examples out and take {kind}.data"
            )
    if len(inputs) != len(labels) or not labels.size:
        raise ValueError(
            f"{function}: {name} must have a label for each input, one at least, got {len(inputs)} inputs and "
            f"{len(labels)} labels{' of shape ' + str(labels.shape) if len(labels) and not labels.size else ''}"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{function}: {name} must have integer labels, got {describe(labels)}; {_as_integers(labels)}")
    if (lowest := labels.min()) < 0:
        raise ValueError(
            f"{function}: {name} must have labels from 0 on, got {lowest} {_position(labels == lowest)}; to number the "
            f"classes, {_NUMBERED} (before the examples are split)"
        )
    return inputs, labels.astype(labels.dtype.newbyteorder("="), copy=False)


def check_logits(function: str, name: str, logits: object, labels: np.ndarray) -> None:
    """Raise unless a network that gives ``logits`` has a class for each of ``labels``, be they of more examples."""
    if not isinstance(logits, (Tensor, np.ndarray)) or not logits.ndim or logits.dtype.kind != "f":
        came = describe(logits) if hasattr(logits, "dtype") else type(logits).__name__
        raise TypeError(f"{function}: the network must give logits, floats of shape (examples, classes), got {came}")
    classes = logits.shape[-1]
    if labels.ndim != logits.ndim - 1:
        if labels.ndim == logits.ndim and labels.shape[-1] == 1:
            remedy = "take labels[..., 0]"
        elif labels.ndim == logits.ndim and (labels.sum(axis=-1) == 1).all():
            remedy = "of rows with a one for the class take labels.argmax(axis=-1)"
        else:
            remedy = "make the network's output, or the labels, fit"
        raise ValueError(
            f"{function}: {name} must have a label for each row of logits, which are of shape {logits.shape}, got "
            f"labels of shape {labels.shape}; {remedy}"
        )
    if (highest := labels.max()) >= classes:
        raise ValueError(
            f"{function}: {name} must have labels in 0..{classes - 1}, as the network gives {classes} "
            f"logit{'s' * (classes > 1)}, got {highest} {_position(labels == highest)}; give its last layer "
            f"{int(highest) + 1} outputs, or number the classes from 0 on, {_NUMBERED} (before the examples are split)"
        )


def check_count(function: str, source: str, inputs: object, count: int) -> None:
    """Raise if a batch, as it comes from a user's function, is not one of ``count`` inputs."""
    if inputs is None:
        raise TypeError(f"{function}: {source}= gives None; let it return the inputs")
    if isinstance(inputs, (np.ndarray, Tensor)) and (came := inputs.shape[0] if inputs.ndim else 0) != count:
        raise ValueError(
            f"{function}: {source}= gives {came} inputs for {count} examples; let it return one for each, along the "
            "first axis"
        )


def check_numbers(function: str, inputs: object) -> None:
    """Raise if a network cannot compute with a batch of inputs, as they are prepared."""
    if not isinstance(inputs, np.ndarray) or inputs.dtype.kind in "fiubc":
        return
    try:
        inputs.astype(np.float32)
        remedy = "convert them, inputs.astype(np.float32)"
    except (TypeError, ValueError):
        remedy = "turn text and other objects into numbers first, or in prepare="
    raise TypeError(f"{function}: the network's inputs must be numbers, got {describe(inputs)}; {remedy}")


def part_of(inputs: Any, start: int, size: int) -> Any:
    """A copy of some inputs: what ``prepare`` or a network writes into it does not reach the caller's array."""
    return copy.copy(inputs[start : start + size])


def not_finite(inputs: object) -> tuple[tuple[int, ...], float] | None:
    """Where a batch is first infinite or NaN, and which of the two; None where it is not."""
    array = np.asarray(inputs.numpy() if isinstance(inputs, Tensor) else inputs)
    bad = ~np.isfinite(array)
    if not bad.any():
        return None
    position = tuple(int(i) for i in np.unravel_index(bad.argmax(), bad.shape))
    return position, array[position]


def _position(wrong: np.ndarray) -> str:
    position = tuple(int(i) for i in np.unravel_index(wrong.argmax(), wrong.shape))
    return f"at position {position[0] if len(position) == 1 else position}"


def _as_integers(labels: np.ndarray) -> str:
    """How to make integer labels of these; works as it stands."""
    kind = labels.dtype.kind
    if kind in "bf":
        if np.isnan(labels).any():
            return "some are NaN: leave those examples out, keep = ~np.isnan(labels)"
        if labels.ndim > 1 and labels.shape[-1] > 1 and (np.abs(labels.sum(axis=-1) - 1) < 1e-2).all():
            return "of rows with a one for the class, or probabilities, take labels.argmax(axis=-1)"
        if (labels == np.floor(labels)).all() and np.isfinite(labels).all():
            return "convert them, labels.astype(int)"
        return _REGRESSION
    if kind == "c":
        return _REGRESSION
    if kind == "O":
        try:
            np.unique(labels)
        except TypeError:  # not to be sorted
            return f"labels = labels.astype(str), then {_NUMBERED} (before the examples are split)"
    return f"number the classes, {_NUMBERED} (before the examples are split)"
