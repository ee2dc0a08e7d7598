"""Ops on the axes of one array: reshape, transpose, turn, broadcast, convert; and questions about shapes."""

from __future__ import annotations

from math import prod
from operator import index
from typing import Any, Callable

import numpy as np

from .. import samples
from ..core import OPS, AnyArray, Axis, DType, Tensor, declare, implements, refuse, refuses, sum_to_shape
from .conversion import as_tensor, hollow, plain, without_history

# Shapes


def _reshape_sample(draw: samples.Draw) -> samples.Operands:
    lengths = samples.shape(draw, min_length=1)
    target = samples.choice(draw, [-1, lengths[::-1], (prod(lengths),), (1, *lengths), (*lengths[1:], -1)])
    return (samples.reals(draw, lengths),), {"shape": target}


declare(
    "reshape",
    lambda x, *, shape: x.reshape(shape),
    lambda g, out, x, shape: g.reshape(x.shape),
    sample=_reshape_sample,
    expects="an array and a shape of as many elements",
    complex_rules="direct",
)


def _in_order(function: str, x: AnyArray, shape: Any, order: str) -> AnyArray:
    """``x`` in another shape; in Fortran's order, both its axes and those of the shape are taken in reverse."""
    if order in ("C", "c", None):
        return OPS["reshape"](x, shape=shape)
    if order not in ("F", "f"):
        refuse(function, order=order)  # A and K would depend on how the elements lie in memory
    reversed_shape = shape[::-1] if np.ndim(shape) else shape
    return np.transpose(OPS["reshape"](np.transpose(x), shape=reversed_shape))


@implements(np.reshape, on_complex=True)
def _reshape(
    a: AnyArray, /, shape: object = None, order: str = "C", *, newshape: object = None, copy: object = None
) -> AnyArray:
    refuse("np.reshape", copy=None if copy else copy)  # a copy may be asked for, not forbidden
    shape = newshape if shape is None else shape
    if shape is None:
        raise TypeError("np.reshape: the argument shape= is missing")
    return _in_order("np.reshape", np.copy(a) if copy else a, plain(shape), order)


@implements(np.ravel, on_complex=True)
def _ravel(a: AnyArray, order: str = "C") -> AnyArray:
    return _in_order("np.ravel", a, -1, order)


def _transpose_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw))
    order = np.argsort(draw.uniform((x.ndim,), 0, 1))
    axes = tuple(int(a) - x.ndim * draw.integer(0, 1) for a in order)
    return (x,), {"axes": samples.choice(draw, [None, axes])}


def _transpose_rule(g: AnyArray, out: AnyArray, x: AnyArray, axes: Axis) -> AnyArray:
    inverse = None if axes is None else tuple(np.argsort([a % x.ndim for a in np.ravel(axes)]).tolist())
    return np.transpose(g, inverse)


declare(
    "transpose",
    lambda x, *, axes=None: x.transpose(axes),
    _transpose_rule,
    sample=_transpose_sample,
    numpy=np.transpose,
    expects="an array and a permutation of its axes",
    complex_rules="direct",
)


def _swapaxes_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw, min_ndim=1))
    return (x,), {name: draw.integer(-x.ndim, x.ndim - 1) for name in ("axis1", "axis2")}


declare(
    "swapaxes",
    lambda x, *, axis1, axis2: x.swapaxes(axis1, axis2),
    lambda g, out, x, axis1, axis2: np.swapaxes(g, axis1, axis2),
    sample=_swapaxes_sample,
    numpy=np.swapaxes,
    expects="an array and two of its axes",
    complex_rules="direct",
)


def _permuted(function: Callable[..., AnyArray]) -> Callable[..., AnyArray]:
    """``function`` as a transpose; its permutation is read off an empty array whose axes are 0, 1, 2, ... long."""

    def permute(a: AnyArray, *args: object, **keywords: object) -> AnyArray:
        return OPS["transpose"](a, axes=function(np.empty(range(a.ndim), bool), *args, **keywords).shape)

    return permute


_permutations: tuple[Callable[..., AnyArray], ...] = (np.moveaxis, np.rollaxis, np.matrix_transpose)
for _function in _permutations:
    implements(_function, on_complex=True)(_permuted(_function))


