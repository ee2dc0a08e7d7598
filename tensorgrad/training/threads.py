"""Steps whose batches are shared out to threads of this process, each of which computes with one core."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

import numpy as np

from .._optional import MissingExtra, require
from ..core import Tensor
from ..core.context import Replacements
from ..core.lending import lend_gradient, lent_gradient
from ..distributed import GradientSums, RankError, Share, ThreadCommunicator, share_of, sharing, thread_ranks, using
from ..distributed.blas import CHOSEN, cores
from ..nn import Conv2d, Module
from ..optim import Optimiser
from .objective import Objective, Task
from .several import parts_of
from .step import FirstStep, LossNotFinite, Step, compiled_step, gradients_of, is_from_library, replayed, updating

LEAST = 32
"""Examples of a batch for each thread, below which one thread has all of it."""

Controller = Any
"""Of threadpoolctl, by which the threads of BLAS are limited."""


def threads_for(
    model: Module, optimiser: Optimiser, loss: Task, batch_size: int, wanted: int | None
) -> tuple[int, Controller]:
    """In how many threads a batch is computed, and what limits those of BLAS.

    Without a wish as many as there are cores, but one if a network has no convolutions: dense layers have so little
    work for each parameter that gradients of several threads take longer to add up than BLAS's own threads save.

    Raises
    ------
    ValueError
        If several are wanted for a network, loss or optimiser with code that is not this library's.
    MissingExtra
        If several are wanted and threadpoolctl is not installed.
    """
    can = isinstance(loss, Objective) and loss.is_pure and is_from_library(model, optimiser)
    known = {id(parameter) for parameter in model.parameters()}
    can = can and all(id(parameter) in known for parameter in optimiser.parameters)
    if wanted is not None:
        if wanted > 1 and not can:
            raise ValueError(
                f"fit: threads={wanted} is for networks, losses and optimisers all of whose code is this library's; "
                "leave it out"
            )
        return wanted, require("threadpoolctl", f"threads={wanted}").ThreadpoolController() if wanted > 1 else None
    is_chosen = any(os.environ.get(name) for name in CHOSEN)
    count = max(1, min(len(cores()), batch_size // LEAST))
    if not can or is_chosen or count == 1 or not any(isinstance(module, Conv2d) for module in model.modules()):
        return 1, None
    try:
        return count, require("threadpoolctl", "threads").ThreadpoolController()
    except MissingExtra:
        return 1, None


class Replica:
    """What one of the threads computes with: the network or a copy, and its place among the threads.

    Its gradients are added up as those of an optimiser over ranks are.

    Attributes
    ----------
    parameters
        What the optimiser's parameters are here, in their order.
    """

    def __init__(
        self,
        model: Module,
        optimiser: Optimiser,
        loss: Objective,
        first: FirstStep | None,
        communicator: ThreadCommunicator,
    ) -> None:
        self.rank, self._communicator = communicator.rank, communicator
        self._original, self.model = model, model if self.rank == 0 else copy.deepcopy(model)
        mine = dict(zip(map(id, _tensors(model)), _tensors(self.model)))
        self.parameters = [mine[id(parameter)] for parameter in optimiser.parameters]
        function = gradients_of(self.model, self._forget, first, loss, is_alone=False, is_penalised=self.rank == 0)
        self._gradients: Any = replayed(function)
        self._sums: GradientSums | None = None

    def _forget(self) -> None:
        for parameter in self.parameters:
            parameter.zero_grad()

    def borrow_gradients(self) -> list[np.ndarray | None]:
        """Those of this thread."""
        return list(map(lent_gradient, self.parameters))

    def lend_gradients(self, gradients: Sequence[np.ndarray | None]) -> None:
        """Set them; those of the network itself are what the optimiser reads."""
        for parameter, gradient in zip(self.parameters, gradients):
            lend_gradient(parameter, gradient)

    def match(self) -> None:
        """Be as the network itself is now: its numbers, what is frozen or in training mode, and random generators."""
        if self.rank == 0:
            return
        for mine, other in zip(_tensors(self.model), _tensors(self._original)):
            np.copyto(mine.data, other.data)
            if mine.requires_grad != other.requires_grad:
                mine.requires_grad = other.requires_grad
        for module, original in zip(self.model.modules(), self._original.modules()):
            module.training = original.training
        generators = zip(self.model.named_generators(), self._original.named_generators())
        for (_, drawing), (_, original_drawing) in generators:
            drawing.bit_generator.state = original_drawing.bit_generator.state

    def compute(self, share: Share, inputs: Any, targets: Any, part: Any) -> Any:
        """Of this share of a batch the loss and the outputs, or an error; gradients become the sums of all threads.

        An error ends the waiting of the others.
        """
        try:
            return self._computed(share, inputs, targets, part)
        except BaseException as error:
            self._communicator.end(f"thread {self.rank}: {type(error).__name__}: {error}")
            return error

    def _computed(self, share: Share, inputs: Any, targets: Any, part: Any) -> tuple[float, Any]:
        with using(self._communicator), sharing(share):
            if self._sums is None:
                self._sums = GradientSums(self._communicator, self)
                self._gradients.put_gradients(self._sums.places)
            loss, outputs = self._gradients(inputs[share.rows], targets[share.rows], None, part)
            self._sums()
            return loss.item(), outputs


class ThreadedStep:
    """A step like that of :func:`training_step`, in several threads; batches that are too small for that in one.

    So are those of several inputs, and those whose examples have weights.

    Parameters
    ----------
    count
        Of the threads.
    controller
        Limits the threads of BLAS to one each.
    """

    def __init__(
        self,
        model: Module,
        optimiser: Optimiser,
        max_norm: float | None,
        first: FirstStep,
        *,
        loss: Objective,
        max_value: float | None,
        count: int,
        controller: Controller,
    ) -> None:
        self._model, self._optimiser, self._loss, self._first = model, optimiser, loss, first
        self._count, self._controller = count, controller
        self._whole: Step = compiled_step(model, optimiser, max_norm, first, loss=loss, max_value=max_value)
        self._update = replayed(updating(optimiser, max_norm, max_value))
        self._pool = ThreadPoolExecutor(count - 1, thread_name_prefix="tensorgrad-step")
        self._replicas: list[Replica] = []
        self._made_of: Any = None

    def __call__(
        self, inputs: Any, targets: Any, shares: Any = None, part: Any = None, *, begins: bool = True, ends: bool = True
    ) -> tuple[Tensor, Any]:
        is_plain = shares is None and part is None and isinstance(inputs, np.ndarray)
        if not is_plain or len(inputs) < LEAST * self._count:
            return self._whole(inputs, targets, shares, part, begins=begins, ends=ends)
        losses, outputs = zip(*self._computed(inputs, targets))
        total = sum(losses)
        if not math.isfinite(total):
            raise LossNotFinite(total)
        self._update()
        return Tensor(total), Tensor(np.concatenate([each.numpy() for each in outputs]))

    def _computed(self, inputs: np.ndarray, targets: np.ndarray) -> list[Any]:
        """What each thread has computed."""
        self._make_replicas()
        shares = [share_of(len(inputs), rank, self._count) for rank in range(self._count)]
        parts = parts_of([self._loss.shares(targets[share.rows], None, share.count)[1] for share in shares])
        for replica in self._replicas:
            replica.match()
        with self._controller.limit(limits=1, user_api="blas"):
            tasks = [partial(r.compute, s, inputs, targets, p) for r, s, p in zip(self._replicas, shares, parts)]
            others = [self._pool.submit(copy_context().run, task) for task in tasks[1:]]
            found = [tasks[0](), *(future.result() for future in others)]
        errors = [each for each in found if isinstance(each, BaseException)]
        if errors:
            raise next((error for error in errors if not isinstance(error, RankError)), errors[0])
        return found

    def _make_replicas(self) -> None:
        """Copy the network again where something in it has been replaced."""
        if self._made_of == self._kind():
            return
        self._replicas = [
            Replica(self._model, self._optimiser, self._loss, None if ranks.rank else self._first, ranks)
            for ranks in thread_ranks(self._count)
        ]
        self._made_of = self._kind()

    def _kind(self) -> Any:
        return Replacements.count, [*map(id, self._model.modules())]


def _tensors(model: Module) -> list[Tensor]:
    return [tensor for _, tensor in model.named_tensors()]
