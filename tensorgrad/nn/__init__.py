"""Layers, losses and penalties: expressions on top of the engine."""

from typing import TYPE_CHECKING

from .activations import ELU, GELU, SELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Softsign, Tanh
from .attention import MultiHeadAttention
from .blocks import convolutional_blocks, dense_blocks
from .convolution import (
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    Conv1d,
    Conv2d,
    Conv3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
)
from .initialisers import INITIALISERS
from .layers import Dense, Dropout, Embedding, Flatten, GaussianNoise, Residual, Sequential
from .losses import (
    binary_cross_entropy_with_logits,
    categorical_cross_entropy,
    hinge,
    huber,
    kl_divergence,
    l1_penalty,
    l2_penalty,
    mae,
    mse,
    softmax_cross_entropy,
)
from .module import Module
from .normalisation import BatchNorm1d, BatchNorm2d, BatchNorm3d, GroupNorm, LayerNorm, RMSNorm
from .recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "INITIALISERS",
    "LSTM",
    "RNN",
    "SELU",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GaussianNoise",
    "GroupNorm",
    "LSTMCell",
    "LayerNorm",
    "LeakyReLU",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "Module",
    "MultiHeadAttention",
    "RMSNorm",
    "RNNCell",
    "ReLU",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
    "binary_cross_entropy_with_logits",
    "categorical_cross_entropy",
    "convolutional_blocks",
    "dense_blocks",
    "hinge",
    "huber",
    "kl_divergence",
    "l1_penalty",
    "l2_penalty",
    "mae",
    "mse",
    "softmax_cross_entropy",
]

if not TYPE_CHECKING:  # to a type checker a name that is missing is missing

    def __getattr__(name):
        from ..hints import missing

        raise missing(__name__, name)
