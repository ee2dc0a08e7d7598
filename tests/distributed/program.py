"""What the tests start by mpiexec: a small training whose ranks can be told to fail.

``python program.py OUTPUT [--ranks-fail HOW] [--folder FOLDER] [--pause SECONDS] [--deterministic]``: rank 0 writes the
parameters in the end.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import tensorgrad as tg
from tensorgrad.distributed import current
from tensorgrad.training import Callback, RandomStreams, fit


def network(streams, dtype):
    """A small CNN with batch normalisation and dropout."""
    rng = streams.weights
    return tg.nn.Sequential(
        tg.nn.Conv2d(1, 4, 3, rng=rng, dtype=dtype),
        tg.nn.BatchNorm2d(4, dtype=dtype),
        tg.relu,
        tg.nn.Dropout(0.2, streams.dropout),
        tg.nn.Flatten(),
        tg.nn.Dense(144, 8, rng=rng, dtype=dtype),
        tg.nn.BatchNorm1d(8, dtype=dtype),
        np.tanh,
        tg.nn.Dense(8, 5, rng=rng, dtype=dtype),
    )


class Trouble(Callback):
    """Pauses after each step, saves, and has rank 1 raise or hang in the 20th."""

    def __init__(self, how, pause):
        self.how, self.pause = how, pause

    def on_step_end(self, run, loss):
        time.sleep(self.pause)
        if self.pause and run.step % 5 == 0:
            run.session.save()
        if run.step == 20 and (self.how == "all" or (self.how and current().rank == 1)):
            if self.how == "hang":
                time.sleep(60)
            raise ValueError("cannot read image 7")


def main():
    """Train, and write what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("--fail", default="")
    parser.add_argument("--folder")
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--deterministic", action="store_true")
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 210)
    images = (rng.standard_normal((210, 1, 8, 8)) + labels.reshape(-1, 1, 1, 1)).astype(given.dtype)
    streams = RandomStreams.from_seed(0)
    model = network(streams, given.dtype)
    sgd = tg.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    history = fit(
        model,
        (images[:165], labels[:165]),
        (images[165:], labels[165:]),
        sgd,
        epochs=17,
        batch_size=32,
        rng=streams,
        folder=given.folder,
        resume="auto" if given.folder else False,
        callbacks=[Trouble(given.fail, given.pause)],
        deterministic=given.deterministic,
    )
    if current().is_first:
        arrays = {name: tensor.data for name, tensor in model.named_tensors()}
        losses = np.array([[row.loss, row.validation_loss] for row in history])
        np.savez(given.output, losses=losses, steps=np.array(sgd.steps), **arrays)


if __name__ == "__main__":
    main()
