"""Learning-rate schedules: from the number of steps taken to the rate, passed to an optimiser as ``lr``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import cos, inf, isfinite, pi
from numbers import Real
from typing import Any, Callable, Union

import numpy as np

from .._pytree import are_leaves

Rate = Union[float, Callable[[int], float]]
"""A learning rate, or a schedule: a function from the number of steps taken to the rate."""


class Schedule(ABC):
    """A learning rate that changes: ``schedule(steps)`` is the rate of the update after that many steps.

    The optimiser calls it before each update, and saves and loads what it remembers with its own state; ``fit`` tells
    it the validation loss of each epoch. Schedules can be pickled and copied. A subclass defines ``__call__``; one that
    learns from losses also :meth:`observe`, :meth:`state_dict` and :meth:`load_state_dict`; one that wraps another
    passes all of them on.
    """

    @abstractmethod
    def __call__(self, step: int) -> float:
        """The rate after ``step`` steps."""

    def observe(self, loss: float) -> None:  # noqa: B027 - most schedules have nothing to do here
        """Take note of the validation loss of an epoch."""

    def state_dict(self) -> dict[str, float]:
        """What has been observed so far, as numbers by name."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - nor here
        """Continue from ``state``, as returned by :meth:`state_dict`."""


are_leaves(Schedule)  # an object that may change with each epoch, not a container of its numbers


@dataclass(eq=False)
class inverse_time_decay(Schedule):
    """``lr / (1 + decay * step)``.

    >>> inverse_time_decay(0.1, 0.5)(2)
    0.05
    """

    lr: float
    decay: float

    def __post_init__(self) -> None:
        _check_numbers(self, lr=self.lr, decay=self.decay)

    def __call__(self, step: int) -> float:
        return self.lr / (1 + self.decay * step)


@dataclass(eq=False)
class cosine_decay(Schedule):
    """From ``lr`` to ``final`` along half a cosine in ``steps`` steps (Loshchilov & Hutter 2017, equation 5).

    >>> schedule = cosine_decay(0.1, 100)
    >>> schedule(0), round(schedule(50), 3), schedule(100)
    (0.1, 0.05, 0.0)
    """

    lr: float
    steps: float
    final: float = 0.0

    def __post_init__(self) -> None:
        _check_numbers(self, lr=self.lr, final=self.final)
        _check_numbers(self, 1, steps=self.steps)

    def __call__(self, step: int) -> float:
        return _along_cosine(self.lr, self.final, min(step / self.steps, 1))


