"""Inputs and labels as a user gives them: right, or refused in one sentence before anything is computed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Callable

import numpy as np

from .._pytree import tree_leaves, tree_map
from ..core import Tensor, describe
from ..data import Loader


@dataclass(frozen=True)
class Examples:
    """Inputs and targets: arrays, or containers of them, one entry per example along the first axis; and weights."""

    inputs: Any
    targets: Any
    weights: np.ndarray | None = None

    @property
    def count(self) -> int:
        return count_of(self.inputs)

    def chosen(self, indices: Any) -> Examples:
        """Copies of some of them."""
        return Examples(_taken(self.inputs, indices), *self.targets_of(indices))

    def targets_of(self, indices: Any) -> tuple[Any, np.ndarray | None]:
        """Copies of the targets and the weights of some of them."""
        weights = None if self.weights is None else self.weights[indices]
        return _taken(self.targets, indices), weights


def _taken(tree: Any, indices: Any) -> Any:
    """The entries of arrays at these indices; of a plain array by the function that is quickest with few of them."""
    return tree.take(indices, axis=0) if type(tree) is np.ndarray else mapped(itemgetter(indices), tree)


def leaves_of(tree: object) -> list[Any]:
    """``tree_leaves``, without the microseconds that it takes of an array."""
    return [tree] if isinstance(tree, _ARRAYS) else tree_leaves(tree)


def mapped(function: Callable[[Any], Any], tree: object) -> Any:
    """``tree_map``, without the microseconds that it takes of an array."""
    return function(tree) if isinstance(tree, _ARRAYS) else tree_map(function, tree)


_ARRAYS = (np.ndarray, Tensor)


def count_of(inputs: Any) -> int:
    """How many examples there are in an array, or in a container of arrays."""
    return len(leaves_of(inputs)[0] if _holds_arrays(inputs) else inputs)


def _holds_arrays(inputs: object) -> bool:
    """Whether inputs are a container of arrays, each with an entry for each example, or such an array itself."""
    leaves = leaves_of(inputs)
    return bool(leaves) and all(hasattr(leaf, "shape") for leaf in leaves)


def as_arrays(inputs: object) -> Any:
    """``np.asarray`` of inputs, or of each array in a container."""
    if isinstance(inputs, np.ndarray):
        return inputs
    return mapped(np.asarray, inputs) if _holds_arrays(inputs) else np.asarray(inputs)


def checked_examples(function: str, name: str, examples: Any) -> Examples:
    """What a user gives as ``examples``, with arrays in the machine's byte order for targets.

    Raises
    ------
    TypeError, ValueError
        If they are no inputs and targets of one length, in arrays; with a remedy that fits.
    """
    if _makes_examples(examples):
        examples = Loader(examples)
    if isinstance(examples, Loader):
        examples = examples, examples.labels
    is_given = isinstance(examples, (tuple, list)) and len(examples) in (2, 3)
    parts: Any = tuple(mapped(of_table, part) for part in examples[:2]) if is_given else (None, None)
    leaves = [leaves_of(part) for part in parts]
    if not all(found and all(map(_has_entries, found)) for found in leaves):
        came = type(examples).__name__ if parts[0] is None else " and ".join(type(part).__name__ for part in parts)
        remedy = (
            "np.asarray makes them of lists"
            if is_given
            else "pass them as a pair; tensorgrad.data.Loader takes examples that are made one by one"
        )
        raise TypeError(f"{function}: {name} must be two arrays, (inputs, labels), got {came}; {remedy}")
    for kind, found in zip(("inputs", "labels"), leaves):
        if any(isinstance(array, np.ma.MaskedArray) for array in found):
            raise TypeError(
                f"{function}: {name} must have plain {kind}, got a masked array; fill it, {kind}.filled(0), or leave "
                f"the masked examples out and take {kind}.data"
            )
    _check_lengths(function, name, *leaves)
    weights = _checked_weights(function, name, examples[2], len(leaves[0][0])) if len(examples) == 3 else None
    return Examples(parts[0], mapped(_in_own_byte_order, parts[1]), weights)


def of_table(leaf: Any) -> Any:
    """A frame, a series or a Tensor as an array; columns of several number types as one of all of them."""
    if isinstance(leaf, Tensor):
        return leaf.numpy()
    if not hasattr(leaf, "__array__") or isinstance(leaf, (np.ndarray, np.generic)):
        return leaf
    array = np.asarray(leaf)
    if array.dtype.kind == "O" and array.ndim == 2 and hasattr(leaf, "columns"):
        columns = [np.asarray(leaf[name]) for name in leaf.columns]
        if all(column.ndim == 1 and column.dtype.kind in "biuf" for column in columns):
            return np.stack(columns, axis=1)
    return array


def check_columns(function: str, train: object, validation: object) -> None:
    """Raise where frames have the same columns in another order, as columns are taken by their position."""
    for frame, other in zip(leaves_of(train), leaves_of(validation)):
        names, others = (list(getattr(each, "columns", ())) for each in (frame, other))
        if names != others and set(names) == set(others):
            i = next(i for i in range(len(names)) if names[i] != others[i])
            raise ValueError(
                f"{function}: train and validation have their columns in another order, as column {i} is {names[i]!r} "
                f"and {others[i]!r}; take validation[list(train.columns)]"
            )


def _makes_examples(examples: object) -> bool:
    """Whether it gives examples one by one, such as an ``ImageFolder``."""
    is_data = isinstance(examples, (Loader, tuple, list, str, bytes, Mapping)) or hasattr(examples, "__array__")
    return not is_data and hasattr(examples, "__len__") and hasattr(examples, "__getitem__")


def _has_entries(part: object) -> bool:
    """Whether it is an array with an entry for each example, or makes these."""
    return isinstance(part, Loader) or (isinstance(part, np.ndarray) and part.ndim > 0)


def _checked_weights(function: str, name: str, weights: object, count: int) -> np.ndarray | None:
    """The weights of examples, as floats."""
    if weights is None:
        return None
    found = np.asarray(weights)
    if found.shape != (count,) or found.dtype.kind not in "biuf":
        raise ValueError(
            f"{function}: {name} must have a number as weight for each of {count} inputs, (inputs, labels, weights), "
            f"got {describe(found)}"
        )
    found = found.astype(np.float64)
    if not np.isfinite(found).all() or found.min() < 0 or not found.any():
        raise ValueError(
            f"{function}: {name} must have weights that are finite and not negative, one of them positive, got "
            f"{found.min()} to {found.max()}"
        )
    return found


def _check_lengths(function: str, name: str, inputs: list[np.ndarray], labels: list[np.ndarray]) -> None:
    lengths = [len(array) for array in inputs]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"{function}: {name} must have inputs of one length, got {' and '.join(map(str, lengths))}; let each have "
            "an entry for each example along the first axis"
        )
    for array in labels:
        if lengths[0] != len(array) or not array.size:
            raise ValueError(
                f"{function}: {name} must have a label for each input, one at least, got {lengths[0]} inputs and "
                f"{len(array)} labels{' of shape ' + str(array.shape) if len(array) and not array.size else ''}"
            )


def _in_own_byte_order(array: np.ndarray) -> np.ndarray:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def check_count(function: str, source: str, inputs: object, count: int) -> None:
    """Raise if a batch, as it comes from a user's function, is not one of ``count`` inputs."""
    if inputs is None:
        raise TypeError(f"{function}: {source}= gives None; let it return the inputs")
    for array in leaves_of(inputs):
        if isinstance(array, (np.ndarray, Tensor)) and (came := array.shape[0] if array.ndim else 0) != count:
            raise ValueError(
                f"{function}: {source}= gives {came} inputs for {count} examples; let it return one for each, along "
                "the first axis"
            )


