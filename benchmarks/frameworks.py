"""The work that the benchmark times, once per framework: the same network, batch and recipe."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

NETWORKS = {"784-512-10": (784, 512, 10), "2352-2048-512-10": (2352, 2048, 512, 10), "64-32-10": (64, 32, 10)}
"""The networks of the experiments (digits and gray characters share one), and a small one."""

RATE, STRENGTH, LR, CHAIN = 0.1, 5e-4, 1e-3, 1000
BETAS, EPS = (0.9, 0.999), 1e-8
EXAMPLES = 10_000
"""In an epoch."""

Work = Callable[[], object]


def inputs_of(sizes, count):
    """Inputs and labels, the same for every framework."""
    rng = np.random.default_rng(0)
    return rng.random((count, sizes[0]), dtype=np.float32), rng.integers(0, sizes[-1], count)


def weights_of(sizes):
    """Initial weights and biases, the same for every framework that takes them."""
    rng = np.random.default_rng(0)
    scaled = [rng.standard_normal((m, n)) * np.sqrt(2 / m) for m, n in zip(sizes, sizes[1:])]
    return [(w.astype(np.float32), np.zeros(w.shape[1], np.float32)) for w in scaled]


def chained(x):
    """The result of a chain of operations on ``x``, of any framework."""
    y = x
    for _ in range(CHAIN // 2):
        y = y * 1.0001 + x
    return y


def keep_mask(rng, shape):
    """Dropout's mask, scaled, for libraries that have none."""
    return (rng.random(shape, np.float32) >= RATE) / np.float32(1 - RATE)


class Framework:
    """One way of doing the work; a subclass says how.

    ``training(sizes)`` returns a function of inputs and labels that does one step, ``inference(sizes)`` a function of
    inputs that returns probabilities or logits.
    """

    def training(self, sizes):
        raise NotImplementedError

    def inference(self, sizes):
        raise NotImplementedError

    def convert(self, inputs, labels):
        """The arrays as the framework takes them; not timed."""
        return inputs, labels

    def chain(self) -> Work | None:
        """Forward and backward through 1,000 operations on ten numbers: what each operation costs besides its work."""
        return None

    def work(self, kind: str, sizes: tuple[int, ...], batch: int) -> Work | None:
        """A function without arguments that does one piece of the work; None where the framework cannot."""
        if kind == "chain":
            return self.chain()
        arrays = self.convert(*inputs_of(sizes, EXAMPLES if kind == "epoch" else batch))
        if kind == "inference":
            infer = self.inference(sizes)
            return infer and (lambda: infer(arrays[0]))
        step = self.training(sizes)
        if kind == "step":
            return lambda: step(*arrays)
        order = np.random.default_rng(0).permutation(EXAMPLES)

        def epoch():
            for start in range(0, EXAMPLES, batch):
                chosen = order[start : start + batch]
                step(arrays[0][chosen], arrays[1][chosen])

        return epoch


class TensorGrad(Framework):
    """tensorgrad, recorded in every step, or compiled as a pure function, with numba's kernels or without."""

    def __init__(self, compiled=False, fast=False):
        import tensorgrad as tg
        from tensorgrad import nn
        from tensorgrad.compiler import kernels

        if fast and kernels.numba() is None:
            raise ImportError("numba")
        if not fast:
            os.environ["TENSORGRAD_FAST"] = "0"
        self.tg, self.nn, self.compiled = tg, nn, compiled

    def model(self, sizes):
        rng = np.random.default_rng(0)
        layers = []
        for i, (m, n) in enumerate(zip(sizes, sizes[1:])):
            layers.append(self.nn.Dense(m, n, rng, weight_l2=0.0 if i else STRENGTH))
            layers += [self.nn.ReLU(), self.nn.Dropout(RATE, rng)] if i < len(sizes) - 2 else []
        return self.nn.Sequential(*layers)

    def training(self, sizes):
        tg, model = self.tg, self.model(sizes)
        optimiser = tg.optim.Adam(model.parameters(), lr=LR)

        def step(inputs, labels):
            optimiser.zero_grad()
            loss = tg.softmax_cross_entropy(model(inputs), labels) + model.penalty()
            loss.backward()
            optimiser.step()
            return loss

        return tg.compile(step, pure=True) if self.compiled else step

    def inference(self, sizes):
        model = self.model(sizes).eval()
        infer = self.tg.no_grad()(lambda inputs: self.tg.softmax(model(inputs)))
        return self.tg.compile(infer, pure=True) if self.compiled else infer

    def chain(self):
        def run():
            x = self.tg.Tensor(np.ones(10, np.float32), requires_grad=True)
            chained(x).sum().backward()

        return None if self.compiled else run


