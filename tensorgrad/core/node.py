"""Node: how a value was computed, or that it is where a computation starts."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from weakref import ReferenceType

    from .op import Op
    from .tensor import Tensor

sequence_nrs = count(1)
"""What is made or changed later has a larger number."""


class Node:
    """One step of a computation: the op, what it was applied to, and its result.

    Nodes are not changed, but emptied when the backward pass is through with them. A change of a Tensor in place gives
    it another node, so that a history never refers to a value that is no longer there.

    Attributes
    ----------
    op
        The op that was applied; None for a :class:`LeafNode`.
    parents
        For each operand its node; None for one that is no Tensor, or a result that requires no gradient.
    arrays, settings
        The operands' values and the keyword arguments; ``arrays`` is None for a source, and once it is freed.
    array
        The result.
    sequence_nr
        When it was made: later than its parents.
    requires_grad
        Whether a gradient is wanted for it, or for what it was computed from.
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
        """Whether the backward pass has been through it, without ``retain_graph``."""
        return self.arrays is None and self.op is not None

    def without_history(self) -> Node:
        """A freed node that shows what it was, and refers to nothing."""
        return Node(self.op, (), None, {}, None)


class LeafNode(Node):
    """Where a computation starts: a Tensor that was made from data.

    Attributes
    ----------
    sequence_nr
        When it was made or last changed: what is older than that was computed from another value.
    leaf
        A weak reference to the Tensor, if its gradient is collected.
    """

    __slots__ = ("leaf", "requires_grad")

    def __init__(self, leaf: ReferenceType[Tensor] | None = None) -> None:
        self.op = self.arrays = self.array = None
        self.parents, self.settings, self.sequence_nr = (), {}, next(sequence_nrs)
        self.leaf, self.requires_grad = leaf, leaf is not None


class UnrecordedView(Node):
    """Where a computation starts that uses a view of a leaf made inside ``no_grad``: no gradient flows through it.

    Attributes
    ----------
    leaf_node
        The leaf's node; what is older than its last change was computed from another value of the view.
    """

    __slots__ = ("leaf_node",)
    requires_grad = False
    sequence_nr = property(lambda self: self.leaf_node.sequence_nr)

    def __init__(self, leaf_node: Node) -> None:
        self.op = self.arrays = self.array = None
        self.parents, self.settings, self.leaf_node = (), {}, leaf_node
