"""The graph of a computation, drawn from the history of its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from .._optional import require
from ..core import Tensor
from ..core.tensor import history
from ..inspection.graph import LEAF, OPERATION, Vertex, check, read
from ..inspection.layout import LANE, LARGEST, LINE_HEIGHT, MARGIN, Box, Column, around, arranged, box, entry
from .figure import saved_figure
from .text import printable

STEP, SOURCE, RESULT, LINE = "#dbe9f6", "#fbe3d6", "#d6eedb", "#8a93a0"

TALLEST = 30.0
"""Inches from which height on there are several columns."""

TIMES = "\N{MULTIPLICATION SIGN}"

LONGEST_NAME = 60
"""Characters of a name."""


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
    columns = arranged("save_network", *_boxes(check("save_network", result), names or {}), TALLEST)
    width = columns[-1].right + MARGIN
    height = max(column.bottom for column in columns) + columns[0].top
    with saved_figure(path, width, height) as figure:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        axes.axis("off")
        _draw(axes, columns)


def _boxes(results: Sequence[Tensor], names: Mapping[int, str]) -> tuple[list[Box], list[tuple[Box, Box]]]:
    """What is drawn, and the lines between."""
    nodes = {history(tensor) for tensor in results}
    boxes: dict[Vertex, Box] = {}
    edges: dict[tuple[Box, Box], None] = {}
    for vertex in read("save_network", results, LARGEST):
        sources = [operand for operand in vertex.operands if operand.node is not None]
        for each in [*sources, vertex]:
            if each not in boxes:
                boxes[each] = _box(each, names, each.node in nodes)
        edges.update(dict.fromkeys((boxes[source], boxes[vertex]) for source in sources))
    return list(boxes.values()), list(edges)


def _box(vertex: Vertex, names: Mapping[int, str], is_result: bool) -> Box:
    node: Any = vertex.node
    shape = TIMES.join(map(str, vertex.array.shape)) or "scalar"
    if vertex.kind == OPERATION:
        return box(node.op.name.replace("_", " ").strip(), [shape], RESULT if is_result else STEP, False)
    unnamed = "parameter" if vertex.kind == LEAF else "constant"
    leaf = node.leaf() if node.leaf is not None else None
    return box(printable(names.get(id(leaf), unnamed), LONGEST_NAME), [shape], SOURCE, True)


def _draw(axes: Any, columns: list[Column]) -> None:
    patches, path = require("matplotlib.patches", "drawing"), require("matplotlib.path", "drawing").Path
    curve = [path.MOVETO, path.CURVE4, path.CURVE4, path.CURVE4]
    for column in columns:
        lanes = count(1)
        for layer in column.layers:
            for each in layer:
                if each.lines:
                    _write(axes, patches, each)
                else:
                    axes.plot([each.x, each.x], [each.y, each.y + each.height], color=LINE, linewidth=1, zorder=1)
                for target in each.below:
                    start, end = (each.x, each.y + each.height), (entry(each, target), target.y)
                    if end[1] > start[1]:
                        middle = (start[1] + end[1]) / 2
                        line = path([start, (start[0], middle), (end[0], middle), end], curve)
                    else:
                        line = path([start, *around(column, start[0], end[0], LANE * next(lanes)), end])
                    head = {"arrowstyle": "-|>" if target.lines else "-", "mutation_scale": 8}
                    style = {"color": LINE, "linewidth": 1, "zorder": 1, "shrinkA": 0, "shrinkB": 0, **head}
                    axes.add_patch(patches.FancyArrowPatch(path=line, **style))


def _write(axes: Any, patches: Any, each: Box) -> None:
    style = patches.BoxStyle("round", pad=0, rounding_size=0.06)
    corner = each.x - each.width / 2, each.y
    frame = patches.FancyBboxPatch(corner, each.width, each.height, boxstyle=style, facecolor=each.kind, edgecolor=LINE)
    axes.add_patch(frame)
    for i, line in enumerate([*each.lines, *each.small]):
        y = each.y + 0.06 + LINE_HEIGHT * (i + 0.5)
        small = {"fontsize": 7.5, "color": "#556"} if i >= len(each.lines) else {"fontsize": 8.5, "color": "#222"}
        axes.text(each.x, y, line, ha="center", va="center_baseline", zorder=3, **small)
