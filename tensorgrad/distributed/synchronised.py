"""Training loops of one's own over ranks: an optimiser whose steps are the same on all of them."""

from __future__ import annotations

from typing import Any

from .buckets import GradientSums
from .communicator import Communicator
from .current import current
from .share import shared


def synchronise(optimiser: Any) -> None:
    """Let an optimiser make the same steps on all ranks: with the parameters of rank 0, and gradients of all.

    Each step takes the mean of the gradients over the ranks, which is the gradient of the mean loss where all have as
    many examples; within :func:`global_batch` they are weighted by their number. Parameters and the optimiser's state
    become those of rank 0 at once. In one process nothing changes.

    Parameters
    ----------
    optimiser
        Of :mod:`tensorgrad.optim`.

    Examples
    --------
    The same loop in one process, and by ``mpiexec -n 4 python -m mpi4py script.py``:

    >>> import numpy as np, tensorgrad as tg
    >>> x, y = np.eye(4, dtype=np.float32), np.arange(4)
    >>> model = tg.nn.Dense(4, 4, rng=0)
    >>> optimiser = tg.optim.SGD(model.parameters(), lr=0.1)
    >>> tg.distributed.synchronise(optimiser)
    >>> for step in range(3):
    ...     with tg.distributed.global_batch(len(x)) as mine:
    ...         optimiser.zero_grad()
    ...         loss = tg.softmax_cross_entropy(model(x[mine]), y[mine])
    ...         loss.backward()
    ...         optimiser.step()
    """
    ranks = current()
    if ranks.size == 1:
        return
    optimiser.load_state_dict(ranks.share(optimiser.state_dict()))
    for parameter in optimiser.parameters:
        data = parameter.data.copy()
        ranks.broadcast(data)
        parameter.data = data
    optimiser.before_step = Averaging(optimiser, ranks)


def average_gradients(optimiser: Any) -> None:
    """Average the gradients over the ranks now, instead of in the next step: say, to clip them before it.

    Parameters
    ----------
    optimiser
        That :func:`synchronise` was called with; of another one, or in one process, nothing changes.
    """
    if optimiser.before_step is not None:
        optimiser.before_step.now()


class Averaging:
    """Before a step: gradients become their mean over the ranks, unless they are that already."""

    def __init__(self, optimiser: Any, ranks: Communicator) -> None:
        self._sums, self._size = GradientSums(ranks, optimiser), ranks.size
        self._is_done = False

    def __call__(self) -> None:
        if not self._is_done:
            self.now()
        self._is_done = False

    def now(self) -> None:
        """Average them."""
        self._is_done = True
        share = shared()
        self._sums(weight=1 / self._size if share is None else share.count / share.total)
