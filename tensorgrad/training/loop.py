"""fit: what it is given is checked, a session begun or resumed, and its epochs run."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Callable, NoReturn

import numpy as np

from ..archive import CheckpointError
from ..data import Loader
from ..hints import refuse_keywords
from ..nn import Module
from ..optim import Optimiser
from ..optim.clipping import check_limit
from ..optim.names import OptimiserLike, optimiser_of
from .callbacks import Callback, Callbacks, Checkpoint, EarlyStopping, OnEpoch, Run, ScheduleObserver
from .epoch import Epoch, usual
from .epochs import Batches, Training
from .examples import Examples, as_arrays, check_columns
from .history import History
from .interruption import Interruption
from .monitor import Monitor, monitor_of
from .objective import Loss, Task, objective
from .ranks import Ranks, together
from .session import LAST, Session, folders_like
from .step import FirstStep, Step, compiled_step, step_over_ranks, takes_no_single_example, training_step
from .streams import RandomStreams
from .threads import ThreadedStep, threads_for


class DivergenceWarning(UserWarning):
    """Training that ended with losses far above those that it began with.

    Attributes
    ----------
    history
        The epochs, as :func:`fit` returns them.
    """

    def __init__(self, message: str, history: Sequence[Epoch] = ()) -> None:
        super().__init__(message)
        self.history = History(history)


def fit(
    model: Module,
    train: tuple[Any, ...] | Loader,
    validation: tuple[Any, ...] | Loader | None = None,
    optimiser: Optimiser | OptimiserLike = "adam",
    *,
    loss: Loss = "softmax_cross_entropy",
    metrics: Any = None,
    epochs: int = 10,
    batch_size: int = 32,
    accumulate: int = 1,
    rng: np.random.Generator | RandomStreams | int | None = None,
    prepare: Callable[[Any], Any] = as_arrays,
    augment: Callable[[Any, np.random.Generator], Any] | None = None,
    drop_last: bool | None = None,
    max_norm: float | None = None,
    max_value: float | None = None,
    monitor: str | Monitor | None = None,
    patience: int | None = None,
    folder: str | Path | None = None,
    resume: bool | str = False,
    settings: Mapping[str, Any] | None = None,
    on_epoch: Callable[[Epoch], Any] | None = None,
    callbacks: Sequence[Callback] = (),
    quiet: bool = False,
    compiled: bool | None = None,
    threads: int | None = None,
    deterministic: bool = False,
    **unknown: NoReturn,
) -> History:
    """Train a network by minimising a loss, by default softmax cross-entropy, plus the model's penalties.

    In the end the model has the weights of its best epoch, and is in evaluation mode, also after an interruption or an
    error.

    Parameters
    ----------
    model
        Gives what the loss takes as outputs; for the default, logits of shape (batch, classes).
    train, validation
        ``(inputs, targets)``, arrays with an entry for each example along the first axis, or containers of such arrays:
        then the model is called with a container like that of the inputs, and a loss of your own with one like that of
        the targets. ``(inputs, targets, weights)``: the loss and the metrics are then means by these weights of the
        examples. A :class:`tensorgrad.data.Loader` makes inputs when they are needed, in threads; it may also stand in
        place of the array of inputs. What it takes as a source, such as an ``ImageFolder``, is given as it is, too.
        Without validation, the best epoch is chosen by what is measured in training.
    optimiser
        One over the model's parameters; or a name out of :data:`tensorgrad.optim.OPTIMISERS`, for one with its usual
        settings, or a function of parameters that makes one, such as ``functools.partial(tensorgrad.optim.SGD,
        lr=0.1)``.
    loss
        A name, or a function of outputs and targets that gives a 0-d Tensor, a mean over the examples. By name, or as
        functions of :mod:`tensorgrad.nn`, also with settings in a ``functools.partial``:

        - several classes: ``"softmax_cross_entropy"`` (integer labels from 0 to classes - 1, or truth values);
          ``"categorical_cross_entropy"`` of probabilities; ``"kl_divergence"`` (rows of probabilities)
        - two classes, or several labels at once: ``"binary_cross_entropy_with_logits"`` (an output for each label,
          which is a truth value, 0 or 1, or a number in between); ``"hinge"`` (-1 and 1, or truth values)
        - numbers: ``"mse"``, ``"mae"``, ``"huber"``

        Where the outputs have a last axis of length 1, the labels need none. For examples with weights, a function of
        your own gives a loss for each example.

        Of several outputs in a dict, tuple or list, such a container of losses, which are added up, each alone or as a
        pair with its weight: ``{"height": (0.5, "mse"), "class": "softmax_cross_entropy"}``.
    metrics
        What is measured besides: names (``"accuracy"``, ``"mae"``, ``"mse"``, ``"r2"``) or functions of outputs and
        targets, as arrays, which give one number, or one for each example, so that weights count; in a dict, by names
        of your own. Where several outputs have losses, also those of each, in such a dict or tuple. None: the accuracy,
        where there are classes.
    epochs, batch_size
        Passes over the training data, and examples in a step.
    accumulate
        Batches in a step: their gradients are added up, so that the step is that of one batch of all their examples,
        in the memory of one of them. (Batch normalisation still sees the smaller ones.)
    rng
        A generator, an integer to seed one, or None for another one in each call. Two are spawned of it, for the order
        of the examples and for the augmentation: neither shifts the other, and nothing is drawn from ``rng`` itself,
        which layers may share. Or :class:`RandomStreams`, whose ``order`` and ``augmentation`` are drawn from. All are
        saved and resumed.
    prepare
        Applied to each batch of inputs, such as scaling bytes to floats; it gets a copy, and may write into it.
    augment
        Applied to each batch of training inputs before that: ``augment(inputs, rng)``, with the generator for it.
    drop_last
        Whether a smaller last batch of an epoch is left out instead of being trained on. None: only if it is a single
        example and the model has a ``BatchNorm1d``, which needs two, or if it has fewer examples than there are ranks.
    max_norm, max_value
        Clip the joint norm of all gradients, and before that each number in them.
    monitor
        The measure by which the best epoch is chosen (of equal ones that of the lowest validation loss) and for which
        ``patience`` waits: ``"validation_accuracy"``, ``"validation_loss"``, or of the training ``"accuracy"`` or
        ``"loss"``, and the same of other metrics. None: the accuracy if there is one, else the loss; of validation if
        there is one. A :class:`Monitor` also says whether more is better, which is known of losses and of metrics that
        have names, and the least improvement that counts for ``patience``.
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
    callbacks
        Objects of classes derived from :class:`Callback`, called after each step and epoch, before the state is saved.
        Their own state is saved and resumed with the rest.
    quiet
        No progress bar; otherwise there is one where a person is watching, in a terminal or a notebook. Each epoch is
        also a line, at level INFO, of the logger ``tensorgrad.training``.
    compiled
        Whether the step is compiled (see ``tensorgrad.compile``): faster, with the same results; a ``forward`` of your
        own runs as Python in each step. Not compiled, Python's debugger sees the values of every operation.
    threads
        In how many threads a batch is computed, of which each has a share and a core; gradients are added up in their
        order. Without it as many as there are cores for convolutional networks of this library's layers, where
        threadpoolctl is installed (``tensorgrad[fast]``, or scikit-learn), no environment variable has chosen the
        threads of BLAS, and each gets 32 examples. 1 for one thread, with BLAS's own.
    deterministic
        Over several ranks (``mpiexec -n 4``): whether gradients are added up in the order of the ranks, so that for one
        number of ranks each run gives the same to the last bit. In one process it does in any case.

    Returns
    -------
    History
        A list of :class:`Epoch` that shows itself as a table: losses and metrics; those of training are means over the
        batches of the epoch, dropout active.

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
    RankError
        If ranks have come to different parameters.

    Warns
    -----
    UserWarning
        If a parameter takes part in the loss without being optimised, or is optimised without taking part; if
        checkpoints of an earlier training are to be renamed.
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
    >>> heights = points, points @ [2.0, -1.0] + 3.0
    >>> line = tg.nn.Dense(2, 1, rng)
    >>> sgd = tg.optim.SGD(line.parameters(), lr=0.1)
    >>> history = fit(line, heights, None, sgd, loss="mse", metrics=["r2"], epochs=9, batch_size=20, rng=rng)
    >>> history[-1].metrics["r2"] > 0.99
    True
    """
    refuse_keywords(fit, unknown)
    numbers = {"epochs": epochs, "batch_size": batch_size, "accumulate": accumulate, "patience": patience}
    _check_numbers({**numbers, "threads": threads}, optional=("patience", "threads"))
    _check_functions(prepare=(prepare, False), augment=(augment, True), on_epoch=(on_epoch, True))
    for name, limit in (("max_norm", max_norm), ("max_value", max_value)):
        check_limit("fit", name, limit)
    given = _checked_callbacks(callbacks)
    chosen = objective("fit", loss, metrics)
    watched = monitor_of(monitor, chosen, validation is not None)
    with together(deterministic) as ranks:
        examples = _checked_examples(chosen, train, validation)
        optimiser = checked_optimiser("fit", model, optimiser)
        count = examples["train"].count
        ranks.check_alike(optimiser, {f"{name} examples": found.count for name, found in examples.items()}, numbers)
        drop_last = _drops_last(model, count, batch_size, drop_last, ranks.size)
        ranks.check(count - count % batch_size if drop_last else count, batch_size)
        session = Session(model, optimiser, rng, None if folder is None else Path(folder), settings, given, ranks)
        _begin(session, resume, count, watched)
        first = FirstStep(model, optimiser, chosen, {name: found.targets for name, found in examples.items()})
        what = (model, optimiser, max_norm, max_value, first, chosen)
        step = _step(*what, ranks, batch_size, threads if compiled is not False else 0)
        sources = (prepare, augment, chosen, ranks)
        batches = Batches(examples["train"], batch_size, accumulate, drop_last, session.generators, *sources)
        heard = Callbacks(_all_callbacks(given, watched, patience, on_epoch, session), Run(session, epochs))
        parts = (session, step, first, batches, examples.get("validation"), chosen, watched)
        training = Training(*parts, epochs, heard, quiet, ranks)
        _run(training)
    if sentence := training.divergence():
        warnings.warn(DivergenceWarning(sentence, session.progress.history), stacklevel=2)
    return session.progress.history


def _step(
    model: Module,
    optimiser: Optimiser,
    max_norm: float | None,
    max_value: float | None,
    first: FirstStep,
    chosen: Task,
    ranks: Ranks,
    batch_size: int,
    threads: int | None,
) -> Step:
    """The function of a step; with 0 ``threads`` it is not compiled."""
    given = (model, optimiser, max_norm, first)
    settings: dict[str, Any] = {"loss": chosen, "max_value": max_value}
    if ranks.size > 1:
        return step_over_ranks(*given, **settings, ranks=ranks, compiled=threads != 0)
    if threads == 0:
        return training_step(*given, **settings)
    count, controller = threads_for(model, optimiser, chosen, batch_size, threads)
    if count > 1:
        return ThreadedStep(*given, **settings, count=count, controller=controller)
    return compiled_step(*given, **settings)


def _run(training: Training) -> None:
    """All epochs that are left; then the model has its best weights."""
    session = training.session
    session.progress.examples = training.batches.examples.count
    try:
        with Interruption(saves=session.folder is not None) as interruption:
            interruption.is_quiet = not training.ranks.is_first
            training.run(interruption)
        session.load_best()
    finally:
        session.model.eval()


def _all_callbacks(
    given: Sequence[Callback],
    monitor: Monitor,
    patience: int | None,
    on_epoch: Callable[[Epoch], Any] | None,
    session: Session,
) -> list[Callback]:
    """The user's, and those of :func:`fit` itself: what changes the state comes before it is saved."""
    found: list[Callback] = [ScheduleObserver(), *given]
    found += [] if session.folder is None else [Checkpoint()]
    found += [] if patience is None else [EarlyStopping(monitor, patience)]
    return found + ([] if on_epoch is None else [OnEpoch(on_epoch)])


