"""What is done at certain moments of a training: the protocol, and what :func:`fit` itself does by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

import numpy as np

from .._optional import require
from ..hints import similar_name
from ..nn import Module
from ..optim import Optimiser
from .epoch import VALIDATION, Epoch
from .history import save_history
from .metrics import METRICS
from .monitor import Monitor, mode_of
from .session import Session

SECONDS_BETWEEN_SAVES = 5.0
"""In the middle of an epoch; at its end the state is saved anyway, unless saving takes long."""


class Run:
    """A training as callbacks see it.

    Attributes
    ----------
    model, optimiser
        What is trained, and by what.
    epochs
        How many there will be.
    is_resumed
        Whether it goes on from a checkpoint.
    is_first
        Whether this is the process that writes and reports: of several ranks the first one, else it is alone.
    """

    def __init__(self, session: Session, epochs: int) -> None:
        self.session, self.epochs = session, epochs
        self.model: Module = session.model
        self.optimiser: Optimiser = session.optimiser
        self.is_resumed = session.is_resumed
        self.is_first = session.ranks.is_first

    @property
    def epoch(self) -> int:
        """The number of the epoch that is being trained, from 1 on; between two, of the next."""
        return self.session.progress.epoch

    @property
    def step(self) -> int:
        """How many steps the optimiser has made."""
        return self.optimiser.steps

    @property
    def history(self) -> Sequence[Epoch]:
        """The epochs that are finished."""
        return self.session.progress.history

    @property
    def best(self) -> Epoch | None:
        """The best of them so far."""
        return self.session.progress.best


class Callback:
    """Something to do at certain moments of a training; override what is needed.

    ``on_train_begin``, ``on_step_end`` and ``on_epoch_end`` may return True to stop the training; all callbacks are
    still called, in the order given.
    What a callback remembers from step to step belongs into ``state_dict``, which checkpoints hold: then a training
    that is resumed goes on exactly.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> class StopAtLoss(Callback):
    ...     def __init__(self, loss):
    ...         self.loss = loss
    ...     def on_epoch_end(self, run, row):
    ...         return row.loss < self.loss
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((100, 2))
    >>> line = tg.nn.Dense(2, 1, rng)
    >>> options = {"loss": "mse", "epochs": 100, "batch_size": 10, "rng": rng}
    >>> sgd = tg.optim.SGD(line.parameters(), lr=0.05)
    >>> history = tg.training.fit(line, (x, x.sum(axis=1)), None, sgd, callbacks=[StopAtLoss(1e-3)], **options)
    >>> len(history) < 100
    True
    """

    def on_train_begin(self, run: Run) -> Any:
        """Before the first epoch of a call of :func:`fit`, also of one that resumes."""

    def on_step_end(self, run: Run, loss: float) -> Any:
        """After a step; ``loss`` is that of its batch, before the step."""

    def on_evaluation_begin(self, run: Run) -> None:
        """After the steps of an epoch, before the model is validated, and its weights are kept if they are the best."""

    def on_evaluation_end(self, run: Run) -> None:
        """After that; here what :meth:`on_evaluation_begin` has changed about the model is to be taken back."""

    def on_epoch_end(self, run: Run, row: Epoch) -> Any:
        """After an epoch and its validation; ``row`` is the last of ``run.history``."""

    def on_train_end(self, run: Run) -> None:
        """After the last epoch, or when a callback has stopped the training; not after an error or a signal."""

    def state_dict(self) -> dict[str, Any]:
        """What is to be saved, by name: arrays, or whatever JSON can hold."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` gave."""


class EarlyStopping(Callback):
    """Stops the training after ``patience`` epochs in which a measure was no better than before.

    Parameters
    ----------
    monitor
        A name in :attr:`Epoch.measures`, such as ``"validation_loss"``, or a :class:`Monitor` of it, which also says
        whether more is better, where the metric is your own, and by how much.
    patience
        At least 1.

    Examples
    --------
    >>> EarlyStopping("validation_loss", patience=3).monitor.mode
    'min'
    """

    def __init__(self, monitor: str | Monitor, patience: int) -> None:
        if not isinstance(patience, (int, np.integer)) or patience < 1:
            raise ValueError(f"EarlyStopping: patience must be an integer of at least 1, got {patience!r}")
        asked = Monitor(monitor) if isinstance(monitor, str) else monitor
        self.monitor = replace(asked, mode=asked.mode or mode_of(asked.measure, METRICS))
        self.patience = patience
        self._latest = 0

    def on_train_begin(self, run: Run) -> bool:
        self._latest = 0
        return self._is_over(run)

    def _is_over(self, run: Run) -> bool:
        self._latest = self.monitor.improved(run.history, self._latest)  # earlier epochs are not looked at again
        return self.monitor.stalled(run.history, self._latest) >= self.patience

    def on_epoch_end(self, run: Run, row: Epoch) -> bool:
        if self.monitor.measure not in row.measures:
            raise ValueError(
                f"EarlyStopping: monitor must be one of {', '.join(map(repr, row.measures))}, got "
                f"{self.monitor.measure!r}{similar_name('monitor', self.monitor.measure, row.measures)}"
            )
        return self._is_over(run)


