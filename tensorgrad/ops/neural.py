"""Ops of neural networks: relu, softmax, cross-entropy, dropout."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .. import samples
from ..tensor import Tensor, beside, declare, describe, drawn, verified

# Activations

relu = declare(
    "relu",
    lambda x: np.maximum(x, 0),
    lambda g, out, x: g * (x > 0),
    sample=samples.unary(avoid=[0]),
    expects="a real array",
)


def _softmax(x: Any, *, axis: int = -1) -> Any:
    """exp(x) / sum exp(x), shifted by the maximum so that no exponential overflows."""
    powers = np.exp(x - x.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def _log_softmax(x: Any, *, axis: int = -1) -> Any:
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _softmax_sample(draw: samples.Draw) -> Any:
    x = samples.reals(draw, samples.shape(draw, min_ndim=1, min_length=1))
    return (x,), {"axis": draw.integer(-x.ndim, x.ndim - 1)}


softmax = declare(
    "softmax",
    _softmax,
    lambda g, out, x, axis: out * (g - (g * out).sum(axis=axis, keepdims=True)),
    sample=_softmax_sample,
    expects="an array and one of its axes, not empty",
)
log_softmax = declare(
    "log_softmax",
    _log_softmax,
    lambda g, out, x, axis: g - np.exp(out) * g.sum(axis=axis, keepdims=True),
    sample=_softmax_sample,
    expects="an array and one of its axes, not empty",
)

# Cross-entropy of a softmax, from logits: mean over the examples of -log softmax(logits)[label]


@lru_cache(maxsize=64)
def _classes(count: int) -> np.ndarray:
    """0, 1, ... count - 1."""
    classes = np.arange(count)
    classes.flags.writeable = False
    return classes


def _one_hot(labels: Any, logits: Any) -> Any:
    return labels[..., None] == beside(_classes(logits.shape[-1]), logits)


def _index_cross_entropy(logits: Any, labels: Any) -> Any:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    chosen = np.where(_one_hot(labels, logits), shifted, 0).sum(axis=-1)
    return (np.log(np.exp(shifted).sum(axis=-1)) - chosen).sum() / labels.size


def _index_sample(draw: samples.Draw) -> Any:
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


def _row_cross_entropy(logits: Any, labels: Any) -> Any:
    logarithms = np.where(labels == 0, 0, _log_softmax(logits))  # 0 times -infinity is 0 here
    return -(labels * logarithms).sum(axis=-1).mean()


def _row_logits_rule(g: Any, out: Any, logits: Any, labels: Any) -> Any:
    total = labels.sum(axis=-1, keepdims=True)
    return (softmax(logits) * total - labels) * (g * (logits.shape[-1] / logits.size))


def _row_sample(draw: samples.Draw) -> Any:
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


def softmax_cross_entropy(logits: Any, labels: Any) -> Any:
    """Mean cross-entropy, in nats, between ``labels`` and the softmax of ``logits`` over their last axis.

    Computed from shifted logits (log-sum-exp), so it is exact for logits of any size.

    Parameters
    ----------
    logits
        Tensor or array of shape (..., classes).
    labels
        Integers from 0 to classes - 1 of shape (...), or probabilities of the shape of the logits.

    Returns
    -------
    Tensor
        0-d, of the dtype of the logits.

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
    """
    labels = check_labels("softmax_cross_entropy", logits, labels)
    if labels.dtype.kind == "f":
        return _cross_entropy_of_rows(logits, labels)
    return _cross_entropy_of_indices(logits, labels)


def check_labels(name: str, predictions: Any, labels: Any) -> Any:
    """``labels`` as integers or probability rows that fit ``predictions`` of shape (..., classes), or an error."""
    if not isinstance(labels, Tensor):  # a copy: the history keeps it
        labels = labels.copy() if hasattr(labels, "__array_function__") else np.array(labels)
    shape = np.shape(predictions)
    if len(shape) == 0 or 0 in shape:
        raise ValueError(f"{name}: takes predictions of shape (examples, classes), at least one of each, got {shape}")
    values = labels.numpy() if isinstance(labels, Tensor) else labels
    if values.dtype.kind in "iu" and values.shape == shape[:-1]:
        unsigned = np.dtype(f"u{values.dtype.itemsize}")

        def check_range(values: Any) -> None:
            if values.view(unsigned).max() >= shape[-1]:  # as unsigned, negative ones are huge
                wrong = values[(values < 0) | (values >= shape[-1])].flat[0]
                raise ValueError(f"{name}: labels must lie in 0..{shape[-1] - 1} for {shape[-1]} classes, got {wrong}")

        verified(check_range, values)
        return labels
    if values.dtype.kind == "f" and values.shape == shape:

        def check_rows(values: Any) -> None:
            if not (values.min() >= -1e-3 and np.abs(values.sum(axis=-1) - 1).max() <= 1e-2):
                raise ValueError(f"{name}: rows of probabilities must be finite, not negative and sum to 1")

        verified(check_rows, values)
        return labels
    raise (ValueError if values.dtype.kind in "iuf" else TypeError)(
        f"{name}: takes integer labels of shape {shape[:-1]} or probabilities of shape {shape}, got {describe(values)}"
    )


# Dropout

_OF_64_BITS = (np.random.PCG64, np.random.PCG64DXSM, np.random.SFC64, np.random.Philox)
"""Generators whose raw numbers are random in all of their 64 bits: the same as those of ``integers``, and quicker."""


def _keep_mask(x: Any, *, rate: float = 0.5, rng: Any = None) -> Any:
    """1/(1 - rate) where an element is kept, 0 where it is dropped.

    Each element takes 16 random bits, seven times cheaper than a float; the probability is thus a multiple
    of 2^-16, and the scale is exactly its inverse, so that the mean stays exactly 1.
    """
    kept = max(1, round((1 - rate) * 65536))

    def words(rng: np.random.Generator) -> Any:
        count = -(-x.size // 4)
        if isinstance(rng.bit_generator, _OF_64_BITS):
            raw = rng.bit_generator.random_raw(count)
        else:
            raw = rng.integers(0, 2**64 - 1, size=count, dtype=np.uint64, endpoint=True)
        return raw.view(np.uint16)[: x.size].reshape(x.shape)

    return (beside(drawn(rng, words), x) < kept) * x.dtype.type(65536 / kept)


keep_mask = declare(
    "keep_mask",
    _keep_mask,
    None,
    sample=lambda draw: (
        (samples.reals(draw, samples.shape(draw)),),
        {"rate": samples.choice(draw, [0.5, 0.1, 0.0]), "rng": np.random.default_rng(draw.integer(0, 99))},
    ),
    expects="a floating array",
)


def dropout(x: Any, rate: float, rng: np.random.Generator) -> Any:
    """Zero each element with probability ``rate`` and scale the others by 1 / (1 - rate) (inverted dropout).

    Parameters
    ----------
    x
        Floating Tensor or array of any shape.
    rate
        Probability of dropping, 0 <= rate < 1, to a resolution of 2^-16.
    rng
        NumPy random generator that draws the mask.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.dropout(np.ones(6), 0.5, np.random.default_rng(3))
    array([0., 0., 2., 2., 0., 2.])
    """
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: rate must satisfy 0 <= rate < 1, got {rate}")
    if np.dtype(x.dtype).kind != "f":
        raise TypeError(f"dropout: takes floats, got {x.dtype}; use x.astype(np.float32)")
    return x * keep_mask(x, rate=rate, rng=rng)
