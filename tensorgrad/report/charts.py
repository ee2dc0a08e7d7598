"""Curves and bars as the page draws them: every place in percent of the chart's width and height."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..training import Epoch, Monitor
from .calibration import Calibration
from .scales import Scale

Point = tuple[float, float]

MOST_DOTS, MOST_BANDS, HUGE = 20, 300, 1e30
"""Epochs up to which each is marked by a dot; those whose values are shown; losses that are drawn."""

LEAST_SHARE = 0.3
"""Of the chart's height that curves take: the level of chance is left out rather than that they get less."""


@dataclass(frozen=True)
class Curve:
    """A line in parts, as there are gaps where values are not finite. ``kind`` says how it looks."""

    kind: str
    label: str
    parts: list[list[Point]]
    has_dots: bool = False


@dataclass(frozen=True)
class Band:
    """A piece of the chart's width with what is said of it; as a bar it has a height."""

    left: float
    width: float
    text: str
    height: float | None = None
    is_pale: bool = False


@dataclass(frozen=True)
class Chart:
    """What is drawn. Ticks are places and their labels; ``marked`` is the place of the best epoch."""

    title: str
    x_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    curves: list[Curve]
    bands: list[Band] = field(default_factory=list)
    marked: float | None = None
    note: str = ""


def learning_charts(
    history: Sequence[Epoch], monitor: Monitor, chance: Mapping[str, float] | None = None
) -> list[Chart]:
    """Charts of loss, accuracy and other metrics, and learning rate over the epochs.

    ``chance`` has what guessing reaches, by the name of a measure.
    """
    names = [name for name in ("loss", "accuracy", *history[0].metrics) if name in history[0].measures]
    names = [name for name in names if not name.startswith("validation_")]
    best = monitor.best(history).epoch
    charts = [_chart_of(history, name, best, (chance or {}).get(name)) for name in names]
    rate = {("rate", "learning rate"): "learning_rate"}
    rates = _over_epochs(history, "Learning rate (of the last step)", rate, best, decimal, may_be_log=False)
    return [*charts, rates]


def _chart_of(history: Sequence[Epoch], name: str, best: int, chance: float | None) -> Chart:
    is_share = name == "accuracy"
    drawn = {
        (kind, kind): measure
        for kind, measure in (("training", name), ("validation", f"validation_{name}"))
        if measure in history[0].measures
    }
    unit = " (cross-entropy in nats)" if name == "loss" and "accuracy" in history[0].measures else ""
    title = f"{name.replace('_', ' ').capitalize()}{unit}"
    return _over_epochs(history, title, drawn, best, percent if is_share else decimal, name == "loss", chance)


def _over_epochs(
    history: Sequence[Epoch],
    title: str,
    drawn: Mapping[tuple[str, str], str],
    best: int,
    shown: Callable[[float], str],
    may_be_log: bool,
    chance: float | None = None,
) -> Chart:
    across = Scale.over([row.epoch for row in history], room=0)
    values = {key: [row.measures.get(name, math.nan) for row in history] for key, name in drawn.items()}
    known = [v for line in values.values() for v in line if abs(v) < HUGE]
    up, curves = _with_chance(known, may_be_log, chance, shown)
    places = [100 * across.place(row.epoch) for row in history]
    has_dots = len(history) <= MOST_DOTS
    lines = [Curve(kind, label, _parts(places, line, up), has_dots) for (kind, label), line in values.items()]
    texts = [
        f"epoch {row.epoch}: "
        + ", ".join(f"{label} {shown(line[i])}" for (_, label), line in values.items())
        + (" (best epoch)" if row.epoch == best else "")
        for i, row in enumerate(history)
    ]
    return Chart(
        title=title,
        x_label="epoch",
        x_ticks=[(100 * across.place(tick), f"{tick:.0f}") for tick in across.whole_ticks()],
        y_ticks=[(_down(up, tick), shown(tick)) for tick in up.ticks()],
        curves=[*lines, *curves],
        bands=_bands(places, texts),
        marked=100 * across.place(best),
        note="It is not finite in some epochs." if len(known) < sum(map(len, values.values())) else "",
    )


def _with_chance(
    values: Sequence[float], may_be_log: bool, chance: float | None, shown: Callable[[float], str]
) -> tuple[Scale, list[Curve]]:
    """The vertical axis, and the line of chance if there is one; where it is too far away, words alone."""
    alone = Scale.over(values, may_be_log)
    if chance is None:
        return alone, []
    scale, label = Scale.over([*values, chance], may_be_log), f"chance, {shown(chance)}"
    if values and abs(scale.place(max(values)) - scale.place(min(values))) < LEAST_SHARE and len(set(values)) > 1:
        where = "below" if chance < min(values) else "above"
        return alone, [Curve("chance", f"{label} ({where})", [])]
    return scale, [Curve("chance", label, [[(0, _down(scale, chance)), (100, _down(scale, chance))]])]


def calibration_chart(found: Calibration) -> Chart:
    """How often predictions of each probability are right, beside how often they would be."""
    bands = []
    for each in found.bins:
        text = (
            f"stated {percent(each.low)} to {percent(each.high)}, {percent(each.confidence)} on average: "
            f"{percent(each.accuracy)} of {each.count:,} right"
        )
        is_pale = each.count < 0.01 * found.count
        width = each.high - each.low
        bands.append(Band(100 * each.low + 8 * width, 84 * width, text, 100 * each.accuracy, is_pale))
    ticks = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    return Chart(
        title="Share that is right, by the probability stated",
        x_label="probability stated for the predicted class",
        x_ticks=[(100 * tick, percent(tick)) for tick in ticks],
        y_ticks=[(100 - 100 * tick, percent(tick)) for tick in ticks],
        curves=[Curve("chance", "as often right as stated", [[(0, 100), (100, 0)]])],
        bands=bands,
    )


def percent(share: float) -> str:
    """A share as people write it.

    >>> percent(0.98376), percent(0.1), percent(1.0)
    ('98.38 %', '10 %', '100 %')
    """
    return f"{float(f'{100 * share:.2f}'):g} %" if math.isfinite(share) else "not finite"


def decimal(value: float) -> str:
    """A number with as many digits as one reads.

    >>> decimal(0.0123456), decimal(2e15), decimal(float("nan"))
    ('0.01235', '2e+15', 'not finite')
    """
    return f"{value:.4g}" if math.isfinite(value) else "not finite"


def _down(scale: Scale, value: float) -> float:
    """A place in percent from the top."""
    return 100 - 100 * scale.place(value)


def _parts(places: Sequence[float], values: Sequence[float], scale: Scale) -> list[list[Point]]:
    """The points of a line, in parts that end where there is a gap."""
    parts: list[list[Point]] = [[]]
    for x, value in zip(places, values):
        if abs(value) < HUGE:
            parts[-1].append((x, _down(scale, value)))
        elif parts[-1]:
            parts.append([])
    return [part for part in parts if part]


def _bands(places: Sequence[float], texts: Sequence[str]) -> list[Band]:
    """One around each place, or around some of them where they are many."""
    every = -(-len(places) // MOST_BANDS)
    places, texts = places[::every], texts[::every]
    edges = [0.0, *((one + other) / 2 for one, other in zip(places, places[1:])), 100.0]
    return [Band(left, right - left, text) for left, right, text in zip(edges, edges[1:], texts)]
