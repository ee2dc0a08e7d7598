"""Losses and penalties, as tensor expressions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ops.neural import check_labels, softmax_cross_entropy
from ..tensor import Tensor

__all__ = ["categorical_cross_entropy", "l1_penalty", "l2_penalty", "softmax_cross_entropy"]

SMALLEST_PROBABILITY = 1e-7


def categorical_cross_entropy(probabilities: Any, labels: Any) -> Any:
    """Mean cross-entropy, in nats, between ``labels`` and predicted ``probabilities``.

    Probabilities below 1e-7 count as 1e-7, where the gradient is 0. From logits, ``softmax_cross_entropy`` is exact.

    Parameters
    ----------
    probabilities
        Tensor or array of shape (..., classes), rows that sum to 1.
    labels
        Integers of shape (...), or probabilities of the shape of ``probabilities``.

    Returns
    -------
    Tensor
        0-d.

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes do not fit, or a label is out of range.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> p = tg.Tensor([[0.5, 0.5], [0.2, 0.8]], requires_grad=True)
    >>> round(tg.nn.categorical_cross_entropy(p, np.array([0, 1])).item(), 4)
    0.4581
    """
    labels = check_labels("categorical_cross_entropy", probabilities, labels)
    rows = labels if labels.dtype.kind == "f" else labels[..., None] == np.arange(probabilities.shape[-1])
    return -(rows * np.log(np.clip(probabilities, SMALLEST_PROBABILITY, None))).sum(axis=-1).mean()


def l1_penalty(weight: Tensor, strength: float) -> Tensor:
    """``strength`` times the sum of absolute values.

    >>> import tensorgrad as tg
    >>> tg.nn.l1_penalty(tg.Tensor([3.0, -4.0]), 0.5).item()
    3.5
    """
    return strength * abs(weight).sum()


def l2_penalty(weight: Tensor, strength: float) -> Tensor:
    """``strength`` times the sum of squares.

    >>> import tensorgrad as tg
    >>> tg.nn.l2_penalty(tg.Tensor([3.0, -4.0]), 0.5).item()
    12.5
    """
    return strength * (weight**2).sum()
