"""The training loop."""

from __future__ import annotations

import math
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import numpy as np

from ..compiler import compile
from ..data import index_batches
from ..nn import Module
from ..optim import GradientsNotFinite, Optimiser
from ..optim.clipping import check_max_norm
from .checkpoint import CheckpointError
from .diagnosis import diagnose, diagnose_validation, not_finite_inputs
from .evaluation import evaluate
from .examples import Examples, check_count, check_numbers, checked_examples
from .history import Epoch
from .interruption import Interrupted, Interruption
from .monitor import Monitor
from .session import LAST, Progress, Session, folders_like
from .step import (
    FirstStep,
    LossNotFinite,
    Step,
    is_from_library,
    takes_no_single_example,
    training_step,
    warning_of_unused,
)

SECONDS_BETWEEN_SAVES = 5.0
"""In the middle of an epoch; at its end the state is saved anyway, unless saving takes long."""

DIVERGED = 2.0
"""How many times the loss of guessing, and of the first step, both losses of an epoch are if the training diverged."""


class TrainingError(RuntimeError):
    """Training that cannot go on; the message says where and what to change."""


class DivergenceWarning(UserWarning):
    """Training that ended with losses far above those that it began with.

    Attributes
    ----------
    history
        The epochs, as :func:`fit` returns them.
    """

    def __init__(self, message: str, history: Sequence[Epoch] = ()) -> None:
        super().__init__(message)
        self.history = list(history)


def fit(
    model: Module,
    train: Examples,
    validation: Examples,
    optimiser: Optimiser,
    *,
    epochs: int,
    batch_size: int,
    rng: np.random.Generator,
    prepare: Callable[[np.ndarray], Any] = np.asarray,
    augment: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None,
    drop_last: bool | None = None,
    max_norm: float | None = None,
    monitor: str = "validation_accuracy",
    min_delta: float = 0.0,
    patience: int | None = None,
    folder: str | Path | None = None,
    resume: bool | str = False,
    settings: Mapping[str, Any] | None = None,
    on_epoch: Callable[[Epoch], Any] | None = None,
    quiet: bool = False,
    compiled: bool | None = None,
) -> list[Epoch]:
    """Train a classifier by minimising softmax cross-entropy plus the model's penalties.

    In the end the model has the weights of its best epoch, and is in evaluation mode, also after an interruption or an
    error.

    Parameters
    ----------
    model
        Gives logits of shape (batch, classes).
    train, validation
        ``(inputs, integer labels)``; labels are numbers from 0 to classes - 1.
    optimiser
        Over the model's parameters.
    epochs, batch_size
        Passes over the training data, and examples in a step.
    rng
        Draws the order of the examples and the augmentation.
    prepare
        Applied to each batch of inputs, such as scaling bytes to floats; it gets a copy, and may write into it.
    augment
        Applied to each batch of training inputs before that: ``augment(inputs, rng)``.
    drop_last
        Whether a smaller last batch of an epoch is left out instead of being trained on. None: only if it is a single
        example and the model has a ``BatchNorm1d``, which needs two.
    max_norm
        Clips the joint norm of all gradients.
    monitor
        The measure by which the best epoch is chosen (of equal ones that of the lowest validation loss) and for which
        ``patience`` waits: ``"validation_accuracy"``, ``"validation_loss"``, ``"accuracy"`` or ``"loss"`` of the
        training. Accuracies are better the higher they are, losses the lower.
    min_delta
        Improvements of the measure up to this do not count for ``patience``.
    patience
        Stops after that many epochs in which the measure was no better than before. None: all epochs.
    folder
        For the checkpoints ``last.npz`` (the whole state) and ``best.npz`` (the best weights). Those of an earlier
        training there become ``last-1.npz`` and so on, with a warning. None: no files.
    resume
        True: go on from ``last.npz``; the result is bit for bit that of training never interrupted, and with more
        ``epochs`` than before that of so many from the start, if the learning rate does not depend on their number.
        ``"auto"``: the same where there is that file, else start from the beginning.
    settings
        Saved with the checkpoints; resuming with others is refused.
    on_epoch
        Called with each finished :class:`Epoch`; returns True to stop the training.
    quiet
        No progress bar; otherwise there is one where a person is watching.
    compiled
        Whether the step is compiled (see ``tensorgrad.compile``): faster, with the same results, for a ``forward``
        that is NumPy alone. What it counts or decides in Python is frozen, so by default, None, only models and
        optimisers are compiled whose code is all from this library. Not compiled, Python's debugger sees through every
        operation.

    Returns
    -------
    list of Epoch
        Losses and accuracies; those of training are means over the epoch, dropout active.

    Raises
    ------
    TypeError, ValueError
        If examples, optimiser, generator, folder or numbers do not fit; before anything is updated.
    TrainingError
        If the loss is no longer finite: names the step, the example or the layer, and the last good checkpoint. With
        ``max_norm`` also if the gradients are not.
    CheckpointError
        If a checkpoint cannot be saved, is missing, or does not fit this training.
    Interrupted
        If SIGINT or SIGTERM asked to stop; the state has been saved, and the model has its best weights so far.

    Warns
    -----
    UserWarning
        If a parameter takes part in the loss without being optimised, or is optimised without taking part; if
        checkpoints of an earlier training were renamed.
    DivergenceWarning
        If in the last epoch both losses are more than twice those of the first step and of guessing.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> rng = np.random.default_rng(0)
    >>> points = rng.standard_normal((200, 2)).astype(np.float32)
    >>> examples = points, (points[:, 0] > 0).astype(int)
    >>> model = tg.nn.Dense(2, 2, rng)
    >>> adam = tg.optim.Adam(model.parameters(), lr=0.05)
    >>> history = fit(model, examples, examples, adam, epochs=9, batch_size=20, rng=rng, monitor="validation_loss")
    >>> history[-1].validation_accuracy > 0.9
    True
    """
    _check_numbers(epochs=epochs, batch_size=batch_size, **({} if patience is None else {"patience": patience}))
    _check_functions(prepare=prepare)
    _check_functions(**{name: f for name, f in (("augment", augment), ("on_epoch", on_epoch)) if f is not None})
    check_max_norm("fit", max_norm)
    watched = Monitor(monitor, min_delta)
    train = checked_examples("fit", "train", train)
    validation = checked_examples("fit", "validation", validation)
    _check_optimiser(model, optimiser)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"fit: rng must be a NumPy generator, such as np.random.default_rng(0), got {rng!r}")
    drop_last = _drops_last(model, len(train[1]), batch_size, drop_last)
    session = _session(model, optimiser, rng, folder, resume, settings, len(train[1]))
    first = FirstStep(model, optimiser, {"train": train[1], "validation": validation[1]})
    step = training_step(model, optimiser, max_norm, first)
    if is_from_library(model, optimiser) if compiled is None else compiled:
        step = compile(step)
    batches = _Batches(train, batch_size, drop_last, rng, prepare, augment)
    training = _Training(session, step, first, batches, validation, watched, epochs, patience, on_epoch, quiet)
    try:
        with Interruption(saves=folder is not None) as interruption:
            training.run(interruption)
            session.save()
        session.load_best()
    finally:
        model.eval()
    if sentence := training.divergence():
        warnings.warn(DivergenceWarning(sentence, session.progress.history), stacklevel=2)
    return session.progress.history


