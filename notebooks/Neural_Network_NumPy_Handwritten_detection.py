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
# # Handwritten digits, with NumPy
#
# A network that reads digits, built twice: from layers whose backward methods are worked out by hand, and from
# tensor expressions, whose derivatives come for free. Both give the same numbers. That is the whole idea of
# tensorgrad: **you write the forward pass, in NumPy; the backward pass writes itself.**
#
# You need to know a little Python and what a derivative is. The notebook takes half an hour to read and less than a
# minute to run: `python -m pip install -e '.[docs,experiments,fast]'` in a clone of the repository, then open it in
# Jupyter. Put the folder that holds `mnist/` into the environment variable `DATA_DIR`; without it, MNIST comes from
# OpenML.

# %%
import inspect

import handwritten
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
#
# Gray images of 28 by 28 pixels, each with its label. A network sees only the numbers.

# %%
data = lesson.digits()
print(f"{data.name}: training images {data.train_images.shape}, test images {data.test_images.shape}")
lesson.examples(data)

# %% [markdown]
# Pixels go from 0 to 255. Networks learn faster from numbers around 0 with a spread of about 1, so we subtract the
# mean and divide by the standard deviation, both of the training images.

# %%
standardise = Standardisation.of(data.train_images)
batch, labels = standardise(data.train_images[:128]).reshape(128, 784), data.train_labels[:128]
print(standardise, batch.shape, batch.dtype)

# %% [markdown]
# ## Five building blocks, twice
#
# The first of each pair is a layer as one writes it by hand: `forward` computes the output and keeps what
# `backward` will need; `backward` takes the derivative of the loss with respect to the output, and works out that
# with respect to the inputs and the weights. The second is the tensor expression that replaces it.
#
# `tg.Tensor(array, requires_grad=True)` is an array that remembers what was computed from it. After
# `loss.backward()`, its `.grad` is the derivative of the loss.

# %% [markdown]
# ### 1. Dense
#
# Each output is a weighted sum of all inputs, $y = xW + b$. By hand, one derives $\partial L/\partial W = x^T g$,
# $\partial L/\partial b = \sum_i g_i$ and $\partial L/\partial x = g W^T$, where $g$ is $\partial L/\partial y$, and
# hopes to have put the transposes in the right places.


# %%
def dense(x, weight, bias):
    return x @ weight + bias


beside(Layer_Dense, dense)

# %%
rng = np.random.default_rng(0)
layer = Layer_Dense(784, 512, rng)
g = rng.standard_normal((128, 512)).astype(np.float32)  # stands in for what comes back from the layers above
layer.forward(batch)
layer.backward(g)

x, weight, bias = (tg.Tensor(array, requires_grad=True) for array in (batch, layer.weights, layer.biases))
y = dense(x, weight, bias)
y.backward(g)

compared(
    output=(layer.output, y.data),
    derivative_of_the_weights=(layer.dweights, weight.grad),
    derivative_of_the_biases=(layer.dbiases, bias.grad),
    derivative_of_the_inputs=(layer.dinputs, x.grad),
)

# %% [markdown]
# Not just close: the same bits. The rules of `@` and `+` do the very operations that the hand-written method does.

# %% [markdown]
# ### 2. ReLU
#
# Negative numbers become 0, and so do their derivatives.


# %%
def relu(x):
    return np.maximum(x, 0)


beside(Activation_ReLU, relu)

# %%
activation = Activation_ReLU()
activation.forward(layer.output)
activation.backward(g)

x = tg.Tensor(layer.output, requires_grad=True)
y = relu(x)
y.backward(g)

compared(output=(activation.output, y.data), derivative_of_the_inputs=(activation.dinputs, x.grad))

# %% [markdown]
# ### 3. Dropout
#
# In training, a random tenth of the numbers becomes 0, and the others grow by 1 / 0.9 so that the mean stays. No
# unit can rely on a single other one. The mask is an array like any other; `tg.dropout(x, rate, rng)` draws it for
# you.


# %%
def dropout(x, mask):
    return x * mask


beside(Layer_Dropout, dropout)

# %%
dropping = Layer_Dropout(0.1, rng)
dropping.forward(activation.output)
dropping.backward(g)

x = tg.Tensor(activation.output, requires_grad=True)
y = dropout(x, dropping.mask)
y.backward(g)

compared(output=(dropping.output, y.data), derivative_of_the_inputs=(dropping.dinputs, x.grad))

