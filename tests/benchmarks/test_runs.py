"""The benchmark of whole trainings, and the table of bars."""

import json
import sys
from contextlib import contextmanager

import numpy as np
import pytest

import tensorgrad as tg
from benchmarks import bars, optimisers, runs, tables, workers
from benchmarks.frameworks import FRAMEWORKS, JAX, OURS, OURS_ON_NUMPY, REFERENCE, TRAINING
from benchmarks.recipes import CNN, OPTIMISERS, RUNS, Recipe, layers_of, sizes_of
from models import mnist, simpsons_rgb
from tests.support import write_mnist

SMALL = {"digits": (4, 8, 3), "images": ((1, 8, 8), 2, 3, 8, 3)}


def run(framework, network="784-512-10", number=0, total=10.0, epochs=(2.0, 1.0, 1.5), accuracies=(0.9, 0.985, 0.99)):
    ends = list(np.linspace(total / len(epochs), total, len(epochs)))
    found = {"epochs": list(epochs), "ends": ends, "accuracies": list(accuracies), "memory": 300.0}
    return {"network": network, "framework": framework, "round": number, **found}


OTHERS = [pytest.param(name, marks=pytest.mark.deep) for name in TRAINING if name != OURS_ON_NUMPY]


@pytest.fixture
def subnormals():
    """That there are subnormal numbers in the tests that follow, as PyTorch may be asked to do without."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
    assert np.float32(1e-40) * np.float32(0.5) > 0


@pytest.mark.slow
@pytest.mark.usefixtures("subnormals")
@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize("name", [OURS_ON_NUMPY, *OTHERS])
def test_every_framework_learns_by_the_recipe_and_tells_about_each_epoch(name, kind, monkeypatch):
    monkeypatch.setenv("TENSORGRAD_FAST", "0")
    sizes = SMALL[kind]
    try:
        framework = FRAMEWORKS[name]()
    except ImportError:
        pytest.skip("not installed")
    if kind == "images" and not framework.has_convolution:
        pytest.skip("has no convolution")
    rng = np.random.default_rng(0)
    labels = np.arange(150) % 3
    shape = sizes[0] if kind == "images" else sizes[:1]
    means = rng.standard_normal((3, *shape))[labels]
    examples = (2 * means + rng.standard_normal(means.shape)).astype(np.float32), labels
    told, accuracies = [], []

    class Watch:
        @contextmanager
        def epoch(self):
            yield
            self.took(0.0)

        def took(self, seconds):
            told.append("epoch")

        def test(self, infer):
            told.append("test")
            found = np.argmax(np.asarray(infer(examples[0])), axis=1)
            accuracies.append(np.mean(found == labels))

    framework.train(sizes, Recipe(0.1, 1e-4, 2e-2, 20 * 15), examples, 20, 10, Watch())
    assert told == ["epoch", "test"] * 20 and accuracies[-1] > 0.85


def test_the_recipes_are_those_of_the_models():
    for network, model in (("784-512-10", mnist), ("2352-2048-512-10", simpsons_rgb)):
        parts, recipe = model(np.random.default_rng(0)).layers, RUNS[network].recipe
        dense = [layer for layer in parts if hasattr(layer, "weight")]
        assert layers_of(sizes_of(network)) == [layer.weight.shape for layer in dense]
        assert [layer.weight_l2 for layer in dense] == [recipe.strength] + [0.0] * (len(dense) - 1)
        assert {layer.rate for layer in parts if hasattr(layer, "rate")} == {recipe.rate}
    assert layers_of(sizes_of(CNN)) == [(3, 3, 1, 16), (3, 3, 16, 32), (1568, 64), (64, 10)]


@pytest.mark.slow
def test_a_run_from_the_command_line(tmp_path, capsys):
    write_mnist(tmp_path / "data" / "mnist", count=200)
    options = ["--data-dir", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--only", OURS_ON_NUMPY]
    options += ["--epochs", "2", "--rounds", "1"]
    assert runs.main([*options, "--networks", "784-512-10"]) == 0
    (found,) = runs.read_runs(tmp_path / "out" / runs.JSON)
    assert len(found["epochs"]) == len(found["ends"]) == 2 and sum(found["epochs"]) < found["ends"][-1]
    assert 30 < found["memory"] < 3000 and 0 <= found["accuracies"][-1] <= 1
    text = (tmp_path / "out" / runs.MARKDOWN).read_text()
    assert f"| 784-512-10, 2 epochs, 1 round | {OURS_ON_NUMPY} |" in text and text.strip() in capsys.readouterr().out
    assert (tmp_path / "out" / runs.PICTURE).stat().st_size > 10_000


@pytest.mark.deep
def test_a_step_in_fit_and_alone(tmp_path):
    write_mnist(tmp_path / "mnist", count=200)
    file = runs.examples_of("784-512-10", tmp_path, tmp_path)
    within, alone = workers.in_fresh_processes("fit", [OURS], "784-512-10", json.dumps(str(file)))[OURS]
    assert min(within, alone) > 0


def test_a_table_of_runs_shows_medians_and_what_is_not_reached():
    found = [run(OURS, number=i, total=total) for i, total in enumerate([9.0, 10.0, 30.0])]
    found += [{**row, "framework": JAX, "ends": [2 * end for end in row["ends"]]} for row in found]
    for row in found[3:]:
        row["accuracies"] = [0.1, 0.2, 0.3]
    lines = tables.table_of_runs("784-512-10", found).splitlines()
    assert lines[0] == f"| 784-512-10, 3 epochs, 3 rounds | {OURS} | {JAX} |"
    assert "| process start to test accuracy | 10.0 s | 20.0 s (2.00x ours) |" in lines
    assert "| last / second epoch | 1.50 | 1.50 |" in lines
    assert "| to a test accuracy of 0.98 | 6.67 s | not reached |" in lines
    assert "| peak memory | 300 MB | 300 MB |" in lines and "| test accuracy | 0.9900 | 0.3000 |" in lines
    found += [{**found[0], "network": "CNN"}]
    assert tables.summary_of_runs(found).splitlines() == [
        "| seconds, accuracy | 784-512-10 | CNN |",
        "|---|---|---|",
        f"| {OURS} | 10.0 s, 0.990 | 9.0 s, 0.990 |",
        f"| {JAX} | 20.0 s, 0.300 |  |",
    ]


def test_a_framework_that_fails_is_said_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    write_mnist(tmp_path / "data" / "mnist", count=40)
    monkeypatch.setattr(runs, "a_whole_run", lambda name, *rest: run(name) if name == OURS else None)
    monkeypatch.setattr(runs, "draw_runs", lambda *args: None)
    options = ["--data-dir", str(tmp_path / "data"), "--rounds", "2", "--networks", "784-512-10"]
    runs.main([*options, "--only", OURS, JAX, "--out", str(tmp_path)])
    assert f"{JAX}: has no such network, or failed" in capsys.readouterr().err
    assert [row["framework"] for row in runs.read_runs(tmp_path / runs.JSON)] == [OURS] * 2
    runs.main([*options, "--only", OURS, "--out", str(tmp_path), "--keep"])
    assert len(runs.read_runs(tmp_path / runs.JSON)) == 4


@pytest.mark.slow
def test_why_a_process_failed_is_said(capfd):
    assert workers.in_a_fresh_process("run", OURS_ON_NUMPY, "784-512-10", '["/nowhere.npz", 1, 0.0]') == ""
    assert f"{OURS_ON_NUMPY}: FileNotFoundError" in capfd.readouterr().err


def test_each_bar_is_printed_with_its_value(tmp_path, monkeypatch, capsys):
    file = tmp_path / "runs.json"
    file.write_text(json.dumps([run(OURS), run(JAX, total=15.0), run(OURS, "2352-2048-512-10")]))
    slow = {OURS: [4.0], REFERENCE: [2.0], "matrix products only": [2.0]}
    monkeypatch.setattr(bars, "compare", lambda cases, *rest: dict.fromkeys(cases, slow))
    monkeypatch.setattr(bars, "examples_of", lambda *rest: file)
    numbers = {"record": [3.0, 1.0, 20.0], "fit": [1.2, 1.0]}
    monkeypatch.setattr(bars, "in_fresh_processes", lambda what, names, *rest: dict.fromkeys(names, numbers[what]))
    assert bars.main(["--runs", str(file), "--rounds", "1"]) == 0
    printed = capsys.readouterr().out
    for line in (
        f"| 784-512-10, {OURS}: last epoch / first after compilation | at most 1.05 | 1.5 | no |",
        f"| 784-512-10, whole training: {JAX} / {OURS} | at least 1.3 | 1.5 | yes |",
        f"| 784-512-10, whole training: {REFERENCE} / {OURS} | at least 10 | | not measured |",
        f"| step CNN, batch 128: {REFERENCE} / {OURS} | at least 1 | 0.5 | no |",
        f"| step CNN, batch 128: {JAX} / {OURS} | at least 2.5 | | not measured |",
        f"| 64-32-10: first and second call of {OURS}, in plain steps | at most 10 | 2 | yes |",
        "| 784-512-10: a step in fit / the compiled step alone | at most 1.1 | 1.2 | no |",
    ):
        assert line in printed.splitlines()


def test_the_benchmark_knows_every_optimiser():
    public = {name: getattr(tg.optim, name) for name in tg.optim.__all__}
    kinds = {name for name, kind in public.items() if isinstance(kind, type) and issubclass(kind, tg.optim.Optimiser)}
    assert {name for name, _ in OPTIMISERS.values()} == kinds - {"Optimiser"}


@pytest.mark.slow
def test_steps_with_an_optimiser_are_timed_and_subnormal_numbers_counted(tmp_path, monkeypatch, capsys):
    write_mnist(tmp_path / "mnist", count=60)
    monkeypatch.setattr(optimisers, "STEPS", 3)
    monkeypatch.setattr(optimisers, "WAYS", [OURS_ON_NUMPY])
    options = ["--data-dir", str(tmp_path), "--out", str(tmp_path / "out"), "--epochs", "2"]
    assert optimisers.main([*options, "--networks", "784-512-10", "--only", "Lion"]) == 0
    text = (tmp_path / "out" / optimisers.MARKDOWN).read_text()
    assert text in capsys.readouterr().out and f"0 of {2 * 407_050:,} weights" in text
    (row,) = json.loads((tmp_path / "out" / optimisers.JSON).read_text())
    assert len(row["steps"]) == 2 and min(row["steps"]) > 0 and np.isfinite(row["loss"])


def test_a_table_of_optimisers():
    ways = {OURS: [9.0, 0.5, 0.75], OURS_ON_NUMPY: [9.0, 2.0, 2.0]}
    found = [
        {"network": network, "optimiser": "Adam", "framework": name, "steps": steps, "subnormal": 1, "numbers": 1000}
        for network in ("784-512-10", CNN)
        for name, steps in ways.items()
    ]
    found += [{**found[0], "optimiser": "SGD", "steps": [9.0, 0.5, last]} for last in (0.5, 9.0, 0.75)]
    assert tables.table_of_optimisers(found).splitlines() == [
        "| last / second epoch | 784-512-10, numba | 784-512-10, NumPy | CNN, numba | CNN, NumPy |",
        "|---|---|---|---|---|",
        "| Adam | 1.50 (0.500 ms) | 1.00 (2.00 ms) | 1.50 (0.500 ms) | 1.00 (2.00 ms) |",
        "| SGD | 1.50 (0.500 ms) |  |  |  |",
        "",
        "7 of 7,000 weights and numbers of state are subnormal in the end.",
    ]


def test_what_is_subnormal():
    assert workers.subnormal(np.array([0, 1e-40, -1e-45, 1.2e-38, 1, np.nan, -np.inf], np.float32)) == 2


@pytest.mark.parametrize(
    "command, arguments, message",
    [
        (runs, ["--rounds", "0"], "must be at least 1"),
        (runs, ["--networks", "LeNet"], "invalid choice: 'LeNet'"),
        (runs, ["--networks", CNN, "--data-dir", "/nowhere", "--out", "OUT"], "no such folder"),
        (optimisers, ["--epochs", "1"], "must be at least 2"),
        (optimisers, ["--only", "Adamant"], "invalid choice: 'Adamant'"),
        (bars, ["--seconds", "-1"], "must be finite and not negative"),
        (bars, ["--runs", "/nowhere/runs.json"], "No such file"),
    ],
)
def test_wrong_options_are_one_sentence(command, arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        command.main([str(tmp_path) if argument == "OUT" else argument for argument in arguments])
    said = capsys.readouterr().err
    assert caught.value.code == 2 and said.startswith(f"{command.__name__}: error: ") and said.count("\n") == 1
    assert message in said
