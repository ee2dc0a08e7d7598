"""The same networks in PyTorch: python -m benchmarks.parity EXPERIMENT [--train] [options of the experiment].

Without --train: same initial weights and batches, no dropout, and the losses of the first steps side by side.
With --train: PyTorch trains the network by the experiment's own recipe and reports its test accuracy.
"""

from __future__ import annotations

import argparse
import importlib
import time

import numpy as np

from experiments.runner.command import parse, reported_errors
from experiments.runner.experiment import Run
from experiments.runner.run import prepare
from tensorgrad._optional import require
from tensorgrad.data import DataError
from tensorgrad.nn import Dense, Dropout
from tensorgrad.training import training_step

STEPS = 100
PARITY_RATE = 0.03
"""Share of the experiment's rate at which losses are compared: at full rate the first steps of the largest network
overshoot, and there rounding alone grows a hundredfold in a few steps, in either library."""


def main(arguments: list[str] | None = None) -> int:
    """Compare or train; the exit code is 1 if losses differ by more than 1e-4, 2 if something is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.parity",
        description=__doc__.split("\n")[0],
        epilog="All other options are those of the experiment: python -m experiments.EXPERIMENT --help",
    )
    parser.add_argument("experiment", choices=["mnist", "simpsons", "simpsons_rgb"])
    parser.add_argument("--train", action="store_true", help="train with PyTorch, to compare accuracies")
    options, others = parser.parse_known_args(arguments)
    with reported_errors("benchmarks.parity"):
        require("torch", "the comparison with PyTorch")
        run = _set_up(options.experiment, others)
        if options.train:
            accuracy, seconds = train_in_pytorch(run)
            title = f"{options.experiment}, PyTorch, seed {run.options.seed}"
            print(f"{title}: test accuracy {accuracy:.4f} in {seconds:.1f} s")
            return 0
        ours, theirs = first_losses(run, STEPS)
        difference = float(np.max(np.abs(ours - theirs) / np.abs(theirs)))
        for step in (0, 1, 9, 49, STEPS - 1):
            print(f"step {step + 1:4d}  tensorgrad {ours[step]:.6f}  PyTorch {theirs[step]:.6f}")
        print(f"{options.experiment}: largest relative difference in {STEPS} steps {difference:.1e}")
        return 0 if difference <= 1e-4 else 1


def _set_up(name: str, arguments: list[str]) -> Run:
    """Data and network of the experiment, as its own script would prepare them."""
    experiment = importlib.import_module(f"experiments.{name}").EXPERIMENT
    options = parse(experiment, arguments)
    if options.clip or options.patience or options.schedule == "plateau":
        raise DataError("the comparison has no --clip, --patience or plateau; leave them out")
    run = Run(experiment, options)
    prepare(run)
    return run


def as_pytorch(model):
    """The same layers with the same weights, and the strength of the first layer's penalty."""
    import torch

    layers, penalties = [], []
    for layer in model.layers:
        if isinstance(layer, Dense):
            linear = torch.nn.Linear(*layer.weight.shape)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(layer.weight.numpy().T.copy()))
                linear.bias.copy_(torch.from_numpy(layer.bias.numpy().copy()))
            penalties.append((linear.weight, layer.weight_l2))
            layers.append(linear)
        else:
            layers.append(torch.nn.Dropout(layer.rate) if isinstance(layer, Dropout) else torch.nn.ReLU())
    return torch.nn.Sequential(*layers), [pair for pair in penalties if pair[1]]


def pytorch_step(model, penalties, optimiser, inputs, labels) -> float:
    """One update; returns the batch's cross-entropy, without penalties."""
    import torch

    optimiser.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(inputs)), torch.from_numpy(labels))
    total = loss + sum(strength * weight.square().sum() for weight, strength in penalties)
    total.backward()
    optimiser.step()
    return loss.item()


def first_losses(run: Run, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses of the first steps, ours and PyTorch's, at the same constant rate."""
    import torch

    import tensorgrad as tg

    twin, penalties = as_pytorch(run.model)
    twin.eval()
    run.model.eval()
    rate = run.options.lr * PARITY_RATE
    peer, own = torch.optim.Adam(twin.parameters(), lr=rate), tg.optim.Adam(run.model.parameters(), lr=rate)
    step = tg.compile(training_step(run.model, own))
    ours, theirs = [], []
    for indices in _orders(run, steps):
        inputs, labels = run.standardisation(run.train[0][indices]), run.train[1][indices].astype(np.int64)
        ours.append(step(inputs, labels)[0].item())
        theirs.append(pytorch_step(twin, penalties, peer, inputs, labels))
    return np.array(ours), np.array(theirs)


def _orders(run: Run, steps: int):
    """Indices of the given number of batches, epoch after epoch."""
    size, count = run.options.batch_size, len(run.train[1])
    while steps > 0:
        order = run.rng.permutation(count)
        for start in range(0, count, size):
            if steps > 0:
                steps -= 1
                yield order[start : start + size]


def train_in_pytorch(run: Run) -> tuple[float, float]:
    """Test accuracy of the network of the best epoch, trained by the experiment's recipe, and the seconds it took."""
    import torch

    torch.manual_seed(run.options.seed)
    model, penalties = as_pytorch(run.model)
    optimiser = torch.optim.Adam(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, run.optimiser.lr)
    images, labels = run.train[0], run.train[1].astype(np.int64)
    best, weights, started = -1.0, {}, time.perf_counter()
    for _ in range(run.epochs):
        model.train()
        for indices in _orders(run, -(-len(labels) // run.options.batch_size)):
            chosen = run.augmentation(images[indices], run.rng) if run.options.augment else images[indices]
            pytorch_step(model, penalties, optimiser, run.standardisation(chosen), labels[indices])
            schedule.step()
        accuracy = _accuracy(run, model, *run.validation)
        if accuracy >= best:
            best, weights = accuracy, {name: value.clone() for name, value in model.state_dict().items()}
    seconds = time.perf_counter() - started
    model.load_state_dict(weights)
    return _accuracy(run, model, run.dataset.test_images, run.dataset.test_labels), seconds


def _accuracy(run: Run, model, images: np.ndarray, labels: np.ndarray) -> float:
    import torch

    model.eval()
    with torch.no_grad():
        predicted = model(torch.from_numpy(run.standardisation(images))).argmax(dim=1).numpy()
    return float((predicted == labels).mean())


if __name__ == "__main__":
    raise SystemExit(main())
