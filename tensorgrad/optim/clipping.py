"""Gradient clipping."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Any

import numpy as np

from ..core import Tensor, describe
from ..core.context import runtime_check


class GradientsNotFinite(ArithmeticError):
    """Raised by :func:`clip_gradients` where the gradients' norm is infinite or NaN; no gradient has been changed."""


def clip_gradients(parameters: Iterable[Tensor], max_norm: float, *, error_if_nonfinite: bool = True) -> Any:
    """Scale all gradients so that their joint Euclidean norm is at most ``max_norm``; returns the norm before.

    Pascanu et al. 2013, algorithm 1. Parameters without a gradient are left out. The norm is computed in float64.

    Parameters
    ----------
    parameters
        Tensors, such as ``model.parameters()``.
    max_norm
        Positive and finite.
    error_if_nonfinite
        Whether a norm that is infinite or NaN is an error. Else gradients are scaled all the same: after an infinite
        norm they are 0, and NaN where they were infinite; after NaN they are NaN.

    Raises
    ------
    GradientsNotFinite
        If the norm is infinite or NaN, unless told otherwise. No gradient has been changed.
    TypeError, ValueError
        If ``parameters`` or ``max_norm`` do not fit, or gradients are complex.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> x = tg.Tensor([0.0, 0.0], requires_grad=True)
    >>> x.grad = np.array([3.0, 4.0])
    >>> clip_gradients([x], 1.0), x.grad
    (np.float64(5.0), array([0.6, 0.8]))
    """
    check_limit("clip_gradients", "max_norm", max_norm)
    given = _with_gradients("clip_gradients", list(parameters))
    norm = np.sqrt(sum(np.square(gradient.astype(np.float64, copy=False)).sum() for _, gradient in given))
    if error_if_nonfinite:
        runtime_check(_check_finite, norm, *(gradient for _, gradient in given), now=False)
    scale = np.minimum(1, max_norm / np.maximum(norm, max_norm))
    for parameter, gradient in given:
        dtype = gradient.dtype if gradient.dtype.kind == "f" else parameter.dtype
        parameter.grad = (gradient * scale.astype(np.result_type(dtype, np.float32))).astype(dtype, copy=False)
    return norm


def clip_gradient_values(parameters: Iterable[Tensor], max_value: float) -> None:
    """Limit each number in all gradients to ``-max_value`` to ``max_value``; what is NaN stays so.

    Parameters
    ----------
    parameters
        Tensors, such as ``model.parameters()``; those without a gradient are left out.
    max_value
        Positive and finite.

    Raises
    ------
    TypeError, ValueError
        If ``parameters`` or ``max_value`` do not fit, or gradients are complex.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> x = tg.Tensor([0.0, 0.0], requires_grad=True)
    >>> x.grad = np.array([3.0, -0.5])
    >>> clip_gradient_values([x], 1.0)
    >>> x.grad
    array([ 1. , -0.5])
    """
    check_limit("clip_gradient_values", "max_value", max_value)
    for parameter, gradient in _with_gradients("clip_gradient_values", list(parameters)):
        parameter.grad = np.clip(gradient, -max_value, max_value).astype(gradient.dtype, copy=False)


def _with_gradients(function: str, parameters: list[Any]) -> list[tuple[Tensor, Any]]:
    """Each parameter that has a gradient, once, and the gradient; both are checked."""
    if not parameters:
        raise ValueError(
            f"{function}: got no parameters, perhaps a generator that is used up; pass a list, as "
            "model.parameters() gives"
        )
    for parameter in parameters:
        if not isinstance(parameter, Tensor):
            raise TypeError(
                f"{function}: takes parameters, such as model.parameters(), got one of type {type(parameter).__name__}"
            )
    found = {id(parameter): (parameter, parameter.grad) for parameter in parameters}
    given = [(parameter, gradient) for parameter, gradient in found.values() if gradient is not None]
    for parameter, gradient in given:
        if not hasattr(gradient, "dtype"):
            raise TypeError(
                f"{function}: takes gradients that are arrays of their parameter's shape, here {parameter.shape}, "
                f"got {describe(gradient)}; set .grad to such an array, or to None"
            )
    if any(gradient.dtype.kind == "c" for _, gradient in given):
        raise TypeError(f"{function}: takes real gradients, got complex ones; keep real and imaginary parts as two")
    return given


def _check_finite(norm: Any, *gradients: Any) -> None:
    if np.isfinite(norm):
        return
    found = [(i, gradient) for i, gradient in enumerate(gradients) if not np.isfinite(gradient).all()]
    where = (
        f"gradient {found[0][0]}, {describe(found[0][1])}, has {np.sum(~np.isfinite(found[0][1]))} elements that are "
        "infinite or NaN"
        if found
        else "all are finite, but their squares overflow"
    )
    raise GradientsNotFinite(
        f"clip_gradients: the norm of the gradients is {norm}: {where}; lower the learning rate or scale the loss, "
        "find the op with tg.detect_anomaly(), or pass error_if_nonfinite=False to clip all the same"
    )


def check_limit(function: str, name: str, limit: object) -> None:
    """Raise unless it is a number to which gradients can be limited."""
    if isinstance(limit, (int, float, np.integer, np.floating)) and not 0 < limit < inf:
        raise ValueError(f"{function}: {name} must be positive and finite, got {limit}")
