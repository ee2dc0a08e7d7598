"""Elementwise functions: arithmetic, powers, exponentials, trigonometry, signs, parts of a number, sinc and i0.

All operands broadcast as in NumPy. Where a formula has 0/0, the rule takes the value that makes sense: 0 for the
derivative of ``hypot`` and ``arctan2`` at the origin, and an equal share for ``logaddexp`` of equal infinities. At
infinity it takes the limit. True poles stay: the derivative of ``sqrt``, ``cbrt`` and ``log`` at 0 is infinite.
"""

from __future__ import annotations

from functools import partial
from math import log, pi, sqrt
from typing import Any, Callable

import numpy as np

from .. import samples
from ..core import OPS, AnyArray, Tensor, asarray_like, declare, implements
from .conversion import typed as _typed
from .kinks import quotient, slope_at_kink


def _or_infinite(divisor: AnyArray) -> AnyArray:
    """``divisor`` with infinity in place of 0: what is divided by it is 0 there, and so are its derivatives."""
    return np.where(divisor == 0, np.inf, divisor)


def _finite(x: AnyArray) -> AnyArray:
    """``x`` with the largest number in place of infinity: 0 times the derivative of what is infinite would be NaN."""
    return np.where(np.isinf(x), np.finfo(x.dtype).max, x)


def _nonzero(operands: int) -> samples.Sample:
    """Sample of operands of either sign that keep away from 0."""
    return lambda draw: (
        tuple(samples.reals(draw, shape, avoid=[0]) for shape in samples.broadcastable(draw, operands)),
        {},
    )


# Arithmetic

declare("add", np.add, lambda g, out, x, y: g, lambda g, out, x, y: g, sample=samples.binary(), complex_rules="direct")
declare(
    "subtract",
    np.subtract,
    lambda g, out, x, y: g,
    lambda g, out, x, y: -g,
    sample=samples.binary(),
    complex_rules="direct",
)
declare(
    "multiply",
    np.multiply,
    lambda g, out, x, y: g * y,
    lambda g, out, x, y: g * x,
    sample=samples.binary(),
    complex_rules="holomorphic",
)
declare(
    "divide",
    np.divide,
    lambda g, out, x, y: g / y,
    lambda g, out, x, y: -g * out / y,
    sample=samples.binary(0.3, 2.0),
    complex_rules="holomorphic",
)
declare("negative", np.negative, lambda g, out, x: -g, sample=samples.unary(), complex_rules="direct")
declare("positive", np.positive, lambda g, out, x: g, sample=samples.unary(), complex_rules="direct")
declare("square", np.square, lambda g, out, x: g * (2 * x), sample=samples.unary(), complex_rules="holomorphic")
declare(
    "reciprocal",
    np.reciprocal,
    lambda g, out, x: -g * out * out,
    sample=samples.unary(avoid=[0]),
    complex_rules="holomorphic",
)
for _name, _factor in (("degrees", 180 / pi), ("rad2deg", 180 / pi), ("radians", pi / 180), ("deg2rad", pi / 180)):
    declare(_name, getattr(np, _name), lambda g, out, x, factor=_factor: g * factor, sample=samples.unary())

# Division with remainder: x = y floor(x / y) + remainder(x, y) = y trunc(x / y) + fmod(x, y)


def _between_multiples(draw: samples.Draw) -> samples.Operands:
    """Dividends that keep away from all multiples of their divisors, 1 and -0.5."""
    first, second = samples.broadcastable(draw, 2)
    divisors = np.where(samples.reals(draw, second) < 0, -0.5, 1.0)
    return (samples.between_tenths(draw, first), divisors), {}


declare("floor_divide", np.floor_divide, None, None, sample=_between_multiples)
declare(
    "remainder",
    np.remainder,
    lambda g, out, x, y: g,
    lambda g, out, x, y: -g * np.floor_divide(x, y),
    sample=_between_multiples,
)
declare(
    "fmod",
    np.fmod,
    lambda g, out, x, y: g,
    lambda g, out, x, y: -g * np.rint((x - out) / y),  # x / y may round up to the next integer
    sample=_between_multiples,
)