@dataclass(eq=False)
class step_decay(Schedule):
    """``lr`` multiplied by ``factor`` once more after every ``every`` steps.

    >>> schedule = step_decay(1.0, every=10, factor=0.5)
    >>> schedule(9), schedule(10), schedule(20)
    (1.0, 0.5, 0.25)
    """

    lr: float
    every: float
    factor: float = 0.1

    def __post_init__(self) -> None:
        _check_numbers(self, lr=self.lr, factor=self.factor)
        _check_numbers(self, 1, every=self.every)

    def __call__(self, step: int) -> float:
        return float(self.lr * self.factor ** (step // self.every))


@dataclass(eq=False)
class polynomial_decay(Schedule):
    """From ``lr`` to ``final`` in ``steps`` steps, as a power of the share that is left; with ``power=1`` on a line.

    >>> schedule = polynomial_decay(0.1, 100, power=2)
    >>> schedule(0), schedule(50), schedule(100), schedule(101)
    (0.1, 0.025, 0.0, 0.0)
    """

    lr: float
    steps: float
    power: float = 1.0
    final: float = 0.0

    def __post_init__(self) -> None:
        _check_numbers(self, lr=self.lr, power=self.power, final=self.final)
        _check_numbers(self, 1, steps=self.steps)

    def __call__(self, step: int) -> float:
        return float(self.final + (self.lr - self.final) * max(1 - step / self.steps, 0) ** self.power)


@dataclass(eq=False)
class one_cycle(Schedule):
    """Up to ``lr`` and down to nearly nothing within ``steps`` steps, each along half a cosine (Smith & Topin 2018).

    The momentum stays as it is, unlike in PyTorch's ``OneCycleLR``, unless that has ``cycle_momentum=False``.

    Parameters
    ----------
    lr
        The highest rate.
    steps
        All steps of the training, at least 2.
    pct_start
        Share of the steps in which the rate rises, between 0 and 1.
    div_factor
        The first rate is ``lr / div_factor``.
    final_div_factor
        The last rate is the first one divided by this.

    Examples
    --------
    >>> schedule = one_cycle(0.1, 100)
    >>> [round(schedule(step), 6) for step in (0, 29, 64, 99)]
    [0.004, 0.1, 0.05, 0.0]
    """

    lr: float
    steps: float
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def __post_init__(self) -> None:
        _check_numbers(self, lr=self.lr, pct_start=self.pct_start)
        _check_numbers(self, 1, div_factor=self.div_factor, final_div_factor=self.final_div_factor)
        _check_numbers(self, 2, steps=self.steps)
        if not self.pct_start <= 1:
            raise ValueError(f"one_cycle: pct_start must be at most 1, got {self.pct_start}")

    def __call__(self, step: int) -> float:
        first, last, top = self.lr / self.div_factor, self.steps - 1, self.pct_start * self.steps - 1
        if step <= top:
            return _along_cosine(first, self.lr, step / top if top > 0 else 1.0)
        start = max(top, 0.0)
        share = min((step - start) / (last - start), 1.0) if start < last else 1.0
        return _along_cosine(self.lr, first / self.final_div_factor, share)


def _along_cosine(start: float, end: float, share: float) -> float:
    """Between the two, along half a cosine, of which that share is behind."""
    return end + (start - end) * (1 + cos(pi * share)) / 2


@dataclass(eq=False)
class warm_up(Schedule):
    """``schedule``, its first ``steps`` steps scaled by a rate that rises linearly.

    The schedule may be a number, a function from steps to the rate, or any :class:`Schedule`; one that learns from
    losses gets them.

    >>> schedule = warm_up(cosine_decay(1.0, 100), 4)
    >>> schedule(0), schedule(4) == cosine_decay(1.0, 100)(4)
    (0.25, True)
    >>> warm_up(Plateau(0.1), 10)
    warm_up(schedule=Plateau(lr=0.1, factor=0.5, patience=3, min_lr=0.0, threshold=0.0, cooldown=0), steps=10)
    """

    schedule: Any
    steps: float

    def __post_init__(self) -> None:
        _check_numbers(self, 1, steps=self.steps)
        self.schedule = as_schedule("warm_up", "schedule", self.schedule)

    def __call__(self, step: int) -> float:
        return float(self.schedule(step) * min(1.0, (step + 1) / self.steps))

    def observe(self, loss: float) -> None:
        """Pass it on."""
        self.schedule.observe(loss)

    def state_dict(self) -> dict[str, float]:
        """That of the schedule."""
        state: dict[str, float] = self.schedule.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Pass it on."""
        self.schedule.load_state_dict(state)


@dataclass(eq=False)
class Plateau(Schedule):
    """``lr`` multiplied by ``factor`` whenever the validation loss has not improved for ``patience`` epochs.

    ``fit`` calls :meth:`observe` after each epoch; in a loop of your own do so yourself.

    Parameters
    ----------
    lr
        The rate at first.
    factor
        Between 0 and 1.
    patience
        Epochs without improvement after which the rate is lowered, at least 1.
    min_lr
        The rate is never lowered further than to this.
    threshold
        Share of the lowest loss by which another must be lower to be an improvement.
    cooldown
        Epochs after a reduction that are not counted as epochs without improvement.

    Examples
    --------
    >>> schedule = Plateau(1.0, factor=0.5, patience=2)
    >>> for loss in (3.0, 2.0, 2.5, 2.1):
    ...     schedule.observe(loss)
    >>> schedule(0)
    0.5
    """

    lr: float
    factor: float = 0.5
    patience: int = 3
    min_lr: float = 0.0
    threshold: float = 0.0
    cooldown: int = 0
    scale: float = field(default=1.0, init=False, repr=False)
    lowest: float = field(default=inf, init=False, repr=False)
    waited: int = field(default=0, init=False, repr=False)
    cooling: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        _check_numbers(self, lr=self.lr, factor=self.factor, min_lr=self.min_lr, threshold=self.threshold)
        _check_numbers(self, cooldown=self.cooldown)
        _check_numbers(self, 1, patience=self.patience)
        if not self.factor < 1 or not self.min_lr <= self.lr or not self.threshold < 1:
            raise ValueError(
                "Plateau: factor and threshold must be less than 1, and min_lr not more than lr, got "
                f"factor={self.factor}, threshold={self.threshold}, min_lr={self.min_lr}, lr={self.lr}"
            )

    def __call__(self, step: int) -> float:
        return max(self.lr * self.scale, self.min_lr)

    def observe(self, loss: float) -> None:
        """Take note of the validation loss of an epoch; NaN does not count as an improvement."""
        loss = float(loss)
        if loss < self.lowest and (self.lowest == inf or loss < self.lowest - self.threshold * abs(self.lowest)):
            self.lowest, self.waited = loss, 0
        else:
            self.waited += 1
        if self.cooling:
            self.cooling, self.waited = self.cooling - 1, 0
        if self.waited >= self.patience:
            self.scale, self.waited, self.cooling = self.scale * self.factor, 0, self.cooldown

    def state_dict(self) -> dict[str, float]:
        """What has been observed so far."""
        state = {"scale": self.scale, "lowest": self.lowest, "waited": self.waited}
        return {**state, "cooling": self.cooling} if self.cooldown else state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``, as returned by :meth:`state_dict`."""
        scale, lowest, waited = float(state["scale"]), float(state["lowest"]), int(state["waited"])
        cooling = int(state["cooling"]) if self.cooldown else 0
        self.scale, self.lowest, self.waited, self.cooling = scale, lowest, waited, cooling


@dataclass(eq=False)
class _Constant(Schedule):
    lr: float

    def __call__(self, step: int) -> float:
        return float(self.lr)

    def __repr__(self) -> str:
        return repr(self.lr)


@dataclass(eq=False)
class _Function(Schedule):
    """A user's function; if it is an object that observes losses or has state, so does this."""

    function: Callable[[int], float]

    def __call__(self, step: int) -> float:
        return self.function(step)

    def observe(self, loss: float) -> None:
        getattr(self.function, "observe", super().observe)(loss)

    def state_dict(self) -> dict[str, float]:
        state: dict[str, float] = getattr(self.function, "state_dict", super().state_dict)()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        getattr(self.function, "load_state_dict", super().load_state_dict)(state)

    def __repr__(self) -> str:
        return getattr(self.function, "__qualname__", repr(self.function))


def as_schedule(owner: str, name: str, rate: Any) -> Schedule:
    """``rate`` as a schedule: a number, a function from steps to the rate, or a schedule already."""
    if isinstance(rate, Schedule):
        return rate
    if callable(rate) and not isinstance(rate, type):
        return _Function(rate)
    is_number = isinstance(rate, Real) or (isinstance(rate, np.ndarray) and rate.ndim == 0)
    if not is_number or not 0 <= rate < inf:
        raise (ValueError if is_number else TypeError)(
            f"{owner}: {name} must be a number that is not negative and finite, or a schedule, got {rate!r}"
        )
    return _Constant(rate)


def _check_numbers(schedule: Schedule, minimum: int = 0, **numbers: Any) -> None:
    for name, number in numbers.items():
        if not isinstance(number, Real):
            raise TypeError(f"{type(schedule).__name__}: {name} must be a number, got {number!r}")
        if not isfinite(number):
            raise ValueError(f"{type(schedule).__name__}: {name} must be finite, got {number}")
        if number < minimum:
            bound = f"be at least {minimum}" if minimum else "not be negative"
            raise ValueError(f"{type(schedule).__name__}: {name} must {bound}, got {number}")
