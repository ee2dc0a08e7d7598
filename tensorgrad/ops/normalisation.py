"""Normalisation: mean 0 and variance 1 over the examples of a batch, or over the features of each example."""

from __future__ import annotations

from math import prod
from typing import Any, overload

import numpy as np

from .. import samples
from ..core import AnyArray, Array, Axis, Tensor, declare
from ..distributed import shared
from .conversion import as_operand, in_dtype
from .ranks import sum_over_ranks


def _deviation(centred: Any, axis: Axis, eps: float) -> AnyArray:
    """sqrt(mean square + eps), of what is centred the variance; squares of half precision would overflow."""
    wide = centred.astype(np.float32) if centred.dtype == np.float16 else centred
    return in_dtype(np.sqrt((wide * wide).mean(axis=axis, keepdims=True) + eps), centred.dtype)


def _standardise(x: AnyArray, *, axis: Axis, eps: float) -> AnyArray:
    """(x - mean) / sqrt(variance + eps), both over ``axis``."""
    centred = x - x.mean(axis=axis, keepdims=True)
    return centred / _deviation(centred, axis, eps)


def _standardise_rule(g: AnyArray, out: AnyArray, x: AnyArray, axis: Axis, eps: float) -> AnyArray:
    """(g - mean(g) - out mean(g out)) / deviation: what would change mean or variance is taken out."""
    centred = x - x.mean(axis=axis, keepdims=True)
    along = out * (g * out).mean(axis=axis, keepdims=True)
    return (g - g.mean(axis=axis, keepdims=True) - along) / _deviation(centred, axis, eps)


def _standardise_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw, min_ndim=1, min_length=1))
    axes = [-1, tuple(range(x.ndim)), 0, (0, x.ndim - 1) if x.ndim > 1 else (0,)]
    return (x,), {"axis": samples.choice(draw, axes), "eps": samples.choice(draw, [0.5, 0.1])}


standardise = declare(
    "standardise",
    _standardise,
    _standardise_rule,
    sample=_standardise_sample,
    expects="a floating array that is not empty along axes that it has",
)


@overload
def layer_norm(
    x: Tensor,
    weight: AnyArray | None = None,
    bias: AnyArray | None = None,
    *,
    axis: int | tuple[int, ...] = -1,
    eps: float = 1e-5,
) -> Tensor: ...
@overload
def layer_norm(
    x: Array, weight: Tensor, bias: AnyArray | None = None, *, axis: int | tuple[int, ...] = -1, eps: float = 1e-5
) -> Tensor: ...
@overload
def layer_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    axis: int | tuple[int, ...] = -1,
    eps: float = 1e-5,
) -> Any: ...
def layer_norm(
    x: AnyArray,
    weight: AnyArray | None = None,
    bias: AnyArray | None = None,
    *,
    axis: int | tuple[int, ...] = -1,
    eps: float = 1e-5,
) -> AnyArray:
    """Each example with mean 0 and variance 1 over its features, then ``* weight + bias`` (Ba, Kiros & Hinton 2016).

    ``(x - mean) / sqrt(variance + eps) * weight + bias``, mean and variance over ``axis``.

    Parameters
    ----------
    x
        Floating Tensor or array of any shape.
    weight, bias
        Of shapes that broadcast against ``x``, by custom those of its normalised axes at the end; None for none.
    axis
        The axes of the features: an integer or a tuple.
    eps
        Added to the variance.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.layer_norm(np.array([[1.0, 3.0], [10.0, 30.0]])).round(3)
    array([[-1.,  1.],
           [-1.,  1.]])
    """
    x = _floats("layer_norm", x)
    return _scaled(standardise(x, axis=axis if isinstance(axis, int) else tuple(axis), eps=float(eps)), weight, bias)