class PyTorch(Framework):
    """PyTorch: eager, with its fused Adam, or compiled by its inductor."""

    def __init__(self, fused=False, compiled=False):
        import torch

        self.torch, self.fused, self.compiled = torch, fused, compiled

    def convert(self, inputs, labels):
        return self.torch.from_numpy(inputs), self.torch.from_numpy(labels)

    def model(self, sizes):
        nn = self.torch.nn
        layers = []
        for i, (m, n) in enumerate(zip(sizes, sizes[1:])):
            layers.append(nn.Linear(m, n))
            layers += [nn.ReLU(), nn.Dropout(RATE)] if i < len(sizes) - 2 else []
        return nn.Sequential(*layers)

    def training(self, sizes):
        torch, model = self.torch, self.model(sizes)
        optimiser = torch.optim.Adam(model.parameters(), lr=LR, fused=self.fused)

        def loss_of(inputs, labels):
            loss = torch.nn.functional.cross_entropy(model(inputs), labels)
            return loss + STRENGTH * model[0].weight.square().sum()

        forward = torch.compile(loss_of) if self.compiled else loss_of

        def step(inputs, labels):
            optimiser.zero_grad()
            loss = forward(inputs, labels)
            loss.backward()
            optimiser.step()
            return loss

        return step

    def inference(self, sizes):
        model = self.model(sizes).eval()
        model = self.torch.compile(model) if self.compiled else model

        def infer(inputs):
            with self.torch.no_grad():
                return self.torch.softmax(model(inputs), 1)

        return infer

    def chain(self):
        def run():
            x = self.torch.ones(10, requires_grad=True)
            chained(x).sum().backward()

        return None if self.fused or self.compiled else run


class Jax(Framework):
    """JAX: the whole step compiled, its state handed over to the next."""

    def __init__(self):
        os.environ["JAX_PLATFORMS"] = "cpu"
        import jax

        self.jax = jax

    def convert(self, inputs, labels):
        return self.jax.numpy.asarray(inputs), self.jax.numpy.asarray(labels)

    def logits(self, parameters, inputs, keys=None):
        jnp = self.jax.numpy
        x = inputs
        for i, (w, b) in enumerate(parameters):
            x = x @ w + b
            if i < len(parameters) - 1:
                x = jnp.maximum(x, 0)
                if keys is not None:
                    x = x * self.jax.random.bernoulli(keys[i], 1 - RATE, x.shape) / (1 - RATE)
        return x

    def training(self, sizes):
        jax, jnp = self.jax, self.jax.numpy

        def loss_of(parameters, inputs, labels, keys):
            logits = self.logits(parameters, inputs, keys)
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
            return -chosen.mean() + STRENGTH * (parameters[0][0] ** 2).sum()

        def update(state, inputs, labels):
            parameters, first, second, count, key = state
            key, *keys = jax.random.split(key, len(sizes))
            loss, gradients = jax.value_and_grad(loss_of)(parameters, inputs, labels, keys)
            count = count + 1
            first = jax.tree.map(lambda m, g: BETAS[0] * m + (1 - BETAS[0]) * g, first, gradients)
            second = jax.tree.map(lambda v, g: BETAS[1] * v + (1 - BETAS[1]) * g * g, second, gradients)
            correction = jnp.sqrt(1 - BETAS[1] ** count)
            rate = LR * correction / (1 - BETAS[0] ** count)
            parameters = jax.tree.map(
                lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPS * correction), parameters, first, second
            )
            return (parameters, first, second, count, key), loss

        compiled = jax.jit(update, donate_argnums=0)
        parameters = jax.tree.map(jnp.asarray, weights_of(sizes))
        zeros = lambda: jax.tree.map(jnp.zeros_like, parameters)  # noqa: E731
        state = [(parameters, zeros(), zeros(), jnp.zeros((), jnp.float32), jax.random.key(0))]

        def step(inputs, labels):
            state[0], loss = compiled(state[0], inputs, labels)
            return loss.block_until_ready()

        return step

    def inference(self, sizes):
        parameters = self.jax.tree.map(self.jax.numpy.asarray, weights_of(sizes))
        compiled = self.jax.jit(lambda p, x: self.jax.nn.softmax(self.logits(p, x)))
        return lambda inputs: compiled(parameters, inputs).block_until_ready()


