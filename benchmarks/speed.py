"""Time the same work in every framework side by side: python -m benchmarks.speed.

Each framework runs in a process of its own. A round times one case in all of them, one after the other, so that a
machine that slows down slows all; the ratio is taken within the round, and medians over the rounds are shown.
Every library picks the kernels for this processor by itself: settings in the environment that tell it which are not
passed on.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.frameworks import FRAMEWORKS, NETWORKS, inputs_of

REFERENCE, JAX = "PyTorch", "JAX, jit"
OURS = "tensorgrad, compiled, numba"
BATCHES = (1, 32, 128, 1024)
LEAST_CALLS = 3
MEMORY_STEPS = 20
RECORDINGS = 9


class Case(NamedTuple):
    """A piece of work: its kind, the network and the batch size."""

    kind: str
    network: str = "64-32-10"
    batch: int = 128

    def __str__(self) -> str:
        if self.kind == "chain":
            return "chain of 1,000 ops"
        return f"{self.kind} {self.network}, batch {self.batch:,}"


STEPS = [Case("step", network) for network in NETWORKS]
CASES = [
    *STEPS,
    *(Case("step", network, batch) for network in NETWORKS for batch in BATCHES if batch != 128),
    *(Case("inference", network, batch) for network in NETWORKS for batch in (1, 1000)),
    Case("epoch", "784-512-10"),
    Case("chain"),
]
SCALING = {
    "batch": [Case("step", "784-512-10", batch) for batch in (64, 128, 256, 512, 1024, 2048)],
    "width": [Case("step", f"512-{width}-10") for width in (128, 256, 512, 1024, 2048)],
    "depth": [Case("step", "-".join(["512"] * (depth + 1)) + "-10") for depth in (1, 2, 4, 6, 8)],
}
"""For the picture that shows how cost grows."""


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


class Worker:
    """A framework in its own process."""

    def __init__(self, name: str) -> None:
        self.process = subprocess.Popen(
            _command("--worker", name),
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


Results = dict[Case, dict[str, list[float]]]


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


def table(results: Results) -> str:
    """Median milliseconds and, where the reference took part, the median of its time divided by this one's."""
    lines = [f"| | {' | '.join(map(str, results))} |", f"|---|{'---|' * len(results)}"]
    for name in FRAMEWORKS:
        cells = []
        for of_case in results.values():
            if name not in of_case:
                cells.append("")
                continue
            cell = _short(statistics.median(of_case[name]))
            if REFERENCE in of_case and name != REFERENCE:
                cell += f" ({ratio(of_case, name):.2f}x)"
            cells.append(cell)
        if any(cells):
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ratio(of_case: dict[str, list[float]], name: str, reference: str = REFERENCE) -> float:
    """How many times quicker than the reference: median over the rounds."""
    return statistics.median(theirs / ours for theirs, ours in zip(of_case[reference], of_case[name]))


def against(reference: str, results: Results) -> str:
    """A sentence with the speed of the compiled step relative to that of another framework; nothing without it."""
    ratios = [
        f"{case.network} {ratio(results[case], OURS, reference):.2f}"
        for case in STEPS
        if {reference, OURS} <= results.get(case, {}).keys()
    ]
    return f"Steps of {OURS}, relative to {reference}: {', '.join(ratios)}" if ratios else ""


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.3f} ms" if milliseconds < 1 else f"{milliseconds:.2f} ms"


def in_fresh_processes(what: str, names: Iterable[str], network: str) -> dict[str, list[float]]:
    """The numbers that :func:`start` or :func:`record` prints, by framework, of those that are installed."""
    found = {}
    for name in names:
        printed = in_a_fresh_process(what, name, network)
        if printed:
            found[name] = json.loads(printed.splitlines()[-1])
    return found


def in_a_fresh_process(what: str, name: str, network: str) -> str:
    """What :func:`start`, :func:`record` or :func:`profile` prints; nothing where the framework is not installed."""
    command = _command(what, name, "--network", network)
    return subprocess.run(command, capture_output=True, text=True, env=_environment()).stdout


