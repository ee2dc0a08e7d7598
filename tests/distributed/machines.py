"""What the tests start by mpiexec: sums over ranks of several machines, for which this one stands in.

``python machines.py RANKS_OF_EACH [--deterministic] [--shared FOLDER] [--killed-early] [--little]``: each rank prints
how it adds up, once it has compared the sums; twice, where there is memory for one training after the other.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
from functools import cached_property
from pathlib import Path

import numpy as np

import tensorgrad as tg
from tensorgrad.distributed import Buckets, current, mpi, reduction

SHAPES = [(3,), (1025,), (70, 40), (), (0, 3)]
DTYPES = [np.float32, np.float64, np.float16, np.complex128, np.float32]


def be_several_machines(each):
    """Let successive ranks, so many each, be those of a machine; the last one has those that are left."""
    node = cached_property(lambda rank: rank._ranks.Split(rank.rank // each, rank.rank))
    node.__set_name__(mpi.MPICommunicator, "_node")
    mpi.MPICommunicator._node = node


def have_memory_once(file, start, count):
    """There is no more while this process has some."""
    if "/tensorgrad-" in Path("/proc/self/maps").read_text():
        raise OSError(errno.ENOSPC, "no space left")
    os.truncate(file, start + count)


def main():
    """Compare sums with those of NumPy; of small integers, so that their order does not count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("each", type=int)
    parser.add_argument("--deterministic", action="store_true")
    parser.add_argument("--shared", type=Path)
    parser.add_argument("--killed-early", action="store_true")
    parser.add_argument("--little", action="store_true")
    given = parser.parse_args()
    be_several_machines(given.each)
    if given.shared:
        reduction.SHARED = given.shared
    if given.killed_early:
        os.posix_fallocate = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    if given.little:
        os.posix_fallocate = have_memory_once
        for _ in range(2):
            optimiser = tg.optim.SGD(tg.nn.Dense(2, 2).parameters())
            tg.distributed.synchronise(optimiser)
            print(f"<{type(optimiser.before_step._sums._buckets._reduction).__name__}>", flush=True)
        return
    ranks, rng = current(), np.random.default_rng(0)
    ranks.is_deterministic = given.deterministic
    buckets = Buckets(ranks, SHAPES, DTYPES, limit=4096)
    for _ in range(5):
        drawn = [[rng.integers(-9, 9, s).astype(d) for s, d in zip(SHAPES, DTYPES)] for _ in range(ranks.size)]
        for i, total in enumerate(buckets.sum(drawn[ranks.rank])):
            np.testing.assert_array_equal(total, sum(arrays[i] for arrays in drawn))
    print(f"<{type(buckets._reduction).__name__}>", flush=True)


if __name__ == "__main__":
    main()
