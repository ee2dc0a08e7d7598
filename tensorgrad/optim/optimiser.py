"""What all optimisers share: updates are expressions, compiled so that they are done in place and in one pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from functools import cache, partial
from math import inf
from typing import Any, Callable, Union

import numpy as np

from ..compiler import own
from ..core import Array, Tensor, describe
from ..core.context import Follower, Replacements, following, guarded, io_callback, is_traced
from ..core.lending import lend_gradient, lent_gradient
from ..subnormals import least, without_subnormals
from .groups import ParameterGroup, Setting, checked_parameters, grouped, plain
from .schedules import Rate, Schedule, as_schedule

Parameters = Iterable[Union[Tensor, Mapping[str, Any]]]
"""Tensors, or groups of them: dicts with ``params`` and the settings that are a group's own."""

Settings = tuple[tuple[tuple[str, Any], ...], ...]
"""For each group names with values."""


UNCOMPILED = 2
"""Steps that are done before one is compiled, which takes as long as ten; a compiled function has taken them over by
then."""

FEW = 2**20
"""Numbers in all parameters up to which that saves time; with more, arrays in between would be what counts."""


class Optimiser(ABC):
    """What all optimisers share: parameters in groups, learning rates, step count, named state.

    ``param_groups`` are the groups, as dicts: see :class:`ParameterGroup`. An attribute such as ``lr`` is that of the
    first group; set, it becomes that of all. A subclass says in ``_scalars`` and ``_update`` what one update does.

    Float16 parameters are updated in float32, in which their state is kept too; the new value is then rounded, so that
    changes of less than half the spacing of float16 numbers (2e-4 at 0.5) are lost. Gradients of other real dtypes are
    cast.

    After a step no parameter and no state holds a subnormal number, which processors are slow with: what decays below
    1e-33 (1e-303 in float64) becomes 0. Float16 parameters may hold its subnormal numbers, which begin at 6e-5.
    """

    slots: tuple[str, ...] = ()
    """Names of the arrays kept for each parameter; what the settings do not :meth:`_need` is left out."""

    lr = Setting()

    before_step: Callable[[], None] | None = None
    """Called before each step, to change gradients: see :func:`tensorgrad.distributed.synchronise`."""

    _version = 0  # counts changes of what a step depends on, other than the parameters
    _followed: Any = None  # what the last step in a compiled function was like

    def __init__(self, parameters: Parameters, lr: Rate, **settings: Any) -> None:
        groups = grouped(type(self).__name__, parameters, {**settings, "lr": lr})
        given = [parameter for group in groups for parameter in group["params"]]
        self.parameters: list[Tensor] = checked_parameters(type(self).__name__, given)
        self.param_groups = [ParameterGroup(self, group) for group in groups]
        for group in self.param_groups:
            self._check_group(group)
        self._read_settings()
        self._group_of = [i for i, group in enumerate(groups) for _ in group["params"]]
        needed = {slot for group in self.param_groups for slot in self._need(**group.settings)}
        self.slots = tuple(slot for slot in self.slots if slot in needed)
        self.steps = 0
        self.updates = [0] * len(self.parameters)
        for parameter in self.parameters:  # updated in place: an array of our own, not the caller's
            parameter.data = np.array(parameter.data)
        self.state = {
            slot: [Tensor(np.zeros_like(p.data, _computed_in(p.dtype))) for p in self.parameters] for slot in self.slots
        }
        self._least_root = max(least(_computed_in(parameter.dtype)) ** 0.5 for parameter in self.parameters)
        self._compile()

    # Settings

    def _check_group(self, group: Mapping[str, Any]) -> None:
        """Raise for a learning rate or settings that no step can be done with."""
        as_schedule(type(self).__name__, "lr", group["lr"])
        settings = {name: value for name, value in group.items() if name not in ("params", "lr")}
        self._check(**settings)
        missing = [slot for slot in self._need(**settings) if slot not in self.slots]
        if missing:
            raise ValueError(
                f"{type(self).__name__}: no {missing[0]} is kept, as no group needed one when the optimiser was made; "
                "make a new one with these settings"
            )

    def _check(self, *_: Any, **settings: Any) -> None:  # noqa: B027 - nothing to check where there are no settings
        """Raise a ValueError for settings that make no sense."""

    def _need(self, *_: Any, **settings: Any) -> tuple[str, ...]:
        """Those of the slots that a group with these settings needs."""
        return self.slots

    def _read_settings(self) -> None:
        """Take note of the settings of all groups, as they are now."""
        self._settings_of = [group.settings for group in self.param_groups]
        self._settings = tuple(tuple(settings.items()) for settings in self._settings_of)

    def _compile(self) -> None:
        is_elementwise = type(self).__module__.startswith(__package__)  # as those of this library are
        size = sum(parameter.size for parameter in self.parameters)
        uncompiled = UNCOMPILED if is_elementwise and size <= FEW else 0
        self._compiled_step = own(self._step, lambda: self._version, uncompiled)
        self._compiled_update = own(self._update_all, lambda: self._version, uncompiled)

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in vars(self).items() if name not in _COMPILED}
        return {**kept, "param_groups": [(group.given, dict(group)) for group in self.param_groups]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        vars(self)["param_groups"] = [ParameterGroup(self, *values) for values in state["param_groups"]]
        self._compile()

    def __setattr__(self, name: str, value: object) -> None:
        if name not in ("lr", "steps", "updates"):  # which each step reads
            Replacements.note(self, name, value)
            vars(self)["_version"] = self._version + 1
        super().__setattr__(name, value)

    @property
    def learning_rate(self) -> float:
        """The rate that the next step takes, for the first group."""
        return self._checked_rate(self.lr)

    def _checked_rate(self, lr: Rate) -> float:
        rate = float(lr(self.steps) if callable(lr) else lr)
        if not 0 <= rate < inf:
            raise ValueError(
                f"{type(self).__name__}: the learning rate of step {self.steps + 1} must be finite and not "
                f"negative, got {rate}; check lr, or the schedule that it is"
            )
        return rate

    @property
    def learning_rates(self) -> list[float]:
        """The rate that the next step takes, for each group; a schedule that several share is asked once."""
        if len(self.param_groups) == 1:
            return [self._checked_rate(self.param_groups[0]["lr"])]
        given = [group["lr"] for group in self.param_groups]
        rates = {key: self._checked_rate(lr) for key, lr in {id(lr): lr for lr in given}.items()}
        return [rates[id(lr)] for lr in given]

    @property
    def schedule(self) -> Schedule:
        """The learning rate of the first group as a schedule, whatever was given."""
        return as_schedule(type(self).__name__, "lr", self.lr)

    def _schedules(self) -> dict[str, Schedule]:
        """Those of all groups, each once, by the prefix of their state's names."""
        found: dict[int, tuple[str, Any]] = {}
        for position, group in enumerate(self.param_groups):
            found.setdefault(id(group["lr"]), (f"schedule.{position}." if position else "schedule.", group["lr"]))
        return {prefix: as_schedule(type(self).__name__, "lr", lr) for prefix, lr in found.values()}

    def observe(self, loss: float) -> None:
        """Tell the schedules the validation loss of an epoch, as ``fit`` does."""
        for schedule in self._schedules().values():
            schedule.observe(loss)

    # The step

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        if self.before_step is not None:
            if is_traced():
                raise RuntimeError(
                    f"{type(self).__name__}: a step inside a function that is compiled with pure=True cannot wait for "
                    "other ranks; leave out pure=True"
                )
            self.before_step()
        if (tracer := following()) is not None:
            self._followed_step(tracer)
        else:
            self._compiled_step()

    def _followed_step(self, tracer: Follower) -> None:
        """A step whose arithmetic is put off; it is counted at once."""
        positions = [i for i, p in enumerate(self.parameters) if tracer.has_gradient(p)]
        kind, counted = (positions, self._rows, self._version), (self.steps, self.updates.copy())
        if self._followed is None or self._followed[0] != kind:
            how = {"positions": tuple(positions), "rows": tuple(kind[1]), "settings": self._settings}
            first = self._first_of_each(positions, kind[1])
            vars(self)["_followed"] = kind, {**how, "version": self._version}, first
        _, how, first = self._followed
        tensors = [tensor for i in positions for tensor in self._tensors(i)]
        numbers = self._advance(positions, first)
        undo = partial(self._take_back, *counted)
        tracer.follow(self._update_followed, (*tensors, numbers), how, len(tensors), undo)

    def _take_back(self, steps: int, updates: list[int]) -> None:
        self.steps, self.updates = steps, updates

    def _update_followed(
        self, *operands: Any, positions: tuple[int, ...], rows: tuple[int, ...], settings: Settings, version: int
    ) -> None:
        update = self._update_all if is_traced() else self._compiled_update
        update(operands[-1], positions, rows, settings)

    def _step(self) -> None:
        """What :meth:`step` does, as expressions."""
        positions = tuple([i for i, p in enumerate(self.parameters) if p.grad is not None])
        for i in positions:
            self._gradient(i)
        rows, settings = tuple(guarded(self, "_rows")), guarded(self, "_settings")
        first = self._first_of_each(positions, rows)
        numbers = io_callback(partial(self._advance, positions, first), partial(self._numbers, first))
        self._update_all(numbers, positions, rows, settings)

    @staticmethod
    def _first_of_each(positions: Sequence[int], rows: Sequence[int]) -> list[int]:
        """One parameter for each row of numbers that is needed, in their order."""
        present = sorted({rows[i] for i in positions})
        return [next(i for i in positions if rows[i] == row) for row in present]

    def _tensors(self, position: int) -> list[Tensor]:
        """A parameter and its state."""
        return [self.parameters[position], *(self.state[slot][position] for slot in self.slots)]

    def _update_all(self, numbers: Any, positions: Sequence[int], rows: Sequence[int], settings: Settings) -> None:
        """Update the parameters at these positions."""
        gradients = {i: self._gradient(i) for i in positions}
        present, of_group = sorted({rows[i] for i in positions}), [dict(items) for items in settings]
        row_of = cache(lambda dtype, row: numbers.astype(dtype)[present.index(row)])
        for i in positions:
            tensors = self._tensors(i)
            dtype = _computed_in(tensors[0].dtype)
            value, *state = (tensor.data.astype(dtype, copy=False) for tensor in tensors)
            gradient = gradients[i].astype(dtype, copy=False)
            updated = self._update(row_of(dtype, rows[i]), value, gradient, *state, **of_group[self._group_of[i]])
            for tensor, new in zip(tensors, updated):
                tensor.data = without_subnormals(new).astype(tensor.dtype, copy=False)

    def _gradient(self, position: int) -> Any:
        """The gradient of a parameter, checked."""
        return self._checked_gradient(position, self.parameters[position].grad)

    def _checked_gradient(self, position: int, gradient: Any) -> Any:
        parameter = self.parameters[position]
        if isinstance(gradient, Tensor) or getattr(gradient, "shape", None) != parameter.shape:
            raise ValueError(
                f"{type(self).__name__}: parameter {position} has shape {parameter.shape}, its gradient must be an "
                f"array of that shape, got {'a Tensor' if isinstance(gradient, Tensor) else describe(gradient)}"
            )
        if gradient.dtype != parameter.dtype and not np.can_cast(gradient.dtype, parameter.dtype, "same_kind"):
            raise TypeError(
                f"{type(self).__name__}: parameter {position} is {parameter.dtype}, its gradient must be of real "
                f"numbers, got {gradient.dtype}; set .grad to an array such as gradient.real.astype({parameter.dtype})"
            )
        return gradient

    @property
    def _rows(self) -> list[int]:
        """For each parameter which row of numbers it takes: one for each group and count of updates, most first."""
        if len(set(self.updates)) == 1:
            return self._group_of
        kinds = [(group, -count) for group, count in zip(self._group_of, self.updates)]
        row_of = {kind: row for row, kind in enumerate(sorted(set(kinds)))}
        return [row_of[kind] for kind in kinds]

    def _advance(self, positions: Sequence[int], first: list[int]) -> np.ndarray:
        """Count the step, and return its numbers."""
        numbers = self._numbers(first)
        self.steps += 1
        for i in positions:
            self.updates[i] += 1
        return numbers

    def _numbers(self, first: list[int]) -> np.ndarray:
        """The numbers of the next update, a row for each of these parameters."""
        rates, rows = self.learning_rates, []
        for i in first:
            group = self._group_of[i]
            rows.append(self._scalars(rates[group], self.updates[i] + 1, **self._settings_of[group]))
        return np.array(rows, np.float64)

    @abstractmethod
    def _scalars(self, rate: float, count: int, *_: Any, **settings: Any) -> tuple[float, ...]:
        """The numbers that the ``count``-th update takes, as many whatever the settings."""

    @abstractmethod
    def _update(self, numbers: Array, value: Array, gradient: Array, *state: Any, **settings: Any) -> tuple[Array, ...]:
        """The new value and state, given the numbers of :meth:`_scalars` as an array, and the group's settings.

        State at the end that stays as it is can be left out.
        """

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to None."""
        if (tracer := following()) is not None:
            return tracer.forget_gradients(self.parameters)
        for parameter in self.parameters:
            parameter.zero_grad()

    # Gradients of several ranks

    def borrow_gradients(self) -> list[np.ndarray | None]:
        """The gradients of all parameters as they lie, to be read at once: in buffers of compiled functions, say."""
        gradients = map(lent_gradient, self.parameters)
        return [
            None if gradient is None else self._checked_gradient(i, gradient) for i, gradient in enumerate(gradients)
        ]

    def lend_gradients(self, gradients: Sequence[np.ndarray | None]) -> None:
        """Set the gradients of all parameters, to arrays that may be overwritten later: who reads one gets a copy."""
        for parameter, gradient in zip(self.parameters, gradients):
            lend_gradient(parameter, gradient)

    # Saving

    def state_dict(self, copy: bool = True) -> dict[str, Any]:
        """Step count, what the schedules have observed, and the state arrays, as ``slot.position``.

        Also settings that are numbers and have been changed since the optimiser was made. Copies, unless they are only
        read and ``copy`` is False.
        """
        arrays = {f"{slot}.{i}": tensor.data for slot in self.slots for i, tensor in enumerate(self.state[slot])}
        if copy:
            arrays = {name: array.copy() for name, array in arrays.items()}
        state: dict[str, Any] = {"steps": self.steps, "updates": np.array(self.updates)}
        if len(self.param_groups) > 1:
            state["groups"] = np.array([len(group["params"]) for group in self.param_groups])
        for prefix, schedule in self._schedules().items():
            state.update({prefix + name: value for name, value in schedule.state_dict().items()})
        for position, group in enumerate(self.param_groups):
            state.update({f"setting.{position}.{name}": value for name, value in group.changed().items()})
        return {**state, **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``, as returned by :meth:`state_dict`; all of it or, on an error, none.

        Raises
        ------
        KeyError, ValueError
            If the state is of another optimiser or of other parameters.
        """
        expected = {name: value for name, value in self.state_dict(copy=False).items() if not _is_setting(name)}
        different = expected.keys() ^ {name for name in state if not _is_setting(name)}
        if different:
            names = ", ".join(sorted(different))
            raise KeyError(f"load_state_dict: the state differs in {names}; it is of another optimiser or network")
        arrays = {name: np.asarray(state[name]) for name, value in expected.items() if isinstance(value, np.ndarray)}
        for name, array in arrays.items():
            if array.shape != expected[name].shape or array.dtype != expected[name].dtype:
                raise ValueError(f"load_state_dict: {name} is {describe(array)}, expected {describe(expected[name])}")
        if "groups" in arrays and not np.array_equal(arrays["groups"], expected["groups"]):
            sizes, now = arrays["groups"].tolist(), expected["groups"].tolist()
            raise ValueError(
                f"load_state_dict: the state is of groups of {sizes} parameters, the optimiser's have {now}"
            )
        steps, settings = int(state["steps"]), self._settings_in(state)
        with ExitStack() as undo:
            for prefix, schedule in self._schedules().items():
                before = schedule.state_dict()
                undo.callback(schedule.load_state_dict, before)
                schedule.load_state_dict({name: _number(state[prefix + name]) for name in before})
            undo.pop_all()
        for group, values in zip(self.param_groups, settings):
            group.update(values)
        self.steps, self.updates = steps, arrays["updates"].tolist()
        for slot in self.slots:
            for i, tensor in enumerate(self.state[slot]):
                tensor.data = arrays[f"{slot}.{i}"]

    def _settings_in(self, state: Mapping[str, Any]) -> list[dict[str, Any]]:
        """For each group the settings that were changed, checked."""
        found = []
        for position, group in enumerate(self.param_groups):
            prefix = f"setting.{position}."
            values = {name[len(prefix) :]: plain(value) for name, value in state.items() if name.startswith(prefix)}
            if not values.keys() <= group.keys():
                raise KeyError(f"load_state_dict: the optimiser has no settings {sorted(values.keys() - group.keys())}")
            self._check_group({**group, **values})
            found.append(values)
        return found


_COMPILED = ("_compiled_step", "_compiled_update", "_followed", "before_step")


def _computed_in(dtype: np.dtype) -> np.dtype:
    """The dtype of a parameter's update and state: in float16 the squares of gradients, and Adam's eps, would be 0."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def _is_setting(name: str) -> bool:
    return name.startswith("setting.")


def _number(value: object) -> Any:
    """What is saved as an array without axes as the number that it was."""
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
