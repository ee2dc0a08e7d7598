"""The engine, one idea per file.

To read it: ``node`` (the recorded graph), ``backward`` (the chain rule), ``op`` (forward pass and recording),
``registry`` and ``dispatch`` (how a NumPy function finds its op), ``tensor``, ``operators``, ``inplace`` (``x += y``,
views), and ``context`` (``no_grad``, hooks, tracers).
"""

from .arrays import AnyArray, Array, ArrayT, Axis, Constant, DType, Operand, as_data, describe
from .backward import backward_pass, sum_to_shape
from .inplace import plain_index
from .op import Op, declare
from .registry import NUMPY, OPS, implements, refuse, refuses, status
from .tensor import Tensor, asarray_like, seed_for

__all__ = [
    "NUMPY",
    "OPS",
    "AnyArray",
    "Array",
    "ArrayT",
    "Axis",
    "Constant",
    "DType",
    "Op",
    "Operand",
    "Tensor",
    "as_data",
    "asarray_like",
    "backward_pass",
    "declare",
    "describe",
    "implements",
    "plain_index",
    "refuse",
    "refuses",
    "seed_for",
    "status",
    "sum_to_shape",
]
