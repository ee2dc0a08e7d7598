"""The content of a picture of a graph: boxes with their text, lines, and sentences below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core import Tensor
from ..core.node import Node
from ..core.tensor import history
from . import summaries
from .folding import Fold, find_folds
from .graph import LEAF, OPERATION, Vertex, read
from .names import SYMBOLS, Names, expression, given, index, op_name

STEP, RESULT, PARAMETER, ARRAY, REST = "step", "result", "parameter", "array", "rest"

LEGEND = {
    STEP: "op",
    RESULT: "result",
    PARAMETER: "leaf that requires gradients, such as a parameter",
    ARRAY: "array without gradient, such as inputs and labels",
    REST: "ops that are left out",
}
"""What the kinds of boxes are."""

REST_OF = "\N{HORIZONTAL ELLIPSIS}"
"""Stands for operands, which have boxes of their own."""

FOLDS_FROM = 30
"""Ops from which on repeats are folded, if the user does not say."""


@dataclass(eq=False)
class Item:
    """A box: its name, the lines below that, and how often it is there."""

    kind: str
    title: str
    small: list[str]
    times: int = 1


@dataclass
class Picture:
    """Boxes, each after those from which a line leads to it; lines between them; lines to the next repeat."""

    items: list[Item] = field(default_factory=list)
    edges: dict[tuple[Item, Item], None] = field(default_factory=dict)
    loops: dict[tuple[Item, Item], None] = field(default_factory=dict)
    sentences: list[str] = field(default_factory=list)

    def legend(self) -> list[tuple[str, str]]:
        """The kinds of boxes that there are, and what they are."""
        kinds = {item.kind for item in self.items}
        return [(kind, text) for kind, text in LEGEND.items() if kind in kinds]


def picture(
    results: Sequence[Tensor], names: Names, gradients: Mapping[Node, Any] | None, fold: bool | None, limit: int
) -> Picture:
    """The picture of what led to ``results``; ``gradients`` of all nodes, if they have been computed."""
    ops = read("draw", results)
    folds = find_folds(ops) if fold or (fold is None and len(ops) > FOLDS_FROM) else []
    captions = _Captions(names, gradients, {history(tensor) for tensor in results})
    return _Painter(ops, folds, captions, limit).picture()


class _Painter:
    """Makes boxes and lines of ops in the order in which they were computed, of which some are folded."""

    def __init__(self, ops: list[Vertex], folds: list[Fold], captions: _Captions, limit: int) -> None:
        self._ops, self._folds, self._captions, self._limit = ops, folds, captions, limit
        self._groups: list[list[Vertex]] = []
        self._repeat: dict[Vertex, tuple[Fold, int]] = {}  # of a folded op, and the number of the repeat
        self._items: dict[object, Item] = {}
        self._picture = Picture()

    def picture(self) -> Picture:
        self._group()
        shown = self._groups[-self._limit :]
        left_out = [op for group in self._groups[: -self._limit] for op in group]
        if left_out:
            rest = Item(REST, f"{len(left_out):,} earlier ops", [])
            self._picture.items.append(rest)
            self._items.update(dict.fromkeys(left_out, rest))
        for group in shown:
            self._items.update(dict.fromkeys(group, self._captions.of_ops(group)))
        for group in shown:
            self._connect(group)
        self._say(len(left_out))
        return self._picture

    def _group(self) -> None:
        """Put together the ops that are shown as one box."""
        starts = {fold.start: fold for fold in self._folds}
        place = 0
        while place < len(self._ops):
            fold = starts.get(place, Fold(place, 1, 1))
            for slot in range(fold.start, fold.start + fold.period):
                group = self._ops[slot : fold.stop : fold.period]
                self._groups.append(group)
                if fold.repeats > 1:
                    self._repeat.update((op, (fold, turn)) for turn, op in enumerate(group))
            place = fold.stop

    def _connect(self, group: list[Vertex]) -> None:
        """Draw the box of some ops, its leaves, and the lines that lead to it."""
        item = self._items[group[0]]
        for operands in zip(*(op.operands for op in group)):
            if operands[0].kind == OPERATION:
                for op, operand in zip(group, operands):
                    is_loop = op in self._repeat and self._is_earlier_repeat(operand, op)
                    lines = self._picture.loops if is_loop else self._picture.edges
                    lines[self._items[operand], item] = None
            elif not operands[0].is_number:
                self._picture.edges[self._leaf(list(dict.fromkeys(operands))), item] = None
        self._picture.items.append(item)

    def _is_earlier_repeat(self, operand: Vertex, op: Vertex) -> bool:
        fold, turn = self._repeat[op]
        other, earlier = self._repeat.get(operand, (None, 0))
        return fold is other and earlier < turn

    def _leaf(self, leaves: list[Vertex]) -> Item:
        """The box of a leaf, or of the leaves that repeats have in the same place."""
        name = self._captions.name(leaves[0])
        key = (name, leaves[0].array.shape) if name and len(leaves) == 1 else tuple(leaves)
        if key not in self._items:
            self._items[key] = self._captions.of_leaves(leaves)
            self._picture.items.append(self._items[key])
        return self._items[key]

    def _say(self, left_out: int) -> None:
        say = self._picture.sentences.append
        for fold in sorted(self._folds):
            what = "One op is" if fold.period == 1 else f"{fold.period} ops are"
            say(f"{what} done {fold.repeats} times over and shown once.")
        if self._picture.loops:
            say("A dashed line leads from one time to the next.")
        if left_out:
            say(
                f"The {self._limit:,} boxes of ops nearest to the result are shown; {left_out:,} earlier ops are left "
                "out (limit= sets how many are shown)."
            )


class _Captions:
    """The text of boxes."""

    def __init__(self, names: Names, gradients: Mapping[Node, Any] | None, results: set[Node]) -> None:
        self._names, self._gradients, self._results = names, gradients, results

    def name(self, vertex: Vertex) -> str | None:
        """What the user calls it."""
        return self._names.of(vertex.node, vertex.array)

    def of_ops(self, group: list[Vertex]) -> Item:
        """The box of an op, or of the same one in several repeats."""
        first = group[0]
        title = _call(group, self.name(first) if len(group) == 1 else None)
        small = [", ".join(_settings(group))] if _settings(group) else []
        small.append(summaries.kind(first.array) + (", a view" if first.is_view else ""))
        if len(group) > 1:
            small.append(f"{len(group)} times")
        elif first.array.size <= summaries.FEW:
            small.append(summaries.numbers(first.array))
        if self._gradients is not None:
            small.append(_norms([self._gradients.get(op.node) for op in group if op.node is not None]))
        kind = RESULT if any(op.node in self._results for op in group) else STEP
        return Item(kind, title, small, len(group))

    def of_leaves(self, leaves: list[Vertex]) -> Item:
        """The box of a leaf, or of several that are used alike."""
        first = leaves[0]
        is_parameter = first.kind == LEAF
        known = [name for name in map(self.name, leaves) if name]
        title = known[0] if known else "parameter" if is_parameter else "array"
        if len(leaves) > 1:
            title = f"{known[0]} \N{HORIZONTAL ELLIPSIS} {known[-1]}" if len(known) == len(leaves) else f"{title}s"
        small = [summaries.kind(first.array)] + ([f"{len(leaves)} of them"] if len(leaves) > 1 else [])
        if len(leaves) == 1 and first.array.size <= summaries.FEW:
            small.append(summaries.numbers(first.array))
        if is_parameter:
            small.append(_norms([self._gradient(leaf) for leaf in leaves]))
        return Item(PARAMETER if is_parameter else ARRAY, title, small, len(leaves))

    def _gradient(self, leaf: Vertex) -> Any:
        node: Any = leaf.node
        if self._gradients is not None:
            return self._gradients.get(node)
        tensor = node.leaf() if node.leaf is not None else None
        return None if tensor is None else tensor.grad


def _call(group: list[Vertex], name: str | None) -> str:
    """The op, with the numbers that it is given and the name of the result: ``@``, ``** 2``, ``h = np.tanh(x)``."""
    node: Any = group[0].node
    op = node.op
    numbers = [_number([op.operands[i] for op in group]) for i in range(len(node.arrays))]
    settings = {}
    if op.name in ("getitem", "setitem"):
        indices = {index(vertex.node.settings["index"]) for vertex in group if vertex.node is not None}
        settings["index"] = node.settings["index"] if len(indices) == 1 else Ellipsis
        if op.name == "setitem":
            return f"{f'{name}: ' if name else ''}assign to [{index(settings['index'])}]"
        return f"{f'{name} = {REST_OF}' if name else ''}[{index(settings['index'])}]"
    if name is None and op.name in SYMBOLS:
        return " ".join(part for part in (numbers[0], SYMBOLS[op.name], numbers[1]) if part)
    if name is None and not any(numbers):
        return op_name(op)
    call = expression(op, [number or REST_OF for number in numbers], {})
    return f"{name} = {call}" if name else call


def _number(operands: list[Vertex]) -> str | None:
    """The number that all repeats are given in the same place; None if it is none."""
    if not operands[0].is_number:
        return None
    numbers = {summaries.number(operand.array) for operand in operands}
    return numbers.pop() if len(numbers) == 1 else REST_OF


def _settings(group: list[Vertex]) -> list[str]:
    """The keyword arguments, except an index, which is in the name."""
    node: Any = group[0].node
    return [text for text in given(node.op, node.settings) if not text.startswith("index=")]


def _norms(gradients: Sequence[Any]) -> str:
    """The norm of a gradient; of several the range."""
    known = sorted(summaries.norm(gradient) for gradient in gradients if gradient is not None)
    if not known:
        return "gradient not computed"
    low, high = f"{known[0]:.3g}", f"{known[-1]:.3g}"
    return f"gradient norm {low}" + (f" to {high}" if low != high else "")
