"""What a trained network makes of new pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import tensorgrad as tg
from experiments.runner.experiment import Experiment
from experiments.runner.outliers import MARGINS, outliers
from experiments.runner.records import Fields
from tensorgrad.data import DataError, Standardisation, read_image
from tensorgrad.interop import onnx
from tensorgrad.nn import Module
from tensorgrad.training import BEST, CheckpointError, load_checkpoint, load_weights, predict

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
    channels, size, _ = network.image_shape
    images, problems = {}, []
    for path in paths:
        try:
            image = read_image(path, channels, size)
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
    """A trained network, and what its checkpoint says of its training images."""

    path: Path
    model: Module
    classes: list[str]
    image_shape: list[int]
    standardisation: Standardisation
    ranges: dict[str, list[float]] | None

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Of each class for each image."""
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
    settings = Fields(path, load_checkpoint(path)[1] if read is None else read.description).inner("settings")
    experiment = experiments.get(settings.text("experiment"))
    if experiment is None:
        remedy = REMEDY if path.name == BEST else "write it with python -m experiments.export RUN FILE"
        raise CheckpointError(f"{path}: not of one of the experiments ({', '.join(experiments)}); {remedy}")
    model: Module = experiment.model(np.random.default_rng(0)) if read is None else read
    if read is None:
        load_weights(model, path)
    shape = settings.wholes("image_shape", (3,), 1, 1024)
    channels, height, width = shape
    if height != width or channels not in (1, 3):
        raise CheckpointError(f"{path}: image_shape must be (1, size, size) or (3, size, size), got {shape}; {REMEDY}")
    kept = settings.inner("image_ranges")
    return Network(
        path,
        model,
        settings.texts("classes"),
        shape,
        Standardisation(
            tuple(settings.numbers("mean", (channels,), -1e6, 1e6)),
            tuple(settings.numbers("deviation", (channels,), 1e-6, 1e6)),
        ),
        {name: kept.numbers(name, (2,), -1e6, 1e6) for name in MARGINS} if kept.content else None,
    )
