"""What layers with a weight and a bias share: sizes, the dtype of the input, penalties."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..recording import watched
from ..tensor import Tensor
from .losses import l1_penalty, l2_penalty
from .module import Module, total

PENALTIES = {"l1": l1_penalty, "l2": l2_penalty}


class Weighted(Module):
    """A layer with parameters of one dtype and penalties on them; ``strengths`` are by name, such as ``weight_l2``."""

    weight: Tensor

    def _set_strengths(self, **strengths: float) -> None:
        self.strengths = strengths
        for name, strength in strengths.items():
            if strength < 0:
                raise ValueError(f"{type(self).__name__}: {name} must not be negative, got {strength}")

    def penalty(self) -> Any:
        """The L1 and L2 penalties of weight and bias: a 0-d Tensor, or 0.0 where there are none."""
        return total(
            PENALTIES[name.rpartition("_")[2]](getattr(self, name.rpartition("_")[0]), strength)
            for name, strength in watched(self, "strengths").items()
            if strength
        )

    def _penalties(self) -> str:
        """The strengths that are not 0, for :func:`repr`."""
        return "".join(f", {name}={value:g}" for name, value in self.strengths.items() if value)

    def _in_dtype(self, x: Any) -> Any:
        """The input in the parameters' dtype: arrays are converted, Tensors must have it."""
        return in_dtype(self, x, self.weight.dtype)


def in_dtype(layer: Module, x: Any, dtype: Any) -> Any:
    """The input of a layer in ``dtype``: arrays are converted, Tensors must have it."""
    if not hasattr(x, "__array_function__"):
        return np.asarray(x, dtype=dtype)
    if x.dtype == dtype:
        return x
    if isinstance(x, Tensor):
        raise TypeError(f"{layer!r}: the input is {x.dtype}, the parameters {dtype}; use x.astype(np.{dtype})")
    return x.astype(dtype)


def check_sizes(layer: str, **sizes: Any) -> None:
    """Raise unless all sizes are positive integers."""
    for name, value in sizes.items():
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{layer}: {name} must be a positive integer, got {value!r}")
