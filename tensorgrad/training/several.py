"""Several outputs, each with a loss of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from numbers import Real
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from .._pytree import tree_map
from ..core import Tensor
from ..core.context import no_grad
from .examples import Examples, checked_examples
from .metrics import METRICS, Metric, chosen_metrics

if TYPE_CHECKING:
    from .objective import Task

Key = Any
"""Of an output: its key in a dict, or its position in a tuple or list."""


@dataclass(frozen=True)
class Several:
    """The weighted sum of the losses of several outputs; the same methods as of one :class:`Objective`.

    Attributes
    ----------
    kind
        ``dict`` or ``tuple``: the container that outputs and targets are in.
    parts
        What is minimised for each output.
    factors
        What each loss is multiplied by.
    own
        Metrics of all outputs together, by name.
    """

    kind: type
    parts: Mapping[Key, Task]
    factors: Mapping[Key, float]
    own: Mapping[str, Metric]

    is_own = False

    @staticmethod
    def of(function: str, losses: Any, metrics: Any, make: Callable[[str, Any, Any], Task]) -> Several:
        """One for each loss in a dict, tuple or list; each, and its metrics, are what ``make`` takes."""
        kind = dict if isinstance(losses, Mapping) else tuple
        items = dict(losses) if kind is dict else dict(enumerate(losses))
        if not items:
            raise ValueError(f"{function}: loss must have a loss for each output, got {losses!r}")
        for key in items:
            if not _name(key).isidentifier() or _name(key) == "validation" or _name(key).startswith("validation_"):
                raise ValueError(
                    f"{function}: outputs need names that metrics can begin with, such as 'height', got {key!r}"
                )
        if kind is dict:
            is_of_each = isinstance(metrics, Mapping) and metrics.keys() <= items.keys()
        else:
            is_of_each = isinstance(metrics, tuple) and len(metrics) == len(items)
        of_each: dict[Key, Any] = {key: None if metrics is None else [] for key in items}
        if is_of_each:
            of_each.update(metrics.items() if kind is dict else enumerate(metrics))
        pairs = {key: _weighted(function, loss) for key, loss in items.items()}
        parts = {key: make(function, loss, of_each[key]) for key, (_, loss) in pairs.items()}
        own = {} if metrics is None or is_of_each else chosen_metrics(function, metrics, {})
        if named := [name for name, metric in own.items() if metric in METRICS.values()]:
            like = f"{{{next(iter(items))!r}: {named}}}" if kind is dict else f"({named}, {'[], ' * (len(items) - 1)})"
            raise ValueError(
                f"{function}: metrics by name are of one output, here {named[0]!r}; give each output its own, as in "
                f"metrics={like.replace(', )', ')') if len(items) > 1 else like}"
            )
        return Several(kind, parts, {key: factor for key, (factor, _) in pairs.items()}, own)

    def __call__(self, outputs: Any, targets: Any, shares: Any = None, part: Any = None) -> Any:
        """The weighted sum of the losses."""
        total: Any = 0.0
        for i, (key, each) in enumerate(self.parts.items()):
            own_shares, own_part = None if shares is None else shares[i], None if part is None else part[i]
            loss = each(outputs[key], targets[key], own_shares, own_part)
            total = total + (loss if self.factors[key] == 1 else loss * self.factors[key])
        return total

    def shares(self, targets: Any, weights: np.ndarray | None, count: int) -> tuple[Any, Any]:
        """Those of each part, in a tuple, and what all examples count for in each."""
        found = [each.shares(targets[key], weights, count) for key, each in self.parts.items()]
        shares = None if weights is None else tuple(each for each, _ in found)
        return shares, tuple(total for _, total in found)

    @property
    def is_pure(self) -> bool:
        """Whether all losses depend on their arguments alone, for certain."""
        return all(each.is_pure for each in self.parts.values())

    @property
    def metrics(self) -> dict[str, Metric]:
        """The loss and the metrics of each output, its name before theirs; and those of all together."""
        found: dict[str, Metric] = {}
        for key, each in self.parts.items():
            measured = {"loss": Metric("loss", each, False), **each.metrics}
            found.update({f"{_name(key)}_{name}": metric for name, metric in measured.items()})
        return {**found, **self.own}

    def checked(self, function: str, name: str, examples: Any) -> Examples:
        """What a user gives as examples, with targets as the losses take them."""
        found = checked_examples(function, name, examples)
        return replace(found, targets=self.checked_targets(function, name, found.targets))

    def checked_targets(self, function: str, name: str, targets: Any) -> Any:
        """Targets as the losses take them."""
        self._check_container(targets, f"{function}: {name} must have targets", is_exact=True)
        found = {
            key: each.checked_targets(function, f"{name}, output {key!r},", targets[key])
            for key, each in self.parts.items()
        }
        return found if self.kind is dict else tuple(found.values())

    def check_fit(self, function: str, name: str, outputs: Any, targets: Any) -> None:
        """Raise where the outputs of a network do not fit the targets."""
        self._check_container(outputs, f"{function}: the network must give outputs", is_exact=self.kind is tuple)
        for key, each in self.parts.items():
            each.check_fit(function, f"{name}, output {key!r},", outputs[key], targets[key])

    def _check_container(self, tree: object, what: str, is_exact: bool) -> None:
        """Raise unless there is something for each loss, and if it ``is_exact`` nothing else."""
        keys = list(self.parts)
        if self.kind is dict:
            is_right = isinstance(tree, Mapping) and set(keys) <= set(tree) and (not is_exact or len(keys) == len(tree))
            wanted = f"in a dict with {', '.join(map(repr, keys))}"
        else:
            is_right = isinstance(tree, (tuple, list)) and len(tree) == len(keys)
            wanted = f"in a tuple of {len(keys)}"
        if not is_right:
            came = f"a dict with {', '.join(map(repr, tree))}" if isinstance(tree, Mapping) else type(tree).__name__
            came += f" of {len(tree)}" if isinstance(tree, (tuple, list)) else ""
            raise TypeError(f"{what} {wanted}, as loss= has a loss for each, got {came}; give each its loss")

    def guessing(self, targets: Any) -> float | None:
        """The loss of always guessing the same; None where it is not known."""
        found = [each.guessing(targets[key]) for key, each in self.parts.items()]
        return (
            None if None in found else float(sum(f * g for f, g in zip(self.factors.values(), found) if g is not None))
        )

    @no_grad()
    def totals(
        self, outputs: Any, targets: Any, weights: np.ndarray | None, count: int
    ) -> dict[str, tuple[float, float]]:
        """Of each loss and metric the sum and of how many, for outputs and targets as arrays."""
        found = {name: metric.total(outputs, targets, weights, count) for name, metric in self.own.items()}
        for key, each in self.parts.items():
            shares, total = each.shares(targets[key], weights, count)
            amount = amount_of(total)
            loss = each(tree_map(Tensor, outputs[key]), targets[key], shares).item() if amount else 0.0
            totals = {"loss": (loss * amount, amount), **each.totals(outputs[key], targets[key], weights, count)}
            found.update({f"{_name(key)}_{name}": value for name, value in totals.items()})
        return found


def amount_of(total: Any) -> float:
    """What examples count for in a mean, given that of their loss, or those of several."""
    return max(map(amount_of, total)) if isinstance(total, tuple) else total


def parts_of(totals: Sequence[Any]) -> list[Any]:
    """What each of several batches contributes to the loss of all, given what its examples count for."""
    if isinstance(totals[0], tuple):
        return list(zip(*(parts_of(column) for column in zip(*totals))))
    whole = sum(totals) or 1.0
    return [np.asarray(total / whole) for total in totals]


def whole_of(totals: Sequence[Any]) -> Any:
    """What the examples of several batches count for together."""
    return tuple(map(whole_of, zip(*totals))) if isinstance(totals[0], tuple) else sum(totals)


def _weighted(function: str, loss: object) -> tuple[float, Any]:
    """A loss and what it is multiplied by."""
    if not (isinstance(loss, tuple) and len(loss) == 2 and isinstance(loss[0], Real)):
        return 1.0, loss
    if not 0 <= float(loss[0]) < inf:
        raise ValueError(f"{function}: the weight of a loss must be finite and not negative, got {loss[0]}")
    return float(loss[0]), loss[1]


def _name(key: Key) -> str:
    return f"output{key}" if isinstance(key, int) else str(key)
