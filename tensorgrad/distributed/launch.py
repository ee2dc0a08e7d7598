"""Whether this process is one of several that a launcher started."""

from __future__ import annotations

import os
import sys

SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
"""Environment variables in which launchers of MPI say how many processes they have started."""


def launched() -> int:
    """How many processes the launcher has started; 1 without one."""
    for name in SIZES:
        if (found := os.environ.get(name, "")).isdigit():
            return max(int(found), 1)
    mpi = sys.modules.get("mpi4py.MPI")  # of a launcher that says it in another way, with python -m mpi4py
    return int(mpi.COMM_WORLD.Get_size()) if mpi is not None and mpi.Is_initialized() else 1
