"""Train a network on handwritten digits: python -m experiments.mnist [--data-dir DIR]."""

import models
from tensorgrad.data import Augmentation, load_mnist
from tensorgrad.runner.command import main
from tensorgrad.runner.experiment import Experiment

EXPERIMENT = Experiment(
    name="mnist",
    purpose="Train a network on handwritten digits.",
    data_help="folder with the four MNIST IDX files (default: OpenML, else scikit-learn's bundled digits)",
    load=lambda options, say: load_mnist(options.data_dir, say=say),
    model=models.mnist,
    image_shape=(1, 28, 28),
    epochs=20,
    lr=3e-3,
    augmentation=Augmentation(shift=1),
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
