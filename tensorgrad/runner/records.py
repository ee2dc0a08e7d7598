"""Reading the results of runs defensively: files may be damaged, or come from elsewhere."""

from __future__ import annotations

import csv
import io
import json
import math
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..data import DataError
from .folder import HISTORY, METRICS

LARGEST_FILE = 16 * 2**20
"""Bytes beyond which a file is not read: those of a run have a few thousand."""

REMEDY = "leave this folder out, or train again"
CURVES = ("epoch", "validation_loss", "validation_accuracy")


@dataclass(frozen=True)
class Record:
    """The figures of a run as its ``metrics.json`` gives them; None, or empty text, where that says nothing."""

    experiment: str
    dataset: str
    fingerprint: str
    rate: float | None
    batch_size: int | None
    seed: int | None
    epochs: int | None
    planned: int | None
    best_epoch: int | None
    parameters: int | None
    seconds: float | None
    validation_accuracy: float | None
    test_accuracy: float
    stopped: str
    is_diverged: bool
    is_dry: bool
    date: str

    @property
    def state(self) -> str:
        """How it ended."""
        if self.is_diverged:
            return "diverged"
        if self.stopped:
            return f"interrupted: {self.stopped}"
        is_early = self.epochs is not None and self.planned is not None and self.epochs < self.planned
        return ("finished early" if is_early else "finished") + (", dry run" if self.is_dry else "")

    @property
    def progress(self) -> str:
        """Epochs done of those planned."""
        return " of ".join(f"{number:,}" for number in (self.epochs, self.planned) if number is not None)


def read_record(folder: Path) -> Record:
    """The figures of the run in a folder.

    Raises
    ------
    DataError
        If its ``metrics.json`` is missing, damaged, or not written by an experiment.
    """
    path = folder / METRICS
    fields = Fields(path, read_json(path))
    settings = fields.inner("settings")
    accuracy = fields.number("test_accuracy", 0, 1)
    if accuracy is None:
        raise DataError(f"{path}: holds no test_accuracy, so it is not written by an experiment; {REMEDY}")
    return Record(
        experiment=fields.text("experiment"),
        dataset=fields.text("dataset"),
        fingerprint=settings.text("data"),
        rate=settings.number("lr", 0),
        batch_size=settings.whole("batch_size"),
        seed=fields.whole("seed"),
        epochs=fields.whole("epochs"),
        planned=settings.whole("epochs"),
        best_epoch=fields.whole("best_epoch"),
        parameters=fields.whole("parameters"),
        seconds=fields.number("seconds", 0),
        validation_accuracy=fields.number("validation_accuracy", 0, 1),
        test_accuracy=accuracy,
        stopped=fields.text("stopped"),
        is_diverged=fields.content.get("diverged") is True,
        is_dry=settings.content.get("fast_dev_run") is True,
        date=fields.text("date") or datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y-%m-%d %H:%M"),
    )


def read_history(folder: Path) -> list[dict[str, float]]:
    """The epochs of a run, from its ``history.csv``: those columns that a comparison shows; NaN for a loss gone wrong.

    Raises
    ------
    DataError
        If the file is missing, damaged, or not written by an experiment.
    """
    path = folder / HISTORY
    try:
        text = _read(path).decode("utf-8")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        found = [{name: float(row[name]) for name in CURVES} for row in rows]
    except KeyError as error:
        raise DataError(f"{path}: holds no column {error.args[0]}; {REMEDY}") from None
    except (ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{path}: not a table of numbers ({error}); {REMEDY}") from None
    if not all(0 <= row["epoch"] < 1e9 for row in found):
        raise DataError(f"{path}: epoch must be a number from 1 on; {REMEDY}")
    return [{name: value if abs(value) < 1e30 else math.nan for name, value in row.items()} for row in found]


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises
    ------
    DataError
        If it is missing or no JSON.
    """
    try:
        return json.loads(_read(path).decode("utf-8"), parse_int=_number)
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); {REMEDY}") from None
    except RecursionError:
        raise DataError(f"{path}: JSON nested too deep to be written by an experiment; {REMEDY}") from None


def _read(path: Path) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would keep us waiting
        raise DataError(f"{path}: not a file; {REMEDY}")
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise DataError(f"{path}: larger than {LARGEST_FILE // 2**20} MiB, not written by an experiment; {REMEDY}")
    return content


def _number(digits: str) -> float:
    """Python would take minutes for an integer of a million digits."""
    return int(digits) if len(digits) < 20 else float(digits)


class Fields:
    """The values in an object from a file, each checked when it is taken; a missing one or null is None."""

    def __init__(self, where: Path, content: Any, name: str = "") -> None:
        self.where, self.name = where, name
        if not isinstance(content, dict):
            raise self._wrong(name or "the content", "must be an object", content)
        self.content = content

    def inner(self, key: str) -> Fields:
        """An object in this one; an empty one where there is none."""
        value = self.content.get(key)
        return Fields(self.where, {} if value is None else value, self._path(key))

    def text(self, key: str) -> str:
        """Text, empty where there is none."""
        value = self.content.get(key)
        if value is None or isinstance(value, str):
            return value or ""
        raise self._wrong(self._path(key), "must be text", value)

    def number(self, key: str, low: float = -math.inf, high: float = math.inf) -> float | None:
        """A finite number in a range."""
        value = self.content.get(key)
        return None if value is None else self._checked(value, self._path(key), low, high)

    def whole(self, key: str) -> int | None:
        """A whole number, not negative."""
        value = self.content.get(key)
        return None if value is None else self._whole(value, self._path(key), 0, 10**18)

    def numbers(self, key: str, lengths: tuple[int, ...], low: float, high: float) -> list[float]:
        """A list of numbers in a range."""
        return [self._checked(value, self._path(key), low, high) for value in self._list(key, lengths)]

    def wholes(self, key: str, lengths: tuple[int, ...], low: int, high: int) -> list[int]:
        """A list of whole numbers in a range."""
        return [self._whole(value, self._path(key), low, high) for value in self._list(key, lengths)]

    def texts(self, key: str) -> list[str]:
        """A list of text."""
        values = self._list(key)
        for value in values:
            if not isinstance(value, str):
                raise self._wrong(self._path(key), "must be a list of text", value)
        return values

    def _list(self, key: str, lengths: tuple[int, ...] = ()) -> list[Any]:
        value = self.content.get(key)
        if not isinstance(value, list):
            raise self._wrong(self._path(key), "must be a list", value)
        if lengths and len(value) not in lengths:
            raise self._wrong(self._path(key), f"must be a list of {' or '.join(map(str, lengths))}", len(value))
        return value

    def _path(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def _whole(self, value: Any, name: str, low: int, high: int) -> int:
        if self._checked(value, name, low, high) != int(value):
            raise self._wrong(name, "must be a whole number", value)
        return int(value)

    def _checked(self, value: Any, name: str, low: float, high: float) -> Any:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (is_number and math.isfinite(value) and low <= value <= high):
            limits = f" from {low:g} to {high:g}" if high < math.inf else ""
            raise self._wrong(name, f"must be a finite number{limits}", value)
        return value

    def _wrong(self, name: str, what: str, value: object) -> DataError:
        kinds = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
        got = f"{value:g}" if type(value) in (int, float) else kinds.get(type(value), type(value).__name__)
        return DataError(f"{self.where}: {name} {what}, got {got}; {REMEDY}")
