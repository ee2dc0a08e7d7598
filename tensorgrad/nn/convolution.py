"""Layers for images: convolution and pooling over one, two or three spatial axes."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..core import Tensor
from ..ops.convolution import conv
from ..ops.pooling import avg_pool, max_pool
from ..ops.windows import Padding, PerAxis, per_axis
from .initialisers import Initialiser, generator, parameter
from .module import Module
from .weighted import Weighted, check_sizes, in_dtype


class Conv(Weighted):
    """Convolution of images with a kernel, over as many spatial axes as the name says; see :func:`tensorgrad.conv`.

    Weights start from He's normal distribution (for ReLU), biases from 0. Input of shape (examples, in_channels,
    *spatial), output of shape (examples, out_channels, *windows).

    Parameters
    ----------
    in_channels, out_channels
        Channels of the input and of the output.
    kernel_size
        Length of the kernel along each spatial axis: an integer, or one for each.
    rng
        NumPy random generator for the initial weights, or an integer to seed one; None: one with an unpredictable seed.
    stride, padding, dilation, groups
        As in :func:`tensorgrad.conv`.
    bias
        Whether to add a bias.
    weight_init, bias_init
        Initial values, as for :class:`Dense`.
    weight_l1, weight_l2, bias_l1, bias_l2
        Strengths of the penalties that :meth:`penalty` adds up.
    dtype
        Dtype of the parameters.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> layer = tg.nn.Conv2d(1, 8, 3, rng=np.random.default_rng(0), padding="same")
    >>> layer
    Conv2d(1 -> 8, 3x3, padding=same)
    >>> layer(np.ones((5, 1, 28, 28), np.float32)).shape
    (5, 8, 28, 28)
    """

    spatial_axes: int
    bias: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: PerAxis,
        rng: np.random.Generator | int | None = None,
        *,
        stride: PerAxis = 1,
        padding: Padding = 0,
        dilation: PerAxis = 1,
        groups: int = 1,
        bias: bool = True,
        weight_init: Initialiser = "he_normal",
        bias_init: Initialiser = "zeros",
        weight_l1: float = 0.0,
        weight_l2: float = 0.0,
        bias_l1: float = 0.0,
        bias_l2: float = 0.0,
        dtype: Any = np.float32,
    ) -> None:
        name = type(self).__name__
        check_sizes(name, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"{name}: {in_channels} -> {out_channels} channels cannot be divided into {groups} groups")
        kernel = per_axis(name, "kernel_size", kernel_size, self.spatial_axes)
        shape = (out_channels, in_channels // groups, *kernel)
        fans, rng = (prod(shape[1:]), out_channels * prod(kernel)), generator(rng)
        self.weight = parameter(name, "weight_init", weight_init, shape, rng, dtype, fans)
        self.bias = parameter(name, "bias_init", bias_init, shape[:1], rng, dtype, fans) if bias else None
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self._set_strengths(weight_l1=weight_l1, weight_l2=weight_l2, bias_l1=bias_l1, bias_l2=bias_l2)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of ``x`` of shape (examples, in_channels, *spatial)."""
        x = in_dtype(self, x, self.weight.dtype)
        channels = self.weight.shape[1] * self.groups
        if x.ndim != self.spatial_axes + 2 or x.shape[1] != channels:
            axes = ("length", "height, width", "depth, height, width")[self.spatial_axes - 1]
            raise ValueError(f"{self!r}: the input must have shape (examples, {channels}, {axes}), got {x.shape}")
        return conv(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )

    def __repr__(self) -> str:
        channels, per_group, *kernel = self.weight.shape
        text = f"{per_group * self.groups} -> {channels}, {'x'.join(map(str, kernel))}"
        settings = (("stride", self.stride, 1), ("padding", self.padding, 0), ("dilation", self.dilation, 1))
        text += "".join(f", {name}={value}" for name, value, default in settings if value != default)
        text += f", groups={self.groups}" * (self.groups != 1) + ", bias=False" * (self.bias is None)
        return f"{type(self).__name__}({text}{self._penalties()})"


class Conv1d(Conv):
    """Convolution of sequences of shape (examples, in_channels, length); see :class:`Conv2d` for the parameters.

    >>> import numpy as np, tensorgrad as tg
    >>> tg.nn.Conv1d(2, 4, 3)(np.ones((5, 2, 10))).shape
    (5, 4, 8)
    """

    spatial_axes = 1


