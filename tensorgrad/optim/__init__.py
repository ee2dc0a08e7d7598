"""Optimisers and learning-rate schedules."""

from .optimisers import SGD, Adam, Optimiser
from .schedules import cosine_decay, inverse_time_decay

__all__ = ["SGD", "Adam", "Optimiser", "cosine_decay", "inverse_time_decay"]
