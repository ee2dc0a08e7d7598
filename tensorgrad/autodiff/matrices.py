"""Jacobians and Hessians as arrays, all their rows or columns from few backward passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Tensor, asarray_like
from ..core.context import recorded
from .batched import blocks_of, dummy_gradient, gradients_by_row, packed
from .call import Call, Function, named
from .gradients import gradients_of
from .reverse import grad


def jacobian(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The function that gives the Jacobian of ``f``, all its first derivatives.

    One backward pass gives many rows or, as in :func:`jvp`, columns, whatever there are fewer of: the rules are called
    with a stack of gradients. A Jacobian that is differentiated in turn, compiled, or of other libraries' arrays goes
    row by row.

    Parameters
    ----------
    f
        Function of arrays and containers of them, which returns an array or a container of arrays.
    argnums
        As for :func:`grad`.

    Returns
    -------
    callable
        Of the arguments of ``f``; returns an array of shape ``value.shape + x.shape`` and the dtype of ``x``. Where
        value or argument are containers, it is one like the value, of ones like the argument.

    Raises
    ------
    ValueError, TypeError
        As for :func:`grad`.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.jacobian(lambda x: x[:, None] * x)(np.array([1.0, 2.0])).shape
    (2, 2, 2)
    >>> tg.jacobian(lambda x: x * x[0])(np.array([1.0, 2.0]))
    array([[2., 0.],
           [2., 1.]])
    """

    @named("jacobian", f)
    def derivatives(*args: Any, **keywords: object) -> Any:
        return _jacobian("jacobian", f, args, keywords, argnums)

    return derivatives


def hessian(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The function that gives the Hessian of ``f``, which returns one number: the Jacobian of the gradient.

    Returns
    -------
    callable
        Of the arguments of ``f``; returns an array of shape ``x.shape + x.shape``, for a container (or a tuple of
        ``argnums``) one like it, of ones like it.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """

    @named("hessian", f)
    def derivatives(*args: Any, **keywords: object) -> Any:
        return _jacobian("hessian", grad(f, argnums), args, keywords, argnums)

    return derivatives


def _jacobian(name: str, f: Function, args: Any, keywords: Any, argnums: int | Sequence[int]) -> Any:
    call = Call(name, f, args, keywords, argnums)
    with recorded():
        matrix = _matrix(call.outputs, call.variables, call.live)
        blocks = list(blocks_of(matrix, call.outputs, call.variables))
    return call.like_value([call.like_arguments(row, call.returned) for row in blocks])


def _matrix(outputs: Sequence[Tensor], variables: Sequence[Tensor], live: bool) -> Any:
    """The derivatives of all elements of ``outputs``, by row, with respect to all elements of ``variables``."""
    rows, columns = (sum(tensor.size for tensor in tensors) for tensors in (outputs, variables))
    if not rows or not columns or not any(output.requires_grad for output in outputs):
        tensors = [*outputs, *variables]
        dtype = np.result_type(*(tensor.dtype for tensor in tensors)) if tensors else np.float64
        zeros = np.zeros((rows, columns), dtype)
        return asarray_like(zeros, tensors[0]) if tensors else zeros
    output = packed(outputs)
    if rows <= columns:
        return gradients_by_row(output, variables, live)
    dummy = dummy_gradient(output)
    pulled_back = packed(gradients_of(output, variables, dummy, create_graph=True, retain_graph=True))
    if not pulled_back.requires_grad:
        return asarray_like(np.zeros((rows, columns), pulled_back.dtype), output)
    return gradients_by_row(pulled_back, [dummy], live).T
