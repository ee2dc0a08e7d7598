"""Train a network on Simpsons characters in gray: python -m experiments.simpsons [--data-dir DIR]."""

from experiments.runner.command import main
from experiments.runner.experiment import Experiment


def load(options, say):
    """The characters as a Dataset."""
    from tensorgrad.data import load_simpsons

    return load_simpsons(options.data_dir, channels=1, strict=options.strict, say=say)


EXPERIMENT = Experiment(
    name="simpsons",
    purpose="Train a network on Simpsons characters in gray.",
    data_help="folder with train/CLASS/* and test/CLASS/* (default: the published ones, else drawn faces)",
    image_shape=(28, 28),
    load=load,
    epochs=80,
    lr=2e-3,
    augmentation={"flip": True},
)

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
