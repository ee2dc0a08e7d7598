"""Pooling: the maximum or the mean of each window of an image."""

from __future__ import annotations

from typing import Any, overload

import numpy as np

from ..core import OPS, AnyArray, Array, Tensor, asarray_like
from .windows import Lengths, Padding, PerAxis, check_fits, is_padded, pairs, per_axis, reach


@overload
def max_pool(
    x: Tensor, kernel_size: PerAxis, *, stride: PerAxis | None = None, padding: Padding = 0, dilation: PerAxis = 1
) -> Tensor: ...
@overload
def max_pool(
    x: Array, kernel_size: PerAxis, *, stride: PerAxis | None = None, padding: Padding = 0, dilation: PerAxis = 1
) -> Array: ...
def max_pool(
    x: AnyArray, kernel_size: PerAxis, *, stride: PerAxis | None = None, padding: Padding = 0, dilation: PerAxis = 1
) -> AnyArray:
    """The largest element of each window, channel by channel; padding is never the largest.

    Where several elements of a window are the largest, they share its gradient equally, as for ``np.max``.

    Parameters
    ----------
    x
        Tensor or array of shape (examples, channels, *spatial).
    kernel_size
        Length of a window along each spatial axis: an integer, or one for each.
    stride
        Steps from window to window. Default: ``kernel_size``, so that they do not overlap.
    padding, dilation
        As in :func:`tensorgrad.conv`; no window may lie in the padding alone.

    Returns
    -------
    Tensor
        Of shape (examples, channels, *windows); elements at the end that fill no window are left out.

    Raises
    ------
    ValueError
        If shapes or settings do not fit.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.max_pool(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    """
    x, settings = _checked("max_pool", x, kernel_size, stride, padding, dilation)
    n = len(settings["kernel"])
    return OPS["windows"](x, fill=_lowest(x.dtype), **settings).max(axis=tuple(range(n)))


@overload
def avg_pool(
    x: Tensor,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    count_include_pad: bool = True,
) -> Tensor: ...
@overload
def avg_pool(
    x: Array,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    count_include_pad: bool = True,
) -> Array: ...
def avg_pool(
    x: AnyArray,
    kernel_size: PerAxis,
    *,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    count_include_pad: bool = True,
) -> AnyArray:
    """The mean of each window, channel by channel.

    Parameters
    ----------
    x
        Tensor or array of shape (examples, channels, *spatial).
    kernel_size
        Length of a window along each spatial axis: an integer, or one for each.
    stride
        Steps from window to window. Default: ``kernel_size``, so that they do not overlap.
    padding
        As in :func:`tensorgrad.conv`; no window may lie in the padding alone.
    count_include_pad
        Whether padding counts as zeros; otherwise each mean is that of the elements of ``x`` in the window.

    Returns
    -------
    Tensor
        Of shape (examples, channels, *windows); elements at the end that fill no window are left out.

    Raises
    ------
    ValueError
        If shapes or settings do not fit.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> x = np.array([[[2.0, 4.0, 6.0]]])
    >>> tg.avg_pool(x, 2, stride=1, padding=1)
    array([[[1., 3., 5., 3.]]])
    >>> tg.avg_pool(x, 2, stride=1, padding=1, count_include_pad=False)
    array([[[2., 3., 5., 6.]]])
    """
    x, settings = _checked("avg_pool", x, kernel_size, stride, padding, 1)
    n = len(settings["kernel"])
    windows = OPS["windows"](x, **settings)
    if count_include_pad or not is_padded(settings["padding"]):
        return windows.mean(axis=tuple(range(n)))
    counts = _elements(x.shape[2:], **settings).astype(x.dtype if x.dtype.kind == "f" else np.float64)
    return windows.sum(axis=tuple(range(n))) / asarray_like(counts, x)


def _lowest(dtype: np.dtype) -> Any:
    """What is smaller than everything, or as small."""
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min if dtype.kind in "iu" else False


def _elements(spatial: Lengths, **settings: object) -> Any:
    """How many elements of the images each window has, the rest being padding; of shape (*windows)."""
    inside = np.ones((1, 1, *spatial), np.intp)
    return OPS["windows"](inside, **settings).sum(axis=tuple(range(len(spatial))))[0, 0]


def _checked(
    name: str, x: AnyArray, kernel_size: PerAxis, stride: PerAxis | None, padding: Padding, dilation: PerAxis
) -> tuple[Any, dict[str, Any]]:
    """Images as an array, and the settings of their windows."""
    x = x if hasattr(x, "shape") else np.asarray(x)
    n = x.ndim - 2
    if n < 1:
        raise ValueError(f"{name}: takes images of shape (examples, channels, *spatial), got shape {x.shape}")
    kernel, dilation = per_axis(name, "kernel_size", kernel_size, n), per_axis(name, "dilation", dilation, n)
    stride = kernel if stride is None else per_axis(name, "stride", stride, n)
    padding = pairs(name, padding, x.shape, kernel, stride, dilation)
    settings = {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}
    check_fits(f"{name}: a window", x.shape[2:], padding, reach(kernel, dilation))
    if is_padded(padding) and _elements(x.shape[2:], **settings).min() == 0:
        raise ValueError(
            f"{name}: with padding {padding} and kernel_size {kernel} some windows are nothing but padding"
        )
    return x, settings
