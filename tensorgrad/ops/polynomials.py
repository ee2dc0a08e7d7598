"""Polynomials as vectors of coefficients, the highest power first."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import AnyArray, Tensor, asarray_like, implements, refuse, refuses
from ..core.context import runtime_check
from .conversion import as_operand, as_tensor, without_history


def _coefficients(function: str, p: AnyArray) -> AnyArray:
    p = as_operand(p)
    if p.ndim > 1:
        raise ValueError(f"{function}: takes coefficients along one axis, got shape {p.shape}")
    return p.reshape(-1)


@implements(np.polyval, on_complex=True)
def _polyval(p: AnyArray, x: AnyArray) -> Any:
    """Horner's rule."""
    p, x = as_operand(p), as_operand(x)
    value: Any = as_tensor(np.zeros_like(x))
    for coefficient in p:
        value = value * x + coefficient
    return value


def _aligned(function: str, a1: AnyArray, a2: AnyArray) -> list[AnyArray]:
    """Two polynomials as coefficients of the same powers."""
    both = [_coefficients(function, a) for a in (a1, a2)]
    length = max(len(p) for p in both)
    return [np.concatenate([np.zeros_like(p, shape=length - len(p)), p]) if len(p) < length else p for p in both]


@implements(np.polyadd, on_complex=True)
def _polyadd(a1: AnyArray, a2: AnyArray) -> AnyArray:
    a1, a2 = _aligned("polyadd", a1, a2)
    return a1 + a2


@implements(np.polysub, on_complex=True)
def _polysub(a1: AnyArray, a2: AnyArray) -> AnyArray:
    a1, a2 = _aligned("polysub", a1, a2)
    return a1 - a2


def _check_leading(a1: AnyArray, a2: AnyArray) -> None:
    if a1.size and a2.size and not (a1[0] and a2[0]):
        raise ValueError(
            "polymul: NumPy drops leading zeros, and with them their derivatives; cut them off, or multiply with "
            "np.convolve, which keeps them"
        )


@implements(np.polymul, on_complex=True)
def _polymul(a1: AnyArray, a2: AnyArray) -> AnyArray:
    a1, a2 = _coefficients("polymul", a1), _coefficients("polymul", a2)
    runtime_check(_check_leading, without_history(a1), without_history(a2))
    return np.convolve(a1, a2)


@implements(np.polyder)
def _polyder(p: AnyArray, m: int = 1) -> AnyArray:
    p = _coefficients("polyder", p)
    if m < 0:
        raise ValueError(f"polyder: takes an order that is not negative, got {m}")
    for _ in range(m):
        p = p[:-1] * asarray_like(np.arange(len(p) - 1, 0, -1), p)
    return p


@implements(np.polyint)
def _polyint(p: AnyArray, m: int = 1, k: Any = None) -> AnyArray:
    p = _coefficients("polyint", p)
    if m < 0:
        raise ValueError(f"polyint: takes an order that is not negative, got {m}")
    constants = _coefficients("polyint", np.zeros(()) if k is None else k)
    if len(constants) not in (1, m) and m:
        raise ValueError(f"polyint: takes one constant or {m} constants, got {len(constants)}")
    for i in range(m):
        constant = constants[i : i + 1] if len(constants) == m else constants[:1]
        p = np.concatenate([p / asarray_like(np.arange(len(p), 0, -1), p), constant])
    return p


@implements(np.poly)
def _poly(seq_of_zeros: object) -> AnyArray:
    """The product of x minus each root."""
    roots = as_operand(seq_of_zeros)
    if roots.ndim != 1:
        raise ValueError(
            f"poly: takes roots along one axis, got shape {roots.shape}; of a matrix use np.linalg.eigvalsh first"
        )
    one = np.ones_like(roots, shape=1)
    product = one
    for i in range(len(roots)):
        product = np.convolve(product, np.concatenate([one, -roots[i : i + 1]]))
    return product


@implements(np.polyfit)
def _polyfit(
    x: AnyArray,
    y: AnyArray,
    deg: Any,
    rcond: Any = None,
    full: bool = False,
    w: AnyArray | None = None,
    cov: Any = False,
) -> Any:
    """The powers of ``x``, scaled to length 1, and the pseudo-inverse of them."""
    refuse("np.polyfit", full=full or None, cov=cov or None)
    if np.ndim(deg):  # some powers only
        refuse("np.polyfit", deg=deg)
    x, y = as_operand(x) + 0.0, as_operand(y) + 0.0
    if deg < 0:
        raise ValueError(f"polyfit: takes a degree that is not negative, got {deg}")
    if x.ndim != 1 or not x.size or y.ndim not in (1, 2) or len(x) != len(y):
        raise TypeError(
            f"polyfit: takes x of one axis and y of one or two, as long; got shapes {x.shape} and {y.shape}"
        )
    powers = np.vander(x if isinstance(x, Tensor) else Tensor(x), deg + 1)
    if w is not None:
        w = as_operand(w) + 0.0
        if w.shape != x.shape:
            raise TypeError(f"polyfit: takes weights of the shape of x, {x.shape}, got {w.shape}")
        powers, y = powers * w[:, None], y * (w[:, None] if y.ndim == 2 else w)
    scale = np.sqrt((powers * powers).sum(axis=0))
    rcond = len(x) * float(np.finfo(x.dtype).eps) if rcond is None else rcond
    solution = np.linalg.pinv(powers / scale, rcond) @ y
    return solution / (scale[:, None] if y.ndim == 2 else scale)


refuses(np.polydiv, "the length of its remainder depends on values: divide on tensor.numpy(), or fit with np.polyfit")
