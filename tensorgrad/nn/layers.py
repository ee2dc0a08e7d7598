"""Layers: Dense, ReLU, Dropout, Softmax, and Sequential, which chains them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable

import numpy as np

from ..ops.neural import dropout, relu, softmax
from ..tensor import Tensor, watched
from .initialisers import he_normal
from .losses import l1_penalty, l2_penalty
from .module import Module, total


class Dense(Module):
    """``x @ weight + bias``.

    Weights start from He's normal distribution (for ReLU), biases from 0.

    Parameters
    ----------
    in_features, out_features
        Lengths of the last axis of the input and of the output.
    rng
        NumPy random generator for the initial weights; None takes a fresh one.
    weight_l1, weight_l2, bias_l1, bias_l2
        Strengths of the penalties that :meth:`penalty` adds up.
    dtype
        Of the parameters.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> layer = tg.nn.Dense(3, 2, rng=np.random.default_rng(0))
    >>> layer
    Dense(3 -> 2)
    >>> layer(np.ones((4, 3), np.float32)).shape
    (4, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rng: np.random.Generator | None = None,
        *,
        weight_l1: float = 0.0,
        weight_l2: float = 0.0,
        bias_l1: float = 0.0,
        bias_l2: float = 0.0,
        dtype: Any = np.float32,
    ) -> None:
        for name, value in (("in_features", in_features), ("out_features", out_features)):
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise ValueError(f"Dense: {name} must be a positive integer, got {value!r}")
        self.weight = Tensor(he_normal((in_features, out_features), rng, dtype), requires_grad=True)
        self.bias = Tensor(np.zeros(out_features, dtype), requires_grad=True)
        self.strengths = {"weight_l1": weight_l1, "weight_l2": weight_l2, "bias_l1": bias_l1, "bias_l2": bias_l2}
        for name, strength in self.strengths.items():
            if strength < 0:
                raise ValueError(f"Dense: {name} must not be negative, got {strength}")

    def forward(self, x: Any) -> Tensor:
        """``x @ weight + bias`` for ``x`` of shape (..., in_features)."""
        result: Tensor = self._accepted(x) @ self.weight + self.bias
        return result

    def _accepted(self, x: Any) -> Any:
        """The input in the parameters' dtype: arrays are converted, Tensors must have it."""
        dtype = self.weight.dtype
        if not hasattr(x, "__array_function__"):
            x = np.asarray(x, dtype=dtype)
        elif x.dtype != dtype and not isinstance(x, Tensor):
            x = x.astype(dtype)
        elif x.dtype != dtype:
            raise TypeError(f"{self!r}: the input is {x.dtype}, the parameters {dtype}; use x.astype(np.{dtype})")
        if x.ndim == 0 or x.shape[-1] != self.weight.shape[0]:
            raise ValueError(f"{self!r}: the input must have shape (..., {self.weight.shape[0]}), got {x.shape}")
        return x

    def penalty(self) -> Any:
        """The L1 and L2 penalties of weight and bias: a 0-d Tensor, or 0.0 where there are none."""
        strengths = watched(self, "strengths")
        return total(
            formula(tensor, strength)
            for name, tensor, formula in (
                ("weight_l1", self.weight, l1_penalty),
                ("weight_l2", self.weight, l2_penalty),
                ("bias_l1", self.bias, l1_penalty),
                ("bias_l2", self.bias, l2_penalty),
            )
            if (strength := strengths[name])
        )

    def __repr__(self) -> str:
        strengths = "".join(f", {name}={value:g}" for name, value in self.strengths.items() if value)
        return f"Dense({self.weight.shape[0]} -> {self.weight.shape[1]}{strengths})"


class ReLU(Module):
    """``max(x, 0)``, elementwise; the gradient at 0 is 0.

    >>> import tensorgrad as tg
    >>> tg.nn.ReLU()(tg.Tensor([-1.0, 2.0]))
    Tensor([0., 2.])
    """

    def forward(self, x: Any) -> Tensor:
        """``max(x, 0)``."""
        return relu(x)  # type: ignore[no-any-return]


class Softmax(Module):
    """``exp(x) / sum(exp(x))`` over the last axis.

    >>> import tensorgrad as tg
    >>> tg.nn.Softmax()(tg.Tensor([0.0, 0.0]))
    Tensor([0.5, 0.5])
    """

    def forward(self, x: Any) -> Tensor:
        """Probabilities over the last axis."""
        return softmax(x)  # type: ignore[no-any-return]


class Dropout(Module):
    """In training, zero each element with probability ``rate`` and scale the others by 1 / (1 - rate).

    Parameters
    ----------
    rate
        Probability of dropping, 0 <= rate < 1.
    rng
        NumPy random generator that draws the masks; None takes a fresh one.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> layer = tg.nn.Dropout(0.5, rng=np.random.default_rng(3))
    >>> layer(tg.Tensor(np.ones(6)))
    Tensor([0., 0., 2., 2., 0., 2.])
    >>> layer.eval()(tg.Tensor(np.ones(6)))
    Tensor([1., 1., 1., 1., 1., 1.])
    """

    def __init__(self, rate: float, rng: np.random.Generator | None = None) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"Dropout: rate must satisfy 0 <= rate < 1, got {rate}")
        self.rate = rate
        self.rng = np.random.default_rng() if rng is None else rng

    def forward(self, x: Any) -> Tensor:
        """``x`` with elements dropped in training mode; ``x`` itself in evaluation mode."""
        rate = watched(self, "rate")
        rng = watched(self, "rng")
        return dropout(x, rate, rng) if self.training and rate else x  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"Dropout({self.rate:g})"


class Sequential(Module):
    """Modules, or any functions of Tensors such as ``np.tanh``, applied one after the other.

    >>> import numpy as np, tensorgrad as tg
    >>> network = tg.nn.Sequential(tg.nn.Dense(4, 3), tg.nn.ReLU(), tg.nn.Dense(3, 2))
    >>> network
    Sequential(
      (0): Dense(4 -> 3)
      (1): ReLU()
      (2): Dense(3 -> 2)
    )
    >>> network(np.ones((5, 4), np.float32)).shape
    (5, 2)
    """

    def __init__(self, *layers: Callable[[Any], Tensor]) -> None:
        for i, layer in enumerate(layers):
            if not callable(layer):
                raise TypeError(
                    f"Sequential: layer {i} is a {type(layer).__name__}, not a module or function; "
                    "pass the layers one by one, as in Sequential(Dense(2, 3), ReLU())"
                )
        self.layers = layers

    def _members(self) -> Iterator[tuple[str, Any]]:
        return (
            (name[len("layers.") :] if name.startswith("layers.") else name, value)
            for name, value in super()._members()
        )

    def _parts(self) -> Iterator[tuple[str, str]]:
        return ((str(i), getattr(layer, "__name__", repr(layer))) for i, layer in enumerate(self.layers))

    def forward(self, x: Any) -> Tensor:
        """The last module applied to the result of the one before it, and so on."""
        for layer in self.layers:
            x = layer(x)
        return x  # type: ignore[no-any-return]