class ScikitLearn(Framework):
    """scikit-learn's MLPClassifier, which has no dropout."""

    def __init__(self):
        from sklearn.neural_network import MLPClassifier

        self.classifier = MLPClassifier

    def fitted(self, sizes, batch=128):
        model = self.classifier(sizes[1:-1], alpha=2 * STRENGTH, batch_size=batch, learning_rate_init=LR)
        inputs, labels = inputs_of(sizes, 64)
        return model.partial_fit(inputs, labels, classes=np.arange(sizes[-1]))

    def training(self, sizes):
        model = self.fitted(sizes)

        def step(inputs, labels):
            model.batch_size = len(labels)
            model.partial_fit(inputs, labels)

        return step

    def inference(self, sizes):
        return self.fitted(sizes).predict_proba


class ByHand(Framework):
    """The step in NumPy with a backward pass written by hand, as one would without any library."""

    def training(self, sizes):
        layers = [list(pair) for pair in weights_of(sizes)]
        moments = [[[np.zeros_like(p), np.zeros_like(p)] for p in pair] for pair in layers]
        rng, count = np.random.default_rng(0), [0]

        def step(inputs, labels):
            values, masks = [inputs], []
            for i, (w, b) in enumerate(layers):
                x = values[-1] @ w + b
                if i < len(layers) - 1:
                    masks.append((x > 0) * keep_mask(rng, x.shape))
                    x = x * masks[-1]
                values.append(x)
            g = softmax(values.pop())
            g[np.arange(len(labels)), labels] -= 1
            g /= len(labels)
            count[0] += 1
            for i in reversed(range(len(layers))):
                w = layers[i][0]
                gradients = [values[i].T @ g + (0 if i else 2 * STRENGTH * w), g.sum(axis=0)]
                if i:
                    g = (g @ w.T) * masks[i - 1]
                adam(layers[i], gradients, moments[i], count[0])

        return step

    def inference(self, sizes):
        layers = weights_of(sizes)

        def infer(inputs):
            x = inputs
            for i, (w, b) in enumerate(layers):
                x = x @ w + b
                x = np.maximum(x, 0) if i < len(layers) - 1 else x
            return softmax(x)

        return infer


def softmax(x):
    """Rows that sum to 1."""
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def adam(parameters, gradients, moments, count):
    """Adam in plain NumPy, for libraries that have no optimiser."""
    for p, g, state in zip(parameters, gradients, moments):
        state[0] = BETAS[0] * state[0] + (1 - BETAS[0]) * g
        state[1] = BETAS[1] * state[1] + (1 - BETAS[1]) * g * g
        p -= LR * (state[0] / (1 - BETAS[0] ** count)) / (np.sqrt(state[1] / (1 - BETAS[1] ** count)) + EPS)


class Autograd(Framework):
    """HIPS/autograd: gradients of NumPy code, Adam by hand."""

    def __init__(self):
        import autograd
        import autograd.numpy as anp

        self.autograd, self.np = autograd, anp

    def training(self, sizes):
        anp = self.np
        parameters = [p for pair in weights_of(sizes) for p in pair]
        moments = [[np.zeros_like(p), np.zeros_like(p)] for p in parameters]
        rng, count = np.random.default_rng(0), [0]

        def loss_of(parameters, inputs, labels):
            x = inputs
            for i in range(0, len(parameters), 2):
                x = anp.dot(x, parameters[i]) + parameters[i + 1]
                if i < len(parameters) - 2:
                    keep = keep_mask(rng, x.shape)
                    x = anp.maximum(x, 0) * keep
            x = x - anp.max(x, axis=1, keepdims=True)
            logarithms = x - anp.log(anp.sum(anp.exp(x), axis=1, keepdims=True))
            chosen = anp.mean(logarithms[np.arange(len(labels)), labels])
            return STRENGTH * anp.sum(parameters[0] ** 2) - chosen

        gradient = self.autograd.grad(loss_of)

        def step(inputs, labels):
            count[0] += 1
            adam(parameters, gradient(parameters, inputs, labels), moments, count[0])

        return step

    def inference(self, sizes):
        return None

    def chain(self):
        def run(x):
            return self.np.sum(chained(x))

        gradient = self.autograd.grad(run)
        return lambda: gradient(np.ones(10, np.float32))


