"""Which rank this thread is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from .communicator import Communicator, SingleProcess
from .world import world

_current: ContextVar[Communicator | None] = ContextVar("communicator", default=None)
_ALONE = SingleProcess()


def current() -> Communicator:
    """This process among those that train together: a rank of MPI where it was launched so, else it is alone.

    Raises
    ------
    MissingExtra
        If several processes were launched and mpi4py is not installed.

    Examples
    --------
    >>> current()
    SingleProcess(rank 0 of 1)
    """
    return _current.get() or world() or _ALONE


@contextmanager
def using(communicator: Communicator) -> Iterator[None]:
    """Inside, :func:`current` is another, in this thread; such as of a part of all ranks."""
    token = _current.set(communicator)
    try:
        yield
    finally:
        _current.reset(token)
