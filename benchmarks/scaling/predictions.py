"""From what was measured to constants of the cost model, how well it fits, and what it says about many ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks.scaling.allreduce import Network, cost, quickest
from benchmarks.scaling.measure import Measured, Setting
from benchmarks.scaling.model import AFTERWARDS, BACKWARD, Layer, Sending, Workload, efficiency, layers, speedup, step

GIGABIT, FRAMES = 1e9 / 8, 1460 / 1538
"""Bytes a second of 1 Gbit/s, and the share of an Ethernet frame that is left to TCP's data."""

ADDING = 10e9
"""Bytes a second that a rank adds up, in the networks on paper."""

NETWORKS = (
    Network("1 Gbit/s Ethernet", 40e-6, GIGABIT * FRAMES, ADDING),
    Network("25 Gbit/s Ethernet", 40e-6, 25 * GIGABIT * FRAMES, ADDING),
    Network("200 Gbit/s InfiniBand", 2e-6, 200 * GIGABIT * 0.93, ADDING),
)
"""On paper: see docs/scaling.md for where the numbers are from."""

RANKS = (8, 16, 32, 64, 128, 256, 512, 1024)
PER_RANK, SHARED = 128, 1024
"""Examples of each rank in weak scaling, and of all ranks together in strong scaling."""

OVERLAPPING = Sending(overlaps=True)


class Check(NamedTuple):
    """A step that was measured beside what the model says: seconds, and of them those of messages."""

    network: str
    setting: str
    batch: int
    measured: float
    predicted: float
    measured_messages: float
    predicted_messages: float

    @property
    def error(self) -> float:
        """Of the prediction, in parts of what was measured."""
        return self.predicted / self.measured - 1


