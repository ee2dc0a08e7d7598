"""Gradient clipping."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

import numpy as np

from ..tensor import Tensor


def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> Any:
    """Scale all gradients so that their joint Euclidean norm is at most ``max_norm``; returns the norm before.

    Pascanu et al. 2013, algorithm 1. Parameters without a gradient are left out.

    >>> import numpy as np, tensorgrad as tg
    >>> x = tg.Tensor([0.0, 0.0], requires_grad=True)
    >>> x.grad = np.array([3.0, 4.0])
    >>> clip_gradients([x], 1.0), x.grad
    (np.float64(5.0), array([0.6, 0.8]))
    """
    check_max_norm("clip_gradients", max_norm)
    parameters = list(parameters)
    for parameter in parameters:
        if not isinstance(parameter, Tensor):
            raise TypeError(
                f"clip_gradients: takes parameters, such as model.parameters(), got one of type "
                f"{type(parameter).__name__}"
            )
    found = {id(parameter): (parameter, parameter.grad) for parameter in parameters}
    given = [(parameter, gradient) for parameter, gradient in found.values() if gradient is not None]
    if any(gradient.dtype.kind == "c" for _, gradient in given):
        raise TypeError("clip_gradients: takes real gradients, got complex ones; keep real and imaginary parts as two")
    norm = np.sqrt(sum(np.square(gradient, dtype=np.float64).sum() for _, gradient in given))
    scale = np.minimum(1, max_norm / np.maximum(norm, max_norm))
    for parameter, gradient in given:
        parameter.grad = gradient * scale.astype(gradient.dtype)
    return norm


def check_max_norm(function: str, max_norm: Any) -> None:
    """Raise unless it is a number to which gradients can be scaled."""
    if isinstance(max_norm, (int, float, np.integer, np.floating)) and not 0 < max_norm < inf:
        raise ValueError(f"{function}: max_norm must be positive and finite, got {max_norm}")
