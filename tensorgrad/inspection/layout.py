"""Layout of a graph: boxes in layers from the top, with short lines, in several columns if it is long."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

GAP, PASSAGE, LANE, DROP, MARGIN, LINE_HEIGHT = 0.3, 0.14, 0.12, 0.36, 0.25, 0.16
"""Inches: between boxes; for a line that passes by; between lines to the next column; between layers; around the
picture; for a line of text."""

WRAPPED, SMALL_WRAPPED = 26, 34
"""Characters of a line of a name, and of small print."""

LARGEST = 3000
"""Tensors beyond which nothing can be told apart in a picture; and three times that of lines that pass a layer."""

PASSES = 8


@dataclass(eq=False)
class Box:
    """A value, or a place where a line passes through a layer; measures in inches, ``y`` from the top.

    Attributes
    ----------
    lines, small
        Its name, wrapped, and what stands below that in small print.
    kind
        By which it is coloured.
    light
        Whether it is put beside the others, which thus stand below each other.
    loops
        The boxes of the next repeat that use it, where repeats are folded.
    operands
        The boxes from which lines lead to it, if the lines are to come in from left to right in that order.
    origin
        Where the line comes from that passes.
    """

    lines: list[str] = field(default_factory=list)
    small: list[str] = field(default_factory=list)
    kind: str = ""
    light: bool = False
    layer: int = 0
    x: float = 0.0
    y: float = 0.0
    width: float = PASSAGE
    height: float = 0.0
    above: list[Box] = field(default_factory=list)
    below: list[Box] = field(default_factory=list)
    loops: list[Box] = field(default_factory=list)
    operands: list[Box] = field(default_factory=list)
    origin: Box | None = None


@dataclass
class Column:
    """Layers that stand below each other; the lines to the next column leave at the bottom and come in at the top.

    ``loops`` is the number of lines to the next repeat, which go around the right side of its boxes.
    """

    layers: list[list[Box]]
    left: float = 0.0
    right: float = 0.0
    top: float = 0.0
    bottom: float = 0.0
    loops: int = 0


def box(title: str, small: Sequence[str], kind: str, light: bool) -> Box:
    """A box with room for its text."""
    lines = textwrap.wrap(title, WRAPPED) or ["?"]
    small = [line for text in small for line in textwrap.wrap(text, SMALL_WRAPPED)]
    longest = max(map(_room, [*lines, *small]))
    height = LINE_HEIGHT * (len(lines) + len(small)) + 0.12
    return Box(lines, small, kind, light, width=max(0.7, longest + 0.2), height=height)


def arranged(function: str, boxes: Sequence[Box], edges: Iterable[tuple[Box, Box]], tallest: float) -> list[Column]:
    """Put boxes in their places, and return the columns that they stand in.

    Parameters
    ----------
    function
        Who asks, for the error message.
    boxes
        Each after those from which a line leads to it.
    edges
        The lines: from which box to which.
    tallest
        Inches from which height on there are several columns.
    """
    layers = _layers(function, boxes, edges)
    _arrange(layers)
    return _columns(layers, tallest)


def _layers(function: str, boxes: Sequence[Box], edges: Iterable[tuple[Box, Box]]) -> list[list[Box]]:
    """Boxes in layers from the top, each one layer above the first that uses it, and the passages between them."""
    users: dict[Box, list[Box]] = {each: [] for each in boxes}
    for source, target in edges:
        users[source].append(target)
    from_bottom: dict[Box, int] = {}
    for each in reversed(boxes):
        from_bottom[each] = max((from_bottom[user] + 1 for user in users[each]), default=0)
    deepest = max(from_bottom.values())
    layers: list[list[Box]] = [[] for _ in range(deepest + 1)]
    for each in boxes:
        each.layer = deepest - from_bottom[each]
        layers[each.layer].append(each)
    passages = 0
    for each in boxes:
        at = each
        for target in sorted(users[each], key=lambda target: target.layer):
            while at.layer < target.layer - 1:
                passage = Box(layer=at.layer + 1, origin=each)
                layers[passage.layer].append(passage)
                _link(at, passage)
                at, passages = passage, passages + 1
                if passages > 3 * LARGEST:
                    raise too_large(function)
            _link(at, target)
    return layers


def too_large(function: str) -> ValueError:
    return ValueError(
        f"{function}: more than {LARGEST:,} tensors and lines are too many for a picture; draw a part of the "
        "network, or fewer steps of it"
    )


def _link(upper: Box, lower: Box) -> None:
    upper.below.append(lower)
    lower.above.append(upper)


def _room(text: str) -> float:
    """About the width of text in a box: Chinese characters and emoji take more than letters."""
    return sum(0.073 if ord(character) < 0x1100 else 0.13 for character in text)


def _arrange(layers: list[list[Box]]) -> None:
    """Order each layer so that few lines cross, and put boxes where their lines are short and straight."""
    for layer in layers:
        _spread(layer, [float(i) for i in range(len(layer))])
    for _ in range(PASSES):
        for layer in layers:
            layer.sort(key=lambda box: _mean(box, box.above))
            _spread(layer, [_mean(box, box.above) for box in layer])
        for layer in reversed(layers):
            layer.sort(key=lambda box: _mean(box, box.below) + 0.05 * _turn(box))
            _spread(layer, [_mean(box, box.below) for box in layer])
    for _ in range(PASSES):
        for layer in [*layers, *reversed(layers)]:
            _spread(layer, [_mean(box, box.above + box.below) for box in layer])


def _mean(box: Box, neighbours: list[Box]) -> float:
    """Where the neighbours are."""
    weights = list(map(_weight, neighbours))
    return sum(w * n.x for w, n in zip(weights, neighbours)) / sum(weights) if neighbours else box.x


def _turn(box: Box) -> float:
    """As which of its operands the boxes below take it, on average."""
    turns = [target.operands.index(box.origin or box) for target in box.below if target.operands]
    return sum(turns) / len(turns) if turns else 0.0


def _spread(layer: list[Box], wanted: list[float]) -> None:
    """Put the boxes of a layer near where they are wanted, in this order and with gaps between them."""
    offsets = [0.0]
    for left, right in zip(layer, layer[1:]):
        gap = PASSAGE if not (left.lines and right.lines) else GAP
        offsets.append(offsets[-1] + (left.width + right.width) / 2 + gap)
    blocks: list[
        list[float]
    ] = []  # of boxes that touch: where their first is wanted on average, their weight and number
    for box, x, offset in zip(layer, wanted, offsets):
        block = [x - offset, _weight(box), 1]
        while blocks and blocks[-1][0] > block[0]:
            place, weight, number = blocks.pop()
            total = weight + block[1]
            block = [(place * weight + block[0] * block[1]) / total, total, number + block[2]]
        blocks.append(block)
    places = [place for place, _, number in blocks for _ in range(int(number))]
    for box, place, offset in zip(layer, places, offsets):
        box.x = place + offset


def _weight(box: Box) -> float:
    """How much a box counts: leaves are put beside the others, which thus stand below each other."""
    return 0.02 if box.light else 1.0


def _columns(layers: list[list[Box]], tallest: float) -> list[Column]:
    """Give the boxes their final place: in one column, or, where that would be too tall, in several."""
    heights = [max(box.height for box in layer) + DROP for layer in layers]
    width = max(box.x + box.width for layer in layers for box in layer) - min(
        box.x for layer in layers for box in layer
    )
    total = sum(heights)
    number = max(1, round(total / max(tallest, math.sqrt(total * (width + 1)))))
    tallest = total / number + max(heights) * (number > 1)
    columns, height = [Column([])], 0.0
    for layer, extent in zip(layers, heights):
        if height + extent > tallest:
            columns.append(Column([]))
            height = 0.0
        columns[-1].layers.append(layer)
        height += extent
    passing = [sum(len(box.below) for box in column.layers[-1]) for column in columns[:-1]] + [0]
    right, top = 0.0, MARGIN + LANE * max(passing)
    for column, lines in zip(columns, passing):
        boxes = [box for layer in column.layers for box in layer]
        shift = right + MARGIN - min(box.x - box.width / 2 for box in boxes)
        column.left, column.top, y = right, top, top
        for layer in column.layers:
            extent = max(box.height for box in layer)
            for box in layer:
                box.height = box.height or extent
                box.x, box.y = box.x + shift, y + (extent - box.height) / 2
            y += extent + DROP
        column.bottom = y - DROP
        column.right = max(box.x + box.width / 2 for box in boxes)
        column.loops = sum(len(box.loops) for box in boxes)
        right = column.right + LANE * (lines + column.loops + 1)
    return columns


def around(column: Column, start: float, end: float, lane: float) -> list[tuple[float, float]]:
    """The corners of a line from the bottom of a column to the top of the next one."""
    low, high, side = column.bottom + lane, column.top - lane, column.right + LANE * column.loops + lane
    return [(start, low), (side, low), (side, high), (end, high)]


def loop(column: Column, source: Box, target: Box, lane: float) -> list[tuple[float, float]]:
    """The corners of a line to the next repeat: around the boxes between, on the side where fewer are in its way."""
    boxes = [box for layer in column.layers for box in layer]
    ends = [box for box in boxes if box.lines and box.layer in (source.layer, target.layer)]
    on_the_right = sum(box.x > (source if box.layer == source.layer else target).x for box in ends)
    on_the_left = sum(box.x < (source if box.layer == source.layer else target).x for box in ends)
    first, last = sorted((source.layer, target.layer))
    between = [source, target, *(box for box in boxes if first <= box.layer <= last)]
    if on_the_right <= on_the_left or lane > LANE or source is target:
        side, sign = max(box.x + box.width / 2 for box in between) + lane, 1
    else:
        side, sign = min(box.x - box.width / 2 for box in between) - lane, -1
    start, end = (box.x + sign * box.width / 2 for box in (source, target))
    low, high = source.y + 0.75 * source.height, target.y + 0.25 * target.height
    return [(start, low), (side, low), (side, high), (end, high)]


def entry(source: Box, target: Box) -> float:
    """Where on the upper side of a box a line comes in: beside each other, in the order of operands or of sources."""
    if not target.lines:
        return target.x
    order = target.operands
    sources = sorted(target.above, key=lambda box: order.index(box.origin or box) if order else box.x)
    place = sources.index(source) - (len(target.above) - 1) / 2
    return target.x + place * min(0.2, (target.width - 0.2) / len(target.above))
