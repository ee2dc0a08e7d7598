"""The backward pass step by step: what each op is given and what it gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..core import AnyArray, Array, Op, Tensor, backward_pass, seed_for
from ..core.backward import match_operand
from ..core.context import Hook, _recording
from ..core.node import Node
from ..core.tensor import history
from . import summaries
from .formulas import formula
from .graph import check, nodes_of
from .names import expression

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(eq=False)
class Visit:
    """A node in the backward pass: the gradient of its result, and what its rules gave for each operand."""

    node: Node
    gradient: Any
    parts: dict[int, Any] = field(default_factory=dict)

    def part(self, position: int) -> Any:
        """What the operand gets: what the rule gave, in the operand's shape and dtype."""
        node: Any = self.node
        part, operand = self.parts[position], node.arrays[position]
        if part.shape == operand.shape and part.dtype == operand.dtype:
            return part
        return match_operand(node.op, position, part, operand, node.array)


class _Recorder(Hook):
    """Notes what happens at some nodes, and not what rules do inside, such as that of a checkpointed function."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = set(nodes)
        self.visits: list[Visit] = []

    def on_backward(self, node: Node, position: int, arrived: object, gradient: object) -> None:
        if node in self._nodes:
            if not self.visits or self.visits[-1].node is not node:
                self.visits.append(Visit(node, arrived))
            self.visits[-1].parts[position] = gradient


def recorded_pass(function: str, output: Tensor, seed: AnyArray) -> tuple[list[Visit], dict[Node, Any]]:
    """The visits of a backward pass in their order, and the gradients of leaves; nothing changes."""
    recorder = _Recorder(nodes_of(function, [output]))
    token = _recording.set(recorder)
    try:
        leaves = backward_pass(history(output), seed, retain_graph=True)
    finally:
        _recording.reset(token)
    return recorder.visits, dict(leaves)


def gradients_of_nodes(function: str, results: Sequence[Tensor]) -> Mapping[Node, Any]:
    """The gradients of all nodes that led to a result of one element."""
    if len(results) != 1:
        raise ValueError(f"{function}: gradients=True takes one result, got {len(results)}; add them up first")
    visits, leaves = recorded_pass(function, results[0], seed_of(results[0], None))
    return {**{visit.node: visit.gradient for visit in visits}, **leaves}


def seed_of(output: Tensor, gradient: ArrayLike | Tensor | None) -> AnyArray:
    """The gradient to start from, as an array."""
    start = seed_for(output, gradient)
    return start.data if isinstance(start, Tensor) else start


@dataclass(frozen=True, eq=False)
class BackwardStep:
    """One step of a backward pass: from the gradient of an op's result to those of its operands.

    Attributes
    ----------
    op
        The op; ``op.name`` is its name.
    operands
        What it was applied to: arrays and numbers.
    settings
        Its keyword arguments.
    result
        What it gave.
    gradient_in
        The gradient of the loss with respect to the result: all that later ops have contributed, added up.
    gradients_out
        What each operand gets, in its shape and dtype; None where no gradient flows.
    formulas
        The same as text: of ``g``, which is ``gradient_in``, the operands ``x``, ``y`` and ``z``, and the result
        ``out``.
    """

    op: Op
    operands: tuple[Any, ...]
    settings: Mapping[str, object]
    result: Array
    gradient_in: Array
    gradients_out: tuple[Array | None, ...]
    formulas: tuple[str | None, ...]

    def __str__(self) -> str:
        names = [summaries.kind(x) if hasattr(x, "dtype") else repr(x) for x in self.operands]
        flows = [
            f"operand {i} gets {words} = {summaries.numbers(part)}"
            for i, (words, part) in enumerate(zip(self.formulas, self.gradients_out))
            if part is not None
        ]
        call = expression(self.op, names, self.settings)
        return f"{call}: g = {summaries.numbers(self.gradient_in)}; {'; '.join(flows)}"


def backward_steps(
    output: Tensor, gradient: ArrayLike | Tensor | None = None, retain_graph: bool = False
) -> Iterator[BackwardStep]:
    """The backward pass of ``output`` as an iterator over its steps, the latest op first; for a lesson.

    After the last step the leaves have their ``.grad``, as after ``output.backward(gradient, retain_graph)``; if the
    loop is left earlier, nothing has changed.

    Parameters
    ----------
    output, gradient, retain_graph
        As for :meth:`tensorgrad.Tensor.backward`.

    Raises
    ------
    TypeError, RuntimeError, ValueError
        As :meth:`tensorgrad.Tensor.backward` raises them, when it is called.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> x = tg.Tensor([1.0, 2.0], requires_grad=True)
    >>> for step in tg.backward_steps(np.sum(x**2)):
    ...     print(step.op.name, step.gradient_in, step.gradients_out[0], step.formulas[0])
    sum 1.0 [1. 1.] g at each of the elements summed
    square [1. 1.] [2. 4.] g * 2 * x
    >>> x.grad
    array([2., 4.])
    """
    (output,) = check("backward_steps", [output])
    visits, _ = recorded_pass("backward_steps", output, seed_of(output, gradient))
    return _steps(visits, output, gradient, retain_graph)


def _steps(
    visits: list[Visit], output: Tensor, gradient: ArrayLike | Tensor | None, retain_graph: bool
) -> Iterator[BackwardStep]:
    for visit in visits:
        yield _step(visit)
    output.backward(gradient, retain_graph)


def _step(visit: Visit) -> BackwardStep:
    node: Any = visit.node
    positions = range(len(node.arrays))
    names = ("x", "y", "z") if len(positions) <= 3 else [f"operand {i}" for i in positions]
    formulas = [
        formula(node.op, i, node.arrays, names, "out", visit.parts[i].shape) if i in visit.parts else None
        for i in positions
    ]
    parts = [visit.part(i) if i in visit.parts else None for i in positions]
    return BackwardStep(
        node.op, tuple(node.arrays), dict(node.settings), node.array, visit.gradient, tuple(parts), tuple(formulas)
    )
