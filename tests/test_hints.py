"""Names of other libraries: each is answered with something here that works."""

import contextlib
import copy
import functools
import importlib.util
import inspect
import pickle
import sys

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.data
import tensorgrad.training
from tensorgrad import hints
from tensorgrad.training.metrics import METRICS
from tensorgrad.training.objective import LOSSES

PROSE = {
    "(inputs, labels),",
    "tg.no_grad() only",
    "tg.declare, as",
    "tg.nn.Dense(3, 2), which",
    "NumPy itself,",
    "axes that",
    "nothing in",
    "a list",
    "a dict",
    "tensorgrad itself,",
}
NAMES = [(package, name) for package, names in hints.INSTEAD.items() for name in names]


def instead(package, name):
    start, _, hint = str(hints.missing(package, name)).partition("; ")
    assert start == f"module '{package}' has no attribute '{name}'"
    return hint


@pytest.mark.parametrize("package, name", NAMES)
def test_what_is_named_instead_works(package, name, tmp_path):
    hint = instead(package, name)
    assert hint.startswith("use ")
    code = hint[len("use ") :]
    if " ".join(code.split()[:2]) in PROSE:
        return
    exec(code, names_of(tmp_path / "w.npz"))


def names_of(path):
    model = tg.nn.Sequential(tg.nn.Dense(3, 2))
    model.save(path)
    model(np.ones((2, 3))).sum().backward()
    x = tg.Tensor(np.arange(1.0, 10).reshape(3, 3), requires_grad=True)
    return {
        "tg": tg,
        "np": np,
        "copy": copy,
        "tensorgrad": tg,
        "x": x,
        "loss": (x * x).sum(),
        "array": np.ones((3, 2), np.float32),
        "inputs": np.ones((3, 3), np.float32),
        "images": np.ones((1, 3, 4, 4)),
        "indices": np.zeros((3, 1), int),
        "labels": np.array([0, 1, 1]),
        "rng": np.random.default_rng(0),
        "f": np.sum,
        "model": model,
        "layer": model[0],
        "optimiser": tg.optim.Adam(model.parameters()),
        "path": path,
    }


OBJECTS = {"Tensor": "x", "Module": "model", "Optimiser": "optimiser"}
ATTRIBUTES = [(kind, name) for kind in hints.ATTRIBUTES for name in hints.ATTRIBUTES[kind]]


@pytest.mark.parametrize("kind, name", ATTRIBUTES)
def test_what_is_named_instead_of_an_attribute_works(kind, name, tmp_path):
    names = names_of(tmp_path / "w.npz")
    instance = names[OBJECTS[kind]]
    start = f"'{type(instance).__name__}' object has no attribute '{name}'; use "
    with pytest.raises(AttributeError, match=f"^{start}") as caught:
        getattr(instance, name)
    code = str(caught.value)[len(start) :]
    assert "tensorgrad." not in code.replace("from tensorgrad.", "")  # which may not have been imported
    assert not hasattr(type(instance), name) and name not in dir(instance)
    if code.startswith(("nothing in", "model as it is", "x itself", "hidden.")):
        return
    code = code.partition(", and ")[0].partition(", or ")[0].partition(" for ")[0] if code[:4] != "for " else code
    expression, _, within = code.partition(", within ")
    with tg.no_grad() if within else contextlib.nullcontext():
        exec(expression, names)


def test_attributes_of_ones_own_come_before_hints():
    class Own(tg.nn.Module):
        def __init__(self):
            self.weights = [tg.nn.Dense(3, 2)]
            self.fit = 3

        def predict(self):
            return 4

        @property
        def device(self):
            return self.missing

    own = Own()
    assert (own.fit, own.predict(), len(own.weights), len(own.parameters())) == (3, 4, 1, 2)
    assert {"fit", "predict", "weights"} <= {*dir(own)} and "cuda" not in dir(own)
    with pytest.raises(AttributeError, match=r"no attribute 'missing'"):
        own.device  # noqa: B018


@pytest.mark.parametrize(
    "package, name, hint",
    [
        ("tensorgrad", "exp", "NumPy's functions work on Tensors: use np.exp"),
        ("tensorgrad", "sum", "NumPy's functions work on Tensors: use np.sum"),
        ("tensorgrad", "linalg", "NumPy's functions work on Tensors: use np.linalg"),
        ("tensorgrad", "float32", "use np.float32"),
        ("tensorgrad", "pi", "use np.pi"),
        ("tensorgrad", "Dense", "use tg.nn.Dense"),
        ("tensorgrad", "Adam", "use tg.optim.Adam"),
        ("tensorgrad.nn", "Adam", "use tg.optim.Adam"),
        ("tensorgrad.nn", "relu", "use tg.relu"),
        ("tensorgrad", "sofmax", "did you mean 'softmax'?"),
        ("tensorgrad.nn", "Relu", "did you mean 'ReLU'?"),
        ("tensorgrad", "roots", ""),
        ("tensorgrad", "quux", ""),
        ("tensorgrad.optim", "_private", ""),
    ],
)
def test_other_names(package, name, hint):
    assert instead(package, name) == hint
    with pytest.raises(AttributeError, match=f"^module '{package}' has no attribute '{name}'"):
        getattr(sys.modules[package], name)