@implements(np.divmod)
def _divmod(x: AnyArray, y: AnyArray) -> Any:
    return np.floor_divide(x, y), np.remainder(x, y)


# Powers and roots


_QUICK_POWERS: dict[float, Callable[[Any], Any]] = {
    -1: np.reciprocal,
    0: np.ones_like,
    0.5: np.sqrt,
    1: np.positive,
    2: np.square,
    3: lambda x: x * x * x,
    4: lambda x: np.square(np.square(x)),
}
"""Powers within two units in the last place; further products would round more."""


def _as_number(y: AnyArray | np.generic | complex, x: AnyArray) -> Any:
    """A NumPy scalar as a Python number, where it does not affect the dtype of the result with ``x``."""
    return y.item() if isinstance(y, np.generic) and np.result_type(x, y) == getattr(x, "dtype", None) else y


def _power(x: AnyArray, y: Any) -> Any:
    """NumPy's power takes 50 times as long where the base is negative, so whole exponents are kept away from it."""
    y = _as_number(y, x)
    if type(y) not in (int, float) or getattr(getattr(x, "dtype", None), "kind", "") != "f":
        return np.power(x, y)
    if (quick := _QUICK_POWERS.get(y)) is not None:
        return quick(x)
    if not float(y).is_integer():
        return np.power(x, y)
    size = np.power(np.absolute(x), y)
    return np.copysign(size, x) if y % 2 else size


def _power_base(g: AnyArray, out: AnyArray, x: AnyArray, y: AnyArray) -> AnyArray:
    """y x^(y-1); 0 for 0^0 and where infinite exponents give 0, though the formula says 0 times infinity."""
    y, x = _as_number(y, x), _typed(x, out)
    if isinstance(y, (int, float, complex)) and abs(y) != np.inf:
        return g * (y * OPS["power"](x, y - 1)) if y != 0 else g * np.zeros_like(x)
    y = _typed(y, out)
    power = np.where((x == 0) & (y == 0), 1, x) ** (y - 1)
    slope = np.where((power == 0) & np.isinf(y), 0, y) * power
    return g * np.where(g == 0, _finite(slope), slope)


def _power_exponent(g: AnyArray, out: AnyArray, x: AnyArray, y: AnyArray) -> AnyArray:
    """x^y log x; 0 for 0^0 and where the power is 0, unless it is so small that it was rounded to 0."""
    x = _typed(x, out)
    return g * out * np.log(np.where(((out == 0) & ((x <= 0) | np.isinf(x))) | ((x == 0) & (y == 0)), 1, x))


def _cosine(x: AnyArray, y: AnyArray, r: AnyArray) -> AnyArray:
    """x / r for r^2 = x^2 + y^2; of an infinite x the sign, shared with an infinite y."""
    infinite = np.isinf(x)
    limit = np.sign(x) * np.where(np.isinf(y), sqrt(0.5), 1).astype(r.dtype)
    return np.where(infinite, limit, np.where(infinite, 0, x) / _or_infinite(r))


def _cosine_by_x(g: AnyArray, out: AnyArray, x: AnyArray, y: AnyArray) -> AnyArray:
    """y^2 / r^3."""
    x, y = _typed(x, out), _typed(y, out)
    sine = _cosine_op(y, x)
    return g * (sine / _or_infinite(np.hypot(x, y)) * sine)


def _cosine_by_y(g: AnyArray, out: AnyArray, x: AnyArray, y: AnyArray) -> AnyArray:
    """-x y / r^3."""
    x, y = _typed(x, out), _typed(y, out)
    return -g * (out / _or_infinite(np.hypot(x, y)) * _cosine_op(y, x))


