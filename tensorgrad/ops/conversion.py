"""What is given to NumPy's functions, in the forms in which ops and rules can use it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import wraps
from typing import Any, Callable, TypeVar, cast

import numpy as np

from ..core import AnyArray, Array, DType, Tensor

F = TypeVar("F", bound=Callable[..., Any])


def as_operand(x: Any) -> AnyArray:
    """Tensors and arrays as they are; Python numbers and lists as the arrays that NumPy makes of them."""
    return x if hasattr(x, "dtype") else np.asarray(x)


def as_tensor(x: Any) -> Tensor:
    """``x`` itself, or a constant made of it: where several results are returned, all are Tensors."""
    return x if isinstance(x, Tensor) else Tensor(x)


def without_history(x: AnyArray) -> Array:
    """The array of a Tensor; anything else as it is."""
    return x.numpy() if isinstance(x, Tensor) else x


def plain(x: object) -> Any:
    """A setting in Python numbers of its own, where it is a Tensor, an array or a list: the history keeps it."""
    return np.asarray(x).tolist() if isinstance(x, (Tensor, np.ndarray, np.generic, list)) else x


def hollow(x: AnyArray) -> AnyArray:
    """An array with the shape and dtype of a Tensor, but zeros; anything else as it is."""
    return np.broadcast_to(np.zeros((), x.dtype), x.shape) if isinstance(x, Tensor) else x


def in_dtype(values: AnyArray, dtype: DType) -> AnyArray:
    """``values`` in ``dtype``, themselves where they have it."""
    return values if values.dtype == dtype else values.astype(dtype)


def typed(value: AnyArray | complex, out: AnyArray) -> AnyArray:
    """An operand in the dtype of the result: small integers would overflow, and Python numbers spread as float64."""
    if isinstance(value, (int, float, complex)):
        return np.full_like(out, value, shape=())
    return in_dtype(value, out.dtype)


def in_single(function: F) -> F:
    """Decorate a forward function or a rule: half precision is computed in single, and the result is half again.

    A sum of half precision overflows at 65,504, and stays at 2,048 when ones are added to it.
    """

    @wraps(function)
    def widened(*arrays: AnyArray, **settings: object) -> Any:
        if settings.get("dtype") is not None or not any(map(_is_half, arrays)):
            return function(*arrays, **settings)
        wide = (array.astype(np.float32) if _is_half(array) else array for array in arrays)
        return in_dtype(function(*wide, **settings), np.dtype(np.float16))

    return cast(F, widened)


def _is_half(x: object) -> bool:
    return getattr(getattr(x, "dtype", None), "char", "") == "e"


def as_gradient(part: AnyArray, x: AnyArray) -> AnyArray:
    """A gradient in the dtype of its operand; to a real one belongs the real part."""
    return in_dtype(real_part(part) if part.dtype.kind == "c" != x.dtype.kind else part, x.dtype)


def real_part(x: AnyArray) -> Any:
    """``np.real``, whose own type knows no Tensor."""
    return np.real(x)


def imaginary_part(x: AnyArray) -> Any:
    """``np.imag``, likewise."""
    return np.imag(x)


def conjugate(x: AnyArray) -> AnyArray:
    """The complex conjugate; of real numbers themselves, without a copy."""
    return np.conjugate(x) if x.dtype.kind == "c" else x


def moveaxis(x: AnyArray, source: int | Sequence[int], destination: int | Sequence[int]) -> AnyArray:
    """``np.moveaxis``, likewise."""
    return np.moveaxis(cast(Array, x), source, destination)