@pytest.mark.parametrize(
    "statement, hint",
    [
        ("from tensorgrad.nn import Linear", "use tg.nn.Dense(3, 2)"),
        ("from tensorgrad import exp", "NumPy's functions work on Tensors: use np.exp"),
        ("from tensorgrad import Adam", "use tg.optim.Adam"),
        ("from tensorgrad import EarlyStopping", "use from tensorgrad.training import EarlyStopping"),
        ("from tensorgrad.nn import ImageFolder", "use from tensorgrad.data import ImageFolder"),
        ("from tensorgrad.optim import RMSProp", "did you mean 'RMSprop'?"),
        ("import tensorgrad.nn.functional as F", "use tensorgrad itself, as in tg.relu(x)"),
        ("from tensorgrad.nn import functional as F", "use tensorgrad itself, as in tg.relu(x)"),
        ("from tensorgrad.utils.data import DataLoader", "use from tensorgrad.data import Loader"),
        ("from tensorgrad.training import EarlyStoping", "did you mean 'EarlyStopping'?"),
    ],
)
def test_imports_are_answered_as_attributes_are(statement, hint):
    with pytest.raises(ImportError) as caught:
        exec(statement, {})
    assert str(caught.value).endswith("; " + hint)
    code = hint.removeprefix("use ")
    if code.startswith("from "):
        exec(code, {})


def test_imports_without_a_hint_are_pythons_own():
    with pytest.raises(ImportError, match=r"^cannot import name 'quux' from 'tensorgrad\.nn'"):
        exec("from tensorgrad.nn import quux")
    assert importlib.util.find_spec("tensorgrad.quux") is None
    exec("from tensorgrad.nn import Dense; from tensorgrad import draw, nn; import tensorgrad.report")


def test_no_name_that_exists_has_a_hint():
    for package, name in NAMES:
        assert name not in sys.modules[package].__all__, f"{package}.{name} exists"


def test_the_lower_case_tensor_of_pytorch():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    assert isinstance(x, tg.Tensor) and x.requires_grad
    assert tg.tensor([1, 2], dtype=np.float32).dtype == np.float32


@pytest.mark.parametrize("name", hints.KEYWORDS["fit"])
def test_keyword_arguments_of_other_libraries_are_answered_with_one_that_works(name, tmp_path):
    fit = tg.training.fit
    inputs, labels = np.random.default_rng(0).standard_normal((60, 3)).astype(np.float32), np.arange(60) % 2
    with pytest.raises(TypeError, match=f"^fit: got an unknown keyword argument, {name}; use ") as caught:
        fit(tg.nn.Dense(3, 2), (inputs, labels), **{name: 1})
    names = {"tg": tg, "tensorgrad": tg, "np": np, "functools": functools, "folder": tmp_path}
    names |= {"inputs": inputs, "labels": labels, "weights": np.ones(60)}
    instead = eval(f"dict({str(caught.value).partition('; use ')[2]})", names)
    given = {"train": (inputs, labels), "epochs": 1, "rng": 0, "quiet": True, **instead}
    assert len(fit(tg.nn.Dense(3, 2), **given)) == given["epochs"]


FIT = tg.training.fit
EXAMPLES = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32), np.arange(40) % 2


def fitted(**settings):
    return FIT(tg.nn.Dense(3, 2, rng=0), EXAMPLES, EXAMPLES, epochs=1, rng=0, quiet=True, **settings)


@pytest.mark.parametrize("name", ["Adam", "ADAMW", "SGD", "RMSProp", "Adagrad", "adamax", "Lion"])
def test_names_of_optimisers_are_taken_in_any_case(name):
    assert fitted(optimiser=name)[0].loss == fitted(optimiser=tg.optim.OPTIMISERS[name.lower()])[0].loss


@pytest.mark.parametrize(
    "setting, given", [(setting, name) for setting, names in hints.NAMES.items() for name in names]
)
def test_names_that_others_have_are_answered_with_one_that_is_known_here(setting, given):
    known = {
        "optimiser": [*tg.optim.OPTIMISERS],
        "loss": [*LOSSES],
        "metrics": [*METRICS],
        "monitor": [before + name for before in ("", "validation_") for name in ("loss", *METRICS)],
    }[setting]
    assert given not in known
    assert hints.similar_name(setting, given, known) == f"; did you mean {hints.NAMES[setting][given]!r}?"


