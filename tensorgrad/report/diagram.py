"""The graph of a computation, drawn from the history of its result."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from .._optional import require
from ..core import Tensor
from .figure import saved_figure
from .text import printable

OPERATION, LEAF, RESULT, LINE = "#dbe9f6", "#fbe3d6", "#d6eedb", "#8a93a0"

GAP, PASSAGE, LANE, DROP, MARGIN, LINE_HEIGHT, TALLEST = 0.3, 0.14, 0.12, 0.36, 0.25, 0.16, 30.0
"""Inches: between boxes; for a line that passes by; between lines to the next column; between layers; around the
picture; for a line of text; from which height on there are several columns."""

TIMES = "\N{MULTIPLICATION SIGN}"

LONGEST_NAME, WRAPPED = 60, 20
"""Characters of a name, and of a line of it."""

LARGEST = 3000
"""Tensors beyond which nothing can be told apart in a picture; and three times that of lines that pass a layer."""

PASSES = 8


def save_network(result: Tensor | Sequence[Tensor], path: str | Path, names: Mapping[int, str] | None = None) -> None:
    """Draw the ops that led to ``result`` from top to bottom, with the shapes of what they gave, into a PNG file.

    Ops are blue, results green, leaves such as parameters orange. Plain arrays are not drawn.

    Parameters
    ----------
    result
        A Tensor whose history has not been freed, or several.
    path
        The PNG file.
    names
        Names of leaves, by ``id`` of the Tensor, such as those of parameters. Default: "parameter" for a leaf that
        requires gradients, else "constant".

    Raises
    ------
    TypeError
        If a result is no Tensor.
    RuntimeError
        If it has no history: nothing was recorded, or ``backward`` has freed it.
    ValueError
        If it was computed from more tensors than a picture can show.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np, tensorgrad as tg
    >>> layer = tg.nn.Dense(3, 2)
    >>> loss = (layer(np.ones((4, 3))) ** 2).sum()
    >>> path = Path(tempfile.mkdtemp()) / "network.png"
    >>> save_network(loss, path, {id(tensor): name for name, tensor in layer.named_parameters()})
    >>> path.exists()
    True
    """
    results = [result] if isinstance(result, Tensor) else list(result) if isinstance(result, Iterable) else [result]
    _check(results)
    layers = _layers(results, names or {})
    _arrange(layers)
    columns = _columns(layers)
    width = columns[-1].right + MARGIN
    height = max(column.bottom for column in columns) + columns[0].top
    with saved_figure(path, width, height) as figure:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        axes.axis("off")
        _draw(axes, columns)


@dataclass(eq=False)
class _Box:
    """A tensor, or a place where a line passes through a layer; measures in inches, ``y`` from the top."""

    lines: list[str] = field(default_factory=list)
    shape: str = ""
    colour: str = ""
    layer: int = 0
    x: float = 0.0
    y: float = 0.0
    width: float = PASSAGE
    height: float = 0.0
    above: list[_Box] = field(default_factory=list)
    below: list[_Box] = field(default_factory=list)


@dataclass
class _Column:
    """Layers that stand below each other; the lines to the next column leave at the bottom and come in at the top."""

    layers: list[list[_Box]]
    left: float = 0.0
    right: float = 0.0
    top: float = 0.0
    bottom: float = 0.0


def _check(results: Sequence[object]) -> None:
    if not results:
        raise TypeError("save_network: no result to draw; pass a Tensor, or several")
    for tensor in results:
        if not isinstance(tensor, Tensor):
            raise TypeError(f"save_network: draws Tensors, got {type(tensor).__name__}; pass what the network returned")
        if tensor.is_leaf:
            raise RuntimeError(
                "save_network: the result has no history; compute it from parameters or other Tensors that require "
                "gradients, outside no_grad"
            )


def _graph(results: Sequence[Tensor]) -> tuple[dict[int, Tensor], dict[int, tuple[str, list[int]]]]:
    """All tensors behind the results by id, sources first, and of those that an op gave its name and their sources."""
    tensors: dict[int, Tensor] = {}  # which holds them, so that no id is given twice
    made: dict[int, tuple[str, list[int]]] = {}
    finished: dict[int, Tensor] = {}
    stack = [(tensor, False) for tensor in results]
    while stack:
        tensor, is_expanded = stack.pop()
        key = id(tensor)
        if is_expanded:
            finished[key] = tensor
        elif key not in tensors:
            tensors[key] = tensor
            if len(tensors) > LARGEST:
                raise _too_large()
            stack.append((tensor, True))
            if (creator := tensor.creator) is not None:
                operands = {id(operand): operand for operand in creator[1] if isinstance(operand, Tensor)}
                made[key] = creator[0].name, list(operands)
                stack += [(operand, False) for operand in reversed(list(operands.values()))]
            elif not tensor.is_leaf:
                raise RuntimeError(
                    "save_network: the history has been freed by an earlier backward; draw before calling backward, or "
                    "pass retain_graph=True to it"
                )
    return finished, made


def _too_large() -> ValueError:
    return ValueError(
        f"save_network: more than {LARGEST:,} tensors and lines are too many for a picture; draw a part of the "
        "network, or fewer steps of it"
    )


def _layers(results: Sequence[Tensor], names: Mapping[int, str]) -> list[list[_Box]]:
    """Boxes in layers from the top, each one layer above the first that uses it, and the passages between them."""
    tensors, made = _graph(results)
    boxes = {key: _box(tensor, made.get(key), names) for key, tensor in tensors.items()}
    for tensor in results:
        boxes[id(tensor)].colour = RESULT
    users: dict[int, list[int]] = {key: [] for key in tensors}
    for key, (_, sources) in made.items():
        for source in sources:
            users[source].append(key)
    from_bottom: dict[int, int] = {}
    for key in reversed(list(tensors)):
        from_bottom[key] = max((from_bottom[user] + 1 for user in users[key]), default=0)
    deepest = max(from_bottom.values())
    layers: list[list[_Box]] = [[] for _ in range(deepest + 1)]
    for key, box in boxes.items():
        box.layer = deepest - from_bottom[key]
        layers[box.layer].append(box)
    passages = 0
    for key, box in boxes.items():
        at, targets = box, sorted((boxes[user] for user in users[key]), key=lambda target: target.layer)
        for target in targets:
            while at.layer < target.layer - 1:
                passage = _Box(layer=at.layer + 1)
                layers[passage.layer].append(passage)
                _link(at, passage)
                at, passages = passage, passages + 1
                if passages > 3 * LARGEST:
                    raise _too_large()
            _link(at, target)
    return layers


def _link(upper: _Box, lower: _Box) -> None:
    upper.below.append(lower)
    lower.above.append(upper)


def _box(tensor: Tensor, made: tuple[str, list[int]] | None, names: Mapping[int, str]) -> _Box:
    unnamed = "parameter" if tensor.requires_grad else "constant"
    title = made[0].replace("_", " ").strip() if made else printable(names.get(id(tensor), unnamed), LONGEST_NAME)
    lines = textwrap.wrap(title, WRAPPED) or ["?"]
    shape = TIMES.join(map(str, tensor.shape)) or "scalar"
    longest = max(map(_room, [*lines, shape]))
    height = LINE_HEIGHT * (len(lines) + 1) + 0.12
    return _Box(lines, shape, OPERATION if made else LEAF, width=max(0.7, longest + 0.2), height=height)


def _room(text: str) -> float:
    """About the width of text in a box: Chinese characters and emoji take more than letters."""
    return sum(0.073 if ord(character) < 0x1100 else 0.13 for character in text)


# Layout


def _arrange(layers: list[list[_Box]]) -> None:
    """Order each layer so that few lines cross, and put boxes where their lines are short and straight."""
    for layer in layers:
        _spread(layer, [float(i) for i in range(len(layer))])
    for _ in range(PASSES):
        for layer in layers:
            layer.sort(key=lambda box: _mean(box, box.above))
            _spread(layer, [_mean(box, box.above) for box in layer])
        for layer in reversed(layers):
            layer.sort(key=lambda box: _mean(box, box.below))
            _spread(layer, [_mean(box, box.below) for box in layer])
    for _ in range(PASSES):
        for layer in [*layers, *reversed(layers)]:
            _spread(layer, [_mean(box, box.above + box.below) for box in layer])


def _mean(box: _Box, neighbours: list[_Box]) -> float:
    """Where the neighbours are."""
    weights = list(map(_weight, neighbours))
    return sum(w * n.x for w, n in zip(weights, neighbours)) / sum(weights) if neighbours else box.x


def _spread(layer: list[_Box], wanted: list[float]) -> None:
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


def _weight(box: _Box) -> float:
    """How much a box counts: leaves are put beside the others, which thus stand below each other."""
    return 0.02 if box.colour == LEAF else 1.0


def _columns(layers: list[list[_Box]]) -> list[_Column]:
    """Give the boxes their final place: in one column, or, where that would be too tall, in several."""
    heights = [max(box.height for box in layer) + DROP for layer in layers]
    width = max(box.x + box.width for layer in layers for box in layer) - min(
        box.x for layer in layers for box in layer
    )
    tallest = max(TALLEST, math.sqrt(sum(heights) * (width + 1)))
    columns, height = [_Column([])], 0.0
    for layer, extent in zip(layers, heights):
        if height + extent > tallest:
            columns.append(_Column([]))
            height = 0.0
        columns[-1].layers.append(layer)
        height += extent
    lanes = [sum(len(box.below) for box in column.layers[-1]) for column in columns[:-1]] + [0]
    right, top = 0.0, MARGIN + LANE * max(lanes)
    for column, passing in zip(columns, lanes):
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
        right = column.right + LANE * (passing + 1)
    return columns


# Drawing


def _draw(axes: Any, columns: list[_Column]) -> None:
    patches, path = require("matplotlib.patches", "drawing"), require("matplotlib.path", "drawing").Path
    curve = [path.MOVETO, path.CURVE4, path.CURVE4, path.CURVE4]
    for column in columns:
        lanes = count(1)
        for layer in column.layers:
            for box in layer:
                if box.lines:
                    _write(axes, patches, box)
                else:
                    axes.plot([box.x, box.x], [box.y, box.y + box.height], color=LINE, linewidth=1, zorder=1)
                for target in box.below:
                    start, end = (box.x, box.y + box.height), (_entry(box, target), target.y)
                    if end[1] > start[1]:
                        middle = (start[1] + end[1]) / 2
                        line = path([start, (start[0], middle), (end[0], middle), end], curve)
                    else:
                        line = path([start, *_around(column, start[0], end[0], LANE * next(lanes)), end])
                    head = {"arrowstyle": "-|>" if target.lines else "-", "mutation_scale": 8}
                    style = {"color": LINE, "linewidth": 1, "zorder": 1, "shrinkA": 0, "shrinkB": 0, **head}
                    axes.add_patch(patches.FancyArrowPatch(path=line, **style))


def _around(column: _Column, start: float, end: float, lane: float) -> list[tuple[float, float]]:
    """The corners of a line from the bottom of a column to the top of the next one."""
    low, high, side = column.bottom + lane, column.top - lane, column.right + lane
    return [(start, low), (side, low), (side, high), (end, high)]


def _entry(source: _Box, target: _Box) -> float:
    """Where on the upper side of a box a line comes in: beside each other, in the order of their sources."""
    if not target.lines:
        return target.x
    place = sorted(target.above, key=lambda box: box.x).index(source) - (len(target.above) - 1) / 2
    return target.x + place * min(0.2, (target.width - 0.2) / len(target.above))


def _write(axes: Any, patches: Any, box: _Box) -> None:
    style = patches.BoxStyle("round", pad=0, rounding_size=0.06)
    corner = box.x - box.width / 2, box.y
    frame = patches.FancyBboxPatch(corner, box.width, box.height, boxstyle=style, facecolor=box.colour, edgecolor=LINE)
    axes.add_patch(frame)
    for i, line in enumerate([*box.lines, box.shape]):
        y = box.y + 0.06 + LINE_HEIGHT * (i + 0.5)
        small = {"fontsize": 7.5, "color": "#556"} if i == len(box.lines) else {"fontsize": 8.5, "color": "#222"}
        axes.text(box.x, y, line, ha="center", va="center_baseline", zorder=3, **small)
