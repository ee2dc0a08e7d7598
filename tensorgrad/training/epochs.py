"""The epochs of a training: steps on batches, evaluation, saving, and what stops them."""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Callable

import numpy as np

from ..core import Tensor
from ..data import Loader, index_batches
from ..data.loader import ahead
from ..distributed import Share, sharing
from ..optim import GradientsNotFinite, Optimiser
from .callbacks import Callbacks
from .diagnosis import diagnose, diagnose_validation, not_finite_inputs
from .epoch import Epoch
from .evaluation import scores, values_of
from .examples import Examples, check_count, check_numbers
from .interruption import SIGNALS, Interrupted, Interruption
from .monitor import Monitor
from .objective import Task
from .progress import log, progress_bar
from .ranks import Ranks
from .session import LAST, Progress, Session
from .several import amount_of, parts_of, whole_of
from .step import FirstStep, LossNotFinite, Step, warning_of_unused

DIVERGED = 2.0
"""How many times the loss of guessing, and of the first step, both losses of an epoch are if the training diverged."""

FAR = 100.0
"""So many times that in the end the validation loss alone is, and that of some epoch was, if what diverged was then
learnt by heart."""


class TrainingError(RuntimeError):
    """Training that cannot go on; the message says where and what to change."""


@dataclass
class Batch:
    """Some examples; one of several that make a step, or its only one.

    Attributes
    ----------
    indices
        Which examples they are.
    inputs
        As the network takes them.
    shares
        What the loss of each example is multiplied by; None where they are averaged alike.
    total
        What all examples of the step count for.
    part
        What the batch contributes to the loss of the step; None where it is all of it.
    begins, ends
        Whether it is the first and the last one of the step.
    share
        Which part it is of a batch of all ranks; None where it is all of it.
    """

    examples: Examples
    indices: np.ndarray
    inputs: Any
    shares: Any
    total: Any
    part: Any = None
    begins: bool = True
    ends: bool = True
    share: Share | None = None

    @property
    def count(self) -> int:
        """How many examples it has, on all ranks."""
        return len(self.indices) if self.share is None else self.share.total


