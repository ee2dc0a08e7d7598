"""Parts of complex numbers: real, imag, angle and conjugate.

The gradient of a real loss L with respect to a complex z is dL/dRe(z) + i dL/dIm(z).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import samples
from ..core import AnyArray, declare, implements
from .elementwise import unit


def _is_complex(x: AnyArray) -> bool:
    return bool(x.dtype.kind == "c")


def _angle_rule(g: AnyArray, out: AnyArray, x: AnyArray, deg: bool) -> AnyArray:
    """i x / |x|^2, across the direction of x; 0 at 0, where there is none, and for real x."""
    if not _is_complex(x):
        return np.zeros_like(g)
    modulus = np.absolute(x)
    turned = unit(x) * 1j / np.where(modulus == 0, 1, modulus)
    return g * turned * (180 / np.pi if deg else 1)


declare(
    "angle",
    lambda z, *, deg=False: np.angle(z, deg=deg),
    _angle_rule,
    sample=lambda draw: ((samples.reals(draw, samples.shape(draw), avoid=[0]),), {"deg": bool(draw.integer(0, 1))}),
    numpy=np.angle,
    expects="a real or complex array",
    complex_rules="direct",
)
declare("conjugate", np.conjugate, lambda g, out, x: np.conj(g), sample=samples.unary(), complex_rules="direct")
declare(
    "real",
    lambda x: np.real(x)[...],  # a view also of real numbers
    lambda g, out, x: g,
    sample=samples.unary(),
    numpy=np.real,
    expects="a real or complex array",
    complex_rules="direct",
)
declare(
    "imag",
    lambda x: np.imag(x),
    lambda g, out, x: g * 1j if _is_complex(x) else np.zeros_like(g),
    sample=samples.unary(),
    numpy=np.imag,
    expects="a real or complex array",
    complex_rules="direct",
)

implements(np.iscomplexobj, differentiable=False)(_is_complex)
implements(np.isrealobj, differentiable=False)(lambda x: not _is_complex(x))


@implements(np.isreal, differentiable=False)
def _isreal(x: AnyArray) -> Any:
    return np.imag(x) == 0


@implements(np.iscomplex, differentiable=False)
def _iscomplex(x: AnyArray) -> Any:
    return np.imag(x) != 0


# What is real already

implements(np.real_if_close)(lambda a, tol=100: a)
