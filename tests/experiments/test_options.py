"""Options and experiments as values: what is declared once holds everywhere, and what cannot be is refused."""

import json
from dataclasses import FrozenInstanceError, dataclass, replace
from pathlib import Path

import pytest

import models
from experiments.mnist import EXPERIMENT
from experiments.registry import EXPERIMENTS
from tensorgrad.optim import OPTIMISERS
from tensorgrad.runner import options as module
from tensorgrad.runner.command import main
from tensorgrad.runner.comparison import compare
from tensorgrad.runner.errors import UsageError
from tensorgrad.runner.folder import check_resumable, opened
from tensorgrad.runner.options import Options, Role, parse
from tensorgrad.runner.preparation import prepare
from tensorgrad.runner.run import run
from tensorgrad.runner.training import Trained
from tests.support import write_mnist


@dataclass(frozen=True)
class More(Options):
    """One option more, as somebody would add it."""

    colour: str = module.value("of the chart", default="red", choices=["red", "blue"])


def test_one_declaration_is_a_new_option_everywhere(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "Options", More)
    for experiment in EXPERIMENTS.values():
        with pytest.raises(SystemExit):
            main(experiment, ["--help"])
        assert "--colour {red,blue}" in capsys.readouterr().out
    data, out = str(write_mnist(tmp_path / "data", count=60)), tmp_path / "out"
    common = ["--data-dir", data, "--out", str(out)]
    assert main(EXPERIMENT, [*common, "--epochs", "1", "--colour", "blue"]) == 0
    assert "colour blue" in capsys.readouterr().out
    assert json.loads((out / "settings.json").read_text())["colour"] == "blue"
    assert json.loads((out / "metrics.json").read_text())["settings"]["colour"] == "blue"
    assert "--colour blue" in (out / "report.html").read_text()
    with pytest.raises(SystemExit) as caught:
        main(EXPERIMENT, [*common, "--resume", "--colour", "red"])
    assert caught.value.code == 2 and "made with colour = 'blue', now colour = 'red'" in capsys.readouterr().err
    (tmp_path / "c.json").write_text('{"colour": "green"}')
    with pytest.raises(SystemExit) as caught:
        main(EXPERIMENT, ["--config", str(tmp_path / "c.json")])
    assert caught.value.code == 2 and "colour must be one of red, blue" in capsys.readouterr().err


def test_the_command_line_of_options_gives_them_again(tmp_path):
    for arguments in (
        [],
        ["--resume", "auto", "--no-augment", "--no-compile", "--workers", "2", "--strict", "--quiet", "--fast-dev-run"],
        ["--tensorboard", "--warm-up", "3"],
        ["--resume", "--data-dir", "-a b", "--lr", "1e-07", "--clip", "0.1", "--patience", "3", "--seed", "9"],
    ):
        arguments = [f"--data-dir={x}" if x == "-a b" else x for x in arguments if x != "--data-dir"]
        options = parse(EXPERIMENT, [*arguments, "--out", str(tmp_path)])
        options = replace(options, data_dir=options.data_dir and options.data_dir.resolve())
        assert parse(EXPERIMENT, options.as_arguments()) == options
        assert parse(EXPERIMENT, options.as_arguments("resume")) == replace(options, resume=False)


