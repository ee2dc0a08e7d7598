"""Elementwise ops: arithmetic, exponentials, choices and comparisons. All operands broadcast as in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import samples
from ..tensor import OPS, declare, implements, refuse

# Arithmetic

declare("add", np.add, lambda g, out, x, y: g, lambda g, out, x, y: g, sample=samples.binary())
declare("subtract", np.subtract, lambda g, out, x, y: g, lambda g, out, x, y: -g, sample=samples.binary())
declare("multiply", np.multiply, lambda g, out, x, y: g * y, lambda g, out, x, y: g * x, sample=samples.binary())
declare(
    "divide",
    np.divide,
    lambda g, out, x, y: g / y,
    lambda g, out, x, y: -g * out / y,
    sample=samples.binary(0.3, 2.0),
)
declare("negative", np.negative, lambda g, out, x: -g, sample=samples.unary())
declare("positive", np.positive, lambda g, out, x: g, sample=samples.unary())
declare("square", np.square, lambda g, out, x: g * (2 * x), sample=samples.unary())
declare("floor_divide", np.floor_divide, None, None, sample=samples.binary(0.3, 2.0))
declare(
    "remainder",
    np.remainder,
    lambda g, out, x, y: g,
    lambda g, out, x, y: -g * np.floor_divide(x, y),
    sample=lambda draw: ((samples.reals(draw, (3,), 0.1, 0.9) + draw.integer(-2, 2), np.ones(3)), {}),
)


def _in_dtype(value: Any, out: Any) -> Any:
    """An operand in the dtype of the result: small integers would overflow in a rule, or give half precision."""
    return value if isinstance(value, (int, float, complex)) or value.dtype == out.dtype else value.astype(out.dtype)


def _power_base(g: Any, out: Any, x: Any, y: Any) -> Any:
    """y x^(y-1); 0 for 0^0, where the formula says 0 times infinity."""
    if isinstance(y, (int, float, complex)):
        return g * (y * x ** (y - 1)) if y != 0 else g * np.zeros_like(x)
    x, y = _in_dtype(x, out), _in_dtype(y, out)
    base = np.where((x == 0) & (y == 0), 1, x)
    return g * y * base ** (y - 1)


def _power_exponent(g: Any, out: Any, x: Any, y: Any) -> Any:
    """x^y log x; 0 where the base is 0."""
    if isinstance(x, (int, float, complex)):  # NumPy's own log of a Python number is a float64, which would spread
        return g * out * (np.log(np.array(x, np.result_type(out.dtype, np.float64))).item() if x != 0 else 0)
    x = _in_dtype(x, out)
    return g * out * np.log(np.where(x == 0, 1, x))


declare("power", np.power, _power_base, _power_exponent, sample=samples.positive_base)

# Exponentials, roots and the like

declare("exp", np.exp, lambda g, out, x: g * out, sample=samples.unary())
declare("expm1", np.expm1, lambda g, out, x: g * (out + 1), sample=samples.unary())
declare("log", np.log, lambda g, out, x: g / x, sample=samples.unary(0.3, 3.0))
declare("log1p", np.log1p, lambda g, out, x: g / (1 + x), sample=samples.unary(-0.5, 2.0))
declare("sqrt", np.sqrt, lambda g, out, x: g * (0.5 / out), sample=samples.unary(0.3, 3.0))
declare("sin", np.sin, lambda g, out, x: g * np.cos(x), sample=samples.unary())
declare("cos", np.cos, lambda g, out, x: -g * np.sin(x), sample=samples.unary())
declare("tanh", np.tanh, lambda g, out, x: g * (1 - out * out), sample=samples.unary())

# Choices. Where both sides are equal, maximum and minimum give half of the gradient to each.


def _chosen(g: Any, out: Any, x: Any, y: Any) -> Any:
    """The gradient for the first operand: all of it where x was chosen, half of it at a tie."""
    chosen = g * (x == out)
    return np.where(x == y, 0.5 * g, chosen)


declare("maximum", np.maximum, _chosen, lambda g, out, x, y: _chosen(g, out, y, x), sample=samples.apart)
declare("minimum", np.minimum, _chosen, lambda g, out, x, y: _chosen(g, out, y, x), sample=samples.apart)


def _choice_sample(draw: samples.Draw) -> Any:
    mask, first, second = samples.broadcastable(draw, 3)
    return (samples.reals(draw, mask) > 0, samples.reals(draw, first), samples.reals(draw, second)), {}


declare(
    "where",
    lambda condition, x, y: np.where(condition, x, y),
    None,
    lambda g, out, condition, x, y: np.where(condition, g, 0),
    lambda g, out, condition, x, y: np.where(condition, 0, g),
    sample=_choice_sample,
    broadcasts=True,
    expects="a condition and two operands whose shapes broadcast together",
)


@implements(np.where)
def _where(condition: Any, *choices: Any) -> Any:
    if len(choices) != 2:
        raise TypeError(
            "np.where on Tensors takes (condition, x, y); for the positions alone use np.nonzero(tensor.numpy())"
        )
    return OPS["where"](condition, *choices)


def _clip_sample(draw: samples.Draw) -> Any:
    first, second = samples.broadcastable(draw, 2)
    low = np.round(samples.reals(draw, second, -1.5, 0.0), 1)
    return (samples.between_tenths(draw, first), low, np.asarray(low + 1.0)), {}


# At a bound the gradient belongs to x. A lower bound above the upper one gives the upper, as in NumPy.
declare(
    "clip",
    lambda x, low, high: np.clip(x, low, high),
    lambda g, out, x, low, high: np.where((x >= low) & (x <= high), g, 0),
    lambda g, out, x, low, high: np.where((x < low) & (low <= high), g, 0),
    lambda g, out, x, low, high: np.where((x > high) | (low > high), g, 0),
    sample=_clip_sample,
    broadcasts=True,
    expects="x, lower and upper bound whose shapes broadcast together",
)


@implements(np.clip)
def _clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, **keywords: Any) -> Any:
    low = keywords.pop("min", None) if a_min is None else a_min
    high = keywords.pop("max", None) if a_max is None else a_max
    refuse("np.clip", out=out, **keywords)
    if low is None and high is None:
        return OPS["positive"](a)
    a = a if hasattr(a, "dtype") else np.asarray(a)
    limits = np.iinfo(a.dtype) if np.issubdtype(a.dtype, np.integer) else None
    low = (limits.min if limits else -np.inf) if low is None else low
    high = (limits.max if limits else np.inf) if high is None else high
    return OPS["clip"](a, low, high)


# Comparisons and logic have no gradient. They are ops all the same, so that what depends on them is recorded.

for _compare in (np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal):
    declare(_compare.__name__, _compare, None, None, sample=samples.binary())
for _connect in (np.bitwise_and, np.bitwise_or, np.bitwise_xor):
    declare(_connect.__name__, _connect, None, None, sample=samples.integers(2))
for _logic in (np.logical_and, np.logical_or, np.logical_xor):
    declare(_logic.__name__, _logic, None, None, sample=samples.binary())
declare("invert", np.invert, None, sample=samples.integers(1))
for _test in (np.logical_not, np.isnan, np.isinf, np.isfinite, np.sign, np.floor, np.ceil, np.rint, np.trunc):
    declare(_test.__name__, _test, None, sample=samples.unary(avoid=[-2, -1, 0, 1, 2]))
