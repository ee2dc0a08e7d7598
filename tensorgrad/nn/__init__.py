"""Layers, losses and penalties: expressions on top of the engine."""

from .layers import Dense, Dropout, ReLU, Sequential, Softmax
from .losses import categorical_cross_entropy, l1_penalty, l2_penalty, softmax_cross_entropy
from .module import Module

__all__ = [
    "Dense",
    "Dropout",
    "Module",
    "ReLU",
    "Sequential",
    "Softmax",
    "categorical_cross_entropy",
    "l1_penalty",
    "l2_penalty",
    "softmax_cross_entropy",
]