_cosine_op = declare(  # an op, as 1 / r - x^2 / r^3, the derivative of the quotient, cancels where x is much the larger
    "hypot_cosine",
    lambda x, y: _cosine(x, y, np.hypot(x, y)),
    _cosine_by_x,
    _cosine_by_y,
    sample=_nonzero(2),
    broadcasts=True,
)


def _hypot_rule(g: AnyArray, out: AnyArray, x: AnyArray, y: AnyArray) -> Any:
    x, y = _typed(x, out), _typed(y, out)
    if (multiple := quotient(g, out)) is not None:
        return multiple * x
    cosine = _cosine_op(x, y) if isinstance(out, Tensor) else _cosine(x, y, out)
    slope, part = slope_at_kink(g, out), g * cosine
    return part if slope is None else np.where(out == 0, slope * x, part)


declare(
    "power",
    _power,
    _power_base,
    _power_exponent,
    sample=samples.positive_base,
    numpy=np.power,
    broadcasts=True,
    complex_rules="holomorphic",
)
declare("float_power", np.float_power, _power_base, _power_exponent, sample=samples.positive_base)
declare("sqrt", np.sqrt, lambda g, out, x: g * (0.5 / out), sample=samples.unary(0.3, 3.0), complex_rules="holomorphic")
declare("cbrt", np.cbrt, lambda g, out, x: g / 3 / out / out, sample=samples.unary(avoid=[0]))
declare(
    "hypot",
    np.hypot,
    _hypot_rule,
    lambda g, out, x, y: _hypot_rule(g, out, y, x),
    sample=_nonzero(2),
)

# Exponentials and logarithms

declare("exp", np.exp, lambda g, out, x: g * out, sample=samples.unary(), complex_rules="holomorphic")
declare("exp2", np.exp2, lambda g, out, x: g * (out * log(2)), sample=samples.unary(), complex_rules="holomorphic")
declare("expm1", np.expm1, lambda g, out, x: g * np.exp(x), sample=samples.unary(), complex_rules="holomorphic")
declare("log", np.log, lambda g, out, x: g / x, sample=samples.unary(0.3, 3.0), complex_rules="holomorphic")
declare(
    "log2", np.log2, lambda g, out, x: g / (x * log(2)), sample=samples.unary(0.3, 3.0), complex_rules="holomorphic"
)
declare(
    "log10", np.log10, lambda g, out, x: g / (x * log(10)), sample=samples.unary(0.3, 3.0), complex_rules="holomorphic"
)
declare("log1p", np.log1p, lambda g, out, x: g / (1 + x), sample=samples.unary(-0.5, 2.0), complex_rules="holomorphic")


def _excess(x: AnyArray, y: AnyArray, out: AnyArray) -> AnyArray:
    """x - y, and 0 between equal infinities."""
    x, y = _typed(x, out), _typed(y, out)
    equal = (x == y) & np.isinf(x)
    return np.where(equal, 0, x) - np.where(equal, 0, y)


def _share(g: AnyArray, out: AnyArray, x: AnyArray, y: AnyArray) -> AnyArray:
    """e^x / (e^x + e^y), exact for exponents of any size: log(1 + e^(y-x)) neither overflows nor cancels."""
    return g * np.exp(-np.logaddexp(0, _excess(y, x, out)))


def _share2(g: AnyArray, out: AnyArray, x: AnyArray, y: AnyArray) -> AnyArray:
    """2^x / (2^x + 2^y), likewise."""
    return g * np.exp2(-np.logaddexp2(0, _excess(y, x, out)))


for _name, _rule in (("logaddexp", _share), ("logaddexp2", _share2)):
    declare(
        _name,
        getattr(np, _name),
        _rule,
        lambda g, out, x, y, rule=_rule: rule(g, out, y, x),
        sample=samples.binary(),
    )

# Trigonometric and hyperbolic functions

