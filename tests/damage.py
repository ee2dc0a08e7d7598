"""Bytes damaged at random, for tests of what reads files."""

from __future__ import annotations

import numpy as np


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """``content`` with a few bytes changed, cut off, or a piece of it copied, removed or doubled elsewhere."""
    changed = bytearray(content)
    kind = rng.integers(5)
    start, stop = sorted(rng.integers(0, len(content) + 1, 2).tolist())
    if kind == 0:
        for at in rng.integers(0, len(content), rng.integers(1, 5)):
            changed[at] ^= int(rng.integers(1, 256))
    elif kind == 1:
        for at in rng.integers(0, len(content), rng.integers(1, 5)):
            changed[at] = int(rng.choice([0, 1, 127, 128, 255]))
    elif kind == 2:
        del changed[int(rng.integers(1, len(content))) :]
    elif kind == 3:
        at = int(rng.integers(0, len(content)))
        changed[at : at + rng.integers(0, 20)] = content[start : min(stop, start + 20)]
    else:
        del changed[start : min(stop, start + 20)]
    return bytes(changed)
