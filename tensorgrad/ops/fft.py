"""Discrete Fourier transforms, for real losses of complex spectra.

With y = F x, where F[j, k] = exp(-2 pi i j k / n), the gradient is F^H g: the inverse transform without its factor 1/n.
``norm`` says where that factor is, so the adjoint of a transform is the inverse one with ``norm`` swapped. The gradient
of an input that was padded is cropped, that of one that was cropped is padded.

Of the n bins of a real signal only n // 2 + 1 are kept, as the others are their conjugates. Each bin thus stands for
two, but for the first and, if n is even, the last, whose imaginary parts do not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

import numpy as np

from .. import samples
from ..core import OPS, AnyArray, asarray_like, declare, implements, refuse
from .conversion import real_part

_SWAPPED: dict[Any, Any] = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}
"""The ``norm`` with which the inverse transform is the adjoint of one with the given ``norm``."""


def _resized(x: AnyArray, length: int, axis: int) -> AnyArray:
    """Cropped, or padded with zeros, to ``length`` along ``axis``."""
    if x.shape[axis] == length:
        return x
    axis %= x.ndim
    index = (*[slice(None)] * axis, slice(min(length, x.shape[axis])))
    if x.shape[axis] > length:
        return x[index]
    return OPS["scatter"](x, index=index, shape=(*x.shape[:axis], length, *x.shape[axis + 1 :]))


def _weighted(spectrum: AnyArray, weight: float, n: int, axis: int) -> AnyArray:
    """The spectrum of a real signal of length ``n`` times ``weight``, but for the bins that stand for one only."""
    weights = np.full(n // 2 + 1, weight, np.finfo(spectrum.dtype).dtype)
    weights[0] = 1
    if n % 2 == 0:
        weights[-1] = 1
    along = [1] * spectrum.ndim
    along[axis] = len(weights)
    return spectrum * asarray_like(weights.reshape(along), spectrum)


def _fft_rule(g: AnyArray, out: AnyArray, x: AnyArray, n: object, axis: int, norm: str | None) -> AnyArray:
    return _resized(np.fft.ifft(g, axis=axis, norm=_SWAPPED[norm]), x.shape[axis], axis)


def _ifft_rule(g: AnyArray, out: AnyArray, x: AnyArray, n: object, axis: int, norm: str | None) -> AnyArray:
    return _resized(np.fft.fft(g, axis=axis, norm=_SWAPPED[norm]), x.shape[axis], axis)


def _rfft_rule(g: AnyArray, out: AnyArray, x: AnyArray, n: Any, axis: int, norm: str | None) -> AnyArray:
    n = x.shape[axis] if n is None else n
    signal = np.fft.irfft(_weighted(g, 0.5, n, axis), n=n, axis=axis, norm=_SWAPPED[norm])
    return _resized(signal, x.shape[axis], axis)


def _irfft_rule(g: AnyArray, out: AnyArray, x: AnyArray, n: object, axis: int, norm: str | None) -> AnyArray:
    spectrum = _weighted(np.fft.rfft(g, axis=axis, norm=_SWAPPED[norm]), 2, out.shape[axis], axis)
    part = _resized(spectrum, x.shape[axis], axis)
    return part if x.dtype.kind == "c" else real_part(part).astype(x.dtype)


def _transform(function: Callable[..., AnyArray]) -> Callable[..., AnyArray]:
    return lambda x, *, n=None, axis=-1, norm=None: function(x, n=n, axis=axis, norm=norm)


def _transform_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw, min_ndim=1, min_length=2))
    settings = {
        "n": samples.choice(draw, [None, 1, 2, 3, 4, 5]),
        "axis": draw.integer(-x.ndim, x.ndim - 1),
        "norm": samples.choice(draw, [None, "backward", "ortho", "forward"]),
    }
    return (x,), settings


for _function, _rule, _takes in (
    (np.fft.fft, _fft_rule, "an array"),
    (np.fft.ifft, _ifft_rule, "an array"),
    (np.fft.rfft, _rfft_rule, "a real array"),
    (np.fft.irfft, _irfft_rule, "an array"),
):
    declare(
        f"fft.{_function.__name__}",
        _transform(_function),
        _rule,
        sample=_transform_sample,
        numpy=_function,
        expects=f"{_takes}, one of its axes, and at least one point along it",
        complex_rules="direct",
    )

# Transforms that NumPy composes of these, too


@implements(np.fft.hfft, on_complex=True)
def _hfft(a: AnyArray, n: Any = None, axis: int = -1, norm: str | None = None, out: object = None) -> AnyArray:
    refuse("np.fft.hfft", out=out)
    return np.fft.irfft(np.conj(a), n=n, axis=axis, norm=_SWAPPED.get(norm, norm))


@implements(np.fft.ihfft, on_complex=True)
def _ihfft(a: AnyArray, n: Any = None, axis: int = -1, norm: str | None = None, out: object = None) -> AnyArray:
    refuse("np.fft.ihfft", out=out)
    return np.conj(np.fft.rfft(a, n=n, axis=axis, norm=_SWAPPED.get(norm, norm)))


Steps = Sequence[tuple[int, Any]]
"""Axes, and the number of points along each; None for the default."""


def _over(transform: Callable[..., AnyArray], a: AnyArray, steps: Steps, norm: str | None) -> AnyArray:
    for axis, n in steps:
        a = transform(a, n=n, axis=axis, norm=norm)
    return a


def _fftn(a: AnyArray, steps: Steps, norm: str | None) -> AnyArray:
    return _over(np.fft.fft, a, steps[::-1], norm)


def _ifftn(a: AnyArray, steps: Steps, norm: str | None) -> AnyArray:
    return _over(np.fft.ifft, a, steps[::-1], norm)


def _rfftn(a: AnyArray, steps: Steps, norm: str | None) -> AnyArray:
    return _fftn(_over(np.fft.rfft, a, steps[-1:], norm), steps[:-1], norm)


def _irfftn(a: AnyArray, steps: Steps, norm: str | None) -> AnyArray:
    return _over(np.fft.irfft, _over(np.fft.ifft, a, steps[:-1], norm), steps[-1:], norm)


def _steps(name: str, a: AnyArray, s: Sequence[int] | None, axes: Sequence[int] | None, to_real: bool) -> Steps:
    """What ``s`` and ``axes`` mean in NumPy's transforms along several axes."""
    if axes is None:
        axes = range(a.ndim) if s is None else range(-len(s), 0)
    axes = list(axes)
    for axis in axes:
        if not -a.ndim <= axis < a.ndim:
            raise np.exceptions.AxisError(axis, a.ndim, name)
    lengths: list[Any] = [a.shape[axis] for axis in axes]
    if s is not None:
        if len(s) != len(axes):
            raise ValueError(f"{name}: s= has {len(s)} length(s) for {len(axes)} axes; they must agree")
        lengths = [length if n == -1 else n for n, length in zip(s, lengths)]
    elif to_real:
        lengths[-1:] = [None]
    return list(zip(axes, lengths))


