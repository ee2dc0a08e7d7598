"""From an experiment and its options to the data, network and optimiser of a training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from ..data import Augmentation, DataError, Dataset, Standardisation, stratified_split
from ..nn import Module
from ..optim import (
    OPTIMISERS,
    Optimiser,
    Plateau,
    cosine_decay,
    inverse_time_decay,
    step_decay,
    warm_up,
)
from ..training import RandomStreams
from .arguments import as_widths
from .console import warn
from .errors import UsageError
from .experiment import Experiment
from .options import LEAST_STEPS, Options, Role
from .outliers import usual_ranges

FAST_PER_CLASS = 8
"""Images of each class in a ``--fast-dev-run``."""

Examples = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Prepared:
    """The data, its split and the way from pixels to inputs, the untrained network and its optimiser.

    In ``options`` the number of epochs is settled. ``settings`` is what checkpoints hold: all that the result depends
    on, and what predictions need.
    """

    experiment: Experiment
    options: Options
    dataset: Dataset
    train: Examples
    validation: Examples
    standardisation: Standardisation
    augmentation: Augmentation
    model: Module
    optimiser: Optimiser
    streams: RandomStreams
    settings: dict[str, Any]

    @property
    def epochs(self) -> int:
        """How many there will be."""
        return cast(int, self.options.epochs)

    @property
    def parameters(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.size for parameter in self.model.parameters())


def prepare(experiment: Experiment, options: Options) -> Prepared:
    """Load the data and build the network."""
    optimiser_settings(options)  # now, rather than after the data has been read
    experiment = experiment.with_model(options.model)
    dataset = _loaded(experiment, options)
    streams = RandomStreams.from_seed(options.seed)
    kept, held_out = stratified_split(dataset.train_labels, options.validation, streams.split)
    train, validation = ((dataset.train_images[part], dataset.train_labels[part]) for part in (kept, held_out))
    standardisation = Standardisation.of(train[0])
    model = experiment.network(
        streams.weights,
        streams.dropout,
        dataset.image_shape,
        len(dataset.classes),
        hidden=as_widths(options.hidden),
        dropout=options.dropout,
        l2=options.l2,
    )
    steps_per_epoch = -(-len(kept) // options.batch_size)
    usual = 1 if options.fast_dev_run else max(experiment.recipe.epochs, -(-LEAST_STEPS // steps_per_epoch))
    epochs = options.epochs or usual
    options = replace(options, epochs=epochs)
    lr = learning_rate(options, epochs * steps_per_epoch)
    return Prepared(
        experiment=experiment,
        options=options,
        dataset=dataset,
        train=train,
        validation=validation,
        standardisation=standardisation,
        augmentation=replace(
            experiment.recipe.augmentation,
            flip=options.flip,
            shift=options.shift,
            rotation=options.rotation,
            zoom=options.zoom,
            cutout=options.cutout,
        ),
        model=model,
        optimiser=OPTIMISERS[options.optimiser](model.parameters(), lr=lr, **optimiser_settings(options)),
        streams=streams,
        settings={
            **options.of_role(Role.RESULT, Role.LENGTH),
            "experiment": experiment.name,
            "data": dataset.fingerprint(),
            "classes": list(dataset.classes),
            "image_shape": list(dataset.image_shape),
            "mean": list(standardisation.mean),
            "deviation": list(standardisation.deviation),
            "image_ranges": usual_ranges(train[0]),
        },
    )


def _loaded(experiment: Experiment, options: Options) -> Dataset:
    dataset = experiment.load(options, warn)
    if experiment.image_shape not in (None, dataset.image_shape):
        raise DataError(
            f"{dataset.name}: images of shape {dataset.image_shape}, "
            f"the network takes {experiment.image_shape}; resize them"
        )
    if experiment.classes not in (None, len(dataset.classes)):
        raise DataError(
            f"{dataset.name}: {len(dataset.classes)} classes, the network tells {experiment.classes}; pass as many"
        )
    return dataset.shortened(FAST_PER_CLASS) if options.fast_dev_run else dataset


def optimiser_settings(options: Options) -> dict[str, float]:
    """The settings of the optimiser that were asked for.

    Raises
    ------
    UsageError
        If it has none of that name.
    """
    asked = {name: getattr(options, name) for name in ("momentum", "weight_decay")}
    found = {name: value for name, value in asked.items() if value is not None}
    for name in found:
        if not hasattr(OPTIMISERS[options.optimiser], name):
            able = " or ".join(kind for kind, made in OPTIMISERS.items() if hasattr(made, name))
            raise UsageError(
                f"--{name.replace('_', '-')}: {options.optimiser} has none; leave it out, or take --optimiser {able}"
            )
    return found


def learning_rate(options: Options, steps: int) -> Any:
    """The schedule of the learning rate as the options say, over that many steps."""
    schedule = {
        "cosine": cosine_decay(options.lr, steps),
        "inverse": inverse_time_decay(options.lr, options.decay),
        "step": step_decay(options.lr, every=max(1, -(-steps // 3))),
        "plateau": Plateau(options.lr),
        "constant": lambda step: options.lr,
    }[options.schedule]
    return warm_up(schedule, options.warm_up) if options.warm_up else schedule