# What is looked at before


def _check_numbers(numbers: Mapping[str, object], optional: Collection[str]) -> None:
    for name, number in numbers.items():
        if number is None and name in optional:
            continue
        if not isinstance(number, (int, np.integer)) or number < 1:
            raise ValueError(f"fit: {name} must be an integer of at least 1, got {number!r}")


def _check_functions(**functions: tuple[Any, bool]) -> None:
    """Functions, and whether each may be left out."""
    for name, (function, is_optional) in functions.items():
        if not callable(function) and not (is_optional and function is None):
            raise TypeError(f"fit: {name} must be a function, got {type(function).__name__}")


def _checked_examples(chosen: Task, train: Any, validation: Any) -> dict[str, Examples]:
    given = {"train": train} if validation is None else {"train": train, "validation": validation}
    found = {name: chosen.checked("fit", name, examples) for name, examples in given.items()}
    if isinstance(train, (tuple, list)) and isinstance(validation, (tuple, list)):
        check_columns("fit", train[0], validation[0])
    return found


def _checked_callbacks(callbacks: Any) -> list[Callback]:
    found = list(callbacks) if isinstance(callbacks, Iterable) else [callbacks]
    for each in found:
        if not isinstance(each, Callback):
            raise TypeError(
                f"fit: callbacks must be objects of classes derived from tensorgrad.training.Callback, got {each!r}; "
                f"{'make one of the class' if isinstance(each, type) else 'a function of each epoch is for on_epoch='}"
            )
        unknown = [name for name in dir(each) if name.startswith("on_") and not hasattr(Callback, name)]
        if called := [name for name in unknown if callable(getattr(each, name))]:
            known = ", ".join(name for name in dir(Callback) if name.startswith("on_"))
            raise TypeError(
                f"fit: {type(each).__name__} has a method {called[0]}, which is never called; a callback has {known}, "
                "so give what is done there one of these names, or one that does not begin with on_"
            )
    return found


