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
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import Case
from benchmarks.frameworks import FRAMEWORKS
from benchmarks.recipes import OPTIMISERS, RUNS, inputs_of, is_of_images, recipe_of, sizes_of

LEAST_CALLS = 3
MEMORY_STEPS = 20
RECORDINGS = 9
SETTLING = 3
"""Calls after the second until what is compiled is."""

BATCH = 128
FIT_STEPS, FIT_EPOCHS = 100, 6


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


def in_fresh_processes(what: str, names: Iterable[str], network: str, given: str = "") -> dict[str, list[float]]:
    """The numbers that a task such as ``start`` prints, by framework, of those that are installed."""
    found = {}
    for name in names:
        printed = in_a_fresh_process(what, name, network, given)
        if printed:
            found[name] = json.loads(printed.splitlines()[-1])
    return found


def in_a_fresh_process(what: str, name: str, network: str, given: str = "", threads: int | None = None) -> str:
    """What one of the ``TASKS`` prints, given some input; nothing where the framework cannot, and why not on stderr.

    ``threads`` are those of matrix products; None: as many as the library takes.
    """
    environment = _environment()
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = _command(what, name, network)
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=environment)
    if done.returncode:
        print(f"{name}: {(done.stderr.splitlines() or ['ended'])[-1]}", file=sys.stderr, flush=True)
        return ""
    return done.stdout


def a_whole_run(name: str, network: str, examples: Path, epochs: int) -> dict[str, Any] | None:
    """What a training in a process of its own took and gave, see :class:`Watching`; None where it cannot be done."""
    printed = in_a_fresh_process("run", name, network, json.dumps([str(examples), epochs, time.time()]))
    return json.loads(printed.splitlines()[-1]) if printed else None


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
            known[case] = framework.work(case.kind, sizes_of(case.network), case.batch)
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
    step = framework.work("step", sizes_of(network), 128)
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
    """Print what recording costs: milliseconds of the first call, the second (which compares) and ten settled ones.

    Medians over fresh networks, after one that has loaded the code, and kernels that earlier processes have compiled.
    """
    framework, times = FRAMEWORKS[name](), []
    for _ in range(1 + RECORDINGS):
        step = framework.work("step", sizes_of(network), 128)
        assert step is not None
        clock = [time.perf_counter()]
        for _ in range(2 + SETTLING + 10):
            step()
            clock.append(time.perf_counter())
        times.append((clock[1] - clock[0], clock[2] - clock[1], clock[-1] - clock[-11]))
    print(json.dumps([1e3 * statistics.median(column) for column in zip(*times[1:])]))


def profile(name: str, network: str) -> None:
    """Print where the time of one compiled step goes, after some that warm up."""
    framework, sizes = FRAMEWORKS[name](), sizes_of(network)
    step, arrays = framework.prepared(sizes, recipe_of(sizes))[0], framework.convert(*inputs_of(sizes, 128))
    for _ in range(MEMORY_STEPS):
        step(*arrays)
    print(step.explain(*arrays))


class Watching:
    """What a whole training takes and gives: :class:`benchmarks.frameworks.Watch`.

    Attributes
    ----------
    epochs
        Seconds that the steps of each epoch took.
    ends, accuracies
        For each epoch the seconds from the start of the process until the test after it, and its accuracy.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, started: float) -> None:
        self._images, self._labels, self._started = images, labels, started
        self.epochs: list[float] = []
        self.ends: list[float] = []
        self.accuracies: list[float] = []

    @contextmanager
    def epoch(self) -> Iterator[None]:
        """Around the steps of an epoch."""
        started = time.perf_counter()
        yield
        self.took(time.perf_counter() - started)

    def took(self, seconds: float) -> None:
        """The steps of an epoch took so long."""
        self.epochs.append(seconds)

    def test(self, infer: Callable[[Any], Any]) -> None:
        """Classify the test images, a thousand at a time."""
        parts = [self._images[start : start + 1000] for start in range(0, len(self._images), 1000)]
        found = np.concatenate([np.argmax(np.asarray(infer(part)), axis=1) for part in parts])
        self.accuracies.append(float(np.mean(found == self._labels)))
        self.ends.append(time.time() - self._started)


def run(name: str, network: str) -> None:
    """Train a network to the end on the examples that standard input names, and print what it took and gave."""
    path, epochs, started = json.loads(sys.stdin.read())
    framework, sizes = FRAMEWORKS[name](), sizes_of(network)
    if is_of_images(sizes) and not framework.has_convolution:
        return
    train, test = (_examples_of(path, part, sizes) for part in ("train", "test"))
    steps, watch = epochs * -(-len(train[1]) // BATCH), Watching(*test, started)
    framework.train(sizes, RUNS[network].recipe._replace(steps=steps), train, epochs, BATCH, watch)
    print(
        json.dumps(
            {"epochs": watch.epochs, "ends": watch.ends, "accuracies": watch.accuracies, "memory": _peak_memory()}
        )
    )


def _examples_of(
    path: str, part: str, sizes: tuple[Any, ...], count: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Standardised images in the shape that the network takes, and labels, of ``count`` examples of all classes."""
    with np.load(path) as arrays:
        images, labels = (arrays[f"{part}_{what}"] for what in ("images", "labels"))
        if count is not None:
            chosen = np.random.default_rng(0).permutation(len(labels))[:count]
            images, labels = images[chosen], labels[chosen]
        images, labels = images.astype(np.float32), labels.astype(np.int64)
        images -= arrays["mean"]
        images /= arrays["deviation"]
    return images.reshape(len(images), *(sizes[0] if is_of_images(sizes) else sizes[:1])), labels


