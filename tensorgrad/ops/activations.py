"""Activations: elementwise functions between the layers of a network, and softmax."""

from __future__ import annotations

from math import pi, sqrt
from typing import Any, overload

import numpy as np

from .. import samples
from ..core import AnyArray, Array, Tensor, declare
from .conversion import as_operand, in_single
from .reductions import largest


def _floating(x: AnyArray) -> AnyArray:
    """Integers as float64: of small ones the negative overflows, and NumPy's exponential has half precision."""
    return x if np.result_type(x).kind == "f" else np.multiply(x, 1.0)


# With a kink at 0, where the derivative is the one from the left

relu = declare(
    "relu",
    lambda x: np.maximum(x, 0),
    lambda g, out, x: g * (out > 0),  # not x > 0, so that x need not be kept
    sample=samples.unary(avoid=[0]),
    expects="a real array",
)


def _with_setting(name: str) -> samples.Sample:
    """Sample of an elementwise function with a kink at 0 and one number as a setting."""

    def sample(draw: samples.Draw) -> samples.Operands:
        number = samples.choice(draw, [1.0, 0.25, 0.0, -0.5])
        return (samples.reals(draw, samples.shape(draw), avoid=[0]),), {name: number}

    return sample


_leaky_relu = declare(
    "leaky_relu",
    lambda x, *, negative_slope=0.01: np.where(x > 0, x, negative_slope * x),
    lambda g, out, x, negative_slope: np.where(x > 0, g, negative_slope * g),
    sample=_with_setting("negative_slope"),
    expects="a real array",
)


def _elu_forward(x: AnyArray, *, alpha: float = 1.0) -> AnyArray:
    x = _floating(x)
    return np.where(x > 0, x, alpha * np.expm1(np.where(x > 0, 0, x)))


_elu = declare(
    "elu",
    _elu_forward,
    lambda g, out, x, alpha: np.where(x > 0, g, g * (alpha * np.exp(np.where(x > 0, 0, x)))),
    sample=_with_setting("alpha"),
    expects="a real array",
)


@overload
def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor: ...
@overload
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Any: ...
def leaky_relu(x: AnyArray, negative_slope: float = 0.01) -> AnyArray:
    """``x`` where it is positive, ``negative_slope * x`` elsewhere; the derivative at 0 is ``negative_slope``.

    Maas, Hannun & Ng 2013, "Rectifier nonlinearities improve neural network acoustic models".

    >>> import numpy as np, tensorgrad as tg
    >>> tg.leaky_relu(np.array([-2.0, 0.0, 3.0]), negative_slope=0.1)
    array([-0.2,  0. ,  3. ])
    """
    return _leaky_relu(x, negative_slope=float(negative_slope))


@overload
def elu(x: Tensor, alpha: float = 1.0) -> Tensor: ...
@overload
def elu(x: Array, alpha: float = 1.0) -> Any: ...
def elu(x: AnyArray, alpha: float = 1.0) -> AnyArray:
    """``x`` where it is positive, ``alpha * (exp(x) - 1)`` elsewhere (Clevert, Unterthiner & Hochreiter 2016).

    The derivative at 0 is ``alpha``.

    >>> import numpy as np, tensorgrad as tg
    >>> tg.elu(np.array([-1.0, 0.0, 3.0])).round(4)
    array([-0.6321,  0.    ,  3.    ])
    """
    return _elu(x, alpha=float(alpha))


_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848


@overload
def selu(x: Tensor) -> Tensor: ...
@overload
def selu(x: Array) -> Any: ...
def selu(x: AnyArray) -> AnyArray:
    """``scale * elu(x, alpha)`` with the constants that keep mean 0 and variance 1 (Klambauer et al. 2017, equation 2).

    >>> import numpy as np, tensorgrad as tg
    >>> tg.selu(np.array([-1.0, 0.0, 3.0])).round(4)
    array([-1.1113,  0.    ,  3.1521])
    """
    return np.multiply(_SELU_SCALE, elu(x, _SELU_ALPHA))


# Smooth ones


def _sigmoid(x: AnyArray) -> Any:
    """1 / (1 + exp(-x)), by an exponential that cannot overflow and does not cancel."""
    x = _floating(x)
    power = np.exp(-np.absolute(x))
    return np.maximum(power, x >= 0) / (1 + power)  # np.where(x >= 0, 1, power) takes five times as long


