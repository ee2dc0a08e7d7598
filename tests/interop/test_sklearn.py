"""The estimators for scikit-learn: its own checks, and what a user does with them."""

import pickle
import sys
import warnings
from functools import partial

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

import tensorgrad as tg
from tensorgrad._optional import MissingExtra
from tensorgrad.compiler import function, kernels
from tensorgrad.interop import sklearn as interop
from tensorgrad.interop.sklearn import TensorgradClassifier, TensorgradRegressor
from tensorgrad.training import TrainingError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 4))
TEXT = np.where(X[:, 0] > 0.5, "high", np.where(X[:, 0] < -0.5, "low", "middle"))
NUMBERS = 300 + 20 * X[:, 0] - 10 * np.abs(X[:, 1])
SEVERAL = np.stack([NUMBERS, X[:, 2]], axis=1)

classifier = partial(TensorgradClassifier, hidden_layer_sizes=(16,), random_state=0)
regressor = partial(TensorgradRegressor, hidden_layer_sizes=(16,), random_state=0)


# scikit-learn's checks


@pytest.mark.deep
@estimator_checks.parametrize_with_checks([TensorgradClassifier(), TensorgradRegressor()])
def test_all_of_scikit_learn_s_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without, one is skipped
    for library in ("pandas", "polars"):
        pytest.importorskip(library)
    check(estimator)


@pytest.mark.parametrize("make", [TensorgradClassifier, TensorgradRegressor])
@pytest.mark.parametrize(
    "name",
    [
        "check_dict_unchanged",
        "check_dtype_object",
        "check_estimators_dtypes",
        "check_estimators_nan_inf",
        "check_estimators_overwrite_params",
        "check_estimators_pickle",
        "check_fit2d_1sample",
        "check_fit_idempotent",
        "check_methods_subset_invariance",
        "check_n_features_in",
        "check_parameters_default_constructible",
        "check_requires_y_none",
        "check_sample_weights_shape",
        "check_supervised_y_2d",
    ],
)
def test_checks_of_scikit_learn(make, name):
    getattr(estimator_checks, name)(make.__name__, make())


# As users use them


def test_text_labels_and_probabilities():
    fitted = classifier().fit(X, TEXT)
    assert fitted.classes_.tolist() == ["high", "low", "middle"] and fitted.score(X, TEXT) > 0.95
    probabilities = fitted.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(fitted.classes_[probabilities.argmax(axis=1)], fitted.predict(X))
    np.testing.assert_allclose(np.log(probabilities), fitted.predict_log_proba(X))
    assert len(fitted.loss_curve_) == fitted.n_iter_ == len(fitted.history_)
    assert fitted.loss_ == fitted.loss_curve_[-1] and fitted.best_loss_ == min(fitted.loss_curve_)


def test_numbers_of_any_scale_and_several_at_once():
    features = X * [1, 1000, 1, 1e-3] + 50
    for targets in (NUMBERS, SEVERAL, 1e6 * NUMBERS):
        fitted = regressor().fit(features, targets)
        assert fitted.predict(features).shape == targets.shape and fitted.score(features, targets) > 0.95
    constant = np.hstack([features, np.full((120, 1), 0.1)])  # whose mean is not exactly 0.1
    assert regressor().fit(constant, NUMBERS).score(constant, NUMBERS) > 0.95
    with pytest.raises(ValueError, match=r"y must have the shape \(examples\), as in the first call, got \(120, 2\)"):
        regressor(warm_start=True).fit(X, NUMBERS).fit(X, SEVERAL)


def test_pipelines_cross_validation_and_searches():
    pipeline = make_pipeline(StandardScaler(), classifier())
    assert cross_val_score(pipeline, X, TEXT, cv=3).mean() > 0.8
    search = GridSearchCV(pipeline, {"tensorgradclassifier__hidden_layer_sizes": [4, (16,), (8, 8)]}, cv=2)
    search.fit(X, TEXT)
    network = search.best_estimator_[-1].module_
    assert len(search.cv_results_["params"]) == 3 and isinstance(network, tg.nn.Sequential)
    weights = np.where(TEXT == "low", 0.0, 1.0)
    assert "low" not in pipeline.fit(X, TEXT, tensorgradclassifier__sample_weight=weights).predict(X)


@pytest.mark.deep
def test_a_search_in_two_processes_finds_the_same():
    grid = {"hidden_layer_sizes": [4, (16,)], "l2": [0.1, 10.0]}
    found = [GridSearchCV(classifier(epochs=20), grid, cv=2, n_jobs=jobs).fit(X, TEXT) for jobs in (1, 2)]
    np.testing.assert_array_equal(*[search.cv_results_["mean_test_score"] for search in found])


