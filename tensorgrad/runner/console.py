"""Printing to the terminal, with control characters escaped."""

from __future__ import annotations

import sys
from typing import TextIO

from ..report import printable


def say(text: object, file: TextIO | None = None) -> None:
    """Print a line that may hold text from elsewhere: nothing in it is a command to the terminal, or fails to print."""
    stream = file or sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(printable(text).encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)


def warn(text: object) -> None:
    """Print a line to standard error, also where quiet was asked for."""
    say(text, sys.stderr)
