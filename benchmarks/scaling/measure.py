"""What this machine takes for training over ranks: steps of one, two and four processes, and their messages."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from tensorgrad.distributed import blas
from tensorgrad.runner.errors import UsageError

NETWORKS = ("784-512-10", "2352-2048-512-10", "CNN")
BATCH = 128
SIZES = (8, 4096, 65536, 2**20, 2**22, 2**23, 2**25)

Measured = dict[str, Any]
"""For each :class:`Setting`, as text, what :mod:`benchmarks.scaling.ranks` prints: the least of all rounds."""


class Setting(NamedTuple):
    """How many processes, and how many threads each."""

    ranks: int
    threads: int

    def __str__(self) -> str:
        return f"{self.ranks} x {self.threads}"

    def batches(self) -> list[int]:
        """Global batches that are measured: for one process several, else one shared and one that grows."""
        return [BATCH // 4, BATCH // 2, BATCH, 2 * BATCH] if self.ranks == 1 else [BATCH, BATCH * self.ranks]


def settings() -> list[Setting]:
    """One process with one thread and with one for each core, two ranks, and four."""
    return list(dict.fromkeys([Setting(1, 1), Setting(1, cores()), Setting(2, 1), Setting(4, 1)]))


def cores() -> int:
    """That this process may use."""
    return len(blas.cores())


def measure(rounds: int, seconds: float, networks: Sequence[str] = NETWORKS) -> Measured:
    """All settings, round by round."""
    found: dict[str, list[Any]] = {}
    for number in range(rounds):
        for setting in settings():
            print(f"{datetime.datetime.now():%H:%M:%S} round {number + 1}, {setting}", file=sys.stderr, flush=True)
            found.setdefault(str(setting), []).append(_one(setting, seconds, networks))
    return {"cores": cores(), "settings": {name: least(each) for name, each in found.items()}}


def least(rounds: Sequence[Any]) -> Any:
    """Of equal structures the one with the least of each number, as other programs only make it slower.

    Rates, which only become less, are under ``adding``: of these the most.

    >>> least([{"steps": [[128, 2.0]], "adding": 5.0}, {"steps": [[128, 1.0]], "adding": 4.0}])
    {'steps': [[128, 1.0]], 'adding': 5.0}
    """
    first = rounds[0]
    if isinstance(first, dict):
        return {
            name: max(each[name] for each in rounds) if name == "adding" else least([each[name] for each in rounds])
            for name in first
        }
    return [least(column) for column in zip(*rounds)] if isinstance(first, list) else min(rounds)


def _one(setting: Setting, seconds: float, networks: Sequence[str]) -> Any:
    cases = {name: setting.batches() for name in networks}
    wanted = {"seconds": seconds, "sizes": SIZES, "cases": cases, "batch": BATCH}
    command = [sys.executable, "-m", "mpi4py", "-m", "benchmarks.scaling.ranks", json.dumps(wanted)]
    if setting.ranks > 1:
        command = [_launcher(), "-n", str(setting.ranks), *command]
    environment = {**os.environ, **dict.fromkeys(blas.CHOSEN, str(setting.threads))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["ended without a word"])[-1]
        raise UsageError(f"{setting.ranks} ranks could not be measured: {said}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def _launcher() -> str:
    beside = os.path.join(os.path.dirname(sys.executable), "mpiexec")
    found = shutil.which("mpiexec") or (beside if os.path.exists(beside) else None)
    if found is None:
        raise UsageError("mpiexec is not there; pip install mpi4py mpich, or install the MPI of your system")
    return found
