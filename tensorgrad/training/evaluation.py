"""What a trained network makes of examples."""

from __future__ import annotations

from collections import namedtuple
from functools import lru_cache
from typing import Any, Callable

import numpy as np

from .._pytree import tree_map
from ..core import Tensor
from ..core.context import no_grad
from ..data import Loader
from ..nn import Module
from .examples import Examples, as_arrays, check_count, check_numbers, count_of, mapped, of_table, part_of
from .objective import Loss, Task, check_loss, objective
from .ranks import Ranks

EVALUATION_BATCH = 1000


@no_grad()
def predict(model: Module, inputs: object, prepare: Callable[[Any], Any] = as_arrays) -> Any:
    """What a network gives for all inputs, such as logits, in evaluation mode, a limited number at a time.

    Parameters
    ----------
    model
        Its mode is restored afterwards.
    inputs
        An array, or a container of arrays, with an entry for each example along the first axis.
    prepare
        As for :func:`fit`; it gets copies, and may write into them.

    Returns
    -------
    numpy.ndarray
        With an entry for each example; where the network gives a container of arrays, such a container.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> predict(tg.nn.Dense(2, 3), np.zeros((5, 2))).shape
    (5, 3)
    """
    inputs = mapped(of_table, inputs)
    if not count_of(inputs):
        raise ValueError("predict: takes one input at least, got none")
    return _predicted(model, inputs, prepare, 0, count_of(inputs))


def _predicted(model: Module, inputs: object, prepare: Callable[[Any], Any], start: int, stop: int) -> Any:
    """What :func:`predict` gives for some of the inputs."""
    in_training = [module for module in model.modules() if module.training]
    if in_training:
        model.eval()
    parts = []
    try:
        for first in range(start, stop, EVALUATION_BATCH):
            part = part_of(inputs, first, min(EVALUATION_BATCH, stop - first))
            count = count_of(part)
            prepared = prepare(part)
            check_count("predict", "prepare", prepared, count)
            check_numbers("predict", prepared)
            parts.append(values_of(model(prepared)))
    finally:
        for module in in_training:
            module.training = True
    return _joined(parts)


def _joined(parts: list[Any]) -> Any:
    return tree_map(lambda *arrays: np.concatenate(arrays), *parts)


def _predicted_together(model: Module, inputs: object, prepare: Callable[[Any], Any], ranks: Ranks) -> Any:
    """What :func:`predict` gives for all inputs, of which each rank does a part."""
    share = ranks.share(count_of(inputs))
    if share is None or share.total < ranks.size:
        return predict(model, inputs, prepare)
    return ranks.concatenated(_predicted(model, inputs, prepare, share.start, share.stop), _joined)


def values_of(outputs: object) -> Any:
    """The arrays of Tensors, in the containers that hold them."""
    return outputs.numpy() if isinstance(outputs, Tensor) else tree_map(_array_of, outputs)


def _array_of(output: object) -> np.ndarray:
    array: np.ndarray = output.numpy() if isinstance(output, Tensor) else np.asarray(output)
    return array


def evaluate(
    model: Module,
    examples: tuple[Any, ...] | Loader,
    prepare: Callable[[Any], Any] = as_arrays,
    *,
    loss: Loss = "softmax_cross_entropy",
    metrics: object = None,
) -> Any:
    """The loss of examples, without penalties, and its metrics, in evaluation mode.

    Parameters
    ----------
    model, examples, prepare, loss, metrics
        As for :func:`fit`.

    Returns
    -------
    tuple of float
        The loss and each of the metrics, of all examples together; also by name, as in ``.loss`` and ``.accuracy``.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> evaluate(tg.nn.Dense(2, 1), (np.zeros((4, 2)), np.ones(4)), loss="mse", metrics=["mae"])
    Scores(loss=1.0, mae=1.0)
    """
    chosen = objective("evaluate", loss, metrics)
    return scores("evaluate", model, chosen.checked("evaluate", "examples", examples), prepare, chosen)


@no_grad()
def scores(
    function: str,
    model: Module,
    examples: Examples,
    prepare: Callable[[Any], Any],
    chosen: Task,
    ranks: Ranks | None = None,
) -> Any:
    """Loss and metrics of examples that have been checked."""
    if ranks is None:
        outputs = predict(model, examples.inputs, prepare)
    else:
        outputs = _predicted_together(model, examples.inputs, prepare, ranks)
    chosen.check_fit(function, "examples", outputs, examples.targets)
    shares, _ = chosen.shares(examples.targets, examples.weights, examples.count)
    loss = chosen(tree_map(Tensor, outputs), examples.targets, shares)
    check_loss(function, loss)
    totals = chosen.totals(outputs, examples.targets, examples.weights, examples.count)
    return _scores_of(tuple(totals))(loss.item(), *(total / (size or 1.0) for total, size in totals.values()))


@lru_cache(maxsize=64)
def _scores_of(metrics: tuple[str, ...]) -> Any:
    return namedtuple("Scores", ("loss", *metrics))