def checked_optimiser(function: str, model: Module, given: Optimiser | OptimiserLike) -> Optimiser:
    """The optimiser that is given, or a new one by its name."""
    if not isinstance(model, Module):
        raise TypeError(
            f"{function}: model must be a Module, got {type(model).__name__}; a function becomes one in "
            "Sequential(function)"
        )
    if not isinstance(given, Optimiser) and not model.parameters():
        raise ValueError(
            f"{function}: {type(model).__name__} has no parameters to train; let it hold layers, or Tensors with "
            "requires_grad = True, in attributes"
        )
    optimiser = given if isinstance(given, Optimiser) else optimiser_of(function, given, model.parameters())
    own = {id(tensor) for _, tensor in model.named_tensors()}  # frozen ones as well
    foreign = [parameter for parameter in optimiser.parameters if id(parameter) not in own]
    if foreign:
        raise ValueError(
            f"{function}: {len(foreign)} of the optimiser's {len(optimiser.parameters)} parameters are not the "
            "model's; make it of model.parameters()"
        )
    if not any(parameter.requires_grad for parameter in optimiser.parameters):
        raise ValueError(
            f"{function}: all parameters of the optimiser are frozen, so there is nothing to train; set "
            "requires_grad = True for those that are to be trained"
        )
    return optimiser


