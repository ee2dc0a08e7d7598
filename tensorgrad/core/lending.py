"""Gradients in buffers that are overwritten later: whoever reads ``tensor.grad`` gets a copy, which is made then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .context import _tracer

if TYPE_CHECKING:
    from .arrays import Array
    from .tensor import Tensor


def lend_gradient(tensor: Tensor, gradient: Array | None) -> None:
    """Set ``.grad`` to an array that will be overwritten, or that others read, too."""
    if (tracer := _tracer.get()) is not None:
        tracer.set_gradient(tensor, gradient)
    tensor._grad, tensor._grad_is_lent = gradient, True


def lent_gradient(tensor: Tensor) -> Array | None:
    """``.grad`` as it lies, to be read at once."""
    if (tracer := _tracer.get()) is not None:
        tensor = tracer.reading_gradient(tensor)
    return tensor._grad