class Conv2d(Conv):
    __doc__ = Conv.__doc__
    spatial_axes = 2


class Conv3d(Conv):
    """Convolution of volumes (examples, in_channels, depth, height, width); see :class:`Conv2d` for the parameters.

    >>> import numpy as np, tensorgrad as tg
    >>> tg.nn.Conv3d(1, 2, 3)(np.ones((5, 1, 4, 5, 6))).shape
    (5, 2, 2, 3, 4)
    """

    spatial_axes = 3


class Pool(Module):
    """Base class of pooling layers: checks the number of spatial axes."""

    spatial_axes: int

    def __init__(self, kernel_size: PerAxis, stride: PerAxis | None = None, padding: Padding = 0) -> None:
        name = type(self).__name__
        self.kernel_size = per_axis(name, "kernel_size", kernel_size, self.spatial_axes)
        self.stride = self.kernel_size if stride is None else per_axis(name, "stride", stride, self.spatial_axes)
        self.padding = padding

    def _checked(self, x: Tensor) -> Tensor:
        if np.ndim(x) != self.spatial_axes + 2:
            axes = ("length", "height, width", "depth, height, width")[self.spatial_axes - 1]
            raise ValueError(f"{self!r}: the input must have shape (examples, channels, {axes}), got {np.shape(x)}")
        return x

    def __repr__(self) -> str:
        text = "x".join(map(str, self.kernel_size))
        if self.stride != self.kernel_size:
            text += f", stride={self.stride}"
        if self.padding != 0:
            text += f", padding={self.padding}"
        return f"{type(self).__name__}({text})"


class MaxPool(Pool):
    """The largest element of each window; see :func:`tensorgrad.max_pool`.

    Parameters
    ----------
    kernel_size
        Length of a window along each spatial axis: an integer, or one for each.
    stride
        Steps from window to window; default: ``kernel_size``.
    padding
        As in :func:`tensorgrad.conv`.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> layer = tg.nn.MaxPool2d(2)
    >>> layer
    MaxPool2d(2x2)
    >>> layer(np.arange(16.0).reshape(1, 1, 4, 4))
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    """

    def forward(self, x: Tensor) -> Tensor:
        """The maximum of each window of ``x`` of shape (examples, channels, *spatial)."""
        x = self._checked(x)
        return max_pool(x, self.kernel_size, stride=self.stride, padding=self.padding)


class MaxPool1d(MaxPool):
    """:class:`MaxPool2d` for sequences (examples, channels, length)."""

    spatial_axes = 1


class MaxPool2d(MaxPool):
    __doc__ = MaxPool.__doc__
    spatial_axes = 2


class MaxPool3d(MaxPool):
    """:class:`MaxPool2d` for volumes (examples, channels, depth, height, width)."""

    spatial_axes = 3


class AvgPool(Pool):
    """The mean of each window; see :func:`tensorgrad.avg_pool`.

    Parameters
    ----------
    kernel_size
        Length of a window along each spatial axis: an integer, or one for each.
    stride
        Steps from window to window; default: ``kernel_size``.
    padding
        As in :func:`tensorgrad.conv`.
    count_include_pad
        Whether padding counts as zeros.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.nn.AvgPool2d(2)(np.arange(16.0).reshape(1, 1, 4, 4))
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    """

    def __init__(
        self, kernel_size: PerAxis, stride: PerAxis | None = None, padding: Padding = 0, count_include_pad: bool = True
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        """The mean of each window of ``x`` of shape (examples, channels, *spatial)."""
        x = self._checked(x)
        counts = self.count_include_pad
        return avg_pool(x, self.kernel_size, stride=self.stride, padding=self.padding, count_include_pad=counts)


class AvgPool1d(AvgPool):
    """:class:`AvgPool2d` for sequences (examples, channels, length)."""

    spatial_axes = 1


class AvgPool2d(AvgPool):
    __doc__ = AvgPool.__doc__
    spatial_axes = 2


class AvgPool3d(AvgPool):
    """:class:`AvgPool2d` for volumes (examples, channels, depth, height, width)."""

    spatial_axes = 3