# %% [markdown]
# ### 4. Softmax and cross-entropy
#
# Softmax turns ten outputs, the *logits*, into probabilities; the loss is $-\log p$ of the right digit, on average
# over the batch. The largest logit is subtracted first: that changes nothing, and keeps `exp` from overflowing. The
# derivative is famous for its beauty, $(p - \text{onehot}) / n$, and for how long it takes to derive.


# %%
def softmax_cross_entropy(logits, labels):
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_probabilities[np.arange(len(labels)), labels].mean()


beside(Activation_Softmax_Loss_CategoricalCrossentropy, softmax_cross_entropy)

# %%
logits = (3 * rng.standard_normal((128, 10))).astype(np.float32)
softmax = Activation_Softmax_Loss_CategoricalCrossentropy()
loss_by_hand = softmax.forward(logits, labels)
softmax.backward(labels)

x = tg.Tensor(logits, requires_grad=True)
loss = softmax_cross_entropy(x, labels)
loss.backward()

ready_made = tg.Tensor(logits, requires_grad=True)
tg.softmax_cross_entropy(ready_made, labels).backward()

compared(
    loss=(loss_by_hand, loss.data),
    derivative_of_the_logits=(softmax.dinputs, x.grad),
    the_same_by_tg_softmax_cross_entropy=(softmax.dinputs, ready_made.grad),
)

# %% [markdown]
# Here the chain rule takes another way through the sum than the formula does, so the last digits differ: a float32
# has about seven. `tg.softmax_cross_entropy` has the formula as its rule, and for a batch of 128 gives the same
# bits.

# %% [markdown]
# ### 5. Adam
#
# Adam divides each weight's mean gradient by its typical size, so that all weights move at about the same pace.
# There is nothing to differentiate: an optimiser is plain array arithmetic.


# %%
def adam(value, gradient, first, second, t, lr=0.001, epsilon=1e-8, beta1=0.9, beta2=0.999):
    first = beta1 * first + (1 - beta1) * gradient
    second = beta2 * second + (1 - beta2) * gradient**2
    corrected_first, corrected_second = first / (1 - beta1**t), second / (1 - beta2**t)
    return value - lr * corrected_first / (np.sqrt(corrected_second) + epsilon), first, second


beside(Optimizer_Adam, adam)

# %%
value, parameter = layer.weights, tg.Tensor(layer.weights.copy(), requires_grad=True)
first = second = np.zeros_like(value)
by_hand, optimiser = Optimizer_Adam(), tg.optim.Adam([parameter], lr=0.001)
for t in range(1, 11):
    value, first, second = adam(value, layer.dweights, first, second, t)
    by_hand.pre_update_params()
    by_hand.update_params(layer)
    parameter.grad = layer.dweights
    optimiser.step()

compared(weights_after_10_steps=(layer.weights, value), the_same_by_tg_optim_Adam=(layer.weights, parameter.data))

# %% [markdown]
# `tg.optim.Adam` applies both corrections to the learning rate instead of to the arrays, which saves two divisions
# of every weight in every step and rounds a little otherwise.

# %% [markdown]
# ## The whole network, twice
#
# The same initial weights, the same batches, the same dropout masks: here are the losses of thirty training steps.

# %%
layers = Layer_Dense(784, 64, np.random.default_rng(1)), Layer_Dense(64, 10, np.random.default_rng(2))
weights = [tg.Tensor(a.copy(), requires_grad=True) for each in layers for a in (each.weights, each.biases)]
activation, softmax = Activation_ReLU(), Activation_Softmax_Loss_CategoricalCrossentropy()
dropping, by_hand = Layer_Dropout(0.1, np.random.default_rng(3)), Optimizer_Adam()
optimiser = tg.optim.Adam(weights, lr=0.001)


def step_by_hand(x, labels):
    layers[0].forward(x)
    activation.forward(layers[0].output)
    dropping.forward(activation.output)
    layers[1].forward(dropping.output)
    loss = softmax.forward(layers[1].output, labels)
    softmax.backward(labels)
    layers[1].backward(softmax.dinputs)
    dropping.backward(layers[1].dinputs)
    activation.backward(dropping.dinputs)
    layers[0].backward(activation.dinputs)
    by_hand.pre_update_params()
    for each in layers:
        by_hand.update_params(each)
    return loss


def step(x, labels):
    w1, b1, w2, b2 = weights
    hidden = dropout(relu(dense(x, w1, b1)), dropping.mask)
    loss = softmax_cross_entropy(dense(hidden, w2, b2), labels)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item()


