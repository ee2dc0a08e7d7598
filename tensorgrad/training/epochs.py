"""The epochs of a training: steps on batches, evaluation, saving, and what stops them."""

from __future__ import annotations

import copy
import math
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from ..data import Loader, index_batches
from ..data.loader import ahead
from ..optim import GradientsNotFinite, Optimiser
from .callbacks import Callbacks
from .diagnosis import diagnose, diagnose_validation, not_finite_inputs
from .evaluation import scores, values_of
from .examples import Examples, check_count, check_numbers
from .history import Epoch
from .interruption import Interrupted, Interruption
from .monitor import Monitor
from .objective import Objective
from .session import LAST, Progress, Session
from .step import FirstStep, LossNotFinite, Step, warning_of_unused

DIVERGED = 2.0
"""How many times the loss of guessing, and of the first step, both losses of an epoch are if the training diverged."""


class TrainingError(RuntimeError):
    """Training that cannot go on; the message says where and what to change."""


@dataclass
class Batches:
    """The training examples, and how batches are made of them."""

    examples: Examples
    size: int
    drop_last: bool
    streams: Mapping[str, np.random.Generator]
    prepare: Callable[[Any], Any]
    augment: Callable[[Any, np.random.Generator], Any] | None

    @property
    def count(self) -> int:
        """How many examples an epoch has."""
        count = self.examples.count
        return count - count % self.size if self.drop_last else count

    def left(self, progress: Progress) -> Iterator[tuple[np.ndarray, Any, Examples]]:
        """Indices, prepared inputs and examples still to be done in the current epoch; ``progress`` moves along."""
        if progress.order is None:
            progress.order = self.streams["order"].permutation(self.examples.count)
        left = index_batches(progress.order[: self.count], self.size, progress.position)
        inputs = self.examples.inputs
        is_ahead = isinstance(inputs, Loader) and inputs.workers
        made = self._ahead(left, inputs.prefetch) if is_ahead else self._made(left, self.streams["augmentation"])
        for indices, prepared, batch in made:
            progress.position += len(indices)
            yield indices, prepared, batch

    def _made(self, left: Iterator[np.ndarray], rng: np.random.Generator) -> Iterator[tuple[np.ndarray, Any, Examples]]:
        """The batches of these indices."""
        for indices in left:
            batch = self.examples.chosen(indices)
            chosen = batch.inputs
            if self.augment is not None:
                chosen = self.augment(chosen, rng)
                check_count("fit", "augment", chosen, len(indices))
            prepared = self.prepare(chosen)
            check_count("fit", "prepare", prepared, len(indices))
            check_numbers("fit", prepared)
            yield indices, prepared, batch

    def _ahead(self, left: Iterator[np.ndarray], count: int) -> Iterator[tuple[np.ndarray, Any, Examples]]:
        """The same, made ahead with a copy of the generator, which itself has the state after the batch at hand."""
        rng = self.streams["augmentation"]
        drawn = copy.deepcopy(rng)
        made = ((batch, drawn.bit_generator.state) for batch in self._made(left, drawn))
        for batch, state in ahead(made, count):
            rng.bit_generator.state = state
            yield batch


