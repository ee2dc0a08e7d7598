"""Train a network on Simpsons characters in colour: python -m experiments.simpsons_rgb [--data-dir DIR]."""

from experiments.runner.command import main
from experiments.runner.experiment import Experiment


def load(options, say):
    """The characters as a Dataset."""
    from tensorgrad.data import load_simpsons

    return load_simpsons(options.data_dir, channels=3, strict=options.strict, say=say)


EXPERIMENT = Experiment(
    name="simpsons_rgb",
    purpose="Train a network on Simpsons characters in colour.",
    data_help="folder with train/CLASS/* and test/CLASS/* (default: the published ones, else drawn faces)",
    image_shape=(28, 28, 3),
    load=load,
    epochs=80,
    lr=1e-3,
    augmentation={"flip": True, "shift": 2},
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