@dataclass
class Batches:
    """The training examples, and how batches are made of them, ``accumulated`` for each step.

    ``generators`` are all that the training draws from, ``order`` and ``augmentation`` among them.
    """

    examples: Examples
    size: int
    accumulated: int
    drop_last: bool
    generators: Mapping[str, np.random.Generator]
    prepare: Callable[[Any], Any]
    augment: Callable[[Any, np.random.Generator], Any] | None
    task: Task
    ranks: Ranks

    @property
    def count(self) -> int:
        """How many examples an epoch has."""
        count = self.examples.count
        return count - count % self.size if self.drop_last else count

    def left(self, progress: Progress) -> Iterator[Batch]:
        """The batches still to be done in the current epoch; ``progress`` moves along."""
        if progress.order is None:
            progress.order = self.generators["order"].permutation(self.examples.count)
        steps = index_batches(progress.order[: self.count], self.size * self.accumulated, progress.position)
        inputs = self.examples.inputs
        is_ahead = isinstance(inputs, Loader) and inputs.workers and self._draws_alone
        made = self._ahead(steps, inputs.prefetch) if is_ahead else self._made(steps, self.generators["augmentation"])
        for batch in made:
            progress.position += batch.count
            yield batch

    @property
    def _draws_alone(self) -> bool:
        """Whether augmentation has a generator of its own, so that what is drawn ahead is drawn by nobody else."""
        drawing = self.generators["augmentation"].bit_generator
        return sum(rng.bit_generator is drawing for rng in self.generators.values()) == 1

    def _made(self, steps: Iterator[np.ndarray], rng: np.random.Generator) -> Iterator[Batch]:
        """The batches of steps of these examples."""
        for indices in steps:
            if len(indices) <= self.size and self.ranks.size == 1:
                yield self._batch(indices, rng)
            else:
                yield from self._of_step(list(index_batches(indices, self.size)), rng)

    def _of_step(self, groups: list[np.ndarray], rng: np.random.Generator) -> Iterator[Batch]:
        """The batches of one step, of each of them what this rank has."""
        divided = [part for indices in groups for part in self.ranks.divided(indices)]
        totals = [self.task.shares(*self.examples.targets_of(indices), len(indices))[1] for indices in divided]
        parts, whole = parts_of(totals), whole_of(totals)
        for i, indices in enumerate(groups):
            own = i * self.ranks.size + self.ranks.rank
            batch = replace(self._batch(divided[own], rng), total=whole, part=parts[own])
            batch.begins, batch.ends = i == 0, i == len(groups) - 1
            batch.share = self.ranks.share(len(indices))
            yield batch

    def _batch(self, indices: np.ndarray, rng: np.random.Generator) -> Batch:
        """These examples, as a step of their own."""
        examples, count = self.examples.chosen(indices), len(indices)
        shares, total = self.task.shares(examples.targets, examples.weights, count)
        return Batch(examples, indices, self._prepared(examples.inputs, count, rng), shares, total)

    def _prepared(self, inputs: object, count: int, rng: np.random.Generator) -> Any:
        if self.augment is not None:
            inputs = self.augment(inputs, self.ranks.own_generator(rng))
            check_count("fit", "augment", inputs, count)
        prepared = self.prepare(inputs)
        check_count("fit", "prepare", prepared, count)
        check_numbers("fit", prepared)
        return prepared

    def _ahead(self, steps: Iterator[np.ndarray], count: int) -> Iterator[Batch]:
        """The same, made ahead with a copy of the generator, which itself has the state after the batch at hand."""
        rng = self.generators["augmentation"]
        drawn = copy.deepcopy(rng)
        made = ((batch, drawn.bit_generator.state) for batch in self._made(steps, drawn))
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
    task: Task
    monitor: Monitor
    epochs: int
    callbacks: Callbacks
    quiet: bool
    ranks: Ranks

    def run(self, interruption: Interruption) -> None:
        """All epochs that are left."""
        session, progress = self.session, self.session.progress
        is_first, is_over = True, self.ranks.patient_any(self.callbacks.train_begins())
        while progress.epoch <= self.epochs and not is_over:
            started = time.perf_counter() - progress.seconds
            if self._train_epoch(started, interruption):
                break
            if is_first and (sentence := warning_of_unused(session.model, session.optimiser)):
                self._warn(sentence, stacklevel=5)
            is_first = False
            session.compare()
            session.save_if_none()
            with self.callbacks.evaluation():
                row = self.ranks.row(self._row(started))
                if progress.finish_epoch(row, self.monitor):
                    session.keep_best()
            if self.ranks.is_first:
                log("%s", row)
            is_over = self.ranks.patient_any(self.callbacks.epoch_ends(row))
            if progress.epoch <= self.epochs and not is_over:
                self._stop_if_interrupted(self._agreed(False, interruption)[1])
        self.callbacks.train_ends()

    def _train_epoch(self, started: float, interruption: Interruption) -> bool:
        """The steps that are left of the current epoch; whether a callback stops the training before its end."""
        session, progress = self.session, self.session.progress
        session.model.train()
        value = 0.0
        title, quiet = f"epoch {progress.epoch}/{self.epochs}", self.quiet or not self.ranks.is_first
        with progress_bar(title, self.batches.count, progress.position, quiet) as bar:
            for batch in self.batches.left(progress):
                loss, outputs = self._step(batch)
                if self.first.warning:
                    self._warn(self.first.warning, stacklevel=6)
                    self.first.warning = ""
                value = loss.item() if batch.begins else value + loss.item()
                self._measure(batch, outputs)
                if batch.ends:
                    progress.count(value, amount_of(batch.total))
                progress.seconds = time.perf_counter() - started
                _show(bar, progress, batch.count)
                if batch.ends:
                    stops, signal = self._agreed(self.callbacks.step_ends(value), interruption)
                    if stops and progress.position < self.batches.count:
                        return True
                    self._stop_if_interrupted(signal)
        return False

    def _step(self, batch: Batch) -> tuple[Tensor, Any]:
        """The loss of a batch, and the outputs; the last of a step updates the parameters."""
        given = (batch.inputs, batch.examples.targets)
        try:
            if batch.share is not None:
                with sharing(batch.share):
                    return self.step(*given, batch.shares, batch.part, begins=batch.begins, ends=batch.ends)
            if batch.part is not None:
                return self.step(*given, batch.shares, batch.part, begins=batch.begins, ends=batch.ends)
            return self.step(*given) if batch.shares is None else self.step(*given, batch.shares)
        except LossNotFinite as error:
            happened = f"the loss became {error.loss} in step {self.session.optimiser.steps + 1}"
            inputs = not_finite_inputs("training", self.batches.examples.inputs, batch.indices, batch.inputs)
            found = inputs or diagnose(self.session.model, batch.inputs)
            diagnosis = self.ranks.diagnosis(found, 2 if inputs else int(error.is_of_this_rank))
            raise self._not_finite(happened, diagnosis) from None
        except GradientsNotFinite as error:
            where = f"step {self.session.optimiser.steps + 1} (epoch {self.session.progress.epoch})"
            raise TrainingError(f"{where}: {error}") from None

    def _warn(self, sentence: str, stacklevel: int) -> None:
        if self.ranks.is_first:
            warnings.warn(sentence, UserWarning, stacklevel=stacklevel)

    def _measure(self, batch: Batch, outputs: object) -> None:
        if self.task.metrics:
            examples = batch.examples
            totals = self.task.totals(values_of(outputs), examples.targets, examples.weights, len(batch.indices))
            self.session.progress.measure(self.ranks.totals(list(self.task.metrics), totals))

    def _row(self, started: float) -> Epoch:
        """The epoch whose steps have been done."""
        session, progress = self.session, self.session.progress
        measures = progress.means()
        if self.validation is not None:
            given = (self.validation, self.batches.prepare, self.task, self.ranks)
            found = scores("fit", session.model, *given)._asdict()
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

    def _stop_if_interrupted(self, number: int | None) -> None:
        if number is None:
            return
        session = self.session
        session.save()
        if session.progress.history:
            session.load_best()
        raise Interrupted(number, session.progress.history)

    def _agreed(self, stops: bool, interruption: Interruption) -> tuple[bool, int | None]:
        """Whether a callback stops the training, and which signal came: to this process, or another rank."""
        if self.ranks.size == 1:
            return stops, interruption.signal
        stopping, *counts = self.ranks.sums(
            [float(stops), *(float(interruption.signal == number) for number in SIGNALS)]
        )
        return stopping > 0, next((number for number, count in zip(SIGNALS, counts) if count), None)

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
        guessing = self.task.guessing(self.batches.examples.targets)
        if progress.initial_loss is None or not progress.history or guessing is None:
            return ""
        last, usual = progress.history[-1], max(progress.initial_loss, guessing)
        validation_loss = last.measures.get("validation_loss", last.loss)
        highest = max(row.loss for row in progress.history) if self.session.optimiser.steps > 1 else validation_loss
        is_far = min(highest, validation_loss) > FAR * usual
        if not is_far and min(last.loss, validation_loss) <= DIVERGED * usual:
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


def _show(bar: Any, progress: Progress, count: int) -> None:
    if bar is None:
        return
    bar.set_postfix({name: f"{value:.4f}" for name, value in progress.means().items()}, refresh=False)
    bar.update(count)
