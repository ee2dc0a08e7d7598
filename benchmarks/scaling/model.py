"""How long a training step takes over ranks: a cost model, and what it says about many of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.recipes import is_of_images, layers_of, sizes_of
from benchmarks.scaling.allreduce import Network, cost, quickest, simulate
from tensorgrad.distributed import BUCKET_BYTES, plan

BACKWARD = 2 / 3
"""Of the time of an example: two matrix products for each one of the forward pass."""


class Layer(NamedTuple):
    """Values in its weights, and multiplications of them for an example."""

    values: int
    work: float


class Workload(NamedTuple):
    """What a step of training takes on one rank, and what it sends.

    Attributes
    ----------
    name
        Of the network.
    layers
        Of which gradients are sent, in the order of the forward pass.
    per_example
        Seconds of the forward and backward pass for an example.
    per_pass
        Seconds of each forward and backward pass besides.
    update
        Seconds in which the optimiser updates the parameters.
    """

    name: str
    layers: tuple[Layer, ...]
    per_example: float
    per_pass: float = 0.0
    update: float = 0.0

    @property
    def values(self) -> int:
        """Parameters of the network."""
        return sum(layer.values for layer in self.layers)

    def alone(self, batch: int, passes: int = 1) -> float:
        """Seconds of a step on one rank, with ``passes`` batches whose gradients are added up."""
        return passes * (self.per_pass + batch * self.per_example) + self.update


class Sending(NamedTuple):
    """How gradients are sent.

    Attributes
    ----------
    overlaps
        Whether a bucket is sent as soon as the backward pass has its gradients, or all after it.
    limit
        Bytes of a bucket, unless one array alone is larger.
    itemsize
        Bytes of a value: 4 for float32, 2 for float16.
    passes
        Batches whose gradients are added up before they are sent: gradient accumulation.
    divides_update
        Whether each rank updates only its part of the parameters, and these are handed out instead of sums of
        gradients, in as many bytes: Rajbhandari et al., "ZeRO", 2020.
    """

    overlaps: bool = False
    limit: int = BUCKET_BYTES
    itemsize: int = 4
    passes: int = 1
    divides_update: bool = False

    def update(self, workload: Workload, ranks: int) -> float:
        """Seconds of the update on a rank."""
        return workload.update / (ranks if self.divides_update else 1)


AFTERWARDS = Sending()


class Step(NamedTuple):
    """Seconds of a step: all, and those in which a rank does nothing but wait for sums."""

    seconds: float
    waiting: float


def buckets_of(workload: Workload, sending: Sending = AFTERWARDS) -> list[tuple[int, float]]:
    """The bytes of each bucket, and the share of the backward pass after which it is ready, in the order of sending.

    >>> layers = (Layer(30, work=30), Layer(10, work=10))
    >>> buckets_of(Workload("", layers, per_example=1.0), Sending(overlaps=True, limit=100))
    [(40, 0.25), (120, 1.0)]
    """
    sizes = [sending.itemsize * layer.values for layer in workload.layers]
    work = [layer.work for layer in workload.layers]
    groups = plan(sizes, limit=sending.limit)
    ready = [sum(work[min(group) :]) / sum(work) if sending.overlaps else 1.0 for group in groups]
    return [(sum(sizes[i] for i in group), share) for group, share in zip(groups, ready)]


def step(workload: Workload, ranks: int, batch: int, network: Network, sending: Sending = AFTERWARDS) -> Step:
    """Seconds of a step if ``ranks`` equally fast ranks have ``batch`` examples each, in each pass.

    Examples
    --------
    A network of a million values, 10 us an example, on four ranks: half of the time goes to messages.

    >>> workload = Workload("", (Layer(10**6, work=1.0),), per_example=10e-6)
    >>> step(workload, 4, batch=600, network=Network("1 GB/s", 0.0, 1e9))
    Step(seconds=0.012, waiting=0.006)
    """
    one_pass = workload.per_pass + batch * workload.per_example
    begins, ends = sending.passes * one_pass - BACKWARD * one_pass, sending.passes * one_pass
    clock = begins
    for size, share in buckets_of(workload, sending):
        seconds = 0.0 if ranks == 1 else cost(quickest(ranks, size, network), ranks).seconds(size, network)
        clock = max(clock, begins + share * (ends - begins)) + seconds
    end = max(clock, ends)
    return Step(end + sending.update(workload, ranks), end - ends)


def simulated_step(
    workload: Workload,
    computing: Sequence[float],
    network: Network,
    sending: Sending = AFTERWARDS,
    algorithm: str | None = None,
) -> Step:
    """The same by messages from rank to rank, of which each has computed for some seconds of its own.

    A rank begins a bucket when it has its gradients and is through with the one before.

    >>> workload = Workload("", (Layer(10**6, work=1.0),), per_example=10e-6)
    >>> simulated_step(workload, [6.0, 6.0, 6.0, 9.0], Network("1 MB/s", 0.0, 1e6))
    Step(seconds=15.0, waiting=9.0)
    """
    ends = np.asarray(computing, float)
    begins = ends * (1 - BACKWARD / sending.passes)
    clocks = begins
    for size, share in buckets_of(workload, sending):
        name = algorithm or quickest(len(ends), size, network)
        clocks = simulate(name, np.maximum(clocks, begins + share * (ends - begins)), network, size)
    after = np.maximum(clocks, ends)
    return Step(float(after.max()) + sending.update(workload, len(ends)), float((after - ends).max()))


def speedup(workload: Workload, ranks: int, batch: int, network: Network, sending: Sending = AFTERWARDS) -> float:
    """How many times as fast as one rank ``ranks`` of them are if they share a batch: strong scaling.

    A rank has the next whole number of examples, and what one rank alone takes in one pass is 1.
    """
    share = math.ceil(batch / (ranks * sending.passes))
    return workload.alone(batch) / step(workload, ranks, share, network, sending).seconds


def efficiency(workload: Workload, ranks: int, batch: int, network: Network, sending: Sending = AFTERWARDS) -> float:
    """Examples a second of each of ``ranks`` ranks, by those of one rank alone: weak scaling.

    Each has ``batch`` examples in each pass, however many ranks there are.
    """
    return workload.alone(batch, sending.passes) / step(workload, ranks, batch, network, sending).seconds


def steps_needed(batch: float, noise_scale: float) -> float:
    """Steps to one and the same loss, by those that an endless batch needs.

    ``noise_scale`` is the batch at which it is twice as many: McCandlish et al., "An empirical model of large-batch
    training", 2018, equation 2.11.

    >>> steps_needed(1000, noise_scale=1000)
    2.0
    """
    return 1 + noise_scale / batch


def layers(network: str) -> tuple[Layer, ...]:
    """Of a network of the benchmarks, by its name.

    >>> layers("64-32-10")
    (Layer(values=2080, work=2048), Layer(values=330, work=320))
    """
    sizes = sizes_of(network)
    found, pixels = [], math.prod(sizes[0][1:]) if is_of_images(sizes) else 1
    for shape in layers_of(sizes):
        is_convolution = len(shape) == 4
        weights = math.prod(shape)
        found.append(Layer(weights + shape[-1], weights * (pixels if is_convolution else 1)))
        pixels //= 4  # each convolution is followed by pooling
    return tuple(found)
