"""Convolution of any number of spatial axes, and the transposed one.

Three ops, each linear in its two operands, that come from one form in the images x, the weight w and the output y:
``(conv(x, w) * y).sum() == (x * conv_transpose(y, w)).sum() == (w * conv_weight(x, y)).sum()``. So each op's rules
are the two others.

Each is one matrix product (for each group of channels) with a matrix whose columns are the windows of all examples,
filled offset by offset. Examples come last (see :mod:`tensorgrad.ops.windows`), so the product of the weight with it is
the result as it lies in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
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
    examples_first,
    examples_last,
    in_padding,
    is_padded,
    offsets,
    pairs,
    per_axis,
    reach,
    transposed,
    window_counts,
    windows_sample,
)

MOST_ELEMENTS = 2**21
"""Of the matrix of windows, which repeats each element of the images as often as the kernel has elements: more of it is
done one block after the other."""


MANY = 64
"""From so many times as many windows as channels on, the gradient of the weight is computed as its own transpose: with
two threads the product takes 1.15 ms instead of 1.7, which is worth turning it over."""


class _Shapes:
    """What the three ops share: shapes and settings of a convolution, and the blocks in which it is done."""

    def __init__(
        self,
        x: Lengths,
        weight: Lengths,
        *,
        stride: Lengths,
        dilation: Lengths,
        padding: Pairs,
        groups: int,
    ) -> None:
        self.examples, self.spatial, self.groups = x[0], x[2:], groups
        self.channels, (self.out_channels, self.per_group, *kernel) = x[1], weight
        self.kernel, self.settings = tuple(kernel), (tuple(kernel), stride, dilation, padding)
        self.windows = window_counts(self.spatial, *self.settings)
        self.window = self.per_group * prod(kernel)
        self.only_moves = {*kernel, *stride} == {1} and not is_padded(padding)

    def blocks(self) -> Iterator[tuple[Any, Any]]:
        """Windows as ranges, and a slice of the examples, such that the matrix of windows keeps to the limit.

        Divided along the first spatial axis, so that all examples stay together, as far as that is enough.
        """
        rows, examples = self.windows[0], max(self.examples, 1)
        most = MOST_ELEMENTS // max(self.channels * prod(self.kernel) * prod(self.windows[1:]), 1)
        together = _even(examples, most)
        length = _even(rows, most // together)
        rest = tuple(map(range, self.windows[1:]))
        for first in range(0, examples, together):
            for start in range(0, rows, length):
                yield (range(start, min(start + length, rows)), *rest), slice(first, first + together)

    def columns(self, x: AnyArray, windows: Any) -> AnyArray:
        """The windows as (groups, channels of a group * kernel, windows * examples); ``x`` has its examples last."""
        shape = (self.groups, self.window, prod(map(len, windows)) * x.shape[-1])
        if self.only_moves:
            return x[:, windows[0].start : windows[0].stop].reshape(shape)
        columns = np.empty_like(x, shape=(self.channels, *self.kernel, *map(len, windows), x.shape[-1]))
        for offset, inside, elements in offsets(self.spatial, windows, *self.settings):
            columns[offset][inside] = x[elements]
        for index in in_padding(self.spatial, windows, *self.settings):
            columns[index] = 0
        return columns.reshape(shape)

    def add_back(self, whole: AnyArray, columns: AnyArray, windows: Any) -> None:
        """Add the windows to the places in ``whole``, examples last, from which :meth:`columns` would take them."""
        columns = columns.reshape(self.channels, *self.kernel, *map(len, windows), whole.shape[-1])
        for offset, inside, elements in offsets(self.spatial, windows, *self.settings):
            whole[elements] += columns[offset][inside]


_shapes_of = lru_cache(maxsize=256)(_Shapes)


def _even(count: int, most: int) -> int:
    """The length of as few parts of ``count`` as have no more than ``most``, or one, all of about the same length."""
    parts = -(-count // max(most, 1))
    return max(1, -(-count // max(parts, 1)))


def _rows(windows: Any, examples: slice) -> tuple[Any, ...]:
    """The index of a block in an output with its examples last."""
    return (slice(None), slice(windows[0].start, windows[0].stop), ..., examples)


def _conv(
    x: AnyArray,
    weight: AnyArray,
    *,
    stride: Lengths,
    dilation: Lengths,
    padding: Pairs,
    groups: int,
    out: AnyArray | None = None,
) -> AnyArray:
    shapes = _shapes_of(x.shape, weight.shape, stride=stride, dilation=dilation, padding=padding, groups=groups)
    x, rows = examples_last(x), weight.reshape(groups, -1, shapes.window)
    shape = (shapes.out_channels, *shapes.windows, shapes.examples)
    y = np.empty_like(_product_like(x, weight), shape=shape) if out is None else transposed(out)
    for windows, examples in shapes.blocks():
        _multiply(rows, shapes.columns(x[..., examples], windows), y[_rows(windows, examples)])
    return examples_first(y)


def _conv_transpose(
    y: AnyArray,
    weight: AnyArray,
    *,
    spatial: Lengths,
    stride: Lengths,
    dilation: Lengths,
    padding: Pairs,
    groups: int,
    out: AnyArray | None = None,
) -> AnyArray:
    images = (y.shape[0], weight.shape[1] * groups, *spatial)
    shapes = _shapes_of(images, weight.shape, stride=stride, dilation=dilation, padding=padding, groups=groups)
    y, columns = examples_last(y), weight.reshape(groups, -1, shapes.window).swapaxes(1, 2)
    x = np.empty_like(_product_like(y, weight), shape=(*images[1:], images[0])) if out is None else transposed(out)
    if not shapes.only_moves:
        x[...] = 0
    for windows, examples in shapes.blocks():
        part = _by_group(y[_rows(windows, examples)], groups)
        if shapes.only_moves:
            _multiply(columns, part, x[_rows(windows, examples)])
        else:
            shapes.add_back(x[..., examples], columns @ part, windows)
    return examples_first(x)


def _product_like(x: AnyArray, y: AnyArray) -> AnyArray:
    """An array of the kind and dtype that products of the two have."""
    first, second = (a[(slice(0, 1),) * a.ndim].reshape(-1) for a in (x, y))
    return first * second


def _multiply(a: AnyArray, b: AnyArray, out: Any) -> None:
    """The product of matrices into ``out``, whose axes after the first are the columns, right away if they lie so."""
    flat = out.reshape(a.shape[:-1] + b.shape[-1:])
    if type(out) is np.ndarray and np.may_share_memory(flat, out):
        np.matmul(a, b, out=flat)
    else:
        out[...] = (a @ b).reshape(out.shape)


def _conv_weight(
    x: AnyArray, y: AnyArray, *, kernel: Lengths, stride: Lengths, dilation: Lengths, padding: Pairs, groups: int
) -> Any:
    weight = (y.shape[1], x.shape[1] // groups, *kernel)
    shapes = _shapes_of(x.shape, weight, stride=stride, dilation=dilation, padding=padding, groups=groups)
    x, y = examples_last(x), examples_last(y)
    total: Any = 0
    for windows, examples in shapes.blocks():
        columns, part = shapes.columns(x[..., examples], windows), _by_group(y[_rows(windows, examples)], groups)
        if part.shape[2] > MANY * part.shape[1]:
            total = total + (columns @ part.swapaxes(1, 2)).swapaxes(1, 2).copy()
        else:
            total = total + part @ columns.swapaxes(1, 2)
    return total.reshape(weight)


def _by_group(y: AnyArray, groups: int) -> AnyArray:
    """(channels, *windows, examples) as (groups, channels of a group, windows * examples)."""
    return y.reshape(groups, y.shape[0] // groups, prod(y.shape[1:]))


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
    """The bias, reshaped to broadcast to the channels of ``y``."""
    bias = bias if hasattr(bias, "shape") else np.asarray(bias, y.dtype)
    if bias.shape != y.shape[1:2]:
        raise ValueError(f"{name}: the bias must have shape ({y.shape[1]},), got {bias.shape}")
    return bias.reshape((y.shape[1],) + (1,) * (y.ndim - 2))
