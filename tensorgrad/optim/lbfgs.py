"""Minimising a loss as a whole, with SciPy's L-BFGS and other methods: for small problems without batches."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Callable

import numpy as np

from .._optional import require
from ..autodiff import gradients
from ..core import Tensor, describe
from ..core.context import recorded
from .groups import checked_parameters

METHODS = ("L-BFGS-B", "BFGS", "CG")


@dataclass(frozen=True)
class Minimum:
    """Where :func:`minimise` has ended.

    Attributes
    ----------
    loss
        The value there.
    iterations, evaluations
        Steps taken, and how often the loss has been computed.
    converged
        Whether the tolerance was met.
    message
        Why it ended, in SciPy's words.
    """

    loss: float
    iterations: int
    evaluations: int
    converged: bool
    message: str


def minimise(
    loss: Callable[[], Tensor],
    parameters: Iterable[Tensor],
    *,
    max_iterations: int = 1000,
    tolerance: float = 1e-6,
    method: str = "L-BFGS-B",
    **options: object,
) -> Minimum:
    """Change parameters until ``loss()`` is at a minimum, with ``scipy.optimize.minimize``.

    Parameters
    ----------
    loss
        Computes the loss, one number, from the parameters; the same for the same parameters, without dropout or
        batches. It can be compiled.
    parameters
        Tensors, such as ``model.parameters()``. They are left at the best point, in their own dtypes; the search is in
        float64, so with float32 parameters a tolerance below 1e-4 may not be met.
    max_iterations
        Steps at most.
    tolerance
        Largest element of the gradient at which the search ends; with L-BFGS it also ends where the loss hardly falls
        any more (``ftol``).
    method
        One of SciPy's that take gradients: ``"L-BFGS-B"``, ``"BFGS"``, ``"CG"``.
    options
        Further options of the method, such as ``maxcor``, the updates that L-BFGS remembers.

    Raises
    ------
    MissingExtra
        If SciPy is not installed.
    TypeError, ValueError
        If parameters or loss do not fit.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> x = tg.Tensor([-1.2, 1.0], requires_grad=True)
    >>> found = tg.optim.minimise(lambda: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2, [x])
    >>> found.converged, x.data.round(4)
    (True, array([1., 1.]))
    """
    if method not in METHODS:
        raise ValueError(f"minimise: method must be one of {', '.join(METHODS)}, got {method!r}")
    scipy = require("scipy.optimize", "minimise")
    search = _Search(loss, checked_parameters("minimise", list(parameters)))
    try:
        result = scipy.minimize(
            search,
            search.start,
            jac=True,
            method=method,
            options={"maxiter": max_iterations, "gtol": tolerance, **options},
        )
    finally:
        search.move_to(search.best)
    return Minimum(search.lowest, int(result.nit), search.evaluations, bool(result.success), str(result.message))


class _Search:
    """The loss and its gradient as functions of one vector; remembers where the loss was lowest."""

    def __init__(self, loss: Callable[[], Tensor], parameters: list[Tensor]) -> None:
        self.loss, self.parameters = loss, parameters
        self.best = self.start = _as_vector([parameter.data for parameter in parameters])
        self.lowest, self.evaluations = inf, 0

    def __call__(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        self.move_to(vector)
        with recorded():
            loss = self.loss()
        if not isinstance(loss, Tensor) or loss.size != 1 or loss.dtype.kind != "f":
            raise TypeError(f"minimise: loss() must give a Tensor with one real number, got {describe(loss)}")
        value = loss.item()
        self.evaluations += 1
        if self.evaluations == 1 and not isfinite(value):
            raise ValueError(f"minimise: the loss is {value} at the start; begin where it is finite")
        if value < self.lowest:
            self.lowest, self.best = value, vector.copy()
        return value, _as_vector([gradient.data for gradient in gradients(loss, self.parameters)])

    def move_to(self, vector: np.ndarray) -> None:
        """Give the parameters the values of the vector."""
        ends = np.cumsum([parameter.size for parameter in self.parameters])
        for parameter, end in zip(self.parameters, ends):
            values = vector[end - parameter.size : end].reshape(parameter.shape)
            parameter.data = values.astype(parameter.dtype)


def _as_vector(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.astype(np.float64).ravel() for array in arrays])
