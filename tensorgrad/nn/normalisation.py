"""Layers that normalise: over the batch, over groups of channels, or over the features of each example."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Tensor
from ..core.context import following, is_repeated
from ..distributed import shared
from ..ops.normalisation import batch_norm, group_norm, layer_norm, moments_over_ranks, rms_norm
from ..subnormals import without_subnormals
from .initialisers import Initialiser, generator, parameter
from .module import Module
from .weighted import check_sizes, in_dtype


class BatchNorm(Module):
    """Each channel with mean 0 and variance 1, then ``* weight + bias``; see :func:`tensorgrad.batch_norm`.

    In training, mean and variance are those of the batch, and running means of them are kept; in evaluation, the
    running ones are used. They are Tensors without gradient, saved and loaded with the parameters.

    Parameters
    ----------
    num_features
        Length of the second axis of the input.
    momentum
        Weight of the batch in ``running = (1 - momentum) * running + momentum * batch``; the batch's variance is there
        the unbiased one.
    eps
        Added to the variance.
    weight_init, bias_init, rng
        Initial values, as for :class:`Dense`, and the generator that draws them where they are random.
    dtype
        Dtype of the parameters and the running means.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> layer = tg.nn.BatchNorm1d(2)
    >>> layer(np.array([[1.0, 10.0], [3.0, 30.0]])).data.round(3)
    array([[-1., -1.],
           [ 1.,  1.]], dtype=float32)
    >>> layer.running_mean.data
    array([0.2, 2. ], dtype=float32)
    """

    spatial_axes: tuple[int, ...]

    def __init__(
        self,
        num_features: int,
        momentum: float = 0.1,
        eps: float = 1e-5,
        *,
        weight_init: Initialiser = "ones",
        bias_init: Initialiser = "zeros",
        rng: np.random.Generator | int | None = None,
        dtype: Any = np.float32,
    ) -> None:
        check_sizes(type(self).__name__, num_features=num_features)
        if not 0 <= momentum <= 1 or eps < 0:
            raise ValueError(
                f"{type(self).__name__}: momentum must lie in 0..1 and eps not be negative, got momentum={momentum}, "
                f"eps={eps}"
            )
        self.momentum, self.eps = float(momentum), float(eps)
        inits = {"weight_init": weight_init, "bias_init": bias_init}
        self.weight, self.bias = _parameters(self, inits, (num_features,), rng, dtype)
        self.running_mean = Tensor(np.zeros(num_features, dtype))
        self.running_var = Tensor(np.ones(num_features, dtype))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of shape (examples, channels, *spatial), normalised."""
        x = in_dtype(self, x, self.weight.dtype)
        channels = self.weight.shape[0]
        if x.ndim - 2 not in self.spatial_axes or x.shape[1] != channels:
            raise ValueError(
                f"{self!r}: the input must have shape (examples, {channels}) and "
                f"{' or '.join(map(str, self.spatial_axes))} spatial axes, got {x.shape}"
            )
        if not self.training:
            mean, var = self.running_mean, self.running_var
            return batch_norm(x, self.weight, self.bias, mean=mean, var=var, eps=self.eps)
        if shared() is not None:
            return self._forward_over_ranks(x)
        result: Tensor = batch_norm(x, self.weight, self.bias, eps=self.eps)
        if not is_repeated():
            if isinstance(x, Tensor) and (tracer := following()) is not None:
                running = (self.running_mean, self.running_var)
                tracer.follow(self._observe_followed, (*running, x), {"momentum": self.momentum}, len(running))
            else:
                self._observe(x.numpy() if isinstance(x, Tensor) else x)
        return result

    def _observe_followed(self, mean: Tensor, var: Tensor, x: Tensor, momentum: float) -> None:
        self._observe(x.numpy())

    def _forward_over_ranks(self, x: Any) -> Tensor:
        """The same, where the batch is shared by several ranks."""
        x = x if isinstance(x, Tensor) else Tensor(x)
        mean, var, count = moments_over_ranks(x)
        if not is_repeated():
            operands = (self.running_mean, self.running_var, mean, var, count)
            if (tracer := following()) is not None:
                tracer.follow(self._move_followed, operands, {"momentum": self.momentum}, 2)
            else:
                self._move(*(operand.numpy() for operand in operands[2:]))
        mean, var = (moment.astype(x.dtype, copy=False) for moment in (mean, var))
        result: Tensor = batch_norm(x, self.weight, self.bias, mean=mean, var=var, eps=self.eps)
        return result

    def _move_followed(self, *operands: Tensor, momentum: float) -> None:
        self._move(*(operand.numpy() for operand in operands[2:]))

    def _observe(self, x: Any) -> None:
        """Move the running mean and variance towards those of the batch."""
        axes = (0, *range(2, x.ndim))
        centred = x - (mean := x.mean(axis=axes, keepdims=True))
        self._move(mean, (centred * centred).mean(axis=axes, keepdims=True), x.size // x.shape[1])

    def _move(self, mean: Any, var: Any, count: Any) -> None:
        """Move the running mean and variance towards those of a batch of so many numbers for each channel."""
        momentum, var = self.momentum, var * (count / (count - 1))
        for running, value in ((self.running_mean, mean), (self.running_var, var)):
            moved = (1 - momentum) * running.data + momentum * value.reshape(running.shape)
            running.data = without_subnormals(moved).astype(running.dtype, copy=False)

    def __repr__(self) -> str:
        settings = (("momentum", self.momentum, 0.1), ("eps", self.eps, 1e-5))
        text = "".join(f", {name}={value:g}" for name, value, default in settings if value != default)
        return f"{type(self).__name__}({self.weight.shape[0]}{text})"


class BatchNorm1d(BatchNorm):
    """:class:`BatchNorm2d` for features (examples, channels) and sequences (examples, channels, length)."""

    spatial_axes = (0, 1)


class BatchNorm2d(BatchNorm):
    __doc__ = BatchNorm.__doc__
    spatial_axes = (2,)


class BatchNorm3d(BatchNorm):
    """:class:`BatchNorm2d` for volumes (examples, channels, depth, height, width)."""

    spatial_axes = (3,)


class LayerNorm(Module):
    """Each example with mean 0 and variance 1 over its features, then ``* weight + bias``.

    See :func:`tensorgrad.layer_norm`.

    Parameters
    ----------
    normalized_shape
        Lengths of the normalised axes, the last ones of the input: an integer, or a tuple.
    eps
        Added to the variance.
    bias
        Whether to add a bias.
    weight_init, bias_init, rng
        Initial values, as for :class:`Dense`, and the generator that draws them where they are random.
    dtype
        Dtype of the parameters.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.nn.LayerNorm(2)(np.array([[1.0, 3.0], [10.0, 30.0]])).data.round(3)
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """

    bias: Tensor | None

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-5,
        *,
        bias: bool = True,
        weight_init: Initialiser = "ones",
        bias_init: Initialiser = "zeros",
        rng: np.random.Generator | int | None = None,
        dtype: Any = np.float32,
    ) -> None:
        lengths = _lengths(self, normalized_shape, eps)
        inits = {"weight_init": weight_init, "bias_init": bias_init}
        self.eps = eps
        self.weight, self.bias = _parameters(self, inits, lengths, rng, dtype, bias)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of shape (..., *normalized_shape), normalised."""
        x, axes = _of_lengths(self, x, self.weight)
        return layer_norm(x, self.weight, self.bias, axis=axes, eps=self.eps)

    def __repr__(self) -> str:
        return f"LayerNorm({', '.join(map(str, self.weight.shape))}{', bias=False' * (self.bias is None)})"


class RMSNorm(Module):
    """Each example with a mean square of 1 over its features, then ``* weight``; see :func:`tensorgrad.rms_norm`.

    Parameters
    ----------
    normalized_shape
        Lengths of the normalised axes, the last ones of the input: an integer, or a tuple.
    eps
        Added to the mean square.
    weight_init, rng
        Initial values, as for :class:`Dense`, and the generator that draws them where they are random.
    dtype
        Dtype of the weight.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.nn.RMSNorm(2)(np.array([[3.0, 4.0], [30.0, 40.0]])).data.round(3)
    array([[0.849, 1.131],
           [0.849, 1.131]], dtype=float32)
    """

    def __init__(
        self,
        normalized_shape: int | tuple[int, ...],
        eps: float = 1e-6,
        *,
        weight_init: Initialiser = "ones",
        rng: np.random.Generator | int | None = None,
        dtype: Any = np.float32,
    ) -> None:
        lengths = _lengths(self, normalized_shape, eps)
        self.eps = eps
        self.weight, _ = _parameters(self, {"weight_init": weight_init}, lengths, rng, dtype, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of shape (..., *normalized_shape), normalised."""
        x, axes = _of_lengths(self, x, self.weight)
        return rms_norm(x, self.weight, axis=axes, eps=self.eps)

    def __repr__(self) -> str:
        return f"RMSNorm({', '.join(map(str, self.weight.shape))})"