def _sigmoid_slope(x: AnyArray) -> Any:
    """exp(-|x|) / (1 + exp(-|x|))^2: in s (1 - s) the difference would lose all digits where s is almost 1."""
    power = np.exp(-np.absolute(x))
    return power / np.square(1 + power)


sigmoid_slope = declare(
    "sigmoid_slope",
    _sigmoid_slope,
    lambda g, out, x: g * (-out * np.tanh(0.5 * x)),
    sample=samples.unary(),
    expects="a floating array",
)
"""The derivative of the sigmoid, with full relative accuracy in both tails."""


sigmoid = declare(
    "sigmoid",
    _sigmoid,
    lambda g, out, x: g * sigmoid_slope(x),
    sample=samples.unary(),
    expects="a real array",
)


def _softplus(x: AnyArray) -> AnyArray:
    """log(1 + exp(x)), likewise."""
    x = _floating(x)
    return np.maximum(x, 0) + np.log1p(np.exp(-np.absolute(x)))


softplus = declare(
    "softplus",
    _softplus,
    lambda g, out, x: g * sigmoid(x),
    sample=samples.unary(),
    expects="a real array",
)


def _softsign(x: AnyArray) -> AnyArray:
    """x / (1 + |x|)."""
    x = _floating(x)
    return x / (1 + np.absolute(x))


def _softsign_rule(g: AnyArray, out: AnyArray, x: AnyArray) -> AnyArray:
    """1 / (1 + |x|)^2, in two divisions, as the square would overflow."""
    bottom = 1 + np.absolute(x)
    return g / bottom / bottom


softsign = declare(
    "softsign",
    _softsign,
    _softsign_rule,
    sample=samples.unary(avoid=[0]),
    expects="a real array",
)


_SATURATED = 1000.0
"""Beyond, a sigmoid is 0 or 1, and so is the normal distribution function."""

_gated = declare(  # where one of the factors is infinite the other, or its derivative, is 0, and so is their product
    "gated",
    lambda x, gate: np.maximum(_floating(x), -_SATURATED) * gate,
    lambda g, out, x, gate: g * gate,
    lambda g, out, x, gate: g * np.clip(x, -_SATURATED, _SATURATED),
    sample=samples.binary(),
    broadcasts=True,
)
"""``x * gate`` for a gate that rises from 0 to 1 with ``x``."""


@overload
def silu(x: Tensor) -> Tensor: ...
@overload
def silu(x: Array) -> Any: ...
def silu(x: AnyArray) -> AnyArray:
    """``x * sigmoid(x)``, also called swish (Elfwing, Uchibe & Doya 2018, equation 6).

    >>> import numpy as np, tensorgrad as tg
    >>> tg.silu(np.array([-1.0, 0.0, 3.0])).round(4)
    array([-0.2689,  0.    ,  2.8577])
    """
    return _gated(x, sigmoid(x))


# The error function is not in NumPy. Rational approximations of W. J. Cody, "Rational Chebyshev approximations for the
# error function", Mathematics of Computation 23 (1969), with the coefficients of his routine CALERF (netlib, specfun),
# from the highest power down: erf(z) / z in z^2 near 0, exp(z^2) erfc(z) in z, and far out a correction in 1 / z^2.

