"""One run: prepare, train, test, and write results, pictures and the report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from .._optional import require
from ..distributed import current
from ..training import LAST, Epoch, TrainingError, save_history
from ..training.ranks import Ranks
from .console import say, warn
from .errors import UsageError
from .experiment import Experiment
from .folder import (
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
from .options import Options, Role
from .preparation import Prepared, prepare
from .report import write_report
from .results import Result, assess
from .training import Trained, overfit, train

DEPENDS_ON_EPOCHS = ("cosine", "step")
"""Schedules that are stretched over all epochs."""


class Clock:
    """How long the phases of a run took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of the block under ``name``."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - started


def run(experiment: Experiment, options: Options) -> Result | None:
    """The whole run: its result, or None where there is none, after ``--overfit-batch``.

    Raises
    ------
    Interrupted
        When a signal stopped the training, after the report.
    UsageError, DataError, CheckpointError, TrainingError
        One sentence on what is wrong; where the training diverged, after the report.
    """
    for library in ("jinja2", "PIL.Image"):  # now, rather than after the training
        require(library, "the report")
    if options.tensorboard:
        require("tensorboardX", "--tensorboard")
    if options.resume is True and not options.overfit_batch:
        check_resumable(options.out)
    clock, ranks = Clock(), Ranks(current())
    if options.batch_size < ranks.size:
        raise UsageError(
            f"--batch-size {options.batch_size}: each of {ranks.size} ranks needs an image of each; take larger batches"
        )
    with clock.phase("loading"):
        prepared = ranks.in_turn(partial(prepare, experiment, options))
    if options.overfit_batch:
        say(overfit(prepared))
        return None
    processes = "" if ranks.size == 1 else ranks.processes()
    if not ranks.is_first:
        _beside_first(prepared, ranks)
        return None
    if not options.resume and (aside := move_aside(options.out)):
        warn(f"the earlier run in {options.out} is now {aside}")
    with opened(options.out):
        return _in_folder(prepared, clock, ranks, processes)


def _beside_first(prepared: Prepared, ranks: Ranks) -> None:
    """A rank that only trains, while the first one writes and reports."""
    trained = train(prepared, lambda row: None)
    ranks.wait_for_first()
    _raise_what_ended(prepared, trained)


def _in_folder(prepared: Prepared, clock: Clock, ranks: Ranks, processes: str) -> Result | None:
    """All that happens in the run's folder; settings are there from the start."""
    options = prepared.options
    if options.resume:
        _say_what_is_resumed(prepared)
    if not (options.resume and (options.out / SETTINGS).exists()):
        save_json(options.out / SETTINGS, {**options.saved(), "experiment": prepared.experiment.name})
    _announce(prepared)
    if ranks.size > 1:
        _tell(options, f"{ranks.size} ranks, {ranks.threads}: {processes}")

    def finished(row: Epoch) -> None:
        if options.resume:
            _save_changes(options)
        _tell(options, row)

    with clock.phase("training"):
        trained = train(prepared, finished)
    result = _finish(prepared, trained, clock) if trained.history else None
    if ranks.size > 1:
        ranks.wait_for_first()
    _raise_what_ended(prepared, trained)
    return result


def _raise_what_ended(prepared: Prepared, trained: Trained) -> None:
    """Whatever ended the training before its end, or for nothing."""
    if trained.stopped is not None:
        raise trained.stopped
    if trained.diverged is not None:
        raise TrainingError(f"{trained.diverged}; the report in {prepared.options.out} shows how")


def _tell(options: Options, text: object) -> None:
    """Print, unless the user wants it quiet."""
    if not options.quiet:
        for line in str(text).splitlines():
            say(line)


def _say_what_is_resumed(prepared: Prepared) -> None:
    options = prepared.options
    folder, epochs = options.out, prepared.epochs
    if is_complete(folder, prepared.settings):
        _tell(options, f"{folder} is complete: testing it again; for a longer run, give --epochs")
    elif (folder / LAST).exists():
        _tell(options, f"resuming {folder}")
    else:
        warn(f"{folder} holds no checkpoint yet: the run starts from the beginning")
    before = read_settings(folder).get("epochs", epochs)
    if before == epochs or not (folder / LAST).exists():
        return
    if (done := epochs_done(folder)) > epochs:
        raise UsageError(f"--epochs {epochs}: the run in {folder} has already finished {done}; choose more")
    if options.schedule in DEPENDS_ON_EPOCHS:
        warn(
            f"the {options.schedule} schedule spans all epochs: from epoch {done + 1} on it is that of {epochs}, "
            f"until then it was that of {before}, so the result is not that of {epochs} epochs from the start"
        )


def _announce(prepared: Prepared) -> None:
    options, dataset = prepared.options, prepared.dataset
    sizes = f"{len(prepared.train[1]):,} training, {len(prepared.validation[1]):,} validation"
    _tell(options, f"data: {dataset.name}, {sizes}, {len(dataset.test_labels):,} test images")
    _tell(options, f"network of {prepared.parameters:,} parameters: {prepared.model!r}")
    chosen = {**options.of_role(Role.RESULT, Role.LENGTH), "experiment": prepared.experiment.name}
    _tell(options, "settings: " + ", ".join(f"{k} {v}" for k, v in chosen.items() if v not in (None, False)))


def _save_changes(options: Options) -> None:
    """Where a resumed run has become longer than it was, or continues with other options, update its settings."""
    saved = read_settings(options.out)
    changed = {**saved, **options.saved()}
    if changed != saved:
        save_json(options.out / SETTINGS, changed)


def _finish(prepared: Prepared, trained: Trained, clock: Clock) -> Result:
    """Test the best network and write everything down."""
    options = prepared.options
    with clock.phase("testing"):
        result = assess(prepared, trained)
    save_json(options.out / METRICS, result.metrics)
    with clock.phase("report"):
        save_history(result.history, options.out / HISTORY)
        write_report(result, clock.seconds)
    phases = {name: round(seconds, 2) for name, seconds in clock.seconds.items()}
    save_json(options.out / METRICS, {**result.metrics, "phases": phases})
    if len(result.history) < prepared.epochs and trained.stopped is None:
        _tell(
            options,
            f"no better {options.monitor.replace('_', ' ')} for {options.patience} epochs: ended before epoch "
            f"{prepared.epochs}",
        )
    _tell(options, f"results in {options.out}: report.html, metrics.json, history.csv, checkpoints")
    if options.tensorboard:
        _tell(options, f"curves of this and other runs: tensorboard --logdir {options.out.parent}")
    say(f"test accuracy {result.metrics['test_accuracy']:.4f}")
    return result
