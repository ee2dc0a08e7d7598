"""A matplotlib figure that becomes a PNG file, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..extras import require
from ..files import replacing


@contextmanager
def saved_figure(path: str | Path, width: float, height: float) -> Iterator[Any]:
    """A figure of that size in inches, saved as PNG when the block ends without an error.

    Made without pyplot, whose import takes half a second and whose figures are global.

    Raises
    ------
    MissingExtra
        If matplotlib is not installed.
    """
    figure = require("matplotlib.figure", "drawing").Figure(figsize=(width, height), layout="constrained")
    yield figure
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
