"""The work that the benchmark times, once per framework: the same network, batch and recipe."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from benchmarks.recipes import POOL, Recipe, inputs_of, is_of_images, layers_of, recipe_of, weights_of

CHAIN = 1000
BETAS, EPS = (0.9, 0.999), 1e-8
EXAMPLES = 10_000
"""In an epoch."""

Work = Callable[[], object]


class Watch(Protocol):
    """What a whole training tells about itself."""

    def epoch(self) -> AbstractContextManager[None]:
        """Around the steps of an epoch."""

    def took(self, seconds: float) -> None:
        """The steps of an epoch, where the framework has measured them itself."""

    def test(self, infer: Callable[[Any], Any]) -> None:
        """Have the test images classified by what now gives logits or probabilities of inputs."""


def chained(x):
    """The result of a chain of operations on ``x``, of any framework."""
    y = x
    for _ in range(CHAIN // 2):
        y = y * 1.0001 + x
    return y


def keep_mask(rng, shape, rate):
    """Dropout's mask, scaled, for libraries that have none."""
    return (rng.random(shape, np.float32) >= rate) / np.float32(1 - rate)


def batches_of(count: int, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Indices of an epoch in random order."""
    order = rng.permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]


class Framework:
    """One way of doing the work; a subclass says how.

    ``prepared(sizes, recipe)`` returns a function of inputs and labels that does one step of training, and one of
    inputs that returns probabilities or logits by the same weights, or None where the framework has none.
    """

    has_convolution = False

    def prepared(self, sizes, recipe):
        raise NotImplementedError

    def convert(self, inputs, labels):
        """The arrays as the framework takes them; not timed."""
        return inputs, labels

    def examples(self, inputs, labels):
        """The arrays that batches are taken of."""
        return self.convert(inputs, labels)

    def finished(self, result):
        """Wait for a result; only where a framework goes on without."""
        return result

    def switch(self, trains):
        """Switch what is for training alone on or off; only where the network has a mode."""

    def chain(self) -> Work | None:
        """Forward and backward through 1,000 operations on ten numbers: the overhead of an operation."""
        return None

    def work(self, kind: str, sizes: tuple[Any, ...], batch: int) -> Work | None:
        """A function without arguments that does one piece of the work; None where the framework cannot."""
        if kind == "chain":
            return self.chain()
        if is_of_images(sizes) and not self.has_convolution:
            return None
        step, infer = self.prepared(sizes, recipe_of(sizes))
        given = inputs_of(sizes, EXAMPLES if kind == "epoch" else batch)
        arrays = self.examples(*given) if kind == "epoch" else self.convert(*given)
        self.switch(kind != "inference")
        if kind == "inference":
            return infer and (lambda: self.finished(infer(arrays[0])))
        if kind == "step":
            return lambda: self.finished(step(*arrays))
        rng = np.random.default_rng(0)

        def epoch():
            for chosen in batches_of(EXAMPLES, batch, rng):
                self.finished(step(arrays[0][chosen], arrays[1][chosen]))

        return epoch

    def train(
        self, sizes: tuple[Any, ...], recipe: Recipe, examples: tuple[Any, Any], epochs: int, batch: int, watch: Watch
    ) -> None:
        """A whole training, which tests the network after each epoch."""
        step, infer = self.prepared(sizes, recipe)
        inputs, labels = self.examples(*examples)
        rng = np.random.default_rng(0)
        for _ in range(epochs):
            self.switch(True)
            with watch.epoch():
                for chosen in batches_of(len(labels), batch, rng):
                    result = step(inputs[chosen], labels[chosen])
                self.finished(result)
            self.switch(False)
            watch.test(lambda images: infer(self.convert(images, examples[1])[0]))


class TensorGrad(Framework):
    """tensorgrad, recorded in every step, or compiled as a pure function, with numba's kernels or without."""

    has_convolution = True

    def __init__(self, compiled=False, fast=False):
        import tensorgrad as tg
        from tensorgrad import nn
        from tensorgrad.compiler import kernels

        if fast and kernels.numba() is None:
            raise ImportError("numba")
        if not fast:
            os.environ["TENSORGRAD_FAST"] = "0"
        self.tg, self.nn, self.compiled = tg, nn, compiled

    def model(self, sizes, recipe):
        nn, rng = self.nn, np.random.default_rng(0)
        shapes, layers = layers_of(sizes), []
        for i, shape in enumerate(shapes):
            if len(shape) == 4:
                layers += [nn.Conv2d(*shape[2:], shape[0], rng, padding=shape[0] // 2), nn.ReLU(), nn.MaxPool2d(POOL)]
                continue
            layers += [nn.Flatten()] if i and len(shapes[i - 1]) == 4 else []
            layers.append(nn.Dense(*shape, rng, weight_l2=0.0 if i else recipe.strength))
            if i < len(shapes) - 1:
                layers += [nn.ReLU(), nn.Dropout(recipe.rate, rng)] if recipe.rate else [nn.ReLU()]
        return nn.Sequential(*layers)

    def optimiser(self, model, recipe):
        optim = self.tg.optim
        lr = recipe.lr if recipe.steps is None else optim.cosine_decay(recipe.lr, recipe.steps)
        return optim.Adam(model.parameters(), lr=lr)

    def prepared(self, sizes, recipe):
        tg, model = self.tg, self.model(sizes, recipe)
        optimiser, self.switch = self.optimiser(model, recipe), model.train

        def step(inputs, labels):
            optimiser.zero_grad()
            loss = tg.softmax_cross_entropy(model(inputs), labels) + model.penalty()
            loss.backward()
            optimiser.step()
            return loss

        infer = tg.no_grad()(lambda inputs: tg.softmax(model(inputs)))
        return (tg.compile(step, pure=True), tg.compile(infer, pure=True)) if self.compiled else (step, infer)

    def train(self, sizes, recipe, examples, epochs, batch, watch):
        """By ``fit``, as its users do."""
        from tensorgrad.training import fit, predict

        model = self.model(sizes, recipe)

        def test(row):
            watch.took(row.seconds)
            watch.test(lambda images: predict(model, images))

        settings = {"batch_size": batch, "rng": np.random.default_rng(0), "compiled": self.compiled}
        fit(model, examples, None, self.optimiser(model, recipe), epochs=epochs, on_epoch=test, quiet=True, **settings)

    def chain(self):
        def run():
            x = self.tg.Tensor(np.ones(10, np.float32), requires_grad=True)
            chained(x).sum().backward()

        return None if self.compiled else run


class PyTorch(Framework):
    """PyTorch: eager, with its fused Adam, compiled by its inductor, or with subnormal numbers taken for 0."""

    has_convolution = True

    def __init__(self, fused=False, compiled=False, flushes=False):
        import torch

        self.torch, self.fused, self.compiled = torch, fused, compiled
        self.is_plain = not (fused or compiled or flushes)
        torch.set_flush_denormal(flushes)

    def convert(self, inputs, labels):
        return self.torch.from_numpy(inputs), self.torch.from_numpy(labels)

    def model(self, sizes, recipe):
        nn = self.torch.nn
        shapes, layers = layers_of(sizes), []
        for i, shape in enumerate(shapes):
            if len(shape) == 4:
                layers += [nn.Conv2d(*shape[2:], shape[0], padding=shape[0] // 2), nn.ReLU(), nn.MaxPool2d(POOL)]
                continue
            layers += [nn.Flatten()] if i and len(shapes[i - 1]) == 4 else []
            layers.append(nn.Linear(*shape))
            if i < len(shapes) - 1:
                layers += [nn.ReLU(), nn.Dropout(recipe.rate)] if recipe.rate else [nn.ReLU()]
        return nn.Sequential(*layers)

    def prepared(self, sizes, recipe):
        torch, model = self.torch, self.model(sizes, recipe)
        optimiser = torch.optim.Adam(model.parameters(), lr=1.0, fused=self.fused)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, recipe.lr_at)

        def loss_of(inputs, labels):
            loss = torch.nn.functional.cross_entropy(model(inputs), labels)
            return loss + recipe.strength * model[0].weight.square().sum() if recipe.strength else loss

        forward = torch.compile(loss_of) if self.compiled else loss_of

        def step(inputs, labels):
            optimiser.zero_grad()
            loss = forward(inputs, labels)
            loss.backward()
            optimiser.step()
            if recipe.steps is not None:
                schedule.step()
            return loss

        network, self.switch = torch.compile(model) if self.compiled else model, model.train

        def infer(inputs):
            with torch.no_grad():
                return torch.softmax(network(inputs), 1)

        return step, infer

    def chain(self):
        def run():
            x = self.torch.ones(10, requires_grad=True)
            chained(x).sum().backward()

        return run if self.is_plain else None


class Jax(Framework):
    """JAX: the whole step compiled, its state handed over to the next."""

    has_convolution = True

    def __init__(self):
        os.environ["JAX_PLATFORMS"] = "cpu"
        import jax

        self.jax = jax

    def convert(self, inputs, labels):
        return tuple(map(self.jax.numpy.asarray, self.examples(inputs, labels)))

    def examples(self, inputs, labels):
        """In NumPy, which takes batches more quickly, and with channels last, as convolution is quickest."""
        return (inputs.transpose(0, 2, 3, 1) if inputs.ndim == 4 else inputs), labels

    def finished(self, result):
        return result.block_until_ready()

    def pooled(self, x, w, b):
        """A convolution with ReLU and pooling."""
        lax, window = self.jax.lax, (1, POOL, POOL, 1)
        x = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        x = self.jax.numpy.maximum(x + b, 0)
        return lax.reduce_window(x, -np.inf, lax.max, window, window, "VALID")

    def logits(self, parameters, inputs, keys=None, rate=0.0):
        x = inputs
        for i, (w, b) in enumerate(parameters):
            if w.ndim == 4:
                x = self.pooled(x, w, b)
                continue
            x = x.reshape(len(x), -1) @ w + b
            if i < len(parameters) - 1:
                x = self.jax.numpy.maximum(x, 0)
                if keys is not None and rate:
                    x = x * self.jax.random.bernoulli(keys[i], 1 - rate, x.shape) / (1 - rate)
        return x

    def prepared(self, sizes, recipe):
        jax, jnp = self.jax, self.jax.numpy

        def loss_of(parameters, inputs, labels, keys):
            logits = self.logits(parameters, inputs, keys, recipe.rate)
            chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)
            return recipe.strength * (parameters[0][0] ** 2).sum() - chosen.mean()

        def update(state, inputs, labels):
            parameters, first, second, count, key = state
            key, *keys = jax.random.split(key, 1 + len(parameters))
            loss, gradients = jax.value_and_grad(loss_of)(parameters, inputs, labels, keys)
            first = jax.tree.map(lambda m, g: BETAS[0] * m + (1 - BETAS[0]) * g, first, gradients)
            second = jax.tree.map(lambda v, g: BETAS[1] * v + (1 - BETAS[1]) * g * g, second, gradients)
            lr, count = recipe.lr_at(count, jnp.cos), count + 1
            correction = jnp.sqrt(1 - BETAS[1] ** count)
            rate = lr * correction / (1 - BETAS[0] ** count)
            parameters = jax.tree.map(
                lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPS * correction), parameters, first, second
            )
            return (parameters, first, second, count, key), loss

        compiled = jax.jit(update, donate_argnums=0)
        classified = jax.jit(lambda p, x: jax.nn.softmax(self.logits(p, x)))
        parameters = jax.tree.map(jnp.asarray, weights_of(sizes))
        zeros = lambda: jax.tree.map(jnp.zeros_like, parameters)  # noqa: E731
        state = [(parameters, zeros(), zeros(), jnp.zeros((), jnp.float32), jax.random.key(0))]

        def step(inputs, labels):
            state[0], loss = compiled(state[0], inputs, labels)
            return loss

        return step, lambda inputs: classified(state[0][0], inputs)


class ScikitLearn(Framework):
    """scikit-learn's MLPClassifier, which has no dropout, and with Adam no schedule."""

    def __init__(self):
        from sklearn.neural_network import MLPClassifier

        self.classifier = MLPClassifier

    def model(self, sizes, recipe, batch=128):
        alpha = 2 * recipe.strength
        return self.classifier(sizes[1:-1], alpha=alpha, batch_size=batch, learning_rate_init=recipe.lr)

    def prepared(self, sizes, recipe):
        model = self.model(sizes, recipe)
        inputs, labels = inputs_of(sizes, 64)
        model.partial_fit(inputs, labels, classes=np.arange(sizes[-1]))

        def step(inputs, labels):
            model.batch_size = len(labels)
            model.partial_fit(inputs, labels)

        return step, model.predict_proba

    def train(self, sizes, recipe, examples, epochs, batch, watch):
        model = self.model(sizes, recipe, batch)
        for _ in range(epochs):
            with watch.epoch():
                model.partial_fit(*examples, classes=np.arange(sizes[-1]))
            watch.test(model.predict_proba)


class ByHand(Framework):
    """The step in NumPy with a backward pass written by hand, as one would without any library."""

    def prepared(self, sizes, recipe):
        layers = [list(pair) for pair in weights_of(sizes)]
        moments = [[[np.zeros_like(p), np.zeros_like(p)] for p in pair] for pair in layers]
        rng, count = np.random.default_rng(0), [0]

        def step(inputs, labels):
            values, masks = [inputs], []
            for i, (w, b) in enumerate(layers):
                x = values[-1] @ w + b
                if i < len(layers) - 1:
                    masks.append((x > 0) * keep_mask(rng, x.shape, recipe.rate))
                    x = x * masks[-1]
                values.append(x)
            g = softmax(values.pop())
            g[np.arange(len(labels)), labels] -= 1
            g /= len(labels)
            count[0] += 1
            for i in reversed(range(len(layers))):
                w = layers[i][0]
                gradients = [values[i].T @ g + (0 if i else 2 * recipe.strength * w), g.sum(axis=0)]
                if i:
                    g = (g @ w.T) * masks[i - 1]
                adam(layers[i], gradients, moments[i], count[0], recipe.lr)

        def infer(inputs):
            x = inputs
            for i, (w, b) in enumerate(layers):
                x = x @ w + b
                x = np.maximum(x, 0) if i < len(layers) - 1 else x
            return softmax(x)

        return step, infer


def softmax(x):
    """Rows that sum to 1."""
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def adam(parameters, gradients, moments, count, lr):
    """Adam in plain NumPy, for libraries that have no optimiser."""
    for p, g, state in zip(parameters, gradients, moments):
        state[0] = BETAS[0] * state[0] + (1 - BETAS[0]) * g
        state[1] = BETAS[1] * state[1] + (1 - BETAS[1]) * g * g
        p -= lr * (state[0] / (1 - BETAS[0] ** count)) / (np.sqrt(state[1] / (1 - BETAS[1] ** count)) + EPS)


class Autograd(Framework):
    """HIPS/autograd: gradients of NumPy code, Adam by hand."""

    def __init__(self):
        import autograd
        import autograd.numpy as anp

        self.autograd, self.np = autograd, anp

    def prepared(self, sizes, recipe):
        anp = self.np
        parameters = [p for pair in weights_of(sizes) for p in pair]
        moments = [[np.zeros_like(p), np.zeros_like(p)] for p in parameters]
        rng, count = np.random.default_rng(0), [0]

        def loss_of(parameters, inputs, labels):
            x = inputs
            for i in range(0, len(parameters), 2):
                x = anp.dot(x, parameters[i]) + parameters[i + 1]
                if i < len(parameters) - 2:
                    keep = keep_mask(rng, x.shape, recipe.rate)
                    x = anp.maximum(x, 0) * keep
            x = x - anp.max(x, axis=1, keepdims=True)
            logarithms = x - anp.log(anp.sum(anp.exp(x), axis=1, keepdims=True))
            chosen = anp.mean(logarithms[np.arange(len(labels)), labels])
            return recipe.strength * anp.sum(parameters[0] ** 2) - chosen

        gradient = self.autograd.grad(loss_of)

        def step(inputs, labels):
            count[0] += 1
            adam(parameters, gradient(parameters, inputs, labels), moments, count[0], recipe.lr)

        return step, None

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

    def prepared(self, sizes, recipe):
        mg = self.mygrad
        parameters = [mg.tensor(p) for pair in weights_of(sizes) for p in pair]
        moments = [[np.zeros_like(p.data), np.zeros_like(p.data)] for p in parameters]
        rng, count = np.random.default_rng(0), [0]

        def step(inputs, labels):
            x = inputs
            for i in range(0, len(parameters), 2):
                x = mg.matmul(x, parameters[i]) + parameters[i + 1]
                if i < len(parameters) - 2:
                    keep = keep_mask(rng, x.shape, recipe.rate)
                    x = mg.maximum(x, 0) * keep
            loss = mg.nnet.softmax_crossentropy(x, labels) + recipe.strength * mg.sum(parameters[0] ** 2)
            loss.backward()
            count[0] += 1
            adam([p.data for p in parameters], [p.grad for p in parameters], moments, count[0], recipe.lr)

        return step, None

    def chain(self):
        def run():
            x = self.mygrad.tensor(np.ones(10, np.float32))
            chained(x).sum().backward()

        return run


class MatrixProducts(Framework):
    """The floor: only the matrix products, in NumPy, into arrays that exist already."""

    def prepared(self, sizes, recipe):
        weights = [w for w, _ in weights_of(sizes)]
        made: dict[int, list] = {}
        kept: dict[int, list] = {}

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

        def infer(inputs):
            values = kept.setdefault(len(inputs), [np.empty((len(inputs), n), np.float32) for n in sizes[1:]])
            for weight, out in zip(weights, values):
                inputs = np.matmul(inputs, weight, out=out)

        return step, infer


REFERENCE, JAX, OURS = "PyTorch", "JAX, jit", "tensorgrad, compiled, numba"
"""The one that speeds are relative to, the quickest other one, and ours at its quickest."""

OURS_ON_NUMPY, FLUSHING = "tensorgrad, compiled", "PyTorch, subnormals flushed"

FRAMEWORKS: dict[str, Callable[[], Framework]] = {
    "tensorgrad": lambda: TensorGrad(),
    "tensorgrad, compiled": lambda: TensorGrad(compiled=True),
    "tensorgrad, compiled, numba": lambda: TensorGrad(compiled=True, fast=True),
    "PyTorch": lambda: PyTorch(),
    "PyTorch, fused Adam": lambda: PyTorch(fused=True),
    "PyTorch, compiled": lambda: PyTorch(compiled=True),
    FLUSHING: lambda: PyTorch(flushes=True),
    "JAX, jit": lambda: Jax(),
    "scikit-learn": lambda: ScikitLearn(),
    "HIPS/autograd": lambda: Autograd(),
    "MyGrad": lambda: MyGrad(),
    "NumPy by hand": lambda: ByHand(),
    "matrix products only": lambda: MatrixProducts(),
}

STEPPING = [name for name in FRAMEWORKS if name != FLUSHING]
"""Those whose single steps are timed: subnormal numbers come with time."""

TRAINING = [OURS_ON_NUMPY, OURS, REFERENCE, FLUSHING, JAX, "scikit-learn"]
"""Those whose whole trainings are."""
