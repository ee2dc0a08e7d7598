"""The graph of a calculation, drawn from the history of its result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..tensor import Tensor
from .figure import saved_figure

OPERATION, LEAF = "#dbe9f6", "#fbe3d6"


def save_network(result: Tensor, path: str | Path, names: Mapping[int, str] | None = None) -> None:
    """Draw the ops that led to ``result`` from left to right, with shapes, into a PNG file.

    Parameters
    ----------
    result
        A Tensor whose history has not been freed.
    path
        The PNG file.
    names
        Names of leaves, by ``id`` of the Tensor, such as those of parameters.
    """
    tensors, links = _graph(result)
    column = _columns(result, tensors, links)
    rows: dict[int, int] = {}
    place = {}
    for key in sorted(tensors, key=lambda key: column[key]):
        place[key] = column[key], rows.setdefault(column[key], 0)
        rows[column[key]] += 1
    width, height = max(column.values()) + 1, max(rows.values())
    with saved_figure(path, max(6, 1.25 * width), max(1.5, 0.95 * height + 0.4)) as figure:
        axes = figure.subplots()
        for source, target in links:
            far = column[target] - column[source] > 1  # such an arrow would run behind the boxes in between
            style = {"arrowstyle": "->", "color": "0.6", "shrinkA": 12, "shrinkB": 18}
            axes.annotate("", place[target], place[source], arrowprops={**style, "connectionstyle": _bend(far)})
        for key, tensor in tensors.items():
            creator = tensor.creator
            title = creator[0].name.replace("_", "\n") if creator else (names or {}).get(key, "constant")
            box = {"boxstyle": "round", "facecolor": OPERATION if creator else LEAF, "edgecolor": "0.5"}
            shape = "x".join(map(str, tensor.shape)) or "number"
            axes.text(*place[key], f"{title}\n{shape}", ha="center", va="center", fontsize=7.5, bbox=box)
        axes.set(xlim=(-0.6, width - 0.4), ylim=(height - 0.4, -0.9))
        axes.axis("off")


def _bend(far: bool) -> str:
    return f"arc3,rad={-0.3 if far else 0}"


def _graph(result: Tensor) -> tuple[dict[int, Tensor], list[tuple[int, int]]]:
    """All tensors behind ``result`` by id, and the links from operand to result."""
    tensors, links, stack = {id(result): result}, [], [result]
    while stack:
        tensor = stack.pop()
        for operand in tensor.creator[1] if tensor.creator else ():
            if isinstance(operand, Tensor):
                links.append((id(operand), id(tensor)))
                if id(operand) not in tensors:
                    tensors[id(operand)] = operand
                    stack.append(operand)
    return tensors, links


def _columns(result: Tensor, tensors: dict[int, Tensor], links: list[tuple[int, int]]) -> dict[int, int]:
    """Each tensor one column before the first that uses it, counted from the left."""
    back = dict.fromkeys(tensors, 0)
    for _ in tensors:  # relaxes the longest path from the result; graphs of networks are small
        changed = False
        for source, target in links:
            if back[source] < back[target] + 1:
                back[source], changed = back[target] + 1, True
        if not changed:
            break
    deepest = max(back.values())
    return {key: deepest - depth for key, depth in back.items()}
