"""The Jacobian and the Hessian as linear maps: products with vectors, without the matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from .._pytree import tree_map
from ..core import Tensor, describe
from .batched import dummy_gradient
from .call import Call, Function, is_floating, is_output, pull_back, type_of
from .networks import with_parameters


def vjp(f: Function, *args: object, **keywords: object) -> tuple[Any, Function]:
    """The value of ``f(*args)`` and its pullback, the vector-Jacobian product.

    Parameters
    ----------
    f
        Function of arrays and containers of them, which returns an array or a container of arrays.
    args, keywords
        Its arguments; the positional ones are differentiated.

    Returns
    -------
    value
        What ``f`` returned.
    pullback
        ``pullback(cotangent)`` gives the tuple of u^T J for each argument. The cotangent u has the structure, shapes
        and dtypes of the value. It can be called any number of times, even after arguments or value were changed.

    Raises
    ------
    ValueError, TypeError
        If structure and shapes, or dtypes, do not agree.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> value, pullback = tg.vjp(np.multiply, np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    >>> value
    array([3., 8.])
    >>> pullback(np.array([1.0, 10.0]))
    (array([ 3., 40.]), array([ 1., 20.]))
    """
    call = Call("vjp", f, tree_map(_unshared, args), keywords)

    def pullback(cotangent: object) -> tuple[Any, ...]:
        cotangents = _all_fitting("vjp", "cotangent", call.value, cotangent, is_output, call.outputs)
        live, show = call.returning(cotangents)
        found: tuple[Any, ...] = call.like_arguments(
            call.pull_back(cotangents, create_graph=live, retain_graph=True), show
        )
        return found

    return tree_map(_unshared, call.returned(call.value)), pullback


def jvp(f: Function, args: object, tangents: object) -> tuple[Any, Any]:
    """The value of ``f(*args)`` and its derivative along ``tangents``, the Jacobian-vector product J t.

    Forward mode through reverse mode twice: the pullback u -> J^T u is linear in u, and its own pullback, at any u, is
    t -> J t (J. Townsend, "A new trick for calculating Jacobian vector products", 2017). It costs about three
    evaluations of ``f``, and memory as a gradient does.

    Parameters
    ----------
    f
        Function of arrays and containers of them, which returns an array or a container of arrays.
    args, tangents
        Tuples of the same structure, shapes and dtypes; None as the tangent of what is not floating. Anything else than
        a tuple or a list is the only argument.

    Returns
    -------
    value, tangent
        Of the same structure.

    Raises
    ------
    ValueError, TypeError
        If structure and shapes, or dtypes, do not agree.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> value, tangent = tg.jvp(np.square, (np.array([1.0, 3.0]),), (np.array([1.0, -1.0]),))
    >>> tangent
    array([ 2., -6.])
    """
    args, _ = _arguments(args)
    call = Call("jvp", f, args, {})
    vectors = _all_fitting("jvp", "tangent", args, _arguments(tangents)[0], is_floating, call.variables)
    live, show = call.returning(vectors)
    dummies = [dummy_gradient(output) for output in call.outputs]
    first = call.pull_back(dummies, create_graph=True, retain_graph=True)
    parts = pull_back(first, dummies, vectors, create_graph=live, retain_graph=live)
    return show(call.value), show(call.like_value(parts))


def hvp(f: Function, args: object, vectors: object) -> Any:
    """The product of the Hessian of ``f`` and a vector, without the Hessian: the gradient of <gradient of f, vector>.

    Parameters
    ----------
    f
        Function that returns one number.
    args, vectors
        As ``args`` and ``tangents`` of :func:`jvp`.

    Returns
    -------
    Like ``args``: a tuple, or the product for the only argument if that stood for itself.

    Raises
    ------
    ValueError, TypeError
        As for :func:`grad` and :func:`jvp`.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> x, v = np.array([1.0, 2.0]), np.array([1.0, 0.0])
    >>> tg.hvp(lambda x: x[0] ** 2 * x[1], x, v)
    array([4., 2.])

    The source is B. Pearlmutter, "Fast exact multiplication by the Hessian" (1994).
    """
    args, alone = _arguments(args)
    call = Call("hvp", f, args, {})
    output = call.scalar()
    parts = _all_fitting("hvp", "vector", args, _arguments(vectors)[0], is_floating, call.variables)
    live, show = call.returning(parts)
    first = call.pull_back([np.ones_like(output.data)], create_graph=True, retain_graph=True)
    second = pull_back(first, call.variables, parts, create_graph=live, retain_graph=live)
    products = call.like_arguments(second, show)
    return products[0] if alone else products


def _arguments(args: object) -> tuple[Sequence[Any], bool]:
    """Arguments as a sequence, and whether a single one stood for itself."""
    return (args, False) if isinstance(args, (tuple, list)) else ((args,), True)


def _unshared(leaf: object) -> Any:
    """An array or a Tensor as one of its own: the caller may write into the other one."""
    if isinstance(leaf, Tensor):
        return +leaf if leaf.requires_grad else leaf.detach()
    return leaf.copy() if isinstance(leaf, ndarray) else leaf


def _all_fitting(
    name: str, kind: str, tree: object, given: object, has_one: Function, expected: Sequence[Tensor]
) -> list[Any]:
    """The tangents or cotangents for the leaves of ``tree`` that have one; None stands at the others."""
    pairs: list[tuple[Any, Any]] = []
    try:
        tree_map(lambda leaf, part: pairs.append((leaf, part)), with_parameters(tree), given)
    except ValueError as error:
        raise ValueError(f"{name}: {kind}s: {error}") from None
    for leaf, part in pairs:
        if part is not None and not has_one(leaf):
            raise TypeError(f"{name}: a {kind} must be None where there is {type_of(leaf)}, got {type_of(part)}")
    parts = [part for leaf, part in pairs if has_one(leaf)]
    return [_fitting(name, kind, part, like) for part, like in zip(parts, expected)]


def _fitting(name: str, kind: str, given: object, expected: Tensor) -> Any:
    """A tangent or cotangent, checked: of the shape and dtype of what it belongs to."""
    if type(given) in (int, float) and expected.shape == ():
        return np.full_like(expected.data, given)
    if not hasattr(given, "shape") or not hasattr(given, "dtype"):
        raise TypeError(f"{name}: a {kind} must be {describe(expected)}, got {type_of(given)}")
    if given.shape != expected.shape or given.dtype != expected.dtype:
        error = ValueError if given.shape != expected.shape else TypeError
        raise error(f"{name}: a {kind} must be {describe(expected)}, got {describe(given)}")
    return given
