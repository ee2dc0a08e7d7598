"""Losses and penalties, as tensor expressions."""

from __future__ import annotations

from typing import Any, overload

import numpy as np

from ..core import AnyArray, Array, Constant, Operand, Tensor, asarray_like
from ..core.context import runtime_check
from ..ops.activations import relu, softplus
from ..ops.conversion import as_operand
from ..ops.losses import check_labels, reduced, softmax_cross_entropy
from ..ops.norms import squared_norm

__all__ = [
    "binary_cross_entropy_with_logits",
    "categorical_cross_entropy",
    "hinge",
    "huber",
    "kl_divergence",
    "l1_penalty",
    "l2_penalty",
    "mae",
    "mse",
    "softmax_cross_entropy",
]

SMALLEST_PROBABILITY = 1e-7


@overload
def categorical_cross_entropy(probabilities: Tensor, labels: Operand, reduction: str = "mean") -> Tensor: ...
@overload
def categorical_cross_entropy(probabilities: Array, labels: Tensor, reduction: str = "mean") -> Tensor: ...
@overload
def categorical_cross_entropy(probabilities: Array, labels: Constant, reduction: str = "mean") -> Any: ...
def categorical_cross_entropy(probabilities: AnyArray, labels: Operand, reduction: str = "mean") -> AnyArray:
    """Cross-entropy, in nats, between ``labels`` and predicted ``probabilities``.

    Probabilities below 1e-7 count as 1e-7, where the gradient is 0. From logits, ``softmax_cross_entropy`` is exact.

    Parameters
    ----------
    probabilities
        Tensor or array of shape (..., classes), rows that sum to 1.
    labels
        Integers of shape (...), or probabilities of the shape of ``probabilities``.
    reduction
        ``"mean"``, ``"sum"``, or ``"none"`` for the losses themselves, of shape (...).

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
    checked = check_labels("categorical_cross_entropy", probabilities, labels)
    rows = checked if checked.dtype.kind == "f" else checked[..., None] == np.arange(probabilities.shape[-1])
    logarithms: AnyArray = np.log(np.clip(probabilities, SMALLEST_PROBABILITY, None))
    return reduced("categorical_cross_entropy", -(rows * logarithms).sum(axis=-1), reduction)


@overload
def kl_divergence(logits: Tensor, probabilities: Operand, reduction: str = "mean") -> Tensor: ...
@overload
def kl_divergence(logits: Array, probabilities: Tensor, reduction: str = "mean") -> Tensor: ...
@overload
def kl_divergence(logits: Array, probabilities: Constant, reduction: str = "mean") -> Any: ...
def kl_divergence(logits: AnyArray, probabilities: Operand, reduction: str = "mean") -> AnyArray:
    """Kullback-Leibler divergence, in nats, of the softmax of ``logits`` from ``probabilities``.

    ``sum(p * log(p / softmax(logits)))`` over the last axis, where 0 log 0 = 0; that is the cross-entropy minus the
    entropy of ``probabilities`` (Kullback & Leibler 1951).

    Parameters
    ----------
    logits
        Tensor or array of shape (..., classes).
    probabilities
        Of the same shape, rows that sum to 1; as a Tensor, differentiated too.
    reduction
        ``"mean"``, ``"sum"``, or ``"none"`` for the divergences themselves, of shape (...).

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> p = np.array([[0.25, 0.75]])
    >>> round(tg.nn.kl_divergence(tg.Tensor([[0.0, 0.0]]), p).item(), 4)
    0.1308
    """
    p = check_labels("kl_divergence", logits, probabilities)
    if p.dtype.kind != "f":
        raise TypeError(f"kl_divergence: takes probabilities of shape {np.shape(logits)}, got {p.dtype} labels")
    entropy = reduced("kl_divergence", -(p * np.log(np.where(p == 0, 1, p))).sum(axis=-1), reduction)
    return softmax_cross_entropy(logits, p, reduction=reduction) - entropy


@overload
def mse(predictions: Tensor, targets: Operand, reduction: str = "mean") -> Tensor: ...
@overload
def mse(predictions: Array, targets: Tensor, reduction: str = "mean") -> Tensor: ...
@overload
def mse(predictions: Array, targets: Constant, reduction: str = "mean") -> Any: ...
def mse(predictions: AnyArray, targets: Operand, reduction: str = "mean") -> AnyArray:
    """Squared error, ``(predictions - targets)^2``.

    Parameters
    ----------
    predictions
        Tensor or array of any shape.
    targets
        Of the same shape; arrays are converted to the dtype of the predictions.
    reduction
        ``"mean"`` over all elements, ``"sum"``, or ``"none"`` for the losses themselves.

    Raises
    ------
    ValueError
        If the shapes differ: broadcasting would compare everything with everything.

    Examples
    --------
    >>> import tensorgrad as tg
    >>> tg.nn.mse(tg.Tensor([1.0, 2.0]), [1.0, 4.0]).item()
    2.0
    """
    return reduced("mse", np.square(_difference("mse", predictions, targets)), reduction)


@overload
def mae(predictions: Tensor, targets: Operand, reduction: str = "mean") -> Tensor: ...
@overload
def mae(predictions: Array, targets: Tensor, reduction: str = "mean") -> Tensor: ...
@overload
def mae(predictions: Array, targets: Constant, reduction: str = "mean") -> Any: ...
def mae(predictions: AnyArray, targets: Operand, reduction: str = "mean") -> AnyArray:
    """Absolute error, ``abs(predictions - targets)``; the gradient at 0 is 0. Parameters as for :func:`mse`.

    >>> import tensorgrad as tg
    >>> tg.nn.mae(tg.Tensor([1.0, 2.0]), [1.0, 4.0]).item()
    1.0
    """
    return reduced("mae", np.absolute(_difference("mae", predictions, targets)), reduction)


@overload
def huber(predictions: Tensor, targets: Operand, delta: float = 1.0, reduction: str = "mean") -> Tensor: ...
@overload
def huber(predictions: Array, targets: Tensor, delta: float = 1.0, reduction: str = "mean") -> Tensor: ...
@overload
def huber(predictions: Array, targets: Constant, delta: float = 1.0, reduction: str = "mean") -> Any: ...
def huber(predictions: AnyArray, targets: Operand, delta: float = 1.0, reduction: str = "mean") -> AnyArray:
    """Half the squared error up to ``delta``, from there on linear (Huber 1964): outliers count less.

    ``d^2 / 2`` where ``abs(d) <= delta``, else ``delta * (abs(d) - delta / 2)``. Other parameters as for :func:`mse`.

    >>> import tensorgrad as tg
    >>> tg.nn.huber(tg.Tensor([1.0, 2.0]), [1.5, 6.0], reduction="none")
    Tensor([0.125, 3.5  ])
    """
    delta = float(delta)
    if not delta > 0:
        raise ValueError(f"huber: delta must be positive, got {delta}")
    difference = _difference("huber", predictions, targets)
    clipped = np.clip(difference, -delta, delta)
    return reduced("huber", clipped * (difference - 0.5 * clipped), reduction)


@overload
def hinge(scores: Tensor, labels: Operand, reduction: str = "mean") -> Tensor: ...
@overload
def hinge(scores: Array, labels: Tensor, reduction: str = "mean") -> Tensor: ...
@overload
def hinge(scores: Array, labels: Constant, reduction: str = "mean") -> Any: ...
def hinge(scores: AnyArray, labels: Operand, reduction: str = "mean") -> AnyArray:
    """``max(0, 1 - labels * scores)``, the loss of support vector machines (Cortes & Vapnik 1995).

    The gradient at the kink is 0.

    Parameters
    ----------
    scores
        Tensor or array of any shape.
    labels
        -1 or 1, of the same shape.
    reduction
        ``"mean"`` over all elements, ``"sum"``, or ``"none"`` for the losses themselves.

    Examples
    --------
    >>> import tensorgrad as tg
    >>> tg.nn.hinge(tg.Tensor([0.5, 0.5]), [1, -1], reduction="none")
    Tensor([0.5, 1.5])
    """
    scores, signs = _pair("hinge", scores, labels)
    runtime_check(_check_signs, signs.numpy() if isinstance(signs, Tensor) else signs)
    return reduced("hinge", relu(1 - signs * scores), reduction)


@overload
def binary_cross_entropy_with_logits(
    logits: Tensor, labels: Operand, reduction: str = "mean", *, pos_weight: Any = None, label_smoothing: float = 0.0
) -> Tensor: ...
@overload
def binary_cross_entropy_with_logits(
    logits: Array, labels: Tensor, reduction: str = "mean", *, pos_weight: Any = None, label_smoothing: float = 0.0
) -> Tensor: ...
@overload
def binary_cross_entropy_with_logits(
    logits: Array, labels: Constant, reduction: str = "mean", *, pos_weight: Any = None, label_smoothing: float = 0.0
) -> Any: ...
def binary_cross_entropy_with_logits(
    logits: AnyArray, labels: Operand, reduction: str = "mean", *, pos_weight: Any = None, label_smoothing: float = 0.0
) -> AnyArray:
    """Cross-entropy, in nats, between ``labels`` and ``sigmoid(logits)``, element by element.

    ``labels * softplus(-logits) + (1 - labels) * softplus(logits)``, exact for logits of any size.

    Parameters
    ----------
    logits
        Tensor or array of any shape.
    labels
        0 and 1, or probabilities in between, of the same shape.
    reduction
        ``"mean"`` over all elements, ``"sum"``, or ``"none"`` for the losses themselves.
    pos_weight
        A factor for the losses of the label 1, or one for each entry of the last axis.
    label_smoothing
        Share of each label that is replaced by 1/2, 0 <= label_smoothing <= 1.

    Examples
    --------
    >>> import tensorgrad as tg
    >>> tg.nn.binary_cross_entropy_with_logits(tg.Tensor([0.0, 100.0]), [1, 0]).item().__round__(4)
    50.3466
    """
    logits, p = _pair("binary_cross_entropy_with_logits", logits, labels)
    runtime_check(_check_probabilities, p.numpy() if isinstance(p, Tensor) else p)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"binary_cross_entropy_with_logits: label_smoothing must lie in 0..1, got {label_smoothing}")
    if label_smoothing:
        p = p * (1 - label_smoothing) + label_smoothing / 2
    positive = p * softplus(-logits)
    if pos_weight is not None:
        positive = positive * np.asarray(pos_weight, logits.dtype)
    losses = positive + (1 - p) * softplus(logits)
    return reduced("binary_cross_entropy_with_logits", losses, reduction)


def _pair(name: str, predictions: AnyArray, targets: Operand) -> tuple[AnyArray, AnyArray]:
    """Both as floats of one shape; targets other than floating Tensors in the dtype of the predictions."""
    predictions = as_operand(predictions)
    if predictions.dtype.kind != "f":
        predictions = predictions.astype(np.float64)
    goals: Any = targets if hasattr(targets, "dtype") else asarray_like(np.asarray(targets), predictions)
    if goals.shape != predictions.shape:
        raise ValueError(
            f"{name}: targets must have the shape {predictions.shape} of the predictions, got {goals.shape}"
        )
    if goals.dtype != predictions.dtype and not (isinstance(goals, Tensor) and goals.dtype.kind == "f"):
        goals = goals.astype(predictions.dtype)
    return predictions, goals


def _difference(name: str, predictions: AnyArray, targets: Operand) -> AnyArray:
    minuend, subtrahend = _pair(name, predictions, targets)
    return minuend - subtrahend


def _check_signs(labels: Array) -> None:
    if not (abs(labels) == 1).all():
        wrong = labels[abs(labels) != 1].reshape(-1)[0]
        raise ValueError(f"hinge: labels must be -1 or 1, got {wrong}")


def _check_probabilities(labels: Array) -> None:
    if not ((labels >= 0) & (labels <= 1)).all():
        wrong = labels[~((labels >= 0) & (labels <= 1))].reshape(-1)[0]
        raise ValueError(f"binary_cross_entropy_with_logits: labels must lie in 0..1, got {wrong}")


def l1_penalty(weight: Tensor, strength: float) -> Tensor:
    """``strength`` times the sum of absolute values.

    >>> import tensorgrad as tg
    >>> tg.nn.l1_penalty(tg.Tensor([3.0, -4.0]), 0.5).item()
    3.5
    """
    return float(strength) * abs(weight).sum()


def l2_penalty(weight: Tensor, strength: float) -> Tensor:
    """``strength`` times the sum of squares.

    >>> import tensorgrad as tg
    >>> tg.nn.l2_penalty(tg.Tensor([3.0, -4.0]), 0.5).item()
    12.5
    """
    penalty: Tensor = squared_norm(weight, float(strength))
    return penalty
