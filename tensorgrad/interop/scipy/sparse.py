"""Products with SciPy's sparse matrices, which are constants: the gradient with respect to the other operand."""

from __future__ import annotations

from typing import Any, overload

import numpy as np

from ... import samples
from ..._optional import require
from ...core import AnyArray, Array, Op, Tensor, asarray_like, declare, describe
from ...ops.conversion import as_operand

sparse = require("scipy.sparse", "tensorgrad.interop.scipy")


def _of_arrays(
    x: Array, data: Array, indices: Array, indptr: Array, *, shape: tuple[int, int], transposed: bool
) -> Any:
    matrix = sparse.csr_array((data, indices, indptr), shape=shape)
    return (matrix.T if transposed else matrix) @ x


def _forward(x: Any, data: Any, indices: Any, indptr: Any, *, shape: tuple[int, int], transposed: bool) -> Any:
    """The same of arrays of any library, by NumPy's protocol, which SciPy does not ask for."""
    if isinstance(x, np.ndarray):
        return _of_arrays(x, data, indices, indptr, shape=shape, transposed=transposed)
    parts = (asarray_like(part, x) if isinstance(part, np.ndarray) else part for part in (data, indices, indptr))
    settings = {"shape": shape, "transposed": transposed}
    return x.__array_function__(_of_arrays, (type(x),), (x, *parts), settings)


def _sample(draw: samples.Draw) -> samples.Operands:
    """The matrix [[a, 0, b], [0, 0, c]], either way, and a vector or a matrix; lists, as checks turn arrays around."""
    transposed = bool(draw.integer(0, 1))
    columns = samples.shape(draw, max_ndim=1)
    x = samples.reals(draw, (2 if transposed else 3, *columns))
    return (x, samples.reals(draw, (3,)), [0, 2, 2], [0, 2, 3]), {"shape": (2, 3), "transposed": transposed}


_product: Op = declare(
    "sparse.matmul",
    _forward,
    lambda g, out, x, *matrix, shape, transposed: _product(g, *matrix, shape=shape, transposed=not transposed),
    None,
    None,
    None,
    sample=_sample,
    expects="a sparse matrix of shape (n, k) and an array of shape (k,) or (k, m)",
    opaque=True,
    complex_rules="holomorphic",
)
"""The product of a matrix in CSR format, or of its transpose, and a dense vector or matrix."""


@overload
def sparse_matmul(a: Tensor, b: Any) -> Tensor: ...
@overload
def sparse_matmul(a: Any, b: Tensor) -> Tensor: ...
@overload
def sparse_matmul(a: Any, b: Any) -> Any: ...
def sparse_matmul(a: Any, b: Any) -> Any:
    """``a @ b`` for a sparse matrix of SciPy's and a Tensor, in either order; the matrix is a constant.

    SciPy asks no other library what ``S @ tensor`` is, so that it is a function.

    Parameters
    ----------
    a, b
        One is a sparse matrix or array of two dimensions, of any format, preferably CSR or CSC; the other a Tensor or
        an array, a vector or a matrix.

    Returns
    -------
    Tensor
        Dense, of the dtype that NumPy gives the product of dense ones: with float32 in ``S``, float32 stays. An array
        for an array.

    Raises
    ------
    TypeError, ValueError
        If not exactly one operand is sparse, or the shapes do not fit.

    Examples
    --------
    >>> import numpy as np, scipy.sparse as sp, tensorgrad as tg
    >>> from tensorgrad.interop.scipy import sparse_matmul
    >>> S = sp.csr_array([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]])
    >>> x = tg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> sparse_matmul(S, x)
    Tensor([ 4., 10.], requires_grad=True)
    >>> sparse_matmul(S, x).sum().backward()
    >>> x.grad
    array([1., 2., 3.])
    """
    if sparse.issparse(a) == sparse.issparse(b):
        raise TypeError(
            f"sparse_matmul: takes one sparse matrix and one Tensor or array, got {_kind(a)} and {_kind(b)}; "
            "write a @ b for two of a kind"
        )
    is_left = sparse.issparse(a)
    matrix, dense = (a, as_operand(b)) if is_left else (b, as_operand(a))
    fits = matrix.ndim == 2 and dense.ndim in (1, 2)
    if not fits or (matrix.shape[1] != dense.shape[0] if is_left else dense.shape[-1] != matrix.shape[0]):
        raise ValueError(
            "sparse_matmul: takes operands of shapes (n, k) and (k, m), of which the dense one may be a vector, got "
            f"{_kind(a)} and {_kind(b)}; reshape them so that they fit"
        )
    if is_left:
        return _times(matrix, dense, transposed=False)
    return _times(matrix, dense, transposed=True) if dense.ndim == 1 else _times(matrix, dense.T, transposed=True).T


def _times(matrix: Any, x: AnyArray, transposed: bool) -> Any:
    """The product of a matrix or its transpose and ``x``; one in CSC format is the transpose of one in CSR format."""
    is_csc = matrix.format == "csc"
    rows = matrix.T if is_csc else matrix.tocsr()
    shape = tuple(map(int, rows.shape))
    return _product(x, rows.data, rows.indices, rows.indptr, shape=shape, transposed=transposed != is_csc)


def _kind(x: object) -> str:
    return f"sparse {describe(x)}" if sparse.issparse(x) else describe(as_operand(x))
