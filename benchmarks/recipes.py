"""The networks of the benchmarks, and how they are trained: the same in every framework."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

CNN = "CNN"
"""Conv 16 - pool - conv 32 - pool - 64 - 10 on images of 28 x 28, with 3 x 3 kernels."""

NETWORKS = {
    "784-512-10": (784, 512, 10),
    "2352-2048-512-10": (2352, 2048, 512, 10),
    "64-32-10": (64, 32, 10),
    CNN: ((1, 28, 28), 16, 32, 64, 10),
}
"""The networks of the experiments (digits and gray characters share one), a small one, and one of convolutions: sizes
of layers, of which all between an image's shape and the last two are convolutions, each with pooling."""

KERNEL, POOL = 3, 2


class Recipe(NamedTuple):
    """How a network is trained with Adam, as far as a framework offers it.

    Attributes
    ----------
    rate
        Of dropout after each hidden layer.
    strength
        Of the L2 penalty of the first layer's weights.
    lr
        The learning rate at first.
    steps
        In which it falls to 0, as half a cosine; None: it stays.
    """

    rate: float = 0.1
    strength: float = 5e-4
    lr: float = 1e-3
    steps: int | None = None

    def lr_at(self, step, cosine=math.cos):
        """The learning rate of a step, counted from 0."""
        return self.lr if self.steps is None else self.lr * (0.5 + 0.5 * cosine(math.pi * step / self.steps))


class Run(NamedTuple):
    """A whole training: on which data, by which recipe, for how many epochs; and an accuracy to be reached."""

    data: str
    recipe: Recipe
    epochs: int
    accuracy: float


RUNS = {
    "784-512-10": Run("mnist", Recipe(0.1, 1e-4, 3e-3), 20, 0.98),
    "2352-2048-512-10": Run("simpsons-mnist/rgb", Recipe(0.1, 5e-4, 1e-3), 40, 0.6),
    CNN: Run("mnist", Recipe(0.0, 0.0, 1e-3), 10, 0.985),
}
"""As in ``models/`` and the experiments, without augmentation."""

OPTIMISERS = {
    "SGD": ("SGD", {"lr": 1e-2}),
    "SGD, momentum": ("SGD", {"lr": 1e-3, "momentum": 0.9}),
    "SGD, Nesterov": ("SGD", {"lr": 1e-3, "momentum": 0.9, "nesterov": True}),
    "Adam": ("Adam", {"lr": 1e-3}),
    "AdamW": ("AdamW", {"lr": 1e-3}),
    "Adamax": ("Adamax", {"lr": 1e-3}),
    "RMSprop": ("RMSprop", {"lr": 1e-4}),
    "RMSprop, centred, momentum": ("RMSprop", {"lr": 1e-5, "centered": True, "momentum": 0.9}),
    "Adagrad": ("Adagrad", {"lr": 1e-3}),
    "Lion": ("Lion", {"lr": 1e-4}),
}
"""Every optimiser of this library: its class, and settings with which all networks learn."""


def sizes_of(network):
    """The sizes of a network by its name.

    >>> sizes_of("3-2")
    (3, 2)
    """
    return NETWORKS[network] if network in NETWORKS else tuple(map(int, network.split("-")))


def recipe_of(sizes):
    """The recipe of a step that is timed."""
    return Recipe(rate=0.0, strength=0.0) if is_of_images(sizes) else Recipe()


def is_of_images(sizes):
    """Whether the network begins with convolutions."""
    return isinstance(sizes[0], tuple)


def layers_of(sizes):
    """Shapes of the weights: (in, out), and of convolutions (height, width, in, out).

    >>> layers_of(((1, 28, 28), 16, 64, 10))
    [(3, 3, 1, 16), (3136, 64), (64, 10)]
    """
    if not is_of_images(sizes):
        return list(zip(sizes, sizes[1:]))
    (channels, height, width), *convolutions, hidden, classes = sizes
    pairs = list(zip((channels, *convolutions), convolutions))
    parts = POOL ** len(convolutions)
    flat = pairs[-1][1] * (height // parts) * (width // parts)
    return [*((KERNEL, KERNEL, *pair) for pair in pairs), (flat, hidden), (hidden, classes)]


def inputs_of(sizes, count):
    """Inputs and labels, the same for every framework."""
    rng = np.random.default_rng(0)
    shape = sizes[0] if is_of_images(sizes) else sizes[:1]
    return rng.random((count, *shape), dtype=np.float32), rng.integers(0, sizes[-1], count)


def weights_of(sizes):
    """Initial weights and biases, the same for every framework that takes them."""
    rng = np.random.default_rng(0)
    scaled = [rng.standard_normal(shape) * np.sqrt(2 / math.prod(shape[:-1])) for shape in layers_of(sizes)]
    return [(w.astype(np.float32), np.zeros(w.shape[-1], np.float32)) for w in scaled]
