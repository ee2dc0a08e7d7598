"""Hints for names of other libraries, in the error message for a missing attribute."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from functools import wraps
from importlib import import_module
from typing import Any, Callable

import numpy as np

from .core import status

INSTEAD = {
    "tensorgrad": {
        "Parameter": "tg.Tensor(array, requires_grad=True)",
        "Variable": "tg.Tensor(array, requires_grad=True)",
        "as_tensor": "tg.Tensor(array)",
        "asarray": "tg.Tensor(array)",
        "from_numpy": "tg.Tensor(array)",
        "numpy": "NumPy itself, whose functions work on Tensors",
        "empty": "tg.Tensor(np.empty((2, 3)))",
        "eye": "tg.Tensor(np.eye(3))",
        "full": "tg.Tensor(np.full((2, 3), 1.0))",
        "arange": "tg.Tensor(np.arange(3.0))",
        "linspace": "tg.Tensor(np.linspace(0.0, 1.0, 5))",
        "ones": "tg.Tensor(np.ones((2, 3)))",
        "zeros": "tg.Tensor(np.zeros((2, 3)))",
        "rand": "tg.random.uniform(size=(2, 3), rng=rng)",
        "rand_like": "tg.random.uniform(size=x.shape, rng=rng)",
        "randn": "tg.random.normal(size=(2, 3), rng=rng)",
        "randn_like": "tg.random.normal(size=x.shape, rng=rng)",
        "normal": "tg.random.normal(size=(2, 3), rng=rng)",
        "randint": "rng.integers(0, 10, (2, 3))",
        "randperm": "tg.random.permutation(10, rng=rng)",
        "manual_seed": "rng = np.random.default_rng(0)",
        "seed": "rng = np.random.default_rng(0)",
        "PRNGKey": "rng = np.random.default_rng(0)",
        "cat": "np.concatenate([x, x])",
        "clamp": "np.clip(x, 0.0, 1.0)",
        "bmm": "x @ x.T",
        "mm": "x @ x.T",
        "mv": "x @ x[0]",
        "permute": "np.transpose(x, (1, 0))",
        "unsqueeze": "np.expand_dims(x, 0)",
        "view": "x.reshape(-1)",
        "gather": "np.take_along_axis(x, indices, axis=1)",
        "index_select": "np.take(x, [0, 1], axis=0)",
        "masked_fill": "np.where(x > 0, 0.0, x)",
        "rsqrt": "1 / np.sqrt(x)",
        "avg_pool2d": "tg.avg_pool(images, 2)",
        "max_pool2d": "tg.max_pool(images, 2)",
        "conv2d": "tg.conv(images, np.ones((4, 3, 2, 2)))",
        "cross_entropy": "tg.softmax_cross_entropy(x, labels)",
        "mse_loss": "tg.nn.mse(x, x)",
        "one_hot": "np.eye(3)[labels]",
        "jit": "tg.compile(f)",
        "function": "tg.compile(f)",
        "stop_gradient": "x.detach()",
        "inference_mode": "tg.no_grad()",
        "set_grad_enabled": "tg.no_grad()",
        "GradientTape": "tg.value_and_grad(f)",
        "autograd": "tg.gradients",
        "vmap": "axes that broadcast",
        "training": "import tensorgrad.training",
        "data": "import tensorgrad.data",
        "report": "import tensorgrad.report",
        "testing": "import tensorgrad.testing",
        "fit": "from tensorgrad.training import fit",
        "evaluate": "from tensorgrad.training import evaluate",
        "predict": "from tensorgrad.training import predict",
        "jacrev": "tg.jacobian(f)",
        "jacfwd": "tg.jacobian(f)",
        "linear": "x @ x.T",
        "make_dot": "tg.draw(x.sum())",
        "draw_dot": "tg.draw(x.sum())",
        "is_tensor": "isinstance(x, tg.Tensor)",
        "save": "model.save(path)",
        "load": "model.load(path)",
        "special": "from scipy import special",
        "erf": "from scipy.special import erf",
        "erfinv": "from scipy.special import erfinv",
        "lgamma": "from scipy.special import gammaln",
        "digamma": "from scipy.special import digamma",
        "sparse": "from tensorgrad.interop.scipy import sparse_matmul",
        "interop": "from tensorgrad.interop import onnx",
        "onnx": "from tensorgrad.interop import onnx",
        "device": "nothing in its place, as NumPy computes on the CPU",
        "cuda": "nothing in its place, as NumPy computes on the CPU",
        "enable_grad": "tg.no_grad() only around what is not recorded",
        "utils": "from tensorgrad.data import Loader",
        "DataLoader": "from tensorgrad.data import Loader",
        "layers": "tg.nn.Dense(3, 2)",
        "keras": "tg.nn.Dense(3, 2)",
        "models": "tg.nn.Sequential(tg.nn.Dense(3, 2))",
        "Model": "tg.nn.Sequential(tg.nn.Dense(3, 2))",
        "losses": "tg.nn.mse(x, x)",
        "optimizers": "tg.optim.Adam(model.parameters())",
        "optimisers": "tg.optim.Adam(model.parameters())",
        "callbacks": "from tensorgrad.training import Callback",
        "metrics": "from tensorgrad.training import evaluate",
        "sklearn": "from tensorgrad.interop.sklearn import TensorgradClassifier",
        "TensorgradClassifier": "from tensorgrad.interop.sklearn import TensorgradClassifier",
        "TensorgradRegressor": "from tensorgrad.interop.sklearn import TensorgradRegressor",
        "F": "tensorgrad itself, as in tg.relu(x)",
        "summary": "model.summary()",
        "FloatTensor": "tg.Tensor(array)",
        "LongTensor": "np.array([0, 1])",
        "float": "np.float32",
        "Function": "tg.declare, as in docs/ops.md",
        "Generator": "rng = np.random.default_rng(0)",
        "set_default_dtype": "tg.nn.Dense(3, 2, dtype=np.float64)",
        "backward": "x.sum().backward()",
    },
    "tensorgrad.data": {
        "DataLoader": "tensorgrad.data.Loader([(np.ones(3), 0), (np.ones(3), 1)])",
        "TensorDataset": "(inputs, labels), two arrays of which fit makes batches",
        "random_split": "from tensorgrad.data import stratified_split",
        "train_test_split": "from tensorgrad.data import stratified_split",
        "Normalize": "tensorgrad.data.Standardisation.of(images)",
        "transforms": "tensorgrad.data.Augmentation(flip=True)",
        "load_images": "from tensorgrad.data import load_image_folders",
    },
    "tensorgrad.training": {
        "Trainer": "from tensorgrad.training import fit",
        "train": "from tensorgrad.training import fit",
        "ModelCheckpoint": "tensorgrad.training.fit(model, (inputs, labels), folder=path.parent)",
        "CSVLogger": "from tensorgrad.training import CSVHistory",
        "SummaryWriter": "from tensorgrad.training import TensorBoard",
        "ReduceLROnPlateau": "tg.optim.Plateau(1e-3)",
        "LearningRateScheduler": "tg.optim.Adam(model.parameters(), lr=tg.optim.cosine_decay(1e-3, steps=100))",
        "ExponentialMovingAverage": "from tensorgrad.training import EMA",
    },
    "tensorgrad.nn": {
        "F": "tensorgrad itself, as in tg.relu(x)",
        "DataLoader": "from tensorgrad.data import Loader",
        "BatchNormalization": "tg.nn.BatchNorm2d(3)",
        "LayerNormalization": "tg.nn.LayerNorm(3)",
        "AveragePooling2D": "tg.nn.AvgPool2d(2)",
        "MaxPooling2D": "tg.nn.MaxPool2d(2)",
        "GlobalAveragePooling2D": "tg.nn.Sequential(lambda images: images.mean(axis=(2, 3)))",
        "AdaptiveAvgPool2d": "tg.nn.Sequential(lambda images: images.mean(axis=(2, 3)))",
        "Dropout2d": "tg.nn.Dropout(0.5)",
        "ConvTranspose2d": "tg.conv_transpose",
        "ZeroPad2d": "tg.nn.Sequential(lambda x: np.pad(x, 1))",
        "Upsample": "tg.nn.Sequential(lambda images: images.repeat(2, axis=2).repeat(2, axis=3))",
        "BCELoss": "tg.nn.binary_cross_entropy_with_logits(x, x > 0)",
        "Layer": "tg.nn.Module",
        "Model": "tg.nn.Module",
        "Activation": "tg.nn.ReLU()",
        "Input": "tg.nn.Dense(3, 2)",
        "MLP": "tg.nn.Sequential(tg.nn.Dense(3, 8), tg.nn.ReLU(), tg.nn.Dense(8, 2))",
        "Linear": "tg.nn.Dense(3, 2)",
        "Parameter": "tg.Tensor(array, requires_grad=True)",
        "ModuleList": "a list of modules",
        "ParameterList": "a list of Tensors",
        "ModuleDict": "a dict of modules",
        "ParameterDict": "a dict of Tensors",
        "functional": "tensorgrad itself, as in tg.relu(x)",
        "Identity": "lambda x: x",
        "LogSoftmax": "tg.log_softmax",
        "CrossEntropyLoss": "tg.nn.softmax_cross_entropy(x, labels)",
        "NLLLoss": "tg.nn.softmax_cross_entropy(x, labels)",
        "BCEWithLogitsLoss": "tg.nn.binary_cross_entropy_with_logits(x, x > 0)",
        "MSELoss": "tg.nn.mse(x, x)",
        "L1Loss": "tg.nn.mae(x, x)",
        "HuberLoss": "tg.nn.huber(x, x)",
        "SmoothL1Loss": "tg.nn.huber(x, x)",
        "KLDivLoss": "tg.nn.kl_divergence(x, tg.softmax(x))",
        "BatchNorm": "tg.nn.BatchNorm2d(3)",
        "MultiheadAttention": "tg.nn.MultiHeadAttention(8, 2)",
        "InstanceNorm2d": "tg.nn.GroupNorm(3, 3)",
        "Conv": "tg.nn.Conv2d(1, 8, 3)",
        "Swish": "tg.nn.SiLU()",
        "init": "tg.nn.Dense(3, 2, weight_init='xavier_uniform')",
        "utils": "tg.optim.clip_gradients(model.parameters(), 1.0)",
    },
    "tensorgrad.optim": {
        "Optimizer": "tg.optim.Optimiser",
        "Momentum": "tg.optim.SGD(model.parameters(), 0.1, momentum=0.9)",
        "Adadelta": "tg.optim.Adagrad(model.parameters())",
        "LambdaLR": "tg.optim.Adam(model.parameters(), lr=lambda steps: 0.01 / (1 + steps))",
        "ExponentialDecay": "tg.optim.step_decay",
        "swa_utils": "from tensorgrad.training import EMA",
        "LBFGS": "tg.optim.minimise(lambda: (x * x).sum(), [x])",
        "lr_find": "from tensorgrad.training import find_learning_rate",
        "StepLR": "tg.optim.step_decay",
        "ExponentialLR": "tg.optim.step_decay",
        "CosineAnnealingLR": "tg.optim.cosine_decay",
        "OneCycleLR": "tg.optim.one_cycle",
        "PolynomialLR": "tg.optim.polynomial_decay",
        "ReduceLROnPlateau": "tg.optim.Plateau",
        "LinearLR": "tg.optim.warm_up",
        "lr_scheduler": "tg.optim.cosine_decay",
        "clip_grad_norm_": "tg.optim.clip_gradients(model.parameters(), 1.0)",
    },
}
"""For each package the names that others have, and the expression, statement or thing to use here."""

_CPU = "nothing in its place: NumPy computes on the CPU"
_ARRAY = "x.numpy(), or x.detach() for a Tensor"
ATTRIBUTES = {
    "Tensor": {
        "view": "x.reshape(-1)",
        "view_as": "x.reshape(x.shape)",
        "unsqueeze": "np.expand_dims(x, 0), or x[np.newaxis]",
        "permute": "x.transpose(1, 0)",
        "t": "x.T",
        "expand": "np.broadcast_to(x, (2, 3, 3))",
        "tile": "np.tile(x, 2)",
        "contiguous": "x itself",
        "clone": "x.copy()",
        "to": f"x.astype(np.float32) for another dtype, and {_CPU}",
        "type": "x.astype(np.float32)",
        "float": "x.astype(np.float32)",
        "double": "x.astype(np.float64)",
        "half": "x.astype(np.float16)",
        "long": "x.astype(np.int64)",
        "int": "x.astype(np.int32)",
        "bool": "x.astype(bool)",
        "cpu": _CPU,
        "cuda": _CPU,
        "device": _CPU,
        "is_cuda": _CPU,
        "dim": "x.ndim",
        "numel": "x.size",
        "nelement": "x.size",
        "value": _ARRAY,
        "values": _ARRAY,
        "to_numpy": _ARRAY,
        "requires_grad_": "x.requires_grad = True",
        "detach_": "x.detach()",
        "register_hook": "x.retain_grad(), and x.grad after backward()",
        "grad_fn": "tg.draw(x.sum())",
        "exp": "np.exp(x)",
        "log": "np.log(x)",
        "sqrt": "np.sqrt(x)",
        "rsqrt": "1 / np.sqrt(x)",
        "abs": "np.abs(x)",
        "sin": "np.sin(x)",
        "cos": "np.cos(x)",
        "tanh": "np.tanh(x)",
        "square": "np.square(x)",
        "pow": "x ** 2",
        "add": "x + x",
        "sub": "x - x",
        "mul": "x * x",
        "div": "x / x",
        "matmul": "x @ x",
        "mm": "x @ x",
        "bmm": "x @ x",
        "norm": "np.linalg.norm(x)",
        "clamp": "x.clip(0.0, 1.0)",
        "eq": "x == x",
        "relu": "tg.relu(x)",
        "sigmoid": "tg.sigmoid(x)",
        "softmax": "tg.softmax(x)",
        "log_softmax": "tg.log_softmax(x)",
        "gather": "np.take_along_axis(x, indices, axis=1)",
        "index_select": "np.take(x, [0, 1], axis=0)",
        "masked_fill": "np.where(x > 0, 0.0, x)",
        "chunk": "np.array_split(x, 2)",
        "split": "np.split(x, 3)",
        "topk": "np.sort(x)[..., -2:]",
        "add_": "x += x, within tg.no_grad()",
        "mul_": "x *= x, within tg.no_grad()",
        "sub_": "x -= x, within tg.no_grad()",
        "copy_": "x[...] = x.T, within tg.no_grad()",
        "zero_": "x[...] = 0, within tg.no_grad()",
        "fill_": "x[...] = 1, within tg.no_grad()",
        "assign": "x[...] = 1, within tg.no_grad()",
    },
    "Module": {
        "fit": "from tensorgrad.training import fit; fit(model, (inputs, labels))",
        "evaluate": "from tensorgrad.training import evaluate; evaluate(model, (inputs, labels))",
        "score": "from tensorgrad.training import evaluate; evaluate(model, (inputs, labels))",
        "predict": "from tensorgrad.training import predict; predict(model, inputs)",
        "predict_proba": "from tensorgrad.training import predict; tg.softmax(predict(model, inputs))",
        "compile": 'from tensorgrad.training import fit; fit(model, (inputs, labels), optimiser="adam")',
        "to": f"model as it is, and {_CPU}",
        "cuda": f"model as it is, and {_CPU}",
        "cpu": f"model as it is, and {_CPU}",
        "device": _CPU,
        "float": "tg.nn.Dense(3, 2, dtype=np.float32) for each layer",
        "double": "tg.nn.Dense(3, 2, dtype=np.float64) for each layer",
        "half": "tg.nn.Dense(3, 2, dtype=np.float32) for each layer",
        "requires_grad_": "for parameter in model.parameters(): parameter.requires_grad = False",
        "freeze": "for parameter in model.parameters(): parameter.requires_grad = False",
        "children": "model.named_children()",
        "apply": "for module in model.modules(): print(module)",
        "weights": "model.parameters()",
        "trainable_weights": "model.parameters()",
        "trainable_variables": "model.parameters()",
        "get_weights": "model.state_dict()",
        "set_weights": "model.load_state_dict(model.state_dict())",
        "save_weights": "model.save(path)",
        "load_weights": "model.load(path)",
        "num_parameters": "model.summary()",
        "count_params": "model.summary()",
        "add": "tg.nn.Sequential(*model.layers, tg.nn.ReLU())",
        "append": "tg.nn.Sequential(*model.layers, tg.nn.ReLU())",
        "copy": "copy.deepcopy(model)",
        "clone": "copy.deepcopy(model)",
        "register_buffer": "model.mean = tg.Tensor(array)",
        "register_parameter": "model.scale = tg.Tensor(array, requires_grad=True)",
        "add_module": "model.extra = tg.nn.ReLU()",
        "register_forward_hook": "hidden.retain_grad() on a result, or a module of your own that looks at it",
    },
    "Optimiser": {
        "minimize": "optimiser.zero_grad(); loss.backward(); optimiser.step()",
        "apply_gradients": "optimiser.zero_grad(); loss.backward(); optimiser.step()",
        "zero_grads": "optimiser.zero_grad()",
    },
}
"""For each class the attributes that others have, and what to write here."""

KEYWORDS = {
    "fit": {
        "optimizer": 'optimiser="adam"',
        "lr": "optimiser=functools.partial(tg.optim.Adam, lr=0.01)",
        "learning_rate": "optimiser=functools.partial(tg.optim.Adam, lr=0.01)",
        "learning_rate_init": "optimiser=functools.partial(tg.optim.Adam, lr=0.01)",
        "num_epochs": "epochs=10",
        "scheduler": "optimiser=functools.partial(tg.optim.Adam, lr=tg.optim.cosine_decay(0.01, steps=100))",
        "lr_scheduler": "optimiser=functools.partial(tg.optim.Adam, lr=tg.optim.cosine_decay(0.01, steps=100))",
        "schedule": "optimiser=functools.partial(tg.optim.Adam, lr=tg.optim.cosine_decay(0.01, steps=100))",
        "weight_decay": "optimiser=functools.partial(tg.optim.AdamW, weight_decay=0.01)",
        "momentum": "optimiser=functools.partial(tg.optim.SGD, lr=0.1, momentum=0.9)",
        "loss_function": 'loss="softmax_cross_entropy"',
        "objective": 'loss="softmax_cross_entropy"',
        "bs": "batch_size=32",
        "num_workers": "train=tensorgrad.data.Loader(list(zip(inputs, labels)), workers=2)",
        "workers": "train=tensorgrad.data.Loader(list(zip(inputs, labels)), workers=2)",
        "ema": "callbacks=[tensorgrad.training.EMA(0.99)]",
        "checkpoint": "folder=folder",
        "checkpoint_dir": "folder=folder",
        "X": "train=(inputs, labels)",
        "x": "train=(inputs, labels)",
        "y": "train=(inputs, labels)",
        "dataset": "train=(inputs, labels)",
        "data": "train=(inputs, labels)",
        "sample_weights": "train=(inputs, labels, weights)",
        "criterion": 'loss="softmax_cross_entropy"',
        "loss_fn": 'loss="softmax_cross_entropy"',
        "validation_data": "validation=(inputs, labels)",
        "validation_split": "validation=(inputs[-50:], labels[-50:])",
        "validation_fraction": "validation=(inputs[-50:], labels[-50:])",
        "val": "validation=(inputs, labels)",
        "sample_weight": "train=(inputs, labels, weights)",
        "class_weight": "loss=functools.partial(tg.softmax_cross_entropy, weight=np.ones(2))",
        "max_epochs": "epochs=10",
        "max_iter": "epochs=10",
        "n_epochs": "epochs=10",
        "seed": "rng=0",
        "random_state": "rng=0",
        "verbose": "quiet=True",
        "early_stopping": "patience=5",
        "clip_norm": "max_norm=1.0",
        "grad_clip": "max_norm=1.0",
        "clip_grad_norm": "max_norm=1.0",
        "clip_value": "max_value=1.0",
        "clipnorm": "max_norm=1.0",
        "clipvalue": "max_value=1.0",
    },
}
"""For each function the names that keyword arguments have elsewhere, and what to write here."""

_ADAM, _DENSE = "tg.optim.Adam(model.parameters(), lr=0.01)", "tg.nn.Sequential(tg.nn.Dense(3, 2), tg.nn.ReLU())"
_CONV = {
    "filters": "tg.nn.Conv2d(1, 8, 3), of one channel",
    "strides": "tg.nn.Conv2d(1, 8, 3, stride=2)",
    "activation": "tg.nn.Sequential(tg.nn.Conv2d(1, 8, 3), tg.nn.ReLU())",
}
_OPTIMISER = {"learning_rate": _ADAM, "learning_rate_init": _ADAM}
_OF_ADAM = {
    **_OPTIMISER,
    "beta_1": "tg.optim.Adam(model.parameters(), betas=(0.9, 0.999))",
    "beta_2": "tg.optim.Adam(model.parameters(), betas=(0.9, 0.999))",
    "epsilon": "tg.optim.Adam(model.parameters(), eps=1e-8)",
}
_CELLS = {
    "batch_first": "tg.nn.LSTM(3, 4), where examples come first",
    "units": "tg.nn.LSTM(3, 4)",
    "return_state": "tg.nn.LSTM(3, 4)(np.ones((2, 5, 3)), return_state=True)",
}
CONSTRUCTORS = {
    "Dense": {
        "activation": _DENSE,
        "units": "tg.nn.Dense(3, 2)",
        "use_bias": "tg.nn.Dense(3, 2, bias=False)",
        "kernel_initializer": "tg.nn.Dense(3, 2, weight_init='xavier_uniform')",
        "bias_initializer": "tg.nn.Dense(3, 2, bias_init='zeros')",
        "kernel_regularizer": "tg.nn.Dense(3, 2, weight_l2=1e-4)",
        "input_shape": "tg.nn.Dense(3, 2)",
        "input_dim": "tg.nn.Dense(3, 2)",
        "seed": "tg.nn.Dense(3, 2, rng=0)",
    },
    "Conv2d": _CONV,
    "Dropout": {"p": "tg.nn.Dropout(0.5)", "inplace": "tg.nn.Dropout(0.5)", "seed": "tg.nn.Dropout(0.5, rng=0)"},
    "Softmax": {"dim": "tg.nn.Softmax(axis=1)"},
    "ReLU": {"inplace": "tg.nn.ReLU()"},
    "Flatten": {"start_dim": "tg.nn.Flatten()"},
    "RNN": _CELLS,
    "LSTM": _CELLS,
    "GRU": _CELLS,
    "SGD": _OPTIMISER,
    "Adam": {**_OF_ADAM, "l2": "tg.optim.Adam(model.parameters(), weight_decay=0.01)"},
    "AdamW": _OF_ADAM,
    "Adamax": _OF_ADAM,
    "RMSprop": {**_OPTIMISER, "rho": "tg.optim.RMSprop(model.parameters(), lr=0.01, alpha=0.9)"},
    "Adagrad": _OPTIMISER,
    "Lion": _OPTIMISER,
}
"""For each class of layers and optimisers the keywords that its constructor takes elsewhere."""

NAMES = {
    "optimiser": {"nadam": "adam", "amsgrad": "adam", "adadelta": "adagrad", "momentum": "sgd"},
    "loss": {
        "crossentropy": "softmax_cross_entropy",
        "nll": "softmax_cross_entropy",
        "log": "softmax_cross_entropy",
        "sparsecategoricalcrossentropy": "categorical_cross_entropy",
        "binarycrossentropy": "binary_cross_entropy_with_logits",
        "bce": "binary_cross_entropy_with_logits",
        "bcewithlogits": "binary_cross_entropy_with_logits",
        "meansquarederror": "mse",
        "squarederror": "mse",
        "l2": "mse",
        "meanabsoluteerror": "mae",
        "absoluteerror": "mae",
        "l1": "mae",
        "smoothl1": "huber",
        "kldiv": "kl_divergence",
        "kl": "kl_divergence",
    },
    "metrics": {
        "acc": "accuracy",
        "score": "accuracy",
        "accuracyscore": "accuracy",
        "meansquarederror": "mse",
        "negmeansquarederror": "mse",
        "meanabsoluteerror": "mae",
        "r2score": "r2",
    },
    "monitor": {
        "val": "validation_loss",
        "valacc": "validation_accuracy",
        "valaccuracy": "validation_accuracy",
        "valmae": "validation_mae",
        "valmse": "validation_mse",
        "valr2": "validation_r2",
        "acc": "accuracy",
    },
}
"""For each setting the names that its values have elsewhere, without case and punctuation, and the nearest here."""

PACKAGES = ("tensorgrad.training", "tensorgrad.data")
"""Those that are imported when they are asked for."""

SHORT = {"tensorgrad": "tg", "tensorgrad.nn": "tg.nn", "tensorgrad.optim": "tg.optim"}


def missing(package: str, name: str) -> AttributeError:
    """The error for a name that a package does not have.

    >>> import tensorgrad as tg
    >>> tg.exp
    Traceback (most recent call last):
    AttributeError: module 'tensorgrad' has no attribute 'exp'; NumPy's functions work on Tensors: use np.exp
    >>> tg.nn.Linear
    Traceback (most recent call last):
    AttributeError: module 'tensorgrad.nn' has no attribute 'Linear'; use tg.nn.Dense(3, 2)
    """
    hint = "" if name[:1] == "_" else _hint(package, name)
    return AttributeError(f"module {package!r} has no attribute {name!r}{hint and '; ' + hint}")


class _Finder:
    """Asked last for modules: that of ``from tensorgrad.nn import Linear``, say, which there is not."""

    @staticmethod
    def find_spec(module: str, path: object = None, target: object = None) -> None:
        """Raise where there is a hint."""
        package, _, name = module.rpartition(".")
        if package in INSTEAD and package in sys.modules and name not in vars(sys.modules[package]):
            error = str(missing(package, name))
            if "; " in error:
                raise ModuleNotFoundError(error)


def answer_imports() -> None:
    """Let ``from`` this library ``import`` a name that it does not have answer as the missing attribute does.

    >>> from tensorgrad.nn import Linear
    Traceback (most recent call last):
    ModuleNotFoundError: module 'tensorgrad.nn' has no attribute 'Linear'; use tg.nn.Dense(3, 2)
    """
    sys.meta_path.append(_Finder)


class _Absent:
    """Where a class would have an attribute: it raises an AttributeError, so that there seems to be none.

    Not done by ``__getattr__``, with which every attribute would take longer to read, and errors in properties would
    get lost. Attributes that objects and subclasses have of that name come first.
    """

    def __init__(self, name: str, hint: str) -> None:
        self._name, self._hint = name, hint

    def __get__(self, instance: object, owner: type) -> Any:
        kind = f"type object {owner.__name__!r}" if instance is None else f"{owner.__name__!r} object"
        raise AttributeError(f"{kind} has no attribute {self._name!r}; use {self._hint}")


def answer_attributes(kind: type) -> None:
    """Let a class answer to attributes that such classes have elsewhere, with what to write here.

    >>> import tensorgrad as tg
    >>> tg.Tensor([1.0, 2.0]).view(-1)
    Traceback (most recent call last):
    AttributeError: 'Tensor' object has no attribute 'view'; use x.reshape(-1)
    """
    names = ATTRIBUTES[kind.__name__]

    def known(self: Any) -> list[str]:
        return [name for name in object.__dir__(self) if name not in names or hasattr(self, name)]

    answers = {name: _Absent(name, hint) for name, hint in names.items()}
    for name, value in {**answers, "__dir__": known}.items():
        setattr(kind, name, value)


def answer_constructors(package: Any) -> None:
    """Let the classes of a package answer to keywords that their constructors take elsewhere.

    >>> import tensorgrad as tg
    >>> tg.nn.Dropout(p=0.5)
    Traceback (most recent call last):
    TypeError: Dropout: unexpected keyword argument 'p'; use tg.nn.Dropout(0.5)
    """
    for name, keywords in CONSTRUCTORS.items():
        if name in package.__all__:
            kind = getattr(package, name)
            kind.__init__ = _answering(kind, keywords)


def _answering(kind: Any, keywords: Mapping[str, str]) -> Callable[..., None]:
    """The constructor of a class, but for these keywords."""
    construct = kind.__init__

    @wraps(construct)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        for name in kwargs:
            if name in keywords:
                raise TypeError(f"{kind.__name__}: unexpected keyword argument {name!r}; use {keywords[name]}")
        construct(self, *args, **kwargs)

    return init


def refuse_keywords(function: Callable[..., Any], unknown: Mapping[str, Any]) -> None:
    """Raise for keyword arguments that a function does not have.

    >>> from tensorgrad.training import fit
    >>> refuse_keywords(fit, {"optimizer": "adam"})
    Traceback (most recent call last):
    TypeError: fit: got an unknown keyword argument, optimizer; use optimiser="adam"
    """
    if not unknown:
        return
    from difflib import get_close_matches
    from inspect import signature

    for name in unknown:
        similar = get_close_matches(name, signature(function).parameters, 1)
        use = KEYWORDS[function.__name__].get(name) or "".join(f"{known}=" for known in similar)
        raise TypeError(f"{function.__name__}: got an unknown keyword argument, {name}{use and f'; use {use}'}")


def similar_name(setting: str, given: str, known: Iterable[str]) -> str:
    """The end of an error message for the name of a loss, say, that is not known: the one that was probably meant.

    >>> similar_name("loss", "BCEWithLogitsLoss", ["mse", "binary_cross_entropy_with_logits"])
    "; did you mean 'binary_cross_entropy_with_logits'?"
    >>> similar_name("loss", "kindness", ["mse", "binary_cross_entropy_with_logits"])
    ''
    """
    from difflib import get_close_matches  # not needed before there is an error

    by_plain_name = {_plain(name): name for name in known}
    plain = _plain(given)
    meant = by_plain_name.get(plain) or NAMES.get(setting, {}).get(plain)
    if meant is None:
        meant = "".join(by_plain_name[name] for name in get_close_matches(plain, by_plain_name, 1, cutoff=0.7))
    return f"; did you mean {meant!r}?" if meant in by_plain_name.values() else ""


def _plain(name: str) -> str:
    """A name without case and punctuation, and without the ``Loss`` that some end with."""
    return re.sub(r"[\W_]|(?<=.)loss$", "", name.lower())


def _hint(package: str, name: str) -> str:
    if name in INSTEAD[package]:
        return f"use {INSTEAD[package][name]}"
    for other, short in SHORT.items():
        if name in getattr(sys.modules[other], "__all__", ()):
            return f"use {short}.{name}"
    for other in PACKAGES:
        if other != package and name in import_module(other).__all__:
            return f"use from {other} import {name}"
    of_numpy = getattr(np, name, None)
    if isinstance(of_numpy, (type, float)):
        return f"use np.{name}"
    if name in ("linalg", "fft") or (callable(of_numpy) and status(of_numpy) != "refused"):
        return f"NumPy's functions work on Tensors: use np.{name}"
    from difflib import get_close_matches

    known = {each.lower(): each for each in sys.modules[package].__all__}
    similar = get_close_matches(name.lower(), known, 1, cutoff=0.75)
    return f"did you mean {known[similar[0]]!r}?" if similar else ""
