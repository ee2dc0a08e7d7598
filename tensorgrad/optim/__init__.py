"""Optimisers, learning-rate schedules, gradient clipping, and minimising as a whole."""

from typing import TYPE_CHECKING

from .clipping import GradientsNotFinite, clip_gradient_values, clip_gradients
from .groups import ParameterGroup
from .lbfgs import Minimum, minimise
from .names import OPTIMISERS
from .optimiser import Optimiser
from .optimisers import SGD, Adagrad, Adam, Adamax, AdamW, Lion, RMSprop
from .schedules import (
    Plateau,
    Schedule,
    cosine_decay,
    inverse_time_decay,
    one_cycle,
    polynomial_decay,
    step_decay,
    warm_up,
)

__all__ = [
    "OPTIMISERS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "GradientsNotFinite",
    "Lion",
    "Minimum",
    "Optimiser",
    "ParameterGroup",
    "Plateau",
    "RMSprop",
    "Schedule",
    "clip_gradient_values",
    "clip_gradients",
    "cosine_decay",
    "inverse_time_decay",
    "minimise",
    "one_cycle",
    "polynomial_decay",
    "step_decay",
    "warm_up",
]

if not TYPE_CHECKING:  # to a type checker a name that is missing is missing

    def __getattr__(name):
        from ..hints import missing

        raise missing(__name__, name)
