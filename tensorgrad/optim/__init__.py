"""Optimisers, learning-rate schedules and gradient clipping."""

from .clipping import clip_gradients
from .optimisers import SGD, Adam, Optimiser
from .schedules import Plateau, cosine_decay, inverse_time_decay, step_decay, warm_up

__all__ = [
    "SGD",
    "Adam",
    "Optimiser",
    "Plateau",
    "clip_gradients",
    "cosine_decay",
    "inverse_time_decay",
    "step_decay",
    "warm_up",
]
