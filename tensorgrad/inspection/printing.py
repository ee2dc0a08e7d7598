"""print_ops: each op, and each gradient rule, as it happens."""

from __future__ import annotations

from collections import Counter
from contextvars import Token
from typing import Any, TextIO
from weakref import WeakKeyDictionary, ref

import numpy as np

from ..core import Tensor, sum_to_shape
from ..core.context import Hook, _recording
from ..core.node import Node
from . import summaries
from .formulas import formula
from .names import Names, expression


class print_ops(Hook):
    """Context manager that prints each op that is recorded, and each gradient rule of the backward pass.

    What is not recorded is not printed: comparisons, ops on arrays alone, and what happens inside ``no_grad``. Compiled
    functions run op by op. Outside nothing is slower. (NumPy's ``np.trace`` is the sum of a diagonal, hence the name.)

    Parameters
    ----------
    names
        What values are called: modules, whose parameters have names, and mappings of names to Tensors, arrays and
        modules, such as ``locals()``. Results of ops are called ``t1``, ``t2``, ... in the order of the computation.
    file
        Where to print; default: standard output.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> w = tg.Tensor([0.0, 1.0], requires_grad=True)
    >>> with tg.print_ops({"w": w}):
    ...     loss = np.sum(np.exp(w))
    ...     loss.backward()
    t1 = np.exp(w) = [1.     2.7183], (2,) float64
    t2 = np.sum(t1) = 3.718, scalar float64
    backward of t2 = np.sum(t1): g = 1, scalar float64
      t1 gets g at each of the elements summed = [1. 1.], (2,) float64
    backward of t1 = np.exp(w): g = [1. 1.], (2,) float64
      w gets g * t1 = [1.     2.7183], (2,) float64
    """

    def __init__(self, *names: object, file: TextIO | None = None) -> None:
        self._names, self._file = Names("print_ops", names), file
        self._numbered: WeakKeyDictionary[Node, str] = WeakKeyDictionary()
        self._counts: Counter[str] = Counter()
        self._last: ref[Node] | None = None  # whose gradients have been printed, up to which operand
        self._position = 0
        self._tokens: list[Token[Any]] = []

    def __enter__(self) -> None:
        self._tokens.append(_recording.set(self.after_outer()))

    def __exit__(self, *exception: object) -> None:
        _recording.reset(self._tokens.pop())

    # What the engine tells

    def on_forward(self, node: Node) -> None:
        self._print(self._call(node), node.array)

    def on_backward(self, node: Node, position: int, arrived: object, gradient: Any) -> None:
        if self._last is None or self._last() is not node or position <= self._position:
            self._print(f"backward of {self._call(node)}: g", arrived)
        self._last, self._position = ref(node), position
        op: Any = node.op
        operands = self._operands(node)
        part = gradient.data if isinstance(gradient, Tensor) else gradient
        words = formula(op, position, node.arrays, operands, self._name(node, node.array), part.shape)
        wanted = node.arrays[position].shape
        self._print(
            f"  {operands[position]} gets {words}", part if part.shape == wanted else sum_to_shape(part, wanted)
        )

    def _print(self, what: str, value: object) -> None:
        array = value.data if isinstance(value, Tensor) else value
        print(f"{what} = {summaries.numbers(array)}, {summaries.kind(array)}", file=self._file)

    def _call(self, node: Node) -> str:
        op: Any = node.op
        operands = self._operands(node)  # which are named first
        return f"{self._name(node, node.array)} = {expression(op, operands, node.settings)}"

    def _operands(self, node: Node) -> list[str]:
        return [self._name(parent, array) for parent, array in zip(node.parents, node.arrays)]

    def _name(self, node: Node | None, array: Any) -> str:
        """What the user calls a value, else a number, or for an array what it is."""
        if name := self._names.of(node, array):
            return name
        if node is None or not node.requires_grad:
            return summaries.number(array) if np.ndim(array) == 0 else "array"
        if node not in self._numbered:
            kind = "t" if node.op is not None else "leaf"
            self._counts[kind] += 1
            self._numbered[node] = f"{kind}{self._counts[kind]}"
        return self._numbered[node]
