"""Complex numbers: their parts, and the ops whose rules hold for complex operands.

The gradient of a real loss L with respect to a complex z is dL/dRe(z) + i dL/dIm(z).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import samples
from ..core import OPS, accept_complex, declare, implements
from . import (  # noqa: F401 (they declare these ops)
    concatenation,
    decompositions,
    diagonals,
    einsum,
    elementwise,
    indexing,
    linalg,
    norms,
    polynomials,
    reductions,
    repeating,
    scans,
    selection,
    shape,
    signals,
    statistics,
)
from .kinks import quotient, slope_at_kink

# The parts of complex numbers


def _is_complex(x: Any) -> bool:
    return bool(x.dtype.kind == "c")


def _unit(x: Any, modulus: Any) -> Any:
    """x / |x|; 0 at 0."""
    at_zero = modulus == 0
    return np.where(at_zero, 0, x / np.where(at_zero, 1, modulus))


def _angle_rule(g: Any, out: Any, x: Any, deg: bool) -> Any:
    """i x / |x|^2, across the direction of x; 0 at 0, where there is none, and for real x."""
    if not _is_complex(x):
        return np.zeros_like(g)
    modulus = np.absolute(x)
    turned = _unit(x, modulus) * 1j / np.where(modulus == 0, 1, modulus)
    return g * turned * (180 / np.pi if deg else 1)


def _absolute_rule(g: Any, out: Any, x: Any) -> Any:
    if (multiple := quotient(g, out)) is not None:
        return multiple * x
    slope, part = slope_at_kink(g, out), g * (_unit(x, out) if _is_complex(x) else np.sign(x))
    return part if slope is None else np.where(x == 0, slope * x, part)


declare(  # at 0, of a complex number as of a real one, all derivatives are 0; those of its square are exact
    "absolute",
    np.absolute,
    _absolute_rule,
    sample=samples.unary(avoid=[0]),
    complex_rules="direct",
)
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
def _isreal(x: Any) -> Any:
    return np.imag(x) == 0


@implements(np.iscomplex, differentiable=False)
def _iscomplex(x: Any) -> Any:
    return np.imag(x) != 0


# Linear functions with real coefficients have the same rules in complex numbers, and so have sums of squared moduli.

for _name in (
    *("add", "subtract", "negative", "positive", "where", "getitem", "scatter"),
    *("reshape", "transpose", "swapaxes", "squeeze", "expand_dims", "broadcast_to", "concatenate", "astype"),
    *("flip", "roll", "rot90", "repeat", "trace", "diagonal", "setitem", "take_along_axis"),
    *("scatter_along_axis", "sum", "mean", "cumsum", "masked_sum", "pad", "var", "std", "norm"),
):
    OPS[_name].accept_complex("direct")

# The others are holomorphic: their rules multiply by the derivative, which the engine conjugates.

for _name in (
    *("multiply", "divide", "reciprocal", "square", "power", "matmul", "einsum"),
    *(
        "solve",
        "inv",
        "det",
        "cofactors",
        "cofactors_along",
        "prod",
        "products_of_others",
        "cumprod",
        "linear_recurrence",
        "convolve",
    ),
    *("exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sqrt"),
    *("sin", "cos", "tan", "sinh", "cosh", "tanh", "arctan"),
    *("arcsin", "arccos", "arcsinh", "arccosh", "arctanh", "one_minus_square"),
):
    OPS[_name].accept_complex("holomorphic")

# Compositions of these and of nothing else, and questions about shape.

for _function in (
    *(np.sum, np.mean, np.cumsum, np.trace, np.diff, np.where, np.take, np.take_along_axis),
    *(np.reshape, np.ravel, np.broadcast_to, np.broadcast_arrays, np.moveaxis, np.rollaxis, np.astype, np.copy),
    *(np.atleast_1d, np.atleast_2d, np.atleast_3d, np.roll, np.fliplr, np.flipud, np.repeat, np.tile, np.diagonal),
    *(np.concatenate, np.stack, np.hstack, np.vstack, np.dstack, np.column_stack, np.append),
    *(np.split, np.array_split, np.hsplit, np.vsplit, np.dsplit),
    *(np.dot, np.inner, np.outer, np.tensordot, np.kron, np.einsum, np.linalg.matmul, np.linalg.outer),
    *(np.linalg.multi_dot, np.linalg.matrix_power, np.linalg.solve, np.linalg.inv, np.linalg.tensorsolve),
    *(np.linalg.tensorinv, np.linalg.norm, np.linalg.vector_norm, np.linalg.matrix_norm),
    *(np.linalg.trace, np.linalg.diagonal, np.linalg.matrix_transpose, np.matrix_transpose),
    *(np.vdot, np.vecdot, np.linalg.vecdot, np.cross, np.linalg.cross),
    *(np.var, np.std, np.average, np.prod),
    *(np.tril, np.triu, np.diag, np.diagflat, np.pad, np.meshgrid, np.insert, np.delete, np.select),
    *(np.trapezoid, np.gradient, np.ediff1d, np.convolve, np.correlate, np.polyval, np.vander),
    *(np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.full_like),
):
    accept_complex(_function)
if hasattr(np, "matvec"):  # NumPy 2.2
    accept_complex(np.matvec)
    accept_complex(np.vecmat)

# What is real already

implements(np.real_if_close)(lambda a, tol=100: a)
