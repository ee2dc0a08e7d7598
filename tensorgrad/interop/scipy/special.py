"""An op for each ufunc of ``scipy.special`` that has a rule.

Rules are written with these ufuncs, so that derivatives of any order are recorded. They are chosen for the tails: where
the textbook's formula is a difference of what is almost equal, another one stands here. Formulas without a source are
those of the NIST Digital Library of Mathematical Functions (DLMF), chapters 4 to 8 and 10.
"""

from __future__ import annotations

from functools import wraps
from math import factorial, log, pi, sqrt
from operator import index
from typing import Any, Callable

import numpy as np

from ... import samples
from ..._optional import require
from ...core import OPS, AnyArray, Op, declare
from ...ops.conversion import in_dtype, typed

special = require("scipy.special", "tensorgrad.interop.scipy")

Rule = Callable[..., Any]


def _declare(name: str, *rules: Rule, sample: samples.Sample, complex_rules: str | None = None) -> None:
    """Declare ``scipy.special.name``: its rules are given operands in the dtype of the result."""
    declare(
        f"special.{name}",
        getattr(special, name),
        *map(_on_typed, rules),
        sample=sample,
        complex_rules=complex_rules,
    )


def _on_typed(rule: Rule) -> Rule:
    @wraps(rule)
    def on_typed(g: AnyArray, out: AnyArray, *operands: AnyArray) -> Any:
        return rule(g, out, *(typed(x, out) for x in operands))

    return on_typed


def _unknown(name: str, operand: str) -> Rule:
    """The rule for an operand in which a function has a derivative, but none that is known here."""

    def rule(g: AnyArray, out: AnyArray, *operands: AnyArray) -> Any:
        raise TypeError(
            f"scipy.special.{name} is not differentiated in its {operand}; pass a number or an array for it, such as "
            "tensor.numpy()"
        )

    return rule


def _positive(operands: int, low: float = 0.5, high: float = 4.0) -> samples.Sample:
    """Sample of positive operands that broadcast."""
    return lambda draw: (
        tuple(samples.reals(draw, shape, low, high) for shape in samples.broadcastable(draw, operands)),
        {},
    )


def _numbers_and_array(numbers: int, low: float, high: float) -> samples.Sample:
    """Sample of an array, and of numbers before it in which a function is not differentiated."""
    return lambda draw: (
        (
            *(samples.choice(draw, (2.0, 0.5, 3.5)) for _ in range(numbers)),
            samples.reals(draw, samples.shape(draw), low, high),
        ),
        {},
    )


# What NumPy has too: its rules

for _name in ("exp2", "expm1", "log1p", "cbrt"):
    _twin: Any = OPS[_name]
    _declare(
        _name, *_twin.rules, sample=_twin.sample, complex_rules="holomorphic" if _name in ("expm1", "log1p") else None
    )
_declare("exp10", lambda g, out, x: g * (out * log(10)), sample=samples.unary())

# The logistic function: 1 - expit(x) is expit(-x), with all its digits

_declare("expit", lambda g, out, x: g * (out * special.expit(-x)), sample=samples.unary())
_declare("log_expit", lambda g, out, x: g * special.expit(-x), sample=samples.unary())
_declare("logit", lambda g, out, p: g / p / (1 - p), sample=samples.unary(0.1, 0.9))

# The error function and the normal distribution


def _bell(x: AnyArray) -> AnyArray:
    """exp(-x^2); beyond 32 it is 0 anyway, and the square might overflow."""
    x = x if x.dtype.kind == "c" else np.clip(x, -32, 32)
    return np.exp(-x * x)


_FROM, _TERMS = 3, 30
"""Where the continued fraction begins, and how much of it gives float64 there."""


