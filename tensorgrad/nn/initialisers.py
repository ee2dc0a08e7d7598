"""Initial values of parameters: by name, or by a function of a shape and a random generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable, Union

import numpy as np

from ..core import Tensor

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Initialiser = Union[str, Callable[[tuple[int, ...], np.random.Generator], "ArrayLike"]]
"""A name out of :data:`INITIALISERS`, or a function of a shape and a generator that gives the values."""

_Draw = Callable[[np.random.Generator, Sequence[int]], np.ndarray]


def generator(rng: object) -> np.random.Generator:
    """``rng`` itself, one seeded with it where it is an integer, or a fresh one for None.

    Raises
    ------
    TypeError
        If it is something else.
    ValueError
        If the integer is negative.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is None or (isinstance(rng, (int, np.integer)) and not isinstance(rng, bool)):
        return np.random.default_rng(rng)
    raise TypeError(
        f"rng must be a NumPy generator, such as np.random.default_rng(0), an integer to seed one, or None, got {rng!r}"
    )


def parameter(
    layer: str,
    name: str,
    initialiser: Initialiser,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    dtype: object,
    fans: tuple[int, int] = (1, 1),
) -> Tensor:
    """A Tensor that requires gradients, with initial values.

    Parameters
    ----------
    layer, name
        Of the layer, and of its argument that chooses the initialiser, for messages.
    initialiser
        A name, or a function of ``shape`` and ``rng``.
    fans
        To how many inputs an output is connected by the weights, and to how many outputs an input.

    Raises
    ------
    ValueError
        If there is no initialiser of that name, or the function gives another shape.
    TypeError
        If it is neither a name nor a function.

    Examples
    --------
    >>> import numpy as np
    >>> parameter("Dense", "weight_init", "he_normal", (2, 3), np.random.default_rng(0), np.float32, (2, 3)).shape
    (2, 3)
    """
    if isinstance(initialiser, str):
        if initialiser not in INITIALISERS:
            instead = initialiser.lower().replace("kaiming", "he").replace("glorot", "xavier")
            hint = f", which is {instead!r} here" if instead in INITIALISERS else ""
            raise ValueError(
                f"{layer}: {name} must be one of {', '.join(INITIALISERS)}, or a function of shape and rng, "
                f"got {initialiser!r}{hint}"
            )
        values: Any = INITIALISERS[initialiser](rng, shape, *fans)
    elif callable(initialiser) and not isinstance(initialiser, type):
        values = np.asarray(initialiser(shape, rng))
        if values.shape != shape or values.dtype.kind not in "fiu":
            raise ValueError(
                f"{layer}: {name} must give real numbers of shape {shape}, got shape {values.shape} and dtype "
                f"{values.dtype}"
            )
    else:
        raise TypeError(
            f"{layer}: {name} must be a name such as 'xavier_uniform', or a function such as "
            f"lambda shape, rng: rng.normal(0, 0.02, shape), got {initialiser!r}"
        )
    return Tensor(values.astype(dtype), requires_grad=True)


def _normal(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    return rng.standard_normal(shape)


def _uniform(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """Uniform numbers of variance 1."""
    return rng.uniform(-np.sqrt(3.0), np.sqrt(3.0), shape)


def _scaled(draw: _Draw, variance: Callable[[int, int], float]) -> Callable[..., np.ndarray]:
    def initialise(rng: np.random.Generator, shape: Sequence[int], fan_in: int, fan_out: int) -> np.ndarray:
        values: np.ndarray = draw(rng, shape) * np.sqrt(variance(fan_in, fan_out))
        return values

    return initialise


def _orthogonal(rng: np.random.Generator, shape: Sequence[int], *fans: int) -> np.ndarray:
    """A matrix whose rows or columns, the fewer of them, are orthonormal; of more axes, all but the first as one."""
    if len(shape) < 2:
        raise ValueError(f"orthogonal initial values need a shape of two axes or more, got {tuple(shape)}")
    rows, columns = shape[0], int(np.prod(shape[1:]))
    tall = rng.standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)  # so that all such matrices are equally likely
    return np.reshape(q if rows >= columns else q.T, shape)


def _he(fan_in: int, fan_out: int) -> float:
    return 2.0 / fan_in


def _xavier(fan_in: int, fan_out: int) -> float:
    return 2.0 / (fan_in + fan_out)


def _lecun(fan_in: int, fan_out: int) -> float:
    return 1.0 / fan_in


INITIALISERS: dict[str, Callable[..., np.ndarray]] = {
    "he_normal": _scaled(_normal, _he),
    "he_uniform": _scaled(_uniform, _he),
    "xavier_normal": _scaled(_normal, _xavier),
    "xavier_uniform": _scaled(_uniform, _xavier),
    "lecun_normal": _scaled(_normal, _lecun),
    "lecun_uniform": _scaled(_uniform, _lecun),
    "orthogonal": _orthogonal,
    "normal": lambda rng, shape, *fans: _normal(rng, shape),
    "zeros": lambda rng, shape, *fans: np.zeros(shape),
    "ones": lambda rng, shape, *fans: np.ones(shape),
}
"""By name: variance 2 / fan-in (He et al. 2015, equation 10), 2 / (fan-in + fan-out) (Glorot & Bengio 2010), 1 / fan-in
(LeCun et al. 1998), orthogonal matrices (Saxe et al. 2014), the standard normal distribution, and constants.
"""
