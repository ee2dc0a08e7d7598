"""The epochs of a training: steps on batches, evaluation, saving, and what stops them."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Callable

import numpy as np

from ..data import index_batches
from ..optim import GradientsNotFinite, Optimiser
from .diagnosis import diagnose, diagnose_validation, not_finite_inputs
from .evaluation import evaluate
from .examples import Examples, check_count, check_numbers
from .history import Epoch
from .interruption import Interrupted, Interruption
from .monitor import Monitor
from .session import LAST, Progress, Session
from .step import FirstStep, LossNotFinite, Step, warning_of_unused

SECONDS_BETWEEN_SAVES = 5.0
"""In the middle of an epoch; at its end the state is saved anyway, unless saving takes long."""

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
    prepare: Callable[[np.ndarray], Any]
    augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None

    @property
    def count(self) -> int:
        """How many examples an epoch has."""
        count = len(self.examples[1])
        return count - count % self.size if self.drop_last else count

    @property
    def labels_per_example(self) -> int:
        labels = self.examples[1]
        return labels.size // len(labels)

    def left(self, progress: Progress) -> Iterator[tuple[np.ndarray, Any, np.ndarray]]:
        """Indices, inputs and labels of what is still to be done in the current epoch; ``progress`` moves along."""
        inputs, labels = self.examples
        if progress.order is None:
            progress.order = self.streams["order"].permutation(len(labels))
        for indices in index_batches(progress.order[: self.count], self.size, progress.position):
            chosen = inputs[indices]
            if self.augment is not None:
                chosen = self.augment(chosen, self.streams["augmentation"])
                check_count("fit", "augment", chosen, len(indices))
            prepared = self.prepare(chosen)
            check_count("fit", "prepare", prepared, len(indices))
            check_numbers("fit", prepared)
            progress.position += len(indices)
            yield indices, prepared, labels[indices]


@dataclass
class Training:
    """What one call of :func:`fit` trains with; how far it has come is in the session."""

    session: Session
    step: Step
    first: FirstStep
    batches: Batches
    validation: Examples
    monitor: Monitor
    epochs: int
    patience: int | None
    on_epoch: Callable[[Epoch], Any] | None
    quiet: bool

    def run(self, interruption: Interruption) -> None:
        """All epochs that are left."""
        session, progress = self.session, self.session.progress
        is_first = True
        while progress.epoch <= self.epochs and not self._patience_is_over():
            started = time.perf_counter() - progress.seconds
            self._train_epoch(started, interruption)
            if is_first and (sentence := warning_of_unused(session.model, session.optimiser)):
                warnings.warn(sentence, UserWarning, stacklevel=3)
            is_first = False
            row = self._row(started)
            session.optimiser.observe(row.validation_loss)
            if progress.finish_epoch(row, self.monitor):
                session.keep_best()
            session.save_if_due()
            if self._is_asked_to_stop(row):
                break
            if progress.epoch <= self.epochs:
                self._stop_if_interrupted(interruption)

    def _patience_is_over(self) -> bool:
        return self.patience is not None and self.monitor.stalled(self.session.progress.history) >= self.patience

    def _is_asked_to_stop(self, row: Epoch) -> bool:
        answer = None if self.on_epoch is None else self.on_epoch(row)
        return isinstance(answer, (bool, np.bool_)) and bool(answer)

    def _train_epoch(self, started: float, interruption: Interruption) -> None:
        """The steps that are left of the current epoch."""
        session, progress = self.session, self.session.progress
        session.model.train()
        with _progress_bar(progress, self.epochs, self.batches.count, self.quiet) as bar:
            for indices, inputs, labels in self.batches.left(progress):
                try:
                    loss, logits = self.step(inputs, labels)
                except LossNotFinite as error:
                    happened = f"the loss became {error.loss} in step {session.optimiser.steps + 1}"
                    raise self._not_finite(happened, self._diagnosis(indices, inputs)) from None
                except GradientsNotFinite as error:
                    where = f"step {session.optimiser.steps + 1} (epoch {progress.epoch})"
                    raise TrainingError(f"{where}: {error}") from None
                if self.first.warning:
                    self._warn_of_parameters()
                self._count(loss.item(), logits.numpy(), labels)
                progress.seconds = time.perf_counter() - started
                _show(bar, progress, len(labels), self.batches.labels_per_example)
                self._stop_if_interrupted(interruption)
                session.save_if_due(SECONDS_BETWEEN_SAVES)

    def _warn_of_parameters(self) -> None:
        sentence, self.first.warning = self.first.warning, ""
        warnings.warn(sentence, UserWarning, stacklevel=5)

    def _count(self, loss: float, logits: np.ndarray, labels: np.ndarray) -> None:
        progress = self.session.progress
        if progress.initial_loss is None:
            progress.initial_loss = loss
        progress.loss_sum += loss * len(labels)
        progress.correct += int((logits.argmax(axis=-1) == labels).sum())

    def _row(self, started: float) -> Epoch:
        """The epoch whose steps have been done."""
        session, progress = self.session, self.session.progress
        row = Epoch(
            progress.epoch,
            progress.loss_sum / progress.position,
            progress.correct / (progress.position * self.batches.labels_per_example),
            *evaluate(session.model, self.validation, self.batches.prepare),
            _latest_rate(session.optimiser),
            time.perf_counter() - started,
        )
        if not math.isfinite(row.validation_loss):
            happened = f"the validation loss became {row.validation_loss} after step {session.optimiser.steps}"
            diagnosis = diagnose_validation(session.model, self.validation[0], self.batches.prepare)
            raise self._not_finite(happened, diagnosis)
        return row

    def _stop_if_interrupted(self, interruption: Interruption) -> None:
        if interruption.signal is None:
            return
        session = self.session
        session.save()
        if session.progress.history:
            session.load_best()
        raise Interrupted(interruption.signal, session.progress.history)

    def _diagnosis(self, indices: np.ndarray, prepared: Any) -> str:
        found = not_finite_inputs("training", self.batches.examples[0], indices, prepared)
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
        progress = self.session.progress
        if progress.initial_loss is None or not progress.history:
            return ""
        last, guessing = progress.history[-1], _loss_of_guessing(self.batches.examples[1])
        if min(last.loss, last.validation_loss) <= DIVERGED * max(progress.initial_loss, guessing):
            return ""
        return (
            f"the training diverged: its loss is {last.loss:.4g}, the validation loss {last.validation_loss:.4g}, "
            f"after {progress.initial_loss:.4g} in the first step and where guessing gives {guessing:.4g}; lower the "
            "learning rate or clip the gradients"
        )


def _latest_rate(optimiser: Optimiser) -> float:
    """The learning rate that the latest step took."""
    rate = optimiser.lr
    return float(rate(max(optimiser.steps - 1, 0)) if callable(rate) else rate)


def _loss_of_guessing(labels: np.ndarray) -> float:
    """The cross-entropy of always giving each class the share that it has."""
    _, counts = np.unique(labels, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())


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


def _show(bar: Any, progress: Progress, count: int, labels_per_example: int) -> None:
    if bar is None:
        return
    loss = progress.loss_sum / progress.position
    accuracy = progress.correct / (progress.position * labels_per_example)
    bar.set_postfix(loss=f"{loss:.4f}", accuracy=f"{accuracy:.4f}", refresh=False)
    bar.update(count)
