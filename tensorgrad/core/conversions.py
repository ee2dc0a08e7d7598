"""Conversions of a Tensor to text, Python numbers, booleans and arrays; an error where a gradient would be lost."""

from __future__ import annotations

from operator import index as as_integer
from typing import TYPE_CHECKING, Any

import numpy as np

from .context import is_traced

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from .arrays import Array


class ConversionError(TypeError):
    """A Tensor that requires gradients was to be converted to an array or a number, which would lose them."""


class Conversions:
    """Conversions to other types, as a mixin of Tensor."""

    __slots__ = ()

    def __repr__(self: Any) -> str:
        body = repr(self._current()).replace("\n", "\n ")
        return f"Tensor({body[len('array(') : -1] if body.startswith('array(') else body}" + (
            ", requires_grad=True)" if self._requires_grad else ")"
        )

    def __format__(self: Any, specification: str) -> str:
        return format(self.item(), specification) if specification else repr(self)

    def item(self: Any) -> Any:
        """The element of a one-element tensor as a Python number; a ValueError if there are more, or none."""
        if self._array.size != 1:
            raise ValueError(f"item: takes a tensor of one element, got shape {self.shape}")
        return self._current().item()

    def __bool__(self: Any) -> bool:
        if self._array.size != 1:
            raise ValueError(
                f"bool: the truth of a tensor of shape {self.shape} is ambiguous; use np.where to choose by element, "
                "or np.any / np.all to reduce"
            )
        return bool(self._current().reshape(()))

    def __float__(self: Any) -> float:
        return float(self._without_gradient("float").item())

    def __complex__(self: Any) -> complex:
        return complex(self._without_gradient("complex").item())

    def __int__(self: Any) -> int:
        return int(self._without_gradient("int").item())

    def __index__(self: Any) -> int:
        return as_integer(self._without_gradient("index"))

    def __array__(self: Any, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        array = self._without_gradient("np.asarray")
        if not is_traced() and copy is None and (dtype is None or dtype == array.dtype):
            data: Array = self.data
            return data
        return np.array(array, dtype=dtype) if copy else np.asarray(array, dtype=dtype)

    def _without_gradient(self: Any, conversion: str) -> Array:
        if self._requires_grad and not is_traced():  # the tracer has a message of its own
            raise ConversionError(
                f"{conversion}: this tensor requires gradients, which an array or a number cannot carry; continue with "
                "Tensors (np.stack and tensorgrad.array join them, np.zeros_like(tensor) and "
                "tensorgrad.Tensor(np.zeros(n)) collect them; sparse matrices multiply them by "
                "tensorgrad.interop.scipy.sparse_matmul, or as tensorgrad.Tensor(S.toarray()); in place of SciPy's "
                "functions of arrays there are tensorgrad.logsumexp, np.linalg.solve and others, see docs/scipy.md), "
                "or call tensor.item() or tensor.numpy() if no gradient is meant"
            )
        current: Array = self._current()
        return current

    def _repr_html_(self: Any) -> str:
        """HTML for notebooks."""
        from .._html import card, preformatted  # imported for notebooks only

        facts = [str(self.shape), str(self.dtype)]
        if not self.is_leaf:
            facts.append("has a history")
        elif self.requires_grad:
            facts.append("requires a gradient, " + ("not computed" if self._grad is None else "computed: .grad"))
        if is_traced():
            return card("Tensor", [*facts, "no values yet, as a function is being compiled"])
        with np.printoptions(threshold=60, edgeitems=2, linewidth=90, precision=4):
            return card("Tensor", facts, preformatted(str(self._current())))

    def tolist(self: Any) -> Any:
        """The data as nested lists of Python numbers; not of a tensor that requires gradients."""
        return self._without_gradient("tolist").tolist()
