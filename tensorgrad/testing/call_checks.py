"""Checks of a single call of a function of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable

import numpy as np

from .._pytree import flatten_up_to, tree_flatten, tree_leaves, tree_unflatten
from ..autodiff import gradients
from ..core import Tensor
from .gradcheck import gradcheck
from .operands import as_it_lies, in_precision, is_float


def check_call(function: Callable[..., Any], *args: object, **kwargs: object) -> None:
    """Check one call of a NumPy function, or of any other that takes arrays and Tensors alike.

    Every floating or complex array among the arguments, also in nested containers, is differentiated; the rest,
    Python's numbers included, is passed on as it is. Checked are the values and dtypes against the call with arrays,
    first and second derivatives against finite differences, the same with each array alone a Tensor, float32 kept in
    results and gradients, operands left unchanged, and that results are views where those of arrays are.

    Parameters
    ----------
    function
        Returns an array, or a container of arrays; on Tensors likewise Tensors.
    args, kwargs
        Its arguments; at least one float64 or complex128 array among them.

    Raises
    ------
    AssertionError
        Saying what differs.

    Examples
    --------
    >>> import numpy as np
    >>> from tensorgrad.testing import check_call
    >>> check_call(np.sum, np.ones((2, 3)), axis=-1, keepdims=True)
    """
    leaves, structure = tree_flatten((args, kwargs))
    arrays = [leaf for leaf in leaves if is_float(leaf)]
    assert arrays, f"check_call: no floating array among the arguments of {function.__name__}"

    def call(*these: object) -> Any:
        rest = iter(these)
        filled = [next(rest) if is_float(leaf) else leaf for leaf in leaves]
        positional, keywords = tree_unflatten(structure, filled)
        return function(*positional, **keywords)

    expected = call(*(array.copy() for array in arrays))
    _check_results(expected, call(*map(as_it_lies, arrays)), function.__name__)
    _check_sharing(call, arrays, function.__name__)
    gradcheck(call, arrays, order=2)
    whole = _first_derivatives(call, arrays, range(len(arrays)))
    for i in range(len(arrays)) if len(arrays) > 1 else ():
        np.testing.assert_allclose(
            _first_derivatives(call, arrays, [i])[0],
            whole[i],
            rtol=1e-9,
            atol=1e-12,
            err_msg=f"array {i} alone a Tensor",
        )
    singles = [in_precision(array, np.float32) for array in arrays]
    tensors = list(map(as_it_lies, singles))
    _check_results(call(*singles), call(*tensors), f"{function.__name__} in float32")
    for single, found, exact in zip(singles, _first_derivatives(call, singles, range(len(arrays))), whole):
        assert found.dtype == single.dtype, f"{function.__name__}: the gradient of {single.dtype} is {found.dtype}"
        np.testing.assert_allclose(found, exact, rtol=2e-2, atol=2e-3, err_msg=f"{function.__name__} in float32")


def _check_results(expected: object, found: object, message: str) -> None:
    """The same structure, shapes, dtypes and values, in Tensors."""
    leaves, structure = tree_flatten(expected)
    try:
        others = flatten_up_to(structure, found)
    except ValueError as error:
        raise AssertionError(f"{message}: {error}") from None
    for one, other in zip(leaves, others):
        if one is None or isinstance(one, (str, bytes)):
            assert one == other, f"{message} gave {other!r} instead of {one!r}"
            continue
        one = np.asarray(one)
        assert isinstance(other, Tensor), f"{message} gave {type(other)}, not a Tensor"
        assert other.dtype == one.dtype, f"{message} gave {other.dtype} instead of {one.dtype}"
        tolerance = 1e-12 if one.dtype in (np.float64, np.complex128) else 1e-5
        np.testing.assert_allclose(other.data, one, rtol=tolerance, atol=tolerance, err_msg=message, strict=True)


def _check_sharing(call: Callable[..., Any], arrays: Sequence[np.ndarray], name: str) -> None:
    """Results see a later change of the operands where those of arrays do, and are copies where those are."""
    plain = [array.copy() for array in arrays]
    tensors = list(map(Tensor, arrays))
    expected, found = tree_leaves(call(*plain)), tree_leaves(call(*tensors))
    for operand in (*plain, *tensors):
        operand += 1
    for one, other in zip(expected, found):
        if not any(one is operand for operand in plain):  # as NumPy's fftn gives over no axes
            np.testing.assert_allclose(other.numpy(), one, err_msg=f"{name}, after a change of its operands")


def _first_derivatives(call: Callable[..., Any], arrays: Sequence[np.ndarray], wanted: Sequence[int]) -> list[Any]:
    """Gradients of a weighted sum of all results with respect to the arrays ``wanted``; the others are not Tensors."""
    operands = [as_it_lies(x) if i in wanted else x for i, x in enumerate(arrays)]
    total: Any = 0.0
    for out in tree_leaves(call(*operands)):
        if isinstance(out, Tensor) and out.requires_grad:
            for part in (out.real, out.imag) if out.dtype.kind == "c" else (out,):
                total = total + (part * np.linspace(0.5, 1.5, out.size).reshape(out.shape).astype(part.dtype)).sum()
    if not isinstance(total, Tensor):
        return [np.zeros_like(arrays[i]) for i in wanted]
    tensors = [x for x in operands if isinstance(x, Tensor)]
    return [g.data for g in gradients(total, tensors)]
