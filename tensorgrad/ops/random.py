"""Random numbers, drawn in every call, compiled or not: normal and uniform ones, and permutations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, overload

import numpy as np

from ..core import AnyArray, Constant, DType, Operand, Tensor, asarray_like
from ..core.context import draw_with, runtime_check
from ..distributed.share import axis_of_examples, of_all_ranks, shared
from .conversion import as_operand, in_dtype, without_history

__all__ = ["normal", "permutation", "uniform"]


@overload
def normal(
    loc: Tensor,
    scale: Operand = 1.0,
    size: int | Sequence[int] | None = None,
    *,
    rng: np.random.Generator,
    dtype: DType = None,
) -> Tensor: ...
@overload
def normal(
    loc: Constant,
    scale: Tensor,
    size: int | Sequence[int] | None = None,
    *,
    rng: np.random.Generator,
    dtype: DType = None,
) -> Tensor: ...
@overload
def normal(
    loc: Constant = 0.0,
    scale: Constant = 1.0,
    size: int | Sequence[int] | None = None,
    *,
    rng: np.random.Generator,
    dtype: DType = None,
) -> Any: ...
def normal(
    loc: Operand = 0.0,
    scale: Operand = 1.0,
    size: int | Sequence[int] | None = None,
    *,
    rng: np.random.Generator,
    dtype: DType = None,
) -> AnyArray:
    """Normal random numbers ``loc + scale * noise``, differentiable in ``loc`` and ``scale``.

    In float64 they are those of ``rng.normal(loc, scale, size)``, in lower precision the noise is drawn in float32.

    Parameters
    ----------
    loc, scale
        Mean and standard deviation: numbers, arrays or Tensors that broadcast together; ``scale`` not negative.
    size
        Shape of the result, an integer or a tuple; None takes that of ``loc`` and ``scale``.
    rng
        NumPy random generator that draws the noise.
    dtype
        Of the result, a floating one; None takes that of ``loc`` and ``scale``, for Python numbers float64.

    Returns
    -------
    Tensor or array
        A Tensor if ``loc`` or ``scale`` is one.

    Raises
    ------
    TypeError
        If ``rng`` is not a generator, or the numbers are not real.
    ValueError
        If a ``scale`` is negative or ``size`` does not fit.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> scale = tg.Tensor([1.0, 10.0], requires_grad=True)
    >>> noise = tg.random.normal(0.0, scale, rng=np.random.default_rng(0))
    >>> noise
    Tensor([ 0.12573022, -1.32104863], requires_grad=True)
    >>> noise.sum().backward()
    >>> scale.grad
    array([ 0.12573022, -0.13210486])
    >>> tg.random.normal(size=(2, 3), rng=np.random.default_rng(0), dtype=np.float32).dtype
    dtype('float32')
    """
    mean, deviation, shape, exact = _settled("normal", {"loc": loc, "scale": scale}, size, rng, dtype)
    runtime_check(_check_scale, without_history(deviation))
    return mean + deviation * _noise(rng, np.random.Generator.standard_normal, shape, exact, mean, deviation)


@overload
def uniform(
    low: Tensor,
    high: Operand = 1.0,
    size: int | Sequence[int] | None = None,
    *,
    rng: np.random.Generator,
    dtype: DType = None,
) -> Tensor: ...
@overload
def uniform(
    low: Constant,
    high: Tensor,
    size: int | Sequence[int] | None = None,
    *,
    rng: np.random.Generator,
    dtype: DType = None,
) -> Tensor: ...
@overload
def uniform(
    low: Constant = 0.0,
    high: Constant = 1.0,
    size: int | Sequence[int] | None = None,
    *,
    rng: np.random.Generator,
    dtype: DType = None,
) -> Any: ...
def uniform(
    low: Operand = 0.0,
    high: Operand = 1.0,
    size: int | Sequence[int] | None = None,
    *,
    rng: np.random.Generator,
    dtype: DType = None,
) -> AnyArray:
    """Uniform random numbers ``low + (high - low) * noise``, differentiable in ``low`` and ``high``.

    In float64 they are those of ``rng.uniform(low, high, size)``, in lower precision the noise is drawn in float32.

    Parameters
    ----------
    low, high
        Limits, the upper one excluded but for rounding: numbers, arrays or Tensors that broadcast together.
    size, rng, dtype
        As for :func:`normal`.

    Returns
    -------
    Tensor or array
        A Tensor if ``low`` or ``high`` is one.

    Raises
    ------
    TypeError
        If ``rng`` is not a generator, or the limits are not real.
    ValueError
        If a ``high`` is below its ``low`` or ``size`` does not fit.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.random.uniform(-1.0, 1.0, 3, rng=np.random.default_rng(0)).round(3)
    array([ 0.274, -0.46 , -0.918])
    """
    start, stop, shape, exact = _settled("uniform", {"low": low, "high": high}, size, rng, dtype)
    width = stop - start
    runtime_check(_check_width, without_history(width))
    return start + width * _noise(rng, np.random.Generator.random, shape, exact, start, stop)


def permutation(x: AnyArray, axis: int = 0, *, rng: np.random.Generator) -> Any:
    """The integers below ``x`` in random order; or ``x`` itself, an array or a Tensor, in random order along an axis.

    Parameters
    ----------
    x
        An integer, or an array or Tensor of at least one dimension.
    axis
        Along which ``x`` is reordered.
    rng
        NumPy random generator that draws the order.

    Raises
    ------
    TypeError
        If ``rng`` is not a generator.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> tg.random.permutation(4, rng=np.random.default_rng(0))
    array([2, 0, 1, 3])
    >>> tg.random.permutation(tg.Tensor([1.0, 2.0, 3.0, 4.0]), rng=np.random.default_rng(0))
    Tensor([3., 1., 2., 4.])
    """
    check_generator("random.permutation", rng)
    if shared() is not None:
        raise ValueError(
            "random.permutation: over several ranks none is drawn, as each has a part of the examples; draw it before "
            "the batch is shared, say with the order of the examples"
        )
    if isinstance(x, (int, np.integer)):
        return draw_with(rng, lambda rng: rng.permutation(x))
    x = as_operand(x)
    count = x.shape[axis]
    return np.take(x, draw_with(rng, lambda rng: rng.permutation(count)), axis=axis)


def check_generator(name: str, rng: object) -> None:
    """Raise unless ``rng`` is a generator; a seed would draw the same numbers in every call."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"{name}: rng must be a NumPy generator, made once outside of the function, such as "
            f"rng = np.random.default_rng(0), got {rng!r}"
        )


