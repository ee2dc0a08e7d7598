"""A picture as text: Mermaid for Markdown pages, DOT for Graphviz, SVG for browsers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import count

from .layout import LANE, LINE_HEIGHT, MARGIN, Box, Column, around, arranged, box, entry, loop
from .picture import ARRAY, PARAMETER, Picture

COLOURS = {"step": "#dbe9f6", "result": "#d6eedb", "parameter": "#fbe3d6", "array": "#fdf5cf", "rest": "#eceef1"}
LINE, TEXT, SMALL_TEXT = "#7a8390", "#1f2328", "#4b5563"

TALLEST = 11.0
"""Inches from which height on a picture has several columns."""

PIXELS, BEHIND = 96, 4
"""In an inch; and between a box and the one behind it."""


def mermaid(picture: Picture) -> str:
    """The picture for Mermaid, which GitHub, GitLab, JupyterLab and Sphinx extensions draw."""
    ids = {item: f"n{i}" for i, item in enumerate(picture.items)}
    lines = ["flowchart TB"]
    for item, name in ids.items():
        opening, closing = ("([", "])") if item.kind in (PARAMETER, ARRAY) else ("[[", "]]") if item.times > 1 else "[]"
        text = "<br/>".join([f"<b>{_for_mermaid(item.title)}</b>", *map(_for_mermaid, item.small)])
        lines.append(f'  {name}{opening}"{text}"{closing}:::{item.kind}')
    lines += [f"  {ids[source]} --> {ids[target]}" for source, target in picture.edges]
    lines += [f"  {ids[source]} -. next .-> {ids[target]}" for source, target in picture.loops]
    lines.append('  subgraph legend["Legend"]')
    lines += [f'    legend_{kind}["{_for_mermaid(text)}"]:::{kind}' for kind, text in picture.legend()]
    lines += [f'    note{i}["{_for_mermaid(text)}"]:::note' for i, text in enumerate(picture.sentences)]
    lines.append("  end")
    used = [kind for kind, _ in picture.legend()]
    lines += [f"  classDef {kind} fill:{COLOURS[kind]},stroke:{LINE},color:{TEXT}" for kind in used]
    lines.append(f"  classDef note fill:#ffffff,stroke:#ffffff,color:{TEXT}")
    return "\n".join(lines) + "\n"


def dot(picture: Picture) -> str:
    """The picture for Graphviz: ``dot -Tsvg graph.dot``."""
    ids = {item: f"n{i}" for i, item in enumerate(picture.items)}
    lines = [
        "digraph {",
        f'  graph [fontname="Helvetica", fontsize=11, labelloc=b, labeljust=l, fontcolor="{TEXT}"]',
        f'  node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11, color="{LINE}"]',
        f'  edge [color="{LINE}", arrowsize=0.7, fontname="Helvetica", fontsize=9]',
    ]
    for item, name in ids.items():
        text = "\\n".join(map(_for_dot, [item.title, *item.small]))
        several = ", peripheries=2" if item.times > 1 else ""
        lines.append(f'  {name} [label="{text}", fillcolor="{COLOURS[item.kind]}"{several}]')
    lines += [f"  {ids[source]} -> {ids[target]}" for source, target in picture.edges]
    lines += [f"  {ids[s]} -> {ids[t]} [style=dashed, constraint=false, label=next]" for s, t in picture.loops]
    lines.append('  subgraph cluster_legend { label="Legend"; color="#c8ced6"')
    lines += [f'    {kind} [label="{_for_dot(text)}", fillcolor="{COLOURS[kind]}"]' for kind, text in picture.legend()]
    lines.append("  }")
    if picture.sentences:
        sentences = "".join(_for_dot(text) + "\\l" for text in picture.sentences)
        lines.append(f'  label="{sentences}"')
    return "\n".join([*lines, "}"]) + "\n"


def svg(picture: Picture) -> str:
    """The picture as SVG, which needs no library: boxes in layers from the top, in several columns if it is long."""
    boxes = {item: box(item.title, item.small, item.kind, item.kind in (PARAMETER, ARRAY)) for item in picture.items}
    for source, target in picture.loops:
        boxes[source].loops.append(boxes[target])
    for source, target in picture.edges:
        boxes[target].operands.append(boxes[source])
    tallest = TALLEST * (3 if picture.loops else 1)  # what is repeated is better seen in one column
    columns = arranged("draw", list(boxes.values()), ((boxes[s], boxes[t]) for s, t in picture.edges), tallest)
    width = columns[-1].right + LANE * columns[-1].loops + MARGIN
    height = max(column.bottom for column in columns) + columns[0].top
    legend, legend_width, legend_height = _legend(picture, height)
    width, height = max(width, legend_width) * PIXELS, (height + legend_height) * PIXELS
    several = {boxes[item] for item in picture.items if item.times > 1}
    drawn = (each for column in columns for layer in column.layers for each in layer if each.lines)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="system-ui, Helvetica, Arial, sans-serif" role="img">',
        f"<title>Graph of {len(boxes)} boxes that ends with {escape(picture.items[-1].title)}</title>",
        '<rect width="100%" height="100%" rx="6" fill="#ffffff"/>',
        *_lines(columns),
        *(part for each in drawn for part in _box(each, each in several)),
        *legend,
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _lines(columns: Sequence[Column]) -> Iterator[str]:
    """The lines between boxes."""
    for column in columns:
        lanes, loops = count(1), count(1)
        for each in (each for layer in column.layers for each in layer):
            if not each.lines:
                yield _path([(each.x, each.y), (each.x, each.y + each.height)], curved=False, arrow=False)
            for target in each.below:
                start, end = (each.x, each.y + each.height), (entry(each, target), target.y)
                if end[1] > start[1]:
                    middle = (start[1] + end[1]) / 2
                    points = [start, (start[0], middle), (end[0], middle), end]
                    yield _path(points, curved=True, arrow=bool(target.lines))
                else:
                    corners = around(column, start[0], end[0], LANE * next(lanes))
                    yield _path([start, *corners, end], curved=False, arrow=bool(target.lines))
            for target in each.loops:
                *corners, (x, y) = loop(column, each, target, LANE * next(loops))
                tip = max(x, min(corners[-1][0], x + BEHIND / PIXELS))  # beside the box that stands behind
                yield _path([*corners, (tip, y)], curved=False, arrow=True, dashed=True)


def _path(points: Sequence[tuple[float, float]], curved: bool, arrow: bool, dashed: bool = False) -> str:
    place = [f"{x * PIXELS:.1f},{y * PIXELS:.1f}" for x, y in points]
    course = f"M{place[0]} C{' '.join(place[1:])}" if curved else f"M{' L'.join(place)}"
    style = f'fill="none" stroke="{LINE}"' + (' stroke-dasharray="5 3"' if dashed else "")
    line = f'<path d="{course}" {style}/>'
    return line + _head(points[-2], points[-1]) if arrow else line


def _head(before: tuple[float, float], tip: tuple[float, float]) -> str:
    """The head of an arrow, which points down, or to a side."""
    x, y = tip[0] * PIXELS, tip[1] * PIXELS
    back = 6 if before[0] > tip[0] else -6
    sides = f"l{back},-3.5 v7 z" if before[1] == tip[1] else "l-3.5,-6 h7 z"
    return f'<path d="M{x:.1f},{y:.1f} {sides}" fill="{LINE}"/>'


def _box(each: Box, is_several: bool) -> Iterator[str]:
    """A box with its text; one that stands for several has another behind it."""
    left, top = (each.x - each.width / 2) * PIXELS, each.y * PIXELS
    size = f'width="{each.width * PIXELS:.1f}" height="{each.height * PIXELS:.1f}" rx="6"'
    frame = f'{size} fill="{COLOURS[each.kind]}" stroke="{LINE}"'
    if is_several:
        yield f'<rect x="{left + BEHIND:.1f}" y="{top + BEHIND:.1f}" {frame}/>'
    yield f'<rect x="{left:.1f}" y="{top:.1f}" {frame}/>'
    for i, line in enumerate([*each.lines, *each.small]):
        y = (each.y + 0.06 + LINE_HEIGHT * (i + 0.5)) * PIXELS + 4
        style = f'font-size="12.5" fill="{TEXT}"' if i < len(each.lines) else f'font-size="11" fill="{SMALL_TEXT}"'
        yield f'<text x="{each.x * PIXELS:.1f}" y="{y:.1f}" text-anchor="middle" {style}>{escape(line)}</text>'


def _legend(picture: Picture, top: float) -> tuple[list[str], float, float]:
    """What the colours are, and the sentences, below the picture; with its width and height in inches."""
    rows = [(COLOURS[kind], text) for kind, text in picture.legend()] + [("", text) for text in picture.sentences]
    parts = []
    for i, (colour, text) in enumerate(rows):
        y = (top + 0.22 * i) * PIXELS
        if colour:
            swatch = f'x="{MARGIN * PIXELS}" y="{y:.1f}" width="18" height="13" rx="3"'
            parts.append(f'<rect {swatch} fill="{colour}" stroke="{LINE}"/>')
        x = MARGIN * PIXELS + (26 if colour else 0)
        parts.append(f'<text x="{x}" y="{y + 10.5:.1f}" font-size="11" fill="{SMALL_TEXT}">{escape(text)}</text>')
    longest = max(len(text) for _, text in rows)
    return parts, longest * 0.064 + 0.6 + MARGIN, 0.22 * len(rows) + MARGIN


def _for_mermaid(text: str) -> str:
    """Text inside a label in quotes: what Mermaid would read as markup is written as its code."""
    return "".join(f"#{ord(c)};" if c in '"&<>#`\\' else c for c in text)


def _for_dot(text: str) -> str:
    return text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
