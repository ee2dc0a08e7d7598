"""Methods of ufuncs: ``np.add.reduce``, ``np.multiply.accumulate``, ``np.subtract.outer`` and others.

A reduction or a scan by a ufunc is a function that NumPy has by another name; ``outer`` is the ufunc itself on operands
of other shapes. ``at`` writes into its operand and ``reduceat`` has no other name: both are refused, by name.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable

import numpy as np

from ..core import NUMPY, AnyArray, Axis, implements, refuse

# Importing these modules first has their ufuncs in the table
from . import elementwise, logic, rounding, selection  # noqa: F401
from .conversion import as_operand


def _along_axis(
    function: Callable[..., AnyArray],
    name: str,
    array: AnyArray,
    axis: Axis = 0,
    out: object = None,
    **keywords: object,
) -> Any:
    """``function`` along one axis, by default the first one, as methods of ufuncs do."""
    refuse(name, out=out)
    if axis is None and name.endswith("accumulate") and np.ndim(array) > 1:
        raise ValueError(f"{name} goes along one axis, got axis=None for an array of shape {np.shape(array)}")
    return NUMPY[function](array, axis=axis, **keywords)


for _ufunc, _reduction in (
    (np.add, np.sum),
    (np.multiply, np.prod),
    (np.maximum, np.max),
    (np.minimum, np.min),
    (np.logical_and, np.all),
    (np.logical_or, np.any),
):
    implements(_ufunc.reduce)(partial(_along_axis, _reduction, f"np.{_ufunc.__name__}.reduce"))
for _ufunc, _scan in ((np.add, np.cumsum), (np.multiply, np.cumprod)):
    implements(_ufunc.accumulate)(partial(_along_axis, _scan, f"np.{_ufunc.__name__}.accumulate"))


def _outer(ufunc: np.ufunc, x: AnyArray, y: AnyArray, **keywords: object) -> Any:
    """``ufunc`` of every element of ``x`` with every element of ``y``."""
    refuse(f"np.{ufunc.__name__}.outer", **keywords)
    x, y = as_operand(x), as_operand(y)
    return ufunc(x.reshape(x.shape + (1,) * y.ndim), y)


for _function in list(NUMPY):
    if isinstance(_function, np.ufunc) and _function.nin == 2 and _function.signature is None:
        implements(_function.outer)(partial(_outer, _function))
