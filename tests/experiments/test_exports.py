"""The network of a run as a file, which predict takes in place of the run."""

import numpy as np
import pytest
from PIL import Image

import models
from experiments.export import main as export_main
from experiments.predict import main as predict_main
from tensorgrad import nn
from tensorgrad.interop import onnx
from tensorgrad.training import load_checkpoint, save_checkpoint

SETTINGS = {
    "experiment": "mnist",
    "image_shape": [1, 28, 28],
    "classes": [f"digit {i}" for i in range(10)],
    "mean": [33.0],
    "deviation": [78.0],
}


@pytest.fixture
def run(tmp_path):
    """A folder with a network and what predict needs to know of it, and a picture."""
    (tmp_path / "run").mkdir()
    weights = models.mnist(np.random.default_rng(3)).state_dict()
    arrays = {f"model/{name}": array for name, array in weights.items()}
    save_checkpoint(tmp_path / "run" / "best.npz", arrays, {"settings": SETTINGS, "epoch": 3})
    noise = np.random.default_rng(0).integers(0, 256, (28, 28)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    return tmp_path / "run"


def outcome(command, arguments, capsys):
    capsys.readouterr()
    try:
        code = command([str(argument) for argument in arguments])
    except SystemExit as stopped:
        code = stopped.code
    printed, errors = capsys.readouterr()
    return code, printed, errors


def answers(run, picture, capsys):
    code, printed, errors = outcome(predict_main, [run, picture], capsys)
    assert code == 0 and "error" not in errors
    return printed


@pytest.mark.parametrize("name", ["a.onnx", "a.safetensors", "a.npz", "A.ONNX"])
def test_predict_says_the_same_of_an_exported_file(name, run, capsys):
    file = run.parent / name
    code, printed, errors = outcome(export_main, [run, file], capsys)
    assert (code, printed, errors) == (0, f"{file}: written\n", "")
    picture = run.parent / "a.png"
    said = [answers(each, picture, capsys) for each in (file, run, run / "best.npz")]
    assert said[0] == said[1] == said[2]


def test_what_was_exported_is_the_network_with_its_settings(run, capsys):
    for name in ("a.onnx", "a.safetensors"):
        assert outcome(export_main, [run, run.parent / name], capsys)[0] == 0
    read = onnx.load(run.parent / "a.onnx")
    arrays, description = load_checkpoint(run.parent / "a.safetensors")
    assert read.description == description == {"settings": SETTINGS}
    assert read.state_dict().keys() == arrays.keys()
    assert outcome(export_main, [run.parent / "a.safetensors", run.parent / "b.onnx"], capsys)[0] == 0


@pytest.mark.parametrize(
    "source, target, reason",
    [
        ("run", "a.pt", "must end in .npz, .safetensors or .onnx"),
        ("run", "none/a.onnx", "cannot be saved"),
        ("run", "run/best.npz", "cannot be exported to"),
        ("none", "a.onnx", "no such file"),
        ("none.onnx", "a.npz", "cannot be exported to"),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(source, target, reason, run, capsys):
    code, printed, errors = outcome(export_main, [run.parent / source, run.parent / target], capsys)
    assert code == 2 and not printed and reason in errors and errors.count("\n") == 1


def other_network(path):
    onnx.export(nn.Dense(3, 2, 0), path, np.ones((1, 3)), description={"settings": SETTINGS})


def without_settings(path):
    onnx.export(nn.Dense(3, 2, 0), path, np.ones((1, 3)))


def bare_weights(path):
    models.mnist(np.random.default_rng(0)).save(path)


def another_network(path):
    save_checkpoint(path, {"weight": np.ones(3)}, {"settings": SETTINGS})


@pytest.mark.parametrize(
    "make, name, reason",
    [
        (other_network, "b.onnx", "image_shape and classes do not fit the network"),
        (without_settings, "b.onnx", "write it with python -m experiments.export RUN FILE"),
        (bare_weights, "b.safetensors", "write it with python -m experiments.export RUN FILE"),
        (another_network, "b.safetensors", "of another network"),
        (lambda path: path.write_bytes(b"abc"), "b.onnx", "not an ONNX file"),
        (lambda path: path.write_bytes(b"abc"), "b.safetensors", "not a .safetensors file"),
        (lambda path: None, "b.onnx", "no such file"),
    ],
)
def test_a_file_that_is_none_is_one_sentence(make, name, reason, run, capsys):
    make(run.parent / name)
    code, printed, errors = outcome(predict_main, [run.parent / name, run.parent / "a.png"], capsys)
    assert code == 2 and not printed and reason in errors and errors.count("\n") == 1