@dataclass
class Training:
    """What one call of :func:`fit` trains with; how far it has come is in the session."""

    session: Session
    step: Step
    first: FirstStep
    batches: Batches
    validation: Examples | None
    objective: Objective
    monitor: Monitor
    epochs: int
    callbacks: Callbacks
    quiet: bool

    def run(self, interruption: Interruption) -> None:
        """All epochs that are left."""
        session, progress = self.session, self.session.progress
        is_first, is_over = True, self.callbacks.train_begins()
        while progress.epoch <= self.epochs and not is_over:
            started = time.perf_counter() - progress.seconds
            if self._train_epoch(started, interruption):
                break
            if is_first and (sentence := warning_of_unused(session.model, session.optimiser)):
                warnings.warn(sentence, UserWarning, stacklevel=3)
            is_first = False
            row = self._row(started)
            progress.finish_epoch(row, self.monitor)
            is_over = self.callbacks.epoch_ends(row)
            if progress.epoch <= self.epochs and not is_over:
                self._stop_if_interrupted(interruption)
        self.callbacks.train_ends()

    def _train_epoch(self, started: float, interruption: Interruption) -> bool:
        """The steps that are left of the current epoch; whether a callback stops the training before its end."""
        session, progress = self.session, self.session.progress
        session.model.train()
        with _progress_bar(progress, self.epochs, self.batches.count, self.quiet) as bar:
            for indices, inputs, batch in self.batches.left(progress):
                targets = batch.targets
                shares, total = self.objective.shares(targets, batch.weights, len(indices))
                given = (inputs, targets) if shares is None else (inputs, targets, shares)
                try:
                    loss, outputs = self.step(*given)
                except LossNotFinite as error:
                    happened = f"the loss became {error.loss} in step {session.optimiser.steps + 1}"
                    raise self._not_finite(happened, self._diagnosis(indices, inputs)) from None
                except GradientsNotFinite as error:
                    where = f"step {session.optimiser.steps + 1} (epoch {progress.epoch})"
                    raise TrainingError(f"{where}: {error}") from None
                if self.first.warning:
                    self._warn_of_parameters()
                value = loss.item()
                self._count(value, total, outputs, targets, len(indices))
                progress.seconds = time.perf_counter() - started
                _show(bar, progress, len(indices))
                if self.callbacks.step_ends(value) and progress.position < self.batches.count:
                    return True
                self._stop_if_interrupted(interruption)
        return False

    def _warn_of_parameters(self) -> None:
        sentence, self.first.warning = self.first.warning, ""
        warnings.warn(sentence, UserWarning, stacklevel=5)

    def _count(self, loss: float, total: float, outputs: Any, targets: Any, count: int) -> None:
        progress = self.session.progress
        if progress.initial_loss is None:
            progress.initial_loss = loss
        progress.loss_sum += loss * total
        progress.loss_weight += total
        if self.objective.metrics:
            progress.measure(self.objective.totals(values_of(outputs), targets, count))

    def _row(self, started: float) -> Epoch:
        """The epoch whose steps have been done."""
        session, progress = self.session, self.session.progress
        measures = progress.means()
        if self.validation is not None:
            found = scores("fit", session.model, self.validation, self.batches.prepare, self.objective)._asdict()
            if not math.isfinite(found["loss"]):
                happened = f"the validation loss became {found['loss']} after step {session.optimiser.steps}"
                diagnosis = diagnose_validation(session.model, self.validation.inputs, self.batches.prepare)
                raise self._not_finite(happened, diagnosis)
            measures.update((f"validation_{name}", value) for name, value in found.items())
        return Epoch(
            progress.epoch,
            measures.pop("loss"),
            measures.pop("accuracy", None),
            measures.pop("validation_loss", None),
            measures.pop("validation_accuracy", None),
            _latest_rate(session.optimiser),
            time.perf_counter() - started,
            measures,
        )

    def _stop_if_interrupted(self, interruption: Interruption) -> None:
        if interruption.signal is None:
            return
        session = self.session
        session.save()
        if session.progress.history:
            session.load_best()
        raise Interrupted(interruption.signal, session.progress.history)

    def _diagnosis(self, indices: np.ndarray, prepared: Any) -> str:
        found = not_finite_inputs("training", self.batches.examples.inputs, indices, prepared)
        return found or diagnose(self.session.model, prepared)

    def _not_finite(self, happened: str, diagnosis: str) -> TrainingError:
        progress, folder = self.session.progress, self.session.folder
        saved = folder is not None and (folder / LAST).exists()
        return TrainingError(
            f"{happened} (epoch {progress.epoch}/{self.epochs}): {diagnosis}; "
            f"last good checkpoint: {folder / LAST if folder is not None and saved else 'none'}"
        )

    def divergence(self) -> str:
        """In a sentence, that the losses of the last epoch are far above those that it began with; or nothing."""
        progress, guess = self.session.progress, self.objective.guess
        if progress.initial_loss is None or not progress.history or guess is None:
            return ""
        last, guessing = progress.history[-1], guess(self.objective.counted(self.batches.examples.targets))
        if min(last.loss, last.measures.get("validation_loss", last.loss)) <= DIVERGED * max(
            progress.initial_loss, guessing
        ):
            return ""
        validation = "" if last.validation_loss is None else f", the validation loss {last.validation_loss:.4g}"
        return (
            f"the training diverged: its loss is {last.loss:.4g}{validation}, after {progress.initial_loss:.4g} in the "
            f"first step and where guessing gives {guessing:.4g}; lower the learning rate or clip the gradients"
        )


def _latest_rate(optimiser: Optimiser) -> float:
    """The learning rate that the latest step took."""
    rate = optimiser.lr
    return float(rate(max(optimiser.steps - 1, 0)) if callable(rate) else rate)


def _progress_bar(progress: Progress, epochs: int, count: int, quiet: bool) -> Any:
    """A bar of examples with loss and accuracy; nothing where the output is no terminal, or without tqdm."""
    if quiet or not sys.stderr.isatty():
        return nullcontext()
    try:
        from tqdm import tqdm
    except ImportError:
        return nullcontext()
    return tqdm(
        total=count,
        initial=progress.position,
        desc=f"epoch {progress.epoch}/{epochs}",
        unit="img",
        leave=False,
    )


def _show(bar: Any, progress: Progress, count: int) -> None:
    if bar is None:
        return
    bar.set_postfix({name: f"{value:.4f}" for name, value in progress.means().items()}, refresh=False)
    bar.update(count)
