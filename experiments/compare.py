"""Put runs side by side in a table and a picture: python -m experiments.compare runs/*"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from experiments.command import reported_errors

COLUMNS = (
    "experiment",
    "seed",
    "epochs",
    "best_epoch",
    "parameters",
    "seconds",
    "validation_accuracy",
    "test_accuracy",
)


def main(arguments: list[str] | None = None) -> int:
    """Print the table and draw the picture; the exit code is 2 if a folder holds no finished run."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.compare", description="Put runs side by side in a table and a picture."
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs, such as runs/*")
    parser.add_argument("--out", type=Path, metavar="FILE", help="picture (default: compare.png beside the first run)")
    options = parser.parse_args(arguments)
    with reported_errors("experiments.compare"):
        runs = [path for path in options.runs if not path.is_file()]
        compare(runs, options.out or options.runs[0].parent / "compare.png")
    return 0


def compare(runs: list[Path], picture: Path) -> None:
    """Print a row for each run, best test accuracy first, and draw their curves."""
    from experiments.folder import METRICS, read_history
    from tensorgrad.data import DataError
    from tensorgrad.report import save_comparison

    found = {name: path for name, path in zip(_names(runs), runs) if (path / METRICS).exists()}
    if not found:
        raise DataError(f"none of the folders holds a {METRICS}; pass folders written by the experiments")
    metrics = {name: _metrics(path / METRICS) for name, path in found.items()}
    print(as_table(metrics))
    save_comparison({name: read_history(path) for name, path in found.items()}, picture)
    for path in runs:
        if path not in found.values():
            print(f"{path}: no finished run, left out")
    print(f"curves in {picture}")


def _metrics(path: Path) -> dict[str, Any]:
    from tensorgrad.data import DataError

    try:
        content = json.loads(path.read_text())
        return {**content, "test_accuracy": float(content["test_accuracy"])}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not written by an experiment ({type(error).__name__}: {error})") from None


def _names(runs: list[Path]) -> list[str]:
    """The paths without what they have in common, so that they are short and different."""
    if len(runs) < 2:
        return [path.resolve().name for path in runs]
    common = os.path.commonpath([path.resolve() for path in runs])
    return [os.path.relpath(path.resolve(), common) for path in runs]


def as_table(metrics: dict[str, dict[str, Any]]) -> str:
    """The runs as a Markdown table, best test accuracy first."""

    def cell(column: str, value: Any) -> str:
        if value is None or isinstance(value, str):
            return value or ""
        return format(value, {"seconds": ",.1f"}.get(column, ".4f" if column.endswith("accuracy") else ","))

    rows = [["run", *(column.replace("_", " ") for column in COLUMNS)]]
    for name, values in sorted(metrics.items(), key=lambda item: -item[1]["test_accuracy"]):
        rows.append([name, *(cell(column, values.get(column)) for column in COLUMNS)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(value.ljust(width) for value, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


if __name__ == "__main__":
    raise SystemExit(main())
