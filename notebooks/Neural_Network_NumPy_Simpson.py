# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Simpsons characters in gray, with NumPy
#
# Ten cartoon characters, 28 by 28 gray pixels, and the network that read digits so well: it gets more than half of
# them wrong. This notebook is about **overfitting**: how to see it, and what a penalty on the weights and more
# varied images do about it. The building blocks stand beside the hand-written layers that they replace, as in the
# [notebook on digits](Neural_Network_NumPy_Handwritten_detection.ipynb), which explains each of them.
#
# Put the folder that holds `simpsons-mnist/` into the environment variable `DATA_DIR`; without it the images are
# downloaded, or else faces are drawn by a program.

# %%
import lesson
import numpy as np
from handwritten import (
    Activation_ReLU,
    Activation_Softmax_Loss_CategoricalCrossentropy,
    Layer_Dense,
    Layer_Dropout,
    Optimizer_Adam,
)
from lesson import beside, compared

import models
import tensorgrad as tg
from tensorgrad.data import Augmentation, Standardisation, stratified_split
from tensorgrad.nn import Dense, Flatten, ReLU, Sequential
from tensorgrad.training import RandomStreams, evaluate, fit, predict

# %% [markdown]
# ## The data

# %%
data = lesson.characters(channels=1)
print(f"training images {data.train_images.shape}, test images {data.test_images.shape}")
lesson.examples(data)

# %% [markdown]
# A digit is always light on dark, upright and in the middle; a character looks left or right, stands before any
# background, and is cut off anywhere. The mean of all images of a class shows how little stays in place:

# %%
lesson.averages(data)

# %% [markdown]
# ## The building blocks, twice
#
# New here is the **L2 penalty**: $\lambda \sum w^2$ is added to the loss, so that weights are large only where it
# pays. By hand, its derivative $2 \lambda w$ has to be added in the right place of the right method. As an
# expression it is one more term of a sum.


# %%
def dense(x, weight, bias):
    return x @ weight + bias


def l2_penalty(weight, strength):
    return strength * np.sum(weight**2)


beside(Layer_Dense, dense, l2_penalty)


# %%
def relu(x):
    return np.maximum(x, 0)


beside(Activation_ReLU, relu)


# %%
def dropout(x, mask):
    return x * mask


beside(Layer_Dropout, dropout)


# %%
def softmax_cross_entropy(logits, labels):
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_probabilities[np.arange(len(labels)), labels].mean()


beside(Activation_Softmax_Loss_CategoricalCrossentropy, softmax_cross_entropy)


# %%
def adam(value, gradient, first, second, t, lr=0.001, epsilon=1e-8, beta1=0.9, beta2=0.999):
    first = beta1 * first + (1 - beta1) * gradient
    second = beta2 * second + (1 - beta2) * gradient**2
    corrected_first, corrected_second = first / (1 - beta1**t), second / (1 - beta2**t)
    return value - lr * corrected_first / (np.sqrt(corrected_second) + epsilon), first, second


beside(Optimizer_Adam, adam)

# %% [markdown]
# One training step of the whole network, by hand and as an expression, with the same weights, batch and dropout
# mask:

# %%
standardise = Standardisation.of(data.train_images)
batch, labels = standardise(data.train_images[:64]).reshape(64, -1), data.train_labels[:64]
rng = np.random.default_rng(0)
hidden, output = Layer_Dense(784, 512, rng, weight_regularizer_l2=1e-3), Layer_Dense(512, 10, rng)
activation, dropping = Activation_ReLU(), Layer_Dropout(0.1, rng)
softmax, by_hand = Activation_Softmax_Loss_CategoricalCrossentropy(), Optimizer_Adam()
arrays = hidden.weights, hidden.biases, output.weights, output.biases
w1, b1, w2, b2 = parameters = [tg.Tensor(array, requires_grad=True) for array in arrays]

hidden.forward(batch)
activation.forward(hidden.output)
dropping.forward(activation.output)
output.forward(dropping.output)
loss_by_hand = softmax.forward(output.output, labels) + 1e-3 * np.sum(hidden.weights**2)
softmax.backward(labels)
output.backward(softmax.dinputs)
dropping.backward(output.dinputs)
activation.backward(dropping.dinputs)
hidden.backward(activation.dinputs)
by_hand.pre_update_params()
by_hand.update_params(hidden)

