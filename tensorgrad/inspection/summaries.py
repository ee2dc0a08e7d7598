"""Summaries of arrays: small ones in full, large ones by range and mean."""

from __future__ import annotations

from typing import Any

import numpy as np

FEW, SMALL = 4, 64
"""Elements that are shown inside a line; and in lines of their own."""


def numbers(array: object) -> str:
    """The value of an array, on one line: its elements if they are few, else their range and mean.

    >>> numbers(np.array(0.6931472)), numbers(np.array([1.0, 2.5]))
    ('0.6931', '[1.  2.5]')
    >>> numbers(np.arange(100.0))
    'from 0 to 99, mean 49.5'
    """
    array = _plain(array)
    if array is None or array.size == 0:
        return "no elements" if array is not None else "not shown"
    if array.size == 1:
        return f"{array.item():.4g}" if array.dtype.kind in "fc" else str(array.item())
    if array.size <= FEW and array.ndim == 1:
        return _text(array)
    if array.dtype.kind == "b":
        return f"{np.count_nonzero(array):,} of {array.size:,} true"
    if array.dtype.kind == "c":
        return f"magnitudes from {np.abs(array).min():.4g} to {np.abs(array).max():.4g}"
    wide = array.astype(np.float64)
    mean = wide.mean() if np.isfinite(wide).all() else np.nan
    return f"from {wide.min():.4g} to {wide.max():.4g}, mean {mean:.4g}"


def number(value: object) -> str:
    """A number as it would be written: in at most six digits."""
    if type(value) in (int, bool):
        return repr(value)
    return f"{value:.6g}" if type(value) in (float, complex) else numbers(value)


def elements(array: object) -> str:
    """The value of an array: all elements of a small one, in as many lines as it needs, else as :func:`numbers`.

    >>> print(elements(np.eye(2)))
    [[1. 0.]
     [0. 1.]]
    """
    plain = _plain(array)
    if plain is None or not plain.ndim or not 0 < plain.size <= SMALL or plain.ndim > 2 or plain.shape[-1] > 12:
        return numbers(array)
    return _text(plain)


def norm(array: object) -> float:
    """The Euclidean norm of all elements, computed in double precision."""
    plain = _plain(array)
    if plain is None:
        return float("nan")
    return float(np.linalg.norm(plain.ravel().astype(np.complex128 if plain.dtype.kind == "c" else np.float64)))


def kind(array: Any) -> str:
    """Shape and dtype: ``(4, 2) float64``, and ``scalar float64`` where there are no axes."""
    return f"{shape(array.shape)} {array.dtype}"


def shape(lengths: tuple[int, ...]) -> str:
    """A shape as NumPy writes it; of no axes ``scalar``."""
    return str(tuple(lengths)) if lengths else "scalar"


def _plain(array: object) -> np.ndarray | None:
    """The array as one of NumPy's, if it can be one."""
    try:
        return np.asarray(array)
    except (TypeError, ValueError):
        return None


def _text(array: np.ndarray) -> str:
    with np.printoptions(precision=4, suppress=bool(_fit_plainly(array)), linewidth=100):
        return str(array)


def _fit_plainly(array: np.ndarray) -> bool:
    """Whether fixed-point digits show what the numbers are."""
    if array.dtype.kind not in "fc":
        return True
    sizes = np.abs(array[np.isfinite(array) & (array != 0)])
    return not sizes.size or bool(sizes.max() < 1e5 and sizes.min() > 1e-3)
