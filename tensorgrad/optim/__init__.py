"""Optimisers, learning-rate schedules and gradient clipping."""

from .clipping import GradientsNotFinite, clip_gradients
from .optimisers import SGD, Adam, Optimiser
from .schedules import Plateau, Schedule, cosine_decay, inverse_time_decay, step_decay, warm_up

__all__ = [
    "SGD",
    "Adam",
    "GradientsNotFinite",
    "Optimiser",
    "Plateau",
    "Schedule",
    "clip_gradients",
    "cosine_decay",
    "inverse_time_decay",
    "step_decay",
    "warm_up",
]
