"""What this library's speed is to be, and what it is: python -m benchmarks.bars [--data-dir DIR] [--runs FILE].

Each bar with its measured value: medians of interleaved rounds, each framework in a process of its own. Those of whole
trainings are taken from the figures that ``python -m benchmarks.runs`` has written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.cases import Case
from benchmarks.frameworks import FLUSHING, JAX, OURS, OURS_ON_NUMPY, REFERENCE
from benchmarks.recipes import CNN
from benchmarks.runs import examples_of, read_runs
from benchmarks.speed import compare, machine
from benchmarks.tables import Results, Runs, of_network, ratio, slowdown, total_ratio
from benchmarks.workers import in_fresh_processes
from tensorgrad.runner.arguments import Parser, not_negative, path, whole
from tensorgrad.runner.errors import reported_errors

EAGER, PRODUCTS = "tensorgrad", "matrix products only"
DIGITS, COLOURS, SMALL = "784-512-10", "2352-2048-512-10", "64-32-10"


class Bar(NamedTuple):
    """What is measured, the number to be reached, and whether that is the least or the most."""

    what: str
    bar: float
    is_least: bool
    value: float | None

    def __str__(self) -> str:
        sign = "at least" if self.is_least else "at most"
        if self.value is None:
            return f"| {self.what} | {sign} {self.bar:g} | | not measured |"
        reached = self.value >= self.bar if self.is_least else self.value <= self.bar
        return f"| {self.what} | {sign} {self.bar:g} | {self.value:.3g} | {'yes' if reached else 'no'} |"


class Ratio(NamedTuple):
    """Of two frameworks in one piece of work: their time divided by ours."""

    case: Case
    theirs: str
    ours: str
    bar: float

    def measured(self, results: Results) -> Bar:
        """With the median over the rounds."""
        of_case = results.get(self.case, {})
        is_known = {self.theirs, self.ours} <= of_case.keys()
        value = ratio(of_case, self.ours, self.theirs) if is_known else None
        return Bar(f"{self.case}: {self.theirs} / {self.ours}", self.bar, True, value)


RATIOS = [
    Ratio(Case("step", CNN), REFERENCE, OURS, 1.0),
    Ratio(Case("step", CNN), JAX, OURS, 2.5),
    Ratio(Case("step", CNN), REFERENCE, OURS_ON_NUMPY, 0.5),
    Ratio(Case("inference", CNN, 1000), REFERENCE, OURS, 0.8),
    Ratio(Case("inference", CNN, 1), REFERENCE, OURS, 1.0),
    *(Ratio(Case("step", DIGITS, batch), REFERENCE, OURS, 1.0) for batch in (1, 8)),
]
PLAIN_STEP = Case("step", SMALL)
PRODUCTS_STEP = Case("step", DIGITS)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print the table; the exit code is 2 where data or figures cannot be read."""
    parser = Parser(prog="python -m benchmarks.bars", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--data-dir", type=path, metavar="DIR", help="holds mnist/ (default: downloaded)")
    add("--runs", type=path, metavar="FILE", help="figures of whole trainings (default: none)")
    add("--rounds", type=whole(1), default=5, metavar="N", help="times that everything is measured (5)")
    add("--seconds", type=not_negative, default=0.5, metavar="X", help="per case, framework and round (0.5)")
    options = parser.parse_args(arguments)
    with reported_errors("benchmarks.bars"):
        bars = [] if options.runs is None else list(of_runs(read_runs(options.runs)))
        bars += of_steps(options.rounds, options.seconds)
        bars += of_calls(options.rounds)
        with tempfile.TemporaryDirectory() as folder:
            given = f'"{examples_of(DIGITS, options.data_dir, Path(folder))}"'
            bars.append(of_fit(given, options.rounds))
    print(machine(), "| | bar | measured | reached |\n|---|---|---|---|", sep="\n\n")
    print(*bars, sep="\n")
    return 0


def of_runs(runs: Runs) -> Iterable[Bar]:
    """Of whole trainings."""
    for network in dict.fromkeys(run["network"] for run in runs):
        for name in (OURS, OURS_ON_NUMPY):
            found = of_network(network, runs).get(name)
            value = median(map(slowdown, found)) if found else None
            yield Bar(f"{network}, {name}: last epoch / first after compilation", 1.05, False, value)
    digits, colours = of_network(DIGITS, runs), of_network(COLOURS, runs)
    accuracy = median(run["accuracies"][-1] for run in digits[OURS]) if OURS in digits else None
    yield Bar(f"{DIGITS}, {OURS}: test accuracy", 0.985, True, accuracy)
    wanted = [(DIGITS, digits, JAX, 1.3), (DIGITS, digits, FLUSHING, 1.8), (DIGITS, digits, REFERENCE, 10.0)]
    wanted += [(COLOURS, colours, JAX, 1.1), (COLOURS, colours, REFERENCE, 2.0)]
    for network, found, theirs, bar in wanted:
        ratio_of_totals = total_ratio(found, theirs) if {theirs, OURS} <= found.keys() else None
        yield Bar(f"{network}, whole training: {theirs} / {OURS}", bar, True, ratio_of_totals)


def of_steps(rounds: int, seconds: float) -> list[Bar]:
    """Of single steps and inferences, and of a step compared with its matrix products."""
    names = [OURS, OURS_ON_NUMPY, REFERENCE, JAX]
    results = compare(dict.fromkeys(wanted.case for wanted in RATIOS), names, rounds, seconds)
    results.update(compare([PRODUCTS_STEP], [OURS, PRODUCTS], rounds, seconds))
    bars = [wanted.measured(results) for wanted in RATIOS]
    products = results[PRODUCTS_STEP]
    value = ratio(products, PRODUCTS, OURS) if OURS in products else None
    return [*bars, Bar(f"{PRODUCTS_STEP}: {OURS} / {PRODUCTS}", 1.5, False, value)]


def of_calls(rounds: int) -> list[Bar]:
    """Of the first two calls of a compiled function, in plain steps."""
    bars = []
    for name in (OURS, OURS_ON_NUMPY):
        counts = []
        for _ in range(rounds):
            found = in_fresh_processes("record", [name, EAGER], SMALL)
            if name in found:
                counts.append((found[name][0] + found[name][1]) / (found[EAGER][2] / 10))
        value = median(counts) if counts else None
        bars.append(Bar(f"{SMALL}: first and second call of {name}, in plain steps", 10, False, value))
    return bars


def of_fit(given: str, rounds: int) -> Bar:
    """Of ``fit`` on the digits compared with the compiled step alone."""
    counts = [found[OURS] for _ in range(rounds) if OURS in (found := in_fresh_processes("fit", [OURS], DIGITS, given))]
    value = median(within / alone for within, alone in counts) if counts else None
    return Bar(f"{DIGITS}: a step in fit / the compiled step alone", 1.1, False, value)


if __name__ == "__main__":
    raise SystemExit(main())
