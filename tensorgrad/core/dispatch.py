"""How a NumPy function that is called with a Tensor finds its op (NEP 13 and NEP 18).

``np.exp(t)`` calls ``t.__array_ufunc__(np.exp, "__call__", t)``, and ``np.where(m, t, 0)``, which is not a ufunc,
``t.__array_function__(np.where, ...)``. Both look the function up in ``NUMPY``, the table in ``registry.py``, which
``declare`` and ``implements`` fill when ``tensorgrad.ops`` is imported.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from .registry import NUMPY, found_later, is_default, no_rule, numpy_name, refuse


class Dispatch:
    """NumPy's two protocols, as a mixin of Tensor."""

    __slots__ = ()

    def __array_ufunc__(self: object, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Any:
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        op = NUMPY.get(function) or found_later(function)
        if op is not None and method == "__call__" and not settings:
            return op(*inputs)
        name = numpy_name(ufunc) if method == "__call__" else f"{numpy_name(ufunc)}.{method}"
        if op is None:
            raise no_rule(name, ufunc)
        if any(array is x and type(x) is ndarray for array in settings.get("out") or () for x in inputs):
            raise TypeError(
                f"{name} in place: an array cannot become a Tensor; write a = {name}(a, tensor), or start from a "
                "Tensor (np.zeros_like(tensor), tensorgrad.Tensor(a))"
            )
        if method == "__call__" and (ufunc.signature is None or hasattr(op, "rules")):
            refuse(name, **{key: value for key, value in settings.items() if not is_default(key, value)})
            return op(*inputs)
        return op(*inputs, **settings)

    def __array_function__(self: Any, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        op = NUMPY.get(function) or found_later(function)
        if op is None:
            raise no_rule(numpy_name(function), function)
        return op(*args, **kwargs)
