"""Averages of weights over the steps of a training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..compiler import own
from ..core import Tensor, describe
from ..nn import Module
from ..subnormals import without_subnormals
from .callbacks import Callback, Run

_PREFIX = "average/"
_Weights = list[tuple[Tensor, Any]]


class EMA(Callback):
    """Exponential moving average of the weights, which as a rule generalise better than those of the last step.

    average = d * average + (1 - d) * weight after each step, d = min(decay, (1 + n) / (10 + n)) after n earlier ones,
    so that the initial weights are soon forgotten. As a callback of :func:`fit` it lets validation, the best weights
    (also in ``best.npz``) and the model in the end have the averages; the training goes on with the weights themselves,
    and both are saved and resumed. Each training that is not resumed begins with averages of its own. Running means, as
    of batch normalisation, are averaged like weights.

    Parameters
    ----------
    decay
        Share of the average that is kept in a step, between 0 and 1; 1 / (1 - decay) steps count.

    Examples
    --------
    In a loop of your own:

    >>> import numpy as np, tensorgrad as tg
    >>> model, ema = tg.nn.Dense(1, 1), EMA(0.9)
    >>> for weight in (1.0, 3.0):  # in place of steps
    ...     model.weight.data = np.float32([[weight]])
    ...     ema.update(model)
    >>> with ema.applied(model):
    ...     model.weight.data.round(3)
    array([[2.636]], dtype=float32)
    >>> model.weight.data
    array([[3.]], dtype=float32)
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"EMA: decay must satisfy 0 <= decay < 1, got {decay}")
        self.decay, self.updates = float(decay), 0
        self._averages: dict[str, Tensor] = {}
        self._weights: _Weights = []
        self._blend = own(_blend, lambda: None)

    def update(self, model: Module) -> None:
        """Take in the weights of a model, after a step.

        Raises
        ------
        ValueError
            If the averages are those of another model.
        """
        tensors = _averaged(model)
        if not self.updates:
            self._averages = {name: _average(tensor.data) for name, tensor in tensors.items()}
        averages = self._matched(tensors)
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self._blend(averages, list(tensors.values()), np.asarray(1 - decay))
        self.updates += 1

    @contextmanager
    def applied(self, model: Module) -> Iterator[None]:
        """Within the block, the model has the averages; before the first :meth:`update`, its own weights."""
        weights = self._apply(model)
        try:
            yield
        finally:
            _put_back(weights)

    def _apply(self, model: Module) -> _Weights:
        """Give the model the averages; returns the weights that it had."""
        if not self.updates:
            return []
        tensors = _averaged(model)
        averages = self._matched(tensors)
        weights = [(tensor, tensor.data) for tensor in tensors.values()]
        for tensor, average in zip(tensors.values(), averages):
            tensor.data = average.data.astype(tensor.dtype)
        return weights

    def _matched(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """The averages of these tensors."""
        for name in {**tensors, **self._averages}:
            found = [given[name].shape if name in given else "none" for given in (self._averages, tensors)]
            if found[0] != found[1]:
                raise ValueError(
                    f"EMA: the averages are those of another model, with {name} of shape {found[0]}, where this one "
                    f"has {found[1]}; make an EMA for each model"
                )
        return [self._averages[name] for name in tensors]

    # As a callback

    def on_train_begin(self, run: Run) -> None:
        """Start over, unless the training goes on: the averages may be those of an earlier one, of another model."""
        if not run.is_resumed:
            self.updates, self._averages = 0, {}

    def on_step_end(self, run: Run, loss: float) -> None:
        self.update(run.model)

    def on_evaluation_begin(self, run: Run) -> None:
        self._weights = self._apply(run.model)

    def on_evaluation_end(self, run: Run) -> None:
        _put_back(self._weights)
        self._weights = []

    def state_dict(self) -> dict[str, Any]:
        """How many updates there have been, and the averages, by the tensors' names."""
        averages = {f"{_PREFIX}{name}": tensor.data for name, tensor in self._averages.items()}
        return {"updates": self.updates, **averages}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        updates, found = state["updates"], {k[len(_PREFIX) :]: v for k, v in state.items() if k.startswith(_PREFIX)}
        for name, array in found.items():
            if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
                raise ValueError(f"EMA: the average of {name} must be an array of floats, got {describe(array)}")
        if not isinstance(updates, int) or updates < 0 or bool(updates) is not bool(found):
            raise ValueError(f"EMA: the state has {updates!r} updates of {len(found)} averages")
        self.updates, self._averages = updates, {name: _average(array) for name, array in found.items()}


def _averaged(model: Module) -> dict[str, Tensor]:
    """The tensors of a model that hold floats, each once."""
    found = {id(tensor): (name, tensor) for name, tensor in model.named_tensors() if tensor.dtype.kind == "f"}
    return dict(found.values())


def _put_back(weights: _Weights) -> None:
    for tensor, weight in weights:
        tensor.data = weight


def _average(values: np.ndarray) -> Tensor:
    """An average that begins with these; of float16 in float32, where small changes are not lost."""
    return Tensor(np.array(values, np.result_type(values.dtype, np.float32)), requires_grad=True)  # to be updated


def _blend(averages: Sequence[Tensor], tensors: Sequence[Tensor], share: Any) -> None:
    """Move averages towards the tensors, by that share of the distance."""
    for average, tensor in zip(averages, tensors):
        value = average.data
        moved = value + share.astype(average.dtype) * (tensor.data.astype(average.dtype, copy=False) - value)
        average.data = without_subnormals(moved)
