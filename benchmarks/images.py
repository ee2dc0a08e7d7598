"""A small convolutional network beside PyTorch: ``python -m benchmarks.images``.

Conv 16 - pool - conv 32 - pool - 64 - 10 on images of 28 x 28, with 3 x 3 kernels, ReLU and Adam: milliseconds of a
training step, and of inference, each way in its own process, one after the other, round by round.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from statistics import median

import numpy as np

WAYS = ("pytorch", "tensorgrad compiled, numba", "tensorgrad compiled, numpy", "tensorgrad eager, numpy")
SECONDS = 1.5
"""For which each piece of work is repeated."""


def pytorch(x, y, threads):
    """A training step and inference."""
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU(), nn.Linear(64, 10)),
    )
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)

    def step():
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimiser.step()
        return loss.item()

    def infer():
        with torch.inference_mode():
            return model(inputs)

    return step, infer


def tensorgrad(x, y, compiled, fast):
    """The same."""
    import tensorgrad as tg
    from tensorgrad import nn

    rng = np.random.default_rng(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, rng, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, rng, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dense(32 * 7 * 7, 64, rng), nn.ReLU(), nn.Dense(64, 10, rng)),
    )
    optimiser = tg.optim.Adam(model.parameters(), 1e-3)

    def step(x, y):
        optimiser.zero_grad()
        loss = tg.softmax_cross_entropy(model(x), y)
        loss.backward()
        optimiser.step()
        return loss.detach()

    def infer(x):
        with tg.no_grad():
            return model(x)

    if compiled:
        step, infer = (tg.compile(function, fast=fast, pure=True) for function in (step, infer))
    return lambda: step(x, y).item(), lambda: infer(x)


def milliseconds(work):
    """The quickest run."""
    for _ in range(3):
        work()
    taken, end = [], time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return 1e3 * min(taken)


def measured(way, threads, batch, examples):
    """Milliseconds of a step, and of inference of ``examples`` images."""
    rng = np.random.default_rng(0)
    x, y = rng.random((max(batch, examples), 1, 28, 28), np.float32), rng.integers(0, 10, max(batch, examples))

    def prepared(count):
        arrays = x[:count], y[:count]
        if way == "pytorch":
            return pytorch(*arrays, threads)
        return tensorgrad(*arrays, "compiled" in way, "numba" in way)

    return milliseconds(prepared(batch)[0]), milliseconds(prepared(examples)[1])


def main():
    """Time every way in rounds, and print medians and ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.images", description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=128, help="images of a training step (default: 128)")
    parser.add_argument("--examples", type=int, default=1000, help="images of inference (default: 1000)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of matrix products (default: all cores)")
    parser.add_argument("--rounds", type=int, default=3, help="times that each way is timed (default: 3)")
    parser.add_argument("--way", choices=WAYS, help="time this alone, in this process, and print JSON")
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measured(args.way, args.threads, args.batch, args.examples)))
        return
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(args.threads))}
    sizes = ["--batch", str(args.batch), "--examples", str(args.examples), "--threads", str(args.threads)]
    rounds = []
    for _ in range(args.rounds):
        commands = [[sys.executable, "-m", "benchmarks.images", *sizes, "--way", way] for way in WAYS]
        outputs = [subprocess.run(c, env=environment, check=True, capture_output=True).stdout for c in commands]
        rounds.append([json.loads(output) for output in outputs])
    print(f"ms, and PyTorch's time / ours; {args.threads} thread(s), medians of {args.rounds} rounds\n")
    print(f"{'':30}step, batch {args.batch:<12,}inference, {args.examples:,} images")
    for position, way in enumerate(WAYS):
        cells = []
        for kind in (0, 1):
            taken = median(times[position][kind] for times in rounds)
            ratio = median(times[0][kind] / times[position][kind] for times in rounds)
            cells.append(f"{taken:8.2f} ({ratio:.2f})")
        print(f"{way:30}{cells[0]:24}{cells[1]}")


if __name__ == "__main__":
    main()
