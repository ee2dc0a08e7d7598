"""The default network of the scikit-learn estimators: dense layers, their settings and penalties."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Callable

import numpy as np

from .. import nn
from ..core import Tensor
from ..nn import Dense, Dropout, Module, Sequential
from ..nn.module import total
from ..ops.activations import softmax
from ..ops.norms import squared_norm
from ..optim import OPTIMISERS
from ..training import RandomStreams

ACTIVATIONS: Mapping[str, Callable[[], Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "identity": Sequential,
    "leaky_relu": nn.LeakyReLU,
    "logistic": nn.Sigmoid,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}
"""By name; ``"logistic"`` and ``"identity"`` as in scikit-learn."""

OUTPUT_SCALE = 0.3
"""Factor of the initial weights of the last layer: at first all outputs are almost alike."""


def _is_integer(value: object, least: int = 1) -> bool:
    return isinstance(value, Integral) and int(value) >= least


def _is_number(value: Any, below: float = np.inf) -> bool:
    return isinstance(value, Real) and 0 <= float(value) < below


def _named(names: Mapping[str, Any], function: str) -> tuple[Callable[[Any], bool], str]:
    known = f"one of {', '.join(map(repr, names))}, or {function}"
    return lambda value: value.lower() in names if isinstance(value, str) else callable(value), known


_INTEGER = "an integer of at least 1"
SETTINGS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "hidden_layer_sizes": (lambda value: all(map(_is_integer, _sizes(value))), "positive integers, such as (100,)"),
    "activation": _named(ACTIVATIONS, "a function of Tensors, such as numpy.tanh"),
    "dropout": (lambda value: _is_number(value, 1), "a number in 0 <= dropout < 1"),
    "l1": (_is_number, "a number that is not negative"),
    "l2": (_is_number, "a number that is not negative"),
    "learning_rate": (
        lambda value: callable(value) or _is_number(value),
        "a number that is not negative, or a schedule",
    ),
    "learning_rate_decay": (_is_number, "a number that is not negative"),
    "optimiser": _named(OPTIMISERS, "a function of parameters that makes one, such as tensorgrad.optim.SGD"),
    "epochs": (_is_integer, _INTEGER),
    "batch_size": (lambda value: value == "auto" or _is_integer(value), f"'auto' or {_INTEGER}"),
    "tol": (_is_number, "a number that is not negative"),
    "n_iter_no_change": (lambda value: value is None or _is_integer(value), f"None or {_INTEGER}"),
    "validation_fraction": (lambda value: _is_number(value, 1) and value > 0, "a number between 0 and 1"),
}
"""What each may be, and that in words."""


def _sizes(hidden_layer_sizes: Any) -> tuple[Any, ...]:
    return tuple(hidden_layer_sizes) if np.iterable(hidden_layer_sizes) else (hidden_layer_sizes,)


def perceptron(estimator: Any, inputs: int, outputs: int, streams: RandomStreams, dtype: Any) -> Sequential:
    """A new network by the settings of an estimator."""
    layers: list[Any] = []
    for size in _sizes(estimator.hidden_layer_sizes):
        layers += [Dense(inputs, size, streams.weights, dtype=dtype), _activation(estimator.activation)]
        layers += [Dropout(estimator.dropout, streams.dropout)] if estimator.dropout else []
        inputs = size
    last = Dense(inputs, outputs, streams.weights, dtype=dtype)
    last.weight.data *= OUTPUT_SCALE
    return Sequential(*layers, last)


def _activation(given: Any) -> Any:
    if isinstance(given, str):
        return ACTIVATIONS[given.lower()]()
    return given() if isinstance(given, type) else copy.deepcopy(given)


def moments(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means, and standard deviations, or 1 for what is constant but for rounding."""
    mean = np.average(values, axis=0, weights=weights)
    scale = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weights))
    rounding = len(values) * np.finfo(np.float64).eps * np.abs(mean)
    return mean, np.where(scale > rounding, scale, 1.0)


class Predictor(Module):
    """All that an estimator predicts with: its network, and what is done before and after it.

    ``features`` and ``targets`` are means and standard deviations, or None where nothing is scaled; without those of
    targets the outputs are logits, of which probabilities are given.
    """

    def __init__(self, network: Module, features: Any, targets: Any) -> None:
        dtype = next((parameter.dtype for parameter in network.parameters()), np.dtype(float))
        self.network = network
        self.features, self.targets = (
            None if moments is None else tuple(Tensor(np.asarray(moment, dtype)) for moment in moments)
            for moments in (features, targets)
        )

    def forward(self, x: Any) -> Tensor:
        """Probabilities of classes, or numbers in the scale of the targets."""
        if self.features is not None:
            mean, scale = self.features
            x = (x - mean) / scale
        outputs = self.network(x)
        if self.targets is None:
            return softmax(outputs)
        mean, scale = self.targets
        return outputs.reshape(outputs.shape[0], *mean.shape) * scale + mean


class Penalised(Module):
    """A network with penalties on the weights of its dense layers.

    The strengths are Tensors, so that no compiled step depends on them: a search over them compiles once.
    """

    def __init__(self, network: Module, l1: float, l2: float) -> None:
        self.network = network
        dtype = network.parameters()[0].dtype
        self.l1, self.l2 = (Tensor(np.asarray(strength, dtype)) if strength else None for strength in (l1, l2))

    def forward(self, x: Any) -> Tensor:
        """What the network gives."""
        return self.network(x)

    def penalty(self) -> Tensor | float:
        """What is added to the loss."""
        weights = [layer.weight for layer in self.network.modules() if isinstance(layer, Dense)]
        l1 = [] if self.l1 is None else [self.l1 * abs(weight).sum() for weight in weights]
        l2 = [] if self.l2 is None else [squared_norm(weight, self.l2) for weight in weights]
        return total(l1 + l2)
