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
# # Simpsons characters in colour, with NumPy
#
# The same ten characters, in colour: three numbers a pixel, a second hidden layer, six million weights, and images
# that are mirrored and shifted at random. This notebook is about **depth**: how the chain rule goes through one
# layer after another, and what it costs.
#
# The building blocks stand beside the hand-written layers that they replace, as in the [notebook on
# digits](Neural_Network_NumPy_Handwritten_detection.ipynb), which explains each of them. Put the folder that holds
# `simpsons-mnist/` into the environment variable `DATA_DIR`; without it the images are downloaded, or else faces are
# drawn by a program.

# %%
import inspect

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
from tensorgrad.training import RandomStreams, evaluate, fit, predict

# %% [markdown]
# ## The data

# %%
data = lesson.characters(channels=3)
print(f"training images {data.train_images.shape}, test images {data.test_images.shape}")
lesson.examples(data)

# %% [markdown]
# Arrays of images have the axes (examples, channels, height, width). The mean image of each class shows what colour
# alone gives away: hair, clothes, and the backgrounds of favourite places.

# %%
lesson.averages(data)

# %%
standardise = Standardisation.of(data.train_images)
print("mean and deviation of red, green and blue:")
print(np.round(standardise.mean, 1), np.round(standardise.deviation, 1))

# %% [markdown]
# ## The building blocks, twice


# %%
def dense(x, weight, bias):
    return x @ weight + bias


beside(Layer_Dense, dense)


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
# ## Three layers deep
#
# By hand, the backward pass is a second program that runs through the first in reverse: the last layer first, each
# handing `dinputs` to the one before it. Forget one, or swap two, and the network still runs; it just learns badly.

# %%
rng = np.random.default_rng(0)
batch, labels = standardise(data.train_images[:64]).reshape(64, -1), data.train_labels[:64]
stack = [
    Layer_Dense(2352, 256, rng),
    Activation_ReLU(),
    Layer_Dropout(0.1, rng),
    Layer_Dense(256, 64, rng),
    Activation_ReLU(),
    Layer_Dropout(0.1, rng),
    Layer_Dense(64, 10, rng),
]
softmax = Activation_Softmax_Loss_CategoricalCrossentropy()

x = batch
for layer in stack:
    layer.forward(x)
    x = layer.output
loss_by_hand = softmax.forward(x, labels)
softmax.backward(labels)
g = softmax.dinputs
for layer in reversed(stack):
    layer.backward(g)
    g = layer.dinputs

# %% [markdown]
# As an expression there is only the forward pass. Every operation has left a note of what it did to what, and
# `backward` follows these notes from the loss back to the weights.

# %%
dense_layers, masks = stack[::3], [stack[2].mask, stack[5].mask]
(w1, b1), (w2, b2), (w3, b3) = [
    [tg.Tensor(array, requires_grad=True) for array in (layer.weights, layer.biases)] for layer in dense_layers
]
first = dropout(relu(dense(batch, w1, b1)), masks[0])
second = dropout(relu(dense(first, w2, b2)), masks[1])
logits = dense(second, w3, b3)
loss = tg.softmax_cross_entropy(logits, labels)
loss.backward()

by_hand, optimiser = Optimizer_Adam(), tg.optim.Adam([w1], lr=0.001)
by_hand.pre_update_params()
gradients = [layer.dweights for layer in dense_layers]
before = dense_layers[0].weights
by_hand.update_params(dense_layers[0])
updated, _, _ = adam(before, w1.grad, np.zeros_like(before), np.zeros_like(before), t=1)

compared(
    logits=(stack[-1].output, logits.data),
    loss=(loss_by_hand, loss.data),
    derivative_of_the_last_weights=(gradients[2], w3.grad),
    derivative_of_the_second_weights=(gradients[1], w2.grad),
    derivative_of_the_first_weights=(gradients[0], w1.grad),
    first_weights_after_a_step_of_Adam=(dense_layers[0].weights, updated),
)

# %% [markdown]
# ## The network of this project

# %%
streams = RandomStreams.from_seed(0)
network = models.simpsons_rgb(streams.weights, streams.dropout)
print(inspect.getsource(models.simpsons_rgb))
for layer in network:
    if count := sum(parameter.size for parameter in layer.parameters()):
        print(f"{layer!r:36} {count:9,} parameters")

# %% [markdown]
# Most of them are in the first layer. With 8,000 images there are hundreds of parameters for each, so the network
# could learn them all by heart. Each batch is mirrored and shifted at random, so that it never sees the same image
# twice:

# %%
augmentation = Augmentation(flip=True, shift=2)
lesson.augmented(data, augmentation, np.random.default_rng(0))

# %%
EPOCHS, BATCH = 25, 128
kept, held_out = stratified_split(data.train_labels, 0.05, streams.split)
steps = EPOCHS * -(-len(kept) // BATCH)
history = fit(
    network,
    (data.train_images[kept], data.train_labels[kept]),
    (data.train_images[held_out], data.train_labels[held_out]),
    tg.optim.Adam(network.parameters(), lr=tg.optim.cosine_decay(1e-3, steps)),
    epochs=EPOCHS,
    batch_size=BATCH,
    rng=streams,
    prepare=standardise,
    augment=augmentation,
    quiet=True,
)
lesson.curves(history)

# %%
test = standardise(data.test_images), data.test_labels
loss, accuracy = evaluate(network, test)
print(f"{accuracy:.1%} of the {len(data.test_labels):,} test images, after {EPOCHS} epochs;")
print("python -m experiments.simpsons_rgb trains for 80.")

# %% [markdown]
# ### What the first layer looks for
#
# Gray is 0; a colour is what makes a unit respond.

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
# ## Exercise: why the initial weights matter
#
# `Dense` draws its first weights with the standard deviation $\sqrt{2 / n}$, where $n$ is the number of inputs. Make
# a fresh network, set all its weight matrices to 0.1 times that, and compare how large the logits are, and the
# gradient of the first layer's weights. Then try 10 times. What happens with more layers?
#
# <details>
# <summary>Solution</summary>
#
# ```python
# for factor in (0.1, 1, 10):
#     fresh = models.simpsons_rgb(np.random.default_rng(0))
#     for name, parameter in fresh.named_parameters():
#         if name.endswith("weight"):
#             parameter.data = factor * parameter.data
#     logits = fresh(standardise(data.train_images[:64]))
#     tg.softmax_cross_entropy(logits, data.train_labels[:64]).backward()
#     size = np.sqrt(np.mean(fresh[1].weight.grad ** 2))
#     print(f"{factor:4} times: logits of size {np.abs(logits.data).mean():.2g}, gradient of size {size:.2g}")
# ```
#
# Each of the three layers multiplies the size of its output by the factor, so the logits change by its cube, 1,000
# times down or up. The gradient of the first layer comes back through the two others: too small weights make it
# vanish, too large ones make it explode. $\sqrt{2 / n}$ keeps sizes the same from layer to layer, whatever the
# depth.
#
# </details>
