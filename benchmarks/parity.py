"""Losses of the same network in PyTorch: python -m benchmarks.parity EXPERIMENT [options of the experiment].

Same initial weights and batches, no dropout, and the losses of the first steps side by side.
"""

from __future__ import annotations

import numpy as np

import tensorgrad as tg
from benchmarks.pytorch import as_pytorch, orders, parser, prepare_experiment, pytorch_step
from tensorgrad._optional import require
from tensorgrad.runner.errors import reported_errors
from tensorgrad.runner.preparation import Prepared
from tensorgrad.training import training_step

STEPS = 100
PARITY_RATE = 0.03
"""Share of the experiment's rate at which losses are compared: at full rate the first steps of the largest network
overshoot, and there rounding alone grows a hundredfold in a few steps, in either library."""

LARGEST_DIFFERENCE = 1e-4


def main(arguments: list[str] | None = None) -> int:
    """Compare; the exit code is 1 if losses differ by more than 1e-4, relatively, 2 if something is missing."""
    description = "Losses of the same network in tensorgrad and in PyTorch, step by step."
    options, others = parser("benchmarks.parity", description).parse_known_args(arguments)
    with reported_errors("benchmarks.parity"):
        require("torch", "the comparison with PyTorch")
        ours, theirs = first_losses(prepare_experiment(options.experiment, others), STEPS)
    difference = float(np.max(np.abs(ours - theirs) / np.abs(theirs)))
    for step in (0, 1, 9, 49, STEPS - 1):
        print(f"step {step + 1:4d}  tensorgrad {ours[step]:.6f}  PyTorch {theirs[step]:.6f}")
    print(f"{options.experiment}: largest relative difference in {STEPS} steps {difference:.1e}")
    return 0 if difference <= LARGEST_DIFFERENCE else 1


def first_losses(prepared: Prepared, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses of the first steps, ours and PyTorch's, at the same constant rate."""
    import torch

    twin, penalties = as_pytorch(prepared.model)
    twin.eval()
    prepared.model.eval()
    rate = prepared.options.lr * PARITY_RATE
    peer, own = torch.optim.Adam(twin.parameters(), lr=rate), tg.optim.Adam(prepared.model.parameters(), lr=rate)
    step = tg.compile(training_step(prepared.model, own), pure=True)
    ours, theirs = [], []
    for indices in orders(prepared, steps):
        inputs, labels = (
            prepared.standardisation(prepared.train[0][indices]),
            prepared.train[1][indices].astype(np.int64),
        )
        ours.append(step(inputs, labels)[0].item())
        theirs.append(pytorch_step(twin, penalties, peer, inputs, labels))
    return np.array(ours), np.array(theirs)


if __name__ == "__main__":
    raise SystemExit(main())
