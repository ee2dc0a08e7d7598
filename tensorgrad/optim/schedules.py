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
