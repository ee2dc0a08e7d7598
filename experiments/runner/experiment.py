"""What an experiment is, and what the parts of one run of it share."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensorgrad.training import Epoch

LEAST_STEPS = 600
"""By default a small set is passed over more often: that many steps are needed to learn anything."""


@dataclass(frozen=True)
class Experiment:
    """A configuration: which data, which network, and the recipe's defaults.

    The network is the one of that ``name`` in ``models``. ``load(options, say)`` gets a function to tell the user with;
    ``augmentation`` holds the arguments of ``tensorgrad.data.Augmentation``; empty leaves the images as they are.
    """

    name: str
    purpose: str
    data_help: str
    image_shape: tuple[int, ...]
    load: Callable[[argparse.Namespace, Callable[[str], Any]], Any]
    epochs: int
    lr: float
    augmentation: dict[str, Any]


class Run:
    """What the parts of a run share: the experiment, its options, the data, the network, and how long things took."""

    def __init__(self, experiment: Experiment, options: argparse.Namespace) -> None:
        self.experiment, self.options = experiment, options
        self.seconds: dict[str, float] = {}
        self.history: list[Epoch] = []
        self.metrics: dict[str, Any] = {}

    def say(self, text: Any) -> None:
        """Print, unless the user wants it quiet."""
        if not self.options.quiet:
            print(text, flush=True)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of the block under ``name``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
