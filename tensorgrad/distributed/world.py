"""All processes that a launcher has started, as ranks of MPI."""

from __future__ import annotations

from functools import lru_cache

from .communicator import Communicator
from .launch import launched


@lru_cache(maxsize=1)
def world() -> Communicator | None:
    """All processes that the launcher has started; None where there is one."""
    if launched() == 1:
        return None
    from .mpi import MPICommunicator

    return MPICommunicator.of_world()
