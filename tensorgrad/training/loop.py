"""The training loop, and the evaluation of a classifier."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from ..compiler import compile
from ..data import index_batches
from ..nn import Module, softmax_cross_entropy
from ..optim import Optimiser, Plateau, clip_gradients
from ..optim.clipping import check_max_norm
from ..recording import no_grad, verified
from ..tensor import Tensor, describe
from .checkpoint import CheckpointError
from .diagnosis import diagnose
from .history import Epoch
from .interruption import Interrupted, Interruption
from .session import LAST, Progress, Session

Examples = tuple[np.ndarray, np.ndarray]
"""Inputs and labels, one entry per example along the first axis."""

EVALUATION_BATCH = 1000
SECONDS_BETWEEN_SAVES = 5.0
"""In the middle of an epoch; at its end the state is saved anyway, unless saving takes long."""


class TrainingError(RuntimeError):
    """Training that cannot go on; the message says where and what to change."""


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
    max_norm: float | None = None,
    patience: int | None = None,
    folder: str | Path | None = None,
    resume: bool = False,
    settings: Mapping[str, Any] | None = None,
    on_epoch: Callable[[Epoch], Any] | None = None,
    quiet: bool = False,
    compiled: bool = True,
) -> list[Epoch]:
    """Train a classifier by minimising softmax cross-entropy plus the model's penalties.

    In the end the model has the weights of its best epoch: that of the highest validation accuracy.

    Parameters
    ----------
    model
        Gives logits of shape (batch, classes).
    train, validation
        ``(inputs, integer labels)``.
    optimiser
        Over the model's parameters.
    epochs, batch_size
        Passes over the training data, and examples in a step; a smaller last batch is trained on too.
    rng
        Draws the order of the examples and the augmentation.
    prepare
        Applied to each batch of inputs, such as scaling bytes to floats.
    augment
        Applied to each batch of training inputs before that: ``augment(inputs, rng)``.
    max_norm
        Clips the joint norm of all gradients.
    patience
        Stops after that many epochs without a better validation accuracy. None: all epochs.
    folder
        For the checkpoints ``last.npz`` (the whole state) and ``best.npz`` (the best weights). None: no files.
    resume
        Go on from ``last.npz`` where there is one; the result is bit for bit that of training never interrupted.
    settings
        Saved with the checkpoints; resuming with others is refused.
    on_epoch
        Called with each finished :class:`Epoch`.
    quiet
        No progress bar; otherwise there is one where a person is watching.
    compiled
        Whether the step is compiled (see ``tensorgrad.compile``): faster, with the same results. Without it, Python's
        debugger sees through every operation.

    Returns
    -------
    list of Epoch
        Losses and accuracies; those of training are means over the epoch, dropout active.

    Raises
    ------
    TypeError, ValueError
        If examples, optimiser, generator, folder or numbers do not fit.
    TrainingError
        If the loss is no longer finite: names the step, the layer and the last good checkpoint.
    CheckpointError
        If a checkpoint cannot be saved, or does not fit this training.
    Interrupted
        If SIGINT or SIGTERM asked to stop; the state has been saved, and the model has its best weights so far.
    """
    _check_numbers(epochs=epochs, batch_size=batch_size, **({} if patience is None else {"patience": patience}))
    check_max_norm("fit", max_norm)
    _check_examples("fit", train=train, validation=validation)
    _check_optimiser(model, optimiser)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"fit: rng must be a NumPy generator, such as np.random.default_rng(0), got {rng!r}")
    if folder is None and resume:
        raise ValueError("fit: resume=True needs the folder= of the checkpoints")
    folder = None if folder is None else _made(Path(folder))
    session = Session(model, optimiser, rng, folder, settings)
    if resume:
        session.restore(len(train[1]))
    progress = session.progress
    step = training_step(model, optimiser, max_norm)
    if compiled:
        step = compile(step)
    with Interruption(saves=folder is not None) as interruption:
        while progress.epoch <= epochs and not _patience_is_over(progress, patience):
            started = time.perf_counter() - progress.seconds
            model.train()
            with _progress_bar(progress, epochs, len(train[1]), quiet) as bar:
                for indices in _batches_left(progress, len(train[1]), batch_size, rng):
                    inputs, labels = train[0][indices], train[1][indices]
                    inputs = prepare(inputs if augment is None else augment(inputs, rng))
                    try:
                        loss, logits = step(inputs, labels)
                    except LossNotFinite as error:
                        raise _not_finite(session, error.loss, inputs, epochs) from None
                    _count(progress, loss.item(), logits.numpy(), labels)
                    progress.seconds = time.perf_counter() - started
                    _show(bar, progress, len(labels))
                    _stop_if_asked(session, interruption)
                    session.save_if_due(SECONDS_BETWEEN_SAVES)
            count = len(train[1])
            row = Epoch(
                progress.epoch,
                progress.loss_sum / count,
                progress.correct / count,
                *evaluate(model, validation, prepare),
                optimiser.learning_rate,
                time.perf_counter() - started,
            )
            if not math.isfinite(row.validation_loss):
                raise _not_finite(session, row.validation_loss, prepare(validation[0][:1]), epochs)
            if isinstance(optimiser.lr, Plateau):
                optimiser.lr.observe(row.validation_loss)
            if progress.finish_epoch(row):
                session.keep_best()
            session.save_if_due()
            if on_epoch is not None:
                on_epoch(row)
            if progress.epoch <= epochs:
                _stop_if_asked(session, interruption)
        session.save()
    session.load_best()
    return progress.history


def _check_numbers(**numbers: Any) -> None:
    for name, number in numbers.items():
        if not isinstance(number, (int, np.integer)) or number < 1:
            raise ValueError(f"fit: {name} must be an integer of at least 1, got {number!r}")


def _check_examples(function: str, **sets: Any) -> None:
    for name, examples in sets.items():
        pair: Any = examples if isinstance(examples, (tuple, list)) and len(examples) == 2 else (None, None)
        if not all(isinstance(part, np.ndarray) and part.ndim for part in pair):
            came = type(examples).__name__ if pair[0] is None else " and ".join(type(part).__name__ for part in pair)
            raise TypeError(
                f"{function}: {name} must be two arrays, (inputs, labels), got {came}; np.asarray makes them of tables "
                "and lists"
            )
        inputs, labels = pair
        if len(inputs) != len(labels) or not len(labels):
            raise ValueError(
                f"{function}: {name} must have a label for each input, one at least, got {len(inputs)} inputs and "
                f"{len(labels)} labels"
            )
        if labels.dtype.kind not in "iu":
            raise TypeError(
                f"{function}: {name} must have integer labels, got {describe(labels)}; of rows with a one for the "
                "class take labels.argmax(axis=-1)"
            )


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be made ({error.strerror})") from None
    return folder


def _check_optimiser(model: Module, optimiser: Optimiser) -> None:
    own = {id(tensor) for _, tensor in model.named_tensors()}  # frozen ones as well
    foreign = [parameter for parameter in optimiser.parameters if id(parameter) not in own]
    if foreign:
        raise ValueError(
            f"fit: {len(foreign)} of the optimiser's {len(optimiser.parameters)} parameters are not the model's; make "
            "it of model.parameters()"
        )


Step = Callable[[Any, np.ndarray], tuple[Tensor, Tensor]]
"""A function of inputs and labels that updates parameters and returns the loss and the logits."""


class LossNotFinite(ArithmeticError):
    """Raised by a training step whose loss is infinite or NaN; nothing has been updated."""

    def __init__(self, loss: float) -> None:
        super().__init__(f"the loss became {loss}")
        self.loss = loss


def training_step(model: Module, optimiser: Optimiser, max_norm: float | None = None) -> Step:
    """The function that does one update and returns the batch's cross-entropy, without penalties, and its logits.

    It can be compiled: ``tensorgrad.compile(training_step(model, optimiser))``.

    Raises
    ------
    LossNotFinite
        By the function, before anything is updated.
    """

    def step(inputs: Any, labels: np.ndarray) -> tuple[Tensor, Tensor]:
        optimiser.zero_grad()
        logits = model(inputs)
        loss: Tensor = softmax_cross_entropy(logits, labels)
        verified(_check_finite, loss.numpy())
        (loss + model.penalty()).backward()
        if max_norm is not None:
            clip_gradients(optimiser.parameters, max_norm)
        optimiser.step()
        return loss, logits

    return step


def _check_finite(loss: np.ndarray) -> None:
    if not math.isfinite(loss):
        raise LossNotFinite(float(loss))


def _batches_left(progress: Progress, count: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Indices of the batches of the current epoch that are still to be done; ``progress`` moves along."""
    if progress.order is None:
        progress.order = rng.permutation(count)
    for indices in index_batches(progress.order, size, progress.position):
        progress.position += len(indices)
        yield indices


