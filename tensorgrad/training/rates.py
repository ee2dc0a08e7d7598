"""Finding a learning rate: a short training whose rate grows from step to step, until the loss does, too."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from ..data import index_batches
from ..nn import Module
from ..nn.initialisers import generator
from ..optim import Optimiser
from ..optim.names import OptimiserLike
from .examples import Examples, as_arrays
from .loop import checked_optimiser
from .objective import Loss, Task, objective
from .step import FirstStep, LossNotFinite, Step, compiled_step

SMOOTHING = 0.9
"""Share of the mean loss that is kept from step to step."""

DIVERGED = 2.0
"""The search ends where the mean loss has grown above its lowest value by as many times the first loss."""


@dataclass(frozen=True)
class RateSearch:
    """What :func:`find_learning_rate` has found; ``tensorgrad.report.save_rates`` draws it.

    Attributes
    ----------
    rates
        Learning rate of each step.
    losses
        Loss of the batch that follows each step.
    smoothed
        Means of the losses so far, in which older ones count less.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray

    @property
    def suggestion(self) -> float:
        """The rate where the mean loss falls most steeply over the logarithm of the rate, before it is lowest.

        The first tenth of the steps is left out, whose means are of few losses.
        """
        width = 1 + len(self.rates) // 20
        start = len(self.rates) // 10
        end = max(int(np.argmin(self.smoothed)) + 1 - width, start)
        falls = self.smoothed[start:end] - self.smoothed[start + width : end + width]
        return float(self.rates[start + width // 2 + int(np.argmax(falls))]) if len(falls) else float(self.rates[0])


def find_learning_rate(
    model: Module,
    train: tuple[Any, ...],
    optimiser: Optimiser | OptimiserLike = "adam",
    *,
    loss: Loss = "softmax_cross_entropy",
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    batch_size: int = 32,
    prepare: Callable[[Any], Any] = as_arrays,
    rng: np.random.Generator | int | None = None,
) -> RateSearch:
    """The losses of a short training whose rate grows from ``lowest`` to ``highest`` (Smith 2017, section 3.3).

    A copy is trained: the model, its random generators and the optimiser stay as they are. Groups of parameters keep
    the ratios of their rates; the rates found are those of the first group.

    Parameters
    ----------
    model, train, optimiser, loss, prepare
        As for :func:`fit`.
    lowest, highest
        The first and the last rate.
    steps
        How many rates there are, on a geometric scale; the search ends before the last one where the loss diverges.
    batch_size
        Examples in a batch.
    rng
        Generator, or an integer to seed one, that draws the order of the examples. None: always the same.

    Raises
    ------
    TypeError, ValueError
        If the numbers or the examples do not fit, or if the loss is not finite from the start.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> rng = np.random.default_rng(0)
    >>> points = rng.standard_normal((200, 2)).astype(np.float32)
    >>> model = tg.nn.Dense(2, 2, rng)
    >>> adam = tg.optim.Adam(model.parameters())
    >>> found = find_learning_rate(model, (points, (points[:, 0] > 0).astype(int)), adam)
    >>> 1e-3 < found.suggestion < 3
    True
    """
    _check(lowest, highest, steps, batch_size)
    task = objective("find_learning_rate", loss)
    examples = task.checked("find_learning_rate", "train", train)
    optimiser = checked_optimiser("find_learning_rate", model, optimiser)
    twin, of_twin = copy.deepcopy((model, optimiser))
    twin.train()
    first_step = FirstStep(twin, of_twin, task, {"train": examples.targets})
    step = compiled_step(twin, of_twin, None, first_step, loss=task)
    source = _endless(task, examples, batch_size, prepare, generator(0 if rng is None else rng))
    first, tried = of_twin.learning_rates, np.geomspace(lowest, highest, steps)
    losses: list[float] = []
    smoothed: list[float] = []
    for rate in (*tried, highest):  # each step gives the loss after the one before
        for group, own in zip(of_twin.param_groups, first):
            group["lr"] = float(rate * own / first[0]) if first[0] else float(rate)
        losses.append(_loss_of(step, next(source)))
        if not math.isfinite(losses[0]):
            raise ValueError(
                f"find_learning_rate: the loss is {losses[0]} before the first step; check inputs and targets"
            )
        if len(losses) > 1:
            smoothed.append(_mean(losses[1:]))
            if not smoothed[-1] <= min(smoothed) + DIVERGED * abs(losses[0]):
                break
    count = sum(map(math.isfinite, smoothed))
    return RateSearch(tried[:count], np.array(losses[1 : count + 1]), np.array(smoothed[:count]))


def _check(lowest: float, highest: float, steps: int, batch_size: int) -> None:
    if not 0 < lowest < highest < math.inf:
        raise ValueError(f"find_learning_rate: needs 0 < lowest < highest, got lowest={lowest}, highest={highest}")
    for name, number, least in (("steps", steps, 2), ("batch_size", batch_size, 1)):
        if not isinstance(number, (int, np.integer)) or number < least:
            raise ValueError(f"find_learning_rate: {name} must be an integer of at least {least}, got {number!r}")


def _endless(
    task: Task, examples: Examples, size: int, prepare: Callable[[Any], Any], rng: np.random.Generator
) -> Iterator[tuple[Any, ...]]:
    """What steps are called with: batches in random order, all of one size, pass after pass over the examples."""
    size = min(size, examples.count)
    while True:
        for indices in index_batches(rng.permutation(examples.count), size):
            if len(indices) == size:
                batch = examples.chosen(indices)
                shares, _ = task.shares(batch.targets, batch.weights, size)
                yield (prepare(batch.inputs), batch.targets, *([] if shares is None else [shares]))


def _loss_of(step: Step, given: tuple[Any, ...]) -> float:
    """The loss before a step."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):  # as rates grow the training is meant to diverge
            return float(step(*given)[0].item())
    except LossNotFinite as error:
        return error.loss


def _mean(losses: list[float]) -> float:
    weights = SMOOTHING ** np.arange(len(losses))[::-1]
    return float(np.average(losses, weights=weights))