_NEAR = (
    (
        1.85777706184603153e-1,
        3.16112374387056560e0,
        1.13864154151050156e2,
        3.77485237685302021e2,
        3.20937758913846947e3,
    ),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
_MIDDLE = (
    (
        *(2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1),
        *(2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3),
        1.23033935479799725e3,
    ),
    (
        *(1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3),
        *(3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
    ),
)
_FAR = (
    (
        *(1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1),
        *(1.60837851487422766e-2, 6.58749161529837803e-4),
    ),
    (
        *(1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2),
        2.33520497626869185e-3,
    ),
)


def _ratio(coefficients: Any, x: AnyArray) -> Any:
    """The quotient of two polynomials, by Horner's rule."""
    numerator, denominator = coefficients
    top, bottom = numerator[0] * x, x
    for a, b in zip(numerator[1:-1], denominator[1:-1]):
        top, bottom = (top + a) * x, (bottom + b) * x
    return (top + numerator[-1]) / (bottom + denominator[-1])


def _normal_cdf(x: AnyArray) -> Any:
    """erfc(-x / sqrt 2) / 2, from erf near 0 and from erfc(|x| / sqrt 2) elsewhere, so that the tails keep digits."""
    if np.result_type(x) == np.float16:  # in which the polynomials overflow
        return _normal_cdf(x.astype(np.float32)).astype(np.float16)
    x = _floating(x)
    z = np.absolute(x * sqrt(1 / 2))
    near = 0.5 + x * sqrt(1 / 8) * _ratio(_NEAR, np.square(np.minimum(z, 1)))
    inverse = 1 / np.maximum(z, 4)
    far = (sqrt(1 / pi) - np.square(inverse) * _ratio(_FAR, np.square(inverse))) * inverse
    tail = 0.5 * _bell(x) * np.where(z > 4, far, _ratio(_MIDDLE, np.minimum(z, 4)))
    return np.where(z < 0.46875, near, np.where(x < 0, tail, 1 - tail))


def _bell(x: AnyArray) -> AnyArray:
    """exp(-x^2 / 2); beyond 64 it is 0 anyway, and the square might overflow."""
    x = np.clip(x, -64, 64)
    return np.exp(-0.5 * x * x)


normal_cdf = declare(
    "normal_cdf",
    _normal_cdf,
    lambda g, out, x: g * (sqrt(0.5 / pi) * _bell(x)),
    sample=samples.unary(-8.0, 8.0),
    expects="a real array",
)


@overload
def gelu(x: Tensor, approximate: str = "none") -> Tensor: ...
@overload
def gelu(x: Array, approximate: str = "none") -> Any: ...
def gelu(x: AnyArray, approximate: str = "none") -> AnyArray:
    """``x`` times the standard normal distribution function at ``x`` (Hendrycks & Gimpel 2016).

    Parameters
    ----------
    x
        Tensor or array of any shape.
    approximate
        ``"none"``: by the error function, to the last digits of float64. ``"tanh"``: by
        ``(1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2`` in its place, as some published networks do.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.gelu(np.array([-1.0, 0.0, 3.0])).round(4)
    array([-0.1587,  0.    ,  2.996 ])
    >>> tg.gelu(np.array([-1.0, 0.0, 3.0]), approximate="tanh").round(4)
    array([-0.1588,  0.    ,  2.9964])
    """
    if approximate == "none":
        return _gated(x, normal_cdf(x))
    if approximate != "tanh":
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    near = np.clip(x, -32, 32)  # beyond, tanh is 1, and the cube might overflow
    inner = np.multiply(sqrt(2 / pi), near) * (1 + np.multiply(np.multiply(0.044715, near), near))
    return _gated(x, sigmoid(2 * inner))  # (1 + tanh) / 2, of which the left tail would cancel


# Softmax


@in_single
def _softmax(x: AnyArray, *, axis: int = -1) -> Any:
    """exp(x) / sum exp(x), shifted by the maximum so that no exponential overflows."""
    x = as_operand(x)
    powers = np.exp(x - largest(x, axis))
    return powers / powers.sum(axis=axis, keepdims=True)


@in_single
def _log_softmax(x: AnyArray, *, axis: int = -1) -> Any:
    x = as_operand(x)
    shifted = x - largest(x, axis)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _softmax_sample(draw: samples.Draw) -> samples.Operands:
    x = samples.reals(draw, samples.shape(draw, min_ndim=1, min_length=1))
    return (x,), {"axis": draw.integer(-x.ndim, x.ndim - 1)}


softmax = declare(
    "softmax",
    _softmax,
    in_single(lambda g, out, x, axis: out * (g - (g * out).sum(axis=axis, keepdims=True))),
    sample=_softmax_sample,
    expects="an array and one of its axes, not empty",
)
log_softmax = declare(
    "log_softmax",
    _log_softmax,
    in_single(lambda g, out, x, axis: g - softmax(x, axis=axis) * g.sum(axis=axis, keepdims=True)),
    sample=_softmax_sample,
    expects="an array and one of its axes, not empty",
)
