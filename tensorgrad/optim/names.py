"""Optimisers by name, or from what makes one of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable, Union

from ..hints import similar_name
from .optimiser import Optimiser, Parameters
from .optimisers import SGD, Adagrad, Adam, Adamax, AdamW, Lion, RMSprop

OPTIMISERS: Mapping[str, type[Optimiser]] = {
    "adam": Adam,
    "adamw": AdamW,
    "adamax": Adamax,
    "sgd": SGD,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "lion": Lion,
}
"""By name; for :func:`tensorgrad.training.fit`, scikit-learn's estimators and the command lines."""

OptimiserLike = Union[str, Callable[..., Optimiser]]
"""A name out of :data:`OPTIMISERS`, in any case, or a function of parameters that makes one, such as a class."""


def optimiser_of(function: str, given: OptimiserLike, parameters: Parameters, **settings: Any) -> Optimiser:
    """A new optimiser of parameters, as a name or a function of them says.

    Raises
    ------
    TypeError, ValueError
        If there is none of that name, or the function makes something else; ``function`` is for the message.

    Examples
    --------
    >>> import tensorgrad as tg
    >>> optimiser_of("fit", "sgd", tg.nn.Dense(2, 1).parameters(), lr=0.1).lr
    0.1
    """
    if isinstance(given, str):
        kind = OPTIMISERS.get(given.lower())
        if kind is None:
            raise ValueError(
                f"{function}: optimiser must be one of {', '.join(map(repr, OPTIMISERS))}, got {given!r}"
                f"{similar_name('optimiser', given, OPTIMISERS)}"
            )
        return kind(parameters, **settings)
    made = given(parameters, **settings) if callable(given) else given
    if not isinstance(made, Optimiser):
        raise TypeError(
            f"{function}: optimiser must be a name such as 'adam', an Optimiser such as "
            "tensorgrad.optim.Adam(model.parameters()), or a function of parameters that makes one, such as "
            f"tensorgrad.optim.SGD or a functools.partial of it, got {made!r}"
        )
    return made
