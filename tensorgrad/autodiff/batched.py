"""Many rows of a Jacobian from one backward pass: the rules are called with a batch of gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from string import ascii_letters
from typing import Any, Callable

import numpy as np
from numpy import ndarray

from .._pytree import tree_leaves, tree_map
from ..core import Tensor, asarray_like, backward_pass
from ..core.context import Hook, _recording
from ..core.tensor import history
from .gradients import gradients_of

ROWS_AT_ONCE = 128
"""Rows of a Jacobian in one backward pass, which takes the memory of as many gradients."""


class BatchedArray(np.lib.mixins.NDArrayOperatorsMixin):
    """Arrays of one shape, stacked along a leading axis that does not show in ``shape``.

    What NumPy does to it, it does to each row; where broadcasting allows, to all of them at once. Gradient rules work
    on arrays of any library that speaks NumPy's protocols, so on these too: one backward pass gives many rows of a
    Jacobian.

    Examples
    --------
    >>> import numpy as np
    >>> rows = BatchedArray(np.eye(2))
    >>> rows.shape, (rows * np.array([3.0, 4.0])).sum().stack
    ((2,), array([3., 4.]))
    """

    __slots__ = ("stack",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, stack: ndarray) -> None:
        self.stack = stack

    shape = property(lambda self: self.stack.shape[1:])
    dtype = property(lambda self: self.stack.dtype)
    ndim = property(lambda self: self.stack.ndim - 1)
    size = property(lambda self: self.stack[0].size)
    T = property(lambda self: self.transpose())

    def __len__(self) -> int:
        length: int = self.stack.shape[1]
        return length

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        raise TypeError("a gradient rule must not decide by the value of a gradient; choose with np.where")

    def __array__(self, *args: Any, **keywords: Any) -> ndarray:
        raise TypeError("a gradient rule must not convert a gradient to an array; use NumPy's functions on it as it is")

    # NumPy's functions

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **settings: Any) -> Any:
        of_matrices = ufunc is np.matmul and all(np.ndim(x) >= 2 for x in inputs)
        if method == "__call__" and not settings and ufunc.nout == 1 and (ufunc.signature is None or of_matrices):
            operands = _aligned(inputs)
            if ufunc in (np.multiply, np.divide, np.matmul) and not all(_is_harmless(ufunc, x) for x in inputs):
                return BatchedArray(_zero_kept(ufunc, operands, inputs))
            return BatchedArray(ufunc(*operands))
        return _each(getattr(ufunc, method), inputs, settings)

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, settings: Any) -> Any:
        if function is np.asarray:  # with like=: the same array for every row
            return args[0]
        if function is np.where and len(args) == 3:
            return BatchedArray(np.where(*_aligned(args)))
        if function is np.einsum and len(args) == 3 and "->" in args[0]:
            return _einsum(*args, **settings)
        method = _METHODS.get(function)
        if method is not None and isinstance(args[0], BatchedArray):
            return method(*args, **settings)
        return _each(function, args, settings)

    def sum(self, axis: Any = None, keepdims: bool = False) -> BatchedArray:
        """``ndarray.sum``."""
        axes = range(self.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
        return BatchedArray(self.stack.sum(axis=tuple(1 + a % self.ndim for a in axes), keepdims=keepdims))

    def reshape(self, *shape: Any) -> BatchedArray:
        """``ndarray.reshape``."""
        shape = shape[0] if len(shape) == 1 else shape
        return BatchedArray(
            self.stack.reshape(len(self.stack), *(shape if isinstance(shape, (tuple, list)) else (shape,)))
        )

    def transpose(self, *axes: Any) -> BatchedArray:
        """``ndarray.transpose``."""
        axes = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        order = [a % self.ndim for a in axes] if axes else range(self.ndim)[::-1]
        return BatchedArray(self.stack.transpose(0, *(1 + a for a in order)))

    def swapaxes(self, axis1: int, axis2: int) -> BatchedArray:
        """``ndarray.swapaxes``."""
        return BatchedArray(self.stack.swapaxes(1 + axis1 % self.ndim, 1 + axis2 % self.ndim))

    def astype(self, dtype: Any, copy: bool = True) -> BatchedArray:
        """``ndarray.astype``."""
        return BatchedArray(self.stack.astype(dtype, copy=copy))

    def copy(self) -> BatchedArray:
        """``ndarray.copy``."""
        return BatchedArray(self.stack.copy())

    def __getitem__(self, index: object) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        if all(part is None or part is Ellipsis or type(part) in (slice, int) for part in parts):
            whole = (slice(None), *parts)
            return BatchedArray(self.stack[whole])
        return _each(lambda row, index: row[index], (self, index), {})

    def __setitem__(self, index: object, value: object) -> None:
        for i in range(len(self.stack)):
            self.stack[i, ...][_row(index, i)] = _row(value, i)

    def __getattr__(self, name: str) -> Any:
        method = getattr(ndarray, name, None)
        if name.startswith("_") or not callable(method):
            raise AttributeError(name)
        return lambda *args, **settings: _each(method, (self, *args), settings)


def _broadcast_to(rows: BatchedArray, shape: object) -> BatchedArray:
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    (stack,) = _aligned([rows], len(shape))
    return BatchedArray(np.broadcast_to(stack, (len(stack), *shape)))


_METHODS: dict[Any, Callable[..., Any]] = {
    np.sum: BatchedArray.sum,
    np.reshape: BatchedArray.reshape,
    np.transpose: lambda rows, axes=None: rows.transpose() if axes is None else rows.transpose(axes),
    np.swapaxes: BatchedArray.swapaxes,
    np.broadcast_to: _broadcast_to,
}


def _aligned(operands: Any, ndim: int = 0) -> list[Any]:
    """Stacks, and other operands as they are, such that rows broadcast against the others as they would one by one."""
    ndim = max(ndim, *map(np.ndim, operands))
    return [
        x.stack.reshape(len(x.stack), *(1,) * (ndim - x.ndim), *x.shape) if isinstance(x, BatchedArray) else x
        for x in operands
    ]


def _is_harmless(ufunc: np.ufunc, x: Any) -> bool:
    """Whether 0 times an operand, or 0 divided by it, is 0."""
    return isinstance(x, BatchedArray) or bool(np.isfinite(x).all() and (ufunc is not np.divide or np.all(x)))


def _zero_kept(ufunc: np.ufunc, operands: list[Any], inputs: Any) -> Any:
    """A product or quotient in which a gradient of 0 times NaN or infinity is 0.

    A row of a Jacobian has zeros where its output does not depend on an element; so it has none of that one's NaN.
    """
    with np.errstate(invalid="ignore"):
        result = ufunc(*operands)
    rows = [isinstance(x, BatchedArray) for x in inputs]
    if all(rows) or (ufunc is np.divide and not rows[0]):
        return result
    if ufunc is not np.matmul:
        return np.where(operands[rows.index(True)] == 0, 0, result)
    return _zero_kept_in_sums(ufunc, operands, rows, result)


def _zero_kept_in_sums(function: Callable[..., Any], operands: Any, rows: list[bool], result: Any) -> Any:
    """``result``, a sum of products, without what 0 times NaN or infinity has added."""
    counts = function(*(x != 0 if is_row else ~np.isfinite(x) for x, is_row in zip(operands, rows)))
    rest = function(*(x if is_row else np.where(np.isfinite(x), x, 0) for x, is_row in zip(operands, rows)))
    return np.where(counts, result, rest)


def _einsum(subscripts: str, first: Any, second: Any, optimize: Any = False) -> BatchedArray:
    """Of two operands, for all rows at once: their number is one more label."""
    inputs, output = subscripts.split("->")
    label = next(letter for letter in ascii_letters if letter not in subscripts)
    rows = [isinstance(x, BatchedArray) for x in (first, second)]
    operands = [x.stack if is_row else x for x, is_row in zip((first, second), rows)]
    labels = [label + own if is_row else own for own, is_row in zip(inputs.split(","), rows)]

    def summed(*arrays: Any) -> Any:
        return np.einsum(f"{','.join(labels)}->{label}{output}", *arrays, optimize=optimize)

    with np.errstate(invalid="ignore"):
        result = summed(*operands)
    if all(rows) or all(np.isfinite(x).all() for x, is_row in zip(operands, rows) if not is_row):
        return BatchedArray(result)
    return BatchedArray(_zero_kept_in_sums(summed, operands, rows, result))


def _row(tree: object, i: int) -> Any:
    """Row ``i`` of all BatchedArrays inside nested arguments, as views."""
    return tree_map(lambda leaf: leaf.stack[i, ...] if isinstance(leaf, BatchedArray) else leaf, tree)


def _each(function: Callable[..., Any], args: Any, settings: Any) -> Any:
    """``function`` of each row."""
    count = max(len(rows.stack) for rows in tree_leaves((args, settings)) if isinstance(rows, BatchedArray))
    return _joined([function(*_row(tuple(args), i), **_row(settings, i)) for i in range(count)])


def _joined(results: list[Any]) -> Any:
    """The results for all rows as a BatchedArray; what is not an array (a shape, a dtype) is the same for all rows."""
    if isinstance(results[0], (ndarray, np.generic)):
        return BatchedArray(np.stack(results))
    if type(results[0]) in (list, tuple) and any(isinstance(x, (ndarray, np.generic)) for x in results[0]):
        return type(results[0])(_joined(list(parts)) for parts in zip(*results))
    return results[0]


def gradients_by_row(output: Tensor, wanted: Sequence[Tensor], live: bool) -> Any:
    """A row of gradients of ``wanted`` for each element of ``output``, which has one axis."""
    seeds = np.eye(output.size, dtype=output.dtype)
    if live or not can_batch(output):
        rows = [
            gradients_of(output, wanted, asarray_like(seed, output), create_graph=live, retain_graph=True)
            for seed in seeds
        ]
        matrix = np.stack([packed(row) for row in rows])
        return matrix if live else matrix.data
    return np.concatenate(
        [batched_gradients(output, wanted, seeds[i : i + ROWS_AT_ONCE]) for i in range(0, output.size, ROWS_AT_ONCE)]
    )


def can_batch(output: Tensor) -> bool:
    """Whether rules can be called with a stack of gradients: of NumPy's arrays, and without a hook."""
    return type(output.data) is ndarray and not isinstance(_recording.get(), Hook)