@overload
def batch_norm(
    x: Tensor,
    weight: AnyArray | None = None,
    bias: AnyArray | None = None,
    *,
    mean: AnyArray | None = None,
    var: AnyArray | None = None,
    eps: float = 1e-5,
) -> Tensor: ...
@overload
def batch_norm(
    x: Array,
    weight: Tensor,
    bias: AnyArray | None = None,
    *,
    mean: AnyArray | None = None,
    var: AnyArray | None = None,
    eps: float = 1e-5,
) -> Tensor: ...
@overload
def batch_norm(
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    mean: Array | None = None,
    var: Array | None = None,
    eps: float = 1e-5,
) -> Any: ...
def batch_norm(
    x: AnyArray,
    weight: AnyArray | None = None,
    bias: AnyArray | None = None,
    *,
    mean: AnyArray | None = None,
    var: AnyArray | None = None,
    eps: float = 1e-5,
) -> AnyArray:
    """Each channel with mean 0 and variance 1 over the batch, then ``* weight + bias`` (Ioffe & Szegedy 2015).

    ``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel. Without ``mean`` and ``var`` they are those of
    the batch, over examples and spatial axes, and the gradient takes this into account. Where ranks share a batch, they
    are those of all of it: see :func:`tensorgrad.distributed.global_batch`.

    Parameters
    ----------
    x
        Floating Tensor or array of shape (examples, channels, *spatial).
    weight, bias
        Of shape (channels,); None for none.
    mean, var
        Of shape (channels,), both or none: for evaluation, from training.
    eps
        Added to the variance.

    Raises
    ------
    ValueError
        If shapes do not fit, or a batch has at most one element for each channel.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> x = np.array([[1.0, 10.0], [3.0, 30.0]])
    >>> tg.batch_norm(x).round(3)
    array([[-1., -1.],
           [ 1.,  1.]])
    >>> tg.batch_norm(x, mean=np.zeros(2), var=np.ones(2), eps=0.0)
    array([[ 1., 10.],
           [ 3., 30.]])
    """
    x = _floats("batch_norm", x)
    if x.ndim < 2:
        raise ValueError(f"batch_norm: takes x of shape (examples, channels, *spatial), got shape {x.shape}")
    if (mean is None) != (var is None):
        raise ValueError("batch_norm: takes both mean= and var=, or neither")
    eps = float(eps)
    if mean is None and shared() is not None:
        mean, var = (moment.astype(x.dtype, copy=False) for moment in moments_over_ranks(x)[:2])
    given = {"weight": weight, "bias": bias, "mean": mean, "var": var}
    weight, bias, mean, var = (_per_channel("batch_norm", name, value, x) for name, value in given.items())
    if mean is not None:
        scale = 1 / np.sqrt(var + eps) if weight is None else weight / np.sqrt(var + eps)
        return _scaled(x - mean, scale, bias)
    if x.size <= x.shape[1]:
        raise ValueError(
            f"batch_norm: a batch of shape {x.shape} has at most one element for each channel, so there is no "
            "variance; if it is the last batch, smaller than the others, leave it out (drop_last) or choose a batch "
            "size that leaves no remainder of 1; for inference call model.eval() first, or give mean= and var="
        )
    return _scaled(standardise(x, axis=(0, *range(2, x.ndim)), eps=eps), weight, bias)


