"""The networks of the experiments in PyTorch: the same layers, weights, batches and recipe."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from experiments.registry import EXPERIMENTS
from tensorgrad.nn import BatchNorm2d, Conv2d, Dense, Dropout, Flatten, MaxPool2d, ReLU
from tensorgrad.runner.arguments import Parser
from tensorgrad.runner.errors import UsageError
from tensorgrad.runner.options import parse
from tensorgrad.runner.preparation import Prepared, prepare


def parser(program: str, description: str) -> Parser:
    """The command line of a comparison: the name of an experiment, and its own options behind it."""
    result = Parser(
        prog=f"python -m {program}",
        description=description,
        epilog="All other options are those of the experiment: python -m experiments.EXPERIMENT --help",
    )
    result.add_argument("experiment", choices=list(EXPERIMENTS))
    return result


def prepare_experiment(name: str, arguments: list[str]) -> Prepared:
    """Data and network of the experiment, as its own script would prepare them.

    Raises
    ------
    UsageError
        If the options ask for something that the comparison does not have.
    """
    options = parse(EXPERIMENTS[name], arguments)
    if options.clip or options.patience or options.schedule == "plateau":
        raise UsageError("the comparison has no --clip, --patience or plateau; leave them out")
    return prepare(EXPERIMENTS[name], options)


def as_pytorch(model):
    """The same layers with the same weights, and the weights that have a penalty with its strength."""
    import torch

    layers, penalties = [], []
    for layer in model.layers:
        if isinstance(layer, (Dense, Conv2d)):
            twin = _with_weights(layer)
            penalties.append((twin.weight, layer.weight_l2))
            layers.append(twin)
        else:
            layers.append(_without_weights(layer))
    return torch.nn.Sequential(*layers), [pair for pair in penalties if pair[1]]


def _with_weights(layer):
    """The same layer with the same weights, for Dense and Conv2d."""
    import torch

    if isinstance(layer, Dense):
        weight, twin = layer.weight.numpy().T, torch.nn.Linear(*layer.weight.shape)
    else:
        weight, padding = layer.weight.numpy(), layer.padding
        twin = torch.nn.Conv2d(
            weight.shape[1], len(weight), weight.shape[2:], padding=padding, bias=layer.bias is not None
        )
    with torch.no_grad():
        twin.weight.copy_(torch.from_numpy(weight.copy()))
        if layer.bias is not None:
            twin.bias.copy_(torch.from_numpy(layer.bias.numpy().copy()))
    return twin


def _without_weights(layer):
    """The same layer of those that draw no weights."""
    import torch

    made = {
        BatchNorm2d: lambda: torch.nn.BatchNorm2d(len(layer.weight), layer.eps, layer.momentum),
        Dropout: lambda: torch.nn.Dropout(layer.rate),
        Flatten: torch.nn.Flatten,
        MaxPool2d: lambda: torch.nn.MaxPool2d(layer.kernel_size, layer.stride),
        ReLU: torch.nn.ReLU,
    }
    return made[type(layer)]()


def pytorch_step(model, penalties, optimiser, inputs, labels) -> float:
    """One update; returns the batch's cross-entropy, without penalties."""
    import torch

    optimiser.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(inputs)), torch.from_numpy(labels))
    total = loss + sum(strength * weight.square().sum() for weight, strength in penalties)
    total.backward()
    optimiser.step()
    return loss.item()


def orders(prepared: Prepared, steps: int) -> Iterator[np.ndarray]:
    """Indices of the given number of batches, epoch after epoch."""
    size, count = prepared.options.batch_size, len(prepared.train[1])
    while steps > 0:
        order = prepared.streams.order.permutation(count)
        for start in range(0, count, size):
            if steps > 0:
                steps -= 1
                yield order[start : start + size]
