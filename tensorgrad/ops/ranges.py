"""Ranges of numbers between two ends, which may be Tensors."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from ..core import AnyArray, DType, Tensor, asarray_like, implements, refuse
from ..core.context import runtime_check
from .conversion import as_operand, in_dtype, moveaxis, without_history


def _dtype_of(
    function: Callable[..., AnyArray], start: AnyArray, stop: AnyArray, *args: object, dtype: DType, **keywords: object
) -> Any:
    """The dtype to compute the range in; NumPy says which, and checks the other arguments, for ends that are 1."""
    if dtype is not None and np.dtype(dtype).kind != "f":
        refuse(f"np.{function.__name__}", dtype=dtype)  # the numbers would be rounded
    return function(_one(start), _one(stop), *args, **keywords).dtype


def _one(x: AnyArray) -> Any:
    return 1.0 if type(x) in (int, float) else np.ones(np.shape(x), as_operand(x).dtype)


def _ends(start: AnyArray, stop: AnyArray, num: Any, endpoint: bool, dtype: DType) -> tuple[Any, ...]:
    """Both ends, and the share of each in the elements of the range, which lie along an axis before theirs."""
    start, stop = in_dtype(as_operand(start), dtype), in_dtype(as_operand(stop), dtype)
    share = np.arange(num) / max(num - bool(endpoint), 1)
    share = share.astype(dtype).reshape((-1, *[1] * max(start.ndim, stop.ndim)))
    like = start if isinstance(start, Tensor) else stop
    return start, stop, asarray_like(1 - share, like), asarray_like(share, like)


def _placed(values: AnyArray, axis: int, dtype: DType) -> AnyArray:
    """A range along ``axis`` instead of the first one."""
    values = values if dtype is None else in_dtype(values, dtype)
    return moveaxis(values, 0, axis)


@implements(np.linspace)
def _linspace(
    start: AnyArray,
    stop: AnyArray,
    num: Any = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: DType = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """By shares of both ends, which gives these exactly, as NumPy does."""
    refuse("np.linspace", device=device)
    exact = _dtype_of(np.linspace, start, stop, num, endpoint, dtype=dtype, axis=axis)
    start, stop, of_start, of_stop = _ends(start, stop, num, endpoint, exact)
    values = _placed(start * of_start + stop * of_stop, axis, dtype)
    if not retstep:
        return values
    steps = num - bool(endpoint)
    return values, (stop - start) / steps if steps > 0 else Tensor(np.nan)


@implements(np.logspace)
def _logspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, base: Any = 10.0, dtype: DType = None, axis: int = 0
) -> AnyArray:
    if np.ndim(base):  # another axis of the ends
        start, stop, base = as_operand(start), as_operand(stop), as_operand(base)
        ndim = max(start.ndim, stop.ndim, base.ndim)
        start, stop, base = (x.reshape((*[1] * (ndim - x.ndim), *x.shape)) for x in (start, stop, base))
    exact = _dtype_of(np.logspace, start, stop, num, endpoint, _one(base), dtype=dtype, axis=axis)
    start, stop, of_start, of_stop = _ends(start, stop, num, endpoint, exact)
    base = base if type(base) in (int, float) else in_dtype(as_operand(base), exact)
    return _placed(np.power(base, start * of_start + stop * of_stop), axis, dtype)


@implements(np.geomspace)
def _geomspace(
    start: AnyArray, stop: AnyArray, num: object = 50, endpoint: bool = True, dtype: DType = None, axis: int = 0
) -> AnyArray:
    exact = _dtype_of(np.geomspace, start, stop, num, endpoint, dtype=dtype, axis=axis)
    start, stop, of_start, of_stop = _ends(start, stop, num, endpoint, exact)
    runtime_check(_check_not_zero, without_history(start), without_history(stop))
    sign = np.sign(start)
    return _placed(sign * (np.power(sign * start, of_start) * np.power(sign * stop, of_stop)), axis, dtype)


def _check_not_zero(start: AnyArray, stop: AnyArray) -> None:
    if bool((start == 0).any()) or bool((stop == 0).any()):
        raise ValueError("geomspace: takes ends other than zero, which no factor leads away from")
