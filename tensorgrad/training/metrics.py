"""What is measured beside the loss: by name, or by a function of outputs and targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from ..hints import similar_name
from .targets import aligned

MetricFunction = Callable[[Any, Any], Any]
"""Of outputs and targets, as arrays: a number for each example (or each of its labels), or one number."""


@dataclass(frozen=True)
class Metric:
    """A function of outputs and targets, and whether more of it is better; None where nobody said.

    ``takes_weights`` says that the function gives one number and takes the weights of the examples, too.
    """

    name: str
    function: Callable[..., Any]
    is_better_higher: bool | None = None
    takes_weights: bool = False

    def total(self, outputs: Any, targets: Any, weights: np.ndarray | None, count: int) -> tuple[float, float]:
        """The weighted sum of its values, and of how many; one number is that of each of the ``count`` examples."""
        given = (outputs, targets, weights) if self.takes_weights else (outputs, targets)
        values = np.asarray(self.function(*given))
        if values.dtype.kind not in "biuf":
            raise TypeError(f"metrics: {self.name} must give real numbers, got {values.dtype}; let it return floats")
        self._check_size(values, outputs, targets)
        if values.ndim == 0:
            size = count if weights is None else float(weights.sum())
            return float(values) * size, size
        if weights is not None:
            return self._weighted(values, weights)
        if values.dtype.kind == "b":
            return int(np.count_nonzero(values)), values.size
        return float(values.sum(dtype=np.float64)), values.size

    def _check_size(self, values: np.ndarray, outputs: Any, targets: Any) -> None:
        """Raise if each example was compared with each other one."""
        are_arrays = isinstance(outputs, np.ndarray) and isinstance(targets, np.ndarray)
        if are_arrays and values.ndim > 1 and values.size > max(outputs.size, targets.size):
            raise ValueError(
                f"metrics: {self.name} gives shape {values.shape} of outputs of shape {outputs.shape} and targets of "
                f"shape {targets.shape}; let it bring both into one shape, as outputs.reshape(targets.shape) does"
            )

    def _weighted(self, values: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
        if len(values) != len(weights):
            raise ValueError(
                f"metrics: {self.name} must give a number for each of {len(weights)} examples, as these have weights, "
                f"got shape {values.shape}; or let it return one number, which takes no notice of weights"
            )
        of_examples = values.reshape(len(values), -1).sum(axis=1, dtype=np.float64)
        return float(weights @ of_examples), float(weights.sum()) * (values.size // len(values))


def accuracy(outputs: Any, targets: Any) -> Any:
    """Whether each label is met: of classes the largest output, else an output above 0 where the label is 1.

    >>> import numpy as np
    >>> accuracy(np.array([[0.1, 0.7], [0.9, 0.3]]), np.array([1, 1]))
    array([ True, False])
    >>> accuracy(np.array([-3.0, 2.0]), np.array([0, 1]))
    array([ True,  True])
    """
    targets = aligned(outputs, targets)
    if outputs.ndim == targets.ndim + 1:
        return outputs.argmax(axis=-1) == targets
    return (outputs > 0) == (targets > 0.5)


def accuracy_of_rows(outputs: Any, targets: Any) -> Any:
    """Whether the largest output is at the class of the label, or at its largest probability."""
    labels = targets.argmax(axis=-1) if targets.ndim == outputs.ndim else targets
    return outputs.argmax(axis=-1) == labels


def mae(outputs: Any, targets: Any) -> Any:
    """Absolute errors."""
    return np.abs(outputs - aligned(outputs, targets))


def mse(outputs: Any, targets: Any) -> Any:
    """Squared errors."""
    return np.square(outputs - aligned(outputs, targets))


def r2(outputs: Any, targets: Any, weights: np.ndarray | None = None) -> float:
    """The share of the targets' variance that is explained, averaged over the outputs; 1 is perfect, 0 their mean.

    >>> import numpy as np
    >>> r2(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0])), r2(np.full(2, 2.0), np.array([1.0, 3.0]))
    (1.0, 0.0)
    """
    targets = np.asarray(aligned(outputs, targets), np.float64)
    errors = np.square(outputs - targets)
    if weights is not None:
        kept = weights > 0
        if not kept.any():
            return 0.0  # which then counts for nothing
        targets, errors, weights = targets[kept], errors[kept], weights[kept]
    spread = np.square(targets - np.average(targets, axis=0, weights=weights))
    errors, spread = (np.average(values, axis=0, weights=weights) for values in (errors, spread))
    constant = (targets == targets[0]).all(axis=0)  # of which nothing can be explained
    return float(np.mean(np.where(constant, errors == 0, 1 - errors / np.where(constant, 1, spread))))


METRICS = {
    "accuracy": Metric("accuracy", accuracy, True),
    "mae": Metric("mae", mae, False),
    "mse": Metric("mse", mse, False),
    "r2": Metric("r2", r2, True, takes_weights=True),
}
_TAKEN = {"epoch", "loss", "learning_rate", "seconds", "metrics"}


def chosen_metrics(function: str, metrics: Any, own: Mapping[str, Metric]) -> dict[str, Metric]:
    """Metrics by the names that the history gives them; ``own`` are those that belong to the loss.

    Raises
    ------
    TypeError, ValueError
        If one is neither a name that is known nor a function, or a name is taken.
    """
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    if not isinstance(metrics, Iterable):
        raise TypeError(f"{function}: metrics must be names or functions of outputs and targets, got {metrics!r}")
    pairs = metrics.items() if isinstance(metrics, Mapping) else [(None, metric) for metric in metrics]
    known = {**METRICS, **own}
    found: dict[str, Metric] = {}
    for key, metric in pairs:
        if callable(metric):
            name = str(key or getattr(metric, "__name__", type(metric).__name__))
            made = Metric(name, metric)
        elif metric in known:
            name = str(key or metric)
            made = known[metric]
        else:
            raise ValueError(
                f"{function}: metrics must be of {', '.join(map(repr, known))}, or functions of outputs and targets, "
                f"got {metric!r}{similar_name('metrics', str(metric), known)}"
            )
        if not name.isidentifier() or name in _TAKEN or name.startswith("validation_") or name in found:
            raise ValueError(
                f"{function}: metrics need names that are their own, got {name!r}; name them in a dict, "
                "metrics={'error': function}"
            )
        found[name] = made
    return found
