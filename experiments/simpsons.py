"""Train a network on Simpsons characters in gray: python -m experiments.simpsons [--data-dir DIR]."""

import models
from tensorgrad.data import Augmentation, load_simpsons
from tensorgrad.runner.command import main
from tensorgrad.runner.experiment import Experiment, Recipe

EXPERIMENT = Experiment(
    name="simpsons",
    module="experiments.simpsons",
    purpose="Train a network on Simpsons characters in gray.",
    data_help="folder with train/CLASS/* and test/CLASS/* (default: the published ones, else synthetic faces)",
    load=lambda options, say: load_simpsons(options.data_dir, channels=1, strict=options.strict, say=say),
    recipes={
        "dense": Recipe(models.simpsons, (512,), 0.1, 1e-3, epochs=80, lr=2e-3, augmentation=Augmentation(flip=True)),
        "cnn": Recipe(
            models.cnn,
            (64, 128),
            0.3,
            1e-4,
            epochs=60,
            lr=2e-3,
            augmentation=Augmentation(flip=True, shift=3),
        ),
    },
    image_shape=(1, 28, 28),
    classes=10,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
