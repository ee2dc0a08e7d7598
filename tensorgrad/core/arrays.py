"""Plain arrays: what operands may be besides Tensors, and snapshots of arrays that somebody may write into."""

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
"""An array, not a Tensor: NumPy's, or that of another library with NumPy's protocols."""

AnyArray = Union[ndarray, "Tensor"]
"""An array or a Tensor. Gradient rules are written for both."""

Axis = Union[int, tuple[int, ...], None]
"""Over which axes; None: all."""

Constant = Union[ndarray, np.generic, complex, str, "Sequence[Any]", None]
"""An operand that is not a Tensor: an array, a number, a list of numbers."""

Operand = Union[Constant, "Tensor"]
"""An operand of an op."""

DType = Union["DTypeLike", None]
"""Anything that NumPy accepts as a dtype; None: NumPy's choice."""

ArrayT = TypeVar("ArrayT", bound=AnyArray)
"""For functions that return a Tensor for a Tensor, and an array for an array."""

READ_ONLY, PRIVATE, SHARED = "read-only", "private", "shared"
"""Who may write into a Tensor's array. READ_ONLY: nobody, as it is the result of an op, to which nodes refer. PRIVATE:
only the library, such as a compiled step that updates parameters. SHARED: also the user, who has it from ``.data``."""

SMALL = 65536
"""Arrays of at most so many bytes are copied each time: sharing the copies would not pay."""

_copies: WeakValueDictionary[Any, ndarray] = WeakValueDictionary()


def as_operand(value: object) -> Any:
    """An operand other than a Tensor: arrays and NumPy scalars unchanged, sequences as arrays."""
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


def snapshot(array: object) -> Any:
    """The values that ``array`` has now, whatever is written into it later: a copy, unless it is read-only.

    A large array that is used again without a change in between is copied only once while the copy is in use: a graph
    with a thousand products of one matrix holds one copy.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(10_000.0)
    >>> first, second = snapshot(x), snapshot(x)
    >>> x[0] = 1
    >>> first is second, snapshot(x) is first, first[0].item()
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
    """Whether a read-only array can change nevertheless, because it is a view of a writeable one."""
    owner = array.base
    while isinstance(owner, ndarray):
        if owner.flags.writeable:
            return True
        owner = owner.base
    return owner is not None and not isinstance(owner, bytes)


def _bits(array: ndarray) -> ndarray:
    """The elements as integers, to compare them bit by bit: NaN differs from itself, and -0.0 equals 0.0."""
    return array.view(f"u{array.dtype.itemsize}")


def is_view(result: object, operand: object) -> bool:
    """Whether the result of an op is a view of its operand."""
    base = getattr(result, "base", None)
    if base is None or base is operand or base is getattr(operand, "base", None):
        return base is not None
    return not isinstance(base, ndarray) and type(result) is ndarray and np.may_share_memory(result, operand)


def describe(value: object) -> str:
    """An operand for an error message: its dtype and shape, or the scalar itself.

    >>> import numpy as np
    >>> describe(np.zeros((2, 3), np.float32))
    'float32 of shape (2, 3)'
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} of shape {value.shape}"
    return repr(value)


def _keep_freed_memory() -> None:
    """Make the C library keep freed arrays of up to 32 MB for the next step.

    glibc returns a large block to the system when it is freed, so that each step pays for page faults again, until a
    block of that size has been freed once. Measured: a step on 784-512-10 takes 1.8 ms instead of 4.3, on
    2352-2048-512-10 26 instead of 33. The block is never written to, so it costs nothing.
    """
    np.empty(2**25 - 2**13, np.uint8)


_keep_freed_memory()