def test_what_is_pickled_or_cloned():
    fitted = classifier(dropout=0.2).fit(X, TEXT)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(clone(fitted).fit(X, TEXT).predict_proba(X), fitted.predict_proba(X))
    for each in (fitted, again):  # goes on in the same way
        each.partial_fit(X, TEXT)
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(library):
    frames = pytest.importorskip(library)
    columns = {"a": X[:, 0], "b": X[:, 1], "c": np.arange(120)}
    frame, labels = frames.DataFrame(columns), frames.Series(TEXT.tolist())
    fitted = classifier().fit(frame, labels)
    assert fitted.score(frame, labels) > 0.95
    if not hasattr(StandardScaler().fit(frame), "feature_names_in_"):
        pytest.skip("this scikit-learn does not see the names of these frames")
    assert fitted.feature_names_in_.tolist() == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame[["b", "a", "c"]])


@pytest.mark.slow
def test_partial_fit_with_classes_that_are_missing_in_some_calls():
    order = np.argsort(TEXT, kind="stable")  # whole calls of one class
    fitted = classifier()
    with pytest.raises(ValueError, match="classes must be passed to the first call of partial_fit"):
        fitted.partial_fit(X, TEXT)
    for _ in range(40):
        for part in np.array_split(order, 4):
            fitted.partial_fit(X[part], TEXT[part], classes=["low", "middle", "high"])
    assert fitted.score(X, TEXT) > 0.8 and fitted.n_iter_ == 160
    with pytest.raises(ValueError, match=r"class 'other', which is none of \['high', 'low', 'middle'\]; name all"):
        fitted.partial_fit(X[:2], ["low", "other"])
    with pytest.raises(ValueError, match="classes must stay those of the first call"):
        fitted.partial_fit(X, TEXT, classes=["low", "other"])
    clone(fitted).partial_fit(X[:2], ["low", "other"], classes=["low", "other"])
    with pytest.raises(ValueError, match="class_weight='balanced' needs all examples"):
        classifier(class_weight="balanced").partial_fit(X, TEXT, classes=["low", "middle", "high"])
    numbers = regressor(learning_rate_decay=0.0)
    for _ in range(60):
        numbers.partial_fit(X, NUMBERS)
    assert numbers.score(X, NUMBERS) > 0.9


# Weights


def test_an_example_of_weight_two_counts_as_two():
    weights = RNG.integers(0, 3, 120)
    twice = np.repeat(np.arange(120), weights)
    for make, targets in ((classifier, TEXT), (regressor, NUMBERS), (regressor, SEVERAL)):
        weighted, repeated = make().fit(X, targets, weights), make().fit(X[twice], targets[twice])
        outputs = [getattr(each, "predict_proba", each.predict)(X) for each in (weighted, repeated)]
        np.testing.assert_allclose(*outputs, rtol=1e-7)
    np.testing.assert_array_equal(
        regressor().fit(X, NUMBERS, np.ones(120)).predict(X), regressor().fit(X, NUMBERS).predict(X)
    )


def test_rare_classes_can_count_alike():
    rare = np.where(X[:, 0] + RNG.normal(0, 1, 120) > 1.8, "rare", "common")
    found = [(classifier(class_weight=given).fit(X, rare).predict(X) == "rare").sum() for given in (None, "balanced")]
    assert found[1] > found[0]
    assert (classifier(class_weight={"common": 0.0, "rare": 1.0}).fit(X, rare).predict(X) == "rare").all()


@pytest.mark.parametrize("weights", [np.zeros(120), np.linspace(-1, 1, 120)])
def test_weights_that_are_refused(weights):
    with pytest.raises(ValueError, match=r"(?i)sample.weight"):
        classifier().fit(X, TEXT, weights)


# How it is trained


