"""Anomaly detection: the op, the line and the numbers where a value or a gradient first is not finite."""

from __future__ import annotations

import sys
from contextvars import Token
from functools import wraps
from pathlib import Path
from typing import Any, Callable, TypeVar, cast
from weakref import WeakKeyDictionary

import numpy as np

from ..core import Tensor, describe
from ..core.context import Hook, _recording
from ..core.node import Node

F = TypeVar("F", bound=Callable[..., Any])

_OURS, _NUMPYS = str(Path(__file__).parents[1]), str(Path(np.__file__).parent)


class AnomalyError(ArithmeticError):
    """A value or a gradient that is not finite."""


class detect_anomaly(Hook):
    """Context manager and decorator that check each op, to find out where NaN and infinity come from.

    An error names the op, its operands, the line of your code that called it, and the element. Compiled functions run
    op by op. All this takes time: switch it off when the mistake has been found.

    Parameters
    ----------
    infinities
        Whether infinite values and gradients count, or only NaN. Leave them out where ``-inf`` is meant, as in masks.

    Raises
    ------
    AnomalyError
        At the first recorded op whose result is not finite; in the backward pass, at the first gradient that is not.

    Examples
    --------
    The classic: the branch that ``np.where`` does not choose is differentiated all the same, and 0 times infinity is
    NaN. The remedy is to keep what is computed finite, by choosing before the function as well.

    >>> import numpy as np, tensorgrad as tg
    >>> x = tg.Tensor([0.0, 4.0], requires_grad=True)
    >>> with np.errstate(all="ignore"), tg.detect_anomaly():
    ...     np.where(x > 0, np.sqrt(x), 0).sum().backward()
    Traceback (most recent call last):
    tensorgrad.debug.anomaly.AnomalyError: sqrt: the gradient for operand 0 is nan at index (0,), where the...
    >>> safe = np.where(x > 0, x, 1)
    >>> np.where(x > 0, np.sqrt(safe), 0).sum().backward()
    >>> x.grad
    array([0.  , 0.25])
    """

    def __init__(self, infinities: bool = True) -> None:
        self.infinities = infinities
        self._places: WeakKeyDictionary[Node, str] = WeakKeyDictionary()
        self._tokens: list[Token[Any]] = []

    def __enter__(self) -> None:
        self._tokens.append(_recording.set(self.after_outer()))

    def __exit__(self, *exception: object) -> None:
        _recording.reset(self._tokens.pop())

    def __call__(self, function: F) -> F:
        @wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            with detect_anomaly(self.infinities):
                return function(*args, **kwargs)

        return cast(F, checked)

    # What the engine tells

    def on_forward(self, node: Node) -> None:
        """An op was recorded."""
        place, out = _place(), node.array
        if (index := self._first_wrong(out)) is not None:
            came = ", ".join(map(describe, node.arrays))
            there = _operands_at(node.arrays, index, out.shape)
            raise AnomalyError(f"{_name(node)}: gave {out[index]} at index {index} from ({came}){there}, in {place}")
        self._places[node] = place

    def on_backward(self, node: Node, position: int, arrived: object, gradient: Any) -> None:
        """A rule has given the gradient for an operand."""
        array = node.arrays[position]
        values = gradient.data if isinstance(gradient, Tensor) else gradient
        if (index := self._first_wrong(values)) is not None:
            operand = f", where the operand is {array[index]}" if getattr(array, "shape", None) == values.shape else ""
            where = f", in {place}" if (place := self._places.get(node)) else ""
            raise AnomalyError(
                f"{_name(node)}: the gradient for operand {position} is {values[index]} at index {index}{operand}"
                f"{where}; keep its operands where the derivative is finite, say with np.where before the function"
            )

    def _first_wrong(self, values: Any) -> tuple[int, ...] | None:
        """The index of the first element that is not finite."""
        if values.dtype.kind not in "fc":
            return None
        wrong = ~np.isfinite(values) if self.infinities else np.isnan(values)
        return tuple(int(i) for i in np.argwhere(wrong)[0]) if wrong.any() else None


def _operands_at(arrays: list[Any], index: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """The operands' own elements there, for elementwise ops."""
    try:
        values = [np.broadcast_to(array, shape)[index] for array in arrays]
    except ValueError:
        return ""
    return ", there " + ", ".join(map(str, values))


def _name(node: Node) -> str:
    return "source" if node.op is None else node.op.name


def _place() -> str:
    """File and line of the code that called the op: the innermost frame outside this package and NumPy."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((_OURS, _NUMPYS, "<__array_function__")):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}"
