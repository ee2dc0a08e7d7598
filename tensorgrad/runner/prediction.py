"""Classifying new pictures with a trained network."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tensorgrad as tg

from ..data import DataError, Standardisation, read_image
from ..data.images import RESIZING
from ..interop import onnx
from ..nn import Module
from ..training import BEST, CheckpointError, load_checkpoint, predict
from .arguments import as_widths, widths
from .errors import UsageError
from .experiment import Experiment
from .outliers import MARGINS, outliers
from .records import Fields

FILES = (".npz", ".safetensors", ".onnx")
REMEDY = "choose the folder of another run, or train again"


@dataclass(frozen=True)
class Answers:
    """For each image that can be read its classes with their probabilities, the likeliest first, and what to tell.

    Attributes
    ----------
    warnings
        On pictures that are unlike those of the training, of which the network knows nothing.
    problems
        With images that cannot be read.
    """

    rankings: dict[Path, list[tuple[str, float]]]
    warnings: list[str]
    problems: list[str]


def classify(
    run: Path, paths: Sequence[Path], experiments: Mapping[str, Experiment], *, invert: bool = False
) -> Answers:
    """What the best network of a run makes of pictures, or of their negatives.

    ``run`` is its folder, or a file with its network: see :func:`file_of`. ``experiments`` are those, by their names,
    of one of which the run must be.

    Raises
    ------
    CheckpointError
        If the folder holds no run, or a damaged one.
    """
    network = load_network(file_of(run), experiments)
    channels, height, width = network.image_shape
    images, problems = {}, []
    for path in paths:
        try:
            image = read_image(path, channels, (height, width), network.resize)
            images[path] = 255 - image if invert else image
        except DataError as error:
            problems.append(str(error))
    if not images:
        return Answers({}, [], problems)
    stacked = np.stack(list(images.values()))
    rankings = map(network.ranking, network.probabilities(stacked))
    return Answers(dict(zip(images, rankings)), network.doubts(list(images), stacked, invert), problems)


@dataclass(frozen=True)
class Network:
    """A trained network, and what its checkpoint says of its training images, in ``settings`` as it stands there."""

    path: Path
    settings: dict[str, Any]
    model: Module
    classes: list[str]
    image_shape: list[int]
    resize: str
    standardisation: Standardisation
    ranges: dict[str, list[float]] | None

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Of each class for each image."""
        found: np.ndarray | None
        try:
            with np.errstate(all="ignore"):
                found = tg.softmax(predict(self.model, images, self.standardisation))
        except (ValueError, TypeError):
            found = None
        if found is None or found.shape != (len(images), len(self.classes)):
            raise CheckpointError(f"{self.path}: image_shape and classes do not fit the network; {REMEDY}")
        if not np.isfinite(found).all():
            raise CheckpointError(f"{self.path}: the network gives numbers that are not finite; {REMEDY}")
        return found

    def ranking(self, probabilities: np.ndarray) -> list[tuple[str, float]]:
        """The classes of one image, the likeliest first."""
        return [(self.classes[i], float(probabilities[i])) for i in np.argsort(-probabilities)]

    def doubts(self, paths: list[Path], images: np.ndarray, is_inverted: bool) -> list[str]:
        """A sentence on each picture that is unlike those of the training."""
        if self.ranges is None:
            return [f"{self.path}: says nothing of its training images, so pictures unlike them go unnoticed; {REMEDY}"]
        found, negatives = outliers(images, self.ranges), outliers(255 - images, self.ranges)
        sentences = []
        for path, outlier, negative in zip(paths, found, negatives):
            if outlier is not None:
                remedy = "leave out --invert" if is_inverted else "its negative is like them, try --invert"
                known = "the network can tell those only" if negative else remedy
                sentences.append(f"{path}: unlike the training images, the answer may be wrong ({outlier}); {known}")
        return sentences


def file_of(run: Path) -> Path:
    """The file with the network of a run: ``best.npz`` in its folder, or ``run`` itself if it ends as such files do."""
    return run if run.suffix.lower() in FILES else run / BEST


def load_network(path: Path, experiments: Mapping[str, Experiment]) -> Network:
    """The network of an experiment in a checkpoint or an ONNX file, each of the settings checked."""
    read = onnx.load(path) if path.suffix.lower() == ".onnx" else None
    arrays, description = load_checkpoint(path) if read is None else ({}, read.description)
    settings = Fields(path, description).inner("settings")
    experiment = experiments.get(settings.text("experiment"))
    if experiment is None:
        remedy = REMEDY if path.name == BEST else "write it with python -m experiments.export RUN FILE"
        raise CheckpointError(f"{path}: not of one of the experiments ({', '.join(experiments)}); {remedy}")
    shape, classes = settings.wholes("image_shape", (3,), 1, 1024), settings.texts("classes")
    channels, resize = shape[0], settings.text("resize") or RESIZING[0]
    if resize not in RESIZING:
        raise CheckpointError(f"{path}: resize must be one of {', '.join(RESIZING)}, got {resize!r}; {REMEDY}")
    model: Module
    if read is None:
        largest = max((array.size for array in arrays.values()), default=0)
        model = _untrained(path, experiment, settings, tuple(shape), len(classes), largest)
        model._load_arrays(path, arrays)
    else:
        model = read
    kept = settings.inner("image_ranges")
    return Network(
        path,
        settings.content,
        model,
        classes,
        shape,
        resize,
        Standardisation(
            tuple(settings.numbers("mean", (channels,), -1e6, 1e6)),
            tuple(settings.numbers("deviation", (channels,), 1e-6, 1e6)),
        ),
        {name: kept.numbers(name, (2,), -1e6, 1e6) for name in MARGINS} if kept.content else None,
    )


def _untrained(
    path: Path, experiment: Experiment, settings: Fields, image_shape: tuple[int, ...], classes: int, largest: int
) -> Module:
    """The network that a checkpoint says it is of, if none of its weights is larger than the largest in the file."""
    model = settings.text("model") or experiment.model
    if model not in experiment.recipes:
        raise CheckpointError(f"{path}: model must be one of {', '.join(experiment.recipes)}, got {model!r}; {REMEDY}")
    chosen = experiment.with_model(model)
    try:  # earlier runs do not say
        hidden = as_widths(widths(settings.text("hidden"))) if settings.text("hidden") else chosen.recipe.hidden
    except argparse.ArgumentTypeError as error:
        raise CheckpointError(f"{path}: hidden {error}; {REMEDY}") from None
    shape, outputs = experiment.image_shape or image_shape, experiment.classes or classes
    if _least_size(model, shape, hidden, outputs) > largest:
        raise CheckpointError(f"{path}: of another network than its settings say; {REMEDY}")
    rng = np.random.default_rng(0)
    try:
        return chosen.network(rng, rng, shape, outputs, hidden=hidden, dropout=0.0, l2=0.0)
    except UsageError as error:
        raise CheckpointError(f"{path}: {error}; {REMEDY}") from None


def _least_size(model: str, image_shape: tuple[int, ...], hidden: tuple[int, ...], classes: int) -> int:
    """How many numbers the largest of its weights has, or more."""
    channels, height, width = image_shape
    inputs, outputs, blocks = channels * height * width, hidden[-1], len(hidden)
    if model == "cnn":  # each block halves the images
        inputs, outputs = channels, hidden[-1] * (height >> blocks) * (width >> blocks)
    sizes = (before * after for before, after in zip((inputs, *hidden), hidden))
    return max(*sizes, outputs * classes)
