"""Test accuracy of the same network and recipe in PyTorch: python -m benchmarks.accuracy EXPERIMENT [its options]."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.pytorch import as_pytorch, orders, parser, prepare_experiment, pytorch_step
from tensorgrad._optional import require
from tensorgrad.runner.errors import reported_errors
from tensorgrad.runner.preparation import Prepared


def main(arguments: list[str] | None = None) -> int:
    """Train with PyTorch by the experiment's own recipe and print the accuracy; exit code 2 if something is missing."""
    description = "Train the network of an experiment by its recipe in PyTorch, to compare accuracies."
    options, others = parser("benchmarks.accuracy", description).parse_known_args(arguments)
    with reported_errors("benchmarks.accuracy"):
        require("torch", "the comparison with PyTorch")
        prepared = prepare_experiment(options.experiment, others)
        accuracy, seconds = train_in_pytorch(prepared)
    print(
        f"{options.experiment}, PyTorch, seed {prepared.options.seed}: test accuracy {accuracy:.4f} in {seconds:.1f} s"
    )
    return 0


def train_in_pytorch(prepared: Prepared) -> tuple[float, float]:
    """Test accuracy of the network of the best epoch, trained by the experiment's recipe, and the seconds it took."""
    import torch

    torch.manual_seed(prepared.options.seed)
    model, penalties = as_pytorch(prepared.model)
    optimiser = torch.optim.Adam(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, prepared.optimiser.lr)
    images, labels = prepared.train[0], prepared.train[1].astype(np.int64)
    best, weights, started = -1.0, {}, time.perf_counter()
    for _ in range(prepared.options.epochs):
        model.train()
        for indices in orders(prepared, -(-len(labels) // prepared.options.batch_size)):
            chosen = images[indices]
            if prepared.options.augment:
                chosen = prepared.augmentation(chosen, prepared.streams.augmentation)
            pytorch_step(model, penalties, optimiser, prepared.standardisation(chosen), labels[indices])
            schedule.step()
        accuracy = _accuracy(prepared, model, *prepared.validation)
        if accuracy >= best:
            best, weights = accuracy, {name: value.clone() for name, value in model.state_dict().items()}
    seconds = time.perf_counter() - started
    model.load_state_dict(weights)
    return _accuracy(prepared, model, prepared.dataset.test_images, prepared.dataset.test_labels), seconds


def _accuracy(prepared: Prepared, model, images: np.ndarray, labels: np.ndarray) -> float:
    import torch

    model.eval()
    with torch.no_grad():
        predicted = model(torch.from_numpy(prepared.standardisation(images))).argmax(dim=1).numpy()
    return float((predicted == labels).mean())


if __name__ == "__main__":
    raise SystemExit(main())