def check_numbers(function: str, inputs: object) -> None:
    """Raise if a network cannot compute with a batch of inputs, as they are prepared."""
    for array in leaves_of(inputs):
        if not isinstance(array, np.ndarray) or array.dtype.kind in "fiubc":
            continue
        raise TypeError(f"{function}: the network's inputs must be numbers, got {describe(array)}{_remedy(array)}")


def _remedy(array: np.ndarray) -> str:
    """How to make numbers of these."""
    if _are_numbers(array):
        return "; convert them, inputs.astype(np.float32)"
    if array.ndim == 2 and array.shape[1] > 1:
        column = next(i for i in range(array.shape[1]) if not _are_numbers(array[:, i]))
        return (
            f", such as {array[0, column]!r} in column {column}; of a pandas frame pandas.get_dummies(frame, "
            "dtype=float) makes numbers of columns of text, or do it in prepare="
        )
    return "; turn text and other objects into numbers first, or in prepare="


def _are_numbers(array: np.ndarray) -> bool:
    try:
        array.astype(np.float32)
    except (TypeError, ValueError):
        return False
    return True


def part_of(inputs: Any, start: int, size: int) -> Any:
    """A copy of some inputs: what ``prepare`` or a network writes into it does not reach the caller's array."""
    if not _holds_arrays(inputs):
        return copy.copy(inputs[start : start + size])
    return mapped(lambda array: copy.copy(array[start : start + size]), inputs)


def not_finite(inputs: object) -> tuple[tuple[int, ...], float] | None:
    """Where a batch is first infinite or NaN, and which of the two; None where it is not."""
    for leaf in leaves_of(inputs):
        array = np.asarray(leaf.numpy() if isinstance(leaf, Tensor) else leaf)
        if array.dtype.kind in "fc" and (bad := ~np.isfinite(array)).any():
            position = tuple(int(i) for i in np.unravel_index(bad.argmax(), bad.shape))
            return position, array[position]
    return None
