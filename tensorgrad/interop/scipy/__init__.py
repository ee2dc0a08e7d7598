"""SciPy's functions on Tensors: needs SciPy (the extra ``scipy``).

The ufuncs of :mod:`scipy.special` are differentiated as NumPy's are, and nothing need be imported for that: the first
one that meets a Tensor imports this package. What SciPy computes in Python, from arrays alone, is here under its name.
"""

from .sparse import sparse_matmul
from .special import polygamma

__all__ = ["polygamma", "sparse_matmul"]
