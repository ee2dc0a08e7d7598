"""Sliding windows over the spatial axes of images: what convolution and pooling are made of.

A window has a ``kernel`` of elements, ``dilation`` apart; from one window to the next there is a ``stride``;
``padding`` is what is added at either end. All are tuples with an entry per spatial axis, ``padding`` of pairs.

Images are (examples, channels, *spatial). The ops work on them with the examples last, and leave their results so in
memory: then what an offset in a window picks from an image, (channels, *windows, examples), is long runs of memory, of
at least all examples, which NumPy copies, adds and compares at full speed. Elementwise functions keep that layout, so
between layers nothing is moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from operator import index
from typing import Any, Union

import numpy as np

from .. import samples
from ..core import AnyArray

PerAxis = Union[int, Sequence[int]]
"""A number for all spatial axes, or one for each."""

Padding = Union[PerAxis, str, Sequence[Sequence[int]]]
"""The same, ``"same"``, ``"valid"``, or a pair (before, after) for each axis."""

Lengths = tuple[int, ...]
Pairs = tuple[tuple[int, int], ...]


def transposed(x: AnyArray) -> Any:
    """(examples, channels, *spatial) as (channels, *spatial, examples), a view."""
    return x.transpose(*range(1, x.ndim), 0)


def examples_last(x: AnyArray) -> AnyArray:
    """The same in C order; a copy where it has to be."""
    x = transposed(x)
    return x.copy() if type(x) is np.ndarray and not x.flags.c_contiguous else x


def examples_first(x: AnyArray) -> AnyArray:
    """(channels, *spatial, examples) as (examples, channels, *spatial), a view."""
    return x.transpose(x.ndim - 1, *range(x.ndim - 1))


def window_counts(spatial: Lengths, kernel: Lengths, stride: Lengths, dilation: Lengths, padding: Pairs) -> Lengths:
    """How many windows there are along each axis."""
    return tuple(
        (length + low + high - span) // step + 1
        for length, (low, high), span, step in zip(spatial, padding, reach(kernel, dilation), stride)
    )


@lru_cache(maxsize=256)
def along_axis(
    length: int, windows: range, kernel: int, stride: int, dilation: int, padding: tuple[int, int]
) -> list[tuple[slice, slice]]:
    """For each offset in a window: which of the windows have an element of the image there, not padding, and which.

    >>> along_axis(4, range(4), kernel=3, stride=1, dilation=1, padding=(1, 1))[0]  # of 0 [0 1 2 3] 0
    (slice(1, 4, None), slice(0, 3, 1))
    """
    found = []
    for offset in range(kernel):
        shift = dilation * offset - padding[0]
        start = max(windows.start, -(shift // stride))
        stop = max(start, min(windows.stop, (length - 1 - shift) // stride + 1))
        inside = slice(start - windows.start, stop - windows.start)
        first = stride * start + shift
        elements = slice(first, first + stride * (stop - start - 1) + 1, stride) if stop > start else slice(0, 0)
        found.append((inside, elements))
    return found


@lru_cache(maxsize=256)
def offsets(
    spatial: Lengths, windows: tuple[range, ...], kernel: Lengths, stride: Lengths, dilation: Lengths, padding: Pairs
) -> list[tuple[Any, Any, Any]]:
    """Each offset in a window, which windows have an element of the images there, and these elements.

    All three as indices of arrays that have their channels first.
    """
    axes = [along_axis(*settings) for settings in zip(spatial, windows, kernel, stride, dilation, padding)]
    every, found = slice(None), []
    for offset in product(*map(range, kernel)):
        inside, elements = zip(*(axis[o] for axis, o in zip(axes, offset)))
        found.append(((every, *offset), (every, *inside), (every, *elements)))
    return found


@lru_cache(maxsize=256)
def in_padding(
    spatial: Lengths, windows: tuple[range, ...], kernel: Lengths, stride: Lengths, dilation: Lengths, padding: Pairs
) -> list[tuple[Any, ...]]:
    """Which elements of windows are padding, as indices of arrays (channels, *kernel, *windows, ...)."""
    found = []
    for offset, inside, _ in offsets(spatial, windows, kernel, stride, dilation, padding):
        for axis, (kept, along) in enumerate(zip(inside[1:], windows)):
            for rest in (slice(0, kept.start), slice(kept.stop, len(along))):
                if rest.stop > rest.start:
                    found.append((*offset, *(slice(None),) * axis, rest))
    return found


def is_padded(padding: Pairs) -> bool:
    """Whether there is any."""
    return any(low or high for low, high in padding)


def windows_sample(draw: samples.Draw) -> tuple[Lengths, dict[str, Any]]:
    """A shape of images and the settings of windows that fit it."""
    n = samples.choice(draw, [1, 2, 1, 2, 3])
    kernel, stride, dilation = (tuple(draw.integer(1, 2) for _ in range(n)) for _ in range(3))
    padding = tuple((draw.integer(0, 1), draw.integer(0, 1)) for _ in range(n))
    least = [max(1, r - low - high) for r, (low, high) in zip(reach(kernel, dilation), padding)]
    spatial = tuple(length + draw.integer(0, 2 if n == 1 else 1 if n == 2 else 0) for length in least)
    shape = (samples.choice(draw, [1, 2, 0]), draw.integer(1, 2), *spatial)
    return shape, {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}


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
