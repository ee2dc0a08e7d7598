"""The scripts as a user runs them."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from experiments import benchmark
from experiments.command import main
from experiments.mnist import EXPERIMENT
from tests.test_data import write_mnist

ROOT = Path(__file__).parent.parent


def script(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "experiments.mnist", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


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
    assert (out / "curves.png").stat().st_size > 10_000
    assert sorted(os.listdir(out)) == ["curves.png", "history.csv", "metrics.json"]


def test_the_same_seed_repeats_the_run(tmp_path):
    data = write_mnist(tmp_path / "data")
    rows = []
    for name in ("a", "b"):
        assert main(EXPERIMENT, ["--data-dir", str(data), "--epochs", "2", "--out", str(tmp_path / name)]) == 0
        history = csv.DictReader((tmp_path / name / "history.csv").read_text().splitlines())
        rows.append([{k: v for k, v in row.items() if k != "seconds"} for row in history])
    assert rows[0] == rows[1]


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
        return "images of shape (32, 32), the network takes (28, 28)"
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
    assert main(EXPERIMENT, ["--data-dir", str(tmp_path / "data"), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("experiments.mnist: error: ") and message in error and error.count("\n") == 1
    assert (out / "metrics.json").read_text() == "earlier" and os.listdir(out) == ["metrics.json"]


def test_an_out_that_cannot_be_written_is_found_before_training(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "inside", Path("/proc/nothing")):
        started = time.perf_counter()
        assert main(EXPERIMENT, ["--data-dir", str(write_mnist(tmp_path / "data")), "--out", str(out)]) == 2
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
    with np.errstate(all="ignore"):
        code = main(
            EXPERIMENT, ["--data-dir", str(data), "--lr", "1e30", "--epochs", "30", "--out", str(tmp_path / "o")]
        )
    assert code == 2 and "lower the learning rate" in capsys.readouterr().err


def test_help_says_the_defaults():
    result = script("--help")
    assert result.returncode == 0 and "default: 10" in result.stdout


def test_the_benchmark_measures_and_says_what_is_not_installed(monkeypatch, capsys):
    monkeypatch.setitem(benchmark.CONTENDERS, "absent", None)

    class Fake:
        def __init__(self, name):
            self.cases = None if name == "absent" else ["step", "chain"]
            self.name = name

        def time(self, case, seconds):
            return 4.0 if self.name == "PyTorch" else 2.0

        def close(self):
            pass

    monkeypatch.setattr(benchmark, "Worker", Fake)
    lines = benchmark.table(benchmark.compare(3, 0.0)).splitlines()
    assert "absent: not installed" in capsys.readouterr().out
    assert lines[0] == "| | step | chain |"
    assert "| tensorgrad | 2.00 ms (2.00x) | 2.00 ms (2.00x) |" in lines and "| PyTorch | 4.00 ms | 4.00 ms |" in lines


def test_a_benchmark_worker_answers():
    worker = benchmark.Worker("tensorgrad")
    try:
        assert "step 784-512-10" in worker.cases and "chain of 1,000 ops" in worker.cases
        assert 0 < worker.time("step 64-32-10", 0.01) < 1000
    finally:
        worker.close()
