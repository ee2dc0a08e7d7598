"""Paths: opening regular files only, names that can be printed, the user's cache folder."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: str | Path) -> BinaryIO:
    """Open a regular file for reading bytes; an OSError for others, such as a pipe, which might block.

    Raises
    ------
    OSError
        If it cannot be opened, or is a folder, a pipe or a device.
    """
    check_regular(path)
    return open(path, "rb")


def check_regular(path: str | Path) -> os.stat_result:
    """The status of a regular file; an OSError if there is none of that name, or something else."""
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(None, "it is a folder")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(None, "it is not a regular file")
    return status


def printable(name: str | Path) -> str:
    r"""A name of a file or a text from one for a message: bytes that are not UTF-8 and control characters escaped.

    >>> print(printable("caf\udce9\n"))
    caf\xe9\x0a
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", _escaped, str(name))


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code:02x}"  # such a surrogate stands for a byte


def cache_folder() -> Path:
    """Where files are cached that can be recreated: ``$XDG_CACHE_HOME/tensorgrad``, else ``~/.cache/tensorgrad``."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        root = Path(os.devnull)  # in which no file can be made: nothing is kept
    return root / "tensorgrad"