def test_a_fit_goes_on_where_it_is_told_to():
    fitted = classifier(warm_start=True, epochs=10, n_iter_no_change=None)
    losses = [fitted.fit(X, TEXT).loss_ for _ in range(3)]
    assert losses == sorted(losses, reverse=True) and fitted.n_iter_ == 30
    assert fitted.set_params(warm_start=False).fit(X, TEXT).n_iter_ == 10


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("how", ["fit", "warm_start", "partial_fit"])
def test_a_training_that_fails_leaves_an_estimator_as_it_was(how):
    rates = {"learning_rate": lambda step: 1e-2 if step < 12 else 1e300}  # an epoch, and then it diverges
    model = classifier(epochs=1, batch_size=10, warm_start=how == "warm_start", dropout=0.2, **rates)
    fit = partial(model.partial_fit, classes=np.unique(TEXT)) if how == "partial_fit" else model.fit
    before = fit(X, TEXT).predict_proba(X)
    model.set_params(epochs=2)
    for _ in range(2):
        with pytest.raises(TrainingError):
            fit(X, TEXT)
        np.testing.assert_array_equal(model.predict_proba(X), before)
        assert (model.n_iter_, model.optimiser_.steps) == (1, 12)
    if how != "partial_fit":
        model.set_params(learning_rate=1e-2, epochs=20)
        assert fit(X, TEXT).score(X, TEXT) > 0.8


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_an_estimator_whose_only_fit_failed_is_not_fitted():
    model = classifier(optimiser="sgd", learning_rate=1e300)
    with pytest.raises(TrainingError):
        model.fit(X, TEXT)
    with pytest.raises(NotFittedError):
        model.predict(X)


@pytest.mark.parametrize("wrong", [X[:, :3], X])
def test_targets_that_are_refused_leave_an_estimator_as_it_was(wrong):
    model = classifier(epochs=2).fit(X, TEXT)
    with pytest.raises(ValueError, match="continuous"):
        model.fit(wrong, X[:, 0])
    assert model.n_features_in_ == 4
    assert set(model.predict(X)) <= set(TEXT)


def test_examples_are_set_aside_for_early_stopping():
    stopped = classifier(early_stopping=True, epochs=500, n_iter_no_change=5, learning_rate=0.1).fit(X, TEXT)
    assert stopped.n_iter_ < 500 and len(stopped.validation_scores_) == stopped.n_iter_
    assert regressor(early_stopping=True).fit(X, NUMBERS).validation_scores_[-1] > 0.8
    assert classifier().fit(X, TEXT).validation_scores_ is None
    rare = np.where(np.arange(120) == 5, "once", TEXT)  # cannot be on both sides
    for labels, share in ((rare, 0.1), (TEXT, 0.01), (TEXT, 0.99)):
        classifier(early_stopping=True, validation_fraction=share, epochs=2).fit(X, labels)


def test_a_network_of_ones_own():
    network = tg.nn.Sequential(tg.nn.Dense(4, 8, 0), np.tanh, tg.nn.Dense(8, 3, 0))
    before = network.state_dict()
    scaled = make_pipeline(StandardScaler(), TensorgradClassifier(module=network, learning_rate=0.05, random_state=0))
    assert scaled.fit(X, TEXT).score(X, TEXT) > 0.9
    assert all(np.array_equal(before[name], value) for name, value in network.state_dict().items())

    def build(inputs, outputs, rng):
        return tg.nn.Sequential(tg.nn.Dense(inputs, 8, rng), tg.nn.GELU(), tg.nn.Dense(8, outputs, rng))

    momentum = partial(tg.optim.SGD, lr=0.1, momentum=0.9)
    assert TensorgradRegressor(module=build, optimiser=momentum, random_state=0).fit(X, SEVERAL).score(X, SEVERAL) > 0.9
    with pytest.raises(TypeError, match=r"module must be a .*Module, or a function of the numbers"):
        TensorgradRegressor(module=lambda inputs, outputs, rng: None).fit(X, SEVERAL)
    with pytest.raises(
        TypeError,
        match=r"optimiser must be a name .* a function of parameters .*, got None",
    ):
        classifier(optimiser=lambda parameters: None).fit(X, TEXT)


@pytest.mark.parametrize(
    "settings",
    [
        {"activation": np.tanh},
        {"activation": tg.nn.LeakyReLU(0.1)},
        {"activation": tg.nn.GELU},
        {"optimiser": "sgd", "optimiser_settings": {"momentum": 0.9}, "learning_rate": 0.05},
        {"optimiser": tg.optim.RMSprop},
        {"learning_rate": tg.optim.cosine_decay(0.02, 80)},
        {"loss": partial(tg.softmax_cross_entropy, label_smoothing=0.1)},
        {"loss": lambda logits, labels: tg.softmax_cross_entropy(logits, labels, reduction="none")},
        {"hidden_layer_sizes": [16, 8], "dropout": 0.05, "l1": 0.01, "batch_size": 32},
        {"hidden_layer_sizes": ()},
    ],
    ids=", ".join,
)
def test_settings(settings):
    assert classifier(**settings).fit(X, TEXT).score(X, TEXT) > 0.75


