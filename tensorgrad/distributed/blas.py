"""How many threads each rank computes with: two ranks with two threads each on two cores are slower than one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .._optional import MissingExtra, require

CHOSEN = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables by which a user has chosen already."""


def threads_of(cores: list[set[int]], environment: Mapping[str, str]) -> int | None:
    """The cores for each of the ranks on one node, given those that each may use; None where the user has chosen.

    >>> threads_of([{0, 1, 2, 3}, {0, 1, 2, 3}], {}), threads_of([{0, 1}, {2, 3}], {}), threads_of([{0}, {0}], {})
    (2, 2, 1)
    """
    if any(environment.get(name) for name in CHOSEN):
        return None
    return max(1, len(set().union(*cores)) // len(cores))


def cores() -> set[int]:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def limit(count: int) -> Any:
    """Let BLAS compute with so many threads, also where it is loaded already; a sentence if that cannot be done."""
    try:
        require("threadpoolctl", "to share the cores between ranks").threadpool_limits(count)
    except MissingExtra as error:
        return f"{error}; or set OPENBLAS_NUM_THREADS={count} before mpiexec"
    return None