def fit(name: str, network: str) -> None:
    """Print the milliseconds of a step in tensorgrad's ``fit``, and of the compiled step alone, on the same examples.

    Medians of epochs, after each of which as many steps are done alone.
    """
    from tensorgrad import training

    framework: Any = FRAMEWORKS[name]()
    sizes, recipe = sizes_of(network), RUNS[network].recipe
    inputs, labels = _examples_of(json.loads(sys.stdin.read()), "train", sizes, BATCH * FIT_STEPS)
    step, model = framework.prepared(sizes, recipe)[0], framework.model(sizes, recipe)
    batches = [(inputs[i : i + BATCH], labels[i : i + BATCH]) for i in range(0, len(labels), BATCH)]
    alone, within = [], []

    def do_alone(row: Any) -> None:
        started = time.perf_counter()
        for batch in batches:
            step(*batch).item()
        alone.append(time.perf_counter() - started)
        within.append(row.seconds)

    settings = {"batch_size": BATCH, "rng": np.random.default_rng(0), "quiet": True}
    optimiser = framework.optimiser(model, recipe)
    training.fit(model, (inputs, labels), None, optimiser, epochs=FIT_EPOCHS, on_epoch=do_alone, **settings)
    print(json.dumps([1e3 * statistics.median(times[1:]) / len(batches) for times in (within, alone)]))


def optimise(name: str, network: str) -> None:
    """Train with an optimiser that standard input names, and print the milliseconds of the steps of each epoch.

    Medians of the processor's time, which other work of the machine changes little; also how many numbers of weights
    and state are subnormal in the end, of how many, and the last loss.
    """
    from tensorgrad import optim, training

    path, kind, decay, epochs, steps, batch = json.loads(sys.stdin.read())
    framework: Any = FRAMEWORKS[name]()
    sizes, recipe = sizes_of(network), RUNS[network].recipe
    inputs, labels = _examples_of(path, "train", sizes, steps * batch)
    model = framework.model(sizes, recipe)
    of_library, settings = OPTIMISERS[kind]
    optimiser = getattr(optim, of_library)(model.parameters(), weight_decay=decay, **settings)
    ends: list[float] = []

    class Clock(training.Callback):
        """Notes when steps end."""

        def on_step_end(self, run: training.Run, loss: float) -> None:
            ends.append(time.process_time())

    given: dict[str, Any] = {"batch_size": batch, "rng": np.random.default_rng(0), "callbacks": [Clock()]}
    history = training.fit(model, (inputs, labels), None, optimiser, epochs=epochs, quiet=True, **given)
    took = np.diff(np.reshape(ends, (epochs, -1)))
    tensors = [*model.parameters(), *(tensor for state in optimiser.state.values() for tensor in state)]
    found = {
        "steps": (1e3 * np.median(took, axis=1)).tolist(),
        "loss": history[-1].loss,
        "subnormal": sum(subnormal(tensor.data) for tensor in tensors),
        "numbers": sum(tensor.size for tensor in tensors),
    }
    print(json.dumps(found))


def subnormal(array: np.ndarray) -> int:
    """How many numbers of an array are subnormal."""
    return int(np.count_nonzero((array != 0) & (np.abs(array) < np.finfo(array.dtype).tiny)))


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


TASKS = {"start": start, "record": record, "profile": profile, "run": run, "fit": fit, "optimise": optimise}
"""What is measured in fresh processes."""

if __name__ == "__main__":
    main()
