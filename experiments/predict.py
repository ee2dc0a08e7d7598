"""Name what is in new pictures with a trained network: python -m experiments.predict RUN IMAGE..."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from experiments.command import reported_errors

SHOWN = 3


def main(arguments: list[str] | None = None) -> int:
    """Print the likeliest classes of every image that can be read; the exit code is 2 if the run or an image cannot."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.predict", description="Name what is in new pictures with a trained network."
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a run, such as runs/mnist")
    help_of_images = "picture files of any size; digits light on dark"
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help=help_of_images)
    options = parser.parse_args(arguments)
    with reported_errors("experiments.predict"):
        rankings, problems = classify(options.run, options.images)
        for path, ranking in rankings.items():
            print(f"{path}: " + ", ".join(f"{name} {probability:.1%}" for name, probability in ranking[:SHOWN]))
    for problem in problems:
        print(f"experiments.predict: error: {problem}", file=sys.stderr)
    return 2 if problems else 0


def classify(run: Path, paths: list[Path]) -> tuple[dict[Path, list[tuple[str, float]]], list[str]]:
    """For each image its classes with their probabilities, the likeliest first, by the best network of a run.

    Also returns what is wrong with those images that cannot be read.
    """
    import numpy as np

    import models
    import tensorgrad as tg
    from tensorgrad.data import DataError, Standardisation, read_image
    from tensorgrad.training import BEST, CheckpointError, load_checkpoint, load_weights, predict

    network = getattr(models, load_checkpoint(run / BEST)[1].get("settings", {}).get("experiment", ""), None)
    if network is None:
        raise CheckpointError(f"{run / BEST}: not of one of the experiments")
    model = network(np.random.default_rng(0))
    settings = load_weights(model, run / BEST)
    size, channels = settings["image_shape"][0], (*settings["image_shape"], 1)[2]
    images, problems = {}, []
    for path in paths:
        try:
            images[path] = read_image(path, channels, size)
        except DataError as error:
            problems.append(str(error))
    if not images:
        return {}, problems
    standardisation = Standardisation(tuple(settings["mean"]), tuple(settings["deviation"]))
    probabilities = tg.softmax(predict(model, np.stack(list(images.values())), standardisation))
    names = settings["classes"]
    rankings = [[(names[i], float(row[i])) for i in np.argsort(-row)] for row in probabilities]
    return dict(zip(images, rankings)), problems


if __name__ == "__main__":
    raise SystemExit(main())
