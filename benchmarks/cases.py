"""The pieces of work that are timed."""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.recipes import NETWORKS

BATCHES = (1, 8, 32, 128, 1024)


class Case(NamedTuple):
    """A piece of work: its kind, the network and the batch size."""

    kind: str
    network: str = "64-32-10"
    batch: int = 128

    def __str__(self) -> str:
        if self.kind == "chain":
            return "chain of 1,000 ops"
        return f"{self.kind} {self.network}, batch {self.batch:,}"


STEPS = [Case("step", network) for network in NETWORKS]
CASES = [
    *STEPS,
    *(Case("step", network, batch) for network in NETWORKS for batch in BATCHES if batch != 128),
    *(Case("inference", network, batch) for network in NETWORKS for batch in (1, 1000)),
    Case("epoch", "784-512-10"),
    Case("chain"),
]
SCALING = {
    "batch": [Case("step", "784-512-10", batch) for batch in (64, 128, 256, 512, 1024, 2048)],
    "width": [Case("step", f"512-{width}-10") for width in (128, 256, 512, 1024, 2048)],
    "depth": [Case("step", "-".join(["512"] * (depth + 1)) + "-10") for depth in (1, 2, 4, 6, 8)],
}
"""For the picture that shows how cost grows."""
