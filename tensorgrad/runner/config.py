"""Files of options: one JSON object, such as ``{"epochs": 5}``."""

from __future__ import annotations

import json
from pathlib import Path
from reprlib import repr as shown
from typing import Any

from .errors import UsageError


def read_config(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises
    ------
    UsageError
        If the file cannot be read, is not JSON, does not hold an object, or has a key twice.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_repeated_keys)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except _RepeatedKey as error:
        raise UsageError(f"{path}: {shown(str(error))} is given twice") from None
    except RecursionError:
        raise UsageError(f"{path}: nested too deeply to be options") from None
    except ValueError as error:
        raise UsageError(f"{path}: not JSON ({error})") from None
    if not isinstance(content, dict):
        raise UsageError(f'{path}: must hold one object of options, such as {{"epochs": 5}}')
    return content


class _RepeatedKey(Exception):
    """A key that an object in a JSON file has twice."""


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _RepeatedKey(key)
        found[key] = value
    return found
