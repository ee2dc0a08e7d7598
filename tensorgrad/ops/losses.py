"""Cross-entropy of a softmax, from logits: the mean over the examples of -log softmax(logits)[label]."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, overload

import numpy as np

from .. import samples
from ..core import AnyArray, Array, Constant, DType, Operand, Tensor, asarray_like, declare, describe
from ..core.context import runtime_check
from .activations import log_softmax, softmax
from .conversion import as_operand, in_dtype, in_single, without_history
from .reductions import largest

_UNSIGNED = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}
MANY = 256
"""Classes from which a table of all one-hot rows would be too large."""


@lru_cache(maxsize=16)
def _identity(count: int, dtype: DType) -> np.ndarray:
    rows = np.eye(count, dtype=dtype)
    rows.flags.writeable = False
    return rows


@lru_cache(maxsize=16)
def _every(step: int, stop: int) -> np.ndarray:
    """0, step, 2 step, ... below stop."""
    numbers = np.arange(0, stop, step)
    numbers.flags.writeable = False
    return numbers


def _one_hot(labels: AnyArray, logits: AnyArray) -> AnyArray:
    """For each label a row of zeros and a one; looked up, which takes a fifth of the time of comparing and casting."""
    count = logits.shape[-1]
    if count < MANY:
        return asarray_like(_identity(count, logits.dtype), logits).take(labels, axis=0)
    return labels[..., None] == asarray_like(_every(1, count), logits)


@in_single
def _index_cross_entropy(logits: AnyArray, labels: AnyArray) -> Any:
    shifted = logits - largest(logits, -1)
    positions = in_dtype(labels.ravel(), np.intp) + asarray_like(_every(logits.shape[-1], logits.size), logits)
    chosen = shifted.ravel().take(positions)
    return (np.log(np.exp(shifted).sum(axis=-1)).sum() - chosen.sum()) / labels.size


def _index_sample(draw: samples.Draw) -> samples.Operands:
    examples, classes = draw.integer(1, 3), draw.integer(1, 4)
    labels = np.array([draw.integer(0, classes - 1) for _ in range(examples)])
    return (samples.reals(draw, (examples, classes)), labels), {}


_cross_entropy_of_indices = declare(
    "softmax_cross_entropy",
    _index_cross_entropy,
    lambda g, out, logits, labels: (softmax(logits) - _one_hot(labels, logits)) * (g / labels.size),
    None,
    sample=_index_sample,
    expects="logits (..., classes) and integer labels (...)",
)


@in_single
def _row_cross_entropy(logits: AnyArray, labels: AnyArray) -> AnyArray:
    logarithms = np.where(labels == 0, 0, log_softmax(logits))  # 0 times -infinity is 0 here
    return -(labels * logarithms).sum(axis=-1).mean()


@in_single
def _row_logits_rule(g: AnyArray, out: AnyArray, logits: AnyArray, labels: AnyArray) -> AnyArray:
    total = labels.sum(axis=-1, keepdims=True)
    return (softmax(logits) * total - labels) * (g * (logits.shape[-1] / logits.size))


def _row_sample(draw: samples.Draw) -> samples.Operands:
    (logits, _), _ = _index_sample(draw)
    weights = samples.reals(draw, logits.shape, 0.1, 1.0)
    return (logits, weights / weights.sum(axis=-1, keepdims=True)), {}


_cross_entropy_of_rows = declare(
    "softmax_cross_entropy_of_rows",
    _row_cross_entropy,
    _row_logits_rule,
    lambda g, out, logits, labels: log_softmax(logits) * (-g * (logits.shape[-1] / logits.size)),
    sample=_row_sample,
    expects="logits (..., classes) and probabilities of the same shape",
)


@overload
def softmax_cross_entropy(
    logits: Tensor,
    labels: Operand,
    label_smoothing: float = 0.0,
    *,
    weight: Any = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor: ...
@overload
def softmax_cross_entropy(
    logits: Array,
    labels: Tensor,
    label_smoothing: float = 0.0,
    *,
    weight: Any = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor: ...
@overload
def softmax_cross_entropy(
    logits: Array,
    labels: Constant,
    label_smoothing: float = 0.0,
    *,
    weight: Any = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Any: ...
def softmax_cross_entropy(
    logits: AnyArray,
    labels: Operand,
    label_smoothing: float = 0.0,
    *,
    weight: object = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> AnyArray:
    """Cross-entropy, in nats, between ``labels`` and the softmax of ``logits`` over their last axis.

    Computed from shifted logits (log-sum-exp), so it is exact for logits of any size.

    Parameters
    ----------
    logits
        Tensor or array of shape (..., classes).
    labels
        Integers from 0 to classes - 1 of shape (...), or probabilities of the shape of the logits.
    label_smoothing
        Share of each label that is spread evenly over all classes, 0 <= label_smoothing <= 1 (Szegedy et al. 2016,
        section 7).
    weight
        A factor for each class, by which its losses count more or less; the mean is over the factors of the labels (of
        probabilities over the examples).
    ignore_index
        Integer labels of this value have the loss 0 and do not count for the mean, which is 0 where all are ignored.
    reduction
        ``"mean"``, ``"sum"``, or ``"none"`` for the losses themselves, of shape (...).

    Returns
    -------
    Tensor
        0-d unless ``reduction="none"``, of the dtype of the logits.

    Raises
    ------
    ValueError, TypeError
        If shapes or dtypes do not fit, or a label is out of range.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> logits = tg.Tensor([[2.0, 0.0], [0.0, 3.0]], requires_grad=True)
    >>> loss = tg.softmax_cross_entropy(logits, np.array([0, 1]))
    >>> round(loss.item(), 4)
    0.0878
    >>> tg.softmax_cross_entropy(logits, np.array([0, -1]), ignore_index=-1, reduction="none").numpy().round(4)
    array([0.1269, 0.    ])
    """
    label_smoothing = float(label_smoothing)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"softmax_cross_entropy: label_smoothing must lie in 0..1, got {label_smoothing}")
    if weight is not None or ignore_index is not None or reduction != "mean":
        return _reduced_cross_entropy(logits, labels, label_smoothing, weight, ignore_index, reduction)
    checked = check_labels("softmax_cross_entropy", logits, labels)
    if type(logits) is np.ndarray:  # which a compiled function cannot index with its labels
        logits = asarray_like(logits, checked)
    if label_smoothing:
        checked = _smooth_rows(checked, as_operand(logits), label_smoothing)
    if checked.dtype.kind == "f":
        return _cross_entropy_of_rows(logits, checked)
    return _cross_entropy_of_indices(logits, checked)


def _smooth_rows(labels: Any, logits: Any, smoothing: float) -> Any:
    """Labels as rows of probabilities, a share of which is spread over all classes."""
    rows = labels if labels.dtype.kind == "f" else in_dtype(_one_hot(without_history(labels), logits), logits.dtype)
    return rows * (1 - smoothing) + smoothing / logits.shape[-1] if smoothing else rows


def _reduced_cross_entropy(
    logits: object, labels: object, smoothing: float, weight: object, ignore_index: int | None, reduction: str
) -> AnyArray:
    """Cross-entropy with a weight for each class, with labels to ignore, or not as a mean."""
    logits, kept = as_operand(logits), None
    if ignore_index is not None:
        labels = as_operand(labels)
        if labels.dtype.kind not in "iu":
            raise TypeError(
                f"softmax_cross_entropy: ignore_index is for integer labels, got {describe(labels)}; leave it out"
            )
        kept = without_history(labels) != ignore_index
        labels = np.where(kept, without_history(labels), 0)
    labels = check_labels("softmax_cross_entropy", logits, labels)
    rows = _smooth_rows(labels, logits, smoothing)
    logarithms = np.where(without_history(rows) == 0, 0, log_softmax(logits))  # 0 times -infinity is 0 here
    counts = None  # how much each label counts in the mean
    if weight is not None:
        factors = in_dtype(_class_weight(weight, logits.shape[-1]), logits.dtype)
        rows = rows * factors
        if labels.dtype.kind != "f":
            counts = asarray_like(factors, logits).take(without_history(labels), axis=0)
    if kept is not None:
        counts = in_dtype(kept, logits.dtype) if counts is None else counts * kept
    losses = -(rows * logarithms).sum(axis=-1)
    losses = losses if kept is None else losses * kept
    if counts is None or reduction != "mean":
        return reduced("softmax_cross_entropy", losses, reduction)
    total: AnyArray = (losses * (1 / np.maximum(counts.sum(), np.finfo(np.float32).tiny))).sum()
    return total


def _class_weight(weight: object, classes: int) -> np.ndarray:
    try:
        weights: np.ndarray = np.array(weight, np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            f"softmax_cross_entropy: weight must be {classes} numbers, one for each class in their order, got "
            f"{weight!r}; of a dict take [weight[label] for label in range({classes})]"
        ) from None
    if weights.shape != (classes,) or not (weights >= 0).all() or not np.isfinite(weights).all():
        raise ValueError(
            f"softmax_cross_entropy: weight must be {classes} numbers, one for each class, not negative, got "
            f"{describe(weights) if weights.shape != (classes,) else weights.tolist()}"
        )
    return weights


def reduced(name: str, losses: AnyArray, reduction: str) -> AnyArray:
    """The mean or the sum of losses, or themselves."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{name}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    if reduction == "mean" and losses.size == 0:
        raise ValueError(f"{name}: there is no mean of losses of shape {losses.shape}")
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()


