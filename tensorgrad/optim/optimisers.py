"""The optimisers: each says what one update does to one parameter, as an expression of arrays."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from ..core import Array
from .groups import Setting
from .optimiser import Optimiser, Parameters
from .schedules import Rate

Betas = tuple[float, float]


class SGD(Optimiser):
    """Stochastic gradient descent, with momentum if asked for.

    velocity = momentum * velocity + (1 - dampening) * gradient, at first the gradient; parameter -= lr * velocity

    Parameters
    ----------
    parameters
        Tensors to update, or groups of them: dicts with ``params`` and settings of their own.
    lr
        Learning rate, or a schedule.
    momentum
        Share of the velocity that is kept; 0 is plain descent.
    dampening
        Share of each gradient but the first that is left out of the velocity.
    weight_decay
        Times the parameter, added to its gradient, as an L2 penalty does.
    nesterov
        Whether the step is lr * (gradient + momentum * velocity) (Sutskever et al. 2013, as PyTorch has it).

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

    slots = ("velocity",)
    momentum, dampening, weight_decay, nesterov = Setting(), Setting(), Setting(), Setting()

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate = 1e-2,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        settings = {"momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov}
        super().__init__(parameters, lr, **settings)

    def _check(self, momentum: float, dampening: float, weight_decay: float, nesterov: bool) -> None:
        _check_shares("SGD", momentum=momentum)
        _check_not_negative("SGD", weight_decay=weight_decay)
        if not 0 <= dampening <= 1:
            raise ValueError(f"SGD: dampening must satisfy 0 <= dampening <= 1, got {dampening}")
        if nesterov and (not momentum or dampening):
            raise ValueError(
                f"SGD: nesterov=True needs momentum, and no dampening, got momentum={momentum}, dampening={dampening}"
            )

    def _need(self, momentum: float, **settings: Any) -> tuple[str, ...]:
        return ("velocity",) if momentum else ()

    def _scalars(self, rate: float, count: int, dampening: float, **settings: Any) -> tuple[float, ...]:
        return rate, 1 - dampening if count > 1 else 1.0

    def _update(
        self,
        numbers: Array,
        value: Array,
        gradient: Array,
        *state: Array,
        momentum: float,
        dampening: float,
        weight_decay: float,
        nesterov: bool,
    ) -> tuple[Array, ...]:
        rate, gradient = numbers[0, ...], _decayed(gradient, value, weight_decay)
        if not momentum:
            return (value - rate * gradient,)
        velocity = momentum * state[0] + (numbers[1, ...] * gradient if dampening else gradient)
        return value - rate * (gradient + momentum * velocity if nesterov else velocity), velocity


class _WithMoments(Optimiser):
    """What Adam and Adamax share: their settings."""

    betas, eps, weight_decay = Setting(), Setting(), Setting()

    def _check(self, betas: Betas, eps: float, weight_decay: float) -> None:
        kind = type(self).__name__
        _check_betas(kind, betas)
        _check_positive(kind, eps=eps)
        _check_not_negative(kind, weight_decay=weight_decay)


class Adam(_WithMoments):
    """Adam (Kingma & Ba 2015, algorithm 1).

    m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
    parameter -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps)

    Parameters
    ----------
    parameters
        Tensors to update, or groups of them: dicts with ``params`` and settings of their own.
    lr
        Learning rate, or a schedule.
    betas
        Decay rates of the two moments.
    eps
        Added to the denominator; smaller ones than 3e-17 count as that (3e-152 if all parameters are float64), as a
        smaller second moment than its square is 0.
    weight_decay
        Times the parameter, added to its gradient, as an L2 penalty does; :class:`AdamW` has the other kind.

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
        parameters: Parameters,
        lr: Rate = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _scalars(self, rate: float, count: int, betas: Betas, eps: float, weight_decay: float) -> tuple[float, ...]:
        correction = (1 - betas[1] ** count) ** 0.5  # both bias corrections are numbers: applied to the rate and to eps
        return rate * correction / (1 - betas[0] ** count), max(eps * correction, self._least_root)

    def _update(
        self,
        numbers: Array,
        value: Array,
        gradient: Array,
        *state: Array,
        betas: Betas,
        eps: float,
        weight_decay: float,
    ) -> tuple[Array, ...]:
        (beta1, beta2), (first, second) = betas, state
        rate, epsilon, gradient = numbers[0, ...], numbers[1, ...], _decayed(gradient, value, weight_decay)
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * (gradient * gradient)
        return value - rate * (first / (np.sqrt(second) + epsilon)), first, second


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2, with the decay times the rate).

    parameter *= 1 - lr * weight_decay, then what :class:`Adam` does without decay

    Parameters
    ----------
    parameters
        Tensors to update, or groups of them: dicts with ``params`` and settings of their own.
    lr
        Learning rate, or a schedule, by which the decay becomes smaller, too.
    betas, eps
        As in :class:`Adam`.
    weight_decay
        Share of the parameter, times the rate, that is lost in each step.

    Examples
    --------
    Weights decay, biases do not:

    >>> import numpy as np, tensorgrad as tg
    >>> layer = tg.nn.Dense(2, 3, np.random.default_rng(0))
    >>> groups = [{"params": [layer.weight]}, {"params": [layer.bias], "weight_decay": 0.0}]
    >>> optimiser = tg.optim.AdamW(groups, lr=1e-3)
    >>> [group["weight_decay"] for group in optimiser.param_groups]
    [0.01, 0.0]
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def _scalars(self, rate: float, count: int, betas: Betas, eps: float, weight_decay: float) -> tuple[float, ...]:
        return *super()._scalars(rate, count, betas, eps, weight_decay), 1 - rate * weight_decay

    def _update(
        self,
        numbers: Array,
        value: Array,
        gradient: Array,
        *state: Array,
        betas: Betas,
        eps: float,
        weight_decay: float,
    ) -> tuple[Array, ...]:
        value = numbers[2, ...] * value if weight_decay else value
        return super()._update(numbers, value, gradient, *state, betas=betas, eps=eps, weight_decay=0.0)


class RMSprop(Optimiser):
    """RMSprop (Tieleman & Hinton 2012, lecture 6.5; centred as in Graves 2013, equations 38 to 45).

    v = alpha v + (1 - alpha) g^2; parameter -= lr * g / (sqrt(v) + eps)

    Parameters
    ----------
    parameters
        Tensors to update, or groups of them: dicts with ``params`` and settings of their own.
    lr
        Learning rate, or a schedule.
    alpha
        Decay rate of the means.
    eps
        Added to the denominator; not less than in :class:`Adam`.
    weight_decay
        Times the parameter, added to its gradient, as an L2 penalty does.
    momentum
        If not 0: velocity = momentum * velocity + g / (sqrt(v) + eps); parameter -= lr * velocity.
    centered
        Whether v is reduced by the square of the gradient's own mean, to its variance.

    Examples
    --------
    >>> import tensorgrad as tg
    >>> x = tg.Tensor([3.0], requires_grad=True)
    >>> optimiser = tg.optim.RMSprop([x], lr=0.1, alpha=0.75)
    >>> (x * x).sum().backward()
    >>> optimiser.step()
    >>> x.data.round(6)
    array([2.8])
    """

    slots = ("mean_square", "mean", "velocity")
    alpha, eps, weight_decay, momentum, centered = Setting(), Setting(), Setting(), Setting(), Setting()

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        settings = {"weight_decay": weight_decay, "momentum": momentum, "centered": centered}
        super().__init__(parameters, lr, alpha=alpha, eps=eps, **settings)

    def _check(self, alpha: float, eps: float, weight_decay: float, momentum: float, centered: bool) -> None:
        _check_shares("RMSprop", alpha=alpha, momentum=momentum)
        _check_positive("RMSprop", eps=eps)
        _check_not_negative("RMSprop", weight_decay=weight_decay)

    def _need(self, momentum: float, centered: bool, **settings: Any) -> tuple[str, ...]:
        return "mean_square", *(["mean"] if centered else []), *(["velocity"] if momentum else [])

    def _scalars(self, rate: float, count: int, eps: float, **settings: Any) -> tuple[float, ...]:
        return rate, max(eps, self._least_root)

    def _update(
        self,
        numbers: Array,
        value: Array,
        gradient: Array,
        *state: Array,
        alpha: float,
        weight_decay: float,
        momentum: float,
        centered: bool,
        **settings: Any,
    ) -> tuple[Array, ...]:
        rate, eps, gradient = numbers[0, ...], numbers[1, ...], _decayed(gradient, value, weight_decay)
        kept = dict(zip(self.slots, state))
        variance = kept["mean_square"] = alpha * kept["mean_square"] + (1 - alpha) * (gradient * gradient)
        if centered:
            mean = kept["mean"] = alpha * kept["mean"] + (1 - alpha) * gradient
            variance = np.maximum(variance - mean * mean, 0)  # by rounding it may be less
        step = gradient / (np.sqrt(variance) + eps)
        if momentum:
            step = kept["velocity"] = momentum * kept["velocity"] + step
        return value - rate * step, *kept.values()


class Adagrad(Optimiser):
    """Adagrad (Duchi et al. 2011, with diagonal matrices).

    total += g^2; parameter -= lr * g / (sqrt(total) + eps)

    Parameters
    ----------
    parameters
        Tensors to update, or groups of them: dicts with ``params`` and settings of their own.
    lr
        Learning rate, or a schedule; :class:`inverse_time_decay` is what others have as ``lr_decay``.
    weight_decay
        Times the parameter, added to its gradient, as an L2 penalty does.
    initial_accumulator_value
        Of the total.
    eps
        Added to the denominator; not less than in :class:`Adam`.

    Examples
    --------
    >>> import tensorgrad as tg
    >>> x = tg.Tensor([3.0], requires_grad=True)
    >>> optimiser = tg.optim.Adagrad([x], lr=0.1)
    >>> (x * x).sum().backward()
    >>> optimiser.step()
    >>> x.data.round(6)
    array([2.9])
    """

    slots = ("total",)
    weight_decay, initial_accumulator_value, eps = Setting(), Setting(), Setting()

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate = 1e-2,
        *,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
    ) -> None:
        settings = {"weight_decay": weight_decay, "initial_accumulator_value": initial_accumulator_value, "eps": eps}
        super().__init__(parameters, lr, **settings)
        for position, total in enumerate(self.state["total"]):
            group = self.param_groups[self._group_of[position]]
            total.data = np.full_like(total.data, group["initial_accumulator_value"])

    def _check(self, weight_decay: float, initial_accumulator_value: float, eps: float) -> None:
        _check_positive("Adagrad", eps=eps)
        _check_not_negative("Adagrad", weight_decay=weight_decay, initial_accumulator_value=initial_accumulator_value)

    def _scalars(self, rate: float, count: int, eps: float, **settings: Any) -> tuple[float, ...]:
        return rate, max(eps, self._least_root)

    def _update(
        self, numbers: Array, value: Array, gradient: Array, *state: Array, weight_decay: float, **settings: Any
    ) -> tuple[Array, ...]:
        gradient = _decayed(gradient, value, weight_decay)
        total = state[0] + gradient * gradient
        return value - numbers[0, ...] * (gradient / (np.sqrt(total) + numbers[1, ...])), total


class Adamax(_WithMoments):
    """Adamax: Adam with the largest gradient in place of the mean square (Kingma & Ba 2015, algorithm 2).

    m = beta1 m + (1 - beta1) g; u = max(beta2 u, abs(g) + eps); parameter -= lr / (1 - beta1^t) * m / u

    Parameters
    ----------
    parameters
        Tensors to update, or groups of them: dicts with ``params`` and settings of their own.
    lr
        Learning rate, or a schedule.
    betas
        Decay rates of the mean and of the largest gradient.
    eps
        Added to each gradient's size, as PyTorch does; less than 8e-34 counts as that (2e-303 if all parameters are
        float64).
    weight_decay
        Times the parameter, added to its gradient, as an L2 penalty does.

    Examples
    --------
    >>> import tensorgrad as tg
    >>> x = tg.Tensor([3.0], requires_grad=True)
    >>> optimiser = tg.optim.Adamax([x], lr=0.1)
    >>> (x * x).sum().backward()
    >>> optimiser.step()
    >>> x.data.round(6)
    array([2.9])
    """

    slots = ("first_moment", "largest")

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _scalars(self, rate: float, count: int, betas: Betas, eps: float, **settings: Any) -> tuple[float, ...]:
        return rate / (1 - betas[0] ** count), max(eps, self._least_root**2)

    def _update(
        self,
        numbers: Array,
        value: Array,
        gradient: Array,
        *state: Array,
        betas: Betas,
        weight_decay: float,
        **settings: Any,
    ) -> tuple[Array, ...]:
        (beta1, beta2), (first, largest) = betas, state
        rate, eps, gradient = numbers[0, ...], numbers[1, ...], _decayed(gradient, value, weight_decay)
        first = beta1 * first + (1 - beta1) * gradient
        largest = np.maximum(beta2 * largest, np.abs(gradient) + eps)
        return value - rate * (first / largest), first, largest


class Lion(Optimiser):
    """Lion (Chen et al. 2023, algorithm 2): steps of one size, in the direction of the sign of a mean gradient.

    parameter -= lr * (sign(beta1 m + (1 - beta1) g) + weight_decay * parameter); m = beta2 m + (1 - beta2) g

    The paper advises a rate three to ten times smaller than for AdamW, and a decay that is larger by as much.

    Parameters
    ----------
    parameters
        Tensors to update, or groups of them: dicts with ``params`` and settings of their own.
    lr
        Learning rate, or a schedule.
    betas
        Share of the mean in the direction, and its decay rate.
    weight_decay
        Decoupled, as in :class:`AdamW`.

    Examples
    --------
    >>> import tensorgrad as tg
    >>> x = tg.Tensor([3.0], requires_grad=True)
    >>> optimiser = tg.optim.Lion([x], lr=0.1)
    >>> (x * x).sum().backward()
    >>> optimiser.step()
    >>> x.data.round(6)
    array([2.9])
    """

    slots = ("momentum",)
    betas, weight_decay = Setting(), Setting()

    def __init__(
        self, parameters: Parameters, lr: Rate = 1e-4, betas: Betas = (0.9, 0.99), weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, lr, betas=betas, weight_decay=weight_decay)

    def _check(self, betas: Betas, weight_decay: float) -> None:
        _check_betas("Lion", betas)
        _check_not_negative("Lion", weight_decay=weight_decay)

    def _scalars(self, rate: float, count: int, weight_decay: float, **settings: Any) -> tuple[float, ...]:
        return rate, 1 - rate * weight_decay

    def _update(
        self, numbers: Array, value: Array, gradient: Array, *state: Array, betas: Betas, weight_decay: float
    ) -> tuple[Array, ...]:
        (beta1, beta2), (momentum,) = betas, state
        direction = np.sign(beta1 * momentum + (1 - beta1) * gradient)
        value = numbers[1, ...] * value if weight_decay else value
        return value - numbers[0, ...] * direction, beta2 * momentum + (1 - beta2) * gradient


def _decayed(gradient: Array, value: Array, weight_decay: float) -> Array:
    """The gradient with that of ``weight_decay / 2`` times the square of the parameter."""
    return gradient + weight_decay * value if weight_decay else gradient


def _check_not_negative(kind: str, **numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 <= number < inf:
            raise ValueError(f"{kind}: {name} must be finite and not negative, got {number}")


def _check_shares(kind: str, **numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 <= number < 1:
            raise ValueError(f"{kind}: {name} must satisfy 0 <= {name} < 1, got {number}")


def _check_betas(kind: str, betas: Betas) -> None:
    if not isinstance(betas, tuple) or len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"{kind}: betas must be two numbers with 0 <= beta < 1, got {betas}")


def _check_positive(kind: str, **numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 < number < inf:
            raise ValueError(f"{kind}: needs a finite {name} > 0, got {number}")
