"""Training the prepared network."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import tensorgrad as tg

from ..data import Loader
from ..distributed import current
from ..optim import OPTIMISERS
from ..training import (
    DivergenceWarning,
    Epoch,
    Interrupted,
    TensorBoard,
    TrainingError,
    evaluate,
    fit,
    training_step,
)
from ..training.ranks import Ranks
from .options import Role
from .preparation import Prepared, optimiser_settings

OVERFIT_STEPS = 1000

EVENTS = "tensorboard"
"""The folder in that of a run for TensorBoard's curves."""


@dataclass(frozen=True)
class Trained:
    """The finished epochs, and what ended the training before its end or for nothing; the network is the best one."""

    history: list[Epoch]
    stopped: Interrupted | None = None
    diverged: DivergenceWarning | None = None
    ranks: dict[str, Any] | None = None


def train(prepared: Prepared, on_epoch: Callable[[Epoch], Any]) -> Trained:
    """Train the network, with checkpoints in the run's folder; it then has the weights of its best epoch."""
    ranks = Ranks(current())
    trained = _trained(prepared, on_epoch)
    return replace(trained, ranks=ranks.figures())


def _trained(prepared: Prepared, on_epoch: Callable[[Epoch], Any]) -> Trained:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DivergenceWarning)
        try:
            return Trained(_fit(prepared, on_epoch))
        except Interrupted as interruption:
            return Trained(interruption.history, stopped=interruption)
        except DivergenceWarning as warning:
            return Trained(warning.history, diverged=warning)


def _fit(prepared: Prepared, on_epoch: Callable[[Epoch], Any]) -> list[Epoch]:
    options = prepared.options
    length = options.of_role(Role.LENGTH)
    return fit(
        prepared.model,
        Loader(*prepared.train, workers=options.workers) if options.workers else prepared.train,
        prepared.validation,
        prepared.optimiser,
        epochs=prepared.epochs,
        batch_size=options.batch_size,
        rng=prepared.streams,
        prepare=prepared.standardisation,
        augment=prepared.augmentation if options.augment else None,
        max_norm=options.clip,
        monitor=options.monitor,
        patience=options.patience,
        folder=options.out,
        resume="auto" if options.resume else False,
        settings={name: value for name, value in prepared.settings.items() if name not in length},
        on_epoch=on_epoch,
        callbacks=[TensorBoard(options.out / EVENTS)] if options.tensorboard else [],
        quiet=options.quiet,
        compiled=options.compile,
        deterministic=options.deterministic,
    )


def overfit(prepared: Prepared) -> str:
    """Train on a single batch until every image of it is classified right: a network that cannot is broken.

    Returns a sentence on how it went.

    Raises
    ------
    TrainingError
        If it is not learnt.
    """
    options, model = prepared.options, prepared.model
    chosen = prepared.streams.order.permutation(len(prepared.train[1]))[: options.batch_size]
    images, labels = (part[chosen] for part in prepared.train)
    inputs = prepared.standardisation(images)
    optimiser = OPTIMISERS[options.optimiser](model.parameters(), lr=options.lr, **optimiser_settings(options))
    update = training_step(model, optimiser)
    if options.compile:
        update = tg.compile(update)
    for step in range(1, OVERFIT_STEPS + 1):
        update(inputs, labels)
        loss, accuracy = evaluate(model, (inputs, labels))
        if accuracy == 1.0:
            return f"all {len(labels)} images right after {step} steps, loss {loss:.4f}: accuracy {accuracy:.4f}"
    raise TrainingError(
        f"one batch cannot be learnt: accuracy {accuracy:.4f} after {OVERFIT_STEPS} steps; check labels and lr"
    )