def check_labels(name: str, predictions: AnyArray, labels: Any) -> AnyArray:
    """``labels`` as integers or probability rows that fit ``predictions`` of shape (..., classes), or an error."""
    if not isinstance(labels, Tensor):  # a copy: the history keeps it
        labels = labels.copy() if hasattr(labels, "__array_function__") else np.array(labels)
        if not labels.dtype.isnative:
            labels = in_dtype(labels, labels.dtype.newbyteorder("="))
        if type(labels) is np.ndarray:
            labels.flags.writeable = False  # so that the history need not copy it again
        if labels.dtype.kind == "f" == (dtype := np.result_type(predictions)).kind:
            labels = in_dtype(labels, dtype)
    shape = predictions.shape if hasattr(predictions, "shape") else np.shape(predictions)
    if len(shape) == 0 or 0 in shape:
        raise ValueError(f"{name}: takes predictions of shape (examples, classes), at least one of each, got {shape}")
    checked: AnyArray = labels
    values = checked.numpy() if isinstance(checked, Tensor) else checked
    if values.dtype.kind in "iu" and values.shape == shape[:-1]:

        def check_range(values: Array) -> None:
            unsigned = values.view(_UNSIGNED[values.itemsize])  # in which negative ones are huge
            if np.maximum.reduce(unsigned, axis=None) >= shape[-1]:
                wrong = values[(values < 0) | (values >= shape[-1])].flat[0]
                raise ValueError(f"{name}: labels must lie in 0..{shape[-1] - 1} for {shape[-1]} classes, got {wrong}")

        runtime_check(check_range, values)
        return checked
    if values.dtype.kind == "f" and values.shape == shape:

        def check_rows(values: AnyArray) -> None:
            if not (values.min() >= -1e-3 and np.abs(values.sum(axis=-1) - 1).max() <= 1e-2):
                raise ValueError(f"{name}: rows of probabilities must be finite, not negative and sum to 1")

        runtime_check(check_rows, values)
        return checked
    raise (ValueError if values.dtype.kind in "iuf" else TypeError)(
        f"{name}: takes integer labels of shape {shape[:-1]} or probabilities of shape {shape}, got {describe(values)}"
        f"{_remedy(values, shape)}"
    )


def _remedy(labels: AnyArray, shape: tuple[int, ...]) -> str:
    """How labels that are not taken become such that are, where that is plain."""
    if labels.dtype.kind in "OUST":
        return "; number the classes, classes, labels = np.unique(labels, return_inverse=True)"
    if labels.dtype.kind == "f" and labels.shape == shape[:-1]:
        return "; use labels.astype(int)"
    return "; use labels[..., 0]" if labels.dtype.kind in "iu" and labels.shape == (*shape[:-1], 1) else ""