losses = []
for start in range(0, 30 * 32, 32):
    x = standardise(data.train_images[start : start + 32]).reshape(-1, 784)
    losses.append(
        (step_by_hand(x, data.train_labels[start : start + 32]), step(x, data.train_labels[start : start + 32]))
    )

print("step   by hand     as expressions")
for i in (0, 1, 2, 9, 19, 29):
    print(f"{i + 1:4}   {losses[i][0]:.7f}   {losses[i][1]:.7f}")

# %%
assert np.allclose(*np.transpose(losses), rtol=1e-4)
print(f"lines of {handwritten.__name__}.py and step_by_hand: ", end="")
print(len(inspect.getsource(handwritten).splitlines()) + len(inspect.getsource(step_by_hand).splitlines()))
print("lines of the five functions and step: ", end="")
print(sum(len(inspect.getsource(f).splitlines()) for f in (dense, relu, dropout, softmax_cross_entropy, adam, step)))

# %% [markdown]
# ## The network of this project
#
# `tensorgrad.nn` has these expressions as modules, which hold their own parameters. The network in `models/` is
# this:

# %%
print(inspect.getsource(models.mnist))

# %% [markdown]
# `weight_l2` adds $10^{-4} \sum w^2$ to the loss, which keeps weights small. `fit` trains it: in each step a batch
# of 128 images, moved by up to one pixel at random so that no image is seen twice, a loss, a backward pass, and a
# step of Adam whose rate falls along a cosine. A twelfth of the training images is held out; the epoch that does
# best on them wins.

# %%
EPOCHS, BATCH = 20, 128
streams = RandomStreams.from_seed(0)
kept, held_out = stratified_split(data.train_labels, 1 / 12, streams.split)
network = models.mnist(streams.weights, streams.dropout)
steps = EPOCHS * -(-len(kept) // BATCH)
history = fit(
    network,
    (data.train_images[kept], data.train_labels[kept]),
    (data.train_images[held_out], data.train_labels[held_out]),
    tg.optim.Adam(network.parameters(), lr=tg.optim.cosine_decay(3e-3, steps)),
    epochs=EPOCHS,
    batch_size=BATCH,
    rng=streams,
    prepare=standardise,
    augment=Augmentation(shift=1),
    quiet=True,
)
lesson.curves(history)

# %%
test = standardise(data.test_images), data.test_labels
loss, accuracy = evaluate(network, test)
print(f"{accuracy:.2%} of the {len(data.test_labels):,} test images are read correctly, after {steps:,} steps")
print(f"in {sum(row.seconds for row in history):.0f} seconds.")

# %% [markdown]
# ### What the first layer looks for
#
# Each unit of the first layer has one weight for each pixel, so its weights are an image: red where light makes the
# unit respond, blue where light holds it back. Strokes and their gaps appear, which nobody has programmed.

# %%
lesson.weights(network[1], data)

# %% [markdown]
# ### Mistakes
#
# The mistakes of which the network is surest. Some are hard for people, too.

# %%
logits = predict(network, test[0])
probabilities = np.asarray(tg.softmax(logits))
lesson.mistakes(data, probabilities)

# %%
lesson.confusions(data, probabilities)

# %% [markdown]
# ## Exercise: which pixels decide?
#
# The chain rule does not stop at the weights. Take the first test image and find the derivative of the loss **with
# respect to its pixels**: its size says how much the loss depends on each pixel. Draw it with
# `lesson.drawn(lesson.save_gallery, images, captions)`, for images of shape (N, 1, 28, 28) with values from 0 to
# 255. Where do you expect large numbers: on the stroke, beside it, or at the border?
#
# <details>
# <summary>Solution</summary>
#
# Make a Tensor of the input instead of the weights, and do the same as ever:
#
# ```python
# image = tg.Tensor(test[0][:1], requires_grad=True)
# tg.softmax_cross_entropy(network(image), test[1][:1]).backward()
# sizes = np.abs(image.grad)
# pictures = np.concatenate([data.test_images[:1], 255 * sizes / sizes.max()])
# lesson.drawn(lesson.save_gallery, pictures, ["image", "|derivative|"], width=400, columns=2)
# ```
#
# Large numbers stand on the stroke and in the gaps where a stroke would make another digit of it. At the border
# there is next to nothing: those pixels are the same in all images, and the L2 penalty has shrunk their weights.
#
# </details>