def _squeeze_sample(draw: samples.Draw) -> samples.Operands:
    lengths = tuple(samples.choice(draw, [1, 2, 3]) for _ in range(draw.integer(0, 3)))
    ones = tuple(a for a, length in enumerate(lengths) if length == 1)
    axes = [None, ones] + ([ones[0], ones[-1] - len(lengths)] if ones else [])
    return (samples.reals(draw, lengths),), {"axis": samples.choice(draw, axes)}


declare(
    "squeeze",
    lambda x, *, axis=None: x.squeeze(axis=axis)[...],  # a view also where there is nothing to squeeze
    lambda g, out, x, axis: g.reshape(x.shape),
    sample=_squeeze_sample,
    numpy=np.squeeze,
    expects="an array and axes of length 1",
    complex_rules="direct",
)


def _expand_dims_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw))
    return (x,), {"axis": samples.choice(draw, [0, -1, x.ndim, (0, 1), (-1, 0)])}


declare(
    "expand_dims",
    lambda x, *, axis: np.expand_dims(x, axis),
    lambda g, out, x, axis: g.reshape(x.shape),
    sample=_expand_dims_sample,
    numpy=np.expand_dims,
    expects="an array and positions for new axes",
    complex_rules="direct",
)


def _at_least(function: Callable[..., AnyArray]) -> Callable[..., AnyArray]:
    """``np.atleast_1d``, ``atleast_2d`` and ``atleast_3d`` as a reshape; NumPy says to which shape."""

    def raised(x: Tensor) -> Tensor:
        shape = function(hollow(x)).shape
        return x if shape == x.shape else x.reshape(shape)

    def at_least(*arys: Any) -> Any:
        results = tuple(raised(as_tensor(x)) for x in arys)
        return results[0] if len(results) == 1 else results

    return at_least


for _function in (np.atleast_1d, np.atleast_2d, np.atleast_3d):
    implements(_function, on_complex=True)(_at_least(_function))


def _flip_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw))
    return (x,), {"axis": samples.axis(draw, x.ndim)}


declare(
    "flip",
    lambda x, *, axis=None: np.flip(x, axis),
    lambda g, out, x, axis: np.flip(g, axis),
    sample=_flip_sample,
    numpy=np.flip,
    expects="an array and axes that it has",
    complex_rules="direct",
)


@implements(np.fliplr, on_complex=True)
def _fliplr(m: AnyArray) -> AnyArray:
    if m.ndim < 2:
        raise ValueError(f"fliplr takes an array of at least two dimensions, got shape {m.shape}")
    return OPS["flip"](m, axis=1)


@implements(np.flipud, on_complex=True)
def _flipud(m: AnyArray) -> AnyArray:
    if m.ndim < 1:
        raise ValueError("flipud takes an array of at least one dimension, got shape ()")
    return OPS["flip"](m, axis=0)


def _rot90_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw, min_ndim=2))
    axes = samples.choice(draw, [(0, 1), (1, 0), (-1, 0), (0, -1)])
    return (x,), {"k": draw.integer(-5, 5), "axes": axes}


declare(
    "rot90",
    lambda x, *, k=1, axes=(0, 1): np.rot90(x, index(k), axes),
    lambda g, out, x, k, axes: np.rot90(g, -index(k), axes),
    sample=_rot90_sample,
    numpy=np.rot90,
    expects="an array of at least two dimensions, a number of quarter turns and two axes",
    complex_rules="direct",
)


def _roll_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw))
    shift = draw.integer(-7, 7)
    if x.ndim == 0 or draw.integer(0, 3) == 0:
        return (x,), {"shift": shift, "axis": None}
    axis = draw.integer(-x.ndim, x.ndim - 1)
    several = {"shift": (shift, draw.integer(-7, 7)), "axis": (axis, draw.integer(-x.ndim, x.ndim - 1))}
    one_shift = {"shift": shift, "axis": several["axis"]}
    return (x,), samples.choice(draw, [{"shift": shift, "axis": axis}, several, one_shift])


def _roll_rule(g: AnyArray, out: AnyArray, x: AnyArray, shift: Any, axis: Axis) -> AnyArray:
    return np.roll(g, tuple(-int(s) for s in shift) if np.ndim(shift) else -int(shift), axis)


declare(
    "roll",
    lambda x, *, shift, axis=None: np.roll(x, shift, axis),
    _roll_rule,
    sample=_roll_sample,
    expects="an array, shifts and as many axes that it has",
    complex_rules="direct",
)


