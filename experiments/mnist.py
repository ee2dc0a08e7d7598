"""Train a network on handwritten digits: python -m experiments.mnist [--data-dir DIR]."""

import models
from tensorgrad.data import Augmentation, load_mnist
from tensorgrad.runner.command import main
from tensorgrad.runner.experiment import Experiment, Recipe

EXPERIMENT = Experiment(
    name="mnist",
    module="experiments.mnist",
    purpose="Train a network on handwritten digits.",
    data_help="folder with the four MNIST IDX files (default: OpenML, else scikit-learn's bundled digits)",
    load=lambda options, say: load_mnist(options.data_dir, say=say),
    recipes={
        "dense": Recipe(models.mnist, (512,), 0.1, 1e-4, epochs=20, lr=3e-3, augmentation=Augmentation(shift=1)),
        "cnn": Recipe(
            models.cnn,
            (32, 64, 128),
            0.3,
            0.0,
            epochs=30,
            lr=2e-3,
            augmentation=Augmentation(shift=2, rotation=10, zoom=0.1),
        ),
    },
    image_shape=(1, 28, 28),
    classes=10,
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
