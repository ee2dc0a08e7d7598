"""What a training minimises: a loss with what it takes for targets and outputs, and what is measured beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Callable, Union

import numpy as np

from .. import nn
from ..core import Tensor
from ..hints import similar_name
from . import targets
from .examples import Examples, checked_examples
from .metrics import METRICS, Metric, accuracy_of_rows, chosen_metrics
from .several import Several

LossFunction = Callable[..., Any]
"""Of outputs and targets: a 0-d Tensor."""

Loss = Union[str, LossFunction, Mapping[str, Any], Sequence[Any]]
"""A name or a function; of several outputs a container like theirs, with one for each or a pair of weight and loss."""


@dataclass(frozen=True)
class Objective:
    """A loss, and what belongs to it.

    Attributes
    ----------
    function
        Of outputs and targets: a 0-d Tensor.
    takes
        ``takes(function, name, targets)``: the targets, mapped, or an error with a remedy.
    check
        ``check(function, name, outputs, targets)`` raises where the outputs of a network do not fit.
    align
        ``align(outputs, targets)``: the targets in a shape to be compared.
    guess
        The loss of always guessing the same, of targets; None where it is not known.
    metrics
        What is measured, by name.
    is_own
        Whether the loss is one of this library's, which is for one array of targets.
    is_pure
        Whether it depends on its arguments alone, for certain.
    """

    function: LossFunction
    takes: Callable[[str, str, Any], Any] = lambda function, name, labels: labels
    check: Callable[[str, str, Any, Any], None] = lambda function, name, outputs, labels: None
    align: Callable[[Any, Any], Any] = lambda outputs, labels: labels
    guess: Callable[[Any], float] | None = None
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    is_own: bool = False
    is_pure: bool = False

    def __call__(self, outputs: Any, labels: Any, shares: Any = None, part: Any = None) -> Any:
        """The loss; with ``shares``, as of :meth:`shares`, the sum of the losses of examples times these.

        ``part``, a 0-d array, is what this is to contribute to the loss of several batches.
        """
        if part is not None:
            loss = self(outputs, labels, shares)
            check_loss("fit", loss)
            return loss * part.astype(loss.dtype)
        if shares is None:
            return self.function(outputs, self.align(outputs, labels))
        if not self.is_own:
            losses = self.function(outputs, labels)
            check_losses("fit", losses, len(shares))
        else:
            losses = self.function(outputs, self.align(outputs, labels), reduction="none")
        shares = shares.reshape((-1,) + (1,) * (losses.ndim - 1))
        return (losses * shares.astype(losses.dtype)).sum() * (len(shares) / losses.size)

    def shares(self, labels: Any, weights: np.ndarray | None, count: int) -> tuple[np.ndarray | None, float]:
        """What the loss of each example is multiplied by, None where they are averaged alike; and what all count for.

        That is the number of examples, or where they have weights the sum of these; by the weights of classes, and
        without what is ignored.
        """
        factors = self._factors(labels)
        if weights is None and factors is None:
            return None, count
        each = 1.0 if factors is None else factors.reshape(count, -1).mean(axis=1)
        if weights is None:
            return None, float(np.sum(each))
        total = float((weights * each).sum())
        return weights / (total or 1.0), total

    @cached_property
    def _settings(self) -> Mapping[str, Any]:
        """The settings of a loss of this library."""
        return self.function.keywords if self.is_own and isinstance(self.function, partial) else {}

    @cached_property
    def _ignored(self) -> Any:
        return self._settings.get("ignore_index")

    def _factors(self, labels: Any) -> np.ndarray | None:
        """How much each label counts in the mean, where a loss of this library is told so."""
        ignored, weight = self._ignored, self._settings.get("weight")
        if (ignored is None and weight is None) or labels.dtype.kind not in "iu":
            return None
        kept = np.ones(labels.shape, bool) if ignored is None else labels != ignored
        if weight is None:
            return kept * 1.0
        given, classes = np.asarray(weight), np.where(kept, labels, 0)
        does_fit = given.ndim == 1 and given.dtype.kind in "iuf" and classes.max() < len(given)
        return kept * given[classes] if does_fit else None  # the loss says what is wrong

    def checked(self, function: str, name: str, examples: Any) -> Examples:
        """What a user gives as examples, with targets as the loss takes them."""
        found = checked_examples(function, name, examples)
        return replace(found, targets=self.checked_targets(function, name, found.targets))

    def checked_targets(self, function: str, name: str, labels: Any) -> Any:
        """Targets as the loss takes them."""
        if self.is_own and not isinstance(labels, np.ndarray):
            raise TypeError(
                f"{function}: {name} must have one array of labels for this loss, got {type(labels).__name__}; give "
                "each output its loss in such a container, loss={'a': 'mse', 'b': 'mae'}, or pass a function of "
                "outputs and labels"
            )
        if self._ignored is None:
            return self.takes(function, name, labels)
        if not (counted := self.counted(labels)).size:
            raise ValueError(f"{function}: {name} must have a label that is not ignored, got {self._ignored} alone")
        self.takes(function, name, counted)
        return labels

    def counted(self, labels: Any) -> Any:
        """The labels that are not ignored."""
        return labels if self._ignored is None else labels[labels != self._ignored]

    def check_fit(self, function: str, name: str, outputs: Any, labels: Any) -> None:
        """Raise where the outputs of a network do not fit the targets."""
        labels = labels if self._ignored is None else np.where(labels == self._ignored, 0, labels)
        self.check(function, name, outputs, labels)

    def guessing(self, labels: Any) -> float | None:
        """The loss of always guessing the same; None where it is not known."""
        return None if self.guess is None else self.guess(self.counted(labels))

    def totals(
        self, outputs: Any, labels: Any, weights: np.ndarray | None, count: int
    ) -> dict[str, tuple[float, float]]:
        """Of each metric the sum and of how many, for outputs and targets as arrays."""
        if not self.metrics:
            return {}
        labels = self.align(outputs, labels)
        if self._ignored is not None:
            kept = labels != self._ignored
            outputs, labels, count = outputs[kept], labels[kept], int(kept.sum())
            if weights is not None:
                weights = np.broadcast_to(weights.reshape(-1, *(1,) * (kept.ndim - 1)), kept.shape)[kept]
            if not count:
                return {}
        return {name: metric.total(outputs, labels, weights, count) for name, metric in self.metrics.items()}


# The library's losses


def _entropy(labels: np.ndarray) -> float:
    """The cross-entropy of always giving each class the share that it has."""
    _, counts = np.unique(labels, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _entropy_of_rows(labels: np.ndarray) -> float:
    if labels.dtype.kind != "f":
        return _entropy(labels)
    shares = labels.reshape(-1, labels.shape[-1]).mean(axis=0)
    return float(-(shares * np.log(np.where(shares == 0, 1, shares))).sum())


def _binary_entropy(labels: np.ndarray) -> float:
    share = np.clip(labels.mean(axis=0, dtype=np.float64), 1e-12, 1 - 1e-12)
    return float(-(share * np.log(share) + (1 - share) * np.log1p(-share)).mean())


def _of_the_mean(loss: LossFunction, labels: np.ndarray) -> float:
    return float(loss(np.broadcast_to(labels.mean(axis=0, dtype=np.float64), labels.shape).copy(), labels))


_ACCURACY = {"accuracy": METRICS["accuracy"]}
_ACCURACY_OF_ROWS = {"accuracy": Metric("accuracy", accuracy_of_rows, True)}
_ROWS: dict[str, Any] = {
    "check": targets.check_classes_or_same_shape,
    "guess": _entropy_of_rows,
    "metrics": _ACCURACY_OF_ROWS,
}
_ELEMENTS: dict[str, Any] = {"check": targets.check_same_shape, "align": targets.aligned}


def _known(function: LossFunction, **parts: Any) -> Objective:
    return Objective(function, is_own=True, is_pure=True, **parts)


LOSSES = {
    made.function.__name__: made
    for made in (
        _known(
            nn.softmax_cross_entropy,
            takes=targets.classes,
            check=targets.check_classes,
            guess=_entropy,
            metrics=_ACCURACY_OF_ROWS,
        ),
        _known(nn.categorical_cross_entropy, takes=targets.classes_or_distributions, **_ROWS),
        _known(nn.kl_divergence, takes=targets.distributions, **_ROWS),
        _known(
            nn.binary_cross_entropy_with_logits,
            takes=targets.probabilities,
            guess=_binary_entropy,
            metrics=_ACCURACY,
            **_ELEMENTS,
        ),
        _known(nn.hinge, takes=targets.signs, guess=lambda labels: 1.0, metrics=_ACCURACY, **_ELEMENTS),
        *(
            _known(function, takes=targets.numbers, guess=partial(_of_the_mean, function), **_ELEMENTS)
            for function in (nn.mse, nn.mae, nn.huber)
        ),
    )
}
"""By name; the network gives logits, but for ``categorical_cross_entropy``, which takes probabilities."""


Task = Union[Objective, Several]
"""What is minimised, of one output or of several."""


def objective(function: str, loss: Loss, metrics: Any = None) -> Task:
    """The loss by name, or of a function, or of several in a container; with its own metrics, or with those asked for.

    A function of the library's counts as its name, also in a ``functools.partial`` that chooses its settings.

    Raises
    ------
    TypeError, ValueError
        If the loss or a metric is neither a name that is known nor a function.
    """
    if isinstance(loss, (Mapping, tuple, list)):
        return Several.of(function, loss, metrics, objective)
    if isinstance(loss, str):
        if loss not in LOSSES:
            raise ValueError(
                f"{function}: loss must be one of {', '.join(map(repr, LOSSES))}, or a function of outputs and "
                f"targets, got {loss!r}{similar_name('loss', loss, LOSSES)}"
            )
        made = LOSSES[loss]
    elif callable(loss):
        made = _of_function(loss)
    else:
        raise TypeError(f"{function}: loss must be a name or a function of outputs and targets, got {loss!r}")
    if metrics is None:
        return made
    found = chosen_metrics(function, metrics, made.metrics)
    if made.is_own and not made.metrics and METRICS["accuracy"] in found.values():
        raise ValueError(f"{function}: 'accuracy' is for losses of classes; of numbers, measure 'mae', 'mse' or 'r2'")
    for name in ("mae", "mse", "r2") if made.metrics else ():
        if METRICS[name] in found.values():
            raise ValueError(f"{function}: {name!r} is for losses of numbers; of classes, measure 'accuracy'")
    return replace(made, metrics=found)


def _of_function(loss: Any) -> Objective:
    base = loss.func if isinstance(loss, partial) and not loss.args else loss
    known = LOSSES.get(getattr(base, "__name__", ""))
    if known is None or known.function is not base:
        return Objective(loss)
    if base is loss:
        return known
    is_pure = all(isinstance(value, (int, float, str, type(None))) for value in loss.keywords.values())
    return replace(known, function=loss, is_pure=is_pure)


def check_losses(function: str, losses: Any, count: int) -> None:
    """Raise unless a user's function gives a loss for each of ``count`` examples, to be weighted."""
    _check_tensor(function, losses)
    if not losses.shape or losses.shape[0] != count:
        raise ValueError(
            f"{function}: a loss of examples with weights must be a number for each of {count} examples, got shape "
            f"{losses.shape}; leave out the mean in the function"
        )


def _check_tensor(function: str, loss: Any) -> None:
    if not isinstance(loss, Tensor):
        raise TypeError(
            f"{function}: the loss must be a Tensor, computed from the outputs, got {type(loss).__name__}; let the "
            "function return what it computes, with NumPy's functions"
        )


def check_loss(function: str, loss: Any) -> None:
    """Raise unless a loss, as a user's function gives it, is one number that remembers how it was computed."""
    _check_tensor(function, loss)
    if loss.shape != ():
        raise ValueError(
            f"{function}: the loss must be one number, got shape {loss.shape}; take its mean in the function, "
            "losses.mean()"
        )