@implements(np.roll, on_complex=True)
def _roll(a: AnyArray, shift: object, axis: Axis = None) -> AnyArray:
    return OPS["roll"](a, shift=plain(shift), axis=plain(axis))


def _broadcast_to_sample(draw: samples.Draw) -> samples.Operands:
    first, second = samples.broadcastable(draw, 2)
    return (samples.reals(draw, first),), {"shape": np.broadcast_shapes(first, second)}


declare(
    "broadcast_to",
    lambda x, *, shape: np.broadcast_to(x, shape),
    lambda g, out, x, shape: sum_to_shape(g, x.shape),
    sample=_broadcast_to_sample,
    expects="an array and a shape that it broadcasts to",
    complex_rules="direct",
)


@implements(np.broadcast_to, on_complex=True)
def _broadcast_to(array: AnyArray, shape: object, subok: bool = False) -> AnyArray:
    return OPS["broadcast_to"](array, shape=shape)


@implements(np.broadcast_arrays, on_complex=True)
def _broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    tensors = list(map(as_tensor, args))
    shape = np.broadcast_shapes(*(x.shape for x in tensors))
    return tuple(x if x.shape == shape else np.broadcast_to(x, shape) for x in tensors)


@implements(np.meshgrid, on_complex=True)
def _meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}")
    axes = list(range(len(xi)))
    if indexing == "xy":
        axes[:2] = axes[:2][::-1]
    lengths = [[as_tensor(x).size if a == axis else 1 for a in axes] for axis, x in enumerate(xi)]
    open_grids = tuple(as_tensor(x).reshape(shape) for x, shape in zip(xi, lengths))
    grids: Any = open_grids if sparse else np.broadcast_arrays(*open_grids)
    return tuple(map(np.copy, grids)) if copy else grids


def _astype_rule(g: AnyArray, out: AnyArray, x: AnyArray, dtype: DType) -> AnyArray:
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
    complex_rules="direct",
)


@implements(np.astype, on_complex=True)
def _astype(x: AnyArray, dtype: object, /, *, copy: bool = True, device: object = None) -> AnyArray:
    refuse("np.astype", device=device)
    return OPS["astype"](x, dtype=dtype)


@implements(np.copy, on_complex=True)
def _copy(a: AnyArray, order: str = "K", subok: bool = False) -> AnyArray:
    return OPS["astype"](a, dtype=a.dtype)


@implements(np.full_like, on_complex=True)
def _full_like(
    a: Any,
    fill_value: Any,
    dtype: DType = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> AnyArray:
    if not isinstance(fill_value, Tensor):
        likeness = {"dtype": dtype, "order": order, "subok": subok, "shape": shape, "device": device}
        return Tensor(np.full_like(a.numpy(), fill_value, **likeness))
    filling = OPS["astype"](fill_value, dtype=a.dtype if dtype is None else dtype)
    return OPS["broadcast_to"](filling, shape=a.shape if shape is None else shape)


# Functions without derivatives


def _new(function: Callable[..., AnyArray]) -> None:
    """Let ``function`` make a Tensor like a Tensor, so that its elements can be assigned to."""

    @implements(function, differentiable=False)
    def new(*args: Any, **keywords: Any) -> AnyArray:
        return Tensor(function(*map(without_history, args), **{n: without_history(x) for n, x in keywords.items()}))


def _asks(function: Callable[..., object], stand_in: Callable[[Any], Any]) -> None:
    """Call ``function`` with each Tensor replaced by something else; its result is not a Tensor."""

    @implements(function, differentiable=False)
    def answer(*args: object, **keywords: object) -> object:
        return function(*map(stand_in, args), **{name: stand_in(value) for name, value in keywords.items()})


_of_shapes: tuple[Callable[..., object], ...] = (
    *(np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.common_type),
)
_of_arrays: tuple[Callable[..., object], ...] = (
    *(np.min_scalar_type, np.shares_memory, np.may_share_memory),
    *(np.array_repr, np.array_str, np.array2string, np.save, np.savez, np.savez_compressed, np.savetxt),
)
for _function in (np.zeros_like, np.ones_like, np.empty_like):
    _new(_function)
for _asked in _of_shapes:
    _asks(_asked, hollow)
for _asked in _of_arrays:
    _asks(_asked, without_history)


refuses(np.trim_zeros, "its shape depends on values: take x[start:stop] with the limits found on tensor.numpy()")