@pytest.mark.parametrize(
    "setting, given, meant",
    [
        ("optimiser", "Nadam", "adam"),
        ("optimiser", "adaam", "adam"),
        ("loss", "cross_entropy", "softmax_cross_entropy"),
        ("loss", "crossentropy", "softmax_cross_entropy"),
        ("loss", "CrossEntropyLoss", "softmax_cross_entropy"),
        ("loss", "softmax_crossentropy", "softmax_cross_entropy"),
        ("metrics", "Accuracy", "accuracy"),
        ("monitor", "val_loss", "validation_loss"),
        ("monitor", "validation_acuracy", "validation_accuracy"),
    ],
)
def test_the_name_that_was_meant_is_named_and_works(setting, given, meant):
    with pytest.raises(ValueError, match=f"^fit: .* got '{given}'; did you mean '{meant}'\\?$"):
        fitted(**{setting: given})
    assert len(fitted(**{setting: meant})) == 1


@pytest.mark.parametrize(
    "given, meant",
    [("MSE", "mse"), ("MSELoss", "mse"), ("mean_squared_error", "mse"), ("L1Loss", "mae"), ("Huber", "huber")],
)
def test_names_of_losses_of_numbers(given, meant):
    examples = EXAMPLES[0], EXAMPLES[0][:, :2]
    with pytest.raises(ValueError, match=f"got '{given}'; did you mean '{meant}'"):
        FIT(tg.nn.Dense(3, 2), examples, loss=given)
    assert len(FIT(tg.nn.Dense(3, 2), examples, loss=meant, epochs=1, rng=0, quiet=True)) == 1


def test_names_that_resemble_nothing_are_not_guessed_at():
    with pytest.raises(ValueError, match=r"got 'zzz'$"):
        fitted(loss="zzz")


@pytest.mark.parametrize("given", [["cat", "dog", "dog"], [0.0, 1.0, 1.0], [[0], [1], [1]]])
def test_labels_that_the_loss_does_not_take_are_answered_with_what_makes_such(given):
    names = {"np": np, "labels": np.array(given)}
    logits = tg.Tensor(np.eye(3, 2), requires_grad=True)
    with pytest.raises((TypeError, ValueError), match=r"^softmax_cross_entropy: takes integer labels") as caught:
        tg.softmax_cross_entropy(logits, names["labels"])
    remedy = str(caught.value).rpartition("; ")[2]
    if remedy.startswith("number the classes, "):
        exec(remedy[len("number the classes, ") :], names)
    else:
        names["labels"] = eval(remedy[len("use ") :], names)
    assert (
        tg.softmax_cross_entropy(logits, names["labels"]).item() == tg.softmax_cross_entropy(logits, [0, 1, 1]).item()
    )


def test_a_layer_of_ones_own_in_another_dtype_is_told_where_to_change_it():
    class Scale(tg.nn.Module):
        def __init__(self, dtype):
            self.factor = tg.Tensor(np.ones(3, dtype), requires_grad=True)

        def forward(self, x):
            return x * self.factor

    with pytest.raises(TypeError, match=r"use x\.astype\(np\.float32\), here or for .* parameters of your own$"):
        tg.nn.Sequential(Scale(np.float64), tg.nn.Dense(3, 2))(EXAMPLES[0])
    assert tg.nn.Sequential(Scale(np.float32), tg.nn.Dense(3, 2))(EXAMPLES[0]).dtype == np.float32


CONSTRUCTORS = [(kind, name) for kind in hints.CONSTRUCTORS for name in hints.CONSTRUCTORS[kind]]


@pytest.mark.parametrize("kind, name", CONSTRUCTORS)
def test_keywords_of_constructors_are_answered_with_a_call_that_works(kind, name, tmp_path):
    names = names_of(tmp_path / "w.npz")
    made = getattr(tg.nn, kind, None) or getattr(tg.optim, kind)
    with pytest.raises(TypeError, match=f"^{kind}: unexpected keyword argument '{name}'; use ") as caught:
        made(**{name: 1})
    eval(str(caught.value).partition("; use ")[2].partition(", where ")[0].partition(", of ")[0], names)


def test_constructors_of_ones_own_classes_take_what_they_take():
    class Own(tg.nn.Dense):
        def __init__(self, activation):
            super().__init__(3, 2, rng=0)
            self.activation = activation

    assert Own(activation=np.tanh).activation is np.tanh and copy.deepcopy(Own(np.tanh)).bias.shape == (2,)
    assert pickle.loads(pickle.dumps(tg.nn.Dropout(0.5, rng=0))).rate == 0.5
    with pytest.raises(TypeError, match=r"^ReLU\.__init__|^__init__"):
        tg.nn.ReLU(3)
    assert [*inspect.signature(tg.nn.Dropout).parameters] == ["rate", "rng"] and not inspect.signature(
        tg.nn.ReLU
    ).parameters
    with pytest.raises(TypeError, match="unexpected keyword argument 'quux'"):
        tg.nn.Dense(3, 2, quux=1)


def test_misspelt_keyword_arguments_are_told_the_nearest_and_others_nothing():
    for name, hint in ("epoch", "; use epochs="), ("batchsize", "; use batch_size="), ("zzz", ""):
        with pytest.raises(TypeError, match=f"^fit: got an unknown keyword argument, {name}{hint}$"):
            tg.training.fit(tg.nn.Dense(3, 2), (np.ones((2, 3)), [0, 1]), **{name: 1})
