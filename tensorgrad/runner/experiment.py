"""Experiment and Recipe: the data, the networks and how they are trained."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data import Augmentation, Dataset
from ..nn import Module
from .errors import UsageError

if TYPE_CHECKING:
    from .options import Options


@dataclass(frozen=True)
class Recipe:
    """A network, and how it is trained unless the user asks for something else.

    Attributes
    ----------
    network
        ``network(rng, dropout_rng, hidden=..., dropout=..., l2=...)`` builds it, such as ``models.mnist``: the one
        generator draws the initial weights, the other the masks of dropout. Of an experiment that takes images of any
        shape it also gets ``image_shape`` and ``classes``.
    hidden, dropout, l2
        What it is built with: widths or channels of its hidden layers, rate of dropout, strength of the L2 penalty.
    epochs, lr
        Passes over the data, and learning rate.
    augmentation
        How training images are changed; as it is by default: not at all.

    Raises
    ------
    UsageError
        If one of them is of another kind.
    """

    network: Callable[..., Module]
    hidden: tuple[int, ...]
    dropout: float
    l2: float
    epochs: int
    lr: float
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if not callable(self.network):
            raise UsageError(f"Recipe: network must be a function, such as models.mnist, got {self.network!r}")
        for name in ("epochs", "lr"):
            if not (value := getattr(self, name)) > 0:
                raise UsageError(f"Recipe: {name} must be positive, got {value!r}")
        if not isinstance(self.augmentation, Augmentation):
            raise UsageError(
                "Recipe: augmentation must be an Augmentation, such as Augmentation(flip=True), got "
                f"{self.augmentation!r}"
            )


@dataclass(frozen=True)
class Experiment:
    """Which data, which networks, and their recipes.

    Attributes
    ----------
    name
        Of its runs.
    module
        That is its script: ``python -m MODULE``.
    purpose, data_help
        Sentences for ``--help``: what the script does, and what ``--data-dir`` names.
    load
        ``load(options, say)`` returns the data; it gets a function to tell the user with.
    recipes
        By the name of the network, as in ``--model NAME``.
    model
        The network that is trained where no other is asked for.
    image_shape, classes
        What the networks take and tell apart; other data is refused. None: they take images of any shape, and tell as
        many classes as there are.
    options
        The class of its options, where it has more than all experiments.

    Raises
    ------
    UsageError
        If one of them is of another kind.
    """

    name: str
    module: str
    purpose: str
    data_help: str
    load: Callable[[Any, Callable[[str], Any]], Dataset]
    recipes: Mapping[str, Recipe]
    model: str = "dense"
    image_shape: tuple[int, ...] | None = None
    classes: int | None = None
    options: type[Options] | None = None

    def __post_init__(self) -> None:
        if not callable(self.load):
            raise UsageError(f"Experiment: load must be a function of options and say, got {self.load!r}")
        if self.model not in self.recipes:
            raise UsageError(f"Experiment: model must be one of {', '.join(self.recipes)}, got {self.model!r}")
        if self.classes is not None and not self.classes > 0:
            raise UsageError(f"Experiment: classes must be positive, got {self.classes!r}")

    @property
    def recipe(self) -> Recipe:
        """Of the network that is trained."""
        return self.recipes[self.model]

    @property
    def augments(self) -> bool:
        """Whether training images are changed."""
        return self.recipe.augmentation != Augmentation()

    @property
    def takes_any(self) -> bool:
        """Whether its networks take images of any shape."""
        return self.image_shape is None

    def folder(self, data_dir: Path | None) -> Path:
        """Where a run is kept unless the user names another place, in ``runs/``."""
        name = Path(os.path.abspath(data_dir)).name if self.takes_any and data_dir is not None else self.name
        return Path("runs") / (name if self.model == next(iter(self.recipes)) else f"{name}-{self.model}")

    def with_model(self, model: str) -> Experiment:
        """The same with another of its networks."""
        return self if model == self.model else replace(self, model=model)

    def default(self, name: str) -> str:
        """What the recipes have for ``name``, in words: of the first one, and of those that differ from it.

        >>> from tensorgrad.nn import Sequential
        >>> recipes = {each: Recipe(Sequential, (9,), 0.1, 0.0, epochs=e, lr=0.1) for each, e in [("a", 20), ("b", 9)]}
        >>> Experiment("x", "x", "", "", print, recipes, "a").default("epochs")
        '20, for b 9'
        """
        value = attrgetter(name)
        first, *others = ((model, _in_words(value(recipe))) for model, recipe in self.recipes.items())
        return ", ".join([first[1], *(f"for {model} {words}" for model, words in others if words != first[1])])

    def network(
        self,
        weights: Any,
        masks: Any,
        image_shape: tuple[int, ...],
        classes: int,
        *,
        hidden: tuple[int, ...],
        dropout: float,
        l2: float,
    ) -> Module:
        """The untrained network, its initial weights drawn by ``weights`` and its dropout by ``masks``.

        Raises
        ------
        UsageError
            If it cannot be built so.
        """
        given: dict[str, Any] = {"image_shape": image_shape, "classes": classes} if self.takes_any else {}
        try:
            return self.recipe.network(weights, masks, hidden=hidden, dropout=dropout, l2=l2, **given)
        except ValueError as error:
            raise UsageError(f"--hidden, --dropout, --l2: make no network {self.model} ({error})") from None


def _in_words(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:g}"
    return "with" if value else "without"