def test_the_network_can_be_taken_elsewhere():
    fitted = regressor().fit(X * 10 + 3, SEVERAL)
    mean, scale = fitted.feature_scaling_
    outputs = tg.training.predict(fitted.module_, (X * 10 + 3 - mean) / scale)
    mean, scale = fitted.target_scaling_
    np.testing.assert_allclose(outputs * scale + mean, fitted.predict(X * 10 + 3))
    assert list(fitted.module_.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


def test_penalties_make_weights_smaller():
    sizes = []
    for strength in ({"l2": 0.0}, {"l2": 10.0}, {"l2": 0.0, "l1": 10.0}):
        weights = regressor(**strength).fit(X, NUMBERS).module_.parameters()
        sizes.append(sum(np.abs(weight.numpy()).sum() for weight in weights))
    assert max(sizes[1:]) < 0.6 * sizes[0]


def test_float32_stays():
    fitted = classifier().fit(X.astype(np.float32), TEXT)
    assert {parameter.dtype for parameter in fitted.module_.parameters()} == {np.dtype(np.float32)}
    assert fitted.predict_proba(X).dtype == np.float32
    assert {parameter.dtype.name for parameter in classifier().fit(X, TEXT).module_.parameters()} == {"float64"}


def test_small_tables_are_trained_without_numba(monkeypatch):
    monkeypatch.setattr(function, "numba", lambda: pytest.fail("numba was asked for"))
    classifier().fit(X, TEXT).partial_fit(X, TEXT)


@pytest.mark.slow
def test_kernels_depend_neither_on_the_number_of_examples_nor_on_the_strength_of_penalties(monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setattr(interop, "LITTLE_WORK", 0)
    counts = []
    for count, settings in ((120, {}), (119, {"l2": 0.3}), (90, {"l2": 3.0, "learning_rate": 0.02})):
        classifier(**settings, n_iter_no_change=None).fit(X[:count], TEXT[:count])
        counts.append(len(kernels._dispatchers))
    assert counts[0] == counts[2] and counts[0] > 0


# Errors


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ({"hidden_layer_sizes": (0,)}, {"hidden_layer_sizes": (1,)}),
        ({"hidden_layer_sizes": "10"}, {"hidden_layer_sizes": 10}),
        ({"activation": "swish"}, {"activation": "silu"}),
        ({"dropout": 1.0}, {"dropout": 0.9}),
        ({"l1": -1}, {"l1": 0}),
        ({"optimiser": "adma"}, {"optimiser": "adam"}),
        ({"optimiser": tg.optim.SGD([tg.Tensor([1.0], requires_grad=True)])}, {"optimiser": tg.optim.SGD}),
        ({"epochs": 0}, {"epochs": 1}),
        ({"batch_size": "all"}, {"batch_size": "auto"}),
        ({"tol": -1.0}, {"tol": 0.0}),
        ({"n_iter_no_change": 0}, {"n_iter_no_change": None}),
        ({"validation_fraction": 1}, {"validation_fraction": 0.2, "early_stopping": True}),
        ({"learning_rate": "fast"}, {"learning_rate": 0.1}),
        ({"learning_rate_decay": -1}, {"learning_rate_decay": 0}),
    ],
    ids=", ".join,
)
def test_settings_that_are_refused(wrong, right):
    name = next(iter(wrong))
    with pytest.raises(ValueError, match=rf"TensorgradClassifier: {name} must be .*, got "):
        classifier(**{"epochs": 2, **wrong}).fit(X, TEXT)
    classifier(**{"epochs": 2, **right}).fit(X, TEXT)


def test_sparse_matrices_are_refused_with_what_helps():
    sparse = pytest.importorskip("scipy.sparse").csr_matrix(X)
    with pytest.raises(TypeError, match=r"dense data is required. Use '.toarray\(\)'"):
        classifier().fit(sparse, TEXT)
    classifier(epochs=1).fit(sparse.toarray(), TEXT)


def test_without_scikit_learn_one_sentence_says_so(monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorgrad.interop.sklearn")
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        MissingExtra, match=r"tensorgrad.interop.sklearn needs scikit-learn .* pip install scikit-learn"
    ):
        import tensorgrad.interop.sklearn  # noqa: F401


def test_no_warning_of_a_usual_fit():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        classifier().fit(100 * X + 1000, TEXT)


def test_targets_of_text_are_no_numbers():
    with pytest.raises(
        ValueError, match=r"TensorgradRegressor: y must be numbers, got <U1.* take TensorgradClassifier"
    ):
        TensorgradRegressor(epochs=1).fit(np.ones((4, 2)), np.array(list("abab")))
    TensorgradClassifier(epochs=1).fit(np.ones((4, 2)), np.array(list("abab")))
