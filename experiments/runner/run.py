"""One run: load, split, train, test, and write results, pictures and the report."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import warnings
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

import models
import tensorgrad as tg
from experiments.runner.experiment import LEAST_STEPS, Experiment, Run
from experiments.runner.folder import (
    HISTORY,
    METRICS,
    SETTINGS,
    check_resumable,
    epochs_done,
    is_complete,
    move_aside,
    opened,
    read_settings,
    save_json,
)
from experiments.runner.outliers import usual_ranges
from experiments.runner.report import write_report
from tensorgrad._optional import require
from tensorgrad.data import Augmentation, DataError, Dataset, Standardisation, stratified_split
from tensorgrad.nn import Module
from tensorgrad.optim import Adam, ReduceLROnPlateau, cosine_decay, inverse_time_decay, step_decay, warmup
from tensorgrad.training import (
    LAST,
    DivergenceWarning,
    Epoch,
    Interrupted,
    TrainingError,
    evaluate,
    fit,
    predict,
    save_history,
    training_step,
)
from tensorgrad.training.monitor import Monitor

CLASSES = 10
FAST_PER_CLASS = 8
OVERFIT_STEPS = 1000
NOT_SETTINGS = ("compile", "config", "data_dir", "out", "quiet", "resume", "strict")
"""Options that do not change what is computed; all others must be equal for a run to be resumed."""

LENGTH = ("epochs", "patience")
"""But for those that say when it ends: a run may go on beyond its end."""

DEPENDS_ON_EPOCHS = ("cosine", "step")
"""Schedules that are stretched over all epochs."""


def run(experiment: Experiment, options: argparse.Namespace) -> None:
    """The whole run; raises ``Interrupted`` after the report when a signal stopped the training."""
    this = Run(experiment, options)
    require("matplotlib.figure", "the report")  # now, rather than after the training
    if options.resume is True and not options.overfit_batch:
        check_resumable(options.out)
    prepare(this)
    if options.overfit_batch:
        _overfit(this)
        return
    if not options.resume and (aside := move_aside(options.out)):
        _warn(f"the earlier run in {options.out} is now {aside}")
    with opened(options.out):
        _train_and_report(this)


def _train_and_report(this: Run) -> None:
    """All that happens in the run's folder; settings are there from the start."""
    options = this.options
    if options.resume:
        _say_what_is_resumed(this)
    if not (options.resume and (options.out / SETTINGS).exists()):
        save_json(options.out / SETTINGS, _as_config(this))
    _announce(this)
    stopped = diverged = None
    with this.phase("training"):
        try:
            this.history = _train(this)
        except Interrupted as interruption:
            stopped, this.history = interruption, interruption.history
        except DivergenceWarning as warning:
            diverged, this.history = warning, warning.history
    if this.history:
        _finish(this, stopped, diverged)
    if stopped is not None:
        raise stopped
    if diverged is not None:
        raise TrainingError(f"{diverged}; the report in {options.out} shows how")


def prepare(this: Run) -> None:
    """Load the data and build the network."""
    with this.phase("loading"):
        _load(this)
    _build(this)


def _say_what_is_resumed(this: Run) -> None:
    folder, options = this.options.out, this.options
    if is_complete(folder, this.settings):
        this.say(f"{folder} is complete: testing it again; for a longer run, give --epochs")
    elif (folder / LAST).exists():
        this.say(f"resuming {folder}")
    else:  # also where quiet was asked for
        _warn(f"{folder} holds no checkpoint yet: the run starts from the beginning")
    before = read_settings(folder).get("epochs", this.epochs)
    if before == this.epochs or not (folder / LAST).exists():
        return
    if (done := epochs_done(folder)) > this.epochs:
        raise DataError(f"--epochs {this.epochs}: the run in {folder} has finished {done} already; ask for more")
    if options.schedule in DEPENDS_ON_EPOCHS:
        _warn(
            f"the {options.schedule} schedule spans all epochs: from epoch {done + 1} on it is that of {this.epochs}, "
            f"until then it was that of {before}, so the result is not that of {this.epochs} epochs from the start"
        )


