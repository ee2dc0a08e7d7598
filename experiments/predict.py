"""Name what is in new pictures with a trained network: python -m experiments.predict RUN IMAGE..."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING

from experiments.runner.command import reported_errors

if TYPE_CHECKING:
    import numpy as np

    from tensorgrad.data import Standardisation
    from tensorgrad.nn import Module

SHOWN = 3
REMEDY = "choose the folder of another run, or train again"
PROGRAM = "experiments.predict"


@dataclass
class Answers:
    """For each image that can be read its classes with their probabilities, the likeliest first, and what to tell.

    Attributes
    ----------
    warnings
        On pictures that are unlike those of the training, of which the network knows nothing.
    problems
        With images that cannot be read.
    """

    rankings: dict[Path, list[tuple[str, float]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> int:
    """Print the likeliest classes of every image that can be read; the exit code is 2 if the run or an image cannot."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.predict", description="Name what is in new pictures with a trained network."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, such as runs/mnist")
    help_of_images = "picture files of any size; digits light on dark, or with --invert"
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help=help_of_images)
    parser.add_argument("--invert", action="store_true", help="take the negatives, as of digits that are dark on light")
    options = parser.parse_args(arguments)
    with reported_errors(PROGRAM):
        from experiments.runner.records import say

        answers = classify(options.run, options.images, options.invert)
        for path, ranking in answers.rankings.items():
            say(f"{path}: " + ", ".join(f"{name} {probability:.1%}" for name, probability in ranking[:SHOWN]))
        for kind, sentences in (("warning", answers.warnings), ("error", answers.problems)):
            for sentence in sentences:
                say(f"{PROGRAM}: {kind}: {sentence}", sys.stderr)
    return 2 if answers.problems else 0


def classify(run: Path, paths: list[Path], invert: bool = False) -> Answers:
    """What the best network of a run makes of pictures, or of their negatives."""
    import numpy as np

    from tensorgrad.data import DataError, read_image
    from tensorgrad.training import BEST

    network = _load(run / BEST)
    size, channels = network.image_shape[0], (*network.image_shape, 1)[2]
    images, answers = {}, Answers()
    for path in paths:
        try:
            image = read_image(path, channels, size)
            images[path] = 255 - image if invert else image
        except DataError as error:
            answers.problems.append(str(error))
    if images:
        stacked = np.stack(list(images.values()))
        order = [(row, np.argsort(-row)) for row in network.probabilities(stacked)]
        rankings = [[(network.classes[i], float(row[i])) for i in likeliest_first] for row, likeliest_first in order]
        answers.rankings = dict(zip(images, rankings))
        answers.warnings = network.doubts(list(images), stacked, invert)
    return answers


@dataclass(frozen=True)
class _Network:
    """A trained network, and what its checkpoint says of its training images."""

    path: Path
    model: Module
    classes: list[str]
    image_shape: list[int]
    standardisation: Standardisation
    ranges: dict[str, list[float]] | None

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Of each class for each image."""
        import numpy as np

        import tensorgrad as tg
        from tensorgrad.training import CheckpointError, predict

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

    def doubts(self, paths: list[Path], images: np.ndarray, is_inverted: bool) -> list[str]:
        """A sentence on each picture that is unlike those of the training."""
        from experiments.runner.outliers import outliers

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


def _load(path: Path) -> _Network:
    """The network in a checkpoint of an experiment, each of the settings checked."""
    import numpy as np

    import models
    from experiments.runner.outliers import MARGINS
    from experiments.runner.records import Fields
    from tensorgrad.data import Standardisation
    from tensorgrad.training import CheckpointError, load_checkpoint, load_weights

    settings = Fields(path, load_checkpoint(path)[1]).inner("settings")
    build = vars(models).get(settings.text("experiment"))
    if not isinstance(build, FunctionType):
        raise CheckpointError(f"{path}: not of one of the experiments ({', '.join(models.__all__)}); {REMEDY}")
    model = build(np.random.default_rng(0))
    load_weights(model, path)
    shape = settings.wholes("image_shape", (2, 3), 1, 1024)
    channels = (*shape, 1)[2]
    if shape[0] != shape[1] or channels not in (1, 3):
        raise CheckpointError(f"{path}: image_shape must be (size, size) or (size, size, 3), got {shape}; {REMEDY}")
    kept = settings.inner("image_ranges")
    return _Network(
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


if __name__ == "__main__":
    raise SystemExit(main())