_one_minus_square = declare(
    "one_minus_square",
    lambda x: (1 - x) * (1 + x),  # 1 - x * x cancels near 1, and this one's own derivative is 0 times infinity there
    lambda g, out, x: g * (-2 * x),
    sample=samples.unary(),
    expects="a real array",
    complex_rules="holomorphic",
)

declare("sin", np.sin, lambda g, out, x: g * np.cos(x), sample=samples.unary(), complex_rules="holomorphic")
declare("cos", np.cos, lambda g, out, x: -g * np.sin(x), sample=samples.unary(), complex_rules="holomorphic")
declare(
    "tan", np.tan, lambda g, out, x: g * (1 + out * out), sample=samples.unary(-1.2, 1.2), complex_rules="holomorphic"
)
declare(
    "arcsin",
    np.arcsin,
    lambda g, out, x: g / np.sqrt(_one_minus_square(x)),
    sample=samples.unary(-0.9, 0.9),
    complex_rules="holomorphic",
)
declare(
    "arccos",
    np.arccos,
    lambda g, out, x: -g / np.sqrt(_one_minus_square(x)),
    sample=samples.unary(-0.9, 0.9),
    complex_rules="holomorphic",
)


def _arctan_rule(g: AnyArray, out: AnyArray, x: AnyArray) -> AnyArray:
    """1 / (1 + x^2); of real numbers in two divisions, as the square would overflow."""
    if x.dtype.kind == "c":
        return g / (1 + x * x)
    modulus = np.hypot(x, 1)
    return g / modulus / modulus


declare("arctan", np.arctan, _arctan_rule, sample=samples.unary(), complex_rules="holomorphic")
declare("sinh", np.sinh, lambda g, out, x: g * np.cosh(x), sample=samples.unary(), complex_rules="holomorphic")
declare("cosh", np.cosh, lambda g, out, x: g * np.sinh(x), sample=samples.unary(), complex_rules="holomorphic")


def _tanh_slope(x: AnyArray) -> Any:
    """1 / cosh(x)^2 as (2 e^-|x| / (1 + e^-2|x|))^2: 1 - tanh(x)^2 has no digits left where tanh is almost 1."""
    power = np.exp(-np.absolute(x))
    return np.square(2 * power / (1 + power * power))


_tanh_slope_op = declare(
    "tanh_slope",
    _tanh_slope,
    lambda g, out, x: g * (-2 * out * np.tanh(x)),
    sample=samples.unary(),
    expects="a floating array",
)
declare(
    "tanh",
    np.tanh,
    lambda g, out, x: g * (1 - out * out if x.dtype.kind == "c" else _tanh_slope_op(x)),
    sample=samples.unary(),
    complex_rules="holomorphic",
)
declare(  # of real numbers the modulus of x + i, as the square would overflow
    "arcsinh",
    np.arcsinh,
    lambda g, out, x: g / (np.sqrt(1 + x * x) if x.dtype.kind == "c" else np.hypot(x, 1)),
    sample=samples.unary(),
    complex_rules="holomorphic",
)
declare(  # two roots, as the square would overflow
    "arccosh",
    np.arccosh,
    lambda g, out, x: g / np.sqrt(x - 1) / np.sqrt(x + 1),
    sample=samples.unary(1.2, 3.0),
    complex_rules="holomorphic",
)
declare(
    "arctanh",
    np.arctanh,
    lambda g, out, x: g / _one_minus_square(x),
    sample=samples.unary(-0.9, 0.9),
    complex_rules="holomorphic",
)


def _cosines(x: AnyArray, y: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray]:
    """x / r, y / r and r for r^2 = x^2 + y^2; the first two are 0 where r is 0 or infinite."""
    r = _or_infinite(np.hypot(x, y))
    infinite = np.isinf(r)
    return np.where(infinite, 0, x) / r, np.where(infinite, 0, y) / r, r


def _over_square(x: AnyArray, y: AnyArray) -> AnyArray:
    cosine, _, r = _cosines(x, y)
    return cosine / r


