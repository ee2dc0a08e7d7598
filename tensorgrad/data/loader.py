"""Loader: examples are decoded, augmented and prepared in threads, ahead of the step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import numpy as np

_Item = TypeVar("_Item")


class Source(Protocol):
    """Examples that are loaded one by one, such as :class:`ImageFolder`, or a map-style dataset of PyTorch.

    ``labels``, an array of all of them, may be there as well: then no example is made to learn its label.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[Any, Any]:
        """An input, as an array, and its label."""


class Loader:
    """Loads inputs when they are needed; :func:`tensorgrad.training.fit` takes it instead of arrays.

    While a step is computed, threads prepare the next batches: they decode, and run ``augment`` and ``prepare`` of
    ``fit``. Batches, their order and random numbers do not depend on the number of workers, also when a training is
    resumed.

    Parameters
    ----------
    source
        A :class:`Source`: ``len(source)`` examples ``source[i]``, each an input and its label; or an array of inputs.
    labels
        Of all examples. None: those of the source, which makes each example once to learn it where it has no array
        ``labels``.
    workers
        Number of threads. 0: inputs are loaded between two steps.
    prefetch
        Number of batches that are loaded ahead.

    Raises
    ------
    TypeError, ValueError
        If the source is none, labels are not as many, or a number is not possible.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> from tensorgrad.training import fit
    >>> class Points:
    ...     def __len__(self):
    ...         return 100
    ...     def __getitem__(self, index):
    ...         return np.float32([index / 100, 1]), int(index >= 50)
    >>> train = Loader(Points(), workers=2)
    >>> train[[7, 93]].shape, train.labels[[7, 93]]
    ((2, 2), array([0, 1]))
    >>> model = tg.nn.Dense(2, 2, 0)
    >>> history = fit(model, train, epochs=2, batch_size=10, rng=np.random.default_rng(0))
    """

    def __init__(self, source: Source | np.ndarray, labels: Any = None, *, workers: int = 1, prefetch: int = 2) -> None:
        for name, number, least in (("workers", workers, 0), ("prefetch", prefetch, 1)):
            if not isinstance(number, (int, np.integer)) or isinstance(number, bool) or number < least:
                raise ValueError(f"Loader: {name} must be an integer of at least {least}, got {number!r}")
        if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
            raise TypeError(
                f"Loader: source must have a length and examples by index, as ImageFolder has, got "
                f"{type(source).__name__}; define __len__ and __getitem__"
            )
        self.source, self.workers, self.prefetch = source, int(workers), int(prefetch)
        self.labels: np.ndarray = self._labels(labels)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: Any) -> np.ndarray:
        """The input at an index, or a batch of those at several."""
        if isinstance(index, (int, np.integer)):
            return self._input(int(index))
        if isinstance(self.source, np.ndarray):
            batch: np.ndarray = self.source[index]
            return batch
        return _stacked(self._each(self._input, np.arange(len(self))[index].tolist()))

    def __repr__(self) -> str:
        return f"Loader({self.source!r}, workers={self.workers}, prefetch={self.prefetch})"

    def _input(self, index: int) -> np.ndarray:
        found = self.source[index]
        if isinstance(self.source, np.ndarray):
            return np.asarray(found)
        return np.array(self._pair(found, index)[0])  # a copy, as the source may write the next one to the same memory

    def _label(self, index: int) -> Any:
        return self._pair(self.source[index], index)[1]

    def _pair(self, found: object, index: int) -> tuple[Any, Any]:
        if not isinstance(found, (tuple, list)) or len(found) != 2:
            raise TypeError(
                f"Loader: source[{index}] must be an input and its label, got {type(found).__name__}; let __getitem__ "
                "return both"
            )
        return found[0], found[1]

    def _labels(self, labels: object) -> np.ndarray:
        found = getattr(self.source, "labels", None) if labels is None else labels
        if found is None and isinstance(self.source, np.ndarray):
            raise TypeError("Loader: an array of inputs needs labels; pass Loader(inputs, labels)")
        found = np.asarray(self._each(self._label, list(range(len(self)))) if found is None else found)
        if found.shape[:1] != (len(self),):
            raise ValueError(f"Loader: labels must be {len(self)}, one for each input, got shape {found.shape}")
        return found

    def _each(self, function: Any, indices: Sequence[int]) -> list[Any]:
        if self.workers < 2 or len(indices) < 2:
            return [function(index) for index in indices]
        with ThreadPoolExecutor(self.workers, "tensorgrad-loader") as pool:
            return list(pool.map(function, indices))


def _stacked(inputs: list[np.ndarray]) -> np.ndarray:
    shapes = {array.shape for array in inputs}
    if len(shapes) > 1:
        raise ValueError(
            f"Loader: inputs must be of one shape, got {' and '.join(map(str, sorted(shapes)[:2]))}; resize them, as "
            "ImageFolder(folder, size=64) does"
        )
    return np.stack(inputs)


def ahead(items: Iterator[_Item], count: int) -> Iterator[_Item]:
    """``items`` in their order, up to ``count`` of them made ahead in a thread; an error is raised in its place.

    >>> list(ahead(iter("abc"), 2))
    ['a', 'b', 'c']
    """
    end = object()

    def following() -> Any:
        return next(items, end)

    with ThreadPoolExecutor(1, "tensorgrad-ahead") as one:
        waiting: deque[Future[Any]] = deque(one.submit(following) for _ in range(count))
        try:
            while (item := waiting.popleft().result()) is not end:
                waiting.append(one.submit(following))
                yield item
        finally:
            for future in waiting:
                future.cancel()
