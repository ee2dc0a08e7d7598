"""Ops that move elements without changing them: reshape, transpose, broadcast, join, convert."""

from __future__ import annotations

from math import prod
from typing import Any, Callable

import numpy as np

from .. import samples
from ..tensor import OPS, declare, implements, refuse, sum_to_shape


def _reshape_sample(draw: samples.Draw) -> Any:
    lengths = samples.shape(draw, min_length=1)
    target = samples.choice(draw, [-1, lengths[::-1], (prod(lengths),), (1, *lengths), (*lengths[1:], -1)])
    return (samples.reals(draw, lengths),), {"shape": target}


declare(
    "reshape",
    lambda x, *, shape: x.reshape(shape),
    lambda g, out, x, shape: g.reshape(x.shape),
    sample=_reshape_sample,
    expects="an array and a shape of as many elements",
)


@implements(np.reshape)
def _reshape(a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None) -> Any:
    if order != "C":
        refuse("np.reshape", order=order)
    refuse("np.reshape", copy=copy)
    return OPS["reshape"](a, shape=newshape if shape is None else shape)


@implements(np.ravel)
def _ravel(a: Any, order: str = "C") -> Any:
    if order != "C":
        refuse("np.ravel", order=order)
    return OPS["reshape"](a, shape=-1)


def _transpose_sample(draw: samples.Draw) -> Any:
    x = samples.reals(draw, samples.shape(draw))
    order = np.argsort(draw.uniform((x.ndim,), 0, 1))
    axes = tuple(int(a) - x.ndim * draw.integer(0, 1) for a in order)
    return (x,), {"axes": samples.choice(draw, [None, axes])}


def _transpose_rule(g: Any, out: Any, x: Any, axes: Any) -> Any:
    inverse = None if axes is None else tuple(np.argsort([a % x.ndim for a in axes]).tolist())
    return np.transpose(g, inverse)


declare(
    "transpose",
    lambda x, *, axes=None: x.transpose(axes),
    _transpose_rule,
    sample=_transpose_sample,
    numpy=np.transpose,
    expects="an array and a permutation of its axes",
)


def _swapaxes_sample(draw: samples.Draw) -> Any:
    x = samples.reals(draw, samples.shape(draw, min_ndim=1))
    return (x,), {name: draw.integer(-x.ndim, x.ndim - 1) for name in ("axis1", "axis2")}


declare(
    "swapaxes",
    lambda x, *, axis1, axis2: x.swapaxes(axis1, axis2),
    lambda g, out, x, axis1, axis2: np.swapaxes(g, axis1, axis2),
    sample=_swapaxes_sample,
    numpy=np.swapaxes,
    expects="an array and two of its axes",
)


def _squeeze_sample(draw: samples.Draw) -> Any:
    lengths = tuple(samples.choice(draw, [1, 2, 3]) for _ in range(draw.integer(0, 3)))
    ones = tuple(a for a, length in enumerate(lengths) if length == 1)
    axes = [None, ones] + ([ones[0], ones[-1] - len(lengths)] if ones else [])
    return (samples.reals(draw, lengths),), {"axis": samples.choice(draw, axes)}


declare(
    "squeeze",
    lambda x, *, axis=None: x.squeeze(axis=axis),
    lambda g, out, x, axis: g.reshape(x.shape),
    sample=_squeeze_sample,
    numpy=np.squeeze,
    expects="an array and axes of length 1",
)


def _expand_dims_sample(draw: samples.Draw) -> Any:
    x = samples.reals(draw, samples.shape(draw))
    return (x,), {"axis": samples.choice(draw, [0, -1, x.ndim, (0, 1), (-1, 0)])}


declare(
    "expand_dims",
    lambda x, *, axis: np.expand_dims(x, axis),
    lambda g, out, x, axis: g.reshape(x.shape),
    sample=_expand_dims_sample,
    numpy=np.expand_dims,
    expects="an array and positions for new axes",
)


def _broadcast_to_sample(draw: samples.Draw) -> Any:
    first, second = samples.broadcastable(draw, 2)
    return (samples.reals(draw, first),), {"shape": np.broadcast_shapes(first, second)}


declare(
    "broadcast_to",
    lambda x, *, shape: np.broadcast_to(x, shape),
    lambda g, out, x, shape: sum_to_shape(g, x.shape),
    sample=_broadcast_to_sample,
    expects="an array and a shape that it broadcasts to",
)


@implements(np.broadcast_to)
def _broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    return OPS["broadcast_to"](array, shape=shape)


def _astype_rule(g: Any, out: Any, x: Any, dtype: Any) -> Any:
    return g  # which the engine gives the dtype of x


declare(
    "astype",
    lambda x, *, dtype: x.astype(dtype),
    _astype_rule,
    sample=lambda draw: (
        (samples.reals(draw, samples.shape(draw)),),
        {"dtype": np.dtype(samples.choice(draw, [np.float64, np.complex128]))},
    ),
    expects="an array and a numeric dtype",
)


@implements(np.astype)
def _astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    refuse("np.astype", device=device)
    return OPS["astype"](x, dtype=dtype)


def _join_sample(draw: samples.Draw) -> Any:
    lengths = list(samples.shape(draw, min_ndim=1))
    axis = draw.integer(-len(lengths), len(lengths) - 1)
    parts = []
    for _ in range(draw.integer(1, 3)):
        lengths[axis] = draw.integer(0, 3)
        parts.append(samples.reals(draw, tuple(lengths)))
    return tuple(parts), {"axis": axis}


def _concatenate_rule(g: Any, out: Any, *arrays: Any, axis: int) -> Any:
    """Each operand's own stretch of the gradient."""
    ends = np.cumsum([array.shape[axis] for array in arrays]).tolist()
    stretches = [slice(start, end) for start, end in zip([0, *ends], ends)]
    indices = [tuple([slice(None)] * (axis % out.ndim) + [stretch]) for stretch in stretches]
    return [g[index] for index in indices]


declare(
    "concatenate",
    lambda *arrays, axis=0: np.concatenate(arrays, axis=axis),
    _concatenate_rule,
    sample=_join_sample,
    expects="arrays whose shapes agree except along axis",
)


@implements(np.concatenate)
def _concatenate(arrays: Any, axis: Any = 0, out: Any = None, dtype: Any = None, casting: str = "same_kind") -> Any:
    refuse("np.concatenate", out=out, dtype=dtype, casting=None if casting == "same_kind" else casting)
    if axis is None:
        return OPS["concatenate"](*(np.ravel(array) for array in arrays), axis=0)
    return OPS["concatenate"](*arrays, axis=axis)


@implements(np.stack)
def _stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    refuse("np.stack", out=out, dtype=dtype, casting=None if casting == "same_kind" else casting)
    arrays = list(arrays)
    shapes = {np.shape(array) for array in arrays}
    if len(shapes) != 1:
        raise ValueError(f"stack takes at least one array, all of one shape; got {sorted(shapes)}")
    return OPS["concatenate"](*(np.expand_dims(array, axis) for array in arrays), axis=axis)


def _of_the_data(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, *args, **keywords: function(a.numpy(), *args, **keywords)


# Questions about shape have plain answers, and arrays made in a tensor's likeness are constants.
for _function in (np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.full_like):
    implements(_function)(_of_the_data(_function))
