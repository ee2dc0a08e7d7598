"""The scripts as a user runs them."""

import csv
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.compare import main as compare_main
from experiments.mnist import EXPERIMENT
from experiments.predict import main as predict_main
from tensorgrad.runner.command import main
from tensorgrad.runner.folder import opened
from tensorgrad.runner.options import parse
from tensorgrad.runner.preparation import learning_rate
from tests.support import ROOT, heed_signals, write_mnist

FILES = ["best.npz", "last.npz", "history.csv", "metrics.json", "settings.json", "report.html"]


def script(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "experiments.mnist", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


@pytest.mark.slow
def test_a_run_writes_what_it_says(tmp_path):
    out = tmp_path / "deep" / "out"
    result = script("--data-dir", write_mnist(tmp_path / "data"), "--epochs", 2, "--seed", 3, "--out", out)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""  # no progress bar when piped
    metrics = json.loads((out / "metrics.json").read_text())
    assert result.stdout.splitlines()[-1] == f"test accuracy {metrics['test_accuracy']:.4f}"
    assert sum(line.startswith("epoch") for line in result.stdout.splitlines()) == 2
    assert metrics["dataset"] == "MNIST" and metrics["epochs"] == 2 and metrics["seed"] == 3
    assert metrics["settings"]["batch_size"] == 128 and metrics["seconds"] > 0
    assert len(list(csv.DictReader((out / "history.csv").read_text().splitlines()))) == 2
    assert (out / "report.html").stat().st_size > 10_000
    assert sorted(os.listdir(out)) == sorted(FILES)
    assert json.loads((out / "settings.json").read_text())["seed"] == 3


@pytest.mark.slow
def test_the_same_seed_repeats_the_run(tmp_path):
    data = write_mnist(tmp_path / "data")
    rows = []
    for name in ("a", "b"):
        assert main(EXPERIMENT, ["--data-dir", str(data), "--epochs", "2", "--out", str(tmp_path / name)]) == 0
        history = csv.DictReader((tmp_path / name / "history.csv").read_text().splitlines())
        rows.append([{k: v for k, v in row.items() if k != "seconds"} for row in history])
    assert rows[0] == rows[1]


@pytest.mark.deep
def test_the_bundled_digits_reach_097(tmp_path, monkeypatch):
    monkeypatch.setattr("tensorgrad.data.mnist.OPENML", "http://127.0.0.1:9/refused")
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "empty"))
    assert main(EXPERIMENT, ["--out", str(tmp_path / "out")]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "bundled digits" in metrics["dataset"]
    assert metrics["test_accuracy"] >= 0.97


def spoil(folder, case):
    """Break a folder of data in one way; returns what the message must say."""
    images = np.zeros((40, 28, 28))
    if case == "NaN":
        images[5, 3, 3] = np.nan
        write_mnist(folder, **{"train-images-idx3-ubyte": images})
        return "1 images hold NaN or infinity, the first at position 5"
    if case == "shape":
        write_mnist(folder, size=32)
        return "images of shape (1, 32, 32), the network takes (1, 28, 28)"
    if case == "dtype":
        write_mnist(folder, **{"train-images-idx3-ubyte": images.astype(np.int16)})
        return "images must be bytes or floats, got int16"
    if case == "labels":
        write_mnist(folder, **{"t10k-labels-idx1-ubyte": np.full(20, 11, np.uint8)})
        return "labels must lie in 0..9, got 11 at position 0"
    write_mnist(folder)
    path = folder / "t10k-images-idx3-ubyte.gz"
    if case == "missing":
        path.unlink()
        return "t10k-images-idx3-ubyte[.gz] is missing"
    path.write_bytes(path.read_bytes()[:3000])
    return "cannot be read"


@pytest.mark.parametrize("case", ["NaN", "shape", "dtype", "labels", "missing", "truncated"])
def test_bad_data_ends_in_one_sentence_and_keeps_what_was_saved(tmp_path, capsys, case):
    out = tmp_path / "out"
    out.mkdir()
    (out / "metrics.json").write_text("earlier")
    message = spoil(tmp_path / "data", case)
    with pytest.raises(SystemExit) as caught:
        main(EXPERIMENT, ["--data-dir", str(tmp_path / "data"), "--out", str(out)])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("experiments.mnist: error: ") and message in error and error.count("\n") == 1
    assert (out / "metrics.json").read_text() == "earlier" and os.listdir(out) == ["metrics.json"]


def test_an_out_that_cannot_be_written_is_found_before_training(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "inside", Path("/proc/nothing")):
        started = time.perf_counter()
        with pytest.raises(SystemExit) as caught:
            main(EXPERIMENT, ["--data-dir", str(write_mnist(tmp_path / "data")), "--out", str(out)])
        assert caught.value.code == 2
        assert time.perf_counter() - started < 5
        error = capsys.readouterr().err
        assert str(out).split("/inside")[0] in error and error.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "arguments",
    [["--epochs", "0"], ["--batch-size", "-1"], ["--lr", "nan"], ["--lr", "0"], ["--seed", "-1"], ["--foo"]],
)
def test_bad_options_exit_with_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(EXPERIMENT, arguments)
    assert caught.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_learning_rate_too_high_is_said(tmp_path, capsys):
    data = write_mnist(tmp_path / "data")
    with np.errstate(all="ignore"), pytest.raises(SystemExit) as caught:
        main(EXPERIMENT, ["--data-dir", str(data), "--lr", "1e30", "--epochs", "30", "--out", str(tmp_path / "o")])
    assert caught.value.code == 2 and "lower the learning rate" in capsys.readouterr().err


