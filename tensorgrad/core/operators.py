"""The operators and ndarray methods of a Tensor: each looks its op up in the registry."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from .registry import NUMPY, OPS

if TYPE_CHECKING:
    from .arrays import Axis, Operand
    from .tensor import Tensor


def _unary(name: str) -> Callable[[Tensor], Tensor]:
    """The operator that applies the op ``name``, looked up in the registry when called."""

    def operator(self: Tensor) -> Tensor:
        return OPS[name](self)

    return operator


def _binary(name: str) -> Callable[[Tensor, object], Tensor]:
    def operator(self: Tensor, other: object) -> Tensor:
        return OPS[name](self, other)

    return operator


def _reflected(name: str) -> Callable[[Tensor, object], Tensor]:
    def operator(self: Tensor, other: object) -> Tensor:
        return OPS[name](other, self)

    return operator


def _reduction(name: str) -> Callable[..., Tensor]:
    """A method like the NumPy function; with no arguments but ``axis`` and ``keepdims`` it calls the op directly."""
    function = getattr(np, name)
    parameters = [p for p in inspect.signature(function).parameters if p not in ("a", "axis")]

    def method(self: Tensor, axis: Axis = None, *others: Any, **keywords: Any) -> Tensor:
        if others or (keywords and keywords.keys() != {"keepdims"}):
            for keyword in keywords.keys() - parameters:
                raise TypeError(f"{name} has no parameter {keyword}= (it takes axis, {', '.join(parameters)})")
            result: Tensor = NUMPY[function](self, axis, *others, **keywords)
            return result
        result = OPS[name](self, axis=axis, **keywords)
        return result

    method.__name__ = name
    method.__doc__ = f"``np.{name}`` over ``axis`` (None: all; an int or a tuple), recorded."
    return method


def _method(function: Callable[..., Any]) -> Callable[..., Tensor]:
    """A method that is the NumPy function of that name, called with the tensor first."""

    def method(self: Tensor, *args: Any, **keywords: Any) -> Tensor:
        result: Tensor = function(self, *args, **keywords)
        return result

    method.__name__ = function.__name__
    method.__doc__ = f"``np.{function.__name__}``, recorded."
    return method


class Operators:
    """Operators and ndarray methods, as a mixin of Tensor."""

    __slots__ = ()

    __add__, __radd__ = _binary("add"), _reflected("add")
    __sub__, __rsub__ = _binary("subtract"), _reflected("subtract")
    __mul__, __rmul__ = _binary("multiply"), _reflected("multiply")
    __truediv__, __rtruediv__ = _binary("divide"), _reflected("divide")
    __floordiv__, __rfloordiv__ = _binary("floor_divide"), _reflected("floor_divide")
    __mod__, __rmod__ = _binary("remainder"), _reflected("remainder")
    __matmul__, __rmatmul__ = _binary("matmul"), _reflected("matmul")
    __rpow__ = _reflected("power")
    __lshift__, __rlshift__ = _binary("left_shift"), _reflected("left_shift")
    __rshift__, __rrshift__ = _binary("right_shift"), _reflected("right_shift")
    __and__, __rand__ = _binary("bitwise_and"), _reflected("bitwise_and")
    __or__, __ror__ = _binary("bitwise_or"), _reflected("bitwise_or")
    __xor__, __rxor__ = _binary("bitwise_xor"), _reflected("bitwise_xor")
    __neg__, __pos__, __abs__ = _unary("negative"), _unary("positive"), _unary("absolute")
    __invert__ = _unary("invert")
    __lt__, __le__ = _binary("less"), _binary("less_equal")
    __gt__, __ge__ = _binary("greater"), _binary("greater_equal")

    def __eq__(self: Any, other: object) -> Tensor:  # type: ignore[override]
        result: Tensor = OPS["equal"](self, other)
        return result

    def __ne__(self: Any, other: object) -> Tensor:  # type: ignore[override]
        result: Tensor = OPS["not_equal"](self, other)
        return result

    def __divmod__(self: Any, other: Any) -> tuple[Tensor, Tensor]:
        return self // other, self % other

    def __rdivmod__(self: Any, other: Any) -> tuple[Tensor, Tensor]:
        return other // self, other % self

    def __round__(self, decimals: int = 0) -> Tensor:
        result: Tensor = NUMPY[np.round](self, decimals)
        return result

    def __pow__(self: Any, exponent: object) -> Tensor:
        square = type(exponent) in (int, float) and exponent == 2 and self._array.dtype.kind in "fc"
        result: Tensor = OPS["square"](self) if square else OPS["power"](self, exponent)
        return result

    sum, mean, max, min = _reduction("sum"), _reduction("mean"), _reduction("max"), _reduction("min")
    any, all = _reduction("any"), _reduction("all")
    argmax, argmin = _reduction("argmax"), _reduction("argmin")

    def conj(self: Any) -> Tensor:
        """The complex conjugate, recorded."""
        result: Tensor = OPS["conjugate"](self)
        return result

    conjugate = conj

    def reshape(self: Any, *shape: Any, **keywords: Any) -> Tensor:
        """``np.reshape``, recorded; the shape as a tuple or as separate numbers, one of which may be -1."""
        if keywords:
            result: Tensor = NUMPY[np.reshape](self, _spread(shape), **keywords)
            return result
        result = OPS["reshape"](self, shape=_spread(shape))
        return result

    def ravel(self, order: str = "C") -> Tensor:
        """The elements along one axis, recorded."""
        return self.reshape(-1, order=order) if order != "C" else self.reshape(-1)

    def flatten(self, order: str = "C") -> Tensor:
        """The elements along one axis, recorded; a copy, as in NumPy: later changes of this tensor do not affect it."""
        result: Tensor = NUMPY[np.copy](self.ravel(order))
        return result

    def transpose(self: Any, *axes: Any) -> Tensor:
        """``np.transpose``, recorded; without axes their order is reversed."""
        result: Tensor = OPS["transpose"](self, axes=_spread(axes) if axes else None)
        return result

    def squeeze(self: Any, axis: Axis = None) -> Tensor:
        """``np.squeeze``, recorded."""
        result: Tensor = OPS["squeeze"](self, axis=axis)
        return result

    def astype(
        self: Any, dtype: Any, order: str = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True
    ) -> Tensor:
        """The data converted to ``dtype``; recorded if that is floating."""
        if not np.can_cast(self.dtype, dtype, casting):
            raise TypeError(f"astype: {self.dtype} to {np.dtype(dtype)} is not allowed by casting={casting!r}")
        result: Tensor = OPS["astype"](self, dtype=dtype)
        return result

    def clip(self, min: Operand = None, max: Operand = None, out: object = None) -> Tensor:
        """``np.clip``, recorded; None means no bound."""
        result: Tensor = NUMPY[np.clip](self, min, max, out)
        return result

    def compress(self, condition: Operand, axis: Axis = None) -> Tensor:
        """``np.compress``, recorded."""
        result: Tensor = NUMPY[np.compress](condition, self, axis=axis)
        return result

    var, std, prod = _method(np.var), _method(np.std), _method(np.prod)
    cumsum, cumprod = _method(np.cumsum), _method(np.cumprod)
    argpartition = _method(np.argpartition)
    argsort, searchsorted = _method(np.argsort), _method(np.searchsorted)
    take, choose, repeat, round = _method(np.take), _method(np.choose), _method(np.repeat), _method(np.round)
    diagonal, trace, swapaxes = _method(np.diagonal), _method(np.trace), _method(np.swapaxes)
    dot, copy = _method(np.dot), _method(np.copy)

    def nonzero(self) -> tuple[Tensor, ...]:
        """``np.nonzero``: the indices of the nonzero elements, one tensor per axis."""
        places: tuple[Tensor, ...] = NUMPY[np.nonzero](self)
        return places


def _spread(arguments: tuple[object, ...]) -> Any:
    """``(2, 3)`` for both ``((2, 3),)`` and ``(2, 3)``."""
    return arguments[0] if len(arguments) == 1 else arguments