class MyGrad(Framework):
    """MyGrad: tensors on NumPy, Adam by hand."""

    def __init__(self):
        import mygrad

        mygrad.turn_memory_guarding_off()  # as its documentation advises for speed
        self.mygrad = mygrad

    def training(self, sizes):
        mg = self.mygrad
        parameters = [mg.tensor(p) for pair in weights_of(sizes) for p in pair]
        moments = [[np.zeros_like(p.data), np.zeros_like(p.data)] for p in parameters]
        rng, count = np.random.default_rng(0), [0]

        def step(inputs, labels):
            x = inputs
            for i in range(0, len(parameters), 2):
                x = mg.matmul(x, parameters[i]) + parameters[i + 1]
                if i < len(parameters) - 2:
                    keep = keep_mask(rng, x.shape)
                    x = mg.maximum(x, 0) * keep
            loss = mg.nnet.softmax_crossentropy(x, labels) + STRENGTH * mg.sum(parameters[0] ** 2)
            loss.backward()
            count[0] += 1
            adam([p.data for p in parameters], [p.grad for p in parameters], moments, count[0])

        return step

    def inference(self, sizes):
        return None

    def chain(self):
        def run():
            x = self.mygrad.tensor(np.ones(10, np.float32))
            chained(x).sum().backward()

        return run


class MatrixProducts(Framework):
    """The floor: only the matrix products, in NumPy, into arrays that exist already."""

    def training(self, sizes):
        weights = [w for w, _ in weights_of(sizes)]
        made: dict[int, list] = {}

        def step(inputs, labels):
            count = len(labels)
            if count not in made:
                rng = np.random.default_rng(0)
                made[count] = [rng.random((count, n), dtype=np.float32) for n in sizes]
                made[-count] = [np.empty_like(weight) for weight in weights]
            values, gradients = [inputs, *made[count][1:]], made[-count]
            for i, weight in enumerate(weights):
                np.matmul(values[i], weight, out=values[i + 1])
            for i in reversed(range(len(weights))):
                np.matmul(values[i].T, values[i + 1], out=gradients[i])
                if i:
                    np.matmul(values[i + 1], weights[i].T, out=values[i])

        return step

    def inference(self, sizes):
        weights = [w for w, _ in weights_of(sizes)]
        made: dict[int, list] = {}

        def infer(inputs):
            values = made.setdefault(len(inputs), [np.empty((len(inputs), n), np.float32) for n in sizes[1:]])
            for weight, out in zip(weights, values):
                inputs = np.matmul(inputs, weight, out=out)

        return infer


FRAMEWORKS: dict[str, Callable[[], Framework]] = {
    "tensorgrad": lambda: TensorGrad(),
    "tensorgrad, compiled": lambda: TensorGrad(compiled=True),
    "tensorgrad, compiled, numba": lambda: TensorGrad(compiled=True, fast=True),
    "PyTorch": lambda: PyTorch(),
    "PyTorch, fused Adam": lambda: PyTorch(fused=True),
    "PyTorch, compiled": lambda: PyTorch(compiled=True),
    "JAX, jit": lambda: Jax(),
    "scikit-learn": lambda: ScikitLearn(),
    "HIPS/autograd": lambda: Autograd(),
    "MyGrad": lambda: MyGrad(),
    "NumPy by hand": lambda: ByHand(),
    "matrix products only": lambda: MatrixProducts(),
}

REFERENCE, JAX, OURS = "PyTorch", "JAX, jit", "tensorgrad, compiled, numba"
"""The one that speeds are relative to, the quickest other one, and ours at its quickest."""
