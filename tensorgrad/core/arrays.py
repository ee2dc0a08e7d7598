"""Arrays that are no Tensors: what operands may be, and copies that nobody else writes into."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, Union
from weakref import WeakValueDictionary

import numpy as np
from numpy import ndarray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike

    from .tensor import Tensor

Array = ndarray
"""An array, where a Tensor is not meant; arrays of other libraries that speak NumPy's protocols do as well."""

AnyArray = Union[ndarray, "Tensor"]
"""What ops compute with: an array, or a Tensor. Gradient rules are written for both."""

Axis = Union[int, tuple[int, ...], None]
"""The axes that a function goes along; None: all."""

Constant = Union[ndarray, np.generic, complex, str, "Sequence[Any]", None]
"""What an op is given besides Tensors: arrays, numbers, lists of numbers."""

Operand = Union[Constant, "Tensor"]
"""What an op is given."""

DType = Union["DTypeLike", None]
"""A dtype, or what NumPy makes one of; None: its own choice."""

ArrayT = TypeVar("ArrayT", bound=AnyArray)
"""The same of a function that gives a Tensor for a Tensor, and an array for an array."""

RESULT, OWNED, SHARED = "result", "owned", "shared"
"""Who may write into a Tensor's array: nobody, as an op made it; the Tensor, a compiled step in its name; anybody."""

SMALL = 65536
"""Bytes of an array whose copies are not worth sharing."""

_copies: WeakValueDictionary[Any, ndarray] = WeakValueDictionary()


def as_operand(value: object) -> Any:
    """An operand that is no Tensor: NumPy scalars and other libraries' arrays as they are, sequences as arrays."""
    if type(value) is ndarray or isinstance(value, np.generic) or value is None:
        return value
    if hasattr(value, "__array_function__") and not isinstance(value, ndarray):
        return value
    if hasattr(value, "toarray"):
        raise TypeError(
            "Tensor: sparse matrices multiply Tensors by tensorgrad.interop.scipy.sparse_matmul(S, x), or (x, S), and "
            "do nothing else with them; pass tensorgrad.Tensor(S.toarray()) for the rest"
        )
    if hasattr(value, "filled"):
        raise TypeError("Tensor: masked arrays are not differentiated; pass array.filled(...) and a mask to np.where")
    if isinstance(value, np.matrix):
        raise TypeError("Tensor: np.matrix multiplies in its own way; pass np.asarray(matrix), and use @ for products")
    return np.asarray(value)


def as_data(value: Any) -> Array:
    """``value`` as a numeric array: arrays of any library unchanged, anything else through ``np.asarray``."""
    if isinstance(value, np.generic) or not hasattr(value := as_operand(value), "dtype"):
        value = np.asarray(value)
    if value.dtype.kind not in "fiubc":
        raise TypeError(f"Tensor: data must be numbers (float, integer, bool or complex), got dtype {value.dtype}")
    array: Array = value if getattr(value.dtype, "isnative", True) else value.astype(value.dtype.newbyteorder("="))
    return array


def unchanging(array: Any) -> Any:
    """The values of ``array`` now, whoever writes into it later: a copy, unless nobody can.

    A large array that is used again and has not changed in between is copied once, as long as a history holds the copy:
    a matrix that takes part in a thousand products is kept once.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(10_000.0)
    >>> first, second = unchanging(x), unchanging(x)
    >>> x[0] = 1
    >>> first is second, unchanging(x) is first, first[0].item()
    (True, False, 0.0)
    """
    if type(array) is not ndarray or not (array.flags.writeable or _may_change(array)):
        return array
    if array.nbytes <= SMALL or array.dtype.itemsize > 8:
        return array.copy()
    key = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype)
    copy = _copies.get(key)
    if copy is None or not np.array_equal(_bits(copy), _bits(array)):
        copy = _copies[key] = array.copy()
    return copy


def _may_change(array: ndarray) -> bool:
    """Whether a read-only array can be written into all the same, by way of one that it is a view of."""
    owner = array.base
    while isinstance(owner, ndarray):
        if owner.flags.writeable:
            return True
        owner = owner.base
    return owner is not None and not isinstance(owner, bytes)


def _bits(array: ndarray) -> ndarray:
    """The elements as integers: equal where no bit differs, which -0.0 and NaN do not say of themselves."""
    return array.view(f"u{array.dtype.itemsize}")


def is_view(result: object, operand: object) -> bool:
    """Whether what an op made of an operand shares its memory."""
    base = getattr(result, "base", None)
    if base is None or base is operand or base is getattr(operand, "base", None):
        return base is not None
    return not isinstance(base, ndarray) and type(result) is ndarray and np.may_share_memory(result, operand)


def describe(value: object) -> str:
    """An operand in the words of an error message: shape and dtype, or the scalar itself.

    >>> import numpy as np
    >>> describe(np.zeros((2, 3), np.float32))
    'float32 of shape (2, 3)'
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} of shape {value.shape}"
    return repr(value)


def _keep_freed_memory() -> None:
    """Make the C library keep freed arrays of up to 32 MB for the next step.

    glibc hands a large block back to the system when it is freed, and each step pays for the same pages again, until a
    block as large has been freed once. Measured: a step on 784-512-10 takes 1.8 ms instead of 4.3, on
    2352-2048-512-10 26 instead of 33. The block is never written to, so it costs nothing.
    """
    np.empty(2**25 - 2**13, np.uint8)


_keep_freed_memory()
