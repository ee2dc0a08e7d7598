"""How NumPy's functions find their ops, when they are given Tensors (NEP 13 and NEP 18)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy import ndarray

from .registry import NUMPY, found_later, is_default, no_rule, numpy_name, refuse


class Dispatch:
    """What NumPy asks of Tensors; a mixin, which holds nothing."""

    __slots__ = ()

    def __array_ufunc__(self: Any, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Any:
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
