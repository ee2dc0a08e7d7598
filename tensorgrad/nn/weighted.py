"""What layers with a weight and a bias share: sizes, the dtype of the input, penalties."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Tensor
from .losses import l1_penalty, l2_penalty
from .module import Module, total

PENALTIES = {
    "weight_l1": ("weight", l1_penalty),
    "weight_l2": ("weight", l2_penalty),
    "bias_l1": ("bias", l1_penalty),
    "bias_l2": ("bias", l2_penalty),
}
"""For each strength the parameter that it penalises, and how."""


class Weighted(Module):
    """A layer with parameters of one dtype and penalties on them, whose strengths are attributes."""

    weight: Tensor
    weight_l1 = weight_l2 = bias_l1 = bias_l2 = 0.0

    def _set_strengths(self, **strengths: float) -> None:
        for name, strength in strengths.items():
            if strength < 0:
                raise ValueError(f"{type(self).__name__}: {name} must not be negative, got {strength}")
            if strength and getattr(self, PENALTIES[name][0]) is None:
                raise ValueError(
                    f"{type(self).__name__}: bias_l1 and bias_l2 need a bias; leave them out, or bias=False"
                )
            setattr(self, name, strength)

    def penalty(self) -> Tensor | float:
        """The L1 and L2 penalties of weight and bias: a 0-d Tensor, or 0.0 where there are none."""
        return total(
            [
                penalty(getattr(self, parameter), strength)
                for name, (parameter, penalty) in PENALTIES.items()
                if (strength := getattr(self, name))
            ]
        )

    def _penalties(self) -> str:
        """The strengths that are not 0, for :func:`repr`."""
        return "".join(f", {name}={getattr(self, name):g}" for name in PENALTIES if getattr(self, name))


def in_dtype(layer: Module, x: Any, dtype: Any) -> Any:
    """The input of a layer in ``dtype``: arrays are converted, Tensors must have it."""
    if not hasattr(x, "__array_function__"):
        try:
            return np.asarray(x, dtype=dtype)
        except TypeError:
            raise TypeError(
                f"{layer!r}: the input must be an array or a Tensor, got {type(x).__name__}; a network of "
                "several inputs is a Module whose forward takes them apart"
            ) from None
    if x.dtype == dtype:
        return x
    if isinstance(x, Tensor):
        raise TypeError(
            f"{layer!r}: the input is {x.dtype}, the parameters {dtype}; use x.astype(np.{dtype}), here or for what x "
            "is computed from, such as arrays and parameters of your own"
        )
    if x.dtype.kind == "c" and np.dtype(dtype).kind != "c":
        raise TypeError(f"{layer!r}: the input is {x.dtype}, the parameters {dtype}; use x.real, or np.abs(x)")
    return x.astype(dtype)


def check_sizes(layer: str, **sizes: Any) -> None:
    """Raise unless all sizes are positive integers."""
    for name, value in sizes.items():
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(f"{layer}: {name} must be a positive integer, got {value!r}")
