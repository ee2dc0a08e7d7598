"""A matplotlib figure that becomes a PNG file, whole or not at all."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .._atomic import replacing
from .._optional import require

DPI = 120
LARGEST = 40e6
"""Pixels beyond which a picture is drawn in a lower resolution, so that every viewer opens it."""


@contextmanager
def saved_figure(path: str | Path, width: float, height: float) -> Iterator[Any]:
    """A figure of that size in inches, saved as PNG when the block ends without an error.

    Made without pyplot, whose import takes half a second and whose figures are global. Text is drawn as it stands:
    a ``$`` in it begins no formula, and a character that the font lacks is a box, not a warning.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    figure = require("matplotlib.figure", "drawing").Figure(figsize=(width, height), layout="constrained")
    yield figure
    for text in figure.findobj(require("matplotlib.text", "drawing").Text):
        if text.get_text():  # ticks that are numbered when drawn have none yet
            text.set(parse_math=False, usetex=False)
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing|Matplotlib currently does not support", UserWarning)
        figure.savefig(temporary, format="png", dpi=min(DPI, (LARGEST / math.prod(figure.get_size_inches())) ** 0.5))
