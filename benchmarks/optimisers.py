"""Whether steps stay as quick as at first, with every optimiser: python -m benchmarks.optimisers --data-dir DIR.

Each training is a process of its own, of few examples in small batches, so that there are many steps in seconds: with
the recipe of the network, and weight decay for all its weights, until what is without gradients has decayed. Matrix
products are done in one thread, as two take turns where other work of the machine holds one up.
"""

from __future__ import annotations

import datetime
import json
import sys
import tempfile
from pathlib import Path

from benchmarks.frameworks import OURS, OURS_ON_NUMPY
from benchmarks.recipes import OPTIMISERS, RUNS
from benchmarks.runs import examples_of, read_runs, save
from benchmarks.speed import machine
from benchmarks.tables import Runs, table_of_optimisers
from benchmarks.workers import in_a_fresh_process
from tensorgrad.runner.arguments import Parser, path, whole
from tensorgrad.runner.errors import reported_errors

JSON, MARKDOWN = "optimisers.json", "optimisers.md"
WAYS = (OURS, OURS_ON_NUMPY)
STEPS, BATCH, DECAY = 100, 16, 1e-3
"""Of an epoch; examples in a step; and the weight decay."""


def main(arguments: list[str] | None = None) -> int:
    """Train and print the table; the exit code is 2 where data or the folder cannot be used."""
    parser = Parser(prog="python -m benchmarks.optimisers", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data-dir", type=path, metavar="DIR", help="holds mnist/ and simpsons-mnist/rgb/ (default: downloaded)")
    add("--epochs", type=whole(2), default=10, metavar="N", help=f"of each training, of {STEPS} steps (10)")
    add("--networks", nargs="+", choices=list(RUNS), default=list(RUNS), metavar="NAME", help=f"of {', '.join(RUNS)}")
    add("--only", nargs="+", choices=list(OPTIMISERS), default=list(OPTIMISERS), metavar="NAME", help="optimisers")
    add("--out", type=path, default=Path("runs/benchmark"), metavar="DIR", help="for table and figures")
    add("--keep", action="store_true", help="add to the trainings that the folder holds")
    options = parser.parse_args(arguments)
    with reported_errors("benchmarks.optimisers"):
        options.out.mkdir(parents=True, exist_ok=True)
        found = read_runs(options.out / JSON) if options.keep and (options.out / JSON).exists() else []
        with tempfile.TemporaryDirectory() as folder:
            for network in options.networks:
                examples = examples_of(network, options.data_dir, Path(folder))
                for optimiser in options.only:
                    _trainings(network, optimiser, examples, options.epochs, found)
                    text = _write(found, options.out)
    print(text)
    return 0


def _trainings(network: str, optimiser: str, examples: Path, epochs: int, found: Runs) -> None:
    """Add what :func:`benchmarks.workers.optimise` tells of a network and an optimiser, with numba and without."""
    for name in WAYS:
        given = json.dumps([str(examples), optimiser, DECAY, epochs, STEPS, BATCH])
        printed = in_a_fresh_process("optimise", name, network, given, threads=1)
        print(f"{datetime.datetime.now():%H:%M:%S} {network}, {optimiser}, {name}", file=sys.stderr, flush=True)
        if printed:
            row = json.loads(printed.splitlines()[-1])
            found.append({"network": network, "optimiser": optimiser, "framework": name, **row})


def _write(found: Runs, out: Path) -> str:
    """Write figures and table; returns the table."""
    text = f"{machine()}\n\n{table_of_optimisers(found)}"
    save(found, text, out / JSON, out / MARKDOWN)
    return text


if __name__ == "__main__":
    raise SystemExit(main())