class GroupNorm(Module):
    """Each group of channels of each example with mean 0 and variance 1, then ``* weight + bias`` for each channel.

    See :func:`tensorgrad.group_norm`. It is the same in training and evaluation, and takes batches of any size.

    Parameters
    ----------
    num_groups
        Number of groups of successive channels; as many as there are channels is instance normalisation.
    num_channels
        Length of the second axis of the input.
    eps
        Added to the variance.
    weight_init, bias_init, rng
        Initial values, as for :class:`Dense`, and the generator that draws them where they are random.
    dtype
        Dtype of the parameters.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.nn.GroupNorm(2, 4)(np.array([[1.0, 3.0, 10.0, 30.0]])).data.round(3)
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        *,
        weight_init: Initialiser = "ones",
        bias_init: Initialiser = "zeros",
        rng: np.random.Generator | int | None = None,
        dtype: Any = np.float32,
    ) -> None:
        check_sizes("GroupNorm", num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups or eps < 0:
            raise ValueError(
                f"GroupNorm: num_groups must divide num_channels and eps not be negative, got {num_groups} groups of "
                f"{num_channels} channels, eps={eps}"
            )
        self.num_groups, self.eps = num_groups, eps
        inits = {"weight_init": weight_init, "bias_init": bias_init}
        self.weight, self.bias = _parameters(self, inits, (num_channels,), rng, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` of shape (examples, channels, *spatial), normalised."""
        x = in_dtype(self, x, self.weight.dtype)
        if x.ndim < 2 or x.shape[1:2] != self.weight.shape:
            channels = self.weight.shape[0]
            raise ValueError(f"{self!r}: the input must have shape (examples, {channels}, *spatial), got {x.shape}")
        return group_norm(x, self.num_groups, self.weight, self.bias, eps=self.eps)

    def __repr__(self) -> str:
        return f"GroupNorm({self.num_groups}, {self.weight.shape[0]})"


