"""Networks as scikit-learn's estimators: for pipelines, searches and cross-validation."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Callable

import numpy as np

from .. import nn, optim
from .._optional import require
from ..nn import Dense, Dropout, Module, Sequential
from ..ops.activations import log_softmax
from ..optim import Optimiser
from ..training import Epoch, RandomStreams, fit, predict

_NEEDED_BY = "tensorgrad.interop.sklearn"
base = require("sklearn.base", _NEEDED_BY)
class_weights = require("sklearn.utils.class_weight", _NEEDED_BY)
multiclass = require("sklearn.utils.multiclass", _NEEDED_BY)
selection = require("sklearn.model_selection", _NEEDED_BY)
validation = require("sklearn.utils.validation", _NEEDED_BY)

ACTIVATIONS: Mapping[str, Callable[[], Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "identity": Sequential,
    "leaky_relu": nn.LeakyReLU,
    "logistic": nn.Sigmoid,
    "relu": nn.ReLU,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}
"""By name; ``"logistic"`` and ``"identity"`` as in scikit-learn."""

OPTIMISERS: Mapping[str, Callable[..., Optimiser]] = {
    "adagrad": optim.Adagrad,
    "adam": optim.Adam,
    "adamax": optim.Adamax,
    "adamw": optim.AdamW,
    "lion": optim.Lion,
    "rmsprop": optim.RMSprop,
    "sgd": optim.SGD,
}

LARGEST_BATCH = 200
"""Examples in a step, where ``batch_size`` is ``"auto"``."""

FEW_STEPS = 20
"""So many take longer compiled than not, with the time for compiling."""


def _is_integer(value: object, least: int = 1) -> bool:
    return isinstance(value, Integral) and int(value) >= least


def _is_number(value: Any, below: float = np.inf) -> bool:
    return isinstance(value, Real) and 0 <= float(value) < below


def _known_or_callable(names: Mapping[str, Any]) -> tuple[Callable[[Any], bool], str]:
    return lambda value: callable(value) or value in names, f"a function, or one of {', '.join(map(repr, names))}"


_INTEGER = "an integer of at least 1"
_SETTINGS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "hidden_layer_sizes": (lambda value: all(map(_is_integer, _sizes(value))), "positive integers, such as (100,)"),
    "activation": _known_or_callable(ACTIVATIONS),
    "dropout": (lambda value: _is_number(value, 1), "a number in 0 <= dropout < 1"),
    "l1": (_is_number, "a number that is not negative"),
    "l2": (_is_number, "a number that is not negative"),
    "optimiser": _known_or_callable(OPTIMISERS),
    "epochs": (_is_integer, _INTEGER),
    "batch_size": (lambda value: value == "auto" or _is_integer(value), f"'auto' or {_INTEGER}"),
    "tol": (_is_number, "a number that is not negative"),
    "n_iter_no_change": (lambda value: value is None or _is_integer(value), f"None or {_INTEGER}"),
    "validation_fraction": (lambda value: _is_number(value, 1) and value > 0, "a number between 0 and 1"),
}
"""What each may be, and that in words."""


def _sizes(hidden_layer_sizes: Any) -> tuple[Any, ...]:
    return tuple(hidden_layer_sizes) if np.iterable(hidden_layer_sizes) else (hidden_layer_sizes,)


def _validated(estimator: Any, X: Any, **given: Any) -> Any:
    """What scikit-learn makes of X, and of y where that is given."""
    given["dtype"] = [np.float64, np.float32]
    if hasattr(validation, "validate_data"):
        return validation.validate_data(estimator, X, **given)
    return estimator._validate_data(X, **given)  # scikit-learn before 1.6


class _Estimator(base.BaseEstimator):  # type: ignore[misc]
    """What classifier and regressor share; each says what its targets are."""

    _metric: str
    classes_: np.ndarray

    def __init__(
        self,
        hidden_layer_sizes: Any,
        activation: Any,
        dropout: float,
        l1: float,
        l2: float,
        module: Any,
        loss: Any,
        optimiser: Any,
        learning_rate: Any,
        optimiser_settings: Mapping[str, Any] | None,
        epochs: int,
        batch_size: Any,
        tol: float,
        n_iter_no_change: int | None,
        early_stopping: bool,
        validation_fraction: float,
        warm_start: bool,
        random_state: Any,
        verbose: bool,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.l1 = l1
        self.l2 = l2
        self.module = module
        self.loss = loss
        self.optimiser = optimiser
        self.learning_rate = learning_rate
        self.optimiser_settings = optimiser_settings
        self.epochs = epochs
        self.batch_size = batch_size
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    # What the two differ in

    def _learn(self, y: np.ndarray, weights: np.ndarray | None, classes: Any = None) -> None:
        """Take note of what kind of targets there are."""
        raise NotImplementedError

    def _encoded(self, y: np.ndarray, dtype: Any) -> np.ndarray:
        """Targets as the loss takes them."""
        raise NotImplementedError

    def _weighted(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        """The weights of examples with these targets."""
        return weights

    # What has been learned

    @property
    def loss_curve_(self) -> list[float]:
        """The mean loss of each epoch, without penalties."""
        return [row.loss for row in self.history_]

    @property
    def loss_(self) -> float:
        """The loss of the last epoch."""
        return self.history_[-1].loss

    @property
    def best_loss_(self) -> float:
        """The lowest loss of an epoch."""
        return min(self.loss_curve_)

    @property
    def validation_scores_(self) -> list[float] | None:
        """With ``early_stopping`` the score of the validation examples after each epoch."""
        name = f"validation_{self._metric}"
        return [row.measures[name] for row in self.history_] if name in self.history_[-1].measures else None

    @property
    def n_iter_(self) -> int:
        """How many epochs there have been."""
        return len(self.history_)

    # Fitting

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Train the network.

        Parameters
        ----------
        X
            Array or frame of shape (examples, features); float32 is computed in float32, all else in float64.
        y
            Array of shape (examples,); for a regressor also (examples, outputs).
        sample_weight
            How much each example counts; those of weight 0 are left out.

        Returns
        -------
        The estimator itself.
        """
        return self._fit(X, y, sample_weight)

    def _fit(self, X: Any, y: Any, sample_weight: Any, is_partial: bool = False, classes: Any = None) -> Any:
        goes_on = hasattr(self, "module_") and (is_partial or self.warm_start)
        self._check_settings()
        X, y, weights = self._checked(X, y, sample_weight, reset=not goes_on)
        if not goes_on:
            self._learn(y, weights, classes)
        targets = self._encoded(y, X.dtype)
        if weights is not None and not weights.all():
            X, y, targets, weights = (array[weights > 0] for array in (X, y, targets, weights))
        if not goes_on:
            seed = validation.check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
            self._streams = RandomStreams.from_seed(seed)
            self.module_ = self._network(X.shape[1], X.dtype)
            self.history_: list[Epoch] = []
        if not (goes_on and is_partial):
            self.optimiser_ = self._new_optimiser()
        self._train(X, targets, self._weighted(y, weights), is_partial)
        return self

    def _check_settings(self) -> None:
        for name, (is_fine, expected) in _SETTINGS.items():
            value = getattr(self, name)
            if not is_fine(value):
                raise ValueError(f"{type(self).__name__}: {name} must be {expected}, got {value!r}")

    def _checked(self, X: Any, y: Any, sample_weight: Any, reset: bool) -> tuple[np.ndarray, Any, np.ndarray | None]:
        """Arrays of them, or an error of scikit-learn's."""
        X, y = _validated(self, X, y=y, reset=reset, **self._checks_of_targets)
        if sample_weight is None:
            return X, y, None
        weights = validation._check_sample_weight(sample_weight, X, dtype=np.float64)
        if weights.min() < 0 or not weights.any():
            raise ValueError(
                f"{type(self).__name__}: sample_weight must not be negative, and not zero for all examples, got "
                f"{weights.min():g} to {weights.max():g}"
            )
        return X, y, weights

    def _network(self, inputs: int, dtype: Any) -> Module:
        """A new one."""
        given, streams = self.module, self._streams
        if isinstance(given, Module):
            return copy.deepcopy(given)
        if given is not None:
            made = given(inputs, self._outputs, streams.weights) if callable(given) else given
            if not isinstance(made, Module):
                raise TypeError(
                    f"{type(self).__name__}: module must be a tensorgrad.nn.Module, or a function of the numbers of "
                    f"inputs and outputs and a random generator that makes one, got {made!r}"
                )
            return made
        layers: list[Any] = []
        for size in _sizes(self.hidden_layer_sizes):
            layers += [self._dense(inputs, size, dtype), self._activation()]
            layers += [Dropout(self.dropout, streams.dropout)] if self.dropout else []
            inputs = size
        return Sequential(*layers, self._dense(inputs, self._outputs, dtype))

    def _dense(self, inputs: int, outputs: int, dtype: Any) -> Dense:
        return Dense(inputs, outputs, self._streams.weights, weight_l1=self.l1, weight_l2=self.l2, dtype=dtype)

    def _activation(self) -> Any:
        if isinstance(self.activation, str):
            return ACTIVATIONS[self.activation]()
        return self.activation() if isinstance(self.activation, type) else copy.deepcopy(self.activation)

    def _new_optimiser(self) -> Optimiser:
        parameters = self.module_.parameters()
        if isinstance(self.optimiser, str):
            settings = {"lr": self.learning_rate, **(self.optimiser_settings or {})}
            return OPTIMISERS[self.optimiser](parameters, **settings)
        made = self.optimiser(parameters, **(self.optimiser_settings or {}))
        if not isinstance(made, Optimiser):
            raise TypeError(
                f"{type(self).__name__}: optimiser must be a name, or a function of parameters that makes a "
                f"tensorgrad.optim.Optimiser, such as functools.partial(tensorgrad.optim.SGD, lr=0.1), got {made!r}"
            )
        return made

    def _train(self, X: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, is_partial: bool) -> None:
        inputs = X.astype(self._dtype, copy=False)
        train, held_out = (inputs, targets, weights), None
        if self.early_stopping and not is_partial:
            train, held_out = self._split(train)
        epochs = 1 if is_partial else int(self.epochs)
        size = min(LARGEST_BATCH if self.batch_size == "auto" else int(self.batch_size), len(train[0]))
        self.history_ += fit(
            self.module_,
            train,
            held_out,
            self.optimiser_,
            loss=self.loss,
            metrics=[] if held_out is None else [self._metric],
            epochs=epochs,
            batch_size=size,
            rng=self._streams,
            monitor="loss" if held_out is None else "validation_loss",
            min_delta=float(self.tol),
            patience=None if self.n_iter_no_change is None else int(self.n_iter_no_change),
            quiet=not self.verbose,
            compiled=epochs * -(-len(train[0]) // size) > FEW_STEPS,
        )

    def _split(self, examples: Any) -> tuple[Any, Any]:
        """Those to train with, and those to validate with."""
        inputs, targets, _ = examples
        stratify = targets if base.is_classifier(self) else None
        seed = int(self._streams.split.integers(np.iinfo(np.int32).max))
        parts = selection.train_test_split(
            np.arange(len(inputs)), test_size=self.validation_fraction, stratify=stratify, random_state=seed
        )
        return tuple(tuple(None if array is None else array[part] for array in examples) for part in parts)

    @property
    def _dtype(self) -> Any:
        """That in which the network computes."""
        return next((parameter.dtype for parameter in self.module_.parameters()), np.dtype(np.float64))

    def _predicted(self, X: Any) -> np.ndarray:
        """The outputs of the network."""
        validation.check_is_fitted(self)
        X = _validated(self, X, reset=False)
        outputs: np.ndarray = predict(self.module_, X.astype(self._dtype, copy=False))
        return outputs


class TensorgradClassifier(base.ClassifierMixin, _Estimator):  # type: ignore[misc]
    """A network that tells classes apart."""

    _metric = "accuracy"
    _checks_of_targets: Mapping[str, bool] = {}

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        dropout: float = 0.0,
        l1: float = 0.0,
        l2: float = 1e-4,
        module: Any = None,
        loss: Any = "softmax_cross_entropy",
        optimiser: Any = "adam",
        learning_rate: Any = 5e-3,
        optimiser_settings: Mapping[str, Any] | None = None,
        epochs: int = 100,
        batch_size: Any = "auto",
        tol: float = 1e-4,
        n_iter_no_change: int | None = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        class_weight: Any = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            dropout=dropout,
            l1=l1,
            l2=l2,
            module=module,
            loss=loss,
            optimiser=optimiser,
            learning_rate=learning_rate,
            optimiser_settings=optimiser_settings,
            epochs=epochs,
            batch_size=batch_size,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    @property
    def _outputs(self) -> int:
        return len(self.classes_)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Any:
        """Go on training, for one epoch of these examples.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`; some of the classes may be missing.
        classes
            All classes that there will be; needed in the first call.

        Returns
        -------
        The estimator itself.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "TensorgradClassifier: class_weight='balanced' needs all examples, which partial_fit has not; pass "
                "class_weight={class: weight, ...}"
            )
        if classes is None and not hasattr(self, "module_"):
            raise ValueError("TensorgradClassifier: classes must be passed to the first call of partial_fit")
        if classes is not None and hasattr(self, "module_"):
            found = multiclass.unique_labels(classes)
            if not np.array_equal(found, self.classes_):
                raise ValueError(
                    f"TensorgradClassifier: classes must stay those of the first call of partial_fit, {self.classes_}, "
                    f"got {found}"
                )
        return self._fit(X, y, sample_weight, is_partial=True, classes=classes)

    def _learn(self, y: np.ndarray, weights: np.ndarray | None, classes: Any = None) -> None:
        multiclass.check_classification_targets(y)
        self.classes_ = multiclass.unique_labels(y if classes is None else classes)

    def _encoded(self, y: np.ndarray, dtype: Any) -> np.ndarray:
        found = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        unknown = self.classes_[found] != y
        if unknown.any():
            raise ValueError(
                f"TensorgradClassifier: y has the class {y[unknown][0]!r}, which is none of {self.classes_.tolist()}; "
                "name all classes in the first call of partial_fit, or fit a new estimator"
            )
        return found

    def _weighted(self, y: np.ndarray, weights: np.ndarray | None) -> np.ndarray | None:
        if self.class_weight is None:
            return weights
        of_classes: np.ndarray = class_weights.compute_sample_weight(self.class_weight, y)
        return of_classes if weights is None else weights * of_classes

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each example."""
        best = self._predicted(X).argmax(axis=1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, in the order of ``classes_``: an array of shape (examples, classes)."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of the probability of each class."""
        return np.asarray(log_softmax(self._predicted(X)))


class TensorgradRegressor(base.MultiOutputMixin, base.RegressorMixin, _Estimator):  # type: ignore[misc]
    """A network that predicts numbers."""

    _metric = "r2"
    _checks_of_targets: Mapping[str, bool] = {"multi_output": True, "y_numeric": True}

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        dropout: float = 0.0,
        l1: float = 0.0,
        l2: float = 1e-4,
        module: Any = None,
        loss: Any = "mse",
        optimiser: Any = "adam",
        learning_rate: Any = 5e-3,
        optimiser_settings: Mapping[str, Any] | None = None,
        epochs: int = 100,
        batch_size: Any = "auto",
        tol: float = 1e-4,
        n_iter_no_change: int | None = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            dropout=dropout,
            l1=l1,
            l2=l2,
            module=module,
            loss=loss,
            optimiser=optimiser,
            learning_rate=learning_rate,
            optimiser_settings=optimiser_settings,
            epochs=epochs,
            batch_size=batch_size,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            warm_start=warm_start,
            random_state=random_state,
            verbose=verbose,
        )

    @property
    def _outputs(self) -> int:
        return self._mean.size

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Go on training, for one epoch of these examples.

        The first call decides by which mean and scale the targets are standardised.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`.

        Returns
        -------
        The estimator itself.
        """
        return self._fit(X, y, sample_weight, is_partial=True)

    def _learn(self, y: np.ndarray, weights: np.ndarray | None, classes: Any = None) -> None:
        self._mean = np.average(y, axis=0, weights=weights)
        spread = np.sqrt(np.average((y - self._mean) ** 2, axis=0, weights=weights))
        self._scale = np.where(spread > 0, spread, 1.0)

    def _encoded(self, y: np.ndarray, dtype: Any) -> np.ndarray:
        if y.shape[1:] != self._mean.shape:
            raise ValueError(f"TensorgradRegressor: y must have the shape (examples, {self._outputs})")
        return ((y - self._mean) / self._scale).astype(dtype)

    def predict(self, X: Any) -> np.ndarray:
        """Predicted numbers, of shape (examples,), or (examples, outputs) as the targets."""
        outputs = self._predicted(X)
        return outputs.reshape(len(outputs), *self._mean.shape) * self._scale + self._mean
