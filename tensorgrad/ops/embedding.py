"""Embedding: a row of a table for each index."""

from __future__ import annotations

from typing import Any, overload

import numpy as np

from ..core import AnyArray, Array, Operand, Tensor, asarray_like, describe
from ..core.context import runtime_check


@overload
def embedding(indices: Operand, weight: Tensor) -> Tensor: ...
@overload
def embedding(indices: Operand, weight: Array) -> Any: ...
def embedding(indices: Operand, weight: AnyArray) -> AnyArray:
    """The rows of ``weight`` at ``indices``; an index that occurs several times adds up its gradients.

    Parameters
    ----------
    indices
        Integers from 0 to rows - 1, of any shape.
    weight
        Tensor or array of shape (rows, *features).

    Returns
    -------
    Tensor
        Of shape (*indices, *features).

    Raises
    ------
    TypeError
        If the indices are not integers.
    IndexError
        If one is out of range; there are no negative ones.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> weight = tg.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> tg.embedding([1, 0, 1], weight).sum().backward()
    >>> weight.grad
    array([[1., 1.],
           [2., 2.]])
    """
    weight = weight if hasattr(weight, "shape") else np.asarray(weight)
    if not hasattr(indices, "__array_function__"):
        indices = np.asarray(indices)
        indices = indices if indices.size else indices.astype(np.intp)
    values: Any = indices.numpy() if isinstance(indices, Tensor) else indices
    if values.dtype.kind not in "iu":
        raise TypeError(f"embedding: takes integer indices, got {describe(values)}")
    if weight.ndim == 0:
        raise ValueError("embedding: takes a weight of shape (rows, *features), got a 0-d one")
    rows = weight.shape[0]

    def check_range(values: AnyArray) -> None:
        if values.size and not (values.min() >= 0 and values.max() < rows):
            wrong = values[(values < 0) | (values >= rows)].reshape(-1)[0]
            raise IndexError(f"embedding: indices must lie in 0..{rows - 1} for {rows} rows, got {wrong}")

    runtime_check(check_range, values)
    if type(weight) is np.ndarray:  # which cannot be indexed with what a compiled function computes with
        weight = asarray_like(weight, values)
    return weight[values]
