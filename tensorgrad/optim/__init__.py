"""Optimisers, learning-rate schedules and gradient clipping."""

from typing import TYPE_CHECKING

from .clipping import GradientsNotFinite, clip_grad_norm
from .optimisers import SGD, Adam, Optimiser
from .schedules import ReduceLROnPlateau, Schedule, cosine_decay, inverse_time_decay, step_decay, warmup

__all__ = [
    "SGD",
    "Adam",
    "GradientsNotFinite",
    "Optimiser",
    "ReduceLROnPlateau",
    "Schedule",
    "clip_grad_norm",
    "cosine_decay",
    "inverse_time_decay",
    "step_decay",
    "warmup",
]

if not TYPE_CHECKING:  # to a type checker a name that is missing is missing

    def __getattr__(name):
        from ..hints import missing

        raise missing(__name__, name)
