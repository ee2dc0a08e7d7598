"""Operands of checks, in different precisions and layouts, and comparisons of results."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Tensor


def is_float(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fc"


def in_precision(x: np.ndarray, dtype: Any) -> np.ndarray:
    """As ``dtype``, or the complex dtype of that precision."""
    return x.astype(np.result_type(dtype, np.complex64) if x.dtype.kind == "c" else dtype)


def as_it_lies(array: np.ndarray, requires_grad: bool = True) -> Tensor:
    """A tensor of the array itself, not of a copy: in any layout, as results of ops are."""
    tensor = Tensor(array, requires_grad)
    tensor._array = array
    return tensor


def read_only(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = x.copy()
    result.flags.writeable = False
    return result


def strided(x: np.ndarray) -> np.ndarray:
    doubled: np.ndarray = np.repeat(x, 2, axis=-1)
    return doubled[..., ::2]


def reversed_twice(x: np.ndarray) -> np.ndarray:
    turned: np.ndarray = x[::-1].copy()
    return turned[::-1]


def assert_close(expected: Any, found: Any, message: str) -> None:
    for one, other in zip(expected, found):
        assert one.dtype == other.dtype, f"{message}: dtype"
        np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12, err_msg=message)


def assert_same(expected: Any, found: Any, message: str) -> None:
    if isinstance(expected, tuple):
        for one, other in zip(expected, found):
            assert_same(one, other, message)
        return
    assert np.asarray(expected).dtype == np.asarray(found).dtype, f"{message}: dtype"
    np.testing.assert_array_equal(found, expected, err_msg=message)
