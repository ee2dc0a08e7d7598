"""draw: the graph of a computation as a picture."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from .._atomic import replacing
from ..core import Tensor
from . import formats
from .graph import check
from .names import Names
from .picture import Picture, picture
from .steps import gradients_of_nodes

GRAPHVIZ = (".png", ".pdf")
"""What Graphviz draws."""


class Drawing:
    """The graph of a computation; Jupyter shows it. Made by :func:`draw`."""

    def __init__(self, content: Picture) -> None:
        self._picture = content

    @cached_property
    def mermaid(self) -> str:
        """The picture as text for Mermaid, which GitHub and GitLab draw in Markdown, in a block of ``mermaid``."""
        return formats.mermaid(self._picture)

    @cached_property
    def dot(self) -> str:
        """As text for Graphviz."""
        return formats.dot(self._picture)

    @cached_property
    def svg(self) -> str:
        """As an SVG image, in text."""
        return formats.svg(self._picture)

    def save(self, path: str | Path) -> None:
        """Write the picture into a file, in the format that the suffix of its name says.

        ``.svg``, ``.html``, ``.mmd`` or ``.mermaid``, ``.md`` (a block of Mermaid), ``.dot`` or ``.gv``; and ``.png``
        and ``.pdf``, which Graphviz draws.

        Raises
        ------
        ValueError
            If it is another suffix.
        RuntimeError
            If Graphviz is needed and is not installed.
        """
        suffix = Path(path).suffix.lower()
        if suffix in GRAPHVIZ:
            content = _drawn_by_graphviz(self.dot, suffix[1:])
        else:
            texts = {
                ".svg": lambda: self.svg,
                ".html": lambda: _PAGE.format(self.svg),
                ".mmd": lambda: self.mermaid,
                ".mermaid": lambda: self.mermaid,
                ".md": lambda: f"```mermaid\n{self.mermaid}```\n",
                ".dot": lambda: self.dot,
                ".gv": lambda: self.dot,
            }
            if suffix not in texts:
                known = ", ".join([*texts, *GRAPHVIZ])
                raise ValueError(f"draw: the suffix of the file says how it is saved: one of {known}; got {suffix!r}")
            content = texts[suffix]().encode("utf-8")
        with replacing(path) as temporary:
            temporary.write_bytes(content)

    def __repr__(self) -> str:
        boxes, lines = len(self._picture.items), len(self._picture.edges) + len(self._picture.loops)
        return f"<drawing of {boxes} boxes and {lines} lines; .save('graph.svg') writes it>"

    def _repr_svg_(self) -> str:
        """As notebooks show it: as a picture, which GitHub and untrusted notebooks show too, unlike SVG within HTML."""
        return self.svg


_PAGE = '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Graph</title>\n<body>{}</body></html>\n'


def draw(
    result: Tensor | Sequence[Tensor],
    *names: object,
    gradients: bool = False,
    fold: bool | None = None,
    limit: int = 150,
) -> Drawing:
    """The graph of the ops that led to ``result``, from top to bottom: a picture that Jupyter shows and that is saved.

    Boxes name the op as its user does (``np.exp``, ``@``, a declared op by its name), with the shape and dtype of what
    it gave, and the value where that is a few numbers. Leaves have the norm of their ``.grad``, or say that it has not
    been computed.

    Parameters
    ----------
    result
        A Tensor whose history has not been freed, or several.
    names
        What values are called: modules, whose parameters have names, and mappings of names to Tensors, arrays and
        modules, such as ``locals()``.
    gradients
        Compute the gradient of every value and show its norm; ``result`` then has one element. Neither its history nor
        any ``.grad`` changes.
    fold
        Whether what is done several times over, such as the steps of a recurrent network, is drawn once, with how often
        it is done. Default: in graphs of more than 30 ops.
    limit
        The most boxes of ops; of more those nearest to the result are drawn, and a sentence says so.

    Raises
    ------
    TypeError
        If a result is not a Tensor, or names are neither modules nor mappings.
    RuntimeError
        If it has no history: nothing was recorded, or ``backward`` has freed it.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> layer = tg.nn.Dense(3, 2)
    >>> images, labels = np.ones((4, 3), np.float32), np.array([0, 1, 1, 0])
    >>> loss = tg.softmax_cross_entropy(layer(images), labels)
    >>> drawing = tg.draw(loss, layer, {"images": images, "labels": labels})
    >>> drawing
    <drawing of 6 boxes and 5 lines; .save('graph.svg') writes it>
    >>> print(drawing.mermaid[:63])
    flowchart TB
      n0(["<b>images</b><br/>(4, 3) float32"]):::array
    """
    results = check("draw", result)
    if limit < 1:
        raise ValueError(f"draw: limit= is the most boxes of ops, at least 1, got {limit}")
    found = gradients_of_nodes("draw", results) if gradients else None
    return Drawing(picture(results, Names("draw", names), found, fold, limit))


def _drawn_by_graphviz(text: str, kind: str) -> bytes:
    program = shutil.which("dot")
    if program is None:
        raise RuntimeError(
            f"draw: saving as .{kind} needs Graphviz, whose program dot was not found; install it (apt install "
            "graphviz, brew install graphviz, winget install graphviz), or save as .svg, which needs nothing"
        )
    return subprocess.run([program, f"-T{kind}"], input=text.encode("utf-8"), stdout=subprocess.PIPE, check=True).stdout
