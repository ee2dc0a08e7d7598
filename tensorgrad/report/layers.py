"""What goes through the layers of a network, forward and backward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..autodiff import gradients
from ..core import Tensor
from ..nn import Module, ReLU
from ..nn.watching import watched
from ..ops.losses import softmax_cross_entropy


@dataclass(frozen=True)
class Activations:
    """The outputs of a layer for some inputs.

    ``units`` are its features or channels. ``dead`` are those of a ReLU, from 0 on, that are 0 for all inputs: no
    gradient comes through them. None of a layer of another kind.
    """

    name: str
    layer: str
    shape: tuple[int, ...]
    mean: float
    deviation: float
    zeros: float
    units: int
    dead: list[int] | None


@dataclass(frozen=True)
class ParameterState:
    """A parameter: the root mean squares of its values, and of its gradient, which is None where the loss has none."""

    name: str
    shape: tuple[int, ...]
    size: int
    value: float
    gradient: float | None


def layer_statistics(
    model: Module, inputs: np.ndarray, labels: np.ndarray
) -> tuple[list[Activations], list[ParameterState]]:
    """The outputs of all layers, and the parameters with the gradients of the loss, in evaluation mode.

    Parameters
    ----------
    model
        Gives logits of classes; its mode and ``.grad`` stay as they are.
    inputs, labels
        Some examples, as the network takes them, and their classes.

    Examples
    --------
    >>> import numpy as np, tensorgrad as tg
    >>> layer = tg.nn.Dense(2, 3)
    >>> layer.bias.data[:] = [0, 0, -100]
    >>> images, labels = np.array([[1.0, -1.0], [0.5, 2.0]], np.float32), np.array([0, 1])
    >>> outputs, parameters = layer_statistics(tg.nn.Sequential(layer, tg.nn.ReLU()), images, labels)
    >>> [(each.name, each.shape) for each in outputs], 2 in outputs[1].dead
    ([('0', (3,)), ('1', (3,))], True)
    >>> [each.name for each in parameters]
    ['0.weight', '0.bias']
    """
    innermost = {id(module): name for name, module in model.named_modules() if not list(module.named_children())}
    found: dict[int, Activations] = {}

    def note(module: Module, result: object) -> None:
        if isinstance(result, Tensor) and id(module) in innermost and id(module) not in found:
            found[id(module)] = _activations(innermost[id(module)], module, result.numpy())

    named = dict(model.named_parameters())
    with np.errstate(all="ignore"):
        with watched(model, note):
            loss = softmax_cross_entropy(model(inputs), labels) + model.penalty()
        slopes = gradients(loss, list(named.values()))
        states = [
            ParameterState(name, parameter.shape, parameter.size, _size(parameter.numpy()), _size(slope.numpy()))
            for (name, parameter), slope in zip(named.items(), slopes)
        ]
    return list(found.values()), states


def _activations(name: str, module: Module, values: np.ndarray) -> Activations:
    is_zero = values == 0
    others = tuple(axis for axis in range(values.ndim) if axis != 1)
    is_dead = isinstance(module, ReLU) and values.ndim > 1
    return Activations(
        name=name,
        layer=" ".join(repr(module).split()),
        shape=values.shape[1:],
        mean=float(values.mean(dtype=np.float64)),
        deviation=float(values.std(dtype=np.float64)),
        zeros=float(is_zero.mean()),
        units=values.shape[1] if values.ndim > 1 else 1,
        dead=np.flatnonzero(is_zero.all(axis=others)).tolist() if is_dead else None,
    )


def _size(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
