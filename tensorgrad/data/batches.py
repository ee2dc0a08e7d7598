"""Batches: a pass over the examples in random order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def batches(
    inputs: np.ndarray, labels: np.ndarray, size: int, rng: np.random.Generator | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of ``size`` examples that cover all examples once; the last one may be smaller.

    Parameters
    ----------
    inputs, labels
        Arrays with one entry per example along the first axis.
    size
        Examples in a batch.
    rng
        Generator that shuffles the examples. None: in their order.

    Examples
    --------
    >>> import numpy as np
    >>> [labels.tolist() for _, labels in batches(np.zeros((5, 1)), np.arange(5), 2)]
    [[0, 1], [2, 3], [4]]

    Raises
    ------
    TypeError, ValueError
        If they are not arrays of one length, size is not a positive integer, or ``rng`` is not a generator.
    """
    for name, array in (("inputs", inputs), ("labels", labels)):
        if not isinstance(array, np.ndarray) or not array.ndim:
            raise TypeError(
                f"batches: {name} must be an array with an entry per example, got {type(array).__name__}; np.asarray "
                "makes one of a list"
            )
    if len(inputs) != len(labels):
        raise ValueError(f"batches: {len(inputs)} inputs but {len(labels)} labels; each input needs one label")
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise ValueError(f"batches: size must be an integer and at least 1, got {size!r}")
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"batches: rng must be a NumPy generator, such as np.random.default_rng(0), got {rng!r}")
    order = np.arange(len(inputs)) if rng is None else rng.permutation(len(inputs))
    return ((inputs[chosen], labels[chosen]) for chosen in index_batches(order, size))


def index_batches(order: np.ndarray, size: int, start: int = 0) -> Iterator[np.ndarray]:
    """Batches of ``size`` entries of ``order``, from position ``start``; the last one may be smaller."""
    for first in range(start, len(order), size):
        yield order[first : first + size]
