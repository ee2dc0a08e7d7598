"""Train a network on Simpsons characters in colour: python -m experiments.simpsons_rgb [--data-dir DIR]."""

import models
from tensorgrad.data import Augmentation, load_simpsons
from tensorgrad.runner.command import main
from tensorgrad.runner.experiment import Experiment

EXPERIMENT = Experiment(
    name="simpsons_rgb",
    purpose="Train a network on Simpsons characters in colour.",
    data_help="folder with train/CLASS/* and test/CLASS/* (default: the published ones, else synthetic faces)",
    load=lambda options, say: load_simpsons(options.data_dir, channels=3, strict=options.strict, say=say),
    model=models.simpsons_rgb,
    image_shape=(3, 28, 28),
    epochs=80,
    lr=1e-3,
    augmentation=Augmentation(flip=True, shift=2),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
