"""SGD and Adam: updates are expressions, compiled so that they are done in place and in one pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any, Callable, Union

import numpy as np

from ..compiler import own
from ..core import Tensor, describe
from ..core.context import Follower, Replacements, following, guarded, io_callback, is_traced
from ..subnormals import least, without_subnormals
from .schedules import Schedule, as_schedule

Rate = Union[float, Callable[[int], float]]
"""A learning rate, or a schedule: a function from the number of steps taken to the rate."""


class Optimiser(ABC):
    """What all optimisers share: parameters, learning rate, step count, named state.

    Float16 parameters are updated in float32, in which their state is kept too; the new value is then rounded, so that
    changes of less than half the spacing of float16 numbers (2e-4 at 0.5) are lost. Gradients of other real dtypes are
    cast.

    After a step no parameter and no state holds a subnormal number, which processors are slow with: what decays below
    1e-33 (1e-303 in float64) becomes 0. Float16 parameters may hold its subnormal numbers, which begin at 6e-5.
    """

    slots: tuple[str, ...] = ()
    """Names of the arrays kept for each parameter."""

    _version = 0  # counts the changes of what a step depends on besides its parameters
    _followed: Any = None  # what the last step in a compiled function was like

    def __init__(self, parameters: Iterable[Tensor], lr: Rate) -> None:
        if not isinstance(parameters, Iterable) or isinstance(parameters, Tensor):
            raise TypeError(f"{type(self).__name__}: takes a sequence of parameters; pass model.parameters()")
        self.parameters = list(parameters)
        if not self.parameters:
            raise ValueError(
                f"{type(self).__name__}: got no parameters; pass model.parameters(), the Tensors that were made "
                "with requires_grad=True"
            )
        for position, parameter in enumerate(self.parameters):
            if not isinstance(parameter, Tensor) or not parameter.requires_grad:
                raise TypeError(
                    f"{type(self).__name__}: parameter {position} is not a Tensor that requires gradients, but of type "
                    f"{type(parameter).__name__}; pass model.parameters()"
                )
            if parameter.dtype.kind == "c":
                raise TypeError(
                    f"{type(self).__name__}: parameter {position} is {parameter.dtype}; optimise its real and "
                    "imaginary parts, as real + 1j * imag"
                )
            if not parameter.is_leaf:
                raise TypeError(f"{type(self).__name__}: parameter {position} is a result of ops; pass the leaves")
        if len({id(parameter) for parameter in self.parameters}) != len(self.parameters):
            raise ValueError(
                f"{type(self).__name__}: a parameter is given twice; it would be updated twice in each step"
            )
        as_schedule(type(self).__name__, "lr", lr)
        self.lr = lr
        self.steps = 0
        self.updates = [0] * len(self.parameters)
        for parameter in self.parameters:  # updated in place: an array of our own, not the caller's
            parameter.data = np.array(parameter.data)
        self.state = {
            slot: [Tensor(np.zeros_like(p.data, _computed_in(p.dtype))) for p in self.parameters] for slot in self.slots
        }
        self._compile()

    def _compile(self) -> None:
        self._compiled_step = own(self._step, lambda: self._version)
        self._compiled_update = own(self._update_all, lambda: self._version)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _COMPILED}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._compile()

    def __setattr__(self, name: str, value: object) -> None:
        if name not in ("lr", "steps", "updates"):  # which each step reads
            Replacements.note(self, name, value)
            vars(self)["_version"] = self._version + 1
        super().__setattr__(name, value)

    @property
    def learning_rate(self) -> float:
        """The rate that the next step takes."""
        rate = float(self.lr(self.steps) if callable(self.lr) else self.lr)
        if not 0 <= rate < inf:
            raise ValueError(
                f"{type(self).__name__}: the learning rate of step {self.steps + 1} must be finite and not "
                f"negative, got {rate}; check lr, or the schedule that it is"
            )
        return rate

    @property
    def schedule(self) -> Schedule:
        """The learning rate as a schedule, whatever was given."""
        return as_schedule(type(self).__name__, "lr", self.lr)

    def observe(self, loss: float) -> None:
        """Tell the schedule the validation loss of an epoch, as ``fit`` does."""
        self.schedule.observe(loss)

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        if (tracer := following()) is not None:
            self._followed_step(tracer)
        else:
            self._compiled_step()

    def _followed_step(self, tracer: Follower) -> None:
        """A step whose arithmetic is put off; it is counted at once."""
        positions = [i for i, p in enumerate(self.parameters) if tracer.has_gradient(p)]
        kind, counted = (positions, self._lags, self._version), (self.steps, self.updates.copy())
        if self._followed is None or self._followed[0] != kind:
            settings = {"positions": tuple(positions), "lags": tuple(kind[1]), "version": self._version}
            vars(self)["_followed"] = kind, settings, self._first_of_each(positions, kind[1])
        _, settings, first = self._followed
        tensors = [tensor for i in positions for tensor in self._tensors(i)]
        numbers = self._advance(positions, first)
        undo = partial(self._take_back, *counted)
        tracer.follow(self._update_followed, (*tensors, numbers), settings, len(tensors), undo)

    def _take_back(self, steps: int, updates: list[int]) -> None:
        self.steps, self.updates = steps, updates

    def _update_followed(self, *operands: Any, positions: tuple[int, ...], lags: tuple[int, ...], version: int) -> None:
        (self._update_all if is_traced() else self._compiled_update)(operands[-1], positions, lags)

    def _step(self) -> None:
        """What :meth:`step` does, as expressions."""
        positions = tuple([i for i, p in enumerate(self.parameters) if p.grad is not None])
        for i in positions:
            self._gradient(i)
        lags = tuple(guarded(self, "_lags"))
        first = self._first_of_each(positions, lags)
        numbers = io_callback(partial(self._advance, positions, first), partial(self._numbers, first))
        self._update_all(numbers, positions, lags)

    @staticmethod
    def _first_of_each(positions: Sequence[int], lags: Sequence[int]) -> list[int]:
        """One parameter of each group of those with the same count."""
        groups = sorted({lags[i] for i in positions}, reverse=True)
        return [next(i for i in positions if lags[i] == lag) for lag in groups]

    def _tensors(self, position: int) -> list[Tensor]:
        """A parameter and its state."""
        return [self.parameters[position], *(self.state[slot][position] for slot in self.slots)]

    def _update_all(self, numbers: Any, positions: Sequence[int], lags: Sequence[int]) -> None:
        """Update the parameters at these positions."""
        gradients = {i: self._gradient(i) for i in positions}
        groups = sorted({lags[i] for i in positions}, reverse=True)
        for i in positions:
            tensors = self._tensors(i)
            dtype = _computed_in(tensors[0].dtype)
            row = numbers.astype(dtype)[groups.index(lags[i])]
            value, *state = (tensor.data.astype(dtype, copy=False) for tensor in tensors)
            updated = self._update(row, value, gradients[i].astype(dtype, copy=False), *state)
            for tensor, new in zip(tensors, updated):
                tensor.data = without_subnormals(new).astype(tensor.dtype, copy=False)

    def _gradient(self, position: int) -> Any:
        """The gradient of a parameter, checked."""
        parameter = self.parameters[position]
        gradient: Any = parameter.grad
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
    def _lags(self) -> list[int]:
        """For each parameter, how many different counts of updates there are above its own."""
        counts = sorted(set(self.updates), reverse=True)
        if len(counts) == 1:
            return [0] * len(self.updates)
        return [counts.index(count) for count in self.updates]

    def _advance(self, positions: Sequence[int], first: list[int]) -> np.ndarray:
        """Count the step, and return its numbers."""
        numbers = self._numbers(first)
        self.steps += 1
        for i in positions:
            self.updates[i] += 1
        return numbers

    def _numbers(self, first: list[int]) -> np.ndarray:
        """The numbers of the next update, a row for each of these parameters."""
        rate = self.learning_rate
        return np.array([self._scalars(rate, self.updates[i] + 1) for i in first], np.float64)

    @abstractmethod
    def _scalars(self, rate: float, count: int) -> tuple[float, ...]:
        """The numbers that the ``count``-th update takes."""

    @abstractmethod
    def _update(self, numbers: object, value: Any, gradient: object, *state: Any) -> tuple[Any, ...]:
        """The new value and state, given the numbers of :meth:`_scalars` as an array."""

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        if (tracer := following()) is not None:
            return tracer.forget_gradients(self.parameters)
        for parameter in self.parameters:
            parameter.zero_grad()

    def state_dict(self, copy: bool = True) -> dict[str, Any]:
        """Step count, what the schedule has observed, and the state arrays, as ``slot.position``.

        Copies, unless they are only looked at and ``copy`` is False.
        """
        arrays = {f"{slot}.{i}": tensor.data for slot in self.slots for i, tensor in enumerate(self.state[slot])}
        if copy:
            arrays = {name: array.copy() for name, array in arrays.items()}
        counts = {"steps": self.steps, "updates": np.array(self.updates)}
        return {**counts, **{f"schedule.{k}": v for k, v in self.schedule.state_dict().items()}, **arrays}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``, as returned by :meth:`state_dict`; all of it or, on an error, none.

        Raises
        ------
        KeyError, ValueError
            If the state is of another optimiser or of other parameters.
        """
        expected = self.state_dict(copy=False)
        if expected.keys() != state.keys():
            different = ", ".join(sorted(expected.keys() ^ state.keys()))
            raise KeyError(f"load_state_dict: the state differs in {different}; it is of another optimiser or network")
        arrays = {name: np.asarray(state[name]) for name in expected if name.startswith((*self.slots, "updates"))}
        for name, array in arrays.items():
            if array.shape != expected[name].shape or array.dtype != expected[name].dtype:
                raise ValueError(f"load_state_dict: {name} is {describe(array)}, expected {describe(expected[name])}")
        steps, schedule = int(state["steps"]), self.schedule
        schedule.load_state_dict({name: _number(state[f"schedule.{name}"]) for name in schedule.state_dict()})
        self.steps, self.updates = steps, arrays["updates"].tolist()
        for slot in self.slots:
            for i, tensor in enumerate(self.state[slot]):
                tensor.data = arrays[f"{slot}.{i}"]


