"""The estimators compared with scikit-learn's own: python -m benchmarks.sklearn [--raw] [--development] [--seeds 3].

Both with their default settings, on the same folds, fitted in turn. Ours were chosen by cross-validation on the data
of ``--development`` and 1,800 images of MNIST; none of the table's data took part.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from functools import partial
from typing import Any

import numpy as np

from tensorgrad._optional import require

FOLDS = 5
CITIES = np.array([[34.0, -118.2], [37.7, -122.3], [32.8, -117.1], [38.6, -121.4], [36.7, -119.8]])
"""Latitude and longitude."""
COAST = np.array([[32.5, -117.2], [34.0, -118.5], [34.5, -120.5], [36.6, -121.9], [37.8, -122.5], [39.0, -123.7]])


def california_like(rows: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """House values by eight features such as the California data has; drawn, as those would have to be downloaded."""
    rng = np.random.default_rng(seed)
    place = CITIES[rng.choice(len(CITIES), rows, p=[0.4, 0.3, 0.1, 0.1, 0.1])] + rng.normal(0, 0.4, (rows, 2))
    income, age = rng.lognormal(1.25, 0.45, rows), rng.integers(1, 53, rows)
    rooms, bedrooms = 3.5 + 0.5 * income + rng.normal(0, 0.8, rows), rng.normal(1.07, 0.1, rows)
    population, occupancy = rng.lognormal(7, 0.7, rows), rng.lognormal(1.05, 0.25, rows)
    to_coast = np.sqrt(((place[:, None] - COAST) ** 2).sum(axis=2)).min(axis=1)
    value = 0.45 * income + 1.4 * np.exp(-2 * to_coast) - 1.2 * np.log(occupancy) + 0.006 * age + 1.2
    value += 0.15 * (rooms - 6) * (income > 5) + rng.normal(0, 0.45, rows)
    features = (income, age, rooms, bedrooms, population, occupancy, place[:, 0], place[:, 1])
    return np.stack(features, axis=1), value.clip(0.15, 5.0)


def compared_sets() -> dict[str, Any]:
    """Functions that give the features and targets of the table."""
    from sklearn import datasets

    names = ("digits", "iris", "wine", "breast_cancer", "diabetes")
    loaders = {name: partial(getattr(datasets, f"load_{name}"), return_X_y=True) for name in names}
    return {**loaders, "California-like": california_like}


def development_sets() -> dict[str, Any]:
    """Those by which the defaults were chosen."""
    from sklearn import datasets as made

    three = partial(made.make_classification, n_classes=3, class_sep=1.5)
    return {
        "3 classes": partial(three, 150, 4, n_informative=3, n_redundant=0, n_clusters_per_class=1, random_state=1),
        "3 more": partial(three, 180, 13, n_informative=8, random_state=2),
        "2 classes": partial(made.make_classification, 570, 30, n_informative=10, n_redundant=10, random_state=3),
        "moons": partial(made.make_moons, 300, noise=0.25, random_state=4),
        "quantiles": partial(made.make_gaussian_quantiles, n_samples=1000, n_features=5, n_classes=3, random_state=5),
        "noisy": partial(made.make_regression, 440, 10, n_informative=6, noise=100, random_state=1),
        "Friedman 1": partial(made.make_friedman1, 440, noise=1.0, random_state=2),
        "Friedman 2": partial(made.make_friedman2, 1000, noise=100.0, random_state=3),
        "Friedman 3": partial(made.make_friedman3, 3000, noise=0.1, random_state=4),
    }


def estimators(y: np.ndarray, seed: int, raw: bool) -> list[Any]:
    """scikit-learn's and ours, for these targets."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from tensorgrad.interop.sklearn import TensorgradClassifier, TensorgradRegressor

    kinds = (MLPClassifier, TensorgradClassifier) if y.dtype.kind == "i" else (MLPRegressor, TensorgradRegressor)
    made = [kind(random_state=seed) for kind in kinds]
    return made if raw else [make_pipeline(StandardScaler(), estimator) for estimator in made]


def folds(X: np.ndarray, y: np.ndarray, seed: int) -> list[Any]:
    """Indices to train with and to test with."""
    from sklearn.model_selection import KFold, StratifiedKFold

    kind = StratifiedKFold if y.dtype.kind == "i" else KFold
    return list(kind(FOLDS, shuffle=True, random_state=seed).split(X, y))


def line(name: str, X: np.ndarray, y: np.ndarray, seeds: int, raw: bool) -> str:
    """A line of the table: mean scores, median seconds of a fit, and the median of their ratios."""
    scores: tuple[list[float], list[float]] = ([], [])
    times: tuple[list[float], list[float]] = ([], [])
    for seed in range(seeds):
        for train, test in folds(X, y, seed):
            turns = list(enumerate(estimators(y, seed, raw)))
            for which, estimator in turns if len(scores[0]) % 2 else turns[::-1]:
                started = time.perf_counter()
                estimator.fit(X[train], y[train])
                times[which].append(time.perf_counter() - started)
                scores[which].append(estimator.score(X[test], y[test]))
    ratio = statistics.median(theirs / ours for theirs, ours in zip(*times))
    cells = [f"{statistics.mean(one):.3f}" for one in scores] + [f"{statistics.median(one) * 1e3:.0f}" for one in times]
    return f"| {name}, {len(X):,} x {X.shape[1]} | {' | '.join(cells)} | {ratio:.1f} |"


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser("benchmarks.sklearn", description="Compare the estimators with scikit-learn's.")
    parser.add_argument("--raw", action="store_true", help="features as they are, instead of after a StandardScaler")
    parser.add_argument("--development", action="store_true", help="the data by which the defaults were chosen")
    parser.add_argument("--seeds", type=int, default=3, help="how often, with other folds and weights (default: 3)")
    options = parser.parse_args(arguments)
    require("sklearn", "the comparison")
    warnings.simplefilter("ignore")  # scikit-learn's, of epochs that did not suffice
    sets = development_sets() if options.development else compared_sets()
    estimators(np.zeros(1, int), 0, False)[1].fit(np.eye(4), np.arange(4))  # what is imported once
    print("| accuracy, or R2; features " + ("as they are" if options.raw else "standardised") + " | MLP", end="")
    print(" | tensorgrad | MLP, ms a fit | tensorgrad, ms | times as fast |\n|---|---|---|---|---|---|")
    for name, load in sets.items():
        print(line(name, *load(), options.seeds, options.raw), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