def _implement_over_axes(function: Callable[..., AnyArray], compose: Callable[..., AnyArray]) -> None:
    name = f"np.fft.{function.__name__}"
    real = compose in (_rfftn, _irfftn)

    def transform(
        a: AnyArray,
        s: Sequence[int] | None = None,
        axes: Sequence[int] | None = None,
        norm: str | None = None,
        out: object = None,
    ) -> AnyArray:
        refuse(name, out=out)
        steps = _steps(name, a, s, axes, compose is _irfftn)
        if real and not steps:
            raise IndexError(f"{name}: takes at least one axis")
        return compose(a, steps, norm) if steps else +a

    def of_the_last_two(
        a: AnyArray,
        s: Sequence[int] | None = None,
        axes: Sequence[int] | None = (-2, -1),
        norm: str | None = None,
        out: object = None,
    ) -> AnyArray:
        return transform(a, s, axes, norm, out)

    implements(function, on_complex=True)(of_the_last_two if name.endswith("2") else transform)


for _compose, _functions in (
    (_fftn, (np.fft.fftn, np.fft.fft2)),
    (_ifftn, (np.fft.ifftn, np.fft.ifft2)),
    (_rfftn, (np.fft.rfftn, np.fft.rfft2)),
    (_irfftn, (np.fft.irfftn, np.fft.irfft2)),
):
    for _each in _functions:
        _implement_over_axes(_each, _compose)

# Putting the zero frequency into the middle, and back


def _shift_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw, min_ndim=1))
    return (x,), {"axes": samples.choice(draw, [None, 0, -1, (-1,), tuple(range(x.ndim))])}


declare(
    "fft.fftshift",
    lambda x, *, axes=None: np.fft.fftshift(x, axes=axes),
    lambda g, out, x, axes: np.fft.ifftshift(g, axes=axes),
    sample=_shift_sample,
    numpy=np.fft.fftshift,
    expects="an array and axes that it has",
    complex_rules="direct",
)
declare(
    "fft.ifftshift",
    lambda x, *, axes=None: np.fft.ifftshift(x, axes=axes),
    lambda g, out, x, axes: np.fft.fftshift(g, axes=axes),
    sample=_shift_sample,
    numpy=np.fft.ifftshift,
    expects="an array and axes that it has",
    complex_rules="direct",
)