_COMPILED = ("_compiled_step", "_compiled_update", "_followed")


def _computed_in(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of a parameter's update and state: in float16 the squares of gradients, and Adam's eps, would be 0."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype


def _number(value: Any) -> Any:
    """What is saved as an array without axes as the number that it was."""
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


class SGD(Optimiser):
    """Stochastic gradient descent, with momentum if asked for.

    velocity = momentum * velocity + gradient; parameter -= lr * velocity

    Parameters
    ----------
    parameters
        Tensors to update.
    lr
        Learning rate, or a schedule.
    momentum
        Share of the velocity that is kept; 0 is plain descent.

    Examples
    --------
    >>> import tensorgrad as tg
    >>> x = tg.Tensor([3.0], requires_grad=True)
    >>> optimiser = tg.optim.SGD([x], lr=0.1)
    >>> (x * x).sum().backward()
    >>> optimiser.step()
    >>> x.data
    array([2.4])
    """

    def __init__(self, parameters: Iterable[Tensor], lr: Rate = 1e-2, momentum: float = 0.0) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"SGD: momentum must satisfy 0 <= momentum < 1, got {momentum}")
        self.momentum = momentum
        self.slots = ("velocity",) if momentum else ()
        super().__init__(parameters, lr)

    def _scalars(self, rate: float, count: int) -> tuple[float, ...]:
        return (rate,)

    def _update(self, numbers: Any, value: Any, gradient: Any, *state: Any) -> tuple[Any, ...]:
        rate = numbers[0, ...]
        if not state:
            return (value - rate * gradient,)
        velocity = float(guarded(self, "momentum")) * state[0] + gradient
        return value - rate * velocity, velocity