# What is looked at before


def _check_numbers(**numbers: Any) -> None:
    for name, number in numbers.items():
        if not isinstance(number, (int, np.integer)) or number < 1:
            raise ValueError(f"fit: {name} must be an integer of at least 1, got {number!r}")


def _check_functions(**functions: Any) -> None:
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(f"fit: {name} must be a function, got {type(function).__name__}")


def _check_optimiser(model: Module, optimiser: Optimiser) -> None:
    if not isinstance(model, Module):
        raise TypeError(
            f"fit: model must be a Module, got {type(model).__name__}; a function becomes one in Sequential(function)"
        )
    if not isinstance(optimiser, Optimiser):
        raise TypeError(
            "fit: optimiser must be an Optimiser, such as tensorgrad.optim.Adam(model.parameters()), got "
            f"{type(optimiser).__name__}"
        )
    own = {id(tensor) for _, tensor in model.named_tensors()}  # frozen ones as well
    foreign = [parameter for parameter in optimiser.parameters if id(parameter) not in own]
    if foreign:
        raise ValueError(
            f"fit: {len(foreign)} of the optimiser's {len(optimiser.parameters)} parameters are not the model's; make "
            "it of model.parameters()"
        )
    if not any(parameter.requires_grad for parameter in optimiser.parameters):
        raise ValueError(
            "fit: all parameters of the optimiser are frozen, so there is nothing to train; set requires_grad = True "
            "for those that are to be trained"
        )


def _drops_last(model: Module, count: int, batch_size: int, drop_last: bool | None) -> bool:
    """Whether the last batch is left out, where it is smaller."""
    if drop_last and count < batch_size:
        raise ValueError(
            f"fit: drop_last=True leaves nothing to train on, as {count} examples are less than a batch of "
            f"{batch_size}; take smaller batches"
        )
    single_is_left = count % batch_size == 1 and count > 1 and takes_no_single_example(model)
    if drop_last is None:
        return single_is_left
    if single_is_left and not drop_last:
        raise ValueError(
            f"fit: {count} examples in batches of {batch_size} leave a last batch of one, in which batch "
            "normalisation finds no variance; leave out drop_last=False, or take batches of another size"
        )
    return drop_last


def _session(
    model: Module,
    optimiser: Optimiser,
    rng: np.random.Generator,
    folder: str | Path | None,
    resume: bool | str,
    settings: Mapping[str, Any] | None,
    examples: int,
) -> Session:
    """A new session, or the one that the folder holds."""
    if resume not in (True, False, "auto"):
        raise ValueError(f"fit: resume must be True, False or 'auto', got {resume!r}")
    if folder is None:
        if resume:
            raise ValueError(f"fit: resume={resume!r} needs the folder= of the checkpoints")
        return Session(model, optimiser, rng, None, settings)
    folder = Path(folder)
    session = Session(model, optimiser, rng, folder, settings)
    if resume and not session.restore(examples) and resume != "auto":
        like = " or ".join(map(str, folders_like(folder)))
        raise CheckpointError(
            f"{folder}: holds no {LAST} to resume from{f'; did you mean {like}?' if like else ''}; check the name, or "
            "pass resume='auto' to start from the beginning where there is none"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be made ({error.strerror})") from None
    return session


# The training itself


@dataclass
class _Batches:
    """The training examples, and how batches are made of them."""

    examples: Examples
    size: int
    drop_last: bool
    rng: np.random.Generator
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
            progress.order = self.rng.permutation(len(labels))
        for indices in index_batches(progress.order[: self.count], self.size, progress.position):
            chosen = inputs[indices]
            if self.augment is not None:
                chosen = self.augment(chosen, self.rng)
                check_count("fit", "augment", chosen, len(indices))
            prepared = self.prepare(chosen)
            check_count("fit", "prepare", prepared, len(indices))
            check_numbers("fit", prepared)
            progress.position += len(indices)
            yield indices, prepared, labels[indices]


@dataclass
class _Training:
    """What one call of :func:`fit` trains with; how far it has come is in the session."""

    session: Session
    step: Step
    first: FirstStep
    batches: _Batches
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
