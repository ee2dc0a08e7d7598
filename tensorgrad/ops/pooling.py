"""Pooling: the maximum or the mean of each window of an image."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, overload

import numpy as np

from .. import samples
from ..core import OPS, AnyArray, Array, Tensor, asarray_like, declare
from .conversion import in_single
from .windows import (
    Lengths,
    Padding,
    Pairs,
    PerAxis,
    along_axis,
    check_fits,
    examples_first,
    examples_last,
    is_padded,
    offsets,
    pairs,
    per_axis,
    reach,
    transposed,
    window_counts,
    windows_sample,
)


def _along_axes(
    combine: Any, x: AnyArray, fill: Any, settings: dict[str, Any], out: AnyArray | None = None
) -> AnyArray:
    """``combine`` of the elements of each window, of images with their examples last: along one axis, then the next."""
    windows = window_counts(x.shape[1:-1], **settings)
    for axis, (count, *numbers) in enumerate(zip(windows, *settings.values()), 1):
        places = [
            (_at(axis, inside), _at(axis, elements))
            for inside, elements in along_axis(x.shape[axis], range(count), *numbers)
        ]
        if axis == len(windows) and out is not None:
            y = out
        else:
            y = np.empty_like(x, shape=(*x.shape[:axis], count, *x.shape[axis + 1 :]))
        if len(places) > 1 and not any(numbers[-1]):  # without padding each offset is in every window
            combine(x[places[0][1]], x[places[1][1]], out=y)
            places = places[2:]
        else:
            y[...] = fill
        for inside, elements in places:
            combine(y[inside], x[elements], out=y[inside])
        x = y
    return x


def _at(axis: int, part: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (part,)


def _lowest(dtype: np.dtype) -> Any:
    """What is smaller than everything, or as small."""
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min if dtype.kind in "iu" else False


def _settings(kernel: Lengths, stride: Lengths, dilation: Lengths, padding: Pairs) -> dict[str, Any]:
    return {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}


def _max_pool(
    x: AnyArray, *, kernel: Lengths, stride: Lengths, dilation: Lengths, padding: Pairs, out: AnyArray | None = None
) -> AnyArray:
    out = None if out is None else transposed(out)
    settings = _settings(kernel, stride, dilation, padding)
    return examples_first(_along_axes(np.maximum, examples_last(x), _lowest(x.dtype), settings, out))


def _largest_ones(x: AnyArray, largest: AnyArray, settings: dict[str, Any]) -> Iterator[tuple[Any, Any, Any]]:
    """For each offset in a window: which windows it is in, their elements there, and whether these are the largest."""
    windows = tuple(map(range, largest.shape[1:-1]))
    for _, inside, elements in offsets(x.shape[1:-1], windows, **settings):
        yield inside, elements, x[elements] == largest[inside]


def _shared(g: AnyArray, x: AnyArray, largest: AnyArray, settings: dict[str, Any]) -> Any:
    """``g`` divided by how many elements of each window are as large as the largest."""
    dtype = np.uint8 if prod(settings["kernel"]) <= np.iinfo(np.uint8).max else g.dtype
    count = np.zeros_like(largest, dtype=dtype)
    for inside, _, chosen in _largest_ones(x, largest, settings):
        count[inside] += chosen.view(np.uint8)
    return g / np.maximum(count, count.dtype.type(1))  # of none where the largest is NaN


def _max_unpool(
    g: AnyArray,
    x: AnyArray,
    largest: AnyArray,
    *,
    kernel: Lengths,
    stride: Lengths,
    dilation: Lengths,
    padding: Pairs,
    out: AnyArray | None = None,
) -> AnyArray:
    settings = _settings(kernel, stride, dilation, padding)
    g, x, largest = examples_last(g), examples_last(x), examples_last(largest)
    share = _shared(g, x, largest, settings)
    whole = np.empty_like(g, shape=x.shape) if out is None else transposed(out)
    apart = stride == kernel and max(dilation) == 1 and not is_padded(padding)
    if apart and all(k * count == length for k, count, length in zip(kernel, g.shape[1:], x.shape[1:])):
        for _, elements, chosen in _largest_ones(x, largest, settings):
            np.multiply(share, chosen, out=whole[elements])
    else:
        whole[...] = 0
        for inside, elements, chosen in _largest_ones(x, largest, settings):
            whole[elements] += share[inside] * chosen
    return examples_first(whole)


def _max_picked(
    h: AnyArray, x: AnyArray, largest: AnyArray, *, kernel: Lengths, stride: Lengths, dilation: Lengths, padding: Pairs
) -> AnyArray:
    settings = _settings(kernel, stride, dilation, padding)
    h, x, largest = examples_last(h), examples_last(x), examples_last(largest)
    total = np.zeros_like(h, shape=largest.shape)
    for inside, elements, chosen in _largest_ones(x, largest, settings):
        total[inside] += h[elements] * chosen
    return examples_first(_shared(total, x, largest, settings))


@in_single
def _avg_pool(x: AnyArray, *, kernel: Lengths, stride: Lengths, padding: Pairs, count_include_pad: bool) -> AnyArray:
    settings = _settings(kernel, stride, (1,) * len(kernel), padding)
    x = x if x.dtype.kind in "fc" else x.astype(np.float64)
    total = _along_axes(np.add, examples_last(x), 0, settings)
    return examples_first(total / _sizes(x, x.shape[2:], count_include_pad, settings))


@in_single
def _avg_unpool(
    g: AnyArray, *, spatial: Lengths, kernel: Lengths, stride: Lengths, padding: Pairs, count_include_pad: bool
) -> AnyArray:
    settings = _settings(kernel, stride, (1,) * len(kernel), padding)
    g = examples_last(g) / _sizes(g, spatial, count_include_pad, settings)
    for axis, (length, k, step, ends) in enumerate(zip(spatial, kernel, stride, padding), 1):
        whole = np.zeros_like(g, shape=(*g.shape[:axis], length, *g.shape[axis + 1 :]))
        for inside, elements in along_axis(length, range(g.shape[axis]), k, step, 1, ends):
            whole[_at(axis, elements)] += g[_at(axis, inside)]
        g = whole
    return examples_first(g)


def _sizes(like: AnyArray, spatial: Lengths, count_include_pad: bool, settings: dict[str, Any]) -> Any:
    """By what the sums of windows are divided: one number, or an array that fits beside images, examples last."""
    if count_include_pad or not is_padded(settings["padding"]):
        return prod(settings["kernel"])
    sizes = _elements(spatial, **settings)[..., None]
    return asarray_like(sizes.astype(like.dtype if like.dtype.kind == "f" else np.float64), like)


def _elements(spatial: Lengths, **settings: object) -> AnyArray:
    """How many elements of the images each window has, the rest being padding; of shape (*windows)."""
    inside = np.ones((1, *spatial, 1), np.intp)
    return _along_axes(np.add, inside, 0, settings)[0, ..., 0]


def _pool_sample(draw: samples.Draw) -> tuple[Lengths, dict[str, Any]]:
    """A shape of images and settings of pooling, in which no window is nothing but padding."""
    shape, settings = windows_sample(draw)
    if _elements(shape[2:], **settings).min() == 0:
        settings["padding"] = ((0, 0),) * len(settings["padding"])
        shape = (*shape[:2], *map(max, shape[2:], reach(settings["kernel"], settings["dilation"])))
    return shape, settings


def _max_pool_sample(draw: samples.Draw) -> samples.Operands:
    shape, settings = _pool_sample(draw)
    return (samples.distinct(draw, shape),), settings


def _max_unpool_sample(draw: samples.Draw) -> samples.Operands:
    (x,), settings = _max_pool_sample(draw)
    out = _max_pool(x, **settings)
    return (samples.reals(draw, out.shape), x, out), settings


def _max_picked_sample(draw: samples.Draw) -> samples.Operands:
    (x,), settings = _max_pool_sample(draw)
    return (samples.reals(draw, x.shape), x, _max_pool(x, **settings)), settings


def _avg_pool_sample(draw: samples.Draw) -> samples.Operands:
    shape, settings = _pool_sample(draw)
    if max(settings.pop("dilation")) > 1:
        settings["kernel"], settings["padding"] = (1,) * (len(shape) - 2), ((0, 0),) * (len(shape) - 2)
    settings["count_include_pad"] = bool(draw.integer(0, 1))
    return (samples.reals(draw, shape),), settings


def _avg_unpool_sample(draw: samples.Draw) -> samples.Operands:
    (x,), settings = _avg_pool_sample(draw)
    return (samples.reals(draw, _avg_pool(x, **settings).shape),), {**settings, "spatial": x.shape[2:]}


_IMAGES = "images (examples, channels, *spatial) not smaller than a window"

declare(
    "max_pool",
    _max_pool,
    lambda g, out, x, **settings: OPS["max_unpool"](g, x, out, **settings),
    sample=_max_pool_sample,
    expects=_IMAGES,
    opaque=True,
)
declare(
    "max_unpool",
    _max_unpool,
    lambda h, out, g, x, largest, **settings: OPS["max_picked"](h, x, largest, **settings),
    None,
    None,
    sample=_max_unpool_sample,
    expects="a gradient for each window, images, and the largest element of each of their windows",
    opaque=True,
)
declare(
    "max_picked",
    _max_picked,
    lambda g, out, h, x, largest, **settings: OPS["max_unpool"](g, x, largest, **settings),
    None,
    None,
    sample=_max_picked_sample,
    expects="numbers in the shape of the images, images, and the largest element of each of their windows",
    opaque=True,
)
declare(
    "avg_pool",
    _avg_pool,
    lambda g, out, x, **settings: OPS["avg_unpool"](g, spatial=x.shape[2:], **settings),
    sample=_avg_pool_sample,
    expects=_IMAGES,
    opaque=True,
)
declare(
    "avg_unpool",
    _avg_unpool,
    lambda h, out, g, spatial, **settings: OPS["avg_pool"](h, **settings),
    sample=_avg_unpool_sample,
    expects="a gradient for each window",
    opaque=True,
)


# As users call them


@overload
def max_pool(
    x: Tensor, kernel_size: PerAxis, *, stride: PerAxis | None = None, padding: Padding = 0, dilation: PerAxis = 1
) -> Tensor: ...
@overload
def max_pool(
    x: Array, kernel_size: PerAxis, *, stride: PerAxis | None = None, padding: Padding = 0, dilation: PerAxis = 1
) -> Any: ...
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
    return OPS["max_pool"](x, **settings)


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
) -> Any: ...
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
    del settings["dilation"]
    return OPS["avg_pool"](x, count_include_pad=count_include_pad, **settings)


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
    settings = _settings(kernel, stride, dilation, padding)
    check_fits(f"{name}: a window", x.shape[2:], padding, reach(kernel, dilation))
    if is_padded(padding) and _elements(x.shape[2:], **settings).min() == 0:
        raise ValueError(
            f"{name}: with padding {padding} and kernel_size {kernel} some windows are nothing but padding"
        )
    return x, settings
