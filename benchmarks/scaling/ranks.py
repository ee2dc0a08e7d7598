"""The processes that measure training over ranks: ``mpiexec -n N python -m mpi4py -m benchmarks.scaling.ranks``.

The one argument is JSON: seconds for each measurement, sizes of messages in bytes, global batches by network, and
that of ``fit``. Rank 0 prints what was found as JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import tensorgrad as tg
from benchmarks.frameworks import TensorGrad
from benchmarks.recipes import inputs_of, recipe_of, sizes_of
from tensorgrad.distributed import Buckets, Communicator, current, global_batch, synchronise
from tensorgrad.training import fit

LEAST_CALLS, MOST_CALLS, WARM_UP, EPOCHS, LEAST_STEPS = 5, 500, 3, 4, 60


def medians(ranks: Communicator, function: Callable[[], object], seconds: float) -> tuple[float, float]:
    """Median seconds of a call on rank 0, and of the messages in it; all ranks make as many calls."""
    with ranks.patiently():  # as one of them may compile
        function()
    clock = time.perf_counter()
    for _ in range(WARM_UP):
        function()
    once = (time.perf_counter() - clock) / WARM_UP
    count = ranks.share(min(max(LEAST_CALLS, int(seconds / once)), MOST_CALLS))
    times, waits = [], []
    for _ in range(count):
        clock, waited = time.perf_counter(), ranks.seconds
        function()
        times.append(time.perf_counter() - clock)
        waits.append(ranks.seconds - waited)
    return statistics.median(times), statistics.median(waits)


def of_messages(ranks: Communicator, sizes: Sequence[int], seconds: float) -> list[tuple[int, float]]:
    """For each number of bytes the seconds in which a bucket of so many is filled and summed."""
    found = []
    for size in sizes:
        gradient = np.ones(size // 4, np.float32)
        buckets = Buckets(ranks, [gradient.shape], [gradient.dtype])
        found.append((size, medians(ranks, lambda: buckets.sum([gradient]), seconds)[0]))  # noqa: B023
    return found


def of_steps(ranks: Communicator, network: str, batches: Sequence[int], seconds: float) -> list[list[float]]:
    """For each global batch: it, the seconds of a step, of its messages, and of the optimiser's update alone."""
    framework, sizes = TensorGrad(compiled=True, fast=True), sizes_of(network)
    recipe = recipe_of(sizes)
    model = framework.model(sizes, recipe)
    optimiser = framework.optimiser(model, recipe)
    update = medians(ranks, _prepared_update(optimiser), seconds / 3)[0]
    synchronise(optimiser)
    compute = tg.compile(_gradients_of(model, optimiser), pure=True)
    found = []
    for batch in batches:
        inputs, labels = inputs_of(sizes, batch)
        with global_batch(batch) as mine:
            arrays = inputs[mine].copy(), labels[mine].copy()

            def step() -> None:
                compute(*arrays)  # noqa: B023
                optimiser.step()

            found.append([batch, *medians(ranks, step, seconds), update])
    return found


def of_fit(network: str, batch: int, seconds: float, step: float) -> float:
    """Seconds of a step in ``fit``, by the quickest of some epochs that take so long together; ``step`` is a guess.

    Epochs have as many steps as those of the smallest set of images, at least, as weights are compared after each.
    """
    framework, sizes = TensorGrad(compiled=True, fast=True), sizes_of(network)
    recipe, count = recipe_of(sizes), max(LEAST_STEPS, min(100, int(seconds / step / EPOCHS)))
    model, rows = framework.model(sizes, recipe), []
    given = {"batch_size": batch, "rng": np.random.default_rng(0), "quiet": True, "on_epoch": rows.append}
    fit(model, inputs_of(sizes, count * batch), None, framework.optimiser(model, recipe), epochs=1 + EPOCHS, **given)
    return min(row.seconds for row in rows[1:]) / count


def _gradients_of(model: Any, optimiser: Any) -> Callable[..., Any]:
    def compute(inputs: Any, labels: Any) -> Any:
        optimiser.zero_grad()
        loss = tg.softmax_cross_entropy(model(inputs), labels) + model.penalty()
        loss.backward()
        return loss

    return compute


def _prepared_update(optimiser: Any) -> Callable[[], None]:
    for parameter in optimiser.parameters:
        parameter.grad = np.full(parameter.shape, 1e-3, parameter.dtype)
    update: Callable[[], None] = optimiser.step
    return update


def adding_rate() -> float:
    """Bytes a second that one core adds up, of arrays beyond its caches."""
    one, other = np.ones(2**23, np.float32), np.ones(2**23, np.float32)
    times = []
    for _ in range(9):
        started = time.perf_counter()
        np.add(one, other, out=one)
        times.append(time.perf_counter() - started)
    return one.nbytes / statistics.median(times)


def main(argument: str) -> None:
    """Measure, and print on rank 0."""
    wanted, ranks = json.loads(argument), current()
    found: dict[str, Any] = {
        "messages": of_messages(ranks, wanted["sizes"], wanted["seconds"] / 4),
        "steps": {name: of_steps(ranks, name, batches, wanted["seconds"]) for name, batches in wanted["cases"].items()},
    }
    found["fit"] = {
        name: of_fit(name, wanted["batch"], wanted["seconds"], ranks.share(rows[0][1]))
        for name, rows in found["steps"].items()
    }
    if ranks.size == 1:
        found["adding"] = adding_rate()
    if ranks.is_first:
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
