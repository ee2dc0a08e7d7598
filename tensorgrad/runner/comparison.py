"""Runs side by side: a table, and a picture of their curves."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from ..report import printable, save_comparison
from ..training import LAST
from .console import say
from .errors import UsageError
from .folder import METRICS
from .records import Record, read_history, read_record

LONGEST = 60
"""Characters of a name that are shown."""

DRAWN = 30
"""Runs that are drawn: of more, no curve could be told from the others."""


def compare(runs: list[Path], picture: Path) -> None:
    """Print a table for each set of data, with a row for each run, best test accuracy first, and draw their curves.

    Raises
    ------
    UsageError
        If none of the folders holds a run.
    DataError
        If what a folder holds is damaged.
    """
    found = {name: path for name, path in _named(runs).items() if os.path.lexists(path / METRICS)}
    if not found:
        raise UsageError(f"none of the folders holds a {METRICS}; pass folders written by the experiments")
    records = {name: read_record(path) for name, path in found.items()}
    records = dict(sorted(records.items(), key=lambda item: -item[1].test_accuracy))
    histories = {name: read_history(found[name]) for name in records}
    data = data_names(list(records.values()))
    groups = _by_data(records, data)
    for title, group in groups.items():
        if len(groups) > 1:
            say(f"{title}:")
        for line in as_table(group, data).splitlines():
            say(line)
    # the panels of several sets of data have these as titles
    legends = {f"{name}: {_legend(r, '' if len(groups) > 1 else data[r])}": name for name, r in records.items()}
    drawn = list(legends.items())[:DRAWN]
    picture.parent.mkdir(parents=True, exist_ok=True)
    save_comparison(
        {legend: histories[name] for legend, name in drawn},
        picture,
        {legend: data[records[name]] for legend, name in drawn},
    )
    for path in runs:
        if path not in found.values() and not os.path.lexists(path / METRICS):
            say(f"{path}: no finished run, left out{_how_to_go_on(path)}")
    chosen = f" of the {DRAWN} best" if len(records) > DRAWN else ""
    say(f"curves{chosen} in {picture}")


def _how_to_go_on(folder: Path) -> str:
    return "; it was stopped before its results were written, add --resume" if (folder / LAST).exists() else ""


def _named(runs: list[Path]) -> dict[str, Path]:
    """The runs, each once, by their paths without what these have in common: short and different."""
    real = {os.path.realpath(path): path for path in reversed(runs)}
    paths = list(reversed(real))
    common = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else ""
    return {os.path.relpath(path, common): real[path] for path in paths}


def data_names(records: list[Record]) -> dict[Record, str]:
    """What each run was trained on; where data of one name are several, with the beginning of their checksum."""
    several = Counter(name for name, _ in {(record.dataset, record.fingerprint) for record in records})
    names = {}
    for record in records:
        checksum = f" #{printable(record.fingerprint[:6])}" if several[record.dataset] > 1 else ""
        names[record] = f"{printable(record.dataset, LONGEST)}{checksum}"
    return names


def _by_data(records: dict[str, Record], data: dict[Record, str]) -> dict[str, dict[str, Record]]:
    """The runs on each set of data, as results on different data say nothing of each other; all in their order."""
    groups: dict[str, dict[str, Record]] = {}
    for name, record in records.items():
        groups.setdefault(data[record], {})[name] = record
    return groups


def _legend(record: Record, data: str) -> str:
    rate = "" if record.rate is None else f"rate {record.rate:g}"
    batch = "" if record.batch_size is None else f"batch {record.batch_size}"
    epochs = f"{record.progress} epochs" if record.progress else ""
    return ", ".join(filter(None, [data, rate, batch, epochs, record.state, record.date]))


def as_table(records: dict[str, Record], data: dict[Record, str]) -> str:
    """The runs as a Markdown table, in their order; every name once. ``data`` says what each was trained on."""
    columns = {
        "run": [printable(name, LONGEST) for name in records],
        "experiment": [record.experiment for record in records.values()],
        "data": [data[record] for record in records.values()],
        "rate": [_shown(record.rate, "g") for record in records.values()],
        "batch": [_shown(record.batch_size, "d") for record in records.values()],
        "seed": [_shown(record.seed, "d") for record in records.values()],
        "epochs": [record.progress for record in records.values()],
        "best epoch": [_shown(record.best_epoch, "d") for record in records.values()],
        "parameters": [_shown(record.parameters, ",d") for record in records.values()],
        "seconds": [_shown(record.seconds, ",.1f") for record in records.values()],
        "validation accuracy": [_shown(record.validation_accuracy, ".4f") for record in records.values()],
        "test accuracy": [_shown(record.test_accuracy, ".4f") for record in records.values()],
        "state": [record.state for record in records.values()],
        "date": [record.date for record in records.values()],
    }
    columns["run"] = _numbered(columns["run"])
    cells = [[title, *(printable(value, LONGEST).replace("|", "\\|") for value in c)] for title, c in columns.items()]
    widths = [max(map(len, column)) for column in cells]
    rows = [" | ".join(value.ljust(width) for value, width in zip(row, widths)) for row in zip(*cells)]
    lines = [f"| {row} |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _shown(value: float | None, specification: str) -> str:
    return "" if value is None else format(value, specification)


def _numbered(names: list[str]) -> list[str]:
    """Names that are alike once they are cut, told apart by numbers."""
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result
