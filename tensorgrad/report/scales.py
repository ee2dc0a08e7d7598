"""From values to places along an axis, and the ticks beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

DECADES = 1.3
"""Powers of ten between the smallest and the largest value from which on an axis that may be logarithmic is."""

TINY = 1e-30
"""Values up to this are on a linear axis."""

NARROW = 1e-9
"""Differences of values, relatively, that are taken for none."""

ROOM = 0.05
"""Share of an axis that is left free at both of its ends."""


@dataclass(frozen=True)
class Scale:
    """An axis from ``low`` to ``high``, linear or logarithmic.

    Examples
    --------
    >>> scale = Scale.over([0.0, 2.0], room=0)
    >>> scale.place(0.5), scale.ticks()
    (0.25, [0.0, 0.5, 1.0, 1.5, 2.0])
    >>> Scale.over([0.01, 10.0], may_be_log=True, room=0).ticks()
    [0.01, 0.1, 1.0, 10.0]
    """

    low: float
    high: float
    is_log: bool = False

    @classmethod
    def over(cls, values: Iterable[float], may_be_log: bool = False, room: float = ROOM) -> Scale:
        """One that has room for all values, as far as they are finite."""
        finite = [float(value) for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        if may_be_log and low > TINY and high > low * 10**DECADES:
            factor = (high / low) ** room
            return cls(low / factor, high * factor, is_log=True)
        if high - low <= NARROW * max(abs(low), abs(high)):
            low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
        return cls(low - room * (high - low), high + room * (high - low))

    def place(self, value: float) -> float:
        """Where a value is: from 0 at ``low`` to 1 at ``high``."""
        low, high = self.low, self.high
        if self.is_log:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    def ticks(self, most: int = 6) -> list[float]:
        """Round numbers along the axis."""
        return self._log_ticks(most) if self.is_log else self._linear_ticks(most)

    def whole_ticks(self, most: int = 6) -> list[float]:
        """Likewise, of whole numbers."""
        return [tick for tick in self._linear_ticks(most, least=1.0) if tick == round(tick)]

    def _linear_ticks(self, most: int, least: float = 0.0) -> list[float]:
        step = max(_round_up((self.high - self.low) / most), least)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [float(f"{n * step:.12g}") for n in range(first, last + 1)]

    def _log_ticks(self, most: int) -> list[float]:
        first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        every = max(1, -(-(last - first) // most))
        for factors in ((1,), (1, 2, 5)) if every == 1 else ((1,),):
            found = [float(f"{f}e{n}") for n in range(first, last + 1, every) for f in factors]
            found = [tick for tick in found if self.low <= tick * (1 + 1e-9) and tick <= self.high * (1 + 1e-9)]
            if len(found) >= 3:
                break
        return found


def _round_up(step: float) -> float:
    """The next of 1, 2, 2.5, 5 and 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * (1 - 1e-9))
