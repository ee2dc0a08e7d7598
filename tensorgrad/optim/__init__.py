"""Optimisers, learning-rate schedules and gradient clipping."""

from typing import TYPE_CHECKING

from .clipping import GradientsNotFinite, clip_gradient_values, clip_gradients
from .optimisers import SGD, Adam, Optimiser
from .schedules import Plateau, Schedule, cosine_decay, inverse_time_decay, step_decay, warm_up

__all__ = [
    "SGD",
    "Adam",
    "GradientsNotFinite",
    "Optimiser",
    "Plateau",
    "Schedule",
    "clip_gradient_values",
    "clip_gradients",
    "cosine_decay",
    "inverse_time_decay",
    "step_decay",
    "warm_up",
]

if not TYPE_CHECKING:  # to a type checker a name that is missing is missing

    def __getattr__(name):
        from ..hints import missing

        raise missing(__name__, name)