logits = dense(dropout(relu(dense(batch, w1, b1)), dropping.mask), w2, b2)
loss = softmax_cross_entropy(logits, labels) + l2_penalty(w1, 1e-3)
loss.backward()
updated, _, _ = adam(w1.data, w1.grad, np.zeros_like(w1.data), np.zeros_like(w1.data), t=1)

compared(
    logits=(output.output, logits.data),
    loss_with_penalty=(loss_by_hand, loss.data),
    derivative_of_the_first_weights=(hidden.dweights, w1.grad),
    derivative_of_the_last_weights=(output.dweights, w2.grad),
    first_weights_after_the_step=(hidden.weights, updated),
)

# %% [markdown]
# ## Overfitting, seen
#
# The network of this project has the L2 penalty, dropout, and images mirrored at random. First, the same without all
# of these. Watch the two curves part: the network learns its training images by heart.

# %%
EPOCHS, BATCH = 40, 128
streams = RandomStreams.from_seed(0)
kept, held_out = stratified_split(data.train_labels, 0.1, streams.split)
train = data.train_images[kept], data.train_labels[kept]
validation = data.train_images[held_out], data.train_labels[held_out]


def trained(network, streams, augment=None):
    steps = EPOCHS * -(-len(kept) // BATCH)
    adam = tg.optim.Adam(network.parameters(), lr=tg.optim.cosine_decay(2e-3, steps))
    settings = {"epochs": EPOCHS, "batch_size": BATCH, "rng": streams, "prepare": standardise, "quiet": True}
    return fit(network, train, validation, adam, augment=augment, **settings)


bare = Sequential(Flatten(), Dense(784, 512, streams.weights), ReLU(), Dense(512, 10, streams.weights))
history_of_bare = trained(bare, streams)
lesson.curves(history_of_bare)

# %% [markdown]
# ## The network of this project

# %%
streams = RandomStreams.from_seed(0)
network = models.simpsons(streams.weights, streams.dropout)
history = trained(network, streams, Augmentation(flip=True))
print(network)
lesson.curves(history)

# %% [markdown]
# The training loss stays higher, and yet the network does better on images that it has not seen, and is less sure of
# what it gets wrong. That is the trade of all regularisation.

# %%
test = standardise(data.test_images), data.test_labels
for title, each in (("bare", bare), ("regularised", network)):
    loss, accuracy = evaluate(each, (standardise(train[0]), train[1]))
    test_loss, test_accuracy = evaluate(each, test)
    print(f"{title:12} training: loss {loss:.3f}, accuracy {accuracy:.1%}   ", end="")
    print(f"test: loss {test_loss:.3f}, accuracy {test_accuracy:.1%}")

# %% [markdown]
# ### What the first layer looks for
#
# Hardly anything can be made out, where the weights for digits showed strokes. There are 400,000 weights, and 7,200
# images in which nothing stands where it stood before. Networks with [convolutions](../docs/training.md) look for
# the same thing everywhere.

# %%
lesson.weights(network[1], data)

# %% [markdown]
# ### Mistakes

# %%
probabilities = np.asarray(tg.softmax(predict(network, test[0])))
lesson.mistakes(data, probabilities)

# %%
lesson.confusions(data, probabilities)

# %%
lesson.scores(data, probabilities)

# %% [markdown]
# ## Exercise: a leaky ReLU, twice
#
# A unit whose input is negative for every image gets no gradient through ReLU, and stays as it is forever. A *leaky*
# ReLU lets a hundredth of negative numbers through. Write it both ways: a class `Activation_LeakyReLU` with
# `forward` and `backward`, and an expression of one line. Compare them with `compared`.
#
# <details>
# <summary>Solution</summary>
#
# ```python
# class Activation_LeakyReLU:
#     def forward(self, inputs):
#         self.inputs = inputs
#         self.output = np.where(inputs > 0, inputs, 0.01 * inputs)
#
#     def backward(self, dvalues):
#         self.dinputs = np.where(self.inputs > 0, dvalues, 0.01 * dvalues)
#
#
# def leaky_relu(x):
#     return np.where(x > 0, x, 0.01 * x)
#
#
# g = np.random.default_rng(0).standard_normal((64, 512)).astype(np.float32)
# leaky = Activation_LeakyReLU()
# leaky.forward(hidden.output)
# leaky.backward(g)
# x = tg.Tensor(hidden.output, requires_grad=True)
# leaky_relu(x).backward(g)
# compared(derivative_of_the_inputs=(leaky.dinputs, x.grad))
# ```
#
# Your expression needed no derivative. `np.where` has a rule, and so has everything else that you can write.
#
# </details>
