"""Optional libraries: imported when first needed, with a clear sentence where they are absent."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class MissingExtra(ImportError):
    """An optional library that is not installed."""


def require(module: str, purpose: str) -> Any:
    """Import an optional library, or say what needs it and how to install it.

    >>> require("json", "reading settings").__name__
    'json'
    """
    try:
        return import_module(module)
    except ImportError as error:
        library = {"sklearn": "scikit-learn", "PIL": "Pillow"}.get(module.split(".")[0], module.split(".")[0])
        raise MissingExtra(f"{purpose} needs {library} ({error}); install it with: pip install {library}") from None