def test_help_says_the_defaults():
    result = script("--help")
    assert result.returncode == 0 and "default: 20" in result.stdout and "default: 0.003" in result.stdout


def run_in(folder, *arguments, data="data"):
    """Run on small made digits; returns the exit code."""
    root = folder / data
    if not root.exists():
        write_mnist(root, count=100)
    return main(EXPERIMENT, ["--data-dir", str(root), *map(str, arguments)])


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


@pytest.mark.parametrize("name", ["cosine", "inverse", "step", "plateau", "constant"])
def test_every_schedule_is_warmed_up_and_learns_of_losses(name):
    def made(*arguments):
        return learning_rate(parse(EXPERIMENT, ["--schedule", name, *arguments]), 100)

    plain, warmed = made(), made("--warm-up", "4")
    assert [warmed(step) / plain(step) for step in range(6)] == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    for _ in range(9):
        warmed.observe(1.0)
    assert (warmed(4) < plain(4)) == (name == "plateau")


@pytest.mark.slow
def test_options_from_a_file_are_overridden_by_the_command_line(tmp_path, capsys):
    (tmp_path / "c.json").write_text(json.dumps({"epochs": 2, "lr": 0.01, "augment": False, "schedule": "step"}))
    assert run_in(tmp_path, "--config", tmp_path / "c.json", "--lr", "0.02", "--out", tmp_path / "out") == 0
    settings = metrics_of(tmp_path / "out")["settings"]
    assert (settings["epochs"], settings["lr"], settings["augment"], settings["schedule"]) == (2, 0.02, False, "step")
    assert "epochs 2" in capsys.readouterr().out


@pytest.mark.slow
def test_the_settings_of_a_run_repeat_it(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    assert run_in(tmp_path, "--epochs", 2, "--clip", 1.0, "--warm-up", 3, "--seed", 4, "--out", one) == 0
    assert main(EXPERIMENT, ["--config", str(one / "settings.json"), "--out", str(other)]) == 0
    assert metrics_of(one)["test_loss"] == metrics_of(other)["test_loss"]


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "not JSON"),
        ("[1]", "one object of options"),
        ('{"epoch": 1}', "unknown option 'epoch'; known: data_dir"),
        ('{"epochs": 0}', "epochs must be at least 1"),
        ('{"epochs": [1]}', "must be a number or text"),
        ('{"augment": 1}', "must be true or false"),
        ('{"seed": null}', "seed must have a value, got null"),
        ('{"schedule": "sine"}', "must be one of cosine"),
        (None, "No such file"),
        ("[" * 100_000, "nested too deeply"),
        ('{"epochs": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
        ('{"epochs": ' + "[" * 400 + "]" * 400 + "}", "must be a number or text"),
        ('{"epochs": 1, "epochs": 2}', "'epochs' is given twice"),
        ('{"data-dir": "a", "data_dir": "b"}', "data_dir is given twice"),
        ('{"data_dir": 5}', "must be the name of a file or folder, got 5"),
        ('{"out": ["a"]}', "must be the name of a file or folder"),
        ('{"epochs": 1.5}', "must be a whole number, got '1.5'"),
        ('{"epochs": "' + "9" * 5000 + '"}', "must be a whole number"),
        ('{"epochs": ' + "9" * 5000 + "}", "not JSON"),
        ('{"lr": 1e999}', "must be positive and finite"),
        ('{"lr": NaN}', "must be positive and finite"),
        ('{"lr": true}', "must be a number or text"),
        ('{"quiet": "yes"}', "must be true or false"),
        ('{"resume": "maybe"}', "must be one of auto"),
        ('{"schedule": ["cosine"]}', "must be one of cosine"),
        ('{"' + "x" * 100_000 + '": 1}', "unknown option"),
        ('{"\\u001b[31m": 1}', r"unknown option '\x1b[31m'"),
        ('"epochs"', "one object of options"),
        ("\ufeff{}", "not JSON"),
        ("", "not JSON"),
    ],
)
def test_a_bad_config_is_one_sentence(tmp_path, capsys, content, message):
    if content is not None:
        (tmp_path / "c.json").write_text(content)
    said = exits_with_2(capsys, "--config", tmp_path / "c.json")
    assert message in said and len(said) < 1000