def _count(progress: Progress, loss: float, logits: np.ndarray, labels: np.ndarray) -> None:
    progress.loss_sum += loss * len(labels)
    progress.correct += int((logits.argmax(axis=-1) == labels).sum())


def _patience_is_over(progress: Progress, patience: int | None) -> bool:
    return patience is not None and progress.epoch - 1 - progress.best_epoch >= patience


def _stop_if_asked(session: Session, interruption: Interruption) -> None:
    if interruption.signal is None:
        return
    session.save()
    if session.progress.history:
        session.load_best()
    raise Interrupted(interruption.signal, session.progress.history)


def _not_finite(session: Session, loss: float, inputs: Any, epochs: int) -> TrainingError:
    progress, folder = session.progress, session.folder
    saved = folder is not None and (folder / LAST).exists()
    return TrainingError(
        f"the loss became {loss} in step {session.optimiser.steps + 1} (epoch {progress.epoch}/{epochs}): "
        f"{diagnose(session.model, inputs)}; "
        f"last good checkpoint: {folder / LAST if folder is not None and saved else 'none'}"
    )


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
    loss, accuracy = progress.loss_sum / progress.position, progress.correct / progress.position
    bar.set_postfix(loss=f"{loss:.4f}", accuracy=f"{accuracy:.4f}", refresh=False)
    bar.update(count)


@no_grad()
def predict(model: Module, inputs: np.ndarray, prepare: Callable[[np.ndarray], Any] = np.asarray) -> np.ndarray:
    """Logits of all inputs, in evaluation mode, a limited number at a time; the mode is restored afterwards."""
    if not len(inputs):
        raise ValueError("predict: takes one input at least, got none")
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        parts = [
            model(prepare(inputs[start : start + EVALUATION_BATCH])).numpy()
            for start in range(0, len(inputs), EVALUATION_BATCH)
        ]
    finally:
        for module, training in modes:
            module.training = training
    return np.concatenate(parts)


def evaluate(
    model: Module, examples: Examples, prepare: Callable[[np.ndarray], Any] = np.asarray
) -> tuple[float, float]:
    """Mean cross-entropy in nats, without penalties, and accuracy, in evaluation mode."""
    _check_examples("evaluate", examples=examples)
    inputs, labels = examples
    logits = predict(model, inputs, prepare)
    return float(softmax_cross_entropy(logits, labels)), float((logits.argmax(axis=-1) == labels).mean())