def line(points: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Intercept and slope through points, with the least relative errors; neither is below 0.

    >>> [round(number, 6) for number in line([(1, 3.0), (2, 5.0), (4, 9.0)])]
    [1.0, 2.0]
    """
    x, y = np.array(points, float).T[:2]
    intercept, slope = np.linalg.lstsq(np.stack([1 / y, x / y], axis=1), np.ones(len(y)), rcond=None)[0]
    if intercept < 0:
        return 0.0, float(np.sum(x / y) / np.sum((x / y) ** 2))
    return float(intercept), max(float(slope), 0.0)


def workload(network: str, setting: Setting, measured: Measured) -> Workload:
    """What a step takes on one rank, of a line through the batches that one process was measured with."""
    steps = measured["settings"][str(setting)]["steps"][network]
    fixed, per_example = line(steps)
    update = min(steps[0][3], fixed)
    return Workload(network, layers(network), per_example, fixed - update, update)


def messages(setting: Setting, measured: Measured) -> Network:
    """What links the ranks of this machine: latency and bandwidth of the line through its messages."""
    intercept, slope = line(measured["settings"][str(setting)]["messages"])
    of_one = cost(quickest(setting.ranks, 1, NETWORKS[0]), setting.ranks)
    return Network(f"memory, {setting.ranks} ranks", intercept / of_one.messages, of_one.sent / slope)


def checks(measured: Measured) -> Iterator[Check]:
    """Each step that was measured with one thread a rank, and what the model says.

    Its constants are those of one rank alone and of messages alone. Ranks beyond the number of cores take turns.
    """
    alone = Setting(1, 1)
    for network in measured["settings"][str(alone)]["steps"]:
        of_one = workload(network, alone, measured)
        for setting in (alone, Setting(2, 1), Setting(4, 1)):
            turns = max(1.0, setting.ranks / measured["cores"])
            slowed = of_one._replace(
                per_example=turns * of_one.per_example, per_pass=turns * of_one.per_pass, update=turns * of_one.update
            )
            link = messages(setting, measured) if setting.ranks > 1 else NETWORKS[0]
            for batch, seconds, waiting, _ in measured["settings"][str(setting)]["steps"][network]:
                found = step(slowed, setting.ranks, -(-int(batch) // setting.ranks), link)
                yield Check(network, str(setting), int(batch), seconds, found.seconds, waiting, found.waiting)


def scaling(measured: Measured) -> dict[str, Any]:
    """For each network of layers and of links: efficiency and speedup with 8 to 1,024 ranks, each this machine."""
    found: dict[str, Any] = {"ranks": list(RANKS)}
    for name, of_one in nodes(measured).items():
        for link in NETWORKS:
            found.setdefault("weak", {}).setdefault(name, {})[link.name] = [
                efficiency(of_one, ranks, PER_RANK, link) for ranks in RANKS
            ]
            found.setdefault("strong", {}).setdefault(name, {})[link.name] = [
                speedup(of_one, ranks, SHARED, link) for ranks in RANKS
            ]
    return found


def nodes(measured: Measured) -> dict[str, Workload]:
    """For each network of layers what it takes on a rank that has this whole machine."""
    setting = Setting(1, measured["cores"])
    return {name: workload(name, setting, measured) for name in measured["settings"][str(setting)]["steps"]}


REMEDIES = {
    "float32, after the backward pass": AFTERWARDS,
    "float32, overlapping": OVERLAPPING,
    "float16, overlapping": Sending(overlaps=True, itemsize=2),
    "float32, overlapping, each updates a part": Sending(overlaps=True, divides_update=True),
    "float32, overlapping, 4 batches accumulated": Sending(overlaps=True, passes=4),
    "float16, overlapping, 4 batches accumulated": Sending(overlaps=True, itemsize=2, passes=4),
}


def remedies(measured: Measured, ranks: int = 64) -> dict[str, Any]:
    """For each way of sending: weak efficiency by network of layers and of links, of so many ranks."""
    return {
        what: {
            name: {link.name: efficiency(of_one, ranks, PER_RANK, link, sending) for link in NETWORKS}
            for name, of_one in nodes(measured).items()
        }
        for what, sending in REMEDIES.items()
    }


def threads_or_ranks(measured: Measured) -> dict[str, dict[str, float]]:
    """For each network seconds of a step in ``fit`` by one process with one thread, with all, and by two ranks."""
    wanted = [Setting(1, 1), Setting(1, measured["cores"]), Setting(2, 1)]
    found = {str(each): measured["settings"][str(each)]["fit"] for each in wanted}
    return {name: {each: of_all[name] for each, of_all in found.items()} for name in found[str(wanted[0])]}


def published() -> dict[str, float]:
    """ResNet-50 on 32 servers of 8 GPUs, as Goyal et al. 2017 describe it: efficiency with overlap and without.

    90 epochs of ImageNet in an hour are 0.256 s a step, 0.23 s of them if 0.9 is computing; of these they give 0.12 to
    the backward pass. A server sends 25.6 million values over 50 Gbit/s.
    """
    parts = tuple([Layer(25_600_000 // 16, 1.0)] * 16)
    server = Workload("ResNet-50", parts, per_example=0.12 / BACKWARD / 256, update=0.05)
    link = Network("50 Gbit/s Ethernet", 40e-6, 50 * GIGABIT * FRAMES, ADDING)
    return {
        "overlapping": efficiency(server, 32, 256, link, OVERLAPPING),
        "afterwards": efficiency(server, 32, 256, link),
    }


def derived(measured: Measured) -> dict[str, Any]:
    """All that follows from what was measured."""
    return {
        "workloads": {
            str(setting.threads): {name: _numbers(workload(name, setting, measured)) for name in nodes(measured)}
            for setting in (Setting(1, 1), Setting(1, measured["cores"]))
        },
        "messages": {str(each): messages(each, measured)._asdict() for each in (Setting(2, 1), Setting(4, 1))},
        "checks": [check._asdict() for check in checks(measured)],
        "threads or ranks": threads_or_ranks(measured),
        "scaling": scaling(measured),
        "remedies": remedies(measured),
        "published": published(),
    }


def _numbers(of_one: Workload) -> dict[str, float]:
    return {"per_example": of_one.per_example, "per_pass": of_one.per_pass, "update": of_one.update}
