"""Train a network on handwritten digits: python -m experiments.mnist [--data-dir DIR]."""

from experiments.runner.command import main
from experiments.runner.experiment import Experiment


def load(options, say):
    """The digits as a Dataset."""
    from tensorgrad.data import load_mnist

    return load_mnist(options.data_dir, say=say)


EXPERIMENT = Experiment(
    name="mnist",
    purpose="Train a network on handwritten digits.",
    data_help="folder with the four MNIST IDX files (default: OpenML, else scikit-learn's bundled digits)",
    image_shape=(28, 28),
    load=load,
    epochs=20,
    lr=3e-3,
    augmentation={"shift": 1},
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