def _over_square_by_x(g: AnyArray, out: AnyArray, x: AnyArray, y: AnyArray) -> AnyArray:
    """(y^2 - x^2) / r^4."""
    x, y, r = _cosines(_typed(x, out), _typed(y, out))
    return g * ((y - x) * (y + x) / r / r)


def _over_square_by_y(g: AnyArray, out: AnyArray, x: AnyArray, y: AnyArray) -> AnyArray:
    """-2 x y / r^4."""
    x, y, r = _cosines(_typed(x, out), _typed(y, out))
    return g * (-2 * x * y / r / r)


_over_square_op = declare(  # an op, as in the derivative of the quotient infinity cancels infinity near the origin
    "over_square",
    _over_square,
    _over_square_by_x,
    _over_square_by_y,
    sample=_nonzero(2),
    broadcasts=True,
)
declare(
    "arctan2",
    np.arctan2,
    lambda g, out, y, x: g * _over_square_op(_typed(x, out), _typed(y, out)),
    lambda g, out, y, x: -g * _over_square_op(_typed(y, out), _typed(x, out)),
    sample=_nonzero(2),
)

# Magnitude and sign: at 0, of a complex number as of a real one, all derivatives of |x| are 0; those of its square are
# exact


def _unit(x: AnyArray, modulus: AnyArray) -> AnyArray:
    """x / |x|; 0 at 0."""
    return x / _or_infinite(modulus)


def _unit_rule(g: AnyArray, out: AnyArray, x: AnyArray) -> AnyArray:
    """The part of ``g`` across the direction of ``x``, over |x|; none for real x."""
    if x.dtype.kind != "c":
        return np.zeros_like(g)
    return 1j * out * (np.imag(np.conjugate(out) * g) / _or_infinite(np.absolute(x)))


unit = declare(  # an op, as the derivative of the quotient cancels where x is almost real or imaginary
    "unit",
    lambda x: _unit(x, np.absolute(x)),
    _unit_rule,
    sample=samples.unary(avoid=[0]),
    expects="a real or complex array",
    complex_rules="direct",
)


def _direction(x: AnyArray, modulus: AnyArray) -> AnyArray:
    """x / |x|, recorded if ``modulus`` is; 0 at 0."""
    if x.dtype.kind != "c":
        return np.sign(x)
    return unit(x) if isinstance(modulus, Tensor) else _unit(x, modulus)


def _absolute_rule(g: AnyArray, out: AnyArray, x: AnyArray) -> Any:
    if (multiple := quotient(g, out)) is not None:
        return multiple * x
    slope, part = slope_at_kink(g, out), g * _direction(x, out)
    return part if slope is None else np.where(x == 0, slope * x, part)


declare(
    "absolute",
    np.absolute,
    _absolute_rule,
    sample=samples.unary(avoid=[0]),
    complex_rules="direct",
)


def _fabs_rule(g: AnyArray, out: AnyArray, x: AnyArray) -> Any:
    if (multiple := quotient(g, out)) is not None:
        return multiple * x
    slope = slope_at_kink(g, out)
    return g * np.sign(x) if slope is None else np.where(x == 0, slope * x, g * np.sign(x))


declare("fabs", np.fabs, _fabs_rule, sample=samples.unary(avoid=[0]))
declare("copysign", np.copysign, lambda g, out, x, y: g * np.sign(x) * np.sign(out), None, sample=_nonzero(2))

# Parts of a number: whole and fractional, mantissa and exponent


def _scaled_sample(draw: samples.Draw) -> samples.Operands:
    first, second = samples.broadcastable(draw, 2)
    return (samples.reals(draw, first), samples.reals(draw, second, -4, 4).astype(np.int32)), {}


declare("ldexp", np.ldexp, lambda g, out, x, n: np.ldexp(g, n), None, sample=_scaled_sample)


