"""print_ops: each op, and each gradient rule, as it happens."""

from __future__ import annotations

from contextvars import Token
from typing import Any, TextIO

import numpy as np

from ..core import Tensor
from ..core.context import Watcher, _recording
from ..core.node import Node
from . import summaries
from .formulas import formula
from .names import Names, expression


class print_ops(Watcher):
    """Inside, each op that is recorded is printed, and in the backward pass each gradient rule: a context manager.

    What is not recorded is not printed: comparisons, ops on arrays alone, and what happens inside ``no_grad``. Compiled
    functions run op by op. Outside nothing is slower. (NumPy's ``np.trace`` is the sum of a diagonal, hence the name.)

    Parameters
    ----------
    names
        What values are called: modules, whose parameters have names, and mappings of names to Tensors, arrays and
        modules, such as ``locals()``. Others are shown by their shape.
    file
        Where to print; default: standard output.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> w = tg.Tensor([0.0, 1.0], requires_grad=True)
    >>> with tg.print_ops({"w": w}):
    ...     loss = np.sum(np.exp(w))
    ...     loss.backward()
    np.exp(w) = [1.     2.7183], (2,) float64
    np.sum((2,)) = 3.718, scalar float64
    backward of np.sum((2,)): g = 1, scalar float64
      (2,) gets g at each of the elements summed = [1. 1.], (2,) float64
    backward of np.exp(w): g = [1. 1.], (2,) float64
      w gets g * out = [1.     2.7183], (2,) float64
    """

    def __init__(self, *names: object, file: TextIO | None = None) -> None:
        self._names, self._file = Names("print_ops", names), file
        self._tokens: list[Token[Any]] = []

    def __enter__(self) -> None:
        self._tokens.append(_recording.set(self.beside_others()))

    def __exit__(self, *exception: object) -> None:
        _recording.reset(self._tokens.pop())

    # What the engine tells

    def computed(self, node: Node) -> None:
        self._print(self._call(node), node.array)

    def reached(self, node: Node, gradient: object) -> None:
        self._print(f"backward of {self._call(node)}: g", gradient)

    def differentiated(self, node: Node, position: int, gradient: object) -> None:
        op: Any = node.op
        operands = self._operands(node)
        words = formula(op, position, node.arrays, operands, "out")
        self._print(f"  {operands[position]} gets {words}", gradient)

    def _print(self, what: str, value: Any) -> None:
        array = value.data if isinstance(value, Tensor) else value
        print(f"{what} = {summaries.numbers(array)}, {summaries.kind(array)}", file=self._file)

    def _call(self, node: Node) -> str:
        op: Any = node.op
        return expression(op, self._operands(node), node.settings)

    def _operands(self, node: Node) -> list[str]:
        return [self._operand(parent, array) for parent, array in zip(node.parents, node.arrays)]

    def _operand(self, node: Node | None, array: Any) -> str:
        if name := self._names.of(node, array):
            return name
        return summaries.number(array) if node is None and np.ndim(array) == 0 else summaries.shape(array.shape)
