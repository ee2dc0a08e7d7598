"""SGD and Adam: updates are expressions, compiled so that they are done in place and in one pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from functools import partial
from math import inf
from typing import Any, Callable, Union

import numpy as np

from ..compiler import compile
from ..core import Tensor, describe
from ..core.context import Replacements, outside, watched
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
        self._compiled_step = compile(self._step)
        self._compiled_step.is_own = True

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_compiled_step"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._compile()

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in ("lr", "steps", "updates"):  # which each step reads
            Replacements.note(self, name, value)
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
        self._compiled_step()

    def _step(self) -> None:
        """What :meth:`step` does, as expressions."""
        gradients = {i: p.grad for i, p in enumerate(self.parameters)}
        positions = [i for i, gradient in gradients.items() if gradient is not None]
        for i in positions:
            self._check_gradient(i, gradients[i])
        lags = watched(self, "_lags")
        groups = sorted({lags[i] for i in positions}, reverse=True)
        first = [next(i for i in positions if lags[i] == lag) for lag in groups]  # one parameter of each group
        numbers = outside(partial(self._advance, positions, first), partial(self._numbers, first))
        for i in positions:
            tensors = [self.parameters[i], *(self.state[slot][i] for slot in self.slots)]
            dtype = _computed_in(tensors[0].dtype)
            row = numbers.astype(dtype)[groups.index(lags[i])]
            value, *state = (tensor.data.astype(dtype, copy=False) for tensor in tensors)
            updated = self._update(row, value, gradients[i].astype(dtype, copy=False), *state)
            for tensor, new in zip(tensors, updated):
                tensor.data = without_subnormals(new).astype(tensor.dtype, copy=False)

    def _check_gradient(self, position: int, gradient: Any) -> None:
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

    @property
    def _lags(self) -> list[int]:
        """For each parameter, how many different counts of updates there are above its own."""
        counts = sorted(set(self.updates), reverse=True)
        return [counts.index(count) for count in self.updates]

    def _advance(self, positions: list[int], first: list[int]) -> np.ndarray:
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
    def _update(self, numbers: Any, value: Any, gradient: Any, *state: Any) -> tuple[Any, ...]:
        """The new value and state, given the numbers of :meth:`_scalars` as an array."""

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
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
        velocity = float(watched(self, "momentum")) * state[0] + gradient
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
        (beta1, beta2), (first, second) = map(float, watched(self, "betas")), state
        rate, eps = numbers[0, ...], numbers[1, ...]
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * (gradient * gradient)
        return value - rate * (first / (np.sqrt(second) + eps)), first, second