def _parameters(
    layer: Module, inits: dict[str, Initialiser], shape: tuple[int, ...], rng: object, dtype: object, bias: bool = True
) -> Any:
    """Weight and bias of a shape; without a bias, None in its place."""
    name, rng = type(layer).__name__, generator(rng)
    made = [parameter(name, init, inits[init], shape, rng, dtype) for init in list(inits)[: 1 + bias]]
    return made if bias else (*made, None)


def _lengths(layer: Module, normalized_shape: int | tuple[int, ...], eps: float) -> tuple[int, ...]:
    """The lengths of the normalised axes, checked."""
    name = type(layer).__name__
    lengths = tuple(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
    for length in lengths or (0,):
        check_sizes(name, normalized_shape=length)
    if eps < 0:
        raise ValueError(f"{name}: eps must not be negative, got {eps}")
    return lengths


def _of_lengths(layer: Module, x: Any, weight: Tensor) -> tuple[Any, tuple[int, ...]]:
    """The input of a layer, checked, and its normalised axes."""
    x, lengths = in_dtype(layer, x, weight.dtype), weight.shape
    if x.shape[-len(lengths) :] != lengths:
        raise ValueError(f"{layer!r}: the input must have shape (..., {', '.join(map(str, lengths))}), got {x.shape}")
    return x, tuple(range(-len(lengths), 0))