def _part(ufunc: np.ufunc, position: int, x: AnyArray) -> Any:
    return ufunc(x)[position]


def _declare_parts(
    ufunc: np.ufunc, parts: tuple[str, str], rule: Callable[..., AnyArray], sample: samples.Sample
) -> None:
    """A ufunc of two results as two ops: the first follows its operand, the second jumps."""
    first, second = (
        declare(name, partial(_part, ufunc, part), part_rule, sample=sample, expects="a real array")
        for part, (name, part_rule) in enumerate(zip(parts, (rule, None)))
    )
    implements(ufunc)(lambda x: (first(x), second(x)))


_declare_parts(np.modf, ("fraction", "whole"), lambda g, out, x: g, samples.unary(avoid=[-2, -1, 0, 1, 2]))
_declare_parts(
    np.frexp, ("mantissa", "exponent"), lambda g, out, x: np.ldexp(g, -np.frexp(x)[1]), samples.unary(0.55, 0.95)
)

# sinc and i0 are means of cosines, so a derivative of any order is such a mean too, without cancellation near 0


def _turned(phase: AnyArray, quarters: int) -> AnyArray:
    """cos(phase + quarters * pi / 2): the cosine's derivative of that order, exact at 0."""
    value = np.sin(phase) if quarters % 2 else np.cos(phase)
    return -value if quarters % 4 in (1, 2) else value


_LEGENDRE = np.polynomial.legendre.leggauss(20)
_TIMES, _WEIGHTS = (_LEGENDRE[0] + 1) / 2, _LEGENDRE[1] / 2


def _sinc_derivative(x: AnyArray, *, order: int = 1) -> AnyArray:
    """Of sinc(x), the mean of cos(pi x t) over t from 0 to 1; far from 0 from x sinc(x) = sin(pi x) / pi instead.

    Up to |x| = 3 Gauss's formula with 20 nodes leaves an error below rounding.
    """
    times, weights = (asarray_like(a.astype(x.dtype), x) for a in (pi * _TIMES, _WEIGHTS * (pi * _TIMES) ** order))
    near = (_turned(x[..., None] * times, order) * weights).sum(axis=-1)
    away = np.where(np.abs(x) < 3, 3, x)
    far: AnyArray = np.sinc(away)
    for k in range(1, order + 1):
        far = (pi ** (k - 1) * _turned(pi * away, k - 1) - k * far) / away
    return np.where(np.abs(x) < 3, near, far)


_COSINES = np.cos(pi / 2 * (np.arange(64) + 0.5) / 64)


def _i0_derivative(x: AnyArray, *, order: int = 1) -> Any:
    """Of i0(x), the mean of cosh(x cos t) over a quarter of the circle: equidistant nodes are exact to rounding."""
    cosines, weights = (asarray_like(a.astype(x.dtype), x) for a in (_COSINES, _COSINES**order / len(_COSINES)))
    arguments = x[..., None] * cosines
    return ((np.sinh(arguments) if order % 2 else np.cosh(arguments)) * weights).sum(axis=-1)


def _of_any_order(
    name: str, function: Callable[..., AnyArray], derivative: Callable[..., AnyArray], low: float
) -> None:
    """Declare a function with its derivatives: the op of the derivative has the order as a setting."""

    def sample(draw: samples.Draw) -> samples.Operands:
        return (samples.reals(draw, samples.shape(draw), low, -low),), {"order": draw.integer(1, 3)}

    higher = declare(
        f"{name}_derivative",
        derivative,
        lambda g, out, x, order: g * higher(x, order=order + 1),
        sample=sample,
        expects="a floating array",
    )
    declare(
        name,
        lambda x: function(x),
        lambda g, out, x: g * higher(x, order=1),
        sample=samples.unary(low, -low),
        numpy=function,
        expects="a real array",
    )


_of_any_order("sinc", np.sinc, _sinc_derivative, -5.0)
_of_any_order("i0", np.i0, _i0_derivative, -9.0)
