"""Time the same work in every framework side by side: python -m experiments.benchmark.

Each framework runs in a process of its own. A round times one case in all of them, one after the other, so that a
machine that slows down slows all; the ratio is taken within the round, and medians over the rounds are shown.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time

from experiments.contenders import CONTENDERS

REFERENCE = "PyTorch"


def work(name: str) -> None:
    """The worker: answer each line "case seconds" on standard input with the milliseconds that one call took."""
    try:
        cases = CONTENDERS[name]()
    except ImportError:
        print(json.dumps(None), flush=True)
        return
    print(json.dumps(list(cases)), flush=True)
    for line in sys.stdin:
        case, seconds = json.loads(line)
        print(json.dumps(median_time(cases[case], seconds)), flush=True)


def median_time(function, seconds: float) -> float:
    """Median milliseconds of one call, of as many calls as fit into ``seconds``, three at least."""
    times, stop = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < stop:
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times)


class Worker:
    """A framework in its own process."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, "-m", "experiments.benchmark", "--worker", name]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.cases = self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def time(self, case: str, seconds: float) -> float:
        """Milliseconds of one call."""
        print(json.dumps([case, seconds]), file=self.process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        """End the process."""
        with self.process:  # closes its pipes, so that it ends, and waits for it
            pass


def compare(rounds: int, seconds: float) -> dict[str, dict[str, list[float]]]:
    """Milliseconds by case and framework, one entry per round."""
    workers = {name: Worker(name) for name in CONTENDERS}
    for name in [name for name, worker in workers.items() if worker.cases is None]:
        print(f"{name}: not installed")
        workers.pop(name).close()
    results: dict[str, dict[str, list[float]]] = {}
    for case in workers["tensorgrad"].cases:
        able = {name: worker for name, worker in workers.items() if case in worker.cases}
        for worker in able.values():
            worker.time(case, seconds)  # warm-up
        for _ in range(rounds):
            for name, worker in able.items():
                results.setdefault(case, {}).setdefault(name, []).append(worker.time(case, seconds))
    for worker in workers.values():
        worker.close()
    return results


def table(results: dict[str, dict[str, list[float]]]) -> str:
    """Median milliseconds and, where the reference took part, the median of its time divided by this one's."""
    lines = [f"| | {' | '.join(results)} |", f"|---|{'---|' * len(results)}"]
    for name in CONTENDERS:
        cells = []
        for of_case in results.values():
            if name not in of_case:
                cells.append("")
                continue
            cell = f"{statistics.median(of_case[name]):.2f} ms"
            if REFERENCE in of_case and name != REFERENCE:
                ratios = [theirs / ours for theirs, ours in zip(of_case[REFERENCE], of_case[name])]
                cell += f" ({statistics.median(ratios):.2f}x)"
            cells.append(cell)
        if any(cells):
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def machine() -> str:
    """Date, processor and versions."""
    versions = []
    for library in ("numpy", "torch"):
        try:
            versions.append(f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{library} not installed")
    cpus = f"{os.cpu_count()} CPUs, {platform.machine()}"
    return f"{datetime.date.today()}, {cpus}, Python {platform.python_version()}, {', '.join(versions)}"


def main() -> None:
    """Parse the options, run, print the table."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmark", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="times that every case is measured")
    parser.add_argument("--seconds", type=float, default=0.5, metavar="X", help="per case, framework and round")
    parser.add_argument("--worker", choices=list(CONTENDERS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return
    print(f"batch 128, float32, dropout, L2, softmax cross-entropy, Adam; in brackets: speed relative to {REFERENCE}")
    print(machine())
    print(table(compare(options.rounds, options.seconds)))


if __name__ == "__main__":
    main()