def _erfc_ratio(x: AnyArray, *, n: int = 1) -> AnyArray:
    """The repeated integral of erfc of order ``n`` over that of order ``n - 1`` (DLMF 7.18).

    From x = 3 on as the continued fraction 1/(2x + 2(n+1)/(2x + 2(n+2)/(2x + ...))), of positive terms, which is their
    recurrence (DLMF 7.18.7; Gautschi 1961); below from that of order 1, 1 / (sqrt(pi) erfcx(x)) - x, upwards.
    """
    twice, far = 2 * np.maximum(x, _FROM), np.zeros_like(x)
    for order in range(n + _TERMS, n, -1):
        far = 1 / (twice + 2 * order * far)
    low = np.minimum(x, _FROM)
    near = sqrt(1 / pi) / special.erfcx(low) - low
    for order in range(2, n + 1):
        near = (1 / near - 2 * low) / (2 * order)
    return np.where(x < _FROM, near, far)


def _erfc_ratio_rule(g: AnyArray, out: AnyArray, x: AnyArray, n: int) -> Any:
    return g * (2 * out * (n * out - (n + 1) * _erfc_ratio_op(x, n=n + 1)))


_erfc_ratio_op: Op = declare(
    "special.erfc_ratio",
    _erfc_ratio,
    _erfc_ratio_rule,
    sample=lambda draw: ((samples.reals(draw, samples.shape(draw), -2.0, 5.0),), {"n": draw.integer(1, 2)}),
    expects="a floating array",
)
_mills = declare(  # an op, as its own derivative cancels if it is taken of the quotient
    "special.inverse_mills_ratio",
    lambda x: sqrt(2 / pi) / special.erfcx(-sqrt(0.5) * x),
    lambda g, out, x: g * (-sqrt(2) * out * _erfc_ratio_op(-sqrt(0.5) * x)),
    sample=samples.unary(-4.0, 4.0),
    expects="a floating array",
)
"""The density of the normal distribution over its distribution function."""

_SLOPE = 2 / sqrt(pi)
_declare("erf", lambda g, out, x: g * (_SLOPE * _bell(x)), sample=samples.unary(), complex_rules="holomorphic")
_declare("erfc", lambda g, out, x: g * (-_SLOPE * _bell(x)), sample=samples.unary(), complex_rules="holomorphic")
_declare("erfcx", lambda g, out, x: g * (-2 * out * _erfc_ratio_op(x)), sample=samples.unary(-1.0, 5.0))
_declare("erfinv", lambda g, out, y: g * np.exp(out * out) / _SLOPE, sample=samples.unary(-0.9, 0.9))
_declare("erfcinv", lambda g, out, y: g * np.exp(out * out) / -_SLOPE, sample=samples.unary(0.1, 1.9))
_declare("ndtr", lambda g, out, x: g * (sqrt(0.5 / pi) * _bell(sqrt(0.5) * x)), sample=samples.unary())
_declare("log_ndtr", lambda g, out, x: g * _mills(x), sample=samples.unary(-6.0, 3.0))
_declare("ndtri", lambda g, out, p: g * (sqrt(2 * pi) * np.exp(0.5 * out * out)), sample=samples.unary(0.1, 0.9))

# Gamma and beta functions


def _polygamma_sample(draw: samples.Draw) -> samples.Operands:
    return (samples.reals(draw, samples.shape(draw), 0.5, 4.0),), {"n": draw.integer(1, 2)}


_polygamma: Op = declare(
    "special.polygamma",
    lambda x, *, n: float((-1) ** (n + 1) * factorial(n)) * special.zeta(n + 1, x),
    lambda g, out, x, n: g * _polygamma(x, n=n + 1),
    sample=_polygamma_sample,
    expects="a real array, and n of 1 or more",
)


