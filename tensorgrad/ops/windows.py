"""Sliding windows over the spatial axes of images, and their adjoint: what convolution and pooling are made of.

Arrays are of shape (examples, channels, *spatial), with one to three spatial axes or more. A window has a ``kernel`` of
elements, ``dilation`` apart; from one window to the next there is a ``stride``; ``padding`` is what is added at either
end. All are tuples with an entry per spatial axis, ``padding`` of pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from operator import index
from typing import Any, Union

import numpy as np

from .. import samples
from ..core import OPS, AnyArray, declare

PerAxis = Union[int, Sequence[int]]
"""A number for all spatial axes, or one for each."""

Padding = Union[PerAxis, str, Sequence[Sequence[int]]]
"""The same, ``"same"``, ``"valid"``, or a pair (before, after) for each axis."""

Lengths = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


def sliding_windows(
    x: AnyArray, *, kernel: Lengths, stride: Lengths, dilation: Lengths, padding: Pairs, fill: Any = 0
) -> Any:
    """A view of shape (*kernel, examples, channels, *windows) into ``x`` padded with ``fill``."""
    if is_padded(padding):
        x = np.pad(x, ((0, 0), (0, 0), *padding), constant_values=fill)
    n = len(kernel)
    view = np.lib.stride_tricks.sliding_window_view(x, reach(kernel, dilation), axis=tuple(range(2, 2 + n)))
    view = view[_spatial([slice(None, None, step) for step in (*stride, *dilation)])]
    return view.transpose(*range(2 + n, 2 + 2 * n), *range(2 + n))


def overlap_add(
    parts: AnyArray, *, shape: Lengths, kernel: Lengths, stride: Lengths, dilation: Lengths, padding: Pairs
) -> Any:
    """An array of ``shape`` into which every window is added where it was taken from, without the padding."""
    n = len(kernel)
    whole = np.zeros_like(parts, shape=(*shape[:2], *(low + m + high for m, (low, high) in zip(shape[2:], padding))))
    for offset in product(*map(range, kernel)):
        starts = [step * o for step, o in zip(dilation, offset)]
        stops = [start + step * (m - 1) + 1 for start, step, m in zip(starts, stride, parts.shape[-n:])]
        whole[_spatial(map(slice, starts, stops, stride))] += parts[offset]
    if not is_padded(padding):
        return whole
    return whole[_spatial(slice(low, low + m) for m, (low, _) in zip(shape[2:], padding))].copy()


def is_padded(padding: Pairs) -> bool:
    """Whether there is any."""
    return any(low or high for low, high in padding)


def _spatial(slices: Iterable[slice]) -> tuple[Any, ...]:
    """An index that slices the axes at the end."""
    return (..., *slices)


def windows_sample(draw: samples.Draw) -> tuple[Lengths, dict[str, Any]]:
    """A shape of images and the settings of windows that fit it."""
    n = samples.choice(draw, [1, 2, 1, 2, 3])
    kernel, stride, dilation = (tuple(draw.integer(1, 2) for _ in range(n)) for _ in range(3))
    padding = tuple((draw.integer(0, 1), draw.integer(0, 1)) for _ in range(n))
    least = [max(1, r - low - high) for r, (low, high) in zip(reach(kernel, dilation), padding)]
    spatial = tuple(length + draw.integer(0, 2 if n == 1 else 1 if n == 2 else 0) for length in least)
    shape = (samples.choice(draw, [1, 2, 0]), draw.integer(1, 2), *spatial)
    return shape, {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}


def _windows_sample(draw: samples.Draw) -> samples.Operands:
    shape, settings = windows_sample(draw)
    return (samples.reals(draw, shape),), {**settings, "fill": samples.choice(draw, [0, 1.5])}


def _overlap_add_sample(draw: samples.Draw) -> samples.Operands:
    shape, settings = windows_sample(draw)
    parts = sliding_windows(np.zeros(shape), **settings).shape
    return (samples.reals(draw, parts),), {**settings, "shape": shape}


declare(
    "windows",
    sliding_windows,
    lambda g, out, x, fill, **settings: OPS["overlap_add"](g, shape=x.shape, **settings),
    sample=_windows_sample,
    expects="images (examples, channels, *spatial) not smaller than a window",
)
declare(
    "overlap_add",
    overlap_add,
    lambda g, out, parts, shape, **settings: OPS["windows"](g, **settings),
    sample=_overlap_add_sample,
    expects="windows (*kernel, examples, channels, *windows)",
    opaque=True,
)


# The settings as users write them


def reach(kernel: Lengths, dilation: Lengths) -> Lengths:
    """How far a window stretches along each axis."""
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation))


def check_fits(what: str, spatial: Lengths, padding: Pairs, spans: Lengths) -> None:
    """Raise unless windows that stretch over ``spans`` fit images of ``spatial`` lengths; ``what`` starts the error."""
    for length, (low, high), span in zip(spatial, padding, spans):
        if length + low + high < span:
            raise ValueError(
                f"{what} that stretches over {span} elements does not fit an axis of {length} with padding "
                f"{(low, high)}"
            )


def per_axis(function: str, name: str, value: object, n: int, least: int = 1) -> Lengths:
    """One integer for all ``n`` spatial axes, or a sequence with one for each, as a tuple; else an error."""
    values: tuple[Any, ...] = tuple(value) if isinstance(value, Sequence) else (value,) * n
    try:
        lengths = tuple(map(index, values))
    except TypeError:
        lengths = ()
    if len(lengths) != n or min(lengths) < least:
        raise ValueError(
            f"{function}: {name} must be an integer of at least {least}, or one for each of the {n} spatial axes, "
            f"got {value!r}"
        )
    return lengths


def pairs(function: str, padding: object, shape: Lengths, kernel: Lengths, stride: Lengths, dilation: Lengths) -> Pairs:
    """``padding`` as (before, after) for each spatial axis of images of ``shape``.

    ``"valid"`` is none; ``"same"`` is what gives ceil(length / stride) windows, an odd element going to the end.
    """
    n = len(kernel)
    if isinstance(padding, str):
        if padding == "valid":
            return ((0, 0),) * n
        if padding != "same":
            raise ValueError(f"{function}: padding must be 'same', 'valid' or integers, got {padding!r}")
        lacking = (
            max(0, (-(-length // step) - 1) * step + r - length)
            for length, step, r in zip(shape[2:], stride, reach(kernel, dilation))
        )
        return tuple((total // 2, total - total // 2) for total in lacking)
    if isinstance(padding, Sequence) and len(padding) == n and all(isinstance(p, Sequence) for p in padding):
        both = [per_axis(function, "padding", p, 2, least=0) for p in padding]
        return tuple((low, high) for low, high in both)
    return tuple((p, p) for p in per_axis(function, "padding", padding, n, least=0))
