"""python -m tensorgrad.train on folders of images as users have them."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.predict import main as predict_of_experiments
from tensorgrad.compare import main as compare_main
from tensorgrad.export import main as export_main
from tensorgrad.predict import main as predict_main
from tensorgrad.runner.options import parse
from tensorgrad.runner.own_images import OWN_IMAGES
from tensorgrad.runner.preparation import prepare
from tensorgrad.runner.training import train
from tensorgrad.train import main
from tensorgrad.training import load_checkpoint, save_checkpoint

CLASSES = {"cat": (200, 40, 40), "dog": (40, 200, 40), "old owl": (40, 40, 200)}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def photographs(folder, count=10):
    """Pictures of three kinds, of all sizes, each kind of one colour more or less."""
    rng = np.random.default_rng(0)
    for name, colour in CLASSES.items():
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.normal(colour, 30, (*rng.integers(20, 60, 2), 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.jpg")
    return folder


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def refused(capsys, *arguments, command=main):
    with pytest.raises(SystemExit) as caught:
        command(list(map(str, arguments)))
    said = capsys.readouterr().err
    assert caught.value.code == 2 and "Traceback" not in said
    return said.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("model, hidden", [("cnn", "4,8"), pytest.param("dense", "16,8", marks=pytest.mark.deep)])
def test_a_folder_is_trained_on_resumed_and_predicted(tmp_path, capsys, model, hidden):
    photographs(tmp_path / "zoo")
    options = f"--model {model} --hidden {hidden} --size 12x16 --resize crop --schedule constant --batch-size 8".split()
    options.append("--no-compile")
    assert main(["zoo", *options, "--epochs", "4"]) == 0
    out = tmp_path / "runs" / ("zoo" if model == "dense" else "zoo-cnn")
    assert main(["--resume", "--epochs", "12", "--out", str(out)]) == 0
    ours = metrics_of(out)
    assert ours["epochs"] == 12
    assert ours["settings"]["image_shape"] == [3, 12, 16] and ours["settings"]["classes"] == list(CLASSES)
    assert ours["test_accuracy"] == 1.0
    page = (out / "report.html").read_text()
    assert "tensorgrad.train" in page and "tensorgrad: zoo (RGB, 3 cl" in page
    capsys.readouterr()
    answers = []
    for command in (predict_main, predict_of_experiments):
        assert command([str(out), "zoo/old owl/1.jpg"]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1] and answers[0].startswith("zoo/old owl/1.jpg: old owl ")
    assert export_main([str(out), "zoo.npz"]) == predict_main(["zoo.npz", "zoo/old owl/1.jpg"]) == 0
    assert capsys.readouterr().out == "zoo.npz: written\n" + answers[0]
    assert compare_main([str(out)]) == 0 and (out.parent / "compare.png").exists()
    assert f"| {out.name} " in capsys.readouterr().out


@pytest.mark.deep
def test_images_of_many_channels_are_arrays(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name, level in (("field", 60), ("forest", 180)):
        (tmp_path / "satellite" / name).mkdir(parents=True)
        for i in range(8):
            pixels = rng.normal(level, 20, (20, 24, 6)).clip(0, 255).astype(np.uint8)
            np.save(tmp_path / "satellite" / name / f"{i}.npy", pixels)
    assert main(["satellite", "--hidden", "8", "--epochs", "20", "--quiet", "--no-compile"]) == 0
    out = tmp_path / "runs" / "satellite"
    assert metrics_of(out)["settings"]["image_shape"] == [6, 20, 24] and metrics_of(out)["test_accuracy"] == 1.0
    assert "6 channels" in (out / "report.html").read_text()
    capsys.readouterr()
    assert predict_main([str(out), "satellite/forest/0.npy"]) == 0
    assert "forest" in capsys.readouterr().out.split(",")[0]
    Image.new("RGB", (20, 20)).save("a.png")
    assert predict_main([str(out), "a.png"]) == 2
    assert "a picture has 1, 2, 3 or 4 channels, not 6" in capsys.readouterr().err


def test_folders_that_cannot_be_trained_on_are_refused(tmp_path, capsys):
    photographs(tmp_path / "zoo", count=2)
    assert "too few images of cat (2), dog (2), old owl (2); each class needs at least 3" in refused(capsys, "zoo")
    assert "DIR: which images?" in refused(capsys)
    assert "nowhere: no such folder" in refused(capsys, "nowhere")
    assert "0 class folders and 2 file(s) outside" in refused(capsys, "zoo/cat")
    assert "must be a height and a width, such as 48x64" in refused(capsys, "zoo", "--size", "1x2x3")
    shutil.copytree("zoo", "parts/train")
    shutil.copytree("zoo", "parts/val")
    said = refused(capsys, "parts")
    assert "has no folder test, but train, val; name them train and test, or pass parts/train" in said
    assert not (tmp_path / "runs").exists()
    os.rename("parts/val", "parts/test")
    assert f"pass {tmp_path / 'parts'}" in refused(capsys, tmp_path)
    assert main(["parts", "--overfit-batch", "--no-compile"]) == 0


def test_blocks_that_leave_nothing_of_the_images_are_refused(tmp_path, capsys):
    photographs(tmp_path / "zoo", count=3)
    options = ["zoo", "--model", "cnn", "--size", "8", "--hidden"]
    assert "4 blocks halve images of 8x8 pixels to nothing; take fewer" in refused(capsys, *options, "4,4,4,4")
    assert main([*options, "4,4,4", "--overfit-batch", "--no-compile"]) == 0


@pytest.mark.slow
def test_curves_for_tensorboard_are_in_the_folder_of_the_run(capsys):
    photographs(Path("zoo"), count=3)
    options = ["--hidden", "8", "--size", "8", "--no-compile", "--tensorboard"]
    assert main(["zoo", *options, "--epochs", "1"]) == 0
    assert "tensorboard --logdir runs" in capsys.readouterr().out
    assert main(["--resume", "--epochs", "2", "--out", "runs/zoo", "--quiet"]) == 0  # as it was begun
    assert len(list(Path("runs/zoo/tensorboard").iterdir())) == 2
    assert main(["zoo", *options[:-1], "--epochs", "1", "--quiet"]) == 0  # the one before is put aside as a whole
    assert Path("runs/zoo-1/tensorboard").exists() and not Path("runs/zoo/tensorboard").exists()


@pytest.mark.parametrize(
    "module, name", [("PIL.Image", "Pillow"), ("jinja2", "jinja2"), ("tensorboardX", "tensorboardX")]
)
def test_a_missing_library_is_named(tmp_path, capsys, monkeypatch, module, name):
    photographs(tmp_path / "zoo", count=3)
    monkeypatch.setitem(sys.modules, module, None)
    said = refused(capsys, "zoo", *(["--tensorboard"] if name == "tensorboardX" else []))
    assert said.startswith("tensorgrad.train: error: ") and f"pip install {name}" in said


@pytest.mark.slow
def test_settings_that_are_not_of_the_weights_are_refused(tmp_path, capsys):
    photographs(tmp_path / "zoo", count=3)
    options = ["zoo", "--hidden", "8", "--epochs", "1", "--quiet", "--no-compile", "--out", "run"]
    train(prepare(OWN_IMAGES, parse(OWN_IMAGES, options)), print)
    arrays, description = load_checkpoint("run/best.npz")
    for changes, words in [
        ({"hidden": "100000000,100000000"}, "of another network than its settings say"),
        ({"hidden": "0"}, "hidden must be at least 1, got 0"),
        ({"image_shape": [3, 1024, 1024]}, "of another network than its settings say"),
        ({"model": "transformer"}, "model must be one of dense, cnn, got 'transformer'"),
        ({"model": "cnn"}, "of another network"),
        ({"model": "cnn", "hidden": "1,1,1,1,1,1,1,1"}, "to nothing"),
        ({"resize": "squash"}, "resize must be one of stretch, crop, pad, got 'squash'"),
    ]:
        settings = {**description["settings"], **changes}
        save_checkpoint("run/best.npz", arrays, {**description, "settings": settings})
        said = refused(capsys, "run", "zoo/cat/0.jpg", command=predict_main)
        assert "run/best.npz" in said and words in said


def test_both_networks_have_a_recipe_and_letters_are_not_mirrored():
    assert list(OWN_IMAGES.recipes) == ["dense", "cnn"]
    assert not any(recipe.augmentation.flip for recipe in OWN_IMAGES.recipes.values())
