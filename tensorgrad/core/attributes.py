"""The attributes that Tensors have in common with arrays: shape, dtype, T, real and so on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .registry import OPS

if TYPE_CHECKING:
    from .tensor import Tensor


class Attributes:
    """The attributes of arrays, as a mixin of Tensor."""

    __slots__ = ()

    @property
    def shape(self: Any) -> tuple[int, ...]:
        """Lengths of the axes."""
        shape: tuple[int, ...] = self._array.shape
        return shape

    @property
    def dtype(self: Any) -> np.dtype:
        """NumPy dtype of the data."""
        dtype: np.dtype = self._array.dtype
        return dtype

    @property
    def ndim(self: Any) -> int:
        """Number of axes."""
        ndim: int = self._array.ndim
        return ndim

    @property
    def size(self: Any) -> int:
        """Number of elements."""
        size: int = self._array.size
        return size

    @property
    def nbytes(self: Any) -> int:
        """Bytes of the data."""
        nbytes: int = self._array.nbytes
        return nbytes

    @property
    def itemsize(self: Any) -> int:
        """Bytes of one element."""
        itemsize: int = self._array.itemsize
        return itemsize

    @property
    def T(self: Any) -> Tensor:
        """The tensor with its axes reversed."""
        reversed_axes: Tensor = self.transpose()
        return reversed_axes

    @property
    def mT(self: Any) -> Tensor:
        """The tensor with its last two axes swapped."""
        mirrored: Tensor = self.swapaxes(-1, -2)
        return mirrored

    @property
    def real(self: Any) -> Tensor:
        """The real part, recorded."""
        part: Tensor = OPS["real"](self)
        return part

    @property
    def imag(self: Any) -> Tensor:
        """The imaginary part, recorded; zeros for a real tensor."""
        part: Tensor = OPS["imag"](self)
        return part

    def __len__(self: Any) -> int:
        return len(self._array)

    def __iter__(self: Any) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration: a 0-d tensor has no elements to iterate over; use tensor.item()")
        return (self[i] for i in range(len(self)))
