"""Layers with a backward method written by hand, each for one operation: what tensor expressions replace.

A layer keeps in ``forward`` what its ``backward`` will need, and leaves the derivatives of the loss in ``dinputs``,
``dweights`` and ``dbiases``. The one who writes it has worked them out on paper.
"""

from __future__ import annotations

import numpy as np


class Layer_Dense:
    """inputs @ weights + biases, with an L2 penalty on the weights if asked for."""

    def __init__(self, n_inputs, n_neurons, rng, weight_regularizer_l2=0.0):
        self.weights = (rng.standard_normal((n_inputs, n_neurons)) * np.sqrt(2 / n_inputs)).astype(np.float32)
        self.biases = np.zeros(n_neurons, np.float32)
        self.weight_regularizer_l2 = weight_regularizer_l2

    def forward(self, inputs):
        self.inputs = inputs
        self.output = inputs @ self.weights + self.biases

    def backward(self, dvalues):
        self.dweights = self.inputs.T @ dvalues
        self.dbiases = dvalues.sum(axis=0)
        if self.weight_regularizer_l2:
            self.dweights += 2 * self.weight_regularizer_l2 * self.weights
        self.dinputs = dvalues @ self.weights.T


class Activation_ReLU:
    """The inputs where they are positive, 0 elsewhere."""

    def forward(self, inputs):
        self.inputs = inputs
        self.output = np.maximum(0, inputs)

    def backward(self, dvalues):
        self.dinputs = dvalues.copy()
        self.dinputs[self.inputs <= 0] = 0


class Layer_Dropout:
    """Each input is dropped with probability ``rate``; those that stay are scaled up."""

    def __init__(self, rate, rng):
        self.keep, self.rng = 1 - rate, rng

    def forward(self, inputs, training=True):
        self.mask = np.ones_like(inputs)
        if training:
            self.mask = (self.rng.binomial(1, self.keep, inputs.shape) / self.keep).astype(inputs.dtype)
        self.output = inputs * self.mask

    def backward(self, dvalues):
        self.dinputs = dvalues * self.mask


class Activation_Softmax_Loss_CategoricalCrossentropy:
    """Probabilities from logits, and the mean of -log of the probability of the right class."""

    def forward(self, inputs, y_true):
        powers = np.exp(inputs - inputs.max(axis=1, keepdims=True))
        self.output = powers / powers.sum(axis=1, keepdims=True)
        confidences = self.output[np.arange(len(inputs)), y_true]
        return -np.log(np.clip(confidences, 1e-7, None)).mean()

    def backward(self, y_true):
        self.dinputs = self.output.copy()
        self.dinputs[np.arange(len(y_true)), y_true] -= 1
        self.dinputs /= len(y_true)


class Optimizer_Adam:
    """Each weight gets a step of its own, by running means of its gradient and of the gradient's square."""

    def __init__(self, learning_rate=0.001, epsilon=1e-8, beta_1=0.9, beta_2=0.999):
        self.learning_rate, self.epsilon = learning_rate, epsilon
        self.beta_1, self.beta_2 = beta_1, beta_2
        self.iterations = 0

    def pre_update_params(self):
        self.iterations += 1

    def update_params(self, layer):
        for values, gradient in (("weights", layer.dweights), ("biases", layer.dbiases)):
            if not hasattr(layer, values + "_momentums"):
                setattr(layer, values + "_momentums", np.zeros_like(gradient))
                setattr(layer, values + "_cache", np.zeros_like(gradient))
            momentums = self.beta_1 * getattr(layer, values + "_momentums") + (1 - self.beta_1) * gradient
            cache = self.beta_2 * getattr(layer, values + "_cache") + (1 - self.beta_2) * gradient**2
            momentums_corrected = momentums / (1 - self.beta_1**self.iterations)
            cache_corrected = cache / (1 - self.beta_2**self.iterations)
            step = self.learning_rate * momentums_corrected / (np.sqrt(cache_corrected) + self.epsilon)
            setattr(layer, values, getattr(layer, values) - step)
            setattr(layer, values + "_momentums", momentums)
            setattr(layer, values + "_cache", cache)
