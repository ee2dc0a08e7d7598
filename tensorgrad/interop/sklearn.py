"""Networks as scikit-learn's estimators: for pipelines, searches and cross-validation."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Callable

import numpy as np

from .._optional import require
from ..compiler.function import without_kernels
from ..core import describe
from ..nn import Module
from ..ops.activations import log_softmax
from ..optim import OPTIMISERS, Optimiser, inverse_time_decay
from ..optim.names import optimiser_of
from ..optim.schedules import Rate
from ..training import Epoch, Monitor, RandomStreams, fit, predict
from ..training.objective import LossFunction
from .perceptron import ACTIVATIONS, SETTINGS, Penalised, Predictor, moments, perceptron

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin, is_classifier
    from sklearn.model_selection import train_test_split
    from sklearn.utils import validation
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.multiclass import check_classification_targets, unique_labels
except ImportError:
    require("sklearn", "tensorgrad.interop.sklearn")
    raise

__all__ = ["ACTIVATIONS", "OPTIMISERS", "TensorgradClassifier", "TensorgradRegressor"]

LARGEST_BATCH = 200
"""Examples in a step, where ``batch_size`` is ``"auto"``."""

FEW_STEPS = 30
"""So many take longer compiled than not, with the time for compiling."""

LITTLE_WORK = 2e8
"""Steps times numbers that each computes, up to which numba would take longer to import than it saves."""


def _validated(estimator: Any, X: Any, **given: Any) -> Any:
    """What scikit-learn makes of X, and of y where that is given."""
    given["dtype"] = [np.float64, np.float32]
    if hasattr(validation, "validate_data"):
        return validation.validate_data(estimator, X, **given)
    return estimator._validate_data(X, **given)  # scikit-learn before 1.6


class _Estimator(BaseEstimator):
    """What classifier and regressor share; each says what its targets are."""

    _loss: str
    _metric: str
    _checks_of_targets: Mapping[str, bool]
    _seen: float  # for how many examples those that there have been count

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Callable[[Any], Any] = "relu",
        *,
        dropout: float = 0.0,
        l1: float = 0.0,
        l2: float = 1.0,
        standardise: bool = True,
        module: Module | Callable[..., Module] | None = None,
        loss: str | LossFunction | None = None,
        optimiser: str | Callable[..., Optimiser] = "adam",
        learning_rate: Rate = 1e-2,
        learning_rate_decay: float = 5e-3,
        optimiser_settings: Mapping[str, Any] | None = None,
        epochs: int = 80,
        batch_size: int | str = "auto",
        tol: float = 1e-4,
        n_iter_no_change: int | None = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout
        self.l1 = l1
        self.l2 = l2
        self.standardise = standardise
        self.module = module
        self.loss = loss
        self.optimiser = optimiser
        self.learning_rate = learning_rate
        self.learning_rate_decay = learning_rate_decay
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

    @property
    def _outputs(self) -> int:
        """How many the network has."""
        raise NotImplementedError

    def _learn(self, y: np.ndarray, weights: np.ndarray, classes: object = None) -> None:
        """Take note of what kind of targets there are."""
        raise NotImplementedError

    def _encoded(self, y: np.ndarray, dtype: object) -> np.ndarray:
        """Targets as the loss takes them."""
        raise NotImplementedError

    def _weighted(self, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
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

    def as_module(self) -> Module:
        """All that it predicts with, in one network: for ``onnx.export``, or to compute gradients of predictions.

        It takes features as :meth:`fit` does, in an array of the dtype of the network, and gives what ``predict_proba``
        of a classifier or ``predict`` of a regressor gives. Its parameters are those of ``module_``.

        >>> import numpy as np
        >>> points = np.random.default_rng(0).standard_normal((50, 2))
        >>> regressor = TensorgradRegressor(epochs=2).fit(points, points[:, 0])
        >>> np.allclose(regressor.as_module()(points), regressor.predict(points))
        True
        """
        validation.check_is_fitted(self, "module_")
        return Predictor(self.module_, self.feature_scaling_, getattr(self, "target_scaling_", None)).eval()

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

    def _fit(
        self, X: object, y: object, sample_weight: object, is_partial: bool = False, classes: object = None
    ) -> Any:
        goes_on = hasattr(self, "module_") and (is_partial or self.warm_start)
        self._check_settings()
        with self._unchanged_on_error(goes_on):
            self._learn_from(X, y, sample_weight, goes_on, is_partial, classes)
        return self

    @contextmanager
    def _unchanged_on_error(self, goes_on: bool) -> Iterator[None]:
        """Whatever fails within leaves the estimator as it was; what is interrupted has learned something."""
        before = self.__dict__.copy()
        trained: Sequence[Any] = (self.module_, self.optimiser_) if goes_on else ()
        states = [part.state_dict() for part in trained]
        try:
            yield
        except Exception:
            self.__dict__ = before
            for part, state in zip(trained, states):
                part.load_state_dict(state)
            raise

    def _learn_from(self, X: Any, y: Any, sample_weight: Any, goes_on: bool, is_partial: bool, classes: Any) -> None:
        X, y, weights = self._checked(X, y, sample_weight, reset=not goes_on)
        if not goes_on:
            self._learn(y, weights, classes)
        targets = self._encoded(y, X.dtype)
        if not weights.all():
            X, y, targets, weights = (array[weights > 0] for array in (X, y, targets, weights))
        if not goes_on:
            self._begin(X, weights)
        if not (goes_on and is_partial):
            self.optimiser_ = self._new_optimiser()
        self._seen = float(weights.sum()) + (self._seen if is_partial else 0.0)
        self._train(X, targets, self._weighted(y, weights), is_partial)

    def _begin(self, X: np.ndarray, weights: np.ndarray) -> None:
        """Forget what was learned before, and make a new network."""
        seed = validation.check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        self._streams = RandomStreams.from_seed(seed)
        self.module_ = self._network(X.shape[1], X.dtype)
        self._is_own = self.module is None
        self.feature_scaling_ = moments(X, weights) if self.standardise and self._is_own else None
        self.history_: list[Epoch] = []
        self._seen = 0.0

    def _check_settings(self) -> None:
        for name, (is_fine, expected) in SETTINGS.items():
            value = getattr(self, name)
            if not is_fine(value):
                raise ValueError(f"{type(self).__name__}: {name} must be {expected}, got {value!r}")

    def _checked(self, X: Any, y: Any, sample_weight: Any, reset: bool) -> tuple[np.ndarray, Any, np.ndarray]:
        """Arrays of them, or an error of scikit-learn's."""
        X, y = _validated(self, X, y=y, reset=reset, **self._checks_of_targets)
        if sample_weight is None:
            return X, y, np.ones(len(X))  # not None: no compiled step depends then on the number of examples
        weights = validation._check_sample_weight(sample_weight, X, dtype=np.float64)
        if weights.min() < 0 or not weights.any():
            raise ValueError(
                f"{type(self).__name__}: sample_weight must not be negative, and not zero for all examples, got "
                f"{weights.min():g} to {weights.max():g}"
            )
        return X, y, weights

    def _network(self, inputs: int, dtype: object) -> Module:
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
        return perceptron(self, inputs, self._outputs, streams, dtype)

    def _new_optimiser(self) -> Optimiser:
        settings = dict(self.optimiser_settings or {})
        if isinstance(self.optimiser, str):
            rate = copy.deepcopy(self.learning_rate)  # schedules may remember
            settings["lr"] = rate if callable(rate) else inverse_time_decay(rate, self.learning_rate_decay)
        return optimiser_of(type(self).__name__, self.optimiser, self.module_.parameters(), **settings)

    def _train(self, X: np.ndarray, targets: np.ndarray, weights: np.ndarray, is_partial: bool) -> None:
        train, held_out = (self._inputs(X), targets, weights), None
        if self.early_stopping and not is_partial:
            train, held_out = self._split(train)
        size = min(LARGEST_BATCH if self.batch_size == "auto" else int(self.batch_size), len(train[0]))
        epochs = 1 if is_partial else int(self.epochs)
        steps = epochs * -(-len(train[0]) // size)
        with nullcontext() if steps * self._numbers(size) > LITTLE_WORK else without_kernels():
            self.history_ += fit(
                self._penalised(),
                train,
                held_out,
                self.optimiser_,
                loss=self._loss if self.loss is None else self.loss,
                metrics=[] if held_out is None else [self._metric],
                epochs=epochs,
                batch_size=size,
                rng=self._streams,
                monitor=Monitor("loss" if held_out is None else "validation_loss", float(self.tol)),
                patience=None if self.n_iter_no_change is None else int(self.n_iter_no_change),
                quiet=not self.verbose,
                compiled=steps > FEW_STEPS,
            )

    def _penalised(self) -> Module:
        """What is trained; a network of the user's has penalties of its own."""
        if not self._is_own:
            return self.module_
        return Penalised(self.module_, self.l1 / self._seen, self.l2 / self._seen)

    def _numbers(self, batch_size: int) -> int:
        """About how many numbers a step computes: parameters, and outputs of layers."""
        parameters = self.module_.parameters()
        return sum(parameter.size + batch_size * parameter.shape[-1] for parameter in parameters if parameter.ndim > 1)

    def _split(self, examples: Any) -> tuple[Any, Any]:
        """Those to train with, and those to validate with."""
        targets, count = examples[1], len(examples[1])
        held = min(math.ceil(count * self.validation_fraction), count - 1)
        stratify = None
        if is_classifier(self):
            sizes = np.unique(targets, return_counts=True)[1]
            stratify = targets if sizes.min() > 1 and min(held, count - held) >= len(sizes) else None
        seed = int(self._streams.split.integers(np.iinfo(np.int32).max))
        parts = train_test_split(np.arange(count), test_size=held, stratify=stratify, random_state=seed)
        train, held_out = (tuple(array[part] for array in examples) for part in parts)
        return train, held_out

    def _inputs(self, X: np.ndarray) -> np.ndarray:
        """What the network is given, in the dtype in which it computes."""
        dtype = next((parameter.dtype for _, parameter in self.module_.named_parameters()), X.dtype)
        if self.feature_scaling_ is not None:
            mean, scale = (moment.astype(X.dtype) for moment in self.feature_scaling_)
            X = (X - mean) / scale
        return X.astype(dtype, copy=False)

    def _predicted(self, X: Any) -> np.ndarray:
        """The outputs of the network."""
        validation.check_is_fitted(self, "module_")
        X = _validated(self, X, reset=False)
        outputs: np.ndarray = predict(self.module_, self._inputs(X))
        return outputs


class TensorgradClassifier(ClassifierMixin, _Estimator):
    """A network that tells classes apart, for scikit-learn.

    It takes labels of any kind, gives probabilities, and works in pipelines, searches and cross-validation.

    Parameters
    ----------
    hidden_layer_sizes
        Units of each hidden layer; ``()`` for none.
    activation
        After each hidden layer: ``"relu"``, ``"tanh"``, ``"logistic"``, ``"gelu"`` or another of ``ACTIVATIONS``, or a
        function of Tensors.
    dropout
        Share of the units of each hidden layer that a training step leaves out.
    l1, l2
        Strengths of the penalties ``l1 * sum(abs(w))`` and ``l2 * sum(w^2)`` of the weights, added to the sum of the
        losses of all examples (by their weights): the more there are, the less they count.
    standardise
        Whether the network is given features of mean 0 and variance 1, by those of the examples it was first trained
        with. After a :class:`sklearn.preprocessing.StandardScaler` that changes nothing.
    module
        Instead of all above: a network, of which each fit trains a copy, or ``module(inputs, outputs, rng)``, which
        makes one, given the numbers of features and of outputs and a random generator. It gets the features as they are
        and computes in its own dtype.
    loss
        As for :func:`tensorgrad.training.fit`; a function of your own gives a loss for each example. None:
        cross-entropy of logits.
    optimiser
        ``"adam"``, ``"adamw"``, ``"sgd"`` or another of ``OPTIMISERS``, or a function of parameters that makes one,
        which chooses the learning rate itself.
    learning_rate, learning_rate_decay
        The rate of a step is ``learning_rate / (1 + learning_rate_decay * step)``, or where ``learning_rate`` is a
        schedule of :mod:`tensorgrad.optim`, ``learning_rate(step)``.
    optimiser_settings
        What else the optimiser is given, such as ``{"momentum": 0.9}``.
    epochs
        Passes over the training data, at most.
    batch_size
        Examples in a step; ``"auto"``: 200, or all where there are fewer.
    tol, n_iter_no_change
        The training stops after ``n_iter_no_change`` epochs in which the loss did not get lower by more than ``tol``;
        None: all epochs. The weights are those of the epoch with the lowest loss.
    early_stopping
        Whether that is the loss of validation examples instead, which are set aside.
    validation_fraction
        How many of the examples those are.
    class_weight
        A factor for the examples of each class, ``{class: weight}``; ``"balanced"``: each class counts alike.
    warm_start
        Whether :meth:`fit` continues from the weights of an earlier call.
    random_state
        Seed of initial weights, order, dropout and validation split.
    verbose
        Whether there is a progress bar.

    Attributes
    ----------
    classes_
        The labels, in the order of the columns of :meth:`predict_proba`.
    module_, optimiser_
        What was trained, and by what.
    feature_scaling_
        The means and standard deviations by which ``module_`` wants features standardised; None: as they are.
    history_
        The epochs, as :class:`tensorgrad.training.Epoch`.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).standard_normal((200, 2))
    >>> sides = np.where(points[:, 0] > points[:, 1], "right", "left")
    >>> classifier = TensorgradClassifier(hidden_layer_sizes=(16,), random_state=0).fit(points, sides)
    >>> classifier.predict([[2.0, 0.0], [0.0, 2.0]])
    array(['right', 'left'], dtype='<U5')
    >>> classifier.score(points, sides) > 0.95
    True
    """

    _loss, _metric = "softmax_cross_entropy", "accuracy"
    _checks_of_targets: Mapping[str, bool] = {}

    def __init__(
        self,
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Callable[[Any], Any] = "relu",
        *,
        dropout: float = 0.0,
        l1: float = 0.0,
        l2: float = 1.0,
        standardise: bool = True,
        module: Module | Callable[..., Module] | None = None,
        loss: str | LossFunction | None = None,
        optimiser: str | Callable[..., Optimiser] = "adam",
        learning_rate: Rate = 1e-2,
        learning_rate_decay: float = 5e-3,
        optimiser_settings: Mapping[str, Any] | None = None,
        epochs: int = 80,
        batch_size: int | str = "auto",
        tol: float = 1e-4,
        n_iter_no_change: int | None = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        class_weight: Mapping[Any, float] | str | None = None,
        warm_start: bool = False,
        random_state: Any = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            hidden_layer_sizes,
            activation,
            dropout=dropout,
            l1=l1,
            l2=l2,
            standardise=standardise,
            module=module,
            loss=loss,
            optimiser=optimiser,
            learning_rate=learning_rate,
            learning_rate_decay=learning_rate_decay,
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
        """Continue training for one epoch of these examples.

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
                "TensorgradClassifier: class_weight='balanced' needs all examples, not a part of them; pass "
                "class_weight={class: weight, ...}"
            )
        if classes is None and not hasattr(self, "module_"):
            raise ValueError("TensorgradClassifier: classes must be passed to the first call of partial_fit")
        if classes is not None and hasattr(self, "module_"):
            found = unique_labels(classes)
            if not np.array_equal(found, self.classes_):
                raise ValueError(
                    f"TensorgradClassifier: classes must stay those of the first call of partial_fit, {self.classes_}, "
                    f"got {found}"
                )
        return self._fit(X, y, sample_weight, is_partial=True, classes=classes)

    def _learn(self, y: np.ndarray, weights: np.ndarray, classes: object = None) -> None:
        check_classification_targets(y)
        self.classes_ = unique_labels(y if classes is None else classes)

    def _encoded(self, y: np.ndarray, dtype: object) -> np.ndarray:
        found: np.ndarray = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        unknown = self.classes_[found] != y
        if unknown.any():
            raise ValueError(
                f"TensorgradClassifier: y has the class {y[unknown].tolist()[0]!r}, which is none of "
                f"{self.classes_.tolist()}; name all classes in the first call of partial_fit, or fit a new estimator"
            )
        return found

    def _weighted(self, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        if self.class_weight is None:
            return weights
        weighted: np.ndarray = weights * compute_sample_weight(self.class_weight, y)
        return weighted

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each example."""
        best = self._predicted(X).argmax(axis=1)
        predicted: np.ndarray = self.classes_[best]
        return predicted

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, in the order of ``classes_``: an array of shape (examples, classes)."""
        probabilities: np.ndarray = np.exp(self.predict_log_proba(X))
        return probabilities

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of the probability of each class."""
        return np.asarray(log_softmax(self._predicted(X)))


class TensorgradRegressor(MultiOutputMixin, RegressorMixin, _Estimator):
    """A network that predicts numbers, one or several for each example, for scikit-learn.

    Targets are standardised inside, so that their scale does not matter; ``loss_curve_`` is that of standardised ones.

    Parameters
    ----------
    loss
        As for :func:`tensorgrad.training.fit`; a function of your own gives a loss for each example. None: squared
        error; ``"mae"`` and ``"huber"`` are less sensitive to outliers.
    others
        As for :class:`TensorgradClassifier`, but for ``class_weight``, which there is not.

    Attributes
    ----------
    module_, optimiser_, feature_scaling_, history_
        As for :class:`TensorgradClassifier`.
    target_scaling_
        The means and standard deviations by which the outputs of ``module_`` are standardised.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.random.default_rng(0).standard_normal((200, 2))
    >>> heights = 1000 + 50 * points[:, 0] ** 2
    >>> regressor = TensorgradRegressor(random_state=0).fit(points, heights)
    >>> regressor.score(points, heights) > 0.95
    True
    """

    _loss, _metric = "mse", "r2"
    _checks_of_targets: Mapping[str, bool] = {"multi_output": True, "y_numeric": True}

    @property
    def _outputs(self) -> int:
        return int(self.target_scaling_[0].size)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any:
        """Continue training for one epoch of these examples.

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

    def _learn(self, y: np.ndarray, weights: np.ndarray, classes: object = None) -> None:
        if y.dtype.kind not in "biuf":
            raise ValueError(
                f"TensorgradRegressor: y must be numbers, got {describe(y)}; convert them, y.astype(float), or for "
                "classes take TensorgradClassifier"
            )
        self.target_scaling_ = moments(y, weights)

    def _encoded(self, y: np.ndarray, dtype: object) -> np.ndarray:
        mean, scale = self.target_scaling_
        if y.shape[1:] != mean.shape:
            expected = ", ".join(["examples", *map(str, mean.shape)])
            raise ValueError(
                f"TensorgradRegressor: y must have the shape ({expected}), as in the first call, got {y.shape}; make a "
                "new estimator for other outputs"
            )
        standardised: np.ndarray = ((y - mean) / scale).astype(dtype)
        return standardised

    def predict(self, X: Any) -> np.ndarray:
        """Predicted numbers, of shape (examples,), or (examples, outputs) as the targets."""
        outputs = self._predicted(X)
        mean, scale = self.target_scaling_
        predicted: np.ndarray = outputs.reshape(len(outputs), *mean.shape) * scale + mean
        return predicted
