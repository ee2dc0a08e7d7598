"""The work that the benchmark times, once per framework: the same network, batch and recipe."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

BATCH = 128
SIZES = {"784-512-10": (784, 512, 10), "2352-2048-512-10": (2352, 2048, 512, 10), "64-32-10": (64, 32, 10)}
RATE, STRENGTH, CHAIN = 0.1, 5e-4, 1000

Cases = dict[str, Callable[[], object]]


def batch_of(sizes):
    """Inputs and labels, the same for every framework."""
    rng = np.random.default_rng(0)
    return rng.random((BATCH, sizes[0]), dtype=np.float32), rng.integers(0, sizes[-1], BATCH)


def tensorgrad() -> Cases:
    """tensorgrad, recording anew in every step."""
    import tensorgrad as tg
    from tensorgrad import nn

    def step_of(sizes):
        rng = np.random.default_rng(0)
        layers = []
        for i, (m, n) in enumerate(zip(sizes, sizes[1:])):
            layers.append(nn.Dense(m, n, rng, weight_l2=0.0 if i else STRENGTH))
            layers += [nn.ReLU(), nn.Dropout(RATE, rng)] if n != sizes[-1] else []
        model = nn.Sequential(*layers)
        optimiser = tg.optim.Adam(model.parameters())
        inputs, labels = batch_of(sizes)

        def step():
            optimiser.zero_grad()
            loss = tg.softmax_cross_entropy(model(inputs), labels) + model.penalty()
            loss.backward()
            optimiser.step()

        return step

    def chain():
        x = tg.Tensor(np.ones(10, np.float32), requires_grad=True)
        y = x
        for _ in range(CHAIN // 2):
            y = y * 1.0001 + x
        y.sum().backward()

    return _cases(step_of, chain)


def _pytorch(fused: bool) -> Cases:
    import torch

    def step_of(sizes):
        layers = []
        for m, n in zip(sizes, sizes[1:]):
            layers.append(torch.nn.Linear(m, n))
            layers += [torch.nn.ReLU(), torch.nn.Dropout(RATE)] if n != sizes[-1] else []
        model = torch.nn.Sequential(*layers)
        optimiser = torch.optim.Adam(model.parameters(), fused=fused)
        inputs, labels = map(torch.from_numpy, batch_of(sizes))

        def step():
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(inputs), labels) + STRENGTH * model[0].weight.square().sum()
            loss.backward()
            optimiser.step()

        return step

    def chain():
        x = torch.ones(10, requires_grad=True)
        y = x
        for _ in range(CHAIN // 2):
            y = y * 1.0001 + x
        y.sum().backward()

    return _cases(step_of, None if fused else chain)


def pytorch() -> Cases:
    """PyTorch, eager, Adam as it comes."""
    return _pytorch(fused=False)


def pytorch_fused() -> Cases:
    """PyTorch, eager, with its fused Adam."""
    return _pytorch(fused=True)


def matrix_products() -> Cases:
    """The floor: only the matrix products of the step, in NumPy, into arrays that exist already."""

    def step_of(sizes):
        rng = np.random.default_rng(0)
        values = [rng.random((BATCH, n), dtype=np.float32) for n in sizes]
        weights = [rng.random((m, n), dtype=np.float32) for m, n in zip(sizes, sizes[1:])]
        outs = [np.empty_like(value) for value in values]
        gradients = [np.empty_like(weight) for weight in weights]

        def step():
            for i, weight in enumerate(weights):
                np.matmul(values[i], weight, out=outs[i + 1])
            for i in reversed(range(len(weights))):
                np.matmul(values[i].T, outs[i + 1], out=gradients[i])
                if i:
                    np.matmul(outs[i + 1], weights[i].T, out=outs[i])

        return step

    return _cases(step_of, None)


def _cases(step_of, chain) -> Cases:
    cases = {f"step {name}": step_of(sizes) for name, sizes in SIZES.items()}
    return cases if chain is None else {**cases, f"chain of {CHAIN:,} ops": chain}


CONTENDERS = {
    "tensorgrad": tensorgrad,
    "PyTorch": pytorch,
    "PyTorch, fused Adam": pytorch_fused,
    "matrix products only": matrix_products,
}
