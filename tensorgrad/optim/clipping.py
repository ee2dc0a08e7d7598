"""Gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..tensor import Tensor


def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients in place so that their joint Euclidean norm is at most ``max_norm``; returns the norm before.

    Pascanu et al. 2013, algorithm 1. Parameters without a gradient are left out.

    >>> import numpy as np, tensorgrad as tg
    >>> x = tg.Tensor([0.0, 0.0], requires_grad=True)
    >>> x.grad = np.array([3.0, 4.0])
    >>> clip_gradients([x], 1.0), x.grad
    (5.0, array([0.6, 0.8]))
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = math.sqrt(sum(map(_squared_norm, gradients)))
    if norm > max_norm:
        for gradient in gradients:
            gradient *= max_norm / norm
    return norm


def _squared_norm(gradient: np.ndarray) -> float:
    """In the gradient's own precision, which is quick, unless that overflows."""
    with np.errstate(over="ignore"):
        square = float(np.vdot(gradient, gradient))
    return square if math.isfinite(square) else float(np.square(gradient, dtype=np.float64).sum())
