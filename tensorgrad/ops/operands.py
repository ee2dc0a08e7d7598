"""What is given to NumPy's functions, in the forms in which ops and rules can use it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Tensor


def as_operand(x: Any) -> Any:
    """Tensors and arrays as they are; Python numbers and lists as the arrays that NumPy makes of them."""
    return x if hasattr(x, "dtype") else np.asarray(x)


def as_tensor(x: Any) -> Tensor:
    """``x`` itself, or a constant made of it: where several results are returned, all are Tensors."""
    return x if isinstance(x, Tensor) else Tensor(x)


def without_history(x: Any) -> Any:
    """The array of a Tensor; anything else as it is."""
    return x.numpy() if isinstance(x, Tensor) else x


def plain(x: Any) -> Any:
    """A setting in Python numbers of its own, where it is a Tensor, an array or a list: the history keeps it."""
    return np.asarray(x).tolist() if isinstance(x, (Tensor, np.ndarray, np.generic, list)) else x


def hollow(x: Any) -> Any:
    """An array with the shape and dtype of a Tensor, but zeros; anything else as it is."""
    return np.broadcast_to(np.zeros((), x.dtype), x.shape) if isinstance(x, Tensor) else x


def in_dtype(values: Any, dtype: Any) -> Any:
    """``values`` in ``dtype``, themselves where they have it."""
    return values if values.dtype == dtype else values.astype(dtype)
