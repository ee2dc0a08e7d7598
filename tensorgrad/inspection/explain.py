"""explain: a backward pass written out, with the numbers of this graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import numpy as np

from ..core import Tensor
from ..core.node import Node
from ..core.tensor import history
from . import summaries
from .formulas import formula
from .graph import LEAF, OPERATION, Vertex, check, read
from .names import Names, expression
from .steps import Visit, recorded_pass, seed_of


def explain(result: Tensor, *names: object, limit: int = 40, file: TextIO | None = None) -> None:
    """Print what led to ``result``, and its backward pass step by step, with the numbers of this graph.

    Values are called ``t1``, ``t2``, ... in the order in which they were computed, unless they have names. Each step
    takes ``g``, the gradient of the result L with respect to what an op gave, and says what each operand gets: the
    chain rule. Small arrays are printed, of large ones their range. Neither the history nor any ``.grad`` changes.

    Parameters
    ----------
    result
        A Tensor of one element whose history has not been freed.
    names
        What values are called: modules, whose parameters have names, and mappings of names to Tensors, arrays and
        modules, such as ``locals()``.
    limit
        The most ops and steps that are written out; a sentence says how many are not.
    file
        Where to print; default: standard output.

    Raises
    ------
    TypeError, RuntimeError, ValueError
        If there is no history, or ``result`` has several elements.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> a, b = (tg.Tensor(number, requires_grad=True) for number in (2.0, 3.0))
    >>> tg.explain(a * b + a, {"a": a, "b": b})
    Forward: what was computed, in this order
      a = 2, a leaf
      b = 3, a leaf
      t1 = a * b = 6
      t2 = t1 + a = 8
    <BLANKLINE>
    Backward: the chain rule, from the result L = t2 back to the leaves
      dL/dt2 = 1
    <BLANKLINE>
      1. t2 = t1 + a, so with g = dL/dt2
         dL/dt1 = g = 1
         part 1 of 2 of dL/da = g = 1
    <BLANKLINE>
      2. t1 = a * b, so with g = dL/dt1
         part 2 of 2 of dL/da = g * b = 3
         dL/da = the sum of its 2 parts = 4
         dL/db = g * a = 2
    <BLANKLINE>
    The leaves have their gradients, which backward() adds to .grad:
      dL/da = 4
      dL/db = 2
    """
    (output,) = check("explain", [result])
    for line in _Explanation(output, Names("explain", names), limit).lines():
        print(line, file=file)


class _Explanation:
    """The lines of an explanation."""

    def __init__(self, output: Tensor, names: Names, limit: int) -> None:
        self._output, self._known, self._limit = history(output), names, limit
        self._ops = read("explain", [output])
        self._vertex = {op.node: op for op in self._ops}
        self._visits, self._leaves = recorded_pass("explain", output, seed_of(output, None))
        self._gradients = {**{visit.node: visit.gradient for visit in self._visits}, **self._leaves}
        self._parts = Counter(parent for visit in self._visits for _, parent in _receivers(visit))
        self._seen: Counter[Node] = Counter()
        self._names: dict[Vertex, str] = {}
        self._of_node: dict[Node, str] = {}
        self._name_all()

    def lines(self) -> Iterator[str]:
        left_out = max(len(self._ops) - self._limit, 0)
        yield "Forward: what was computed, in this order"
        yield from self._forward(self._ops[left_out:], left_out)
        result = self._of_node[self._output]
        yield ""
        yield f"Backward: the chain rule, from the result L = {result} back to the leaves"
        yield from valued(f"  dL/d{result}", self._gradients[self._output], 4)
        for number, visit in enumerate(self._visits, 1):
            text = list(self._step(number, visit))  # also of those left out, as it counts the parts
            if number <= self._limit:
                yield from ("", *text)
        if left_out:
            yield f"\n  ... and {left_out:,} more steps, which are not written out (limit={self._limit})"
        yield "\nThe leaves have their gradients, which backward() adds to .grad:"
        for node, name in self._of_node.items():
            if node in self._leaves:
                yield from valued(f"  dL/d{name}", self._leaves[node], 4)

    def _name_all(self) -> None:
        """Give each value its name: what the user calls it, or a number in the order of the computation."""
        counts: Counter[str] = Counter()
        for op in self._ops:
            for vertex in (*op.operands, op):
                if vertex not in self._names:
                    self._names[vertex] = self._name(vertex, counts)
                    if vertex.node is not None:
                        self._of_node[vertex.node] = self._names[vertex]

    def _name(self, vertex: Vertex, counts: Counter[str]) -> str:
        if vertex.is_number:
            return summaries.number(vertex.array)
        name = self._known.of(vertex.node, vertex.array)
        if name is not None:
            return name
        kind = {OPERATION: "t", LEAF: "leaf"}.get(vertex.kind, "array")
        counts[kind] += 1
        return f"{kind}{counts[kind]}"

    def _forward(self, ops: Sequence[Vertex], left_out: int) -> Iterator[str]:
        if left_out:
            yield f"  {left_out:,} earlier ops are not written out (limit={self._limit})"
        known: set[Vertex] = set()
        for op in ops:
            for leaf in op.operands:
                if leaf.kind != OPERATION and not leaf.is_number and leaf not in known:
                    known.add(leaf)
                    first, *rest = valued(f"  {self._names[leaf]}", leaf.array, 4)
                    yield first.rstrip(":") + (", a leaf" if leaf.kind == LEAF else ", no gradient") + ":" * bool(rest)
                    yield from rest
            yield from valued(f"  {self._names[op]} = {self._call(op)}", op.array, 4)

    def _call(self, op: Vertex) -> str:
        node: Any = op.node
        return expression(node.op, [self._names[operand] for operand in op.operands], node.settings)

    def _step(self, number: int, visit: Visit) -> Iterator[str]:
        node: Any = visit.node
        op = self._vertex[node]
        name = self._names[op]
        yield f"  {number}. {name} = {self._call(op)}, so with g = dL/d{name}"
        for position, parent in _receivers(visit):
            operand = self._names[op.operands[position]]
            operands = [self._names[x] for x in op.operands]
            words = formula(node.op, position, node.arrays, operands, name, visit.parts[position].shape)
            self._seen[parent] += 1
            count, total = self._seen[parent], self._parts[parent]
            which = f"part {count} of {total} of " if total > 1 else ""
            yield from valued(f"     {which}dL/d{operand} = {words}", visit.part(position), 7)
            if count == total > 1:
                yield from valued(f"     dL/d{operand} = the sum of its {total} parts", self._gradients[parent], 7)


def _receivers(visit: Visit) -> Iterator[tuple[int, Node]]:
    """The positions of the operands that got a gradient, and their nodes."""
    return ((position, parent) for position in visit.parts if (parent := visit.node.parents[position]) is not None)


def valued(head: str, array: Any, indent: int) -> list[str]:
    """What something is, and its value: on the same line, or below if it is an array of several lines.

    >>> valued("x", np.ones(2), 2), valued("y", np.ones((2, 2)), 2)
    (['x = [1. 1.]'], ['y, (2, 2) float64:', '  [[1. 1.]', '   [1. 1.]]'])
    """
    value = summaries.elements(array)
    if np.ndim(array) and value[:1] != "[":
        return [f"{head}, {summaries.kind(array)}, {value}"]
    lines = value.splitlines()
    if len(lines) == 1:
        return [f"{head} = {value}"]
    return [f"{head}, {summaries.kind(array)}:", *(" " * indent + line for line in lines)]
