"""What an experiment is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..data import Augmentation, Dataset
from ..nn import Module
from .errors import UsageError

if TYPE_CHECKING:
    from .options import Options


@dataclass(frozen=True)
class Experiment:
    """Which data, which network, and the recipe's defaults.

    Attributes
    ----------
    name
        That of the script: ``python -m experiments.NAME``.
    purpose, data_help
        Sentences for ``--help``: what the script does, and what ``--data-dir`` names.
    load
        ``load(options, say)`` returns the data; it gets a function to tell the user with.
    model
        ``model(rng, dropout_rng)`` builds the network, such as ``models.mnist``: the one generator draws the initial
        weights, the other the masks of dropout.
    image_shape, classes
        What the network takes and tells apart; other data is refused.
    epochs, lr
        Passes over the data and learning rate, unless the user asks for others.
    augmentation
        How training images are changed; None: not, unless the user asks for it.

    Raises
    ------
    UsageError
        If one of them is of another kind.
    """

    name: str
    purpose: str
    data_help: str
    load: Callable[[Options, Callable[[str], Any]], Dataset]
    model: Callable[..., Module]
    image_shape: tuple[int, ...]
    epochs: int
    lr: float
    classes: int = 10
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        for name in ("load", "model"):
            if not callable(value := getattr(self, name)):
                raise UsageError(f"Experiment: {name} must be a function, such as models.mnist, got {value!r}")
        for name in ("epochs", "lr", "classes"):
            if not (value := getattr(self, name)) > 0:
                raise UsageError(f"Experiment: {name} must be positive, got {value!r}")
        if not isinstance(self.augmentation, (Augmentation, type(None))):
            raise UsageError(
                f"Experiment: augmentation must be an Augmentation, such as Augmentation(flip=True), or None, "
                f"got {self.augmentation!r}"
            )