@overload
def group_norm(
    x: Tensor, num_groups: int, weight: AnyArray | None = None, bias: AnyArray | None = None, *, eps: float = 1e-5
) -> Tensor: ...
@overload
def group_norm(
    x: Array, num_groups: int, weight: Tensor, bias: AnyArray | None = None, *, eps: float = 1e-5
) -> Tensor: ...
@overload
def group_norm(
    x: Array, num_groups: int, weight: Array | None = None, bias: Array | None = None, *, eps: float = 1e-5
) -> Any: ...
def group_norm(
    x: AnyArray, num_groups: int, weight: AnyArray | None = None, bias: AnyArray | None = None, *, eps: float = 1e-5
) -> AnyArray:
    """Each group of channels of each example with mean 0 and variance 1, then ``* weight + bias`` (Wu & He 2018).

    Parameters
    ----------
    x
        Floating Tensor or array of shape (examples, channels, *spatial).
    num_groups
        Into how many groups of successive channels those are divided; as many as there are channels: instance
        normalisation (Ulyanov et al. 2016).
    weight, bias
        Of shape (channels,); None for none.
    eps
        Added to the variance.

    Raises
    ------
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.group_norm(np.array([[1.0, 3.0, 10.0, 30.0]]), 2).round(3)
    array([[-1.,  1., -1.,  1.]])
    """
    x = _floats("group_norm", x)
    if x.ndim < 2:
        raise ValueError(f"group_norm: takes x of shape (examples, channels, *spatial), got shape {x.shape}")
    if num_groups < 1 or x.shape[1] % num_groups:
        raise ValueError(f"group_norm: {x.shape[1]} channels cannot be divided into {num_groups} groups")
    given = {"weight": weight, "bias": bias}
    weight, bias = (_per_channel("group_norm", name, value, x) for name, value in given.items())
    groups = x.reshape(x.shape[0], num_groups, prod(x.shape[1:]) // num_groups)
    return _scaled(standardise(groups, axis=-1, eps=float(eps)).reshape(x.shape), weight, bias)


@overload
def rms_norm(
    x: Tensor, weight: AnyArray | None = None, *, axis: int | tuple[int, ...] = -1, eps: float = 1e-6
) -> Tensor: ...
@overload
def rms_norm(x: Array, weight: Tensor, *, axis: int | tuple[int, ...] = -1, eps: float = 1e-6) -> Tensor: ...
@overload
def rms_norm(x: Array, weight: Array | None = None, *, axis: int | tuple[int, ...] = -1, eps: float = 1e-6) -> Any: ...
def rms_norm(
    x: AnyArray, weight: AnyArray | None = None, *, axis: int | tuple[int, ...] = -1, eps: float = 1e-6
) -> AnyArray:
    """Each example with a mean square of 1 over its features, then ``* weight`` (Zhang & Sennrich 2019).

    ``x / sqrt(mean(x^2) + eps) * weight``, the mean over ``axis``.

    Parameters
    ----------
    x
        Floating Tensor or array of any shape.
    weight
        Of a shape that broadcasts against ``x``, by custom that of its normalised axes at the end; None for none.
    axis
        The axes of the features: an integer or a tuple.
    eps
        Added to the mean square.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.rms_norm(np.array([[3.0, 4.0]])).round(3)
    array([[0.849, 1.131]])
    """
    x = _floats("rms_norm", x)
    return _scaled(x / _deviation(x, axis if isinstance(axis, int) else tuple(axis), float(eps)), weight, None)


def moments_over_ranks(x: AnyArray) -> tuple[Any, Any, Any]:
    """Mean and variance for each channel, and of how many numbers they are, of the batch that all ranks share.

    In two messages, so that the variance is that of what is centred, and in float32 at least.
    """
    axes, channels = (0, *range(2, x.ndim)), x.shape[1]
    wide = x.astype(np.float32) if x.dtype == np.float16 else x
    here = np.asarray([x.size // channels], wide.dtype)
    sums = sum_over_ranks(np.concatenate([wide.sum(axis=axes), here]))
    mean, count = sums[:-1] / sums[-1], sums[-1]
    centred = wide - _per_channel("batch_norm", "mean", mean, x)
    return mean, sum_over_ranks((centred * centred).sum(axis=axes)) / count, count


def _scaled(x: AnyArray, weight: AnyArray | None, bias: AnyArray | None) -> AnyArray:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _floats(name: str, x: AnyArray) -> AnyArray:
    x = as_operand(x)
    if x.dtype.kind != "f":
        raise TypeError(f"{name}: takes floats, got {x.dtype}; use x.astype(np.float32)")
    return x


def _per_channel(function: str, name: str, value: Any, x: AnyArray) -> Any:
    """A value for each channel as an array that broadcasts against ``x``."""
    if value is None:
        return None
    value = value if hasattr(value, "shape") else np.asarray(value, x.dtype)
    if value.shape != x.shape[1:2]:
        raise ValueError(f"{function}: {name} must have shape ({x.shape[1]},), got {value.shape}")
    return value.reshape((x.shape[1],) + (1,) * (x.ndim - 2))