def _drops_last(model: Module, count: int, batch_size: int, drop_last: bool | None, ranks: int) -> bool:
    """Whether the last batch is left out, where it is smaller."""
    if drop_last and count < batch_size:
        raise ValueError(
            f"fit: drop_last=True leaves nothing to train on, as {count} examples are less than a batch of "
            f"{batch_size}; take smaller batches"
        )
    single_is_left = count % batch_size == 1 and count > 1 and takes_no_single_example(model)
    if drop_last is None:
        return single_is_left or 0 < count % batch_size < min(ranks, count)
    if single_is_left and not drop_last:
        raise ValueError(
            f"fit: {count} examples in batches of {batch_size} leave a last batch of one, in which batch "
            "normalisation finds no variance; leave out drop_last=False, or take batches of another size"
        )
    return drop_last


def _begin(session: Session, resume: bool | str, examples: int, watched: Monitor) -> None:
    """Make the folder of a session, and go on from what it holds where that is asked for."""
    session.begin_together()
    if resume not in (True, False, "auto"):
        raise ValueError(f"fit: resume must be True, False or 'auto', got {resume!r}")
    folder = session.folder
    if folder is None:
        if resume:
            raise ValueError(f"fit: resume={resume!r} needs the folder= of the checkpoints")
        return
    if resume and not session.restore(examples) and resume != "auto":
        like = " or ".join(map(str, folders_like(folder)))
        raise CheckpointError(
            f"{folder}: holds no {LAST} to resume from{f'; did you mean {like}?' if like else ''}; check the name, or "
            "pass resume='auto' to start from the beginning where there is none"
        )
    unwatched = [row for row in session.progress.history if watched.measure not in row.measures]
    if unwatched:
        raise CheckpointError(
            f"{folder}: its training was without {watched.measure}, which fit is to watch now; go on with "
            f"monitor={usual(list(unwatched[0].measures))!r}, or in another folder"
        )
    session.ranks.first(partial(_make, folder))
    if session.ranks.is_first and (earlier := session.earlier_files()):
        warnings.warn(
            f"fit: {folder} holds checkpoints of an earlier training, which become "
            f"{' and '.join(path.name for path in earlier.values())} when this one writes its own; resume=True goes on "
            "with them instead",
            UserWarning,
            stacklevel=3,
        )


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be made ({error.strerror})") from None
