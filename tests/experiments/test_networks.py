"""The networks of the experiments: which are trained, with what, and that all is reported of each."""

import importlib
import json
import os

import numpy as np
import pytest

from experiments.__main__ import OTHERS
from experiments.__main__ import main as list_commands
from experiments.mnist import EXPERIMENT
from experiments.registry import EXPERIMENTS
from tensorgrad.nn import BatchNorm2d, Conv2d, Dense, Dropout
from tensorgrad.runner.command import main
from tensorgrad.runner.options import parse
from tests.support import write_mnist


def test_every_command_that_is_listed_is_there(capsys):
    assert list_commands() == 0
    printed = capsys.readouterr().out
    for module in (each.module for each in EXPERIMENTS.values()):
        assert f"python -m {module} " in printed and importlib.import_module(module).main
    for command in OTHERS:
        assert f"python -m {command} " in printed and importlib.import_module(command.split()[0]).main


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("model", ["dense", "cnn"])
def test_each_experiment_has_both_networks_with_what_is_asked_for(name, model):
    experiment = EXPERIMENTS[name].with_model(model)
    rng = np.random.default_rng(0)
    shape = experiment.image_shape
    network = experiment.network(rng, rng, shape, 10, hidden=(6, 5), dropout=0.25, l2=0.5)
    assert network(rng.random((2, *shape), np.float32)).shape == (2, 10)
    layers = list(network.modules())
    first, second = [layer for layer in layers if isinstance(layer, (Dense, Conv2d))][:2]
    outputs = 1 if model == "dense" else 0
    assert (first.weight.shape[outputs], second.weight.shape[outputs]) == (6, 5)
    assert (first.weight_l2, second.weight_l2) == (0.5, 0.5 if model == "cnn" else 0.0)
    assert {layer.rate for layer in layers if isinstance(layer, Dropout)} == {0.25}
    assert sum(isinstance(layer, BatchNorm2d) for layer in layers) == (2 if model == "cnn" else 0)


def test_defaults_are_those_of_the_network_that_is_chosen(tmp_path):
    recipe = EXPERIMENT.recipes["cnn"]
    (tmp_path / "c.json").write_text(json.dumps({"model": "cnn", "lr": 0.5}))
    for arguments, rate in ((["--model", "cnn"], recipe.lr), (["--config", str(tmp_path / "c.json")], 0.5)):
        options = parse(EXPERIMENT, arguments)
        assert (options.hidden, options.dropout, options.lr) == (
            ",".join(map(str, recipe.hidden)),
            recipe.dropout,
            rate,
        )
        assert str(options.out) == os.path.join("runs", "mnist-cnn")
    options = parse(EXPERIMENT, ["--config", str(tmp_path / "c.json"), "--model", "dense", "--hidden", "7,06"])
    assert (options.model, options.hidden, options.l2) == ("dense", "7,6", EXPERIMENT.recipe.l2)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--hidden", "5,"], "argument --hidden: must be a whole number, got ''"),
        (["--hidden", "0"], "argument --hidden: must be at least 1, got 0"),
        (["--dropout", "1"], "argument --dropout: must be below 1, got 1"),
        (["--l2", "-1"], "argument --l2: must be finite and not negative, got -1"),
        (["--model", "rnn"], "argument --model: invalid choice: 'rnn'"),
    ],
)
def test_networks_that_cannot_be_are_refused(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main(EXPERIMENT, arguments)
    assert caught.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.slow
def test_a_convolutional_network_is_trained_resumed_and_reported(tmp_path, capsys):
    data, out = write_mnist(tmp_path / "data", count=60), tmp_path / "out"
    options = ["--model", "cnn", "--hidden", "3,4", "--l2", "0.001", "--no-compile", "--workers", "1"]
    assert main(EXPERIMENT, ["--data-dir", str(data), *options, "--epochs", "1", "--out", str(out)]) == 0
    page = (out / "report.html").read_text()
    assert "Conv2d(1 -&gt; 3, 3x3" in page and "--model cnn --hidden 3,4" in page and (out / "report.html").exists()
    capsys.readouterr()
    assert main(EXPERIMENT, ["--out", str(out), "--resume"]) == 0
    assert "is complete" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(EXPERIMENT, ["--out", str(out), "--resume", "--hidden", "3,5"])
    assert "made with hidden = '3,4', now hidden = '3,5'" in capsys.readouterr().err
