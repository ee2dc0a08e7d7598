"""Train a network on Simpsons characters in gray: python -m experiments.simpsons [--data-dir DIR]."""

import models
from tensorgrad.data import Augmentation, load_simpsons
from tensorgrad.runner.command import main
from tensorgrad.runner.experiment import Experiment

EXPERIMENT = Experiment(
    name="simpsons",
    purpose="Train a network on Simpsons characters in gray.",
    data_help="folder with train/CLASS/* and test/CLASS/* (default: the published ones, else synthetic faces)",
    load=lambda options, say: load_simpsons(options.data_dir, channels=1, strict=options.strict, say=say),
    model=models.simpsons,
    image_shape=(1, 28, 28),
    epochs=80,
    lr=2e-3,
    augmentation=Augmentation(flip=True),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