def _warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _load(this: Run) -> None:
    """The data, its split, and the way from pixels to inputs."""
    options, experiment = this.options, this.experiment
    dataset: Dataset = experiment.load(options, say=_warn)
    if dataset.image_shape != experiment.image_shape:
        raise DataError(
            f"{dataset.name}: images of shape {dataset.image_shape}, "
            f"the network takes {experiment.image_shape}; resize them"
        )
    if len(dataset.classes) != CLASSES:
        raise DataError(f"{dataset.name}: {len(dataset.classes)} classes, the network tells {CLASSES}; pass as many")
    this.dataset = dataset.shortened(FAST_PER_CLASS) if options.fast_dev_run else dataset
    this.rng = np.random.default_rng(options.seed)
    kept, held_out = stratified_split(this.dataset.train_labels, options.validation, this.rng)
    this.train = this.dataset.train_images[kept], this.dataset.train_labels[kept]
    this.validation = this.dataset.train_images[held_out], this.dataset.train_labels[held_out]
    this.standardisation = Standardisation.of(this.train[0])
    this.augmentation = Augmentation(**experiment.augmentation) if experiment.augmentation else Augmentation(flip=True)


def _build(this: Run) -> None:
    """The network, its optimiser, and the settings that a checkpoint is checked against."""
    options, experiment = this.options, this.experiment
    this.model: Module = getattr(models, experiment.name)(this.rng)
    this.parameters = sum(parameter.size for parameter in this.model.parameters())
    steps_per_epoch = -(-len(this.train[1]) // options.batch_size)
    usual = 1 if options.fast_dev_run else max(experiment.epochs, -(-LEAST_STEPS // steps_per_epoch))
    this.epochs = options.epochs or usual
    this.optimiser = Adam(this.model.parameters(), lr=_schedule(options, this.epochs * steps_per_epoch))
    this.settings = {
        **{name: value for name, value in vars(options).items() if name not in NOT_SETTINGS},
        "epochs": this.epochs,
        "data": this.dataset.fingerprint(),
        "classes": list(this.dataset.classes),
        "image_shape": list(this.dataset.image_shape),
        "mean": list(this.standardisation.mean),
        "deviation": list(this.standardisation.deviation),
        "image_ranges": usual_ranges(this.train[0]),
    }


def _schedule(options: argparse.Namespace, steps: int) -> Any:
    """The learning rate as the options say, over that many steps."""
    schedule = {
        "cosine": cosine_decay(options.lr, steps),
        "inverse": inverse_time_decay(options.lr, options.decay),
        "step": step_decay(options.lr, every=max(1, -(-steps // 3))),
        "plateau": ReduceLROnPlateau(options.lr),
        "constant": lambda step: options.lr,
    }[options.schedule]
    return warmup(schedule, options.warm_up) if options.warm_up else schedule


def _announce(this: Run) -> None:
    sizes = f"{len(this.train[1]):,} training, {len(this.validation[1]):,} validation"
    this.say(f"data: {this.dataset.name}, {sizes}, {len(this.dataset.test_labels):,} test images")
    this.say(f"network of {this.parameters:,} parameters: {this.model!r}")
    shown = {name: value for name, value in this.settings.items() if name in vars(this.options)}
    this.say("settings: " + ", ".join(f"{name} {value}" for name, value in shown.items() if value not in (None, False)))


def _train(this: Run) -> list[Epoch]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DivergenceWarning)
        return _fit(this)


def _fit(this: Run) -> list[Epoch]:
    options = this.options

    def finished(row: Epoch) -> None:
        if options.resume:
            _note_length(this)
        this.say(row)

    return fit(
        this.model,
        this.train,
        this.validation,
        this.optimiser,
        epochs=this.epochs,
        batch_size=options.batch_size,
        rng=this.rng,
        prepare=this.standardisation,
        augment=this.augmentation if options.augment else None,
        max_norm=options.clip,
        patience=options.patience,
        folder=options.out,
        resume="auto" if options.resume else False,
        settings={name: value for name, value in this.settings.items() if name not in LENGTH},
        on_epoch=finished,
        quiet=options.quiet,
        compiled=options.compile,
    )


def _note_length(this: Run) -> None:
    """Where a resumed run has become longer than it was, its settings say so."""
    saved = read_settings(this.options.out)
    longer = {**saved, "epochs": this.epochs, "patience": this.options.patience}
    if longer != saved:
        save_json(this.options.out / SETTINGS, longer)


def _overfit(this: Run) -> None:
    """Train on a single batch until every image of it is classified right: a network that cannot is broken."""
    chosen = this.rng.permutation(len(this.train[1]))[: this.options.batch_size]
    images, labels = (part[chosen] for part in this.train)
    inputs = this.standardisation(images)
    update = training_step(this.model, Adam(this.model.parameters(), lr=this.options.lr))
    if this.options.compile:
        update = tg.compile(update)
    for step in range(1, OVERFIT_STEPS + 1):
        update(inputs, labels)
        loss, accuracy = evaluate(this.model, (inputs, labels))
        if accuracy == 1.0:
            print(f"all {len(labels)} images right after {step} steps, loss {loss:.4f}: accuracy {accuracy:.4f}")
            return
    raise TrainingError(
        f"one batch cannot be learnt: accuracy {accuracy:.4f} after {OVERFIT_STEPS} steps; check labels and lr"
    )


def _finish(this: Run, stopped: Interrupted | None, diverged: DivergenceWarning | None) -> None:
    """Test the best network and write everything down."""
    out, dataset = this.options.out, this.dataset
    with this.phase("testing"):
        logits = predict(this.model, dataset.test_images, this.standardisation)
        probabilities = tg.softmax(logits)
        test_accuracy = float((logits.argmax(axis=1) == dataset.test_labels).mean())
        test_loss = float(tg.softmax_cross_entropy(logits, dataset.test_labels))
    best = Monitor().best(this.history)
    training = sum(row.seconds for row in this.history)
    this.metrics = {
        "experiment": this.experiment.name,
        "test_accuracy": test_accuracy,
        "test_loss": test_loss,
        "validation_accuracy": best.validation_accuracy,
        "best_epoch": best.epoch,
        "dataset": dataset.name,
        "epochs": len(this.history),
        "seconds": round(training, 2),
        "seed": this.options.seed,
        "parameters": this.parameters,
        "stopped": None if stopped is None else str(stopped),
        "diverged": diverged is not None,
        "date": datetime.now().strftime("%Y-%m-%d %H:%M"),
        "settings": this.settings,
        "environment": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "tensorgrad": tg.__version__,
            "cpus": os.cpu_count(),
            "machine": platform.machine(),
        },
    }
    save_json(out / METRICS, this.metrics)
    with this.phase("report"):
        save_history(this.history, out / HISTORY)
        write_report(this, probabilities)
    save_json(out / METRICS, {**this.metrics, "phases": {k: round(v, 2) for k, v in this.seconds.items()}})
    if len(this.history) < this.epochs and stopped is None:
        this.say(f"no better validation accuracy for {this.options.patience} epochs: ended before epoch {this.epochs}")
    this.say(f"results in {out}: report.html, metrics.json, history.csv, pictures, checkpoints")
    print(f"test accuracy {test_accuracy:.4f}", flush=True)


def _as_config(this: Run) -> dict[str, Any]:
    """The options that repeat the run, for ``--config`` and ``--resume``."""
    values = {**vars(this.options), "epochs": this.epochs}
    kept = {name: value for name, value in values.items() if name not in ("config", "out", "resume")}
    return {name: str(value) if isinstance(value, Path) else value for name, value in kept.items()}