@pytest.mark.slow
def test_quiet_prints_the_final_line_only(tmp_path, capsys):
    assert run_in(tmp_path, "--quiet", "--epochs", 1, "--out", tmp_path / "out") == 0
    out = capsys.readouterr().out
    assert out.startswith("test accuracy") and out.count("\n") == 1


@pytest.mark.slow
def test_fast_dev_run_goes_through_everything(tmp_path):
    assert run_in(tmp_path, "--fast-dev-run", "--quiet", "--out", tmp_path / "out") == 0
    assert metrics_of(tmp_path / "out")["epochs"] == 1 and sorted(os.listdir(tmp_path / "out")) == sorted(FILES)


def test_overfit_batch_reaches_everything(tmp_path, capsys):
    assert run_in(tmp_path, "--overfit-batch", "--out", tmp_path / "out") == 0
    assert "accuracy 1.0000" in capsys.readouterr().out


def exits_with_2(capsys, *arguments):
    """Run the script with arguments that are wrong; returns what it says, one sentence."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(EXPERIMENT, list(map(str, arguments)))
    said = capsys.readouterr().err
    assert caught.value.code == 2 and said.startswith("experiments.mnist: error: ") and said.count("\n") == 1
    return said


@pytest.mark.slow
def test_resume_where_there_is_no_run_is_refused_unless_asked_for(tmp_path, capsys):
    assert run_in(tmp_path, "--epochs", 1, "--out", tmp_path / "first") == 0
    said = exits_with_2(capsys, "--resume", "--out", tmp_path / "frist")
    assert f"{tmp_path / 'frist'} holds no run; did you mean {tmp_path / 'first'}?" in said
    assert "with --resume auto" in said and sorted(os.listdir(tmp_path)) == ["data", "first"]
    assert run_in(tmp_path, "--epochs", 1, "--out", tmp_path / "frist", "--resume", "auto") == 0
    assert "starts from the beginning" in capsys.readouterr().err
    assert metrics_of(tmp_path / "frist")["test_loss"] == metrics_of(tmp_path / "first")["test_loss"]


@pytest.mark.slow
def test_a_run_is_resumed_with_its_settings_only(tmp_path, capsys):
    assert run_in(tmp_path, "--epochs", 1, "--out", tmp_path / "out") == 0
    said = exits_with_2(capsys, "--data-dir", tmp_path / "data", "--out", tmp_path / "out", "--resume", "--seed", 7)
    assert "made with seed = 0, now seed = 7" in said


@pytest.mark.slow
def test_a_finished_run_goes_on_for_more_epochs(tmp_path, capsys):
    options = ["--schedule", "constant"]
    assert run_in(tmp_path, "--epochs", 3, *options, "--out", tmp_path / "straight") == 0
    out = tmp_path / "out"
    assert run_in(tmp_path, "--epochs", 1, *options, "--out", out) == 0
    capsys.readouterr()
    assert run_in(tmp_path, "--epochs", 3, "--no-compile", "--out", out, "--resume") == 0
    assert "is complete" not in capsys.readouterr().out
    assert json.loads((out / "settings.json").read_text())["compile"] is False
    for name in ("test_loss", "epochs", "settings"):
        assert metrics_of(out)[name] == metrics_of(tmp_path / "straight")[name]
    assert json.loads((out / "settings.json").read_text())["epochs"] == 3
    assert run_in(tmp_path, "--out", out, "--resume") == 0
    assert "is complete" in capsys.readouterr().out
    said = exits_with_2(capsys, "--epochs", 2, "--out", out, "--resume")
    assert f"--epochs 2: the run in {out} has already finished 3; choose more" in said
    assert json.loads((out / "settings.json").read_text())["epochs"] == 3


@pytest.mark.slow
def test_a_schedule_over_all_epochs_is_said_to_be_another_one(tmp_path, capsys):
    out = tmp_path / "out"
    assert run_in(tmp_path, "--epochs", 1, "--out", out) == 0
    assert run_in(tmp_path, "--epochs", 2, "--out", out, "--resume") == 0
    assert "the cosine schedule spans all epochs: from epoch 2 on it is that of 2, until" in capsys.readouterr().err
    assert metrics_of(out)["epochs"] == 2


@pytest.mark.slow
def test_a_run_that_patience_ended_goes_on_with_more_of_it(tmp_path, capsys):
    arguments = ["--epochs", 8, "--schedule", "constant", "--lr", "1e-9", "--out", tmp_path / "out"]
    assert run_in(tmp_path, "--patience", 1, *arguments) == 0
    assert "no better validation accuracy for 1 epochs" in capsys.readouterr().out
    before = metrics_of(tmp_path / "out")["epochs"]
    assert before < 8 and run_in(tmp_path, "--patience", 8, "--resume", "--out", tmp_path / "out") == 0
    assert metrics_of(tmp_path / "out")["epochs"] == 8


@pytest.mark.slow
def test_a_training_that_diverged_ends_with_2_and_a_report(tmp_path, capsys):
    out = tmp_path / "out"
    data = write_mnist(tmp_path / "data", count=300)
    said = exits_with_2(capsys, "--data-dir", data, "--lr", "1e6", "--epochs", 2, "--out", out)
    assert "the training diverged: its loss is" in said and "lower the learning rate" in said and str(out) in said
    assert metrics_of(out)["diverged"] is True and sorted(os.listdir(out)) == sorted(FILES)
    assert "the training diverged" in (out / "report.html").read_text()
    options = ["--optimiser", "sgd", "--momentum", 0.9, "--lr", 0.05, "--monitor", "validation_loss"]
    assert run_in(tmp_path, "--epochs", 2, "--out", tmp_path / "lower", *options) == 0
    found = metrics_of(tmp_path / "lower")
    assert found["diverged"] is False and found["settings"]["optimiser"] == "sgd"
    rows = list(csv.DictReader((tmp_path / "lower" / "history.csv").read_text().splitlines()))
    assert found["best_epoch"] == 1 + np.argmin([float(row["validation_loss"]) for row in rows])
    assert "the training diverged" not in (tmp_path / "lower" / "report.html").read_text()
    assert compare_main([str(out), str(tmp_path / "lower"), "--out", str(tmp_path / "both.png")]) == 0
    states = [line.split("|")[-3].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert sorted(states[1:]) == ["diverged", "finished"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [".", "../here", ".."])
def test_a_run_in_the_folder_that_one_is_in_is_not_moved_aside(tmp_path, capsys, monkeypatch, name):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    data = write_mnist(tmp_path.parent / f"{tmp_path.name}-data", count=100)
    folder = Path(name).resolve()
    (folder / "metrics.json").write_text("earlier")
    said = exits_with_2(capsys, "--data-dir", data, "--epochs", 1, "--out", name)
    assert "is the folder that you are in, or one above it" in said and "choose another folder" in said
    assert (folder / "metrics.json").read_text() == "earlier"
    assert main(EXPERIMENT, ["--data-dir", str(data), "--epochs", "1", "--out", "another"]) == 0


@pytest.mark.parametrize("option", ["--out", "--data-dir", "--config"])
@pytest.mark.parametrize("name", ["runs/\udcff", "", "two\nlines", "\x1b[31m", "a\0b"])
def test_names_that_cannot_be_printed_are_refused(capsys, tmp_path, option, name):
    said = exits_with_2(capsys, option, name)
    assert option in said and "must be" in said and said.isascii()
    if option != "--config":
        (tmp_path / "c.json").write_text(json.dumps({option[2:]: name}))
        assert "must be" in exits_with_2(capsys, "--config", tmp_path / "c.json")


def test_a_name_that_is_too_long_is_one_sentence(capsys, tmp_path):
    data = write_mnist(tmp_path / "data")
    for resume in ([], ["--resume"]):
        said = exits_with_2(capsys, "--data-dir", data, "--out", tmp_path / ("a" * 300), *resume)
        assert "File name too long" in said


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="folders are not locked there")
@pytest.mark.parametrize("resume", [[], pytest.param(["--resume"], marks=pytest.mark.deep)])
def test_two_runs_at_once_need_two_folders(tmp_path, capsys, resume):
    out = tmp_path / "out"
    assert run_in(tmp_path, "--epochs", 1, "--out", out) == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    with opened(out), pytest.raises(SystemExit) as caught:
        run_in(tmp_path, "--epochs", 1, "--out", out, *resume)
    assert caught.value.code == 2 and "another run is using it" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in out.iterdir()}
    assert run_in(tmp_path, "--epochs", 1, "--out", out, *resume) == 0


def test_a_folder_of_other_files_is_left_alone(tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.html").write_text("mine")
    for resume in ([], ["--resume"]):
        with pytest.raises(SystemExit) as caught:
            run_in(tmp_path, "--epochs", 1, "--out", tmp_path / "out", *resume)
        said = "holds no run" if resume else "holds files that are not a run's"
        assert caught.value.code == 2 and said in capsys.readouterr().err
    assert os.listdir(tmp_path / "out") == ["report.html"]


@pytest.mark.slow
def test_an_earlier_run_in_the_folder_is_kept_under_another_name(tmp_path, capsys):
    for seed in (1, 2, 3):
        assert run_in(tmp_path, "--epochs", 1, "--seed", seed, "--out", tmp_path / "out") == 0
    assert [metrics_of(tmp_path / name)["seed"] for name in ("out-1", "out-2", "out")] == [1, 2, 3]
    assert f"the earlier run in {tmp_path / 'out'} is now {tmp_path / 'out-2'}" in capsys.readouterr().err
    for _ in range(2):
        assert run_in(tmp_path, "--fast-dev-run", "--out", tmp_path / "dry") == 0
    assert sorted(os.listdir(tmp_path / "dry")) == sorted(FILES)
    assert not (tmp_path / "dry-1").exists()


@pytest.mark.slow
def test_resume_needs_none_of_the_options_again(tmp_path, capsys):
    out = tmp_path / "out"
    assert run_in(tmp_path, "--epochs", 2, "--lr", "0.01", "--no-augment", "--out", out) == 0
    first = metrics_of(out)
    capsys.readouterr()
    assert main(EXPERIMENT, ["--out", str(out), "--resume"]) == 0
    assert "is complete" in capsys.readouterr().out
    assert metrics_of(out)["settings"] == first["settings"] and metrics_of(out)["test_loss"] == first["test_loss"]
    other = importlib.import_module("experiments.simpsons").EXPERIMENT
    with pytest.raises(SystemExit):
        main(other, ["--config", str(out / "settings.json")])
    assert "settings of another experiment" in capsys.readouterr().err


@pytest.mark.slow
def test_the_compiled_step_gives_the_same_network(tmp_path):
    for name in ("compile", "no-compile"):
        assert (
            run_in(tmp_path, "--epochs", 2, "--clip", 1.0, "--warm-up", 3, f"--{name}", "--out", tmp_path / name) == 0
        )
    one, other = (np.load(tmp_path / name / "last.npz") for name in ("compile", "no-compile"))
    for name in one.files:
        if name.startswith(("model/", "best/", "optimiser/")):
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def test_what_does_not_start_leaves_no_folder(tmp_path):
    assert run_in(tmp_path, "--overfit-batch", "--out", tmp_path / "overfit") == 0
    with pytest.raises(SystemExit):
        run_in(tmp_path, "--strict", "--data-dir", tmp_path / "none", "--out", tmp_path / "none")
    assert sorted(os.listdir(tmp_path)) == ["data"]


def test_the_folder_above_the_image_sets_is_told_from_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for kind, mode in (("grayscale", "L"), ("rgb", "RGB")):
        for part in ("train", "test"):
            for name in ("a", "b"):
                folder = tmp_path / kind / part / name
                folder.mkdir(parents=True)
                Image.new(mode, (28, 28)).save(folder / "x.png")
    experiment = importlib.import_module("experiments.simpsons").EXPERIMENT
    for folder, message in (("", "grayscale or "), ("rgb", "they are turned gray")):
        with pytest.raises(SystemExit):
            main(experiment, ["--data-dir", str(tmp_path / folder), "--out", str(tmp_path / "out")])
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_damaged_checkpoint_is_refused_and_kept(tmp_path, capsys):
    out = tmp_path / "out"
    assert run_in(tmp_path, "--epochs", 1, "--out", out) == 0
    content = bytearray((out / "last.npz").read_bytes())
    content[1000] ^= 1
    (out / "last.npz").write_bytes(content)
    with pytest.raises(SystemExit) as caught:
        run_in(tmp_path, "--epochs", 1, "--out", out, "--resume")
    assert caught.value.code == 2 and "last.npz: damaged" in capsys.readouterr().err
    assert (out / "last.npz").read_bytes() == content


@pytest.mark.slow
@pytest.mark.parametrize(
    "number, code", [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.deep)]
)
def test_a_stopped_run_saves_reports_and_goes_on(tmp_path, number, code):
    data, out = write_mnist(tmp_path / "data", count=600), tmp_path / "out"
    arguments = ["--data-dir", data, "--epochs", 40, "--seed", 1]
    command = [sys.executable, "-m", "experiments.mnist", *map(str, arguments), "--out", str(out)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heed_signals
    ) as process:
        while not process.stdout.readline().startswith("epoch   2"):
            pass
        process.send_signal(number)
        printed, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert "finishing this step" in errors and "--resume" in errors and "Traceback" not in errors
    assert "test accuracy" in printed and metrics_of(out)["stopped"] == f"stopped by {signal.Signals(number).name}"
    assert script("--out", out, "--resume").returncode == 0
    assert script(*arguments, "--out", tmp_path / "straight").returncode == 0
    assert (out / "last.npz").stat().st_size > 0
    assert metrics_of(out)["test_loss"] == metrics_of(tmp_path / "straight")["test_loss"]


@pytest.mark.slow
def test_predict_names_what_is_in_a_picture(tmp_path, capsys):
    assert run_in(tmp_path, "--epochs", 1, "--out", tmp_path / "out") == 0
    Image.new("RGB", (60, 40), (9, 9, 9)).save(tmp_path / "a.png")
    capsys.readouterr()
    assert predict_main([str(tmp_path / "out"), str(tmp_path / "a.png")]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{tmp_path / 'a.png'}: ") and line.count("%") == 3
    assert predict_main([str(tmp_path / name) for name in ("out", "none.png", "a.png")]) == 2
    printed = capsys.readouterr()
    assert printed.out == line and printed.err.endswith("none.png: no such file\n")
    with pytest.raises(SystemExit) as caught:
        predict_main([str(tmp_path / "nowhere"), str(tmp_path / "a.png")])
    assert caught.value.code == 2 and "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
def test_compare_puts_runs_side_by_side(tmp_path, capsys):
    for seed in (0, 1):
        assert run_in(tmp_path, "--epochs", 1, "--seed", seed, "--out", tmp_path / f"run{seed}") == 0
    (tmp_path / "other").mkdir()
    capsys.readouterr()
    folders = [str(tmp_path / name) for name in ("run0", "run1", "other")]
    assert compare_main([*folders, "--out", str(tmp_path / "c.png")]) == 0
    out = capsys.readouterr().out
    assert "| run0" in out and "| run1" in out and "other: no finished run" in out
    assert (tmp_path / "c.png").stat().st_size > 10_000
    (tmp_path / "other" / "metrics.json").write_text("{}")
    for wrong in (["other"], ["typo"], ["typo", "another"], ["run0", "other"]):
        with pytest.raises(SystemExit) as caught:
            compare_main([*(str(tmp_path / name) for name in wrong), "--out", str(tmp_path / "d.png")])
        assert caught.value.code == 2 and "Traceback" not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["simpsons", "simpsons_rgb"])
def test_the_simpsons_run_without_any_data(tmp_path, experiment, monkeypatch, capsys):
    monkeypatch.setattr("tensorgrad.data.simpsons.URL", "http://127.0.0.1:9/refused")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    module = importlib.import_module(f"experiments.{experiment}")
    assert main(module.EXPERIMENT, ["--fast-dev-run", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert "MADE" in printed.out and "--data-dir" in printed.err
