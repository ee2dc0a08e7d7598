"""Time the same work in every framework side by side: python -m benchmarks.speed.

Each framework runs in a process of its own. A round times one case in all of them, one after the other, so that a
machine that slows down slows all; the ratio is taken within the round, and medians over the rounds are shown.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES, SCALING, STEPS, Case
from benchmarks.frameworks import FRAMEWORKS, JAX, OURS, REFERENCE, STEPPING
from benchmarks.recipes import NETWORKS
from benchmarks.tables import Results, against, draw, draw_scaling, table, table_of_recordings, table_of_starts
from benchmarks.workers import Worker, in_a_fresh_process, in_fresh_processes
from tensorgrad._atomic import replacing
from tensorgrad.runner.arguments import Parser, not_negative, path, whole
from tensorgrad.runner.errors import reported_errors

RECIPE = "float32, dropout and L2 (but for CNN), softmax cross-entropy, Adam; in brackets: speed relative to PyTorch"


def compare(cases: Iterable[Case], names: Iterable[str], rounds: int, seconds: float) -> Results:
    """Milliseconds by case and framework, one entry per round."""
    workers = {name: Worker(name) for name in names}
    for name in [name for name, worker in workers.items() if not worker.is_installed]:
        print(f"{name}: not installed", flush=True)
        workers.pop(name).close()
    results: Results = {}
    for case in cases:
        print(f"{datetime.datetime.now():%H:%M:%S} {case}", file=sys.stderr, flush=True)
        able = {name: worker for name, worker in workers.items() if worker.time(case, seconds) is not None}  # warm-up
        results[case] = {name: [] for name in able}
        for _ in range(rounds):
            for name, worker in able.items():
                milliseconds = worker.time(case, seconds)
                assert milliseconds is not None
                results[case][name].append(milliseconds)
    for worker in workers.values():
        worker.close()
    return results


LIBRARIES = ("numpy", "numba", "torch", "jax", "scikit-learn", "autograd", "mygrad")


def machine(libraries: Iterable[str] = LIBRARIES) -> str:
    """Date, processor and versions."""
    versions = []
    for library in libraries:
        try:
            versions.append(f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{library} not installed")
    cpus = f"{os.cpu_count()} CPUs, {platform.machine()}"
    return f"{datetime.date.today()}, {cpus}, Python {platform.python_version()}, {', '.join(versions)}"


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the tables and draw the pictures; the exit code is 2 where the folder cannot be written."""
    parser = Parser(prog="python -m benchmarks.speed", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--rounds", type=whole(1), default=7, metavar="N", help="times that every case is measured (7)")
    add("--seconds", type=not_negative, default=0.3, metavar="X", help="per case, framework and round (0.3)")
    add("--steps", action="store_true", help="the training steps at batch 128 only")
    add("--networks", nargs="+", choices=list(NETWORKS), metavar="NAME", help="steps and inference of these only")
    add("--out", type=path, default=Path("runs/benchmark"), metavar="DIR", help="for tables, pictures")
    add("--only", nargs="+", choices=list(FRAMEWORKS), metavar="NAME", help="these frameworks only")
    options = parser.parse_args(arguments)
    names = options.only or STEPPING
    with reported_errors("benchmarks.speed"):
        options.out.mkdir(parents=True, exist_ok=True)
        cases = [case for case in (STEPS if options.steps else CASES) if _is_wanted(case, options.networks)]
        results = compare(cases, names, options.rounds, options.seconds)
        parts = [machine(), RECIPE]
        parts += [*map(table, _groups(results)), against(JAX, results)]
        if not options.steps and not options.networks:
            parts += _other_costs(names)
            _draw_scaling(names, options.seconds, options.out / "scaling.png")
        text = "\n\n".join(part for part in parts if part)
        with replacing(options.out / "benchmark.md") as temporary:
            temporary.write_text(text + "\n")
        print(text)
        if any(REFERENCE in results.get(case, ()) for case in STEPS):
            draw(results, options.out / "benchmark.png")
    print(f"\ntables and pictures in {options.out}")
    return 0


def _is_wanted(case: Case, networks: list[str] | None) -> bool:
    return networks is None or (case.network in networks and case.kind in ("step", "inference"))


def _other_costs(names: list[str]) -> list[str]:
    """What starting and recording cost, and where the time of a step goes."""
    parts = [table_of_starts({network: in_fresh_processes("start", names, network) for network in NETWORKS})]
    ours = [name for name in names if name.startswith("tensorgrad")]
    if ours:
        parts.append(
            table_of_recordings({network: in_fresh_processes("record", ours, network) for network in NETWORKS})
        )
    if OURS in names:
        network = STEPS[0].network
        steps = in_a_fresh_process("profile", OURS, network).rstrip()
        parts.append(f"One step of {OURS}, {network}, as `explain` shows it:\n\n```\n{steps}\n```")
    return parts


def _draw_scaling(names: list[str], seconds: float, picture: Path) -> None:
    """Time the steps whose batch, width or depth grows, in three rounds."""
    cases = [case for group in SCALING.values() for case in group]
    found = compare(cases, [name for name in (OURS, REFERENCE) if name in names], 3, seconds)
    if all(found[case] for case in cases):
        draw_scaling(found, picture)


def _groups(results: Results) -> list[Results]:
    """Tables that are not too wide: the steps at batch 128, the other steps by network, inference, the rest."""
    keys: dict[Any, Results] = {}
    for case, found in results.items():
        key = (
            "steps" if case in STEPS else (case.kind, case.network) if case.kind == "step" else case.kind == "inference"
        )
        keys.setdefault(key, {})[case] = found
    return list(keys.values())


if __name__ == "__main__":
    raise SystemExit(main())