class Adam(Optimiser):
    """Adam (Kingma & Ba 2015, algorithm 1).

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
    parameter -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    Parameters
    ----------
    parameters
        Tensors to update.
    lr
        Learning rate, or a schedule.
    betas
        Decay rates of the two moments.
    eps
        Added to the denominator; smaller ones than 3e-17 count as that (3e-152 if all parameters are float64), as a
        smaller second moment than its square is 0.

    Examples
    --------
    >>> import tensorgrad as tg
    >>> x = tg.Tensor([3.0], requires_grad=True)
    >>> optimiser = tg.optim.Adam([x], lr=0.1)
    >>> (x * x).sum().backward()
    >>> optimiser.step()
    >>> x.data.round(6)
    array([2.9])
    """

    slots = ("first_moment", "second_moment")

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if not all(0 <= beta < 1 for beta in betas) or eps <= 0:
            raise ValueError(f"Adam: betas must satisfy 0 <= beta < 1 and eps > 0, got betas={betas}, eps={eps}")
        self.betas, self.eps = betas, eps
        super().__init__(parameters, lr)
        self._least_eps = max(least(_computed_in(parameter.dtype)) ** 0.5 for parameter in self.parameters)

    def _scalars(self, rate: float, count: int) -> tuple[float, ...]:
        beta1, beta2 = self.betas
        correction = (1 - beta2**count) ** 0.5  # both bias corrections are numbers: applied to the rate and to eps
        return rate * correction / (1 - beta1**count), max(self.eps * correction, self._least_eps)

    def _update(self, numbers: Any, value: Any, gradient: Any, *state: Any) -> tuple[Any, ...]:
        (beta1, beta2), (first, second) = map(float, guarded(self, "betas")), state
        rate, eps = numbers[0, ...], numbers[1, ...]
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * (gradient * gradient)
        return value - rate * (first / (np.sqrt(second) + eps)), first, second
