"""Node: how a value was computed. The nodes, with the parents of each, are the recorded graph."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from weakref import ReferenceType

    from .op import Op
    from .tensor import Tensor

sequence_nrs = count(1)
"""Counts up with each node that is created and each leaf that is changed."""


class Node:
    """One step of a computation: the op, what it was applied to, and its result.

    A node never changes, except that the backward pass frees it once it has used it. Changing a Tensor in place gives
    the Tensor a new node: what was recorded before still refers to the old values.

    Attributes
    ----------
    op
        The op that was applied; None for a :class:`LeafNode`.
    parents
        The node of each operand; None if the operand is not a Tensor, or does not require a gradient.
    arrays, settings
        The operands' values and the keyword arguments; ``arrays`` is None for a leaf, and once the node is freed.
    array
        The result.
    sequence_nr
        Larger than those of its parents, so that descending order is a topological order of the graph.
    requires_grad
        Whether a gradient flows to it.
    """

    __slots__ = ("__weakref__", "array", "arrays", "op", "parents", "sequence_nr", "settings")

    op: Op | None
    parents: Sequence[Node | None]
    requires_grad = True
    leaf: ReferenceType[Tensor] | None = None

    def __init__(
        self, op: Op | None, parents: Sequence[Node | None], arrays: Any, settings: dict[str, object], array: Any
    ) -> None:
        self.op, self.parents, self.arrays, self.settings, self.array = op, parents, arrays, settings, array
        self.sequence_nr = next(sequence_nrs)

    @property
    def is_freed(self) -> bool:
        """Whether a backward pass without ``retain_graph`` has used it."""
        return self.arrays is None and self.op is not None

    def without_history(self) -> Node:
        """A freed node of the same op, which keeps nothing else alive."""
        return Node(self.op, (), None, {}, None)


class LeafNode(Node):
    """A leaf of the graph: a Tensor that was created from data.

    Attributes
    ----------
    sequence_nr
        From its creation or last change: a node with a smaller number was computed from an earlier value.
    leaf
        A weak reference to the Tensor, if gradients are accumulated in its ``.grad``.
    """

    __slots__ = ("leaf", "requires_grad")

    def __init__(self, leaf: ReferenceType[Tensor] | None = None) -> None:
        self.op = self.arrays = self.array = None
        self.parents, self.settings, self.sequence_nr = (), {}, next(sequence_nrs)
        self.leaf, self.requires_grad = leaf, leaf is not None


class UnrecordedView(Node):
    """A view of a leaf that was made inside ``no_grad``: no gradient flows through it.

    Attributes
    ----------
    leaf_node
        The leaf's node, whose sequence number tells when the view last changed.
    """

    __slots__ = ("leaf_node",)
    requires_grad = False
    sequence_nr = property(lambda self: self.leaf_node.sequence_nr)

    def __init__(self, leaf_node: Node) -> None:
        self.op = self.arrays = self.array = None
        self.parents, self.settings, self.leaf_node = (), {}, leaf_node