def polygamma(n: int, x: AnyArray) -> Any:
    """The derivative of order ``n`` of ``scipy.special.digamma``, as ``scipy.special.polygamma``.

    Parameters
    ----------
    n
        0 or more: one order for all.
    x
        Tensor or array of real numbers of any shape.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> from tensorgrad.interop.scipy import polygamma
    >>> polygamma(1, np.array([1.0, 2.0])).round(4)
    array([1.6449, 0.6449])
    """
    n = index(n)
    if n < 0:
        raise ValueError(f"polygamma: n must be 0 or more, got {n}")
    return special.psi(x) if n == 0 else _polygamma(x, n=n)


_LARGE = 20
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66)


def _polygamma_rise(a: AnyArray, b: AnyArray, *, n: int = 0) -> Any:
    """polygamma(n, a + b) - polygamma(n, a), in float64.

    For large ``a`` it is Stirling's series (DLMF 5.11.2, 5.15.8) with a difference of powers in place of each power, as
    the difference of the sums has no digits left where ``b`` is small beside ``a``.
    """
    dtype = (a + b).dtype
    a, b = (x.astype(np.float64) if hasattr(x, "astype") else np.float64(x) for x in (a, b))
    large = np.maximum(a, _LARGE)
    growth = np.log1p(np.maximum(b, 0) / large)
    terms: dict[int, float] = {n: factorial(n - 1)} if n else {}
    terms[n + 1] = factorial(n) / 2
    for k, number in enumerate(_BERNOULLI, start=1):
        terms[n + 2 * k] = number * factorial(2 * k + n - 1) / factorial(2 * k)
    far: Any = growth if n == 0 else 0
    for power, factor in terms.items():
        far = far - (-1) ** n * factor * large**-power * np.expm1(-power * growth)
    near = polygamma(n, a + b) - polygamma(n, a)
    return in_dtype(np.where((a < _LARGE) | (b < 0), near, far), dtype)


_rise: Op = declare(
    "special.polygamma_rise",
    _polygamma_rise,
    lambda g, out, a, b, n: g * _rise(a, b, n=n + 1),
    lambda g, out, a, b, n: g * _polygamma(a + b, n=n + 1),
    sample=lambda draw: (_positive(2, 0.5, 40.0)(draw)[0], {"n": draw.integer(0, 1)}),
    broadcasts=True,
)

_declare("gamma", lambda g, out, x: g * (out * special.psi(x)), sample=_positive(1))
_declare("gammaln", lambda g, out, x: g * special.psi(x), sample=samples.unary(0.5, 4.0))
_declare("loggamma", lambda g, out, x: g * special.psi(x), sample=samples.unary(0.5, 4.0))
_declare("psi", lambda g, out, x: g * _polygamma(x, n=1), sample=samples.unary(0.5, 4.0))
_declare(
    "beta",
    lambda g, out, a, b: g * (-out * _rise(a, b)),
    lambda g, out, a, b: g * (-out * _rise(b, a)),
    sample=_positive(2),
)
_declare(
    "betaln",
    lambda g, out, a, b: -g * _rise(a, b),
    lambda g, out, a, b: -g * _rise(b, a),
    sample=_positive(2),
)

# Their incomplete forms, in the last operand


def _gamma_density(a: AnyArray, x: AnyArray) -> Any:
    return np.exp(special.xlogy(a - 1, x) - x - special.gammaln(a))


def _beta_density(a: AnyArray, b: AnyArray, x: AnyArray) -> Any:
    return np.exp(special.xlogy(a - 1, x) + special.xlog1py(b - 1, -x) - special.betaln(a, b))


for _name, _sign in (("gammainc", 1), ("gammaincc", -1)):
    _declare(
        _name,
        _unknown(_name, "first argument"),
        lambda g, out, a, x, sign=_sign: g * (sign * _gamma_density(a, x)),
        sample=_numbers_and_array(1, 0.3, 4.0),
    )
for _name, _sign in (("betainc", 1), ("betaincc", -1)):
    _declare(
        _name,
        _unknown(_name, "first argument"),
        _unknown(_name, "second argument"),
        lambda g, out, a, b, x, sign=_sign: g * (sign * _beta_density(a, b, x)),
        sample=_numbers_and_array(2, 0.1, 0.9),
    )

