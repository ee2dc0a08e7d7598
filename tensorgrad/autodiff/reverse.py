"""grad, value_and_grad, elementwise_grad: gradients of functions in reverse mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .call import Call, Function, named


def grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """The function that gives the gradient of ``f``, which returns one number.

    Parameters
    ----------
    f
        Function of arrays and nested containers of them (dict, list, tuple, namedtuple, dataclass), written
        in NumPy.
    argnums
        Which positional argument to differentiate: an integer, negative from the end, or a tuple of them. Keyword
        arguments are passed on.
    has_aux
        Whether ``f`` returns ``(value, aux)``, of which only the value is differentiated.

    Returns
    -------
    callable
        Of the arguments of ``f``; returns the gradient, like the argument in structure, shape and dtype, a tuple of
        gradients if ``argnums`` is one, and ``(gradient, aux)`` with ``has_aux``. Zeros where ``f`` does not depend on
        an argument. Arrays or Tensors as said at the top of :mod:`tensorgrad.autodiff`.

    Raises
    ------
    ValueError
        When called, if ``f`` does not return one number or ``argnums`` is out of range.
    TypeError
        When called, if an argument asked for holds no floats, or ``f`` does not return an array or a number.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.grad(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    array([ 3., 12.])
    >>> loss = lambda line, x: np.sum((line["slope"] * x + line["offset"]) ** 2)
    >>> tg.grad(loss)({"slope": 2.0, "offset": -1.0}, np.array([0.0, 1.0]))
    {'slope': np.float64(2.0), 'offset': np.float64(0.0)}
    >>> tg.grad(tg.grad(lambda x: x**4))(1.0)
    np.float64(12.0)
    """

    @named("grad", f)
    def gradient(*args: object, **keywords: object) -> Any:
        call = Call("grad", f, args, keywords, argnums, has_aux)
        output = call.scalar()
        found = call.gradient(np.ones_like(output.data))
        return (found, call.returned(call.aux)) if has_aux else found

    return gradient


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """The function that gives ``(value, gradient)`` of ``f``, as :func:`grad` does, from one call.

    With ``has_aux`` it gives ``((value, aux), gradient)``.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.value_and_grad(np.sum)(np.array([1.0, 2.0]))
    (np.float64(3.0), array([1., 1.]))
    """

    @named("value_and_grad", f)
    def value_and_gradient(*args: object, **keywords: object) -> Any:
        call = Call("value_and_grad", f, args, keywords, argnums, has_aux)
        output = call.scalar()
        found = call.gradient(np.ones_like(output.data))
        value = call.returned(call.value)
        return ((value, call.returned(call.aux)), found) if has_aux else (value, found)

    return value_and_gradient


def elementwise_grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """The function that gives the derivative of each element of ``f(x)`` with respect to the same element of x.

    It is the gradient of the sum of all outputs, in other words the sum of the Jacobian over its output axes: the
    derivative element by element if ``f`` works so, and only then.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> x = np.linspace(-1, 1, 5)
    >>> np.allclose(tg.elementwise_grad(np.tanh)(x), 1 - np.tanh(x) ** 2)
    True
    """

    @named("elementwise_grad", f)
    def derivative(*args: object, **keywords: object) -> Any:
        call = Call("elementwise_grad", f, args, keywords, argnums)
        return call.gradient(np.ones_like(call.only().data))

    return derivative