def _settled(
    name: str, bounds: dict[str, object], size: int | Sequence[int] | None, rng: object, dtype: DType
) -> tuple[AnyArray, AnyArray, tuple[int, ...], np.dtype]:
    """Both bounds in the dtype of the result, its shape and its dtype."""
    check_generator(f"random.{name}", rng)
    arrays: list[Any] = [x if isinstance(x, (int, float)) else as_operand(x) for x in bounds.values()]
    for bound, x in zip(bounds, arrays):
        if getattr(x, "dtype", np.dtype(float)).kind not in "fiub":
            raise TypeError(f"random.{name}: {bound} must be real, got {x.dtype}")
    dtype = np.dtype(np.result_type(0.0, *(x.dtype for x in arrays if hasattr(x, "dtype"))) if dtype is None else dtype)
    if dtype.kind != "f":
        raise TypeError(f"random.{name}: dtype must be a floating one, such as np.float32, got {dtype}")
    shapes = [np.shape(x) for x in arrays]
    shape = np.broadcast_shapes(*shapes) if size is None else np.broadcast_shapes(size)
    if not all(_broadcasts(own, shape) for own in shapes):
        raise ValueError(
            f"random.{name}: {' and '.join(bounds)} of shapes {' and '.join(map(str, shapes))} must broadcast to the "
            f"size {shape}"
        )
    numbers = (int, float, np.generic)
    first, second = (np.asarray(x, dtype) if isinstance(x, numbers) else in_dtype(x, dtype) for x in arrays)
    return first, second, shape, dtype


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1]))


def _noise(
    rng: np.random.Generator,
    draw: Callable[..., AnyArray],
    shape: Sequence[int],
    dtype: np.dtype,
    *beside_these: AnyArray,
) -> AnyArray:
    """Random numbers of a method of the generator, from the library of arrays that the others are of."""
    precision: Any = np.float32 if dtype.itemsize <= 4 else np.float64
    axis = axis_of_examples()

    def numbers(rng: np.random.Generator) -> Any:
        whole, rows = of_all_ranks("random", tuple(shape), axis)
        mine: np.ndarray = np.asarray(draw(rng, whole, dtype=precision))[rows]
        return np.ascontiguousarray(mine) if axis else mine

    noise = in_dtype(draw_with(rng, numbers), dtype)
    for x in beside_these:
        noise = asarray_like(noise, x)
    return noise


def _check_scale(scale: AnyArray) -> None:
    if (scale < 0).any():
        raise ValueError(f"random.normal: scale must not be negative, got {scale.min()}; np.exp of it is positive")


def _check_width(width: AnyArray) -> None:
    if (width < 0).any():
        raise ValueError(f"random.uniform: high must not be below low, got high - low = {width.min()}")