# Entropies: where x is 0, x log(y) is 0 whatever y is, and so are its derivatives where y is 0 too


def _quotient(x: AnyArray, y: AnyArray) -> AnyArray:
    """x / y; 0 for 0 / 0."""
    return x / np.where((x == 0) & (y == 0), np.inf, y)


def _log_ratio(x: AnyArray, y: AnyArray) -> Any:
    """log(x / y), whose quotient might overflow; 0 where both are 0."""
    both = (x == 0) & (y == 0)
    return np.log(np.where(both, 1, x)) - np.log(np.where(both, 1, y))


_declare(
    "xlogy",
    lambda g, out, x, y: g * np.log(np.where((x == 0) & (y == 0), 1, y)),
    lambda g, out, x, y: g * _quotient(x, y),
    sample=samples.binary(0.3, 2.0),
)
_declare(
    "xlog1py",
    lambda g, out, x, y: g * np.log1p(np.where((x == 0) & (y == -1), 0, y)),
    lambda g, out, x, y: g * _quotient(x, 1 + y),
    sample=samples.binary(-0.5, 2.0),
)
_declare("entr", lambda g, out, x: g * (-np.log(x) - 1), sample=samples.unary(0.1, 2.0))
_declare(
    "rel_entr",
    lambda g, out, x, y: g * np.where((x == 0) & (y == 0), 0, _log_ratio(x, y) + 1),
    lambda g, out, x, y: -g * _quotient(x, y),
    sample=_positive(2, 0.1, 2.0),
)
_declare(
    "kl_div",
    lambda g, out, x, y: g * _log_ratio(x, y),
    lambda g, out, x, y: g * _quotient(y - x, y),
    sample=_positive(2, 0.1, 2.0),
)

# Bessel functions: 2 f_v' = lower f_(v-1) + upper f_(v+1), and the scaled ones have the derivative of the scale besides


def _declare_bessel(zero: str, one: str, general: str, lower: int, upper: int, scale: int, low: float) -> None:
    """Those of orders 0 and 1, and of any; ``scale`` is the sign in the exponent of the scale, 0 if there is none."""
    f0, f1, f = (getattr(special, name) for name in (zero, one, general))

    def slope(g: AnyArray, x: AnyArray, below: Rule, above: Rule, own: Rule) -> Any:
        """``g`` times the derivative; of scaled ones a difference of what is almost equal for large x, in float64."""
        if not scale:
            return g * (0.5 * (lower * below(x) + upper * above(x)))
        wide = x.astype(np.float64)
        unscaled = 0.5 * (lower * below(wide) + upper * above(wide))
        return g * in_dtype(unscaled + scale * np.sign(wide) * own(wide), x.dtype)

    sample = samples.unary(low, 4.0)
    _declare(zero, lambda g, out, x: slope(g, x, lambda x: lower * upper * f1(x), f1, f0), sample=sample)
    _declare(one, lambda g, out, x: slope(g, x, f0, lambda x: f(2, x), f1), sample=sample)
    _declare(
        general,
        _unknown(general, "order"),
        lambda g, out, v, x: slope(g, x, lambda x: f(v - 1, x), lambda x: f(v + 1, x), lambda x: f(v, x)),
        sample=_numbers_and_array(1, max(low, 0.5), 4.0),
    )


_declare_bessel("j0", "j1", "jv", 1, -1, 0, -4.0)
_declare_bessel("y0", "y1", "yv", 1, -1, 0, 0.5)
_declare_bessel("i0", "i1", "iv", 1, 1, 0, -4.0)
_declare_bessel("k0", "k1", "kv", -1, -1, 0, 0.5)
_declare_bessel("i0e", "i1e", "ive", 1, 1, -1, 0.2)
_declare_bessel("k0e", "k1e", "kve", -1, -1, 1, 0.5)
