"""The folder of a run: what is in it, and how it is made ready without harm to an earlier run."""

from __future__ import annotations

import csv
import json
import os
from itertools import count
from pathlib import Path
from typing import Any

from tensorgrad.data import DataError
from tensorgrad.files import remove_partial, replacing
from tensorgrad.training import LAST

SETTINGS, METRICS, HISTORY = "settings.json", "metrics.json", "history.csv"


def make_ready(folder: Path) -> None:
    """Make the folder and try it out now, rather than after the training."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise DataError(f"--out {folder}: is a file, not a folder; choose another name") from None
    with replacing(folder / ".writable") as temporary:
        temporary.write_text("")
    (folder / ".writable").unlink()
    remove_partial(folder)


def move_aside(folder: Path) -> Path | None:
    """Give the run that ``folder`` holds the next free name, such as ``runs/mnist-1``; None if it holds none.

    A dry run (``--fast-dev-run``) is not worth keeping and stays where it is, to be written over.
    """
    if not any((folder / name).exists() for name in (LAST, METRICS)) or _is_dry(folder):
        return None
    target = next(path for n in count(1) if not (path := folder.with_name(f"{folder.name}-{n}")).exists())
    try:
        os.rename(folder, target)
    except OSError as error:
        raise DataError(
            f"--out {folder}: holds an earlier run that cannot be moved aside ({error.strerror}); choose another folder"
        ) from None
    return target


def _is_dry(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / SETTINGS).read_text())["fast_dev_run"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def is_complete(folder: Path) -> bool:
    """Whether the run in a folder went to its end."""
    try:
        return json.loads((folder / METRICS).read_text())["stopped"] is None
    except (OSError, ValueError, KeyError, TypeError):
        return False


def save_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def read_history(folder: Path) -> list[dict[str, float]]:
    """The rows of a run's ``history.csv``."""
    with (folder / HISTORY).open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
