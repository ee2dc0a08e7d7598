"""Whole trainings in every framework side by side: python -m benchmarks.runs --data-dir DIR.

Each is a process of its own, from its start to the test accuracy: same data, batches of 128, Adam, dropout, L2 and a
rate that falls along a cosine, as far as the framework has them. A round runs all frameworks one after the other;
medians over the rounds are shown. What has been measured is written after each run.
"""

from __future__ import annotations

import datetime
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.frameworks import FRAMEWORKS, TRAINING
from benchmarks.recipes import RUNS
from benchmarks.tables import Runs, draw_runs, summary_of_runs, table_of_runs
from benchmarks.workers import a_whole_run
from tensorgrad._atomic import replacing
from tensorgrad.data import Dataset, Standardisation, load_mnist, load_simpsons
from tensorgrad.runner.arguments import Parser, path, whole
from tensorgrad.runner.errors import reported_errors

JSON, MARKDOWN, PICTURE = "runs.json", "runs.md", "runs.png"


def main(arguments: list[str] | None = None) -> int:
    """Train, print the tables and draw the picture; the exit code is 2 where data or the folder cannot be used."""
    parser = Parser(prog="python -m benchmarks.runs", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data-dir", type=path, metavar="DIR", help="holds mnist/ and simpsons-mnist/rgb/ (default: downloaded)")
    add("--rounds", type=whole(1), default=3, metavar="N", help="times that each training is done (3)")
    add("--epochs", type=whole(1), metavar="N", help="of each training (20, 40 and 10)")
    add("--networks", nargs="+", choices=list(RUNS), default=list(RUNS), metavar="NAME", help=f"of {', '.join(RUNS)}")
    add("--only", nargs="+", choices=list(FRAMEWORKS), default=TRAINING, metavar="NAME", help="these frameworks only")
    add("--out", type=path, default=Path("runs/benchmark"), metavar="DIR", help="for tables, figures and picture")
    add("--keep", action="store_true", help="add to the runs that the folder holds")
    options = parser.parse_args(arguments)
    with reported_errors("benchmarks.runs"):
        options.out.mkdir(parents=True, exist_ok=True)
        runs = read_runs(options.out / JSON) if options.keep and (options.out / JSON).exists() else []
        with tempfile.TemporaryDirectory() as folder:
            examples = {name: examples_of(name, options.data_dir, Path(folder)) for name in options.networks}
            for number in range(options.rounds):
                for network in options.networks:
                    _round(number, network, options, examples[network], runs)
        text = _write(runs, options.out)
    print(text)
    print(f"\nfigures, tables and picture in {options.out}")
    return 0


def read_runs(file: Path) -> Runs:
    """The runs that a file holds."""
    runs: Runs = json.loads(file.read_text())
    return runs


def _round(number: int, network: str, options: Any, examples: Path, runs: Runs) -> None:
    """Train a network in all frameworks."""
    epochs = options.epochs or RUNS[network].epochs
    for name in options.only:
        found = a_whole_run(name, network, examples, epochs)
        said = (
            f"{found['ends'][-1]:.1f} s, accuracy {found['accuracies'][-1]:.4f}"
            if found
            else "has no such network, or failed"
        )
        print(f"{datetime.datetime.now():%H:%M:%S} {network}, {name}: {said}", file=sys.stderr, flush=True)
        if found:
            runs.append({"network": network, "framework": name, "round": number, **found})
            _write(runs, options.out)


def _write(runs: Runs, out: Path) -> str:
    """Write figures, tables and the picture; returns the tables."""
    from benchmarks.speed import machine

    measured = dict.fromkeys(run["network"] for run in runs)
    text = "\n\n".join([machine(), summary_of_runs(runs), *(table_of_runs(network, runs) for network in measured)])
    save(runs, text, out / JSON, out / MARKDOWN)
    draw_runs(runs, out / PICTURE)
    return text


def save(runs: Runs, text: str, figures: Path, tables: Path) -> None:
    """Write figures and tables, each file whole or not at all."""
    for file, content in ((figures, json.dumps(runs, indent=1)), (tables, text)):
        with replacing(file) as temporary:
            temporary.write_text(content + "\n")


def examples_of(network: str, data_dir: Path | None, folder: Path) -> Path:
    """A file with the data of a network, as bytes, with mean and deviation of the pixels."""
    name = RUNS[network].data
    file = folder / f"{Path(name).parts[0]}.npz"
    if not file.exists():
        np.savez(file, **arrays_of(_loaded(name, None if data_dir is None else data_dir / name)))
    return file


def _loaded(name: str, folder: Path | None) -> Dataset:
    return load_mnist(folder) if name == "mnist" else load_simpsons(folder, channels=3)


def arrays_of(dataset: Dataset) -> dict[str, Any]:
    """What a training needs of a dataset."""
    names = [f"{part}_{what}" for part in ("train", "test") for what in ("images", "labels")]
    scale = Standardisation.of(dataset.train_images)
    per_channel = {"mean": scale.mean, "deviation": scale.deviation}
    return {
        **{name: getattr(dataset, name) for name in names},
        **{name: np.array(values, np.float32)[:, None, None] for name, values in per_channel.items()},
    }


if __name__ == "__main__":
    raise SystemExit(main())
