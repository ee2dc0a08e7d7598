"""The optimisers: each says what one update does to one parameter, as an expression of arrays."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

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
        numbers: Any,
        value: Any,
        gradient: Any,
        *state: Any,
        momentum: float,
        dampening: float,
        weight_decay: float,
        nesterov: bool,
    ) -> tuple[Any, ...]:
        rate, gradient = numbers[0, ...], _decayed(gradient, value, weight_decay)
        if not momentum:
            return (value - rate * gradient,)
        velocity = momentum * state[0] + (numbers[1, ...] * gradient if dampening else gradient)
        return value - rate * (gradient + momentum * velocity if nesterov else velocity), velocity


class Adam(Optimiser):
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
    betas, eps, weight_decay = Setting(), Setting(), Setting()

    def __init__(
        self,
        parameters: Parameters,
        lr: Rate = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def _check(self, betas: Betas, eps: float, weight_decay: float) -> None:
        _check_betas(type(self).__name__, betas, eps)
        _check_not_negative(type(self).__name__, weight_decay=weight_decay)

    def _scalars(self, rate: float, count: int, betas: Betas, eps: float, weight_decay: float) -> tuple[float, ...]:
        correction = (1 - betas[1] ** count) ** 0.5  # both bias corrections are numbers: applied to the rate and to eps
        return rate * correction / (1 - betas[0] ** count), max(eps * correction, self._least_root)

    def _update(
        self, numbers: Any, value: Any, gradient: Any, *state: Any, betas: Betas, eps: float, weight_decay: float
    ) -> tuple[Any, ...]:
        (beta1, beta2), (first, second) = betas, state
        rate, eps, gradient = numbers[0, ...], numbers[1, ...], _decayed(gradient, value, weight_decay)
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * (gradient * gradient)
        return value - rate * (first / (np.sqrt(second) + eps)), first, second


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
        self, numbers: Any, value: Any, gradient: Any, *state: Any, betas: Betas, eps: float, weight_decay: float
    ) -> tuple[Any, ...]:
        value = numbers[2, ...] * value if weight_decay else value
        return super()._update(numbers, value, gradient, *state, betas=betas, eps=eps, weight_decay=0.0)


def _decayed(gradient: Any, value: Any, weight_decay: float) -> Any:
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


def _check_betas(kind: str, betas: Betas, eps: float) -> None:
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas) or not eps > 0:
        raise ValueError(f"{kind}: betas must satisfy 0 <= beta < 1 and eps > 0, got betas={betas}, eps={eps}")
