"""Convolution of any number of spatial axes, and the transposed one.

Three ops, each linear in its two operands, that come from one form in the images x, the weight w and the output y:
``(conv(x, w) * y).sum() == (x * conv_transpose(y, w)).sum() == (w * conv_weight(x, y)).sum()``. So each op's rules
are the two others.

Each is one matrix product (for each group of channels), with the windows of many examples as the columns of a matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, overload

import numpy as np

from .. import samples
from ..core import OPS, AnyArray, Array, ArrayT, Tensor, declare
from .windows import (
    Lengths,
    Padding,
    Pairs,
    PerAxis,
    check_fits,
    overlap_add,
    pairs,
    per_axis,
    reach,
    sliding_windows,
    windows_sample,
)

MOST_ELEMENTS = 2**21
"""Of the matrix of windows, which repeats each element of the images as often as the kernel has elements: more examples
are done one block after the other."""


def _blocks(examples: int, elements: int) -> Iterator[slice]:
    """Slices of so many examples that, with ``elements`` for each, a block keeps to the limit; at least one."""
    length = max(1, MOST_ELEMENTS // max(elements, 1))
    return (slice(start, start + length) for start in range(0, max(examples, 1), length))


def _columns(x: AnyArray, groups: int, settings: dict[str, Any]) -> Any:
    """The windows as (groups, channels of a group * kernel, examples * windows)."""
    windows = sliding_windows(x, **settings)
    n = len(settings["kernel"])
    windows = windows.transpose(n + 1, *range(n), n, *range(n + 2, 2 * n + 2))
    rows = x.shape[1] // groups * prod(settings["kernel"])
    return windows.reshape(groups, rows, prod(windows.shape[n + 1 :]))


def _by_channel(y: AnyArray, groups: int) -> Any:
    """(examples, channels, *spatial) as (groups, channels of a group, examples * spatial)."""
    examples, channels, *spatial = y.shape
    return y.swapaxes(0, 1).reshape(groups, channels // groups, examples * prod(spatial))


def _settings(kernel: Lengths, stride: Lengths, dilation: Lengths, padding: Pairs) -> dict[str, Any]:
    return {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}


def _conv(
    x: AnyArray, weight: AnyArray, *, stride: Lengths, dilation: Lengths, padding: Pairs, groups: int
) -> AnyArray:
    channels, per_group, *kernel = weight.shape
    settings = _settings(tuple(kernel), stride, dilation, padding)
    spatial = tuple(
        (length + low + high - r) // step + 1
        for length, (low, high), r, step in zip(x.shape[2:], padding, reach(tuple(kernel), dilation), stride)
    )
    rows = weight.reshape(groups, channels // groups, per_group * prod(kernel))
    parts = []
    for block in _blocks(x.shape[0], x.shape[1] * prod(kernel) * prod(spatial)):
        part = x[block]
        y = rows @ _columns(part, groups, settings)
        parts.append(y.reshape(channels, part.shape[0], *spatial).swapaxes(0, 1).copy())
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _conv_transpose(
    y: AnyArray, weight: AnyArray, *, spatial: Lengths, stride: Lengths, dilation: Lengths, padding: Pairs, groups: int
) -> AnyArray:
    channels, per_group, *kernel = weight.shape
    settings = _settings(tuple(kernel), stride, dilation, padding)
    columns = weight.reshape(groups, channels // groups, per_group * prod(kernel)).swapaxes(1, 2)
    n = len(kernel)
    parts = []
    for block in _blocks(y.shape[0], per_group * groups * prod(kernel) * prod(y.shape[2:])):
        part = y[block]
        windows = columns @ _by_channel(part, groups)
        windows = windows.reshape(per_group * groups, *kernel, part.shape[0], *part.shape[2:])
        windows = windows.transpose(*range(1, n + 2), 0, *range(n + 2, 2 * n + 2))
        shape = (part.shape[0], per_group * groups, *spatial)
        parts.append(overlap_add(windows, shape=shape, **settings))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _conv_weight(
    x: AnyArray, y: AnyArray, *, kernel: Lengths, stride: Lengths, dilation: Lengths, padding: Pairs, groups: int
) -> Any:
    settings = _settings(kernel, stride, dilation, padding)
    parts = [
        _by_channel(y[block], groups) @ _columns(x[block], groups, settings).swapaxes(1, 2)
        for block in _blocks(x.shape[0], x.shape[1] * prod(kernel) * prod(y.shape[2:]))
    ]
    return sum(parts[1:], parts[0]).reshape(y.shape[1], x.shape[1] // groups, *kernel)


def _shapes(draw: samples.Draw) -> tuple[Lengths, Lengths, Lengths, dict[str, Any]]:
    """Shapes of images, weight and output that fit together, and the settings."""
    shape, settings = windows_sample(draw)
    kernel, groups = settings.pop("kernel"), draw.integer(1, 2)
    shape = (shape[0], shape[1] if groups == 1 else 2, *shape[2:])
    channels = groups * draw.integer(1, 2) if len(kernel) == 1 else groups
    weight = (channels, shape[1] // groups, *kernel)
    settings["groups"] = groups
    return shape, weight, _conv(np.zeros(shape), np.zeros(weight), **settings).shape, settings


def _conv_sample(draw: samples.Draw) -> samples.Operands:
    x, weight, _, settings = _shapes(draw)
    return (samples.reals(draw, x), samples.reals(draw, weight)), settings


def _conv_transpose_sample(draw: samples.Draw) -> samples.Operands:
    x, weight, y, settings = _shapes(draw)
    return (samples.reals(draw, y), samples.reals(draw, weight)), {**settings, "spatial": x[2:]}


def _conv_weight_sample(draw: samples.Draw) -> samples.Operands:
    x, weight, y, settings = _shapes(draw)
    return (samples.reals(draw, x), samples.reals(draw, y)), {**settings, "kernel": weight[2:]}


declare(
    "conv",
    _conv,
    lambda g, out, x, w, **settings: OPS["conv_transpose"](g, w, spatial=x.shape[2:], **settings),
    lambda g, out, x, w, **settings: OPS["conv_weight"](x, g, kernel=w.shape[2:], **settings),
    sample=_conv_sample,
    expects="images (examples, channels, *spatial) and a weight (out_channels, channels / groups, *kernel)",
    opaque=True,
)
declare(
    "conv_transpose",
    _conv_transpose,
    lambda g, out, y, w, spatial, **settings: OPS["conv"](g, w, **settings),
    lambda g, out, y, w, spatial, **settings: OPS["conv_weight"](g, y, kernel=w.shape[2:], **settings),
    sample=_conv_transpose_sample,
    expects="images (examples, channels, *spatial) and a weight (channels, out_channels / groups, *kernel)",
    opaque=True,
)
declare(
    "conv_weight",
    _conv_weight,
    lambda g, out, x, y, kernel, **settings: OPS["conv_transpose"](y, g, spatial=x.shape[2:], **settings),
    lambda g, out, x, y, kernel, **settings: OPS["conv"](x, g, **settings),
    sample=_conv_weight_sample,
    expects="images (examples, channels, *spatial) and an output of their convolution",
    opaque=True,
)


@overload
def conv(
    x: Tensor,
    weight: AnyArray,
    bias: AnyArray | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Tensor: ...
@overload
def conv(
    x: Array,
    weight: ArrayT,
    bias: ArrayT | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> ArrayT: ...
def conv(
    x: AnyArray,
    weight: AnyArray,
    bias: AnyArray | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> AnyArray:
    """Convolution as networks mean it: the cross-correlation of images with a kernel, over any number of spatial axes.

    ``y[n, o, i] = bias[o] + sum over c, k of weight[o, c, k] * x[n, c, stride * i + dilation * k - padding]``, with an
    ``i`` and a ``k`` for each spatial axis and zeros outside of ``x`` (Dumoulin & Visin 2016, "A guide to convolution
    arithmetic").

    Parameters
    ----------
    x
        Tensor or array of shape (examples, channels, *spatial).
    weight
        Of shape (out_channels, channels / groups, *kernel).
    bias
        Of shape (out_channels,); None for none.
    stride, dilation
        Steps from window to window, and inside a window: integers, or one for each spatial axis.
    padding
        Zeros added at both ends of each spatial axis: an integer, one for each axis, or a pair (before, after) for
        each; ``"valid"`` for none; ``"same"`` for as many as give ceil(length / stride) windows, an odd one at the end.
    groups
        Into how many parts the channels are divided, each convolved by itself.

    Returns
    -------
    Tensor
        Of shape (examples, out_channels, *windows), where an axis of ``length`` has
        ``(length + padding - dilation * (kernel - 1) - 1) // stride + 1`` windows.

    Raises
    ------
    ValueError
        If shapes or settings do not fit.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> x = tg.Tensor([[[1.0, 2.0, 4.0, 8.0]]], requires_grad=True)
    >>> y = tg.conv(x, np.array([[[-1.0, 1.0]]]))
    >>> y
    Tensor([[[1., 2., 4.]]], requires_grad=True)
    >>> y.sum().backward()
    >>> x.grad
    array([[[-1.,  0.,  0.,  1.]]])
    """
    x, weight, n, groups = _checked("conv", x, weight, groups)
    _check_channels(x.shape[1], weight.shape, groups)
    stride, dilation = per_axis("conv", "stride", stride, n), per_axis("conv", "dilation", dilation, n)
    kernel = weight.shape[2:]
    padding = pairs("conv", padding, x.shape, kernel, stride, dilation)
    check_fits("conv: a kernel", x.shape[2:], padding, reach(kernel, dilation))
    y = OPS["conv"](x, weight, stride=stride, dilation=dilation, padding=padding, groups=groups)
    return y if bias is None else y + _bias("conv", bias, y)


@overload
def conv_transpose(
    x: Tensor,
    weight: AnyArray,
    bias: AnyArray | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> Tensor: ...
@overload
def conv_transpose(
    x: Array,
    weight: ArrayT,
    bias: ArrayT | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> ArrayT: ...
def conv_transpose(
    x: AnyArray,
    weight: AnyArray,
    bias: AnyArray | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
) -> AnyArray:
    """The transpose of :func:`conv`, which upsamples: the gradient of a convolution of ``stride`` with respect to x.

    Every element of ``x`` adds its multiple of the kernel to the output, ``stride`` after the one before it; then
    ``padding`` elements are cut off.

    Parameters
    ----------
    x
        Tensor or array of shape (examples, channels, *spatial).
    weight
        Of shape (channels, out_channels / groups, *kernel).
    bias
        Of shape (out_channels,); None for none.
    stride, padding, dilation, groups
        Those of the convolution; padding in integers.
    output_padding
        Elements added at the end of each spatial axis, fewer than the stride: convolutions of several lengths give one
        length, and this says which is meant.

    Returns
    -------
    Tensor
        Of shape (examples, out_channels, *spatial), where an axis of ``length`` becomes
        ``(length - 1) * stride - padding + dilation * (kernel - 1) + 1 + output_padding``.

    Raises
    ------
    ValueError
        If shapes or settings do not fit.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.conv_transpose(np.array([[[1.0, 2.0]]]), np.array([[[1.0, 10.0, 100.0]]]), stride=2)
    array([[[  1.,  10., 102.,  20., 200.]]])
    """
    x, weight, n, groups = _checked("conv_transpose", x, weight, groups)
    _check_transposed_channels(x.shape[1], weight.shape, groups)
    stride = per_axis("conv_transpose", "stride", stride, n)
    dilation = per_axis("conv_transpose", "dilation", dilation, n)
    if isinstance(padding, str):
        raise ValueError(f"conv_transpose: padding must be given in integers, got {padding!r}")
    kernel = weight.shape[2:]
    padding = pairs("conv_transpose", padding, x.shape, kernel, stride, dilation)
    spatial = _upsampled(x.shape[2:], stride, padding, reach(kernel, dilation), output_padding)
    y = OPS["conv_transpose"](
        x, weight, spatial=spatial, stride=stride, dilation=dilation, padding=padding, groups=groups
    )
    return y if bias is None else y + _bias("conv_transpose", bias, y)


def _checked(name: str, x: AnyArray, weight: AnyArray, groups: int) -> tuple[Any, Any, int, int]:
    """Images and weight as arrays, the number of spatial axes, and the groups."""
    x, weight = (a if hasattr(a, "shape") else np.asarray(a) for a in (x, weight))
    if x.ndim < 3 or weight.ndim != x.ndim or 0 in weight.shape:
        raise ValueError(
            f"{name}: takes images (examples, channels, *spatial) and a weight of as many axes, got shapes {x.shape} "
            f"and {weight.shape}"
        )
    return x, weight, x.ndim - 2, per_axis(name, "groups", groups, 1)[0]


def _check_channels(channels: int, weight: Lengths, groups: int) -> None:
    """Raise unless the weight of a convolution fits the channels of its images."""
    if weight[1] * groups != channels:
        raise ValueError(
            f"conv: {channels} channels in {groups} group(s) take a weight of shape (out_channels, "
            f"{channels} / {groups}, *kernel), got {weight}"
        )
    if weight[0] % groups:
        raise ValueError(f"conv: {weight[0]} out_channels cannot be divided into {groups} groups")


def _check_transposed_channels(channels: int, weight: Lengths, groups: int) -> None:
    if weight[0] != channels or channels % groups:
        raise ValueError(
            f"conv_transpose: {channels} channels in {groups} group(s) take a weight of shape ({channels}, "
            f"out_channels / {groups}, *kernel), got {weight}"
        )


def _upsampled(lengths: Lengths, stride: Lengths, padding: Pairs, spans: Lengths, output_padding: PerAxis) -> Lengths:
    """The lengths of the spatial axes after a transposed convolution with kernels that stretch over ``spans``."""
    extra = per_axis("conv_transpose", "output_padding", output_padding, len(lengths), least=0)
    if any(more >= step for more, step in zip(extra, stride)):
        raise ValueError(f"conv_transpose: output_padding must be smaller than the stride {stride}, got {extra}")
    spatial = tuple(
        (length - 1) * step - low - high + span + more
        for length, step, (low, high), span, more in zip(lengths, stride, padding, spans, extra)
    )
    if min(lengths) < 1 or min(spatial) < 1:
        raise ValueError(f"conv_transpose: from {lengths} with padding {padding} nothing is left")
    return spatial


def _bias(name: str, bias: AnyArray, y: AnyArray) -> AnyArray:
    """The bias beside the channels of ``y``."""
    bias = bias if hasattr(bias, "shape") else np.asarray(bias, y.dtype)
    if bias.shape != y.shape[1:2]:
        raise ValueError(f"{name}: the bias must have shape ({y.shape[1]},), got {bias.shape}")
    return bias.reshape((y.shape[1],) + (1,) * (y.ndim - 2))
