"""Train a network on Simpsons characters in colour: python -m experiments.simpsons_rgb [--data-dir DIR]."""

from functools import partial

import models
from tensorgrad.data import Augmentation, load_simpsons
from tensorgrad.runner.command import main
from tensorgrad.runner.experiment import Experiment, Recipe

EXPERIMENT = Experiment(
    name="simpsons_rgb",
    module="experiments.simpsons_rgb",
    purpose="Train a network on Simpsons characters in colour.",
    data_help="folder with train/CLASS/* and test/CLASS/* (default: the published ones, else synthetic faces)",
    load=lambda options, say: load_simpsons(options.data_dir, channels=3, strict=options.strict, say=say),
    recipes={
        "dense": Recipe(
            models.simpsons_rgb,
            (2048, 512),
            0.1,
            5e-4,
            epochs=120,
            lr=1e-3,
            augmentation=Augmentation(flip=True, shift=2, rotation=8, zoom=0.1),
        ),
        "cnn": Recipe(
            partial(models.cnn, in_channels=3),
            (64, 128),
            0.3,
            1e-4,
            epochs=60,
            lr=2e-3,
            augmentation=Augmentation(flip=True, shift=3),
        ),
    },
    image_shape=(3, 28, 28),
    classes=10,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
