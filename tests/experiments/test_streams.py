"""The random streams of a run, as its checkpoint keeps them."""

import subprocess
import sys

import pytest

from tensorgrad.training import LAST, load_checkpoint
from tests.support import ROOT, write_mnist


def states(out, data, *options):
    """The state of each stream after a short run."""
    arguments = ["--data-dir", data, "--epochs", "1", "--batch-size", "20", "--quiet", "--out", out, *options]
    command = [sys.executable, "-m", "experiments.mnist", *map(str, arguments)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    return load_checkpoint(out / LAST)[1]["generators"]


@pytest.mark.deep
def test_a_run_without_augmentation_draws_all_else_as_it_was(tmp_path):
    data = write_mnist(tmp_path / "data")
    augmented, plain = (states(tmp_path / option, data, f"--{option}") for option in ("augment", "no-augment"))
    names = ["split", "weights", "dropout", "order", "augmentation"]
    assert {name for name in augmented if augmented[name] != plain[name]} == {"augmentation"}
    assert {*names} <= {*augmented} and len({str(augmented[name]) for name in names}) == len(names)