def table_of_starts(found: dict[str, dict[str, list[float]]]) -> str:
    """Import time, then first step and peak memory for each network."""
    networks = list(found)
    columns = [f"{what} {network}" for network in networks for what in ("first step", "peak memory")]
    lines = [f"| | import | {' | '.join(columns)} |", f"|---|{'---|' * (len(columns) + 1)}"]
    for name in found[networks[0]]:
        cells = [f"{found[networks[0]][name][0]:,.0f} ms"]
        for network in networks:
            first, peak = found[network].get(name, [float("nan")] * 3)[1:]
            cells += [f"{first:,.0f} ms", f"{peak:,.0f} MB"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table_of_recordings(found: dict[str, dict[str, list[float]]]) -> str:
    """First, second and next ten steps for each network."""
    networks = list(found)
    columns = [f"{network}: {what}" for network in networks for what in ("step 1", "step 2", "steps 3 to 12")]
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name in found[networks[0]]:
        cells = [_short(milliseconds) for network in networks for milliseconds in found[network][name]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(results: Results, path: Path) -> None:
    """Bars of the speed relative to the reference, a panel for each training step at batch 128."""
    from tensorgrad.report.figure import saved_figure

    cases = [case for case in STEPS if case in results and REFERENCE in results[case]]
    with saved_figure(path, 12, 4.2) as drawing:
        for axes, case in zip(drawing.subplots(1, len(cases), squeeze=False)[0], cases):
            names = [name for name in FRAMEWORKS if name in results[case]][::-1]
            speeds = [ratio(results[case], name) for name in names]
            colours = ["#c44e52" if name.startswith("tensorgrad") else "#8c9bab" for name in names]
            bars = axes.barh(names, speeds, color=colours)
            axes.bar_label(bars, [f"{speed:.2f}" for speed in speeds], padding=3, fontsize=8)
            axes.set_title(case.network, fontsize=10)
            axes.set_xlim(0, 1.18 * max(speeds))
            axes.axvline(1, color="black", linewidth=0.6)
            axes.tick_params(labelsize=8, labelleft=case is cases[0])
            axes.set_xlabel(f"steps per second, {REFERENCE} = 1", fontsize=8)


def draw_scaling(results: Results, path: Path) -> None:
    """Lines of the time of a step against batch size, width and depth."""
    from tensorgrad.report.figure import saved_figure

    with saved_figure(path, 12, 3.8) as drawing:
        for axes, (what, cases) in zip(drawing.subplots(1, len(SCALING)), SCALING.items()):
            values = {
                "batch": [case.batch for case in cases],
                "width": [int(case.network.split("-")[1]) for case in cases],
                "depth": [case.network.count("-") for case in cases],
            }[what]
            for name in results[cases[0]]:
                times = [statistics.median(results[case][name]) for case in cases]
                axes.plot(values, times, marker="o", label=name, color="#c44e52" if name == OURS else "#8c9bab")
            axes.set_xlabel({"batch": "batch size", "width": "width of the hidden layer", "depth": "layers"}[what])
            axes.set_xlim(0), axes.set_ylim(0)
            axes.grid(alpha=0.3)
        drawing.axes[0].set_ylabel("ms a step")
        drawing.axes[0].legend(fontsize=8)


def machine() -> str:
    """Date, processor and versions."""
    versions = []
    for library in ("numpy", "numba", "torch", "jax", "scikit-learn", "autograd", "mygrad"):
        try:
            versions.append(f"{library} {importlib.metadata.version(library)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{library} not installed")
    cpus = f"{os.cpu_count()} CPUs, {platform.machine()}"
    return f"{datetime.date.today()}, {cpus}, Python {platform.python_version()}, {', '.join(versions)}"


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.speed", *arguments]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("OPENBLAS_", "MKL_", "ONEDNN_"))}


def main(arguments: list[str] | None = None) -> None:
    """Parse the options, run, print the tables and draw the pictures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="times that every case is measured (7)")
    parser.add_argument("--seconds", type=float, default=0.3, metavar="X", help="per case, framework and round (0.3)")
    parser.add_argument("--steps", action="store_true", help="the training steps at batch 128 only")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), metavar="DIR", help="for tables, pictures")
    parser.add_argument("--only", nargs="+", choices=list(FRAMEWORKS), metavar="NAME", help="these frameworks only")
    parser.add_argument("--worker", choices=list(FRAMEWORKS), help=argparse.SUPPRESS)
    parser.add_argument("--start", choices=list(FRAMEWORKS), help=argparse.SUPPRESS)
    parser.add_argument("--record", choices=list(FRAMEWORKS), help=argparse.SUPPRESS)
    parser.add_argument("--profile", choices=list(FRAMEWORKS), help=argparse.SUPPRESS)
    parser.add_argument("--network", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        return work(options.worker)
    if options.start:
        return start(options.start, options.network)
    if options.record:
        return record(options.record, options.network)
    if options.profile:
        return profile(options.profile, options.network)
    names = options.only or list(FRAMEWORKS)
    options.out.mkdir(parents=True, exist_ok=True)
    results = compare(STEPS if options.steps else CASES, names, options.rounds, options.seconds)
    parts = [machine(), "float32, dropout, L2, softmax cross-entropy, Adam; in brackets: speed relative to PyTorch"]
    for group in _groups(results):
        parts.append(table(group))
    parts.append(against(JAX, results))
    if not options.steps:
        scaling = [case for cases in SCALING.values() for case in cases]
        found = compare(scaling, [name for name in (OURS, REFERENCE) if name in names], 3, options.seconds)
        parts.append(table_of_starts({network: in_fresh_processes("--start", names, network) for network in NETWORKS}))
        ours = [name for name in names if name.startswith("tensorgrad")]
        if ours:
            parts.append(
                table_of_recordings({network: in_fresh_processes("--record", ours, network) for network in NETWORKS})
            )
        if OURS in names:
            steps = in_a_fresh_process("--profile", OURS, STEPS[0].network).rstrip()
            parts.append(f"One step of {OURS}, {STEPS[0].network}, as `explain` shows it:\n\n```\n{steps}\n```")
        if all(found[case] for case in scaling):
            draw_scaling(found, options.out / "scaling.png")
    from tensorgrad._atomic import replacing  # not in the workers, which time the import

    text = "\n\n".join(part for part in parts if part)
    with replacing(options.out / "benchmark.md") as temporary:
        temporary.write_text(text + "\n")
    print(text)
    if REFERENCE in results[STEPS[0]]:
        draw(results, options.out / "benchmark.png")
    print(f"\ntables and pictures in {options.out}")
    return None


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
    main()
