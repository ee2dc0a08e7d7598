"""Blocks of layers that networks are made of, to be chained in a ``Sequential``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .activations import ReLU
from .convolution import Conv2d, MaxPool2d
from .initialisers import generator
from .layers import Dense, Dropout
from .module import Module
from .normalisation import BatchNorm2d


def dense_blocks(
    in_features: int,
    widths: Sequence[int],
    rng: np.random.Generator | int | None = None,
    *,
    dropout: float = 0.0,
    dropout_rng: np.random.Generator | None = None,
    weight_l2: float = 0.0,
    dtype: object = np.float32,
) -> list[Module]:
    """A block of ``Dense``, ``ReLU`` and ``Dropout`` for each hidden width.

    Parameters
    ----------
    in_features
        Length of the last axis of the input.
    widths
        Widths of the hidden layers, in order.
    rng
        NumPy random generator for the initial weights, or an integer to seed one; None: one with an unpredictable seed.
    dropout
        Rate of the dropout after each hidden layer.
    dropout_rng
        Generator that draws its masks. None: ``rng``.
    weight_l2
        Strength of the L2 penalty of the first layer's weights, which are most of them where inputs are long.
    dtype
        Dtype of the parameters.

    Examples
    --------
    >>> import tensorgrad as tg
    >>> tg.nn.Sequential(*dense_blocks(784, [64, 32], 0, dropout=0.1))
    Sequential(
      (0): Dense(784 -> 64)
      (1): ReLU()
      (2): Dropout(0.1)
      (3): Dense(64 -> 32)
      (4): ReLU()
      (5): Dropout(0.1)
    )
    """
    drawn = generator(rng)
    layers: list[Module] = []
    for features, width in zip([in_features, *widths], widths):
        strength = 0.0 if layers else weight_l2
        layers += [Dense(features, width, drawn, weight_l2=strength, dtype=dtype), ReLU()]
        layers.append(Dropout(dropout, drawn if dropout_rng is None else dropout_rng))
    return layers


def convolutional_blocks(
    in_channels: int,
    channels: Sequence[int],
    rng: np.random.Generator | int | None = None,
    *,
    kernel_size: int = 3,
    weight_l2: float = 0.0,
    dtype: object = np.float32,
) -> list[Module]:
    """A block of ``Conv2d``, ``BatchNorm2d``, ``ReLU`` and ``MaxPool2d`` for each number of channels.

    Each block halves height and width, rounded down. The convolutions have no bias: the normalisation has one.

    Parameters
    ----------
    in_channels
        Channels of the images, which have the shape (examples, channels, height, width).
    channels
        Output channels of the blocks, in order.
    rng
        NumPy random generator for the initial weights, or an integer to seed one; None: one with an unpredictable seed.
    kernel_size
        Height and width of the kernels, an odd number.
    weight_l2
        Strength of the L2 penalty of the kernels.
    dtype
        Dtype of the parameters.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.nn.Sequential(*convolutional_blocks(3, [8, 16], 0))(np.ones((5, 3, 28, 28), np.float32)).shape
    (5, 16, 7, 7)
    """
    drawn = generator(rng)
    layers: list[Module] = []
    for before, after in zip([in_channels, *channels], channels):
        convolution = Conv2d(
            before, after, kernel_size, drawn, padding="same", bias=False, weight_l2=weight_l2, dtype=dtype
        )
        layers += [convolution, BatchNorm2d(after, dtype=dtype), ReLU(), MaxPool2d(2)]
    return layers