class CSVHistory(Callback):
    """Writes the history so far into a CSV file after each epoch, as :func:`save_history` does."""

    def __init__(self, path: str | Path) -> None:
        self.path = path

    def on_epoch_end(self, run: Run, row: Epoch) -> None:
        if run.is_first:
            save_history(run.history, self.path)


class TensorBoard(Callback):
    """Writes the measures of each epoch for TensorBoard: ``pip install tensorboardX``, ``tensorboard --logdir FOLDER``.

    Training and validation are two curves of one picture, such as ``loss/training`` and ``loss/validation``. A training
    that is resumed goes on in the same curves.

    Parameters
    ----------
    folder
        For the events of this training, a new one for each: TensorBoard shows those of all folders in one above them.

    Attributes
    ----------
    writer
        The ``SummaryWriter`` of tensorboardX during a training, for what a callback of your own has to add.

    Raises
    ------
    MissingExtra
        If tensorboardX is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = folder
        self._library = require("tensorboardX", "the TensorBoard callback")
        self.writer: Any = None

    def on_train_begin(self, run: Run) -> None:
        if not run.is_first:
            return
        first = run.history[-1].epoch + 1 if run.history else 1
        suffix = f".{first}"  # files of one second would have one name
        self.writer = self._library.SummaryWriter(str(self.folder), purge_step=first, filename_suffix=suffix)

    def on_epoch_end(self, run: Run, row: Epoch) -> None:
        if not run.is_first:
            return
        for name, value in row.measures.items():
            if name.startswith(VALIDATION):
                tag = f"{name[len(VALIDATION) :]}/validation"
            else:
                tag = name if name in _OF_THE_EPOCH else f"{name}/training"
            if name != "epoch":
                self.writer.add_scalar(tag, value, row.epoch)
        self.writer.flush()

    def on_train_end(self, run: Run) -> None:
        if run.is_first:
            self.writer.close()


_OF_THE_EPOCH = ("learning_rate", "seconds")


class ScheduleObserver(Callback):
    """Tells the schedule of the optimiser the validation loss of each epoch, or the loss where there is none."""

    def on_epoch_end(self, run: Run, row: Epoch) -> None:
        run.optimiser.observe(row.measures.get("validation_loss", row.loss))


class Checkpoint(Callback):
    """Saves the whole state where there is a folder; after what changes the state."""

    def on_step_end(self, run: Run, loss: float) -> None:
        run.session.save_if_due(SECONDS_BETWEEN_SAVES)

    def on_epoch_end(self, run: Run, row: Epoch) -> None:
        run.session.save_if_due()

    def on_train_end(self, run: Run) -> None:
        run.session.save()


class OnEpoch(Callback):
    """Calls a function with each finished epoch."""

    def __init__(self, function: Callable[[Epoch], Any]) -> None:
        self.function = function

    def on_epoch_end(self, run: Run, row: Epoch) -> Any:
        return self.function(row)


class Callbacks:
    """Several callbacks, called one after the other."""

    def __init__(self, callbacks: Sequence[Callback], run: Run) -> None:
        self._all, self._run = callbacks, run
        self._of_steps = [each for each in callbacks if type(each).on_step_end is not Callback.on_step_end]

    def train_begins(self) -> bool:
        """Tell all; whether one of them stops the training."""
        return _any([each.on_train_begin(self._run) for each in self._all])

    def step_ends(self, loss: float) -> bool:
        """Tell all; whether one of them stops the training."""
        return bool(self._of_steps) and _any([each.on_step_end(self._run, loss) for each in self._of_steps])

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Around what is done with the weights of an epoch besides training them."""
        try:
            for each in self._all:
                each.on_evaluation_begin(self._run)
            yield
        finally:
            for each in reversed(self._all):
                each.on_evaluation_end(self._run)

    def epoch_ends(self, row: Epoch) -> bool:
        """Tell all; whether one of them stops the training."""
        return _any([each.on_epoch_end(self._run, row) for each in self._all])

    def train_ends(self) -> None:
        """Tell all."""
        for each in self._all:
            each.on_train_end(self._run)


def _any(answers: Sequence[Any]) -> bool:
    return any(isinstance(answer, (bool, np.bool_)) and answer for answer in answers)
