"""Attention: means of values, weighted by how well keys fit a query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from ..core import AnyArray, Array, Tensor, describe
from .activations import softmax
from .conversion import as_operand, in_dtype
from .dropout import dropout as dropped


@overload
def scaled_dot_product_attention(
    query: Tensor,
    key: AnyArray,
    value: AnyArray,
    mask: AnyArray | None = None,
    *,
    causal: bool = False,
    dropout: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Tensor: ...
@overload
def scaled_dot_product_attention(
    query: Array,
    key: Array,
    value: Array,
    mask: AnyArray | None = None,
    *,
    causal: bool = False,
    dropout: float = 0.0,
    rng: np.random.Generator | None = None,
) -> Any: ...
def scaled_dot_product_attention(
    query: AnyArray,
    key: AnyArray,
    value: AnyArray,
    mask: AnyArray | None = None,
    *,
    causal: bool = False,
    dropout: float = 0.0,
    rng: np.random.Generator | None = None,
) -> AnyArray:
    """``softmax(query @ key.mT / sqrt(features)) @ value`` (Vaswani et al. 2017, equation 1).

    Parameters
    ----------
    query, key, value
        Tensors or arrays of shapes (..., targets, features), (..., sources, features) and (..., sources, values).
    mask
        Of a shape that broadcasts to (..., targets, sources): booleans, True where a target may attend to a source, or
        numbers that are added to the scores. A target that may attend to none gets zeros.
    causal
        Whether target i may attend to sources 0 to i only, in addition to ``mask``.
    dropout, rng
        Rate at which weights are dropped, and the NumPy generator that draws which.

    Raises
    ------
    TypeError
        If the mask holds neither booleans nor floats.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> x = np.array([[1.0, 0.0], [0.0, 4.0]])
    >>> tg.scaled_dot_product_attention(x, x, x, causal=True).round(3)
    array([[1., 0.],
           [0., 4.]])
    """
    weights = attention_weights(query, key, () if mask is None else (mask,), causal)
    if dropout:
        weights = dropped(weights, dropout, rng)  # type: ignore[arg-type]
    result: AnyArray = weights @ value
    return result


def attention_weights(query: AnyArray, key: AnyArray, masks: Sequence[AnyArray], causal: bool) -> Any:
    """How much each target attends to each source, (..., targets, sources), which all the masks allow."""
    query, key = as_operand(query), as_operand(key)
    scores = (query * query.shape[-1] ** -0.5) @ np.swapaxes(key, -1, -2)
    allowed: Any = np.tri(*scores.shape[-2:], dtype=bool) if causal else None
    for mask in masks:
        mask = as_operand(mask)
        if mask.dtype.kind == "f":
            scores, mask = scores + in_dtype(mask, scores.dtype), mask != -np.inf
        elif mask.dtype.kind != "b":
            raise TypeError(
                "scaled_dot_product_attention: the mask must hold booleans, True to attend, or floats to be added "
                f"to the scores, got {describe(mask)}"
            )
        allowed = mask if allowed is None else mask & allowed
    if allowed is None:
        return softmax(scores)
    weights = softmax(np.where(allowed, scores, np.finfo(scores.dtype).min))
    return np.where(allowed, weights, 0)