def test_every_option_has_a_role_and_what_is_saved_is_json():
    options = parse(EXPERIMENT, ["--data-dir", "somewhere"])
    assert options.of_role(*Role) == vars(options)
    assert json.loads(json.dumps(options.saved())) == options.saved()
    assert vars(options).keys() - options.saved().keys() == {"out", "config", "resume"}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"lr": float("nan")}, "lr must be positive and finite"),
        ({"lr": None}, "lr must have a value"),
        ({"schedule": "sine"}, "schedule must be one of cosine"),
        ({"augment": 1}, "augment must be true or false, got 1"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"out": 5}, "out must be the name of a file or folder"),
    ],
)
def test_options_that_cannot_be_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        replace(parse(EXPERIMENT, []), **changes)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"network": "mnist"}, "network must be a function, such as models.mnist, got 'mnist'"),
        ({"load": None}, "load must be a function"),
        ({"model": "transformer"}, "model must be one of dense, cnn, got 'transformer'"),
        ({"classes": 0}, "classes must be positive, got 0"),
        ({"epochs": 0}, "epochs must be positive, got 0"),
        ({"lr": -1.0}, "lr must be positive"),
        ({"augmentation": {"flip": True}}, r"such as Augmentation\(flip=True\), got \{"),
    ],
)
def test_an_experiment_that_cannot_be_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        replace(EXPERIMENT if changes.keys() <= vars(EXPERIMENT).keys() else EXPERIMENT.recipe, **changes)
    assert replace(EXPERIMENT.recipe, network=models.mnist).network is models.mnist


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_every_optimiser_takes_the_settings_that_it_has_and_refuses_others(tmp_path, kind):
    data, out = write_mnist(tmp_path / "data", count=60), tmp_path / "out"
    common = ["--data-dir", str(data), "--out", str(out), "--optimiser", kind]
    made = prepare(EXPERIMENT, parse(EXPERIMENT, [*common, "--weight-decay", "0.25"]))
    assert type(made.optimiser) is OPTIMISERS[kind] and made.optimiser.weight_decay == 0.25
    with_momentum = parse(EXPERIMENT, [*common, "--momentum", "0.5"])
    if kind in ("sgd", "rmsprop"):
        assert prepare(EXPERIMENT, with_momentum).optimiser.momentum == 0.5
    else:
        with pytest.raises(UsageError, match=f"--momentum: {kind} has none; .* --optimiser sgd or rmsprop"):
            prepare(EXPERIMENT, with_momentum)
    for option, wrong in (("--momentum", "1"), ("--weight-decay", "-1")):
        with pytest.raises(SystemExit):
            parse(EXPERIMENT, [*common, option, wrong])


def test_functions_used_in_a_wrong_way_raise_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for call, message in (
        (lambda: main("mnist"), "takes an Experiment, such as experiments.mnist.EXPERIMENT, got 'mnist'"),
        (lambda: main(EXPERIMENT, "--epochs 5"), r"such as \['--epochs', '5'\], got '--epochs 5'"),
        (lambda: compare([], tmp_path / "c.png"), "none of the folders holds a metrics.json"),
        (lambda: compare([tmp_path], tmp_path / "c.png"), "none of the folders holds a metrics.json"),
        (lambda: check_resumable(tmp_path), "holds no run"),
        (lambda: opened(tmp_path / "file").__enter__(), "is a file, not a folder"),
    ):
        with pytest.raises(UsageError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_a_run_gives_its_result_and_nothing_that_it_is_made_of_can_be_changed(tmp_path):
    data = write_mnist(tmp_path / "data", count=60)
    options = parse(EXPERIMENT, ["--data-dir", str(data), "--epochs", "2", "--quiet", "--out", str(tmp_path / "out")])
    result = run(EXPERIMENT, options)
    assert result.metrics == {
        name: value
        for name, value in json.loads((tmp_path / "out" / "metrics.json").read_text()).items()
        if name != "phases"
    }
    assert result.probabilities.shape == (20, 10) and len(result.history) == 2
    for value in (EXPERIMENT, options, result.prepared, result, Trained(result.history)):
        with pytest.raises(FrozenInstanceError):
            value.options = None


def test_what_is_prepared_follows_from_experiment_and_options_alone(tmp_path):
    data = write_mnist(tmp_path / "data", count=60)
    options = parse(EXPERIMENT, ["--data-dir", str(data), "--out", str(tmp_path / "out"), "--seed", "4"])
    one, other = prepare(EXPERIMENT, options), prepare(EXPERIMENT, options)
    assert one.settings == other.settings and one.options == other.options != options
    for a, b in zip(one.model.parameters(), other.model.parameters()):
        assert (a.data == b.data).all()
    assert not Path(options.out).exists()
