"""Numeric against exact derivatives, of any order: the check behind every gradient of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

import numpy as np

from .._pytree import tree_flatten, tree_leaves, tree_unflatten
from ..autodiff import gradients
from ..core import Tensor
from ..core.context import recorded


class GradientError(AssertionError):
    """An exact gradient that does not agree with the numeric one."""


def gradcheck(
    f: Callable[..., Any],
    inputs: object,
    order: int = 1,
    step: float = 1e-4,
    rtol: float = 1e-6,
    atol: float = 1e-8,
) -> bool:
    """Compare the gradients of ``f`` with finite differences, element by element.

    An output of many elements is reduced to one number by fixed random weights, so a single pass covers the whole
    Jacobian. The numeric derivative is the five-point formula
    (8 f(x+h) - 8 f(x-h) - f(x+2h) + f(x-2h)) / 12h, whose error is of order h^4 (Abramowitz & Stegun 25.3.6).

    Parameters
    ----------
    f
        Function of Tensors that returns a Tensor or a container of Tensors; the same inputs must give the same values.
    inputs
        A list or tuple of the arguments of ``f``: arrays, Tensors or nested containers of them. Anything else is the
        only argument. Float64 and complex128 ones are checked, others passed on. The real and imaginary parts of
        complex ones are moved one by one.
    order
        1 checks the gradient, 2 also the gradient of the gradient, and so on.
    step
        h of the formula. Keep kinks further than 2h away from every element.
    rtol, atol
        Tolerances relative to the numeric value and absolute.

    Returns
    -------
    bool
        True, so that it can stand in an ``assert``.

    Raises
    ------
    GradientError
        Naming the input (arrays in containers are counted one by one), the index, the exact and the numeric value.
    TypeError
        For float32, float16 and complex64 inputs, whose rounding is larger than the differences to be measured.
    ValueError
        If ``f`` is not a deterministic function of its inputs, or there is nothing to check.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.gradcheck(lambda x, y: np.exp(x) * y, [np.ones(3), np.full((2, 3), 2.0)], order=2)
    True
    """
    if order < 1:
        raise ValueError(f"gradcheck: order must be at least 1, got {order}")
    leaves, structure = tree_flatten(list(inputs) if isinstance(inputs, (list, tuple)) else [inputs])
    arrays = [_as_input(i, leaf) for i, leaf in enumerate(leaves) if _is_number(leaf)]
    if not any(map(_is_checked, arrays)):
        raise ValueError("gradcheck: no input is floating, so there is nothing to differentiate")

    def of_arrays(*tensors: Tensor) -> Any:
        rest = iter(tensors)
        return f(*tree_unflatten(structure, [next(rest) if _is_number(leaf) else leaf for leaf in leaves]))

    with recorded():
        for n in range(1, order + 1):
            _check(of_arrays, arrays, n, step, rtol, atol)
            of_arrays = _gradient_of(of_arrays)
    return True


def _is_number(leaf: object) -> bool:
    """Whether it is a number, an array or a Tensor."""
    return isinstance(leaf, (int, float, complex)) or hasattr(leaf, "dtype")


def _as_input(position: int, value: object) -> np.ndarray:
    array = np.array(value.numpy() if isinstance(value, Tensor) else value)
    exact = np.complex128 if array.dtype.kind == "c" else np.float64
    if _is_checked(array) and array.dtype != exact:
        raise TypeError(
            f"gradcheck: input {position} is {array.dtype}, whose rounding errors are larger than the finite "
            f"differences; pass {exact.__name__} (x.astype(np.{exact.__name__}))"
        )
    return array


def _is_checked(array: np.ndarray) -> bool:
    return array.dtype.kind in "fc"


def _tensors(arrays: Sequence[np.ndarray]) -> list[Tensor]:
    return [Tensor(array, requires_grad=_is_checked(array)) for array in arrays]


def _projected(f: Callable[..., Any], tensors: Sequence[Tensor]) -> Any:
    """The outputs of ``f`` reduced to one number by fixed random weights."""
    outputs = f(*tensors)
    rng = np.random.default_rng(0)
    total: Any = 0.0
    for output in tree_leaves(outputs):
        if not isinstance(output, Tensor):
            raise TypeError(f"gradcheck: f must return Tensors, got {type(output).__name__}")
        for part in (output.real, output.imag) if output.dtype.kind == "c" else (output,):
            total = total + (part * rng.uniform(0.5, 1.5, part.shape) * rng.choice([-1, 1], part.shape)).sum()
    return total


def _gradient_of(f: Callable[..., Any]) -> Callable[..., list[Tensor]]:
    """The function from inputs to the gradients of the projected ``f``, one per floating input."""

    def gradient(*tensors: Tensor) -> list[Tensor]:
        output = _projected(f, tensors)
        return _gradients(output, [tensor for tensor in tensors if tensor.requires_grad])

    return gradient


def _gradients(output: Tensor, tensors: list[Tensor]) -> list[Tensor]:
    if not output.requires_grad:  # constant: its derivative is zero, without any record
        return [Tensor(np.zeros_like(tensor.data)) for tensor in tensors]
    return gradients(output, tensors, create_graph=True)


def _check(f: Callable[..., Any], arrays: list[np.ndarray], order: int, step: float, rtol: float, atol: float) -> None:
    tensors = _tensors(arrays)
    output = _projected(f, tensors)
    for position, (tensor, array) in enumerate(zip(tensors, arrays)):
        if not np.array_equal(tensor.data, array, equal_nan=_is_checked(array)):
            raise GradientError(f"gradcheck: f changed its input {position} in place")
    value = output.item()
    if _projected(f, _tensors(arrays)).item() != value and not np.isnan(value):
        raise ValueError(
            "gradcheck: f gave two results for the same inputs; make its random numbers inside f from a fixed seed"
        )
    positions = [position for position, array in enumerate(arrays) if _is_checked(array)]
    exact = _gradients(output, [tensors[position] for position in positions])
    for position, gradient in zip(positions, exact):
        array = arrays[position]
        if gradient.shape != array.shape or gradient.dtype != array.dtype:
            raise GradientError(
                f"gradcheck: the gradient of input {position} is {gradient.dtype} of shape {gradient.shape}, "
                f"the input {array.dtype} of shape {array.shape}"
            )
        for index in np.ndindex(array.shape):
            numeric = _numeric(f, arrays, position, index, step)
            found = gradient.data[index]
            noise = 1e-15 * abs(value) / step
            if not abs(found - numeric) <= atol + rtol * abs(numeric) + 10 * noise:
                raise GradientError(
                    f"gradcheck: derivative of order {order} with respect to input {position} at index {index}: "
                    f"exact {found:.10g}, numeric {numeric:.10g}"
                )


def _numeric(
    f: Callable[..., Any], arrays: list[np.ndarray], position: int, index: tuple[int, ...], step: float
) -> Any:
    """Five-point derivative of the projected ``f`` in one element; dL/dRe(z) + i dL/dIm(z) in a complex one."""

    def at(offset: complex) -> float:
        moved = list(arrays)
        moved[position] = arrays[position].copy()
        moved[position][index] += offset
        return float(_projected(f, _tensors(moved)).item())

    def along(step: complex) -> float:
        return (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * abs(step))

    return along(step) + 1j * along(1j * step) if arrays[position].dtype.kind == "c" else along(step)
