"""The graph of a computation, read from the history of its results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core import Tensor
from ..core.arrays import SMALL, is_view
from ..core.context import is_traced, settle
from ..core.node import Node
from ..core.tensor import history

OPERATION, LEAF, CONSTANT = "operation", "leaf", "constant"


@dataclass(eq=False)
class Vertex:
    """A value: what an op gave, a leaf that requires gradients, or a constant, such as an array of images.

    Attributes
    ----------
    kind
        ``OPERATION``, ``LEAF`` or ``CONSTANT``.
    array
        The value.
    node
        Its node in the graph; None for an array that is not a Tensor.
    operands
        What the op was applied to, in its order.
    """

    kind: str
    array: Any
    node: Node | None
    operands: list[Vertex] = field(default_factory=list)

    @property
    def is_number(self) -> bool:
        """Whether it is a constant without axes, which is written into the op that uses it."""
        return self.kind == CONSTANT and np.ndim(self.array) == 0

    @property
    def is_view(self) -> bool:
        """Whether the op gave a view of its operand."""
        return self.kind == OPERATION and len(self.operands) == 1 and is_view(self.array, self.operands[0].array)


def read(function: str, results: Sequence[Tensor]) -> list[Vertex]:
    """The results of ops behind ``results``, in the order in which they were computed; the leaves are their operands.

    Parameters
    ----------
    function
        Who asks, for the error messages.
    results
        Tensors with a history.

    Raises
    ------
    RuntimeError
        If the history has been freed.
    """
    nodes = nodes_of(function, results)
    known: dict[object, Vertex] = {}
    for node in nodes:
        operands = [_operand(known, parent, array) for parent, array in zip(node.parents, node.arrays)]
        known[node] = Vertex(OPERATION, node.array, node, operands)
    return [known[node] for node in nodes]


def nodes_of(function: str, results: Sequence[Tensor]) -> list[Node]:
    """The nodes of all ops that led to the results, in the order in which they were computed."""
    found = {history(tensor) for tensor in results}
    stack = list(found)
    while stack:
        node = stack.pop()
        if node.is_freed:
            raise RuntimeError(
                f"{function}: the history has been freed by an earlier backward; {_VERBS.get(function, 'draw')} before "
                "calling backward, or pass retain_graph=True to it"
            )
        for parent in node.parents:
            if parent is not None and parent.op is not None and parent not in found:
                found.add(parent)
                stack.append(parent)
    return sorted((node for node in found if node.op is not None), key=lambda node: node.sequence_nr)


_VERBS = {"explain": "explain", "backward_steps": "go through the steps"}


def check(function: str, results: object) -> list[Tensor]:
    """The results as a list, or an error: each must be a Tensor with a history."""
    if is_traced():
        raise RuntimeError(
            f"{function}: there are no values yet while a pure function is compiled; call {function} outside of it, on "
            "a result of the function that is not compiled"
        )
    settle()
    several = results if isinstance(results, Iterable) and not isinstance(results, Tensor) else [results]
    tensors: list[Any] = list(several)
    if not tensors:
        raise TypeError(f"{function}: no result was given; pass a Tensor, or several")
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{function}: takes Tensors, got {type(tensor).__name__}; pass what the network returned")
        if tensor.is_leaf:
            raise RuntimeError(
                f"{function}: the result has no history; compute it from parameters or other Tensors that require "
                "gradients, outside no_grad"
            )
    return tensors


def _identity(array: object) -> object:
    """What is one array: a small one by its content, as histories hold copies of it."""
    if isinstance(array, np.ndarray) and array.nbytes <= SMALL:
        return array.shape, array.dtype, array.tobytes()
    return id(array)  # which the history holds, so that the id is not used again


def _operand(known: dict[object, Vertex], parent: Node | None, array: Any) -> Vertex:
    """The vertex of an operand: one for each node, and for each array that is not a Tensor."""
    key = parent if parent is not None else _identity(array)
    if key not in known or (np.ndim(array) == 0 and parent is None):
        known[key] = Vertex(LEAF if parent is not None and parent.requires_grad else CONSTANT, array, parent)
    return known[key]
