"""The processes that measure: each framework has one of its own.

Every library picks the kernels for this processor by itself: settings in the environment that tell it which are not
passed on.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from benchmarks.frameworks import FRAMEWORKS, inputs_of

LEAST_CALLS = 3
MEMORY_STEPS = 20
RECORDINGS = 9


class Worker:
    """A framework in its own process."""

    def __init__(self, name: str) -> None:
        self.process = subprocess.Popen(
            _command("work", name),
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.is_installed = self._answer() is not None

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def time(self, case: Case, seconds: float) -> float | None:
        """Milliseconds of one call; None where the framework cannot do it."""
        print(json.dumps([*case, seconds]), file=self.process.stdin, flush=True)
        answer: float | None = self._answer()
        return answer

    def close(self) -> None:
        """End the process."""
        with self.process:  # closes its pipes, so that it ends, and waits for it
            pass


def in_fresh_processes(what: str, names: Iterable[str], network: str) -> dict[str, list[float]]:
    """The numbers that the task ``start`` or ``record`` prints, by framework, of those that are installed."""
    found = {}
    for name in names:
        printed = in_a_fresh_process(what, name, network)
        if printed:
            found[name] = json.loads(printed.splitlines()[-1])
    return found


def in_a_fresh_process(what: str, name: str, network: str) -> str:
    """What the task ``start``, ``record`` or ``profile`` prints; nothing where the framework is not installed."""
    command = _command(what, name, network)
    return subprocess.run(command, capture_output=True, text=True, env=_environment()).stdout


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.workers", *arguments]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS_", "MKL_", "ONEDNN_"))}


# What happens in the processes


def work(name: str) -> None:
    """The worker: answer each line, a case and seconds, on standard input with the milliseconds that one call took."""
    started = time.perf_counter()
    try:
        framework = FRAMEWORKS[name]()
    except ImportError:
        print(json.dumps(None), flush=True)
        return
    print(json.dumps(1e3 * (time.perf_counter() - started)), flush=True)
    known: dict[Case, Any] = {}
    for line in sys.stdin:
        *parts, seconds = json.loads(line)
        case = Case(*parts)
        if case not in known:
            known.clear()  # one network at a time
            known[case] = framework.work(case.kind, tuple(map(int, case.network.split("-"))), case.batch)
        function = known[case]
        print(json.dumps(None if function is None else median_time(function, seconds)), flush=True)


def median_time(function: Any, seconds: float) -> float:
    """Median milliseconds of one call, of as many calls as fit into ``seconds``, three at least."""
    times, stop = [], time.perf_counter() + seconds
    while len(times) < LEAST_CALLS or time.perf_counter() < stop:
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times)


def start(name: str, network: str) -> None:
    """Print what starting costs: milliseconds to import, milliseconds to the first step, peak memory in MB."""
    started = time.perf_counter()
    framework = FRAMEWORKS[name]()
    imported = time.perf_counter() - started
    started = time.perf_counter()
    step = framework.work("step", tuple(map(int, network.split("-"))), 128)
    assert step is not None
    step()
    first = time.perf_counter() - started
    for _ in range(MEMORY_STEPS):
        step()
    print(json.dumps([1e3 * imported, 1e3 * first, _peak_memory()]))


def _peak_memory() -> float:
    """The largest memory of this process so far, in MB.

    Linux counts in ``ru_maxrss`` also what the process that started this one took.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) / 1e3 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def record(name: str, network: str) -> None:
    """Print what recording costs: milliseconds of the first call, the second (which compares) and the next ten.

    Medians over fresh networks, after one that has loaded the code, and kernels that earlier processes have compiled.
    """
    framework, times = FRAMEWORKS[name](), []
    for _ in range(1 + RECORDINGS):
        step = framework.work("step", tuple(map(int, network.split("-"))), 128)
        assert step is not None
        clock = [time.perf_counter()]
        for _ in range(12):
            step()
            clock.append(time.perf_counter())
        times.append((clock[1] - clock[0], clock[2] - clock[1], clock[12] - clock[2]))
    print(json.dumps([1e3 * statistics.median(column) for column in zip(*times[1:])]))


def profile(name: str, network: str) -> None:
    """Print where the time of one compiled step goes, after some that warm up."""
    framework, sizes = FRAMEWORKS[name](), tuple(map(int, network.split("-")))
    step, arrays = framework.training(sizes), framework.convert(*inputs_of(sizes, 128))
    for _ in range(MEMORY_STEPS):
        step(*arrays)
    print(step.explain(*arrays))


def main(arguments: list[str] | None = None) -> None:
    """What a process was started for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers")
    parser.add_argument("task", choices=["work", *TASKS])
    parser.add_argument("name", choices=list(FRAMEWORKS))
    parser.add_argument("network", nargs="?")
    options = parser.parse_args(arguments)
    if options.task == "work":
        work(options.name)
    else:
        TASKS[options.task](options.name, options.network)


TASKS = {"start": start, "record": record, "profile": profile}
"""What is measured in fresh processes."""

if __name__ == "__main__":
    main()
