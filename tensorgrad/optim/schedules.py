"""Learning-rate schedules: functions from the number of steps taken to the rate, passed to an optimiser as ``lr``."""

from __future__ import annotations

from math import cos, pi
from typing import Callable

Schedule = Callable[[int], float]


def inverse_time_decay(lr: float, decay: float) -> Schedule:
    """``lr / (1 + decay * step)``.

    >>> inverse_time_decay(0.1, 0.5)(2)
    0.05
    """
    return lambda step: lr / (1 + decay * step)


def cosine_decay(lr: float, steps: int, final: float = 0.0) -> Schedule:
    """From ``lr`` to ``final`` along half a cosine in ``steps`` steps (Loshchilov & Hutter 2017, equation 5).

    >>> schedule = cosine_decay(0.1, 100)
    >>> schedule(0), round(schedule(50), 3), schedule(100)
    (0.1, 0.05, 0.0)
    """
    return lambda step: final + (lr - final) * (1 + cos(pi * min(step / max(steps, 1), 1))) / 2


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """``lr`` multiplied by ``factor`` once more after every ``every`` steps.

    >>> schedule = step_decay(1.0, every=10, factor=0.5)
    >>> schedule(9), schedule(10), schedule(20)
    (1.0, 0.5, 0.25)
    """
    _check_steps("step_decay", "every", every)
    return lambda step: lr * factor ** (step // every)


def warm_up(schedule: Schedule, steps: int) -> Schedule:
    """``schedule``, its first ``steps`` steps scaled by a rate that rises linearly.

    >>> schedule = warm_up(cosine_decay(1.0, 100), 4)
    >>> schedule(0), schedule(4) == cosine_decay(1.0, 100)(4)
    (0.25, True)
    """
    _check_steps("warm_up", "steps", steps)
    return lambda step: schedule(step) * min(1.0, (step + 1) / steps)


def _check_steps(schedule: str, name: str, steps: int) -> None:
    if not steps >= 1:
        raise ValueError(f"{schedule}: {name} must be at least 1, got {steps}")


class Plateau:
    """``lr`` multiplied by ``factor`` whenever the validation loss has not improved for ``patience`` epochs.

    The training loop calls :meth:`observe` after each epoch.

    >>> schedule = Plateau(1.0, factor=0.5, patience=2)
    >>> for loss in (3.0, 2.0, 2.5, 2.1):
    ...     schedule.observe(loss)
    >>> schedule(0)
    0.5
    """

    def __init__(self, lr: float, factor: float = 0.5, patience: int = 3) -> None:
        self.lr, self.factor, self.patience = lr, factor, patience
        self.scale, self.lowest, self.waited = 1.0, float("inf"), 0

    def __call__(self, step: int) -> float:
        return self.lr * self.scale

    def observe(self, loss: float) -> None:
        """Take note of the validation loss of an epoch."""
        self.waited = 0 if loss < self.lowest else self.waited + 1
        self.lowest = min(loss, self.lowest)
        if self.waited >= self.patience:
            self.scale, self.waited = self.scale * self.factor, 0

    def state_dict(self) -> dict[str, float]:
        """What has been observed so far."""
        return {"scale": self.scale, "lowest": self.lowest, "waited": self.waited}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Continue from ``state``, as returned by :meth:`state_dict`."""
        self.scale, self.lowest, self.waited = float(state["scale"]), float(state["lowest"]), int(state["waited"])
