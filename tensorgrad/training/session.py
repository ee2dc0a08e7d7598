"""A training session: everything that the next step depends on, saved and restored exactly."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from .._checkpoint import load_checkpoint, save_checkpoint, shortened
from .._pytree import tree_map
from ..archive import CheckpointError
from ..distributed import SingleProcess
from ..nn import Module
from ..optim import Optimiser
from .epoch import Epoch
from .history import COLUMNS, History
from .monitor import Monitor
from .ranks import Ranks
from .streams import RandomStreams, streams_of

_Value = TypeVar("_Value")

LAST, BEST = "last.npz", "best.npz"
OVERHEAD = 0.1
"""Share of the time that may go into saving the last state."""


@dataclass
class Progress:
    """How far the training has come, also in the middle of an epoch; and with how many examples, 0 if nobody knows."""

    epoch: int = 1
    order: np.ndarray | None = None
    position: int = 0
    loss_sum: float = 0.0
    loss_weight: float = 0.0
    measured: dict[str, tuple[float, float]] = field(default_factory=dict)
    seconds: float = 0.0
    history: History = field(default_factory=History)
    best_epoch: int = 0
    examples: int = 0
    initial_loss: float | None = None

    @property
    def best(self) -> Epoch | None:
        """The epoch whose weights are kept as the best."""
        return next((row for row in reversed(self.history) if row.epoch == self.best_epoch), None)

    def count(self, loss: float, amount: float) -> None:
        """Add the loss of a step, whose examples count for so much."""
        self.initial_loss = loss if self.initial_loss is None else self.initial_loss
        self.loss_sum += loss * amount
        self.loss_weight += amount

    def measure(self, totals: Mapping[str, tuple[float, float]]) -> None:
        """Add to each metric of the epoch its sum over a batch, and of how many."""
        measured = self.measured
        for name, (value, size) in totals.items():
            before, counted = measured.get(name, (0, 0))
            measured[name] = before + value, counted + size

    def means(self) -> dict[str, float]:
        """Loss and metrics of the epoch so far."""
        metrics = {name: value / (size or 1.0) for name, (value, size) in self.measured.items()}
        return {"loss": self.loss_sum / (self.loss_weight or 1.0), **metrics}

    def finish_epoch(self, row: Epoch, monitor: Monitor) -> bool:
        """Add a finished epoch, and move on to the next; whether it is the best."""
        best = self.best
        self.history.append(row)
        is_best = best is None or monitor.rank(row) > monitor.rank(best)
        self.best_epoch = row.epoch if is_best else self.best_epoch
        self.epoch, self.order, self.position = row.epoch + 1, None, 0
        self.loss_sum, self.loss_weight, self.measured, self.seconds = 0.0, 0.0, {}, 0.0
        return is_best

    def check(self) -> None:
        """A ValueError or TypeError for what no training can have saved."""
        integers = [self.epoch, self.position, self.best_epoch, self.examples, *(row.epoch for row in self.history)]
        numbers = [self.loss_sum, self.loss_weight, self.seconds]
        numbers += [number for pair in self.measured.values() for number in pair]
        numbers += [number for row in self.history for number in (row.loss, row.learning_rate, row.seconds)]
        numbers += [row.measures[name] for row in self.history for name in COLUMNS if name in row.measures]
        numbers += [] if self.initial_loss is None else [self.initial_loss]
        if not all(type(number) is int and number >= 0 for number in integers) or not all(map(math.isfinite, numbers)):
            raise ValueError("its progress holds what are no counts or losses")
        order = np.arange(0) if self.order is None else self.order
        if order.dtype.kind not in "iu" or not np.array_equal(np.sort(order, axis=None), np.arange(len(order))):
            raise ValueError("its order of the examples is none")
        if self.position > len(order):
            raise ValueError("its position lies behind the last example")


class Session:
    """A model, its optimiser, all random generators and the progress, with the files that keep them.

    Parameters
    ----------
    model, optimiser
        What is trained, and by what.
    rng
        A generator or streams, of which order and augmentation are drawn; those inside the model are found there.
    folder
        For ``last.npz`` and ``best.npz``; those of an earlier training are renamed before anything is written. None:
        nothing is written, the best weights stay in memory.
    settings
        What must be equal for a session to go on: a checkpoint of other settings is refused.
    callbacks
        Whose state belongs to that of the session.
    ranks
        The processes that train together, of which the first one writes; None: this one alone.
    """

    def __init__(
        self,
        model: Module,
        optimiser: Optimiser,
        rng: np.random.Generator | RandomStreams | int | None,
        folder: Path | None = None,
        settings: Mapping[str, Any] | None = None,
        callbacks: Sequence[Any] = (),
        ranks: Ranks | None = None,
    ) -> None:
        self.ranks = Ranks(SingleProcess()) if ranks is None else ranks
        self.model, self.optimiser, self.folder = model, optimiser, folder
        self.settings = json.loads(json.dumps(dict(settings or {})))  # as it comes back from a file
        self.streams = streams_of(rng)
        self._callbacks = _named_by_class(callbacks)
        self.generators = {**self.streams, **_prefixed("model/", dict(model.named_generators()))}
        self.progress = Progress()
        self._best_weights: dict[str, np.ndarray] = {}
        self._saved_at, self._save_took = time.perf_counter(), 0.0
        self._owns_files = folder is None
        self.is_resumed = False

    def begin_together(self) -> None:
        """Start all ranks from what the first one has: weights, the optimiser's state and random generators."""
        if self.ranks.size == 1:
            return
        states = {name: rng.bit_generator.state for name, rng in self.generators.items()}
        given = self.ranks.of_first((self.model.state_dict(), self.optimiser.state_dict(), states))
        self.model.load_state_dict(given[0])
        self.optimiser.load_state_dict(given[1])
        for name, rng in self.generators.items():
            rng.bit_generator.state = given[2][name]

    # The best weights

    def keep_best(self) -> None:
        """Keep the present weights as the best, in memory and, for others to use, in ``best.npz``."""
        self._best_weights = self.model.state_dict()
        if self.folder is not None:
            self.ranks.first(partial(self._write_best, self.folder))
            self._owns_files = True

    def _write_best(self, folder: Path) -> None:
        best = self.progress.best
        description = {"settings": self.settings, "best": None if best is None else asdict(best)}
        self._keep_earlier_files(folder)
        save_checkpoint(folder / BEST, _prefixed("model/", self._best_weights), description)

    def load_best(self) -> None:
        """Give the model its best weights, if there are any yet."""
        if self._best_weights:
            self.model.load_state_dict(self._best_weights)

    # The whole state

    def save_if_due(self, wait: float = 0.0) -> None:
        """Save unless that would take more than its share of the time; ``wait`` seconds at least after the last one."""
        if self.folder is None:
            return
        is_due = time.perf_counter() - self._saved_at >= max(wait, self._save_took / OVERHEAD)
        if self.ranks.any(is_due and self.ranks.is_first):
            self.save()

    def save_if_none(self) -> None:
        """Save unless that has been done: ``best.npz`` is not to be found alone, as of an earlier training."""
        if not self._owns_files:
            self.save()

    def compare(self) -> None:
        """Raise unless all ranks have the same weights."""
        self.ranks.compare(partial(self.model.state_dict, copy=False), self.optimiser.steps)

    def save(self) -> None:
        """Write the state to ``last.npz``; not one that is no longer finite, from which nothing could go on."""
        if self.folder is None:
            return
        started = time.perf_counter()
        self.ranks.compare(self._numbers, self.optimiser.steps)
        if not self._is_finite():
            return
        self.ranks.first(partial(self._write, self.folder))
        self._owns_files = True
        self._saved_at = time.perf_counter()
        self._save_took = self._saved_at - started

    def _write(self, folder: Path) -> None:
        progress = {**vars(self.progress), "history": [asdict(row) for row in self.progress.history]}
        order = progress.pop("order")
        optimiser = self.optimiser.state_dict(copy=False)
        arrays = _prefixed("model/", self.model.state_dict(copy=False)) | _prefixed("best/", self._best_weights)
        arrays |= _prefixed("optimiser/", {name: np.asarray(value) for name, value in optimiser.items()})
        if order is not None:
            arrays["order"] = order
        generators = {name: rng.bit_generator.state for name, rng in self.generators.items()}
        states = {name: each.state_dict() for name, each in self._callbacks.items()}
        for name, state in states.items():
            kept = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
            arrays |= _prefixed(f"callbacks/{name}/", kept)
            states[name] = {key: value for key, value in state.items() if key not in kept}
        description = {"settings": self.settings, "progress": progress, "generators": _as_json(generators)}
        description["callbacks"] = states
        self._keep_earlier_files(folder)
        save_checkpoint(folder / LAST, arrays, description)

    def earlier_files(self) -> dict[Path, Path]:
        """The checkpoints of another training in the folder, with the names that they get before the first write."""
        folder = self.folder
        if folder is None or self._owns_files:
            return {}
        number = next(n for n in count(1) if not any((folder / _numbered(name, n)).exists() for name in (BEST, LAST)))
        return {folder / name: folder / _numbered(name, number) for name in (BEST, LAST) if (folder / name).exists()}

    def _keep_earlier_files(self, folder: Path) -> None:
        """Before the first write: give the checkpoints of another training in the folder the next free names."""
        earlier = self.earlier_files()
        self._owns_files = True
        try:
            for path, renamed in earlier.items():
                path.rename(renamed)
        except OSError as error:
            raise CheckpointError(
                f"{folder}: holds checkpoints of an earlier training that cannot be renamed ({error.strerror}); choose "
                "another folder"
            ) from None

    def _numbers(self) -> dict[str, np.ndarray]:
        """Those of the network, running means included, and of the optimiser, by name."""
        moments = {f"{slot}.{i}": x.data for slot, kept in self.optimiser.state.items() for i, x in enumerate(kept)}
        return {**self.model.state_dict(copy=False), **_prefixed("optimiser/", moments)}

    def _is_finite(self) -> bool:
        """Whether all of these are."""
        return all(np.isfinite(array).all() for array in self._numbers().values())

    def restore(self, examples: int | None = None) -> bool:
        """Go on from ``last.npz``; False if there is none. ``examples``: how many there are to train on, to be checked.

        Raises
        ------
        CheckpointError
            If the file is damaged or of another network, optimiser or settings.
        """
        if self.folder is None:
            return False
        path = self.folder / LAST
        found = self.ranks.first(lambda: load_checkpoint(path) if path.exists() else None)
        if found is None:
            return False
        arrays, description = found
        try:
            with ExitStack() as undo:  # so that one that does not fit changes nothing
                self._restore(path, arrays, description, examples, undo)
                undo.pop_all()
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise CheckpointError(f"{path}: does not fit this training ({shortened(error)})") from None
        self._owns_files = self.is_resumed = True
        return True

    def _restore(
        self, path: Path, arrays: dict[str, np.ndarray], description: Any, examples: int | None, undo: ExitStack
    ) -> None:
        """Take over what a checkpoint holds; how to take that back is noted."""
        self._check_settings(path, description.get("settings", {}))
        progress = dict(description["progress"])
        progress["history"] = History(Epoch(**row) for row in progress["history"])
        restored, best = Progress(**progress, order=arrays.get("order")), _without_prefix("best/", arrays)
        restored.check()
        self._check_examples(path, restored, examples)
        generators = self._states_of_generators(description["generators"])
        undo.callback(self.model.load_state_dict, self.model.state_dict())
        if best:
            self.model.load_state_dict(best)  # to be checked as well
        self.model.load_state_dict(_without_prefix("model/", arrays))
        for group in self.optimiser.param_groups:
            undo.callback(group.update, {**group.settings, "lr": group["lr"]})
        undo.callback(self.optimiser.load_state_dict, self.optimiser.state_dict())
        self.optimiser.load_state_dict(_without_prefix("optimiser/", arrays))
        for name, rng in self.generators.items():
            undo.callback(setattr, rng.bit_generator, "state", rng.bit_generator.state)
            rng.bit_generator.state = _from_json(generators[name])
        for name, state in dict(description.get("callbacks", {})).items():
            if name in self._callbacks:
                each = self._callbacks[name]
                undo.callback(each.load_state_dict, deepcopy(each.state_dict()))
                each.load_state_dict({**state, **_without_prefix(f"callbacks/{name}/", arrays)})
            elif state or _without_prefix(f"callbacks/{name}/", arrays):
                kind = name.rpartition("-")[0]
                warnings.warn(
                    f"fit: {path} has the state of a callback {kind} that is not among callbacks=, so the training "
                    f"goes on without; pass {kind} again to go on as before",
                    UserWarning,
                    stacklevel=5,
                )
        self.progress, self._best_weights = restored, best

    def _check_examples(self, path: Path, restored: Progress, examples: int | None) -> None:
        """Raise if there were other training examples; take note of how many there are."""
        before = restored.examples if restored.order is None else len(restored.order)
        if examples is not None and before not in (0, examples):
            raise CheckpointError(
                f"{path}: made with {before} training examples, now there are {examples}; resume with the same, or "
                "train into another folder, beginning with these weights: load_weights(model, path)"
            )
        restored.examples = before if examples is None else examples

    def _states_of_generators(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        missing = [name for name in self.generators if name not in saved]
        if missing:
            raise ValueError(
                f"it has no state of the random generator {missing[0]}, but of {', '.join(saved) or 'none'}; pass the "
                "kind of rng= that it was made with"
            )
        return {name: saved[name] for name in self.generators}

    def _check_settings(self, path: Path, saved: Mapping[str, Any]) -> None:
        different = [name for name in {**self.settings, **saved} if self.settings.get(name) != saved.get(name)]
        if different:
            name = different[0]
            raise CheckpointError(
                f"{path}: made with {name} = {saved.get(name)!r}, now {name} = {self.settings.get(name)!r}; "
                "resume with the same settings, or train into another folder"
            )


def folders_like(folder: Path) -> list[Path]:
    """The folders beside it that hold a training and have a name like it, for one that may be mistyped."""
    from difflib import get_close_matches

    try:
        names = [path.name for path in folder.absolute().parent.iterdir() if (path / LAST).exists()]
    except OSError:
        return []
    return [folder.with_name(name) for name in get_close_matches(folder.absolute().name, names)]


def _numbered(name: str, number: int) -> str:
    return f"{Path(name).stem}-{number}{Path(name).suffix}"


def _named_by_class(callbacks: Sequence[Any]) -> dict[str, Any]:
    """Callbacks by their class and a number within it, such as ``EMA-0``, so that others may come and go."""
    numbers: dict[str, count[int]] = {}
    kinds = [type(each).__name__ for each in callbacks]
    return {f"{kind}-{next(numbers.setdefault(kind, count()))}": each for kind, each in zip(kinds, callbacks)}


def _prefixed(prefix: str, values: Mapping[str, _Value]) -> dict[str, _Value]:
    return {prefix + name: value for name, value in values.items()}


def _without_prefix(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Those arrays whose names begin with ``prefix``, named without it."""
    return {name[len(prefix) :]: array for name, array in arrays.items() if name.startswith(prefix)}


def load_weights(model: Module, path: str | Path) -> dict[str, Any]:
    """Give ``model`` the weights in a checkpoint such as ``best.npz``; returns the checkpoint's settings.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, no checkpoint or of another network, which is then as it was.
    """

    def accept(description: Mapping[str, Any]) -> None:
        settings = description.get("settings", {})
        if not isinstance(settings, dict):
            raise CheckpointError(f"{path}: its settings are {type(settings).__name__}, not names with values")

    settings: dict[str, Any] = model._load(path, accept).get("settings", {})
    return settings


_TAGGED = {"dtype", "values"}


def _as_json(state: object) -> Any:
    """A generator's state for JSON: arrays, which some generators have, as tagged lists."""
    return tree_map(
        lambda x: {"dtype": str(x.dtype), "values": x.tolist()} if isinstance(x, np.ndarray) else x,
        state,
    )


def _from_json(state: object) -> Any:
    def is_tagged(x: object) -> bool:
        return isinstance(x, dict) and x.keys() == _TAGGED

    return tree_map(lambda x: np.array(x["values"], x["dtype"]) if is_tagged(x) else x, state, is_leaf=is_tagged)