def batched_gradients(output: Tensor, wanted: Sequence[Tensor], seeds: ndarray) -> ndarray:
    """Several rows of gradients from one backward pass."""
    nodes = [history(tensor) for tensor in wanted]
    found = dict(backward_pass(history(output), BatchedArray(seeds), set(nodes), retain_graph=True))
    parts = []
    for tensor, node in zip(wanted, nodes):
        part = found.get(node)
        stack = part.stack if isinstance(part, BatchedArray) else np.zeros((len(seeds), tensor.size), tensor.dtype)
        parts.append(stack.reshape(len(seeds), tensor.size))
    return np.concatenate(parts, axis=1)


def blocks_of(matrix: Any, outputs: Sequence[Tensor], variables: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """For each output its blocks of the matrix, one for each variable, in their shapes."""
    row = 0
    for output in outputs:
        column, blocks = 0, []
        for variable in variables:
            block = matrix[row : row + output.size, column : column + variable.size]
            block = block.reshape(output.shape + variable.shape).astype(variable.dtype)
            blocks.append(block if isinstance(block, Tensor) else Tensor(block))
            column += variable.size
        yield blocks
        row += output.size


def dummy_gradient(output: Tensor) -> Tensor:
    """A gradient to differentiate the pullback at: any, but for zeros and symmetries, of which some rules make use."""
    values = np.sqrt(np.arange(1.0, output.size + 1)).reshape(output.shape).astype(output.dtype)
    return Tensor(asarray_like(values, output), requires_grad=True)


def packed(parts: Sequence[Any]) -> Any:
    """Arrays of any shapes, one after the other along one axis."""
    flat = [part.reshape(-1) for part in parts]
    return flat[0] if len(flat) == 1 else np.concatenate(flat)
